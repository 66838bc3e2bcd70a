"""HGRN (Qin, Yang and Zhong 2023, "Hierarchically Gated Recurrent Neural Network for Sequence Modeling", section 3.2
and 3.3): the HGRU token mixer.

    μ(t) = σ(W_μ x(t) + b_μ),  λ(t) = γ + (1 − γ) ⊙ μ(t)
    c(t) = SiLU(W_cr x(t) + b_cr) + i · SiLU(W_ci x(t) + b_ci)
    h(t) = λ(t) ⊙ exp(iθ) ⊙ h(t − 1) + (1 − λ(t)) ⊙ c(t)
    g(t) = σ(W_g x(t) + b_g),  y(t) = W_o (g(t) ⊙ [Re h(t), Im h(t)]) + b_o

The published block makes γ of a cumulative softmax over its layers, and normalises g ⊙ h before W_o: here γ is the
parameter itself, and the norm is left out. SiLU(z) is z or 0 exactly from |z| = 256 on in float32 (2048 in float64), so
values enter in steps of that size and W_o takes it back; the positive part of a number is in the real channel and the
negative part in the imaginary one. θ = 0, g = 1. As λ and 1 − λ share one gate, latches are hosted and counters are
not. γ is 0, but ε for a lag's channel, which has μ = 0: the factor is then ε exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.error_bound import Accuracy
from lsrl.backends.gated.layers import Projection
from lsrl.backends.gated.plan import GATE, always, gate_rows, make_plan, rows
from lsrl.backends.gated.polar import ComplexMixer, turned
from lsrl.backends.gated.target import Gates, gated_target
from lsrl.backends.layers import State
from lsrl.backends.linear_form import ZERO

__all__ = ["TARGET", "HGRU"]

# What SiLU lets pass unchanged, or as 0 if it is negative; of a number that is not whole it takes off at most 0.28.
STEP = {torch.float32: 2**30, torch.float64: 2**60}


class HGRU(ComplexMixer):
    """See the module."""

    def __init__(self, inputs: int, units: int, channels: int, dtype: torch.dtype) -> None:
        super().__init__(inputs, units, channels, dtype)
        self.output = Projection(2 * channels, units, dtype=dtype)
        self.mu = Projection(inputs, channels, dtype=dtype)
        self.real = Projection(inputs, channels, dtype=dtype)
        self.imaginary = Projection(inputs, channels, dtype=dtype)
        self.gate = Projection(inputs, 2 * channels, dtype=dtype)
        self.gamma = nn.Parameter(torch.zeros(channels, dtype=dtype))
        self.theta = nn.Parameter(torch.zeros(channels, dtype=dtype))

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        keep = self.gamma + (1 - self.gamma) * torch.sigmoid(self.mu(x))
        candidate = torch.complex(nn.functional.silu(self.real(x)), nn.functional.silu(self.imaginary(x)))
        return keep * turned(self.theta), (1 - keep) * candidate

    def shown(self, h: Tensor, x: Tensor) -> Tensor:
        return torch.sigmoid(self.gate(x)) * torch.cat([h.real, h.imag], -1)

    def contents(self, state: State) -> Tensor:
        re, im = (t[:, : self.units].double() / STEP[self.dtype] for t in state)
        return torch.where(self.lags, (re > 1.5).double(), re - im)

    def state_of(self, contents: Tensor) -> State:
        x = torch.where(self.lags, contents + 1, contents)
        parts = (STEP[self.dtype] * x.clamp(min=0), STEP[self.dtype] * (-x).clamp(min=0))
        re, im = (nn.functional.pad(t.to(self.dtype), (0, self.channels - self.units)) for t in parts)
        return re, im


def make(units: Sequence[Gated | Lag], inputs: int, dtype: torch.dtype) -> HGRU:
    """The mixer of some units. A lag's digits, which the plan has as −1 and 1, are 1 and 2."""
    plan = make_plan(units, dtype, shared=True)
    step, n = STEP[dtype], len(plan.channels)
    digits = torch.zeros(n, dtype=torch.bool)
    digits[: len(units)] = torch.tensor(plan.lags)
    digits[len(units) :] = True
    readout = plan.readout.double() * torch.where(digits, 2, 1) / step
    bias = plan.bias.double() - 1.5 * digits[: len(units)]
    adds = [(c.add + 3).scale(Fraction(1, 2)) if d else c.add for c, d in zip(plan.channels, digits, strict=True)]
    lowest = [c.keep.bias if c.keep.is_constant and c.keep.bias not in (0, 1) else 0 for c in plan.channels]
    keeps = [replace(c, keep=ZERO) if low else c for c, low in zip(plan.channels, lowest, strict=True)]
    mixer = HGRU(inputs, len(units), n, dtype)
    mixer.fill(replace(plan, readout=torch.cat([readout, -readout], 1), bias=bias), {
        "mu": gate_rows(keeps, inputs, GATE[dtype]),
        "real": rows([a.scale(step) for a in adds], inputs),
        "imaginary": rows([a.scale(-step) for a in adds], inputs),
        "gate": always(2 * n, inputs, GATE[dtype])})
    with torch.no_grad():
        mixer.gamma.copy_(torch.tensor([float(x) for x in lowest], dtype=torch.float64))
    return mixer


TARGET = gated_target("hgrn", "HGRN (Qin et al. 2023): latches and what is made of them", HGRU, make,
                      Gates(keeps="shared", lag="bits", steps="any", masks="steps", slips=Fraction(1, 2**23),
                            slips_always=False),
                      accuracy=Accuracy(by_gap=True, stored=True, floor=2.0**-31))
