"""Random and adversarial inputs, for programs whose inputs have no end or whose joint states have too many."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from lsrl.interpreter import RunError
from lsrl.ir.graph import Graph
from lsrl.python_step import CompiledStep, compile_step
from lsrl.types import Bool, Int, Real, Symbols, Type, Value, Vector
from lsrl.verify.machines import as_tensor, split_outputs

__all__ = ["Failure", "Row", "draw", "failing", "in_batches", "random_inputs", "run_model", "run_models", "run_program",
           "shrink", "test_inputs"]

Row = Mapping[str, Value]
_TRIES = 64  # draws for a token that an `assume` allows
_PARTS = 960  # of a range of reals without a grid: most of its values are no binary fractions
_FAR = 100  # unbounded numbers are drawn up to this size, and at its powers of two


@dataclass(frozen=True, slots=True)
class Failure:
    """An input at whose last token the sides differ, or the program stops."""

    inputs: tuple[Row, ...]
    expected: tuple[Mapping[str, Value], ...]
    actual: tuple[Mapping[str, Value], ...] | None
    reason: str


def draw(t: Type, rng: np.random.Generator) -> Value:
    """A value of the type; one time in four a boundary value."""
    edge = rng.random() < 0.25
    match t:
        case Bool():
            return bool(rng.integers(2))
        case Symbols():
            return int(rng.integers(len(t.names) + t.other))
        case Int(lo=lo, hi=hi):
            low = -_FAR if lo is None and hi is None else lo if lo is not None else (hi or 0) - 2 * _FAR
            high = _FAR if lo is None and hi is None else hi if hi is not None else (lo or 0) + 2 * _FAR
            return int(rng.choice([low, high, min(max(0, low), high)])) if edge else int(rng.integers(low, high + 1))
        case Real(lo=Fraction() as lo, hi=Fraction() as hi, grid=None):
            k = int(rng.choice([0, _PARTS])) if edge else int(rng.integers(_PARTS + 1))
            return lo + (hi - lo) * k / _PARTS
        case Real(lo=lo, hi=hi, grid=grid):
            g = grid or Fraction(1, 64)
            least = -_FAR * 64 if lo is None else math.ceil(lo / g)
            most = max(least, _FAR * 64) if hi is None else math.floor(hi / g)
            k = int(rng.choice([least, most])) if edge else int(rng.integers(least, most + 1))
            return g * k
        case Vector(elem=elem, size=n):
            return tuple(draw(elem, rng) for _ in range(n))
        case _:
            raise ValueError(f"{t} is not the type of a stream")


def random_inputs(graph: Graph, length: int, rng: np.random.Generator) -> list[Row]:
    """`length` tokens that keep every `assume` (fewer if no such token is found).

    Sequences come in four kinds: free, few distinct tokens, long runs of one token, and two tokens in turn.
    Raises RunError where the program itself stops.
    """
    step = compile_step(graph)
    kind = int(rng.integers(4))
    pool = [_row(graph, rng) for _ in range(int(rng.integers(1, 4)))]
    rows: list[Row] = []
    state = step.initial_state()
    repeat: Row = pool[0]
    while len(rows) < length:
        for attempt in range(_TRIES):
            if attempt or kind == 0:
                row = _row(graph, rng)
            elif kind == 1:
                row = pool[int(rng.integers(len(pool)))]
            elif kind == 2:
                repeat = _row(graph, rng) if rng.random() < 0.1 else repeat
                row = repeat
            else:
                row = pool[len(rows) % len(pool)]
            after = _allowed(step, state, row, len(rows))
            if after is not None:
                break
        else:
            return rows
        rows.append(row)
        state = after
    return rows


def _allowed(step: CompiledStep, state: dict[str, Value], row: Row, position: int) -> dict[str, Value] | None:
    """The state after the row; None if an `assume` forbids it. A row at which the program stops is allowed."""
    try:
        return step(state, row, position)[1]
    except RunError as error:
        if error.check is not None and error.check.kind == "assume":
            return None
        return state


def _row(graph: Graph, rng: np.random.Generator) -> Row:
    return {i.name: draw(i.type, rng) for i in graph.inputs}


def run_program(graph: Graph, rows: Sequence[Row]) -> tuple[tuple[dict[str, Value], ...], RunError | None]:
    """The outputs up to the end or to the token at which the program stops."""
    outputs: list[dict[str, Value]] = []
    try:
        outputs.extend(compile_step(graph).run(rows))
    except RunError as error:
        if error.check is None:
            raise
        return tuple(outputs[: error.position]), error
    return tuple(outputs), None


def run_model(model: Any, graph: Graph, rows: Sequence[Row]) -> tuple[dict[str, Value], ...]:
    """A model's outputs over one sequence, exactly as values."""
    return run_models(model, graph, [rows])[0]


def run_models(model: Any, graph: Graph, sequences: Sequence[Sequence[Row]]) -> list[tuple[dict[str, Value], ...]]:
    """A model's outputs over sequences in one batch, short ones filled up with their last token; none is empty."""
    import torch

    longest = max(map(len, sequences))
    filled = [[*rows, *[rows[-1]] * (longest - len(rows))] for rows in sequences]
    inputs = {i.name: as_tensor([tuple(r[i.name] for r in rows) for rows in filled], i.type) for i in graph.inputs}
    with torch.no_grad():
        answer = model(next(iter(inputs.values())) if len(inputs) == 1 else inputs)
    answer = answer[0] if isinstance(answer, tuple) else answer
    columns = {n: x.detach().cpu().tolist() for n, x in split_outputs(graph, answer).items()}
    return [tuple({n: _exact(columns[n][b][t], node.type) for n, node in graph.outputs} for t in range(len(rows)))
            for b, rows in enumerate(sequences)]


def _exact(x: Any, t: Type) -> Value:
    if isinstance(t, Vector):
        return tuple(_exact(v, t.elem) for v in x)
    if isinstance(t, Real):
        return Fraction(x) if math.isfinite(x) else float(x)
    if isinstance(x, float):
        return int(x) if x.is_integer() else x
    return bool(x) if isinstance(t, Bool) and x in (0, 1) else int(x)


def failing(graph: Graph, other: Callable[[Sequence[Row]], Sequence[Mapping[str, Value]]] | None,
            rows: Sequence[Row]) -> Failure | None:
    """The first difference between the program and the other side (or the program's own failure) on an input."""
    expected, error = run_program(graph, rows)
    end = len(expected) if error is None else len(expected) + 1
    actual = None
    if other is not None and expected:
        actual = tuple(other(rows[: len(expected)]))
        for t, (a, b) in enumerate(zip(expected, actual, strict=True)):
            if a != b:
                return Failure(tuple(rows[: t + 1]), expected[: t + 1], actual[: t + 1], "the outputs differ")
    if error is not None and (error.check is None or error.check.kind != "assume"):
        return Failure(tuple(rows[:end]), expected, actual, f"the program stops: {error.diagnostics[0].message}")
    return None


def test_inputs(graph: Graph, seed: int, count: int, length: int) -> Iterator[list[Row]]:
    """`count` inputs: lengths from 1 to `length`, short ones first; the last has `8 * length` tokens."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        n = 8 * length if k == count - 1 else max(1, round(length * ((k + 1) / count) ** 2))
        yield random_inputs(graph, n, rng)


def in_batches(inputs: Iterable[list[Row]], tokens: int) -> Iterator[list[list[Row]]]:
    """The inputs in groups that, filled up to the same length, have at most this many tokens (or are one input)."""
    group: list[list[Row]] = []
    for rows in inputs:
        longest = max(len(r) for r in (rows, *group))
        if group and longest * (len(group) + 1) > tokens:
            yield group
            group = []
        group.append(rows)
    if group:
        yield group


def shrink(failure: Failure, again: Callable[[Sequence[Row]], Failure | None], seconds: float = 10.0) -> Failure:
    """A shorter input that fails too: tokens are left out, in blocks of halving size, while the rest still fails."""
    import time

    deadline = time.monotonic() + seconds
    block = max(1, len(failure.inputs) // 2)
    while True:
        at, shorter = 0, False
        while at < len(failure.inputs) and time.monotonic() < deadline:
            rows = failure.inputs[:at] + failure.inputs[at + block :]
            found = again(rows) if rows else None
            if found is not None and len(found.inputs) < len(failure.inputs):
                failure, shorter = found, True
            else:
                at += block
        if time.monotonic() >= deadline or (block == 1 and not shorter):
            return failure
        block = max(1, block // 2)
