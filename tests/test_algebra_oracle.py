"""The oracle of what hosts what, against itself: each decision procedure beside the definition of what it decides."""

from __future__ import annotations

import random
from itertools import permutations, product

import numpy as np
import pytest

from lsrl.analysis.algebra import algebra_of
from lsrl.backends.registry import TARGETS
from tests.algebra_oracle import (
    RULES,
    Facts,
    Machine,
    Table,
    facts_of,
    group_orders,
    least_clock,
    monoid,
    permutation_reset,
    reduced,
    turned,
)
from tests.random_machines import KINDS, random_machine

NONLINEAR = {"lstm", "gru", "rnn_tanh", "rnn_relu", "slstm", "bilinear", "delta"}
DIAGONAL = {"mingru", "minlstm", "hgrn", "gla", "mlstm", "rwkv", "mamba", "rglru", "gateloop"}
CONSTANT = {"linear", "lru", "retnet"}


def by_letters(*letters: tuple[int, ...]) -> Table:
    return tuple(zip(*letters, strict=True))


def shown(table: Table, start: int = 0) -> Machine:
    """A machine that shows its state."""
    return Machine(table, table, start)


def tables(count: int, seed: int) -> list[Table]:
    rng = random.Random(seed)
    return [random_machine(rng, 5)[1].next for _ in range(count)]


PARITY = by_letters((0, 1), (1, 0))
LATCH = by_letters((0, 1), (0, 0), (1, 1))
MODULO_3 = by_letters((1, 2, 0), (0, 1, 2))
CLOCK_4 = by_letters((1, 2, 3, 0))
WINDOW_2 = by_letters((0, 2, 0, 2), (1, 3, 1, 3))
S3 = by_letters((1, 2, 0), (1, 0, 2))
A5 = by_letters((1, 2, 0, 3, 4), (1, 2, 3, 4, 0))
T4 = by_letters((1, 2, 3, 0), (1, 0, 2, 3), (0, 0, 2, 3))  # all maps of four states
UP_DOWN = by_letters((1, 2, 2), (0, 0, 1))


@pytest.mark.parametrize("table, facts, hosts", [
    (PARITY, Facts(2, frozenset({2}), None, True), NONLINEAR | {"gateloop"}),
    (LATCH, Facts(2, frozenset(), None, True), NONLINEAR | DIAGONAL),
    (MODULO_3, Facts(3, frozenset({3}), None, True), NONLINEAR),
    (by_letters((1, 0), (1, 0)), Facts(2, frozenset({2}), 2, True), NONLINEAR | CONSTANT | {"gateloop"}),
    (CLOCK_4, Facts(4, frozenset({2}), 4, True), NONLINEAR | {"gateloop", "linear"}),
    (WINDOW_2, Facts(4, frozenset(), 1, False), set(RULES)),
    (S3, Facts(3, frozenset({2, 3}), None, True), NONLINEAR),
    (A5, Facts(5, frozenset({2, 3, 5}), None, True), NONLINEAR),
    (T4, Facts(4, frozenset({2, 3}), None, False), NONLINEAR - {"delta"}),
    (UP_DOWN, Facts(3, frozenset(), None, False), NONLINEAR | DIAGONAL),
], ids=["parity", "latch", "modulo 3", "clock 2", "clock 4", "window", "S3", "A5", "all maps", "up and down"])
def test_known_machines(table: Table, facts: Facts, hosts: set[str]) -> None:
    # The bit of the state beside it keeps the least machine the whole one where the last letter says the state.
    machine = Machine(table, tuple(tuple((q, to) for to in row) for q, row in enumerate(table)))
    assert facts_of(machine) == facts
    assert {t for t, rule in RULES.items() if rule(facts)} == hosts


def test_known_monoids_and_groups() -> None:
    for table, size, orders in ((PARITY, 2, {2}), (LATCH, 3, {1}), (S3, 6, {6}), (A5, 60, {60}),
                                (T4, 256, {1, 2, 6, 24})):
        elements = monoid(table)
        assert elements is not None
        assert (len(elements), group_orders(elements)) == (size, orders)
    assert monoid(S3) == set(permutations(range(3)))
    assert monoid(T4, 255) is None and len(monoid(T4, 256) or ()) == 256


def test_every_target_has_a_rule() -> None:
    assert set(RULES) >= set(TARGETS)


def test_the_monoid_has_what_every_word_does() -> None:
    for table in tables(20, 1):
        elements = monoid(table)
        assert elements is not None
        done = set()
        for length in range(6):
            for word in product(range(len(table[0])), repeat=length):
                states = tuple(range(len(table)))
                for x in word:
                    states = tuple(table[q][x] for q in states)
                done.add(states)
        assert done <= elements
        assert all(tuple(b[q] for q in a) in elements for a in done for b in done)


def test_group_orders_are_those_of_sets_with_inverses() -> None:
    for table in tables(60, 2):
        elements = monoid(table, 150)
        if elements is None:
            continue
        orders = set()
        for e in elements:
            if tuple(e[q] for q in e) == e:
                local = {m for m in elements if tuple(e[m[e[q]]] for q in range(len(e))) == m}
                orders.add(sum(any(tuple(n[q] for q in m) == e == tuple(m[q] for q in n) for n in local)
                               for m in local))
        assert group_orders(elements) == orders


def test_circles_of_states_are_the_primes_of_the_groups() -> None:
    for table in tables(150, 3):
        elements = monoid(table)
        assert elements is not None
        orders = group_orders(elements)
        assert turned(table) == {p for p in (2, 3, 5) if any(n % p == 0 for n in orders)}
        assert (not turned(table)) == all(_settles(m) for m in elements)


def _settles(m: tuple[int, ...]) -> bool:
    """Whether m^(i + 1) = m^i for some i."""
    power = m
    for _ in m:
        power = tuple(m[q] for q in power)
    return tuple(m[q] for q in power) == power


def test_the_least_clock_is_the_least_that_decides_long_words() -> None:
    """Against all words of two lengths of one time modulo c, and the state that each of their ends says."""
    seen = set()
    for table in tables(120, 4):
        if len(table[0]) > 3:
            continue
        found = least_clock(table)
        seen.add(found)
        decided = [c for c in range(1, 6) if _decides(table, c)]
        assert found == (decided[0] if decided else None)
    assert {None, 1, 2} <= seen


def _decides(table: Table, clock: int) -> bool:
    """Whether pasts of up to 12 letters whose lengths differ by a multiple of c do not matter 10 letters later.

    10 letters are as many as there are pairs of 5 states, so that a difference that outlasts them lasts.
    """
    k, n = len(table[0]), len(table)
    after = [{0}]
    for _ in range(12):
        after.append({table[q][x] for q in after[-1] for x in range(k)})
    pairs = {(p, q) for s in range(13) for t in range(s, 13, clock) for p in after[s] for q in after[t]}
    for _ in range(n * (n - 1) // 2 + 1):
        pairs = {(table[p][x], table[q][x]) for p, q in pairs for x in range(k)}
    return all(p == q for p, q in pairs)


def test_least_machines_answer_alike_and_have_no_equal_states() -> None:
    rng = random.Random(5)
    for _ in range(60):
        n, k = rng.randint(1, 7), rng.randint(1, 3)
        table = tuple(tuple(rng.randrange(n) for _ in range(k)) for _ in range(n))
        output = tuple(tuple(rng.randrange(2) for _ in range(k)) for _ in range(n))
        machine = Machine(table, output, rng.randrange(n))
        least = reduced(machine)
        for _ in range(20):
            p, q = machine.start, 0
            for _ in range(15):
                x = rng.randrange(k)
                assert machine.output[p][x] == least.output[q][x]
                p, q = table[p][x], least.next[q][x]
        assert reduced(least) == least
        words = list(product(range(k), repeat=len(least.next)))
        answers = {tuple(_answers(least, q, w) for w in words) for q in range(len(least.next))}
        assert len(answers) == len(least.next)


def _answers(machine: Machine, q: int, word: tuple[int, ...]) -> tuple[object, ...]:
    out = []
    for x in word:
        out.append(machine.output[q][x])
        q = machine.next[q][x]
    return tuple(out)


def test_the_analysis_agrees() -> None:
    """What `lsrl explain` says of an automaton is what the oracle says."""
    for table in tables(120, 6):
        said = algebra_of(np.array(table))
        elements = monoid(table)
        assert elements is not None
        assert (said.size, said.aperiodic) == (len(elements), not turned(table))
        assert {g.order for g in said.groups} == group_orders(elements) - {1}
        assert permutation_reset(table) == all(x.kind in ("identity", "permutation", "constant") for x in said.letters)


def test_random_machines_are_of_all_kinds_and_facts() -> None:
    rng = random.Random(7)
    seen: dict[str, list[Facts]] = {}
    for _ in range(100):
        kind, machine = random_machine(rng)
        assert reduced(machine) == machine and 2 <= len(machine.next) <= 8 and 2 <= machine.letters <= 4
        seen.setdefault(kind, []).append(facts_of(machine))
    assert set(seen) == set(KINDS)
    for kind in ("rising", "cascade of resets"):
        assert all(f.aperiodic for f in seen[kind])
    assert all(f.halves for f in seen["cascade of resets and swaps"])
    assert all(f.clock is not None for f in seen["definite"])
    assert all(f.resets for kind in ("permutations", "permutations and resets") for f in seen[kind])
    for name, rule in RULES.items():
        assert name in NONLINEAR or {rule(f) for fs in seen.values() for f in fs} == {True, False}
