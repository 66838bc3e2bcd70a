"""Mamba: its layer as published, and programs in it, in our module and in that of the transformers library."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch

from lsrl.backends.gated.mamba import CLEARED, SCALE, SHUT, MambaMixer
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
    graph_of,
    randomised,
)

PROGRAMS = {**LATCHES, **COUNTERS}


def silu(x: float) -> float:
    return x / (1 + math.exp(-x))


def published(m: MambaMixer, rows: list[list[float]], h: list[list[float]],
              past: list[list[float]]) -> list[list[float]]:
    """The equations of the paper, number by number; past: for each channel the inputs of the convolution so far."""
    p = {n: x.tolist() for n, x in m.named_parameters()}

    def times(matrix: list[list[float]], v: list[float]) -> list[float]:
        return [sum(a * b for a, b in zip(row, v, strict=True)) for row in matrix]

    out = []
    for row in rows:
        xz = [a + b for a, b in zip(times(p["in_proj.weight"], row), p["in_proj.bias"], strict=True)]
        u = []
        for c in range(m.channels):
            past[c].append(xz[c])
            taps = zip(p["conv1d.weight"][c][0], past[c][-4:], strict=True)
            u.append(silu(sum(a * b for a, b in taps) + p["conv1d.bias"][c]))
        projected = times(p["x_proj.weight"], u)
        low, b, cc = projected[: m.rank], projected[m.rank : m.rank + m.states], projected[m.rank + m.states :]
        steps = [math.log1p(math.exp(a + d))
                 for a, d in zip(times(p["dt_proj.weight"], low), p["dt_proj.bias"], strict=True)]
        y = []
        for c in range(m.channels):
            for n in range(m.states):
                kept = math.exp(-math.exp(p["A_log"][c][n]) * steps[c]) * h[c][n]
                h[c][n] = kept + steps[c] * b[n] * u[c]
            shown = sum(cc[n] * h[c][n] for n in range(m.states)) + p["D"][c] * u[c]
            y.append(shown * silu(xz[m.channels + c]))
        out.append([a + d for a, d in zip(times(p["out_proj.weight"], y), p["out_proj.bias"], strict=True)])
    return out


def test_the_layer_is_the_published_one() -> None:
    m = MambaMixer(inputs=3, units=2, channels=5, rank=2, states=3, dtype=torch.float64)
    randomised(m, 3)
    g = torch.Generator().manual_seed(4)
    x = torch.randn(1, 20, 3, generator=g, dtype=torch.float64)
    h = torch.randn(1, 15, generator=g, dtype=torch.float64)
    conv = torch.randn(1, 15, generator=g, dtype=torch.float64)
    y, (after, last) = m(x, (h, conv))
    states, past = h.reshape(5, 3).tolist(), conv.reshape(5, 3).tolist()
    want = torch.tensor(published(m, x[0].tolist(), states, past), dtype=torch.float64)
    assert torch.allclose(y[0], want, rtol=0, atol=1e-12)
    assert torch.allclose(after.reshape(5, 3), torch.tensor(states, dtype=torch.float64), rtol=0, atol=1e-12)
    assert torch.allclose(last.reshape(5, 3), torch.tensor([c[-3:] for c in past], dtype=torch.float64),
                          rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_constant_saturates(dtype: torch.dtype) -> None:
    s, shut = torch.tensor(SCALE[dtype], dtype=dtype), torch.tensor(SHUT[dtype], dtype=dtype)
    small, large = CLEARED[dtype]
    a = -torch.exp(torch.tensor(-small * math.log(2), dtype=dtype))
    assert torch.exp(-shut) == 0 and torch.exp(s * a) == 1 and torch.exp(2.0**large * a) == 0
    assert torch.exp(s * -torch.exp(torch.log(shut / s))) == 0
    assert torch.nn.functional.softplus(s) == s and torch.nn.functional.softplus(-shut) == 0
    n = torch.arange(5000, dtype=dtype)
    assert torch.equal(torch.nn.functional.silu(s * n), s * n)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str, dtype: torch.dtype) -> None:
    model = compiled(PROGRAMS[name], "mamba", dtype)
    assert_forms_agree(model)
    assert verify(model.graph, model, seconds=3, tests=10).kind in ("PROVED", "EXHAUSTED", "TESTED")


@pytest.mark.parametrize("name, value", [("both ways, by more than 1", -31), ("with a reset to two values", 12),
                                         ("number that starts inside its range", -3), ("bit that starts true", False)])
def test_save_probe_and_poke(name: str, value: int, tmp_path: Path) -> None:
    assert_saved_and_poked(compiled(PROGRAMS[name], "mamba"), value, tmp_path / "m.safetensors")


def test_a_mutated_weight_is_refuted() -> None:
    assert_mutants_are_refuted(compiled(LATCHES["bit that starts true"], "mamba"), {
        "in_proj.weight": -1, "conv1d.weight": 0, "x_proj.weight": 0, "dt_proj.weight": -1, "dt_proj.bias": -1,
        "out_proj.weight": -1, "out_proj.bias": 0, "D": 0})
    assert_mutants_are_refuted(compiled(COUNTERS["both ways, by more than 1"], "mamba"), {"A_log": -1})


@pytest.mark.parametrize("text, varied", [
    ("memory/flip_flop", "out"), ("memory/set_reset", "out"), ("memory/key_value", "out"),
    ("counting/run_length", "out"),
    *((COUNTERS[n], "now") for n in ("both ways, by more than 1", "with a reset to two values")),
    *((t, "now") for t in LATCHES.values())])
def test_equal_to_the_transformers_library(text: str, varied: str) -> None:
    model = compiled(text, "mamba")
    assert_equal_in_the_library(model, 2500, varied if varied == "now" else model.outputs[0][0])


def test_a_counter_is_watched_in_both_forms() -> None:
    """Beyond 2^24 ups a float32 counter would stand still: an error instead, also in the library's layers."""
    model = compiled("program p(a: int) -> int:\n    return running_sum(a)\n", "mamba")
    assert model.certificate.horizon is not None
    x = {"a": torch.full((1, 4200), 2**12)}
    with pytest.raises(LsrlError, match="sums are exact up to"):
        model(x)
    if importlib.util.find_spec("transformers") is not None:
        with pytest.raises(LsrlError, match="sums are exact up to"):
            model.to_transformers()(x)


@pytest.mark.parametrize("target, dtype", [("lstm", torch.float32), ("mingru", torch.float32),
                                           ("mamba", torch.float64)])
def test_what_the_library_has_no_layers_for(target: str, dtype: torch.dtype) -> None:
    with pytest.raises(LsrlError) as error:
        compiled("memory/flip_flop", target, dtype).to_transformers()
    assert error.value.diagnostics[0].code == "L410"
    assert error.value.diagnostics[0].help


@pytest.mark.parametrize("target", ["mamba", "rglru"])
def test_the_library_is_missing(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "transformers"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(LsrlError) as error:
        compiled("memory/flip_flop", target).to_transformers()
    assert error.value.diagnostics[0].code == "L410"
    assert "pip install" in (error.value.diagnostics[0].help or "")


def test_a_factor_of_one_half_is_refused() -> None:
    text = "program p(c: bool) -> real:\n    state n: real = 1\n    n := (0.5 if c else 1) * n\n    return n\n"
    with pytest.raises(LsrlError) as error:
        compiled(text, "mamba")
    assert "not always 0 or 1" in error.value.diagnostics[0].message
    assert graph_of(text).name == "p"
