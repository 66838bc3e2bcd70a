"""Finite permutation groups given by all their elements: solvable or not, composition factors, names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Group", "Permutations", "closure", "describe_group", "element_orders"]

Permutations: TypeAlias = NDArray[np.intp]  # (elements, points): row g maps point i to g[i]

# Simple groups that are not commutative, by order; two share 20,160.
_SIMPLE = {60: "A5", 168: "PSL(2,7)", 360: "A6", 504: "PSL(2,8)", 660: "PSL(2,11)", 1092: "PSL(2,13)",
           2448: "PSL(2,17)", 2520: "A7", 3420: "PSL(2,19)", 4080: "PSL(2,16)", 5616: "PSL(3,3)", 6048: "PSU(3,3)",
           6072: "PSL(2,23)", 7800: "PSL(2,25)", 7920: "M11", 9828: "PSL(2,27)", 12180: "PSL(2,29)", 14880: "PSL(2,31)",
           25308: "PSL(2,37)", 25920: "PSU(4,2)", 29120: "Sz(8)", 32736: "PSL(2,32)", 34440: "PSL(2,41)",
           39732: "PSL(2,43)"}


@dataclass(frozen=True, slots=True)
class Group:
    """order: of the group. orders: of its elements, 1 left out. factors: its composition factors by name, sorted; the
    group is solvable iff all of them are cyclic. name: "Z6" of a cyclic group, "A5" of a simple one, "S5" of a
    symmetric one, else "order 24"."""

    order: int
    orders: tuple[int, ...]
    commutative: bool
    factors: tuple[str, ...]
    name: str

    @property
    def solvable(self) -> bool:
        return all(f.startswith("Z") for f in self.factors)

    @property
    def simple_factors(self) -> tuple[str, ...]:
        """The composition factors that are not cyclic."""
        return tuple(f for f in self.factors if not f.startswith("Z"))

    def __str__(self) -> str:
        return self.name


def describe_group(elements: Permutations) -> Group:
    """The facts of a group from all its elements."""
    order = len(elements)
    orders = element_orders(elements)
    generators = _generators(elements)
    commutative = all(np.array_equal(a[b], b[a]) for a in generators for b in generators)
    factors = tuple(sorted(_factors(elements)))
    if order in orders or order == 1:
        name = f"Z{order}"
    elif len(factors) == 1:
        name = factors[0]
    elif (points := _factorial(order)) is not None and points >= 3 and _is_symmetric(factors, orders, points):
        name = f"S{points}"
    else:
        name = f"a group of order {order}"
    return Group(order, tuple(sorted(set(orders) - {1})), commutative, factors, name)


def _factorial(order: int) -> int | None:
    return next((n for n in range(1, 12) if math.factorial(n) == order), None)


def _is_symmetric(factors: Sequence[str], orders: Sequence[int], points: int) -> bool:
    """Whether a group of order n! with these factors and element orders is the symmetric group on n points."""
    if points == 3:
        return 6 not in orders
    if points == 4:
        return set(orders) == {1, 2, 3, 4} and sorted(orders).count(2) == 9 and orders.count(3) == 8
    return tuple(factors) == tuple(sorted((f"A{points}", "Z2"))) and orders.count(2) == _involutions(points)


def _involutions(points: int) -> int:
    a, b = 1, 1
    for n in range(2, points + 1):
        a, b = b, b + (n - 1) * a
    return b - 1


def element_orders(elements: Permutations) -> list[int]:
    """The order of every element: the least common multiple of its cycles' lengths."""
    return [math.lcm(*cycle_lengths(g)) for g in elements]


def cycle_lengths(g: NDArray[np.intp]) -> list[int]:
    """The lengths of the cycles of a permutation."""
    image = g.tolist()
    seen = [False] * len(image)
    out: list[int] = []
    for start in range(len(image)):
        length, at = 0, start
        while not seen[at]:
            seen[at] = True
            at = image[at]
            length += 1
        if length:
            out.append(length)
    return out


def closure(generators: Sequence[NDArray[np.intp]], points: int, limit: int | None = None) -> Permutations | None:
    """All products of some transformations of `points` points, the identity first; None if more than `limit`."""
    one = np.arange(points)
    known = {one.tobytes(): 0}
    rows = [one]
    done = 0
    while done < len(rows):
        frontier = np.array(rows[done:])
        done = len(rows)
        for g in generators:
            for row in g[frontier]:
                key = row.tobytes()
                if key not in known:
                    known[key] = len(rows)
                    rows.append(row)
            if limit is not None and len(rows) > limit:
                return None
    return np.array(rows)


def _keys(elements: Permutations) -> set[bytes]:
    return {row.tobytes() for row in elements}


def _closed(generators: Sequence[NDArray[np.intp]], points: int) -> Permutations:
    found = closure(generators, points)
    assert found is not None
    return found


def _generators(elements: Permutations) -> list[NDArray[np.intp]]:
    """A few elements that generate the group: each at least doubles what those before it generate."""
    points = elements.shape[1]
    chosen: list[NDArray[np.intp]] = []
    have = _keys(_closed([], points))
    for g in elements:
        if len(have) == len(elements):
            break
        if g.tobytes() not in have:
            chosen.append(g)
            have = _keys(_closed(chosen, points))
    return chosen


def _inverse(g: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.argsort(g)


def _normal_closure(seeds: Sequence[NDArray[np.intp]], generators: Sequence[NDArray[np.intp]],
                    points: int) -> Permutations:
    """The least normal subgroup that holds the seeds."""
    own = list(seeds)
    group = _closed(own, points)
    have = _keys(group)
    at = 0
    while at < len(own):
        for g in generators:
            conjugate = g[own[at]][_inverse(g)]
            if conjugate.tobytes() not in have:
                own.append(conjugate)
                group = _closed(own, points)
                have = _keys(group)
        at += 1
    return group


def _factors(elements: Permutations) -> list[str]:
    """The composition factors of a group."""
    out: list[str] = []
    group = elements
    while len(group) > 1:
        points = group.shape[1]
        generators = _generators(group)
        commutators = [_inverse(a)[_inverse(b)[a[b]]] for a in generators for b in generators]
        derived = _normal_closure(commutators, generators, points)
        if len(derived) == len(group):
            return out + _perfect_factors(group, generators)
        out += [f"Z{p}" for p in _primes(len(group) // len(derived))]
        group = derived
    return out


def _perfect_factors(group: Permutations, generators: Sequence[NDArray[np.intp]]) -> list[str]:
    """The factors of a group that is its own derived group: it is simple, or has a proper normal subgroup."""
    points = group.shape[1]
    seen: set[bytes] = {np.arange(points).tobytes()}
    for g in group:
        if g.tobytes() in seen:
            continue
        conjugates = group[np.arange(len(group))[:, None], g[np.argsort(group, axis=1)]]
        seen |= _keys(conjugates)
        normal = _normal_closure([g], generators, points)
        if len(normal) < len(group):
            return _factors(normal) + _factors(_quotient(group, normal, generators))
    return [_simple_name(group)]


def _simple_name(group: Permutations) -> str:
    order = len(group)
    if order == 20160:
        return "A8" if 15 in element_orders(group) else "PSL(3,4)"
    return _SIMPLE.get(order, f"a simple group of order {order}")


def _quotient(group: Permutations, normal: Permutations, generators: Sequence[NDArray[np.intp]]) -> Permutations:
    """The quotient by a normal subgroup, as permutations of its cosets."""
    coset: dict[bytes, int] = {}
    first: list[NDArray[np.intp]] = []
    for g in group:
        if g.tobytes() not in coset:
            for row in g[normal]:
                coset[row.tobytes()] = len(first)
            first.append(g)
    moves = [np.array([coset[g[f].tobytes()] for f in first]) for g in generators]
    return _closed(moves, len(first))


def _primes(n: int) -> list[int]:
    out: list[int] = []
    p = 2
    while p * p <= n:
        while n % p == 0:
            out.append(p)
            n //= p
        p += 1
    return [*out, n] if n > 1 else out
