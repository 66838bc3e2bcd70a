"""Every vector becomes its scalars: states, constants, and all that is computed element by element.

Afterwards every node is a scalar, but for vector inputs and params, which are read by `Index` with constants, and the
`Pack` at outputs, names and the subjects of checks. A state `s` of vectors becomes states `s[0]`, `s[0][1]`, ….
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from lsrl.arithmetic import convert
from lsrl.diagnostics import Span
from lsrl.ir.graph import Graph, GraphBuilder, State
from lsrl.ir.nodes import (
    Affine,
    Compare,
    Const,
    Index,
    Input,
    MatMul,
    Mul,
    Mux,
    Node,
    Pack,
    Param,
    Read,
    Slice,
    Table,
    operands,
)
from lsrl.ir.printer import all_nodes
from lsrl.passes.fold_constants import fold
from lsrl.passes.identities import as_kind
from lsrl.passes.rewrite import keep_numeric, with_operands
from lsrl.types import BOOL, INT, Type, Value, Vector, is_number, scalar_of, shape

__all__ = ["split_vectors"]

Parts: TypeAlias = "Node | tuple[Parts, ...]"  # a scalar node, or the parts of each element of a vector


def split_vectors(graph: Graph) -> Graph:
    """Scalar nodes for every element. One sweep; linear in the number of elements (of products, for matrices)."""
    if not any(isinstance(n.type, Vector) for n in all_nodes(graph)) \
            and not any(isinstance(s.type, Vector) for s in graph.states):
        return graph
    splitter = _Splitter(graph)
    for node in all_nodes(graph):
        splitter.parts[node] = splitter.split(node)
    whole = {node: splitter.pack(splitter.parts[node], node.type, node.span)
             for node in (*(n for _, n in graph.outputs), *(n for _, n in graph.names),
                          *(c.subject for c in graph.checks if c.subject is not None),
                          *(c.condition for c in graph.checks))}
    states = tuple(part for s in graph.states for part in splitter.state(s))
    result = replace(
        graph, states=states,
        outputs=tuple((name, whole[n]) for name, n in graph.outputs),
        checks=tuple(replace(c, condition=whole[c.condition], subject=None if c.subject is None else whole[c.subject])
                     for c in graph.checks),
        names=tuple((name, whole[n]) for name, n in graph.names))
    return result if keep_numeric(graph, result) else graph


class _Splitter:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.numeric = graph.numeric
        self.builder = GraphBuilder()
        self.parts: dict[Node, Parts] = {}

    def emit(self, node: Node) -> Node:
        """The node, folded."""
        return self.builder.add(fold(self.builder.add(node), self.numeric, self.builder.add))

    def split(self, node: Node) -> Parts:
        """The parts of a node, from those of its operands."""
        dims = shape(node.type)
        match node:
            case Input() | Param():
                self.builder.add(node)
                return self._elements(node, node.type)
            case Const(value=value):
                return self._constants(convert(value, node.type, self.numeric), node.type, node.span)
            case Read(state=name):
                return self._reads(name, node.type, node.span)
            case Pack(elements=elements):
                elem = scalar_of(node.type)
                return tuple(self._as_kind(self.parts[e], elem) for e in elements)
            case Slice(vector=vector, lo=lo, hi=hi):
                return self._tuple(vector)[lo : hi + 1]
            case Index(vector=vector, index=index):
                return self._index(self._tuple(vector), self._scalar(self.parts[index]), node)
            case MatMul():
                return self._matmul(node)
            case _:
                t = scalar_of(node.type)
                return self._spread(lambda xs: self.emit(with_operands(node, xs, t)), dims,
                                    [self.parts[x] for x in operands(node)])

    def pack(self, parts: Parts, t: Type, span: Span) -> Node:
        """One node again: a `Pack` of a vector's elements, of rows for a matrix."""
        if not isinstance(parts, tuple):
            return parts
        elem = t.elem if isinstance(t, Vector) else t
        return self.emit(Pack(tuple(self.pack(p, elem, span) for p in parts), t, span))

    def state(self, state: State) -> list[State]:
        """The scalar states of a state."""
        out: list[State] = []
        work: list[tuple[str, Type, Value, Parts]] = [(state.name, state.type, state.init, self.parts[state.next])]
        while work:
            name, t, init, parts = work.pop()
            if isinstance(t, Vector) and isinstance(parts, tuple):
                inits = init if isinstance(init, tuple) else (init,) * t.size
                work += reversed([(f"{name}[{i}]", t.elem, inits[i], part) for i, part in enumerate(parts)])
            else:
                out.append(State(name, t, init, self._scalar(parts), state.span, state.free))
        return out

    def _scalar(self, parts: Parts) -> Node:
        if isinstance(parts, tuple):
            raise AssertionError("a vector stands where a scalar has to")
        return parts

    def _tuple(self, node: Node) -> tuple[Parts, ...]:
        parts = self.parts[node]
        if not isinstance(parts, tuple):
            raise AssertionError("a scalar stands where a vector has to")
        return parts

    def _elements(self, vector: Node, t: Type) -> Parts:
        if not isinstance(t, Vector):
            return vector
        at = [self.builder.add(Const(i, INT, vector.span)) for i in range(t.size)]
        return tuple(self._elements(self.builder.add(Index(vector, i, t.elem, vector.span)), t.elem) for i in at)

    def _constants(self, value: Value, t: Type, span: Span) -> Parts:
        if not isinstance(t, Vector):
            return self.builder.add(Const(value, t, span))
        values = value if isinstance(value, tuple) else (value,) * t.size
        return tuple(self._constants(v, t.elem, span) for v in values)

    def _reads(self, name: str, t: Type, span: Span) -> Parts:
        if not isinstance(t, Vector):
            return self.builder.add(Read(name, t, span))
        return tuple(self._reads(f"{name}[{i}]", t.elem, span) for i in range(t.size))

    def _as_kind(self, parts: Parts, t: Type) -> Parts:
        if isinstance(parts, tuple):
            return tuple(self._as_kind(p, t) for p in parts)
        return self.emit(as_kind(parts, t)) if is_number(t) else parts

    def _spread(self, make: Callable[[list[Node]], Node], dims: tuple[int, ...], args: Sequence[Parts]) -> Parts:
        """What `make` gives for every element; scalar arguments spread."""
        if not dims:
            return make([self._scalar(a) for a in args])
        return tuple(self._spread(make, dims[1:], [a[i] if isinstance(a, tuple) else a for a in args])
                     for i in range(dims[0]))

    def _index(self, items: tuple[Parts, ...], index: Node, node: Index) -> Parts:
        """The item at a constant place; at a stream's, a table of constants or a balanced tree of choices."""
        if isinstance(index, Const) and isinstance(index.value, int):
            return items[min(max(index.value, 0), len(items) - 1)]
        return self._spread(lambda xs: self._select(xs, index, node), shape(node.type), [*items])

    def _select(self, items: list[Node], index: Node, node: Index) -> Node:
        t = scalar_of(node.type)
        if all(isinstance(x, Const) for x in items):
            entries = tuple(x.value for x in items if isinstance(x, Const))
            return self.emit(Table((index,), (0,), (len(items),), entries, t, node.span))
        level = [(x, i) for i, x in enumerate(items)]  # a subtree and the last place in it
        while len(level) > 1:
            pairs = [(self._choose(a, b, last, index, t, node.span), end)
                     for (a, last), (b, end) in zip(level[::2], level[1::2], strict=False)]
            level = pairs + level[len(pairs) * 2 :]
        return level[0][0]

    def _choose(self, a: Node, b: Node, last: int, index: Node, t: Type, span: Span) -> Node:
        """`a` where the index is at most `last`, else `b`."""
        limit = self.builder.add(Const(last, INT, span))
        low = self.emit(Compare("<=", index, limit, BOOL, span))
        return self.emit(Mux(low, a, b, t, span))

    def _matmul(self, node: MatMul) -> Parts:
        a, b = self._tuple(node.a), self._tuple(node.b)
        t, span = scalar_of(node.type), node.span

        def dot(u: Sequence[Parts], v: Sequence[Parts]) -> Parts:
            products = [self.emit(Mul(self._scalar(x), self._scalar(y), t, span)) for x, y in zip(u, v, strict=True)]
            return self.emit(Affine(tuple((1, p) for p in products), 0, t, span))

        def columns(m: tuple[Parts, ...]) -> list[tuple[Parts, ...]]:
            return list(zip(*(row for row in m if isinstance(row, tuple)), strict=True))

        match len(shape(node.a.type)), len(shape(node.b.type)):
            case 1, 1:
                return dot(a, b)
            case 2, 1:
                return tuple(dot(row, b) for row in a if isinstance(row, tuple))
            case 1, _:
                return tuple(dot(a, column) for column in columns(b))
            case _:
                return tuple(tuple(dot(row, column) for column in columns(b)) for row in a if isinstance(row, tuple))
