"""Trains a character model whose recurrence is a cell of examples/cells, on this repository's own pages.

python examples/train_char_model.py [--cell mingru|rglru] [--steps 300] [--seed 0] [--plot curve.png]: about a minute
on two cores. The cell is compiled to kernels, forward and backward; everything around it is plain torch. Prints the
loss, in bits a character, of training batches and of text that is held out.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import lsrl

ROOT = Path(__file__).resolve().parent.parent
STREAMS = {"mingru": ("z", "x"), "rglru": ("x", "r", "i")}  # the inputs of each cell, all of them projected


class Layer(nn.Module):
    """A residual block: norm, projections, the cell, and a projection back."""

    def __init__(self, cell: str, width: int) -> None:
        super().__init__()
        self.streams = STREAMS[cell]
        self.norm = nn.LayerNorm(width)
        self.into = nn.Linear(width, width * len(self.streams))
        self.cell = lsrl.compile(Path(__file__).parent / "cells" / f"{cell}.lsrl", "auto", n=width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.into(self.norm(x)).chunk(len(self.streams), -1)
        y, _ = self.cell(dict(zip(self.streams, parts, strict=True)))
        made: Tensor = x + self.out(nn.functional.silu(y))
        return made


def model_of(cell: str, symbols: int, width: int, layers: int) -> nn.Module:
    """Codes (B, T) to logits (B, T, symbols)."""
    return nn.Sequential(nn.Embedding(symbols, width), *(Layer(cell, width) for _ in range(layers)),
                         nn.LayerNorm(width), nn.Linear(width, symbols))


def repository_text() -> str:
    """README and the pages of docs that are written by hand."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return "\n".join(p.read_text(encoding="utf-8") for p in pages if p.stem not in ("targets", "widths"))


def train(text: str, cell: str = "mingru", steps: int = 300, width: int = 96, layers: int = 2, batch: int = 16,
          length: int = 128, every: int = 25, seed: int = 0, show: Callable[[str], None] = print) -> list[float]:
    """The loss of held-out text, in bits a character, before training and after each `every` steps."""
    torch.manual_seed(seed)
    alphabet = sorted(set(text))
    place = {c: i for i, c in enumerate(alphabet)}
    codes = torch.tensor([place[c] for c in text])
    cut = len(codes) * 9 // 10
    learnt, held = codes[:cut], codes[cut:]
    length = min(length, len(held) - 1)
    model = model_of(cell, len(alphabet), width, layers)
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    show(f"{cell}: {sum(p.numel() for p in model.parameters()):,} parameters, {len(learnt):,} characters to learn "
         f"from, {len(held):,} held out, {len(alphabet)} different")

    def loss_of(source: Tensor, starts: Tensor) -> Tensor:
        rows = source[starts[:, None] + torch.arange(length + 1)]
        return cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten()) / math.log(2)

    def held_out() -> float:
        with torch.no_grad():
            return float(loss_of(held, torch.linspace(0, len(held) - length - 1, min(batch, len(held))).long()))

    curve, began = [held_out()], time.perf_counter()
    show(f"step {0:4}  {'':23}held out {curve[0]:.3f}")
    for step in range(1, steps + 1):
        loss = loss_of(learnt, torch.randint(len(learnt) - length, (batch,)))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % every == 0 or step == steps:
            curve.append(held_out())
            show(f"step {step:4}  training {loss.item():6.3f}  held out {curve[-1]:6.3f}  "
                 f"{time.perf_counter() - began:5.1f} s  " + "#" * round(8 * curve[-1]))
    return curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", choices=tuple(STREAMS), default="mingru")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", metavar="FILE", help="write the curve as a picture")
    options = parser.parse_args()
    curve = train(repository_text(), options.cell, options.steps, seed=options.seed)
    if options.plot:
        from matplotlib import pyplot

        figure, axes = pyplot.subplots()
        axes.plot([min(25 * i, options.steps) for i in range(len(curve))], curve, label=options.cell)
        axes.set(xlabel="steps", ylabel="held-out text, bits a character")
        axes.legend()
        figure.savefig(options.plot)


if __name__ == "__main__":
    main()
