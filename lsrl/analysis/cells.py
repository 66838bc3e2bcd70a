"""Cells: the strongly connected components of the states, each with its class.

A cell is a set of states that depend on each other through time. Between cells values flow one way, so cells in
topological order are the layers of a network; what belongs to no cell is a map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lsrl.analysis.automaton import Automaton
from lsrl.analysis.classify import classify
from lsrl.analysis.counters import Users
from lsrl.analysis.details import Detail
from lsrl.analysis.expressions import Expressions
from lsrl.analysis.interval import Range
from lsrl.analysis.ranges import analyse
from lsrl.analysis.structure import Region, find_regions
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Node, Read, operands
from lsrl.ir.remembered import remembered

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
    return _known_cells(graph) if ranges is None else _found_cells(graph, ranges)


@remembered(64)
def _known_cells(graph: Graph) -> tuple[Cell, ...]:
    return _found_cells(graph, analyse(graph))


def _found_cells(graph: Graph, known: Mapping[Node, Range]) -> tuple[Cell, ...]:
    make = Expressions(graph, known)
    users = Users(graph)
    regions = find_regions(graph)
    owner = {name: i for i, r in enumerate(regions) for name in r.states}
    reached = _owners_below(graph, owner)
    cells: list[Cell] = []
    for i, region in enumerate(regions):
        bits = 0
        for n in region.nexts:
            bits |= reached[n]
        needs = [j for j in range(len(regions)) if bits >> j & 1 and j != i]
        layer = max((cells[j].layer + 1 for j in needs), default=0)
        found, reason = classify(graph, region, known, make, users)
        cells.append(Cell(region.states, region.members, region.reads, region.inside, region.boundary,
                          tuple(found), found, reason, layer, tuple(needs)))
    return tuple(cells)


def _owners_below(graph: Graph, owner: Mapping[str, int]) -> dict[Node, int]:
    """For each node the regions whose old values it needs at the same token, as bits."""
    out: dict[Node, int] = {}
    for n in graph.nodes:
        bits = 1 << owner[n.state] if isinstance(n, Read) else 0
        for x in operands(n):
            bits |= out[x]
        out[n] = bits
    return out
