"""Gated linear attention (Yang et al. 2023, "Gated Linear Attention Transformers with Hardware-Efficient Training",
section 4), with heads of one key and one value channel.

    α(t) = σ(W_α x(t) + b_α)^(1/τ),  τ = 16
    S(t) = α(t) ⊙ S(t − 1) + k(t)ᵀ v(t),  o(t) = q(t) S(t)
    r(t) = Swish(W_r x(t) + b_r),  y(t) = (r(t) ⊙ o(t)) W_O + b_O

with q, k, v affine in x(t) (their biases stand for that of the norm in front of the published layer, seen through the
projection). W_α is of full rank here, not a product of two thin matrices, and the norm of o is left out. α is computed
as exp(log σ(·) / τ). It depends on the input apart from what is added, so latches and counters are hosted, and as it
lies in [0, 1], no swaps. Here q = k = 1, and Swish(64) = 64 is taken back in W_O.
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
from lsrl.backends.gated.plan import GATE, OPEN, always, gate_rows, make_plan, rows
from lsrl.backends.gated.target import Gates, gated_target

__all__ = ["TARGET", "GatedLinearAttention"]

TAU = 16


class GatedLinearAttention(DiagonalMixer):
    """See the module."""

    def __init__(self, inputs: int, units: int, channels: int, dtype: torch.dtype) -> None:
        super().__init__(inputs, units, channels, dtype)
        self.alpha, self.q, self.k, self.v, self.r = (
            Projection(inputs, channels, dtype=dtype) for _ in range(5))

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.exp(nn.functional.logsigmoid(self.alpha(x)) / TAU), self.k(x) * self.v(x)

    def shown(self, h: Tensor, x: Tensor) -> Tensor:
        q: Tensor = self.q(x)
        return q * h * nn.functional.silu(self.r(x))


def make(units: Sequence[Gated | Lag], inputs: int, dtype: torch.dtype) -> GatedLinearAttention:
    """The mixer of some units."""
    plan = make_plan(units, dtype, shared=False)
    n = len(plan.channels)
    mixer = GatedLinearAttention(inputs, len(units), n, dtype)
    alpha = gate_rows(plan.channels, inputs, TAU * GATE[dtype], _level)
    mixer.fill(replace(plan, readout=plan.readout / OPEN), {
        "alpha": alpha, "v": rows([c.add for c in plan.channels], inputs),
        "q": always(n, inputs, 1), "k": rows([c.by for c in plan.channels], inputs), "r": always(n, inputs, OPEN)})
    return mixer


def _level(keep: Fraction) -> float:
    """z with σ(z)^(1/τ) = keep, though keep^τ may be too small for a float: log of keep^τ / (1 − keep^τ)."""
    log = TAU * math.log(keep)
    return log - math.log(-math.expm1(log))


TARGET = gated_target("gla", "gated linear attention (Yang et al. 2023): latches, counters", GatedLinearAttention, make,
                      Gates(keeps="free", lag="bits", steps="any", masks="bits"))
