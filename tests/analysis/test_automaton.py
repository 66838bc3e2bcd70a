"""Automata of cells: they behave like the interpreter, are minimal, merge letters and leave out what cannot occur."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lsrl.analysis.automaton import Automaton, NotFinite, explore, extract, minimise
from lsrl.analysis.moore import as_moore
from lsrl.analysis.partition import coarsest_partition
from lsrl.analysis.ranges import analyse
from lsrl.analysis.structure import Region, find_regions, whole_region
from lsrl.diagnostics import LsrlError, Source
from lsrl.frontend.modules import read_module
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.passes import run_pipeline
from lsrl.types import Value
from tests.strategies import programs, rows_for
from tests.work import growth

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

DYCK = """
program dyck(tok: {"(", ")", *}) -> bool:
    state depth: int[-1..N] = 0
    if depth >= 0:
        if tok == "(":
            depth := depth + 1 if depth < N else -1
        elif tok == ")":
            depth := depth - 1
    return depth == 0
"""


def graph_of(text: str) -> Graph:
    return run_pipeline(read_module(Source("case.lsrl", text), Path()).elaborate())


def automaton_of(text: str) -> Automaton:
    graph = graph_of(text)
    found = explore(graph, whole_region(graph))
    assert isinstance(found, Automaton), found
    return found


SIZES = {
    "parity": ("program p(b: bool) -> bool:\n    return parity(b)\n", 2, 2),
    "bounded depth": (DYCK.replace("N", "5"), 7, 3),
    "(ab)*": ('program p(t: {"a", "b"}) -> bool:\n    return matches(t, "(ab)*")\n', 3, 2),
    "(aa)*": ('program p(t: {"a"}) -> bool:\n    return matches(t, "(aa)*")\n', 2, 1),
    "all bytes but two act alike": ('program p(t: byte) -> bool:\n    return contains(t, "ab")\n', 3, 3),
    "a window of three": ("program p(b: bool) -> bool:\n    w = window(b, 3, false)\n    return w[0] and w[2]\n", 4, 2),
}


@pytest.mark.parametrize("case", SIZES, ids=str)
def test_size_of_minimal_automaton(case: str) -> None:
    text, states, letters = SIZES[case]
    small = minimise(automaton_of(text))
    assert (len(small.states), len(small.members)) == (states, letters)


def test_merged_letters_name_their_members() -> None:
    small = minimise(automaton_of(SIZES["all bytes but two act alike"][0]))
    assert sorted(len(m) for m in small.members) == [1, 1, 254]
    assert small.letter_of((ord("a"),)) != small.letter_of((ord("b"),))
    assert small.letter_of((0,)) == small.letter_of((255,))
    with pytest.raises(KeyError):
        small.letter_of((256,))


def test_states_that_are_declared_huge_but_reached_seldom() -> None:
    found = automaton_of("""
program p(x: bool) -> int:
    state d: int[0..1000000000] = 0
    d := 0 if d >= 300000000 else d + 100000000 if x else d
    return d
""")
    assert [q[0] for q in found.states] == [0, 100_000_000, 200_000_000, 300_000_000]


def test_an_unbounded_state_is_no_automaton_and_the_reason_names_it() -> None:
    graph = graph_of("program p(x: bool) -> int:\n    return count(x)\n")
    region = find_regions(graph)[0]
    found = explore(graph, region)
    assert isinstance(found, NotFinite) and found.reason == "`count.n` has no bound"
    assert extract(graph, region) is None


def test_pairs_that_a_check_stops_cannot_occur() -> None:
    found = automaton_of("""
program p(x: bool) -> int:
    state d: int[0..2] = 0
    d := d + 1 if x else 0
    return d
""")
    full = found.states.index((2,))
    up = found.letter_of((True,))
    assert found.next[full, up] == -1
    assert (full, up) not in found.pairs and len(found.pairs) == 5
    assert all(table[full, up] is None for table in found.observations.values())
    assert [found.states[q] for q in found.run([up, up, up])] == [(0,), (1,), (2,)]


def test_letters_that_cannot_occur_together_are_none() -> None:
    graph = graph_of("""
program p(x: int[0..9]) -> bool:
    state s: bool = false
    s := not s if x < 3 else (s or x > 7)
    return s
""")
    region = find_regions(graph)[0]
    found = explore(graph, region)
    assert isinstance(found, Automaton)
    assert len(region.boundary) == 2
    # Below 3 and above 7 exclude each other: three joint values of the two comparisons, not four.
    assert {m for members in found.members for m in members} == {(True, False), (False, True), (False, False)}


def assert_behaves_alike(graph: Graph, region: Region, found: Automaton, stream: list[dict[str, Any]]) -> None:
    """The automaton steps as the interpreter does, and shows what it shows."""
    interpreter = Interpreter(graph)
    state = interpreter.initial_state()
    q = found.start
    for t, row in enumerate(stream):
        values = interpreter.evaluate(state, row, t)
        x = found.letter_of(tuple(values[n] for n in region.boundary))
        try:
            _, state = interpreter.step(state, row, t)
        except LsrlError:
            return
        assert found.next[q, x] >= 0
        for node, table in found.observations.items():
            assert table[q, x] == values[node]
        q = int(found.next[q, x])


@relaxed
@given(st.data())
def test_automata_of_random_programs_behave_like_the_interpreter(data: st.DataObject) -> None:
    graph = run_pipeline(read_module(Source("r.lsrl", data.draw(programs(finite=True))), Path()).elaborate())
    stream: list[dict[str, Any]] = list(data.draw(rows_for(graph)))
    ranges = analyse(graph)
    for region in find_regions(graph):
        found = explore(graph, region, ranges, limit=300)
        if isinstance(found, Automaton):
            assert_behaves_alike(graph, region, found, stream)
            assert_behaves_alike(graph, region, minimise(found), stream)


@relaxed
@given(st.data())
def test_a_whole_program_as_one_automaton(data: st.DataObject) -> None:
    text = data.draw(programs(finite=True, reals=False))
    graph = run_pipeline(read_module(Source("r.lsrl", text), Path()).elaborate())
    region = whole_region(graph)
    found = explore(graph, region, limit=200) if graph.states else None
    if isinstance(found, Automaton):
        stream: list[dict[str, Any]] = list(data.draw(rows_for(graph)))
        small = minimise(found)
        assert len(small.states) <= len(found.states) and len(small.members) <= len(found.members)
        assert_behaves_alike(graph, region, small, stream)


def random_machine(rng: random.Random, n: int, k: int, outputs: int, holes: bool) -> Automaton:
    table = np.array([[rng.randrange(-1 if holes and rng.random() < 0.2 else 0, n) for _ in range(k)]
                      for _ in range(n)], np.int64)
    seen = np.empty((n, k), object)
    for q in range(n):
        for x in range(k):
            seen[q, x] = rng.randrange(outputs) if table[q, x] >= 0 else None
    node = graph_of("program p(b: bool) -> bool:\n    return parity(b)\n").inputs[0]
    members = tuple(((x,),) for x in range(k))
    return Automaton(("q",), (node,), tuple((q,) for q in range(n)), 0, members, table, {node: seen},
                     {(x,): x for x in range(k)})


def distinguishable(table: NDArray[np.int64], seen: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Which pairs of states some word tells apart, by the plainest fixpoint."""
    n, k = table.shape
    apart = np.array([[any((table[p, x] < 0) != (table[q, x] < 0) or seen[p, x] != seen[q, x] for x in range(k))
                       for q in range(n)] for p in range(n)])
    while True:
        new = apart.copy()
        for p in range(n):
            for q in range(n):
                if any(table[p, x] >= 0 and table[q, x] >= 0 and apart[table[p, x], table[q, x]] for x in range(k)):
                    new[p, q] = True
        if (new == apart).all():
            return apart
        apart = new


@pytest.mark.parametrize("seed", range(60))
def test_minimise_against_the_plain_fixpoint(seed: int) -> None:
    rng = random.Random(seed)
    machine = random_machine(rng, rng.randint(1, 12), rng.randint(1, 3), rng.randint(1, 2), seed % 2 == 1)
    seen = next(iter(machine.observations.values()))
    apart = distinguishable(machine.next, seen)
    reached = {machine.start}
    queue = [machine.start]
    while queue:
        for to in machine.next[queue.pop()].tolist():
            if to >= 0 and to not in reached:
                reached.add(to)
                queue.append(to)
    classes = {tuple(np.flatnonzero(~apart[q]).tolist()) for q in reached}
    small = minimise(machine)
    assert len(small.states) == len(classes)
    for _ in range(20):
        word = [rng.randrange(machine.next.shape[1]) for _ in range(10)]
        assert trace(machine, word) == trace(small, [small.letter_of((x,)) for x in word])


@pytest.mark.parametrize("seed", range(40))
def test_a_moore_automaton_shows_by_its_states_what_the_mealy_one_shows_on_the_way(seed: int) -> None:
    rng = random.Random(seed)
    machine = minimise(random_machine(rng, rng.randint(1, 9), rng.randint(1, 3), rng.randint(1, 3), seed % 2 == 1))
    moore, had = as_moore(machine)
    shown: dict[int, Value] = {}
    node = next(iter(machine.observations))
    for q, x in moore.pairs:
        to = int(moore.next[q, x])
        assert had[to] == machine.next[had[q], x]
        assert shown.setdefault(to, moore.observations[node][q, x]) == moore.observations[node][q, x]
    ways = {(int(machine.next[q, x]), machine.observations[node][q, x]) for q, x in machine.pairs}
    assert len(moore.states) == len(ways | {(machine.start, None)} if machine.start not in {q for q, _ in ways}
                                    else ways)
    for _ in range(20):
        word = [rng.randrange(machine.next.shape[1]) for _ in range(12)]
        assert trace(moore, word) == trace(machine, word)


def trace(a: Automaton, word: list[int]) -> list[Value]:
    table = next(iter(a.observations.values()))
    return [table[q, x] for q, x in zip(a.run(word), word, strict=False)]


def partition_of_a_chain(n: int) -> None:
    table = np.stack([np.minimum(np.arange(n) + 1, n - 1), np.maximum(np.arange(n) - 1, 0),
                      *(np.arange(n) for _ in range(8))], axis=1)
    colours = (np.arange(n) == n - 1).astype(np.int64)
    assert len(set(coarsest_partition(table, colours).tolist())) == n


def test_the_cost_of_a_partition_grows_with_the_states() -> None:
    """A chain needs one split for each state."""
    partition_of_a_chain(2000)
    assert growth(lambda: partition_of_a_chain(100), lambda: partition_of_a_chain(400)) < 6  # n log n: 5.2


def smallest_of_depth(n: int) -> Automaton:
    graph = graph_of(DYCK.replace("N", str(n)))
    found = extract(graph, find_regions(graph)[0])
    assert found is not None
    small = minimise(found)
    assert len(small.states) == n + 2
    return small


def test_the_cost_of_a_large_cell_grows_with_its_states() -> None:
    smallest_of_depth(2000)
    assert growth(lambda: smallest_of_depth(100), lambda: smallest_of_depth(400)) < 6
