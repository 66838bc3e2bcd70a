"""The language's own functions on numbers, bools and vectors."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from lsrl.diagnostics import Span
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.calls import arguments, function
from lsrl.frontend.elaborate.constants import constant_int
from lsrl.frontend.elaborate.context import Context
from lsrl.frontend.elaborate.conversion import data, to_real
from lsrl.frontend.elaborate.expressions import expressions, pack_data, vector_of
from lsrl.frontend.elaborate.indexing import code_of
from lsrl.frontend.elaborate.operations import (
    affine,
    choose,
    compare,
    logic,
    min_max,
    multiply,
    require_bool,
    require_number,
    scaled,
    unary,
)
from lsrl.frontend.elaborate.types import ELEMENT_LIMIT, join, plain, type_of_argument
from lsrl.frontend.elaborate.values import Data, Problem, SelectorValue, Static, Text
from lsrl.ir.nodes import UNARY_FUNCTIONS, Const, MinMax
from lsrl.types import (
    INT,
    REAL,
    Bool,
    Int,
    Real,
    Symbols,
    Type,
    Vector,
    is_finite,
    scalar_of,
    shape,
    size,
    values,
    with_shape,
)

__all__: list[str] = []

VALUE_LIMIT = 65_536  # values of a type that onehot spells out


def _streams(ctx: Context, e: syntax.Call, names: list[str]) -> list[Data]:
    given = arguments(e, names)
    found = expressions(ctx, list(given.values()))
    return [data(v, a.span) for v, a in zip(found, given.values(), strict=True)]


def _positional(e: syntax.Call) -> list[syntax.Expr]:
    """The arguments of a function that takes any number of them. Raises Problem."""
    if e.named:
        raise Problem("L104", f"`{e.function.id}` takes its arguments without names", e.named[0][0].span)
    given = arguments(e, [f"argument {i + 1}" for i in range(len(e.args))])
    if not given:
        raise Problem("L104", f"`{e.function.id}` takes at least one argument", e.span)
    return list(given.values())


# ---------------------------------------------------------------- conversions


@function("int")
def _int(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    (x,) = _streams(ctx, e, ["x"])
    t = scalar_of(x.type)
    if isinstance(t, Int):
        return x
    if isinstance(t, Bool):
        return affine(ctx, [(1, x)], 0, e.span, Int(0, 1))
    if isinstance(t, Real) and isinstance(x.node, Const) and not shape(x.type):
        value = Fraction(x.node.value) if not isinstance(x.node.value, tuple) else Fraction(0)
        if value.denominator == 1:
            return Data(ctx.number(int(value), e.span), INT)
        raise Problem("L204", f"{value} is not an int", e.span, help="// 1 rounds down")
    help = "// 1 rounds down" if isinstance(t, Real) else "write code(…) for the index of a symbol"
    raise Problem("L202", f"`int` takes bools, and this is `{x.type}`", e.span, help=help)


@function("real")
def _real(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    (x,) = _streams(ctx, e, ["x"])
    t = scalar_of(x.type)
    if isinstance(t, Bool):
        return affine(ctx, [(1, x)], 0, e.span, REAL)
    require_number(x, "`real`", e.span)
    return x if isinstance(t, Real) else Data(to_real(ctx, x.node, e.span), with_shape(REAL, shape(x.type)))


@function("bool")
def _bool(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    (x,) = _streams(ctx, e, ["x"])
    if isinstance(scalar_of(x.type), Bool):
        return x
    require_number(x, "`bool`", e.span)
    return compare(ctx, "!=", x, Data(ctx.number(0, e.span), INT), e.span)


@function("size")
def _size(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    if len(e.args) != 1 or e.named:
        raise Problem("L104", "`size` takes one type", e.span)
    t = type_of_argument(ctx, e.args[0])
    if t is None:
        raise Problem("L201", "`size` takes a type, and this is a value", e.span,
                      help="name its type with a generic: def f[K](x: K) has size(K), def f[n](v: int[n]) has n")
    n = size(t)
    if n is None:
        raise Problem("L219", f"there is no end of values of `{t}`", e.span, help="give it a range: int[lo..hi]")
    return Data(ctx.number(n, e.span), INT)


@function("onehot")
def _onehot(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    (x,) = _streams(ctx, e, ["x"])
    n = _finite(x, "onehot", e.span)
    t = scalar_of(x.type)
    bits: list[Data] = []
    for v in values(t):
        here = compare(ctx, "==", x, Data(ctx.constant(v, t if isinstance(t, Symbols | Bool) else plain(t), e.span),
                                          plain(t)), e.span)
        bits.append(affine(ctx, [(1, here)], 0, e.span, Int(0, 1)))
    assert len(bits) == n
    return pack_data(ctx, bits, e.span)


def _finite(x: Data, name: str, span: Span) -> int:
    """The number of values of a finite scalar. Raises Problem."""
    if shape(x.type):
        raise Problem("L205", f"`{name}` takes one value, and this is `{x.type}`", span)
    n = size(x.type)
    if n is None or not is_finite(x.type):
        raise Problem("L219", f"`{name}` takes a value of a finite type, and this is `{x.type}`", span,
                      help="give it a range: x: int[lo..hi] = …")
    if n > VALUE_LIMIT:
        raise Problem("L210", f"`{x.type}` has {n} values; `{name}` takes up to {VALUE_LIMIT}", span)
    return n


@function("code")
def _code(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    (x,) = _streams(ctx, e, ["x"])
    if shape(x.type) or size(x.type) is None:
        raise Problem("L219", f"`code` takes a value of a finite type, and this is `{x.type}`", e.span)
    found = code_of(ctx, x, e.span)
    if isinstance(x.type, Int):
        return affine(ctx, [(1, found)], -(x.type.lo or 0), e.span, Int(0, (size(x.type) or 1) - 1))
    return found


# ---------------------------------------------------------------- scalar functions


@function("abs")
def _abs(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    (x,) = _streams(ctx, e, ["x"])
    require_number(x, "`abs`", e.span)
    return min_max(ctx, "max", [x, scaled(ctx, x, -1, e.span)], e.span)


@function("sign")
def _sign(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    (x,) = _streams(ctx, e, ["x"])
    zero = Data(ctx.number(0, e.span), INT)
    return affine(ctx, [(1, compare(ctx, ">", x, zero, e.span)), (-1, compare(ctx, "<", x, zero, e.span))], 0, e.span,
                  Int(-1, 1))


@function("step")
def _step(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    (x,) = _streams(ctx, e, ["x"])
    require_number(x, "`step`", e.span)
    return affine(ctx, [(1, compare(ctx, ">", x, Data(ctx.number(0, e.span), INT), e.span))], 0, e.span, Int(0, 1))


@function("relu")
def _relu(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    (x,) = _streams(ctx, e, ["x"])
    require_number(x, "`relu`", e.span)
    zero = Data(ctx.number(0, e.span), INT)
    return min_max(ctx, "max", [x, zero], e.span)


@function("clamp")
def _clamp(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    x, lo, hi = _streams(ctx, e, ["x", "lo", "hi"])
    result = min_max(ctx, "min", [min_max(ctx, "max", [x, lo], e.span), hi], e.span)
    if lo.constant and hi.constant and not shape(lo.type) and not shape(hi.type):
        a, b = lo.value, hi.value
        if isinstance(a, int | Fraction) and isinstance(b, int | Fraction):
            if a > b:
                raise Problem("L213", f"the range {a}..{b} is empty", e.span)
            t = scalar_of(result.type)
            narrow = Int(int(a), int(b)) if isinstance(t, Int) else Real(Fraction(a), Fraction(b))
            return _narrowed(ctx, result, narrow)
    return result


def _narrowed(ctx: Context, x: Data, scalar: Type) -> Data:
    """A node that certainly keeps to a narrower type, given that type."""
    if not isinstance(x.node, MinMax):
        return x
    t = with_shape(scalar, shape(x.type))
    return Data(ctx.add(MinMax(x.node.op, x.node.args, t, x.node.span)), t)


def _transcendental(name: str) -> Callable[[Context, syntax.Call, Type | None], Static]:
    def f(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
        (x,) = _streams(ctx, e, ["x"])
        return unary(ctx, name, x, e.span)

    return f


for _name in UNARY_FUNCTIONS:
    function(_name)(_transcendental(_name))


# ---------------------------------------------------------------- min, max and reductions


def _extreme(op: str) -> Callable[[Context, syntax.Call, Type | None], Static]:
    def f(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
        parts = _positional(e)
        args = [data(v, p.span) for v, p in zip(expressions(ctx, parts), parts, strict=True)]
        if len(args) == 1:
            if not shape(args[0].type):
                raise Problem("L104", f"`{op}` takes several values or one vector", e.span)
            return min_max(ctx, op, _elements(ctx, args[0], e.span), e.span)
        return min_max(ctx, op, args, e.span)

    return f


function("min")(_extreme("min"))
function("max")(_extreme("max"))


def _elements(ctx: Context, v: Data, span: Span) -> list[Data]:
    """The elements of a vector; of a matrix, all its elements. Raises Problem."""
    if not isinstance(v.type, Vector):
        raise Problem("L205", f"a vector is needed, and this is `{v.type}`", span)
    t = scalar_of(v.type)
    return [Data(n, t) for n in ctx.leaves(v.node, span)]


def _vector(ctx: Context, e: syntax.Call) -> list[Data]:
    (v,) = _streams(ctx, e, ["v"])
    return _elements(ctx, v, e.span)


@function("sum")
def _sum(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    parts = _vector(ctx, e)
    require_number(parts[0], "`sum`", e.span)
    return affine(ctx, [(1, p) for p in parts], 0, e.span)


@function("prod")
def _prod(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    parts = _vector(ctx, e)
    require_number(parts[0], "`prod`", e.span)
    result = parts[0]
    for p in parts[1:]:
        result = multiply(ctx, result, p, e.span)
    return result


@function("any")
def _any(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    return logic(ctx, "or", _bools(ctx, e), e.span)


@function("all")
def _all(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    return logic(ctx, "and", _bools(ctx, e), e.span)


def _bools(ctx: Context, e: syntax.Call) -> list[Data]:
    parts = _vector(ctx, e)
    require_bool(parts[0], f"`{e.function.id}`", e.span)
    return parts


def _arg_extreme(op: str) -> Callable[[Context, syntax.Call, Type | None], Static]:
    def f(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
        (v,) = _streams(ctx, e, ["v"])
        if len(shape(v.type)) != 1:
            raise Problem("L205", f"`arg{op}` takes a vector, and this is `{v.type}`", e.span)
        parts = _elements(ctx, v, e.span)
        if isinstance(parts[0].type, Bool):
            parts = [affine(ctx, [(1, p)], 0, e.span, Int(0, 1)) for p in parts]
        best = min_max(ctx, op, parts, e.span)
        result = Data(ctx.number(len(parts) - 1, e.span), INT)
        for i in range(len(parts) - 2, -1, -1):
            here = compare(ctx, "==", parts[i], best, e.span)
            result = choose(ctx, here, Data(ctx.number(i, e.span), INT), result, e.span)
        return result

    return f


function("argmax")(_arg_extreme("max"))
function("argmin")(_arg_extreme("min"))


# ---------------------------------------------------------------- vectors


@function("concat")
def _concat(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    parts = _positional(e)
    inner = expected.elem if isinstance(expected, Vector) else None
    items: list[Data] = []
    for value, part in zip(expressions(ctx, parts, inner), parts, strict=True):
        if isinstance(value, Text) and isinstance(inner, Symbols):
            one = vector_of(ctx, [value], part.span, inner)
            items += _rows(ctx, data(one, part.span), part.span)
            continue
        found = data(value, part.span)
        items += _rows(ctx, found, part.span) if shape(found.type) else [found]
    dims = {shape(i.type) for i in items}
    if len(dims) > 1:
        raise Problem("L205", "`concat` joins vectors whose elements have one size", e.span)
    t = items[0].type
    for i in items[1:]:
        joined = t if i.type is t else join(t, i.type)
        if joined is None:
            raise Problem("L201", f"`concat` joins values of one kind, and here are `{t}` and `{i.type}`", e.span)
        t = joined
    return pack_data(ctx, items, e.span)


def _rows(ctx: Context, v: Data, span: Span) -> list[Data]:
    assert isinstance(v.type, Vector)
    return [Data(n, v.type.elem) for n in ctx.elements(v.node, span)]


def _filled(value: int) -> Callable[[Context, syntax.Call, Type | None], Static]:
    def f(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
        dims = [constant_int(ctx, p, "the size of a vector") for p in _positional(e)]
        total = 1
        for n, p in zip(dims, _positional(e), strict=True):
            total *= n
            if n < 1:
                raise Problem("L205", f"a vector has at least one element, not {n}", p.span)
        if total > ELEMENT_LIMIT:
            raise Problem("L210", f"this vector has {total} elements; the limit is {ELEMENT_LIMIT}", e.span)
        return affine(ctx, [(0, _shaped(ctx, tuple(dims), e.span))], value, e.span)

    return f


def _shaped(ctx: Context, dims: tuple[int, ...], span: Span) -> Data:
    """A constant int vector of that shape."""
    node = ctx.number(0, span)
    for n in reversed(dims):
        node = ctx.constant((node.value,) * n, Vector(node.type, n), span)
    return Data(node, node.type)


function("zeros")(_filled(0))
function("ones")(_filled(1))


# ---------------------------------------------------------------- logic as functions; of LSRL's truth values 0 and 1


def _gate(op: str) -> Callable[[Context, syntax.Call, Type | None], Static]:
    def f(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
        from lsrl.frontend.elaborate.selectors import combine

        parts = _positional(e)
        found = expressions(ctx, parts)
        if isinstance(found[0], SelectorValue):
            return combine(op, found, [p.span for p in parts])
        args = [data(v, p.span) for v, p in zip(found, parts, strict=True)]
        if not any(isinstance(scalar_of(a.type), Int) for a in args):
            return logic(ctx, op, args, e.span)
        zero = Data(ctx.number(0, e.span), INT)
        bools = [compare(ctx, "!=", a, zero, e.span) if isinstance(scalar_of(a.type), Int) else a for a in args]
        return affine(ctx, [(1, logic(ctx, op, bools, e.span))], 0, e.span, Int(0, 1))

    return f


function("and")(_gate("and"))
function("or")(_gate("or"))
