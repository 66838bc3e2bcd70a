"""Kernels on this machine, each beside its rivals and a plain copy of the same bytes, in one process.

    python -m benchmarks.kernels                      all rows, forward and backward, on the CPU
    python -m benchmarks.kernels gated automaton      rows whose names begin so
    python -m benchmarks.kernels --json out.json --page docs/speed.md
    python -m benchmarks.kernels --gpu                the same rows with Triton, where torch finds a GPU

In each round every contender of a row runs once, so that all of them see the same disturbances; the figure is the
median of the rounds, with the quartiles. Rivals that are not installed are named and left out. "of copy" is the time
that copying as many bytes as the kernel must move takes, over the kernel's time.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lsrl
from benchmarks.kernel_rows import ROWS, Work

_ROUNDS = 7


@dataclass
class Figure:
    """Seconds of one contender: the quartiles of its rounds."""

    name: str
    low: float
    median: float
    high: float


@dataclass
class Row:
    """name, what was measured, tokens (times lanes), bytes moved, the figures; missing: rivals that were left out."""

    name: str
    what: str
    elements: int
    bytes: int
    figures: list[Figure] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def of(self, name: str) -> Figure | None:
        return next((f for f in self.figures if f.name == name), None)


def measured(work: Work, device: str, rounds: int) -> Row:
    """All contenders of a row, round by round."""
    contenders: dict[str, Callable[[], object]] = {"lsrl": work.ours}
    missing = []
    for name, (package, make) in work.rivals.items():
        if package and importlib.util.find_spec(package) is None:
            missing.append(f"{name} ({package} is not installed)")
            continue
        try:
            contenders[name] = make()
        except Exception as error:  # noqa: BLE001 - a rival that fails is named, and the others still run
            missing.append(f"{name} ({type(error).__name__}: {str(error).splitlines()[0][:60]})")
    contenders["copy"] = copying(work.bytes, device)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            if turn > 1 and sum(times[name]) > work.patience:
                continue
            start = time.perf_counter()
            run()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first round compiles
                times[name].append(time.perf_counter() - start)
    row = Row(work.name, work.what, work.elements, work.bytes, missing=missing)
    for name, spent in times.items():
        low, high = (spent[0], spent[0]) if len(spent) < 3 else (
            statistics.quantiles(spent, n=4)[0], statistics.quantiles(spent, n=4)[2])
        row.figures.append(Figure(name, low, statistics.median(spent), high))
    return row


def copying(count: int, device: str) -> Callable[[], object]:
    """A copy that reads and writes `count` bytes together."""
    half = max(1, count // 2)
    if device == "cuda":
        source = torch.empty(half, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        return lambda: target.copy_(source)
    a, b = np.ones(half, np.uint8), np.empty(half, np.uint8)
    return lambda: np.copyto(b, a)


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| work | ours, ms (quartiles) | elements a second | of copy | rivals: times ours |",
             "| --- | --- | --- | --- | --- |"]
    for row in rows:
        own, copy = row.of("lsrl"), row.of("copy")
        assert own is not None and copy is not None
        rivals = [f"{f.name} {f.median / own.median:.3g}×" for f in row.figures if f.name not in ("lsrl", "copy")]
        lines.append(f"| {row.what} | {own.median * 1e3:.3g} ({own.low * 1e3:.3g} to {own.high * 1e3:.3g}) | "
                     f"{row.elements / own.median:.3g} | {copy.median / own.median:.0%} | {', '.join(rivals) or '-'} |")
    return "\n".join(lines)


def machine(device: str) -> str:
    """The machine in words."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        name = next((line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines()
                     if line.startswith("model name")), name)
    what = torch.cuda.get_device_name() if device == "cuda" else f"{name}, {torch.get_num_threads()} threads"
    return f"{what}; Python {platform.python_version()}, torch {torch.__version__}, NumPy {np.__version__}"


def page(rows: list[Row], device: str) -> str:
    """The page of the documentation."""
    missing = sorted({m for row in rows for m in row.missing})
    left = "".join(f"- {m}\n" for m in missing)
    return (f"# How fast kernels are\n\nWritten by `python -m benchmarks.kernels --page docs/speed.md` on "
            f"{datetime.date.today().isoformat()}: {machine(device)}. Medians of {_ROUNDS} rounds in one process, in "
            "which every contender ran once a round; what the columns mean stands in the command's own text. The rows "
            "of a GPU are written by the same command with `--gpu`; no GPU could be had for this page, so it has "
            "none.\n\n"
            f"{table(rows)}\n" + (f"\nLeft out:\n\n{left}" if left else ""))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="rows whose names begin so; all of them if none is given")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--scale", type=float, default=1.0, help="of all lengths")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = "cuda" if options.gpu else "cpu"
    if options.gpu and not torch.cuda.is_available():
        print("torch finds no GPU here: no row was measured", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for make in ROWS:
        if options.names and not any(make.__name__.startswith(n) for n in options.names):
            continue
        row = measured(make(device, options.scale), device, options.rounds)
        rows.append(row)
        print(table([row]).splitlines()[-1] + ("" if not row.missing else f"  left out: {'; '.join(row.missing)}"),
              flush=True)
    if options.json is not None:
        found: dict[str, Any] = {"machine": machine(device), "lsrl": lsrl.__version__,
                                 "date": str(datetime.date.today()), "rows": [asdict(r) for r in rows]}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.page is not None:
        options.page.write_text(page(rows, device))
    return 0


if __name__ == "__main__":
    sys.exit(main())
