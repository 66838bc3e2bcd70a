"""Nodes over columns of values, and the letters of a boundary."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsrl.analysis.arrays import Column, distinct_rows, evaluate_columns, python_values, value_column
from lsrl.analysis.letters import NotFinite, find_letters
from lsrl.analysis.ranges import analyse
from lsrl.diagnostics import Source
from lsrl.frontend.modules import read_module
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Input, Node, Read, operands
from lsrl.passes import run_pipeline
from lsrl.types import Vector, values
from tests.random_graphs import graphs, rows

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def graph_of(text: str) -> Graph:
    return run_pipeline(read_module(Source("case.lsrl", text), Path()).elaborate())


@relaxed
@given(st.data())
def test_columns_equal_the_interpreter(data: st.DataObject) -> None:
    graph = run_pipeline(data.draw(graphs()))
    stream = data.draw(rows(graph))
    interpreter = Interpreter(graph)
    state = interpreter.initial_state()
    table = [interpreter.evaluate(state, row, t) for t, row in enumerate(stream)]
    if not table:
        return
    ranges = analyse(graph)
    known: dict[Node, Column] = {}
    inner: list[Node] = []
    for n in graph.nodes:
        if isinstance(n.type, Vector):
            continue
        if isinstance(n, Input | Read) or any(isinstance(x.type, Vector) for x in operands(n)):
            known[n] = value_column(n, [row[n] for row in table], ranges)
        else:
            inner.append(n)
    found = evaluate_columns(inner, known, len(table), ranges)
    for n in inner:
        assert python_values(n, found[n]) == [row[n] for row in table]


def test_distinct_rows_in_the_order_of_their_first() -> None:
    first, inverse = distinct_rows([np.array([3, 1, 3, 1, 2]), np.array(["x", "y", "x", "z", "y"], object)])
    assert first.tolist() == [0, 1, 3, 4]
    assert inverse.tolist() == [0, 1, 0, 2, 3]


def test_letters_of_nodes_with_a_common_source() -> None:
    graph = graph_of("""
program p(x: int[0..9], y: bool) -> (a: bool, b: bool, c: bool):
    return (a = x < 3, b = x > 7, c = y and x > 0)
""")
    ranges = analyse(graph)
    nodes = [n for _, n in graph.outputs]
    letters = find_letters(nodes, ranges)
    assert not isinstance(letters, NotFinite)
    x_and_y = product(values(graph.inputs[0].type), (False, True))
    assert set(letters) == {(x < 3, x > 7, y and x > 0) for x, y in x_and_y if isinstance(x, int)}


def test_letters_behind_values_without_bounds() -> None:
    graph = graph_of("""
program p(x: int, y: bool) -> (a: bool, b: bool):
    return (a = x < 3, b = x < 3 and y)
""")
    letters = find_letters([n for _, n in graph.outputs], analyse(graph))
    assert not isinstance(letters, NotFinite)
    assert set(letters) == {(True, True), (True, False), (False, False)}


def test_why_there_are_no_letters() -> None:
    graph = graph_of("program p(x: int, y: int[0..5000]) -> (a: int, b: int):\n    return (a = x + 1, b = y)\n")
    ranges = analyse(graph)
    endless = find_letters([graph.output["a"]], ranges)
    assert isinstance(endless, NotFinite) and endless.node is graph.output["a"]
    many = find_letters([graph.output["b"]], ranges)
    assert isinstance(many, NotFinite) and "5001" in many.reason


def test_more_sources_than_can_be_listed() -> None:
    # Seven bytes have too many joint values, but seven comparisons of one each have 128.
    names = "abcdefg"
    inputs = ", ".join(f"{n}: byte" for n in names)
    graph = graph_of(f"program p({inputs}) -> bool[7]:\n    return [{', '.join(f'{n} > 3' for n in names)}]\n")
    nodes = [n for n in graph.nodes if not isinstance(n.type, Vector) and operands(n)]
    letters = find_letters(nodes, analyse(graph))
    assert not isinstance(letters, NotFinite) and len(letters) == 2**7
    assert len(set(letters)) == len(letters)
