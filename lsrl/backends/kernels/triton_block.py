"""Kernels over tiles of time: maps and scans in order, what is carried from tile to tile in registers.

Three kernels share their code. `block` runs whole streams, or, where time is cut into chunks, each chunk from what
`carry` found before it. `summary` is the effect of each chunk on the cells of one level, as an element of their
scans; `carry` applies those in order. A cell's level is one more than those of the cells that its element needs
(Blelloch 1990, section 1.2: reduce, then scan the sums, then scan again). Inside scans, bools are 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from lsrl.backends.kernels.bodies import Parallel
from lsrl.backends.kernels.code import Builder, Kind, Value, schedule
from lsrl.backends.kernels.scans import Latch, Segmented, Shift
from lsrl.backends.kernels.text import Names, leaves
from lsrl.backends.kernels.triton_streams import Streams

__all__ = ["Tiles"]

Element = tuple[str, ...]


class Tiles:
    """The kernels of a program all of whose cells have scans."""

    def __init__(self, s: Streams, body: Parallel) -> None:
        self.s = s
        self.e = s.expressions
        self.body = body
        self.labels = [s.names.fresh(f"{scan.states[0]}_scan") for scan in body.scans]
        self.combines = [s.names.fresh(f"combine_{scan.states[0]}") for scan in body.scans]
        self.carried = [tuple(s.names.fresh(f"{scan.states[0]}_carried") for _ in scan.carried) for scan in body.scans]
        self.named: dict[Value, str] = {}

    # Scans.

    @cached_property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """The scans by level."""
        level: dict[int, int] = {}
        for k, scan in enumerate(self.body.scans):
            needs = {v.attribute[0] for v in schedule(scan.leaf) if v.op in ("new", "prev")}
            level[k] = 1 + max((level[j] for j in needs), default=-1)
        return tuple(tuple(k for k in level if level[k] == n) for n in range(1 + max(level.values(), default=-1)))

    def needed(self, k: int) -> set[int]:
        """The scans whose results the leaf of a scan needs."""
        return {v.attribute[0] for v in schedule(self.body.scans[k].leaf) if v.op in ("new", "prev")}

    def combine(self, k: int) -> list[str]:
        """The function that composes two elements of a scan."""
        scan, e = self.body.scans[k], self.e
        b, names = Builder(), Names()
        sides: list[tuple[Value, ...]] = []
        named: dict[Value, str] = {}
        lines = []
        for side in ("first", "then"):
            values = tuple(b.leaf("input", kind, side, i) for i, kind in enumerate(scan.kinds))
            for i, v in enumerate(values):
                named[v] = names.fresh(f"{side}_{i}")
            sides.append(values)
        head = ", ".join(named[v] for side in sides for v in side)
        roots = scan.combine(b, *sides)
        for v in schedule(roots):
            if v in named and v.kind == "bool":
                lines.append(f"{named[v]} = {named[v]} != 0")
        lines += e.statements(roots, named, names)
        shown = [self.whole(v, named) for v in roots]
        states = ", ".join(f"`{x}`" for x in scan.states)
        return ["@triton.jit", f"def {self.combines[k]}({head}):", f"    # {scan.method} of {states}",
                *(f"    {x}" for x in lines), f"    return {', '.join(shown)}"]

    def whole(self, v: Value, named: dict[Value, str], shape: str = "[]") -> str:
        """A value as a component of an element: bools as 0 and 1."""
        if v.op == "const":
            return self.e.typed(int(v.attribute) if v.kind == "bool" else v.attribute, _held(v.kind), shape)
        if v.kind == "bool":
            return f"{self.e.use(v, named)}.to(tl.int32)"
        return named[v] if v in named else self.e.expression(v, named)

    def apply(self, k: int, element: Sequence[str], carried: Sequence[str], out: Sequence[str],
              names: Names) -> list[str]:
        """Statements that put what is carried after an element into `out`."""
        scan = self.body.scans[k]
        b = Builder()
        named: dict[Value, str] = {}
        lines: list[str] = []

        def leaf(name: str, kind: Kind, side: str, i: int) -> Value:
            v = b.leaf("input", kind, side, i)
            named[v] = f"({name} != 0)" if kind == "bool" else name
            return v

        x = tuple(leaf(n, kind, "element", i) for i, (n, kind) in enumerate(zip(element, scan.kinds, strict=True)))
        c = tuple(leaf(n, kind, "carried", i) for i, (n, kind) in enumerate(zip(carried, scan.carried, strict=True)))
        roots = scan.apply(b, x, c)
        lines += self.e.statements([r for r in roots if r not in named], named, names)
        return lines + [f"{name} = {self.whole(r, named)}" for name, r in zip(out, roots, strict=True)]

    def scan(self, k: int, prev: set[int], store: bool = True) -> list[str]:
        """Statements that run a scan over the tile; then what is carried is that after the tile.

        prev: the components whose values before each token are needed.
        """
        scan, label, names = self.body.scans[k], self.labels[k], self.s.names
        inside = scan.inside if isinstance(scan, Segmented) else scan
        shift = isinstance(inside, Shift) and not isinstance(inside, Latch)
        lines = [f"# {scan.method} of {', '.join(f'`{x}`' for x in scan.states)}"]
        element = self.element(k)
        lines += element[1]
        parts = element[0]
        if not shift:
            scanned = ", ".join(parts)
            call = f"tl.associative_scan({f'({scanned})' if len(parts) > 1 else scanned}, 0, {self.combines[k]})"
            lines.append(f"{scanned} = {call}")
        carried = self.carried[k]
        after = tuple(names.fresh(f"{label}_after") for _ in carried)
        lines += self.apply(k, parts, [f"{c}[None, :]" for c in carried], after, names)
        for j, (name, c, kind) in enumerate(zip(after, carried, scan.carried, strict=True)):
            lines.append(f"{name} = tl.broadcast_to({name}, [BT, BL])")
            new = self.find("new", k, j)
            if new is not None:
                self.named[new] = f"({name} != 0)" if kind == "bool" else name
            old = self.find("prev", k, j)
            if old is not None and j in prev:
                self.s.helpers["before"] = None
                self.named[old] = names.fresh(f"{label}_before")
                lines.append(f"{self.named[old]} = before({name}, place, {c}){' != 0' if kind == 'bool' else ''}")
        self.s.helpers["last"] = None
        lines += [f"{c} = last({name}, place, count, {c})" for name, c in zip(after, carried, strict=True)]
        return lines

    def element(self, k: int) -> tuple[Element, list[str]]:
        """The names of a tile's elements of a scan, and the statements that make them."""
        scan, names = self.body.scans[k], self.s.names
        lines, out = [], []
        for v in scan.leaf:
            name = names.fresh(f"{self.labels[k]}_x")
            lines.append(f"{name} = tl.broadcast_to({self.whole(v, self.named)}, [BT, BL])"
                         if v.op != "const" else f"{name} = {self.whole(v, self.named, '[BT, BL]')}")
            out.append(name)
        return tuple(out), lines

    def find(self, op: str, k: int, j: int) -> Value | None:
        return self._scanned.get((op, k, j))

    @cached_property
    def _scanned(self) -> dict[tuple[str, int, int], Value]:
        return {(v.op, *v.attribute): v for v in schedule(self.roots) if v.op in ("new", "prev")}

    @cached_property
    def roots(self) -> list[Value]:
        """Everything that the program calculates."""
        found = [*(o.value for o in self.body.outputs), *(v for scan in self.body.scans for v in scan.leaf)]
        return found + [c for _, c in self.body.checks if self.s.checked]

    # Tiles.

    def tile(self, roots: Sequence[Value], wanted: Sequence[int], leave_out: Sequence[int] = ()) -> list[str]:
        """Statements that load a tile, run the scans that are wanted, and calculate roots.

        leave_out: scans of which only the elements are made.
        """
        s, lines = self.s, ["left = length - start", "count = tl.maximum(tl.minimum(left, BT), 0).to(tl.int32)"]
        laned = {p.name for p in s.parts.lanes.params if p.lane}
        self.named = {leaf: s.param_name(leaf) + "[None, :]" * (leaf.attribute[0] in laned)
                      for leaf in leaves(roots, "param")}
        lines += [f"inside = place < {'left' if s.wide or not s.options.packed else 'left[None, :]'}",
                  "on = inside & live[None, :]"]
        for leaf in leaves(roots, "input"):
            name, element = leaf.attribute
            port = next(p for p in s.parts.lanes.inputs if p.name == name)
            base = s.ports.input[name]
            self.named[leaf] = s.names.fresh(f"{base}_{element}_here" if port.elements > 1 else f"{base}_here")
            at, mask = self._at(base, port.lane), "on" if port.lane or not s.wide else "inside"
            raw = f"tl.load({at}{s.element(port, element)}, mask={mask}, other=0)"
            lines.append(f"{self.named[leaf]} = {s.read(leaf, raw)}")
        for leaf in leaves(roots, "reset"):
            self.named[leaf] = "reset"
            lines.append(f"reset = tl.load({self._at('reset', False)}, mask={'inside' if s.wide else 'on'}, "
                         "other=0) != 0")
        prev = {k: {v.attribute[1] for v in schedule(roots) if v.op == "prev" and v.attribute[0] == k} for k in wanted}
        wishes = self.body.names
        for k in wanted:
            scan = self.body.scans[k]
            lines += self._stated(scan.leaf, wishes)
            lines += self.scan(k, prev[k])
        return lines + self._stated(roots, wishes)

    def _stated(self, roots: Sequence[Value], wishes: object) -> list[str]:
        known = [r for r in roots if r.op != "const"]
        return self.e.statements(known, self.named, self.s.names, wishes if isinstance(wishes, dict) else None)

    def _at(self, base: str, lane: bool) -> str:
        """The pointers of a tile of an array."""
        start = f"{base}_at[None, :]" if lane or not self.s.wide else f"{base}_at"
        return f"{start} + (start + place) * {base}_step"

    # Kernels.

    def block(self) -> tuple[list[str], list[str]]:
        """Outputs and final states: the body's lines, and the compile-time parameters."""
        s = self.s
        every = list(range(len(self.body.scans)))
        roots = self.roots
        lines = self._begin()
        lines += ["if CHUNKED:", *(f"    {x}" for x in self._from_scratch(every)), "else:",
                  *(f"    {x}" for x in self.enter(every))] if every else []
        if s.checked:
            lines.append("broken = tl.full([BL], NEVER, tl.int64)  # the first token at which a check fails")
        inner = self.tile(roots, every)
        for o in self.body.outputs:
            port = next(p for p in s.parts.lanes.outputs if p.name == o.name)
            base = s.ports.output[o.name]
            found = self.named[o.value] if o.value in self.named else self.e.expression(o.value, self.named)
            value = f"tl.broadcast_to({found}, [BT, BL])"
            at = self._at(base, True)
            mask = "on" if port.lane or not s.wide else "on & (lane == 0)[None, :]"
            inner.append(f"tl.store({at}{s.element(port, o.element)}, {s.written(o, port, value)}, mask={mask})")
        if s.checked:
            ok = Builder().all(c for _, c in self.body.checks)
            text = self.e.expression(ok, self.named) if ok not in self.named else self.named[ok]
            inner += [f"ok = {text}", "first_broken = tl.min(tl.where(on & ~ok, place, BT), 0)",
                      "here = tl.where(first_broken < BT, start + first_broken.to(tl.int64), NEVER)",
                      "broken = tl.minimum(broken, here)"]
        lines += ["for start in tl.range(begin, end, BT, num_stages=STAGES):", *(f"    {x}" for x in inner)]
        lines += self.leave()
        if s.checked:
            where = "row + lane * 0" if s.wide else "row"
            lines.append(f"tl.atomic_min(failed_ptr + {where}, broken, mask=live & (broken != NEVER))")
        unit = [] if s.wide else ["UNIT"]
        return lines, ["GIVEN", "KEPT", "REVERSE", "ALIGNED", *unit, "CHUNKED", "BT", "BL", "STAGES"]

    def summary(self, level: int) -> tuple[list[str], list[str]]:
        """The effect of each chunk on the cells of a level, to scratch."""
        s = self.s
        own = self.levels[level]
        earlier = sorted(self._closure(own))
        roots = [v for k in own for v in self.body.scans[k].leaf]
        lines = self._begin(False)
        lines += self._from_scratch(earlier)
        totals: dict[int, Element] = {}
        for k in own:
            scan = self.body.scans[k]
            totals[k] = tuple(s.names.fresh(f"{self.labels[k]}_total") for _ in scan.kinds)
            lines += [f"{name} = {self.e.typed(int(x) if kind == 'bool' else x, _held(kind), '[BL]')}"
                      for name, x, kind in zip(totals[k], scan.identity(), scan.kinds, strict=True)]
        inner = self.tile(roots, earlier)
        for k in own:
            scan = self.body.scans[k]
            inside = scan.inside if isinstance(scan, Segmented) else scan
            element, made = self.element(k)
            inner += made
            if not isinstance(inside, Shift) or isinstance(inside, Latch):
                joined = ", ".join(element)
                inner.append(f"{joined} = tl.associative_scan({f'({joined})' if len(element) > 1 else joined}, 0, "
                             f"{self.combines[k]})")
            s.helpers["last"] = None
            neutral = [self.e.typed(int(x) if kind == "bool" else x, _held(kind), "[BL]")
                       for x, kind in zip(scan.identity(), scan.kinds, strict=True)]
            inner += [f"{x} = last({x}, place, count, {n})" for x, n in zip(element, neutral, strict=True)]
            inner.append(f"{', '.join(totals[k])} = {self.combines[k]}({', '.join((*totals[k], *element))})")
        lines += ["for start in tl.range(begin, end, BT, num_stages=STAGES):", *(f"    {x}" for x in inner)]
        for k in own:
            lines += [f"tl.store({self._scratch(f'{self.labels[k]}_{i}')}, {x}, mask=live)"
                      for i, x in enumerate(totals[k])]
        return lines, ["GIVEN", "REVERSE", "ALIGNED", *([] if s.wide else ["UNIT"]), "BT", "BL", "STAGES"]

    def carry(self, level: int) -> tuple[list[str], list[str]]:
        """What the cells of a level carry at the start of each chunk, to scratch."""
        s = self.s
        own = self.levels[level]
        lines = ["program = tl.program_id(0).to(tl.int64)", *self._own_streams(), *self.enter(list(own))]
        inner = []
        for k in own:
            scan = self.body.scans[k]
            element = tuple(s.names.fresh(f"{self.labels[k]}_x") for _ in scan.kinds)
            after = tuple(s.names.fresh(f"{self.labels[k]}_after") for _ in scan.carried)
            inner += [f"tl.store({self._scratch(f'{self.labels[k]}_carried_{j}')}, {c}, mask=live)"
                      for j, c in enumerate(self.carried[k])]
            inner += [f"{x} = tl.load({self._scratch(f'{self.labels[k]}_{i}')}, mask=live, other=0)"
                      for i, x in enumerate(element)]
            inner += self.apply(k, element, self.carried[k], after, s.names)
            inner += [f"{c} = {a}" for c, a in zip(self.carried[k], after, strict=True)]
        lines += ["for chunk in tl.range(0, chunks, num_stages=STAGES):", *(f"    {x}" for x in inner)]
        return lines, ["GIVEN", "BL", "STAGES"]

    def scratch(self) -> list[tuple[str, Kind]]:
        """The arrays (chunks, streams) of scratch: pointer and kind."""
        out = []
        for k, scan in enumerate(self.body.scans):
            out += [(f"{self.labels[k]}_{i}_ptr", _held(kind)) for i, kind in enumerate(scan.kinds)]
            out += [(f"{self.labels[k]}_carried_{j}_ptr", _held(kind)) for j, kind in enumerate(scan.carried)]
        return out

    def _closure(self, own: Sequence[int]) -> set[int]:
        found: set[int] = set()
        for k in own:
            found |= self.needed(k)
        return found

    def _scratch(self, name: str) -> str:
        return f"{name}_ptr + chunk * streams + stream"

    def _own_streams(self) -> list[str]:
        s = self.s
        if s.wide:
            return ["blocks = (lanes.to(tl.int64) + BL - 1) // BL", "row = program // blocks",
                    "lane = program % blocks * BL + tl.arange(0, BL)", "live = lane < lanes",
                    "stream = row * lanes + lane", "streams = rows.to(tl.int64) * lanes"]
        return ["row = program * BL + tl.arange(0, BL)", "live = row < rows", "stream = row",
                "streams = rows.to(tl.int64)"]

    def _begin(self, last: bool = True) -> list[str]:
        s = self.s
        stream = ["stream = row * lanes + lane", "streams = rows.to(tl.int64) * lanes"] if s.wide else \
            ["stream = row", "streams = rows.to(tl.int64)"]
        return ["program = tl.program_id(0).to(tl.int64)", "chunk = program % chunks", "program = program // chunks",
                "if ALIGNED:", *(f"    {x}" for x in s.hints()), *s.begin(), *stream, *s.params(),
                "place = tl.arange(0, BT)[:, None]",
                "begin = chunk * chunk_tiles * BT",
                "end = tl.minimum(begin + chunk_tiles.to(tl.int64) * BT, longest)"]

    def _from_scratch(self, scans: Sequence[int]) -> list[str]:
        return [f"{c} = tl.load({self._scratch(f'{self.labels[k]}_carried_{j}')}, mask=live, other=0)"
                for k in scans for j, c in enumerate(self.carried[k])]

    def enter(self, scans: Sequence[int]) -> list[str]:
        """Statements that put what scans carry before the first token into its names."""
        s, e = self.s, self.e
        registers = {r.name: r for r in s.parts.registers}
        lines = s.load_states([name for k in scans for name in self.body.scans[k].states])
        for k in scans:
            scan = self.body.scans[k]
            b = Builder()
            named: dict[Value, str] = {}
            states = []
            for name in scan.states:
                v = b.leaf("state", registers[name].kind, name)
                named[v] = s.ports.register[name]
                states.append(v)
            roots = scan.enter(b, tuple(states))
            lines += e.statements([r for r in roots if r not in named], named, s.names)
            lines += [f"{c} = {self.whole(r, named, '[BL]')}" for c, r in zip(self.carried[k], roots, strict=True)]
        return lines

    def leave(self) -> list[str]:
        """Statements that store the states after the last token."""
        s, e = self.s, self.e
        values: dict[str, str] = {}
        inner: list[str] = []
        for k, scan in enumerate(self.body.scans):
            b = Builder()
            named: dict[Value, str] = {}
            carried = []
            for c, kind in zip(self.carried[k], scan.carried, strict=True):
                v = b.leaf("state", kind, c)
                named[v] = f"({c} != 0)" if kind == "bool" else c
                carried.append(v)
            roots = scan.leave(b, tuple(carried))
            inner += e.statements([r for r in roots if r not in named], named, s.names)
            for name, r in zip(scan.states, roots, strict=True):
                values[name] = e.typed(r.attribute, r.kind, "[BL]") if r.op == "const" else e.use(r, named)
        stored = s.store_states(values)
        if not stored:
            return []
        body = [*inner, "mine = live & (chunk == (tl.maximum(length, 1) - 1) // (chunk_tiles.to(tl.int64) * BT))",
                *(x[4:].replace("mask=live", "mask=mine").replace("mask=lane == 0", "mask=mine & (lane == 0)")
                  for x in stored[1:])]
        return ["if KEPT:", *(f"    {x}" for x in body)]


def _held(kind: Kind) -> Kind:
    return "int32" if kind == "bool" else kind
