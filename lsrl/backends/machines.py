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
from lsrl.backends.circuit import Symbol
from lsrl.backends.combinations import Atom, Combination, Linear, Result, Variables
from lsrl.backends.combinations import linear as combined
from lsrl.backends.cubes import Diagrams, TooLargeError
from lsrl.backends.finite import Cover, Step, cover, explore, minimise
from lsrl.backends.holdings import Fold, domain_of
from lsrl.backends.linear_form import Form, constant
from lsrl.backends.numbers import Maps
from lsrl.backends.refusal import NotHostedError
from lsrl.backends.symbolic import Evaluator
from lsrl.backends.symbolic import Leaf as VariableLeaf
from lsrl.backends.wiring import Choice, Quantum, Staircase, gate_above
from lsrl.ir.graph import State
from lsrl.ir.nodes import Node
from lsrl.types import Bool, Symbols, Value

__all__ = ["MachineCell", "machine"]

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


def _span(parts: Sequence[tuple[int, Quantum]]) -> tuple[Fraction | None, Fraction | None]:
    """The least and the greatest value of a combination, each number in units of its grid."""
    lo: Fraction | None = Fraction(0)
    hi: Fraction | None = Fraction(0)
    for c, q in parts:
        a, b = (q.lo, q.hi) if c > 0 else (q.hi, q.lo)
        lo = None if lo is None or a is None else lo + c * a / q.grid
        hi = None if hi is None or b is None else hi + c * b / q.grid
    return lo, hi


