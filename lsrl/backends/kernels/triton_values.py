"""Machine-number values as expressions of Triton's language.

Integers wrap and shift as in `code`; `//` and `%` of Triton cut towards zero, so floors are helpers. Constants keep
the kind of the tensor beside them; two constants, which have no tensor beside them, are written with their type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lsrl.backends.kernels.code import Constant, Kind, Table, Value, schedule
from lsrl.backends.kernels.text import Names, stated

__all__ = ["Expressions", "packed_entries", "power_of_two"]

_INFIX = {"add": "+", "sub": "-", "mul": "*", "shl": "<<", "shr": ">>", "bitand": "&", "bitor": "|", "bitxor": "^",
          "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "and": "&", "or": "|"}
_CALLED = {"exp": "tl.exp", "log": "tl.log", "sin": "tl.sin", "cos": "tl.cos", "floor": "tl.floor"}
_NESTED = 6  # entries of a table that are written as nested choices
_BITS = 64  # of a number that holds a whole table


class Expressions:
    """Writes values of one kernel.

    real: "tl.float32" or "tl.float64", the type of floats. helpers: the names of the helper functions that the text
    so far needs; tables: those that it reads from memory, by the name of their pointer. Both grow as text is written.
    """

    def __init__(self, real: str, helpers: dict[str, None], tables: dict[str, Table]) -> None:
        self.real = real
        self.helpers = helpers
        self.tables = tables

    def dtype(self, kind: Kind) -> str:
        return {"bool": "tl.int1", "int32": "tl.int32", "int64": "tl.int64", "float": self.real}[kind]

    def statements(self, roots: Sequence[Value], named: dict[Value, str], names: Names,
                   wishes: Mapping[Value, str] | None = None) -> list[str]:
        """The statements that calculate some values, each value's name put into `named`.

        named: the names of leaves and of values calculated before. wishes: what the program calls some values.
        """
        out = []
        wishes = wishes or {}
        needed = set(schedule(roots, named))
        for v in stated(roots, wishes):
            if v in needed and v not in named:
                text = self.expression(v, named)
                named[v] = names.fresh(wishes.get(v, "v"))
                out.append(f"{named[v]} = {text}")
        return out

    def use(self, v: Value, named: Mapping[Value, str]) -> str:
        """A value as an argument or operand: its name, a constant, or an expression in brackets."""
        if v in named:
            return named[v]
        if v.op == "const":
            return self.constant(v.attribute, v.kind)
        text = self.expression(v, named)
        return text if text.endswith(")") and text.startswith("tl.") and text.count("(") == 1 else f"({text})"

    def expression(self, v: Value, named: Mapping[Value, str]) -> str:
        """What calculates a value."""
        if v.op == "const":
            return self.typed(v.attribute, v.kind)
        args = [self.use(a, named) for a in v.args]
        if all(a.op == "const" for a in v.args) and v.op != "cast" or (
                v.op == "select" and v.kind != "int32" and all(a.op == "const" for a in v.args[1:])):
            args = [self.typed(a.attribute, a.kind) if a.op == "const" else x for a, x in zip(v.args, args)]
        match v.op:
            case "lookup":
                return self._lookup(v.attribute, args[0])
            case "cast":
                return self._cast(v, args[0])
            case "select":
                return self._select(v, args)
            case "not":
                return f"~{args[0]}"
            case "neg":
                return f"-{args[0]}"
            case "div":
                return f"tl.div_rn({', '.join(args)})" if self.real == "tl.float32" else " / ".join(args)
            case "sqrt":
                return f"tl.sqrt_rn({args[0]})" if self.real == "tl.float32" else f"tl.sqrt({args[0]})"
            case "quotient" | "remainder" if v.kind != "float":
                return self._floor(v, args)
            case "remainder":
                return self._help("float_remainder", *args)
            case "min" | "max" if v.kind == "float":
                return self._help("least" if v.op == "min" else "greatest", *args)
            case "min" | "max":
                return f"tl.{v.op}imum({', '.join(args)})"
            case "eq" | "ne" if v.args[0].kind == "bool" and v.args[1].op == "const":
                return args[0] if v.args[1].attribute == (v.op == "eq") else f"~{args[0]}"
            case "lt" | "le" if v.args[0].kind == "bool":
                return f" {_INFIX[v.op]} ".join(f"{x}.to(tl.int32)" for x in args)
            case "sigmoid" | "tanh" | "softplus" | "silu":
                if v.op == "silu":
                    self.helpers["sigmoid"] = None
                return self._help(v.op, *args)
            case _ if v.op in _INFIX:
                return f" {_INFIX[v.op]} ".join(args)
            case _ if v.op in _CALLED:
                return f"{_CALLED[v.op]}({args[0]})"
            case _:
                raise AssertionError(f"{v.op} is named before it is used")

    def constant(self, x: Constant, kind: Kind) -> str:
        """A constant beside a tensor of its kind."""
        if kind != "float":
            return f"({x})" if x < 0 else str(x)
        if not math.isfinite(x):
            self.helpers["INFINITY"] = None
            return "INFINITY" if x > 0 else "(-INFINITY)" if x < 0 else "(INFINITY - INFINITY)"
        return f"({x!r})" if math.copysign(1.0, x) < 0 else repr(x)

    def typed(self, x: Constant, kind: Kind, shape: str = "[]") -> str:
        """A constant that brings its type along."""
        value = str(int(x)) if kind == "bool" else self.constant(x, kind)
        return f"tl.full({shape}, {value}, {self.dtype(kind)})"

    def _help(self, name: str, *args: str) -> str:
        self.helpers[name] = None
        return f"{name}({', '.join(args)})"

    def _cast(self, v: Value, x: str) -> str:
        if v.args[0].kind == "float":
            return self._help(f"to_{v.kind}", x)
        return f"{x}.to({self.dtype(v.kind)})"

    def _select(self, v: Value, args: Sequence[str]) -> str:
        condition, then, other = args
        if v.kind == "bool":
            for arm, rest, negated in ((v.args[1], other, False), (v.args[2], then, True)):
                if arm.op == "const":
                    if bool(arm.attribute):
                        return f"{'~' * negated}{condition} | {rest}"
                    return f"{'~' * (not negated)}{condition} & {rest}"
        return f"tl.where({condition}, {then}, {other})"

    def _floor(self, v: Value, args: Sequence[str]) -> str:
        n = v.args[1].attribute
        assert v.args[1].op == "const" and n > 0
        if n & (n - 1) == 0:
            return f"{args[0]} >> {n.bit_length() - 1}" if v.op == "quotient" else f"{args[0]} & {n - 1}"
        return self._help(f"floor_{v.op}", *args)

    def _lookup(self, table: Table, place: str) -> str:
        """A table within one number, as choices, or in memory."""
        fits = packed_entries(table)
        if fits is not None:
            number, width, low = fits
            wide = width * len(table.entries) >= 32
            source = f"tl.full([], {number}, tl.int64)" if wide else str(number)
            at = place if width == 1 else f"({width} * {place})"
            bits = f"({source} >> {at}) & {(1 << width) - 1}"
            if table.kind == "bool":
                return f"({bits}) != 0"
            bits = f"({bits}).to({self.dtype(table.kind)})" if wide or table.kind == "int64" else bits
            return f"{f'({bits})' if low and not bits.endswith(')') else bits}{f' + {low}' if low > 0 else ''}" \
                   f"{f' - {-low}' if low < 0 else ''}"
        if len(table.entries) <= _NESTED:
            text = self.typed(table.entries[-1], table.kind)
            for i in reversed(range(len(table.entries) - 1)):
                text = f"tl.where({place} == {i}, {self.constant(table.entries[i], table.kind)}, {text})"
            return text
        name = next((n for n, t in self.tables.items() if t == table), None)
        if name is None:
            name = f"table_{len(self.tables)}"
            self.tables[name] = table
        # streams and tokens that are not there have values of their own: no place may be outside
        loaded = self._help("look_up", name, place, str(len(table.entries)))
        return f"{loaded} != 0" if table.kind == "bool" else loaded


def packed_entries(table: Table) -> tuple[int, int, int] | None:
    """A table in one number: the number, as a signed one of 64 bits, bits an entry, and the lowest entry."""
    if table.kind == "float":
        return None
    entries = [int(e) for e in table.entries]
    low = min(entries) if table.kind != "bool" else 0
    low = 0 if low > 0 and max(entries).bit_length() * len(entries) <= _BITS else low
    width = max(1, (max(entries) - low).bit_length())
    if width * len(entries) > _BITS:
        return None
    number = sum((e - low) << width * i for i, e in enumerate(entries))
    if width * len(entries) < 32:
        return number, width, low
    return number - (1 << 64) if number >> 63 else number, width, low


def power_of_two(n: int) -> int:
    """The least one that is not less: tiles have as many elements."""
    return 1 << max(0, n - 1).bit_length()
