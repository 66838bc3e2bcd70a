"""Cascades side by side: an automaton as one of a product of smaller ones, each with a cascade of its own.

Congruences whose meet is equality make an automaton a subdirect product of their quotients (Birkhoff, "Subdirect unions
in universal algebra", 1944). Components of one quotient need not read those of another: the cascade is less deep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lsrl.analysis.cascade_partitions import Blocks, Rows, congruence, minimal_congruences, quotient
from lsrl.analysis.cascade_sets import Component

__all__ = ["Part", "join_parts", "separating_congruences"]

_MOST = 48  # states of an automaton for which quotients are looked for

Product: TypeAlias = "tuple[tuple[Component, ...], tuple[int, ...]]"  # and the state that each last node stands for


@dataclass(frozen=True, slots=True)
class Part:
    """A congruence, and a cascade of its quotient: its first node, its components, and the block of each last node."""

    blocks: Blocks
    first: int
    components: tuple[Component, ...]
    block_of: tuple[int, ...]


def separating_congruences(rows: Rows) -> list[Blocks]:
    """Congruences that are as coarse as they can be while some two states are apart, so many that together all are.

    None that the others can do without; [] if one alone is equality, or the automaton is large.
    """
    n = len(rows)
    if n > _MOST:
        return []
    found: list[Blocks] = []
    for p in range(n):
        for q in range(p):
            if all(b[p] == b[q] for b in found):
                found.append(_coarsest(rows, p, q))
    for blocks in sorted(found, key=lambda b: -max(b)):
        rest = [b for b in found if b is not blocks]
        if len({tuple(b[q] for b in rest) for q in range(n)}) == n:
            found = rest
    return [] if any(max(b) + 1 == n for b in found) else found


def _coarsest(rows: Rows, p: int, q: int) -> Blocks:
    """A congruence that tells two states apart, and of which none that is coarser does."""
    now: Blocks = tuple(range(len(rows)))
    while True:
        small = quotient(rows, now)
        grown = False
        part: Blocks = tuple(range(len(small)))
        for atom in minimal_congruences(small) if len(small) > 2 else ():
            pairs = [(b.index(k), i) for b in (part, atom) for i, k in enumerate(b)]
            joined = congruence(small, pairs)
            if joined[now[p]] != joined[now[q]]:
                part, grown = joined, True
        if not grown:
            return now
        now = tuple(part[b] for b in now)


@dataclass(frozen=True, slots=True)
class _Level:
    """The nodes of one level: each is a block of the congruences so far and a node of the part at hand.

    after[node][letter]: the node that follows, −1 if none can. start: the node of the start.
    """

    keys: tuple[tuple[int, int], ...]
    after: tuple[tuple[int, ...], ...]
    start: int


def join_parts(rows: Rows, start: int, parts: Sequence[Part]) -> Product:
    """The cascades of some quotients as one cascade. rows: the automaton; its states are apart in some quotient."""
    meet: Blocks = (0,) * len(rows)
    components: list[Component] = []
    for part in parts:
        after = [[-1] * len(rows[0]) for _ in range(max(meet) + 1)]
        for q, row in enumerate(rows):
            for x, to in enumerate(row):
                if to >= 0:
                    after[meet[q]][x] = meet[to]
        keys = tuple((m, part.first) for m in range(len(after)))
        level = _Level(keys, tuple(map(tuple, after)), meet[start])
        for c in part.components:
            component, level = _descend(rows, start, c, level)
            components.append(component)
        number: dict[tuple[int, int], int] = {}
        meet = tuple(number.setdefault(pair, len(number)) for pair in zip(meet, part.blocks, strict=True))
        last = components[-1]
        ends = [number[m, part.block_of[node]] for m, node in level.keys]
        components[-1] = Component(last.size, last.start, last.action, tuple(
            tuple(-1 if to < 0 else ends[to] for to in row) for row in last.child))
    state_of = [0] * (max(meet) + 1)
    for q, m in enumerate(meet):
        state_of[m] = q
    return tuple(components), tuple(state_of)


def _descend(rows: Rows, start: int, c: Component, level: _Level) -> tuple[Component, _Level]:
    """A component of a part over the nodes of a level, and the level below it."""
    number: dict[tuple[int, int], int] = {}
    after: list[list[int]] = []
    child = [[-1] * c.size for _ in level.keys]

    def below(at: int, v: int) -> int:
        m, node = level.keys[at]
        to = child[at][v] = number.setdefault((m, c.child[node][v]), len(number))
        if to == len(after):
            after.append([-1] * len(rows[0]))
        return to

    first = below(level.start, c.start)
    seen = {(start, level.start, c.start)}
    work = list(seen)
    while work:
        q, at, v = work.pop()
        here = below(at, v)
        for x, to in enumerate(rows[q]):
            if to < 0:
                continue
            action, follows = c.action[level.keys[at][1]][x], level.after[at][x]
            for w in range(c.size) if action is None else (action[v],):
                after[here][x] = below(follows, w)
                if (to, follows, w) not in seen:
                    seen.add((to, follows, w))
                    work.append((to, follows, w))
    made = Component(c.size, c.start, tuple(c.action[node] for _, node in level.keys), tuple(map(tuple, child)))
    return made, _Level(tuple(number), tuple(map(tuple, after)), first)
