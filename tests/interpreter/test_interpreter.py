"""One step at a time: order, state, checks, inputs and params."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from lsrl.diagnostics import NOWHERE, LsrlError, Source, Span
from lsrl.interpreter import Interpreter, RunError
from lsrl.ir.graph import Check, Graph, State
from lsrl.ir.nodes import Affine, Compare, Const, Index, Input, Mul, Node, Param, Read, Table, Unary
from lsrl.types import BOOL, BYTE, INT, REAL, Int, Real, Symbols, Type, Vector
from tests.random_graphs import AB

TEXT = Source("balanced.lsrl", "state depth: int[0..8] = 0\ndepth := depth + delta\nassert depth < 3, \"deep\"\n")
LINE = Span(TEXT, 27, 49)
ASSERT = Span(TEXT, 50, 74)


def balanced() -> Graph:
    tok = Input("tok", Symbols(("(", ")"), other=True), LINE)
    read = Read("depth", Int(0, 8), LINE)
    delta = Table((tok,), (0,), (3,), (1, -1, 0), INT, LINE)
    depth = Affine(((1, read), (1, delta)), 0, INT, LINE)
    low = Compare("<=", Const(0, INT, LINE), depth, BOOL, LINE)
    shallow = Compare("<", depth, Const(3, INT, LINE), BOOL, LINE)
    checks = (Check("range", low, "`depth` leaves its range int[0..8]", "L204", depth, LINE),
              Check("assert", shallow, "deep: {value}", "L501", depth, ASSERT))
    out = Compare("==", depth, Const(0, INT, LINE), BOOL, LINE)
    return Graph("balanced", (tok,), (State("depth", Int(0, 8), 0, depth, LINE),), (("out", out),), checks, (), LINE)


def test_steps_do_not_change_the_state_they_are_given() -> None:
    interpreter = Interpreter(balanced())
    start = interpreter.initial_state()
    outputs, after = interpreter.step(start, {"tok": "("})
    assert (outputs, after, start) == ({"out": False}, {"depth": 1}, {"depth": 0})
    assert interpreter.step(after, {"tok": 1}) == ({"out": True}, {"depth": 0})


def test_run_yields_as_it_goes() -> None:
    seen: list[str] = []

    def letters() -> Any:
        for c in "(x)":
            seen.append(c)
            yield {"tok": c}

    run = Interpreter(balanced()).run(letters())
    assert next(run) == {"out": False} and seen == ["("]
    assert [o["out"] for o in run] == [False, True]
    assert list(Interpreter(balanced()).run([])) == []


def test_a_failed_check_says_where_and_why() -> None:
    interpreter = Interpreter(balanced())
    rows = [{"tok": c} for c in "((())"]
    with pytest.raises(RunError) as raised:
        list(interpreter.run(rows))
    assert str(raised.value) == """\
error[L501]: deep: 3 at token 2
  ┌─ balanced.lsrl:3:1
  │
3 │ assert depth < 3, "deep"
  │ ^^^^^^^^^^^^^^^^^^^^^^^^ the value is 3 when depth is 2
  = note: the inputs of that token: tok = "(\""""
    assert (raised.value.position, raised.value.inputs, raised.value.row) == (2, {"tok": 0}, None)
    with pytest.raises(RunError) as raised:
        interpreter.step({"depth": 0}, {"tok": ")"}, position=17)
    first, label = raised.value.diagnostics[0].message, raised.value.diagnostics[0].label
    assert first == "`depth` leaves its range int[0..8] at token 17"
    assert label == "becomes -1 when depth is 0"


def test_at_most_four_states_are_shown() -> None:
    x = Input("x", INT, NOWHERE)
    reads = [Read(f"s{i}", INT, NOWHERE) for i in range(6)]
    total = Affine(tuple((1, r) for r in reads), 0, INT, NOWHERE)
    never = Compare("<", total, Const(0, INT, NOWHERE), BOOL, NOWHERE)
    graph = Graph("many", (x,), tuple(State(f"s{i}", INT, i, x, NOWHERE) for i in range(6)), (("out", total),),
                  (Check("range", never, "no", "L204", total, NOWHERE),), (), NOWHERE)
    with pytest.raises(RunError) as raised:
        Interpreter(graph).step(Interpreter(graph).initial_state(), {"x": 1})
    assert raised.value.diagnostics[0].label == "becomes 15 when s0 is 0, s1 is 1, s2 is 2 and s3 is 3"


def passing(t: Type) -> Graph:
    x = Input("x", t, NOWHERE)
    numeric = (("f", Unary("exp", Const(0, REAL, NOWHERE), REAL, NOWHERE)),) if t == REAL else ()
    return Graph("passing", (x,), (), (("out", x), *numeric), (), (), NOWHERE)


@pytest.mark.parametrize("t, given, held", [
    (BOOL, 1, True), (BOOL, np.bool_(False), False), (BOOL, 0.0, False),
    (INT, True, 1), (INT, np.int64(7), 7), (INT, 3.0, 3), (INT, Fraction(4), 4), (INT, 10**40, 10**40),
    (BYTE, 255, 255), (AB, "b", 1), (AB, "z", 2), (AB, 0, 0), (AB, np.str_("a"), 0),
    (Real(Fraction(0), None), 0.5, Fraction(1, 2)), (Real(Fraction(0), None), 3, Fraction(3)),
    (Real(None, None, Fraction(1, 10)), 0.1, Fraction(1, 10)),
    (Real(None, None, Fraction(1, 10)), np.float32(0.3), Fraction(3, 10)),
    (REAL, 0.1, 0.1), (REAL, Fraction(1, 3), 1 / 3), (REAL, 2, 2.0), (REAL, 10**400, float("inf")),
    (Vector(INT, 2), [1, 2.0], (1, 2)), (Vector(INT, 2), np.array([1, 2]), (1, 2)),
    (Vector(Vector(BOOL, 1), 2), ((1,), (0,)), ((True,), (False,))),
])
def test_inputs_are_brought_to_one_form(t: Type, given: object, held: object) -> None:
    out = Interpreter(passing(t)).step({}, {"x": given})[0]["out"]
    assert out == held and type(out) is type(held)


@pytest.mark.parametrize("t, given, code, message", [
    (BOOL, "true", "L602", '"true" is not a bool'), (BOOL, 2, "L602", "2 is not a bool"),
    (INT, 1.5, "L602", "1.5 is not an integer"), (INT, "1", "L602", '"1" is not an integer'),
    (INT, None, "L602", "null is not an integer"), (INT, float("nan"), "L602", "nan is not an integer"),
    (BYTE, 256, "L603", "256 is outside byte"), (Int(0, None), -1, "L603", "-1 is outside int[0..]"),
    (Real(Fraction(0), Fraction(1)), 2, "L603", "2 is outside real[0..1]"),
    (Real(None, None, Fraction(1, 4)), Fraction(1, 3), "L604", "1/3 is not a multiple of 1/4"),
    (Real(Fraction(0), None), float("inf"), "L602", "inf is not a rational number"),
    (Symbols(("a",)), "b", "L605", '"b" is not in the alphabet {"a"}'),
    (AB, 3, "L605", '3 is not a code of the alphabet {"a", "b", *} of 3 symbols'),
    (AB, 0.5, "L602", '0.5 is not a symbol of {"a", "b", *}'),
    (Vector(INT, 2), [1], "L602", "a vector of 1 stands where int[2] is wanted"),
    (Vector(INT, 2), "12", "L602", '"12" is not a vector of 2'), (Vector(INT, 2), 1, "L602", "1 is not a vector of 2"),
    (INT, "9" * 5000, "L602", f'"{"9" * 56}…" is not an integer'),
])
def test_bad_inputs(t: Type, given: object, code: str, message: str) -> None:
    with pytest.raises(RunError) as raised:
        Interpreter(passing(t)).step({}, {"x": given}, position=5)
    told = raised.value.diagnostics[0]
    assert (told.code, told.message) == (code, f"input `x` at token 5: {message}")
    assert raised.value.check is None and raised.value.position == 5


def test_missing_and_unknown_inputs() -> None:
    interpreter = Interpreter(balanced())
    with pytest.raises(RunError, match="input `tok` is missing at token 3"):
        interpreter.step({"depth": 0}, {"token": "("}, 3)
    with pytest.raises(RunError, match="the program has no input `tk`") as raised:
        interpreter.step({"depth": 0}, {"tok": "(", "tk": 1})
    assert raised.value.diagnostics[0].help == "did you mean `tok`?"


def test_evaluate_gives_every_node() -> None:
    graph = balanced()
    values = Interpreter(graph).evaluate({"depth": 2}, {"tok": ")"})
    assert [values[n] for n in graph.nodes if isinstance(n, Table | Affine)] == [-1, 1]
    assert set(values) == set(graph.nodes)


def test_ten_thousand_deep() -> None:
    x = Input("x", INT, NOWHERE)
    node: Node = x
    for _ in range(10_000):
        node = Affine(((1, node),), 1, INT, NOWHERE)
    graph = Graph("deep", (x,), (), (("out", node),), (), (), NOWHERE)
    assert Interpreter(graph).step({}, {"x": -1})[0] == {"out": 9_999}


def with_params(**inits: Any) -> Graph:
    x = Input("x", REAL, NOWHERE)
    nodes = [Param(name, init, Vector(REAL, 3), NOWHERE) for name, init in inits.items()]
    return Graph("params", (x,), (), tuple((n.name, n) for n in nodes), (), (), NOWHERE)


def test_params_have_initial_values() -> None:
    kinds: dict[str, Any] = {"z": ("zeros", ()), "o": ("ones", ()), "c": ("const", (Fraction(1, 2),)),
                             "v": ("const", ((1, 2, 3),)), "n": ("normal", (Fraction(1, 10),)),
                             "u": ("uniform", (-1, 1))}
    out = Interpreter(with_params(**kinds)).step({}, {"x": 0})[0]
    assert (out["z"], out["o"], out["c"], out["v"]) == ((0.0,) * 3, (1.0,) * 3, (0.5,) * 3, (1.0, 2.0, 3.0))
    assert isinstance(out["n"], tuple) and isinstance(out["u"], tuple)
    assert all(isinstance(v, float) and -1 <= v <= 1 for v in (*out["n"], *out["u"]))
    assert len({*out["n"], *out["u"]}) == 6
    fewer = Interpreter(with_params(u=kinds["u"])).step({}, {"x": 0})[0]
    assert fewer["u"] == out["u"]  # does not depend on the other params


def test_params_can_be_given() -> None:
    graph = with_params(w=("zeros", ()))
    assert Interpreter(graph, {"w": np.array([1, 2, 3])}).step({}, {"x": 0})[0]["w"] == (1.0, 2.0, 3.0)
    with pytest.raises(LsrlError, match="no param `ww`"):
        Interpreter(graph, {"ww": [0, 0, 0]})
    with pytest.raises(LsrlError, match="param `w`: a vector of 2 stands where"):
        Interpreter(graph, {"w": [0, 0]})


def test_a_state_of_reals_takes_ints() -> None:
    x = Input("x", INT, NOWHERE)
    graph = Graph("widen", (x,), (State("s", REAL, 0, x, NOWHERE),), (("out", Read("s", REAL, NOWHERE)),), (), (),
                  NOWHERE)
    interpreter = Interpreter(graph)
    assert type(interpreter.initial_state()["s"]) is Fraction
    assert type(interpreter.step(interpreter.initial_state(), {"x": 3})[1]["s"]) is Fraction


def test_numeric_states_are_floats() -> None:
    x = Input("x", REAL, NOWHERE)
    s = Read("s", REAL, NOWHERE)
    following = Affine(((Fraction(1, 10), Unary("tanh", s, REAL, NOWHERE)), (1, x)), 0, REAL, NOWHERE)
    graph = Graph("float", (x,), (State("s", REAL, Fraction(1, 2), following, NOWHERE),), (("out", following),), (), (),
                  NOWHERE)
    interpreter = Interpreter(graph)
    state = interpreter.initial_state()
    assert state == {"s": 0.5} and type(state["s"]) is float
    outputs, _ = interpreter.step(state, {"x": Fraction(1, 4)})
    assert outputs["out"] == pytest.approx(0.1 * 0.46211715726000973 + 0.25, rel=1e-15)


def test_large_values_in_messages_are_short() -> None:
    x = Input("x", INT, NOWHERE)
    square = Mul(x, x, INT, NOWHERE)
    small = Compare("<", square, Const(5, INT, NOWHERE), BOOL, NOWHERE)
    graph = Graph("large", (x,), (), (("out", square),), (Check("assert", small, "not {value}", "L501", square,
                                                                NOWHERE),), (), NOWHERE)
    with pytest.raises(RunError, match="not an integer of 33220 bits at token 0"):
        Interpreter(graph).step({}, {"x": 10**5000})


def test_index_out_of_an_empty_branch_is_total() -> None:
    i = Input("i", INT, NOWHERE)
    picked = Index(Const((1, 2), Vector(INT, 2), NOWHERE), i, INT, NOWHERE)
    graph = Graph("total", (i,), (), (("out", picked),), (), (), NOWHERE)
    assert [o["out"] for o in Interpreter(graph).run({"i": v} for v in (-9, 0, 1, 9))] == [1, 1, 2, 2]
