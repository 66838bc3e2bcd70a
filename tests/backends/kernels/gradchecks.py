"""Gradient checks of small cells: `PAIRS` is all that there are, `SECOND` those of second derivatives in the tests.

`benchmarks.gradcheck_table` makes every pair by each backend, first and second derivatives.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import lsrl
from lsrl.backends.kernels.module import KernelModule
from lsrl.types import Bool, scalar_of
from tests.backends.kernels.cells import CELLS

OPTIONS = ("plain", "state", "resets", "packed", "time_major", "from_state")
PAIRS = [(name, option) for name in CELLS for option in OPTIONS]
# Every class once, and every option: the k-th class with the k-th option.
SECOND = [(name, OPTIONS[k % len(OPTIONS)]) for k, name in enumerate(CELLS)]
SIZES = {("c", 1): (2, 4), ("c", 2): (1, 3), ("triton", 1): (1, 3), ("triton", 2): (1, 2)}  # rows and tokens
PACKED = {("c", 1): (2, 4), ("c", 2): (1, 4), ("triton", 1): (1, 4), ("triton", 2): (1, 3)}  # two of the first sequence


def check(name: str, option: str, target: str = "c", order: int = 1) -> None:
    """First or second derivatives of a cell's outputs and final states, against finite differences in float64.

    A target "triton" is Triton's interpreter, where the process has `TRITON_INTERPRET`. As that is slow, derivatives
    are compared in random directions of inputs and outputs, not element by element. Raises GradcheckError.
    """
    quick = target == "triton"
    model = module(name, target)
    rows, tokens = (PACKED if option == "packed" else SIZES)[target, order]
    f, leaves = function(model, given(model, rows, tokens, packed=option == "packed"), option, rows, tokens)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if order == 1:
            assert gradcheck(f, leaves, atol=1e-7, rtol=1e-5, fast_mode=quick)
        else:
            assert gradgradcheck(f, leaves, atol=1e-6, rtol=1e-4, fast_mode=quick)


def module(name: str, target: str = "c", **options: Any) -> KernelModule:
    text = CELLS[name]
    program = lsrl.parse(text, n=2) if "[n]" in text else lsrl.parse(text)
    return KernelModule(program.graph, target, torch.float64, **options)


def given(model: KernelModule, rows: int, tokens: int, seed: int = 0, packed: bool = False) -> dict[str, Tensor]:
    """Random inputs, away from the kinks of absolute values and comparisons."""
    torch.manual_seed(seed)
    out: dict[str, Tensor] = {}
    for p in model.lanes.inputs:
        lead = (rows * tokens,) if packed else (rows, tokens)
        if isinstance(scalar_of(p.type), Bool):
            out[p.name] = torch.rand(*lead) < 0.5
        else:
            x = torch.randn(*lead, *p.dims, dtype=torch.float64)
            out[p.name] = (x + 0.05 * x.sign()).requires_grad_()
    return out


def function(model: KernelModule, inputs: dict[str, Tensor], option: str, rows: int, tokens: int) -> Any:
    """A function of all that has a gradient (inputs, states, params), and these tensors."""
    names = [n for n, x in inputs.items() if x.is_floating_point()]
    params = dict(model.named_parameters())
    state = {}
    if option in ("state", "from_state", "packed"):
        count = 3 if option == "packed" else rows
        start = model.initial_state(count)
        state = {n: (x + 0.3 * torch.randn_like(x)).requires_grad_() if x.is_floating_point() else x
                 for n, x in start.items()}
    moved = [n for n, x in state.items() if x.requires_grad]
    resets = None
    if option == "resets":
        resets = torch.rand(rows, tokens) < 0.3
        resets[0, tokens // 2] = True
    offsets = torch.tensor([0, 2, 2, rows * tokens]) if option == "packed" else None

    def f(*tensors: Tensor) -> tuple[Tensor, ...]:
        streams = {**inputs, **dict(zip(names, tensors, strict=False))}
        before = {**state, **dict(zip(moved, tensors[len(names):], strict=False))}
        changed = dict(zip(params, tensors[len(names) + len(moved):], strict=True))
        if option == "time_major":
            streams = {n: x.transpose(0, 1) for n, x in streams.items()}
        out, after = torch.func.functional_call(
            model, changed, (streams, before or None),
            {"resets": resets, "cu_seqlens": offsets, "layout": "TB" if option == "time_major" else "BT"})
        shown = list(out.values()) if isinstance(out, dict) else [out]
        if option == "from_state":
            return tuple(x for x in after.values() if x.is_floating_point())
        return (*shown, *(x for x in after.values() if x.is_floating_point()))

    leaves = [inputs[n] for n in names] + [state[n] for n in moved] + [
        p.detach().clone().requires_grad_() for p in params.values()]
    return f, tuple(leaves)
