"""How far a circuit's module may be from its program, where numbers are not whole: a bound for every unit, each token.

For unit k let m bound the size of its number and e the distance between the number that the module holds and the
program's. With u = 2⁻ᵖ (half a unit in the last place of 1, in a dtype of p bits), a sum Σ wᵢ xᵢ + b of n terms, taken
in any order, with weights that are themselves rounded, is off by at most

    Σ |wᵢ| eᵢ + (n + 2) u (Σ |wᵢ| (mᵢ + eᵢ) + |b|)                (Higham 2002, section 3.1)

ReLU does not enlarge a distance. A recurrence h := a h + v adds what its own roundings are, and what the module's a is
off by, times |h|; a scan multiplies and adds what goes in once more in each of its passes. Sums of whole numbers that
p bits hold have no error. All of this is linear in m and e, so one token is a matrix (`growth`), and the bound of the
outputs is known for each number of tokens, or for all time where the recurrences shrink.

Bounds go by sizes alone: where a matrix turns (its entries cancel), they grow faster than the errors do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from lsrl.backends.certificate import PRECISION
from lsrl.backends.circuit import Bit, Circuit, Gated, Lag, Number, Register, Unit
from lsrl.backends.emission import short
from lsrl.backends.growth import Growth
from lsrl.backends.linear_form import Form
from lsrl.types import Real, scalar_of

__all__ = ["Accuracy", "ErrorBound", "InexactGateError", "bound_errors"]

Row = NDArray[np.float64]
_LONGEST = 2**30  # tokens for which a bound that grows is computed
_SHOWN = 4  # roundings between what a recurrence holds and what it shows
_SWITCH = {2.0**24: 800.0, 2.0**53: 6400.0}  # in u: of an argument between ± what a gate is shut with
_STEP = 4  # and of a step, or of a factor's power in a scan, for each token


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What a target's module is known to compute with beside rounding each operation.

    by_gap: the weight of what is added is computed from the rounded factor a, so that it is off by u / (1 − a).
    stored: a constant factor is a parameter itself, and so exact if the dtype has it.
    floor: what an activation takes off what is added, at most. passes: of a scan over the longest sequence.
    squash: by how many u a nonlinearity between one token and the next is off, while numbers are at most `largest`.
    """

    by_gap: bool = False
    stored: bool = False
    floor: float = 0.0
    passes: int = 24
    squash: float = 0.0
    largest: float = math.inf


@dataclass(frozen=True, slots=True)
class ErrorBound:
    """errors: for each scalar of the outputs the largest distance from the program's value, for `horizon` tokens (None:
    any number); 0 for those that are exact."""

    horizon: int | None
    errors: tuple[float, ...]


class InexactGateError(Exception):
    """A gate depends on numbers that have an error, so that nothing bounds what it does."""


def bound_errors(circuit: Circuit, dtype: torch.dtype, epsilon: Fraction, input_limit: int,
                 accuracy: Accuracy) -> ErrorBound:
    """The bound of a circuit's outputs, and the number of tokens for which it is at most epsilon.

    Outputs that are no reals must be exact after rounding. input_limit: as in `exactness`. Raises InexactGateError.
    """
    return _Errors(circuit, PRECISION[short(dtype)], input_limit, accuracy).result(epsilon)


@dataclass
class _Signal:
    """m and e as rows over the bounds before the token; whole: it is a whole number, with no error."""

    m: Row
    e: Row
    whole: bool


class _Errors:
    def __init__(self, circuit: Circuit, bits: int, input_limit: int, accuracy: Accuracy) -> None:
        self.circuit, self.accuracy = circuit, accuracy
        self.u, self.largest = 2.0**-bits, 2.0**bits
        self.place: dict[tuple[int, int], int] = {}
        for layer, units in enumerate(circuit.layers):
            for i in range(len(units)):
                self.place[layer, i] = len(self.place)
        self.n = len(self.place)
        self.size = 2 * self.n + 1
        self.step, self.start = np.zeros((self.size, self.size)), np.zeros(self.size)
        self.step[-1, -1] = self.start[-1] = 1.0
        below = [self._column(i, input_limit) for i in range(len(circuit.columns))]
        for layer in range(len(circuit.layers)):
            below = self._layer(layer, below)
        self.top = below

    def result(self, epsilon: Fraction) -> ErrorBound:
        rows, caps, errors = [], [], []
        for k in range(self.n):
            rows.append(self._unit_row(k))
            caps.append(min(self.largest, self.accuracy.largest))
        for output in self.circuit.outputs:
            real = isinstance(scalar_of(output.type), Real)
            for form in output.forms:
                made = self._sum(form, self.top)
                errors.append(made.e)
                rows.append(made.e)
                under = math.lcm(*(x.denominator for x in (form.bias, *(w for w, _ in form.terms))))
                caps.append(float(epsilon) if real else 0.25 / under)
        growth, table = Growth(self.step, self.start), np.array(rows)
        limit = np.array(caps) * (1 - 2.0**-10)  # room for the rounding of the bounds themselves
        x = growth.bound_for_all_time()
        horizon: int | None = None
        if x is None or not (table @ x <= limit).all():
            horizon, x = growth.tokens_within(table, limit)
            horizon = _LONGEST if horizon is None else min(horizon, _LONGEST)
        return ErrorBound(horizon, tuple(float(e @ x) * (1 + 2.0**-10) for e in errors))

    # Rows

    def _constant(self, value: float) -> Row:
        row = np.zeros(self.size)
        row[-1] = value
        return row

    def _unit_row(self, k: int) -> Row:
        row = np.zeros(self.size)
        row[k] = 1.0
        return row

    def _column(self, i: int, input_limit: int) -> _Signal:
        column = self.circuit.columns[i]
        size = 1.0 if column.values is not None else float(input_limit if column.hi is None else column.hi)
        error = self.u * size if column.fine else 0.0
        return _Signal(self._constant(size), self._constant(error), not column.fine)

    def _before(self, layer: int, i: int, whole: bool) -> _Signal:
        """A unit as it was before the token."""
        k = self.place[layer, i]
        return _Signal(self._unit_row(k), self._unit_row(self.n + k), whole)

    def _sum(self, form: Form, signals: Sequence[_Signal], extra: float = 0.0) -> _Signal:
        """A sum, with its roundings; extra: further ones, in units of u, of its size."""
        m, e = self._constant(abs(float(form.bias))), np.zeros(self.size)
        whole = form.bias.denominator == 1
        for w, i in form.terms:
            m += abs(float(w)) * signals[i].m
            e += abs(float(w)) * signals[i].e
            whole = whole and signals[i].whole and w.denominator == 1
        if whole and not m[:-1].any() and m[-1] <= self.largest:
            return _Signal(m, e, True)
        return _Signal(m, e + (len(form.terms) + 2 + _SHOWN + extra) * self.u * (m + e), False)

    # Units

    def _layer(self, layer: int, below: Sequence[_Signal]) -> list[_Signal]:
        units = self.circuit.layers[layer]
        whole = self._whole_units(units, below)
        own = [self._before(layer, i, w) for i, w in enumerate(whole)]
        shown: list[_Signal] = []
        for i, unit in enumerate(units):
            made = self._unit(unit, below, own, whole[i])
            k = self.place[layer, i]
            self.step[k], self.step[self.n + k] = made.m, made.e
            start = abs(float(unit.start))
            self.start[k] = start
            self.start[self.n + k] = 0.0 if whole[i] else self.u * start
            late = isinstance(unit, Lag) or (isinstance(unit, Gated) and unit.before)
            shown.append(own[i] if late else made)
        return shown

    def _whole_units(self, units: Sequence[Unit], below: Sequence[_Signal]) -> list[bool]:
        """Which units always hold a whole number that the dtype holds: what remains when those that cannot are taken
        out, again and again, as units read each other."""
        whole = [u.start.denominator == 1 and self._bound(u) <= self.largest for u in units]
        changed = True
        while changed:
            changed = False
            own = [_Signal(self._constant(self._bound(u)), np.zeros(self.size), w)
                   for u, w in zip(units, whole, strict=True)]
            for i, u in enumerate(units):
                if whole[i] and not self._keeps_whole(u, below, own):
                    whole[i], changed = False, True
        return whole

    def _keeps_whole(self, u: Unit, below: Sequence[_Signal], own: Sequence[_Signal]) -> bool:
        match u:
            case Bit() | Number():
                return self._sum(u.below, below).whole and self._sum(u.own, own).whole
            case Lag():
                return self._sum(u.below, below).whole
            case Gated():
                return (not u.slip and self._sum(u.add, below).whole
                        and all(self._sum(keep, below).whole and own[i].whole for keep, i in u.keeps))
            case Register():
                raise ValueError("a register has no bound here")

    @staticmethod
    def _bound(u: Unit) -> float:
        """The size that a unit never exceeds; infinity if it grows."""
        if isinstance(u, Gated):
            return math.inf if u.lo is None or u.hi is None else float(max(-u.lo, u.hi))
        hi = u.hi if isinstance(u, Number | Lag) else 1
        return math.inf if hi is None else float(hi)

    def _unit(self, u: Unit, below: Sequence[_Signal], own: Sequence[_Signal], whole: bool) -> _Signal:
        bound = self._bound(u)
        if whole:
            return _Signal(self._constant(bound), np.zeros(self.size), True)
        match u:
            case Bit() | Number():
                a, b = self._sum(u.below, below, len(u.own.terms)), self._sum(u.own, own, len(u.below.terms))
                made = _Signal(a.m + b.m, a.e + b.e, False)
            case Lag():
                made = self._sum(u.below, below)
            case Gated():
                made = self._gated(u, below, own)
            case Register():
                raise ValueError("a register has no bound here")
        return made if math.isinf(bound) else _Signal(self._constant(bound), made.e, False)

    def _gated(self, u: Gated, below: Sequence[_Signal], own: Sequence[_Signal]) -> _Signal:
        add = self._added(u, below)
        if u.sets or not u.keeps:
            return self._squashed(add)
        passes = self.accuracy.passes * (1 + len(u.keeps))
        m, e = add.m.copy(), add.e + passes * self.u * (add.m + add.e)
        for keep, i in u.keeps:
            size, off = self._factor(u, keep, below)
            m += size * own[i].m
            e += size * own[i].e + (off + (_STEP + len(u.keeps)) * size * self.u) * (own[i].m + own[i].e)
        return self._squashed(_Signal(m, e, False))

    def _squashed(self, x: _Signal) -> _Signal:
        return replace(x, e=x.e + self.accuracy.squash * self.u * (x.m + x.e)) if self.accuracy.squash else x

    def _added(self, u: Gated, below: Sequence[_Signal]) -> _Signal:
        """What is added, as the module computes it."""
        off = self._roundings(u, _top(u)) * self._gap(u) if u.split else 0.0
        parts = [self._sum(f, below, off) for f in (u.split or (u.add,))]
        m = self._sum(u.add, below).m
        e = parts[0].e if len(parts) == 1 else parts[0].e + parts[1].e
        return _Signal(m, e + self._constant(self.accuracy.floor), False)

    def _gap(self, u: Gated) -> float:
        a = _top(u)
        return 1 / float(1 - a) if self.accuracy.by_gap and 0 < a < 1 and not self._is_stored(u) else 1.0

    def _is_stored(self, u: Gated) -> bool:
        """Whether a unit's factor is a parameter and exact."""
        return self.accuracy.stored and all(k.is_constant for k, _ in u.keeps) \
            and (_top(u) * int(self.largest)).denominator == 1

    def _factor(self, u: Gated, keep: Form, below: Sequence[_Signal]) -> tuple[float, float]:
        """The size of a factor, and what the module's is off by."""
        made = self._sum(keep.scale(1 / Fraction(u.factor)) if not keep.is_constant else Form((), 1), below)
        if not made.whole:
            raise InexactGateError
        if keep.is_constant:
            size = abs(Fraction(keep.bias))
        else:
            parts = [Fraction(u.factor)] if len(u.keeps) == 1 else [Fraction(x) for x in (
                keep.bias, *(w for w, _ in keep.terms))]
            size = sum(map(abs, parts), Fraction(0))
        slip = float(u.slip) if u.slip > self.u / 4 else 0.0
        return float(size), slip + (0.0 if self._is_stored(u) else self._roundings(u, size) * self.u)

    def _roundings(self, u: Gated, a: Fraction) -> float:
        """By how many u a factor a between 0 and 1 may be off, and likewise what is scaled by 1 − a.

        A gate's argument is rounded, and so is each function of it. The arguments that occur are log(a / (1 − a)) and
        log(−log a); one that is switched by a bit is a sum with numbers as large as those that shut the gate.
        """
        if not 0 < a < 1:
            return 0.0
        log = -math.log(a) or float(1 - a)
        switched = any(not keep.is_constant for keep, _ in u.keeps)
        return (16 + 2 * abs(math.log(a) - math.log(1 - a)) + 2 * abs(math.log(log))
                + (_SWITCH[self.largest] if switched else 0))


def _top(u: Gated) -> Fraction:
    """The factor where it is not 0, as the module has it."""
    if u.slip:
        return 1 - Fraction(u.slip)
    keep = u.keeps[0][0] if u.keeps else Form()
    return abs(Fraction(keep.bias if keep.is_constant else u.factor))
