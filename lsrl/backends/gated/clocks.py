"""Clocks: rings of bits, each of which takes the old value of the one before it, whatever the input is.

A constant matrix hosts every ring, as a permutation of its units. A constant factor of −1 hosts one of two bits: one
unit u := 1 − u, and its complement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lsrl.analysis.cells import Cell
from lsrl.backends.circuit import CellReport, Gated, Placement, Symbol
from lsrl.backends.linear_form import Form, constant, signal
from lsrl.backends.refusal import NotHostedError
from lsrl.backends.wiring import Choice
from lsrl.ir.graph import State
from lsrl.ir.nodes import Read
from lsrl.types import Bool

if TYPE_CHECKING:
    from lsrl.backends.gated.lowering import GatedLowering

__all__ = ["build_ring", "ring_of"]

_LAYER = 1


def ring_of(cell: Cell) -> tuple[State, ...] | None:
    """The states of a ring, each before the one that takes its old value; None if the cell is none."""
    takers: dict[str, State] = {}
    for s in cell.members:
        if isinstance(s.type, Bool) and isinstance(s.next, Read):
            takers[s.next.state] = s
    if len(cell.members) < 2 or set(takers) != {s.name for s in cell.members}:
        return None
    ring = [cell.members[0]]
    while (s := takers[ring[-1].name]) is not ring[0]:
        ring.append(s)
    return tuple(ring)


def build_ring(lowering: GatedLowering, cell: Cell, ring: tuple[State, ...]) -> None:
    """Units for a ring, and what its states show. Raises NotHostedError."""
    n = len(ring)
    symbols = [Symbol(s.name, s.span, (s.name,)) for s in ring]
    starts = [int(s.init is True) for s in ring]
    units = lowering.wiring.units(_LAYER)
    first = len(units)
    if lowering.gates.mixing == "constant":
        for i, symbol in enumerate(symbols):
            units.append(Gated(((constant(1), first + (i - 1) % n),), constant(0), symbol, starts[i]))
        forms = [signal(first + i) for i in range(n)]
    elif n == 2 and sum(starts) == 1 and lowering.gates.signs:
        units.append(Gated(((constant(1), first),), constant(1), symbols[0], starts[0], flip=constant(1)))
        forms = [signal(first), constant(1) - signal(first)]
    else:
        clock = f"its states take turns, every {n} tokens"
        raise NotHostedError(cell.nexts[0], f"{clock}, and constant factors of −1, 0 and 1 tell even times from odd "
                             "ones, no more" if lowering.gates.signs else f"{clock}, and no factor is negative")
    for s, symbol, form in zip(ring, symbols, forms, strict=True):
        lowering.keep(s, Choice(lowering.wiring, symbol, (False, True), _LAYER, _chosen(form)))
    times = [tuple(bool(starts[(i - t) % n]) for i in range(n)) for t in range(n)]
    values = tuple(dict.fromkeys(times))
    placement = None
    if sum(starts) == 1:  # the one that is on tells the time
        shown = tuple(forms[v.index(True)] for v in values)
        patterns = tuple(() if f.bias else tuple(i for _, i in f.terms) for f in shown)
        placement = Placement(_LAYER, tuple(s.name for s in ring), values, shown, patterns,
                              tuple(range(first, len(units))))
    lowering.note(placement, CellReport(cell.states, cell.kind, _LAYER, len(units) - first, None, cell.span))


def _chosen(on: Form) -> Callable[[frozenset[int]], Form]:
    both = constant(1) - on, on

    def home(places: frozenset[int]) -> Form:
        return Form.total(both[p] for p in places)

    return home
