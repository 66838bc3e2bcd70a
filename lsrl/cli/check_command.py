"""Parses and type-checks programs, and prints every diagnostic. Says nothing of a file that is right but its name."""

from __future__ import annotations

import argparse
import sys

from lsrl.diagnostics import LsrlError

EXAMPLES = """examples:
  lsrl check balanced.lsrl
  lsrl check examples/*/*.lsrl
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="files ending in .lsrl")


def run(options: argparse.Namespace) -> int:
    from lsrl.frontend.modules import load_module

    wrong = 0
    for path in options.files:
        try:
            module = load_module(path)
        except LsrlError as error:
            wrong += len(error.diagnostics)
            print(error, file=sys.stderr)
            print(file=sys.stderr)
            continue
        programs = ", ".join(module.programs) or "no program"
        print(f"{path}: {programs}")
    if wrong:
        print(f"{wrong} error{'s' if wrong > 1 else ''}", file=sys.stderr)
    return 2 if wrong else 0
