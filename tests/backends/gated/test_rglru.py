"""The RG-LRU in Griffin's block: as published, and programs in it, in our module and in the transformers library's."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from lsrl.backends.gated.rglru import SCALE, RecurrentBlock
from lsrl.diagnostics import LsrlError
from lsrl.verify import verify
from tests.backends.gated.convolved_mixers import (
    COUNTERS,
    LATCHES,
    assert_equal_in_the_library,
    assert_forms_agree,
    assert_mutants_are_refuted,
    assert_saved_and_poked,
    compiled,
    randomised,
)


def published(m: RecurrentBlock, rows: list[list[float]], h: list[float], past: list[list[float]]) -> list[list[float]]:
    """The equations of the paper, number by number; past: for each channel the inputs of the convolution so far."""
    p = {n: x.tolist() for n, x in m.named_parameters()}
    wide = m.channels // m.rg_lru.heads

    def linear(name: str, v: list[float]) -> list[float]:
        return [sum(a * b for a, b in zip(row, v, strict=True)) + c
                for row, c in zip(p[f"{name}.weight"], p[f"{name}.bias"], strict=True)]

    def gate(name: str, x: list[float], c: int) -> float:
        head, own = divmod(c, wide)
        weights = p[f"rg_lru.{name}_gate_weight"][head]
        bias = p[f"rg_lru.{name}_gate_bias"][head][own]
        total = sum(weights[j][own] * x[head * wide + j] for j in range(wide)) + bias
        return 1 / (1 + math.exp(-total))

    out = []
    for row in rows:
        branch = [0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))
                  for v in linear("linear_y", row)]
        x = []
        for c, v in enumerate(linear("linear_x", row)):
            past[c].append(v)
            taps = zip(p["conv_1d.weight"][c][0], past[c][-4:], strict=True)
            x.append(sum(a * b for a, b in taps) + p["conv_1d.bias"][c])
        for c in range(m.channels):
            a = math.exp(-8 * gate("recurrent", x, c) * math.log1p(math.exp(p["rg_lru.recurrent_param"][c])))
            h[c] = a * h[c] + math.sqrt(1 - a * a) * gate("input", x, c) * x[c]
        out.append(linear("linear_out", [a * b for a, b in zip(h, branch, strict=True)]))
    return out


@pytest.mark.parametrize("heads", [1, 3])
def test_the_layer_is_the_published_one(heads: int) -> None:
    m = RecurrentBlock(inputs=3, units=2, channels=6, heads=heads, dtype=torch.float64)
    randomised(m, 5)
    g = torch.Generator().manual_seed(6)
    x = torch.randn(1, 20, 3, generator=g, dtype=torch.float64)
    h = torch.randn(1, 6, generator=g, dtype=torch.float64)
    conv = torch.randn(1, 18, generator=g, dtype=torch.float64)
    y, (after, last) = m(x, (h, conv))
    states, past = h[0].tolist(), conv.reshape(6, 3).tolist()
    want = torch.tensor(published(m, x[0].tolist(), states, past), dtype=torch.float64)
    assert torch.allclose(y[0], want, rtol=0, atol=1e-12)
    assert torch.allclose(after[0], torch.tensor(states, dtype=torch.float64), rtol=0, atol=1e-12)
    assert torch.allclose(last.reshape(6, 3), torch.tensor([c[-3:] for c in past], dtype=torch.float64),
                          rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_constant_saturates(dtype: torch.dtype) -> None:
    s = torch.tensor(SCALE[dtype], dtype=dtype)
    assert torch.nn.functional.gelu(s, approximate="tanh") == s and torch.nn.functional.softplus(s) == s
    assert torch.exp(-8 * s) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LATCHES)
def test_programs(name: str, dtype: torch.dtype) -> None:
    model = compiled(LATCHES[name], "rglru", dtype)
    assert_forms_agree(model)
    assert verify(model.graph, model, seconds=3, tests=10).kind in ("PROVED", "EXHAUSTED", "TESTED")


@pytest.mark.parametrize("name, value", [("number that starts inside its range", -3), ("number without bound", 1000),
                                         ("bit that starts true", False)])
def test_save_probe_and_poke(name: str, value: int, tmp_path: Path) -> None:
    assert_saved_and_poked(compiled(LATCHES[name], "rglru"), value, tmp_path / "m.safetensors")


def test_a_mutated_weight_is_refuted() -> None:
    assert_mutants_are_refuted(compiled(LATCHES["bit that starts true"], "rglru"), {
        "linear_y.bias": 0, "linear_x.weight": -1, "conv_1d.weight": 0, "rg_lru.recurrent_param": -1,
        "rg_lru.input_gate_bias": 100, "rg_lru.recurrent_gate_weight": -1, "rg_lru.recurrent_gate_bias": -1,
        "linear_out.weight": -1, "linear_out.bias": 0})


@pytest.mark.parametrize("name", COUNTERS)
def test_counters_are_refused(name: str) -> None:
    with pytest.raises(LsrlError) as error:
        compiled(COUNTERS[name], "rglru")
    assert error.value.diagnostics[0].code == "L402"
    assert "added to while it is kept" in error.value.diagnostics[0].message


@pytest.mark.parametrize("text", ["memory/flip_flop", "memory/set_reset", "memory/key_value", *LATCHES.values()])
def test_equal_to_the_transformers_library(text: str) -> None:
    model = compiled(text, "rglru")
    assert_equal_in_the_library(model, 2500, model.outputs[0][0])
