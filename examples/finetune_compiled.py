"""Fine-tunes a compiled model, whose weights start exact, and trains the same architecture from nothing beside it.

python examples/finetune_compiled.py [--target gru|lstm] [--steps 300] [--seed 0] [--plot curve.png]: less than a minute
on two cores. examples/regular/modular_arithmetic.lsrl is compiled to exact weights of a GRU or LSTM. Then the task is
shifted: the five answers are to be given under other names, 0 as 2, 1 as 0 and so on, so the read-out has to be
learnt anew; all weights are trained, on sequences of 15 tokens. Prints the share of right answers on sequences of 15
tokens and of 101. The gates of exact weights are saturated, so they hardly move: what was exact stays.
"""

from __future__ import annotations

import argparse
import runpy
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import lsrl
from lsrl.backends.model import CompiledModel

FOLDER = Path(__file__).resolve().parent
TASK = FOLDER / "regular" / "modular_arithmetic.lsrl"
SHIFTED = (2, 0, 4, 1, 3)  # the new name of each answer

Curve = list[tuple[float, float]]


def compiled_model(target: str) -> CompiledModel:
    """Exact weights with a new read-out (B, T, units) → (B, T, 5); everything can be trained."""
    model = lsrl.compile(lsrl.load(TASK), target)
    model.readout = nn.Linear(model.readout.weight.shape[1], len(SHIFTED))
    for p in model.parameters():
        p.requires_grad_(True)
    return model


def untrained(model: CompiledModel) -> CompiledModel:
    """The same architecture with weights as torch begins with."""
    with torch.no_grad():
        for p in model.parameters():
            p.uniform_(-p.shape[-1] ** -0.5, p.shape[-1] ** -0.5)
    return model


def train(target: str = "gru", steps: int = 300, batch: int = 64, length: int = 15, longer: int = 101, every: int = 50,
          seed: int = 0, show: Callable[[str], None] = print) -> dict[str, Curve]:
    """Right answers (at `length` tokens, at `longer`) of both models, before training and after each `every` steps."""
    task = lsrl.compile(TASK, "auto")
    drawn: Callable[[int, int], Tensor] = runpy.run_path(str(FOLDER / "train_modular.py"))["drawn"]
    names = torch.tensor(SHIFTED)

    def labels(codes: Tensor) -> Tensor:
        return names[task(codes)[0].long()]

    curves: dict[str, Curve] = {}
    for start in ("compiled", "untrained"):
        torch.manual_seed(seed)
        tests = drawn(128, length), drawn(32, longer)
        model = compiled_model(target) if start == "compiled" else untrained(compiled_model(target))
        optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
        show(f"{target}, {start}: {sum(p.numel() for p in model.parameters()):,} parameters")
        curve, began = curves.setdefault(start, []), time.perf_counter()
        for step in range(steps + 1):
            if step % every == 0 or step == steps:
                with torch.no_grad():
                    right = [float((model.raw(x)[0].argmax(-1) == labels(x)).float().mean()) for x in tests]
                curve.append((right[0], right[1]))
                show(f"step {step:4}  {length} tokens {right[0]:6.1%}  {longer} tokens {right[1]:6.1%}  "
                     f"{time.perf_counter() - began:5.1f} s  " + "#" * round(40 * right[1]))
            if step < steps:
                codes = drawn(batch, length)
                loss = cross_entropy(model.raw(codes)[0].flatten(0, 1), labels(codes).flatten())
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
    return curves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=("gru", "lstm"), default="gru")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", metavar="FILE", help="write the curves as a picture")
    options = parser.parse_args()
    curves = train(options.target, options.steps, seed=options.seed)
    if options.plot:
        plot = runpy.run_path(str(FOLDER / "train_modular.py"))["plot"]
        plot({f"{name}, {tokens} tokens": [c[i] for c in curve] for name, curve in curves.items()
              for i, tokens in enumerate((15, 101))}, 50, options.plot)


if __name__ == "__main__":
    main()
