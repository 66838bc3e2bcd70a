"""Programs over reals without a grid, and what the targets make of them with an error."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from lsrl.backends.model import CompiledModel
from lsrl.ir.graph import Graph
from lsrl.python_step import compile_step
from lsrl.types import Bool, Real, Value
from lsrl.verify.machines import as_tensor

__all__ = ["AVERAGE", "DELAY", "HELD", "LEAKY_RESET", "PROGRAMS", "SUM", "SUM_RESET", "streams", "worst"]

AVERAGE = """program average(x: real) -> real:
    state a: real = 0
    a := a / 2 + x / 2
    return a
"""
LEAKY_RESET = """program leaky(x: real[-1..1], reset: bool) -> real:
    state a: real = 0
    a := 0 if reset else 0.9 * a + x / 10
    return a
"""
SUM = """program total(x: real[0..1]) -> real:
    return running_sum(x)
"""
SUM_RESET = """program since(x: real[-1..1], reset: bool) -> real:
    state a: real = 0
    a := x if reset else a + x
    return a
"""
HELD = """program held(x: real[-1..1], write: bool) -> real:
    state a: real = 0.3
    if write:
        a := x
    return a
"""
DELAY = """program smooth(x: real[-1..1]) -> real:
    return (x + prev(x, 0)) / 3
"""
PROGRAMS = {"average": AVERAGE, "leaky": LEAKY_RESET, "sum": SUM, "since": SUM_RESET, "held": HELD, "delay": DELAY}


def streams(graph: Graph, limit: int, length: int, seed: int) -> list[list[dict[str, Value]]]:
    """Inputs at the ends of their ranges, for ever, in turn and at random, and random ones that no float holds."""
    rng = np.random.default_rng(seed)
    found: list[list[dict[str, Value]]] = []
    for kind in range(5):
        rows: list[dict[str, Value]] = []
        for t in range(length):
            row: dict[str, Value] = {}
            for i in graph.inputs:
                if isinstance(i.type, Bool):
                    row[i.name] = bool(rng.random() < (0.02, 0.02, 0.5, 0.02, 0.2)[kind])
                    continue
                assert isinstance(i.type, Real)
                lo = Fraction(-limit) if i.type.lo is None else i.type.lo
                hi = Fraction(limit) if i.type.hi is None else i.type.hi
                part = (Fraction(1), Fraction(0), Fraction(t % 2), Fraction(int(rng.integers(2))),
                        Fraction(int(rng.integers(1000)), 999))[kind]
                row[i.name] = lo + (hi - lo) * part
            rows.append(row)
        found.append(rows)
    return found


def worst(graph: Graph, model: CompiledModel, rows: list[dict[str, Value]], stepwise: bool) -> float:
    """The largest distance of the model's output from the interpreter's exact one."""
    inputs = {i.name: as_tensor([r[i.name] for r in rows], i.type)[None] for i in graph.inputs}
    if stepwise:
        state = model.initial_state(1)
        seen = []
        for t in range(len(rows)):
            y, state = model.step({n: x[:, t] for n, x in inputs.items()}, state)
            seen.append(y.item())
    else:
        seen = model(inputs)[0][0].tolist()
    wanted = compile_step(graph).run(rows)
    return max(float(abs(Fraction(y) - Fraction(row["out"]))) for y, row in zip(seen, wanted, strict=True))  # type: ignore[arg-type]
