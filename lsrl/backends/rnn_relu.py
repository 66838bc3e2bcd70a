"""Circuits as torch.nn.RNN(nonlinearity="relu"): technology R, every signal a whole number of one unit.

h := ReLU(W x + b + U h). A bit whose sum never exceeds 1 is ReLU of that sum; a general threshold is
ReLU(f) − ReLU(f − 1), two units; a number is its own unit. The weights are whole numbers and every partial sum is
exact up to the horizon, so batch size, threads and device cannot change a result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from lsrl.backends.certificate import PRECISION
from lsrl.backends.circuit import Bit, Circuit, Count, Number, Placement, Unit
from lsrl.backends.emission import Emission, Technology, output_grids, short, unit_kinds
from lsrl.backends.error_bound import ErrorBound
from lsrl.backends.exactness import Exactness, require_exactness
from lsrl.backends.layers import LayerWeights
from lsrl.backends.linear_form import NEVER, Form, Rational

__all__ = ["TECHNOLOGY", "emit", "input_limit", "single_units"]


def _contents(kinds: tuple[str, ...], state: tuple[Tensor, ...]) -> Tensor:
    return state[0].double()


def _state(kinds: tuple[str, ...], contents: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    return (contents.to(dtype),)


TECHNOLOGY = Technology(_contents, _state)


def input_limit(dtype: torch.dtype) -> int:
    """The bound taken for inputs that the program does not bound: the root of the largest exact number."""
    return 1 << PRECISION[short(dtype)] // 2


def emit(circuit: Circuit, dtype: torch.dtype, near: ErrorBound | None = None, limit: int = 0) -> Emission:
    """The parameters of a circuit of bits and numbers with whole weights, each unit one ReLU (see `single_units`).

    near: the bound of the errors, of a circuit whose numbers are not whole; limit: the size of inputs it is for.
    Raises LsrlError (L407) if a bounded sum is larger than the dtype holds exactly.
    """
    if any(isinstance(u, Bit) and not u.at_most_one for layer in circuit.layers for u in layer):
        raise ValueError("a threshold whose sum may exceed 1 takes two units: see single_units")
    limit = limit or input_limit(dtype)
    exact = require_exactness(circuit, dtype, limit) if near is None else Exactness(
        near.horizon, Fraction(0), (None,) * len(circuit.layers), None)
    layers = tuple(_weights(circuit, k, dtype, near is None) for k in range(len(circuit.layers)))
    grids = output_grids(circuit.outputs, () if near is None else near.errors)
    every = (f for o in circuit.outputs for f in o.forms)
    forms = [f.scale(1 / (g or Fraction(1))) for f, g in zip(every, grids, strict=True)]
    width = len(circuit.layers[-1]) if circuit.layers else len(circuit.columns)
    number = _whole if near is None else float
    readout = (_matrix(forms, width, dtype, number), torch.tensor([number(f.bias) for f in forms], dtype=dtype))
    unbounded = any(c.values is None and (c.hi is None or (c.fine and near is not None)) for c in circuit.columns)
    return Emission("rnn_relu", layers, tuple(map(unit_kinds, circuit.layers)), readout, grids, 0.0, TECHNOLOGY, 0.5,
                    (), exact.horizon, exact.partial_sum, exact.limits, limit if unbounded else None,
                    "none: whole numbers, and sums of them that a float holds exactly" if near is None else "none")


def _weights(circuit: Circuit, layer: int, dtype: torch.dtype, whole: bool) -> LayerWeights:
    units = circuit.layers[layer]
    below = len(circuit.layers[layer - 1]) if layer else len(circuit.columns)
    parts = [(u.below, u.own) for u in units
             if isinstance(u, Bit | Number) and not (isinstance(u, Bit) and u.hold != NEVER)]
    if len(parts) < len(units):
        raise ValueError("a ReLU layer has bits and numbers only")
    number = _whole if whole else float
    bias = torch.tensor([number(b.bias + o.bias) for b, o in parts], dtype=dtype)
    return LayerWeights(_matrix([b for b, _ in parts], below, dtype, number),
                        _matrix([o for _, o in parts], len(units), dtype, number), bias, torch.zeros_like(bias),
                        (torch.tensor([number(u.start) for u in units], dtype=dtype),))


def _matrix(forms: Sequence[Form], width: int, dtype: torch.dtype, number: Callable[[Rational], float]) -> Tensor:
    out = torch.zeros(len(forms), width, dtype=dtype)
    for row, form in enumerate(forms):
        for w, i in form.terms:
            out[row, i] = number(w)
    return out


def _whole(x: Rational) -> float:
    if x.denominator != 1:
        raise ValueError(f"{x} is no whole number")
    return float(x)


def single_units(circuit: Circuit) -> Circuit:
    """The circuit with every general threshold made of two numbers, so that each unit is one ReLU."""
    if all(not isinstance(u, Bit) or u.at_most_one for layer in circuit.layers for u in layer):
        return circuit
    images: list[list[Form]] = [[Form(((1, i),)) for i in range(len(circuit.columns))]]
    layers: list[tuple[Unit, ...]] = []
    for units in circuit.layers:
        image: list[Form] = []
        at = 0
        for u in units:
            double = isinstance(u, Bit) and not u.at_most_one
            image.append(Form(((1, at), (-1, at + 1))) if double else Form(((1, at),)))
            at += 2 if double else 1
        new: list[Unit] = []
        for u in units:
            if not isinstance(u, Bit | Number):
                raise ValueError("a ReLU layer has bits and numbers only")
            below, own = _through(u.below, images[-1]), _through(u.own, image)
            if isinstance(u, Bit) and not u.at_most_one:
                top = sum((max(Fraction(w), Fraction(0)) for w, _ in (*below.terms, *own.terms)),
                          Fraction(below.bias + own.bias))
                new.append(Number(below, own, u.symbol, u.start, top))
                new.append(Number(below, own - 1, u.symbol, 0, max(top - 1, Fraction(0))))
            else:
                new.append(replace(u, below=below, own=own))
        layers.append(tuple(new))
        images.append(image)
    outputs = tuple(replace(o, forms=tuple(_through(f, images[-1]) for f in o.forms)) for o in circuit.outputs)
    return replace(circuit, layers=tuple(layers), outputs=outputs,
                   placements=tuple(_moved(p, images[p.layer]) for p in circuit.placements))


def _through(form: Form, image: Sequence[Form]) -> Form:
    return Form.total([image[i].scale(w) for w, i in form.terms], form.bias)


def _moved(p: Placement, image: Sequence[Form]) -> Placement:
    """A placement over the doubled units: a bit that is on is (1, 0)."""
    first = {i: image[i].terms[0][1] for i in range(len(image))}
    return replace(
        p, forms=tuple(_through(f, image) for f in p.forms),
        patterns=tuple(tuple(first[i] for i in pattern) for pattern in p.patterns),
        units=tuple(u for i in p.units for _, u in image[i].terms),
        numbers=tuple((n, Count(_through(c.form, image), tuple((first[u], a, b, k) for u, a, b, k in c.units)))
                      for n, c in p.numbers))
