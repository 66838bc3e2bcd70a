"""What lanes get from outside, and what is taken of a program into lanes: what all kinds of lanes have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from lsrl.backends.kernels.lanes import Lanes, Port
from lsrl.ir.graph import Graph, GraphBuilder, reachable
from lsrl.ir.nodes import Const, Index, Input, MatMul, Node, Param, Read, Slice, operands
from lsrl.types import Real, Type, Vector, scalar_of, shape, with_shape

__all__ = ["Feeds", "Found", "NoLanesError", "Taker"]


_Key = TypeVar("_Key")


class NoLanesError(Exception):
    """The program has no such lanes."""


@dataclass(frozen=True, eq=False)
class Found:
    """The lanes of a program, what their inputs and params are (see `Dense`), and the nodes that their outputs are."""

    lanes: Lanes
    feeds: tuple[tuple[Node, object], ...]
    leaves: tuple[Node, ...]


class Feeds:
    """The inputs and params of lanes, each a part of a node of the program.

    stateful: the nodes that a state goes into. fixed: those that no token changes. called: names of nodes. ports, of:
    by name, the port of a feed and what it is: a node, and which part of it (see `Dense`).
    """

    def __init__(self, graph: Graph, builder: GraphBuilder) -> None:
        self.stateful: set[Node] = set()
        self.fixed: set[Node] = set()
        for n in reachable((*(n for _, n in graph.outputs), *(s.next for s in graph.states))):
            if isinstance(n, Read) or any(x in self.stateful for x in operands(n)):
                self.stateful.add(n)
            if isinstance(n, Param | Const) or (operands(n) and all(x in self.fixed for x in operands(n))):
                self.fixed.add(n)
        self.called = {n: name for name, n in reversed(graph.names)}
        self.ports: dict[str, Port] = {}
        self.of: dict[str, tuple[Node, object]] = {}
        self._known: dict[tuple[Node, object], str] = {}
        self._builder = builder

    def outside(self, node: Node) -> bool:
        """Whether torch gives the numbers of a node: no state goes into them, and they are reals, or inputs."""
        return node not in self.stateful and (isinstance(scalar_of(node.type), Real) or not operands(node))

    def name(self, node: Node, part: object, wish: str, t: Type, lane: bool) -> str:
        """The name of a part of a node as a feed; a new one has the port of that type, and the name wished if it is
        free."""
        key = node, part
        if key not in self._known:
            name, i = wish, 1
            while name in self.ports:
                i += 1
                name = f"{wish} {i}"
            self._known[key] = name
            self.of[name] = key
            self.ports[name] = Port(name, t, lane, wide=True)
        return self._known[key]

    def add(self, node: Node, part: object, t: Type, lane: bool, wish: str | None = None) -> Node:
        """A part of a node as a leaf of a lane's graph. Raises NoLanesError for what torch gives no numbers of.

        t: of the port; the last dimension is that of the lanes if lane.
        """
        fixed = node in self.fixed
        scalar = scalar_of(t)
        if not isinstance(scalar, Real) and (fixed or not isinstance(node, Input)):
            raise NoLanesError
        name = self.name(node, part, wish or self.name_of(node), t, lane)
        seen = with_shape(scalar, shape(t)[:-1] if lane else shape(t))
        return self._builder.add(Param(name, ("zeros", ()), seen, node.span) if fixed else
                                 Input(name, seen, node.span))

    def name_of(self, node: Node) -> str:
        """What a node is called in a kernel."""
        if isinstance(node, Input | Param):
            return node.name
        if node in self.called:
            return self.called[node]
        if isinstance(node, MatMul):
            return f"{self.name_of(node.a)} @ {self.name_of(node.b)}"
        if isinstance(node, Index | Slice):
            return self.name_of(node.vector)
        return "map"


class Taker(ABC, Generic[_Key]):
    """Takes a program into lanes, of which there are `width`.

    b: the nodes of a lane's graph. feeds: its leaves from outside. values: what has been taken, by a key that says
    which part of which node it is.
    """

    def __init__(self, graph: Graph, width: int) -> None:
        self.graph, self.width = graph, width
        self.b = GraphBuilder()
        self.feeds = Feeds(graph, self.b)
        self.values: dict[_Key, Node] = {}

    @abstractmethod
    def case(self, key: _Key) -> tuple[list[_Key], Callable[[list[Node]], Node]]:
        """What a value needs, and what makes it of that. Raises NoLanesError."""

    @abstractmethod
    def given(self, node: Node) -> tuple[Node, bool]:
        """A value as an output, and whether each lane has an element of it. Raises NoLanesError."""

    def value(self, key: _Key) -> Node:
        """A value in a lane. Raises NoLanesError; without recursion over operands."""
        stack = [(key, False)]
        work: dict[_Key, Callable[[list[Node]], Node]] = {}
        needs: dict[_Key, list[_Key]] = {}
        while stack:
            k, ready = stack.pop()
            if k in self.values:
                continue
            if ready:
                self.values[k] = self.b.add(work[k]([self.values[x] for x in needs[k]]))
                continue
            needs[k], work[k] = self.case(k)
            stack.append((k, True))
            stack.extend((x, False) for x in reversed(needs[k]) if x not in self.values)
        return self.values[key]

    def outputs(self) -> tuple[list[Node], list[tuple[str, Node]], list[Port]]:
        """The nodes that the kernel gives to torch, in order, as outputs of the lanes and as ports."""
        leaves: dict[Node, tuple[Node, bool]] = {}
        stack = [n for _, n in reversed(self.graph.outputs)]
        seen: set[Node] = set()
        while stack:
            n = stack.pop()
            if n in seen or n not in self.feeds.stateful:
                continue
            seen.add(n)
            try:
                leaves[n] = self.given(n)
            except NoLanesError:
                if not operands(n):
                    raise
                stack.extend(reversed(operands(n)))
        own = {n: name for name, n in reversed(self.graph.outputs)}
        outs: list[tuple[str, Node]] = []
        ports: list[Port] = []
        for i, (n, (value, lane)) in enumerate(leaves.items()):
            name = own.get(n) or self.feeds.called.get(n) or f"value {i}"
            while name in {q.name for q in ports}:
                name += "'"
            outs.append((name, value))
            ports.append(Port(name, Vector(scalar_of(n.type), self.width) if lane else n.type, lane, wide=n not in own))
        return list(leaves), outs, ports
