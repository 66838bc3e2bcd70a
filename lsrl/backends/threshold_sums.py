"""Sums of weights and signals as a dtype forms them: what threshold layers read, and how far off a sum may be.

Sums are taken to be accumulated in float32 or better and to be rounded to the dtype three times: W x + b, U h + c, and
both together. Where all terms are whole multiples of one power of two, and together few enough of it, nothing is
rounded at all, in whatever order and precision the sum is formed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import torch

from lsrl.backends.certificate import PRECISION
from lsrl.backends.circuit import Bit, Column, Layer, Register, Unit
from lsrl.backends.emission import short
from lsrl.backends.linear_form import Form, Rational
from lsrl.diagnostics import LsrlError
from lsrl.types import Value

__all__ = ["Arithmetic", "Levels", "Part", "Reader", "Term"]


@dataclass(frozen=True, slots=True)
class Levels:
    """What other units see: of a bit ±`bit`, of a register's sign 0 or ±[`bit`, 1], each with this relative error."""

    bit: Fraction = Fraction(1)
    error: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class Term:
    """One product of a sum, of any signal of its kind: the weight as the dtype holds it, and what may be wrong with it.

    number: the weight as a float. size: the largest |product|. error: how far the product may lie from weight · signal
    of the circuit. middle: to be added so that it is the circuit's weight where the signal is on and 0 where it is off.
    """

    number: float
    size: Fraction
    error: Fraction
    middle: Fraction


@dataclass(frozen=True, slots=True)
class Part:
    """A sum over one layer, in circuit units: what its levels ask for as a bias.

    indices, numbers: of its terms. kinds: the terms, those that are equal once. ends: finds the least and the largest
    value that the sum has without `more`. size, error: those of all terms together; of columns that exclude each other
    only one counts.
    """

    indices: list[int]
    numbers: list[float]
    kinds: tuple[Term, ...]
    bias: Fraction
    ends: Callable[[], tuple[Fraction, Fraction]]
    size: Fraction
    error: Fraction
    more: Fraction = Fraction(0)

    def plus(self, bias: Rational) -> Part:
        return replace(self, bias=self.bias + bias, more=self.more + bias)

    def range(self) -> tuple[Fraction, Fraction]:
        """The least and the largest value."""
        lo, hi = self.ends()
        return lo + self.more, hi + self.more


class Arithmetic:
    """Rounding in one dtype, and bounds of what it does to a sum."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.bits = PRECISION[short(dtype)]
        self.stored = Fraction(1, 2**self.bits)  # relative error of a number once it is rounded
        self.summed = min(self.stored, Fraction(1, 2**24))
        self._known: dict[Fraction, Fraction] = {}

    def rounded(self, x: Fraction) -> Fraction:
        if x.denominator in (1, 2) and abs(x.numerator) < 2**self.bits:
            return x
        found = self._known.get(x)
        if found is None:
            found = self._known[x] = self._rounded(x)
        return found

    def _rounded(self, x: Fraction) -> Fraction:
        number = torch.tensor(float(x), dtype=torch.float64).to(self.dtype).item()
        if not math.isfinite(number):
            raise LsrlError.of("L407", f"a weight of {float(x):g} is beyond what {self.dtype} holds",
                               help="compile with dtype float32 or float64")
        return Fraction(number)

    def sum_error(self, parts: Sequence[Part], biases: Sequence[Fraction]) -> Fraction:
        """How far the sum of these parts, with biases as the dtype holds them, may lie from what it should be."""
        error = Fraction(0)
        for part, bias in zip(parts, biases, strict=True):
            error += abs(bias - part.bias) + part.error
        if self._is_exact(parts, biases):
            return error
        ranges = [part.range() for part in parts]
        for part, bias, (lo, hi) in zip(parts, biases, ranges, strict=True):
            n = (len(part.indices) + 1) * self.summed
            error += n / (1 - n) * (abs(bias) + part.size)
            if part.indices and len(parts) > 1:
                error += self.stored * (max(abs(lo), abs(hi)) + error)
        whole = max(abs(sum((lo for lo, _ in ranges), Fraction(0))), abs(sum((hi for _, hi in ranges), Fraction(0))))
        return error + self.stored * (whole + error)

    def _is_exact(self, parts: Sequence[Part], biases: Sequence[Fraction]) -> bool:
        """Whether every partial sum is a number of the dtype: all terms are multiples of one unit, and few of it."""
        if any(t.error for p in parts for t in p.kinds):
            return False
        numbers = [*biases, *(t.size for p in parts for t in p.kinds)]
        per_one = math.lcm(*(x.denominator for x in numbers))
        together = sum((abs(b) + p.size for b, p in zip(biases, parts, strict=True)), Fraction(0))
        return together * per_one <= Fraction(2**self.bits)


class Reader:
    """Sums over the signals of one layer, or over the input columns (`layer` None)."""

    def __init__(self, layer: Layer | None, columns: Sequence[Column], levels: Levels, arithmetic: Arithmetic) -> None:
        """Raises ValueError for signals that a threshold layer cannot read."""
        self.layer, self.columns, self.levels, self.arithmetic = layer, columns, levels, arithmetic
        signals = columns if layer is None else layer
        self.kinds = [_kind(s) for s in signals]
        self.groups = [s.group if isinstance(s, Bit) else "" for s in signals]
        self.registers = frozenset(i for i, s in enumerate(signals) if isinstance(s, Register))
        self._terms: dict[tuple[Rational, str], Term] = {}

    def pattern(self, form: Form) -> Hashable:
        """What all bounds of a form's sum depend on: its terms, whichever signals they are of, and the ends of those of
        which one counts at a time; of columns the form itself."""
        if self.layer is None:
            return form
        counts: dict[tuple[Rational, str], int] = {}
        groups: dict[str, tuple[Rational, Rational]] = {}
        for w, i in form.terms:
            key = w, self.kinds[i]
            counts[key] = counts.get(key, 0) + 1
            if self.groups[i]:
                lo, hi = groups.get(self.groups[i], (0, 0))
                groups[self.groups[i]] = min(lo, w), max(hi, w)
        return form.bias, frozenset(counts.items()), frozenset(Counter(groups.values()).items())

    def numbers(self, form: Form) -> list[float]:
        """The weights of a form as the dtype holds them."""
        return [self._known(w, self.kinds[i]).number for w, i in form.terms]

    def part(self, form: Form) -> Part:
        """A form's sum as the dtype computes it."""
        indices = [i for _, i in form.terms]
        counts = Counter((w, self.kinds[i]) for w, i in form.terms)
        terms = {(w, kind): self._known(w, kind) for w, kind in counts}
        numbers = [terms[w, self.kinds[i]].number for w, i in form.terms]
        bias = sum((n * terms[key].middle for key, n in counts.items()), Fraction(form.bias))
        if self.layer is None:
            mine = {i: terms[w, "column"] for w, i in form.terms}
            size, error = (self._together({i: getattr(t, name) for i, t in mine.items()}) for name in ("size", "error"))
        else:
            size, error = (sum((n * x for key, n in counts.items() if (x := getattr(terms[key], name))), Fraction(0))
                           for name in ("size", "error"))
        return Part(indices, numbers, tuple(terms[key] for key in counts), bias, lambda: self._range(form, counts),
                     size, error)

    def _together(self, parts: Mapping[int, Fraction]) -> Fraction:
        """The largest sum of what columns contribute; one that is 0 contributes nothing."""
        by_value: dict[tuple[str, int | None], dict[Value, Fraction]] = {}
        for i, x in parts.items():
            column = self.columns[i]
            values = by_value.setdefault((column.input, column.element), {})
            for v in column.values or ():
                values[v] = values.get(v, Fraction(0)) + x
        return sum((max(v.values()) for v in by_value.values() if v), Fraction(0))

    def _known(self, w: Rational, kind: str) -> Term:
        found = self._terms.get((w, kind))
        if found is None:
            found = self._terms[w, kind] = self._term(Fraction(w), kind)
        return found

    def _term(self, w: Fraction, kind: str) -> Term:
        round_ = self.arithmetic.rounded
        if kind == "column":
            weight = round_(w)
            return Term(float(weight), abs(weight), abs(weight - w), Fraction(0))
        level, slack = self.levels.bit, self.levels.error
        if kind == "register":
            weight = round_(w / level)
            error = max(abs(weight * level - w), abs(weight - w / level)) + abs(weight) * slack
            return Term(float(weight), abs(weight), error, Fraction(0))
        weight = round_(w / (2 * level))
        size = abs(weight) * level
        return Term(float(weight), size, abs(weight * level - w / 2) + size * slack, w / 2)

    def _range(self, form: Form, counts: Mapping[tuple[Rational, str], int]) -> tuple[Fraction, Fraction]:
        """The least and the largest value of a form; of signals that exclude each other one counts at a time."""
        ends = [Fraction(form.bias), Fraction(form.bias)]
        choices: dict[object, dict[object, Rational]] = {}
        if self.layer is None:
            for w, i in form.terms:
                column = self.columns[i]
                for v in column.values or ():
                    values = choices.setdefault((column.input, column.element), {})
                    values[v] = values.get(v, 0) + w
        else:
            for (w, kind), n in counts.items():
                reach = (min(w, -w), max(w, -w)) if kind == "register" else (min(0, w), max(0, w))
                scale = n / self.levels.bit if kind == "register" else n
                ends = [end + scale * x for end, x in zip(ends, reach, strict=True)]
            for w, i in form.terms:
                if self.groups[i]:  # counted as if alone so far
                    choices.setdefault(self.groups[i], {})[i] = w
                    ends = [ends[0] - min(0, w), ends[1] - max(0, w)]
        for one in choices.values():
            ends = [ends[0] + min(0, *one.values()), ends[1] + max(0, *one.values())]
        return ends[0], ends[1]


def _kind(signal: Unit | Column) -> str:
    match signal:
        case Column(values=values) if values is not None:
            return "column"
        case Column():
            raise ValueError("a threshold layer reads no numbers")
        case Register():
            return "register"
        case Bit():
            return "bit"
        case _:
            raise ValueError("a threshold layer has bits only")
