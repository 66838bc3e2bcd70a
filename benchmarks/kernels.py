"""Kernels on this machine, each beside its rivals and a plain copy of the same bytes, in one process.

    python -m benchmarks                        all rows and series, on the CPU
    python -m benchmarks gated automaton        rows whose names begin so
    python -m benchmarks --keep docs            also writes docs/speed.json, docs/speed.svg and docs/speed.md
    python -m benchmarks --gpu --keep docs      the same rows with Triton, where torch finds a GPU

In each round every contender of a row runs once, so that all of them see the same disturbances; short ones run several
times a round. The figure is the median of the rounds, with the quartiles. Rivals that are not installed, or that fail,
or whose outputs differ from ours, are named and left out. "of copy" is the time that copying as many bytes as the
kernel must move takes (`np.copyto`, or a tensor's `copy_` on a GPU), over the kernel's time. On a CPU the process is
kept to as many cores as `--threads` says, one of them if nothing is said, so that rivals have no more.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lsrl
from benchmarks.kernel_page import Figure, Measured, Row, SeriesRow, keep, row_line
from benchmarks.kernel_rows import ROWS, SERIES, Series, Work

_ROUNDS = 7
_LEAST = 2e-3  # seconds that a contender runs a round, at least
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384)  # of a series, with 8 rows
_BATCHES = (1, 2, 4, 8, 16, 32, 64)  # with 1024 tokens


def measured(work: Work, device: str, rounds: int) -> Row:
    """All contenders of a row, round by round."""
    contenders: dict[str, Callable[[], object]] = {"lsrl": work.ours}
    missing = []
    for name, (package, make) in work.rivals.items():
        if package and importlib.util.find_spec(package) is None:
            missing.append(f"{name} ({package} is not installed)")
            continue
        try:
            contender = make()
            theirs = contender()
            apart = 0 if name in work.measures else difference(work.ours(), theirs)
        except Exception as error:  # noqa: BLE001 - a rival that fails is named, and the others still run
            missing.append(f"{name} ({type(error).__name__}: {(str(error).splitlines() or [''])[0][:60]})")
            continue
        if apart > 1e-3:
            missing.append(f"{name} (its outputs differ from ours by {apart:.2g})")
        else:
            contenders[name] = contender
    contenders["copy"] = copying(work.bytes, device)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    often = dict.fromkeys(contenders, 1)
    for turn in range(-1, rounds):
        for name, run in contenders.items():
            if turn > 0 and sum(times[name]) * often[name] > work.patience:
                continue
            seconds = timed(run, often[name], device)
            if turn >= 0:
                times[name].append(seconds)
            else:  # what is made at the first call has been made
                often[name] = max(1, min(10_000, round(_LEAST / max(seconds, 1e-7))))
    row = Row(work.name, work.what, work.elements, work.bytes, missing=missing)
    if work.goal is not None:
        row.goal, row.goal_of, row.goal_least = str(work.goal), work.goal.of, work.goal.least
    for name, spent in times.items():
        low, high = (min(spent), max(spent)) if len(spent) < 3 else (
            statistics.quantiles(spent, n=4)[0], statistics.quantiles(spent, n=4)[2])
        row.figures.append(Figure(name, low, statistics.median(spent), high))
    return row


def timed(run: Callable[[], object], often: int, device: str) -> float:
    """Seconds of a call, from several."""
    start = time.perf_counter()
    for _ in range(often):
        run()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / often


def difference(ours: object, theirs: object) -> float:
    """How far apart two outputs are, where numbers beyond 1 count relative to their size."""
    a, b = numbers(ours), numbers(theirs)
    if a.shape != b.shape:
        return float("inf")
    return float((np.abs(a - b) / np.maximum(1, np.abs(a))).max(initial=0))


def numbers(x: Any) -> Any:
    """An output, or the first of several, as an array."""
    while isinstance(x, tuple | list):
        x = x[0]
    return (x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)).astype(np.float64)


def copying(count: int, device: str) -> Callable[[], object]:
    """A copy that reads and writes `count` bytes together."""
    half = max(1, count // 2)
    if device == "cuda":
        source = torch.empty(half, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        return lambda: target.copy_(source)
    a, b = np.ones(half, np.uint8), np.empty(half, np.uint8)
    return lambda: np.copyto(b, a)


def series(of: Series, device: str, rounds: int) -> list[SeriesRow]:
    """A row at sizes of one kind and then the other."""
    out = []
    for axis, sizes in (("tokens", [(8, t) for t in _TOKENS]), ("rows", [(b, 1024) for b in _BATCHES])):
        points = []
        for rows, tokens in sizes:
            work = of.row(device, rows, tokens)
            work.patience = 0.3
            points.append((tokens if axis == "tokens" else rows, measured(work, device, rounds)))
        out.append(SeriesRow(of.name, of.what, axis, [size for size, _ in points], [row for _, row in points]))
    return out


def machine(device: str) -> str:
    """The machine in words."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        name = next((line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines()
                     if line.startswith("model name")), name)
    threads = torch.get_num_threads()
    what = torch.cuda.get_device_name() if device == "cuda" else f"{name}, {threads} core{'s' * (threads > 1)}"
    packages = "".join(f", {n} {sys.modules[n].__version__}" for n in ("triton", "numba", "jax") if n in sys.modules)
    return f"{what}; Python {platform.python_version()}, torch {torch.__version__}, NumPy {np.__version__}{packages}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="rows whose names begin so; all of them if none is given")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-series", action="store_true", help="rows alone")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where to write speed.json, speed.svg and speed.md")
    options = parser.parse_args()
    if options.gpu and not torch.cuda.is_available():
        print("torch finds no GPU here: no row was measured", file=sys.stderr)
        return 2
    device = "cuda" if options.gpu else "cpu"
    torch.set_num_threads(options.threads)
    if device == "cpu" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.threads:])

    def wanted(name: str) -> bool:
        return not options.names or any(name.startswith(n) for n in options.names)

    rows: list[Row] = []
    for make in ROWS:
        if wanted(make.__name__):
            rows.append(measured(make(device), device, options.rounds))
            print(row_line(rows[-1]) + "".join(f"\n  left out: {m}" for m in rows[-1].missing), flush=True)
    lines: list[SeriesRow] = []
    for of in SERIES:
        if wanted(of.name) and not options.no_series:
            lines += series(of, device, min(5, options.rounds))
            for line in lines[-2:]:
                print(f"{line.what}, ns an element by {line.axis}: "
                      + ", ".join(f"{size} {cost:.3g}" for size, cost in line.costs("lsrl")), flush=True)
    if options.keep is not None:
        found = Measured(machine(device), lsrl.__version__, str(datetime.date.today()), options.rounds, rows, lines)
        keep(options.keep, "gpu" if options.gpu else "cpu", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
