"""mLSTM against its equations as published; what it hosts, in both forms and dtypes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lsrl.backends.gated.mlstm import MLSTM
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
    """Equations 19 to 27 before they are stabilised: C and n themselves, gates exp and σ."""
    mixer, x, state = random_mixer(MLSTM, 7)
    got, after = mixer(x, state)
    p = {n: t.numpy() for n, t in mixer.named_parameters()}

    def affine(name: str, row: np.ndarray) -> np.ndarray:
        return np.asarray(p[name + ".weight"] @ row + p[name + ".bias"])

    for b in range(2):
        scale = np.exp(state[2][b].numpy())  # the state is held divided by exp(m)
        c, n = state[0][b].numpy() * scale, state[1][b].numpy() * scale
        for t in range(12):
            row = x[b, t].numpy()
            f, i = sigmoid(affine("f", row)), np.exp(affine("i", row))
            c, n = f * c + i * affine("v", row) * affine("k", row), f * n + i * affine("k", row)
            q = affine("q", row)
            y = affine("output", sigmoid(affine("o", row)) * c * q / np.maximum(np.abs(n * q), 1))
            np.testing.assert_allclose(got[b, t].numpy(), y, rtol=0, atol=1e-11)
        np.testing.assert_allclose((after[1][b] * after[2][b].exp()).numpy(), n, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", [LATCH, NUMBER_LATCH, COUNTER, ACCUMULATOR, CARRY])
def test_states_are_exact(text: str, dtype: torch.dtype) -> None:
    check_program("mlstm", text, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_delay_of_bits(dtype: torch.dtype) -> None:
    check_program("mlstm", DELAY, dtype, state=False)


def test_files_and_states(tmp_path: Path) -> None:
    check_files("mlstm", DELAY, tmp_path)
    check_poke("mlstm", LATCH, "v", 2, 3)
    check_poke("mlstm", COUNTER, "n", 3, -31)


@pytest.mark.parametrize("part", ["output", "k", "v", "f"])
def test_mutants_are_refuted(part: str) -> None:
    check_mutants("mlstm", LATCH, part)


@pytest.mark.parametrize(("text", "why"), [
    (PARITY, "generates Z2 on 2 of its states; with gates in .0, 1. a diagonal recurrence is aperiodic"),
])
def test_what_it_cannot_host_is_refused(text: str, why: str) -> None:
    check_refused("mlstm", text, why)
