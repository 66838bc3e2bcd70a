"""Technology R: cells that hold numbers, each in one ReLU layer with memory.

A cell whose next values are piecewise linear of depth one becomes one unit for each ramp, and its states are linear
read-outs of those units: a running maximum is M = N + r with r = ReLU(x − M old) and N a copy of M old. A delay is a
unit that holds the value, and one that copies it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from lsrl.analysis.interval import Range
from lsrl.backends.cell_expressions import PiecewiseCell, Planned, base_value, number_of, planned_units
from lsrl.backends.circuit import Bit, CellReport, Count, Number, Placement, Symbol
from lsrl.backends.holdings import common
from lsrl.backends.linear_form import Form, Rational, constant, signal
from lsrl.backends.numbers import Maps
from lsrl.backends.piecewise import Linear
from lsrl.backends.wiring import Choice, Quantum
from lsrl.ir.graph import State
from lsrl.ir.nodes import Const, Node, Read
from lsrl.types import Bool

__all__ = ["build", "delay"]


@dataclass
class _Readout:
    """A state as a form over its layer, and how a value is written into its units."""

    form: Form
    writes: list[tuple[int, Rational, Rational, bool]] = field(default_factory=list)


def build(cell: PiecewiseCell, maps: Maps, kind: str) -> tuple[Placement, CellReport]:
    """Makes the units of a cell, and holds its states' old and new values in `maps`."""
    wiring, space = maps.wiring, cell.space
    layer = 1 + max([*(maps.level(n) for n in cell.needs), *(maps.joint(*x).layer for x in cell.joint())], default=0)
    if any(c.layer == layer - 1 and len(_on(c, c.layer).terms) > 1 for c in cell.gates(maps)):
        layer += 1  # a gate with a mask is to be a single unit
    units = wiring.units(layer)
    plans = {name: planned_units(space, e) for name, e in cell.nexts.items()}
    readouts: dict[str, _Readout] = {}
    first = len(units)
    at = first
    for s in cell.region.members:
        base = base_value(space, cell.nexts[s.name])
        forms = [signal(at + i, p.c * p.grid) for i, p in enumerate(plans[s.name])]
        readouts[s.name] = _Readout(Form.total(forms, base))
        at += len(forms)
    spares: dict[str, Fraction] = {}
    starts: dict[int, Rational] = {}
    at = first
    for s in cell.region.members:
        plan, base = plans[s.name], base_value(space, cell.nexts[s.name])
        init = Fraction(s.init) if isinstance(s.init, int | Fraction) else Fraction(0)
        r = maps.ranges[s.next]
        writes = _writes(plan, at, base, r.lo, r.hi)
        at += len(plan)
        begin = {u: _written(a * init + b, clip) for u, a, b, clip in writes}
        if not writes or any(v < 0 or v.denominator != 1 for v in begin.values()):
            spares[s.name] = init
        else:
            starts.update(begin)
        readouts[s.name].writes = writes
    number = at
    for name, init in spares.items():
        base = base_value(space, cell.nexts[name])
        readouts[name].form = readouts[name].form + signal(number, init - base)
        if readouts[name].writes:
            readouts[name].writes.append((number, 0, 0, False))
        number += 1
    _make_units(cell, maps, layer, plans, readouts, starts, list(spares))
    _hold(cell, maps, layer, readouts)
    names = tuple(s.name for s in cell.region.members)
    numbers = tuple((s.name, Count(readouts[s.name].form, tuple(readouts[s.name].writes)))
                    for s in cell.region.members)
    return Placement(layer, (), numbers=numbers), CellReport(names, kind, layer, number - first, None, cell.region.span)


def _writes(plan: Sequence[Planned], first: int, base: Fraction, lo: Fraction | None,
            hi: Fraction | None) -> list[tuple[int, Rational, Rational, bool]]:
    """How a value from lo to hi is written: one unit holds it (or a pair, by its sign), the others are 0; [] if it
    cannot be."""
    def alone(i: int) -> tuple[Fraction, Fraction]:
        step = plan[i].c * plan[i].grid
        return 1 / step, -base / step

    zeros = [(first + i, 0, 0, False) for i in range(len(plan))]
    up = next((i for i, p in enumerate(plan) if p.c > 0), None)
    down = next((i for i, p in enumerate(plan) if p.c < 0), None)
    if up is not None and lo is not None and lo >= base:
        chosen = [up]
    elif down is not None and hi is not None and hi <= base:
        chosen = [down]
    elif up is not None and down is not None:
        chosen = [up, down]
    else:
        return []
    out: list[tuple[int, Rational, Rational, bool]] = list(zeros)
    for i in chosen:
        a, b = alone(i)
        out[i] = (first + i, a, b, len(chosen) > 1)
    return out


def _written(x: Fraction, clipped: bool) -> Fraction:
    return max(x, Fraction(0)) if clipped else x


def _make_units(cell: PiecewiseCell, maps: Maps, layer: int, plans: Mapping[str, list[Planned]],
                readouts: Mapping[str, _Readout], starts: Mapping[int, Rational], spares: Sequence[str]) -> None:
    units = maps.wiring.units(layer)
    for s in cell.region.members:
        for k, p in enumerate(plans[s.name]):
            below, own = _split(cell, maps, layer, p.of, readouts)
            high = cell.space.hi(p.of)
            end = maps.ranges[s.next].hi if p.c > 0 else maps.ranges[s.next].lo
            if len(plans[s.name]) == 1 and end is not None:
                bound = (end - base_value(cell.space, cell.nexts[s.name])) / p.c
                high = bound if high is None else min(high, bound)
            outer = cell.space.hi(Linear(tuple((a, c) for a, c in p.of.terms if a not in cell.own), p.of.bias))
            biases = (c * Fraction(readouts[cell.own[a].name].form.bias) for a, c in p.of.terms if a in cell.own)
            top = None if outer is None else (outer + sum(biases, Fraction(0))) / p.grid
            text = s.name if k == 0 else f"{s.name}, part {k + 1}"
            units.append(Number(below.scale(1 / p.grid), own.scale(1 / p.grid), Symbol(text, s.span, (s.name,)),
                                starts.get(len(units), 0), None if high is None else max(high / p.grid, Fraction(0)),
                                None if p.mask is None else p.mask / p.grid, top))
    for name in spares:
        what = Symbol(f"{name}: before the first token", cell.region.span, (name,))
        units.append(Bit(constant(0), constant(0), what, 1))


def _split(cell: PiecewiseCell, maps: Maps, layer: int, of: Linear,
           readouts: Mapping[str, _Readout]) -> tuple[Form, Form]:
    """A linear combination of atoms as forms over the layer below and over the layer itself."""
    below, own = [constant(of.bias)], [constant(0)]
    for atom, c in of.terms:
        if atom in cell.own:
            own.append(readouts[cell.own[atom].name].form.scale(c))
            continue
        if atom in cell.outside:
            below.append(maps.quantum(cell.outside[atom]).at(layer - 1).scale(c))
        else:
            below.append(_on(maps.joint(*cell.letters[atom]), layer - 1).scale(c))
    total_own = Form.total(own)
    return Form.total(below, total_own.bias), Form(total_own.terms)


def _on(c: Choice, layer: int) -> Form:
    """A bool as a 0/1 form over a layer."""
    return c.member(frozenset(i for i, v in enumerate(c.domain) if v), layer)


def _hold(cell: PiecewiseCell, maps: Maps, layer: int, readouts: Mapping[str, _Readout]) -> None:
    """Holds the new values of the states, and the old ones where something reads them."""
    for s in cell.region.members:
        if s.next in cell.region.inside:
            maps.held[s.next] = _held(maps, s.next, layer, readouts[s.name].form)
    for read in cell.region.reads:
        maps.held[read] = _copied(maps, read, layer, readouts[read.state].form)


def _held(maps: Maps, node: Node, layer: int, form: Form) -> Choice | Quantum:
    r = maps.ranges[node]
    if isinstance(node.type, Bool):
        return Choice(maps.wiring, maps.symbol(node), (False, True), layer,
                      lambda places: form if places == {1} else constant(1) - form)
    return Quantum(maps.wiring, maps.symbol(node), layer, form, r.lo, r.hi, r.grid or Fraction(1))


def _copied(maps: Maps, node: Node, layer: int, form: Form) -> Choice | Quantum:
    """The value a form over the layer had a token ago."""
    r = maps.ranges[node]
    symbol = Symbol(f"old {maps.symbol(node).text}", node.span)
    if isinstance(node.type, Bool):
        def old(places: frozenset[int]) -> Form:
            bit = signal(maps.wiring.add(layer, Bit(constant(form.bias), Form(form.terms), symbol)))
            return bit if places == {1} else constant(1) - bit

        return Choice(maps.wiring, symbol, (False, True), layer, old)
    grid = r.grid or Fraction(1)
    return Quantum(maps.wiring, symbol, layer, _late(maps, layer, form, r, grid, symbol), r.lo, r.hi, grid)


def _late(maps: Maps, layer: int, form: Form, r: Range, grid: Fraction, symbol: Symbol) -> Form:
    """Units that show what a number's form over their own layer was a token ago."""
    if form.is_constant:
        return form

    def unit(f: Form, hi: Fraction | None) -> Form:
        if hi is not None and hi <= 0:
            return constant(0)
        scaled = f.scale(1 / grid)
        return signal(maps.wiring.add(layer, Number(constant(scaled.bias), Form(scaled.terms), symbol, 0, hi)))

    if r.lo is not None:
        return unit(form - r.lo, None if r.hi is None else (r.hi - r.lo) / grid).scale(grid) + r.lo
    return (unit(form, None if r.hi is None else max(r.hi, Fraction(0)) / grid)
            - unit(form.scale(-1), None)).scale(grid)


def delay(state: State, reads: Sequence[Read], maps: Maps, kind: str) -> tuple[Placement | None, CellReport]:
    """A state that takes its next value from elsewhere: units that hold it, made as they are read."""
    u, wiring = state.next, maps.wiring
    r, symbol = maps.ranges[u], Symbol(state.name, state.span, (state.name,))
    late = Symbol(f"old {state.name}", state.span, (state.name,))
    init = state.init
    assert isinstance(init, int | Fraction)
    if not isinstance(u, Const) and isinstance(maps.held[u], Quantum):
        q = maps.quantum(u)
        layer = q.layer + 1
        grid = common(q.grid, Fraction(init))
        low = None if q.lo is None else min(q.lo, Fraction(init))
        form = _held_number(maps, layer, q, grid, low, Fraction(init), symbol)
        whole = Range(low, None if r.hi is None else max(r.hi, Fraction(init)), grid)
        for read in reads:
            maps.held[read] = Quantum(wiring, late, layer, _late(maps, layer, form, whole, grid, late), whole.lo,
                                      whole.hi, grid)
        units = tuple((i, Fraction(1 if w > 0 else -1) / grid, -Fraction(low or 0) / grid, low is None)
                      for w, i in form.terms)
        return (Placement(layer, (), numbers=((state.name, Count(form, units)),)),
                CellReport((state.name,), kind, layer, len(form.terms), None, state.span))
    c = maps.choice(u)
    layer = c.layer + 1
    domain = tuple(sorted({*c.domain, init}, key=number_of))
    back = {v: i for i, v in enumerate(c.domain)}

    def hold(places: frozenset[int]) -> Form:
        now = frozenset(back[domain[p]] for p in places if domain[p] in back)
        return signal(wiring.add(layer, Bit(c.member(now, layer - 1), Form(), symbol,
                                            int(any(domain[p] == init for p in places)))))

    def old(places: frozenset[int]) -> Form:
        return signal(wiring.add(layer, Bit(Form(), hold(places), late)))

    for read in reads:
        maps.held[read] = Choice(wiring, late, domain, layer, old)
    placement = None
    if len(domain) == 2:
        form = hold(frozenset({1}))
        unit = form.terms[0][1]
        placement = Placement(layer, (state.name,), tuple((v,) for v in domain), (constant(1) - form, form),
                              ((), (unit,)), (unit,))
    return placement, CellReport((state.name,), kind, layer, 1, None, state.span)


def _held_number(maps: Maps, layer: int, q: Quantum, grid: Fraction, low: Fraction | None, init: Fraction,
                 symbol: Symbol) -> Form:
    """Units of `layer` that hold the number q, and `init` before the first token."""
    below = q.at(layer - 1)

    def unit(f: Form, start: Fraction, hi: Fraction | None) -> Form:
        return signal(maps.wiring.add(layer, Number(f.scale(1 / grid), Form(), symbol, max(start, Fraction(0)) / grid,
                                                    None if hi is None else max(hi, start, Fraction(0)) / grid)))

    if low is not None:
        return unit(below - low, init - low, None if q.hi is None else q.hi - low).scale(grid) + low
    return (unit(below, init, q.hi) - unit(below.scale(-1), -init, None)).scale(grid)
