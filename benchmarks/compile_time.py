"""How long does it take to compile an example, from its text to a torch module, or to refuse it?

`python -m benchmarks.compile_time` compiles every example to every target, each in a fork of a process that has
imported all modules and compiled one small program. It prints medians of CPU seconds, the slowest pairs, and the
machine; it takes a few minutes for each run, and an operating system that forks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import statistics
import time
from pathlib import Path

import torch

import lsrl
from benchmarks.examples import weight_examples
from lsrl.backends.registry import TARGETS
from lsrl.diagnostics import LsrlError

_SHOWN = 5
_FORKS = multiprocessing.get_context("fork")


def compiled(pair: tuple[Path, str]) -> tuple[float, bool]:
    """CPU seconds for one example and target, and whether the target hosts it."""
    path, target = pair
    began = time.process_time()
    try:
        lsrl.compile(lsrl.load(path), target=target)
        hosts = True
    except LsrlError:
        hosts = False
    return time.process_time() - began, hosts


def compile_times(runs: int) -> None:
    pairs = [(path, target) for path in weight_examples() for target in TARGETS]
    compiled(pairs[0])
    with _FORKS.Pool(1, maxtasksperchild=1) as fresh:
        found = [fresh.map(compiled, pairs, chunksize=1) for _ in range(runs)]
    for hosts, what in ((True, "text to torch module"), (False, "text to refusal")):
        rows = [(statistics.median(seconds), min(seconds), max(seconds), f"{path.parent.name}/{path.stem} {target}")
                for i, (path, target) in enumerate(pairs)
                if found[0][i][1] == hosts and (seconds := [run[i][0] for run in found])]
        rows.sort(reverse=True)
        print(f"{what}, {len(rows)} pairs of an example and a target, median of {runs} runs: "
              f"median {statistics.median(row[0] for row in rows):.2f} s; the slowest:")
        for median, least, most, name in rows[:_SHOWN]:
            print(f"  {name}: {median:.2f} s ({least:.2f} to {most:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.machine()}, one thread, Python {platform.python_version()}, "
          f"torch {torch.__version__}")
    compile_times(options.runs)


if __name__ == "__main__":
    main()
