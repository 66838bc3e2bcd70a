"""Bilinear recurrences: an input-dependent dense transition (Sutskever et al. 2011, the multiplicative RNN without its
nonlinearity; Terzić et al. 2025, section 3, as the dense case of input-dependent linear recurrences).

    h(t) = M(x(t)) h(t − 1) + B x(t) + b,  M(x) = M₀ + Σ xₗ Mₗ

and a read-out C h(t). Any automaton of n states is n units: its states one-hot, M(x) the transition matrix of the
letter. The sums that make M(x) are of 0/1 entries, so all of it is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.error_bound import Accuracy
from lsrl.backends.gated.full_matrix import FullMatrix
from lsrl.backends.gated.plan import rows
from lsrl.backends.gated.scan import matrix_scan
from lsrl.backends.gated.target import Gates, gated_target
from lsrl.backends.layers import State

__all__ = ["TARGET", "Bilinear"]


class Bilinear(FullMatrix):
    """See the module; M as a tensor (channels, channels, inputs + 1), the constant part last."""

    matrix = "M"
    M: nn.Parameter

    def shape(self) -> tuple[int, ...]:
        return self.channels, self.channels, self.inputs + 1

    def _matrices(self, x: Tensor) -> Tensor:
        """x (…, inputs) → M(x) (…, channels, channels)."""
        flat = nn.functional.linear(x, self.M[..., :-1].flatten(0, 1), self.M[..., -1].flatten())
        return flat.reshape(*x.shape[:-1], self.channels, self.channels)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = matrix_scan(self._matrices(x), self.B(x).unsqueeze(-1), state[0].unsqueeze(-1)).squeeze(-1)
        return self.output(h), (h[:, -1],)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = (self._matrices(x) @ state[0].unsqueeze(-1)).squeeze(-1) + self.B(x)
        return self.output(h), (h,)


def make(units: Sequence[Gated | Lag], inputs: int, dtype: torch.dtype) -> Bilinear:
    """The mixer of some units; a lag has a second channel that follows its own."""
    late = [k for k, u in enumerate(units) if isinstance(u, Lag)]
    mixer = Bilinear(inputs, len(units), len(units) + len(late), dtype)
    with torch.no_grad():
        for k, unit in enumerate(units):
            shown = k if isinstance(unit, Gated) else len(units) + late.index(k)
            mixer.output.weight[k, shown] = 1
            if isinstance(unit, Lag):
                mixer.M[shown, k, inputs] = 1
                continue
            for keep, i in unit.keeps:
                weight, bias = rows([keep], inputs)
                mixer.M[k, i, :-1] += weight[0]
                mixer.M[k, i, -1] += bias[0]
        adds = [u.add if isinstance(u, Gated) else u.below for u in units]
        weight, bias = rows(adds, inputs)
        mixer.B.weight[: len(units)] = weight.to(dtype)
        mixer.B.bias[: len(units)] = bias.to(dtype)
    return mixer


TARGET = gated_target("bilinear", "input-dependent dense transition: every automaton with a unit a state, counters",
                      Bilinear, make, Gates(keeps="free", lag="exact", signs=True, mixing="matrix"), "no gates",
                      accuracy=Accuracy(stored=True))
