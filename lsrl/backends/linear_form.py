"""Linear forms over the signals of one layer, and thresholds of them: what the units of a circuit are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

__all__ = ["Form", "Gate", "NEVER", "Rational", "ZERO", "constant", "signal"]

Rational: TypeAlias = int | Fraction


@dataclass(frozen=True, slots=True)
class Form:
    """Σ weight · signal + bias over the signals of one layer: a number that the next layer reads linearly.

    terms: (weight, index of the signal), ordered by index, no weight is 0. Which layer is meant is known from where
    the form stands.
    """

    terms: tuple[tuple[Rational, int], ...] = ()
    bias: Rational = 0

    def __add__(self, other: Form | Rational) -> Form:
        if not isinstance(other, Form):
            return Form(self.terms, self.bias + other)
        return Form.of([*self.terms, *other.terms], self.bias + other.bias)

    def __sub__(self, other: Form | Rational) -> Form:
        return self + (other.scale(-1) if isinstance(other, Form) else -other)

    def scale(self, by: Rational) -> Form:
        """`by` times the form."""
        return Form(tuple((w * by, i) for w, i in self.terms), self.bias * by) if by else ZERO

    @property
    def is_constant(self) -> bool:
        return not self.terms

    def value(self, signals: Sequence[Rational]) -> Rational:
        """The number it denotes, given all signals of its layer."""
        total: Rational = self.bias
        for w, i in self.terms:
            total += w * signals[i]
        return total

    @classmethod
    def of(cls, terms: Iterable[tuple[Rational, int]], bias: Rational = 0) -> Form:
        """A form from terms in any order; terms of one signal are added up."""
        weights: dict[int, Rational] = {}
        for w, i in terms:
            weights[i] = weights.get(i, 0) + w
        return cls(tuple((w, i) for i, w in sorted(weights.items()) if w), bias)

    @classmethod
    def total(cls, forms: Iterable[Form], bias: Rational = 0) -> Form:
        """The sum of forms."""
        terms: list[tuple[Rational, int]] = []
        for f in forms:
            terms.extend(f.terms)
            bias += f.bias
        return cls.of(terms, bias)


ZERO = Form()


def constant(value: Rational) -> Form:
    """A form without signals."""
    return Form((), value)


def signal(index: int, weight: Rational = 1) -> Form:
    """One signal of the layer."""
    return Form(((weight, index),))


@dataclass(frozen=True, slots=True)
class Gate:
    """A threshold: on (1) iff below(t) + own(t − 1) ≥ 1, the sum an integer; without terms and bias it is off."""

    below: Form = ZERO
    own: Form = ZERO

    def sum(self, below: Sequence[Rational], own: Sequence[Rational]) -> Rational:
        return self.below.value(below) + self.own.value(own)

    def on(self, below: Sequence[Rational], own: Sequence[Rational]) -> bool:
        return self.sum(below, own) >= 1


NEVER = Gate()
