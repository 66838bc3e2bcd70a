"""Numbers in architectures whose channels are never negative, and are either added to or set.

s := factor · s + add becomes its start, plus the sum of what is added while s is kept, plus by how much s was last set
off its start. Each of the two is one channel or the difference of two, and starts at 0.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from lsrl.analysis.cells import Cell
from lsrl.backends.circuit import CellReport, Count, Placement, Symbol
from lsrl.backends.holdings import common
from lsrl.backends.linear_form import Rational, constant, signal
from lsrl.backends.wiring import Quantum
from lsrl.ir.graph import State
from lsrl.ir.nodes import Affine, Node
from lsrl.types import Bool

if TYPE_CHECKING:
    from lsrl.backends.gated.lowering import GatedLowering

__all__ = ["hold_apart", "is_kept"]


def is_kept(lowering: GatedLowering, factor: Node) -> Node:
    """[the factor is not 0], lowered."""
    make = lowering.make
    if make.number(factor) is not None or isinstance(factor.type, Bool):
        return factor
    if isinstance(factor, Affine) and len(factor.terms) == 1 and isinstance(factor.terms[0][1].type, Bool):
        weight, bit = factor.terms[0]
        if (weight, factor.bias) in ((1, 0), (-1, 1)):  # a bit as a number
            return lowering.made(bit if weight == 1 else make.logic("not", [bit]))
    return lowering.made(make.compare("!=", factor, make.zero))


def hold_apart(lowering: GatedLowering, cell: Cell, s: State, factor: Node, add: Node) -> tuple[Placement, CellReport]:
    """Makes the channels of s := factor · s + add, and holds s."""
    make, maps = lowering.make, lowering.maps
    init, r = Fraction(s.init), lowering.range_of(s)  # type: ignore[arg-type]
    kept = is_kept(lowering, factor)
    sums = _signs(lowering, make.mux(kept, add, make.zero))
    sets = _signs(lowering, make.mux(kept, make.zero, make.affine([(1, add)], -init)))
    parts = [(sign, adds, maps.quantum(lowering.made(node)))
             for adds, found in ((True, sums), (False, sets)) for sign, node in found]
    grid = Fraction(0)
    for _, _, q in parts:
        grid = common(grid, q.grid)
    grid = grid or Fraction(1)
    layer = 1 + max(maps.level(factor), *(q.layer for _, _, q in parts), 0)
    keep = lowering.factor(factor, layer - 1)
    symbol = Symbol(s.name, s.span, (s.name,))
    form, units = constant(init), list[tuple[int, Rational, Rational, bool]]()
    for sign, adds, q in parts:
        hi = None if adds else q.hi
        if adds and len(parts) == 1:
            reach = r.hi if sign > 0 else r.lo
            hi = None if reach is None else abs(reach - init)
        unit = lowering.keeping(layer, keep, q.at(layer - 1).scale(1 / grid), symbol, 0, 0,
                                None if hi is None else hi / grid, adds)
        if maps.fine:
            lowering.refine(layer, unit, sets=not adds)
        form += signal(unit, sign * grid)
        if adds or not sums:
            units.append((unit, sign / grid, -sign * init / grid, len(parts) > 1))
    lowering.keep(s, Quantum(lowering.wiring, symbol, layer, form, r.lo, r.hi, common(grid, init) or grid))
    lowering.measured(s, r, grid, make.range(add).magnitude or 0)
    return Placement(layer, (), numbers=((s.name, Count(form, tuple(units))),)), lowering.report(cell, layer)


def _signs(lowering: GatedLowering, whole: Node) -> list[tuple[int, Node]]:
    """What is not negative in a number, and what is not positive, each where there is such a part."""
    make = lowering.make
    r = make.range(lowering.made(whole))
    minus = make.affine([(-1, whole)], 0)
    if r.lo is not None and r.lo >= 0:
        return [(1, whole)] if r.hi != 0 else []
    if r.hi is not None and r.hi <= 0:
        return [(-1, minus)]
    return [(1, make.extreme("max", whole, make.zero)), (-1, make.extreme("max", minus, make.zero))]
