"""The class of a cell: how its states are updated, which decides what can host it.

A cell may be of several classes; they are listed from the most specific on, each with its details.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import chain

from lsrl.analysis import details as d
from lsrl.analysis.arrays import evaluate_columns, python_values, value_column
from lsrl.analysis.automaton import NotFinite, endless, explore
from lsrl.analysis.counters import Users, find_counters
from lsrl.analysis.expressions import Expressions
from lsrl.analysis.forms import Linear, LinearForms, clamp_forms, latch_forms
from lsrl.analysis.interval import Range
from lsrl.analysis.letters import find_letters
from lsrl.analysis.spectrum import spectrum
from lsrl.analysis.structure import Region
from lsrl.ir.graph import Graph, reachable
from lsrl.ir.nodes import Const, Divide, Index, MatMul, Mul, Node, Unary, operands
from lsrl.types import Bool, Int, Real

__all__ = ["CLASSES", "classify"]

CLASSES = ("delay", "latch", "counter", "accumulator", "affine", "gated", "affine-dense", "tropical", "automaton",
           "counter-machine", "piecewise", "smooth")


def classify(graph: Graph, region: Region, ranges: Mapping[Node, Range],
             make: Expressions, users: Users) -> tuple[dict[str, d.Detail | None], str]:
    """The classes of a cell, the most specific first, with their details (None for piecewise and smooth); and why it
    is no automaton, empty if it is one."""
    found: dict[str, d.Detail | None] = {}
    if not region.feedback:
        found["delay"] = d.Delay(region.nexts[0])
    else:
        _latch(region, make, found)
        _linear(graph, region, make, found)
        _tropical(region, make, found)
    counters = find_counters(graph, region, ranges, make, users) if region.feedback else None
    if counters is not None and counters.tests:
        found["counter-machine"] = counters
    elif counters is not None and counters.seen is not None:
        found["counter"] = counters
    open_read = next((r for r in region.reads if ranges[r].count is None), None)
    plain = not {"accumulator", "gated", "counter"}.isdisjoint(found)
    automaton = (endless(open_read, ranges[open_read]) if open_read is not None and plain
                 else explore(graph, region, ranges))
    reason = automaton.reason if isinstance(automaton, NotFinite) else ""
    if not isinstance(automaton, NotFinite):
        found["automaton"] = automaton
    if not found:
        found["smooth" if _is_smooth(region) else "piecewise"] = None
    return {name: found[name] for name in CLASSES if name in found}, reason


def _latch(region: Region, make: Expressions, found: dict[str, d.Detail | None]) -> None:
    if len(region.members) != 1 or not region.reads:
        return
    write = latch_forms([*region.reads, *region.inside], region.reads[0], make).get(region.nexts[0])
    if write is not None:
        found["latch"] = d.Latch(write.condition, write.value)


def _linear(graph: Graph, region: Region, make: Expressions, found: dict[str, d.Detail | None]) -> None:
    """Accumulator, affine, gated and affine-dense: updates linear in the cell's states."""
    names = region.states
    if not all(isinstance(s.type, Int | Real) for s in region.members):
        return
    own = {*region.reads, *region.inside}
    table = LinearForms(own, {r: r.state for r in region.reads}, make)
    forms = [f for f in (table[n] for n in region.nexts) if f is not None]
    if len(forms) < len(names):
        return
    parts = [*chain(*(f.gains.values() for f in forms)), *(f.offset for f in forms)]
    if make.depends(parts, own):
        return
    if len(names) == 1:
        _single(forms[0], names[0], make, found)
        return
    matrix = tuple(tuple(f.gains.get(t, make.zero) for t in names) for f in forms)
    numbers = [[make.number(g) for g in row] for row in matrix]
    offsets = tuple(f.offset for f in forms)
    whole = [[x for x in row if x is not None] for row in numbers]
    if all(len(row) == len(names) for row in whole):
        exact = tuple(tuple(row) for row in whole)
        found["affine"] = d.Affine(exact, offsets, spectrum(exact))
    else:
        found["affine-dense"] = d.AffineDense(matrix, offsets, _structure(matrix, make))


def _single(form: Linear, name: str, make: Expressions, found: dict[str, d.Detail | None]) -> None:
    gain = form.gains.get(name, make.zero)
    value = make.number(gain)
    if value == 1:
        found["accumulator"] = d.Accumulator(form.offset)
    elif value is not None:
        found["affine"] = d.Affine(((value,),), (form.offset,), spectrum([[value]]))
    else:
        r = make.range(gain)
        binary = r.lo is not None and r.hi is not None and r.lo >= 0 and r.hi <= 1 and r.grid == 1
        found["gated"] = d.Gated(gain, form.offset, binary)


def _structure(matrix: tuple[tuple[Node, ...], ...], make: Expressions) -> tuple[str, ...]:
    """What the matrices are that occur, where they can be listed."""
    n = len(matrix)
    out: list[str] = []
    if all(make.number(g) == 0 for i, row in enumerate(matrix) for j, g in enumerate(row) if i != j):
        out.append("diagonal")
    moving = list(dict.fromkeys(g for row in matrix for g in row if make.number(g) is None))
    sources = list(dict.fromkeys(x for g in moving for x in _conditions(g)))
    for g in moving:
        make.range(g)
    ranges = make.ranges()
    letters = find_letters(sources, ranges)
    if isinstance(letters, NotFinite):
        return tuple(out)
    rows = len(letters)
    known = {s: value_column(s, [x[i] for x in letters], ranges) for i, s in enumerate(sources)}
    columns = evaluate_columns(_above(reachable(moving), set(known)), known, rows, ranges)
    entries = [[python_values(g, columns[g]) if make.number(g) is None else [make.number(g)] * rows for g in row]
               for row in matrix]
    matrices = [[[Fraction(_plain(e[k])) for e in row] for row in entries] for k in range(rows)]
    if all(x in (0, 1) for m in matrices for row in m for x in row):
        out.append("0/1")
        if all(sum(row) == 1 for m in matrices for row in m) and all(sum(c) == 1 for m in matrices
                                                                     for c in zip(*m, strict=True)):
            out.append("permutation")
    if all(_update_rank_one(m, n) for m in matrices):
        out.append("rank-one update")
    return tuple(out)


def _plain(x: object) -> Fraction | int:
    assert isinstance(x, int | Fraction)
    return x


def _conditions(node: Node) -> list[Node]:
    """What a gain is computed from: itself, if it is a leaf or a bool, else the nearest such nodes below it."""
    found: dict[Node, None] = {}
    stack = [node]
    while stack:
        n = stack.pop()
        parts = operands(n)
        if isinstance(n.type, Bool) or not parts or isinstance(n, Index):
            found[n] = None
        else:
            stack.extend(parts)
    return list(found)


def _above(nodes: Sequence[Node], known: set[Node]) -> list[Node]:
    """The nodes (operands first) that only known nodes and constants decide."""
    out: list[Node] = []
    have = set(known)
    for n in nodes:
        if n not in have and operands(n) and all(x in have or isinstance(x, Const) for x in operands(n)):
            out.append(n)
            have.add(n)
    return out


def _update_rank_one(m: list[list[Fraction]], n: int) -> bool:
    """Whether m − 1 has rank at most one."""
    delta = [[m[i][j] - (i == j) for j in range(n)] for i in range(n)]
    pivot = next((row for row in delta if any(row)), None)
    if pivot is None:
        return True
    at = next(j for j, x in enumerate(pivot) if x)
    return all(row[j] * pivot[at] == row[at] * pivot[j] for row in delta for j in range(n))


def _tropical(region: Region, make: Expressions, found: dict[str, d.Detail | None]) -> None:
    if len(region.members) != 1 or not isinstance(region.members[0].type, Int | Real):
        return
    form = clamp_forms([*region.reads, *region.inside], region.reads[0], make).get(region.nexts[0])
    if form is None or (form.lo is None and form.hi is None):
        return
    found["tropical"] = d.Tropical(form.u, form.lo, form.hi, form.reset, form.value)


def _is_smooth(region: Region) -> bool:
    """Whether the feedback goes through something that is not piecewise linear."""
    own = {*region.reads, *region.inside}
    for n in region.inside:
        if isinstance(n, Unary | Divide):
            return True
        if isinstance(n, Mul | MatMul) and n.a in own and n.b in own:
            return True
    return False

