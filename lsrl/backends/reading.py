"""What a cell or an output reads: nodes as variables, and the sources that the variables are.

`Reading` is the state that the parts of the planner share (`cell_stages`, `counter_stages`, `threshold`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from fractions import Fraction

from lsrl.analysis.interval import Range
from lsrl.arithmetic import Operation, operation
from lsrl.backends.alike import known_sums
from lsrl.backends.combinations import Atom, Combination, Linear, Result, Variables
from lsrl.backends.counters import (
    Tracker,
)
from lsrl.backends.cubes import Diagrams
from lsrl.backends.finite import Step
from lsrl.backends.layout import Layout
from lsrl.backends.linear_form import Rational
from lsrl.backends.long_sums import FEWEST, compared, cover_of, is_long, parts_of
from lsrl.backends.refusal import NotHostedError
from lsrl.backends.selections import index_of, selection
from lsrl.backends.stages import (
    MachineStage,
    Source,
    Stage,
)
from lsrl.backends.structure import InputScalar, StateCell, Structure, elements_of, input_scalar
from lsrl.backends.symbolic import Evaluator
from lsrl.backends.symbolic import Leaf as VariableLeaf
from lsrl.diagnostics import Span
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Compare, Const, Node, Read, operands
from lsrl.types import Bool, Value

__all__ = ["Reading", "class_of", "class_of_value", "number_of", "result_of"]

FEWEST_PICKED = 3  # cells from which on a choice between their values is worth a variable


class Reading:
    """Variables of a scalarised graph, laid out in one way; made on demand, from the outputs back to the inputs."""

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
        self.last_read_own = True  # whether the function made last depends on the cell's own states
        self.matters: set[str] = set()  # the layout's choices that made a difference so far
        self._stages: list[Stage] = []
        self._maps: dict[int, int] = {}
        self._bits: list[int] = []
        self._alike = known_sums(graph)
        self._apart: dict[Node, int | None] = {}  # long sums and selections, where they are variables of their own
        # what appends stages that wait until all that read them are built, with the last cell that each reads
        self.pending: list[tuple[int, Callable[[], None]]] = []
        self._reports: list[tuple[Stage, tuple[str, ...], str, int | None, str]] = []
        self._operations: dict[Node, Operation] = {}
        self._users: dict[Node, list[Node]] = {}
        for node in graph.nodes:
            for x in operands(node):
                self._users.setdefault(x, []).append(node)
        self._shown = {input_scalar(x) for _, output in graph.outputs for x in elements_of(output)}

    def _input(self, scalar: InputScalar, node: Node) -> int:
        """The variable of an input scalar: its values, those that act alike everywhere taken together."""
        if scalar in self._inputs:
            return self._inputs[scalar]
        domain = self.structure.domain(node)
        if domain is None:
            reason = f"`{scalar[0]}` is a number without small bounds; threshold layers see bits only"
            raise NotHostedError(node, reason)
        direct = node in self.structure.next_of or scalar in self._shown
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
            if isinstance(node, Compare) and (is_long(node) or any(index_of(x) is not None for x in operands(node))):
                long = self._variable_apart(node, me, self._new_long_sum)
                if long is not None:
                    return VariableLeaf(long)
            home = self.structure.home(node)
            if home is not None and home is not me:
                return VariableLeaf(self._node(node, home))
            if index_of(node) is not None:
                picked = self._variable_apart(node, me, self._new_selection)
                if picked is not None:
                    return VariableLeaf(picked)
            for state in self.structure.next_of.get(node, ()):
                cell = self.structure.cell_of[state.name]
                if (cell.free or cell.mirrored) and cell is not me and state.name in cell.registers:
                    return self._atom(state.name, "new")
            if isinstance(node, Read):
                return self._atom(node.state, "old")
            return None

        return leaf

    def _variable_apart(self, node: Node, me: StateCell | None,
                        make: Callable[[Node, int], int | None]) -> int | None:
        """The variable that `make` makes of a node; None if it makes none, or the node is about cell `me`.

        Its units go between those who read it and the last cell that it reads: see `pending`.
        """
        cells = self.structure.deps[node] & ((1 << len(self.structure.cells)) - 1)
        if me is not None and cells >> me.number & 1:
            return None
        if node not in self._apart:
            self._apart[node] = None  # the parts may ask again
            self._apart[node] = make(node, cells.bit_length() - 1)
        return self._apart[node]

    def _new_selection(self, node: Node, last: int) -> int | None:
        index = index_of(node)
        assert index is not None
        domain, values = self.structure.domain(index), self.structure.domain(node)
        if domain is None or values is None or isinstance(node.type, Bool):
            return None
        found = selection(node, domain, lambda n: n in self.structure.next_of or self.structure.home(n) is not None)
        if found is None or sum(self.structure.home(x) is not None for x, _ in found.cases) < FEWEST_PICKED:
            return None
        self.matters.add("select")
        if not self.layout.select:
            return None
        self._apart.update(dict.fromkeys(found.inner))
        f = self._function((node,), {}, None)
        if any(isinstance(x, tuple) and isinstance(x[0], Linear) for x in self.diagrams.leaves(f)):
            return None
        f = self.diagrams.map(f, _first_number)
        taken = set(self.diagrams.leaves(f))
        variable = self._new(self._name(node), tuple(x for x in values if x in taken), node.span)
        self.pending.append((last, lambda: self._map_stage(self._name(node), f, variable, node.span)))
        return variable

    def _map_stage(self, name: str, f: int, variable: int, span: Span) -> None:
        """A stage without memory that computes `f`, whose values are those of `variable`."""
        raise NotImplementedError

    def _append(self, stage: Stage, states: tuple[str, ...], kind: str, baseline: int | None, note: str = "") -> None:
        """A stage, all that read it being there already."""
        raise NotImplementedError

    def _new_long_sum(self, node: Node, last: int) -> int | None:
        assert isinstance(node, Compare)
        parts = parts_of(node, lambda n: input_scalar(n) is not None or self.structure.home(n) is not None
                         or index_of(n) is not None)
        weights: dict[int, list[Rational]] = {}
        bias = parts.bias
        for c, n in parts.terms:
            if self.structure.domain(n) is None:
                return None
            f = self._function((n,), {}, None)
            support = self.diagrams.support(f)
            if len(support) > 1 or any(isinstance(x, tuple) and isinstance(x[0], Linear)
                                       for x in self.diagrams.leaves(f)):
                return None
            if not support:
                bias += c * Fraction(_first_number(self.diagrams.value(f)))
                continue
            if self.sources[support[0]].kind not in ("input", "observed", "lag"):
                return None
            mine = weights.setdefault(support[0], [0] * self.diagrams.sizes[support[0]])
            for place in range(len(mine)):
                mine[place] += c * Fraction(_first_number(self.diagrams.value(
                    self.diagrams.child(f, support[0], place))))
        picked = any(self._apart.get(n) is not None for _, n in parts.terms)
        sums = compared(node, weights, bias) if picked or len(weights) >= FEWEST else None
        if sums is None:
            return None
        variable = self._new(self._name(node), (False, True), node.span)
        stage = MachineStage(self._name(node), cover_of(sums), (variable,), span=node.span, sums=sums)
        self.sources[variable].home = stage
        self.pending.append((last, lambda: self._append(stage, (), "map", 2)))
        return variable

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

    def _bounds_of(self, registers: Sequence[tuple[int, str]],
                   divisor: int = 1) -> tuple[Fraction | None, Fraction | None]:
        """The range of a combination of registers, or of its quotient."""
        ends: list[Fraction | None] = [Fraction(0), Fraction(0)]
        for c, s in registers:
            parts = [self._bounds((s, "new"))]
            if s in self.reads:
                parts.append(self._bounds((s, "old")))
            lows, highs = [a for a, _ in parts], [b for _, b in parts]
            low = None if None in lows else min(x for x in lows if x is not None)
            high = None if None in highs else max(x for x in highs if x is not None)
            for i, end in enumerate((low, high) if c > 0 else (high, low)):
                before = ends[i]
                ends[i] = None if end is None or before is None else before + c * end
        least, most = (None if x is None else Fraction(x // divisor) for x in ends)
        return least, most

    def _function(self, roots: Sequence[Node], own: dict[str, Result], me: StateCell | None,
                  registers: Mapping[int, str] | None = None) -> int:
        """The diagram of nodes' values; thresholds of free registers that it asked for become sources."""
        evaluator = Evaluator(self.variables, self._leaf(me), self._bounds, self._operations)
        f = evaluator.function(roots, own, registers)
        self.last_read_own = evaluator.read_own
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

    def _new(self, name: str, domain: tuple[Hashable, ...], span: Span) -> int:
        variable = self.variables.add(domain)
        self.sources[variable] = Source(name, domain, "observed", span)
        return variable

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """Evaluations in here leave no variables behind."""
        names = ("diagrams", "variables", "sources", "_inputs", "_nodes", "_observed", "_lagging", "_trackers",
                 "_known_leaves", "_steps", "_bits", "_apart", "pending")
        saved = {n: getattr(self, n) for n in names}
        self.diagrams = Diagrams()
        self.variables = Variables(self.diagrams)
        self.sources, self._inputs, self._nodes, self._observed, self._trackers = {}, {}, {}, {}, {}
        self._lagging, self._known_leaves, self._steps = {}, {}, {}
        self._bits, self._apart, self.pending = [], {}, []
        try:
            yield
        finally:
            for name, value in saved.items():
                setattr(self, name, value)


def class_of_value(source: Source) -> Callable[[Value], Hashable]:
    """Value → the first place that no reader tells apart from its own."""
    places = {x: i for i, x in enumerate(source.domain)}
    classes = class_of(source)
    return lambda value: classes(places.get(value))


def class_of(source: Source) -> Callable[[Hashable], Hashable]:
    """Place of a value → the first place that no reader tells apart from it; None stays."""
    first = {place: min(c) for c in source.classes() for place in c}
    return lambda place: first.get(place) if isinstance(place, int) else None


def _alike(node: Node, domain: tuple[Value, ...], users: Sequence[Node]) -> list[tuple[Value, ...]]:
    """The values of an input that no node using it tells apart, if every user looks at it alone."""
    if any(not all(x is node or isinstance(x, Const) for x in operands(u)) for u in users):
        return [(x,) for x in domain]
    groups: dict[tuple[Value, ...], list[Value]] = {}
    looks = [(operation(u), operands(u)) for u in users]
    for value in domain:
        key = tuple(of(*(x.value if isinstance(x, Const) else value for x in parts)) for of, parts in looks)
        groups.setdefault(key, []).append(value)
    return [tuple(g) for g in groups.values()]


def _first_number(x: Hashable) -> Rational:
    assert isinstance(x, tuple)
    return number_of(x[0])


def number_of(x: Hashable) -> Rational:
    assert isinstance(x, int | Fraction)
    return x


def result_of(x: Hashable) -> Result:
    assert isinstance(x, Linear | int | Fraction)
    return x
