"""What the gates of an architecture can do: the data that decides what it hosts."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

__all__ = ["Gates"]


@dataclass(frozen=True, slots=True)
class Gates:
    """h := keep · h + add, with `add` a function of the token's input to the layer.

    keeps: "constant": the factor is a parameter; "shared": it depends on the input, and its complement scales what is
    added, so that nothing is added while it is 1; "free": it depends on the input, and so, apart from it, does `add`.
    signs: the factor may be −1. mixing: "none": each channel keeps itself; "constant": a parameter matrix A;
    "permutation": a permutation of one-hot states or a constant map, chosen by the input; "matrix": any matrix, chosen
    by the input.
    lag: how a value of the token before is seen: "exact" (numbers too), "bits": a bit, exactly; "before":
    every unit shows its value before the token.
    steps: whether a gate of a sum of bits may stand for [sum ≥ 1]: "above": where it is never less than 0; "any".
    masks: whether what is added may be wrong while a unit is kept, as 1 − keep scales it: "bits": where the gate's sum
    is 0 or 1; "steps": also where it stands for a step.
    apart: a unit is either added to or set, never both, and to what is not negative; a number that needs more is the
    sum and difference of such units.

    For numbers that are not whole: slips: where a gate that keeps admits nothing, what 1 − keep may be for a sum to be
    kept nearly, so far below 1/2 ulp that the gate is 1 exactly, or as stated; 0 if it cannot. slips_always: also where
    the input decides whether it is kept. from_zero: channels start at 0, and other starts are added in the read-out.
    """

    keeps: Literal["constant", "shared", "free"]
    lag: Literal["exact", "bits", "before"]
    signs: bool = False
    mixing: Literal["none", "constant", "permutation", "matrix"] = "none"
    steps: Literal["no", "above", "any"] = "no"
    masks: Literal["no", "bits", "steps"] = "no"
    apart: bool = False
    slips: Fraction = Fraction(0)
    slips_always: bool = True
    from_zero: bool = False
