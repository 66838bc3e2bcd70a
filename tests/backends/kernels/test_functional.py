"""Kernel modules under torch.func and in forward mode, against `torch.autograd` or finite differences."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, func
from torch.autograd import forward_ad, gradcheck

import lsrl
from lsrl.backends.kernels.module import KernelModule
from lsrl.diagnostics import LsrlError
from tests.backends.kernels.gradchecks import function, given, module

CELL = Path(__file__).resolve().parents[3] / "examples" / "cells" / "lstm_diagonal.lsrl"

Tensors = dict[str, Tensor]
# torch.func.jvp compiles its own decompositions with torch.jit when it is first used, and warns of that
pytestmark = [pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
              pytest.mark.usefixtures("quick_kernels")]


@pytest.fixture(scope="module")
def cell() -> KernelModule:
    torch.manual_seed(1)
    made = lsrl.compile(CELL, "c", torch.float64, n=2)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(torch.randn_like(p))
    return made


@pytest.fixture
def inputs() -> Tensors:
    torch.manual_seed(0)
    return {n: torch.randn(3, 4, 2, dtype=torch.float64) for n in "ifgo"}


def loss(cell: KernelModule, params: Tensors, inputs: Tensors) -> Tensor:
    out, after = func.functional_call(cell, params, (inputs,))
    total: Tensor = (out * out).sum() + after["c"].sin().sum()
    return total


def params_of(cell: KernelModule) -> Tensors:
    return {n: p.detach().clone() for n, p in cell.named_parameters()}


def plain(cell: KernelModule, params: Tensors, inputs: Tensors) -> tuple[Tensors, Tensors]:
    """Gradients of params and inputs, by torch.autograd."""
    params, inputs = ({n: x.clone().requires_grad_() for n, x in xs.items()} for xs in (params, inputs))
    found = iter(torch.autograd.grad(loss(cell, params, inputs), [*params.values(), *inputs.values()]))
    return {n: next(found) for n in params}, {n: next(found) for n in inputs}


def same(got: Tensors, want: Tensors, bound: float = 1e-13) -> None:
    assert got.keys() == want.keys()
    for n in want:
        torch.testing.assert_close(got[n], want[n], rtol=bound, atol=bound)


def test_grad_and_vjp(cell: KernelModule, inputs: Tensors) -> None:
    params = params_of(cell)
    want = plain(cell, params, inputs)
    for got, own in zip(func.grad(lambda p, x: loss(cell, p, x), (0, 1))(params, inputs), want, strict=True):
        same(got, own)
    back = func.vjp(lambda p, x: loss(cell, p, x), params, inputs)[1]
    for got, own in zip(back(torch.tensor(2.0, dtype=torch.float64)), want, strict=True):
        same(got, {n: 2 * x for n, x in own.items()})


def test_jvp_and_forward_mode(cell: KernelModule, inputs: Tensors) -> None:
    params = params_of(cell)
    torch.manual_seed(5)
    towards = {n: torch.randn_like(x) for n, x in params.items()}, {n: torch.randn_like(x) for n, x in inputs.items()}
    want = sum(((g * d[n]).sum() for own, d in zip(plain(cell, params, inputs), towards, strict=True)
                for n, g in own.items()), torch.zeros((), dtype=torch.float64))
    value, got = func.jvp(lambda p, x: loss(cell, p, x), (params, inputs), towards)[:2]
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    assert torch.equal(value, loss(cell, params, inputs))
    with forward_ad.dual_level():
        dual = [{n: forward_ad.make_dual(x, d[n]) for n, x in xs.items()}  # type: ignore[no-untyped-call]
                for xs, d in zip((params, inputs), towards, strict=True)]
        tangent = forward_ad.unpack_dual(loss(cell, *dual)).tangent  # type: ignore[no-untyped-call]
    assert tangent is not None
    torch.testing.assert_close(tangent, want, rtol=1e-12, atol=1e-12)


def test_gradients_of_each_sequence(cell: KernelModule, inputs: Tensors) -> None:
    """vmap(grad): what each sequence alone gives."""
    params = params_of(cell)
    batched = {n: x.unsqueeze(1) for n, x in inputs.items()}
    got = func.vmap(func.grad(lambda p, x: loss(cell, p, x)), in_dims=(None, 0))(params, batched)
    for i in range(3):
        same({n: g[i] for n, g in got.items()}, plain(cell, params, {n: x[i] for n, x in batched.items()})[0])


def test_an_ensemble(cell: KernelModule, inputs: Tensors) -> None:
    """vmap(grad) over params: what each member alone gives."""
    torch.manual_seed(2)
    members = {n: torch.randn(2, *p.shape, dtype=torch.float64) for n, p in cell.named_parameters()}
    got = func.vmap(func.grad(lambda p: loss(cell, p, inputs)))(members)
    for i in range(2):
        same({n: g[i] for n, g in got.items()}, plain(cell, {n: x[i] for n, x in members.items()}, inputs)[0])


def test_jacobians_and_hessians(cell: KernelModule, inputs: Tensors) -> None:
    def of_i(x: Tensor) -> Tensor:
        return loss(cell, params_of(cell), {n: v[:1] for n, v in inputs.items()} | {"i": x})

    def out(x: Tensor) -> Tensor:
        made: Tensor = cell({n: v[:1] for n, v in inputs.items()} | {"i": x})[0]
        return made

    x = inputs["i"][:1]
    want = torch.autograd.functional.jacobian(out, x)  # type: ignore[no-untyped-call]
    for transform in (func.jacrev, func.jacfwd):
        torch.testing.assert_close(transform(out)(x), want, rtol=1e-12, atol=1e-13)
    want = torch.autograd.functional.hessian(of_i, x)  # type: ignore[no-untyped-call]
    for found in (func.hessian(of_i)(x), func.jacrev(func.jacrev(of_i))(x), func.jacfwd(func.jacfwd(of_i))(x)):
        torch.testing.assert_close(found, want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("name", "option"), [
    ("gated_shared", "plain"), ("gated_shared", "packed"), ("smooth", "resets"), ("smooth", "state"),
    ("matrix", "from_state"), ("tropical", "time_major"), ("latch", "plain"), ("affine_dense", "resets")])
def test_forward_mode_against_finite_differences(name: str, option: str) -> None:
    model = module(name)
    f, leaves = function(model, given(model, 2, 4, packed=option == "packed"), option, 2, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert gradcheck(f, leaves, check_forward_ad=True, check_backward_ad=False, atol=1e-7, rtol=1e-5)


def test_programs_without_gradients() -> None:
    """vmap of an exact program stays exact; a tangent of one is refused; integers have none."""
    exact = lsrl.compile(lsrl.parse("program p(x: real[-8..8 by 1/4]) -> real:\n    return running_sum(x)\n"), "c",
                         check=False)
    x = torch.tensor([[[0.25, 1.0]], [[2.0, -0.5]]])
    assert func.vmap(lambda v: exact(v)[0])(x).tolist() == [[[0.25, 1.25]], [[2.0, 1.5]]]
    with pytest.raises(LsrlError, match="no gradients"):
        func.jvp(lambda v: exact(v)[0], (x[0],), (x[1],))
    with pytest.raises(LsrlError, match="no gradients"):
        func.grad(lambda v: exact(v)[0].sum())(x[0])
    counts = lsrl.compile(lsrl.parse("program p(x: real, b: bool) -> (y: real, n: int):\n    return (y = sin(x), "
                                     "n = count(b))\n"), "c", torch.float64)

    def both(v: Tensor) -> tuple[Tensor, Tensor]:
        made = counts({"x": v, "b": torch.tensor([[True, False]])})[0]
        return made["y"], made["n"]

    value, pushed = func.jvp(both, (x[0].double(),), (torch.ones(1, 2, dtype=torch.float64),))[:2]
    torch.testing.assert_close(pushed[0], x[0].double().cos())
    assert value[1].tolist() == [[1, 1]] and not pushed[1].any()
