"""A program's kernel on a GPU: generated Triton, imported from the cache folder, launched on the tensors' device."""

from __future__ import annotations

import hashlib
import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType
from typing import Any

import torch

from lsrl.backends.kernels.bodies import MOST_SUMMED, TILE_LANES, Parts
from lsrl.backends.kernels.call import Call, Options, Shape, state_dtype
from lsrl.backends.kernels.choose_scan import combine_cost
from lsrl.backends.kernels.code import Value, schedule
from lsrl.backends.kernels.columns import find_columns
from lsrl.backends.kernels.speculate import Speculation, may_converge, possible_states
from lsrl.backends.kernels.state_table import find_table
from lsrl.backends.kernels.triton_dense import dense_sizes
from lsrl.backends.kernels.triton_text import TritonText, triton_text
from lsrl.backends.kernels.triton_values import power_of_two
from lsrl.diagnostics import NOWHERE, LsrlError

__all__ = ["Configuration", "TritonKernel", "configurations"]

_REGISTERS = 64  # 32-bit ones of a thread that states and a tile's values may take
_MOST_REGISTERS = 255  # of a thread, on every device
STAGES = 3  # tiles of time that are asked for before the first of them is used
_OPERATIONS = 256  # of combining a thread's elements of a tile, one after another
_CHUNKS, _CHUNK = 1024, 1024  # of a sequence that is cut into chunks: how many at most, and tokens of each
_POSSIBLE = 32  # states from which each chunk is run, one after another
_TILES = ((8, 2, 512), (18, 1, 512), (1 << 30, 1, 256))  # families of values in columns, up to which so many tokens
# are asked for at once, and a warp has so many elements of a tile
_GROUPS = ((30, 8), (80, 4), (200, 2))  # operations of a token up to which so many tokens are asked for at once


@dataclass(frozen=True)
class Configuration:
    """The compile-time sizes of a launch: streams of a program, tokens of a tile, tokens of a group, warps.

    registers: of a thread, where NVIDIA's compiler is to take more before it spills than it thinks best; 0 elsewhere.
    """

    streams: int
    tile: int
    group: int
    warps: int
    registers: int = 0

    def options(self, hip: bool) -> dict[str, int]:
        """Triton's options, for AMD's compiler or NVIDIA's."""
        return {"num_warps": self.warps} | ({} if hip or not self.registers else {"maxnreg": self.registers})


class TritonKernel:
    """A kernel of one program in Triton. Compiled by Triton at the first launch of each configuration.

    A kernel for calls that may come with resets or packed runs those without them by a text of its own.
    """

    def __init__(self, parts: Parts, options: Options, plan_text: str = "") -> None:
        self.parts = parts
        self.options = options
        self._plan_text = plan_text
        self._variants: dict[Options, _Variant] = {}
        self.source = self._variant(options).made.text
        written = self._variant(options).made.shapes
        self._table = find_table(parts, options.checks) if "block" not in written else None
        speculative: tuple[Shape, ...] = ("speculative",)
        self.shapes: tuple[Shape, ...] = (
            *written, *speculative * (self._table is not None and may_converge(self._table)))

    def launch(self, call: Call, shape: Shape, configuration: Configuration | None = None) -> None:
        """Runs it; where a tile does not fit the device, with smaller ones, and at last in the shape `sequential`.

        configuration: to be tried first, instead of that by size.

        Raises LsrlError (L413) where no GPU is there, or tensors are not on it.
        """
        if shape not in self.shapes:
            raise ValueError(f"no kernel of shape {shape}")
        if shape == "speculative":
            _refuse_without_device(call)
            chunks = min(_CHUNKS, max(4, call.tokens // _CHUNK))
            self._speculation.launch(call, chunks, min(_POSSIBLE, chunks // 2))
            return
        options = replace(self.options, resets=call.resets is not None, packed=call.offsets is not None,
                          checks=call.failed is not None and self.options.checks)
        variant = self._variant(options)
        lanes = _lanes(self.parts, call)
        if not call.rows * lanes:
            return
        call = _states_apart(_whole(call, self.parts, options))
        _refuse_without_device(call)
        attempts: list[tuple[Shape, Configuration]] = [] if configuration is None else [(shape, configuration)]
        attempts += [(shape, c) for c in configurations(self.parts, shape, call.rows, call.tokens, lanes)]
        if shape != "sequential":
            attempts += [("sequential", c)
                         for c in configurations(self.parts, "sequential", call.rows, call.tokens, lanes)]
        variant.run(call, attempts)

    @cached_property
    def _speculation(self) -> Speculation:
        table = self._table
        assert table is not None
        return Speculation(self.parts, self.options, table, lambda call: self.launch(call, "sequential"),
                           lambda call: possible_states(table, call), False)

    def _variant(self, options: Options) -> _Variant:
        if options not in self._variants:
            self._variants[options] = _Variant(triton_text(self.parts, options, self._plan_text))
        return self._variants[options]


class _Variant:
    """One text, imported when it is first run."""

    def __init__(self, made: TritonText) -> None:
        self.made = made
        self._fits: dict[tuple[Shape, Configuration], bool] = {}

    @cached_property
    def module(self) -> ModuleType:
        return imported(self.made.text)

    def run(self, call: Call, attempts: list[tuple[Shape, Configuration]]) -> None:
        error: Exception | None = None
        tensors = (*call.inputs.values(), *call.outputs.values(), *call.before.values(), *call.after.values())
        where = next(iter(tensors)).device
        for shape, c in attempts:
            if not self._fits.get((shape, c), True):
                continue
            try:
                with torch.cuda.device(where) if where.type == "cuda" else nullcontext():
                    self.module.launch(
                        shape, call.rows, call.tokens, call.inputs, call.outputs, call.before, call.after,
                        {**call.params, **call.mixes},
                        call.resets, call.offsets, call.reverse, call.failed, BL=c.streams, BT=c.tile, GROUP=c.group,
                        STAGES=STAGES, **c.options(torch.version.hip is not None))
            except Exception as found:
                if type(found).__name__ != "OutOfResources":
                    raise
                self._fits[shape, c] = False
                error = found
                continue
            return
        raise LsrlError.of("L413", f"the device has too little memory for the kernel: {error}", NOWHERE,
                           help="run the program with `--target c`")


def configurations(parts: Parts, shape: Shape, rows: int, tokens: int, lanes: int) -> Iterator[Configuration]:
    """The sizes to launch with, the best first; each next one takes less shared memory and fewer registers.

    A tile has as many elements as keep the values that are alive at once in registers. Sizes of arrays only choose
    between few configurations, so that other lengths seldom compile again.
    """
    wide = lanes > 1
    if parts.lanes.mixes:
        for count, piece, warps in dense_sizes(parts, rows):
            yield Configuration(count, piece, 1, warps)
        return
    columns = find_columns(parts, ())
    if columns is not None:
        size = power_of_two(max(columns.size.values()))
        some = any(p.summed for p in parts.lanes.outputs)
        streams = TILE_LANES if some else max(1, min(TILE_LANES, TILE_LANES * MOST_SUMMED // size))
        group, each = next((g, n) for most, g, n in _TILES if columns.families <= most)
        yield Configuration(streams, 1, group, max(1, min(8, streams * size // each)), _MOST_REGISTERS)
        return
    if shape == "sequential":
        operations = len(schedule([*(o.value for o in parts.step.outputs), *parts.step.nexts]))
        group = next((g for most, g in _GROUPS if operations <= most), 1)
        streams = min(128, max(32, power_of_two(lanes if wide else rows // 512)))
        if any(p.summed for p in parts.lanes.outputs):
            streams = TILE_LANES
        yield Configuration(streams, 1, group, max(1, streams // 32))
        return
    each = _elements(parts)
    warps = 4
    elements = each * 32 * warps
    if wide:
        streams = min(32, power_of_two(lanes), max(1, elements // 16))
        tile = elements // streams
    else:
        tile = min(elements, max(32, power_of_two(tokens)))
        streams = min(elements // tile, power_of_two(rows))
    while True:
        yield Configuration(streams, tile, 1, warps, _MOST_REGISTERS)
        if tile <= 16 and streams == 1:
            return
        tile, streams = (tile // 2, streams) if tile > 16 else (tile, streams // 2)


def _elements(parts: Parts) -> int:
    """How many elements of a tile a thread may have: a power of two."""
    body = parts.parallel
    assert body is not None
    hardest = max(combine_cost(scan) for scan in body.scans)
    carried = sum(2 if kind == "int64" else 1 for scan in body.scans for kind in scan.carried)
    most = min((_REGISTERS - carried) // _alive(parts), _OPERATIONS // (1 + hardest), 16)
    return 1 << max(0, most.bit_length() - 1)


def _alive(parts: Parts) -> int:
    """The most registers of 32 bits that a token's values in a tile take at once, scans' elements twice.

    In the order of `triton_block`: what each scan needs, then its results, which stay until the last use."""
    body = parts.parallel
    assert body is not None
    outputs = [o.value for o in body.outputs]
    results = [v for v in schedule([*outputs, *(v for s in body.scans for v in s.leaf)]) if v.op in ("new", "prev")]
    order: dict[Value, None] = {}
    for k, scan in enumerate(body.scans):
        order |= dict.fromkeys((*schedule(scan.leaf), *(v for v in results if v.attribute[0] == k)))
    order |= dict.fromkeys(schedule(outputs))
    places = [v for v in order if v.op != "const"]
    last: dict[Value, int] = {a: i for i, v in enumerate(places) for a in v.args}
    last.update(dict.fromkeys(outputs, len(places)))

    def words(v: Value) -> int:
        return 2 if v.kind == "int64" else 1

    alive, most = 0, 1
    for i, v in enumerate(places):
        alive += words(v)
        most = max(most, alive)
        alive -= sum(words(a) for a in set(v.args) if last.get(a) == i and a.op != "const")
        alive -= 0 if v in last else words(v)
    return most + max((2 * sum(2 if k == "int64" else 1 for k in s.kinds) for s in body.scans), default=0)


def imported(text: str) -> ModuleType:
    """A generated file as a module. Triton reads its functions' text from a file, in the user's cache folder."""
    from lsrl.backends.kernels.c_cache import found, keep

    key = "triton" + hashlib.sha256(text.encode()).hexdigest()[:32]
    name = f"lsrl_{key}"
    if name in sys.modules:
        return sys.modules[name]
    path = found(key, ".py") or keep(key, text.encode(), ".py")
    module = ModuleType(name)
    module.__file__ = str(path)
    linecache.cache[str(path)] = (len(text), None, text.splitlines(keepends=True), str(path))
    sys.modules[name] = module
    try:
        exec(compile(text, str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _lanes(parts: Parts, call: Call) -> int:
    lanes = parts.lanes
    for ports, tensors in ((lanes.inputs, call.inputs), (lanes.outputs, call.outputs), (lanes.params, call.params),
                           (lanes.states, call.after), (lanes.states, call.before)):
        for p in ports:
            if p.lane and not p.summed and p.name in tensors:
                return int(tensors[p.name].shape[-1])
    return 1


def _whole(call: Call, parts: Parts, options: Options) -> Call:
    """The call with all states before it and after it, or none: a missing one begins at its initial value."""
    ports, registers = parts.lanes.states, {r.name: r for r in parts.registers}
    known = {**call.before, **call.after}
    if not known or len(call.before) in (0, len(ports)) and len(call.after) in (0, len(ports)):
        return call
    like = next(iter(known.values()))
    before, after = dict(call.before), dict(call.after)
    for p in ports:
        dims = (*p.dims[:-1], _lanes(parts, call)) if p.lane else p.dims
        empty = torch.empty((call.rows, *dims), dtype=state_dtype(p, parts, options), device=like.device)
        if before and p.name not in before:
            inits = [registers[name].init for name in p.parts]
            filled = torch.tensor(inits, dtype=empty.dtype, device=like.device)
            before[p.name] = empty.copy_(filled.reshape(*p.seen, 1) if p.lane else filled.reshape(p.dims))
        if after and p.name not in after:
            after[p.name] = torch.empty_like(empty)
    return replace(call, before=before, after=after)


def _states_apart(call: Call) -> Call:
    """States read and written in one place are read from a copy, as some programs of the grid begin later."""
    written = {x.data_ptr() for x in call.after.values()}
    if any(x.data_ptr() in written for x in call.before.values()):
        return replace(call, before={n: x.clone() for n, x in call.before.items()})
    return call


def _refuse_without_device(call: Call) -> None:
    tensors: list[Any] = [*call.inputs.values(), *call.outputs.values()]
    if all(x.is_cuda for x in tensors) or os.environ.get("TRITON_INTERPRET") == "1":
        return
    if torch.cuda.is_available():
        raise LsrlError.of("L413", "Triton kernels take tensors on a GPU, and these are on the CPU", NOWHERE,
                           help="move them with `.cuda()`, or compile with `target=\"auto\"`")
    raise LsrlError.of("L413", "Triton kernels need a GPU, and torch finds none", NOWHERE,
                       help="compile with `target=\"c\"` to run on the CPU")
