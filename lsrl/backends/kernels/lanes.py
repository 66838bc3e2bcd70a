"""A program as one lane runs it: a graph of scalars.

Where all vectors of a program have one length and all that happens to them is element by element, its channels are
lanes: one scalar graph is run for each of them, and the length is a number of the run, not of the code. Any other
program has one lane, in which vectors are their scalars.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lsrl.ir.graph import Graph, GraphBuilder, State
from lsrl.ir.nodes import Const, Index, Input, MatMul, Node, Pack, Param, Read, Slice, operands
from lsrl.passes import PIPELINE
from lsrl.passes.rewrite import with_operands
from lsrl.types import Int, Real, Type, Value, Vector, scalar_of, shape

__all__ = ["Lanes", "Mix", "Port", "Ports", "is_even", "make_lanes", "part_names", "port_names", "tidied"]

# States are kept even where nothing needs them: a run gives all of them back.
_LEFT_OUT = ("merge_states", "drop_dead")


@dataclass(frozen=True)
class Port:
    """An input, output, state or param of a program, as arrays hold it: (batch, token) and then `dims`.

    type: the declared one. lane: whether the last of its dimensions is that of the lanes, each of which has its own
    elements; otherwise every lane sees all of them. parts: for a state, the names of its scalars in the graph of one
    lane. wide: whether its reals are held in the carried float type at the edge as well. summed: of an output in lanes,
    of how many neighbouring lanes the values are summed; there are as many fewer then. 0: of none.
    """

    name: str
    type: Type
    lane: bool
    parts: tuple[str, ...] = ()
    wide: bool = False
    summed: int = 0

    @property
    def dims(self) -> tuple[int, ...]:
        return shape(self.type)

    @property
    def seen(self) -> tuple[int, ...]:
        """The dimensions of what one lane sees of it at a token."""
        return self.dims[:-1] if self.lane else self.dims

    @property
    def elements(self) -> int:
        """How many numbers one lane sees of it at a token."""
        return math.prod(self.seen)


@dataclass(frozen=True)
class Ports:
    """What a program takes, gives and holds, in its own order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: tuple[Port, ...]
    params: tuple[Port, ...]

    @classmethod
    def of(cls, graph: Graph) -> Ports:
        """Every array as the program declares it."""
        def ports(items: Iterable[tuple[str, Type]]) -> tuple[Port, ...]:
            return tuple(Port(name, t, False) for name, t in items)

        return cls(ports((n.name, n.type) for n in graph.inputs), ports((name, n.type) for name, n in graph.outputs),
                   ports((s.name, s.type) for s in graph.states), ports((p.name, p.type) for p in graph.params))


@dataclass(frozen=True)
class Mix:
    """Where lanes meet: a matrix times a vector that has an element in each lane, in the middle of a token.

    name: of the input of the scalar graph that is the product's element in a lane. source: the output of the scalar
    graph that is the vector's. matrix: the param (blocks, rows, rows) that is multiplied, block by block of the lanes;
    transposed: its transpose is. Of a projection the source is an input's port, whose vector all lanes see, and the
    matrix (1, lanes, elements of the vector).
    """

    name: str
    source: str
    matrix: str
    transposed: bool = False


@dataclass(frozen=True, eq=False)
class Lanes:
    """graph: the scalar graph of one lane, after the passes. source: the program's own graph. width: how many lanes.

    Outputs of the scalar graph are scalars in lanes, or scalars and nested `Pack`s of them in one lane. floats: reals
    are floats even where counts of a step could hold them. mixes: each has an input and an output of the scalar graph
    that are no ports; its matrix is a param's port. projections: likewise products with a matrix, of a port's vector.
    """

    source: Graph
    graph: Graph
    width: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: tuple[Port, ...]
    params: tuple[Port, ...]
    floats: bool = False
    mixes: tuple[Mix, ...] = ()
    projections: tuple[Mix, ...] = ()

    @property
    def matrices(self) -> tuple[str, ...]:
        """The params that are matrices of products."""
        return tuple(dict.fromkeys(m.matrix for m in self.products))

    @property
    def products(self) -> tuple[Mix, ...]:
        """All products with matrices: an input of the scalar graph each, which is no port."""
        return (*self.projections, *self.mixes)

    def output_nodes(self, name: str) -> tuple[Node, ...]:
        """The scalar nodes of an output's elements, row-major."""
        return _scalars(self.graph.output[name])


def is_even(graph: Graph) -> bool:
    """Whether all vectors have one length and all that happens to them is element by element."""
    return _common_width(graph) is not None


def port_names(ports: Sequence[Port]) -> tuple[str, ...]:
    return tuple(p.name for p in ports)


def make_lanes(graph: Graph, floats: bool = False) -> Lanes:
    """The lanes of a program."""
    width = _common_width(graph)
    if floats or graph.numeric:
        graph = replace(graph, states=tuple(replace(s, free=isinstance(scalar_of(s.type), Real))
                                            for s in graph.states))
    scalar = tidied(graph if width is None else _one_lane(graph))

    def port(name: str, t: Type, parts: tuple[str, ...] = ()) -> Port:
        return Port(name, t, width is not None and isinstance(t, Vector), parts)

    return Lanes(graph, scalar, 1 if width is None else width,
                 tuple(port(n.name, n.type) for n in graph.inputs),
                 tuple(port(name, n.type) for name, n in graph.outputs),
                 tuple(port(s.name, s.type, (s.name,) if width is not None else part_names(s)) for s in graph.states),
                 tuple(port(p.name, p.type) for p in graph.params), floats)


def tidied(graph: Graph) -> Graph:
    """A graph after the passes, with all its states."""
    for name, step in PIPELINE:
        if name not in _LEFT_OUT:
            graph = step(graph)
    return replace(graph, outputs=tuple((name, _unfolded(n)) for name, n in graph.outputs))


def _unfolded(node: Node) -> Node:
    """A vector that the passes had nothing to split in (a constant, an input or a param) as its elements."""
    if not isinstance(node.type, Vector):
        return node
    elem, count = node.type.elem, node.type.size
    if isinstance(node, Pack):
        elements = node.elements
    elif isinstance(node, Const) and isinstance(node.value, tuple):
        elements = tuple(replace(node, value=v, type=elem) for v in node.value)
    else:
        elements = tuple(Index(node, Const(i, Int(i, i), node.span), elem, node.span) for i in range(count))
    return Pack(tuple(map(_unfolded, elements)), node.type, node.span)


def _scalars(node: Node) -> tuple[Node, ...]:
    return tuple(x for e in node.elements for x in _scalars(e)) if isinstance(node, Pack) else (node,)


def part_names(state: State) -> tuple[str, ...]:
    """The names that `split_vectors` gives to the scalars of a state."""
    names = [state.name]
    for n in shape(state.type):
        names = [f"{name}[{i}]" for name in names for i in range(n)]
    return tuple(names)


def _common_width(graph: Graph) -> int | None:
    """The length of all vectors, if they have one and nothing mixes their elements; None otherwise."""
    dims = {shape(n.type) for n in graph.nodes} | {shape(s.type) for s in graph.states}
    dims.discard(())
    if len(dims) != 1 or len(next(iter(dims))) != 1:
        return None
    if any(isinstance(n, Pack | Slice | Index | MatMul) or not _even(n) for n in graph.nodes):
        return None
    if any(shape(s.type) and not shape(s.next.type) for s in graph.states) \
            or not all(_same(s.init) for s in graph.states):
        return None
    return next(iter(dims))[0]


def _even(node: Node) -> bool:
    return not isinstance(node, Const) or _same(node.value)


def _same(value: Value) -> bool:
    return not isinstance(value, tuple) or all(v == value[0] for v in value)


def _one_lane(graph: Graph) -> Graph:
    """Every vector replaced by one of its elements."""
    builder = GraphBuilder()
    made: dict[Node, Node] = {}
    present = set(graph.nodes)

    def first(value: Value) -> Value:
        return value[0] if isinstance(value, tuple) else value

    def lane(node: Node) -> Node:
        stack = [node]
        while stack:
            n = stack[-1]
            missing = [x for x in operands(n) if x not in made]
            if n not in made and missing:
                stack.extend(missing)
                continue
            stack.pop()
            if n in made:
                continue
            t = scalar_of(n.type)
            match n:
                case Input() | Param() | Read():
                    new: Node = replace(n, type=t)
                    if isinstance(n, Param):
                        new = replace(n, type=t, init=(n.init[0], tuple(first(a) for a in n.init[1])))
                case Const():
                    new = replace(n, type=t, value=first(n.value))
                case _:
                    new = with_operands(n, [made[x] for x in operands(n)], t)
            made[n] = builder.add(new)
        return made[node]

    return replace(
        graph, inputs=tuple(x for x in map(lane, graph.inputs) if isinstance(x, Input)),
        states=tuple(State(s.name, scalar_of(s.type), first(s.init), lane(s.next), s.span, s.free)
                     for s in graph.states),
        outputs=tuple((name, lane(n)) for name, n in graph.outputs),
        checks=tuple(replace(c, condition=lane(c.condition), subject=None if c.subject is None else lane(c.subject))
                     for c in graph.checks),
        names=tuple((name, lane(n)) for name, n in graph.names if n in present))


