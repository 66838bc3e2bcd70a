"""The split shape on a CPU: chunks of time at once, for few long sequences.

Chunks are rows of the kernels that there are: first of the summary and carry kernels of each level (see pieces.py),
which find the states at the start of each chunk, and then of the program's own kernel. So inputs are read once more for
each level, and nothing is gained with two threads. A tail of fewer tokens than there are chunks comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from lsrl.backends.kernels.bodies import Parallel, Parts
from lsrl.backends.kernels.call import Call, Options, Shape, UnknownStateError, edge_dtype, state_dtype
from lsrl.backends.kernels.lanes import Port
from lsrl.backends.kernels.pieces import RESETS, Level, make_levels
from lsrl.backends.kernels.scans import Coded, Scan, Segmented

__all__ = ["Split"]

_NEVER = torch.iinfo(torch.int64).max
_ALONE = 5  # chunks where there is one thread, which gains nothing by them
_LEAST = 16  # tokens of a chunk


class Kernel(Protocol):
    """A kernel that runs a token at a time."""

    shapes: tuple[Shape, ...]

    def launch(self, call: Call, shape: Shape) -> None: ...


@dataclass(frozen=True)
class _Row:
    """One sequence of a call: views of its tensors (tokens, …). chunk: tokens of each of `count` chunks.

    Chunks are in the order in which they are worked on, the tail after them.
    """

    tokens: int
    count: int
    reverse: bool

    @property
    def chunk(self) -> int:
        return self.tokens // self.count

    @property
    def tail(self) -> int:
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


class Split:
    """Launches a program's kernel in the split shape. make: a kernel of given parts, a token at a time."""

    def __init__(self, parts: Parts, body: Parallel, options: Options, own: Kernel,
                 make: Callable[[Parts, Options], Kernel]) -> None:
        self._parts, self._body, self._options, self._own = parts, body, options, own
        self._levels = make_levels(parts, body)
        plain = replace(options, resets=False, packed=False, checks=False)
        self._kernels = [(make(level.summary, plain), make(level.carry, replace(plain, edge=plain.carry)))
                         for level in self._levels]
        self._plain = plain

    def launch(self, call: Call, lanes: int) -> None:
        """As a kernel's `launch`."""
        for r in range(call.rows):
            start, end = (0, call.tokens) if call.offsets is None else map(int, call.offsets[r : r + 2])

            def own(x: Tensor, r: int = r, start: int = start, end: int = end) -> Tensor:
                return x[r] if call.offsets is None else x[start:end]

            threads = torch.get_num_threads()
            chunks = max(1, min(threads if threads > 1 else _ALONE, (end - start) // _LEAST))
            row = Call(1, end - start, {n: own(x) for n, x in call.inputs.items()},
                       {n: own(x) for n, x in call.outputs.items()},
                       {n: x[r : r + 1] for n, x in call.before.items()},
                       {n: x[r : r + 1] for n, x in call.after.items()}, call.params,
                       None if call.resets is None else own(call.resets), None, call.reverse,
                       None if call.failed is None else call.failed[r : r + 1])
            self._row(row, _Row(row.tokens, chunks, call.reverse), lanes)

    def _row(self, call: Call, at: _Row, lanes: int) -> None:
        """One sequence; the call's tensors have no dimension of rows but in states."""
        before = self._starts(call, at, lanes)
        after = {p.name: torch.empty(at.count, *_dims(p.dims, p.lane, lanes),
                                     dtype=state_dtype(p, self._parts, self._options))
                 for p in self._parts.lanes.states}
        failed = None if call.failed is None else torch.full((at.count,), _NEVER)
        self._own_kernel(Call(at.count, at.chunk, {n: at.chunks(x) for n, x in call.inputs.items()},
                              {n: at.chunks(x) for n, x in call.outputs.items()}, before, after, call.params,
                              None if call.resets is None else at.chunks(call.resets), None, call.reverse, failed))
        ends = {n: at.ordered(x)[-1:].contiguous() for n, x in after.items()}
        late = None if call.failed is None else torch.full((1,), _NEVER)
        self._own_kernel(Call(1, at.tail, {n: at.last(x) for n, x in call.inputs.items()},
                              {n: at.last(x) for n, x in call.outputs.items()}, ends, call.after, call.params,
                              None if call.resets is None else at.last(call.resets), None, call.reverse, late))
        if call.failed is not None and failed is not None and late is not None:
            found = torch.cat([at.ordered(failed), late])
            begins = torch.arange(at.count + 1) * at.chunk
            torch.minimum(call.failed, torch.where(found == _NEVER, found, found + begins).min(), out=call.failed)

    def _own_kernel(self, call: Call) -> None:
        try:
            self._own.launch(call, "table" if "table" in self._own.shapes else "sequential")
        except UnknownStateError:
            self._own.launch(call, "sequential")

    def _starts(self, call: Call, at: _Row, lanes: int) -> dict[str, Tensor]:
        """The states before each chunk."""
        parts = self._parts
        states = self._given(call, lanes)
        found = {n: x.repeat(at.count, *[1] * (x.dim() - 1)) for n, x in states.items()}
        if at.count == 1:
            return self._ports(found, lanes)
        carried: dict[str, Tensor] = {}  # at the start of each chunk, in the order of the work
        names = [r.name for r in parts.registers]
        for level, (summary, carry) in zip(self._levels, self._kernels, strict=True):
            elements = self._summed(level, summary, call, at, carried, lanes)
            steps = {n: at.ordered(x)[:-1].unsqueeze(0).contiguous() for n, x in elements.items()}
            first: dict[str, Tensor] = {}
            for k in level.scans:
                entered = _entered(self._body.scans[k], states)
                first |= {f"carried{k}_{j}": x.to(getattr(torch, _dtype(kind, self._options)))
                          for j, (x, kind) in enumerate(zip(entered, self._body.scans[k].carried, strict=True))}
            made = self._empty(level.carry.lanes.outputs, (1, at.count - 1), lanes)
            last = {n: torch.empty_like(x) for n, x in first.items()}
            carry.launch(Call(1, at.count - 1, steps, made, first, last), "sequential")
            carried |= {n: torch.cat([x, made[n][0]]) for n, x in first.items()}
            for name, x in made.items():
                if name.startswith("state"):
                    own = found[names[int(name.removeprefix("state"))]]
                    own[1:] = x[0].to(own.dtype)
        return {n: at.ordered(x).contiguous() for n, x in self._ports(found, lanes).items()}

    def _summed(self, level: Level, kernel: Kernel, call: Call, at: _Row, carried: Mapping[str, Tensor],
                lanes: int) -> dict[str, Tensor]:
        """The elements of all chunks, as they lie in memory."""
        fresh = {f"element{k}_{j}": x for k in level.scans for j, x in enumerate(self._body.scans[k].identity())}
        before = {p.name: at.ordered(carried[p.name]).contiguous() if p.name in carried else
                  torch.full((at.count, *_dims(p.dims, p.lane, lanes)), fresh[p.name],
                             dtype=state_dtype(p, level.summary, self._plain)) for p in level.summary.lanes.states}
        after = {n: torch.empty_like(x) for n, x in before.items()}
        inputs = {n: at.chunks(x) for n, x in call.inputs.items()}
        if any(p.name == RESETS for p in level.summary.lanes.inputs):
            inputs[RESETS] = torch.zeros(1, dtype=torch.bool).expand(at.count, at.chunk) if call.resets is None else \
                at.chunks(call.resets)
        kernel.launch(Call(at.count, at.chunk, inputs, {}, before, after, call.params, reverse=call.reverse),
                      "sequential")
        return {n: x for n, x in after.items() if n in fresh}

    def _given(self, call: Call, lanes: int) -> dict[str, Tensor]:
        """Each register before the first token: (1,), or (1, lanes)."""
        out = {}
        registers = {r.name: r for r in self._parts.registers}
        wide = self._parts.lanes.width > 1
        for p in self._parts.lanes.states:
            given = call.before.get(p.name)
            dtype = state_dtype(p, self._parts, self._options)
            for i, name in enumerate(p.parts):
                if given is None:
                    x = torch.full((1,), registers[name].init, dtype=dtype)
                else:
                    x = given.reshape(1, -1) if p.lane else given.reshape(1, -1)[:, i]
                out[name] = x.reshape(1, -1).expand(1, lanes).contiguous() if wide else x.clone()
        return out

    def _ports(self, found: Mapping[str, Tensor], lanes: int) -> dict[str, Tensor]:
        """Registers as the states of the program."""
        out = {}
        for p in self._parts.lanes.states:
            columns = [found[n] for n in p.parts]
            x = columns[0] if p.lane else torch.stack([c if c.dim() == 1 else c[:, 0] for c in columns], 1)
            out[p.name] = x.reshape(-1, *_dims(p.dims, p.lane, lanes)).contiguous()
        return out

    def _empty(self, ports: tuple[Port, ...], lead: tuple[int, ...], lanes: int) -> dict[str, Tensor]:
        options = replace(self._plain, edge=self._plain.carry)
        return {p.name: torch.empty(*lead, *_dims(p.dims, p.lane, lanes), dtype=edge_dtype(p, options)) for p in ports}


def _dims(dims: tuple[int, ...], lane: bool, lanes: int) -> tuple[int, ...]:
    """The dimensions of a port with that many lanes at the run."""
    return (lanes,) if lane else dims


def _dtype(kind: str, options: Options) -> str:
    return str(options.carry).removeprefix("torch.") if kind == "float" else kind


def _entered(scan: Scan, states: Mapping[str, Tensor]) -> list[Tensor]:
    """What a scan carries, from the states of its cell: the number of a joint state, or the states themselves."""
    inside = scan.inside if isinstance(scan, Segmented) else scan
    columns = [states[n] for n in inside.states]
    if not isinstance(inside, Coded):
        return columns
    place = torch.zeros_like(columns[0], dtype=torch.int64)
    for x, low, size in zip(columns, inside.low, inside.sizes, strict=True):
        place = place * size + (x.long() - low).clamp(0, size - 1)
    return [torch.tensor(inside.code)[place].clamp(min=0)]
