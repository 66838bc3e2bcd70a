"""LSRL's own programs beside the reference implementation's figures: size, compile time, speed.

`python -m benchmarks.lsrl_programs` prints a row for every program of examples/lsrl and every target that hosts it:
layers, widest layer, dense weights (all weights and biases), non-zeros, CPU seconds from text to torch module (median
of 3), tokens a second in a batch of 64 (median, least and most of 5 runs). `--targets` and `--programs` choose some.

The reference's figures were measured once with its NumPy mode, its best conditional, after its simplification, one
sequence at a time, in CPU seconds. LSRL: Petrov et al. 2024, arXiv 2406.01424.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch

import lsrl
from lsrl.backends.model import CompiledModel
from lsrl.backends.registry import TARGETS
from lsrl.diagnostics import LsrlError
from lsrl.ir.graph import Graph
from lsrl.types import Vector

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "lsrl"
BATCH, TOKENS = 64, 256


@dataclass(frozen=True)
class Reference:
    """dense, nonzeros: weights. seconds: of its simplification. rate: tokens a second."""

    dense: float
    nonzeros: float
    seconds: float
    rate: float


REFERENCE = {
    "vec2vec_2_2": Reference(343_248, 3_160, 0.25, 398),
    "tok2tok_3": Reference(273_687_298, 126_745, 4.3, 106),
    "tok2tok_5": Reference(638_984_310, 194_475, 9.3, 100),
    "tok2tok_10": Reference(2.2e9, 365_000, 31, 74),
}


def random_batch(graph: Graph) -> torch.Tensor:
    """Random inputs (B, T) or (B, T, n): ints 0 to 9, or multiples of 1/4 from 0 to 1."""
    t = graph.inputs[0].type
    if isinstance(t, Vector):
        return torch.randint(0, 5, (BATCH, TOKENS, t.size)) / 4
    return torch.randint(0, 10, (BATCH, TOKENS))


def rates(model: CompiledModel, batch: torch.Tensor, runs: int) -> list[float]:
    """Tokens a second of each run, after one that warms up."""
    out: list[float] = []
    with torch.no_grad():
        model(batch)
        for _ in range(runs):
            began = time.perf_counter()
            model(batch)
            out.append(batch.shape[0] * batch.shape[1] / (time.perf_counter() - began))
    return sorted(out)


def row(path: Path, target: str, runs: int) -> str | None:
    """A row of the table; None where the target refuses the program."""
    seconds: list[float] = []
    for _ in range(3):
        began = time.process_time()
        try:
            model = lsrl.compile(lsrl.load(path), target=target)
        except LsrlError:
            return None
        seconds.append(time.process_time() - began)
    weights = list(model.parameters())
    dense, nonzeros = sum(p.numel() for p in weights), sum(int(p.count_nonzero()) for p in weights)
    speed = rates(model, random_batch(model.graph), runs)
    cells = [path.stem, target, str(len(model.certificate.widths)), str(max(model.certificate.widths)), f"{dense:,}",
             f"{nonzeros:,}", f"{statistics.median(seconds):.2f}",
             f"{statistics.median(speed):,.0f} ({speed[0]:,.0f} to {speed[-1]:,.0f})"]
    reference = REFERENCE.get(path.stem)
    if reference is None:
        cells += ["", "", "", ""]
    else:
        cells += [f"{reference.dense:,.0f} ({reference.dense / dense:,.0f}×)", f"{reference.nonzeros:,.0f}",
                  f"{reference.seconds:g}", f"{reference.rate:g} ({statistics.median(speed) / reference.rate:,.0f}×)"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--programs", nargs="+", default=[p.stem for p in sorted(FOLDER.glob("*.lsrl"))],
                        metavar="PROGRAM")
    options = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
          f"torch {torch.__version__}; batch {BATCH}, {TOKENS} tokens\n")
    head = ["program", "target", "layers", "widest", "dense weights", "non-zeros", "compile, CPU s", "tokens/s",
            "reference: dense", "non-zeros", "simplify, CPU s", "tokens/s"]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for name in options.programs:
        for target in options.targets:
            found = row(FOLDER / f"{name}.lsrl", target, options.runs)
            if found is not None:
                print(found, flush=True)


if __name__ == "__main__":
    main()
