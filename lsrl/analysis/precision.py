"""How many bits a value needs to be exact in floating point, how sharp a comparison must be, and for how long an
unbounded state stays exact.

A float with p bits holds every multiple of g up to 2^p · g exactly, and sums of such numbers in any order, as long as
every partial sum is in that range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from lsrl.analysis import details as d
from lsrl.analysis.cells import Cell
from lsrl.analysis.expressions import Expressions
from lsrl.analysis.interval import Range, gcd
from lsrl.analysis.spectrum import Matrix, matmul
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Affine, Compare, Node

__all__ = ["FORMATS", "Precision", "bits", "bits_needed", "growth", "margin", "precision"]

# The bits of a number's significand, the hidden one included.
FORMATS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}


@dataclass(frozen=True, slots=True)
class Precision:
    """What a cell's states need. bits: so many that all their values are exact, None if there is no such number.

    growth: by how much the largest value may grow at a token, 0 if it is bounded, None if it is not known.
    """

    bits: int | None
    grid: Fraction | None
    growth: Fraction | None
    start: Fraction

    def horizon(self, format: str) -> int | None:
        """How many tokens the states stay exact in a number format; None if for ever, 0 if that is not known."""
        p = FORMATS[format]
        if self.bits is not None:
            return None if self.bits <= p else 0
        if self.growth is None or self.grid is None or not self.growth:
            return 0
        return max(0, int((2**p * self.grid - self.start) / self.growth))


def bits(r: Range) -> int | None:
    """The least p for which all values of a range are exact in p bits; None if it has no bounds or no grid."""
    magnitude = r.magnitude
    if magnitude is None or r.nan or r.grid is None:
        return None
    return _bits(magnitude, r.grid)


def _bits(magnitude: Fraction, grid: Fraction) -> int:
    if not magnitude:
        return 0
    steps = -(-magnitude // grid)
    return (int(steps) - 1).bit_length()


def bits_needed(node: Node, ranges: Mapping[Node, Range]) -> int | None:
    """As `bits`, for a node's value and every partial sum on the way to it, in any order."""
    if not isinstance(node, Affine):
        return bits(ranges[node])
    total = abs(Fraction(node.bias))
    grid: Fraction | None = total
    for c, x in node.terms:
        magnitude = ranges[x].magnitude
        if magnitude is None or ranges[x].nan:
            return None
        own = ranges[x].grid
        total += abs(Fraction(c)) * magnitude
        grid = gcd(grid, None if own is None else abs(Fraction(c)) * own)
    return None if grid is None else _bits(total, grid) if grid else 0


def margin(node: Compare, ranges: Mapping[Node, Range]) -> Fraction | None:
    """The least difference above 0 that the two sides can have; None if there is no such number. A threshold half of
    it away from the compared value decides every case."""
    grid = gcd(ranges[node.a].grid, ranges[node.b].grid)
    return grid or None


def precision(graph: Graph, cell: Cell, ranges: Mapping[Node, Range], make: Expressions | None = None) -> Precision:
    """What the states of a cell need. make: of the same graph, where it is at hand."""
    found = [ranges[r] for r in cell.reads]
    grid: Fraction | None = Fraction(0)
    for r in found:
        grid = gcd(grid, r.grid)
    per_state = [bits(r) for r in found]
    known = [b for b in per_state if b is not None]
    start = max((abs(Fraction(s.init)) for s in cell.members if isinstance(s.init, int | Fraction)),
                default=Fraction(0))
    whole = max(known, default=0) if len(known) == len(per_state) else None
    if all(r.bounded for r in found):
        return Precision(whole, grid, Fraction(0), start)
    return Precision(whole, grid, growth(cell, make or Expressions(graph, ranges)), start)


def growth(cell: Cell, make: Expressions) -> Fraction | None:
    """By how much the largest absolute value of a cell's states can grow at one token; None if there is no bound."""
    found = [g for g in (_growth(x, make) for x in cell.details.values()) if g is not None]
    return min(found, default=None)


def _growth(detail: d.Detail | None, make: Expressions) -> Fraction | None:
    match detail:
        case d.Accumulator(u=u):
            return make.range(u).magnitude
        case d.Gated(g=g, u=u):
            gate = make.range(g).magnitude
            return make.range(u).magnitude if gate is not None and gate <= 1 else None
        case d.Tropical(u=u, lo=lo, hi=hi, value=value):
            ends = [make.range(x).magnitude for x in (lo, hi, value) if x is not None]
            return None if None in ends else make.range(u).magnitude
        case d.Counters(add=add):
            steps = [make.range(x).magnitude for x in add.values()]
            known = [s for s in steps if s is not None]
            return max(known) if len(known) == len(steps) else None
        case d.Affine(matrix=matrix, u=us, spectrum=spectrum):
            inputs = [make.range(u).magnitude for u in us]
            largest = [x for x in inputs if x is not None]
            if len(largest) < len(inputs):
                return None
            if _norm(matrix) <= 1:
                return max(largest)
            if spectrum.kind == "roots of unity" and spectrum.order is not None:
                return max(largest) * _largest_power(matrix, spectrum.order)
            return None
        case _:
            return None


def _norm(matrix: Matrix) -> Fraction:
    return max(sum((abs(x) for x in row), Fraction(0)) for row in matrix)


def _largest_power(matrix: Matrix, order: int) -> Fraction:
    """The largest norm of a power of a matrix of finite order."""
    power, best = matrix, Fraction(1)
    for _ in range(order):
        best = max(best, _norm(power))
        power = matmul(power, matrix)
    return best
