"""Chunks of time at once in C: the same as a token at a time, within rounding where numbers are floats."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

import lsrl
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.c_kernel import CKernel
from lsrl.backends.kernels.call import Call, Options, edge_dtype, state_dtype
from lsrl.backends.kernels.lanes import Port, make_lanes
from lsrl.backends.kernels.pieces import make_levels
from lsrl.types import Int

NEVER = torch.iinfo(torch.int64).max
LANES = 5
PROGRAMS = {
    "sum": "program p(x: int[-9..9]) -> int:\n    state s: int = 0\n    s := s + x\n    return s\n",
    "delay": "program p(x: int[0..9]) -> int[0..9]:\n    state s: int[0..9] = 4\n    before = s\n    s := x\n"
             "    return before\n",
    "latch": "program p(x: int[0..9], on: bool) -> int[0..9]:\n    state s: int[0..9] = 4\n    if on:\n        s := x\n"
             "    return s\n",
    "clamp": "program p(x: int[-9..9]) -> int[0..50]:\n    state s: int[0..50] = 7\n    s := max(0, min(50, s + x))\n"
             "    return s\n",
    "cyclic": "program p(x: int[0..6]) -> int[0..6]:\n    state s: int[0..6] = 3\n    s := (s + x) % 7\n    return s\n",
    "maps": "program p(x: int[0..3]) -> int[0..4]:\n    state s: int[0..4] = 1\n    s := match x * 5 + s:\n"
            "        0 => 1\n        1 => 4\n        2 => 4\n        7 => 0\n        11 => 3\n        _ => 2\n"
            "    return s\n",
    "cascade": "program p(x: int[0..6], y: int[-3..3]) -> (a: int, b: int):\n    state s: int[0..6] = 3\n"
               "    state n: int = 0\n    state m: int = 0\n    before = s\n    s := (s + x) % 7\n"
               "    n := n + (y if s == 2 else 0)\n    m := m + n + before\n    return (a = m, b = n)\n",
    "gated": "program p[n](g: real[n], u: real[n]) -> (out: real[n], old: real[n]):\n    param w: real[n] = 0.5\n"
             "    state h: real[n] = ones(n)\n    state k: real[n] = zeros(n)\n    old = h\n    h := g * h + u\n"
             "    k := w * k + old * h\n    return (out = k, old = old)\n",
    "tropical": "program p[n](x: real[n]) -> real[n]:\n    state s: real[n] = zeros(n)\n    s := max(s - 0.125, x)\n"
                "    return s\n",
    "matrix": "program p(x: real, y: real) -> (a: real, b: real):\n    state c: real = 1\n    state s: real = 0\n"
              "    c' = 0.75 * c - 0.5 * s + x\n    s := 0.5 * c + 0.75 * s * y\n    c := c'\n"
              "    return (a = c, b = s)\n",
    "no state": "program p(x: int[0..9]) -> int[0..10]:\n    return x + 1\n",
}


@cache
def kernel(name: str, resets: bool = False, packed: bool = False) -> CKernel:
    text = PROGRAMS[name].replace("c'", "c1")
    program = lsrl.parse(text, n=3) if "[n]" in text else lsrl.parse(text)
    options = Options(torch.float64, torch.float64, resets, packed)
    return CKernel(Parts.of(make_lanes(program.graph)), options)


def call_of(k: CKernel, rows: int, tokens: int, reverse: bool, resets: bool, offsets: torch.Tensor | None,
            before: bool) -> Call:
    """A call with random inputs; vectors have another length than the program was compiled with."""
    torch.manual_seed(tokens)
    lanes, lead = k.parts.lanes, (tokens,) if offsets is not None else (rows, tokens)

    def dims(p: Port) -> tuple[int, ...]:
        return (LANES,) if p.lane else p.dims

    def numbers(shape: tuple[int, ...], dtype: torch.dtype, low: int | None, high: int | None) -> torch.Tensor:
        if dtype.is_floating_point:
            return torch.rand(shape, dtype=dtype)
        assert low is not None and high is not None
        return torch.randint(0 if dtype == torch.bool else low, high + 1, shape).to(dtype)

    limits = {n.name: (n.type.lo, n.type.hi) if isinstance(n.type, Int) else (0, 1)
              for n in k.parts.lanes.source.inputs}
    counts = rows if offsets is None else len(offsets) - 1
    return Call(
        counts, tokens, {p.name: numbers((*lead, *dims(p)), edge_dtype(p, k.options), *limits[p.name])
                         for p in lanes.inputs},
        {p.name: torch.full((*lead, *dims(p)), 77).to(edge_dtype(p, k.options)) for p in lanes.outputs},
        {p.name: numbers((counts, *dims(p)), state_dtype(p, k.parts, k.options), 2, 4) for p in lanes.states}
        if before else {},
        {p.name: torch.full((counts, *dims(p)), 77).to(state_dtype(p, k.parts, k.options)) for p in lanes.states},
        {p.name: torch.rand(dims(p), dtype=torch.float64) for p in lanes.params},
        torch.rand(lead) < 0.02 if resets else None, offsets, reverse, torch.full((counts,), NEVER))


def same(k: CKernel, call: Call) -> None:
    """What the split shape gives is what a token at a time gives."""
    split = replace(call, outputs={n: torch.zeros_like(x) for n, x in call.outputs.items()},
                    after={n: torch.zeros_like(x) for n, x in call.after.items()},
                    failed=None if call.failed is None else call.failed.clone())
    k.launch(call, "sequential")
    k.launch(split, "split")
    for given, wanted in ((split.outputs, call.outputs), (split.after, call.after)):
        for name, x in wanted.items():
            if x.dtype.is_floating_point:
                torch.testing.assert_close(given[name], x, rtol=1e-12, atol=1e-12)
            else:
                assert torch.equal(given[name], x), name
    assert call.failed is not None and split.failed is not None and torch.equal(call.failed, split.failed)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("tokens", [0, 1, 31, 32, 33, 127, 128, 1003])
def test_every_scan_in_both_directions(name: str, tokens: int) -> None:
    for reverse in (False, True):
        for before in (False, True):
            same(kernel(name), call_of(kernel(name), 2, tokens, reverse, False, None, before))


@pytest.mark.parametrize("name", ["cascade", "gated", "clamp", "latch", "maps"])
def test_resets_and_packed_sequences(name: str) -> None:
    k = kernel(name, True, True)
    for reverse in (False, True):
        for resets in (False, True):
            same(k, call_of(k, 2, 700, reverse, resets, None, True))
            offsets = torch.tensor([0, 0, 301, 310, 700])
            same(k, call_of(k, 4, 700, reverse, resets, offsets, True))


def test_levels() -> None:
    def levels(name: str) -> list[tuple[int, ...]]:
        parts = kernel(name).parts
        assert parts.parallel is not None
        return [x.scans for x in make_levels(parts, parts.parallel)]

    assert list(map(len, levels("cascade"))) == [1, 1, 1] and list(map(len, levels("gated"))) == [1, 1]
    assert list(map(len, levels("sum"))) == [1] and levels("no state") == []


def test_the_first_check_that_fails_is_told() -> None:
    program = lsrl.parse("program p(x: int[0..1]) -> int[0..30]:\n    state s: int[0..30] = 0\n    s := s + x\n"
                         "    return s\n")
    k = CKernel(Parts.of(make_lanes(program.graph)), Options())
    assert k.shapes == ("sequential", "table", "split", "speculative")
    for place in (None, 30, 199, 200, 997, 999):  # the token of the 31st one
        x = torch.zeros(1, 1000, dtype=torch.uint8)
        x[0, (0 if place is None else place - 30) : (30 if place is None else place + 1)] = 1
        for shape in k.shapes:
            (out,), (state,) = k.parts.lanes.outputs, k.parts.lanes.states
            call = Call(1, 1000, {"x": x}, {"out": torch.zeros(1, 1000, dtype=edge_dtype(out, k.options))}, {},
                        {"s": torch.zeros(1, dtype=state_dtype(state, k.parts, k.options))},
                        failed=torch.full((1,), NEVER))
            k.launch(call, shape)
            assert call.failed is not None and int(call.failed) == (NEVER if place is None else place)


def test_a_combine_that_is_wrong_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    from lsrl.backends.kernels.scans import Clamp

    right = Clamp.combine
    monkeypatch.setattr(Clamp, "combine", lambda self, b, first, then: right(self, b, then, first))
    program = lsrl.parse(PROGRAMS["clamp"])
    k = CKernel(Parts.of(make_lanes(program.graph)), Options(torch.float64, torch.float64))
    with pytest.raises(AssertionError):
        same(k, call_of(k, 2, 1003, False, False, None, False))
