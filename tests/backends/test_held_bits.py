"""Bits held by a gate: fewer units, the same function, at every step and for all that reads them."""

from __future__ import annotations

import copy
import random

import pytest
import torch

import lsrl
from lsrl.backends.circuit import Bit, Circuit, Column, Output, Placement, Symbol
from lsrl.backends.held_bits import hold_bits
from lsrl.backends.linear_form import NEVER, Form, Gate, signal
from lsrl.backends.lower import threshold_circuit
from lsrl.backends.registry import compile_graph
from lsrl.ir.graph import Graph
from lsrl.passes import run_pipeline
from lsrl.types import BOOL
from lsrl.verify import verify
from tests.backends.texts import graph_of, random_rows
from tests.corpus import ROOT

WHAT = Symbol("unit")
REGISTER = """
program p(x: int[0..7], write: bool) -> int[0..7]:
    state r: int[0..7] = 5
    r := x if write else r
    return r
"""
LATCHES = """
program p(a: bool, b: bool, c: bool) -> (x: bool, y: bool, old: bool):
    state x: bool = true
    state y: bool = false
    was = x
    x := a if b else x
    y := (b != x) if c else y
    return (x=x, y=y, old=was)
"""
PARITY = "program p(x: bool) -> bool:\n    return parity(x)\n"
EXAMPLES = ("memory/key_value", "memory/induction_head", "memory/selective_copy", "regular/word_problem_s3",
            "lsrl/tok2tok_3", "lsrl/vec2vec_1_1", "text/c_comments", "counting/queue", "counting/anbncn")
GATED = ("lstm", "gru")


def example(name: str) -> Graph:
    return lsrl.load(ROOT / "examples" / f"{name}.lsrl").graph


def held(circuit: Circuit) -> list[Bit]:
    return [u for layer in circuit.layers for u in layer if isinstance(u, Bit) and u.hold != NEVER]


@pytest.mark.parametrize("target", GATED)
def test_a_register_is_one_unit_a_bit(target: str) -> None:
    graph = graph_of(REGISTER)
    model = compile_graph(graph, target)
    assert model.certificate.width == 3
    assert compile_graph(graph, "rnn_tanh").certificate.width >= 6
    assert verify(graph, model).kind == "PROVED"
    assert model.probe(model.initial_state(1), "r").item() == 5
    state = model.poke(model.initial_state(2), "r", [6, 1])
    x = {"x": torch.tensor([[3] * 40, [4] * 40]), "write": torch.zeros(2, 40, dtype=torch.bool)}
    out, after = model(x, state)
    assert out.tolist() == [[6] * 40, [1] * 40] and model.probe(after, "r").tolist() == [6, 1]


@pytest.mark.parametrize("target", GATED)
def test_what_reads_a_held_bit_reads_it_right(target: str) -> None:
    graph = graph_of(LATCHES)
    model = compile_graph(graph, target)
    assert verify(graph, model).kind == "PROVED"
    assert model.certificate.width < compile_graph(graph, "rnn_tanh").certificate.width


@pytest.mark.parametrize("target", GATED)
def test_a_wrong_hold_is_refuted(target: str) -> None:
    graph = graph_of(REGISTER)
    for row in range(3):
        model = copy.deepcopy(compile_graph(graph, target))
        weight = model.layers[0].get_parameter("weight_ih_l0")
        with torch.no_grad():
            weight[3 + row] *= -1  # f of (i, f, g, o), z of (r, z, n)
        assert verify(graph, model).kind == "REFUTED"


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_circuit_computes_the_same(name: str) -> None:
    graph = example(name)
    circuit = threshold_circuit(run_pipeline(graph), "lstm", holds=False)
    after = hold_bits(circuit)
    assert after.width <= circuit.width and (after.width < circuit.width) == bool(held(after))
    for seed in range(3):
        rows = random_rows(graph, 80, seed)
        assert list(after.simulate(rows)) == list(circuit.simulate(rows))
    assert sum(c.width for c in circuit.cells) - sum(c.width for c in after.cells) <= circuit.width - after.width


def test_examples_get_smaller_and_none_larger() -> None:
    smaller = 0
    for name in EXAMPLES:
        graph = run_pipeline(example(name))
        wide, narrow = (threshold_circuit(graph, "lstm", holds=h) for h in (False, True))
        assert narrow.width <= wide.width, name
        smaller += narrow.width < wide.width
    assert smaller >= 5
    assert not held(threshold_circuit(run_pipeline(graph_of(PARITY)), "lstm", holds=True))


def _bit(below: list[tuple[int, int]], bias: int, own: list[tuple[int, int]]) -> Bit:
    return Bit(Form.of(below, bias), Form.of(own), WHAT, at_most_one=False)


def _circuit(units: list[Bit], read: Form, columns: int) -> Circuit:
    places = (Placement(1, ("s",), ((False,), (True,)), (Form((), 1) - read, read), ((), (0,)), (0, 1)),)
    return Circuit("p", tuple(Column(f"x{i}", None, (True,)) for i in range(columns)), (tuple(units),),
                   (Output("out", BOOL, (read,)),), places)


def test_sums_that_may_be_two_are_no_bit() -> None:
    """Two units that are read alike and can both be on: a count, not a state."""
    both = _circuit([_bit([(1, 0)], 0, [(1, 0), (1, 1)]), _bit([(1, 1)], 0, [])], signal(0) + signal(1), 2)
    assert hold_bits(both) is both


def test_a_toggle_is_not_held() -> None:
    """s' = s xor x: where x is on, the next value is neither the old one nor known without it."""
    toggle = _circuit([_bit([(1, 0)], 0, [(-1, 0), (-1, 1)]), _bit([(-1, 0)], 0, [(1, 0), (1, 1)])],
                      signal(0) + signal(1), 1)
    assert hold_bits(toggle) is toggle


def test_a_multiplexer_by_hand() -> None:
    """s' = x if w else s, as [w and x] + [not w and s]: one unit, held unless w."""
    mux = _circuit([_bit([(1, 0), (1, 1)], -1, []), _bit([(-1, 1)], 0, [(1, 0), (1, 1)])], signal(0) + signal(1), 2)
    (unit,) = held(hold_bits(mux))
    assert unit.below == Form(((1, 0),)) and unit.own == Form() and unit.hold == Gate(Form(((-1, 1),), 1))
    rng = random.Random(0)
    rows = [{"x0": rng.random() < 0.5, "x1": rng.random() < 0.5} for _ in range(60)]
    assert list(hold_bits(mux).simulate(rows)) == list(mux.simulate(rows))


@pytest.mark.parametrize("seed", range(40))
def test_random_pairs_of_units(seed: int) -> None:
    """Whatever two random thresholds are, with the other's past: held or not, the outputs are the same."""
    rng = random.Random(seed)
    units = [_bit([(rng.choice((-1, 1)), i) for i in range(2)], rng.choice((-1, 0, 0)), [(w, 0), (w, 1)] if w else [])
             for w in (rng.choice((-1, 0, 1, 1)), rng.choice((0, 0, -1, 1)))]
    circuit = _circuit(units, signal(0) + signal(1), 2)
    rows = [{"x0": rng.random() < 0.5, "x1": rng.random() < 0.5} for _ in range(200)]
    assert list(hold_bits(circuit).simulate(rows)) == list(circuit.simulate(rows))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("target", GATED)
def test_in_every_dtype(target: str, dtype: torch.dtype) -> None:
    graph = graph_of(LATCHES)
    model = compile_graph(graph, target, dtype)
    assert model.certificate.width < compile_graph(graph, "rnn_tanh").certificate.width
    assert verify(graph, model).kind == "PROVED"


def test_a_layout_in_which_a_machine_does_not_show_its_number_is_left_out() -> None:
    text = """
program main(in0: {"a", "b", "c"}, in2: {"x", "y", *}) -> real[-2..2 by 1/4][2]:
    state s1: real = -1
    state s2: real[-2..2 by 1/4] = -5/4
    x4: bool = s1 == 1/2
    if x4:
        s2 := recall(in0, real(code(in2)), in0, -1/4)
    else:
        s1 := 0 + prev(clamp(s1, -2, 2), 5/4)
    s1 := 2 * s1 + clamp(s1, -3, 3)
    return [s2, real(code(in0))] if x4 else window(real(code(in2)), 2, 5/4)
"""
    program = lsrl.parse(text)
    for target in ("lstm", "gru"):
        assert lsrl.verify(program, program.compile(target)).headline in ("PROVED", "EXHAUSTED", "TESTED")
