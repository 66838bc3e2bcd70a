"""A program's kernel on the CPU: compiled C, called through ctypes, shared out over threads."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from lsrl.backends.kernels.bodies import Parallel, Parts
from lsrl.backends.kernels.c_build import build
from lsrl.backends.kernels.c_dense import PAD
from lsrl.backends.kernels.c_ports import Field
from lsrl.backends.kernels.c_segments import in_threads, launch_replay, launch_segments
from lsrl.backends.kernels.c_split import Split
from lsrl.backends.kernels.c_table import ROWS
from lsrl.backends.kernels.c_text import CText, c_text
from lsrl.backends.kernels.call import Call, Options, Shape
from lsrl.backends.kernels.pieces import Piece
from lsrl.backends.kernels.speculate import Speculation, may_converge, numbers_of

__all__ = ["CKernel"]

_SMALL = 1 << 15  # tokens times lanes that one thread does before another one has started
_STREAMED = 1 << 22  # bytes of outputs beyond which inputs are asked for early
# Threads that together are limited by what the memory moves, and write past the caches: a line is not read before it is
# written. One alone is limited by how many lines it can wait for, and is faster without (measured: 1.11 against 0.96 of
# a copy's speed, two inputs and an output).
_BUS = 4
_LANES = 64  # a thread's share of lanes is a multiple of these


class CKernel:
    """A kernel of one program in C. Compiled at its first launch."""

    def __init__(self, parts: Parts, options: Options, plan_text: str = "") -> None:
        self.parts = parts
        self.options = options
        self._text: CText = c_text(parts, options, plan_text)
        self.source = self._text.text
        split: tuple[Shape, ...] = () if isinstance(parts, Piece) or self._scanned is None else ("split",)
        table = self._text.table
        speculative: tuple[Shape, ...] = () if table is None or not may_converge(table) else ("speculative",)
        self.shapes: tuple[Shape, ...] = (*self._text.shapes, *split, *speculative)

    @cached_property
    def _library(self) -> ctypes.CDLL:
        return build(self.source, self._text.effort, bool(self.parts.lanes.mixes))

    @property
    def _scanned(self) -> Parallel | None:
        return self.parts.resettable if self.options.resets else self.parts.parallel

    @cached_property
    def _split(self) -> Split:
        assert self._scanned is not None
        return Split(self.parts, self._scanned, self.options, self, CKernel)

    @cached_property
    def _speculation(self) -> Speculation:
        assert self._text.table is not None
        return Speculation(self.parts, self.options, self._text.table, lambda call: self.launch(call, "table"),
                           self._possible, True)

    def launch(self, call: Call, shape: Shape) -> None:
        """Runs it. `before` and `after` may be the same tensors.

        Raises UnknownStateError, with nothing done, where look-ups have no number for a state of `before`.
        """
        if shape not in self.shapes:
            raise ValueError(f"no shape {shape}")
        width, dense = self.parts.lanes.width, bool(self.parts.lanes.mixes)
        lanes = width if width == 1 or dense else _lanes(self.parts, call)
        if call.rows == 0:
            return
        call = _apart(call)
        if shape == "split":
            self._split.launch(call, lanes)
            return
        if dense:
            call = replace(call, mixes={n: pad(x, (0, -x.shape[-1] % PAD)) if x.shape[-1] % PAD else x
                                        for n, x in call.mixes.items()})
        if shape == "speculative":
            chunks = ROWS * torch.get_num_threads()
            self._speculation.launch(call, chunks, max(1, chunks // ROWS - 1))  # see `_possible`
            return
        numbers = self._numbered(call) if shape == "table" else {}
        self._call(shape, call, lanes, numbers)
        if numbers:
            self._decode(numbers["last_state"], call)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The members of the struct that a launch takes."""
        return self._text.fields

    @property
    def function(self) -> Any:
        """The sequential shape, as a function of that struct."""
        return getattr(self._library, f"{self._text.name}_sequential")

    def arguments(self, call: Call) -> list[int]:
        """The struct of a launch in the sequential shape, all rows and lanes."""
        lanes = _lanes(self.parts, call)
        return list(self._packed(call, lanes, (0, call.rows, 0, lanes), 1, {"failed": call.failed}))

    def shares(self, call: Call) -> list[tuple[int, int, int, int]]:
        """First and end row, first and end lane of each thread's share of a call."""
        lanes = _lanes(self.parts, call)
        return list(_shares(call.rows, lanes, _work(call, lanes)))

    def launch_segments(self, call: Call, segments: Sequence[tuple[int, int]], states: Mapping[str, Sequence[Tensor]],
                        failed: Tensor | None) -> None:
        """See `segments.SegmentKernel`."""
        launch_segments(self, call, segments, states, failed)

    def launch_replay(self, call: Call, segments: Sequence[tuple[int, int]], recorder: CKernel, recording: Call,
                      starts: Mapping[str, Sequence[Tensor]], states: Mapping[str, Sequence[Tensor]]) -> None:
        """See `segments.SegmentKernel`."""
        launch_replay(self, call, segments, recorder, recording, starts, states)

    def _call(self, what: str, call: Call, lanes: int, numbers: Mapping[str, Tensor | int | None]) -> None:
        """Calls a function of the library, in threads. numbers: members of its arguments that are no part of a call."""
        width, dense = self.parts.lanes.width, bool(self.parts.lanes.mixes)
        function = getattr(self._library, f"{self._text.name}_{what}")
        tasks = list(_shares(call.rows, 1 if dense else lanes, _work(call, lanes * (width if dense else 1))))
        failed = call.failed
        apart = failed is not None and any(share[2:] != (0, 1 if dense else lanes) for share in tasks)
        own = [torch.full_like(failed, torch.iinfo(torch.int64).max) if apart and failed is not None else failed
               for _ in tasks]
        room = [torch.empty(self._text.scratch, dtype=torch.uint8) for _ in tasks]
        packed = [self._packed(call, lanes, share, len(tasks), {**numbers, "failed": f, "scratch": r})
                  for share, f, r in zip(tasks, own, room, strict=True)]
        in_threads(function, packed)
        if apart and failed is not None:
            for f in own:
                assert f is not None
                torch.minimum(failed, f, out=failed)

    def _possible(self, call: Call) -> list[list[int]]:
        """The states that the rows of a call leave possible.

        Chunks are 1.7 times as fast as a sequence run whole (measured, one thread), as their look-ups overlap. With n
        states left possible they are run n + 1 times, with one of them once: n + 1 may be as many as there are threads.
        The search may make a quarter as many look-ups as a chunk has tokens, which do not wait for each other either.
        """
        table = self._text.table
        assert table is not None
        found = torch.empty((call.rows, len(table.states) + 1), dtype=torch.int32)
        self._call("possible", call, 1, {"possible": found, "budget": call.tokens // 4})
        return [list(takewhile(lambda q: q >= 0, row)) for row in found.tolist()]

    def _numbered(self, call: Call) -> dict[str, Tensor | int | None]:
        """The numbers of the states before a call, and room for those after it."""
        table = self._text.table
        assert table is not None
        last = torch.empty(call.rows, dtype=torch.int32)
        if not call.before or not self.parts.registers:
            return {"first_state": None, "last_state": last}
        found = numbers_of(call.before, call.rows, self.parts, table)
        return {"first_state": torch.tensor(found, dtype=torch.int32), "last_state": last}

    def _decode(self, last: Tensor | int | None, call: Call) -> None:
        assert isinstance(last, Tensor)
        place = {r.name: i for i, r in enumerate(self.parts.registers)}
        for p in self.parts.lanes.states:
            if p.name in call.after:
                rows = self._states[:, [place[n] for n in p.parts]][last.long()]
                call.after[p.name].copy_(rows.reshape(call.after[p.name].shape))

    @cached_property
    def _states(self) -> Tensor:
        """The counts of the table's states, and of the one after a failed check, which mean nothing."""
        table = self._text.table
        assert table is not None
        return torch.tensor([*table.states, table.states[0]], dtype=torch.int64)

    def _packed(self, call: Call, lanes: int, share: tuple[int, int, int, int], threads: int,
                more: Mapping[str, Tensor | int | None]) -> ctypes.Array[ctypes.c_int64]:
        """The arguments' struct: all its members have 64 bits."""
        first_row, end_row, first_lane, end_lane = share
        numbers = {"token_count": call.tokens, "lane_count": lanes, "first_row": first_row, "end_row": end_row,
                   "first_lane": first_lane, "end_lane": end_lane, "reverse": call.reverse,
                   "streaming": (sum(x.nbytes for x in call.outputs.values()) > _STREAMED) * (1 + (threads >= _BUS))}
        at_row = 0 if call.offsets is None else None
        values = [numbers[f.what] if f.what in numbers else self._member(f, call, more, at_row)
                  for f in self._text.fields]
        return (ctypes.c_int64 * len(values))(*values)

    def _member(self, field: Field, call: Call, more: Mapping[str, Tensor | int | None], at_row: int | None) -> int:
        if field.what in ("failed", "first_state", "last_state", "possible", "budget", "scratch"):
            own = more.get(field.what)
            return 0 if own is None else own if isinstance(own, int) else own.data_ptr()
        what, _, stride = field.what.partition("_")
        x: Tensor | None
        match what:
            case "input":
                x = call.inputs.get(field.of)
            case "output":
                x = call.outputs.get(field.of)
            case "before":
                x = call.before.get(field.of)
            case "after":
                x = call.after.get(field.of)
            case "param":
                x = call.params[field.of]
            case "mix":
                x = call.mixes[field.of]
            case "resets":
                x = call.resets
            case _:
                x = call.offsets
        if x is None:
            return 0
        if not stride:
            return x.data_ptr()
        if stride == "row":
            return 0 if at_row is None else x.stride(0)
        return x.stride(0 if at_row is None else 1)


def _lanes(parts: Parts, call: Call) -> int:
    """How many lanes a call has: what the program's vectors have elements."""
    for ports, tensors, dim in ((parts.lanes.inputs, call.inputs, -1), (parts.lanes.outputs, call.outputs, -1),
                                (parts.lanes.states, call.after, -1), (parts.lanes.states, call.before, -1),
                                (parts.lanes.params, call.params, -1)):
        for p in ports:
            if p.lane and not p.summed and p.name in tensors:
                return tensors[p.name].shape[dim]
    return parts.lanes.width


def _work(call: Call, lanes: int) -> int:
    tokens = call.rows * call.tokens if call.offsets is None else call.tokens
    return tokens * lanes


def _shares(rows: int, lanes: int, work: int) -> Iterator[tuple[int, int, int, int]]:
    """First and end row, first and end lane of each thread's share."""
    threads = max(1, min(torch.get_num_threads(), work // _SMALL))
    if rows >= threads or lanes < 2 * _LANES:
        threads = min(threads, rows)
        for i in range(threads):
            yield rows * i // threads, rows * (i + 1) // threads, 0, lanes
        return
    blocks = -(-lanes // _LANES)
    threads = min(threads, blocks)
    for i in range(threads):
        yield 0, rows, blocks * i // threads * _LANES, min(lanes, blocks * (i + 1) // threads * _LANES)


def _apart(call: Call) -> Call:
    """States read and written in one place are read from a copy: lanes share the ones that are no vectors."""
    written = {x.data_ptr() for x in call.after.values()}
    if any(x.data_ptr() in written for x in call.before.values()):
        return replace(call, before={n: x.clone() for n, x in call.before.items()})
    return call

