"""The sequential kernel for lanes that hold vectors: a program runs BL lanes, whose vectors are tiles (lanes, columns).

What `columns` finds: values that all columns calculate alike are tiles, sums over columns are reductions of tiles, and
the lane's own scalars have a dimension of lanes alone. So the text does not grow with the columns.
"""

from __future__ import annotations

from collections.abc import Sequence

from lsrl.backends.kernels.bodies import Output, Register
from lsrl.backends.kernels.code import Kind, Value, schedule
from lsrl.backends.kernels.columns import Columns, Fold
from lsrl.backends.kernels.lanes import Port
from lsrl.backends.kernels.triton_sequential import in_groups
from lsrl.backends.kernels.triton_streams import Streams
from lsrl.backends.kernels.triton_values import power_of_two

__all__ = ["column_kernel"]


def column_kernel(s: Streams, columns: Columns) -> tuple[list[str], list[str]]:
    """The body's lines, and the compile-time parameters."""
    return _Text(s, columns).kernel()


class _Text:
    """scalars: the names of values that lanes have, or all of them share; tiles: those of the first columns' values."""

    def __init__(self, s: Streams, columns: Columns) -> None:
        self.s, self.columns, self.e = s, columns, s.expressions
        lanes, step = s.parts.lanes, s.parts.step
        self.held = [p for p in lanes.states if p.name in columns.states]
        self.register = {r.name: r for r in s.parts.registers}
        self.home = {n: (p, i) for p in lanes.states for i, n in enumerate(p.parts)}
        self.alone = [r for r in s.parts.registers if self.home[r.name][0] not in self.held]
        self.tile = {p.name: s.names.fresh(f"{p.name}_tile") for p in self.held}
        self.outputs = [o for o in step.outputs if o.name not in columns.outputs or o.element == 0]
        self.nexts = dict(zip((r.name for r in s.parts.registers), step.nexts, strict=True))
        self.scalars: dict[Value, str] = {}
        self.tiles: dict[Value, str] = {}
        self.total = [s.names.fresh("total") for _ in columns.folds]
        self.order = schedule(columns.roots)
        # Leaves that are read by themselves, and leaves of which whole vectors are.
        outside = [a for v in self.order if v not in columns.size for a in v.args]
        outside += [x for p in columns.phases for x in p.scalars] + list(columns.scalars.values())
        self.single = {v for v in outside if not v.args}
        self.vectors = {v for v in self.order if v in columns.size and not v.args and columns.place[v][1] == 0}

    def kernel(self) -> tuple[list[str], list[str]]:
        s = self.s
        params = self._params()
        start, ask, step = self._inputs()
        phases = self.columns.phases
        for k, phase in enumerate(phases[:-1]):
            step += self._alone(phase.scalars)
            step += self._pass(k, k == len(phases) - 2)
        step += self._end()
        lines = ["program = tl.program_id(0).to(tl.int64)", "if ALIGNED:", *(f"    {x}" for x in s.hints()), *s.begin(),
                 *self._ranges(), *params, *s.load_states([r.name for r in self.alone]), *self._load()]
        lines += in_groups(s, start, ask, step)
        names = {r.name: s.ports.register[r.name] for r in self.alone}
        return [*lines, *s.store_states(names), *self._store()], ["GIVEN", "KEPT", "REVERSE", "ALIGNED", "BL", "GROUP"]

    # Columns.

    def _ranges(self) -> list[str]:
        """The numbers of the columns, a power of two of them, and which of them are there."""
        sizes = {*self.columns.size.values(), *(p.elements for p in self.held)}
        return [f"column_{n} = tl.arange(0, {power_of_two(n)})[None, :]" for n in sorted(sizes)]

    def _there(self, size: int, mask: str = "") -> str:
        """A mask of tiles of so many columns, and of lanes."""
        known = [f"({mask})[:, None]"] * bool(mask) + [f"(column_{size} < {size})"] * (power_of_two(size) != size)
        return " & ".join(known)

    def _shaped(self, x: str, size: int) -> str:
        return f"tl.broadcast_to({x}, [BL, {power_of_two(size)}])"

    def _element(self, tile: str, size: int, column: int, kind: Kind) -> str:
        """One column of a tile."""
        number = f"{tile}.to(tl.int32)" if kind == "bool" else tile
        found = f"tl.sum(tl.where(column_{size} == {column}, {self._shaped(number, size)}, 0), 1)"
        return f"({found} != 0)" if kind == "bool" else f"{found}.to({self.e.dtype(kind)})"

    # What a token reads.

    def _inputs(self) -> tuple[list[str], list[str], list[str]]:
        """Statements before a group, that ask for a token of it, and that take it."""
        s = self.s
        start, ask, take = [], [], []
        ports = {p.name: p for p in s.parts.lanes.inputs}

        def read(leaf: Value, own: str, where: str, mask: str, after: str) -> str:
            name, ahead = s.names.fresh(f"{own}_here"), s.names.fresh(f"{own}_ahead")
            start.append(f"{ahead} = ()")
            ask.append(f"{ahead} = {ahead} + (tl.load({where} + i * {s.ports.input[leaf.attribute[0]]}_step, "
                       f"mask={mask}, other=0){after},)")
            take.append(f"{name} = {s.read(leaf, f'{ahead}[i]')}")
            return name

        for v in [v for v in self.order if v.op == "input" and v in self.single]:
            name, element = v.attribute
            port, base = ports[name], s.ports.input[name]
            own = f"{base}_{element}" if port.elements > 1 else base
            known = read(v, own, s.pointer(base, port, element), "live & inside" if port.lane else "inside", "")
            self.scalars[v] = known
        for v in [v for v in self.order if v.op == "input" and v in self.vectors]:
            port, base, size = ports[v.attribute[0]], s.ports.input[v.attribute[0]], self.columns.size[v]
            if port.lane:
                where, mask = f"{base}_at[:, None] + column_{size} * lanes", self._there(size, "live & inside")
            else:
                where, mask = f"{base}_at + column_{size}", " & ".join(x for x in (self._there(size), "inside") if x)
            self.tiles[v] = read(v, base, where, mask, "")
        if s.options.resets:
            start.append("reset_ahead = ()")
            ask.append("reset_ahead = reset_ahead + (tl.load(reset_at + i * reset_step, mask=inside, other=0),)")
            take.append("reset = reset_ahead[i] != 0")
            for r in self.alone:
                take.append(self._anew(s.ports.register[r.name], self.e.typed(r.init, r.kind, "[BL]"), r.kind))
            for p in self.held:
                take.append(self._anew(self.tile[p.name], self._initial(p), self.register[p.parts[0]].kind))
        return start, ask, take

    def _anew(self, name: str, initial: str, kind: Kind) -> str:
        return f"{name} = tl.where(reset, {initial}, {name})"

    def _params(self) -> list[str]:
        """Statements that load params."""
        s = self.s
        ports = {p.name: p for p in s.parts.lanes.params}
        lines = []
        for v in [v for v in self.order if v.op == "param" and (v in self.single or v in self.vectors)]:
            name, element = v.attribute
            port, base = ports[name], s.ports.param[name]
            if v in self.single:
                self.scalars[v] = s.names.fresh(s.param_name(v))
                lane = " + lane, mask=live, other=0" * port.lane
                lines.append(f"{self.scalars[v]} = tl.load({base}_ptr{s.element(port, element)}{lane}).to({s.real})")
            if v in self.vectors:
                size = self.columns.size[v]
                self.tiles[v] = s.names.fresh(f"{base}_tile")
                where = f" + column_{size} * lanes + lane[:, None]" if port.lane else f" + column_{size}"
                mask = self._there(size, "live" * port.lane)
                lines.append(f"{self.tiles[v]} = tl.load({base}_ptr{where}{f', mask={mask}, other=0' * bool(mask)})"
                             f".to({s.real})")
        return lines

    # States.

    def _initial(self, port: Port) -> str:
        """The initial values of a state in columns, as a tile."""
        registers = [self.register[n] for n in port.parts]
        inits = [r.init for r in registers]
        usual = max(dict.fromkeys(inits), key=inits.count)
        text = self.e.typed(usual, registers[0].kind, f"[BL, {power_of_two(port.elements)}]")
        for j, r in enumerate(registers):
            if r.init != usual:
                text = f"tl.where(column_{port.elements} == {j}, {self.e.typed(r.init, r.kind)}, {text})"
        return text

    def _state_at(self, port: Port, when: str) -> str:
        size = port.elements
        place = f"(row * {size} + column_{size})"
        return f"{self.s.ports.state[port.name]}_{when} + {place}{' * lanes + lane[:, None]' * port.lane}"

    def _load(self) -> list[str]:
        given, fresh = [], []
        for p in self.held:
            r = self.register[p.parts[0]]
            mask = self._there(p.elements, "live" * p.lane)
            loaded = f"tl.load({self._state_at(p, 'before')}{f', mask={mask}, other=0' * bool(mask)})"
            text = f"{loaded} != 0" if r.kind == "bool" else f"{loaded}.to({self.e.dtype(r.kind)})"
            given.append(f"{self.tile[p.name]} = {self._shaped(text, p.elements)}")
            fresh.append(f"{self.tile[p.name]} = {self._initial(p)}")
        return ["if GIVEN:", *(f"    {x}" for x in given), "else:", *(f"    {x}" for x in fresh)]

    def _store(self) -> list[str]:
        lines = []
        for p in self.held:
            kind = self.register[p.parts[0]].kind
            stored = "tl.uint8" if kind == "bool" else self.e.dtype(kind)
            mask = self._there(p.elements, "live" if p.lane else "lane == 0")
            apart = "" if p.lane else " + lane[:, None] * 0"
            where = self._state_at(p, "after") + apart
            lines.append(f"tl.store({where}, {self.tile[p.name]}.to({stored}), mask={mask})")
        return ["if KEPT:", *(f"    {x}" for x in lines)]

    # A token.

    def _scalar_names(self) -> dict[Value, str]:
        """What the scalars of a token find, by its name or as an expression."""
        plan = self.columns
        out = dict(self.scalars)
        for v in self.order:
            if v.op == "fold":
                out[v] = self.total[v.attribute]
            elif v.op == "state":
                port, column = self.home[v.attribute[0]]
                out[v] = self._element(self.tile[port.name], port.elements, column, v.kind) if port.name in self.tile \
                    else self.s.ports.register[v.attribute[0]]
            elif v in plan.place and v.args and plan.place[v][0] in self.tiles:
                first, column = plan.place[v]
                out[v] = self._element(self.tiles[first], plan.size[first], column, v.kind)
        return out

    def _alone(self, values: Sequence[Value]) -> list[str]:
        """Statements that calculate scalars, each with a dimension of lanes."""
        s = self.s
        known = self._scalar_names()
        wanted = [v for v in values if v.args]
        lines = self.e.statements(wanted, known, s.names, s.parts.step.names)
        for v in wanted:
            name = s.names.fresh(s.parts.step.names.get(v, "scalar"))
            lines.append(f"{name} = tl.broadcast_to({self._text(v, known)}, [BL])")
            self.scalars[v] = name
        return lines

    def _text(self, v: Value, known: dict[Value, str]) -> str:
        return known[v] if v in known else self.e.expression(v, known)

    def _pass(self, k: int, last: bool) -> list[str]:
        """Statements for tiles."""
        s, plan = self.s, self.columns
        phase, size = plan.phases[k], plan.size
        known = {v: x if self._shared(v) else f"{x}[:, None]" for v, x in self._scalar_names().items() if v not in size}
        known |= self.tiles
        known |= {v: self.tile[self.home[v.attribute[0]][0].name] for v in self.order if v.op == "state" and v in size
                  and plan.place[v][1] == 0}
        own = [(f, n) for f, n in zip(phase.folds, self.total, strict=True) if f is not None]
        ends = [*plan.states.values(), *plan.outputs.values()] if last else []
        roots = [*(t for f, _ in own for t in f.terms), *phase.kept, *ends]
        lines = self.e.statements(roots, known, s.names, s.parts.step.names)
        for v in phase.kept:
            self.tiles[v] = s.names.fresh(s.parts.step.names.get(v, "kept"))
            lines.append(f"{self.tiles[v]} = {self._shaped(self._text(v, known), size[v])}")
        for f, name in own:
            lines.append(f"{name} = {self._folded(f, [self._text(t, known) for t in f.terms])}")
        if last:
            for o in [o for o in self.outputs if o.name in plan.outputs]:
                lines += self._shown(o, self._text(plan.outputs[o.name], known))
            new = {p.name: s.names.fresh(f"{p.name}_next") for p in self.held}
            for p in self.held:
                value = self._shaped(self._text(plan.states[p.name], known), p.elements)
                lines.append(f"{new[p.name]} = tl.where(inside, {value}, {self.tile[p.name]})")
            self._later = [f"{self.tile[n]} = {x}" for n, x in new.items()]
        return lines

    def _shared(self, v: Value) -> bool:
        """Whether a scalar is one for all lanes, without a dimension."""
        ports = {("input", p.name): p for p in self.s.parts.lanes.inputs}
        ports |= {("param", p.name): p for p in self.s.parts.lanes.params}
        return v.op in ("input", "param") and not ports[v.op, v.attribute[0]].lane

    def _folded(self, f: Fold, terms: Sequence[str]) -> str:
        """The sum of tiles over columns, or what else a fold is."""
        parts = []
        for x in terms:
            x = self._shaped(x, f.size)
            if power_of_two(f.size) != f.size:
                x = f"tl.where(column_{f.size} < {f.size}, {x}, {self.e.constant(f.neutral, f.terms[0].kind)})"
            if f.op == "add":
                parts.append(f"tl.sum({x}, 1)")
            else:
                helper = "least" if f.op == "min" else "greatest"
                self.s.helpers[helper] = None
                parts.append(f"tl.reduce({x}, 1, {helper})")
        out = parts[0]
        for x in parts[1:]:
            out = f"{out} + {x}" if f.op == "add" else f"{helper}({out}, {x})"
        return out

    def _shown(self, o: Output, value: str) -> list[str]:
        """Statements that store an output in columns."""
        s = self.s
        port = next(p for p in s.parts.lanes.outputs if p.name == o.name)
        base, size = s.ports.output[o.name], self.columns.size[self.columns.outputs[o.name]]
        tile = self._shaped(value, size)
        if port.summed:
            text = f"tl.sum(tl.where(live[:, None], {tile}, 0), 0)[None, :]"
            where, mask = f"{base}_at + column_{size} * blocks", [self._there(size), "inside"]
        else:
            text, apart = tile, f"column_{size}" + " * lanes" * port.lane
            where, mask = f"{base}_at[:, None] + {apart}", [self._there(size, s.shape_of(port)), "inside"]
        return [f"tl.store({where} + i * {base}_step, {s.written(o, port, text)}, "
                f"mask={' & '.join(x for x in mask if x)})"]

    def _end(self) -> list[str]:
        """Scalar outputs, and then all states at once."""
        s, plan = self.s, self.columns
        outputs = [o for o in self.outputs if o.name not in plan.outputs]
        known = self._scalar_names()
        roots = [*(plan.scalars[o.value] for o in outputs), *(plan.scalars[self.nexts[r.name]] for r in self.alone)]
        lines = self.e.statements(roots, known, s.names, s.parts.step.names)
        for o in outputs:
            port = next(p for p in s.parts.lanes.outputs if p.name == o.name)
            base = s.ports.output[o.name]
            value = f"tl.broadcast_to({self._text(plan.scalars[o.value], known)}, [BL])"
            lines.append(f"tl.store({s.pointer(base, port, o.element)} + i * {base}_step, {s.written(o, port, value)}, "
                         f"mask={s.shape_of(port)} & inside)")
        new: dict[Register, str] = {r: s.names.fresh(f"{r.name}_next") for r in self.alone}
        for r, name in new.items():
            old = s.ports.register[r.name]
            value = self._text(plan.scalars[self.nexts[r.name]], known)
            lines.append(f"{name} = tl.where(inside, {value}, {old})")
        return [*lines, *(f"{s.ports.register[r.name]} = {name}" for r, name in new.items()), *self._later]
