"""What all passes share: one sweep over a graph that rebuilds it node by node.

A sweep visits every node once, operands before users, without recursion. It keeps names (a name that nothing else
needs stays as long as its node can be computed), spans, and the order of inputs, states, outputs and checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from lsrl.diagnostics import Span
from lsrl.ir.graph import Graph, GraphBuilder
from lsrl.ir.nodes import Affine, Const, Input, Node, map_operands, operands
from lsrl.ir.printer import all_nodes
from lsrl.ir.validate import has_type
from lsrl.types import Bool, Int, Real, Type, Value, scalar_of, shape, with_shape

__all__ = ["Emit", "constant", "count_uses", "is_exact", "keep_numeric", "kind_of", "is_true",
           "rebuild", "rewrite", "single_users", "sweep",
           "with_operands"]

Emit = Callable[[Node], Node]


def rewrite(graph: Graph, rule: Callable[[Node, Emit], Node]) -> Graph:
    """The graph with every node replaced by what `rule` makes of it.

    rule: gets a node over operands that are rewritten already, and `emit`, through which it passes every further node
    it makes; it returns a node of the same kind and shape, which computes the same. Linear, if `rule` is constant.
    """
    return sweep(graph, lambda node, made, emit: rule(map_operands(node, made.__getitem__), emit))


def sweep(graph: Graph, rule: Callable[[Node, Mapping[Node, Node], Emit], Node]) -> Graph:
    """As `rewrite`, for rules that need a node as it was: `rule` gets it and what became of the nodes before it."""
    builder = GraphBuilder()
    made: dict[Node, Node] = {}
    for node in all_nodes(graph):
        if isinstance(node, Input):
            made[node] = node
            continue
        new = builder.add(rule(node, made, builder.add))
        if kind_of(new.type) != kind_of(node.type):
            raise AssertionError(f"a {node.type} was rewritten to a {new.type}")
        made[node] = new
    return rebuild(graph, made)


def with_operands(node: Node, new: Sequence[Node], t: Type) -> Node:
    """The node over other operands and of another type, which may be of another shape."""
    if isinstance(node, Affine):
        return replace(node, terms=tuple((c, x) for (c, _), x in zip(node.terms, new, strict=True)), type=t)
    changes: dict[str, object] = {"type": t}
    rest = iter(new)
    for name in node.operand_fields:
        value = getattr(node, name)
        changes[name] = tuple(next(rest) for _ in value) if isinstance(value, tuple) else next(rest)
    return replace(node, **changes)  # type: ignore[arg-type]


def rebuild(graph: Graph, made: Mapping[Node, Node]) -> Graph:
    """The graph over other nodes: those that `made` gives for each of its own; inputs stay themselves.

    Names without a node are dropped.
    """
    return replace(
        graph,
        states=tuple(replace(s, next=made[s.next]) for s in graph.states),
        outputs=tuple((name, made[n]) for name, n in graph.outputs),
        checks=tuple(replace(c, condition=made[c.condition], subject=None if c.subject is None else made[c.subject])
                     for c in graph.checks),
        names=tuple((name, made[n]) for name, n in graph.names if n in made),
    )


def kind_of(t: Type) -> Type:
    """The type without its range: what a rewriting keeps."""
    match scalar_of(t):
        case Int():
            return with_shape(Int(), shape(t))
        case Real():
            return with_shape(Real(), shape(t))
        case _:
            return t


def constant(value: Value, t: Type, span: Span) -> Const:
    """A constant of a type, or of its kind where the value is outside its range: a check reports that."""
    if isinstance(t, Real) and isinstance(value, int):
        value = Fraction(value)
    return Const(value, t if has_type(value, t) else kind_of(t), span)


def is_exact(node: Node, numeric: bool) -> bool:
    """Whether arithmetic that gives this node is exact: all of it but reals in numeric graphs, which are float64."""
    return not numeric or not any(isinstance(scalar_of(x.type), Real) for x in (node, *operands(node)))


def keep_numeric(before: Graph, after: Graph) -> bool:
    """Whether a rewriting leaves the graph's arithmetic (float64 or exact) as it was, or has no reals to tell."""
    if before.numeric == after.numeric:
        return True
    return not any(isinstance(scalar_of(n.type), Real) for n in all_nodes(after)) \
        and not any(isinstance(scalar_of(s.type), Real) for s in after.states)


def count_uses(graph: Graph, nodes: Iterable[Node] | None = None) -> dict[Node, int]:
    """How often each node is read, by other nodes and by outputs, states and checks; names do not count."""
    uses = dict.fromkeys(graph.nodes if nodes is None else nodes, 0)
    for node in graph.nodes:
        for x in operands(node):
            uses[x] += 1
    for root in graph.roots:
        uses[root] += 1
    return uses


def single_users(graph: Graph, joins: Callable[[Node, Node], bool]) -> set[Node]:
    """The nodes that one node alone reads, once, and that may join it: `joins(user, node)`. Names do not count."""
    uses = count_uses(graph)
    return {x for user in graph.nodes for x in operands(user) if uses[x] == 1 and joins(user, x)}


def is_true(node: Node) -> bool:
    """Whether a node is the constant true, in every element."""
    return isinstance(node, Const) and isinstance(scalar_of(node.type), Bool) and node.value is True
