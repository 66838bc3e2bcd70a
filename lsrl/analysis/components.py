"""Strongly connected components of the value graph, in which the read of a state depends on its next value.

Tarjan 1972, without recursion. A component of more than one node, or of one that needs itself, is feedback
through states; everything else is a map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Node, Read, operands

__all__ = ["feeds", "node_components", "strongly_connected"]

_T = TypeVar("_T")


def strongly_connected(items: Iterable[_T], needs: Callable[[_T], Sequence[_T]]) -> list[list[_T]]:
    """The components, each after those that it needs. The order depends on the order of items and needs alone."""
    index: dict[_T, int] = {}
    low: dict[_T, int] = {}
    on_path: dict[_T, None] = {}
    out: list[list[_T]] = []
    for root in items:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        on_path[root] = None
        stack: list[tuple[_T, Iterator[_T]]] = [(root, iter(needs(root)))]
        while stack:
            item, rest = stack[-1]
            for x in rest:
                if x not in index:
                    index[x] = low[x] = len(index)
                    on_path[x] = None
                    stack.append((x, iter(needs(x))))
                    break
                if x in on_path:
                    low[item] = min(low[item], index[x])
            else:
                stack.pop()
                if stack:
                    parent = stack[-1][0]
                    low[parent] = min(low[parent], low[item])
                if low[item] == index[item]:
                    out.append(_take(on_path, item))
    return out


def _take(path: dict[_T, None], last: _T) -> list[_T]:
    """Pops the path down to and including `last`; the component in path order."""
    taken: list[_T] = []
    while True:
        item, _ = path.popitem()
        taken.append(item)
        if item is last or item == last:
            return taken[::-1]


def feeds(graph: Graph) -> Callable[[Node], Sequence[Node]]:
    """What a node's value comes from: its operands, and for the read of a state, the state's next value."""
    following = {s.name: (s.next,) for s in graph.states}
    return lambda node: following[node.state] if isinstance(node, Read) else operands(node)


def node_components(graph: Graph) -> list[tuple[Node, ...]]:
    """The components of all nodes, each after those that it needs, its nodes in graph order (operands first)."""
    place = {n: i for i, n in enumerate(graph.nodes)}
    return [tuple(sorted(c, key=place.__getitem__)) for c in strongly_connected(graph.nodes, feeds(graph))]
