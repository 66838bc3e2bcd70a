"""Bits, margins, growth and horizons."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from lsrl.analysis.cells import find_cells
from lsrl.analysis.interval import Range
from lsrl.analysis.precision import Precision, bits, bits_needed, margin, precision
from lsrl.analysis.ranges import analyse
from lsrl.diagnostics import Source
from lsrl.frontend.modules import read_module
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Affine, Compare
from lsrl.passes import run_pipeline


def graph_of(text: str) -> Graph:
    return run_pipeline(read_module(Source("case.lsrl", text), Path()).elaborate())


def between(lo: int, hi: int | None, grid: Fraction | int | None) -> Range:
    return Range(Fraction(lo), None if hi is None else Fraction(hi), None if grid is None else Fraction(grid))


@pytest.mark.parametrize("r, want", [
    (between(0, 0, 0), 0), (between(0, 1, 1), 0), (between(-2, 1, 1), 1), (between(0, 256, 1), 8),
    (between(0, 257, 1), 9), (between(0, 4, Fraction(1, 8)), 5), (between(0, None, 1), None),
    (between(0, 1, None), None),
])
def test_bits(r: Range, want: int | None) -> None:
    assert bits(r) == want


def test_bits_cover_partial_sums() -> None:
    graph = graph_of("""
program p(x: int[0..100], y: int[0..100]) -> int:
    return 40 * x - 40 * y
""")
    ranges = analyse(graph)
    node = graph.output["out"]
    assert isinstance(node, Affine)
    assert bits(ranges[node]) == 7  # at most 4000, in steps of 40
    assert bits_needed(node, ranges) == 8  # 8000 if the terms that are added come first


def test_margin_is_the_common_grid() -> None:
    graph = graph_of("""
program p(x: real[0..1 by 1/8]) -> bool:
    return x > 1/2
""")
    node = graph.output["out"]
    assert isinstance(node, Compare)
    assert margin(node, analyse(graph)) == Fraction(1, 8)
    loose = graph_of("program p(x: real) -> bool:\n    return x > 1/2\n")
    node = loose.output["out"]
    assert isinstance(node, Compare)
    assert margin(node, analyse(loose)) is None


def of(body: str, inputs: str) -> Precision:
    graph = graph_of(f"program p({inputs}) -> int:\n" + "\n".join(f"    {line}" for line in body.split("\n")) + "\n")
    ranges = analyse(graph)
    (cell,) = find_cells(graph, ranges)
    return precision(graph, cell, ranges)


def test_a_bounded_state_is_exact_for_ever_or_never() -> None:
    p = of("state d: int = 0\nd := clamp(d + x, 0, 300)\nreturn d", "x: int[-1..1]")
    assert p.bits == 9 and p.growth == 0
    assert p.horizon("float32") is None and p.horizon("bfloat16") == 0


@pytest.mark.parametrize("body, inputs, step", [
    ("state n: int = 0\nn := n + x\nreturn n", "x: int[-3..2]", 3),
    ("state n: int = 0\nn := 0 if x == 0 else n + 2\nreturn n", "x: int[0..1]", 2),
    ("state n: int = 0\nn := max(n + x, 0)\nreturn n", "x: int[-5..5]", 5),
    ("state a: int = 0\nstate b: int = 0\nt = a\na := x - b\nb := t\nreturn a", "x: int[-1..1]", 1),
])
def test_horizon_of_what_grows(body: str, inputs: str, step: int) -> None:
    p = of(body, inputs)
    assert p.bits is None and p.growth is not None and p.growth >= step
    for format, digits in (("float32", 24), ("bfloat16", 8)):
        horizon = p.horizon(format)
        assert p.grid is not None and horizon == int((2**digits * p.grid - p.start) / p.growth) and horizon > 0


def test_what_may_double_has_no_horizon() -> None:
    assert of("state n: int = 1\nn := 2 * n + x\nreturn n", "x: int[0..1]").horizon("float64") == 0
