"""What every gated target is held to: interpreter, circuit, scan, step agree; files, probe and poke; mutants fall."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lsrl.backends.gated.layers import DiagonalMixer, GatedLayer
from lsrl.backends.model import CompiledModel, load_model
from lsrl.backends.registry import compile_graph, find_target
from lsrl.diagnostics import LsrlError
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.passes import run_pipeline
from lsrl.verify import verify
from tests.backends.texts import as_tensors, expected, graph_of, plain, random_rows

__all__ = ["ACCUMULATOR", "ALTERNATING", "CARRY", "CLOCK", "COUNTER", "DELAY", "DTYPES", "LATCH", "NUMBER_LATCH",
           "PARITY", "check_files", "check_mutants", "check_poke", "check_program", "check_refused", "mixer_of",
           "random_mixer", "sigmoid"]

DTYPES = (torch.float32, torch.float64)
LATCH = ("program p(w: bool, x: int[0..3]) -> int[0..3]:\n    state v: int[0..3] = 2\n    v := x if w else v\n"
         "    return v\n")
NUMBER_LATCH = ("program p(w: bool, x: int[-40..50]) -> int:\n    state v: int = -7\n    v := x if w else v\n"
                "    return v\n")
COUNTER = ("program p(x: bool, y: bool) -> int:\n    state n: int = 3\n"
           "    n := 0 if x and y else n + (1 if x else -1)\n    return n\n")
ACCUMULATOR = ("program p(x: int[-3..4]) -> int:\n    state n: int = 5\n    n := n + x\n    return n\n")
DELAY = "program p(x: bool) -> bool:\n    return prev(prev(x, true), true) == x\n"
PARITY = "program p(x: bool) -> bool:\n    state odd: bool = true\n    odd := odd != x\n    return odd\n"
CLOCK = "program p(x: bool) -> bool:\n    state odd: bool = true\n    odd := not odd\n    return odd and x\n"
ALTERNATING = "program p(x: int[-2..3]) -> int:\n    state n: int = 3\n    n := x - n\n    return n\n"
CARRY = ("program p(a: bool, b: bool) -> bool:\n    state c: bool = true\n    c := a and b or c and (a or b)\n"
         "    return c\n")


def check_program(target: str, text: str, dtype: torch.dtype = torch.float32, length: int = 150,
                  state: bool = True) -> CompiledModel:
    """Interpreter, circuit, scan and steps agree. state: also scan and steps on the hidden state, bit for bit."""
    graph = graph_of(text)
    model = compile_graph(graph, target, dtype)
    batch = [random_rows(graph, length, seed) for seed in range(3)]
    want = [expected(graph, rows) for rows in batch]
    circuit = find_target(target).lower(run_pipeline(graph), target, dtype)
    for rows, outputs in zip(batch, want, strict=True):
        assert list(circuit.simulate(rows)) == outputs, "the circuit differs from the interpreter"
    inputs = as_tensors(graph, batch)
    scanned, after = model.outputs_of(inputs)
    for name, _ in model.outputs:
        assert scanned[name].tolist() == plain([[row[name] for row in outputs] for outputs in want]), name
    held = model.initial_state(3)
    raw, _ = model.raw(inputs)
    for t in range(length):
        one, held = model.raw({n: x[:, t : t + 1] for n, x in inputs.items()}, held)
        assert torch.equal(one[:, 0], raw[:, t]), f"token {t}"
    if state:
        assert all(torch.equal(a, b) for a, b in zip(held, after, strict=True))
    return model


def mixer_of(model: CompiledModel) -> DiagonalMixer:
    """The mixer of the model's first layer that has one."""
    return next(layer.mixer for layer in model.layers
                if isinstance(layer, GatedLayer) and isinstance(layer.mixer, DiagonalMixer))


def check_files(target: str, text: str, path: Path) -> None:
    """A model read back answers as it did."""
    graph = graph_of(text)
    model = compile_graph(graph, target)
    model.save(path / "model.safetensors")
    inputs = as_tensors(graph, [random_rows(graph, 60, 4)])
    again = load_model(path / "model.safetensors", graph)
    assert torch.equal(model.raw(inputs)[0], again.raw(inputs)[0])


def check_poke(target: str, text: str, name: str, start: int, value: int) -> None:
    """The state reads as it starts, as it is poked, and as the program has it after some tokens."""
    graph = graph_of(text)
    model = compile_graph(graph, target)
    state = model.initial_state(2)
    assert model.probe(state, name).tolist() == [start, start]
    assert model.probe(model.poke(state, name, [start, value]), name).tolist() == [start, value]
    rows = random_rows(graph, 20, 8)
    _, after = model.outputs_of(as_tensors(graph, [rows, rows]))
    program = Interpreter(graph)
    held = program.initial_state()
    for row in rows:
        _, held = program.step(held, row)
    assert model.probe(after, name).tolist() == [held[name], held[name]]


def check_mutants(target: str, text: str, change: str | Callable[[DiagonalMixer], Tensor]) -> None:
    """The verifier closes on the model, and refutes it once one of its tensors, which `change` gives, is another.

    change: what gives the tensor, or the name of the part of the mixer whose bias it is.
    """
    graph: Graph = graph_of(text)
    model = compile_graph(graph, target)
    assert verify(graph, model).kind == "PROVED"
    with torch.no_grad():
        mixer = mixer_of(model)
        changed = mixer.get_parameter(f"{change}.bias") if isinstance(change, str) else change(mixer)
        changed.add_(1e10)  # a smaller change of a gate is none
    assert verify(graph, model).kind == "REFUTED"


def check_refused(target: str, text: str, why: str) -> None:
    """The target cannot host the program, and says why."""
    with pytest.raises(LsrlError, match=why):
        compile_graph(graph_of(text), target)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-z)))


def random_mixer(make: Callable[..., DiagonalMixer], seed: int, inputs: int = 4, units: int = 3,
                 channels: int = 5) -> tuple[DiagonalMixer, Tensor, tuple[Tensor, ...]]:
    """A mixer with random parameters, x (2, 12, inputs) and a random state, all float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    mixer = make(inputs, units, channels, torch.float64).requires_grad_(False)
    for p in mixer.parameters():
        p.copy_(draw(*p.shape) / 2)
    return mixer, draw(2, 12, inputs), tuple(draw(2, width) for _, width in mixer.tensors)
