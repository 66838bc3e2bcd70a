"""The linear recurrent unit against its equations as published; what it hosts, in both forms and dtypes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lsrl.backends.gated.lru import LRU
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
)


def test_the_published_equations() -> None:
    """Sections 3.3 and 3.4, as a sum over the tokens before, each times a power of Λ."""
    mixer, x, state = random_mixer(LRU, 6)
    got, after = mixer(x, state)
    p = {n: t.numpy() for n, t in mixer.named_parameters()}

    def affine(name: str, row: np.ndarray) -> np.ndarray:
        return np.asarray(p[name + ".weight"] @ row + p[name + ".bias"])

    for b in range(2):
        rows = x[b].numpy()
        factor = np.exp(-np.exp(p["nu"]) + 1j * p["theta"])
        for t in range(12):
            h = factor ** (t + 1) * (state[0][b].numpy() + 1j * state[1][b].numpy())
            for s in range(t + 1):
                h = h + factor ** (t - s) * np.exp(p["gamma_log"]) * (affine("real", rows[s])
                                                                      + 1j * affine("imaginary", rows[s]))
            c, d = p["output.weight"][:, :5] - 1j * p["output.weight"][:, 5:10], p["output.weight"][:, 10:]
            y = (c @ h).real + d @ rows[t] + p["output.bias"]
            np.testing.assert_allclose(got[b, t].numpy(), y, rtol=0, atol=1e-11)
        np.testing.assert_allclose(after[1][b].numpy(), h.imag, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", [ACCUMULATOR, CLOCK, ALTERNATING])
def test_states_are_exact(text: str, dtype: torch.dtype) -> None:
    check_program("lru", text, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_delay_of_bits(dtype: torch.dtype) -> None:
    check_program("lru", DELAY, dtype, state=False)


def test_files_and_states(tmp_path: Path) -> None:
    check_files("lru", DELAY, tmp_path)
    check_poke("lru", ACCUMULATOR, "n", 5, -31)
    check_poke("lru", CLOCK, "odd", True, False)


@pytest.mark.parametrize("part", ["output", "real"])
def test_mutants_are_refuted(part: str) -> None:
    check_mutants("lru", CLOCK, part)


@pytest.mark.parametrize(("text", "why"), [
    (LATCH, "depends on the input"),
    (COUNTER, "depends on the input"),
])
def test_what_it_cannot_host_is_refused(text: str, why: str) -> None:
    check_refused("lru", text, why)
