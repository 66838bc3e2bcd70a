"""Random well-typed program texts: numbers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from lsrl.types import INT, Bool, Int, Real, Symbols, Type, Vector, size
from tests.program_drawing import Drawing
from tests.program_parts import (
    GRID,
    LARGEST,
    POSTFIX,
    POWER,
    PRODUCT,
    SUM,
    UNARY,
    WIDEST,
    Expr,
    Name,
    add_ends,
    constant_text,
    hull,
    interval,
    minus,
    number,
    times,
)


class Numbers(Drawing):
    """Ints, and reals on the grid."""

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
                text, lo, hi = f"{text} - {e.at(PRODUCT)}", add_ends(lo, minus(high)), add_ends(hi, minus(low))
            else:
                text, lo, hi = f"{text} + {e.at(PRODUCT)}", add_ends(lo, low), add_ends(hi, high)
        return Expr(text, number(lo, hi, real), SUM)

    def scaled(self, real: bool, depth: int) -> Expr:
        e, k = self.number(real, depth - 1), self.pick([2, 3, -1, 0, -2])
        lo, hi = times(interval(e.type), (Fraction(k), Fraction(k)))
        return Expr(f"{k} * {e.at(UNARY)}", number(lo, hi, real), PRODUCT)

    def negated(self, real: bool, depth: int) -> Expr:
        e = self.number(real, depth - 1)
        lo, hi = interval(e.type)
        return Expr(f"-{e.at(UNARY)}", number(minus(hi), minus(lo), real), UNARY)

    def product(self, real: bool, depth: int) -> Expr | None:
        """A product of two streams, one of them an int if real, so that the grid stays; or a square."""
        a, b = self.number(False, depth - 1), self.number(real, depth - 1)
        lo, hi = times(interval(a.type), interval(b.type))
        if lo is None or hi is None or max(abs(lo), abs(hi)) > WIDEST:
            return None
        if not real and self.draw_int(0, 3) == 3:
            lo, hi = times(interval(a.type), interval(a.type))
            assert lo is not None and hi is not None
            return Expr(f"{a.at(POSTFIX)} ** 2", number(lo, hi, real), POWER) if max(abs(lo), hi) <= WIDEST else None
        return Expr(f"{a.at(PRODUCT)} * {b.at(UNARY)}", number(lo, hi, real), PRODUCT)

    def of_bool(self, real: bool, depth: int) -> Expr:
        text = f"int({self.truth(depth - 1).text})"
        return Expr(f"real({text})" if real else text, number(0, 1, real))

    def extreme(self, real: bool, depth: int) -> Expr:
        a, b = self.number(real, depth - 1), self.number(real, depth - 1)
        f = self.pick(["max", "min"])
        return Expr(f"{f}({a.text}, {b.text})", hull(a.type, b.type))

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

    def reduced(self, real: bool, depth: int) -> Expr:
        n = self.draw_int(1, 3)
        t = number(-2, 2, real)
        v = self.vector(Vector(t, n), depth - 1)
        f = self.pick(["sum", "max", "min"] if real else ["sum", "max", "min", "argmax", "argmin"])
        ends = {"sum": (-2 * n, 2 * n), "argmax": (0, n - 1), "argmin": (0, n - 1)}.get(f, (-2, 2))
        return Expr(f"{f}({v.text})", number(*ends, real))
