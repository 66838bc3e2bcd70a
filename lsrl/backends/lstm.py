"""Circuits as torch.nn.LSTM: technology T, with cell states as registers.

The layer (Hochreiter and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber and Cummins 2000; as torch
documents it): i, f, o = σ(W x + b + U h + c), g = tanh(W x + b + U h + c), c := f c + i g, h := o tanh(c).

A bit has f = 0 and i = o = 1 by saturation, so that c = g = ±1 and h = ±tanh 1; one that is held has f = 1 and i = 0. A
register has f = 1 (0 to clear), i = 1 where it moves and g = ±1: c counts exactly up to the float's integers. All gates
are driven so far into saturation that they are exactly 0, 1 or ±1 whatever the order of the sums (see
`threshold_emission`).
"""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

from lsrl.backends.certificate import PRECISION
from lsrl.backends.circuit import Bit, Circuit, Layer, Register, Unit
from lsrl.backends.emission import Emission, Technology, short, unit_kinds
from lsrl.backends.linear_form import NEVER, Gate
from lsrl.backends.small_signal import SIGNAL, Gating, small_signal
from lsrl.backends.threshold_emission import (
    SATURATION,
    GateRows,
    Levels,
    largest_sum,
    read_out,
    saturation_text,
    threshold_layers,
)
from lsrl.diagnostics import LsrlError

__all__ = ["APPROXIMATE", "SATURATION", "TECHNOLOGY", "emit", "levels"]

_I, _F, _G, _O = range(4)  # torch's order of the gates


def _contents(kinds: tuple[str, ...], state: tuple[Tensor, ...]) -> Tensor:
    registers = torch.tensor([k == "register" for k in kinds], device=state[0].device)
    h, c = state
    if "gated" in kinds:
        return h.double() / SIGNAL[h.dtype]
    return torch.where(registers, c.double().round(), (h > 0).double())


def _state(kinds: tuple[str, ...], contents: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    if "gated" in kinds:
        h = (contents * SIGNAL[dtype]).to(dtype)
        return h, h.clone()
    registers = torch.tensor([k == "register" for k in kinds], device=contents.device)
    c = torch.where(registers, contents, 2 * contents - 1).to(dtype)
    return torch.tanh(c), c


TECHNOLOGY = Technology(_contents, _state)


APPROXIMATE = small_signal(Gating("lstm", (1, -1, 0, 1), _G, TECHNOLOGY))


def levels(dtype: torch.dtype) -> Levels:
    """±tanh 1 as the dtype holds it, right to four units in the last place.

    In half precision it is known: tanh 1 lies so far from the middle between two numbers that any tanh with a relative
    error below 1e-4 is rounded to the same one.
    """
    bits = PRECISION[short(dtype)]
    return Levels(Fraction(torch.tanh(torch.ones(1, dtype=dtype)).item()), Fraction(0 if bits < 24 else 8, 2**bits))


def emit(circuit: Circuit, dtype: torch.dtype) -> Emission:
    """The parameters of a circuit of bits and registers.

    Raises LsrlError: L407 if the dtype is not exact for a gate or an output, or has too few integers for a counter.
    """
    if dtype in (torch.bfloat16, torch.float16):
        _require_bounded(circuit, dtype)
    if dtype not in SATURATION:
        raise LsrlError.of("L407", f"an LSTM's gates are not known to be exact in {short(dtype)}")
    seen = levels(dtype)

    def start(units: Layer) -> tuple[Tensor, ...]:
        contents = torch.tensor([[float(u.start) for u in units]], dtype=torch.float64)
        h, c = _state(unit_kinds(units), contents, dtype)
        return h[0], c[0]

    layers, margin = threshold_layers("lstm", 4, circuit, seen, dtype, _write, start)
    readout = read_out(circuit, seen, dtype)
    return Emission("lstm", layers, tuple(map(unit_kinds, circuit.layers)), (readout.weight, readout.bias),
                    readout.grids, readout.tolerance, TECHNOLOGY, margin, saturation=saturation_text(dtype),
                    partial_sum=largest_sum(circuit), limits=(None,) * len(layers))


def _write(rows: GateRows, row: int, unit: Unit) -> None:
    rows.keep(_O, row, rows.sigmoid)
    match unit:
        case Bit():
            if unit.hold == NEVER:
                rows.keep(_I, row, rows.sigmoid)
                rows.keep(_F, row, -rows.sigmoid)
            else:
                rows.drive(_I, row, unit.hold, -rows.sigmoid)
                rows.drive(_F, row, unit.hold, rows.sigmoid)
            rows.drive(_G, row, Gate(unit.below, unit.own), rows.tanh)
        case Register():
            rows.drive(_I, row, unit.move, rows.sigmoid)
            rows.drive(_G, row, unit.up, rows.tanh)
            if unit.clear == NEVER:
                rows.keep(_F, row, rows.sigmoid)
            else:
                rows.drive(_F, row, unit.clear, -rows.sigmoid)
        case _:
            raise ValueError("an LSTM has bits and registers only")


def _require_bounded(circuit: Circuit, dtype: torch.dtype) -> None:
    """That every counter stays within the integers of a half-precision dtype: nothing would tell when it does not."""
    bits = PRECISION[short(dtype)]
    for q in circuit.quantities:
        lo, hi = (None if x is None else Fraction(x) for x in (q.lo, q.hi))
        if lo is None or hi is None or max(-lo, hi, hi - lo) > 2**bits:
            raise LsrlError.of("L407", f"counter `{q.name}` may leave the integers that {short(dtype)} holds, up to "
                               f"{2**bits}")
