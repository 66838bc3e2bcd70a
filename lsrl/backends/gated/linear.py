"""Linear recurrences (Petrov et al. 2024, "LSRL", section 2: the linear RNN).

    h(t) = A h(t − 1) + B x(t) + c

and a read-out C h(t), with ReLU maps between the layers as their φ. A is a parameter, so what a state does cannot
depend on the token: delays, sums, permutations and rotations by quarter turns are hosted, a latch is not. Everything
is exact while the numbers are whole and no larger than a float holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import ZERO, Form, Gated, Lag
from lsrl.backends.error_bound import Accuracy
from lsrl.backends.gated.layers import Mixer, Projection, grown
from lsrl.backends.gated.plan import rows
from lsrl.backends.gated.target import Gates, gated_target
from lsrl.backends.layers import State

__all__ = ["TARGET", "LinearRecurrence"]


class LinearRecurrence(Mixer):
    """See the module. Channels: one for each unit, and one more for each lag, which holds what it showed before."""

    def __init__(self, inputs: int, units: int, channels: int, dtype: torch.dtype, basis: int = 0) -> None:
        """basis: 1 if the state is in a basis of its own, which the buffer `turn` says."""
        super().__init__()
        self.inputs, self.units, self.channels = inputs, units, channels
        self.tensors = (("h", channels),)
        self.A = nn.Parameter(torch.zeros(channels, channels, dtype=dtype))
        self.B = Projection(inputs, channels, dtype=dtype)
        self.output = Projection(channels, units, bias=False, dtype=dtype)
        self.register_buffer("lags", torch.zeros(units, dtype=torch.bool))
        self.register_buffer("turn", torch.zeros(channels, channels, dtype=torch.float64) if basis else None)

    def config(self) -> dict[str, Any]:
        return {"units": self.units, "channels": self.channels, **({} if self.basis is None else {"basis": 1})}

    @property
    def parts(self) -> tuple[int, ...]:
        return (self.channels,)

    def turned(self, bases: Sequence[Tensor]) -> LinearRecurrence:
        """A' = Q A Qᵀ, B' = Q B, C' = C Qᵀ."""
        (q,) = bases
        n = len(q)
        out = LinearRecurrence(self.inputs, self.units, n, self.dtype, 1)
        with torch.no_grad():
            out.A.copy_(q @ grown(self.A, n, (0, 1)) @ q.T)
            out.B.weight.copy_(q @ grown(self.B.weight, n))
            out.B.bias.copy_(q @ grown(self.B.bias, n))
            out.output.weight.copy_(grown(self.output.weight, n, (1,)) @ q.T)
            out.lags.copy_(self.lags)
            out.get_buffer("turn").copy_(q)
        return out

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """By doubling: after pass k every h(t) holds what the last 2ᵏ tokens add to it."""
        h = self.B(x)
        first = h[:, 0] + state[0] @ self.A.T
        h = torch.cat([first.unsqueeze(1), h[:, 1:]], 1)
        power, step = self.A.T, 1
        while step < h.shape[1]:
            h = torch.cat([h[:, :step], h[:, step:] + h[:, :-step] @ power], 1)
            power, step = power @ power, 2 * step
        return self.output(h), (h[:, -1],)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = state[0] @ self.A.T + self.B(x)
        return self.output(h), (h,)


def make(units: Sequence[Gated | Lag], inputs: int, dtype: torch.dtype) -> LinearRecurrence:
    """The mixer of some units: a lag holds its value in its own channel, and shows another that follows it."""
    late = [k for k, u in enumerate(units) if isinstance(u, Lag)]
    mixer = LinearRecurrence(inputs, len(units), len(units) + len(late), dtype)
    adds: list[Form] = []
    with torch.no_grad():
        for k, unit in enumerate(units):
            adds.append(unit.add if isinstance(unit, Gated) else unit.below)
            shown = k if isinstance(unit, Gated) else len(units) + late.index(k)
            mixer.output.weight[k, shown] = 1
            if isinstance(unit, Lag):
                mixer.A[shown, k] = 1
            else:
                for keep, i in unit.keeps:
                    if not keep.is_constant:
                        raise ValueError("the factors of a linear recurrence are constants")
                    mixer.A[k, i] = float(keep.bias)
        weight, bias = rows([*adds, *(ZERO for _ in late)], inputs)
        mixer.B.weight.copy_(weight)
        mixer.B.bias.copy_(bias)
    return mixer


TARGET = gated_target("linear", "linear RNN with ReLU maps (Petrov et al. 2024): delays, sums, fixed permutations",
                      LinearRecurrence, make,
                      Gates(keeps="constant", lag="exact", signs=True, mixing="constant"), "no gates",
                      accuracy=Accuracy(stored=True))
