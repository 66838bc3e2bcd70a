"""Cascades of random and of named automata, against oracles that know nothing of cascades."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsrl.analysis.cascade import (
    Cascade,
    Component,
    GroupLeft,
    TooLargeError,
    cascades,
    check,
    decompose,
    side_by_side,
)
from lsrl.analysis.cascade_logic import cover_of, find_latches
from lsrl.analysis.cascade_traps import split_traps

Table = NDArray[np.int64]


def table_of(rows: Sequence[Sequence[int]]) -> Table:
    return np.array(rows, np.int64)


def reachable(table: Table, start: int = 0) -> set[int]:
    found = {start}
    work = [start]
    while work:
        for to in table[work.pop()].tolist():
            if to >= 0 and to not in found:
                found.add(to)
                work.append(to)
    return found


def cycle_lengths(table: Table) -> set[int]:
    """The lengths of the cycles of all words on the reachable states: brute force over the monoid of partial maps."""
    states = sorted(reachable(table))
    letters = [{q: int(table[q, x]) for q in states if table[q, x] >= 0} for x in range(table.shape[1])]
    start = tuple((q, q) for q in states)
    seen = {start}
    work = [start]
    lengths = set()
    while work:
        word = dict(work.pop())
        for q in word:
            at, steps = word[q], 1
            while at != q and at in word and steps <= len(states):
                at, steps = word[at], steps + 1
            if at == q:
                lengths.add(steps)
        for letter in letters:
            new = tuple((q, letter[to]) for q, to in word.items() if to in letter)
            if new not in seen:
                seen.add(new)
                work.append(new)
    return lengths


def words(table: Table, count: int, length: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """Random words that can occur, each with the states it goes through."""
    rng = random.Random(seed)
    out = []
    for _ in range(count):
        q, word, states = 0, [], [0]
        for _ in range(length):
            options = [x for x in range(table.shape[1]) if table[q, x] >= 0]
            if not options:
                break
            x = rng.choice(options)
            q = int(table[q, x])
            word.append(x)
            states.append(q)
        out.append((word, states))
    return out


def follows(cascade: Cascade, table: Table, seed: int = 0) -> None:
    """The cascade's tuples of values stand for the automaton's states along random words."""
    for word, states in words(table, 8, 40, seed):
        assert list(cascade.run(word)) == states


def latches_follow(cascade: Cascade, table: Table, seed: int = 0) -> tuple[int, int]:
    """The latches show the state before every token of random words; how many they are, and how deep."""
    wanted: dict[Hashable, list[list[int | None]]] = {
        "state": [[q if to >= 0 else None for to in row] for q, row in enumerate(table.tolist())]}
    found = find_latches(cascade, wanted)
    for word, states in words(table, 8, 40, seed):
        for latches in (found, split_traps(found)):
            bits = [latch.start for latch in latches.latches]
            for x, q in zip(word, states, strict=False):
                assert latches.shows["state"].value(x, bits) == q
                bits = [latch.next(bits[i], x, bits) for i, latch in enumerate(latches.latches)]
    return len(found.latches), found.depth


@st.composite
def tables(draw: st.DrawFn, partial: bool) -> Table:
    n, k = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    # Maps that only keep states or move them down are often aperiodic; plain ones seldom are.
    ordered = draw(st.booleans())
    rows = [[draw(st.integers(-1 if partial else 0, q if ordered and x else n - 1)) for x in range(k)]
            for q in range(n)]
    return table_of(rows)


@pytest.mark.parametrize("partial", [False, True])
@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_cascade_without_groups_is_found_iff_the_automaton_is_aperiodic(partial: bool, data: st.DataObject) -> None:
    table = data.draw(tables(partial))
    lengths = cycle_lengths(table)
    found = decompose(table)
    if lengths <= {1}:
        assert isinstance(found, Cascade)
        assert found.aperiodic
        follows(found, table)
        latches_follow(found, table)
    else:
        assert isinstance(found, GroupLeft)
        assert found.words
        for word, g in found.words:
            assert g != tuple(range(len(g)))
            for states, to in zip(found.classes, g, strict=True):
                for q in states:
                    for x in word:
                        q = int(table[q, x]) if q >= 0 else -1
                    assert q < 0 or q in found.classes[to]


@pytest.mark.parametrize("partial", [False, True])
@given(st.data())
@settings(max_examples=100, deadline=None)
def test_swaps_suffice_iff_all_cycles_have_lengths_of_powers_of_two(partial: bool, data: st.DataObject) -> None:
    """A finite group is a 2-group iff the orders of its elements are powers of 2 (Cauchy)."""
    table = data.draw(tables(partial))
    found = decompose(table, groups="two")
    if cycle_lengths(table) <= {1, 2, 4}:
        assert isinstance(found, Cascade)
        assert all(c.size == 2 for c in found.components)
        follows(found, table)
        latches_follow(found, table)
    else:
        assert isinstance(found, GroupLeft)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_with_any_groups_every_automaton_has_a_cascade(data: st.DataObject) -> None:
    table = data.draw(tables(True))
    found = cascades(table, groups="any")
    assert not isinstance(found, GroupLeft)
    for cascade in found:
        follows(cascade, table)


def saturating(n: int) -> Table:
    return table_of([[max(i - 1, 0), min(i + 1, n)] for i in range(n + 1)])


FLIP_FLOP = table_of([[0, 1, 0], [1, 1, 0]])
REGISTER = table_of([[s, *range(7)] for s in range(7)])
GREATEST = table_of([[max(i, x) for x in range(16)] for i in range(16)])
STAIRS = table_of([[s, min(s + 1, 9)] for s in range(10)])
IN_ORDER = table_of([*([s if x == s else x if x > s else 4 for x in range(4)] for s in range(4)), [4] * 4])
DEPTH = table_of([[i - 1, i + 1 if i < 6 else -1] for i in range(7)])


def window(k: int) -> Table:
    return table_of([[s * 2 % 2**k, (s * 2 + 1) % 2**k] for s in range(2**k)])


def flags(k: int) -> Table:
    return table_of([[s | 1 << b if on else s & ~(1 << b) for b in range(k) for on in (0, 1)] for s in range(2**k)])


@pytest.mark.parametrize("table, latches, depth", [
    (FLIP_FLOP, 1, 1), (REGISTER, 3, 1), (GREATEST, 4, 4), (IN_ORDER, 3, 3), (window(2), 2, 2), (window(5), 5, 5),
    (flags(3), 3, 1), (flags(5), 5, 1),
    # A letter that needs i steps to come to rest needs i latches: each can change once after those above it rest.
    (saturating(3), 3, 3), (saturating(8), 8, 8), (STAIRS, 9, 9), (DEPTH, 6, 6)])
def test_known_automata_have_small_cascades(table: Table, latches: int, depth: int) -> None:
    found = decompose(table)
    assert isinstance(found, Cascade)
    follows(found, table)
    assert latches_follow(found, table) == (latches, depth)


def test_large_automata_are_decomposed() -> None:
    for table, bits in ((saturating(31), 31), (window(6), 6), (flags(6), 6)):
        found = decompose(table)
        assert isinstance(found, Cascade)
        assert found.bits == bits


def group_table(elements: Sequence[tuple[int, ...]], generators: Sequence[tuple[int, ...]]) -> Table:
    """The group acting on itself: state g goes to g·x."""
    place = {g: i for i, g in enumerate(elements)}
    return table_of([[place[tuple(x[i] for i in g)] for x in generators] for g in elements])


def closed(generators: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    found = [tuple(range(len(generators[0])))]
    for g in found:
        for x in generators:
            new = tuple(x[i] for i in g)
            if new not in found:
                found.append(new)
    return found


D4 = [(1, 2, 3, 0), (3, 2, 1, 0)]
# i and j of the quaternions on 1, -1, i, -i, j, -j, k, -k.
Q8 = [(2, 3, 1, 0, 7, 6, 4, 5), (4, 5, 6, 7, 1, 0, 3, 2)]


@pytest.mark.parametrize("generators, order, bits", [([(1, 0)], 2, 1), ([(1, 2, 3, 0)], 4, 2), (D4, 8, 3), (Q8, 8, 3),
                                                     ([tuple((i + 1) % 8 for i in range(8))], 8, 3)])
@pytest.mark.parametrize("resets", [False, True])
def test_two_groups_split_into_swaps(generators: list[tuple[int, ...]], order: int, bits: int, resets: bool) -> None:
    elements = closed(generators)
    assert len(elements) == order
    table = group_table(elements, generators)
    if resets:
        table = np.concatenate([table, np.zeros((order, 1), np.int64)], axis=1)
    found = decompose(table, groups="two")
    assert isinstance(found, Cascade)
    follows(found, table)
    assert latches_follow(found, table)[0] == bits
    left = decompose(table)
    assert isinstance(left, GroupLeft)
    assert left.group is not None and set(left.group.factors) == {"Z2"}


@pytest.mark.parametrize("generators, name", [([(1, 2, 0)], "Z3"), ([(1, 0, 2), (1, 2, 0)], "S3"),
                                              ([(1, 2, 3, 4, 0), (1, 2, 0, 3, 4)], "A5"),
                                              ([(1, 2, 3, 4, 0), (1, 0, 2, 3, 4)], "S5"),
                                              ([tuple((i + 1) % 6 for i in range(6))], "Z6")])
@pytest.mark.parametrize("groups", ["none", "two"])
def test_other_groups_are_named(generators: list[tuple[int, ...]], name: str, groups: str) -> None:
    """On its points the group itself remains, or a quotient of it where that is the first found."""
    n = len(generators[0])
    table = table_of([[g[i] for g in generators] for i in range(n)])
    left = decompose(table, groups=groups)
    assert isinstance(left, GroupLeft)
    assert left.name == name
    assert list(left.classes) == [(q,) for q in range(n)]
    assert isinstance(decompose(table, groups="any"), Cascade)


def test_what_cannot_occur_makes_no_group() -> None:
    """Merging states that never meet the same letter would give a counter modulo something."""
    found = decompose(DEPTH)
    assert isinstance(found, Cascade)
    full = DEPTH.copy()
    full[0, 0], full[6, 1] = 6, 0
    left = decompose(full)
    assert isinstance(left, GroupLeft) and left.name == "Z7"


def test_a_clock_above_all_components() -> None:
    """The letter is stored at even times only; for two tokens, which takes two delays."""
    table = table_of([[2, 3], [2, 3], [0, 0], [1, 1]])
    assert isinstance(decompose(table), GroupLeft)
    found = decompose(table, groups="delay", clock=2)
    assert isinstance(found, Cascade)
    assert found.bits == 2 and found.clock == 2
    assert all(len(set(a)) == 1 for c in found.components for row in c.action for a in row if a is not None)
    follows(found, table)


def test_automata_beyond_the_limits_are_refused() -> None:
    with pytest.raises(TooLargeError, match="300 states"):
        decompose(table_of([[min(q + 1, 299)] for q in range(300)]))
    with pytest.raises(ValueError, match="groups"):
        decompose(FLIP_FLOP, groups="three")


@pytest.mark.parametrize("table", [saturating(4), REGISTER, IN_ORDER, window(3), DEPTH])
def test_check_finds_every_change_that_matters(table: Table) -> None:
    """An action changed to another value, or a child to another node: refused unless words run as before."""
    found = decompose(table)
    assert isinstance(found, Cascade)
    check(found, table)
    refused = 0
    for at, c in enumerate(found.components):
        for n, row in enumerate(c.action):
            for x, action in enumerate(row):
                for new in ((0, 0), (1, 1), (0, 1)):
                    if action is None or new == action:
                        continue
                    changed = tuple(new if (i, y) == (n, x) else a for i, r in enumerate(c.action)
                                    for y, a in enumerate(r))
                    k = len(row)
                    action_table = tuple(changed[i * k : (i + 1) * k] for i in range(len(c.action)))
                    other = replace(found, components=(*found.components[:at],
                                                       Component(c.size, c.start, action_table, c.child),
                                                       *found.components[at + 1 :]))
                    try:
                        check(other, table)
                    except AssertionError:
                        refused += 1
                    else:
                        follows(other, table)
    assert refused > len(found.components)
    wrong = replace(found, state_of=found.state_of[1:] + found.state_of[:1])
    with pytest.raises(AssertionError):
        check(wrong, table)


@given(st.dictionaries(st.tuples(*[st.booleans()] * 4), st.booleans(), min_size=1))
@settings(max_examples=200, deadline=None)
def test_covers_agree_with_what_is_known(rows: dict[tuple[bool, ...], bool]) -> None:
    terms = cover_of(rows, 4)
    for bits, value in rows.items():
        assert any(all(bits[i] == on for i, on in term) for term in terms) == value
    # No product can be left out.
    for left in range(len(terms)):
        rest = [t for i, t in enumerate(terms) if i != left]
        assert any(value and not any(all(bits[i] == on for i, on in t) for t in rest) for bits, value in rows.items())


def test_all_permutations_of_three_points_need_more_than_swaps() -> None:
    elements = list(permutations(range(3)))
    table = group_table(elements, [(1, 0, 2), (1, 2, 0)])
    found = decompose(table, groups="any")
    assert isinstance(found, Cascade)
    assert sorted(c.size for c in found.components) == [2, 3]
    assert all(len(set(a)) == c.size for c in found.components for row in c.action for a in row if a is not None)
    assert len({found.state(v) for v in product(*(range(c.size) for c in found.components))}) == 6


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_products_have_cascades_side_by_side(data: st.DataObject) -> None:
    """Of two automata that run together, under letters of both."""
    first, second = data.draw(tables(False)), data.draw(tables(False))
    n, k = len(second), min(first.shape[1], second.shape[1])
    joint = table_of([[int(first[p, x]) * n + int(second[q, x]) for x in range(k)]
                      for p in range(len(first)) for q in range(n)])
    found = side_by_side(joint)
    if found is not None:
        assert found.aperiodic
        follows(found, joint)
        latches_follow(found, joint)


@pytest.mark.parametrize("n", [3, 4, 9, 16])
def test_a_running_maximum_is_thresholds_side_by_side(n: int) -> None:
    """One latch for each threshold, none of which reads another."""
    found = side_by_side(table_of([[max(q, x) for x in range(n)] for q in range(n)]))
    assert found is not None
    latches = find_latches(found, {"state": [[q] * n for q in range(n)]})
    assert (len(latches.latches), latches.depth) == (n - 1, 1)
    assert latches.latches[0].reads == ()


def test_an_automaton_that_is_no_product_has_none() -> None:
    """A counter that stays between two ends has no congruence but the trivial ones."""
    assert side_by_side(table_of([[max(q - 1, 0), min(q + 1, 4)] for q in range(5)])) is None


def test_what_two_ways_lead_into_for_good_is_two_latches() -> None:
    """(10)*: the last letter, and whether two letters in a row have ever been alike; for that there are two ways."""
    table = np.array([[2, 1], [0, 2], [2, 2]])
    cascade = decompose(table)
    assert isinstance(cascade, Cascade)
    found = find_latches(cascade, {"accepts": [[q == 0] * 2 for q in range(3)]})
    split = split_traps(found)
    assert (len(found.latches), len(split.latches)) == (2, 3)
    assert [len(latch.set) for latch in split.latches[1:]] == [1, 1]
    for word, states in words(table, 8, 12, 3):
        bits = [latch.start for latch in split.latches]
        for x, q in zip(word, states, strict=False):
            assert split.shows["accepts"].value(x, bits) == (q == 0)
            bits = [latch.next(bits[i], x, bits) for i, latch in enumerate(split.latches)]
