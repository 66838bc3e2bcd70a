"""The linear recurrent unit (Orvieto et al. 2023, "Resurrecting Recurrent Neural Networks for Long Sequences", section
3.3 and 3.4).

    Λ = exp(−exp(ν) + iθ)
    h(t) = Λ ⊙ h(t − 1) + exp(γ_log) ⊙ (B x(t)),  y(t) = Re(C h(t)) + D x(t)

B and C complex. B has a bias, which stands for that of the norm in front of the published layer, seen through B.
|Λ| = exp(−exp(ν)) is 1 exactly at ν = −64 and 0 at ν = 8 (exp(8) = 2980, and exp(−746) is 0 even in float64); the
published initial value γ_log = log √(1 − |Λ|²) is −∞ there, but γ_log is a parameter of its own, here 0. A half turn
(θ = π) is a factor of −1, as angles are reduced by their quarter turns first (`polar.turned`). The factor of a lag is
its ε only up to rounding, which the sum with the newest digit rounds away. Whether a value is kept cannot depend on the
input: so accumulators, clocks and delays are hosted, and latches are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.gated.layers import Projection
from lsrl.backends.gated.plan import always, make_plan, rows
from lsrl.backends.gated.polar import HALF_TURN, ComplexMixer, constant_factors, turned
from lsrl.backends.gated.target import Gates, gated_target

__all__ = ["LRU", "TARGET"]


class LRU(ComplexMixer):
    """See the module. `output` has the weights [Re C, −Im C, D] and a bias, for [Re h, Im h, x]."""

    def __init__(self, inputs: int, units: int, channels: int, dtype: torch.dtype) -> None:
        super().__init__(inputs, units, channels, dtype)
        self.output = Projection(2 * channels + inputs, units, dtype=dtype)
        self.real = Projection(inputs, channels, dtype=dtype)
        self.imaginary = Projection(inputs, channels, dtype=dtype)
        self.nu, self.theta, self.gamma_log = (nn.Parameter(torch.zeros(channels, dtype=dtype)) for _ in range(3))

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        b = torch.exp(self.gamma_log) * torch.complex(self.real(x), self.imaginary(x))
        return (torch.exp(-torch.exp(self.nu)) * turned(self.theta)).expand_as(b), b

    def shown(self, h: Tensor, x: Tensor) -> Tensor:
        return torch.cat([h.real, h.imag, x], -1)


def make(units: Sequence[Gated | Lag], inputs: int, dtype: torch.dtype) -> LRU:
    """The mixer of some units."""
    plan = make_plan(units, dtype, shared=False)
    n = len(plan.channels)
    mixer = LRU(inputs, len(units), n, dtype)
    mixer.fill(replace(plan, readout=nn.functional.pad(plan.readout, (0, n + inputs))), {
        "real": rows([c.add for c in plan.channels], inputs), "imaginary": always(n, inputs, 0)})
    factors = constant_factors(plan.channels)
    with torch.no_grad():
        mixer.nu.copy_(torch.tensor([_nu(abs(f)) for f in factors], dtype=torch.float64))
        mixer.theta.copy_(torch.tensor([HALF_TURN if f < 0 else 0.0 for f in factors], dtype=torch.float64))
    return mixer


def _nu(size: Fraction) -> float:
    """ν with exp(−exp(ν)) = size; exactly for 0 and 1."""
    return 8.0 if size == 0 else -64.0 if size == 1 else math.log(-math.log(size))


TARGET = gated_target("lru", "the linear recurrent unit (Orvieto et al. 2023): accumulators, delays of bits", LRU, make,
                      Gates(keeps="constant", lag="bits", signs=True),
                      "every factor is −1, 0 or 1 exactly, but those of lags, whose error is rounded away")
