"""Bounds of the transcendental functions on float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from lsrl.analysis.interval import Range

__all__ = ["function_range"]

_ZERO = Fraction(0)
_SLACK = Fraction(1, 10**9)  # relative error allowed to the mathematical library, far more than it makes


def function_range(name: str, x: Range) -> Range:
    """The range of a function of `lsrl.ir.nodes.UNARY_FUNCTIONS`, widened by far more than its error."""
    one = Fraction(1)
    match name:
        case "exp":
            return Range(_below(_call(math.exp, x.lo)) or _ZERO, _above(_call(math.exp, x.hi)), None, x.nan)
        case "log":
            positive = x.lo is not None and x.lo > 0
            lo = _below(_call(math.log, x.lo)) if positive else None
            hi = _above(_call(math.log, x.hi)) if x.hi is not None and x.hi > 0 else None
            return Range(lo, hi, None, x.nan or x.lo is None or x.lo < 0)
        case "sqrt":
            negative = x.lo is None or x.lo < 0
            lo = _ZERO if negative else _below(_call(math.sqrt, x.lo))
            hi = _above(_call(math.sqrt, x.hi)) if x.hi is None or x.hi >= 0 else _ZERO
            return Range(lo, hi, None, x.nan or negative)
        case "sigmoid":
            return Range(_ZERO, one, None, x.nan)
        case "tanh":
            return Range(-one, one, None, x.nan)
        case "softplus":
            return Range(_ZERO, None if x.hi is None else max(x.hi, _ZERO) + one, None, x.nan)
        case "silu":
            return Range(Fraction(-3, 10), None if x.hi is None else max(x.hi, _ZERO), None, x.nan)
        case _:
            return Range(-one, one, None, x.nan or not x.bounded)


def _call(f: Callable[[float], float], x: Fraction | None) -> Fraction | None:
    if x is None:
        return None
    try:
        return Fraction(f(float(x)))
    except OverflowError:
        return None


def _below(x: Fraction | None) -> Fraction | None:
    return None if x is None else x - abs(x) * _SLACK


def _above(x: Fraction | None) -> Fraction | None:
    # The least normal float covers functions that round up from 0.
    return None if x is None else x + abs(x) * _SLACK + Fraction(float.fromhex("0x1p-1022"))

