"""What a condition says of the values it compares, and ranges where it is known to hold.

`if depth < 8: depth + 1` is at most 8 although `depth + 1` alone may be 9: the branch is evaluated again with
depth cut to 7. The evaluation looks a few nodes deep only; what lies deeper keeps its range, which is sound.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from lsrl.analysis.interval import BIT, Range, constant, join, meet, rounded
from lsrl.analysis.samples import EVERY, Samples
from lsrl.analysis.transfer import Transfer, combine
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Affine, Compare, Logic, Mux, Node, Table, operands
from lsrl.types import Bool, Int, Real

__all__ = ["Evaluator", "Facts"]


class Facts(dict[Node, Range]):
    """Tighter ranges of some nodes, that hold together. mask: a bit for each node that was cut. rows: of the samples
    those in which the conditions hold that the facts come from."""

    mask: int = 0
    rows: int = EVERY

    def copy(self) -> Facts:
        out = Facts(self)
        out.mask, out.rows = self.mask, self.rows
        return out


_DEPTH = 6
_FUEL = 24
_MANY_ARGS = 8
_MANY_NODES = 10_000  # beyond, what a node depends on is not kept
_WORK = 200_000  # node visits under conditions in one pass over a component
_FLIPPED = {"<": "<=", "<=": "<", "==": "!=", "!=": "=="}


class Evaluator:
    """Ranges of nodes, `ranges` holding those known so far; conditions refine the branches of `Mux` and `Logic`."""

    def __init__(self, graph: Graph) -> None:
        self.ranges: dict[Node, Range] = {}
        self.transfer = Transfer(graph.numeric)
        self._numeric = graph.numeric
        self._below = _bits_below(graph)
        self._bit = {n: 1 << i for i, n in enumerate(graph.nodes)} if self._below else {}
        self._samples = None if graph.numeric else Samples(self.ranges, self.transfer.entries)
        self._fuel = _FUEL
        self._learnt: dict[tuple[Node, bool, int], Facts | None] = {}  # from no other facts; None: it cannot be

    def spend(self, size: int) -> None:
        """Sets how far conditions are followed, for a component of `size` nodes."""
        self._fuel = min(_FUEL, max(4, _WORK // max(size, 1)))

    def forget(self, nodes: Iterable[Node]) -> None:
        """Drops what conditions say of nodes whose ranges are about to change, operands before users."""
        bits = 0
        changing = list(nodes)
        for n in changing:
            bits |= self._bit.get(n, -1)
        if self._samples is not None:
            self._samples.forget(changing)
        self._learnt = {key: f for key, f in self._learnt.items() if not self._below.get(key[0], -1) & bits}

    def value(self, node: Node) -> Range:
        """The range of a node whose operands have theirs."""
        return self._evaluate(node, Facts(), [self._fuel], _DEPTH)

    def _evaluate(self, node: Node, facts: Facts, fuel: list[int], depth: int) -> Range:
        get = (lambda n: self._under(n, facts, fuel, depth)) if facts else self.ranges.__getitem__
        if isinstance(node, Mux):
            known = get(node.condition).constant
            if known is None:
                return self._branches(node, facts, fuel, depth)
        if isinstance(node, Logic) and node.op != "not" and 1 < len(node.args) <= _MANY_ARGS:
            plain = self.transfer(node, get)
            return plain if plain.constant is not None else self._connective(node, plain, facts, fuel, depth)
        return self.transfer(node, get)

    def _seen(self, node: Node, truth: bool, facts: Facts) -> bool:
        """Whether a bool has this value in a sample in which the facts hold."""
        return self._samples is not None and self._samples.seen(node, truth) & facts.rows != 0

    def _branches(self, node: Mux, facts: Facts, fuel: list[int], depth: int) -> Range:
        if isinstance(node.type, Bool) and self._seen(node, True, facts) and self._seen(node, False, facts):
            return BIT
        found: Range | None = None
        for truth, branch in ((True, node.then), (False, node.other)):
            within = self.refine(node.condition, truth, facts)
            if within is None:
                continue
            r = self._under(branch, within, fuel if facts else [self._fuel], depth)
            if self._numeric and isinstance(node.type, Real):
                r = rounded(r)
            found = r if found is None else join(found, r)
        if found is None:  # the facts exclude each other: the node is never looked at here
            return self.transfer(node, self.ranges.__getitem__)
        return found

    def _connective(self, node: Logic, plain: Range, facts: Facts, fuel: list[int], depth: int) -> Range:
        """`a or b` is true if b is wherever a is not; `a and b` false if b is wherever a holds."""
        others_hold = node.op == "and"
        if self._seen(node, others_hold, facts):
            return plain
        for i, arg in enumerate(node.args):
            within: Facts | None = facts
            for j, other in enumerate(node.args):
                if i != j and within is not None:
                    within = self.refine(other, others_hold, within)
            if within is None:
                return constant(not others_hold)
            r = self._under(arg, within, fuel if facts else [self._fuel], depth).constant
            if r is not None and bool(r) != others_hold:
                return constant(not others_hold)
        return plain

    def _under(self, node: Node, facts: Facts, fuel: list[int], depth: int) -> Range:
        """The range of a node where the facts hold."""
        if node in facts:
            return facts[node]
        known = self.ranges[node]
        if depth == 0 or fuel[0] <= 0 or not self._below.get(node, -1) & facts.mask or known.constant is not None:
            return known
        fuel[0] -= 1
        narrowed = meet(known, self._evaluate(node, facts, fuel, depth - 1))
        # An empty meet says that the facts never hold together; any answer is sound then.
        result = known if narrowed is None else narrowed
        facts[node] = result
        return result

    def refine(self, condition: Node, truth: bool, facts: Facts) -> Facts | None:
        """The facts and what follows from the condition's truth; None if both cannot be."""
        out = facts.copy()
        if self._samples is not None:
            out.rows &= self._samples.seen(condition, truth)
        return out if self._learn(condition, truth, out, _DEPTH) else None

    def _now(self, node: Node, facts: Facts) -> Range:
        return facts[node] if node in facts else self.ranges[node]

    def _narrow(self, node: Node, to: Range, facts: Facts) -> bool:
        """Cuts a node's range; False if nothing is left."""
        now = self._now(node, facts)
        r = meet(now, to)
        if r is None:
            return False
        if r is not now and r != now:
            facts[node] = r
            facts.mask |= self._bit.get(node, -1)
        return True

    def _learn(self, condition: Node, truth: bool, facts: Facts, depth: int) -> bool:
        """Adds to the facts what follows from the condition's truth; False if both cannot be. Where the facts say
        nothing of what the condition depends on, that is the same each time."""
        if self._below.get(condition, -1) & facts.mask:
            return self._follow(condition, truth, facts, depth)
        key = condition, truth, depth
        if key not in self._learnt:
            alone = Facts()
            self._learnt[key] = alone if self._follow(condition, truth, alone, depth) else None
        known = self._learnt[key]
        if known is None:
            return False
        facts.update(known)
        facts.mask |= known.mask
        return True

    def _follow(self, condition: Node, truth: bool, facts: Facts, depth: int) -> bool:
        if not self._narrow(condition, constant(truth), facts):
            return False
        if depth == 0:
            return True
        match condition:
            case Logic(op="not"):
                return self._learn(condition.args[0], not truth, facts, depth - 1)
            case Logic() if (condition.op == "and") == truth:
                return all(self._learn(x, truth, facts, depth - 1) for x in condition.args)
            case Logic() if len(condition.args) <= _MANY_ARGS:
                return self._learn_one_of(condition.args, truth, facts, depth - 1)
            case Compare():
                return self._learn_compare(condition, truth, facts)
            case Table():
                return self._learn_table(condition, truth, facts)
            case _:
                return True

    def _learn_one_of(self, args: Sequence[Node], truth: bool, facts: Facts, depth: int) -> bool:
        """One of the arguments has this truth: what all the ways have in common."""
        ways: list[Facts] = []
        for x in args:
            way = facts.copy()
            if self._learn(x, truth, way, depth):
                ways.append(way)
        if not ways:
            return False
        # a way that leaves a node as it was leaves nothing to learn of it
        first, *others = ways
        learnt = [n for n, r in first.items() if r is not facts.get(n)]
        for node in [n for n in learnt if all(n in w and w[n] is not facts.get(n) for w in others)]:
            common = first[node]
            for w in others:
                common = join(common, w[node])
            if not self._narrow(node, common, facts):
                return False
        return True

    def _learn_compare(self, node: Compare, truth: bool, facts: Facts) -> bool:
        a, b, op = node.a, node.b, node.op
        if not truth:
            if self._now(a, facts).nan or self._now(b, facts).nan:
                return True  # a comparison with what is not a number is false, and says nothing
            op = _FLIPPED[op]
            a, b = (b, a) if op in ("<", "<=") else (a, b)
        if self._numeric and any(isinstance(x.type, Real) for x in (a, b)) and any(isinstance(x.type, Int)
                                                                                    for x in (a, b)):
            return True  # an int is rounded before it is compared with a float
        ra, rb = self._now(a, facts), self._now(b, facts)
        if op == "!=":
            return self._learn_unequal(a, b, ra, rb, facts)
        up, down = Range(None, rb.hi, None), Range(ra.lo, None, None)
        if op == "<":
            up, down = _strictly_below(ra, rb.hi), _strictly_above(rb, ra.lo)
        elif op == "==":
            both = Range(rb.lo, rb.hi, rb.grid)
            up, down = both, Range(ra.lo, ra.hi, ra.grid)
        return (self._narrow(a, up, facts) and self._narrow(b, down, facts)
                and self._backwards(a, facts) and self._backwards(b, facts))

    def _learn_unequal(self, a: Node, b: Node, ra: Range, rb: Range, facts: Facts) -> bool:
        for node, r, other in ((a, ra, rb.constant), (b, rb, ra.constant)):
            if other is None:
                continue
            up = _strictly_below(r, other) if r.hi == other else Range(None, None, None)
            down = _strictly_above(r, other) if r.lo == other else Range(None, None, None)
            if not (self._narrow(node, replace(up, nan=r.nan), facts)
                    and self._narrow(node, replace(down, nan=r.nan), facts) and self._backwards(node, facts)):
                return False
        return True

    def _backwards(self, node: Node, facts: Facts) -> bool:
        """From the range of a sum to those of its terms, in exact arithmetic."""
        if not isinstance(node, Affine) or (self._numeric and isinstance(node.type, Real)):
            return True
        total = self._now(node, facts)
        terms = [(Fraction(c), x) for c, x in node.terms if c]
        if len(terms) > _MANY_ARGS or len({x for _, x in terms}) < len(terms):
            return True
        for i, (c, x) in enumerate(terms):
            rest = combine([(-d, self._now(y, facts)) for j, (d, y) in enumerate(terms) if j != i],
                           -Fraction(node.bias))
            lo = None if total.lo is None or rest.lo is None else (total.lo + rest.lo) / c
            hi = None if total.hi is None or rest.hi is None else (total.hi + rest.hi) / c
            if not self._narrow(x, Range(*((lo, hi) if c > 0 else (hi, lo)), None), facts):
                return False
        return True

    def _learn_table(self, node: Table, truth: bool, facts: Facts) -> bool:
        entries = self.transfer.entries(node)
        if entries is None or len(node.entries) > 4096:
            return True
        places = np.argwhere(entries == int(truth))
        if not len(places):
            return False
        for axis, (x, lo, n) in enumerate(zip(node.args, node.los, node.sizes, strict=True)):
            first, last = int(places[:, axis].min()), int(places[:, axis].max())
            # The ends of a table stand for everything beyond them.
            cut = Range(None if first == 0 else Fraction(lo + first),
                        None if last == n - 1 else Fraction(lo + last), None)
            if not self._narrow(x, cut, facts):
                return False
        return True


def _bits_below(graph: Graph) -> dict[Node, int]:
    """For each node the set of nodes that its value comes from at the same token, as bits; empty for huge graphs."""
    if len(graph.nodes) > _MANY_NODES:
        return {}
    out: dict[Node, int] = {}
    for i, n in enumerate(graph.nodes):
        bits = 1 << i
        for x in operands(n):
            bits |= out[x]
        out[n] = bits
    return out


def _strictly_below(r: Range, bound: Fraction | None) -> Range:
    """All values of r's grid that are less than the bound."""
    if bound is None:
        return Range(None, None, None)
    return Range(None, bound if not r.grid else (math.ceil(bound / r.grid) - 1) * r.grid, None)


def _strictly_above(r: Range, bound: Fraction | None) -> Range:
    if bound is None:
        return Range(None, None, None)
    return Range(bound if not r.grid else (math.floor(bound / r.grid) + 1) * r.grid, None, None)

