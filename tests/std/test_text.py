"""text.lsrl against `re` on whole prefixes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsrl.diagnostics import LsrlError
from tests.std.support import ABC, LETTERS, expect, graph_of, program, run, streams

PATTERNS = ["(ab)*", "a.*c", "[^a]+|b{2,3}c?", "(?:a|bc)*", "^a", "c$", "(?i)A(b|C)"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_matches_and_contains(pattern: str) -> None:
    @settings(max_examples=30, deadline=None)
    @given(streams(x=LETTERS))
    def check(columns: dict[str, list[Any]]) -> None:
        expect(program(f"x: {ABC}", "bool", f'matches(x, "{pattern}")'), columns,
               lambda x: re.fullmatch(pattern, "".join(x)) is not None)
        expect(program(f"x: {ABC}", "bool", f'contains(x, "{pattern}")'), columns,
               lambda x: re.search(pattern, "".join(x)) is not None)

    check()


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=12))
def test_bytes(data: bytes) -> None:
    columns = {"x": list(data)}
    expect(program("x: byte", "bool", r'contains(x, "[\\x80-\\xff]\\d?\\w")'), columns,
           lambda x: re.search(rb"[\x80-\xff]\d?\w", bytes(x)) is not None)


WORDS = st.sampled_from("ab_ .(é")


@settings(max_examples=40, deadline=None)
@given(streams(x=WORDS))
def test_word_start(columns: dict[str, list[Any]]) -> None:
    def oracle(x: list[str]) -> bool:
        return re.search(r"(?:^|[^ab_])[ab_]$", "".join(x)) is not None

    expect(program('x: {"a", "b", "_", " ", *}', "bool", "word_start(x)"), columns, oracle)


def test_word_start_of_bytes() -> None:
    text = b"it's  x9\n_y"
    starts = [m.start() for m in re.finditer(rb"(?<!\w)\w", text)]
    got = run(program("x: byte", "bool", "word_start(x)"), {"x": list(text)})
    assert [t for t, on in enumerate(got) if on] == starts


@pytest.mark.parametrize(("pattern", "code"), [
    ("(a", "L250"), (r"(a)\\1", "L251"), ("a(?=b)", "L251"), ("d", "L252"), (".*a.{14}", "L253"),
])
def test_errors_stand_at_the_call(pattern: str, code: str) -> None:
    text = program(f"x: {ABC}", "bool", f'matches(x, "{pattern}")')
    with pytest.raises(LsrlError) as caught:
        graph_of(text)
    diagnostic = caught.value.diagnostics[0]
    assert diagnostic.code == code
    assert diagnostic.span.line == 2
