"""What the emitters of technology T share: gates driven into saturation, the read-out, and the proof of both.

A gate is a row of weights and a bias. Its argument is scaled by a power of two, so far that the sigmoid or tanh is
exactly 0, 1 or ±1 on both sides. All that may stand between the argument that torch computes and the ideal one is
taken off the margin first: weights as the dtype rounds them, levels that are not dyadic, and the rounding of sums. Sums
are taken to be accumulated in float32 or better and to be rounded to the dtype three times: W x + b, U h + c, and both
together. Where all terms are whole multiples of one power of two, and together few enough of it, nothing is rounded at
all, in whatever order and precision the sum is formed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from lsrl.backends.certificate import PRECISION
from lsrl.backends.circuit import Bit, Circuit, Column, Layer, Register, Unit
from lsrl.backends.emission import output_grids, short
from lsrl.backends.layers import LayerWeights
from lsrl.backends.linear_form import Form, Gate, Rational
from lsrl.diagnostics import NOWHERE, LsrlError
from lsrl.types import Value

__all__ = ["SATURATION", "GateRows", "Levels", "Readout", "largest_sum", "read_out", "saturation_text",
           "threshold_layers"]

# |argument| of sigmoid and of tanh, at least: about twice what makes them 0 or 1 and ±1 in torch, exactly
SATURATION = {torch.bfloat16: (200.0, 8.0), torch.float16: (32.0, 10.0), torch.float32: (200.0, 20.0),
              torch.float64: (1600.0, 40.0)}
_LEAST_MARGIN = Fraction(1, 50)  # of half a level, in units of one
_WHOLE_ERROR = Fraction(1, 4)  # of the read-out, whose values are whole numbers


@dataclass(frozen=True, slots=True)
class Levels:
    """What other units see: of a bit ±`bit`, of a register's sign 0 or ±[`bit`, 1], each with this relative error."""

    bit: Fraction = Fraction(1)
    error: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class _Term:
    """One product of a sum, of any signal of its kind: the weight as the dtype holds it, and what may be wrong with it.

    number: the weight as a float. size: the largest |product|. error: how far the product may lie from weight · signal
    of the circuit. middle: to be added so that it is the circuit's weight where the signal is on and 0 where it is off.
    """

    number: float
    size: Fraction
    error: Fraction
    middle: Fraction


@dataclass(frozen=True, slots=True)
class _Part:
    """A sum over one layer, in circuit units: what its levels ask for as a bias, and its exact range.

    indices, numbers: of its terms. kinds: the terms, those that are equal once. size, error: those of all terms
    together; of columns that exclude each other only one counts.
    """

    indices: list[int]
    numbers: list[float]
    kinds: tuple[_Term, ...]
    bias: Fraction
    lo: Fraction
    hi: Fraction
    size: Fraction
    error: Fraction

    def plus(self, bias: Rational) -> _Part:
        return replace(self, bias=self.bias + bias, lo=self.lo + bias, hi=self.hi + bias)


class _Arithmetic:
    """Rounding in one dtype, and bounds of what it does to a sum."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.bits = PRECISION[short(dtype)]
        self.stored = Fraction(1, 2**self.bits)  # relative error of a number once it is rounded
        self.summed = min(self.stored, Fraction(1, 2**24))
        self._known: dict[Fraction, Fraction] = {}

    def rounded(self, x: Fraction) -> Fraction:
        if x.denominator in (1, 2) and abs(x.numerator) < 2**self.bits:
            return x
        found = self._known.get(x)
        if found is None:
            found = self._known[x] = self._rounded(x)
        return found

    def _rounded(self, x: Fraction) -> Fraction:
        number = torch.tensor(float(x), dtype=torch.float64).to(self.dtype).item()
        if not math.isfinite(number):
            raise LsrlError.of("L407", f"a weight of {float(x):g} is beyond what {self.dtype} holds",
                               help="compile with dtype float32 or float64")
        return Fraction(number)

    def sum_error(self, parts: Sequence[_Part], biases: Sequence[Fraction]) -> Fraction:
        """How far the sum of these parts, with biases as the dtype holds them, may lie from what it should be."""
        error = Fraction(0)
        for part, bias in zip(parts, biases, strict=True):
            error += abs(bias - part.bias) + part.error
        if self._is_exact(parts, biases):
            return error
        for part, bias in zip(parts, biases, strict=True):
            n = (len(part.indices) + 1) * self.summed
            error += n / (1 - n) * (abs(bias) + part.size)
            if part.indices and len(parts) > 1:
                error += self.stored * (max(abs(part.lo), abs(part.hi)) + error)
        whole = max(abs(sum((p.lo for p in parts), Fraction(0))), abs(sum((p.hi for p in parts), Fraction(0))))
        return error + self.stored * (whole + error)

    def _is_exact(self, parts: Sequence[_Part], biases: Sequence[Fraction]) -> bool:
        """Whether every partial sum is a number of the dtype: all terms are multiples of one unit, and few of it."""
        if any(t.error for p in parts for t in p.kinds):
            return False
        numbers = [*biases, *(t.size for p in parts for t in p.kinds)]
        per_one = math.lcm(*(x.denominator for x in numbers))
        together = sum((abs(b) + p.size for b, p in zip(biases, parts, strict=True)), Fraction(0))
        return together * per_one <= Fraction(2**self.bits)


class _Reader:
    """Sums over the signals of one layer, or over the input columns (`layer` None)."""

    def __init__(self, layer: Layer | None, columns: Sequence[Column], levels: Levels, arithmetic: _Arithmetic) -> None:
        """Raises ValueError for signals that a threshold layer cannot read."""
        self.layer, self.columns, self.levels, self.arithmetic = layer, columns, levels, arithmetic
        signals = columns if layer is None else layer
        self.kinds = [_kind(s) for s in signals]
        self.groups = [s.group if isinstance(s, Bit) else "" for s in signals]
        self.registers = frozenset(i for i, s in enumerate(signals) if isinstance(s, Register))
        self._terms: dict[tuple[Rational, str], _Term] = {}

    def part(self, form: Form) -> _Part:
        """A form's sum as the dtype computes it."""
        indices = [i for _, i in form.terms]
        counts = Counter((w, self.kinds[i]) for w, i in form.terms)
        for key in counts:
            if key not in self._terms:
                self._terms[key] = self._term(Fraction(key[0]), key[1])
        terms = self._terms
        numbers = [terms[w, self.kinds[i]].number for w, i in form.terms]
        bias = sum((n * terms[key].middle for key, n in counts.items()), Fraction(form.bias))
        if self.layer is None:
            mine = {i: terms[w, "column"] for w, i in form.terms}
            size, error = (self._together({i: getattr(t, name) for i, t in mine.items()}) for name in ("size", "error"))
        else:
            size, error = (sum((n * x for key, n in counts.items() if (x := getattr(terms[key], name))), Fraction(0))
                           for name in ("size", "error"))
        lo, hi = self._range(form, counts)
        return _Part(indices, numbers, tuple(terms[key] for key in counts), bias, lo, hi, size, error)

    def _together(self, parts: Mapping[int, Fraction]) -> Fraction:
        """The largest sum of what columns contribute; one that is 0 contributes nothing."""
        by_value: dict[tuple[str, int | None], dict[Value, Fraction]] = {}
        for i, x in parts.items():
            column = self.columns[i]
            values = by_value.setdefault((column.input, column.element), {})
            for v in column.values or ():
                values[v] = values.get(v, Fraction(0)) + x
        return sum((max(v.values()) for v in by_value.values() if v), Fraction(0))

    def _term(self, w: Fraction, kind: str) -> _Term:
        round_ = self.arithmetic.rounded
        if kind == "column":
            weight = round_(w)
            return _Term(float(weight), abs(weight), abs(weight - w), Fraction(0))
        level, slack = self.levels.bit, self.levels.error
        if kind == "register":
            weight = round_(w / level)
            error = max(abs(weight * level - w), abs(weight - w / level)) + abs(weight) * slack
            return _Term(float(weight), abs(weight), error, Fraction(0))
        weight = round_(w / (2 * level))
        size = abs(weight) * level
        return _Term(float(weight), size, abs(weight * level - w / 2) + size * slack, w / 2)

    def _range(self, form: Form, counts: Mapping[tuple[Rational, str], int]) -> tuple[Fraction, Fraction]:
        """The least and the largest value of a form; of signals that exclude each other one counts at a time."""
        ends = [Fraction(form.bias), Fraction(form.bias)]
        choices: dict[object, dict[object, Rational]] = {}
        if self.layer is None:
            for w, i in form.terms:
                column = self.columns[i]
                for v in column.values or ():
                    values = choices.setdefault((column.input, column.element), {})
                    values[v] = values.get(v, 0) + w
        else:
            for (w, kind), n in counts.items():
                reach = (min(w, -w), max(w, -w)) if kind == "register" else (min(0, w), max(0, w))
                scale = n / self.levels.bit if kind == "register" else n
                ends = [end + scale * x for end, x in zip(ends, reach, strict=True)]
            for w, i in form.terms:
                if self.groups[i]:  # counted as if alone so far
                    choices.setdefault(self.groups[i], {})[i] = w
                    ends = [ends[0] - min(0, w), ends[1] - max(0, w)]
        for one in choices.values():
            ends = [ends[0] + min(0, *one.values()), ends[1] + max(0, *one.values())]
        return ends[0], ends[1]


def _kind(signal: Unit | Column) -> str:
    match signal:
        case Column(values=values) if values is not None:
            return "column"
        case Column():
            raise ValueError("a threshold layer reads no numbers")
        case Register():
            return "register"
        case Bit():
            return "bit"
        case _:
            raise ValueError("a threshold layer has bits only")


class GateRows:
    """The parameters of one layer while they are written, a row for each gate of each unit.

    margins: in circuit units, what is left of each gate's distance from its threshold when all errors are taken off.
    """

    def __init__(self, target: str, gates: int, units: Layer, below: Layer | None, columns: Sequence[Column],
                 levels: Levels, dtype: torch.dtype, one_bias: bool = False) -> None:
        """one_bias: the module adds no bias to what it reads of its own layer."""
        self.target, self.units, self.levels, self.dtype, self.one_bias = target, units, levels, dtype, one_bias
        self.sigmoid, self.tanh = SATURATION[dtype]
        self.arithmetic = _Arithmetic(dtype)
        self.below = _Reader(below, columns, levels, self.arithmetic)
        self.own = _Reader(units, columns, levels, self.arithmetic)
        width, inputs = len(units), len(columns) if below is None else len(below)
        self.w_in = np.zeros((gates, width, inputs))
        self.w_own = np.zeros((gates, width, width))
        self.bias_in = np.zeros((gates, width))
        self.bias_own = np.zeros((gates, width))
        self.margins: list[Fraction] = []

    def keep(self, which: int, row: int, argument: float) -> None:
        """A gate that never changes."""
        self.bias_in[which, row] = argument

    def drive(self, which: int, row: int, gate: Gate, least: float) -> float:
        """A gate whose argument is at least `least` where the circuit's gate is on, and at most −`least` where it is
        off; a negative `least` turns it over. Returns a bound of the argument's size.

        Raises LsrlError: L402 if too many signs of registers meet, L407 if the dtype leaves no margin.
        """
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
        if below.indices or own.indices:
            self.margins.append(left)
        scale = Fraction(2) ** math.ceil(math.log2(abs(least) / float(left)))
        size = scale * sum((abs(b) for b in biases), below.size + own.size)
        if size > torch.finfo(self.dtype).max:
            raise self._too_coarse(row, f"its sums reach {float(size):.3g}")
        signed = float(scale if least > 0 else -scale)
        for part, matrix in ((below, self.w_in), (own, self.w_own)):
            if part.indices:
                matrix[which, row, part.indices] = np.array(part.numbers) * signed
        self.bias_in[which, row], self.bias_own[which, row] = (signed * float(b) for b in biases)
        return float(size)

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
    for units in circuit.layers:
        rows = GateRows(target, gates, units, below, circuit.columns, levels, dtype, one_bias)
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
    arithmetic = _Arithmetic(dtype)
    top = circuit.layers[-1] if circuit.layers else None
    reader = _Reader(top, circuit.columns, levels, arithmetic)
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
            raise LsrlError.of("L407", f"output `{name}` has values up to {float(max(-part.lo, part.hi)):.0f}; "
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
