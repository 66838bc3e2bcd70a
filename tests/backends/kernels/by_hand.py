"""Kernel bodies run by evaluating their values in Python: what the emitters' code must do."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from lsrl.backends.kernels.bodies import Parallel, Parts, Step
from lsrl.backends.kernels.code import Builder, Constant, Value, evaluate, schedule
from lsrl.backends.kernels.failures import number_value
from lsrl.backends.kernels.scans import Scan
from lsrl.interpreter import param_values
from lsrl.types import scalar_of
from lsrl.values import flattened

Row = Mapping[str, Any]
Numbers = tuple[Constant, ...]


def leaf_values(parts: Parts, roots: Sequence[Value], row: Row, lane: int = 0) -> dict[Value, Constant]:
    """The values of the input and param leaves of one token."""
    ports = {p.name: p for p in (*parts.lanes.inputs, *parts.lanes.params)}
    params = param_values(parts.lanes.source)
    scales = {n.name: parts.storage.scale(n) for n in parts.graph.inputs}
    out: dict[Value, Constant] = {}
    for v in schedule(roots):
        if v.op in ("input", "param"):
            name, element = v.attribute
            numbers = flattened((row if v.op == "input" else params)[name])
            value = numbers[lane if ports[name].lane else element]
            out[v] = (float(value) if v.kind == "float" else bool(value) if v.kind == "bool"
                      else int(Fraction(value) * scales.get(name, 1)))
    return out


def outputs_of(parts: Parts, body: Step | Parallel, numbers: Sequence[Constant]) -> dict[str, list[Any]]:
    """Output elements in the program's own values."""
    out: dict[str, list[Any]] = {}
    for o, x in zip(body.outputs, numbers, strict=True):
        t = scalar_of(dict(parts.lanes.source.outputs)[o.name].type)
        out.setdefault(o.name, []).append(number_value(x, t, o.scale, o.value.kind == "float"))
    return out


def run_step(parts: Parts, rows: Sequence[Row], lane: int = 0,
             resets: Sequence[bool] | None = None) -> list[dict[str, list[Any]]]:
    """The outputs of each token, from the step body."""
    body = parts.step
    roots = [*(o.value for o in body.outputs), *body.nexts, *(c for _, c in body.checks)]
    fresh: dict[str, Constant] = {r.name: r.init for r in parts.registers}
    state = dict(fresh)
    shown = []
    for t, row in enumerate(rows):
        if resets is not None and resets[t]:
            state = dict(fresh)
        leaves = leaf_values(parts, roots, row, lane)
        leaves.update({v: state[v.attribute[0]] for v in schedule(roots) if v.op == "state"})
        numbers = evaluate(roots, leaves)
        n = len(body.outputs)
        assert all(numbers[n + len(state):]), "a check failed"
        shown.append(outputs_of(parts, body, numbers[:n]))
        state = dict(zip(state, numbers[n : n + len(state)], strict=True))
    return shown


def combined(scan: Scan, first: Numbers, then: Numbers) -> Numbers:
    b = Builder()
    x = tuple(b.leaf("input", k, "x", i) for i, k in enumerate(scan.kinds))
    y = tuple(b.leaf("input", k, "y", i) for i, k in enumerate(scan.kinds))
    return tuple(evaluate(scan.combine(b, x, y), dict(zip((*x, *y), (*first, *then), strict=True))))


def applied(scan: Scan, element: Numbers, carried: Numbers) -> Numbers:
    b = Builder()
    x = tuple(b.leaf("input", k, "x", i) for i, k in enumerate(scan.kinds))
    c = tuple(b.leaf("state", k, "c", i) for i, k in enumerate(scan.carried))
    return tuple(evaluate(scan.apply(b, x, c), dict(zip((*x, *c), (*element, *carried), strict=True))))


def entered(scan: Scan, parts: Parts) -> Numbers:
    b = Builder()
    registers = {r.name: r for r in parts.registers}
    states = tuple(b.const(registers[name].init, registers[name].kind) for name in scan.states)
    return tuple(evaluate(scan.enter(b, states), {}))


def folded(scan: Scan, elements: Sequence[Numbers], rng: random.Random) -> Numbers:
    """The elements combined in a random bracketing."""
    if len(elements) == 1:
        return elements[0]
    cut = rng.randint(1, len(elements) - 1)
    return combined(scan, folded(scan, elements[:cut], rng), folded(scan, elements[cut:], rng))


def run_parallel(parts: Parts, rows: Sequence[Row], rng: random.Random, lane: int = 0,
                 resets: Sequence[bool] | None = None) -> list[dict[str, list[Any]]]:
    """The outputs of each token, from the parallel body, every prefix in a bracketing of its own."""
    body = parts.parallel if resets is None else parts.resettable
    assert body is not None
    outputs = [o.value for o in body.outputs]
    roots = [*outputs, *(v for s in body.scans for v in s.leaf), *(c for _, c in body.checks)]
    known = [leaf_values(parts, roots, row, lane) for row in rows]
    for t, leaves in enumerate(known):
        leaves.update({v: bool(resets is not None and resets[t]) for v in schedule(roots) if v.op == "reset"})
    scanned = [v for v in schedule(roots) if v.op in ("new", "prev")]
    for k, scan in enumerate(body.scans):
        elements = [tuple(evaluate(scan.leaf, leaves)) for leaves in known]
        before = start = entered(scan, parts)
        for t, leaves in enumerate(known):
            after = applied(scan, folded(scan, elements[: t + 1], rng), start)
            for v in scanned:
                if v.attribute[0] == k:
                    leaves[v] = (after if v.op == "new" else before)[v.attribute[1]]
            before = after
    return [outputs_of(parts, body, evaluate(outputs, leaves)) for leaves in known]
