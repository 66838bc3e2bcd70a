"""Scalarised graphs as ReLU circuits: cells in layers, maps between them, read-outs; technology R.

A program of finite values is laid out as for thresholds (`lower`); one that holds numbers is lowered here, from the
outputs back to the inputs, so that only what something reads is ever made. A cell is the smallest of what fits it: a
delay, a piecewise-linear cell, an automaton.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import torch

from lsrl.analysis.automaton import minimise as minimised
from lsrl.analysis.cells import Cell, find_cells
from lsrl.analysis.ranges import analyse
from lsrl.arithmetic import convert
from lsrl.backends.certificate import PRECISION
from lsrl.backends.circuit import Bit, CellReport, Circuit, Form, Output, Placement, Quantity, Symbol
from lsrl.backends.cubes import Diagrams, TooLargeError
from lsrl.backends.finite import STATE, Cover, Leaf, Step, cover, explore, minimise
from lsrl.backends.lower import bits_circuit
from lsrl.backends.numbers import Fold, Maps
from lsrl.backends.piecewise import TooDeepError
from lsrl.backends.recurrences import PiecewiseCell, build, delay, piecewise
from lsrl.backends.refusal import RefusalError, refuse, refuse_numeric
from lsrl.backends.symbolic import Evaluator, NotHostedError, Result, Variables
from lsrl.backends.symbolic import Leaf as VariableLeaf
from lsrl.backends.wiring import Choice, Quantum, Wiring, pruned
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Const, Input, Node, Pack, Read, operands
from lsrl.types import Bool, Value, is_scalar, size

__all__ = ["relu_circuit"]

_STATES = 1024
_LETTERS = 4096
_FEW = 300


def relu_circuit(graph: Graph, target: str, dtype: torch.dtype) -> Circuit:
    """The circuit of a graph that the pass pipeline has made scalar; gates over unbounded numbers are as large as the
    dtype allows. The smaller of the layout by bits, where there is one, and of the layout with numbers.

    Raises RefusalError (L402 to L406).
    """
    numeric = refuse_numeric(graph, target)
    if numeric is not None:
        raise numeric
    options: list[Circuit] = []
    reasons: list[RefusalError] = []
    try:
        options.append(_Lowering(graph, dtype).circuit())
    except NotHostedError as error:
        reasons.append(refuse(graph, target, _code(error.reason), error.node, error.reason))
    except TooLargeError:
        reasons.append(refuse(graph, target, "L406", graph.outputs[0][1], "its finite part has too many cases"))
    if not options or _few_values(graph):
        try:
            options.append(bits_circuit(graph, target))
        except RefusalError as error:
            reasons.append(error)
    if not options:
        raise reasons[0]
    return min(options, key=lambda c: (c.width, len(c.layers)))


def _few_values(graph: Graph) -> bool:
    """Whether a layout by bits may be small: all states and inputs have few values."""
    sizes = [size(s.type) for s in graph.states] + [size(i.type) for i in graph.inputs]
    return all(n is not None and n <= _FEW for n in sizes)


def _code(reason: str) -> str:
    return "L404" if "grid" in reason else "L406" if "too many" in reason else "L402"


@dataclass
class _Machine:
    """A cell as an automaton: the cover that becomes units, and what it observes."""

    cell: Cell
    cover: Cover
    roots: list[Choice]
    observed: list[Node]
    baseline: int


class _Lowering:
    def __init__(self, graph: Graph, dtype: torch.dtype) -> None:
        self.graph = graph
        self.ranges = analyse(graph)
        names: dict[Node, str] = {n: name for name, n in reversed(graph.names)}
        names.update({s.next: s.name for s in graph.states})
        self.wiring = Wiring()
        bits = PRECISION[str(dtype).removeprefix("torch.")]
        self.maps = Maps(self.wiring, self.ranges, names, Fraction(2 ** (bits - 1) - 2 ** (bits - 5)))
        self.cell: dict[Node, Cell] = {}
        for cell in find_cells(graph, self.ranges):
            for node in (*cell.reads, *(cell.inside if cell.feedback else ())):
                if isinstance(node, Read) or node in cell.nexts:
                    self.cell[node] = cell
        self.built: set[Cell] = set()
        self.placements: list[Placement] = []
        self.reports: list[CellReport] = []
        self.quantities: list[Quantity] = []

    def circuit(self) -> Circuit:
        scalars = [(name, node.type, _scalars(node)) for name, node in self.graph.outputs]
        for _, _, nodes in scalars:
            for node in nodes:
                self.hold(node)
        last = max((self.maps.level(n) for _, _, nodes in scalars for n in nodes), default=0)
        outputs = tuple(Output(name, t, tuple(self._readout(n, last) for n in nodes)) for name, t, nodes in scalars)
        whole = Circuit(self.graph.name, tuple(self.wiring.columns), tuple(map(tuple, self.wiring.layers[:last])),
                        outputs, tuple(p for p in self.placements if p.layer <= last), tuple(self.reports),
                        tuple(self.quantities))
        small = pruned(whole)
        known = [c.baseline for c in small.cells]
        return replace(small, baseline=None if None in known or not known else sum(b for b in known if b is not None))

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
                continue
            parts = list(cell.boundary) if cell is not None else [] if _is_input(node) else list(operands(node))
            missing: list[Node] = [x for x in parts if not (x in held or isinstance(x, Const | Pack) or self._gone(x))]
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
                self._build(cell)

    def _gone(self, node: Node) -> bool:
        """Whether a node is inside an automaton that shows others of its values instead."""
        return node in self.cell and self.cell[node] in self.built

    # Cells

    def _build(self, cell: Cell) -> None:
        if not cell.feedback:
            self._delay(cell)
            return
        numbers: PiecewiseCell | None = None
        reason = ""
        try:
            numbers = piecewise(cell, self.ranges, self.maps.mask)
        except TooDeepError as error:
            reason = str(error)
        machine = self._machine(cell) if numbers is None or _is_small(cell, 4 * numbers.width + 64) else None
        if machine is not None and (numbers is None or len(machine.cover.cubes) <= 2 * numbers.width + 4):
            self._units(machine)
        elif numbers is not None:
            placement, report = build(numbers, self.maps, cell.kind)
            self._note(placement, report)
            for s in cell.members:
                r = self.ranges[s.next]
                self.quantities.append(Quantity(s.name, r.lo, r.hi, r.grid or 1))
        else:
            raise NotHostedError(cell.nexts[0], f"{cell.kind} feedback: {reason}")

    def _delay(self, cell: Cell) -> None:
        for s in cell.members:
            placement, report = delay(s, [r for r in cell.reads if r.state == s.name], self.maps, cell.kind)
            self._note(placement, report)

    def _note(self, placement: Placement | None, report: CellReport) -> None:
        if placement is not None and (placement.states or placement.numbers):
            self.placements.append(placement)
        self.reports.append(report)

    def _machine(self, cell: Cell) -> _Machine | None:
        """The cell as an automaton over the finite variables that it reads; None if it is too large for one."""
        automaton = cell.automaton
        if automaton is None or len(automaton.states) > _STATES or len(automaton.members) > _LETTERS:
            return None
        small = minimised(automaton)
        observed = list(automaton.observations)
        diagrams = Diagrams()
        variables = Variables(diagrams)
        roots: list[Choice] = []
        inside = set(cell.inside)

        def leaf(node: Node) -> Result | VariableLeaf | None:
            held = None if node in inside else self.maps.held.get(node)
            if held is None or (isinstance(held, Fold) and len(held.roots) > 1):
                return None
            choice = self.maps.choice(node)
            if choice not in roots:
                roots.append(choice)
                variables.add(choice.domain)
            return VariableLeaf(roots.index(choice))

        evaluator = Evaluator(variables, leaf, lambda atom: (None, None))
        nodes = (*cell.nexts, *observed)
        count = len(cell.members)

        def function(joint: tuple[Value, ...]) -> int:
            return evaluator.function(nodes, dict(zip(cell.states, joint, strict=True)))

        def outcome(value: Hashable) -> tuple[tuple[Value, ...], tuple[Step, ...], tuple[Hashable, ...]]:
            assert isinstance(value, tuple)
            joint = tuple(convert(v, s.type) for v, s in zip(value[:count], cell.members, strict=True))
            return joint, (), tuple(convert(v, n.type) for v, n in zip(value[count:], observed, strict=True))

        try:
            start = tuple(convert(s.init, s.type) for s in cell.members)
            machine = minimise(explore(diagrams, start, function, outcome, 2 * _STATES))
            return _Machine(cell, cover(machine), roots, observed, len(small.states) * len(small.members))
        except (NotHostedError, TooLargeError):
            return None

    def _units(self, m: _Machine) -> None:
        """The units of an automaton, and what they show of it."""
        used = {v for c in m.cover.cubes for v, _ in c.literals if v != STATE}
        layer = 1 + max((m.roots[v].layer for v in used), default=0)
        units = self.wiring.units(layer)
        first = len(units)
        leaves = [c.leaf for c in m.cover.cubes]
        default, begin = m.cover.default, m.cover.machine.start
        span = m.cell.span
        name = ", ".join(m.cell.states)
        indexed: list[tuple[int, Leaf]] = [(first + i, x) for i, x in enumerate(leaves) if isinstance(x, Leaf)]
        on = None if default.next == begin else next((i for i, x in indexed if x.next == begin), -1)
        if on == -1:
            on = first + len(indexed)
            indexed.append((on, Leaf(begin, (), (None,) * len(m.observed))))

        def total(which: set[Leaf] | frozenset[Leaf], rest: Sequence[tuple[int, Leaf]] = tuple(indexed)) -> Form:
            if default in which:
                return Form.of(((-1, i) for i, x in rest if x not in which), 1)
            return Form.of((1, i) for i, x in rest if x in which)

        everything = [default, *dict.fromkeys(x for _, x in indexed)]
        built: list[Bit] = []
        for i, c in enumerate(m.cover.cubes):
            below, own, count = Form(), Form(), 0
            words: list[str] = []
            for v, places in c.literals:
                count += 1
                if v == STATE:
                    own = total({x for x in everything if x.next in places})
                    words.append("was " + "/".join(str(q) for q in sorted(places)))
                else:
                    root = m.roots[v]
                    below = below + root.member(places, layer - 1)
                    words.append(f"{root.name.text} in {[root.domain[p] for p in sorted(places)][:6]}")
            symbol = Symbol(f"{name}: {', '.join(words)}", span, m.cell.states)
            built.append(Bit(below - (count - 1) + own.bias, Form(own.terms), symbol, int(on == first + i)))
        units.extend(built)
        if on == first + len(built):
            units.append(Bit(Form(), Form(), Symbol(f"{name}: before the first token", span, m.cell.states), 1))
        for k, node in enumerate(m.observed):
            self._observe(node, k, layer, everything, total)
        labels = m.cover.machine.labels
        forms = tuple(total({x for x in everything if x.next == q}) for q in range(m.cover.machine.size))
        patterns = tuple(() if default.next == q else (next(i for i, x in indexed if x.next == q),)
                         for q in range(m.cover.machine.size))
        self._note(Placement(layer, m.cell.states, tuple(x[0] for x in labels), forms, patterns,
                             tuple(i for i, _ in indexed), labels),
                   CellReport(m.cell.states, m.cell.kind, layer, len(indexed), m.baseline, span,
                              f"{m.cover.machine.size} states"))

    def _observe(self, node: Node, k: int, layer: int, everything: Sequence[Leaf], total: object) -> None:
        """Holds a node that an automaton's transitions decide."""
        domain = tuple(dict.fromkeys(x.observed[k] for x in everything if x.observed[k] is not None))
        ordered = tuple(sorted((v for v in domain if isinstance(v, int | Fraction)), key=Fraction))

        def home(places: frozenset[int]) -> Form:
            chosen = [ordered[p] for p in places]
            assert callable(total)
            form = total({x for x in everything if x.observed[k] is not None and x.observed[k] in chosen})
            assert isinstance(form, Form)
            return form

        self.maps.held[node] = Choice(self.wiring, self.maps.symbol(node), ordered, layer, home)


def _is_small(cell: Cell, most: int) -> bool:
    return cell.automaton is not None and len(cell.automaton.states) <= most


def _is_input(node: Node) -> bool:
    from lsrl.backends.structure import input_scalar

    return isinstance(node, Input) or input_scalar(node) is not None


def _scalars(node: Node) -> list[Node]:
    """The scalars of an output, row-major."""
    out: list[Node] = []
    stack = [node]
    while stack:
        n = stack.pop()
        if isinstance(n, Pack):
            stack.extend(reversed(n.elements))
        elif is_scalar(n.type):
            out.append(n)
        else:
            raise NotHostedError(n, "a vector output is not made of scalars")
    return out


