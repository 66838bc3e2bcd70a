"""Partitions of the states of a partial automaton that its letters respect, and chains of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import TypeAlias

__all__ = ["Blocks", "Rows", "components", "congruence", "congruence_chain", "orbits", "quotient"]

Rows: TypeAlias = Sequence[Sequence[int]]  # for each state the state after each letter, −1 where there is none
Blocks: TypeAlias = "tuple[int, ...]"  # for each state the block it is in, numbered from 0


def components(n: int, successors: Callable[[int], Iterable[int]]) -> list[list[int]]:
    """The strongly connected components of a graph on 0 … n − 1, each after those that it leads to (Tarjan 1972)."""
    index = [-1] * n
    low = [0] * n
    on_stack = [False] * n
    stack: list[int] = []
    found: list[list[int]] = []
    count = 0
    for root in range(n):
        if index[root] >= 0:
            continue
        work = [(root, iter(successors(root)))]
        index[root] = low[root] = count
        count += 1
        stack.append(root)
        on_stack[root] = True
        while work:
            node, rest = work[-1]
            for to in rest:
                if index[to] < 0:
                    index[to] = low[to] = count
                    count += 1
                    stack.append(to)
                    on_stack[to] = True
                    work.append((to, iter(successors(to))))
                    break
                if on_stack[to]:
                    low[node] = min(low[node], index[to])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    cut = stack.index(node)
                    members = stack[cut:]
                    del stack[cut:]
                    for m in members:
                        on_stack[m] = False
                    found.append(sorted(members))
    return found


def congruence(table: Rows, pairs: Iterable[tuple[int, int]]) -> Blocks:
    """The finest partition that puts each pair together and in which a letter leads each block into one block."""
    n = len(table)
    parent = list(range(n))
    image = [list(row) for row in table]

    def root(q: int) -> int:
        while parent[q] != q:
            parent[q] = parent[parent[q]]
            q = parent[q]
        return q

    work = list(pairs)
    while work:
        a, b = work.pop()
        a, b = sorted((root(a), root(b)))
        if a == b:
            continue
        parent[b] = a
        mine = image[a]
        for x, to in enumerate(image[b]):
            if mine[x] < 0:
                mine[x] = to
            elif to >= 0 and to != mine[x]:
                work.append((mine[x], to))
    return _numbered([root(q) for q in range(n)])


def _numbered(blocks: Sequence[int]) -> Blocks:
    number: dict[int, int] = {}
    return tuple(number.setdefault(b, len(number)) for b in blocks)


def quotient(table: Rows, blocks: Blocks) -> list[list[int]]:
    """The automaton of the blocks."""
    rows = [[-1] * len(table[0]) for _ in range(max(blocks) + 1)]
    for row, b in zip(table, blocks, strict=True):
        for x, to in enumerate(row):
            if to >= 0:
                rows[b][x] = blocks[to]
    return rows


def minimal_congruences(table: Rows) -> list[Blocks]:
    """The minimal partitions that put two states together, those with most blocks first.

    What a pair of states generates holds what every pair generates that it leads to; so only pairs that come back to
    themselves from wherever they lead need be looked at.
    """
    n = len(table)
    pairs = list(combinations(range(n), 2))
    place = {p: i for i, p in enumerate(pairs)}

    def successors(i: int) -> list[int]:
        a, b = pairs[i]
        return [place[(p, q) if p < q else (q, p)] for p, q in zip(table[a], table[b], strict=True)
                if p >= 0 and q >= 0 and p != q]

    component = [-1] * len(pairs)
    last: list[int] = []
    for number, members in enumerate(components(len(pairs), successors)):
        for i in members:
            component[i] = number
        if all(component[j] == number for i in members for j in successors(i)):
            last.append(members[0])
    found = sorted({congruence(table, [pairs[i]]) for i in last}, key=lambda p: (-max(p), p))
    # A partition is not minimal if another one is finer.
    return [p for p in found if not any(q is not p and _finer(q, p) for q in found)]


def _finer(a: Blocks, b: Blocks) -> bool:
    image: dict[int, int] = {}
    return all(image.setdefault(x, y) == y for x, y in zip(a, b, strict=True))


def congruence_chain(table: Rows, choose: Callable[[Rows, list[Blocks]], Blocks]) -> list[Blocks]:
    """A chain of partitions that the letters respect, from the coarsest below the trivial one to single states.

    choose: gets a quotient and its minimal congruences, and returns the one to go on with.
    """
    n = len(table)
    now: Blocks = tuple(range(n))
    rows = [list(r) for r in table]
    chain = [now]
    while len(rows) > 2:
        found = minimal_congruences(rows)
        part = choose(rows, found)
        if max(part) == 0:
            break
        now = tuple(part[b] for b in now)
        chain.append(now)
        rows = quotient(rows, part)
    return chain[::-1]


def orbits(points: int, generators: Sequence[Sequence[int]]) -> list[list[int]]:
    """The orbits of permutations of 0 … points − 1, by least element."""
    if not generators:
        return [[p] for p in range(points)]
    found = components(points, lambda p: [g[p] for g in generators])
    return sorted(found)
