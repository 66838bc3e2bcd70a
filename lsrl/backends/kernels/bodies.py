"""What a kernel does, in two forms: a step of all states, and a pass of maps and scans over many tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from lsrl.analysis.cells import Cell, find_cells
from lsrl.analysis.ranges import analyse
from lsrl.backends.kernels.choose_scan import choose_scan, detail_nodes
from lsrl.backends.kernels.code import Builder, Constant, Kind, Value
from lsrl.backends.kernels.lanes import Lanes
from lsrl.backends.kernels.lowering import Lowering
from lsrl.backends.kernels.scans import Coded, Scan, Segmented, Shift
from lsrl.backends.kernels.storage import Storage, make_storage
from lsrl.ir.graph import Graph, State
from lsrl.ir.nodes import Node, Read

__all__ = ["MANY_COLUMNS", "MOST_SUMMED", "SUMMED", "TILE_LANES", "Body", "Counts", "Output", "Parallel", "Parts",
           "Register", "Step"]


MANY_COLUMNS = 8  # elements of a state in a lane from which on a lane has loops over them
SUMMED = 64  # lanes of which C kernels sum values: as many as a block of lanes has, and a thread's share at least
MOST_SUMMED = 256  # columns of a state up to which that is done: arrays, or tiles, of so many lanes are not too large
TILE_LANES = 32  # lanes of a program of a Triton kernel whose lanes hold vectors, or which sums values over lanes


@dataclass(frozen=True)
class Register:
    """A scalar state while a kernel runs: its name, kind, initial value and scale, in counts of 1/scale."""

    name: str
    kind: Kind
    init: Constant
    scale: int


@dataclass(frozen=True)
class Counts:
    """Integers from lo to hi that are multiples of step (0: only 0)."""

    lo: int
    hi: int
    step: int

    def holds(self, count: int) -> bool:
        return self.lo <= count <= self.hi and (count % self.step == 0 if self.step else count == 0)


@dataclass(frozen=True, eq=False)
class Output:
    """One element of an output: its value in counts of 1/scale."""

    name: str
    element: int
    value: Value
    scale: int


@dataclass(frozen=True, eq=False)
class Body:
    """outputs; checks: conditions that must hold at every token; broken: the check's number in the graph (None: a
    guard of the numbers' width). names: what the program calls some of the values."""

    outputs: tuple[Output, ...]
    checks: tuple[tuple[int | None, Value], ...]
    names: Mapping[Value, str]


@dataclass(frozen=True, eq=False)
class Step(Body):
    """One token at a time: values over `input`, `param` and `state` leaves. nexts: the new value of each register.

    mixed: for each mix of the lanes, the vector's element in a lane; the product's is an `input` of the mix's name.
    """

    nexts: tuple[Value, ...]
    mixed: tuple[Value, ...] = ()


@dataclass(frozen=True, eq=False)
class Parallel(Body):
    """Many tokens at a time: values over `input`, `param`, `reset`, `new` and `prev` leaves.

    scans[k] is what `new` and `prev` with the attribute (k, component) speak of; each depends on earlier ones alone.
    """

    scans: tuple[Scan, ...]


@dataclass(frozen=True, eq=False)
class Parts:
    """A program taken apart for kernels: its lanes, cells, the storage of its numbers, and both bodies."""

    lanes: Lanes
    cells: tuple[Cell, ...]
    storage: Storage

    @classmethod
    def of(cls, lanes: Lanes) -> Parts:
        """Raises LsrlError (L411) where a number may need more than 64 bits."""
        cells = find_cells(lanes.graph)
        extra: dict[Node, None] = {}
        for cell in cells:
            extra.update(dict.fromkeys(detail_nodes(cell)))
        known = set(lanes.graph.nodes)
        more = tuple((f"detail {i}", n) for i, n in enumerate(x for x in extra if x not in known))
        graph = replace(lanes.graph, outputs=lanes.graph.outputs + more)
        return cls(lanes, cells, make_storage(graph, lanes.floats))

    @property
    def graph(self) -> Graph:
        return self.lanes.graph

    @cached_property
    def registers(self) -> tuple[Register, ...]:
        """The scalar states, in the graph's order."""
        s = self.storage
        return tuple(Register(x.name, s.state_kind(x), s.init(x), s.state_scale(x)) for x in self.graph.states)

    @cached_property
    def state_ranges(self) -> dict[str, Counts]:
        """The counts that integer and Boolean states may start from: what the code was proved for.

        That is what the analysis knows of the program's graph, by which passes simplify, and of the simplified one.
        """
        s = self.storage
        known = [{n.state: r[n] for n in r if isinstance(n, Read)} for r in
                 (analyse(self.lanes.source), {n: s.range(n) for n in s.graph.nodes})]
        whole = {part: p.name for p in self.lanes.states for part in p.parts}
        out: dict[str, Counts] = {}
        for state in self.graph.states:
            kind = s.state_kind(state)
            most = s.plan.guards.get(state.name, (1 << (31 if kind == "int32" else 63)) - 1)
            lo, hi, step = -most, most, 1
            found = [r[name] for r, name in zip(known, (whole[state.name], state.name), strict=True) if name in r]
            for r in found if kind != "float" else ():
                scale = s.state_scale(state)
                if state.name not in s.plan.guards:
                    lo = lo if r.lo is None else max(lo, math.ceil(r.lo * scale))
                    hi = hi if r.hi is None else min(hi, math.floor(r.hi * scale))
                if r.grid is not None and (r.grid * scale).denominator == 1:
                    step = math.lcm(step, int(r.grid * scale))
            out[state.name] = Counts(lo, hi, step)
        return out

    @cached_property
    def step(self) -> Step:
        """The step of all states."""
        lower = Lowering(self.storage, Builder())
        nexts = tuple(lower.next(s) for s in self.graph.states)
        outputs = self._outputs(lower)
        checks = self._checks(lower, dict(zip(self.graph.states, nexts, strict=True)))
        mixed = tuple(lower(self.graph.output[m.source]) for m in self.lanes.mixes)
        return Step(outputs, checks, lower.names(), nexts, mixed)

    @cached_property
    def not_parallel(self) -> Mapping[str, str]:
        """The cells that have no scan, by their first state, and why."""
        return self._scanned(False)[1]

    @cached_property
    def parallel(self) -> Parallel | None:
        """Maps and scans; None if a cell has no scan."""
        return self._scanned(False)[0]

    @cached_property
    def resettable(self) -> Parallel | None:
        """As `parallel`, with a `reset` leaf: where it holds, all states start anew before the token."""
        return self._scanned(True)[0]

    def _scanned(self, resets: bool) -> tuple[Parallel | None, dict[str, str]]:
        if self.lanes.mixes:
            return None, {cell.states[0]: "lanes meet in a matrix" for cell in self.cells}
        if any(p.lane and p.elements >= MANY_COLUMNS for p in self.lanes.states):
            return None, {cell.states[0]: "elements of scans for all columns of a lane are too many to keep"
                          for cell in self.cells}
        maker = _ScanMaker(self, resets)
        return maker.body(), maker.reasons

    def _outputs(self, lower: Lowering) -> tuple[Output, ...]:
        return tuple(Output(port.name, i, lower(n), self.storage.scale(n))
                     for port in self.lanes.outputs for i, n in enumerate(self.lanes.output_nodes(port.name)))

    def _checks(self, lower: Lowering, nexts: Mapping[State, Value]) -> tuple[tuple[int | None, Value], ...]:
        b = lower.b
        found: list[tuple[int | None, Value]] = []
        for i, check in enumerate(self.graph.checks):
            value = lower(check.condition)
            if value.op != "const" or not value.attribute:
                found.append((i, value))
        for state, value in nexts.items():
            most = self.storage.plan.guards.get(state.name)
            if most is not None:
                inside = b.test("and", b.test("le", b.const(-most, value.kind), value),
                                b.test("le", value, b.const(most, value.kind)))
                found.append((None, inside))
        return tuple(found)


class _ScanMaker:
    """Builds the parallel body: reads become what a scan had before the token, next values what it has after."""

    def __init__(self, parts: Parts, resets: bool) -> None:
        self.parts = parts
        self.b = Builder()
        self.reset = self.b.leaf("reset", "bool", "") if resets else None
        self.scans: list[Scan] = []
        self.reasons: dict[str, str] = {}
        self._cell = {name: cell for cell in parts.cells for name in cell.states}
        self._scan_of: dict[Cell, int | None] = {}
        self._nexts: dict[Node, tuple[Cell, int, State]] = {}
        for cell in parts.cells:
            if cell.kind != "delay":
                for i, state in enumerate(cell.members):
                    self._nexts.setdefault(state.next, (cell, i, state))
        self.lower = Lowering(parts.storage, self.b, self._source)

    def body(self) -> Parallel | None:
        for cell in self.parts.cells:
            self._scan(cell)
        if self.reasons:
            return None
        nexts = {s: self.state(s, "new") for s in self.parts.graph.states}
        outputs = self.parts._outputs(self.lower)
        checks = self.parts._checks(self.lower, nexts)
        return Parallel(outputs, checks, self.lower.names(), tuple(self.scans))

    def state(self, state: State, when: str) -> Value:
        """A state's value after ("new") or before ("prev") the token, as it is held."""
        cell = self._cell[state.name]
        k = self._scan(cell)
        if k is None:
            return self.b.leaf("state", self.parts.storage.state_kind(state), state.name)  # body() gives up
        scan = self.scans[k]
        i = scan.states.index(state.name)
        inside = scan.inside if isinstance(scan, Segmented) else scan
        if isinstance(inside, Shift) and when == "new" and cell.kind == "delay":
            return inside.leaf[1 + i]
        carried = tuple(self.b.scanned(when, scan.leaf, kind, k, j) for j, kind in enumerate(scan.carried))
        if when == "prev" and self.reset is not None:
            assert isinstance(scan, Segmented)
            carried = tuple(self.b.select(self.reset, self.b.const(x, c.kind), c)
                            for x, c in zip(scan.fresh, carried, strict=True))
        return scan.leave(self.b, carried)[i]

    def _scan(self, cell: Cell) -> int | None:
        if cell not in self._scan_of:
            made = choose_scan(cell, self.lower)
            if isinstance(made, str):
                self.reasons[cell.states[0]] = made
                self._scan_of[cell] = None
            else:
                if self.reset is not None:
                    fresh = (made.start,) if isinstance(made, Coded) else \
                        tuple(self.parts.storage.init(s) for s in cell.members)
                    made = Segmented(made.states, made.carried, (self.reset, *made.leaf), made, fresh)
                self._scan_of[cell] = len(self.scans)
                self.scans.append(made)
        return self._scan_of[cell]

    def _source(self, node: Node) -> Value | None:
        s = self.parts.storage
        if isinstance(node, Read):
            state = s.graph.state[node.state]
            return self.lower.rescaled(self.state(state, "prev"), s.state_scale(state), s.scale(node), s.kind(node))
        if node in self._nexts:
            _, _, state = self._nexts[node]
            if s.state_scale(state) % s.scale(node) and s.scale(node) % s.state_scale(state):
                return None
            return self.lower.rescaled(self.state(state, "new"), s.state_scale(state), s.scale(node), s.kind(node))
        return None
