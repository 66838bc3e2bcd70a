"""What fails in a run of generated C is reported with its token; what cannot be run says so."""

from __future__ import annotations

import pytest
import torch

import lsrl
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.c_kernel import CKernel
from lsrl.backends.kernels.call import Call, Options, UnknownStateError
from lsrl.backends.kernels.lanes import make_lanes
from tests.backends.kernels.batches import NEVER, make_call, packed_call, shown

OPTIONS = Options(resets=True, packed=True)
FINITE = """
program p(x: int[0..3]) -> int[0..20]:
    state s: int[0..20] = 0
    s := min(s + x, 20)
    assert s < 17, "too much"
    return s
"""
GROWING = """
program p(x: int[0..3]) -> int:
    state s: int = 0
    s := s + x
    assert s < 17, "too much"
    return s
"""
LANES = """
program p(x: int[0..3][20]) -> int[20]:
    state s: int[20] = zeros(20)
    for i in 0..19:
        s[i] := s[i] + x[i]
        assert s[i] < 17
    return s
"""


def kernel(text: str, options: Options = OPTIONS) -> CKernel:
    return CKernel(Parts.of(make_lanes(lsrl.parse(text).graph)), options)


def first_failure(xs: list[int]) -> int:
    total = 0
    for t, x in enumerate(xs):
        total += x
        if total >= 17:
            return t
    return NEVER


@pytest.mark.parametrize("text", [FINITE, GROWING], ids=["finite", "growing"])
@pytest.mark.parametrize("rows", [1, 4, 9])
def test_the_first_token_that_fails_is_reported(text: str, rows: int) -> None:
    k = kernel(text)
    draw = torch.Generator().manual_seed(rows)
    for tokens in (1, 12, 64, 65, 5000):
        few = torch.rand(rows, tokens, generator=draw) < 30 / tokens
        xs = (torch.randint(0, 4, (rows, tokens), generator=draw) * few).tolist()
        want = [first_failure(row) for row in xs]
        assert tokens < 64 or any(f != NEVER for f in want)
        for shape in k.shapes:
            call = make_call(k.parts, OPTIONS, [[{"x": x} for x in row] for row in xs])
            k.launch(call, shape)
            assert call.failed is not None and call.failed.tolist() == want
            for row, got, end in zip(xs, shown(k.parts, call.outputs), want, strict=True):
                right = [{"out": [sum(row[: t + 1])]} for t in range(min(end, tokens))]
                assert got[: len(right)] == right


@pytest.mark.parametrize("text", [FINITE, GROWING], ids=["finite", "growing"])
def test_in_packed_sequences_tokens_are_counted_in_their_own(text: str) -> None:
    k = kernel(text)
    sequences = [[3] * 4, [3] * 7, [], [1] * 20, [2] * 8, [3] * 5 + [2]]
    for shape in k.shapes:
        call = packed_call(k.parts, OPTIONS, [[{"x": x} for x in xs] for xs in sequences])
        k.launch(call, shape)
        assert call.failed is not None and call.failed.tolist() == [first_failure(xs) for xs in sequences]


def test_a_failure_is_kept_from_before() -> None:
    k = kernel(GROWING)
    call = make_call(k.parts, OPTIONS, [[{"x": 3}] * 20] * 2)
    assert call.failed is not None
    call.failed[0] = 2
    k.launch(call, "sequential")
    assert call.failed.tolist() == [2, 5]


def test_lanes_report_the_first_of_all() -> None:
    k = kernel(LANES)
    assert k.parts.lanes.width in (1, 20)
    xs = [[[int(i == 5 and t > 3) * 3 for i in range(20)] for t in range(30)] for _ in range(2)]
    call = make_call(k.parts, OPTIONS, [[{"x": tuple(v)} for v in row] for row in xs])
    k.launch(call, "sequential")
    assert call.failed is not None and call.failed.tolist() == [9, 9]


def test_without_checks_nothing_is_checked() -> None:
    for text in (FINITE, GROWING):
        options = Options(checks=False)
        k = kernel(text, options)
        for shape in k.shapes:
            call = make_call(k.parts, options, [[{"x": 2}] * 12])
            k.launch(call, shape)
            assert call.failed is not None and call.failed.tolist() == [NEVER]
            assert [row["out"] for row in shown(k.parts, call.outputs)[0]] == \
                [[min(2 * t + 2, 20) if text is FINITE else 2 * t + 2] for t in range(12)]


def test_a_state_that_is_never_reached_is_not_in_the_table() -> None:
    k = kernel("""
program p(x: bool) -> int[0..9]:
    state s: int[0..9] = 0
    if x:
        s := (2 * s + 1) % 7
    return s
""")
    call = make_call(k.parts, OPTIONS, [[{"x": True}] * 3], before={"s": torch.tensor([4], dtype=torch.int32)})
    with pytest.raises(UnknownStateError):
        k.launch(call, "table")
    k.launch(call, "sequential")
    assert call.outputs["out"].tolist() == [[2, 5, 4]]


def test_before_and_after_may_be_one_tensor() -> None:
    k = kernel(GROWING)
    state = {"s": torch.zeros(3, dtype=torch.int64 if k.parts.registers[0].kind == "int64" else torch.int32)}
    made = make_call(k.parts, OPTIONS, [[{"x": 1}] * 5] * 3)
    k.launch(Call(3, 5, made.inputs, made.outputs, state, state, failed=made.failed), "sequential")
    assert state["s"].tolist() == [5, 5, 5]


def test_inputs_outside_their_type_reach_no_foreign_memory() -> None:
    """What comes out means nothing, but it comes out: every place in a table is brought inside."""
    k = kernel("""
type Char = {"a", "b", "c"}
program p(tok: Char) -> int[0..9]:
    state s: int[0..9] = 0
    s := match tok: "a" => 3, "b" => s, _ => (s + 1) % 10
    return s
""")
    for rows in (1, 5):
        for shape in k.shapes:
            call = make_call(k.parts, OPTIONS, [[{"tok": 0}] * 200] * rows)
            call.inputs["tok"].copy_(torch.arange(256).repeat(4)[: rows * 200].reshape(rows, 200))
            k.launch(call, shape)
