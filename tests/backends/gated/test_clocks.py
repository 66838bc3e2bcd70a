"""Clocks in recurrences with constant factors, and the states of permutations that nothing shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lsrl.backends.refusal import RefusalError
from lsrl.backends.registry import compile_graph
from lsrl.verify import verify
from tests.algebra_oracle import Machine
from tests.backends.gated.checks import check_files, check_program
from tests.backends.texts import graph_of
from tests.random_machines import graph_of as graph_of_machine

TURNS = ("program p(x: bool) -> bool:\n    state t: int = {start}\n    t := (t + 1) % {n}\n"
         "    return t == 0 and x\n")
RING = ("program p(x: bool) -> bool:\n    state a: bool = {a}\n    state b: bool = {b}\n    c = a\n    a := b\n"
        "    b := c\n    return a and x\n")
LINEAR, PLAIN = ("linear", "lru", "retnet"), ("lru", "retnet")


@pytest.mark.parametrize("target", LINEAR)
@pytest.mark.parametrize("text", [TURNS.format(n=2, start=0), TURNS.format(n=2, start=1),
                                  RING.format(a="true", b="false"), RING.format(a="false", b="true")])
def test_even_and_odd_times(target: str, text: str) -> None:
    model = check_program(target, text)
    assert verify(graph_of(text), model).kind == "PROVED"


@pytest.mark.parametrize("n, start", [(3, 0), (3, 2), (4, 1), (6, 5)])
def test_longer_turns_need_a_matrix(n: int, start: int) -> None:
    text = TURNS.format(n=n, start=start)
    model = check_program("linear", text)
    assert verify(graph_of(text), model).kind == "PROVED"
    for target in PLAIN:
        with pytest.raises(RefusalError, match=f"every {n} tokens") as error:
            compile_graph(graph_of(text), target)
        assert error.value.diagnostics[0].code == "L402"


@pytest.mark.parametrize("target, n, start", [("linear", 3, 2), ("linear", 5, 1), ("lru", 2, 1), ("retnet", 2, 0)])
def test_the_time_is_read_and_written(target: str, n: int, start: int, tmp_path: Path) -> None:
    model = compile_graph(graph_of(TURNS.format(n=n, start=start)), target)
    state = model.initial_state(2)
    for value in range(n):
        for later in range(3):
            x = torch.ones(2, dtype=torch.bool)
            now = model.poke(state, "t", value)
            for _ in range(later):
                _, now = model.step({"x": x}, now)
            assert model.probe(now, "t").tolist() == [(value + later) % n] * 2
    check_files(target, TURNS.format(n=n, start=start), tmp_path)


@pytest.mark.parametrize("output", [((1, 0, 0), (0, 0, 1), (0, 0, 1)), ((0, 0, 0), (1, 0, 1), (0, 1, 0))])
def test_states_that_nothing_shows_are_part_of_a_permutation(output: tuple[tuple[int, ...], ...]) -> None:
    """The third state is where a reset leads; its unit is read by no output, but the reset must clear the others."""
    graph = graph_of_machine(Machine(((1, 0, 2), (0, 1, 2), (2, 2, 2)), output))
    assert verify(graph, compile_graph(graph, "delta")).kind == "PROVED"
