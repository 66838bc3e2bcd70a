"""A finite cell becomes several smaller automata that run side by side, where that is cheaper.

An automaton is a part of the product of two of its quotients if their partitions of its states are respected by every
letter and no two states share a block in both (Hartmanis and Stearns, "Algebraic Structure Theory of Sequential
Machines", 1966). A counter modulo 6 is one modulo 2 beside one modulo 3.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lsrl.analysis.automaton import Automaton
from lsrl.analysis.structure import Region
from lsrl.ir.graph import Graph
from lsrl.passes.automata import Blocks, replace_cells

__all__ = ["factor", "factor_automata"]

_STATES = 48
_PARTITIONS = 200


def factor_automata(graph: Graph) -> Graph:
    """Replaces each cell whose factors have fewer pairs of a state and a letter class than itself, states together too.

    Tried for up to 48 states and 200 partitions. Factors are factored again; each has fewer states than the whole, so
    that ends.
    """
    return replace_cells(graph, _choose)


def _choose(region: Region, full: Automaton, least: Automaton) -> tuple[Blocks, ...] | None:
    if len(least.states) > _STATES:
        return None
    found = factor(least.next)
    return found if len(found) > 1 else None


def factor(table: NDArray[np.int64]) -> tuple[Blocks, ...]:
    """The partitions of the cheapest factors that are found; the one into single states if there are none cheaper.

    table: (n, k), the state after each letter.
    """
    whole = tuple(range(len(table)))
    todo, done = [whole], []
    while todo:
        blocks = todo.pop()
        pair = _split(_quotient(table, blocks))
        if pair is None:
            done.append(blocks)
        else:
            todo += [_numbered([part[b] for b in blocks]) for part in reversed(pair)]
    return tuple(done)


def _quotient(table: NDArray[np.int64], blocks: Blocks) -> NDArray[np.int64]:
    """The automaton of the blocks, letters that act alike merged."""
    first = [blocks.index(b) for b in range(max(blocks) + 1)]
    after = np.array(blocks, np.int64)[table[first]]
    columns = {after[:, x].tobytes(): x for x in reversed(range(after.shape[1]))}
    return after[:, sorted(columns.values())]


def _cost(table: NDArray[np.int64], blocks: Blocks) -> int:
    return _quotient(table, blocks).size


def _split(table: NDArray[np.int64]) -> tuple[Blocks, Blocks] | None:
    """The cheapest two partitions that together tell all states apart; None if none is cheaper than the automaton."""
    n = len(table)
    best, found = table.size, None
    partitions = _partitions(table)
    costs = [_cost(table, p) for p in partitions]
    for (a, left), (b, right) in combinations(enumerate(partitions), 2):
        smaller = max(left) + max(right) + 2 < n and costs[a] + costs[b] < best
        if smaller and len(set(zip(left, right, strict=True))) == n:
            best, found = costs[a] + costs[b], (left, right)
    return found


def _partitions(table: NDArray[np.int64]) -> list[Blocks]:
    """Partitions that the letters respect: the finest that put two states together, and joins of those."""
    n = len(table)
    out: dict[Blocks, None] = {}
    for pair in combinations(range(n), 2):
        if len(out) >= _PARTITIONS:
            return list(out)
        out[_closure(table, [pair])] = None
    work = list(out)
    for left in work:
        for right in list(out):
            joined = _closure(table, [*_links(left), *_links(right)])
            if joined not in out:
                if len(out) >= _PARTITIONS:
                    return list(out)
                out[joined] = None
                work.append(joined)
    return list(out)


def _links(blocks: Blocks) -> list[tuple[int, int]]:
    """Pairs of states that tie each block together."""
    first: dict[int, int] = {}
    return [(first.setdefault(b, q), q) for q, b in enumerate(blocks)]


def _closure(table: NDArray[np.int64], pairs: list[tuple[int, int]]) -> Blocks:
    """The finest partition that puts each pair together and that the letters respect."""
    parent = list(range(len(table)))

    def root(q: int) -> int:
        while parent[q] != q:
            parent[q] = parent[parent[q]]
            q = parent[q]
        return q

    work = list(pairs)
    rows = table.tolist()
    while work:
        a, b = work.pop()
        a, b = root(a), root(b)
        if a != b:
            parent[max(a, b)] = min(a, b)
            work += zip(rows[a], rows[b], strict=True)
    return _numbered([root(q) for q in range(len(table))])


def _numbered(blocks: list[int]) -> Blocks:
    number: dict[int, int] = {}
    return tuple(number.setdefault(b, len(number)) for b in blocks)
