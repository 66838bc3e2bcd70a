"""The meaning of every node kind on values: the one place that says what a node computes.

The interpreter, constant folding and the elaborator use it. Values are held as `lsrl.types` says. Exact programs
compute with unbounded ints and Fractions. In numeric programs every real is a float64 and follows IEEE 754:
nothing raises, division by zero gives an infinity or NaN, the logarithm of a negative number NaN. Sums of floats
run from the first term to the last, the bias comes at the end (and is left out where it is 0); no fused
multiply-add. Minima and maxima of floats propagate NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

from lsrl.ir.nodes import (
    Affine,
    Compare,
    Const,
    Divide,
    FloorDiv,
    Index,
    Input,
    Logic,
    MatMul,
    MinMax,
    Mul,
    Mux,
    Node,
    Pack,
    Param,
    Read,
    Slice,
    Table,
    Unary,
)
from lsrl.types import Bool, Int, Real, Type, Value, Vector, scalar_of, shape

__all__ = ["Operation", "apply", "convert", "divide", "fold_max", "fold_min", "floor_quotient", "floor_remainder",
           "maps_to_real", "operation", "to_float", "unary"]

# A function of the values of a node's operands. The values are of many types, which only the graph knows.
Operation: TypeAlias = Callable[..., Any]


def apply(node: Node, args: Sequence[Value], numeric: bool = False) -> Value:
    """The value of a node from the values of `operands(node)`, in their order.

    numeric: whether the graph it stands in is numeric (`Graph.numeric`).
    """
    result: Value = operation(node, numeric)(*args)
    return result


def operation(node: Node, numeric: bool = False) -> Operation:
    """The function that a node applies to the values of `operands(node)`. A `Const` has one without arguments.

    Raises ValueError for `Input`, `Param` and `Read`, whose values come from outside.
    """
    match node:
        case Const():
            value = convert(node.value, node.type, numeric)
            return lambda: value
        case Input() | Param() | Read():
            raise ValueError(f"{type(node).__name__} has no operands")
        case MatMul():
            return _matmul(node, numeric)
        case Pack():
            elem = node.type.elem if isinstance(node.type, Vector) else node.type
            if maps_to_real([e.type for e in node.elements], elem):
                return lambda *xs: tuple(convert(x, elem, numeric) for x in xs)
            return lambda *xs: xs
        case Index():
            last = node.vector.type.size - 1 if isinstance(node.vector.type, Vector) else 0
            return lambda v, i: v[0 if i < 0 else last if i > last else i]
        case Slice(lo=lo, hi=hi):
            return lambda v: v[lo : hi + 1]
        case Table():
            return _table(node, numeric)
        case _:
            return _spread(_scalar(node, numeric), shape(node.type))


def _scalar(node: Node, numeric: bool) -> Operation:
    """The scalar function of a node that acts element by element."""
    real = isinstance(scalar_of(node.type), Real)
    number = (to_float if numeric else Fraction) if real else int
    match node:
        case Affine():
            return _affine(node, numeric)
        case Mul():
            return lambda a, b: number(a) * number(b)
        case Divide():
            return lambda a, b: divide(to_float(a), to_float(b))
        case Compare():
            return _compare(node, numeric)
        case Logic(op="not"):
            return lambda a: not a
        case Logic(op="and"):
            return lambda *xs: all(xs)
        case Logic():
            return lambda *xs: any(xs)
        case Mux():
            if maps_to_real([node.then.type, node.other.type], node.type):
                return lambda c, a, b: number(a if c else b)
            return lambda c, a, b: a if c else b
        case MinMax(op=op):
            if real and numeric:
                fold = fold_min if op == "min" else fold_max
                return lambda *xs: fold(*map(to_float, xs))
            pick = min if op == "min" else max
            return lambda *xs: number(pick(xs))
        case FloorDiv():
            return _floor_div(node, numeric)
        case Unary(function=name):
            f = unary(name)
            return lambda x: f(to_float(x))
        case _:
            raise TypeError(f"{type(node).__name__} does not act element by element")


def _affine(node: Affine, numeric: bool) -> Operation:
    if isinstance(scalar_of(node.type), Int):
        integers, constant = [int(c) for c, _ in node.terms], int(node.bias)
        return lambda *xs: constant + sum(c * x for c, x in zip(integers, xs, strict=True))
    if not numeric:
        rationals, offset = [Fraction(c) for c, _ in node.terms], Fraction(node.bias)
        return lambda *xs: sum((c * x for c, x in zip(rationals, xs, strict=True)), offset)
    floats, bias = [to_float(c) for c, _ in node.terms], to_float(node.bias)

    def total(*xs: Value) -> float:
        if not xs:
            return bias
        acc = floats[0] * to_float(xs[0])
        for c, x in zip(floats[1:], xs[1:], strict=True):
            acc += c * to_float(x)
        return acc + bias if bias else acc

    return total


def _compare(node: Compare, numeric: bool) -> Operation:
    kinds = (scalar_of(node.a.type), scalar_of(node.b.type))
    as_floats = numeric and any(isinstance(t, Real) for t in kinds)
    compare: Operation
    match node.op:
        case "==":
            compare = lambda a, b: a == b  # noqa: E731
        case "!=":
            compare = lambda a, b: a != b  # noqa: E731
        case "<":
            compare = lambda a, b: a < b  # noqa: E731
        case _:
            compare = lambda a, b: a <= b  # noqa: E731
    return (lambda a, b: compare(to_float(a), to_float(b))) if as_floats else compare


def _floor_div(node: FloorDiv, numeric: bool) -> Operation:
    integer = isinstance(scalar_of(node.type), Int)
    if numeric and isinstance(scalar_of(node.x.type), Real):
        by = to_float(node.divisor)
        f = floor_quotient if node.op == "//" else floor_remainder
        return (lambda x: float_to_int(f(x, by))) if integer else (lambda x: f(x, by))
    number = int if integer else to_float if numeric else Fraction
    divisor = node.divisor
    if node.op == "//":
        return lambda x: number(x // divisor)
    return lambda x: number(x % divisor)


def _table(node: Table, numeric: bool) -> Operation:
    entries = tuple(convert(e, node.type, numeric) for e in node.entries)
    lows, sizes = node.los, node.sizes
    if len(sizes) == 1:
        low, last = lows[0], sizes[0] - 1
        return lambda x: entries[min(max(x - low, 0), last)]

    def look_up(*xs: int) -> Value:
        place = 0
        for x, low, size in zip(xs, lows, sizes, strict=True):
            place = place * size + min(max(x - low, 0), size - 1)
        return entries[place]

    return look_up


def _matmul(node: MatMul, numeric: bool) -> Operation:
    real = isinstance(scalar_of(node.type), Real)
    number = (to_float if numeric else Fraction) if real else int

    def dot(u: Sequence[Any], v: Sequence[Any]) -> Any:
        products = [number(a) * number(b) for a, b in zip(u, v, strict=True)]
        acc = products[0]
        for p in products[1:]:
            acc += p
        return acc

    dims = len(shape(node.a.type)), len(shape(node.b.type))
    if dims == (1, 1):
        return dot
    if dims == (2, 1):
        return lambda a, b: tuple(dot(row, b) for row in a)
    if dims == (1, 2):
        return lambda a, b: tuple(dot(a, column) for column in zip(*b, strict=True))
    return lambda a, b: tuple(tuple(dot(row, column) for column in zip(*b, strict=True)) for row in a)


def _spread(f: Operation, dims: tuple[int, ...]) -> Operation:
    """`f` element by element over vectors of those dimensions; scalar arguments spread."""
    if not dims:
        return f
    inner = _spread(f, dims[1:])
    count = range(dims[0])
    return lambda *xs: tuple(inner(*(x[i] if isinstance(x, tuple) else x for x in xs)) for i in count)


def maps_to_real(sources: Sequence[Type], target: Type) -> bool:
    """Whether a value of one of the source types may have to be converted to be a value of a real target type."""
    return isinstance(scalar_of(target), Real) and not all(isinstance(scalar_of(s), Real) for s in sources)


def convert(value: Value, to: Type, numeric: bool = False) -> Value:
    """A value in the form that its type is held in: bool, int, Fraction (float64 if numeric) or tuples of them."""
    if isinstance(value, tuple):
        elem = to.elem if isinstance(to, Vector) else to
        return tuple(convert(v, elem, numeric) for v in value)
    match scalar_of(to):
        case Real():
            return to_float(value) if numeric else Fraction(value)
        case Bool():
            return bool(value)
        case _:
            return int(value)


def to_float(x: Any) -> float:
    """The nearest float64; an infinity beyond its range, where Python's `float` raises."""
    try:
        return float(x)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


def float_to_int(x: float) -> int:
    """An integral float as an int; 0 for an infinity or NaN, which have none."""
    return int(x) if math.isfinite(x) else 0


def divide(a: float, b: float) -> float:
    """IEEE 754 quotient."""
    if b:
        return a / b
    if a == 0 or a != a or b != b:
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def floor_quotient(x: float, divisor: float) -> float:
    """The floor of the float64 quotient x / divisor; infinities and NaN stay."""
    q = x / divisor
    return float(math.floor(q)) if math.isfinite(q) else q


def floor_remainder(x: float, divisor: float) -> float:
    """The remainder of x by a positive divisor, exact but for one rounding where x < 0; NaN for infinities."""
    if not math.isfinite(x):
        return math.nan
    r = math.fmod(x, divisor)
    return r + divisor if r < 0 else r + 0.0


def fold_min(*xs: float) -> float:
    """The least of floats; NaN if one is NaN."""
    acc = xs[0]
    for x in xs[1:]:
        acc = acc if acc < x or acc != acc else x
    return acc


def fold_max(*xs: float) -> float:
    """The greatest of floats; NaN if one is NaN."""
    acc = xs[0]
    for x in xs[1:]:
        acc = acc if acc > x or acc != acc else x
    return acc


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf if x == 0 else math.nan


def _sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0 else math.nan


def _sigmoid(x: float) -> float:
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    e = _exp(x)
    return e / (1.0 + e)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x))) if x == x else x


def _silu(x: float) -> float:
    return x * _sigmoid(x) if x != -math.inf else -0.0


def _sin(x: float) -> float:
    return math.sin(x) if math.isfinite(x) else math.nan


def _cos(x: float) -> float:
    return math.cos(x) if math.isfinite(x) else math.nan


_UNARY: dict[str, Callable[[float], float]] = {
    "exp": _exp, "log": _log, "sqrt": _sqrt, "sigmoid": _sigmoid, "tanh": math.tanh, "softplus": _softplus,
    "silu": _silu, "sin": _sin, "cos": _cos,
}


def unary(name: str) -> Callable[[float], float]:
    """A transcendental function on float64, total: the names are `UNARY_FUNCTIONS`."""
    return _UNARY[name]
