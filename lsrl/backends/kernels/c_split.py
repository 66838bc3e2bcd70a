"""The split shape on a CPU: chunks of time at once, for few long sequences.

Chunks are rows of the kernels that there are: first of the summary and carry kernels of each level (see pieces.py),
which find the states at the start of each chunk, and then of the program's own kernel. So inputs are read once more for
each level, and nothing is gained with two threads. A tail of fewer tokens than there are chunks comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from lsrl.backends.kernels.bodies import Parallel, Parts
from lsrl.backends.kernels.call import Call, Options, Shape, UnknownStateError, edge_dtype, state_dtype
from lsrl.backends.kernels.chunks import Chunks, one_row, run_chunks
from lsrl.backends.kernels.lanes import Port
from lsrl.backends.kernels.pieces import RESETS, Level, make_levels
from lsrl.backends.kernels.scans import Coded, Scan, Segmented

__all__ = ["Split"]

_ALONE = 5  # chunks where there is one thread, which gains nothing by them
_LEAST = 16  # tokens of a chunk


class Kernel(Protocol):
    """A kernel that runs a token at a time."""

    shapes: tuple[Shape, ...]

    def launch(self, call: Call, shape: Shape) -> None: ...


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
            row = one_row(call, r)
            threads = torch.get_num_threads()
            chunks = max(1, min(threads if threads > 1 else _ALONE, row.tokens // _LEAST))
            at = Chunks(row.tokens, chunks, row.reverse)
            run_chunks(row, at, self._starts(row, at, lanes), self._own_kernel)

    def _own_kernel(self, call: Call) -> None:
        try:
            self._own.launch(call, "table" if "table" in self._own.shapes else "sequential")
        except UnknownStateError:
            self._own.launch(call, "sequential")

    def _starts(self, call: Call, at: Chunks, lanes: int) -> dict[str, Tensor]:
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

    def _summed(self, level: Level, kernel: Kernel, call: Call, at: Chunks, carried: Mapping[str, Tensor],
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
                    x = given.reshape(1, p.elements, -1)[:, i]
                out[name] = x.reshape(1, -1).expand(1, lanes).contiguous() if wide else x.reshape(1).clone()
        return out

    def _ports(self, found: Mapping[str, Tensor], lanes: int) -> dict[str, Tensor]:
        """Registers as the states of the program."""
        out = {}
        for p in self._parts.lanes.states:
            columns = [found[n] for n in p.parts]
            x = torch.stack([c if p.lane or c.dim() == 1 else c[:, 0] for c in columns], 1)
            out[p.name] = x.reshape(-1, *_dims(p.dims, p.lane, lanes)).contiguous()
        return out

    def _empty(self, ports: tuple[Port, ...], lead: tuple[int, ...], lanes: int) -> dict[str, Tensor]:
        options = replace(self._plain, edge=self._plain.carry)
        return {p.name: torch.empty(*lead, *_dims(p.dims, p.lane, lanes), dtype=edge_dtype(p, options)) for p in ports}


def _dims(dims: tuple[int, ...], lane: bool, lanes: int) -> tuple[int, ...]:
    """The dimensions of a port with that many lanes at the run."""
    return (*dims[:-1], lanes) if lane else dims


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
