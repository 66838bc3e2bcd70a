"""Where range checks hold: only where the text gets to the value, but wherever a state takes it."""

from __future__ import annotations

import pytest

from lsrl.interpreter import RunError
from tests.frontend.elaboration import graph_of, outputs

V = "v: int[3], i: int"


def rows(*indices: int) -> list[dict[str, object]]:
    return [{"v": [5, 6, 7], "i": i} for i in indices]


@pytest.mark.parametrize("expression", [
    "v[i] if i >= 0 and i < 3 else -1",
    "-1 if i < 0 or i > 2 else v[i]",
    "int(i >= 0 and i < 3 and v[i] > 0) * 6 - 1 + (v[i] - 5 if 0 <= i <= 2 else 0)",
    "(match i: 0..2 => v[i], _ => -1)",
    "(match i < 0 or i > 2: true => -1, false => v[i])",
    "(match i: -9..-1 => -1, 3..9 => -1, _ => v[i])",
    "(v[i] if i < 3 else -1) if i >= 0 else -1",
])
def test_an_operand_that_is_not_used_does_not_fail(expression: str) -> None:
    text = f"program p({V}) -> int:\n    return {expression}\n"
    assert len(graph_of(text).checks) >= 1
    assert outputs(text, rows(0, 2, 3, -1, 9)) == [5, 7, -1, -1, -1]


@pytest.mark.parametrize("expression", [
    "v[i] if i < 3 else -1", "-1 if i > 2 else v[i]", "int(i < 3 and v[i] > 0)", "int(i > 2 or v[i] > 0)",
    "(match i: 3..9 => -1, _ => v[i])", "(match i: -9..2 => v[i], _ => 0)",
])
def test_an_operand_that_is_used_fails(expression: str) -> None:
    text = f"program p({V}) -> int:\n    return {expression}\n"
    with pytest.raises(RunError) as error:
        outputs(text, rows(0, 5, -1))
    assert error.value.position == 2


def test_statements_are_checked_in_the_branch_taken() -> None:
    text = ("program p(x: int) -> int:\n    state s: int[0..3] = 0\n    if x > 10:\n        s := 1\n    elif x > 5:\n"
            "        s := x - 6\n    else:\n        y: int[0..5] = x\n        s := min(y, 3)\n    return s\n")
    assert outputs(text, [11, 6, 9, 5, 0, 99]) == [1, 0, 3, 3, 0, 1]
    for bad in (10, -1):
        with pytest.raises(RunError):
            outputs(text, [bad])


def test_a_state_in_an_unused_operand_still_keeps_its_range() -> None:
    before = "def top(x: int[0..3]) -> int:\n    state s: int[0..3] = 0\n    s := x\n    return s\n\n"
    text = before + "program p(x: int) -> int:\n    return top(x) if x <= 3 else 0\n"
    assert outputs(text, [2]) == [2]
    with pytest.raises(RunError, match="`s` leaves its range"):
        outputs(text, [9])
    guarded = before + ("program p(x: int) -> int:\n    state r: int = 0\n    if x <= 3:\n        r := top(x)\n"
                        "    else:\n        r := 0\n    return r\n")
    assert outputs(guarded, [2, 9]) == [2, 0]


def test_an_element_of_a_state_in_an_unused_operand_is_still_an_element() -> None:
    before = "def put(i: int[0..1]) -> int:\n    state v: int[2] = 0\n    v[i] := 1\n    return v[i]\n\n"
    text = before + "program p(i: int) -> int:\n    return put(i) if i <= 1 else 0\n"
    assert outputs(text, [1]) == [1]
    with pytest.raises(RunError, match="the index `i` of a vector of 2"):
        outputs(text, [2])


def test_parameters_results_and_names_are_checked() -> None:
    before = "def f(x: int[0..9]) -> int[0..9]:\n    return x + 1\n\n"
    text = before + "program p(x: int) -> int[0..5]:\n    y: int[0..7] = f(x)\n    return y\n"
    words = {-1: "`x` of `f` leaves its range int[0..9]", 10: "`x` of `f` leaves", 9: "the result leaves its range",
             8: "`y` leaves its range int[0..7]", 6: "the result leaves its range int[0..5]"}
    assert outputs(text, [0, 4]) == [1, 5]
    for x, message in words.items():
        with pytest.raises(RunError, match="L204") as error:
            outputs(text, [x])
        assert message in str(error.value)


def test_vectors_are_checked_element_by_element() -> None:
    text = "program p(v: int[3]) -> int[3]:\n    state s: int[0..9][3] = 0\n    s := v\n    return s\n"
    assert outputs(text, [[1, 2, 9]]) == [(1, 2, 9)]
    with pytest.raises(RunError):
        outputs(text, [[1, 10, 2]])
