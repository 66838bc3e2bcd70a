"""Programs as circuits of threshold bits and registers: technology T, and the finite part of technology R.

From the outputs back to the inputs: each consumer is evaluated over the variables it asks for, so that every producer
is built knowing exactly what of it is observed. Then `Schedule` lays the stages out.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace

from lsrl.analysis.interval import Range
from lsrl.backends.circuit import CellReport, Circuit
from lsrl.backends.combinations import Linear
from lsrl.backends.counter_stages import CounterStages
from lsrl.backends.finite import Leaf
from lsrl.backends.layout import Layout
from lsrl.backends.linear_form import Rational
from lsrl.backends.reading import number_of, result_of
from lsrl.backends.refusal import NotHostedError
from lsrl.backends.schedule import Schedule
from lsrl.backends.stages import OutputPlan
from lsrl.backends.structure import elements_of, input_scalar
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Affine, Const, Node

__all__ = ["Layout", "Planner"]


class Planner(CounterStages):
    """One way to lay a scalarised graph out; `circuit` builds it.

    Raises NotHostedError for what the technology cannot do, TooLargeError beyond limits.
    """

    def __init__(self, graph: Graph, ranges: Mapping[Node, Range], layout: Layout, limit: int = 4096) -> None:
        """limit: the most states of one machine."""
        super().__init__(graph, ranges, layout, limit)
        self._find_free_registers()

    def circuit(self) -> Circuit:
        """The circuit of the whole program."""
        outputs = [self._output(name, node) for name, node in self.graph.outputs]
        self._append_pending(len(self.structure.cells))
        for cell in reversed(self.structure.cells):
            self._append_pending(cell.number)
            self._finish_trackers(cell.number)
            if self._observed.get(cell.number) or self._lagging.get(cell.number):
                self._machine_cell(cell)
        self._append_pending(-1)
        schedule = Schedule(self.graph.name, self.sources, self._stages[::-1], outputs)
        built = schedule.circuit()
        cells = tuple(CellReport(states, kind, stage.layer, stage.width, baseline, stage.span, note)
                      for stage, states, kind, baseline, note in reversed(self._reports))
        known = [c.baseline for c in cells]
        total = None if None in known else sum(b for b in known if b is not None)
        return replace(built, cells=cells, baseline=total, relays=schedule.relays)

    def _find_free_registers(self) -> None:
        """Marks the cells of one register whose steps ask for no comparison of it, and those to be mirrored."""
        for cell in self.structure.cells:
            if not cell.registers:
                continue
            if len(cell.states) > 1 and not self.layout.mirror:
                self.matters.add("mirror")
                continue
            with self._aside():
                machine = self._explore(cell, (), ())
                own = [s for combination in self.variables.thresholds for _, (s, _) in combination
                       if s in cell.registers]  # a remainder of its own is refused where it is asked for
                cell.free = not own and len(cell.states) == 1
                if not cell.free:
                    self.matters.add("mirror")
                if not cell.free and self.layout.mirror:
                    cell.mirrored = True
                    for i, r in enumerate(cell.registers):
                        steps = [self._step([(1, r, result_of(leaf.observed[i]))]) for f in machine.functions
                                 for leaf in self.diagrams.leaves(f) if isinstance(leaf, Leaf)]
                        self._step_domains[r] = tuple(dict.fromkeys(steps))
            self.structure.forget_homes()

    def _output(self, name: str, node: Node) -> OutputPlan:
        scalars = elements_of(node)
        if not scalars:
            raise NotHostedError(node, "a vector output is not made of scalars")
        plan = OutputPlan(name, node.type, tuple(self._scalar(n) for n in scalars))
        for v, sets in plan.needs().items():
            self.sources[v].ask(sets)
        return plan

    def _scalar(self, node: Node) -> tuple[tuple[tuple[int, tuple[Rational, ...]], ...], Rational]:
        """An output as Σ numbers of variables: sums are left to the read-out, the rest becomes one variable."""
        terms: dict[int, list[Rational]] = {}
        bias: Rational = 0
        stack: list[tuple[Rational, Node]] = [(1, node)]
        while stack:
            c, n = stack.pop()
            if isinstance(n, Const):
                bias += c * number_of(n.value)
                continue
            scalar = input_scalar(n)
            if isinstance(n, Affine) and scalar is None and self.structure.home(n) is None:
                bias += c * n.bias
                stack.extend((c * a, x) for a, x in n.terms)
                continue
            variable, numbers = self._one_variable(n)
            if variable is None:
                bias += c * numbers[0]
                continue
            old = terms.setdefault(variable, [0] * len(numbers))
            terms[variable] = [a + c * b for a, b in zip(old, numbers, strict=True)]
        return tuple((v, tuple(numbers)) for v, numbers in terms.items()), bias

    def _one_variable(self, node: Node) -> tuple[int | None, tuple[Rational, ...]]:
        """A variable and a number for each of its places, that give a finite node's value."""
        f = self._function((node,), {}, None)
        support = self.diagrams.support(f)
        for value in self.diagrams.leaves(f):
            assert isinstance(value, tuple)
            if isinstance(value[0], Linear):
                raise NotHostedError(node, "its value has no bounds, and an LSTM shows the sign of a register only")
        if not support:
            return None, (_first(self.diagrams.value(f)),)
        if len(support) == 1:
            size = self.diagrams.sizes[support[0]]
            point = [0] * len(self.diagrams.sizes)
            numbers: list[Rational] = []
            for place in range(size):
                point[support[0]] = place
                numbers.append(_first(self.diagrams.evaluate(f, point)))
            return support[0], tuple(numbers)
        variable = self._map(self._name(node), self.diagrams.map(f, _first), node.span)
        return variable, tuple(number_of(x) for x in self.variables.domains[variable])


def _first(values: Hashable) -> Rational:
    assert isinstance(values, tuple)
    return number_of(values[0])
