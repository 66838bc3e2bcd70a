"""minLSTM (Feng et al. 2024, "Were RNNs All We Needed?", section 3.2).

    f(t) = σ(W_f x(t) + b_f),  i(t) = σ(W_i x(t) + b_i)
    f'(t) = f(t) / (f(t) + i(t)),  i'(t) = i(t) / (f(t) + i(t))
    h(t) = f'(t) ⊙ h(t − 1) + i'(t) ⊙ (W_h x(t) + b_h)

and a linear read-out of h. As f' + i' = 1, what is held cannot be added to: latches are hosted and counters are not.
Here one of f and i is 1 and the other 0, exactly; a lag's channel has i = 1 and f = ε / (1 − ε).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.gated.layers import DiagonalMixer, Projection
from lsrl.backends.gated.plan import GATE, log_odds, make_plan, rows, switched_rows
from lsrl.backends.gated.target import Gates, gated_target

__all__ = ["TARGET", "MinLSTM"]


class MinLSTM(DiagonalMixer):
    """See the module."""

    def __init__(self, inputs: int, units: int, channels: int, dtype: torch.dtype) -> None:
        super().__init__(inputs, units, channels, dtype)
        self.f = Projection(inputs, channels, dtype=dtype)
        self.i = Projection(inputs, channels, dtype=dtype)
        self.h = Projection(inputs, channels, dtype=dtype)

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        f, i = torch.sigmoid(self.f(x)), torch.sigmoid(self.i(x))
        return f / (f + i), i / (f + i) * self.h(x)


def make(units: Sequence[Gated | Lag], inputs: int, dtype: torch.dtype) -> MinLSTM:
    """The mixer of some units."""
    plan = make_plan(units, dtype, shared=True)
    mixer = MinLSTM(inputs, len(units), len(plan.channels), dtype)
    bits, strength = [c.on for c in plan.channels], GATE[dtype]
    kept = [_levels(Fraction(top), strength) for _, top in bits]
    forget = switched_rows([bit for bit, _ in bits], [f for f, _ in kept], -strength, inputs)
    admit = switched_rows([bit for bit, _ in bits], [i for _, i in kept], strength, inputs)
    mixer.fill(plan, {"f": forget, "i": admit, "h": rows([c.add for c in plan.channels], inputs)})
    return mixer


def _levels(keep: Fraction, strength: float) -> tuple[float, float]:
    """Arguments of f and i for f / (f + i) = keep; the larger of f and i is 1."""
    if keep == 1:
        return strength, -strength
    ratio = keep / (1 - keep)  # f / i
    return (log_odds(ratio) if ratio < 1 else strength), (log_odds(1 / ratio) if ratio > 1 else strength)


TARGET = gated_target("minlstm", "minLSTM (Feng et al. 2024): latches and what is made of them", MinLSTM, make,
                      Gates(keeps="shared", lag="bits", steps="any", masks="steps", slips=Fraction(1, 2**60)))
