"""LSRL's primitives and sugar; and what went wrong in its reference implementation, right here."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsrl.diagnostics import LsrlError
from tests.std.support import BOOLS, INTS, TENTHS, expect, graph_of, program, run, streams

GRID = "real[-5..5 by 1/10]"
SUGAR: list[tuple[str, str, Callable[[Any, Any, Any], Any]]] = [
    ("int", "step(x)", lambda x, y, b: int(x > 0)),
    ("int", "bump(x, y, y + 1)", lambda x, y, b: int(y < x <= y + 1)),
    ("int", "bump(x, 0, 1/2)", lambda x, y, b: int(0 < x <= Fraction(1, 2))),
    ("int", "eq(x, y)", lambda x, y, b: int(x == y)),
    ("int", "neq(x, y)", lambda x, y, b: int(x != y)),
    ("int", "larger(x, y)", lambda x, y, b: int(x > y)),
    ("int", "smaller(x, y)", lambda x, y, b: int(x < y)),
    ("int", "and(larger(x, 0), larger(y, 0))", lambda x, y, b: int(x > 0 and y > 0)),
    ("int", "or(larger(x, 0), larger(y, 0))", lambda x, y, b: int(x > 0 or y > 0)),
    ("int", "not(larger(x, y))", lambda x, y, b: 1 - int(x > y)),
    ("bool", "not(b)", lambda x, y, b: not b),
    ("int", "or(b, not(or(eq(x, y), smaller(x, 0))))", lambda x, y, b: int(b or not (x == y or x < 0))),
    ("real", "ifelse(b, x, y)", lambda x, y, b: x if b else y),
    ("real", "ifelse(larger(x, y), x, 3)", lambda x, y, b: x if x > y else 3),
    ("int", "constant(4)", lambda x, y, b: 4),
    ("real", "relu(x)", lambda x, y, b: max(x, 0)),
    ("real[3]", "concat([x, y], [x])", lambda x, y, b: [x, y, x]),
    ("real[2]", "concat([x, y], [x])[1..2]", lambda x, y, b: [y, x]),
    ("real[2]", "linear([[1, 2], [-1, 1/2]], [x, y], [0, 3])", lambda x, y, b: [x + 2 * y, -x + y / 2 + 3]),
    ("real", "x * y", lambda x, y, b: x * y),
]


@pytest.mark.parametrize("case", SUGAR, ids=[c[1] for c in SUGAR])
def test_sugar(case: tuple[str, str, Callable[[Any, Any, Any], Any]]) -> None:
    result, expression, oracle = case

    @settings(max_examples=40, deadline=None)
    @given(streams(x=TENTHS, y=TENTHS, b=BOOLS))
    def check(columns: dict[str, list[Any]]) -> None:
        expect(program(f"x: {GRID}, y: {GRID}, b: bool", result, expression), columns,
               lambda x, y, b: oracle(x[-1], y[-1], b[-1]))

    check()


@settings(max_examples=40, deadline=None)
@given(streams(x=INTS, y=INTS))
def test_linstate(columns: dict[str, list[Any]]) -> None:
    def oracle(x: list[int], y: list[int]) -> list[int]:
        s, r = 1, 0
        for a, b in zip(x, y, strict=True):
            s, r = s + 2 * r + a, -s + b
        return [s, r]

    expect(program("x: int, y: int", "int[2]", "linstate([[1, 2], [-1, 0]], [[1, 0], [0, 1]], [x, y], [1, 0])"),
           columns, oracle)


@settings(max_examples=30, deadline=None)
@given(streams(x=INTS))
def test_linstate_with_fractions(columns: dict[str, list[Any]]) -> None:
    def oracle(x: list[int]) -> list[Fraction]:
        s = Fraction(3)
        for a in x:
            s = s / 2 + a
        return [s]

    expect(program("x: int", "real[1]", "linstate([[1/2]], [[1]], [x], [3])"), columns, oracle)


# ---- the faults listed in the reference implementation's measurements


@settings(max_examples=40, deadline=None)
@given(streams(x=TENTHS))
def test_a_product_with_two_consumers(columns: dict[str, list[Any]]) -> None:
    expect(program(f"x: {GRID}", "real[2]", "concat([x * x], [10 * x])"), columns, lambda x: [x[-1] ** 2, 10 * x[-1]])
    expect(program(f"x: {GRID}", "real[2]", "s = x * x; concat([s], [10 * s])"), columns,
           lambda x: [x[-1] ** 2, 10 * x[-1] ** 2])


@settings(max_examples=25, deadline=None)
@given(streams(x=TENTHS))
def test_five_nodes_that_share(columns: dict[str, list[Any]]) -> None:
    text = program(f"x: {GRID}", "real[3]", "v = [x]; concat(concat(v, linear([[2]], v, [1])), relu(v))")
    expect(text, columns, lambda x: [x[-1], 2 * x[-1] + 1, max(x[-1], 0)])


FINE = "real[-1..1 by 1/10000]"


@pytest.mark.parametrize("i", [-5, -1, 0, 1, 5, 9, 10])
def test_no_ramp_at_a_threshold(i: int) -> None:
    x, half = Fraction(i, 10_000), Fraction(1, 2)
    assert run(program(f"x: {FINE}", "int", "larger(x, 0)"), {"x": [x]}) == [int(i > 0)]
    assert run(program(f"x: {FINE}", "int", "ifelse(x > 0.5, 7, 3)"), {"x": [x + half]}) == [7 if i > 0 else 3]


@pytest.mark.parametrize("small", [Fraction(1, 10**9), Fraction(0)])
def test_no_mask_rounds_a_value_away(small: Fraction) -> None:
    text = program("c: real, big: real", "real", "ifelse(c > 0, 3, big)")
    assert run(text, {"c": [small], "big": [Fraction(2 * 10**10)]}) == [3 if small else 2 * 10**10]
    text = program("c: bool, x: real", "real", "ifelse(c, x, 10000000000)")
    assert run(text, {"c": [True, False], "x": [Fraction(1, 10)] * 2}) == [Fraction(1, 10), 10**10]


@pytest.mark.parametrize("index", ["v[-1]", "sum(v[-2..1])", "v[3]"])
def test_no_index_counts_from_the_end(index: str) -> None:
    with pytest.raises(LsrlError) as caught:
        graph_of(program("v: int[3]", "int", index))
    assert [d.code for d in caught.value.diagnostics] == ["L217"]


def test_outputs_do_not_alias() -> None:
    text = program("x: int", "int[3]", "window(x, 3, 0)")
    assert run(text, {"x": [1, 2, 3]}) == [[0, 0, 1], [0, 1, 2], [1, 2, 3]]


def test_two_inputs_keep_apart() -> None:
    text = program("x: int, y: int", "int[2]", "[running_sum(x), running_sum(y)]")
    assert run(text, {"x": [1, 2], "y": [10, 20]}) == [[1, 10], [3, 30]]


def test_as_many_tokens_as_dimensions() -> None:
    text = program("v: int[2]", "int", "v[0] - v[1]")
    assert run(text, {"v": [[5, 1], [2, 8]]}) == [4, -6]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 8), streams(x=INTS))
def test_powers_of_a_stream(k: int, columns: dict[str, list[Any]]) -> None:
    expect(program("x: int", "int", f"x ** {k}"), columns, lambda x: x[-1] ** k)


def test_150_stages() -> None:
    body = "y0 = x; " + "".join(f"y{i + 1} = relu(2 * y{i} - y{i} + 1) - 1; " for i in range(150)) + "y150"
    assert run(program("x: int", "int", body), {"x": [7, -9]}) == [7, -1]


def test_the_queried_cell_of_a_grid_holds_its_border() -> None:
    cells = "[int(lo <= x and x < lo + 1/4) for lo in [0, 1/4, 1/2, 3/4]]"
    text = program("x: real[0..1 by 1/8]", "int[4]", cells)
    inputs = [Fraction(i, 8) for i in range(8)]
    assert run(text, {"x": inputs}) == [[int(i // 2 == k) for k in range(4)] for i in range(8)]
