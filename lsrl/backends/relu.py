"""Scalarised graphs as ReLU circuits: cells in layers, maps between them, read-outs; technology R.

A program of finite values is laid out as for thresholds (`lower`); one that holds numbers is lowered here, from the
outputs back to the inputs, so that only what something reads is ever made. A cell is the smallest of what fits it: a
delay, a piecewise-linear cell, an automaton.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import torch

from lsrl.analysis.cells import Cell, find_cells
from lsrl.analysis.interval import Range
from lsrl.analysis.ranges import analyse
from lsrl.backends.cell_expressions import PiecewiseCell, piecewise
from lsrl.backends.certificate import PRECISION
from lsrl.backends.circuit import CellReport, Circuit, Number, Output, Placement, Quantity
from lsrl.backends.cubes import TooLargeError
from lsrl.backends.emission import Emission
from lsrl.backends.error_bound import Accuracy, ErrorBound, bound_errors
from lsrl.backends.linear_form import Form
from lsrl.backends.lower import bits_circuit
from lsrl.backends.machine_units import build as build_machine
from lsrl.backends.machines import machine
from lsrl.backends.numbers import Maps
from lsrl.backends.piecewise import TooDeepError
from lsrl.backends.recurrences import build, delay
from lsrl.backends.refusal import NotHostedError, RefusalError, refuse, refuse_numeric
from lsrl.backends.rnn_relu import emit, single_units
from lsrl.backends.whole import whole_weights
from lsrl.backends.wiring import Quantum, Wiring, pruned
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Const, Index, Input, Node, Pack, Read, operands
from lsrl.types import Bool, Int, Symbols, Vector, is_scalar, size

__all__ = ["NumberLowering", "output_scalars", "refusal_code", "relu_circuit", "relu_nearly"]

_FEW_STATES, _FEW_INPUTS = 16, 256
_MOST_VALUES = 40


def relu_circuit(graph: Graph, target: str, dtype: torch.dtype) -> Circuit:
    """The circuit of a graph that the pass pipeline has made scalar; gates over unbounded numbers are as large as the
    dtype allows. Laid out with numbers, and by bits where its values are few: the smaller one, but one above the
    automaton baseline only where there is no other. Bits are not tried where one unit for each value of each state
    would be many, and numbers fit.

    Raises RefusalError (L402 to L406).
    """
    numeric = refuse_numeric(graph, target)
    if numeric is not None:
        raise numeric
    options: list[Circuit] = []
    reasons: list[RefusalError] = []
    few = _few_values(graph)
    layouts: list[Callable[[], Circuit]] = [
        lambda: _numbers_circuit(graph, target, dtype), lambda: bits_circuit(graph, target, general=2)]
    for layout in layouts:
        if options and not _above_baseline(options[0]) and not (few and _values(graph) <= _MOST_VALUES):
            break
        try:
            options.append(layout())
        except RefusalError as error:
            reasons.append(error)
    if not options:
        raise reasons[1 if few else 0]
    return min((whole_weights(single_units(c)) for c in reversed(options)),
               key=lambda c: (_above_baseline(c), c.width, len(c.layers)))


def _numbers_circuit(graph: Graph, target: str, dtype: torch.dtype, fine: bool = False) -> Circuit:
    try:
        return NumberLowering(graph, dtype, fine).circuit()
    except NotHostedError as error:
        raise refuse(graph, target, refusal_code(error.reason), error.node, error.reason) from None
    except TooLargeError:
        reason = "its finite part has too many cases"
        raise refuse(graph, target, "L406", graph.outputs[0][1], reason) from None


def relu_nearly(graph: Graph, target: str, dtype: torch.dtype, epsilon: Fraction,
                limit: int) -> tuple[Circuit, Emission, ErrorBound]:
    """As `approximate.Approximate` has it: the circuit with numbers that are not whole, and a bound of the error."""
    numeric = refuse_numeric(graph, target)
    if numeric is not None:
        raise numeric
    circuit = single_units(_numbers_circuit(graph, target, dtype, fine=True))
    bound = bound_errors(circuit, dtype, epsilon, limit, Accuracy())
    return circuit, replace(emit(circuit, dtype, bound, limit), epsilon=epsilon, errors=bound.errors), bound


def _above_baseline(circuit: Circuit) -> bool:
    """Whether automata with a unit for every pair of a state and a letter would be smaller."""
    return circuit.baseline is not None and circuit.width > circuit.baseline


def _values(graph: Graph) -> int:
    """Values of all states, but one of each: the units of a one-hot code."""
    return sum((size(s.type) or 0) - 1 for s in graph.states)


def _few_values(graph: Graph) -> bool:
    """Whether a layout by bits may be small: all states and inputs have few values."""
    limits = [(size(s.type), _FEW_STATES) for s in graph.states] + [(size(i.type), _FEW_INPUTS) for i in graph.inputs]
    return all(n is not None and n <= most for n, most in limits)


def refusal_code(reason: str) -> str:
    """The code of a refusal with that reason."""
    return "L404" if "grid" in reason else "L406" if "too many" in reason else "L402"


class NumberLowering:
    """Lowers a graph from its outputs back to its inputs, node by node; see the module."""

    def __init__(self, graph: Graph, dtype: torch.dtype, fine: bool = False) -> None:
        """fine: reals without a grid are held too, so that the circuit's numbers are not whole."""
        self.graph = graph
        self.ranges = analyse(graph)
        names: dict[Node, str] = {n: name for name, n in reversed(graph.names)}
        names.update({s.next: s.name for s in graph.states})
        self.wiring = Wiring()
        bits = PRECISION[str(dtype).removeprefix("torch.")]
        self.maps = Maps(self.wiring, self.ranges, names, Fraction(2 ** (bits - 1) - 2 ** (bits - 5)), fine)
        self.cell: dict[Node, Cell] = {}
        for cell in find_cells(graph):
            for node in (*cell.reads, *(cell.inside if cell.feedback else ())):
                if isinstance(node, Read) or node in cell.nexts:
                    self.cell[node] = cell
        self.built: set[Cell] = set()
        self.placements: list[Placement] = []
        self.reports: list[CellReport] = []
        self.quantities: list[Quantity] = []

    def circuit(self) -> Circuit:
        scalars = [(name, node.type, output_scalars(node, self.ranges)) for name, node in self.graph.outputs]
        for _, _, nodes in scalars:
            for node in nodes:
                self.hold(node)
        self.finish([n for _, _, nodes in scalars for n in nodes])
        last = max((self.maps.level(n) for _, _, nodes in scalars for n in nodes), default=0)
        outputs = tuple(Output(name, t, tuple(self._readout(n, last) for n in nodes)) for name, t, nodes in scalars)
        layers = tuple(map(tuple, self.wiring.layers[:last]))  # fewer than `last` where what they show is constant
        whole = Circuit(self.graph.name, tuple(self.wiring.columns), layers, outputs,
                        tuple(p for p in self.placements if p.layer <= len(layers)), tuple(self.reports),
                        tuple(self.quantities))
        small = pruned(whole)
        small = replace(small, cells=tuple(_measured(c, small) for c in small.cells), notes=self.notes(small))
        known = [c.baseline for c in small.cells if c.baseline is not None]
        if not known or len(known) < len(small.cells):
            return small
        return replace(small, baseline=sum(known) + small.width - sum(c.width for c in small.cells))

    def finish(self, outputs: Sequence[Node]) -> None:
        """Looks at the outputs when all cells are built, before they are read."""

    def notes(self, circuit: Circuit) -> tuple[str, ...]:
        """What the certificate should add."""
        caps = [u.cap for layer in circuit.layers for u in layer if isinstance(u, Number) and u.cap is not None]
        if not caps:
            return ()
        return (f"gates over numbers without bounds subtract {self.maps.mask} where they are shut, and so are right "
                "while those numbers are no larger, which the horizon takes into account",)

    def _readout(self, node: Node, layer: int) -> Form:
        if isinstance(node.type, Bool):
            return self.maps.bit(node, layer)
        held = None if isinstance(node, Const) else self.maps.held[node]
        if isinstance(held, Quantum):
            return held.at(layer)
        c = self.maps.choice(node)
        return c.total([Fraction(v) for v in c.domain if isinstance(v, int | Fraction)], layer)

    def hold(self, root: Node) -> None:
        """Lowers a node and all that it needs; without recursion."""
        held = self.maps.held
        stack = [root]
        while stack:
            node = stack[-1]
            if node in held or isinstance(node, Const):
                stack.pop()
                continue
            cell = self.cell.get(node)
            if cell is not None and cell in self.built:
                stack.pop()
                self.show(node, cell)
                continue
            parts = list(cell.boundary) if cell is not None else [] if _is_input(node) else list(operands(node))
            missing: list[Node] = [x for x in parts if not (x in held or isinstance(x, Const | Pack) or self.gone(x))]
            missing += [e for x in parts if isinstance(x, Pack) for e in x.elements
                        if e not in held and not isinstance(e, Const)]
            if missing:
                stack.extend(reversed(missing))
                continue
            stack.pop()
            if cell is None:
                self.maps.lower(node)
                if node not in held:
                    raise NotHostedError(node, "a whole vector is used where numbers are wanted")
            else:
                self.built.add(cell)
                self.build(cell)
                stack = [root]  # what stands between may be a matter of the cell alone

    def gone(self, node: Node) -> bool:
        """Whether a node is inside an automaton that shows others of its values instead."""
        return node in self.cell and self.cell[node] in self.built

    # Cells

    def show(self, node: Node, cell: Cell) -> None:
        """Holds a node of a cell that is built, where building it has not done so."""

    def build(self, cell: Cell) -> None:
        """Makes a cell's units, and holds what they show."""
        if not cell.feedback:
            self._delay(cell)
            return
        numbers: PiecewiseCell | None = None
        reasons: list[NotHostedError] = []
        try:
            numbers = piecewise(cell, self.ranges, None if self.maps.fine else self.maps.mask)
        except TooDeepError as error:
            reasons.append(NotHostedError(cell.nexts[0], f"{cell.kind} feedback: {error}"))
        for counting in (False, True):
            if counting and numbers is not None:
                break
            if not counting and numbers is not None and not _is_small(cell, 4 * numbers.width + 64):
                continue
            try:
                found = machine(cell, self.maps, counting)
                if numbers is None or len(found.cover.cubes) <= 2 * numbers.width + 4:
                    self.note(*build_machine(found, self.maps))
                    self.measure(cell)
                    return
            except NotHostedError as error:
                reasons.append(error)
            except TooLargeError:
                reasons.append(NotHostedError(cell.nexts[0], "it has too many states or cases"))
        if numbers is None:
            raise reasons[-1 if cell.kind == "counter-machine" else 0]
        self.note(*build(numbers, self.maps, cell.kind))
        self.measure(cell)

    def measure(self, cell: Cell) -> None:
        """Notes the ranges of a cell's numbers for the certificate."""
        for s in cell.members:
            r = self.ranges[s.next]
            if not isinstance(s.type, Bool | Symbols):
                none = 0 if self.maps.fine and r.grid is None else 1
                self.quantities.append(Quantity(s.name, r.lo, r.hi, r.grid or none))

    def _delay(self, cell: Cell) -> None:
        for s in cell.members:
            placement, report = delay(s, [r for r in cell.reads if r.state == s.name], self.maps, cell.kind)
            self.note(placement, report)

    def note(self, placement: Placement | None, report: CellReport) -> None:
        """Records where a cell was placed and how."""
        if placement is not None and (placement.states or placement.numbers):
            self.placements.append(placement)
        self.reports.append(report)


def _measured(report: CellReport, circuit: Circuit) -> CellReport:
    """The report with the units that are left of the cell."""
    layer = circuit.layers[report.layer - 1] if report.layer <= len(circuit.layers) else ()
    own = set(report.states)
    return replace(report, width=sum(1 for u in layer if own & set(u.symbol.states)))


def _is_small(cell: Cell, most: int) -> bool:
    return cell.automaton is not None and len(cell.automaton.states) <= most


def _is_input(node: Node) -> bool:
    """Whether a node is an input or, element by element, a part of one."""
    while isinstance(node, Index) and isinstance(node.index, Const):
        node = node.vector
    return isinstance(node, Input)


def output_scalars(node: Node, ranges: dict[Node, Range]) -> list[Node]:
    """The scalars of an output, row-major; those of a whole input get the range of the input."""
    out: list[Node] = []
    stack = [node]
    while stack:
        n = stack.pop()
        if isinstance(n, Pack):
            stack.extend(reversed(n.elements))
        elif is_scalar(n.type):
            out.append(n)
        elif isinstance(n.type, Vector) and isinstance(n, Const) and isinstance(n.value, tuple):
            stack.extend(Const(v, n.type.elem, n.span) for v in reversed(n.value))
        elif isinstance(n.type, Vector) and (isinstance(n, Input) or _is_input(n)):
            parts: list[Node] = [Index(n, Const(i, Int(), n.span), n.type.elem, n.span) for i in range(n.type.size)]
            ranges.update((x, ranges[n]) for x in parts)
            stack.extend(reversed(parts))
        else:
            raise NotHostedError(n, "a vector output is not made of scalars")
    return out
