"""HGRN's token mixer against its equations as published; what it hosts, in both forms and dtypes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lsrl.backends.gated.hgrn import HGRU
from tests.backends.gated.checks import (
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
    """Sections 3.2 and 3.3, channel by channel, with complex numbers."""
    mixer, x, state = random_mixer(HGRU, 2)
    got, after = mixer(x, state)
    p = {n: t.numpy() for n, t in mixer.named_parameters()}

    def affine(name: str, row: np.ndarray) -> np.ndarray:
        return np.asarray(p[name + ".weight"] @ row + p[name + ".bias"])

    for b in range(2):
        h = state[0][b].numpy() + 1j * state[1][b].numpy()
        for t in range(12):
            row = x[b, t].numpy()
            keep = p["gamma"] + (1 - p["gamma"]) * sigmoid(affine("mu", row))
            re, im = affine("real", row), affine("imaginary", row)
            c = re * sigmoid(re) + 1j * im * sigmoid(im)
            for k in range(5):
                h[k] = keep[k] * np.exp(1j * p["theta"][k]) * h[k] + (1 - keep[k]) * c[k]
            y = affine("output", sigmoid(affine("gate", row)) * np.concatenate([h.real, h.imag]))
            np.testing.assert_allclose(got[b, t].numpy(), y, rtol=0, atol=1e-11)
        np.testing.assert_allclose(after[1][b].numpy(), h.imag, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", [LATCH, NUMBER_LATCH, CARRY])
def test_states_are_exact(text: str, dtype: torch.dtype) -> None:
    check_program("hgrn", text, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_delay_of_bits(dtype: torch.dtype) -> None:
    check_program("hgrn", DELAY, dtype, state=False)


def test_files_and_states(tmp_path: Path) -> None:
    check_files("hgrn", DELAY, tmp_path)
    check_poke("hgrn", LATCH, "v", 2, 3)
    check_poke("hgrn", NUMBER_LATCH, "v", -7, -31)


@pytest.mark.parametrize("part", ["output", "real"])
def test_mutants_are_refuted(part: str) -> None:
    check_mutants("hgrn", LATCH, part)


@pytest.mark.parametrize(("text", "why"), [
    (COUNTER, "admits nothing"),
    (PARITY, "generates Z2 on 2 of its states; with gates in .0, 1. a diagonal recurrence is aperiodic"),
])
def test_what_it_cannot_host_is_refused(text: str, why: str) -> None:
    check_refused("hgrn", text, why)
