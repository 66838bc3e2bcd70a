"""Random well-typed program texts: expressions. `tests.strategies` makes whole programs of them.

A writer draws from Hypothesis, so that everything shrinks: the first choice everywhere is the simplest. It keeps, for
every number, the interval that it lies in, and for reals the grid: that is how it knows that a declared range holds.
"""

from __future__ import annotations

from collections.abc import Callable

from lsrl.types import BOOL, Bool, Int, Real, Symbols, Type, Vector, quote_symbol, size
from tests.program_numbers import Numbers
from tests.program_parts import AND, CHOICE, COMPARE, NOT, OR, PRODUCT, SUM, UNARY, Expr, Name, constant_text, interval


class Writer(Numbers):
    """Draws expressions of a wanted type over the names in scope."""

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
