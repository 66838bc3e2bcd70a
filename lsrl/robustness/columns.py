"""Bounds of what a layer of weights reads from the encoded input."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from lsrl.backends.encode import Encoder
from lsrl.backends.model import CompiledModel
from lsrl.types import Int, Real, scalar_of

__all__ = ["Matrix", "column_rows", "column_sizes", "reads"]

Matrix = NDArray[np.float64]


def reads(encoder: Encoder, weights: Matrix) -> Matrix:
    """For each row of weights ≥ 0 (R, C), the largest Σ weight · |column| that an input can give: (R,).

    Of the columns of one scalar only those of one of its values count at a time.
    """
    total = np.zeros(len(weights))
    for i, group in enumerate(encoder.groups):
        mine = weights[:, list(group.columns)]
        if group.members is None:
            total += mine[:, 0] * _number_size(encoder, group.input)
        else:
            table = getattr(encoder, f"embedding_{i}").double().cpu().numpy()  # (values, columns), 0 or 1
            total += (mine @ table.T).max(axis=1, initial=0.0)
    return total


def column_sizes(encoder: Encoder) -> Matrix:
    """The largest |column| of each column (C,)."""
    return reads(encoder, np.eye(encoder.width))


def _number_size(encoder: Encoder, name: str) -> float:
    t = scalar_of(encoder.inputs[name])
    if not isinstance(t, Int | Real) or t.lo is None or t.hi is None:
        return float(encoder.limit)
    grid = t.grid if isinstance(t, Real) and t.grid is not None else Fraction(1)
    return float(max(abs(Fraction(t.lo)), abs(Fraction(t.hi))) / grid)


def column_rows(model: CompiledModel, most: int = 4096) -> Matrix | None:
    """All different rows (A, C) that the columns can be, None if there are more than `most` or no end of them."""
    encoder = model.encoder
    scalars: dict[tuple[str, int | None], list[tuple[tuple[int, ...], Matrix]]] = {}
    for i, group in enumerate(encoder.groups):
        if group.members is None:
            return None
        table = getattr(encoder, f"embedding_{i}").double().cpu().numpy()
        scalars.setdefault((group.input, group.element), []).append((group.columns, table))
    choices: list[Matrix] = []
    for parts in scalars.values():
        rows = np.zeros((len(parts[0][1]), encoder.width))
        for columns, table in parts:
            rows[:, list(columns)] = table
        choices.append(np.unique(rows, axis=0))
    if math.prod(map(len, choices)) > most:
        return None
    joint = np.zeros((1, encoder.width))
    for rows in choices:
        joint = (joint[:, None, :] + rows[None, :, :]).reshape(-1, encoder.width)
    return joint
