"""Launches of C kernels one after the other without Python in between: segments of time, and a row after the other.

A launch is an argument struct, so many launches are a table with a row each; a function in C goes through it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lsrl.backends.kernels.c_build import build
from lsrl.backends.kernels.call import Call

if TYPE_CHECKING:
    from lsrl.backends.kernels.c_kernel import CKernel

__all__ = ["in_threads", "launch_replay", "launch_segments"]

_TEXT = """#include <stdint.h>

typedef void launched(const void *);

/* Launches of one kernel, each followed by one of another, if there is another. */
void lsrl_launches(int64_t count, launched *one, const int64_t *ones, int64_t one_size, launched *other,
                   const int64_t *others, int64_t other_size)
{
    for (int64_t i = 0; i < count; i++) {
        one(ones + i * one_size);
        if (other) other(others + i * other_size);
    }
}
"""


_T = TypeVar("_T")
Segments: TypeAlias = Sequence[tuple[int, int]]
States: TypeAlias = Mapping[str, Sequence[Tensor]]


class _Launches:
    """The argument structs of some launches of a kernel, at first all those of one call, of all tokens and rows.

    table: a row for each launch, a column for each member. place: the column of a member, by what it holds (see
    `c_ports.Arguments`).
    """

    def __init__(self, kernel: CKernel, call: Call, count: int) -> None:
        self.kernel = kernel
        self.table: NDArray[np.int64] = np.tile(kernel.arguments(call), (count, 1))
        self.place = {(f.what, f.of): i for i, f in enumerate(kernel.fields)}
        self._sizes = {("input", n): x.element_size() for n, x in call.inputs.items()}
        self._sizes |= {("output", n): x.element_size() for n, x in call.outputs.items()}
        self._sizes["resets", ""] = 1

    def put(self, what: str, values: int | NDArray[np.int64], of: str = "") -> None:
        """Sets a member of all launches, if the kernel has it."""
        if (what, of) in self.place:
            self.table[:, self.place[what, of]] = values

    def put_tokens(self, begin: NDArray[np.int64], end: NDArray[np.int64]) -> None:
        """Each launch is of some tokens."""
        self.put("token_count", end - begin)
        for (what, of), size in self._sizes.items():
            i = self.place.get((what, of))
            if i is not None:
                shift = begin * self.table[:, self.place[f"{what}_token", of]] * size
                self.table[:, i] += np.where(self.table[:, i] != 0, shift, 0)

    def put_states(self, what: str, states: States, which: NDArray[np.int64]) -> None:
        """States "before" or "after": the place of each launch's among some, (rows, *dims) contiguous."""
        for name, some in states.items():
            self.put(what, np.array([x.data_ptr() for x in some], np.int64)[which], name)

    def put_buffers(self, what: str, buffers: Mapping[str, Tensor]) -> None:
        """Inputs or outputs that are the same memory for all rows, (1, tokens, *dims) contiguous."""
        for name, x in buffers.items():
            self.put(what, x.data_ptr(), name)
            self.put(f"{what}_row", 0, name)
            self.put(f"{what}_token", x.stride(1), name)


def launch_segments(kernel: CKernel, call: Call, segments: Segments, states: States, failed: Tensor | None) -> None:
    """See `segments.SegmentKernel`."""
    which = np.arange(len(segments))
    bounds = np.array(segments, np.int64).reshape(-1, 2)

    def run(share: tuple[int, int, int, int]) -> None:
        launches = _Launches(kernel, call, len(segments))
        launches.put_tokens(bounds[:, 0], bounds[:, 1])
        launches.put_states("before", states, which)
        launches.put_states("after", states, which + 1)
        for name, x in zip(("first_row", "end_row", "first_lane", "end_lane"), share, strict=True):
            launches.put(name, x)
        if failed is not None:
            launches.put("failed", failed.data_ptr() + which * failed.stride(0) * failed.element_size())
        _run(launches)

    shares = kernel.shares(call)
    common = failed is not None or any(not p.lane for p in kernel.parts.lanes.states)
    if common and len({share[:2] for share in shares}) < len(shares):  # what lanes have in common, one thread writes
        shares = [(*shares[0][:3], shares[-1][3])]
    in_threads(run, shares)


def launch_replay(kernel: CKernel, call: Call, segments: Segments, recorder: CKernel, recording: Call, starts: States,
                  states: States) -> None:
    """See `segments.SegmentKernel`. A row after the other, so that its records stay in the caches."""
    count = len(segments)
    threads = len({share[:2] for share in kernel.shares(call)})

    def run(thread: int) -> None:
        rows = np.arange(call.rows * thread // threads, call.rows * (thread + 1) // threads).repeat(count)
        turn = np.tile(np.arange(count), len(rows) // count)
        place = count - 1 - turn
        bounds = np.array(segments, np.int64).reshape(-1, 2)[place]
        buffers = {n: torch.empty_like(x) for n, x in recording.outputs.items()}
        both = _Launches(recorder, recording, len(rows)), _Launches(kernel, call, len(rows))
        for launches, what in zip(both, ("output", "input"), strict=True):
            launches.put_tokens(bounds[:, 0], bounds[:, 1])
            launches.put("first_row", rows)
            launches.put("end_row", rows + 1)
            launches.put("streaming", 0)
            launches.put_buffers(what, buffers)
        both[0].put_states("before", starts, place)
        both[1].put_states("before", states, turn)
        both[1].put_states("after", states, turn + 1)
        _run(*both)

    in_threads(run, range(threads))


def in_threads(run: Callable[[_T], None], tasks: Sequence[_T]) -> None:
    """A task for each thread."""
    if len(tasks) == 1:
        run(tasks[0])
    else:
        list(_pool(len(tasks)).map(run, tasks))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="lsrl")


def _run(one: _Launches, other: _Launches | None = None) -> None:
    """Launch after launch of one kernel, each followed by that of the other."""
    nothing: list[object] = [None, None, ctypes.c_int64(0)]
    _library().lsrl_launches(ctypes.c_int64(len(one.table)), *_given(one),
                             *(nothing if other is None else _given(other)))


def _given(x: _Launches) -> list[object]:
    return [x.kernel.function, ctypes.c_void_p(x.table.ctypes.data), ctypes.c_int64(x.table.shape[1])]


@cache
def _library() -> ctypes.CDLL:
    return build(_TEXT)
