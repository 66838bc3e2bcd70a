"""What `lsrl explain` prints, pinned for a few programs of different classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lsrl.analysis.report import explain, table
from lsrl.diagnostics import Source
from lsrl.frontend.modules import read_module

HERE = Path(__file__).parent / "explain"

PROGRAMS = {
    "balanced": """
type Char = {"(", ")", *}

program balanced(tok: Char) -> bool:
    state depth: int = 0
    state broken: bool = false
    depth := depth + match tok: "(" => 1, ")" => -1, _ => 0
    broken := broken or depth < 0
    return depth == 0 and not broken
""",
    "words_of_s5": """
program words_of_s5(turn: bool) -> bool:
    state at: int[0..4][5] = [0, 1, 2, 3, 4]
    if turn:
        at := [at[1], at[2], at[3], at[4], at[0]]
    else:
        at := [at[1], at[0], at[2], at[3], at[4]]
    return at[0] == 0
""",
    "mixed": """
program mixed(x: int[-2..2], reset: bool) -> (walk: int, mean: real, seen: bool[6]):
    state walk: int[0..20] = 0
    state mean: real = 0
    state seen: bool[6] = zeros_like
    walk := clamp(walk + x, 0, 20)
    mean := mean * 3/4 + x
    for i in 0..5:
        seen[i] := not reset and (seen[i] or x == i - 2)
    assert walk >= 0, "walks are not negative"
    assert mean < 10, "the mean is small"
    assume x < 2
    return (walk = walk, mean = mean, seen = seen)
""".replace("zeros_like", "[false, false, false, false, false, false]"),
    "cell": """
program cell(x: real[-1..1]) -> real:
    state h: real = 0
    state c: real = 0
    f = sigmoid(x + h)
    c := f * c + (1 - f) * tanh(x - h)
    h := tanh(c)
    return h
""",
    "map": """
program map(x: int[0..9]) -> int:
    return 2 * x + 1
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_explain(name: str, golden: Callable[[str, Path], None]) -> None:
    graph = read_module(Source(f"{name}.lsrl", PROGRAMS[name]), Path()).elaborate()
    text = explain(graph)
    assert all(line == line.rstrip() for line in text.split("\n"))
    golden(text + "\n", HERE / f"{name}.txt")


def test_table_aligns_columns() -> None:
    assert table("t", ("a", "bb"), [("xxx", "y"), ("z", "")]) == "t\n  a    bb\n  xxx  y\n  z"
    assert table("t", ("a",), []) == ""
