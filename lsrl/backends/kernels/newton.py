"""Newton's method over time as programs: an iteration over all tokens at once is a scan, whatever the cell is.

The states of all tokens solve h_t = f(h_{t-1}, x_t), a system of equations. From a guess g of them Newton's method goes
to the solution of the equations linearised at it, h_t = f(g_{t-1}, x_t) + J_t (h_{t-1} - g_{t-1}), J_t the Jacobian of
f at g_{t-1}: an affine recurrence (Lim et al. 2023, "Parallelizing non-linear sequential models over the sequence
length", equation 6; Danieli et al. 2025, "ParaRNN", for cells of few states). So an iteration is an ordinary program
with the guess as further inputs: classified, planned, emitted and scanned like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from lsrl.analysis.cells import Cell
from lsrl.backends.kernels.adjoint import recorded
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.choose_scan import MOST_ROWS
from lsrl.backends.kernels.differentiate import Reverse
from lsrl.backends.kernels.lanes import Lanes, Port, tidied
from lsrl.ir.graph import State, reachable
from lsrl.ir.nodes import Input, Node, Read, operands
from lsrl.passes.rewrite import with_operands

__all__ = ["GUESS", "evaluated", "guessed", "linearised", "unsuitable"]

GUESS = "~guess."  # and the name of a state: the input that is its guess before the token


def unsuitable(parts: Parts) -> str:
    """Why Newton's method has nothing to do for a program, or cannot do it; empty where it can."""
    if not parts.not_parallel:
        return "each of its cells is a scan already"
    if parts.storage.exact:
        return "its numbers are exact, and an iteration only comes near"
    if parts.lanes.mixes:
        return "its lanes meet in products with matrices"
    for cell in _steps(parts):
        first = cell.states[0]
        if not all(parts.storage.state_is_float(m) for m in cell.members):
            return f"the cell of `{first}` has no derivative: {parts.not_parallel[first]}"
        if len(cell.states) > MOST_ROWS:
            return (f"the cell of `{first}` has {len(cell.states)} states, and the scan of an iteration at most "
                    f"{MOST_ROWS}")
    return ""


def guessed(parts: Parts) -> tuple[Port, ...]:
    """The states that are guessed: all those that have elements in cells without a scan."""
    names = {name for cell in _steps(parts) for name in cell.states}
    return tuple(p for p in parts.lanes.states if names & set(p.parts))


def linearised(parts: Parts) -> Lanes:
    """The program of one iteration. Its outputs are the states before each token, `~before.NAME`, of the `guessed`."""
    return _Newton(parts).iteration()


def evaluated(parts: Parts) -> Lanes:
    """The program with the guesses in place of the old states that they guess: all tokens of those at once."""
    return _Newton(parts).evaluation()


def _steps(parts: Parts) -> list[Cell]:
    """The cells without a scan."""
    return [cell for cell in parts.cells if cell.states[0] in parts.not_parallel]


class _Newton(Reverse):
    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.lanes = parts.lanes
        self.graph = parts.lanes.graph
        self.cells = _steps(parts)
        self.ports = guessed(parts)
        self._now: Callable[[Node], Node] = self._builder.add
        self._reads = {n.state: n for n in self.graph.nodes if isinstance(n, Read)}

    def iteration(self) -> Lanes:
        made: dict[Node, Node] = {}  # the new states of linearised cells, for what comes after them
        nexts: dict[str, Node] = {}
        for cell in self.cells:
            own: dict[Node, Node] = {self._reads[s]: self._guess(s) for s in cell.states if s in self._reads}
            inside = {n: x for n, x in made.items() if n not in {m.next for m in cell.members}}
            self._now = self._copier({**inside, **own})
            new = [self._linear(state, cell.states) for state in cell.members]
            nexts.update(zip(cell.states, new, strict=True))
            made.update({m.next: x for m, x in zip(cell.members, new, strict=True)})
        copied = self._copier(made)
        states = [replace(s, next=nexts[s.name] if s.name in nexts else copied(s.next)) for s in self.graph.states]
        kept = _needed(states, [s for p in self.ports for s in p.parts])
        graph = replace(self.graph, inputs=self._inputs(), states=tuple(kept), outputs=(), checks=(), names=())
        names = {s.name for s in kept}
        ports = tuple(p for p in self.lanes.states if names & set(p.parts))
        lanes = replace(self.lanes, graph=graph, outputs=(), states=ports, floats=True)
        return self._finished(recorded(lanes, [p.name for p in self.ports]))

    def evaluation(self) -> Lanes:
        states = [s for cell in self.cells for s in cell.states if s in self._reads]
        copied = self._copier({self._reads[s]: self._guess(s) for s in states})
        graph = replace(
            self.graph, inputs=self._inputs(), outputs=tuple((name, copied(n)) for name, n in self.graph.outputs),
            states=tuple(replace(s, next=copied(s.next)) for s in self.graph.states), names=(),
            checks=tuple(replace(c, condition=copied(c.condition), subject=None if c.subject is None else
                                 copied(c.subject)) for c in self.graph.checks))
        return self._finished(replace(self.lanes, graph=graph, floats=True))

    def _again(self, node: Node) -> Node:
        return self._now(node)

    def _linear(self, state: State, old: tuple[str, ...]) -> Node:
        """The next value of a state, linearised at the guess of the cell's states."""
        self._total = {}
        self._give(state.next, self._number(1))
        self._sweep([state.next])
        terms = [(1, self._now(state.next))]
        for name in old:
            read = self._reads.get(name)
            if read is not None and read in self._total:
                change = self._sum([(1, self._add(read)), (-1, self._guess(name))])
                terms.append((1, self._times(self._cotangent(read), change)))
        return self._sum([*terms])

    def _guess(self, state: str) -> Node:
        port = next(p for p in self.ports if state in p.parts)
        return self._element(self._input(f"{GUESS}{port.name}", port), port.parts.index(state))

    def _inputs(self) -> tuple[Input, ...]:
        return (*map(self._leaf, self.graph.inputs), *(self._input(f"{GUESS}{p.name}", p) for p in self.ports))

    def _copier(self, known: dict[Node, Node]) -> Callable[[Node], Node]:
        """Copies nodes into the other graph, some of which are known there."""
        made = dict(known)

        def copied(node: Node) -> Node:
            for n in reachable([node]):
                if n not in made:
                    made[n] = self._add(with_operands(n, [made[x] for x in operands(n)], n.type) if operands(n) else n)
            return made[node]

        return copied

    def _finished(self, lanes: Lanes) -> Lanes:
        graph = tidied(replace(lanes.graph, name=f"{self.graph.name}~"))
        used = {n.name for n in reachable(graph.roots) if isinstance(n, Input)}
        graph = replace(graph, inputs=tuple(n for n in graph.inputs if n.name in used))
        guesses = (Port(f"{GUESS}{p.name}", p.type, p.lane, wide=True) for p in self.ports)
        return replace(lanes, graph=graph, inputs=tuple(p for p in (*self.lanes.inputs, *guesses) if p.name in used))


def _needed(states: Iterable[State], wanted: Collection[str]) -> list[State]:
    """The states that the wanted ones depend on, in their order."""
    known = {s.name: s for s in states}
    found, stack = set(wanted), list(wanted)
    while stack:
        for n in reachable([known[stack.pop()].next]):
            if isinstance(n, Read) and n.state not in found:
                found.add(n.state)
                stack.append(n.state)
    return [s for s in known.values() if s.name in found]
