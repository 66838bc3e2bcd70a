"""Random well-typed program texts: what expressions are made of, and intervals of numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from lsrl.types import Int, Real, Type

Number = int | Fraction
GRID = Fraction(1, 4)
LARGEST = 64  # bound of a finite program's intermediate values
WIDEST = 1000  # bound of a product
# How tightly an operator binds; an operand of a looser one stands in parentheses.
CHOICE, OR, AND, NOT, COMPARE, SUM, PRODUCT, UNARY, POWER, POSTFIX = range(10)


@dataclass(frozen=True)
class Expr:
    """The text of an expression, how tightly its outermost operator binds, and what is known of its values.

    type: bool, an alphabet, a vector; of numbers Int or Real with the interval, an end None where it is open.
    """

    text: str
    type: Type
    level: int = POSTFIX

    def at(self, level: int) -> str:
        """The text as an operand of an operator of that level."""
        return self.text if self.level >= level else f"({self.text})"


@dataclass(frozen=True)
class Name:
    """A name in scope. declared: the type is the one written in the program, not only the interval known here."""

    text: str
    type: Type
    declared: bool = True


@dataclass
class Scope:
    """The names that can be read, innermost block last, and what may be written there."""

    names: list[Name] = field(default_factory=list)

    def of(self, wanted: Callable[[Type], bool]) -> list[Name]:
        return [n for n in self.names if wanted(n.type)]


@dataclass(frozen=True)
class Function:
    """A def of the program that can be called.

    constants: how many `const` ints, from 1 to 4, follow its parameters. field: the one to take, where the result is a
    record. init: does a constant of the result's type come last?
    """

    name: str
    parameters: tuple[Type, ...]
    constants: int
    result: Type
    field: str = ""
    init: bool = False


def interval(t: Type) -> tuple[Fraction | None, Fraction | None]:
    """The ends of a number type."""
    assert isinstance(t, Int | Real)
    return None if t.lo is None else Fraction(t.lo), None if t.hi is None else Fraction(t.hi)


def number(lo: Number | None, hi: Number | None, real: bool) -> Type:
    """The number type of an interval; reals lie on GRID."""
    if real:
        return Real(None if lo is None else Fraction(lo), None if hi is None else Fraction(hi), GRID)
    return Int(None if lo is None else int(lo), None if hi is None else int(hi))


def add_ends(a: Fraction | None, b: Fraction | None) -> Fraction | None:
    return None if a is None or b is None else a + b


def constant_text(value: Number) -> str:
    """A number as the language writes it; the sign binds as unary minus."""
    if isinstance(value, Fraction) and value.denominator != 1:
        return f"{value.numerator}/{value.denominator}"
    return str(int(value))


def minus(a: Fraction | None) -> Fraction | None:
    return None if a is None else -a


def times(a: tuple[Fraction | None, Fraction | None],
           b: tuple[Fraction | None, Fraction | None]) -> tuple[Fraction | None, Fraction | None]:
    """The interval of a product."""
    zero = Fraction(0)
    if (zero, zero) in (a, b):
        return zero, zero
    if None in (*a, *b):
        return None, None
    products = [x * y for x in a for y in b if x is not None and y is not None]
    return min(products), max(products)


def hull(a: Type, b: Type) -> Type:
    """The smallest type that holds the values of both, of one kind."""
    if not isinstance(a, Int | Real) or not isinstance(b, Int | Real):
        return a
    (lo, hi), (low, high) = interval(a), interval(b)
    return number(None if lo is None or low is None else min(lo, low),
                  None if hi is None or high is None else max(hi, high), isinstance(a, Real))
