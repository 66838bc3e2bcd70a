"""RWKV-6 time mixing (Peng et al. 2024, "Eagle and Finch: RWKV with Matrix-Valued States and Dynamic Recurrence",
section 4.2), with heads of one key and one value channel.

    lora_□(x) = λ_□ + tanh(x A_□) B_□
    ddlerp_□(a, b) = a + (b − a) ⊙ lora_□(a + (b − a) ⊙ μ_x)
    □(t) = W_□ ddlerp_□(x(t), x(t − 1)) + b_□   for □ in r, k, v, g
    d(t) = lora_d(ddlerp_d(x(t), x(t − 1))),  w(t) = exp(−exp(d(t)))
    wkv(t) = s(t − 1) + u ⊙ k(t) v(t),  s(t) = w(t) ⊙ s(t − 1) + k(t) v(t)
    y(t) = W_o (SiLU(g(t)) ⊙ r(t) ⊙ wkv(t)) + b_o

The biases b_□, and that inside lora_d's tanh, stand for that of the norm in front of the published layer, seen through
the matrix; the norm of r ⊙ wkv is left out. The decay depends on the input apart from what is added, so latches and
counters are hosted, and as it lies in [0, 1], no swaps. With u = 0 a unit shows its value before the token: the value
after it is a map of that and the input, and a channel that keeps nothing is a delay of any number. w is 1 exactly at
d = −64 and 0 at d = 64; tanh(±40) = ±1. λ and B of the ddlerps are 0, so that x(t − 1) has no weight. Here r = k = 1,
and SiLU(64) = 64 is taken back in W_o.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.gated.layers import DiagonalMixer, Projection
from lsrl.backends.gated.plan import OPEN, always, make_plan, rows, switched_rows
from lsrl.backends.gated.scan import gated_scan, shifted
from lsrl.backends.gated.target import Gates, gated_target
from lsrl.backends.layers import State

__all__ = ["TARGET", "TimeMixing"]

DECAY, TANH, RANK = 64.0, 20.0, 1


class TimeMixing(DiagonalMixer):
    """See the module. The rank of A and B is 1 in the ddlerps and the number of channels in lora_d."""

    def __init__(self, inputs: int, units: int, channels: int, dtype: torch.dtype) -> None:
        super().__init__(inputs, units, channels, dtype)
        self.tensors = (("s", channels), ("x", inputs))
        self.r, self.k, self.v, self.g = (
            Projection(inputs, channels, dtype=dtype) for _ in range(4))
        self.mu = nn.Parameter(torch.zeros(inputs, dtype=dtype))
        self.lerp_a = nn.Parameter(torch.zeros(5, inputs, RANK, dtype=dtype))
        self.lerp_b = nn.Parameter(torch.zeros(5, RANK, inputs, dtype=dtype))
        self.lerp_base = nn.Parameter(torch.zeros(5, inputs, dtype=dtype))
        self.decay_a = Projection(inputs, channels, dtype=dtype)
        self.decay_b = Projection(channels, channels, dtype=dtype)
        self.bonus = nn.Parameter(torch.zeros(channels, dtype=dtype))

    def mixed(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x, x one token before (…, inputs) → decay w, k v, r, SiLU(g), each (…, channels)."""
        gap = before - x
        low = torch.tanh(torch.einsum("...i,nir->...nr", x + gap * self.mu, self.lerp_a))
        lora = self.lerp_base + torch.einsum("...nr,nri->...ni", low, self.lerp_b)
        r, k, v, d, g = (x.unsqueeze(-2) + gap.unsqueeze(-2) * lora).unbind(-2)
        decay = torch.exp(-torch.exp(self.decay_b(torch.tanh(self.decay_a(d)))))
        return decay, self.k(k) * self.v(v), self.r(r), nn.functional.silu(self.g(g))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        w, kv, r, g = self.mixed(x, shifted(x, state[1]))
        s = gated_scan(w, kv, state[0])
        return self.output(g * r * (shifted(s, state[0]) + self.bonus * kv)), (s[:, -1], x[:, -1])

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        w, kv, r, g = self.mixed(x, state[1])
        return self.output(g * r * (state[0] + self.bonus * kv)), (w * state[0] + kv, x)


def make(units: Sequence[Gated | Lag], inputs: int, dtype: torch.dtype) -> TimeMixing:
    """The mixer of some units, all of which show what was before."""
    plan = make_plan(units, dtype, shared=False)
    n = len(plan.channels)
    mixer = TimeMixing(inputs, len(units), n, dtype)
    bits = [c.on for c in plan.channels]
    kept = torch.tensor([_decay(Fraction(top)) for _, top in bits], dtype=torch.float64)
    mixer.fill(replace(plan, readout=plan.readout / OPEN), {
        "decay_a": switched_rows([bit for bit, _ in bits], [TANH] * n, -TANH, inputs),
        "decay_b": (torch.diag((kept - DECAY) / 2), (kept + DECAY) / 2),
        "v": rows([c.add for c in plan.channels], inputs), "r": always(n, inputs, 1),
        "k": rows([c.by for c in plan.channels], inputs), "g": always(n, inputs, OPEN)})
    return mixer


def _decay(keep: Fraction) -> float:
    """d with exp(−exp(d)) = keep; exactly for 1."""
    return -DECAY if keep == 1 else math.log(-math.log(keep))


TARGET = gated_target("rwkv", "RWKV-6 time mixing (Peng et al. 2024): latches, counters, delays", TimeMixing, make,
                      Gates(keeps="free", lag="before", steps="any", masks="bits"))
