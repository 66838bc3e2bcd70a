"""Measures how many outputs are wrong when noise is added to a model's weights, and predicts it.

Gaussian noise of standard deviation σ goes on every weight and bias that is not zero, several draws for each σ; the
outputs are compared with the program's on random inputs. Printed are the share of wrong tokens (median over the draws,
and its range), the least σ with an error, the σ at which half of the draws are expected to err, and the noise up to
which no output can be wrong. The same seed gives the same output.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lsrl.cli.options import add_program, load_program
from lsrl.cli.progress import Progress
from lsrl.diagnostics import LsrlError

if TYPE_CHECKING:
    from lsrl.backends.model import CompiledModel
    from lsrl.program import Program

EXAMPLES = """examples:
  lsrl robustness parity.lsrl --target lstm
  lsrl robustness parity.lsrl --target lstm --target rnn_relu --plot parity.svg
  lsrl robustness balanced.lsrl --target all --length 128 --draws 25 --json > noise.json
  lsrl robustness majority.lsrl --target lstm --sigma 0.05 --sigma 0.1 --sigma 0.2 --relative
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_program(parser)
    parser.add_argument("--target", metavar="NAME", action="append", required=True,
                        help="a target, or `all` that host the program; may be given again")
    parser.add_argument("--sigma", metavar="S", action="append", type=_sigma,
                        help="a size of noise; may be given again (0 and 1e-6 to 1e-1 by tens)")
    parser.add_argument("--relative", action="store_true", help="noise is σ times the weight's size")
    parser.add_argument("--length", metavar="N", type=_positive, default=64, help="tokens of an input (64)")
    parser.add_argument("--sequences", metavar="N", type=_positive, default=32, help="random inputs (32)")
    parser.add_argument("--draws", metavar="N", type=_positive, default=10, help="draws of noise for each size (10)")
    parser.add_argument("--seed", metavar="N", type=_seed, default=0, help="of inputs and noise (0)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="of the weights (float32)")
    parser.add_argument("--json", action="store_true", help="print JSON, with every draw")
    parser.add_argument("--plot", metavar="PATH", help="draw a picture; a file ending in .svg or .png")


def _positive(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= value < 2**31:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 18):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number")
    return int(text)


def _sigma(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a size of noise: 0, or a positive number")
    return value


def run(options: argparse.Namespace) -> int:
    from lsrl.robustness import SIGMAS, Row, draw_plot, make_trial, measure, predict, render_json, render_table
    from lsrl.robustness.report import plot_ending

    if options.plot is not None:
        plot_ending(options.plot)
    program = load_program(options)
    models, refused = _models(program, options.target, options.dtype)
    trial = make_trial(program.graph, options.sequences, options.length, options.seed)
    sigmas = tuple(dict.fromkeys(options.sigma or SIGMAS))
    rows: list[Row] = []
    with Progress() as progress:
        for model in models:
            measured = measure(model, trial, sigmas, options.draws, options.seed, options.relative, progress)
            c = model.certificate
            rows.append(Row(model.target, c.parameters, c.nonzero, measured, predict(model, trial, options.relative)))
    kind = "relative" if options.relative else "absolute"
    if options.plot is not None:
        draw_plot(rows, f"{program.name}: {kind} noise on weights", options.plot)
    if options.json:
        print(render_json(rows, {
            "program": program.name, "noise": kind, "dtype": options.dtype, "length": options.length,
            "sequences": options.sequences, "draws": options.draws, "seed": options.seed, "refused": refused}))
        return 0
    print(f"{program.name}: {kind} noise, {options.sequences} inputs of {options.length} tokens, "
          f"{options.draws} draws, {options.dtype}\n")
    print(render_table(rows))
    for target, reason in refused.items():
        print(f"{target}: refused: {reason}")
    if options.plot is not None:
        print(f"wrote {Path(options.plot)}")
    return 0


def _models(program: Program, names: list[str], dtype: str) -> tuple[list[CompiledModel], dict[str, str]]:
    """The models of the targets named; with `all`, those that are refused are left out, with the reason."""
    import torch

    from lsrl.backends.registry import TARGETS, find_target

    wanted = list(dict.fromkeys(n for name in names for n in (TARGETS if name == "all" else (name,))))
    for name in wanted:
        find_target(name)
    models: list[CompiledModel] = []
    refused: dict[str, str] = {}
    first: LsrlError | None = None
    for name in wanted:
        try:
            models.append(program.compile(name, dtype=getattr(torch, dtype)))
        except LsrlError as error:
            if name in names:
                raise
            first = first or error
            refused[name] = getattr(error, "reason", error.diagnostics[0].message)
    if not models and first is not None:
        raise first
    return models, refused
