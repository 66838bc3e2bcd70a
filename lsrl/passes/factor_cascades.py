"""Finite cells become cascades of Boolean latches, for targets whose states are set, kept or delayed.

`factor_cascades` uses latches that are set, kept or cleared (and, where asked for, flipped); `factor_definite` uses
delays and one clock, which is all that a linear recurrence with a fixed matrix has. Both leave alone what is a delay or
a latch already, and numeric cells. They are not in the pipeline: targets that need them ask for them.
"""

from __future__ import annotations

from collections.abc import Container, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lsrl.analysis.automaton import Automaton, NotFinite, explore, minimise
from lsrl.analysis.cascade import Cascade, GroupLeft, TooLargeError, cascades, side_by_side
from lsrl.analysis.cascade_definite import NotDefinite, definite_or_clock
from lsrl.analysis.cascade_logic import Latches, find_latches
from lsrl.analysis.cascade_traps import split_traps
from lsrl.analysis.cells import Cell, find_cells
from lsrl.analysis.ranges import analyse
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Node
from lsrl.passes.automata import cell_letters, held_values, needed_arguments, unused_name
from lsrl.passes.cascade_nodes import Plan, Replacer
from lsrl.passes.rewrite import keep_numeric
from lsrl.types import Symbols, Type, Value

__all__ = ["Factored", "Refused", "Report", "Way", "factor_cascades", "factor_definite"]

_STATES = 512
_KEPT = ("delay", "latch")
_NUMERIC = ("accumulator", "gated")


@dataclass(frozen=True, slots=True)
class Way:
    """A choice among cascades that do the same; which is smaller, the circuits that they become tell.

    after: what the state after the token decides is shown by the latches' new values, not by the old ones and the
    letter. keyed: as `find_latches`. beside: an automaton that is a product of smaller ones has cascades side by side.
    split: what is set once, in several ways, is a latch for each.
    """

    after: bool = False
    keyed: bool = False
    beside: bool = False
    split: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """A cell that was replaced: its states, how many values and letters its least automaton has, the new states (the
    clock's apart), and how many of them one after the other a value may depend on."""

    states: tuple[str, ...]
    n: int
    k: int
    latches: tuple[str, ...]
    clock: tuple[str, ...]
    depth: int


@dataclass(frozen=True, slots=True, eq=False)
class Refused:
    """A cell that was left as it is, and why. left: the group that is in the way, of a cascade; words: for a definite
    automaton, what two words lead to states that a third never joins. automaton: the least one, whose letters these
    are."""

    cell: Cell
    reason: str
    automaton: Automaton | None = None
    left: GroupLeft | None = None
    words: NotDefinite | None = None


@dataclass(frozen=True, eq=False)
class Factored:
    """graph: with the new states. recovered: for each state that is gone the value it would have before the token, as
    an expression over the new graph's reads; left out where the new states do not tell it, as nothing needs it.
    chosen: for each replaced cell the latches, and what is shown by their new values.
    """

    graph: Graph
    recovered: dict[str, Node]
    reports: tuple[Report, ...]
    refused: tuple[Refused, ...]
    chosen: tuple[tuple[Latches, frozenset[Node]], ...] = ()


def factor_cascades(graph: Graph, groups: str = "none", numeric: bool = False, way: Way | None = None) -> Factored:
    """Replaces every finite cell that has a cascade of latches.

    graph: scalarised, as `run_pipeline` gives it. groups: "none" for latches that are set or kept, "two" for ones that
    are also flipped. numeric: whether finite cells that add to a number, or scale it, are replaced too. A check that
    looks into a cell looks at the new states afterwards; of several that fail at one token, another may be reported.
    way: which of several cascades.
    """
    if groups not in ("none", "two"):
        raise ValueError(f"groups: {groups}")
    return _factor(graph, groups, numeric, way or Way())


def factor_definite(graph: Graph, numeric: bool = False) -> Factored:
    """Replaces every finite cell whose state is a function of the last letters and of a clock, by delays and a clock.

    The clock is a ring of bools, one of them on, each of which takes the old value of the one before it. numeric: as
    above.
    """
    return _factor(graph, "delay", numeric, Way())


def _factor(graph: Graph, groups: str, numeric: bool, way: Way) -> Factored:
    ranges = analyse(graph)
    taken = {s.name for s in graph.states}
    plans: list[Plan] = []
    reports: list[Report] = []
    refused: list[Refused] = []
    for cell in find_cells(graph):
        kept = _KEPT if numeric else _KEPT + _NUMERIC
        if cell.automaton is None or not cell.feedback or not set(kept).isdisjoint(cell.classes):
            continue
        found = explore(graph, cell, ranges, _STATES, checks=True)
        if isinstance(found, NotFinite):
            refused.append(Refused(cell, found.reason))
            continue
        least = minimise(found)
        letters = cell_letters(graph, least, ranges)
        if letters is None:
            refused.append(Refused(cell, "its letters have no finite codes"))
            continue
        clock = 1
        if groups == "delay":
            definite = definite_or_clock(least.next, least.start)
            if isinstance(definite, NotDefinite):
                refused.append(Refused(cell, _not_definite(definite, least), least, words=definite))
                continue
            clock = definite.clock
        args, domains, rows = letters
        plan = Plan(cell, found, least, args, domains, rows, needed_arguments(graph, cell, least, args))
        try:
            table = least.next.astype(np.int64)
            options = _cascades(table.tobytes(), table.shape, least.start, groups, clock)
            if isinstance(options, GroupLeft):
                refused.append(Refused(cell, _group_reason(options, least), least, left=options))
                continue
            if way.beside and groups != "delay":
                beside = _beside(table.tobytes(), table.shape, least.start, groups)
                options = options if beside is None else (beside,)
            plan.latches = _best(options, plan, {c.condition for c in graph.checks}, way)
        except TooLargeError as error:
            refused.append(Refused(cell, f"its cascade is too large: {error}", least))
            continue
        base = cell.states[0]
        plan.names = tuple(unused_name(f"{base}.b{i}", taken) for i in range(len(plan.latches.latches)))
        if clock > 1:
            plan.ring = tuple(unused_name(f"{base}.clock{i}", taken) for i in range(clock))
        plans.append(plan)
        reports.append(Report(cell.states, len(least.states), len(least.letters), plan.names, plan.ring,
                              plan.latches.depth))
    if not plans:
        return Factored(graph, {}, (), tuple(refused))
    replacer = Replacer(graph, plans)
    changed = replacer.graph_after()
    if not keep_numeric(graph, changed):
        return Factored(graph, {}, (), tuple(refused))
    return Factored(changed, replacer.recovered(), tuple(reports), tuple(refused),
                    tuple((p.latches, p.after) for p in plans))


@lru_cache(64)
def _cascades(table: bytes, shape: tuple[int, ...], start: int, groups: str,
              clock: int) -> tuple[Cascade, ...] | GroupLeft:
    """The cascades of a table; several ways of several targets ask for the same."""
    return cascades(np.frombuffer(table, np.int64).reshape(shape), start, groups, clock)


@lru_cache(64)
def _beside(table: bytes, shape: tuple[int, ...], start: int, groups: str) -> Cascade | None:
    return side_by_side(np.frombuffer(table, np.int64).reshape(shape), start, groups)


def _best(options: Sequence[Cascade], plan: Plan, checked: Container[Node], way: Way) -> Latches:
    """Of several cascades the latches that are fewest, then the least deep; larger ones only if those fail."""
    wanted: dict[Hashable, list[list[Value | None]]] = {node: plan.observed_by(node, checked)
              for node in plan.automaton.observations}
    if way.after and not plan.ring:
        new = {node: plan.observed_after(node) for node in plan.automaton.observations if node not in checked}
        plan.after = frozenset(node for node, table in new.items() if table is not None)
        wanted.update((node, table) for node, table in new.items() if table is not None)
    held = held_values(plan.full, plan.automaton)
    extra: dict[Hashable, list[list[Value | None]]] = {}
    for i, name in enumerate(plan.cell.states):
        if all(row[i] is not None for row in held):
            extra[name] = [[row[i]] for row in held]
    found: list[Latches] = []
    failed: TooLargeError | None = None
    options = sorted(options, key=lambda c: c.bits)
    for cascade in (c for c in options if c.bits <= options[0].bits + 1 or not found):
        try:
            found.append(find_latches(cascade, wanted, extra, way.keyed))
        except TooLargeError as error:
            failed = error
    if not found:
        raise failed if failed is not None else AssertionError("no cascade")
    least = min(found, key=lambda x: (len(x.latches), x.depth))
    return split_traps(least) if way.split else least


def _group_reason(left: GroupLeft, automaton: Automaton) -> str:
    words = " and ".join(_shown(word, automaton) for word, _ in left.words[:2])
    return f"{words} generate {left.name} on {len(left.classes)} of its states" if len(left.words) > 1 else \
        f"{words} generates {left.name} on {len(left.classes)} of its states"


def _not_definite(found: NotDefinite, automaton: Automaton) -> str:
    first, second, loop = (_shown(w, automaton) for w in (found.first, found.second, found.loop))
    return (f"after {first} and after {second}, each followed by any number of {loop}, its states differ: it "
            "depends on letters of any age")


def _shown(word: Sequence[int], automaton: Automaton) -> str:
    """A word by a letter of each class."""
    if not word:
        return "the empty word"
    shown = []
    for x in word[:8]:
        values = [_letter(v, node.type) for v, node in zip(automaton.members[x][0], automaton.boundary, strict=True)]
        shown.append(values[0] if len(values) == 1 else f"({', '.join(values)})")
    return f"`{' '.join(shown)}{' …' if len(word) > 8 else ''}`"


def _letter(value: Value, t: Type) -> str:
    """A value as the program writes it: symbols by name."""
    if isinstance(t, Symbols) and isinstance(value, int):
        return t.names[value] if value < len(t.names) else "*"
    return str(value).lower() if isinstance(value, bool) else str(value)
