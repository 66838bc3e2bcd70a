"""Runs of Triton kernels that tests start in a process of their own: in Triton's interpreter, or on a GPU.

Functions named `check_…` raise AssertionError where a kernel differs from the program's own interpreter.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

import lsrl
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.call import Call, Options, Shape
from lsrl.backends.kernels.lanes import make_lanes
from lsrl.backends.kernels.triton_kernel import Configuration, TritonKernel
from tests.backends.kernels.batches import NEVER, make_call, packed_call, shown, time_major, wanted
from tests.backends.kernels.test_bodies import coded
from tests.corpus import CORPUS

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SMALL = Configuration(streams=2, tile=8, group=4, warps=1)
BOUND = 2e-6  # of float32 against float64, relative to 1 and the value, over some tens of tokens

Rows = Sequence[Mapping[str, Any]]


@cache
def program_of(name: str) -> lsrl.Program:
    return lsrl.load(next(c for c in CORPUS if c.name == name).file)


@cache
def kernel_of(name: str, options: Options) -> TritonKernel:
    return TritonKernel(Parts.of(make_lanes(program_of(name).graph)), options)


@cache
def sequence(name: str, seed: int, tokens: int) -> list[dict[str, Any]]:
    return coded(next(c for c in CORPUS if c.name == name), program_of(name), seed, tokens)


def on_device(call: Call) -> Call:
    def moved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=DEVICE).copy_(x)
                for n, x in tensors.items()}

    def one(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.to(DEVICE)

    return replace(call, inputs=moved(call.inputs), outputs=moved(call.outputs), before=moved(call.before),
                   after=moved(call.after), params=moved(call.params), resets=one(call.resets),
                   offsets=one(call.offsets), failed=one(call.failed))


def run(kernel: TritonKernel, call: Call, shape: Shape, configuration: Configuration = SMALL) -> Call:
    """The call, with its results, on the CPU."""
    there = on_device(call)
    kernel.launch(there, shape, configuration)

    def back(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: x.cpu() for n, x in tensors.items()}

    return replace(call, outputs=back(there.outputs), after=back(there.after),
                   failed=None if there.failed is None else there.failed.cpu())


def same(got: Sequence[Mapping[str, list[Any]]], want: Sequence[Mapping[str, list[Any]]], kernel: TritonKernel,
         bound: float = BOUND) -> None:
    """Equal, where values are exact; as float32 holds them in real outputs; else within the bound."""
    assert len(got) == len(want)
    for p, q in zip(got, want, strict=True):
        for n in q:
            for a, b in zip(p[n], q[n], strict=True):
                if kernel.parts.storage.exact:
                    assert a == (torch.tensor(b, dtype=torch.float32).item() if isinstance(b, float) else b), (n, a, b)
                else:
                    assert abs(a - b) <= bound * (1 + abs(b)), (n, a, b)


def never_failed(call: Call) -> None:
    assert call.failed is not None and (call.failed == NEVER).all(), call.failed


def check_whole(name: str, shape: Shape, tokens: int = 19, cut: int = 0) -> None:
    """An example equals the interpreter; cut into two calls with the state between, it gives the same."""
    kernel = kernel_of(name, Options())
    sequences = [sequence(name, seed, tokens) for seed in range(2)]
    whole = run(kernel, make_call(kernel.parts, Options(), sequences), shape)
    never_failed(whole)
    for got, rows in zip(shown(kernel.parts, whole.outputs), sequences, strict=True):
        same(got, wanted(program_of(name), rows), kernel)
    if cut:
        first = run(kernel, make_call(kernel.parts, Options(), [s[:cut] for s in sequences]), shape)
        then = run(kernel, make_call(kernel.parts, Options(), [s[cut:] for s in sequences], before=first.after,
                                     layout=time_major), shape)
        bound = 0.0 if kernel.parts.storage.exact else BOUND
        for n, x in whole.outputs.items():
            torch.testing.assert_close(torch.cat([first.outputs[n], then.outputs[n]], 1), x, rtol=bound, atol=bound)
        for n, x in whole.after.items():
            torch.testing.assert_close(then.after[n], x, rtol=bound, atol=bound)


def check_packed(name: str, shape: Shape, lengths: Sequence[int] = (11, 0, 3, 17)) -> None:
    """An example with resets, in packed sequences, from the last token to the first."""
    options = Options(resets=True, packed=True)
    kernel = kernel_of(name, options)
    sequences = [sequence(name, seed, n) for seed, n in enumerate(lengths)]
    rng = random.Random(name)
    resets = [[rng.random() < 0.2 for _ in s] for s in sequences]
    call = packed_call(kernel.parts, options, [s[::-1] for s in sequences], reverse=True)
    call = run(kernel, replace(call, resets=torch.tensor([x for r in resets for x in r[::-1]])), shape)
    never_failed(call)
    got = shown(kernel.parts, {n: x.unsqueeze(0) for n, x in call.outputs.items()})[0]
    at = 0
    for rows, flags in zip(sequences, resets, strict=True):
        cuts = [0, *(t for t in range(1, len(rows)) if flags[t]), len(rows)]
        want = [x for a, b in pairwise(cuts) for x in wanted(program_of(name), rows[a:b])]
        same(got[at : at + len(rows)][::-1], want, kernel)
        at += len(rows)
