"""The cells of a graph as gated units, and what stands between them as ReLU maps; technology G.

A cell is hosted if its next value is keep · s + add, with both decided by the token's input to the layer and the
factor one that the target's gates can be. What a layer shows is the value after the token; the value before it is a
lag of that, one layer on, or the other way round where the architecture shows what was before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import torch

from lsrl.analysis.cells import Cell
from lsrl.analysis.details import Accumulator, Affine, AffineDense, Latch
from lsrl.analysis.details import Gated as GatedDetail
from lsrl.analysis.expressions import Expressions
from lsrl.analysis.interval import Range
from lsrl.backends.circuit import Count, Placement, Symbol
from lsrl.backends.gated.apart import hold_apart, is_kept
from lsrl.backends.gated.clocks import build_ring, ring_of
from lsrl.backends.gated.dense import build_automaton, build_system
from lsrl.backends.gated.fine import in_parts, largest, may_be
from lsrl.backends.gated.gates import Gates
from lsrl.backends.gated.held_states import ONE_HOT, HeldStates
from lsrl.backends.gated.linear_outputs import Renewal, linear_output
from lsrl.backends.gated.threshold_latches import ThresholdLatch, threshold_latch
from lsrl.backends.gated.toggles import cofactors, equal
from lsrl.backends.holdings import Fold, common
from lsrl.backends.linear_form import ZERO, Form, constant, signal
from lsrl.backends.refusal import NotHostedError
from lsrl.backends.wiring import Choice, Quantum
from lsrl.ir.graph import State
from lsrl.ir.nodes import Const, Node, Read
from lsrl.passes.factor_cascades import Factored
from lsrl.types import Bool, Value

__all__ = ["GatedLowering"]

_CONSTANT = "whether it keeps its value depends on the input, and the factor of a linear recurrence is a constant"


class GatedLowering(HeldStates):
    """Lowers a graph for one set of gates."""

    def __init__(self, factored: Factored, dtype: torch.dtype, gates: Gates, fine: bool = False,
                 linear: bool = False) -> None:
        """linear: outputs are sums of old and new states where they can be."""
        graph = factored.graph
        super().__init__(graph, dtype, gates, fine)
        self.refused = {r.cell.states: r.reason for r in factored.refused}
        self.make = Expressions(graph, self.ranges)
        self.linear = linear
        self.renewals: dict[str, Renewal] = {}  # of bits that are held, by their states
        self.olds: dict[str, Choice] = {}
        self.has_old_outputs = False  # whether some output is a table of old values, among others
        self.shown: set[Cell] = set()  # cells that show observations rather than their states
        self._state = {s.name: s for s in graph.states}

    # Cells

    def _algebra(self, cell: Cell) -> str:
        """Why an automaton that could not be factored is none for these gates."""
        reason = self.refused.get(cell.states)
        if reason is None:
            return "its next value is no product of a gate and the old one, plus a term of the input"
        if self.gates.keeps == "constant":
            return f"{reason}; a linear recurrence with a constant matrix forgets them or turns in a fixed circle"
        if self.gates.signs:
            return f"{reason}; with factors −1, 0 and 1 the groups of a diagonal recurrence have orders 2ᵏ"
        return f"{reason}; with gates in [0, 1] a diagonal recurrence is aperiodic"

    def build(self, cell: Cell) -> None:
        if not cell.feedback:
            self._delay(cell)
            return
        s, details = cell.members[0], cell.details
        latch, total, gated = details.get("latch"), details.get("accumulator"), details.get("gated")
        affine, dense = details.get("affine"), details.get("affine-dense")
        mixing = self.gates.mixing
        ring = ring_of(cell) if self.gates.keeps == "constant" else None
        if ring is not None:
            build_ring(self, cell, ring)
        elif mixing in ("permutation", "matrix") and cell.automaton is not None and not isinstance(latch, Latch):
            build_automaton(self, cell, cell.automaton)
            self.shown.add(cell)
        elif len(cell.members) > 1:
            if isinstance(affine, Affine) and mixing in ("constant", "matrix"):
                matrix = [[self.make.const(x) for x in row] for row in affine.matrix]
                build_system(self, cell, matrix, affine.u)
            elif isinstance(dense, AffineDense) and mixing == "matrix":
                build_system(self, cell, dense.matrix, dense.u)
            else:
                raise NotHostedError(cell.nexts[0], self._algebra(cell) if cell.states in self.refused else
                                     "its states decide each other, and a gate sees no state of its own layer")
        elif isinstance(latch, Latch):
            self._latch(cell, s, latch)
        elif isinstance(total, Accumulator):
            self._number(cell, s, self.make.one, total.u)
        elif isinstance(gated, GatedDetail):
            self._number(cell, s, gated.g, gated.u)
        elif isinstance(affine, Affine):
            self._number(cell, s, self.make.const(affine.matrix[0][0]), affine.u[0])
        elif isinstance(s.type, Bool) and cell.states not in self.refused:
            self._switch(cell, s)
        else:
            raise NotHostedError(cell.nexts[0], self._algebra(cell))

    def gone(self, node: Node) -> bool:
        return self.cell.get(node) in self.shown

    def show(self, node: Node, cell: Cell) -> None:
        if isinstance(node, Read) and node not in self.maps.held and cell not in self.shown:
            self.late(node, self._state[node.state])
            held = self.maps.held[node]
            if isinstance(held, Choice):
                self.olds[node.state] = held

    def finish(self, outputs: Sequence[Node]) -> None:
        tables = [self.maps.held[n] for n in outputs if not isinstance(n, Const)]
        self.has_old_outputs = any(isinstance(t, Fold) and len(t.roots) > 1 and not set(t.roots).isdisjoint(
            self.olds.values()) for t in tables)
        if not self.linear:
            return
        known = {old: self.renewals[s] for s, old in self.olds.items() if s in self.renewals}
        for node in outputs:
            held = None if isinstance(node, Const) else self.maps.held[node]
            found = linear_output(node, held, known) if isinstance(held, Fold) else None
            if found is not None:
                self.maps.held[node] = found

    def made(self, node: Node) -> Node:
        """A node of the analysis, lowered like any other."""
        if not isinstance(node, Const):
            self.make.range(node)
            self.ranges.update((n, r) for n, r in self.make.ranges().items() if n not in self.ranges)
            self.hold(node)
        return node

    def _latch(self, cell: Cell, s: State, latch: Latch) -> None:
        if self.gates.keeps == "constant":
            raise NotHostedError(s.next, _CONSTANT)
        write, value = self.made(latch.write), self.made(latch.value)
        r = self.range_of(s)
        if isinstance(s.type, Bool) or (r.count is not None and r.count <= ONE_HOT):
            self._one_hot(cell, s, write, value)
        else:
            keep = self.make.logic("not", [write])
            self._number(cell, s, keep, self.make.mux(write, value, self.make.zero))

    def _one_hot(self, cell: Cell, s: State, write: Node, value: Node) -> None:
        """A latch of few values: a unit for each set of them that is asked for."""
        domain = self.domain(s)
        parts = self.parts_of((write, value)) if self.linear and isinstance(s.type, Bool) else None
        direct = threshold_latch(self.maps, self.gates, write, value, domain)
        if direct is not None:
            now = self._thresholds(cell, s, direct, domain)
            if parts is not None:
                self.renewals[s.name] = *parts, now
            return
        # What is written before when, as a table that has been read is no longer one that others can be folded into.
        written = [self._written(write, value, v) for v in domain]
        layer = 1 + max(self.maps.level(write), *(at for at, _, _ in written))
        if len(domain) == 2 and written[0][2] < self._cost(write):
            # Off is written in fewer cases than something is.
            keep = constant(1) - Form.total(form(layer - 1) for _, form, _ in written)
        else:
            keep = constant(1) - self.maps.bit(write, layer - 1)
        symbol = Symbol(s.name, s.span, (s.name,))

        def unit(places: frozenset[int]) -> Form:
            on = Form.total(written[p][1](layer - 1) for p in places)
            return signal(self.keeping(layer, keep, on, symbol, int(any(domain[p] == s.init for p in places))))

        now = Choice(self.wiring, symbol, domain, layer, unit)
        self.keep(s, now)
        self.place(s, domain, layer, lambda places: now.member(places, layer))
        self.reports.append(self.report(cell, layer))
        if parts is not None:
            self.renewals[s.name] = *parts, now

    def parts_of(self, nodes: tuple[Node, Node]) -> tuple[Fold | Const, Fold | Const] | None:
        """Whether and what is written, as tables of what decides them."""
        live = [n for n in nodes if not isinstance(n, Const)]
        found = self.maps.folds(live, ONE_HOT**2)
        if found is None:
            return None
        folds = iter(found[0])
        write, value = (n if isinstance(n, Const) else next(folds) for n in nodes)
        return write, value

    def _thresholds(self, cell: Cell, s: State, latch: ThresholdLatch, domain: tuple[Value, ...]) -> Choice:
        """A latch whose gate is a threshold: a unit for each set of values but one that may have none."""
        symbol = Symbol(s.name, s.span, (s.name,))

        def unit(places: frozenset[int]) -> Form:
            adds = [latch.adds[p] for p in sorted(places)]
            if None in adds:
                return constant(1) - now.member(frozenset(range(len(domain))) - places, latch.layer)
            add = Form.total(a for a in adds if a is not None)
            start = int(any(domain[p] == s.init for p in places))
            return signal(self.keeping(latch.layer, latch.keep, add, symbol, start, step=latch.step,
                                       masked=latch.masked))

        now = Choice(self.wiring, symbol, domain, latch.layer, unit)
        self.keep(s, now)
        self.place(s, domain, latch.layer, lambda places: now.member(places, latch.layer), latch.rest)
        self.reports.append(self.report(cell, latch.layer))
        return now

    def _cost(self, write: Node) -> int:
        """The units that say whether something is written."""
        if isinstance(write, Const):
            return 0
        held = self.maps.choice(write)
        return held.cost(frozenset(i for i, v in enumerate(held.domain) if v))

    def _written(self, write: Node, value: Node, one: Value) -> tuple[int, Callable[[int], Form], int]:
        """[a value is written]: the first layer that shows it, the form over a layer, and how many units that takes."""
        if isinstance(value, Const):
            on = value.value == one
            return (self.maps.level(write), lambda layer: self.maps.bit(write, layer) if on else constant(0),
                    self._cost(write) if on else 0)
        if isinstance(write, Const):
            held = self.maps.choice(value)
            places = frozenset(i for i, v in enumerate(held.domain) if v == one)
        else:
            held = self.maps.joint((write, value), frozenset({(True, one)}))
            places = frozenset(i for i, v in enumerate(held.domain) if v)
        return held.layer, lambda layer: held.member(places, layer), held.cost(places)

    def _switch(self, cell: Cell, s: State) -> None:
        """A bit that inputs keep, set, clear or swap: s := (after 1 − after 0) s + after 0."""
        low, high = cofactors(cell, s, self.make)
        swapped = self.made(self.make.logic("and", [low, self.make.logic("not", [high])]))
        if self._never(swapped):
            self._latch(cell, s, Latch(equal(low, high, self.make), low))
            return
        if not self.gates.signs:
            raise NotHostedError(s.next, "its values are swapped, and no factor of this architecture is negative")
        if self.gates.keeps == "shared":
            raise NotHostedError(s.next, "its values are swapped, and the gate that keeps all of it admits nothing")
        same = self.made(equal(low, high, self.make))
        if self.gates.keeps == "constant" and not (isinstance(same, Const) and isinstance(low, Const)):
            raise NotHostedError(s.next, _CONSTANT)
        low = self.made(low)
        layer = 1 + max(self.maps.level(low), self.maps.level(same))
        symbol = Symbol(s.name, s.span, (s.name,))
        add = self.maps.bit(low, layer - 1)
        u = self.keeping(layer, constant(1) - self.maps.bit(same, layer - 1), add, symbol, int(s.init is True),
                          flip=add)
        both = constant(1) - signal(u), signal(u)
        self.keep(s, Choice(self.wiring, symbol, (False, True), layer, lambda places: both[1 in places]))
        self.note(Placement(layer, (s.name,), ((False,), (True,)), both, ((), (u,)), (u,)), self.report(cell, layer))

    def _never(self, node: Node) -> bool:
        """Whether a bool is false whatever it depends on."""
        if isinstance(node, Const):
            return not node.value
        held = self.maps.held[node]
        return isinstance(held, Fold) and not any(held.table)

    def _number(self, cell: Cell, s: State, factor: Node, add: Node) -> None:
        """s := factor · s + add in one channel."""
        factor, add = self.made(factor), self.made(add)
        self._check(s, factor, add)
        if self.gates.apart:
            self.note(*hold_apart(self, cell, s, factor, add))
            return
        q = self.maps.quantum(add)
        r = self.range_of(s)
        assert isinstance(s.init, int | Fraction)
        grid = common(common(q.grid, Fraction(s.init)), r.grid or Fraction(0)) or Fraction(1)
        negative = None
        if not isinstance(factor, Const) and self.ranges[factor].lo == -1:
            negative = self.made(self.make.compare("<", factor, self.make.zero))
            factor = self.made(self.make.compare("!=", factor, self.make.zero))
        whole, parts = in_parts(self, factor, add)
        layer = 1 + max(self.maps.level(factor), q.layer, 0 if negative is None else self.maps.level(negative),
                        *(p.layer for p in parts))
        keep = self.factor(factor, layer - 1)
        flip = ZERO if negative is None else self.maps.bit(negative, layer - 1)
        symbol = Symbol(s.name, s.span, (s.name,))
        lo, hi = (None if x is None else x / grid for x in (r.lo, r.hi))
        unit = self.keeping(layer, keep, q.at(layer - 1).scale(1 / grid), symbol, Fraction(s.init) / grid, lo, hi,
                            flip=flip)
        if self.maps.fine:
            top = largest(self, factor)
            split = None
            if parts:
                up, down, set_ = (p.at(layer - 1).scale(1 / grid) for p in parts)
                split = up - down, set_
            slip = self.gates.slips if top == 1 and split is not None else Fraction(0)
            self.refine(layer, unit, factor=top, sets=whole, split=split, slip=slip)
        form = signal(unit, grid)
        self.keep(s, Quantum(self.wiring, symbol, layer, form, r.lo, r.hi, grid))
        placement = Placement(layer, (), numbers=((s.name, Count(form, ((unit, 1 / grid, 0, False),))),))
        self.note(placement, self.report(cell, layer))
        step = self.ranges[add] if add in self.ranges else Range(q.lo, q.hi, q.grid)
        self.measured(s, r, grid, step.magnitude or 0)

    def factor(self, factor: Node, layer: int) -> Form:
        """A factor as a form over a layer."""
        if isinstance(factor, Const):
            return constant(Fraction(factor.value))  # type: ignore[arg-type]
        return self.maps.bit(factor, layer) if isinstance(factor.type, Bool) else self.maps.quantum(factor).at(layer)

    def _check(self, s: State, factor: Node, add: Node) -> None:
        """That the gates of the target can be that factor, with that term beside it."""
        self.check_factor(s, factor)
        slips = self.gates.slips and (self.gates.slips_always or isinstance(factor, Const))
        if self.gates.keeps == "shared" and not (self.maps.fine and (largest(self, factor) < 1 or slips)):
            r = self.make.range(self.make.mux(is_kept(self, factor), add, self.make.zero))
            if r.lo != 0 or r.hi != 0:
                raise NotHostedError(s.next, "it is added to while it is kept, and the gate that keeps all of it "
                                     "admits nothing")

    def check_factor(self, s: State, factor: Node) -> None:
        """That a gate, or a parameter, can be that factor."""
        known = Fraction(factor.value) if isinstance(factor, Const) else None  # type: ignore[arg-type]
        if known is None and self.gates.keeps == "constant":
            raise NotHostedError(s.next, _CONSTANT)
        if self.maps.fine and may_be(self, s, factor, known):
            return
        if known is not None and known.denominator > 1:
            raise NotHostedError(s.next, "its old value is multiplied by a fraction, so it has no grid")
        if known is not None and self.gates.mixing in ("constant", "matrix"):
            return
        r = Range(known, known, Fraction(1)) if known is not None else self.ranges[factor]
        low = -1 if self.gates.signs else 0
        if r.lo is None or r.hi is None or r.lo < low or r.hi > 1 or r.grid is None or r.grid.denominator > 1:
            allowed = "−1, 0 or 1" if self.gates.signs else "0 or 1"
            if self.maps.fine and self.gates.keeps != "constant":
                allowed = "0 or 1" if self.gates.apart else "0 or one number that is at most 1"
            raise NotHostedError(s.next, f"its old value is multiplied by what is not always {allowed}")

    def _delay(self, cell: Cell) -> None:
        """s := u: the old value of s is a lag of u."""
        for s in cell.members:
            self.reports.append(self.report(cell, 1 + self.maps.level(s.next)))
            if self.gates.lag == "before":
                self.passed(s)
