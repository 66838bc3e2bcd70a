"""Prints the kernel that is generated for a program: one file that needs a C compiler, or torch and Triton, alone.

With --plan only the plan is printed: what is fused, how each cell scans, what a token costs.
"""

from __future__ import annotations

import argparse
import sys

from lsrl.cli.options import DTYPES, add_program, load_program

EXAMPLES = """examples:
  lsrl kernel balanced.lsrl --plan
  lsrl kernel balanced.lsrl --target c -o balanced.c
  lsrl kernel ema.lsrl --set n=64 --target triton --dtype bfloat16 > ema.py
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_program(parser)
    parser.add_argument("--target", choices=("c", "triton"), default="c", help="of the text (c)")
    parser.add_argument("--plan", action="store_true", help="print the plan alone")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of real inputs and outputs (float32)")
    parser.add_argument("--resets", action="store_true", help="with a stream of resets")
    parser.add_argument("--packed", action="store_true", help="for sequences of different lengths in one row")
    parser.add_argument("-o", "--out", metavar="PATH", help="a file; standard output if not given")


def run(options: argparse.Namespace) -> int:
    import torch

    from lsrl.backends.kernels.bodies import Parts
    from lsrl.backends.kernels.call import Options
    from lsrl.backends.kernels.dense import arrange
    from lsrl.backends.kernels.plan import make_plan
    from lsrl.backends.kernels.targets import KERNEL_TARGETS
    from lsrl.streams.sinks import write_whole

    parts = Parts.of(arrange(load_program(options).graph, inside=options.target == "c").lanes)
    edge = getattr(torch, options.dtype)
    chosen = Options(edge, torch.float64 if edge == torch.float64 else torch.float32, options.resets, options.packed)
    text = make_plan(parts, chosen).text() if options.plan else \
        KERNEL_TARGETS[options.target].text(parts, chosen)
    if options.out is None:
        sys.stdout.write(text)
    else:
        write_whole(options.out, text.encode())
        print(f"wrote {options.out} ({len(text.encode()):,} bytes)")
    return 0
