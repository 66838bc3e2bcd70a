"""Technology R: automata and counter machines, each in one ReLU layer with memory.

A unit stands for one cube of (old control state, letter): ReLU of an "and", as its sum is at most 1. A register that
the cell itself compares is counted one token late, R(t) = N(t − 1), and a unit ReLU(F(R) − j) beside it lets the next
token read [F ≥ k] linearly, as the difference of two of them: what the step that is still pending adds is known to the
units of the leaf that was taken, and shifts k.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from lsrl.analysis.automaton import minimise as minimised
from lsrl.analysis.cells import Cell
from lsrl.analysis.interval import Range
from lsrl.arithmetic import convert
from lsrl.backends.circuit import Bit, CellReport, Count, Form, Number, Placement, Rational, Symbol, constant, signal
from lsrl.backends.cubes import Cube, Diagrams, TooLargeError
from lsrl.backends.finite import STATE, Cover, Leaf, Step, cover, explore, minimise
from lsrl.backends.holdings import Fold, domain_of
from lsrl.backends.numbers import Maps
from lsrl.backends.symbolic import Atom, Combination, Evaluator, Linear, NotHostedError, Result, Variables
from lsrl.backends.symbolic import Leaf as VariableLeaf
from lsrl.backends.symbolic import linear as combined
from lsrl.backends.wiring import Choice, Quantum, Staircase, gate_above
from lsrl.ir.graph import State
from lsrl.ir.nodes import Node, Read
from lsrl.types import Bool, Symbols, Value

__all__ = ["MachineCell", "build", "machine"]

_STATES = 1024
_LETTERS = 4096
_CONTROL = 64  # values of a state that belongs to the control of a counter machine


@dataclass
class MachineCell:
    """A cell as a cover of cubes. roots: the finite variable of each diagram variable that is not a threshold.

    thresholds: variable → (combination of registers, k) for [combination ≥ k], in units of the registers' grids.
    """

    cell: Cell
    cover: Cover
    roots: dict[int, Choice]
    thresholds: dict[int, tuple[Combination, int]]
    registers: tuple[State, ...]
    observed: list[Node]
    baseline: int | None

    @property
    def control(self) -> tuple[State, ...]:
        return tuple(s for s in self.cell.members if s not in self.registers)


def machine(cell: Cell, maps: Maps, counting: bool) -> MachineCell:
    """The cell as an automaton, or (`counting`) as one with registers for the states of many values, which may also
    compare numbers from outside as its control chooses.

    Raises NotHostedError with the reason, or TooLargeError.
    """
    registers = tuple(s for s in cell.members if counting and _is_counted(s, maps.ranges))
    baseline: int | None = None
    if counting:
        observed = _observed(cell, maps, registers)
    else:
        automaton = cell.automaton
        if automaton is None:
            raise NotHostedError(cell.nexts[0], cell.not_finite)
        if len(automaton.states) > _STATES or len(automaton.members) > _LETTERS:
            raise TooLargeError
        small = minimised(automaton)
        baseline, observed = len(small.states) * len(small.members), list(automaton.observations)
    return _Explorer(cell, maps, registers, observed, baseline).result()


def _is_counted(s: State, ranges: Mapping[Node, Range]) -> bool:
    count = ranges[s.next].count
    return not isinstance(s.type, Bool | Symbols) and (count is None or count > _CONTROL)


def _observed(cell: Cell, maps: Maps, registers: Sequence[State]) -> list[Node]:
    """What a counter machine shows of its control: the old and the new values of its finite states."""
    names = {s.name for s in registers}
    reads: list[Node] = [r for r in cell.reads if r.state not in names]
    return [*reads, *(n for s, n in zip(cell.members, cell.nexts, strict=True)
                      if s.name not in names and n in cell.inside and n not in reads)]


class _Explorer:
    def __init__(self, cell: Cell, maps: Maps, registers: tuple[State, ...], observed: list[Node],
                 baseline: int | None) -> None:
        self.cell, self.maps, self.registers, self.observed = cell, maps, registers, observed
        self.baseline = baseline
        self.diagrams = Diagrams()
        self.variables = Variables(self.diagrams)
        self.roots: dict[int, Choice] = {}
        self.variable: dict[Choice, int] = {}
        self.control = [s for s in cell.members if s not in registers]
        self.inside = set(cell.inside)
        self.numbers: dict[str, Quantum] = {}  # unbounded numbers from outside, by the name of their atom
        self.atoms: dict[Node, str] = {}

    def result(self) -> MachineCell:
        evaluator = Evaluator(self.variables, self._leaf, self._bounds)
        roots = (*(s.next for s in self.control), *(s.next for s in self.registers), *self.observed)
        counted: dict[str, Result] = {s.name: self._atom(s) for s in self.registers}
        nc, nr = len(self.control), len(self.registers)

        def function(joint: tuple[Value, ...]) -> int:
            own = {**counted, **dict(zip((s.name for s in self.control), joint, strict=True))}
            return evaluator.function(roots, own)

        def outcome(value: Hashable) -> tuple[tuple[Value, ...], tuple[Step, ...], tuple[Hashable, ...]]:
            assert isinstance(value, tuple)
            for v, node in zip((*value[:nc], *value[nc + nr :]), (*roots[:nc], *self.observed), strict=True):
                if isinstance(v, Linear):
                    raise NotHostedError(node, "a state of few values takes the value of a number without bounds")
            joint = tuple(convert(v, s.type) for v, s in zip(value[:nc], self.control, strict=True))
            steps = tuple(self._step(s, v) for s, v in zip(self.registers, value[nc : nc + nr], strict=True))
            seen = tuple(convert(v, n.type) for v, n in zip(value[nc + nr :], self.observed, strict=True))
            return joint, steps, seen

        start = tuple(convert(s.init, s.type) for s in self.control)
        small = minimise(explore(self.diagrams, start, function, outcome, 2 * _STATES))
        thresholds: dict[int, tuple[Combination, int]] = {}
        for f, levels in self.variables.thresholds.items():
            outside = [name in self.numbers for _, (name, _) in f]
            if any(outside) and not all(outside):
                raise NotHostedError(self.cell.nexts[0], "a number of this cell is compared with one from outside")
            for k, v in levels.items():
                if any(outside):
                    self.roots[v] = self._comparison(f, k)
                else:
                    thresholds[v] = (f, k)
        return MachineCell(self.cell, cover(small), self.roots, thresholds, self.registers, self.observed,
                           self.baseline)

    def _grid(self, s: State) -> Fraction:
        grid = self.maps.ranges[s.next].grid
        if grid is None:
            raise NotHostedError(s.next, f"`{s.name}` is a real without a grid")
        return grid or Fraction(1)

    def _atom(self, s: State) -> Linear:
        return Linear(((self._grid(s), (s.name, "old")),), Fraction(0))

    def _comparison(self, combination: Combination, k: int) -> Choice:
        """[combination of numbers from outside ≥ k], in units of their grids, as a variable."""
        wiring = self.maps.wiring
        parts = [(c, self.numbers[name]) for c, (name, _) in combination]
        layer = max(q.layer for _, q in parts)
        form = Form.total(q.at(layer).scale(Fraction(c) / q.grid) for c, q in parts)
        lo, hi = _span([(c, q) for c, q in parts])
        name = Symbol(" + ".join(q.name.text if c == 1 else f"{c}·{q.name.text}" for c, q in parts) + f" ≥ {k}",
                      parts[0][1].name.span)
        d = Quantum(wiring, name, layer, form, lo, hi, Fraction(1))
        stairs = Staircase(((Fraction(k - 1), Fraction(0)), (Fraction(k), Fraction(1))), Fraction(0), Fraction(0))
        return Choice(wiring, name, (False, True), layer + 1,
                      lambda places: gate_above(d, stairs, name) if places == {1}
                      else constant(1) - gate_above(d, stairs, name))

    def _bounds(self, atom: Atom) -> tuple[Fraction | None, Fraction | None]:
        if atom[0] in self.numbers:
            q = self.numbers[atom[0]]
            return None if q.lo is None else q.lo / q.grid, None if q.hi is None else q.hi / q.grid
        s = next(s for s in self.registers if s.name == atom[0])
        read = next((r for r in self.cell.reads if r.state == s.name), s.next)
        r, g = self.maps.ranges[read], self._grid(s)
        return None if r.lo is None else r.lo / g, None if r.hi is None else r.hi / g

    def _leaf(self, node: Node) -> Result | VariableLeaf | None:
        held = None if node in self.inside else self.maps.held.get(node)
        if held is None or (isinstance(held, Fold) and len(held.roots) > 1):
            return None
        if isinstance(held, Quantum) and domain_of(node, self.maps.ranges[node], _CONTROL) is None:
            name = self.atoms.setdefault(node, f"#{len(self.atoms)}")
            self.numbers[name] = held
            return Linear(((held.grid, (name, "outside")),), Fraction(0))
        choice = self.maps.choice(node)
        if choice not in self.variable:
            v = self.variable[choice] = self.variables.add(choice.domain)
            self.roots[v] = choice
        return VariableLeaf(self.variable[choice])

    def _step(self, s: State, value: object) -> Step:
        """What happens to a register, in units of its grid."""
        grid = self._grid(s)
        if not isinstance(value, Linear):
            assert isinstance(value, int | Fraction)
            return Step(int(Fraction(value) / grid), True)
        change = combined([(1, value), (-1, self._atom(s))], 0)
        if isinstance(change, Linear):
            raise NotHostedError(s.next, f"`{s.name}` takes the value of another number, or a multiple of its own, and "
                                         "its own comparisons decide when")
        assert isinstance(change, int | Fraction)
        return Step(int(Fraction(change) / grid))


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


def _span(parts: Sequence[tuple[int, Quantum]]) -> tuple[Fraction | None, Fraction | None]:
    """The least and the greatest value of a combination, each number in units of its grid."""
    lo: Fraction | None = Fraction(0)
    hi: Fraction | None = Fraction(0)
    for c, q in parts:
        a, b = (q.lo, q.hi) if c > 0 else (q.hi, q.lo)
        lo = None if lo is None or a is None else lo + c * a / q.grid
        hi = None if hi is None or b is None else hi + c * b / q.grid
    return lo, hi


def _words(combination: Combination) -> str:
    return " + ".join(name if c == 1 else f"{c}·{name}" for c, (name, _) in combination)


def build(m: MachineCell, maps: Maps) -> tuple[Placement, CellReport]:
    """Makes the units of a machine cell and holds what it shows. Raises NotHostedError for a register that is set."""
    return _Builder(m, maps).build()
