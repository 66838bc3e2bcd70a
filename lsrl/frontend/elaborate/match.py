"""`match`: patterns as intervals of codes, coverage, and the choice as one Table or a chain of Mux."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
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
from lsrl.ir.nodes import Compare, Const, Input, Node, Read, Table
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
    """The codes of a subject (of a real one: its values), None for an end that it has not."""

    lo: Number | None
    hi: Number | None


@dataclass(frozen=True, slots=True)
class _Taken:
    """The codes (of a real subject: values) from lo to hi, both included, that a pattern matches."""

    lo: Number
    hi: Number


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


class _Coverage:
    """What the patterns of a match have taken so far: points, and longer intervals in order of their lower ends."""

    def __init__(self) -> None:
        self._points: set[Number] = set()
        self._intervals: list[tuple[Number, Number]] = []

    def holds(self, lo: Number, hi: Number) -> bool:
        """Is every value from lo to hi taken, by one pattern or, of few, by several?"""
        if lo == hi and lo in self._points:
            return True
        i = bisect_right(self._intervals, lo, key=lambda x: x[0]) - 1
        return i >= 0 and self._intervals[i][1] >= hi

    def take(self, lo: Number, hi: Number) -> None:
        """Add a pattern, joined with the intervals that it meets."""
        if lo == hi:
            self._points.add(lo)
            return
        i = bisect_left(self._intervals, lo, key=lambda x: x[1])
        j = i
        while j < len(self._intervals) and self._intervals[j][0] <= hi:
            lo, hi = min(lo, self._intervals[j][0]), max(hi, self._intervals[j][1])
            j += 1
        self._intervals[i:j] = [(lo, hi)]

    def gap(self, domain: _Interval) -> Number | None:
        """The first int of a domain with ends that is not taken."""
        assert domain.lo is not None and domain.hi is not None
        at = domain.lo
        taken = sorted([*self._intervals, *((p, p) for p in self._points)])
        for lo, hi in taken:
            if lo > at:
                break
            at = max(at, hi + 1)
        return at if at <= domain.hi else None


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


def _patterns(ctx: Context, e: syntax.Match, subject: Data) -> list[list[_Taken] | None]:
    """What each arm matches, `None` for `_`; reports patterns that repeat and values that none covers."""
    t = subject.type
    declared = isinstance(subject.node, Input | Read)
    out: list[list[_Taken] | None] = []
    taken = _Coverage()
    failed = False
    for k, arm in enumerate(e.arms):
        if arm.patterns is None:
            out.append(None)
            if k + 1 < len(e.arms):
                ctx.error("L209", "no value reaches the arms after `_`", e.arms[k + 1].span)
            continue
        mine: list[_Taken] = []
        for p in arm.patterns:
            found: list[_Taken] = []
            with ctx.recover():
                found = _pattern(ctx, p, t, declared)
            failed = failed or not found
            if found and all(taken.holds(f.lo, f.hi) for f in found):
                ctx.error("L209", "an earlier pattern takes all that this one matches", p.span)
            for f in found:
                taken.take(f.lo, f.hi)
            mine += found
        out.append(mine)
    if failed:
        raise Poisoned
    if None not in out:
        missing = _missing(taken, t)
        if missing is not None:
            literal = missing.startswith('"') or missing[-1].isdigit() or missing in ("true", "false")
            raise Problem("L203", f"this match does not cover {missing}", e.span, help=f"add an arm {missing} => …, or "
                          "_ => … for all that is left" if literal else "add an arm _ => …")
    return out


def _missing(taken: _Coverage, t: Type) -> str | None:
    """A value that no pattern takes, for the message."""
    domain = _domain(t)
    if domain.lo is None or domain.hi is None:
        return "every real" if isinstance(t, Real) else "every int"
    gap = taken.gap(domain)
    if gap is None:
        return None
    if isinstance(t, Symbols):
        return quote_symbol(t.names[int(gap)]) if gap < len(t.names) else "the symbols under `*`"
    return ("true" if gap else "false") if isinstance(t, Bool) else str(gap)


def _pattern(ctx: Context, p: syntax.Expr | syntax.Range, t: Type, declared: bool) -> list[_Taken]:
    """The codes that a pattern matches. declared: is `t` as the program declares it? Raises Problem."""
    if isinstance(p, syntax.Range):
        if isinstance(t, Symbols):
            return _symbol_range(ctx, p, t)
        lo, hi = _code(ctx, p.lo, t), _code(ctx, p.hi, t)
        if lo > hi:
            raise Problem("L213", f"the range {lo}..{hi} is empty", p.span)
        found = _Taken(lo, hi)
    else:
        code = _code(ctx, p, t)
        found = _Taken(code, code)
    if declared and isinstance(t, Int) and (_before(found.hi, t.lo) or _before(t.hi, found.lo)):
        raise Problem("L218", f"the pattern {p.span.text} is outside `{t}`", p.span)
    return [found]


def _code(ctx: Context, p: syntax.Expr, t: Type) -> Number:
    value = require_static(ctx, expression(ctx, p), p.span, "a pattern")
    if isinstance(value, Text) and isinstance(t, Symbols):
        value = symbol_constant(ctx, value.text, t, p.span)
    if isinstance(value, Data) and isinstance(value.value, int | Fraction):
        found, v = value.type, value.value
        if (isinstance(t, Bool) and isinstance(found, Bool)) or (isinstance(t, Symbols) and found == t):
            return int(v)
        if (isinstance(found, Int) and isinstance(t, Int | Real)) or (isinstance(found, Real) and isinstance(t, Real)):
            return v
    raise Problem("L201", f"a value of `{t}` is matched with {words_for(value)}", p.span)


def _symbol_range(ctx: Context, p: syntax.Range, t: Symbols) -> list[_Taken]:
    ends: list[str] = []
    for part in (p.lo, p.hi):
        if not isinstance(part, syntax.String) or len(part.value) != 1:
            raise Problem("L218", "the ends of a range of symbols are one character each", part.span)
        symbol_constant(ctx, part.value, t, part.span)
        ends.append(part.value)
    codes = [i for i, n in enumerate(t.names) if len(n) == 1 and ends[0] <= n <= ends[1]]
    if not codes:
        raise Problem("L213", "this range of symbols is empty", p.span)
    return [_Taken(i, i) for i in codes]


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


def _decided(ctx: Context, e: syntax.Match, subject: Data, patterns: list[list[_Taken] | None],
             expected: Type | None) -> Static:
    """A match over a constant: only the arm taken is elaborated."""
    value = subject.value
    assert not isinstance(value, tuple | float)
    for arm, matched in zip(e.arms, patterns, strict=True):
        if matched is None or any(m.lo <= value <= m.hi for m in matched):
            return expression(ctx, arm.value, expected)
    raise Problem("L203", f"this match does not cover {show_constant(value, subject.type)}", e.span)


class _Choice:
    """The value of a match over a stream."""

    def __init__(self, ctx: Context, e: syntax.Match, subject: Data, patterns: list[list[_Taken] | None]) -> None:
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
            entries = tuple([any(m.lo <= lo + i <= m.hi for m in matched) for i in range(n)])
            return ctx.add(Table((node,), (lo,), (n,), entries, BOOL, span))
        return ctx.both("or", [self._in_interval(m, span) for m in matched], span)

    def _in_interval(self, m: _Taken, span: Span) -> Node:
        ctx, node = self.ctx, self.subject.node
        t = REAL if isinstance(self.subject.type, Real) else self.subject.type if isinstance(
            self.subject.type, Symbols) else INT

        def bound(v: Number) -> Node:
            return ctx.constant(Fraction(v) if t == REAL else int(v), t, span)

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
        arms = [-1] * n
        for k, matched in enumerate(self.patterns):
            for m in [_Taken(lo, lo + n - 1)] if matched is None else matched:
                for code in range(max(int(m.lo) - lo, 0), min(int(m.hi) - lo, n - 1) + 1):
                    arms[code] = k if arms[code] < 0 else arms[code]
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
