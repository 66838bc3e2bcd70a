"""The training example learns: a small model of a small text, with each of its cells."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from benchmarks import cells_table

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.mark.parametrize("cell", ["mingru", "rglru"])
def test_the_loss_falls(cell: str) -> None:
    """A letter of the text tells nothing of the next, and two tell all: without memory no model gets below one bit."""
    train = runpy.run_path(str(EXAMPLES / "train_char_model.py"))["train"]
    lines: list[str] = []
    curve = train("aabb" * 200, cell, steps=80, width=16, layers=1, batch=8, length=32, every=40, show=lines.append)
    assert len(curve) == 3 and len(lines) == 4
    assert curve[0] > 1 and curve[-1] < 0.5, curve


def test_the_table_of_cells_is_what_the_command_writes() -> None:
    assert cells_table.table() in cells_table.PAGE.read_text(encoding="utf-8"), "run `python -m benchmarks.cells_table`"
