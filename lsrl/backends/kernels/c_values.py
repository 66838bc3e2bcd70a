"""Values as C expressions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lsrl.backends.kernels.code import Constant, Kind, Table, Value, schedule
from lsrl.backends.kernels.text import Names, identifier, stated

__all__ = ["CValues", "c_type", "constant", "narrowest"]

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "bitand": "&", "bitor": "|", "bitxor": "^",
          "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "and": "&", "or": "|"}
_SMALL_TABLE = 1 << 10  # entries; larger tables are kept in the narrowest type, to stay in the cache


def c_type(kind: Kind, carry: str) -> str:
    """The type in which a kernel holds values of a kind. Booleans are 0 or 1 in 32 bits, which vectorises well."""
    return {"bool": "int32_t", "int32": "int32_t", "int64": "int64_t", "float": carry}[kind]


def narrowest(entries: Sequence[Constant]) -> str:
    """The least C type that holds some integers."""
    lo, hi = min(map(int, entries)), max(map(int, entries))
    for name, least, most in (("uint8_t", 0, 255), ("int8_t", -128, 127), ("uint16_t", 0, 65535),
                              ("int16_t", -32768, 32767), ("int32_t", -(1 << 31), (1 << 31) - 1)):
        if least <= lo and hi <= most:
            return name
    return "int64_t"


def constant(x: Constant, kind: Kind, carry: str) -> str:
    """A number as C writes it."""
    if kind == "bool":
        return str(int(x))
    if kind == "float":
        x = float(x)
        if math.isnan(x) or math.isinf(x):
            return "NAN" if math.isnan(x) else "INFINITY" if x > 0 else "(-INFINITY)"
        if carry == "float":
            short = np.float32(x)
            if np.isinf(short):
                return "INFINITY" if x > 0 else "(-INFINITY)"
            text = f"{short!s}f"
        else:
            text = repr(x)
        return f"({text})" if text.startswith("-") else text
    if x == -(1 << 63 if kind == "int64" else 1 << 31):
        return f"(-{-(int(x) + 1)}{'LL' if kind == 'int64' else ''} - 1)"
    text = str(int(x)) if kind == "int32" or abs(x) < 1 << 31 else f"{int(x)}LL"
    return f"({text})" if text.startswith("-") else text


class CValues:
    """Writes values; collects the functions and tables that they need.

    carry: "float" or "double". prefix: of the names of tables; two underscores follow, which no name of a program has.
    """

    def __init__(self, carry: str, prefix: str) -> None:
        self.carry = carry
        self.prefix = prefix
        self.functions: dict[str, None] = {}
        self._tables: dict[tuple[Kind, tuple[Constant, ...]], tuple[str, str]] = {}

    def type(self, kind: Kind) -> str:
        return c_type(kind, self.carry)

    def use(self, function: str) -> str:
        """The name of a helper function, which the text will contain."""
        self.functions[function] = None
        return function

    @property
    def tables(self) -> list[str]:
        """The definitions of the tables."""
        return [text for _, text in self._tables.values()]

    def statements(self, roots: Sequence[Value], known: Mapping[Value, str], called: Mapping[Value, str],
                   local: Names) -> tuple[list[str], dict[Value, str]]:
        """Statements that calculate some values, and the expression of each root and of each value known.

        known: values that have an expression already. called: what to call values that get a statement.
        """
        text: dict[Value, str] = dict(known)
        lines: list[str] = []
        own = set(stated(roots, called))
        for v in schedule(roots, known):
            if v in text:
                continue
            written = self.expression(v, [text[a] for a in v.args])
            if v in own:
                name = local.fresh(called.get(v, "v"))
                lines.append(f"const {self.type(v.kind)} {name} = {_bare(written)};")
                written = name
            text[v] = written
        return lines, text

    def expression(self, v: Value, args: Sequence[str]) -> str:
        """The expression of a value, from those of its arguments; in parentheses where it needs them."""
        kind = v.args[0].kind if v.args else v.kind
        match v.op:
            case "const":
                return constant(v.attribute, v.kind, self.carry)
            case "cast":
                return self._cast(v, args[0])
            case "select":
                return f"({args[0]} ? {args[1]} : {args[2]})"
            case "lookup":
                return self._lookup(v.attribute, args[0])
            case "neg":
                return f"(-{args[0]})"
            case "not":
                return f"(!{args[0]})"
            case "shl":
                unsigned = "uint32_t" if kind == "int32" else "uint64_t"
                return f"(({self.type(kind)})(({unsigned}){args[0]} << ({args[1]} & {31 if kind == 'int32' else 63})))"
            case "shr":
                return f"({args[0]} >> ({args[1]} & {31 if kind == 'int32' else 63}))"
            case "quotient" | "remainder" if kind != "float" and v.args[1].op == "const":
                return self._divided(v, args)
            case "min" | "max" | "remainder" | "quotient":
                return f"{self.use(f'{v.op}_{kind}')}({_bare(args[0])}, {_bare(args[1])})"
            case _ if v.op in _INFIX:
                return f"({args[0]} {_INFIX[v.op]} {args[1]})"
            case _:
                return f"{self.use(f'{v.op}_float')}({_bare(args[0])})"

    def _divided(self, v: Value, args: Sequence[str]) -> str:
        divisor = v.args[1].attribute
        if divisor & (divisor - 1) == 0:  # shifts of negative numbers keep the sign in every compiler in use
            return f"({args[0]} >> {divisor.bit_length() - 1})" if v.op == "quotient" else \
                f"({args[0]} & {constant(divisor - 1, v.kind, self.carry)})"
        return f"{self.use(f'{v.op}_{v.kind}')}({_bare(args[0])}, {args[1]})"

    def _cast(self, v: Value, x: str) -> str:
        source = v.args[0].kind
        if source == "float" and v.kind != "float":
            return f"{self.use(f'below_{v.kind}')}({_bare(x)})"
        return x if self.type(source) == self.type(v.kind) else f"(({self.type(v.kind)}){x})"

    def _lookup(self, table: Table, place: str) -> str:
        """Tables are filled up to a power of two with their last entry, so that no place can be outside."""
        key = (table.kind, table.entries)
        size = 1 << max(0, len(table.entries) - 1).bit_length()
        if key not in self._tables:
            entries = [*table.entries, *[table.entries[-1]] * (size - len(table.entries))]
            kind = self.type(table.kind) if table.kind == "float" or size <= _SMALL_TABLE else narrowest(entries)
            name = f"{self.prefix}__{identifier(table.name)}"
            while any(name == other for other, _ in self._tables.values()):
                name += "_"
            self._tables[key] = name, table_text(name, kind, [constant(x, table.kind, self.carry) for x in entries])
        return f"{self._tables[key][0]}[{place} & {size - 1}]"


def table_text(name: str, kind: str, entries: Sequence[str]) -> str:
    """The definition of a constant array."""
    lines = [f"static const {kind} {name}[{len(entries)}] = {{"]
    for i in range(0, len(entries), 16):
        lines.append("    " + ", ".join(entries[i : i + 16]) + ",")
    return "\n".join([*lines, "};"])


def _bare(text: str) -> str:
    """An expression without the parentheses around all of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return text[1:-1] if i == len(text) - 1 else text
    return text
