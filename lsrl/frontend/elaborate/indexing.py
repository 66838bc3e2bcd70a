"""Elements and slices of vectors, read and assigned, by constants and by streams."""

from __future__ import annotations

from lsrl.diagnostics import Span
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.constants import constant_int
from lsrl.frontend.elaborate.context import Context, Parts
from lsrl.frontend.elaborate.conversion import convert, data
from lsrl.frontend.elaborate.expressions import expression, handles, pack_data, stream
from lsrl.frontend.elaborate.values import Data, Items, Problem, StateSlot, Static
from lsrl.ir.nodes import Affine, Compare, Const, FloorDiv, Index, Node, Slice, Table
from lsrl.types import BOOL, INT, Bool, Int, Real, Symbols, Type, Vector, is_finite, shape, size

__all__ = ["assign_element", "code_of"]


def code_of(ctx: Context, x: Data, span: Span) -> Data:
    """The place of a finite scalar's value among the values of its type, as an int from 0; an int as it is."""
    match x.type:
        case Int():
            return x
        case Bool():
            t = Int(0, 1)
            return Data(ctx.add(Affine(((1, x.node),), 0, t, span)), t)
        case Symbols():
            n = size(x.type) or 1
            t = Int(0, n - 1)
            return Data(ctx.add(Table((x.node,), (0,), (n,), tuple(range(n)), t, span)), t)
        case Real(grid=grid) if grid is not None and is_finite(x.type):
            first = -(-(x.type.lo or 0) // grid)  # the least multiple
            place = ctx.add(FloorDiv("//", x.node, grid, INT, span))
            t = Int(0, (size(x.type) or 1) - 1)
            return Data(ctx.add(Affine(((1, place),), -int(first), t, span)), t)
        case _:
            raise Problem("L202", f"an index is an int, a bool or a symbol, not `{x.type}`", span)


@handles(syntax.Subscript)
def _subscript(ctx: Context, e: syntax.Subscript, expected: Type | None) -> Static:
    value = expression(ctx, e.value)
    if isinstance(value, Items) and len(e.indices) == 1 and not isinstance(e.indices[0], syntax.Range):
        i = constant_int(ctx, e.indices[0], "the index of a vector of texts")
        if not 0 <= i < len(value.items):
            raise _outside(e.indices[0].span, i, len(value.items))
        return value.items[i]
    return _element(ctx, data(value, e.value.span), list(e.indices), e)


def _element(ctx: Context, v: Data, indices: list[syntax.Expr | syntax.Range], e: syntax.Subscript) -> Data:
    if not indices:
        return v
    first, rest = indices[0], indices[1:]
    if not isinstance(v.type, Vector):
        if len(e.indices) == 1:
            raise Problem("L205", f"only a vector has elements, and this is `{v.type}`", e.value.span)
        depth = len(e.indices) - len(indices)
        raise Problem("L205", f"this is one index too many: the vector has {depth} "
                              f"dimension{'s' if depth > 1 else ''}", first.span)
    if isinstance(first, syntax.Range):
        part = _slice(ctx, v, first, e.span)
        if not rest:
            return part
        assert isinstance(part.type, Vector)
        rows = [Data(n, part.type.elem) for n in ctx.elements(part.node, e.span)]
        return pack_data(ctx, [_element(ctx, row, rest, e) for row in rows], e.span)
    return _element(ctx, _index(ctx, v, stream(ctx, first), first.span, e), rest, e)


def _index(ctx: Context, v: Data, index: Data, span: Span, e: syntax.Subscript) -> Data:
    assert isinstance(v.type, Vector)
    if shape(index.type):
        raise Problem("L205", f"an index is one value, and this is `{index.type}`", span)
    n, elem = v.type.size, v.type.elem
    code = code_of(ctx, index, span)
    if isinstance(code.node, Const) and isinstance(code.node.value, int):
        if not 0 <= code.node.value < n:
            raise _outside(span, code.node.value, n)
        return Data(ctx.element(v.node, code.node.value, e.span), elem)
    _check_index(ctx, code, n, span)
    assert isinstance(v.node.type, Vector)
    return Data(ctx.add(Index(v.node, code.node, v.node.type.elem, e.span)), elem)


def _outside(span: Span, i: int, n: int) -> Problem:
    help = "indices count from 0, and a negative one is an error" if i < 0 else "indices count from 0"
    return Problem("L217", f"the index {i} is outside 0..{n - 1}: the vector has {n} elements", span, help=help)


def _check_index(ctx: Context, code: Data, n: int, span: Span, of_state: bool = False) -> None:
    """A check that an int stream is an index of a vector of n elements, unless its type says so."""
    t = code.node.type if of_state else code.type
    low = isinstance(t, Int) and t.lo is not None and t.lo >= 0
    high = isinstance(t, Int) and t.hi is not None and t.hi < n
    conditions: list[Node] = []
    if not low:
        conditions.append(ctx.add(Compare("<=", ctx.number(0, span), code.node, BOOL, span)))
    if not high:
        conditions.append(ctx.add(Compare("<=", code.node, ctx.number(n - 1, span), BOOL, span)))
    if conditions:
        text = span.text if len(span.text) <= 40 and "\n" not in span.text else "this"
        message = f"the index `{text}` of a vector of {n} leaves 0..{n - 1}"
        ctx.check("range", "L204", message, ctx.both("and", conditions, span), code, span, of_state)


def _slice(ctx: Context, v: Data, r: syntax.Range, span: Span) -> Data:
    assert isinstance(v.type, Vector) and isinstance(v.node.type, Vector)
    lo, hi = constant_int(ctx, r.lo, "the start of a slice"), constant_int(ctx, r.hi, "the end of a slice")
    n = v.type.size
    for bound, place in ((lo, r.lo.span), (hi, r.hi.span)):
        if not 0 <= bound < n:
            raise _outside(place, bound, n)
    if hi < lo:
        raise Problem("L205", f"the slice {lo}..{hi} is empty, and a vector has at least one element", r.span,
                      help="both ends are included")
    static = Vector(v.type.elem, hi - lo + 1)
    if (lo, hi) == (0, n - 1):
        return v
    exact = Vector(v.node.type.elem, hi - lo + 1)
    if isinstance(v.node, Const):
        return Data(ctx.pack(ctx.elements(v.node, span)[lo : hi + 1], exact, span), static)
    return Data(ctx.add(Slice(v.node, lo, hi, exact, span)), static)


# ---------------------------------------------------------------- assignment


def assign_element(ctx: Context, slot: StateSlot, s: syntax.Assign) -> None:
    """`v[i] := e`, `m[i, j] := e`, `m[i] := row`. Raises Problem."""
    dims = shape(slot.type)
    if len(s.indices) > len(dims):
        takes = "no index" if not dims else "one index" if len(dims) == 1 else f"at most {len(dims)} indices"
        raise Problem("L205", f"`{s.name.id}` is `{slot.type}`: it takes {takes}", s.span)
    indices = [_index_of_state(ctx, i, dims[k]) for k, i in enumerate(s.indices)]
    declared = slot.type
    for _ in indices:
        assert isinstance(declared, Vector)
        declared = declared.elem
    value = convert(ctx, expression(ctx, s.value, declared), declared, s.value.span, f"`{s.name.id}[…]`",
                    spread=True, of_state=True, statement=s.span)
    assert isinstance(slot.type, Vector)
    elements = _replaced(ctx, ctx.parts(slot, s.span), slot.type.elem, indices, value.node, s.span)
    ctx.assign(slot, Parts(elements, ctx.vector_type(elements, slot.type), s.span))


def _index_of_state(ctx: Context, e: syntax.Expr, n: int) -> Data:
    code = code_of(ctx, stream(ctx, e), e.span)
    if isinstance(code.node, Const) and isinstance(code.node.value, int):
        if not 0 <= code.node.value < n:
            raise _outside(e.span, code.node.value, n)
    else:
        _check_index(ctx, code, n, e.span, of_state=True)
    return code


def _replaced(ctx: Context, old: list[Node], elem: Type, indices: list[Data], value: Node, span: Span) -> list[Node]:
    """The elements with the one at the indices replaced."""
    index, rest = indices[0], indices[1:]
    out = list(old)
    if isinstance(index.node, Const) and isinstance(index.node.value, int):
        i = index.node.value
        out[i] = _inner(ctx, old[i], elem, rest, value, span)
        return out
    t = index.node.type
    lo = t.lo if isinstance(t, Int) and t.lo is not None else 0
    hi = t.hi if isinstance(t, Int) and t.hi is not None else len(old) - 1
    for k in range(max(lo, 0), min(hi, len(old) - 1) + 1):
        here = ctx.add(Compare("==", index.node, ctx.number(k, span), BOOL, span))
        new = _inner(ctx, old[k], elem, rest, value, span)
        out[k] = ctx.mux(here, new, old[k], ctx.merged_type(new, old[k], elem), span)
    return out


def _inner(ctx: Context, old: Node, elem: Type, rest: list[Data], value: Node, span: Span) -> Node:
    if not rest:
        return value
    assert isinstance(elem, Vector)
    elements = _replaced(ctx, ctx.elements(old, span), elem.elem, rest, value, span)
    return ctx.pack(elements, ctx.vector_type(elements, elem), span)
