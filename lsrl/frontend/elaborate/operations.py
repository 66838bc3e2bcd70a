"""Arithmetic, comparison and logic on values: types are checked, shapes spread, nodes made.

The functions take the span of the whole expression; they raise Problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from lsrl.diagnostics import Span
from lsrl.frontend.elaborate.context import Context
from lsrl.frontend.elaborate.conversion import to_real
from lsrl.frontend.elaborate.types import exact_type, join, plain
from lsrl.frontend.elaborate.values import Data, Problem, kind_name
from lsrl.ir.nodes import Affine, Compare, Const, Divide, FloorDiv, Logic, MatMul, MinMax, Mul, Node, Unary
from lsrl.types import (
    BOOL,
    INT,
    REAL,
    Bool,
    Int,
    Real,
    Symbols,
    Type,
    Value,
    Vector,
    is_number,
    scalar_of,
    shape,
    with_shape,
)

__all__ = ["affine", "choose", "compare", "dims_of", "divide", "floor_div", "logic", "matmul", "min_max", "multiply",
           "not_", "power", "require_bool", "require_number", "scaled", "unary"]

POWER_LIMIT = 1000


def dims_of(values: Sequence[Data], span: Span, what: str = "these") -> tuple[int, ...]:
    """The common shape; scalars spread. Raises Problem L205."""
    dims: tuple[int, ...] = ()
    for v in values:
        found = shape(v.type)
        if found and dims and found != dims:
            raise Problem("L205", f"{what} have different sizes: `{_show(dims)}` and `{_show(found)}`", span,
                          help="vectors combine element by element: both must have the same size")
        dims = found or dims
    return dims


def _show(dims: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, dims)) + "]"


def require_number(v: Data, op: str, span: Span) -> None:
    """Raises Problem L202 unless the elements are ints or reals."""
    t = scalar_of(v.type)
    if is_number(t):
        return
    help = "write int(…) for 0 or 1" if isinstance(t, Bool) else "write code(…) for the index of a symbol"
    raise Problem("L202", f"{op} takes numbers, and this is `{v.type}`", span, help=help)


def require_bool(v: Data, op: str, span: Span) -> None:
    """Raises Problem L202 unless the elements are bools."""
    if not isinstance(scalar_of(v.type), Bool):
        help = "write bool(…), or compare: … != 0" if is_number(scalar_of(v.type)) else ""
        raise Problem("L202", f"{op} takes bools, and this is `{v.type}`", span, help=help)


def _number_type(values: Sequence[Data]) -> Type:
    return REAL if any(isinstance(scalar_of(v.type), Real) for v in values) else INT


def constant(ctx: Context, value: Value, t: Type, span: Span) -> Data:
    return Data(ctx.constant(value, t, span), t)


def affine(ctx: Context, terms: Sequence[tuple[int | Fraction, Data]], bias: int | Fraction, span: Span,
           t: Type | None = None) -> Data:
    """Σ coefficient · value + bias. t: the scalar type of the result, if narrower than int or real."""
    values = [v for _, v in terms]
    dims = dims_of(values, span)
    integral = isinstance(bias, int) and all(c.denominator == 1 for c, _ in terms)
    scalar = t or (_number_type(values) if integral else REAL)
    result = with_shape(scalar, dims)
    merged: dict[Node, int | Fraction] = {}
    for c, v in terms:
        if isinstance(v.node, Const) and not isinstance(v.node.value, tuple):
            value = v.node.value
            bias += c * (value if isinstance(value, int | Fraction) else Fraction(value))
        elif not _all_zero(v.node):

            merged[v.node] = merged.get(v.node, 0) + c
    kept = [(c, n) for n, c in merged.items() if c != 0]
    bias = bias.numerator if bias.denominator == 1 else bias
    if not kept:
        filled: Value = bias if isinstance(scalar, Int) else Fraction(bias)
        for n in reversed(dims):
            filled = (filled,) * n
        return constant(ctx, filled, result, span)
    if len(kept) == 1 and kept[0][0] == 1 and bias == 0 and t is None:
        node = kept[0][1]
        if plain(node.type) == result:
            return Data(node, result)
    if dims and all(not shape(n.type) for _, n in kept):
        first = next(v.node for v in values if shape(v.type))
        kept.append((0, first))
    exact = tuple([(c.numerator if c.denominator == 1 else c, n) for c, n in kept])
    return Data(ctx.add(Affine(exact, bias, result, span)), result)


def _all_zero(node: Node) -> bool:
    """Is it a constant vector of zeros?"""
    return isinstance(node, Const) and not any(_leaves(node.value))


def _leaves(value: Value) -> list[Value]:
    return [x for v in value for x in _leaves(v)] if isinstance(value, tuple) else [value]


def scaled(ctx: Context, a: Data, factor: int | Fraction, span: Span, real: bool = False) -> Data:
    """factor · a; real: is the result real even where all is integral?"""
    t = REAL if real and not isinstance(scalar_of(a.type), Real) else None
    return affine(ctx, [(factor, a)], 0, span, t)


def _scalar_constant(v: Data) -> int | Fraction | None:
    value = v.node.value if isinstance(v.node, Const) else None
    return value if isinstance(value, int | Fraction) else None


def multiply(ctx: Context, a: Data, b: Data, span: Span) -> Data:
    """a · b, element by element."""
    dims = dims_of([a, b], span, "the factors")
    t = _number_type([a, b])
    for x, y in ((a, b), (b, a)):
        factor = _scalar_constant(x)
        if factor is not None and shape(y.type) == dims:
            real = isinstance(t, Real)
            return scaled(ctx, y, factor, span, real)
    result = with_shape(t, dims)
    return Data(ctx.add(Mul(a.node, b.node, result, span)), result)


def divide(ctx: Context, a: Data, b: Data, span: Span) -> Data:
    """a / b: exact by a constant; by a stream it makes the program numeric."""
    dims = dims_of([a, b], span, "the operands of `/`")
    if isinstance(b.node, Const):
        inverse = _inverse(b.node.value, span)
        if isinstance(inverse, Fraction):
            return scaled(ctx, a, inverse, span, real=True)
        return multiply(ctx, a, constant(ctx, inverse, with_shape(REAL, dims), span), span)
    result = with_shape(REAL, dims)
    return Data(ctx.add(Divide(a.node, b.node, result, span)), result)


def _inverse(value: Value, span: Span) -> Value:
    if isinstance(value, tuple):
        return tuple([_inverse(v, span) for v in value])
    if value == 0:
        raise Problem("L207", "division by zero", span)
    return 1 / Fraction(value)


def floor_div(ctx: Context, op: str, a: Data, b: Data, span: Span) -> Data:
    """a // b, an int, and a % b, by a positive scalar constant. A remainder of ints is int[0..b-1]."""
    by = _scalar_constant(b)
    if by is None:
        raise Problem("L206", f"`{op}` divides by one constant", span,
                      help="the divisor must be known at compile time; / divides by a stream")
    if by == 0:
        raise Problem("L207", "division by zero", span)
    if by < 0:
        raise Problem("L207", f"`{op}` divides by a positive constant, not {by}", span)
    t: Type = _number_type([a, b])
    if isinstance(t, Int) and op == "%":
        t = Int(0, int(by) - 1)
    if op == "//":
        t = INT
    result = with_shape(t, shape(a.type))
    return Data(ctx.add(FloorDiv(op, a.node, by, result, span)), result)


def matmul(ctx: Context, a: Data, b: Data, span: Span) -> Data:
    """A @ x, A @ B, and the inner product of two vectors."""
    p, q = shape(a.type), shape(b.type)
    if len(p) not in (1, 2) or len(q) not in (1, 2) or (len(p), len(q)) == (1, 2):
        raise Problem("L205", f"`@` takes a matrix and a vector, two matrices or two vectors, not `{a.type}` and "
                      f"`{b.type}`", span, help="* multiplies element by element")
    if p[-1] != q[0]:
        raise Problem("L205", f"`{a.type}` @ `{b.type}`: {p[-1]} columns meet {q[0]} rows", span)
    result = with_shape(_number_type([a, b]), p[:-1] + q[1:])
    return Data(ctx.add(MatMul(a.node, b.node, result, span)), result)


def power(ctx: Context, base: Data, exponent: Data, span: Span) -> Data:
    """base ** exponent, by a constant int; one below 0 is a division."""
    n = _scalar_constant(exponent)
    if not isinstance(n, int | Fraction):
        raise Problem("L206", "`**` takes a constant exponent", span)
    if Fraction(n).denominator != 1:
        raise Problem("L202", f"`**` takes an int exponent, not {n}", span, help="sqrt(x) is the square root")
    times = abs(n.numerator)
    if times > POWER_LIMIT:
        raise Problem("L210", f"the exponent {n} is beyond the limit of {POWER_LIMIT}", span)
    if n == 0:
        return affine(ctx, [(0, base)], 1, span)
    result = base
    for bit in bin(times)[3:]:  # from the second highest bit down: square, and multiply where it is set
        result = multiply(ctx, result, result, span)
        if bit == "1":
            result = multiply(ctx, result, base, span)
    return divide(ctx, constant(ctx, 1, INT, span), result, span) if n < 0 else result


def unary(ctx: Context, function: str, x: Data, span: Span) -> Data:
    """A transcendental function, element by element."""
    require_number(x, f"`{function}`", span)
    result = with_shape(REAL, shape(x.type))
    return Data(ctx.add(Unary(function, x.node, result, span)), result)


def min_max(ctx: Context, op: str, args: Sequence[Data], span: Span) -> Data:
    """The least or greatest of the arguments, element by element."""
    for a in args:
        require_number(a, f"`{op}`", span)
    result = with_shape(_number_type(args), dims_of(args, span, f"the arguments of `{op}`"))
    if len(args) == 1:
        return Data(args[0].node, result)
    return Data(ctx.add(MinMax(op, tuple(a.node for a in args), result, span)), result)


_SWAPPED = {">": "<", ">=": "<="}


def compare(ctx: Context, op: str, a: Data, b: Data, span: Span) -> Data:
    """a op b for any of the six operators, element by element."""
    s, t = scalar_of(a.type), scalar_of(b.type)
    if isinstance(s, Symbols) and isinstance(t, Symbols) and s != t:
        raise Problem("L202", f"symbols of different alphabets are compared: `{s}` and `{t}`", span)
    if not (is_number(s) and is_number(t)) and not (s == t and isinstance(s, Bool | Symbols)):
        help = ""
        if {type(s), type(t)} == {Bool, Int}:
            help = "write int(…) for 0 or 1, or bool(…) for … != 0"
        raise Problem("L202", f"`{a.type}` and `{b.type}` cannot be compared", span, help=help)
    if op not in ("==", "!=") and not is_number(s):
        help = "code(x) is its index in its alphabet" if isinstance(s, Symbols) else "int(b) is 0 or 1"
        raise Problem("L202", f"`{op}` takes numbers, and these are {kind_name(s)}s", span, help=help)
    result = with_shape(BOOL, dims_of([a, b], span, "the operands of the comparison"))
    if op in _SWAPPED:
        op, a, b = _SWAPPED[op], b, a
    return Data(ctx.add(Compare(op, a.node, b.node, result, span)), result)


def logic(ctx: Context, op: str, args: Sequence[Data], span: Span) -> Data:
    """`and`, `or` of bools, element by element; constants are folded."""
    for a in args:
        require_bool(a, f"`{op}`", span)
    dims = dims_of(args, span, f"the operands of `{op}`")
    if not dims:
        return Data(ctx.both(op, [a.node for a in args], span), BOOL)
    result = with_shape(BOOL, dims)
    return Data(ctx.add(Logic(op, tuple(a.node for a in args), result, span)), result)


def not_(ctx: Context, a: Data, span: Span) -> Data:
    """`not` of bools, element by element."""
    require_bool(a, "`not`", span)
    result = with_shape(BOOL, shape(a.type))
    return Data(ctx.add(Logic("not", (a.node,), result, span)), result)


def choose(ctx: Context, condition: Data, a: Data, b: Data, span: Span) -> Data:
    """`a if condition else b`, for two values of one kind (see `conversion.joined`)."""
    dims = dims_of([condition, a, b], span, "condition and branches")
    static = _joined_type(a, b, a.type, b.type)
    exact = _joined_type(a, b, a.node.type, b.node.type)
    node = ctx.mux(condition.node, a.node, b.node, with_shape(exact, dims), span)
    if isinstance(condition.node, Const) and not shape(condition.type):
        return _as_joined(ctx, a if condition.value else b, static, dims, span)
    return Data(node, with_shape(static, dims))


def _joined_type(a: Data, b: Data, s: Type, t: Type) -> Type:
    """The scalar type of a choice; constants count with their value."""
    one = scalar_of(exact_type(a.value, a.type) if a.constant else s)
    two = scalar_of(exact_type(b.value, b.type) if b.constant else t)
    found = join(one, two)
    return plain(one) if found is None else found


def _as_joined(ctx: Context, v: Data, t: Type, dims: tuple[int, ...], span: Span) -> Data:
    """The branch that a constant condition takes, of the kind that the choice has."""
    node = to_real(ctx, v.node, span) if isinstance(t, Real) else v.node
    if not shape(v.type):
        for n in reversed(dims):
            node = ctx.pack([node] * n, Vector(node.type, n), span)
    return Data(node, with_shape(scalar_of(v.type) if not isinstance(t, Real) else plain(t), dims))
