"""Range and grid of every node: a fixpoint over the states, with widening to thresholds and narrowing after.

Cousot and Cousot 1977, component by component. A declared range of a state is an assumption: its checks enforce
it at run time, so a value read is within it at every token that is reached. What is found may be tighter.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from lsrl.analysis.components import node_components
from lsrl.analysis.interval import Range, gcd, join, meet, of_type, of_value, rounded
from lsrl.analysis.refine import Evaluator
from lsrl.ir.graph import Check, Graph, State
from lsrl.ir.nodes import Affine, Const, FloorDiv, Node, Read, Table, operands
from lsrl.ir.remembered import remembered
from lsrl.types import Real, scalar_of

__all__ = ["Range", "analyse", "proved_checks", "refuted_checks"]

_PLAIN_STEPS = 3  # joins before widening starts
_SLOW_JUMPS = 24  # threshold after threshold; then each jump skips twice as many
_GRID_CHANGES = 24  # refinements of a state's grid before it is given up
_NARROWINGS = 6
_LANDMARKS = [Fraction(sign * 2**k) for sign in (1, -1) for k in (0, 8, 32)]


def analyse(graph: Graph) -> dict[Node, Range]:
    """The range and grid of every node of the graph, in `graph.nodes` order.

    A vector's range covers all its elements. They hold at every token up to and including the first where a check
    fails. Numeric graphs: reals have no grid, and ranges cover the rounding of float64.
    """
    return dict(_analysed(graph))


@remembered(64)
def _analysed(graph: Graph) -> dict[Node, Range]:
    work = _Analysis(graph)
    for component in node_components(graph):
        work.solve(component)
    return {n: work.evaluator.ranges[n] for n in graph.nodes}


def proved_checks(graph: Graph, ranges: Mapping[Node, Range]) -> tuple[Check, ...]:
    """The checks whose condition holds at every token, in order."""
    return tuple(c for c in graph.checks if ranges[c.condition].constant == 1)


def refuted_checks(graph: Graph, ranges: Mapping[Node, Range]) -> tuple[Check, ...]:
    """The checks whose condition fails at the first token already, whatever the inputs are."""
    return tuple(c for c in graph.checks if ranges[c.condition].constant == 0)


class _Analysis:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.evaluator = Evaluator(graph)
        self.ranges = self.evaluator.ranges

    def solve(self, component: Sequence[Node]) -> None:
        """Finds the ranges of a component, those that it needs being known."""
        reads = [n for n in component if isinstance(n, Read)]
        inner = [n for n in component if not isinstance(n, Read)]
        self.evaluator.spend(len(component))
        if not reads:
            for node in inner:
                self.ranges[node] = self.evaluator.value(node)
            return
        states = list({r.state: self.graph.state[r.state] for r in reads}.values())
        if all(s.next in self.ranges for s in states):  # no feedback: a delay
            for read in reads:
                self.ranges[read] = self._after(self.graph.state[read.state])
            return
        current = {s.name: self._initial(s) for s in states}
        self._grow(states, inner, reads, current)
        self._narrow(states, inner, reads, current)

    def _initial(self, state: State) -> Range:
        if state.free:
            return replace(of_type(state.type, self.graph.numeric), nan=isinstance(scalar_of(state.type), Real))
        return of_value(state.init, state.type, self.graph.numeric)

    def _declared(self, state: State, r: Range) -> Range:
        # A float that is not a number stays: its type may say no more than what was found here before.
        cut = meet(r, replace(of_type(state.type, self.graph.numeric), nan=r.nan))
        return self._initial(state) if cut is None else cut

    def _after(self, state: State) -> Range:
        """The initial value and the next one, within the declared range."""
        following = self.ranges[state.next]
        if self.graph.numeric and isinstance(scalar_of(state.type), Real):
            following = rounded(following)
        return join(self._initial(state), self._declared(state, following))

    def _pass(self, inner: Sequence[Node], reads: Sequence[Node], current: Mapping[str, Range],
              changed: Iterable[str] | None = None) -> None:
        """Evaluates the component from the states' ranges; with `changed`, only what depends on those."""
        self.evaluator.forget((*reads, *inner))
        stale = None if changed is None else set(changed)
        touched: set[Node] = set()
        for read in reads:
            if isinstance(read, Read):
                self.ranges[read] = current[read.state]
                if stale is None or read.state in stale:
                    touched.add(read)
        for node in inner:
            if stale is None or any(x in touched for x in operands(node)):
                self.ranges[node] = self.evaluator.value(node)
                touched.add(node)

    def _grow(self, states: Sequence[State], inner: Sequence[Node], reads: Sequence[Node],
              current: dict[str, Range]) -> None:
        thresholds = _thresholds(inner, [of_type(s.type, self.graph.numeric) for s in states],
                                 [self.ranges[x] for n in inner for x in operands(n) if x in self.ranges])
        widening = {s.name: _Widening(thresholds) for s in states}
        changed: list[str] | None = None
        while True:
            self._pass(inner, reads, current, changed)
            changed = []
            for s in states:
                new = join(current[s.name], self._after(s))
                if not current[s.name].contains(new):
                    current[s.name] = self._declared(s, widening[s.name](current[s.name], new))
                    changed.append(s.name)
            if not changed:
                return

    def _narrow(self, states: Sequence[State], inner: Sequence[Node], reads: Sequence[Node],
                current: dict[str, Range]) -> None:
        """Tighter fixpoints, each verified to be one; the ranges end at the last."""
        for _ in range(_NARROWINGS):
            tighter = {s.name: meet(current[s.name], self._after(s)) or current[s.name] for s in states}
            changed = [name for name, r in tighter.items() if r != current[name]]
            if not changed:
                return
            self._pass(inner, reads, tighter, changed)
            if not all(tighter[s.name].contains(self._after(s)) for s in states):
                self._pass(inner, reads, current, changed)
                return
            current.update(tighter)


class _Widening:
    """Moves a bound that keeps growing to the next threshold, and in the end to infinity."""

    def __init__(self, thresholds: Sequence[Fraction]) -> None:
        self._thresholds = thresholds
        self._steps = 0
        self._grids = 0
        self._jumps = 0
        self._los: list[Fraction | None] = []
        self._his: list[Fraction | None] = []

    def __call__(self, old: Range, new: Range) -> Range:
        self._steps += 1
        grid = new.grid
        if grid != old.grid:
            self._grids += 1
            if self._grids > _GRID_CHANGES:
                grid = None
        out = replace(new, grid=grid)
        self._los.append(new.lo)
        self._his.append(new.hi)
        if self._steps < _PLAIN_STEPS:
            return out
        if self._steps == _PLAIN_STEPS:
            return replace(out, lo=_limit(self._los), hi=_limit(self._his))
        self._jumps += 1
        skip = 0 if self._jumps <= _SLOW_JUMPS else 2 ** (self._jumps - _SLOW_JUMPS) - 1
        if new.lo != old.lo:
            out = replace(out, lo=self._down(new.lo, skip))
        if new.hi != old.hi:
            out = replace(out, hi=self._up(new.hi, skip))
        if out.lo is not None and out.lo == out.hi:
            return out
        # A bound that is a threshold need not be on the grid.
        common = grid
        if common is not None:
            ends = [x for x, was in ((out.lo, new.lo), (out.hi, new.hi)) if x is not None and x != was]
            if any(gcd(common, abs(x)) != common for x in ends):
                return meet(out, Range(None, None, common)) or out
        return out

    def _up(self, bound: Fraction | None, skip: int) -> Fraction | None:
        if bound is None:
            return None
        at = bisect_left(self._thresholds, bound) + skip
        return self._thresholds[at] if at < len(self._thresholds) else None

    def _down(self, bound: Fraction | None, skip: int) -> Fraction | None:
        if bound is None:
            return None
        at = bisect_right(self._thresholds, bound) - 1 - skip
        return self._thresholds[at] if at >= 0 else None


def _limit(bounds: Sequence[Fraction | None]) -> Fraction | None:
    """Where three bounds tend to if they go on as a geometric series does (Aitken), else the last: the average
    s := a s + b with a < 1 comes to rest there."""
    a, b, c = bounds[-3:]
    if a is None or b is None or c is None:
        return c
    before, after = b - a, c - b
    shrinks = 0 < abs(after) < abs(before) and (before > 0) == (after > 0)
    return c + after * after / (before - after) if shrinks else c


def _thresholds(inner: Sequence[Node], declared: Sequence[Range], near: Sequence[Range]) -> list[Fraction]:
    """Where bounds may come to rest: constants of the component, one more and one less, and declared ends."""
    found: dict[Fraction, None] = dict.fromkeys(_LANDMARKS)
    for node in inner:
        match node:
            case Affine():
                found[Fraction(node.bias)] = None
            case FloorDiv():
                found[Fraction(node.divisor)] = None
            case Table():
                for lo, n in zip(node.los, node.sizes, strict=True):
                    found |= dict.fromkeys((Fraction(lo), Fraction(lo + n - 1)))
            case _:
                pass
        for x in operands(node):
            if isinstance(x, Const) and isinstance(x.value, int | Fraction):
                found[Fraction(x.value)] = None
    for r in (*declared, *near):
        found |= dict.fromkeys(x for x in (r.lo, r.hi) if x is not None)
    return sorted({y for x in (*found, Fraction(0)) for y in ((x - 1, x, x + 1) if x.denominator == 1 else (x,))})
