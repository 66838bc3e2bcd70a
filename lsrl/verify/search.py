"""Breadth-first search over the joint states of one or two machines, in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lsrl.verify.machines import FORBIDDEN, Ids, Machine

__all__ = ["Found", "Limits", "search"]

_SHIFT = np.int64(1) << np.int64(31)


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a search stops: tokens, joint states, seconds; None is no limit."""

    length: int | None = None
    states: int | None = 1_000_000
    seconds: float | None = 60.0


@dataclass(frozen=True, slots=True)
class Found:
    """The end of a search.

    word: letters of the shortest input that ends in a difference or a failure; None if there is none.
    outputs: the output numbers at each of its tokens, one list a machine; a negative one marks a failure.
    length: all words up to this length were covered. closed: there are no others to cover.
    """

    word: tuple[int, ...] | None
    outputs: tuple[tuple[int, ...], ...]
    length: int
    closed: bool
    stopped: str
    states: int
    transitions: int


def search(machines: Sequence[Machine], letters: int, limits: Limits,
           progress: Callable[[int, int], None] | None = None, batch: int = 32_768) -> Found:
    """Searches until the joint states are closed, a difference is found or a limit is reached.

    machines: one (only its failures are looked for) or two (outputs are compared). A state reached at depth d was
    reached by no shorter word, so the first difference is a shortest one.
    progress: called with (depth, joint states) after each batch.
    """
    deadline = None if limits.seconds is None else time.monotonic() + limits.seconds
    start = _joint([np.array([m.start], np.int64) for m in machines])
    known: set[int] = {int(start[0])}
    # per depth: the joint states first reached there, and for each the place of its parent one depth up and the letter
    frontiers: list[tuple[Ids, Ids, Ids]] = [(start, np.zeros(1, np.int64), np.zeros(1, np.int64))]
    transitions = 0
    while True:
        depth = len(frontiers) - 1
        frontier = frontiers[-1][0]
        if not len(frontier):
            return Found(None, (), depth, True, "", len(known), transitions)
        if limits.length is not None and depth >= limits.length:
            return Found(None, (), depth, False, f"length {limits.length} reached", len(known), transitions)
        fresh: list[tuple[Ids, Ids, Ids]] = []
        per = max(1, batch // letters)
        for lo in range(0, len(frontier), per):
            here = frontier[lo : lo + per]
            states = np.repeat(here, letters)
            letter = np.tile(np.arange(letters, dtype=np.int64), len(here))
            stepped = [m.step(s, letter) for m, s in zip(machines, _split(states, len(machines)), strict=True)]
            transitions += len(states)
            bad = _bad([out for _, out in stepped], stepped[0][0])
            if bad is not None:
                word = (*_word(frontiers, lo + bad // letters), int(letter[bad]))
                return Found(word, _replay(machines, word), depth, False, "", len(known), transitions)
            allowed = stepped[0][0] != FORBIDDEN
            joint = _joint([after[allowed] for after, _ in stepped])
            fresh.append(_new(joint, known, np.flatnonzero(allowed), lo, letters))
            if progress is not None:
                progress(depth, len(known))
            if deadline is not None and time.monotonic() > deadline:
                return Found(None, (), depth, False, f"{limits.seconds:g} s were over", len(known), transitions)
            if limits.states is not None and len(known) > limits.states:
                return Found(None, (), depth, False, f"{limits.states:,} joint states reached", len(known), transitions)
        frontiers.append((np.concatenate([f[0] for f in fresh]), np.concatenate([f[1] for f in fresh]),
                          np.concatenate([f[2] for f in fresh])))


def _joint(states: Sequence[Ids]) -> Ids:
    return states[0] if len(states) == 1 else states[0] * _SHIFT + states[1]


def _split(joint: Ids, machines: int) -> Sequence[Ids]:
    return [joint] if machines == 1 else [joint // _SHIFT, joint % _SHIFT]


def _bad(outputs: Sequence[Ids], after: Ids) -> int | None:
    """The first place where a machine fails or the two differ, ruled-out letters aside."""
    wrong = outputs[0] < 0
    if len(outputs) == 2:
        wrong |= (outputs[0] != outputs[1]) & (after != FORBIDDEN)
    places = np.flatnonzero(wrong)
    return int(places[0]) if len(places) else None


def _new(joint: Ids, known: set[int], places: Ids, lo: int, letters: int) -> tuple[Ids, Ids, Ids]:
    """The joint states not met before, in order, each with its parent's place and its letter."""
    _, first = np.unique(joint, return_index=True)
    kept = []
    for i in np.sort(first).tolist():
        key = int(joint[i])
        if key not in known:
            known.add(key)
            kept.append(i)
    chosen = np.array(kept, np.int64)
    return joint[chosen], lo + places[chosen] // letters, places[chosen] % letters


def _word(frontiers: Sequence[tuple[Ids, Ids, Ids]], place: int) -> tuple[int, ...]:
    word: list[int] = []
    for _, parents, letters in reversed(frontiers[1:]):
        word.append(int(letters[place]))
        place = int(parents[place])
    return tuple(reversed(word))


def _replay(machines: Sequence[Machine], word: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The outputs of each machine along a word."""
    traces = []
    for m in machines:
        state, trace = np.array([m.start], np.int64), []
        for x in word:
            state, out = m.step(state, np.array([x], np.int64))
            trace.append(int(out[0]))
        traces.append(tuple(trace))
    return tuple(traces)
