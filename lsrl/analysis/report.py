"""What `lsrl explain` prints: the cells of a program and what is known of each, as plain aligned tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

from lsrl.analysis.algebra import Algebra, algebra_of
from lsrl.analysis.automaton import Automaton, NotFinite, explore, minimise
from lsrl.analysis.cells import Cell, find_cells
from lsrl.analysis.details import Affine, AffineDense, Counters, Gated
from lsrl.analysis.expressions import Expressions
from lsrl.analysis.interval import Range
from lsrl.analysis.precision import Precision, precision
from lsrl.analysis.ranges import analyse, proved_checks, refuted_checks
from lsrl.analysis.structure import whole_region
from lsrl.diagnostics import NOWHERE, Span
from lsrl.ir.graph import Graph, reachable
from lsrl.ir.nodes import Node, Read
from lsrl.passes import run_pipeline
from lsrl.passes.split_vectors import split_vectors
from lsrl.types import Bool, Symbols, scalar_of

__all__ = ["explain", "table"]

_FORMAT = "float32"
_FEW = 3  # cells that differ in an index only are shown one by one up to so many
_ALGEBRA_LIMIT = 20_000


def explain(graph: Graph) -> str:
    """The tables of a program: inputs and outputs, cells, automata and their algebra, checks. No final line end."""
    flat = run_pipeline(graph)
    ranges = analyse(flat)
    cells = find_cells(flat)
    groups = _groups(cells, ranges)
    parts = [_head(graph, flat), _signals(flat, ranges, groups), _cell_table(flat, cells, groups, ranges),
             _notes(groups), _whole(flat, cells, ranges), _checks(graph)]
    return "\n\n".join(p for p in parts if p)


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under a title, columns aligned with spaces; the empty string if there are no rows."""
    body = [list(r) for r in rows]
    if not body:
        return ""
    lines = [list(head), *body]
    widths = [max(len(r[i]) for r in lines) for i in range(len(head))]
    texts = ["  " + "  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in lines]
    return "\n".join([title, *texts])


def _head(graph: Graph, flat: Graph) -> str:
    kind = ("numeric: reals are float64" if graph.numeric else "exact: unbounded integers and rationals")
    sizes = f"{_count(len(flat.nodes), 'node')}, {_count(len(flat.states), 'scalar state')}"
    return f"program {graph.name}: {kind}; {sizes}"


class _Group:
    """Cells that are alike but for an index in their state's name."""

    def __init__(self, number: int, cells: list[Cell]) -> None:
        self.number = number
        self.cells = cells

    @property
    def first(self) -> Cell:
        return self.cells[0]

    @property
    def name(self) -> str:
        if len(self.cells) == 1:
            return ", ".join(self.first.states)
        places = sorted(int(m) for c in self.cells for m in re.findall(r"\[(\d+)\]$", c.states[0]))
        base = _base(self.first)
        if places == list(range(places[0], places[-1] + 1)):
            return f"{base}[{places[0]}..{places[-1]}]"
        return f"{base}[…] ({len(places)})"


def _values(node: Node, r: Range) -> str:
    """A range, in the words of the node's type."""
    match scalar_of(node.type):
        case Bool():
            return "false, true" if r.constant is None else str(bool(r.constant)).lower()
        case Symbols() as s:
            return s.name(int(r.constant)) if r.constant is not None else f"{r.count} symbols"
        case _:
            return str(r)


def _base(cell: Cell) -> str:
    return re.sub(r"\[\d+\]$", "", cell.states[0])


def _groups(cells: Sequence[Cell], ranges: Mapping[Node, Range]) -> list[_Group]:
    """Cells with their numbers, those of one vector state that are alike together."""
    alike: dict[tuple[object, ...], list[Cell]] = {}
    for i, c in enumerate(cells):
        indexed = len(c.states) == 1 and c.states[0] != _base(c)
        look = tuple(str(ranges[r]) for r in c.reads)
        alike.setdefault((_base(c), c.classes, look) if indexed else (i,), []).append(c)
    out: list[list[Cell]] = []
    for members in alike.values():
        out += [members] if len(members) > _FEW else [[c] for c in members]
    order = {id(c): i for i, c in enumerate(cells)}
    out.sort(key=lambda members: order[id(members[0])])
    return [_Group(i, members) for i, members in enumerate(out, 1)]


def _signals(graph: Graph, ranges: Mapping[Node, Range], groups: Sequence[_Group]) -> str:
    number = {name: g.number for g in groups for c in g.cells for name in c.states}
    rows = [("input", n.name, str(n.type), _values(n, ranges[n]), "") for n in graph.inputs]
    for name, node in graph.outputs:
        needed = sorted({number[n.state] for n in reachable([node]) if isinstance(n, Read)})
        cells_read = ", ".join(map(str, needed)) or "none: a map"
        rows.append(("output", name, str(node.type), _values(node, ranges[node]), cells_read))
    return table("inputs and outputs", ("", "name", "type", "range", "from cells"), rows)


def _cell_table(graph: Graph, cells: Sequence[Cell], groups: Sequence[_Group], ranges: Mapping[Node, Range]) -> str:
    number = {name: g.number for g in groups for c in g.cells for name in c.states}
    make = Expressions(graph, ranges)
    rows = []
    for g in groups:
        p = precision(graph, g.first, ranges, make)
        reads = {number[cells[i].states[0]] for c in g.cells for i in c.needs} - {g.number}
        values = " × ".join(dict.fromkeys(_values(r, ranges[r]) for r in g.first.reads)) or "never read"
        rows.append((str(g.number), g.name, ", ".join(g.first.classes), str(min(c.layer for c in g.cells)),
                     ", ".join(map(str, sorted(reads))), values, "none" if p.grid is None else str(p.grid),
                     _horizon(p), _place(g.first.span, graph)))
    head = ("cell", "states", "class", "layer", "reads", "range", "grid", f"exact in {_FORMAT}", "line")
    return table("cells, in the order of their layers", head, rows)


def _horizon(p: Precision) -> str:
    if p.grid is None:
        return "no grid"
    n = p.horizon(_FORMAT)
    if n is None:
        return "for ever"
    return f"{n:,} tokens" if n else "not known"


def _place(span: Span, graph: Graph) -> str:
    """The line of a place in the program's file; with the file's name, if it is another, such as the library's."""
    if span is NOWHERE or not span.source.text:
        return ""
    if span.source is graph.span.source:
        return str(span.line)
    return f"{PurePath(span.source.name).name}:{span.line}"


def _notes(groups: Sequence[_Group]) -> str:
    """What is known of each cell, cells of which the same is known together."""
    alike: dict[tuple[str, ...], list[_Group]] = {}
    for g in groups:
        alike.setdefault(tuple(_cell_notes(g.first)), []).append(g)
    lines: list[str] = []
    for notes, members in alike.items():
        if notes:
            numbers = ", ".join(str(g.number) for g in members)
            title = f"cell {numbers}, {members[0].name}" if len(members) == 1 else f"cells {numbers}"
            lines += [f"  {title}", *(f"    {line}" for line in notes)]
    return "\n".join(["what is known of them", *lines]) if lines else ""


def _cell_notes(cell: Cell) -> list[str]:
    out: list[str] = []
    for detail in cell.details.values():
        match detail:
            case Affine(spectrum=spectrum):
                out.append(f"constant matrix: {spectrum}")
            case Gated(binary=True):
                out.append("its gate is 0 or 1")
            case AffineDense(structure=structure) if structure:
                out.append(f"its matrices: {', '.join(structure)}")
            case Counters() as c:
                out += _counter_notes(c)
            case Automaton() as a:
                out += automaton_words(a)
            case _:
                pass
    if cell.not_finite and cell.kind in ("piecewise", "gated", "affine-dense", "counter-machine", "smooth"):
        out.append(f"no automaton: {cell.not_finite}")
    return out


def _counter_notes(c: Counters) -> list[str]:
    out = [_count(len(c.registers), "register")]
    if len(c.registers) < len(c.keep) + len(c.control):
        out[0] += f", {', '.join(c.registers)}, under the control of {', '.join(c.control)}"
    if c.tests:
        out[0] += f"; {_count(len(c.tests), 'comparison')} of registers feed back"
    if c.seen is None:
        out.append("the values of registers are seen, not only comparisons of them")
    elif c.seen:
        out.append(f"seen through {_count(len(c.seen), 'comparison')}")
    return out


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def automaton_words(a: Automaton) -> list[str]:
    """An automaton's size and algebra in words, a line each."""
    small = minimise(a)
    n, k = len(small.states), len(small.members)
    size = f"automaton of {_count(n, 'state')} × {_count(k, 'letter')}"
    if (len(a.states), len(a.members)) != (n, k):
        size += f", minimised from {len(a.states):,} × {len(a.members):,}"
    if len(small.pairs) < n * k:
        size += f"; {len(small.pairs):,} pairs can occur"
    return [size, *algebra_words(algebra_of(small.next, _ALGEBRA_LIMIT))]


def algebra_words(a: Algebra) -> list[str]:
    """The facts of an automaton's algebra in words."""
    facts = [word for word, holds in (("commutative", a.commutative), ("idempotent", a.idempotent)) if holds]
    if a.reset:
        facts.append("reset: every letter keeps the state or sets it")
    if a.permutation:
        facts.append("permutation: every letter is a bijection")
    if a.size is None:
        out = [f"transition monoid of more than {a.limit:,} elements, so only what single letters do is known"]
    else:
        out = [f"transition monoid of {_count(a.size, 'element')}"]
    out[0] += "".join(f"; {f}" for f in facts)
    if a.aperiodic:
        out.append("aperiodic, so star-free: flip-flops suffice")
    elif a.groups:
        names = ", ".join(g.name for g in a.groups)
        if a.solvable is False:
            out.append(f"groups: {names}; not solvable, because of {', '.join(a.simple_groups)}")
        elif a.solvable:
            out.append(f"groups: {names}; solvable")
        else:
            out.append(f"groups of single letters: {names}")
    return out


def _whole(graph: Graph, cells: Sequence[Cell], ranges: Mapping[Node, Range]) -> str:
    """The whole program as one automaton, where it has more than one cell."""
    if not cells:
        return "the program is a map: it has no state"
    if len(cells) == 1:
        return ""
    found = explore(graph, whole_region(graph), ranges)
    if isinstance(found, NotFinite):
        return f"as one automaton: none, {found.reason}"
    return "\n".join(["the whole program", *(f"  {line}" for line in automaton_words(found))])


def _checks(graph: Graph) -> str:
    if not graph.checks:
        return ""
    scalar = split_vectors(graph)  # the later passes drop what they prove
    known = analyse(scalar)
    proved = {id(c) for c in proved_checks(scalar, known)}
    refuted = {id(c) for c in refuted_checks(scalar, known)}
    rows = []
    for c in scalar.checks:
        state = ("proved" if id(c) in proved else "fails at the first token" if id(c) in refuted
                 else "promised of the inputs" if c.kind == "assume" else "checked at run time")
        what = re.sub(r"\s+", " ", c.message.replace("{value}", "the value"))
        rows.append((c.kind, _place(c.span, graph), state, what))
    return table("checks", ("kind", "line", "", "what it says"), rows)

