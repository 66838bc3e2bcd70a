"""Gradients of kernels in C against finite differences in float64: first of every class and option, some of second.

`python -m benchmarks.gradcheck_table` makes all of both.
"""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor
from torch.autograd import gradgradcheck

from tests.backends.kernels.gradchecks import PAIRS, SECOND, check, function, given, module

pytestmark = pytest.mark.usefixtures("quick_kernels")


@pytest.mark.parametrize(("name", "option"), PAIRS)
def test_gradients(name: str, option: str) -> None:
    check(name, option)


@pytest.mark.parametrize(("name", "option"), SECOND)
def test_second_gradients(name: str, option: str) -> None:
    check(name, option, order=2)


def test_third_gradients() -> None:
    """Second gradients of a gradient that is a function of its cotangent, too."""
    model = module("gated")
    f, leaves = function(model, given(model, 1, 3), "plain", 1, 3)
    torch.manual_seed(2)
    weights = [torch.randn_like(y).requires_grad_() for y in f(*leaves)]

    def gradients(*tensors: Tensor) -> tuple[Tensor, ...]:
        xs, ws = tensors[: len(leaves)], tensors[len(leaves):]
        return torch.autograd.grad(f(*xs), xs, ws, create_graph=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert gradgradcheck(gradients, (*leaves, *weights), atol=1e-6, rtol=1e-4)
