"""What cannot be trained is told so, with a name and a way that works."""

from __future__ import annotations

import pytest
import torch

import lsrl
from lsrl.diagnostics import LsrlError

pytestmark = pytest.mark.usefixtures("quick_kernels")

COUNT = "program p(x: int[0..3]) -> int:\n    state n: int = 0\n    n := n + x\n    return n\n"
HEADS = """
program p[n, h](x: real[n]) -> real[n]:
    param u: real[h, n // h, n // h] = normal(0.2)
    state s: real[h, n // h] = zeros(h, n // h)
    y = [x[i * (n // h)..i * (n // h) + n // h - 1] for i in 0..h-1]
    s := tanh([u[i] @ s[i] + y[i] for i in 0..h-1])
    return [s[i // (n // h), i % (n // h)] for i in 0..h * (n // h) - 1]
"""


def failure(error: pytest.ExceptionInfo[LsrlError]) -> tuple[str, str, str]:
    told = error.value.diagnostics[0]
    return told.code, told.message, told.help


def test_integers_have_no_gradients() -> None:
    with pytest.raises(LsrlError) as error:
        lsrl.compile(lsrl.parse(COUNT), "c", floats=True)
    assert failure(error)[:2] == ("L414", "floats are asked for, and `p` has no reals, so no gradients")
    model = lsrl.compile(lsrl.parse(COUNT), "c")
    with pytest.raises(LsrlError) as error:
        model(torch.ones(1, 2, requires_grad=True))
    assert failure(error)[:2] == ("L414", "input `x` is of type int[0..3], and gradients are asked for it")
    assert not model(torch.ones(1, 2, dtype=torch.int64))[0].requires_grad


def test_exact_reals_have_no_gradients_unless_held_in_floats() -> None:
    text = "program p(x: real[0..1 by 1/4]) -> real:\n    return running_sum(x)\n"
    x = torch.tensor([[0.25, 0.5]], requires_grad=True)
    with pytest.raises(LsrlError) as error:
        lsrl.compile(lsrl.parse(text), "c")(x)
    code, message, help_ = failure(error)
    assert code == "L414" and "`p` is exact" in message and "floats=True" in help_
    out, _ = lsrl.compile(lsrl.parse(text), "c", floats=True)(x)
    assert torch.autograd.grad(out.sum(), x)[0].tolist() == [[2, 1]]


def test_a_param_that_nothing_uses() -> None:
    with pytest.raises(LsrlError) as error:
        lsrl.parse("program p(x: real) -> real:\n    param w: real = 1\n    param v: real = 2\n    return w * x\n")
    assert failure(error)[:2] == ("L307", "nothing uses the param `v`")
    lsrl.parse("program p(x: real) -> real:\n    param w: real[2] = 1\n    param v: real = 2\n    state s: real = 0\n"
               "    if x > 0:\n        s := v * s + x\n    return w[1] * s\n")


def test_sizes_that_do_not_divide_into_heads() -> None:
    lsrl.parse(HEADS, n=6, h=3)
    with pytest.raises(LsrlError) as error:
        lsrl.parse(HEADS, n=7, h=3)
    assert failure(error)[0] == "L205" and "`real[7]`" in failure(error)[1] and "real[6]" in failure(error)[1]


def test_where_a_nan_appears() -> None:
    text = "program p(x: real) -> real:\n    state s: real = 1\n    s := s * x\n    return 1 / (s - 1)\n"
    model = lsrl.compile(lsrl.parse(text), "c", debug=True)
    with pytest.raises(LsrlError) as error:
        model(torch.ones(1, 3))
    assert failure(error)[0] == "L616" and "output `out` is not finite, first at token 0" in failure(error)[1]
