"""How long does it take to compile an example, and how fast do programs run over a text?

`python -m benchmarks.compile_time` prints medians and spreads over several runs, and the machine.
"""

from __future__ import annotations

import argparse
import io
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

import lsrl
from lsrl.diagnostics import LsrlError
from lsrl.ir.graph import Graph
from lsrl.streams import open_input, open_output, run_stream

ROOT = Path(__file__).resolve().parent.parent
TEXT_PROGRAMS = ("text/balanced", "counting/dyck_1", "text/word_count", "text/c_comments", "text/json_structure")


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
    for path in sorted((ROOT / "examples").glob("*/*.lsrl")):
        for target in ("lstm", "rnn_relu"):
            def work(path: Path = path, target: str = target) -> object:
                return lsrl.compile(lsrl.load(path), target=target)

            try:
                least, median, most = timed(work, runs)
            except LsrlError:
                continue
            rows.append((median, f"{path.parent.name}/{path.stem} {target}: {median:.2f} s ({least:.2f} to {most:.2f})"))
    rows.sort(reverse=True)
    print(f"text to torch module, {len(rows)} models, median of {runs} runs: "
          f"median {statistics.median(m for m, _ in rows):.2f} s; the slowest:")
    for _, line in rows[:5]:
        print("  " + line)


def run_speed(runs: int, megabytes: float) -> None:
    source = Path(argparse.__file__).read_text(encoding="utf-8")
    bracket = "".join("()"[i % 2] for i in range(len(source)))
    print(f"`lsrl run` in one process, {megabytes:g} MB of text, reading and writing included:")
    for name in TEXT_PROGRAMS:
        graph = lsrl.load(ROOT / "examples" / f"{name}.lsrl").graph
        text = bracket if name == "counting/dyck_1" else source
        data = (text * (int(megabytes * 1e6) // len(text) + 1)).encode()

        def work(graph: Graph = graph, data: bytes = data) -> None:
            with open_output(graph, io.BytesIO()) as target:
                run_stream(graph, open_input(graph, io.BytesIO(data)), target)

        least, median, most = timed(work, runs)
        count = len(data)
        print(f"  {name}: {count / median / 1e6:.2f} M tokens/s ({count / most / 1e6:.2f} to {count / least / 1e6:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=2.0)
    options = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
          f"torch {torch.__version__}")
    compile_times(options.runs)
    run_speed(options.runs, options.megabytes)


if __name__ == "__main__":
    main()
