"""Affine programs in layers of tanh, by small signals: tanh z = z (1 − z²/3 + …) is z as a float has it, if z is small.

A program whose every value is affine in its old states and its inputs is one layer: a unit for each state and each
output, h := tanh(A h + B x + b), all of it scaled by 2⁻⁴⁰ (2⁻⁶⁰ in float64), so that the numbers of the program, up to
2²⁰ (2³⁰), are at most 2⁻²⁰ (2⁻³⁰) there: then z²/3 is less than half a unit in the last place. A float's relative
precision is the same at any scale, so nothing is lost by it. Gates are open or shut by saturation, so that h is that
tanh, or a second one of it (LSTM). What tanh is off by is taken to be 8 units in the last place for each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import torch

from lsrl.analysis.cells import find_cells
from lsrl.analysis.interval import Range
from lsrl.analysis.ranges import analyse
from lsrl.backends.approximate import Approximate
from lsrl.backends.circuit import CellReport, Circuit, Column, Count, Gated, Output, Placement, Quantity, Symbol
from lsrl.backends.emission import Emission, Technology, output_grids, unit_kinds
from lsrl.backends.error_bound import Accuracy, ErrorBound, bound_errors
from lsrl.backends.gated.plan import GATE, rows
from lsrl.backends.layers import Layer, LayerWeights
from lsrl.backends.linear_form import Form, constant, signal
from lsrl.backends.refusal import NotHostedError, refuse, refuse_numeric
from lsrl.backends.relu import output_scalars
from lsrl.backends.structure import InputScalar, input_scalar
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Affine, Const, Node, Read
from lsrl.types import Bool, Int, Real, scalar_of

__all__ = ["SIGNAL", "Gating", "affine_circuit", "small_signal"]

SIGNAL = {torch.float32: 2.0**-40, torch.float64: 2.0**-60}  # what a unit holds of its number
_LARGEST = {torch.float32: 2.0**20, torch.float64: 2.0**30}
_TANH = 16  # roundings of it, in units of u


@dataclass(frozen=True, slots=True)
class Gating:
    """A kind of layer. gates: for each, in torch's order, whether it is to be open (1), shut (−1), or its argument 0;
    place: that of the tanh. layer: what makes a layer from weights, where torch has none."""

    kind: str
    gates: tuple[int, ...]
    place: int
    technology: Technology | None = None
    layer: Callable[[LayerWeights, torch.dtype], Layer] | None = None


def small_signal(gating: Gating) -> Approximate:
    """What hosts affine programs in layers of that kind; see the module."""
    def host(graph: Graph, target: str, dtype: torch.dtype, epsilon: Fraction,
             limit: int) -> tuple[Circuit, Emission, ErrorBound]:
        circuit = affine_circuit(graph, target)
        accuracy = Accuracy(passes=0, squash=2 * _TANH, largest=_LARGEST[dtype])
        bound = bound_errors(circuit, dtype, epsilon, limit, accuracy)
        return circuit, replace(_emit(circuit, dtype, gating, bound, limit), epsilon=epsilon), bound

    return host


def affine_circuit(graph: Graph, target: str) -> Circuit:
    """A scalar graph whose values are all affine as one layer. Raises RefusalError (L402, L405)."""
    numeric = refuse_numeric(graph, target)
    if numeric is not None:
        raise numeric
    try:
        return _Affine(graph).circuit()
    except NotHostedError as error:
        raise refuse(graph, target, "L402", error.node, error.reason) from None


class _Affine:
    def __init__(self, graph: Graph) -> None:
        self.graph, self.ranges = graph, analyse(graph)
        self.columns: list[Column] = []
        self.forms: dict[Node, tuple[Form, Form]] = {}  # over the columns, over the states' units
        self.unit = {s.name: k for k, s in enumerate(graph.states)}
        self.inputs: dict[InputScalar, Form] = {}

    def circuit(self) -> Circuit:
        units = [self._unit(s.next, Symbol(s.name, s.span, (s.name,)), Fraction(self._number(s.init, s.next)))
                 for s in self.graph.states]
        known = {s.next: k for k, s in enumerate(self.graph.states)}
        outputs: list[Output] = []
        for name, node in self.graph.outputs:
            forms: list[Form] = []
            for x in output_scalars(node, self.ranges):
                if not isinstance(x.type, Real | Int):
                    raise NotHostedError(x, "its outputs are no numbers, and small signals make no decisions")
                if x not in known:
                    known[x] = len(units)
                    units.append(self._unit(x, Symbol(name, x.span), Fraction(0)))
                forms.append(signal(known[x]))
            outputs.append(Output(name, node.type, tuple(forms)))
        states = self.graph.states
        placement = Placement(1, (), numbers=tuple(
            (s.name, Count(signal(k), ((k, 1, 0, False),))) for k, s in enumerate(states)))
        cells = tuple(CellReport(c.states, c.kind, 1, len(c.states), None, c.span)
                      for c in find_cells(self.graph, self.ranges))
        quantities = tuple(Quantity(s.name, r.lo, r.hi, r.grid or 0)
                           for s in states for r in (self.ranges.get(s.next, Range(None, None, None)),))
        return Circuit(self.graph.name, tuple(self.columns), (tuple(units),), tuple(outputs),
                       (placement,) if states else (), cells, quantities)

    def _unit(self, node: Node, symbol: Symbol, start: Fraction) -> Gated:
        below, own = self._of(node)
        r = self.ranges.get(node, Range(None, None, None))
        keeps = tuple((constant(w), i) for w, i in own.terms)
        return Gated(keeps, below + own.bias, symbol, start, None if r.lo is None else min(r.lo, start),
                     None if r.hi is None else max(r.hi, start), fine=True)

    def _of(self, root: Node) -> tuple[Form, Form]:
        """A node as a form over the columns and one over the states; without recursion."""
        stack = [root]
        while stack:
            node = stack[-1]
            if node in self.forms:
                stack.pop()
                continue
            if isinstance(node, Affine):
                missing = [x for _, x in node.terms if x not in self.forms]
                if missing:
                    stack.extend(missing)
                    continue
                parts = [(Fraction(c), self.forms[x]) for c, x in node.terms]
                self.forms[node] = (Form.total((f.scale(c) for c, (f, _) in parts), node.bias),
                                    Form.total(f.scale(c) for c, (_, f) in parts))
            else:
                self.forms[node] = self._leaf(node)
            stack.pop()
        return self.forms[root]

    def _leaf(self, node: Node) -> tuple[Form, Form]:
        scalar = input_scalar(node)
        if isinstance(node, Const):
            return constant(self._number(node.value, node)), Form()
        if isinstance(node, Read) and isinstance(node.type, Real | Int):
            return Form(), signal(self.unit[node.state])
        if scalar is not None and isinstance(scalar_of(node.type), Real | Int | Bool):
            return self._column(scalar, node), Form()
        raise NotHostedError(node, "with an error, a layer of tanh hosts what is affine in its states and inputs, by "
                             "small signals, and this is not")

    def _column(self, scalar: InputScalar, node: Node) -> Form:
        if scalar not in self.inputs:
            name, element = scalar
            grid = node.type.grid if isinstance(node.type, Real) else Fraction(1)
            size = self.ranges[node].magnitude
            step = grid or Fraction(1)
            bit = isinstance(node.type, Bool)
            self.columns.append(Column(name, element, (True,) if bit else None, step,
                                       None if size is None or bit else size / step, grid is None))
            self.inputs[scalar] = signal(len(self.columns) - 1, step)
        return self.inputs[scalar]

    @staticmethod
    def _number(value: object, node: Node) -> Fraction:
        if not isinstance(value, int | Fraction):
            raise NotHostedError(node, "a value of it is no number")
        return Fraction(value)


def _emit(circuit: Circuit, dtype: torch.dtype, gating: Gating, near: ErrorBound, limit: int) -> Emission:
    scale, units = SIGNAL[dtype], circuit.layers[0]
    gated = [u for u in units if isinstance(u, Gated)]
    n, inputs = len(gated), len(circuit.columns)
    own = torch.zeros(n, n, dtype=torch.float64)
    for k, u in enumerate(gated):
        for keep, i in u.keeps:
            own[k, i] = float(keep.bias)
    below, bias = rows([u.add for u in gated], inputs)
    w_in, w_own = (torch.zeros(len(gating.gates) * n, x, dtype=torch.float64) for x in (inputs, n))
    biases = torch.cat([torch.full((n,), g * GATE[dtype], dtype=torch.float64) for g in gating.gates])
    here = slice(gating.place * n, (gating.place + 1) * n)
    w_in[here], w_own[here], biases[here] = below * scale, own, bias * scale
    h = torch.tensor([float(u.start) * scale for u in gated], dtype=dtype)
    initial = {"rnn_tanh": (h,), "gru": (h,), "lstm": (h, h)}.get(
        gating.kind, (h, h, torch.ones_like(h), torch.zeros_like(h)))
    weights = LayerWeights(w_in.to(dtype), w_own.to(dtype), biases.to(dtype), torch.zeros_like(biases, dtype=dtype),
                           initial)
    grids = output_grids(circuit.outputs, near.errors)
    every = (f for o in circuit.outputs for f in o.forms)
    forms = [f.scale(1 / (g or Fraction(1))) for f, g in zip(every, grids, strict=True)]
    weight, offset = rows(forms, n)
    unbounded = any(c.values is None and (c.hi is None or c.fine) for c in circuit.columns)
    kinds = (unit_kinds(units),)
    shown = (weight / scale).to(dtype), offset.to(dtype)
    saturation = f"gates are 0 or 1 exactly; tanh of numbers scaled by {scale:g} is taken to be linear"
    if gating.layer is None:
        return Emission(gating.kind, (weights,), kinds, shown, grids, 0.0, gating.technology, 0.5, (), near.horizon,
                        Fraction(0), (None,), limit if unbounded else None, saturation, errors=near.errors)
    return Emission(gating.kind, (gating.layer(weights, dtype),), kinds, shown, grids, 0.0, None, 0.5, (), near.horizon,
                    Fraction(0), (None,), limit if unbounded else None, saturation,
                    (tuple(t.unsqueeze(0) for t in initial),), errors=near.errors)
