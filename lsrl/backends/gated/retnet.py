"""RetNet's retention (Sun et al. 2023, "Retentive Network: A Successor to Transformer for Large Language Models",
section 2.1, equations 1 to 3), with heads of one key and one value channel.

    s(t) = γ exp(iθ) s(t − 1) + K(t)ᵀ v(t),  o(t) = Re(Q(t) s(t))
    y(t) = (Swish(W_G x(t) + b_G) ⊙ o(t)) W_O + b_O

with Q, K, v affine in x(t) (their biases stand for that of the norm in front of the published layer, seen through the
projection); γ and θ are constants of a head. This is the paper's equation 2 with A diagonal; its rotation of Q and K by
the position is the same sum with exp(iθ) taken out of the state. The GroupNorm of o is left out. γ = 1 − 2⁻⁵⁻ʰ in the
paper's experiments; here it is 1 (accumulators), 0, or a power of two, exactly: what is left of a lag's older digits is
rounded away, and it shows bits without an error. A half turn (θ = π) is a factor of −1 (`polar.turned`). Whether a
value is kept cannot depend on the input, so latches are not hosted. Q = K = 1, and Swish(64) = 64 is taken back in W_O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.error_bound import Accuracy
from lsrl.backends.gated.layers import Projection
from lsrl.backends.gated.plan import OPEN, always, make_plan, rows
from lsrl.backends.gated.polar import HALF_TURN, ComplexMixer, constant_factors, turned
from lsrl.backends.gated.target import Gates, gated_target

__all__ = ["TARGET", "Retention"]


class Retention(ComplexMixer):
    """See the module."""

    def __init__(self, inputs: int, units: int, channels: int, dtype: torch.dtype) -> None:
        super().__init__(inputs, units, channels, dtype)
        self.q, self.k, self.v, self.gate = (
            Projection(inputs, channels, dtype=dtype) for _ in range(4))
        self.gamma = nn.Parameter(torch.zeros(channels, dtype=dtype))
        self.theta = nn.Parameter(torch.zeros(channels, dtype=dtype))

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kv = self.k(x) * self.v(x)
        b = torch.complex(kv, torch.zeros_like(kv))
        return (self.gamma * turned(self.theta)).expand_as(b), b

    def shown(self, h: Tensor, x: Tensor) -> Tensor:
        q: Tensor = self.q(x)
        return q * h.real * nn.functional.silu(self.gate(x))


def make(units: Sequence[Gated | Lag], inputs: int, dtype: torch.dtype) -> Retention:
    """The mixer of some units."""
    plan = make_plan(units, dtype, shared=False)
    n = len(plan.channels)
    mixer = Retention(inputs, len(units), n, dtype)
    mixer.fill(replace(plan, readout=plan.readout / OPEN), {
        "v": rows([c.add for c in plan.channels], inputs), "q": always(n, inputs, 1), "k": always(n, inputs, 1),
        "gate": always(n, inputs, OPEN)})
    factors = constant_factors(plan.channels)
    with torch.no_grad():
        mixer.gamma.copy_(torch.tensor([float(abs(f)) for f in factors], dtype=torch.float64))
        mixer.theta.copy_(torch.tensor([HALF_TURN if f < 0 else 0.0 for f in factors], dtype=torch.float64))
    return mixer


TARGET = gated_target("retnet", "RetNet's retention (Sun et al. 2023): accumulators, delays of bits", Retention, make,
                      Gates(keeps="constant", lag="bits", signs=True),
                      "every factor is −1, 0, 1 or a power of two exactly",
                      accuracy=Accuracy(stored=True))
