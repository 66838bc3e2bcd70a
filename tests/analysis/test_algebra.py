"""The algebra of automata: known monoids and groups, and brute force on small random ones."""

from __future__ import annotations

import random
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from lsrl.analysis.algebra import Algebra, algebra_of, analyse_letters
from lsrl.analysis.groups import closure, cycle_lengths, describe_group

Map = tuple[int, ...]


def table_of(*letters: Map) -> NDArray[np.int64]:
    return np.array(letters, np.int64).T


def word_problem(*generators: Map) -> NDArray[np.int64]:
    """The automaton that multiplies permutations: its states are the group's elements."""
    elements = closure([np.array(g) for g in generators], len(generators[0]))
    assert elements is not None
    place = {e.tobytes(): i for i, e in enumerate(elements)}
    return np.array([[place[np.array(g)[e].tobytes()] for g in generators] for e in elements])


def names(a: Algebra) -> list[str]:
    return [g.name for g in a.groups]


S5 = ((1, 0, 2, 3, 4), (1, 2, 3, 4, 0))
A5 = ((1, 2, 0, 3, 4), (1, 2, 3, 4, 0))
A4_TIMES_Z5 = ((1, 2, 0, 3, 4, 5, 6, 7, 8), (1, 0, 3, 2, 4, 5, 6, 7, 8), (0, 1, 2, 3, 5, 6, 7, 8, 4))


def test_parity() -> None:
    a = algebra_of(table_of((0, 1), (1, 0)))
    assert (a.size, a.commutative, a.idempotent, a.aperiodic, a.reset, a.permutation) == (2, True, False, False, False,
                                                                                        True)
    assert names(a) == ["Z2"] and a.cyclic_orders == (2,) and a.solvable is True
    assert [x.kind for x in a.letters] == ["identity", "permutation"]


@pytest.mark.parametrize("k", [3, 4, 6, 60])
def test_counting_modulo(k: int) -> None:
    a = algebra_of(np.array([[(q + 1) % k] for q in range(k)]))
    assert (a.size, a.commutative, a.aperiodic, a.permutation) == (k, True, False, True)
    assert names(a) == [f"Z{k}"]
    assert a.groups[0].orders == tuple(d for d in range(2, k + 1) if k % d == 0)


def test_word_problems_of_groups() -> None:
    s5, a5, product = (algebra_of(word_problem(*g)) for g in (S5, A5, A4_TIMES_Z5))
    assert (s5.size, names(s5), s5.solvable, s5.simple_groups) == (120, ["S5"], False, ("A5",))
    assert s5.groups[0].factors == ("A5", "Z2")
    assert (a5.size, names(a5), a5.solvable, a5.simple_groups) == (60, ["A5"], False, ("A5",))
    assert (product.size, product.solvable, product.commutative) == (60, True, False)
    assert product.groups[0].factors == ("Z2", "Z2", "Z3", "Z5")


@pytest.mark.parametrize("points, factors", [(3, ("Z2", "Z3")), (4, ("Z2", "Z2", "Z2", "Z3")), (6, ("A6", "Z2"))])
def test_symmetric_groups(points: int, factors: tuple[str, ...]) -> None:
    group = describe_group(np.array(list(permutations(range(points)))))
    assert group.name == f"S{points}" and group.factors == factors


def test_a_group_that_is_perfect_but_not_simple() -> None:
    both = [(*g, *range(5, 10)) for g in A5] + [(*range(5), *(5 + i for i in g)) for g in A5]
    a = algebra_of(table_of(*both))
    assert a.size == 3600 and a.groups[0].factors == ("A5", "A5")


def test_a_simple_group_that_is_not_alternating() -> None:
    # x + 1 and −1 / x on the line of seven elements and a point at infinity.
    a = algebra_of(table_of((1, 2, 3, 4, 5, 6, 0, 7), (7, 6, 3, 2, 5, 4, 1, 0)))
    assert (a.size, names(a)) == (168, ["PSL(2,7)"])


def test_flip_flop_is_reset() -> None:
    a = algebra_of(table_of((0, 0), (1, 1), (0, 1)))
    assert (a.size, a.reset, a.aperiodic, a.idempotent, a.commutative, a.groups) == (3, True, True, True, False, ())
    assert [x.kind for x in a.letters] == ["constant", "constant", "identity"]


def test_tomita_grammars_and_two_words() -> None:
    # (ab)* with a sink: aperiodic, the six maps e, a, b, ab, ba, 0.
    pairs = algebra_of(table_of((1, 2, 2), (2, 0, 2)))
    assert (pairs.size, pairs.aperiodic) == (6, True)
    even = algebra_of(table_of((1, 0)))
    assert (even.size, names(even)) == (2, ["Z2"])
    # Tomita 5: an even number of both letters.
    tomita5 = algebra_of(table_of((1, 0, 3, 2), (2, 3, 0, 1)))
    assert (tomita5.size, tomita5.commutative) == (4, True)
    assert tomita5.groups[0].order == 4 and tomita5.groups[0].orders == (2,)


def test_past_the_limit_single_letters_are_told() -> None:
    seven = (1, 0, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 6, 0)
    a = algebra_of(table_of(*seven), limit=1000)
    assert (a.size, a.aperiodic, a.idempotent, a.solvable, a.permutation) == (None, False, None, None, True)
    assert names(a) == ["Z2", "Z7"]
    whole = algebra_of(table_of(*seven))
    assert (whole.size, names(whole)) == (5040, ["S7"])


def test_letters_of_partial_automata() -> None:
    kinds = analyse_letters(np.array([[1, -1, 0], [0, 0, 1], [-1, 0, 2]]))
    assert [a.kind for a in kinds] == ["permutation", "constant", "identity"]
    assert kinds[0].cycles == (2,)


def compose(f: Map, g: Map) -> Map:
    """First f, then g."""
    return tuple(g[i] for i in f)


def brute_force(letters: list[Map]) -> tuple[set[Map], bool, bool, bool, set[int]]:
    """The monoid, whether it is commutative, idempotent, aperiodic, and the orders of its groups, from definitions."""
    n = len(letters[0])
    monoid: set[Map] = {tuple(range(n))}
    while True:
        more = monoid | {compose(f, g) for f in monoid for g in letters}
        if more == monoid:
            break
        monoid = more
    commutative = all(compose(f, g) == compose(g, f) for f in monoid for g in monoid)
    idempotent = all(compose(f, f) == f for f in monoid)
    aperiodic = True
    orders: set[int] = set()
    for e in (f for f in monoid if compose(f, f) == f):
        local = [compose(compose(e, f), e) for f in monoid]
        group = {f for f in local if any(compose(f, g) == e and compose(g, f) == e for g in local)}
        if len(group) > 1:
            aperiodic = False
            orders.add(len(group))
    return monoid, commutative, idempotent, aperiodic, orders


@pytest.mark.parametrize("seed", range(40))
def test_against_brute_force(seed: int) -> None:
    rng = random.Random(seed)
    n = rng.randint(1, 4)
    letters = [tuple(rng.randrange(n) for _ in range(n)) for _ in range(rng.randint(1, 3))]
    monoid, commutative, idempotent, aperiodic, orders = brute_force(letters)
    a = algebra_of(table_of(*letters))
    assert (a.size, a.commutative, a.idempotent, a.aperiodic) == (len(monoid), commutative, idempotent, aperiodic)
    assert {g.order for g in a.groups} == orders
    assert a.permutation == all(len(set(f)) == n for f in letters)
    assert a.reset == all(f == tuple(range(n)) or len(set(f)) == 1 for f in letters)


def test_cycle_lengths() -> None:
    assert sorted(cycle_lengths(np.array([1, 0, 3, 4, 2, 5]))) == [1, 2, 3]
