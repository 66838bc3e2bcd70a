"""A sample of `benchmarks.random_automata`: each machine at each target, hosted and PROVED when the algebra says so."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks import random_automata
from benchmarks.random_automata import Outcome, outcomes
from lsrl.backends.registry import TARGETS
from tests.algebra_oracle import RULES

MACHINES = 25


@pytest.mark.parametrize("number", range(MACHINES))
def test_hosted_exactly_when_the_algebra_says_so(number: int) -> None:
    found = outcomes(number, seed=1, targets=sorted(TARGETS))
    assert len(found) == len(TARGETS)
    assert not [o.line() for o in found if not o.right]


def test_the_command_counts_and_tells_of_what_is_wrong(capsys: pytest.CaptureFixture[str],
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    assert random_automata.main(["--count", "2", "--first", "3", "--targets", "mingru", "lstm"]) == 0
    text = capsys.readouterr().out
    assert "mingru" in text and "2 machines in" in text

    def none(facts: object) -> bool:
        return False

    monkeypatch.setitem(RULES, "lstm", none)
    assert random_automata.main(["--count", "1", "--targets", "lstm"]) == 1
    text = capsys.readouterr().out
    assert "at lstm: PROVED, but L402 is due" in text


def test_ctrl_c_ends_the_command_with_the_counts_so_far(capsys: pytest.CaptureFixture[str],
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    def stopping(number: int, *rest: object) -> list[Outcome]:
        if number:
            raise KeyboardInterrupt
        (one,) = outcomes(0, targets=("lstm",))
        return [dataclasses.replace(one, seconds=0.5)]

    monkeypatch.setattr(random_automata, "outcomes", stopping)
    assert random_automata.main(["--count", "5", "--targets", "lstm"]) == 130
    said = capsys.readouterr()
    assert "1 machines in" in said.out and "stopped" in said.err
