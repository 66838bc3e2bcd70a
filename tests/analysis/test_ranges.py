"""Ranges and grids: known cases, and soundness against the interpreter on random graphs and programs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsrl.analysis.interval import Range, gcd, join, lcm, meet, of_type
from lsrl.analysis.ranges import analyse, proved_checks, refuted_checks
from lsrl.diagnostics import LsrlError, Source
from lsrl.frontend.modules import read_module
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Read
from lsrl.ir.parser import parse_graph
from lsrl.passes import run_pipeline
from lsrl.types import Int, Real, Value
from tests.random_graphs import graphs, rows
from tests.strategies import programs, rows_for

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def graph_of(text: str, scalar: bool = True) -> Graph:
    graph = read_module(Source("case.lsrl", text), Path()).elaborate()
    return run_pipeline(graph) if scalar else graph


def state_range(graph: Graph, name: str) -> Range:
    ranges = analyse(graph)
    return next(ranges[n] for n in graph.nodes if isinstance(n, Read) and n.state == name)


def between(lo: int | Fraction | None, hi: int | Fraction | None, grid: int | Fraction | None) -> Range:
    return Range(None if lo is None else Fraction(lo), None if hi is None else Fraction(hi),
                 None if grid is None else Fraction(grid))


CASES = {
    "counts up to a bound": ("""
program p(x: bool) -> int:
    state d: int = 0
    d := d + 1 if d < 8 else d
    return d
""", "d", between(0, 8, 1)),
    "stops at a value that is tested by equality": ("""
program p(x: bool) -> int:
    state d: int = 0
    d := d + 1 if d != 10 else 0
    return d
""", "d", between(0, 10, 1)),
    "clamped": ("""
program p(x: int[-3..3]) -> int:
    state d: int = 5
    d := clamp(d + x, 0, 20)
    return d
""", "d", between(0, 20, 1)),
    "grows for ever in steps of two": ("""
program p(x: bool) -> int:
    state d: int = 4
    d := d + 2 if x else d
    return d
""", "d", between(4, None, 2)),
    "a counter without bounds": ("""
program p(x: int[-1..1]) -> int:
    state d: int = 0
    d := d + x
    return d
""", "d", between(None, None, 1)),
    "a remainder": ("""
program p(x: int) -> int:
    state d: int = 0
    d := (d + x) % 6
    return d
""", "d", between(0, 5, 1)),
    "a bound through an `and`": ("""
program p(x: bool) -> int:
    state d: int = 0
    d := d + 1 if x and d <= 3 else d
    return d
""", "d", between(0, 4, 1)),
    "a bound by the negation of an `or`": ("""
program p(x: bool) -> int:
    state d: int = 0
    d := d if x or d >= 3 else d + 1
    return d
""", "d", between(0, 3, 1)),
    "two states in a ring": ("""
program p(x: bool) -> int:
    state a: int = 1
    state b: int = 7
    t = a
    a := b
    b := t
    return a
""", "a", between(1, 7, 1)),
    "a table": ("""
program p(x: {"a", "b"}) -> int:
    state q: int = 0
    q := match q: 0 => 4, 4 => 8, _ => 0
    return q
""", "q", between(0, 8, 4)),
    "never written": ("""
program p(x: bool) -> int:
    state d: int = 3
    d := d
    return d + int(x)
""", "d", between(3, 3, 3)),
    "a contracting average": ("""
program p(x: real[0..1 by 1/4]) -> real:
    state m: real = 0
    m := m * 1/2 + x * 1/2
    return m
""", "m", between(0, 1, None)),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_state_range(case: str) -> None:
    text, name, want = CASES[case]
    # Without the passes: they may replace the state by its value.
    assert state_range(graph_of(text, scalar=False), name) == want


def test_a_declared_range_is_assumed_and_its_check_proved() -> None:
    graph = graph_of("""
program p(x: bool) -> int:
    state d: int[0..8] = 0
    if x and d < 8:
        d := d + 1
    elif d > 0:
        d := d - 1
    return d
""", scalar=False)
    ranges = analyse(graph)
    assert graph.checks
    assert proved_checks(graph, ranges) == graph.checks


def test_a_check_that_may_fail_is_not_proved_and_one_that_must_is_refuted() -> None:
    graph = graph_of("""
program p(x: int[0..3]) -> int:
    state d: int[0..8] = 0
    d := d + x
    assert x < 9, "holds"
    assert x > 9, "never holds"
    return d
""", scalar=False)
    ranges = analyse(graph)
    assert [c.message for c in proved_checks(graph, ranges) if c.kind == "assert"] == ["assertion failed: holds"]
    assert [c.message for c in refuted_checks(graph, ranges)] == ["assertion failed: never holds"]
    assert not any(c in proved_checks(graph, ranges) for c in graph.checks if c.kind == "range")
    assert state_range(graph, "d") == between(0, 8, 1)


def test_float_ranges_cover_rounding() -> None:
    graph = graph_of("""
program p(x: real[0..1]) -> real:
    return 0.1 * x + 0.2 * x + exp(-x)
""", scalar=False)
    top = Interpreter(graph).run([{"x": 1.0}])
    value = next(iter(top))["out"]
    assert isinstance(value, float)
    r = analyse(graph)[graph.output["out"]]
    assert r.grid is None and r.holds(value)


def test_deep_graphs_do_not_recurse() -> None:
    depth = 3000
    chain = [f"%{i} = affine 1*%{i - 1} + 1 : int" for i in range(1, depth)]
    lines = ["graph deep", "%0 = input x : int[0..1]", *chain, f"output out = %{depth - 1}"]
    graph = parse_graph("\n".join(lines) + "\n")
    assert analyse(graph)[graph.output["out"]] == between(depth - 1, depth, 1)


def scalars(value: Value) -> list[Value]:
    return [s for v in value for s in scalars(v)] if isinstance(value, tuple) else [value]


def assert_sound(graph: Graph, stream: list[dict[str, Any]]) -> None:
    """Every value of every node, up to and including the token at which a check fails, is in its range."""
    ranges = analyse(graph)
    interpreter = Interpreter(graph)
    state = interpreter.initial_state()
    for t, row in enumerate(stream):
        for node, value in interpreter.evaluate(state, row, t).items():
            for v in scalars(value):
                assert ranges[node].holds(v), f"{v} of {node} is not in {ranges[node]} at token {t}"
        try:
            _, state = interpreter.step(state, row, t)
        except LsrlError:
            return


@relaxed
@given(st.data(), st.booleans())
def test_ranges_hold_on_random_graphs(data: st.DataObject, numeric: bool) -> None:
    graph = data.draw(graphs(numeric))
    assert_sound(graph, data.draw(rows(graph)))


@relaxed
@given(st.data(), st.booleans())
def test_ranges_hold_on_random_programs(data: st.DataObject, numeric: bool) -> None:
    program = data.draw(programs(numeric=numeric))
    graph = run_pipeline(read_module(Source("random.lsrl", program), Path()).elaborate())
    assert_sound(graph, list(data.draw(rows_for(graph))))


def test_interval_arithmetic() -> None:
    assert gcd(Fraction(1, 2), Fraction(3, 4)) == Fraction(1, 4)
    assert lcm(Fraction(1, 2), Fraction(3, 4)) == Fraction(3, 2)
    assert gcd(Fraction(0), Fraction(5)) == 5
    assert join(between(1, 3, 1), between(6, 6, 6)) == between(1, 6, 1)
    assert meet(between(0, 9, 2), between(3, None, None)) == between(4, 8, 2)
    assert meet(between(0, 3, 1), between(4, 9, 1)) is None
    assert of_type(Int(0, 8)) == between(0, 8, 1)
    assert of_type(Real(Fraction(0), Fraction(1), Fraction(1, 8))).count == 9
    assert list(between(-1, 1, 1).values()) == [-1, 0, 1]
