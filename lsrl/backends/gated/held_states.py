"""The states of gated cells: the units that hold them, and their values before and after the token.

What a layer shows is the value after the token; the value before it is a lag of that, one layer on, or the other way
round where the architecture shows what was before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch

from lsrl.analysis.automaton import minimise
from lsrl.analysis.cells import Cell
from lsrl.analysis.interval import Range
from lsrl.backends.circuit import CellReport, Gated, Lag, Placement, Quantity, Symbol
from lsrl.backends.gated.gates import Gates
from lsrl.backends.holdings import common, domain_of
from lsrl.backends.linear_form import ZERO, Form, Rational, constant, signal
from lsrl.backends.refusal import NotHostedError
from lsrl.backends.relu import NumberLowering
from lsrl.backends.wiring import Choice, Quantum
from lsrl.ir.graph import Graph, State
from lsrl.ir.nodes import Const, Read
from lsrl.types import Value

__all__ = ["ONE_HOT", "HeldStates"]

ONE_HOT = 16  # values of a state that is held one-hot rather than as a number


class HeldStates(NumberLowering):
    """Lowers the states of a graph for one set of gates."""

    def __init__(self, graph: Graph, dtype: torch.dtype, gates: Gates, fine: bool) -> None:
        super().__init__(graph, dtype, fine)
        self.gates = gates

    def passed(self, s: State) -> None:
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
        c, domain = self.maps.choice(s.next), self.domain(s)
        layer = c.layer + 1

        def old(places: frozenset[int]) -> Form:
            start = int(any(domain[p] == s.init for p in places))
            unit = Gated((), self._among(c, domain, places), symbol, start, before=True)
            return signal(self.wiring.add(layer, unit))

        held = Choice(self.wiring, symbol, domain, layer, old)
        self.keep(s, held)
        self.place(s, domain, layer, lambda places: held.member(places, layer))

    def place(self, s: State, domain: Sequence[Value], layer: int, unit: Callable[[frozenset[int]], Form],
              rest: int = 0) -> None:
        """Says where a state of few values is: in the contents of units, one a value but that of number `rest`; none if
        it has many."""
        if len(domain) > ONE_HOT:
            return
        forms = [ZERO if p == rest else unit(frozenset({p})) for p in range(len(domain))]
        patterns = tuple(tuple(i for _, i in f.terms) for f in forms)
        forms[rest] = constant(1) - Form.total(forms)
        self.placements.append(Placement(layer, (s.name,), tuple((v,) for v in domain), tuple(forms), patterns,
                                         tuple(sorted({i for p in patterns for i in p}))))

    @staticmethod
    def _among(c: Choice, domain: Sequence[Value], places: frozenset[int]) -> Form:
        """[the variable is one of some values of a larger domain], over its own layer."""
        back = {v: i for i, v in enumerate(c.domain)}
        return c.member(frozenset(back[domain[p]] for p in places if domain[p] in back), c.layer)

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

    def late(self, read: Read, s: State) -> None:
        """The value of a state before the token, from that after it."""
        held = None if isinstance(s.next, Const) else self.maps.held[s.next]
        if self.gates.lag != "exact" and domain_of(s.next, self.ranges[s.next]) is not None:
            held = None  # bits of a number of few values
        symbol = Symbol(f"old {s.name}", s.span, (s.name,))
        assert isinstance(s.init, int | Fraction)
        if isinstance(held, Quantum):
            self.maps.held[read] = self._late_number(held, s, symbol)
            return
        c, domain = self.maps.choice(s.next), self.domain(s)
        layer = c.layer + 1

        def lag(places: frozenset[int]) -> Form:
            start = int(any(domain[p] == s.init for p in places))
            return signal(self.wiring.add(layer, Lag(self._among(c, domain, places), symbol, start)))

        held_late = self.maps.held[read] = Choice(self.wiring, symbol, domain, layer, lag)
        if not any(s.name in (*p.states, *(name for name, _ in p.numbers)) for p in self.placements):
            self.place(s, domain, layer, lambda places: held_late.member(places, layer))

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

    def keeping(self, layer: int, keep: Form, add: Form, symbol: Symbol, start: Rational, lo: Rational | None = 0,
                hi: Rational | None = 1, adds: bool = False, flip: Form = ZERO, step: bool = False,
                masked: bool = False) -> int:
        """A unit that keeps itself as `keep` says."""
        units = self.wiring.units(layer)
        before = self.gates.lag == "before"
        units.append(Gated(((keep, len(units)),), add, symbol, start, lo, hi, adds, flip, before, step, masked))
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

    def domain(self, s: State) -> tuple[Value, ...]:
        """The values of a finite state, ascending."""
        found = domain_of(s.next, self.ranges[s.next])
        if found is None:
            raise NotHostedError(s.next, "it has too many values to be told apart one by one")
        return tuple(sorted({*found, s.init}, key=lambda v: Fraction(v)))  # type: ignore[arg-type]

    def report(self, cell: Cell, layer: int) -> CellReport:
        small = None if cell.automaton is None else minimise(cell.automaton)
        baseline = None if small is None else len(small.states) * len(small.members)
        return CellReport(cell.states, cell.kind, layer, 0, baseline, cell.span)
