"""From stages to a circuit: layers, relays of what is needed further down, units, outputs.

A stage is a machine or a bank of registers that occupies one layer. Sources are the finite variables that stages read:
the program's inputs, what machines observe, and thresholds of registers. Liveness decides what is relayed: at each
layer only the sources that something below still reads, and of their values only the classes it tells apart.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

from lsrl.backends.circuit import (
    ZERO,
    Bit,
    Circuit,
    Column,
    Count,
    Form,
    Gate,
    Output,
    Placement,
    Quantity,
    Rational,
    Register,
    Symbol,
    Unit,
    constant,
    signal,
)
from lsrl.backends.cubes import Cube
from lsrl.backends.finite import STATE, Cover, Leaf, Step
from lsrl.diagnostics import NOWHERE, Span
from lsrl.types import Type, Value

__all__ = ["MOST_SIGNS", "FarSetError", "MachineStage", "OutputPlan", "RegisterStage", "Schedule", "Source", "Tracked"]

MOST_SIGNS = 3  # raw register signs in one sum: beyond, the slack of tanh eats the margin


class FarSetError(Exception):
    """A register would be set to a value more than 1 away from one of its thresholds, or move by more than 1."""


@dataclass(eq=False)
class Source:
    """A finite variable. domain: its values. sets: the sets of places in the domain that some reader asks for.

    kind: "input" (`input`, `element`, and `members`: the program's values for each place), "observed" (slot of a
    machine stage), "lag" (a state of a machine before the token, in place `slot` of the machine's labels), "sign"
    ([register's combination ≥ level], after this token) or "was" (the same before it).
    """

    name: str
    domain: tuple[Hashable, ...]
    kind: str
    span: Span = NOWHERE
    input: str = ""
    element: int | None = None
    members: tuple[tuple[Value, ...], ...] = ()
    home: Stage | None = None
    slot: int = 0
    level: int = 0
    sets: dict[frozenset[int], None] = field(default_factory=dict)

    def ask(self, values: Iterable[frozenset[int]]) -> None:
        self.sets.update((s, None) for s in values)

    def classes(self, sets: Iterable[frozenset[int]] | None = None) -> list[frozenset[int]]:
        """The places that no set tells apart, together; the largest class first (it needs no signal)."""
        asked = list(self.sets if sets is None else sets)
        groups: dict[tuple[bool, ...], set[int]] = {}
        for place in range(len(self.domain)):
            groups.setdefault(tuple(place in s for s in asked), set()).add(place)
        return [frozenset(g) for g in sorted(groups.values(), key=lambda g: (-len(g), min(g)))]

    def representative(self) -> Callable[[Hashable], Hashable]:
        """Value → the first place that no reader tells apart from its own; None for a value outside the domain."""
        first = {place: min(c) for c in self.classes() for place in c}
        table = {value: first[place] for place, value in enumerate(self.domain)}
        return table.get


@dataclass(frozen=True)
class Tracked:
    """A combination of registers inside a machine, counted one token behind. thresholds: variable → k of [F ≥ k]."""

    name: str
    start: int
    thresholds: dict[int, int]
    state: str | None = None  # the program's state that it is, if it is one alone
    grid: Rational = 1


@dataclass(eq=False)
class MachineStage:
    """Units of a cover. observed: the variables that its leaves' observations are, slot by slot.

    states: the program's states that the labels of the machine are the values of; none if they are something else.
    lagging: variables of kind "lag": a unit for each class of their values but one repeats the state before.
    """

    name: str
    cover: Cover
    observed: tuple[int, ...]
    states: tuple[str, ...] = ()
    tracked: tuple[Tracked, ...] = ()
    span: Span = NOWHERE
    layer: int = 0
    clean: bool = False
    width: int = 0
    spare: int | None = None
    units: list[tuple[int, Leaf]] = field(default_factory=list)
    lagging: tuple[int, ...] = ()
    lags: dict[tuple[int, frozenset[int]], int] = field(default_factory=dict)

    def needs(self) -> dict[int, list[frozenset[int]]]:
        own = {v for t in self.tracked for v in t.thresholds}
        return {v: s for v, s in self.cover.sets().items() if v not in own}


@dataclass(eq=False)
class RegisterStage:
    """A combination of registers, counted as of this token. steps[place]: what happens at each value of `variable`.

    thresholds: variable → k, for the sources of kind "sign" and "was" that it is home to. Without `variable` the one
    step happens at every token.
    """

    name: str
    start: int
    variable: int | None
    steps: tuple[Step, ...]
    thresholds: dict[int, int]
    span: Span = NOWHERE
    state: str | None = None
    grid: Rational = 1
    layer: int = 0
    clean: bool = False
    width: int = 0
    registers: dict[int, int] = field(default_factory=dict)
    bits: dict[int, int] = field(default_factory=dict)

    def places(self, which: Callable[[Step], bool]) -> frozenset[int]:
        return frozenset(p for p, s in enumerate(self.steps) if which(s))

    def needs(self) -> dict[int, list[frozenset[int]]]:
        if self.variable is None:
            return {}
        levels = {level for k in self.thresholds.values() for level in (k - 1, k)}
        sets = [self.places(f) for level in sorted(levels) for f in _gates(level)]
        return {self.variable: [s for s in dict.fromkeys(sets) if s]}


Stage: TypeAlias = MachineStage | RegisterStage


def _gates(level: int) -> tuple[Callable[[Step], bool], Callable[[Step], bool], Callable[[Step], bool]]:
    """When a register that starts at −level moves, moves up, and is cleared."""
    def amount(s: Step) -> int:
        return s.by - level if s.sets else s.by

    return (lambda s: amount(s) != 0), (lambda s: amount(s) > 0), (lambda s: s.sets)


def _check_steps(steps: Iterable[Step], level: int) -> None:
    for s in steps:
        if abs(s.by - level if s.sets else s.by) > 1:
            raise FarSetError


@dataclass(frozen=True)
class OutputPlan:
    """An output's scalars: each Σ over (variable, numbers of its places) + bias."""

    name: str
    type: Type
    scalars: tuple[tuple[tuple[tuple[int, tuple[Rational, ...]], ...], Rational], ...]

    def needs(self) -> dict[int, list[frozenset[int]]]:
        out: dict[int, dict[frozenset[int], None]] = {}
        for terms, _ in self.scalars:
            for v, numbers in terms:
                for n in dict.fromkeys(numbers):
                    out.setdefault(v, {})[frozenset(p for p, x in enumerate(numbers) if x == n)] = None
        return {v: list(s) for v, s in out.items()}


class Schedule:
    """Assigns layers and builds the units. `stages` in topological order; sources know what is asked of them."""

    def __init__(self, name: str, sources: Mapping[int, Source], stages: Sequence[Stage],
                 outputs: Sequence[OutputPlan]) -> None:
        self.name, self.sources, self.stages, self.outputs = name, sources, stages, outputs
        self._needed: dict[int, list[tuple[int, list[frozenset[int]]]]] = {}
        self._relays: dict[tuple[int, int], tuple[frozenset[int], dict[frozenset[int], Form]]] = {}
        self._columns: list[Column] = []
        self._layers: list[list[Unit | None]] = []
        self._placements: list[Placement] = []
        self.relays = 0

    def circuit(self) -> Circuit:
        """The circuit. Raises FarSetError if a register cannot follow its steps."""
        last = self._assign_layers()
        self._layers = [[] for _ in range(last)]
        for stage in self.stages:
            self._need(stage.needs(), stage.layer - 1)
        for output in self.outputs:
            self._need(output.needs(), last)
        for stage in self.stages:
            before = len(self._layers[stage.layer - 1])
            if isinstance(stage, MachineStage):
                self._machine(stage)
            else:
                self._registers(stage)
            stage.width = len(self._layers[stage.layer - 1]) - before
        outputs = tuple(Output(o.name, o.type, tuple(
            Form.total([self._number(v, numbers, last) for v, numbers in terms], bias) for terms, bias in o.scalars))
            for o in self.outputs)
        idle = Bit(ZERO, ZERO, Symbol("idle"))
        layers = tuple(tuple(u for u in layer if u is not None) or (idle,) for layer in self._layers)
        return Circuit(self.name, tuple(self._columns), layers, outputs, tuple(self._placements),
                       quantities=tuple(self._quantities()))

    def _assign_layers(self) -> int:
        last = 0
        for stage in self.stages:
            if isinstance(stage, MachineStage):
                stage.clean = any(self._signs(c) > MOST_SIGNS for c in stage.cover.cubes)
            stage.layer = 1 + max((self._available(v, stage.clean) for v in stage.needs()), default=0)
            last = max(last, stage.layer)
        return max([last, *(self._available(v, True) for o in self.outputs for v in o.needs())])

    def _signs(self, cube: Cube) -> int:
        return sum(1 for v, _ in cube.literals if v != STATE and self.sources[v].kind in ("sign", "was"))

    def _available(self, variable: int, clean: bool) -> int:
        """The layer below the first that can read a variable. What a layer was, it can read of itself."""
        source = self.sources[variable]
        if source.home is None:
            return 0
        old = source.kind == "lag" or (source.kind == "was" and not clean)
        return source.home.layer + (1 if clean and source.kind == "sign" else 0) - (1 if old else 0)

    def _need(self, needs: dict[int, list[frozenset[int]]], layer: int) -> None:
        for v, sets in needs.items():
            self._needed.setdefault(v, []).append((layer, sets))

    def _add(self, layer: int, unit: Unit | None) -> int:
        self._layers[layer - 1].append(unit)
        return len(self._layers[layer - 1]) - 1

    # Reading sources

    def literal(self, variable: int, places: frozenset[int], layer: int) -> Form:
        """[the variable is at one of the places] as a form over a layer; 0/1, but for a raw sign: 1, or 0 and less."""
        source = self.sources[variable]
        if len(places) == len(source.domain):
            return constant(1)
        if not places:
            return ZERO
        home = source.home
        if home is not None and home.layer == layer:
            if source.kind == "lag":
                assert isinstance(home, MachineStage)
                default, *rest = source.classes()
                on = Form.total(signal(home.lags[variable, c]) for c in rest if (c <= places) != (default <= places))
                return constant(1) - on if default <= places else on
            if isinstance(home, MachineStage):
                return leaf_sum(home, lambda leaf: leaf.observed[source.slot] in places, observing=True)
            if source.kind == "was":
                bit = signal(home.bits[source.level])
                return bit if places == {1} else constant(1) - bit
            if places == {1}:
                return signal(home.registers[source.level - 1])
            return signal(home.registers[source.level], -1)
        default, forms = self._relay(variable, layer)
        inside = [form for c, form in forms.items() if c <= places]
        if not default <= places:
            return Form.total(inside)
        return constant(1) - Form.total(form for c, form in forms.items() if not c <= places)

    def gate(self, variable: int, places: frozenset[int], layer: int) -> Gate:
        """[the variable is at one of the places] as a unit of a layer reads it: below, or of its own layer before."""
        source = self.sources[variable]
        home = source.home
        if home is None or home.layer != layer or len(places) == len(source.domain) or not places:
            return Gate(self.literal(variable, places, layer - 1))
        if isinstance(home, MachineStage):
            assert source.kind == "lag"
            return Gate(ZERO, leaf_sum(home, _coming_from(_having(home, source, places))))
        assert source.kind == "was"
        level, weight = (source.level - 1, 1) if places == {1} else (source.level, -1)
        return Gate(ZERO, signal(home.registers[level], weight))

    def _relay(self, variable: int, layer: int) -> tuple[frozenset[int], dict[frozenset[int], Form]]:
        """The class without a signal, and a form for every other class, at a layer below the source's own."""
        found = self._relays.get((variable, layer))
        if found is not None:
            return found
        source = self.sources[variable]
        asked = [s for at, sets in self._needed[variable] if at >= layer for s in sets]
        default, *rest = source.classes(asked)
        forms: dict[frozenset[int], Form] = {}
        for c in rest:
            what = f"{source.name} {_among([source.domain[p] for p in sorted(c)])}"
            if layer == 0:
                values = tuple(x for p in sorted(c) for x in source.members[p])
                self._columns.append(Column(source.input, source.element, values))
                forms[c] = signal(len(self._columns) - 1)
            else:
                below = self.literal(variable, c, layer - 1)
                forms[c] = signal(self._add(layer, Bit(below, ZERO, Symbol(what, source.span))))
                self.relays += 1
        self._relays[(variable, layer)] = default, forms
        return default, forms

    def _number(self, variable: int, numbers: tuple[Rational, ...], layer: int) -> Form:
        """The number of the variable's place, as a form."""
        groups: dict[Rational, set[int]] = {}
        for p, n in enumerate(numbers):
            groups.setdefault(n, set()).add(p)
        base = max(groups, key=lambda n: (len(groups[n]), -n))
        return Form.total((self.literal(variable, frozenset(g), layer).scale(n - base)
                           for n, g in groups.items() if n != base), base)

    # Machines

    def _machine(self, stage: MachineStage) -> None:
        """Units of a machine, in its layer, with the registers it tracks."""
        layer, cover = stage.layer, stage.cover
        begin = _begin(cover)
        plans = _split(stage, begin)
        stage.units = [(self._add(layer, None), p.leaf) for p in plans]
        first: int | None = None
        if begin is None:
            first = stage.spare = self._add(layer, Bit(
                ZERO, ZERO, Symbol(f"{stage.name}: before the first token", stage.span, stage.states), 1))
            begin = Leaf(cover.machine.start, tuple(Step(0) for _ in stage.tracked), ())
            stage.units.append((first, begin))
        elif begin != cover.default:
            first = next(i for i, leaf in stage.units if leaf == begin)
        registers = self._own_registers(stage, plans, begin)
        for plan, (index, _) in zip(plans, stage.units, strict=False):
            own, below, count = ZERO, ZERO, 0
            if plan.before is not None:
                own, count = leaf_sum(stage, plan.follows), 1
            for v, places in plan.cube.literals:
                if v in plan.levels:
                    at, level = plan.levels[v]
                    own, count = own + signal(registers[at, level], 1 if places == {1} else -1), count + 1
                elif v != STATE and v not in plan.decided:
                    gate = self.gate(v, places, layer)
                    below, own, count = below + gate.below, own + gate.own, count + 1
            text = f"{stage.name}: {self._text(stage, plan.cube)}"
            self._layers[layer - 1][index] = Bit(below - (count - 1), own, Symbol(text, stage.span, stage.states),
                                                 int(index == first))
        self._lag_bits(stage)
        self._place_machine(stage, cover, registers)

    def _read_above(self, variable: int, layer: int) -> bool:
        """Whether something reads a variable from this layer on, and not only the layer itself."""
        return any(at >= layer for at, _ in self._needed.get(variable, ()))

    def _lag_bits(self, stage: MachineStage) -> None:
        """Units that repeat what a state was before the token."""
        for v in stage.lagging:
            source = self.sources[v]
            if not self._read_above(v, stage.layer):
                continue
            for c in source.classes()[1:]:
                states = _having(stage, source, c)
                what = f"{source.name} {_among([source.domain[p] for p in sorted(c)])}"
                stage.lags[v, c] = self._add(stage.layer, Bit(ZERO, leaf_sum(stage, _coming_from(states)),
                                                              Symbol(what, source.span)))

    def _own_registers(self, stage: MachineStage, plans: list[_Plan], begin: Leaf) -> dict[tuple[int, int], int]:
        """The registers that the units of a machine read: (tracked, level) → index; each counts F − level, late."""
        out: dict[tuple[int, int], int] = {}
        steps = [leaf.steps for leaf in stage.cover.leaves]
        for at, level in dict.fromkeys(x for p in plans for x in p.levels.values()):
            _check_steps((s[at] for s in steps), level)
            gates = [Gate(ZERO, leaf_sum(stage, _stepping(f, at))) for f in _gates(level)]
            t = stage.tracked[at]
            out[at, level] = self._add(stage.layer, Register(
                gates[0], gates[1], gates[2], Symbol(f"{t.name} - {level}, one token late", stage.span, stage.states),
                t.start - level - begin.steps[at].by))
        return out

    def _place_machine(self, stage: MachineStage, cover: Cover, registers: dict[tuple[int, int], int]) -> None:
        numbers: list[tuple[str, Count]] = []
        for at, t in enumerate(stage.tracked):
            mine = [(level, r) for (a, level), r in registers.items() if a == at]
            if t.state is None or not mine or any(leaf.steps[at].sets for leaf in cover.leaves):
                continue
            base = cover.default.steps[at].by
            late = Form.of(((leaf.steps[at].by - base, i) for i, leaf in stage.units), base)
            form = (signal(mine[0][1]) + mine[0][0] + late).scale(t.grid)
            numbers.append((t.state, Count(form, tuple((r, _inverse(t.grid), -level - base, False)
                                                       for level, r in mine))))
        size = cover.machine.size
        if not numbers and (not stage.states or size == 1):
            return
        patterns: list[tuple[int, ...]] = []
        for q in range(size):
            if cover.default.next == q:
                patterns.append(())
            else:
                patterns.append(next((i,) for i, leaf in stage.units if leaf.next == q))
        self._placements.append(Placement(
            stage.layer, stage.states, tuple(x[0] for x in cover.machine.labels),
            tuple(leaf_sum(stage, _coming_to(q)) for q in range(size)), tuple(patterns),
            tuple(i for i, _ in stage.units), cover.machine.labels, tuple(numbers)))

    def _text(self, stage: MachineStage, cube: Cube) -> str:
        """A cube in the program's words."""
        parts: list[str] = []
        for v, places in cube.literals:
            if v == STATE:
                was = [stage.cover.machine.labels[q][0] for q in sorted(places)]
                parts.append(f"was {_among([x[0] if len(x) == 1 else x for x in was])}")
            else:
                source = self.sources[v]
                parts.append(f"{source.name} {_among([source.domain[p] for p in sorted(places)])}")
        return ", ".join(parts) or "always"

    # Registers

    def _registers(self, stage: RegisterStage) -> None:
        levels: dict[int, None] = {}
        for v, k in stage.thresholds.items():
            source = self.sources[v]
            for at, sets in self._needed.get(v, ()):
                for places in sets:
                    above = places == {1} or at > stage.layer or (source.kind == "was" and at >= stage.layer)
                    levels[k - 1 if above else k] = None
        for level in levels:
            _check_steps(stage.steps, level)
            gates = [self._gate(stage, stage.places(f)) for f in _gates(level)]
            stage.registers[level] = self._add(stage.layer, Register(
                gates[0], gates[1], gates[2], Symbol(f"{stage.name} - {level}", stage.span), stage.start - level))
        for v, k in stage.thresholds.items():
            if self.sources[v].kind == "was" and self._read_above(v, stage.layer):
                stage.bits[k] = self._add(stage.layer, Bit(
                    ZERO, signal(stage.registers[k - 1]), Symbol(f"{stage.name} was ≥ {k}", stage.span)))
        if stage.state is not None and stage.registers:
            level, index = next(iter(stage.registers.items()))
            self._placements.append(Placement(stage.layer, (), numbers=((stage.state, Count(
                (signal(index) + level).scale(stage.grid),
                tuple((r, _inverse(stage.grid), -at, False)
                      for at, r in stage.registers.items()))),)))

    def _gate(self, stage: RegisterStage, places: frozenset[int]) -> Gate:
        if stage.variable is None:
            return Gate(constant(1) if places else ZERO)
        return self.gate(stage.variable, places, stage.layer)

    def _quantities(self) -> Iterable[Quantity]:
        for stage in self.stages:
            if isinstance(stage, RegisterStage) and stage.registers:
                farthest = max(abs(stage.start - level) for level in stage.registers)
                growth = max((abs(s.by) for s in stage.steps), default=0)
                yield Quantity(stage.name, None, None, 1, growth) if growth else Quantity(
                    stage.name, -farthest, farthest)
            elif isinstance(stage, MachineStage):
                for t in stage.tracked:
                    yield Quantity(t.name, None, None, 1, 1)


@dataclass(frozen=True)
class _Plan:
    """One unit of a machine. before: the (next, steps) that the leaf of the token before must have, None: any.

    levels: own threshold variable → (tracked, level of the register to read), the pending step taken into account.
    decided: own threshold variables that the pending step, which sets the register, has decided.
    """

    cube: Cube
    leaf: Leaf
    before: frozenset[tuple[int, tuple[Step, ...]]] | None
    levels: dict[int, tuple[int, int]]
    decided: frozenset[int]

    def follows(self, leaf: Leaf) -> bool:
        return self.before is None or (leaf.next, leaf.steps) in self.before


def _begin(cover: Cover) -> Leaf | None:
    """The leaf that may count as taken before the first token, the one without units if possible; None: a spare."""
    fit = [x for x in cover.leaves if x.next == cover.machine.start and not any(s.sets for s in x.steps)]
    return fit[0] if fit else None


def _split(stage: MachineStage, begin: Leaf | None) -> list[_Plan]:
    """The units of a machine: its cubes, split by the pending steps of the registers that they read."""
    everything = list(dict.fromkeys((x.next, x.steps) for x in stage.cover.leaves))
    if begin is None:
        start = (stage.cover.machine.start, tuple(Step(0) for _ in stage.tracked))
        everything = list(dict.fromkeys([*everything, start]))
    home = {v: at for at, t in enumerate(stage.tracked) for v in t.thresholds}
    out: list[_Plan] = []
    for cube in stage.cover.cubes:
        assert isinstance(cube.leaf, Leaf)
        literals = dict(cube.literals)
        old = literals.get(STATE)
        own = [(v, home[v], stage.tracked[home[v]].thresholds[v], places == {1})
               for v, places in cube.literals if v in home]
        groups: dict[tuple[Step, ...], list[tuple[int, tuple[Step, ...]]]] = {}
        for b in everything:
            if old is None or b[0] in old:
                groups.setdefault(tuple(b[1][at] for _, at, _, _ in own), []).append(b)
        for steps, group in groups.items():
            levels: dict[int, tuple[int, int]] = {}
            contradicted = False
            for s, (v, at, k, up) in zip(steps, own, strict=True):
                if not s.sets:
                    levels[v] = at, k - s.by - (1 if up else 0)
                elif (s.by >= k) != up:
                    contradicted = True
            if not contradicted:
                before = frozenset(group) if len(group) < len(everything) else None
                decided = frozenset(v for v, *_ in own if v not in levels)
                out.append(_Plan(cube, cube.leaf, before, levels, decided))
    return out


def _stepping(which: Callable[[Step], bool], at: int) -> Callable[[Leaf], bool]:
    return lambda leaf: which(leaf.steps[at])


def _coming_to(q: int) -> Callable[[Leaf], bool]:
    return lambda leaf: leaf.next == q


def _having(stage: MachineStage, source: Source, places: frozenset[int]) -> frozenset[int]:
    """The control states in which a state of the program, a source of kind "lag", is at one of the places."""
    among = {source.domain[p] for p in places}
    labels = stage.cover.machine.labels
    return frozenset(q for q, label in enumerate(labels) if label[0][source.slot] in among)


def _coming_from(states: frozenset[int]) -> Callable[[Leaf], bool]:
    return lambda leaf: leaf.next in states


def leaf_sum(stage: MachineStage, which: Callable[[Leaf], bool], observing: bool = False) -> Form:
    """[the last token's leaf is one of those] as a form over the stage's layer.

    observing: asked after a token only, so that the spare unit, on before the first, does not count.
    """
    units = [(i, leaf) for i, leaf in stage.units if not observing or i != stage.spare]
    if which(stage.cover.default):
        return Form.of(((-1, i) for i, leaf in units if not which(leaf)), 1)
    return Form.of((1, i) for i, leaf in units if which(leaf))


def _inverse(grid: Rational) -> Rational:
    return 1 if grid == 1 else 1 / Fraction(grid)


def _among(values: Sequence[object]) -> str:
    shown = [str(v).lower() if isinstance(v, bool) else str(v) for v in values[:6]]
    if len(values) == 1:
        return "= " + shown[0]
    return "in {" + ", ".join(shown) + (", …" if len(values) > 6 else "") + "}"
