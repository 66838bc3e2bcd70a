"""The components of a cascade as latches of one bit, their conditions as sums of products with don't cares.

Each condition is a function of the letter and of the bits above, free where a value of the bits cannot occur or does
not matter. It is first freed of bits that it need not read, the deepest first, then covered by products (Minato, "Fast
Generation of Irredundant Sum-of-Products Forms from Binary Decision Diagrams", 1992).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import product
from typing import TypeAlias

from lsrl.analysis.binary_diagrams import FALSE, TRUE, Band, BinaryDiagrams
from lsrl.analysis.cascade import Action, Cascade
from lsrl.analysis.cascade_tiles import TooLargeError

__all__ = ["Cases", "Cover", "Keyed", "Latch", "Latches", "Term", "cover_of", "find_latches"]

_COMPARED = 40  # terms of a cover in which superfluous ones are looked for
_KEYS = 8  # values of a key for each state


@dataclass(frozen=True, slots=True)
class Term:
    """The product of [letter ∈ letters] and of literals: (bit, whether it is on)."""

    letters: frozenset[int]
    literals: tuple[tuple[int, bool], ...]

    def holds(self, letter: int, bits: Sequence[bool]) -> bool:
        return letter in self.letters and all(bits[b] == on for b, on in self.literals)


Cover: TypeAlias = "tuple[Term, ...]"  # the sum of the terms


@dataclass(frozen=True, slots=True)
class Latch:
    """One bit: `not old` where flip holds, else on where set holds, as it was where keep holds, else off.

    depth: 0 if it reads no other latch, else one more than the deepest that it reads.
    """

    start: bool
    set: Cover
    keep: Cover
    flip: Cover
    depth: int

    @property
    def reads(self) -> tuple[int, ...]:
        """The bits whose old values decide what it does."""
        return tuple(sorted({b for t in (*self.set, *self.keep, *self.flip) for b, _ in t.literals}))

    def next(self, old: bool, letter: int, bits: Sequence[bool]) -> bool:
        """The new value; bits: the old values of all bits."""
        if any(t.holds(letter, bits) for t in self.flip):
            return not old
        return any(t.holds(letter, bits) for t in self.set) or old and any(t.holds(letter, bits) for t in self.keep)


@dataclass(frozen=True, slots=True)
class Cases:
    """A function by cases: `value` where its cover holds, no two at once; elsewhere `rest`."""

    cases: tuple[tuple[Hashable, Cover], ...]
    rest: Hashable

    @property
    def reads(self) -> set[int]:
        return {b for _, cover in self.cases for t in cover for b, _ in t.literals}

    def value(self, letter: int, bits: Sequence[bool]) -> Hashable:
        return next((v for v, cover in self.cases if any(t.holds(letter, bits) for t in cover)), self.rest)


@dataclass(frozen=True, slots=True)
class Keyed:
    """A function of the letter and of a key, Σ weight · bit: the key of a counter is its value.

    values[key − low][letter]: None where that cannot occur.
    """

    weights: tuple[tuple[int, int], ...]
    low: int
    values: tuple[tuple[Hashable, ...], ...]

    @property
    def reads(self) -> set[int]:
        return {b for b, _ in self.weights}

    def value(self, letter: int, bits: Sequence[bool]) -> Hashable:
        return self.values[sum(w for b, w in self.weights if bits[b]) - self.low][letter]


@dataclass(frozen=True, slots=True)
class Latches:
    """Latches, each after those that it reads, and functions of the letter and their old values.

    A letter of a cascade with a clock is r · letters + x for letter x while the clock stands at r.
    shows[name]: what was asked for. traps: for latches that are only ever set, or only ever cleared, where that is.
    letters: how many there are.
    """

    latches: tuple[Latch, ...]
    shows: dict[Hashable, Cases | Keyed]
    traps: dict[int, Cover] = field(default_factory=dict, compare=False)
    letters: int = field(default=0, compare=False)

    @property
    def depth(self) -> int:
        """The number of latches one after the other that a value may depend on."""
        return max((latch.depth + 1 for latch in self.latches), default=0)


class _Reader:
    """Functions of the nodes of a level as functions of the bits above it."""

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self.diagrams = BinaryDiagrams()

    def bands(self, level: int, kinds: Sequence[Sequence[Hashable]], yes: set[Hashable],
              maybe: set[Hashable]) -> list[Band]:
        """Where a node of a level has a kind of `yes`, and where also one of `maybe`; for each letter of the cascade.

        kinds[node]: one kind a letter. What cannot occur may be anything.
        """
        out: list[list[Band]] = []
        for x in range(len(kinds[0])):
            must = [int(k[x] in yes) for k in kinds]
            may = [int(k[x] in yes or k[x] in maybe) for k in kinds]
            lower, upper = self._above(level, must, FALSE), self._above(level, may, TRUE)
            out.append([(lower[n], upper[n]) for n in self.cascade.first])
        return [row[r] for r in range(self.cascade.clock) for row in out]

    def _above(self, level: int, row: list[int], none: int) -> list[int]:
        """A function of the nodes of a level by the nodes of the first one; `none` for what cannot occur."""
        for at in range(level - 1, -1, -1):
            child = self.cascade.components[at].child
            if all(f == none for f in row):
                row = [none] * len(child)
            else:
                row = [self.diagrams.node(at, *(none if to < 0 else row[to] for to in pair)) for pair in child]
        return row

    def narrowed(self, functions: Sequence[Sequence[Band]], depth: Mapping[int, int]) -> list[list[Band]]:
        """The same functions of fewer bits: each bit that all of them can do without goes, the deepest first."""
        now = [list(f) for f in functions]
        support = set().union(*(self.diagrams.support(g) for f in now for band in f for g in band))
        for v in sorted(support, key=lambda b: (-depth[b], -b)):
            fewer = [[self._without(band, v) for band in f] for f in now if self._can_do_without(f, v)]
            if len(fewer) == len(now):
                now = fewer
        return now

    def _without(self, band: Band, v: int) -> Band:
        return self.diagrams.without(band[0], v, False), self.diagrams.without(band[1], v, True)

    def _can_do_without(self, bands: Sequence[Band], v: int) -> bool:
        return all(self.diagrams.within(*self._without(band, v)) for band in dict.fromkeys(bands))

    def cover(self, bands: Sequence[Band]) -> Cover:
        """Products that together hold where each letter's function must, and nowhere where it must not."""
        terms: dict[tuple[tuple[int, bool], ...], frozenset[int]] = {}
        done = [FALSE] * len(bands)
        for x, (lo, up) in enumerate(bands):
            left = self.diagrams.both(lo, self.diagrams.negated(done[x]))
            for literals in self.diagrams.products(left, up)[0]:
                f = self.diagrams.product(literals)
                letters = frozenset(y for y, band in enumerate(bands) if self.diagrams.within(f, band[1]))
                terms[literals] = letters
                for y in letters:
                    done[y] = self.diagrams.either(done[y], f)
        return tuple(Term(letters, literals) for literals, letters in _needed(self.diagrams, terms, bands).items())


def _needed(diagrams: BinaryDiagrams, terms: Mapping[tuple[tuple[int, bool], ...], frozenset[int]],
            bands: Sequence[Band]) -> dict[tuple[tuple[int, bool], ...], frozenset[int]]:
    """The terms without those that the others cover, the longest looked at first."""
    kept = dict(terms)
    if sum(lo != FALSE for lo, _ in bands) < 2 or len(terms) > _COMPARED:
        return kept  # products of one function are irredundant already
    for literals in sorted(terms, key=lambda t: (-len(t), len(terms[t]), t)):
        rest = [(diagrams.product(t), letters) for t, letters in kept.items() if t != literals]
        for x in terms[literals]:
            f = FALSE
            for g, letters in rest:
                if x in letters:
                    f = diagrams.either(f, g)
            if not diagrams.within(bands[x][0], f):
                break
        else:
            del kept[literals]
    return kept


def cover_of(rows: Mapping[tuple[bool, ...], bool], count: int) -> tuple[tuple[tuple[int, bool], ...], ...]:
    """Products of `count` bits whose sum is a function known at some points, free at the others."""
    diagrams = BinaryDiagrams()
    found = [rows.get(bits) for bits in product((False, True), repeat=count)]
    lower = diagrams.tabled([bool(x) for x in found], count)
    upper = diagrams.tabled([x is None or x for x in found], count)
    return tuple(diagrams.products(lower, upper)[0])


def _kind(action: Action | None) -> str:
    if action is None:
        return "free"
    old, new = action
    return ("on" if old else "off") if old == new else "flip" if old else "keep"


def find_latches(cascade: Cascade, wanted: Mapping[Hashable, Sequence[Sequence[Hashable]]],
                 extra: Mapping[Hashable, Sequence[Sequence[Hashable]]] | None = None, keyed: bool = False) -> Latches:
    """The latches that the wanted functions need.

    cascade: of components of two values. wanted[name][q][x]: the value in state q under letter x, None where the pair
    cannot occur; a table may have letters of its own. extra: functions that are shown too, if they need no more
    latches. keyed: a function that needs several products is one of a key, if there is a key. Raises TooLargeError.
    """
    assert all(c.size == 2 for c in cascade.components)
    reader = _Reader(cascade)
    depth: dict[int, int] = {}
    latches: list[Latch] = []
    traps: dict[int, Cover] = {}
    for at, c in enumerate(cascade.components):
        kinds = [[_kind(a) for a in row] for row in c.action]
        parts = [reader.bands(at, kinds, {"on"}, {"free", "flip"}),
                 reader.bands(at, kinds, {"keep"}, {"on", "free", "flip"}),
                 reader.bands(at, kinds, {"flip"}, {"free"})]
        on, keep, flip = (reader.cover(p) for p in reader.narrowed(parts, depth))
        latch = Latch(bool(c.start), on, keep, flip, 0)
        depth[at] = max((depth[b] + 1 for b in latch.reads), default=0)
        latches.append(replace(latch, depth=depth[at]))
        done = {kind for row in kinds for kind in row}
        if done.isdisjoint({"flip", "off" if not c.start else "on"}):
            once = reader.bands(at, kinds, {"off" if c.start else "on"}, {"free"})
            traps[at] = reader.cover(reader.narrowed([once], depth)[0])
    key = _find_key(cascade)
    most = 1 if keyed else None
    shows = {name: _show(reader, table, depth, key, most) for name, table in wanted.items()}
    spare: dict[Hashable, Cases | Keyed] = {}
    for name, table in (extra or {}).items():
        try:
            spare[name] = _show(reader, table, depth, key)
        except TooLargeError:
            continue
    return replace(_alive(latches, shows, spare, traps), letters=cascade.letters * cascade.clock)


def _show(reader: _Reader, table: Sequence[Sequence[Hashable]], depth: Mapping[int, int],
          key: _Key | None, most: int | None = None) -> Cases | Keyed:
    """A function by cases, or by its key if the cases have more than `most` products."""
    if key is not None and most is not None and len({v for row in table for v in row if v is not None}) > most + 1:
        return _keyed(key, table)  # each value but one needs a product
    try:
        found = _cases(reader, table, depth)
    except TooLargeError:
        if key is None:
            raise
        return _keyed(key, table)
    terms = sum(len(cover) for _, cover in found.cases)
    if key is None:
        return found
    return _keyed(key, table) if terms > (2 * len(key.of) + 4 if most is None else most) else found


def _cases(reader: _Reader, table: Sequence[Sequence[Hashable]], depth: Mapping[int, int]) -> Cases:
    kinds = [table[q] for q in reader.cascade.state_of]
    count: dict[Hashable, int] = {}
    for row in kinds:
        for v in row:
            if v is not None:
                count[v] = count.get(v, 0) + 1
    if set(count) == {False, True} and all(isinstance(v, bool) for v in count):
        order: list[Hashable] = [False, True]
    else:
        order = sorted(count, key=lambda v: -count[v]) or [None]
    level = len(reader.cascade.components)
    cases = []
    for v in order[1:]:
        band = reader.narrowed([reader.bands(level, kinds, {v}, {None})], depth)[0]
        cases.append((v, reader.cover(band)))
    return Cases(tuple(cases), order[0])


@dataclass(frozen=True, slots=True)
class _Key:
    """weights: of the bits. of[key]: the state of that key."""

    weights: tuple[int, ...]
    of: dict[int, int]


def _find_key(cascade: Cascade) -> _Key | None:
    """Weights of the bits whose sum tells the states apart, each having one sum; None if there are none that are small.

    A node has the sum of the weights on the way to it. Where several ways lead to one node, their sums are equal, which
    ties the weights; what is left free is chosen so that the sums are few.
    """
    count = len(cascade.components)
    if cascade.clock > 1:
        return None
    ties: list[list[int]] = []
    ways: dict[int, list[int]] = {cascade.first[0]: [0] * count}
    for at, c in enumerate(cascade.components):
        below: dict[int, list[int]] = {}
        for n, way in ways.items():
            for v, to in enumerate(c.child[n]):
                if to >= 0:
                    new = [w + (v if i == at else 0) for i, w in enumerate(way)]
                    if to in below and below[to] != new:
                        ties.append([a - b for a, b in zip(new, below[to], strict=True)])
                    below.setdefault(to, new)
        ways = below
    basis = _null_space(ties, count)
    for scales in ([1] * len(basis), [1 << i for i in range(len(basis))]):
        weights = [sum(s * vector[i] for s, vector in zip(scales, basis, strict=True)) for i in range(count)]
        of: dict[int, int] = {}
        good = True
        for n, way in ways.items():
            total = sum(w * v for w, v in zip(weights, way, strict=True))
            good = good and of.setdefault(total, cascade.state_of[n]) == cascade.state_of[n]
        if good and max(of) - min(of) < _KEYS * (len(of) + 1):
            return _Key(tuple(weights), of)
    return None


def _null_space(rows: Iterable[Sequence[int]], count: int) -> list[list[int]]:
    """Whole vectors that span the solutions of rows · w = 0."""
    solved: dict[int, dict[int, Fraction]] = {}  # w[column] as a sum of others, none of which is solved
    for row in dict.fromkeys(map(tuple, rows)):
        left: dict[int, Fraction] = {}
        for column, x in enumerate(row):
            for c, y in solved[column].items() if column in solved else [(column, Fraction(1))] if x else ():
                left[c] = left.get(c, Fraction(0)) + x * y
        left = {c: y for c, y in left.items() if y}
        if not left:
            continue
        pivot = max(left)
        scale = left.pop(pivot)
        solved[pivot] = {c: -y / scale for c, y in left.items()}
        for known in solved.values():
            factor = known.pop(pivot, None)
            if factor is not None:
                for c, y in solved[pivot].items():
                    known[c] = known.get(c, Fraction(0)) + factor * y
    out = []
    for free in (c for c in range(count) if c not in solved):
        vector = [solved[c].get(free, Fraction(0)) if c in solved else Fraction(int(c == free)) for c in range(count)]
        whole = math.lcm(*(y.denominator for y in vector))
        out.append([int(y * whole) for y in vector])
    return out


def _keyed(key: _Key, table: Sequence[Sequence[Hashable]]) -> Keyed:
    low, high = min(key.of), max(key.of)
    none = (None,) * len(table[0])
    values = tuple(tuple(table[key.of[s]]) if s in key.of else none for s in range(low, high + 1))
    return Keyed(tuple((i, w) for i, w in enumerate(key.weights) if w), low, values)


def _alive(latches: Sequence[Latch], shows: Mapping[Hashable, Cases | Keyed],
           spare: Mapping[Hashable, Cases | Keyed], traps: Mapping[int, Cover]) -> Latches:
    """Without the latches that nothing wanted depends on, and what else those left can show."""
    needed: set[int] = set().union(*(show.reads for show in shows.values()))
    for at in range(len(latches) - 1, -1, -1):
        if at in needed:
            needed.update(latches[at].reads)
    new = {b: i for i, b in enumerate(sorted(needed))}

    def renamed(cover: Cover) -> Cover:
        return tuple(Term(t.letters, tuple((new[b], on) for b, on in t.literals)) for t in cover)

    kept = tuple(Latch(x.start, renamed(x.set), renamed(x.keep), renamed(x.flip), x.depth)
                 for i, x in enumerate(latches) if i in new)
    after: dict[Hashable, Cases | Keyed] = {}
    for name, show in {**{n: s for n, s in spare.items() if s.reads <= needed}, **shows}.items():
        if isinstance(show, Cases):
            after[name] = Cases(tuple((v, renamed(c)) for v, c in show.cases), show.rest)
        else:
            after[name] = replace(show, weights=tuple((new[b], w) for b, w in show.weights))
    return Latches(kept, after, {new[b]: renamed(cover) for b, cover in traps.items() if b in new and all(
        c in new for t in cover for c, _ in t.literals)})
