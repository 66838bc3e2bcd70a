"""What noise a model is expected to stand: the promise of `promise`, and a typical size of Gaussian noise.

An output y moves by g · n when the weights move by n, to first order, with g its gradient by the weights that are not
zero. For Gaussian n of standard deviation σ that is a Gaussian of standard deviation σ‖g‖; the output is rounded to
another value where it exceeds the room r that rounding leaves, one half less the read-out's own error. So half of all
draws of noise are wrong at that token at σ = r / (0.674 ‖g‖), where 0.674 is the upper quartile of the standard normal
distribution. Saturated gates have gradient zero: of a model of them ‖g‖ is that of its read-out alone, √(Σ h² + 1).
Where gates give way earlier, their own σ is taken: of a row of room r whose signals have norm ‖s‖, r / (0.674 ‖s‖).

Many ReLUs of a compiled model have an argument of exactly 0, where there is no gradient and noise lets half of them
through. So gradients are taken at a few points beside the weights, with noise of 1e-9 on them, in float64; the estimate
is the median over those.
"""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch

from lsrl.backends.model import CompiledModel
from lsrl.robustness.noise import Trial, disturbed, scales
from lsrl.robustness.promise import Promise, promise
from lsrl.robustness.saturating import EXACT, SLACKS

__all__ = ["Prediction", "expected_sigma", "predict"]

_QUARTILE = NormalDist().inv_cdf(0.75)
_SEQUENCES, _PLACES, _ROWS = 3, 4, 8  # at most so many gradients of each
_BESIDE, _NEAR = 5, 1e-9


@dataclass(frozen=True, slots=True)
class Prediction:
    """promise: what noise certainly changes no output; None where nothing is promised, with the reason in `why`.

    expected: the σ at which half of all draws are wrong at some token, by a first-order estimate; None if no noise is
    expected to matter.
    """

    promise: Promise | None
    why: str
    expected: float | None


def predict(model: CompiledModel, trial: Trial, relative: bool = False) -> Prediction:
    """The prediction for a model on inputs like those of the trial."""
    found = promise(model, relative, trial.length)
    sigma = expected_sigma(model, trial, relative)
    return Prediction(found if isinstance(found, Promise) else None, found if isinstance(found, str) else "", sigma)


def expected_sigma(model: CompiledModel, trial: Trial, relative: bool = False) -> float | None:
    """The least σ, over outputs and tokens looked at and over the rows of gates, at which half of the draws err."""
    norms = sorted(_largest_gradient(model, trial, relative, seed) for seed in range(_BESIDE))
    worst = norms[len(norms) // 2]
    room = 0.5 - model.certificate.tolerance
    sigmas = [room / (_QUARTILE * worst)] if worst else []
    kind = str(model.description["kind"])
    for slack in SLACKS[kind](model, relative) if kind in SLACKS and model.stack.dtype in EXACT else []:
        ratios = slack.room[slack.spread > 0] / slack.spread[slack.spread > 0]
        sigmas += [float(ratios.min()) / _QUARTILE] if len(ratios) else []
    return min(sigmas, default=None)


def _largest_gradient(model: CompiledModel, trial: Trial, relative: bool, seed: int) -> float:
    """The largest ‖g‖ of an output at a token, near the model's weights."""
    sizes = scales(model, relative)
    known = disturbed(copy.deepcopy(model).double(), _NEAR, seed)
    names, parameters = zip(*known.named_parameters(), strict=True)
    known.requires_grad_(True)
    count = min(_SEQUENCES, trial.sequences)
    fed = trial.fed()
    inputs = {n: x[:count] for n, x in fed.items()} if isinstance(fed, dict) else fed[:count]
    worst = 0.0
    with torch.enable_grad():
        raw, _ = known.raw(inputs)  # (B, T, R)
        for row, b, t in itertools.product(_spread(raw.shape[2], _ROWS), range(count), _spread(trial.length, _PLACES)):
            if not raw.requires_grad:
                return 0.0
            gradients = torch.autograd.grad(raw[b, t, row], parameters, retain_graph=True, allow_unused=True)
            square = sum(float(((g * sizes[n].double()) ** 2).sum())
                         for n, g in zip(names, gradients, strict=True) if g is not None)
            worst = max(worst, square**0.5)
    return worst


def _spread(n: int, most: int) -> list[int]:
    """At most so many of n places, evenly spread."""
    return sorted({round(k) for k in np.linspace(0, n - 1, min(n, most))}) if n else []
