"""rasp.lsrl against selection matrices written out."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.std.support import BOOLS, INTS, LETTERS, PAIRS, TENTHS, expect, program, streams

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}
SMALL = st.integers(0, 3)
PARAMETERS = "k: int[0..3], q: int[0..3], x: int, p: bool"
STREAMS = streams(k=SMALL, q=SMALL, x=INTS, p=BOOLS)


def picked(k: list[Any], q: list[Any], op: str) -> list[bool]:
    return [OPERATORS[op](key, q[-1]) for key in k]


@pytest.mark.parametrize("op", OPERATORS)
def test_one_comparison(op: str) -> None:
    @settings(max_examples=25, deadline=None)
    @given(STREAMS)
    def check(columns: dict[str, list[Any]]) -> None:
        expect(program(PARAMETERS, "int", f"width(select(k, q, {op}))"), columns,
               lambda k, q, x, p: sum(picked(k, q, op)))
        expect(program(PARAMETERS, "int", f"aggregate(select(k, q, {op}), x)"), columns,
               lambda k, q, x, p: sum(v for v, on in zip(x, picked(k, q, op), strict=True) if on))

        def mean(k: list[Any], q: list[Any], x: list[Any], p: list[Any]) -> float:
            chosen = [v for v, on in zip(x, picked(k, q, op), strict=True) if on]
            return sum(chosen) / len(chosen) if chosen else 0.0

        expect(program(PARAMETERS, "real", f"aggregate_mean(select(k, q, {op}), x)"), columns, mean)

    check()


JOINED: list[tuple[str, Callable[[Any, Any, Any, Any], list[bool]]]] = [
    ("select(k, q, ==) or select(k, q, >)", lambda k, q, x, p: [a >= q[-1] for a in k]),
    ("select(k, q, <=) and select(p, p, ==)",
     lambda k, q, x, p: [a <= q[-1] and b == p[-1] for a, b in zip(k, p, strict=True)]),
    ("not select(p, p, !=) and not (select(k, q, <) or select(q, k, ==))",
     lambda k, q, x, p: [b == p[-1] and not (a < q[-1] or c == k[-1]) for a, b, c in zip(k, p, q, strict=True)]),
]


@pytest.mark.parametrize("case", JOINED, ids=[c[0] for c in JOINED])
def test_joined_selectors(case: tuple[str, Callable[[Any, Any, Any, Any], list[bool]]]) -> None:
    text, oracle = case

    @settings(max_examples=30, deadline=None)
    @given(STREAMS)
    def check(columns: dict[str, list[Any]]) -> None:
        expect(program(PARAMETERS, "int", f"s = {text}; width(s)"), columns, lambda *c: sum(oracle(*c)))
        expect(program(PARAMETERS, "int", f"aggregate({text}, x)"), columns,
               lambda *c: sum(v for v, on in zip(c[2], oracle(*c), strict=True) if on))

    check()


@settings(max_examples=25, deadline=None)
@given(streams(k=LETTERS, x=TENTHS, v=PAIRS))
def test_symbols_reals_and_vectors(columns: dict[str, list[Any]]) -> None:
    parameters = 'k: {"a", "b", "c"}, x: real[-5..5 by 1/10], v: int[2]'
    expect(program(parameters, "real", "aggregate(select(k, k, ==), x)"), columns,
           lambda k, x, v: sum(a for a, b in zip(x, k, strict=True) if b == k[-1]))
    expect(program(parameters, "int[2]", "[aggregate(select(k, k, ==), e) for e in v]"), columns,
           lambda k, x, v: [sum(a[i] for a, b in zip(v, k, strict=True) if b == k[-1]) for i in range(2)])
