"""Constructs the weights of a recurrent model that computes a program exactly, and saves it as safetensors.

The file holds the weights, the program's text, the certificate and the symbols: which unit carries which variable.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from lsrl.cli.options import DTYPES, add_approximation, add_program, load_program
from lsrl.diagnostics import LsrlError

EXAMPLES = """examples:
  lsrl compile balanced.lsrl --target lstm
  lsrl compile balanced.lsrl --target rnn_relu -o balanced.safetensors --dtype float64
  lsrl compile majority.lsrl --target lstm --uniform    one torch.nn.LSTM with several layers
  lsrl compile exponential_average.lsrl --target gru --approx 0.01    within 0.01, and for how many tokens
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_program(parser)
    parser.add_argument("--target", required=True, metavar="NAME",
                        help="lstm, gru, mamba, …: `lsrl targets` lists them")
    parser.add_argument("-o", "--out", metavar="PATH",
                        help="where to save; FILE's name with .TARGET.safetensors if not given")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the weights (float32)")
    add_approximation(parser)
    parser.add_argument("--uniform", action="store_true", help="pad all layers to one width, as a single torch module")


def run(options: argparse.Namespace) -> int:
    import torch

    program = load_program(options)
    path = Path(options.out or f"{Path(options.file).stem}.{options.target}.safetensors")
    if path.is_dir():
        raise LsrlError.of("L611", f"{path} is a folder", help="name a file with -o")
    began = time.monotonic()
    model = program.compile(options.target, dtype=getattr(torch, options.dtype), uniform=options.uniform,
                            approx=options.approx, horizon=options.horizon)
    seconds = time.monotonic() - began
    model.save(path)
    print(model.certificate.table())
    print(f"\nsaved {path} ({path.stat().st_size:,} bytes), compiled in {seconds:.2f} s")
    return 0
