"""Drawing from Hypothesis, and the expressions that there are for values of every type."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

from lsrl.types import Bool, Int, Real, Symbols, Type, Vector, quote_symbol, size
from tests.program_parts import CHOICE, GRID, OR, SUM, Expr, Function, Scope, constant_text, hull, interval

_T = TypeVar("_T")


class Drawing(ABC):
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
        self.fresh_names = 0

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
            return Expr(f"{a.at(OR)} if {c.at(OR)} else {b.text}", hull(a.type, b.type), CHOICE)
        return self.match(t, depth)

    def match(self, t: Type, depth: int) -> Expr:
        subject, patterns = self.subject(depth)
        arms = [(p, self.expression(t, depth - 1)) for p in patterns]
        kind = arms[0][1].type
        for _, e in arms[1:]:
            kind = hull(kind, e.type)
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

    # ---- names

    def fresh(self, stem: str) -> str:
        """A name that nothing else has."""
        self.fresh_names += 1
        return f"{stem}{self.fresh_names}"

    # ---- given by the parts of the writer

    @abstractmethod
    def truth(self, depth: int) -> Expr:
        """A bool."""

    @abstractmethod
    def symbol(self, t: Symbols, depth: int) -> Expr:
        """A symbol of the alphabet."""

    @abstractmethod
    def number(self, real: bool, depth: int) -> Expr:
        """An int, or a real on the grid."""

    @abstractmethod
    def fit(self, e: Expr, t: Type) -> Expr:
        """The number brought into the interval of a type."""

    @abstractmethod
    def vector(self, t: Vector, depth: int) -> Expr:
        """A vector of the type."""

    @abstractmethod
    def element(self, wanted: Callable[[Type], bool], depth: int) -> Expr | None:
        """One element of a vector in scope, by a constant or a stream."""
