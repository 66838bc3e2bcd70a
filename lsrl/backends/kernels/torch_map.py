"""Maps of whole vectors as torch code: what a kernel leaves to torch, for all tokens at once, before or after it.

Built as a `torch.fx` graph, so that `torch.compile` and `torch.export` see through it and autograd differentiates it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.nn import functional

from lsrl.arithmetic import to_float
from lsrl.ir.nodes import (
    Affine,
    Compare,
    Const,
    Divide,
    FloorDiv,
    Index,
    Logic,
    MatMul,
    MinMax,
    Mul,
    Mux,
    Node,
    Pack,
    Slice,
    Unary,
    operands,
)
from lsrl.types import Bool, Real, Type, scalar_of, shape

__all__ = ["NoMapError", "TorchMap", "runs"]

_COMPARE: dict[str, Callable[..., Any]] = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le}
_LOGIC: dict[str, Callable[..., Any]] = {
    "and": torch.logical_and, "or": torch.logical_or, "xor": torch.logical_xor}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
    "silu": functional.silu, "sin": torch.sin, "cos": torch.cos}


class NoMapError(Exception):
    """A node has no form in torch here: it reads a state, or a place that is not constant."""


@dataclass(frozen=True)
class _Made:
    """A value. stream: whether it has the dimensions of tokens before those of the program's type."""

    at: fx.Node
    stream: bool


class TorchMap:
    """Collects vector nodes as torch code; `module` runs it.

    dtype: of reals; integers and symbols are int64. Arguments are taken in the order in which `leaf` named them.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._graph = fx.Graph()
        self._made: dict[Node, _Made] = {}
        self._split: dict[tuple[Node, int, int], list[fx.Node]] = {}
        self._multiple: dict[fx.Node, tuple[fx.Node, float]] = {}

    def leaf(self, node: Node, stream: bool, flat: bool = False) -> None:
        """The next argument is the value of a node, its dimensions as one if flat."""
        at = self.call("to", self._graph.placeholder(f"arg{len(self._made)}"), self._dtype(node.type))
        self._made[node] = _Made(self.unflat(at, shape(node.type)) if flat else at, stream)

    def _dtype(self, t: Type) -> torch.dtype:
        scalar = scalar_of(t)
        return self.dtype if isinstance(scalar, Real) else torch.bool if isinstance(scalar, Bool) else torch.int64

    def module(self, results: Sequence[fx.Node]) -> fx.GraphModule:
        """The code, which returns a tuple."""
        self._graph.output(tuple(results))
        self._graph.eliminate_dead_code()
        return fx.GraphModule(torch.nn.Module(), self._graph)

    def __call__(self, node: Node) -> fx.Node:
        """The value of a node: (…, *dims) of its type, without the dimensions of tokens if it reads no input.

        Raises NoMapError.
        """
        stack = [node]
        while stack:
            n = stack[-1]
            missing = [x for x in operands(n) if x not in self._made]
            if n in self._made:
                stack.pop()
            elif missing:
                stack.extend(missing)
            else:
                stack.pop()
                self._made[n] = _Made(self._of(n), any(self._made[x].stream for x in operands(n)))
        return self._made[node].at

    def spread(self, node: Node) -> fx.Node:
        """The value of a node with the dimensions of tokens, also if it is the same at all of them."""
        at = self(node)
        stream = next((n for n, made in self._made.items() if made.stream), None)
        if self._made[node].stream or stream is None:
            return at
        head = self._made[stream].at
        for _ in shape(stream.type):
            head = self.call("select", head, -1, 0)
        for _ in shape(node.type):
            head = self.call("unsqueeze", head, -1)
        dtype = self._dtype(node.type)
        zeros = self._graph.call_function(torch.zeros_like, (head,), {"dtype": dtype})
        return self._function(torch.logical_or if dtype == torch.bool else torch.add, zeros, at)

    def part(self, x: fx.Node, first: int, count: int, dim: int = -1) -> fx.Node:
        """Some neighbouring elements along a dimension."""
        return self.call("narrow", x, dim, first, count)

    def split(self, node: Node, size: int, dim: int = -1) -> list[fx.Node]:
        """A value in pieces along a dimension; their gradients are put together at once."""
        key = node, size, dim
        if key not in self._split:
            x = self(node)
            count = shape(node.type)[dim] // size
            pieces = self.call("split", x, size, dim) if count > 1 else x
            self._split[key] = [self._function(operator.getitem, pieces, i) for i in range(count)] if count > 1 else [x]
        return self._split[key]

    def product(self, node: MatMul, first: int, count: int) -> fx.Node:
        """Some elements of the product of a matrix and a vector."""
        matrix, vector = self(node.a), self(node.b)
        return self._product(node.a, node.b, self.part(matrix, first, count, -2), vector)

    def flat(self, x: fx.Node, dims: int) -> fx.Node:
        """The last dimensions as one."""
        return self.call("flatten", x, -dims) if dims > 1 else x

    def unflat(self, x: fx.Node, sizes: Sequence[int]) -> fx.Node:
        """The last dimension as several."""
        return self.call("unflatten", x, -1, tuple(sizes)) if len(sizes) > 1 else x

    def joined(self, xs: Sequence[fx.Node]) -> fx.Node:
        """Several vectors, one after the other."""
        return xs[0] if len(xs) == 1 else self._function(torch.cat, list(xs), -1)

    # One node.

    def call(self, method: str, *args: Any) -> fx.Node:
        """A method of a tensor, the first argument."""
        return self._graph.call_method(method, args)

    def _function(self, function: Callable[..., Any], *args: Any) -> fx.Node:
        return self._graph.call_function(function, args)

    def _times(self, x: fx.Node, c: float) -> fx.Node:
        """A real multiplied by a constant; of two constants, one of them a power of two, the product is exact."""
        if x in self._multiple:
            base, known = self._multiple[x]
            if any(abs(math.frexp(f)[0]) == 0.5 for f in (known, c)):
                x, c = base, known * c
        if c == 1:
            return x
        made = self._function(torch.neg, x) if c == -1 else self._function(torch.mul, x, c)
        self._multiple[made] = x, c
        return made

    def _number(self, node: Node, dims: int, real: bool) -> fx.Node:
        """An operand of an operation element by element whose result has that many dimensions."""
        made = self._made[node]
        at = made.at
        if real and not isinstance(scalar_of(node.type), Real):
            at = self.call("to", at, self.dtype)
        if made.stream and dims and not shape(node.type):
            for _ in range(dims):
                at = self.call("unsqueeze", at, -1)
        return at

    def _of(self, node: Node) -> fx.Node:
        dims = len(shape(node.type))
        real = isinstance(scalar_of(node.type), Real)
        match node:
            case Const():
                return self._constant(node)
            case Affine():
                return self._affine(node, dims, real)
            case Mul(a=a, b=b):
                return self._function(torch.mul, self._number(a, dims, real), self._number(b, dims, real))
            case Divide(a=a, b=b):
                return self._function(torch.div, self._number(a, dims, True), self._number(b, dims, True))
            case Unary(function=name, x=x):
                return self._unary(name, self._number(x, dims, True))
            case Compare(op=op, a=a, b=b):
                either = any(isinstance(scalar_of(x.type), Real) for x in (a, b))
                return self._function(_COMPARE[op], self._number(a, dims, either), self._number(b, dims, either))
            case Logic(op="not"):
                return self._function(torch.logical_not, self._number(node.args[0], dims, False))
            case Logic(op=op):
                return self._folded(_LOGIC[op], [self._number(x, dims, False) for x in node.args])
            case Mux(condition=c, then=a, other=b):
                return self._function(torch.where, self._number(c, dims, False), self._number(a, dims, real),
                                      self._number(b, dims, real))
            case MinMax(op=op):
                both = torch.minimum if op == "min" else torch.maximum
                return self._folded(both, [self._number(x, dims, real) for x in node.args])
            case FloorDiv(op=op, x=x, divisor=divisor):
                number = to_float(divisor) if real or isinstance(scalar_of(x.type), Real) else int(divisor)
                return self._function(torch.remainder if op == "%" else torch.floor_divide,
                                      self._number(x, dims, isinstance(number, float)), number)
            case MatMul(a=a, b=b):
                return self._product(a, b, self._number(a, 0, True), self._number(b, 0, True))
            case Slice(vector=v, lo=lo, hi=hi):
                return self.part(self._made[v].at, lo, hi - lo + 1, -len(shape(v.type)))
            case Index(vector=v, index=Const(value=int(place))):
                outer = shape(v.type)
                return self.call("select", self._made[v].at, -len(outer), min(max(place, 0), outer[0] - 1))
            case Pack():
                return self._pack(node)
            case _:
                raise NoMapError(type(node).__name__)

    def _constant(self, node: Const) -> fx.Node:
        like = next((n for n in self._graph.nodes if n.op == "placeholder"), None)
        if like is None:
            raise NoMapError("a constant beside no argument")
        value: Any = _numbers(node.value) if isinstance(scalar_of(node.type), Real) else node.value
        return self._graph.call_method("new_tensor", (like, value), {"dtype": self._dtype(node.type)})

    def _folded(self, function: Callable[..., Any], args: Sequence[fx.Node]) -> fx.Node:
        out = args[0]
        for x in args[1:]:
            out = self._function(function, out, x)
        return out

    def _unary(self, name: str, x: fx.Node) -> fx.Node:
        if name == "softplus":  # torch's own is the identity beyond a threshold
            return self._times(self._function(functional.logsigmoid, self._times(x, -1)), -1)
        if name not in _FUNCTIONS:
            raise NoMapError(name)
        return self._function(_FUNCTIONS[name], x)

    def _affine(self, node: Affine, dims: int, real: bool) -> fx.Node:
        total: fx.Node | None = None
        for c, x in self._gathered(node):
            term = self._number(x, dims, real) if isinstance(x, Node) else x
            if c != 1:
                term = self._times(term, to_float(c)) if real else self._function(torch.mul, term, int(c))
            total = term if total is None else self._function(torch.add, total, term)
        bias = to_float(node.bias) if real else int(node.bias)
        if total is None:
            return self._constant(Const(node.bias, node.type, node.span))
        return self._function(torch.add, total, bias) if bias else total

    def _gathered(self, node: Affine) -> list[tuple[Any, Any]]:
        """The terms, with sums over all elements of a vector as one."""
        of: dict[Node, list[tuple[Any, int]]] = {}
        rest: list[tuple[Any, Any]] = []
        for c, x in node.terms:
            if isinstance(x, Index) and isinstance(x.index, Const) and isinstance(x.index.value, int) \
                    and len(shape(x.vector.type)) == 1:
                of.setdefault(x.vector, []).append((c, x.index.value))
            else:
                rest.append((c, x))
        for v, terms in of.items():
            size = shape(v.type)[0]
            if len({c for c, _ in terms}) == 1 and sorted(i for _, i in terms) == list(range(size)):
                rest.append((terms[0][0], self.call("sum", self._made[v].at, -1)))
            else:
                rest += [(c, self.call("select", self._made[v].at, -1, i)) for c, i in terms]
        return rest

    def _product(self, a: Node, b: Node, x: fx.Node, y: fx.Node) -> fx.Node:
        """The product of two nodes, whose values are given (of the first, maybe some of the rows)."""
        if len(shape(a.type)) == 1:
            return self.call("sum", self._function(torch.mul, x, y), -1)
        if len(shape(b.type)) == 2:
            return self._function(torch.matmul, x, y)
        if not self._made[a].stream:
            return self._function(functional.linear, y, x) if self._made[b].stream else \
                self._function(torch.mv, x, y)
        return self.call("squeeze", self._function(torch.matmul, x, self.call("unsqueeze", y, -1)), -1)

    def _pack(self, node: Pack) -> fx.Node:
        depth = len(shape(node.type))
        real = isinstance(scalar_of(node.type), Real)
        if depth == 1:
            pieces = [self._number(v, 1, real) if n is None else
                      self.part(self._number(v, 0, real), lo, n) for v, lo, n in runs(node)]
            pieces = [p if n is not None or self._made[v].stream else self.call("reshape", p, 1)
                      for p, (v, _, n) in zip(pieces, runs(node), strict=True)]
        else:
            pieces = [self.call("unsqueeze", self._number(x, 0, real), -depth) for x in node.elements]
        sources = [v for v, _, _ in runs(node)] if depth == 1 else list(node.elements)
        streams = [self._made[v].stream for v in sources]
        if any(streams) and not all(streams):
            like = pieces[streams.index(True)]
            head = self.call("narrow", like, -depth, 0, 1)
            pieces = [p if s else self._function(torch.add, p, self._function(torch.zeros_like, head))
                      for p, s in zip(pieces, streams, strict=True)]
        return pieces[0] if len(pieces) == 1 else self._function(torch.cat, pieces, -depth)


def runs(node: Pack) -> list[tuple[Node, int, int | None]]:
    """What a vector of scalars is made of: pieces (vector, first element, how many) and single scalars (node, 0, None).
    """
    out: list[tuple[Node, int, int | None]] = []
    for x in node.elements:
        if isinstance(x, Index) and isinstance(x.index, Const) and isinstance(x.index.value, int) \
                and len(shape(x.vector.type)) == 1:
            i = x.index.value
            if out and out[-1][0] is x.vector and out[-1][2] is not None and out[-1][1] + out[-1][2] == i:
                out[-1] = x.vector, out[-1][1], out[-1][2] + 1
            else:
                out.append((x.vector, i, 1))
        else:
            out.append((x, 0, None))
    return out


def _numbers(value: Any) -> Any:
    return [_numbers(v) for v in value] if isinstance(value, tuple) else to_float(value)
