"""Circuits as sLSTM layers: technology T, bits only.

The layer (Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory", section 2.2, with its stabiliser state m):

    z, i, f, o (before their gates) = W x(t) + R h(t − 1) + b, R one block a head
    z(t) = tanh(z),  o(t) = σ(o),  log i = i,  log f = log σ(f), or f itself where the forget gate is exponential
    m(t) = max(log f + m(t − 1), log i),  i' = exp(log i − m(t)),  f' = exp(log f + m(t − 1) − m(t))
    c(t) = f' c(t − 1) + i' z(t),  n(t) = f' n(t − 1) + i',  h(t) = o(t) c(t) / n(t)

h feeds back through a nonlinearity, so there is no parallel form: the sequence is a loop, but for units that read no h
and whose f' is always 0. A bit has i' = 1, f' = 0 and o = 1, which makes n = 1 and h = c = ±1 exactly. One that is held
has f' = 1 and i' = 0: c, n and m stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Bit, Circuit, Unit
from lsrl.backends.circuit import Layer as Units
from lsrl.backends.emission import Emission, unit_kinds
from lsrl.backends.layers import Layer, LayerWeights, State
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

__all__ = ["TARGET", "SLSTM", "emit"]

_I, _F, _Z, _O = range(4)  # the order of the gates in the parameters


class SLSTM(Layer):
    """See the module. Parameters: weight (4 · width, inputs), recurrent (4, heads, width/heads, width/heads), bias."""

    def __init__(self, inputs: int, width: int, dtype: torch.dtype, heads: int = 1,
                 exponential_forget: bool = False, signals: bool = False) -> None:
        """signals: units hold numbers as small signals, not bits. Raises ValueError if the heads do not divide the
        width."""
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"{heads} heads do not divide {width} units")
        self.inputs, self.width, self.heads = inputs, width, heads
        self.exponential_forget, self.signals = bool(exponential_forget), bool(signals)
        self.tensors = tuple((name, width) for name in "hcnm")
        block = width // heads
        self.weight = nn.Parameter(torch.zeros(4 * width, inputs, dtype=dtype))
        self.recurrent = nn.Parameter(torch.zeros(4, heads, block, block, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(4 * width, dtype=dtype))

    def config(self) -> dict[str, Any]:
        return {"inputs": self.inputs, "width": self.width, "heads": self.heads,
                "exponential_forget": self.exponential_forget, "signals": self.signals}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        below = nn.functional.linear(x, self.weight, self.bias).reshape(*x.shape[:2], 4, self.width)
        needed = self._needed(state[3])
        if not bool(needed.any()):
            return self._mapped(below)
        if self.heads > 1 or bool(needed.all()):
            return self._looped(below, state, self.recurrent)
        units = needed.nonzero().squeeze(1)
        recurrent = self.recurrent[:, :, units][:, :, :, units]
        part, ends = self._looped(below[..., units], tuple(t[:, units] for t in state), recurrent)
        shown, after = self._mapped(below)
        return shown.index_copy(2, units, part), tuple(
            a.index_copy(1, units, end) for a, end in zip(after, ends, strict=True))

    def _needed(self, m: Tensor) -> Tensor:
        """Which units (width,) have a memory, as far as is seen at once, or are read by one that has: they read their
        layer, or the gates i and f are not those that shut out the state, m (B, width) of it, at every token. All of
        them where the gradient of the recurrent weights is wanted."""
        if self.recurrent.requires_grad:
            return torch.ones_like(m[0], dtype=torch.bool)
        size = self.width // self.heads
        reads = torch.zeros(self.width, self.width, dtype=torch.bool, device=m.device)
        for k, block in enumerate((self.recurrent != 0).any(0)):
            reads[k * size : (k + 1) * size, k * size : (k + 1) * size] = block
        driven = (self.weight != 0).any(1).reshape(4, self.width)
        i, f, _, _ = self.bias.reshape(4, self.width)
        keep = torch.exp((f if self.exponential_forget else nn.functional.logsigmoid(f)) + torch.maximum(m, i) - i)
        memory = reads.any(1) | driven[_I] | driven[_F] | (keep != 0).any(0)
        return memory | reads[memory].any(0)

    def _mapped(self, below: Tensor) -> tuple[Tensor, State]:
        """All tokens at once, for units without memory: f' = 0 and i' = 1, so that c is z, n is 1 and m is log i."""
        i, _, z, o = below.unbind(2)
        c = torch.tanh(z)
        shown = torch.sigmoid(o) * c
        return shown, (shown[:, -1], c[:, -1], torch.ones_like(i[:, -1]), i[:, -1])

    def _looped(self, below: Tensor, state: State, recurrent: Tensor) -> tuple[Tensor, State]:
        """Token by token. below: W x + b as (B, T, 4, units)."""
        shown: list[Tensor] = []
        for token in below.unbind(1):
            state = self._next(token, state, recurrent)
            shown.append(state[0])
        return torch.stack(shown, 1), state

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        below = nn.functional.linear(x, self.weight, self.bias).reshape(len(x), 4, self.width)
        state = self._next(below, state, self.recurrent)
        return state[0], state

    def _next(self, below: Tensor, state: State, recurrent: Tensor) -> State:
        """below: W x + b of one token (B, 4, units); recurrent: R of these units."""
        h, c, n, m = state
        if self.heads == 1:
            own = nn.functional.linear(h, recurrent.reshape(-1, h.shape[1])).reshape(below.shape)
        else:
            own = torch.einsum("bhi,ghoi->bgho", h.reshape(len(h), self.heads, -1), recurrent).flatten(2)
        i, f, z, o = (below + own).unbind(1)
        log_f = f if self.exponential_forget else nn.functional.logsigmoid(f)
        after = torch.maximum(log_f + m, i)
        admit, keep = torch.exp(i - after), torch.exp(log_f + m - after)
        c = keep * c + admit * torch.tanh(z)
        n = keep * n + admit
        return torch.sigmoid(o) * (c / n), c, n, after

    def contents(self, state: State) -> Tensor:
        if self.signals:
            return state[0].double() / SIGNAL[state[0].dtype]
        return (state[0] > 0).double()

    def state_of(self, contents: Tensor) -> State:
        dtype = self.bias.dtype
        h = (contents * SIGNAL[dtype] if self.signals else 2 * contents - 1).to(dtype)
        return h, h.clone(), torch.ones_like(h), torch.zeros_like(h)

    def element(self, unit: int) -> tuple[int, int] | None:
        return 0, unit


def emit(circuit: Circuit, dtype: torch.dtype) -> Emission:
    """The layers of a circuit of bits. Raises LsrlError (L407) if the dtype is not exact for a gate or output."""
    def start(units: Units) -> tuple[Tensor, ...]:
        h = torch.tensor([2.0 * float(u.start) - 1 for u in units], dtype=dtype)
        return h, h.clone(), torch.ones_like(h), torch.zeros_like(h)

    weights, margin = threshold_layers("slstm", 4, circuit, Levels(), dtype, _write, start, one_bias=True)
    readout = read_out(circuit, Levels(), dtype)
    return Emission("slstm", tuple(_layer(w, dtype) for w in weights), tuple(map(unit_kinds, circuit.layers)),
                    (readout.weight, readout.bias), readout.grids, readout.tolerance, None, margin,
                    saturation=saturation_text(dtype), partial_sum=largest_sum(circuit), limits=(None,) * len(weights),
                    initial=tuple(tuple(t.unsqueeze(0) for t in w.initial) for w in weights))


def _write(rows: GateRows, row: int, unit: Unit) -> None:
    if not isinstance(unit, Bit):
        raise ValueError("an sLSTM has bits only")
    rows.keep(_O, row, rows.sigmoid)
    rows.drive(_Z, row, Gate(unit.below, unit.own), rows.tanh)
    if unit.hold == NEVER:
        rows.keep(_F, row, -rows.sigmoid)
        return
    # m is the argument of the input gate when the bit was last written, so the forget gate must outweigh any of those.
    largest = rows.drive(_I, row, unit.hold, -rows.sigmoid)
    rows.drive(_F, row, unit.hold, rows.sigmoid + largest)


def _layer(w: LayerWeights, dtype: torch.dtype, signals: bool = False) -> SLSTM:
    layer = SLSTM(w.inputs, w.width, dtype, signals=signals)
    with torch.no_grad():
        layer.weight.copy_(w.w_in)
        layer.recurrent.copy_(w.w_own.reshape(4, 1, w.width, w.width))
        layer.bias.copy_(w.bias_in)
    return layer


# Its bits are not held: with input gates of more than one size, noise on them would no longer leave states as they are.
TARGET = Target("slstm", "sLSTM (Beck et al. 2024): automata, latches, bounded counters",
                lambda graph, name, dtype: bits_circuit(graph, name, "an sLSTM shows c / n, which stays in [−1, 1]"),
                emit, layer=SLSTM, holds=True, dtypes=DTYPES, approximate=small_signal(
                    Gating("slstm", (0, -1, 0, 1), _Z, layer=lambda w, dtype: _layer(w, dtype, signals=True))))
