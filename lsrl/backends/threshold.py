"""Programs as circuits of threshold bits and registers: technology T, and the finite part of technology R.

From the outputs back to the inputs: each consumer is evaluated over the variables it asks for, so that every producer
is built knowing exactly what of it is observed. Then `Schedule` lays the stages out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from lsrl.analysis.interval import Range
from lsrl.arithmetic import Operation, apply, convert
from lsrl.backends.circuit import CellReport, Circuit, Rational
from lsrl.backends.counters import (
    Tracker,
    largest_step,
    needs_remainder,
    remainder_machine,
    saturate,
    threshold_map,
)
from lsrl.backends.cubes import Diagrams, TooLargeError
from lsrl.backends.finite import Leaf, Machine, Step, cover, explore, letters, minimise, restrict
from lsrl.backends.schedule import (
    MachineStage,
    OutputPlan,
    RegisterStage,
    Schedule,
    Source,
    Stage,
    Tracked,
)
from lsrl.backends.structure import InputScalar, StateCell, Structure, elements_of, input_scalar
from lsrl.backends.symbolic import (
    Atom,
    Combination,
    Evaluator,
    Linear,
    NotHostedError,
    Result,
    Variables,
    linear,
)
from lsrl.backends.symbolic import Leaf as VariableLeaf
from lsrl.diagnostics import Span
from lsrl.ir.graph import Graph, State
from lsrl.ir.nodes import Affine, Const, Input, Node, Read, operands
from lsrl.types import Int, Real, Value

__all__ = ["Layout", "Planner"]

@dataclass(frozen=True)
class Layout:
    """Choices that change how large a circuit gets, never what it computes.

    registers: the states to be counted instead of enumerated. wide: cells also observe functions of what they read.
    lag: old states come from units that repeat them; else every unit of a cell tells them. letters: a map may make
    letters for a cell. mirror: registers with feedback are counted once more for those who read them.
    """

    registers: frozenset[str] = frozenset()
    wide: bool = True
    lag: bool = True
    letters: bool = True
    mirror: bool = False


class Planner:
    """One way to lay a scalarised graph out; `circuit` builds it.

    Raises NotHostedError for what the technology cannot do, TooLargeError beyond limits.
    """

    def __init__(self, graph: Graph, ranges: Mapping[Node, Range], layout: Layout, limit: int = 4096) -> None:
        """limit: the most states of one machine."""
        self.graph, self.ranges, self.layout, self._limit = graph, ranges, layout, limit
        self.structure = Structure.of(graph, ranges, layout.registers, layout.wide)
        self.next_node = {s.name: s.next for s in graph.states}
        self.reads = {n.state: n for n in graph.nodes if isinstance(n, Read)}
        self.diagrams = Diagrams()
        self.variables = Variables(self.diagrams)
        self.sources: dict[int, Source] = {}
        self._inputs: dict[InputScalar, int] = {}
        self._nodes: dict[Node, int] = {}
        self._observed: dict[int, list[Node | str]] = {}
        self._lagging: dict[int, list[int]] = {}
        self._steps: dict[str, int] = {}
        self._step_domains: dict[str, tuple[Step, ...]] = {}
        self._known_leaves: dict[StateCell | None, dict[Node, Result | VariableLeaf | None]] = {}
        self._trackers: dict[tuple[tuple[int, str], ...], Tracker] = {}
        self.matters: set[str] = set()  # the layout's choices that made a difference so far
        self._stages: list[Stage] = []
        self._maps: dict[int, int] = {}
        self._reports: list[tuple[Stage, tuple[str, ...], str, int | None, str]] = []
        self._operations: dict[Node, Operation] = {}
        self._users: dict[Node, list[Node]] = {}
        for node in graph.nodes:
            for x in operands(node):
                self._users.setdefault(x, []).append(node)
        self._find_free_registers()

    def circuit(self) -> Circuit:
        """The circuit of the whole program."""
        outputs = [self._output(name, node) for name, node in self.graph.outputs]
        for cell in reversed(self.structure.cells):
            self._finish_trackers(cell.number)
            if self._observed.get(cell.number) or self._lagging.get(cell.number):
                self._machine_cell(cell)
        schedule = Schedule(self.graph.name, self.sources, self._stages[::-1], outputs)
        built = schedule.circuit()
        cells = tuple(CellReport(states, kind, stage.layer, stage.width, baseline, stage.span, note)
                      for stage, states, kind, baseline, note in reversed(self._reports))
        known = [c.baseline for c in cells]
        total = None if None in known else sum(b for b in known if b is not None)
        return replace(built, cells=cells, baseline=total, relays=schedule.relays)

    # Variables

    def _input(self, scalar: InputScalar, node: Node) -> int:
        """The variable of an input scalar: its values, those that act alike everywhere taken together."""
        if scalar in self._inputs:
            return self._inputs[scalar]
        domain = self.structure.domain(node)
        if domain is None:
            reason = f"`{scalar[0]}` is a number without small bounds; threshold layers see bits only"
            raise NotHostedError(node, reason)
        direct = node in self.structure.next_of or any(x.name == scalar[0] for _, x in self.graph.outputs
                                                       if isinstance(x, Input))
        groups = [(x,) for x in domain] if direct else _alike(node, domain, self._users.get(node, []))
        name = scalar[0] if scalar[1] is None else f"{scalar[0]}[{scalar[1]}]"
        variable = self.variables.add(tuple(g[0] for g in groups))
        self._inputs[scalar] = variable
        self.sources[variable] = Source(name, self.variables.domains[variable], "input", node.span, scalar[0],
                                        scalar[1], tuple(groups))
        return variable

    def _node(self, node: Node, cell: StateCell) -> int:
        """The variable of a node that a cell observes."""
        if node not in self._nodes:
            domain = self.structure.domain(node)
            assert domain is not None
            variable = self.variables.add(domain)
            self._nodes[node] = variable
            if isinstance(node, Read):
                self.matters.add("lag")
            elif node not in self.structure.next_of:
                self.matters.add("wide")
            if self.layout.lag and isinstance(node, Read):
                slot = next(i for i, s in enumerate(cell.finite) if s.name == node.state)
                self.sources[variable] = Source(self._name(node), domain, "lag", node.span, slot=slot)
                self._lagging.setdefault(cell.number, []).append(variable)
            else:
                observed = self._observed.setdefault(cell.number, [])
                self.sources[variable] = Source(self._name(node), domain, "observed", node.span, slot=len(observed))
                observed.append(node)
        return self._nodes[node]

    def _name(self, node: Node) -> str:
        if isinstance(node, Read):
            return f"old {node.state}"
        states = self.structure.next_of.get(node)
        if states:
            return states[0].name
        named = next((n for n, x in self.graph.names if x is node), None)
        return named or " ".join(node.span.text.split())[:40] or type(node).__name__.lower()

    def _leaf(self, me: StateCell | None) -> Callable[[Node], Result | VariableLeaf | None]:
        """What a node is to the evaluation of cell `me` (None: of an output)."""

        known = self._known_leaves.setdefault(me, {})

        def leaf(node: Node) -> Result | VariableLeaf | None:
            if node not in known:
                known[node] = find(node)
            return known[node]

        def find(node: Node) -> Result | VariableLeaf | None:
            scalar = input_scalar(node)
            if scalar is not None:
                return VariableLeaf(self._input(scalar, node))
            if isinstance(node, Const):
                return None
            home = self.structure.home(node)
            if home is not None and home is not me:
                return VariableLeaf(self._node(node, home))
            for state in self.structure.next_of.get(node, ()):
                cell = self.structure.cell_of[state.name]
                if (cell.free or cell.mirrored) and cell is not me and state.name in cell.registers:
                    return self._atom(state.name, "new")
            if isinstance(node, Read):
                return self._atom(node.state, "old")
            return None

        return leaf

    def _grid(self, state: str) -> Fraction:
        grid = self.ranges[self.reads[state]].grid if state in self.reads else Fraction(1)
        if grid is None:
            reason = f"`{state}` is a real without a grid, so that comparing it has no margin"
            raise NotHostedError(self.next_node[state], reason)
        return grid or Fraction(1)

    def _atom(self, state: str, age: str) -> Linear:
        return Linear(((self._grid(state), (state, age)),), Fraction(0))

    def _bounds(self, atom: Atom) -> tuple[Fraction | None, Fraction | None]:
        state, age = atom
        node: Node = self.reads[state] if age == "old" else self.next_node[state]
        r, grid = self.ranges[node], self._grid(state)
        return None if r.lo is None else r.lo / grid, None if r.hi is None else r.hi / grid

    def _function(self, roots: Sequence[Node], own: dict[str, Result], me: StateCell | None,
                  registers: Mapping[int, str] | None = None) -> int:
        """The diagram of nodes' values; thresholds of free registers that it asked for become sources."""
        f = Evaluator(self.variables, self._leaf(me), self._bounds, self._operations).function(roots, own, registers)
        for combination, levels in list(self.variables.thresholds.items()):
            for k, variable in list(levels.items()):
                if variable not in self.sources:
                    self._threshold(combination, k, variable, me, roots[0])
        for combination, divisors in list(self.variables.remainders.items()):
            for divisor, variable in list(divisors.items()):
                if variable not in self.sources:
                    self._remainder(combination, divisor, variable, me, roots[0])
        return f

    def _remainder(self, combination: Combination, divisor: int, variable: int, me: StateCell | None,
                   node: Node) -> None:
        tracker = self._free_tracker(combination, me, node)
        if tracker is None:
            raise NotHostedError(node, "a number is divided, and what becomes of it decides how it is counted")
        after = combination[0][1][1] == "new"
        tracker.remainders[divisor, after] = variable
        name = f"{'' if after else 'old '}{tracker.name} % {divisor}"
        self.sources[variable] = Source(name, tuple(range(divisor)), "observed", node.span)

    def _free_tracker(self, combination: Combination, me: StateCell | None, node: Node) -> Tracker | None:
        """The tracker of a combination of registers that are free for cell `me`; None if they are its own."""
        cells = [self.structure.cell_of[s] for _, (s, _) in combination]
        if me is not None and any(c is me for c in cells):
            if not all(c is me for c in cells):
                raise NotHostedError(node, "a number of this cell is compared with one outside")
            return None
        if len({age for _, (_, age) in combination}) > 1:
            raise NotHostedError(node, "a new value is compared with an old one")
        registers = tuple((c, s) for c, (s, _) in combination)
        return self._trackers.setdefault(registers, Tracker(registers))

    def _threshold(self, combination: Combination, k: int, variable: int, me: StateCell | None, node: Node) -> None:
        tracker = self._free_tracker(combination, me, node)
        span = self.structure.cell_of[combination[0][1][0]].span
        if tracker is None:
            name = Tracker(tuple((c, s) for c, (s, _) in combination)).name
            self.sources[variable] = Source(f"old {name} ≥ {k}", (False, True), "own", span)
            return
        new = combination[0][1][1] == "new"
        (tracker.after if new else tracker.before)[k] = variable
        name, kind = (tracker.name, "sign") if new else (f"old {tracker.name}", "was")
        self.sources[variable] = Source(f"{name} ≥ {k}", (False, True), kind, span, level=k)

    # Consumers, from the last to the first

    def _output(self, name: str, node: Node) -> OutputPlan:
        scalars = elements_of(node)
        if not scalars:
            raise NotHostedError(node, "a vector output is not made of scalars")
        plan = OutputPlan(name, node.type, tuple(self._scalar(n) for n in scalars))
        for v, sets in plan.needs().items():
            self.sources[v].ask(sets)
        return plan

    def _scalar(self, node: Node) -> tuple[tuple[tuple[int, tuple[Rational, ...]], ...], Rational]:
        """An output as Σ numbers of variables: sums are left to the read-out, the rest becomes one variable."""
        terms: dict[int, list[Rational]] = {}
        bias: Rational = 0
        stack: list[tuple[Rational, Node]] = [(1, node)]
        while stack:
            c, n = stack.pop()
            if isinstance(n, Const):
                bias += c * _number(n.value)
                continue
            scalar = input_scalar(n)
            if isinstance(n, Affine) and scalar is None and self.structure.home(n) is None:
                bias += c * n.bias
                stack.extend((c * a, x) for a, x in n.terms)
                continue
            variable, numbers = self._one_variable(n)
            if variable is None:
                bias += c * numbers[0]
                continue
            old = terms.setdefault(variable, [0] * len(numbers))
            terms[variable] = [a + c * b for a, b in zip(old, numbers, strict=True)]
        return tuple((v, tuple(numbers)) for v, numbers in terms.items()), bias

    def _one_variable(self, node: Node) -> tuple[int | None, tuple[Rational, ...]]:
        """A variable and a number for each of its places, that give a finite node's value."""
        f = self._function((node,), {}, None)
        support = self.diagrams.support(f)
        for value in self.diagrams.leaves(f):
            assert isinstance(value, tuple)
            if isinstance(value[0], Linear):
                raise NotHostedError(node, "its value has no bounds, and an LSTM shows the sign of a register only")
        if not support:
            return None, (_first(self.diagrams.value(f)),)
        if len(support) == 1:
            size = self.diagrams.sizes[support[0]]
            point = [0] * len(self.diagrams.sizes)
            numbers: list[Rational] = []
            for place in range(size):
                point[support[0]] = place
                numbers.append(_first(self.diagrams.evaluate(f, point)))
            return support[0], tuple(numbers)
        variable = self._map(self._name(node), self.diagrams.map(f, _first), node.span)
        return variable, tuple(_number(x) for x in self.variables.domains[variable])

    def _map(self, name: str, f: int, span: Span) -> int:
        """A function of several variables as a variable: a machine without memory computes it."""
        if f in self._maps:
            return self._maps[f]
        domain = tuple(self.diagrams.leaves(f))
        variable = self._maps[f] = self.variables.add(domain)
        self.sources[variable] = Source(name, domain, "observed", span)
        self._map_stage(name, f, variable, span)
        return variable

    def _map_stage(self, name: str, f: int, variable: int, span: Span) -> None:
        """A stage without memory that computes `f`, whose values are those of `variable`."""
        source = self.sources[variable]
        places = {x: i for i, x in enumerate(source.domain)}
        machine = Machine(self.diagrams, (self.diagrams.map(f, lambda x: Leaf(0, (), (places[x],))),), 0, (((),),))
        stage = MachineStage(name, cover(machine), (variable,), span=span)
        source.home, source.kind, source.slot = stage, "observed", 0
        self._append(stage, (), "map", len(source.domain))

    def _append(self, stage: Stage, states: tuple[str, ...], kind: str, baseline: int | None, note: str = "") -> None:
        self._stages.append(stage)
        self._reports.append((stage, states, kind, baseline, note))
        for v, sets in stage.needs().items():
            self.sources[v].ask(sets)

    def _machine_cell(self, cell: StateCell) -> None:
        """The machine of a cell, as far as its consumers observe it."""
        observed = self._observed.get(cell.number, [])
        lagging = self._lagging.get(cell.number, [])
        variables = tuple(self._nodes[n] if not isinstance(n, str) else self._steps[n] for n in observed)
        machine = self._explore(cell, observed, variables)
        tracked = self._own_trackers(cell)
        machine = self._with_steps(machine, cell, tracked)
        keep = [_class_of(self.sources[v]) for v in variables]
        tests = [(self.sources[v].slot, _class_of_value(self.sources[v])) for v in lagging]
        machine = minimise(restrict(machine, keep), lambda joint: tuple(test(joint[slot]) for slot, test in tests))
        k = letters(machine)
        names = tuple(s.name for s in cell.states)
        stage = MachineStage(_joined(names), cover(machine), variables, tuple(s.name for s in cell.finite),
                             tuple(t for _, t in tracked), cell.span, lagging=tuple(lagging))
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

        def function(joint: tuple[Value, ...]) -> int:
            own = {**counted, **dict(zip((s.name for s in finite), joint, strict=True))}
            return self._function(roots, own, cell, stepping)

        def outcome(value: Hashable) -> tuple[tuple[Value, ...], tuple[Step, ...], tuple[Hashable, ...]]:
            assert isinstance(value, tuple)
            joint = tuple(_held(x, s) for x, s in zip(value[:nf], finite, strict=True))
            counts, rest = value[nf : nf + nr], iter(value[nf + nr :])
            seen: list[Hashable] = []
            for n, known in zip(observed, places, strict=True):
                if isinstance(n, str):
                    seen.append(known.get(self._step([(1, n, _result(counts[registers.index(n)]))])))
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
                                                 self._grid(alone) if alone else 1)))
        return out

    def _with_steps(self, machine: Machine, cell: StateCell, tracked: Sequence[tuple[Combination, Tracked]]) -> Machine:
        """The machine with the registers' new values, which stand before its observations, turned into steps."""
        place = {r: i for i, r in enumerate(cell.registers)}

        def change(leaf: Hashable) -> Leaf:
            assert isinstance(leaf, Leaf)
            steps = tuple(self._step([(c, s, _result(leaf.observed[place[s]])) for c, (s, _) in combination])
                          for combination, _ in tracked)
            for t in steps:
                if abs(t.by) > 1 and not t.sets:
                    node = self.next_node[cell.registers[0]]
                    raise NotHostedError(node, f"a number moves by {t.by} at once, and its own comparisons decide when")
            return Leaf(leaf.next, steps, leaf.observed[len(place):])

        return replace(machine, functions=tuple(self.diagrams.map(f, change) for f in machine.functions))

    def _step(self, parts: Sequence[tuple[int, str, Result]]) -> Step:
        """What a combination of registers does, from the registers' new values: coefficient, register, value."""
        new = linear([(c / self._grid(s), x) for c, s, x in parts], 0)
        old = linear([(1, Linear(((Fraction(c), (s, "old")),), Fraction(0))) for c, s, _ in parts], 0)
        change = linear([(1, new), (-1, old)], 0)
        if not isinstance(change, Linear):
            return Step(int(_number(change)))
        if not isinstance(new, Linear):
            return Step(int(_number(new)), True)
        raise NotHostedError(self.next_node[parts[0][1]], "a number takes the value of another, or a multiple of its "
                                                          "own; a register can be kept, stepped or set")

    def _start(self, registers: Sequence[tuple[int, str]]) -> int:
        total = Fraction(0)
        for c, s in registers:
            total += c * Fraction(_number(self.graph.state[s].init)) / self._grid(s)
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

    # Registers without feedback

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
        machine = minimise(restrict(machine, [_class_of(self.sources[v]) for v in variables]))
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

    def _new(self, name: str, domain: tuple[Hashable, ...], span: Span) -> int:
        variable = self.variables.add(domain)
        self.sources[variable] = Source(name, domain, "observed", span)
        return variable

    def _register(self, tracker: Tracker, f: int, start: int, thresholds: dict[int, int], states: tuple[str, ...],
                  span: Span) -> None:
        """One register per threshold."""
        variable, steps = self._steps_source(f, tracker.name, span)
        alone = states[0] if len(states) == 1 else None
        stage = RegisterStage(tracker.name, start, variable, steps, thresholds, span, alone,
                              self._grid(alone) if alone else 1)
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
        stage = RegisterStage(f"{name} // {divisor}", start // divisor, carry, steps, thresholds, span)
        for v in thresholds:
            self.sources[v].home = stage
        self._append(stage, states, "counter", None, f"with a remainder by {divisor}")
        variables = (carry, after, before)
        places = {s: i for i, s in enumerate(carries)}
        keep: list[Callable[[Hashable], Hashable]] = [
            lambda s: _class_of(self.sources[carry])(places[s]), _class_of(self.sources[after]),
            _class_of(self.sources[before])]
        machine = minimise(restrict(machine, keep))
        k_letters = letters(machine)
        remainder_stage = MachineStage(f"{name} % {divisor}", cover(machine), variables, span=span)
        for slot, v in enumerate(variables):
            self.sources[v].home, self.sources[v].slot = remainder_stage, slot
        self._append(remainder_stage, (), "automaton", machine.size * k_letters if k_letters else None, "remainder")

    def _find_free_registers(self) -> None:
        """Marks the cells of one register whose steps ask for no comparison of it, and those to be mirrored."""
        for cell in self.structure.cells:
            if not cell.registers:
                continue
            if len(cell.states) > 1 and not self.layout.mirror:
                self.matters.add("mirror")
                continue
            with self._aside():
                machine = self._explore(cell, (), ())
                own = [s for combination in self.variables.thresholds for _, (s, _) in combination
                       if s in cell.registers]  # a remainder of its own is refused where it is asked for
                cell.free = not own and len(cell.states) == 1
                if not cell.free:
                    self.matters.add("mirror")
                if not cell.free and self.layout.mirror:
                    cell.mirrored = True
                    for i, r in enumerate(cell.registers):
                        steps = [self._step([(1, r, _result(leaf.observed[i]))]) for f in machine.functions
                                 for leaf in self.diagrams.leaves(f) if isinstance(leaf, Leaf)]
                        self._step_domains[r] = tuple(dict.fromkeys(steps))
            self.structure.forget_homes()

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """Evaluations in here leave no variables behind."""
        names = ("diagrams", "variables", "sources", "_inputs", "_nodes", "_observed", "_lagging", "_trackers",
                 "_known_leaves", "_steps")
        saved = {n: getattr(self, n) for n in names}
        self.diagrams = Diagrams()
        self.variables = Variables(self.diagrams)
        self.sources, self._inputs, self._nodes, self._observed, self._trackers = {}, {}, {}, {}, {}
        self._lagging, self._known_leaves, self._steps = {}, {}, {}
        try:
            yield
        finally:
            for name, value in saved.items():
                setattr(self, name, value)


def _class_of_value(source: Source) -> Callable[[Value], Hashable]:
    """Value → the first place that no reader tells apart from its own."""
    places = {x: i for i, x in enumerate(source.domain)}
    classes = _class_of(source)
    return lambda value: classes(places.get(value))


def _class_of(source: Source) -> Callable[[Hashable], Hashable]:
    """Place of a value → the first place that no reader tells apart from it; None stays."""
    first = {place: min(c) for c in source.classes() for place in c}
    return lambda place: first.get(place) if isinstance(place, int) else None


def _alike(node: Node, domain: tuple[Value, ...], users: Sequence[Node]) -> list[tuple[Value, ...]]:
    """The values of an input that no node using it tells apart, if every user looks at it alone."""
    if any(not all(x is node or isinstance(x, Const) for x in operands(u)) for u in users):
        return [(x,) for x in domain]
    groups: dict[tuple[Value, ...], list[Value]] = {}
    for value in domain:
        key = tuple(apply(u, [x.value if isinstance(x, Const) else value for x in operands(u)]) for u in users)
        groups.setdefault(key, []).append(value)
    return [tuple(g) for g in groups.values()]


def _held(x: Value | Linear, state: State) -> Value:
    """A next value as the state holds it; outside its declared range, which a check forbids, the nearest inside."""
    if isinstance(x, Linear):
        raise NotHostedError(state.next, f"`{state.name}` takes the value of an unbounded number")
    t = state.type
    if isinstance(t, Int | Real) and isinstance(x, int | Fraction):
        x = x if t.lo is None else max(x, t.lo)
        x = x if t.hi is None else min(x, t.hi)
    return convert(x, t)


def _joined(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _first(values: Hashable) -> Rational:
    assert isinstance(values, tuple)
    return _number(values[0])


def _number(x: Hashable) -> Rational:
    assert isinstance(x, int | Fraction)
    return x


def _result(x: Hashable) -> Result:
    assert isinstance(x, Linear | int | Fraction)
    return x
