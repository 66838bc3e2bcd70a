"""python -m benchmarks.compile_kernels [NAME ...] [--arch sm_90]: every example's Triton kernels as machine code.

No GPU is needed. One line a kernel: seconds to compile it, registers of a thread, what is spilled, shared memory. Ends
with 1 if a kernel spills in its default configuration. Cells of examples/cells have sizes of 4, those with matrix
products 64.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import lsrl
from benchmarks.examples import ROOT
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.call import Options
from lsrl.backends.kernels.lanes import make_lanes
from lsrl.backends.kernels.triton_compile import ARCHITECTURES, compiled, default_kernels
from lsrl.frontend.modules import load_module

SIZES = (64, 65536)  # rows and tokens that configurations are chosen for
_SMALL, _LARGE = 4, 64


def example_parts(file: Path) -> Parts:
    """An example's kernels, with sizes for those that ask for some."""
    generics = [g.id for g in next(iter(load_module(file).programs.values())).generics]
    parts = Parts.of(make_lanes(lsrl.load(file, None, **dict.fromkeys(generics, _SMALL)).graph))
    if generics and parts.lanes.mixes:
        parts = Parts.of(make_lanes(lsrl.load(file, None, **dict.fromkeys(generics, _LARGE)).graph))
    return parts


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help="of examples; all without")
    parser.add_argument("--arch", nargs="*", choices=tuple(ARCHITECTURES), default=list(ARCHITECTURES),
                        help="of %(choices)s; all without")
    parser.add_argument("--resets", action="store_true", help="kernels that take resets and packed sequences")
    options = parser.parse_args(arguments)
    files = sorted(f for f in (ROOT / "examples").glob("*/*.lsrl") if not options.names or f.stem in options.names)
    spilled = 0
    for file in files:
        parts = example_parts(file)
        chosen = Options(resets=options.resets, packed=options.resets)
        for text, kernel, constants, c in default_kernels(parts, chosen, *SIZES, 1):
            for architecture in options.arch:
                start = time.perf_counter()
                usage = compiled(text, kernel, constants, c, architecture)
                seconds = time.perf_counter() - start
                sizes = " ".join(f"{k}={v}" for k, v in constants.items() if k in ("BL", "BT", "GROUP"))
                print(f"{file.stem:20} {kernel.name:18} {sizes:18} {architecture:7} {seconds:5.2f} s  "
                      f"{usage.registers:3} registers  {usage.shared:6} B shared"
                      + (f"  {usage.spilled} SPILLED" if usage.spilled else ""), flush=True)
                spilled += bool(usage.spilled)
    print(f"{spilled} kernels spill")
    return int(spilled > 0)


if __name__ == "__main__":
    sys.exit(main())
