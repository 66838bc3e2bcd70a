"""The range of a node from the ranges of its operands: one rule a node kind.

Sound for the values that the interpreter computes. In numeric graphs every real is rounded to float64 after each
operation, in the order that `lsrl.arithmetic` states; rounding is monotone, so rounding the bounds likewise
covers it. Infinite bounds stand for infinities too, and `Range.nan` for what is not a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from lsrl.analysis.interval import (
    ANYTHING,
    BIT,
    Range,
    capped,
    constant,
    gcd,
    join,
    join_all,
    of_type,
    of_value,
    rounded,
)
from lsrl.analysis.transcendental import function_range
from lsrl.ir.nodes import (
    Affine,
    Compare,
    Const,
    Divide,
    FloorDiv,
    Index,
    Input,
    Logic,
    MatMul,
    MinMax,
    Mul,
    Mux,
    Node,
    Pack,
    Param,
    Read,
    Slice,
    Table,
    Unary,
)
from lsrl.types import Int, Real, Value, scalar_of, shape

__all__ = ["Lookup", "Transfer"]

Lookup: TypeAlias = Callable[[Node], Range]

_ZERO = Fraction(0)
_MINUS = Fraction(-1)


class Transfer:
    """The rules, for one graph: `transfer(node, get)` where `get` gives the range of each operand."""

    def __init__(self, numeric: bool) -> None:
        self.numeric = numeric
        self._tables: dict[Node, NDArray[np.int64] | None] = {}

    def __call__(self, node: Node, get: Lookup) -> Range:
        match node:
            case Const():
                return of_value(node.value, node.type, self.numeric)
            case Input():
                return of_type(node.type, self.numeric)
            case Param():
                return ANYTHING
            case Read():
                return of_type(node.type, self.numeric)
            case Affine():
                return self._affine(node, get)
            case Mul():
                return self._finish(node, self._product(get(node.a), get(node.b), node.a is node.b))
            case Divide():
                return Range(None, None, None, True)
            case MatMul():
                return self._matmul(node, get)
            case Compare():
                return self._compare(node, get)
            case Logic():
                return _logic(node.op, [get(x) for x in node.args])
            case Mux():
                return self._mux(node, get)
            case MinMax():
                return self._finish(node, _min_max(node.op, [self._as(node, get(x)) for x in node.args]))
            case FloorDiv():
                return self._floor_div(node, get(node.x))
            case Table():
                return self._table(node, [get(x) for x in node.args])
            case Unary():
                return function_range(node.function, rounded(get(node.x)))
            case Pack():
                return self._finish(node, join_all(get(x) for x in node.elements))
            case Index():
                return self._index(node, get)
            case Slice():
                return get(node.vector)
            case _:
                assert_never(node)

    def _is_float(self, node: Node) -> bool:
        return self.numeric and isinstance(scalar_of(node.type), Real)

    def _as(self, node: Node, r: Range) -> Range:
        """An operand's range after its conversion to the node's type."""
        return rounded(r) if self._is_float(node) else r

    def _finish(self, node: Node, r: Range) -> Range:
        return rounded(r) if self._is_float(node) else r

    def _affine(self, node: Affine, get: Lookup) -> Range:
        if self._is_float(node):
            return self._float_affine(node, get)
        coefficients: dict[Node, Fraction] = {}
        for c, x in node.terms:
            coefficients[x] = coefficients.get(x, _ZERO) + c
        return combine([(c, get(x)) for x, c in coefficients.items()], Fraction(node.bias))

    def _float_affine(self, node: Affine, get: Lookup) -> Range:
        total: Range | None = None
        for c, x in node.terms:
            product = rounded(self._product(rounded(constant(Fraction(c))), rounded(get(x)), False))
            total = product if total is None else _float_add(total, product)
        bias = rounded(constant(Fraction(node.bias)))
        return bias if total is None else total if not node.bias else _float_add(total, bias)

    def _product(self, a: Range, b: Range, square: bool) -> Range:
        if a.magnitude == 0 and not b.nan and (b.bounded or not self.numeric):
            return replace(a, nan=a.nan)
        if b.magnitude == 0 and not a.nan and (a.bounded or not self.numeric):
            return replace(b, nan=b.nan)
        grid = None if a.grid is None or b.grid is None else a.grid * b.grid
        corners = [_times(x, y) for x in _ends(a) for y in _ends(b)]
        lo = None if any(c == -math.inf for c in corners) else _finite(min(corners))
        hi = None if any(c == math.inf for c in corners) else _finite(max(corners))
        if square:
            crosses = (a.lo is None or a.lo < 0) and (a.hi is None or a.hi > 0)
            near = [abs(x) for x in (a.lo, a.hi) if x is not None]
            lo = _ZERO if crosses or not near else min(near) ** 2
        # 0 · ∞ is not a number.
        nan = a.nan or b.nan or (self.numeric and not (a.bounded and b.bounded))
        return capped(Range(lo, hi, abs(lo) if lo is not None and lo == hi and grid is not None else grid, nan))

    def _matmul(self, node: MatMul, get: Lookup) -> Range:
        one = self._finish(node, self._product(self._as(node, get(node.a)), self._as(node, get(node.b)), False))
        total = one
        for _ in range(shape(node.a.type)[-1] - 1):
            total = _float_add(total, one) if self._is_float(node) else _add(total, one)
        return total

    def _compare(self, node: Compare, get: Lookup) -> Range:
        a, b = get(node.a), get(node.b)
        if self.numeric and any(isinstance(scalar_of(x.type), Real) for x in (node.a, node.b)):
            a, b = rounded(a), rounded(b)
            if a.nan or b.nan:
                return BIT
            difference = _add(a, _scaled(b, _MINUS))
        else:
            difference = self.difference(node.a, node.b, get)
        return _decide(node.op, difference)

    def difference(self, a: Node, b: Node, get: Lookup) -> Range:
        """The range of a − b in exact arithmetic, terms that both share cancelled."""
        plain = _add(get(a), _scaled(get(b), _MINUS))
        if a is b:
            return constant(0)
        if not isinstance(a, Affine) and not isinstance(b, Affine):
            return plain
        total: dict[Node, Fraction] = {}
        bias = _ZERO
        count = 0
        for sign, x in ((1, a), (-1, b)):
            if isinstance(x, Affine) and not self._is_float(x):
                bias += sign * x.bias
                count += len(x.terms)
                for c, y in x.terms:
                    total[y] = total.get(y, _ZERO) + sign * c
            else:
                count += 1
                total[x] = total.get(x, _ZERO) + sign
        if len(total) == count:
            return plain
        return _tighter(combine([(c, get(x)) for x, c in total.items() if c], bias), plain)

    def _mux(self, node: Mux, get: Lookup) -> Range:
        condition = get(node.condition).constant
        if condition is not None:
            return self._as(node, get(node.then if condition else node.other))
        return join(self._as(node, get(node.then)), self._as(node, get(node.other)))

    def _floor_div(self, node: FloorDiv, x: Range) -> Range:
        d = Fraction(node.divisor)
        floats = self.numeric and isinstance(scalar_of(node.x.type), Real)
        if floats:
            x, d = rounded(x), Fraction(float(d))
        r = _quotient(x, d) if node.op == "//" else _remainder(x, d)
        if floats and isinstance(scalar_of(node.type), Int):
            spoilt = x.nan or not x.bounded  # what is no number becomes 0
            r = join(r, constant(0)) if spoilt else r
            return Range(r.lo, r.hi, Fraction(1))
        if floats:
            # The quotient is rounded before its floor is taken; the remainder of an infinity is not a number.
            exact = r if node.op == "%" else _floor_of_rounded(x, d)
            return rounded(replace(exact, nan=x.nan or (node.op == "%" and not x.bounded)))
        return self._finish(node, r)

    def _table(self, node: Table, args: Sequence[Range]) -> Range:
        cut = []
        for r, lo, n in zip(args, node.los, node.sizes, strict=True):
            first = 0 if r.lo is None else min(max(math.ceil(r.lo) - lo, 0), n - 1)
            last = n - 1 if r.hi is None else min(max(math.floor(r.hi) - lo, 0), n - 1)
            cut.append(slice(first, max(first, last) + 1))
        entries = self.entries(node)
        if entries is not None:
            part = entries[tuple(cut)].ravel()
            lo, hi = int(part.min()), int(part.max())
            grid = int(np.gcd.reduce(part))
            return self._finish(node, Range(Fraction(lo), Fraction(hi), Fraction(grid)))
        places = np.arange(len(node.entries)).reshape(node.sizes)[tuple(cut)].ravel()
        return join_all(of_value(node.entries[int(i)], node.type, self.numeric) for i in places)

    def entries(self, node: Table) -> NDArray[np.int64] | None:
        """The entries of a table of integers, bools or symbols, one axis an argument; None for others."""
        if node not in self._tables:
            whole = all(isinstance(e, int) and -(2**62) < e < 2**62 for e in node.entries)
            self._tables[node] = (np.array([int(_whole(e)) for e in node.entries], np.int64).reshape(node.sizes)
                                  if whole else None)
        return self._tables[node]

    def _index(self, node: Index, get: Lookup) -> Range:
        place = get(node.index).constant
        if isinstance(node.vector, Pack) and place is not None:
            element = node.vector.elements[min(max(int(place), 0), len(node.vector.elements) - 1)]
            return self._as(node, get(element))
        if isinstance(node.vector, Const) and isinstance(node.vector.value, tuple) and place is not None:
            value = node.vector.value[min(max(int(place), 0), len(node.vector.value) - 1)]
            return of_value(value, node.type, self.numeric)
        return get(node.vector)


def _whole(entry: Value) -> int:
    assert isinstance(entry, int)
    return entry


def combine(terms: Sequence[tuple[Fraction, Range]], bias: Fraction) -> Range:
    """The range of Σ coefficient · value + bias in exact arithmetic."""
    out = constant(bias) if bias or not terms else None
    for c, r in terms:
        out = _scaled(r, c) if out is None else _add(out, _scaled(r, c))
    assert out is not None
    return out


def _scaled(r: Range, c: Fraction) -> Range:
    if c == 1:
        return r
    if not c:
        return constant(0)
    lo = None if r.lo is None else c * r.lo
    hi = None if r.hi is None else c * r.hi
    return Range(*((lo, hi) if c > 0 else (hi, lo)), None if r.grid is None else abs(c) * r.grid, r.nan)


def _add(a: Range, b: Range) -> Range:
    lo = None if a.lo is None or b.lo is None else a.lo + b.lo
    hi = None if a.hi is None or b.hi is None else a.hi + b.hi
    grid = gcd(a.grid, b.grid)
    if lo is not None and lo == hi and grid is not None:
        grid = abs(lo)
    return Range(lo, hi, grid, a.nan or b.nan)


def _float_add(a: Range, b: Range) -> Range:
    opposite = (a.lo is None and b.hi is None) or (a.hi is None and b.lo is None)  # ∞ − ∞ is not a number
    r = rounded(_add(a, b))
    return replace(r, nan=True) if opposite else r


def _ends(r: Range) -> tuple[Fraction | float, Fraction | float]:
    return (-math.inf if r.lo is None else r.lo), (math.inf if r.hi is None else r.hi)


def _times(x: Fraction | float, y: Fraction | float) -> Fraction | float:
    if not x or not y:
        return _ZERO
    if isinstance(x, float) or isinstance(y, float):
        return math.inf if (x > 0) == (y > 0) else -math.inf
    return x * y


def _finite(x: Fraction | float) -> Fraction | None:
    return None if isinstance(x, float) else x


def _tighter(a: Range, b: Range) -> Range:
    lo = a.lo if b.lo is None else b.lo if a.lo is None else max(a.lo, b.lo)
    hi = a.hi if b.hi is None else b.hi if a.hi is None else min(a.hi, b.hi)
    grid = a.grid if b.grid is None or (a.grid is not None and a.grid > b.grid) else b.grid
    return Range(lo, hi, grid, a.nan and b.nan)


def _decide(op: str, d: Range) -> Range:
    """The truth of `a op b` from the range of a − b."""
    below = d.hi is not None and d.hi < 0
    above = d.lo is not None and d.lo > 0
    at_most = d.hi is not None and d.hi <= 0
    at_least = d.lo is not None and d.lo >= 0
    match op:
        case "<":
            yes, no = below, at_least
        case "<=":
            yes, no = at_most, above
        case "==":
            yes, no = at_most and at_least, below or above
        case _:
            yes, no = below or above, at_most and at_least
    return constant(1) if yes else constant(0) if no else BIT


def _logic(op: str, args: Sequence[Range]) -> Range:
    known = [r.constant for r in args]
    match op:
        case "not":
            return BIT if known[0] is None else constant(1 - known[0])
        case "and":
            return constant(0) if 0 in known else BIT if None in known else constant(1)
        case _:
            return constant(1) if 1 in known else BIT if None in known else constant(0)


def _min_max(op: str, args: Sequence[Range]) -> Range:
    los, his = [r.lo for r in args], [r.hi for r in args]
    grid = args[0].grid
    for r in args[1:]:
        grid = gcd(grid, r.grid)
    pick: Callable[[list[Fraction]], Fraction] = min if op == "min" else max
    known_lo, known_hi = [x for x in los if x is not None], [x for x in his if x is not None]
    if op == "min":
        lo = None if None in los else pick(known_lo)
        hi = pick(known_hi) if known_hi else None
    else:
        lo = pick(known_lo) if known_lo else None
        hi = None if None in his else pick(known_hi)
    if lo is not None and lo == hi and grid is not None:
        grid = abs(lo)
    return Range(lo, hi, grid, any(r.nan for r in args))


def _quotient(x: Range, d: Fraction) -> Range:
    lo = None if x.lo is None else Fraction(math.floor(x.lo / d))
    hi = None if x.hi is None else Fraction(math.floor(x.hi / d))
    grid = Fraction(1)
    if x.grid is not None and (x.grid / d).denominator == 1:
        grid = x.grid / d
    if lo is not None and lo == hi:
        grid = abs(lo)
    return Range(lo, hi, grid, x.nan)


def _remainder(x: Range, d: Fraction) -> Range:
    grid = gcd(x.grid, d)
    if grid == d:
        return constant(0)
    if x.lo is not None and x.hi is not None and x.lo // d == x.hi // d:
        lo, hi = x.lo % d, x.hi % d
        return Range(lo, hi, abs(lo) if lo == hi and grid is not None else grid, x.nan)
    return Range(_ZERO, d if grid is None else d - grid, grid, x.nan)


def _floor_of_rounded(x: Range, d: Fraction) -> Range:
    by = float(d)
    lo = None if x.lo is None else Fraction(math.floor(float(x.lo) / by))
    hi = None if x.hi is None else Fraction(math.floor(float(x.hi) / by))
    return Range(lo, hi, None, x.nan)
