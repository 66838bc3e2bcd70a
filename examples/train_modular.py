"""Trains an LSTM and a GRU on arithmetic modulo 5, with labels that a program makes.

python examples/train_modular.py [--steps 1200] [--seed 0] [--plot curve.png]: about a minute on two cores. The task is
examples/regular/modular_arithmetic.lsrl: after each token of "3 + 2 * 4 - 1 …" the value so far. The program, compiled
to a kernel, labels every batch anew; both cells are files of examples/cells, compiled to kernels, forward and backward.
Prints the share of right answers on sequences that are drawn apart.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

import lsrl

FOLDER = Path(__file__).resolve().parent
SYMBOLS, DIGITS = 8, 5  # digits 0 to 4, +, - and *


class Reader(nn.Module):
    """Codes (B, T) to logits (B, T, 5): a cell of `width` units over one-hot codes, and a read-out."""

    def __init__(self, cell: str, width: int) -> None:
        super().__init__()
        self.cell = lsrl.compile(FOLDER / "cells" / f"{cell}.lsrl", "auto", d=SYMBOLS, k=width)
        for name, p in self.cell.named_parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=p.shape[1] ** -0.5)
            elif cell == "lstm" and name == "b":
                nn.init.ones_(p[width : 2 * width])  # gates that keep, to begin with
        self.out = nn.Linear(width, DIGITS)

    def forward(self, codes: Tensor) -> Tensor:
        made: Tensor = self.out(self.cell(one_hot(codes.long(), SYMBOLS).float())[0])
        return made


def drawn(batch: int, length: int) -> Tensor:
    """Sums and products: codes (batch, length), digits and operators in turn."""
    codes = torch.randint(DIGITS, (batch, length))
    codes[:, 1::2] = torch.randint(DIGITS, SYMBOLS, (batch, length // 2))
    return codes


def train(cells: Sequence[str] = ("lstm", "gru"), steps: int = 1200, width: int = 64, batch: int = 64, length: int = 15,
          every: int = 100, seed: int = 0, show: Callable[[str], None] = print) -> dict[str, list[float]]:
    """The share of right answers of each cell, before training and after each `every` steps."""
    task = lsrl.compile(FOLDER / "regular" / "modular_arithmetic.lsrl", "auto")
    curves: dict[str, list[float]] = {}
    for cell in cells:
        torch.manual_seed(seed)
        tests = drawn(512, length)
        wanted, _ = task(tests)
        model = Reader(cell, width)
        optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
        show(f"{cell}: {sum(p.numel() for p in model.parameters()):,} parameters, {length} tokens a sequence")
        curve, began = curves.setdefault(cell, []), time.perf_counter()
        for step in range(steps + 1):
            if step % every == 0 or step == steps:
                with torch.no_grad():
                    curve.append(float((model(tests).argmax(-1) == wanted).float().mean()))
                show(f"step {step:4}  right {curve[-1]:6.1%}  {time.perf_counter() - began:5.1f} s  "
                     + "#" * round(40 * curve[-1]))
            if step < steps:
                codes = drawn(batch, length)
                loss = cross_entropy(model(codes).flatten(0, 1), task(codes)[0].long().flatten())
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
    return curves


def plot(curves: Mapping[str, Sequence[float]], every: int, file: str) -> None:
    """Writes the curves as a picture. Needs matplotlib."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    for name, curve in curves.items():
        axes.plot([i * every for i in range(len(curve))], curve, label=name)
    axes.set(xlabel="steps", ylabel="share of right answers", ylim=(0, 1.02))
    axes.legend()
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", metavar="FILE", help="write the curves as a picture")
    options = parser.parse_args()
    curves = train(steps=options.steps, seed=options.seed)
    if options.plot:
        plot(curves, 100, options.plot)


if __name__ == "__main__":
    main()
