"""A finite cell becomes the least automaton that acts alike, as one state `CELL.q`, where that is smaller."""

from __future__ import annotations

from lsrl.analysis.automaton import Automaton
from lsrl.analysis.structure import Region
from lsrl.ir.graph import Graph
from lsrl.passes.automata import Blocks, replace_cells

__all__ = ["minimise_automata"]


def minimise_automata(graph: Graph) -> Graph:
    """Replaces a cell that has states which nothing tells apart, or more nodes than its automaton has tables.

    The automaton is found by search from the initial state (up to 512 states) and minimised by partition refinement.
    Each cell is replaced once: n log n in its states, letters apart.
    """
    return replace_cells(graph, _choose)


def _choose(region: Region, full: Automaton, least: Automaton) -> tuple[Blocks, ...] | None:
    nodes = len(region.reads) + len(region.inside)
    if len(least.states) < len(full.states) or 2 + len(least.observations) < nodes:
        return (tuple(range(len(least.states))),)
    return None
