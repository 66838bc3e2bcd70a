"""Proves a compiled model equal to its program, or shows a shortest counterexample.

With --target the program is compiled first; with --model a saved one is loaded; with --against two programs are
compared; with none of them the program's own asserts and ranges are proved.

PROVED: on every input of every length. EXHAUSTED to length N: on every input of up to N tokens. TESTED n: on n inputs.
APPROXIMATE to EPS: within the bound of the model's certificate, on inputs at the ends of its ranges too.
REFUTED: a counterexample is printed, with both traces side by side, and the exit status is 1.
"""

from __future__ import annotations

import argparse

from lsrl.cli.options import DTYPES, add_approximation, add_program, load_program
from lsrl.cli.progress import Progress

EXAMPLES = """examples:
  lsrl verify balanced.lsrl --target lstm
  lsrl verify balanced.lsrl --model balanced.lstm.safetensors
  lsrl verify dyck.lsrl --target lstm --length 200
  lsrl verify fast.lsrl --against obvious.lsrl
  lsrl verify queue.lsrl                                its asserts and ranges
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_program(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--target", metavar="NAME", help="compile to this target and verify that")
    what.add_argument("--model", metavar="PATH", help="a saved model")
    what.add_argument("--against", metavar="FILE", help="another program")
    parser.add_argument("--against-program", metavar="NAME", help="which program of that file")
    add_approximation(parser)
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="with --target (float32)")
    parser.add_argument("--length", type=_positive, metavar="N", help="search inputs of up to N tokens")
    parser.add_argument("--states", type=_positive, metavar="N", default=1_000_000,
                        help="joint states at most (1000000)")
    parser.add_argument("--time", type=_seconds, metavar="S", default=60.0, help="seconds at most (60)")
    parser.add_argument("--tests", type=_positive, metavar="N", default=256,
                        help="random inputs, where inputs have no end (256)")
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs (0)")
    parser.add_argument("--save", metavar="PATH", help="write a counterexample there, for `lsrl run FILE PATH`")


def _positive(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return value


def run(options: argparse.Namespace) -> int:
    program = load_program(options)
    model = against = None
    if options.target is not None:
        import torch

        model = program.compile(options.target, dtype=getattr(torch, options.dtype), approx=options.approx,
                                horizon=options.horizon)
    elif options.model is not None:
        from lsrl.program import load_model

        model = load_model(options.model, program)
    elif options.against is not None:
        from lsrl.program import load as load_other

        against = load_other(options.against, options.against_program).graph
    from lsrl.verify import verify

    with Progress() as progress:
        verdict = verify(program.graph, model, against=against, length=options.length, states=options.states,
                         seconds=options.time, tests=options.tests, seed=options.seed,
                         progress=lambda depth, n: progress(f"depth {depth}, {n:,} joint states"))
    print(verdict.render())
    if verdict.counterexample is not None and options.save is not None:
        verdict.counterexample.save(options.save)
        print(f"the input is in {options.save}: `lsrl run {options.file} {options.save}` replays it")
    elif options.save is not None and verdict.ok:
        print(f"no counterexample, so {options.save} was not written")
    return 0 if verdict.ok else 1


