"""The layers that models are stacks of: built from weights, run over sequences, padded to one width.

A layer kind is a torch.nn module with its number of gates and the tensors of its state. `rnn_relu` is
torch.nn.RNN(nonlinearity="relu"), the others are named like their modules. Layers that torch does not have are
modules of their own (`Layer`) in a `ModuleStack`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from lsrl.backends.library import LibraryLayer, no_layers
from lsrl.backends.memoryless import run_layer

__all__ = ["KINDS", "Layer", "LayerKind", "LayerWeights", "ModuleStack", "Stack", "State", "TorchStack",
           "full_precision", "pad_to_one_width"]

State: TypeAlias = tuple[Tensor, ...]  # for each layer its state tensors in turn, each (B, width)


@dataclass(frozen=True, slots=True)
class LayerKind:
    """`tensors` are the state tensors of one layer, the one that the next layer reads first."""

    name: str
    module: Callable[..., nn.RNNBase]
    gates: int
    tensors: tuple[str, ...]
    nonlinearity: str | None = None

    def build(self, inputs: int, width: int, layers: int, dtype: torch.dtype, device: str = "cpu") -> nn.RNNBase:
        extra = {} if self.nonlinearity is None else {"nonlinearity": self.nonlinearity}
        return self.module(inputs, width, num_layers=layers, batch_first=True, dtype=dtype, device=device, **extra)


KINDS: dict[str, LayerKind] = {k.name: k for k in (
    LayerKind("lstm", nn.LSTM, 4, ("h", "c")),
    LayerKind("gru", nn.GRU, 3, ("h",)),
    LayerKind("rnn_tanh", nn.RNN, 1, ("h",), "tanh"),
    LayerKind("rnn_relu", nn.RNN, 1, ("h",), "relu"),
)}


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer's parameters as torch orders them (gates stacked): w_in (G·H, I), w_own (G·H, H), biases (G·H,).

    `initial`: one (H,) tensor for each state tensor of the kind, in its order.
    """

    w_in: Tensor
    w_own: Tensor
    bias_in: Tensor
    bias_own: Tensor
    initial: tuple[Tensor, ...]

    @property
    def width(self) -> int:
        return self.w_own.shape[1]

    @property
    def inputs(self) -> int:
        return self.w_in.shape[1]


def pad_to_one_width(layers: Sequence[LayerWeights], kind: LayerKind) -> list[LayerWeights]:
    """The same stack with every layer as wide as the widest."""
    width = max(w.width for w in layers)
    return _padded(layers, [width] * len(layers), kind)


def _padded(layers: Sequence[LayerWeights], widths: Sequence[int], kind: LayerKind) -> list[LayerWeights]:
    """The same stack with layers of these widths; units added have no weights and stay zero."""
    out: list[LayerWeights] = []
    for i, (w, width) in enumerate(zip(layers, widths, strict=True)):
        inputs = w.inputs if i == 0 else widths[i - 1]

        def grow(t: Tensor, columns: int | None, old: int = w.width, width: int = width) -> Tensor:
            gates = t.reshape(kind.gates, old, *t.shape[1:])
            dims = (kind.gates, width) if columns is None else (kind.gates, width, columns)
            whole = torch.zeros(dims, dtype=t.dtype)
            whole[(slice(None), slice(0, old), *(slice(0, n) for n in gates.shape[2:]))] = gates
            return whole.flatten(0, 1)

        initial = tuple(nn.functional.pad(x, (0, width - w.width)) for x in w.initial)
        out.append(LayerWeights(grow(w.w_in, inputs), grow(w.w_own, width), grow(w.bias_in, None),
                                grow(w.bias_own, None), initial))
    return out


class Stack(nn.Module):
    """Layers in a row, each with its state tensors; `initial_k_name` are the buffers of the start state.

    inputs: signals below the first layer; widths: what each layer shows; tensors: for each layer (name, width) of its
    state tensors. `uniform`: all layers are one torch module.
    """

    layers: nn.ModuleList

    def __init__(self, inputs: int, widths: Sequence[int], tensors: Sequence[Sequence[tuple[str, int]]],
                 dtype: torch.dtype, uniform: bool = False, device: str = "cpu") -> None:
        super().__init__()
        self.inputs, self.widths, self.uniform, self.dtype = inputs, tuple(widths), uniform, dtype
        self.tensors = tuple(tuple(row) for row in tensors)
        for layer, name, width in self.state_names:
            self.register_buffer(f"initial_{layer}_{name}", torch.zeros(width, dtype=dtype, device=device))

    @property
    def state_names(self) -> list[tuple[int, str, int]]:
        """(layer, tensor, width) of each tensor of a state, in order."""
        return [(layer, name, width) for layer, row in enumerate(self.tensors) for name, width in row]

    def part(self, layer: int) -> slice:
        """Where the tensors of a layer stand in a state."""
        first = sum(map(len, self.tensors[:layer]))
        return slice(first, first + len(self.tensors[layer]))

    def initial_state(self, batch: int) -> State:
        return tuple(getattr(self, f"initial_{layer}_{name}").expand(batch, -1).clone()
                     for layer, name, _ in self.state_names)

    def set_initial(self, layer: int, tensors: Sequence[Tensor]) -> None:
        """Writes the start state of one layer."""
        for (name, _), value in zip(self.tensors[layer], tensors, strict=True):
            getattr(self, f"initial_{layer}_{name}").copy_(value)

    def forward(self, x: Tensor, state: State, watch: bool = False) -> tuple[Tensor, State, list[float]]:
        """x (B, T, inputs), B and T at least 1 → what the last layer shows (B, T, width) and the state after.

        watch: also the largest element that each layer showed (in a uniform stack, which shows its last layer alone,
        that of the others after the last token).
        """
        raise NotImplementedError


class TorchStack(Stack):
    """Layers of torch.nn.RNN, GRU or LSTM. `uniform`: a single one with num_layers; else one module a layer."""

    def __init__(self, kind: str, inputs: int, widths: Sequence[int], dtype: torch.dtype, uniform: bool = False,
                 device: str = "cpu") -> None:
        self.kind = KINDS[kind]
        inputs = max(inputs, 1)  # torch has no layers without input: a column of zeros stands in
        super().__init__(inputs, widths, [[(name, w) for name in self.kind.tensors] for w in widths], dtype, uniform,
                         device)
        if uniform and len(set(widths)) > 1:
            raise ValueError(f"layers of the widths {tuple(widths)} are no uniform stack")
        if uniform and widths:
            modules = [self.kind.build(inputs, widths[0], len(widths), dtype, device)]
        else:
            sizes = zip((inputs, *widths), widths, strict=False)
            modules = [self.kind.build(n, width, 1, dtype, device) for n, width in sizes]
        self.layers = nn.ModuleList(modules)
        self.requires_grad_(False)

    @classmethod
    def from_weights(cls, kind: str, inputs: int, layers: Sequence[LayerWeights], dtype: torch.dtype,
                     uniform: bool = False) -> TorchStack:
        """The stack with these parameters; `uniform` pads them to one width first."""
        if any(w.width == 0 for w in layers):  # nor has torch layers without units
            layers = _padded(layers, [max(w.width, 1) for w in layers], KINDS[kind])
        if uniform and layers:
            layers = pad_to_one_width(layers, KINDS[kind])
        stack = cls(kind, inputs, [w.width for w in layers], dtype, uniform)
        for i, w in enumerate(layers):
            module, suffix = (stack.layers[0], i) if uniform else (stack.layers[i], 0)
            with torch.no_grad():
                for name, value in (("weight_ih", w.w_in), ("weight_hh", w.w_own), ("bias_ih", w.bias_in),
                                    ("bias_hh", w.bias_own)):
                    parameter = getattr(module, f"{name}_l{suffix}")
                    if name == "weight_ih" and not value.numel():
                        value = torch.zeros_like(parameter)
                    if parameter.shape != value.shape:
                        raise ValueError(f"layer {i}: {name} is {tuple(value.shape)}, not {tuple(parameter.shape)}")
                    parameter.copy_(value)
                stack.set_initial(i, w.initial)
        return stack

    def forward(self, x: Tensor, state: State, watch: bool = False) -> tuple[Tensor, State, list[float]]:
        n = len(self.kind.tensors)
        peaks: list[float] = []
        if not x.shape[-1] and self.widths:
            x = x.new_zeros(*x.shape[:-1], 1)
        with full_precision(x):
            if self.uniform and self.widths:
                stacked = tuple(torch.stack(state[i::n]) for i in range(n))
                x, after = self.layers[0](x, stacked if n > 1 else stacked[0])
                tensors = after if n > 1 else (after,)
                if watch:
                    peaks = [float(t.max()) for t in (*tensors[0][:-1], x)]
                return x, tuple(tensors[i % n][i // n] for i in range(len(state))), peaks
            out: list[Tensor] = []
            for i, layer in enumerate(self.layers):
                assert isinstance(layer, nn.RNNBase)
                x, after = run_layer(layer, x, state[n * i : n * i + n])
                out.extend(after)
                if watch:
                    peaks.append(float(x.max()))
        return x, tuple(out), peaks


class Layer(nn.Module):
    """A layer of a module stack: a recurrent layer that torch does not have, as published.

    inputs, width: signals below it and shown by it. tensors: (name, width) of its state tensors.
    """

    inputs: int
    width: int
    tensors: tuple[tuple[str, int], ...]

    def config(self) -> dict[str, Any]:
        """The sizes as JSON values: the class called with them as keywords, and a dtype, makes a layer of the shape."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """x (B, T, inputs) → (B, T, width), for all tokens at once."""
        raise NotImplementedError

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """x (B, inputs) → (B, width), one token; equal to `forward`, bit for bit where the model is exact."""
        raise NotImplementedError

    def contents(self, state: State) -> Tensor:
        """The exact contents of the circuit's units (B, units), float64."""
        raise NotImplementedError

    def state_of(self, contents: Tensor) -> State:
        """A state with these contents (B, units), in the layer's dtype."""
        raise NotImplementedError

    def element(self, unit: int) -> tuple[int, int] | None:
        """Which state tensor, and which element of it, holds a unit; None if the unit has no memory."""
        raise NotImplementedError

    def mixture(self, unit: int) -> list[tuple[int, float]] | None:
        """The elements of state tensor 0 and the weights whose sum a unit's content is; None if one holds it all."""
        return None

    def to_transformers(self) -> LibraryLayer:
        """The same as a layer of the transformers library. Raises LsrlError (L410) if it has none."""
        raise no_layers(type(self).__name__)


class ModuleStack(Stack):
    """Layers that bring their own module. One above no signals at all has one input, of zeros."""

    def __init__(self, inputs: int, layers: Sequence[Layer], dtype: torch.dtype) -> None:
        super().__init__(inputs, [layer.width for layer in layers], [layer.tensors for layer in layers], dtype)
        self.layers = nn.ModuleList(layers)
        self.requires_grad_(False)

    def forward(self, x: Tensor, state: State, watch: bool = False) -> tuple[Tensor, State, list[float]]:
        peaks: list[float] = []
        out: list[Tensor] = []
        with full_precision(x):
            for i, layer in enumerate(self.layers):
                assert isinstance(layer, Layer)
                own = state[self.part(i)]
                if x.shape[-1] < layer.inputs:
                    x = x.new_zeros(*x.shape[:-1], 1)
                if x.shape[1] == 1:
                    y, after = layer.step(x[:, 0], own)
                    x = y.unsqueeze(1)
                else:
                    x, after = layer(x, own)
                out.extend(after)
                if watch:
                    peaks.append(float(x.abs().max()) if x.numel() else 0.0)
        return x, tuple(out), peaks


@contextlib.contextmanager
def full_precision(x: Tensor) -> Iterator[None]:
    """cuDNN would else round float32 operands to 10 bits (TF32), which counters do not survive."""
    if x.device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
