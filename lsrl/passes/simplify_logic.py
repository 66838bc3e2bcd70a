"""Boolean identities: `and`, `or`, `not`, choices between truth values, and choices under the same condition."""

from __future__ import annotations

from dataclasses import replace

from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Compare, Const, Logic, Mux, Node
from lsrl.passes.fold_constants import fold
from lsrl.passes.rewrite import Emit, is_exact, keep_numeric, kind_of, rewrite
from lsrl.types import BOOL, Bool, shape

__all__ = ["simplify_logic", "simplify_node"]

_OPPOSITE = {"==": "!=", "!=": "=="}


def simplify_logic(graph: Graph) -> Graph:
    """Drops neutral and repeated operands, cancels `not not`, unnests choices.

    One sweep. Each rule removes an operator or operand, or turns a choice into an `and` or `or`; linear.
    """
    numeric = graph.numeric
    simpler = rewrite(graph, lambda node, emit: simplify_node(node, numeric, emit))
    return simpler if keep_numeric(graph, simpler) else graph


def simplify_node(node: Node, numeric: bool, emit: Emit) -> Node:
    """The simplest form of a node by these rules and those of `fold_constants`; its operands must be simple already."""
    while True:
        node = fold(node, numeric, emit)
        match node:
            case Logic(op="not"):
                new = _negation(node, numeric)
            case Logic():
                new = _junction(node)
            case Mux():
                new = _choice(node, numeric, emit)
            case _:
                return node
        if new is node:
            return node
        node = emit(new)


def _negation(node: Logic, numeric: bool) -> Node:
    """`not not x` is x; the negation of a comparison is the opposite one (for floats, only of equality)."""
    x, = node.args
    if isinstance(x, Logic) and x.op == "not":
        return x.args[0]
    if isinstance(x, Compare):
        if x.op in _OPPOSITE:
            return replace(x, op=_OPPOSITE[x.op], span=node.span)
        if is_exact(x, numeric):
            return Compare("<=" if x.op == "<" else "<", x.b, x.a, x.type, node.span)
    return node


def _junction(node: Logic) -> Node:
    """An `and` (or an `or`) without neutral and repeated operands; constant if one operand decides it."""
    neutral = node.op == "and"
    dims = shape(node.type)
    args: dict[Node, None] = {}
    for x in node.args:
        if isinstance(x, Const) and isinstance(x.value, bool):
            if x.value != neutral and not dims:
                return Const(not neutral, BOOL, node.span)
            if x.value == neutral:
                continue
        args[x] = None
    if not dims:
        for x in args:
            if isinstance(x, Logic) and x.op == "not" and x.args[0] in args:
                return Const(not neutral, BOOL, node.span)
        if not args:
            return Const(neutral, BOOL, node.span)
    if not any(shape(x.type) == dims for x in args):
        return node
    if len(args) == 1:
        return next(iter(args))
    return node if len(args) == len(node.args) else replace(node, args=tuple(args))


def _choice(node: Mux, numeric: bool, emit: Emit) -> Node:
    """A choice with the condition known inside its branches; an `and` or `or` where the values are truths."""
    c = node.condition
    if isinstance(c, Logic) and c.op == "not":
        return replace(node, condition=c.args[0], then=node.other, other=node.then)
    then, other = _given(node.then, c, True), _given(node.other, c, False)
    if then is not node.then or other is not node.other:
        if {shape(x.type) for x in (c, then, other)} >= {shape(node.type)}:
            return replace(node, then=then, other=other)
    if not isinstance(node.type, Bool):
        return node
    if isinstance(then, Const) and isinstance(other, Const):
        return c if then.value else Logic("not", (c,), BOOL, node.span)
    if isinstance(then, Const):
        if then.value:
            return Logic("or", (c, other), BOOL, node.span)
        return Logic("and", (_opposite(c, node, numeric, emit), other), BOOL, node.span)
    if isinstance(other, Const):
        if not other.value:
            return Logic("and", (c, then), BOOL, node.span)
        return Logic("or", (_opposite(c, node, numeric, emit), then), BOOL, node.span)
    if then is c:
        return Logic("or", (c, other), BOOL, node.span)
    if other is c:
        return Logic("and", (c, then), BOOL, node.span)
    return node


def _opposite(c: Node, node: Node, numeric: bool, emit: Emit) -> Node:
    return emit(simplify_node(emit(Logic("not", (c,), BOOL, node.span)), numeric, emit))


def _given(branch: Node, condition: Node, holds: bool) -> Node:
    """A branch where the condition is known: the choice inside it that has the same condition is decided."""
    if isinstance(branch, Mux) and branch.condition is condition:
        taken = branch.then if holds else branch.other
        if kind_of(taken.type) == kind_of(branch.type):
            return taken
    return branch
