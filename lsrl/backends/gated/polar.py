"""Channels of complex numbers: factors by length and angle, quarter turns exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from lsrl.backends.gated.layers import DiagonalMixer
from lsrl.backends.gated.plan import Channel
from lsrl.backends.gated.scan import gated_scan
from lsrl.backends.layers import State

__all__ = ["HALF_TURN", "ComplexMixer", "constant_factors", "turned"]

HALF_TURN = math.pi
_ROUNDING = 256  # of a float's unit: of sums of up to 50 half turns


def turned(angle: Tensor) -> Tensor:
    """exp(i · angle), angle in radians.

    The angle is first reduced by its whole quarter turns, which are then taken exactly, as swaps and signs: a float's π
    is no half turn, and cos and sin of it are not −1 and 0. What is left is at most an eighth of a turn; it is none
    where it is less than what rounding leaves of a sum of angles.
    """
    quarters = torch.round(angle / (math.pi / 2)).detach()
    rest = angle - quarters * (math.pi / 2)
    rest = torch.where(rest.abs() < _ROUNDING * torch.finfo(angle.dtype).eps, 0 * rest, rest)
    c, s = torch.cos(rest), torch.sin(rest)
    swapped, negative = quarters.remainder(2) == 1, quarters.remainder(4) >= 2
    re, im = torch.where(swapped, -s, c), torch.where(swapped, c, s)
    return torch.complex(torch.where(negative, -re, re), torch.where(negative, -im, im))


def constant_factors(channels: Sequence[Channel]) -> list[Fraction]:
    """The factor of each channel. Raises ValueError for one that is not constant."""
    if any(not (c.keep.is_constant and c.flip.is_constant) for c in channels):
        raise ValueError("a factor of a linear recurrence is a constant")
    return [Fraction(c.keep.bias) * (1 - 2 * Fraction(c.flip.bias)) for c in channels]


class ComplexMixer(DiagonalMixer):
    """A diagonal mixer of complex channels, held as real and imaginary parts; `gates` gives complex a and b."""

    def __init__(self, inputs: int, units: int, channels: int, dtype: torch.dtype) -> None:
        super().__init__(inputs, units, channels, dtype)
        self.tensors = (("h", channels), ("imaginary", channels))

    def shown(self, h: Tensor, x: Tensor) -> Tensor:
        return h.real

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        a, b = self.gates(x)
        h = gated_scan(a, b, torch.complex(state[0], state[1]))
        return self.output(self.shown(h, x)), (h[:, -1].real, h[:, -1].imag)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        a, b = self.gates(x)
        h = a * torch.complex(state[0], state[1]) + b
        return self.output(self.shown(h, x)), (h.real, h.imag)
