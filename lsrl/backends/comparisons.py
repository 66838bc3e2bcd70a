"""What is asked of unbounded numbers while nodes are evaluated: comparisons, extremes, quotients and remainders.

The answer is known from the ranges and from the variables assigned so far, or a variable is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from lsrl.backends.combinations import Atom, Combination, Linear, Result, Variables, linear, lowest_terms, number, plain
from lsrl.backends.linear_form import Rational
from lsrl.backends.refusal import NotHostedError
from lsrl.ir.nodes import Compare, FloorDiv, MinMax, Table
from lsrl.types import Value

__all__ = ["Comparisons", "Found", "Need"]

_MOST_REMAINDERS = 256


@dataclass(frozen=True, slots=True)
class Need:
    """The variable that has to be assigned first."""

    variable: int


Found: TypeAlias = "Value | Linear | Need"


class Comparisons:
    """Answers under a growing assignment of variables: `point` says the place of each variable assigned."""

    def __init__(self, variables: Variables,
                 bounds: Callable[[Atom], tuple[Fraction | None, Fraction | None]]) -> None:
        """bounds: least and greatest value of an atom, None where there is none."""
        self._variables, self._bounds = variables, bounds
        self.point: dict[int, int] = {}

    def variable(self, variable: int) -> Found:
        """The value of a variable where it is assigned."""
        place = self.point.get(variable)
        if place is None:
            return Need(variable)
        value = self._variables.domains[variable][place]
        assert isinstance(value, int | Fraction)
        return value

    def divide(self, node: FloorDiv, x: Result) -> Found:
        """Quotient and remainder of an unbounded number: s F + b by m needs F mod M, M the least with s M / m whole."""
        assert isinstance(x, Linear)
        combination, scale = lowest_terms(x)
        ratio = scale / Fraction(node.divisor)
        if ratio.denominator > _MOST_REMAINDERS:
            raise NotHostedError(node, f"a number is divided, and {ratio.denominator} remainders are too many")
        rest: Rational = 0
        if ratio.denominator > 1:
            found = self.variable(self._variables.remainder(combination, ratio.denominator))
            if isinstance(found, Need):
                return found
            assert isinstance(found, int)
            rest = found
        remainder = (scale * rest + x.bias) % node.divisor
        if node.op == "%":
            return plain(remainder)
        return plain(linear([(1 / Fraction(node.divisor), x)], -remainder / Fraction(node.divisor)))

    def compare(self, node: Compare, a: Result, b: Result) -> Found:
        if node.op in ("<", "<="):
            # a < b iff not a − b ≥ 0; a <= b iff b − a ≥ 0
            found = self.at_least_zero(*((a, b) if node.op == "<" else (b, a)))
            return found if isinstance(found, Need) else found == (node.op == "<=")
        up = self.at_least_zero(a, b)
        if isinstance(up, Need):
            return up
        down = self.at_least_zero(b, a)
        if isinstance(down, Need):
            return down
        return (up and down) == (node.op == "==")

    def at_least_zero(self, a: Result, b: Result) -> bool | Need:
        """Whether a − b ≥ 0."""
        d = linear([(1, a), (-1, b)], 0)
        if not isinstance(d, Linear):
            return number(d) >= 0
        combination, scale = lowest_terms(d)
        if scale > 0:
            return self._threshold(combination, math.ceil(-d.bias / scale))
        found = self._threshold(combination, math.floor(-d.bias / scale) + 1)
        return found if isinstance(found, Need) else not found

    def _threshold(self, combination: Combination, k: int) -> bool | Need:
        """[combination ≥ k], from what is known of it, or as a new variable."""
        low, high = self.known_range(combination)
        if low is not None and k <= low:
            return True
        if high is not None and k > high:
            return False
        return Need(self._variables.threshold(combination, k))

    def known_range(self, combination: Combination) -> tuple[Fraction | int | None, Fraction | int | None]:
        """The range of a combination, narrowed by the thresholds assigned."""
        low, high = self._range(combination)
        for at, variable in self._variables.thresholds.get(combination, {}).items():
            value = self.point.get(variable)
            if value == 1:
                low = at if low is None else max(low, at)
            elif value == 0:
                high = at - 1 if high is None else min(high, at - 1)
        return low, high

    def _range(self, combination: Combination) -> tuple[Fraction | int | None, Fraction | int | None]:
        low: Fraction | int | None = 0
        high: Fraction | int | None = 0
        for c, atom in combination:
            a, b = self._bounds(atom)
            a, b = (a, b) if c > 0 else (b, a)
            low = None if low is None or a is None else low + c * a
            high = None if high is None or b is None else high + c * b
        return low, high

    def extreme(self, node: MinMax, args: list[Result]) -> Found:
        best = args[0]
        for x in args[1:]:
            # In a tie the unbounded number is taken, so that a clamp at its bound is a step and not a reset.
            first, second = (x, best) if isinstance(x, Linear) else (best, x)
            order = (first, second) if node.op == "max" else (second, first)
            taken = self.at_least_zero(*order)
            if isinstance(taken, Need):
                return taken
            best = first if taken else second
        return best

    def nearest(self, node: Table, args: list[Result]) -> list[Value] | Need:
        """The arguments of a table, an unbounded number as the nearest of its domain."""
        out: list[Value] = []
        for x, low, size in zip(args, node.los, node.sizes, strict=True):
            if not isinstance(x, Linear):
                out.append(x)
                continue
            at = low
            while at < low + size - 1:
                more = self.at_least_zero(x, at + 1)
                if isinstance(more, Need):
                    return more
                if not more:
                    break
                at += 1
            out.append(at)
        return out
