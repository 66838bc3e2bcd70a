"""Definite automata under a clock: the state is a function of the last letters and of the time modulo some number.

Perles, Rabin and Shamir, "The theory of definite automata" (1963). A linear recurrence with one fixed matrix can host
these and, apart from sums that are read as numbers, no others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsrl.analysis.cascade_partitions import components

__all__ = ["Definite", "NotDefinite", "definite_or_clock"]


@dataclass(frozen=True, eq=False)
class Definite:
    """The state is a function of the last `depth` letters and of the number of tokens modulo `clock`.

    classes[r]: the states that can be current when r is that number.
    """

    depth: int
    clock: int
    classes: tuple[tuple[int, ...], ...]
    table: NDArray[np.int64]

    def state(self, window: Sequence[int], time: int) -> int:
        """The state after `time` tokens of which `window` were the last; −1 if no state allows such a window.

        window: at least `depth` letters.
        """
        if len(window) < self.depth:
            raise ValueError(f"{len(window)} letters for a window of {self.depth}")
        for q in self.classes[(time - len(window)) % self.clock]:
            for x in window:
                q = int(self.table[q, x]) if q >= 0 else -1
            if q >= 0:
                return q
        return -1


@dataclass(frozen=True, slots=True)
class NotDefinite:
    """Why a state is no such function: after first + loop·i and second + loop·i, for every i, the states differ.

    The lengths of the first two words are equal modulo every number that a clock could have.
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    loop: tuple[int, ...]


def definite_or_clock(table: NDArray[np.int64], start: int = 0) -> Definite | NotDefinite:
    """The least clock and then the least window that decide the state, or three words that show that none do.

    table: (n, k), the state after each letter, −1 where a pair cannot occur.
    If some clock does, the length of any cycle of states from the start does: along it the letters repeat, so the time
    modulo the clock could not tell more. So the least clock divides that length.
    """
    rows: list[list[int]] = table.tolist()
    length = _cycle(rows, start)
    failed = _windows(rows, start, length)
    if isinstance(failed, NotDefinite):
        return failed
    for clock in (c for c in range(1, length + 1) if length % c == 0):
        found = _windows(rows, start, clock)
        if not isinstance(found, NotDefinite):
            depth, classes = found
            return Definite(depth, clock, classes, table)
    raise AssertionError("no clock, though one was found")


def _cycle(rows: list[list[int]], start: int) -> int:
    """The length of the cycle that the first possible letters lead into; 1 if they lead nowhere."""
    at: dict[int, int] = {}
    q = start
    while q not in at:
        at[q] = len(at)
        q = next((to for to in rows[q] if to >= 0), -1)
        if q < 0:
            return 1
    return len(at) - at[q]


def _windows(rows: list[list[int]], start: int,
             clock: int) -> tuple[int, tuple[tuple[int, ...], ...]] | NotDefinite:
    """The least window under a clock, and the states at each time modulo the clock."""
    words: dict[tuple[int, int], tuple[int, ...]] = {(start, 0): ()}
    order = [(start, 0)]
    for q, r in order:
        for x, to in enumerate(rows[q]):
            pair = (to, (r + 1) % clock)
            if to >= 0 and pair not in words:
                words[pair] = (*words[q, r], x)
                order.append(pair)
    classes = tuple(tuple(sorted(q for q, s in order if s == r)) for r in range(clock))
    pairs = sorted({(p, q) for c in classes for i, p in enumerate(c) for q in c[i + 1 :]})
    place = {p: i for i, p in enumerate(pairs)}

    def moves(i: int) -> list[tuple[int, int]]:
        p, q = pairs[i]
        ends = ((x, min(a, b), max(a, b)) for x, (a, b) in enumerate(zip(rows[p], rows[q], strict=True)))
        return [(x, place[a, b]) for x, a, b in ends if a >= 0 and a != b]

    depth = [0] * len(pairs)
    for members in components(len(pairs), lambda i: [j for _, j in moves(i)]):
        i = members[0]
        if len(members) > 1 or any(j == i for _, j in moves(i)):
            loop = _loop(i, moves)
            p, q = pairs[i]
            r = next(r for r, c in enumerate(classes) if p in c and q in c)
            return NotDefinite(words[p, r], words[q, r], loop)
        depth[i] = max((depth[j] for _, j in moves(i)), default=0) + 1
    return max(depth, default=0), classes


def _loop(i: int, moves: Callable[[int], list[tuple[int, int]]]) -> tuple[int, ...]:
    """A shortest word that leads a pair back to itself."""
    words: dict[int, tuple[int, ...]] = {}
    order: list[tuple[int, tuple[int, ...]]] = [(i, ())]
    for j, word in order:
        for x, to in moves(j):
            if to == i:
                return (*word, x)
            if to not in words:
                words[to] = (*word, x)
                order.append((to, words[to]))
    raise AssertionError("no way back")
