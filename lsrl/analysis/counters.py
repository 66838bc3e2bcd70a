"""Counters and counter machines: integer registers that finite control steps, and comparisons look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from lsrl.analysis.details import Counters, Test
from lsrl.analysis.expressions import Expressions
from lsrl.analysis.forms import Linear, dependent, linear_forms
from lsrl.analysis.interval import Range
from lsrl.analysis.structure import Region
from lsrl.ir.graph import Graph, reachable
from lsrl.ir.nodes import Affine as AffineNode
from lsrl.ir.nodes import Compare, Logic, Mux, Node, Pack, Read, Table, operands
from lsrl.types import Int, Real, Vector

__all__ = ["find_counters"]

_SMALL = 64  # states of at most so many values are control, not registers


def find_counters(graph: Graph, region: Region, ranges: Mapping[Node, Range], make: Expressions) -> Counters | None:
    """The cell as counters under finite control, None if it is not of that form."""
    registers = [s for s in region.members if isinstance(s.type, Int | Real) and not _few(region, s.name, ranges)]
    names = {s.name for s in registers}
    control = {s.name: s.next for s in region.members if s.name not in names}
    if not registers or (graph.numeric and any(isinstance(s.type, Real) for s in registers)):
        return None
    if any(isinstance(n.type, Vector) or _control_is_large(n, names, ranges) for n in (*region.reads,)):
        return None
    nodes = reachable(region.nexts)
    forms = linear_forms(nodes, names, make)
    keep: dict[str, Node] = {}
    add: dict[str, Node] = {}
    for s in registers:
        form = forms.get(s.next)
        if form is None or any(t != s.name for t in form.gains):
            return None
        keep[s.name] = form.gains.get(s.name, make.zero)
        add[s.name] = form.offset
        gate, step = make.range(keep[s.name]), make.range(form.offset)
        if not _is_bit(gate) or step.count is None:
            return None
    tests = _tests([*keep.values(), *add.values(), *control.values()], names, make)
    if tests is None or any(not t.bounded for t in tests):
        return None
    users = [n for _, n in graph.outputs]
    users += [s.next for s in graph.states if s.name not in region.states]
    return Counters(tuple(s.name for s in registers), keep, add, control, tests, _tests(users, names, make))


def _few(region: Region, name: str, ranges: Mapping[Node, Range]) -> bool:
    counts = [ranges[r].count for r in region.reads if r.state == name]
    return all(c is not None and c <= _SMALL for c in counts)


def _control_is_large(read: Read, registers: set[str], ranges: Mapping[Node, Range]) -> bool:
    return read.state not in registers and ranges[read].count is None


def _is_bit(r: Range) -> bool:
    return r.lo is not None and r.hi is not None and r.lo >= 0 and r.hi <= 1 and r.count is not None and r.count <= 2


def _tests(roots: Iterable[Node], names: set[str], make: Expressions) -> tuple[Test, ...] | None:
    """The comparisons through which some nodes see the registers; None if one sees them otherwise."""
    forms: dict[Node, Linear | None] = {}
    needs: set[Node] = set()
    tests: dict[Node, Test] = {}
    stack: list[Node] = []

    def look(at: Iterable[Node]) -> None:
        nodes = reachable(at)
        needs.update(dependent(nodes, names))
        forms.update(linear_forms(nodes, names, make))
        stack.extend(n for n in at if n in needs)

    look(list(roots))
    seen: set[Node] = set()
    while stack:
        n = stack.pop()
        if n in seen:
            continue
        seen.add(n)
        test = _test(n, forms, make)
        if test is not None:
            tests[n] = test
            look([test.rest])
        elif isinstance(n, Compare | Logic | Mux | Table | AffineNode | Pack):
            stack += [x for x in operands(n) if x in needs]
        else:
            return None
    return tuple(tests.values())


def _test(n: Node, forms: Mapping[Node, Linear | None], make: Expressions) -> Test | None:
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
    rest = make.affine([(1, a.offset), (-1, b.offset)], 0)
    if not weights:
        return None
    return Test(n, n.op, weights, rest, make.range(rest).count is not None)

