"""Tables of bits that only count them: a function of how many are on, as a staircase of their sum.

With weights 1 for the bits that are counted and a weight beyond the count for each bit that decides alone, the sum says
all: a majority of five is two ReLU units, where products would be ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tally", "find_tally"]

_FEWEST = 3  # bits of a table that is looked at


@dataclass(frozen=True, slots=True)
class Tally:
    """values[Σ weight · [root is at one of its places]]: a table's value at each sum that can occur.

    bits: (root, its places, weight).
    """

    bits: tuple[tuple[int, frozenset[int], int], ...]
    values: tuple[int, ...]


def find_tally(sizes: Sequence[int], leaves: Sequence[int]) -> Tally | None:
    """The tally of a table over variables of some sizes, the last fastest; None if it is none.

    leaves: the value at each joint place, numbered.
    """
    table: NDArray[np.int64] = np.array(leaves, np.int64).reshape(sizes)
    roots: list[tuple[int, frozenset[int]]] = []  # of each axis: the root, and the places that count as 1
    for root, size in enumerate(sizes):
        axis = len(roots)
        slices: list[NDArray[np.int64]] = [np.take(table, [p], axis).squeeze(axis) for p in range(size)]
        first = [p for p in range(size) if np.array_equal(slices[p], slices[0])]
        rest = [p for p in range(size) if p not in first]
        if any(not np.array_equal(slices[p], slices[rest[0]]) for p in rest):
            return None
        if rest:
            table = np.stack([slices[0], slices[rest[0]]], axis)
            roots.append((root, frozenset(rest)))
        else:
            table = slices[0]
    if len(roots) < _FEWEST:
        return None
    deciding: list[int] = []  # axes of `roots`
    left = list(range(len(roots)))
    ones = [set(places) for _, places in roots]
    shut: int | None = None
    axis = 0
    while axis < len(left) and len(left) > 1:
        for side in (0, 1):
            part = table.take(side, axis)
            value = int(part.flat[0])
            if shut in (None, value) and (part == value).all():
                if side == 0:
                    ones[left[axis]] = set(range(sizes[roots[left[axis]][0]])) - ones[left[axis]]
                shut = value
                deciding.append(left.pop(axis))
                table = np.take(table, [1 - side], axis).squeeze(axis)
                axis = -1
                break
        axis += 1
    for axis in range(1, len(left)):
        if not np.array_equal(table, table.swapaxes(0, axis)):
            table = np.flip(table, axis)
            ones[left[axis]] = set(range(sizes[roots[left[axis]][0]])) - ones[left[axis]]
            if not np.array_equal(table, table.swapaxes(0, axis)):
                return None
    n = len(left)
    values = [int(table[(1,) * k + (0,) * (n - k)]) for k in range(n + 1)]
    counts = np.indices(table.shape).sum(0) if n else np.array(0)
    if not np.array_equal(np.array(values)[counts], table):
        return None
    if deciding:
        assert shut is not None
        values += [shut] * ((n + 1) * len(deciding))
    bits = [(roots[i][0], frozenset(ones[i]), n + 1 if i in deciding else 1) for i in (*left, *deciding)]
    return Tally(tuple(bits), tuple(values))
