"""Types: from their text to `lsrl.types`, how two of them join, and how generics are found from arguments."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

from lsrl.diagnostics import Span
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.values import Data, Poison, Poisoned, Problem, StateSlot, Static, TypeValue, words_for
from lsrl.types import BOOL, BYTE, INT, REAL, Int, Real, Record, Symbols, Type, Value, Vector, quote_symbol

if TYPE_CHECKING:
    from lsrl.frontend.elaborate.context import Context

__all__ = ["BUILTIN_TYPES", "ELEMENT_LIMIT", "exact_type", "fits", "join", "match_type", "plain", "resolve_type",
           "same_kind", "static_type", "type_of_argument", "type_variables"]

BUILTIN_TYPES: dict[str, Type] = {"bool": BOOL, "int": INT, "real": REAL, "byte": BYTE}
ELEMENT_LIMIT = 1_000_000  # elements of one vector
_N = TypeVar("_N", int, Fraction)


def plain(t: Type) -> Type:
    """The type without its ranges."""
    match t:
        case Int():
            return INT
        case Real():
            return REAL
        case Vector(elem=elem, size=n):
            return Vector(plain(elem), n)
        case _:
            return t


def same_kind(a: Type, b: Type) -> bool:
    """Are they equal but for ranges?"""
    return plain(a) == plain(b)


def join(a: Type, b: Type) -> Type | None:
    """The narrowest type that holds the values of both, int widening to real; None if there is none."""
    if a == b:
        return a
    match a, b:
        case Int(), Int():
            return Int(_least(a.lo, b.lo), _greatest(a.hi, b.hi))
        case (Int() | Real()), (Int() | Real()):
            ra, rb = _as_real(a), _as_real(b)
            return Real(_least(ra.lo, rb.lo), _greatest(ra.hi, rb.hi), _common_grid(ra.grid, rb.grid))
        case Vector(), Vector():
            elem = join(a.elem, b.elem)
            return Vector(elem, a.size) if elem is not None and a.size == b.size else None
        case _:
            return None


def _least(a: _N | None, b: _N | None) -> _N | None:
    return None if a is None or b is None else min(a, b)


def _greatest(a: _N | None, b: _N | None) -> _N | None:
    return None if a is None or b is None else max(a, b)


def _as_real(t: Int | Real) -> Real:
    """The real type of the values of an int type."""
    if isinstance(t, Real):
        return t
    return Real(None if t.lo is None else Fraction(t.lo), None if t.hi is None else Fraction(t.hi), Fraction(1))


def _common_grid(a: Fraction | None, b: Fraction | None) -> Fraction | None:
    """The largest rational of which both are multiples."""
    if a is None or b is None:
        return None
    return Fraction(math.gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator)


def exact_type(value: Value, t: Type) -> Type:
    """The narrowest type of a constant; the type itself for bools, symbols and a real 0."""
    if isinstance(value, tuple):
        elem = t.elem if isinstance(t, Vector) else t
        out = exact_type(value[0], elem)
        for v in value[1:]:
            out = join(out, exact_type(v, elem)) or elem
        return Vector(out, len(value))
    if isinstance(t, Int) and isinstance(value, int):
        return Int(value, value)
    if isinstance(t, Real) and isinstance(value, int | Fraction):
        exact = Fraction(value)
        return Real(exact, exact, abs(exact) if exact else Fraction(1))
    return t


def static_type(value: Data) -> Type:
    """The narrowest type known of a value: that of the constant, or the static type."""
    return exact_type(value.value, value.type) if value.constant else value.type


def fits(t: Type, declared: Type) -> bool:
    """Is every value of `t` one of `declared`, which is of the same kind or wider?"""
    match t, declared:
        case Vector(), Vector():
            return fits(t.elem, declared.elem)
        case Int(), Int():
            return _inside(t.lo, t.hi, declared.lo, declared.hi)
        case (Int() | Real()), Real():
            real = _as_real(t)
            if not _inside(real.lo, real.hi, declared.lo, declared.hi):
                return False
            return declared.grid is None or (real.grid is not None and (real.grid / declared.grid).denominator == 1)
        case _:
            return True


def _inside(lo: _N | None, hi: _N | None, low: _N | None, high: _N | None) -> bool:
    return (low is None or (lo is not None and lo >= low)) and (high is None or (hi is not None and hi <= high))


# ---------------------------------------------------------------- from text


def resolve_type(ctx: Context, t: syntax.TypeExpr) -> Type:
    """The type that a type's text means here. Raises Problem."""
    match t:
        case syntax.TypeName():
            return _named(ctx, t.name)
        case syntax.RangeType():
            return _range(ctx, t)
        case syntax.AlphabetType():
            return _alphabet(t)
        case syntax.UnionType():
            return _union(ctx, t)
        case syntax.ArrayType():
            return _array(ctx, t)
        case syntax.RecordType():
            seen: dict[str, Type] = {}
            for name, field in t.fields:
                if name.id in seen:
                    raise Problem("L102", f"the field `{name.id}` stands twice", name.span)
                seen[name.id] = _stream_type(ctx, field)
            return Record(tuple(seen.items()))


def _stream_type(ctx: Context, t: syntax.TypeExpr) -> Type:
    found = resolve_type(ctx, t)
    if isinstance(found, Record):
        raise Problem("L211", "a record can only be the result of a program or def", t.span)
    return found


def _named(ctx: Context, name: syntax.Name) -> Type:
    from lsrl.frontend.elaborate.names import look_up

    found = look_up(ctx, name)
    if isinstance(found, TypeValue):
        return found.type
    if isinstance(found, Poison):
        raise Poisoned
    what = words_for(found) if not isinstance(found, StateSlot) else "a state"
    raise Problem("L212", f"`{name.id}` is not a type, but {what}", name.span)


def _rational(ctx: Context, e: syntax.Expr, what: str) -> Fraction:
    from lsrl.frontend.elaborate.constants import constant_number

    return Fraction(constant_number(ctx, e, what))


def _range(ctx: Context, t: syntax.RangeType) -> Type:
    from lsrl.frontend.elaborate.constants import constant_int

    if t.base == "int":
        low, high = constant_int(ctx, t.lo, "the lower bound"), constant_int(ctx, t.hi, "the upper bound")
        if low > high:
            raise Problem("L213", f"the range {low}..{high} is empty", t.span)
        return Int(low, high)
    lo, hi = _rational(ctx, t.lo, "the lower bound"), _rational(ctx, t.hi, "the upper bound")
    if lo > hi:
        raise Problem("L213", f"the range {lo}..{hi} is empty", t.span)
    grid = None if t.by is None else _rational(ctx, t.by, "the grid")
    if grid is not None and grid <= 0:
        raise Problem("L213", "the grid of a real range is positive", t.span if t.by is None else t.by.span)
    if grid is not None and math.ceil(lo / grid) > math.floor(hi / grid):
        raise Problem("L213", f"no multiple of {grid} lies in {lo}..{hi}", t.span)
    return Real(lo, hi, grid)


def _alphabet(t: syntax.AlphabetType) -> Symbols:
    names: dict[str, Span] = {}
    other = False

    def add(symbol: str, span: Span) -> None:
        if symbol in names:
            raise Problem("L214", f"the symbol {quote_symbol(symbol)} stands twice in this alphabet", span)
        names[symbol] = span

    for item in t.items:
        if item is None:
            if other:
                raise Problem("L214", "`*` stands twice in this alphabet", t.span)
            other = True
        elif isinstance(item, tuple):
            first, last = item
            for code in range(ord(first.value), ord(last.value) + 1):
                add(chr(code), first.span.to(last.span))
        else:
            add(item.value, item.span)
    return Symbols(tuple(names), other)


def _union(ctx: Context, t: syntax.UnionType) -> Symbols:
    names: dict[str, None] = {}
    other = False
    for part in t.parts:
        found = resolve_type(ctx, part)
        if not isinstance(found, Symbols):
            raise Problem("L212", f"`|` joins alphabets, and this is `{found}`", part.span)
        names.update(dict.fromkeys(found.names))
        other = other or found.other
    return Symbols(tuple(names), other)


def _array(ctx: Context, t: syntax.ArrayType) -> Type:
    from lsrl.frontend.elaborate.constants import constant_int

    elem = _stream_type(ctx, t.elem)
    total = 1
    for dim in reversed(t.dims):
        n = constant_int(ctx, dim, "the size of a vector")
        if n < 1:
            raise Problem("L205", f"a vector has at least one element, not {n}", dim.span)
        elem = Vector(elem, n)
        total *= n
    if total > ELEMENT_LIMIT:
        raise Problem("L210", f"this vector has {total} elements; the limit is {ELEMENT_LIMIT}", t.span)
    return elem


# ---------------------------------------------------------------- generics


def match_type(ctx: Context, pattern: syntax.TypeExpr, actual: Type, free: dict[str, Static | None],
               constant: bool = False) -> None:
    """Find the generics in `pattern` from the type of an argument.

    actual: the type of a stream, or the exact type of a constant. free: the generics of the definition called, None
    where not found yet; changed in place. A type variable found twice takes the join; one found from a constant alone
    is int or real without a range. Whether the argument fits is for the conversion to say.
    """
    match pattern:
        case syntax.TypeName() if pattern.name.id in free:
            before = free[pattern.name.id]
            joined = join(before.type, actual) if isinstance(before, TypeValue) else None
            if before is None or joined is not None:
                free[pattern.name.id] = TypeValue(joined or (plain(actual) if constant else actual))
        case syntax.ArrayType():
            for dim in pattern.dims:
                if not isinstance(actual, Vector):
                    return
                _match_number(ctx, dim, actual.size, free)
                actual = actual.elem
            match_type(ctx, pattern.elem, actual, free, constant)
        case syntax.RangeType() if isinstance(actual, Int) and pattern.base == "int":
            _match_number(ctx, pattern.lo, actual.lo, free)
            _match_number(ctx, pattern.hi, actual.hi, free)


def _match_number(ctx: Context, e: syntax.Expr, n: int | None, free: dict[str, Static | None]) -> None:
    if isinstance(e, syntax.Name) and n is not None and e.id in free and free[e.id] is None:
        free[e.id] = Data(ctx.number(n, e.span), INT)


def type_of_argument(ctx: Context, arg: syntax.Expr | syntax.TypeExpr) -> Type | None:
    """The type that an argument such as that of `size(T)` names; None if it is a value."""
    from lsrl.frontend.elaborate.names import look_up

    match arg:
        case syntax.TypeName() | syntax.RangeType() | syntax.AlphabetType() | syntax.UnionType() | syntax.ArrayType() \
                | syntax.RecordType():
            return resolve_type(ctx, arg)
        case syntax.Name():
            found = look_up(ctx, arg)
            return found.type if isinstance(found, TypeValue) else None
        case syntax.Field(value=syntax.Name() as module, name=name):
            dotted = syntax.Name(f"{module.id}.{name.id}", arg.span)
            entity = ctx.frame.module.look_up(dotted.id)
            imported = None if entity is None else look_up(ctx, dotted)
            return imported.type if isinstance(imported, TypeValue) else None
        case syntax.Subscript(value=syntax.Name() as base, indices=indices):
            elem = type_of_argument(ctx, base)
            if elem is None or any(isinstance(i, syntax.Range) for i in indices):
                return None
            dims = tuple(i for i in indices if not isinstance(i, syntax.Range))
            return _array(ctx, syntax.ArrayType(syntax.TypeName(base, base.span), dims, arg.span))
        case _:
            return None


def type_variables(d: syntax.Definition) -> set[str]:
    """The generics that stand where a type does."""
    out: set[str] = set()
    todo: list[syntax.TypeExpr] = [p.type for p in d.parameters if p.type is not None]
    if d.result is not None:
        todo.append(d.result)
    while todo:
        t = todo.pop()
        match t:
            case syntax.TypeName():
                out.add(t.name.id)
            case syntax.ArrayType():
                todo.append(t.elem)
            case syntax.RecordType():
                todo += [f for _, f in t.fields]
            case syntax.UnionType():
                todo += t.parts
            case syntax.RangeType() | syntax.AlphabetType():
                pass
    return out
