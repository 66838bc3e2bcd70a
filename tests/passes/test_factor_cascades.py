"""Cascades in place of cells: every example, small programs, and random graphs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import prod
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lsrl
from lsrl.analysis.cells import find_cells
from lsrl.diagnostics import NOWHERE
from lsrl.interpreter import Interpreter, RunError
from lsrl.ir.graph import Graph, State, reachable
from lsrl.ir.nodes import Input, Node, Read, Table
from lsrl.ir.validate import validate
from lsrl.passes import run_pipeline
from lsrl.passes.factor_cascades import Factored, factor_cascades, factor_definite
from lsrl.types import BOOL, Int, Value
from lsrl.verify import verify
from tests.corpus import CORPUS, Case
from tests.random_graphs import graphs, rows

# What is left with groups: the group that each cell generates; the second where swaps are allowed.
GROUPS = {
    "parity": (["Z2"], []), "mod_5": (["Z5"], ["Z5"]), "modular_arithmetic": (["Z4", "Z5"], ["Z5"]),
    "cycle_navigation": (["Z5"], ["Z5"]), "pairs_ab": (["Z2"], []), "tomita_3": (["Z2"], []),
    "tomita_5": (["Z2", "Z2"], []), "tomita_6": (["Z3"], ["Z3"]), "word_problem_s3": (["S3"], ["S3"]),
    "c_comments": (["Z2"], []), "json_structure": (["Z2"], []),
}
# Latches and depth of each cell that is replaced, in order.
SIZES = {
    "binary_addition": [(1, 1)], "detect_pattern": [(3, 3)], "dyck_1_bounded": [(6, 6)], "star_free": [(4, 3)],
    "tomita_2": [(2, 2)], "tomita_4": [(3, 3)], "tomita_7": [(3, 3)], "selective_copy": [(3, 3), (3, 3)],
    "anbn": [(2, 2)], "anbncn": [(3, 3)], "greatest": [(4, 4)],
}
FINITE = [c for c in CORPUS if c.name in {*GROUPS, *SIZES} and c.path.startswith(("regular", "memory"))]


@cache
def graph_of(path: Path) -> Graph:
    return run_pipeline(lsrl.load(path).graph)


def checked(before: Graph, found: Factored) -> None:
    """Valid, every new state a cell of its own, and every state that is gone is shown by the new ones."""
    validate(found.graph)
    alone = {c.states[0] for c in find_cells(found.graph) if len(c.states) == 1}
    for report in found.reports:
        assert set(report.latches) <= alone
        assert {s.name for s in found.graph.states}.isdisjoint(report.states)
    for node in found.recovered.values():
        assert all(n.state in {s.name for s in found.graph.states} for n in _reads(node))


def _reads(node: Node) -> list[Read]:
    return [n for n in reachable([node]) if isinstance(n, Read)]


def shown(before: Graph, found: Factored) -> tuple[Graph, Graph]:
    """Both graphs with the old values of the states that are gone as outputs."""
    old = [(f"old {k}", Read(k, before.state[k].type, before.state[k].span)) for k in found.recovered]
    new = [(f"old {k}", n) for k, n in found.recovered.items()]
    return (replace(before, outputs=(*before.outputs, *old)),
            replace(found.graph, outputs=(*found.graph.outputs, *new)))


@pytest.mark.parametrize("case", FINITE, ids=lambda c: c.name)
def test_finite_examples_are_equal_to_their_cascades(case: Case) -> None:
    before = graph_of(case.file)
    for groups in ("none", "two"):
        found = factor_cascades(before, groups)
        names = GROUPS.get(case.name, ([], []))[groups == "two"]
        assert sorted(r.left.name for r in found.refused if r.left is not None) == names
        assert all(name in r.reason for r, name in zip(found.refused, names, strict=False) if len(names) == 1)
        if case.name in SIZES and groups == "none":
            assert [(len(r.latches), r.depth) for r in found.reports] == SIZES[case.name]
        checked(before, found)
        first, second = shown(before, found)
        assert verify(first, against=second).kind == "PROVED"


@pytest.mark.parametrize("case", [c for c in CORPUS if c.name in {"anbn", "anbncn", "greatest"}], ids=lambda c: c.name)
def test_other_examples_keep_their_outputs(case: Case) -> None:
    before = graph_of(case.file)
    found = factor_cascades(before)
    assert [(len(r.latches), r.depth) for r in found.reports] == SIZES[case.name]
    checked(before, found)
    verdict = verify(before, against=found.graph, states=3000)
    assert verdict.ok


def test_examples_without_finite_cells_stay() -> None:
    for name in ("counting/dyck_1", "memory/delay_3", "memory/flip_flop", "numeric/leaky_unit"):
        before = graph_of(next(c for c in CORPUS if c.path == name).file)
        found = factor_cascades(before)
        assert found.graph is before and not found.reports and not found.refused


def test_a_saturating_counter_shows_its_value_as_the_number_of_latches_that_are_on() -> None:
    text = """
program p(up: bool) -> int:
    \"\"\"Counts up to 12 and down to 0.\"\"\"
    state n: int = 0
    n := min(n + 1, 12) if up else max(n - 1, 0)
    return n
"""
    before = run_pipeline(lsrl.parse(text).graph)
    found = factor_cascades(before)
    (report,) = found.reports
    assert (report.n, report.k, len(report.latches), report.depth) == (13, 2, 12, 12)
    assert {n.state for n in _reads(found.recovered["n"])} == set(report.latches)
    first, second = shown(before, found)
    assert verify(first, against=second).kind == "PROVED"


def test_a_cell_that_stops_the_program_stops_it_at_the_same_token() -> None:
    text = """
program p(up: bool) -> bool:
    \"\"\"Fails when it leaves its range.\"\"\"
    state n: int[0..3] = 0
    n := n + 1 if up else n - 1
    return n == 2
"""
    before = run_pipeline(lsrl.parse(text).graph)
    assert not factor_cascades(before).reports  # it only adds to a number
    found = factor_cascades(before, numeric=True)
    assert [len(r.latches) for r in found.reports] == [3]
    assert found.graph.checks
    for word in range(256):
        inputs: list[dict[str, Value]] = [{"up": bool(word >> i & 1)} for i in range(8)]
        assert trace(before, inputs) == trace(found.graph, inputs)


def trace(graph: Graph, inputs: list[dict[str, Value]]) -> list[object]:
    run = Interpreter(graph)
    state = run.initial_state()
    out: list[object] = []
    for at, row in enumerate(inputs):
        try:
            outputs, state = run.step(state, row, at)
        except RunError as stop:
            return [*out, ("stopped", stop.position)]
        out.append({k: repr(v) for k, v in outputs.items()})
    return out


@given(st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_graphs_keep_their_meaning(data: st.DataObject) -> None:
    before = run_pipeline(data.draw(graphs(most_nodes=24)))
    inputs = data.draw(rows(before))
    known = trace(before, inputs)
    for found in (factor_cascades(before, "none"), factor_cascades(before, "two", True), factor_definite(before, True)):
        checked(before, found)
        assert trace(found.graph, inputs) == known


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_random_automata_are_equal_to_their_cascades(data: st.DataObject) -> None:
    """Of an int state and up to two inputs, with an output of both; all states that are shown are right."""
    n, sizes = data.draw(st.integers(2, 6)), data.draw(st.lists(st.integers(2, 3), min_size=1, max_size=2))
    inputs = tuple(Input(f"x{i}", Int(0, k - 1) if k > 2 else BOOL, NOWHERE) for i, k in enumerate(sizes))
    read = Read("q", Int(0, n - 1), NOWHERE)
    domain = (n, *sizes)
    count = prod(domain)
    entries = data.draw(st.lists(st.integers(0, n - 1), min_size=count, max_size=count))
    if data.draw(st.booleans()):
        # Never upwards but for the first letter: seldom with groups.
        entries = [e if i % (count // n) == 0 else min(e, i // (count // n)) for i, e in enumerate(entries)]
    after = Table((read, *inputs), (0,) * len(domain), domain, tuple(entries), Int(0, n - 1), NOWHERE)
    shows = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    out = Table((read, *inputs), (0,) * len(domain), domain, tuple(shows), BOOL, NOWHERE)
    state = State("q", Int(0, n - 1), data.draw(st.integers(0, n - 1)), after, NOWHERE)
    before = Graph("g", inputs, (state,), (("out", out), ("new", after)), (), (), NOWHERE)
    for found in (factor_cascades(before, "none"), factor_cascades(before, "two"), factor_definite(before)):
        checked(before, found)
        first, second = shown(before, found)
        assert verify(first, against=second).kind == "PROVED"


def test_definite_cells_become_delays_and_a_clock() -> None:
    text = """
program p(x: {"a", "b"}) -> bool:
    \"\"\"Whether the symbol was the same three tokens ago, at every second token.\"\"\"
    state word: int = 0
    state time: bool = false
    time := not time
    word := (word * 2 + int(x == "b")) % 8
    state seen: int = 0
    seen := (seen % 2) * 2 + int((x == "a") == time)
    return (word // 4 == word % 2) and time and seen == 2
"""
    before = run_pipeline(lsrl.parse(text).graph)
    found = factor_definite(before)
    assert not found.refused
    assert [len(r.clock) for r in found.reports if r.states == ("time",)] == [2]
    cells = find_cells(found.graph)
    ring = {name for r in found.reports for name in r.clock}
    assert all(c.kind == "delay" or set(c.states) <= ring for c in cells)
    assert verify(before, against=found.graph).kind == "PROVED"


def test_what_is_not_definite_is_refused_with_words() -> None:
    before = graph_of(next(c for c in CORPUS if c.name == "parity").file)
    (refused,) = factor_definite(before).refused
    assert refused.words is not None and "`true`" in refused.reason
    (other,) = factor_cascades(before).refused
    assert other.left is not None and other.reason == "`true` generates Z2 on 2 of its states"
    with pytest.raises(ValueError, match="groups"):
        factor_cascades(before, "any")
