"""The coarsest partition of the states of an automaton that its letters respect (Hopcroft 1971, in O(k n log n))."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["coarsest_partition"]


def coarsest_partition(table: NDArray[np.int64], colours: NDArray[np.int64]) -> NDArray[np.int64]:
    """The block of each state, blocks numbered from 0.

    table: (n, k), the state after each letter, −1 where there is none (states that differ there must differ in
    colour). colours: (n,). Two states share a block iff no word leads them to different colours.
    """
    n, k = table.shape
    sources = [_sources(table[:, x], n) for x in range(k)]
    elements = np.argsort(colours, kind="stable").tolist()
    place = [0] * n
    for i, q in enumerate(elements):
        place[q] = i
    _, block_of, counts = np.unique(colours, return_inverse=True, return_counts=True)
    block = block_of.reshape(-1).tolist()
    ends = np.cumsum(counts).tolist()
    starts = [0, *ends[:-1]]
    waiting = list(range(len(starts)))
    is_waiting = [True] * len(starts)
    while waiting:
        splitter = waiting.pop()
        is_waiting[splitter] = False
        members = elements[starts[splitter] : ends[splitter]]
        for order, offsets in sources:
            marked: dict[int, int] = {}  # block → how many of its states lead into the splitter
            for to in members:
                for q in order[offsets[to] : offsets[to + 1]]:
                    b = block[q]
                    at = starts[b] + marked.get(b, 0)
                    # Moves q behind the states of its block that are marked already.
                    other, was = elements[at], place[q]
                    elements[at], elements[was] = q, other
                    place[q], place[other] = at, was
                    marked[b] = marked.get(b, 0) + 1
            for b, count in marked.items():
                if count == ends[b] - starts[b]:
                    continue
                new = len(starts)
                middle = starts[b] + count
                if is_waiting[b] or count <= ends[b] - middle:
                    starts.append(starts[b])
                    ends.append(middle)
                    starts[b] = middle
                else:
                    starts.append(middle)
                    ends.append(ends[b])
                    ends[b] = middle
                for q in elements[starts[new] : ends[new]]:
                    block[q] = new
                waiting.append(new)
                is_waiting.append(True)
    return np.array(block, np.int64)


def _sources(column: NDArray[np.int64], n: int) -> tuple[list[int], list[int]]:
    """The states that lead to each state: those of q are order[offsets[q] : offsets[q + 1]]."""
    order = np.argsort(column, kind="stable")
    order = order[column[order] >= 0]
    offsets = np.searchsorted(column[order], np.arange(n + 1))
    return order.tolist(), offsets.tolist()
