"""Disguises: circuits that compute the same in a form that cannot be read off the pattern of weights.

`permute` shuffles the units of every layer and the columns of the input. `superpose` also gives units a twin that is
always equal to them, splits every weight that reads such a unit over the two at random, and adds pairs of equal
distractors, units of arbitrary signals, that are read with opposite weights. All of it is exact in the circuit's whole
numbers: Σ w s is the same number, so the emitted model is exact for the same reasons as the plain one, and it is
verified as it stands. Placements move with the units, so `probe`, `poke` and the symbols speak of the disguised model.
`orthogonal` permutes, and then takes the emitted states into another basis (see `lsrl.backends.gated.basis`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from lsrl.backends.circuit import Bit, Circuit, Count, Gated, Lag, Layer, Number, Output, Placement, Symbol, Unit
from lsrl.backends.linear_form import ZERO, Form, Gate, Rational

__all__ = ["DISGUISES", "Disguise", "Origin", "disguise_circuit"]

DISGUISES = ("permute", "superpose", "orthogonal")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a unit of a disguised layer comes from.

    role: "unit", "twin" or "distractor". was: the unit's index in the plain circuit, of a twin that of its original;
    None of a distractor. equals: the index, in the disguised layer, of the other unit that always holds the same; None
    if there is none.
    """

    role: str
    was: int | None
    equals: int | None = None


@dataclass(frozen=True)
class Disguise:
    """The map back. units: for each layer, the origin of each of its units. columns: for each input column, its index
    in the plain circuit. bases: by layer, from 0, the orthogonal matrix Q of a state that is Q h for the channels h."""

    kind: str
    seed: int
    units: tuple[tuple[Origin, ...], ...]
    columns: tuple[int, ...]
    bases: tuple[tuple[int, tuple[tuple[float, ...], ...]], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The map back as JSON values; layers count from 0."""
        return {"kind": self.kind, "seed": self.seed, "columns": list(self.columns), "units": [
            {"layer": layer, "index": i, "role": o.role, "was": o.was, "equals": o.equals}
            for layer, row in enumerate(self.units) for i, o in enumerate(row)],
            **({"bases": [{"layer": k, "basis": list(map(list, q))} for k, q in self.bases]} if self.bases else {})}


def disguise_circuit(circuit: Circuit, kind: str, seed: int) -> tuple[Circuit, Disguise]:
    """The circuit in disguise, and the map back. kind: "permute" or "superpose". Equal seeds give equal disguises."""
    rng = random.Random(f"{kind} {seed}")
    return _Disguised(circuit, kind, seed, rng).result()


# old weight and old index of a signal → terms over the new signals
Images = Callable[[Rational, int], list[tuple[Rational, int]]]


class _Disguised:
    def __init__(self, circuit: Circuit, kind: str, seed: int, rng: random.Random) -> None:
        self.circuit, self.kind, self.seed, self.rng = circuit, kind, seed, rng
        self.columns = self._shuffled(range(len(circuit.columns)))
        self.places = [{old: new for new, old in enumerate(self.columns)}, *(
            {} for _ in circuit.layers)]  # of the columns, then of each layer: old index → new
        self.twins: list[dict[int, int]] = [{} for _ in self.places]  # likewise: old index → the twin's new index
        self.origins: list[tuple[Origin, ...]] = []

    def result(self) -> tuple[Circuit, Disguise]:
        layers: list[Layer] = []
        for number, units in enumerate(self.circuit.layers, 1):
            layers.append(self._layer(number, units, layers[-1] if layers else None))
        top = len(layers)
        outputs = tuple(replace(o, forms=tuple(self._mixed(f, top) for f in o.forms)) for o in self.circuit.outputs)
        if self.kind == "superpose" and layers:
            layers, outputs = self._confused(layers, outputs)
        columns = tuple(self.circuit.columns[i] for i in self.columns)
        placements = tuple(map(self._placed, self.circuit.placements))
        new = replace(self.circuit, columns=columns, layers=tuple(layers), outputs=outputs, placements=placements)
        return new, Disguise(self.kind, self.seed, tuple(self.origins), tuple(self.columns))

    def _shuffled(self, xs: Sequence[int]) -> list[int]:
        out = list(xs)
        self.rng.shuffle(out)
        return out

    def _layer(self, number: int, units: Layer, below: Layer | None) -> Layer:
        """Layer `number` (from 1): the order is chosen first, then every form is written over the new signals."""
        wanted = [("unit", i) for i in range(len(units))]
        extra: list[Unit] = []
        if self.kind == "superpose":
            wanted += [("twin", i) for i, u in enumerate(units) if _may_have_twin(u) and self.rng.random() < 0.6]
            extra = self._distractors(below, 1 + len(units) // 4)
            wanted += [(role, -1 - i) for i in range(len(extra)) for role in ("distractor", "twin")]
        self.rng.shuffle(wanted)
        wanted.sort(key=lambda w: _kind_order(units[w[1]] if w[1] >= 0 else extra[-1 - w[1]]))
        first = {i: new for new, (role, i) in enumerate(wanted) if role != "twin"}
        second = {i: new for new, (role, i) in enumerate(wanted) if role == "twin"}
        self.places[number] = {i: new for i, new in first.items() if i >= 0}
        self.twins[number] = {i: new for i, new in second.items() if i >= 0}
        out: list[Unit] = []
        origins: list[Origin] = []
        for role, i in wanted:
            unit = units[i] if i >= 0 else extra[-1 - i]
            other = first[i] if role == "twin" else second.get(i)
            origins.append(Origin("distractor" if i < 0 else role, i if i >= 0 else None, other))
            out.append(self._rewired(unit, number, role == "twin") if i >= 0 else self._named(unit, role == "twin"))
        self.origins.append(tuple(origins))
        return tuple(out)

    def _distractors(self, below: Layer | None, count: int) -> list[Unit]:
        """Units of two signals of the disguised layer below that are bits: "a or b" if they exclude each other, else
        "a and b". Either way the sum is at most 1, as every technology can hold it."""
        if below is None:
            columns = [self.circuit.columns[old] for old in self.columns]
            bits = [i for i, c in enumerate(columns) if c.values is not None]
        else:
            bits = [i for i, u in enumerate(below) if isinstance(u, Bit)]
        if len(bits) < 2:
            return []

        def exclusive(a: int, b: int) -> bool:
            if below is None:
                x, y = columns[a], columns[b]
                return (x.input, x.element) == (y.input, y.element) and not set(x.values or ()) & set(y.values or ())
            groups = {u.group for u in (below[a], below[b]) if isinstance(u, Bit)}
            return len(groups) == 1 and groups != {""}

        out: list[Unit] = []
        for a, b in (sorted(self.rng.sample(bits, 2)) for _ in range(count)):
            either = exclusive(a, b)
            out.append(Bit(Form.of([(1, a), (1, b)], 0 if either else -1), ZERO,
                           Symbol(f"distractor: signals {a} {'or' if either else 'and'} {b} below")))
        return out

    def _named(self, unit: Unit, twin: bool) -> Unit:
        return replace(unit, symbol=replace(unit.symbol, text=f"twin of {unit.symbol.text}")) if twin else unit

    def _mixed(self, form: Form, number: int) -> Form:
        """A form over layer `number` (0: the columns), written over the disguised one."""
        terms: list[tuple[Rational, int]] = []
        for w, i in form.terms:
            share = self.rng.choice((-2, -1, 1, 2)) if i in self.twins[number] else 0
            terms.append((w - share, self.places[number][i]))
            if share:
                terms.append((share, self.twins[number][i]))
        return Form.of(terms, form.bias)

    def _rewired(self, unit: Unit, number: int, twin: bool) -> Unit:
        """A unit with its forms over the new signals. A form called `own` reads its own layer, any other the one
        below."""
        changes: dict[str, Any] = {}
        for field in fields(unit):
            value = getattr(unit, field.name)
            if isinstance(value, Form):
                changes[field.name] = self._mixed(value, number - (field.name != "own"))
            elif isinstance(value, Gate):
                changes[field.name] = Gate(self._mixed(value.below, number - 1), self._mixed(value.own, number))
        if isinstance(unit, Gated):
            home = self.twins[number] if twin else self.places[number]
            changes["keeps"] = tuple((self._mixed(keep, number - 1), home[i]) for keep, i in unit.keeps)
        if isinstance(unit, Bit) and twin and unit.group:
            changes["group"] = f"{unit.group}, twins"
        return self._named(replace(unit, **changes), twin)

    def _confused(self, layers: list[Layer], outputs: tuple[Output, ...]) -> tuple[list[Layer], tuple[Output, ...]]:
        """Distractors are read, by units of the layer above and by outputs, each with a weight and its opposite."""
        new = list(layers)
        for number, origins in enumerate(self.origins):
            pairs = [(i, o.equals) for i, o in enumerate(origins) if o.role == "distractor" and o.equals is not None
                     and i < o.equals]
            for a, b in pairs:
                noise = Form.of([(k := self.rng.choice((-2, -1, 1, 2)), a), (-k, b)])
                if number + 1 == len(layers):
                    row = self.rng.randrange(len(outputs))
                    forms = list(outputs[row].forms)
                    if forms:
                        at = self.rng.randrange(len(forms))
                        forms[at] += noise
                        outputs = (*outputs[:row], replace(outputs[row], forms=tuple(forms)), *outputs[row + 1 :])
                    continue
                above = list(new[number + 1])
                readers = [i for i, u in enumerate(above) if isinstance(u, Bit | Number)]
                for reader in self.rng.sample(readers, min(2, len(readers))):
                    unit = above[reader]
                    assert isinstance(unit, Bit | Number)
                    above[reader] = replace(unit, below=unit.below + noise)
                new[number + 1] = tuple(above)
        return new, outputs

    def _placed(self, p: Placement) -> Placement:
        """A placement over the new units: read from the originals, written to the twins too."""
        place, twin = self.places[p.layer], self.twins[p.layer]

        def form(f: Form) -> Form:
            return Form.of([(w, place[i]) for w, i in f.terms], f.bias)

        def both(units: Sequence[int]) -> tuple[int, ...]:
            return (*(place[i] for i in units), *(twin[i] for i in units if i in twin))

        numbers = tuple((name, Count(form(c.form), tuple(
            (new, *rest) for u, *rest in c.units for new in both([u])))) for name, c in p.numbers)  # type: ignore[misc]
        return replace(p, forms=tuple(map(form, p.forms)), patterns=tuple(map(both, p.patterns)), units=both(p.units),
                       numbers=numbers)


def _may_have_twin(unit: Unit) -> bool:
    """Bits and bounded numbers: weights that cancel would spoil the bounds of numbers that grow, and the margins of
    counters' signs."""
    match unit:
        case Bit():
            return True
        case Number(hi=hi):
            return hi is not None
        case Gated(hi=hi, lo=lo, keeps=keeps):
            return hi is not None and lo is not None and len(keeps) <= 1
        case _:
            return False


def _kind_order(unit: Unit) -> int:
    """Layers of gated targets have their maps first, and the units of each kind together."""
    return 2 if isinstance(unit, Lag) else 1 if isinstance(unit, Gated) else 0
