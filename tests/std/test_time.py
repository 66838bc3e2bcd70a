"""time.lsrl against its meaning on whole prefixes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from tests.std.support import ABC, BOOLS, DIGITS, INTS, LETTERS, PAIRS, TENTHS, expect, program, run, streams

TYPES: list[tuple[str, Any, str, Any]] = [  # type, elements, a constant, its value
    ("bool", BOOLS, "true", True),
    ("int", INTS, "-3", -3),
    ("int[0..9]", DIGITS, "7", 7),
    (ABC, LETTERS, '"c"', "c"),
    ("real[-5..5 by 1/10]", TENTHS, "1/10", None),
    ("int[2]", PAIRS, "[5, 6]", [5, 6]),
]


@settings(max_examples=25, deadline=None)
@given(streams(x=INTS))
def test_index_and_first_token(columns: dict[str, list[Any]]) -> None:
    expect(program("x: int", "int", "index()"), columns, lambda x: len(x) - 1)
    expect(program("x: int", "bool", "first_token()"), columns, lambda x: len(x) == 1)


@pytest.mark.parametrize("case", TYPES, ids=[t for t, *_ in TYPES])
@pytest.mark.parametrize("k", [0, 1, 2, 5])
def test_delay(case: tuple[str, Any, str, Any], k: int) -> None:
    t, elements, text, value = case
    if value is None:
        from fractions import Fraction
        value = Fraction(1, 10)

    @settings(max_examples=25, deadline=None)
    @given(streams(x=elements))
    def check(columns: dict[str, list[Any]]) -> None:
        def oracle(x: list[Any]) -> Any:
            return x[-1 - k] if len(x) > k else value

        expect(program(f"x: {t}", t, f"delay(x, {k}, {text})"), columns, oracle)
        if k == 1:
            expect(program(f"x: {t}", t, f"prev(x, {text})"), columns, oracle)

    check()


@settings(max_examples=25, deadline=None)
@given(streams(x=INTS))
def test_window(columns: dict[str, list[Any]]) -> None:
    for k in (1, 2, 4):
        expect(program("x: int", f"int[{k}]", f"window(x, {k}, 9)"), columns, lambda x, k=k: ([9] * k + x)[-k:])


@settings(max_examples=15, deadline=None)
@given(streams(x=LETTERS))
def test_window_of_symbols(columns: dict[str, list[Any]]) -> None:
    expect(program(f"x: {ABC}", f"{ABC}[3]", 'window(x, 3, "b")'), columns, lambda x: (["b"] * 3 + x)[-3:])


@pytest.mark.parametrize("k", [1, 2, 3, 71, 72, 97, 128, 200])
def test_modulo_counter_stays_right(k: int) -> None:
    assert run(program("", f"int[0..{k - 1}]", f"modulo_counter({k})"), {}, 1000) == [t % k for t in range(1000)]


def test_two_calls_have_two_states() -> None:
    text = program("x: int", "int", "prev(x, 0) + 100 * prev(2 * x, 0)")
    assert run(text, {"x": [1, 2, 3]}) == [0, 201, 402]
