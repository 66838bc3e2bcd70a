"""Definite automata under a clock, against a search over all words."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsrl.analysis.cascade import Cascade, decompose
from lsrl.analysis.cascade_definite import Definite, NotDefinite, definite_or_clock

Table = NDArray[np.int64]


def decides(table: Table, depth: int, clock: int, length: int) -> bool:
    """Whether the last letters and the time decide the state, on all words of up to `length` letters."""
    known: dict[tuple[int, tuple[int, ...]], int] = {}
    for n in range(depth, length + 1):
        for word in product(range(table.shape[1]), repeat=n):
            q = 0
            for x in word:
                q = int(table[q, x]) if q >= 0 else -1
            if q >= 0 and known.setdefault((n % clock, word[n - depth :]), q) != q:
                return False
    return True


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Random automata; half of them a window of letters beside a clock, some pairs of which cannot occur."""
    k = draw(st.integers(1, 2))
    if draw(st.booleans()):
        n = draw(st.integers(1, 5))
        return np.array([[draw(st.integers(-1, n - 1)) for _ in range(k)] for _ in range(n)], np.int64)
    depth, clock = draw(st.integers(0, 2)), draw(st.integers(1, 3))
    size = k**depth
    rows = [[(t + 1) % clock * size + (w * k + x) % size for x in range(k)] for t in range(clock) for w in range(size)]
    for row in rows:
        if k > 1 and draw(st.integers(0, 5)) == 0:
            row[draw(st.integers(0, k - 1))] = -1
    return np.array(rows, np.int64)


@given(tables())
@settings(max_examples=150, deadline=None)
def test_the_least_window_and_clock(table: Table) -> None:
    found = definite_or_clock(table)
    longest = 9
    if isinstance(found, Definite):
        assert found.depth <= longest - 2 * found.clock
        assert decides(table, found.depth, found.clock, longest)
        if found.depth:
            assert not decides(table, found.depth - 1, found.clock, longest)
        for clock in range(1, found.clock):
            assert not any(decides(table, depth, clock, longest) for depth in range(found.depth + 1))
        for length in range(found.depth, 8):
            for word in product(range(table.shape[1]), repeat=length):
                q = 0
                for x in word:
                    q = int(table[q, x]) if q >= 0 else -1
                if q >= 0:
                    assert found.state(word[length - found.depth :], length) == q
        cascade = decompose(table, groups="delay", clock=found.clock)
        assert isinstance(cascade, Cascade)
        assert all(len(set(a)) == 1 for c in cascade.components for row in c.action for a in row if a is not None)
    else:
        a = b = 0
        for x in found.first:
            a = int(table[a, x])
        for x in found.second:
            b = int(table[b, x])
        assert found.loop
        for _ in range(20):
            assert a >= 0 and b >= 0 and a != b
            for x in found.loop:
                a, b = int(table[a, x]), int(table[b, x])


@pytest.mark.parametrize("rows, depth, clock", [
    ([[0]], 0, 1), ([[1], [0]], 0, 2), ([[1], [2], [3], [1]], 1, 3), ([[0, 1], [0, 1]], 1, 1),
    ([[0, 1], [2, 3], [0, 1], [2, 3]], 2, 1), ([[2, 3], [2, 3], [0, 0], [1, 1]], 2, 2)])
def test_known_automata(rows: list[list[int]], depth: int, clock: int) -> None:
    """Nothing, two clocks (one that starts late: its first token counts as a letter), two windows, a sampler."""
    found = definite_or_clock(np.array(rows, np.int64))
    assert isinstance(found, Definite)
    assert (found.depth, found.clock) == (depth, clock)
    with pytest.raises(ValueError, match="window"):
        Definite(1, 1, ((0,),), found.table).state((), 0)


@pytest.mark.parametrize("rows", [[[0, 1, 0], [1, 1, 0]], [[0, 1], [1, 0]], [[0, 1], [0, 2], [1, 2]]])
def test_flip_flops_parity_and_counters_are_not_definite(rows: list[list[int]]) -> None:
    assert isinstance(definite_or_clock(np.array(rows, np.int64)), NotDefinite)
