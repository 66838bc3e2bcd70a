"""Programs that torch has a part in: lanes that meet in products with matrices, or that are the rows of matrices.

What a state depends on runs in lanes, one for each element of the state's vectors, where a product of a matrix and a
vector of lanes is a `Mix`; or one for each row of the state's matrices. All else is left to torch, for all tokens at
once: products and sums over inputs before the kernel (the input projections of an LSTM), those that no state depends
on after it (a read-out).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias

import torch
from torch import fx

from lsrl.backends.kernels.dense_lanes import take_lanes
from lsrl.backends.kernels.feeds import Found
from lsrl.backends.kernels.lanes import Lanes, Ports, is_even, make_lanes
from lsrl.backends.kernels.row_lanes import ROWS, take_rows
from lsrl.backends.kernels.torch_map import NoMapError, TorchMap
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import MatMul, Node
from lsrl.types import shape

__all__ = ["Arranged", "Dense", "arrange"]

_FEW_LANES = 8  # vectors of so many elements are run as scalars
_FEW_ELEMENTS = 64  # and so are matrices

_Maps: TypeAlias = "tuple[fx.GraphModule, fx.GraphModule]"


@dataclass(frozen=True, eq=False)
class Dense:
    """lanes: what the kernel runs; its arrays of lanes have one dimension. graph: the program. leaves: the nodes of it
    that the outputs of the lanes are.

    feeds: for each input and param of the lanes, what it is: a node of the program, and the place of the first lane's
    element in it (None for a scalar or what all lanes see, (row, column) for a matrix, ROWS where each lane has a row).
    """

    lanes: Lanes
    graph: Graph
    feeds: tuple[tuple[Node, object], ...]
    leaves: tuple[Node, ...]
    _maps: dict[torch.dtype, _Maps] = field(default_factory=dict)

    def maps(self, carry: torch.dtype) -> _Maps:
        """What torch calculates before and after the kernel, with reals in that type.

        The first takes inputs and params of the program, and gives those of the lanes; the second takes the outputs of
        the lanes as well, and gives those of the program.
        """
        if carry not in self._maps:
            self._maps[carry] = self._before(carry), self._after(carry)
        return self._maps[carry]

    def _start(self, carry: torch.dtype) -> TorchMap:
        made = TorchMap(carry)
        for n in self.graph.inputs:
            made.leaf(n, True)
        for p in self.graph.params:
            made.leaf(p, False)
        return made

    def _before(self, carry: torch.dtype) -> fx.GraphModule:
        made = self._start(carry)
        blocks = {p.name: p for p in self.lanes.params}
        matrices = set(self.lanes.matrices)
        names = [p.name for p in (*self.lanes.inputs, *self.lanes.params)]
        out = []
        for name, (node, at) in zip(names, self.feeds, strict=True):
            if name in matrices:
                assert isinstance(at, tuple)
                x = self._block(made, node, *at, *blocks[name].dims[1:])
            elif at == ROWS:
                x = made.call("movedim", made(node), -len(shape(node.type)), -1)
            elif at is not None:
                assert isinstance(at, int)
                x = self._part(made, node, at)
            else:
                x = made(node)
            out.append(x)
        return made.module(out)

    def _block(self, made: TorchMap, node: Node, row: int, column: int, n: int, m: int) -> fx.Node:
        """n rows and m columns of a matrix, or of each of several, as several of them."""
        dims = shape(node.type)
        if dims[-2] % n == 0 and row % n == 0 and dims[-1] == m:
            x = made.split(node, n, -2)[row // n]
        else:
            x = made.part(made.part(made(node), row, n, -2), column, m, -1)
        return made.call("unsqueeze", x, 0) if len(dims) == 2 else x

    def _part(self, made: TorchMap, node: Node, at: int) -> fx.Node:
        """The elements of a vector that are lanes; of a product, by the rows of the matrix that they need."""
        dims, width = shape(node.type), self.lanes.width
        if prod(dims) == width:
            return made.flat(made(node), len(dims))
        if isinstance(node, MatMul) and len(dims) == 1:
            return made.product(node, at, width)
        if len(dims) == 1 and dims[0] % width == 0 and at % width == 0:
            return made.split(node, width)[at // width]
        return made.part(made.flat(made(node), len(dims)), at, width)

    def _after(self, carry: torch.dtype) -> fx.GraphModule:
        made = self._start(carry)
        for n in self.leaves:
            made.leaf(n, True, flat=len(shape(n.type)) > 1)
        return made.module([made.spread(n) for _, n in self.graph.outputs])


@dataclass(frozen=True, eq=False)
class Arranged:
    """A program as it is run. ports: its own arrays. lanes: what the kernel runs. outside: what torch does, if any.
    """

    ports: Ports
    lanes: Lanes
    outside: Dense | None


def arrange(graph: Graph, floats: bool = False, dense: bool | None = None, inside: bool = False) -> Arranged:
    """The lanes of a program, and what is left to torch.

    floats: reals are floats even where counts of a step could hold them. dense: whether vectors that matrices mix, and
    rows of matrices, are lanes; if not, their elements are scalars. None: if vectors have more than 8 elements, and
    matrices more than 64. inside: whether products of matrices and
    inputs are the kernel's as well, which saves memory their results (on a GPU, one large product is faster).
    """
    apart = None if dense is False or is_even(graph) else take_apart(graph, inside)
    if apart is not None and (dense or not _is_small(apart.lanes)):
        return Arranged(Ports.of(graph), apart.lanes, apart)
    lanes = make_lanes(graph, floats)
    return Arranged(Ports(lanes.inputs, lanes.outputs, lanes.states, lanes.params), lanes, None)


def _is_small(lanes: Lanes) -> bool:
    """Whether the vectors, or matrices, of lanes have so few elements that they are as well run as scalars."""
    columns = max(p.elements for p in lanes.states if p.lane)
    return lanes.width <= _FEW_LANES if columns == 1 else lanes.width * columns <= _FEW_ELEMENTS


def take_apart(graph: Graph, inside: bool) -> Dense | None:
    """The lanes of a program whose vectors are mixed by matrices, or whose states are matrices with rows that are
    alike; None if it has no such form, or is exact."""
    if graph.checks or not graph.numeric:
        return None
    return _mapped(graph, take_lanes(graph, inside)) or _mapped(graph, take_rows(graph))


def _mapped(graph: Graph, found: Found | None) -> Dense | None:
    """What was found, if torch can do its part."""
    if found is None:
        return None
    dense = Dense(found.lanes, graph, found.feeds, found.leaves)
    try:
        dense.maps(torch.float32)
    except NoMapError:
        return None
    return dense
