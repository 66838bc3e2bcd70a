"""From the gated units of a circuit's layer to the channels of a mixer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from lsrl.backends.certificate import PRECISION
from lsrl.backends.circuit import Gated, Lag
from lsrl.backends.linear_form import ZERO, Form, Rational, constant
from lsrl.diagnostics import LsrlError

__all__ = ["GATE", "ONE", "OPEN", "Channel", "Plan", "always", "digit", "gate_rows", "log_odds", "make_plan", "rows",
           "switched_rows"]

GATE = {torch.float32: 200.0, torch.float64: 1600.0}  # |argument| of a sigmoid: twice what makes it exact
OPEN = 64.0  # SiLU(64) = 64 exactly, in float32 and float64
ONE = constant(1)
Units = Sequence[Gated | Lag]


@dataclass(frozen=True, slots=True)
class Channel:
    """h := keep · h + add, forms over the layer below. flip: the bit that takes `keep`, then 0 or 1, with a minus.

    top: what `keep`, if it is not constant, is where it is not 0. by: what `add` is multiplied by.
    """

    keep: Form
    add: Form
    flip: Form = ZERO
    top: Rational = 1
    by: Form = ONE

    @property
    def on(self) -> tuple[Form, Rational]:
        """`keep` as a bit, and what it is where the bit is 1."""
        if self.keep.is_constant and self.keep.bias not in (0, 1):
            return constant(1), self.keep.bias
        return self.keep.scale(1 / Fraction(self.top)), self.top


@dataclass(frozen=True)
class Plan:
    """Channels, unit k's first at place k, and the read-out: Σ weight · channel + bias for each unit.

    lags: which units are lags.
    """

    channels: tuple[Channel, ...]
    readout: Tensor
    bias: Tensor
    lags: tuple[bool, ...]


def digit(dtype: torch.dtype) -> Fraction:
    """By what a lag's channel shrinks the past, so that a float holds the two newest of its ±1 digits and drops the
    third: 1 ± ε ± ε² rounds to 1 ± ε, as ε² is less than a quarter of a unit in the last place. So does 1 ± ε (1 + δ)
    for |δ| < 2 ε: a gate need not be ε exactly."""
    return Fraction(1, 2 ** (PRECISION[str(dtype).removeprefix("torch.")] // 2 + 2))


def make_plan(units: Units, dtype: torch.dtype, shared: bool) -> Plan:
    """The channels of units that keep themselves only.

    A lag of a bit u is h := ε h + (2u − 1) beside p := 2u − 1; what is left of h when p is taken off is ε times the
    digit before, exactly. shared: the module adds (1 − keep) · add. There h := ε h + (1 − ε) (2u − 1) is ±1 or
    ±(1 − 2ε), and (1 − ε) p is taken off; the gate is 1 − ε exactly, as it rounds to that from ε² away and less.
    Raises LsrlError (L402) for a lag of more than a bit.
    """
    epsilon = digit(dtype)
    channels: list[Channel] = []
    extra: list[Channel] = []
    weight = torch.zeros(len(units), 2 * len(units), dtype=torch.float64)
    bias = torch.zeros(len(units), dtype=torch.float64)
    for k, unit in enumerate(units):
        if isinstance(unit, Gated):
            if any(i != k for _, i in unit.keeps):
                raise ValueError("a channel keeps itself only")
            channels.append(_channel(unit, shared))
            weight[k, k] = 1
            continue
        if unit.hi != 1:
            reason = "is held in steps, and this architecture holds only bits for a token longer"
            raise LsrlError.of("L402", f"`{unit.symbol.text}` {reason}", unit.symbol.span)
        sign = unit.below.scale(2) - 1
        channels.append(Channel(constant(epsilon), sign))
        kept = 1 - epsilon if shared else Fraction(1)
        by = float(1 / (2 * epsilon))
        weight[k, k], weight[k, len(units) + len(extra)] = by, -by * float(kept)
        bias[k] = 0.5
        extra.append(Channel(ZERO, sign))
    n = len(units) + len(extra)
    return Plan((*channels, *extra), weight[:, :n].to(dtype), bias.to(dtype), tuple(isinstance(u, Lag) for u in units))


def _channel(unit: Gated, shared: bool) -> Channel:
    keep = unit.keeps[0][0] if unit.keeps else ZERO
    top = Fraction(keep.bias if keep.is_constant and keep.bias not in (0, 1) else unit.factor)
    if unit.slip:
        keep, top = keep.scale(1 - unit.slip), 1 - Fraction(unit.slip)
    if unit.masked and not shared:
        if unit.step:
            raise ValueError("what is added is scaled by a sum, and not by the gate")
        return Channel(keep, unit.add, unit.flip, top, constant(1) - keep)
    if unit.split is None or not shared:
        return Channel(keep, unit.add, unit.flip, top)
    kept, set_ = unit.split
    return Channel(keep, (kept.scale(1 / (1 - top)) if kept != ZERO else ZERO) + set_, unit.flip, top)


def rows(forms: Sequence[Form], inputs: int) -> tuple[Tensor, Tensor]:
    """Weights (n, inputs) and biases (n,) of forms, float64."""
    weight = torch.zeros(len(forms), inputs, dtype=torch.float64)
    for k, form in enumerate(forms):
        for w, i in form.terms:
            weight[k, i] = float(w)
    return weight, torch.tensor([float(f.bias) for f in forms], dtype=torch.float64)


def always(n: int, inputs: int, value: float) -> tuple[Tensor, Tensor]:
    """Weights and biases of n numbers that are `value` whatever the input."""
    return torch.zeros(n, inputs, dtype=torch.float64), torch.full((n,), float(value), dtype=torch.float64)


def gate_rows(channels: Sequence[Channel], inputs: int, strength: float,
              level: Callable[[Fraction], float] | None = None) -> tuple[Tensor, Tensor]:
    """Arguments of a sigmoid that is each channel's `keep`: ± strength for 1 and 0, log(k / (1 − k)) for another k.

    level: the argument for another k, where what follows is no plain sigmoid.
    """
    level = level or log_odds
    bits = [c.on for c in channels]
    return switched_rows([bit for bit, _ in bits],
                         [strength if top == 1 else level(Fraction(top)) for _, top in bits], -strength, inputs)


def log_odds(k: Fraction) -> float:
    """log(k / (1 − k)): where a sigmoid is k."""
    return math.log(k) - math.log(1 - k)


def switched_rows(bits: Sequence[Form], on: Sequence[float], off: float | Sequence[float],
                  inputs: int) -> tuple[Tensor, Tensor]:
    """Weights (n, inputs) and biases (n,) of numbers that are `on` where their bit is 1 and `off` where it is 0."""
    weight, bias = rows(bits, inputs)
    low = torch.tensor(off, dtype=torch.float64).expand(len(bits))
    rise = torch.tensor(on, dtype=torch.float64) - low
    return weight * rise.unsqueeze(-1), torch.where(bias == 1, torch.tensor(on, dtype=torch.float64), bias * rise + low)
