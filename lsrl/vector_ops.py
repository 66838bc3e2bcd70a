"""What each node does on a batch: NumPy arrays whose first dimension is the row of the batch.

Bools are bool arrays, ints and symbols int64, the reals of numeric programs float64, exact rationals int64 counts
of 1/scale (`lsrl.vector_plan`). Floats are added, compared and rounded exactly as `lsrl.arithmetic` does it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsrl.arithmetic import convert, to_float, unary
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
    operands,
)
from lsrl.types import Bool, Int, Real, Type, Value, scalar_of, shape
from lsrl.vector_plan import is_float, natural_scale

__all__ = ["Array", "batch_constant", "batch_operation", "rescale"]

Array: TypeAlias = NDArray[Any]
Operation: TypeAlias = Callable[..., Array]
_CLIP = 1 << 62


def batch_constant(value: Value, t: Type, scale: int, numeric: bool) -> Array:
    """A constant as an array of the shape of its type, without the dimension of the batch."""
    if is_float(t, numeric):
        return np.array(convert(value, t, True), dtype=np.float64)
    if isinstance(scalar_of(t), Bool):
        return np.array(value, dtype=np.bool_)
    return np.array(_counts(value, scale), dtype=np.int64)


def _counts(value: Any, scale: int) -> Any:
    """A value in counts of 1/scale; one that is no whole count, or too large, is one that cannot occur."""
    if isinstance(value, tuple):
        return [_counts(v, scale) for v in value]
    return min(max(math.floor(value * scale), -_CLIP), _CLIP)


def rescale(x: Array, old: int, new: int) -> Array:
    """Counts of 1/old as counts of 1/new."""
    if old == new:
        return x
    if new % old == 0:
        return x * (new // old)
    if old % new == 0:
        return x // (old // new)
    return x * new // old


def batch_operation(node: Node, scale: Mapping[Node, int], numeric: bool) -> Operation:
    """The function of a node on the arrays of its operands, of which it has at least one."""
    match node:
        case Input() | Const() | Param() | Read():
            raise ValueError(f"{type(node).__name__} has no operands")
        case Slice(lo=lo, hi=hi, vector=vector):
            return lambda v: rescale(v[:, lo : hi + 1], scale[vector], scale[node])
        case Index():
            return _index(node, scale)
        case Table():
            return _table(node, scale, numeric)
        case Pack():
            return _pack(node, scale, numeric)
        case MatMul():
            return _matmul(node, scale, numeric)
        case _:
            return _aligned(_elementwise(node, scale, numeric), node)


def _aligned(f: Operation, node: Node) -> Operation:
    """Scalar operands get dimensions of 1, so that they spread over vectors."""
    dims = len(shape(node.type))
    missing = [dims - len(shape(x.type)) for x in operands(node)]
    if not any(missing):
        return f
    ones = [(slice(None),) + (None,) * m for m in missing]
    return lambda *xs: f(*(x[one] for x, one in zip(xs, ones, strict=True)))


def _as_float(x: Array) -> Array:
    return x if x.dtype == np.float64 else x.astype(np.float64)


def _as_int(x: Array) -> Array:
    return x if x.dtype == np.int64 else x.astype(np.int64)


def _elementwise(node: Node, scale: Mapping[Node, int], numeric: bool) -> Operation:
    floats = is_float(node.type, numeric)
    own, at = scale[node], natural_scale(node, scale)
    match node:
        case Affine():
            return _float_affine(node) if floats else _affine(node, scale)
        case Mul():
            return (lambda a, b: _as_float(a) * _as_float(b)) if floats else (lambda a, b: rescale(a * b, at, own))
        case Divide():
            return lambda a, b: _as_float(a) / _as_float(b)
        case Compare():
            return _compare(node, scale, numeric)
        case Logic(op="not"):
            return lambda a: ~a
        case Logic(op=op):
            fold = np.logical_and if op == "and" else np.logical_or
            return lambda *xs: _fold(fold, xs)
        case Mux(then=a, other=b):
            if floats:
                return lambda c, x, y: np.where(c, _as_float(x), _as_float(y))
            p, q = scale[a], scale[b]
            return lambda c, x, y: rescale(np.where(c, rescale(x, p, at), rescale(y, q, at)), at, own)
        case MinMax(op=op, args=args):
            if floats:
                pick = _float_min if op == "min" else _float_max
                return lambda *xs: _fold(pick, [_as_float(x) for x in xs])
            least = np.minimum if op == "min" else np.maximum
            scales = [scale[x] for x in args]
            return lambda *xs: rescale(
                _fold(least, [rescale(x, s, at) for x, s in zip(xs, scales, strict=True)]), at, own)
        case FloorDiv():
            return _floor_div(node, scale, numeric)
        case Unary(function="sqrt"):
            return lambda x: np.sqrt(_as_float(x))
        case Unary(function=name):
            f = np.frompyfunc(unary(name), 1, 1)
            return lambda x: np.asarray(f(_as_float(x)), dtype=np.float64)
        case _:
            raise TypeError(f"{type(node).__name__} does not act element by element")


def _fold(f: Callable[[Array, Array], Array], xs: Any) -> Array:
    acc: Array = xs[0]
    for x in xs[1:]:
        acc = f(acc, x)
    return acc


def _float_min(acc: Array, x: Array) -> Array:
    return np.where((acc < x) | (acc != acc), acc, x)


def _float_max(acc: Array, x: Array) -> Array:
    return np.where((acc > x) | (acc != acc), acc, x)


def _affine(node: Affine, scale: Mapping[Node, int]) -> Operation:
    at, own = natural_scale(node, scale), scale[node]
    factors = [int(Fraction(c) * at / scale[x]) for c, x in node.terms]
    bias = int(Fraction(node.bias) * at)

    def total(*xs: Array) -> Array:
        acc = _as_int(xs[0]) * factors[0] if factors[0] != 1 else _as_int(xs[0])
        for k, x in zip(factors[1:], xs[1:], strict=True):
            acc = acc + _as_int(x) * k if k != 1 else acc + _as_int(x)
        return rescale(acc + bias if bias else acc, at, own)

    return total


def _float_affine(node: Affine) -> Operation:
    factors, bias = [to_float(c) for c, _ in node.terms], to_float(node.bias)

    def total(*xs: Array) -> Array:
        acc = factors[0] * _as_float(xs[0])
        for k, x in zip(factors[1:], xs[1:], strict=True):
            acc = acc + k * _as_float(x)
        return acc + bias if bias else acc

    return total


_COMPARISONS: dict[str, Callable[[Array, Array], Array]] = {
    "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal}


def _compare(node: Compare, scale: Mapping[Node, int], numeric: bool) -> Operation:
    compare = _COMPARISONS[node.op]
    if is_float(node.a.type, numeric) or is_float(node.b.type, numeric):
        return lambda a, b: compare(_as_float(a), _as_float(b))
    p, q = scale[node.a], scale[node.b]
    at = math.lcm(p, q)
    return lambda a, b: compare(rescale(a, p, at), rescale(b, q, at))


def _floor_div(node: FloorDiv, scale: Mapping[Node, int], numeric: bool) -> Operation:
    own, old, quotient = scale[node], scale[node.x], node.op == "//"
    if is_float(node.x.type, numeric):
        by = to_float(node.divisor)
        whole = isinstance(scalar_of(node.type), Int)

        def floats(x: Array) -> Array:
            if quotient:
                out = np.floor(x / by) + 0.0
            else:
                r = np.fmod(x, by)
                out = np.where(r < 0, r + by, r + 0.0)
            return np.where(np.isfinite(out), out, 0.0).astype(np.int64) if whole else out

        return floats
    divisor = Fraction(node.divisor)
    if quotient:
        p, q = divisor.numerator * old, divisor.denominator
        exact: Operation = lambda x: rescale(x * q // p, 1, own)  # noqa: E731
    else:
        at = natural_scale(node, scale)
        modulus = int(divisor * at)
        exact = lambda x: rescale(rescale(x, old, at) % modulus, at, own)  # noqa: E731
    if is_float(node.type, numeric):  # the remainder of an int by a fraction, as a float
        return _rational_floor_div(divisor, quotient)
    return exact


def _rational_floor_div(divisor: Fraction, quotient: bool) -> Operation:
    """`//` or `%` of ints by a rational, exactly, rounded to a float at the end."""
    f = np.frompyfunc((lambda x: to_float(x // divisor)) if quotient else (lambda x: to_float(x % divisor)), 1, 1)
    return lambda x: np.asarray(f(x.astype(object)), dtype=np.float64)


def _table(node: Table, scale: Mapping[Node, int], numeric: bool) -> Operation:
    own = scale[node]
    entries = np.stack([batch_constant(e, node.type, own, numeric) for e in node.entries])

    def look_up(*xs: Array) -> Array:
        place: Any = 0
        for x, low, size in zip(xs, node.los, node.sizes, strict=True):
            place = place * size + np.clip(_as_int(x) - low, 0, size - 1)
        return np.asarray(entries[place])

    return look_up


def _pack(node: Pack, scale: Mapping[Node, int], numeric: bool) -> Operation:
    own, scales = scale[node], [scale[x] for x in node.elements]
    floats = is_float(node.type, numeric)
    real = isinstance(scalar_of(node.type), Real)

    def pack(*xs: Array) -> Array:
        if floats:
            return np.stack([_as_float(x) for x in xs], axis=1)
        return np.stack([rescale(x, s, own) if real else x for x, s in zip(xs, scales, strict=True)], axis=1)

    return pack


def _index(node: Index, scale: Mapping[Node, int]) -> Operation:
    last = shape(node.vector.type)[0] - 1
    old, own = scale[node.vector], scale[node]
    if isinstance(node.index, Const):
        at = min(max(int(node.index.value), 0), last)  # type: ignore[arg-type]
        return lambda v, i: rescale(v[:, at], old, own)
    return lambda v, i: rescale(v[np.arange(len(v)), np.clip(i, 0, last)], old, own)


def _matmul(node: MatMul, scale: Mapping[Node, int], numeric: bool) -> Operation:
    floats = is_float(node.type, numeric)
    at, own = natural_scale(node, scale), scale[node]
    count = shape(node.a.type)[-1]
    left, right = len(shape(node.a.type)), len(shape(node.b.type))

    def product(a: Array, b: Array) -> Array:
        if floats:
            a, b = _as_float(a), _as_float(b)
        if left == 2 and right == 2:
            terms = (a[:, :, j, None] * b[:, None, j, :] for j in range(count))
        elif left == 2:
            terms = (a[:, :, j] * b[:, j, None] for j in range(count))
        elif right == 2:
            terms = (a[:, j, None] * b[:, j, :] for j in range(count))
        else:
            terms = (a[:, j] * b[:, j] for j in range(count))
        acc = next(terms)
        for term in terms:
            acc = acc + term
        return acc if floats else rescale(acc, at, own)

    return product
