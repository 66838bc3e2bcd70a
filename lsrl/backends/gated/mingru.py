"""minGRU (Feng et al. 2024, "Were RNNs All We Needed?", section 3.1).

    z(t) = σ(W_z x(t) + b_z)
    h(t) = (1 − z(t)) ⊙ h(t − 1) + z(t) ⊙ (W_h x(t) + b_h)

and a linear read-out of h. One gate both keeps and admits: what is held cannot be added to, so latches are hosted and
counters are not. σ is 0 or 1 exactly at |argument| = 200 in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.gated.layers import DiagonalMixer, Projection
from lsrl.backends.gated.plan import GATE, gate_rows, make_plan, rows
from lsrl.backends.gated.target import Gates, gated_target

__all__ = ["TARGET", "MinGRU"]


class MinGRU(DiagonalMixer):
    """See the module."""

    def __init__(self, inputs: int, units: int, channels: int, dtype: torch.dtype) -> None:
        super().__init__(inputs, units, channels, dtype)
        self.z = Projection(inputs, channels, dtype=dtype)
        self.h = Projection(inputs, channels, dtype=dtype)

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.sigmoid(self.z(x))
        return 1 - z, z * self.h(x)


def make(units: Sequence[Gated | Lag], inputs: int, dtype: torch.dtype) -> MinGRU:
    """The mixer of some units."""
    plan = make_plan(units, dtype, shared=True)
    mixer = MinGRU(inputs, len(units), len(plan.channels), dtype)
    keep = gate_rows(plan.channels, inputs, GATE[dtype])
    mixer.fill(plan, {"z": (-keep[0], -keep[1]), "h": rows([c.add for c in plan.channels], inputs)})
    return mixer


TARGET = gated_target("mingru", "minGRU (Feng et al. 2024): latches and what is made of them", MinGRU, make,
                      Gates(keeps="shared", lag="bits", steps="any", masks="steps", slips=Fraction(1, 2**60)))
