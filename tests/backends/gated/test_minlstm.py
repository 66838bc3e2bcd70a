"""minLSTM against its equations as published; what it hosts, in both forms and dtypes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lsrl.backends.gated.minlstm import MinLSTM
from lsrl.backends.registry import compile_graph
from lsrl.diagnostics import LsrlError
from tests.backends.gated.checks import (
    COUNTER,
    DELAY,
    DTYPES,
    LATCH,
    NUMBER_LATCH,
    check_files,
    check_mutants,
    check_poke,
    check_program,
    random_mixer,
)
from tests.backends.texts import graph_of


def test_the_published_equations() -> None:
    """Section 3.2, channel by channel and token by token, in plain numbers."""
    mixer, x, state = random_mixer(MinLSTM, 1)
    got, after = mixer(x, state)
    p = {n: t.numpy() for n, t in mixer.named_parameters()}
    for b in range(2):
        h = state[0][b].numpy().copy()
        for t in range(x.shape[1]):
            row = x[b, t].numpy()
            for k in range(5):
                f = 1 / (1 + np.exp(-(p["f.weight"][k] @ row + p["f.bias"][k])))
                i = 1 / (1 + np.exp(-(p["i.weight"][k] @ row + p["i.bias"][k])))
                h[k] = f / (f + i) * h[k] + i / (f + i) * (p["h.weight"][k] @ row + p["h.bias"][k])
            np.testing.assert_allclose(got[b, t].numpy(), p["output.weight"] @ h + p["output.bias"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(after[0][b].numpy(), h, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", [LATCH, NUMBER_LATCH])
def test_latches_are_exact(text: str, dtype: torch.dtype) -> None:
    check_program("minlstm", text, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_delay_of_bits(dtype: torch.dtype) -> None:
    check_program("minlstm", DELAY, dtype, state=False)


def test_files_and_states(tmp_path: Path) -> None:
    check_files("minlstm", DELAY, tmp_path)
    check_poke("minlstm", LATCH, "v", 2, 3)
    check_poke("minlstm", NUMBER_LATCH, "v", -7, -31)


@pytest.mark.parametrize("part", ["output", "h"])
def test_mutants_are_refuted(part: str) -> None:
    check_mutants("minlstm", LATCH, part)


def test_a_counter_is_refused() -> None:
    with pytest.raises(LsrlError, match="admits nothing"):
        compile_graph(graph_of(COUNTER), "minlstm")
