"""What the units of a circuit read: sources as forms over a layer, relayed from where they are made.

Liveness decides what is relayed: at each layer only the sources that something below still reads, and of their values
only the classes it tells apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lsrl.backends.circuit import Bit, Column, Symbol, Unit
from lsrl.backends.codes import combination
from lsrl.backends.linear_form import ZERO, Form, Gate, Rational, constant, signal
from lsrl.backends.stages import MachineStage, Source, having, kept_sum, shown_sum
from lsrl.backends.sums import is_in

__all__ = ["Relays", "UnshownError", "among", "known"]


class UnshownError(Exception):
    """A machine does not show what is read of it, in a layout of few choices: such a layout is left out."""


class Relays:
    """The layers so far, the columns of the input, and how a source is read in a layer."""

    def __init__(self, sources: Mapping[int, Source]) -> None:
        self.sources = sources
        self.columns: list[Column] = []
        self.layers: list[list[Unit | None]] = []
        self.relays = 0
        self._needed: dict[int, list[tuple[int, list[frozenset[int]]]]] = {}
        self._relays: dict[tuple[int, int], dict[frozenset[int], Form]] = {}

    def available(self, variable: int, clean: bool) -> int:
        """The layer below the first that can read a variable. What a layer was, it can read of itself."""
        source = self.sources[variable]
        if source.home is None:
            return 0
        old = source.kind == "lag" or (source.kind == "was" and not clean)
        return source.home.layer + (1 if clean and source.kind == "sign" else 0) - (1 if old else 0)

    def need(self, needs: dict[int, list[frozenset[int]]], layer: int) -> None:
        """Notes what is read of each variable over a layer."""
        for v, sets in needs.items():
            self._needed.setdefault(v, []).append((layer, sets))

    def add(self, layer: int, unit: Unit | None) -> int:
        """Adds a unit, or a place for one, to a layer; its index."""
        self.layers[layer - 1].append(unit)
        return len(self.layers[layer - 1]) - 1

    def literal(self, variable: int, places: frozenset[int], layer: int) -> Form:
        """[the variable is at one of the places] as a form over a layer; 0/1, but for a raw sign: 1, or 0 and less."""
        source = self.sources[variable]
        if len(places) == len(source.domain):
            return constant(1)
        if not places:
            return ZERO
        home = source.home
        if home is None or home.layer != layer:
            forms = self._relay(variable, layer)
            if places in forms:
                return forms[places]
        if home is None or home.layer != layer or isinstance(home, MachineStage):
            return self.vector(variable, tuple(int(p in places) for p in range(len(source.domain))), layer)
        if source.kind == "was":
            bit = signal(home.bits[source.level])
            return bit if places == {1} else constant(1) - bit
        if places == {1}:
            return signal(home.registers[source.level - 1])
        return signal(home.registers[source.level], -1)

    def vector(self, variable: int, numbers: tuple[Rational, ...], layer: int) -> Form:
        """The number of the variable's place as a form over a layer, not of a raw sign."""
        source = self.sources[variable]
        home = source.home
        if len(set(numbers)) == 1:
            return constant(numbers[0])
        if isinstance(home, MachineStage) and home.layer == layer:
            if source.kind != "lag":
                return known(shown_sum(home, source.slot, lambda p: numbers[p] if isinstance(p, int) else 0))
            forms = {s: signal(home.lags[variable, s]) for s in source.basis()}
        else:
            forms = self._relay(variable, layer)
        found = combination(list(forms), range(len(numbers)), numbers)
        assert found is not None
        return Form.total((form.scale(_plain(c)) for c, form in zip(found[0], forms.values(), strict=True)),
                          _plain(found[1]))

    def gate(self, variable: int, places: frozenset[int], layer: int) -> Gate:
        """[the variable is at one of the places] as a unit of a layer reads it: below, or of its own layer before."""
        source = self.sources[variable]
        home = source.home
        if home is None or home.layer != layer or len(places) == len(source.domain) or not places:
            return Gate(self.literal(variable, places, layer - 1))
        if isinstance(home, MachineStage):
            assert source.kind == "lag"
            states = having(home, source, places)
            return Gate(ZERO, known(kept_sum(home, is_in(states))))
        assert source.kind == "was"
        level, weight = (source.level - 1, 1) if places == {1} else (source.level, -1)
        return Gate(ZERO, signal(home.registers[level], weight))

    def _relay(self, variable: int, layer: int) -> dict[frozenset[int], Form]:
        """Sets of places that span what is asked for, with a form for each, at a layer below the source's own."""
        found = self._relays.get((variable, layer))
        if found is not None:
            return found
        source = self.sources[variable]
        asked = [s for at, sets in self._needed[variable] if at >= layer for s in sets]
        forms: dict[frozenset[int], Form] = {}
        for c in source.basis(asked):
            what = f"{source.name} {among([source.domain[p] for p in sorted(c)])}"
            if layer == 0:
                values = tuple(x for p in sorted(c) for x in source.members[p])
                self.columns.append(Column(source.input, source.element, values))
                forms[c] = signal(len(self.columns) - 1)
            else:
                below = self.literal(variable, c, layer - 1)
                forms[c] = signal(self.add(layer, Bit(below, ZERO, Symbol(what, source.span))))
                self.relays += 1
        self._relays[(variable, layer)] = forms
        return forms

    def number(self, variable: int, numbers: tuple[Rational, ...], layer: int) -> Form:
        """The number of the variable's place, as a form."""
        if self.sources[variable].kind not in ("sign", "was"):
            return self.vector(variable, numbers, layer)
        return self.literal(variable, frozenset({1}), layer).scale(numbers[1] - numbers[0]) + numbers[0]

    def weighed(self, variable: int, weights: tuple[int, ...], layer: int) -> Gate:
        """The weight of the variable's place, as a unit of a layer reads it: below, or of its own layer before."""
        source = self.sources[variable]
        home = source.home
        if home is None or home.layer != layer:
            return Gate(self.vector(variable, weights, layer - 1))
        assert isinstance(home, MachineStage) and source.kind == "lag"
        labels, places = home.cover.machine.labels, {x: p for p, x in enumerate(source.domain)}
        return Gate(ZERO, known(kept_sum(home, lambda q: weights[places[labels[q][0][source.slot]]])))

    def read_above(self, variable: int, layer: int) -> bool:
        """Whether something reads a variable from this layer on, and not only the layer itself."""
        return any(at >= layer for at, _ in self._needed.get(variable, ()))


def known(form: Form | None) -> Form:
    """A form that the plan of the stage has made sure of, in layouts that are taken first."""
    if form is None:
        raise UnshownError
    return form


def _plain(x: Rational) -> Rational:
    return int(x) if x.denominator == 1 else x


def among(values: Sequence[object]) -> str:
    shown = [str(v).lower() if isinstance(v, bool) else str(v) for v in values[:6]]
    if len(values) == 1:
        return "= " + shown[0]
    return "in {" + ", ".join(shown) + (", …" if len(values) > 6 else "") + "}"
