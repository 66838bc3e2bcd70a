"""All reasons why a target does not host a program, not only the first that is met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lsrl.analysis.cells import find_cells
from lsrl.backends.circuit import Circuit
from lsrl.backends.refusal import RefusalError
from lsrl.diagnostics import Diagnostic, LsrlError
from lsrl.ir.graph import Graph
from lsrl.ir.remembered import remembered
from lsrl.passes.drop_dead import drop_dead

__all__ = ["all_reasons"]

_CELLS = 16  # that are tried one by one
_OF_CELLS = ("L402", "L404", "L406")  # codes that say something of a cell, not of what the outputs are


def all_reasons(lower: Callable[[Graph], Circuit], graph: Graph, first: RefusalError) -> RefusalError:
    """The refusal with a diagnostic for every cell that would be refused by itself, in the order of the text.

    Each cell is lowered alone, as a program whose outputs are the cell's states, with what it depends on. One that
    depends on a cell that is refused is not lowered: what it depends on comes first, and is refused there, too.
    """
    if first.diagnostics[0].code not in _OF_CELLS:
        return first
    found: dict[str, Diagnostic] = {first.diagnostics[0].message: first.diagnostics[0]}
    refused: set[int] = set()
    for i, (needs, alone) in enumerate(_alone(graph)):
        if not refused.isdisjoint(needs):
            refused.add(i)
            continue
        try:
            lower(alone)
        except RefusalError as error:
            for d in error.diagnostics:
                if d.code in _OF_CELLS:
                    found.setdefault(d.message, d)
                    refused.add(i)
        except LsrlError:
            continue
    return RefusalError(sorted(found.values(), key=lambda d: (d.span.source.name, d.span.start)), first.reason)


@remembered(16)
def _alone(graph: Graph) -> tuple[tuple[tuple[int, ...], Graph], ...]:
    """For each cell the places of those that it depends on, and the program whose outputs are its states; none if there
    is one cell only."""
    cells = find_cells(graph)
    return tuple((cell.needs, drop_dead(replace(graph, outputs=tuple((s.name, s.next) for s in cell.members),
                                                checks=())))
                 for cell in (cells[:_CELLS] if len(cells) > 1 else ()))
