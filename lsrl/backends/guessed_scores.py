"""Scores of functions with several changes, guessed from numbers that the places of variables stand for.

A counter's next state is a function of its number plus a displacement for each letter; a sum of numbers one of their
sum. `Sweep.changes` tells whether a score is right.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence

from lsrl.backends.finite import STATE
from lsrl.backends.scores import Sweep, Weights

__all__ = ["scores"]

_MOST_DISPLACED = 16_000  # of control states squared times letters
_MOST_SIGNS = 4


def scores(sweep: Sweep, natural: Mapping[int, tuple[int, ...]], own: Collection[int]) -> Iterator[Weights]:
    """Scores worth a try. natural: for variables whose places are numbers, those numbers.

    own: variables that are bits of the old control state; they have one sign.
    """
    variables = [level.variable for level in sweep.levels]
    if all(v in natural for v in variables):
        groups = [[v] for v in variables if v not in own] + [[v for v in variables if v in own]]
        several = 1 << len(groups) - 1 if len(groups) <= _MOST_SIGNS else 1
        for signs in range(several):
            weights: Weights = {}
            for i, group in enumerate(groups):
                for v in group:
                    weights[v] = _lifted([-x for x in natural[v]] if signs >> i & 1 else natural[v])
            yield weights
    if variables[:1] == [STATE] and len(variables) == 2 \
            and sweep.sizes[STATE] ** 2 * len(sweep.levels[1].classes) <= _MOST_DISPLACED:
        for places in _state_orders(sweep, natural):
            yield _displaced(sweep, places)


def _state_orders(sweep: Sweep, natural: Mapping[int, tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    """Numbers for the control states: their own, those of a cycle that a letter runs through; sinks far below."""
    n = sweep.sizes[STATE]
    table = _table(sweep)
    sinks = [q for q in range(n) if all(_next(leaf) == q for leaf in table[q])]
    orders = [natural.get(STATE, tuple(range(n))), tuple(range(n))]
    for column in zip(*table, strict=True):
        at, cycle = 0, [0]
        while 0 <= _next(column[at]) < n and _next(column[at]) not in cycle:
            at = _next(column[at])
            cycle.append(at)
        if len(cycle) == n:
            orders.append(tuple(cycle.index(q) for q in range(n)))
    for order in dict.fromkeys(orders):
        yield order
        if sinks and len(sinks) < n:
            span = max(order) - min(order) + 1
            yield tuple(x - 3 * span if q in sinks else x for q, x in enumerate(order))


def _table(sweep: Sweep) -> list[list[Hashable]]:
    """The leaf of each control state and class of the one other variable."""
    states, letters = sweep.levels
    row = {q: c for c, members in enumerate(states.classes) for q in members}
    return [[sweep.leaves[x] for x in letters.nodes[states.nodes[0][row[q]]]] for q in range(sweep.sizes[STATE])]


def _displaced(sweep: Sweep, places: tuple[int, ...]) -> Weights:
    """The score that adds a displacement for each letter to the number of the state, as consistent as it can be."""
    span = max(places) - min(places) + 1
    known: dict[int, int] = {}
    moves: dict[int, int] = {}
    columns = [[sweep.leaves.index(x) for x in column] for column in zip(*_table(sweep), strict=True)]
    same = [sum(_next(sweep.leaves[x]) == q for q, x in enumerate(column)) for column in columns]
    top = 0
    for c in sorted(range(len(columns)), key=lambda c: -same[c]):
        pairs = list(zip(places, columns[c], strict=True))
        best: tuple[int, int] | None = None
        for d in sorted(range(-span, span + 1), key=abs):
            met = 0
            for at, x in pairs:
                there = known.get(at + d)
                if there is not None:
                    if there != x:
                        break
                    met += 1
            else:
                if best is None or met > best[0]:
                    best = met, d
        top += 8 * span
        moves[c] = top if best is None else best[1]
        known.update((at + moves[c], x) for at, x in pairs)
    letters = sweep.levels[1]
    by_place = [0] * sweep.sizes[letters.variable]
    for c, members in enumerate(letters.classes):
        for p in members:
            by_place[p] = moves[c]
    return {STATE: _lifted(places), letters.variable: _lifted(by_place)}


def _next(leaf: Hashable) -> int:
    """The control state that a value leads to; a whole number stands for itself, other values for none."""
    found = getattr(leaf, "next", leaf)
    return found if isinstance(found, int) else -1


def _lifted(numbers: Sequence[int]) -> tuple[int, ...]:
    least = min(numbers)
    return tuple(x - least for x in numbers)
