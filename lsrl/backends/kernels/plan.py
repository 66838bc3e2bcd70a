"""The plan of a kernel, to print, test and reason about: what is fused, how each cell scans, what a token costs.

Nothing here depends on the language that the code is written in; emitters put the text of the plan above their code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from lsrl.backends.kernels.bodies import MANY_COLUMNS, Parts
from lsrl.backends.kernels.call import Options, Shape, edge_dtype, state_kind
from lsrl.backends.kernels.choose_scan import combine_cost
from lsrl.backends.kernels.code import Kind, Value, schedule
from lsrl.backends.kernels.lanes import Lanes, Mix, Port
from lsrl.backends.kernels.scans import Scan
from lsrl.backends.kernels.speculate import convergence, may_converge
from lsrl.backends.kernels.state_table import StateTable, find_table
from lsrl.ir.nodes import Read

__all__ = ["CellPlan", "PortPlan", "Plan", "make_plan"]

_SIZE: dict[Kind, int] = {"bool": 1, "int32": 4, "int64": 8, "float": 4}
_WORDS: dict[str, str] = {
    "shift": "new values are inputs", "latch": "the later one that wrote", "sum": "+", "affine": "(M, u), products",
    "clamp": "(u, lo, hi), clamped sums", "cyclic": "+ modulo the number of states",
    "maps": "maps of states, composed field by field"}


@dataclass(frozen=True)
class PortPlan:
    """An array at the edge: its element type, bytes a token, and whether it has a lane dimension."""

    name: str
    dtype: str
    bytes: int
    lane: bool


@dataclass(frozen=True)
class CellPlan:
    """A cell: its states, class and method; what an element of its scan is. without: why it has no scan, or empty."""

    states: tuple[str, ...]
    kind: str
    method: str
    element: tuple[Kind, ...]
    operations: int
    without: str


@dataclass(frozen=True)
class Plan:
    """lanes: whether there is a lane dimension. state_bytes: carried for one lane.

    operations: of one token in one lane, alive: the most values that are needed later at any point of it, which is what
    registers have to hold. scan_bytes: of the elements of all scans of a token; None where a cell has no scan.
    shapes: those that the program allows. products: of matrices and vectors of lanes, in words. table: of states and
    letters, in words, where the whole program is one; speculation: whether the letters before a chunk of a sequence
    tell the state before it.
    """

    program: str
    lanes: bool
    exact: bool
    inputs: tuple[PortPlan, ...]
    outputs: tuple[PortPlan, ...]
    cells: tuple[CellPlan, ...]
    state_bytes: int
    operations: int
    alive: int
    checks: int
    scan_bytes: int | None
    shapes: tuple[str, ...]
    products: tuple[str, ...] = ()
    table: str = ""
    speculation: str = ""

    @property
    def token_bytes(self) -> int:
        """What a kernel must move for a token, in and out, with one lane."""
        return sum(p.bytes for p in (*self.inputs, *self.outputs))

    def text(self) -> str:
        """The plan for reading."""
        moved = [f"{', '.join(f'{p.name} {p.dtype}' for p in ports) or 'nothing'} {word}"
                 for ports, word in ((self.inputs, "in"), (self.outputs, "out"))]
        lines = [f"kernel plan of `{self.program}`",
                 f"moves     {', '.join(moved)}: {self.token_bytes} B a token{' and lane' if self.lanes else ''}",
                 f"numbers   {'exact' if self.exact else 'floats'}; {self.state_bytes} B of state"
                 f"{' a lane' if self.lanes else ''}",
                 f"work      {self.operations} operations a token, at most {self.alive} values alive"
                 + (f", {self.checks} checks" if self.checks else "")]
        if self.cells:
            lines.append("cells")
            rows = [(", ".join(c.states), c.kind, c.method, c.without or
                     f"{_WORDS[c.method]}; {c.operations} operations on {' '.join(c.element)}") for c in self.cells]
            rows = _joined(rows)
            widths = [min(28, max(len(r[i]) for r in rows)) for i in range(3)]
            lines += ["  " + "  ".join([*(x.ljust(w) for x, w in zip(r, widths, strict=False)), r[3]]) for r in rows]
        else:
            lines.append("cells     none: a map")
        lines += [f"{'products' if i == 0 else ''}".ljust(10) + p for i, p in enumerate(self.products)]
        lines += [f"table     {self.table}"] * bool(self.table)
        lines += [f"          {self.speculation}"] * bool(self.speculation)
        lines.append(f"shapes    {', '.join(self.shapes)}")
        return "\n".join(lines) + "\n"


def _joined(rows: list[tuple[str, str, str, str]]) -> list[tuple[str, str, str, str]]:
    """Rows of a table in which neighbours of whom the same is said are one, if they are many."""
    out = []
    for _, found in groupby(rows, lambda row: row[1:]):
        run = list(found)
        out += [(f"{run[0][0]} to {run[-1][0]}", *run[0][1:])] if len(run) >= MANY_COLUMNS else run
    return out


def make_plan(parts: Parts, options: Options | None = None) -> Plan:
    """The plan of a program's kernels, for some options."""
    chosen = Options() if options is None else options
    body = parts.step
    roots = [*(o.value for o in body.outputs), *body.nexts, *(c for _, c in body.checks), *body.mixed]
    order = [v for v in schedule(roots) if v.op not in ("const", "param")]
    parallel = parts.parallel
    scans = {s.states[0]: s for s in parallel.scans} if parallel is not None else {}
    cells = tuple(_cell(parts, cell.states, cell.kind, scans.get(cell.states[0])) for cell in parts.cells)
    size = {**_SIZE, "float": chosen.carry.itemsize}
    scanned = None if parallel is None else sum(size[k] for s in parallel.scans for k in s.kinds)
    table = find_table(parts, chosen.checks)
    shapes: tuple[Shape, ...] = ("sequential",)
    if parallel is not None and parallel.scans:
        shapes = ("sequential", "block", "split")
    elif table is not None and may_converge(table):
        shapes = ("sequential", "speculative")
    return Plan(
        parts.lanes.source.name, any(p.lane for p in (*parts.lanes.inputs, *parts.lanes.outputs, *parts.lanes.states)),
        parts.storage.exact, tuple(_port(p, chosen) for p in parts.lanes.inputs),
        tuple(_port(p, chosen) for p in parts.lanes.outputs), cells,
        sum(size[state_kind(p, parts)] * len(p.parts) for p in parts.lanes.states),
        sum(v.op not in ("input", "state") for v in order), most_alive(order, roots), len(body.checks), scanned,
        shapes, tuple(_product(parts.lanes, m) for m in parts.lanes.products), *_looked_up(table))


def _looked_up(table: StateTable | None) -> tuple[str, str]:
    """A table and its speculation in words; nothing about a map, which has one state."""
    if table is None or len(table.states) == 1:
        return "", ""
    states, letters = table.next.shape
    what = f"{states} states, {letters} letters: on a CPU, a token is a look-up"
    if not may_converge(table):
        return what, "letters permute the states: long sequences are not cut by speculation"
    count, left = convergence(table)
    return what, f"speculation: {count} random letters leave {left} of {states} states possible before a chunk"


def _product(lanes: Lanes, mix: Mix) -> str:
    blocks, n, k = next(p.dims for p in lanes.params if p.name == mix.matrix)
    if mix in lanes.projections:
        return f"{mix.matrix} @ {mix.source}: {n} × {k}"
    source = lanes.graph.output[mix.source]
    vector = source.state if isinstance(source, Read) else next(
        (name for name, n in lanes.graph.names if n is source), "a vector of the token")
    return f"{mix.matrix}{' transposed' * mix.transposed} @ {vector}: {f'{blocks} × ' * (blocks > 1)}{n} × {n}"


def _cell(parts: Parts, states: tuple[str, ...], kind: str, scan: Scan | None) -> CellPlan:
    if parts.lanes.mixes and scan is None:
        return CellPlan(states, kind, "step", (), 0, "a token at a time: lanes meet in a product")
    if scan is None:
        why = parts.not_parallel.get(states[0], "")
        return CellPlan(states, kind, "step", (), 0, f"a token at a time: {why}" if why else "a token at a time")
    operations = 0 if scan.method == "shift" else combine_cost(scan) - 2 * len(scan.kinds)
    return CellPlan(states, kind, scan.method, scan.kinds, operations, "")


def _port(port: Port, options: Options) -> PortPlan:
    dtype = edge_dtype(port, options)
    return PortPlan(port.name, str(dtype).removeprefix("torch."), dtype.itemsize * port.elements, port.lane)


def most_alive(order: Sequence[Value], roots: Sequence[Value]) -> int:
    """The most values that are needed later, at any point of a schedule."""
    last: dict[Value, int] = {}
    for i, v in enumerate(order):
        for a in v.args:
            last[a] = i
    for r in roots:
        last[r] = len(order)
    alive, most = set[Value](), 0
    dying: dict[int, list[Value]] = {}
    for v, i in last.items():
        dying.setdefault(i, []).append(v)
    for i, v in enumerate(order):
        alive.add(v)
        most = max(most, len(alive))
        alive.difference_update(dying.get(i, ()))
    return most
