"""What no output and no check needs goes: states that nothing reads, and checks that are constantly true."""

from __future__ import annotations

from dataclasses import replace

from lsrl.ir.graph import Graph, reachable
from lsrl.ir.nodes import Node, Read, operands
from lsrl.passes.rewrite import is_true, keep_numeric

__all__ = ["drop_dead"]


def drop_dead(graph: Graph) -> Graph:
    """Drops every state that reaches no output or check, through any number of states, and the names that need it.

    States that feed only themselves or each other are dead too. Every node is visited once: linear. A name that only
    needs inputs and living states stays.
    """
    checks = tuple(c for c in graph.checks if not is_true(c.condition))
    alive: set[str] = set()
    seen: set[Node] = set()
    work: list[Node] = [n for _, n in graph.outputs]
    for c in checks:
        work += [c.condition] if c.subject is None else [c.condition, c.subject]
    while work:
        node = work.pop()
        if node in seen:
            continue
        seen.add(node)
        work += operands(node)
        if isinstance(node, Read) and node.state not in alive:
            alive.add(node.state)
            work.append(graph.state[node.state].next)
    dropped = replace(graph, states=tuple(s for s in graph.states if s.name in alive), checks=checks,
                      names=_names(graph, alive))
    return dropped if keep_numeric(graph, dropped) else graph


def _names(graph: Graph, alive: set[str]) -> tuple[tuple[str, Node], ...]:
    """The names whose node reads living states only."""
    lost: set[Node] = set()
    for node in reachable(n for _, n in graph.names):
        gone = isinstance(node, Read) and node.state not in alive
        if gone or any(x in lost for x in operands(node)):
            lost.add(node)
    return tuple((name, n) for name, n in graph.names if n not in lost)
