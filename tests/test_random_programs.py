"""Random programs of the whole language: every form of the meaning agrees on them.

The interpreter is what all others are compared with: the generated Python step, the vectorised run, every pass alone
and the pipeline, the text form of the graph, and the formatter's text.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from lsrl.backends.registry import TARGETS, compile_graph
from lsrl.diagnostics import LsrlError, Source
from lsrl.frontend.format import format_file
from lsrl.frontend.modules import read_module
from lsrl.frontend.parser import parse
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.ir.parser import parse_graph
from lsrl.ir.printer import print_graph
from lsrl.ir.validate import validate
from lsrl.passes import PASSES, run_pipeline
from lsrl.python_step import compile_step
from lsrl.vectorized import run_batch
from lsrl.verify.testing import run_model
from tests.strategies import programs, rows_for

Rows = Sequence[Mapping[str, Any]]
MORE = int(os.environ.get("LSRL_RANDOM_PROGRAMS", "1"))  # how many times as many programs

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def graph_of(text: str) -> Graph:
    note(text)
    return read_module(Source("random.lsrl", text), Path()).elaborate()


def outputs(graph: Graph, rows: Rows) -> list[dict[str, Any]]:
    return list(Interpreter(graph).run(rows))


def agree(a: Any, b: Any, numeric: bool) -> bool:
    """Equal values; floats of numeric programs to a few units in the last place."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(agree(a[k], b[k], numeric) for k in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(agree(x, y, numeric) for x, y in zip(a, b, strict=True))
    if numeric and isinstance(a, float):
        return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12)
    return bool(a == b)


def assert_same_meaning(graph: Graph, other: Graph, rows: Rows) -> None:
    validate(other)
    want, got = outputs(graph, rows), outputs(other, rows)
    for t, (a, b) in enumerate(zip(want, got, strict=True)):
        assert agree(a, b, graph.numeric), f"token {t}: {a} becomes {b}\n{print_graph(other)}"


@settings(relaxed, max_examples=100 * MORE)
@given(st.data())
def test_step_text_forms_and_formatter(data: st.DataObject) -> None:
    text = data.draw(programs(numeric=data.draw(st.booleans())))
    graph = graph_of(text)
    validate(graph)
    rows = data.draw(rows_for(graph))
    assert_same_meaning(graph, parse_graph(print_graph(graph)), rows)

    for t, (want, got) in enumerate(zip(outputs(graph, rows), compile_step(graph).run(rows), strict=True)):
        assert agree(want, got, graph.numeric), f"token {t}: {want} becomes {got}"

    pretty = format_file(parse(Source("random.lsrl", text)))
    assert format_file(parse(Source("pretty.lsrl", pretty))) == pretty
    assert print_graph(graph_of(pretty)) == print_graph(graph)


@settings(relaxed, max_examples=100 * MORE)
@given(st.data())
def test_passes(data: st.DataObject) -> None:
    graph = graph_of(data.draw(programs(finite=data.draw(st.booleans()), numeric=data.draw(st.booleans()))))
    rows = data.draw(rows_for(graph))
    now = graph
    for name, apply in PASSES:
        note(name)
        now = apply(now)
        assert_same_meaning(graph, now, rows)
    assert print_graph(run_pipeline(graph)) == print_graph(run_pipeline(graph))


@settings(relaxed, max_examples=60 * MORE)
@given(st.data())
def test_a_batch_equals_its_rows(data: st.DataObject) -> None:
    graph = graph_of(data.draw(programs(finite=True)))
    length = data.draw(st.integers(1, 8))
    batch = [data.draw(rows_for(graph, length, length)) for _ in range(3)]
    inputs = {n.name: np.array([[_plain(row[n.name]) for row in rows] for rows in batch]) for n in graph.inputs}
    got, _ = run_batch(graph, inputs)
    for b, rows in enumerate(batch):
        for t, want in enumerate(outputs(graph, rows)):
            for name, value in want.items():
                assert np.array_equal(np.asarray(got[name][b, t]), np.asarray(_plain(value))), (name, b, t)


def _plain(value: Any) -> Any:
    """Rationals as floats, which hold them exactly here: they lie on a dyadic grid."""
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return float(value) if isinstance(value, Fraction) else value


@settings(relaxed, max_examples=40 * MORE)
@given(st.data())
def test_one_pass_alone(data: st.DataObject) -> None:
    graph = graph_of(data.draw(programs()))
    rows = data.draw(rows_for(graph))
    name, apply = data.draw(st.sampled_from([p for p in PASSES if p[0] != "narrow_types"]))
    note(name)
    assert_same_meaning(graph, apply(run_pipeline(graph, after="split_vectors")), rows)


def run_on(target: str, graph: Graph, rows: Rows) -> Sequence[dict[str, Any]] | None:
    """The outputs of the compiled model; None where the target refuses, at once or at a number that grew too large."""
    try:
        return run_model(compile_graph(graph, target), graph, rows)
    except LsrlError as refusal:
        if any(not d.code.startswith("L4") for d in refusal.diagnostics):
            raise
        return None


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_targets_compute_what_they_host(target: str) -> None:
    hosted = refused = 0

    @settings(relaxed, max_examples=30 * MORE)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        nonlocal hosted, refused
        graph = graph_of(data.draw(programs(finite=data.draw(st.booleans()), max_size=4)))
        rows = data.draw(rows_for(graph, 1, 20))
        ran = run_on(target, graph, rows)
        if ran is None:
            refused += 1
            return
        hosted += 1
        for t, (want, got) in enumerate(zip(outputs(graph, rows), ran, strict=True)):
            assert want == got, f"token {t}: {want} becomes {got}"

    check()
    assert hosted > refused / 2, f"{hosted} programs were hosted, {refused} refused"
