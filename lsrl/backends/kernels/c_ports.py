"""The arguments of a generated C kernel, and how its numbers come from memory and go back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from lsrl.backends.kernels.bodies import Output, Parts, Register
from lsrl.backends.kernels.c_functions import FUNCTION_NAMES
from lsrl.backends.kernels.c_values import CValues, constant
from lsrl.backends.kernels.call import Options, edge_dtype, state_dtype
from lsrl.backends.kernels.code import Kind
from lsrl.backends.kernels.lanes import Port
from lsrl.backends.kernels.text import Names

__all__ = ["C_WORDS", "MEMORY", "Arguments", "CPorts", "Field"]

# The C type of an array's elements.
MEMORY = {torch.bool: "uint8_t", torch.uint8: "uint8_t", torch.int8: "int8_t", torch.int16: "int16_t",
          torch.int32: "int32_t", torch.int64: "int64_t", torch.float32: "float", torch.float64: "double",
          torch.bfloat16: "uint16_t", torch.float16: "uint16_t"}
_HALVES = {torch.bfloat16: "bfloat16", torch.float16: "float16"}

_KEYWORD_TEXT = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm bool true false
complex imaginary linux unix
"""
_WORD_TEXT = """
a c s t n k p q row lane at left tokens lanes rows step stream j0 j1 jn y0 y1 yn gamma signgam exp log sin cos tan erf
main failing holds reset reset_at offset backwards live taken streams next old own from to word letter
"""
_KEYWORDS = frozenset(_KEYWORD_TEXT.split())
C_WORDS = frozenset(_WORD_TEXT.split()) | _KEYWORDS | FUNCTION_NAMES


@dataclass(frozen=True)
class Field:
    """A member of the arguments' struct. what, of: what a launch fills it with."""

    name: str
    type: str
    what: str
    of: str = ""


class Arguments:
    """The arguments' struct: the fields in their order, and their names by what they hold.

    table: whether there is a function of the table shape, which takes and gives states as their numbers. `possible`
    are those left possible after each row, closed by −1, with room for all of them.
    """

    def __init__(self, parts: Parts, options: Options, table: bool = False) -> None:
        names = Names(_KEYWORDS)
        self.fields: list[Field] = []
        self._name: dict[tuple[str, str], str] = {}

        def add(what: str, of: str, kind: str, wish: str) -> None:
            name = names.fresh(wish)
            self._name[what, of] = name
            self.fields.append(Field(name, kind, what, of))

        for what in ("token_count", "lane_count", "first_row", "end_row", "first_lane", "end_lane", "reverse",
                     "streaming"):
            add(what, "", "int64_t ", what)
        for what, ports, const in (("input", parts.lanes.inputs, "const "), ("output", parts.lanes.outputs, "")):
            for p in ports:
                add(what, p.name, f"{const}{MEMORY[edge_dtype(p, options)]} *", p.name)
                add(f"{what}_row", p.name, "int64_t ", f"{p.name}_row")
                add(f"{what}_token", p.name, "int64_t ", f"{p.name}_token")
        for p in parts.lanes.states:
            kind = MEMORY[state_dtype(p, parts, options)]
            add("before", p.name, f"const {kind} *", f"{p.name}_before")
            add("after", p.name, f"{kind} *", f"{p.name}_after")
        for p in parts.lanes.params:
            if p.name not in parts.lanes.matrices:
                add("param", p.name, f"const {MEMORY[options.carry]} *", p.name)
        for m in parts.lanes.products:
            add("mix", m.name, f"const {MEMORY[options.carry]} *", f"{m.matrix} {'transposed' * m.transposed}")
        if parts.lanes.mixes:
            add("scratch", "", "void *", "scratch")
        if options.resets:
            add("resets", "", "const uint8_t *", "resets")
            add("resets_row", "", "int64_t ", "resets_row")
            add("resets_token", "", "int64_t ", "resets_token")
        if options.packed:
            add("offsets", "", "const int64_t *", "offsets")
        add("failed", "", "int64_t *", "failed")
        if table:
            add("first_state", "", "const int32_t *", "first_state")
            add("last_state", "", "int32_t *", "last_state")
            add("possible", "", "int32_t *", "possible")
            add("budget", "", "int64_t ", "budget")

    def __call__(self, what: str, of: str = "") -> str:
        """The expression of an argument."""
        return f"a->{self._name[what, of]}"


class CPorts:
    """Loads and stores of a program's ports, as C expressions."""

    def __init__(self, parts: Parts, options: Options, values: CValues) -> None:
        self.parts, self.options, self.values = parts, options, values
        self.inputs = {p.name: p for p in parts.lanes.inputs}
        self.outputs = {p.name: p for p in parts.lanes.outputs}
        self.params = {p.name: p for p in parts.lanes.params}
        self.scales = {n.name: parts.storage.scale(n) for n in parts.graph.inputs}
        self.state_port: dict[str, tuple[Port, int]] = {
            part: (p, i) for p in parts.lanes.states for i, part in enumerate(p.parts)}

    def memory(self, port: Port) -> str:
        """The C type of an input's or output's elements."""
        return MEMORY[edge_dtype(port, self.options)]

    def wide_memory(self, port: Port) -> str:
        """The same with at least 32 bits: what is worked on together should be of one width."""
        kind = self.memory(port)
        return "int32_t" if kind in ("uint8_t", "int8_t", "int16_t", "uint16_t") else kind

    def loaded(self, port: Port, kind: Kind, x: str) -> str:
        """An element of an input, in memory's type, as a number of the kernel."""
        dtype = edge_dtype(port, self.options)
        if dtype in _HALVES:
            x = f"{self.values.use(f'float_of_{_HALVES[dtype]}')}({x})"
        if dtype.is_floating_point and kind != "float":
            scale = self.scales[port.name]
            return f"{self.values.use(f'count_{kind}')}({x} * {float(scale)!r})"
        return f"({self.values.type(kind)}){x}"

    def stored(self, output: Output) -> Callable[[str], str]:
        """What makes an element of an output, in memory's type, of a number of the kernel."""
        dtype = edge_dtype(self.outputs[output.name], self.options)
        use = self.values.use
        kind = output.value.kind
        wide = dtype.is_floating_point and (kind != "float" or self.values.carry == "double")

        def made(x: str) -> str:
            if dtype.is_floating_point and kind != "float":
                x = f"((double){x} / {float(output.scale)!r})" if output.scale != 1 else f"((double){x})"
            if dtype in _HALVES:
                x = f"{use('odd_float')}({x})" if wide else x
                return f"{use(f'{_HALVES[dtype]}_of_float')}({x})"
            return f"({MEMORY[dtype]}){x}"

        return made

    def initial(self, register: Register) -> str:
        return constant(register.init, register.kind, self.values.carry)
