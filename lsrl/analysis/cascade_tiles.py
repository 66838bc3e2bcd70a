"""Tiles: proper subsets that cover a set of states, so that each of some subsets lies in one of them.

Sets are bit masks. A tile is named by an element that it leaves out; tiles named by E exist for all the subsets iff
none of the subsets holds all of E.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TypeAlias

from lsrl.analysis.cascade_partitions import Blocks, congruence_chain, orbits

__all__ = ["Code", "Permutation", "Tiles", "TooLargeError", "elements", "find_codes", "find_tiles", "maximal"]

_CANDIDATES = 150  # pairs of tiles that are compared
_IMAGES = 4000

Permutation: TypeAlias = Mapping[int, int]  # of the elements of a set
Tiles: TypeAlias = "dict[int, int]"  # for each element of E the tile that leaves it out
Code: TypeAlias = "tuple[int, ...]"


class TooLargeError(Exception):
    """An automaton has a larger cascade than the limits allow."""


def elements(mask: int) -> list[int]:
    """The elements of a set, ascending."""
    out = []
    while mask:
        low = mask & -mask
        out.append(low.bit_length() - 1)
        mask ^= low
    return out


def maximal(sets: Sequence[int]) -> list[int]:
    """Those of the sets that lie in no other, the largest first."""
    out: list[int] = []
    for s in sorted(set(sets), key=lambda s: (-s.bit_count(), s)):
        if not any(s & t == s for t in out):
            out.append(s)
    return out


def find_tiles(whole: int, images: Sequence[int], generators: Sequence[Permutation],
               labelled: tuple[Sequence[int], Sequence[int]] | None = None) -> Tiles | None:
    """Tiles of `whole` in which all images (proper subsets) lie, which the generators permute; as few as are found.

    labelled: sets that must lie in the first and in the second of two tiles; None is returned if there are no such
    tiles. Only without generators. Images must hold every element.
    """
    if generators:
        return _symmetric_tiles(whole, _closed(images, generators), generators)
    points = elements(whole)
    images = maximal([*images, *(s for part in labelled or () for s in part)])
    best: Tiles | None = None
    best_score: tuple[int, ...] = ()
    for e, f in _pairs(points, images, labelled):
        tiles = {e: 0, f: 0}
        if labelled is not None:
            for at, part in zip((e, f), labelled, strict=True):
                for s in part:
                    tiles[at] |= s
        _assign(tiles, images)
        sizes = sorted(t.bit_count() for t in tiles.values())
        score = (sizes[-1], sizes[0])
        if best is None or score < best_score:
            best, best_score = tiles, score
    if best is None and labelled is None:
        best = _several_tiles(points, images)
    return best


def _pairs(points: Sequence[int], images: Sequence[int],
           labelled: tuple[Sequence[int], Sequence[int]] | None) -> list[tuple[int, int]]:
    """Pairs of elements that no image holds both of; a sample if there are many."""
    together = {e: sum_or(s for s in images if s >> e & 1) for e in points}
    out = [(e, f) for e, f in combinations(points, 2) if not together[e] >> f & 1]
    if labelled is not None:
        first, second = (sum_or(part) for part in labelled)
        out = [(e, f) for a, b in out for e, f in ((a, b), (b, a)) if not first >> e & 1 and not second >> f & 1]
    step = max(1, len(out) // _CANDIDATES)
    return out[::step]


def sum_or(masks: object) -> int:
    """The union of some sets."""
    union = 0
    for m in masks:  # type: ignore[attr-defined]
        union |= m
    return union


def _assign(tiles: Tiles, images: Sequence[int]) -> None:
    """Puts each image into a tile whose element it leaves out: where it adds least, then into the smallest."""
    for s in images:
        options = [e for e in tiles if not s >> e & 1]
        at = min(options, key=lambda e: ((tiles[e] | s).bit_count() - tiles[e].bit_count(), tiles[e].bit_count(), e))
        tiles[at] |= s


def _several_tiles(points: Sequence[int], images: Sequence[int]) -> Tiles:
    """More than two tiles: elements are taken until no image holds them all."""
    left = list(images)
    chosen: list[int] = []
    while left:
        e = min((p for p in points if p not in chosen), key=lambda p: (sum(s >> p & 1 for s in left), p))
        chosen.append(e)
        left = [s for s in left if s >> e & 1]
    width = (len(chosen) - 1).bit_length()
    spare = [p for p in points if p not in chosen]
    options = [chosen, [*chosen, *spare[: (1 << width) - len(chosen)]]]
    best: Tiles | None = None
    for option in options:
        tiles = dict.fromkeys(option, 0)
        _assign(tiles, images)
        tiles = {e: t for e, t in tiles.items() if t}
        if best is None or max(t.bit_count() for t in tiles.values()) < max(t.bit_count() for t in best.values()):
            best = tiles
    assert best is not None
    return best


def _move(s: int, g: Permutation) -> int:
    return sum(1 << g[e] for e in elements(s))


def _closed(images: Sequence[int], generators: Sequence[Permutation]) -> list[int]:
    """The images and what the generators make of them; the maximal ones."""
    out = dict.fromkeys(maximal(images))
    work = list(out)
    for s in work:
        for g in generators:
            moved = _move(s, g)
            if moved not in out:
                out[moved] = None
                work.append(moved)
        if len(work) > _IMAGES:
            raise TooLargeError(f"more than {_IMAGES} images of one set of states")
    return maximal(work)


def _symmetric_tiles(whole: int, images: Sequence[int], generators: Sequence[Permutation]) -> Tiles:
    """Tiles that the generators permute as they permute the elements that name them."""
    points = elements(whole)
    place = {p: i for i, p in enumerate(points)}
    circles = orbits(len(points), [[place[g[p]] for p in points] for g in generators])
    chosen: int = 0
    rest = sorted((sum(1 << points[i] for i in c) for c in circles), key=lambda m: (m.bit_count(), m))
    single = [m for m in rest if not any(s & m == m for s in images)]
    if single:
        chosen = single[0]
    else:
        for m in rest:
            chosen |= m
            if not any(s & chosen == chosen for s in images):
                break
    tiles = dict.fromkeys(elements(chosen), 0)
    done: set[int] = set()
    for s in images:
        if s in done:
            continue
        at = next(e for e in tiles if not s >> e & 1)
        tiles[at] |= s
        work = [(s, at)]
        seen = {(s, at)}
        for t, e in work:
            done.add(t)
            for g in generators:
                moved = (_move(t, g), g[e])
                if moved not in seen:
                    seen.add(moved)
                    work.append(moved)
                    tiles[moved[1]] |= moved[0]
            if len(work) > _IMAGES:
                raise TooLargeError(f"more than {_IMAGES} images of one set of states")
    return tiles


def find_codes(tiles: Sequence[int], generators: Sequence[Permutation], binary: bool) -> dict[int, Code] | None:
    """A code for each tile, by digits of which the generators permute each, given those before it.

    tiles: their names. Tiles that the generators fix get bits. binary: whether digits must have two values; None if
    the group that acts on the tiles does not allow that (it does iff its order is a power of 2).
    """
    place = {e: i for i, e in enumerate(tiles)}
    moves = [tuple(place[g[e]] for e in tiles) for g in generators]
    moves = [m for m in dict.fromkeys(moves) if m != tuple(range(len(tiles)))]
    circles = orbits(len(tiles), moves)
    width = (len(circles) - 1).bit_length()
    codes: dict[int, Code] = {}
    for number, circle in enumerate(circles):
        prefix = tuple(number >> (width - 1 - b) & 1 for b in range(width))
        rank = {p: i for i, p in enumerate(circle)}
        table = [[rank[m[p]] for m in moves] for p in circle]
        chain = congruence_chain(table, lambda _, found: found[0]) if len(circle) > 1 else []
        for p, digits in zip(circle, _digits(chain, len(circle)), strict=True):
            codes[tiles[p]] = prefix + digits
            if binary and any(d > 1 for d in digits):
                return None
    return codes


def _digits(chain: Sequence[Blocks], n: int) -> list[Code]:
    """For each point of a chain of partitions, the place of each finer block in the coarser one."""
    codes: list[Code] = [() for _ in range(n)]
    for blocks in chain:
        inside: dict[Code, dict[int, int]] = {}
        numbers = []
        for p in range(n):
            known = inside.setdefault(codes[p], {})
            numbers.append(known.setdefault(blocks[p], len(known)))
        codes = [(*code, d) for code, d in zip(codes, numbers, strict=True)]
    return codes
