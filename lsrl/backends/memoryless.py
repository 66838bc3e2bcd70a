"""One torch layer over whole sequences: units without memory for all tokens at once, the others by torch's own loop.

torch goes from token to token through every unit of an nn.RNN, GRU or LSTM, although most units that are constructed
have no memory: they read nothing of their own layer, and the gate that would keep their state is shut, exactly. What
such units show is one product over all tokens. The others of a GRU or LSTM, with those that they read, are a smaller
layer of the same kind, whose parameters are rows and columns of the layer's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["run_layer"]

_FEW = 16  # tokens; for fewer, torch's loop through all units is quicker than to find out which have no memory
_GATES = {"RNN_RELU": 1, "RNN_TANH": 1, "GRU": 3, "LSTM": 4}
_MOST = {"RNN_RELU": 0.0, "RNN_TANH": 0.0, "GRU": 0.6, "LSTM": 0.5}  # of the units, for which a loop of their own pays


def run_layer(layer: nn.RNNBase, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What a module of one layer shows of x (B, T, inputs), as (B, T, width), and its state after.

    state: h (B, width), of an LSTM also c. On other devices than the CPU, and where the gradient of what the layer
    reads of itself is wanted, the module itself is called: it has kernels of its own there, and a weight of 0 has a
    gradient too.
    """
    if x.device.type != "cpu" or layer.get_parameter("weight_hh_l0").requires_grad:
        return _by_module(layer, x, state)
    if x.shape[1] < _FEW and _GATES[layer.mode] > 1:
        return _by_module(layer, x, state)
    needed = _needed(layer)
    count = int(needed.sum())
    if count and (x.shape[1] < _FEW or count > _MOST[layer.mode] * layer.hidden_size):
        return _by_module(layer, x, state)
    shown, after = _mapped(layer, x)
    if count:
        units = needed.nonzero().squeeze(1)
        part, ends = _looped(layer, x, state, units)
        shown = shown.index_copy(2, units, part)
        after = tuple(a.index_copy(1, units, end) for a, end in zip(after, ends, strict=True))
    return shown, after


def _by_module(layer: nn.RNNBase, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    own = tuple(t.unsqueeze(0).contiguous() for t in state)
    shown, after = layer(x, own if len(own) > 1 else own[0])
    return shown, tuple(t.squeeze(0) for t in (after if len(own) > 1 else (after,)))


def _parameters(layer: nn.RNNBase) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights and biases with a dimension for the gates: (G, W, I), (G, W, W), (G, W), (G, W)."""
    gates, width = _GATES[layer.mode], layer.hidden_size
    below, own, bias, own_bias = (layer.get_parameter(f"{n}_l0") for n in ("weight_ih", "weight_hh", "bias_ih",
                                                                             "bias_hh"))
    return (below.reshape(gates, width, -1), own.reshape(gates, width, width), bias.reshape(gates, width),
            own_bias.reshape(gates, width))


def _needed(layer: nn.RNNBase) -> Tensor:
    """Which units (W,) have a memory, as far as is seen at once, or are read by one that has."""
    below, own, bias, own_bias = _parameters(layer)
    reads = (own != 0).any(0)
    memory = reads.any(1)
    if layer.mode in ("GRU", "LSTM"):
        driven, total = (below != 0).any(2), bias + own_bias
        memory = memory | driven[1] | (torch.sigmoid(total[1]) != 0)  # z, or f: it is not always 0
        if layer.mode == "GRU":
            memory = memory | (own_bias[2] != 0)  # a term that r would scale
        else:
            memory = memory | driven[0] | driven[3]
    return memory | reads[memory].any(0)


def _mapped(layer: nn.RNNBase, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What the layer shows, and its state after, if no unit has a memory: torch's sums, without the loop."""
    below, _, bias, own_bias = _parameters(layer)
    if layer.mode == "LSTM":
        i, _, g, o = bias + own_bias
        c = torch.sigmoid(i) * torch.tanh(nn.functional.linear(x, below[2], g))
        shown = torch.sigmoid(o) * torch.tanh(c)
        return shown, (shown[:, -1], c[:, -1])
    if layer.mode == "GRU":
        shown = torch.tanh(nn.functional.linear(x, below[2], bias[2]))
    else:
        total = nn.functional.linear(x, below[0], bias[0]) + own_bias[0]
        shown = total.relu() if layer.mode == "RNN_RELU" else total.tanh()
    return shown, (shown[:, -1],)


def _looped(layer: nn.RNNBase, x: Tensor, state: tuple[Tensor, ...],
            units: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What some units of a GRU or LSTM show, which read no others, and their state after."""
    below, own, bias, own_bias = _parameters(layer)
    parameters = [below[:, units].flatten(0, 1), own[:, units][:, :, units].flatten(0, 1), bias[:, units].flatten(),
                  own_bias[:, units].flatten()]
    before = [t[:, units].unsqueeze(0) for t in state]
    if layer.mode == "LSTM":
        shown, *after = torch.lstm(x, before, parameters, True, 1, 0.0, False, False, True)
    else:
        shown, *after = torch.gru(x, before[0], parameters, True, 1, 0.0, False, False, True)
    return shown, tuple(t.squeeze(0) for t in after)
