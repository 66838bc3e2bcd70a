"""The lanes of a program that multiplies vectors by matrices: one for each element of its states' vectors."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import prod
from typing import TypeAlias

from lsrl.backends.kernels.feeds import Found, NoLanesError, Taker
from lsrl.backends.kernels.lanes import Lanes, Mix, Port, tidied
from lsrl.backends.kernels.torch_map import runs
from lsrl.diagnostics import NOWHERE
from lsrl.ir.graph import Graph, State, reachable
from lsrl.ir.nodes import (
    Affine,
    Const,
    Index,
    Input,
    MatMul,
    Mul,
    Node,
    Pack,
    Param,
    Read,
    Slice,
    operands,
)
from lsrl.passes.rewrite import with_operands
from lsrl.types import REAL, Real, Value, Vector, scalar_of, shape, with_shape

__all__ = ["take_lanes"]

_Key: TypeAlias = "tuple[Node, int | None]"  # a vector and the place of the first lane's element in it; a scalar: None


def take_lanes(graph: Graph, inside: bool) -> Found | None:
    """The lanes of a program; None if what its states need is not element by element, or a product with a matrix.

    inside: whether products of matrices and inputs are `projections`, if there are mixes.
    """
    try:
        found = _Lanes(graph, inside).made()
        return found if found.lanes.mixes or not inside else _Lanes(graph, False).made()
    except NoLanesError:
        return None


class _Lanes(Taker[_Key]):
    def __init__(self, graph: Graph, inside: bool) -> None:
        sizes = {prod(shape(s.type)) for s in graph.states if shape(s.type)}
        if len(sizes) != 1:
            raise NoLanesError
        super().__init__(graph, sizes.pop())
        self.inside = inside
        self.recurrent = set(reachable(tuple(s.next for s in graph.states)))
        self.stateful, self.fixed, self.ports = self.feeds.stateful, self.feeds.fixed, self.feeds.ports
        self.name_of = self.feeds.name_of
        self.mixes: dict[tuple[object, ...], tuple[Mix, Node]] = {}
        self.projections: dict[str, Mix] = {}

    def made(self) -> Found:
        states = []
        for s in self.graph.states:
            dims = shape(s.type)
            if dims and not _alike(s.init):
                raise NoLanesError
            new = self.value((s.next, 0 if dims else None))
            t = scalar_of(s.type)
            states.append(State(s.name, t, _first(s.init), new, s.span, isinstance(t, Real)))
        leaves, outputs, ports = self.outputs()
        inputs = dict.fromkeys(n for n in self.values.values() if isinstance(n, Input))
        sources = [(m.source, v) for m, v in self.mixes.values()]
        names = [(name, x) for name, n in self.graph.names
                 for x in [self.values.get((n, 0 if shape(n.type) else None))] if x is not None]
        scalar = tidied(Graph(self.graph.name, tuple(inputs), tuple(states), (*outputs, *sources), (), tuple(names),
                              self.graph.span))
        used = {n.name for n in reachable(scalar.roots) if isinstance(n, Input | Param)}
        mixes = tuple(m for m, _ in self.mixes.values() if m.name in used)
        if len({self.ports[m.matrix].dims for m in mixes}) > 1:
            raise NoLanesError  # blocks of different sizes
        kept = {m.source for m in mixes}
        scalar = Graph(scalar.name, tuple(n for n in scalar.inputs if n.name in used), scalar.states,
                       tuple((name, n) for name, n in scalar.outputs if not name.startswith("~") or name in kept),
                       (), scalar.names, scalar.span)
        projections = tuple(m for name, m in self.projections.items() if name in used)
        matrices = {m.matrix for m in (*mixes, *projections)}
        streams = tuple(self.ports[name] for name in dict.fromkeys([
            *(n.name for n in scalar.inputs if n.name in self.ports), *(m.source for m in projections)]))
        params = tuple(p for name, p in self.ports.items() if name in matrices or (
            name in used and name not in {q.name for q in streams}))
        lanes = Lanes(self.graph, scalar, self.width, streams, tuple(ports),
                      tuple(Port(s.name, Vector(scalar_of(s.type), self.width) if shape(s.type) else s.type,
                                 bool(shape(s.type)), (s.name,)) for s in self.graph.states),
                      params, True, mixes, projections)
        return Found(lanes, tuple(self.feeds.of[p.name] for p in (*streams, *params)), tuple(leaves))

    # Outputs, and what torch makes of them.

    def given(self, node: Node) -> tuple[Node, bool]:
        """A value as an output, and whether each lane has an element of it. Raises NoLanesError."""
        dims = shape(node.type)
        if dims and prod(dims) != self.width:
            raise NoLanesError
        return self.value((node, 0 if dims else None)), bool(dims)

    # Values of a lane.

    def case(self, key: _Key) -> tuple[list[_Key], Callable[[list[Node]], Node]]:
        """What a scalar, or a vector's element in a lane, needs, and what makes it of that."""
        node, at = key
        t = scalar_of(node.type)
        dims = shape(node.type)
        match node:
            case Input() | Param():
                return [], lambda _: self.fed(node, at)
            case Const(value=value) if _alike(value):
                return [], lambda _: Const(_first(value), t, node.span)
            case Read(state=name):
                if dims and at != 0:
                    raise NoLanesError
                return [], lambda _: Read(name, t, node.span)
            case Slice(vector=v, lo=lo) if at is not None:
                return [(v, at + lo * prod(dims[1:]))], lambda made: made[0]
        mixed = isinstance(node, MatMul | Pack | Index | Const) or (not dims and any(
            shape(x.type) or isinstance(x, Index) for x in operands(node)))
        if not mixed:
            return [(x, at if shape(x.type) else None) for x in operands(node)], \
                lambda made: with_operands(node, made, t)
        if node not in self.stateful:
            if self.inside and at is not None and isinstance(node, MatMul) and node.a in self.fixed \
                    and isinstance(node.b, Input) and isinstance(scalar_of(node.b.type), Real):
                return [], lambda _: self.projected(node, at)
            return [], lambda _: self.fed(node, at)
        if node not in self.recurrent:
            raise NoLanesError
        return self.sum_over_lanes(node) if at is None else self.product(node, at)

    def fed(self, node: Node, at: int | None) -> Node:
        """A value that comes from outside: a stream, or a param if no token changes it."""
        t = scalar_of(node.type)
        own = t if isinstance(node, Input) else REAL
        if at is None:
            return self.feeds.add(node, at, with_shape(own, shape(node.type)), False)
        return self.feeds.add(node, at, Vector(own, self.width), True, self.part_name(node, at, prod(shape(node.type))))

    def projected(self, node: MatMul, at: int) -> Node:
        """Some rows of a matrix, times an input."""
        name = self.part_name(node, at)
        if name not in self.projections:
            matrix = self.matrix(node.a, at, 0, (1, self.width, shape(node.b.type)[0]))
            source = self.feeds.name(node.b, None, self.name_of(node.b), node.b.type, False)
            self.projections[name] = Mix(name, source, matrix)
        return Input(name, REAL, node.span)

    def matrix(self, a: Node, row: int, column: int, sizes: tuple[int, int, int]) -> str:
        """The port of a part of a matrix, that of these sizes (blocks, rows, columns) from a row and column on."""
        blocks, rows, columns = sizes
        name, dims = self.name_of(a), shape(a.type)
        if dims[-2:] != (rows, columns):
            name += f"[{row}..{row + rows - 1}"
            name += f", {column}..{column + columns - 1}]" if dims[1] != columns else "]"
        return self.feeds.name(a, (row, column), name, with_shape(REAL, (blocks, rows, columns)), False)

    def part_name(self, node: Node, at: int, size: int | None = None) -> str:
        """What elements of a vector, or rows of a matrix, are called that begin at a place. size: of how many."""
        whole = (shape(node.type)[0] if size is None else size) == self.width
        return self.name_of(node) if whole else f"{self.name_of(node)}[{at}..{at + self.width - 1}]"

    # Products.

    def product(self, node: Node, at: int) -> tuple[list[_Key], Callable[[list[Node]], Node]]:
        if isinstance(node, MatMul) and len(shape(node.type)) == 1 and node.a in self.fixed:
            return self.matrix_product(node, node.a, node.b, at)
        if isinstance(node, Pack):
            found = runs(node) if len(shape(node.type)) == 1 else []
            place = 0
            for v, lo, n in found:
                if n is not None and place <= at and at + self.width <= place + n:
                    start = lo + at - place
                    return [(v, start)], lambda made: made[0]
                place += 1 if n is None else n
            return self.block_product(node, at)
        raise NoLanesError

    def matrix_product(self, node: MatMul, a: Node, v: Node, at: int) -> tuple[
            list[_Key], Callable[[list[Node]], Node]]:
        """Rows at, at + 1, … of a matrix, times a vector of which some runs are lanes."""
        rows, columns = shape(a.type)
        if at + self.width > rows:
            raise NoLanesError
        pieces: list[tuple[Node, int, int | None]] = runs(v) if isinstance(v, Pack) else [(v, 0, columns)]
        needs: list[_Key] = []
        places: list[int] = []
        outside: list[Node] = []
        column = 0
        for x, lo, n in pieces:
            count = 1 if n is None else n
            if x in self.stateful:
                if n is None or n % self.width:
                    raise NoLanesError
                for k in range(0, n, self.width):
                    needs.append((x, lo + k))
                    places.append(column + k)
            elif isinstance(v, Pack):
                outside += list(v.elements[column : column + count])
            column += count
        rest: list[_Key] = []
        if outside:  # the part of the vector that no state changes, beside zeros
            assert isinstance(v, Pack)
            zero = Const(0, REAL, NOWHERE)
            kept = set(map(id, outside))
            moved = Pack(tuple(x if id(x) in kept else zero for x in v.elements), v.type, v.span)
            before = MatMul(a, moved, node.type, node.span)
            rest = [(before, at)]
        return [*needs, *rest], lambda made: self.sum_of(
            [*(self.mix(a, at, column, x, key) for column, x, key in zip(places, made, needs, strict=False)),
             *made[len(needs):]])

    def block_product(self, node: Pack, at: int) -> tuple[list[_Key], Callable[[list[Node]], Node]]:
        """A matrix for each block of the lanes: `[u[i] @ h[i] for i in …]`."""
        if at != 0 or prod(shape(node.type)) != self.width or len(shape(node.type)) != 2:
            raise NoLanesError
        matrices, vectors = [], []
        for i, x in enumerate(node.elements):
            if not (isinstance(x, MatMul) and x.a in self.fixed and len(shape(x.a.type)) == 2
                    and isinstance(x.b, Index) and isinstance(x.b.index, Const) and x.b.index.value == i):
                raise NoLanesError
            matrices.append(x.a)
            vectors.append(x.b.vector)
        v = vectors[0]
        if any(x is not v for x in vectors) or shape(v.type) != shape(node.type) or v not in self.stateful:
            raise NoLanesError
        n = shape(node.type)[1]
        whole = {m.vector for m in matrices if isinstance(m, Index) and isinstance(m.index, Const)}
        if len(whole) == 1 and [m.index.value for m in matrices if isinstance(m, Index) and isinstance(
                m.index, Const)] == list(range(shape(next(iter(whole)).type)[0])):
            packed = next(iter(whole))
        else:
            packed = self.b.add(Pack(tuple(matrices), Vector(Vector(Vector(REAL, n), n), len(matrices)), node.span))
            self.fixed.add(packed)
        key: _Key = (v, 0)
        return [key], lambda made: self.mix(packed, 0, 0, made[0], key)

    def sum_over_lanes(self, node: Node) -> tuple[list[_Key], Callable[[list[Node]], Node]]:
        """A sum of elements of vectors, which every lane gets: the product with a matrix of equal rows."""
        of: dict[Node, list[int | Fraction]] = {}
        rest: list[tuple[int | Fraction, Node]] = []
        match node:
            case MatMul(a=a, b=b) if shape(a.type) == (self.width,):
                of[self.b.add(Mul(a, b, Vector(REAL, self.width), node.span))] = [1] * self.width
                self.stateful.update(of)
            case Affine() | Index():
                for c, x in node.terms if isinstance(node, Affine) else ((1, node),):
                    if isinstance(x, Index) and x in self.stateful and shape(x.vector.type) == (self.width,) \
                            and isinstance(x.index, Const) and isinstance(x.index.value, int):
                        of.setdefault(x.vector, [0] * self.width)[x.index.value] += c
                    elif x is node:
                        raise NoLanesError
                    else:
                        rest.append((c, x))
            case _:
                raise NoLanesError
        needs: list[_Key] = [*((v, 0) for v in of), *((x, None) for _, x in rest)]
        matrices = [self.equal_rows(tuple(cs)) for cs in of.values()]

        def total(values: list[Node]) -> Node:
            terms: list[tuple[int | Fraction, Node]] = [
                (1, self.mix(m, 0, 0, x, key)) for m, x, key in zip(matrices, values, needs, strict=False)]
            terms += [(c, x) for (c, _), x in zip(rest, values[len(of):], strict=True)]
            return Affine(tuple(terms), node.bias if isinstance(node, Affine) else 0, REAL, node.span)

        return needs, total

    def equal_rows(self, row: tuple[int | Fraction, ...]) -> Node:
        """A matrix all of whose rows are alike."""
        n = self.width
        ones = self.b.add(Const(((1,),) * n, Vector(Vector(REAL, 1), n), NOWHERE))
        made = self.b.add(MatMul(ones, self.b.add(Const((row,), Vector(Vector(REAL, n), 1), NOWHERE)),
                                 Vector(Vector(REAL, n), n), NOWHERE))
        self.fixed.add(made)
        self.feeds.called.setdefault(made, "ones" if set(row) == {1} else "sum")
        return made

    def mix(self, a: Node, row: int, column: int, value: Node, key: _Key) -> Node:
        """The product of a part of a matrix and a vector of lanes, in a lane."""
        dims = shape(a.type)
        n = self.width if len(dims) == 2 else dims[1]
        matrix = self.matrix(a, row, column, (1 if len(dims) == 2 else dims[0], n, n))
        number = matrix, key
        if number not in self.mixes:
            k = len(self.mixes)
            self.mixes[number] = Mix(f"~mix.{k}", f"~mixed.{k}", matrix), value
        made = self.b.add(Input(self.mixes[number][0].name, REAL, NOWHERE))
        self.values[made, None] = made
        return made

    def sum_of(self, terms: list[Node]) -> Node:
        return terms[0] if len(terms) == 1 else Affine(tuple((1, x) for x in terms), 0, REAL, NOWHERE)


def _alike(value: Value) -> bool:
    return not isinstance(value, tuple) or (all(v == value[0] for v in value) and _alike(value[0]))


def _first(value: Value) -> Value:
    return _first(value[0]) if isinstance(value, tuple) else value
