"""Finite machines: diagrams, covers, minimisation, and random automata in real torch.nn.LSTM layers, bit for bit."""

from __future__ import annotations

import itertools
import random

import pytest
import torch

from lsrl.analysis.ranges import analyse
from lsrl.backends.cubes import Cube, Diagrams, TooLargeError, merge_cubes
from lsrl.backends.finite import STATE, Leaf, Machine, cover, letters, minimise
from lsrl.backends.joint import joint_circuit, whole_automaton
from lsrl.backends.lower import threshold_circuit
from lsrl.backends.registry import compile_graph
from lsrl.backends.threshold import Layout, Planner
from lsrl.passes import run_pipeline
from tests.backends.automata import RandomAutomaton, random_automaton


def test_equal_functions_are_one_diagram() -> None:
    d = Diagrams()
    a, b = d.variable(2), d.variable(3)
    yes, no = d.leaf(True), d.leaf(False)
    f = d.case(a, [d.case(b, [yes, no, no]), yes])
    g = d.case(b, [yes, d.case(a, [no, yes]), d.case(a, [no, yes])])
    assert f == g
    assert d.support(f) == [a, b]
    assert d.case(b, [f, f, f]) == f
    assert d.case(a, [yes, yes]) == yes
    for x, y in itertools.product(range(2), range(3)):
        assert d.evaluate(f, [x, y]) == (x == 1 or y == 0)


def test_combine_and_map_act_on_values() -> None:
    d = Diagrams()
    a, b = d.variable(2), d.variable(2)
    f, g = d.case(a, [d.leaf(1), d.leaf(2)]), d.case(b, [d.leaf(10), d.leaf(20)])
    total = d.map(d.combine([f, g]), lambda pair: sum(pair) if isinstance(pair, tuple) else pair)
    assert [d.evaluate(total, [x, y]) for x in (0, 1) for y in (0, 1)] == [11, 21, 12, 22]


def test_a_diagram_refuses_to_grow_without_end() -> None:
    d = Diagrams(limit=10)
    with pytest.raises(TooLargeError):
        list(map(d.leaf, range(20)))


def test_operations_that_recurse_refuse_very_deep_functions() -> None:
    d = Diagrams()
    variables = [d.variable(2) for _ in range(2000)]
    f = d.leaf(True)
    for v in reversed(variables):
        f = d.case(v, [d.leaf(False), f])
    assert len(d.cubes(f)) == 2001
    assert len(merge_cubes(d.cubes(f), lambda v: 2)) <= 2001
    with pytest.raises(TooLargeError):
        d.combine([f, d.leaf(0)])


def random_function(d: Diagrams, rng: random.Random, variables: list[int], values: int) -> int:
    if not variables:
        return d.leaf(rng.randrange(values))
    return d.case(variables[0], [random_function(d, rng, variables[1:], values) for _ in range(d.sizes[variables[0]])])


@pytest.mark.parametrize("seed", range(20))
def test_covers_are_disjoint_and_complete(seed: int) -> None:
    rng = random.Random(seed)
    d = Diagrams()
    variables = [d.variable(rng.randint(2, 3)) for _ in range(4)]
    f = random_function(d, rng, variables, 3)
    raw = d.cubes(f)
    small = merge_cubes(raw, lambda v: d.sizes[v])
    assert len(small) <= len(raw)
    for point in itertools.product(*(range(d.sizes[v]) for v in variables)):
        hits = [c for c in small if all(point[v] in s for v, s in c.literals)]
        assert [c.leaf for c in hits] == [d.evaluate(f, list(point))]


def test_merging_drops_a_variable_that_does_not_matter() -> None:
    cubes = [Cube(((0, frozenset({i})), (1, frozenset({0}))), "a") for i in range(3)]
    assert merge_cubes(cubes, lambda v: 3 if v == 0 else 2) == [Cube(((1, frozenset({0})),), "a")]


def machine_of(a: RandomAutomaton) -> tuple[Machine, int]:
    d = Diagrams()
    x = d.variable(a.letters)
    functions = tuple(d.case(x, [d.leaf(Leaf(a.next[q][i], (), (a.output[q][i],))) for i in range(a.letters)])
                      for q in range(len(a.next)))
    return Machine(d, functions, 0, tuple(((q,),) for q in range(len(a.next)))), x


@pytest.mark.parametrize("seed", range(10))
def test_minimising_keeps_the_behaviour(seed: int) -> None:
    rng = random.Random(seed)
    base = random_automaton(rng, 4, 2)
    # Each state twice, with transitions into either copy.
    doubled = RandomAutomaton(
        tuple(tuple(q + 4 * rng.randrange(2) for q in row) for row in base.next * 2), base.output * 2)
    machine, x = machine_of(doubled)
    small = minimise(machine)
    assert small.size <= 4
    assert sorted(v[0] for label in small.labels for v in label) == list(range(8))
    word = [rng.randrange(2) for _ in range(200)]
    q, out = small.start, []
    for i in word:
        point = [0] * (x + 1)
        point[x] = i
        leaf = small.diagrams.evaluate(small.functions[q], point)
        assert isinstance(leaf, Leaf)
        out.append(leaf.observed[0])
        q = leaf.next
    assert out == doubled.run(word)


def test_a_reset_needs_one_unit_whatever_the_state() -> None:
    flip_flop = RandomAutomaton(((0, 1, 0), (1, 1, 0)), ((0, 1, 0), (1, 1, 0)))  # keep, set, reset
    machine, _ = machine_of(flip_flop)
    built = cover(machine)
    assert len(built.cubes) == 2  # "set", and "was set and kept"
    assert all(v != STATE for c in built.cubes[:1] for v, _ in c.literals) or len(built.cubes[0].literals) == 2
    assert letters(machine) == 3


@pytest.mark.parametrize("states", [2, 3, 5, 9, 20, 45])
def test_random_automata_are_bit_exact_and_within_the_baseline(states: int) -> None:
    rng = random.Random(states)
    automaton = random_automaton(rng, states, rng.randint(2, 4), rng.randint(2, 3))
    graph = automaton.graph()
    scalar = run_pipeline(graph)
    circuit = threshold_circuit(scalar, "lstm")
    assert circuit.baseline is not None and circuit.width <= circuit.baseline
    words = [[rng.randrange(automaton.letters) for _ in range(2000)] for _ in range(4)]
    simulated = [int(row["out"]) for row in circuit.simulate({"x": x} for x in words[0][:300])]  # type: ignore[arg-type]
    assert simulated == automaton.run(words[0][:300])
    model = compile_graph(graph, "lstm")
    out, _ = model(torch.tensor(words))
    assert out.tolist() == [automaton.run(w) for w in words]


@pytest.mark.parametrize("seed", [0, 1, 3, 4, 5, 6])
def test_every_layout_computes_the_same(seed: int) -> None:
    rng = random.Random(seed)
    automaton = random_automaton(rng, 6, 3)
    scalar = run_pipeline(automaton.graph())
    ranges = analyse(scalar)
    word = [rng.randrange(3) for _ in range(200)]
    circuits = [Planner(scalar, ranges, Layout(wide=w, lag=g, letters=m)).circuit()
                for w, g, m in itertools.product((True, False), repeat=3)]
    whole = whole_automaton(scalar)
    assert whole is not None
    joint = joint_circuit(scalar, whole)
    assert joint is not None
    for circuit in [*circuits, joint]:
        assert [row["out"] for row in circuit.simulate({"x": x} for x in word)] == automaton.run(word)
    assert joint.width <= whole.baseline


@pytest.mark.slow
def test_an_automaton_runs_100_000_steps() -> None:
    rng = random.Random(7)
    automaton = random_automaton(rng, 12, 3)
    model = compile_graph(automaton.graph(), "lstm")
    state = model.initial_state(1)
    word = [rng.randrange(3) for _ in range(100_000)]
    want = automaton.run(word)
    for at in range(0, len(word), 20_000):
        out, state = model(torch.tensor([word[at : at + 20_000]]), state)
        assert out[0].tolist() == want[at : at + 20_000]
