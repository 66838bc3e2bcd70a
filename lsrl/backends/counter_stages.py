"""Combinations of registers that others compare or divide, as stages.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace

from lsrl.backends.cell_stages import CellStages
from lsrl.backends.combinations import Linear
from lsrl.backends.counters import (
    Tracker,
    largest_step,
    needs_remainder,
    remainder_machine,
    saturate,
    threshold_map,
)
from lsrl.backends.finite import Leaf, Machine, Step, cover, letters, minimise, restrict
from lsrl.backends.reading import class_of
from lsrl.backends.refusal import NotHostedError
from lsrl.backends.stages import (
    MachineStage,
    RegisterStage,
)
from lsrl.backends.structure import StateCell
from lsrl.diagnostics import Span

__all__ = ["CounterStages"]


class CounterStages(CellStages):
    """Builds the counters of free and of mirrored registers, once it is known which thresholds are asked for."""

    def _finish_trackers(self, number: int) -> None:
        """Builds the combinations whose last register belongs to cell `number`."""
        for tracker in list(self._trackers.values()):
            if max(self.structure.cell_of[s].number for _, s in tracker.registers) == number:
                self._tracker(tracker)

    def _tracker(self, tracker: Tracker) -> None:
        functions = []
        for _, s in tracker.registers:
            cell = self.structure.cell_of[s]
            if cell.mirrored:
                functions.append(self._mirrored_step(s, cell))
                continue
            functions.append(self._function((self.next_node[s],), {s: self._atom(s, "old")}, cell, {0: s}))

        def outcome(values: Hashable) -> Step:
            assert isinstance(values, tuple)
            return self._step([(c, s, v[0]) for (c, s), v in zip(tracker.registers, values, strict=True)])

        f = self.diagrams.map(self.diagrams.combine(functions), outcome)
        steps = [s for s in self.diagrams.leaves(f) if isinstance(s, Step)]
        start = self._start(tracker.registers)
        span = self.structure.cell_of[tracker.registers[0][1]].span
        states = tuple(s for _, s in tracker.registers)
        for divisor in dict.fromkeys(d for d, _ in tracker.remainders):
            self._remainder_cell(tracker, f, start, divisor, states, span)
        if not tracker.levels:
            return
        if any(s.sets for s in steps) or largest_step(steps) > 1:
            machine = saturate(self.diagrams, f, tracker, start)
            if machine is not None:
                self._saturated(tracker, machine, states, span)
                return
        try:
            divisor = needs_remainder(steps, tracker.levels, start)
        except ValueError:
            reason = f"`{tracker.name}` moves or is set too far for registers that move by 1"
            raise NotHostedError(self.next_node[states[0]], reason) from None
        if divisor == 1:
            thresholds = {v: k for levels in (tracker.after, tracker.before) for k, v in levels.items()}
            self._register(tracker, f, start, thresholds, states, span)
        else:
            self._quotient(tracker, f, start, divisor, states, span)

    def _remainder_cell(self, tracker: Tracker, f: int, start: int, divisor: int, states: tuple[str, ...],
                        span: Span) -> None:
        """The remainder of a combination that someone divides, as a machine of its own."""
        known = [(after, tracker.remainders[divisor, after]) for after in (True, False)
                 if (divisor, after) in tracker.remainders]
        variables = tuple(v for _, v in known)
        picked = [1 if after else 2 for after, _ in known]

        def pick(leaf: Hashable) -> Leaf:
            assert isinstance(leaf, Leaf)
            return Leaf(leaf.next, (), tuple(leaf.observed[i] for i in picked))

        whole = remainder_machine(self.diagrams, f, divisor, start)
        machine = replace(whole, functions=tuple(self.diagrams.map(g, pick) for g in whole.functions))
        machine = minimise(restrict(machine, [class_of(self.sources[v]) for v in variables]))
        k = letters(machine)
        stage = MachineStage(f"{tracker.name} % {divisor}", cover(machine), variables, span=span)
        for slot, v in enumerate(variables):
            self.sources[v].home, self.sources[v].slot = stage, slot
        self._append(stage, states, "automaton", machine.size * k if k else None, f"remainder by {divisor}")

    def _mirrored_step(self, register: str, cell: StateCell) -> int:
        """The new value of a register with feedback, by the step that its machine observes."""
        if register not in self._steps:
            observed = self._observed.setdefault(cell.number, [])
            domain = self._step_domains[register]
            self._steps[register] = self._new(f"step of {register}", domain, cell.span)
            self.sources[self._steps[register]].slot = len(observed)
            observed.append(register)
        variable = self._steps[register]
        old, grid = self._atom(register, "old"), self._grid(register)
        return self.diagrams.case(variable, [
            self.diagrams.leaf((s.by * grid,) if s.sets else (Linear(old.terms, s.by * grid),))
            for s in self._step_domains[register]])

    def _saturated(self, tracker: Tracker, machine: Machine, states: tuple[str, ...], span: Span) -> None:
        variables = (*tracker.after.values(), *tracker.before.values())
        for slot, v in enumerate(variables):
            self.sources[v].kind, self.sources[v].slot = "observed", slot

        def place(x: Hashable) -> Hashable:
            return int(bool(x))

        machine = minimise(restrict(machine, [place for _ in variables]))
        k = letters(machine)
        stage = MachineStage(tracker.name, cover(machine), variables, span=span)
        for v in variables:
            self.sources[v].home = stage
        self._append(stage, states, "automaton", machine.size * k if k else None,
                     f"saturating counter, {machine.size} states")

    def _steps_source(self, f: int, name: str, span: Span) -> tuple[int | None, tuple[Step, ...]]:
        """The variable that decides the steps, and the step at each of its places."""
        support = self.diagrams.support(f)
        if not support:
            step = self.diagrams.value(f)
            assert isinstance(step, Step)
            return None, (step,)
        if len(support) == 1:
            point = [0] * len(self.diagrams.sizes)
            steps: list[Step] = []
            for place in range(self.diagrams.sizes[support[0]]):
                point[support[0]] = place
                step = self.diagrams.evaluate(f, point)
                assert isinstance(step, Step)
                steps.append(step)
            return support[0], tuple(steps)
        variable = self._new(f"step of {name}", tuple(self.diagrams.leaves(f)), span)
        domain = self.sources[variable].domain
        return variable, tuple(s for s in domain if isinstance(s, Step))

    def _register(self, tracker: Tracker, f: int, start: int, thresholds: dict[int, int], states: tuple[str, ...],
                  span: Span) -> None:
        """One register per threshold."""
        variable, steps = self._steps_source(f, tracker.name, span)
        alone = states[0] if len(states) == 1 else None
        stage = RegisterStage(tracker.name, start, variable, steps, thresholds, span, alone,
                              self._grid(alone) if alone else 1, self._bounds_of(tracker.registers))
        for v in thresholds:
            self.sources[v].home = stage
        self._append(stage, states, "counter", None, f"steps of {sorted({s.by for s in steps})}")
        if variable is not None and self.sources[variable].home is None and self.sources[variable].kind == "observed" \
                and len(self.diagrams.support(f)) > 1:
            self._map_stage(self.sources[variable].name, f, variable, span)

    def _quotient(self, tracker: Tracker, f: int, start: int, divisor: int, states: tuple[str, ...],
                  span: Span) -> None:
        """A register of the quotient by `divisor` and a machine for the remainder; thresholds are maps of both."""
        machine = remainder_machine(self.diagrams, f, divisor, start)
        carries = list(dict.fromkeys(leaf.observed[0] for g in machine.functions for leaf in self.diagrams.leaves(g)
                                     if isinstance(leaf, Leaf)))
        name = tracker.name
        carry = self._new(f"step of {name} // {divisor}", tuple(carries), span)
        after = self._new(f"{name} % {divisor}", tuple(range(divisor)), span)
        before = self._new(f"old {name} % {divisor}", tuple(range(divisor)), span)
        thresholds: dict[int, int] = {}
        for levels, remainder, kind in ((tracker.after, after, "sign"), (tracker.before, before, "was")):
            quotient: dict[int, int] = {}
            for k, v in levels.items():
                for r in range(divisor):
                    q = -((r - k) // divisor)
                    if q not in quotient:
                        quotient[q] = self._new(f"{name} // {divisor} ≥ {q}", (False, True), span)
                        self.sources[quotient[q]].kind, self.sources[quotient[q]].level = kind, q
                        thresholds[quotient[q]] = q
                self._map_stage(self.sources[v].name, threshold_map(self.diagrams, k, divisor, remainder, quotient), v,
                                span)
        steps = tuple(s for s in carries if isinstance(s, Step))
        stage = RegisterStage(f"{name} // {divisor}", start // divisor, carry, steps, thresholds, span,
                              bounds=self._bounds_of(tracker.registers, divisor))
        for v in thresholds:
            self.sources[v].home = stage
        self._append(stage, states, "counter", None, f"with a remainder by {divisor}")
        variables = (carry, after, before)
        places = {s: i for i, s in enumerate(carries)}
        keep: list[Callable[[Hashable], Hashable]] = [
            lambda s: class_of(self.sources[carry])(places[s]), class_of(self.sources[after]),
            class_of(self.sources[before])]
        machine = minimise(restrict(machine, keep))
        k_letters = letters(machine)
        remainder_stage = MachineStage(f"{name} % {divisor}", cover(machine), variables, span=span)
        for slot, v in enumerate(variables):
            self.sources[v].home, self.sources[v].slot = remainder_stage, slot
        self._append(remainder_stage, (), "automaton", machine.size * k_letters if k_letters else None, "remainder")
