"""One sequence of a call as chunks of time: views of its tensors, and what a run over all of them leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from lsrl.backends.kernels.call import Call

__all__ = ["NEVER", "Chunks", "chunk_call", "one_row", "run_chunks"]

T = TypeVar("T")
NEVER = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Chunks:
    """One sequence, its tensors (tokens, …). count: of the chunks, all of one length.

    Chunks are in the order in which they are worked on; after them comes a tail of fewer tokens than there are chunks.
    """

    tokens: int
    count: int
    reverse: bool

    @property
    def chunk(self) -> int:
        """Tokens of a chunk."""
        return self.tokens // self.count

    @property
    def tail(self) -> int:
        """Tokens after the last chunk."""
        return self.tokens - self.chunk * self.count

    def chunks(self, x: Tensor) -> Tensor:
        """(count, chunk, …), the chunks as they lie in memory."""
        first = self.tail if self.reverse else 0
        whole = x[first : first + self.chunk * self.count]
        return whole.as_strided((self.count, self.chunk, *x.shape[1:]), (x.stride(0) * self.chunk, *x.stride()))

    def last(self, x: Tensor) -> Tensor:
        """(1, tail, …)"""
        return (x[: self.tail] if self.reverse else x[self.tokens - self.tail:]).unsqueeze(0)

    def ordered(self, x: Tensor) -> Tensor:
        """What belongs to the chunks, from their order in memory to that of the work, or back."""
        return x.flip(0) if self.reverse else x

    def listed(self, x: Sequence[T]) -> Sequence[T]:
        """The same of a list."""
        return x[::-1] if self.reverse else x


def one_row(call: Call, r: int) -> Call:
    """A row of a call, packed or not: its streams without the dimension of rows, states with it."""
    start, end = (0, call.tokens) if call.offsets is None else map(int, call.offsets[r : r + 2])

    def own(x: Tensor) -> Tensor:
        return x[r] if call.offsets is None else x[start:end]

    return Call(1, end - start, {n: own(x) for n, x in call.inputs.items()},
                {n: own(x) for n, x in call.outputs.items()}, {n: x[r : r + 1] for n, x in call.before.items()},
                {n: x[r : r + 1] for n, x in call.after.items()}, call.params,
                None if call.resets is None else own(call.resets), None, call.reverse,
                None if call.failed is None else call.failed[r : r + 1])


def chunk_call(call: Call, at: Chunks) -> Call:
    """A row's chunks as the rows of a call, as they lie in memory; no states, nothing told of checks."""
    return Call(at.count, at.chunk, {n: at.chunks(x) for n, x in call.inputs.items()},
                {n: at.chunks(x) for n, x in call.outputs.items()}, {}, {}, call.params,
                None if call.resets is None else at.chunks(call.resets), None, call.reverse)


def run_chunks(call: Call, at: Chunks, before: Mapping[str, Tensor], launch: Callable[[Call], None]) -> None:
    """Runs the chunks of a row from the states before each, as they lie in memory, and then its tail."""
    after = {n: torch.empty_like(x) for n, x in before.items()}
    failed = None if call.failed is None else torch.full((at.count,), NEVER, device=call.failed.device)
    launch(replace(chunk_call(call, at), before=before, after=after, failed=failed))
    last = {n: at.ordered(x)[-1:].contiguous() for n, x in after.items()}
    late = None if call.failed is None else torch.full_like(call.failed, NEVER)
    launch(Call(1, at.tail, {n: at.last(x) for n, x in call.inputs.items()},
                {n: at.last(x) for n, x in call.outputs.items()}, last, call.after, call.params,
                None if call.resets is None else at.last(call.resets), None, call.reverse, late))
    if call.failed is not None and failed is not None and late is not None:
        found = torch.cat([at.ordered(failed), late])
        begins = torch.arange(at.count + 1, device=found.device) * at.chunk
        torch.minimum(call.failed, torch.where(found == NEVER, found, found + begins).min(), out=call.failed)
