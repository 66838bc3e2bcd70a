"""Reverse-mode differentiation of the scalar nodes of one step, as nodes: the rules that adjoints and Jacobians share.

Griewank and Walther 2008, chapter 3. `abs`, `max` and comparisons have the derivative of the branch that was taken.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from fractions import Fraction

from lsrl.backends.kernels.lanes import Port
from lsrl.diagnostics import NOWHERE
from lsrl.ir.graph import GraphBuilder, reachable
from lsrl.ir.nodes import (
    Affine,
    Compare,
    Const,
    Divide,
    FloorDiv,
    Index,
    Input,
    MinMax,
    Mul,
    Mux,
    Node,
    Pack,
    Unary,
    operands,
)
from lsrl.types import BOOL, INT, REAL, Bool, Real, Vector, scalar_of, shape, with_shape

__all__ = ["Reverse"]


class Reverse(ABC):
    """Cotangents of the nodes of a step, made as nodes of another graph.

    Give the roots theirs, sweep, and ask for those of the leaves.
    """

    def __init__(self) -> None:
        self._builder = GraphBuilder()
        self._total: dict[Node, list[Node]] = {}

    @abstractmethod
    def _again(self, node: Node) -> Node:
        """A node of the step, calculated in the other graph."""

    def _sweep(self, roots: Iterable[Node]) -> None:
        """From the roots to the leaves, each node after all that uses it."""
        for node in reversed(reachable(roots)):
            if node in self._total and operands(node) and not isinstance(node, Pack | Index):
                self._pull(node, self._cotangent(node))

    def _input(self, name: str, port: Port) -> Input:
        scalar = scalar_of(port.type)
        held = scalar if not isinstance(scalar, Real) else REAL
        return self._leaf(Input(name, with_shape(held, port.seen), NOWHERE))

    def _leaf(self, stream: Input) -> Input:
        found = self._add(stream)
        assert isinstance(found, Input)
        return found

    def _element(self, stream: Input, i: int) -> Node:
        """Element i, row-major, of a stream in the adjoint."""
        node: Node = stream
        dims = shape(stream.type)
        for k, n in enumerate(dims):
            stride = 1
            for m in dims[k + 1:]:
                stride *= m
            at = self._add(Const(i // stride % n, INT, NOWHERE))
            t = node.type.elem if isinstance(node.type, Vector) else node.type
            node = self._add(Index(node, at, t, NOWHERE))
        return node

    def _cotangent(self, node: Node | None) -> Node:
        shares = self._total.get(node, []) if node is not None else []
        return self._sum([(1, x) for x in shares]) if shares else self._number(0)

    def _give(self, node: Node, share: Node) -> None:
        if isinstance(node.type, Real):
            self._total.setdefault(node, []).append(share)

    def _pull(self, node: Node, d: Node) -> None:
        """Passes the cotangent of a node on to its operands."""
        m = self._again
        match node:
            case Affine():
                for c, x in node.terms:
                    self._give(x, self._sum([(c, d)]))
            case Mul(a=a, b=b):
                self._give(a, self._times(d, m(b)))
                self._give(b, self._times(d, m(a)))
            case Divide(a=a, b=b):
                share = self._add(Divide(d, self._real(m(b)), REAL, NOWHERE))
                self._give(a, share)
                self._give(b, self._sum([(-1, self._times(share, m(node)))]))
            case Mux(condition=c, then=a, other=b):
                zero = self._number(0)
                self._give(a, self._add(Mux(m(c), d, zero, REAL, NOWHERE)))
                self._give(b, self._add(Mux(m(c), zero, d, REAL, NOWHERE)))
            case MinMax():
                self._pull_extreme(node, d)
            case FloorDiv(op="%", x=x):
                self._give(x, d)
            case Unary(function=name, x=x):
                self._give(x, self._unary(name, m(x), m(node), d))
            case _:
                pass  # tables, comparisons and quotients rounded down are constant almost everywhere

    def _pull_extreme(self, node: MinMax, d: Node) -> None:
        """To the first argument that attains it."""
        zero, taken = self._number(0), d
        for x in node.args[:-1]:
            here = self._add(Compare("==", self._again(x), self._again(node), BOOL, NOWHERE))
            self._give(x, self._add(Mux(here, taken, zero, REAL, NOWHERE)))
            taken = self._add(Mux(here, zero, taken, REAL, NOWHERE))
        self._give(node.args[-1], taken)

    def _unary(self, name: str, x: Node, y: Node, d: Node) -> Node:
        one = self._number(1)
        match name:
            case "exp":
                return self._times(d, y)
            case "log":
                return self._add(Divide(d, self._real(x), REAL, NOWHERE))
            case "sqrt":
                return self._add(Divide(self._sum([(Fraction(1, 2), d)]), y, REAL, NOWHERE))
            case "sigmoid":
                return self._times(d, self._times(y, self._sum([(1, one), (-1, y)])))
            case "tanh":
                return self._times(d, self._sum([(1, one), (-1, self._times(y, y))]))
            case "softplus":
                return self._times(d, self._function("sigmoid", x))
            case "silu":
                s = self._function("sigmoid", x)
                inner = self._sum([(1, one), (1, self._times(x, self._sum([(1, one), (-1, s)])))])
                return self._times(d, self._times(s, inner))
            case "sin":
                return self._times(d, self._function("cos", x))
            case "cos":
                return self._sum([(-1, self._times(d, self._function("sin", x)))])
            case _:
                raise AssertionError(name)

    def _add(self, node: Node) -> Node:
        return self._builder.add(node)

    def _number(self, x: int) -> Node:
        return self._add(Const(x, REAL, NOWHERE))

    def _real(self, x: Node) -> Node:
        return x if isinstance(x.type, Real) else self._add(Affine(((1, x),), 0, REAL, NOWHERE))

    def _times(self, a: Node, b: Node) -> Node:
        if isinstance(b.type, Bool):
            b = self._real(b)
        return self._add(Mul(a, b, REAL, NOWHERE))

    def _function(self, name: str, x: Node) -> Node:
        return self._add(Unary(name, x, REAL, NOWHERE))

    def _sum(self, terms: list[tuple[int | Fraction, Node]]) -> Node:
        if len(terms) == 1 and terms[0][0] == 1:
            return terms[0][1]
        return self._add(Affine(tuple(terms), 0, REAL, NOWHERE))
