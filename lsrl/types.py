"""The types of streams, shared by the frontend, the graph and the targets.

How a value of each type is held in Python, everywhere in this package:
`bool` → bool, `int` → int, `real` → Fraction (float in numeric programs), symbols → int, the code of the
symbol in its alphabet (`*` has the last code), vectors → tuple.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias, TypeVar

__all__ = ["BOOL", "BYTE", "INT", "REAL", "Bool", "Int", "Real", "Record", "Scalar", "Symbols", "Type", "Value",
           "Vector", "first_value", "is_finite", "is_number", "is_scalar", "quote_symbol", "scalar_of", "shape",
           "size", "values", "with_shape"]

_N = TypeVar("_N", int, Fraction)
Value: TypeAlias = "bool | int | Fraction | float | tuple[Value, ...]"


@dataclass(frozen=True, slots=True)
class Bool:
    """Truth values."""

    def __str__(self) -> str:
        return "bool"


@dataclass(frozen=True, slots=True)
class Int:
    """Integers from lo to hi, both included; None means unbounded. `raw` marks `byte`, read from raw bytes."""

    lo: int | None = None
    hi: int | None = None
    raw: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        if self.lo is None and self.hi is None:
            return "int"
        if self.raw:
            return "byte"
        return f"int[{'' if self.lo is None else self.lo}..{'' if self.hi is None else self.hi}]"


@dataclass(frozen=True, slots=True)
class Real:
    """Rationals from lo to hi; all multiples of `grid` if that is given."""

    lo: Fraction | None = None
    hi: Fraction | None = None
    grid: Fraction | None = None

    def __str__(self) -> str:
        if self.lo is None and self.hi is None and self.grid is None:
            return "real"
        by = "" if self.grid is None else f" by {self.grid}"
        return f"real[{'' if self.lo is None else self.lo}..{'' if self.hi is None else self.hi}{by}]"


@dataclass(frozen=True, slots=True)
class Symbols:
    """A finite alphabet, in the order of its codes; `other` adds `*`, every symbol not named, as the last code."""

    names: tuple[str, ...]
    other: bool = False

    def code(self, symbol: str) -> int | None:
        """The code of a symbol, that of `*` for one not named, or None where there is no `*`."""
        try:
            return self.names.index(symbol)
        except ValueError:
            return len(self.names) if self.other else None

    def name(self, code: int) -> str:
        """The symbol of a code; `*` for the last one of an alphabet that has it."""
        return self.names[code] if code < len(self.names) else "*"

    def __str__(self) -> str:
        return "{" + ", ".join([*_ranges(self.names), *(["*"] if self.other else [])]) + "}"


@dataclass(frozen=True, slots=True)
class Vector:
    """`size` values of one type; a matrix is a vector of vectors."""

    elem: Type
    size: int

    def __str__(self) -> str:
        scalar, dims = scalar_of(self), shape(self)
        return f"{scalar}[{', '.join(map(str, dims))}]"


@dataclass(frozen=True, slots=True)
class Record:
    """Named fields. Only as the result of a definition and the value of a call: the graph has none."""

    fields: tuple[tuple[str, Type], ...]

    def __str__(self) -> str:
        return "(" + ", ".join(f"{n}: {t}" for n, t in self.fields) + ")"


Scalar: TypeAlias = Bool | Int | Real | Symbols
Type: TypeAlias = Bool | Int | Real | Symbols | Vector | Record

BOOL, INT, REAL = Bool(), Int(), Real()
BYTE = Int(0, 255, raw=True)


def is_scalar(t: Type) -> bool:
    return isinstance(t, Bool | Int | Real | Symbols)


def is_number(t: Type) -> bool:
    """True of int and real scalars."""
    return isinstance(t, Int | Real)


def scalar_of(t: Type) -> Type:
    """The type of the innermost elements."""
    while isinstance(t, Vector):
        t = t.elem
    return t


def shape(t: Type) -> tuple[int, ...]:
    """() of a scalar, (n,) of a vector, (n, m) of a matrix."""
    dims: list[int] = []
    while isinstance(t, Vector):
        dims.append(t.size)
        t = t.elem
    return tuple(dims)


def with_shape(scalar: Type, dims: tuple[int, ...]) -> Type:
    """The vector type with those dimensions over a scalar type; inverse of `scalar_of` and `shape`."""
    for n in reversed(dims):
        scalar = Vector(scalar, n)
    return scalar


def size(t: Type) -> int | None:
    """The number of values of a type, None if there is no end to them."""
    match t:
        case Bool():
            return 2
        case Int(lo=lo, hi=hi):
            return None if lo is None or hi is None else hi - lo + 1
        case Real(lo=lo, hi=hi, grid=g):
            if lo is None or hi is None or g is None:
                return None
            return math.floor(hi / g) - math.ceil(lo / g) + 1
        case Symbols(names=names, other=other):
            return len(names) + other
        case Vector(elem=elem, size=n):
            one = size(elem)
            return None if one is None else one**n
        case Record(fields=fields):
            sizes = [size(f) for _, f in fields]
            return None if None in sizes else math.prod(s for s in sizes if s is not None)


def is_finite(t: Type) -> bool:
    return size(t) is not None


def values(t: Type) -> Iterator[Value]:
    """Every value of a finite scalar type, in the order of its codes."""
    match t:
        case Bool():
            yield from (False, True)
        case Int(lo=int(lo), hi=int(hi)):
            yield from range(lo, hi + 1)
        case Real(lo=Fraction() as lo, hi=Fraction() as hi, grid=Fraction() as g):
            yield from (g * i for i in range(math.ceil(lo / g), math.floor(hi / g) + 1))
        case Symbols():
            yield from range(len(t.names) + t.other)
        case _:
            raise ValueError(f"{t} has no list of values")


def first_value(t: Type) -> Value:
    """A value of the type: the one nearest zero, false, or the first symbol."""
    match t:
        case Bool():
            return False
        case Int(lo=lo, hi=hi):
            return _clamp(0, lo, hi)
        case Real(lo=lo, hi=hi):
            return _clamp(Fraction(0), lo, hi)
        case Symbols():
            return 0
        case Vector(elem=elem, size=n):
            return (first_value(elem),) * n
        case Record():
            raise ValueError("a record is not a value of a stream")


def _clamp(x: _N, lo: _N | None, hi: _N | None) -> _N:
    x = x if lo is None else max(x, lo)
    return x if hi is None else min(x, hi)


_ESCAPES = {"\n": "\\n", "\t": "\\t", "\\": "\\\\", '"': '\\"', "\r": "\\r"}


def quote_symbol(symbol: str) -> str:
    """A symbol as the language writes it, between double quotes."""
    return '"' + "".join(
        _ESCAPES.get(c) or (c if c.isprintable() else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{{{ord(c):x}}}")
        for c in symbol
    ) + '"'


def _follows(a: str, b: str) -> bool:
    return len(a) == len(b) == 1 and ord(b) == ord(a) + 1


def _ranges(names: tuple[str, ...]) -> list[str]:
    """The names, with runs of four or more neighbouring characters written `"a".."z"`."""
    out: list[str] = []
    i = 0
    while i < len(names):
        j = i
        while j + 1 < len(names) and _follows(names[j], names[j + 1]):
            j += 1
        if j - i >= 3:
            out.append(f"{quote_symbol(names[i])}..{quote_symbol(names[j])}")
            i = j + 1
        else:
            out.append(quote_symbol(names[i]))
            i += 1
    return out
