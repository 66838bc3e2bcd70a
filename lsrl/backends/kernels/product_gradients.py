"""Gradients through the products of lanes: of their matrices, and of inputs that are multiplied.

The adjoint of a program gives the cotangent of each product at each token. Both gradients are matrix products over all
tokens, of as many vectors at once as there are: a product of large matrices is twice as fast as one of narrow ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TypeAlias

import torch
from torch import Tensor

from lsrl.backends.kernels.adjoint import RECORD, record_of
from lsrl.backends.kernels.lanes import Lanes, Mix, port_names
from lsrl.backends.kernels.packs import Pack

__all__ = ["Joined", "matrix_gradients", "through_projections"]

_FEW = 0.7  # the share of a large product's blocks that are needed, from which on it is made

_Product: TypeAlias = "tuple[Mix, str, str]"  # with the names of its vector and of its cotangent


class Joined:
    """Streams (…, elements) by name, of which some lie side by side in a tensor already."""

    def __init__(self, streams: Mapping[str, Tensor], packs: Sequence[tuple[Pack, Tensor]]) -> None:
        self.streams = streams
        self._packs = packs

    def __call__(self, names: Sequence[str], dtype: torch.dtype | None = None) -> tuple[dict[str, slice], Tensor]:
        """Some of them as one (tokens, elements of all), and where each is in it."""
        for pack, x in self._packs:
            if len(names) > 1 and set(pack.names) == set(names):
                names, made = pack.names, x.flatten(0, -2)
                break
        else:
            flat = [self.streams[n].flatten(0, -2) for n in names]
            flat = flat if dtype is None else [x.to(dtype) for x in flat]
            made = flat[0] if len(flat) == 1 else torch.cat(flat, -1)
        ends = list(accumulate(self.streams[n].shape[-1] for n in names))
        return {n: slice(end - self.streams[n].shape[-1], end) for n, end in zip(names, ends, strict=True)}, made


def matrix_gradients(lanes: Lanes, products: Mapping[str, str], cotangents: Joined, known: Joined) -> dict[str, Tensor]:
    """The gradients of the matrices: outer products of cotangent and vector, summed over all tokens.

    products: for each product, the one of the cotangents that is its own. known: inputs and records.
    """
    blocks = {p.name: p.dims for p in lanes.params}
    out: dict[str, Tensor] = {}

    def add(m: Mix, share: Tensor) -> None:
        out[m.matrix] = out[m.matrix] + share if m.matrix in out else share

    whole: list[_Product] = []
    for m in lanes.products:
        count, n, _ = blocks[m.matrix]
        vector = m.source if m in lanes.projections else RECORD + record_of(lanes, m)
        if count == 1:
            whole.append((m, vector, products[m.name]))
        else:
            back, forth = (x.reshape(-1, count, n).transpose(0, 1) for x in (
                cotangents.streams[products[m.name]], known.streams[vector]))
            add(m, forth.mT @ back if m.transposed else back.mT @ forth)
    for part in _grouped(whole):
        columns, right = cotangents(list(dict.fromkeys(product for _, _, product in part)))
        rows, left = known(list(dict.fromkeys(vector for _, vector, _ in part)), right.dtype)
        sums = left.mT @ right
        for m, vector, product in part:
            share = sums[rows[vector], columns[product]]
            add(m, (share if m.transposed else share.mT).unsqueeze(0))
    return out


def _grouped(pairs: list[_Product]) -> list[list[_Product]]:
    """The products that are taken together: all, or those of one vector where most blocks would not be needed."""
    of: dict[str, list[_Product]] = {}
    for m, v, p in pairs:
        of.setdefault(v, []).append((m, v, p))
    used = len({(v, p) for _, v, p in pairs})
    if used >= _FEW * len(of) * len({p for _, _, p in pairs}):
        return [pairs] if pairs else []
    return list(of.values())


def through_projections(d_inputs: Sequence[Tensor | None], lanes: Lanes, products: Mapping[str, str],
                        cotangents: Joined, params: Sequence[Tensor]) -> list[Tensor | None]:
    """The cotangents of inputs, with what comes back through projections of them."""
    out = dict(zip(port_names(lanes.inputs), d_inputs, strict=True))
    weights = dict(zip(port_names(lanes.params), params, strict=True))
    for source in dict.fromkeys(m.source for m in lanes.projections):
        own: dict[str, Tensor] = {}
        for m in lanes.projections:
            if m.source == source:
                name, matrix = products[m.name], weights[m.matrix][0]
                own[name] = own[name] + matrix if name in own else matrix
        places, rows = cotangents(list(own))
        matrix, d = torch.cat([own[n] for n in places]), out[source]
        flat = rows @ matrix if d is None else torch.addmm(d.flatten(0, -2), rows, matrix)
        out[source] = flat.reshape(*cotangents.streams[next(iter(own))].shape[:-1], matrix.shape[1])
    return list(out.values())
