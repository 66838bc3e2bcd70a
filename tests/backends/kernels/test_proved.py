"""The verifier proves kernels equal to the interpreter, as it proves models of weights, and refutes wrong ones."""

from __future__ import annotations

import pytest

import lsrl
from lsrl.backends.kernels.module import KernelModule
from tests.corpus import CORPUS, Case

QUICK = [c for c in CORPUS if c.lstm == "PROVED" and c.name not in ("delay_3", "moving_average")
         and not c.path.startswith("lsrl/")]


@pytest.mark.parametrize("case", QUICK, ids=lambda c: c.name)
def test_a_kernel_is_proved(case: Case) -> None:
    program = lsrl.load(case.file)
    for shape in (None, "sequential"):
        model = KernelModule(program.graph, "c", shape=shape)
        assert lsrl.verify(program, model).headline == "PROVED"


def test_a_kernel_of_another_program_is_refuted_by_the_shortest_word() -> None:
    right = lsrl.parse('program p(t: {"a", "b"}) -> int:\n    return modulo_counter(5)\n')
    wrong = lsrl.parse('program p(t: {"a", "b"}) -> int:\n    return modulo_counter(5) % 4\n')
    verdict = lsrl.verify(right, wrong.compile("c"))
    assert verdict.headline.startswith("REFUTED") and verdict.counterexample is not None


def test_integers_beyond_float32_keep_their_bits() -> None:
    """A state of 2^24 and more, which the search once held as a float32."""
    text = ("program p(up: bool) -> bool:\n    state s: int[0..50000000] = 33554431\n"
            "    s := 33554432 if up else 33554433\n    return s % 2 == 0\n")
    program = lsrl.parse(text)
    assert lsrl.verify(program, program.compile("c")).headline == "PROVED"
