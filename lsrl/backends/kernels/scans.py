"""Cells as scans: for each class what one token does to a cell (an element), and how two such effects compose.

A scan's element is a tuple of values. `leaf` is the element of a token, calculated from what is outside the cell;
`combine(b, x, y)` is the element of x and then y, and is associative; `apply(b, x, carried)` is what the cell carries
after x. What is carried is the cell's states, or one number that stands for all of them (`enter`, `leave`).

Blelloch 1990, "Prefix sums and their applications", for the affine scan; Ladner and Fischer 1980 for automata: the
element of a letter is its map of states, here packed into the fields of one integer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from lsrl.backends.kernels.code import Builder, Constant, Kind, Table, Value

__all__ = ["Affine", "Clamp", "Cyclic", "Latch", "Maps", "Scan", "Segmented", "Shift", "Sum"]

Element = tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Scan(ABC):
    """states: the names of the cell's states, in order. carried: the kinds of what is carried. leaf: see above."""

    states: tuple[str, ...]
    carried: tuple[Kind, ...]
    leaf: Element
    method: ClassVar[str]
    """The name of the way to scan, as plans print it."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Of an element's components."""
        return tuple(v.kind for v in self.leaf)

    @abstractmethod
    def identity(self) -> tuple[Constant, ...]:
        """The element that changes nothing."""

    @abstractmethod
    def combine(self, b: Builder, first: Element, then: Element) -> Element:
        """The element of one and then another."""

    @abstractmethod
    def apply(self, b: Builder, element: Element, carried: Element) -> Element:
        """What is carried after an element."""

    def enter(self, b: Builder, states: Element) -> Element:
        """What is carried, from the cell's states."""
        return states

    def leave(self, b: Builder, carried: Element) -> Element:
        """The cell's states, from what is carried."""
        return carried

    def neutral(self, b: Builder) -> Element:
        """`identity` as values."""
        return tuple(b.const(x, k) for x, k in zip(self.identity(), self.kinds, strict=True))


@dataclass(frozen=True, eq=False)
class Shift(Scan):
    """s := u. Its new values are the leaf itself, its old ones those of the token before: nothing is scanned."""

    method: ClassVar[str] = "shift"

    def identity(self) -> tuple[Constant, ...]:
        return (False, *(0 for _ in self.leaf[1:]))

    def combine(self, b: Builder, first: Element, then: Element) -> Element:
        written = b.test("or", first[0], then[0])
        return (written, *(b.select(then[0], y, x) for x, y in zip(first[1:], then[1:], strict=True)))

    def apply(self, b: Builder, element: Element, carried: Element) -> Element:
        return tuple(b.select(element[0], v, c) for v, c in zip(element[1:], carried, strict=True))


@dataclass(frozen=True, eq=False)
class Latch(Shift):
    """s := value where it is written, else s: element (written, value); the later one that wrote counts."""

    method: ClassVar[str] = "latch"


@dataclass(frozen=True, eq=False)
class Sum(Scan):
    """s := s + u."""

    method: ClassVar[str] = "sum"

    def identity(self) -> tuple[Constant, ...]:
        return (0,)

    def combine(self, b: Builder, first: Element, then: Element) -> Element:
        return (b.op("add", first[0], then[0]),)

    def apply(self, b: Builder, element: Element, carried: Element) -> Element:
        return (b.op("add", carried[0], element[0]),)


@dataclass(frozen=True, eq=False)
class Affine(Scan):
    """s := M s + u over n states, M and u from outside: element (M row-major, u)."""

    method: ClassVar[str] = "affine"

    @property
    def size(self) -> int:
        return len(self.states)

    def identity(self) -> tuple[Constant, ...]:
        n = self.size
        return (*(int(i == j) for i in range(n) for j in range(n)), *(0 for _ in range(n)))

    def combine(self, b: Builder, first: Element, then: Element) -> Element:
        n = self.size
        product = [_dot(b, [then[i * n + k] for k in range(n)], [first[k * n + j] for k in range(n)])
                   for i in range(n) for j in range(n)]
        return (*product, *self.apply(b, then, first[n * n:]))

    def apply(self, b: Builder, element: Element, carried: Element) -> Element:
        n = self.size
        return tuple(b.op("add", _dot(b, element[i * n : i * n + n], carried), element[n * n + i]) for i in range(n))


@dataclass(frozen=True, eq=False)
class Clamp(Scan):
    """s := value where it is reset, else min(max(s + u, lo), hi): element (u, lo, hi), in 64 bits if integral.

    A reset is u = 0 and lo = hi = value; a bound that is missing is far away. Such maps are closed: clamping to
    [lo₁ + u₂, hi₁ + u₂] and then to [lo₂, hi₂] is clamping once.
    """

    far: Constant = 0
    method: ClassVar[str] = "clamp"

    def identity(self) -> tuple[Constant, ...]:
        return (0, -self.far, self.far)

    def combine(self, b: Builder, first: Element, then: Element) -> Element:
        u, lo, hi = then
        low, high = (b.op("min", b.op("max", b.op("add", x, u), lo), hi) for x in first[1:])
        return b.op("add", first[0], u), low, high

    def apply(self, b: Builder, element: Element, carried: Element) -> Element:
        u, lo, hi = element
        s = b.op("min", b.op("max", b.op("add", b.cast(carried[0], u.kind), u), lo), hi)
        return (b.cast(s, self.carried[0]),)


@dataclass(frozen=True, eq=False)
class Coded(Scan):
    """A cell of few joint states, as the number of the joint state. values[q][i]: state i in joint state q, in counts.

    start: the number of the initial joint state. code: for the mixed-radix place of the cell's states (`low` and
    `size` of each) the number of that joint state, −1 where it cannot occur.
    """

    kinds_of_states: tuple[Kind, ...] = ()
    values: tuple[tuple[int, ...], ...] = ()
    start: int = 0
    low: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    code: tuple[int, ...] = field(default=(), repr=False)

    @property
    def count(self) -> int:
        """The number of joint states."""
        return len(self.values)

    def enter(self, b: Builder, states: Element) -> Element:
        place = b.const(0, "int32")
        for s, low, n in zip(states, self.low, self.sizes, strict=True):
            digit = s if s.kind != "bool" else b.cast(s, "int32")
            digit = b.cast(b.clamp(b.op("sub", digit, b.const(low, digit.kind)), 0, n - 1), "int32")
            place = b.op("add", b.op("mul", place, b.const(n, "int32")), digit)
        return (b.op("max", b.lookup(self._table("code", "int32", self.code), place), b.const(0, "int32")),)

    def leave(self, b: Builder, carried: Element) -> Element:
        return tuple(self._decoded(b, i, kind, carried[0]) for i, kind in enumerate(self.kinds_of_states))

    def _decoded(self, b: Builder, i: int, kind: Kind, q: Value) -> Value:
        column = tuple(v[i] for v in self.values)
        numeric: Kind = "int32" if kind == "bool" else kind
        if column == tuple(range(column[0], column[0] + self.count)):
            return b.cast(b.op("add", b.cast(q, numeric), b.const(column[0], numeric)), kind)
        return b.cast(b.lookup(self._table(f"state{i}", numeric, column), q), kind)

    def _table(self, name: str, kind: Kind, entries: Sequence[int]) -> Table:
        return Table(f"{self.states[0].replace('[', '_').replace(']', '')}_{name}", kind, tuple(entries))


@dataclass(frozen=True, eq=False)
class Cyclic(Coded):
    """An automaton in which every letter adds a constant modulo the number of states."""

    method: ClassVar[str] = "cyclic"

    def identity(self) -> tuple[Constant, ...]:
        return (0,)

    def combine(self, b: Builder, first: Element, then: Element) -> Element:
        if self.count == 2:
            return (b.op("bitxor", first[0], then[0]),)
        total, n = b.op("add", first[0], then[0]), b.const(self.count, "int32")
        return (b.select(b.test("lt", total, n), total, b.op("sub", total, n)),)

    def apply(self, b: Builder, element: Element, carried: Element) -> Element:
        return self.combine(b, carried, element)


@dataclass(frozen=True, eq=False)
class Maps(Coded):
    """An automaton of at most 16 states: an element is the map of states, field q of an integer holding its image.

    Four bits a field: 32 bits for at most 8 states, 64 for at most 16.
    """

    method: ClassVar[str] = "maps"

    def identity(self) -> tuple[Constant, ...]:
        return (packed(tuple(range(self.count))),)

    def combine(self, b: Builder, first: Element, then: Element) -> Element:
        total: Value | None = None
        for q in range(self.count):
            moved = self._shifted(b, self._image(b, then[0], self._field(b, first[0], q)), 4 * q)
            total = moved if total is None else b.op("bitor", total, moved)
        assert total is not None
        return (total,)

    def apply(self, b: Builder, element: Element, carried: Element) -> Element:
        return (b.cast(self._image(b, element[0], b.cast(carried[0], element[0].kind)), "int32"),)

    def _field(self, b: Builder, f: Value, q: int) -> Value:
        return b.op("bitand", b.op("shr", f, b.const(4 * q, f.kind)) if q else f, b.const(15, f.kind))

    def _image(self, b: Builder, f: Value, q: Value) -> Value:
        return b.op("bitand", b.op("shr", f, b.op("shl", q, b.const(2, f.kind))), b.const(15, f.kind))

    def _shifted(self, b: Builder, x: Value, by: int) -> Value:
        return b.op("shl", x, b.const(by, x.kind)) if by else x


def packed(images: Sequence[int]) -> int:
    """A map of at most 16 states as 4-bit fields, as a signed integer of 32 or 64 bits."""
    bits = 32 if len(images) <= 8 else 64
    total = sum(q << 4 * i for i, q in enumerate(images))
    return total - (1 << bits) if total >> bits - 1 else total


@dataclass(frozen=True, eq=False)
class Segmented(Scan):
    """A scan whose leaf says whether the state starts anew before the token: element (reset, of the scan inside).

    fresh: what is carried at a start. Schwartz 1980; Blelloch 1990, section 1.5.
    """

    inside: Scan
    fresh: tuple[Constant, ...]
    method: ClassVar[str] = "segmented"

    def identity(self) -> tuple[Constant, ...]:
        return (False, *self.inside.identity())

    def combine(self, b: Builder, first: Element, then: Element) -> Element:
        both = self.inside.combine(b, first[1:], then[1:])
        return (b.test("or", first[0], then[0]),
                *(b.select(then[0], y, x) for x, y in zip(both, then[1:], strict=True)))

    def apply(self, b: Builder, element: Element, carried: Element) -> Element:
        start = (b.const(x, k) for x, k in zip(self.fresh, self.carried, strict=True))
        return self.inside.apply(b, element[1:], tuple(
            b.select(element[0], f, c) for f, c in zip(start, carried, strict=True)))

    def enter(self, b: Builder, states: Element) -> Element:
        return self.inside.enter(b, states)

    def leave(self, b: Builder, carried: Element) -> Element:
        return self.inside.leave(b, carried)


def _dot(b: Builder, u: Sequence[Value], v: Sequence[Value]) -> Value:
    total: Value | None = None
    for x, y in zip(u, v, strict=True):
        if (x.op == "const" and not x.attribute) or (y.op == "const" and not y.attribute):
            continue
        term = b.op("mul", x, y)
        total = term if total is None else b.op("add", total, term)
    return b.const(0, u[0].kind) if total is None else total
