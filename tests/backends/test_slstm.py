"""The sLSTM layer against its equations as published, without the stabiliser; its bits; its files."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from lsrl.backends.model import load_model
from lsrl.backends.registry import compile_graph
from lsrl.backends.slstm import SLSTM
from tests.backends.automata import random_automaton


def filled(layer: SLSTM, seed: int) -> SLSTM:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return layer


def reference(layer: SLSTM, x: list[list[float]]) -> list[list[float]]:
    """h of every token by the equations before they are stabilised: c and n themselves, gates exp and σ; in floats."""
    width, block = layer.width, layer.width // layer.heads
    w, r, b = layer.weight.tolist(), layer.recurrent.tolist(), layer.bias.tolist()
    h, c, n = [0.0] * width, [0.0] * width, [0.0] * width
    out = []
    for row in x:
        def gate(which: int, unit: int, h: list[float] = h, row: list[float] = row) -> float:
            head, place = divmod(unit, block)
            own = sum(r[which][head][place][j] * h[head * block + j] for j in range(block))
            below = sum(a * v for a, v in zip(w[which * width + unit], row, strict=True))
            return float(below + own + b[which * width + unit])

        new = []
        for u in range(width):
            i, f = math.exp(gate(0, u)), gate(1, u)
            f = math.exp(f) if layer.exponential_forget else 1 / (1 + math.exp(-f))
            c[u] = f * c[u] + i * math.tanh(gate(2, u))
            n[u] = f * n[u] + i
            new.append(c[u] / n[u] / (1 + math.exp(-gate(3, u))))
        h = new
        out.append(h)
    return out


@pytest.mark.parametrize(("heads", "exponential"), [(1, False), (2, False), (4, True)])
def test_the_layer_computes_the_published_equations(heads: int, exponential: bool) -> None:
    layer = filled(SLSTM(3, 4, torch.float64, heads, exponential), heads)
    x = torch.randn(2, 30, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    zero = torch.zeros(2, 4, dtype=torch.float64)
    state: tuple[torch.Tensor, ...] = (zero, zero, zero, torch.full_like(zero, -math.inf))  # nothing was ever admitted
    with torch.no_grad():
        got, after = layer(x, state)
        for t in range(30):
            one, state = layer.step(x[:, t], state)
            assert torch.equal(one, state[0])
            assert torch.allclose(one, got[:, t], rtol=1e-12, atol=1e-12)
    assert all(torch.allclose(a, b) for a, b in zip(state, after, strict=True))
    for k in range(2):
        assert torch.allclose(got[k], torch.tensor(reference(layer, x[k].tolist()), dtype=torch.float64), rtol=1e-9)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="do not divide"):
        SLSTM(2, 5, torch.float32, heads=2)


def test_bits_are_exact_and_the_normaliser_stays_one() -> None:
    rng = random.Random(3)
    automaton = random_automaton(rng, 9, 3)
    model = compile_graph(automaton.graph(), "slstm")
    word = [rng.randrange(3) for _ in range(500)]
    state = model.initial_state(1)
    out = []
    for x in word:
        y, state = model.step(torch.tensor([x]), state)
        out.append(int(y))
        h, c, n, m = state
        assert torch.equal(h.abs(), torch.ones_like(h)) and torch.equal(h, c)
        assert torch.equal(n, torch.ones_like(n)) and torch.equal(m, torch.zeros_like(m))
    assert out == automaton.run(word) == model(torch.tensor([word]))[0][0].tolist()


def test_save_load_probe_and_poke(tmp_path: Path) -> None:
    rng = random.Random(4)
    automaton = random_automaton(rng, 5, 2)
    model = compile_graph(automaton.graph(), "slstm", torch.float64)
    model.save(tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    word = torch.tensor([[rng.randrange(2) for _ in range(50)]])
    out, state = model(word)
    assert torch.equal(again(word)[0], out)
    reachable = {0}
    for _ in range(5):
        reachable |= {automaton.next[q][x] for q in reachable for x in range(2)}
    for q in sorted(reachable):
        poked = model.poke(state, "q", q)
        assert model.probe(poked, "q").tolist() == [q]
        assert model(torch.tensor([[1]]), poked)[0].tolist() == [[automaton.output[q][1]]]


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("change", ["none", "reads itself", "reads another", "is held", "keeps some", "forgets half",
                                    "admits less"])
def test_units_without_memory_are_no_loop(heads: int, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tokens at once equal one token after another, and only units with a memory are gone through one by one."""
    generator = torch.Generator().manual_seed(heads)
    layer = SLSTM(3, 6, torch.float32, heads).requires_grad_(False)
    weight, bias = layer.weight.view(4, 6, 3), layer.bias.view(4, 6)
    weight[2] = torch.randint(-2, 3, (6, 3), generator=generator) * 20 + 10
    weight[3, 5] = torch.tensor([0.5, -1, 2])  # of its output gate: no memory
    bias[1] = -200
    if change.startswith("reads"):
        layer.recurrent[2, -1, 1, 1 if change == "reads itself" else 2] = 30
    elif change == "is held":
        weight[0, 4], weight[1, 4], bias[1, 4] = torch.tensor([-400.0, 0, 0]), torch.tensor([1000.0, 0, 0]), -400
    elif change == "keeps some":
        weight[1, 4] = torch.tensor([1000.0, 0, 0])
    elif change == "forgets half":
        bias[1, 4] = 0
    elif change == "admits less":
        weight[0, 4] = torch.tensor([-2.0, -150, 70])
    x = torch.randint(0, 2, (2, 25, 3), generator=generator).float()
    before = tuple(torch.full((2, 6), value) for value in (1.0, 1.0, 1.0, 0.0))
    steps: list[int] = []
    original = SLSTM._next

    def counted(self: SLSTM, below: torch.Tensor, *rest: Any) -> Any:
        steps.append(below.shape[2])
        return original(self, below, *rest)

    monkeypatch.setattr(SLSTM, "_next", counted)
    shown, after = layer(x, before)
    units = {"none": 0, "reads another": 2}.get(change, 1)
    assert steps == [6 if heads > 1 else units] * 25 * bool(units)
    for t in range(25):
        one, before = layer.step(x[:, t], before)
        assert torch.equal(one, shown[:, t])
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert (shown[:, 1:] != shown[:, :-1]).any()
