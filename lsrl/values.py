"""Values at the edges: what comes in from users and files, and how a value is shown.

`read_value` turns what a caller or a file gives into the form that `lsrl.types` says, or raises `BadValueError`.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

from lsrl.types import Bool, Int, Real, Symbols, Type, Value, Vector, quote_symbol

__all__ = ["BadValueError", "as_tuples", "flattened", "read_value", "show_value"]


_MOST_DIGITS = 4000  # of a decimal number: "1e999999999" would fill the memory as an exact integer


class BadValueError(ValueError):
    """A value that is not of the type wanted. `code`: L602 type, L603 range, L604 grid, L605 alphabet."""

    def __init__(self, code: str, message: str, help: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.help = help


def read_value(value: object, wanted: Type, numeric: bool = False) -> Value:
    """The value in the form its type is held in.

    Accepts Python and NumPy bools, ints and floats, Fractions, Decimals; for a symbol its name or its code; for a
    vector any sequence (or array) of the right length. Whole floats pass as ints; 0 and 1 as bools; a float that
    is the nearest one to a multiple of a declared grid means that multiple.
    Raises BadValueError.
    """
    match wanted:
        case Vector(elem=elem, size=n):
            if isinstance(value, str | bytes | dict) or not hasattr(value, "__len__") or not hasattr(value, "__iter__"):
                raise BadValueError("L602", f"{show_raw(value)} is not a vector of {n}")
            items = list(value)
            if len(items) != n:
                raise BadValueError("L602", f"a vector of {len(items)} stands where {wanted} is wanted")
            return tuple(read_value(x, elem, numeric) for x in items)
        case Bool():
            return _read_bool(value)
        case Int():
            return _read_int(value, wanted)
        case Real():
            return _read_real(value, wanted, numeric)
        case Symbols():
            return _read_symbol(value, wanted)
        case _:
            raise ValueError(f"{wanted} is not the type of a stream")


def as_tuples(nested: Any) -> Any:
    """Nested lists, as arrays give them, as values of vectors; anything else as it is."""
    return tuple(map(as_tuples, nested)) if isinstance(nested, list) else nested


def flattened(value: Any) -> list[Any]:
    """The scalars of a value, row-major."""
    return [x for v in value for x in flattened(v)] if isinstance(value, tuple) else [value]


def _plain(value: object) -> object:
    """A NumPy scalar (or array of no dimensions) as the Python value it holds."""
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "shape", None) == ():
        plain: object = item()
        return plain
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) > _MOST_DIGITS:
        raise BadValueError("L602", f"{value} has more than {_MOST_DIGITS} digits")
    return value


def _is_finite(value: float | Decimal) -> bool:
    """As `math.isfinite`, which takes a Decimal beyond the greatest float for infinite."""
    return value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)


def _read_bool(value: object) -> bool:
    value = _plain(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float | Fraction | Decimal) and value in (0, 1):
        return value == 1
    raise BadValueError("L602", f"{show_raw(value)} is not a bool", "write true or false, or 1 or 0")


def _read_int(value: object, wanted: Int) -> int:
    value = _plain(value)
    whole = isinstance(value, Fraction) and value.denominator == 1 or (
        isinstance(value, float | Decimal) and _is_finite(value) and value == int(value))
    if not isinstance(value, int | float | Fraction | Decimal) or not (whole or isinstance(value, int)):
        raise BadValueError("L602", f"{show_raw(value)} is not an integer")
    number = int(value)
    if (wanted.lo is not None and number < wanted.lo) or (wanted.hi is not None and number > wanted.hi):
        raise BadValueError("L603", f"{show_raw(number)} is outside {wanted}")
    return number


def _read_real(given: object, wanted: Real, numeric: bool) -> Fraction | float:
    value = _plain(given)
    if not isinstance(value, int | float | Fraction | Decimal):
        raise BadValueError("L602", f"{show_raw(value)} is not a number")
    if isinstance(value, float | Decimal) and not _is_finite(value):
        if numeric and wanted == Real():
            return float(value)
        raise BadValueError("L602", f"{value} is not a rational number")
    exact = Fraction(int(value)) if isinstance(value, int) else Fraction(value)
    if wanted.grid is not None and exact % wanted.grid:
        nearest = round(exact / wanted.grid) * wanted.grid
        if not isinstance(value, float) or type(given)(_as_float(nearest)) != given:  # type: ignore[call-arg]
            raise BadValueError("L604", f"{show_raw(value)} is not a multiple of {wanted.grid}",
                           f"the nearest multiple is {show_value(nearest, wanted)}")
        exact = nearest
    if (wanted.lo is not None and exact < wanted.lo) or (wanted.hi is not None and exact > wanted.hi):
        raise BadValueError("L603", f"{show_raw(value)} is outside {wanted}")
    return _as_float(exact) if numeric else exact


def _read_symbol(value: object, wanted: Symbols) -> int:
    value = _plain(value)
    count = len(wanted.names) + wanted.other
    if isinstance(value, str):
        code = wanted.code(value)
        if code is None:
            raise BadValueError("L605", f"{quote_symbol(value)[:60]} is not in the alphabet {_short(str(wanted))}")
        return code
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= int(value) < count:
            return int(value)
        raise BadValueError("L605", f"{value} is not a code of the alphabet {_short(str(wanted))} of {count} symbols")
    raise BadValueError("L602", f"{show_raw(value)} is not a symbol of {_short(str(wanted))}")


def _as_float(x: Fraction) -> float:
    try:
        return float(x)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…" + text[-1]


def show_raw(value: Any) -> str:
    """A value of unknown type in an error message, not longer than a line."""
    if isinstance(value, str):
        return _short(quote_symbol(value[:80]))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > 400:
        return f"an integer of {value.bit_length()} bits"
    if value is None:
        return "null"
    return _short(str(value))


def show_value(value: Value, t: Type) -> str:
    """A value as a program would write it: `true`, `3`, `1/3`, `"a"`, `[1, 2]`."""
    if isinstance(value, tuple):
        elem = t.elem if isinstance(t, Vector) else t
        return "[" + ", ".join(show_value(v, elem) for v in value) + "]"
    match t:
        case Bool():
            return "true" if value else "false"
        case Symbols():
            name = t.name(int(value))
            return "*" if t.other and int(value) == len(t.names) else quote_symbol(name)
        case _:
            return show_raw(value)
