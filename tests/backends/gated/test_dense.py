"""Targets whose states mix, `linear`, `bilinear` and `delta`: their equations as published, and what they host."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lsrl.backends.gated.bilinear import Bilinear
from lsrl.backends.gated.delta import Delta, DeltaHead
from lsrl.backends.gated.layers import GatedLayer, Mixer
from lsrl.backends.gated.linear import LinearRecurrence
from lsrl.backends.registry import compile_graph
from lsrl.diagnostics import LsrlError
from lsrl.verify import verify
from tests.backends.gated.checks import (
    ACCUMULATOR,
    COUNTER,
    DELAY,
    DTYPES,
    LATCH,
    check_files,
    check_poke,
    check_program,
    check_refused,
)
from tests.backends.texts import graph_of

FIBONACCI = """program p(x: bool) -> int:
    state a: int = 0
    state b: int = 1
    c = a + b if x else a - b
    a := b
    b := c % 1000
    return a
"""
PAIR = ("program p(x: int[-2..2]) -> int:\n    state a: int = 3\n    state b: int = -1\n    c = a\n    a := b + x\n"
        "    b := c\n    return a\n")
CLOCK = ("program p(x: bool) -> int[0..9]:\n    state n: int[0..2] = 1\n    n := (n + 1) % 3\n"
         "    return n * 2 + int(x)\n")
MODULO = ("program p(x: bool) -> int[0..4]:\n    state n: int[0..4] = 2\n    n := (n + (2 if x else 3)) % 5\n"
          "    return n\n")
MERGE = """program p(x: int[0..2]) -> int[0..2]:
    state q: int[0..2] = 1
    q := 0 if x == 0 and q == 1 else (q + 1) % 3 if x == 1 else q
    return q
"""


def drawn(mixer: Mixer, seed: int, inputs: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Random parameters; x (2, 9, inputs) and a random state, all float64."""
    generator = torch.Generator().manual_seed(seed)
    mixer.requires_grad_(False)
    for p in mixer.parameters():
        p.copy_(torch.randn(*p.shape, generator=generator, dtype=torch.float64) / 2)
    x = torch.randn(2, 9, inputs, generator=generator, dtype=torch.float64)
    return x, tuple(torch.randn(2, w, generator=generator, dtype=torch.float64) for _, w in mixer.tensors)


def compare(mixer: Mixer, inputs: int, step: Callable[[dict[str, Any], np.ndarray, np.ndarray], np.ndarray]) -> None:
    """The parallel form and the steps against a plain loop."""
    x, state = drawn(mixer, 5, inputs)
    got, after = mixer(x, state)
    p = {n: t.numpy() for n, t in mixer.named_parameters()}
    bias = p.get("output.bias", 0.0)
    held = state
    for t in range(9):
        y, held = mixer.step(x[:, t], held)
        np.testing.assert_allclose(y.numpy(), got[:, t].numpy(), rtol=0, atol=1e-10)
    for b in range(2):
        h = state[0][b].numpy()
        for t in range(9):
            h = step(p, h, x[b, t].numpy())
            np.testing.assert_allclose(got[b, t].numpy(), p["output.weight"] @ h + bias, rtol=0, atol=1e-10)
        np.testing.assert_allclose(after[0][b].numpy(), h, rtol=0, atol=1e-10)


def test_the_linear_recurrence() -> None:
    compare(LinearRecurrence(4, 3, 5, torch.float64), 4,
            lambda p, h, x: p["A"] @ h + p["B.weight"] @ x + p["B.bias"])


def test_the_bilinear_recurrence() -> None:
    compare(Bilinear(4, 3, 5, torch.float64), 4, lambda p, h, x: (
        (p["M"][..., :-1] @ x + p["M"][..., -1]) @ h + p["B.weight"] @ x + p["B.bias"]))


def test_delta_product() -> None:
    """Equation 3 of Siems et al., factor after factor, head after head."""
    sizes = ((2, 1, 1), (1, 3, 2))

    def step(p: dict[str, Any], h: np.ndarray, x: np.ndarray) -> np.ndarray:
        parts, at = [], 0
        for g, (heads, n, factors) in enumerate(sizes):
            k, v, z = ((p[f"groups.{g}.{name}.weight"] @ x + p[f"groups.{g}.{name}.bias"])
                       for name in ("k", "v", "beta"))
            k, v, beta = (a.reshape(heads, factors, -1) for a in (k, v, 1 / (1 + np.exp(-z))))
            for i in range(heads):
                own = h[at : at + n]
                for j in range(factors):
                    own = own - beta[i, j] * k[i, j] * (k[i, j] @ own) + beta[i, j] * v[i, j] * k[i, j]
                parts.append(own)
                at += n
        return np.concatenate(parts)

    mixer = Delta(4, 3, [s[0] for s in sizes], [s[1] for s in sizes], [s[2] for s in sizes], torch.float64)
    compare(mixer, 4, step)


ADDITION = """program p(a: bool, b: bool) -> (low: bool, carried: bool):
    state carry: bool = false
    total = int(a) + int(b) + int(carry)
    carry := total >= 2
    return (low = total % 2 == 1, carried = carry)
"""


def test_a_whole_program_as_one_bilinear_layer() -> None:
    """Where that is smaller: two states, and what is shown on the way to each."""
    model = compile_graph(graph_of(ADDITION), "bilinear")
    mixers = [x.mixer for x in model.layers if isinstance(x, GatedLayer)]
    assert [m.channels for m in mixers if isinstance(m, Bilinear) and m.channels] == [4]
    assert model.certificate.width == model.certificate.baseline == 6
    assert verify(graph_of(ADDITION), model).kind == "PROVED"
    check_poke("bilinear", ADDITION, "carry", 0, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("target", "text"), [
    ("linear", ACCUMULATOR), ("linear", DELAY), ("linear", PAIR), ("linear", CLOCK),
    ("bilinear", LATCH), ("bilinear", COUNTER), ("bilinear", ACCUMULATOR), ("bilinear", DELAY), ("bilinear", PAIR),
    ("bilinear", MODULO), ("bilinear", MERGE), ("bilinear", ADDITION), ("delta", LATCH),
    ("delta", MODULO), ("delta", CLOCK)])
def test_states_are_exact(target: str, text: str, dtype: torch.dtype) -> None:
    check_program(target, text, dtype)


@pytest.mark.parametrize("target", ["linear", "bilinear", "delta"])
def test_files(target: str, tmp_path: Path) -> None:
    check_files(target, DELAY, tmp_path)


def test_states_are_read_and_written() -> None:
    check_poke("linear", ACCUMULATOR, "n", 5, -7)
    check_poke("bilinear", COUNTER, "n", 3, -31)
    check_poke("bilinear", MODULO, "n", 2, 4)
    check_poke("delta", MODULO, "n", 2, 4)
    check_poke("delta", LATCH, "v", 2, 0)


@pytest.mark.parametrize("target", ["bilinear", "delta", "lstm", "gru", "rnn_tanh", "rnn_relu"])
def test_the_alternating_group_of_five_points(target: str) -> None:
    """A5 from a rotation of all points and one of three: no solvable group, so no cascade of counters."""
    rotate, three = (1, 2, 3, 4, 0), (1, 2, 0, 3, 4)
    text = f"""program p(x: bool) -> int[0..4]:
    state at: int[0..4] = 0
    at := {"[" + ", ".join(map(str, rotate)) + "]"}[at] if x else {"[" + ", ".join(map(str, three)) + "]"}[at]
    return at
"""
    graph = graph_of(text)
    assert verify(graph, compile_graph(graph, target)).kind == "PROVED"
    for other in ("mingru", "mamba", "gateloop", "linear"):
        with pytest.raises(LsrlError, match="L402"):
            compile_graph(graph, other)


def test_every_permutation_of_four_states_is_a_product_of_swaps() -> None:
    for to in permutations(range(4)):
        text = f"""program p(x: bool) -> int[0..3]:
    state at: int[0..3] = 3
    at := {list(to)}[at] if x else [1, 2, 3, 0][at]
    return at
"""
        graph = graph_of(text)
        assert verify(graph, compile_graph(graph, "delta")).kind == "PROVED"


@pytest.mark.parametrize("part", ["k", "v", "beta"])
def test_mutants_of_delta_are_refuted(part: str) -> None:
    graph = graph_of(MODULO)
    model = compile_graph(graph, "delta")
    mixer = next(x.mixer for x in model.layers if isinstance(x, GatedLayer) and isinstance(x.mixer, Delta))
    head = next(g for g in mixer.groups if isinstance(g, DeltaHead))
    with torch.no_grad():
        head.get_submodule(part).bias.add_(-1e4 if part == "beta" else 1)  # type: ignore[operator]
    assert verify(graph, model).kind == "REFUTED"


def test_mutants_of_linear_and_bilinear_are_refuted() -> None:
    for target, text, name in (("linear", CLOCK, "A"), ("bilinear", MODULO, "M")):
        graph = graph_of(text)
        model = compile_graph(graph, target)
        parameter = next(t for n, t in model.named_parameters() if n.endswith("." + name))
        with torch.no_grad():
            parameter[0].add_(1)
        assert verify(graph, model).kind == "REFUTED"


@pytest.mark.parametrize(("target", "text", "why"), [
    ("linear", LATCH, "the factor of a linear recurrence is a constant"),
    ("linear", MODULO, "it depends on letters of any age"),
    ("delta", COUNTER, "it is added to while it is kept"),
])
def test_what_they_cannot_host_is_refused(target: str, text: str, why: str) -> None:
    check_refused(target, text, why)


def test_a_refusal_gives_every_reason() -> None:
    text = """program p(x: bool, y: bool) -> bool:
    state odd: bool = false
    state third: int[0..2] = 0
    odd := odd != x
    third := (third + int(y)) % 3
    return odd and third == 0
"""
    with pytest.raises(LsrlError) as error:
        compile_graph(graph_of(text), "mamba")
    found = error.value.diagnostics
    assert [d.code for d in found] == ["L402", "L402"]
    assert "Z2" in found[0].message and "Z3" in found[1].message
    assert found[0].span.line == 4 and found[1].span.line == 5
    assert not found[0].help and "`bilinear`" in found[1].help
