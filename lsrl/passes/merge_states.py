"""States that always hold the same value become one, also where they depend on each other in a circle."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields, replace

from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Const, Node, Read, operands
from lsrl.passes.partition import coarsest_partition
from lsrl.passes.rewrite import Emit, rewrite

__all__ = ["merge_states"]


def merge_states(graph: Graph) -> Graph:
    """One state for all that have one type and initial value and whose next values are computed alike.

    Alike is the coarsest relation in which equal nodes have equal operations on alike operands, and a read of a state
    is alike to one whose initial values agree and whose next values are alike. It is found by partition refinement
    over nodes and states: n log n. The state that stands first is kept.
    """
    nodes = graph.nodes
    number = {node: i for i, node in enumerate(nodes)}
    reads = {s.name: len(nodes) + i for i, s in enumerate(graph.states)}
    kinds: list[Hashable] = [_kind(node) for node in nodes]
    kinds += [("state", s.type, repr(s.init)) for s in graph.states]
    edges: list[tuple[int, Hashable, int]] = []
    for i, node in enumerate(nodes):
        edges += ((i, k, number[x]) for k, x in enumerate(operands(node)))
        if isinstance(node, Read):
            edges.append((i, "state", reads[node.state]))
    edges += ((reads[s.name], "next", number[s.next]) for s in graph.states)
    classes = coarsest_partition(kinds, edges)
    first: dict[int, str] = {}
    kept = {s.name: first.setdefault(classes[reads[s.name]], s.name) for s in graph.states}
    if all(name == new for name, new in kept.items()):
        return graph

    def rule(node: Node, emit: Emit) -> Node:
        return replace(node, state=kept[node.state]) if isinstance(node, Read) else node

    merged = rewrite(graph, rule)
    return replace(merged, states=tuple(s for s in merged.states if kept[s.name] == s.name))


def _kind(node: Node) -> Hashable:
    """All of a node but its operands and its place."""
    parts: list[Hashable] = [type(node).__name__, node.type]
    for f in fields(node):
        if f.name in ("span", "type", *node.operand_fields) or (f.name == "state" and isinstance(node, Read)):
            continue
        value = getattr(node, f.name)
        if f.name == "terms":
            value = tuple(c for c, _ in value)
        parts.append(repr(value) if isinstance(node, Const) or f.name == "entries" else value)
    return tuple(parts)
