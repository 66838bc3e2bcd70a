"""Layers of saturated gates: torch.nn.LSTM, GRU, RNN (tanh) and sLSTM as the targets of these names drive them.

Every gate's argument is so far from zero that sigmoid and tanh give exactly 0, 1 or ±1 in floats. While noise moves
no argument so far that this ends, the hidden states are those of the undisturbed model bit for bit, at every length:
nothing adds up. An argument z = Σ w s + b moves by at most δ (Σ |s| + 1) over the weights that are not zero. Only the
read-out, which is linear, lets noise through: its rows may err by less than one half.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lsrl.backends.model import CompiledModel
from lsrl.backends.slstm import SLSTM
from lsrl.backends.threshold_emission import SATURATION
from lsrl.robustness.columns import Matrix, reads
from lsrl.robustness.noise import scales
from lsrl.robustness.promise import Analysis, Promise
from lsrl.types import shape

__all__ = ["EXACT", "PROMISES", "SLACKS", "Slack", "gate_slacks", "saturating_promise"]

# |argument| from which sigmoid is exactly 0 or 1, and tanh exactly ±1, with room to spare (measured on CPU: float32
# 16.7 and −88.8, denormal down to −104; 9.02; float64 36.8 and −745; 19.1)
EXACT = {torch.float32: (104.0, 9.5), torch.float64: (750.0, 19.5)}


@dataclass(frozen=True)
class _Kind:
    """gates: names of the blocks of rows, as torch orders them. tanh: the one with a tanh. bit: |h| of a bit."""

    gates: tuple[str, ...]
    tanh: int
    bit: float


_KINDS = {"lstm": _Kind(("input gate", "forget gate", "cell", "output gate"), 2, math.tanh(1.0)),
          "slstm": _Kind(("input gate", "forget gate", "cell", "output gate"), 2, 1.0),
          "gru": _Kind(("reset gate", "update gate", "candidate"), 2, 1.0), "rnn_tanh": _Kind(("sum",), 0, 1.0)}


@dataclass(frozen=True)
class Slack:
    """Rows that may each move by `room` (R,), and by how much noise of size 1 moves them at most: `reach` (R,).

    spread: the standard deviation of Gaussian noise of size 1 on them, at most (R,). what: their names.
    """

    room: Matrix
    reach: Matrix
    spread: Matrix
    what: tuple[str, ...]


def saturating_promise(model: CompiledModel, relative: bool, tokens: int) -> Promise | str:
    """The noise below which all gates stay saturated and the read-out rounds to the same numbers."""
    if model.stack.dtype not in EXACT:
        return f"no analysis of saturation in {model.stack.dtype}"
    if any(isinstance(layer, SLSTM) and bool(_rows(layer, 0).any()) for layer in model.layers):
        return "exponential gates that depend on the input scale what they admit"
    best = Promise(math.inf, None, "nothing: no weight is read")
    for slack in gate_slacks(model, relative):
        with np.errstate(divide="ignore"):
            deltas = np.where(slack.reach > 0, slack.room / slack.reach, math.inf)
        if len(deltas) and deltas.min() < best.delta:
            best = Promise(float(deltas.min()), None, slack.what[int(deltas.argmin())])
    return best if best.delta > 0 else f"{best.weakest} has no room for noise"


def gate_slacks(model: CompiledModel, relative: bool) -> list[Slack]:
    """The rows of all gates of all layers, and those of the read-out."""
    sizes = scales(model, relative)
    out: list[Slack] = []
    below: Matrix | None = None
    stack, kind = model.stack, _KINDS[str(model.description["kind"])]
    for layer, width in enumerate(stack.widths):
        at, suffix = (0, layer) if stack.uniform else (layer, 0)
        module = stack.layers[at]
        rows = len(kind.gates) * width

        def pair(full: str, at: int = at, module: nn.Module = module, rows: int = rows) -> tuple[Matrix, Matrix]:
            return tuple(_array(t).reshape(rows, -1)  # type: ignore[return-value]
                         for t in (getattr(module, full), sizes[f"stack.layers.{at}.{full}"]))

        own = _signals(model, layer, width, kind.bit)
        if isinstance(module, SLSTM):
            weights, biases = ("weight", "recurrent"), ["bias"]
        else:
            weights = f"weight_ih_l{suffix}", f"weight_hh_l{suffix}"
            biases = [f"bias_ih_l{suffix}", f"bias_hh_l{suffix}"]
        parts = [_read(model, below, *pair(weights[0])), _read_signals(own, *pair(weights[1]))]
        parts += [(s[:, 0], s[:, 0] ** 2, abs(b[:, 0])) for b, s in map(pair, biases)]
        reach, square, weight = (sum(p[i] for p in parts) for i in range(3))
        assert isinstance(reach, np.ndarray) and isinstance(square, np.ndarray) and isinstance(weight, np.ndarray)
        strong = SATURATION[stack.dtype]
        enough = EXACT[stack.dtype]
        gates = np.repeat(np.arange(len(kind.gates)), width)
        room = np.where(gates == kind.tanh, strong[1] - enough[1], strong[0] - enough[0])
        room = room - weight * (width + stack.inputs) * torch.finfo(stack.dtype).eps  # what summing rounds
        live = weight > 0
        names = tuple(f"{kind.gates[g]} of unit {i % width} in layer {layer + 1}" for i, g in enumerate(gates))
        out.append(Slack(room[live], reach[live], np.sqrt(square[live]),
                         tuple(n for n, x in zip(names, live, strict=True) if x)))
        below = own
    weight_out, scale = _array(model.readout.weight), _array(sizes["readout.weight"])
    reach, square, _ = _read(model, below, weight_out, scale)
    bias = _array(sizes["readout.bias"])
    names = tuple(f"the read-out of `{n}`" for n, t in model.outputs for _ in range(math.prod(shape(t))))
    out.append(Slack(np.full(len(bias), 0.5 - model.certificate.tolerance), reach + bias, np.sqrt(square + bias**2),
                     names))
    return out


def _rows(layer: SLSTM, gate: int) -> Tensor:
    """All weights that one of the gates reads with."""
    rows = slice(gate * layer.width, (gate + 1) * layer.width)
    return torch.cat([layer.weight[rows].flatten(), layer.recurrent[gate].flatten(), layer.bias[rows]])


def _signals(model: CompiledModel, layer: int, width: int, bit: float) -> Matrix:
    """The largest |h| of each unit: that of a bit, 1 of a register, 0 of padding."""
    size = {"bit": bit * (1 + 1e-6), "register": 1.0}
    kinds = model.places.kinds[layer]
    return np.array([*(size[k] for k in kinds), *[0.0] * (width - len(kinds))])


def _read(model: CompiledModel, below: Matrix | None, weight: Matrix, scale: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Of the signals below, or of the input columns: Σ scale·|s|, Σ scale²·s² and Σ |weight|·|s| of each row."""
    if below is not None:
        return _read_signals(below, weight, scale)
    n = model.encoder.width
    return (reads(model.encoder, scale[:, :n]), _squares(model, scale[:, :n]), reads(model.encoder, abs(weight[:, :n])))


def _squares(model: CompiledModel, scale: Matrix) -> Matrix:
    numbers = [c for g in model.encoder.groups if g.members is None for c in g.columns]
    if numbers:  # no threshold layer reads numbers, but a read-out without layers may
        return reads(model.encoder, scale) ** 2
    return reads(model.encoder, scale**2)


def _read_signals(sizes: Matrix, weight: Matrix, scale: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    n = len(sizes)
    return scale[:, :n] @ sizes, scale[:, :n] ** 2 @ sizes**2, abs(weight[:, :n]) @ sizes


def _array(t: Tensor) -> Matrix:
    array: Matrix = t.detach().double().cpu().numpy()
    return array


PROMISES: dict[str, Analysis] = dict.fromkeys(_KINDS, saturating_promise)
SLACKS: dict[str, Callable[[CompiledModel, bool], list[Slack]]] = dict.fromkeys(_KINDS, gate_slacks)
