"""RWKV-6 time mixing against its equations as published; what it hosts, in both forms and dtypes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lsrl.backends.gated.rwkv import TimeMixing
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

NUMBERS = "program p(x: int) -> int:\n    return x - 3 * prev(prev(x, 4), -5)\n"


def test_the_published_equations() -> None:
    """Section 4.2 token by token, the interpolations written out."""
    mixer, x, state = random_mixer(TimeMixing, 8)
    got, after = mixer(x, state)
    p = {n: t.numpy() for n, t in mixer.named_parameters()}

    def affine(name: str, row: np.ndarray) -> np.ndarray:
        return np.asarray(p[name + ".weight"] @ row + p[name + ".bias"])

    for b in range(2):
        s, last = state[0][b].numpy().copy(), state[1][b].numpy()
        for t in range(12):
            row = x[b, t].numpy()
            inner = row + (last - row) * p["mu"]
            mixed = []
            for j in range(5):
                lora = p["lerp_base"][j] + np.tanh(inner @ p["lerp_a"][j]) @ p["lerp_b"][j]
                mixed.append(row + (last - row) * lora)
            w = np.exp(-np.exp(affine("decay_b", np.tanh(affine("decay_a", mixed[3])))))
            kv, z = affine("k", mixed[1]) * affine("v", mixed[2]), affine("g", mixed[4])
            y = affine("output", z * sigmoid(z) * affine("r", mixed[0]) * (s + p["bonus"] * kv))
            np.testing.assert_allclose(got[b, t].numpy(), y, rtol=0, atol=1e-11)
            s, last = w * s + kv, row
        np.testing.assert_allclose(after[0][b].numpy(), s, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", [LATCH, NUMBER_LATCH, COUNTER, ACCUMULATOR, CARRY, DELAY, NUMBERS])
def test_states_are_exact(text: str, dtype: torch.dtype) -> None:
    check_program("rwkv", text, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_delay_of_bits(dtype: torch.dtype) -> None:
    check_program("rwkv", DELAY, dtype, state=True)


def test_files_and_states(tmp_path: Path) -> None:
    check_files("rwkv", DELAY, tmp_path)
    check_poke("rwkv", LATCH, "v", 2, 3)
    check_poke("rwkv", COUNTER, "n", 3, -31)


@pytest.mark.parametrize("part", ["output", "v", "decay_a"])
def test_mutants_are_refuted(part: str) -> None:
    check_mutants("rwkv", LATCH, part)


@pytest.mark.parametrize(("text", "why"), [
    (PARITY, "generates Z2 on 2 of its states; with gates in .0, 1. a diagonal recurrence is aperiodic"),
])
def test_what_it_cannot_host_is_refused(text: str, why: str) -> None:
    check_refused("rwkv", text, why)
