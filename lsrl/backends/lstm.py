"""Circuits as torch.nn.LSTM: technology T, with cell states as registers.

c := f c + i g, h := o tanh(c). A bit has f = 0 and i = o = 1 by saturation, so that c = g = ±1 and h = ±tanh 1. A
register has f = 1 (0 to clear), i = 1 where it moves and g = ±1: c counts exactly up to the float's integers. All gates
are driven so far into saturation that they are exactly 0, 1 or ±1 whatever the order of the sums: sigmoid(z) = 1 in
float32 from z ≈ 16.7, = 0 below z ≈ −88.8, tanh(z) = ±1 from |z| ≈ 9.02; in float64 36.8, −745 and 19.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from lsrl.backends.circuit import ZERO, Bit, Circuit, Form, Gate, Layer, Register, Unit
from lsrl.backends.emission import Emission, Technology, output_grids, unit_kinds
from lsrl.backends.layers import LayerWeights
from lsrl.diagnostics import NOWHERE, LsrlError

__all__ = ["SATURATION", "TECHNOLOGY", "emit"]

_LEVEL = math.tanh(1.0)  # |h| of a bit, and the least |h| of a register that is not zero
_SLACK = 1 / _LEVEL - 1  # how far a register's sign, read with weight 1 / tanh 1, may exceed 1
_I, _F, _G, _O = range(4)  # torch's order of the gates

# |argument| of sigmoid and of tanh, at least: twice what makes them exact
SATURATION = {torch.float32: (200.0, 20.0), torch.float64: (1600.0, 40.0)}


def _contents(kinds: tuple[str, ...], state: tuple[Tensor, ...]) -> Tensor:
    registers = torch.tensor([k == "register" for k in kinds], device=state[0].device)
    h, c = state
    return torch.where(registers, c.double().round(), (h > 0).double())


def _state(kinds: tuple[str, ...], contents: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    registers = torch.tensor([k == "register" for k in kinds], device=contents.device)
    c = torch.where(registers, contents, 2 * contents - 1).to(dtype)
    return torch.tanh(c), c


TECHNOLOGY = Technology(_contents, _state)


def emit(circuit: Circuit, dtype: torch.dtype) -> Emission:
    """The parameters of a circuit of bits and registers, float32 or float64.

    Raises LsrlError (L407) for another dtype, and if an output's values are too many for the dtype to tell apart.
    """
    if dtype not in SATURATION:
        raise LsrlError.of("L407", f"an LSTM's gates are exact in float32 and float64, not in {dtype}")
    margins = [0.5]
    layers: list[LayerWeights] = []
    below: Layer | None = None
    for units in circuit.layers:
        layers.append(_layer(units, below, len(circuit.columns), dtype, margins))
        below = units
    grids = output_grids(circuit.outputs)
    readout, tolerance = _readout(circuit, below, grids, dtype)
    sigmoid, tanh = SATURATION[dtype]
    kept = f"|argument| ≥ {sigmoid:g} in every sigmoid and ≥ {tanh:g} in every tanh"
    return Emission("lstm", tuple(layers), tuple(map(unit_kinds, circuit.layers)), readout, grids, tolerance,
                    TECHNOLOGY, min(margins), saturation=kept, partial_sum=_largest_sum(circuit),
                    limits=(None,) * len(layers))


@dataclass(frozen=True)
class _Reading:
    """A gate's sum as torch computes it: weights on the columns or h below, on the own h, a bias; θ and its margin."""

    below: list[tuple[int, float]]
    own: list[tuple[int, float]]
    bias: float
    threshold: float
    margin: float


def _read(gate: Gate, below: Layer | None, own: Layer) -> _Reading:
    parts: list[list[tuple[int, float]]] = []
    bias = float(gate.below.bias + gate.own.bias)
    signs = Fraction(0)
    for form, layer in ((gate.below, below), (gate.own, own)):
        weights: list[tuple[int, float]] = []
        for w, i in form.terms:
            if layer is None:
                weights.append((i, float(w)))
            elif isinstance(layer[i], Register):
                weights.append((i, float(w) / _LEVEL))
                signs += abs(Fraction(w))
            else:
                weights.append((i, float(w) / (2 * _LEVEL)))
                bias += float(w) / 2
        parts.append(weights)
    above = float(signs) * _SLACK  # an "and" that is off reads at most this
    margin = (1 - above) / 2
    if margin <= 0.02:
        raise LsrlError.of("L402", f"`lstm` cannot host this program: {signs} signs of counters meet in one unit, and "
                           "more than three leave no margin", help="compare fewer counters with constants at once")
    return _Reading(parts[0], parts[1], bias, (1 + above) / 2, margin)


def _layer(units: Layer, below: Layer | None, columns: int, dtype: torch.dtype, margins: list[float]) -> LayerWeights:
    width, inputs = len(units), columns if below is None else len(below)
    w_in = torch.zeros(4, width, inputs, dtype=torch.float64)
    w_own = torch.zeros(4, width, width, dtype=torch.float64)
    bias = torch.zeros(4, width, dtype=torch.float64)
    sigmoid, tanh = SATURATION[dtype]

    def drive(which: int, row: int, gate: Gate, strength: float) -> None:
        reading = _read(gate, below, units)
        scale = strength / reading.margin
        if reading.below or reading.own:
            margins.append(reading.margin)
        for i, w in reading.below:
            w_in[which, row, i] = scale * w
        for i, w in reading.own:
            w_own[which, row, i] = scale * w
        bias[which, row] = scale * (reading.bias - reading.threshold)

    for row, unit in enumerate(units):
        bias[_O, row] = sigmoid
        if isinstance(unit, Bit):
            bias[_I, row], bias[_F, row] = sigmoid, -sigmoid
            drive(_G, row, Gate(unit.below, unit.own), tanh)
        elif isinstance(unit, Register):
            drive(_I, row, unit.move, sigmoid)
            drive(_G, row, unit.up, tanh)
            if unit.clear == Gate(ZERO, ZERO):
                bias[_F, row] = sigmoid
            else:
                drive(_F, row, unit.clear, -sigmoid)
        else:
            raise ValueError("an LSTM has no ReLU units")
    start = torch.tensor([[float(u.start) for u in units]], dtype=torch.float64)
    h, c = _state(unit_kinds(units), start, dtype)
    flat = bias.flatten().to(dtype)
    return LayerWeights(w_in.flatten(0, 1).to(dtype), w_own.flatten(0, 1).to(dtype), flat, torch.zeros_like(flat),
                        (h[0], c[0]))


def _readout(circuit: Circuit, top: Layer | None, grids: Sequence[Fraction],
             dtype: torch.dtype) -> tuple[tuple[Tensor, Tensor], float]:
    """Weights and biases of the outputs over the last layer's h, and a bound of their rounding error."""
    forms: list[tuple[str, Form]] = [(o.name, f) for o in circuit.outputs for f in o.forms]
    width = len(circuit.columns) if top is None else len(top)
    weight = torch.zeros(len(forms), width, dtype=torch.float64)
    bias = torch.zeros(len(forms), dtype=torch.float64)
    worst = 0.0
    for row, ((name, form), grid) in enumerate(zip(forms, grids, strict=True)):
        whole = form.scale(1 / grid)
        bias[row] = float(whole.bias)
        for w, i in whole.terms:
            if top is None:
                weight[row, i] = float(w)
                continue
            if not isinstance(top[i], Bit):
                raise ValueError("an output reads bits only")
            weight[row, i] = float(w) / (2 * _LEVEL)
            bias[row] += float(w) / 2
        terms = len(whole.terms) + 2
        size = float(weight[row].abs().sum() + bias[row].abs())
        error = size * terms * 2.0 ** -(23 if dtype == torch.float32 else 52)
        if error >= 0.25:
            raise LsrlError.of("L407", f"output `{name}` has values up to {size:.0f}; {dtype} cannot read them exactly",
                               NOWHERE, help="compile with dtype float64")
        worst = max(worst, error)
    return (weight.to(dtype), bias.to(dtype)), worst


def _largest_sum(circuit: Circuit) -> Fraction:
    """The largest Σ|weight| + |bias| of a gate, in circuit units."""
    def size(*forms: Form) -> Fraction:
        return sum((abs(Fraction(w)) for f in forms for w, _ in f.terms), Fraction(0)) + sum(
            abs(Fraction(f.bias)) for f in forms)

    def of(unit: Unit) -> Fraction:
        if isinstance(unit, Register):
            return max(size(g.below, g.own) for g in (unit.move, unit.up, unit.clear))
        return size(unit.below, unit.own) if isinstance(unit, Bit) else Fraction(0)

    return max((of(u) for layer in circuit.layers for u in layer), default=Fraction(0))
