"""What `python -m benchmarks` measures and how it tells: rivals that compute something else are left out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks.kernel_page import Figure, Measured, Row, SeriesRow, keep, page
from benchmarks.kernel_rows import Goal, Work
from benchmarks.kernels import difference, measured


def work(goal: Goal | None = None) -> Work:
    x = np.arange(100.0)
    return Work("double", "doubling", 100, 1600, lambda: 2 * x, {
        "adding": ("", lambda: lambda: x + x), "tripling": ("", lambda: lambda: 3 * x),
        "absent": ("no_such_package", lambda: lambda: 2 * x), "broken": ("", lambda: lambda: 1 / 0)}, goal)


def test_rivals_that_differ_fail_or_are_not_there_are_named() -> None:
    row = measured(work(), "cpu", 2)
    assert [f.name for f in row.figures] == ["lsrl", "adding", "copy"]
    assert all(0 < f.low <= f.median <= f.high for f in row.figures)
    told = "; ".join(row.missing)
    assert "tripling (its outputs differ" in told and "no_such_package is not installed" in told
    assert "broken (ZeroDivisionError" in told


def test_the_first_of_several_outputs_is_compared() -> None:
    a = np.array([1.0, 1000.0])
    assert difference((a, 0), [a + [0, 1]]) == pytest.approx(1 / 1000)
    assert difference(a, a[:1]) == float("inf")


@pytest.mark.parametrize("goal, reached", [
    (Goal("copy", 0.5), True), (Goal("copy", 0.51), False), (Goal("rate", 50.0), True), (Goal("rate", 51.0), False),
    (Goal("rival", 2.0), True), (Goal("rival", 2.1), False), (Goal("absent", 1.0), None)])
def test_goals(goal: Goal, reached: bool | None) -> None:
    row = Row("r", "a row", 100, 8, [Figure("lsrl", 1, 2, 3), Figure("copy", 1, 1, 1), Figure("rival", 4, 4, 4)],
              goal=str(goal), goal_of=goal.of, goal_least=goal.least)
    assert row.reached is reached


def test_what_is_kept_of_one_device_stays_when_the_other_is_measured(tmp_path: Path) -> None:
    row = Row("r", "a row", 100, 8, [Figure("lsrl", 1e-3, 2e-3, 3e-3), Figure("copy", 1e-3, 1e-3, 1e-3)], ["x (y)"])
    found = Measured("a machine", "0", "2026-01-01", 7, [row], [SeriesRow("r", "rows", "tokens", [1, 4], [row, row])])
    assert Measured.of(asdict(found)) == found
    keep(tmp_path, "cpu", found)
    text = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert "| a row | 2 (1 to 3) | 5e+04 |" in text and "| 50% |" in text and "- x (y)\n" in text
    assert "No GPU could be had" in text and "speed.svg" in text and (tmp_path / "speed.svg").stat().st_size > 1000
    keep(tmp_path, "gpu", Measured("a GPU", "0", "2026-01-02", 7, [row], []))
    text = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert "a machine" in text and "a GPU" in text and "No GPU" not in text
    assert page({}).count("No GPU could be had") == 1
