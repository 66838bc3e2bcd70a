"""Comparisons of a sum of many finite numbers with a constant: one threshold or two, and nothing is enumerated."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from lsrl.backends.cubes import Diagrams
from lsrl.backends.finite import Cover, Leaf, Machine
from lsrl.backends.linear_form import Rational
from lsrl.backends.scores import Sum, Term
from lsrl.backends.sums import Slot, Sums
from lsrl.ir.nodes import Affine, Compare, Const, Node

__all__ = ["FEWEST", "LongSum", "compared", "cover_of", "is_long", "parts_of"]

FEWEST = 8  # variables from which on a sum counts as long


@dataclass(frozen=True)
class LongSum:
    """Σ coefficient · node + bias: the left side of a comparison minus its right side."""

    terms: tuple[tuple[Fraction, Node], ...]
    bias: Fraction


def parts_of(node: Compare, is_whole: Callable[[Node], bool]) -> LongSum:
    """The two sides as one sum, affine nodes taken apart but for those that `is_whole` says are variables."""
    terms: list[tuple[Fraction, Node]] = []
    bias = Fraction(0)
    stack: list[tuple[Fraction, Node]] = [(Fraction(1), node.a), (Fraction(-1), node.b)]
    while stack:
        c, n = stack.pop()
        if isinstance(n, Const) and isinstance(n.value, int | Fraction):
            bias += c * Fraction(n.value)
        elif isinstance(n, Affine) and not is_whole(n):
            bias += c * Fraction(n.bias)
            stack.extend((c * Fraction(a), x) for a, x in n.terms)
        else:
            terms.append((c, n))
    return LongSum(tuple(terms), bias)


def is_long(node: Node) -> bool:
    """Whether a comparison may be of a long sum: quick, and true too often."""
    if not isinstance(node, Compare):
        return False
    count, stack = 0, [node.a, node.b]
    while stack:
        n = stack.pop()
        if isinstance(n, Affine):
            stack.extend(x for _, x in n.terms)
        else:
            count += 1
            if count >= FEWEST:
                return True
    return False


def compared(node: Compare, weights: Mapping[int, Sequence[Rational]], bias: Fraction) -> Sums | None:
    """[Σ weights[variable][place] + bias compares with 0 as the node says], as a machine that shows it.

    None if the numbers are too large for one sum.
    """
    numbers = [bias, *(Fraction(x) for w in weights.values() for x in w)]
    scale = math.lcm(*(x.denominator for x in numbers))
    lifted: list[tuple[int, tuple[int, ...]]] = []
    rest = int(bias * scale)
    for v, w in sorted(weights.items()):
        whole = [int(Fraction(x) * scale) for x in w]
        if len(set(whole)) > 1:
            lifted.append((v, tuple(x - min(whole) for x in whole)))
        rest += min(whole)
    if sum(max(w) for _, w in lifted) > 1 << 12 or not lifted:
        return None
    at_least, above = (Term(tuple(lifted), k - rest) for k in (0, 1))
    told = {"<": Sum(((-1, at_least),), 1), "<=": Sum(((-1, above),), 1),
            "==": Sum(((1, at_least), (-1, above))), "!=": Sum(((-1, at_least), (1, above)), 1)}[node.op]
    diagrams = Diagrams()
    machine = Machine(diagrams, (diagrams.leaf(Leaf(0, (), (0,))),), 0, (((),),))
    terms = tuple(t for _, t in told.terms)
    kept = Slot((0,), ((frozenset([0]), Sum((), 1)),))
    return Sums(machine, kept, (Slot((0, 1), ((frozenset([1]), told),)),), terms, {0: ()}, len(terms))


def cover_of(sums: Sums) -> Cover:
    """A cover in name: such a machine has no cubes."""
    return Cover(sums.machine, (), Leaf(0, (), (0,)))
