"""minGRU against its equations as published; what it hosts, in both forms and dtypes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lsrl.backends.gated.mingru import MinGRU
from tests.backends.gated.checks import (
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
)

DEPTH = """program p(x: bool) -> int[0..3]:
    state depth: int[0..3] = 1
    depth := min(depth + 1, 3) if x else max(depth - 1, 0)
    return depth
"""


def test_the_published_equations() -> None:
    """Section 3.1, one token after another."""
    mixer, x, state = random_mixer(MinGRU, 11)
    got, after = mixer(x, state)
    p = {n: t.numpy() for n, t in mixer.named_parameters()}
    for b in range(2):
        h = state[0][b].numpy()
        for t in range(12):
            row = x[b, t].numpy()
            z = 1 / (1 + np.exp(-(p["z.weight"] @ row + p["z.bias"])))
            h = (1 - z) * h + z * (p["h.weight"] @ row + p["h.bias"])
            y = p["output.weight"] @ h + p["output.bias"]
            np.testing.assert_allclose(got[b, t].numpy(), y, rtol=0, atol=1e-12)
        np.testing.assert_allclose(after[0][b].numpy(), h, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", [LATCH, NUMBER_LATCH])
def test_states_are_exact(text: str, dtype: torch.dtype) -> None:
    check_program("mingru", text, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", [DELAY, DEPTH])
def test_lags_and_cascades(text: str, dtype: torch.dtype) -> None:
    check_program("mingru", text, dtype, state=False)


def test_files_and_states(tmp_path: Path) -> None:
    check_files("mingru", DEPTH, tmp_path)
    check_poke("mingru", LATCH, "v", 2, 3)


def test_a_state_that_bits_stand_for_is_read_and_written() -> None:
    check_poke("mingru", DEPTH, "depth", 1, 3)


@pytest.mark.parametrize("part", ["output", "h", "z"])
def test_mutants_are_refuted(part: str) -> None:
    check_mutants("mingru", LATCH, part)


@pytest.mark.parametrize(("text", "why"), [
    (PARITY, "generates Z2 on 2 of its states; with gates in .0, 1. a diagonal recurrence is aperiodic"),
    (COUNTER, "it is added to while it is kept"),
])
def test_what_it_cannot_host_is_refused(text: str, why: str) -> None:
    check_refused("mingru", text, why)
