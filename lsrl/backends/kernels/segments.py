"""Gradients of cells whose states are matrices: some matrices are kept, and the others made again on the way back.

A matrix for every token is more than caches hold, and soon more than memory does. So the way forward goes in segments
of time and keeps the state before each; the way back runs one segment after the other again, with its records, and
then its adjoint (Chen et al. 2016, "Training deep nets with sublinear memory cost").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from types import SimpleNamespace
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from lsrl.backends.kernels.adjoint import RECORD, RESET, Adjoint, recorded
from lsrl.backends.kernels.bodies import MANY_COLUMNS
from lsrl.backends.kernels.call import Call, edge_dtype, state_dtype
from lsrl.backends.kernels.functional import run_scan
from lsrl.backends.kernels.lanes import Port, port_names
from lsrl.backends.kernels.operator import NEVER, FailedError, Operator
from lsrl.types import BOOL

__all__ = ["Segmented", "in_segments"]

_NEAR = 1 << 19  # bytes of a segment's records, for caches
_LEAST, _MOST = 8, 64  # tokens of a segment

Segments: TypeAlias = list[tuple[int, int]]


@runtime_checkable
class SegmentKernel(Protocol):
    """A kernel that runs segments by itself, of calls of all tokens; segments as `_segments` has them.

    states: for each state by its name what it is before each segment, and after the last; all of them but the first
    are written. failed: what `Call.failed` is, for each segment.
    """

    def launch_segments(self, call: Call, segments: Segments, states: Mapping[str, Sequence[Tensor]],
                        failed: Tensor | None) -> None:
        """Runs one after the other."""

    def launch_replay(self, call: Call, segments: Segments, recorder: SegmentKernel, recording: Call,
                      starts: Mapping[str, Sequence[Tensor]], states: Mapping[str, Sequence[Tensor]]) -> None:
        """From the last segment to the first runs `recorder` and then this, its adjoint.

        The outputs of `recording` are this kernel's inputs, (1, tokens of a segment, *dims). starts: the recorder's
        states before each segment; states: this kernel's, in the order in which it runs.
        """


def in_segments(plain: Operator, recorder: Operator) -> Operator:
    """The operator for gradients: `recorder`, or one in segments where that would record matrices."""
    lanes = plain.lanes
    if lanes.mixes or all(p.elements < MANY_COLUMNS for p in lanes.states):
        return recorder
    return Segmented(plain, recorder)


class Segmented(Operator):
    """Runs `plain`; its records are the states before each segment: (rows, segments, *dims)."""

    def __init__(self, plain: Operator, recorder: Operator) -> None:
        super().__init__(recorded(plain.lanes, port_names(plain.lanes.states)), plain.options, plain._make,
                         plain._of_device, plain.shape, plain.parts)
        self.plain, self.recorder = plain, recorder
        self._replays: dict[int, Replay] = {}

    def length(self, device: torch.device) -> int:
        """The tokens of a segment."""
        if device.type != "cpu":
            return _MOST
        size = sum(prod(p.dims) * state_dtype(p, self.parts, self.options).itemsize for p in self.plain.lanes.states)
        return max(_LEAST, min(_MOST, _NEAR // size))

    def empty(self, inputs: Sequence[Tensor], offsets: Tensor | None, rows: int, tokens: int,
              like: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """As every operator."""
        outputs, after = self.plain.empty(inputs, offsets, rows, tokens, like)
        count = len(_segments(tokens, self.length(like.device), False))
        return [*outputs, *(x.new_empty((count, *x.shape)).transpose(0, 1) for x in after)], after

    def run(self, inputs: Sequence[Tensor], before: Sequence[Tensor], params: Sequence[Tensor], resets: Tensor | None,
            offsets: Tensor | None, rows: int, tokens: int, reverse: bool) -> tuple[list[Tensor], list[Tensor]]:
        """As every operator."""
        plain = self.plain
        like = next(iter((*inputs, *before, *params)), torch.empty(0))
        outputs, after = self.empty(inputs, None, rows, tokens, like)
        shown, records = outputs[: len(plain.packs)], outputs[len(plain.packs):]
        for x, start in zip(records, before or plain.start(), strict=True):
            x[:, 0] = start
        segments = _segments(tokens, self.length(like.device), reverse)
        states = [[*x.unbind(1), last] for x, last in zip(records, after, strict=True)]
        kernel = plain.kernel(like.device, resets is not None, False)
        if isinstance(kernel, SegmentKernel) and rows:
            call = plain.call(shown, after, inputs, [x[0] for x in states], params, resets, None, rows, tokens, reverse)
            failed = None if call.failed is None else call.failed.repeat(len(segments), 1)
            kernel.launch_segments(call, segments, dict(zip(port_names(plain.lanes.states), states, strict=True)),
                                   failed)
            if failed is not None:
                _raise_first(failed, segments)
            return outputs, after
        for i, (begin, end) in enumerate(segments):
            at = slice(begin, end)
            try:
                plain.run_into([x[:, at] for x in shown], [x[i + 1] for x in states], [x[:, at] for x in inputs],
                               [x[i] for x in states], params, None if resets is None else resets[:, at], None, rows,
                               end - begin, reverse)
            except FailedError as failed_at:
                raise FailedError(failed_at.row, failed_at.token + begin) from None
        return outputs, after

    def adjoint(self, resets: bool, outputs: frozenset[str], device: torch.device) -> tuple[Adjoint, Operator]:
        """The adjoint of `recorder`, and the operator that runs both."""
        adjoint, backward = self.recorder.adjoint(resets, outputs, device)
        if backward.number not in self._replays:
            self._replays[backward.number] = Replay(self, adjoint, backward, resets)
        return adjoint, self._replays[backward.number]

    def pull_back(self, ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
        """As every operator.

        Where gradients are to be differentiated themselves, or are, so that the records have cotangents, each segment
        is a call of its own.
        """
        n_shown = len(self.plain.packs)
        d_shown, d_records, d_after = grads[:n_shown], grads[n_shown : len(self.packs)], list(grads[len(self.packs):])
        if not torch.is_grad_enabled() and all(g is None for g in d_records):
            return super().pull_back(ctx, grads)
        n_inputs, n_before, n_params, _, rows, tokens, reverse = ctx.sizes
        saved = list(ctx.saved_tensors)
        resets = saved.pop() if ctx.has[0] else None
        streams, params = saved[:n_inputs], saved[n_inputs : n_inputs + n_params]
        records = saved[n_inputs + n_params:]
        recorder = self.recorder
        d_inputs: list[list[Tensor | None]] = []
        d_params: list[Tensor | None] = [None] * n_params
        segments = _segments(tokens, self.length(records[0].device), reverse)
        for place, (begin, end) in reversed(list(enumerate(segments))):
            at = slice(begin, end)
            own = [x[:, at] for x in streams]
            before = [x[:, place] for x in records]
            anew = None if resets is None else resets[:, at]
            made = run_scan(own, before, params, anew, None, recorder.number, rows, end - begin, reverse)
            found = recorder.packs.records(made[: len(recorder.packs)])
            sizes = n_inputs, len(before), n_params, recorder.number, rows, end - begin, reverse
            part = SimpleNamespace(sizes=sizes, has=ctx.has,
                                   saved_tensors=[*own, *params, *found, *(() if anew is None else (anew,))])
            nothing = [None] * (len(recorder.packs) - n_shown)
            pulled = recorder.pull_back(
                part, [*(None if g is None else g[:, at] for g in d_shown), *nothing, *d_after])
            d_inputs.append(pulled[0])
            d_params = [_added(g, more) for g, more in zip(d_params, pulled[2], strict=True)]
            d_after = [_added(g, None if more is None else more[:, place])
                       for g, more in zip(pulled[1], d_records, strict=True)]
        order = d_inputs if reverse else d_inputs[::-1]
        whole = [None if parts[0] is None else torch.cat(parts, 1) for parts in zip(*order, strict=True)]
        return whole, d_after if n_before else [], d_params, None, None, None, None, None, None


class Replay(Operator):
    """An adjoint that makes the records of a segment before it runs it.

    Its inputs are those of the program, the states before each segment, (rows, segments, *dims) under the names of
    records, and what else the adjoint takes.
    """

    def __init__(self, segmented: Segmented, adjoint: Adjoint, backward: Operator, resets: bool) -> None:
        plain = segmented.plain.lanes
        starts = tuple(p for p in segmented.lanes.outputs if p.name.startswith(RECORD))
        known = {*port_names(plain.inputs), *port_names(starts), RESET}
        more = tuple(p for p in adjoint.lanes.inputs if p.name not in known)
        more += (Port(RESET, BOOL, False),) * resets
        super().__init__(replace(adjoint.lanes, inputs=(*plain.inputs, *starts, *more)), backward.options,
                         backward._make, backward._of_device, backward.shape, backward.parts)
        self.segmented, self.backward, self.resets = segmented, backward, resets

    def empty(self, inputs: Sequence[Tensor], offsets: Tensor | None, rows: int, tokens: int,
              like: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """As every operator."""
        starts = len(self.segmented.plain.lanes.states)
        first = len(self.segmented.plain.lanes.inputs)
        return self.backward.empty([*inputs[:first], *inputs[first + starts:]], offsets, rows, tokens, like)

    def run(self, inputs: Sequence[Tensor], before: Sequence[Tensor], params: Sequence[Tensor], resets: Tensor | None,
            offsets: Tensor | None, rows: int, tokens: int, reverse: bool) -> tuple[list[Tensor], list[Tensor]]:
        """As every operator; `reverse` is the adjoint's."""
        plain, recorder, backward = self.segmented.plain, self.segmented.recorder, self.backward
        given = {p.name: x for p, x in zip(self.lanes.inputs, inputs, strict=True)}
        streams = [given[p.name] for p in plain.lanes.inputs]
        records = {f"{RECORD}{n}": n for n in port_names(plain.lanes.states)}
        starts = {n: given[name] for name, n in records.items()}
        outputs, after = self.empty(inputs, None, rows, tokens, inputs[0])
        device = inputs[0].device
        length = self.segmented.length(device)
        segments = _segments(tokens, length, not reverse)
        anew = given[RESET] if self.resets else None
        kernel, own = recorder.kernel(device, self.resets, False), backward.kernel(device, False, False)
        if isinstance(kernel, SegmentKernel) and isinstance(own, SegmentKernel) and rows:
            buffers = {p.name: torch.empty((1, length, *p.dims), dtype=edge_dtype(p, recorder.options))
                       for p in recorder.lanes.outputs if p.name.startswith(RECORD)}
            recording = Call(rows, tokens, recorder.inputs(streams), buffers, {}, {}, {
                n: x.contiguous() for n, x in zip(port_names(plain.lanes.params), params, strict=True)},
                anew, None, not reverse)
            adjoint = backward.call(outputs, after, [buffers.get(p.name, given[p.name]) for p in backward.lanes.inputs],
                                    before, params, None, None, rows, tokens, reverse)
            own.launch_replay(adjoint, segments, kernel, recording,
                              {n: [y.contiguous() for y in x.unbind(1)] for n, x in starts.items()},
                              {n: _in_turn(x, adjoint.after[n], len(segments)) for n, x in adjoint.before.items()})
            return outputs, after
        held = before
        for place, (begin, end) in reversed(list(enumerate(segments))):
            at = slice(begin, end)
            parts = {n: x[:, at] for n, x in given.items() if n not in records}
            made, _ = recorder.run([parts[n] for n in port_names(plain.lanes.inputs)],
                                   [x[:, place] for x in starts.values()], params,
                                   None if anew is None else anew[:, at], None, rows, end - begin, not reverse)
            parts |= recorder.packs.apart(made)
            new = [torch.empty_like(x) for x in after] if place else after
            backward.run_into([x[:, at] for x in outputs], new, [parts[n] for n in port_names(backward.lanes.inputs)],
                              held, params, None, None, rows, end - begin, reverse)
            held = new
        return outputs, after


def _segments(tokens: int, length: int, reverse: bool) -> Segments:
    """Where each segment begins and ends, in the order in which they are run; one at least."""
    found = [(i, min(tokens, i + length)) for i in range(0, tokens, length)] or [(0, 0)]
    return found[::-1] if reverse else found


def _in_turn(first: Tensor, last: Tensor, count: int) -> list[Tensor]:
    """States before each segment and after the last, of which each is read before the one after the next is written."""
    other = torch.empty_like(last)
    return [first, *(last if (count - i) % 2 == 0 else other for i in range(1, count + 1))]


def _raise_first(failed: Tensor, segments: Segments) -> None:
    """failed: (segments, rows), the first token of a segment that failed. Raises FailedError."""
    begins = torch.tensor([begin for begin, _ in segments], device=failed.device).unsqueeze(1)
    tokens = torch.where(failed == NEVER, NEVER, failed + begins).amin(0)
    row = int(tokens.argmin())
    if int(tokens[row]) != NEVER:
        raise FailedError(row, int(tokens[row]))


def _added(x: Tensor | None, y: Tensor | None) -> Tensor | None:
    return x if y is None else y if x is None else x + y
