"""The graph: one program, elaborated. All targets start from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property

from lsrl.diagnostics import Span
from lsrl.ir.nodes import Const, Divide, Input, Node, Param, Read, Unary, operands
from lsrl.types import Type, Value

__all__ = ["Check", "Graph", "GraphBuilder", "State", "is_leaf", "reachable"]


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """What survives from one token to the next. `next` is its value after this token.

    free: a run may be given any other value of its type to start from, so nothing may be concluded from `init`; set
    by those who run it so, and no part of the text form.
    """

    name: str
    type: Type
    init: Value
    next: Node
    span: Span
    free: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """A condition that must hold at every token; where it is false, running stops there with `code` and `message`.

    kind: "assert" (the program's own, L5xx when refuted), "assume" (about the inputs), "range" (a declared range
    or domain, L204). `subject` is the value that is out of range, for the message; `message` may hold `{value}`.
    A check in a branch is true where the branch is not taken. Checks stand in the order of the text. `help` is for the
    message alone: the text form of a graph leaves it out, as it does spans.
    """

    kind: str
    condition: Node
    message: str
    code: str
    subject: Node | None
    span: Span
    help: str = ""


@dataclass(frozen=True, eq=False)
class Graph:
    """A typed dataflow graph.

    names: for each name of the program text, the node it denotes (the new value, for a state), as
    `name` for the program's own and `def.name`, `def#2.name` for those inside calls.
    """

    name: str
    inputs: tuple[Input, ...]
    states: tuple[State, ...]
    outputs: tuple[tuple[str, Node], ...]
    checks: tuple[Check, ...]
    names: tuple[tuple[str, Node], ...]
    span: Span
    doc: str = ""

    @property
    def roots(self) -> Iterator[Node]:
        """Everything that keeps a node alive (names do not)."""
        yield from (n for _, n in self.outputs)
        yield from (s.next for s in self.states)
        for c in self.checks:
            yield c.condition
            if c.subject is not None:
                yield c.subject

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node that a root needs and every input, operands before users, in a fixed order."""
        return reachable((*self.inputs, *self.roots))

    @cached_property
    def state(self) -> dict[str, State]:
        return {s.name: s for s in self.states}

    @cached_property
    def output(self) -> dict[str, Node]:
        return dict(self.outputs)

    @cached_property
    def params(self) -> tuple[Param, ...]:
        return tuple(n for n in self.nodes if isinstance(n, Param))

    @cached_property
    def numeric(self) -> bool:
        """True if the reference values are float64: a transcendental function, a division by a stream, a param."""
        return any(isinstance(n, Unary | Divide | Param) for n in self.nodes)

    def __eq__(self, other: object) -> bool:
        """Equal graphs compute the same by the same nodes; spans do not count."""
        from lsrl.ir.printer import print_graph

        return isinstance(other, Graph) and print_graph(self) == print_graph(other)

    def __hash__(self) -> int:
        from lsrl.ir.printer import print_graph

        return hash(print_graph(self))


def reachable(roots: Iterable[Node]) -> tuple[Node, ...]:
    """The nodes that the roots need, operands first; without recursion, so depth does not matter."""
    order: list[Node] = []
    done: set[Node] = set()
    for root in roots:
        stack: list[tuple[Node, Iterator[Node]]] = [(root, iter(operands(root)))] if root not in done else []
        entered = {root}
        while stack:
            node, rest = stack[-1]
            for x in rest:
                if x not in done and x not in entered:
                    entered.add(x)
                    stack.append((x, iter(operands(x))))
                    break
            else:
                stack.pop()
                if node not in done:
                    done.add(node)
                    order.append(node)
    return tuple(order)


class GraphBuilder:
    """Makes nodes, each only once: `add` returns the node that is there if an equal one is.

    Two nodes are equal if their kind, operands, attributes and types are (constants also by their Python type, so
    that 1, True and 1.0 stay apart); the span of the first is kept.
    """

    def __init__(self) -> None:
        self._known: dict[object, Node] = {}

    def add(self, node: Node) -> Node:
        """The one node equal to this one."""
        return self._known.setdefault(_key(node), node)


def _key(node: Node) -> object:
    kind = type(node)
    if isinstance(node, Const):
        return kind, repr(node.value), node.type
    names = _NAMES.get(kind)
    if names is None:
        names = _NAMES[kind] = tuple(f.name for f in fields(node) if f.name != "span")
    return kind, *[getattr(node, name) for name in names]


_NAMES: dict[type, tuple[str, ...]] = {}


def is_leaf(node: Node) -> bool:
    """Inputs, constants, params and reads: nodes without operands."""
    return isinstance(node, Input | Const | Param | Read)
