"""Gradients in segments of time against those that record the states of all tokens: the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import lsrl
from lsrl.backends.kernels import operator, segments
from lsrl.backends.kernels.module import KernelModule
from lsrl.diagnostics import LsrlError
from tests.backends.kernels.test_rows import drawn_for, module

pytestmark = pytest.mark.usefixtures("quick_kernels", "short_segments")
SIZES = {"mixed": {"m": 2, "d": 9}, "gla": {"d": 8, "m": 3}, "mamba": {"d": 3, "n": 8}, "deltanet": {"d": 8, "m": 2}}
Results = dict[str, Tensor]


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_LEAST", 4)
    monkeypatch.setattr(segments, "_MOST", 4)


def whole(name: str, monkeypatch: pytest.MonkeyPatch) -> KernelModule:
    """The program with the states of all tokens recorded, whichever they are."""
    with monkeypatch.context() as m:
        m.setattr(segments, "in_segments", lambda _, recorder: recorder)
        model = module(name, SIZES[name])
        for resets in (False, True):
            model._operator(torch.float64).for_gradients(resets, False)
    return model


def outcome(model: KernelModule, option: str, again: bool = False) -> Results:
    """Outputs, states and gradients. again: the gradients of a function of the gradients, too."""
    leaves = {n: x.requires_grad_(x.is_floating_point()) for n, x in drawn_for(model, 3, 11).items()}
    state = None
    if option == "state":
        state = {n: (x + 0.1 * torch.arange(x.numel()).reshape(x.shape)).requires_grad_()
                 for n, x in model.initial_state(3).items()}
    resets = torch.arange(33).reshape(3, 11) % 7 == 5 if option == "resets" else None
    given = {n: x.transpose(0, 1) for n, x in leaves.items()} if option == "time first" else leaves
    out, after = model(given, state, resets=resets, layout="TB" if option == "time first" else "BT")
    shown = {"out": out} if isinstance(out, Tensor) else dict(out)
    shown |= {f"after {n}": x for n, x in after.items()}
    loss = sum(((i + 2) * x * x.detach().cos()).sum() for i, x in enumerate(shown.values()))
    params = dict(model.named_parameters())
    wanted = {n: x for n, x in (*leaves.items(), *(state or {}).items(), *params.items()) if x.requires_grad}
    assert isinstance(loss, Tensor)
    first = torch.autograd.grad(loss, list(wanted.values()), create_graph=again)
    shown |= {f"d {n}": x for n, x in zip(wanted, first, strict=True)}
    if again:
        second = torch.autograd.grad(torch.stack([(x * x).sum() for x in first]).sum(), list(wanted.values()))
        shown |= {f"dd {n}": x for n, x in zip(wanted, second, strict=True)}
    return {n: x.detach() for n, x in shown.items()}


@pytest.mark.parametrize("name", SIZES)
def test_segments_change_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With kernels that go through segments by themselves, in one thread and in two, and with a call for each."""
    model, other = module(name, SIZES[name]), whole(name, monkeypatch)
    assert isinstance(model._operator(torch.float64).for_gradients(False, False), segments.Segmented)
    for option in ("plain", "state", "resets", "time first"):
        want = outcome(other, option)

        def same(found: Results, want: Results = want) -> bool:
            return all(torch.equal(found[n], x) for n, x in want.items())

        assert same(outcome(model, option)), option
    with monkeypatch.context() as m:
        m.setattr("lsrl.backends.kernels.c_kernel._SMALL", 1)
        threads = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            assert same(outcome(model, option))
        finally:
            torch.set_num_threads(threads)
    monkeypatch.setattr(segments, "SegmentKernel", int)
    assert same(outcome(model, option))


def test_second_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are sums in another order: within 2⁻⁴⁴ of the largest element."""
    got, want = (outcome(m, "state", True) for m in (module("gla", SIZES["gla"]), whole("gla", monkeypatch)))
    for n, x in want.items():
        assert float((got[n] - x).abs().max()) <= 2 ** -44 * float(x.abs().max()), n


def test_less_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix for each segment rather than for each token."""
    def kept(model: KernelModule) -> list[int]:
        shapes: list[tuple[int, ...]] = []

        def pack(x: Tensor) -> Tensor:
            shapes.append(tuple(x.shape))
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            model({n: x.requires_grad_() for n, x in drawn_for(model, 2, 11).items()})
        return [s[1] for s in shapes if len(s) == 4]

    assert kept(module("gla", SIZES["gla"])) == [3]
    assert kept(whole("gla", monkeypatch)) == [11]


def test_packed_sequences_are_recorded_whole() -> None:
    model = module("gla", SIZES["gla"])
    found = model._operator(torch.float64).for_gradients(False, True)
    assert type(found) is operator.Operator


@pytest.mark.parametrize("alone", [False, True])
def test_a_check_that_fails_in_a_later_segment(alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the first token, in whichever row."""
    text = """program p(x: real[3], k: real[8]) -> real[3]:
    state s: real[3, 8] = zeros(3, 8)
    for i in 0..2:
        s[i] := s[i] / 2 + x[i] * k
    assert sum(k) < 100
    return s @ k
"""
    model = KernelModule(lsrl.parse(text, None).graph, "c", torch.float64, dense=True)
    if alone:
        monkeypatch.setattr(segments, "SegmentKernel", int)
    inputs: dict[str, Any] = {n: x.requires_grad_() for n, x in drawn_for(model, 2, 11).items()}
    inputs["k"] = inputs["k"].detach().clone()
    inputs["k"][0, 9, 0] = inputs["k"][1, 6, 2] = 1000
    with pytest.raises(LsrlError) as error:
        model(inputs)
    assert error.value.diagnostics[0].code == "L501" and "token 6" in str(error.value)


def test_transforms_of_functions() -> None:
    """`torch.func` goes the same way."""
    model = module("gla", SIZES["gla"])
    inputs = drawn_for(model, 3, 11)

    def loss(x: Results) -> Tensor:
        value: Tensor = (model({n: v.unsqueeze(0) for n, v in x.items()})[0] ** 2).sum()
        return value

    each: Callable[[Results], Results] = torch.func.vmap(torch.func.grad(loss))
    found = each(inputs)
    leaves = {n: x.clone().requires_grad_() for n, x in inputs.items()}
    want = torch.autograd.grad((model(leaves)[0] ** 2).sum(), list(leaves.values()))
    for n, x in zip(leaves, want, strict=True):
        assert float((found[n] - x).abs().max()) <= 2 ** -44 * float(x.abs().max()), n
