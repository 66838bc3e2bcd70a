"""Chains of one associative operator become one node: `and(and(a, b), c)` is `and(a, b, c)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Logic, MinMax, Node, map_operands
from lsrl.passes.rewrite import Emit, is_exact, kind_of, single_users, sweep

__all__ = ["flatten_chains"]


def flatten_chains(graph: Graph) -> Graph:
    """Merges each `and`, `or`, `min` or `max` into its only user of the same kind. One sweep; linear.

    A node with several users stays, so the operand lists together never grow. Minima of floats stay as they are:
    NaN and the sign of zero depend on their order.
    """
    joined = single_users(graph, lambda user, x: _joins(user, x, graph.numeric))

    def rule(node: Node, made: Mapping[Node, Node], emit: Emit) -> Node:
        if isinstance(node, Logic | MinMax) and node not in joined and any(x in joined for x in node.args):
            return replace(node, args=tuple(made[x] for x in _leaves(node, joined)))
        return map_operands(node, made.__getitem__)

    return sweep(graph, rule)


def _joins(user: Node, x: Node, numeric: bool) -> bool:
    if isinstance(user, Logic) and isinstance(x, Logic):
        return user.op == x.op != "not" and user.type == x.type
    if isinstance(user, MinMax) and isinstance(x, MinMax):
        return user.op == x.op and kind_of(user.type) == kind_of(x.type) and is_exact(user, numeric)
    return False


def _leaves(node: Logic | MinMax, joined: set[Node]) -> list[Node]:
    """The operands of a chain in their order, with those of the joined nodes in their place."""
    out: list[Node] = []
    stack: list[Node] = list(reversed(node.args))
    while stack:
        x = stack.pop()
        if x in joined and isinstance(x, Logic | MinMax):
            stack.extend(reversed(x.args))
        else:
            out.append(x)
    return out
