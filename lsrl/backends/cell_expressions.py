"""Cells as piecewise-linear expressions of depth one over their old states and what they read: what a ReLU layer hosts.

Tried as the text has it first; where that gates a number without bounds, letter by letter too: what each state does
most often, plus what is different at some letters.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from lsrl.analysis.interval import Range
from lsrl.analysis.letters import NotFinite, find_letters
from lsrl.analysis.structure import Region
from lsrl.arithmetic import apply, convert
from lsrl.backends.holdings import domain_of
from lsrl.backends.linear_form import Rational
from lsrl.backends.numbers import Maps
from lsrl.backends.piecewise import Expr, Linear, Space, TooDeepError
from lsrl.backends.wiring import Choice
from lsrl.ir.graph import State
from lsrl.ir.nodes import Affine, Compare, Const, FloorDiv, Logic, MinMax, Mul, Mux, Node, Table
from lsrl.types import Bool, Symbols, Value

__all__ = ["PiecewiseCell", "Planned", "base_value", "number_of", "piecewise", "planned_units"]

Letters: TypeAlias = tuple[tuple[Node, ...], frozenset[tuple[Value, ...]]]

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
        return sum(len(planned_units(self.space, e)) for e in self.nexts.values())

    @property
    def needs(self) -> list[Node]:
        """The outside nodes that it reads."""
        used = {a for e in self.nexts.values() for part in (e.linear, *(r.of for r in e.ramps)) for a, _ in part.terms}
        return list(dict.fromkeys(node for a, node in self.outside.items() if a in used))

    def joint(self) -> list[Letters]:
        """The joint values of outside nodes that it reads as bits."""
        used = {a for e in self.nexts.values() for part in (e.linear, *(r.of for r in e.ramps)) for a, _ in part.terms}
        return list(dict.fromkeys(x for a, x in self.letters.items() if a in used))


def piecewise(region: Region, ranges: Mapping[Node, Range], mask: Fraction | None) -> PiecewiseCell:
    """The cell as piecewise-linear expressions of depth one. Raises TooDeepError with the reason if it is not one.

    mask: of gates over numbers without a bound; None refuses such gates, and admits numbers without a grid.
    """
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
    def __init__(self, region: Region, ranges: Mapping[Node, Range], mask: Fraction | None) -> None:
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
            fixed = {n: self.space.constant(Fraction(number_of(v))) for n, v in zip(nodes, letter, strict=True)}
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
        wild = {name for name, e in nexts.items()
                if any(self.space.hi(p.of) is None for p in planned_units(self.space, e))}
        for e in nexts.values():
            for r in e.ramps:
                for atom, _ in r.of.terms if r.mask is not None else ():
                    bounded = self.space.ranges[atom].bounded
                    if atom in self.own and bounded and self.own[atom].name in wild:
                        raise TooDeepError(f"`{self.own[atom].name}` depends on a comparison of a number without a "
                                           "bound, and gates one")

    def _range(self, node: Node) -> Range:
        r = self.ranges[node]
        if r.grid is None and self.space.mask is not None:
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
class Planned:
    """One unit of a state: the state is bias + Σ c · unit, with unit = ReLU(of) / grid."""

    c: Fraction
    of: Linear
    mask: Fraction | None
    grid: Fraction


def planned_units(space: Space, e: Expr) -> list[Planned]:
    """The units of an expression: its ramps, and its linear part above its lower bound (or split by sign).
    Those that are never above 0 are left out."""
    out = [Planned(r.c, r.of, r.mask, space.step(r.of)) for r in e.ramps]
    if e.linear.terms:
        low = space.lo(e.linear)
        parts = [(1, e.linear.plus(-low))] if low is not None else [(1, e.linear), (-1, e.linear.scale(-1))]
        out = [Planned(Fraction(c), of, None, space.step(of)) for c, of in parts] + out
    ends = [space.hi(p.of) for p in out]
    return [p for p, end in zip(out, ends, strict=True) if end is None or end > 0]


def base_value(space: Space, e: Expr) -> Fraction:
    """The value of an expression when none of its units is on."""
    if not e.linear.terms:
        return e.linear.bias
    low = space.lo(e.linear)
    return Fraction(0) if low is None else low


def _cost(e: Expr) -> tuple[int, int]:
    return sum(1 for r in e.ramps if r.mask is not None), len(e.ramps)


def number_of(v: Value) -> Rational:
    """A scalar value as the number that it is."""
    assert isinstance(v, int | Fraction)
    return v
