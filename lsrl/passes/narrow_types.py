"""Types as narrow as the range analysis proves them, and what follows: constants, smaller tables, proved checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

from lsrl.analysis.ranges import Range, analyse
from lsrl.arithmetic import convert
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Const, FloorDiv, Input, MinMax, Node, Param, Read, Table, map_operands
from lsrl.passes.rewrite import Emit, constant, is_exact, is_true, keep_numeric, sweep
from lsrl.passes.simplify_logic import simplify_node
from lsrl.types import Int, Real, Type, Value, is_scalar

__all__ = ["narrow_types"]


def narrow_types(graph: Graph) -> Graph:
    """Ints and exact reals get the range that `lsrl.analysis.ranges` finds; a node with one value becomes a constant.

    Tables lose arguments that cannot occur, minima lose operands that are never the least, a remainder of what is
    small already goes, and so do checks whose condition always holds. One sweep after the analysis; linear.
    """
    ranges = analyse(graph)
    numeric = graph.numeric
    of_state: dict[str, Range] = {n.state: ranges[n] for n in graph.nodes if isinstance(n, Read)}
    types = {s.name: narrowed(s.type, of_state.get(s.name), numeric) for s in graph.states}

    def rule(node: Node, made: Mapping[Node, Node], emit: Emit) -> Node:
        if isinstance(node, Read):
            new: Node = replace(node, type=types[node.state])
        else:
            new = map_operands(node, made.__getitem__)
        found = ranges.get(node)
        if found is None or not is_scalar(node.type) or isinstance(node, Input | Const | Param):
            return new
        value = _only_value(found, node.type, numeric)
        if value is not None:
            return constant(value, node.type, node.span)
        if not isinstance(new, Read):
            new = replace(new, type=narrowed(node.type, found, numeric))
        return simplify_node(emit(_smaller(new, node, ranges, numeric)), numeric, emit)

    narrow = sweep(graph, rule)
    narrow = replace(narrow, states=tuple(replace(s, type=types[s.name]) for s in narrow.states),
                     checks=tuple(c for c in narrow.checks if not is_true(c.condition)))
    return narrow if keep_numeric(graph, narrow) else graph


def narrowed(t: Type, found: Range | None, numeric: bool) -> Type:
    """The part of a scalar type that lies in a range; floats keep their type."""
    if found is None:
        return t
    match t:
        case Int():
            lo, hi = _lower(_exact(t.lo), found.lo), _upper(_exact(t.hi), found.hi)
            if (lo, hi) == (t.lo, t.hi):
                return t
            return Int(None if lo is None else ceil(lo), None if hi is None else floor(hi))
        case Real() if not numeric:
            return Real(_lower(t.lo, found.lo), _upper(t.hi, found.hi), found.grid or t.grid)
        case _:
            return t


def _exact(x: int | None) -> Fraction | None:
    return None if x is None else Fraction(x)


def _lower(a: Fraction | None, b: Fraction | None) -> Fraction | None:
    return b if a is None else a if b is None else max(a, b)


def _upper(a: Fraction | None, b: Fraction | None) -> Fraction | None:
    return b if a is None else a if b is None else min(a, b)


def _only_value(found: Range, t: Type, numeric: bool) -> Value | None:
    """The one value there can be; None if there are more, and for floats, whose zeros have a sign."""
    if found.constant is None or (numeric and isinstance(t, Real)):
        return None
    return convert(found.constant, t)


def _smaller(node: Node, old: Node, ranges: Mapping[Node, Range], numeric: bool) -> Node:
    """The node without what its operands' ranges rule out. `old` is the node over the operands that have ranges."""
    match node, old:
        case Table(), Table():
            return _smaller_table(node, [ranges[x] for x in old.args])
        case MinMax(), MinMax() if is_exact(node, numeric):
            return _fewer_args(node, [ranges[x] for x in old.args])
        case FloorDiv(op="%"), FloorDiv(x=x) if is_exact(node, numeric):
            r = ranges[x]
            small = r.lo is not None and r.lo >= 0 and r.hi is not None and r.hi < node.divisor
            return node.x if small and type(node.x.type) is type(node.type) else node
        case _:
            return node


def _fewer_args(node: MinMax, ranges: list[Range]) -> Node:
    """The operands that can be the least (or the greatest)."""
    best: Fraction | None = None  # some operand is never above (below) it
    for r in ranges:
        end = r.hi if node.op == "min" else r.lo
        if end is not None and (best is None or (end < best if node.op == "min" else end > best)):
            best = end
    if best is None:
        return node
    kept: list[Node] = []
    reached = False
    for x, r in zip(node.args, ranges, strict=True):
        near, far = (r.lo, r.hi) if node.op == "min" else (r.hi, r.lo)
        if far == best and not reached:
            reached = True  # the first operand that keeps the bound stays
        elif near is not None and (near >= best if node.op == "min" else near <= best):
            continue
        kept.append(x)
    return replace(node, args=tuple(kept))


def _smaller_table(node: Table, ranges: list[Range]) -> Table:
    """The table over the int arguments that can occur."""
    los, sizes = list(node.los), list(node.sizes)
    for k, (x, r) in enumerate(zip(node.args, ranges, strict=True)):
        if not isinstance(x.type, Int) or not r.bounded or r.lo is None or r.hi is None:
            continue
        last = los[k] + sizes[k] - 1
        lo, hi = (min(max(int(end), los[k]), last) for end in (r.lo, r.hi))
        los[k], sizes[k] = lo, hi - lo + 1
    places = [0]
    for lo, size, new_lo, new_size in zip(node.los, node.sizes, los, sizes, strict=True):
        places = [p * size + new_lo - lo + i for p in places for i in range(new_size)]
    entries = tuple(_nearest(node.entries[p], node.type) for p in places)
    return replace(node, los=tuple(los), sizes=tuple(sizes), entries=entries)


def _nearest(value: Value, t: Type) -> Value:
    """The value of the type nearest to an entry; one outside is never reached."""
    if not isinstance(t, Int | Real) or isinstance(value, float | tuple):
        return value
    value = value if t.lo is None else max(value, t.lo)
    return value if t.hi is None else min(value, t.hi)
