"""Runs a program over a stream and prints its outputs, one line a token.

A program of one symbol or byte input reads text, each character (or byte) a token; any other reads JSON lines, CSV
with a header, .npy, .npz or Parquet, matched by name. Long inputs stream in bounded memory; - is standard input.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lsrl.cli.options import add_program, load_program
from lsrl.cli.progress import Progress
from lsrl.diagnostics import LsrlError

EXAMPLES = """examples:
  lsrl run balanced.lsrl README.md --last
  cat README.md | lsrl run balanced.lsrl --format csv > balance.csv
  lsrl run adder.lsrl numbers.csv -o sums.parquet
  lsrl run mean.lsrl numbers.jsonl --exact
  lsrl run balanced.lsrl part1.txt --last --state-out state.json
  lsrl run balanced.lsrl part2.txt --last --state-in state.json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_program(parser)
    parser.add_argument("input", metavar="INPUT", nargs="?", default="-", help="a file, or - for standard input")
    parser.add_argument("-o", "--out", metavar="PATH", help="a file; its ending tells the format")
    parser.add_argument("--last", action="store_true", help="print the output after the last token alone")
    parser.add_argument("--exact", action="store_true", help='write rationals as "p/q" instead of the nearest float')
    parser.add_argument("--format", metavar="NAME", help="of the output: jsonl, csv, text, npy, npz, parquet")
    parser.add_argument("--input-format", metavar="NAME", help="of the input: text, jsonl, csv, npy, npz, parquet")
    parser.add_argument("--state-in", metavar="PATH", help="start from the state that an earlier run saved")
    parser.add_argument("--state-out", metavar="PATH", help="save the state after the last token")


def run(options: argparse.Namespace) -> int:
    from lsrl.streams import load_state, open_input, open_output, run_stream, save_state

    graph = load_program(options).graph
    state = load_state(graph, options.state_in) if options.state_in is not None else None
    if options.state_out is not None and not Path(options.state_out).parent.is_dir():  # before a long run, not after
        raise LsrlError.of("L611", f"cannot write {options.state_out}: its folder does not exist")

    def told(tokens: int, fraction: float | None) -> None:
        progress(f"{tokens:,} tokens" + ("" if fraction is None else f", {fraction:.0%}"))

    with Progress() as progress, open_input(graph, options.input, options.input_format) as source, \
            open_output(graph, options.out, options.format, options.exact) as target:
        after = run_stream(graph, source, target, last=options.last, state=state, progress=told)
    if options.state_out is not None:
        save_state(graph, after, options.state_out)
    return 0
