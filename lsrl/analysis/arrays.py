"""Scalar nodes over many rows at once, exactly: int64 where the values are known to fit, Python objects elsewhere.

The automaton extraction evaluates a cell over all pairs of a state and a letter with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lsrl.analysis.interval import Range
from lsrl.arithmetic import convert, operation
from lsrl.ir.nodes import (
    Affine,
    Compare,
    Const,
    FloorDiv,
    Logic,
    MinMax,
    Mul,
    Mux,
    Node,
    Table,
    operands,
)
from lsrl.types import Bool, Int, Symbols, Value, Vector

__all__ = ["Column", "column", "distinct_rows", "evaluate_columns", "fits", "python_values", "value_column"]

Column: TypeAlias = NDArray[Any]  # (rows,): int64 for bools, symbols and small ints, else objects

_SAFE = 2**62
_SPREAD = 2**20  # of a column's values that are codes as they are


def _is_whole(node: Node) -> bool:
    return isinstance(node.type, Bool | Int | Symbols)


def fits(node: Node, ranges: Mapping[Node, Range]) -> bool:
    """Whether the node's values, and all sums on the way to them, are int64 integers."""
    if not _is_whole(node):
        return False
    if isinstance(node.type, Bool | Symbols):
        return True
    r = ranges.get(node)
    magnitude = None if r is None else r.magnitude
    if magnitude is None or magnitude >= _SAFE:
        return False
    total = Fraction(0)
    if isinstance(node, Affine):
        total = abs(Fraction(node.bias))
        for c, x in node.terms:
            part = ranges[x].magnitude if x in ranges else None
            if part is None:
                return False
            total += abs(Fraction(c)) * part
    return total < _SAFE


def column(values: Sequence[Value], small: bool) -> Column:
    """A column of values: int64 if `small`, else objects."""
    if small:
        return np.array([int(_scalar(v)) for v in values], np.int64)
    out = np.empty(len(values), object)
    out[:] = values
    return out


def value_column(node: Node, values: Sequence[Value], ranges: Mapping[Node, Range]) -> Column:
    """A column of values of a node."""
    return column(values, fits(node, ranges))


def _scalar(v: Value) -> int | Fraction | float:
    assert not isinstance(v, tuple)
    return v


def evaluate_columns(nodes: Iterable[Node], known: Mapping[Node, Column], rows: int,
                     ranges: Mapping[Node, Range]) -> dict[Node, Column]:
    """The columns of scalar nodes, operands first, from those of what they need; constants need not be given.

    known: columns of `rows` values. Exact programs only. Raises KeyError for an operand that is missing.
    """
    out = dict(known)

    def get(x: Node) -> Column:
        if x not in out and isinstance(x, Const):
            out[x] = _constant(x, rows, ranges)
        return out[x]

    for node in nodes:
        if node not in out:
            out[node] = _evaluate(node, [get(x) for x in operands(node)], rows, ranges)
    return out


def _constant(node: Const, rows: int, ranges: Mapping[Node, Range]) -> Column:
    value = convert(node.value, node.type)
    if _is_whole(node) and isinstance(value, int) and -_SAFE < value < _SAFE:
        return np.full(rows, int(value), np.int64)
    out = np.empty(rows, object)
    for i in range(rows):
        out[i] = value
    return out


def _evaluate(node: Node, args: list[Column], rows: int, ranges: Mapping[Node, Range]) -> Column:
    small = fits(node, ranges) and all(a.dtype != object for a in args)
    match node:
        case Const():
            return _constant(node, rows, ranges)
        case Logic(op=op):
            return _logic(op, args)
        case Compare(op=op):
            return _compare(op, args[0], args[1])
        case Table() if all(a.dtype != object for a in args):
            return _table(node, args, rows)
        case Mux():
            return np.where(args[0] != 0, args[1], args[2])
        case Affine():
            whole = isinstance(node.type, Int)
            total = np.full(rows, int(node.bias) if whole else Fraction(node.bias), np.int64 if small else object)
            for (c, _), a in zip(node.terms, args, strict=True):
                total += (int(c) if whole else Fraction(c)) * (a if small else a.astype(object))
            return total
        case MinMax(op=op) if small:
            pick: np.ufunc = np.minimum if op == "min" else np.maximum
            best = args[0]
            for a in args[1:]:
                best = pick(best, a)
            return best
        case FloorDiv(op=op, divisor=d) if small and Fraction(d).denominator == 1 and d < _SAFE:
            return np.asarray(args[0] // int(d) if op == "//" else args[0] % int(d))
        case Mul() if small:
            return np.asarray(args[0] * args[1])
        case _:
            return _by_rows(node, args, rows, fits(node, ranges))


def distinct_rows(columns: Sequence[Column]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of some columns without repetition: the place where each first stands, in order, and for every row
    the number of its first one."""
    rows = len(columns[0])
    code, size = np.zeros(rows, np.int64), 1  # all codes are less than the size
    for c in columns:
        if c.dtype == object:
            index: dict[Any, int] = {}
            one = np.fromiter((index.setdefault(v, len(index)) for v in c.tolist()), np.int64, rows)
            values = len(index)
        else:
            least = int(c.min(initial=0))
            one, values = c - least, int(c.max(initial=0)) - least + 1
            if values > _SPREAD:
                one = np.unique(c, return_inverse=True)[1].reshape(-1)
                values = rows
        if size * values >= _SAFE:
            code, size = np.unique(code, return_inverse=True)[1].reshape(-1), rows
        code, size = code * values + one, size * values
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse.reshape(-1)]


def _logic(op: str, args: list[Column]) -> Column:
    bits = [a != 0 for a in args]
    if op == "not":
        return np.asarray(~bits[0], np.int64)
    total = bits[0]
    for b in bits[1:]:
        total = total & b if op == "and" else total | b
    return np.asarray(total, np.int64)


def _compare(op: str, a: Column, b: Column) -> Column:
    if a.dtype == object or b.dtype == object:
        a, b = a.astype(object), b.astype(object)
    match op:
        case "==":
            result = a == b
        case "!=":
            result = a != b
        case "<":
            result = a < b
        case _:
            result = a <= b
    return np.asarray(result).astype(np.int64)


def _table(node: Table, args: list[Column], rows: int) -> Column:
    place = np.zeros(rows, np.int64)
    for a, lo, n in zip(args, node.los, node.sizes, strict=True):
        place = place * n + np.clip(a - lo, 0, n - 1)
    small = isinstance(node.type, Bool | Int | Symbols) and all(
        isinstance(e, int) and -_SAFE < e < _SAFE for e in node.entries)
    return column([convert(e, node.type) for e in node.entries], small)[place]


def _by_rows(node: Node, args: list[Column], rows: int, small: bool) -> Column:
    """One row at a time, by the meaning that the interpreter uses."""
    if isinstance(node.type, Vector):
        raise TypeError(f"{type(node).__name__} is a vector")
    restored = [_restore(x, a) for x, a in zip(operands(node), args, strict=True)]
    of = operation(node)
    return column([of(*row) for row in zip(*restored, strict=True)] if restored else [of()] * rows, small)


def _restore(node: Node, a: Column) -> list[Any]:
    """A column as the Python values that the node's type has."""
    plain = a.tolist()
    return [bool(x) for x in plain] if isinstance(node.type, Bool) else plain


def python_values(node: Node, a: Column) -> list[Value]:
    """A column as Python values: bool, int, Fraction."""
    out: list[Value] = _restore(node, a)
    return out
