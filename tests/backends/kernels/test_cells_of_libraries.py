"""Cells of examples/cells against torch.nn, in float64, and the transformers library, in float32 as it calculates.

Outputs and gradients differ by at most 100 roundings of the largest element: both sides round differently at every
token, and the states forget.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from tests.backends.kernels.test_cells import Tensors, compiled, distance, drawn

pytestmark = pytest.mark.usefixtures("quick_kernels")

TOKENS = 19
ROUNDINGS = 100
Library = Callable[[Tensors, Tensors], Tensor]


def compare(name: str, library: Library, dtype: torch.dtype = torch.float32, **sizes: int) -> None:
    """The kernel of a cell equals a library's function of params and inputs."""
    model = compiled(name, dtype, **sizes)
    inputs = {n: x.to(dtype) for n, x in drawn(model, 2, TOKENS).items()}
    sides: list[Tensors] = []
    for side in range(2):
        given = {n: x.clone().requires_grad_() for n, x in inputs.items()}
        params = {n: x.detach().clone().requires_grad_() for n, x in model.named_parameters()}
        made = torch.func.functional_call(model, params, (given,))[0] if side == 0 else library(params, given)
        torch.manual_seed(1)
        leaves = {**given, **params}
        grads = torch.autograd.grad((made * torch.randn(made.shape, dtype=dtype)).sum(), list(leaves.values()))
        sides.append({"output": made.detach(), **{f"d {n}": g for n, g in zip(leaves, grads, strict=True)}})
    for key, want in sides[1].items():
        assert distance(sides[0][key], want) <= ROUNDINGS * torch.finfo(dtype).eps / 2, key


def run_rnn(kind: Callable[..., nn.Module], weights: dict[str, Tensor], x: Tensor, k: int) -> Tensor:
    """The outputs of torch's own recurrent module with the given weights."""
    module = kind(x.shape[2], k, batch_first=True, dtype=x.dtype)
    out, _ = torch.func.functional_call(module, weights, (x,))
    made: Tensor = out
    return made


def zeros(like: Tensor) -> Tensor:
    return torch.zeros_like(like)


def test_torch_lstm() -> None:
    compare("lstm", lambda p, x: run_rnn(nn.LSTM, {
        "weight_ih_l0": p["w"], "weight_hh_l0": p["u"], "bias_ih_l0": p["b"], "bias_hh_l0": zeros(p["b"])}, x["x"], 4),
        torch.float64, k=4)


def test_torch_gru() -> None:
    compare("gru", lambda p, x: run_rnn(nn.GRU, {
        "weight_ih_l0": p["w"], "weight_hh_l0": p["u"], "bias_ih_l0": p["b"], "bias_hh_l0": p["c"]}, x["x"], 4),
        torch.float64, k=4)


def test_torch_rnn() -> None:
    compare("elman", lambda p, x: run_rnn(nn.RNN, {
        "weight_ih_l0": p["w"], "weight_hh_l0": p["u"], "bias_ih_l0": p["b"], "bias_hh_l0": zeros(p["b"])}, x["x"], 4),
        torch.float64, k=4)


def test_transformers_mamba() -> None:
    mamba = pytest.importorskip("transformers.models.mamba.modeling_mamba")

    def library(p: Tensors, x: Tensors) -> Tensor:
        out: Tensor = mamba.mamba_selective_scan(
            x["x"].transpose(1, 2), x["dt"].transpose(1, 2), -torch.exp(p["a_log"]), x["b"].transpose(1, 2),
            x["c"].transpose(1, 2), D=p["skip"], delta_softplus=True)
        return out.transpose(1, 2)

    compare("mamba", library)


def test_transformers_rwkv() -> None:
    rwkv = pytest.importorskip("transformers.models.rwkv.modeling_rwkv")
    compare("rwkv4", lambda p, x: rwkv.rwkv_linear_attention_cpu(p["decay"], p["first"], x["k"], x["v"])[0])


def test_transformers_recurrent_gemma() -> None:
    """The library's gates have matrices of their own: the identity here, with r = i = x. Its first token has no factor
    sqrt(1 - a²), so positions start at 1."""
    gemma = pytest.importorskip("transformers.models.recurrent_gemma.modeling_recurrent_gemma")
    n = 3
    layer = gemma.RecurrentGemmaRglru(SimpleNamespace(num_attention_heads=1, lru_width=n))
    model = compiled("rglru", torch.float32)
    given = torch.randn(2, TOKENS, n, generator=torch.Generator().manual_seed(2))
    one = {"input_gate_weight": torch.eye(n)[None], "recurrent_gate_weight": torch.eye(n)[None],
           "input_gate_bias": torch.zeros(1, n), "recurrent_gate_bias": torch.zeros(1, n)}
    sides = []
    for side in range(2):
        x = given.clone().requires_grad_()
        decay = model.get_parameter("decay").detach().clone().requires_grad_()
        if side == 0:
            made, _ = torch.func.functional_call(model, {"decay": decay}, ({"x": x, "r": x, "i": x},))
        else:
            at = torch.arange(1, TOKENS + 1).expand(2, TOKENS)
            made = torch.func.functional_call(layer, {**one, "recurrent_param": decay}, (x, at))
        sides.append((made.detach(), *torch.autograd.grad((made * made).sum(), (x, decay))))
    for ours, theirs in zip(*sides, strict=True):
        assert distance(ours, theirs) <= ROUNDINGS * 2 ** -24


def heads(x: Tensor) -> Tensor:
    """(B, T, d) as (B, T, 1, d): one head."""
    return x.unsqueeze(2)


def test_transformers_delta_rule() -> None:
    """The library's rule with a gate of 1; it divides queries by the square root of their size."""
    qwen = pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next")

    def library(p: Tensors, x: Tensors) -> Tensor:
        out: Tensor = qwen.torch_recurrent_gated_delta_rule(
            heads(x["q"] * x["q"].shape[2] ** 0.5), heads(x["k"]), heads(x["v"]), torch.zeros(2, TOKENS, 1),
            torch.sigmoid(x["b"]).unsqueeze(2))[0]
        return out.squeeze(2)

    compare("deltanet", library)


def test_transformers_xlstm() -> None:
    """The library divides queries by the square root of their size, and adds eps to the divisor."""
    xlstm = pytest.importorskip("transformers.models.xlstm.modeling_xlstm")

    def library(p: Tensors, x: Tensors) -> Tensor:
        q, k, v = (x[n].unsqueeze(1) for n in "qkv")
        out: Tensor = xlstm.mlstm_recurrent_sequence_native(
            q * q.shape[3] ** 0.5, k, v, x["i"].unsqueeze(1), x["f"].unsqueeze(1), eps=0.0)
        return out.squeeze(1)

    compare("mlstm", library)
