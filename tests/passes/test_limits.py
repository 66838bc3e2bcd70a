"""What went wrong in the LSRL compiler's rewriting, and graphs that are deep: right, and in time that is linear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest

import lsrl
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Affine
from lsrl.ir.parser import parse_graph
from lsrl.ir.printer import print_graph
from lsrl.ir.validate import validate
from lsrl.passes import PASSES, run_pipeline
from lsrl.passes.partition import coarsest_partition
from lsrl.types import Value
from tests.work import growth

DEPTH = 5_000


def values_of(text: str, numbers: list[Fraction]) -> list[Value]:
    """The output of a program of one real input `x` for each number, before and after the pipeline, which agree."""
    graph = lsrl.parse(text).graph
    after = run_pipeline(graph)
    validate(after)
    rows = [{"x": x} for x in numbers]
    before = [row["out"] for row in Interpreter(graph).run(rows)]
    assert [row["out"] for row in Interpreter(after).run(rows)] == before
    return before


NUMBERS = [Fraction(3), Fraction(-2), Fraction(1, 3), Fraction(0), Fraction(10**12)]


def test_a_product_with_two_consumers_keeps_its_factor() -> None:
    text = "program p(x: real) -> real[2]:\n    return concat([x * x], [10 * x])\n"
    assert values_of(text, NUMBERS) == [(x * x, 10 * x) for x in NUMBERS]


def test_nested_concatenation_terminates() -> None:
    text = ("program p(x: real) -> real[3]:\n"
            "    v = [x]\n"
            "    return concat(concat(v, linear([[2]], v, [1])), relu(v))\n")
    assert values_of(text, NUMBERS) == [(x, 2 * x + 1, max(x, Fraction(0))) for x in NUMBERS]


def test_a_square_is_no_circle() -> None:
    assert values_of("program p(x: real) -> real:\n    return x * x\n", NUMBERS) == [x * x for x in NUMBERS]


def test_choices_are_exact_near_their_border_and_for_large_values() -> None:
    text = "program p(x: real) -> real:\n    return ifelse(x > 0.5, 2e10, 0.1)\n"
    near = [Fraction(1, 2), Fraction(1, 2) + Fraction(1, 10**12), Fraction(5005, 10000)]
    assert values_of(text, near) == [Fraction(1, 10), 20_000_000_000, 20_000_000_000]


def test_modulo_counter_past_71() -> None:
    graph = lsrl.parse("program p(x: bool) -> int:\n    return modulo_counter(97)\n").graph
    rows: list[dict[str, object]] = [{"x": True}] * 300
    got = [row["out"] for row in Interpreter(run_pipeline(graph)).run(rows)]
    assert got == [row["out"] for row in Interpreter(graph).run(rows)]
    assert len(set(got)) == 97


DEEP: dict[str, Callable[[int, int], str]] = {
    "sums": lambda i, before: f"affine 1*%{before} + 1*%0 + 1 : int",
    "doubling": lambda i, before: f"affine 2*%{before} + 1*%0 : int",
    "minima": lambda i, before: f"{'max' if i % 2 else 'min'} %{before} %0 : int",
    "maxima": lambda i, before: f"max %{before} %0 : int",
    "choices": lambda i, before: f"mux %1 then %{before} else %0 : int",
    "squares": lambda i, before: f"mul %{before} %{before} : int",
    "remainders": lambda i, before: f"remainder %{before} by {i} : int",
}


def deep(name: str, depth: int = DEPTH) -> Graph:
    lines = ["graph deep", "%0 = input x : int", "%1 = input b : bool", "%2 = read s : int"]
    lines += [f"%{i} = {DEEP[name](i, i - 1)}" for i in range(3, depth)]
    lines += [f"state s : int = 0 -> %{depth - 1}", f"output out = %{depth - 1}", ""]
    graph = parse_graph("\n".join(lines))
    return replace(graph, names=tuple((f"n{i}", n) for i, n in enumerate(graph.nodes)))


@pytest.mark.parametrize("name", DEEP)
def test_deep_graphs_with_a_name_for_every_node(name: str) -> None:
    graph = deep(name)
    for _, step in PASSES:
        graph = step(graph)
    validate(graph)
    text = print_graph(graph)
    assert print_graph(parse_graph(text)) == text


@pytest.mark.parametrize("name", DEEP)
def test_the_cost_of_the_passes_grows_with_the_depth(name: str) -> None:
    small, large = deep(name, 100), deep(name, 400)
    assert growth(lambda: run_pipeline(small), lambda: run_pipeline(large)) < 6


@pytest.mark.parametrize("kind", ["int[0..3]", "real[0..1 by 1/2]", "real[2..3 by 1/3]"])
def test_repeated_squares_compile(kind: str) -> None:
    """Exact bounds and grids of 60 squares would need more digits than there is memory."""
    lines = [f"program p(x: {kind}) -> bool:", "    a0 = x", *(f"    a{i} = a{i - 1} * a{i - 1}" for i in range(1, 60))]
    graph = lsrl.parse("\n".join([*lines, "    return a59 > 100", ""])).graph
    for _, step in PASSES:
        graph = step(graph)
    validate(graph)


def test_a_state_that_squares_itself_compiles() -> None:
    text = ("program p(x: bool) -> bool:\n    state s: real = 2\n    s := s * s if x else s - 1/3\n"
            "    return s > 100\n")
    graph = lsrl.parse(text).graph
    after = graph
    for _, step in PASSES:
        after = step(after)
    rows: list[dict[str, object]] = [{"x": x} for x in (True, False, True, True, True)]
    assert list(Interpreter(after).run(rows)) == list(Interpreter(graph).run(rows))


def delays(depth: int) -> Graph:
    lines = ["graph delays", "%0 = input x : int", *(f"%{i} = read s{i} : int" for i in range(1, depth)),
             *(f"state s{i} : int = 0 -> %{i - 1}" for i in range(1, depth)), f"output out = %{depth - 1}", ""]
    return parse_graph("\n".join(lines))


def test_a_long_chain_of_states() -> None:
    assert len(run_pipeline(delays(DEPTH)).states) == DEPTH - 1
    small, large = delays(100), delays(400)
    assert growth(lambda: run_pipeline(small), lambda: run_pipeline(large)) < 6


def test_a_chain_of_sums_becomes_one_sum() -> None:
    merged = run_pipeline(deep("sums"))
    (state,) = merged.states
    assert isinstance(state.next, Affine)
    assert [c for c, _ in state.next.terms] == [DEPTH - 3, 1] and state.next.bias == DEPTH - 3


def test_partition_tells_apart_what_only_a_long_word_tells_apart() -> None:
    n = 2000
    edges = [(i, "next", i + 1) for i in range(n)]
    assert coarsest_partition(["inner"] * n + ["last"], edges) == list(range(n + 1))
    assert coarsest_partition(["same"] * 4, [(0, "a", 1), (1, "a", 0), (2, "a", 3), (3, "a", 2)]) == [0, 0, 0, 0]
    assert coarsest_partition(["same"] * 3, [(0, "a", 1), (1, "a", 0)]) == [0, 0, 1]
    assert coarsest_partition([], []) == []
