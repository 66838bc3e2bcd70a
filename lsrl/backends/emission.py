"""What an emitter makes of a circuit: parameters of real layers, and how their state holds the circuit's contents."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from lsrl.backends.circuit import Circuit, Layer, Output
from lsrl.backends.layers import LayerWeights

__all__ = ["Emission", "Emitter", "LayerState", "Technology", "output_grids", "unit_kinds"]

LayerState = tuple[Tensor, ...]  # a layer's state tensors in the order of its kind: (h,) or (h, c), each (B, width)


@dataclass(frozen=True)
class Technology:
    """How one kind of module holds the contents of circuit units (`Circuit.start`).

    Both functions take the unit kinds of one layer ("bit", "number" or "register").
    contents: the layer's state → exact contents (B, width), float64. state: contents, dtype → the layer's state.
    """

    contents: Callable[[tuple[str, ...], LayerState], Tensor]
    state: Callable[[tuple[str, ...], Tensor, torch.dtype], LayerState]


@dataclass(frozen=True)
class Emission:
    """The parameters of a circuit for layers of one kind (`layers.KINDS`); layer k of the circuit is `layers[k]`.

    readout: weight (R, width of the last layer) and bias (R,) from the last layer's h to the scalar elements of the
    outputs in order (row-major), each divided by its entry in `grids`; the results are whole numbers up to
    `tolerance`. Without layers it reads the input columns.
    margin: the least distance of a pre-activation from its threshold, in circuit units (1/2 at best).
    horizon: tokens up to which all sums are exact, None for any number; as far as the quantities of the circuit do
    not say it. partial_sum: the largest bound Σ|weight|·max|signal| + |bias| of a sum of bounded signals.
    limits: for each layer the largest element of h with which all sums are exact, None where it is never passed.
    """

    kind: str
    layers: tuple[LayerWeights, ...]
    unit_kinds: tuple[tuple[str, ...], ...]
    readout: tuple[Tensor, Tensor]
    grids: tuple[Fraction, ...]
    tolerance: float
    technology: Technology
    margin: float
    notes: tuple[str, ...] = ()
    horizon: int | None = None
    partial_sum: Fraction = Fraction(0)
    limits: tuple[float | None, ...] = ()
    input_limit: int | None = None
    saturation: str = ""


Emitter = Callable[[Circuit, torch.dtype], Emission]


def unit_kinds(layer: Layer) -> tuple[str, ...]:
    """"bit", "number" or "register" for each unit."""
    return tuple(type(u).__name__.lower() for u in layer)


def output_grids(outputs: tuple[Output, ...]) -> tuple[Fraction, ...]:
    """For each scalar of the outputs, 1 over the common denominator of its form, which makes its values whole."""
    grids: list[Fraction] = []
    for output in outputs:
        for form in output.forms:
            denominator = math.lcm(*(Fraction(x).denominator for x in (form.bias, *(w for w, _ in form.terms))))
            grids.append(Fraction(1, denominator))
    return tuple(grids)
