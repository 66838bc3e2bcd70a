"""The algebra of an automaton: its transition monoid, and what that says of the networks that can host it.

Krohn and Rhodes 1965: the groups in the monoid are what a cascade of flip-flops cannot do. Sarrof et al. 2024:
diagonal recurrences with gates that are not negative host exactly the aperiodic ones. Merrill et al. 2024: groups
that are not solvable need recurrences beyond diagonal ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsrl.analysis.groups import Group, cycle_lengths, describe_group, element_orders

__all__ = ["Algebra", "LetterAction", "algebra_of", "analyse_letters", "transition_monoid"]

_LIMIT = 50_000
_MOST_CELLS = 40_000_000  # entries of the table of the monoid


@dataclass(frozen=True, slots=True)
class LetterAction:
    """What one letter class does. kind: "identity", "constant" (all states become one), "permutation", "idempotent"
    (twice is as once) or "other". cycles: the lengths above 1 of the cycles that it has when it is repeated."""

    kind: str
    cycles: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Algebra:
    """Facts of an automaton; None for what the size of the monoid kept from being found.

    size: elements of the monoid, the identity included. reset: every letter is the identity or constant.
    permutation: every letter is a bijection. groups: the groups in the monoid, one of each kind found, the trivial
    one left out, by order; only those that single letters generate if size is None.
    """

    states: int
    letters: tuple[LetterAction, ...]
    limit: int
    size: int | None
    commutative: bool
    idempotent: bool | None
    aperiodic: bool | None
    reset: bool
    permutation: bool
    groups: tuple[Group, ...]

    @property
    def solvable(self) -> bool | None:
        """Whether all groups are; None if not known."""
        if self.size is None:
            return None
        return all(g.solvable for g in self.groups)

    @property
    def cyclic_orders(self) -> tuple[int, ...]:
        """The orders above 1 of the cyclic groups in it."""
        return tuple(sorted({n for g in self.groups for n in g.orders}))

    @property
    def simple_groups(self) -> tuple[str, ...]:
        """The simple groups that keep it from being solvable."""
        return tuple(sorted({f for g in self.groups for f in g.simple_factors}))


def algebra_of(table: NDArray[np.int64], limit: int = _LIMIT) -> Algebra:
    """The algebra of an automaton from next[q, x]; −1 (a pair that cannot occur) leads to a state of its own.

    Generates up to `limit` elements; past that, only what single letters say.
    """
    actions = analyse_letters(table)
    letters = _completed(table)
    commutative = all(np.array_equal(a[b], b[a]) for a in letters for b in letters)
    reset = all(a.kind in ("identity", "constant") for a in actions)
    permutation = all(a.kind in ("identity", "permutation") for a in actions)
    monoid = transition_monoid(table, limit)
    if monoid is None:
        cyclic = sorted({c for a in actions for c in a.cycles})
        groups = tuple(describe_group(_cyclic(c)) for c in cyclic)
        return Algebra(len(table), actions, limit, None, commutative, None, False if cyclic else None, reset,
                       permutation, groups)
    squares = np.take_along_axis(monoid, monoid, axis=1)
    idempotent = bool((squares == monoid).all())
    aperiodic = _is_aperiodic(monoid)
    return Algebra(len(table), actions, limit, len(monoid), commutative, idempotent, aperiodic, reset, permutation,
                   () if aperiodic else _groups(monoid, squares))


def analyse_letters(table: NDArray[np.int64]) -> tuple[LetterAction, ...]:
    """What each letter does; pairs that cannot occur are left out."""
    return tuple(_action(table[:, x]) for x in range(table.shape[1]))


def _action(column: NDArray[np.int64]) -> LetterAction:
    occurs = np.flatnonzero(column >= 0)
    values = column[occurs]
    power = np.append(column, -1)
    cycles = _cycles(power)
    if (values == occurs).all():
        return LetterAction("identity", cycles)
    if len(np.unique(values)) == 1:
        return LetterAction("constant", cycles)
    if len(np.unique(values)) == len(values):
        return LetterAction("permutation", cycles)
    twice = power[values]
    return LetterAction("idempotent" if ((twice == values) | (twice < 0)).all() else "other", cycles)


def _cycles(power: NDArray[np.int64]) -> tuple[int, ...]:
    """The cycle lengths above 1 of a partial map; the last entry stands for nowhere, −1."""
    image = power.copy()
    image[image < 0] = len(power) - 1
    lasting = image
    steps = 1
    while steps < len(power):
        lasting = lasting[lasting]
        steps *= 2
    core = np.unique(lasting)
    rank = np.full(len(power), -1)
    rank[core] = np.arange(len(core))
    return tuple(sorted(c for c in cycle_lengths(rank[image[core]]) if c > 1))


def _completed(table: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The letters as maps, with a state of its own after pairs that cannot occur, if there are any."""
    n, k = table.shape
    if (table >= 0).all():
        return [table[:, x] for x in range(k)]
    whole = np.append(np.where(table < 0, n, table), np.full((1, k), n), axis=0)
    return [whole[:, x] for x in range(k)]


def transition_monoid(table: NDArray[np.int64], limit: int = _LIMIT) -> NDArray[np.intp] | None:
    """All maps of states that words act as, one a row, the empty word's first; None if there are more than `limit`."""
    letters = _completed(table)
    n = len(letters[0]) if letters else len(table)
    small = np.uint8 if n <= 256 else np.uint16 if n <= 65_536 else np.uint32
    distinct = {a.tobytes(): a.astype(small) for a in letters}
    one = np.arange(n, dtype=small)
    known = {one.tobytes()}
    rows = [one]
    done = 0
    most = min(limit, _MOST_CELLS // max(n, 1))
    while done < len(rows):
        frontier = np.array(rows[done:])
        done = len(rows)
        for letter in distinct.values():
            for row in letter[frontier]:
                key = row.tobytes()
                if key not in known:
                    known.add(key)
                    rows.append(row)
            if len(rows) > most:
                return None
    return np.array(rows).astype(np.intp)


def _is_aperiodic(monoid: NDArray[np.intp]) -> bool:
    """Whether the powers of every element come to rest: no element permutes several states in a cycle."""
    n = monoid.shape[1]
    for part in np.array_split(monoid, max(1, monoid.size // 4_000_000)):
        power = part
        steps = 1
        while steps < n:
            power = np.take_along_axis(power, power, axis=1)
            steps *= 2
        if not np.array_equal(np.take_along_axis(part, power, axis=1), power):
            return False
    return True


def _groups(monoid: NDArray[np.intp], squares: NDArray[np.intp]) -> tuple[Group, ...]:
    """The groups in a monoid of maps, one of each kind.

    An element lies in a group iff it permutes its own image; the identity of that group maps each state to the
    image's element that the map takes to the same place.
    """
    members: dict[bytes, list[NDArray[np.intp]]] = {}
    for row, square in zip(monoid, squares, strict=True):
        image = np.flatnonzero(np.bincount(row, minlength=len(row)))
        if len(image) < 2 or len(np.unique(row[image])) < len(image) or len(image) != len(np.unique(square)):
            continue
        back = np.full(len(row), -1)
        back[row[image]] = image
        members.setdefault(back[row].tobytes(), []).append(row)
    found: dict[tuple[int, ...], Group] = {}
    for identity, rows in members.items():
        if len(rows) < 2:
            continue
        image = np.unique(np.frombuffer(identity, np.intp))
        rank = np.full(monoid.shape[1], -1)
        rank[image] = np.arange(len(image))
        group = rank[np.array(rows)[:, image]]
        orders = tuple(sorted(element_orders(group)))
        if orders not in found:
            found[orders] = describe_group(group)
    return tuple(sorted(found.values(), key=lambda g: (g.order, g.orders)))


def _cyclic(order: int) -> NDArray[np.intp]:
    """The cyclic group of an order, as permutations."""
    return np.array([[(i + j) % order for j in range(order)] for i in range(order)])

