"""The sequential shape in C for lanes that hold vectors: loops over the columns, and in these over neighbouring lanes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from lsrl.backends.kernels.bodies import SUMMED, Output
from lsrl.backends.kernels.c_streams import Streams, function_text, indented, loop
from lsrl.backends.kernels.c_values import constant
from lsrl.backends.kernels.code import Value, schedule
from lsrl.backends.kernels.columns import Columns, Fold, find_columns
from lsrl.backends.kernels.lanes import Port

__all__ = ["ColumnLoops"]

_BYTES = 1 << 16  # of a block's local arrays
_MOST_LANES, _LEAST_LANES = SUMMED, 16  # of a block
_TOGETHER = ((16, 4), (24, 2), (1 << 30, 1))  # families up to which so many columns are calculated together: what they
# have in common stays in registers


class ColumnLoops(Streams):
    """Writes the function that runs neighbouring lanes, where a step is the same for all columns of a lane."""

    @cached_property
    def columns(self) -> Columns | None:
        """The loops of the step, if it has them."""
        return find_columns(self.parts, self.fixed) if self.wide else None

    def _column_lanes(self) -> str:
        """The function `_lanes`."""
        assert self.columns is not None
        return _Text(self, self.columns).function()


@dataclass(frozen=True)
class _Turn:
    """A column of some neighbouring ones: `str` is its number, from j on; ending: of names that belong to it."""

    turn: int

    def __str__(self) -> str:
        return f"j + {self.turn}" if self.turn else "j"

    @property
    def factor(self) -> str:
        """Its number in a product."""
        return f"({self})" if self.turn else "j"

    @property
    def ending(self) -> str:
        return f"_j{self.turn}" if self.turn else "_j"


class _Text:
    """The function in the making. s: the names of what all loops have in common."""

    def __init__(self, s: ColumnLoops, columns: Columns) -> None:
        self.s, self.columns, self.values = s, columns, s.values
        names = self.names = s._locals()
        self.array = {p.name: names.fresh(p.name) for p in s.parts.lanes.states if p.name in columns.states}
        self.held = [p for p in s.parts.lanes.states if p.name in self.array]
        self.alone = [r for r in s.registers if s.ports.state_port[r.name][0].name not in self.array]
        self.register = {r.name: r for r in s.registers}
        self.folds = columns.folds
        self.fold = [names.fresh("total") for _ in self.folds]
        self.scalar = {v: names.fresh(s.called.get(v, "scalar")) for p in columns.phases[:-1] for v in p.scalars
                       if v.args}
        self.kept = {v: names.fresh(s.called.get(v, "kept")) for p in columns.phases for v in p.kept}
        self.fixed = [v for v in s.fixed if v not in columns.place or columns.place[v][0] is v]
        self.nexts = dict(zip((r.name for r in s.registers), s.parts.step.nexts, strict=True))
        self.leaves = [v for v in schedule(columns.roots, {*s.fixed}) if not v.args and v.op != "const"]
        self.initial: dict[str, str] = {}
        self.together = next(n for most, n in _TOGETHER if columns.families <= most)

    def function(self) -> str:
        s, phases = self.s, self.columns.phases
        size = self._lanes_of_block()
        lines = [*s._row_head("row"), *s._port_pointers("row", "lane"), *s._param_pointers(), *self._initials()]
        lines += [f"{kind} {name}{f'[{count}]' if count > 1 else ''}[{size}];" for kind, name, count in self._arrays()]
        lines += [*self._fixed(), *self._start()]
        inner = self._shared()
        for k, phase in enumerate(phases[:-1]):
            known = self._known(k)
            inner += self._simd([v for v in phase.scalars if v in self.scalar], known,
                                [f"{self.scalar[v]}[c]" for v in phase.scalars if v in self.scalar])
            inner += self._pass(k, k == len(phases) - 2)
        inner += self._end()
        inner += [f"{n} += {s._step_name[n]};" for n in s._moving()]
        lines += ["for (int64_t t = 0; t < tokens; t++) {", *indented(inner), "}", *self._leave()]
        return f"enum {{ {s.name}_block = {size} }};\n\n" + function_text(
            f"static void {s.name}_lanes(const struct {s.name}_args *a, int64_t row, int64_t lane, int64_t n)", lines,
            "Some neighbouring lanes of one row, from the first token to the last; j counts columns.")

    # Arrays.

    def _arrays(self) -> list[tuple[str, str, int]]:
        """The local arrays of a block: type, name, columns."""
        s, size, kind = self.s, self.columns.size, self.values.type
        out = [(kind(self.register[p.parts[0]].kind), self.array[p.name], p.elements) for p in self.held]
        out += [(kind(r.kind), s.state_name[r.name], 1) for r in self.alone]
        out += [(kind(v.kind), s.fixed_name[v], size.get(v, 1)) for v in self.fixed]
        out += [(kind(f.terms[0].kind), n, 1) for f, n in zip(self.folds, self.fold, strict=True)]
        out += [(kind(v.kind), n, 1) for v, n in self.scalar.items()]
        out += [(kind(v.kind), n, size[v]) for v, n in self.kept.items()]
        return out + [(s.ports.memory(s.ports.outputs[o.name]), s.output_name[o],
                       self.together if o.name in self.columns.outputs else 1) for o in self._shown()
                      if not s.ports.outputs[o.name].summed]

    def _lanes_of_block(self) -> int:
        bytes_of_lane = sum(count * (8 if kind in ("double", "int64_t") else 4) for kind, _, count in self._arrays())
        size = _MOST_LANES
        if any(p.summed for p in self.s.ports.outputs.values()):
            return size  # of all lanes of a block
        while size > _LEAST_LANES and size * bytes_of_lane > _BYTES:
            size //= 2
        return size

    def _shown(self) -> list[Output]:
        """The outputs that have an array: of those in columns the first one."""
        return [o for o in self.s.outputs if o.name not in self.columns.outputs or o.element == 0]

    def _initials(self) -> list[str]:
        """Tables of initial values, where these differ from column to column."""
        lines = []
        for p in self.held:
            texts = [self.s.ports.initial(self.register[n]) for n in p.parts]
            self.initial[p.name] = texts[0]
            if len(set(texts)) > 1:
                name = self.names.fresh(f"{p.name}_initial")
                kind = self.values.type(self.register[p.parts[0]].kind)
                lines.append(f"static const {kind} {name}[{len(texts)}] = {{{', '.join(texts)}}};")
                self.initial[p.name] = f"{name}[j]"
        return lines

    # What values are called.

    def _known(self, phase: int) -> dict[Value, str]:
        """The expressions, at lane c, of what the scalars of a phase find."""
        phases = self.columns.phases
        known = {v: self._element_text(v, *place) for v, place in self.columns.place.items()
                 if not v.args or v in self.s.fixed_name or place[0] in self.kept}
        known |= {v: self._leaf_text(v, v.attribute[1]) for v in self.leaves if v not in known and v.op != "fold"}
        known |= {v: f"{self.fold[v.attribute]}[c]" for v in self.leaves if v.op == "fold"}
        known |= {v: f"{self.s.fixed_name[v]}[c]" for v in self.fixed if v not in known}
        return known | {v: f"{self.scalar[v]}[c]" for p in phases[:phase] for v in p.scalars if v in self.scalar}

    def _element_text(self, v: Value, first: Value, column: int) -> str:
        """A value of a family, read by itself."""
        if not v.args:
            return self._leaf_text(v, column)
        return f"{self.kept[first] if first in self.kept else self.s.fixed_name[first]}[{column}][c]"

    def _leaf_text(self, v: Value, at: int | _Turn) -> str:
        """A leaf at a column and lane c."""
        s = self.s
        if v.op == "state":
            port, _ = s.ports.state_port[v.attribute[0]]
            alone = port.name not in self.array
            return f"{s.state_name[v.attribute[0]] if alone else f'{self.array[port.name]}[{at}]'}[c]"
        port = (s.ports.params if v.op == "param" else s.ports.inputs)[v.attribute[0]]
        name = s.pointer[v.op, port.name]
        if isinstance(at, _Turn):
            own = f"{name}{at.ending}[c]" if port.lane else f"{s.leaf_name[v]}{at.ending}"
            return s.ports.loaded(port, v.kind, own) if port.lane and v.op == "input" else own
        if v.op == "param":
            return f"{name}[{s._element(port, at, 'c')}]"
        if not port.lane and port.elements == 1:
            return s.leaf_name[v]
        return s.ports.loaded(port, v.kind, f"{name}[{s._element(port, at, 'c')}]")

    def _at_column(self, values: Iterable[Value], at: _Turn) -> list[str]:
        """What the lanes of a column find there: pointers to their elements, and what all of them see."""
        s = self.s
        lines: dict[str, None] = {}
        for v in sorted(values, key=lambda v: str(v.attribute)):
            port = (s.ports.params if v.op == "param" else s.ports.inputs)[v.attribute[0]]
            name = s.pointer[v.op, port.name]
            kind = s.values.carry if v.op == "param" else s.ports.memory(port)
            if port.lane:
                lines[f"const {kind} *{name}{at.ending} = {name} + {s._element(port, at.factor)};"] = None
            else:
                got = f"{name}[{at}]" if v.op == "param" else s.ports.loaded(port, v.kind, f"{name}[{at}]")
                lines[f"const {self.values.type(v.kind)} {s.leaf_name[v]}{at.ending} = {got};"] = None
        return list(lines)

    def _simd(self, roots: list[Value], known: dict[Value, str], targets: list[str]) -> list[str]:
        """A loop over lanes that calculates some values."""
        statements, text = self.values.statements(roots, known, self.s.called, self.names.copy())
        body = [*statements, *(f"{to} = {text[v]};" for v, to in zip(roots, targets, strict=True))]
        return ["#pragma omp simd", *loop("c", "n", body)] if body else []

    # Before the first token, and after the last.

    def _fixed(self) -> list[str]:
        """Statements that calculate what no token changes."""
        lines: list[str] = []
        for columns in dict.fromkeys(self.columns.size.get(v, 1) for v in self.fixed):
            own = [v for v in self.fixed if self.columns.size.get(v, 1) == columns]
            at = "" if columns == 1 else "[j]"
            params = [v for v in schedule(own) if v.op == "param"]
            known = {v: self._leaf_text(v, _Turn(0) if at else v.attribute[1]) for v in params}
            body = [*(self._at_column(params, _Turn(0)) if at else ()),
                    *self._simd(own, known, [f"{self.s.fixed_name[v]}{at}[c]" for v in own])]
            lines += loop("j", str(columns), body) if at else body
        return lines

    def _start(self) -> list[str]:
        """Statements that load the states."""
        s = self.s
        lines = loop("c", "n", [f"{s.state_name[r.name]}[c] = {s._before(r, 'row', '(lane + c)')};"
                                for r in self.alone])
        for p in self.held:
            given = s.a("before", p.name)
            value = f"({self.values.type(self.register[p.parts[0]].kind)}){given}[{self._state_at(p)}]"
            known, first = (self._over(p, f"{self.array[p.name]}[j][c] = {x};") for x in (value, self.initial[p.name]))
            lines += [f"if ({given}) {{", *indented(known), "} else {", *indented(first), "}"]
        return lines

    def _over(self, port: Port, statement: str) -> list[str]:
        """A statement for all columns and lanes."""
        return loop("j", str(port.elements), loop("c", "n", [statement]))

    def _leave(self) -> list[str]:
        s = self.s
        lines = loop("c", "n", [s._after(r, "row", "(lane + c)", f"{s.state_name[r.name]}[c]") for r in self.alone])
        for p in self.held:
            to = s.a("after", p.name)
            put = f"{to}[{self._state_at(p)}] = {self.array[p.name]}[j][c];"
            first = f"const int64_t c = 0; {put}"
            body = self._over(p, put) if p.lane else loop("j", str(p.elements), [first])
            lines += [f"if ({to}{'' if p.lane else ' && lane == 0'}) {{", *indented(body), "}"]
        return lines

    def _state_at(self, port: Port) -> str:
        return self.s._state_place(port, "j", "row", "(lane + c)")

    # A token.

    def _shared(self) -> list[str]:
        """Initial values where the states start anew, and the inputs that all lanes see."""
        s = self.s
        lines = []
        if s.options.resets:
            anew = loop("c", "n", [f"{s.state_name[r.name]}[c] = {s.ports.initial(r)};" for r in self.alone])
            for p in self.held:
                anew += self._over(p, f"{self.array[p.name]}[j][c] = {self.initial[p.name]};")
            lines += ["if (reset_at && *reset_at) {", *indented(anew), "}"]
        for v in self.leaves:
            if v.op == "input" and not (port := s.ports.inputs[v.attribute[0]]).lane and port.elements == 1:
                got = s.ports.loaded(port, v.kind, f"*{s._pointer_name(port, 'input')}")
                lines.append(f"const {self.values.type(v.kind)} {s.leaf_name[v]} = {got};")
        return lines

    def _pass(self, k: int, last: bool) -> list[str]:
        """The loops over the columns in a phase, one for each number of them."""
        phase, size = self.columns.phases[k], self.columns.size
        own = [(f, n) for f, n in zip(phase.folds, self.fold, strict=True) if f is not None]
        lines = loop("c", "n", [f"{n}[c] = {constant(f.neutral, f.terms[0].kind, self.values.carry)};"
                                for f, n in own])
        ends = [*self.columns.states.values(), *self.columns.outputs.values()] if last else []
        for columns in dict.fromkeys([*(f.size for f, _ in own), *(size[v] for v in (*phase.kept, *ends))]):
            folds = [(f, n) for f, n in own if f.size == columns]
            some = min(self.together, columns)
            lines += [f"for (int64_t j = 0; j + {some} <= {columns}; j += {some}) {{" if some > 1 else
                      f"for (int64_t j = 0; j < {columns}; j++) {{",
                      *indented(self._columns(k, columns, folds, last, some)), "}"]
            if columns % some:
                rest = self._columns(k, columns, folds, last, 1)
                lines += [f"for (int64_t j = {columns // some * some}; j < {columns}; j++) {{", *indented(rest), "}"]
        return lines

    def _columns(self, k: int, columns: int, folds: list[tuple[Fold, str]], last: bool, some: int) -> list[str]:
        """What happens in some neighbouring columns from column j on."""
        s, size, plan = self.s, self.columns.size, self.columns
        kept = [v for v in plan.phases[k].kept if size[v] == columns]
        states = {p: v for p, v in plan.states.items() if last and size[v] == columns}
        outputs = {o: plan.outputs[o.name] for o in self._shown()
                   if last and o.name in plan.outputs and size[plan.outputs[o.name]] == columns}
        sums = [o for o in outputs if s.ports.outputs[o.name].summed == _MOST_LANES]
        roots = [*(t for f, _ in folds for t in f.terms), *kept, *states.values(), *outputs.values()]
        alone = {v: t for v, t in self._known(k + 1).items() if v not in size}
        names = self.names.copy()
        head: list[str] = []
        body: list[str] = []
        tail: list[str] = []
        for at in map(_Turn, range(some)):
            known = alone | {v: f"{self.kept[v]}[{at}][c]" for p in plan.phases[:k] for v in p.kept}
            known |= {v: f"{s.fixed_name[v]}[{at}][c]" for v in self.fixed if v in size}
            known |= {v: self._leaf_text(v, at) for v in size if not v.args}
            head += self._at_column({v for v in schedule(roots, known) if v in size and v.op in ("input", "param")}, at)
            head += [f"{self.values.type(outputs[o].kind)} {s.output_name[o]}{at.ending} = 0;" for o in sums]
            statements, text = self.values.statements(roots, known, s.called, names)
            body += [*statements, *(f"{self.kept[v]}[{at}][c] = {text[v]};" for v in kept)]
            for f, n in folds:
                for t in f.terms:
                    combined = self.values.expression(Value(f.op, (t, t), t.kind), (f"{n}[c]", text[t]))
                    body.append(f"{n}[c] = {combined};")
            body += [f"{s.output_name[o]}{at.ending} += {text[v]};" if o in sums else
                     f"{self._shown_array(o, at)}[c] = {s.ports.stored(o)(text[v])};" for o, v in outputs.items()]
            news = {p: names.fresh(f"next_{p}{at.ending * bool(at.turn)}") for p in states}
            body += [f"const {self.values.type(v.kind)} {news[p]} = {text[v]};" for p, v in states.items()]
            body += [f"{self.array[p]}[{at}][c] = {news[p]};" for p in states]
            for o in outputs:
                tail += self._sum(o, at) if o in sums else s._stored(o, at.factor, self._shown_array(o, at))
        found = [f"{s.output_name[o]}{_Turn(i).ending}" for i in range(some) for o in sums]
        reduced = f" reduction(+:{', '.join(found)})" if sums else ""
        return [*head, f"#pragma omp simd{reduced}", *loop("c", "n", body), *tail]

    def _shown_array(self, o: Output, at: _Turn) -> str:
        """The array of a column of an output."""
        return f"{self.s.output_name[o]}[{at.turn}]" if self.together > 1 else self.s.output_name[o]

    def _sum(self, o: Output, at: _Turn) -> list[str]:
        """Statements that store what is summed over a block of lanes."""
        s = self.s
        port = s.ports.outputs[o.name]
        to = s._pointer_name(port, "output")
        value = s.ports.stored(o)(f"{s.output_name[o]}{at.ending}")
        return [f"if ({to}) {to}[{s._element(port, at.factor)}] = {value};"]

    def _end(self) -> list[str]:
        """Scalar outputs, and scalar states at once."""
        s, plan = self.s, self.columns
        outputs = [o for o in self._shown() if o.name not in plan.outputs]
        roots = [*(plan.scalars[o.value] for o in outputs), *(plan.scalars[self.nexts[r.name]] for r in self.alone)]
        known = self._known(len(plan.phases) - 1)
        statements, text = self.values.statements(roots, known, s.called, self.names.copy())
        body = [*statements, *(f"{s.output_name[o]}[c] = {s.ports.stored(o)(text[plan.scalars[o.value]])};"
                               for o in outputs)]
        for r in self.alone:
            body.append(f"const {self.values.type(r.kind)} {s.next_name[r.name]} = "
                        f"{text[plan.scalars[self.nexts[r.name]]]};")
        body += [f"{s.state_name[r.name]}[c] = {s.next_name[r.name]};" for r in self.alone]
        return [*(["#pragma omp simd", *loop("c", "n", body)] if body else []),
                *(line for o in outputs for line in s._stored(o, o.element, s.output_name[o]))]
