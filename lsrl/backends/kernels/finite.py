"""Where a run of a kernel first meets a number that is not finite: what a module looks for in debug mode."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lsrl.backends.kernels.adjoint import RECORD
from lsrl.backends.kernels.operator import Operator
from lsrl.diagnostics import LsrlError
from lsrl.types import Real, scalar_of

__all__ = ["first_not_finite"]


def first_not_finite(operator: Operator, streams: list[Tensor], before: list[Tensor], params: list[Tensor],
                     resets: Tensor | None, offsets: Tensor | None, rows: int, tokens: int) -> LsrlError | None:
    """The error (L616) of the first infinity or NaN in a param, an input, a state or an output; None without one.

    The program is run once more, with all its states recorded. Sizes as in `Operator.run`.
    """
    graph = operator.lanes.source
    with torch.no_grad():
        for p, x in zip(operator.lanes.params, params, strict=True):
            if not bool(x.isfinite().all()):
                return _error(f"param `{p.name}` is not finite", operator)
        reals = frozenset(p.name for p in operator.lanes.states if isinstance(scalar_of(p.type), Real))
        recording = operator.recording(reals)
        outputs, after = recording.run(streams, before, params, resets, offsets, rows, tokens, False)
    found: list[tuple[int, int, str, int]] = []  # token, order within it, what, row
    arrays = [(0, f"input `{p.name}`", x) for p, x in zip(operator.lanes.inputs, streams, strict=True)]
    for shown, x in recording.packs.apart(outputs).items():
        name = shown.removeprefix(RECORD)
        arrays.append((-1, f"state `{name}`, before the token,", x) if name != shown else (1, f"output `{name}`", x))
    for order, what, x in arrays:
        found += [(token, order, what, row) for row, token in _first(x, offsets)]
    if found:
        token, _, what, row = min(found)
        return _error(f"{what} is not finite, first at token {token} of sequence {row} of `{graph.name}`", operator)
    for p, x in zip(operator.lanes.states, after, strict=True):
        if not bool(x.isfinite().all()):
            return _error(f"state `{p.name}` is not finite after the last token of `{graph.name}`", operator)
    return None


def _first(x: Tensor, offsets: Tensor | None) -> Iterator[tuple[int, int]]:
    """The first such place of an array, as (row, token), in each row that has one."""
    if not x.is_floating_point():
        return
    lead = 1 if offsets is not None else 2
    bad = (~x.isfinite()).reshape(*x.shape[:lead], -1).any(-1)
    starts = [0] if offsets is None else offsets.tolist()
    for row in range(len(bad) if offsets is None else len(starts) - 1):
        own = bad[row] if offsets is None else bad[starts[row] : starts[row + 1]]
        if bool(own.any()):
            yield row, int(own.int().argmax())


def _error(message: str, operator: Operator) -> LsrlError:
    return LsrlError.of("L616", message, operator.lanes.source.span)
