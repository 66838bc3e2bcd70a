"""What units read of the layer below, and what sums of that can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from lsrl.backends.circuit import Bit, Column, Gated, Lag, Number, Unit
from lsrl.backends.linear_form import Form, Rational
from lsrl.types import Value

__all__ = ["Bounds", "Signals", "bounds_of", "forms_of", "in_machine", "read_alone", "reading"]

Bounds: TypeAlias = "tuple[Rational | None, Rational | None]"  # least and most; None where there is no bound


class Signals:
    """The signals of a layer, or the columns, and what sums of them can be."""

    def __init__(self, signals: Sequence[Unit] | Sequence[Column]) -> None:
        self._bounds = [bounds_of(s) for s in signals]
        self._values = [(s.input, s.element, s.values) if isinstance(s, Column) and s.values is not None else None
                        for s in signals]

    def least(self, form: Form) -> Rational | None:
        """What a form is never below, by the bounds of its signals one by one; None if that is not known."""
        return self._extreme(form, False)

    def most(self, form: Form) -> Rational | None:
        """What it is never above, likewise."""
        return self._extreme(form, True)

    def _extreme(self, form: Form, most: bool) -> Rational | None:
        total = form.bias
        by_value: dict[tuple[str, int | None], dict[Value, Rational]] = {}
        for w, i in form.terms:
            column = self._values[i]
            if column is not None:  # a scalar has one value at a time
                weights = by_value.setdefault(column[:2], {})
                for v in column[2]:
                    weights[v] = weights.get(v, 0) + w
                continue
            end = self._bounds[i][(w > 0) == most]
            if end is None:
                return None
            total += w * end
        pick = max if most else min
        return total + sum(pick(0, *weights.values()) for weights in by_value.values())


def bounds_of(u: Unit | Column) -> Bounds:
    match u:
        case Column():
            return (0, 1) if u.values is not None else (None if u.hi is None else -u.hi, u.hi)
        case Bit():
            return 0, 1
        case Number() | Lag():
            return 0, u.hi
        case Gated():
            return u.lo, u.hi
        case _:
            return None, None


def reading(u: Unit, through: Callable[[Form], Form]) -> Unit:
    """The unit with other forms over the layer below."""
    match u:
        case Bit() | Number() | Lag():
            return replace(u, below=through(u.below))
        case Gated():
            return replace(u, keeps=tuple((through(k), i) for k, i in u.keeps), add=through(u.add),
                           flip=through(u.flip))
        case _:
            raise ValueError("a gated circuit has no registers")


def forms_of(u: Unit) -> list[Form]:
    """The forms over the layer below that may read any sums."""
    if isinstance(u, Gated):
        return [] if in_machine(u) else [u.add, *(k for k, _ in u.keeps)]
    assert isinstance(u, Bit | Number | Lag)
    return [u.below]


def read_alone(u: Unit) -> list[Form]:
    """Those that read units as they are: bits that turn a unit, and the letters of units that take each other's
    values."""
    if not isinstance(u, Gated):
        return []
    return [u.flip, *((u.add, *(k for k, _ in u.keeps)) if in_machine(u) else ())]


def in_machine(u: Gated) -> bool:
    return u.fine or len(u.keeps) > 1 or u.split is not None
