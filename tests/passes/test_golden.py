"""Each pass on small graphs: `PASS/NAME.graph` becomes `PASS/NAME.after`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lsrl.ir.parser import parse_graph
from lsrl.ir.printer import print_graph
from lsrl.ir.validate import validate
from lsrl.passes import PASSES

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*/*.graph"))


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_golden(path: Path, golden: Callable[[str, Path], None]) -> None:
    graph = dict(PASSES)[path.parent.name](parse_graph(path.read_text(encoding="utf-8")))
    validate(graph)
    golden(print_graph(graph), path.with_suffix(".after"))


def test_every_pass_has_a_folder() -> None:
    assert {path.parent.name for path in CASES} == {name for name, _ in PASSES}
