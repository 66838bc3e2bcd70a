"""Rewrites programs in the canonical form. A file that does not parse is left as it is; comments are kept."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from lsrl.diagnostics import LsrlError, Source

EXAMPLES = """examples:
  lsrl fmt balanced.lsrl              rewrite the file
  lsrl fmt --check examples/*/*.lsrl  exit with 1 if a file would change
  lsrl fmt --diff balanced.lsrl       show what would change
  lsrl fmt - < balanced.lsrl          standard input to standard output
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="files ending in .lsrl, or - for standard input")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file would change")
    parser.add_argument("--diff", action="store_true", help="write nothing; print the changes")


def run(options: argparse.Namespace) -> int:
    from lsrl.frontend.format import format_file
    from lsrl.frontend.parser import parse, read_source

    errors = changed = 0
    for path in options.files:
        try:
            source = _standard_input() if path == "-" else read_source(path)
            text = format_file(parse(source))
            if path == "-" and not (options.check or options.diff):
                sys.stdout.write(text)
                continue
            if text == source.text:
                continue
            changed += 1
            if options.diff:
                sys.stdout.writelines(difflib.unified_diff(source.text.splitlines(True), text.splitlines(True),
                                                           path, f"{path}, formatted"))
            elif options.check:
                print(f"{path}: not in the canonical form")
            else:
                _replace(Path(path), text)
                print(f"{path}: rewritten")
        except LsrlError as error:
            errors += 1
            print(error, file=sys.stderr)
    return 2 if errors else 1 if changed and (options.check or options.diff) else 0


def _standard_input() -> Source:
    from lsrl.frontend.reading import decode_source

    return decode_source("<standard input>", sys.stdin.buffer.read())


def _replace(path: Path, text: str) -> None:
    """Writes the file in one step, with the rights it had."""
    from lsrl.streams.sinks import write_whole

    rights = path.stat().st_mode & 0o7777
    write_whole(path, text.encode())
    path.chmod(rights)
