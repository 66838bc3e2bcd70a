"""The short causal convolution before a gated recurrence, and mixers whose delays it is.

A unit of such a mixer is one channel. Every channel starts at zero, as layers of trained models do: unit = start +
sign · channel, with the sign that keeps the channel from being negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.gated.layers import Mixer
from lsrl.backends.layers import State
from lsrl.backends.linear_form import Form, constant

__all__ = ["NOW", "TAPS", "ConvolvedMixer", "convolved", "driver", "gates_of", "kept_by", "sign_of"]

TAPS = 4  # of the convolution in Mamba and in Griffin
NOW = TAPS - 1  # the tap of the token itself


class ConvolvedMixer(Mixer):
    """A mixer with a state h (B, channels · states) and the convolution's last inputs (B, channels · (taps − 1)).

    Unit k is channel k, and holds start + sign · x: x is, of a gated unit, the channel's first state over `gain`, and
    of a lag its last input over `scale`. sign: ±1, over what the channel is larger by than the unit.
    """

    def __init__(self, inputs: int, units: int, channels: int, states: int = 1) -> None:
        super().__init__()
        self.inputs, self.units, self.channels, self.states = inputs, units, channels, states
        self.tensors = (("h", channels * states), ("conv", channels * (TAPS - 1)))
        self.scale = self.gain = 1.0
        self.register_buffer("lags", torch.zeros(units, dtype=torch.bool))
        self.register_buffer("start", torch.zeros(units, dtype=torch.float64))
        self.register_buffer("sign", torch.ones(units, dtype=torch.float64))

    def describe(self, units: Sequence[Gated | Lag], gains: Sequence[float] = ()) -> None:
        """Notes how the units are held. gains: what each channel is larger by than its unit, if not 1."""
        self.lags.copy_(torch.tensor([isinstance(u, Lag) for u in units]))
        self.get_buffer("start").copy_(torch.tensor([float(u.start) for u in units]))
        self.get_buffer("sign").copy_(torch.tensor([
            sign_of(u) / gain for u, gain in zip(units, gains or [1.0] * len(units), strict=True)]))

    def contents(self, state: State) -> Tensor:
        h = state[0].double().reshape(-1, self.channels, self.states)[:, : self.units, 0] / self.gain
        last = state[1].double().reshape(-1, self.channels, TAPS - 1)[:, : self.units, -1] / self.scale
        return self.get_buffer("start") + self.get_buffer("sign") * torch.where(self.lags, last, h)

    def state_of(self, contents: Tensor) -> State:
        held = (contents.double() - self.get_buffer("start")) / self.get_buffer("sign")
        h = contents.new_zeros(contents.shape[0], self.channels, self.states, dtype=torch.float64)
        conv = contents.new_zeros(contents.shape[0], self.channels, TAPS - 1, dtype=torch.float64)
        h[:, : self.units, 0] = torch.where(self.lags, torch.zeros_like(held), held * self.gain)
        conv[:, : self.units, -1] = torch.where(self.lags, held * self.scale, torch.zeros_like(held))
        return h.flatten(1).to(self.dtype), conv.flatten(1).to(self.dtype)

    def element(self, unit: int) -> tuple[int, int]:
        if bool(self.lags[unit]):
            return 1, unit * (TAPS - 1) + TAPS - 2
        return 0, unit * self.states


def convolved(x: Tensor, before: Tensor, conv: nn.Conv1d) -> tuple[Tensor, Tensor]:
    """A depthwise causal convolution of x (B, T, n), with the taps − 1 inputs before it (B, n · (taps − 1)).

    Returns (B, T, n), and the inputs before the next token, with 0 in place of those that no tap will read because the
    taps that they have still to pass are 0. Kept, they would tell states apart that never differ in what they show: 18
    states for one in `text/balanced` on the RG-LRU, which a proof by search would have to visit.
    """
    taps = conv.weight.shape[-1]
    whole = torch.cat([before.reshape(-1, x.shape[-1], taps - 1), x.transpose(1, 2)], -1)
    out = nn.functional.conv1d(whole, conv.weight, conv.bias, groups=conv.groups)
    read = (conv.weight[:, 0, :-1] != 0).cumsum(-1) > 0
    return out.transpose(1, 2), torch.where(read, whole[..., whole.shape[-1] - taps + 1 :], 0).flatten(1)


def sign_of(unit: Gated | Lag) -> int:
    """Whether a unit is never below (1) or never above (−1) its start; 1 for one that may be either."""
    return -1 if unit.start > 0 and unit.hi is not None and unit.hi <= unit.start else 1


def driver(unit: Gated | Lag) -> Form:
    """What a unit's channel takes in: the form over the layer below that its start and sign make of `add`."""
    if isinstance(unit, Lag):
        return (unit.below - unit.start).scale(sign_of(unit))
    start = constant(unit.start) if unit.masked else _write(unit).scale(unit.start)
    return (unit.add - start).scale(sign_of(unit))


def kept_by(unit: Gated) -> Fraction:
    """The factor of a unit's old value, where it is not 0."""
    keep = unit.keeps[0][0] if unit.keeps else constant(0)
    return Fraction(keep.bias) if keep.is_constant else Fraction(unit.factor)


def _write(unit: Gated) -> Form:
    keep = unit.keeps[0][0] if unit.keeps else constant(0)
    return constant(1) - (keep if keep.is_constant else keep.scale(1 / Fraction(unit.factor)))


def gates_of(units: Sequence[Gated | Lag]) -> tuple[list[Form], list[int | None]]:
    """The different forms [a unit's value is replaced] of units, and which of them each unit has; None where it is no
    matter of the input. Raises ValueError for a unit that takes another's value."""
    found: list[Form] = []
    which: list[int | None] = []
    for k, unit in enumerate(units):
        if isinstance(unit, Gated) and any(i != k for _, i in unit.keeps):
            raise ValueError("a channel keeps itself only")
        write = _write(unit) if isinstance(unit, Gated) else constant(1)
        if write.is_constant:
            which.append(None)
            continue
        if write not in found:
            found.append(write)
        which.append(found.index(write))
    return found, which
