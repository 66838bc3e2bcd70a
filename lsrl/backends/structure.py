"""Which cell knows which value: the cells of a graph as a threshold circuit sees them, and the home of every node.

A node has a home if it is finite and a function of one cell's old state and of what that cell reads anyway. Then the
cell's own units observe it, and consumers need not take it apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lsrl.analysis.components import strongly_connected
from lsrl.analysis.interval import Range
from lsrl.diagnostics import NOWHERE, Span
from lsrl.ir.graph import Graph, State
from lsrl.ir.nodes import Const, Index, Input, Node, Pack, Read, operands
from lsrl.types import INT, Bool, Int, Symbols, Value, Vector, is_scalar, values

__all__ = ["InputScalar", "Structure", "StateCell", "elements_of", "input_scalar", "state_needs"]

_MOST_VALUES = 1024


@dataclass(eq=False)
class StateCell:
    """States that depend on each other.

    free: one register whose steps do not depend on its own comparisons. mirrored: comparisons of its registers decide
    its steps, and for those who read its registers the same steps are counted once more, in a later layer.
    """

    number: int
    states: tuple[State, ...]
    registers: tuple[str, ...] = ()
    free: bool = False
    mirrored: bool = False
    reads: int = 0

    @property
    def span(self) -> Span:
        return self.states[0].span if self.states else NOWHERE

    @property
    def finite(self) -> tuple[State, ...]:
        return tuple(s for s in self.states if s.name not in self.registers)


InputScalar = tuple[str, int | None]


def input_scalar(node: Node) -> InputScalar | None:
    """The input and row-major element that a node is, if it is a scalar of an input."""
    indices: list[int] = []
    sizes: list[int] = []
    at = node
    while isinstance(at, Index) and isinstance(at.index, Const):
        assert isinstance(at.index.value, int)
        size = getattr(at.vector.type, "size", 1)
        indices.append(min(max(at.index.value, 0), size - 1))
        sizes.append(size)
        at = at.vector
    if not isinstance(at, Input) or not is_scalar(node.type):
        return None
    if not indices:
        return at.name, None
    place = 0
    for i, n in zip(reversed(indices), reversed(sizes), strict=True):
        place = place * n + i
    return at.name, place


def elements_of(node: Node) -> tuple[Node, ...]:
    """The scalars of a vector: packed, constant or an input; row-major. A scalar alone; () of another vector."""
    if is_scalar(node.type):
        return (node,)
    if isinstance(node, Const) and isinstance(node.value, tuple) and isinstance(node.type, Vector):
        constants = [Const(x, node.type.elem, node.span) for x in node.value]
        return tuple(x for row in constants for x in elements_of(row))
    if isinstance(node, Pack):
        parts = [elements_of(x) for x in node.elements]
        return tuple(x for part in parts for x in part) if all(parts) else ()
    if isinstance(node, Input | Index) and isinstance(node.type, Vector):
        rows = [Index(node, Const(i, INT, node.span), node.type.elem, node.span) for i in range(node.type.size)]
        return tuple(x for row in rows for x in elements_of(row))
    return ()


@dataclass
class Structure:
    """cells in topological order; `deps` are bit sets: bit c for cell c, above them one for each input scalar.

    wide: a cell also observes functions of its state and of what it reads; else functions of its state alone.
    """

    graph: Graph
    ranges: Mapping[Node, Range]
    wide: bool = True
    cells: list[StateCell] = field(default_factory=list)
    deps: dict[Node, int] = field(default_factory=dict)
    cell_of: dict[str, StateCell] = field(default_factory=dict)
    next_of: dict[Node, list[State]] = field(default_factory=dict)
    _homes: dict[Node, StateCell | None] = field(default_factory=dict)
    _domains: dict[Node, tuple[Value, ...] | None] = field(default_factory=dict)

    @classmethod
    def of(cls, graph: Graph, ranges: Mapping[Node, Range], registers: frozenset[str], wide: bool) -> Structure:
        """registers: the states that are to be counted."""
        self = cls(graph, ranges, wide)
        for s in graph.states:
            self.next_of.setdefault(s.next, []).append(s)
        needs = state_needs(graph)
        for names in strongly_connected([s.name for s in graph.states], needs.__getitem__):
            order = [s for s in graph.states if s.name in names]
            cell = StateCell(len(self.cells), tuple(order), tuple(s.name for s in order if s.name in registers))
            self.cells.append(cell)
            self.cell_of.update((s.name, cell) for s in order)
        self._find_deps()
        return self

    def _find_deps(self) -> None:
        places: dict[InputScalar, int] = {}
        for node in self.graph.nodes:
            scalar = input_scalar(node)
            if scalar is not None:
                found = 1 << (len(self.cells) + places.setdefault(scalar, len(places)))
            elif isinstance(node, Read):
                found = 1 << self.cell_of[node.state].number
            else:
                found = 0
                for x in operands(node):
                    found |= self.deps[x]
            for state in self.next_of.get(node, ()):
                cell = self.cell_of[state.name]
                own = 1 << cell.number
                cell.reads |= found & ~own
                if found & own:
                    found = own
            self.deps[node] = found

    def home(self, node: Node) -> StateCell | None:
        """The cell that observes a node, None if the node has to be taken apart."""
        if node not in self._homes:
            self._homes[node] = self._home(node)
        return self._homes[node]

    def _home(self, node: Node) -> StateCell | None:
        deps = self.deps[node]
        mine = deps & ((1 << len(self.cells)) - 1)
        if not mine:
            return None
        cell = self.cells[mine.bit_length() - 1]
        allowed = 1 << cell.number | (cell.reads if self.wide else 0)
        if cell.free or deps & ~allowed or self.domain(node) is None:
            return None
        finite = [s.name for s in cell.finite]
        if isinstance(node, Read):
            return cell if node.state in finite else None
        own = [s.name for s in self.next_of.get(node, ()) if self.cell_of[s.name] is cell]
        if own:
            return cell if any(n in finite for n in own) else None
        if cell.registers and (cell.mirrored or not isinstance(node.type, Bool | Symbols)):
            return None
        return cell

    def forget_homes(self) -> None:
        """After a cell has been found to be free or mirrored."""
        self._homes.clear()

    def domain(self, node: Node) -> tuple[Value, ...] | None:
        """The values a scalar node can have, None if they are not finitely many or too many."""
        if node not in self._domains:
            self._domains[node] = self._domain(node)
        return self._domains[node]

    def _domain(self, node: Node) -> tuple[Value, ...] | None:
        t = node.type
        if isinstance(t, Bool | Symbols):
            return tuple(values(t))
        at = node
        while at not in self.ranges and isinstance(at, Index):
            at = at.vector
        r = self.ranges[at]
        if not is_scalar(t) or r.count is None or r.count > _MOST_VALUES:
            return None
        return tuple(int(x) if isinstance(t, Int) else x for x in r.values())


def state_needs(graph: Graph) -> dict[str, list[str]]:
    """For each state, the states that its next value reads at the same token."""
    bit = {s.name: 1 << i for i, s in enumerate(graph.states)}
    reads: dict[Node, int] = {}
    for node in graph.nodes:
        found = bit[node.state] if isinstance(node, Read) else 0
        for x in operands(node):
            found |= reads[x]
        reads[node] = found
    return {s.name: [t.name for t in graph.states if reads[s.next] & bit[t.name]] for s in graph.states}
