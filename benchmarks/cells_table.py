"""The cells of examples/cells and how their kernels scan: writes the table in docs/kernels.md.

`python -m benchmarks.cells_table` rewrites the table; `--check` exits with 1 if it would change.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import lsrl
from benchmarks.examples import ROOT
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.lanes import make_lanes
from lsrl.backends.kernels.plan import Plan, make_plan
from lsrl.frontend.modules import load_module

__all__ = ["PAGE", "table"]

PAGE = ROOT / "docs" / "kernels.md"
_SIZE = 3
_HEAD = """| cell | from | sizes | class | along time | operations |
| --- | --- | --- | --- | --- | --- |
"""
_TABLE = re.compile(r"^\| cell \|.*?\n(?=\n|\Z)", re.MULTILINE | re.DOTALL)  # to the next empty line


def table() -> str:
    """A row for each cell, compiled with sizes of 3."""
    return _HEAD + "".join(map(_row, sorted((ROOT / "examples" / "cells").glob("*.lsrl"))))


def _row(path: Path) -> str:
    generics = [g.id for g in load_module(path).programs[path.stem].generics]
    program = lsrl.load(path, None, **dict.fromkeys(generics, _SIZE))
    plan = make_plan(Parts.of(make_lanes(program.graph)))
    source = re.search(r"\(([^()]*?\d{4})[,;)]", program.graph.span.source.text.replace("\n", " ")) \
        or re.search(r"\(.*?([A-Z][^()]*?\d{4})", program.graph.span.source.text.replace("\n", " "))
    assert source is not None, path
    sizes = ", ".join(generics) + (" (lanes)" if plan.lanes else "")
    classes = ", ".join(dict.fromkeys(c.kind for c in plan.cells))
    return f"| {path.stem} | {source.group(1)} | {sizes} | {classes} | {_along(plan)} | {plan.operations} |\n"


def _along(plan: Plan) -> str:
    scans = [c.method for c in plan.cells if c.element]
    if len(scans) == len(plan.cells):
        return "scan"
    return "a token at a time" if not scans else "a token at a time, with scans apart"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page would change")
    options = parser.parse_args()
    text = PAGE.read_text(encoding="utf-8")
    made = _TABLE.sub(lambda _: table(), text)
    if options.check:
        return int(made != text)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
