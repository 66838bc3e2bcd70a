"""Generated C at full sizes and with several threads, beside what NumPy calculates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

import lsrl
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.c_kernel import CKernel
from lsrl.backends.kernels.call import Call, Options, edge_dtype, state_dtype
from lsrl.backends.kernels.lanes import make_lanes
from tests.backends.kernels.batches import NEVER
from tests.corpus import ROOT

LONG = 1_000_003
OPTIONS = Options()


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def run(text: str, inputs: dict[str, Tensor], shape: str | None = None) -> tuple[CKernel, list[Call]]:
    """A call for every shape."""
    k = CKernel(Parts.of(make_lanes(lsrl.parse(text).graph)), OPTIONS)
    rows, tokens = next(iter(inputs.values())).shape[:2]
    lanes = max(x.shape[2] if x.ndim > 2 else 1 for x in inputs.values())
    calls = []
    for s in k.shapes if shape is None else [s for s in k.shapes if s == shape]:
        call = Call(rows, tokens, inputs,
                    {p.name: torch.empty(rows, tokens, *(lanes,) * p.lane, dtype=edge_dtype(p, OPTIONS))
                     for p in k.parts.lanes.outputs}, {},
                    {p.name: torch.empty(rows, *(lanes,) * p.lane, dtype=state_dtype(p, k.parts, OPTIONS))
                     for p in k.parts.lanes.states}, failed=torch.full((rows,), NEVER))
        k.launch(call, s)
        assert call.failed is not None and int(call.failed.min()) == NEVER
        calls.append(call)
    return k, calls


def bits(rows: int, tokens: int, seed: int) -> Tensor:
    return torch.randint(0, 2, (rows, tokens), generator=torch.Generator().manual_seed(seed)).bool()


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("rows", [1, 2, 9])
def test_a_million_tokens(rows: int) -> None:
    x = bits(rows, LONG if rows < 9 else LONG // 9, rows)
    count = x.numpy().cumsum(1)
    parity = (ROOT / "examples/regular/parity.lsrl").read_text()
    majority = (ROOT / "examples/counting/majority.lsrl").read_text()
    k, calls = run(parity, {"bit": x})
    assert k.shapes == ("sequential", "table", "split", "speculative")
    for call in calls:
        assert np.array_equal(call.outputs["out"].numpy(), count % 2 == 1)
    _, calls = run(majority, {"bit": x})
    seen = np.arange(1, x.shape[1] + 1)
    for call in calls:
        assert np.array_equal(call.outputs["out"].numpy(), 2 * count > seen)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("rows", "tokens", "lanes"), [(1, 700, 256), (3, 300, 1030), (2, 600, 70), (5, 64, 15),
                                                       (1, 700, 1), (17, 41, 3)])
def test_lanes_of_any_number(rows: int, tokens: int, lanes: int) -> None:
    """h := a h + u in float32, the same operations in NumPy; sums of integers beside it, and what all lanes share."""
    text = f"""
program gated(a: real[{lanes}], u: real[{lanes}], i: int[0..9][{lanes}], on: bool) -> \\
        (h: real[{lanes}], n: int[{lanes}], odd: bool):
    state s: real[{lanes}] = zeros({lanes})
    state total: int[{lanes}] = zeros({lanes})
    state odd: bool = false
    s := a * s + u
    total := total + i
    odd := odd != on
    return (h = s, n = total, odd = odd)
""".replace("\\\n        ", "")
    draw = torch.Generator().manual_seed(lanes)
    inputs = {"a": torch.rand(rows, tokens, lanes, generator=draw),
              "u": torch.randn(rows, tokens, lanes, generator=draw),
              "i": torch.randint(0, 10, (rows, tokens, lanes), generator=draw).to(torch.uint8),
              "on": bits(rows, tokens, 3)}
    _, (call,) = run(text, inputs, "sequential")
    a, u = inputs["a"].numpy(), inputs["u"].numpy()
    h = np.zeros((rows, lanes), np.float32)
    for t in range(tokens):
        h = a[:, t] * h + u[:, t]
        assert np.array_equal(call.outputs["h"][:, t].numpy(), h)
    assert np.array_equal(call.after["s"].numpy(), h)
    assert np.array_equal(call.outputs["n"].numpy(), inputs["i"].long().numpy().cumsum(1))
    assert np.array_equal(call.outputs["odd"].numpy(), inputs["on"].numpy().cumsum(1) % 2 == 1)


def test_a_large_step_compiles_in_seconds() -> None:
    """A state of 300 numbers that are mixed is 300 states: optimising such a step fully takes minutes."""
    text = """
program p(x: int[0..3][300]) -> int[300]:
    state s: int[300] = zeros(300)
    s := s + x
    assert all(s < 50)
    return s
"""
    x = torch.zeros(5, 100, 300, dtype=torch.uint8)
    x[2, 30:, 200] = 1
    x[2, 25:, 20] = 1
    k = CKernel(Parts.of(make_lanes(lsrl.parse(text).graph)), OPTIONS)
    assert k.parts.lanes.width == 1
    call = Call(5, 100, {"x": x}, {"out": torch.empty(5, 100, 300, dtype=torch.int64)}, {},
                {"s": torch.empty(5, 300, dtype=state_dtype(k.parts.lanes.states[0], k.parts, OPTIONS))},
                failed=torch.full((5,), NEVER))
    k.launch(call, "sequential")
    assert call.failed is not None and call.failed.tolist() == [NEVER, NEVER, 74, NEVER, NEVER]
    assert torch.equal(call.outputs["out"][2, :74], x[2, :74].long().cumsum(0))
