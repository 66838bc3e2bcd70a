"""The lanes of a program whose states are matrices: one for each row, where all rows do the same.

Linear attention and its kin hold a matrix to which every token adds an outer product; state space models hold some
modes for each channel. Element by element that is thousands of scalars, but what happens to a row is a short program,
and is the same in each. A row's elements are scalars of its lane; what all rows share is calculated in each lane if a
state goes into it, and otherwise comes from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from lsrl.backends.kernels.feeds import Found, NoLanesError, Taker
from lsrl.backends.kernels.lanes import Lanes, Port, part_names, tidied
from lsrl.ir.graph import Graph, State, reachable
from lsrl.ir.nodes import Const, Index, Input, MatMul, Node, Pack, Param, Read, Slice, Table, operands
from lsrl.passes.rewrite import with_operands
from lsrl.types import REAL, Real, Type, Value, scalar_of, shape, with_shape

__all__ = ["ROWS", "take_rows"]

ROWS = "rows"  # how a feed is marked whose first dimension is the rows

_Key: TypeAlias = tuple[Any, ...]  # ("row", node), ("whole", node) or ("both", node, node, row)
_Work: TypeAlias = tuple[list[_Key], Callable[[list[Node]], Node]]


class _HasRowsError(Exception):
    """A state has an element in each lane."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


def take_rows(graph: Graph) -> Found | None:
    """The lanes of a program, one for each row of its matrices; None if it has none, or rows differ."""
    deep = [s for s in graph.states if len(shape(s.type)) > 1]
    if not deep or len({shape(s.type)[0] for s in deep}) > 1 or shape(deep[0].type)[0] < 2:
        return None
    rows = {s.name for s in deep}
    while True:
        try:
            return _Rows(graph, rows, shape(deep[0].type)[0]).made()
        except _HasRowsError as found:
            rows = {*rows, found.state}
        except NoLanesError:
            return None


class _Rows(Taker[_Key]):
    def __init__(self, graph: Graph, rows: set[str], width: int) -> None:
        super().__init__(graph, width)
        self.rows = rows

    def made(self) -> Found:
        states = []
        for s in self.graph.states:
            new = self.next(s)
            t = self._lane_type(s.type) if s.name in self.rows else _plain(s.type)
            init = _row(s.init) if s.name in self.rows else s.init
            states.append(State(s.name, t, init, new, s.span, isinstance(scalar_of(t), Real)))
        leaves, outputs, ports = self.outputs()
        inputs = dict.fromkeys(n for n in self.values.values() if isinstance(n, Input))
        names = [(name, x) for name, n in self.graph.names
                 for x in [self.values.get(("row", n)) or self.values.get(("whole", n))] if x is not None]
        lane = tidied(Graph(self.graph.name, tuple(inputs), tuple(states), tuple(outputs), (), tuple(names),
                            self.graph.span))
        used = {n.name for n in reachable(lane.roots) if isinstance(n, Input | Param)}
        streams = tuple(self.feeds.ports[n.name] for n in lane.inputs if n.name in used)
        params = tuple(p for name, p in self.feeds.ports.items()
                       if name in used and name not in {q.name for q in streams})
        lane = Graph(lane.name, tuple(n for n in lane.inputs if n.name in used), lane.states, lane.outputs, (),
                     lane.names, lane.span)
        held = tuple(Port(s.name, with_shape(scalar_of(s.type), (*shape(s.type), self.width))
                          if s.name in self.rows else s.type, s.name in self.rows, part_names(s)) for s in states)
        lanes = Lanes(self.graph, lane, self.width, streams, tuple(ports), held, params, True)
        return Found(lanes, tuple(self.feeds.of[p.name] for p in (*streams, *params)), tuple(leaves))

    def next(self, state: State) -> Node:
        """The new value of a state."""
        if state.name in self.rows:
            return self.value(("row", state.next))
        try:
            return self.value(("whole", state.next))
        except NoLanesError:
            if shape(state.type) == (self.width,):
                raise _HasRowsError(state.name) from None
            raise

    def given(self, node: Node) -> tuple[Node, bool]:
        """A value as an output, and whether each lane has an element of it. Raises NoLanesError."""
        if len(shape(node.type)) > 1:
            raise NoLanesError
        if shape(node.type) == (self.width,):
            try:
                return self.value(("row", node)), True
            except (NoLanesError, _HasRowsError):
                pass  # a vector that all lanes share, of as many elements
        return self.value(("whole", node)), False

    # Values of a lane.

    def case(self, key: _Key) -> _Work:
        """What a value needs, and what makes it of that."""
        what, node, *rest = key
        if what == "both":
            return self.both(node, *rest)
        return self.row(node) if what == "row" else self.whole(node)

    def row(self, node: Node) -> _Work:
        """A lane's row of a value whose first dimension is the rows."""
        t = self._lane_type(node.type)
        match node:
            case Read(state=name):
                if name not in self.rows:
                    raise _HasRowsError(name)
                return [], lambda _: Read(name, t, node.span)
            case Const(value=value):
                return [], lambda _: Const(_row(value), t, node.span)
            case _ if self.feeds.outside(node):
                return [], lambda _: self.feeds.add(node, ROWS, with_shape(scalar_of(t), (*shape(t), self.width)), True)
            case Pack(elements=elements):
                needs: list[_Key] = [("both", elements[0], e, i) for i, e in enumerate(elements[1:], 1)]
                return needs, _same
            case MatMul(a=a, b=b):
                return [("row", a), ("whole", b)], lambda made: with_operands(node, made, t)
            case Index() | Slice() | Table():
                raise NoLanesError
            case _:
                return [("row" if shape(x.type) else "whole", x) for x in operands(node)], \
                    lambda made: with_operands(node, made, t)

    def whole(self, node: Node) -> _Work:
        """A value that all lanes have."""
        t = _plain(node.type)
        match node:
            case Const():
                return [], lambda _: node
            case _ if self.feeds.outside(node):
                return [], lambda _: self.feeds.add(node, None, t, False)
            case Read(state=name):
                if name in self.rows:
                    raise NoLanesError
                return [], lambda _: Read(name, t, node.span)
            case _:
                return [("whole", x) for x in operands(node)], lambda made: with_operands(node, made, t)

    def both(self, a: Node, b: Node, i: int) -> _Work:
        """The value in a lane that is `a` in the first row and `b` in row i. Raises NoLanesError if there is none."""
        if a is b:
            return [("whole", a)], _same
        if isinstance(a, Index) and isinstance(b, Index) and a.vector is b.vector \
                and _place(a) == 0 and _place(b) == i and shape(a.vector.type)[0] == self.width:
            return [("row", a.vector)], _same
        mine, other = operands(a), operands(b)
        if type(a) is not type(b) or len(mine) != len(other) or not mine or shape(a.type) != shape(b.type):
            raise NoLanesError
        t = _plain(a.type)

        def made(values: list[Node]) -> Node:
            return _same([self.b.add(with_operands(n, values, t)) for n in (a, b)])

        return [("both", x, y, i) for x, y in zip(mine, other, strict=True)], made

    def _lane_type(self, t: Type) -> Type:
        """The type of a row."""
        dims = shape(t)
        if not dims or dims[0] != self.width:
            raise NoLanesError
        return with_shape(_plain(scalar_of(t)), dims[1:])


def _same(values: Sequence[Node]) -> Node:
    """The one value that these are, row by row."""
    if any(v is not values[0] for v in values):
        raise NoLanesError
    return values[0]


def _place(node: Index) -> int | None:
    return node.index.value if isinstance(node.index, Const) and isinstance(node.index.value, int) else None


def _row(value: Value) -> Value:
    """The row that all rows of a constant are."""
    if not isinstance(value, tuple) or any(v != value[0] for v in value):
        raise NoLanesError
    return value[0]


def _plain(t: Type) -> Type:
    """A type without what is known of its reals, which may differ from row to row."""
    return with_shape(REAL, shape(t)) if isinstance(scalar_of(t), Real) else t
