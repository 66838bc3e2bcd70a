"""Bits that a gate holds: one unit in place of the product terms of a next-state function.

A bit is often stored as several units, a product term each, of which at most one is on: s' = [s and keep] + [set]. With
a gate that keeps a unit's state (f of an LSTM, z of a GRU) one unit is enough: s' = s where a threshold H says so, and
another threshold F elsewhere. Units are taken together if whatever reads the layer's past reads them with the same
weights. From the next value g(s, v), v all else that is read, follow H = {v: g(0, v) = 0, g(1, v) = 1} and
F = {v: g(0, v) = 1}, which may be anything on H; a toggle, g(0, v) = 1 and g(1, v) = 0, cannot be held.
That at most one unit of a set is on is proved with the rest, by induction over the tokens: all of the sets are taken to
be such before a token, and one of which it does not follow after the token is no longer taken to be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsrl.backends.circuit import Bit, CellReport, Circuit, Placement, Register, Unit
from lsrl.backends.linear_form import NEVER, Form, Gate, Rational

__all__ = ["hold_bits"]

_MOST_SIGNALS = 11  # that a set of units reads
_LARGEST = 16  # weight of a threshold
_STEPS = 400  # of the perceptron rule

Bits: TypeAlias = NDArray[np.int64]
Var = tuple[str, int]  # ("below", signal), ("own", unit) or ("set", number of a set)


@dataclass(frozen=True)
class _Held:
    """A set of units as one: on iff `set` says so, while `hold` is not on."""

    members: tuple[int, ...]
    set: Mapping[Var, int]
    set_bias: int
    hold: Mapping[Var, int]
    hold_bias: int
    at_most_one: bool


def hold_bits(circuit: Circuit) -> Circuit:
    """The circuit with bits held by gates where that takes fewer units."""
    for layer in range(len(circuit.layers)):
        circuit = _Layer(circuit, layer).result()
    return circuit


class _Layer:
    def __init__(self, circuit: Circuit, layer: int) -> None:
        self.circuit, self.layer = circuit, layer
        self.units = circuit.layers[layer]
        self.below = _told_by_scalars(circuit, layer)
        self.sets = self._sets()
        self.found: dict[int, _Held] = {}

    def result(self) -> Circuit:
        valid = dict(enumerate(self.sets))
        while True:  # until none of those that are left fails
            home = {i: k for k, members in valid.items() for i in members}
            tried = {k: self._merged(k, members, home) for k, members in valid.items()}
            failed = {k for k, (exclusive, _) in tried.items() if not exclusive}
            if not failed:
                break
            valid = {k: m for k, m in valid.items() if k not in failed}
        kept: dict[int, tuple[int, ...]] = {}
        for k, (_, held) in tried.items():
            if held is not None:
                kept[k] = self._apart(held.members)
                if len(kept[k]) + 1 < len(held.members):
                    self.found[k] = held
        return self._rewritten(kept, valid) if self.found else self.circuit

    def _forms(self) -> Iterator[Form]:
        """All forms that read what this layer held before the token: of its own units, and where its states live."""
        for u in self.units:
            yield from _own_forms(u)
        for p in self.circuit.placements:
            if p.layer == self.layer + 1:
                yield from p.forms
                yield from (count.form for _, count in p.numbers)

    def _above(self) -> Iterator[Form]:
        """All forms that read what it shows."""
        if self.layer + 1 < len(self.circuit.layers):
            for u in self.circuit.layers[self.layer + 1]:
                yield from _below_forms(u)
        else:
            for output in self.circuit.outputs:
                yield from output.forms

    def _sets(self) -> list[tuple[int, ...]]:
        read: dict[int, list[tuple[int, Rational]]] = {}
        for number, form in enumerate(self._forms()):
            for w, i in form.terms:
                read.setdefault(i, []).append((number, w))
        alike: dict[tuple[tuple[int, Rational], ...], list[int]] = {}
        for i, u in enumerate(self.units):
            if isinstance(u, Bit) and u.hold == NEVER and i in read and _is_whole(u):
                alike.setdefault(tuple(read[i]), []).append(i)
        return [tuple(m) for m in alike.values() if len(m) > 1]

    def _apart(self, members: Sequence[int]) -> tuple[int, ...]:
        """The members that something above reads with another weight than most of them: they stay as units beside."""
        out = set()
        for weights in self._weights(members):
            common = _mode(weights)
            out |= {i for i, w in zip(members, weights, strict=True) if w != common}
        return tuple(sorted(out))

    def _weights(self, members: Sequence[int]) -> Iterator[list[Rational]]:
        for form in self._above():
            by = {i: w for w, i in form.terms}
            if any(i in by for i in members):
                yield [by.get(i, 0) for i in members]

    def _merged(self, number: int, members: Sequence[int], home: Mapping[int, int]) -> tuple[bool, _Held | None]:
        """Whether at most one member is on after a token, and what holds their sum; None if nothing does."""
        own = ("set", number)
        sums = [self._over(self.units[i], home) for i in members]
        names = sorted({v for terms, _ in sums for v in terms} - {own})
        if len(names) > _MOST_SIGNALS:
            return self._grouped(members), None
        points = self._points(names)
        after = []
        for s in (0, 1):
            on: Bits = np.zeros(len(points), np.int64)
            for terms, bias in sums:
                weights = np.array([terms.get(v, 0) for v in names], np.int64)
                on += points @ weights + terms.get(own, 0) * s + bias >= 1
            after.append(on)
        if max(int(x.max(initial=0)) for x in after) > 1 or sum(int(self.units[i].start) for i in members) > 1:
            return False, None
        clear, keep = after
        hold = (clear == 0) & (keep == 1)
        if not hold.any() or ((clear == 1) & (keep == 0)).any():
            return True, None
        gates = [_threshold(points, hold, ~hold), _threshold(points, clear == 1, (clear == 0) & ~hold)]
        if any(g is None for g in gates):
            return True, None
        (held, held_bias), (on_set, set_bias) = (g for g in gates if g is not None)
        most = sum(max(int(w), 0) for w in on_set) + set_bias
        return True, _Held(tuple(members), _named(names, on_set), set_bias, _named(names, held), held_bias, most <= 1)

    def _grouped(self, members: Sequence[int]) -> bool:
        """Whether it is known already that at most one of some units is on."""
        groups = {u.group for i in members if isinstance(u := self.units[i], Bit)}
        return len(groups) == 1 and groups != {""}

    def _over(self, unit: Unit, home: Mapping[int, int]) -> tuple[dict[Var, int], int]:
        """A unit's sum over signals below, units and whole sets of units."""
        assert isinstance(unit, Bit)
        terms: dict[Var, int] = {("below", i): int(w) for w, i in unit.below.terms}
        for w, i in unit.own.terms:
            terms["set" if i in home else "own", home.get(i, i)] = int(w)
        return terms, int(unit.below.bias + unit.own.bias)

    def _points(self, names: Sequence[Var]) -> Bits:
        """The values that signals can have together: of a scalar's columns those of one value, of bits that exclude
        each other one at most."""
        parts: dict[object, list[int]] = {}
        for at, (kind, i) in enumerate(names):
            parts.setdefault(self._part(kind, i), []).append(at)
        choices = [self._choices(part, [names[at][1] for at in places]) for part, places in parts.items()]
        order = [at for places in parts.values() for at in places]
        out = np.zeros((int(np.prod([len(c) for c in choices])), len(names)), np.int64)
        out[:, order] = [[x for part in point for x in part] for point in product(*choices)]
        return out

    def _part(self, kind: str, i: int) -> object:
        if kind == "below" and i in self.below:
            return ("scalar", self.below[i][0])
        if kind == "set":
            return (kind, i)
        if kind == "below" and not self.layer:
            return (kind, i)
        unit = self.units[i] if kind == "own" else self.circuit.layers[self.layer - 1][i]
        if isinstance(unit, Register):
            return ("sign", kind, i)
        return ("group", unit.group) if kind == "below" and isinstance(unit, Bit) and unit.group else (kind, i)

    def _choices(self, part: object, signals: Sequence[int]) -> list[tuple[int, ...]]:
        match part:
            case ("scalar", _):
                return sorted(set(zip(*(self.below[i][1] for i in signals), strict=True)))
            case ("group", _):
                return [(0,) * len(signals), *(tuple(int(j == k) for j in range(len(signals)))
                                               for k in range(len(signals)))]
            case ("sign", *_):
                return [(-1,), (0,), (1,)]
            case _:
                return [(0,), (1,)]

    def _rewritten(self, kept: Mapping[int, tuple[int, ...]], valid: Mapping[int, tuple[int, ...]]) -> Circuit:
        gone = {i for k, h in self.found.items() for i in h.members if i not in kept[k]}
        new: list[Unit] = []
        place: dict[int, int] = {}  # a unit that stays → its new place
        at: dict[int, int] = {}  # a set → the place of its one unit
        first = {h.members[0]: k for k, h in self.found.items()}
        order: list[tuple[str, int]] = []
        for i in range(len(self.units)):
            order += [("set", first[i])] if i in first else []
            order += [("unit", i)] if i not in gone else []
        for where, (kind, i) in enumerate(order):
            (at if kind == "set" else place)[i] = where
        owner = {i: k for k, h in self.found.items() for i in h.members}

        def past(form: Form) -> Form:
            terms = {(w, at[owner[i]] if i in owner else place[i]) for w, i in form.terms}
            return Form.of(terms, form.bias)

        def shown(form: Form) -> Form:
            weights = {i: w for w, i in form.terms}
            terms = [(w, place[i]) for w, i in form.terms if i not in owner]
            for k, h in self.found.items():
                if any(i in weights for i in h.members):
                    common = _mode([weights.get(i, 0) for i in h.members])
                    terms.append((common, at[k]))
                    terms += [(weights.get(i, 0) - common, place[i]) for i in kept[k]]
            return Form.of(terms, form.bias)

        def form_of(terms: Mapping[Var, int]) -> tuple[Form, Form]:
            """The part below and the part of the layer itself; of a set that is not one unit, all its units."""
            own: list[tuple[int, int]] = []
            for (kind, i), w in terms.items():
                if kind == "set" and i in at:
                    own.append((w, at[i]))
                elif kind != "below":
                    own += [(w, place[j]) for j in (valid[i] if kind == "set" else (i,))]
            return Form.of((w, i) for (kind, i), w in terms.items() if kind == "below"), Form.of(own)

        for kind, i in order:
            if kind == "unit":
                new.append(_mapped(self.units[i], past, True))
                continue
            h = self.found[i]
            below, own = form_of(h.set)
            hold, hold_own = form_of(h.hold)
            units = [u for j in h.members if isinstance(u := self.units[j], Bit)]
            symbol = replace(units[0].symbol, text=" or ".join(u.symbol.text for u in units))
            new.append(Bit(below + h.set_bias, own, symbol, sum(u.start for u in units), h.at_most_one, "",
                           Gate(hold + h.hold_bias, hold_own)))
        layers = list(self.circuit.layers)
        layers[self.layer] = tuple(new)
        outputs = self.circuit.outputs
        if self.layer + 1 < len(layers):
            layers[self.layer + 1] = tuple(_mapped(u, shown, False) for u in layers[self.layer + 1])
        else:
            outputs = tuple(replace(o, forms=tuple(map(shown, o.forms))) for o in outputs)

        def home(units: Sequence[int]) -> tuple[int, ...]:
            """Of units that are written: members that stay beside their set are no state any more."""
            return tuple(sorted({at[owner[i]] if i in owner else place[i] for i in units}))

        def placed(p: Placement) -> Placement:
            if p.layer != self.layer + 1:
                return p
            numbers = tuple((n, replace(c, form=past(c.form), units=tuple(
                (place[i], scale, offset, clipped) for i, scale, offset, clipped in c.units))) for n, c in p.numbers)
            return replace(p, forms=tuple(map(past, p.forms)), patterns=tuple(map(home, p.patterns)),
                           units=home(p.units), numbers=numbers)

        def report(c: CellReport) -> CellReport:
            saved = sum(len(h.members) - 1 - len(kept[k]) for k, h in self.found.items()
                        if c.layer == self.layer + 1 and self.units[h.members[0]].symbol.states == c.states)
            return replace(c, width=c.width - saved)

        cells = tuple(map(report, self.circuit.cells))
        return replace(self.circuit, layers=tuple(layers), outputs=outputs, cells=cells,
                       placements=tuple(map(placed, self.circuit.placements)))


Told = dict[int, tuple[tuple[str, int | None], tuple[int, ...]]]


def _told_by_scalars(circuit: Circuit, layer: int) -> Told:
    """Of the signals below a layer those that one scalar of the input tells: the scalar, and the signal for each of its
    values that some column names, and for all others."""
    domains: dict[tuple[str, int | None], list[Any]] = {}
    for c in circuit.columns:
        domains.setdefault((c.input, c.element), []).extend(c.values or ())
    told: Told = {}
    for i, c in enumerate(circuit.columns):
        key = c.input, c.element
        if c.values is not None:
            told[i] = key, (*(int(v in c.values) for v in domains[key]), 0)
    for units in circuit.layers[:layer]:
        below, told = told, {}
        for i, u in enumerate(units):
            sources = [below.get(j) for _, j in u.below.terms] if isinstance(u, Bit) and not u.own.terms else []
            keys = {s[0] for s in sources if s is not None}
            if isinstance(u, Bit) and len(keys) == 1 and None not in sources and u.hold == NEVER:
                rows = zip(*(s[1] for s in sources if s is not None), strict=True)
                told[i] = keys.pop(), tuple(int(u.below.bias + u.own.bias + sum(
                    w * x for (w, _), x in zip(u.below.terms, row, strict=True)) >= 1) for row in rows)
    return told


def _is_whole(unit: Bit) -> bool:
    return all(w.denominator == 1 for f in (unit.below, unit.own) for w in (f.bias, *(w for w, _ in f.terms)))


def _own_forms(unit: Unit) -> Iterator[Form]:
    for f in fields(unit):
        value = getattr(unit, f.name)
        if isinstance(value, Gate):
            yield value.own
        elif isinstance(value, Form) and f.name == "own":
            yield value


def _below_forms(unit: Unit) -> Iterator[Form]:
    for f in fields(unit):
        value = getattr(unit, f.name)
        if isinstance(value, Gate):
            yield value.below
        elif isinstance(value, Form) and f.name != "own":
            yield value


def _mapped(unit: Unit, form: Callable[[Form], Form], own: bool) -> Unit:
    """A bit or register with the forms of one kind rewritten: those of its own layer, or those of the layer below."""
    assert isinstance(unit, Bit | Register)
    changes: dict[str, Any] = {}
    for f in fields(unit):
        value = getattr(unit, f.name)
        if isinstance(value, Gate):
            changes[f.name] = replace(value, own=form(value.own)) if own else replace(value, below=form(value.below))
        elif isinstance(value, Form) and (f.name == "own") == own:
            changes[f.name] = form(value)
    return replace(unit, **changes)


def _mode(weights: Sequence[Rational]) -> Rational:
    return Counter(weights).most_common(1)[0][0]


def _named(names: Sequence[Var], weights: Sequence[int]) -> dict[Var, int]:
    return {v: int(w) for v, w in zip(names, weights, strict=True) if w}


def _threshold(points: Bits, on: NDArray[np.bool_], off: NDArray[np.bool_]) -> tuple[tuple[int, ...], int] | None:
    """Small whole weights and a bias with Σ weight · signal + bias ≥ 1 on the points `on`, and ≤ 0 on `off`; None if
    none were found. By the perceptron rule from the Chow parameters, on the point furthest out of order."""
    if not on.any():
        return (0,) * points.shape[1], 0
    if not off.any():
        return (0,) * points.shape[1], 1
    high, low = points[on].astype(np.float64), points[off].astype(np.float64)  # small whole numbers, so exact
    chow = high.mean(0) - low.mean(0)
    for scale in (1, 2, 3, 5):
        largest = float(np.abs(chow).max())
        weights = np.round(chow * scale / largest) if largest else np.zeros_like(chow)
        seen: set[bytes] = set()
        for _ in range(_STEPS):
            if weights.tobytes() in seen:
                break  # the rule goes round in a circle
            seen.add(weights.tobytes())
            a, b = high @ weights, low @ weights
            if int(a.min()) > int(b.max()):
                return tuple(map(int, weights)), 1 - int(a.min())
            weights = weights + high[int(a.argmin())] - low[int(b.argmax())]
            if int(np.abs(weights).max(initial=0)) > _LARGEST:
                break
    return None
