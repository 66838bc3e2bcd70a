"""Gradients of kernels against finite differences, by class of cell, option and backend: the table in docs/kernels.md.

`python -m benchmarks.gradcheck_table` checks every class with every option in C and in Triton's interpreter, first and
second derivatives, in float64, and rewrites the table from what came out. A line tells of each check as it ends; two
processes take some minutes. Which of these checks the tests make is said in docs/kernels.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeAlias

from benchmarks.examples import ROOT
from tests.backends.kernels.cells import CELLS
from tests.backends.kernels.gradchecks import OPTIONS, PAIRS, check

__all__ = ["BACKENDS", "BEGIN", "END", "ORDERS", "PAGE", "checked", "everything", "table"]

PAGE = ROOT / "docs" / "kernels.md"
BEGIN, END = "<!-- gradcheck -->\n", "<!-- end of gradcheck -->\n"
BACKENDS = {"c": "C", "triton": "Triton"}
ORDERS = {1: "1st", 2: "2nd"}
Check: TypeAlias = tuple[str, str, str, int]
"""A class of cell, an option, a backend, and the order of the derivatives."""


def everything() -> list[Check]:
    """Every check, in the table's order."""
    return [(name, option, target, order) for name, option in PAIRS for target in BACKENDS for order in ORDERS]


def checked(checks: Sequence[Check], processes: int = 2) -> dict[Check, bool]:
    """Whether each check holds, with a line about it on standard output; why it does not follows the line."""
    found: dict[Check, bool] = {}
    os.environ["TRITON_INTERPRET"] = "1"  # read when a process first imports Triton
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        runs = {pool.submit(_one, c): c for c in checks}
        for done in as_completed(runs):
            name, option, target, order = key = runs[done]
            seconds, wrong = done.result()
            found[key] = not wrong
            print(f"[{len(found):3}/{len(checks)}] {name:14} {option:12} {BACKENDS[target]:8} {ORDERS[order]}  "
                  f"{'FAILED' if wrong else 'holds'}  {seconds:.1f} s", flush=True)
            if wrong:
                print(wrong, flush=True)
    return found


def _one(key: Check) -> tuple[float, str]:
    """The seconds that a check took, and what it says if it fails."""
    start = time.perf_counter()
    try:
        check(*key)
    except Exception as error:  # noqa: BLE001  (whatever goes wrong, the other checks go on)
        return time.perf_counter() - start, f"{type(error).__name__}: {error}"
    return time.perf_counter() - start, ""


def table(found: Mapping[Check, bool]) -> str:
    """A row for each class and backend, a column for each option: the orders that hold, and those that FAILED."""
    titles = ["cell", "backend", *(o.replace("_", " ") for o in OPTIONS)]
    lines = [titles, ["---"] * len(titles)]
    for name in CELLS:
        for target, shown in BACKENDS.items():
            cells = [", ".join(word if found[name, o, target, order] else f"{word} FAILED"
                               for order, word in ORDERS.items() if (name, o, target, order) in found)
                     for o in OPTIONS]
            lines.append([name.replace("_", " "), shown, *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the checks and rewrites the table. 0 if all hold; 1 else."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gradcheck_table", description=__doc__)
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="checks at a time (default: 2)")
    found = checked(everything(), parser.parse_args(arguments).processes)
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + table(found) + END + rest.split(END)[1], encoding="utf-8")
    wrong = sum(not holds for holds in found.values())
    print(f"{len(found)} checks, {wrong} failed")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
