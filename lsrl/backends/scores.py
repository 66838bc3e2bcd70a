"""Functions of finite variables as sums of general thresholds: [Σ weight(value) ≥ θ], one threshold unit each.

A score is a weight for every value of every variable. If a function's value is known from the sum of the weights alone,
it changes at some of the sums only, and a unit for each change tells it: [sum ≥ θ₁] − [sum ≥ θ₂] + …. A function of two
values with one change is a linear threshold function. Weights for one are looked for from its Chow parameters, which
determine it (Chow 1961), and by the perceptron rule on the pair of points that is furthest out of order.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from lsrl.backends.cubes import Diagrams
from lsrl.backends.finite import STATE
from lsrl.backends.linear_form import Rational

__all__ = ["Sum", "Sweep", "Term", "Weights"]

Weights = dict[int, tuple[int, ...]]  # for each variable a weight for each of its places

_SCALES = (1, 2, 3, 4, 6, 9, 14)
_CORRECTIONS = 8
_LARGEST = 1 << 12  # of a score: far within what a float's sum can tell apart
_INFINITE = 1 << 60
_MOST_FOUND = 20_000


@dataclass(frozen=True, slots=True)
class Term:
    """On iff Σ weights[variable][place] ≥ threshold; no variable has the same weight at all of its places."""

    weights: tuple[tuple[int, tuple[int, ...]], ...]
    threshold: int

    @property
    def is_and(self) -> bool:
        """Whether the sum never exceeds the threshold, so that one ReLU computes the unit."""
        return sum(max(w) for _, w in self.weights) <= self.threshold

    def on(self, point: Mapping[int, int]) -> bool:
        return sum(w[point.get(v, 0)] for v, w in self.weights) >= self.threshold


@dataclass(frozen=True, slots=True)
class Sum:
    """Σ coefficient · [term is on] + bias."""

    terms: tuple[tuple[Rational, Term], ...]
    bias: Rational = 0


@dataclass(frozen=True, slots=True)
class _Level:
    """One variable: nodes of this level and, for each class of its places, the node of the next level."""

    variable: int
    classes: tuple[tuple[int, ...], ...]
    nodes: tuple[tuple[int, ...], ...]  # for each node its children, class by class


_Score: TypeAlias = tuple[list[list[int]], int]  # for each level a weight for each of its classes; the threshold

# Thresholds that were looked for, by the shape of the levels and the leaves that are on; None if none was found.
_FOUND: dict[tuple[Hashable, tuple[bool, ...]], _Score | None] = {}


class Sweep:
    """A function as levels, one for each variable that matters; the first may be the old control state.

    Places of a variable that no node tells apart are one class.
    """

    def __init__(self, diagrams: Diagrams, roots: Sequence[int]) -> None:
        """roots: the function in each control state; of one state only, `STATE` is no variable."""
        order = diagrams.support(*roots)
        self.sizes = {v: diagrams.sizes[v] for v in order}
        now = list(dict.fromkeys(roots))
        self.levels: list[_Level] = []
        if len(now) > 1:
            self.sizes[STATE] = len(roots)
            self.levels.append(_level(STATE, [tuple(now.index(f) for f in roots)]))
        for v in order:
            rows = [tuple(diagrams.child(g, v, a) for a in range(diagrams.sizes[v])) for g in now]
            following = list(dict.fromkeys(x for row in rows for x in row))
            places = {g: i for i, g in enumerate(following)}
            self.levels.append(_level(v, [tuple(places[x] for x in row) for row in rows]))
            now = following
        self.leaves: tuple[Hashable, ...] = tuple(diagrams.value(g) for g in now)
        self.work = sum(len(x.nodes) * len(x.classes) for x in self.levels)
        self.shape = tuple((tuple(map(len, x.classes)), x.nodes) for x in self.levels)

    def point(self, leaf: Hashable) -> dict[int, int]:
        """A point at which the function has that value."""
        at = self.leaves.index(leaf)
        out: dict[int, int] = {}
        for level in reversed(self.levels):
            before, c = next((i, row.index(at)) for i, row in enumerate(level.nodes) if at in row)
            out[level.variable] = level.classes[c][0]
            at = before
        return out

    def changes(self, weights: Weights) -> dict[Hashable, Sum] | None:
        """For each value, [the function has it] by the changes along one score; None if the score does not tell."""
        masks = self._attained(weights)
        if masks is None:
            return None
        seen = 0
        for mask in masks:
            if seen & mask:
                return None
            seen |= mask
        runs: list[tuple[int, Hashable]] = []
        for at, k in sorted((i, k) for k, mask in enumerate(masks) for i in _bits(mask)):
            if not runs or runs[-1][1] != self.leaves[k]:
                runs.append((at, self.leaves[k]))
        terms: dict[Hashable, list[tuple[Rational, Term]]] = {x: [] for x in self.leaves}
        for (_, before), (at, after) in pairwise(runs):
            term = _term(weights, at)
            terms[before].append((-1, term))
            terms[after].append((1, term))
        return {x: Sum(tuple(t), int(x == runs[0][1])) for x, t in terms.items()}

    def _attained(self, weights: Weights) -> list[int] | None:
        """For each leaf the sums at which it is taken, as a bit set; None if they are too large."""
        if sum(max(weights[x.variable]) for x in self.levels) > _LARGEST:
            return None
        now = [1]
        for level in self.levels:
            shifts = [{weights[level.variable][p] for p in c} for c in level.classes]
            after: dict[int, int] = {}
            for mask, row in zip(now, level.nodes, strict=True):
                for w, child in zip(shifts, row, strict=True):
                    for shift in w:
                        after[child] = after.get(child, 0) | mask << shift
            now = [after[i] for i in range(len(after))]
        return now

    def threshold(self, on: Callable[[Hashable], int]) -> Term | None:
        """The function [on(leaf)] as one threshold; None if none is found."""
        marks = tuple(bool(on(x)) for x in self.leaves)
        key = self.shape, marks
        if key not in _FOUND:
            if len(_FOUND) >= _MOST_FOUND:
                _FOUND.clear()
            _FOUND[key] = self._searched(marks)
        found = _FOUND[key]
        return None if found is None else self._as_term(*found)

    def conjunction(self, on: Callable[[Hashable], int]) -> Term | None:
        """The function [on(leaf)] as one "and" of [variable ∈ set]; None if it is none."""
        marks = [bool(on(x)) for x in self.leaves]
        counts = self._counts(marks)
        weights: Weights = {}
        points, live = 1, {0}
        for level, below in zip(self.levels, counts[1:], strict=True):
            classes = [any(below[level.nodes[n][c]] for n in live) for c in range(len(level.classes))]
            live = {level.nodes[n][c] for n in live for c, x in enumerate(classes) if x and below[level.nodes[n][c]]}
            places = [0] * self.sizes[level.variable]
            for members, x in zip(level.classes, classes, strict=True):
                for p in members:
                    places[p] = int(x)
            points *= sum(places)
            if not all(places):
                weights[level.variable] = tuple(places)
        if not weights or points != counts[0][0]:  # points of the least product of sets that holds all that are on
            return None
        return Term(tuple(sorted(weights.items())), len(weights))

    def _searched(self, marks: Sequence[bool]) -> _Score | None:
        if len(self.levels) <= 2:
            return self._chain(marks)
        counts = self._counts(marks)
        if not self._is_monotone(counts):
            return None
        chow = self._chow(counts)
        largest = max((abs(x) for row in chow for x in row), default=0)
        if not largest:
            return None
        tried = None
        for scale in _SCALES:
            rounded = [[round(x * scale / largest) for x in row] for row in chow]
            if rounded != tried:
                found = self._order(rounded, marks)
                if isinstance(found, int):
                    return rounded, found
                tried = rounded
        weights = [list(row) for row in tried or []]
        for _ in range(_CORRECTIONS):
            found = self._order(weights, marks)
            if isinstance(found, int):
                return weights, found
            for row, up, down in zip(weights, *found, strict=True):
                row[up] += 1
                row[down] -= 1
        return None

    def _chain(self, marks: Sequence[bool]) -> _Score | None:
        """Of two variables: a threshold iff the letters that are on in one state include those of another."""
        *first, last = self.levels
        rows = [frozenset(c for c, x in enumerate(row) if marks[x]) for row in last.nodes]
        ranked = sorted(set(rows), key=len)
        if any(not a <= b for a, b in pairwise(ranked)):
            return None
        m = len(ranked)
        since = [next((r for r, row in enumerate(ranked) if c in row), m) for c in range(len(last.classes))]
        weights = [[m - r for r in since]]
        if first:
            weights.insert(0, [ranked.index(rows[node]) for node in first[0].nodes[0]])
        found = self._order(weights, marks)
        return (weights, found) if isinstance(found, int) else None

    def _is_monotone(self, counts: list[list[int]]) -> bool:
        """Whether of any two values of a variable one turns the function on at least as often as the other in every
        context, which a linear threshold function needs."""
        for level, following in zip(self.levels, counts[1:], strict=True):
            rows = [[following[c] for c in row] for row in level.nodes]
            order = sorted(range(len(level.classes)), key=lambda c: sum(row[c] for row in rows))
            if any(row[a] > row[b] for row in rows for a, b in pairwise(order)):
                return False
        return True

    def _order(self, weights: list[list[int]], marks: Sequence[bool]) -> int | tuple[list[int], list[int]]:
        """The least sum of a point that is on if all of them have larger sums than the others; else the worst two
        points."""
        least = [0 if m else _INFINITE for m in marks]
        most = [-_INFINITE if m else 0 for m in marks]
        best: list[tuple[list[int], list[int]]] = []
        for level, w in zip(reversed(self.levels), reversed(weights), strict=True):
            lows = [[a + least[c] for a, c in zip(w, row, strict=True)] for row in level.nodes]
            highs = [[a + most[c] for a, c in zip(w, row, strict=True)] for row in level.nodes]
            least, most = [min(x) for x in lows], [max(x) for x in highs]
            best.append(([x.index(y) for x, y in zip(lows, least, strict=True)],
                         [x.index(y) for x, y in zip(highs, most, strict=True)]))
        if least[0] > most[0]:
            return least[0]
        paths: tuple[list[int], list[int]] = ([], [])
        for side, path in enumerate(paths):
            at = 0
            for level, choice in zip(self.levels, reversed(best), strict=True):
                c = choice[side][at]
                path.append(c)
                at = level.nodes[at][c]
        return paths

    def _as_term(self, weights: list[list[int]], threshold: int) -> Term:
        whole: Weights = {}
        for level, w in zip(self.levels, weights, strict=True):
            places = [0] * self.sizes[level.variable]
            for x, members in zip(w, level.classes, strict=True):
                for p in members:
                    places[p] = x - min(w)
            whole[level.variable] = tuple(places)
        return _term(whole, threshold - sum(min(w) for w in weights))

    def _counts(self, marks: Sequence[bool]) -> list[list[int]]:
        """For each level and node, at how many points of the variables from there on the function is on."""
        below = [[int(m) for m in marks]]
        for level in reversed(self.levels):
            sizes = [len(c) for c in level.classes]
            below.append([sum(n * below[-1][c] for n, c in zip(sizes, row, strict=True)) for row in level.nodes])
        below.reverse()
        return below

    def _chow(self, below: list[list[int]]) -> list[list[int]]:
        """For each level and class, P(on | class) − P(on), times the number of points."""
        out: list[list[int]] = []
        above = [1]
        for level, following in zip(self.levels, below[1:], strict=True):
            total = sum(map(len, level.classes))
            counts = [sum(n * following[row[c]] for n, row in zip(above, level.nodes, strict=True))
                      for c in range(len(level.classes))]
            mean = sum(n * len(c) for n, c in zip(counts, level.classes, strict=True))
            out.append([n * total - mean for n in counts])
            passed = [0] * len(following)
            for n, row in zip(above, level.nodes, strict=True):
                for size, c in zip(map(len, level.classes), row, strict=True):
                    passed[c] += n * size
            above = passed
        return out

def _bits(mask: int) -> Iterator[int]:
    at = 0
    while mask:
        step = (mask & -mask).bit_length() - 1
        at += step
        yield at
        mask >>= step + 1
        at += 1


def _level(variable: int, rows: list[tuple[int, ...]]) -> _Level:
    """A level from each node's children, place by place; places with the same children everywhere become a class."""
    classes: dict[tuple[int, ...], list[int]] = {}
    for place, column in enumerate(zip(*rows, strict=True)):
        classes.setdefault(column, []).append(place)
    return _Level(variable, tuple(map(tuple, classes.values())), tuple(zip(*classes, strict=True)))


def _term(weights: Weights, threshold: int) -> Term:
    """A term without variables whose weights are all the same, and without a common factor."""
    used = {v: w for v, w in weights.items() if any(x != w[0] for x in w)}
    threshold -= sum(w[0] for v, w in weights.items() if v not in used)
    common = 0
    for w in used.values():
        for x in w:
            common = _gcd(common, x)
    common = common or 1
    return Term(tuple(sorted((v, tuple(x // common for x in w)) for v, w in used.items())), -(-threshold // common))


def _gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return abs(a)
