"""Intervals with a grid: what the range analysis knows of a value, and the arithmetic on it.

Bools count as 0 and 1, symbols as their codes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from lsrl.types import Bool, Int, Real, Symbols, Type, Value, scalar_of

__all__ = ["ANYTHING", "BIT", "Range", "capped", "constant", "gcd", "join", "join_all", "lcm", "meet", "of_type",
           "of_value", "rounded"]


@dataclass(frozen=True, slots=True)
class Range:
    """All values lie from lo to hi (None: no bound) and are multiples of `grid`.

    grid is the largest such number that is known: 0 for a constant 0, None where there is none (floats, and
    rationals of unknown denominators). nan: the value may also be a float that is not a number.
    """

    lo: Fraction | None
    hi: Fraction | None
    grid: Fraction | None
    nan: bool = False

    @property
    def constant(self) -> Fraction | None:
        """The one value there can be, or None."""
        return self.lo if (self.lo is self.hi or self.lo == self.hi) and not self.nan else None

    @property
    def bounded(self) -> bool:
        return self.lo is not None and self.hi is not None

    @property
    def magnitude(self) -> Fraction | None:
        """The largest absolute value; None if there is no bound."""
        return None if self.lo is None or self.hi is None else max(abs(self.lo), abs(self.hi))

    @property
    def count(self) -> int | None:
        """How many values there can be; None if that is not finite."""
        if self.lo is None or self.hi is None or self.nan:
            return None
        if self.lo == self.hi:
            return 1
        if self.grid is None:
            return None
        return _steps(self.hi, self.grid) + _steps(-self.lo, self.grid) + 1

    def values(self) -> Iterator[Fraction]:
        """Every value there can be, ascending; only where `count` is not None."""
        if self.lo is not None and self.lo == self.hi:
            yield self.lo
        elif self.lo is not None and self.hi is not None and self.grid:
            yield from (self.grid * i for i in range(-_steps(-self.lo, self.grid), _steps(self.hi, self.grid) + 1))

    def contains(self, other: Range) -> bool:
        """Whether every value of `other` is one of this."""
        return ((self.lo is None or (other.lo is not None and self.lo <= other.lo))
                and (self.hi is None or (other.hi is not None and other.hi <= self.hi))
                and (self.grid is None or (other.grid is not None and _divides(self.grid, other.grid)))
                and (self.nan or not other.nan))

    def holds(self, value: Value) -> bool:
        """Whether a scalar value is one of the range: what the analysis promises of every value that occurs."""
        assert not isinstance(value, tuple)
        if isinstance(value, float) and not math.isfinite(value):
            return self.nan if math.isnan(value) else (self.hi is None if value > 0 else self.lo is None)
        v = Fraction(value)
        return ((self.lo is None or self.lo <= v) and (self.hi is None or v <= self.hi)
                and (self.grid is None or _divides(self.grid, v)))

    def __str__(self) -> str:
        if self.constant is not None:
            return _short(self.constant)
        return f"{'−∞' if self.lo is None else _short(self.lo)}..{'∞' if self.hi is None else _short(self.hi)}"


ANYTHING = Range(None, None, None)
_ZERO, _ONE = Fraction(0), Fraction(1)
BIT = Range(_ZERO, _ONE, _ONE)
_NUMBERS = (Range(_ZERO, _ZERO, _ZERO), Range(_ONE, _ONE, _ONE))


def _short(x: Fraction) -> str:
    """A number; to six digits, after ≈, where it is long."""
    text = str(x)
    if len(text) <= 12:
        return text
    try:
        return f"≈{float(x):.6g}"
    except OverflowError:
        return f"≈{'-' if x < 0 else ''}10^{len(str(abs(x.numerator) // x.denominator)) - 1}"


def gcd(a: Fraction | None, b: Fraction | None) -> Fraction | None:
    """The largest number of which both are multiples; None if one is None."""
    if a is None or b is None:
        return None
    if a == b:
        return a
    return Fraction(math.gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator)


def lcm(a: Fraction | None, b: Fraction | None) -> Fraction | None:
    """The least common multiple; the other one if one is None."""
    if a is None or b is None:
        return b if a is None else a
    if a is b or a == b:
        return a
    common = gcd(a, b)
    return a if a == b else a * b / common if common else Fraction(0)


def _divides(grid: Fraction, value: Fraction) -> bool:
    return not value if not grid else not value.numerator * grid.denominator % (value.denominator * grid.numerator)


def _steps(x: Fraction, grid: Fraction) -> int:
    """⌊x / grid⌋; quicker than by a Fraction."""
    return x.numerator * grid.denominator // (x.denominator * grid.numerator)


def constant(value: Fraction | int) -> Range:
    """The range of one number."""
    if value == 0 or value == 1:
        return _NUMBERS[int(value)]
    v = Fraction(value)
    return Range(v, v, abs(v))


def of_value(value: Value, t: Type, numeric: bool = False) -> Range:
    """The range of a constant; of a vector, the range that covers its elements."""
    if isinstance(value, tuple):
        return join_all(of_value(v, t, numeric) for v in value)
    if isinstance(value, float) and not math.isfinite(value):
        return Range(None, None, None, math.isnan(value))
    exact = Fraction(value)
    if numeric and isinstance(scalar_of(t), Real):
        return rounded(Range(exact, exact, None))
    return constant(exact)


def of_type(t: Type, numeric: bool = False) -> Range:
    """What a declared type says; of a vector type, what it says of the elements."""
    match scalar_of(t):
        case Bool():
            return BIT
        case Symbols() as s:
            return Range(Fraction(0), Fraction(len(s.names) + s.other - 1), Fraction(1))
        case Int(lo=lo, hi=hi):
            return Range(None if lo is None else Fraction(lo), None if hi is None else Fraction(hi), Fraction(1))
        case Real(lo=lo, hi=hi, grid=grid):
            if numeric:
                return rounded(Range(lo, hi, None))
            return _on_grid(lo, hi, grid, False) or ANYTHING
        case _:
            raise ValueError(f"{t} is not the type of a stream")


def join(a: Range, b: Range) -> Range:
    """The least range that holds both."""
    if a == b:
        return a
    return Range(None if a.lo is None or b.lo is None else min(a.lo, b.lo),
                 None if a.hi is None or b.hi is None else max(a.hi, b.hi),
                 gcd(a.grid, b.grid), a.nan or b.nan)


def join_all(ranges: Iterable[Range]) -> Range:
    """The least range that holds all of at least one."""
    rest = iter(ranges)
    out = next(rest)
    for r in rest:
        out = join(out, r)
    return out


def meet(a: Range, b: Range) -> Range | None:
    """The values in both, None if there are none."""
    if a is b or (a is BIT and (b is _NUMBERS[0] or b is _NUMBERS[1])):
        return b
    if a == b:
        return a
    lo = a.lo if b.lo is None or b.lo is a.lo else b.lo if a.lo is None else max(a.lo, b.lo)
    hi = a.hi if b.hi is None or b.hi is a.hi else b.hi if a.hi is None else min(a.hi, b.hi)
    return _on_grid(lo, hi, lcm(a.grid, b.grid), a.nan and b.nan)


def _on_grid(lo: Fraction | None, hi: Fraction | None, grid: Fraction | None, nan: bool) -> Range | None:
    """The range with its bounds moved inwards to the grid, and the grid of the one value if one is left."""
    if grid is _ONE or grid == 1:  # by far the most common: whole numbers, mostly with whole bounds already
        lo = lo if lo is None or lo.denominator == 1 else Fraction(math.ceil(lo))
        hi = hi if hi is None or hi.denominator == 1 else Fraction(math.floor(hi))
    elif grid:
        lo = None if lo is None else -_steps(-lo, grid) * grid
        hi = None if hi is None else _steps(hi, grid) * grid
    elif grid is not None:
        if (lo is not None and lo > 0) or (hi is not None and hi < 0):
            return Range(None, None, None, True) if nan else None
        lo = hi = Fraction(0)
    if lo is not None and hi is not None and lo is not hi and lo > hi:
        return Range(Fraction(0), Fraction(0), None, True) if nan else None
    if lo is not None and lo == hi and grid is not None:
        grid = abs(lo)
    return Range(lo, hi, grid, nan)


_LONGEST = 4096  # bits of a bound or a grid: repeated squares would double them at every step
_FINE = Fraction(2) ** 1024


def capped(r: Range) -> Range:
    """A range that holds this one, with bounds and grid of at most about 4,096 bits."""
    grid = r.grid
    if grid is not None and _bits(grid) > _LONGEST:
        grid = Fraction(1) if grid.denominator == 1 else None
    lo, hi = r.lo, r.hi
    if lo is not None and _bits(lo) > _LONGEST:
        lo = None if abs(lo) > _FINE else math.floor(lo * _FINE) / _FINE
    if hi is not None and _bits(hi) > _LONGEST:
        hi = None if abs(hi) > _FINE else math.ceil(hi * _FINE) / _FINE
    return r if (lo, hi, grid) == (r.lo, r.hi, r.grid) else Range(lo, hi, grid, r.nan)


def _bits(x: Fraction) -> int:
    return max(x.numerator.bit_length(), x.denominator.bit_length())


def rounded(r: Range) -> Range:
    """The range of the float64 nearest to a value of this one: rounding is monotone."""
    return Range(_nearest(r.lo), _nearest(r.hi), None, r.nan)


def _nearest(x: Fraction | None) -> Fraction | None:
    if x is None:
        return None
    try:
        return Fraction(float(x))
    except OverflowError:
        return None
