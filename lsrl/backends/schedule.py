"""From stages to a circuit: layers, relays of what is needed further down, units, outputs.

A stage is a machine or a bank of registers that occupies one layer. Sources are the finite variables that stages read:
the program's inputs, what machines observe, and thresholds of registers. Liveness decides what is relayed: at each
layer only the sources that something below still reads, and of their values only the classes it tells apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from lsrl.backends.circuit import Bit, Circuit, Count, Output, Placement, Quantity, Register, Symbol
from lsrl.backends.cubes import Cube
from lsrl.backends.finite import STATE, Cover, Leaf, Step
from lsrl.backends.linear_form import ZERO, Form, Gate, Rational, constant, signal
from lsrl.backends.relays import Relays, among, known
from lsrl.backends.scores import Term
from lsrl.backends.stages import (
    MOST_SIGNS,
    MachineStage,
    OutputPlan,
    RegisterStage,
    Source,
    Stage,
    UnitPlan,
    begin_leaf,
    check_steps,
    gates_of,
    having,
    kept_sum,
    leaf_sum,
    split_cubes,
    stepping,
    sums_before,
)
from lsrl.backends.sums import Sums, is_in

__all__ = ["Schedule"]


class Schedule(Relays):
    """Assigns layers and builds the units. `stages` in topological order; sources know what is asked of them."""

    def __init__(self, name: str, sources: Mapping[int, Source], stages: Sequence[Stage],
                 outputs: Sequence[OutputPlan]) -> None:
        super().__init__(sources)
        self.name, self.stages, self.outputs = name, stages, outputs
        self._placements: list[Placement] = []

    def circuit(self) -> Circuit:
        """The circuit. Raises FarSetError if a register cannot follow its steps."""
        last = self._assign_layers()
        self.layers = [[] for _ in range(last)]
        for stage in self.stages:
            self.need(stage.needs(), stage.layer - 1)
        for output in self.outputs:
            self.need(output.needs(), last)
        for stage in self.stages:
            before = len(self.layers[stage.layer - 1])
            if isinstance(stage, MachineStage):
                self._machine(stage)
            else:
                self._registers(stage)
            stage.width = len(self.layers[stage.layer - 1]) - before
        outputs = tuple(Output(o.name, o.type, tuple(
            Form.total([self.number(v, numbers, last) for v, numbers in terms], bias) for terms, bias in o.scalars))
            for o in self.outputs)
        idle = Bit(ZERO, ZERO, Symbol("idle"))
        layers = tuple(tuple(u for u in layer if u is not None) or (idle,) for layer in self.layers)
        return Circuit(self.name, tuple(self.columns), layers, outputs, tuple(self._placements),
                       quantities=tuple(dict.fromkeys(self._quantities())))

    def _assign_layers(self) -> int:
        last = 0
        for stage in self.stages:
            if isinstance(stage, MachineStage):
                stage.clean = stage.sums is None and any(self._signs(c) > MOST_SIGNS for c in stage.cover.cubes)
            stage.layer = 1 + max((self.available(v, stage.clean) for v in stage.needs()), default=0)
            last = max(last, stage.layer)
        return max([last, *(self.available(v, True) for o in self.outputs for v in o.needs())])

    def _signs(self, cube: Cube) -> int:
        return sum(1 for v, _ in cube.literals if v != STATE and self.sources[v].kind in ("sign", "was"))

    # Machines

    def _machine(self, stage: MachineStage) -> None:
        """Units of a machine, in its layer, with the registers it tracks."""
        if stage.sums is not None:
            self._thresholds(stage, stage.sums)
            return
        layer, cover = stage.layer, stage.cover
        begin = begin_leaf(cover)
        plans = split_cubes(stage, begin)
        stage.units = [(self.add(layer, None), p.leaf) for p in plans]
        first: int | None = None
        if begin is None:
            first = stage.spare = self.add(layer, Bit(
                ZERO, ZERO, Symbol(f"{stage.name}: before the first token", stage.span, stage.states), 1))
            begin = Leaf(cover.machine.start, tuple(Step(0) for _ in stage.tracked), ())
            stage.units.append((first, begin))
        elif begin != cover.default:
            first = next(i for i, leaf in stage.units if leaf == begin)
        registers = self._own_registers(stage, plans, begin)
        before = sums_before(stage)
        for plan, (index, _) in zip(plans, stage.units, strict=False):
            owns: list[Form] = []
            belows: list[Form] = []
            if plan.before is not None:
                owns.append(before(plan.before))
            count = len(owns)
            for v, places in plan.cube.literals:
                if v in plan.levels:
                    at, level = plan.levels[v]
                    owns.append(signal(registers[at, level], 1 if places == {1} else -1))
                    count += 1
                elif v != STATE and v not in plan.decided:
                    gate = self.gate(v, places, layer)
                    belows.append(gate.below)
                    owns.append(gate.own)
                    count += 1
            below, own = Form.total(belows, 1 - count), Form.total(owns)
            text = f"{stage.name}: {self._text(stage, plan.cube)}"
            self.layers[layer - 1][index] = Bit(below, own, Symbol(text, stage.span, stage.states),
                                                 int(index == first))
        self._lag_bits(stage)
        self._place_machine(stage, cover, registers)

    def _thresholds(self, stage: MachineStage, sums: Sums) -> None:
        """Units of a machine that is told by sums of thresholds."""
        layer, machine = stage.layer, stage.cover.machine
        at = stage.terms = {term: self.add(layer, None) for term in sums.terms}
        start = {at[t] for t in sums.patterns.get(machine.start, ())}
        if machine.start not in sums.patterns:
            stage.spare = self.add(layer, Bit(
                ZERO, ZERO, Symbol(f"{stage.name}: before the first token", stage.span, stage.states), 1))
        bits = {v: known(kept_sum(stage, is_in(s))) for v, s in sums.code.bits} if sums.code else {}
        for term, index in at.items():
            belows: list[Form] = []
            owns: list[Form] = []
            for v, weights in term.weights:
                if v == STATE:
                    owns.append(known(kept_sum(stage, weights.__getitem__)))
                elif v in bits:
                    owns.append(bits[v].scale(weights[1] - weights[0]) + weights[0])
                else:
                    gate = self.weighed(v, weights, layer)
                    belows.append(gate.below)
                    owns.append(gate.own)
            self.layers[layer - 1][index] = Bit(
                Form.total(belows, 1 - term.threshold), Form.total(owns),
                Symbol(f"{stage.name}: {self._score(stage, term)}", stage.span, stage.states),
                int(index in start), term.is_and)
        self._lag_bits(stage)
        if not stage.states or machine.size == 1:
            return
        units = tuple(at.values()) + (() if stage.spare is None else (stage.spare,))
        states = range(machine.size)
        patterns = tuple(tuple(at[t] for t in sums.patterns[q]) if q in sums.patterns else (stage.spare,)
                         for q in states)
        self._placements.append(Placement(
            layer, stage.states, tuple(x[0] for x in machine.labels), tuple(_is_in(stage, q, bits) for q in states),
            tuple(tuple(i for i in p if i is not None) for p in patterns), units, machine.labels))

    def _score(self, stage: MachineStage, term: Term) -> str:
        """A threshold in the program's words."""
        bits = dict(stage.sums.code.bits) if stage.sums and stage.sums.code else {}
        labels = stage.cover.machine.labels
        parts: list[str] = []
        for v, weights in term.weights:
            for w in sorted({x for x in weights if x}):
                places = [p for p, x in enumerate(weights) if x == w]
                if v == STATE or v in bits:
                    members = places if v == STATE else [q for q in range(len(labels)) if (q in bits[v]) in places]
                    was = [labels[q][0] for q in members]
                    text = f"was {among([x[0] if len(x) == 1 else x for x in was])}"
                else:
                    text = f"{self.sources[v].name} {among([self.sources[v].domain[p] for p in places])}"
                parts.append(f"[{text}]" if w == 1 else f"{w}·[{text}]")
        return " + ".join(parts) + f" ≥ {term.threshold}"

    def _lag_bits(self, stage: MachineStage) -> None:
        """Units that repeat what a state was before the token."""
        for v in stage.lagging:
            source = self.sources[v]
            if not self.read_above(v, stage.layer):
                continue
            for c in source.basis():
                states = having(stage, source, c)
                what = f"{source.name} {among([source.domain[p] for p in sorted(c)])}"
                kept = known(kept_sum(stage, is_in(states)))
                stage.lags[v, c] = self.add(stage.layer, Bit(ZERO, kept, Symbol(what, source.span)))

    def _own_registers(self, stage: MachineStage, plans: list[UnitPlan], begin: Leaf) -> dict[tuple[int, int], int]:
        """The registers that the units of a machine read: (tracked, level) → index; each counts F − level, late."""
        out: dict[tuple[int, int], int] = {}
        steps = [leaf.steps for leaf in stage.cover.leaves]
        for at, level in dict.fromkeys(x for p in plans for x in p.levels.values()):
            check_steps((s[at] for s in steps), level)
            gates = [Gate(ZERO, leaf_sum(stage, stepping(f, at))) for f in gates_of(level)]
            t = stage.tracked[at]
            out[at, level] = self.add(stage.layer, Register(
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
            tuple(known(kept_sum(stage, is_in(frozenset({q})))) for q in range(size)), tuple(patterns),
            tuple(i for i, _ in stage.units), cover.machine.labels, tuple(numbers)))

    def _text(self, stage: MachineStage, cube: Cube) -> str:
        """A cube in the program's words."""
        parts: list[str] = []
        for v, places in cube.literals:
            if v == STATE:
                was = [stage.cover.machine.labels[q][0] for q in sorted(places)]
                parts.append(f"was {among([x[0] if len(x) == 1 else x for x in was])}")
            else:
                source = self.sources[v]
                parts.append(f"{source.name} {among([source.domain[p] for p in sorted(places)])}")
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
            check_steps(stage.steps, level)
            gates = [self._gate(stage, stage.places(f)) for f in gates_of(level)]
            stage.registers[level] = self.add(stage.layer, Register(
                gates[0], gates[1], gates[2], Symbol(f"{stage.name} - {level}", stage.span), stage.start - level))
        for v, k in stage.thresholds.items():
            if self.sources[v].kind == "was" and self.read_above(v, stage.layer):
                stage.bits[k] = self.add(stage.layer, Bit(
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
        """What each combination of registers can be, and how fast it grows."""
        for stage in self.stages:
            if isinstance(stage, RegisterStage) and stage.registers:
                growth = max((abs(s.by) for s in stage.steps), default=0)
                yield Quantity(stage.name, *stage.bounds, 1, growth)
            elif isinstance(stage, MachineStage):
                for t in stage.tracked:
                    yield Quantity(t.name, *t.bounds, 1, 1)


def _inverse(grid: Rational) -> Rational:
    return 1 if grid == 1 else 1 / Fraction(grid)


def _is_in(stage: MachineStage, q: int, bits: Mapping[int, Form]) -> Form:
    """A form that is 1 iff the control state is q. bits: the form of each bit of its code."""
    assert stage.sums is not None
    if stage.sums.code is None:
        return known(kept_sum(stage, lambda p: int(p == q)))
    parts = [(bits[v], q in s) for v, s in stage.sums.code.bits]
    return Form.total((bit if on else constant(1) - bit for bit, on in parts), 1 - len(parts))
