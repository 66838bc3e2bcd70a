"""How a batch of sequences can be held in 64-bit arrays: a scale for every rational, and a proof that all fits.

An exact rational is held as an int64 count of 1/scale. The scale and the bounds come from the range analysis, run
from the values that the batch really has. A state that grows without bound is assumed to stay within a limit, which
the run watches (`guards`); everything else is proved.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from lsrl.analysis.interval import Range, join, meet
from lsrl.analysis.transfer import Transfer
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import (
    Affine,
    Compare,
    FloorDiv,
    Input,
    MatMul,
    MinMax,
    Mul,
    Mux,
    Node,
    Pack,
    Param,
    Read,
    operands,
)
from lsrl.types import Int, Real, Type, is_number, scalar_of, shape

__all__ = ["Plan", "make_plan", "natural_scale"]

_ROOM = 1 << 62  # what every intermediate value stays below
_LIMITS = (1 << 50, 1 << 40, 1 << 30, 1 << 20)  # of states that grow, in multiples of their grid
_JOINS = 5  # rounds before a state that still grows gets a limit
_ROUNDS = 40
_FLOAT = Range(None, None, None, True)


@dataclass(frozen=True)
class Plan:
    """scale: for each node the number of parts of 1 that its int64 array counts (1 for ints, bools and floats).

    state_scale: the same for states. guards: for each state that grows, the largest count that the proof covers.
    bounds: the largest count of each node. ranges: the values of each node while no guard is passed. numeric: whether
    reals are floats.
    """

    scale: Mapping[Node, int]
    state_scale: Mapping[str, int]
    guards: Mapping[str, int]
    bounds: Mapping[Node, int]
    ranges: Mapping[Node, Range]
    numeric: bool

    def largest(self, node: Node) -> int:
        """A bound of the counts that calculating the node goes through."""
        return _largest(node, self)


def make_plan(graph: Graph, inputs: Mapping[str, Range], states: Mapping[str, Range],
              numeric: bool | None = None, proved: Mapping[Node, Range] | None = None) -> Plan | None:
    """A plan for a batch whose inputs and initial states lie in those ranges; None if 64 bits do not suffice.

    numeric: whether reals are held in floats; as the graph says if None. proved: ranges of nodes that are known
    already (`lsrl.analysis.ranges`), if the states start as the program says.
    """
    floats = graph.numeric if numeric is None else numeric
    for limit in _LIMITS:
        found = _solve(graph, inputs, states, limit, floats, proved or {})
        if found is None:
            return None
        ranges, current, guarded = found
        plan = _plan(graph, ranges, current, guarded, floats)
        if plan is not None:
            return plan
    return None


def is_float(t: Type, numeric: bool) -> bool:
    """Whether values of the type are float64: the reals of numeric programs."""
    return numeric and isinstance(scalar_of(t), Real)


def _solve(graph: Graph, inputs: Mapping[str, Range], states: Mapping[str, Range], limit: int,
           numeric: bool, proved: Mapping[Node, Range]) -> tuple[dict[Node, Range], dict[str, Range], list[str]] | None:
    """Ranges of all nodes that hold while the guarded states stay in theirs; None if there are none."""
    transfer = Transfer(numeric)
    current = {s.name: _FLOAT if is_float(s.type, numeric) else states[s.name] for s in graph.states}
    guarded: dict[str, None] = {}
    for turn in range(_ROUNDS):
        ranges: dict[Node, Range] = {}
        for node in graph.nodes:
            if isinstance(node, Input):
                ranges[node] = inputs[node.name]
            elif isinstance(node, Read):
                ranges[node] = current[node.state]
            elif is_float(node.type, numeric) and not operands(node):
                ranges[node] = _FLOAT
            else:
                ranges[node] = transfer(node, ranges.__getitem__)
            if node in proved and not is_float(node.type, numeric):
                ranges[node] = meet(ranges[node], proved[node]) or ranges[node]
        changed = False
        for s in graph.states:
            old = current[s.name]
            if is_float(s.type, numeric):
                continue
            new = join(old, ranges[s.next])
            if new.grid is None or new.grid.denominator > _ROOM:
                return None
            if s.name in guarded:
                new = _limited(new.grid, limit)
            elif new != old and turn >= _JOINS and s.next in proved and proved[s.next].bounded:
                new = join(old, proved[s.next])
            elif new != old and (turn >= _JOINS or new.magnitude is None or new.magnitude > _ROOM):
                guarded[s.name] = None
                new = _limited(new.grid, limit)
            changed = changed or new != old
            current[s.name] = new
        if not changed:
            covered = all(current[name].contains(states[name]) for name in guarded)
            return (ranges, current, list(guarded)) if covered else None
    return None


def _limited(grid: Fraction | None, limit: int) -> Range:
    size = limit * (grid or 1)
    return Range(-Fraction(size), Fraction(size), grid)


def _plan(graph: Graph, ranges: Mapping[Node, Range], current: Mapping[str, Range],
          guarded: list[str], numeric: bool) -> Plan | None:
    scale: dict[Node, int] = {}
    bounds: dict[Node, int] = {}
    for node in graph.nodes:
        if is_float(node.type, numeric) or not is_number(scalar_of(node.type)):
            scale[node], bounds[node] = 1, 1
            continue
        r = ranges[node]
        if r.magnitude is None or r.nan or (r.grid is None and not numeric):
            return None
        scale[node] = 1 if r.grid is None or isinstance(scalar_of(node.type), Int) else r.grid.denominator
        bounds[node] = math.ceil(r.magnitude * scale[node])
    state_scale: dict[str, int] = {}
    for s in graph.states:
        grid = current[s.name].grid
        whole = grid is None or not isinstance(scalar_of(s.type), Real) or numeric
        state_scale[s.name] = 1 if whole or grid is None else grid.denominator
    plan = Plan(scale, state_scale, {n: _guard(current[n], state_scale[n]) for n in guarded}, bounds, ranges, numeric)
    if all(_largest(node, plan) < _ROOM for node in graph.nodes):
        return plan
    return None


def _guard(r: Range, scale: int) -> int:
    assert r.hi is not None
    return math.floor(r.hi * scale)


def natural_scale(node: Node, scale: Mapping[Node, int]) -> int:
    """The scale at which an exact number node is calculated, before its result is brought to its own scale."""
    match node:
        case Affine():
            parts = [Fraction(c, scale[x]).denominator for c, x in node.terms]
            return math.lcm(Fraction(node.bias).denominator, *parts)
        case Mul(a=a, b=b) | MatMul(a=a, b=b):
            return scale[a] * scale[b]
        case FloorDiv(op="%", x=x, divisor=d):
            return math.lcm(scale[x], Fraction(d).denominator)
        case FloorDiv():
            return 1
        case Mux(then=a, other=b) | Compare(a=a, b=b):
            return math.lcm(scale[a], scale[b])
        case MinMax() | Pack():
            return math.lcm(*(scale[x] for x in operands(node)))
        case _:
            return scale[node]


def _largest(node: Node, plan: Plan) -> int:
    """A bound of every value that calculating the node goes through."""
    scale, bounds, numeric = plan.scale, plan.bounds, plan.numeric
    if isinstance(node, Param) or is_float(node.type, numeric) or \
            (isinstance(node, Compare) and any(is_float(x.type, numeric) for x in operands(node))):
        return 0
    at = natural_scale(node, scale)
    own = bounds[node]
    if at % scale[node] and scale[node] % at:
        return _ROOM
    spread = own * max(1, at // scale[node]) + own
    match node:
        case Affine():
            total = abs(Fraction(node.bias)) * at
            for c, x in node.terms:
                total += abs(Fraction(c) * at / scale[x]) * bounds[x]
            return spread + math.ceil(total)
        case Mul(a=a, b=b):
            return spread + bounds[a] * bounds[b]
        case MatMul(a=a, b=b):
            return spread + bounds[a] * bounds[b] * shape(a.type)[-1]
        case FloorDiv(op="%", x=x, divisor=d):
            return spread + bounds[x] * at + math.ceil(Fraction(d) * at)
        case FloorDiv(x=x, divisor=d):
            exact = Fraction(d)
            return spread + bounds[x] * exact.denominator + scale[x] * exact.numerator
        case Mux() | Compare() | MinMax() | Pack():
            return spread + sum(bounds[x] * at for x in operands(node))
        case _:
            return spread
