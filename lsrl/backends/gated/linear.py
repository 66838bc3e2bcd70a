"""Linear recurrences (Petrov et al. 2024, "LSRL", section 2: the linear RNN).

    h(t) = A h(t − 1) + B x(t) + c

and a read-out C h(t), with ReLU maps between the layers as their φ. A is a parameter, so what a state does cannot
depend on the token: delays, sums, permutations and rotations by quarter turns are hosted, a latch is not. Everything
is exact while the numbers are whole and no larger than a float holds.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.error_bound import Accuracy
from lsrl.backends.gated.full_matrix import FullMatrix
from lsrl.backends.gated.plan import rows
from lsrl.backends.gated.target import Gates, gated_target
from lsrl.backends.layers import State
from lsrl.backends.linear_form import ZERO, Form

__all__ = ["TARGET", "LinearRecurrence"]


class LinearRecurrence(FullMatrix):
    """See the module. Channels: one for each unit, and one more for each lag, which holds what it showed before."""

    matrix = "A"
    A: nn.Parameter

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
