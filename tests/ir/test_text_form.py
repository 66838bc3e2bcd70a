"""The text form of graphs: printing and parsing are inverse, errors have a place, size does not hurt."""

from __future__ import annotations

import pytest

from lsrl.diagnostics import NOWHERE, LsrlError
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Affine, Const, Input, Node, Param, Read
from lsrl.ir.parser import parse_graph
from lsrl.ir.printer import print_graph
from lsrl.types import BYTE, INT, REAL, Real, Symbols, Type, Vector

EVERYTHING = """\
graph "odd name"
doc "a \\"doc\\"\\nof two lines"
%0 = input tok : {"(", ")", "a".."e", *}
%1 = input grid : int[0..3][4, 2]
%2 = input raw : byte
%3 = const "b" : {"(", ")", "a".."e", *}
%4 = compare %0 == %3 : bool
%5 = table %0 in 0..7 => [1, -1, 0, 0, 0, 0, 0, 2] : int
%6 = read depth : int
%7 = affine 1*%5 + -2*%6 + 4 : int
%8 = quotient %7 by 3 : int
%9 = mux %4 then %7 else %8 : int
%10 = affine 1/2*%9 : real
%11 = remainder %10 by 1/2 : real
%12 = tanh %11 : real
%13 = param w normal(1/2) : real[2]
%14 = param b uniform(-1, 1.5) : real
%15 = mul %13 %14 : real[2]
%16 = const [[1/3, -1], [0, 1e-05]] : real[2, 2]
%17 = matmul %16 %15 : real[2]
%18 = divide %17 %12 : real[2]
%19 = const 0 : int
%20 = index %18 %19 : real
%21 = min %20 %12 : real
%22 = pack %21 %12 %10 : real[3]
%23 = slice %22 0..1 : real[2]
%24 = max %23 : real[2]
%25 = const * : {"(", ")", "a".."e", *}
%26 = compare %0 != %25 : bool
%27 = read seen : bool
%28 = and %4 %26 %27 : bool
%29 = not %28 : bool
%30 = or %29 %4 : bool
%31 = const true : bool
%32 = affine 3/4 : real[..2 by 1/4]
state depth : int = 0 -> %9
state "a state" : real[2] = [0, 1/2] -> %24
state seen : bool = false -> %30
output out = %10
output count#2.n[0] = %29
range L204 %26 of %9 "`depth` leaves its range and becomes {value}"
assert L501 %30 "no"
assume L601 %31 "yes"
name unused = %32
"""


def test_every_line_form_survives() -> None:
    once = print_graph(parse_graph(EVERYTHING))
    assert print_graph(parse_graph(once)) == once
    assert set(once.splitlines()[0:2]) <= set(EVERYTHING.splitlines())
    assert len(once.splitlines()) == len(EVERYTHING.splitlines())


def test_the_canonical_order_is_kept_as_it_is() -> None:
    text = print_graph(parse_graph(EVERYTHING))
    shuffled = text.replace("output out", "# a comment\n\n  output out")
    assert print_graph(parse_graph(shuffled)) == text


def test_values_come_back_in_the_form_of_their_type() -> None:
    graph = parse_graph("graph g\n%0 = const 2 : real\n%1 = const * : {\"a\", *}\n%2 = const [0, inf] : real[2]\n"
                        "output a = %0\noutput b = %1\noutput c = %2\n")
    values = [n.value for n in graph.nodes if isinstance(n, Const)]
    assert values == [2, 1, (0, float("inf"))]
    assert [type(v).__name__ for v in values[:2]] == ["Fraction", "int"]


def test_types_come_back() -> None:
    types: list[Type] = [BYTE, Real(grid=None), Symbols(("a", "\n", "\x00", "é", '"')), Vector(Vector(BYTE, 2), 3)]
    inputs = tuple(Input(f"x{i}", t, NOWHERE) for i, t in enumerate(types))
    outputs = tuple((n.name, n) for n in inputs)
    graph = Graph("g", inputs, (), outputs, (), (), NOWHERE)
    back = parse_graph(print_graph(graph))
    assert [n.type for n in back.inputs] == types
    assert isinstance(back.inputs[0].type, type(BYTE)) and back.inputs[0].type.raw


def test_equal_nodes_that_are_two_stay_two() -> None:
    x = Input("x", INT, NOWHERE)
    two: list[Node] = [Affine(((1, x),), 1, INT, NOWHERE) for _ in range(2)]
    graph = Graph("g", (x,), (), (("a", two[0]), ("b", two[1])), (), (), NOWHERE)
    assert len(parse_graph(print_graph(graph)).nodes) == 3


def test_spans_are_lines_of_the_text() -> None:
    graph = parse_graph("graph g\n%0 = input x : int\noutput out = %0\n")
    assert str(graph.inputs[0].span) == "<graph>:2:1"


def test_a_deep_graph_prints_and_parses() -> None:
    lines = ["graph deep", "%0 = input x : int", *(f"%{i} = affine 1*%{i - 1} + 1 : int" for i in range(1, 20_001))]
    text = "\n".join([*lines, "output out = %20000", ""])
    assert print_graph(parse_graph(text)) == text


@pytest.mark.parametrize(("line", "place", "message"), [
    ("%1 = afine 1*%0 : int", "3:6", "`afine` is no kind of node"),
    ("%1 = affine 1*%7 : int", "3:15", "%7 is not defined above"),
    ("%0 = const 1 : int", "3:1", "%0 is defined twice"),
    ("%1 = const 1 : itn", "3:16", "`itn` is no type"),
    ("%1 = const 1 : int extra", "3:20", "the line goes on"),
    ("%1 = const true : int", "3:1", "a value is not of the type int"),
    ("%1 = const 1/0 : real", "3:12", "the denominator is zero"),
    ("%1 = compare %0 > %0 : bool", "3:17", "a comparison is missing"),
    ("%1 = mux %0 than %0 else %0 : int", "3:13", "`then` is missing"),
    ('%1 = const "a', "3:12", "a text in double quotes is missing"),
    ('%1 = input c : {"z".."a"}', "3:25", "a range of symbols"),
    ("%1 = const " + "[" * 40 + " : int", "3:45", "at most 32 dimensions"),
    ("%1 = const " + "9" * 4001 + " : int", "3:12", "at most 4000 digits"),
    ("%1 = affine 1.5*%0 : real", "3:13", "an integer or a fraction"),
    ("%1 = table %0 in 0..1 => 3 : int", "3:28", "the entries of a table"),
    ("state s : int = 0 %0", "3:19", "`->` is missing"),
    ("banana", "3:1", "`banana` begins no line"),
    ("graph h", "3:1", "one graph"),
])
def test_malformed_text_names_its_place(line: str, place: str, message: str) -> None:
    with pytest.raises(LsrlError) as caught:
        parse_graph(f"graph g\n%0 = input x : int\n{line}\n")
    (one,) = caught.value.diagnostics
    assert (one.code, str(one.span)) == ("L090", f"<graph>:{place}")
    assert message in one.message


@pytest.mark.parametrize(("line", "message"), [
    ("%1 = and %0 : bool", "%1 is not well typed: Logic: bools only"),
    ("%1 = read s : int\noutput a = %1", "states: `s` is read but is no state"),
    ("state s : int = 0 -> %0\nstate s : int = 0 -> %0", "unique-names: two states are called `s`"),
    ("%1 = const 7 : int[0..3]\noutput a = %1", "values: a constant is not of its type int[0..3]"),
])
def test_invalid_graphs_are_refused(line: str, message: str) -> None:
    with pytest.raises(LsrlError) as caught:
        parse_graph(f"graph g\n%0 = input x : int\n{line}\n")
    assert caught.value.diagnostics[0].code == "L091"
    assert message in caught.value.diagnostics[0].message


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "%0 = input x : int\n", "output a = %0"])
def test_a_text_without_a_graph_is_refused(text: str) -> None:
    with pytest.raises(LsrlError, match="graph NAME"):
        parse_graph(text)


def test_params_and_reads_are_leaves_with_their_names() -> None:
    graph = parse_graph(EVERYTHING)
    assert {n.name for n in graph.nodes if isinstance(n, Param)} == {"w", "b"}
    assert {n.state for n in graph.nodes if isinstance(n, Read)} == {"depth", "seen"}
    assert graph.numeric
    assert REAL in {n.type for n in graph.nodes}
