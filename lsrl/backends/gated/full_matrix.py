"""Recurrences whose matrix is full: h(t) = M h(t − 1) + B x(t) + b, and a read-out C h(t).

The matrix is a parameter, or a linear map of the token. Its state can be in any orthogonal basis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from lsrl.backends.gated.layers import Mixer, Projection, grown

__all__ = ["FullMatrix"]


class FullMatrix(Mixer):
    """Its matrix is the parameter `matrix` of shape (channels, channels, …), which its equations read."""

    matrix: str

    def __init__(self, inputs: int, units: int, channels: int, dtype: torch.dtype, basis: int = 0) -> None:
        """basis: 1 if the state is in a basis of its own, which the buffer `turn` says."""
        super().__init__()
        self.inputs, self.units, self.channels = inputs, units, channels
        self.tensors = (("h", channels),)
        self.register_parameter(self.matrix, nn.Parameter(torch.zeros(self.shape(), dtype=dtype)))
        self.B = Projection(inputs, channels, dtype=dtype)
        self.output = Projection(channels, units, bias=False, dtype=dtype)
        self.register_buffer("lags", torch.zeros(units, dtype=torch.bool))
        self.register_buffer("turn", torch.zeros(channels, channels, dtype=torch.float64) if basis else None)

    def shape(self) -> tuple[int, ...]:
        """The shape of the matrix."""
        return self.channels, self.channels

    def config(self) -> dict[str, Any]:
        return {"units": self.units, "channels": self.channels, **({} if self.basis is None else {"basis": 1})}

    @property
    def parts(self) -> tuple[int, ...]:
        return (self.channels,)

    def turned(self, bases: Sequence[Tensor]) -> Self:
        """Q M Qᵀ, Q B, C Qᵀ."""
        (q,) = bases
        n = len(q)
        out = type(self)(self.inputs, self.units, n, self.dtype, 1)
        matrix = grown(self.get_parameter(self.matrix), n, (0, 1))
        with torch.no_grad():
            out.get_parameter(self.matrix).copy_(torch.einsum("ai,ij...,bj->ab...", q, matrix, q))
            out.B.weight.copy_(q @ grown(self.B.weight, n))
            out.B.bias.copy_(q @ grown(self.B.bias, n))
            out.output.weight.copy_(grown(self.output.weight, n, (1,)) @ q.T)
            out.lags.copy_(self.lags)
            out.get_buffer("turn").copy_(q)
        return out
