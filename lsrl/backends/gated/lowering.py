"""The cells of a graph as gated units, and what stands between them as ReLU maps; technology G.

A cell is hosted if its next value is keep · s + add, with both decided by the token's input to the layer and the
factor one that the target's gates can be. What a layer shows is the value after the token; the value before it is a
lag of that, one layer on, or the other way round where the architecture shows what was before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch

from lsrl.analysis.automaton import minimise
from lsrl.analysis.cells import Cell
from lsrl.analysis.details import Accumulator, Affine, AffineDense, Latch
from lsrl.analysis.details import Gated as GatedDetail
from lsrl.analysis.expressions import Expressions
from lsrl.analysis.interval import Range
from lsrl.backends.circuit import (
    ZERO,
    CellReport,
    Count,
    Form,
    Gated,
    Lag,
    Placement,
    Quantity,
    Rational,
    Symbol,
    constant,
    signal,
)
from lsrl.backends.gated.apart import hold_apart, is_kept
from lsrl.backends.gated.clocks import build_ring, ring_of
from lsrl.backends.gated.dense import build_automaton, build_system
from lsrl.backends.gated.fine import in_parts, largest, may_be
from lsrl.backends.gated.gates import Gates
from lsrl.backends.gated.toggles import cofactors, equal
from lsrl.backends.holdings import Fold, common, domain_of
from lsrl.backends.relu import NumberLowering
from lsrl.backends.symbolic import NotHostedError
from lsrl.backends.wiring import Choice, Quantum
from lsrl.ir.graph import State
from lsrl.ir.nodes import Const, Node, Read
from lsrl.passes.factor_cascades import Factored
from lsrl.types import Bool, Value

__all__ = ["GatedLowering"]

_CONSTANT = "whether it keeps its value depends on the input, and the factor of a linear recurrence is a constant"
_ONE_HOT = 16  # values of a state that is held one-hot rather than as a number


class GatedLowering(NumberLowering):
    """Lowers a graph for one set of gates."""

    def __init__(self, factored: Factored, dtype: torch.dtype, gates: Gates, fine: bool = False) -> None:
        graph = factored.graph
        super().__init__(graph, dtype, fine)
        self.gates = gates
        self.refused = {r.cell.states: r.reason for r in factored.refused}
        self.make = Expressions(graph, self.ranges)
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
            self._late(node, self._state[node.state])

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
        if isinstance(s.type, Bool) or (r.count is not None and r.count <= _ONE_HOT):
            self._one_hot(cell, s, write, value)
        else:
            keep = self.make.logic("not", [write])
            self._number(cell, s, keep, self.make.mux(write, value, self.make.zero))

    def _one_hot(self, cell: Cell, s: State, write: Node, value: Node) -> None:
        """A latch of few values: a unit for each set of them that is asked for."""
        domain = self._domain(s)
        # What is written before when, as a table that has been read is no longer one that others can be folded into.
        written = [self._written(write, value, v) for v in domain]
        layer = 1 + max(self.maps.level(write), *(at for at, _ in written))
        keep = constant(1) - self.maps.bit(write, layer - 1)
        symbol = Symbol(s.name, s.span, (s.name,))

        def unit(places: frozenset[int]) -> Form:
            on = Form.total(written[p][1](layer - 1) for p in places)
            return signal(self.keeping(layer, keep, on, symbol, int(any(domain[p] == s.init for p in places))))

        now = Choice(self.wiring, symbol, domain, layer, unit)
        self.keep(s, now)
        self._place(s, domain, layer, lambda places: now.member(places, layer))
        self.reports.append(self.report(cell, layer))

    def _written(self, write: Node, value: Node, one: Value) -> tuple[int, Callable[[int], Form]]:
        """[a value is written]: the first layer that shows it, and the form over a layer."""
        if isinstance(value, Const):
            on = value.value == one
            return self.maps.level(write), lambda layer: self.maps.bit(write, layer) if on else constant(0)
        if isinstance(write, Const):
            held = self.maps.choice(value)
            places = frozenset(i for i, v in enumerate(held.domain) if v == one)
        else:
            held = self.maps.joint((write, value), frozenset({(True, one)}))
            places = frozenset(i for i, v in enumerate(held.domain) if v)
        return held.layer, lambda layer: held.member(places, layer)

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
                self._passed(s)

    def _passed(self, s: State) -> None:
        """A unit that keeps nothing shows, where units show what was before, the value of the token before."""
        symbol = Symbol(s.name, s.span, (s.name,))
        assert isinstance(s.init, int | Fraction)
        if not isinstance(s.next, Const) and isinstance(self.maps.held[s.next], Quantum):
            q, r = self.maps.quantum(s.next), self.range_of(s)
            grid, layer = common(q.grid, Fraction(s.init)), q.layer + 1
            lo, hi = (None if x is None else x / grid for x in (r.lo, r.hi))
            unit = Gated((), q.at(layer - 1).scale(1 / grid), symbol, Fraction(s.init) / grid, lo, hi, before=True)
            form = signal(self.wiring.add(layer, unit), grid)
            self.keep(s, Quantum(self.wiring, symbol, layer, form, r.lo, r.hi, grid))
            return
        c, domain = self.maps.choice(s.next), self._domain(s)
        layer = c.layer + 1

        def old(places: frozenset[int]) -> Form:
            start = int(any(domain[p] == s.init for p in places))
            unit = Gated((), self._among(c, domain, places), symbol, start, before=True)
            return signal(self.wiring.add(layer, unit))

        self.keep(s, Choice(self.wiring, symbol, domain, layer, old))
        self._place(s, domain, layer, old)

    def _place(self, s: State, domain: Sequence[Value], layer: int, unit: Callable[[frozenset[int]], Form]) -> None:
        """Says where a state of few values is: in the contents of units, one a value; none if it has many."""
        if len(domain) > _ONE_HOT:
            return
        forms = [unit(frozenset({p})) for p in range(1, len(domain))]
        patterns = ((), *(tuple(i for _, i in f.terms) for f in forms))
        self.placements.append(Placement(layer, (s.name,), tuple((v,) for v in domain), (
            constant(1) - Form.total(forms), *forms), patterns, tuple(sorted({i for p in patterns for i in p}))))

    @staticmethod
    def _among(c: Choice, domain: Sequence[Value], places: frozenset[int]) -> Form:
        """[the variable is one of some values of a larger domain], over its own layer."""
        back = {v: i for i, v in enumerate(c.domain)}
        return c.member(frozenset(back[domain[p]] for p in places if domain[p] in back), c.layer)

    # What a cell shows

    def keep(self, s: State, held: Choice | Quantum) -> None:
        """Holds the new value of a state, or where units show what was before, the old one."""
        if self.gates.lag == "before":
            for n in self.graph.nodes:
                if isinstance(n, Read) and n.state == s.name:
                    self.maps.held[n] = held
            home = self.cell.get(s.next)  # what stands between is a map of the old value and the input
            self.cell = {n: c for n, c in self.cell.items() if c is not home}
        else:
            self.maps.held[s.next] = held

    def _late(self, read: Read, s: State) -> None:
        """The value of a state before the token, from that after it."""
        held = None if isinstance(s.next, Const) else self.maps.held[s.next]
        if self.gates.lag != "exact" and domain_of(s.next, self.ranges[s.next]) is not None:
            held = None  # bits of a number of few values
        symbol = Symbol(f"old {s.name}", s.span, (s.name,))
        assert isinstance(s.init, int | Fraction)
        if isinstance(held, Quantum):
            self.maps.held[read] = self._late_number(held, s, symbol)
            return
        c, domain = self.maps.choice(s.next), self._domain(s)
        layer = c.layer + 1

        def lag(places: frozenset[int]) -> Form:
            start = int(any(domain[p] == s.init for p in places))
            return signal(self.wiring.add(layer, Lag(self._among(c, domain, places), symbol, start)))

        if not any(s.name in (*p.states, *(name for name, _ in p.numbers)) for p in self.placements):
            self._place(s, domain, layer, lag)

        def clean(places: frozenset[int]) -> Form:
            """ReLU(4x − 1) − ReLU(4x − 3) is 0 or 2 for x up to a quarter away from 0 or 1."""
            x = lag(places).scale(4)
            two = self.wiring.relu(layer + 1, x - 1, 3, symbol) - self.wiring.relu(layer + 1, x - 3, 1, symbol)
            return self.wiring.bit(layer + 2, two - 1, symbol)

        if self.gates.lag in ("exact", "bits"):
            self.maps.held[read] = Choice(self.wiring, symbol, domain, layer, lag)
        else:
            self.maps.held[read] = Choice(self.wiring, symbol, domain, layer + 2, clean)

    def _late_number(self, q: Quantum, s: State, symbol: Symbol) -> Quantum:
        r = self.range_of(s)
        init = Fraction(s.init)  # type: ignore[arg-type]
        grid = common(q.grid, init)
        if self.gates.lag != "exact":
            raise NotHostedError(s.next, "its value before the token is a number, and this architecture holds only "
                                 "bits for a token longer")
        low = None if r.lo is None else min(r.lo, init)
        high = None if r.hi is None else max(r.hi, init)

        def lag(layer: int, f: Form, start: Fraction, hi: Fraction | None) -> Form:
            unit = Lag(f.scale(1 / grid), symbol, start / grid, None if hi is None else hi / grid, self.maps.fine)
            return signal(self.wiring.add(layer, unit), grid)

        if low is not None and (not self.gates.apart or init in (low, high)):
            form = lag(q.layer + 1, q.form - low, init - low, None if high is None else high - low) + low
            return Quantum(self.wiring, symbol, q.layer + 1, form, low, high, grid)
        # What is above the start and what is below it, each by itself, made by the maps of a layer between.
        up, down = (None if x is None else abs(x - init) for x in (high, low))
        above, below = (self.wiring.relu(q.layer + 1, (q.form - init).scale(sign / grid),
                                         None if hi is None else hi / grid, symbol).scale(grid)
                        for sign, hi in ((1, up), (-1, down)))
        form = lag(q.layer + 2, above, Fraction(0), up) - lag(q.layer + 2, below, Fraction(0), down) + init
        return Quantum(self.wiring, symbol, q.layer + 2, form, low, high, grid)

    # Small things

    def keeping(self, layer: int, keep: Form, add: Form, symbol: Symbol, start: Rational, lo: Rational | None = 0,
                hi: Rational | None = 1, adds: bool = False, flip: Form = ZERO) -> int:
        """A unit that keeps itself as `keep` says."""
        units = self.wiring.units(layer)
        before = self.gates.lag == "before"
        units.append(Gated(((keep, len(units)),), add, symbol, start, lo, hi, adds, flip, before))
        return len(units) - 1

    def measured(self, s: State, r: Range, grid: Rational, growth: Rational = 0) -> None:
        """Notes the range of a number for the certificate, its grid if it has one."""
        fine = self.maps.fine and r.grid is None
        self.quantities.append(Quantity(s.name, r.lo, r.hi, 0 if fine else grid, 0 if fine else growth))

    def refine(self, layer: int, unit: int, **changes: Any) -> None:
        """Says of a unit what matters where its number is not whole."""
        units = self.wiring.units(layer)
        made = units[unit]
        assert isinstance(made, Gated)
        units[unit] = replace(made, fine=True, **changes)

    def range_of(self, s: State) -> Range:
        """What the state can be, its start included."""
        r = self.ranges[s.next]
        init = Fraction(s.init)  # type: ignore[arg-type]
        return Range(None if r.lo is None else min(r.lo, init), None if r.hi is None else max(r.hi, init),
                     None if r.grid is None else common(r.grid, init))

    def _domain(self, s: State) -> tuple[Value, ...]:
        """The values of a finite state, ascending."""
        found = domain_of(s.next, self.ranges[s.next])
        if found is None:
            raise NotHostedError(s.next, "it has too many values to be told apart one by one")
        return tuple(sorted({*found, s.init}, key=lambda v: Fraction(v)))  # type: ignore[arg-type]

    def report(self, cell: Cell, layer: int) -> CellReport:
        small = None if cell.automaton is None else minimise(cell.automaton)
        baseline = None if small is None else len(small.states) * len(small.members)
        return CellReport(cell.states, cell.kind, layer, 0, baseline, cell.span)
