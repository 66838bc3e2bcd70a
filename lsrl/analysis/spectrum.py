"""What a constant matrix does when it is applied again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np

__all__ = ["Matrix", "Spectrum", "matmul", "spectrum"]

Matrix: TypeAlias = tuple[tuple[Fraction, ...], ...]

_ORDERS = 128
_NEAR = 1e-9


@dataclass(frozen=True, slots=True)
class Spectrum:
    """kind: "nilpotent" (order: the power that is 0), "roots of unity" (order: the power that is 1), "contracting",
    "growing", or "bounded or growing slowly" (radius 1, of no order up to 128). radius: of the eigenvalues."""

    kind: str
    order: int | None
    radius: float

    def __str__(self) -> str:
        match self.kind:
            case "nilpotent":
                return f"nilpotent of order {self.order}"
            case "roots of unity":
                return "identity" if self.order == 1 else f"roots of unity of order {self.order}"
            case _:
                return f"{self.kind}, spectral radius {self.radius:.6g}"


def matmul(a: Matrix, b: Matrix) -> Matrix:
    """The exact product of two square matrices."""
    columns = list(zip(*b, strict=True))
    return tuple(tuple(sum((x * y for x, y in zip(row, c, strict=True)), Fraction(0)) for c in columns) for row in a)


def spectrum(matrix: Sequence[Sequence[Fraction]]) -> Spectrum:
    """The spectrum of an exact square matrix."""
    a: Matrix = tuple(tuple(row) for row in matrix)
    n = len(a)
    one: Matrix = tuple(tuple(Fraction(i == j) for j in range(n)) for i in range(n))
    radius = float(max(abs(np.linalg.eigvals(np.array([[float(x) for x in row] for row in a], float)))))
    if radius < 1 - _NEAR or n <= 16:
        power = a
        for k in range(1, n + 1):
            if all(not x for row in power for x in row):
                return Spectrum("nilpotent", k, 0.0)
            power = matmul(power, a)
    if abs(radius - 1) < 1e-6 and n <= 16:
        power = a
        for k in range(1, _ORDERS + 1):
            if power == one:
                return Spectrum("roots of unity", k, 1.0)
            power = matmul(power, a)
    if radius < 1 - _NEAR:
        return Spectrum("contracting", None, radius)
    if radius > 1 + _NEAR:
        return Spectrum("growing", None, radius)
    return Spectrum("bounded or growing slowly", None, 1.0)
