"""Programs as texts, and comparisons of the interpreter, the circuit and the torch module on them."""

from __future__ import annotations

import contextlib
import random
import textwrap
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lsrl.backends.circuit import Circuit
from lsrl.backends.model import CompiledModel
from lsrl.backends.registry import compile_graph
from lsrl.backends.relu import relu_circuit
from lsrl.diagnostics import Source
from lsrl.frontend.modules import read_module
from lsrl.interpreter import Interpreter, RunError
from lsrl.ir.graph import Graph
from lsrl.passes import run_pipeline
from lsrl.types import Int, Real, Type, Value, Vector, scalar_of, values

__all__ = ["Rows", "agree", "as_tensors", "circuit_of", "draw", "expected", "graph_of", "plain", "random_rows"]

Rows = list[dict[str, Value]]


@cache
def graph_of(text: str, name: str | None = None) -> Graph:
    """The elaborated graph of a program text, the same for all tests: targets share what they find out about it."""
    return read_module(Source("test.lsrl", textwrap.dedent(text)), Path()).elaborate(name)


def circuit_of(graph: Graph, dtype: torch.dtype = torch.float32) -> Circuit:
    """The ReLU circuit of a program."""
    return relu_circuit(run_pipeline(graph), "rnn_relu", dtype)


def draw(t: Type, rng: random.Random, size: int = 20) -> Value:
    """A random value of a type; numbers without bounds are at most `size`."""
    match t:
        case Vector(elem=elem, size=n):
            return tuple(draw(elem, rng, size) for _ in range(n))
        case Int(lo=lo, hi=hi):
            return rng.randint(-size if lo is None else lo, size if hi is None else hi)
        case Real(lo=lo, hi=hi, grid=Fraction() as g):
            low, high = (-size if lo is None else lo), (size if hi is None else hi)
            return rng.randint(int(-(-low // g)), int(high // g)) * g
        case _:
            return rng.choice(list(values(t)))


def random_rows(graph: Graph, length: int, seed: int = 0, size: int = 20) -> Rows:
    """Random inputs for a program."""
    rng = random.Random(seed)
    return [{n.name: draw(n.type, rng, size) for n in graph.inputs} for _ in range(length)]


def plain(value: Any) -> Any:
    """A value as lists of Python numbers; rationals as the nearest float."""
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return float(value) if isinstance(value, Fraction) else value


def as_tensors(graph: Graph, batch: Sequence[Rows]) -> dict[str, Tensor]:
    """Rows of equal lengths as a model's inputs."""
    return {n.name: torch.tensor(plain([[row[n.name] for row in rows] for rows in batch]),
                                 dtype=torch.float64 if isinstance(scalar_of(n.type), Real) else None)
            for n in graph.inputs}


def expected(graph: Graph, rows: Rows) -> Rows:
    """The interpreter's outputs, up to the token where a check fails."""
    out: Rows = []
    with contextlib.suppress(RunError):
        out.extend(Interpreter(graph).run(rows))
    return out


def agree(graph: Graph, batch: Sequence[Rows], model: CompiledModel | None = None,
          dtype: torch.dtype = torch.float32, circuit: Circuit | None = None) -> CompiledModel:
    """Asserts that interpreter, circuit and torch module are equal on sequences of one length; returns the model."""
    want = [expected(graph, rows) for rows in batch]
    length = min(map(len, want))
    assert length > 0
    circuit = circuit or circuit_of(graph, dtype)
    for rows, outputs in zip(batch, want, strict=True):
        assert list(circuit.simulate(rows[:length])) == outputs[:length], "the circuit differs from the interpreter"
    model = model or compile_graph(graph, "rnn_relu", dtype)
    inputs: Mapping[str, Tensor] | Tensor = as_tensors(graph, [rows[:length] for rows in batch])
    got, _ = model.outputs_of(inputs if graph.inputs else torch.zeros(len(batch), length))
    for name, _ in model.outputs:
        assert got[name].tolist() == plain([[row[name] for row in outputs[:length]] for outputs in want]), name
    return model
