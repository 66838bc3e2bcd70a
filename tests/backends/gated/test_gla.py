"""Gated linear attention against its equations as published; what it hosts, in both forms and dtypes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lsrl.backends.gated.gla import GatedLinearAttention
from tests.backends.gated.checks import (
    ACCUMULATOR,
    CARRY,
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


def test_the_published_equations() -> None:
    """Section 4 in its parallel form: every token sees those before it, each times the decays since."""
    mixer, x, state = random_mixer(GatedLinearAttention, 3)
    got, after = mixer(x, state)
    p = {n: t.numpy() for n, t in mixer.named_parameters()}

    def affine(name: str, row: np.ndarray) -> np.ndarray:
        return np.asarray(p[name + ".weight"] @ row + p[name + ".bias"])

    for b in range(2):
        rows = x[b].numpy()
        decay = np.array([sigmoid(affine("alpha", r)) ** (1 / 16) for r in rows])
        for t in range(12):
            o = state[0][b].numpy() * decay[: t + 1].prod(0)
            for s in range(t + 1):
                o = o + decay[s + 1 : t + 1].prod(0) * affine("k", rows[s]) * affine("v", rows[s])
            z = affine("r", rows[t])
            y = affine("output", z * sigmoid(z) * affine("q", rows[t]) * o)
            np.testing.assert_allclose(got[b, t].numpy(), y, rtol=0, atol=1e-11)
        np.testing.assert_allclose(after[0][b].numpy(), o, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", [LATCH, NUMBER_LATCH, COUNTER, ACCUMULATOR, CARRY])
def test_states_are_exact(text: str, dtype: torch.dtype) -> None:
    check_program("gla", text, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_delay_of_bits(dtype: torch.dtype) -> None:
    check_program("gla", DELAY, dtype, state=False)


def test_files_and_states(tmp_path: Path) -> None:
    check_files("gla", DELAY, tmp_path)
    check_poke("gla", LATCH, "v", 2, 3)
    check_poke("gla", COUNTER, "n", 3, -31)


@pytest.mark.parametrize("part", ["output", "v", "alpha"])
def test_mutants_are_refuted(part: str) -> None:
    check_mutants("gla", LATCH, part)


@pytest.mark.parametrize(("text", "why"), [
    (PARITY, "generates Z2 on 2 of its states; with gates in .0, 1. a diagonal recurrence is aperiodic"),
])
def test_what_it_cannot_host_is_refused(text: str, why: str) -> None:
    check_refused("gla", text, why)
