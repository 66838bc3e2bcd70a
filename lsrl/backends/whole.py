"""Circuits with rational weights as circuits with whole ones: units are counted in finer steps where needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from lsrl.backends.circuit import Bit, Circuit, Count, Gated, Lag, Number, Placement, Register, Unit
from lsrl.backends.linear_form import Form, Rational
from lsrl.diagnostics import LsrlError

__all__ = ["whole_weights"]

_FINEST = 2**40


def whole_weights(circuit: Circuit) -> Circuit:
    """The same circuit with every unit that needs it multiplied by a whole number, so that all weights are whole.

    Raises LsrlError (L404) where a unit's own feedback needs ever finer steps.
    """
    if all(_is_whole(u) for layer in circuit.layers for u in layer):
        return circuit
    scales: list[list[int]] = [[1] * len(circuit.columns)]
    layers: list[tuple[Unit, ...]] = []
    for units in circuit.layers:
        mine = _scales(units, scales[-1])
        layers.append(tuple(_scaled(u, s, scales[-1], mine) for u, s in zip(units, mine, strict=True)))
        scales.append(mine)
    outputs = tuple(replace(o, forms=tuple(_divided(f, scales[-1]) for f in o.forms)) for o in circuit.outputs)
    placements = [_placed(p, scales[p.layer]) for p in circuit.placements]
    return replace(circuit, layers=tuple(layers), outputs=outputs,
                   placements=tuple(p for p in placements if p is not None))


def _is_whole(u: Unit) -> bool:
    return all(x.denominator == 1 for f in _sums(u) for x in (f.bias, *(w for w, _ in f.terms)))


def _sums(u: Unit) -> tuple[Form, ...]:
    """What must be whole: sums over the layer below, over the own one, and the start as a form without terms."""
    match u:
        case Bit() | Number():
            return u.below, u.own, Form((), u.start)
        case Gated():
            return u.add, Form((), u.start)
        case Lag():
            return u.below, Form((), u.start)
        case Register():
            return ()


def _scales(units: Sequence[Unit], below: Sequence[int]) -> list[int]:
    mine = [1] * len(units)
    changed = True
    while changed:
        changed = False
        for i, u in enumerate(units):
            if isinstance(u, Register):
                continue
            first, *rest = _sums(u)
            needs = [Fraction(first.bias) + sum(Fraction(f.bias) for f in rest[:-1]), Fraction(u.start)]
            needs += [Fraction(w) / below[j] for w, j in first.terms]
            needs += [Fraction(w) / mine[j] for f in rest for w, j in f.terms]
            if isinstance(u, Gated):  # units that take each other's values count in the same steps
                needs += [Fraction(1, mine[j]) for _, j in u.keeps]
            s = math.lcm(mine[i], *(x.denominator for x in needs))
            if s > _FINEST:
                raise LsrlError.of("L404", f"{u.symbol.text} needs ever finer steps: its feedback has no grid",
                                   u.symbol.span)
            if s != mine[i]:
                mine[i], changed = s, True
    return mine


def _divided(form: Form, scales: Sequence[int]) -> Form:
    """The form over units that are multiplied by `scales`."""
    return Form(tuple((_plain(Fraction(w) / scales[i]), i) for w, i in form.terms), form.bias)


def _scaled(u: Unit, s: int, below: Sequence[int], own: Sequence[int]) -> Unit:
    assert not isinstance(u, Register)
    if isinstance(u, Gated):
        keeps = tuple((_divided(keep, below).scale(Fraction(s, own[j])), j) for keep, j in u.keeps)
        return replace(u, keeps=keeps, add=_whole(_divided(u.add, below).scale(s)), flip=_divided(u.flip, below),
                       start=_plain(Fraction(u.start) * s), lo=None if u.lo is None else u.lo * s,
                       hi=None if u.hi is None else u.hi * s)
    if isinstance(u, Lag):
        return replace(u, below=_whole(_divided(u.below, below).scale(s)), start=_plain(Fraction(u.start) * s),
                       hi=None if u.hi is None else u.hi * s)
    down = _divided(u.below, below) + u.own.bias
    new_below, new_own = _whole(down.scale(s)), _whole(Form(_divided(u.own, own).terms).scale(s))
    if isinstance(u, Bit):
        if s == 1:
            return replace(u, below=new_below, own=new_own)
        return Number(new_below, new_own, u.symbol, u.start * s, s)
    return replace(u, below=new_below, own=new_own, start=_plain(Fraction(u.start) * s),
                   hi=None if u.hi is None else u.hi * s, cap=None if u.cap is None else u.cap * s,
                   below_hi=None if u.below_hi is None else u.below_hi * s)


def _whole(form: Form) -> Form:
    return Form(tuple((_plain(w), i) for w, i in form.terms), _plain(form.bias))


def _plain(x: Rational) -> Rational:
    return int(x) if x.denominator == 1 else x


def _placed(p: Placement, scales: Sequence[int]) -> Placement | None:
    """The placement over the multiplied units; None if it switches one of them on as a bit."""
    if any(scales[u] != 1 for u in p.units):
        return None
    return replace(p, forms=tuple(_divided(f, scales) for f in p.forms), numbers=tuple(
        (n, Count(_divided(c.form, scales), tuple((u, a * scales[u], b * scales[u], k) for u, a, b, k in c.units)))
        for n, c in p.numbers))
