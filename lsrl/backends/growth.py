"""Bounds that grow token by token: for how many tokens sums of them stay below what is allowed.

Bounds are vectors of numbers that are not negative, the last of them the constant 1. One token takes a bound x to
step · x, for a matrix without negative entries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Growth"]

_DOUBLINGS = 60


class Growth:
    """step (n + 1, n + 1), start (n + 1): see the module. Bounds never fall: they are raised to those of the start."""

    def __init__(self, step: NDArray[np.float64], start: NDArray[np.float64]) -> None:
        n = len(start) - 1
        self.start = start
        self.step = step.copy()
        self.step[:n, n] += np.maximum(start - step @ start, 0.0)[:n]

    def tokens_within(self, rows: NDArray[np.float64], limit: NDArray[np.float64]) -> tuple[int | None,
                                                                                           NDArray[np.float64]]:
        """The number of tokens for which rows · x ≤ limit, and the bound x after them.

        None tokens: any number, and then x is the bound for all time. Bounds never fall, so the first token that
        leaves is found by bisection. 0 and the start if they are beyond the limit already.
        """
        def fine(x: NDArray[np.float64]) -> bool:
            return bool(np.isfinite(x).all() and (rows @ x <= limit).all())

        x = self.start
        if not fine(x):
            return 0, x
        powers = [self.step]
        at = 0
        with np.errstate(over="ignore", invalid="ignore"):
            while len(powers) < _DOUBLINGS and fine(powers[-1] @ self.start):
                if np.array_equal(powers[-1] @ self.start, self.start):
                    return None, self.start
                powers.append(powers[-1] @ powers[-1])
            for k in reversed(range(len(powers))):
                ahead = powers[k] @ x
                if fine(ahead):
                    at, x = at + 2**k, ahead
        return at, x

    def bound_for_all_time(self) -> NDArray[np.float64] | None:
        """A bound that no token raises, so that it holds for ever; None if there seems to be none.

        It is the limit under a step that is larger by a factor of 1 + 2⁻³⁰, and so leaves room for the rounding here:
        step · x ≤ x (1 − 2⁻⁴⁰), but for bounds that only ever stay what they are.
        """
        n = len(self.start) - 1
        same = np.array([row[i] == 1 and row.sum() == 1 for i, row in enumerate(self.step)])
        larger = np.where(same[:, None], self.step, self.step * (1 + 2.0**-30))
        x, power = self.start, larger
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(_DOUBLINGS):
                x, power = power @ x, power @ power
                if not (np.isfinite(power).all() and np.isfinite(x).all()):
                    return None
            for _ in range(4):
                x = np.where(same, self.start, larger @ x)
        x[n] = 1.0
        held = np.where(same, x, x * (1 - 2.0**-40))
        return x if (self.step @ x <= held).all() else None
