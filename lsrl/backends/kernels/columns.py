"""Straight-line code as loops: what is calculated alike for every element of the vectors of a lane.

A step whose lanes hold rows of matrices says the same for each column. Values that differ only in the element that
they read are a family; sums over all members of a family are `Fold`s. What is left are the lane's own scalars. A token
is then a few phases: some scalars, a pass over the columns, scalars that need what the pass has summed, and so on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lsrl.backends.kernels.bodies import MANY_COLUMNS, Parts
from lsrl.backends.kernels.code import Constant, Value, schedule

__all__ = ["Columns", "Fold", "Phase", "find_columns"]

_FOLDED: dict[str, Constant] = {"add": -0.0, "min": float("inf"), "max": -float("inf")}  # and what changes nothing
_DEAR = ("div", "exp", "log", "sqrt", "sigmoid", "tanh", "softplus", "silu", "sin", "cos")
_SYMMETRIC = ("add", "mul", "min", "max", "and", "or", "eq", "ne", "bitand", "bitor", "bitxor")
_LEAVES = ("input", "param", "state")

_Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, eq=False)
class Fold:
    """A sum, or the least or greatest, over the columns of some families, one after the other in each column.

    terms: the families' values in the first column.
    """

    op: str
    terms: tuple[Value, ...]
    size: int

    @property
    def neutral(self) -> Constant:
        """Where it begins."""
        return _FOLDED[self.op]


@dataclass(frozen=True, eq=False)
class Phase:
    """Some scalars, and then a pass over the columns.

    scalars: values that are wanted later, or at the end. folds: by their numbers, what the pass sums; None for those of
    other passes. kept: families, by their values in the first column, that later phases take from memory rather than
    calculate them again.
    """

    scalars: tuple[Value, ...]
    folds: tuple[Fold | None, ...]
    kept: tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Columns:
    """A step in phases. Values are those of the step, where a leaf `fold` (attribute: its number) is what one gave.

    phases: of the last one only the scalars, which end the token; the pass before it is the last. size: of each family,
    by its value in the first column: how many columns it has. place: of each value of a family, that value and the
    column. states: for each port of states in columns, the new value in the first column; outputs: likewise, by name.
    Both belong to the last pass. scalars: all other roots of the step, as values of the phases.
    """

    phases: tuple[Phase, ...]
    size: Mapping[Value, int]
    place: Mapping[Value, tuple[Value, int]]
    states: Mapping[str, Value]
    outputs: Mapping[str, Value]
    scalars: Mapping[Value, Value]

    @property
    def folds(self) -> list[Fold]:
        """All of them, by their numbers."""
        return [f for k in range(len(self.phases[0].folds)) for p in self.phases if (f := p.folds[k]) is not None]

    @property
    def roots(self) -> list[Value]:
        """What a token calculates for later, or for good."""
        roots = [x for p in self.phases for x in (*p.scalars, *p.kept)]
        roots += [t for f in self.folds for t in f.terms]
        return [*roots, *self.states.values(), *self.outputs.values(), *self.scalars.values()]

    @property
    def families(self) -> int:
        """How many there are."""
        return len({first for first, _ in self.place.values()})


def find_columns(parts: Parts, fixed: Collection[Value]) -> Columns | None:
    """The loops of a program's step; None if some states with that many elements are not calculated alike.

    fixed: values that are known before the first token, which are leaves here.
    """
    ports = parts.lanes.states
    if not any(p.elements >= MANY_COLUMNS for p in ports) or parts.lanes.mixes or parts.step.checks:
        return None
    return _Finder(parts, frozenset(fixed)).found()


class _Finder:
    def __init__(self, parts: Parts, fixed: frozenset[Value]) -> None:
        lanes, step = parts.lanes, parts.step
        self.fixed = fixed
        self.parts, self.step = parts, step
        self.sizes = {("input", p.name): p.elements for p in lanes.inputs}
        self.sizes |= {("param", p.name): p.elements for p in lanes.params}
        self.place = {name: (p.name, i, p.elements) for p in lanes.states for i, name in enumerate(p.parts)}
        self.nexts = dict(zip((r.name for r in parts.registers), step.nexts, strict=True))
        self.roots = [*(o.value for o in step.outputs), *step.nexts]
        self.order = schedule([*fixed, *self.roots])
        used = set(schedule(self.roots, fixed))
        self.uses = Counter(a for v in used - fixed for a in v.args)
        self.uses.update(self.roots)
        self.key: dict[Value, tuple[_Key, int, int]] = {}  # of members: their family's, the column, how many there are
        self.first: dict[_Key, Value] = {}
        self.totals: dict[Value, tuple[str, tuple[Fold | Value, ...]]] = {}
        self.inside: set[Value] = set()  # what only leads to a total

    def found(self) -> Columns | None:
        self._families()
        states = self._groups([(p.name, [self.nexts[n] for n in p.parts]) for p in self.parts.lanes.states])
        by_name: dict[str, list[Value]] = {}
        for o in self.step.outputs:
            by_name.setdefault(o.name, []).append(o.value)
        outputs = self._groups(list(by_name.items()))
        if states is None or outputs is None:
            return None
        self.order = schedule(self.roots, self.fixed)
        self._totals()
        return self._phases(states, outputs)

    # Families.

    def _families(self) -> None:
        """Gives every value that is one of a family its key.

        A value that would be alone in its family is a scalar, and then others over it may be families after all: what
        adds a column to a sum looks like a member, but for the sum.
        """
        alone: set[Value] = set()
        while True:
            found, members = self._keyed(alone)
            whole = {key for key, _, size in found.values() if members[key] == size and size >= MANY_COLUMNS}
            clear: set[Value] = set()  # members, and scalars for good
            more: set[Value] = set()
            for v in self.order:
                if v in found and found[v][0] in whole:
                    clear.add(v)
                elif all(a in clear for a in v.args):
                    (more if v in found else clear).add(v)
            if not more:
                break
            alone |= more
        self.key = {v: item for v, item in found.items() if item[0] in whole}

    def _keyed(self, alone: set[Value]) -> tuple[dict[Value, tuple[_Key, int, int]], Counter[_Key]]:
        """The key, column and size of values that may be of a family, and how many have each key."""
        numbers: dict[_Key, int] = {}
        members: Counter[_Key] = Counter()
        found: dict[Value, tuple[_Key, int, int]] = {}
        for v in self.order:
            if v in alone:
                continue
            item = self._leaf(v) if v.op in _LEAVES else self._of_arguments(v, found, numbers)
            if item is not None:
                found[v] = item
                members[item[0]] += 1
                numbers.setdefault(item[0], len(numbers))
                if item[1] == 0:
                    self.first[item[0]] = v
        return found, members

    def _leaf(self, v: Value) -> tuple[_Key, int, int] | None:
        if v.op == "state":
            name, i, size = self.place[v.attribute[0]]
        else:
            (name, i), size = v.attribute, self.sizes.get((v.op, v.attribute[0]), 1)
        return ((v.op, name, v.kind), i, size) if size > 1 else None

    def _of_arguments(self, v: Value, found: Mapping[Value, tuple[_Key, int, int]],
                      numbers: Mapping[_Key, int]) -> tuple[_Key, int, int] | None:
        places = {found[a][1:] for a in v.args if a in found}
        if len(places) != 1:
            return None
        ((i, size),) = places
        args = [("family", numbers[found[a][0]]) if a in found else ("value", id(a)) for a in v.args]
        if v.op in _SYMMETRIC:  # passes may have ordered the arguments of one column otherwise
            args.sort()
        return (v.op, v.kind, id(v.attribute) if v.op == "lookup" else repr(v.attribute), *args), i, size

    def _groups(self, groups: Sequence[tuple[str, list[Value]]]) -> dict[str, Value] | None:
        """The first value of each large group, whose members are a family in its order; None if one's are not."""
        out = {}
        for name, values in groups:
            if len(values) < MANY_COLUMNS:
                continue
            items = [self.key.get(v) for v in values]
            if items[0] is None or any(
                    x != (items[0][0], i, len(values)) for i, x in enumerate(items)):
                return None
            out[name] = values[0]
        return out

    # Totals.

    def _totals(self) -> None:
        """Finds the values that are sums over families."""
        for v in reversed(self.order):
            if v.op in _FOLDED and v.kind == "float" and v not in self.key and v not in self.inside:
                spine, terms, x = [v], [v.args[1]], v.args[0]
                while x.op == v.op and x not in self.key and self.uses[x] == 1:
                    spine.append(x)
                    terms.append(x.args[1])
                    x = x.args[0]
                parts = self._folded(v.op, [x, *reversed(terms)])
                if any(isinstance(p, Fold) for p in parts):
                    self.totals[v] = v.op, parts
                    self.inside.update(spine[1:])

    def _folded(self, op: str, terms: list[Value]) -> tuple[Fold | Value, ...]:
        out: list[Fold | Value] = []
        i = 0
        while i < len(terms):
            period, size = self._repeated(terms, i)
            if period:
                out.append(Fold(op, tuple(self.first[self.key[v][0]] for v in terms[i : i + period]), size))
                i += period * size
            else:
                out.append(terms[i])
                i += 1
        return tuple(out)

    def _repeated(self, terms: list[Value], start: int) -> tuple[int, int]:
        """How many families the terms from a place on go through, column by column, and the columns; 0 if they do not.

        From the first column to the last, or the other way, as adjoints do; a loop goes the first way.
        """
        for period in range(1, 9):
            items = [x for v in terms[start : start + period] if (x := self.key.get(v)) is not None]
            if len(items) < period or len({(i, size) for _, i, size in items}) > 1:
                return 0, 0
            _, first, size = items[0]
            if first not in (0, size - 1):
                return 0, 0
            wanted = [(key, j, size) for j in (range(size) if first == 0 else reversed(range(size)))
                      for key, _, _ in items]
            if [self.key.get(v) for v in terms[start : start + period * size]] == wanted:
                return period, size
        return 0, 0

    # Phases.

    def _phases(self, states: Mapping[str, Value], outputs: Mapping[str, Value]) -> Columns | None:
        """Every value as early as it can be; states and outputs in columns at the last pass."""
        level: dict[Value, int] = {}
        kept: dict[Value, int] = {}  # families of which scalars read an element
        folds: dict[Fold, int] = {}
        scalars = [v for v in self.order if v not in self.key and v not in self.inside and v not in self.fixed]
        for v in self.order:
            if v in self.inside:
                continue
            level[v] = 0
            if v in self.fixed:
                continue
            for a in self._arguments(v):
                if isinstance(a, Fold):
                    folds[a] = max(level[t] for t in a.terms)
                    level[v] = max(level[v], folds[a] + 1)
                elif a in self.key and v not in self.key and a.op not in _LEAVES and a not in self.fixed:
                    kept[self.first[self.key[a][0]]] = level[a]
                    level[v] = max(level[v], level[a] + 1)
                else:
                    level[v] = max(level[v], level[a])
        single = self._single(states, outputs)
        for v in single:
            if v in self.key and v.op not in _LEAVES and v not in self.fixed:
                kept[self.first[self.key[v][0]]] = level[v]
        ends = [*states.values(), *outputs.values()]
        last = max([*(level[v] for v in ends), *folds.values(), *kept.values(), 0])
        late = [a for v in scalars if level[v] > last for a in self._arguments(v) if isinstance(a, Value)]
        if any(a.op == "state" and a in self.key for a in (*late, *single)):
            return None  # the old value is gone by then
        stop = self.fixed.union(scalars)
        passes = [set(schedule([*(t for f, at in folds.items() if at == k for t in f.terms),
                                *(v for v, at in kept.items() if at == k), *(ends if k == last else [])], stop))
                  & self.key.keys() for k in range(last + 1)]
        for v in self.order:
            users = [k for k, found in enumerate(passes) if v in found]
            if len(users) > 1 and v.op in _DEAR and v not in self.fixed:
                kept[v] = min(users[0], kept.get(v, last))
        wanted = {v for v in single if v not in self.key}
        wanted |= {a for found in passes for v in found if v not in self.fixed for a in v.args if a not in self.key}
        wanted |= {a for v in scalars for a in self._arguments(v)
                   if isinstance(a, Value) and a not in self.key and level[a] < level[v]}
        wanted = {v for v in wanted if v.op != "const" and v not in self.fixed}
        made = self._rewritten(list(folds))
        phases = tuple(Phase(tuple(made[v] for v in scalars if v in wanted and level[v] == k),
                             tuple(Fold(f.op, tuple(made[t] for t in f.terms), f.size) if at == k else None
                                   for f, at in folds.items()),
                             tuple(made[v] for v, at in kept.items() if at == k)) for k in range(last + 2))
        seen = {x: (made[self.first[key]], i, n) for v, (key, i, n) in self.key.items() if v in made
                for x in (v, made[v])}
        return Columns(phases, {v: n for v, _, n in seen.values()}, {v: (x, i) for v, (x, i, _) in seen.items()},
                       {n: made[v] for n, v in states.items()}, {n: made[v] for n, v in outputs.items()},
                       {v: made[v] for v in single})

    def _single(self, states: Mapping[str, Value], outputs: Mapping[str, Value]) -> list[Value]:
        """The new values of states, and the outputs, that are not in columns."""
        out = [self.nexts[n] for p in self.parts.lanes.states if p.name not in states for n in p.parts]
        return out + [o.value for o in self.step.outputs if o.name not in outputs]

    def _rewritten(self, folds: Sequence[Fold]) -> dict[Value, Value]:
        """Scalars, and families' values in the first column, over folds as leaves."""
        made: dict[Value, Value] = {}
        leaf = {f: Value("fold", (), f.terms[0].kind, k) for k, f in enumerate(folds)}
        for v in self.order:
            if v in self.inside or (v in self.key and self.first[self.key[v][0]] is not v):
                made[v] = v
            elif v in self.totals:
                op, parts = self.totals[v]
                values = [leaf[p] if isinstance(p, Fold) else made[p] for p in parts]
                total = values[0]
                for x in values[1:]:
                    total = Value(op, (total, x), v.kind)
                made[v] = total
            else:
                args = tuple(made[a] for a in v.args) if v not in self.fixed else v.args
                made[v] = v if args == v.args else Value(v.op, args, v.kind, v.attribute)
        return made

    def _arguments(self, v: Value) -> Sequence[Fold | Value]:
        return self.totals[v][1] if v in self.totals else v.args
