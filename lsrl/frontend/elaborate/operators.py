"""The operators of the language: chains, comparisons, logic, signs and powers."""

from __future__ import annotations

from lsrl.diagnostics import Span
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.context import Context
from lsrl.frontend.elaborate.conversion import convert, data
from lsrl.frontend.elaborate.expressions import expression, expressions, handles
from lsrl.frontend.elaborate.operations import (
    affine,
    compare,
    divide,
    floor_div,
    logic,
    matmul,
    multiply,
    not_,
    power,
    require_bool,
    require_number,
    scaled,
)
from lsrl.frontend.elaborate.types import plain
from lsrl.frontend.elaborate.values import (
    Data,
    Items,
    Poison,
    Poisoned,
    Problem,
    SelectorValue,
    Static,
    Text,
)
from lsrl.ir.nodes import Const, Node
from lsrl.types import BOOL, Int, Symbols, Type, scalar_of, shape

__all__ = ["compare_values"]


@handles(syntax.Chain)
def _chain(ctx: Context, e: syntax.Chain, expected: Type | None) -> Static:
    parts = [e.first, *[x for _, x in e.rest]]
    ops = [op for op, _ in e.rest]
    operands: list[Data] = []
    for part, op in zip(parts, [ops[0], *ops], strict=True):
        with ctx.recover():
            operands.append(_operand(expression(ctx, part), op, part.span))
    if len(operands) < len(parts):
        raise Poisoned
    if ops[0] in "+-":
        return affine(ctx, [(1, operands[0]), *[(1 if op == "+" else -1, v)
                                               for op, v in zip(ops, operands[1:], strict=True)]], 0, e.span)
    result = operands[0]
    for op, value, part in zip(ops, operands[1:], parts[1:], strict=True):
        span = e.span if part is parts[-1] else e.first.span.to(part.span)
        result = _product(ctx, op, result, value, span)
    return result


def _operand(value: Static, op: str, span: Span) -> Data:
    found = data(value, span)
    require_number(found, f"`{op}`", span)
    return found


def _product(ctx: Context, op: str, a: Data, b: Data, span: Span) -> Data:
    match op:
        case "*":
            return multiply(ctx, a, b, span)
        case "/":
            return divide(ctx, a, b, span)
        case "@":
            return matmul(ctx, a, b, span)
        case _:
            return floor_div(ctx, op, a, b, span)


@handles(syntax.Negate)
def _negate(ctx: Context, e: syntax.Negate, expected: Type | None) -> Static:
    return scaled(ctx, _operand(expression(ctx, e.arg), "-", e.arg.span), -1, e.span)


@handles(syntax.Power)
def _power(ctx: Context, e: syntax.Power, expected: Type | None) -> Static:
    base, exponent = expressions(ctx, [e.base, e.exponent])
    return power(ctx, _operand(base, "**", e.base.span), _operand(exponent, "**", e.exponent.span), e.span)


@handles(syntax.Comparison)
def _comparison(ctx: Context, e: syntax.Comparison, expected: Type | None) -> Static:
    parts = [e.first, *[x for _, x in e.rest]]
    values = expressions(ctx, parts)
    pairs = [compare_values(ctx, op, values[i], values[i + 1], (parts[i].span, parts[i + 1].span),
                            e.span if len(e.rest) == 1 else parts[i].span.to(parts[i + 1].span))
             for i, (op, _) in enumerate(e.rest)]
    return pairs[0] if len(pairs) == 1 else logic(ctx, "and", pairs, e.span)


def compare_values(ctx: Context, op: str, a: Static, b: Static, spans: tuple[Span, Span], span: Span) -> Data:
    """a op b, where a text takes the alphabet of the other side. Raises Problem."""
    if isinstance(a, Text) and isinstance(b, Text):
        if op not in ("==", "!="):
            raise Problem("L202", f"`{op}` takes numbers, and these are symbols", span)
        return Data(ctx.constant((a.text == b.text) == (op == "=="), BOOL, span), BOOL)
    if isinstance(b, Text | Items) and isinstance(a, Data):
        b = _as_other(ctx, b, a, spans[1])
    elif isinstance(a, Text | Items) and isinstance(b, Data):
        a = _as_other(ctx, a, b, spans[0])
    return compare(ctx, op, data(a, spans[0]), data(b, spans[1]), span)


def _as_other(ctx: Context, text: Text | Items, other: Data, span: Span) -> Data:
    scalar = scalar_of(other.type)
    if not isinstance(scalar, Symbols):
        raise Problem("L202", f"`{other.type}` is compared with a symbol", span)
    wanted = scalar if isinstance(text, Text) else plain(other.type)
    return convert(ctx, text, wanted, span, "the other side")


@handles(syntax.Not)
def _not(ctx: Context, e: syntax.Not, expected: Type | None) -> Static:
    value = expression(ctx, e.arg)
    if isinstance(value, SelectorValue):
        return SelectorValue(value.keys, "not", (value,))
    found = data(value, e.arg.span)
    t = scalar_of(found.type)
    if isinstance(t, Int) and t.lo is not None and t.hi is not None and t.lo >= 0 and t.hi <= 1:
        return affine(ctx, [(-1, found)], 1, e.span, Int(0, 1))  # LSRL's truth values: not x is 1 - x
    require_bool(found, "`not`", e.arg.span)
    return not_(ctx, found, e.span)


@handles(syntax.BoolOp)
def _bool_op(ctx: Context, e: syntax.BoolOp, expected: Type | None) -> Static:
    first = expression(ctx, e.args[0])
    if isinstance(first, Poison):
        expressions(ctx, list(e.args[1:]))
        raise Poisoned
    if isinstance(first, SelectorValue):
        from lsrl.frontend.elaborate.selectors import combine

        return combine(e.op, expressions(ctx, list(e.args)), [a.span for a in e.args])
    args: list[Data] = []
    failed = False
    entered = 0
    try:
        for i, part in enumerate(e.args):
            value = first if i == 0 else expression(ctx, part)
            found: Data | None = None
            if not isinstance(value, Poison):
                with ctx.recover():
                    found = data(value, part.span)
                    require_bool(found, f"`{e.op}`", part.span)
                    args.append(found)
            failed = failed or found is None or not args or args[-1] is not found
            if found is not None and isinstance(found.node, Const) and found.node.value == (e.op == "or"):
                break  # decided at compile time: what follows need not make sense
            if found is not None and not shape(found.type) and not failed:
                ctx.lazy_guards.append(_guard(ctx, e.op, found.node, part.span))
                entered += 1
    finally:
        del ctx.lazy_guards[len(ctx.lazy_guards) - entered:]
    if failed:
        raise Poisoned
    return logic(ctx, e.op, args, e.span)


def _guard(ctx: Context, op: str, node: Node, span: Span) -> _Thunk:
    """Where the operands after this one count: after `and` where it holds, after `or` where it does not."""
    return _Thunk(ctx, op, node, span)


class _Thunk:
    """A guard that is made into nodes only if a check needs it."""

    __slots__ = ("ctx", "node", "op", "span")

    def __init__(self, ctx: Context, op: str, node: Node, span: Span) -> None:
        self.ctx, self.op, self.node, self.span = ctx, op, node, span

    def __call__(self) -> Node:
        return self.node if self.op == "and" else self.ctx.negate(self.node, self.span)


