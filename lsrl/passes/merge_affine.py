"""Sums of sums become one sum: chains of `Affine` nodes, with like terms added up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Affine, Node, map_operands
from lsrl.passes.fold_constants import fold
from lsrl.passes.rewrite import Emit, is_exact, keep_numeric, single_users, sweep
from lsrl.types import shape

__all__ = ["merge_affine"]

_BITS = 4096


def merge_affine(graph: Graph) -> Graph:
    """Puts each sum into its user's sum where that never costs more: it has no other user, or has one term at most.

    Sums of floats stay as they are. One sweep. A sum with one user is spread out once, in that user; a chain of sums
    of one term is followed as it is built, each link once. So the terms together never grow: linear.
    """
    numeric = graph.numeric
    joined = single_users(graph, lambda user, x: _joins(user, x, numeric))

    def rule(node: Node, made: Mapping[Node, Node], emit: Emit) -> Node:
        if not isinstance(node, Affine) or node in joined or not is_exact(node, numeric):
            return fold(map_operands(node, made.__getitem__), numeric, emit)
        return fold(_spread_out(node, made, joined, numeric), numeric, emit)

    merged = sweep(graph, rule)
    return merged if keep_numeric(graph, merged) else graph


def _joins(user: Node, x: Node, numeric: bool) -> bool:
    return isinstance(user, Affine) and isinstance(x, Affine) and is_exact(user, numeric) and is_exact(x, numeric)


def _spread_out(node: Affine, made: Mapping[Node, Node], joined: set[Node], numeric: bool) -> Node:
    """The sum over the operands of all sums that are merged into it; terms in the order in which they first stand.

    A sum whose coefficients would have more than 4,096 bits stays as it is.
    """
    total: dict[Node, int | Fraction] = {}
    bias: int | Fraction = node.bias
    stack: list[tuple[int | Fraction, Node]] = list(reversed(node.terms))
    while stack:
        c, x = stack.pop()
        if x in joined and isinstance(x, Affine):
            bias += c * x.bias
            stack.extend((c * k, inner) for k, inner in reversed(x.terms))
            continue
        x = made[x]
        if isinstance(x, Affine) and len(x.terms) <= 1 and is_exact(x, numeric):
            bias += c * x.bias
            if not x.terms:
                continue
            k, x = x.terms[0]
            c *= k
        total[x] = total.get(x, 0) + c
    if any(_bits(c) > _BITS for c in (bias, *total.values())):
        return map_operands(node, made.__getitem__)
    dims = shape(node.type)
    kept = [x for x, c in total.items() if c != 0]
    if dims and not any(shape(x.type) == dims for x in kept):  # one operand has to give the sum its shape
        kept.append(next(x for x in total if shape(x.type) == dims))
    return replace(node, terms=tuple((_tidy(total[x]), x) for x in kept), bias=_tidy(bias))


def _bits(x: int | Fraction) -> int:
    return max(x.numerator.bit_length(), x.denominator.bit_length())


def _tidy(x: int | Fraction) -> int | Fraction:
    return int(x) if Fraction(x).denominator == 1 else x
