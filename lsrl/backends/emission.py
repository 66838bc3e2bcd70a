"""What an emitter makes of a circuit: parameters of real layers, and how their state holds the circuit's contents."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor

from lsrl.backends.circuit import Circuit, Layer, Output
from lsrl.backends.layers import Layer as Module
from lsrl.backends.layers import LayerWeights, ModuleStack, Stack, TorchStack
from lsrl.diagnostics import LsrlError
from lsrl.types import Real, scalar_of

__all__ = ["Emission", "Emitter", "Holder", "LayerState", "Technology", "build_stack", "holders_of", "output_grids",
           "short", "unit_kinds"]

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
    """The parameters of a circuit for layers of one kind; layer k of the circuit is `layers[k]`.

    kind: one of `layers.KINDS`, whose layers are weights, or the target's name, whose layers are modules.

    readout: weight (R, width of the last layer) and bias (R,) from the last layer's h to the scalar elements of the
    outputs in order (row-major), each divided by its entry in `grids`; the results are whole numbers up to
    `tolerance`. Without layers it reads the input columns.
    margin: the least distance of a pre-activation from its threshold, in circuit units (1/2 at best).
    horizon: tokens up to which all sums are exact, None for any number; as far as the quantities of the circuit do
    not say it. partial_sum: the largest bound Σ|weight|·max|signal| + |bias| of a sum of bounded signals.
    initial: of layers that are modules the start state, each tensor (1, n).
    epsilon: the error that was allowed, None of an exact model. errors: the bound of each scalar of the outputs; those
    that are not exact have a grid of 0, and are read as they stand.
    limits: for each layer the largest element of h with which all sums are exact, None where it is never passed.
    """

    kind: str
    layers: tuple[LayerWeights, ...] | tuple[Module, ...]
    unit_kinds: tuple[tuple[str, ...], ...]
    readout: tuple[Tensor, Tensor]
    grids: tuple[Fraction, ...]
    tolerance: float
    technology: Technology | None
    margin: float
    notes: tuple[str, ...] = ()
    horizon: int | None = None
    partial_sum: Fraction = Fraction(0)
    limits: tuple[float | None, ...] = ()
    input_limit: int | None = None
    saturation: str = ""
    initial: tuple[LayerState, ...] = ()
    epsilon: Fraction | None = None
    errors: tuple[float, ...] = ()


def build_stack(emission: Emission, inputs: int, dtype: torch.dtype, uniform: bool = False) -> Stack:
    """The layers themselves. Raises LsrlError (L409) for layers that torch has not, if they are to be one module."""
    weights = [x for x in emission.layers if isinstance(x, LayerWeights)]
    modules = [x for x in emission.layers if isinstance(x, Module)]
    if emission.technology is not None:
        return TorchStack.from_weights(emission.kind, inputs, weights, dtype, uniform)
    if uniform:
        raise LsrlError.of("L409", f"layers of `{emission.kind}` cannot be one module",
                           help="leave out --uniform: it is for torch.nn.RNN, GRU and LSTM")
    stack = ModuleStack(inputs, modules, dtype)
    for i, tensors in enumerate(emission.initial):
        stack.set_initial(i, [t[0] for t in tensors])
    return stack


class Holder(Protocol):
    """How one layer's state holds the contents of circuit units; a module layer is its own (`layers.Layer`)."""

    def contents(self, state: LayerState) -> Tensor: ...

    def state_of(self, contents: Tensor) -> LayerState: ...

    def element(self, unit: int) -> tuple[int, int] | None: ...

    def mixture(self, unit: int) -> list[tuple[int, float]] | None: ...


@dataclass(frozen=True)
class _Held:
    """The holder of a torch layer, which may be padded to a `width` beyond its units."""

    kinds: tuple[str, ...]
    technology: Technology
    width: int
    dtype: torch.dtype

    def contents(self, state: LayerState) -> Tensor:
        return self.technology.contents(self.kinds, tuple(t[:, : len(self.kinds)] for t in state))

    def state_of(self, contents: Tensor) -> LayerState:
        tensors = self.technology.state(self.kinds, contents, self.dtype)
        return tuple(torch.nn.functional.pad(t, (0, self.width - t.shape[1])) for t in tensors)

    def element(self, unit: int) -> tuple[int, int] | None:
        return (1 if self.kinds[unit] == "register" else 0), unit

    def mixture(self, unit: int) -> list[tuple[int, float]] | None:
        return None


def holders_of(stack: Stack, kinds: Sequence[tuple[str, ...]], technology: Technology | None) -> list[Holder]:
    """A holder for each layer of a stack. kinds: those of each layer's units."""
    if technology is not None:
        return [_Held(k, technology, w, stack.dtype) for k, w in zip(kinds, stack.widths, strict=True)]
    return [layer for layer in stack.layers if isinstance(layer, Module)]


Emitter = Callable[[Circuit, torch.dtype], Emission]


def short(dtype: torch.dtype) -> str:
    """The dtype's name without its package: float32."""
    return str(dtype).removeprefix("torch.")


def unit_kinds(layer: Layer) -> tuple[str, ...]:
    """"bit", "number", "register", "gated" or "lag" for each unit."""
    return tuple(type(u).__name__.lower() for u in layer)


def output_grids(outputs: tuple[Output, ...], errors: Sequence[float] = ()) -> tuple[Fraction, ...]:
    """For each scalar of the outputs, 1 over the common denominator of its form, which makes its values whole; 0 for a
    real with an error."""
    grids: list[Fraction] = []
    for output in outputs:
        for form in output.forms:
            if errors and errors[len(grids)] and isinstance(scalar_of(output.type), Real):
                grids.append(Fraction(0))
                continue
            denominator = math.lcm(*(x.denominator for x in (form.bias, *(w for w, _ in form.terms))))
            grids.append(Fraction(1, denominator))
    return tuple(grids)
