"""Kernels as one custom operator of torch, `lsrl::scan`, with fake kernels and a backward that is a kernel again.

An operator is registered under a number, which is what the custom operator gets: so `torch.compile`, `torch.export`,
checkpointing and double backward see an opaque operator with known shapes, and nothing is traced through time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lsrl.backends.kernels.adjoint import RESET, Adjoint, cotangent, make_adjoint, recorded
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.call import Call, CompiledKernel, Options, Shape, UnknownStateError, state_dtype
from lsrl.backends.kernels.cost import Device, choose_shape
from lsrl.backends.kernels.functional import run_scan
from lsrl.backends.kernels.lanes import Lanes, Port, port_names
from lsrl.backends.kernels.packs import Pack, Packs
from lsrl.backends.kernels.pages import ask_for_huge_pages
from lsrl.backends.kernels.product_gradients import Joined, matrix_gradients, through_projections
from lsrl.backends.kernels.scans import Coded
from lsrl.types import Real, scalar_of

__all__ = ["NEVER", "FailedError", "Operator", "operator_of", "scan"]

NEVER = torch.iinfo(torch.int64).max
_KNOWN: dict[int, Operator] = {}
_NUMBERS = itertools.count()

MakeKernel = Callable[[torch.device, Parts, Options], CompiledKernel]
OfDevice = Callable[[torch.device], Device]


class FailedError(Exception):
    """A check or a guard failed, first in row `row` at token `token`."""

    def __init__(self, row: int, token: int) -> None:
        super().__init__(f"a check of the program failed at token {token} of row {row}")
        self.row, self.token = row, token


class Operator:
    """A program of lanes as an operator, for one pair of float types.

    make_kernel: compiles it for a device. shape: run in this shape whatever the sizes are. Registered for ever under
    `number`; its adjoints are made when they are first asked for. parts: of the lanes, where they are known.
    """

    def __init__(self, lanes: Lanes, options: Options, make_kernel: MakeKernel, of_device: OfDevice,
                 shape: Shape | None = None, parts: Parts | None = None) -> None:
        self.lanes = lanes
        self.options = options
        self.shape = shape
        self.parts = parts or Parts.of(lanes)
        self.packs = Packs(lanes, options)
        self._make, self._of_device = make_kernel, of_device
        self._kernels: dict[tuple[str, bool, bool], CompiledKernel] = {}
        self._adjoints: dict[tuple[bool, frozenset[str], int], tuple[Adjoint, Operator]] = {}
        self._recording: dict[frozenset[str], Operator] = {}
        self._for_gradients: dict[tuple[bool, bool], Operator] = {}
        self.number = next(_NUMBERS)
        _KNOWN[self.number] = self

    def kernel(self, device: torch.device, resets: bool, packed: bool) -> CompiledKernel:
        key = (device.type, resets, packed)
        if key not in self._kernels:
            options = Options(self.options.edge, self.options.carry, resets, packed, self.options.checks)
            self._kernels[key] = self._make(device, self.parts, options)
        return self._kernels[key]

    def adjoint(self, resets: bool, outputs: frozenset[str], device: torch.device) -> tuple[Adjoint, Operator]:
        """The adjoint for cotangents of these outputs, and its operator for tensors on a device."""
        key = (resets, outputs, self._of_device(device).summed)
        if key not in self._adjoints:
            adjoint = make_adjoint(self.lanes, *key)
            self._adjoints[key] = adjoint, self._like(adjoint.lanes)
        return self._adjoints[key]

    def recording(self, states: frozenset[str]) -> Operator:
        """The operator that records those states, and vectors and products of mixes; itself if there are none."""
        if not states:
            return self
        if states not in self._recording:
            self._recording[states] = self._like(recorded(self.lanes, states))
        return self._recording[states]

    def for_gradients(self, resets: bool, packed: bool) -> Operator:
        """The operator that records what its adjoint needs, whichever outputs have a cotangent."""
        if (resets, packed) not in self._for_gradients:
            real = frozenset(p.name for p in self.lanes.outputs if isinstance(scalar_of(p.type), Real))
            found = self.recording(frozenset(make_adjoint(self.lanes, resets, real).needs))
            if not packed and found is not self:
                from lsrl.backends.kernels.segments import in_segments

                found = in_segments(self, found)
            self._for_gradients[resets, packed] = found
        return self._for_gradients[resets, packed]

    def _like(self, lanes: Lanes) -> Operator:
        return Operator(lanes, self.options, self._make, self._of_device, self.shape)

    def empty(self, inputs: Sequence[Tensor], offsets: Tensor | None, rows: int, tokens: int,
              like: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Tensors for outputs (see `packs`) and final states, in the layout of the inputs."""
        lead = (rows, tokens) if offsets is None else (tokens,)
        count = rows if offsets is None else offsets.shape[0] - 1
        time_major = offsets is None and any(x.dim() > 1 and rows > 1 and tokens > 1 and x.stride(0) < x.stride(1)
                                             for x in inputs)
        outputs = self.packs.empty(like, lead, time_major)
        after = [like.new_empty((count, *p.dims), dtype=state_dtype(p, self.parts, self.options))
                 for p in self.lanes.states]
        return outputs, after

    def run(self, inputs: Sequence[Tensor], before: Sequence[Tensor], params: Sequence[Tensor], resets: Tensor | None,
            offsets: Tensor | None, rows: int, tokens: int, reverse: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Outputs (see `packs`) and final states. before: all states, or none. Raises FailedError, LsrlError."""
        like = next(iter((*inputs, *before, *params)), torch.empty(0))
        outputs, after = self.empty(inputs, offsets, rows, tokens, like)
        for x in outputs:
            ask_for_huge_pages(x)
        self.run_into(outputs, after, inputs, before, params, resets, offsets, rows, tokens, reverse)
        return outputs, after

    def run_into(self, outputs: Sequence[Tensor], after: Sequence[Tensor], inputs: Sequence[Tensor],
                 before: Sequence[Tensor], params: Sequence[Tensor], resets: Tensor | None, offsets: Tensor | None,
                 rows: int, tokens: int, reverse: bool) -> None:
        """As `run`, into tensors that are there."""
        call = self.call(outputs, after, inputs, before, params, resets, offsets, rows, tokens, reverse)
        self.packs.copy_inputs(outputs, call.inputs)
        if not call.rows:
            return
        device = next(iter((*inputs, *before, *params, *after, *outputs))).device
        kernel = self.kernel(device, resets is not None, offsets is not None)
        try:
            kernel.launch(call, self._shape(kernel, device, call))
        except UnknownStateError:
            kernel.launch(call, "sequential")
        if call.failed is not None:
            first = int(call.failed.argmin())
            token = int(call.failed[first])
            if token != NEVER:
                raise FailedError(first, token)

    def call(self, outputs: Sequence[Tensor], after: Sequence[Tensor], inputs: Sequence[Tensor],
             before: Sequence[Tensor], params: Sequence[Tensor], resets: Tensor | None, offsets: Tensor | None,
             rows: int, tokens: int, reverse: bool) -> Call:
        """A launch of the kernel."""
        count = rows if offsets is None else offsets.shape[0] - 1
        checked = self.options.checks and bool(self.parts.step.checks)
        device = next(iter((*inputs, *before, *params, *after, *outputs)), torch.empty(0)).device
        failed = torch.full((count,), NEVER, dtype=torch.int64, device=device) if checked else None

        def by_name(ports: Sequence[Port], tensors: Sequence[Tensor]) -> dict[str, Tensor]:
            return {p.name: t for p, t in zip(ports, tensors, strict=True)}

        lanes = self.lanes
        return Call(count, tokens, self.inputs(inputs, offsets is not None), self.packs.apart(outputs),
                    by_name(lanes.states, [x.contiguous() for x in before]) if before else {},
                    by_name(lanes.states, after), by_name(lanes.params, [p.contiguous() for p in params]), resets,
                    offsets, reverse, failed, _matrices(lanes, by_name(lanes.params, params)))

    def inputs(self, inputs: Sequence[Tensor], packed: bool = False) -> dict[str, Tensor]:
        """Streams by name, as kernels take them."""
        return {p.name: _inner_contiguous(x, packed) for p, x in zip(self.lanes.inputs, inputs, strict=True)}

    def start(self) -> list[Tensor]:
        """The states before the first token, to be expanded to (rows, *dims); as a kernel holds them."""
        registers = {r.name: r for r in self.parts.registers}
        flat = [(p, torch.tensor([registers[n].init for n in p.parts], dtype=state_dtype(p, self.parts, self.options)))
                for p in self.lanes.states]
        return [x.reshape((*p.seen, 1)) if p.lane else x.reshape(p.dims) for p, x in flat]

    def pull_back(self, ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
        """The cotangents of what `scan` takes, from those of what it gives. ctx: as `_setup` leaves it."""
        return _pull_back(ctx, grads)

    def _shape(self, kernel: CompiledKernel, device: torch.device, call: Call) -> Shape:
        if not self._enterable(call):
            return "sequential"
        if self.shape is not None and self.shape in kernel.shapes:
            return self.shape
        tokens = call.tokens if call.offsets is None else call.tokens // max(1, call.rows)
        return choose_shape(kernel.shapes, self._of_device(device), call.rows, tokens, self.lanes.width)[0]

    def _enterable(self, call: Call) -> bool:
        """Whether every given state of a cell that scans by the number of its joint state has such a number."""
        parallel = self.parts.parallel
        if not call.before or parallel is None:
            return True
        columns = {name: call.before[p.name].reshape(call.rows, p.elements, -1)[:, i]
                   for p in self.lanes.states for i, name in enumerate(p.parts)}
        for scan_ in parallel.scans:
            if isinstance(scan_, Coded):
                place: Tensor | int = 0
                for name, low, size in zip(scan_.states, scan_.low, scan_.sizes, strict=True):
                    digit = columns[name].long() - low
                    if bool(((digit < 0) | (digit >= size)).any()):
                        return False
                    place = place * size + digit
                if bool((torch.tensor(scan_.code, device=columns[scan_.states[0]].device)[place] < 0).any()):
                    return False
        return True


def _matrices(lanes: Lanes, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The matrices of mixes as kernels take them: elements of the product along the last dimension."""
    return {m.name: (params[m.matrix] if m.transposed else params[m.matrix].mT).contiguous()
            for m in lanes.products}


def _inner_contiguous(x: Tensor, packed: bool) -> Tensor:
    """The tensor with its dimensions after (row, token) contiguous; as it is where they are."""
    lead = 1 if packed else 2
    stride = 1
    for n, s in zip(reversed(x.shape[lead:]), reversed(x.stride()[lead:]), strict=True):
        if n != 1 and s != stride:
            return x.contiguous()
        stride *= n
    return x


def operator_of(number: int) -> Operator:
    """The operator that was registered under a number."""
    return _KNOWN[number]


@torch.library.custom_op("lsrl::scan", mutates_args=())
def scan(inputs: list[Tensor], before: list[Tensor], params: list[Tensor], resets: Tensor | None,
         offsets: Tensor | None, operator: int, rows: int, tokens: int, reverse: bool) -> list[Tensor]:
    """Runs an operator by its number; its outputs, as its `packs` have them, and then its final states."""
    outputs, after = _KNOWN[operator].run(inputs, before, params, resets, offsets, rows, tokens, reverse)
    return [*outputs, *after]


@scan.register_fake
def _fake(inputs: list[Tensor], before: list[Tensor], params: list[Tensor], resets: Tensor | None,
          offsets: Tensor | None, operator: int, rows: int, tokens: int, reverse: bool) -> list[Tensor]:
    like = next(iter((*inputs, *before, *params)), torch.empty(0))
    outputs, after = _KNOWN[operator].empty(inputs, offsets, rows, tokens, like)
    return [*outputs, *after]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    streams, before, params, resets, offsets, number, rows, tokens, reverse = inputs
    ctx.set_materialize_grads(False)  # outputs without a cotangent need no adjoint
    ctx.sizes = len(streams), len(before), len(params), number, rows, tokens, reverse
    ctx.has = resets is not None, offsets is not None
    records = _KNOWN[number].packs.records(output[:len(_KNOWN[number].packs)])
    ctx.save_for_backward(*streams, *params, *records, *(x for x in (resets, offsets) if x is not None))


def _backward(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    """The cotangents of what `scan` takes. ctx: as `_setup` leaves it."""
    return _KNOWN[ctx.sizes[3]].pull_back(ctx, grads)


def _pull_back(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    n_inputs, n_before, n_params, number, rows, tokens, reverse = ctx.sizes
    operator = _KNOWN[number]
    lanes = operator.lanes
    saved = list(ctx.saved_tensors)
    offsets = saved.pop() if ctx.has[1] else None
    resets = saved.pop() if ctx.has[0] else None
    streams, params, records = saved[:n_inputs], saved[n_inputs : n_inputs + n_params], saved[n_inputs + n_params:]
    known: dict[str, Tensor] = {p.name: x for p, x in zip(lanes.inputs, streams, strict=True)}
    vectors: list[tuple[Pack, Tensor]] = []
    for pack, record in zip(operator.packs.recorded, records, strict=True):
        found = pack.apart(record)
        known.update({n: found[n] for n in pack.outputs})
        if not torch.is_grad_enabled() or not pack.inputs:  # a copy has no gradient
            vectors.append((pack, record))
    packs = operator.packs
    given = packs.apart(grads[:len(packs)])
    live = {p.name: g for p in lanes.outputs
            if (g := given[p.name]) is not None and isinstance(scalar_of(p.type), Real)}
    like = next(iter((*streams, *records, *params, *live.values())))
    adjoint, backward = operator.adjoint(resets is not None, frozenset(live), like.device)
    if torch.is_grad_enabled():  # the gradient is to be differentiated itself
        backward = backward.for_gradients(False, offsets is not None)
    own = adjoint.lanes
    for p in lanes.outputs:
        if p.name in live:
            known[cotangent(lanes, p.name)] = _for_each_lane(live[p.name], p, own, backward.options)
    if resets is not None:
        known[RESET] = resets
    finals = {p.name: g for p, g in zip(lanes.states, grads[len(packs):], strict=True)}
    count = rows if offsets is None else offsets.shape[0] - 1
    start: list[Tensor] = []
    for p in own.states:
        dtype = state_dtype(p, backward.parts, backward.options)
        name = p.name.removeprefix("~d.")
        port = next((q for q in lanes.states if q.name == name and name in adjoint.states), None)
        g = finals.get(name) if port is not None else None
        start.append(like.new_zeros((count, *p.dims), dtype=dtype) if g is None or port is None
                     else _for_each_lane(g, port, own, backward.options).to(dtype))
    weights = dict(zip(port_names(lanes.params), params, strict=True))
    made = run_scan([known[p.name] for p in backward.lanes.inputs], start,
                    [weights[n] for n in port_names(own.params)], None, offsets, backward.number, rows, tokens,
                    not reverse)
    tensors = made[:len(backward.packs)]
    shown = backward.packs.apart(tensors)
    after = {p.name: x for p, x in zip(own.states, made[len(tensors):], strict=True)}
    back = Joined(shown, list(zip(backward.packs.packs, tensors, strict=True)))
    d_inputs = [_summed(shown[f"~d.{p.name}"], p, x.shape).to(x.dtype) if p.name in adjoint.inputs else None
                for p, x in zip(lanes.inputs, streams, strict=True)]
    d_before = [_summed(after[f"~d.{p.name}"], p, (count, *p.dims)) if p.name in adjoint.states else None
                for p in lanes.states] if n_before else []
    d_inputs = through_projections(d_inputs, lanes, adjoint.products, back, params)
    d_matrices = matrix_gradients(lanes, adjoint.products, back, Joined(known, vectors))
    d_params = [d_matrices[p.name] if p.name in d_matrices else _summed(after[f"~d.{p.name}"].sum(0), p, x.shape)
                for p, x in zip(lanes.params, params, strict=True)]
    return d_inputs, d_before, d_params, None, None, None, None, None, None


def _for_each_lane(g: Tensor, port: Port, lanes: Lanes, options: Options) -> Tensor:
    """The cotangent of what all lanes calculate alike, shared out among them; of what is a lane's own, as it is.

    That of a sum over lanes belongs to each of them.
    """
    if port.summed:
        return g.repeat_interleave(port.summed, -1)[..., :lanes.width].contiguous()
    if port.lane or not lanes.outputs + lanes.states or not any(p.lane for p in (*lanes.outputs, *lanes.states)):
        return g.contiguous()
    return (g / lanes.width).unsqueeze(-1).expand(*g.shape, lanes.width).contiguous()


def _summed(g: Tensor, port: Port, shape: Sequence[int]) -> Tensor:
    """The cotangent of what all lanes share, from that of each lane."""
    if port.lane or tuple(g.shape) == tuple(shape):
        return g
    return g.squeeze(-1) if g.shape[-1] == 1 else g.sum(-1)


scan.register_autograd(_backward, setup_context=_setup)


def _vmap(info: Any, in_dims: tuple[Any, ...], inputs: list[Tensor], before: list[Tensor], params: list[Tensor],
          resets: Tensor | None, offsets: Tensor | None, operator: int, rows: int, tokens: int,
          reverse: bool) -> tuple[list[Tensor], list[int]]:
    """A dimension of `torch.vmap` becomes rows; one call for each of its places where params or offsets have it."""
    size = info.batch_size

    def first(x: Tensor, dim: int | None) -> Tensor:
        return x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)

    def all_first(xs: Sequence[Tensor], dims: Sequence[int | None]) -> list[Tensor]:
        return [first(x, d) for x, d in zip(xs, dims, strict=True)]

    streams, states = all_first(inputs, in_dims[0]), all_first(before, in_dims[1])
    anew = None if resets is None else first(resets, in_dims[3]).contiguous()
    if offsets is None and all(d is None for d in in_dims[2]):
        try:
            made = run_scan([x.flatten(0, 1) for x in streams], [x.flatten(0, 1) for x in states], params,
                            None if anew is None else anew.flatten(0, 1), None, operator, size * rows, tokens, reverse)
        except FailedError as failed:  # its row is none of those that the caller knows
            raise RuntimeError(f"{FailedError(failed.row % rows, failed.token)}, place {failed.row // rows} of vmap") \
                from None
        return [x.reshape(size, rows, *x.shape[1:]) for x in made], [0] * len(made)
    weights = all_first(params, in_dims[2])
    starts = None if offsets is None else first(offsets, in_dims[4])
    calls = [run_scan([x[i] for x in streams], [x[i] for x in states], [x[i] for x in weights],
                      None if anew is None else anew[i], None if starts is None else starts[i], operator, rows, tokens,
                      reverse) for i in range(size)]
    stacked = [torch.stack(xs) for xs in zip(*calls, strict=True)]
    return stacked, [0] * len(stacked)


scan.register_vmap(_vmap)
