"""What a kernel is compiled for, and what one launch of it gets: the contract of all kernel backends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.code import Kind, wider
from lsrl.backends.kernels.lanes import Port
from lsrl.backends.kernels.storage import edge_of

__all__ = ["EDGES", "Call", "CompiledKernel", "Options", "Shape", "UnknownStateError", "edge_dtype", "state_dtype",
           "state_kind"]

Shape: TypeAlias = Literal["sequential", "block", "split", "table", "speculative"]
EDGES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


@dataclass(frozen=True)
class Options:
    """edge: the element type of real inputs and outputs. carry: the float type inside and of carried states.

    resets, packed: whether a stream of resets, or sequences of different lengths in one row, may come.
    checks: whether the program's checks are made.
    """

    edge: torch.dtype = torch.float32
    carry: torch.dtype = torch.float32
    resets: bool = False
    packed: bool = False
    checks: bool = True


@dataclass(frozen=True)
class Call:
    """One launch over `rows` sequences; all tensors on one device, nothing allocated by the kernel.

    inputs, outputs: by port, (rows, tokens, *dims), the dims contiguous, the first two of any strides. In a packed call
    they are (total, *dims), and row r is tokens offsets[r] to offsets[r + 1] of them.
    params: (*dims) contiguous, of the carried float type. mixes: for each mix of the lanes, by its name, the matrix as
    (blocks, rows of the vector, rows of the product), contiguous, of that type.
    before, after: states by port, (rows, *dims) contiguous, as `state_dtype` says, exact rationals in counts; a state
    missing from `before` starts at its initial value.
    resets: (rows, tokens) bools, (total,) in a packed call: where true, all states start anew before that token.
    offsets: (rows + 1) int64, ascending. reverse: tokens are taken from the last to the first.
    failed: (rows) int64, filled with the largest int64 before the call; a row's first token at which a check or guard
    fails is written there (outputs and states from there on mean nothing).
    """

    rows: int
    tokens: int
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    before: Mapping[str, Tensor]
    after: Mapping[str, Tensor]
    params: Mapping[str, Tensor] = field(default_factory=dict)
    resets: Tensor | None = None
    offsets: Tensor | None = None
    reverse: bool = False
    failed: Tensor | None = None
    mixes: Mapping[str, Tensor] = field(default_factory=dict)


class UnknownStateError(Exception):
    """A shape that goes by the numbers of joint states cannot start from one that the program never reaches.

    The sequential shape can.
    """


class CompiledKernel(Protocol):
    """A kernel of one program, made by a backend for some options."""

    parts: Parts
    options: Options
    shapes: tuple[Shape, ...]

    def launch(self, call: Call, shape: Shape) -> None:
        """Runs it. Raises LsrlError where the device cannot, UnknownStateError, with nothing done, as it says."""


def edge_dtype(port: Port, options: Options) -> torch.dtype:
    """The element type of an input's or output's tensor."""
    edge = edge_of(port.type)
    reals = options.carry if port.wide else options.edge
    found: torch.dtype = reals if edge == "float" else getattr(torch, edge)
    return found


def state_kind(port: Port, parts: Parts) -> Kind:
    """The widest kind among a state's scalars."""
    kinds = {r.name: r.kind for r in parts.registers}
    return wider(*(kinds[name] for name in port.parts))


def state_dtype(port: Port, parts: Parts, options: Options) -> torch.dtype:
    """The element type of a state's tensor."""
    kind = state_kind(port, parts)
    found: torch.dtype = options.carry if kind == "float" else getattr(torch, kind)
    return found
