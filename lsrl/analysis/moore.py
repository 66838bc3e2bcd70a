"""Mealy automata as Moore automata (Moore 1956): what is observed at a token is decided by the state after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lsrl.analysis.automaton import Automaton

__all__ = ["as_moore"]


def as_moore(automaton: Automaton) -> tuple[Automaton, tuple[int, ...]]:
    """The automaton with a state for each one it had and what was observed on the way there; which it had, for each.

    Nothing is observed before the first token, so the start is whichever state fits. The result is least if the
    automaton was. States in breadth-first order from the start.
    """
    tables = list(automaton.observations.values())
    ways: dict[tuple[int, int], tuple[int, tuple[object, ...]]] = {
        (q, x): (int(automaton.next[q, x]), tuple(t[q, x] for t in tables)) for q, x in automaton.pairs}
    start = next((way for way in ways.values() if way[0] == automaton.start), (automaton.start, ()))
    place = {start: 0}
    order = [start]
    rows: list[list[int]] = []
    for q, _ in order:
        row = []
        for x in automaton.letters:
            to = ways.get((q, x))
            if to is not None and to not in place:
                place[to] = len(order)
                order.append(to)
            row.append(-1 if to is None else place[to])
        rows.append(row)
    had = tuple(q for q, _ in order)
    return replace(automaton, states=tuple(automaton.states[q] for q in had), start=0, next=np.array(rows, np.int64),
                   observations={n: t[list(had)] for n, t in automaton.observations.items()}), had
