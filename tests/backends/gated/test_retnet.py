"""RetNet's retention against its equations as published; what it hosts, in both forms and dtypes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lsrl.backends.gated.retnet import Retention
from tests.backends.gated.checks import (
    ACCUMULATOR,
    ALTERNATING,
    CLOCK,
    COUNTER,
    DELAY,
    DTYPES,
    LATCH,
    check_files,
    check_mutants,
    check_poke,
    check_program,
    check_refused,
    random_mixer,
    sigmoid,
)


def test_the_published_equations() -> None:
    """Equation 3: a sum over the tokens before, each times γ and the angle of the distance."""
    mixer, x, state = random_mixer(Retention, 5)
    got, after = mixer(x, state)
    p = {n: t.numpy() for n, t in mixer.named_parameters()}

    def affine(name: str, row: np.ndarray) -> np.ndarray:
        return np.asarray(p[name + ".weight"] @ row + p[name + ".bias"])

    for b in range(2):
        rows = x[b].numpy()
        factor = p["gamma"] * np.exp(1j * p["theta"])
        for t in range(12):
            o = factor ** (t + 1) * (state[0][b].numpy() + 1j * state[1][b].numpy())
            for s in range(t + 1):
                o = o + factor ** (t - s) * affine("k", rows[s]) * affine("v", rows[s])
            z = affine("gate", rows[t])
            y = affine("output", z * sigmoid(z) * (affine("q", rows[t]) * o).real)
            np.testing.assert_allclose(got[b, t].numpy(), y, rtol=0, atol=1e-11)
        np.testing.assert_allclose(after[1][b].numpy(), o.imag, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", [ACCUMULATOR, CLOCK, ALTERNATING, DELAY])
def test_states_are_exact(text: str, dtype: torch.dtype) -> None:
    check_program("retnet", text, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_delay_of_bits(dtype: torch.dtype) -> None:
    check_program("retnet", DELAY, dtype, state=True)


def test_files_and_states(tmp_path: Path) -> None:
    check_files("retnet", DELAY, tmp_path)
    check_poke("retnet", ACCUMULATOR, "n", 5, -31)
    check_poke("retnet", CLOCK, "odd", True, False)


@pytest.mark.parametrize("part", ["output", "v"])
def test_mutants_are_refuted(part: str) -> None:
    check_mutants("retnet", CLOCK, part)


@pytest.mark.parametrize(("text", "why"), [
    (LATCH, "depends on the input"),
    (COUNTER, "depends on the input"),
])
def test_what_it_cannot_host_is_refused(text: str, why: str) -> None:
    check_refused("retnet", text, why)
