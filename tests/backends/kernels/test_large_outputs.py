"""Outputs beyond the caches: asked for in huge pages, and written past the caches where many threads write."""

from __future__ import annotations

import mmap

import pytest
import torch

import lsrl
from lsrl.backends.kernels import c_kernel
from lsrl.backends.kernels.pages import ask_for_huge_pages

GATED = """
program gated[n](g: real[n], u: real[n]) -> real[n]:
    state h: real[n] = zeros(n)
    h := g * h + u
    return h
"""


@pytest.mark.parametrize("lanes", [16, 37, 200])
def test_both_ways_of_writing_give_the_same(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    inputs = {name: torch.rand(3, 50, lanes) for name in "gu"}
    cell = lsrl.compile(lsrl.parse(GATED, n=lanes), target="c")
    found = []
    for least, threads in ((1 << 60, 4), (0, 4), (0, 1)):
        monkeypatch.setattr(c_kernel, "_STREAMED", least)
        monkeypatch.setattr(c_kernel, "_BUS", threads)
        with torch.no_grad():
            found.append(cell(inputs)[0])
    h, wanted = torch.zeros(3, lanes), []
    for t in range(50):
        h = inputs["g"][:, t] * h + inputs["u"][:, t]
        wanted.append(h)
    for x in found:
        torch.testing.assert_close(x, torch.stack(wanted, 1))
        assert torch.equal(x, found[0])


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="this system has no such advice")
def test_huge_pages_are_asked_for_under_large_tensors_alone() -> None:
    assert not ask_for_huge_pages(torch.empty(1000))
    assert not ask_for_huge_pages(torch.empty(1 << 23, dtype=torch.uint8, device="meta"))
    large = torch.empty(1 << 23, dtype=torch.uint8)
    for x in (large, large[3:-5]):
        assert ask_for_huge_pages(x)
        x.fill_(7)
        assert bool((x == 7).all())
