"""Automata of many states as programs, and what they do, from their tables alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import lsrl
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.lanes import make_lanes

__all__ = ["machine", "parts_of", "program_text", "reached", "walk"]

Table = tuple[tuple[int, ...], ...]


@cache
def machine(kind: str, states: int, letters: int) -> Table:
    """table[q][x]: the state after letter x in state q.

    "converging": any state after any. "pairs": half the states, any after any, beside a bit that some letters flip, so
    that two states are always possible. "permutation": letters permute the states, so that all are. "squares": the
    square of the state and a letter's constant, modulo the number of states. "register": the last letters, two of
    them, as many as the states have bits. "parities": the same for half the states, beside the parity of all letters.
    """
    rng = random.Random(f"{kind} {states} {letters}")
    if kind == "permutation":
        columns = [rng.sample(range(states), states) for _ in range(letters)]
    elif kind == "pairs":
        half = [[rng.randrange(states // 2) for _ in range(states // 2)] for _ in range(letters)]
        columns = [[2 * half[x][q // 2] + (q + x) % 2 for q in range(states)] for x in range(letters)]
    elif kind == "register":
        columns = [[(q + states * x) // 2 for q in range(states)] for x in range(letters)]
    elif kind == "parities":
        columns = [[2 * ((q // 2 + states // 2 * x) // 2) + (q + x) % 2 for q in range(states)] for x in range(letters)]
    elif kind == "squares":
        columns = [[(q * q + 17 * x + 5) % states for q in range(states)] for x in range(letters)]
    else:
        columns = [[rng.randrange(states) for _ in range(states)] for _ in range(letters)]
    return tuple(zip(*columns, strict=True))


def program_text(kind: str, states: int, letters: int) -> str:
    """A program whose output is the state after the token; it starts in state 0."""
    table = machine(kind, states, letters)
    arms = "\n".join(f"        {x * states + q} => {table[q][x]}" for x in range(letters) for q in range(states))
    after = {"squares": f"(q * q + 17 * x + 5) % {states}", "register": f"(q + {states} * x) // 2",
             "parities": f"2 * ((q // 2 + {states // 2} * x) // 2) + (q + x) % 2"}.get(
        kind, f"match x * {states} + q:\n{arms}\n        _ => 0")
    return (f"program machine(x: int[0..{letters - 1}]) -> int[0..{states - 1}]:\n"
            f"    state q: int[0..{states - 1}] = 0\n    q := {after}\n    return q\n")


@cache
def parts_of(kind: str, states: int, letters: int) -> Parts:
    return Parts.of(make_lanes(lsrl.parse(program_text(kind, states, letters)).graph))


def walk(table: Table, word: Sequence[int], state: int, resets: Sequence[bool] | None = None) -> list[int]:
    """The state after each letter."""
    out = []
    for t, x in enumerate(word):
        state = table[0 if resets is not None and resets[t] else state][x]
        out.append(state)
    return out


def reached(table: Table, word: Sequence[int], among: Sequence[int], resets: Sequence[bool] | None = None) -> set[int]:
    """The states that a word leads to from some states."""
    found = set(among)
    for t, x in enumerate(word):
        found = {table[q][x] for q in ({0} if resets is not None and resets[t] else found)}
    return found
