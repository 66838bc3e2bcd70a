"""Functions for the standard library alone: values of a type, and regular expressions as Tables of their automaton."""

from __future__ import annotations

from collections.abc import Callable

from lsrl.diagnostics import LsrlError
from lsrl.frontend import syntax
from lsrl.frontend.dfa import Dfa
from lsrl.frontend.elaborate.calls import arguments, function
from lsrl.frontend.elaborate.constants import constant_text
from lsrl.frontend.elaborate.context import Context
from lsrl.frontend.elaborate.expressions import expression, stream
from lsrl.frontend.elaborate.types import plain, type_of_argument
from lsrl.frontend.elaborate.values import Data, Problem, Static, TypeValue
from lsrl.frontend.regex import compile_regex
from lsrl.ir.nodes import Table
from lsrl.types import BOOL, INT, Bool, Int, Real, Symbols, Type, Value, Vector, first_value, scalar_of, shape, size

__all__: list[str] = []


def _type_argument(ctx: Context, e: syntax.Call) -> Type:
    """The type that the first argument names. Raises Problem."""
    t = type_of_argument(ctx, e.args[0]) if e.args else None
    if t is None:
        raise Problem("L201", f"`{e.function.id}` takes a type", e.span)
    return t


# ---------------------------------------------------------------- values of a type


@function("_first")
def _first(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    """_first(T): the first value of a type; of one without a first, the one nearest zero."""
    t = _type_argument(ctx, e)
    return Data(ctx.constant(_bound(t, low=True), t, e.span), t)


@function("_least")
def _least(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    """_least(T): the least number of a type; some number where there is none."""
    return _first(ctx, e, expected)


@function("_greatest")
def _greatest(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    """_greatest(T): the greatest number of a type; some number where there is none."""
    t = _type_argument(ctx, e)
    return Data(ctx.constant(_bound(t, low=False), t, e.span), t)


@function("_type_of")
def _type_of(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    """_type_of(x): the type of a value, without ranges."""
    return TypeValue(plain(stream(ctx, arguments(e, ["x"])["x"]).type))


def _has_bound(low: bool) -> Callable[[Context, syntax.Call, Type | None], Static]:
    def f(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
        t = scalar_of(_type_argument(ctx, e))
        has = isinstance(t, Int | Real) and (t.lo if low else t.hi) is not None
        return Data(ctx.constant(has, BOOL, e.span), BOOL)

    return f


function("_has_least")(_has_bound(low=True))
function("_has_greatest")(_has_bound(low=False))


def _bound(t: Type, low: bool) -> Value:
    """The value at the lower or upper end of a type; where there is none, some value."""
    match t:
        case Vector(elem=elem, size=n):
            return (_bound(elem, low),) * n
        case Int(lo=lo, hi=hi):
            end = lo if low else hi
            return first_value(t) if end is None else end
        case Real(lo=lo, hi=hi, grid=grid):
            limit = lo if low else hi
            if limit is None:
                return first_value(t)
            if grid is None:
                return limit
            return -(-limit // grid) * grid if low else limit // grid * grid
        case Bool():
            return not low
        case _:
            return 0 if low else (size(t) or 1) - 1


# ---------------------------------------------------------------- regular expressions


def _automaton(ctx: Context, pattern: syntax.Expr, mode: syntax.Expr, alphabet: Type) -> Dfa:
    text = constant_text(expression(ctx, pattern), pattern.span, "a regular expression")
    how = constant_text(expression(ctx, mode), mode.span, "the mode")
    try:
        return compile_regex(text.text, alphabet, how.text, text.span)
    except LsrlError as error:
        d = error.diagnostics[0]
        raise Problem(d.code, d.message, d.span, label=d.label, help=d.help) from None


def _regex(ctx: Context, e: syntax.Call, names: list[str]) -> tuple[Type, Dfa, list[Data]]:
    """Alphabet, automaton and streams of a call f(T, pattern, mode, …)."""
    alphabet = _type_argument(ctx, e)
    given = arguments(syntax.Call(e.function, e.args[1:], e.named, e.span), ["pattern", "mode", *names])
    dfa = _automaton(ctx, given["pattern"], given["mode"], alphabet)
    return alphabet, dfa, [stream(ctx, given[n]) for n in names]


@function("_regex_size")
def _regex_size(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    """_regex_size(T, pattern, mode): the number of states of the automaton over the alphabet T."""
    _, dfa, _ = _regex(ctx, e, [])
    return Data(ctx.number(dfa.n, e.span), INT)


@function("_regex_next")
def _regex_next(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    """_regex_next(T, pattern, mode, q, x): the state after letter x in state q."""
    alphabet, dfa, (q, x) = _regex(ctx, e, ["q", "x"])
    entries = tuple([target for row in dfa.next for target in row])
    t = Int(0, dfa.n - 1)
    return Data(ctx.add(Table((q.node, x.node), (0, 0), (dfa.n, size(alphabet) or 1), entries, t, e.span)), t)


@function("_regex_accepts")
def _regex_accepts(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    """_regex_accepts(T, pattern, mode, q): does the automaton accept in state q?"""
    _, dfa, (q,) = _regex(ctx, e, ["q"])
    entries = tuple([i in dfa.accepting for i in range(dfa.n)])
    return Data(ctx.add(Table((q.node,), (0,), (dfa.n,), entries, BOOL, e.span)), BOOL)


@function("_is_word")
def _is_word(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    """_is_word(x): is the symbol (or byte) one ASCII letter, digit or underscore?"""
    x = stream(ctx, arguments(e, ["x"])["x"])
    n = size(x.type)
    if shape(x.type) or n is None or not (isinstance(x.type, Symbols) or (isinstance(x.type, Int) and x.type.raw)):
        raise Problem("L254", f"words are made of symbols or bytes, not `{x.type}`", e.span)
    names = [*x.type.names, *[""] * x.type.other] if isinstance(x.type, Symbols) else [chr(i) for i in range(n)]
    entries = tuple([c.isascii() and (c.isalnum() or c == "_") and len(c) == 1 for c in names])
    return Data(ctx.add(Table((x.node,), (0,), (n,), entries, BOOL, e.span)), BOOL)
