"""tables.lsrl against its meaning on whole prefixes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.std.support import ABC, BOOLS, LETTERS, expect, program, streams

KINDS: list[tuple[str, Any, list[Any]]] = [
    (ABC, LETTERS, ["a", "b", "c"]),
    ("bool", BOOLS, [False, True]),
    ("int[-1..2]", st.integers(-1, 2), [-1, 0, 1, 2]),
]


def cases(t: str, values: list[Any]) -> list[tuple[str, str, Callable[[list[Any]], Any]]]:
    n = len(values)
    return [
        (f"int[{n}]", "counts(x)", lambda x: [x.count(v) for v in values]),
        ("int", "occurrences(x)", lambda x: x.count(x[-1])),
        (t, "most_frequent(x)", lambda x: max(values, key=x.count)),  # max takes the first of several
        (f"bool[{n}]", "seen(x)", lambda x: [v in x for v in values]),
        (f"int[0..{n}]", "distinct(x)", lambda x: len(set(x))),
    ]


@pytest.mark.parametrize("kind", KINDS, ids=[t for t, *_ in KINDS])
def test_tables(kind: tuple[str, Any, list[Any]]) -> None:
    t, elements, values = kind

    @settings(max_examples=40, deadline=None)
    @given(streams(x=elements))
    def check(columns: dict[str, list[Any]]) -> None:
        for result, expression, oracle in cases(t, values):
            expect(program(f"x: {t}", result, expression), columns, oracle)

    check()


@settings(max_examples=20, deadline=None)
@given(streams(x=st.sampled_from(["a", "b", "?", "é"])))
def test_other_symbols_count_as_one(columns: dict[str, list[Any]]) -> None:
    def oracle(x: list[str]) -> list[int]:
        return [x.count("a"), x.count("b"), sum(c not in "ab" for c in x)]

    expect(program('x: {"a", "b", *}', "int[3]", "counts(x)"), columns, oracle)
