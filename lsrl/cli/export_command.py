"""Writes a benchmark case for interpretability work: a folder with an exact model and the ground truth about it.

It holds the weights, the program, the symbols (which unit carries which variable of which source line), the circuit as
a graph (which unit feeds which), data splits, the certificate with the verifier's verdict, and a model card with code
that loads all of it without lsrl. The folder appears whole or not at all. The same options give the same bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lsrl.cli.options import add_approximation, add_program, load_program
from lsrl.cli.progress import Progress

EXAMPLES = """examples:
  lsrl export parity.lsrl --target lstm --out cases/parity
  lsrl export balanced.lsrl --target rnn_relu --out cases/balanced --sizes 5000,500,500 --length 128
  lsrl export parity.lsrl --target lstm --out cases/hidden --disguise superpose --seed 7
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_program(parser)
    parser.add_argument("--target", required=True, metavar="NAME",
                        help="lstm, gru, mamba, …: `lsrl targets` lists them")
    parser.add_argument("-o", "--out", required=True, metavar="DIR", help="the folder to make")
    parser.add_argument("--force", action="store_true", help="replace an exported case that is there")
    parser.add_argument("--disguise", choices=("permute", "superpose", "orthogonal"),
                        help="shuffle the units; superpose: also give them twins, and add distractors that cancel out; "
                             "orthogonal: also take the states of linear recurrences into another basis")
    parser.add_argument("--sizes", type=_three, metavar="N,N,N", default=(1000, 100, 100),
                        help="inputs for training, validation and test (1000,100,100)")
    parser.add_argument("--length", type=_positive, metavar="N", default=64, help="tokens of an input (64)")
    parser.add_argument("--test-length", type=_positive, metavar="N", help="tokens of a test input (as --length)")
    parser.add_argument("--seed", type=_whole, metavar="N", default=0, help="of data and disguise (0)")
    add_approximation(parser)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="of the weights (float32)")
    parser.add_argument("--states", type=_positive, metavar="N", default=100_000,
                        help="joint states that the verifier searches at most (100000)")


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number")
    return int(text)


def _positive(text: str) -> int:
    value = _whole(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value


def _three(text: str) -> tuple[int, ...]:
    sizes = tuple(map(_whole, text.split(",")))
    if len(sizes) != 3:
        raise argparse.ArgumentTypeError(f"{text} is not three numbers with commas between them")
    return sizes


def run(options: argparse.Namespace) -> int:
    import torch

    from lsrl.export import MARKER, Split, check_free, export_files, write_folder

    path = Path(options.out)
    check_free(path, options.force, MARKER)
    program = load_program(options)
    lengths = (options.length, options.length, options.test_length or options.length)
    splits = [Split(name, n, length) for name, n, length in zip(("train", "valid", "test"), options.sizes, lengths,
                                                                strict=True)]
    with Progress() as progress:
        files, model, verdict = export_files(
            program.graph, program.text, options.target, splits, getattr(torch, options.dtype), options.disguise,
            options.seed, options.states, progress=progress, approx=options.approx, horizon=options.horizon)
    write_folder(path, files)
    print(verdict.render().split("\ncovers:")[0].split("\nsearched")[0])
    print(f"wrote {len(files)} files, {sum(map(len, files.values())):,} bytes, to {options.out}: "
          f"{model.certificate.width} units, {model.certificate.nonzero:,} weights that are not zero")
    return 0
