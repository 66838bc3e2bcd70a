"""The states that depend on each other through time, as regions of the graph: cells without their class."""

from __future__ import annotations

from dataclasses import dataclass

from lsrl.analysis.components import node_components
from lsrl.diagnostics import Span
from lsrl.ir.graph import Graph, State, reachable
from lsrl.ir.nodes import Const, Index, Input, Node, Param, Read, operands
from lsrl.types import shape

__all__ = ["Region", "find_regions", "output_nodes", "whole_region"]


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Some states and the nodes that carry their feedback.

    states: their names; members: the states themselves, in graph order. reads: the nodes that read them. inside: the
    nodes that depend on `reads` and that a next value of the region depends on, operands first. boundary: what the
    inside and the next values take from elsewhere, constants excepted, in graph order: inputs, maps of them, states
    of other regions (a `Read` is an old value, the node of another state's next value is a new one).
    """

    states: tuple[str, ...]
    members: tuple[State, ...]
    reads: tuple[Read, ...]
    inside: tuple[Node, ...]
    boundary: tuple[Node, ...]

    @property
    def nexts(self) -> tuple[Node, ...]:
        """The next value of each state."""
        return tuple(s.next for s in self.members)

    @property
    def span(self) -> Span:
        """Where the first of the states is declared."""
        return self.members[0].span

    @property
    def feedback(self) -> bool:
        """False if the states take all of their next values from elsewhere: a delay."""
        own = set(self.reads) | set(self.inside)
        return any(n in own for n in self.nexts)


def find_regions(graph: Graph) -> tuple[Region, ...]:
    """All regions, each after those that it depends on; every state is in exactly one."""
    place = {n: i for i, n in enumerate(graph.nodes)}
    rank = {s.name: i for i, s in enumerate(graph.states)}
    regions: list[Region] = []
    seen: set[str] = set()
    for component in node_components(graph):
        reads = tuple(n for n in component if isinstance(n, Read))
        names = sorted({r.state for r in reads}, key=rank.__getitem__)
        if names:
            # Two nodes may read one state; without feedback each is a component of its own.
            fresh = [n for n in names if n not in seen]
            seen.update(names)
            if fresh:
                every = reads if len(component) > 1 else tuple(n for n in graph.nodes
                                                                if isinstance(n, Read) and n.state in names)
                regions.append(_region(graph, names, every, component, place))
    regions += [_region(graph, [s.name], (), (), place) for s in graph.states if s.name not in seen]
    return tuple(regions)


def _region(graph: Graph, names: list[str], reads: tuple[Read, ...], component: tuple[Node, ...],
            place: dict[Node, int]) -> Region:
    states = tuple(graph.state[n] for n in names)
    inside = tuple(n for n in component if not isinstance(n, Read))
    own: set[Node] = {*reads, *inside}
    consumed = [*(x for n in inside for x in operands(n)), *(s.next for s in states)]
    boundary = dict.fromkeys(x for x in consumed if x not in own and not isinstance(x, Const))
    return Region(tuple(names), states, reads, inside, tuple(sorted(boundary, key=place.__getitem__)))


def output_nodes(graph: Graph) -> tuple[Node, ...]:
    """Everything that an output or a state needs: the nodes that a compiled model computes, checks left aside."""
    return reachable((*(n for _, n in graph.outputs), *(s.next for s in graph.states)))


def whole_region(graph: Graph) -> Region:
    """All states as one region, its letters the inputs: the program as one machine."""
    reads = tuple(n for n in graph.nodes if isinstance(n, Read))
    leaves: dict[Node, None] = {}
    inside: list[Node] = []
    for n in graph.nodes:
        element = isinstance(n, Index) and isinstance(n.vector, Input)
        if element or (isinstance(n, Input | Param) and not shape(n.type)):
            leaves[n] = None
        elif not isinstance(n, Read | Const | Input) and not shape(n.type):
            inside.append(n)
    return Region(tuple(s.name for s in graph.states), graph.states, reads, tuple(inside), tuple(leaves))
