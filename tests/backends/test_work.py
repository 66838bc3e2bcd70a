"""How much work it is to compile some programs, counted and not timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsrl.analysis import automaton
from lsrl.analysis.arrays import evaluate_columns
from lsrl.analysis.ranges import analyse
from lsrl.analysis.structure import find_regions, whole_region
from lsrl.arithmetic import operation
from lsrl.backends import alike, numbers, reading
from lsrl.backends.finite import Cover, Leaf, Machine
from lsrl.backends.registry import TARGETS, compile_graph
from lsrl.backends.stages import MachineStage, leaf_sum, sums_before
from lsrl.backends.sums import Sums, Wanted, sums
from lsrl.backends.threshold import Layout, Planner
from lsrl.diagnostics import LsrlError, Source
from lsrl.frontend.modules import read_module
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Node
from lsrl.passes import run_pipeline
from tests.corpus import CORPUS

LAYOUTS = Layout(), Layout(wide=False, letters=False), Layout(lag=not Layout().lag), Layout(select=not Layout().select)
UNBOUNDED = """program p(a: real[-2..2 by 1/4][2], b: int[0..3]) -> bool[2]:
    state s: real = 2
    if prev(s <= -1/2, true):
        s := s + max(a)
    s := s - 3
    return [b == 1, s == -1/2]
"""
SQUARES = "\n    ".join(f"{v} => {v * v % 7}" for v in range(30))
TABLES = f"""program p(x: int[0..29], y: bool) -> int:
    square = match x:
        {SQUARES.replace(chr(10) + "    ", chr(10) + "        ")}
    return count(y) + square
"""
CHECKED = """program p(a: bool, b: bool) -> bool:
    state n: int[0..10] = 0
    state m: int[0..12] = 0
    n := n + 1 if a and n < 10 else n
    m := m + 1 if b else (0 if n == 3 else m)
    assert n != 5
    return m == 2
"""
# Each was an error of another kind than a refusal once: a state that nothing shows, and a bit in two steps of a grid.
ODD = {
    "a constant of a cell alone": """program p(x: int[-2..1]) -> (a: real[-2..2 by 1/4][2], b: int):
    state s: real[-2..2 by 1/4][2] = [-2, -1]
    state n: int[-2..1] = 1
    s[n % 2] := 1/2
    n := clamp(prev(n, -1) * n, -2, 1)
    return (a = s, b = n)
""",
    "a number that swaps its sign": """program p(x: {"x", "y", *}) -> bool:
    state s: real[-2..2 by 1/4] = 3/4
    s := s
    s := -s
    return s == 3/4
""",
}


def graph_of(text: str) -> Graph:
    return read_module(Source("p.lsrl", text), Path()).elaborate()


def test_a_cell_without_a_bound_is_not_searched_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has 1,156 letters and no end of states: 100 states of them would be 115,600 pairs."""
    rows: list[int] = []
    original = evaluate_columns

    def counted(nodes: Any, known: Any, count: int, ranges: Any) -> Any:
        rows.append(count)
        return original(nodes, known, count, ranges)

    monkeypatch.setattr(automaton, "evaluate_columns", counted)
    graph = run_pipeline(graph_of(UNBOUNDED))
    assert isinstance(automaton.explore(graph, whole_region(graph)), automaton.NotFinite)
    assert 0 < sum(rows) < 30_000


@pytest.mark.parametrize("target", ["mamba", "delta"])
def test_a_cell_is_searched_once(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for its automaton: what classifies it, what factors it into latches, and what lowers it. The cells
    of a graph that latches took the place of are others."""
    searched: list[tuple[Graph, tuple[str, ...], int]] = []
    original = automaton._Explorer.__init__

    def counted(self: Any, graph: Graph, region: Any, *args: Any) -> None:
        searched.append((graph, region.states, len(region.boundary)))
        original(self, graph, region, *args)

    monkeypatch.setattr(automaton._Explorer, "__init__", counted)
    graph = run_pipeline(graph_of(CHECKED))
    compile_graph(graph, target)
    keys = [(id(g), *rest) for g, *rest in searched]
    assert {names for _, names, _ in searched} >= {("n",), ("m",)}
    assert len(keys) == len(set(keys))


def test_what_is_kept_of_a_cell_answers_as_a_new_search_does() -> None:
    """With and without what checks observe, and with limits above and below the number of its states."""
    for text in (CHECKED, CHECKED.replace("    assert n != 5\n", "")):
        graph = run_pipeline(graph_of(text))
        for region in find_regions(graph):
            for limit, checks in [(4096, False), (512, True), (11, False), (10, True), (11, True), (600, False)]:
                fresh = replace(graph)
                kept, new = (automaton.explore(g, region, None, limit, checks) for g in (graph, fresh))
                assert type(kept) is type(new)
                if isinstance(kept, automaton.NotFinite) or isinstance(new, automaton.NotFinite):
                    assert kept == new
                    continue
                assert kept.states == new.states and kept.members == new.members
                assert np.array_equal(kept.next, new.next) and list(kept.observations) == list(new.observations)
                assert all(np.array_equal(table, new.observations[n]) for n, table in kept.observations.items())


def test_what_a_node_applies_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for every row of its table: to make what a table of n entries applies is work in n."""
    made: list[Node] = []
    original = operation

    def counted(node: Node) -> Callable[..., Any]:
        made.append(node)
        return original(node)

    monkeypatch.setattr(numbers, "operation", counted)
    compile_graph(graph_of(TABLES), "mamba")
    assert made and len(made) == len(set(made))


def chain(n: int) -> Graph:
    """A program that moves a value on from one of n places to the next, when told to."""
    states = "".join(f"    state s{k}: int[0..4] = 0\n" for k in range(n))
    moves = "".join(f"        s{k} := s{k - 1}\n" for k in range(n - 1, 0, -1))
    return graph_of(f"program p(go: bool, v: int[0..4]) -> int:\n{states}    if go:\n{moves}        s0 := v\n"
                    f"    return s{n - 1}\n")


def test_places_that_act_alike_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thresholds for one are those for all, in other variables."""
    looked: list[int] = []

    def counted(cover: Cover, wanted: Wanted) -> Sums | None:
        looked.append(cover.machine.size)
        return sums(cover, wanted)

    monkeypatch.setattr(alike, "sums", counted)
    calls = []
    for n in (6, 10):
        looked.clear()
        graph = run_pipeline(chain(n))
        circuit = Planner(graph, analyse(graph), Layout()).circuit()
        calls.append(len(looked))
        rows = [{"go": t % 3 != 1, "v": t * t % 5} for t in range(40)]
        assert list(circuit.simulate(rows)) == list(Interpreter(graph).run(rows))
    assert calls[0] == calls[1] < 5


@pytest.mark.parametrize("name", ["dyck_1_bounded", "induction_head", "vec2vec_1_1"])
def test_sums_of_one_layout_are_those_of_another(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found in another layout of a program is what would be found in this one, in its own variables."""
    graph = run_pipeline(next(case for case in CORPUS if case.name == name).program.graph)
    looked: list[int] = []

    def counted(cover: Cover, wanted: Wanted) -> Sums | None:
        looked.append(cover.machine.size)
        return sums(cover, wanted)

    monkeypatch.setattr(alike, "sums", counted)
    kept = alike.KnownSums()
    numbers_of_searches = []
    for fresh in (False, True):
        monkeypatch.setattr(reading, "known_sums", lambda graph, fresh=fresh: alike.KnownSums() if fresh else kept)
        looked.clear()
        circuits = [Planner(graph, analyse(graph), layout).circuit() for layout in LAYOUTS]
        numbers_of_searches.append(len(looked))
        if not fresh:
            shared = circuits
    assert shared == circuits
    assert numbers_of_searches[0] < numbers_of_searches[1]


class _Counted(list[tuple[int, Leaf]]):
    """Counts how often it is gone through."""

    def __init__(self, units: list[tuple[int, Leaf]]) -> None:
        super().__init__(units)
        self.times = 0

    def __iter__(self) -> Iterator[tuple[int, Leaf]]:
        self.times += 1
        return super().__iter__()


@pytest.mark.parametrize("default", [0, 7])
def test_units_are_gone_through_once_for_all_forms(default: int) -> None:
    """A machine of n units asks for up to n forms of them."""
    leaves = [Leaf(q % 10, (), (q,)) for q in range(40)]
    cover = Cover(Machine(None, (), 0, ()), (), leaves[default])  # type: ignore[arg-type]
    stage = MachineStage("m", cover, ())
    stage.units = _Counted([(3 * i + 1, leaf) for i, leaf in enumerate(leaves) if i != default])
    before = sums_before(stage)
    wanted = [frozenset((q, ()) for q in range(10) if q >> k & 1 or q == k) for k in range(9)]
    forms = [before(w) for w in wanted]
    assert stage.units.times == 1
    assert forms == [leaf_sum(stage, lambda leaf, w=w: (leaf.next, leaf.steps) in w) for w in wanted]  # type: ignore[misc]


@pytest.mark.parametrize("target", sorted(TARGETS))
@pytest.mark.parametrize("name", ODD)
def test_a_program_is_hosted_or_refused(name: str, target: str) -> None:
    codes: list[str] = []
    try:
        compile_graph(graph_of(ODD[name]), target)
    except LsrlError as refusal:
        codes = [d.code for d in refusal.diagnostics]
    assert all(code.startswith("L4") for code in codes)
