"""Outputs of an operator that share a tensor: records for its adjoint, or cotangents of products.

Programs whose lanes meet in products record several vectors of one length at each token. Side by side they are one
stream to the memory rather than many, and what a matrix product takes as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeVar

import torch
from torch import Tensor

from lsrl.backends.kernels.adjoint import RECORD, record_of
from lsrl.backends.kernels.call import Options, edge_dtype
from lsrl.backends.kernels.lanes import Lanes

__all__ = ["Pack", "Packs"]

_T = TypeVar("_T", Tensor, Tensor | None)


@dataclass(frozen=True)
class Pack:
    """What a tensor holds along its last dimension: inputs that are multiplied, copied, and then outputs.

    dims: of an output that is alone; sizes: of what there is otherwise.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sizes: tuple[int, ...]
    dims: tuple[int, ...]
    dtype: torch.dtype

    @property
    def names(self) -> tuple[str, ...]:
        return self.inputs + self.outputs

    def apart(self, x: _T) -> dict[str, _T]:
        """What a tensor holds, by name; nothing of all of it if there is none."""
        if x is None or len(self.names) == 1:
            return dict.fromkeys(self.names, x)
        return dict(zip(self.names, x.split(list(self.sizes), -1), strict=True))  # type: ignore[no-untyped-call]


class Packs:
    """The tensors of an operator's outputs; every output is in one of them.

    Where there are mixes, records of one type share a tensor, and so do cotangents. Vectors of products are apart from
    the other records, beside the inputs that are multiplied: together they are a factor of the matrices' gradients.
    """

    def __init__(self, lanes: Lanes, options: Options) -> None:
        found: dict[object, list[str]] = {}
        ports = {p.name: p for p in lanes.outputs}
        sizes = {p.name: prod(p.dims) for p in (*lanes.inputs, *lanes.outputs)}
        vectors = {RECORD + record_of(lanes, m) for m in lanes.mixes}
        for p in lanes.outputs:
            shared = bool(lanes.mixes) and p.lane and p.wide and p.name.startswith("~")
            key = (p.name.startswith(RECORD), p.name in vectors, edge_dtype(p, options)) if shared else p.name
            found.setdefault(key, []).append(p.name)
        packs = []
        for names in found.values():
            beside = tuple(dict.fromkeys(m.source for m in lanes.projections)) if vectors.intersection(names) else ()
            packs.append(Pack(beside, tuple(names), tuple(sizes[n] for n in (*beside, *names)), ports[names[0]].dims,
                              edge_dtype(ports[names[0]], options)))
        self.packs = tuple(packs)

    def __len__(self) -> int:
        return len(self.packs)

    def empty(self, like: Tensor, lead: Sequence[int], time_major: bool) -> list[Tensor]:
        """The tensors for tokens of these dimensions, of which the second comes first in memory if time_major."""
        out = []
        for pack in self.packs:
            dims = (sum(pack.sizes),) if len(pack.names) > 1 else pack.dims
            if time_major:
                out.append(like.new_empty((lead[1], lead[0], *dims), dtype=pack.dtype).transpose(0, 1))
            else:
                out.append(like.new_empty((*lead, *dims), dtype=pack.dtype))
        return out

    def copy_inputs(self, tensors: Sequence[Tensor], inputs: Mapping[str, Tensor]) -> None:
        """Puts inputs where tensors have room for them."""
        for pack, x in zip(self.packs, tensors, strict=True):
            found = pack.apart(x)
            for name in pack.inputs:
                found[name].copy_(inputs[name])

    def apart(self, tensors: Sequence[_T]) -> dict[str, _T]:
        """The outputs that the tensors hold, by name."""
        out: dict[str, _T] = {}
        for pack, x in zip(self.packs, tensors, strict=True):
            found = pack.apart(x)
            out.update({n: found[n] for n in pack.outputs})
        return out

    @property
    def recorded(self) -> list[Pack]:
        """Those that hold records."""
        return [pack for pack in self.packs if pack.outputs[0].startswith(RECORD)]

    def records(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The tensors of records among those of all outputs."""
        return [x for pack, x in zip(self.packs, tensors, strict=True) if pack.outputs[0].startswith(RECORD)]
