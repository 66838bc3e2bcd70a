"""Runs a program text over streams and compares with an oracle that looks at whole prefixes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from lsrl.diagnostics import Source
from lsrl.frontend.modules import read_module
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.passes import run_pipeline
from lsrl.python_step import CompiledStep, compile_step
from lsrl.types import Symbols, Type, Value, Vector

ABC = '{"a", "b", "c"}'


@lru_cache(maxsize=512)
def graph_of(text: str) -> Graph:
    """The graph of the one program of a text."""
    return read_module(Source("test.lsrl", text), Path()).elaborate()


def program(inputs: str, result: str, body: str) -> str:
    """A program that returns one expression; statements may stand before it, split by `;`."""
    *statements, last = body.split("; ")
    lines = [*statements, f"return {last}"]
    return f"program p({inputs}) -> {result}:\n" + "".join(f"    {line}\n" for line in lines)


def named(value: Value, t: Type) -> Any:
    """A value with its symbols by name and its vectors as lists."""
    if isinstance(t, Vector):
        assert isinstance(value, tuple)
        return [named(v, t.elem) for v in value]
    return t.name(value) if isinstance(t, Symbols) and isinstance(value, int) else value


@lru_cache(maxsize=512)
def lowered(text: str) -> CompiledStep:
    """The generated step of the program after all passes."""
    return compile_step(run_pipeline(graph_of(text)))


def rows_of(columns: Mapping[str, Sequence[Any]], length: int | None) -> list[dict[str, Any]]:
    n = length if length is not None else len(next(iter(columns.values())))
    return [{name: column[t] for name, column in columns.items()} for t in range(n)]


def run(text: str, columns: Mapping[str, Sequence[Any]], length: int | None = None) -> list[Any]:
    """The output "out" of every token, the same from the interpreter and from the lowered program.

    A program without inputs runs for `length` tokens.
    """
    graph, rows = graph_of(text), rows_of(columns, length)
    t = graph.output["out"].type
    out = [named(row["out"], t) for row in Interpreter(graph).run(rows)]
    again = [named(row["out"], t) for row in lowered(text).run(rows)]
    assert all(same(a, b) for a, b in zip(out, again, strict=True)), f"{out} becomes {again}\n{text}"
    return out


def expect(text: str, columns: Mapping[str, Sequence[Any]], oracle: Callable[..., Any]) -> None:
    """The output at every token is what `oracle` says of the inputs up to it, with the same Python type."""
    got = run(text, columns)
    for t, value in enumerate(got):
        want = oracle(*(list(column[: t + 1]) for column in columns.values()))
        assert same(value, want), f"token {t} of {dict(columns)}: {value!r}, should be {want!r}\n{text}"


def same(a: Any, b: Any) -> bool:
    """Equal, bools only to bools; floats (numeric programs) to a few units in the last place."""
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float):
        return bool(abs(a - b) <= 1e-12 * max(1.0, abs(b)))
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


BOOLS = st.booleans()
INTS = st.integers(-20, 20)
DIGITS = st.integers(0, 9)
LETTERS = st.sampled_from("abc")
TENTHS = st.integers(-50, 50).map(lambda i: Fraction(i, 10))
PAIRS = st.tuples(INTS, INTS).map(list)


def streams(**elements: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, list[Any]]]:
    """Columns of one length, 1 to 12 tokens."""
    names = list(elements)
    rows = st.lists(st.tuples(*elements.values()), min_size=1, max_size=12)
    return rows.map(lambda rs: {name: [r[i] for r in rs] for i, name in enumerate(names)})
