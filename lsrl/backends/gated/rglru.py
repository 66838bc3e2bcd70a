"""The RG-LRU in Griffin's recurrent block.

As in De et al. 2024, "Griffin: Mixing Gated Linear Recurrences with Local Attention for Efficient Language Models",
sections 2.3 and 2.4, equations 1 to 4:

    g(t) = GeLU(W_y s(t) + b_y)                        s: the layer below; GeLU in its form with tanh
    x(t) = conv(W_x s + b_x)(t)                        causal, depthwise, four taps
    r(t) = σ(W_a x(t) + b_a),  i(t) = σ(W_i x(t) + b_i)    W_a, W_i of blocks along the diagonal, one a head
    a(t) = exp(−8 softplus(Λ) r(t))
    h(t) = a(t) ⊙ h(t − 1) + √(1 − a(t)²) ⊙ (i(t) ⊙ x(t))
    y(t) = W_out (h(t) ⊙ g(t)) + b_out

r = 0 gives a = 1, and then nothing is admitted; r = 1 with Λ = S gives a = exp(−8 S) = 0, and the input's factor is 1.
So latches are hosted and counters are not. g = S and i = 1 are constants, S a power of two at which GeLU and softplus
are their argument. The gates read x, so for each that is needed a channel of x carries it. A lag is the convolution's
tap one token back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.error_bound import Accuracy
from lsrl.backends.gated.convolution import NOW, TAPS, ConvolvedMixer, convolved, driver, gates_of, kept_by, sign_of
from lsrl.backends.gated.plan import GATE, log_odds, rows
from lsrl.backends.gated.scan import gated_scan
from lsrl.backends.gated.target import Gates, gated_target
from lsrl.backends.layers import State
from lsrl.backends.library import LibraryMixer, fill, import_part
from lsrl.backends.linear_form import Form

__all__ = ["TARGET", "RGLRU", "RecurrentBlock"]

SCALE = {torch.float32: 32.0, torch.float64: 128.0}  # S


class RGLRU(nn.Module):
    """The recurrence; parameters are named and shaped as in the published code: gates (heads, n, n) and (heads, n)."""

    def __init__(self, width: int, heads: int, dtype: torch.dtype) -> None:
        super().__init__()
        n = width // heads
        self.heads = heads
        self.recurrent_param = nn.Parameter(torch.zeros(width, dtype=dtype))
        self.input_gate_weight = nn.Parameter(torch.zeros(heads, n, n, dtype=dtype))
        self.input_gate_bias = nn.Parameter(torch.zeros(heads, n, dtype=dtype))
        self.recurrent_gate_weight = nn.Parameter(torch.zeros(heads, n, n, dtype=dtype))
        self.recurrent_gate_bias = nn.Parameter(torch.zeros(heads, n, dtype=dtype))

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """x (B, T, width) and the h (B, width) before → (B, T, width)."""
        parts = x.reshape(*x.shape[:-1], self.heads, 1, -1)
        i = torch.sigmoid(parts @ self.input_gate_weight + self.input_gate_bias.unsqueeze(-2)).flatten(-3)
        r = torch.sigmoid(parts @ self.recurrent_gate_weight + self.recurrent_gate_bias.unsqueeze(-2)).flatten(-3)
        log = -8.0 * r * nn.functional.softplus(self.recurrent_param)
        return gated_scan(torch.exp(log), torch.sqrt(1 - torch.exp(2 * log)) * (i * x), h)


class RecurrentBlock(ConvolvedMixer):
    """Griffin's recurrent block; see the module."""

    def __init__(self, inputs: int, units: int, channels: int, heads: int, dtype: torch.dtype) -> None:
        super().__init__(inputs, units, channels)
        self.linear_y = nn.Linear(inputs, channels, dtype=dtype)
        self.linear_x = nn.Linear(inputs, channels, dtype=dtype)
        self.conv_1d = nn.Conv1d(channels, channels, TAPS, groups=channels, dtype=dtype)
        self.rg_lru = RGLRU(channels, heads, dtype)
        self.linear_out = nn.Linear(channels, units, dtype=dtype)

    def config(self) -> dict[str, Any]:
        return {"units": self.units, "channels": self.channels, "heads": self.rg_lru.heads}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        gate = nn.functional.gelu(self.linear_y(x), approximate="tanh")
        x, before = convolved(self.linear_x(x), state[1], self.conv_1d)
        h = self.rg_lru(x, state[0])
        return self.linear_out(h * gate), (h[:, -1], before)

    def to_transformers(self) -> LibraryMixer:
        """The library's recurrent block with its RecurrentGemmaRglru, as wide as the widest of inputs, channels, units.

        Padding a block-diagonal gate would move its blocks, so there must be one head.
        """
        n = max(self.inputs, self.channels, self.units)
        if self.rg_lru.heads != 1:
            raise ValueError(f"{self.rg_lru.heads} heads")
        config = import_part("models.recurrent_gemma.configuration_recurrent_gemma").RecurrentGemmaConfig(
            hidden_size=n, lru_width=n, num_attention_heads=1, conv1d_width=TAPS, num_hidden_layers=1, vocab_size=1,
            eos_token_id=None, bos_token_id=None, intermediate_size=n, hidden_activation="gelu_pytorch_tanh")
        with torch.random.fork_rng(devices=[]):
            modeling = import_part("models.recurrent_gemma.modeling_recurrent_gemma")
            layer = modeling.RecurrentGemmaRecurrentBlock(config, 0)
        own = dict(self.named_parameters())
        for name, parameter in layer.named_parameters():
            with torch.no_grad():
                parameter.zero_()
            fill(parameter, own[name])
        return LibraryMixer(layer, n, self.units, _run)


def _run(block: nn.Module, x: Tensor) -> Tensor:
    places = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
    shown: Tensor = block(x, places, None, use_cache=False)[0]
    return shown


def make(units: Sequence[Gated | Lag], inputs: int, dtype: torch.dtype) -> RecurrentBlock:
    """The block of some units; its channels are the units, then their write gates."""
    scale, strength = SCALE[dtype], GATE[dtype]
    writes, which = gates_of(units)
    takes: list[Form] = [*(_taken(u) for u in units), *writes]
    n = len(takes)
    block = RecurrentBlock(inputs, len(units), n, 1, dtype)
    block.describe(units)
    weight, bias = rows(takes, inputs)
    with torch.no_grad():
        for p in block.parameters():
            p.zero_()
        block.linear_y.bias.fill_(scale)
        block.linear_x.weight.copy_(weight)
        block.linear_x.bias.copy_(bias)
        block.rg_lru.recurrent_param.fill_(scale)
        block.rg_lru.input_gate_bias.fill_(strength)
        block.rg_lru.recurrent_gate_bias.fill_(strength)
        for k in range(n):
            unit = units[k] if k < len(units) else None
            block.conv_1d.weight[k, 0, NOW - isinstance(unit, Lag)] = 1
            gate = which[k] if k < len(units) else None
            kept = kept_by(unit) if isinstance(unit, Gated) else Fraction(0)
            level = -strength if kept in (0, 1) else log_odds(Fraction(-math.log(kept) / (8 * scale)))
            if gate is not None:  # strength where it is written, a level below it where it is kept
                block.rg_lru.recurrent_gate_weight[0, len(units) + gate, k] = strength - level
                block.rg_lru.recurrent_gate_bias[0, k] = level
                if isinstance(unit, Gated) and unit.masked:  # also at the first token, where the library's 1 − a² is 1
                    block.rg_lru.input_gate_weight[0, len(units) + gate, k] = 2 * strength
                    block.rg_lru.input_gate_bias[0, k] = -strength
            elif kept == 1:
                raise ValueError("what is always kept cannot be added to")
            elif kept:
                block.rg_lru.recurrent_gate_bias[0, k] = level
            if unit is not None:
                block.linear_out.weight[k, k] = sign_of(unit) / scale
                block.linear_out.bias[k] = float(unit.start)
    return block


def _taken(unit: Gated | Lag) -> Form:
    """What a unit's channel takes in: what is added while it is kept, over √(1 − a²), and what it is set to."""
    if isinstance(unit, Lag) or unit.split is None:
        return driver(unit)
    kept, set_ = unit.split
    a = kept_by(unit)
    return kept.scale(Fraction(1 / math.sqrt(1 - a * a))) + set_


TARGET = gated_target("rglru", "RG-LRU in Griffin's block (De et al. 2024): latches, delays, and what is made of them",
                      RecurrentBlock, make,
                      Gates(keeps="shared", lag="exact", steps="any", masks="steps", from_zero=True),
                      saturation="every gate is 0 or 1 exactly, and GeLU its argument", accuracy=Accuracy(by_gap=True))
