"""Algebraic identities, one function a kind of node: what a node is when some operand is constant, or two are one.

Each returns a simpler node or the node itself. `emit` takes the further nodes it makes, and folds them.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor, isfinite, prod

from lsrl.arithmetic import convert
from lsrl.ir.nodes import (
    Affine,
    Compare,
    Const,
    FloorDiv,
    Index,
    Logic,
    MinMax,
    Mul,
    Mux,
    Node,
    Pack,
    Slice,
    Table,
)
from lsrl.passes.rewrite import Emit, constant, is_exact, kind_of
from lsrl.types import BOOL, INT, REAL, Bool, Int, Real, Symbols, Type, Value, Vector, is_number, scalar_of, shape

__all__ = ["simplify"]


def simplify(node: Node, numeric: bool, emit: Emit) -> Node:
    """One step towards a simpler node that computes the same; the node itself if no rule fits."""
    match node:
        case Affine():
            return _affine(node, numeric)
        case Mul():
            return _mul(node, numeric)
        case Compare():
            return _compare(node, numeric, emit)
        case MinMax():
            return _min_max(node, numeric, emit)
        case FloorDiv():
            return _floor_div(node)
        case Mux():
            return _mux(node, numeric)
        case Table():
            return _table(node, numeric)
        case Index() | Slice():
            return _part(node, emit)
        case Pack():
            return _pack(node)
        case _:
            return node


def number(node: Node) -> Fraction | None:
    """The exact value of a scalar number constant; None for all else, infinities and NaN."""
    if not isinstance(node, Const) or isinstance(node.value, tuple) or not is_number(node.type):
        return None
    if isinstance(node.value, float) and not isfinite(node.value):
        return None
    return Fraction(node.value)


def as_kind(node: Node, t: Type) -> Node:
    """A number node as one of the kind of `t`: an int becomes a real by a conversion."""
    if kind_of(node.type) == kind_of(t):
        return node
    return Affine(((1, node),), 0, t, node.span)


def _affine(node: Affine, numeric: bool) -> Node:
    exact = is_exact(node, numeric)
    if exact and any(c == 0 or isinstance(x, Const) for c, x in node.terms):
        terms: list[tuple[int | Fraction, Node]] = []
        bias: int | Fraction = node.bias
        for c, x in node.terms:
            value = Fraction(x.value) if isinstance(x, Const) and isinstance(x.value, bool) else number(x)
            if value is not None:
                bias += c * value
            elif c != 0:
                terms.append((c, x))
        if len(terms) < len(node.terms) and _spreads(node, [x for _, x in terms]):
            return replace(node, terms=tuple(terms), bias=_tidy(bias))
    if not node.terms and not shape(node.type):
        return constant(convert(node.bias, node.type, numeric), node.type, node.span)
    if len(node.terms) == 1 and node.bias == 0 and node.terms[0][0] == 1:
        x = node.terms[0][1]
        if kind_of(x.type) == kind_of(node.type):
            return x
    return node


def _spreads(node: Node, args: list[Node]) -> bool:
    """Whether operands still give the node its shape."""
    return not shape(node.type) or any(shape(x.type) for x in args)


def _tidy(x: int | Fraction) -> int | Fraction:
    return int(x) if Fraction(x).denominator == 1 else x


def _mul(node: Mul, numeric: bool) -> Node:
    for factor, x in ((node.a, node.b), (node.b, node.a)):
        value = number(factor)
        if value is None or shape(x.type) != shape(node.type):
            continue
        if is_exact(node, numeric) or value != 0:  # the sign of a float zero would be lost
            return Affine(((_tidy(value), x),), 0, node.type, node.span)
    return node


_ALWAYS = {"==": True, "<=": True, "!=": False, "<": False}


def _compare(node: Compare, numeric: bool, emit: Emit) -> Node:
    if node.a is node.b and is_exact(node, numeric) and not shape(node.type):
        return constant(_ALWAYS[node.op], BOOL, node.span)
    for truth, x in ((node.a, node.b), (node.b, node.a)):
        if isinstance(truth, Const) and isinstance(truth.value, bool) and shape(x.type) == shape(node.type):
            return x if truth.value == (node.op == "==") else Logic("not", (x,), node.type, node.span)
    if not is_exact(node, numeric) or shape(node.type):
        return node
    if isinstance(node.a, Affine) and len(node.a.terms) == 1:
        limit = number(node.b)
        if limit is not None:
            return _compare_term(node, node.a, limit, False, emit)
    if isinstance(node.b, Affine) and len(node.b.terms) == 1:
        limit = number(node.a)
        if limit is not None:
            return _compare_term(node, node.b, limit, True, emit)
    return node


def _compare_term(node: Compare, term: Affine, limit: Fraction, limit_first: bool, emit: Emit) -> Node:
    """`c·x + b < limit` as `x < (limit - b) / c`; over a bool as that bool, its negation, or a constant."""
    (c, x), = term.terms
    if c == 0:
        return node
    if isinstance(x.type, Bool):
        at = [_holds(node.op, *((limit, v) if limit_first else (v, limit))) for v in (term.bias, term.bias + c)]
        if at[0] == at[1]:
            return constant(at[0], BOOL, node.span)
        return x if at[1] else Logic("not", (x,), BOOL, node.span)
    bound = (limit - term.bias) / Fraction(c)
    if node.op in ("==", "!="):
        if isinstance(x.type, Int) and bound.denominator != 1:
            return constant(node.op == "!=", BOOL, node.span)
        return Compare(node.op, x, emit(_bound(bound, x)), BOOL, node.span)
    if limit_first != (c < 0):  # bound < x
        if isinstance(x.type, Int):
            bound = Fraction(floor(bound) if node.op == "<" else ceil(bound))
        return Compare(node.op, emit(_bound(bound, x)), x, BOOL, node.span)
    if isinstance(x.type, Int):
        bound = Fraction(ceil(bound) if node.op == "<" else floor(bound))
    return Compare(node.op, x, emit(_bound(bound, x)), BOOL, node.span)


def _bound(bound: Fraction, x: Node) -> Const:
    return Const(int(bound), INT, x.span) if isinstance(x.type, Int) else Const(bound, REAL, x.span)


def _holds(op: str, a: int | Fraction, b: int | Fraction) -> bool:
    return {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b}[op]


def _min_max(node: MinMax, numeric: bool, emit: Emit) -> Node:
    if len(node.args) == 1 and kind_of(node.args[0].type) == kind_of(node.type):
        return node.args[0]
    if len(node.args) == 1 and shape(node.args[0].type) == shape(node.type):
        return as_kind(node.args[0], node.type)
    if not is_exact(node, numeric):
        return node
    args: list[Node] = []
    limits: list[Fraction] = []
    for x in dict.fromkeys(node.args):
        value = number(x)
        if value is None:
            args.append(x)
        else:
            limits.append(value)
    if not _spreads(node, args) or len(args) + bool(limits) == len(node.args):
        return node
    if limits:
        limit = min(limits) if node.op == "min" else max(limits)
        t = INT if limit.denominator == 1 and isinstance(scalar_of(node.type), Int) else REAL
        args.append(emit(Const(convert(limit, t), t, node.span)))
    return replace(node, args=tuple(args))


def _floor_div(node: FloorDiv) -> Node:
    if isinstance(scalar_of(node.x.type), Int) and isinstance(scalar_of(node.type), Int) and node.divisor == 1:
        if node.op == "//":
            return node.x
        if not shape(node.type):
            return constant(0, node.type, node.span)
    return node


def _mux(node: Mux, numeric: bool) -> Node:
    dims = shape(node.type)
    if isinstance(node.condition, Const) and isinstance(node.condition.value, bool):
        taken = node.then if node.condition.value else node.other
        if shape(taken.type) == dims:
            return as_kind(taken, node.type)
    if node.then is node.other and shape(node.then.type) == dims:
        return as_kind(node.then, node.type)
    a, b = number(node.then), number(node.other)
    if a is not None and b is not None and not dims and is_exact(node, numeric):
        return Affine(((_tidy(a - b), node.condition),), _tidy(b), node.type, node.span)
    return node


def _table(node: Table, numeric: bool) -> Node:
    """Constant arguments are filled in, arguments that do not matter go; a table of one bool becomes arithmetic."""
    if all(_same(e, node.entries[0]) for e in node.entries):
        return constant(convert(node.entries[0], node.type, numeric), node.type, node.span)
    for k, x in enumerate(node.args):
        if len(node.args) > 1 and isinstance(x, Const) and not isinstance(x.value, tuple):
            code = min(max(int(x.value) - node.los[k], 0), node.sizes[k] - 1)
            return _without(node, k, code)
    for k in range(len(node.args)):
        if len(node.args) > 1 and _does_not_matter(node, k):
            return _without(node, k, 0)
    for k, x in enumerate(node.args):
        if x in node.args[:k]:
            return _merged(node, node.args.index(x), k)
    if len(node.args) == 1:
        return _table_of_one(node, numeric)
    return node


def _table_of_one(node: Table, numeric: bool) -> Node:
    x, = node.args
    if isinstance(x.type, Bool) and node.los == (0,) and len(node.entries) == 2:
        off, on = node.entries
        if isinstance(node.type, Bool):
            return x if on else Logic("not", (x,), BOOL, node.span)
        if isinstance(node.type, Int | Real) and is_exact(node, numeric):
            a, b = Fraction(_rational(on)), Fraction(_rational(off))
            return Affine(((_tidy(a - b), x),), _tidy(b), node.type, node.span)
    lo = node.los[0]
    inside = isinstance(x.type, Symbols) and x.type == node.type
    if isinstance(x.type, Int) and isinstance(node.type, Int):
        inside = x.type.lo is not None and x.type.hi is not None \
            and x.type.lo >= lo and x.type.hi < lo + len(node.entries)
    if inside and all(e == lo + i for i, e in enumerate(node.entries)):
        return x
    return node


def _rational(value: Value) -> int | Fraction:
    if isinstance(value, tuple | float):
        raise AssertionError("an exact table holds rationals")
    return value


def _same(a: Value, b: Value) -> bool:
    """Equality that keeps 0.0 and -0.0 apart."""
    return a == b and (not isinstance(a, float) or str(a) == str(b))


def _does_not_matter(node: Table, k: int) -> bool:
    inner = prod(node.sizes[k + 1 :])
    block = inner * node.sizes[k]
    for start in range(0, len(node.entries), block):
        first = node.entries[start : start + inner]
        for i in range(start + inner, start + block, inner):
            if not all(map(_same, first, node.entries[i : i + inner])):
                return False
    return True


def _without(node: Table, k: int, code: int) -> Table:
    """The table with argument k fixed at its value number `code`."""
    inner = prod(node.sizes[k + 1 :])
    block = inner * node.sizes[k]
    entries: list[Value] = []
    for start in range(code * inner, len(node.entries), block):
        entries += node.entries[start : start + inner]
    return replace(node, args=_but(node.args, k), los=_but(node.los, k), sizes=_but(node.sizes, k),
                   entries=tuple(entries))


def _but(items: tuple[object, ...], k: int) -> tuple:  # type: ignore[type-arg]
    return items[:k] + items[k + 1 :]


def _merged(node: Table, first: int, second: int) -> Table:
    """The table whose arguments number `first` and `second` are one node: over the union of their domains."""
    low = min(node.los[first], node.los[second])
    high = max(node.los[k] + node.sizes[k] for k in (first, second))
    n = high - low
    if n > node.sizes[first] * node.sizes[second]:
        return node
    sizes = [n if k == first else s for k, s in enumerate(node.sizes)]
    los = [low if k == first else lo for k, lo in enumerate(node.los)]
    kept = [k for k in range(len(node.args)) if k != second]
    entries: list[Value] = []
    for place in range(prod(sizes[k] for k in kept)):
        codes: dict[int, int] = {}
        rest = place
        for k in reversed(kept):
            rest, code = divmod(rest, sizes[k])
            codes[k] = code + los[k]
        codes[second] = codes[first]
        at = 0
        for k, (lo, size) in enumerate(zip(node.los, node.sizes, strict=True)):
            at = at * size + min(max(codes[k] - lo, 0), size - 1)
        entries.append(node.entries[at])
    return replace(node, args=_but(node.args, second), los=_but(tuple(los), second), sizes=_but(tuple(sizes), second),
                   entries=tuple(entries))


def _part(node: Index | Slice, emit: Emit) -> Node:
    """A part of a vector that is put together here, or of another part."""
    v = node.vector
    count = v.type.size if isinstance(v.type, Vector) else 0
    if isinstance(node, Slice):
        if (node.lo, node.hi) == (0, count - 1) and kind_of(v.type) == kind_of(node.type):
            return v
        if isinstance(v, Slice):
            return replace(node, vector=v.vector, lo=v.lo + node.lo, hi=v.lo + node.hi)
        if isinstance(v, Pack):
            return Pack(v.elements[node.lo : node.hi + 1], node.type, node.span)
        return node
    if not isinstance(node.index, Const) or not isinstance(node.index.value, int):
        return node
    i = min(max(node.index.value, 0), count - 1)
    if isinstance(v, Pack) and count:
        elem = v.elements[i]
        if kind_of(elem.type) == kind_of(node.type):
            return elem
        return node if shape(elem.type) else as_kind(elem, node.type)
    if isinstance(v, Slice):
        return replace(node, vector=v.vector, index=emit(Const(v.lo + i, INT, node.index.span)))
    return node


def _pack(node: Pack) -> Node:
    """`[v[0], …, v[n-1]]` is v."""
    first = node.elements[0] if node.elements else None
    if isinstance(first, Index) and kind_of(first.vector.type) == kind_of(node.type):
        if all(isinstance(e, Index) and e.vector is first.vector and isinstance(e.index, Const) and e.index.value == i
               for i, e in enumerate(node.elements)):
            return first.vector
    return node
