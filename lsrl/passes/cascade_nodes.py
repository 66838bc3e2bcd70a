"""Cascades as nodes of a graph: what `factor_cascades` builds from the latches that it has chosen."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod

from lsrl.analysis.automaton import Automaton
from lsrl.analysis.cascade_logic import Cases, Cover, Keyed, Latch, Latches, cover_of
from lsrl.analysis.cells import Cell
from lsrl.arithmetic import convert
from lsrl.ir.graph import Check, Graph, GraphBuilder, State, reachable
from lsrl.ir.nodes import Affine, Const, Input, Logic, Mux, Node, Read, Table, map_operands, operands
from lsrl.ir.printer import all_nodes
from lsrl.passes.rewrite import is_true, kind_of
from lsrl.passes.simplify_logic import simplify_node
from lsrl.types import BOOL, Bool, Int, Type, Value

__all__ = ["Plan", "Replacer"]

_ENTRIES = 4096
_BOOLS = 10  # Boolean arguments whose conditions are written as products


@dataclass(eq=False)
class Plan:
    """How one cell is replaced.

    full, automaton: the reachable and the least automaton. args, domains, rows: what decides a letter, the lowest code
    and the number of codes of each, and their joint codes with the letter of each. needs: the places in `args` of what
    each observed node is computed from. ring: the states of the clock. after: the observed nodes that are shown by the
    new values of the latches.
    """

    cell: Cell
    full: Automaton
    automaton: Automaton
    args: tuple[Node, ...]
    domains: tuple[tuple[int, int], ...]
    rows: tuple[tuple[tuple[int, ...], int], ...]
    needs: dict[Node, tuple[int, ...]]
    latches: Latches = field(default_factory=lambda: Latches((), {}))
    names: tuple[str, ...] = ()
    ring: tuple[str, ...] = ()
    after: frozenset[Node] = frozenset()

    def codes(self, places: Sequence[int]) -> tuple[dict[tuple[int, ...], int], list[list[int]]]:
        """The joint codes of some arguments, numbered, and the letters that have each."""
        number: dict[tuple[int, ...], int] = {}
        letters: list[list[int]] = []
        for codes, x in self.rows:
            at = number.setdefault(tuple(codes[i] for i in places), len(number))
            if at == len(letters):
                letters.append([])
            letters[at].append(x)
        return number, letters

    def observed_by(self, node: Node, checked: Container[Node]) -> list[list[Value | None]]:
        """The value of an observed node in each state for each joint code of what it is computed from; None where that
        cannot occur. A check is false where the program stops."""
        seen = self.automaton.observations[node]
        _, letters = self.codes(self.needs[node])
        out: list[list[Value | None]] = []
        for q in range(len(self.automaton.states)):
            row: list[Value | None] = []
            for group in letters:
                known = [seen[q, x] for x in group if seen[q, x] is not None]
                row.append(known[0] if known else False if node in checked else None)
            out.append(row)
        return out

    def observed_after(self, node: Node) -> list[list[Value | None]] | None:
        """The same by the state after the token; None if that does not decide it."""
        _, letters = self.codes(self.needs[node])
        seen, rows = self.automaton.observations[node], self.automaton.next.tolist()
        out: list[list[Value | None]] = [[None] * len(letters) for _ in rows]
        for q, row in enumerate(rows):
            for code, group in enumerate(letters):
                for x in group:
                    value = seen[q, x]
                    if value is None or row[x] < 0:
                        continue
                    known = out[row[x]][code]
                    if known is not None and known != value:
                        return None
                    out[row[x]][code] = value
        return out


class Replacer:
    """Puts the latches of all plans into a graph."""

    def __init__(self, graph: Graph, plans: Sequence[Plan]) -> None:
        self.graph = graph
        self.plans = plans
        self.builder = GraphBuilder()
        self.made: dict[Node, Node] = {}
        self.made_states: dict[Plan, list[State]] = {}
        self.owner = {name: plan for plan in plans for name in plan.cell.states}
        self.observed = {n: plan for plan in plans for n in plan.automaton.observations}

    def graph_after(self) -> Graph:
        nodes = all_nodes(self.graph)
        while self._make(nodes):  # again while what new values depend on comes after what they show
            pass
        states: list[State] = []
        for s in self.graph.states:
            if s.name not in self.owner:
                states.append(replace(s, next=self.made[s.next]))
            elif s.name == self.owner[s.name].cell.states[0]:
                states += self._states(self.owner[s.name])
        decoded = self._new_values({s.name: s.next for s in states})
        names = tuple((name, self.made.get(n) or decoded.get(n)) for name, n in self.graph.names)
        outputs = tuple((k, self.made[n]) for k, n in self.graph.outputs)
        return replace(self.graph, states=tuple(states), outputs=outputs, checks=tuple(self._checks()),
                       names=tuple((k, n) for k, n in names if n is not None))

    def _make(self, nodes: Sequence[Node]) -> bool:
        """Makes what can be made; whether some observed node could not be."""
        late = False
        for node in nodes:
            if node in self.made:
                continue
            if isinstance(node, Input):
                self.made[node] = node
            elif node in self.observed:
                plan = self.observed[node]
                if node in plan.after and not all(a in self.made for a in plan.args):
                    late = True
                else:
                    self.made[node] = self._observation(node, plan)
            elif not (isinstance(node, Read) and node.state in self.owner) and \
                    all(x in self.made for x in operands(node)):
                self.made[node] = self.builder.add(map_operands(node, self.made.__getitem__))
        return late

    def _checks(self) -> Iterable[Check]:
        """The checks over the new states; those that a cell shows to hold always go."""
        for c in self.graph.checks:
            condition = self.made[c.condition]
            if not is_true(condition) or is_true(c.condition):
                yield replace(c, condition=condition, subject=None if c.subject is None else self.made.get(c.subject))

    def recovered(self) -> dict[str, Node]:
        """For each state that is gone its old value, where the latches tell it."""
        out: dict[str, Node] = {}
        for plan in self.plans:
            for s in plan.cell.members:
                if s.name in plan.latches.shows:
                    out[s.name] = self._shown(plan, plan.latches.shows[s.name], (), {(): 0}, s.type)
        return out

    def _new_values(self, nexts: Mapping[str, Node]) -> dict[Node, Node]:
        """For the next value of each state that is gone a node that tells it by the new values of the latches."""
        out: dict[Node, Node] = {}
        for name, node in self.recovered().items():
            after: dict[Node, Node] = {}
            for n in reachable([node]):
                after[n] = nexts[n.state] if isinstance(n, Read) else self.builder.add(
                    map_operands(n, after.__getitem__))
            out.setdefault(self.graph.state[name].next, after[node])
        return out

    def _emit(self, node: Node) -> Node:
        return self.builder.add(simplify_node(self.builder.add(node), self.graph.numeric, self.builder.add))

    def _truth(self, value: bool, plan: Plan) -> Node:
        return self.builder.add(Const(value, BOOL, plan.cell.span))

    def _logic(self, op: str, args: Sequence[Node], plan: Plan) -> Node:
        if not args:
            return self._truth(op == "and", plan)
        return self._emit(Logic(op, tuple(args), BOOL, plan.cell.span)) if len(args) > 1 or op == "not" else args[0]

    def _bit(self, name: str, plan: Plan, on: bool = True) -> Node:
        read = self.builder.add(Read(name, BOOL, plan.cell.span))
        return read if on else self._logic("not", [read], plan)

    def _states(self, plan: Plan) -> list[State]:
        if plan not in self.made_states:
            self.made_states[plan] = self._new_states(plan)
        return self.made_states[plan]

    def _new_states(self, plan: Plan) -> list[State]:
        span = plan.cell.span
        every = range(len(plan.args))
        number = dict(plan.rows)
        out: list[State] = []
        for i, name in enumerate(plan.ring):
            out.append(State(name, BOOL, i == 0, self._bit(plan.ring[i - 1], plan), span))
        for name, latch in zip(plan.names, plan.latches.latches, strict=True):
            out.append(State(name, BOOL, latch.start, self._next(plan, name, latch, every, number), span))
        return out

    def _next(self, plan: Plan, name: str, latch: Latch, every: Sequence[int],
              number: Mapping[tuple[int, ...], int]) -> Node:
        on, keep, flip = (self._cover(plan, c, every, number) for c in (latch.set, latch.keep, latch.flip))
        old = self._bit(name, plan)
        if isinstance(keep, Const) and keep.value and isinstance(on, Const) and not on.value:
            steady = old
        else:
            steady = self._logic("or", [on, self._logic("and", [keep, old], plan)], plan)
        return self._emit(Mux(flip, self._logic("not", [old], plan), steady, BOOL, plan.cell.span))

    def _observation(self, node: Node, plan: Plan) -> Node:
        places = plan.needs[node]
        number, _ = plan.codes(places)
        return self._shown(plan, plan.latches.shows[node], places, number, node.type, node in plan.after)

    def _shown(self, plan: Plan, show: Cases | Keyed, places: Sequence[int], number: Mapping[tuple[int, ...], int],
               t: Type, after: bool = False) -> Node:
        """The node of a function of the latches and of some arguments; number: the letter of each joint code. after: of
        the latches' new values, not of the old ones."""
        if isinstance(show, Keyed):
            return self._keyed(plan, show, places, number, t, after)
        if isinstance(t, Bool) and show.rest is False and len(show.cases) == 1:
            return self._cover(plan, show.cases[0][1], places, number, after)
        node = self._value(show.rest, t, plan)
        for value, cover in show.cases:
            node = self._emit(Mux(self._cover(plan, cover, places, number, after), self._value(value, t, plan), node,
                                  kind_of(t), plan.cell.span))
        return node

    def _value(self, value: Hashable, t: Type, plan: Plan) -> Node:
        assert not isinstance(value, tuple)
        return self.builder.add(Const(convert(value, t), kind_of(t), plan.cell.span))  # type: ignore[arg-type]

    def _keyed(self, plan: Plan, show: Keyed, places: Sequence[int], number: Mapping[tuple[int, ...], int],
               t: Type, after: bool) -> Node:
        """A function of a weighted sum of bits, with a case for each set of letters where it is another function."""
        columns: list[list[Hashable]] = []
        groups: list[set[int]] = []
        for x in range(len(show.values[0])):
            column = [row[x] for row in show.values]
            for known, group in zip(columns, groups, strict=True):
                if all(a is None or b is None or a == b for a, b in zip(known, column, strict=True)):
                    known[:] = [b if a is None else a for a, b in zip(known, column, strict=True)]
                    group.add(x)
                    break
            else:
                columns.append(column)
                groups.append({x})
        node: Node | None = None
        for column, group in zip(columns, groups, strict=True):
            part = self._column(plan, show, column, t, after)
            if node is None:
                node = part
            else:
                node = self._emit(Mux(self._letters(plan, frozenset(group), places, number), part, node, kind_of(t),
                                      plan.cell.span))
        assert node is not None
        return node

    def _column(self, plan: Plan, show: Keyed, column: Sequence[Hashable], t: Type, after: bool) -> Node:
        span = plan.cell.span
        values: list[Value] = []
        known = next(v for v in column if v is not None)
        for v in column:
            known = known if v is None else v
            values.append(convert(known, t))  # type: ignore[arg-type]
        bits = tuple((w, self._literal(b, plan, True, after)) for b, w in show.weights)
        if isinstance(t, Int) and len(values) > 1 and None not in column:
            first, second = values[0], values[1]
            assert isinstance(first, int) and isinstance(second, int)
            step = second - first
            if values == [first + step * i for i in range(len(values))]:
                terms = tuple((step * w, b) for w, b in bits)
                return self._emit(Affine(terms, first - step * show.low, kind_of(t), span))
        between = Int(sum(w for w, _ in bits if w < 0), sum(w for w, _ in bits if w > 0))
        key = self._emit(Affine(bits, 0, between, span))
        return self._emit(Table((key,), (show.low,), (len(values),), tuple(values), kind_of(t), span))

    def _literal(self, b: int, plan: Plan, on: bool, after: bool) -> Node:
        """Whether latch b of a plan is on, or off: its old value, or its new one."""
        if not after:
            return self._bit(plan.names[b], plan, on)
        new = self._states(plan)[len(plan.ring) + b].next
        return new if on else self._logic("not", [new], plan)

    def _cover(self, plan: Plan, cover: Cover, places: Sequence[int], number: Mapping[tuple[int, ...], int],
               after: bool = False) -> Node:
        terms = []
        for term in cover:
            literals = [self._literal(b, plan, on, after) for b, on in term.literals]
            terms.append(self._logic("and", [self._timed(plan, term.letters, places, number), *literals], plan))
        return self._logic("or", terms, plan)

    def _timed(self, plan: Plan, letters: frozenset[int], places: Sequence[int],
               number: Mapping[tuple[int, ...], int]) -> Node:
        """A set of letters under a clock."""
        if not plan.ring:
            return self._letters(plan, letters, places, number)
        count = max(number.values()) + 1
        when: dict[frozenset[int], list[int]] = {}
        for r in range(len(plan.ring)):
            when.setdefault(frozenset(y - r * count for y in letters if y // count == r), []).append(r)
        parts = []
        for group, times in when.items():
            ring = [] if len(when) == 1 else [self._logic("or", [self._bit(plan.ring[r], plan) for r in times], plan)]
            parts.append(self._logic("and", [*ring, self._letters(plan, group, places, number)], plan))
        return self._logic("or", parts, plan)

    def _letters(self, plan: Plan, letters: frozenset[int], places: Sequence[int],
                 number: Mapping[tuple[int, ...], int]) -> Node:
        """Whether the arguments at these places have one of some letters; by as few arguments as decide it."""
        wanted = {codes: x in letters for codes, x in number.items()}
        if len(set(wanted.values())) == 1:
            return self._truth(next(iter(wanted.values())), plan)
        left = list(places)
        for at in reversed(range(len(left))):
            fewer = _without(wanted, at)
            if fewer is not None:
                wanted = fewer
                del left[at]
        args = [self.made[plan.args[i]] for i in left]
        if all(isinstance(a.type, Bool) for a in args) and len(args) <= _BOOLS:
            rows = {tuple(bool(c) for c in codes): value for codes, value in wanted.items()}
            nots = [self._logic("not", [a], plan) for a in args]
            products = [self._logic("and", [(args if on else nots)[i] for i, on in literals], plan)
                        for literals in cover_of(rows, len(args))]
            return self._logic("or", products, plan)
        domains = [plan.domains[i] for i in left]
        if prod(n for _, n in domains) > _ENTRIES:
            products = [self._logic("and", [self._is(plan, i, c) for i, c in zip(left, codes, strict=True)], plan)
                        for codes, value in wanted.items() if value]
            return self._logic("or", products, plan)
        entries = tuple(wanted.get(codes, False) for codes in product(*(range(lo, lo + n) for lo, n in domains)))
        los, sizes = tuple(lo for lo, _ in domains), tuple(n for _, n in domains)
        return self._emit(Table(tuple(args), los, sizes, entries, BOOL, plan.cell.span))

    def _is(self, plan: Plan, place: int, code: int) -> Node:
        lo, n = plan.domains[place]
        entries = tuple(c == code for c in range(lo, lo + n))
        return self._emit(Table((self.made[plan.args[place]],), (lo,), (n,), entries, BOOL, plan.cell.span))


def _without(wanted: Mapping[tuple[int, ...], bool], at: int) -> dict[tuple[int, ...], bool] | None:
    """The same without one argument; None if it is needed."""
    out: dict[tuple[int, ...], bool] = {}
    for codes, value in wanted.items():
        if out.setdefault((*codes[:at], *codes[at + 1 :]), value) != value:
            return None
    return out
