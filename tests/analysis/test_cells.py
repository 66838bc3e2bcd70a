"""Cells and their classes, on programs; and each class's details against the interpreter on random programs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsrl.analysis import details as d
from lsrl.analysis.cells import Cell, find_cells
from lsrl.arithmetic import apply
from lsrl.diagnostics import LsrlError, Source
from lsrl.frontend.modules import read_module
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph, reachable
from lsrl.ir.nodes import Node, operands
from lsrl.passes import run_pipeline
from lsrl.types import Value
from tests.strategies import programs, rows_for

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def graph_of(text: str) -> Graph:
    return run_pipeline(read_module(Source("case.lsrl", text), Path()).elaborate())


def classes_of(text: str) -> dict[str, tuple[str, ...]]:
    return {", ".join(c.states): c.classes for c in find_cells(graph_of(text))}


def program(body: str, inputs: str = "x: int, c: bool", result: str = "int") -> str:
    lines = "\n".join(f"    {line}" for line in body.strip().split("\n"))
    return f"program p({inputs}) -> {result}:\n{lines}\n"


CLASSES = {
    "delay": (program("return prev(x, 0)"), ("delay",)),
    "delay of a bit": (program("return prev(c, false)", result="bool"), ("delay", "automaton")),
    "sum": (program("return running_sum(x)"), ("accumulator",)),
    "count that is seen": (program("return count(c)"), ("accumulator",)),
    "count that is compared": (program("return count(c) > 3", result="bool"), ("counter", "accumulator")),
    "conditional sum": (program("state s: int = 0\ns := s + x if c else s\nreturn s"), ("accumulator",)),
    "reset by a condition": (program("state s: int = 0\ns := 0 if c else s + 1\nreturn s"), ("gated",)),
    "reset, only compared": (program("return since(c) > 3", result="bool"), ("counter", "gated")),
    "hold": (program("return hold(x, c, 0)"), ("latch", "gated")),
    "set and reset": (program("return latch(c, x > 3)", result="bool"), ("latch", "automaton")),
    "average": (program("return ema(real(x), 1/4)", result="real"), ("affine",)),
    "gate from outside": (program("state s: int = 0\ns := s * x + 1\nreturn s"), ("gated",)),
    "fibonacci": (program("state a: int = 0\nstate b: int = 1\nt = a\na := b\nb := b + t + x\nreturn a"), ("affine",)),
    "products by a matrix from outside": (
        program("state a: int = 0\nstate b: int = 1\nt = a\na := x * b\nb := t + b\nreturn a"), ("affine-dense",)),
    "running maximum": (program("return running_max(x)"), ("tropical",)),
    "greater of two by `if`": (program("state m: int = 0\nm := x if m < x else m\nreturn m"), ("tropical",)),
    "clamped walk": (program("state m: int = 0\nm := clamp(m + x, 0, 5)\nreturn m"), ("tropical",)),
    "clamped walk of small steps": (
        program("state m: int = 0\nm := clamp(m + x, 0, 5)\nreturn m", "x: int[-1..1]"), ("tropical", "automaton")),
    "parity": (program("return parity(c)", result="bool"), ("automaton",)),
    "counter machine": (
        program("state n: int = 0\nn := n - 1 if c and n > 0 else n + 2\nreturn n == 0", result="bool"),
        ("counter-machine",)),
    "control and registers in one cell": (
        program("state n: int = 0\nstate on: bool = false\nn := n + 1 if on else n - 1\non := n < 3\nreturn on",
                result="bool"), ("automaton", "counter-machine")),
    "piecewise": (program("state s: int = 0\ns := abs(s) - 2 * s + x\nreturn s"), ("piecewise",)),
    "smooth": (program("state s: real = 0\ns := tanh(s + x)\nreturn s", result="real"), ("smooth",)),
    "polynomial": (program("state s: int = 0\ns := s * s + x\nreturn s"), ("smooth",)),
}


@pytest.mark.parametrize("case", CLASSES, ids=str)
def test_class(case: str) -> None:
    text, want = CLASSES[case]
    found = [c for c in find_cells(graph_of(text)) if c.states != ("running_max.started",)]
    assert [c.classes for c in found] == [want]


def only(text: str) -> Cell:
    (cell,) = find_cells(graph_of(text))
    return cell


def test_layers_follow_the_order_of_dependence() -> None:
    cells = find_cells(graph_of(program("""
state a: int = 0
state b: int = 0
state m: int = 0
a := a + x
b := b + a
m := max(m, b + a)
return m""")))
    assert [(c.states, c.layer, c.needs) for c in cells] == [(("a",), 0, ()), (("b",), 1, (0,)), (("m",), 2, (0, 1))]


def test_a_cell_that_reads_an_old_value_and_one_that_reads_a_new_one() -> None:
    graph = graph_of(program("""
state a: int = 0
state old: int = 0
state new: int = 0
old := old + a
a := a + x
new := new + a
return old + new"""))
    boundaries = {c.states[0]: c.boundary for c in find_cells(graph)}
    assert [type(n).__name__ for n in boundaries["old"]] == ["Read"]
    assert boundaries["new"] == (graph.state["a"].next,)


def test_spectrum_of_a_rotation_and_of_an_average() -> None:
    turn = only(program("state a: int = 0\nstate b: int = 1\nt = a\na := -b + x\nb := t\nreturn a")).details["affine"]
    assert isinstance(turn, d.Affine) and (turn.spectrum.kind, turn.spectrum.order) == ("roots of unity", 4)
    mean = only(CLASSES["average"][0]).details["affine"]
    assert isinstance(mean, d.Affine) and mean.spectrum.kind == "contracting"
    growing = only(CLASSES["fibonacci"][0]).details["affine"]
    assert isinstance(growing, d.Affine) and growing.spectrum.kind == "growing"


def test_structure_of_matrices() -> None:
    swap = only(program("state a: int = 0\nstate b: int = 1\nt = a\nif c:\n    a := b + x\n    b := t\nreturn a"))
    detail = swap.details["affine-dense"]
    assert isinstance(detail, d.AffineDense)
    assert detail.structure == ("0/1", "permutation", "rank-one update")


def test_counters_keep_their_tests() -> None:
    machine = only(CLASSES["counter machine"][0]).details["counter-machine"]
    assert isinstance(machine, d.Counters)
    (test,) = machine.tests
    assert set(test.weights) == {"n"} and not test.new and test.bounded
    assert machine.seen is not None and [t.new for t in machine.seen] == [True]
    assert machine.control == {}


def test_no_state_no_cell() -> None:
    assert find_cells(graph_of(program("return x + 1"))) == ()


def test_many_cells_take_time_in_proportion() -> None:
    graph = graph_of("program p(x: int[0..127]) -> int:\n    return occurrences(x)\n")
    assert {c.classes for c in find_cells(graph)} == {("accumulator",)}


class Meaning:
    """Values of nodes that the analysis made, at one token."""

    def __init__(self, known: dict[Node, Value], numeric: bool) -> None:
        self.known = dict(known)
        self.numeric = numeric

    def __call__(self, node: Node) -> Any:
        for n in reachable([node]):
            if n not in self.known:
                self.known[n] = apply(n, [self.known[x] for x in operands(n)], self.numeric)
        return self.known[node]


def predicted(cell: Cell, name: str, old: dict[str, Any], of: Meaning) -> Any:
    """The new values of the cell's states by the details of one class."""
    match cell.details[name]:
        case d.Delay(u=u):
            return [of(u)]
        case d.Accumulator(u=u):
            return [old[cell.states[0]] + of(u)]
        case d.Gated(g=g, u=u):
            return [of(g) * old[cell.states[0]] + of(u)]
        case d.Latch(write=write, value=value):
            return [of(value) if of(write) else old[cell.states[0]]]
        case d.Affine(matrix=matrix, u=us):
            return [sum((w * old[s] for w, s in zip(row, cell.states, strict=True)), Fraction(0)) + of(u)
                    for row, u in zip(matrix, us, strict=True)]
        case d.AffineDense(matrix=nodes, u=us):
            return [sum(of(w) * old[s] for w, s in zip(row, cell.states, strict=True)) + of(u)
                    for row, u in zip(nodes, us, strict=True)]
        case d.Tropical() as t:
            x = old[cell.states[0]] + of(t.u)
            x = x if t.lo is None else max(x, of(t.lo))
            x = x if t.hi is None else min(x, of(t.hi))
            return [of(t.value) if t.reset is not None and t.value is not None and of(t.reset) else x]
        case d.Counters() as c:
            return [of(c.keep[s]) * old[s] + of(c.add[s]) if s in c.keep else of(c.control[s]) for s in cell.states]
        case _:
            return None


@relaxed
@given(st.data())
def test_details_say_what_the_update_is(data: st.DataObject) -> None:
    graph = run_pipeline(read_module(Source("r.lsrl", data.draw(programs())), Path()).elaborate())
    cells = find_cells(graph)
    assert sorted(s for c in cells for s in c.states) == sorted(s.name for s in graph.states)
    interpreter = Interpreter(graph)
    state = interpreter.initial_state()
    for t, row in enumerate(data.draw(rows_for(graph))):
        values = interpreter.evaluate(state, row, t)
        try:
            _, after = interpreter.step(state, row, t)
        except LsrlError:
            return
        of = Meaning(values, graph.numeric)
        for cell in cells:
            for name in cell.classes:
                want = predicted(cell, name, state, of)
                if want is not None:
                    assert want == [after[s] for s in cell.states], (name, cell.states)
        assert_tests(cells, state, after, of)
        state = after


def assert_tests(cells: tuple[Cell, ...], old: dict[str, Any], after: dict[str, Any], of: Meaning) -> None:
    """What is said of comparisons of registers is what they are."""
    for cell in cells:
        for detail in cell.details.values():
            if isinstance(detail, d.Counters):
                for test in (*detail.tests, *(detail.seen or ())):
                    at = after if test.new else old
                    left = sum((w * at[s] for s, w in test.weights.items()), Fraction(0)) + of(test.rest)
                    holds = {"<": left < 0, "<=": left <= 0, "==": left == 0, "!=": left != 0}[test.op]
                    assert of(test.node) == holds
