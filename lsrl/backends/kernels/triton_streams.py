"""What all kernels of a Triton file share: their parameters, which streams a program runs, and how arrays are read.

A stream is a row, or one lane of a row where the program has lanes. A program of the grid runs BL streams: lanes of
one row, or one lane each of BL rows. Token p of a stream, in the order taken, is at `x_at + p * x_step`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from lsrl.backends.kernels.bodies import Body, Output, Parts, Register
from lsrl.backends.kernels.call import Options, edge_dtype, state_kind
from lsrl.backends.kernels.code import Table, Value
from lsrl.backends.kernels.lanes import Port
from lsrl.backends.kernels.text import Names
from lsrl.backends.kernels.triton_values import Expressions
from lsrl.ir.nodes import Node

__all__ = ["SIZES", "Ports", "Streams"]

SIZES = ("rows", "tokens", "lanes")
_WORDS = """
tl triton torch functools program row lane live first length longest direction start position place count on ok
broken program_of_grid offsets launch tables UNIT ALIGNED GIVEN KEPT REVERSE BT BL GROUP CHUNKED STAGES NEVER
INFINITY chunk chunks chunk_tiles combine last before least greatest sigmoid tanh softplus silu floor_quotient
floor_remainder float_remainder look_up to_int32 to_int64 reset reset_ptr reset_row reset_token reset_at reset_step
failed_ptr offsets_ptr begin mine first_broken inside blocks left here range min max int float bool True False
stream streams i end config block column there inner piece BD BK k
"""  # of the generated text, not to be used as names
_TAKEN = (*_WORDS.split(), *SIZES)


@dataclass(frozen=True)
class Ports:
    """The identifiers of a program's ports and registers in a file, by the program's names."""

    input: Mapping[str, str]
    output: Mapping[str, str]
    state: Mapping[str, str]
    param: Mapping[str, str]
    register: Mapping[str, str]


@dataclass
class Streams:
    """The text that kernels of one program share. What the text needs (helpers, tables) collects while it is made.

    options.resets and options.packed: whether these kernels have them, not whether they may come.
    """

    parts: Parts
    options: Options
    names: Names = field(default_factory=lambda: Names(_TAKEN))
    helpers: dict[str, None] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    _common: Names | None = None

    @cached_property
    def real(self) -> str:
        return "tl.float64" if self.options.carry == torch.float64 else "tl.float32"

    @cached_property
    def expressions(self) -> Expressions:
        return Expressions(self.real, self.helpers, self.tables)

    @cached_property
    def ports(self) -> Ports:
        lanes, fresh = self.parts.lanes, self.names.fresh
        return Ports({p.name: fresh(p.name) for p in lanes.inputs},
                     {p.name: fresh(p.name) for p in lanes.outputs},
                     {p.name: fresh(p.name) for p in lanes.states},
                     {p.name: fresh(p.name) for p in lanes.params if p.name not in lanes.matrices},
                     {r.name: fresh(f"{r.name}_now") for r in self.parts.registers})

    @cached_property
    def wide(self) -> bool:
        """Whether streams are lanes."""
        lanes = self.parts.lanes
        return any(p.lane for p in (*lanes.inputs, *lanes.outputs, *lanes.states, *lanes.params))

    @cached_property
    def checked(self) -> bool:
        """Whether kernels look for failing checks."""
        return self.options.checks and bool(self.parts.step.checks)

    def parameters(self) -> list[str]:
        """Of every kernel, before its own; complete only when the bodies of kernels are written."""
        p = self.ports
        out = [x for name in (*p.input.values(), *p.output.values())
               for x in (f"{name}_ptr", f"{name}_row", f"{name}_token")]
        out += [x for name in p.state.values() for x in (f"{name}_before", f"{name}_after")]
        out += [f"{name}_ptr" for name in p.param.values()] + list(self.tables)
        if self.options.resets:
            out += ["reset_ptr", "reset_row", "reset_token"]
        if self.options.packed:
            out.append("offsets_ptr")
        if self.checked:
            out.append("failed_ptr")
        return out + list(SIZES)

    def plain(self) -> list[str]:
        """The parameters that are never compile-time constants, whatever their value."""
        return [x for x in self.parameters() if x in SIZES or x.endswith(("_row", "_token"))]

    def scope(self) -> None:
        """Begins a kernel: names of values are given out anew."""
        if self._common is None:
            self._common = self.names
        self.names = self._common.copy()

    # Streams.

    def begin(self) -> list[str]:
        """Statements that find the streams of a program, its first token and its step through time."""
        packed = self.options.packed
        out = []
        if self.wide:
            out += ["blocks = (lanes.to(tl.int64) + BL - 1) // BL",
                    "row = program // blocks",
                    "lane = program % blocks * BL + tl.arange(0, BL)",
                    "live = lane < lanes"]
        else:
            out += ["row = program * BL + tl.arange(0, BL)",
                    "live = row < rows"]
        if packed:
            mask = "" if self.wide else ", mask=live, other=0"
            out += [f"first = tl.load(offsets_ptr + row{mask})  # of the row's tokens",
                    f"length = tl.load(offsets_ptr + row + 1{mask}) - first",
                    "longest = length" if self.wide else "longest = tl.max(length)"]
        else:
            out += ["first = 0", "length = tokens.to(tl.int64)", "longest = length"]
        out += ["direction: tl.constexpr = -1 if REVERSE else 1",
                "if REVERSE:",
                f"    first = {'first + ' if packed else ''}length - 1"]
        arrays = [(name, port) for ports, names in ((self.parts.lanes.inputs, self.ports.input),
                                                    (self.parts.lanes.outputs, self.ports.output))
                  for port, name in ((p, names[p.name]) for p in ports)]
        written = set(self.ports.output.values())
        for name, port in arrays:
            apart = " + program % blocks" if port.summed else " + lane" if port.lane else \
                " + lane * 0" if self.wide and name in written else ""
            where = f"{name}_ptr + first * {name}_token" + ("" if packed else f" + row * {name}_row")
            out += [f"{name}_at = {where}{apart}", self._step(name)]
        if self.options.resets:
            where = "reset_ptr + first * reset_token" + ("" if packed else " + row * reset_row")
            out += [f"reset_at = {where}", self._step("reset")]
        return out

    def hints(self) -> list[str]:
        """Statements that show the compiler which numbers are multiples of 16; run under ALIGNED.

        `tl.multiple_of` has no effect on a kernel's own parameters.
        """
        rows = [] if self.options.packed else [x for x in self.plain() if x.endswith("_row")]
        tokens = [x for x in self.plain() if x.endswith("_token")]
        names = [*rows, *tokens, "lanes"] if self.wide else [*rows, "tokens"]
        return [f"{x} = {x} // 16 * 16" for x in names]

    def _step(self, name: str) -> str:
        run = f"{name}_token.to(tl.int64) * direction"
        return f"{name}_step = {run}" if self.wide else f"{name}_step = direction if UNIT else {run}"

    # Arrays.

    def pointer(self, name: str, port: Port, element: int) -> str:
        """An input's or output's pointer at the first token."""
        return f"{name}_at{self.element(port, element)}"

    def element(self, port: Port, element: int) -> str:
        """What leads from the first element of a stream to another one."""
        return f" + {element}{' * blocks' if port.summed else ' * lanes' * port.lane}" if element else ""

    def read(self, leaf: Value, raw: str) -> str:
        """The value of an input leaf from what was loaded for it."""
        name = leaf.attribute[0]
        port = next(p for p in self.parts.lanes.inputs if p.name == name)
        dtype = edge_dtype(port, self.options)
        node = next(n for n in self.parts.graph.inputs if n.name == name)
        if dtype == torch.bool:
            return f"{raw} != 0"
        if not dtype.is_floating_point:
            return f"{raw}.to({self.expressions.dtype(leaf.kind)})"
        if leaf.kind == "float":
            return f"{raw}.to({self.real})"
        self.helpers[f"to_{leaf.kind}"] = None
        scale = self.parts.storage.scale(node)
        work = "tl.float64" if dtype == torch.float64 or not self._small(node, scale) else "tl.float32"
        scaled = f"{raw}.to({work})" + (f" * {scale}" if scale != 1 else "")
        return f"to_{leaf.kind}({scaled} + 0.5)"

    def written(self, output: Output, port: Port, value: str) -> str:
        """What is stored for an output's value."""
        dtype = edge_dtype(port, self.options)
        if dtype == torch.bool:
            return f"{value}.to(tl.uint8)"
        stored = f"tl.{str(dtype).removeprefix('torch.')}"
        if not dtype.is_floating_point or output.value.kind == "float":
            return f"{value}.to({stored})"
        scale = output.scale
        exact = scale & (scale - 1) == 0
        work = "tl.float32" if exact and dtype != torch.float64 and output.value.kind == "int32" else "tl.float64"
        number = f"{value}.to({work})"
        if scale != 1:
            number = f"({number} * {1 / scale!r})" if exact else f"({number} / {scale})"
        return number if work == stored else f"{number}.to({stored})"

    def params(self) -> list[str]:
        """Statements that load what the step uses of the params."""
        from lsrl.backends.kernels.text import leaves

        out = []
        for leaf in leaves([*self.roots(self.parts.step), *self.parts.step.nexts, *self.parts.step.mixed], "param"):
            name, element = leaf.attribute
            port = next(p for p in self.parts.lanes.params if p.name == name)
            pointer = f"{self.ports.param[name]}_ptr"
            where = f"{pointer}{self.element(port, element)}{' + lane, mask=live, other=0' * port.lane}"
            out.append(f"{self.param_name(leaf)} = tl.load({where}).to({self.real})")
        return out

    def param_name(self, leaf: Value) -> str:
        name, element = leaf.attribute
        return self.ports.param[name] + (f"_{element}" if element else "")

    @staticmethod
    def roots(body: Body) -> list[Value]:
        """Everything that a body calculates, its states and scans aside."""
        return [*(o.value for o in body.outputs), *(c for _, c in body.checks)]

    # States.

    def _place(self, register: Register) -> tuple[Port, int]:
        return next((p, p.parts.index(register.name)) for p in self.parts.lanes.states if register.name in p.parts)

    def _state_at(self, port: Port, element: int) -> str:
        size = len(port.parts)
        if port.lane:
            return f"(row * {size} + {element}) * lanes + lane" if size > 1 else "row * lanes + lane"
        return f"row * {size} + {element}" if size > 1 else "row"

    def load_states(self, wanted: Sequence[str] | None = None) -> list[str]:
        """Statements that put states before the first token into the registers' names. wanted: which; None for all."""
        e = self.expressions
        given, fresh = [], []
        for r in self.parts.registers:
            if wanted is not None and r.name not in wanted:
                continue
            port, element = self._place(r)
            name = self.ports.register[r.name]
            where = f"{self.ports.state[port.name]}_before + {self._state_at(port, element)}"
            mask = "" if self.wide and not port.lane else ", mask=live, other=0"
            loaded = f"tl.load({where}{mask})"
            text = f"{loaded} != 0" if r.kind == "bool" else f"{loaded}.to({e.dtype(r.kind)})"
            given.append(f"{name} = tl.broadcast_to({text}, [BL])" if not mask else f"{name} = {text}")
            fresh.append(f"{name} = {e.typed(r.init, r.kind, '[BL]')}")
        if not given:
            return []
        return ["if GIVEN:", *(f"    {x}" for x in given), "else:", *(f"    {x}" for x in fresh)]

    def store_states(self, values: Mapping[str, str], extra: str = "") -> list[str]:
        """Statements that store states after the last token. values: of which registers. extra: a further mask."""
        out = []
        for r in self.parts.registers:
            if r.name not in values:
                continue
            port, element = self._place(r)
            where = f"{self.ports.state[port.name]}_after + {self._state_at(port, element)}"
            kind = state_kind(port, self.parts)
            stored = "tl.uint8" if kind == "bool" else self.expressions.dtype(kind)
            mask = "live" if port.lane or not self.wide else "lane == 0"
            apart = "" if port.lane or not self.wide else " + lane * 0"
            out.append(f"tl.store({where}{apart}, {values[r.name]}.to({stored}), mask={mask}{extra})")
        return ["if KEPT:", *(f"    {x}" for x in out)] if out else []

    def shape_of(self, port: Port) -> str:
        """The mask of streams that store an output."""
        return "live" if port.lane or not self.wide else "(lane == 0)"

    def _small(self, node: Node, scale: int) -> bool:
        r = self.parts.storage.range(node)
        return r.magnitude is not None and r.magnitude * scale < 1 << 22

    def lane_ports(self) -> Sequence[Port]:
        """Ports whose last dimension is lanes."""
        lanes = self.parts.lanes
        return [p for p in (*lanes.inputs, *lanes.outputs, *lanes.states, *lanes.params) if p.lane]
