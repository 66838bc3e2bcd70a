"""On random graphs every pass, and all of them one after the other, keep outputs, states, checks and names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from lsrl.diagnostics import LsrlError
from lsrl.interpreter import Interpreter, RunError
from lsrl.ir.graph import Graph
from lsrl.ir.parser import parse_graph
from lsrl.ir.printer import print_graph
from lsrl.ir.validate import validate
from lsrl.passes import PASSES, PIPELINE, run_pipeline
from lsrl.types import Value
from tests.random_graphs import graphs, rows

DISTINCT = tuple(dict(PASSES).items())
checked = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


def named(graph: Graph) -> Graph:
    """The graph with a name for every node."""
    return replace(graph, names=tuple((f"n{i}", n) for i, n in enumerate(graph.nodes)))


def exposed(graph: Graph) -> Graph:
    """The graph with its names as outputs too."""
    return replace(graph, outputs=(*graph.outputs, *((f"name {k}", n) for k, n in graph.names)))


def flat(state: Mapping[str, Value]) -> dict[str, str]:
    """States by scalar, as text, which keeps 0.0, -0.0 and NaN apart; a vector `s` as `s[0]`, `s[1]`, …."""
    out: dict[str, str] = {}
    work = list(state.items())
    for name, value in work:
        if isinstance(value, tuple):
            work += ((f"{name}[{i}]", v) for i, v in enumerate(value))
        else:
            out[name] = repr(value)
    return out


def trace(graph: Graph, given_rows: list[dict[str, Value]]) -> list[dict[str, str]]:
    """Outputs and states of every token; where a check fails, its place, code and message instead, as the last."""
    run = Interpreter(graph)
    state = run.initial_state()
    out: list[dict[str, str]] = []
    for at, row in enumerate(given_rows):
        try:
            outputs, state = run.step(state, row, at)
        except RunError as stop:
            (one,) = stop.diagnostics
            return [*out, {"stopped": f"{stop.position} {one.code} {one.message}"}]
        out.append({**{k: repr(v) for k, v in outputs.items()}, **{f"state {k}": v for k, v in flat(state).items()}})
    return out


def compare(before: Graph, after: Graph, given_rows: list[dict[str, Value]],
            known: list[dict[str, str]] | None = None) -> None:
    """What both graphs have is equal at every token; outputs and failures they both have."""
    validate(after)
    assert [n.name for n in after.inputs] == [n.name for n in before.inputs]
    assert [k for k, _ in after.outputs] == [k for k, _ in before.outputs]
    old = trace(exposed(before), given_rows) if known is None else known
    new = trace(exposed(after), given_rows)
    assert len(old) == len(new)
    for a, b in zip(old, new, strict=True):
        assert {k: v for k, v in a.items() if k in b} == {k: v for k, v in b.items() if k in a}
        assert b.keys() - a.keys() <= {k for k in b if k.startswith("state ")}
        assert a.keys() - b.keys() <= {k for k in a if k.startswith(("state ", "name "))}


@pytest.mark.parametrize("numeric", [False, True])
@given(st.data())
@checked
def test_each_pass_keeps_the_meaning(numeric: bool, data: st.DataObject) -> None:
    """Exactly, and in numeric graphs every bit of the floats."""
    graph = named(data.draw(graphs(numeric=numeric)))
    given_rows = data.draw(rows(graph))
    known = trace(exposed(graph), given_rows)
    for name, step in DISTINCT:
        note(name)
        compare(graph, step(graph), given_rows, known)


@pytest.mark.parametrize("numeric", [False, True])
@given(st.data())
@checked
def test_the_pipeline_keeps_the_meaning(numeric: bool, data: st.DataObject) -> None:
    graph = data.draw(graphs(numeric=numeric, most_nodes=24))
    given_rows = data.draw(rows(graph))
    known = trace(exposed(graph), given_rows)
    after = graph
    for name, step in PASSES:
        note(name)
        after = step(after)
        compare(graph, after, given_rows, known)
    assert print_graph(parse_graph(print_graph(after))) == print_graph(after)


@given(st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_pipeline_is_deterministic(data: st.DataObject) -> None:
    graph = data.draw(graphs())
    again = parse_graph(print_graph(graph))
    assert print_graph(run_pipeline(graph)) == print_graph(run_pipeline(again))


def test_run_pipeline_stops_after_the_last_pass_of_a_name() -> None:
    graph = parse_graph("graph g\n%0 = input x : int\n%1 = affine 1*%0 : int\n%2 = read s : int\n"
                        "state s : int = 0 -> %2\noutput y = %1\n")
    assert len(run_pipeline(graph, "split_vectors").states) == 1
    assert run_pipeline(graph, "drop_dead") == run_pipeline(graph)
    assert len(run_pipeline(graph).states) == 0
    assert PIPELINE[-1][0] == "drop_dead"
    with pytest.raises(LsrlError, match="did you mean `drop_dead`"):
        run_pipeline(graph, "drop_ded")
