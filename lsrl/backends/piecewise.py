"""Piecewise-linear expressions of depth one: affine + Σ c · ReLU(affine), what one ReLU layer with memory can update.

A cell hosted in one layer computes each next state as such an expression of its old states and of what comes from
below. Every operation here is exact on the grid of its operands, and raises `TooDeepError` where a second level of
ReLU would be needed. Functions of one direction z (all parts depend on the same combination of atoms) stay of depth
one under every operation, since on a grid each of them is again piecewise linear in z.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from lsrl.analysis.interval import Range
from lsrl.backends.wiring import Staircase

__all__ = ["Expr", "Linear", "Ramp", "Space", "TooDeepError"]

_MOST_POINTS = 512  # of a direction that is sampled point by point


class TooDeepError(Exception):
    """The expression needs more than one level of ReLU; the reason is the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Linear:
    """Σ coefficient · atom + bias; terms by ascending atom, no coefficient 0."""

    terms: tuple[tuple[int, Fraction], ...] = ()
    bias: Fraction = Fraction(0)

    def __add__(self, other: Linear) -> Linear:
        total = dict(self.terms)
        for a, c in other.terms:
            total[a] = total.get(a, Fraction(0)) + c
        return Linear(tuple((a, c) for a, c in sorted(total.items()) if c), self.bias + other.bias)

    def scale(self, by: Fraction | int) -> Linear:
        if not by:
            return Linear()
        return Linear(tuple((a, c * by) for a, c in self.terms), self.bias * by)

    def plus(self, bias: Fraction | int) -> Linear:
        return Linear(self.terms, self.bias + bias)


@dataclass(frozen=True, slots=True)
class Ramp:
    """c · ReLU(of). mask: a gate takes so much from `of` where it is shut, and is right while `of` is no larger."""

    c: Fraction
    of: Linear
    mask: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Expr:
    """linear + Σ ramps."""

    linear: Linear = Linear()
    ramps: tuple[Ramp, ...] = ()

    @property
    def constant(self) -> Fraction | None:
        return None if self.ramps or self.linear.terms else self.linear.bias


class Space:
    """The atoms, with their ranges; every operation on expressions.

    mask: the size of a gate over a number without a bound, in units of its grid; None refuses such gates.
    """

    def __init__(self, mask: Fraction | None) -> None:
        self.ranges: list[Range] = []
        self.mask = mask

    def atom(self, r: Range) -> int:
        """A new atom."""
        self.ranges.append(r)
        return len(self.ranges) - 1

    # Bounds

    def lo(self, x: Linear) -> Fraction | None:
        total = x.bias
        for a, c in x.terms:
            end = self.ranges[a].lo if c > 0 else self.ranges[a].hi
            if end is None:
                return None
            total += c * end
        return total

    def hi(self, x: Linear) -> Fraction | None:
        low = self.lo(x.scale(-1))
        return None if low is None else -low

    def grid(self, x: Linear) -> Fraction:
        """The largest number that divides every value; that of the constant 0 is 1."""
        found = Fraction(0)
        for part in (x.bias, *(c * (self.ranges[a].grid or 0) for a, c in x.terms)):
            found = _gcd(found, part)
        for a, _ in x.terms:
            if self.ranges[a].grid is None:
                raise TooDeepError("a value has no grid")
        return found or Fraction(1)

    def is_bit(self, x: Expr) -> bool:
        return not x.ramps and self.lo(x.linear) in (0, 1) and self.hi(x.linear) in (0, 1) \
            and not self.is_fine(x.linear) and self.grid(x.linear).denominator == 1

    def is_fine(self, x: Linear) -> bool:
        """Whether the values have no grid."""
        return any(self.ranges[a].grid is None for a, _ in x.terms)

    def step(self, x: Linear) -> Fraction:
        """In what a unit counts the values: their grid, or 1 if they have none."""
        return Fraction(1) if self.is_fine(x) else self.grid(x)

    # Linear operations

    def add(self, *parts: Expr) -> Expr:
        """The sum."""
        linear = Linear()
        weights: dict[tuple[Linear, Fraction | None], Fraction] = {}
        for p in parts:
            linear += p.linear
            for r in p.ramps:
                key = (r.of, r.mask)
                weights[key] = weights.get(key, Fraction(0)) + r.c
        return Expr(linear, tuple(Ramp(c, of, mask) for (of, mask), c in weights.items() if c))

    def scale(self, x: Expr, by: Fraction | int) -> Expr:
        return Expr(x.linear.scale(by), tuple(Ramp(r.c * by, r.of, r.mask) for r in x.ramps) if by else ())

    def constant(self, value: Fraction | int) -> Expr:
        return Expr(Linear((), Fraction(value)))

    def of_atom(self, atom: int) -> Expr:
        return Expr(Linear(((atom, Fraction(1)),)))

    # Ramps

    def ramp(self, of: Linear, c: Fraction | int = 1, mask: Fraction | None = None) -> Expr:
        """c · ReLU(of), without a unit where the sign is known."""
        low, high = self.lo(of), self.hi(of)
        if low is not None and low >= 0:
            return Expr(of.scale(c))
        if high is not None and high <= 0:
            return Expr()
        by = _primitive(of)
        return Expr(Linear(), (Ramp(c * by, of.scale(1 / by), None if mask is None else mask / by),)) if c else Expr()

    def relu(self, x: Expr) -> Expr:
        """max(0, x)."""
        return self.ramp(x.linear) if not x.ramps else self.pointwise(lambda v: max(v[0], Fraction(0)), [x], [x])

    def at_least(self, x: Expr, y: Expr) -> Expr:
        """[x ≥ y] as 0 or 1."""
        d = self.add(x, self.scale(y, -1))
        if d.constant is not None:
            return self.constant(int(d.constant >= 0))
        if d.ramps:
            return self.pointwise(lambda v: Fraction(int(v[0] >= 0)), [d], [d])
        g = self.grid(d.linear)
        return self.add(self.ramp(d.linear.plus(g), 1 / g), self.ramp(d.linear, -1 / g))

    def equal(self, x: Expr, y: Expr) -> Expr:
        """[x = y] as 0 or 1."""
        d = self.add(x, self.scale(y, -1))
        if d.constant is not None:
            return self.constant(int(d.constant == 0))
        if d.ramps:
            return self.pointwise(lambda v: Fraction(int(v[0] == 0)), [d], [d])
        g = self.grid(d.linear)
        return self.add(self.ramp(d.linear.plus(g), 1 / g), self.ramp(d.linear, -2 / g),
                        self.ramp(d.linear.plus(-g), 1 / g))

    def maximum(self, args: Sequence[Expr]) -> Expr:
        """The largest of some expressions."""
        best = args[0]
        for x in args[1:]:
            best = self._larger(best, x)
        return best

    def minimum(self, args: Sequence[Expr]) -> Expr:
        return self.scale(self.maximum([self.scale(x, -1) for x in args]), -1)

    def _larger(self, a: Expr, b: Expr) -> Expr:
        """b + ReLU(a − b) or a + ReLU(b − a): the one whose linear part is simplest, and has a lower bound."""
        options = [self.add(y, self.relu(self.add(x, self.scale(y, -1)))) for x, y in ((a, b), (b, a))]
        return min(options, key=lambda e: (len(e.linear.terms) > 0, self.lo(e.linear) is None, len(e.ramps)))

    def gate(self, bits: Sequence[Expr], x: Expr) -> Expr:
        """x where all bits are 1, else 0; the bits are linear."""
        count = len(bits)
        total = Linear((), Fraction(-count))  # 0 where all are on, else −1 or less
        for b in bits:
            if b.ramps:
                raise TooDeepError("a condition of its own past gates it")
            total += b.linear
        if not total.terms:
            return x if total.bias == 0 else Expr()
        all_on = Expr(total.plus(1)) if count == 1 else self.ramp(total.plus(1))
        parts: list[Expr] = []
        if x.linear.terms:
            low, high = self.lo(x.linear), self.hi(x.linear)
            if low is not None:
                parts += [self.scale(all_on, low), self._gated(x.linear.plus(-low), total, Fraction(1), None)]
            elif high is not None:
                parts += [self.scale(all_on, high),
                          self._gated(x.linear.plus(-high).scale(-1), total, Fraction(-1), None)]
            else:
                parts += [self._gated(x.linear, total, Fraction(1), None),
                          self._gated(x.linear.scale(-1), total, Fraction(-1), None)]
        else:
            parts.append(self.scale(all_on, x.linear.bias))
        parts += [self._gated(r.of, total, r.c, r.mask) for r in x.ramps]
        return self.add(*parts)

    def _gated(self, of: Linear, shut: Linear, c: Fraction, mask: Fraction | None) -> Expr:
        """c · ReLU(of) where shut = 0, and 0 where shut ≤ −1."""
        high = self.hi(of)
        if high is not None:
            return self.ramp(of + shut.scale(max(high, Fraction(0))), c, mask)
        if self.mask is None:
            raise TooDeepError("a number without a bound is gated")
        size = self.mask * self.grid(of)
        return self.ramp(of + shut.scale(size), c, min(size, mask) if mask is not None else size)

    def conjunction(self, args: Sequence[Expr]) -> Expr:
        """The "and" of 0/1 expressions."""
        fixed = [x for x in args if x.constant is not None]
        if any(x.constant == 0 for x in fixed):
            return Expr()
        rest = [x for x in args if x.constant is None]
        flat, deep = [x for x in rest if not x.ramps], [x for x in rest if x.ramps]
        if not rest:
            return self.constant(1)
        if len(deep) > 1:
            together = self.pointwise(min, deep, [])
            return self.gate(flat, together) if flat else together
        if deep:
            return self.gate(flat, deep[0]) if flat else deep[0]
        if len(flat) == 1:
            return flat[0]
        total = Linear((), Fraction(1 - len(flat)))
        for x in flat:
            total += x.linear
        return self.ramp(total)

    def choose(self, condition: Expr, then: Expr, other: Expr) -> Expr:
        """`then` where the 0/1 condition is 1, else `other`."""
        d = self.add(then, self.scale(other, -1))
        if d.constant is not None:
            return self.add(other, self.scale(condition, d.constant))
        if not condition.ramps:
            return self.add(other, self.gate([condition], d))
        if self.is_bit(d):
            return self.add(other, self.gate([d], condition))
        if self.is_bit(self.scale(d, -1)):
            return self.add(other, self.scale(self.gate([self.scale(d, -1)], condition), -1))
        return self.add(other, self.pointwise(lambda v: v[0] * v[1], [condition, d], [d]))

    # Functions of one direction

    def direction(self, args: Iterable[Expr]) -> Linear | None:
        """The combination z, in lowest terms and without bias, that all arguments are functions of; None if none."""
        found: Linear | None = None
        for x in args:
            for part in (x.linear, *(r.of for r in x.ramps)):
                if not part.terms:
                    continue
                bare = Linear(part.terms)
                by = _primitive(bare) * (1 if bare.terms[0][1] > 0 else -1)
                z = bare.scale(1 / by)
                if found is not None and z != found:
                    return None
                found = z
        return found

    def pointwise(self, f: Callable[[Sequence[Fraction]], Fraction], args: Sequence[Expr],
                  decisions: Sequence[Expr]) -> Expr:
        """f of the arguments, all of one direction. Between the points where arguments bend, f must be linear but
        where a decision changes its sign (a direction of few values is sampled at each, whatever f is)."""
        z = self.direction(args)
        if z is None:
            raise TooDeepError("it depends on more than one combination of its numbers at a second level")
        if any(r.mask is not None for x in args for r in x.ramps):
            raise TooDeepError("a gated number without a bound feeds a second level")
        g, low, high = self.grid(z), self.lo(z), self.hi(z)
        curves = [_along(x, z) for x in args]
        if low is not None and high is not None and (high - low) / g < _MOST_POINTS:
            points = {low + g * i for i in range(int((high - low) / g) + 1)}
        else:
            points = _points(curves, [_along(x, z) for x in decisions], g, low, high)
        first, last = min(points), max(points)

        def value(t: Fraction) -> Fraction:
            return f([c(t) for c in curves])

        left = value(first) - value(first - g) if low is None else Fraction(0)
        right = value(last + g) - value(last) if high is None else Fraction(0)
        stairs = Staircase.sampled(value, points, left / g, right / g)
        bias, terms = stairs.terms(low, high)
        return self.add(self.constant(bias), *(self.ramp(z.scale(sign).plus(-sign * k), c) for c, sign, k in terms))


@dataclass(frozen=True, slots=True)
class _Curve:
    """slope · t + value at 0 + Σ c · max(0, a t + b)."""

    slope: Fraction
    bias: Fraction
    ramps: tuple[tuple[Fraction, Fraction, Fraction], ...]

    def __call__(self, t: Fraction) -> Fraction:
        ramps = sum((c * max(a * t + b, Fraction(0)) for c, a, b in self.ramps), Fraction(0))
        return self.slope * t + self.bias + ramps

    @property
    def bends(self) -> list[Fraction]:
        return [-b / a for _, a, b in self.ramps]


def _along(x: Expr, z: Linear) -> _Curve:
    atom, unit = z.terms[0]

    def slope(part: Linear) -> Fraction:
        return dict(part.terms).get(atom, Fraction(0)) / unit

    return _Curve(slope(x.linear), x.linear.bias, tuple((r.c, slope(r.of), r.of.bias) for r in x.ramps))


def _points(curves: Sequence[_Curve], decisions: Sequence[_Curve], g: Fraction, low: Fraction | None,
            high: Fraction | None) -> set[Fraction]:
    """Grid points between which every argument is linear and no decision changes its sign."""
    bends = sorted({b for c in (*curves, *decisions) for b in c.bends} | {Fraction(0)})
    roots: list[Fraction] = []
    for d in decisions:
        ends = [bends[0] - g, *bends, bends[-1] + g]
        for i, (a, b) in enumerate(itertools.pairwise(ends)):
            fa, fb = d(a), d(b)
            if fa == fb:
                continue
            r = a - fa * (b - a) / (fb - fa)
            outer = (i == 0 and r < b) or (i == len(ends) - 2 and r > a)
            if a <= r <= b or outer:
                roots.append(r)
    out: set[Fraction] = set()
    for p in (*bends, *roots):
        k = math.floor(p / g)
        out |= {g * (k - 1), g * k, g * (k + 1), g * (k + 2)}
    kept = {p for p in out if (low is None or p >= low) and (high is None or p <= high)}
    return kept | {p for p in (low, high) if p is not None}


def _gcd(a: Fraction, b: Fraction) -> Fraction:
    """The largest number of which both are multiples."""
    common = math.lcm(a.denominator, b.denominator)
    return Fraction(math.gcd(int(a * common), int(b * common)), common)


def _primitive(x: Linear) -> Fraction:
    """The positive number that leaves coprime whole coefficients when divided out; 1 of a constant."""
    found = Fraction(0)
    for _, c in x.terms:
        found = _gcd(found, c)
    return found or Fraction(1)
