"""The text form of a graph: one line a node, state, output, check and name.

`lsrl.ir.parser.parse_graph` reads it back to an equal graph. Golden tests and `lsrl ir` show it. Spans are not
printed. The same graph always prints to the same text, in time linear in its size.

>>> from lsrl.ir.parser import parse_graph
>>> print(print_graph(parse_graph('''
... graph parity
... %0 = input bit : bool
... %1 = read odd : bool
... %2 = compare %1 != %0 : bool
... state odd : bool = false -> %2
... output out = %2
... ''')), end="")
graph parity
%0 = input bit : bool
%1 = read odd : bool
%2 = compare %1 != %0 : bool
state odd : bool = false -> %2
output out = %2
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

from lsrl.ir.graph import Check, Graph, State, reachable
from lsrl.ir.nodes import (
    Affine,
    Compare,
    Const,
    Divide,
    FloorDiv,
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
from lsrl.types import Symbols, Type, Value, Vector, quote_symbol

__all__ = ["print_graph", "print_value"]

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:[.#][A-Za-z0-9_]+|\[[0-9]+\])*\Z")


def print_graph(graph: Graph) -> str:
    """The whole graph as text, with a final line end. Nodes that only names need come after all others."""
    nodes = all_nodes(graph)
    number = {node: f"%{i}" for i, node in enumerate(nodes)}
    lines = [f"graph {print_name(graph.name)}"]
    if graph.doc:
        lines.append(f"doc {quote_symbol(graph.doc)}")
    lines += [f"{number[n]} = {_body(n, number)} : {n.type}" for n in nodes]
    lines += [_state(s, number) for s in graph.states]
    lines += [f"output {print_name(name)} = {number[n]}" for name, n in graph.outputs]
    lines += [_check(c, number) for c in graph.checks]
    lines += [f"name {print_name(name)} = {number[n]}" for name, n in graph.names]
    return "\n".join(lines) + "\n"


def all_nodes(graph: Graph) -> tuple[Node, ...]:
    """`graph.nodes` first, then the nodes that only names need; operands before users."""
    if not graph.names:
        return graph.nodes
    return reachable((*graph.nodes, *(n for _, n in graph.names)))


def print_name(name: str) -> str:
    """A name as it is if it looks like one of the language (`count#2.n`, `stack[0]`), else quoted."""
    return name if _PLAIN_NAME.match(name) else quote_symbol(name)


def print_value(value: Value, t: Type) -> str:
    """A value of a type: `true`, `3`, `1/3`, `0.1` (a float64), `"a"`, `[1, 2]`."""
    if isinstance(value, tuple):
        elem = t.elem if isinstance(t, Vector) else t
        return "[" + ", ".join(print_value(v, elem) for v in value) + "]"
    while isinstance(t, Vector):
        t = t.elem
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(t, Symbols) and isinstance(value, int) and 0 <= value < len(t.names) + t.other:
        return quote_symbol(t.names[value]) if value < len(t.names) else "*"
    return repr(value) if isinstance(value, float) else str(value)


def _state(state: State, number: Mapping[Node, str]) -> str:
    init = print_value(state.init, state.type)
    return f"state {print_name(state.name)} : {state.type} = {init} -> {number[state.next]}"


def _check(check: Check, number: Mapping[Node, str]) -> str:
    subject = "" if check.subject is None else f" of {number[check.subject]}"
    return f"{check.kind} {check.code} {number[check.condition]}{subject} {quote_symbol(check.message)}"


def _body(node: Node, number: Mapping[Node, str]) -> str:
    """What stands between `=` and the type."""
    match node:
        case Input(name=name):
            return f"input {print_name(name)}"
        case Const(value=value):
            return f"const {print_value(value, node.type)}"
        case Param(name=name, init=(kind, args)):
            given = f"({', '.join(print_value(a, node.type) for a in args)})" if args else ""
            return f"param {print_name(name)} {kind}{given}"
        case Read(state=name):
            return f"read {print_name(name)}"
        case Affine():
            return f"affine {_sum(node, number)}"
        case Mul(a=a, b=b):
            return f"mul {number[a]} {number[b]}"
        case Divide(a=a, b=b):
            return f"divide {number[a]} {number[b]}"
        case MatMul(a=a, b=b):
            return f"matmul {number[a]} {number[b]}"
        case Compare(op=op, a=a, b=b):
            return f"compare {number[a]} {op} {number[b]}"
        case Logic(op=op, args=args) | MinMax(op=op, args=args):
            return f"{op} {' '.join(number[x] for x in args)}"
        case Mux(condition=c, then=a, other=b):
            return f"mux {number[c]} then {number[a]} else {number[b]}"
        case FloorDiv(op=op, x=x, divisor=divisor):
            return f"{'quotient' if op == '//' else 'remainder'} {number[x]} by {divisor}"
        case Table():
            domain = zip(node.args, node.los, node.sizes, strict=True)
            shown = ", ".join(f"{number[x]} in {lo}..{lo + n - 1}" for x, lo, n in domain)
            return f"table {shown} => [{', '.join(print_value(e, node.type) for e in node.entries)}]"
        case Unary(function=function, x=x):
            return f"{function} {number[x]}"
        case Pack(elements=elements):
            return " ".join(["pack", *(number[x] for x in elements)])
        case Index(vector=vector, index=index):
            return f"index {number[vector]} {number[index]}"
        case Slice(vector=vector, lo=lo, hi=hi):
            return f"slice {number[vector]} {lo}..{hi}"


def _sum(node: Affine, number: Mapping[Node, str]) -> str:
    parts = [f"{c}*{number[x]}" for c, x in node.terms]
    if node.bias or not parts:
        parts.append(str(Fraction(node.bias)))
    return " + ".join(parts)
