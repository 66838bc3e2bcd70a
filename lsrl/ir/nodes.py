"""The nodes of the dataflow graph, all on one screen.

A node computes one value at every token from the values of its operands at the same token; only `Read`
looks back. Nodes are immutable and compared by identity; equal nodes are made one by `GraphBuilder`.
Each has a `type` and the `span` of the text it came from. A node that is ill-typed cannot be built.

Operands may be vectors where the field says `*`: such a node acts element by element, and scalar operands
spread. Everything is total: checks (`Graph.checks`) say where a value is out of its domain, nodes never fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, TypeAlias

from lsrl.diagnostics import Span
from lsrl.types import Bool, Int, Real, Symbols, Type, Value, Vector, is_number, scalar_of, shape

__all__ = ["Affine", "Compare", "Const", "Divide", "FloorDiv", "IllTypedError", "Index", "Input", "Logic", "MatMul",
           "MinMax", "Mul", "Mux", "Node", "Pack", "Param", "Read", "Slice", "Table", "Unary", "UNARY_FUNCTIONS",
           "map_operands", "operands"]

UNARY_FUNCTIONS = ("exp", "log", "sqrt", "sigmoid", "tanh", "softplus", "silu", "sin", "cos")


class IllTypedError(TypeError):
    """A node was built from operands that it cannot have: a fault of the compiler, never of a program."""


def _require(ok: bool, node: object, why: str) -> None:
    if not ok:
        raise IllTypedError(f"{type(node).__name__}: {why}")


def _require_spread(node: Node, *args: Node) -> None:
    """The node's shape is that of its vector operands; scalars spread."""
    dims = {shape(a.type) for a in args} - {()}
    if len(dims) > 1:
        _require(False, node, f"operands of different shapes {sorted(dims)}")
    _require(shape(node.type) == (dims.pop() if dims else ()), node, "result has another shape than its operands")


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """An input stream of the program."""

    name: str
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Const:
    value: Value
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Param:
    """A learnable constant. `init` is (kind, arguments): zeros, ones, normal(sd), uniform(lo, hi) or const(value)."""

    name: str
    init: tuple[str, tuple[Value, ...]]
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """The value a state had after the token before; its initial value at the first."""

    state: str
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """Σ coefficient · operand + bias over numbers and bools (as 0, 1); scalar coefficients; `*` operands.

    An `Affine` of type real over ints is the conversion, one over a bool of type int is `int(b)`.
    """

    terms: tuple[tuple[int | Fraction, Node], ...]
    bias: int | Fraction
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        _require(is_number(scalar_of(self.type)), self, f"result type {self.type}")
        _require(all(is_number(scalar_of(x.type)) or isinstance(scalar_of(x.type), Bool) for _, x in self.terms),
                 self, "operands are numbers or bools")
        if isinstance(scalar_of(self.type), Int):
            _require(all(c.denominator == 1 and not isinstance(scalar_of(x.type), Real)
                         for c, x in self.terms) and self.bias.denominator == 1, self, "not an integer")
        _require_spread(self, *(x for _, x in self.terms))


@dataclass(frozen=True, slots=True, eq=False)
class Mul:
    """Product of two number streams; `*` operands."""

    a: Node
    b: Node
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ("a", "b")

    def __post_init__(self) -> None:
        _require(all(is_number(scalar_of(x.type)) for x in (self.a, self.b, self)), self, "numbers only")
        _require_spread(self, self.a, self.b)


@dataclass(frozen=True, slots=True, eq=False)
class Divide:
    """Quotient by a stream: makes the program numeric; IEEE float64; `*` operands."""

    a: Node
    b: Node
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ("a", "b")

    def __post_init__(self) -> None:
        _require(isinstance(scalar_of(self.type), Real), self, "the result is real")
        _require(all(is_number(scalar_of(x.type)) for x in (self.a, self.b)), self, "numbers only")
        _require_spread(self, self.a, self.b)


@dataclass(frozen=True, slots=True, eq=False)
class MatMul:
    """(n, m) @ (m,) → (n,); (n, m) @ (m, k) → (n, k); (m,) @ (m,) → scalar."""

    a: Node
    b: Node
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ("a", "b")

    def __post_init__(self) -> None:
        a, b = shape(self.a.type), shape(self.b.type)
        _require(len(a) in (1, 2) and len(b) in (1, 2) and a[-1] == b[0], self, f"shapes {a} @ {b}")
        _require(shape(self.type) == a[:-1] + b[1:], self, "result shape")


@dataclass(frozen=True, slots=True, eq=False)
class Compare:
    """`==`, `!=`, `<` or `<=` of two numbers (a < b), or equality of two bools or of one alphabet; `*` operands."""

    op: str
    a: Node
    b: Node
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ("a", "b")

    def __post_init__(self) -> None:
        a, b = scalar_of(self.a.type), scalar_of(self.b.type)
        _require(self.op in ("==", "!=", "<", "<="), self, f"operator {self.op}")
        _require(isinstance(scalar_of(self.type), Bool), self, "the result is bool")
        same = isinstance(a, Bool) and isinstance(b, Bool) or isinstance(a, Symbols) and a == b
        if not (is_number(a) and is_number(b) or same and self.op in ("==", "!=")):
            _require(False, self, f"{a} {self.op} {b}")
        _require_spread(self, self.a, self.b)


@dataclass(frozen=True, slots=True, eq=False)
class Logic:
    """`and`, `or` of any number of bools, `not` of one; `*` operands."""

    op: str
    args: tuple[Node, ...]
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ("args",)

    def __post_init__(self) -> None:
        _require((self.op in ("and", "or") and bool(self.args)) or (self.op == "not" and len(self.args) == 1),
                 self, self.op)
        _require(all(isinstance(scalar_of(x.type), Bool) for x in (*self.args, self)), self, "bools only")
        _require_spread(self, *self.args)


@dataclass(frozen=True, slots=True, eq=False)
class Mux:
    """`then` where the bool `condition` holds, else `other`; the condition may be a scalar over vectors; `*`."""

    condition: Node
    then: Node
    other: Node
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ("condition", "then", "other")

    def __post_init__(self) -> None:
        _require(isinstance(scalar_of(self.condition.type), Bool), self, "the condition is bool")
        kinds = {type(scalar_of(x.type)) for x in (self.then, self.other)}
        own = type(scalar_of(self.type))
        _require(kinds == {own} or (kinds <= {Int, Real} and own is Real), self, "branches of different types")
        _require_spread(self, self.condition, self.then, self.other)


@dataclass(frozen=True, slots=True, eq=False)
class MinMax:
    """`min` or `max` of one or more numbers; `*` operands."""

    op: str
    args: tuple[Node, ...]
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ("args",)

    def __post_init__(self) -> None:
        _require(self.op in ("min", "max") and bool(self.args), self, self.op)
        _require(all(is_number(scalar_of(x.type)) for x in (*self.args, self)), self, "numbers only")
        _require_spread(self, *self.args)


@dataclass(frozen=True, slots=True, eq=False)
class FloorDiv:
    """`//` (the floor of the quotient) or `%` (its remainder, never negative) by a positive constant; `*` operand."""

    op: str
    x: Node
    divisor: int | Fraction
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ("x",)

    def __post_init__(self) -> None:
        _require(self.op in ("//", "%") and self.divisor > 0, self, f"{self.op} {self.divisor}")
        _require(is_number(scalar_of(self.x.type)) and is_number(scalar_of(self.type)), self, "numbers only")
        _require_spread(self, self.x)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A function of finite scalars by enumeration.

    Argument k has `sizes[k]` values: the codes `los[k]`, `los[k] + 1`, … (0 for bools and symbols); one outside
    counts as the nearest. `entries` holds the results row-major, the last argument fastest.
    """

    args: tuple[Node, ...]
    los: tuple[int, ...]
    sizes: tuple[int, ...]
    entries: tuple[Value, ...]
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ("args",)

    def __post_init__(self) -> None:
        _require(bool(self.args) and len(self.args) == len(self.los) == len(self.sizes), self, "one domain an argument")
        _require(all(isinstance(x.type, Bool | Int | Symbols) for x in self.args), self, "arguments are finite scalars")
        n = 1
        for s in self.sizes:
            n *= s
        _require(n == len(self.entries), self, f"{len(self.entries)} entries for {n} argument values")
        _require(not isinstance(self.type, Vector), self, "the result is a scalar")


@dataclass(frozen=True, slots=True, eq=False)
class Unary:
    """A transcendental function: makes the program numeric; float64; `*` operand."""

    function: str
    x: Node
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ("x",)

    def __post_init__(self) -> None:
        _require(self.function in UNARY_FUNCTIONS, self, self.function)
        _require(isinstance(scalar_of(self.type), Real) and is_number(scalar_of(self.x.type)), self, "reals only")
        _require_spread(self, self.x)


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """A vector of its elements (a matrix of its rows)."""

    elements: tuple[Node, ...]
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ("elements",)

    def __post_init__(self) -> None:
        _require(isinstance(self.type, Vector) and self.type.size == len(self.elements), self, "a vector of that size")
        _require(all(shape(e.type) == shape(self.type)[1:] for e in self.elements), self, "elements of one shape")


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """`vector[index]` by an int stream or constant, from 0; an index outside counts as the nearest."""

    vector: Node
    index: Node
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ("vector", "index")

    def __post_init__(self) -> None:
        _require(isinstance(self.vector.type, Vector) and shape(self.type) == shape(self.vector.type)[1:],
                 self, "shapes")
        _require(isinstance(self.index.type, Int), self, "the index is an int")


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Elements lo to hi of a vector, both included."""

    vector: Node
    lo: int
    hi: int
    type: Type
    span: Span
    operand_fields: ClassVar[tuple[str, ...]] = ("vector",)

    def __post_init__(self) -> None:
        v, t = self.vector.type, self.type
        _require(isinstance(v, Vector) and isinstance(t, Vector) and 0 <= self.lo <= self.hi < v.size
                 and t.size == self.hi - self.lo + 1, self, "bounds")


Node: TypeAlias = (Input | Const | Param | Read | Affine | Mul | Divide | MatMul | Compare | Logic | Mux | MinMax
                   | FloorDiv | Table | Unary | Pack | Index | Slice)


def operands(node: Node) -> tuple[Node, ...]:
    """The nodes a node reads at the same token, in order: the one traversal that all analyses share."""
    if isinstance(node, Affine):
        return tuple([x for _, x in node.terms])
    found = _reader(node.operand_fields)(node)
    return found if isinstance(found, tuple) else (found,)


@cache
def _reader(names: tuple[str, ...]) -> Callable[[Node], Any]:
    """Reads fields of a node: a tuple of nodes, or one node."""
    return attrgetter(*names) if names else lambda _: ()


def map_operands(node: Node, f: Callable[[Node], Node]) -> Node:
    """The node over other operands of the same types' kinds; the node itself if none of them changed."""
    old = operands(node)
    new = tuple(f(x) for x in old)
    if all(a is b for a, b in zip(old, new, strict=True)):
        return node
    if isinstance(node, Affine):
        return replace(node, terms=tuple((c, x) for (c, _), x in zip(node.terms, new, strict=True)))
    changes: dict[str, object] = {}
    rest = iter(new)
    for name in node.operand_fields:
        value = getattr(node, name)
        changes[name] = tuple(next(rest) for _ in value) if isinstance(value, tuple) else next(rest)
    return replace(node, **changes)  # type: ignore[arg-type]
