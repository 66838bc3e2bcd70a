"""Smaller circuits of ReLU maps and gated units that compute the same: what is passed on, as sums; linear layers gone.

A unit that is never below 0 before its ReLU is linear. What a layer's linear units pass on is read only in certain
sums, so as many units do as those sums have dimensions, each a sum by itself. A layer of linear units alone is no
layer: what reads it can read the layer below.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from lsrl.backends.circuit import Bit, Circuit, Number, Symbol, Unit
from lsrl.backends.gated.reads import Signals, bounds_of, forms_of, read_alone, reading
from lsrl.backends.gated.superfluous import without_differences, without_sums_of_columns, without_zeros
from lsrl.backends.linear_form import ZERO, Form, Rational
from lsrl.backends.wiring import pruned

__all__ = ["compacted"]

_SHOWN = 4  # parts of a sum that are named
_LARGEST = 1024  # of a weight, and of a number, in a sum: those of masks stay apart, as sums must stay exact
_Vector = dict[int, Rational]


def compacted(circuit: Circuit) -> Circuit:
    """The same function of the same states in fewer units and layers; weights stay whole. For circuits whose units are
    bits, numbers without feedback, gated units and lags."""
    circuit = without_sums_of_columns(circuit)
    vain = _Vain()
    while True:
        smaller = pruned(_summed(_without_linear_layers(without_differences(without_zeros(circuit))), vain))
        if (smaller.width, len(smaller.layers)) == (circuit.width, len(circuit.layers)):
            return circuit
        less = circuit.width - smaller.width
        circuit = smaller if smaller.baseline is None else replace(smaller, baseline=smaller.baseline - less)


# Layers that are linear


def _is_linear(u: Unit, below: Signals, apart: Callable[[int, int], bool]) -> bool:
    """Whether a map's sum is never below 0. apart: whether two units of the layer below are never on together."""
    if not isinstance(u, Bit | Number) or u.own != ZERO or \
            (isinstance(u, Number) and (u.hi is None or u.cap is not None)):
        return False
    least = below.least(u.below)
    if least is None or least >= 0:
        return least is not None
    # Of bits that are never on together one counts.
    taken: list[list[tuple[Rational, int]]] = []
    for w, i in u.below.terms:
        if w > 0:
            continue
        for group in taken:
            if all(apart(i, j) for _, j in group):
                least -= max(w, *(v for v, _ in group))
                group.append((w, i))
                break
        else:
            taken.append([(w, i)])
    return least >= 0


def _without_linear_layers(circuit: Circuit) -> Circuit:
    at = 0
    while at < len(circuit.layers) and len(circuit.layers) > 1:
        above = circuit.layers[at + 1] if at + 1 < len(circuit.layers) else ()
        units = circuit.layers[at]
        if any(p.layer == at + 1 for p in circuit.placements) or any(f.terms for u in above for f in read_alone(u)) \
                or not all(map(_linear(circuit, at), range(len(units)))):
            at += 1
            continue

        def through(form: Form, units: Sequence[Unit] = units) -> Form:
            return Form.total((_below(units[i]).scale(w) for w, i in form.terms), form.bias)

        layers = [*circuit.layers[:at], *circuit.layers[at + 1 :]]
        outputs = circuit.outputs
        if at < len(layers):
            layers[at] = tuple(reading(u, through) for u in layers[at])
        else:
            outputs = tuple(replace(o, forms=tuple(map(through, o.forms))) for o in outputs)

        def moved(layer: int, at: int = at) -> int:
            return layer - (layer > at + 1)

        circuit = replace(circuit, layers=tuple(layers), outputs=outputs,
                          placements=tuple(replace(p, layer=moved(p.layer)) for p in circuit.placements),
                          cells=tuple(replace(c, layer=moved(c.layer)) for c in circuit.cells))
    return circuit


def _linear(circuit: Circuit, at: int) -> Callable[[int], bool]:
    """Whether a unit of a layer is linear, by its place."""
    units: Sequence[Unit] = circuit.layers[at - 1] if at else ()
    below = Signals(units if at else circuit.columns)
    under = Signals(circuit.layers[at - 2] if at > 1 else circuit.columns)

    @functools.cache
    def apart(i: int, j: int) -> bool:
        a, b = (units[k] if k < len(units) else None for k in (i, j))
        if not isinstance(a, Bit) or not isinstance(b, Bit):
            return False
        most = under.most(a.below + b.below)
        return most is not None and most <= 1

    return lambda i: _is_linear(circuit.layers[at][i], below, apart)


def _below(u: Unit) -> Form:
    assert isinstance(u, Bit | Number)
    return u.below


# What is passed on


@dataclass(eq=False)
class _Vain:
    """Layers that `_summed_at` left as they were: while nothing around them changes there is no use in another look.

    _known: by the identity of a layer what was around it; the layers by theirs.
    """

    _known: dict[int, tuple[tuple[object, ...], tuple[object, ...]]] = field(default_factory=dict)

    def __contains__(self, place: tuple[Circuit, int, Sequence[set[int]]]) -> bool:
        layers, rest = self._around(*place)
        known = self._known.get(id(layers[-1]))
        return known is not None and len(known[0]) == len(layers) and rest == known[1] and all(
            a is b for a, b in zip(known[0], layers, strict=True))

    def add(self, circuit: Circuit, at: int, dead: Sequence[set[int]]) -> None:
        layers, rest = self._around(circuit, at, dead)
        self._known[id(layers[-1])] = layers, rest

    def _around(self, circuit: Circuit, at: int, dead: Sequence[set[int]]) -> tuple[tuple[object, ...],
                                                                                    tuple[object, ...]]:
        """The layers that decide what is done with one, itself the last, and the rest that does."""
        last = at + 1 == len(circuit.layers)
        near = circuit.layers[max(0, at - 2) : at + 2]
        placed = tuple(p for p in circuit.placements if p.layer == at + 1)
        rest = (circuit.outputs if last else frozenset(dead[at + 1]), placed, circuit.columns if at < 2 else ())
        return (*near, circuit.layers[at]), rest


def _summed(circuit: Circuit, vain: _Vain) -> Circuit:
    """Upwards what is the same in a layer becomes so in those that read it; downwards sums become sums of fewer."""
    dead: list[set[int]] = [set() for _ in circuit.layers]  # units that nothing reads any longer
    every = range(len(circuit.layers))
    for at in (*every, *reversed(every)):
        if (circuit, at, dead) in vain:
            continue
        after = _summed_at(circuit, at, dead)
        if after is circuit:
            vain.add(circuit, at, dead)
        circuit = after
    return circuit


def _summed_at(circuit: Circuit, at: int, dead: Sequence[set[int]]) -> Circuit:
    """The circuit with the linear units of a layer, or as many sums of what they read as what reads them needs."""
    units = circuit.layers[at]
    last = at + 1 == len(circuit.layers)
    readers = () if last else [u for i, u in enumerate(circuit.layers[at + 1]) if i not in dead[at + 1]]
    forms = [f for o in circuit.outputs for f in o.forms] if last else [f for u in readers for f in forms_of(u)]
    fixed = {i for u in readers for f in read_alone(u) for _, i in f.terms}
    large = {i for i, u in enumerate(units) if (bounds_of(u)[1] or 0) > _LARGEST}
    fixed |= large | {i for f in forms for w, i in f.terms if not -_LARGEST <= w <= _LARGEST}
    fixed |= {i for p in circuit.placements if p.layer == at + 1
              for i in (*p.units, *(j for f in (*p.forms, *(c.form for _, c in p.numbers)) for _, j in f.terms))}
    passing = set(filter(_linear(circuit, at), {i for f in forms for _, i in f.terms} - fixed))
    if not passing:
        return circuit
    basis = _Basis()
    sums = {f: Form.total(_below(units[i]).scale(w) for w, i in f.terms if i in passing) for f in dict.fromkeys(forms)}
    for row in sorted((_primitive(f) for f in sums.values() if f.terms), key=lambda v: (len(v), _size(v))):
        basis.add(row)
        if len(basis.rows) >= len(passing):
            return circuit
    below = Signals(circuit.layers[at - 1] if at else circuit.columns)
    known = {tuple(_below(units[i]).terms): i for i in sorted(passing, reverse=True)}
    new: list[Unit] = list(units)
    shown: list[Form] = []  # the sum that each row of the basis is, over the new layer
    for row in basis.rows:
        form = Form.of((w, i) for i, w in row.items())
        for sign in (1, -1):
            same = known.get(form.scale(sign).terms)
            if same is not None:
                shown.append((Form(((1, same),)) - _below(units[same]).bias).scale(sign))
                break
        else:
            least, most = below.least(form), below.most(form)
            if least is None or most is None:
                return circuit
            parts = [units[i].symbol for i in sorted(passing) if _overlap(_below(units[i]), row)]
            new.append(_sum_unit(form - least, most - least, parts))
            shown.append(Form(((1, len(new) - 1),), least))
    change: dict[Form, Form] = {}
    for f, total in sums.items():
        found = basis.coordinates({i: w for w, i in total.terms})
        if any(not -_LARGEST <= c <= _LARGEST or (not last and c.denominator != 1) for c in found.values()):
            return circuit
        rest = Form(tuple((w, i) for w, i in f.terms if i not in passing), f.bias + total.bias)
        change[f] = Form.total((shown[k].scale(c) for k, c in found.items()), rest.bias) + Form(rest.terms)
    dead[at] |= passing - {i for f in shown for _, i in f.terms}
    layers = list(circuit.layers)
    layers[at] = tuple(new)
    outputs = circuit.outputs
    if not last:
        layers[at + 1] = tuple(reading(u, lambda f: change.get(f, f)) for u in layers[at + 1])
    else:
        outputs = tuple(replace(o, forms=tuple(change[f] for f in o.forms)) for o in outputs)
    return replace(circuit, layers=tuple(layers), outputs=outputs)


def _primitive(form: Form) -> _Vector:
    """The weights as whole numbers without a common factor."""
    by = math.lcm(*(w.denominator for w, _ in form.terms))
    whole = {i: int(w * by) for w, i in form.terms}
    common = math.gcd(*whole.values())
    return {i: w // common for i, w in whole.items()}


def _size(vector: _Vector) -> int:
    return max(abs(int(w)) for w in vector.values())


def _overlap(form: Form, row: Mapping[int, Rational]) -> bool:
    return any(i in row for _, i in form.terms)


def _sum_unit(below: Form, hi: Rational, parts: Sequence[Symbol]) -> Unit:
    texts = list(dict.fromkeys(p.text for p in parts))
    more = f" + {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    symbol = Symbol(" + ".join(texts[:_SHOWN]) + more, parts[0].span)
    return Bit(below, ZERO, symbol) if hi == 1 else Number(below, ZERO, symbol, 0, hi)


@dataclass(eq=False)
class _Basis:
    """Independent vectors, and any vector of their span by them."""

    rows: list[_Vector] = field(default_factory=list)
    _reduced: dict[int, tuple[_Vector, _Vector]] = field(default_factory=dict)  # pivot → vector, by the rows

    def _rest(self, vector: Mapping[int, Rational]) -> tuple[_Vector, _Vector]:
        """What is left of a vector without the pivots, and what was taken off, by the rows."""
        left: _Vector = dict(vector)
        taken: _Vector = {}
        for pivot, c in vector.items():
            if pivot in self._reduced:
                reduced, by = self._reduced[pivot]
                _take(left, reduced, c)
                _take(taken, by, -c)
        return left, taken

    def add(self, vector: _Vector) -> None:
        left, taken = self._rest(vector)
        if not left:
            return
        pivot = min(left, key=lambda i: (abs(left[i]) != 1, i))
        by: _Vector = {len(self.rows): 1}
        _take(by, taken, 1)
        scale = left[pivot]
        reduced, by = ({i: _over(x, scale) for i, x in v.items()} for v in (left, by))
        for other, other_by in self._reduced.values():
            c = other.get(pivot, 0)
            if c:
                _take(other, reduced, c)
                _take(other_by, by, c)
        self.rows.append(vector)
        self._reduced[pivot] = reduced, by

    def coordinates(self, vector: Mapping[int, Rational]) -> _Vector:
        """The vector as a sum of rows, by their numbers."""
        left, taken = self._rest(vector)
        assert not left, "not in the span"
        return taken


def _take(target: _Vector, other: Mapping[int, Rational], c: Rational) -> None:
    """target −= c · other."""
    for i, x in other.items():
        rest = target.get(i, 0) - c * x
        if rest:
            target[i] = rest if rest.denominator > 1 else int(rest)
        else:
            target.pop(i, None)


def _over(x: Rational, y: Rational) -> Rational:
    if y == 1 or y == -1:
        return x * y
    q = Fraction(x) / y
    return int(q) if q.denominator == 1 else q
