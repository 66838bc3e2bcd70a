"""Gradients of kernels against finite differences, by class of cell and option: the table in docs/kernels.md.

`python -m benchmarks.gradcheck_table` makes every check that tests/backends/kernels/test_gradients.py makes, in C and
float64, and rewrites the table from what came out; a minute or two.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping

from torch.autograd import gradcheck, gradgradcheck

from benchmarks.examples import ROOT
from tests.backends.kernels.cells import CELLS
from tests.backends.kernels.test_gradients import OPTIONS, PAIRS, SECOND, function, given, module

__all__ = ["BEGIN", "END", "PAGE", "cells", "checked", "table"]

PAGE = ROOT / "docs" / "kernels.md"
BEGIN, END = "<!-- gradcheck -->\n", "<!-- end of gradcheck -->\n"


def cells() -> dict[tuple[str, str], str]:
    """What is checked for each class and option: "1st" derivatives, or "1st, 2nd"."""
    return {(name, option): "1st, 2nd" if option in SECOND else "1st" for name, option in PAIRS}


def checked() -> dict[tuple[str, str], str]:
    """The same, from running the checks; "FAILED" where one does not hold."""
    out: dict[tuple[str, str], str] = {}
    for (name, option), word in cells().items():
        good = _holds(gradcheck, name, option, 2, 4, 1e-7, 1e-5)
        if "2nd" in word:
            good = good and _holds(gradgradcheck, name, option, 1, 3, 1e-6, 1e-4)
        out[name, option] = word if good else "FAILED"
        print(f"{name:14} {option:12} {out[name, option]}", flush=True)
    return out


def _holds(check: Callable[..., bool], name: str, option: str, rows: int, tokens: int, atol: float,
           rtol: float) -> bool:
    model = module(name)
    f, leaves = function(model, given(model, rows, tokens, packed=option == "packed"), option, rows, tokens)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return check(f, leaves, atol=atol, rtol=rtol, raise_exception=False)


def table(found: Mapping[tuple[str, str], str]) -> str:
    """A row for each class, a column for each option."""
    head = f"| cell | {' | '.join(o.replace('_', ' ') for o in OPTIONS)} |\n|{' --- |' * (len(OPTIONS) + 1)}\n"
    return head + "".join(f"| {name.replace('_', ' ')} | {' | '.join(found.get((name, o), '') for o in OPTIONS)} |\n"
                          for name in CELLS)


def main() -> int:
    found = checked()
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + table(found) + END + rest.split(END)[1], encoding="utf-8")
    return int("FAILED" in found.values())


if __name__ == "__main__":
    sys.exit(main())
