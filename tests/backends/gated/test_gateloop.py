"""GateLoop against its equations as published; what it hosts, in both forms and dtypes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lsrl.backends.gated.gateloop import GateLoop
from tests.backends.gated.checks import (
    ACCUMULATOR,
    ALTERNATING,
    CARRY,
    CLOCK,
    COUNTER,
    DELAY,
    DTYPES,
    LATCH,
    NUMBER_LATCH,
    PARITY,
    check_files,
    check_mutants,
    check_poke,
    check_program,
    check_refused,
    random_mixer,
    sigmoid,
)

SWITCH = ("program p(x: {\"keep\", \"set\", \"clear\", \"swap\"}) -> bool:\n    state on: bool = true\n"
          "    on := not on if x == \"swap\" else x == \"set\" or (on and x == \"keep\")\n    return on\n")
SIGNED = ("program p(x: {\"same\", \"turn\", \"drop\"}, y: int[-2..3]) -> int:\n    state n: int = 3\n"
          "    n := (n if x == \"same\" else -n if x == \"turn\" else 0) + y\n    return n\n")
MODULO = "program p(x: bool) -> int[0..2]:\n    state n: int[0..2] = 0\n    n := (n + int(x)) % 3\n    return n\n"


def test_the_published_equations() -> None:
    """Section 3 in its parallel form: every token sees those before it, each times the factors since."""
    mixer, x, state = random_mixer(GateLoop, 4)
    got, after = mixer(x, state)
    p = {n: t.numpy() for n, t in mixer.named_parameters()}

    def affine(name: str, row: np.ndarray) -> np.ndarray:
        return np.asarray(p[name + ".weight"] @ row + p[name + ".bias"])

    for b in range(2):
        rows = x[b].numpy()
        a = np.array([sigmoid(affine("alpha", r)) * np.exp(1j * affine("beta", r)) for r in rows])
        for t in range(12):
            h = (state[0][b].numpy() + 1j * state[1][b].numpy()) * a[: t + 1].prod(0)
            for s in range(t + 1):
                h = h + a[s + 1 : t + 1].prod(0) * affine("k", rows[s]) * affine("v", rows[s])
            z = affine("gate", rows[t])
            y = affine("output", z * sigmoid(z) * (affine("q", rows[t]) * h).real)
            np.testing.assert_allclose(got[b, t].numpy(), y, rtol=0, atol=1e-11)
        np.testing.assert_allclose(after[1][b].numpy(), h.imag, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", [LATCH, NUMBER_LATCH, COUNTER, ACCUMULATOR, PARITY, SWITCH, SIGNED, CARRY, CLOCK,
                                  ALTERNATING])
def test_states_are_exact(text: str, dtype: torch.dtype) -> None:
    check_program("gateloop", text, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_delay_of_bits(dtype: torch.dtype) -> None:
    check_program("gateloop", DELAY, dtype, state=False)


def test_files_and_states(tmp_path: Path) -> None:
    check_files("gateloop", DELAY, tmp_path)
    check_poke("gateloop", LATCH, "v", 2, 3)
    check_poke("gateloop", COUNTER, "n", 3, -31)
    check_poke("gateloop", PARITY, "odd", True, False)


@pytest.mark.parametrize("part", ["output", "v", "beta"])
def test_mutants_are_refuted(part: str) -> None:
    check_mutants("gateloop", SWITCH, part)


@pytest.mark.parametrize(("text", "why"), [
    (MODULO, "generates Z3 on 3 of its states; with factors −1, 0 and 1"),
])
def test_what_it_cannot_host_is_refused(text: str, why: str) -> None:
    check_refused("gateloop", text, why)
