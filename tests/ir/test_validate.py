"""The validator names the rule that a broken graph breaks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lsrl.diagnostics import NOWHERE
from lsrl.ir.graph import Check, Graph, State
from lsrl.ir.nodes import Const, Index, Input, Mul, Mux, Node, Pack, Param, Read, Table
from lsrl.ir.validate import InvalidGraph, has_type, validate
from lsrl.types import BOOL, INT, REAL, Int, Real, Record, Symbols, Type, Value, Vector

X = Input("x", INT, NOWHERE)
B = Input("b", BOOL, NOWHERE)
ZERO = Const(0, INT, NOWHERE)
GOOD = Graph("g", (X, B), (State("s", INT, 0, X, NOWHERE),), (("out", X),),
             (Check("assert", B, "", "L501", X, NOWHERE),), (("x", X),), NOWHERE)


def of(node: Node) -> Graph:
    return replace(GOOD, outputs=(("out", node),))


LETTERS, DIGITS = Symbols(("a", "b")), Symbols(("0", "1"))
BROKEN: list[tuple[Graph, str, str]] = [
    (replace(GOOD, inputs=(X, B, X)), "unique-names", "two inputs are called `x`"),
    (replace(GOOD, outputs=(("a", X), ("a", X))), "unique-names", "two outputs"),
    (replace(GOOD, names=(("a", X), ("a", X))), "unique-names", "two names"),
    (replace(GOOD, inputs=(X,)), "inputs", "`b` is not an input"),
    (replace(GOOD, states=(State("s", BOOL, 0, B, NOWHERE),)), "states", "the initial value of `s`"),
    (replace(GOOD, states=(State("s", INT, 0, B, NOWHERE),)), "states", "`s` of type int becomes a bool"),
    (of(Read("t", INT, NOWHERE)), "states", "`t` is read but is no state"),
    (of(Read("s", Int(0, 1), NOWHERE)), "states", "`s` is read as a int[0..1]"),
    (replace(GOOD, checks=(Check("assert", X, "", "L501", None, NOWHERE),)), "checks", "a condition of type int"),
    (replace(GOOD, checks=(Check("hope", B, "", "L501", None, NOWHERE),)), "checks", "kind `hope`"),
    (replace(GOOD, checks=(Check("assert", B, "", "501", None, NOWHERE),)), "checks", "code `501`"),
    (of(Const(True, INT, NOWHERE)), "values", "not of its type int"),
    (of(Const(3, Int(0, 2), NOWHERE)), "values", "int[0..2]"),
    (of(Const((1, 2), Vector(INT, 3), NOWHERE)), "values", "int[3]"),
    (of(Table((B,), (0,), (2,), (0, 5), Int(0, 4), NOWHERE)), "values", "a table holds a value"),
    (of(Table((B,), (0,), (0,), (), INT, NOWHERE)), "values", "without values"),
    (of(Param("w", ("normal", ()), REAL, NOWHERE)), "values", "normal with 0 arguments"),
    (of(Param("w", ("zeros", ()), INT, NOWHERE)), "kinds", "of type int"),
    (of(Pack((Param("w", ("zeros", ()), REAL, NOWHERE), Param("w", ("zeros", ()), REAL, NOWHERE)), Vector(REAL, 2),
             NOWHERE)), "unique-names", "two params"),
    (of(Mul(Const(1, REAL, NOWHERE), X, INT, NOWHERE)), "kinds", "Mul of real, int gives a int"),
    (of(Mux(B, Const(0, LETTERS, NOWHERE), Const(0, DIGITS, NOWHERE), LETTERS, NOWHERE)), "kinds", "Mux"),
    (of(Index(Const((1, 2), Vector(INT, 2), NOWHERE), ZERO, BOOL, NOWHERE)), "kinds", "Index"),
    (of(Pack((X, B), Vector(INT, 2), NOWHERE)), "kinds", "Pack"),
    (of(Const((), Record(()), NOWHERE)), "kinds", "a record"),
]


def test_a_valid_graph_passes() -> None:
    validate(GOOD)


@pytest.mark.parametrize(("graph", "rule", "message"), BROKEN, ids=[f"{r}: {m}" for _, r, m in BROKEN])
def test_each_rule_is_named(graph: Graph, rule: str, message: str) -> None:
    with pytest.raises(InvalidGraph) as caught:
        validate(graph)
    assert caught.value.rule == rule
    assert message in str(caught.value)


@pytest.mark.parametrize(("value", "type_", "expected"), [
    (True, BOOL, True), (1, BOOL, False), (True, INT, False), (2, Int(0, 1), False), (1, LETTERS, True),
    (2, LETTERS, False), (2, Symbols(("a", "b"), True), True), (1, REAL, True), (0.5, Real(None, None), True),
    (1, Real(grid=None), True), ((1, 2), Vector(INT, 2), True), ((1, (2,)), Vector(INT, 2), False), ((), INT, False),
])
def test_has_type(value: Value, type_: Type, expected: bool) -> None:
    assert has_type(value, type_) is expected
