"""How long sums of whole numbers stay exact in a float: bounds of every unit, token by token.

A ReLU circuit's units are whole and not negative. Unit u is at most m(t) = A m(t−1) + c with A ≥ 0 (its positive
weights); every partial sum, in any order, lies between the sum of all negative parts and that of all positive parts.
While both are at most 2^p, floats of p bits compute it exactly, whatever the order of summation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from lsrl.backends.certificate import PRECISION
from lsrl.backends.circuit import Bit, Circuit, Gated, Lag, Number, Register, Unit
from lsrl.backends.emission import short
from lsrl.backends.growth import Growth
from lsrl.backends.linear_form import Form, Rational
from lsrl.diagnostics import LsrlError
from lsrl.types import Value

__all__ = ["Exactness", "analyse_exactness", "require_exactness"]


@dataclass(frozen=True, slots=True)
class Exactness:
    """horizon: tokens up to which every sum is exact; None for any number. partial_sum: the largest bounded sum.

    limits: for each layer, the element with which sums over it are still exact; None where nothing grows.
    too_large: a unit (layer from 0, index; −1 for an output) whose bounded sum is not exact, None if there is none.
    """

    horizon: int | None
    partial_sum: Fraction
    limits: tuple[float | None, ...]
    too_large: tuple[int, int] | None


def require_exactness(circuit: Circuit, dtype: torch.dtype, input_limit: int) -> Exactness:
    """The exactness in a dtype. Raises LsrlError (L407) if a bounded sum is larger than the dtype holds exactly."""
    bits = PRECISION[short(dtype)]
    exact = analyse_exactness(circuit, bits, input_limit)
    if exact.too_large is not None:
        layer, i = exact.too_large
        symbol = circuit.layers[layer][i].symbol if i >= 0 else None
        what = "an output" if symbol is None else symbol.text
        message = f"{what} needs sums up to {exact.partial_sum}; {short(dtype)} is exact up to 2^{bits}"
        raise LsrlError.of("L407", message, *(() if symbol is None else (symbol.span,)))
    return exact


def analyse_exactness(circuit: Circuit, bits: int, input_limit: int, most: float | None = None) -> Exactness:
    """The exactness of a circuit of bits and numbers in floats that hold whole numbers up to 2^bits.

    input_limit: the bound taken for number columns that the program does not bound. most: what no unit that grows may
    exceed, None if sums alone say it.
    """
    return _Bounds(circuit, 2**bits, input_limit, most).result()


class _Bounds:
    """The growing units are those without a known bound; n of them, numbered by `place`; place n is the constant 1."""

    def __init__(self, circuit: Circuit, largest: int, input_limit: int, most: float | None) -> None:
        self.circuit, self.largest, self.most = circuit, largest, most
        self.columns = [Fraction(1) if c.values is not None else Fraction(input_limit if c.hi is None else c.hi)
                        for c in circuit.columns]
        self.place: dict[tuple[int, int], int] = {}
        for layer, units in enumerate(circuit.layers):
            for i, unit in enumerate(units):
                if _known(unit) is None:
                    self.place[layer, i] = len(self.place)
        self.n = len(self.place)
        self.sums: list[NDArray[np.float64]] = []  # of growing units, and what each may be at most
        self.caps: list[float] = []
        self.bounded = Fraction(0)
        self.too_large: tuple[int, int] | None = None

    def _bound(self, layer: int, form: Form, row: NDArray[np.float64], sign: int) -> Rational:
        """Adds the weights of one sign on growing units to `row`, and returns the bound of all else that has the sign.

        layer: −1 for the columns. A partial sum, in whatever order, is at most the sum of all positive parts, and at
        least that of all negative ones.
        """
        rest: Rational = max(form.bias * sign, 0)
        if layer < 0:
            return rest + self._columns(form, sign)
        groups: dict[str, Rational] = {}
        for w, i in form.terms:
            weight = -w if w < 0 else w
            unit = self.circuit.layers[layer][i]
            if w * sign > 0 or (isinstance(unit, Gated) and _is_signed(unit)):
                fixed = _known(unit)
                if fixed is None:
                    row[self.place[layer, i]] += float(weight)
                elif isinstance(unit, Bit) and unit.group:
                    groups[unit.group] = max(groups.get(unit.group, 0), weight)
                else:
                    rest += weight * fixed
        for most in groups.values():
            rest += most
        return rest

    def _columns(self, form: Form, sign: int) -> Rational:
        """As `_bound`; of the columns of one scalar only those of a single value count at a time."""
        rest: Rational = 0
        values: dict[tuple[str, int | None], dict[Value, Rational]] = {}
        for w, i in form.terms:
            weight = -w if w < 0 else w
            column = self.circuit.columns[i]
            if column.values is None:
                rest += weight * self.columns[i]
            elif w * sign > 0:
                by_value = values.setdefault((column.input, column.element), {})
                for v in column.values:
                    by_value[v] = by_value.get(v, 0) + weight
        for by_value in values.values():
            rest += max(by_value.values(), default=0)
        return rest

    def _require(self, forms: Sequence[tuple[int, Form]], where: tuple[int, int]) -> None:
        """That the partial sums of these forms together are exact."""
        for sign in (1, -1):
            row = np.zeros(self.n + 1)
            rest: Rational = 0
            for layer, form in forms:
                rest += self._bound(layer, form, row, sign)
            if row.any():
                row[self.n] = float(rest)
                self.sums.append(row)
                self.caps.append(float(self.largest))
            else:
                self.bounded = max(self.bounded, Fraction(rest))
                if rest > self.largest and self.too_large is None:
                    self.too_large = where

    def result(self) -> Exactness:
        n = self.n
        step, same = np.zeros((n + 1, n + 1)), np.zeros((n + 1, n + 1))
        start = np.zeros(n + 1)
        step[n, n] = start[n] = 1.0
        for layer, units in enumerate(self.circuit.layers):
            for i, unit in enumerate(units):
                below, own = self._sums_of(unit)
                self._require([(layer - 1, below), (layer, own)], (layer, i))
                at = self.place.get((layer, i))
                if at is None:
                    continue
                rest = self._bound(layer, own, step[at], 1) + min(own.bias, 0)
                if isinstance(unit, Number) and unit.below_hi is not None:
                    rest += Fraction(unit.below_hi)
                elif isinstance(unit, Gated) and _is_signed(unit):
                    up, down = np.zeros(n + 1), np.zeros(n + 1)
                    rest += max(self._bound(layer - 1, below, up, 1), self._bound(layer - 1, below, down, -1))
                    same[at] += np.maximum(up, down)
                else:  # _bound leaves a negative bias out
                    rest += self._bound(layer - 1, below, same[at], 1)
                    rest += min(below.bias, 0)
                step[at, n] = max(0.0, float(rest))
                start[at] = abs(float(unit.start))
                if isinstance(unit, Number) and unit.cap is not None:
                    self.sums.append(same[at] + step[at])
                    self.caps.append(float(unit.cap))
        if self.most is not None:
            self.sums.extend(np.eye(n + 1)[:n])
            self.caps.extend([self.most] * n)
        top = len(self.circuit.layers) - 1
        for output in self.circuit.outputs:
            for form in output.forms:
                self._require([(top, _whole(form))], (top, -1))
        grows = {layer for layer, _ in self.place}
        limit = min(((cap - row[n]) / row[:n].sum() for row, cap in zip(self.sums, self.caps, strict=True)
                     if row[:n].any()), default=None)
        limits = tuple(None if limit is None or layer not in grows else float(limit)
                       for layer in range(len(self.circuit.layers)))
        return Exactness(self._horizon(self._close(step, same), start), self.bounded, limits, self.too_large)

    def _sums_of(self, unit: Unit) -> tuple[Form, Form]:
        """What a unit adds up of the layer below, and of its own layer at most.

        A scan adds up a part of the tokens before it is joined to the state before them; such a part of a bounded
        number is at most the difference of two of its values.
        """
        match unit:
            case Bit() | Number():
                return unit.below, unit.own
            case Gated():
                known = _known(unit)
                return unit.add, Form.of((2 * _size(keep) if known is not None else _size(keep), i)
                                         for keep, i in unit.keeps)
            case Lag():
                return unit.below, Form()
            case Register():
                raise ValueError("a register has no bound here")

    def _close(self, step: NDArray[np.float64], same: NDArray[np.float64]) -> NDArray[np.float64]:
        """One token of all bounds: what flows up the layers is folded in, (1 + same + same² + …) · step."""
        whole, flow = step.copy(), step
        for _ in self.circuit.layers:
            flow = same @ flow
            if not flow.any():
                break
            whole += flow
        return whole

    def _horizon(self, step: NDArray[np.float64], start: NDArray[np.float64]) -> int | None:
        """The number of tokens after which every growing sum is within its cap; None if none ever leaves it."""
        if not self.sums:
            return None
        limit = np.array(self.caps)
        if self.largest > 2**50:
            limit *= 1 - 2.0**-40  # the bounds themselves are float64: room for their rounding
        return Growth(step, start).tokens_within(np.array(self.sums), limit)[0]


def _known(unit: Unit) -> Rational | None:
    """What the size of a unit never exceeds; None if it grows."""
    if isinstance(unit, Gated):
        return None if unit.lo is None or unit.hi is None else max(-unit.lo, unit.hi)
    if isinstance(unit, Number | Lag):
        return unit.hi
    return 1


def _is_signed(unit: Gated) -> bool:
    return unit.lo is None or unit.lo < 0


def _size(keep: Form) -> Rational:
    """The largest factor that a gate can be: what stands there if it is constant, else at most 1."""
    return max(keep.bias, -keep.bias) if keep.is_constant else 1


def _whole(form: Form) -> Form:
    """A form times the common denominator of its coefficients: what the read-out computes."""
    by: Rational = 1
    for x in (form.bias, *(w for w, _ in form.terms)):
        by *= (Fraction(x) * by).denominator
    return form.scale(by)
