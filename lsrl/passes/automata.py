"""Replaces finite cells by automata: what `minimise_automata` and `factor_automata` share.

A cell becomes one state a component, whose value is the number of a block of the automaton's states; its next value is
a `Table` over itself and what the cell reads, and each node outside that looked into the cell becomes a `Table` too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import TypeAlias

from lsrl.analysis.automaton import Automaton, NotFinite, explore, minimise
from lsrl.analysis.interval import Range
from lsrl.analysis.ranges import analyse
from lsrl.analysis.structure import Region, find_regions
from lsrl.arithmetic import convert
from lsrl.diagnostics import Span
from lsrl.ir.graph import Graph, GraphBuilder, State, reachable
from lsrl.ir.nodes import Const, Input, Node, Read, Table, map_operands, operands
from lsrl.ir.printer import all_nodes
from lsrl.ir.validate import has_type
from lsrl.passes.merge_tables import evaluate_letters, letter_sources
from lsrl.passes.rewrite import keep_numeric, kind_of, rebuild
from lsrl.passes.simplify_logic import simplify_node
from lsrl.types import INT, Bool, Int, Symbols, Type, Value, values

__all__ = ["Blocks", "Choose", "cell_letters", "held_values", "needed_arguments", "replace_cells", "unused_name"]

_ENTRIES = 4096
_STATES = 512

Blocks: TypeAlias = "tuple[int, ...]"  # for each state of an automaton the block it is in, numbered from 0
Choose: TypeAlias = Callable[[Region, Automaton, Automaton], "tuple[Blocks, ...] | None"]


@dataclass(frozen=True, eq=False)
class _Plan:
    """How one cell is replaced: by a state for each of `components`, over the least automaton."""

    region: Region
    automaton: Automaton
    components: tuple[Blocks, ...]
    names: tuple[str, ...]
    args: tuple[Node, ...]  # what decides the letter: the boundary, or the one symbol that decides all of it
    domains: tuple[tuple[int, int], ...]  # the lowest code and the number of codes of each of them
    rows: tuple[tuple[tuple[int, ...], int], ...]  # their joint codes, and the letter class of each
    needs: dict[Node, tuple[int, ...]]  # the places in `args` of what each observed node is computed from
    held: tuple[tuple[Value | None, ...], ...]  # for each state of the automaton the values of the cell's states


def replace_cells(graph: Graph, choose: Choose) -> Graph:
    """The graph with every finite cell replaced for which `choose` gives components.

    choose: gets the cell, its reachable automaton and the least one; returns blocks of the least one's states for each
    component, which its letters respect and which together tell all states apart; or None to keep the cell.
    Kept too: cells that a check looks into, or whose tables would have more than 4,096 entries. A state's name stays if
    the automaton still tells its value, and names of nodes inside the cell go.
    """
    ranges = analyse(graph)
    checked = _read_by_checks(graph)
    taken = {s.name for s in graph.states}
    plans: list[_Plan] = []
    for region in find_regions(graph):
        if checked.isdisjoint(region.states):
            plan = _plan(graph, region, ranges, choose, taken)
            if plan is not None:
                plans.append(plan)
    if not plans:
        return graph
    replaced = _Replacer(graph, plans).graph_after()
    return replaced if keep_numeric(graph, replaced) else graph


def _read_by_checks(graph: Graph) -> set[str]:
    watched = [n for c in graph.checks for n in (c.condition, c.subject) if n is not None]
    return {n.state for n in reachable(watched) if isinstance(n, Read)}


def _plan(graph: Graph, region: Region, ranges: Mapping[Node, Range], choose: Choose, taken: set[str]) -> _Plan | None:
    found = explore(graph, region, ranges, _STATES, checks=True)
    if isinstance(found, NotFinite) or (found.next < 0).any():
        return None
    least = minimise(found)
    components = choose(region, found, least)
    letters = None if components is None else cell_letters(graph, least, ranges)
    if components is None or letters is None:
        return None
    args, domains, rows = letters
    if prod(max(blocks) + 1 for blocks in components) * prod(n for _, n in domains) > _ENTRIES:
        return None
    base = region.states[0]
    names = [f"{base}.q" if len(components) == 1 else f"{base}.q{i}" for i in range(len(components))]
    names = [unused_name(name, taken) for name in names]
    return _Plan(region, least, components, tuple(names), args, domains, rows,
                 needed_arguments(graph, region, least, args), held_values(found, least))


_Letters: TypeAlias = (
    "tuple[tuple[Node, ...], tuple[tuple[int, int], ...], tuple[tuple[tuple[int, ...], int], ...]]")


def cell_letters(graph: Graph, automaton: Automaton, ranges: Mapping[Node, Range]) -> _Letters | None:
    """The arguments that decide a letter, the domain of each, and the class for each of their joint values.

    One symbol if it alone decides the boundary, else the boundary; None if that is no argument of a table.
    """
    boundary = automaton.boundary
    source = letter_sources(graph)
    single = {source[n] for n in boundary}
    letter = single.pop() if len(single) == 1 else None
    if letter is not None and any(n is not letter for n in boundary):
        columns = evaluate_letters(graph, boundary, source)
        count = len(columns[boundary[0]])
        rows = [((code,), automaton.letter_of(tuple(columns[n][code] for n in boundary))) for code in range(count)]
        return (letter,), ((0, count),), tuple(rows)
    domains = [_domain(n, ranges) for n in boundary]
    known = [d for d in domains if d is not None]
    if len(known) < len(domains):
        return None
    members = [(tuple(_code(v) for v in joint), x) for x, all_of in enumerate(automaton.members) for joint in all_of]
    return boundary, tuple(known), tuple(members)


def unused_name(name: str, taken: set[str]) -> str:
    free, count = name, 1
    while free in taken:
        count += 1
        free = f"{name}#{count}"
    taken.add(free)
    return free


def _domain(node: Node, ranges: Mapping[Node, Range]) -> tuple[int, int] | None:
    """The lowest code of an argument of a table and the number of its codes."""
    r = ranges[node]
    match node.type:
        case Bool() | Symbols():
            return 0, len(list(values(node.type)))
        case Int() if r.lo is not None and r.hi is not None:
            return int(r.lo), int(r.hi - r.lo) + 1
        case _:
            return None


def needed_arguments(graph: Graph, region: Region, automaton: Automaton,
                     args: Sequence[Node]) -> dict[Node, tuple[int, ...]]:
    """For each observed node the arguments that it is computed from, by the structure of the graph."""
    if tuple(args) != automaton.boundary:
        bits: dict[Node, int] = dict.fromkeys(automaton.boundary, 1)
    else:
        bits = {n: 1 << i for i, n in enumerate(args)}
    bits.update((n, 0) for n in region.reads)
    for node in graph.nodes:
        inner = isinstance(node, Const) or (bool(operands(node)) and all(x in bits for x in operands(node)))
        if inner and node not in bits:
            below = 0
            for x in operands(node):
                below |= bits[x]
            bits[node] = below
    return {n: tuple(i for i in range(len(args)) if bits[n] >> i & 1) for n in automaton.observations}


def held_values(full: Automaton, least: Automaton) -> tuple[tuple[Value | None, ...], ...]:
    """For each state of the least automaton the value of each of the cell's states, None where it is not decided."""
    merged: dict[int, list[Value | None]] = {least.start: list(full.states[full.start])}
    seen = {full.start: least.start}
    work = [full.start]
    for q in work:
        for x, members in enumerate(full.members):
            after = int(full.next[q, x])
            small = int(least.next[seen[q], least.letter_of(members[0])])
            if after in seen:
                continue
            seen[after] = small
            work.append(after)
            known = merged.setdefault(small, list(full.states[after]))
            merged[small] = [a if a == b else None for a, b in zip(known, full.states[after], strict=True)]
    return tuple(tuple(merged[q]) for q in range(len(least.states)))


class _Replacer:
    def __init__(self, graph: Graph, plans: Sequence[_Plan]) -> None:
        self.graph = graph
        self.plans = plans
        self.builder = GraphBuilder()
        self.made: dict[Node, Node] = {}
        self.owner = {name: plan for plan in plans for name in plan.region.states}
        self.observed = {n: plan for plan in plans for n in plan.automaton.observations}

    def graph_after(self) -> Graph:
        for node in all_nodes(self.graph):
            if isinstance(node, Input):
                self.made[node] = node
            elif node in self.observed:
                self.made[node] = self._observation(node, self.observed[node])
            gone = isinstance(node, Read) and node.state in self.owner
            if node not in self.made and not gone and all(x in self.made for x in operands(node)):
                self.made[node] = self.builder.add(map_operands(node, self.made.__getitem__))
        new = {plan: self._states(plan) for plan in self.plans}
        decoded = {name: node for plan in self.plans for name, node in self._decoded(plan, new[plan]).items()}
        states: list[State] = []
        for s in self.graph.states:
            if s.name not in self.owner:
                states.append(replace(s, next=self.made[s.next]))
            elif s.name == self.owner[s.name].region.states[0]:
                states += [t for t in new[self.owner[s.name]] if t.type != Int(0, 0)]
        bare = rebuild(replace(self.graph, states=()), self.made)
        names = tuple((name, self.made.get(n) or decoded.get(n)) for name, n in self.graph.names)
        return replace(bare, states=tuple(states), names=tuple((k, n) for k, n in names if n is not None))

    def _emit(self, node: Node) -> Node:
        return self.builder.add(simplify_node(self.builder.add(node), self.graph.numeric, self.builder.add))

    def _read(self, plan: _Plan, component: int) -> Node:
        """The old value of a component; a component of one block has no state."""
        last = max(plan.components[component])
        if last == 0:
            return self.builder.add(Const(0, INT, plan.region.span))
        return self.builder.add(Read(plan.names[component], Int(0, last), plan.region.span))

    def _table(self, plan: _Plan, parts: Sequence[int], letters: Sequence[int], t: Type,
               entry: Callable[[int, int], Value], span: Span) -> Node:
        """The table over some components and some arguments of what `entry` gives for a state and a letter class.

        Where no state or letter has such values, it holds the entry of the first that there is.
        """
        automaton = plan.automaton
        state_of: dict[tuple[int, ...], int] = {}
        for q in range(len(automaton.states)):
            state_of.setdefault(tuple(plan.components[c][q] for c in parts), q)
        letter_of: dict[tuple[int, ...], int] = {}
        for codes, x in plan.rows:
            letter_of.setdefault(tuple(codes[i] for i in letters), x)
        args = (*(self._read(plan, c) for c in parts), *(self.made[plan.args[i]] for i in letters))
        los = (*(0 for _ in parts), *(plan.domains[i][0] for i in letters))
        sizes = (*(max(plan.components[c]) + 1 for c in parts), *(plan.domains[i][1] for i in letters))
        entries: list[Value] = []
        for codes in product(*(range(lo, lo + n) for lo, n in zip(los, sizes, strict=True))):
            q = state_of.get(codes[: len(parts)], 0)
            x = letter_of.get(codes[len(parts) :], 0)
            entries.append(convert(entry(q, x), t))
        if not args:
            return self.builder.add(Const(entries[0], kind_of(t), span))
        narrow = t if all(has_type(e, t) for e in entries) else kind_of(t)
        return self._emit(Table(args, los, sizes, tuple(entries), narrow, span))

    def _observation(self, node: Node, plan: _Plan) -> Node:
        seen = plan.automaton.observations[node]

        def entry(q: int, x: int) -> Value:
            value: Value = seen[q, x]
            return value

        every = range(len(plan.components))
        return self._table(plan, every, plan.needs[node], node.type, entry, node.span)

    def _states(self, plan: _Plan) -> list[State]:
        automaton = plan.automaton
        letters = range(len(plan.args))
        out: list[State] = []
        for c, blocks in enumerate(plan.components):
            t = Int(0, max(blocks))
            following = self._table(plan, (c,), letters, t,
                                    lambda q, x, blocks=blocks: blocks[int(automaton.next[q, x])],  # type: ignore[misc]
                                    plan.region.span)
            out.append(State(plan.names[c], t, blocks[automaton.start], following, plan.region.span))
        return out

    def _decoded(self, plan: _Plan, new: Sequence[State]) -> dict[Node, Node]:
        """For the next value of each old state a node that tells it from those of the new ones, if they decide it."""
        args = tuple(s.next for s in new)
        sizes = tuple(max(blocks) + 1 for blocks in plan.components)
        out: dict[Node, Node] = {}
        for k, s in enumerate(plan.region.members):
            held = [row[k] for row in plan.held]
            if s.next in self.made or any(v is None for v in held):
                continue
            by_blocks: dict[tuple[int, ...], Value] = {}
            for q, value in enumerate(held):
                if value is not None:
                    by_blocks[tuple(blocks[q] for blocks in plan.components)] = convert(value, s.type)
            first = next(iter(by_blocks.values()))
            entries = tuple(by_blocks.get(codes, first) for codes in product(*(range(n) for n in sizes)))
            out[s.next] = self._emit(Table(args, (0,) * len(args), sizes, entries, kind_of(s.type), s.span))
        return out


def _code(value: Value) -> int:
    if isinstance(value, tuple):
        raise AssertionError("a letter is a tuple of scalars")
    return int(value)
