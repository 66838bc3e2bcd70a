"""The corpus's table of what hosts what, derived anew from the algebra of each finite example as a whole.

The machine of a program is found by running the interpreter from state to state, without the analysis: the least
machine that answers as the program does decides what can host it, however its states and cells are written.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import pytest

from lsrl.interpreter import Interpreter
from lsrl.types import is_finite, size, values
from tests.algebra_oracle import RULES, Facts, Machine, allowed, facts_of, reduced
from tests.corpus import CORPUS, Case

MOST_STATES, MOST_LETTERS = 600, 40
TOO_LARGE = {"text/json_structure"}  # more than 50,000 elements in its monoid, and too many states for tuples of them


def machine_of(case: Case) -> Machine | None:
    """The reachable machine of a program; None if it, or its input, is larger than the limits."""
    graph = case.program.graph
    types = [i.type for i in graph.inputs]
    if graph.numeric or not all(is_finite(t) for t in types):
        return None
    if prod(size(t) or 0 for t in types) > MOST_LETTERS:
        return None
    rows = [dict(zip((i.name for i in graph.inputs), row, strict=True)) for row in product(*map(values, types))]
    run = Interpreter(graph)
    number: dict[str, int] = {}
    found: list[Any] = []

    def place(state: Any) -> int:
        key = repr(state)
        if key not in number:
            number[key] = len(found)
            found.append(state)
        return number[key]

    place(run.initial_state())
    nexts: list[tuple[int, ...]] = []
    shown: list[tuple[str, ...]] = []
    for state in found:
        if len(found) > MOST_STATES:
            return None
        steps = [run.step(state, row, 0) for row in rows]
        nexts.append(tuple(place(after) for _, after in steps))
        shown.append(tuple(repr(output) for output, _ in steps))
    return reduced(Machine(tuple(nexts), tuple(shown)))


MACHINES = {case.path: None if case.path in TOO_LARGE else machine_of(case) for case in CORPUS}
FINITE = [case for case in CORPUS if MACHINES[case.path] is not None]


def facts(case: Case) -> Facts:
    machine = MACHINES[case.path]
    assert machine is not None
    return facts_of(machine, MOST_STATES)


def test_the_finite_examples_are_among_them() -> None:
    names = {c.path for c in FINITE}
    assert {c.path for c in CORPUS if c.path.startswith("regular/")} <= names
    assert {"memory/flip_flop", "memory/selective_copy", "counting/greatest", "text/c_comments"} <= names
    assert not {"counting/dyck_1", "tables/histogram", "numeric/leaky_unit"} & names


@pytest.mark.parametrize("case", FINITE, ids=lambda c: c.path)
def test_outcomes_are_those_of_the_algebra(case: Case) -> None:
    found = facts(case)
    for target, rule in RULES.items():
        outcome = case.outcome(target)
        assert outcome in allowed(target, rule(found)), (target, found)
