"""Long sequences in floats: 65,536 tokens in float32, and with bfloat16 at the edges, against float64.

The bounds: a token rounds some tens of times, each to 2**-24 of a number that is at most the largest; what is held is
forgotten by a factor of at most `keep` a token, so that the roundings of 1 / (1 - keep) tokens are there at once. With
bfloat16 at the edges, an output is rounded once more, to 2**-9 of itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import lsrl
from lsrl.backends.kernels.module import KernelModule
from tests.backends.kernels.cells import CELLS as OWN

pytestmark = pytest.mark.usefixtures("quick_kernels")

CELLS = Path(__file__).resolve().parents[3] / "examples" / "cells"
TOKENS = 65_536
ROUNDINGS = 64  # of a token, forwards and backwards
KEEP = {"ema": 0.95, "mingru": 0.95, "rglru": 0.95, "lstm_diagonal": 0.95, "gru": 0.95, "affine_dense": 0.9}


def made(name: str, dtype: torch.dtype) -> KernelModule:
    if name == "affine_dense":
        return lsrl.compile(lsrl.parse(OWN[name]), "c", dtype)
    sizes = {"d": 4, "k": 12} if name == "gru" else {"n": 4}
    return lsrl.compile(lsrl.load(CELLS / f"{name}.lsrl", None, **sizes), "c", dtype)


def pair(name: str, edge: torch.dtype) -> tuple[KernelModule, KernelModule, dict[str, torch.Tensor]]:
    """The cell in float32 and in float64, of the same params, and inputs that both types hold."""
    torch.manual_seed(2)
    narrow, wide = made(name, edge), made(name, torch.float64)
    with torch.no_grad():
        for p, q in zip(narrow.parameters(), wide.parameters(), strict=True):
            p.add_(0.1 * torch.randn(p.shape))
            q.copy_(p)
    return narrow, wide, {p.name: torch.randn(1, TOKENS, *p.dims).to(edge) for p in narrow.ports.inputs}


@pytest.mark.parametrize("name", KEEP)
def test_float32(name: str) -> None:
    narrow, wide, inputs = pair(name, torch.float32)
    found = []
    weights = torch.randn(1, TOKENS, *narrow.ports.outputs[0].dims)
    for model, dtype in ((narrow, torch.float32), (wide, torch.float64)):
        given = {n: x.to(dtype).requires_grad_() for n, x in inputs.items()}
        y, after = model(given)
        grads = torch.autograd.grad((y * weights.to(dtype)).sum(), list(given.values()))
        found.append([y, *after.values(), *grads])
    bound = ROUNDINGS * 2 ** -24 / (1 - KEEP[name])
    for got, want in zip(*found, strict=True):
        assert float((got.double() - want).detach().abs().max()) <= bound * float(want.detach().abs().max())


@pytest.mark.parametrize("name", KEEP)
def test_bfloat16_at_the_edges(name: str) -> None:
    narrow, wide, inputs = pair(name, torch.bfloat16)
    with torch.no_grad():
        got, after = narrow(inputs)
        want, last = wide({n: x.double() for n, x in inputs.items()})
    bound = ROUNDINGS * 2 ** -24 / (1 - KEEP[name]) * float(want.abs().max())
    assert got.dtype == torch.bfloat16 and all(x.dtype == torch.float32 for x in after.values())
    assert bool(((got.double() - want).abs() <= bound + 2 ** -8 * want.abs()).all())
    assert all(float((after[n].double() - last[n]).abs().max()) <= bound for n in after)
