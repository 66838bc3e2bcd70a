"""The noise study: Gaussian noise on the weights of a model, and the share of wrong outputs.

As in the study of the LSRL paper, noise goes on the weights and biases that are not zero, so that the pattern of
connections stays; those of the layers and of the read-out alike. Start states are no weights and stay as they are, and
so does the embedding of the inputs.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lsrl.backends.model import CompiledModel
from lsrl.diagnostics import LsrlError
from lsrl.ir.graph import Graph
from lsrl.verify.machines import as_tensor
from lsrl.verify.testing import random_inputs, run_program

__all__ = ["SIGMAS", "Measurement", "Point", "Trial", "disturbed", "make_trial", "measure", "scales"]

SIGMAS = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
_TRIES = 64  # sequences drawn for one that is long enough


@dataclass(frozen=True)
class Trial:
    """Random inputs and the right answers: both name → tensor (B, T, …)."""

    inputs: dict[str, Tensor]
    expected: dict[str, Tensor]
    sequences: int
    length: int

    def fed(self) -> dict[str, Tensor] | Tensor:
        """The inputs as `CompiledModel.forward` takes them: of a program without inputs, a tensor (B, T)."""
        return self.inputs if self.inputs else torch.zeros(self.sequences, self.length)


@dataclass(frozen=True, slots=True)
class Point:
    """The share of wrong tokens (0 to 1) at one size of noise, for each draw of it."""

    sigma: float
    wrong: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.wrong)


@dataclass(frozen=True, slots=True)
class Measurement:
    """The points of one model, by rising noise."""

    points: tuple[Point, ...]

    @property
    def first_error(self) -> float | None:
        """The least noise measured at which a draw gave a wrong output; None if none did."""
        return next((p.sigma for p in self.points if any(p.wrong)), None)

    @property
    def first_half(self) -> float | None:
        """The least noise measured at which half of the draws gave a wrong output; None if there is none."""
        return next((p.sigma for p in self.points if 2 * sum(w > 0 for w in p.wrong) >= len(p.wrong)), None)


def make_trial(graph: Graph, sequences: int, length: int, seed: int) -> Trial:
    """`sequences` random inputs of `length` tokens that keep the program's assumes, and the interpreter's outputs.

    Raises LsrlError (L502) where no input of that length is found on which the program does not stop.
    """
    rng = np.random.default_rng(seed)
    rows, answers = [], []
    for _ in range(sequences):
        for _ in range(_TRIES):
            drawn = random_inputs(graph, length, rng)
            outputs, error = run_program(graph, drawn)
            if error is None and len(outputs) == length:
                rows.append(drawn)
                answers.append(outputs)
                break
        else:
            raise LsrlError.of("L504", f"no random input of {length} tokens was found that `{graph.name}` runs over "
                               "to its end", graph.span, help="ask for a smaller --length")
    inputs = {i.name: torch.stack([as_tensor([r[i.name] for r in drawn], i.type) for drawn in rows])
              for i in graph.inputs}
    expected = {n: torch.stack([as_tensor([r[n] for r in outputs], o.type) for outputs in answers])
                for n, o in graph.outputs}
    return Trial(inputs, expected, sequences, length)


def scales(model: nn.Module, relative: bool) -> dict[str, Tensor]:
    """How far noise of size 1 moves each parameter: 1, or with `relative` its own size; 0 where it is zero."""
    return {name: p.detach().abs() if relative else (p.detach() != 0).to(p.dtype)
            for name, p in model.named_parameters()}


def disturbed(model: CompiledModel, sigma: float, seed: int, relative: bool = False) -> CompiledModel:
    """A copy of the model with Gaussian noise of standard deviation `sigma` on each weight and bias that is not zero.

    relative: times the weight's size. The same seed gives the same noise, multiplied by `sigma`. The copy does not
    check that its sums are exact, which they are not.
    """
    noisy = copy.deepcopy(model)
    noisy.limits = (None,) * len(noisy.limits)
    generator = torch.Generator().manual_seed(seed)
    sizes = scales(model, relative)
    with torch.no_grad():
        for name, p in noisy.named_parameters():
            noise = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            p.copy_((p.double().cpu() + sigma * sizes[name].double().cpu() * noise).to(p.dtype))
    return noisy


def measure(model: CompiledModel, trial: Trial, sigmas: Sequence[float] = SIGMAS, draws: int = 10, seed: int = 0,
            relative: bool = False, progress: Callable[[str], None] | None = None) -> Measurement:
    """The share of wrong tokens at each size of noise, `draws` times each; a token is wrong if any output of it is."""
    points: list[Point] = []
    for sigma in sorted(sigmas):
        wrong: list[float] = []
        for draw in range(draws if sigma else 1):
            if progress is not None:
                progress(f"{model.target}, noise {sigma:g}, draw {draw + 1} of {draws}")
            noisy = disturbed(model, sigma, seed + draw, relative)
            wrong.append(_share_wrong(noisy, trial))
        points.append(Point(sigma, tuple(wrong)))
    return Measurement(tuple(points))


def _share_wrong(model: CompiledModel, trial: Trial) -> float:
    with torch.no_grad():
        outputs, _ = model.outputs_of(trial.fed())
    wrong = torch.zeros(trial.sequences, trial.length, dtype=torch.bool)
    for differs in _differences(outputs, trial):
        wrong |= differs
    return int(wrong.sum()) / wrong.numel() if wrong.numel() else 0.0


def _differences(outputs: dict[str, Tensor], trial: Trial) -> Iterator[Tensor]:
    for name, expected in trial.expected.items():
        differs = outputs[name].cpu().to(expected.dtype) != expected
        yield differs.reshape(*differs.shape[:2], -1).any(-1)
