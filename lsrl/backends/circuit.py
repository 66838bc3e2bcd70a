"""The circuit: an exact layered network, before it becomes the parameters of a real module.

Layer 0 is the encoded input, a tuple of `Column`s. Layer l reads layer l − 1 at the same token and itself at the token
before. Everything here is exact (Python ints and Fractions), so that a fault can be told apart: interpreter, circuit
and torch module compute the same, and the first two that differ show which stage is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

from lsrl.backends.linear_form import NEVER, ZERO, Form, Gate, Rational
from lsrl.diagnostics import NOWHERE, Span
from lsrl.types import Type, Value

__all__ = ["Bit", "CellReport", "Circuit", "Column", "Count", "Derived", "Gated", "Lag", "Layer", "Number", "Output",
           "Placement", "Quantity", "Register", "Symbol", "Unit", "flatten"]


@dataclass(frozen=True, slots=True)
class Symbol:
    """What a unit stands for, in the program's words, and where in its text that is."""

    text: str
    span: Span = field(default=NOWHERE, compare=False)
    states: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bit:
    """On (1) iff below(t) + own(t − 1) ≥ 1, else 0; while `hold` is on, as it was.

    at_most_one: the sum never exceeds 1 (an "and"), so that one ReLU computes it as it stands. group: bits of a layer
    with the same group are never on together; "" of a bit alone. hold: only where the module has a gate that keeps its
    state (f of an LSTM, z of a GRU).
    """

    below: Form
    own: Form
    symbol: Symbol
    start: int = 0
    at_most_one: bool = True
    group: str = ""
    hold: Gate = NEVER


@dataclass(frozen=True, slots=True)
class Number:
    """max(0, below(t) + own(t − 1)); only where the technology has ReLU.

    hi: what it never exceeds, None if there is no bound. cap: what it must not exceed for the circuit to be right (a
    mask of that size stands somewhere), None if any size is right. below_hi: what `below` never exceeds, where that is
    known better than from its signals one by one.
    """

    below: Form
    own: Form
    symbol: Symbol
    start: Rational = 0
    hi: Rational | None = None
    cap: Rational | None = None
    below_hi: Rational | None = None


@dataclass(frozen=True, slots=True)
class Register:
    """An exact counter in an LSTM cell: c := (0 if clear else c) + (0 unless move, else 1 if up, else −1).

    Other units see only its sign: −1, 0 or 1 in exact terms. In the module it is tanh(c), so a reading with weight 1
    lies in ±[1, 1 / tanh 1], and few of them may stand in one sum. `start` is c before the first token.
    """

    move: Gate
    up: Gate
    clear: Gate
    symbol: Symbol
    start: int = 0


@dataclass(frozen=True, slots=True)
class Gated:
    """± Σ keep(below at t) · unit(t − 1) + add(below at t): a linear recurrence; only in gated linear layers.

    keeps: (keep, unit of the same layer); a keep is constant or in [−1, 1]. Without any the unit passes `add` on. A
    module that has a gate a channel hosts units that keep themselves only; one whose gate also scales what is added,
    only those whose `add` is 0 wherever `keep` is not.
    lo, hi: what it never leaves, None where there is no bound. adds: `add` is 0 wherever `keep` is 0, so that the unit
    is a sum which the gate clears.
    flip: a bit of the layer below: while it is 1 the sum is taken with a minus sign; each `keep` is then 0 or 1.
    before: others see the unit as it was before the token.
    step: the gate is a threshold, and `keep`, any whole number, stands for [keep ≥ 1]. masked: what is added is scaled
    by 1 − keep, so that `add` matters only where `keep` is 0. Both are of units that keep themselves only.

    The rest is for numbers that are not whole (see `lsrl.backends.error_bound`). fine: it holds such a number.
    factor: what a `keep` that is not constant is where it is not 0. sets: `add` is 0 wherever `keep` is not.
    split: `add` in two parts, one that is 0 wherever `keep` is and one that is 0 wherever `keep` is not; for a module
    that scales what is added by 1 − keep. slip: what stands in the place of 1 − keep there, if `keep` is 1.
    """

    keeps: tuple[tuple[Form, int], ...]
    add: Form
    symbol: Symbol
    start: Rational = 0
    lo: Rational | None = 0
    hi: Rational | None = 1
    adds: bool = False
    flip: Form = ZERO
    before: bool = False
    step: bool = False
    masked: bool = False
    fine: bool = False
    factor: Rational = 1
    sets: bool = False
    split: tuple[Form, Form] | None = None
    slip: Rational = 0


@dataclass(frozen=True, slots=True)
class Lag:
    """Shows below(t − 1), a number that is not negative; before the first token `start`. Only in gated linear layers.

    Its content is what it shows at the next token. fine: it holds a number that is not whole.
    """

    below: Form
    symbol: Symbol
    start: Rational = 0
    hi: Rational | None = 1
    fine: bool = False


Unit: TypeAlias = Bit | Number | Register | Gated | Lag
Layer: TypeAlias = tuple[Unit, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """One signal of the encoded input.

    input, element: the program's input and, of a vector, the place in it (row-major).
    values: it is 1 where the scalar is one of these values (as `lsrl.types` holds them), else 0; None: the number
    itself, divided by `grid`, and then at most `hi` in size (None if the program does not bound it). fine: it has no
    grid, and stands as it is. domain: all values that the scalar can have, where they are known.
    """

    input: str
    element: int | None
    values: tuple[Value, ...] | None
    grid: Rational = 1
    hi: Rational | None = None
    fine: bool = False
    domain: tuple[Value, ...] | None = field(default=None, compare=False, repr=False)

    def value(self, row: Mapping[str, Value]) -> Rational:
        x = row[self.input]
        if self.element is not None:
            x = flatten(x)[self.element]
        assert not isinstance(x, tuple | float)
        if self.values is None:
            scaled = Fraction(x) / self.grid
            return int(scaled) if scaled.denominator == 1 else scaled
        return int(x in self.values)


def flatten(value: Value) -> tuple[Value, ...]:
    """The scalars of a vector or matrix, row-major; a scalar alone."""
    if not isinstance(value, tuple):
        return (value,)
    return tuple(x for v in value for x in flatten(v))


@dataclass(frozen=True, slots=True)
class Output:
    """One output of the program: one form over the last layer per scalar element, row-major.

    The form's value is the output: 0 or 1 of a bool, the code of a symbol, the number otherwise.
    """

    name: str
    type: Type
    forms: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """One unbounded number inside a finite cell's placement: its value is form(contents of the layer).

    units: how it is written: unit := scale · value + offset, then max(0, ·) if `clipped`, with the offsets for the
    pattern that `Placement.encode` has chosen. Without units it can only be read.
    """

    form: Form
    units: tuple[tuple[int, Rational, Rational, bool], ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a cell's program states live, to read and to write them.

    layer: from 1. states: the finite ones; joint values of them are `values[k]`, in force iff `forms[k]` of the
    layer's contents is 1; `patterns[k]` are the units to be set to 1 for it, and all others of `units` to 0.
    Where minimisation has merged joint values, `values[k]` is the first of them that occurs, and `merged[k]` are all
    of them. numbers: unbounded states. Contents are 0/1 of a bit, the number of a `Number`, c of a `Register`.
    """

    layer: int
    states: tuple[str, ...]
    values: tuple[tuple[Value, ...], ...] = ()
    forms: tuple[Form, ...] = ()
    patterns: tuple[tuple[int, ...], ...] = ()
    units: tuple[int, ...] = ()
    merged: tuple[tuple[tuple[Value, ...], ...], ...] = ()
    numbers: tuple[tuple[str, Count], ...] = ()

    def decode(self, contents: Sequence[Rational]) -> dict[str, Value]:
        """The states' values, from the contents of the layer's units."""
        out: dict[str, Value] = {}
        for value, form in zip(self.values, self.forms, strict=True):
            if form.value(contents) == 1:
                out.update(zip(self.states, value, strict=True))
        for name, count in self.numbers:
            out[name] = count.form.value(contents)
        return out

    def known(self, k: int, column: int) -> bool:
        """Whether all joint values that class k stands for agree on one state."""
        return not self.merged or len({joint[column] for joint in self.merged[k]}) == 1

    def encode(self, changes: Mapping[str, Value], contents: Sequence[Rational]) -> list[Rational]:
        """The contents with some states changed. Raises ValueError for a joint value that cannot occur."""
        wanted = {**self.decode(contents), **changes}
        out = list(contents)
        if self.values:
            joint = tuple(wanted[s] for s in self.states)
            classes = self.merged or tuple((v,) for v in self.values)
            chosen = next((k for k, members in enumerate(classes) if joint in members), None)
            if chosen is None:
                known = ", ".join(map(str, self.values[:8]))
                raise ValueError(f"({', '.join(self.states)}) cannot be {joint}; it can be {known}"
                                 + (", …" if len(self.values) > 8 else ""))
            for u in self.units:
                out[u] = 0
            for u in self.patterns[chosen]:
                out[u] = 1
        for name, count in self.numbers:
            if not count.units:
                if name in changes:
                    raise ValueError(f"{name} can only be read")
                continue
            target = wanted[name]
            assert isinstance(target, int | Fraction)
            # What other units of the layer already contribute to the form (a step that is still pending).
            written = {u for u, *_ in count.units}
            pending = sum((w * out[i] for w, i in count.form.terms if i not in written), Fraction(0))
            for u, scale, offset, clipped in count.units:
                v = scale * (target - pending) + offset
                v = max(v, 0) if clipped else v
                out[u] = int(v) if v.denominator == 1 else v
        return out


@dataclass(frozen=True, slots=True)
class Derived:
    """A state of the program that the circuit holds as several bits, each with a placement of its own.

    bits: their names; rows: (their values, the state's value), for those that occur.
    """

    state: str
    bits: tuple[str, ...]
    rows: tuple[tuple[tuple[bool, ...], Value], ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A certificate's fact about one signal or sum: the bounds that make it exact. None means no bound.

    grid: 0 of a number without one. growth: by how much |value| can grow per token; with it an unbounded number has a
    horizon.
    """

    name: str
    lo: Rational | None
    hi: Rational | None
    grid: Rational = 1
    growth: Rational = 0


@dataclass(frozen=True, slots=True)
class CellReport:
    """How a cell was built: `width` units (its own, no relays), and the n·k baseline beside it, if it has one."""

    states: tuple[str, ...]
    kind: str
    layer: int
    width: int
    baseline: int | None
    span: Span = NOWHERE
    note: str = ""


@dataclass(frozen=True)
class Circuit:
    """The whole network. `layers[0]` is layer 1.

    baseline: the n·k units of the program's whole minimal automaton where it was small enough to be made, else the sum
    of those of its cells. relays: how many of the units only pass a signal along.
    """

    name: str
    columns: tuple[Column, ...]
    layers: tuple[Layer, ...]
    outputs: tuple[Output, ...]
    placements: tuple[Placement, ...] = ()
    cells: tuple[CellReport, ...] = ()
    quantities: tuple[Quantity, ...] = ()
    notes: tuple[str, ...] = ()
    baseline: int | None = None
    relays: int = 0
    derived: tuple[Derived, ...] = ()

    @property
    def width(self) -> int:
        """Units in all layers together."""
        return sum(map(len, self.layers))

    def start(self) -> list[list[Rational]]:
        """The contents of every unit before the first token, layer by layer."""
        return [[u.start for u in layer] for layer in self.layers]

    def step(
        self, state: list[list[Rational]], row: Mapping[str, Value]
    ) -> tuple[dict[str, Value], list[list[Rational]]]:
        """One token: outputs by name, and the new contents."""
        below: list[Rational] = [c.value(row) for c in self.columns]
        new: list[list[Rational]] = []
        for layer, old in zip(self.layers, state, strict=True):
            seen = _signals(layer, old, old)
            new.append([_update(u, below, seen, c) for u, c in zip(layer, old, strict=True)])
            below = _signals(layer, new[-1], old)
        return {o.name: _value(o, [f.value(below) for f in o.forms]) for o in self.outputs}, new

    def simulate(self, rows: Iterable[Mapping[str, Value]]) -> Iterator[dict[str, Value]]:
        """The exact outputs, token by token."""
        state = self.start()
        for row in rows:
            out, state = self.step(state, row)
            yield out


def _signals(layer: Layer, contents: list[Rational], before: list[Rational]) -> list[Rational]:
    """What other units see of the contents: of a register its sign, of a lag the content before."""
    if not any(isinstance(u, Register | Lag | Gated) for u in layer):
        return contents
    return [(c > 0) - (c < 0) if isinstance(u, Register)
            else b if isinstance(u, Lag) or (isinstance(u, Gated) and u.before) else c
            for u, c, b in zip(layer, contents, before, strict=True)]


def _update(unit: Unit, below: list[Rational], own: list[Rational], old: Rational) -> Rational:
    match unit:
        case Bit():
            if unit.hold.on(below, own):
                return old
            total = unit.below.value(below) + unit.own.value(own)
            if total.denominator != 1 or (unit.at_most_one and total > 1):
                raise AssertionError(f"unit {unit.symbol.text}: the sum is {total}")
            return int(total >= 1)
        case Number():
            return max(0, unit.below.value(below) + unit.own.value(own))
        case Register():
            kept = 0 if unit.clear.on(below, own) else old
            if not unit.move.on(below, own):
                return kept
            return kept + (1 if unit.up.on(below, own) else -1)
        case Gated():
            keeps = [(keep.value(below), i) for keep, i in unit.keeps]
            if unit.step:
                keeps = [(int(keep >= 1), i) for keep, i in keeps]
            kept = sum((keep * own[i] for keep, i in keeps), Fraction(0))
            add = 0 if unit.masked and keeps[0][0] == 1 else unit.add.value(below)
            total = kept * (1 - 2 * unit.flip.value(below)) + add
            return int(total) if total.denominator == 1 else total
        case Lag():
            return unit.below.value(below)


def _value(output: Output, numbers: list[Rational]) -> Value:
    """Numbers in the form that the output's type is held in."""
    from lsrl.arithmetic import convert
    from lsrl.types import shape

    def fold(flat: list[Rational], dims: tuple[int, ...]) -> Value:
        if not dims:
            return flat[0]
        size = len(flat) // dims[0]
        return tuple(fold(flat[i * size : (i + 1) * size], dims[1:]) for i in range(dims[0]))

    return convert(fold(numbers, shape(output.type)), output.type)
