"""Expressions: the dispatcher, names, literals, choices, vectors and records.

`expression` gives the value of a syntax tree. Each kind of node has one handler, registered by `handles`, here or in
the module of its subject. A handler raises Problem for an error; `expression` reports it and gives POISON, so that
one error hides no other. `expected` is the type that the place wants, where it is known: it gives string literals
their alphabet, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from lsrl.diagnostics import Span, did_you_mean
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.constants import constant_int
from lsrl.frontend.elaborate.context import Context
from lsrl.frontend.elaborate.conversion import data, joined, poisoned, symbol_constant, to_real
from lsrl.frontend.elaborate.names import entity_value, look_up
from lsrl.frontend.elaborate.operations import choose, require_bool
from lsrl.frontend.elaborate.scope import ModuleEntity
from lsrl.frontend.elaborate.types import join, plain
from lsrl.frontend.elaborate.values import (
    POISON,
    Data,
    Items,
    OperatorValue,
    Poison,
    Poisoned,
    Problem,
    RecordValue,
    StateSlot,
    Static,
    Text,
    words_for,
)
from lsrl.ir.nodes import Node
from lsrl.types import BOOL, INT, REAL, Real, Record, Symbols, Type, Vector, scalar_of, shape

__all__ = ["Handler", "choose_values", "condition", "each_value", "expression", "expressions", "handles", "stream"]

Handler = Callable[[Context, Any, "Type | None"], Static]
_H = TypeVar("_H", bound=Handler)
_HANDLERS: dict[type, Handler] = {}

UNROLL_LIMIT = 100_000  # values of one range that is unrolled


def handles(kind: type) -> Callable[[_H], _H]:
    """Registers the handler of a kind of syntax node."""

    def register(f: _H) -> _H:
        _HANDLERS[kind] = f
        return f

    return register


def expression(ctx: Context, e: syntax.Expr, expected: Type | None = None) -> Static:
    """The value of an expression; POISON after an error, which is reported."""
    try:
        return _HANDLERS[type(e)](ctx, e, expected)
    except Problem as p:
        ctx.report(p)
    except Poisoned:
        pass
    return POISON


def expressions(ctx: Context, parts: list[syntax.Expr], expected: Type | None = None) -> list[Static]:
    """The values of several expressions, each with its own errors. Raises Poisoned if one of them has an error."""
    values = [expression(ctx, e, expected) for e in parts]
    if poisoned(values):
        raise Poisoned
    return values


def stream(ctx: Context, e: syntax.Expr, expected: Type | None = None) -> Data:
    """The value of an expression that must be a stream or constant. Raises Problem or Poisoned."""
    value = expression(ctx, e, expected)
    if isinstance(value, Text) and isinstance(scalar := scalar_of(expected) if expected else None, Symbols):
        return symbol_constant(ctx, value.text, scalar, e.span)
    return data(value, e.span)


def condition(ctx: Context, e: syntax.Expr) -> Data:
    """The value of a scalar condition. Raises Problem or Poisoned."""
    value = stream(ctx, e)
    if value.type != BOOL:
        require_bool(value, "a condition", e.span)
        raise Problem("L205", f"a condition is one bool, and this is `{value.type}`", e.span,
                      help="any(…) or all(…) make one bool of a vector")
    return value


@handles(syntax.Name)
def _name(ctx: Context, e: syntax.Name, expected: Type | None) -> Static:
    found = look_up(ctx, e)
    if isinstance(found, StateSlot):
        return Data(ctx.current_node(found), found.type)
    return found


@handles(syntax.Number)
def _number(ctx: Context, e: syntax.Number, expected: Type | None) -> Static:
    t = INT if isinstance(e.value, int) else REAL
    return Data(ctx.constant(e.value, t, e.span), t)


@handles(syntax.Truth)
def _truth(ctx: Context, e: syntax.Truth, expected: Type | None) -> Static:
    return Data(ctx.constant(e.value, BOOL, e.span), BOOL)


@handles(syntax.String)
def _string(ctx: Context, e: syntax.String, expected: Type | None) -> Static:
    return Text(e.value, e.span)


@handles(syntax.Operator)
def _operator(ctx: Context, e: syntax.Operator, expected: Type | None) -> Static:
    return OperatorValue(e.op)


@handles(syntax.IfElse)
def _if_else(ctx: Context, e: syntax.IfElse, expected: Type | None) -> Static:
    value = expression(ctx, e.condition)
    if isinstance(value, Data) and value.constant and value.type == BOOL:
        return expression(ctx, e.then if value.value else e.other, expected)
    problem: Problem | None = None
    try:
        test: Data | None = data(value, e.condition.span)
        if test is not None:
            require_bool(test, "a condition", e.condition.span)
    except Problem as p:
        problem, test = p, None
    except Poisoned:
        test = None
    if problem is not None:
        ctx.report(problem)
    if test is None:
        expressions(ctx, [e.then, e.other], expected)
        raise Poisoned
    node = test.node
    with ctx.used_where(lambda: node):
        then = expression(ctx, e.then, expected)
    with ctx.used_where(lambda: _negated(ctx, node, e.span)):
        other = expression(ctx, e.other, expected)
    if poisoned([then, other]):
        raise Poisoned
    return choose_values(ctx, test, then, other, e.span, "the branches", expected)


def _negated(ctx: Context, node: Node, span: Span) -> Node:
    """`not` of a guard; a vector guard as it is, since guards of vectors are left out."""
    return node if shape(node.type) else ctx.negate(node, span)


def choose_values(ctx: Context, test: Data, then: Static, other: Static, span: Span, what: str,
                  expected: Type | None) -> Static:
    """A choice between two values; of records, field by field. Raises Problem."""
    if isinstance(then, RecordValue) and isinstance(other, RecordValue):
        if list(then.fields) != list(other.fields):
            raise Problem("L201", f"{what} are different records: `{then.type}` and `{other.type}`", span)
        fields: dict[str, Data] = {}
        for name, value in then.fields.items():
            chosen = choose_values(ctx, test, value, other.fields[name], span, f"the fields `{name}` of {what}", None)
            fields[name] = data(chosen, span)
        return RecordValue(fields)
    if expected is not None and isinstance(then, Text) and isinstance(other, Text):
        scalar = scalar_of(expected)
        if isinstance(scalar, Symbols):
            then = symbol_constant(ctx, then.text, scalar, span)
            other = symbol_constant(ctx, other.text, scalar, span)
    a, b = joined(ctx, [then, other], span, what)
    return choose(ctx, test, a, b, span)


@handles(syntax.VectorLiteral)
def _vector(ctx: Context, e: syntax.VectorLiteral, expected: Type | None) -> Static:
    if not e.elements:
        raise Problem("L205", "a vector has at least one element", e.span)
    inner = expected.elem if isinstance(expected, Vector) else expected
    return vector_of(ctx, expressions(ctx, list(e.elements), inner), e.span, inner)


def vector_of(ctx: Context, values: list[Static], span: Span, expected: Type | None) -> Static:
    """The vector of the values, which must be of one kind and size. Raises Problem."""
    scalar = scalar_of(expected) if expected is not None else None
    texts = tuple(v for v in values if isinstance(v, Text))
    if len(texts) == len(values) and not isinstance(scalar, Symbols):
        return Items(texts)
    if isinstance(scalar, Symbols):
        values = [symbol_constant(ctx, v.text, scalar, span) if isinstance(v, Text) else v for v in values]
    parts = joined(ctx, values, span, "the elements of a vector")
    if len({shape(p.type) for p in parts}) > 1:
        raise Problem("L205", "the elements of a vector have different sizes", span)
    return pack_data(ctx, parts, span)


def pack_data(ctx: Context, parts: list[Data], span: Span) -> Data:
    """The vector of values of one kind and size, of the type that holds them all."""
    static, exact = parts[0].type, parts[0].node.type
    for p in parts[1:]:
        static = static if p.type is static else join(static, p.type) or plain(static)
        exact = exact if p.node.type is exact else join(exact, p.node.type) or plain(exact)
    nodes = [p.node for p in parts]
    if isinstance(scalar_of(exact), Real):
        nodes = [to_real(ctx, n, span) for n in nodes]
    return Data(ctx.pack(nodes, Vector(exact, len(parts)), span), Vector(static, len(parts)))


@handles(syntax.Comprehension)
def _comprehension(ctx: Context, e: syntax.Comprehension, expected: Type | None) -> Static:
    inner = expected.elem if isinstance(expected, Vector) else expected
    values: list[Static] = []
    for item in each_value(ctx, e.source):
        ctx.expand(e.span)
        ctx.frame.blocks.append({e.name.id: item})
        try:
            values.append(expression(ctx, e.value, inner))
        finally:
            ctx.frame.blocks.pop()
        if values[-1] is POISON:
            raise Poisoned
    if not values:
        raise Problem("L205", "a vector has at least one element, and this range is empty", e.source.span)
    return vector_of(ctx, values, e.span, inner)


def each_value(ctx: Context, source: syntax.Expr | syntax.Range) -> list[Static]:
    """The values that `for` runs over: ints of a constant range, or the elements of a vector. Raises Problem."""
    if isinstance(source, syntax.Range):
        lo, hi = constant_int(ctx, source.lo, "the lower bound"), constant_int(ctx, source.hi, "the upper bound")
        if hi - lo >= UNROLL_LIMIT:
            raise Problem("L210", f"{lo}..{hi} has more than {UNROLL_LIMIT} values, and each is unrolled", source.span)
        return [Data(ctx.number(i, source.span), INT) for i in range(lo, hi + 1)]
    value = expression(ctx, source)
    if isinstance(value, Items):
        return list(value.items)
    found = data(value, source.span)
    if not isinstance(found.type, Vector):
        raise Problem("L201", f"`for` runs over a range or a vector, and this is `{found.type}`", source.span,
                      help="write for i in lo..hi")
    elem = found.type.elem
    return [Data(n, elem) for n in ctx.elements(found.node, source.span)]


@handles(syntax.RecordLiteral)
def _record(ctx: Context, e: syntax.RecordLiteral, expected: Type | None) -> Static:
    wanted = dict(expected.fields) if isinstance(expected, Record) else {}
    fields: dict[str, Data] = {}
    failed = False
    for name, part in e.fields:
        if name.id in fields:
            ctx.error("L102", f"the field `{name.id}` stands twice", name.span)
        value: Static = POISON
        with ctx.recover():
            value = stream(ctx, part, wanted.get(name.id))
        if isinstance(value, Data):
            fields[name.id] = value
        else:
            failed = True
    if failed:
        raise Poisoned
    return RecordValue(fields)


@handles(syntax.Field)
def _field(ctx: Context, e: syntax.Field, expected: Type | None) -> Static:
    if isinstance(e.value, syntax.Name) and ctx.frame.look_up(e.value.id) is None:
        module = ctx.frame.module.look_up(e.value.id)
        if isinstance(module, ModuleEntity):
            name = syntax.Name(f"{e.value.id}.{e.name.id}", e.span)
            entity = ctx.frame.module.look_up(name.id)
            return look_up_value(ctx, name) if entity is None else entity_value(ctx, entity, name)
    value = expression(ctx, e.value)
    if isinstance(value, Poison):
        raise Poisoned
    if not isinstance(value, RecordValue):
        raise Problem("L201", f"only a record has fields, and this is {words_for(value)}", e.value.span)
    if e.name.id not in value.fields:
        raise Problem("L101", f"the record `{value.type}` has no field `{e.name.id}`", e.name.span,
                      help=did_you_mean(e.name.id, value.fields))
    return value.fields[e.name.id]


def look_up_value(ctx: Context, name: syntax.Name) -> Static:
    """The value of a dotted name that is unknown: raises Problem."""
    found = look_up(ctx, name)
    assert not isinstance(found, StateSlot)
    return found
