"""Mamba's selective state-space model (Gu and Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State
Spaces", section 3.2, algorithm 2, and the block of section 3.4), as the mixer of its published code.

    x(t), z(t) = W_in s(t) + b_in                      s: the layer below
    u(t) = silu(conv(x)(t))                            causal, depthwise, four taps
    δ(t), B(t), C(t) = W_x u(t)
    Δ(t) = softplus(W_Δ δ(t) + b_Δ)
    h(t) = exp(Δ(t) A) h(t − 1) + Δ(t) B(t) u(t)       A = −exp(A_log); for each channel N states
    y(t) = W_out ((C(t) · h(t) + D u(t)) silu(z(t))) + b_out

With a power of two S at which softplus and silu are their argument, all that follows is exact: silu(S n) is S n for
whole n ≥ 0; B = C = 1/8 and silu(z) = S are constants, and W_out undoes the gain. Δ = 0 keeps a state and admits
nothing; Δ = S with A far below 0 forgets it, and with A = 0 adds to it. A sum that can be cleared has A so small that
Δ = S keeps it and a much larger Δ forgets it. A lag is the convolution's tap one token back, passed on by D.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.error_bound import Accuracy
from lsrl.backends.gated.convolution import NOW, TAPS, ConvolvedMixer, convolved, driver, gates_of, sign_of
from lsrl.backends.gated.plan import rows
from lsrl.backends.gated.scan import gated_scan
from lsrl.backends.gated.target import Gates, gated_target
from lsrl.backends.layers import State
from lsrl.backends.library import LibraryMixer, fill, import_part
from lsrl.backends.linear_form import ZERO, Form, constant

__all__ = ["TARGET", "MambaMixer"]

SCALE = {torch.float32: 32.0, torch.float64: 64.0}  # S
SHUT = {torch.float32: 128.0, torch.float64: 1024.0}  # exp(−x), and softplus(−x), are 0
# For sums that are cleared: |A| = 2^−p and Δ = 2^q, so that exp(−S 2^−p) rounds to 1 and exp(−2^(q − p)) to 0.
CLEARED = {torch.float32: (35, 43), torch.float64: (70, 81)}
FINE = 2.0**30  # by how much channels of numbers that are not whole are larger: SiLU takes at most 0.28 off them
_NEVER = -200.0  # A_log of a state that is never forgotten: exp(−200) S is 0 or rounds away beside 1


class MambaMixer(ConvolvedMixer):
    """See the module. Parameters are named and shaped as in the published code; `rank` is the size of δ."""

    def __init__(self, inputs: int, units: int, channels: int, rank: int, states: int, dtype: torch.dtype) -> None:
        super().__init__(inputs, units, channels, states)
        self.rank = rank
        self.scale = SCALE[dtype]
        self.gain = self.scale**2 / 8
        self.in_proj = nn.Linear(inputs, 2 * channels, dtype=dtype)
        self.conv1d = nn.Conv1d(channels, channels, TAPS, groups=channels, dtype=dtype)
        self.x_proj = nn.Linear(channels, rank + 2 * states, bias=False, dtype=dtype)
        self.dt_proj = nn.Linear(rank, channels, dtype=dtype)
        self.A_log = nn.Parameter(torch.zeros(channels, states, dtype=dtype))
        self.D = nn.Parameter(torch.zeros(channels, dtype=dtype))
        self.out_proj = nn.Linear(channels, units, dtype=dtype)

    def config(self) -> dict[str, Any]:
        return {"units": self.units, "channels": self.channels, "rank": self.rank, "states": self.states}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        x, z = self.in_proj(x).chunk(2, -1)
        x, before = convolved(x, state[1], self.conv1d)
        u = nn.functional.silu(x)
        delta, b, c = self.x_proj(u).split([self.rank, self.states, self.states], -1)
        delta = nn.functional.softplus(self.dt_proj(delta)).unsqueeze(-1)
        keep = torch.exp(delta * -torch.exp(self.A_log))
        add = delta * b.unsqueeze(-2) * u.unsqueeze(-1)
        h = gated_scan(keep.flatten(2), add.flatten(2), state[0])
        y = (h.reshape(*u.shape, self.states) @ c.unsqueeze(-1)).squeeze(-1) + u * self.D
        return self.out_proj(y * nn.functional.silu(z)), (h[:, -1], before)


    def to_transformers(self) -> LibraryMixer:
        """The library's MambaMixer, as wide as the widest of inputs, channels and units."""
        n, rank, states = max(self.inputs, self.channels, self.units), self.rank, self.states
        config = import_part("models.mamba.configuration_mamba").MambaConfig(
            hidden_size=n, expand=1, state_size=states, conv_kernel=TAPS, time_step_rank=rank, use_bias=True,
            use_conv_bias=True, num_hidden_layers=1, vocab_size=1)
        with torch.random.fork_rng(devices=[]):
            layer = import_part("models.mamba.modeling_mamba").MambaMixer(config, 0)
        own = dict(self.named_parameters())
        for name, parameter in layer.named_parameters():
            with torch.no_grad():
                parameter.zero_()
            if name.startswith("in_proj"):  # x and z, each of n channels there
                fill(parameter, own[name][: self.channels])
                fill(parameter, own[name][self.channels :], n)
            else:
                fill(parameter, own[name])
        return LibraryMixer(layer, n, self.units, lambda layer, x: layer(x))


@dataclass(frozen=True, slots=True)
class _Channel:
    """One channel: S · `takes` goes in at a tap; Δ = softplus(S `clear` · write + bias) with a write gate's number."""

    takes: Form
    tap: int = NOW
    gate: int | None = None
    clear: float = 0.0
    bias: float = 0.0
    a_log: float = 0.0
    skip: float = 0.0


def make(units: Sequence[Gated | Lag], inputs: int, dtype: torch.dtype) -> MambaMixer:
    """The mixer of some units; its channels are the units, their write gates, and the constant S."""
    scale = SCALE[dtype]
    writes, which = gates_of(units)
    channels = [_channel(u, gate, dtype) for u, gate in zip(units, which, strict=True)]
    channels += [_Channel(w, bias=-SHUT[dtype]) for w in writes]
    channels.append(_Channel(constant(1), bias=-SHUT[dtype]))
    n, rank = len(channels), max(1, len(writes))
    mixer = MambaMixer(inputs, len(units), n, rank, 1, dtype)
    gains = [FINE if u.fine else 1.0 for u in units]
    mixer.describe(units, gains)
    weight, bias = rows([c.takes for c in channels], inputs)
    larger = torch.tensor(gains + [1.0] * (n - len(units)), dtype=torch.float64)
    weight, bias = weight * larger.unsqueeze(-1), bias * larger
    assert mixer.conv1d.bias is not None
    with torch.no_grad():
        for p in mixer.parameters():
            p.zero_()
        mixer.in_proj.weight[:n] = scale * weight
        mixer.in_proj.bias[:n] = scale * bias
        mixer.in_proj.bias[n - 1] = 0  # the constant comes from the convolution, whose past is zero at first
        mixer.in_proj.bias[n:] = scale
        mixer.conv1d.bias[n - 1] = scale
        for j in range(len(writes)):
            mixer.x_proj.weight[j, len(units) + j] = 1
        mixer.x_proj.weight[rank:, n - 1] = 1 / (8 * scale)
        for k, c in enumerate(channels):
            if k != n - 1:
                mixer.conv1d.weight[k, 0, c.tap] = 1
            if c.gate is not None:
                mixer.dt_proj.weight[k, c.gate] = c.clear
            mixer.dt_proj.bias[k] = c.bias
            mixer.A_log[k] = c.a_log
            mixer.D[k] = c.skip
        for k, u in enumerate(units):
            gain = gains[k] * scale * (mixer.gain / 8 if isinstance(u, Gated) else scale)
            mixer.out_proj.weight[k, k] = sign_of(u) / gain
            mixer.out_proj.bias[k] = float(u.start)
    return mixer


def _channel(unit: Gated | Lag, gate: int | None, dtype: torch.dtype) -> _Channel:
    scale, shut = SCALE[dtype], SHUT[dtype]
    takes = driver(unit)
    if isinstance(unit, Lag):
        return _Channel(takes, NOW - 1, bias=-shut, skip=1.0)
    if gate is None:
        keeps = unit.keeps[0][0] if unit.keeps else ZERO
        forgets = shut if keeps.bias == 0 else -math.log(keeps.bias)
        return _Channel(takes, bias=scale, a_log=math.log(forgets / scale) if forgets else _NEVER)
    if unit.adds:
        small, large = CLEARED[dtype]
        return _Channel(takes, gate=gate, clear=2.0**large / scale, bias=scale, a_log=-small * math.log(2))
    return _Channel(takes, gate=gate, clear=shut / scale + 1, bias=-shut, a_log=math.log(shut / scale))


TARGET = gated_target("mamba", "Mamba (Gu and Dao 2023): latches, counters with resets, delays, and what is made of "
                      "them", MambaMixer, make,
                      Gates(keeps="free", lag="exact", steps="above", masks="steps", apart=True, from_zero=True),
                      saturation="softplus, silu and exp are exact at all arguments that occur",
                      accuracy=Accuracy(floor=2.0**-36))
