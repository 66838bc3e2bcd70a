"""Circuits of ReLU maps and gated units as layers: what is the same for all gated targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import torch

from lsrl.backends.circuit import Bit, Circuit, Gated, Lag, Number, Unit
from lsrl.backends.emission import Emission, output_grids, unit_kinds
from lsrl.backends.error_bound import ErrorBound
from lsrl.backends.exactness import Exactness, require_exactness
from lsrl.backends.gated.layers import GatedLayer, Mixer
from lsrl.backends.gated.plan import GATE, rows
from lsrl.backends.linear_form import NEVER, Form
from lsrl.backends.rnn_relu import input_limit
from lsrl.diagnostics import LsrlError

__all__ = ["MakeMixer", "emit_gated"]

# A mixer of units, whose keeps count them from 0; number of signals below; dtype.
MakeMixer = Callable[[Sequence[Gated | Lag], int, torch.dtype], Mixer]


def emit_gated(circuit: Circuit, dtype: torch.dtype, kind: str, make: MakeMixer, saturation: str,
               near: ErrorBound | None = None, limit: int = 0) -> Emission:
    """The layers of a circuit whose layers have maps first, then gated units; `make` builds the mixers.

    near: the bound of the errors, of a circuit whose numbers are not whole; limit: the size of inputs it is for.
    Raises LsrlError (L407) for a dtype that is not hosted, and if a bounded sum is larger than it holds exactly.
    """
    if dtype not in GATE:
        raise LsrlError.of("L407", f"the gates of `{kind}` are exact in float32 and float64, not in {dtype}")
    limit = limit or input_limit(dtype)
    exact = require_exactness(circuit, dtype, limit) if near is None else Exactness(
        near.horizon, Fraction(0), (None,) * len(circuit.layers), None)
    errors = () if near is None else near.errors
    layers: list[GatedLayer] = []
    inputs = len(circuit.columns)
    for units in circuit.layers:
        layers.append(_layer(units, max(inputs, 1), dtype, make))
        inputs = len(units)
    grids = output_grids(circuit.outputs, errors)
    every = (f for o in circuit.outputs for f in o.forms)
    forms = [f.scale(1 / (g or Fraction(1))) for f, g in zip(every, grids, strict=True)]
    weight, bias = rows(forms, inputs)
    start = [torch.tensor([[float(u.start) for u in units]], dtype=torch.float64) for units in circuit.layers]
    unbounded = any(c.values is None and (c.hi is None or (c.fine and near is not None)) for c in circuit.columns)
    return Emission(kind, tuple(layers), tuple(map(unit_kinds, circuit.layers)), (weight.to(dtype), bias.to(dtype)),
                    grids, 0.0, None, 0.5, (), exact.horizon, exact.partial_sum, exact.limits,
                    limit if unbounded else None, saturation,
                    tuple(layer.state_of(x) for layer, x in zip(layers, start, strict=True)))


def _layer(units: Sequence[Unit], inputs: int, dtype: torch.dtype, make: MakeMixer) -> GatedLayer:
    maps: list[Form] = []
    gated: list[Gated | Lag] = []
    for u in units:
        if isinstance(u, Gated):
            gated.append(replace(u, keeps=tuple((keep, i - len(maps)) for keep, i in u.keeps)))
        elif isinstance(u, Lag):
            gated.append(u)
        elif not isinstance(u, Bit | Number) or u.own != Form() or gated or (isinstance(u, Bit) and u.hold != NEVER):
            raise ValueError("a layer has maps without memory first, then gated units")
        else:
            maps.append(u.below)
    layer = GatedLayer(inputs, len(maps), make(gated, inputs, dtype) if gated else None, dtype)
    if layer.map is not None:
        weight, bias = rows(maps, inputs)
        with torch.no_grad():
            layer.map.weight.copy_(weight)
            layer.map.bias.copy_(bias)
    return layer
