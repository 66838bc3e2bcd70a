"""Random least machines of each kind that decides what hosts them, and their graphs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import product

from lsrl.ir.graph import Graph
from tests.algebra_oracle import Machine, Table, reduced
from tests.backends.automata import RandomAutomaton

__all__ = ["KINDS", "graph_of", "random_machine"]


def random_machine(rng: random.Random, most: int = 8) -> tuple[str, Machine]:
    """A kind, and a machine that started as one of it: least, of 2 to `most` states and 2 to 4 letters.

    What it shows is its state, a bit of the state, or a bit of the state and the letter.
    """
    kind = rng.choice(tuple(KINDS))
    while True:
        table = KINDS[kind](rng, rng.randint(2, most), rng.randint(2, 4))
        n, k = len(table), len(table[0])
        bits = [[rng.randrange(2) for _ in range(k)] for _ in range(n)]
        shown = rng.choice(("state", "bit", "both"))
        output = tuple(tuple(to if shown == "state" else bits[to][0] if shown == "bit" else bits[q][x]
                             for x, to in enumerate(row)) for q, row in enumerate(table))
        machine = reduced(Machine(table, output, rng.randrange(n)))
        if 2 <= len(machine.next) <= most:
            return kind, machine


def graph_of(machine: Machine) -> Graph:
    """A program of one input, one state and two tables. The machine's outputs are ints from 0 on."""
    shown = tuple(tuple(int(str(v)) for v in row) for row in machine.output)
    if machine.start != 0:
        raise ValueError("a least machine starts in state 0")
    return RandomAutomaton(machine.next, shown).graph()


def _uniform(rng: random.Random, n: int, k: int) -> Table:
    return tuple(tuple(rng.randrange(n) for _ in range(k)) for _ in range(n))


def _permutations(rng: random.Random, n: int, k: int) -> Table:
    return _by_letters([rng.sample(range(n), n) for _ in range(k)])


def _permutations_and_resets(rng: random.Random, n: int, k: int) -> Table:
    return _by_letters([rng.sample(range(n), n) if x % 2 == 0 else [rng.randrange(n)] * n for x in range(k)])


def _rising(rng: random.Random, n: int, k: int) -> Table:
    """The order of the states is kept by each letter: then no word turns states in a circle."""
    return _by_letters([sorted(rng.randrange(n) for _ in range(n)) for _ in range(k)])


def _by_letters(letters: Sequence[Sequence[int]]) -> Table:
    return tuple(zip(*letters, strict=True))


def _cascade(actions: Callable[[random.Random, int], Sequence[int]]) -> Callable[[random.Random, int, int], Table]:
    """Components, each with an action for each letter and each value of the ones above."""

    def table(rng: random.Random, n: int, k: int) -> Table:
        sizes = rng.choice([s for s in ((2,), (2, 2), (3, 2), (2, 3), (2, 4), (4, 2), (2, 2, 2)) if _size(s) <= n])
        states = list(product(*(range(s) for s in sizes)))
        chosen = [{(above, x): actions(rng, s) for above in product(*(range(a) for a in sizes[:i])) for x in range(k)}
                  for i, s in enumerate(sizes)]
        place = {v: q for q, v in enumerate(states)}
        return tuple(tuple(place[tuple(chosen[i][v[:i], x][v[i]] for i in range(len(sizes)))] for x in range(k))
                     for v in states)

    return table


def _size(sizes: Sequence[int]) -> int:
    out = 1
    for s in sizes:
        out *= s
    return out


def _reset(rng: random.Random, size: int) -> Sequence[int]:
    return range(size) if rng.random() < 0.5 else [rng.randrange(size)] * size


def _reset_or_swap(rng: random.Random, size: int) -> Sequence[int]:
    """Sizes above 2 by two halves that are swapped, so that all groups are 2-groups."""
    return [q ^ 1 if q ^ 1 < size else q for q in range(size)] if rng.random() < 0.4 else _reset(rng, size)


def _reset_or_permutation(rng: random.Random, size: int) -> Sequence[int]:
    return rng.sample(range(size), size) if rng.random() < 0.5 else _reset(rng, size)


def _definite(rng: random.Random, n: int, k: int) -> Table:
    """A window of letters, or of a function of them, beside a clock."""
    values = rng.randint(2, min(k, n))
    depth = rng.choice([d for d in (1, 2, 3) if values**d <= n])
    clock = rng.randint(1, n // values**depth)
    size = values**depth
    code = [x if x < values else rng.randrange(values) for x in range(k)]
    return tuple(tuple((t + 1) % clock * size + (w * values + (c + t * (t % 2)) % values) % size for c in code)
                 for t in range(clock) for w in range(size))


def _counter(rng: random.Random, n: int, k: int) -> Table:
    """Steps of 1 up, down or none, and resets; it stops at its ends or goes round."""
    goes_round = rng.random() < 0.5
    steps = [1, *(rng.choice((-1, 0, 1, None)) for _ in range(k - 1))]

    def after(q: int, step: int | None) -> int:
        return 0 if step is None else (q + step) % n if goes_round else min(max(q + step, 0), n - 1)

    return tuple(tuple(after(q, step) for step in steps) for q in range(n))


KINDS: dict[str, Callable[[random.Random, int, int], Table]] = {
    "uniform": _uniform,
    "permutations": _permutations,
    "permutations and resets": _permutations_and_resets,
    "rising": _rising,
    "cascade of resets": _cascade(_reset),
    "cascade of resets and swaps": _cascade(_reset_or_swap),
    "cascade of resets and permutations": _cascade(_reset_or_permutation),
    "definite": _definite,
    "counter": _counter,
}
