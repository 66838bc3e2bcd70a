"""Which machine number holds which value: bools, 32- or 64-bit integers, counts of a fixed step, or floats.

A rational of an exact program is held as an integer count of 1/scale (`lsrl.vector_plan`), so that kernels calculate
exactly. Where a rational has no step that fits, reals are floats, as they are in numeric programs: such a kernel is
compared with the reference in float64, within a bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

from lsrl.analysis.interval import Range, of_type, of_value
from lsrl.analysis.ranges import analyse
from lsrl.backends.kernels.code import Kind
from lsrl.diagnostics import NOWHERE, LsrlError, Span
from lsrl.ir.graph import Graph, State
from lsrl.ir.nodes import Node, operands
from lsrl.types import Bool, Int, Real, Symbols, Type, is_number, scalar_of
from lsrl.vector_plan import Plan, is_float, make_plan, natural_scale

__all__ = ["Edge", "Storage", "edge_of", "make_storage"]

# The element type of an array at the edge of a kernel. "float" is the float type that the user chooses.
Edge: TypeAlias = Literal["bool", "uint8", "int8", "int16", "int32", "int64", "float"]

_INPUT_LIMIT = 1 << 31  # of inputs of type `int`
_WIDTHS: tuple[tuple[Edge, int, int], ...] = (
    ("uint8", 0, 255), ("int8", -128, 127), ("int16", -(1 << 15), (1 << 15) - 1), ("int32", -(1 << 31), (1 << 31) - 1))


def edge_of(t: Type) -> Edge:
    """The narrowest element type that holds every value of a declared type; int64 where it has no bounds."""
    t = scalar_of(t)
    match t:
        case Bool():
            return "bool"
        case Symbols():
            lo, hi = 0, len(t.names) + t.other - 1
        case Int(lo=int(lo), hi=int(hi)):
            pass
        case Int():
            return "int64"
        case _:
            return "float"
    return next((name for name, least, most in _WIDTHS if least <= lo and hi <= most), "int64")


@dataclass(frozen=True)
class Storage:
    """The machine number of each node of a scalar graph.

    floats: whether reals are floats. guards: the largest count of each state that grows without bound; beyond it the
    proof that nothing overflows ends.
    """

    graph: Graph
    plan: Plan

    @property
    def floats(self) -> bool:
        return self.plan.numeric

    @property
    def exact(self) -> bool:
        """Whether every value is held exactly."""
        return not (self.floats and any(isinstance(scalar_of(n.type), Real) for n in self.graph.nodes))

    def kind(self, node: Node) -> Kind:
        """Of the node's value."""
        return self._kind(node.type, self.plan.bounds[node])

    def work_kind(self, node: Node) -> Kind:
        """Of what the node is calculated in, before it is brought to its own scale."""
        if is_float(node.type, self.floats) or any(is_float(x.type, self.floats) for x in operands(node)
                                                   if is_number(x.type)):
            return "float"
        return "int32" if self.plan.largest(node) < 1 << 31 else "int64"

    def scale(self, node: Node) -> int:
        """How many counts make 1."""
        return self.plan.scale[node]

    def natural_scale(self, node: Node) -> int:
        """The scale at which the node is calculated."""
        return natural_scale(node, self.plan.scale)

    def range(self, node: Node) -> Range:
        """The values of the node while no guard is passed."""
        return self.plan.ranges[node]

    def state_kind(self, state: State) -> Kind:
        if isinstance(state.type, Bool):
            return "bool"
        if is_float(state.type, self.floats):
            return "float"
        if isinstance(state.type, Symbols):
            return "int32"
        if state.name in self.plan.guards:
            return "int64" if self.plan.guards[state.name] >= 1 << 30 else "int32"
        most = max(self._count(state.next, state), abs(self.init(state)))
        return "int32" if most < 1 << 31 else "int64"

    def state_scale(self, state: State) -> int:
        return self.plan.state_scale[state.name]

    def init(self, state: State) -> int | float:
        """The initial value, in counts."""
        value = state.init
        assert not isinstance(value, tuple)
        return float(value) if self.state_is_float(state) else int(Fraction(value) * self.state_scale(state))

    def state_is_float(self, state: State) -> bool:
        return is_float(state.type, self.floats)

    def _count(self, node: Node, state: State) -> int:
        r = self.plan.ranges[node]
        return 1 if r.magnitude is None else int(r.magnitude * self.state_scale(state)) + 1

    def _kind(self, t: Type, bound: int) -> Kind:
        if isinstance(t, Bool):
            return "bool"
        if is_float(t, self.floats):
            return "float"
        return "int32" if bound < 1 << 31 else "int64"


def make_storage(graph: Graph, floats: bool = False) -> Storage:
    """The storage of a graph whose inputs lie in their types (`int` inputs within 32 bits).

    floats: hold reals in floats even where counts of a step would do.
    Raises LsrlError (L411) where an integer may need more than 64 bits.
    """
    proved = analyse(graph)
    for numeric in (graph.numeric or floats, True):
        inputs = {n.name: _input_range(n.type, numeric) for n in graph.inputs}
        states = {s.name: of_type(s.type, numeric) if s.free else of_value(s.init, s.type, numeric)
                  for s in graph.states}
        plan = make_plan(graph, inputs, states, numeric, proved)
        if plan is not None:
            return Storage(graph, plan)
        if not any(isinstance(scalar_of(n.type), Real) for n in graph.nodes):
            break
    raise LsrlError.of("L411", f"a number of `{graph.name}` may need more than 64 bits", _widest(graph, proved),
                       help="give the state a declared range, or keep it bounded with clamp or %")


def _input_range(t: Type, floats: bool) -> Range:
    inner = scalar_of(t)
    r = of_type(inner, floats)
    if isinstance(inner, Int) and not r.bounded:
        limit = Fraction(_INPUT_LIMIT)
        return Range(-limit if r.lo is None else r.lo, limit - 1 if r.hi is None else r.hi, Fraction(1))
    return r


def _widest(graph: Graph, ranges: Mapping[Node, Range]) -> Span:
    """Where the first number without bounds is."""
    return next((s.span for s in graph.states if is_number(s.type) and not ranges[s.next].bounded),
                next((n.span for n in graph.nodes if is_number(n.type) and not ranges[n].bounded), NOWHERE))
