"""A finite program as one machine in one layer, and the n·k baseline that every layout is measured by."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from fractions import Fraction

from lsrl.analysis.automaton import Automaton, NotFinite, explore, minimise
from lsrl.analysis.ranges import analyse
from lsrl.analysis.structure import whole_region
from lsrl.backends.circuit import CellReport, Circuit
from lsrl.backends.cubes import Diagrams
from lsrl.backends.finite import Leaf, Machine, cover, restrict
from lsrl.backends.linear_form import Rational
from lsrl.backends.schedule import Schedule
from lsrl.backends.stages import MachineStage, OutputPlan, Source, wanted_for
from lsrl.backends.structure import elements_of, input_scalar
from lsrl.backends.sums import sums
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Const, Node
from lsrl.ir.remembered import remembered
from lsrl.types import Value

__all__ = ["Whole", "joint_circuit", "whole_automaton"]

_MOST_STATES = 4096
_MOST_PAIRS = 1500


class Whole:
    """The program's minimal automaton, and which of its joint states each of the program's joint states became."""

    def __init__(self, full: Automaton) -> None:
        self.automaton = minimise(full)
        became: dict[int, int] = {full.start: self.automaton.start}
        queue = [full.start]
        for q in queue:
            for x in full.letters:
                to = int(full.next[q, x])
                if to >= 0 and to not in became:
                    became[to] = int(self.automaton.next[became[q], self.automaton.letter_of(full.members[x][0])])
                    queue.append(to)
        self.merged: list[list[tuple[Value, ...]]] = [[] for _ in self.automaton.states]
        for q, c in sorted(became.items()):
            self.merged[c].append(full.states[q])

    @property
    def baseline(self) -> int:
        """n·k."""
        return len(self.automaton.states) * len(self.automaton.members)


@remembered(64)
def whole_automaton(graph: Graph) -> Whole | None:
    """The minimal automaton of a program; None if it is not finite or has too many states."""
    if not graph.states:
        return None
    found = explore(graph, whole_region(graph), analyse(graph), _MOST_STATES)
    return None if isinstance(found, NotFinite) else Whole(found)


def joint_circuit(graph: Graph, whole: Whole, general: int = 1) -> Circuit | None:
    """The circuit of a program's minimal automaton; None if it is too large, or an output is not observed by it.

    general: what a threshold of any weights costs, where an "and" costs 1.
    """
    a = whole.automaton
    scalars: list[tuple[str, list[Node]]] = []
    for name, node in graph.outputs:
        parts = [*elements_of(node)]
        if not parts or any(x not in a.observations and not isinstance(x, Const) for x in parts):
            return None
        scalars.append((name, parts))
    if whole.baseline > _MOST_PAIRS:
        return None
    diagrams = Diagrams()
    sources: dict[int, Source] = {}
    letter = _letter(a, diagrams, sources)
    observed = list(dict.fromkeys(x for _, parts in scalars for x in parts if not isinstance(x, Const)))
    variables: dict[Node, int] = {}
    for slot, node in enumerate(observed):
        domain = tuple(dict.fromkeys(v for v in a.observations[node].ravel().tolist() if v is not None))
        variables[node] = diagrams.variable(len(domain))
        sources[variables[node]] = Source(f"output {slot}", domain, "observed", node.span, slot=slot)
    outputs: list[OutputPlan] = []
    for (name, parts), (_, node) in zip(scalars, graph.outputs, strict=True):
        plans: list[tuple[tuple[tuple[int, tuple[Rational, ...]], ...], Rational]] = []
        for x in parts:
            if isinstance(x, Const):
                plans.append(((), _rational(x.value)))
            else:
                numbers = tuple(_rational(v) for v in sources[variables[x]].domain)
                plans.append((((variables[x], numbers),), 0))
        outputs.append(OutputPlan(name, node.type, tuple(plans)))
    for plan in outputs:
        for v, sets in plan.needs().items():
            sources[v].ask(sets)
    machine = _machine(whole, diagrams, letter, [(a.observations[n].tolist(), sources[variables[n]]) for n in observed])
    span = graph.states[0].span
    stage = MachineStage(", ".join(a.names[:4]), cover(machine), tuple(variables.values()), a.names, span=span)
    stage.sums = sums(stage.cover, wanted_for(stage, sources, general, functools.cache(lambda _: diagrams.variable(2))))
    for v in variables.values():
        sources[v].home = stage
    for v, sets in stage.needs().items():
        sources[v].ask(sets)
    schedule = Schedule(graph.name, sources, [stage], outputs)
    built = schedule.circuit()
    report = CellReport(a.names, "automaton", 1, stage.width, whole.baseline, span,
                        f"the whole program: {len(a.states)} states, {len(a.members)} letters")
    return Circuit(built.name, built.columns, built.layers, built.outputs, built.placements, (report,),
                   built.quantities, (), whole.baseline, schedule.relays)


def _letter(a: Automaton, diagrams: Diagrams, sources: dict[int, Source]) -> int:
    """The diagram of the letter class over one variable for each input scalar; None where the letter cannot occur."""
    variables: list[int] = []
    for place, node in enumerate(a.boundary):
        scalar = input_scalar(node)
        assert scalar is not None
        values: dict[Value, None] = {}
        for group in a.members:
            for letter in group:
                values[letter[place]] = None
        if len(a.boundary) == 1:
            members = tuple(tuple(m[0] for m in group) for group in a.members)
        else:
            members = tuple((v,) for v in values)
        variable = diagrams.variable(len(members))
        name = scalar[0] if scalar[1] is None else f"{scalar[0]}[{scalar[1]}]"
        domain = tuple(g[0] for g in members)
        sources[variable] = Source(name, domain, "input", node.span, scalar[0], scalar[1], members)
        variables.append(variable)
    if len(variables) == 1:
        return diagrams.case(variables[0], [diagrams.leaf(x) for x in a.letters])
    classes = {m: x for x, group in enumerate(a.members) for m in group}

    def build(prefix: tuple[Value, ...]) -> int:
        if len(prefix) == len(variables):
            return diagrams.leaf(classes.get(prefix))
        variable = variables[len(prefix)]
        return diagrams.case(variable, [build((*prefix, group[0])) for group in sources[variable].members])

    return build(())


def _machine(whole: Whole, diagrams: Diagrams, letter: int,
             observations: list[tuple[list[list[Value]], Source]]) -> Machine:
    """The machine of the automaton; what happens at pairs that cannot occur is chosen to be what is most common."""
    a = whole.automaton
    places = [{v: i for i, v in enumerate(source.domain)} for _, source in observations]
    functions: list[int] = []
    for q in range(len(a.states)):
        leaves: dict[Hashable, Leaf] = {}
        counts: dict[Leaf, int] = {}
        for x in a.letters:
            if a.next[q, x] >= 0:
                seen = tuple(p[table[q][x]] for p, (table, _) in zip(places, observations, strict=True))
                leaves[x] = Leaf(int(a.next[q, x]), (), seen)
                counts[leaves[x]] = counts.get(leaves[x], 0) + 1
        common = max(counts, key=lambda leaf: counts[leaf]) if counts else Leaf(q, (), tuple(0 for _ in observations))
        functions.append(diagrams.map(letter, _or_else(leaves, common)))
    machine = Machine(diagrams, tuple(functions), a.start, tuple(tuple(x) for x in whole.merged))
    classes = [{place: min(c) for c in source.classes() for place in c} for _, source in observations]
    return restrict(machine, [_look_up(c) for c in classes])


def _or_else(leaves: dict[Hashable, Leaf], common: Leaf) -> Callable[[Hashable], Leaf]:
    return lambda x: leaves.get(x, common)


def _look_up(table: dict[int, int]) -> Callable[[Hashable], Hashable]:
    return lambda place: table[place] if isinstance(place, int) else None


def _rational(x: Hashable) -> Rational:
    assert isinstance(x, int | Fraction)
    return x
