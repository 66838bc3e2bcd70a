"""Technology R: cells that hold numbers, each in one ReLU layer with memory.

A cell whose next values are piecewise linear of depth one becomes one unit for each ramp, and its states are linear
read-outs of those units: a running maximum is M = N + r with r = ReLU(x − M old) and N a copy of M old. A delay is a
unit that holds the value, and one that copies it.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

from lsrl.analysis.interval import Range
from lsrl.analysis.letters import NotFinite, find_letters
from lsrl.analysis.structure import Region
from lsrl.arithmetic import apply, convert
from lsrl.backends.circuit import Bit, CellReport, Count, Form, Number, Placement, Rational, Symbol, constant, signal
from lsrl.backends.numbers import Maps, domain_of
from lsrl.backends.piecewise import Expr, Linear, Space, TooDeepError
from lsrl.backends.wiring import Choice, Quantum
from lsrl.ir.graph import State
from lsrl.ir.nodes import Affine, Compare, Const, FloorDiv, Logic, MinMax, Mul, Mux, Node, Read, Table
from lsrl.types import Bool, Symbols, Value

Letters: TypeAlias = tuple[tuple[Node, ...], frozenset[tuple[Value, ...]]]

__all__ = ["PiecewiseCell", "build", "delay", "piecewise"]

_FEW = 16  # values of an outside argument that counts as a letter
_MOST_COMMON = 8  # expressions that are tried as the common part
_MOST_LETTERS = 64  # values of an outside argument that a table in a cell is taken apart by


@dataclass
class PiecewiseCell:
    """A cell as expressions. own: the state of each own atom; outside: the node of each other atom that is a number;
    letters: for each other atom that is a bit, the joint values of some nodes where it is 1."""

    region: Region
    space: Space
    own: dict[int, State]
    outside: dict[int, Node]
    letters: dict[int, Letters]
    nexts: dict[str, Expr]

    @property
    def masks(self) -> int:
        """How many units gate a number without bounds."""
        return sum(1 for e in self.nexts.values() for r in e.ramps if r.mask is not None)

    def gates(self, maps: Maps) -> list[Choice]:
        """The outside variables that gate a number without bounds."""
        used = {a for e in self.nexts.values() for r in e.ramps if r.mask is not None for a, _ in r.of.terms}
        bits = [maps.choice(n) for a, n in self.outside.items() if a in used and isinstance(n.type, Bool)]
        return bits + [maps.joint(*x) for a, x in self.letters.items() if a in used]

    @property
    def width(self) -> int:
        """Units that it will take."""
        return sum(len(_ramps(self.space, e)) for e in self.nexts.values())

    @property
    def needs(self) -> list[Node]:
        """The outside nodes that it reads."""
        used = {a for e in self.nexts.values() for part in (e.linear, *(r.of for r in e.ramps)) for a, _ in part.terms}
        return list(dict.fromkeys(node for a, node in self.outside.items() if a in used))

    def joint(self) -> list[Letters]:
        """The joint values of outside nodes that it reads as bits."""
        used = {a for e in self.nexts.values() for part in (e.linear, *(r.of for r in e.ramps)) for a, _ in part.terms}
        return list(dict.fromkeys(x for a, x in self.letters.items() if a in used))


def piecewise(region: Region, ranges: Mapping[Node, Range], mask: Fraction) -> PiecewiseCell:
    """The cell as piecewise-linear expressions of depth one. Raises TooDeepError with the reason if it is not one."""
    plain: PiecewiseCell | None = None
    lettered: PiecewiseCell | None = None
    reason: TooDeepError | None = None
    try:
        plain = _Expressions(region, ranges, mask).cell()
        if not plain.masks:
            return plain
    except TooDeepError as error:
        reason = error
    with contextlib.suppress(TooDeepError):
        lettered = _Expressions(region, ranges, mask).by_letter()
    if plain is not None and (lettered is None or (lettered.masks, lettered.width) >= (plain.masks, plain.width)):
        return plain
    if lettered is None:
        assert reason is not None
        raise reason
    return lettered


class _Expressions:
    def __init__(self, region: Region, ranges: Mapping[Node, Range], mask: Fraction) -> None:
        self.region, self.ranges = region, ranges
        self.space = Space(mask)
        self.own: dict[int, State] = {}
        self.outside: dict[int, Node] = {}
        self.letters: dict[int, Letters] = {}
        self.known: dict[Node, Expr] = {}
        self._bits: dict[Letters, Expr] = {}

    def cell(self) -> PiecewiseCell:
        """The cell as its text has it."""
        self._read_states()
        return self._finish(self._nexts())

    def by_letter(self) -> PiecewiseCell:
        """The cell as what each state does most often, plus what is different at each letter."""
        self._read_states()
        nodes = tuple(n for n in self.region.boundary
                      if isinstance(n.type, Bool | Symbols) or domain_of(n, self.ranges[n], _FEW) is not None)
        found = find_letters(nodes, self.ranges, _MOST_LETTERS)
        if isinstance(found, NotFinite) or not nodes:
            raise TooDeepError("its letters are too many")
        base = dict(self.known)
        rows: list[dict[str, Expr]] = []
        for letter in found:
            fixed = {n: self.space.constant(Fraction(_number(v))) for n, v in zip(nodes, letter, strict=True)}
            self.known = {**base, **fixed}
            rows.append(self._nexts())
            base.update((n, e) for n, e in self.known.items() if n not in fixed and n not in self.region.inside)
        names = [s.name for s in self.region.members]
        return self._finish({name: self._joined([r[name] for r in rows], nodes, found) for name in names})

    def _joined(self, rows: Sequence[Expr], nodes: tuple[Node, ...], letters: Sequence[tuple[Value, ...]]) -> Expr:
        """One expression from those of all letters: the common part that leaves the least to be gated."""
        groups: dict[Expr, list[tuple[Value, ...]]] = {}
        for e, letter in zip(rows, letters, strict=True):
            groups.setdefault(e, []).append(letter)
        best: Expr | None = None
        for common in list(groups)[:_MOST_COMMON]:
            parts = [common]
            for e, members in groups.items():
                if e is not common:
                    bit = self._bit((nodes, frozenset(members)))
                    parts.append(self.space.gate([bit], self.space.add(e, self.space.scale(common, -1))))
            whole = self.space.add(*parts)
            if best is None or _cost(whole) < _cost(best):
                best = whole
        assert best is not None
        return best

    def _read_states(self) -> None:
        state = {s.name: s for s in self.region.members}
        for read in self.region.reads:
            atom = self.space.atom(self._range(read))
            self.own[atom] = state[read.state]
            self.known[read] = self.space.of_atom(atom)

    def _nexts(self) -> dict[str, Expr]:
        for node in self.region.inside:
            self.known[node] = self._expression(node)
        return {s.name: self.expr(s.next) for s in self.region.members}

    def _finish(self, nexts: dict[str, Expr]) -> PiecewiseCell:
        self._check_gates(nexts)
        return PiecewiseCell(self.region, self.space, self.own, self.outside, self.letters, nexts)

    def _check_gates(self, nexts: Mapping[str, Expr]) -> None:
        """A bit that gates a number without a bound stands in the sum with the weight of the mask, so the units that
        make it up must themselves be bounded."""
        wild = {name for name, e in nexts.items() if any(self.space.hi(p.of) is None for p in _ramps(self.space, e))}
        for e in nexts.values():
            for r in e.ramps:
                for atom, _ in r.of.terms if r.mask is not None else ():
                    bounded = self.space.ranges[atom].bounded
                    if atom in self.own and bounded and self.own[atom].name in wild:
                        raise TooDeepError(f"`{self.own[atom].name}` depends on a comparison of a number without a "
                                           "bound, and gates one")

    def _range(self, node: Node) -> Range:
        r = self.ranges[node]
        if r.grid is None:
            raise TooDeepError("one of its values has no grid")
        return r

    def expr(self, node: Node) -> Expr:
        found = self.known.get(node)
        if found is None:
            if isinstance(node, Const):
                assert isinstance(node.value, int | Fraction)
                found = self.space.constant(Fraction(node.value))
            else:
                atom = self.space.atom(self._range(node))
                self.outside[atom] = node
                found = self.space.of_atom(atom)
            self.known[node] = found
        return found

    def _bit(self, letters: Letters) -> Expr:
        """[the joint value of some outside nodes is one of those]."""
        if letters not in self._bits:
            atom = self.space.atom(Range(Fraction(0), Fraction(1), Fraction(1)))
            self.letters[atom] = letters
            self._bits[letters] = self.space.of_atom(atom)
        return self._bits[letters]

    def _expression(self, node: Node) -> Expr:
        sp = self.space
        match node:
            case Affine():
                return sp.add(sp.constant(Fraction(node.bias)),
                              *(sp.scale(self.expr(x), Fraction(c)) for c, x in node.terms))
            case Compare():
                a, b = self.expr(node.a), self.expr(node.b)
                if node.op == "==":
                    return sp.equal(a, b)
                if node.op == "!=":
                    return self._not(sp.equal(a, b))
                return sp.at_least(b, a) if node.op == "<=" else self._not(sp.at_least(a, b))
            case Logic(op="not"):
                return self._not(self.expr(node.args[0]))
            case Logic(op="and"):
                return sp.conjunction([self.expr(x) for x in node.args])
            case Logic():
                return self._not(sp.conjunction([self._not(self.expr(x)) for x in node.args]))
            case MinMax():
                return (sp.maximum if node.op == "max" else sp.minimum)([self.expr(x) for x in node.args])
            case Mux():
                return sp.choose(self.expr(node.condition), self.expr(node.then), self.expr(node.other))
            case Mul():
                return self._product(node)
            case FloorDiv():
                d = Fraction(node.divisor)
                x = self.expr(node.x)
                if node.op == "//":
                    return sp.pointwise(lambda v: Fraction(math.floor(v[0] / d)), [x], [])
                return sp.pointwise(lambda v: v[0] % d, [x], [])
            case Table():
                return self._table(node)
            case _:
                raise TooDeepError("its feedback is not piecewise linear")

    def _not(self, x: Expr) -> Expr:
        return self.space.add(self.space.constant(1), self.space.scale(x, -1))

    def _product(self, node: Mul) -> Expr:
        sp = self.space
        a, b = self.expr(node.a), self.expr(node.b)
        for x, y in ((a, b), (b, a)):
            if x.constant is not None:
                return sp.scale(y, x.constant)
        for x, y in ((a, b), (b, a)):
            if sp.is_bit(x):
                return sp.gate([x], y)
        return sp.pointwise(lambda v: v[0] * v[1], [a, b], [])

    def _table(self, node: Table) -> Expr:
        """A table: sampled along the cell's own direction, for each joint value of the outside arguments."""
        sp = self.space
        outer = [x for x in node.args if x not in self.region.inside and x not in self.region.reads
                 and not isinstance(x, Const) and (x not in self.known or self.known[x].constant is None)]
        domains: list[tuple[Value, ...]] = []
        for x in outer:
            domain = domain_of(x, self.ranges[x], _MOST_LETTERS)
            if domain is None:
                raise TooDeepError("a table of its own values and of a number from outside")
            domains.append(domain)
        if math.prod(map(len, domains)) > _MOST_LETTERS:
            raise TooDeepError("a table of its own values and of too many letters")
        inner = [x for x in node.args if x not in outer and not isinstance(x, Const)]
        parts: list[Expr] = []
        for letter in itertools.product(*domains):
            fixed: dict[Node, Value] = dict(zip(outer, letter, strict=True))

            def value(v: Sequence[Fraction], fixed: dict[Node, Value] = fixed) -> Fraction:
                at = dict(zip(inner, v, strict=True))
                args = [x.value if isinstance(x, Const) else fixed[x] if x in fixed else int(at[x]) for x in node.args]
                found = convert(apply(node, args), node.type)
                assert isinstance(found, int | Fraction)
                return Fraction(found)

            row = sp.pointwise(value, [self.expr(x) for x in inner], [])
            parts.append(sp.gate([self._bit((tuple(outer), frozenset({letter})))], row) if fixed else row)
        return sp.add(*parts)


@dataclass(frozen=True)
class _Planned:
    """One unit of a state: the state is bias + Σ c · unit, with unit = ReLU(of) / grid."""

    c: Fraction
    of: Linear
    mask: Fraction | None
    grid: Fraction


def _ramps(space: Space, e: Expr) -> list[_Planned]:
    """The units of an expression: its ramps, and its linear part above its lower bound (or split by sign)."""
    out = [_Planned(r.c, r.of, r.mask, space.grid(r.of)) for r in e.ramps]
    if e.linear.terms:
        low = space.lo(e.linear)
        parts = [(1, e.linear.plus(-low))] if low is not None else [(1, e.linear), (-1, e.linear.scale(-1))]
        out = [_Planned(Fraction(c), of, None, space.grid(of)) for c, of in parts] + out
    return out


def _base(space: Space, e: Expr) -> Fraction:
    """The value of an expression when none of its units is on."""
    if not e.linear.terms:
        return e.linear.bias
    low = space.lo(e.linear)
    return Fraction(0) if low is None else low


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
    plans = {name: _ramps(space, e) for name, e in cell.nexts.items()}
    readouts: dict[str, _Readout] = {}
    first = len(units)
    at = first
    for s in cell.region.members:
        base = _base(space, cell.nexts[s.name])
        forms = [signal(at + i, p.c * p.grid) for i, p in enumerate(plans[s.name])]
        readouts[s.name] = _Readout(Form.total(forms, base))
        at += len(forms)
    spares: dict[str, Fraction] = {}
    starts: dict[int, Rational] = {}
    at = first
    for s in cell.region.members:
        plan, base = plans[s.name], _base(space, cell.nexts[s.name])
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
        base = _base(space, cell.nexts[name])
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


def _writes(plan: Sequence[_Planned], first: int, base: Fraction, lo: Fraction | None,
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


def _make_units(cell: PiecewiseCell, maps: Maps, layer: int, plans: Mapping[str, list[_Planned]],
                readouts: Mapping[str, _Readout], starts: Mapping[int, Rational], spares: Sequence[str]) -> None:
    units = maps.wiring.units(layer)
    for s in cell.region.members:
        for k, p in enumerate(plans[s.name]):
            below, own = _split(cell, maps, layer, p.of, readouts)
            high = cell.space.hi(p.of)
            end = maps.ranges[s.next].hi if p.c > 0 else maps.ranges[s.next].lo
            if len(plans[s.name]) == 1 and end is not None:
                bound = (end - _base(cell.space, cell.nexts[s.name])) / p.c
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


def _cost(e: Expr) -> tuple[int, int]:
    return sum(1 for r in e.ramps if r.mask is not None), len(e.ramps)


def _number(v: Value) -> Rational:
    assert isinstance(v, int | Fraction)
    return v


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
        grid = _common(q.grid, Fraction(init))
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
    domain = tuple(sorted({*c.domain, init}, key=_number))
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


def _common(a: Fraction, b: Fraction) -> Fraction:
    under = math.lcm(a.denominator, b.denominator)
    return Fraction(math.gcd(int(a * under), int(b * under)), under)
