"""The nodes of a scalar graph as straight-line code."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TypeAlias

from lsrl.arithmetic import convert, to_float
from lsrl.backends.kernels.code import Builder, Constant, Kind, Table, Value, wider
from lsrl.backends.kernels.storage import Storage
from lsrl.ir.graph import State
from lsrl.ir.nodes import (
    Affine,
    Compare,
    Const,
    Divide,
    FloorDiv,
    Index,
    Input,
    Logic,
    MinMax,
    Mul,
    Mux,
    Node,
    Param,
    Read,
    Unary,
    operands,
)
from lsrl.ir.nodes import Table as TableNode
from lsrl.types import Bool, Symbols, shape
from lsrl.types import Value as ProgramValue

__all__ = ["Lowering", "read_element"]

Source: TypeAlias = Callable[[Node], "Value | None"]


class Lowering:
    """Lowers nodes of one graph; a node's value is in counts of its scale.

    source: the value of a node that does not come from its operands (a scan's result), or None.
    """

    def __init__(self, storage: Storage, builder: Builder, source: Source = lambda node: None) -> None:
        self.storage = storage
        self.b = builder
        self._source = source
        self._values: dict[Node, Value] = {}
        self._tables: dict[tuple[Kind, tuple[Constant, ...]], Table] = {}

    def __call__(self, node: Node) -> Value:
        """The value of a node. Without recursion over operands, so that depth does not matter."""
        stack = [node]
        while stack:
            n = stack[-1]
            if n in self._values:
                stack.pop()
                continue
            given = self._source(n)
            if given is not None:
                self._values[n] = given
                continue
            missing = [] if isinstance(n, Index) else [x for x in operands(n) if x not in self._values]
            if missing:
                stack.extend(reversed(missing))
            else:
                self._values[n] = self._lower(n)
        return self._values[node]

    def at(self, node: Node, scale: int, kind: Kind) -> Value:
        """A node's value in counts of another scale and kind."""
        return self.rescaled(self(node), self.storage.scale(node), scale, kind)

    def rescaled(self, x: Value, old: int, new: int, kind: Kind) -> Value:
        """Counts of 1/old as counts of 1/new, of that kind."""
        x = self.b.cast(x, kind)
        if old == new or kind in ("bool", "float"):
            return x
        if new % old == 0:
            return self.b.op("mul", x, self.b.const(new // old, kind))
        if old % new == 0:
            return self.b.op("quotient", x, self.b.const(old // new, kind))
        raise AssertionError("scales that do not divide each other are refused by the plan")

    def next(self, state: State) -> Value:
        """The new value of a state, as it is held."""
        return self.held(self(state.next), state.next, state)

    def names(self) -> dict[Value, str]:
        """What the program calls the values lowered so far, by the shortest of several names; leaves have none here."""
        out: dict[Value, str] = {}
        for name, node in sorted(self.storage.graph.names, key=lambda item: (len(item[0]), item[0])):
            value = self._values.get(node)
            if value is not None and value.args:
                out.setdefault(value, name)
        return out

    def held(self, value: Value, node: Node, state: State) -> Value:
        """A value of a node as a state holds it."""
        return self.rescaled(value, self.storage.scale(node), self.storage.state_scale(state),
                             self.storage.state_kind(state))

    # One node.

    def _lower(self, node: Node) -> Value:
        s, b = self.storage, self.b
        kind = s.kind(node)
        match node:
            case Input(name=name):
                return b.leaf("input", kind, name)
            case Param(name=name):
                return b.leaf("param", "float", name)
            case Read(state=name):
                state = s.graph.state[name]
                old = b.leaf("state", s.state_kind(state), name)
                return self.rescaled(old, s.state_scale(state), s.scale(node), kind)
            case Const(value=value):
                return self._constant(value, node)
            case Index():
                found = read_element(node)
                assert found is not None
                leaf, element = found
                return b.leaf("input" if isinstance(leaf, Input) else "param", kind, leaf.name, element)
            case TableNode():
                return self._table(node)
            case Logic(op="not"):
                return b.test("not", self(node.args[0]))
            case Logic(op=op):
                out = self(node.args[0])
                for x in node.args[1:]:
                    out = b.test(op, out, self(x))
                return out
            case Compare():
                return self._compare(node)
            case Unary(function=name):
                return b.function(name, b.cast(self(node.x), "float"))
            case Divide():
                return b.op("div", b.cast(self(node.a), "float"), b.cast(self(node.b), "float"))
            case Mux() if kind == "bool":
                return b.select(self(node.condition), self(node.then), self(node.other))
        work = s.work_kind(node)
        return self._own(self._float(node) if work == "float" else self._integer(node, work), node, work)

    def _own(self, x: Value, node: Node, work: Kind) -> Value:
        """A result, calculated at the natural scale, at the node's own."""
        s = self.storage
        if work == "float":
            return self.b.cast(x, s.kind(node))
        return self.b.cast(self.rescaled(x, s.natural_scale(node), s.scale(node), work), s.kind(node))

    def _constant(self, value: ProgramValue, node: Node) -> Value:
        s = self.storage
        if s.kind(node) == "float":
            return self.b.const(to_float(value), "float")
        if isinstance(node.type, Bool):
            return self.b.const(bool(value), "bool")
        assert not isinstance(value, tuple)
        return self.b.const(int(Fraction(value) * s.scale(node)), s.kind(node))

    def _counts(self, node: Node, work: Kind) -> Callable[[Node], Value]:
        scale = self.storage.natural_scale(node)
        return lambda x: self.at(x, scale, work)

    def _integer(self, node: Node, work: Kind) -> Value:
        b, s = self.b, self.storage
        counts = self._counts(node, work)
        match node:
            case Affine():
                at = s.natural_scale(node)
                total = b.const(int(Fraction(node.bias) * at), work)
                for c, x in node.terms:
                    factor = Fraction(c) * at / s.scale(x)
                    assert factor.denominator == 1
                    total = b.op("add", total, b.op("mul", b.const(int(factor), work), b.cast(self(x), work)))
                return total
            case Mul(a=a, b=other):
                return b.op("mul", b.cast(self(a), work), b.cast(self(other), work))
            case Mux():
                return b.select(self(node.condition), counts(node.then), counts(node.other))
            case MinMax(op=op):
                out = counts(node.args[0])
                for x in node.args[1:]:
                    out = b.op(op, out, counts(x))
                return out
            case FloorDiv(op="%", x=x):
                divisor = b.const(int(Fraction(node.divisor) * s.natural_scale(node)), work)
                return b.op("remainder", counts(x), divisor)
            case FloorDiv(x=x):
                exact = Fraction(node.divisor)
                top = b.op("mul", b.cast(self(x), work), b.const(exact.denominator, work))
                return b.op("quotient", top, b.const(exact.numerator * s.scale(x), work))
            case _:
                raise AssertionError(f"{type(node).__name__} of a scalar graph")

    def _float(self, node: Node) -> Value:
        b = self.b
        if isinstance(node, Affine):
            total: Value | None = None
            for c, x in node.terms:
                term = b.op("mul", b.const(to_float(c), "float"), b.cast(self(x), "float"))
                total = term if total is None else b.op("add", total, term)
            bias = b.const(to_float(node.bias), "float")
            return bias if total is None else b.op("add", total, bias) if node.bias else total
        args = [b.cast(self(x), "float") for x in operands(node) if not isinstance(x.type, Bool)]
        match node:
            case Mul():
                return b.op("mul", *args)
            case Mux():
                return b.select(self(node.condition), *args)
            case MinMax(op=op):
                out = args[0]
                for y in args[1:]:
                    out = b.op(op, out, y)
                return out
            case FloorDiv(op=op):
                divisor = b.const(to_float(node.divisor), "float")
                return b.op("remainder", args[0], divisor) if op == "%" else \
                    b.function("floor", b.op("div", args[0], divisor))
            case _:
                raise AssertionError(f"{type(node).__name__} of a scalar graph")

    def _compare(self, node: Compare) -> Value:
        b, s = self.b, self.storage
        test = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le"}[node.op]
        if isinstance(node.a.type, Bool | Symbols):
            kind = wider(s.kind(node.a), s.kind(node.b))
            return b.test(test, b.cast(self(node.a), kind), b.cast(self(node.b), kind))
        work = s.work_kind(node)
        if work == "float":
            return b.test(test, b.cast(self(node.a), "float"), b.cast(self(node.b), "float"))
        counts = self._counts(node, work)
        return b.test(test, counts(node.a), counts(node.b))

    def _table(self, node: TableNode) -> Value:
        s, b = self.storage, self.b
        kind = s.kind(node)
        entries: list[Constant] = []
        for e in node.entries:
            value = convert(e, node.type, s.floats)
            assert not isinstance(value, tuple)
            entries.append(to_float(value) if kind == "float" else bool(value) if kind == "bool"
                           else int(Fraction(value) * s.scale(node)))
        if kind == "bool" and len(node.args) == 1 and len(entries) == 2 and isinstance(node.args[0].type, Bool):
            return b.select(self(node.args[0]), b.const(entries[1], "bool"), b.const(entries[0], "bool"))
        table = self.table(kind, tuple(entries))
        place = self.place([(x, lo, n) for x, lo, n in zip(node.args, node.los, node.sizes, strict=True)])
        return b.lookup(table, place)

    def table(self, kind: Kind, entries: tuple[Constant, ...]) -> Table:
        """The one table of those entries."""
        return self._tables.setdefault((kind, entries), Table(f"t{len(self._tables)}", kind, entries))

    def place(self, digits: list[tuple[Node, int, int]]) -> Value:
        """The place of some values in a table, row-major: nodes with their lowest value and number of values.

        A value outside counts as the nearest.
        """
        b = self.b
        place: Value | None = None
        for x, lo, n in digits:
            code = b.op("sub", b.cast(self(x), wider("int32", self.storage.kind(x))),
                        b.const(lo, wider("int32", self.storage.kind(x))))
            r = self.storage.range(x)
            if r.lo is None or r.hi is None or r.lo < lo or r.hi > lo + n - 1:
                code = b.clamp(code, 0, n - 1)
            code = b.cast(code, "int32")
            place = code if place is None else b.op("add", b.op("mul", place, b.const(n, "int32")), code)
        assert place is not None
        return place


def read_element(node: Node) -> tuple[Input | Param, int] | None:
    """The input or param that nested constant indices read, and the row-major place in it; None if it is no such."""
    place, stride, at = 0, 1, node
    while isinstance(at, Index):
        if not isinstance(at.index, Const) or not isinstance(at.index.value, int):
            return None
        size = shape(at.vector.type)[0]
        place += min(max(at.index.value, 0), size - 1) * stride
        stride *= size
        at = at.vector
    return (at, place) if isinstance(at, Input | Param) else None
