"""Gradients of kernels against finite differences, by class of cell, option and backend: the table in docs/kernels.md.

`python -m benchmarks.gradcheck_table` makes every check that tests/backends/kernels/test_gradients.py makes in C, and
the same in Triton's interpreter, in float64, and rewrites the table from what came out; five minutes of a core.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import TypeAlias

from benchmarks.examples import ROOT
from tests.backends.kernels.cells import CELLS
from tests.backends.kernels.gradchecks import OPTIONS, PAIRS, SECOND, check

__all__ = ["BACKENDS", "BEGIN", "END", "PAGE", "cells", "checked", "table"]

PAGE = ROOT / "docs" / "kernels.md"
BEGIN, END = "<!-- gradcheck -->\n", "<!-- end of gradcheck -->\n"
BACKENDS = {"c": "C", "triton": "Triton"}
_Key: TypeAlias = tuple[str, str, str]


def cells() -> dict[_Key, str]:
    """What is checked for each class, option and backend: "1st" derivatives, or "1st, 2nd"."""
    return {(name, option, target): "1st, 2nd" if option in SECOND else "1st" for name, option in PAIRS
            for target in BACKENDS}


def checked() -> dict[_Key, str]:
    """The same, from running the checks; "FAILED" where one does not hold."""
    out: dict[_Key, str] = {}
    os.environ["TRITON_INTERPRET"] = "1"  # read when a process first imports Triton
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for (name, option, target), word in cells().items():
            out[name, option, target] = word
            for order in (1, 2) if "2nd" in word else (1,):
                try:
                    pool.submit(check, name, option, target, order).result()
                except (RuntimeError, AssertionError) as error:
                    print(error)
                    out[name, option, target] = "FAILED"
            print(f"{name:14} {option:12} {BACKENDS[target]:8} {out[name, option, target]}", flush=True)
    return out


def table(found: Mapping[_Key, str]) -> str:
    """A row for each class and backend, a column for each option."""
    titles = ["cell", "backend", *(o.replace("_", " ") for o in OPTIONS)]
    head = f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}\n"
    return head + "".join(
        f"| {name.replace('_', ' ')} | {shown} | {' | '.join(found.get((name, o, target), '') for o in OPTIONS)} |\n"
        for name in CELLS for target, shown in BACKENDS.items())


def main() -> int:
    found = checked()
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + table(found) + END + rest.split(END)[1], encoding="utf-8")
    return int("FAILED" in found.values())


if __name__ == "__main__":
    sys.exit(main())
