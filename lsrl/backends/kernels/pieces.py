"""The two small kernels by which chunks of time are worked on at once, for scans that depend on each other.

A scan's level is one more than that of the scans which its leaf reads. For each level, the lowest first, a summary
kernel runs over all chunks as if they were sequences, from what the scans below carry at the start of each: it leaves
the element of each chunk. A carry kernel then runs over the chunks as if they were tokens, and gives what is carried at
the start of each, and the states that stand for it. When all levels are done, the chunks are sequences with known
states before them (Blelloch 1990, section 1.4: reduce, scan, and a second pass).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from lsrl.backends.kernels.bodies import Output, Parallel, Parts, Register, Step
from lsrl.backends.kernels.code import Builder, Kind, Value, schedule
from lsrl.backends.kernels.lanes import Port
from lsrl.backends.kernels.scans import Element
from lsrl.types import REAL, Bool, Int, Type, Vector

__all__ = ["RESETS", "Level", "Piece", "make_levels"]

RESETS = "~resets"  # the input of summaries that is the stream of resets
_TYPES: dict[Kind, Type] = {"bool": Bool(), "int32": Int(-(1 << 31), (1 << 31) - 1), "int64": Int(), "float": REAL}


@dataclass(frozen=True, eq=False)
class Piece(Parts):
    """Parts whose step and registers are given. It has one shape, a token at a time."""

    own_step: Step
    own_registers: tuple[Register, ...]

    @cached_property
    def step(self) -> Step:
        return self.own_step

    @cached_property
    def registers(self) -> tuple[Register, ...]:
        return self.own_registers


@dataclass(frozen=True, eq=False)
class Level:
    """scans: the numbers of those that are scanned here. below: of those whose states it starts from.

    summary: its states are `carried<k>_<j>` of the scans below and `element<k>_<j>` of its own, component j of scan k.
    carry: inputs `element<k>_<j>`, states and outputs `carried<k>_<j>`, and outputs `state<i>`, i the register's
    number.
    """

    scans: tuple[int, ...]
    below: tuple[int, ...]
    summary: Piece
    carry: Piece


def make_levels(parts: Parts, body: Parallel) -> tuple[Level, ...]:
    """The levels of a parallel body, the lowest first."""
    level: list[int] = []
    for scan in body.scans:
        read = {v.attribute[0] for v in schedule(scan.leaf) if v.op in ("new", "prev")}
        level.append(1 + max((level[k] for k in read), default=-1))
    return tuple(_level(parts, body, tuple(k for k, x in enumerate(level) if x == n),
                        tuple(k for k, x in enumerate(level) if x < n)) for n in range(max(level, default=-1) + 1))


def _level(parts: Parts, body: Parallel, scans: tuple[int, ...], below: tuple[int, ...]) -> Level:
    at = {r.name: i for i, r in enumerate(parts.registers)}
    wide = parts.lanes.width > 1

    def port(name: str, kind: Kind, state: bool = False) -> Port:
        t = _TYPES[kind]
        return Port(name, Vector(t, parts.lanes.width) if wide else t, wide, (name,) if state else (), True)

    def piece(step: Step, registers: list[Register], inputs: tuple[Port, ...], params: tuple[Port, ...]) -> Piece:
        lanes = replace(parts.lanes, inputs=inputs, params=params,
                        states=tuple(port(r.name, r.kind, True) for r in registers),
                        outputs=tuple(port(o.name, o.value.kind) for o in step.outputs))
        return Piece(lanes, parts.cells, parts.storage, step, tuple(registers))

    summary = _Rewriter(body)
    registers: list[Register] = []
    nexts: list[Value] = []
    for k in below:
        scan = body.scans[k]
        registers += [Register(f"carried{k}_{j}", kind, 0, 1) for j, kind in enumerate(scan.carried)]
        nexts += summary.after(k)
    for k in scans:
        scan = body.scans[k]
        registers += [Register(f"element{k}_{j}", kind, x, 1)
                      for j, (kind, x) in enumerate(zip(scan.kinds, scan.identity(), strict=True))]
        so_far = tuple(summary.b.leaf("state", kind, f"element{k}_{j}") for j, kind in enumerate(scan.kinds))
        nexts += scan.combine(summary.b, so_far, summary.leaf(k))
    inputs = parts.lanes.inputs
    if any(v.op == "input" and v.attribute[0] == RESETS for v in schedule(nexts)):
        inputs = (*inputs, Port(RESETS, Bool(), False))
    summed = piece(Step((), (), {}, tuple(nexts)), registers, inputs, parts.lanes.params)

    b = Builder()
    registers, nexts, outputs, given = [], [], [], []
    for k in scans:
        scan = body.scans[k]
        element = tuple(b.leaf("input", kind, f"element{k}_{j}") for j, kind in enumerate(scan.kinds))
        carried = tuple(b.leaf("state", kind, f"carried{k}_{j}") for j, kind in enumerate(scan.carried))
        given += [port(f"element{k}_{j}", kind) for j, kind in enumerate(scan.kinds)]
        registers += [Register(f"carried{k}_{j}", kind, 0, 1) for j, kind in enumerate(scan.carried)]
        after = scan.apply(b, element, carried)
        nexts += after
        outputs += [Output(f"carried{k}_{j}", 0, v, 1) for j, v in enumerate(after)]
        outputs += [Output(f"state{at[name]}", 0, v, 1)
                    for name, v in zip(scan.states, scan.leave(b, after), strict=True)]
    return Level(scans, below, summed, piece(Step(tuple(outputs), (), {}, tuple(nexts)), registers, tuple(given), ()))


class _Rewriter:
    """Values of a parallel body as values of a step: what a scan had before the token is a state."""

    def __init__(self, body: Parallel) -> None:
        self.b = Builder()
        self._body = body
        self._made: dict[Value, Value] = {}

    def leaf(self, k: int) -> Element:
        return tuple(map(self._of, self._body.scans[k].leaf))

    def before(self, k: int) -> Element:
        return tuple(self.b.leaf("state", kind, f"carried{k}_{j}")
                     for j, kind in enumerate(self._body.scans[k].carried))

    def after(self, k: int) -> Element:
        return self._body.scans[k].apply(self.b, self.leaf(k), self.before(k))

    def _of(self, root: Value) -> Value:
        for v in schedule([root]):  # a scan's leaf stands before its values
            if v in self._made:
                continue
            match v.op:
                case "prev":
                    made = self.before(v.attribute[0])[v.attribute[1]]
                case "new":
                    made = self.after(v.attribute[0])[v.attribute[1]]
                case "reset":
                    made = self.b.leaf("input", "bool", RESETS)
                case _:
                    made = self.b._add(v.op, [self._made[a] for a in v.args], v.kind, v.attribute)
            self._made[v] = made
        return self._made[root]
