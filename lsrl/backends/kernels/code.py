"""Straight-line code over machine numbers: what every kernel backend prints, and what tests evaluate.

A `Value` is one operation on scalars (on tiles of them, in a backend that works on tiles). Equal values are one
value. Integers wrap at their width; booleans are values of their own kind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["FLOAT_FUNCTIONS", "Builder", "Constant", "Kind", "Table", "Value", "evaluate", "schedule", "wider"]

Kind: TypeAlias = Literal["bool", "int32", "int64", "float"]
Constant: TypeAlias = "bool | int | float"
FLOAT_FUNCTIONS = ("exp", "log", "sqrt", "sigmoid", "tanh", "softplus", "silu", "sin", "cos", "floor")
_RANK = {"bool": 0, "int32": 1, "int64": 2, "float": 3}
_ARITHMETIC = ("add", "sub", "mul", "div", "quotient", "remainder", "min", "max", "neg", "shl", "shr", "bitand",
               "bitor", "bitxor")
_TESTS = ("eq", "ne", "lt", "le", "and", "or", "not")


@dataclass(frozen=True)
class Table:
    """A constant array that code looks things up in. kind: of its entries."""

    name: str
    kind: Kind
    entries: tuple[Constant, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One operation.

    op, with its arguments and `attribute`:
      input: attribute (name, element); param: (name, element); state: (name, element), the value before the token;
      const: the number; lookup: a `Table`, the argument is a place in it, never outside;
      new, prev: (scan, component), of a scan whose leaf is the arguments: its state after, and before, the token;
      cast: to `kind`; a float becomes the integer below it, 0 if it is not finite;
      select: (condition, then, other); add sub mul neg, div (floats), quotient and remainder (floor, of integers by a
      positive constant), min max (NaN if an argument is NaN), shl shr (not negative), bitand bitor bitxor;
      eq ne lt le, and or not; and the functions of `FLOAT_FUNCTIONS`.
    """

    op: str
    args: tuple[Value, ...]
    kind: Kind
    attribute: Any = None


def wider(*kinds: Kind) -> Kind:
    """The kind that holds all of them (a float holds integers as far as it goes)."""
    return max(kinds, key=_RANK.__getitem__)


class Builder:
    """Makes values, equal ones once, and folds what constants decide. Floats are folded only where that is exact."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Value] = {}

    def _add(self, op: str, args: Sequence[Value], kind: Kind, attribute: Any = None) -> Value:
        key = (op, tuple(args), kind, repr(attribute) if isinstance(attribute, float) else attribute,
               type(attribute) is bool)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Value(op, tuple(args), kind, attribute)
        return found

    def leaf(self, op: str, kind: Kind, name: str, element: int = 0) -> Value:
        """An input, a param, or a state as it was before the token."""
        return self._add(op, (), kind, (name, element))

    def const(self, value: Constant, kind: Kind) -> Value:
        return self._add("const", (), kind, float(value) if kind == "float" else bool(value) if kind == "bool"
                         else int(value))

    def scanned(self, op: str, leaf: Sequence[Value], kind: Kind, scan: int, component: int) -> Value:
        return self._add(op, leaf, kind, (scan, component))

    def cast(self, x: Value, kind: Kind) -> Value:
        if x.kind == kind:
            return x
        if x.op == "const" and x.kind != "float":
            return self.const(x.attribute, kind)
        if kind == "bool":
            return self.test("ne", x, self.const(0, x.kind))
        if x.op == "cast" and x.args[0].kind != "float" and _RANK[x.args[0].kind] <= _RANK[kind] and kind != "float":
            return self.cast(x.args[0], kind)
        return self._add("cast", (x,), kind)

    def op(self, name: str, *args: Value) -> Value:
        """An arithmetic operation; its arguments are of one kind, which is the result's."""
        kind = args[0].kind
        assert name in _ARITHMETIC and all(a.kind == kind for a in args) and kind != "bool", (name, args)
        known = [a.attribute if a.op == "const" else None for a in args]
        if kind != "float" and None not in known:
            return self.const(_wrapped(_INTEGER[name](*known), kind), kind)
        match name, known:
            case ("add", [0, _]) if kind != "float":
                return args[1]
            case ("add" | "sub", [_, 0]) if kind != "float":
                return args[0]
            case ("mul", [1, _]):
                return args[1]
            case ("mul", [_, 1]):
                return args[0]
            case ("mul", [-1, _]):
                return self.op("neg", args[1])
            case ("mul", [_, -1]):
                return self.op("neg", args[0])
            case ("mul", [0, _] | [_, 0]) if kind != "float":
                return self.const(0, kind)
            case ("quotient", [_, 1]):
                return args[0]
            case ("min" | "max", _) if args[0] is args[1]:
                return args[0]
        return self._add(name, args, kind)

    def test(self, name: str, *args: Value) -> Value:
        """A comparison of two values of one kind, or logic on booleans."""
        assert name in _TESTS and all(a.kind == args[0].kind for a in args), (name, args)
        known = [a.attribute if a.op == "const" else None for a in args]
        if None not in known:
            return self.const(_TEST[name](*known), "bool")
        if name in ("and", "or"):
            a, b = args
            decides = name == "or"
            for x, other in ((a, b), (b, a)):
                if x.op == "const":
                    return x if x.attribute == decides else other
            if a is b:
                return a
        if name == "not" and args[0].op == "not":
            return args[0].args[0]
        return self._add(name, args, "bool")

    def select(self, condition: Value, then: Value, other: Value) -> Value:
        assert condition.kind == "bool" and then.kind == other.kind, (condition, then, other)
        if condition.op == "const":
            return then if condition.attribute else other
        if then is other:
            return then
        if then.kind == "bool" and then.op == other.op == "const":
            return condition if then.attribute else self.test("not", condition)
        if condition.op == "not":
            return self.select(condition.args[0], other, then)
        return self._add("select", (condition, then, other), then.kind)

    def function(self, name: str, x: Value) -> Value:
        """A function of `FLOAT_FUNCTIONS`."""
        assert name in FLOAT_FUNCTIONS and x.kind == "float"
        return self._add(name, (x,), "float")

    def lookup(self, table: Table, place: Value) -> Value:
        """The entry at a place, which is never outside the table."""
        if place.op == "const":
            return self.const(table.entries[place.attribute], table.kind)
        if all(e == table.entries[0] for e in table.entries) and table.kind != "float":
            return self.const(table.entries[0], table.kind)
        return self._add("lookup", (place,), table.kind, table)

    def clamp(self, x: Value, lo: int, hi: int) -> Value:
        """An integer brought into lo..hi."""
        return self.op("min", self.op("max", x, self.const(lo, x.kind)), self.const(hi, x.kind))

    def all(self, values: Iterable[Value]) -> Value:
        """Whether all of some booleans hold."""
        out = self.const(True, "bool")
        for v in values:
            out = self.test("and", out, v)
        return out


def schedule(roots: Iterable[Value], known: Collection[Value] = ()) -> list[Value]:
    """The values that roots need, arguments first, but for those that only known ones need; without recursion."""
    order: list[Value] = []
    done: set[Value] = set()
    stack: list[tuple[Value, bool]] = [(r, False) for r in reversed(list(roots))]
    while stack:
        value, ready = stack.pop()
        if value in done:
            continue
        if ready:
            done.add(value)
            order.append(value)
        else:
            stack.append((value, True))
            if value not in known:
                stack.extend((a, False) for a in reversed(value.args) if a not in done)
    return order


def _wrapped(x: int, kind: Kind) -> int:
    half = 1 << (31 if kind == "int32" else 63)
    return (x + half) % (2 * half) - half


_INTEGER: dict[str, Callable[..., int]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "neg": lambda a: -a,
    "quotient": lambda a, b: a // b, "remainder": lambda a, b: a % b, "min": min, "max": max,
    "shl": lambda a, b: a << b, "shr": lambda a, b: a >> b, "bitand": lambda a, b: a & b,
    "bitor": lambda a, b: a | b, "bitxor": lambda a, b: a ^ b}
_TEST: dict[str, Callable[..., bool]] = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "and": lambda a, b: a and b, "or": lambda a, b: a or b, "not": lambda a: not a}


def evaluate(roots: Sequence[Value], leaves: Mapping[Value, Constant]) -> list[Constant]:
    """The numbers of some values in Python, those of their leaves given: the meaning that emitters are tested against.

    Floats are float64.
    """
    from lsrl.arithmetic import divide, float_to_int, floor_quotient, fold_max, fold_min, unary

    known: dict[Value, Any] = dict(leaves)
    for v in schedule(roots):
        if v in known:
            continue
        args = [known[a] for a in v.args]
        match v.op:
            case "const":
                known[v] = v.attribute
            case "cast":
                known[v] = (float_to_int(floor_quotient(args[0], 1.0)) if v.args[0].kind == "float" else
                            float(args[0]) if v.kind == "float" else _wrapped(int(args[0]), v.kind))
            case "select":
                known[v] = args[1] if args[0] else args[2]
            case "lookup":
                known[v] = v.attribute.entries[args[0]]
            case "floor":
                known[v] = floor_quotient(args[0], 1.0)
            case "div":
                known[v] = divide(*args)
            case "min" | "max" if v.kind == "float":
                known[v] = (fold_min if v.op == "min" else fold_max)(*args)
            case "remainder" if v.kind == "float":
                from lsrl.arithmetic import floor_remainder

                known[v] = floor_remainder(*args)
            case _ if v.op in _TEST:
                known[v] = _TEST[v.op](*args)
            case _ if v.op in _INTEGER:
                result = _INTEGER[v.op](*args)
                known[v] = result if v.kind == "float" else _wrapped(result, v.kind)
            case _ if v.op in FLOAT_FUNCTIONS:
                known[v] = unary(v.op)(args[0])
            case _:
                raise ValueError(f"{v.op} has no value of its own")
    return [known[r] for r in roots]
