"""What a target is: how it lowers programs to circuits, and circuits to the parameters of its layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from lsrl.backends.approximate import Approximate
from lsrl.backends.circuit import Circuit
from lsrl.backends.emission import Emitter, Technology
from lsrl.backends.layers import Layer
from lsrl.ir.graph import Graph

__all__ = ["DTYPES", "Target"]

DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)  # by bits of precision


@dataclass(frozen=True, slots=True)
class Target:
    """lower: scalarised graph, target's name, dtype → circuit, or RefusalError. emit: circuit, dtype → parameters.

    technology: how torch's layers hold contents. layer: where there is none, what makes the target's own layers from
    their sizes. holds: its module has a gate that keeps its state, so that `Bit.hold` may be used.
    dtypes: those in which its layers are known to be exact, least first. approximate: hosts programs that are not
    exact in it, with a bound of the error; None if it cannot.
    """

    name: str
    summary: str
    lower: Callable[[Graph, str, torch.dtype], Circuit]
    emit: Emitter
    technology: Technology | None = None
    layer: Callable[..., Layer] | None = None
    holds: bool = False
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)
    approximate: Approximate | None = None
