"""What the emitters of technology T share: gates driven into saturation, the read-out, and the proof of both.

A gate is a row of weights and a bias. Its argument is scaled by a power of two, so far that the sigmoid or tanh is
exactly 0, 1 or ±1 on both sides. All that may stand between the argument that torch computes and the ideal one is
taken off the margin first: weights as the dtype rounds them, levels that are not dyadic, and the rounding of sums (see
`threshold_sums`). Most gates are alike but for the signals that they read: each kind is worked out once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from lsrl.backends.circuit import Bit, Circuit, Column, Layer, Register, Unit
from lsrl.backends.emission import output_grids, short
from lsrl.backends.layers import LayerWeights
from lsrl.backends.linear_form import Form, Gate, Rational
from lsrl.backends.threshold_sums import Arithmetic, Levels, Reader
from lsrl.diagnostics import NOWHERE, LsrlError

__all__ = ["SATURATION", "GateRows", "Levels", "Readout", "largest_sum", "read_out", "saturation_text",
           "threshold_layers"]

# |argument| of sigmoid and of tanh, at least: about twice what makes them 0 or 1 and ±1 in torch, exactly
SATURATION = {torch.bfloat16: (200.0, 8.0), torch.float16: (32.0, 10.0), torch.float32: (200.0, 20.0),
              torch.float64: (1600.0, 40.0)}
_LEAST_MARGIN = Fraction(1, 50)  # of half a level, in units of one
_WHOLE_ERROR = Fraction(1, 4)  # of the read-out, whose values are whole numbers


@dataclass(frozen=True, slots=True)
class _Driven:
    """A gate's margin, what its weights are multiplied by, its two biases, and a bound of its argument."""

    margin: Fraction
    scale: float
    biases: tuple[float, float]
    size: float


class GateRows:
    """The parameters of one layer while they are written, a row for each gate of each unit.

    margins: in circuit units, what is left of each gate's distance from its threshold when all errors are taken off.
    """

    def __init__(self, target: str, gates: int, units: Layer, below: Layer | None, columns: Sequence[Column],
                 levels: Levels, dtype: torch.dtype, one_bias: bool = False,
                 driven: dict[Hashable, _Driven] | None = None) -> None:
        """one_bias: the module adds no bias to what it reads of its own layer. driven: the gates that were worked out
        for other layers, with the same levels, dtype and biases; those of this one are added."""
        self.target, self.units, self.levels, self.dtype, self.one_bias = target, units, levels, dtype, one_bias
        self.sigmoid, self.tanh = SATURATION[dtype]
        self.arithmetic = Arithmetic(dtype)
        self.below = Reader(below, columns, levels, self.arithmetic)
        self.own = Reader(units, columns, levels, self.arithmetic)
        width, inputs = len(units), len(columns) if below is None else len(below)
        self.w_in = np.zeros((gates, width, inputs))
        self.w_own = np.zeros((gates, width, width))
        self.bias_in = np.zeros((gates, width))
        self.bias_own = np.zeros((gates, width))
        self.margins: list[Fraction] = []
        self._driven = {} if driven is None else driven

    def keep(self, which: int, row: int, argument: float) -> None:
        """A gate that never changes."""
        self.bias_in[which, row] = argument

    def drive(self, which: int, row: int, gate: Gate, least: float) -> float:
        """A gate whose argument is at least `least` where the circuit's gate is on, and at most −`least` where it is
        off; a negative `least` turns it over. Returns a bound of the argument's size.

        Raises LsrlError: L402 if too many signs of registers meet, L407 if the dtype leaves no margin.
        """
        pattern = self.below.pattern(gate.below), self.own.pattern(gate.own), least
        driven = self._driven.get(pattern)
        if driven is None:
            driven = self._driven[pattern] = self._drive(row, gate, least)
        if gate.below.terms or gate.own.terms:
            self.margins.append(driven.margin)
        for form, reader, matrix in ((gate.below, self.below, self.w_in), (gate.own, self.own, self.w_own)):
            if form.terms:
                matrix[which, row, [i for _, i in form.terms]] = np.array(reader.numbers(form)) * driven.scale
        self.bias_in[which, row], self.bias_own[which, row] = driven.biases
        return driven.size

    def _drive(self, row: int, gate: Gate, least: float) -> _Driven:
        signs = sum((abs(Fraction(w)) for form, reader in ((gate.below, self.below), (gate.own, self.own))
                     if reader.registers for w, i in form.terms if i in reader.registers), Fraction(0))
        above = signs * (1 / self.levels.bit - 1)  # a sum that should be 0 reads at most this
        margin = (1 - above) / 2
        if margin <= _LEAST_MARGIN:
            raise LsrlError.of("L402", f"`{self.target}` cannot host this program: {signs} signs of counters meet in "
                               "one unit, and more than three leave no margin",
                               help="compare fewer counters with constants at once")
        below, own = self.below.part(gate.below), self.own.part(gate.own)
        theta = (1 + above) / 2
        if self.arithmetic.bits >= 24 or self.one_bias or not own.indices:  # a coarse dtype rounds small parts less
            below, own = below.plus(own.bias - theta), own.plus(-own.bias)
        else:
            below = below.plus(-theta)
        biases = [self.arithmetic.rounded(p.bias) for p in (below, own)]
        left = margin - self.arithmetic.sum_error((below, own), biases)
        if left <= _LEAST_MARGIN:
            raise self._too_coarse(row, "its sums are too large for the dtype's precision")
        scale = Fraction(2) ** math.ceil(math.log2(abs(least) / float(left)))
        size = scale * sum((abs(b) for b in biases), below.size + own.size)
        if size > torch.finfo(self.dtype).max:
            raise self._too_coarse(row, f"its sums reach {float(size):.3g}")
        signed = float(scale if least > 0 else -scale)
        return _Driven(left, signed, (signed * float(biases[0]), signed * float(biases[1])), float(size))

    def _too_coarse(self, row: int, why: str) -> LsrlError:
        symbol = self.units[row].symbol
        return LsrlError.of("L407", f"unit `{symbol.text}` is not exact in {short(self.dtype)}: {why}", symbol.span)

    def weights(self, initial: tuple[Tensor, ...]) -> LayerWeights:
        """The layer's parameters in the dtype."""
        w_in, w_own, bias_in, bias_own = (torch.from_numpy(x).flatten(0, 1).to(self.dtype) for x in (
            self.w_in, self.w_own, self.bias_in, self.bias_own))
        return LayerWeights(w_in, w_own, bias_in, bias_own, initial)


def threshold_layers(
    target: str, gates: int, circuit: Circuit, levels: Levels, dtype: torch.dtype,
    write: Callable[[GateRows, int, Unit], None], start: Callable[[Layer], tuple[Tensor, ...]],
    one_bias: bool = False,
) -> tuple[tuple[LayerWeights, ...], float]:
    """The parameters of every layer, and the least margin of all gates in circuit units.

    write: fills in the rows of one unit. start: a layer's state before the first token, each tensor (width,).
    one_bias: as `GateRows` has it.
    Raises LsrlError (L407) for a dtype without known saturation, and as `GateRows.drive`.
    """
    if dtype not in SATURATION:
        raise LsrlError.of("L407", f"gates are exact in {', '.join(map(short, SATURATION))}, not in {short(dtype)}")
    layers: list[LayerWeights] = []
    margins = [Fraction(1, 2)]
    below: Layer | None = None
    driven: dict[Hashable, _Driven] = {}
    for units in circuit.layers:
        rows = GateRows(target, gates, units, below, circuit.columns, levels, dtype, one_bias, driven)
        for row, unit in enumerate(units):
            write(rows, row, unit)
        layers.append(rows.weights(start(units)))
        margins += rows.margins
        below = units
    return tuple(layers), float(min(margins))


@dataclass(frozen=True, slots=True)
class Readout:
    """Weight (R, width), bias (R,), the grid of each of the R scalars, and the largest error before rounding."""

    weight: Tensor
    bias: Tensor
    grids: tuple[Fraction, ...]
    tolerance: float


def read_out(circuit: Circuit, levels: Levels, dtype: torch.dtype) -> Readout:
    """The read-out over what the last layer shows. Raises LsrlError (L407) if values are too many to tell apart."""
    arithmetic = Arithmetic(dtype)
    top = circuit.layers[-1] if circuit.layers else None
    reader = Reader(top, circuit.columns, levels, arithmetic)
    grids = output_grids(circuit.outputs)
    forms = [(o.name, f) for o in circuit.outputs for f in o.forms]
    weight = torch.zeros(len(forms), len(circuit.columns) if top is None else len(top), dtype=torch.float64)
    bias = torch.zeros(len(forms), dtype=torch.float64)
    worst = Fraction(0)
    for row, ((name, form), grid) in enumerate(zip(forms, grids, strict=True)):
        if top is not None and any(not isinstance(top[i], Bit) for _, i in form.terms):
            raise ValueError("an output reads bits only")
        part = reader.part(form.scale(1 / grid))
        held = arithmetic.rounded(part.bias)
        error = arithmetic.sum_error((part,), (held,))
        size = abs(held) + part.size
        if error >= _WHOLE_ERROR or size > torch.finfo(dtype).max:
            lo, hi = part.range()
            raise LsrlError.of("L407", f"output `{name}` has values up to {float(max(-lo, hi)):.0f}; "
                               f"{short(dtype)} cannot read them exactly", NOWHERE)
        worst = max(worst, error)
        bias[row] = float(held)
        if part.indices:
            weight[row, part.indices] = torch.tensor(part.numbers, dtype=torch.float64)
    return Readout(weight.to(dtype), bias.to(dtype), grids, float(worst))


def largest_sum(circuit: Circuit) -> Fraction:
    """The largest Σ|weight| + |bias| of a gate, in circuit units."""
    def size(forms: Iterable[Form]) -> Rational:
        total: Rational = 0
        for f in forms:
            for w in (f.bias, *(w for w, _ in f.terms)):
                total += w if w > 0 else -w
        return total

    def of(unit: Unit) -> Rational:
        match unit:
            case Register():
                return max(size((g.below, g.own)) for g in (unit.move, unit.up, unit.clear))
            case Bit():
                return max(size((unit.below, unit.own)), size((unit.hold.below, unit.hold.own)))
            case _:
                return 0

    return Fraction(max((of(u) for layer in circuit.layers for u in layer), default=0))


def saturation_text(dtype: torch.dtype, *, sigmoid: bool = True) -> str:
    """What the certificate says of the arguments."""
    least = SATURATION[dtype]
    tanh = f"{'≥' if sigmoid else '|argument| ≥'} {least[1]:g} in every tanh"
    return f"|argument| ≥ {least[0]:g} in every sigmoid and {tanh}" if sigmoid else tanh
