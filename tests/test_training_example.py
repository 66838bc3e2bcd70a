"""The training examples learn: small models, few steps."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from benchmarks import cells_table, gradcheck_table

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.mark.parametrize("cell", ["mingru", "rglru"])
def test_the_loss_falls(cell: str) -> None:
    """A letter of the text tells nothing of the next, and two tell all: without memory no model gets below one bit."""
    train = runpy.run_path(str(EXAMPLES / "train_char_model.py"))["train"]
    lines: list[str] = []
    curve = train("aabb" * 200, cell, steps=80, width=16, layers=1, batch=8, length=32, every=40, show=lines.append)
    assert len(curve) == 3 and len(lines) == 4
    assert curve[0] > 1 and curve[-1] < 0.5, curve


def test_modular_arithmetic(tmp_path: Path) -> None:
    """Sequences of one digit are their own answers; the program makes the labels of those of three tokens."""
    made = runpy.run_path(str(EXAMPLES / "train_modular.py"))
    lines: list[str] = []
    curves = made["train"](("gru",), steps=60, width=12, length=3, every=30, show=lines.append)
    assert list(curves) == ["gru"] and len(lines) == 4
    for curve in curves.values():
        assert len(curve) == 3 and curve[0] < 0.4 and curve[-1] > 0.55, curve
    made["plot"](curves, 30, str(tmp_path / "curve.png"))
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_fine_tuning_a_compiled_model() -> None:
    """Exact weights are far ahead after a few steps, at lengths that were never trained as well."""
    train = runpy.run_path(str(EXAMPLES / "finetune_compiled.py"))["train"]
    curves = train("lstm", steps=40, batch=16, length=7, longer=31, every=20, show=lambda line: None)
    assert curves["compiled"][0][0] < 0.4 and min(curves["compiled"][-1]) > 0.5, curves
    assert max(curves["untrained"][-1]) < 0.4, curves


def test_the_table_of_cells_is_what_the_command_writes() -> None:
    assert cells_table.table() in cells_table.PAGE.read_text(encoding="utf-8"), "run `python -m benchmarks.cells_table`"


def test_the_table_of_gradients_has_what_is_checked() -> None:
    """Every class, option, backend and order, none of them failed; `python -m benchmarks.gradcheck_table` writes it."""
    text = gradcheck_table.PAGE.read_text(encoding="utf-8")
    found = text.split(gradcheck_table.BEGIN)[1].split(gradcheck_table.END)[0]
    assert found == gradcheck_table.table(dict.fromkeys(gradcheck_table.everything(), True))
