"""Finite machines: exploration, minimisation, and covers by the cubes that become units.

A machine has control states and, for each, a diagram over outside variables whose leaf says the next state, what each
register does, and the observations. A unit stands for one cube over (old state, variables): it is on after a token iff
the cube held. All units of one leaf together say that the leaf was taken; the leaf with the most cubes needs none, as
it is known by no unit being on.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from lsrl.backends.cubes import Cube, Diagrams, TooLargeError, merge_cubes
from lsrl.types import Value

__all__ = ["STATE", "Cover", "Leaf", "Machine", "Step", "cover", "disjoint_cubes", "explore", "letters", "minimise",
           "reached", "restrict", "with_remainder"]

_MOST_UNITS = 20_000
STATE = -1  # the old control state, as a variable of cubes


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to a register at one token: it moves by `by`, or (`sets`) becomes `by`."""

    by: int
    sets: bool = False


STAY = Step(0)


@dataclass(frozen=True, slots=True)
class Leaf:
    """The outcome of one token: next control state, one step per register, the values observed."""

    next: int
    steps: tuple[Step, ...]
    observed: tuple[Hashable, ...]


@dataclass(frozen=True)
class Machine:
    """functions[q]: diagram with `Leaf` values. labels[q]: all joint values of the program's states in q."""

    diagrams: Diagrams
    functions: tuple[int, ...]
    start: int
    labels: tuple[tuple[tuple[Value, ...], ...], ...]

    @property
    def size(self) -> int:
        return len(self.functions)


def explore(diagrams: Diagrams, start: tuple[Value, ...], function: Callable[[tuple[Value, ...]], int],
            outcome: Callable[[Hashable], tuple[tuple[Value, ...], tuple[Step, ...], tuple[Hashable, ...]]],
            limit: int) -> Machine:
    """Breadth first from `start` over joint values.

    function: the diagram of a joint value. outcome: its leaf → next joint value, steps, observations.
    Raises TooLargeError beyond `limit` joint values.
    """
    numbers: dict[tuple[Value, ...], int] = {start: 0}
    order = [start]
    functions: list[int] = []

    def leaf(value: Hashable) -> Leaf:
        joint, steps, observed = outcome(value)
        if joint not in numbers:
            if len(order) >= limit:
                raise TooLargeError
            numbers[joint] = len(order)
            order.append(joint)
        return Leaf(numbers[joint], steps, observed)

    while len(functions) < len(order):
        functions.append(diagrams.map(function(order[len(functions)]), leaf))
    return Machine(diagrams, tuple(functions), 0, tuple((v,) for v in order))


def restrict(machine: Machine, keep: Sequence[Callable[[Hashable], Hashable]]) -> Machine:
    """The machine with its observations changed: only what consumers distinguish needs to be observed."""

    def change(leaf: Hashable) -> Leaf:
        assert isinstance(leaf, Leaf)
        return replace(leaf, observed=tuple(f(x) for f, x in zip(keep, leaf.observed, strict=True)))

    return replace(machine, functions=tuple(machine.diagrams.map_all(machine.functions, change)))


def minimise(machine: Machine, apart: Callable[[tuple[Value, ...]], Hashable] | None = None) -> Machine:
    """The smallest machine with the same steps and observations (partition refinement, Moore 1956).

    apart: joint values of the program's states for which it differs stay apart.
    """
    first: dict[Hashable, int] = {}
    classes = [first.setdefault(apart(x[0]) if apart else None, len(first)) for x in machine.labels]
    count = len(first)
    while True:
        keys: dict[tuple[int, int], int] = {}
        functions = machine.diagrams.map_all(machine.functions, _to_class(classes))
        refined = [keys.setdefault((c, f), len(keys)) for c, f in zip(classes, functions, strict=True)]
        if len(keys) == count:
            break
        classes, count = refined, len(keys)
    labels: list[list[tuple[Value, ...]]] = [[] for _ in range(count)]
    picked: dict[int, int] = {}
    for q, c in enumerate(classes):
        labels[c].extend(machine.labels[q])
        picked.setdefault(c, functions[q])
    return Machine(machine.diagrams, tuple(picked[c] for c in range(count)), classes[machine.start],
                   tuple(tuple(x) for x in labels))


def reached(machine: Machine) -> Machine:
    """The machine without the states that no word reaches."""
    numbers = {machine.start: 0}
    order = [machine.start]
    for q in order:
        for leaf in machine.diagrams.leaves(machine.functions[q]):
            assert isinstance(leaf, Leaf)
            if leaf.next not in numbers:
                numbers[leaf.next] = len(order)
                order.append(leaf.next)
    functions = tuple(machine.diagrams.map(machine.functions[q], _to_class(numbers)) for q in order)
    return Machine(machine.diagrams, functions, 0, tuple(machine.labels[q] for q in order))


def with_remainder(machine: Machine, at: int, divisor: int, start: int,
                   thresholds: Callable[[int], Mapping[int, int]]) -> Machine:
    """The machine with register `at`, F = D·Q + r, replaced by Q; r becomes part of the control state.

    start: F before the first token. thresholds: r → for each variable [F ≥ k] the one of the threshold of Q.
    """
    def function(q: int, r: int) -> int:
        def change(leaf: Hashable) -> Leaf:
            assert isinstance(leaf, Leaf)
            step = leaf.steps[at]
            total = step.by if step.sets else r + step.by
            steps = (*leaf.steps[:at], Step(total // divisor, step.sets), *leaf.steps[at + 1 :])
            return Leaf(leaf.next * divisor + total % divisor, steps, leaf.observed)

        return machine.diagrams.map(machine.diagrams.substitute(machine.functions[q], thresholds(r)), change)

    pairs = [(q, r) for q in range(machine.size) for r in range(divisor)]
    whole = Machine(machine.diagrams, tuple(function(q, r) for q, r in pairs),
                    machine.start * divisor + start % divisor, tuple(machine.labels[q] for q, _ in pairs))
    return reached(whole)


def _to_class(classes: Sequence[int] | Mapping[int, int]) -> Callable[[Hashable], Leaf]:
    def change(leaf: Hashable) -> Leaf:
        assert isinstance(leaf, Leaf)
        return replace(leaf, next=classes[leaf.next])

    return change


def letters(machine: Machine) -> int | None:
    """The number of letter classes: points of the outside variables that no state tells apart count once."""
    try:
        return len(machine.diagrams.leaves(machine.diagrams.combine(machine.functions)))
    except TooLargeError:
        return None


@dataclass(frozen=True)
class Cover:
    """Cubes with a unit each, and the leaf that has none. The variable `STATE` stands for the old control state."""

    machine: Machine
    cubes: tuple[Cube, ...]
    default: Leaf

    @property
    def leaves(self) -> list[Leaf]:
        """Every leaf, the default one first."""
        found: dict[Leaf, None] = {self.default: None}
        for c in self.cubes:
            assert isinstance(c.leaf, Leaf)
            found[c.leaf] = None
        return list(found)

    def sets(self) -> dict[int, list[frozenset[int]]]:
        """For each outside variable, the sets of values that some cube asks for."""
        out: dict[int, dict[frozenset[int], None]] = {}
        for c in self.cubes:
            for v, values in c.literals:
                if v != STATE:
                    out.setdefault(v, {})[values] = None
        return {v: list(s) for v, s in sorted(out.items())}


def cover(machine: Machine) -> Cover:
    """A small disjoint cover of the machine; its default leaf is the one with the most cubes."""
    cubes, default = disjoint_cubes(machine.diagrams, machine.functions)
    assert isinstance(default, Leaf)
    return Cover(machine, tuple(cubes), default)


def disjoint_cubes(diagrams: Diagrams, functions: Sequence[int],
                   tries: int = 5) -> tuple[list[Cube], Hashable]:
    """A small disjoint cover of a function of the old control state and others, and the value left out of it.

    functions: the function in each control state. The value left out is the one with the most cubes. tries: as
    of `merge_cubes`.
    """
    cubes: list[Cube] = []
    size = len(functions)
    known: dict[int, list[int]] = {}
    for q, f in enumerate(functions):
        known.setdefault(f, []).append(q)
    for f, states in known.items():
        old = ((STATE, frozenset(states)),) if len(states) < size else ()
        cubes.extend(Cube((*old, *c.literals), c.leaf) for c in diagrams.cubes(f))
    small = merge_cubes(cubes, lambda v: size if v == STATE else diagrams.sizes[v], tries)
    if len(small) > _MOST_UNITS:
        raise TooLargeError
    counts: dict[Hashable, int] = {}
    for c in small:
        counts[c.leaf] = counts.get(c.leaf, 0) + 1
    default = max(counts, key=lambda leaf: counts[leaf])
    return [c for c in small if c.leaf != default], default
