"""Bilinear recurrences: an input-dependent dense transition (Sutskever et al. 2011, the multiplicative RNN without its
nonlinearity; Terzić et al. 2025, section 3, as the dense case of input-dependent linear recurrences).

    h(t) = M(x(t)) h(t − 1) + B x(t) + b,  M(x) = M₀ + Σ xₗ Mₗ

and a read-out C h(t). Any automaton of n states is n units: its states one-hot, M(x) the transition matrix of the
letter. The sums that make M(x) are of 0/1 entries, so all of it is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.error_bound import Accuracy
from lsrl.backends.gated.layers import Mixer, Projection, grown
from lsrl.backends.gated.plan import rows
from lsrl.backends.gated.scan import matrix_scan
from lsrl.backends.gated.target import Gates, gated_target
from lsrl.backends.layers import State

__all__ = ["TARGET", "Bilinear"]


class Bilinear(Mixer):
    """See the module; M as a tensor (channels, channels, inputs + 1), the constant part last."""

    def __init__(self, inputs: int, units: int, channels: int, dtype: torch.dtype, basis: int = 0) -> None:
        """basis: 1 if the state is in a basis of its own, which the buffer `turn` says."""
        super().__init__()
        self.inputs, self.units, self.channels = inputs, units, channels
        self.tensors = (("h", channels),)
        self.M = nn.Parameter(torch.zeros(channels, channels, inputs + 1, dtype=dtype))
        self.B = Projection(inputs, channels, dtype=dtype)
        self.output = Projection(channels, units, bias=False, dtype=dtype)
        self.register_buffer("lags", torch.zeros(units, dtype=torch.bool))
        self.register_buffer("turn", torch.zeros(channels, channels, dtype=torch.float64) if basis else None)

    def config(self) -> dict[str, Any]:
        return {"units": self.units, "channels": self.channels, **({} if self.basis is None else {"basis": 1})}

    @property
    def parts(self) -> tuple[int, ...]:
        return (self.channels,)

    def turned(self, bases: Sequence[Tensor]) -> Bilinear:
        """Q M(x) Qᵀ, Q B, C Qᵀ."""
        (q,) = bases
        n = len(q)
        out = Bilinear(self.inputs, self.units, n, self.dtype, 1)
        with torch.no_grad():
            out.M.copy_(torch.einsum("ai,ijx,bj->abx", q, grown(self.M, n, (0, 1)), q))
            out.B.weight.copy_(q @ grown(self.B.weight, n))
            out.B.bias.copy_(q @ grown(self.B.bias, n))
            out.output.weight.copy_(grown(self.output.weight, n, (1,)) @ q.T)
            out.lags.copy_(self.lags)
            out.get_buffer("turn").copy_(q)
        return out

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
