"""Draws a program's dataflow graph. The ending of the output's name tells the form: .svg, .png or .dot."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lsrl.cli.options import add_program, load_program

EXAMPLES = """examples:
  lsrl graph majority.lsrl -o majority.svg
  lsrl graph majority.lsrl --after all -o majority.png
  lsrl graph majority.lsrl > majority.dot
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_program(parser)
    parser.add_argument("-o", "--out", metavar="PATH",
                        help="a file ending in .svg, .png or .dot; DOT is printed without it")
    parser.add_argument("--after", metavar="PASS", help="draw the graph after this pass, or `all`")


def run(options: argparse.Namespace) -> int:
    from lsrl.ir.dot import graph_to_dot, write_picture
    from lsrl.passes import run_pipeline

    graph = load_program(options).graph
    if options.after is not None:
        graph = run_pipeline(graph, None if options.after == "all" else options.after)
    if options.out is None:
        sys.stdout.write(graph_to_dot(graph))
    else:
        write_picture(graph, Path(options.out))
        print(f"wrote {options.out}")
    return 0
