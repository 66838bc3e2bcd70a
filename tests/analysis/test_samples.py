"""Samples decide how long the range analysis takes and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsrl.analysis import ranges
from lsrl.analysis.components import node_components
from lsrl.analysis.interval import Range
from lsrl.analysis.samples import Samples
from lsrl.diagnostics import Source
from lsrl.frontend.modules import read_module
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Node
from lsrl.passes import run_pipeline
from lsrl.passes.factor_cascades import Way, factor_cascades
from tests.corpus import CORPUS
from tests.random_graphs import graphs
from tests.work import lines_run

# What each is in every row is never true, though each part of it may be.
NEVER = {
    "not": "a and not (a or c)",
    "or": "(a or c) and not a and not c",
    "compare": "b < 2 and not b < 3",
    "table": "t and b < 1",
    "mux": "(a if c else b < 2) and not c and 1 < b and a",
    "state": "n == 2 and m",
}
PROGRAM = """program p(a: bool, b: int[0..5], c: bool) -> (x: bool, y: bool):
    state n: int[0..1] = 0
    state m: bool = false
    n := 1 if a and n < 1 else n
    m := c
    t = match b:
        0 => false
        1 => true
        2 => true
        3 => false
        4 => true
        5 => false
    return (x = {}, y = (a or not c) and b < 4 and not b < 2)
"""


def analysed(graph: Graph) -> dict[Node, Range]:
    """As `analyse`, anew each time."""
    work = ranges._Analysis(graph)
    for component in node_components(graph):
        work.solve(component)
    return dict(work.ranges)


def unseen(graph: Graph) -> dict[Node, Range]:
    """The ranges of an analysis that has no samples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Samples, "seen", lambda samples, node, truth: 0)
        return analysed(graph)


def examples() -> Iterator[Graph]:
    for case in CORPUS:
        if case.name in ("greatest", "favourite", "modular_arithmetic", "dyck_1_bounded", "leaky_unit"):
            yield run_pipeline(case.program.graph)


def test_examples_have_the_same_ranges_without_samples() -> None:
    for graph in examples():
        assert analysed(graph) == unseen(graph)


@given(st.data())
def test_random_graphs_have_the_same_ranges_without_samples(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    assert analysed(graph) == unseen(graph)


@pytest.mark.parametrize("kind", NEVER)
def test_what_never_happens_is_still_found(kind: str) -> None:
    graph = read_module(Source("case.lsrl", PROGRAM.format(NEVER[kind])), Path()).elaborate()
    found = analysed(graph)
    assert found == unseen(graph)
    assert found[graph.output["x"]].constant == 0
    assert found[graph.output["y"]].constant is None


def test_conditions_that_are_seen_both_ways_take_little_work() -> None:
    greatest = next(case for case in CORPUS if case.name == "greatest")
    graph = factor_cascades(run_pipeline(greatest.program.graph), way=Way(after=True)).graph
    assert lines_run(lambda: analysed(graph)) * 8 < lines_run(lambda: unseen(graph))
