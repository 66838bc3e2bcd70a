"""The LSTM emitter: exact gates, margins, what a changed weight does, other dtypes, one torch module."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Bit, Circuit, Column, Output, Register, Symbol
from lsrl.backends.linear_form import ZERO, Gate, signal
from lsrl.backends.lstm import SATURATION, emit
from lsrl.backends.registry import compile_graph
from lsrl.diagnostics import LsrlError, Source
from lsrl.frontend.modules import read_module
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.types import BOOL
from tests.backends.automata import random_automaton

BRACKETS = """
const DEPTH = 3
type Char = {"(", ")", "[", "]", "{", "}", *}

program brackets(tok: Char) -> bool:
    state depth: int[0..DEPTH] = 0
    state stack: int[0..3][DEPTH] = zeros(DEPTH)
    state broken: bool = false
    opened = match tok: "(" => 1, "[" => 2, "{" => 3, _ => 0
    closed = match tok: ")" => 1, "]" => 2, "}" => 3, _ => 0
    if opened > 0:
        if depth < DEPTH:
            stack[depth] := opened
            depth := depth + 1
        else:
            broken := true
    elif closed > 0:
        if depth > 0:
            depth := depth - 1
            if stack[depth] != closed:
                broken := true
        else:
            broken := true
    return depth == 0 and not broken
"""


def graph_of(text: str) -> Graph:
    return read_module(Source("test.lsrl", text), Path()).elaborate()


def bracket_words(rng: random.Random, count: int, length: int) -> list[list[int]]:
    words = []
    for _ in range(count):
        word: list[int] = []
        open_: list[int] = []
        while len(word) < length:
            if open_ and (len(open_) == 3 or rng.random() < 0.5):
                word.append(open_.pop() + 1)
            elif rng.random() < 0.2:
                word.append(6)
            else:
                open_.append(2 * rng.randrange(3))
                word.append(open_[-1])
        if rng.random() < 0.5:
            word[rng.randrange(length)] = rng.randrange(7)
        words.append(word)
    return words


def expected(graph: Graph, words: list[list[int]]) -> list[list[object]]:
    key, out = graph.inputs[0].name, graph.outputs[0][0]
    return [[row[out] for row in Interpreter(graph).run({key: x} for x in word)] for word in words]


def test_a_stack_becomes_a_cascade_of_small_cells() -> None:
    rng = random.Random(1)
    graph = graph_of(BRACKETS)
    words = bracket_words(rng, 12, 150)
    model = compile_graph(graph, "lstm")
    out, _ = model(torch.tensor(words))
    assert out.tolist() == expected(graph, words)
    certificate = model.certificate
    assert certificate.baseline is not None and sum(certificate.widths) <= certificate.baseline
    assert all(isinstance(layer, nn.LSTM) for layer in model.layers)


def test_a_deeper_stack_grows_linearly_not_like_its_automaton() -> None:
    def width(depth: int) -> int:
        graph = graph_of(BRACKETS.replace("DEPTH = 3", f"DEPTH = {depth}"))
        return sum(compile_graph(graph, "lstm").certificate.widths)

    four, eight = width(4), width(8)
    assert eight <= 3 * four  # the automaton grows from 122 to 9,842 states


def gates(layer: nn.LSTM, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    p = dict(layer.named_parameters())
    z = x @ p["weight_ih_l0"].T + p["bias_ih_l0"] + h @ p["weight_hh_l0"].T + p["bias_hh_l0"]
    i, f, g, o = z.chunk(4, -1)
    return torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_gate_is_exactly_saturated(dtype: torch.dtype) -> None:
    rng = random.Random(2)
    automaton = random_automaton(rng, 8, 3)
    model = compile_graph(automaton.graph(), "lstm", dtype)
    layer = model.layers[0]
    assert isinstance(layer, nn.LSTM)
    state = model.initial_state(1)
    for x in [rng.randrange(3) for _ in range(100)]:
        columns = model.encoder(torch.tensor([[x]]))[0]
        i, f, g, o = gates(layer, columns, state[0])
        assert set(i.flatten().tolist()) <= {0.0, 1.0} and set(o.flatten().tolist()) == {1.0}
        assert float(f.max()) < 1e-80
        assert set(g.flatten().tolist()) <= {-1.0, 1.0}
        _, state = model(torch.tensor([[x]]), state)
        assert set(state[1].flatten().tolist()) <= {-1.0, 1.0}


def three_signs(count: int) -> Circuit:
    """A bit that is the conjunction of `count` registers' signs."""
    registers = tuple(Register(Gate(signal(0)), Gate(signal(0)), Gate(), Symbol(f"r{i}")) for i in range(count))
    total = ZERO
    for i in range(count):
        total = total + signal(i)
    top = (Bit(total - (count - 1), ZERO, Symbol("all")),)
    return Circuit("signs", (Column("b", None, (True,)),), (registers, top), (Output("out", BOOL, (signal(0),)),))


def test_margins_shrink_with_register_signs() -> None:
    margins = [emit(three_signs(n), torch.float32).margin for n in (1, 2, 3)]
    assert margins == sorted(margins, reverse=True)
    assert margins[0] == pytest.approx((2 - 1 / torch.tanh(torch.tensor(1.0)).item()) / 2, rel=1e-5)
    assert margins[2] > 0.02
    with pytest.raises(LsrlError, match="leave no margin") as refusal:
        emit(three_signs(4), torch.float32)
    assert refusal.value.diagnostics[0].code == "L402"


def test_saturation_is_what_torch_does() -> None:
    for dtype, (sigmoid, tanh) in SATURATION.items():
        z = torch.tensor([sigmoid, -sigmoid], dtype=dtype)
        assert torch.sigmoid(z).tolist() == [1.0, 0.0]
        assert torch.tanh(torch.tensor([tanh, -tanh], dtype=dtype)).tolist() == [1.0, -1.0]


def test_weights_that_matter_are_noticed() -> None:
    """Every weight that carries a signal: set to zero, some word tells."""
    rng = random.Random(4)
    automaton = random_automaton(rng, 5, 3)
    model = compile_graph(automaton.graph(), "lstm")
    words = [[rng.randrange(3) for _ in range(300)] for _ in range(16)]
    want = [automaton.run(w) for w in words]
    layer = model.layers[0]
    assert isinstance(layer, nn.LSTM)
    width = layer.hidden_size
    noticed = total = 0
    for name in ("weight_ih_l0", "weight_hh_l0"):
        weight = layer.get_parameter(name)
        for row, column in weight[2 * width : 3 * width].nonzero().tolist():
            before = weight[2 * width + row, column].item()
            with torch.no_grad():
                weight[2 * width + row, column] = 0
            total += 1
            noticed += int(model(torch.tensor(words))[0].tolist() != want)
            with torch.no_grad():
                weight[2 * width + row, column] = before
    assert model(torch.tensor(words))[0].tolist() == want
    assert total > 20
    assert noticed >= 0.9 * total  # the others: transitions that no word of these takes


def test_noise_far_below_the_margin_changes_nothing() -> None:
    rng = random.Random(6)
    automaton = random_automaton(rng, 10, 3)
    model = compile_graph(automaton.graph(), "lstm")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.stack.parameters():
            p.mul_(1 + 1e-3 * torch.randn(p.shape, generator=generator))
    words = [[rng.randrange(3) for _ in range(500)] for _ in range(4)]
    assert model(torch.tensor(words))[0].tolist() == [automaton.run(w) for w in words]


def test_uniform_is_one_module_and_computes_the_same() -> None:
    rng = random.Random(8)
    graph = graph_of(BRACKETS)
    words = bracket_words(rng, 4, 100)
    model = compile_graph(graph, "lstm", uniform=True)
    assert len(model.layers) == 1
    assert model(torch.tensor(words))[0].tolist() == expected(graph, words)


def test_dtypes_without_known_gates_are_refused() -> None:
    with pytest.raises(LsrlError) as error:
        emit(three_signs(1), torch.complex64)
    assert error.value.diagnostics[0].code == "L407"
