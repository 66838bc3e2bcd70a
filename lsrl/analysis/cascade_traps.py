"""Latches that are set once and never cleared, by several products: as many latches, each set by one.

Whether something has ever happened is whether any of its ways has. A product of bits and a set of letters is a linear
threshold function, and a sum of products often is none; so each of the latches may be decided by one gate, where the
one that they replace needs maps. Those that read it mostly ask that it is not set: a product of the others.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from lsrl.analysis.cascade_logic import Cases, Cover, Keyed, Latch, Latches, Term

__all__ = ["split_traps"]

_MOST = 4  # latches in place of one


def split_traps(latches: Latches) -> Latches:
    """The same with a latch for each way into a trap."""
    parts: dict[int, tuple[int, ...]] = {}
    count = 0
    keyed = {b for show in latches.shows.values() if isinstance(show, Keyed) for b in show.reads}
    for b in range(len(latches.latches)):
        ways = latches.traps.get(b, ())
        size = len(ways) if 2 <= len(ways) <= _MOST and b not in keyed else 1
        parts[b] = tuple(range(count, count + size))
        count += size

    def changed(cover: Cover) -> Cover:
        return tuple(t for term in cover for t in _over(term, parts, latches.latches))

    out: list[Latch] = []
    for b, latch in enumerate(latches.latches):
        if len(parts[b]) > 1:
            ways = latches.traps[b]
            every = frozenset(range(latches.letters))
            out += (Latch(False, changed((way,)), (Term(every, ()),), (), latch.depth) for way in ways)
        else:
            out.append(replace(latch, set=changed(latch.set), keep=changed(latch.keep), flip=changed(latch.flip)))
    shows: dict[Hashable, Cases | Keyed] = {}
    for name, show in latches.shows.items():
        if isinstance(show, Cases):
            shows[name] = Cases(tuple((v, changed(c)) for v, c in show.cases), show.rest)
        else:
            shows[name] = replace(show, weights=tuple((parts[b][0], w) for b, w in show.weights))
    return Latches(tuple(out), shows)


def _over(term: Term, parts: Mapping[int, tuple[int, ...]], old: Sequence[Latch]) -> list[Term]:
    """A term over the new bits: one, or several where it asks that a trap has been entered by any of its ways."""
    found: list[tuple[tuple[int, bool], ...]] = [()]
    for b, on in term.literals:
        if len(parts[b]) == 1:
            found = [(*known, (parts[b][0], on)) for known in found]
        elif on == old[b].start:
            found = [(*known, *((p, False) for p in parts[b])) for known in found]
        else:
            found = [(*known, (p, True)) for known in found for p in parts[b]]
    return [Term(term.letters, literals) for literals in found]
