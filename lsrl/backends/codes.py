"""State codes: control states told by a few bits, so that the next bits are functions of bits and letters.

Codes tried: of each of the program's states in the cell its binary digits, the digits of the control states' numbers,
and, for partitions that every letter respects (Hartmanis and Stearns 1966), digits of the block and of the place in it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from lsrl.backends.finite import Leaf, Machine
from lsrl.backends.linear_form import Rational

__all__ = ["Code", "LinearSpan", "asked_sets", "coded", "codes", "combination", "digits", "reduced_row"]

_MOST_PARTITIONS = 4
_PRIME = (1 << 61) - 1
_SMALL = 24  # control states up to which partitions are looked for


@dataclass(frozen=True)
class Code:
    """bits: for each bit a variable and the control states in which it is 1. weights: of each bit in the number of
    the state, 1 if there is no such number."""

    bits: tuple[tuple[int, frozenset[Hashable]], ...]
    weights: tuple[int, ...]

    def point(self, state: int) -> dict[int, int]:
        """The old bits in a control state."""
        return {v: int(state in members) for v, members in self.bits}


def codes(machine: Machine, bit: Callable[[int], int]) -> Iterator[Code]:
    """Codes worth a try; each tells all control states apart. bit: the variable for a place in a code."""
    n = machine.size
    seen: set[frozenset[frozenset[Hashable]]] = set()
    columns: list[list[list[Hashable]]] = [[list(column)
                                            for column in zip(*(x[0] for x in machine.labels), strict=True)]]
    columns.append([list(range(n))])
    if n <= _SMALL:
        columns += [[list(block), _places(block)] for block in _partitions(machine)]
    for tracks in columns:
        sets: dict[frozenset[Hashable], int] = {}
        for track in tracks:
            for members, weight in digits(track):
                sets.setdefault(members, weight)
        rows = {tuple(q in s for s in sets) for q in range(n)}
        key = frozenset(sets)
        if len(rows) < n or key in seen or len(sets) >= n - 1:
            continue
        seen.add(key)
        bits = tuple((bit(i), s) for i, s in enumerate(sets))
        yield Code(bits, tuple(sets.values()))


def digits(values: Sequence[Hashable]) -> list[tuple[frozenset[Hashable], int]]:
    """The binary digits of the values, for each the places where it is 1 and what it stands for.

    Numbers count by their distance from the least in their common steps, other values in order of appearance.
    """
    numbers = _whole(tuple(values))
    out: list[tuple[frozenset[Hashable], int]] = []
    for k in range(max(numbers, default=0).bit_length()):
        members: frozenset[Hashable] = frozenset(i for i, x in enumerate(numbers) if x >> k & 1)
        if members:
            out.append((members, 1 << k))
    return out


def asked_sets(numbers: Sequence[Rational]) -> list[frozenset[int]]:
    """Sets of places that span the numbers: binary digits, or the places of each number where those are fewer.

    Digits of numbers that fall from place to place are those of their negatives, which span the same.
    """
    if len(numbers) > 2 and all(a > b for a, b in pairwise(numbers)):
        numbers = [-x for x in numbers]
    groups: dict[Rational, set[int]] = {}
    for p, x in enumerate(numbers):
        groups.setdefault(x, set()).add(p)
    bits = digits(numbers)
    if len(bits) < len(groups) - 1:
        sums = [sum(w for s, w in bits if p in s) for p in range(len(numbers))]
        low = sums.index(0)
        step = numbers[sums.index(1)] - numbers[low] if 1 in sums else 0
        if all(x == numbers[low] + step * total for x, total in zip(numbers, sums, strict=True)):
            return [frozenset(p for p in s if isinstance(p, int)) for s, _ in bits]
    return [frozenset(g) for g in groups.values()]


@functools.lru_cache(maxsize=1 << 12)
def _whole(values: tuple[Hashable, ...]) -> list[int]:
    plain = [Fraction(x) for x in values if isinstance(x, int | Fraction)]
    if len(plain) == len(values) and plain:
        least = min(plain)
        step = min((x - least for x in plain if x > least), default=Fraction(1))
        whole = [(x - least) / step for x in plain]
        if all(x.denominator == 1 for x in whole) and max(whole) < 4 * len(set(whole)):
            return [int(x) for x in whole]
    first: dict[Hashable, int] = {}
    return [first.setdefault(x, len(first)) for x in values]


def coded(machine: Machine, code: Code) -> int:
    """The machine's function as one of the code's bits and the outside variables; unused codes act like a used one."""
    d = machine.diagrams

    def build(at: int, states: list[int]) -> int:
        if len(states) == 1 or at == len(code.bits):
            return machine.functions[states[0]]
        variable, members = code.bits[at]
        parts = [[q for q in states if q not in members], [q for q in states if q in members]]
        if not parts[0] or not parts[1]:
            return build(at + 1, parts[0] or parts[1])
        return d.case(variable, [build(at + 1, p) for p in parts])

    return build(0, list(range(machine.size)))


def _partitions(machine: Machine) -> Iterator[list[Hashable]]:
    """Partitions of the control states that every letter respects: the least that put a pair of states together."""
    joint = machine.diagrams.combine(machine.functions)
    n = machine.size
    letters = [[leaf.next for leaf in row if isinstance(leaf, Leaf)] for row in machine.diagrams.leaves(joint)
               if isinstance(row, tuple)]
    seen: set[tuple[int, ...]] = set()
    for a in range(n):
        for b in range(a + 1, n):
            block = list(range(n))

            def find(q: int, block: list[int] = block) -> int:
                while block[q] != q:
                    q = block[q]
                return q

            todo = [(a, b)]
            while todo:
                x, y = (find(q) for q in todo.pop())
                if x != y:
                    block[max(x, y)] = min(x, y)
                    todo += [(row[x], row[y]) for row in letters]
            roots = tuple(find(q) for q in range(n))
            if len(set(roots)) > 1 and roots not in seen:
                seen.add(roots)
                yield list(roots)
                if len(seen) == _MOST_PARTITIONS:
                    return


def _places(block: Sequence[Hashable]) -> list[Hashable]:
    """The place of each state in its block."""
    count: dict[Hashable, int] = {}
    out: list[Hashable] = []
    for b in block:
        out.append(count.setdefault(b, 0))
        count[b] += 1
    return out


class LinearSpan:
    """What sums of sets and constants can be, over the places 0 … n − 1; modulo a prime, so that it is quick."""

    def __init__(self, places: int) -> None:
        self._pivots: list[tuple[int, list[int]]] = []
        self.add([1] * places)

    def add(self, row: Sequence[int]) -> bool:
        """Adds a row; whether it was not in the span before."""
        left = list(row)
        for at, pivot in self._pivots:
            factor = left[at]
            if factor:
                left = [(a - factor * b) % _PRIME for a, b in zip(left, pivot, strict=True)]
        lead = next((i for i, x in enumerate(left) if x), None)
        if lead is None:
            return False
        inverse = pow(left[lead], -1, _PRIME)
        self._pivots.append((lead, [x * inverse % _PRIME for x in left]))
        return True


def combination(sets: Sequence[frozenset[Hashable]], values: Sequence[Hashable],
                wanted: Sequence[Rational]) -> tuple[list[Rational], Rational] | None:
    """Coefficients c and a bias with Σ c · [value ∈ set] + bias = wanted at every value; None if there are none."""
    columns = tuple(tuple(int(v in s) for v in values) for s in sets)
    found = _solved(columns, tuple(wanted))
    return None if found is None else (list(found[:-1]), found[-1])


@functools.lru_cache(maxsize=1 << 14)
def _solved(columns: tuple[tuple[int, ...], ...], wanted: tuple[Rational, ...]) -> tuple[Rational, ...] | None:
    """Gauss and Jordan on whole numbers. Returns the columns' coefficients and the bias."""
    n = len(columns)
    if all(x == wanted[0] for x in wanted):
        return (*([0] * n), wanted[0])
    for i, column in enumerate(columns):
        if len(set(zip(column, wanted, strict=True))) == 2 and len(set(column)) == 2:
            base, top = wanted[column.index(0)], wanted[column.index(1)]
            return (*(top - base if j == i else 0 for j in range(n)), base)
    scale = math.lcm(*(x.denominator for x in wanted))
    pivots: list[tuple[int, list[int]]] = []
    for place, target in enumerate(wanted):
        row = [*(column[place] for column in columns), 1, int(target * scale)]
        for at, pivot in pivots:
            if row[at]:
                row = reduced_row(row, at, pivot)
        lead = next((i for i in range(n + 1) if row[i]), None)
        if lead is None:
            if row[-1]:
                return None
            continue
        pivots = [(at, reduced_row(p, lead, row) if p[lead] else p) for at, p in pivots]
        pivots.append((lead, row))
    solution: list[Rational] = [0] * (n + 1)
    for at, pivot in pivots:
        exact = Fraction(pivot[-1], pivot[at] * scale)
        solution[at] = int(exact) if exact.denominator == 1 else exact
    return tuple(solution)


def reduced_row(row: list[int], at: int, pivot: list[int]) -> list[int]:
    """The row with a multiple of the pivot taken off, so that it is 0 in place `at`; without a common factor."""
    a, b = pivot[at], row[at]
    out = [a * x - b * y for x, y in zip(row, pivot, strict=True)]
    common = math.gcd(*out)
    return [x // common for x in out] if common > 1 else out
