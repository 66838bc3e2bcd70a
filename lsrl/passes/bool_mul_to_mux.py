"""A product with a 0/1 signal is a choice: `int(b) * x` becomes `x if b else 0`."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from lsrl.analysis.ranges import Range, analyse
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Affine, Compare, Mul, Mux, Node, map_operands
from lsrl.passes.rewrite import Emit, constant, is_exact, kind_of, sweep
from lsrl.passes.simplify_logic import simplify_node
from lsrl.types import BOOL, Bool, Int, is_scalar

__all__ = ["bool_mul_to_mux"]


def bool_mul_to_mux(graph: Graph) -> Graph:
    """Every exact scalar product of which one factor takes two values, one of them zero, becomes a `Mux`.

    Such a factor is `c * int(b)`, or a whole number that the range analysis finds in 0..1. Products of floats stay:
    0 times an infinity is no zero. One sweep; linear. Graphs without such products keep their nodes as they are.
    """
    products = [n for n in graph.nodes if isinstance(n, Mul) and is_scalar(n.type) and is_exact(n, graph.numeric)]
    if not products:
        return graph
    ranges = analyse(graph)
    wanted = {n: found for n in products if (found := _switch(n, ranges)) is not None}
    numeric = graph.numeric

    def rule(node: Node, made: Mapping[Node, Node], emit: Emit) -> Node:
        if node not in wanted:
            return map_operands(node, made.__getitem__)
        switch, factor, x = wanted[node]
        condition = made[switch]
        if not isinstance(condition.type, Bool):
            zero = emit(constant(0, kind_of(condition.type), node.span))
            condition = simplify_node(emit(Compare("!=", condition, zero, BOOL, node.span)), numeric, emit)
        value = simplify_node(emit(Affine(((factor, made[x]),), 0, node.type, node.span)), numeric, emit)
        nothing = emit(constant(0, kind_of(node.type), node.span))
        return simplify_node(emit(Mux(emit(condition), emit(value), nothing, node.type, node.span)), numeric, emit)

    return sweep(graph, rule)


def _switch(node: Mul, ranges: Mapping[Node, Range]) -> tuple[Node, int | Fraction, Node] | None:
    """A signal of two values, what the product's other factor is multiplied by where it is on, and that factor."""
    for a, x in ((node.a, node.b), (node.b, node.a)):
        if isinstance(a, Affine) and a.bias == 0 and len(a.terms) == 1 and isinstance(a.terms[0][1].type, Bool):
            return a.terms[0][1], a.terms[0][0], x
        r = ranges[a]
        if r.lo == 0 and r.hi == 1 and (isinstance(a.type, Int) or r.grid == 1):
            return a, 1, x
    return None
