"""Where a certificate says exact, the read-outs and the states are the same bit for bit in any batch, with any number
of threads, and token by token as by a scan: every partial sum is exact, or a saturated gate absorbs the difference."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from lsrl.backends.gated.layers import GatedLayer
from lsrl.backends.model import CompiledModel
from tests.backends.identical import PROGRAMS, inputs_of, models
from tests.corpus import ROOT


def all_models() -> list[tuple[str, str, CompiledModel]]:
    return [(name, target, model) for name in PROGRAMS for target, model in models(name).items()]


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Equal, where −0 is 0."""
    return a.dtype == b.dtype and torch.equal(a, b)


@pytest.mark.parametrize("name", PROGRAMS)
def test_batches_and_steps_give_the_same_bits(name: str) -> None:
    found = models(name)
    assert len(found) >= 7
    for target, model in found.items():
        inputs = inputs_of(model.graph, 64, 40, 1)
        with torch.no_grad():
            whole, last = model.raw(inputs)
            for row in (0, 37, 63):
                alone, state = model.raw({n: x[row : row + 1] for n, x in inputs.items()})
                assert same(alone[0], whole[row]), target
                assert all(same(a[0], b[row]) for a, b in zip(state, last, strict=True)), target
            state = model.initial_state(64)
            for t in range(40):
                one, state = model.raw({n: x[:, t : t + 1] for n, x in inputs.items()}, state)
                assert same(one[:, 0], whole[:, t]), target
            assert all(same(a, b) for a, b in zip(state, last, strict=True)), target
            for layer in (x for x in model.layers if isinstance(x, GatedLayer)):
                seen = torch.rand(64, 12, layer.inputs, generator=torch.Generator().manual_seed(2)).round()
                start = layer.state_of(torch.zeros(64, layer.width)) if layer.mixer is not None else ()
                scanned, _ = layer(seen, start)
                for t in range(12):
                    shown, start = layer.step(seen[:, t], start)
                    assert same(shown, scanned[:, t]), target


@pytest.mark.slow
def test_one_thread_and_two_give_the_same_bits() -> None:
    # Threads that wait do not keep a core busy, which other tests may need.
    env = {**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-m", "tests.backends.identical", "1", "2"], cwd=ROOT, env=env,
                         capture_output=True, text=True, check=True, timeout=600)
    shown = json.loads(ran.stdout)
    assert len(shown[0]) > 40
    assert shown[0] == shown[1]
