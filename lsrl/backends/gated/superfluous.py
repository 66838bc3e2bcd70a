"""Circuits without columns that others tell, without maps that are never on, and without those that two others are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from lsrl.backends.circuit import Bit, Circuit, Number
from lsrl.backends.codes import combination
from lsrl.backends.gated.reads import Signals, read_alone, reading
from lsrl.backends.linear_form import ZERO, Form

__all__ = ["without_differences", "without_sums_of_columns", "without_zeros"]

_DOMAIN = 64  # values of an input whose columns may be sums of others


def without_sums_of_columns(circuit: Circuit) -> Circuit:
    """The circuit whose units read no column that is a sum of others that they read, so that what passes columns on
    shows how few numbers tell the rest. Units that take each other's values read letters as they are."""
    known: dict[tuple[str, int | None], list[int]] = {}
    change: dict[int, Form] = {}
    for i, column in enumerate(circuit.columns):
        domain = column.domain
        if column.values is None or domain is None or len(domain) > _DOMAIN:
            continue
        before = known.setdefault((column.input, column.element), [])
        found = combination([frozenset(circuit.columns[j].values or ()) for j in before], domain,
                            [int(v in column.values) for v in domain]) if len(before) > 1 else None
        if found is None or any(x.denominator != 1 for x in (*found[0], found[1])):
            before.append(i)
        else:
            change[i] = Form.of(zip(found[0], before, strict=True), found[1])
    if not change:
        return circuit

    def through(form: Form) -> Form:
        return Form.total((change[i].scale(w) if i in change else Form(((w, i),)) for w, i in form.terms), form.bias)

    if not circuit.layers:
        return replace(circuit, outputs=tuple(replace(o, forms=tuple(map(through, o.forms))) for o in circuit.outputs))
    first = tuple(u if any(f.terms for f in read_alone(u)) else reading(u, through) for u in circuit.layers[0])
    return replace(circuit, layers=(first, *circuit.layers[1:]))


def without_zeros(circuit: Circuit) -> Circuit:
    """The circuit in which nothing reads a map whose sum is never above 0."""
    layers = list(circuit.layers)
    outputs = circuit.outputs
    for at, units in enumerate(layers):
        below = Signals(layers[at - 1] if at else circuit.columns)
        zeros = {i for i, u in enumerate(units) if isinstance(u, Bit | Number) and u.own == ZERO and _never(u, below)}
        if not zeros or any(p.layer == at + 1 and not zeros.isdisjoint(p.units) for p in circuit.placements):
            continue

        def left(form: Form, zeros: Collection[int] = zeros) -> Form:
            return Form(tuple((w, i) for w, i in form.terms if i not in zeros), form.bias)

        if at + 1 < len(layers):
            layers[at + 1] = tuple(reading(u, left) for u in layers[at + 1])
        else:
            outputs = tuple(replace(o, forms=tuple(map(left, o.forms))) for o in outputs)
    return replace(circuit, layers=tuple(layers), outputs=outputs)


def _never(u: Bit | Number, below: Signals) -> bool:
    most = below.most(u.below)
    return most is not None and most <= 0


def without_differences(circuit: Circuit) -> Circuit:
    """The circuit without maps that pass on what two others tell: x = ReLU(x) − ReLU(−x)."""
    layers = list(circuit.layers)
    outputs = circuit.outputs
    for at, units in enumerate(layers):
        below = Signals(layers[at - 1] if at else circuit.columns)
        held = {i for p in circuit.placements if p.layer == at + 1
                for i in (*p.units, *(j for f in (*p.forms, *(c.form for _, c in p.numbers)) for _, j in f.terms))}
        above = layers[at + 1] if at + 1 < len(layers) else ()
        held |= {i for u in above for f in read_alone(u) for _, i in f.terms}
        change = _differences({i: u.below for i, u in enumerate(units) if isinstance(u, Bit | Number)
                               and u.own == ZERO and (isinstance(u, Bit) or (u.hi is not None and u.cap is None))},
                              held, below)
        if not change:
            continue

        def told(form: Form, change: Mapping[int, Form] = change) -> Form:
            return Form.total((change[i].scale(w) if i in change else Form(((w, i),)) for w, i in form.terms),
                              form.bias)

        if at + 1 < len(layers):
            layers[at + 1] = tuple(reading(u, told) for u in above)
        else:
            outputs = tuple(replace(o, forms=tuple(map(told, o.forms))) for o in outputs)
    return replace(circuit, layers=tuple(layers), outputs=outputs)


def _differences(maps: Mapping[int, Form], held: Collection[int], below: Signals) -> dict[int, Form]:
    """The maps that are never below 0 and a difference of two others, and that difference. held: those that stay."""
    place = {form: i for i, form in maps.items()}
    out: dict[int, Form] = {}
    for i, form in maps.items():
        least = below.least(form)
        opposite = place.get(form.scale(-1))
        if opposite is None or opposite <= i or (least is not None and least >= 0):
            continue
        for j, other in maps.items():
            sign = 1 if other.terms == form.terms else -1 if other.terms == form.scale(-1).terms else 0
            least = below.least(other) if sign else None
            if least is not None and least >= 0 and j not in held and j not in (i, opposite):
                rest = other.bias - sign * form.bias
                out[j] = Form.of([(sign, i), (-sign, opposite)], rest)
    return out
