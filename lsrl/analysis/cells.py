"""Cells: the strongly connected components of the states, each with its class.

A cell is a set of states that depend on each other through time. Between cells values flow one way, so cells in
topological order are the layers of a network; what belongs to no cell is a map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lsrl.analysis.automaton import Automaton
from lsrl.analysis.classify import classify
from lsrl.analysis.details import Detail
from lsrl.analysis.expressions import Expressions
from lsrl.analysis.interval import Range
from lsrl.analysis.ranges import analyse
from lsrl.analysis.structure import Region, find_regions
from lsrl.ir.graph import Graph, reachable
from lsrl.ir.nodes import Node, Read

__all__ = ["Cell", "find_cells"]


@dataclass(frozen=True, slots=True, eq=False)
class Cell(Region):
    """A region with its classes, the most specific first, and the details of each (see `lsrl.analysis.details`).

    not_finite: why the cell is no automaton; empty if it is one. layer: 0 for cells that depend on no other, else one
    more than the deepest that it depends on. needs: the places of those cells in the result of `find_cells`.
    """

    classes: tuple[str, ...]
    details: Mapping[str, Detail | None]
    not_finite: str
    layer: int
    needs: tuple[int, ...]

    @property
    def kind(self) -> str:
        """The most specific class."""
        return self.classes[0]

    @property
    def automaton(self) -> Automaton | None:
        """The reachable automaton, letters merged but states not minimised; None if the cell is not finite."""
        found = self.details.get("automaton")
        return found if isinstance(found, Automaton) else None


def find_cells(graph: Graph, ranges: Mapping[Node, Range] | None = None) -> tuple[Cell, ...]:
    """The cells of a scalarised graph, each after those that it depends on; every state is in exactly one."""
    known = analyse(graph) if ranges is None else ranges
    make = Expressions(graph, known)
    regions = find_regions(graph)
    reached = _reads_below(graph)
    owner = {name: i for i, r in enumerate(regions) for name in r.states}
    cells: list[Cell] = []
    for region in regions:
        names = dict.fromkeys(s for n in region.nexts for s in reached[n])
        needs = sorted({owner[s] for s in names if s not in region.states})
        layer = max((cells[i].layer + 1 for i in needs), default=0)
        found, reason = classify(graph, region, known, make)
        cells.append(Cell(region.states, region.members, region.reads, region.inside, region.boundary,
                          tuple(found), found, reason, layer, tuple(needs)))
    return tuple(cells)


def _reads_below(graph: Graph) -> dict[Node, tuple[str, ...]]:
    """For the next value of each state, the states whose old values it needs at the same token."""
    return {s.next: tuple(dict.fromkeys(n.state for n in reachable([s.next]) if isinstance(n, Read)))
            for s in graph.states}
