"""What noise a model stands for certain: an analysis of its layers, a function for each kind of layer.

A promise is about bounded noise: if no weight moves by more than δ (times its size, if relative), no output is wrong.
Gaussian noise has no bound, so the promise is not one about σ; docs/robustness.md says how the two go together. To add
a kind of layer, write a function from a model to its promise and name it in `promise`; where there is none, nothing
is promised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lsrl.backends.model import CompiledModel

__all__ = ["LEAST", "Analysis", "Promise", "largest", "promise"]


@dataclass(frozen=True, slots=True)
class Promise:
    """delta: the noise up to which no output is wrong. tokens: for inputs of up to so many, None for any number.

    weakest: what gives way first, in words.
    """

    delta: float
    tokens: int | None
    weakest: str


# model, relative, tokens → the promise for inputs of that many tokens or more, or the reason why there is none
Analysis = Callable[[CompiledModel, bool, int], "Promise | str"]
LEAST = 2.0**-30  # below what float32 weights of size 1 notice


def promise(model: CompiledModel, relative: bool = False, tokens: int = 64) -> Promise | str:
    """The promise of a model, or the reason why there is none.

    tokens: the length of inputs that is wanted, where errors add up from token to token; the promise may be for fewer.
    """
    from lsrl.robustness import relu, saturating

    analyses: dict[str, Analysis] = {**saturating.PROMISES, "rnn_relu": relu.relu_promise}
    if model.certificate.epsilon:
        return "no analysis of models with an error: their numbers are not whole"
    kind = str(model.description["kind"])
    if kind not in analyses:
        return f"no analysis of `{kind}` layers"
    return analyses[kind](model, relative, tokens)


def largest(fine: Callable[[float], bool]) -> float | None:
    """The largest δ with fine(δ), to three digits, if `fine` holds up to some point and not beyond; at most 1.

    None if it does not even hold at 2⁻³⁰.
    """
    if not fine(LEAST):
        return None
    low, high = LEAST, 1.0
    if fine(high):
        return high
    while high / low > 1.001:
        middle = (low * high) ** 0.5
        if fine(middle):
            low = middle
        else:
            high = middle
    return low
