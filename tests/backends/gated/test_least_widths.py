"""Programs whose least circuits are known: how many units they take on gated targets, and that they are right."""

from __future__ import annotations

from itertools import product

import pytest

from tests.backends.gated.checks import check_program

FLIP_FLOP = ('program p(tok: {"0", "1", "ignore"}) -> bool:\n    return hold(tok == "1", tok != "ignore", false)\n')
SHARED, OTHER = ("mingru", "minlstm", "hgrn", "rglru", "delta", "mamba"), ("gla", "mlstm", "gateloop", "rwkv")
EITHER = ("program p(x: bool, y: bool, z: bool) -> bool:\n    state s: bool = false\n"
          "    if x or y or z:\n        s := x\n    return s\n")
STORED = ("program p(w: bool, v: bool, k: int[0..2]) -> bool:\n    state s: bool = true\n    if w and k == 1:\n"
          "        s := v\n    return s\n")
SEEN = ("program p(x: bool, y: bool) -> bool:\n    state s: bool = true\n    if x and y:\n        s := false\n"
        "    return s\n")
FIRST = ("program p(x: bool) -> bool:\n    state started: bool = false\n    state s: bool = true\n"
         "    if not started:\n        s := x\n    started := true\n    return s\n")


def widths(target: str, text: str) -> tuple[int, ...]:
    """The units of each layer of a model that agrees with the interpreter."""
    return tuple(check_program(target, text, length=40).stack.widths)


@pytest.mark.parametrize("target", ["mingru", "hgrn", "gla", "gateloop", "delta", "mamba", "rglru"])
def test_functions_of_one_input_are_read_together(target: str) -> None:
    """Whether a token writes, and what, are both its columns: the latch reads them, and there is no map."""
    assert widths(target, FLIP_FLOP) == (1,)


@pytest.mark.parametrize("target", ["mingru", "minlstm", "hgrn", "rglru", "delta"])
def test_a_gate_is_a_threshold(target: str) -> None:
    """Where one of three bits writes, the gate's sum is 1 − x − y − z, down to −2: a unit, and no map."""
    assert widths(target, EITHER) == (1,)


@pytest.mark.parametrize("target", SHARED)
def test_what_is_added_matters_only_where_it_is_written(target: str) -> None:
    """w and k = 1 and v is no sum; v is."""
    assert widths(target, STORED) == (1,)


@pytest.mark.parametrize("target", (*SHARED, *OTHER[:3]))
def test_a_latch_that_is_only_cleared_adds_nothing(target: str) -> None:
    assert widths(target, SEEN) == (1,)


@pytest.mark.parametrize("target", (*SHARED, *OTHER[:3]))
def test_what_is_added_is_scaled_by_what_lets_it_in(target: str) -> None:
    """The first letter: x is passed on beside whether a token came before, and both are read by the unit."""
    assert widths(target, FIRST) == (2, 1)


@pytest.mark.parametrize("target", [*SHARED, *OTHER])
def test_a_trap_with_two_ways_in_is_two_latches(target: str) -> None:
    """(10)*: the letter and the one before; the letter, and a latch for each pair that must not be; their "and"."""
    text = 'program p(tok: {"0", "1"}) -> bool:\n    return matches(tok, "(10)*")\n'
    assert widths(target, text) == (2, 3, 1)


@pytest.mark.parametrize("target", (*SHARED, *OTHER[:3]))
def test_an_output_may_be_a_sum_of_old_and_new_states(target: str) -> None:
    """The sum bit is a + b + carry − 2 · (new carry), and nothing stands above the delay of the carry; so it is where
    the carry starts as true, and where it is asked whether the sum is even."""
    for start, asked in product(("false", "true"), ("!=", "==")):
        text = (f"program p(a: bool, b: bool) -> bool:\n    state c: bool = {start}\n    y = (a != b) {asked} c\n"
                "    c := a and b or c and (a or b)\n    return y\n")
        assert widths(target, text) == (2, 2, 2)


def test_gates_that_are_sums_of_many_signs() -> None:
    """Mamba's gate opens by what it is given: it takes no sum that may be more than 1 where the latch is written."""
    assert widths("mamba", EITHER) != (1,)
