"""Random well-typed program texts: expressions. `tests.strategies` makes whole programs of them.

A writer draws from Hypothesis, so that everything shrinks: the first choice everywhere is the simplest. It keeps, for
every number, the interval that it lies in, and for reals the grid: that is how it knows that a declared range holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeVar

from hypothesis import strategies as st

from lsrl.types import BOOL, INT, Bool, Int, Real, Symbols, Type, Vector, quote_symbol, size

_T = TypeVar("_T")
Number = int | Fraction
GRID = Fraction(1, 4)
LARGEST = 64  # bound of a finite program's intermediate values
WIDEST = 1000  # bound of a product

# How tightly an operator binds; an operand of a looser one stands in parentheses.
CHOICE, OR, AND, NOT, COMPARE, SUM, PRODUCT, UNARY, POWER, POSTFIX = range(10)


@dataclass(frozen=True)
class Expr:
    """The text of an expression, how tightly its outermost operator binds, and what is known of its values.

    type: bool, an alphabet, a vector; of numbers Int or Real with the interval, an end None where it is open.
    """

    text: str
    type: Type
    level: int = POSTFIX

    def at(self, level: int) -> str:
        """The text as an operand of an operator of that level."""
        return self.text if self.level >= level else f"({self.text})"


@dataclass(frozen=True)
class Name:
    """A name in scope. declared: the type is the one written in the program, not only the interval known here."""

    text: str
    type: Type
    declared: bool = True


@dataclass
class Scope:
    """The names that can be read, innermost block last, and what may be written there."""

    names: list[Name] = field(default_factory=list)

    def of(self, wanted: Callable[[Type], bool]) -> list[Name]:
        return [n for n in self.names if wanted(n.type)]


@dataclass(frozen=True)
class Function:
    """A def of the program that can be called.

    constants: how many `const` ints, from 1 to 4, follow its parameters. field: the one to take, where the result is a
    record. init: does a constant of the result's type come last?
    """

    name: str
    parameters: tuple[Type, ...]
    constants: int
    result: Type
    field: str = ""
    init: bool = False


def interval(t: Type) -> tuple[Fraction | None, Fraction | None]:
    """The ends of a number type."""
    assert isinstance(t, Int | Real)
    return None if t.lo is None else Fraction(t.lo), None if t.hi is None else Fraction(t.hi)


def number(lo: Number | None, hi: Number | None, real: bool) -> Type:
    """The number type of an interval; reals lie on GRID."""
    if real:
        return Real(None if lo is None else Fraction(lo), None if hi is None else Fraction(hi), GRID)
    return Int(None if lo is None else int(lo), None if hi is None else int(hi))


def _sum(a: Fraction | None, b: Fraction | None) -> Fraction | None:
    return None if a is None or b is None else a + b


def constant_text(value: Number) -> str:
    """A number as the language writes it; the sign binds as unary minus."""
    if isinstance(value, Fraction) and value.denominator != 1:
        return f"{value.numerator}/{value.denominator}"
    return str(int(value))


class Writer:
    """Draws expressions of a wanted type over the names in scope.

    finite: no value may be unbounded. numeric: transcendental functions and division by streams may stand there.
    stateful: how many library calls that keep a state may still be written.
    """

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any], finite: bool, numeric: bool) -> None:
        self.draw = draw
        self.finite = finite
        self.numeric = numeric
        self.scope = Scope()
        self.functions: list[Function] = []
        self.stateful = 4

    # ---- drawing

    def pick(self, options: Sequence[_T]) -> _T:
        return options[0] if len(options) == 1 else self.draw(st.sampled_from(options))

    def draw_int(self, lo: int, hi: int) -> int:
        return self.draw(st.integers(lo, hi))  # type: ignore[no-any-return]

    def choose(self, depth: int, leaves: Sequence[Callable[[], Expr | None]],
               branches: Sequence[Callable[[], Expr | None]]) -> Expr:
        """The first option, from a drawn one on, that can be written here. Leaves alone at depth 0."""
        options = [*leaves, *branches] if depth > 0 else [*leaves]
        start = self.draw_int(0, len(options) - 1)
        for i in range(len(options)):
            made = options[(start + i) % len(options)]()
            if made is not None:
                return made
        raise AssertionError("some leaf can always be written")

    def expression(self, t: Type, depth: int) -> Expr:
        """An expression of exactly that type, its interval within the declared one."""
        match t:
            case Bool():
                return self.truth(depth)
            case Symbols():
                return self.symbol(t, depth)
            case Vector():
                return self.vector(t, depth)
            case Int() | Real():
                return self.fit(self.number(isinstance(t, Real), depth), t)
            case _:
                raise AssertionError(t)

    def constant(self, t: Type) -> str:
        """A constant of a type."""
        match t:
            case Bool():
                return self.pick(["false", "true"])
            case Symbols():
                return quote_symbol(self.pick(t.names))
            case Vector(elem=elem, size=n):
                return "[" + ", ".join(self.constant(elem) for _ in range(n)) + "]"
            case Int(lo=lo, hi=hi):
                low, high = -3 if lo is None else lo, 3 if hi is None else hi
                return str(self.pick(sorted(range(low, high + 1), key=lambda v: (abs(v), v < 0))))
            case Real(lo=lo, hi=hi):
                steps = range(int((lo or -2) / GRID), int((hi or 2) / GRID) + 1)
                return constant_text(GRID * self.pick(sorted(steps, key=lambda v: (abs(v), v < 0))))
            case _:
                raise AssertionError(t)

    # ---- names and calls, for every type

    def name(self, wanted: Callable[[Type], bool]) -> Expr | None:
        found = self.scope.of(wanted)
        if not found:
            return None
        name = self.pick(found)
        return Expr(name.text, name.type)

    def call(self, wanted: Callable[[Type], bool], depth: int) -> Expr | None:
        """A call of one of the program's defs."""
        found = [f for f in self.functions if wanted(f.result)]
        if not found:
            return None
        f = self.pick(found)
        args = [self.expression(t, depth - 1).text for t in f.parameters]
        if f.init and isinstance(f.result, Symbols):  # a literal would not say of which alphabet it is
            name = self.name(lambda t: t == f.result)
            if name is None:
                return None
            args[0] = name.text
        args += [str(self.draw_int(1, 4)) for _ in range(f.constants)]
        args += [self.constant(f.result)] if f.init else []
        tail = f".{f.field}" if f.field else ""
        return Expr(f"{f.name}({', '.join(args)}){tail}", f.result)

    def remembered(self, t: Type, depth: int) -> Expr | None:
        """A library call that gives earlier values of a stream of the type."""
        if self.stateful == 0:
            return None
        self.stateful -= 1
        x, init = self.expression(t, depth - 1).text, self.constant(t)
        match self.draw_int(0, 2):
            case 0:
                return Expr(f"prev({x}, {init})", t)
            case 1:
                return Expr(f"hold({x}, {self.truth(depth - 1).text}, {init})", t)
            case _:
                return Expr(f"delay({x}, {self.draw_int(0, 3)}, {init})", t)

    def conditional(self, t: Type, depth: int) -> Expr:
        """`a if c else b`, or a match over something finite."""
        if self.draw_int(0, 2):
            a, c, b = self.expression(t, depth - 1), self.truth(depth - 1), self.expression(t, depth - 1)
            return Expr(f"{a.at(OR)} if {c.at(OR)} else {b.text}", _hull(a.type, b.type), CHOICE)
        return self.match(t, depth)

    def match(self, t: Type, depth: int) -> Expr:
        subject, patterns = self.subject(depth)
        arms = [(p, self.expression(t, depth - 1)) for p in patterns]
        kind = arms[0][1].type
        for _, e in arms[1:]:
            kind = _hull(kind, e.type)
        return Expr(f"(match {subject}: " + ", ".join(f"{p} => {e.text}" for p, e in arms) + ")", kind)

    def subject(self, depth: int) -> tuple[str, list[str]]:
        """What a match looks at, and patterns that cover it."""
        symbols = self.scope.of(lambda t: isinstance(t, Symbols))
        if symbols and self.draw_int(0, 1):
            name = self.pick(symbols)
            assert isinstance(name.type, Symbols)
            names = [quote_symbol(n) for n in name.type.names]
            cut = self.draw_int(0, len(names))
            shown = [" | ".join(names[:cut])] if cut > 1 else names[:cut]
            covered = cut == len(names) and not name.type.other
            return name.text, shown if covered else [*shown, "_"]
        if self.draw_int(0, 1):
            return self.truth(depth - 1).text, ["true", "false"] if self.draw_int(0, 1) else ["false", "_"]
        small = [n for n in self.scope.of(lambda t: isinstance(t, Int)) if n.declared and (size(n.type) or 99) <= 6]
        if small and self.draw_int(0, 1):
            name = self.pick(small)
            lo, hi = interval(name.type)
            assert lo is not None and hi is not None
            return name.text, [str(lo), *([f"{lo + 1}..{hi}"] if hi > lo else [])]
        x = self.number(False, depth - 1)  # + 0 takes its range away
        patterns = [["0", "1..2", "_"], ["0 | 2", "_"], ["3", "1", "_"]]  # a constant may stand there
        return f"clamp({x.at(SUM)} + 0, 0, 3)", self.pick(patterns)

    # ---- bools

    def truth(self, depth: int) -> Expr:
        def is_bool(t: Type) -> bool:
            return isinstance(t, Bool)

        return self.choose(depth, [
            *[lambda: self.name(is_bool)] * 6,
            *[lambda: self.test()] * 4,
            lambda: Expr(self.pick(["false", "true"]), BOOL),
        ], [
            *[lambda: self.comparison(depth)] * 2,
            lambda: Expr(f"not {self.truth(depth - 1).at(NOT)}", BOOL, NOT),
            lambda: self.joined("and", AND, depth),
            lambda: self.joined("or", OR, depth),
            lambda: self.symbol_test(depth),
            *[lambda: self.call(is_bool, depth)] * 3,
            *[lambda: self.bool_library(depth)] * 3,
            *[lambda: self.remembered(BOOL, depth)] * 2,
            lambda: self.conditional(BOOL, depth),
            lambda: self.reduced_bool(depth),
            lambda: self.element(is_bool, depth),
        ])

    def test(self) -> Expr | None:
        """A name compared with a constant."""
        name = self.name(lambda t: isinstance(t, Int | Real | Symbols))
        if name is None:
            return None
        ops = ["==", "!="] if isinstance(name.type, Symbols) else ["<=", ">", "=="]
        return Expr(f"{name.text} {self.pick(ops)} {self.constant(name.type)}", BOOL, COMPARE)

    def joined(self, op: str, level: int, depth: int) -> Expr:
        parts = [self.truth(depth - 1).at(level + 1) for _ in range(self.draw_int(2, 3))]
        return Expr(f" {op} ".join(parts), BOOL, level)

    def comparison(self, depth: int) -> Expr:
        real = self.draw_int(0, 3) >= (2 if self.numeric else 3)
        parts = [self.number(real, depth - 1).at(SUM)]
        for _ in range(self.pick([1, 1, 2])):
            parts += [self.pick(["<", "<=", "==", "!=", ">", ">="]), self.number(real, depth - 1).at(SUM)]
        return Expr(" ".join(parts), BOOL, COMPARE)

    def symbol_test(self, depth: int) -> Expr | None:
        found = self.scope.of(lambda t: isinstance(t, Symbols))
        if not found:
            return None
        t = self.pick(found).type
        assert isinstance(t, Symbols)
        left = self.name(lambda u: u == t)
        assert left is not None
        right = self.symbol(t, depth - 1)
        return Expr(f"{left.text} {self.pick(['==', '!='])} {right.at(SUM)}", BOOL, COMPARE)

    def bool_library(self, depth: int) -> Expr | None:
        if self.stateful == 0:
            return None
        self.stateful -= 1
        chars = self.scope.of(lambda t: isinstance(t, Symbols) and t.names == ("a", "b", "c") and not t.other)
        if chars and self.draw_int(0, 1):
            f, pattern = self.pick(["matches", "contains"]), self.pick(["(ab)*", "a.*c", "[^a]b?", "(a|bc)*", "c$"])
            return Expr(f'{f}({self.pick(chars).text}, "{pattern}")', BOOL)
        f = self.pick(["ever", "always", "parity", "rising", "falling", "latch", "first_token"])
        if f == "first_token":
            return Expr("first_token()", BOOL)
        args = [self.truth(depth - 1).text for _ in range(2 if f == "latch" else 1)]
        return Expr(f"{f}({', '.join(args)})", BOOL)

    def reduced_bool(self, depth: int) -> Expr:
        inner = self.vector(Vector(BOOL, self.draw_int(1, 3)), depth - 1)
        return Expr(f"{self.pick(['any', 'all'])}({inner.text})", BOOL)

    # ---- symbols

    def symbol(self, t: Symbols, depth: int) -> Expr:
        return self.choose(depth, [
            *[lambda: self.name(lambda u: u == t)] * 4,
            lambda: Expr(quote_symbol(self.pick(t.names)), t),
        ], [
            *[lambda: self.remembered_symbol(t, depth)] * 2,
            lambda: self.call(lambda u: u == t, depth),
        ])

    def remembered_symbol(self, t: Symbols, depth: int) -> Expr | None:
        """Earlier or held symbols; the stream is a name, so that its alphabet is known."""
        name = self.name(lambda u: u == t)
        if name is None or self.stateful == 0:
            return None
        self.stateful -= 1
        init = self.constant(t)
        match self.draw_int(0, 3 if not self.finite else 2):
            case 0:
                return Expr(f"prev({name.text}, {init})", t)
            case 1:
                return Expr(f"hold({name.text}, {self.truth(depth - 1).text}, {init})", t)
            case 2:
                return Expr(f"{name.text} if {self.truth(depth - 1).at(OR)} else {init}", t, CHOICE)
            case _:
                return Expr(f"most_frequent({name.text})", t)

    # ---- numbers

    def number(self, real: bool, depth: int) -> Expr:
        """An int, or a real on the grid."""
        kind = Real if real else Int

        def wanted(t: Type) -> bool:
            return isinstance(t, kind)

        return self.cut(self.choose(depth, [
            *[lambda: self.name(wanted)] * 6,
            *[lambda: self.coded(real)] * 4,
            lambda: self.literal(real),
        ], [
            lambda: self.added(real, depth),
            lambda: self.scaled(real, depth),
            lambda: self.of_bool(real, depth),
            lambda: self.extreme(real, depth),
            lambda: self.clamped(real, depth),
            lambda: self.negated(real, depth),
            lambda: self.product(real, depth),
            lambda: self.conditional(number(-2, 3, real), depth),
            *[lambda: self.call(wanted, depth)] * 3,
            *[lambda: self.remembered(number(-2, 2, real), depth)] * 2,
            lambda: self.element(wanted, depth),
            lambda: self.converted(real, depth),
            lambda: self.remainder(real, depth),
            *[lambda: None if real else self.int_library(depth)] * 4,
            lambda: self.recalled(real, depth),
            lambda: self.reduced(real, depth),
            *[lambda: self.transcendental(depth) if real and self.numeric else None] * 12,
        ]))

    def cut(self, e: Expr) -> Expr:
        """In a finite program, the number cut to a moderate interval."""
        lo, hi = interval(e.type)
        if not self.finite or (lo is not None and hi is not None and max(abs(lo), abs(hi)) <= LARGEST):
            return e
        return self.fit(e, number(-4, 4, isinstance(e.type, Real)))

    def fit(self, e: Expr, t: Type) -> Expr:
        """The number brought into the interval of a type."""
        lo, hi = interval(e.type)
        low, high = interval(t)
        inside = (low is None or (lo is not None and lo >= low)) and (high is None or (hi is not None and hi <= high))
        if inside or low is None or high is None:
            return e
        if isinstance(t, Int) and self.draw_int(0, 1):
            shifted = e.at(SUM) if low == 0 else f"{e.at(SUM)} - {constant_text(low)}" if low > 0 else \
                f"{e.at(SUM)} + {constant_text(-low)}"
            rest = f"({shifted}) % {constant_text(high - low + 1)}"
            if low == 0:
                return Expr(rest, t, PRODUCT)
            return Expr(f"{rest} {'+' if low > 0 else '-'} {constant_text(abs(low))}", t, SUM)
        return Expr(f"clamp({e.text}, {constant_text(low)}, {constant_text(high)})", t)

    def literal(self, real: bool) -> Expr:
        text = self.constant(number(-3, 3, real))
        value = Fraction(text)
        if real and "/" not in text:
            text += ".0"
        level = PRODUCT if "/" in text else UNARY if text.startswith("-") else POSTFIX
        return Expr(text, number(value, value, real), level)

    def added(self, real: bool, depth: int) -> Expr:
        first = self.number(real, depth - 1)
        text, (lo, hi) = first.at(SUM), interval(first.type)
        for _ in range(self.pick([1, 1, 2])):
            e = self.number(real, depth - 1)
            low, high = interval(e.type)
            if self.draw_int(0, 1):
                text, lo, hi = f"{text} - {e.at(PRODUCT)}", _sum(lo, _minus(high)), _sum(hi, _minus(low))
            else:
                text, lo, hi = f"{text} + {e.at(PRODUCT)}", _sum(lo, low), _sum(hi, high)
        return Expr(text, number(lo, hi, real), SUM)

    def scaled(self, real: bool, depth: int) -> Expr:
        e, k = self.number(real, depth - 1), self.pick([2, 3, -1, 0, -2])
        lo, hi = _times(interval(e.type), (Fraction(k), Fraction(k)))
        return Expr(f"{k} * {e.at(UNARY)}", number(lo, hi, real), PRODUCT)

    def negated(self, real: bool, depth: int) -> Expr:
        e = self.number(real, depth - 1)
        lo, hi = interval(e.type)
        return Expr(f"-{e.at(UNARY)}", number(_minus(hi), _minus(lo), real), UNARY)

    def product(self, real: bool, depth: int) -> Expr | None:
        """A product of two streams, one of them an int if real, so that the grid stays; or a square."""
        a, b = self.number(False, depth - 1), self.number(real, depth - 1)
        lo, hi = _times(interval(a.type), interval(b.type))
        if lo is None or hi is None or max(abs(lo), abs(hi)) > WIDEST:
            return None
        if not real and self.draw_int(0, 3) == 3:
            lo, hi = _times(interval(a.type), interval(a.type))
            assert lo is not None and hi is not None
            return Expr(f"{a.at(POSTFIX)} ** 2", number(lo, hi, real), POWER) if max(abs(lo), hi) <= WIDEST else None
        return Expr(f"{a.at(PRODUCT)} * {b.at(UNARY)}", number(lo, hi, real), PRODUCT)

    def of_bool(self, real: bool, depth: int) -> Expr:
        text = f"int({self.truth(depth - 1).text})"
        return Expr(f"real({text})" if real else text, number(0, 1, real))

    def extreme(self, real: bool, depth: int) -> Expr:
        a, b = self.number(real, depth - 1), self.number(real, depth - 1)
        f = self.pick(["max", "min"])
        return Expr(f"{f}({a.text}, {b.text})", _hull(a.type, b.type))

    def clamped(self, real: bool, depth: int) -> Expr:
        e = self.number(real, depth - 1)
        lo, hi = interval(e.type)
        match self.draw_int(0, 3):
            case 0:
                return Expr(f"clamp({e.text}, -2, 3)", number(-2, 3, real))
            case 1:
                top = None if lo is None or hi is None else max(abs(lo), abs(hi))
                return Expr(f"abs({e.text})", number(0, top, real))
            case 2:
                return Expr(f"relu({e.text})", number(0, None if hi is None else max(hi, Fraction(0)), real))
            case _:
                sign = self.draw_int(0, 1)
                text = f"sign({e.text})" if sign else f"step({e.text})"
                return Expr(f"real({text})" if real else text, number(-sign, 1, real))

    def converted(self, real: bool, depth: int) -> Expr | None:
        if not real:
            return self.coded(real)
        e = self.number(False, depth - 1)
        return Expr(f"real({e.text})", number(*interval(e.type), real=True))

    def coded(self, real: bool) -> Expr | None:
        """The number that a bool or a symbol stands for."""
        name = self.name(lambda t: isinstance(t, Symbols | Bool))
        if name is None:
            return None
        count = size(name.type)
        assert count is not None
        text = f"int({name.text})" if isinstance(name.type, Bool) else f"code({name.text})"
        return Expr(f"real({text})" if real else text, number(0, count - 1, real))

    def remainder(self, real: bool, depth: int) -> Expr:
        e, k = self.number(real, depth - 1), self.draw_int(2, 5)
        lo, hi = interval(e.type)
        if self.draw_int(0, 1) and not real and lo is not None and hi is not None:
            return Expr(f"{e.at(PRODUCT)} // {k}", number(lo // k, hi // k, real), PRODUCT)
        return Expr(f"{e.at(PRODUCT)} % {k}", number(0, k - (GRID if real else 1), real), PRODUCT)

    def int_library(self, depth: int) -> Expr | None:
        if self.stateful == 0:
            return None
        self.stateful -= 1
        keys = [n for n in self.scope.of(lambda t: isinstance(t, Symbols | Bool | Int))
                if n.declared and (size(n.type) or 99) <= 5]
        options: list[Callable[[], Expr]] = [
            lambda: self.modulo_counter(),
            lambda: self.running_extreme(depth),
        ]
        if keys:
            key = self.pick(keys)
            options.append(lambda: Expr(f"distinct({key.text})", Int(0, size(key.type))))
        if not self.finite:
            options += [
                lambda: Expr("index()", Int(0, None)),
                lambda: Expr(f"count({self.truth(depth - 1).text})", Int(0, None)),
                lambda: Expr(f"since({self.truth(depth - 1).text})", Int(0, None)),
                lambda: Expr(f"running_sum({self.number(False, depth - 1).text})", INT),
            ]
            if keys:
                options += [
                    lambda: Expr(f"occurrences({key.text})", Int(1, None)),
                    lambda: Expr(f"run_length({key.text})", Int(1, None)),
                    lambda: self.selection(key, depth),
                ]
        return self.pick(options)()

    def recalled(self, real: bool, depth: int) -> Expr | None:
        """The value that came last with a key, by the library's table."""
        keys = [n for n in self.scope.of(lambda t: isinstance(t, Symbols | Bool)) if n.declared]
        if not keys or self.stateful == 0:
            return None
        self.stateful -= 1
        key = self.pick(keys)
        query = self.pick([n for n in keys if n.type == key.type])
        t = number(-2, 2, real)
        value = self.expression(t, depth - 1)
        return Expr(f"recall({key.text}, {value.text}, {query.text}, {self.constant(t)})", t)

    def modulo_counter(self) -> Expr:
        k = self.draw_int(2, 5)
        return Expr(f"modulo_counter({k})", Int(0, k - 1))

    def running_extreme(self, depth: int) -> Expr:
        x = self.fit(self.number(False, depth - 1), Int(-2, 3))
        return Expr(f"running_{self.pick(['max', 'min'])}({x.text})", Int(-2, 3))

    def selection(self, key: Name, depth: int) -> Expr:
        """RASP: a width or an aggregate of one or two comparisons."""
        def compared() -> str:
            query = self.pick([n for n in self.scope.names if n.type == key.type and n.declared])
            ops = ["==", "!=", "<", "<=", ">", ">="] if isinstance(key.type, Int) else ["==", "!="]
            return f"select({key.text}, {query.text}, {self.pick(ops)})"

        selector = compared()
        if self.draw_int(0, 2) == 2:
            selector = f"{selector} {self.pick(['and', 'or'])} {self.pick(['', 'not '])}{compared()}"
        if self.draw_int(0, 1):
            return Expr(f"aggregate({selector}, {self.number(False, depth - 1).text})", INT)
        return Expr(f"width({selector})", Int(0, None))

    def transcendental(self, depth: int) -> Expr:
        """A numeric function; results are rounded to the grid, so that what follows is exact again."""
        f = self.pick(["tanh", "sigmoid", "sin", "cos", "/"])
        inner = self.fit(self.number(True, depth - 1), Real(Fraction(-4), Fraction(4), GRID))
        if f == "/":
            below = self.fit(self.number(False, depth - 1), Int(0, 3))
            return Expr(f"({inner.at(PRODUCT)} / ({below.at(SUM)} + 4) * 4 // 1) / 4", number(-1, 1, True), PRODUCT)
        return Expr(f"(4 * {f}({inner.text}) // 1) / 4", number(-1, 1, True), PRODUCT)

    # ---- vectors

    def vector(self, t: Vector, depth: int) -> Expr:
        elem = t.elem
        return self.choose(depth, [
            lambda: self.name(lambda u: u == t),
            lambda: self.listed(t, 0),
        ], [
            lambda: self.listed(t, depth),
            lambda: self.comprehension(t, depth),
            lambda: self.window(t, depth),
            lambda: self.elementwise(t, depth),
            lambda: self.concatenated(t, depth),
            lambda: self.tabled(t),
            lambda: self.conditional(t, depth) if not isinstance(elem, Symbols) else None,
        ])

    def listed(self, t: Vector, depth: int) -> Expr:
        return Expr("[" + ", ".join(self.expression(t.elem, max(depth - 1, 0)).text for _ in range(t.size)) + "]", t)

    def comprehension(self, t: Vector, depth: int) -> Expr:
        i = self.fresh("i")
        self.scope.names.append(Name(i, Int(0, t.size - 1)))
        value = self.expression(t.elem, depth - 1)
        self.scope.names.pop()
        return Expr(f"[{value.text} for {i} in 0..{t.size - 1}]", t)

    def window(self, t: Vector, depth: int) -> Expr | None:
        if self.stateful == 0:
            return None
        self.stateful -= 1
        return Expr(f"window({self.expression(t.elem, depth - 1).text}, {t.size}, {self.constant(t.elem)})", t)

    def elementwise(self, t: Vector, depth: int) -> Expr | None:
        """Logic or arithmetic of whole vectors, a scalar spread over one."""
        a = self.vector(t, depth - 1)
        if isinstance(t.elem, Bool):
            op = self.pick(["and", "or"])
            b = self.expression(t if self.draw_int(0, 1) else BOOL, depth - 1)
            level = AND if op == "and" else OR
            return Expr(f"{a.at(level + 1)} {op} {b.at(level + 1)}", t, level)
        if isinstance(t.elem, Int | Real):
            b = self.expression(t if self.draw_int(0, 1) else t.elem, depth - 1)
            lo, hi = interval(t.elem)
            text = f"{a.at(SUM)} {self.pick(['+', '-'])} {b.at(PRODUCT)}"
            if self.draw_int(0, 2) == 2:
                rows = [[self.pick(["0", "1", "-1", "2"]) for _ in range(t.size)] for _ in range(t.size)]
                text = f"[{', '.join('[' + ', '.join(row) + ']' for row in rows)}] @ {a.at(UNARY)}"
            if lo is None or hi is None:
                return Expr(text, t, SUM)
            return Expr(f"clamp({text}, {constant_text(lo)}, {constant_text(hi)})", t)
        return None

    def concatenated(self, t: Vector, depth: int) -> Expr | None:
        if t.size < 2:
            return None
        k = self.draw_int(1, t.size - 1)
        a, b = self.vector(Vector(t.elem, k), depth - 1), self.vector(Vector(t.elem, t.size - k), depth - 1)
        if self.draw_int(0, 1):
            return Expr(f"concat({a.text}, {b.text})", t)
        extra = self.vector(Vector(t.elem, 1), 0)
        return Expr(f"concat({a.text}, {b.text}, {extra.text})[0..{t.size - 1}]", t)

    def tabled(self, t: Vector) -> Expr | None:
        """A library table over the values of a name, or its one-hot vector, cut to the size."""
        keys = [n for n in self.scope.of(lambda u: isinstance(u, Symbols | Bool)) if n.declared]
        keys = [n for n in keys if (size(n.type) or 0) >= t.size]
        if not keys or (isinstance(t.elem, Int) and (t.elem.lo or 0) > 0) or isinstance(t.elem, Real | Symbols):
            return None
        key = self.pick(keys).text
        f = "onehot"
        if self.stateful > 0 and isinstance(t.elem, Bool):
            self.stateful -= 1
            f = "seen"
        table = f"{f}({key})" if (f == "seen") == isinstance(t.elem, Bool) else f"({f}({key}) != 0)"
        return Expr(f"{table}[0..{t.size - 1}]", t)

    def element(self, wanted: Callable[[Type], bool], depth: int) -> Expr | None:
        """One element of a vector in scope, by a constant or a stream."""
        found = self.scope.of(lambda t: isinstance(t, Vector) and wanted(t.elem))
        if not found:
            return None
        name = self.pick(found)
        assert isinstance(name.type, Vector)
        i = self.expression(Int(0, name.type.size - 1), depth - 1) if self.draw_int(0, 1) else None
        return Expr(f"{name.text}[{self.draw_int(0, name.type.size - 1) if i is None else i.text}]", name.type.elem)

    def reduced(self, real: bool, depth: int) -> Expr:
        n = self.draw_int(1, 3)
        t = number(-2, 2, real)
        v = self.vector(Vector(t, n), depth - 1)
        f = self.pick(["sum", "max", "min"] if real else ["sum", "max", "min", "argmax", "argmin"])
        ends = {"sum": (-2 * n, 2 * n), "argmax": (0, n - 1), "argmin": (0, n - 1)}.get(f, (-2, 2))
        return Expr(f"{f}({v.text})", number(*ends, real))

    # ---- names

    def fresh(self, stem: str) -> str:
        """A name that nothing else has."""
        self.fresh_count = getattr(self, "fresh_count", 0) + 1
        return f"{stem}{self.fresh_count}"


def _minus(a: Fraction | None) -> Fraction | None:
    return None if a is None else -a


def _times(a: tuple[Fraction | None, Fraction | None],
           b: tuple[Fraction | None, Fraction | None]) -> tuple[Fraction | None, Fraction | None]:
    """The interval of a product."""
    zero = Fraction(0)
    if (zero, zero) in (a, b):
        return zero, zero
    if None in (*a, *b):
        return None, None
    products = [x * y for x in a for y in b if x is not None and y is not None]
    return min(products), max(products)


def _hull(a: Type, b: Type) -> Type:
    """The smallest type that holds the values of both, of one kind."""
    if not isinstance(a, Int | Real) or not isinstance(b, Int | Real):
        return a
    (lo, hi), (low, high) = interval(a), interval(b)
    return number(None if lo is None or low is None else min(lo, low),
                  None if hi is None or high is None else max(hi, high), isinstance(a, Real))
