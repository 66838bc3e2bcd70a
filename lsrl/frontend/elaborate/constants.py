"""Expressions whose value must be known at compile time."""

from __future__ import annotations

from fractions import Fraction

from lsrl.diagnostics import Span
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.context import Context
from lsrl.frontend.elaborate.values import Data, Poison, Poisoned, Problem, RecordValue, Static, Text, words_for
from lsrl.types import is_number

__all__ = ["constant_int", "constant_number", "constant_text", "int_of", "require_static"]


def require_static(ctx: Context, value: Static, span: Span, what: str) -> Static:
    """The value, if nothing in it is a stream. Raises Problem L206."""
    if isinstance(value, Poison):
        raise Poisoned
    if isinstance(value, RecordValue):
        raise Problem("L211", f"{what} cannot be a record", span)
    if isinstance(value, Data) and not value.constant:
        raise Problem("L206", f"{what} must be known at compile time, and this changes from token to token", span,
                      help="constants are literals, `const` names, generics and arithmetic on them")
    return value


def constant_number(ctx: Context, e: syntax.Expr, what: str) -> int | Fraction:
    """The value of a constant int or real expression. Raises Problem."""
    from lsrl.frontend.elaborate.expressions import expression

    value = require_static(ctx, expression(ctx, e), e.span, what)
    if isinstance(value, Data) and is_number(value.type) and isinstance(value.value, int | Fraction):
        return value.value
    raise Problem("L201", f"{what} is a number, not {words_for(value)}", e.span)


def int_of(value: Static, span: Span, what: str) -> int:
    """The int that a constant is. Raises Problem."""
    if isinstance(value, Data) and value.constant and is_number(value.type):
        if isinstance(value.value, int | Fraction) and Fraction(value.value).denominator == 1:
            return int(value.value)
    raise Problem("L201", f"{what} is an int, not {words_for(value)}", span)


def constant_int(ctx: Context, e: syntax.Expr, what: str) -> int:
    """The value of a constant int expression. Raises Problem."""
    from lsrl.frontend.elaborate.expressions import expression

    return int_of(require_static(ctx, expression(ctx, e), e.span, what), e.span, what)


def constant_text(value: Static, span: Span, what: str) -> Text:
    """A string constant. Raises Problem."""
    if isinstance(value, Text):
        return value
    if isinstance(value, Poison):
        raise Poisoned
    raise Problem("L206", f"{what} is a text between quotes, known at compile time, not {words_for(value)}", span)
