"""GateLoop (Katsch 2023, "GateLoop: Fully Data-Controlled Linear Recurrence for Sequence Modeling", section 3), with
heads of one channel ("max-headed").

    a(t) = σ(W_α x(t) + b_α) ⊙ exp(i (W_β x(t) + b_β))
    h(t) = a(t) ⊙ h(t − 1) + k(t) ⊙ v(t)
    y(t) = W_o (Re(q(t) ⊙ h(t)) ⊙ SiLU(W_g x(t) + b_g)) + b_o

with q, k, v affine in x(t) and real. The norm that the published block has before the gate is left out. The factor is
complex and depends on the input, apart from what is added: counters and latches are hosted, and so are bits that inputs
swap, such as parity, as a = −1 is a half turn. For that angles are reduced by their quarter turns first
(`polar.turned`). Here q = k = 1, and SiLU(64) = 64 is taken back in W_o.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.gated.layers import Projection
from lsrl.backends.gated.plan import GATE, OPEN, always, gate_rows, make_plan, rows
from lsrl.backends.gated.polar import HALF_TURN, ComplexMixer, turned
from lsrl.backends.gated.target import Gates, gated_target
from lsrl.backends.linear_form import constant

__all__ = ["TARGET", "GateLoop"]


class GateLoop(ComplexMixer):
    """See the module."""

    def __init__(self, inputs: int, units: int, channels: int, dtype: torch.dtype) -> None:
        super().__init__(inputs, units, channels, dtype)
        self.alpha, self.beta, self.q, self.k, self.v, self.gate = (
            Projection(inputs, channels, dtype=dtype) for _ in range(6))

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kv = self.k(x) * self.v(x)
        return torch.sigmoid(self.alpha(x)) * turned(self.beta(x)), torch.complex(kv, torch.zeros_like(kv))

    def shown(self, h: Tensor, x: Tensor) -> Tensor:
        q: Tensor = self.q(x)
        return q * h.real * nn.functional.silu(self.gate(x))


def make(units: Sequence[Gated | Lag], inputs: int, dtype: torch.dtype) -> GateLoop:
    """The mixer of some units."""
    plan = make_plan(units, dtype, shared=False)
    mixer = GateLoop(inputs, len(units), len(plan.channels), dtype)
    # A constant factor of −1 may stand in `keep` itself.
    negative = [c.keep.is_constant and c.keep.bias < 0 for c in plan.channels]
    keeps = [replace(c, keep=c.keep.scale(-1), top=abs(Fraction(c.top))) if m else c
             for c, m in zip(plan.channels, negative, strict=True)]
    flips = [constant(1) - c.flip if m else c.flip for c, m in zip(plan.channels, negative, strict=True)]
    angle, shift = rows(flips, inputs)
    n = len(plan.channels)
    mixer.fill(replace(plan, readout=plan.readout / OPEN), {
        "alpha": gate_rows(keeps, inputs, GATE[dtype]), "beta": (angle * HALF_TURN, shift * HALF_TURN),
        "v": rows([c.add for c in plan.channels], inputs), "q": always(n, inputs, 1),
        "k": rows([c.by for c in plan.channels], inputs),
        "gate": always(n, inputs, OPEN)})
    return mixer


TARGET = gated_target("gateloop", "GateLoop (Katsch 2023): latches, counters, bits that are swapped", GateLoop, make,
                      Gates(keeps="free", lag="bits", signs=True, steps="any", masks="bits"),
                      "every factor is −1, 0 or 1 exactly")
