"""`match`: patterns as intervals of codes, coverage, and the choice as one Table or a chain of Mux."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from lsrl.diagnostics import Span
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.constants import require_static
from lsrl.frontend.elaborate.context import Context
from lsrl.frontend.elaborate.conversion import data, joined, symbol_constant, to_real
from lsrl.frontend.elaborate.expressions import choose_values, expression, handles
from lsrl.frontend.elaborate.types import exact_type, join
from lsrl.frontend.elaborate.values import (
    POISON,
    Data,
    Poison,
    Poisoned,
    Problem,
    RecordValue,
    Static,
    Text,
    show_constant,
    words_for,
)
from lsrl.ir.nodes import Compare, Const, Node, Table
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
    is_scalar,
    quote_symbol,
    scalar_of,
    shape,
    size,
)

__all__: list[str] = []

TABLE_LIMIT = 65_536
Number: TypeAlias = "int | Fraction"


@dataclass(frozen=True, slots=True)
class _Interval:
    """Codes (of a real subject: values) from lo to hi, both included; None is without end."""

    lo: Number | None
    hi: Number | None


def _domain(t: Type) -> _Interval:
    match t:
        case Bool():
            return _Interval(0, 1)
        case Symbols():
            return _Interval(0, len(t.names) + t.other - 1)
        case Int(lo=lo, hi=hi):
            return _Interval(lo, hi)
        case _:
            return _Interval(None, None)


def _minus(sets: list[_Interval], cut: _Interval, real: bool) -> list[_Interval]:
    """The intervals without one; of reals only whole ones and points are ever told apart."""
    out: list[_Interval] = []
    for s in sets:
        if _before(s.hi, cut.lo) or _before(cut.hi, s.lo):
            out.append(s)
            continue
        step = 0 if real else 1
        if cut.lo is not None and (s.lo is None or s.lo < cut.lo):
            out.append(_Interval(s.lo, cut.lo - step))
        if cut.hi is not None and (s.hi is None or s.hi > cut.hi):
            out.append(_Interval(cut.hi + step, s.hi))
    return out


def _before(hi: Number | None, lo: Number | None) -> bool:
    return hi is not None and lo is not None and hi < lo


@handles(syntax.Match)
def _match(ctx: Context, e: syntax.Match, expected: Type | None) -> Static:
    value = expression(ctx, e.subject)
    if isinstance(value, Text):
        return _match_text(ctx, e, value, expected)
    try:
        subject = data(value, e.subject.span)
        if not is_scalar(subject.type):
            raise Problem("L205", f"`match` takes one value, and this is `{subject.type}`", e.subject.span)
    except Problem as p:
        ctx.report(p)
        subject = None
    except Poisoned:
        subject = None
    if subject is None:
        for arm in e.arms:
            expression(ctx, arm.value, expected)
        raise Poisoned
    patterns = _patterns(ctx, e, subject)
    if subject.constant:
        return _decided(ctx, e, subject, patterns, expected)
    return _Choice(ctx, e, subject, patterns).value(expected)


def _patterns(ctx: Context, e: syntax.Match, subject: Data) -> list[list[_Interval] | None]:
    """What each arm matches, `None` for `_`; reports patterns that repeat and values that none covers."""
    t, real = subject.type, isinstance(subject.type, Real)
    left = [_domain(t)]
    out: list[list[_Interval] | None] = []
    earlier: list[_Interval] = []
    failed = False
    for k, arm in enumerate(e.arms):
        if arm.patterns is None:
            out.append(None)
            left = []
            if k + 1 < len(e.arms):
                ctx.error("L209", "no value reaches the arms after `_`", e.arms[k + 1].span)
            continue
        mine: list[_Interval] = []
        for p in arm.patterns:
            found: list[_Interval] = []
            with ctx.recover():
                found = _pattern(ctx, p, t)
            failed = failed or not found
            if found and all(any(_within(f, o) for o in earlier) for f in found):
                ctx.error("L209", "an earlier pattern takes all that this one matches", p.span)
            earlier += found
            mine += found
            for f in found:
                left = _minus(left, f, real)
        out.append(mine)
    if failed:
        raise Poisoned
    if left and None not in out:
        missing = _missing(left[0], t)
        raise Problem("L203", f"this match does not cover {missing}", e.span,
                      help=f"add an arm {missing} => …, or _ => … for all that is left"
                      if missing.startswith('"') or missing[:1].isdigit() else "add an arm _ => …")
    return out


def _within(inner: _Interval, outer: _Interval) -> bool:
    """Is the whole of `inner`, which has ends, in `outer`?"""
    return (inner.lo is not None and inner.hi is not None
            and not _before(inner.lo, outer.lo) and not _before(outer.hi, inner.hi))


def _missing(left: _Interval, t: Type) -> str:
    if isinstance(t, Symbols) and isinstance(left.lo, int):
        return quote_symbol(t.names[left.lo]) if left.lo < len(t.names) else "the symbols under `*`"
    if isinstance(t, Bool):
        return "true" if left.lo == 1 else "false"
    if isinstance(t, Real):
        return "every real"
    if left.lo is None and left.hi is None:
        return "every int"
    return str(left.lo if left.lo is not None else left.hi)


def _pattern(ctx: Context, p: syntax.Expr | syntax.Range, t: Type) -> list[_Interval]:
    """The codes that a pattern matches. Raises Problem."""
    if isinstance(p, syntax.Range):
        if isinstance(t, Symbols):
            return _symbol_range(ctx, p, t)
        lo, hi = _code(ctx, p.lo, t), _code(ctx, p.hi, t)
        if lo > hi:
            raise Problem("L213", f"the range {lo}..{hi} is empty", p.span)
        return [_Interval(lo, hi)]
    code = _code(ctx, p, t)
    return [_Interval(code, code)]


def _code(ctx: Context, p: syntax.Expr, t: Type) -> Number:
    value = require_static(ctx, expression(ctx, p), p.span, "a pattern")
    if isinstance(value, Text) and isinstance(t, Symbols):
        value = symbol_constant(ctx, value.text, t, p.span)
    if isinstance(value, Data) and isinstance(value.value, int | Fraction):
        found, v = value.type, value.value
        if (isinstance(t, Bool) and isinstance(found, Bool)) or (isinstance(t, Symbols) and found == t):
            return int(v)
        if (isinstance(found, Int) and isinstance(t, Int | Real)) or (isinstance(found, Real) and isinstance(t, Real)):
            if isinstance(t, Int) and (_before(Fraction(v), t.lo) or _before(t.hi, Fraction(v))):
                raise Problem("L218", f"the pattern {v} is outside `{t}`", p.span)
            return v
    raise Problem("L201", f"a value of `{t}` is matched with {words_for(value)}", p.span)


def _symbol_range(ctx: Context, p: syntax.Range, t: Symbols) -> list[_Interval]:
    ends: list[str] = []
    for part in (p.lo, p.hi):
        if not isinstance(part, syntax.String) or len(part.value) != 1:
            raise Problem("L218", "the ends of a range of symbols are one character each", part.span)
        symbol_constant(ctx, part.value, t, part.span)
        ends.append(part.value)
    codes = [i for i, n in enumerate(t.names) if len(n) == 1 and ends[0] <= n <= ends[1]]
    if not codes:
        raise Problem("L213", "this range of symbols is empty", p.span)
    return [_Interval(i, i) for i in codes]


def _match_text(ctx: Context, e: syntax.Match, subject: Text, expected: Type | None) -> Static:
    """A match over a text that is known at compile time, as an argument of a def can be."""
    for arm in e.arms:
        if arm.patterns is None:
            return expression(ctx, arm.value, expected)
        for p in arm.patterns:
            if isinstance(p, syntax.Range):
                raise Problem("L218", "a text is not matched with a range", p.span)
            value = expression(ctx, p)
            if isinstance(value, Text) and value.text == subject.text:
                return expression(ctx, arm.value, expected)
    raise Problem("L203", f"this match does not cover {quote_symbol(subject.text)}", e.span, help="add an arm _ => …")


def _decided(ctx: Context, e: syntax.Match, subject: Data, patterns: list[list[_Interval] | None],
             expected: Type | None) -> Static:
    """A match over a constant: only the arm taken is elaborated."""
    value = subject.value
    assert not isinstance(value, tuple | float)
    for arm, matched in zip(e.arms, patterns, strict=True):
        if matched is None or any(not _before(value, m.lo) and not _before(m.hi, value) for m in matched):
            return expression(ctx, arm.value, expected)
    raise Problem("L203", f"this match does not cover {show_constant(value, subject.type)}", e.span)


class _Choice:
    """The value of a match over a stream."""

    def __init__(self, ctx: Context, e: syntax.Match, subject: Data, patterns: list[list[_Interval] | None]) -> None:
        self.ctx, self.e, self.subject, self.patterns = ctx, e, subject, patterns

    def value(self, expected: Type | None) -> Static:
        """All arms are elaborated, each where its patterns match."""
        values: list[Static] = []
        for k, arm in enumerate(self.e.arms):
            with self.ctx.used_where(self._thunk(k)):
                values.append(expression(self.ctx, arm.value, expected))
        if any(isinstance(v, Poison) for v in values):
            raise Poisoned
        return self._choose(values, expected)

    def _thunk(self, k: int) -> Callable[[], Node]:
        return lambda: self._reached(k)

    def _reached(self, k: int) -> Node:
        """Holds where arm k is the one taken."""
        earlier = [self.ctx.negate(self._test(i), self.e.span) for i in range(k)]
        mine = [] if self.patterns[k] is None else [self._test(k)]
        return self.ctx.both("and", [*earlier, *mine], self.e.span)

    def _test(self, k: int) -> Node:
        """Holds where the patterns of arm k match."""
        ctx, node, span = self.ctx, self.subject.node, self.e.arms[k].span
        matched = self.patterns[k]
        if matched is None:
            return ctx.constant(True, BOOL, span)
        if isinstance(self.subject.type, Bool):
            tests = [node if m.lo else ctx.negate(node, span) for m in matched]
            return ctx.both("or", tests, span) if len({m.lo for m in matched}) == 1 else ctx.constant(True, BOOL, span)
        domain = self._finite_domain()
        if domain is not None and (len(matched) > 1 or matched[0].lo != matched[0].hi):
            lo, n = domain
            entries = tuple([any(_holds(m, lo + i) for m in matched) for i in range(n)])
            return ctx.add(Table((node,), (lo,), (n,), entries, BOOL, span))
        return ctx.both("or", [self._in_interval(m, span) for m in matched], span)

    def _in_interval(self, m: _Interval, span: Span) -> Node:
        ctx, node = self.ctx, self.subject.node
        t = REAL if isinstance(self.subject.type, Real) else self.subject.type if isinstance(
            self.subject.type, Symbols) else INT

        def bound(v: Number) -> Node:
            return ctx.constant(Fraction(v) if t == REAL else int(v), t, span)

        assert m.lo is not None and m.hi is not None
        if m.lo == m.hi:
            return ctx.add(Compare("==", node, bound(m.lo), BOOL, span))
        return ctx.both("and", [ctx.add(Compare("<=", bound(m.lo), node, BOOL, span)),
                                ctx.add(Compare("<=", node, bound(m.hi), BOOL, span))], span)

    def _finite_domain(self) -> tuple[int, int] | None:
        """The first code and the number of codes of a subject of moderate size; None for others."""
        t = self.subject.type
        n = size(t)
        if n is None or n > TABLE_LIMIT or isinstance(t, Real):
            return None
        return (t.lo or 0 if isinstance(t, Int) else 0), n

    def _choose(self, values: list[Static], expected: Type | None) -> Static:
        """The arms' values as one: a Table where all are constants, else a chain of choices."""
        ctx, e = self.ctx, self.e
        first = next((v for v in values if isinstance(v, RecordValue)), None)
        if first is not None:
            fields: dict[str, Data] = {}
            for v, arm in zip(values, e.arms, strict=True):
                if not isinstance(v, RecordValue) or list(v.fields) != list(first.fields):
                    raise Problem("L201", "the arms are of different types", arm.value.span)
            for name in first.fields:
                part = self._choose([v.fields[name] for v in values if isinstance(v, RecordValue)], None)
                fields[name] = data(part, e.span)
            return RecordValue(fields)
        parts = self._of_one_kind(values, expected)
        domain = self._finite_domain()
        if domain is not None and all(p.constant for p in parts) and len({shape(p.type) for p in parts}) == 1:
            return self._table(parts, domain)
        if len(parts) == 1:
            return parts[0]
        result: Static = parts[-1]
        for k in range(len(parts) - 2, -1, -1):
            result = choose_values(ctx, Data(self._test(k), BOOL), parts[k], result, e.span, "the arms", None)
        return result

    def _of_one_kind(self, values: list[Static], expected: Type | None) -> list[Data]:
        scalar = scalar_of(expected) if expected is not None else None
        if isinstance(scalar, Symbols):
            values = [symbol_constant(self.ctx, v.text, scalar, a.value.span) if isinstance(v, Text) else v
                      for v, a in zip(values, self.e.arms, strict=True)]
        if POISON in values:
            raise Poisoned
        return joined(self.ctx, values, self.e.span, "the arms")

    def _table(self, parts: list[Data], domain: tuple[int, int]) -> Data:
        lo, n = domain
        arms: list[int] = []
        for i in range(n):
            arms.append(next(k for k, m in enumerate(self.patterns)
                             if m is None or any(_holds(p, lo + i) for p in m)))
        used = sorted(set(arms))
        t = exact_type(parts[used[0]].value, parts[used[0]].type)
        for k in used[1:]:
            t = join(t, exact_type(parts[k].value, parts[k].type)) or t
        real = isinstance(scalar_of(t), Real)
        constants = [to_real(self.ctx, p.node, self.e.span) if real else p.node for p in parts]
        found = [c.value for c in constants if isinstance(c, Const)]
        return Data(self._table_of([found[k] for k in arms], t, domain), t)

    def _table_of(self, entries: list[Value], t: Type, domain: tuple[int, int]) -> Node:
        ctx, span = self.ctx, self.e.span
        if all(v == entries[0] for v in entries):
            return ctx.constant(entries[0], t, span)
        if isinstance(t, Vector):
            rows = [[v[i] for v in entries if isinstance(v, tuple)] for i in range(t.size)]
            return ctx.pack([self._table_of(row, t.elem, domain) for row in rows], t, span)
        lo, n = domain
        return ctx.add(Table((self.subject.node,), (lo,), (n,), tuple(entries), t, span))


def _holds(m: _Interval, code: int) -> bool:
    return not _before(code, m.lo) and not _before(m.hi, code)
