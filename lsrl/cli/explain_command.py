"""Prints what the analyses know of a program: its cells, their classes and algebra, ranges, grids and horizons, and
which targets host it. With a diagnostic's code, prints the page on that code."""

from __future__ import annotations

import argparse
import re

from lsrl.cli.options import add_program, load_program

EXAMPLES = """examples:
  lsrl explain majority.lsrl
  lsrl explain L204
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_program(parser, "a program, in a file ending in .lsrl, or a code such as L204")


def run(options: argparse.Namespace) -> int:
    if re.fullmatch(r"[Ll]\d+", options.file):
        from lsrl.codes import page

        print(page(options.file.upper()))
        return 0
    from lsrl.analysis.report import explain
    from lsrl.backends.registry import render_targets

    graph = load_program(options).graph
    print(explain(graph))
    print()
    print(render_targets(graph))
    return 0
