"""Prints a program's dataflow graph in its text form, as elaborated or after a pass."""

from __future__ import annotations

import argparse
import sys

from lsrl.cli.options import add_program, load_program

EXAMPLES = """examples:
  lsrl ir majority.lsrl                       the graph as it is elaborated
  lsrl ir majority.lsrl --after all           after the whole pipeline
  lsrl ir majority.lsrl --after merge_affine  after that pass, and those before it
  lsrl ir majority.lsrl --passes              the pipeline, with the number of nodes after each pass
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_program(parser)
    parser.add_argument("--after", metavar="PASS", help="a pass of the pipeline, or `all`")
    parser.add_argument("--passes", action="store_true", help="list the pipeline instead")


def run(options: argparse.Namespace) -> int:
    from lsrl.ir.printer import print_graph
    from lsrl.passes import PASSES, run_pipeline

    graph = load_program(options).graph
    if options.passes:
        rows = [("elaborated", graph)]
        for name, step in PASSES:
            rows.append((name, step(rows[-1][1])))
        width = max(len(name) for name, _ in rows)
        for name, after in rows:
            print(f"{name.ljust(width)}  {len(after.nodes):6} nodes  {len(after.states):4} states")
        return 0
    if options.after is not None:
        graph = run_pipeline(graph, None if options.after == "all" else options.after)
    sys.stdout.write(print_graph(graph))
    return 0
