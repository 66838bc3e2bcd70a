"""Circuits as torch.nn.RNN(nonlinearity="tanh"): technology T, bits only.

The layer (Elman 1990, as torch documents it): h := tanh(W x + b + U h + c). A bit is h = ±1 exactly, by saturation.
There is no gate, so a bit that keeps its value is one whose own weight says so.
"""

from __future__ import annotations

import torch

from lsrl.backends.circuit import Bit, Circuit, Unit
from lsrl.backends.emission import Emission, Technology, unit_kinds
from lsrl.backends.gru import bit_contents, bit_start, bit_state
from lsrl.backends.linear_form import NEVER, Gate
from lsrl.backends.lower import bits_circuit
from lsrl.backends.small_signal import Gating, small_signal
from lsrl.backends.target import DTYPES, Target
from lsrl.backends.threshold_emission import (
    GateRows,
    Levels,
    largest_sum,
    read_out,
    saturation_text,
    threshold_layers,
)

__all__ = ["TARGET", "TECHNOLOGY", "emit"]

TECHNOLOGY = Technology(bit_contents, bit_state)


def emit(circuit: Circuit, dtype: torch.dtype) -> Emission:
    """The parameters of a circuit of bits. Raises LsrlError (L407) if the dtype is not exact for a unit or output."""
    layers, margin = threshold_layers("rnn_tanh", 1, circuit, Levels(), dtype, _write,
                                      lambda units: bit_start(units, dtype))
    readout = read_out(circuit, Levels(), dtype)
    return Emission("rnn_tanh", layers, tuple(map(unit_kinds, circuit.layers)), (readout.weight, readout.bias),
                    readout.grids, readout.tolerance, TECHNOLOGY, margin,
                    saturation=saturation_text(dtype, sigmoid=False), partial_sum=largest_sum(circuit),
                    limits=(None,) * len(layers))


def _write(rows: GateRows, row: int, unit: Unit) -> None:
    if not isinstance(unit, Bit) or unit.hold != NEVER:
        raise ValueError("a tanh layer has bits only, and no gate to hold them")
    rows.drive(0, row, Gate(unit.below, unit.own), rows.tanh)


TARGET = Target("rnn_tanh", "torch.nn.RNN(nonlinearity='tanh'): automata, latches, bounded counters",
                lambda graph, name, dtype: bits_circuit(graph, name, "the state of a tanh layer stays in [−1, 1]"),
                emit, TECHNOLOGY, dtypes=DTYPES,
                approximate=small_signal(Gating("rnn_tanh", (0,), 0, TECHNOLOGY)))
