"""How long does it take to compile an example, from its text to a torch module?

`python -m benchmarks.compile_time` prints medians and spreads over several runs, and the machine.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import lsrl
from benchmarks.examples import weight_examples
from lsrl.diagnostics import LsrlError


def timed(work: Callable[[], object], runs: int) -> tuple[float, float, float]:
    """Minimum, median and maximum seconds of several runs."""
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds), statistics.median(seconds), max(seconds)


def compile_times(runs: int) -> None:
    rows: list[tuple[float, str]] = []
    for path in weight_examples():
        for target in ("lstm", "rnn_relu"):
            def work(path: Path = path, target: str = target) -> object:
                return lsrl.compile(lsrl.load(path), target=target)

            try:
                least, median, most = timed(work, runs)
            except LsrlError:
                continue
            name = f"{path.parent.name}/{path.stem} {target}"
            rows.append((median, f"{name}: {median:.2f} s ({least:.2f} to {most:.2f})"))
    rows.sort(reverse=True)
    print(f"text to torch module, {len(rows)} models, median of {runs} runs: "
          f"median {statistics.median(m for m, _ in rows):.2f} s; the slowest:")
    for _, line in rows[:5]:
        print("  " + line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
          f"torch {torch.__version__}")
    compile_times(options.runs)


if __name__ == "__main__":
    main()
