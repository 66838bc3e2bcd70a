"""Cells with finite control, and maps, as machine stages.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TypeAlias

from lsrl.arithmetic import convert
from lsrl.backends.combinations import Combination, Linear, Result, linear
from lsrl.backends.counters import Tracker, largest_step
from lsrl.backends.cubes import TooLargeError
from lsrl.backends.finite import Leaf, Machine, Step, cover, explore, letters, minimise, restrict, with_remainder
from lsrl.backends.linear_form import Rational
from lsrl.backends.reading import Reading, class_of, class_of_value, number_of, result_of
from lsrl.backends.refusal import NotHostedError
from lsrl.backends.stages import (
    MachineStage,
    Source,
    Stage,
    Tracked,
    wanted_for,
)
from lsrl.backends.structure import StateCell
from lsrl.backends.sums import Sums
from lsrl.diagnostics import Span
from lsrl.ir.graph import State
from lsrl.ir.nodes import Node
from lsrl.types import Int, Real, Value

__all__ = ["CellStages"]


class CellStages(Reading):
    """Builds the machine of a cell, or of a map, once it is known what of it is observed."""

    def _map(self, name: str, f: int, span: Span) -> int:
        """A function of several variables as a variable: a machine without memory computes it.

        Its units come after all cells, and so first of what is pending.
        """
        if f in self._maps:
            return self._maps[f]
        domain = tuple(self.diagrams.leaves(f))
        variable = self._maps[f] = self.variables.add(domain)
        self.sources[variable] = Source(name, domain, "observed", span)
        self.pending.append((len(self.structure.cells), lambda: self._map_stage(name, f, variable, span)))
        return variable

    def _map_stage(self, name: str, f: int, variable: int, span: Span) -> None:
        source = self.sources[variable]
        places = {x: i for i, x in enumerate(source.domain)}
        shown = class_of(source) if source.sets else None  # else it is not known yet what is asked for

        def leaf(x: Hashable) -> Leaf:
            return Leaf(0, (), (places[x] if shown is None else shown(places[x]),))

        machine = Machine(self.diagrams, (self.diagrams.map(f, leaf),), 0, (((),),))
        stage = MachineStage(name, cover(machine), (variable,), span=span)
        source.home, source.kind, source.slot = stage, "observed", 0
        self._append(stage, (), "map", len(source.domain))

    def _append(self, stage: Stage, states: tuple[str, ...], kind: str, baseline: int | None, note: str = "") -> None:
        if isinstance(stage, MachineStage) and stage.sums is None:
            stage.sums = self._sums(stage)
        self._stages.append(stage)
        self._reports.append((stage, states, kind, baseline, note))
        for v, sets in stage.needs().items():
            self.sources[v].ask(sets)

    def _append_pending(self, last: int) -> None:
        """The stages that wait for the cells after number `last` to be built; those made last read none of the others.
        """
        for at, append in self.pending[::-1]:
            if at == last:
                append()

    def _sums(self, stage: MachineStage) -> Sums | None:
        """The stage by general thresholds, if they are cheaper; the sign of a register is no bit to be weighed."""
        outside = stage.cover.sets()
        if stage.tracked or any(self.sources[v].kind in ("sign", "was", "own") for v in outside):
            return None
        wanted = wanted_for(stage, self.sources, self.layout.general, self._bit)
        return self._alike.sums(stage.cover, wanted, self._bits)

    def _bit(self, place: int) -> int:
        """The variable for a place in the code of a machine's control states."""
        while len(self._bits) <= place:
            self._bits.append(self.variables.add((False, True)))
        return self._bits[place]

    def _machine_cell(self, cell: StateCell) -> None:
        """The machine of a cell, as far as its consumers observe it."""
        observed = self._observed.get(cell.number, [])
        lagging = self._lagging.get(cell.number, [])
        variables = tuple(self._nodes[n] if not isinstance(n, str) else self._steps[n] for n in observed)
        machine = self._explore(cell, observed, variables)
        combinations = self._own_trackers(cell)
        machine = self._with_steps(machine, cell, combinations)
        machine, tracked = self._with_small_steps(machine, [t for _, t in combinations], cell)
        keep = [class_of(self.sources[v]) for v in variables]
        tests = [(self.sources[v].slot, class_of_value(self.sources[v])) for v in lagging]
        machine = minimise(restrict(machine, keep), lambda joint: tuple(test(joint[slot]) for slot, test in tests))
        k = letters(machine)
        names = tuple(s.name for s in cell.states)
        divided = any(t.divided for t in tracked)  # then a control state is more than what the program's states say
        stage = MachineStage(_joined(names), cover(machine), variables,
                             () if divided else tuple(s.name for s in cell.finite), tuple(tracked), cell.span,
                             lagging=tuple(lagging))
        letter_map = self._lettered(machine, stage) if self.layout.letters and not tracked else None
        for v in (*variables, *lagging):
            self.sources[v].home = stage
        note = f"{machine.size} states" + (f", {k} letters" if k else "")
        if tracked:
            self._append(stage, names, "counter-machine", None, note)
        else:
            self._append(stage, names, "automaton", machine.size * k if k else None, note)
        if letter_map is not None:
            self._map_stage(f"letter of {stage.name}", *letter_map, cell.span)

    def _explore(self, cell: StateCell, observed: Sequence[Node | str], variables: Sequence[int]) -> Machine:
        """The cell's machine; its observations are the registers' new values, then what consumers observe."""
        finite, registers = cell.finite, cell.registers
        nodes = [n for n in observed if not isinstance(n, str)]
        roots = (*(s.next for s in finite), *(self.next_node[r] for r in registers), *nodes)
        counted: dict[str, Result] = {r: self._atom(r, "old") for r in registers}
        places = [{x: i for i, x in enumerate(self.sources[v].domain)} for v in variables]
        nf, nr = len(finite), len(registers)
        stepping = {nf + i: r for i, r in enumerate(registers)}

        same: list[int] = []  # the one function of a cell that does not read itself: a delay

        def function(joint: tuple[Value, ...]) -> int:
            if same:
                return same[0]
            own = {**counted, **dict(zip((s.name for s in finite), joint, strict=True))}
            f = self._function(roots, own, cell, stepping)
            if not self.last_read_own and not registers:
                same.append(f)
            return f

        def outcome(value: Hashable) -> tuple[tuple[Value, ...], tuple[Step, ...], tuple[Hashable, ...]]:
            assert isinstance(value, tuple)
            joint = tuple(_held(x, s) for x, s in zip(value[:nf], finite, strict=True))
            counts, rest = value[nf : nf + nr], iter(value[nf + nr :])
            seen: list[Hashable] = []
            for n, known in zip(observed, places, strict=True):
                if isinstance(n, str):
                    seen.append(known.get(self._step([(1, n, result_of(counts[registers.index(n)]))])))
                else:
                    seen.append(known.get(next(rest)))
            return joint, (), (*counts, *seen)

        start = tuple(convert(s.init, s.type) for s in finite)
        return explore(self.diagrams, start, function, outcome, self._limit)

    def _own_trackers(self, cell: StateCell) -> list[tuple[Combination, Tracked]]:
        """The combinations of a cell's own registers that it compares."""
        out: list[tuple[Combination, Tracked]] = []
        for combination, levels in self.variables.thresholds.items():
            if all(self.structure.cell_of[s] is cell and not cell.free for _, (s, _) in combination):
                registers = tuple((c, s) for c, (s, _) in combination)
                alone = registers[0][1] if len(registers) == 1 else None
                out.append((combination, Tracked(Tracker(registers).name, self._start(registers),
                                                 {v: k for k, v in levels.items()}, alone,
                                                 self._grid(alone) if alone else 1,
                                                 bounds=self._bounds_of(registers))))
        return out

    def _with_steps(self, machine: Machine, cell: StateCell, tracked: Sequence[tuple[Combination, Tracked]]) -> Machine:
        """The machine with the registers' new values, which stand before its observations, turned into steps."""
        place = {r: i for i, r in enumerate(cell.registers)}

        def change(leaf: Hashable) -> Leaf:
            assert isinstance(leaf, Leaf)
            steps = tuple(self._step([(c, s, result_of(leaf.observed[place[s]])) for c, (s, _) in combination])
                          for combination, _ in tracked)
            return Leaf(leaf.next, steps, leaf.observed[len(place):])

        return replace(machine, functions=tuple(self.diagrams.map_all(machine.functions, change)))

    def _with_small_steps(self, machine: Machine, tracked: list[Tracked],
                          cell: StateCell) -> tuple[Machine, list[Tracked]]:
        """Registers that move by more than 1 at once are divided; the remainders join the control state."""
        out: list[Tracked] = []
        for at, t in enumerate(tracked):
            steps = [leaf.steps[at] for f in machine.functions for leaf in self.diagrams.leaves(f)
                     if isinstance(leaf, Leaf)]
            divisor = largest_step(steps)
            if divisor <= 1:
                out.append(t)
                continue
            if divisor * machine.size > self._limit:
                raise NotHostedError(self.next_node[cell.registers[0]], f"`{t.name}` moves by {divisor} at once")
            quotients: dict[int, int] = {}
            for k in t.thresholds.values():
                for q in (-((r - k) // divisor) for r in range(divisor)):
                    if q not in quotients:
                        quotients[q] = self._new(f"old {t.name} // {divisor} ≥ {q}", (False, True), cell.span)
                        self.sources[quotients[q]].kind = "own"

            def renamed(r: int, t: Tracked = t, d: int = divisor, known: dict[int, int] = quotients) -> dict[int, int]:
                return {v: known[-((r - k) // d)] for v, k in t.thresholds.items()}

            machine = with_remainder(machine, at, divisor, t.start, renamed)
            out.append(Tracked(f"{t.name} // {divisor}", t.start // divisor, {v: q for q, v in quotients.items()},
                               divided=True, bounds=_divided(t.bounds, divisor)))
        return machine, out

    def _step(self, parts: Sequence[tuple[int, str, Result]]) -> Step:
        """What a combination of registers does, from the registers' new values: coefficient, register, value."""
        new = linear([(c / self._grid(s), x) for c, s, x in parts], 0)
        old = linear([(1, Linear(((Fraction(c), (s, "old")),), Fraction(0))) for c, s, _ in parts], 0)
        change = linear([(1, new), (-1, old)], 0)
        if not isinstance(change, Linear):
            return Step(int(number_of(change)))
        if not isinstance(new, Linear):
            return Step(int(number_of(new)), True)
        raise NotHostedError(self.next_node[parts[0][1]], "a number takes the value of another, or a multiple of its "
                                                          "own; a register can be kept, stepped or set")

    def _start(self, registers: Sequence[tuple[int, str]]) -> int:
        total = Fraction(0)
        for c, s in registers:
            total += c * Fraction(number_of(self.graph.state[s].init)) / self._grid(s)
        return int(total)

    def _lettered(self, machine: Machine, stage: MachineStage) -> tuple[int, int] | None:
        """Makes the cover of a machine one over a single letter, if that and the map that makes letters are smaller.

        Returns the diagram of the letter and its variable, or None.
        """
        variables = {v for f in machine.functions for v in self.diagrams.support(f)}
        if len(variables) < 2:
            return None
        try:
            joint = self.diagrams.combine(machine.functions)
        except TooLargeError:
            return None
        rows = self.diagrams.leaves(joint)
        if len(rows) * machine.size > 4 * len(stage.cover.cubes) + 64:
            return None
        letter = self.variables.add(tuple(range(len(rows))))
        places = {row: i for i, row in enumerate(rows)}
        columns = list(zip(*(row for row in rows if isinstance(row, tuple)), strict=True))
        functions = tuple(self.diagrams.case(letter, [self.diagrams.leaf(x) for x in column]) for column in columns)
        smaller = cover(replace(machine, functions=functions))
        f = self.diagrams.map(joint, lambda row: places[row])
        as_leaf = self.diagrams.map(f, lambda x: Leaf(0, (), (x,)))
        spent = len(cover(Machine(self.diagrams, (as_leaf,), 0, (((),),))).cubes)
        if len(smaller.cubes) + spent >= len(stage.cover.cubes):
            return None
        self.matters.add("letters")
        self.sources[letter] = Source(f"letter of {stage.name}", tuple(range(len(rows))), "observed", stage.span)
        stage.cover = smaller
        return f, letter


def _held(x: Value | Linear, state: State) -> Value:
    """A next value as the state holds it; outside its declared range, which a check forbids, the nearest inside."""
    if isinstance(x, Linear):
        raise NotHostedError(state.next, f"`{state.name}` takes the value of an unbounded number")
    t = state.type
    if isinstance(t, Int | Real) and isinstance(x, int | Fraction):
        x = x if t.lo is None else max(x, t.lo)
        x = x if t.hi is None else min(x, t.hi)
    return convert(x, t)


_Bounds: TypeAlias = tuple[Rational | None, Rational | None]


def _divided(bounds: _Bounds, by: int) -> _Bounds:
    low, high = bounds
    return (None if low is None else low // by), (None if high is None else high // by)


def _joined(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
