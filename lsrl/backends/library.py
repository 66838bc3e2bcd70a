"""Models whose recurrent layers are those of the transformers library, filled with a compiled model's weights.

The library is an extra: it is imported when a model is asked for. Its layers start every sequence at zero, as the
targets that it has layers for do.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lsrl.diagnostics import LsrlError

if TYPE_CHECKING:
    from lsrl.backends.model import CompiledModel

__all__ = ["LibraryLayer", "LibraryMixer", "TransformersModel", "fill", "import_part", "no_layers"]


def import_part(name: str) -> Any:
    """A module of the transformers library. Raises LsrlError (L410) where the library is not installed."""
    try:
        return importlib.import_module(f"transformers.{name}")
    except ImportError as error:
        raise LsrlError.of("L410", f"the transformers library cannot be imported: {error}",
                           help="pip install 'lsrl[transformers]'") from None


def no_layers(name: str) -> LsrlError:
    """The error of a target that the library has no layers for."""
    return LsrlError.of("L410", f"the transformers library has no layers of `{name}`",
                        help="it has those of `mamba` and `rglru`")


def fill(parameter: Tensor, value: Tensor, *at: int) -> None:
    """Writes a value into a larger parameter from the place `at` on (from 0, if it is not given)."""
    places = [*at, *[0] * (value.dim() - len(at))]
    with torch.no_grad():
        parameter[tuple(slice(p, p + n) for p, n in zip(places, value.shape, strict=True))] = value


class LibraryMixer(nn.Module):
    """A layer of the library as a mixer: inputs (B, T, n) padded with zeros to its width, the first `units` shown.

    call: the layer, and hidden states of its width → what it shows.
    """

    def __init__(self, layer: nn.Module, width: int, units: int, call: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.width, self.units, self.call = layer, width, units, call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.layer, nn.functional.pad(x, (0, self.width - x.shape[-1])))[..., : self.units]


class LibraryLayer(nn.Module):
    """Maps and a mixer side by side, as `gated.layers.GatedLayer` has them. inputs: signals that both read."""

    def __init__(self, inputs: int, map: nn.Linear | None, mixer: LibraryMixer | None) -> None:
        super().__init__()
        self.inputs, self.map, self.mixer = inputs, map, mixer

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.pad(x, (0, max(0, self.inputs - x.shape[-1])))
        shown = [] if self.map is None else [torch.relu(self.map(x))]
        shown += [] if self.mixer is None else [self.mixer(x)]
        return torch.cat(shown, -1) if shown else x[..., :0]


class TransformersModel(nn.Module):
    """A compiled model, run by layers of the transformers library over whole sequences."""

    def __init__(self, model: CompiledModel, layers: Sequence[LibraryLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.encoder, self.readout, self.outputs, self.grids = model.encoder, model.readout, model.outputs, model.grids
        self.check = model.check_limits
        self.eval()
        self.requires_grad_(False)

    def forward(self, inputs: Mapping[str, Any] | Any) -> Any:
        """The outputs of every token, of sequences that begin here; inputs and outputs as those of `CompiledModel`."""
        from lsrl.backends.encode import decode_outputs
        from lsrl.backends.layers import full_precision

        x = self.encoder(inputs)
        if 0 in x.shape[:2]:
            raw = x.new_zeros(*x.shape[:2], len(self.grids))
        else:
            peaks: list[float] = []
            with full_precision(x):
                for layer in self.layers:
                    x = layer(x)
                    peaks.append(float(x.abs().max()) if x.numel() else 0.0)
            self.check(peaks)
            raw = self.readout(nn.functional.pad(x, (0, max(0, 1 - x.shape[-1]))))
        out = decode_outputs(raw, self.outputs, self.grids)
        return next(iter(out.values())) if len(out) == 1 else out
