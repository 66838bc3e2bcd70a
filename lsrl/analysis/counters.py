"""Counters and counter machines: integer registers that finite control steps, and comparisons look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from lsrl.analysis.details import Counters, Test
from lsrl.analysis.expressions import Expressions
from lsrl.analysis.forms import LinearForms, dependent
from lsrl.analysis.interval import Range
from lsrl.analysis.structure import Region, output_nodes
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Affine as AffineNode
from lsrl.ir.nodes import Compare, Logic, Mux, Node, Pack, Read, Table, operands
from lsrl.types import Int, Real, Vector

__all__ = ["Users", "find_counters"]

_SMALL = 64  # states of at most so many values are control, not registers


def find_counters(graph: Graph, region: Region, ranges: Mapping[Node, Range], make: Expressions,
                  users: Users) -> Counters | None:
    """The cell as counters under finite control, None if it is not of that form."""
    registers = [s for s in region.members if isinstance(s.type, Int | Real) and not _few(region, s.name, ranges)]
    names = {s.name for s in registers}
    control = {s.name: s.next for s in region.members if s.name not in names}
    if not registers or (graph.numeric and any(isinstance(s.type, Real) for s in registers)):
        return None
    if any(isinstance(r.type, Vector) or (r.state in control and ranges[r].count is None) for r in region.reads):
        return None
    own = dependent([*region.reads, *region.inside], names)
    reads: dict[Node, str] = {n: n.state for n in own if isinstance(n, Read)}
    forms = LinearForms(set(own), reads, make)
    keep: dict[str, Node] = {}
    add: dict[str, Node] = {}
    for s in registers:
        form = forms[s.next]
        if form is None or any(t != s.name for t in form.gains):
            return None
        keep[s.name] = form.gains.get(s.name, make.zero)
        add[s.name] = form.offset
        if not _is_bit(make.range(keep[s.name])) or make.range(form.offset).count is None:
            return None
    tests = _tests([*keep.values(), *add.values(), *control.values()], forms, None, make)
    if tests is None or any(not t.bounded for t in tests):
        return None
    above = users.above(reads)
    new = {s.next: s.name for s in registers}
    outside = [n for _, n in graph.outputs] + [s.next for s in graph.states if s.name not in region.states]
    seen = _tests([n for n in dict.fromkeys(outside) if n in above], LinearForms(above, reads, make),
                  LinearForms(above, new, make), make)
    return Counters(tuple(s.name for s in registers), keep, add, control, tests, seen)


class Users:
    """Who uses a node, among all that outputs and states need."""

    def __init__(self, graph: Graph) -> None:
        self._users: dict[Node, list[Node]] = {}
        self._place = {n: i for i, n in enumerate(output_nodes(graph))}
        for n in self._place:
            for x in operands(n):
                self._users.setdefault(x, []).append(n)

    def above(self, nodes: Iterable[Node]) -> dict[Node, None]:
        """The nodes and all that need them at the same token, operands first."""
        found = {n for n in nodes if n in self._place}
        stack = list(found)
        while stack:
            for user in self._users.get(stack.pop(), []):
                if user not in found:
                    found.add(user)
                    stack.append(user)
        return dict.fromkeys(sorted(found, key=self._place.__getitem__))


def _few(region: Region, name: str, ranges: Mapping[Node, Range]) -> bool:
    counts = [ranges[r].count for r in region.reads if r.state == name]
    return all(c is not None and c <= _SMALL for c in counts)


def _is_bit(r: Range) -> bool:
    return r.lo is not None and r.hi is not None and r.lo >= 0 and r.hi <= 1 and r.count is not None and r.count <= 2


def _tests(roots: Iterable[Node], old: LinearForms, new: LinearForms | None,
           make: Expressions) -> tuple[Test, ...] | None:
    """The comparisons through which some nodes see the registers; None if one sees them otherwise.

    old, new: forms of all that depends on registers, in their old values, and in their new ones, which go first.
    """
    tests: dict[Node, Test] = {}
    seen: set[Node] = set()
    stack = list(roots)
    while stack:
        n = stack.pop()
        if n in seen or (n not in old.own and not make.is_made(n)):
            continue
        seen.add(n)
        test = (None if new is None else _test(n, new, True, make)) or _test(n, old, False, make)
        if test is not None:
            tests[n] = test
            stack.append(test.rest)
        elif make.is_made(n) or isinstance(n, Compare | Logic | Mux | Table | AffineNode | Pack):
            stack += operands(n)
        else:
            return None
    return tuple(tests.values())


def _test(n: Node, forms: LinearForms, new: bool, make: Expressions) -> Test | None:
    """A comparison as one of a weighted sum of registers with something that does not depend on them."""
    if not isinstance(n, Compare) or not isinstance(n.a.type, Int | Real):
        return None
    a, b = forms[n.a], forms[n.b]
    if a is None or b is None:
        return None
    weights: dict[str, Fraction] = {}
    for sign, form in ((1, a), (-1, b)):
        for s, gain in form.gains.items():
            value = make.number(gain)
            if value is None:
                return None
            weights[s] = weights.get(s, Fraction(0)) + sign * value
    weights = {s: w for s, w in weights.items() if w}
    if not weights:
        return None
    rest = make.affine([(1, a.offset), (-1, b.offset)], 0)
    return Test(n, n.op, new, weights, rest, make.range(rest).count is not None)
