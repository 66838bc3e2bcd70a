"""Building ReLU circuits: units made on demand, each once, and values carried from layer to layer.

A value of the program is held by one of two kinds of `Holding`: `Choice` (finitely many values, one-hot) and
`Quantum` (a number on a grid). Both are read at any layer from their own on; what is asked for further down is passed
along by identity units, made when asked for, so that nothing is carried that nobody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

from lsrl.backends.circuit import (
    Bit,
    Circuit,
    Column,
    Count,
    Gated,
    Lag,
    Number,
    Output,
    Placement,
    Register,
    Symbol,
    Unit,
)
from lsrl.backends.linear_form import ZERO, Form, Rational, constant, signal
from lsrl.types import Value

__all__ = ["Choice", "Holding", "Quantum", "Staircase", "Wiring", "gate_above", "pruned", "reordered"]


_NOTHING = Symbol("")


class Wiring:
    """The units so far. Layer 0 are the columns; `layers[l - 1]` are the units of layer l."""

    def __init__(self) -> None:
        self.columns: list[Column] = []
        self.layers: list[list[Unit]] = []
        self._known: dict[Hashable, int] = {}

    def column(self, column: Column) -> Form:
        """A column as a form over layer 0."""
        if column not in self.columns:
            self.columns.append(column)
        return signal(self.columns.index(column))

    def units(self, layer: int) -> list[Unit]:
        """The units of a layer so far, to read or to add to."""
        while len(self.layers) < layer:
            self.layers.append([])
        return self.layers[layer - 1]

    def add(self, layer: int, unit: Unit) -> int:
        """The index of a unit in its layer; of units that always compute the same only one is made."""
        units = self.units(layer)
        if isinstance(unit, Register):
            raise ValueError("a ReLU layer has no registers")
        key = (layer, replace(unit, symbol=_NOTHING))
        if key not in self._known:
            units.append(unit)
            self._known[key] = len(units) - 1
        return self._known[key]

    def bit(self, layer: int, below: Form, what: Symbol) -> Form:
        """[below = 1] of a sum that is whole and at most 1."""
        if below.is_constant:
            return constant(1 if below.bias >= 1 else 0)
        return signal(self.add(layer, Bit(below, ZERO, what)))

    def relu(self, layer: int, below: Form, hi: Rational | None, what: Symbol, cap: Rational | None = None) -> Form:
        """max(0, below), at most `hi` if there is a bound; the sum must be whole."""
        if below.is_constant:
            return constant(max(0, below.bias))
        if hi is not None and hi <= 0:
            return ZERO
        return signal(self.add(layer, Number(below, ZERO, what, 0, hi, cap)))

    def all_of(self, layer: int, bits: Sequence[Form], what: Symbol) -> Form:
        """The conjunction of 0/1 forms over layer − 1, in `layer`."""
        return self.bit(layer, Form.total(bits, 1 - len(bits)), what) if bits else constant(1)

    def any_of(self, layer: int, bits: Sequence[Form], what: Symbol) -> Form:
        """The disjunction of 0/1 forms over layer − 1, in `layer`."""
        none = self.bit(layer, constant(1) - Form.total(bits), what)
        return constant(1) - none


@dataclass(eq=False)
class Choice:
    """A variable with finitely many values: `place(k)` for a set of places in `domain` is a 0/1 form at `layer`.

    `home(set)` makes the form at the variable's own layer; relays are made here. cost: of the units that it takes.
    number: Σ weight of place · [place] in fewer units than the places would take one by one; None where it cannot.
    """

    wiring: Wiring
    name: Symbol
    domain: tuple[Value, ...]
    layer: int
    home: Callable[[frozenset[int]], Form]
    cost: Callable[[frozenset[int]], int] = lambda places: 0
    number: Callable[[Sequence[Rational]], Quantum | None] = lambda weights: None

    def __post_init__(self) -> None:
        self._forms: dict[tuple[frozenset[int], int], Form] = {}

    def member(self, places: frozenset[int], layer: int) -> Form:
        """[the value is one of `places`] as a form over `layer`."""
        if not places:
            return ZERO
        if len(places) == len(self.domain):
            return constant(1)
        others = frozenset(range(len(self.domain))) - places
        at = layer
        while at > self.layer and (places, at) not in self._forms and (others, at) not in self._forms:
            at -= 1
        if (places, at) not in self._forms and (others, at) in self._forms:
            return constant(1) - self.member(others, layer)
        found = self._forms.get((places, at))
        if found is None:
            found = self._forms[places, self.layer] = self.home(places)
        while at < layer:
            at += 1
            found = self._forms[places, at] = self.wiring.bit(at, found, self._symbol(places))
        return found

    def total(self, weights: Sequence[Rational], layer: int) -> Form:
        """Σ weight of place · [place], as a form over `layer`; places of one weight are read together."""
        known = self.number(weights)
        if known is not None:
            return known.at(layer)
        groups: dict[Rational, set[int]] = {}
        for place, w in enumerate(weights):
            groups.setdefault(w, set()).add(place)
        base = max(groups, key=lambda w: (len(groups[w]), -w))
        return Form.total((self.member(frozenset(g), layer).scale(w - base)
                           for w, g in groups.items() if w != base), base)

    def _symbol(self, places: frozenset[int]) -> Symbol:
        shown = [str(self.domain[p]).lower() if isinstance(self.domain[p], bool) else str(self.domain[p])
                 for p in sorted(places)[:6]]
        text = "= " + shown[0] if len(places) == 1 else "in {" + ", ".join(shown) + (", …}" if len(places) > 6 else "}")
        return replace(self.name, text=f"{self.name.text} {text}")


@dataclass(eq=False)
class Quantum:
    """A number: multiples of `grid` from `lo` to `hi` (None: no bound), `form` at `layer` is its value."""

    wiring: Wiring
    name: Symbol
    layer: int
    form: Form
    lo: Fraction | None
    hi: Fraction | None
    grid: Fraction

    def __post_init__(self) -> None:
        self._forms: dict[int, Form] = {self.layer: self.form}

    def at(self, layer: int) -> Form:
        """The value as a form over `layer`."""
        at = max(x for x in self._forms if x <= layer)
        found = self._forms[at]
        while at < layer:
            at += 1
            found = self._forms[at] = self._carried(found, at)
        return found

    def _carried(self, below: Form, layer: int) -> Form:
        if below.is_constant:
            return below
        if self.lo is not None:
            span = None if self.hi is None else (self.hi - self.lo) / self.grid
            up = self.wiring.relu(layer, (below - self.lo).scale(1 / self.grid), span, self.name)
            return up.scale(self.grid) + self.lo
        top = None if self.hi is None else max(self.hi, Fraction(0)) / self.grid
        up = self.wiring.relu(layer, below.scale(1 / self.grid), top, self.name)
        down = self.wiring.relu(layer, below.scale(-1 / self.grid), None,
                                replace(self.name, text=f"-({self.name.text})"))
        return (up - down).scale(self.grid)


Holding: TypeAlias = Choice | Quantum


@dataclass(frozen=True)
class Staircase:
    """A function on a grid that is linear between its knots: (place, value), ascending; slopes before and after."""

    knots: tuple[tuple[Fraction, Fraction], ...]
    left: Fraction
    right: Fraction

    def __call__(self, x: Fraction) -> Fraction:
        first, last = self.knots[0], self.knots[-1]
        if x <= first[0]:
            return first[1] - self.left * (first[0] - x)
        if x >= last[0]:
            return last[1] + self.right * (x - last[0])
        for (a, fa), (b, fb) in zip(self.knots, self.knots[1:], strict=False):
            if x <= b:
                return fa + (fb - fa) * (x - a) / (b - a)
        raise AssertionError("unreachable")

    @classmethod
    def sampled(cls, f: Callable[[Fraction], Fraction], points: Iterable[Fraction], left: Fraction,
                right: Fraction) -> Staircase:
        """The function through the values of `f` at some points."""
        return cls(tuple((x, f(x)) for x in sorted(set(points))), left, right)

    def kinks(self) -> list[tuple[Fraction, Fraction]]:
        """(place, change of slope there), those without a change left out."""
        slopes = [self.left]
        slopes += [(fb - fa) / (b - a) for (a, fa), (b, fb) in zip(self.knots, self.knots[1:], strict=False)]
        slopes.append(self.right)
        return [(x, after - before) for (x, _), before, after in zip(self.knots, slopes, slopes[1:], strict=False)
                if after != before]

    def terms(self, lo: Fraction | None, hi: Fraction | None) -> tuple[Fraction, list[tuple[Fraction, int, Fraction]]]:
        """The function on [lo, hi] as bias + Σ c · ReLU(sign · (x − k)): (bias, [(c, sign, k)]).

        With a lower bound all signs are +1; without, the part left of the first knot has sign −1.
        """
        first, value = self.knots[0]
        kinks = self.kinks()
        if lo is None:
            out = [(-self.left, -1, first)] if self.left else []
            slope = (self.left + kinks[0][1]) if kinks and kinks[0][0] == first else self.left
            out += [(slope, 1, first)] if slope else []
            out += [(c, 1, k) for k, c in kinks if k > first and (hi is None or k < hi)]
            return value, out
        start = self(lo)
        slope = self.left + sum((c for k, c in kinks if k <= lo), Fraction(0))
        out = [(slope, 1, lo)] if slope else []
        out += [(c, 1, k) for k, c in kinks if k > lo and (hi is None or k < hi)]
        return start, out


def gate_above(x: Quantum, stairs: Staircase, what: Symbol) -> Form:
    """A staircase of a number, as a form over the layer after the number's own."""
    layer = x.layer + 1
    bias, terms = stairs.terms(x.lo, x.hi)
    parts: list[Form] = []
    for c, sign, k in terms:
        reach = x.hi if sign > 0 else x.lo
        hi = None if reach is None else max(Fraction(0), sign * (reach - k) / x.grid)
        unit = x.wiring.relu(layer, (x.form - k).scale(sign / x.grid), hi, what)
        parts.append(unit.scale(c * x.grid))
    return Form.total(parts, bias)


def pruned(circuit: Circuit) -> Circuit:
    """The circuit without units that no output needs or that are 0 for ever, and without placements that need such."""
    circuit = _without_zeros(circuit)
    keep: list[set[int]] = [set() for _ in circuit.layers]
    wanted = {i for o in circuit.outputs for f in o.forms for _, i in f.terms}
    if circuit.layers:
        keep[-1] |= wanted
    for layer in reversed(range(len(circuit.layers))):
        stack = list(keep[layer])
        while stack:
            unit = circuit.layers[layer][stack.pop()]
            if layer:
                keep[layer - 1] |= _below(unit)
            for i in _own(unit):
                if i not in keep[layer]:
                    keep[layer].add(i)
                    stack.append(i)
    names = [{old: new for new, old in enumerate(sorted(k))} for k in keep]
    return _over(circuit, names)


def _without_zeros(circuit: Circuit) -> Circuit:
    """The circuit in which nothing reads a number that is never more than 0."""
    zeros = [{i for i, u in enumerate(layer) if isinstance(u, Number) and u.hi is not None and u.hi <= 0
              and not u.start} for layer in circuit.layers]
    if not any(zeros):
        return circuit

    def left(form: Form, dead: Collection[int]) -> Form:
        return Form(tuple((w, i) for w, i in form.terms if i not in dead), form.bias)

    def reading(u: Unit, below: Collection[int], own: Collection[int]) -> Unit:
        match u:
            case Bit() | Number():
                return replace(u, below=left(u.below, below), own=left(u.own, own))
            case Lag():
                return replace(u, below=left(u.below, below))
            case Gated():
                return replace(u, keeps=tuple((left(k, below), i) for k, i in u.keeps), add=left(u.add, below),
                               flip=left(u.flip, below))
            case Register():
                raise ValueError("a ReLU circuit has no registers")

    layers: list[tuple[Unit, ...]] = []
    below: Collection[int] = ()
    for layer, own in zip(circuit.layers, zeros, strict=True):
        layers.append(tuple(reading(u, below, own) for u in layer))
        below = own
    outputs = tuple(replace(o, forms=tuple(left(f, below) for f in o.forms)) for o in circuit.outputs)
    placements = tuple(replace(
        p, forms=tuple(left(f, zeros[p.layer - 1]) for f in p.forms),
        numbers=tuple((n, replace(c, form=left(c.form, zeros[p.layer - 1]))) for n, c in p.numbers))
        for p in circuit.placements)
    return replace(circuit, layers=tuple(layers), outputs=outputs, placements=placements)


def reordered(circuit: Circuit, order: Sequence[Sequence[int]]) -> Circuit:
    """The circuit with the units of each layer in another order: order[l][new] = old."""
    return _over(circuit, [{old: new for new, old in enumerate(row)} for row in order])


def _over(circuit: Circuit, names: Sequence[Mapping[int, int]]) -> Circuit:
    """The circuit of the units named, in the order of their new numbers."""
    wanted = {i for o in circuit.outputs for f in o.forms for _, i in f.terms}
    used = set(wanted) if not circuit.layers else {
        i for u, unit in enumerate(circuit.layers[0]) if u in names[0] for i in _below(unit)}
    columns = {old: new for new, old in enumerate(sorted(used))}
    layers: list[tuple[Unit, ...]] = []
    for layer, units in enumerate(circuit.layers):
        below = names[layer - 1] if layer else columns
        if len(names[layer]) == len(units) and _is_same(names[layer]) and _is_same(below):
            layers.append(units)
            continue
        new = {names[layer][i]: _renamed(unit, below, names[layer]) for i, unit in enumerate(units)
               if i in names[layer]}
        layers.append(tuple(new[i] for i in range(len(new))))
    last = names[-1] if names else columns
    outputs = tuple(Output(o.name, o.type, tuple(_form(f, last) for f in o.forms)) for o in circuit.outputs)
    placements = [_placement(p, names[p.layer - 1]) for p in circuit.placements]
    return replace(circuit, columns=tuple(c for i, c in enumerate(circuit.columns) if i in columns),
                   layers=tuple(layers), outputs=outputs, placements=tuple(p for p in placements if p is not None))


def _is_same(names: Mapping[int, int]) -> bool:
    return all(old == new for old, new in names.items())


def _form(form: Form, names: Mapping[int, int]) -> Form:
    return Form.of(((w, names[i]) for w, i in form.terms), form.bias)


def _below(unit: Unit) -> set[int]:
    """What a unit reads of the layer below."""
    if isinstance(unit, Register):
        raise ValueError("a ReLU circuit has no registers")
    forms = [*(keep for keep, _ in unit.keeps), unit.add, unit.flip, *(unit.split or ())] \
        if isinstance(unit, Gated) else [unit.below]
    return {i for f in forms for _, i in f.terms}


def _own(unit: Unit) -> list[int]:
    """What a unit reads of its own layer."""
    match unit:
        case Bit() | Number():
            return [i for _, i in unit.own.terms]
        case Gated():
            return [i for _, i in unit.keeps]
        case _:
            return []


def _renamed(unit: Unit, below: Mapping[int, int], own: Mapping[int, int]) -> Unit:
    assert not isinstance(unit, Register)
    if isinstance(unit, Gated):
        keeps = tuple((_form(keep, below), own[i]) for keep, i in unit.keeps)
        split = None if unit.split is None else (_form(unit.split[0], below), _form(unit.split[1], below))
        return replace(unit, keeps=keeps, add=_form(unit.add, below), flip=_form(unit.flip, below), split=split)
    if isinstance(unit, Lag):
        return replace(unit, below=_form(unit.below, below))
    return replace(unit, below=_form(unit.below, below), own=_form(unit.own, own))


def _placement(p: Placement, names: Mapping[int, int]) -> Placement | None:
    """The placement over the units that are left; None if one that it reads is gone."""
    read = {i for f in (*p.forms, *(c.form for _, c in p.numbers)) for _, i in f.terms}
    if not read <= set(names):
        return None
    return replace(
        p, forms=tuple(_form(f, names) for f in p.forms),
        patterns=tuple(tuple(names[i] for i in x if i in names) for x in p.patterns),
        units=tuple(names[i] for i in p.units if i in names),
        numbers=tuple((n, Count(_form(c.form, names), tuple(
            (names[u], a, b, k) for u, a, b, k in c.units if u in names))) for n, c in p.numbers))
