"""RASP's selectors, and the functions that the standard library builds `width` and `aggregate` from.

A selector is a condition on (key of an earlier token, query of this one). Keys are finite, so the past is a table
over key values: `_selector_size(sel)` joint key values, of which `_selector_key(sel)` is this token's, and
`_selector_picks(sel, k)` tells whether the query of this token selects joint key k.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction

from lsrl.diagnostics import Span
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.calls import arguments, function
from lsrl.frontend.elaborate.constants import constant_int
from lsrl.frontend.elaborate.context import Context
from lsrl.frontend.elaborate.conversion import convert, data
from lsrl.frontend.elaborate.expressions import expression, expressions
from lsrl.frontend.elaborate.indexing import code_of
from lsrl.frontend.elaborate.operations import affine, compare, logic, not_
from lsrl.frontend.elaborate.types import plain, static_type
from lsrl.frontend.elaborate.values import (
    Data,
    OperatorValue,
    Poison,
    Poisoned,
    Problem,
    SelectorValue,
    Static,
    Text,
    words_for,
)
from lsrl.ir.nodes import Table
from lsrl.types import BOOL, INT, Bool, Int, Real, Symbols, Type, Value, is_number, shape, size, values

__all__ = ["combine"]

KEY_LIMIT = 4096  # joint key values: each becomes a counter
_OPERATORS: dict[str, Callable[[Value, Value], object]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}


@function("select")
def _select(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    given = arguments(e, ["keys", "queries", "op"])
    spans = [a.span for a in given.values()]
    keys, queries, op = expressions(ctx, list(given.values()))
    if not isinstance(op, OperatorValue):
        raise Problem("L201", f"`op` of `select` is one of == != < <= > >=, and this is {words_for(op)}", spans[2])
    key = _finite(keys, "keys", spans[0])
    if isinstance(queries, Text):
        queries = convert(ctx, queries, plain(key.type), spans[1], "`queries`")
    query = _finite(queries, "queries", spans[1])
    s, t = key.type, query.type
    if not ((is_number(s) and is_number(t)) or s == t or (isinstance(s, Bool) and isinstance(t, Bool))):
        raise Problem("L202", f"keys are `{s}` and queries `{t}`: they cannot be compared", e.span)
    return SelectorValue((key,), op.op, (0, query))


def _finite(value: Static, what: str, span: Span) -> Data:
    found = data(value, span)
    found = Data(found.node, static_type(found))
    if shape(found.type):
        raise Problem("L205", f"`{what}` of `select` is one value a token, and this is `{found.type}`", span)
    n = size(found.type)
    if n is None:
        raise Problem("L219", f"`{what}` of `select` is of a finite type, and this is `{found.type}`", span,
                      help="give it a range: x: int[lo..hi] = …")
    if n > KEY_LIMIT:
        raise Problem("L210", f"`{found.type}` has {n} values; a selector takes up to {KEY_LIMIT}", span)
    return found


def combine(op: str, parts: list[Static], spans: list[Span]) -> SelectorValue:
    """`and`, `or` of selectors: over the keys of all. Raises Problem for a part that is none."""
    keys: list[Data] = []
    moved: list[SelectorValue] = []
    for part, span in zip(parts, spans, strict=True):
        if isinstance(part, Poison):
            raise Poisoned
        if not isinstance(part, SelectorValue):
            raise Problem("L202", f"`{op}` joins a selector with selectors, and this is {words_for(part)}", span)
        places = []
        for key in part.keys:
            same = [i for i, k in enumerate(keys) if k.node is key.node and k.type == key.type]
            places.append(same[0] if same else len(keys))
            if not same:
                keys.append(key)
        moved.append(_moved(part, places))
    joint = tuple(keys)
    return SelectorValue(joint, op, tuple(_over(part, joint) for part in moved))


def _moved(sel: SelectorValue, places: list[int]) -> SelectorValue:
    """The selector with its keys renumbered."""
    if sel.op in ("and", "or", "not"):
        return SelectorValue(sel.keys, sel.op, tuple(_moved(p, places) for p in sel.parts))
    place, query = sel.parts
    return SelectorValue(sel.keys, sel.op, (places[place], query))


def _over(sel: SelectorValue, keys: tuple[Data, ...]) -> SelectorValue:
    if sel.op in ("and", "or", "not"):
        return SelectorValue(keys, sel.op, tuple(_over(p, keys) for p in sel.parts))
    return SelectorValue(keys, sel.op, sel.parts)


# ---------------------------------------------------------------- for the standard library


def _selector(ctx: Context, e: syntax.Expr) -> SelectorValue:
    value = expression(ctx, e)
    if isinstance(value, Poison):
        raise Poisoned
    if not isinstance(value, SelectorValue):
        raise Problem("L201", f"a selector is needed, and this is {words_for(value)}", e.span,
                      help="select(keys, queries, ==) makes one")
    total = _joint(value)
    if total > KEY_LIMIT:
        raise Problem("L210", f"the keys of this selector have {total} joint values; the limit is {KEY_LIMIT}", e.span)
    return value


def _joint(sel: SelectorValue) -> int:
    total = 1
    for k in sel.keys:
        total *= size(k.type) or 1
    return total


@function("_selector_size")
def _selector_size(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    given = arguments(e, ["sel"])
    return Data(ctx.number(_joint(_selector(ctx, given["sel"])), e.span), INT)


@function("_selector_key")
def _selector_key(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    sel = _selector(ctx, arguments(e, ["sel"])["sel"])
    terms: list[tuple[int | Fraction, Data]] = []
    bias, radix = 0, 1
    for key in reversed(sel.keys):
        code = code_of(ctx, key, e.span)
        if isinstance(key.type, Int):
            bias -= radix * (key.type.lo or 0)
        terms.append((radix, code))
        radix *= size(key.type) or 1
    return affine(ctx, terms, bias, e.span, Int(0, radix - 1))


@function("_selector_picks")
def _selector_picks(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    given = arguments(e, ["sel", "k"])
    sel = _selector(ctx, given["sel"])
    k = constant_int(ctx, given["k"], "`k`")
    if not 0 <= k < _joint(sel):
        raise Problem("L217", f"the index {k} is outside 0..{_joint(sel) - 1}", e.span)
    codes: list[Value] = []
    for key in reversed(sel.keys):
        n = size(key.type) or 1
        codes.append(list(values(key.type))[k % n])
        k //= n
    return _picks(ctx, sel, codes[::-1], e.span)


def _picks(ctx: Context, sel: SelectorValue, keys: list[Value], span: Span) -> Data:
    """Whether the query of this token selects a token whose keys had these values."""
    if sel.op == "not":
        return not_(ctx, _picks(ctx, sel.parts[0], keys, span), span)
    if sel.op in ("and", "or"):
        return logic(ctx, sel.op, [_picks(ctx, p, keys, span) for p in sel.parts], span)
    place, query = sel.parts
    chosen = [bool(_OPERATORS[sel.op](keys[place], q)) for q in values(query.type)]
    if all(chosen) or not any(chosen):
        return Data(ctx.constant(chosen[0], BOOL, span), BOOL)
    t = query.type
    if isinstance(t, Real):
        key = Data(ctx.constant(Fraction(keys[place]), plain(t), span), plain(t))
        return compare(ctx, sel.op, key, query, span)
    if sum(chosen) == 1 and isinstance(t, Symbols):
        only = Data(ctx.constant(chosen.index(True), t, span), t)
        return compare(ctx, "==", query, only, span)
    lo = (t.lo or 0) if isinstance(t, Int) else 0
    return Data(ctx.add(Table((query.node,), (lo,), (len(chosen),), tuple(chosen), BOOL, span)), BOOL)
