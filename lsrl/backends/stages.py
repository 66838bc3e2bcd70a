"""What a layer is made of: sources, which are read, and stages, which are built; nothing here knows of other layers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from lsrl.backends.codes import LinearSpan, asked_sets
from lsrl.backends.cubes import Cube
from lsrl.backends.finite import STATE, Cover, Leaf, Step
from lsrl.backends.linear_form import Form, Rational, signal
from lsrl.backends.scores import Term
from lsrl.backends.sums import Sums, Wanted, numbers_of
from lsrl.diagnostics import NOWHERE, Span
from lsrl.types import Type, Value

__all__ = ["MOST_SIGNS", "FarSetError", "MachineStage", "OutputPlan", "RegisterStage", "Source", "Stage", "Tracked",
           "UnitPlan", "begin_leaf", "check_steps", "gates_of", "having", "kept_sum", "leaf_sum", "shown_sum",
           "split_cubes", "stepping", "sums_before", "wanted_for"]

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

    def basis(self, sets: Iterable[frozenset[int]] | None = None) -> list[frozenset[int]]:
        """Sets of places that span all that is asked for: the classes but one, or the sets themselves if fewer."""
        asked = list(dict.fromkeys(self.sets if sets is None else sets))
        classes = self.classes(asked)
        if len(classes) <= 3:
            return classes[1:]
        out: list[frozenset[int]] = []
        places = [min(c) for c in classes]
        span = LinearSpan(len(places))
        for s in asked:
            if span.add([int(p in s) for p in places]):
                out.append(s)
                if len(out) == len(classes) - 1:
                    return classes[1:]
        return out

    def representative(self) -> Callable[[Hashable], Hashable]:
        """Value → the first place that no reader tells apart from its own; None for a value outside the domain."""
        first = {place: min(c) for c in self.classes() for place in c}
        table = {value: first[place] for place, value in enumerate(self.domain)}
        return table.get


@dataclass(frozen=True)
class Tracked:
    """A combination of registers inside a machine, counted one token behind. thresholds: variable → k of [F ≥ k].

    divided: it is the quotient by a step that is larger than 1.
    """

    name: str
    start: int
    thresholds: dict[int, int]
    state: str | None = None  # the program's state that it is, if it is one alone
    grid: Rational = 1
    divided: bool = False
    bounds: tuple[Rational | None, Rational | None] = (None, None)  # of F, if it has any


@dataclass(eq=False)
class MachineStage:
    """Units of a cover, or of `sums`. observed: the variables that its leaves' observations are, slot by slot.

    states: the program's states that the labels of the machine are the values of; none if they are something else.
    lagging: variables of kind "lag": a unit for each class of their values but one repeats the state before.
    terms: with `sums`, the unit of each term.
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
    sums: Sums | None = None
    terms: dict[Term, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Units for the leaves, where each costs one."""
        return len(self.cover.cubes) if self.sums is None else self.sums.cost

    def needs(self) -> dict[int, list[frozenset[int]]]:
        if self.sums is not None:
            return self.sums.sets()
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
    bounds: tuple[Rational | None, Rational | None] = (None, None)
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
        sets = [self.places(f) for level in sorted(levels) for f in gates_of(level)]
        return {self.variable: [s for s in dict.fromkeys(sets) if s]}


Stage: TypeAlias = MachineStage | RegisterStage


def gates_of(level: int) -> tuple[Callable[[Step], bool], Callable[[Step], bool], Callable[[Step], bool]]:
    """When a register that starts at −level moves, moves up, and is cleared."""
    def amount(s: Step) -> int:
        return s.by - level if s.sets else s.by

    return (lambda s: amount(s) != 0), (lambda s: amount(s) > 0), (lambda s: s.sets)


def check_steps(steps: Iterable[Step], level: int) -> None:
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
                asked = out.setdefault(v, {})
                asked.update((s, None) for s in asked_sets(numbers))
        return {v: list(s) for v, s in out.items()}


Before: TypeAlias = "frozenset[tuple[int, tuple[Step, ...]]]"


@dataclass(frozen=True)
class UnitPlan:
    """One unit of a machine. before: the (next, steps) that the leaf of the token before must have, None: any.

    levels: own threshold variable → (tracked, level of the register to read), the pending step taken into account.
    decided: own threshold variables that the pending step, which sets the register, has decided.
    """

    cube: Cube
    leaf: Leaf
    before: Before | None
    levels: dict[int, tuple[int, int]]
    decided: frozenset[int]


def begin_leaf(cover: Cover) -> Leaf | None:
    """The leaf that may count as taken before the first token, the one without units if possible; None: a spare."""
    fit = [x for x in cover.leaves if x.next == cover.machine.start and not any(s.sets for s in x.steps)]
    return fit[0] if fit else None


def split_cubes(stage: MachineStage, begin: Leaf | None) -> list[UnitPlan]:
    """The units of a machine: its cubes, split by the pending steps of the registers that they read."""
    everything = list(dict.fromkeys((x.next, x.steps) for x in stage.cover.leaves))
    if begin is None:
        start = (stage.cover.machine.start, tuple(Step(0) for _ in stage.tracked))
        everything = list(dict.fromkeys([*everything, start]))
    home = {v: at for at, t in enumerate(stage.tracked) for v in t.thresholds}
    out: list[UnitPlan] = []
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
                out.append(UnitPlan(cube, cube.leaf, before, levels, decided))
    return out


def stepping(which: Callable[[Step], bool], at: int) -> Callable[[Leaf], bool]:
    return lambda leaf: which(leaf.steps[at])


def having(stage: MachineStage, source: Source, places: frozenset[int]) -> frozenset[Hashable]:
    """The control states in which a state of the program, a source of kind "lag", is at one of the places."""
    among = {source.domain[p] for p in places}
    labels = stage.cover.machine.labels
    return frozenset(q for q, label in enumerate(labels) if label[0][source.slot] in among)


def wanted_for(stage: MachineStage, sources: Mapping[int, Source], general: int, bit: Callable[[int], int]) -> Wanted:
    """What a stage's readers ask for, and what the places of its variables and its control states stand for."""
    numbers: dict[int, tuple[int, ...]] = {}
    domains = {v: sources[v].domain for v in stage.cover.sets()}
    domains[STATE] = tuple(label[0] for label in stage.cover.machine.labels)
    for v, domain in domains.items():
        found = numbers_of(domain)
        if found is not None:
            numbers[v] = found
    asked = tuple(tuple(frozenset[Hashable](s) for s in sources[v].sets) for v in stage.observed)
    kept = tuple(having(stage, sources[v], c) for v in stage.lagging for c in sources[v].basis())
    return Wanted(numbers, general, asked, kept, bit)


def kept_sum(stage: MachineStage, numbers: Callable[[int], Rational]) -> Form | None:
    """The number of the control state as a form over the stage's layer; None if its code does not span that."""
    if stage.sums is None:
        base = numbers(stage.cover.default.next)
        return Form.of(((numbers(leaf.next) - base, i) for i, leaf in stage.units), base)
    total = stage.sums.next.total(lambda q: numbers(q) if isinstance(q, int) else 0)
    if total is None:
        return None
    form = Form.of(((w, stage.terms[t]) for w, t in total.terms), total.bias)
    if stage.spare is None:
        return form
    return form + signal(stage.spare).scale(numbers(stage.cover.machine.start) - total.bias)


def shown_sum(stage: MachineStage, slot: int, numbers: Callable[[Hashable], Rational]) -> Form | None:
    """The number of what the stage observed at the last token, as `kept_sum`; it means nothing before the first."""
    if stage.sums is None:
        base = numbers(stage.cover.default.observed[slot])
        return Form.of(((numbers(leaf.observed[slot]) - base, i) for i, leaf in stage.units if i != stage.spare), base)
    total = stage.sums.observed[slot].total(numbers)
    return None if total is None else Form.of(((w, stage.terms[t]) for w, t in total.terms), total.bias)


def leaf_sum(stage: MachineStage, which: Callable[[Leaf], bool]) -> Form:
    """[the last token's leaf is one of those] as a form over the layer of a stage of cubes."""
    if which(stage.cover.default):
        return Form.of(((-1, i) for i, leaf in stage.units if not which(leaf)), 1)
    return Form.of((1, i) for i, leaf in stage.units if which(leaf))


def sums_before(stage: MachineStage) -> Callable[[Before], Form]:
    """[the last token's leaf had one of those (next, steps)] as a form over the layer of a stage of cubes.

    Units are looked up by what their leaf has, so that all the forms of a machine cost no more than their terms.
    """
    units: dict[tuple[int, tuple[Step, ...]], list[int]] = {}
    for i, leaf in stage.units:
        units.setdefault((leaf.next, leaf.steps), []).append(i)
    default = stage.cover.default.next, stage.cover.default.steps

    @functools.cache
    def form(before: Before) -> Form:
        if default in before:
            others = sorted(i for key, mine in units.items() if key not in before for i in mine)
            return Form(tuple((-1, i) for i in others), 1)
        return Form(tuple((1, i) for i in sorted(i for key in before for i in units.get(key, ()))))

    return form
