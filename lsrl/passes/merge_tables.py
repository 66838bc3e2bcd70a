"""Whatever depends on one symbol or byte alone becomes one table of it.

`tok == "a" or tok == "b"` is two comparisons and an `or`: here one `Table`, whose rows say which letters act alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lsrl.arithmetic import convert, operation
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Const, Node, Table, map_operands, operands
from lsrl.passes.rewrite import Emit, constant, is_exact, kind_of, sweep
from lsrl.passes.simplify_logic import simplify_node
from lsrl.types import Int, Symbols, Value, is_scalar, size, values

__all__ = ["evaluate_letters", "letter_sources", "merge_tables"]

_LARGEST = 4096  # symbols in an alphabet


def merge_tables(graph: Graph) -> Graph:
    """One `Table` in place of two or more nodes that compute a scalar from one symbol or byte.

    Only where a node between goes away by it: it has no user that needs it for anything else. Each node is evaluated
    once for each symbol: linear in nodes times alphabet. Floats stay as they are.
    """
    source = letter_sources(graph)
    users: dict[Node, list[Node]] = {n: [] for n in graph.nodes}
    for node in graph.nodes:
        for x in operands(node):
            users[x].append(node)
    roots = set(graph.roots)
    inner = {n for n, s in source.items() if s is not None and s is not n and not isinstance(n, Const)}
    kept = {n for n in inner if n in roots or any(u not in inner for u in users[n])}
    merged = [n for n in graph.nodes if n in kept and any(x in inner and x not in kept for x in operands(n))]
    tables = evaluate_letters(graph, merged, source)
    numeric = graph.numeric

    def rule(node: Node, made: Mapping[Node, Node], emit: Emit) -> Node:
        if node not in tables:
            return map_operands(node, made.__getitem__)
        argument = source[node]
        if argument is None:
            raise AssertionError("a table without an argument")
        entries = tables[node]
        if all(e == entries[0] for e in entries):
            return constant(entries[0], node.type, node.span)
        table = Table((made[argument],), (0,), (len(entries),), entries, kind_of(node.type), node.span)
        return simplify_node(emit(table), numeric, emit)

    return sweep(graph, rule) if tables else graph


def letter_sources(graph: Graph) -> dict[Node, Node | None]:
    """For each node the one symbol that decides it (itself, for a symbol that more decides), or None."""
    found: dict[Node, Node | None] = {}
    for node in graph.nodes:
        of = {found[x] for x in operands(node) if not isinstance(x, Const)}
        if is_scalar(node.type) and len(of) == 1 and None not in of and is_exact(node, graph.numeric):
            found[node] = of.pop()
        else:
            found[node] = node if _is_letter(node) else None
    return found


def _is_letter(node: Node) -> bool:
    if isinstance(node, Const):
        return False
    whole = isinstance(node.type, Symbols) or (isinstance(node.type, Int) and node.type.raw)
    n = size(node.type) if whole else None
    return n is not None and n <= _LARGEST


def evaluate_letters(graph: Graph, merged: Sequence[Node],
                     source: Mapping[Node, Node | None]) -> dict[Node, tuple[Value, ...]]:
    """The value of each of the nodes for every symbol of its source."""
    needed = set(merged)
    for node in reversed(graph.nodes):
        if node in needed and source[node] is not node:
            needed.update(operands(node))
    columns: dict[Node, list[Value]] = {}
    for node in graph.nodes:
        if node not in needed:
            continue
        letter = source[node]
        if isinstance(node, Const):
            continue
        if letter is node:
            columns[node] = list(values(node.type))
        elif letter is not None:
            count = len(columns[letter])
            args = [[convert(x.value, x.type, graph.numeric)] * count if isinstance(x, Const) else columns[x]
                    for x in operands(node)]
            of = operation(node, graph.numeric)
            columns[node] = [of(*row) for row in zip(*args, strict=True)]
    return {n: tuple(columns[n]) for n in merged}
