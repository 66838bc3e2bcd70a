"""The meaning of programs by walking the syntax tree, token by token: what the elaborator is compared with.

It shares no code with the compiler but the parser and the types' names. State is a variable, a call is an object with
variables of its own, an `if` runs one branch. Symbols are their names; library functions look at their whole history.
Of numeric programs and of what `tests.strategies` does not write it knows nothing.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from lsrl.frontend import syntax as s
from lsrl.types import BOOL, INT, REAL, Int, Real, Symbols, Type, Vector, shape

__all__ = ["Reference"]

Env = dict[str, tuple[Any, "Type | None"]]
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv, "%": operator.mod,
    "/": lambda a, b: Fraction(a) / Fraction(b)}


def each(f: Callable[..., Any], *xs: Any) -> Any:
    """Element by element; scalars spread."""
    n = next((len(x) for x in xs if isinstance(x, tuple)), None)
    if n is None:
        return f(*xs)
    return tuple(each(f, *(x[i] if isinstance(x, tuple) else x for x in xs)) for i in range(n))


_TYPE_EXPRESSIONS = (s.TypeName, s.RangeType, s.ArrayType, s.AlphabetType, s.UnionType, s.RecordType)


class Instance:
    """One copy of a definition: its states, the copies it calls, and the histories of the library functions."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.calls: dict[object, Instance] = {}
        self.history: dict[object, list[list[Any]]] = {}


class Reference:
    """Runs the program `main` of a file."""

    def __init__(self, file: s.File) -> None:
        self.items = {i.name.id: i for i in file.items if not isinstance(i, s.Import)}
        self.constants: Env = {}
        for item in file.items:
            if isinstance(item, s.ConstDecl):
                self.constants[item.name.id] = Walk(self, Instance(), {}).value(item.value), None
        self.top = Instance()

    def step(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs of one token. Symbols go in and come out by name."""
        d = self.items["main"]
        assert isinstance(d, s.Definition)
        walk = Walk(self, self.top, {})
        result = walk.body(d, [row[p.name.id] for p in d.parameters])
        return result if isinstance(result, dict) else {"out": result}


class Walk:
    """One token in one copy of a definition."""

    def __init__(self, program: Reference, instance: Instance, env: Env) -> None:
        self.program, self.instance, self.env = program, instance, dict(env)
        self.turns: tuple[int, ...] = ()

    def body(self, d: s.Definition, arguments: Sequence[Any]) -> Any:
        for p, value in zip(d.parameters, arguments, strict=True):
            t = None if p.type is None else self.type(p.type)
            self.env[p.name.id] = fit(value, t), t
        for statement in d.body:
            if isinstance(statement, s.Return):
                result = self.value(statement.value)
                t = None if d.result is None or isinstance(d.result, s.RecordType) else self.type(d.result)
                return fit(result, t)
            self.statement(statement)
        raise AssertionError("no return")

    def block(self, body: Sequence[s.Statement]) -> None:
        outside = set(self.env)
        for statement in body:
            self.statement(statement)
        self.env = {n: v for n, v in self.env.items() if n in outside}

    def statement(self, x: s.Statement) -> None:
        match x:
            case s.StateDecl():
                t = self.type(x.type)
                if x.name.id not in self.instance.state:
                    self.instance.state[x.name.id] = fit(self.value(x.init), t)
                self.env[x.name.id] = None, t
            case s.Bind():
                t = None if x.type is None else self.type(x.type)
                self.env[x.name.id] = fit(self.value(x.value), t), t
            case s.Assign(indices=()):
                self.instance.state[x.name.id] = fit(self.value(x.value), self.env[x.name.id][1])
            case s.Assign():
                (index,) = x.indices
                vector = list(self.instance.state[x.name.id])
                place, value = self.value(index), self.value(x.value)
                vector[place] = value
                self.instance.state[x.name.id] = fit(tuple(vector), self.env[x.name.id][1])
            case s.If():
                for condition, body in x.branches:
                    if self.value(condition):
                        self.block(body)
                        return
                self.block(x.orelse)
            case s.For():
                for turn, item in enumerate(self.range(x.source)):
                    self.turns = (*self.turns, turn)
                    self.env[x.name.id] = item, None
                    self.block(x.body)
                    self.turns = self.turns[:-1]
                del self.env[x.name.id]
            case s.Assert() | s.Assume():
                assert self.value(x.condition)
            case _:
                raise AssertionError(x)

    def range(self, source: s.Expr | s.Range) -> list[Any]:
        if isinstance(source, s.Range):
            return list(range(self.value(source.lo), self.value(source.hi) + 1))
        return list(self.value(source))

    def type(self, t: s.TypeExpr) -> Type | None:
        match t:
            case s.TypeName():
                item = self.program.items.get(t.name.id)
                if isinstance(item, s.TypeDecl):
                    return self.type(item.type)
                known: dict[str, Type] = {"bool": BOOL, "int": INT, "real": REAL}
                return known.get(t.name.id)
            case s.RangeType():
                lo, hi = self.value(t.lo), self.value(t.hi)
                return Int(lo, hi) if t.base == "int" else Real(Fraction(lo), Fraction(hi))
            case s.AlphabetType():
                names = tuple(i.value for i in t.items if isinstance(i, s.String))
                return Symbols(names, None in t.items)
            case s.ArrayType(dims=(n,)):
                elem = self.type(t.elem)
                assert elem is not None
                return Vector(elem, self.value(n))
            case _:
                raise AssertionError(t)

    # ---- expressions

    def value(self, e: s.Expr) -> Any:
        match e:
            case s.Name():
                if e.id in self.instance.state and e.id in self.env:
                    return self.instance.state[e.id]
                return (self.env.get(e.id) or self.program.constants[e.id])[0]
            case s.Number() | s.Truth() | s.String():
                return e.value
            case s.Chain():
                result = self.value(e.first)
                for op, part in e.rest:
                    other = self.value(part)
                    result = matmul(result, other) if op == "@" else each(ARITHMETIC[op], result, other)
                return result
            case s.Comparison():
                parts = [self.value(e.first), *(self.value(x) for _, x in e.rest)]
                pairs = [each(COMPARE[op], parts[i], parts[i + 1]) for i, (op, _) in enumerate(e.rest)]
                return each(lambda *xs: all(xs), *pairs)
            case s.BoolOp():
                args = [self.value(a) for a in e.args]
                if isinstance(args[0], Selector):
                    return Selector.join(e.op, args)
                return each(lambda *xs: all(xs) if e.op == "and" else any(xs), *args)
            case s.Not():
                arg = self.value(e.arg)
                return Selector.join("not", [arg]) if isinstance(arg, Selector) else each(operator.not_, arg)
            case s.Negate():
                return each(operator.neg, self.value(e.arg))
            case s.Power():
                return each(operator.pow, self.value(e.base), self.value(e.exponent))
            case s.IfElse():
                condition, then, other = self.value(e.condition), self.value(e.then), self.value(e.other)
                return each(lambda c, a, b: a if c else b, condition, then, other) if isinstance(condition, tuple) \
                    else then if condition else other
            case s.Match():
                subject, values = self.value(e.subject), [self.value(a.value) for a in e.arms]
                return next(v for a, v in zip(e.arms, values, strict=True) if self.matches(a, subject))
            case s.VectorLiteral():
                return tuple(self.value(x) for x in e.elements)
            case s.Comprehension():
                return self.comprehension(e)
            case s.RecordLiteral():
                return {name.id: self.value(x) for name, x in e.fields}
            case s.Field():
                return self.value(e.value)[e.name.id]
            case s.Subscript(indices=(index,)):
                vector = self.value(e.value)
                if isinstance(index, s.Range):
                    return vector[self.value(index.lo) : self.value(index.hi) + 1]
                return vector[self.value(index)]
            case s.Call():
                return self.call(e)
            case _:
                raise AssertionError(e)

    def matches(self, arm: s.Arm, subject: Any) -> bool:
        return arm.patterns is None or any(
            self.value(p.lo) <= subject <= self.value(p.hi) if isinstance(p, s.Range) else subject == self.value(p)
            for p in arm.patterns)

    def comprehension(self, e: s.Comprehension) -> Any:
        out = []
        for turn, item in enumerate(self.range(e.source)):
            self.turns = (*self.turns, turn)
            self.env[e.name.id] = item, None
            out.append(self.value(e.value))
            self.turns = self.turns[:-1]
        del self.env[e.name.id]
        return tuple(out)

    def type_of(self, e: s.Expr | s.TypeExpr) -> Type:
        """The type of a name: the declared one or, of a Boolean, what the value says."""
        assert isinstance(e, s.Name)
        t = BOOL if isinstance(self.value(e), bool) else self.env[e.id][1]
        assert t is not None
        return t

    def call(self, e: s.Call) -> Any:
        name = e.function.id
        item = self.program.items.get(name)
        args = [self.value(a) for a in [*e.args, *(v for _, v in e.named)]
                if not isinstance(a, s.Operator) and not isinstance(a, _TYPE_EXPRESSIONS)]
        key = (id(e), self.turns)
        if isinstance(item, s.Definition):
            walk = Walk(self.program, self.instance.calls.setdefault(key, Instance()), {})
            return walk.body(item, args)
        if name == "select":
            op = e.args[2]
            assert isinstance(op, s.Operator)
            history = self.instance.history.setdefault(key, [])
            history.append(args)
            return Selector([h[0] for h in history], lambda k: COMPARE[op.op](k, args[1]))
        if name in PURE:
            return PURE[name](*args)
        if name in TYPED:
            t = self.type_of(e.args[0])
            history = self.instance.history.setdefault(key, [])
            history.append(args)
            return TYPED[name](t, history)
        history = self.instance.history.setdefault(key, [])
        history.append(args)
        return LIBRARY[name](history)


class Selector:
    """Which tokens so far are selected now. `keys` is one list or, joined, absent: `picks` then takes places."""

    def __init__(self, keys: list[Any], condition: Callable[[Any], bool]) -> None:
        self.picks = [condition(k) for k in keys]

    @staticmethod
    def join(op: str, parts: list[Selector]) -> Selector:
        joined = Selector([], bool)
        columns = list(zip(*(p.picks for p in parts), strict=True))
        joined.picks = [not c[0] if op == "not" else all(c) if op == "and" else any(c) for c in columns]
        return joined


def fit(value: Any, t: Type | None) -> Any:
    """A value of a declared type: symbols not named become `*`, scalars fill a vector, ints are reals."""
    if isinstance(t, Vector):
        parts = value if isinstance(value, tuple) else (value,) * t.size
        assert len(parts) == t.size and len(shape(t)) >= 1
        return tuple(fit(v, t.elem) for v in parts)
    if isinstance(t, Symbols):
        assert isinstance(value, str) and (value in t.names or t.other)
        return value if value in t.names else "*"
    return value


def code(t: Type, value: Any) -> int:
    """The place of a value among those of its type."""
    if isinstance(t, Symbols):
        return t.names.index(value) if value in t.names else len(t.names)
    return int(value) - ((t.lo or 0) if isinstance(t, Int) else 0)


def size(t: Type) -> int:
    if isinstance(t, Symbols):
        return len(t.names) + t.other
    return 2 if t == BOOL else (t.hi or 0) - (t.lo or 0) + 1 if isinstance(t, Int) else 0


def concat(*parts: Any) -> Any:
    return tuple(x for p in parts for x in (p if isinstance(p, tuple) else (p,)))


def matmul(a: Any, b: Any) -> Any:
    """A matrix or vector by a vector."""
    return tuple(matmul(row, b) for row in a) if isinstance(a[0], tuple) else sum(map(operator.mul, a, b))


def extreme(pick: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *xs: pick(xs[0]) if len(xs) == 1 else each(pick, *xs)


def product(v: Sequence[Any]) -> Any:
    result = v[0]
    for x in v[1:]:
        result *= x
    return result


PURE: dict[str, Callable[..., Any]] = {
    "int": lambda x: each(int, x), "real": lambda x: each(Fraction, x), "bool": lambda x: each(bool, x),
    "abs": lambda x: each(abs, x), "sign": lambda x: each(lambda a: (a > 0) - (a < 0), x),
    "step": lambda x: each(lambda a: int(a > 0), x), "relu": lambda x: each(lambda a: max(a, 0), x),
    "clamp": lambda x, lo, hi: each(lambda a, b, c: min(c, max(b, a)), x, lo, hi), "min": extreme(min),
    "max": extreme(max), "sum": sum, "prod": product, "any": any, "all": all, "concat": concat,
    "argmax": lambda v: v.index(max(v)), "argmin": lambda v: v.index(min(v)),
    "width": lambda sel: sum(sel.picks), "zeros": lambda n: (0,) * n, "ones": lambda n: (1,) * n,
}
TYPED: dict[str, Callable[[Type, list[list[Any]]], Any]] = {
    "code": lambda t, h: code(t, h[-1][0]),
    "onehot": lambda t, h: tuple(int(code(t, h[-1][0]) == k) for k in range(size(t))),
    "counts": lambda t, h: tuple(sum(code(t, x) == k for (x,) in h) for k in range(size(t))),
    "seen": lambda t, h: tuple(any(code(t, x) == k for (x,) in h) for k in range(size(t))),
    "most_frequent": lambda t, h: max(h, key=lambda x: (sum(y == x for y in h), -code(t, x[0])))[0],
}


def last_where(h: list[list[Any]]) -> Any:
    """hold(x, p, init)."""
    held = [x for x, p, _ in h if p]
    return held[-1] if held else h[-1][2]


def run_length(h: list[list[Any]]) -> int:
    n = 1
    while n < len(h) and h[-n - 1] == h[-1]:
        n += 1
    return n


def since(h: list[list[Any]]) -> int:
    return next((i for i, (p,) in enumerate(reversed(h)) if p), len(h))


def recall(h: list[list[Any]]) -> Any:
    stored = [value for key, value, *_ in h if key == h[-1][2]]
    return stored[-1] if stored else h[-1][3]


def window(h: list[list[Any]]) -> Any:
    _, k, init = h[-1]
    return tuple(([init] * k + [row[0] for row in h])[-k:])


def latch(h: list[list[Any]]) -> bool:
    on = False
    for turn_on, turn_off in h:
        on = turn_on or (on and not turn_off)
    return on


def searched(find: Callable[..., Any]) -> Callable[[list[list[Any]]], bool]:
    """A text of symbols of one character; `*` is a character that no expression names."""
    return lambda h: find(h[-1][1], "".join("\x00" if c == "*" else c for c, _ in h)) is not None


LIBRARY: dict[str, Callable[[list[list[Any]]], Any]] = {
    "count": lambda h: sum(p for (p,) in h), "since": since, "run_length": run_length, "window": window,
    "running_sum": lambda h: sum(x for (x,) in h), "running_max": lambda h: max(x for (x,) in h),
    "running_min": lambda h: min(x for (x,) in h), "hold": last_where, "recall": recall, "latch": latch,
    "prev": lambda h: h[-2][0] if len(h) > 1 else h[-1][1],
    "delay": lambda h: h[-1 - h[-1][1]][0] if len(h) > h[-1][1] else h[-1][2],
    "ever": lambda h: any(p for (p,) in h), "always": lambda h: all(p for (p,) in h),
    "parity": lambda h: sum(p for (p,) in h) % 2 == 1, "index": lambda h: len(h) - 1,
    "first_token": lambda h: len(h) == 1, "modulo_counter": lambda h: (len(h) - 1) % h[0][0],
    "rising": lambda h: h[-1][0] and not (len(h) > 1 and h[-2][0]),
    "falling": lambda h: len(h) > 1 and h[-2][0] and not h[-1][0],
    "occurrences": lambda h: sum(x == h[-1] for x in h), "distinct": lambda h: len({x for (x,) in h}),
    "aggregate": lambda h: sum(v for v, p in zip((r[1] for r in h), h[-1][0].picks, strict=True) if p),
    "matches": searched(re.fullmatch), "contains": searched(re.search),
}
