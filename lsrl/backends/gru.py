"""Circuits as torch.nn.GRU: technology T, bits only.

The layer (Cho et al. 2014, equations 5 to 8, with the reset gate after the matrix product and z turned over, as torch
documents it): r, z = σ(W x + b + U h + c), n = tanh(W x + b + r (U h + c)), h := (1 − z) n + z h.

A bit has r = 1 and z = 0 by saturation, so that h = n = ±1 exactly; one that is held has z = 1, which leaves h as it
was. The state never leaves [−1, 1], so there is nothing to count in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lsrl.backends.circuit import Bit, Circuit, Layer, Unit
from lsrl.backends.emission import Emission, Technology, unit_kinds
from lsrl.backends.linear_form import NEVER, Gate
from lsrl.backends.lower import bits_circuit
from lsrl.backends.small_signal import SIGNAL, Gating, small_signal
from lsrl.backends.target import DTYPES, Target
from lsrl.backends.threshold_emission import (
    GateRows,
    Levels,
    largest_sum,
    read_out,
    saturation_text,
    threshold_layers,
)

__all__ = ["TARGET", "TECHNOLOGY", "bit_contents", "bit_start", "bit_state", "emit"]

_R, _Z, _N = range(3)  # torch's order of the gates


def bit_contents(kinds: tuple[str, ...], state: tuple[Tensor, ...]) -> Tensor:
    """Bits of a state whose h is ±1; numbers of one whose h are small signals."""
    if "gated" in kinds:
        return state[0].double() / SIGNAL[state[0].dtype]
    return (state[0] > 0).double()


def bit_state(kinds: tuple[str, ...], contents: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The state whose h is ±1 as these bits say, or the small signals of these numbers."""
    if "gated" in kinds:
        return ((contents * SIGNAL[dtype]).to(dtype),)
    return ((2 * contents - 1).to(dtype),)


def bit_start(units: Layer, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """h (width,) before the first token."""
    return (torch.tensor([2.0 * float(u.start) - 1 for u in units], dtype=dtype),)


TECHNOLOGY = Technology(bit_contents, bit_state)


def emit(circuit: Circuit, dtype: torch.dtype) -> Emission:
    """The parameters of a circuit of bits. Raises LsrlError (L407) if the dtype is not exact for a gate or output."""
    layers, margin = threshold_layers("gru", 3, circuit, Levels(), dtype, _write, lambda units: bit_start(units, dtype))
    readout = read_out(circuit, Levels(), dtype)
    return Emission("gru", layers, tuple(map(unit_kinds, circuit.layers)), (readout.weight, readout.bias),
                    readout.grids, readout.tolerance, TECHNOLOGY, margin, saturation=saturation_text(dtype),
                    partial_sum=largest_sum(circuit), limits=(None,) * len(layers))


def _write(rows: GateRows, row: int, unit: Unit) -> None:
    if not isinstance(unit, Bit):
        raise ValueError("a GRU has bits only")
    rows.keep(_R, row, rows.sigmoid)
    if unit.hold == NEVER:
        rows.keep(_Z, row, -rows.sigmoid)
    else:
        rows.drive(_Z, row, unit.hold, rows.sigmoid)
    rows.drive(_N, row, Gate(unit.below, unit.own), rows.tanh)


TARGET = Target("gru", "torch.nn.GRU: automata, latches, bounded counters",
                lambda graph, name, dtype: bits_circuit(graph, name, "a GRU's state stays in [−1, 1]", holds=True),
                emit, TECHNOLOGY, holds=True, dtypes=DTYPES,
                approximate=small_signal(Gating("gru", (1, -1, 0), _N, TECHNOLOGY)))
