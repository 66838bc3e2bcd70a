"""folds.lsrl against its meaning on whole prefixes."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings

from tests.std.support import BOOLS, DIGITS, INTS, PAIRS, TENTHS, expect, program, streams


def columnwise(f: Callable[[list[Any]], Any]) -> Callable[[list[list[Any]]], list[Any]]:
    return lambda rows: [f(list(c)) for c in zip(*rows, strict=True)]


def decayed(x: list[Any], a: Fraction) -> Fraction:
    return sum(((1 - a) * a ** (len(x) - 1 - i) * v for i, v in enumerate(x)), Fraction(0))


GRID = "real[-5..5 by 1/10]"
CASES: list[tuple[str, str, Any, str, Callable[[Any], Any]]] = [  # result, input type, elements, expression, oracle
    ("int", "bool", BOOLS, "count(x)", sum),
    ("bool", "bool", BOOLS, "ever(x)", any),
    ("bool", "bool", BOOLS, "always(x)", all),
    ("bool", "bool", BOOLS, "parity(x)", lambda x: sum(x) % 2 == 1),
    ("int", "int", INTS, "running_sum(x)", sum),
    ("int", "int[0..9]", DIGITS, "running_sum(x)", sum),
    ("real", GRID, TENTHS, "running_sum(x)", sum),
    ("int[2]", "int[2]", PAIRS, "running_sum(x)", columnwise(sum)),
    ("int", "int", INTS, "running_max(x)", max),
    ("int[0..9]", "int[0..9]", DIGITS, "running_max(x)", max),
    (GRID, GRID, TENTHS, "running_max(x)", max),
    ("real", "real", TENTHS, "running_max(x)", max),
    ("int[2]", "int[2]", PAIRS, "running_max(x)", columnwise(max)),
    ("int", "int", INTS, "running_min(x)", min),
    ("int[0..9]", "int[0..9]", DIGITS, "running_min(x)", min),
    (GRID, GRID, TENTHS, "running_min(x)", min),
    ("int[2]", "int[2]", PAIRS, "running_min(x)", columnwise(min)),
    ("real", "int", INTS, "running_mean(x)", lambda x: sum(x) / len(x)),
    ("real", "real", TENTHS, "running_mean(x)", lambda x: float(sum(x) / len(x))),
    ("real", "int", INTS, "ema(x, 1/2)", lambda x: decayed(x, Fraction(1, 2))),
    ("real", GRID, TENTHS, "ema(x, 0.9)", lambda x: decayed(x, Fraction(9, 10))),
    ("real[2]", "real[2]", PAIRS, "ema(x, 1/4)", columnwise(lambda x: decayed(x, Fraction(1, 4)))),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{c[3]} of {c[1]}" for c in CASES])
def test_fold(case: tuple[str, str, Any, str, Callable[[Any], Any]]) -> None:
    result, t, elements, expression, oracle = case

    @settings(max_examples=30, deadline=None)
    @given(streams(x=elements))
    def check(columns: dict[str, list[Any]]) -> None:
        expect(program(f"x: {t}", result, expression), columns, oracle)

    check()
