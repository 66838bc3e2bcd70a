"""Cells whose states mix: automata as one-hot vectors under transition matrices, and linear systems of numbers.

A cell that is an automaton has a unit for each state. So has a whole program that is one, with what it
shows as a part of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from lsrl.analysis.automaton import Automaton, minimise
from lsrl.analysis.cells import Cell
from lsrl.analysis.moore import as_moore
from lsrl.analysis.structure import Region, whole_region
from lsrl.backends.circuit import Bit, CellReport, Count, Gated, Lag, Placement, Symbol
from lsrl.backends.cubes import TooLargeError
from lsrl.backends.holdings import Fold, common
from lsrl.backends.joint import Whole
from lsrl.backends.linear_form import Form, constant, signal
from lsrl.backends.refusal import NotHostedError
from lsrl.backends.wiring import Choice, Quantum
from lsrl.ir.nodes import Node
from lsrl.types import Value

if TYPE_CHECKING:
    from lsrl.backends.gated.lowering import GatedLowering

__all__ = ["STATES", "build_automaton", "build_system", "build_whole", "merges_some"]

STATES = 256  # units of an automaton, at most


def build_automaton(lowering: GatedLowering, cell: Cell, automaton: Automaton) -> None:
    """A unit for each state of the minimal automaton, one of them 1; M(x) sends the old one to the new one."""
    small = minimise(automaton)
    if lowering.gates.mixing == "permutation":
        _require_permutations(cell, small)
    _build(lowering, cell, small, _classes(automaton, small), cell.kind)


def build_whole(lowering: GatedLowering, whole: Whole) -> None:
    """A unit for each state of the program's minimal automaton and what is shown on the way there."""
    small, had = as_moore(whole.automaton)
    for node in small.boundary:
        lowering.hold(node)
    _build(lowering, whole_region(lowering.graph), small, tuple(tuple(whole.merged[q]) for q in had), "automaton")


def _build(lowering: GatedLowering, cell: Region, small: Automaton, classes: tuple[tuple[tuple[Value, ...], ...], ...],
           kind: str) -> None:
    """classes: for each state the joint values that it stands for; kind: of the cell, for the report."""
    n, k = small.next.shape
    if n > STATES:
        raise TooLargeError
    maps, wiring = lowering.maps, lowering.wiring
    alone = lowering.gates.mixing == "permutation"  # a letter is then a signal of its own
    letters = [maps.joint(small.boundary, frozenset(m)) for m in small.members] if k > 1 else []
    below = max((c.layer for c in letters), default=0)
    places = [frozenset(i for i, v in enumerate(c.domain) if v) for c in letters]
    on = [c.member(p, below) for c, p in zip(letters, places, strict=True)]
    if not alone and k > 1:  # the dearest is what the others are not
        costs = [c.cost(p) for c, p in zip(letters, places, strict=True)]
        dearest = costs.index(max(costs))
        if costs[dearest]:
            on[dearest] = constant(1) - Form.total(f for x, f in enumerate(on) if x != dearest)
    if alone and any(f.bias or len(f.terms) > 1 or f.terms[0][0] != 1 for f in on):
        below += 1
        on = [wiring.bit(below, f, Symbol(f"letter {x}", cell.span)) for x, f in enumerate(on)]
    if alone and k == 1:
        below, on = 1, [signal(wiring.add(1, Bit(constant(1), Form(), Symbol("always", cell.span))))]
    layer = below + 1

    def letter(places: frozenset[int]) -> Form:
        """[the letter is of one of some classes], over the layer below."""
        if not alone and len(places) == k:
            return constant(1)
        if not alone and len(places) > k // 2:
            return constant(1) - letter(frozenset(range(k)) - places)
        return Form.total(on[x] for x in places)

    name = ", ".join(cell.states)
    units = wiring.units(layer)
    first = len(units)
    for q in range(n):
        keeps = []
        for p in range(n):
            by = frozenset(np.flatnonzero(small.next[p] == q).tolist())
            if by or alone:  # swaps and resets are of all units, so that none of them is left out
                keeps.append((letter(by), first + p))
        shown = ", ".join(str(v).lower() if isinstance(v, bool) else str(v) for v in small.states[q])
        units.append(Gated(tuple(keeps), constant(0), Symbol(f"{name} = {shown}", cell.span, cell.states),
                           int(q == small.start)))

    def now(states: frozenset[int]) -> Form:
        return Form.total(signal(first + q) for q in states)

    def before(states: frozenset[int]) -> Form:
        start = int(small.start in states)
        return signal(wiring.add(layer + 1, Lag(now(states), Symbol(f"old {name}", cell.span), start)))

    old = Choice(wiring, Symbol(f"old {name}", cell.span), tuple(range(n)), layer + 1, before)
    read = Choice(wiring, Symbol("letter", cell.span), tuple(range(k)), below, letter)
    for node, table in small.observations.items():
        after: dict[int, Value] = {}
        seen = [(int(small.next[q, x]), table[q, x]) for q, x in small.pairs]
        if all(after.setdefault(q, v) == v for q, v in seen):
            maps.held[node] = _held(lowering, node, layer, after, now)
        else:
            values = [table[q, x] if table[q, x] is not None else seen[0][1] for q in range(n) for x in range(k)]
            maps.held[node] = Fold((old, read), tuple(values))
    placement = Placement(layer, cell.states, tuple(small.states), tuple(now(frozenset({q})) for q in range(n)),
                          tuple((first + q,) for q in range(n)), tuple(range(first, first + n)), classes)
    lowering.note(placement, CellReport(cell.states, kind, layer, n, n * k, cell.span, f"{n} states"))


def _held(lowering: GatedLowering, node: Node, layer: int, after: dict[int, Value],
          now: Callable[[frozenset[int]], Form]) -> Choice:
    domain = tuple(sorted(set(after.values()), key=lambda v: Fraction(v)))  # type: ignore[arg-type]

    def home(places: frozenset[int]) -> Form:
        chosen = {domain[p] for p in places}
        return now(frozenset(q for q, v in after.items() if v in chosen))

    return Choice(lowering.wiring, lowering.maps.symbol(node), domain, layer, home)


def _classes(automaton: Automaton, small: Automaton) -> tuple[tuple[tuple[Value, ...], ...], ...]:
    """For each state of the minimal automaton the joint values that it stands for."""
    same = [small.letter_of(members[0]) for members in automaton.members]
    found = {automaton.start: small.start}
    queue = [automaton.start]
    for q in queue:
        for x, y in enumerate(same):
            after = int(automaton.next[q, x])
            if after >= 0 and after not in found:
                found[after] = int(small.next[found[q], y])
                queue.append(after)
    return tuple(tuple(automaton.states[q] for q in sorted(found) if found[q] == c) for c in range(len(small.states)))


def _require_permutations(cell: Cell, small: Automaton) -> None:
    """That every letter permutes the states or sends all of them to one."""
    if merges_some(small):
        raise NotHostedError(cell.nexts[0], "a letter merges some of its states and keeps others apart, which is "
                             "no product of symmetric rank-one factors")


def merges_some(small: Automaton) -> bool:
    """Whether a letter of a minimal automaton merges some of its states and keeps others apart."""
    return any(len(set(column.tolist())) not in (1, len(column)) for column in small.next.T)


def build_system(lowering: GatedLowering, cell: Cell, matrix: Sequence[Sequence[Node]], adds: Sequence[Node]) -> None:
    """Numbers s := M s + u, a channel each."""
    maps, members = lowering.maps, cell.members
    gains = [[lowering.made(g) for g in row] for row in matrix]
    terms = [lowering.made(u) for u in adds]
    quanta = [maps.quantum(u) for u in terms]
    ranges = [lowering.range_of(s) for s in members]
    grid = Fraction(0)
    for s, q, r in zip(members, quanta, ranges, strict=True):
        grid = common(common(common(grid, q.grid), Fraction(s.init)), r.grid or Fraction(0))  # type: ignore[arg-type]
    grid = grid or Fraction(1)
    layer = 1 + max([*(maps.level(g) for row in gains for g in row), *(q.layer for q in quanta)])
    units = lowering.wiring.units(layer)
    first = len(units)
    for i, (s, q, r) in enumerate(zip(members, quanta, ranges, strict=True)):
        keeps: list[tuple[Form, int]] = []
        for j, g in enumerate(gains[i]):
            lowering.check_factor(s, g)
            keep = lowering.factor(g, layer - 1)
            if keep != constant(0):
                keeps.append((keep, first + j))
        lo, hi = (None if x is None else x / grid for x in (r.lo, r.hi))
        start = Fraction(s.init) / grid  # type: ignore[arg-type]
        symbol = Symbol(s.name, s.span, (s.name,))
        units.append(Gated(tuple(keeps), q.at(layer - 1).scale(1 / grid), symbol, start, lo, hi, fine=maps.fine))
    numbers = []
    for i, (s, r) in enumerate(zip(members, ranges, strict=True)):
        form = signal(first + i, grid)
        lowering.keep(s, Quantum(lowering.wiring, Symbol(s.name, s.span, (s.name,)), layer, form, r.lo, r.hi, grid))
        numbers.append((s.name, Count(form, ((first + i, 1 / grid, 0, False),))))
        lowering.measured(s, r, grid)
    lowering.note(Placement(layer, (), numbers=tuple(numbers)),
                  CellReport(cell.states, cell.kind, layer, len(members), None, cell.span))
