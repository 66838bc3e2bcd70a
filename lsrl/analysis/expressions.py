"""Small expressions built of a graph's nodes: the gates and inputs of a cell, written as nodes of their own.

They are new nodes over old ones, simplified as they are made; equal ones are one node.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from fractions import Fraction

from lsrl.analysis.interval import Range
from lsrl.analysis.refine import Evaluator
from lsrl.diagnostics import NOWHERE
from lsrl.ir.graph import Graph, GraphBuilder
from lsrl.ir.nodes import Affine, Compare, Const, Logic, MinMax, Mul, Mux, Node, operands
from lsrl.types import BOOL, INT, REAL, Bool, Int, Real, Type

__all__ = ["Expressions"]


class Expressions:
    """Makes nodes over those of a graph."""

    def __init__(self, graph: Graph, ranges: Mapping[Node, Range]) -> None:
        self._builder = GraphBuilder()
        for n in graph.nodes:
            self._builder.add(n)
        self._graph = graph
        self._graph_nodes = set(graph.nodes)
        self._evaluator = Evaluator(graph)
        self._evaluator.ranges.update(ranges)
        self.zero = self.const(0)
        self.one = self.const(1)

    def const(self, value: int | Fraction) -> Node:
        """A number; an int if it is integral."""
        v = Fraction(value)
        if v.denominator == 1:
            return self._builder.add(Const(v.numerator, INT, NOWHERE))
        return self._builder.add(Const(v, REAL, NOWHERE))

    def truth(self, value: bool) -> Node:
        return self._builder.add(Const(value, BOOL, NOWHERE))

    @staticmethod
    def number(node: Node) -> Fraction | None:
        """The value of a constant number or bool."""
        if isinstance(node, Const) and isinstance(node.value, int | Fraction):
            return Fraction(node.value)
        return None

    def affine(self, terms: Iterable[tuple[int | Fraction, Node]], bias: int | Fraction) -> Node:
        """Σ coefficient · node + bias, constants and made sums inside it folded."""
        total: dict[Node, Fraction] = {}
        constant = Fraction(bias)
        stack = [(Fraction(c), x) for c, x in terms][::-1]
        while stack:
            c, x = stack.pop()
            value = self.number(x)
            if value is not None:
                constant += c * value
            elif isinstance(x, Affine) and self.is_made(x) and not self._graph.numeric:
                constant += c * x.bias
                stack.extend((c * d, y) for d, y in reversed(x.terms))
            else:
                total[x] = total.get(x, Fraction(0)) + c
        kept = [(c, x) for x, c in total.items() if c]
        if not kept:
            return self.const(constant)
        if len(kept) == 1 and kept[0][0] == 1 and not constant and not isinstance(kept[0][1].type, Bool):
            return kept[0][1]
        whole = all(c.denominator == 1 and not isinstance(x.type, Real) for c, x in kept) and constant.denominator == 1
        return self._builder.add(Affine(tuple((_plain(c), x) for c, x in kept), _plain(constant),
                                        INT if whole else REAL, NOWHERE))

    def mux(self, condition: Node, then: Node, other: Node) -> Node:
        """`then` where the condition holds, else `other`."""
        known = self.number(condition)
        if known is not None:
            return then if known else other
        if then is other:
            return then
        a, b = self.number(then), self.number(other)
        if isinstance(then.type, Bool) and isinstance(other.type, Bool):
            if a == 1 and b == 0:
                return condition
            if a == 0 and b == 1:
                return self.logic("not", [condition])
            if a is not None:
                return self.logic("or", [condition, other]) if a else \
                    self.logic("and", [self.logic("not", [condition]), other])
            if b is not None:
                return self.logic("or", [self.logic("not", [condition]), then]) if b else \
                    self.logic("and", [condition, then])
        elif a is not None and b is not None:
            return self.affine([(a - b, condition)], b)
        t: Type = then.type
        if isinstance(then.type, Int | Real) and isinstance(other.type, Int | Real):
            t = INT if isinstance(then.type, Int) and isinstance(other.type, Int) else REAL
        return self._builder.add(Mux(condition, then, other, t, NOWHERE))

    def logic(self, op: str, args: Sequence[Node]) -> Node:
        """`and`, `or`, `not` with constants folded."""
        if op == "not":
            value = self.number(args[0])
            if value is not None:
                return self.truth(not value)
            if isinstance(args[0], Logic) and args[0].op == "not":
                return args[0].args[0]
            return self._builder.add(Logic("not", (args[0],), BOOL, NOWHERE))
        stop = 1 if op == "or" else 0
        kept: list[Node] = []
        for x in args:
            value = self.number(x)
            if value == stop:
                return self.truth(bool(stop))
            if value is None and x not in kept:
                kept.append(x)
        if len(kept) < 2:
            return kept[0] if kept else self.truth(not stop)
        return self._builder.add(Logic(op, tuple(kept), BOOL, NOWHERE))

    def compare(self, op: str, a: Node, b: Node) -> Node:
        return self._builder.add(Compare(op, a, b, BOOL, NOWHERE))

    def extreme(self, op: str, a: Node, b: Node) -> Node:
        """`min` or `max` of two numbers."""
        x, y = self.number(a), self.number(b)
        if a is b:
            return a
        if x is not None and y is not None:
            return self.const(min(x, y) if op == "min" else max(x, y))
        whole = isinstance(a.type, Int) and isinstance(b.type, Int)
        return self._builder.add(MinMax(op, (a, b), INT if whole else REAL, NOWHERE))

    def mul(self, a: Node, b: Node) -> Node:
        """a · b, a sum if one of them is constant."""
        for x, y in ((a, b), (b, a)):
            value = self.number(x)
            if value is not None:
                return self.affine([(value, y)], 0)
        whole = isinstance(a.type, Int) and isinstance(b.type, Int)
        return self._builder.add(Mul(a, b, INT if whole else REAL, NOWHERE))

    def range(self, node: Node) -> Range:
        """The range of a made node."""
        known = self._evaluator.ranges
        for n in self._made([node], known):
            known[n] = self._evaluator.value(n)
        return known[node]

    def ranges(self) -> Mapping[Node, Range]:
        """The ranges of all nodes of the graph, and of those made so far that were asked for."""
        return self._evaluator.ranges

    def depends(self, roots: Iterable[Node], own: Container[Node]) -> bool:
        """Whether a made node needs one of some nodes of the graph; `own` must hold all that depend on them."""
        roots = list(roots)
        return any(x in own for n in [*roots, *self._made(roots, self._graph_nodes)] for x in (n, *operands(n)))

    def is_made(self, node: Node) -> bool:
        """Whether a node is none of the graph's."""
        return node not in self._graph_nodes

    @staticmethod
    def _made(roots: Iterable[Node], known: Container[Node]) -> list[Node]:
        """What the roots need and is not known, operands first."""
        order: list[Node] = []
        entered: set[Node] = set()
        for root in roots:
            stack = [(root, False)]
            while stack:
                node, ready = stack.pop()
                if ready:
                    order.append(node)
                elif node not in known and node not in entered:
                    entered.add(node)
                    stack.append((node, True))
                    stack.extend((x, False) for x in operands(node))
        return order


def _plain(x: Fraction) -> int | Fraction:
    return x.numerator if x.denominator == 1 else x
