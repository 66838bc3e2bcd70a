"""The command line: `lsrl COMMAND …`. One file a command; each is imported only when it is called.

Exit status: 0 done, 1 a negative verdict, 2 an error, 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from lsrl.cli.options import Parser
from lsrl.diagnostics import LsrlError

__all__ = ["COMMANDS", "entry", "main"]

# name: what it does, for the list in `lsrl --help`; the module lsrl.cli.<name>_command has `configure` and `run`
COMMANDS: dict[str, str] = {
    "check": "parse and type-check programs",
    "fmt": "print programs in the canonical form",
    "run": "run a program over a text, a table or standard input",
    "ir": "print a program's dataflow graph",
    "explain": "print what is known about a program, or a page on a diagnostic's code",
    "graph": "draw a program's dataflow graph as SVG, PNG or DOT",
    "compile": "construct the weights of a recurrent model and save it",
    "kernel": "print the generated kernel of a program, in C or Triton, or its plan",
    "verify": "prove a model or another program equal to a program, or its asserts true",
    "targets": "tell which targets host a program, at what size, or why not",
    "export": "write a benchmark case: a model, its circuit as ground truth, data and a card",
    "robustness": "measure and predict the wrong outputs under noise on the weights",
    "cache": "show or empty the folder of compiled kernels",
    "repl": "define programs and look at their streams, line by line",
}

_EXAMPLES = """examples:
  lsrl check examples/text/balanced.lsrl
  lsrl run examples/text/balanced.lsrl README.md --last
  lsrl explain examples/counting/majority.lsrl
  lsrl compile examples/text/balanced.lsrl --target lstm -o balanced.safetensors
  lsrl verify examples/text/balanced.lsrl --model balanced.safetensors
  lsrl explain L204

`lsrl COMMAND --help` tells more about each. Exit status: 0 done, 1 a negative verdict, 2 an error.
"""


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command line; with `only`, just that command is imported and configured."""
    parser = Parser(prog="lsrl", description="A compiler from small sequence programs to exact recurrent models.",
                    epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"lsrl {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name, summary in COMMANDS.items():
        if only is not None and name != only:
            commands.add_parser(name, help=summary)
            continue
        module = importlib.import_module(f"lsrl.cli.{name}_command")
        sub = commands.add_parser(name, help=summary, description=module.__doc__, epilog=module.EXAMPLES,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
        module.configure(sub)
        sub.set_defaults(run=module.run)
    return parser


def _version() -> str:
    from lsrl.version import __version__

    return __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit status. Every LsrlError is printed on standard error as diagnostics."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    only = next((a for a in given if not a.startswith("-")), None)
    parser = build_parser(only if only in COMMANDS else "check")
    try:
        options = parser.parse_args(given)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    if options.command is None:
        parser.print_help()
        return 0
    try:
        status = options.run(options)
        sys.stdout.flush()
        return int(status)
    except LsrlError as error:
        sys.stdout.flush()
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader of our output went away, as `lsrl ir … | head` does: nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def entry() -> None:
    """The console script. A fault of ours must not end with 1, which says that a verdict is negative."""
    try:
        status = main()
    except Exception:  # noqa: BLE001 - the last resort; the trace is what a report needs
        traceback.print_exc()
        print("this is a fault of lsrl, not of your program: please report it", file=sys.stderr)
        status = 2
    sys.exit(status)


if __name__ == "__main__":
    entry()
