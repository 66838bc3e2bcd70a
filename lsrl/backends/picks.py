"""Technology R: numbers behind gates, and what an index picks of several numbers, as a sum of them.

Σ [index = k] · number k, with each product as one ReLU (`gated`), is one layer deep however many numbers there are; a
tree of conditionals would be as deep as the tree.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from lsrl.backends.circuit import Symbol
from lsrl.backends.codes import combination
from lsrl.backends.holdings import Holdings, common, domain_of, rational
from lsrl.backends.linear_form import Form, Rational, constant
from lsrl.backends.refusal import NotHostedError
from lsrl.backends.selections import index_of, looks_at, selection, truth_of
from lsrl.backends.wiring import Quantum
from lsrl.ir.nodes import Index, Mux, Node, Pack
from lsrl.types import Value

__all__ = ["Picks"]

_FEWEST = 3  # cases from which on a choice by an index is a sum
_MOST_VALUES = 64  # of an index
_Case = TypeVar("_Case")


@dataclass(frozen=True)
class _Indicator:
    """Σ weight · [condition] + bias, which is 0 or 1."""

    terms: tuple[tuple[Rational, Node], ...]
    bias: Rational


def _indicator(wanted: frozenset[Value], domain: Sequence[Value],
               known: Mapping[Node, frozenset[Value]]) -> _Indicator | None:
    """[an index is among the wanted values], from conditions that are true for these values of it; None if they do not
    tell."""
    for n, values in known.items():
        if values == wanted:
            return _Indicator(((1, n),), 0)
    found = combination([frozenset[Hashable](x) for x in known.values()], domain, [int(v in wanted) for v in domain])
    if found is None:
        return None
    return _Indicator(tuple((w, n) for w, n in zip(found[0], known, strict=True) if w), found[1])


class Picks(Holdings):
    """Lowers what picks one of several numbers."""

    @functools.cached_property
    def _chosen(self) -> set[Node]:
        """The conditionals that were lowered as such, and not as part of a cell."""
        return set()

    def _result(self, node: Node, layer: int, form: Form, lo: Fraction | None, hi: Fraction | None,
                grid: Fraction) -> Quantum:
        """A number within what the analysis knows of the node and what its construction shows."""
        r = self.ranges[node]
        low = r.lo if lo is None else lo if r.lo is None else max(lo, r.lo)
        high = r.hi if hi is None else hi if r.hi is None else min(hi, r.hi)
        return Quantum(self.wiring, self.symbol(node), layer, form, low, high, r.grid or grid)

    def gated(self, d: Quantum, c: Form, layer: int, what: Symbol) -> Form:
        """c · (d − lo), or c · d if d has no lower bound, over layer + 1; c is a 0/1 form over `layer`."""
        g = d.grid
        if d.lo is not None:
            if d.hi is not None:
                span = (d.hi - d.lo) / g
                below = (d.at(layer) - d.lo).scale(1 / g) + (c - 1).scale(span)
                return self.wiring.relu(layer + 1, below, span, what).scale(g)
            below = (d.at(layer) - d.lo).scale(1 / g) + (c - 1).scale(self.mask)
            return self.wiring.relu(layer + 1, below, None, what, self.mask).scale(g)
        shut = (c - 1).scale(self.mask)
        up = self.wiring.relu(layer + 1, d.at(layer).scale(1 / g) + shut, None, what, self.mask)
        down = self.wiring.relu(layer + 1, d.at(layer).scale(-1 / g) + shut, None, what, self.mask)
        return (up - down).scale(g)

    def require_bound(self, node: Node, d: Quantum) -> None:
        """That a gate over the number need not be as large as the dtype allows, where that would drown its digits."""
        if self.fine and (d.lo is None or d.hi is None):
            raise NotHostedError(node, "a number that has no bound is gated, beside reals without a grid")

    def _picked(self, node: Mux) -> Quantum | None:
        """A tree of conditionals on one index of few values as a sum of gated numbers, one layer deep however many."""
        index = index_of(node)
        domain = None if index is None else domain_of(index, self.ranges[index], _MOST_VALUES)
        if index is None or domain is None:
            return None
        found = selection(node, domain, lambda n: n not in self._chosen)
        if found is None or len(found.cases) < _FEWEST:
            return None
        known = {n: frozenset(v for v in domain if truth_of(n, v)) for n in self.held if looks_at(n) is index}
        cases: list[tuple[Quantum, _Indicator]] = []
        for x, values in found.cases:
            shown = _indicator(frozenset(values), domain, known)
            if shown is None:
                return None
            q = self.quantum(x)
            if len(shown.terms) > 1 and (q.lo is None or q.hi is None):
                return None  # each unit of a gate stands in the sum with the weight of the mask
            cases.append((q, shown))
        return self._sum_of_cases(node, max(self.level(n) for n in known), cases, self._indicated)

    def _indicated(self, shown: _Indicator, layer: int) -> Form:
        return Form.total((self.bit(n, layer).scale(w) for w, n in shown.terms), shown.bias)

    def _sum_of_cases(self, node: Node, level: int, cases: Sequence[tuple[Quantum, _Case]],
                      member: Callable[[_Case, int], Form]) -> Quantum:
        """Σ [case] · number, of cases that exclude each other and leave nothing out.

        level: from it on `member(case, layer)` is a 0/1 form over the layer.
        """
        for q, _ in cases:
            self.require_bound(node, q)
        layer = max([level + any(q.lo is None or q.hi is None for q, _ in cases), *(q.layer for q, _ in cases)])
        lows = {q.lo or Fraction(0) for q, _ in cases}
        total, grid = [constant(lows.pop() if len(lows) == 1 else 0)], Fraction(0)
        for q, case in cases:
            grid = common(grid, q.grid)
            total.append(self.gated(q, member(case, layer), layer, self.symbol(node)))
            if lows:
                total.append(member(case, layer + 1).scale(q.lo or 0))
        return self._result(node, layer + 1, Form.total(total), None, None, grid or Fraction(1))

    def _element(self, node: Index) -> Quantum:
        if not isinstance(node.vector, Pack):
            raise NotHostedError(node, "an element of a vector is chosen by a stream")
        elements = node.vector.elements
        c = self.choice(node.index)
        picked = [min(max(int(rational(v)), 0), len(elements) - 1) for v in c.domain]
        cases = [(self.quantum(e), frozenset(i for i, at in enumerate(picked) if at == k))
                 for k, e in enumerate(elements)]
        return self._sum_of_cases(node, c.layer, cases, c.member)
