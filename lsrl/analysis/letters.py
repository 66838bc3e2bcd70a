"""The letters of a cell: the joint values that its boundary can take.

Boundary values that come from common sources (inputs, states of other cells) are enumerated through those, so that
combinations which cannot occur are no letters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np

from lsrl.analysis.arrays import Column, distinct_rows, evaluate_columns, python_values, value_column
from lsrl.analysis.interval import Range
from lsrl.ir.graph import reachable
from lsrl.ir.nodes import Const, Index, Node, operands
from lsrl.types import Bool, Real, Value, Vector

__all__ = ["NotFinite", "find_letters", "node_values"]

_MOST_ROWS = 65_536
_FEW_ROWS = 256  # whose values are told apart one by one
_CUTS = (0, 64, 8)  # sources: leaves first; if they have too many values, nodes of at most so many


@dataclass(frozen=True, slots=True)
class NotFinite:
    """Why something has no finite table."""

    reason: str
    node: Node | None = None


def node_values(node: Node, r: Range) -> list[Value]:
    """Every value in the range of a node of finite range, as Python values of its type."""
    match node.type:
        case Bool():
            return [bool(v) for v in r.values()]
        case Real():
            return list(r.values())
        case _:
            return [int(v) for v in r.values()]


def find_letters(boundary: Sequence[Node], ranges: Mapping[Node, Range],
                 limit: int = 4096) -> list[tuple[Value, ...]] | NotFinite:
    """The joint values that some scalar nodes can take, each once, in a fixed order; or why there is no such list.

    Nodes that share a source are enumerated through their sources where those have at most 65,536 joint values;
    where they have more, nodes that may never occur together are listed too. At most `limit` letters.
    """
    for node in boundary:
        if isinstance(node.type, Vector):
            return NotFinite("it reads a whole vector", node)
        if ranges[node].count is None:
            return NotFinite("it reads a value with no finite range", node)
    groups = _joint(boundary, ranges, _CUTS)
    total = math.prod(n for _, n, _ in groups)
    if total > limit:
        return NotFinite(f"what it reads has {total} joint values, more than {limit}")
    place = {n: i for i, n in enumerate(n for members, _, _ in groups for n in members)}
    joint: list[tuple[Value, ...]] = [sum(parts, ()) for parts in product(*(tuples() for _, _, tuples in groups))]
    order = [place[n] for n in boundary]
    return [tuple(row[i] for i in order) for row in joint]


_Tuples: TypeAlias = Callable[[], list[tuple[Value, ...]]]


def _joint(boundary: Sequence[Node], ranges: Mapping[Node, Range],
           cuts: Sequence[int]) -> list[tuple[list[Node], int, _Tuples]]:
    """Independent groups of the boundary: members, how many joint values, and the list of them."""
    out: list[tuple[list[Node], int, _Tuples]] = []
    for members, sources in _groups(boundary, ranges, cuts[0]):
        alone = tuple(members) == sources and len(members) == 1  # then there is nothing to be found out
        tuples = None if alone else _enumerate(members, sources, ranges)
        if tuples is not None:
            out.append((members, len(tuples), lambda t=tuples: t))  # type: ignore[misc]
        elif len(cuts) > 1 and not alone:
            out += _joint(members, ranges, cuts[1:])
        else:
            out += [([n], ranges[n].count or 0, lambda n=n: [(v,) for v in node_values(n, ranges[n])])  # type: ignore[misc]
                    for n in members]
    return out


def _sources(boundary: Sequence[Node], ranges: Mapping[Node, Range], cut: int) -> dict[Node, tuple[Node, ...]]:
    """For each boundary node the finite nodes that it is computed from: leaves, the last finite nodes before values
    that are not finite, and nodes below the boundary with at most `cut` values."""
    cone = reachable(boundary)
    good: dict[Node, bool] = {}
    small: dict[Node, bool] = {}
    for n in cone:
        count = None if isinstance(n.type, Vector) else ranges[n].count
        parts = () if isinstance(n, Index) else operands(n)
        good[n] = count is not None or (bool(parts) and all(good[x] for x in parts))
        small[n] = not isinstance(n, Const) and count is not None and count <= cut

    found: dict[Node, tuple[Node, ...]] = {}
    for n in cone:
        parts = () if isinstance(n, Index) else operands(n)
        if isinstance(n, Const):
            found[n] = ()
        elif parts and all(good[x] for x in parts):
            found[n] = tuple(dict.fromkeys(s for x in parts for s in ((x,) if small[x] else found[x])))
        else:
            found[n] = (n,)
    return {n: found[n] for n in boundary}


def _groups(boundary: Sequence[Node], ranges: Mapping[Node, Range],
            cut: int) -> list[tuple[list[Node], tuple[Node, ...]]]:
    """The boundary in groups that share no source, each with its sources; in order of the first member."""
    sources = _sources(boundary, ranges, cut)
    owner: dict[Node, int] = {}
    members: dict[int, list[Node]] = {}
    for i, n in enumerate(boundary):
        members[i] = [n]
        for s in sources[n]:
            other = owner.get(s, i)
            if other != i:
                keep, drop = min(i, other), max(i, other)
                members[keep] += members.pop(drop)
                owner.update({x: keep for m in members[keep] for x in sources[m] if x in owner})
                i = keep
            owner[s] = i
    return [(sorted(group, key=boundary.index), tuple(dict.fromkeys(s for m in group for s in sources[m])))
            for _, group in sorted(members.items())]


def _enumerate(members: Sequence[Node], sources: Sequence[Node],
               ranges: Mapping[Node, Range]) -> list[tuple[Value, ...]] | None:
    """The joint values of the members over all values of their sources; None if those are too many."""
    rows = math.prod(ranges[s].count or 0 for s in sources)
    if rows > _MOST_ROWS:
        return None
    columns: dict[Node, Column] = {}
    before, after = 1, rows
    for s in sources:
        values = node_values(s, ranges[s])
        after //= len(values)
        columns[s] = np.tile(np.repeat(value_column(s, values, ranges), after), before)
        before *= len(values)
    full = evaluate_columns(_needed(members, columns), columns, rows, ranges)
    found = [full[m] for m in members]
    if rows > _FEW_ROWS:
        firsts = distinct_rows(found)[0]
        found = [column[firsts] for column in found]
    return list(dict.fromkeys(zip(*map(python_values, members, found), strict=True)))


def _needed(members: Sequence[Node], known: Mapping[Node, Column]) -> list[Node]:
    """The nodes between the known ones and the members, operands first."""
    order: list[Node] = []
    done: set[Node] = set(known)
    for m in members:
        stack: list[tuple[Node, bool]] = [(m, False)]
        while stack:
            node, left = stack.pop()
            if left:
                order.append(node)
            elif node not in done:
                done.add(node)
                stack.append((node, True))
                stack.extend((x, False) for x in reversed(operands(node)))
    return order

