"""The generated Python step has the interpreter's meaning."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsrl.diagnostics import NOWHERE
from lsrl.interpreter import Interpreter, RunError, read_inputs
from lsrl.ir.graph import Graph, State
from lsrl.ir.nodes import Affine, Compare, Const, Index, Input, Logic, MatMul, Mux, Node, Pack, Read, Slice, Table
from lsrl.python_step import CheckFailedError, compile_step, step_source
from lsrl.types import BOOL, INT, REAL, Int, Value, Vector
from tests.random_graphs import graphs, rows

Step = Callable[[Mapping[str, Value], Mapping[str, object], int], tuple[dict[str, Value], dict[str, Value]]]
EXAMPLES = int(os.environ.get("LSRL_EXAMPLES", "60"))
MANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def trace(step: Step, state: dict[str, Value], inputs: list[dict[str, Value]]) -> list[Any]:
    """Outputs and states of each token, then the error that ended the run, if one did."""
    out: list[Any] = []
    for t, row in enumerate(inputs):
        try:
            outputs, state = step(state, row, t)
        except RunError as error:
            return [*out, (error.position, str(error))]
        out.append((outputs, state))
    return out


def equal(a: Any, b: Any) -> bool:
    """Equality of value and type, with NaN equal to itself and 0.0 apart from -0.0."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    return type(a) is type(b) and bool(a == b)


@MANY
@given(st.data(), st.booleans())
def test_generated_python_equals_the_interpreter(data: st.DataObject, numeric: bool) -> None:
    graph = data.draw(graphs(numeric))
    inputs = data.draw(rows(graph))
    interpreter, step = Interpreter(graph), compile_step(graph)
    wanted = trace(interpreter.step, interpreter.initial_state(), inputs)
    got = trace(step, step.initial_state(), inputs)
    assert equal(got, wanted), (got, wanted)


@MANY
@given(st.data(), st.booleans())
def test_a_block_equals_single_steps(data: st.DataObject, numeric: bool) -> None:
    graph = data.draw(graphs(numeric))
    inputs = data.draw(rows(graph))
    step = compile_step(graph)
    wanted = trace(step, step.initial_state(), inputs)
    xs = [tuple(read_inputs(graph, row, 0).values()) for row in inputs]
    out: list[Any] = []
    failed = None
    state = step.pack_state(step.initial_state())
    try:
        state = step.run_block(state, [x[0] for x in xs] if len(graph.inputs) == 1 else xs, out)
    except CheckFailedError as error:
        failed = step.error(error, len(out))
    got: list[Any] = [step.unpack_outputs([o] if len(graph.outputs) == 1 else o) for o in out]
    assert equal(got, [w[0] for w in wanted if isinstance(w[0], dict)])
    if failed is not None:
        assert wanted[-1] == (failed.position, str(failed))
    elif wanted:
        assert equal(step.unpack_state(state), wanted[-1][1])


def test_fifty_thousand_nodes() -> None:
    x = Input("x", INT, NOWHERE)
    node: Node = x
    for i in range(50_000):
        node = Affine(((1, node), (1, x)), i % 3, INT, NOWHERE)
    graph = Graph("deep", (x,), (), (("out", node),), (), (), NOWHERE)
    wanted = Interpreter(graph).step({}, {"x": 7})[0]
    assert compile_step(graph)({}, {"x": 7})[0] == wanted == {"out": 7 + 7 * 50_000 + sum(i % 3 for i in range(50_000))}


def test_a_sum_of_ten_thousand_terms() -> None:
    x = Input("x", Vector(INT, 100), NOWHERE)
    elements = [Index(x, Const(i, INT, NOWHERE), INT, NOWHERE) for i in range(100)]
    total = Affine(tuple((1, elements[i % 100]) for i in range(10_000)), 1, INT, NOWHERE)
    graph = Graph("wide", (x,), (), (("out", total),), (), (), NOWHERE)
    assert compile_step(graph)({}, {"x": list(range(100))})[0] == {"out": 100 * 4950 + 1}


def test_large_vectors_stay_tuples() -> None:
    n = 200
    x = Input("x", INT, NOWHERE)
    window = Read("window", Vector(INT, n), NOWHERE)
    pushed = Pack((*(Index(window, Const(i, INT, NOWHERE), INT, NOWHERE) for i in range(1, n)), x),
                  Vector(INT, n), NOWHERE)
    doubled = Affine(((2, pushed),), 0, Vector(INT, n), NOWHERE)
    total = MatMul(doubled, Const((1,) * n, Vector(INT, n), NOWHERE), INT, NOWHERE)
    old = Index(Slice(pushed, 50, 199, Vector(INT, 150), NOWHERE), x, INT, NOWHERE)
    graph = Graph("window", (x,), (State("window", Vector(INT, n), (0,) * n, pushed, NOWHERE),),
                  (("total", total), ("old", old)), (), (), NOWHERE)
    inputs = [{"x": i * i % 151} for i in range(300)]
    assert list(compile_step(graph).run(inputs)) == list(Interpreter(graph).run(inputs))
    assert len(step_source(graph).splitlines()) < 300


def test_a_huge_constant_and_a_third() -> None:
    x = Input("x", INT, NOWHERE)
    huge = Affine(((10**6000, x),), 10**6000 + 1, INT, NOWHERE)
    third = Affine(((Fraction(1, 3), x),), Fraction(1, 6), REAL, NOWHERE)
    graph = Graph("huge", (x,), (), (("huge", huge), ("third", third)), (), (), NOWHERE)
    assert compile_step(graph)({}, {"x": 2})[0] == {"huge": 3 * 10**6000 + 1, "third": Fraction(5, 6)}


def test_reals_come_out_as_fractions() -> None:
    x = Input("x", INT, NOWHERE)
    graph = Graph("real", (x,), (), (("out", Affine(((1, x),), 0, REAL, NOWHERE)),), (), (), NOWHERE)
    out = compile_step(graph)({}, {"x": 2})[0]["out"]
    assert type(out) is Fraction and out == 2


@pytest.mark.parametrize("index, wanted", [(-5, 10), (0, 10), (1, 20), (2, 30), (99, 30)])
def test_an_index_outside_counts_as_the_nearest(index: int, wanted: int) -> None:
    i = Input("i", INT, NOWHERE)
    vector = Const((10, 20, 30), Vector(INT, 3), NOWHERE)
    table = Table((i,), (0,), (3,), (10, 20, 30), INT, NOWHERE)
    pair = Table((i, i), (-1, 0), (4, 3), tuple(range(12)), INT, NOWHERE)
    outputs = (("v", Index(vector, i, INT, NOWHERE)), ("t", table), ("p", pair))
    graph = Graph("index", (i,), (), outputs, (), (), NOWHERE)
    place = min(max(index, 0), 2)
    out = {"v": wanted, "t": wanted, "p": (min(max(index, -1), 2) + 1) * 3 + place}
    assert compile_step(graph)({}, {"i": index})[0] == Interpreter(graph).step({}, {"i": index})[0] == out


def test_an_untaken_branch_does_not_fail() -> None:
    x = Input("x", Int(0, 9), NOWHERE)
    safe = Compare("<", x, Const(3, INT, NOWHERE), BOOL, NOWHERE)
    picked = Index(Const((1, 2, 3), Vector(INT, 3), NOWHERE), x, INT, NOWHERE)
    out = Mux(Logic("and", (safe,), BOOL, NOWHERE), picked, Const(-1, INT, NOWHERE), INT, NOWHERE)
    graph = Graph("branch", (x,), (), (("out", out),), (), (), NOWHERE)
    assert [o["out"] for o in compile_step(graph).run({"x": v} for v in (0, 2, 3, 9))] == [1, 3, -1, -1]
