"""Reads the text form of a graph: the inverse of `lsrl.ir.printer`.

A line holds one node, state, output, check or name; operands stand above their users; `#` starts a comment at the
start of a line. Everything in the graph gets as its span the line that it stands on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial

from lsrl.diagnostics import LsrlError, Source, Span
from lsrl.ir.graph import Check, Graph, State
from lsrl.ir.nodes import (
    UNARY_FUNCTIONS,
    Affine,
    Compare,
    Const,
    Divide,
    FloorDiv,
    IllTypedError,
    Index,
    Input,
    Logic,
    MatMul,
    MinMax,
    Mul,
    Mux,
    Node,
    Pack,
    Param,
    Read,
    Slice,
    Table,
    Unary,
)
from lsrl.ir.text import Cursor, Raw
from lsrl.ir.validate import InvalidGraph, validate
from lsrl.types import Type

__all__ = ["parse_graph"]

_REF = re.compile(r"%(\d+)")
_CODE = re.compile(r"[A-Z]\d+")
_OPERATOR = re.compile(r"==|!=|<=|<")


def parse_graph(text: str, name: str = "<graph>") -> Graph:
    """The graph that a text stands for.

    name: what diagnostics call the text.
    Raises LsrlError with line and column: L090 for text that is not of the form, L091 for a graph that is not valid.
    """
    return _Parser(Source(name, text)).graph()


@dataclass
class _Parts:
    """What the lines so far have given."""

    name: str | None = None
    doc: str = ""
    inputs: list[Input] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    outputs: list[tuple[str, Node]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    names: list[tuple[str, Node]] = field(default_factory=list)


class _Parser(Cursor):
    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.span = Span(source, 0, 0)
        self.defined: dict[str, Node] = {}
        self.parts = _Parts()
        self.bodies: dict[str, Callable[[], Callable[[Type], Node]]] = {
            "input": self._input, "const": self._const, "param": self._param, "read": self._read,
            "affine": self._affine, "compare": self._compare, "mux": self._mux, "table": self._table,
            "pack": self._pack, "index": self._index, "slice": self._slice, "mul": self._mul,
            "divide": self._divide, "matmul": self._matmul,
            **{op: partial(self._logic, op) for op in ("and", "or", "not")},
            **{op: partial(self._minmax, op) for op in ("min", "max")},
            **{op: partial(self._unary, op) for op in UNARY_FUNCTIONS},
            "quotient": partial(self._floordiv, "//"), "remainder": partial(self._floordiv, "%"),
        }

    # Lines

    def graph(self) -> Graph:
        start, end = 0, len(self.text)
        while start < end:
            stop = self.text.find("\n", start)
            stop = end if stop < 0 else stop
            self.at = start
            self.span = Span(self.source, start, stop)
            self.skip()
            if self.at < stop and self.text[self.at] not in "#\r":
                self._line()
                if self.at < stop and self.text[self.at] != "\r":
                    raise self.error("the line goes on where it should end")
            start = stop + 1
        p = self.parts
        if p.name is None:
            raise LsrlError.of("L090", "the text has no line `graph NAME`", Span(self.source, 0, 0))
        graph = Graph(p.name, tuple(p.inputs), tuple(p.states), tuple(p.outputs), tuple(p.checks), tuple(p.names),
                      Span(self.source, 0, end), p.doc)
        try:
            validate(graph)
        except InvalidGraph as bad:
            raise LsrlError.of("L091", f"the graph is not valid: {bad}", bad.span or graph.span) from None
        return graph

    def _line(self) -> None:
        p = self.parts
        if self.text[self.at] == "%":
            return self._node_line()
        start = self.at
        keyword = self.word("a node or a keyword")
        if keyword != "graph" and p.name is None:
            self.at = start
            raise self.error("the first line is `graph NAME`")
        match keyword:
            case "graph":
                if p.name is not None:
                    self.at = start
                    raise self.error("a text holds one graph")
                p.name = self.name()
            case "doc":
                p.doc = self.string()
            case "state":
                p.states.append(self._state())
            case "output":
                p.outputs.append(self._named_node())
            case "name":
                p.names.append(self._named_node())
            case "assert" | "assume" | "range":
                p.checks.append(self._check(keyword))
            case _:
                self.at = start
                raise self.error(f"`{keyword}` begins no line of a graph")
        return None

    def _node_line(self) -> None:
        if self.parts.name is None:
            raise self.error("the first line is `graph NAME`")
        start = self.at
        ref = self.match(_REF, "a node")[1]
        if ref in self.defined:
            self.at = start
            raise self.error(f"%{ref} is defined twice")
        self.expect("=")
        begin = self.at
        kind = self.word("the kind of a node")
        if kind not in self.bodies:
            self.at = begin
            raise self.error(f"`{kind}` is no kind of node")
        build = self.bodies[kind]()
        self.expect(":")
        node_type = self.read_type()
        try:
            node = build(node_type)
        except IllTypedError as bad:
            raise LsrlError.of("L091", f"%{ref} is not well typed: {bad}", self.span) from None
        self.defined[ref] = node
        if isinstance(node, Input):
            self.parts.inputs.append(node)

    def _state(self) -> State:
        name = self.name()
        self.expect(":")
        state_type = self.read_type()
        self.expect("=")
        init = self.typed(self.value(), state_type, self.span)
        self.expect("->")
        return State(name, state_type, init, self.node(), self.span)

    def _named_node(self) -> tuple[str, Node]:
        name = self.name()
        self.expect("=")
        return name, self.node()

    def _check(self, kind: str) -> Check:
        code = self.match(_CODE, "the code of a diagnostic")[0]
        condition = self.node()
        subject = self.node() if self.take("of") else None
        return Check(kind, condition, self.string(), code, subject, self.span)

    # Node bodies: each reads what stands before the type and returns what builds the node of that type.

    def _input(self) -> Callable[[Type], Node]:
        name = self.name()
        return lambda t: Input(name, t, self.span)

    def _const(self) -> Callable[[Type], Node]:
        raw = self.value()
        return lambda t: Const(self.typed(raw, t, self.span), t, self.span)

    def _param(self) -> Callable[[Type], Node]:
        name = self.name()
        kind = self.word("how the param starts")
        args: list[Raw] = []
        if self.take("("):
            args.append(self.value())
            while self.take(","):
                args.append(self.value())
            self.expect(")")
        return lambda t: Param(name, (kind, tuple(self.typed(a, t, self.span) for a in args)), t, self.span)

    def _read(self) -> Callable[[Type], Node]:
        name = self.name()
        return lambda t: Read(name, t, self.span)

    def _affine(self) -> Callable[[Type], Node]:
        terms: list[tuple[int | Fraction, Node]] = []
        bias: int | Fraction = 0
        while True:
            number = self.rational()
            if self.take("*"):
                terms.append((number, self.node()))
            else:
                bias = number
                break
            if not self.take("+"):
                break
        return lambda t: Affine(tuple(terms), bias, t, self.span)

    def _mul(self) -> Callable[[Type], Node]:
        a, b = self.node(), self.node()
        return lambda t: Mul(a, b, t, self.span)

    def _divide(self) -> Callable[[Type], Node]:
        a, b = self.node(), self.node()
        return lambda t: Divide(a, b, t, self.span)

    def _matmul(self) -> Callable[[Type], Node]:
        a, b = self.node(), self.node()
        return lambda t: MatMul(a, b, t, self.span)

    def _compare(self) -> Callable[[Type], Node]:
        a = self.node()
        op = self.match(_OPERATOR, "a comparison")[0]
        b = self.node()
        return lambda t: Compare(op, a, b, t, self.span)

    def _logic(self, op: str) -> Callable[[Type], Node]:
        args = self.nodes()
        return lambda t: Logic(op, args, t, self.span)

    def _minmax(self, op: str) -> Callable[[Type], Node]:
        args = self.nodes()
        return lambda t: MinMax(op, args, t, self.span)

    def _mux(self) -> Callable[[Type], Node]:
        condition = self.node()
        self.expect("then")
        then = self.node()
        self.expect("else")
        other = self.node()
        return lambda t: Mux(condition, then, other, t, self.span)

    def _floordiv(self, op: str) -> Callable[[Type], Node]:
        x = self.node()
        self.expect("by")
        divisor = self.rational()
        return lambda t: FloorDiv(op, x, divisor, t, self.span)

    def _table(self) -> Callable[[Type], Node]:
        args, los, sizes = [], [], []
        while True:
            args.append(self.node())
            self.expect("in")
            lo, hi = self.range()
            los.append(lo)
            sizes.append(hi - lo + 1)
            if not self.take(","):
                break
        self.expect("=>")
        raw = self.value()
        if not isinstance(raw, tuple):
            raise self.error("the entries of a table stand between `[` and `]`")
        entries = raw
        return lambda t: Table(tuple(args), tuple(los), tuple(sizes),
                               tuple(self.typed(e, t, self.span) for e in entries), t, self.span)

    def _unary(self, function: str) -> Callable[[Type], Node]:
        x = self.node()
        return lambda t: Unary(function, x, t, self.span)

    def _pack(self) -> Callable[[Type], Node]:
        elements = self.nodes()
        return lambda t: Pack(elements, t, self.span)

    def _index(self) -> Callable[[Type], Node]:
        vector, index = self.node(), self.node()
        return lambda t: Index(vector, index, t, self.span)

    def _slice(self) -> Callable[[Type], Node]:
        vector = self.node()
        lo, hi = self.range()
        return lambda t: Slice(vector, lo, hi, t, self.span)

    def node(self) -> Node:
        start = self.at
        ref = self.match(_REF, "a node such as %3")[1]
        if ref not in self.defined:
            self.at = start
            raise self.error(f"%{ref} is not defined above")
        return self.defined[ref]

    def nodes(self) -> tuple[Node, ...]:
        out: list[Node] = []
        while self.peek() == "%":
            out.append(self.node())
        return tuple(out)

