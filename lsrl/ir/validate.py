"""What every graph keeps: the rules that all later stages rely on.

Nodes check their own operands when they are built (`lsrl.ir.nodes`); this checks the graph as a whole and the
values inside it. Passes are tested to take valid graphs to valid graphs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

from lsrl.diagnostics import Span
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import (
    Const,
    FloorDiv,
    Index,
    Input,
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
    operands,
)
from lsrl.ir.printer import all_nodes
from lsrl.types import Bool, Int, Real, Record, Symbols, Type, Value, Vector, scalar_of, shape

__all__ = ["InvalidGraph", "has_type", "validate"]

_KINDS = ("assert", "assume", "range")
_CODE = re.compile(r"L[0-9]{3}\Z")
_PARAM_ARGUMENTS = {"zeros": 0, "ones": 0, "normal": 1, "uniform": 2, "const": 1}


class InvalidGraph(ValueError):  # noqa: N818
    """A graph breaks a rule: a fault of the compiler. `rule` names it, `span` is the place, if there is one."""

    def __init__(self, rule: str, what: str, span: Span | None = None) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule
        self.span = span


def validate(graph: Graph) -> None:
    """Raises InvalidGraph, which names the rule, unless the graph keeps all of them. Linear in its size.

    unique-names: inputs, states, outputs, params and names are each told apart by name.
    inputs: every input node that is used is one of the graph's inputs.
    states: what is read is a state of the graph, of the same type; its initial value is of that type, and its next
    value of the same kind and shape (an int may become a real).
    checks: the kind, the code and a bool scalar as condition.
    values: constants and table entries are of the type they stand in.
    kinds: results are of the kind that the operands give (an int of ints, a symbol of its alphabet).
    """
    _unique("input", (n.name for n in graph.inputs), graph)
    _unique("state", (s.name for s in graph.states), graph)
    _unique("output", (name for name, _ in graph.outputs), graph)
    _unique("name", (name for name, _ in graph.names), graph)
    _check_states(graph)
    _check_checks(graph)
    inputs = set(graph.inputs)
    params: dict[str, Node] = {}
    for node in all_nodes(graph):
        if isinstance(scalar_of(node.type), Record):
            raise InvalidGraph("kinds", "a node has a record as its value", node.span)
        match node:
            case Input():
                if node not in inputs:
                    raise InvalidGraph("inputs", f"`{node.name}` is not an input of the graph", node.span)
            case Read():
                _check_read(graph, node)
            case Param():
                if params.setdefault(node.name, node) is not node:
                    raise InvalidGraph("unique-names", f"two params are called `{node.name}`", node.span)
                _check_param(node)
            case Const():
                if not has_type(node.value, node.type):
                    raise InvalidGraph("values", f"a constant is not of its type {node.type}", node.span)
            case _:
                _check_kind(node)


def has_type(value: Value, t: Type) -> bool:
    """Whether a value is one of the type, held as `lsrl.types` says. A rational or an int may stand for a real."""
    if isinstance(t, Vector):
        return isinstance(value, tuple) and len(value) == t.size and all(has_type(v, t.elem) for v in value)
    if isinstance(value, tuple) or isinstance(t, Bool) != isinstance(value, bool):
        return False
    match t:
        case Bool():
            return True
        case Int(lo=lo, hi=hi):
            return isinstance(value, int) and (lo is None or value >= lo) and (hi is None or value <= hi)
        case Symbols():
            return isinstance(value, int) and 0 <= value < len(t.names) + t.other
        case Real(lo=lo, hi=hi, grid=grid):
            if isinstance(value, float):
                return (lo is None or value >= float(lo)) and (hi is None or value <= float(hi))
            exact = Fraction(value)
            on_grid = grid is None or exact % grid == 0
            return on_grid and (lo is None or exact >= lo) and (hi is None or exact <= hi)
        case _:
            return False


def _unique(what: str, names: Iterable[str], graph: Graph) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidGraph("unique-names", f"two {what}s are called `{name}`", graph.span)
        seen.add(name)


def _check_states(graph: Graph) -> None:
    for s in graph.states:
        if not has_type(s.init, s.type):
            raise InvalidGraph("states", f"the initial value of `{s.name}` is not of its type {s.type}", s.span)
        if not _becomes(s.next.type, s.type):
            raise InvalidGraph("states", f"`{s.name}` of type {s.type} becomes a {s.next.type}", s.span)


def _check_read(graph: Graph, node: Read) -> None:
    if node.state not in graph.state:
        raise InvalidGraph("states", f"`{node.state}` is read but is no state", node.span)
    if graph.state[node.state].type != node.type:
        raise InvalidGraph("states", f"`{node.state}` is read as a {node.type}", node.span)


def _check_checks(graph: Graph) -> None:
    for c in graph.checks:
        if c.kind not in _KINDS or not _CODE.match(c.code):
            raise InvalidGraph("checks", f"a check of kind `{c.kind}` and code `{c.code}`", c.span)
        if not isinstance(c.condition.type, Bool):
            raise InvalidGraph("checks", f"a condition of type {c.condition.type}", c.span)


def _check_param(node: Param) -> None:
    kind, args = node.init
    if _PARAM_ARGUMENTS.get(kind) != len(args):
        raise InvalidGraph("values", f"param `{node.name}` starts as {kind} with {len(args)} arguments", node.span)
    if not isinstance(scalar_of(node.type), Real):
        raise InvalidGraph("kinds", f"param `{node.name}` is of type {node.type}", node.span)


def _becomes(source: Type, target: Type) -> bool:
    """Whether a value of the source type can stand for one of the target: same shape and kind, ranges aside."""
    a, b = scalar_of(source), scalar_of(target)
    if shape(source) != shape(target):
        return False
    if isinstance(a, Symbols) or isinstance(b, Symbols):
        return a == b
    return type(a) is type(b) or (isinstance(a, Int) and isinstance(b, Real))


def _check_kind(node: Node) -> None:
    """The rules on kinds that a node does not check itself."""
    fits = True
    match node:
        case Mux(then=then, other=other):
            fits = all(_scalar_becomes(x, node) for x in (then, other))
        case Mul() | MatMul() | MinMax():
            fits = all(_scalar_becomes(x, node) for x in operands(node))
        case FloorDiv(op="%", x=x):
            fits = _scalar_becomes(x, node) and (isinstance(scalar_of(node.type), Real) or _whole(node.divisor))
        case Pack(elements=elements):
            fits = all(_scalar_becomes(x, node) for x in elements)
        case Index(vector=v) | Slice(vector=v):
            fits = _scalar_becomes(v, node)
        case Table():
            if not all(n > 0 for n in node.sizes):
                raise InvalidGraph("values", "a table has an argument without values", node.span)
            if not all(has_type(e, node.type) for e in node.entries):
                raise InvalidGraph("values", f"a table holds a value that is not of its type {node.type}", node.span)
        case _:
            pass
    if not fits:
        kinds = ", ".join(str(scalar_of(x.type)) for x in operands(node))
        raise InvalidGraph("kinds", f"{type(node).__name__} of {kinds} gives a {node.type}", node.span)


def _scalar_becomes(source: Node, target: Node) -> bool:
    return _becomes(scalar_of(source.type), scalar_of(target.type))


def _whole(x: int | Fraction) -> bool:
    return Fraction(x).denominator == 1
