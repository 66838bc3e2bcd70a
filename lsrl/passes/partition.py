"""The coarsest partition that a deterministic labelled graph respects: Hopcroft's algorithm.

Valmari and Lehtinen, "Efficient Minimization of DFAs with Partial Transition Functions" (STACS 2008): E log V steps
for E edges, however many labels there are. Used to merge equal states and to minimise automata.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

__all__ = ["coarsest_partition"]


class _Partition:
    """Sets of the items 0 … n-1 that are split by marking items and then cutting each set in two."""

    def __init__(self, block: Sequence[int]) -> None:
        count = max(block, default=-1) + 1
        self.block = list(block)
        self.items = sorted(range(len(block)), key=block.__getitem__)
        self.place = [0] * len(block)
        for at, item in enumerate(self.items):
            self.place[item] = at
        self.first = [0] * count
        self.past = [0] * count
        for at, item in enumerate(self.items):
            if at == 0 or block[self.items[at - 1]] != block[item]:
                self.first[block[item]] = at
            self.past[block[item]] = at + 1
        self.marked = [0] * count
        self.touched: list[int] = []

    def mark(self, item: int) -> None:
        b = self.block[item]
        at, to = self.place[item], self.first[b] + self.marked[b]
        if at < to:
            return
        other = self.items[to]
        self.items[to], self.items[at] = item, other
        self.place[item], self.place[other] = to, at
        if not self.marked[b]:
            self.touched.append(b)
        self.marked[b] += 1

    def split(self) -> list[tuple[int, int]]:
        """Cuts the marked items off their blocks. The (old, new) numbers of blocks; the new one is the smaller."""
        out: list[tuple[int, int]] = []
        for b in self.touched:
            cut = self.first[b] + self.marked[b]
            self.marked[b] = 0
            if cut == self.past[b]:
                continue
            new = len(self.first)
            if cut - self.first[b] <= self.past[b] - cut:
                self.first.append(self.first[b])
                self.past.append(cut)
                self.first[b] = cut
            else:
                self.first.append(cut)
                self.past.append(self.past[b])
                self.past[b] = cut
            self.marked.append(0)
            for item in self.items[self.first[new] : self.past[new]]:
                self.block[item] = new
            out.append((b, new))
        self.touched.clear()
        return out

    def members(self, b: int) -> list[int]:
        return self.items[self.first[b] : self.past[b]]


def coarsest_partition(kinds: Sequence[Hashable], edges: Sequence[tuple[int, Hashable, int]]) -> list[int]:
    """The class of each item: equal for two items of the same kind whose edges of equal label lead to equal classes.

    kinds: for each item what it shows itself. edges: (from, label, to), at most one for an item and label. Items that
    are put together have edges of the same labels. Classes are numbered by the first item in them.
    """
    number: dict[Hashable, int] = {}
    labels_of: list[list[int]] = [[] for _ in kinds]
    label_number: dict[Hashable, int] = {}
    for source, label, _ in edges:
        labels_of[source].append(label_number.setdefault(label, len(label_number)))
    start = [number.setdefault((kind, tuple(sorted(labels_of[i]))), len(number)) for i, kind in enumerate(kinds)]
    blocks = _Partition(start)
    cords = _Partition([label_number[label] for _, label, _ in edges])
    incoming: list[list[int]] = [[] for _ in kinds]
    for e, (_, _, target) in enumerate(edges):
        incoming[target].append(e)
    # Each cord (edges of one label into one block) cuts the blocks, each new block cuts the cords. Block 0 need not:
    # the edges into it are what the other blocks leave over.
    next_block, next_cord = 1, 0
    while next_cord < len(cords.first) or next_block < len(blocks.first):
        while next_block < len(blocks.first):
            for item in blocks.members(next_block):
                for e in incoming[item]:
                    cords.mark(e)
            cords.split()
            next_block += 1
        if next_cord < len(cords.first):
            for e in cords.members(next_cord):
                blocks.mark(edges[e][0])
            blocks.split()
            next_cord += 1
    names: dict[int, int] = {}
    return [names.setdefault(b, len(names)) for b in blocks.block]
