"""The least dtype in which a target's layers compute a circuit exactly, for as many tokens.

Dtypes are ordered by their bits of precision: bfloat16 (8), float16 (11), float32 (24), float64 (53). float16 holds
more whole numbers exactly than bfloat16, although smaller ones are the largest; what is too large for it is refused
too.
"""

from __future__ import annotations

from fractions import Fraction

import torch

from lsrl.backends.certificate import PRECISION
from lsrl.backends.circuit import Circuit, Quantity
from lsrl.backends.emission import Emission, short
from lsrl.backends.target import DTYPES, Target
from lsrl.diagnostics import LsrlError

__all__ = ["horizon_of", "least_dtype"]


def horizon_of(circuit: Circuit, emission: Emission, dtype: torch.dtype) -> int | None:
    """The number of tokens up to which every value and partial sum is exact; None: any number."""
    bits = PRECISION[short(dtype)]
    horizons = [h for h in (emission.horizon, *(_horizon(q, bits) for q in circuit.quantities)) if h is not None]
    return min(horizons, default=None)


def _horizon(q: Quantity, bits: int) -> int | None:
    """How many tokens an unbounded number stays exact for."""
    if (q.lo is not None and q.hi is not None) or not q.growth:
        return None
    start = max(abs(Fraction(x)) for x in (q.lo or 0, q.hi or 0))
    return max(0, int((2**bits * Fraction(q.grid) - start) / Fraction(q.growth)))


def least_dtype(target: Target, circuit: Circuit, emission: Emission, dtype: torch.dtype) -> torch.dtype:
    """The least of the target's dtypes in which the same circuit is exact for as many tokens, and for inputs as large,
    as in the given one."""
    wanted = horizon_of(circuit, emission, dtype), emission.input_limit
    for smaller in DTYPES[: DTYPES.index(dtype)]:
        if smaller not in target.dtypes:
            continue
        try:
            other = target.emit(circuit, smaller)
        except LsrlError:
            continue
        has = horizon_of(circuit, other, smaller), other.input_limit
        if all(h is None or (w is not None and h >= w) for h, w in zip(has, wanted, strict=True)):
            return smaller
    return dtype
