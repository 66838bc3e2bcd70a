"""Tells which targets host a program, at what size, and the reason where one cannot."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lsrl.cli.options import add_approximation, load_program, parse_sizes

if TYPE_CHECKING:
    from lsrl.backends.model import CompiledModel

EXAMPLES = """examples:
  lsrl targets                  the targets there are
  lsrl targets majority.lsrl    which of them host this program
  lsrl targets majority.lsrl --verify --seconds 20    and the verdict on each model
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", help="a program; without one, all targets are listed")
    parser.add_argument("-p", "--program", metavar="NAME", help="which program of the file, if it has several")
    parser.add_argument("--verify", action="store_true", help="verify the model of every target that hosts it")
    parser.add_argument("--seconds", metavar="N", type=float, default=60.0, help="time for each verdict (60)")
    add_approximation(parser)
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="a size, such as n=64")


def run(options: argparse.Namespace) -> int:
    from lsrl.backends.registry import TARGETS, render_targets

    if options.file is None:
        parse_sizes(options.set)
        width = max(map(len, TARGETS))
        for name, target in TARGETS.items():
            print(f"{name.ljust(width)}  {target.summary}")
        return 0
    graph = load_program(options).graph

    def judge(model: CompiledModel) -> str:
        from lsrl.verify import verify

        return verify(graph, model, seconds=options.seconds).headline

    print(render_targets(graph, judge if options.verify else None, options.approx, options.horizon))
    return 0
