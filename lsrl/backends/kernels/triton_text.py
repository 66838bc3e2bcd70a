"""A program as one Triton file that needs only torch and triton: helpers, combine functions, kernels and `launch`.

Written for Triton 3.6 and later, and for its interpreter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.call import Options, Shape, edge_dtype, state_dtype
from lsrl.backends.kernels.columns import find_columns
from lsrl.backends.kernels.text import commented
from lsrl.backends.kernels.triton_block import Tiles
from lsrl.backends.kernels.triton_columns import column_kernel
from lsrl.backends.kernels.triton_functions import helper_text
from lsrl.backends.kernels.triton_sequential import sequential_kernel
from lsrl.backends.kernels.triton_streams import Streams

__all__ = ["File", "KernelText", "TritonText", "triton_text"]


@dataclass(frozen=True)
class KernelText:
    """A kernel of a file. types: of its parameters as Triton names them, constants "constexpr"."""

    name: str
    types: dict[str, str]


@dataclass(frozen=True)
class TritonText:
    """text: the whole file. kernels: in it. combines: the names of its combine functions, scan by scan."""

    text: str
    shapes: tuple[Shape, ...]
    kernels: tuple[KernelText, ...]
    combines: tuple[str, ...]


def triton_text(parts: Parts, options: Options, plan_text: str = "") -> TritonText:
    """The file of a program for some options. plan_text: its header."""
    if parts.lanes.mixes:
        from lsrl.backends.kernels.triton_dense import DenseFile

        return DenseFile(parts, options, plan_text).made()
    return File(parts, options, plan_text).made()


class File:
    """Writes a file: `bodies` its kernels, `launches` what of `launch` depends on them."""

    def __init__(self, parts: Parts, options: Options, plan_text: str) -> None:
        self.parts, self.options, self.plan_text = parts, options, plan_text
        self.s = self.streams()
        self.own: list[str] = []  # parameters of the kernels of this file alone
        self.combines: list[str] = []
        self.kernels: list[tuple[str, list[str], list[str], list[str]]] = []  # name, own, body, constants
        self.columns = find_columns(parts, ())
        body = parts.resettable if options.resets else parts.parallel
        one_shape = self.columns is not None or any(p.summed for p in parts.lanes.outputs)
        self.tiles = Tiles(self.s, body) if body is not None and body.scans and not one_shape else None

    def streams(self) -> Streams:
        return Streams(self.parts, self.options)

    def bodies(self) -> None:
        """Writes the kernels."""
        s, tiles = self.s, self.tiles
        s.scope()
        body, constants = sequential_kernel(s) if self.columns is None else column_kernel(s, self.columns)
        self.kernels.append(("sequential_kernel", [], body, constants))
        if tiles is not None:
            for k in range(len(tiles.body.scans)):
                self.combines += ["", "", *tiles.combine(k)]
            scratch = [name for name, _ in tiles.scratch()]
            own = ["chunks", "chunk_tiles", *scratch]
            s.scope()
            body, constants = tiles.block()
            self.kernels.append(("block_kernel", own, body, constants))
            for level in range(len(tiles.levels)):
                s.scope()
                body, constants = tiles.summary(level)
                self.kernels.append((f"summary_{level}_kernel", own, body, constants))
                s.scope()
                body, constants = tiles.carry(level)
                self.kernels.append((f"carry_{level}_kernel", own, body, constants))

    def made(self) -> TritonText:
        s, tiles = self.s, self.tiles
        assert s.ports  # their names come first
        self.bodies()
        kernels = [line for kernel in self.kernels for line in self._kernel(*kernel)]
        lines = [*commented(self.plan_text or self.parts.lanes.source.name, "#"), "", "import functools", "",
                 "import torch", "import triton", "import triton.language as tl", "",
                 f"NEVER = tl.constexpr({(1 << 63) - 1})"]
        helpers = helper_text(s.helpers, s.real).rstrip("\n").splitlines()
        lines += [*helpers, *self.combines, *kernels, "", "", *self._tables(), *self._launch()]
        shapes: tuple[Shape, ...] = ("sequential",) if tiles is None else ("sequential", "block", "split")
        return TritonText("\n".join(lines) + "\n", shapes,
                          tuple(KernelText(name, self._types(own, constants))
                                for name, own, _, constants in self.kernels),
                          tuple(tiles.combines) if tiles is not None else ())

    def _kernel(self, name: str, own: list[str], body: list[str], constants: list[str]) -> list[str]:
        s = self.s
        plain = [*s.plain(), *(x for x in own if not x.endswith("_ptr"))]
        parameters = [*s.parameters(), *own, *(f"{c}: tl.constexpr" for c in constants)]
        return ["", "", f"@triton.jit(do_not_specialize={plain!r})".replace("'", '"'),
                f"def {name}(", *_wrapped(parameters), "):", *(f"    {x}" for x in body)]

    def _types(self, own: Sequence[str], constants: Sequence[str]) -> dict[str, str]:
        """Triton's names of the parameters' types, for compiling without a device."""
        s, lanes = self.s, self.parts.lanes
        edge: dict[str, torch.dtype] = {}
        for names, ports in ((s.ports.input, lanes.inputs), (s.ports.output, lanes.outputs)):
            edge |= {f"{names[p.name]}_ptr": edge_dtype(p, self.options) for p in ports}
        for p in lanes.states:
            held = state_dtype(p, self.parts, self.options)
            edge |= {f"{s.ports.state[p.name]}_{when}": held for when in ("before", "after")}
        edge |= {f"{name}_ptr": self.options.carry for name in s.ports.param.values()}
        edge |= {name: self._dtype(t.kind) for name, t in s.tables.items()}
        edge |= dict.fromkeys((x for x in self.own if x.endswith("_ptr")), self.options.carry)
        edge |= {"reset_ptr": torch.bool, "offsets_ptr": torch.int64, "failed_ptr": torch.int64}
        if self.tiles is not None:
            edge |= {name: self._dtype(kind) for name, kind in self.tiles.scratch()}
        return {x: f"*{_TRITON[edge[x]]}" if x in edge else "i32" if x in ("rows", "tokens", "lanes") else "i64"
                for x in (*s.parameters(), *own)} | dict.fromkeys(constants, "constexpr")

    def _dtype(self, kind: str) -> torch.dtype:
        return {"bool": torch.uint8, "int32": torch.int32, "int64": torch.int64, "float": self.options.carry}[kind]

    # The host's part.

    def _tables(self) -> list[str]:
        tables = self.s.tables
        if not tables:
            return []
        lines = ["@functools.cache", "def tables(device):", '    """The constant tables, on a device."""',
                 "    return {"]
        for name, t in tables.items():
            entries = [_number(int(e) if t.kind == "bool" else e) for e in t.entries]
            lines += [f'        "{name}": torch.tensor([  # {t.name}', *_wrapped(entries, 12),
                      f"        ], dtype={self._dtype(t.kind)}, device=device),"]
        return [*lines, "    }", "", ""]

    def _launch(self) -> list[str]:
        s, lanes = self.s, self.parts.lanes
        lines = ["def launch(shape, rows, tokens, inputs, outputs, before, after, params, resets=None, offsets=None, "
                 "reverse=False,", "           failed=None, *, BL, BT=64, GROUP=4, STAGES=3, chunk_tiles=None,",
                 "           **options):",
                 *(f"    {x}" for x in _LAUNCH_DOC)]
        body = [f"lanes = {self._lanes()}", "streams = rows * lanes", "if not streams:", "    return",
                "arguments = []"]
        stride = "(0, {x}.stride(0))" if self.options.packed else "({x}.stride(0), {x}.stride(1))"
        body += ["units = []  # how far apart tokens are", "rests = []  # how far apart rows are"]
        arrays = [*(f'inputs["{p.name}"]' for p in lanes.inputs), *(f'outputs["{p.name}"]' for p in lanes.outputs)]
        body += [f"for array in ({', '.join(arrays)},):" if arrays else "for array in ():",
            f"    row, token = {stride.format(x='array')}",
            "    units.append(token)", "    rests.append(row)",
            "    arguments += [array.view(torch.uint8) if array.dtype == torch.bool else array, row, token]"]
        for p in lanes.states:
            body += [f'was, now = before.get("{p.name}"), after.get("{p.name}")',
                     "some = was if was is not None else now",
                     "arguments += [x.view(torch.uint8) if x is not None and x.dtype == torch.bool else x"
                     " for x in (some, now if now is not None else was)]"]
        given = " and ".join(f'"{p.name}" in before' for p in lanes.states) or "False"
        kept = " and ".join(f'"{p.name}" in after' for p in lanes.states) or "False"
        body += [f'arguments.append(params["{p.name}"])' for p in lanes.params if p.name in s.ports.param]
        # an adjoint of an adjoint may have states alone
        some = f"{arrays[0]}.device" if arrays else "next(x.device for x in (*before.values(), *after.values()))"
        body += [f"device = {some}"]
        if s.tables:
            body.append("arguments += tables(device).values()")
        if self.options.resets:
            body += [f"row, token = {stride.format(x='resets')}", "units.append(token)", "rests.append(row)",
                     "arguments += [resets.view(torch.uint8), row, token]"]
        if self.options.packed:
            body.append("arguments.append(offsets)")
        if s.checked:
            body.append("arguments.append(failed)")
        body += ["arguments += [rows, tokens, lanes]"]
        aligned = "[lanes, *units, *rests]" if s.wide else "[tokens, *rests]"
        body += [f"constants = dict(GIVEN={given}, KEPT={kept}, REVERSE=reverse,",
                 f"                 ALIGNED=all(x % 16 == 0 for x in {aligned}), BL=BL, **options)"]
        if not s.wide:
            body.append("constants[\"UNIT\"] = all(x == 1 for x in units)")
        return [*lines, *(f"    {x}" for x in (*body, *self.launches()))]

    def launches(self) -> list[str]:
        """The end of `launch`: kernels by shape."""
        body = ["grid = rows * -(-lanes // BL)" if self.s.wide else "grid = -(-rows // BL)",
                'if shape == "sequential":',
                "    sequential_kernel[(grid,)](*arguments, GROUP=GROUP, **constants)"]
        if self.tiles is not None:
            return body + self._tile_launches()
        return [*body, "else:", '    raise ValueError(f"no kernel of shape {shape}")']

    def _tile_launches(self) -> list[str]:
        tiles = self.tiles
        assert tiles is not None
        count = len(tiles.scratch())
        out = ['elif shape == "block":',
               "    one_chunk = max(1, -(-tokens // BT))",
               f"    block_kernel[(grid,)](*arguments, 1, one_chunk, *[arguments[0]] * {count}, "
               "CHUNKED=False, BT=BT, STAGES=STAGES, **constants)",
               'elif shape == "split":',
               "    chunk_tiles = chunk_tiles or max(1, round((tokens / BT) ** 0.5))",
               "    chunks = max(1, -(-tokens // (chunk_tiles * BT)))",
               "    scratch = [torch.empty((chunks, streams), dtype=kind, device=device) for kind in ("]
        out += [f"        {self._dtype(kind)},  # {name.removesuffix('_ptr')}" for name, kind in tiles.scratch()]
        out += ["    )]", "    small = {k: v for k, v in constants.items() if k in (\"GIVEN\", \"BL\", *options)}",
                "    whole = {k: v for k, v in constants.items() if k != \"KEPT\"}"]
        for level in range(len(tiles.levels)):
            out += [f"    summary_{level}_kernel[(grid * chunks,)](*arguments, chunks, chunk_tiles, *scratch, BT=BT, "
                    "STAGES=STAGES, **whole)",
                    f"    carry_{level}_kernel[(grid,)](*arguments, chunks, chunk_tiles, *scratch, STAGES=STAGES, "
                    "**small)"]
        return out + ["    block_kernel[(grid * chunks,)](*arguments, chunks, chunk_tiles, *scratch, CHUNKED=True, "
                      "BT=BT, STAGES=STAGES, **constants)",
                      "else:", '    raise ValueError(f"no kernel of shape {shape}")']

    def _lanes(self) -> str:
        lanes = self.parts.lanes
        for side, ports in (("inputs", lanes.inputs), ("outputs", lanes.outputs), ("params", lanes.params)):
            port = next((p for p in ports if p.lane and not p.summed), None)
            if port is not None:
                return f'{side}["{port.name}"].shape[-1]'
        port = next((p for p in lanes.states if p.lane), None)
        return "1" if port is None else f'(before or after)["{port.name}"].shape[-1]'


_TRITON = {torch.bool: "u8", torch.uint8: "u8", torch.int8: "i8", torch.int16: "i16", torch.int32: "i32",
           torch.int64: "i64", torch.float16: "fp16", torch.bfloat16: "bf16", torch.float32: "fp32",
           torch.float64: "fp64"}

_LAUNCH_DOC = (
    '"""Runs the program over `rows` sequences of at most `tokens` tokens.',
    "",
    "shape: sequential, block or split. inputs, outputs: tensors (rows, tokens, ...) by name, (total, ...) where",
    "sequences are packed, row r from offsets[r] to offsets[r + 1]. before, after: states (rows, ...) by name; without",
    "all of `before`, initial states; without all of `after`, nothing is kept. resets: bools by token. failed: (rows,)",
    "int64, the first token at which a check fails. BL: streams of a program; BT: tokens of a tile; GROUP: tokens that",
    "the sequential kernel asks for at once; STAGES: tiles that the others ask for at once; chunk_tiles: tiles of a",
    'chunk of time; options: of Triton, such as num_warps."""',
)


def _wrapped(items: Sequence[str], indent: int = 4, width: int = 110) -> list[str]:
    lines, line = [], ""
    for item in items:
        if line and len(line) + len(item) + 2 + indent > width:
            lines.append(line)
            line = ""
        line = f"{line} {item}," if line else f"{item},"
    return [" " * indent + x for x in [*lines, *([line] if line else [])]]


def _number(x: object) -> str:
    return 'float("inf")' if x == float("inf") else '-float("inf")' if x == float("-inf") else repr(x)

