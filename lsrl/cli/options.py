"""Options that several commands share, and how a program is named on the command line."""

from __future__ import annotations

import argparse
import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NoReturn

from lsrl.diagnostics import LsrlError, did_you_mean

if TYPE_CHECKING:
    from lsrl.program import Program

__all__ = ["DTYPES", "Parser", "add_approximation", "add_program", "load_program", "parse_sizes"]

DTYPES = ("bfloat16", "float16", "float32", "float64")  # of weights


class Parser(argparse.ArgumentParser):
    """argparse, with a near name offered for a misspelt command, and options that may stand between FILE and INPUT."""

    _mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, which by itself gives an optional argument its default at the first option after FILE."""
        if self._mixing or any(isinstance(a, argparse._SubParsersAction) for a in self._actions):
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False

    def error(self, message: str) -> NoReturn:
        from lsrl.cli.main import COMMANDS

        near = ""
        if "invalid choice: '" in message:
            near = did_you_mean(message.split("invalid choice: '")[1].split("'")[0], COMMANDS)
            message = message.split(" (choose")[0]
        self.print_usage(sys.stderr)
        print(f"error: {message}" + (f"\n = help: {near}" if near else ""), file=sys.stderr)
        raise SystemExit(2)


def add_program(parser: argparse.ArgumentParser, file_help: str = "a program, in a file ending in .lsrl") -> None:
    """FILE, --program and --set."""
    parser.add_argument("file", metavar="FILE", help=file_help)
    parser.add_argument("-p", "--program", metavar="NAME", help="which program of the file, if it has several")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[],
                        help="a size or type of a generic program, such as n=64; may be given again")


def add_approximation(parser: argparse.ArgumentParser) -> None:
    """--approx and --horizon."""
    parser.add_argument("--approx", metavar="EPS", type=_error,
                        help="where a target cannot host the program exactly, let outputs be off by at most EPS")
    parser.add_argument("--horizon", metavar="N", type=_tokens,
                        help="refuse a model that is not exact, or within EPS, for N tokens")


def _error(text: str) -> Fraction:
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(0)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _tokens(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value


def parse_sizes(given: list[str]) -> dict[str, int | str]:
    """The sizes of `--set n=64`, types as text. Raises LsrlError (L104) for anything else."""
    sizes: dict[str, int | str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        number = value.isascii() and value.isdigit() and len(value) < 20
        if not equals or not name.isidentifier() or not (number or value[:1].isalpha() or value[:1] == "{"):
            raise LsrlError.of("L104", f"`--set {text}` is not of the form NAME=NUMBER or NAME=TYPE",
                               help="write `--set n=64`, or `--set 'K={\"a\", \"b\"}'`")
        sizes[name] = int(value) if number else value
    return sizes


def load_program(options: argparse.Namespace) -> Program:
    """The program that FILE, --program and --set name."""
    from lsrl.program import load

    return load(options.file, options.program, **parse_sizes(options.set))
