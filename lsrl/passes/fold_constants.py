"""Evaluate what is constant, and apply the algebraic identities that make a node simpler.

Constants are computed by the interpreter's own arithmetic. In numeric graphs no rule changes a float64 result. A
power or product whose result would have more than 4,096 bits is left to run time. Every rule gives a node that is
smaller, or of a simpler kind, over the same operands, so one sweep ends after a constant number of rules a node.
"""

from __future__ import annotations

from fractions import Fraction

from lsrl.arithmetic import apply, convert
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Affine, Const, Divide, Input, Mul, Node, Param, Read, Unary, operands
from lsrl.passes.identities import simplify
from lsrl.passes.rewrite import Emit, constant, keep_numeric, rewrite
from lsrl.types import Value

__all__ = ["fold", "fold_constants"]

_BITS = 4096


def fold_constants(graph: Graph) -> Graph:
    """Constant nodes become `Const`; neutral and absorbing operands go. One sweep; linear."""
    folded = rewrite(graph, lambda node, emit: fold(node, graph.numeric, emit))
    if keep_numeric(graph, folded):
        return folded
    # The last transcendental node would go, and with it the float64 meaning of the reals that stay.
    folded = rewrite(graph, lambda node, emit:
                     node if isinstance(node, Unary | Divide) else fold(node, graph.numeric, emit))
    return folded if keep_numeric(graph, folded) else graph


def fold(node: Node, numeric: bool, emit: Emit) -> Node:
    """The simplest node that the rules know for this one; its operands must be folded already."""
    while True:
        value = _evaluate(node, numeric)
        if value is not None:
            return emit(constant(value, node.type, node.span))
        simpler = simplify(node, numeric, lambda inner: fold(emit(inner), numeric, emit))
        if simpler is node:
            return node
        node = emit(simpler)


def _evaluate(node: Node, numeric: bool) -> Value | None:
    """The value of a node whose operands are all constants, or None."""
    if isinstance(node, Const | Input | Param | Read):
        return None
    values: list[Value] = []
    for x in operands(node):
        if not isinstance(x, Const):
            return None
        values.append(convert(x.value, x.type, numeric))
    if isinstance(node, Mul | Affine) and sum(map(_bits, values)) > _BITS:
        return None
    return apply(node, values, numeric)


def _bits(value: Value) -> int:
    """The length of a number, or of the longest in a vector."""
    if isinstance(value, tuple):
        return max(map(_bits, value), default=0)
    if isinstance(value, Fraction):
        return max(value.numerator.bit_length(), value.denominator.bit_length())
    return int(value).bit_length() if isinstance(value, int) else 64
