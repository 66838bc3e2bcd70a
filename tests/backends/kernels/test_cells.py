"""Every cell of examples/cells against an independent implementation: outputs and all gradients.

The references are in `cell_references`. Also cells that nobody has seen before: a generator draws them.
"""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

import lsrl
from lsrl.backends.kernels.module import KernelModule
from lsrl.frontend.modules import load_module
from tests.backends.kernels.cell_references import REFERENCES, unrolled

pytestmark = pytest.mark.usefixtures("quick_kernels")

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "cells"
CELLS = sorted(p.stem for p in FOLDER.glob("*.lsrl"))
SIZES = {"n": 3, "d": 2, "k": 2, "m": 2, "e": 2, "r": 2}  # where a cell's name for a size is one of these

Tensors = dict[str, Tensor]
cells = pytest.mark.parametrize("name", CELLS)


def compiled(name: str, dtype: torch.dtype, **sizes: int) -> KernelModule:
    """The kernel of a cell, with params away from special values."""
    path = FOLDER / f"{name}.lsrl"
    asked = [g.id for g in load_module(path).programs[name].generics]
    program = lsrl.load(path, None, **{n: sizes.get(n, SIZES[n]) for n in asked})
    model = lsrl.compile(program, "c", dtype)
    torch.manual_seed(7)
    with torch.no_grad():
        for p in model.parameters():
            p.add_((0.3 * torch.randn(p.shape, dtype=torch.float64)).to(p.dtype))
    return model


def drawn(model: KernelModule, rows: int, tokens: int, seed: int = 0) -> Tensors:
    """Random inputs in float64; keys of unit length, as the delta rules want them, and times above 0."""
    torch.manual_seed(seed)
    out: Tensors = {}
    for p in model.lanes.inputs:
        x = torch.randn(rows, tokens, *p.dims, dtype=torch.float64)
        if p.name == "k" and "delta" in model.graph.name:
            x = x / x.norm(dim=-1, keepdim=True)
        out[p.name] = x.abs() if p.name == "t" else x
    return out


def results(model: KernelModule, inputs: Tensors, reference: bool, dtype: torch.dtype) -> Tensors:
    """Outputs, and the gradients of their weighted sum, of the kernel or of its reference, calculated in a dtype."""
    given = {n: x.detach().to(dtype).requires_grad_() for n, x in inputs.items()}
    params = {n: x.detach().to(dtype).requires_grad_() for n, x in model.named_parameters()}
    if reference:
        outputs = unrolled(model.graph.name, params, given)
    else:
        made, _ = torch.func.functional_call(model, params, (given,))
        outputs = tuple(made.values()) if isinstance(made, dict) else (made,)
    torch.manual_seed(3)
    loss = sum(((torch.randn(y.shape, dtype=torch.float64).to(dtype) * y).sum() for y in outputs[1:]),
               (torch.randn(outputs[0].shape, dtype=torch.float64).to(dtype) * outputs[0]).sum())
    leaves = {**{f"d {n}": x for n, x in given.items()}, **{f"d {n}": x for n, x in params.items()}}
    grads = torch.autograd.grad(loss, list(leaves.values()))
    shown = {f"output {i}": y for i, y in enumerate(outputs)}
    return {n: x.detach().double() for n, x in (*shown.items(), *zip(leaves, grads, strict=True))}


def distance(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a share of the largest element."""
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-30))


def test_each_cell_has_a_reference_and_at_most_fifteen_lines() -> None:
    assert sorted(REFERENCES) == CELLS
    for name in CELLS:
        text = (FOLDER / f"{name}.lsrl").read_text(encoding="utf-8")
        assert text.startswith('"""') and len(text.splitlines()) <= 15, name


@cells
def test_double(name: str) -> None:
    """Within 4 units in the last place a token, of the largest element."""
    model = compiled(name, torch.float64)
    tokens = 23
    inputs = drawn(model, 2, tokens)
    got, want = (results(model, inputs, r, torch.float64) for r in (False, True))
    for key in want:
        assert distance(got[key], want[key]) <= 4 * tokens * 2 ** -52, key


@cells
def test_single(name: str) -> None:
    """Errors against a float64 reference are at most 4 times those of the reference in float32, and 8 roundings."""
    model = compiled(name, torch.float32)
    inputs = {n: x.float().double() for n, x in drawn(model, 2, 23).items()}
    exact = results(model, inputs, True, torch.float64)
    got, other = results(model, inputs, False, torch.float32), results(model, inputs, True, torch.float32)
    for key in exact:
        assert distance(got[key], exact[key]) <= 4 * distance(other[key], exact[key]) + 8 * 2 ** -24, key


FUNCTIONS = ("sigmoid", "tanh", "sin", "cos", "softplus", "silu")


def drawn_expression(rng: random.Random, leaves: list[str], depth: int) -> str:
    """A smooth expression of bounded growth."""
    if depth == 0:
        return rng.choice(leaves)
    a, b = (drawn_expression(rng, leaves, depth - 1) for _ in range(2))
    return rng.choice([f"{rng.choice(FUNCTIONS)}({a})", f"({a} + {b})", f"({a} - {b})", f"tanh({a}) * {b}",
                       f"{a} / (1 + exp({b}))", f"sqrt(1 + {a} * {a})"])


def drawn_cell(seed: int) -> str:
    """The text of a program that holds two states, a gate and two params."""
    rng = random.Random(seed)
    leaves = ["x", "z", "h", "c", "w * h", "w * x", "b"]
    h, c, y = (drawn_expression(rng, leaves, 3) for _ in range(3))
    return f"""program drawn[n](x: real[n], z: real[n]) -> real[n]:
    param w: real[n] = {rng.randint(-8, 8)}/8
    param b: real = {rng.randint(-8, 8)}/8
    state h: real[n] = {rng.randint(0, 4)}/4 * ones(n)
    state c: real[n] = zeros(n)
    g = sigmoid({drawn_expression(rng, leaves, 2)})
    h := g * h + (1 - g) * tanh({h})
    c := c / 2 + tanh({c})
    return {y}
"""


@pytest.mark.parametrize("seed", range(3))
def test_a_cell_that_nobody_has_seen(seed: int, tmp_path: Path) -> None:
    """One file of at most fifteen lines is all that a new cell takes; its gradients are those of finite differences."""
    path = tmp_path / "drawn.lsrl"
    path.write_text(drawn_cell(seed), encoding="utf-8")
    assert len(drawn_cell(seed).splitlines()) <= 15
    model = lsrl.compile(path, "c", torch.float64, n=2)
    torch.manual_seed(seed)
    x, z = (torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    state = {n: torch.randn(2, 2, dtype=torch.float64, requires_grad=True) for n in ("h", "c")}
    params = [p.detach().clone().requires_grad_() for p in model.parameters()]

    def run(x: Tensor, z: Tensor, h: Tensor, c: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        y, after = torch.func.functional_call(model, {"w": w, "b": b}, ({"x": x, "z": z}, {"h": h, "c": c}))
        return y, after["h"], after["c"]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert gradcheck(run, (x, z, state["h"], state["c"], *params), atol=1e-8, rtol=1e-6)
