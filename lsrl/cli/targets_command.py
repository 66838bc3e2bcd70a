"""Tells which targets host a program, at what size, and the reason where one cannot."""

from __future__ import annotations

import argparse

from lsrl.cli.options import load_program, parse_sizes

EXAMPLES = """examples:
  lsrl targets                  the targets there are
  lsrl targets majority.lsrl    which of them host this program
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", help="a program; without one, all targets are listed")
    parser.add_argument("-p", "--program", metavar="NAME", help="which program of the file, if it has several")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="a size, such as n=64")


def run(options: argparse.Namespace) -> int:
    from lsrl.backends.registry import TARGETS, render_targets

    if options.file is None:
        parse_sizes(options.set)
        width = max(map(len, TARGETS))
        for name, target in TARGETS.items():
            print(f"{name.ljust(width)}  {target.summary}")
        return 0
    print(render_targets(load_program(options).graph))
    return 0
