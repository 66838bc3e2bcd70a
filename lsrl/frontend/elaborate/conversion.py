"""A value where a type is declared: kinds and shapes are checked, ints widen to reals, ranges become checks."""

from __future__ import annotations

from fractions import Fraction

from lsrl.diagnostics import Span, did_you_mean
from lsrl.frontend.elaborate.context import Context
from lsrl.frontend.elaborate.types import exact_type, fits, join, plain, same_kind
from lsrl.frontend.elaborate.values import (
    POISON,
    Data,
    Items,
    Poison,
    Poisoned,
    Problem,
    RecordValue,
    Static,
    Text,
    show_constant,
    words_for,
)
from lsrl.ir.nodes import Affine, Compare, Const, FloorDiv, Node
from lsrl.types import (
    BOOL,
    INT,
    REAL,
    Bool,
    Int,
    Real,
    Record,
    Symbols,
    Type,
    Value,
    Vector,
    quote_symbol,
    scalar_of,
    shape,
    with_shape,
)

__all__ = ["convert", "convert_record", "data", "symbol_constant", "to_real"]


def data(value: Static, span: Span) -> Data:
    """The value as a stream or constant. Raises Problem for a compile-time thing, Poisoned for an error."""
    if isinstance(value, Data):
        return value
    if isinstance(value, Poison):
        raise Poisoned
    if isinstance(value, Text | Items):
        raise Problem("L215", f"which alphabet {words_for(value)} belongs to is not known here", span,
                      help="compare it with a stream of symbols, or give the name a type: x: T = …")
    if isinstance(value, RecordValue):
        fields = ", ".join(f".{n}" for n in value.fields)
        raise Problem("L211", "a record is not a value of a stream", span, help=f"take one of its fields: {fields}")
    raise Problem("L201", f"{words_for(value)} is not a value of a stream", span)


def symbol_constant(ctx: Context, text: str, t: Symbols, span: Span) -> Data:
    """The constant for a symbol named in the program. Raises Problem L216 for one that the alphabet does not name."""
    if text not in t.names:
        near = did_you_mean(text, t.names)
        help = near.replace("`", '"') if near else f"the alphabet is {t}"
        if t.other and not near:
            help = "it falls under `*`, together with all others; name it in the alphabet to tell it apart"
        raise Problem("L216", f"the symbol {quote_symbol(text)} is not in the alphabet {t}", span, help=help)
    return Data(ctx.constant(t.names.index(text), t, span), t)


def to_real(ctx: Context, node: Node, span: Span) -> Node:
    """An int node as a real one; reals as they are."""
    if not isinstance(scalar_of(node.type), Int):
        return node
    t = with_shape(REAL, shape(node.type))
    if isinstance(node, Const):
        return ctx.constant(_fractions(node.value), t, span)
    return ctx.add(Affine(((1, node),), 0, t, span))


def _fractions(value: Value) -> Value:
    return tuple([_fractions(v) for v in value]) if isinstance(value, tuple) else Fraction(value)


def _spread(ctx: Context, node: Node, dims: tuple[int, ...], wanted: tuple[int, ...], span: Span) -> Node:
    """A node of the first of the wanted dimensions repeated over the others."""
    if dims:
        rows = [_spread(ctx, row, dims[1:], wanted[1:], span) for row in ctx.elements(node, span)]
        return ctx.pack(rows, Vector(rows[0].type, len(rows)), span)
    for n in reversed(wanted):
        node = ctx.pack([node] * n, Vector(node.type, n), span)
    return node


def convert(ctx: Context, value: Static, declared: Type, span: Span, what: str, *, spread: bool = False,
            of_state: bool = False, statement: Span | None = None) -> Data:
    """The value as one of the declared type.

    A range that is not plainly kept gives a check (L204), for a constant an error. what: the words for messages.
    statement: what the check points at, if not the value.
    spread: may a scalar stand for a vector of it? of_state: see `Context.check`. Raises Problem L201, L205, L216.
    """
    if isinstance(value, Text):
        scalar = scalar_of(declared)
        if not isinstance(scalar, Symbols):
            raise Problem("L201", f"{what} is `{declared}`, and this is a symbol", span)
        value = symbol_constant(ctx, value.text, scalar, span)
    if isinstance(value, Items):
        if not isinstance(declared, Vector):
            raise Problem("L201", f"{what} is `{declared}`, and this is a vector of symbols", span)
        items = [convert(ctx, item, declared.elem, span, what) for item in value.items]
        value = Data(ctx.pack([i.node for i in items], Vector(declared.elem, len(items)), span),
                     Vector(declared.elem, len(items)))
    found = data(value, span)
    node, t = found.node, found.type
    dims, wanted = shape(t), shape(declared)
    if spread and len(dims) < len(wanted) and wanted[: len(dims)] == dims:
        node = _spread(ctx, node, dims, wanted, span)
        t = with_shape(scalar_of(t), wanted)
    if isinstance(scalar_of(t), Int) and isinstance(scalar_of(declared), Real) and shape(t) == shape(declared):
        node = to_real(ctx, node, span)
    elif not same_kind(t, declared):
        raise _mismatch(t, declared, span, what)
    if not fits(node.type if of_state else t, declared):
        _check_range(ctx, node, declared, span, statement or span, what, of_state)
    return Data(_retyped(ctx, node, declared), declared)


def _retyped(ctx: Context, node: Node, declared: Type) -> Node:
    """A constant takes the declared type, so that tables and choices of them keep it."""
    if isinstance(node, Const) and node.type != declared:
        return ctx.constant(node.value, declared, node.span)
    return node


def _mismatch(t: Type, declared: Type, span: Span, what: str) -> Problem:
    if same_kind(scalar_of(t), scalar_of(declared)):
        return Problem("L205", f"{what} is `{declared}`, and this is `{t}`: the sizes differ", span)
    help = ""
    if isinstance(declared, Int) and isinstance(t, Bool):
        help = "write int(…) for 0 or 1"
    elif isinstance(declared, Bool) and isinstance(t, Int):
        help = "write bool(…), or compare: … != 0"
    elif isinstance(declared, Int) and isinstance(t, Real):
        help = "round it with // 1"
    elif isinstance(declared, Int) and isinstance(t, Symbols):
        help = "write code(…) for the index of a symbol in its alphabet"
    return Problem("L201", f"{what} is `{declared}`, and this is `{t}`", span, help=help)


def _check_range(ctx: Context, node: Node, declared: Type, value: Span, span: Span, what: str, of_state: bool) -> None:
    """A check that a node keeps to a declared range; for a constant that does not, an error."""
    message = f"{what} leaves its range {declared}"
    help = _help(declared, value)
    if isinstance(node, Const):
        if not fits(exact_type(node.value, node.type), declared):
            raise Problem("L204", message, span, label=f"is {show_constant(node.value, node.type)}", help=help)
        return
    scalar = scalar_of(declared)
    conditions = [c for leaf in ctx.leaves(node, span) for c in _bounds(ctx, leaf, scalar, span)]
    ctx.check("range", "L204", message, ctx.both("and", conditions, span), Data(node, declared), span, of_state,
              help)


def _help(declared: Type, value: Span) -> str:
    """What to write so that a value keeps to a range."""
    t = scalar_of(declared)
    text = value.text if len(value.text) <= 40 and "\n" not in value.text else "…"
    if isinstance(t, Real) and t.grid is not None:
        return f"its values are multiples of {t.grid} from {t.lo} to {t.hi}: widen the range, or round with //"
    if isinstance(t, Int | Real) and t.lo is not None and t.hi is not None:
        return f"widen the range, or clamp({text}, {t.lo}, {t.hi})"
    return "widen the range"


def _bounds(ctx: Context, node: Node, declared: Type, span: Span) -> list[Node]:
    """The conditions that make a scalar node one of the declared type."""
    if not isinstance(declared, Int | Real) or fits(node.type, declared):
        return []
    out: list[Node] = []
    number = INT if isinstance(declared, Int) else REAL
    if declared.lo is not None:
        out.append(ctx.add(Compare("<=", ctx.constant(declared.lo, number, span), node, BOOL, span)))
    if declared.hi is not None:
        out.append(ctx.add(Compare("<=", node, ctx.constant(declared.hi, number, span), BOOL, span)))
    if isinstance(declared, Real) and declared.grid is not None:
        rest = ctx.add(FloorDiv("%", node, declared.grid, REAL, span))
        out.append(ctx.add(Compare("==", rest, ctx.constant(Fraction(0), REAL, span), BOOL, span)))
    return out


def convert_record(ctx: Context, value: Static, declared: Record, span: Span, what: str,
                   spans: dict[str, Span] | None = None) -> RecordValue:
    """A record result, field by field. `spans`: where the fields were written. Raises Problem."""
    if isinstance(value, Poison):
        raise Poisoned
    if not isinstance(value, RecordValue):
        wanted = ", ".join(f"{n} = …" for n, _ in declared.fields)
        raise Problem("L201", f"{what} is a record, and this is {words_for(value)}", span,
                      help=f"write return ({wanted})")
    names = [n for n, _ in declared.fields]
    for name in value.fields:
        if name not in names:
            place = (spans or {}).get(name, span)
            raise Problem("L104", f"{what} has no field `{name}`", place, help=did_you_mean(name, names))
    out: dict[str, Data] = {}
    for name, t in declared.fields:
        if name not in value.fields:
            raise Problem("L104", f"{what} lacks the field `{name}`", span)
        with ctx.recover():
            out[name] = convert(ctx, value.fields[name], t, (spans or {}).get(name, span), f"`{name}`")
    if len(out) < len(names):
        raise Poisoned
    return RecordValue(out)


def joined(ctx: Context, values: list[Static], span: Span, what: str) -> list[Data]:
    """The values of the branches of a choice, made of one kind: texts take the alphabet of the others.

    Where all are texts, their alphabet is that of the texts, in order. Raises Problem L201.
    """
    known = [v for v in values if isinstance(v, Data)]
    if all(isinstance(v, Text) for v in values):
        texts = tuple(dict.fromkeys(v.text for v in values if isinstance(v, Text)))
        return [symbol_constant(ctx, v.text, Symbols(texts), span) for v in values if isinstance(v, Text)]
    out: list[Data] = []
    for v in values:
        if isinstance(v, Text | Items) and known:
            out.append(convert(ctx, v, plain(known[0].type), span, what))
        else:
            out.append(data(v, span))
    t = scalar_of(out[0].type)
    for v in out[1:]:
        t2 = join(t, scalar_of(v.type))
        if t2 is None:
            raise Problem("L201", f"{what} are of different types: `{out[0].type}` and `{v.type}`", span)
        t = t2
    dims = {shape(v.type) for v in out} - {()}
    if len(dims) > 1:
        a, b, *_ = sorted(dims)
        raise Problem("L205", f"{what} have different sizes: {list(a)} and {list(b)}", span)
    return out


def poisoned(values: list[Static]) -> bool:
    """Is one of the values an error that was reported already?"""
    return any(v is POISON for v in values)
