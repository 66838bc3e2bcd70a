"""Values as text: numbers and symbols as files and terminals hold them, both ways."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from lsrl.arithmetic import to_float
from lsrl.types import Bool, Int, Real, Symbols, Type, Value, Vector, scalar_of, shape
from lsrl.values import BadValueError, read_value, show_raw

__all__ = ["decimal_from_text", "integer_text", "json_value", "number_from_text", "plain_value", "value_from_json",
           "value_from_text"]

_NUMBER = re.compile(r"\s*[-+]?(?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\s*")
_SPECIAL = {"nan": math.nan, "inf": math.inf, "infinity": math.inf, "-inf": -math.inf, "-infinity": -math.inf}
_LONGEST = 4000  # digits of a number that is read


def number_from_text(text: str) -> int | Fraction | Decimal | float:
    """The number a text writes: `3`, `-0.1` and `1e-3` (exactly), `1/3`, and NaN and Infinity as floats.

    Raises BadValueError.
    """
    if len(text) > _LONGEST:
        raise BadValueError("L602", f"a number of {len(text)} characters is too long to read")
    numerator, slash, denominator = text.partition("/")
    if _NUMBER.fullmatch(numerator) and (not slash or _NUMBER.fullmatch(denominator)):
        if slash:
            below = _rational(denominator)
            if below == 0:
                raise BadValueError("L602", f"{show_raw(text)} divides by zero")
            return _rational(numerator) / below
        return decimal_from_text(numerator) if set(numerator) & set(".eE") else int(numerator.strip())
    special = _SPECIAL.get(text.strip().lower())
    if special is None:
        raise BadValueError("L602", f"{show_raw(text)} is not a number" if text.strip() else "the value is empty")
    return special


def decimal_from_text(text: str) -> Decimal:
    """The decimal number that a text writes. Raises BadValueError for an exponent beyond all that Decimal holds."""
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        raise BadValueError("L602", f"{show_raw(text)} has more than {_LONGEST} digits") from None


def _rational(text: str) -> Fraction:
    exact = read_value(decimal_from_text(text), Real())  # refuses exponents that would fill the memory
    assert isinstance(exact, Fraction)
    return exact


def value_from_text(text: str, wanted: Type, numeric: bool = False) -> Value:
    """A scalar value as CSV and words write it: `true`, `1/3`, or the bare name of a symbol. Raises BadValueError."""
    match wanted:
        case Symbols():
            return read_value(text, wanted)
        case Bool():
            word = text.strip().lower()
            if word in ("true", "false", "1", "0"):
                return word in ("true", "1")
            raise BadValueError("L602", f"{show_raw(text)} is not a bool" if word else "the value is empty",
                                "write true or false, or 1 or 0")
        case _:
            return read_value(number_from_text(text), wanted, numeric)


def value_from_json(value: object, wanted: Type, numeric: bool = False) -> Value:
    """A value as JSON writes it; a real may stand as text, such as "1/3". Raises BadValueError."""
    if type(value) is int and type(wanted) is Int:  # most values, at once
        if (wanted.lo is None or wanted.lo <= value) and (wanted.hi is None or value <= wanted.hi):
            return value
    elif type(value) is bool and type(wanted) is Bool:
        return value
    if isinstance(wanted, Vector) and isinstance(value, list):
        if len(value) != wanted.size:
            raise BadValueError("L602", f"a vector of {len(value)} stands where {wanted} is wanted")
        return tuple(value_from_json(v, wanted.elem, numeric) for v in value)
    if isinstance(value, str) and isinstance(wanted, Real):
        return read_value(number_from_text(value), wanted, numeric)
    if isinstance(wanted, Symbols) and not isinstance(value, str):
        raise BadValueError("L602", f"{show_raw(value)} is not a symbol: symbols stand in quotes")
    return read_value(value, wanted, numeric)


def integer_text(n: int) -> str:
    """An int in decimal, of any length: Python's own `str` refuses more than 4,300 digits."""
    return str(n) if n.bit_length() < 14_000 else str(Decimal(n))


def plain_value(t: Type, numeric: bool, exact: bool) -> Callable[[Any], str]:
    """A function from values of a scalar type to text without quotes, as CSV and plain text hold it."""
    match t:
        case Bool():
            return lambda v: "true" if v else "false"
        case Symbols():
            return lambda v: t.name(v)
        case Real() if numeric:
            return lambda v: _float_text(v)
        case Real() if exact:
            return _ratio_text
        case Real():
            return lambda v: _float_text(to_float(v))
        case _:
            return integer_text


def json_value(t: Type, numeric: bool, exact: bool) -> Callable[[Any], str]:
    """A function from values of a type to JSON: rationals as the nearest float, or as "p/q" if exact.

    JSON has no infinities and no NaN: they are written as text, "Infinity", "-Infinity" and "NaN".
    """
    scalar = scalar_of(t)
    plain = plain_value(scalar, numeric, exact)
    one: Callable[[Any], str]
    match scalar:
        case Symbols():
            one = lambda v: json.dumps(plain(v), ensure_ascii=False)  # noqa: E731
        case Real() if exact and not numeric:
            one = lambda v: f'"{plain(v)}"'  # noqa: E731
        case Real():
            one = lambda v: plain(v) if math.isfinite(to_float(v)) else f'"{plain(v)}"'  # noqa: E731
        case _:
            one = plain
    for _ in shape(t):
        one = _listed(one)
    return one


def _listed(one: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda v: "[" + ", ".join(map(one, v)) + "]"


def _float_text(x: float) -> str:
    if math.isfinite(x):
        return repr(x)
    return "NaN" if x != x else "Infinity" if x > 0 else "-Infinity"


def _ratio_text(v: Any) -> str:
    value = Fraction(v)
    if value.denominator == 1:
        return integer_text(value.numerator)
    return f"{integer_text(value.numerator)}/{integer_text(value.denominator)}"


def is_byte(t: Type) -> bool:
    """Whether a type is `byte`, whose stream is the raw bytes of a file."""
    return isinstance(t, Int) and t.raw
