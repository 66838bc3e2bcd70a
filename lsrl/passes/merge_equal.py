"""Nodes that compute the same thing by the same operation on the same operands become one."""

from __future__ import annotations

from dataclasses import fields, replace

from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Affine, Compare, Logic, MinMax, Mul, Node
from lsrl.passes.rewrite import Emit, is_exact, kind_of, rewrite

__all__ = ["merge_equal"]


def merge_equal(graph: Graph) -> Graph:
    """One node for all that are equal up to declared ranges and the order of operands, where order does not matter.

    Operands of commutative operations are sorted by where they first stand; sums and minima of floats are not. The
    node that stands first is kept. One sweep; n log n for the sorting of operand lists.
    """
    place: dict[Node, int] = {}
    known: dict[object, Node] = {}

    def rule(node: Node, emit: Emit) -> Node:
        ordered = _in_order(node, place, graph.numeric)
        first = known.setdefault(_key(ordered), ordered)
        place.setdefault(first, len(place))
        return first

    for node in graph.inputs:
        place[node] = len(place)
    return rewrite(graph, rule)


def _in_order(node: Node, place: dict[Node, int], numeric: bool) -> Node:
    match node:
        case Logic(args=args) | MinMax(args=args) if isinstance(node, Logic) or is_exact(node, numeric):
            ordered = tuple(sorted(args, key=place.__getitem__))
            return node if ordered == args else replace(node, args=ordered)
        case Mul(a=a, b=b):
            return replace(node, a=b, b=a) if place[b] < place[a] else node
        case Compare(op="==" | "!=", a=a, b=b):
            return replace(node, a=b, b=a) if place[b] < place[a] else node
        case Affine(terms=terms) if is_exact(node, numeric):
            sums = tuple(sorted(terms, key=lambda term: place[term[1]]))
            return node if sums == terms else replace(node, terms=sums)
        case _:
            return node


def _key(node: Node) -> object:
    """What makes two nodes equal: all but the span and the range of the type."""
    parts: list[object] = [type(node).__name__, kind_of(node.type)]
    for f in fields(node):
        if f.name in ("span", "type"):
            continue
        value = getattr(node, f.name)
        parts.append(repr(value) if f.name in ("value", "entries") else value)
    return tuple(parts)
