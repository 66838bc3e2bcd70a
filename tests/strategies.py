"""Hypothesis strategies for whole programs and their inputs: what the conformance suites of all stages draw from.

`programs()` gives texts over the whole language that check without an error and run without a failing check;
`rows_for(graph)` gives input rows for any graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil, floor
from typing import Any

from hypothesis import strategies as st

from lsrl.ir.graph import Graph
from lsrl.types import BOOL, INT, Bool, Int, Real, Symbols, Type, Vector
from tests.program_parts import GRID, Function, Name, interval, number
from tests.program_text import Writer

__all__ = ["inputs_for", "programs", "rows_for", "values_of"]

ABC = Symbols(("a", "b", "c"))
SMALL_REAL = Real(Fraction(-2), Fraction(2), GRID)
SCALARS: list[Type] = [BOOL, Int(0, 3), ABC, Int(-2, 1), SMALL_REAL, Symbols(("x", "y"), other=True), Int(0, 4)]
VECTORS: list[Type] = [Vector(BOOL, 2), Vector(Int(0, 2), 3), Vector(SMALL_REAL, 2)]


@st.composite
def programs(draw: Callable[[st.SearchStrategy[Any]], Any], *, finite: bool = False, numeric: bool = False,
             reals: bool = True, max_size: int = 6) -> str:
    """The text of a program.

    finite: states and intermediate values are bounded. numeric: transcendental functions may stand in it. reals:
    may it have real streams. max_size: how many statements its step has, beside declarations and the result.
    """
    return _Program(Writer(draw, finite, numeric), reals, max_size).text()


class _Program:
    def __init__(self, writer: Writer, reals: bool, max_size: int) -> None:
        self.writer = writer
        self.max_size = max_size
        self.types = [t for t in [*SCALARS, *VECTORS] if reals or not _real(t)]
        self.open: list[Type] = [] if writer.finite else [INT, *([Real(grid=GRID)] if reals else [])]

    def text(self) -> str:
        w = self.writer
        parts = [self.definition(k) for k in range(w.draw_int(0, 2))]
        if w.draw_int(0, 3) == 3:
            parts.insert(0, "const LIMIT = 3\ntype Small = int[-2..LIMIT]\n")
            self.types.append(Int(-2, 3))
        inputs = [Name(f"in{k}", w.pick(self.types)) for k in range(w.draw_int(1, 3))]
        w.scope.names = list(inputs)
        w.stateful = 4
        body = [*self.assumed(inputs), *self.body(depth=2)]
        results = [w.pick([*self.types, *self.open]) for _ in range(w.pick([1, 1, 2]))]
        values = [w.expression(t, 2).text for t in results]
        if len(results) == 1:
            result, last = written(results[0]), values[0]
        else:
            result = "(" + ", ".join(f"out{k}: {written(t)}" for k, t in enumerate(results)) + ")"
            last = "(" + ", ".join(f"out{k} = {v}" for k, v in enumerate(values)) + ")"
        heading = f"program main({', '.join(f'{n.text}: {written(n.type)}' for n in inputs)}) -> {result}:"
        return "\n".join([*parts, "\n".join([heading, *_indented([*body, f"return {last}"])]), ""])

    # ---- definitions

    def definition(self, k: int) -> str:
        """A def that later ones and the program may call; with parameters, const ones, state, a record result."""
        w = self.writer
        generic = w.draw_int(0, 3) == 3
        types = [w.pick([t for t in self.types if not isinstance(t, Vector)]) for _ in range(w.draw_int(1, 2))]
        constants = w.draw_int(0, 1)
        w.scope.names = [Name(f"p{i}", t) for i, t in enumerate(types)]
        w.scope.names += [Name(f"k{i}", Int(1, 4), declared=False) for i in range(constants)]
        w.stateful = 1
        head = [f"p{i}: {'T' if generic and i == 0 else written(t)}" for i, t in enumerate(types)]
        head += [f"const k{i}: int" for i in range(constants)]
        if generic:
            return self.generic(k, types, head)
        body = self.body(depth=1, most=2)
        result = w.pick(self.types)
        value = w.expression(result, 1).text
        name, arrow, field = f"f{k}", written(result), ""
        if w.draw_int(0, 3) == 3:
            arrow, field = f"(first: {written(result)}, second: bool)", "first"
            value = f"(first = {value}, second = true)"
        w.functions.append(Function(name, tuple(types), constants, result, field))
        return "\n".join([f"def {name}({', '.join(head)}) -> {arrow}:", *_indented([*body, f"return {value}"]), ""])

    def generic(self, k: int, types: Sequence[Type], head: list[str]) -> str:
        """A def over any type T: it keeps a value of T under a condition and gives the old one or the new one."""
        w = self.writer
        w.scope.names = w.scope.names[1:]
        condition, given = w.truth(1).text, w.pick(["before", "last"])
        w.functions.append(Function(f"f{k}", tuple(types), len(head) - len(types), types[0], init=True))
        lines = ["state last: T = init", "before = last", f"if {condition}:", "    last := p0", f"return {given}"]
        return "\n".join([f"def f{k}[T]({', '.join([*head, 'const init: T'])}) -> T:", *_indented(lines), ""])

    # ---- the step

    def body(self, depth: int, most: int | None = None) -> list[str]:
        """Declarations and statements; names that they give stay in scope."""
        w = self.writer
        states: list[Name] = []
        lines: list[str] = []
        for _ in range(w.pick([0, 1, 1, 2, 2, 3])):
            t = w.pick([*self.types, *self.open])
            name = w.fresh("s")
            lines.append(f"state {name}: {written(t)} = {w.constant(t)}")
            states.append(Name(name, t))
        w.scope.names += states * 3  # so that they are drawn more often
        for _ in range(w.draw_int(0, self.max_size if most is None else most)):
            lines += self.statement(states, depth)
        for s in states:
            if w.draw_int(0, 1):
                lines += self.assign(s, depth)
            lines += self.promise(s)
        return lines

    def assumed(self, inputs: list[Name]) -> list[str]:
        """Sometimes an assume that every input keeps, since it says what the type says."""
        bounded = [n for n in inputs if isinstance(n.type, Int) and n.type.lo is not None]
        if not bounded or self.writer.draw_int(0, 4) < 4:
            return []
        n = self.writer.pick(bounded)
        assert isinstance(n.type, Int)
        return [f"assume {n.type.lo} <= {n.text} and {n.text} <= {n.type.hi}"]

    def statement(self, states: list[Name], depth: int) -> list[str]:
        w = self.writer
        options: list[Callable[[], list[str]]] = [lambda: self.bind(depth)]
        if states:
            options += [lambda: self.assign(w.pick(states), depth)] * 2
            options.append(lambda: self.branches(states, depth))
            if any(isinstance(s.type, Vector) for s in states):
                options.append(lambda: self.loop([s for s in states if isinstance(s.type, Vector)], depth))
        return w.pick(options)()

    def bind(self, depth: int) -> list[str]:
        w = self.writer
        t = w.pick([*self.types, *self.open])
        value = w.expression(t, depth)
        name = w.fresh("x")
        typed = isinstance(t, Symbols) or bool(w.draw_int(0, 1))
        known = value.type if not typed and isinstance(t, Int | Real) else t
        w.scope.names.append(Name(name, known, declared=typed or not isinstance(t, Int | Real | Vector)))
        return [f"{name}: {written(t)} = {value.text}" if typed else f"{name} = {value.text}"]

    def assign(self, s: Name, depth: int) -> list[str]:
        """A new value for a state: bounded by its range, or, of an open one, grown by something bounded."""
        w = self.writer
        if isinstance(s.type, Vector) and w.draw_int(0, 1):
            i = w.expression(Int(0, s.type.size - 1), 1).text
            return [f"{s.text}[{i}] := {w.expression(s.type.elem, depth).text}"]
        if isinstance(s.type, Int | Real) and interval(s.type) == (None, None):
            step = w.expression(number(-3, 3, isinstance(s.type, Real)), depth)
            return [f"{s.text} := {w.pick([s.text, '0', f'2 * {s.text}'])} + {step.at(6)}"]
        return [f"{s.text} := {w.expression(s.type, depth).text}"]

    def branches(self, states: list[Name], depth: int) -> list[str]:
        w = self.writer
        lines: list[str] = []
        heads = [f"if {w.truth(1).text}:"]
        heads += [f"elif {w.truth(1).text}:" for _ in range(w.pick([0, 0, 1]))]
        heads += ["else:"] if w.draw_int(0, 1) else []
        for head in heads:
            outside = list(w.scope.names)
            inner = [line for _ in range(w.draw_int(1, 2)) for line in self.statement(states, depth - 1)] \
                if depth > 0 else self.assign(w.pick(states), 0)
            w.scope.names = outside
            lines += [head, *_indented(inner)]
        return lines

    def loop(self, states: list[Name], depth: int) -> list[str]:
        w = self.writer
        s = w.pick(states)
        assert isinstance(s.type, Vector)
        i = w.fresh("i")
        outside = list(w.scope.names)
        if w.draw_int(0, 1):
            w.scope.names.append(Name(i, Int(0, s.type.size - 1), declared=False))
            lines = [f"for {i} in 0..{s.type.size - 1}:",
                     f"    {s.text}[{i}] := {w.expression(s.type.elem, max(depth - 1, 0)).text}"]
        else:
            w.scope.names.append(Name(i, s.type.elem))
            lines = [f"for {i} in {s.text}:", f"    {s.text}[0] := {w.expression(s.type.elem, max(depth - 1, 0)).text}"]
        w.scope.names = outside
        return lines

    def promise(self, s: Name) -> list[str]:
        """Sometimes an assert that holds, since it says what the type says."""
        w = self.writer
        if not isinstance(s.type, Int) or s.type.lo is None or w.draw_int(0, 3) < 3:
            return []
        text = ', "it stays in its range"' if w.draw_int(0, 1) else ""
        return [f"assert {s.type.lo} <= {s.text} <= {s.type.hi}{text}"]


def written(t: Type) -> str:
    """A type as the language writes it; a real on the grid without ends is just real."""
    return "real" if isinstance(t, Real) and t.lo is None else str(t)


def _real(t: Type) -> bool:
    return isinstance(t, Real) or (isinstance(t, Vector) and _real(t.elem))


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def values_of(t: Type) -> st.SearchStrategy[Any]:
    """Values of a type, as `Interpreter.step` takes them."""
    match t:
        case Bool():
            return st.booleans()
        case Int(lo=lo, hi=hi):
            return st.integers(-9 if lo is None else lo, 9 if hi is None else hi)
        case Real(lo=lo, hi=hi, grid=grid):
            g = grid or Fraction(1, 8)
            low, high = (Fraction(-9) if lo is None else lo), (Fraction(9) if hi is None else hi)
            return st.integers(ceil(low / g), floor(high / g)).map(lambda k: g * k)
        case Symbols(names=names, other=other):
            return st.integers(0, len(names) - 1 + other)
        case Vector(elem=elem, size=n):
            return st.tuples(*[values_of(elem)] * n)
        case _:
            raise AssertionError(t)


def inputs_for(graph: Graph) -> st.SearchStrategy[dict[str, Any]]:
    """One row of inputs for a graph."""
    return st.fixed_dictionaries({n.name: values_of(n.type) for n in graph.inputs})


def rows_for(graph: Graph, min_size: int = 1, max_size: int = 10) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows of inputs for a graph, one a token. Assumes are not looked at."""
    return st.lists(inputs_for(graph), min_size=min_size, max_size=max_size)
