"""memory.lsrl against its meaning on whole prefixes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.std.support import ABC, BOOLS, INTS, LETTERS, PAIRS, expect, program, run, streams


@settings(max_examples=40, deadline=None)
@given(streams(x=INTS, p=BOOLS))
def test_hold(columns: dict[str, list[Any]]) -> None:
    def oracle(x: list[Any], p: list[bool]) -> Any:
        return next((v for v, on in zip(reversed(x), reversed(p), strict=True) if on), -1)

    expect(program("x: int, p: bool", "int", "hold(x, p, -1)"), columns, oracle)


@settings(max_examples=30, deadline=None)
@given(streams(x=LETTERS, p=BOOLS))
def test_hold_symbols(columns: dict[str, list[Any]]) -> None:
    def oracle(x: list[Any], p: list[bool]) -> Any:
        return next((v for v, on in zip(reversed(x), reversed(p), strict=True) if on), "b")

    expect(program(f"x: {ABC}, p: bool", ABC, 'hold(x, p, "b")'), columns, oracle)


@settings(max_examples=40, deadline=None)
@given(streams(p=BOOLS))
def test_since_rising_falling(columns: dict[str, list[Any]]) -> None:
    expect(program("p: bool", "int", "since(p)"), columns, lambda p: [True, *p][::-1].index(True))
    expect(program("p: bool", "bool", "rising(p)"), columns, lambda p: [False, *p][-2:] == [False, True])
    expect(program("p: bool", "bool", "falling(p)"), columns, lambda p: [False, *p][-2:] == [True, False])


@settings(max_examples=30, deadline=None)
@given(streams(x=st.integers(-1, 1)))
def test_run_length(columns: dict[str, list[Any]]) -> None:
    def oracle(x: list[Any]) -> int:
        n = 0
        while n < len(x) and x[-1 - n] == x[-1]:
            n += 1
        return n

    expect(program("x: int", "int", "run_length(x)"), columns, oracle)
    expect(program("x: int[-1..1]", "int", "run_length(x)"), columns, oracle)
    letters = {"x": ["abc"[v + 1] for v in columns["x"]]}
    expect(program(f"x: {ABC}", "int", "run_length(x)"), letters, oracle)


@settings(max_examples=40, deadline=None)
@given(streams(s=BOOLS, r=BOOLS))
def test_latch(columns: dict[str, list[Any]]) -> None:
    def oracle(s: list[bool], r: list[bool]) -> bool:
        last_set = max((t for t, on in enumerate(s) if on), default=-1)
        return last_set >= 0 and not any(r[last_set + 1 :])

    expect(program("s: bool, r: bool", "bool", "latch(s, r)"), columns, oracle)


@settings(max_examples=40, deadline=None)
@given(streams(key=LETTERS, value=INTS, query=LETTERS))
def test_recall(columns: dict[str, list[Any]]) -> None:
    def oracle(key: list[Any], value: list[Any], query: list[Any]) -> Any:
        return dict(zip(key, value, strict=True)).get(query[-1], 99)

    expect(program(f"key: {ABC}, value: int, query: {ABC}", "int", "recall(key, value, query, 99)"), columns, oracle)


@settings(max_examples=25, deadline=None)
@given(streams(key=st.integers(-1, 2), value=PAIRS, query=st.integers(-1, 2)))
def test_recall_of_vectors_by_numbers(columns: dict[str, list[Any]]) -> None:
    def oracle(key: list[Any], value: list[Any], query: list[Any]) -> Any:
        return dict(zip(key, value, strict=True)).get(query[-1], [7, 8])

    text = program("key: int[-1..2], value: int[2], query: int[-1..2]", "int[2]", "recall(key, value, query, [7, 8])")
    expect(text, columns, oracle)


def test_a_state_does_not_leak_from_one_run_to_the_next() -> None:
    text = program("x: int, p: bool", "int", "hold(x, p, 0)")
    assert run(text, {"x": [5, 6], "p": [True, False]}) == [5, 5]
    assert run(text, {"x": [1, 2], "p": [False, False]}) == [0, 0]
