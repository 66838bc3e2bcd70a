"""What an emitter hands to `CompiledModel`: real modules, and how their state holds the circuit's contents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Circuit, Layer

__all__ = ["Emission", "Emitter", "LayerState", "Technology", "unit_kinds"]

LayerState = tuple[Tensor, ...]  # (h,) of an RNN, (h, c) of an LSTM; each (B, width)


@dataclass(frozen=True)
class Technology:
    """How one kind of module holds the contents of circuit units (`Circuit.start`).

    Both functions take the unit kinds of one layer ("bit", "number" or "register") and tensors (B, width).
    contents: layer state → exact contents, float64. state: contents, dtype → layer state.
    """

    contents: Callable[[tuple[str, ...], LayerState], Tensor]
    state: Callable[[tuple[str, ...], Tensor, torch.dtype], LayerState]


@dataclass(frozen=True)
class Emission:
    """The parameters of a circuit in real modules.

    modules: one per layer, `batch_first`, one torch layer each, input width that of the layer below (columns at first).
    kinds: unit kinds per layer. readout: nn.Linear from the last layer's h to all scalar outputs in order (outputs of
    the circuit, their elements row-major); its results are the outputs' numbers up to `tolerance`, less than half of
    the spacing of the outputs' values. margins: least distance of any pre-activation from its threshold, and text
    lines for the certificate.
    """

    modules: tuple[nn.Module, ...]
    kinds: tuple[tuple[str, ...], ...]
    readout: nn.Linear
    tolerance: float
    technology: Technology
    margin: float
    notes: tuple[str, ...] = ()


def unit_kinds(layer: Layer) -> tuple[str, ...]:
    """"bit", "number" or "register" for each unit."""
    return tuple(type(u).__name__.lower() for u in layer)


Emitter = Callable[[Circuit, torch.dtype], Emission]
