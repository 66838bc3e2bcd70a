"""Reduced ordered binary decision diagrams (Bryant 1986), and sums of products between two of them (Minato 1992)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from lsrl.analysis.cascade_tiles import TooLargeError

__all__ = ["Band", "BinaryDiagrams", "FALSE", "TRUE"]

FALSE = 0
TRUE = 1
_LEAF = 1 << 60
_PRODUCTS = 128  # of one function under one letter
_CALLS = 20_000
Band: TypeAlias = "tuple[int, int]"  # where a function must be true, and where it may be


@dataclass(slots=True)
class BinaryDiagrams:
    """Reduced ordered binary decision diagrams (Bryant 1986); 0 is false and 1 is true."""

    nodes: list[tuple[int, int, int]] = field(default_factory=lambda: [(_LEAF, 0, 0), (_LEAF, 1, 1)])
    _number: dict[tuple[int, int, int], int] = field(default_factory=dict)
    _memo: dict[tuple[int, int, int], int] = field(default_factory=dict)

    def node(self, variable: int, low: int, high: int) -> int:
        if low == high:
            return low
        key = (variable, low, high)
        found = self._number.get(key)
        if found is None:
            found = self._number[key] = len(self.nodes)
            self.nodes.append(key)
        return found

    def _cut(self, f: int, variable: int) -> tuple[int, int]:
        top, low, high = self.nodes[f]
        return (low, high) if top == variable else (f, f)

    def choose(self, f: int, g: int, h: int) -> int:
        """g where f holds, else h."""
        if f <= 1:
            return g if f else h
        if g == h or (g, h) == (TRUE, FALSE):
            return g if g == h else f
        key = (f, g, h)
        found = self._memo.get(key)
        if found is None:
            (above, f0, f1), (beside, g0, g1), (last, h0, h1) = self.nodes[f], self.nodes[g], self.nodes[h]
            top = min(above, beside, last)
            if above != top:
                f0 = f1 = f
            if beside != top:
                g0 = g1 = g
            if last != top:
                h0 = h1 = h
            found = self._memo[key] = self.node(top, self.choose(f0, g0, h0), self.choose(f1, g1, h1))
        return found

    def both(self, f: int, g: int) -> int:
        return self.choose(f, g, FALSE)

    def either(self, f: int, g: int) -> int:
        return self.choose(f, TRUE, g)

    def negated(self, f: int) -> int:
        return self.choose(f, FALSE, TRUE)

    def within(self, f: int, g: int) -> bool:
        """Whether f implies g."""
        return self.both(f, self.negated(g)) == FALSE

    def without(self, f: int, variable: int, every: bool) -> int:
        """Where f holds for both values of a variable, or (not every) for one of them."""
        memo: dict[int, int] = {}

        def go(g: int) -> int:
            top, low, high = self.nodes[g]
            if top > variable:
                return g
            if g not in memo:
                if top == variable:
                    memo[g] = self.both(low, high) if every else self.either(low, high)
                else:
                    memo[g] = self.node(top, go(low), go(high))
            return memo[g]

        return go(f)

    def support(self, f: int) -> set[int]:
        found: set[int] = set()
        seen: set[int] = set()
        work = [f]
        while work:
            g = work.pop()
            if g > 1 and g not in seen:
                seen.add(g)
                top, low, high = self.nodes[g]
                found.add(top)
                work += (low, high)
        return found

    def products(self, lower: int, upper: int) -> tuple[list[tuple[tuple[int, bool], ...]], int]:
        """An irredundant sum of products between two functions, and the function that it is."""
        memo: dict[Band, tuple[list[tuple[tuple[int, bool], ...]], int]] = {}

        def go(lo: int, up: int) -> tuple[list[tuple[tuple[int, bool], ...]], int]:
            if lo == FALSE:
                return [], FALSE
            if up == TRUE:
                return [()], TRUE
            if len(memo) > _CALLS:
                raise TooLargeError("a condition has too many products")
            if (lo, up) not in memo:
                top = min(self.nodes[lo][0], self.nodes[up][0])
                (lo0, lo1), (up0, up1) = self._cut(lo, top), self._cut(up, top)
                off, f = go(self.both(lo0, self.negated(up1)), up0)
                on, g = go(self.both(lo1, self.negated(up0)), up1)
                rest = self.either(self.both(lo0, self.negated(f)), self.both(lo1, self.negated(g)))
                any_, h = go(rest, self.both(up0, up1))
                cubes = [*(((top, False), *c) for c in off), *(((top, True), *c) for c in on), *any_]
                if len(cubes) > _PRODUCTS:
                    raise TooLargeError(f"a condition has more than {_PRODUCTS} products")
                memo[lo, up] = cubes, self.either(self.node(top, f, g), h)
            return memo[lo, up]

        return go(lower, upper)

    def tabled(self, values: Sequence[bool], count: int) -> int:
        """The function of the first `count` variables with these values, those of the last variable side by side."""
        level = list(map(int, values))
        for variable in reversed(range(count)):
            level = [self.node(variable, low, high) for low, high in zip(level[::2], level[1::2], strict=True)]
        return level[0]

    def product(self, literals: Sequence[tuple[int, bool]]) -> int:
        f = TRUE
        for variable, on in sorted(literals, reverse=True):
            f = self.node(variable, FALSE, f) if on else self.node(variable, f, FALSE)
        return f
