"""The layers of gated targets: a recurrent mixer, and beside it a position-wise linear map with ReLU.

y = [ReLU(W x + b), mixer(x)]: a residual block whose two parts write to channels of their own. What stands between
two mixers of the published architectures, an MLP, is such maps in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lsrl.backends.gated.plan import Plan
from lsrl.backends.gated.scan import gated_scan
from lsrl.backends.layers import Layer, State
from lsrl.backends.library import LibraryLayer, LibraryMixer, no_layers

__all__ = ["DiagonalMixer", "GatedLayer", "Mixer", "Projection", "grown", "layer_maker"]


class Projection(nn.Linear):
    """A linear part that starts as zeros, to be filled in; it may have no inputs."""

    def reset_parameters(self) -> None:
        for p in self.parameters():
            nn.init.zeros_(p)


def grown(x: Tensor, size: int, axes: Sequence[int] = (0,)) -> Tensor:
    """A tensor in float64, with zeros behind it up to `size` along some axes."""
    out = x.detach().double()
    for axis in axes:
        more = list(out.shape)
        more[axis] = size - more[axis]
        out = torch.cat([out, out.new_zeros(more)], axis)
    return out


class Mixer(nn.Module):
    """A recurrent layer as its paper has it. inputs, units: numbers of signals that it reads and shows.

    Tensor 0 of its state holds unit k in element k; `lags` says which units are lags.
    """

    inputs: int
    units: int
    tensors: tuple[tuple[str, int], ...]
    lags: Tensor

    def config(self) -> dict[str, Any]:
        """The sizes: keywords that make a mixer of the same shape."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """x (B, T, inputs) → (B, T, units)."""
        raise NotImplementedError

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """x (B, inputs) → (B, units)."""
        y, after = self(x.unsqueeze(1), state)
        return y[:, 0], after

    @property
    def basis(self) -> Tensor | None:
        """Q (channels, channels), orthogonal, where the state is Q h for the channels h of the units; else None."""
        return self._buffers.get("turn")

    @property
    def parts(self) -> tuple[int, ...]:
        """The sizes of the parts of the channels, in order, that a full matrix acts on: these can be in any basis."""
        return ()

    def turned(self, bases: Sequence[Tensor]) -> Mixer:
        """The same map of sequences, with each of its `parts` in another basis.

        bases: for each part an orthogonal matrix, float64, at least as large; what is larger is 0 before it is turned.
        """
        raise NotImplementedError

    def place(self, unit: int) -> int:
        """The channel that holds a unit."""
        return unit

    def plain(self, h: Tensor) -> Tensor:
        """A state (B, channels) in the basis of the channels, float64."""
        return h.double() if self.basis is None else h.double() @ self.basis

    def held(self, h: Tensor) -> Tensor:
        """Channels (B, channels) in the basis of the state, and its dtype."""
        return (h if self.basis is None else h.double() @ self.basis.T).to(self.dtype)

    def contents(self, state: State) -> Tensor:
        """The exact contents (B, units): a number as it stands, of a lag's ±1 digits the newest as 0 or 1."""
        h = self.plain(state[0])[:, : self.units]
        return torch.where(self.lags, (h > 0).double(), h)

    def state_of(self, contents: Tensor) -> State:
        """A state with these contents."""
        h = torch.where(self.lags, 2 * contents - 1, contents)
        h = self.held(nn.functional.pad(h, (0, self.tensors[0][1] - self.units)))
        return h, *(h.new_zeros(h.shape[0], width) for _, width in self.tensors[1:])

    def element(self, unit: int) -> tuple[int, int]:
        """Which state tensor, and which element of it, holds a unit."""
        return 0, unit

    def mixture(self, unit: int) -> list[tuple[int, float]] | None:
        """The elements of state tensor 0 and the weights whose sum a unit's content is; None if one holds it all."""
        if self.basis is None:
            return None
        column = self.basis[:, self.place(unit)]
        return [(i, float(column[i])) for i in column.nonzero()[:, 0].tolist()]

    def to_transformers(self) -> LibraryMixer:
        """The same as a layer of the transformers library. Raises LsrlError (L410) if it has none."""
        raise no_layers(type(self).__name__)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


class DiagonalMixer(Mixer):
    """h(t) = a(t) ⊙ h(t − 1) + b(t), each channel by itself, and a linear read-out of the channels."""

    def __init__(self, inputs: int, units: int, channels: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.inputs, self.units, self.channels = inputs, units, channels
        self.tensors = (("h", channels),)
        self.output = Projection(channels, units, dtype=dtype)
        self.register_buffer("lags", torch.zeros(units, dtype=torch.bool))

    def config(self) -> dict[str, Any]:
        return {"units": self.units, "channels": self.channels}

    def fill(self, plan: Plan, linear: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Writes the read-out of a plan and the (weight, bias) of linear parts, by their names."""
        self.lags.copy_(torch.tensor(plan.lags))
        with torch.no_grad():
            for name, (weight, bias) in {"output": (plan.readout, plan.bias), **linear}.items():
                part = self.get_submodule(name)
                assert isinstance(part, nn.Linear)
                part.weight.copy_(weight)
                part.bias.copy_(bias)

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (…, inputs) → a, b (…, channels)."""
        raise NotImplementedError

    def shown(self, h: Tensor, x: Tensor) -> Tensor:
        """h (…, channels), x (…, inputs) → what stands before the read-out (…, channels)."""
        return h

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        a, b = self.gates(x)
        h = gated_scan(a, b, state[0])
        return self.output(self.shown(h, x)), (h[:, -1],)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        a, b = self.gates(x)
        h = a * state[0] + b
        return self.output(self.shown(h, x)), (h,)


class GatedLayer(Layer):
    """`maps` ReLU units and a mixer side by side. Either may be missing."""

    def __init__(self, inputs: int, maps: int, mixer: Mixer | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.inputs, self.maps = inputs, maps
        self.map = Projection(inputs, maps, dtype=dtype) if maps else None
        self.mixer = mixer
        self.width = maps + (mixer.units if mixer is not None else 0)
        self.tensors = mixer.tensors if mixer is not None else ()

    def config(self) -> dict[str, Any]:
        return {"inputs": self.inputs, "maps": self.maps, **(self.mixer.config() if self.mixer is not None else {})}

    def _joined(self, x: Tensor, y: Tensor | None) -> Tensor:
        parts = [] if self.map is None else [torch.relu(self.map(x))]
        parts += [] if y is None else [y]
        if not parts:
            return x.new_zeros(*x.shape[:-1], 0)
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if self.mixer is None:
            return self._joined(x, None), ()
        y, after = self.mixer(x, state)
        return self._joined(x, y), after

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        if self.mixer is None:
            return self._joined(x, None), ()
        y, after = self.mixer.step(x, state)
        return self._joined(x, y), after

    def contents(self, state: State) -> Tensor:
        if self.mixer is None:
            raise ValueError("a layer of maps holds nothing")
        return nn.functional.pad(self.mixer.contents(state), (self.maps, 0))

    def state_of(self, contents: Tensor) -> State:
        return () if self.mixer is None else self.mixer.state_of(contents[:, self.maps :])

    def element(self, unit: int) -> tuple[int, int] | None:
        return None if unit < self.maps or self.mixer is None else self.mixer.element(unit - self.maps)

    def mixture(self, unit: int) -> list[tuple[int, float]] | None:
        return None if unit < self.maps or self.mixer is None else self.mixer.mixture(unit - self.maps)

    def to_transformers(self) -> LibraryLayer:
        return LibraryLayer(self.inputs, self.map, None if self.mixer is None else self.mixer.to_transformers())


def layer_maker(mixer: Callable[..., Mixer]) -> Callable[..., GatedLayer]:
    """What makes a layer with that mixer from its sizes, for a stack that is read from a file."""
    def make(inputs: int, maps: int, dtype: torch.dtype, **sizes: Any) -> GatedLayer:
        numbers = [inputs, maps, *(x for s in sizes.values() for x in (s if isinstance(s, Sequence) else [s]))]
        if any(not isinstance(x, int) or x < 0 for x in numbers):
            raise ValueError(f"a layer of the sizes {numbers}")
        inner = mixer(inputs=inputs, dtype=dtype, **sizes) if sizes else None
        return GatedLayer(inputs, maps, inner, dtype)

    return make
