"""Linear combinations of integer atoms, which stand for unbounded numbers, and the variables that comparing needs."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from lsrl.backends.cubes import Diagrams
from lsrl.backends.linear_form import Rational
from lsrl.types import Value

__all__ = ["Atom", "Combination", "Linear", "Result", "Variables", "linear", "lowest_terms", "number",
           "plain"]

Atom: TypeAlias = tuple[str, str]  # a register's name and "old" or "new"
Combination: TypeAlias = tuple[tuple[int, Atom], ...]  # coprime coefficients, the first positive


@dataclass(frozen=True, slots=True)
class Linear:
    """Σ coefficient · atom + bias; `terms` are ordered by atom and not empty."""

    terms: tuple[tuple[Fraction, Atom], ...]
    bias: Fraction


Result: TypeAlias = "Value | Linear"


def linear(terms: Sequence[tuple[Rational, Result]], bias: Rational) -> Result:
    """Σ coefficient · value + bias, a plain number if no atom remains."""
    weights: dict[Atom, Fraction] = {}
    total = Fraction(bias)
    for c, x in terms:
        if isinstance(x, Linear):
            total += c * x.bias
            for w, atom in x.terms:
                weights[atom] = weights.get(atom, Fraction(0)) + c * w
        else:
            assert isinstance(x, int | Fraction)
            total += Fraction(c) * x
    left = tuple((w, atom) for atom, w in sorted(weights.items()) if w)
    return Linear(left, total) if left else total


class Variables:
    """The variables of one diagram table, with their values; threshold variables are made as they are asked for."""

    def __init__(self, diagrams: Diagrams) -> None:
        self.diagrams = diagrams
        self.domains: list[tuple[Hashable, ...]] = []
        self.thresholds: dict[Combination, dict[int, int]] = {}
        self.remainders: dict[Combination, dict[int, int]] = {}

    def add(self, domain: tuple[Hashable, ...]) -> int:
        """A new variable with those values."""
        self.domains.append(domain)
        return self.diagrams.variable(len(domain))

    def threshold(self, combination: Combination, k: int) -> int:
        """The variable [combination ≥ k]."""
        known = self.thresholds.setdefault(combination, {})
        if k not in known:
            known[k] = self.add((False, True))
        return known[k]

    def remainder(self, combination: Combination, divisor: int) -> int:
        """The variable combination mod divisor."""
        known = self.remainders.setdefault(combination, {})
        if divisor not in known:
            known[divisor] = self.add(tuple(range(divisor)))
        return known[divisor]


def lowest_terms(x: Linear) -> tuple[Combination, Fraction]:
    """The combination F of coprime integers, the first positive, and the scale s, so that Σ terms = s · F."""
    denominator = math.lcm(*(c.denominator for c, _ in x.terms))
    whole = [int(c * denominator) for c, _ in x.terms]
    common = math.gcd(*whole) * (1 if whole[0] > 0 else -1)
    combination = tuple((w // common, atom) for w, (_, atom) in zip(whole, x.terms, strict=True))
    return combination, Fraction(common, denominator)


def plain(x: Result) -> Result:
    """A whole rational as an int."""
    return int(x) if isinstance(x, Fraction) and x.denominator == 1 else x


def number(x: Result) -> int | Fraction:
    """A result that is known to be a plain number."""
    assert isinstance(x, int | Fraction)
    return x
