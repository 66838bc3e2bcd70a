"""A batch run equals the interpreter, row by row."""

from __future__ import annotations

import math
import os
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsrl.diagnostics import NOWHERE, LsrlError
from lsrl.interpreter import Interpreter, RunError
from lsrl.ir.graph import Check, Graph, State
from lsrl.ir.nodes import Affine, Compare, Const, Input, Mul, Node, Read, Table
from lsrl.types import BOOL, BYTE, INT, REAL, Int, Real, Symbols, Type, Value, Vector, scalar_of, shape
from lsrl.vectorized import run_batch
from tests.random_graphs import graphs, values_of

EXAMPLES = int(os.environ.get("LSRL_EXAMPLES", "60"))
MANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def as_array(values: list[list[Any]], t: Type) -> Any:
    """(B, T, …) objects."""
    out = np.empty((len(values), len(values[0]), *shape(t)), dtype=object)
    for place in np.ndindex(*out.shape):
        v: Any = values
        for i in place:
            v = v[i]
        out[place] = v
    return out


def tuples(x: Any) -> Any:
    return tuple(map(tuples, x)) if isinstance(x, list) else x


def same(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, tuple):
        return len(got) == len(wanted) and all(map(same, got, wanted))
    if isinstance(wanted, float):
        return bool(math.isnan(got) and math.isnan(wanted)) or \
            bool(got == wanted and math.copysign(1, got) == math.copysign(1, wanted))
    return type(got) is type(wanted) and bool(got == wanted)


Rows = list[list[dict[str, Value]]]


def expected(graph: Graph, rows: Rows) -> tuple[Rows, list[dict[str, Value]], RunError | None]:
    """Outputs and final states of each row, and the earliest error of any row."""
    interpreter = Interpreter(graph)
    outputs, states, errors = [], [], []
    for number, row in enumerate(rows):
        state, out = interpreter.initial_state(), []
        try:
            for t, inputs in enumerate(row):
                result, state = interpreter.step(state, inputs, t)
                out.append(result)
        except RunError as error:
            errors.append((error.position, number, error))
        outputs.append(out)
        states.append(state)
    return outputs, states, min(errors, key=lambda e: e[:2])[2] if errors else None


@MANY
@given(st.data(), st.booleans())
def test_a_batch_equals_the_interpreter(data: st.DataObject, numeric: bool) -> None:
    graph = data.draw(graphs(numeric))
    count, tokens = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 6))
    rows = [[{n.name: data.draw(values_of(n.type)) for n in graph.inputs} for _ in range(tokens)] for _ in range(count)]
    inputs = {n.name: as_array([[r[n.name] for r in row] for row in rows], n.type) for n in graph.inputs}
    wanted, states, error = expected(graph, rows)
    if error is not None:
        with pytest.raises(RunError) as raised:
            run_batch(graph, inputs)
        assert raised.value.position == error.position and raised.value.check is error.check
        assert f"at token {error.position} of row {raised.value.row}" in str(raised.value)
        assert raised.value.diagnostics[0].label == error.diagnostics[0].label
        return
    got, final = run_batch(graph, inputs, exact=True)
    for name, _ in graph.outputs:
        values = tuples(got[name].tolist())
        assert same(values, tuple(tuple(t[name] for t in row) for row in wanted)), (name, values)
    for s in graph.states:
        assert same(tuples(final[s.name].tolist()), tuple(row[s.name] for row in states)), s.name
    first, middle = ({n: a[:, : tokens // 2] for n, a in inputs.items()},
                     {n: a[:, tokens // 2 :] for n, a in inputs.items()})
    _, between = run_batch(graph, first)
    rest, end = run_batch(graph, middle, between, exact=True)
    for name, _ in graph.outputs:
        assert same(tuples(rest[name].tolist()), tuples(got[name][:, tokens // 2 :].tolist()))
    assert all(same(tuples(end[n].tolist()), tuples(final[n].tolist())) for n in final)


def one_state(t: Type, following: Any, init: Value = 0, **kinds: Type) -> Graph:
    """A graph whose one state `s` becomes `following(s, *inputs)`, which is also its output."""
    inputs = tuple(Input(name, kind, NOWHERE) for name, kind in kinds.items())
    node: Node = following(Read("s", t, NOWHERE), *inputs)
    return Graph("one", inputs, (State("s", t, init, node, NOWHERE),), (("out", node),), (), (), NOWHERE)


def test_a_count_passes_over_into_big_integers() -> None:
    graph = one_state(INT, lambda s, x: Affine(((3, s), (1, x)), 0, INT, NOWHERE), x=INT)
    xs = np.ones((2, 60), dtype=np.int64)
    out, state = run_batch(graph, {"x": xs})
    wanted: list[Any] = [o["out"] for o in Interpreter(graph).run({"x": 1} for _ in range(60))]
    assert out["out"][0].tolist() == wanted and wanted[-1] > 2**64
    assert state["s"].tolist() == [wanted[-1]] * 2
    again, _ = run_batch(graph, {"x": xs[:, :1]}, state)
    assert again["out"].tolist() == [[3 * wanted[-1] + 1]] * 2


def test_squaring_never_overflows() -> None:
    graph = one_state(INT, lambda s, x: Affine(((1, Mul(s, s, INT, NOWHERE)), (1, x)), 0, INT, NOWHERE), x=Int(0, 3))
    out, _ = run_batch(graph, {"x": np.full((1, 12), 2)})
    assert out["out"][0].tolist() == [o["out"] for o in Interpreter(graph).run({"x": 2} for _ in range(12))]


def test_a_long_count_stays_in_64_bits() -> None:
    graph = one_state(INT, lambda s, x: Affine(((1, s), (1, x)), 0, INT, NOWHERE), x=Int(0, 3))
    out, _ = run_batch(graph, {"x": np.full((3, 2000), 3)})
    assert out["out"].dtype == np.int64 and out["out"][2, -1] == 6000


def test_fixed_point_is_exact_and_halves_grow_exactly() -> None:
    tenth = Real(Fraction(0), Fraction(1), Fraction(1, 10))
    total = one_state(REAL, lambda s, x: Affine(((1, s), (1, x)), 0, REAL, NOWHERE), Fraction(0), x=tenth)
    xs = np.full((1, 1000), 0.1)
    out, state = run_batch(total, {"x": xs})
    assert out["out"].dtype == np.float64 and out["out"][0, -1] == 100.0 and out["out"][0, 2] == 0.3
    assert state["s"].tolist() == [Fraction(100)]
    ema = one_state(REAL, lambda s, x: Affine(((Fraction(1, 2), s), (Fraction(1, 2), x)), 0, REAL, NOWHERE),
                    Fraction(0), x=tenth)
    exact, _ = run_batch(ema, {"x": xs[:, :80]}, exact=True)
    wanted = [o["out"] for o in Interpreter(ema).run({"x": Fraction(1, 10)} for _ in range(80))]
    assert exact["out"][0].tolist() == wanted


def test_symbols_as_names_and_codes() -> None:
    letters = Symbols(("a", "b"), other=True)
    x = Input("x", letters, NOWHERE)
    graph = Graph("names", (x,), (), (("out", Table((x,), (0,), (3,), (5, 6, 7), INT, NOWHERE)),), (), (), NOWHERE)
    for array in (np.array([["b", "a", "?"]]), np.array([[1, 0, 2]]), np.array([["b", "a", "?"]], dtype=object)):
        assert run_batch(graph, {"x": array})[0]["out"].tolist() == [[6, 5, 7]]


def test_the_first_row_that_fails_is_named() -> None:
    x = Input("x", BYTE, NOWHERE)
    small = Compare("<", x, Const(9, INT, NOWHERE), BOOL, NOWHERE)
    check = Check("assert", small, "{value} is too large", "L501", x, NOWHERE)
    graph = Graph("small", (x,), (), (("out", small),), (check,), (), NOWHERE)
    with pytest.raises(RunError, match=r"^error\[L501\]: 20 is too large at token 1 of row 1") as raised:
        run_batch(graph, {"x": np.array([[0, 1, 99], [5, 20, 99], [8, 30, 0]])})
    assert (raised.value.position, raised.value.row, raised.value.inputs) == (1, 1, {"x": 20})


@pytest.mark.parametrize("kind, array, message", [
    (Int(0, 3), [[0, 4]], "input `x`, row 0, token 1: 4 is outside int[0..3]"),
    (Int(0, 3), [[0, 1.5]], "input `x`, row 0, token 1: 1.5 is not an integer"),
    (BOOL, [[True, True], [True, 7]], "input `x`, row 1, token 1: 7 is not a bool"),
    (REAL, [[math.nan]], "input `x`, row 0, token 0: nan is not a rational number"),
    (Real(None, None, Fraction(1, 4)), [[0.5, 0.3]], "input `x`, row 0, token 1: 0.3 is not a multiple of 1/4"),
    (Symbols(("a",)), [["a", "b"]], 'input `x`, row 0, token 1: "b" is not in the alphabet {"a"}'),
    (Vector(INT, 2), [[1, 2]], "input `x` has the shape (1, 2), where (B, T, 2) is wanted"),
    (INT, [1, 2], "input `x` has the shape (2,), where (B, T) is wanted"),
])
def test_bad_inputs(kind: Type, array: Any, message: str) -> None:
    x = Input("x", kind, NOWHERE)
    graph = Graph("bad", (x,), (), (("out", x),), (), (), NOWHERE)
    with pytest.raises(LsrlError) as raised:
        run_batch(graph, {"x": np.array(array)})
    assert raised.value.diagnostics[0].message == message


def test_names_of_inputs() -> None:
    x = Input("first", INT, NOWHERE)
    graph = Graph("named", (x,), (), (("out", x),), (), (), NOWHERE)
    with pytest.raises(LsrlError, match="no input `frist`") as raised:
        run_batch(graph, {"frist": np.zeros((1, 1))})
    assert "did you mean `first`?" in str(raised.value)
    with pytest.raises(LsrlError, match="input `first` is missing"):
        run_batch(graph, {})


def test_no_rows_and_no_tokens() -> None:
    graph = one_state(INT, lambda s, x: Affine(((1, s), (1, x)), 0, INT, NOWHERE), x=INT)
    out, state = run_batch(graph, {"x": np.zeros((2, 0), dtype=int)})
    assert out["out"].shape == (2, 0) and state["s"].tolist() == [0, 0]
    out, state = run_batch(graph, {"x": np.zeros((0, 3), dtype=int)})
    assert out["out"].shape == (0, 3) and state["s"].shape == (0,)
    assert scalar_of(graph.inputs[0].type) == INT
