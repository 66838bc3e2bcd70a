"""The units of a machine cell in technology R: see `lsrl.backends.machines` for what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from lsrl.backends.circuit import Bit, CellReport, Count, Number, Placement, Symbol
from lsrl.backends.combinations import Combination
from lsrl.backends.cubes import Cube
from lsrl.backends.finite import STATE, Leaf, Step
from lsrl.backends.linear_form import Form, Rational, constant, signal
from lsrl.backends.machines import MachineCell
from lsrl.backends.numbers import Maps
from lsrl.backends.refusal import NotHostedError
from lsrl.backends.wiring import Choice, Quantum
from lsrl.ir.graph import State
from lsrl.ir.nodes import Node, Read

__all__ = ["build"]


@dataclass(frozen=True)
class _Plan:
    """One unit: a cube, and the leaves that may have been taken before it (by number; None: any)."""

    cube: Cube
    before: frozenset[int] | None
    pending: tuple[Step, ...]


class _Builder:
    """Makes the units of a machine cell. leaves[0] is the default, which has no unit of its own."""

    def __init__(self, m: MachineCell, maps: Maps) -> None:
        self.m, self.maps = m, maps
        used = {v for c in m.cover.cubes for v, _ in c.literals}
        self.layer = 1 + max((r.layer for v, r in m.roots.items() if v in used), default=0)
        self.units = maps.wiring.units(self.layer)
        self.still = tuple(Step(0) for _ in m.registers)
        self.leaves = m.cover.leaves
        self.name = ", ".join(m.cell.states)
        begin = m.cover.machine.start
        calm = [i for i, x in enumerate(self.leaves) if x.next == begin and x.steps == self.still]
        self.spare = not calm
        if self.spare:
            calm = [len(self.leaves)]
            self.leaves = [*self.leaves, Leaf(begin, self.still, (None,) * len(m.observed))]
        self.first_leaf = 0 if 0 in calm else calm[0]
        self.plans = self._plans()
        self.base = len(self.units)
        self.leaf_of: list[tuple[int, int]] = []  # (unit, leaf)
        for i, p in enumerate(self.plans):
            assert isinstance(p.cube.leaf, Leaf)
            self.leaf_of.append((self.base + i, self.leaves.index(p.cube.leaf)))
        if self.spare:
            self.leaf_of.append((self.base + len(self.plans), self.first_leaf))
        at = self.base + len(self.leaf_of)
        self.counts: dict[str, Form] = {}  # R, of each register in units of its grid
        for s in m.registers:
            lo = self._low(s)
            if lo is not None:
                self.counts[s.name] = signal(at) + lo
                at += 1
            else:
                self.counts[s.name] = signal(at) - signal(at + 1)
                at += 2
        self.stairs: dict[tuple[Combination, int], int] = {}
        for key in self._levels():
            self.stairs[key] = at
            at += 1

    def _low(self, s: State) -> int | None:
        """The least value of a register, in units of its grid."""
        lo = self.maps.ranges[s.next].lo
        grid = self._grid(s)
        assert isinstance(s.init, int | Fraction)
        return None if lo is None else int(min(lo, Fraction(s.init)) / grid)

    def _grid(self, s: State) -> Fraction:
        return self.maps.ranges[s.next].grid or Fraction(1)

    def total(self, which: Sequence[int] | frozenset[int]) -> Form:
        """[the last token's leaf is one of those], over this layer."""
        if 0 in which:
            return Form.of(((-1, u) for u, leaf in self.leaf_of if leaf not in which), 1)
        return Form.of((1, u) for u, leaf in self.leaf_of if leaf in which)

    def _pending(self, combination: Combination, steps: Sequence[Step]) -> Step:
        """What a step of all registers adds to a combination, or sets it to."""
        place = {s.name: i for i, s in enumerate(self.m.registers)}
        mine = [(c, steps[place[name]]) for c, (name, _) in combination]
        if any(s.sets for _, s in mine) and not all(s.sets for _, s in mine):
            raise NotHostedError(self.m.cell.nexts[0], "numbers are compared after one is set and another is not")
        return Step(sum(c * s.by for c, s in mine), mine[0][1].sets)

    def _plans(self) -> list[_Plan]:
        out: list[_Plan] = []
        for cube in self.m.cover.cubes:
            old = dict(cube.literals).get(STATE)
            possible = [i for i, x in enumerate(self.leaves) if old is None or x.next in old]
            own = [(self.m.thresholds[v], places) for v, places in cube.literals if v in self.m.thresholds]
            groups: dict[tuple[Step, ...], list[int]] = {}
            for i in possible:
                groups.setdefault(tuple(self._pending(f, self.leaves[i].steps) for (f, _), _ in own), []).append(i)
            for pending, group in groups.items():
                if all(not s.sets or (s.by >= k) == (places == {1})
                       for s, ((_, k), places) in zip(pending, own, strict=True)):
                    whole = len(group) == len(self.leaves)
                    out.append(_Plan(cube, None if whole else frozenset(group), pending))
        return out

    def _literals(self, p: _Plan) -> list[tuple[Combination, int, bool]]:
        """The comparisons that a unit reads: [combination of R ≥ k] or its contrary."""
        own = [(self.m.thresholds[v], places) for v, places in p.cube.literals if v in self.m.thresholds]
        return [(f, k - s.by, places == {1}) for ((f, k), places), s in zip(own, p.pending, strict=True) if not s.sets]

    def _levels(self) -> list[tuple[Combination, int]]:
        found: dict[tuple[Combination, int], None] = {}
        for p in self.plans:
            for f, k, _ in self._literals(p):
                found[f, k - 1] = None
                found[f, k] = None
        return list(found)

    def build(self) -> tuple[Placement, CellReport]:
        """The units; holds what the cell shows in `maps`."""
        m, span = self.m, self.m.cell.span
        built: list[Bit | Number] = [self._bit(i, p) for i, p in enumerate(self.plans)]
        if self.spare:
            what = Symbol(f"{self.name}: before the first token", span, m.cell.states)
            built.append(Bit(Form(), Form(), what, 1, group=self.name))
        for s in m.registers:
            built += self._register(s)
        for (combination, level), _ in self.stairs.items():
            total = Form.total((self._moved(name).scale(c) for c, (name, _) in combination), -level)
            init = sum(c * self._start(name) for c, (name, _) in combination) - level
            what = Symbol(f"{_words(combination)} above {level}, one token late", span, m.cell.states)
            built.append(Number(constant(total.bias), Form(total.terms), what, max(init, 0)))
        self.units.extend(built)
        for k, node in enumerate(m.observed):
            self._observe(node, k)
        for s in m.registers:
            self._show(s)
        labels = m.cover.machine.labels
        states = range(m.cover.machine.size)
        forms = tuple(self.total([i for i, x in enumerate(self.leaves) if x.next == q]) for q in states)
        patterns = tuple(() if self.leaves[0].next == q else (self._unit_to(q),) for q in states)
        numbers = tuple((s.name, self._count(s)) for s in m.registers)
        note = f"{m.cover.machine.size} states" + (f", counters: {len(m.registers)}" if m.registers else "")
        if not m.control:
            labels, forms, patterns = (), (), ()
        return (Placement(self.layer, tuple(s.name for s in m.control), tuple(x[0] for x in labels), forms, patterns,
                          tuple(u for u, _ in self.leaf_of), labels, numbers),
                CellReport(m.cell.states, m.cell.kind, self.layer, len(built), m.baseline, span, note))

    def _unit_to(self, q: int) -> int:
        return next(u for u, leaf in self.leaf_of if self.leaves[leaf].next == q)

    def _bit(self, i: int, p: _Plan) -> Bit:
        below, own, count = Form(), Form(), 0
        words: list[str] = []
        if p.before is not None:
            own, count = self.total(p.before), 1
        for v, places in p.cube.literals:
            if v in self.m.roots:
                root = self.m.roots[v]
                below = below + root.member(places, self.layer - 1)
                count += 1
                words.append(f"{root.name.text} in {[root.domain[x] for x in sorted(places)][:6]}")
            elif v == STATE:
                words.append("was " + "/".join(map(str, sorted(places))))
        for f, k, above in self._literals(p):
            at_least = signal(self.stairs[f, k - 1]) - signal(self.stairs[f, k])
            own = own + (at_least if above else constant(1) - at_least)
            count += 1
            words.append(f"{_words(f)} {'≥' if above else '<'} {k}")
        symbol = Symbol(f"{self.name}: {', '.join(words)}", self.m.cell.span, self.m.cell.states)
        on = self.first_leaf and self.base + i == next(u for u, leaf in self.leaf_of if leaf == self.first_leaf)
        return Bit(below - (count - 1) + own.bias, Form(own.terms), symbol, int(bool(on)), group=self.name)

    def _start(self, name: str) -> int:
        s = next(s for s in self.m.registers if s.name == name)
        assert isinstance(s.init, int | Fraction)
        return int(Fraction(s.init) / self._grid(s))

    def _moves(self, name: str) -> Form:
        """The step that is pending, over this layer; 0 where it sets."""
        at = [s.name for s in self.m.registers].index(name)
        by: dict[int, list[int]] = {}
        for i, x in enumerate(self.leaves):
            if not x.steps[at].sets:
                by.setdefault(x.steps[at].by, []).append(i)
        return Form.total(self.total(group).scale(d) for d, group in by.items() if d)

    def _moved(self, name: str) -> Form:
        """N, the register with its pending step, over this layer; it may not be set."""
        at = [s.name for s in self.m.registers].index(name)
        if any(x.steps[at].sets for x in self.leaves):
            raise NotHostedError(self.m.cell.nexts[0], f"`{name}` is set, and its own comparisons decide when")
        return self.counts[name] + self._moves(name)

    def _register(self, s: State) -> list[Number]:
        """R := N of the token before."""
        whole, lo, init = self._moved(s.name), self._low(s), self._start(s.name)
        what = Symbol(f"{s.name}, one token late", s.span, (s.name,))
        hi = self.maps.ranges[s.next].hi
        top: Fraction | None = None if hi is None else max(hi / self._grid(s), Fraction(init))

        def unit(f: Form, start: int, most: Rational | None) -> Number:
            return Number(constant(f.bias), Form(f.terms), what, max(start, 0), most)

        if lo is not None:
            return [unit(whole - lo, init - lo, None if top is None else max(top - lo, Fraction(0)))]
        return [unit(whole, init, None if top is None else max(top, Fraction(0))), unit(whole.scale(-1), -init, None)]

    def _show(self, s: State) -> None:
        """Holds the new and the old value of a register."""
        grid = self._grid(s)
        new, old = self._moved(s.name).scale(grid), self.counts[s.name].scale(grid)
        if s.next in self.m.cell.inside:
            r = self.maps.ranges[s.next]
            self.maps.held[s.next] = Quantum(self.maps.wiring, self.maps.symbol(s.next), self.layer, new, r.lo, r.hi,
                                             grid)
        for read in self.m.cell.reads:
            if read.state == s.name:
                r = self.maps.ranges[read]
                self.maps.held[read] = Quantum(self.maps.wiring, Symbol(f"old {s.name}", read.span), self.layer, old,
                                               r.lo, r.hi, grid)

    def _count(self, s: State) -> Count:
        """How a register is read and written; one that is compared together with others can only be read."""
        grid, lo = self._grid(s), self._low(s)
        form = self._moved(s.name).scale(grid)
        (_, first), *rest = self.counts[s.name].terms
        # A value is written into R as what is left when the pending step is taken off.
        bias = self._moves(s.name).bias
        units: list[tuple[int, Rational, Rational, bool]] = []
        if lo is not None:
            units.append((first, 1 / grid, -lo - bias, False))
        else:
            units += [(first, 1 / grid, -bias, True), (rest[0][1], -1 / grid, bias, True)]
        for (combination, level), u in self.stairs.items():
            mine = [c for c, (name, _) in combination if name == s.name]
            if mine and len(combination) > 1:
                return Count(form, ())
            if mine:
                units.append((u, mine[0] / grid, -level - mine[0] * bias, True))
        return Count(form, tuple(units))

    def _observe(self, node: Node, k: int) -> None:
        """Holds a node that the leaf decides."""
        seen = {x.observed[k] for x in self.leaves if x.observed[k] is not None}
        domain = tuple(sorted((v for v in seen if isinstance(v, int | Fraction)), key=Fraction))

        def home(places: frozenset[int]) -> Form:
            chosen = [domain[p] for p in places]
            return self.total([i for i, x in enumerate(self.leaves)
                               if x.observed[k] is not None and x.observed[k] in chosen])

        symbol = Symbol(f"old {node.state}", node.span) if isinstance(node, Read) else self.maps.symbol(node)
        self.maps.held[node] = Choice(self.maps.wiring, symbol, domain, self.layer, home)


def _words(combination: Combination) -> str:
    return " + ".join(name if c == 1 else f"{c}·{name}" for c, (name, _) in combination)


def build(m: MachineCell, maps: Maps) -> tuple[Placement, CellReport]:
    """Makes the units of a machine cell and holds what it shows. Raises NotHostedError for a register that is set."""
    return _Builder(m, maps).build()
