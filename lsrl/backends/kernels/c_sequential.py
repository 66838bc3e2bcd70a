"""The loops of the sequential shape in C: one stream at a time, neighbouring lanes, or many streams in slots.

One stream: states are local variables. Lanes: a block of neighbouring lanes of one row, whose inner loop over lanes the
compiler vectorises. Slots: several rows at once, whose tokens are brought into small tiles, a column for each, so that
the inner loop over columns vectorises whatever the strides are; a slot whose row has ended takes the next row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lsrl.backends.kernels.bodies import Output, Register
from lsrl.backends.kernels.c_ports import C_WORDS, Arguments, CPorts
from lsrl.backends.kernels.call import edge_dtype
from lsrl.backends.kernels.code import Value, schedule
from lsrl.backends.kernels.lanes import Port
from lsrl.backends.kernels.text import Names, identifier, invariant, leaves

__all__ = ["SLOTS", "Loops", "function_text", "indented", "loop"]

SLOTS = 8  # rows that run at once
FEW_STREAMS = 4  # fewer are run one by one
LARGE = 2000  # values of a step beyond which it is run one stream at a time, and optimised less
FEW_LANES = 16  # fewer are run in slots, as rows are
_TILE = 64  # tokens of a tile
_TILE_BYTES = 1 << 17  # of all tiles of a kernel
_BLOCK_BYTES = 1 << 14  # of a block's local arrays
_MOST_LANES = 1024  # of a block
_AHEAD = 1024  # bytes between what is read and what is asked for


class Loops:
    """Writes the functions of the sequential shape; `text` is all of them.

    alone: whether it is enough to run one stream after the other, since another shape takes nearly all calls: that is
    half of what there is to compile.
    """

    def __init__(self, name: str, arguments: Arguments, ports: CPorts, alone: bool = False) -> None:
        self.name, self.a, self.ports = name, arguments, ports
        self.parts, self.options, self.values = ports.parts, ports.options, ports.values
        step = self.parts.step
        self.checks = [v for _, v in step.checks] if self.options.checks else []
        self.roots = [*(o.value for o in step.outputs), *step.nexts, *self.checks]
        self.outputs = step.outputs
        everything = [*self.roots, *step.mixed]
        self.input_leaves = [v for v in leaves(everything, "input") if v.attribute[0] in ports.inputs]
        self.param_leaves = leaves(everything, "param")
        self.state_leaves = {v.attribute[0]: v for v in leaves(everything, "state")}
        self.fixed = invariant(everything)
        self.registers = self.parts.registers
        self.wide = self.parts.lanes.width > 1
        self.large = not self.wide and len(schedule(self.roots)) > LARGE
        self.alone = self.large or alone
        names = Names(C_WORDS)
        self.state_name = {r.name: names.fresh(identifier(r.name)) for r in self.registers}
        self.leaf_name = {v: names.fresh(_element_name(v)) for v in (*self.input_leaves, *self.param_leaves)}
        self.fixed_name = {v: names.fresh(step.names.get(v, "fixed")) for v in self.fixed}
        self.output_name = {o: names.fresh(f"{o.name}_out" if o.element == 0 and self._one(o) else
                                           f"{o.name}_out_{o.element}") for o in self.outputs}
        self.old_name = {r.name: names.fresh(f"{self.state_name[r.name]}_old") for r in self.registers}
        self.next_name = {r.name: names.fresh(f"next_{self.state_name[r.name]}") for r in self.registers}
        self.pointer = {(what, p.name): names.fresh(f"{p.name}_{ending}")
                        for what, ports, ending in (("input", self.ports.inputs, "from"),
                                                    ("param", self.ports.params, "of"),
                                                    ("output", self.ports.outputs, "to")) for p in ports.values()}
        self._step_name = {n: names.fresh(f"{n}_step") for n in (*self.pointer.values(), "reset_at")}
        self._names = names
        self.called = {v: identifier(n) for v, n in step.names.items()}

    def text(self) -> list[str]:
        """The functions; the last one is what a launch calls."""
        if self.alone:
            return [self._one_stream(), self._entry()]
        if self.wide:
            return [self._lanes(), self._slots(), self._entry()]
        return [self._one_stream(), self._slots(), self._entry()]

    def _one(self, o: Output) -> bool:
        return self.ports.outputs[o.name].elements == 1

    # Parts of all loops.

    def _locals(self) -> Names:
        return self._names.copy()

    def _body(self, known: Mapping[Value, str], fixed: Callable[[Value], str]) -> tuple[list[str], dict[Value, str]]:
        """The statements of one token of one stream, and the expressions of the roots."""
        at = {**known, **{v: fixed(v) for v in self.fixed}}
        return self.values.statements(self.roots, at, self.called, self._locals())

    def _fixed(self, known: Mapping[Value, str]) -> tuple[list[str], dict[Value, str]]:
        """The statements that calculate what no token changes."""
        return self.values.statements(self.fixed, known, {}, self._locals()) if self.fixed else ([], {})

    def _port_pointers(self, row: str, lane: str) -> list[str]:
        """Pointers to the first token of a row's ports, and what leads from one token to the next."""
        lines = []
        for what, ports, const in (("input", self.ports.inputs, "const "), ("output", self.ports.outputs, "")):
            for p in ports.values():
                lines += self._pointer(f"{const}{self.ports.memory(p)}", self._pointer_name(p, what), what, p.name,
                                       row, f" + {lane}" if p.lane else "")
        if self.options.resets:
            lines += self._pointer("const uint8_t", "reset_at", "resets", "", row, "")
        return lines

    def _pointer(self, kind: str, name: str, what: str, of: str, row: str, lane: str) -> list[str]:
        a = self.a
        base, stride = a(what, of), a(f"{what}_token", of)
        start = f"(offset + (backwards ? tokens - 1 : 0)) * {stride}"
        return [f"{kind} *{name} = {base} ? {base} + {row} * {a(f'{what}_row', of)} + {start}{lane} : 0;",
                f"const int64_t {self._step_name[name]} = {base} ? backwards ? -{stride} : {stride} : 0;"]

    def _pointer_name(self, port: Port, what: str) -> str:
        return self.pointer[what, port.name]

    def _row_head(self, row: str) -> list[str]:
        """How many tokens a row has and where it starts."""
        a = self.a
        lines = [f"const int backwards = {a('reverse')} != 0;"]
        if self.options.packed:
            lines += [f"const int64_t offset = {a('offsets')} ? {a('offsets')}[{row}] : 0;",
                      f"const int64_t tokens = {a('offsets')} ? {a('offsets')}[{row} + 1] - offset : "
                      f"{a('token_count')};"]
        else:
            lines += ["const int64_t offset = 0;", f"const int64_t tokens = {a('token_count')};"]
        return lines

    def _before(self, r: Register, row: str, lane: str) -> str:
        """A state's value at the start of a row."""
        port, i = self.ports.state_port[r.name]
        p = self.a("before", port.name)
        at = self._state_place(port, i, row, lane)
        return f"{p} ? ({self.values.type(r.kind)}){p}[{at}] : {self.ports.initial(r)}"

    def _state_place(self, port: Port, i: int, row: str, lane: str) -> str:
        if port.lane:
            return f"{row} * {self.a('lane_count')} + {lane}"
        return f"{row} * {port.elements} + {i}" if port.elements > 1 else row

    def _after(self, r: Register, row: str, lane: str, value: str) -> str:
        port, i = self.ports.state_port[r.name]
        p = self.a("after", port.name)
        own = f" && {lane} == 0" if self.wide and not port.lane else ""
        at = self._state_place(port, i, row, lane)
        return f"if ({p}{own}) {p}[{at}] = {value};"

    def _param(self, v: Value, lane: str) -> str:
        port = self.ports.params[v.attribute[0]]
        return f"{self.a('param', port.name)}[{lane if port.lane else v.attribute[1]}]"

    def _failure(self, row: str, at: str) -> str:
        f = self.a("failed")
        return f"if ({f} && {f}[{row}] > {at}) {f}[{row}] = {at};"

    # One stream.

    def _one_stream(self) -> str:
        values = self.values
        known: dict[Value, str] = {}
        lines = [*self._row_head("row"), *self._port_pointers("row", "lane")]
        for v in self.param_leaves:
            known[v] = self.leaf_name[v]
            lines.append(f"const {values.carry} {known[v]} = {self._param(v, 'lane')};")
        statements, text = self._fixed(known)
        lines += statements + [f"const {values.type(v.kind)} {self.fixed_name[v]} = {text[v]};" for v in self.fixed]
        for r in self.registers:
            lines.append(f"{values.type(r.kind)} {self.state_name[r.name]} = {self._before(r, 'row', 'lane')};")
        inner = []
        if self.options.resets:
            inner.append("if (reset_at && *reset_at) {")
            inner += [f"    {self.state_name[r.name]} = {self.ports.initial(r)};" for r in self.registers] + ["}"]
        for name, leaf in self.state_leaves.items():
            known[leaf] = self.state_name[name]
        for v in self.input_leaves:
            port = self.ports.inputs[v.attribute[0]]
            known[v] = self.leaf_name[v]
            place = f"{self._pointer_name(port, 'input')}[{v.attribute[1]}]"
            inner.append(f"const {values.type(v.kind)} {known[v]} = {self.ports.loaded(port, v.kind, place)};")
        statements, text = self._body(known, self.fixed_name.__getitem__)
        inner += statements
        for check in self.checks:
            inner += [f"if (!{text[check]}) {{", f"    {self._failure('row', 't')}", "    break;", "}"]
        for p in self.ports.outputs.values():
            own = [o for o in self.outputs if o.name == p.name]
            to = self._pointer_name(p, "output")
            inner.append(f"if ({to}) {{")
            inner += [f"    {to}[{o.element}] = {self.ports.stored(o)(text[o.value])};" for o in own] + ["}"]
        inner += self._assigned(text, "{}")
        inner += [f"{n} += {self._step_name[n]};" for n in self._moving()]
        lines += ["for (int64_t t = 0; t < tokens; t++) {", *indented(inner), "}"]
        lines += [self._after(r, "row", "lane", self.state_name[r.name]) for r in self.registers]
        return function_text(
            f"static void {self.name}_one(const struct {self.name}_args *a, int64_t row, int64_t lane)", lines,
            "One stream from its first token to its last.")

    def _assigned(self, text: Mapping[Value, str], place: str) -> list[str]:
        """States take their new values; all of them at once, as a new value may be another state's old one."""
        lines, later = [], []
        nexts = dict(zip(self.registers, self.parts.step.nexts, strict=True))
        names = set(self.state_name.values())
        for r, v in nexts.items():
            target, value = place.format(self.state_name[r.name]), text[v]
            if value == self.state_name[r.name]:
                continue
            if place == "{}" and any(n in value for n in names):
                lines.append(f"const {self.values.type(r.kind)} {self.next_name[r.name]} = {value};")
                value = self.next_name[r.name]
            later.append(f"{target} = {value};")
        return lines + later

    def _moving(self) -> list[str]:
        names = [self._pointer_name(p, "input") for p in self.ports.inputs.values()]
        names += [self._pointer_name(p, "output") for p in self.ports.outputs.values()]
        return names + (["reset_at"] if self.options.resets else [])

    # Neighbouring lanes.

    def _lanes(self) -> str:
        values = self.values
        known: dict[Value, str] = {}
        size = 8 if values.carry == "double" else 4
        arrays = len(self.registers) + len(self.outputs) + len(self.fixed) + 1
        block = min(_MOST_LANES, max(64, _BLOCK_BYTES // (size * arrays) // 64 * 64))
        lines = [*self._row_head("row"), *self._port_pointers("row", "lane")]
        for v in self.param_leaves:
            port = self.ports.params[v.attribute[0]]
            known[v] = f"{self.pointer['param', port.name]}[{'c' if port.lane else v.attribute[1]}]"
            lines.append(f"const {values.carry} *{self.pointer['param', port.name]} = {self.a('param', port.name)}"
                         f"{' + lane' if port.lane else ''};")
        lines += [f"{values.type(v.kind)} {self.fixed_name[v]}[{block}];" for v in self.fixed]
        lines += [f"{values.type(r.kind)} {self.state_name[r.name]}[{block}];" for r in self.registers]
        lines += [f"{self.ports.memory(self.ports.outputs[o.name])} {self.output_name[o]}[{block}];"
                  for o in self.outputs]
        start, text = self._fixed(known)
        start = [*start, *(f"{self.fixed_name[v]}[c] = {text[v]};" for v in self.fixed)]
        start += [f"{self.state_name[r.name]}[c] = {self._before(r, 'row', '(lane + c)')};" for r in self.registers]
        lines += loop("c", "n", start)
        inner, body = [], []
        if self.options.resets:
            inner += ["if (reset_at && *reset_at) {", *indented(loop("c", "n", [
                f"{self.state_name[r.name]}[c] = {self.ports.initial(r)};" for r in self.registers])), "}"]
        for name, leaf in self.state_leaves.items():
            known[leaf] = self.old_name[name]
            body.append(f"const {values.type(leaf.kind)} {known[leaf]} = {self.state_name[name]}[c];")
        for v in self.input_leaves:
            port = self.ports.inputs[v.attribute[0]]
            known[v] = self.leaf_name[v]
            place = f"{self._pointer_name(port, 'input')}[{'c' if port.lane else 0}]"
            (body if port.lane else inner).append(
                f"const {values.type(v.kind)} {known[v]} = {self.ports.loaded(port, v.kind, place)};")
        statements, text = self._body(known, lambda v: f"{self.fixed_name[v]}[c]")
        body += statements
        body += [f"{self.output_name[o]}[c] = {self.ports.stored(o)(text[o.value])};" for o in self.outputs]
        body += self._assigned(text, "{}[c]")
        body += [f"failing |= !{text[check]};" for check in self.checks]
        inner += self._fetched()
        inner += ["int32_t failing = 0;"] * bool(self.checks)
        inner += [f"#pragma omp simd{' reduction(|:failing)' * bool(self.checks)}", *loop("c", "n", body)]
        if self.checks:
            inner += ["if (failing) {", f"    {self._failure('row', 't')}", "    break;", "}"]
        for o in self.outputs:
            p = self.ports.outputs[o.name]
            to = self._pointer_name(p, "output")
            if p.lane:
                values.use("put")
                inner.append(f"if ({to}) put((char *){to}, (const char *){self.output_name[o]}, "
                             f"(size_t)n * sizeof *{to}, {self.a('streaming')} > 1);")
            else:
                inner.append(f"if ({to} && lane == 0) *{to} = {self.output_name[o]}[0];")
        inner += [f"{n} += {self._step_name[n]};" for n in self._moving()]
        lines += ["for (int64_t t = 0; t < tokens; t++) {", *indented(inner), "}"]
        lines += loop("c", "n", [self._after(r, "row", "(lane + c)", f"{self.state_name[r.name]}[c]")
                                  for r in self.registers])
        head = f"enum {{ {self.name}_block = {block} }};\n\n"
        return head + function_text(
            f"static void {self.name}_lanes(const struct {self.name}_args *a, int64_t row, int64_t lane, int64_t n)",
            lines, "Some neighbouring lanes of one row, from the first token to the last.")

    def _fetched(self) -> list[str]:
        """Inputs too large for the caches are asked for early: the processor does not look past a page by itself."""
        read = dict.fromkeys(v.attribute[0] for v in self.input_leaves if self.ports.inputs[v.attribute[0]].lane)
        lines = []
        for name in read:
            port = self.ports.inputs[name]
            pointer, size = self._pointer_name(port, "input"), edge_dtype(port, self.options).itemsize
            self.values.use("fetch")
            lines.append(f"if (t < tokens - 1 - {_AHEAD} / (n * {size})) "
                         f"fetch({pointer} + (1 + {_AHEAD} / (n * {size})) * {self._step_name[pointer]}, n * {size});")
        return [f"if ({self.a('streaming')}) {{", *indented(lines), "}"] if lines else []

    # Many streams in slots.

    def _slots(self) -> str:
        values = self.values
        width = 8 if values.carry == "double" or any(v.kind == "int64" for v in self.roots) else 4
        columns = len(self.input_leaves) + len(self.outputs) + self.options.resets
        tile = _TILE
        while tile > 4 and tile * SLOTS * width * columns > _TILE_BYTES:
            tile //= 2
        struct = [f"{self.ports.wide_memory(self.ports.inputs[v.attribute[0]])} {self.leaf_name[v]}[{tile}][{SLOTS}];"
                  for v in self.input_leaves]
        struct += [f"{self.ports.wide_memory(self.ports.outputs[o.name])} {self.output_name[o]}[{tile}][{SLOTS}];"
                   for o in self.outputs]
        struct += [f"int32_t reset[{tile}][{SLOTS}];"] * self.options.resets
        struct += [f"{values.type(r.kind)} {self.state_name[r.name]}[{SLOTS}];" for r in self.registers]
        struct += [f"{values.carry} {self.leaf_name[v]}[{SLOTS}];" for v in self.param_leaves]
        struct += [f"{values.type(v.kind)} {self.fixed_name[v]}[{SLOTS}];" for v in self.fixed]
        struct += [f"int32_t failing[{SLOTS}];"] * bool(self.checks)
        struct += [f"int64_t row[{SLOTS}], lane[{SLOTS}], at[{SLOTS}], left[{SLOTS}];"]
        for what, ports in (("input", self.ports.inputs), ("output", self.ports.outputs)):
            const = "const " if what == "input" else ""
            struct += [f"{const}{self.ports.memory(p)} *{self._pointer_name(p, what)}[{SLOTS}];"
                       for p in ports.values()]
        struct += [f"const uint8_t *reset_at[{SLOTS}];"] * self.options.resets
        text = [f"enum {{ {self.name}_tile = {tile} }};", "",
                f"/* Streams that run at once: tiles of their tokens, a column for each, and what belongs to each. */\n"
                f"struct {self.name}_slots {{\n" + "\n".join(indented(struct)) + "\n};", "",
                self._tile_function(), "", self._take(), "", self._slots_run()]
        return "\n".join(text)

    def _tile_function(self) -> str:
        """The tokens of a tile, all columns."""
        values = self.values
        known: dict[Value, str] = {}
        lines = []
        for r in self.registers:
            n = self.state_name[r.name]
            lines += [f"{values.type(r.kind)} {n}[{SLOTS}];", f"memcpy({n}, k->{n}, sizeof {n});"]
        body = ["const int32_t reset = k->reset[t][c];"] * self.options.resets
        for name, leaf in self.state_leaves.items():
            n = self.state_name[name]
            r = next(r for r in self.registers if r.name == name)
            old = f"reset ? {self.ports.initial(r)} : {n}[c]" if self.options.resets else f"{n}[c]"
            known[leaf] = self.old_name[name]
            body.append(f"const {values.type(leaf.kind)} {known[leaf]} = {old};")
        for v in self.input_leaves:
            known[v] = self.leaf_name[v]
            got = self.ports.loaded(self.ports.inputs[v.attribute[0]], v.kind, f"k->{known[v]}[t][c]")
            body.append(f"const {values.type(v.kind)} {known[v]} = {got};")
        for v in self.param_leaves:
            known[v] = f"k->{self.leaf_name[v]}[c]"
        statements, text = self._body(known, lambda v: f"k->{self.fixed_name[v]}[c]")
        body += statements
        body += [f"k->{self.output_name[o]}[t][c] = {self.ports.stored(o)(text[o.value])};" for o in self.outputs]
        body += self._assigned(text, "{}[c]")
        if self.checks:
            holds = " & ".join(text[check] for check in self.checks)
            body += [f"const int32_t holds = {holds};",
                     f"k->failing[c] = holds | (k->failing[c] < {self.name}_tile) ? k->failing[c] : t;"]
        columns = ["#pragma omp simd", *loop("c", str(SLOTS), body, "int")]
        lines += ["for (int t = 0; t < n; t++) {", *indented(columns), "}"]
        lines += [f"memcpy(k->{n}, {n}, sizeof {n});" for n in self.state_name.values()]
        return function_text(f"static void {self.name}_run_tile(struct {self.name}_slots *restrict k, int n)", lines,
                         "Runs n tokens of all slots.")

    def _take(self) -> str:
        """A slot takes a stream."""
        known: dict[Value, str] = {}
        lines = [*self._row_head("row"), *self._port_pointers("row", "lane")]
        for v in self.param_leaves:
            known[v] = f"k->{self.leaf_name[v]}[s]"
            lines.append(f"{known[v]} = {self._param(v, 'lane')};")
        statements, text = self._fixed(known)
        lines += statements + [f"k->{self.fixed_name[v]}[s] = {text[v]};" for v in self.fixed]
        lines += [f"k->{self.state_name[r.name]}[s] = {self._before(r, 'row', 'lane')};" for r in self.registers]
        lines += [f"k->{n}[s] = {n};" for n in self._moving()]
        lines += [f"(void){self._step_name[n]};" for n in self._moving()]
        lines += ["k->row[s] = row, k->lane[s] = lane, k->at[s] = 0, k->left[s] = tokens;"]
        return function_text(
            f"static void {self.name}_take(const struct {self.name}_args *a, struct {self.name}_slots *k, int s, "
            "int64_t row, int64_t lane)", lines, "Slot s takes a stream.")

    def _slots_run(self) -> str:
        a, name = self.a, self.name
        leave = [self._after(r, "k.row[s]", "k.lane[s]", f"k.{self.state_name[r.name]}[s]") for r in self.registers]
        lines = [
            f"struct {name}_slots k;",
            "memset(&k, 0, sizeof k);",
            f"const int64_t lanes = {a('end_lane')} - {a('first_lane')};",
            f"const int64_t streams = ({a('end_row')} - {a('first_row')}) * lanes;",
            "int64_t taken = 0;",
            "for (;;) {",
            f"    int64_t n = {name}_tile;",
            "    int live = 0;",
            f"    for (int s = 0; s < {SLOTS}; s++) {{",
            "        while (k.left[s] == 0 && taken < streams) {",
            f"            {name}_take(a, &k, s, {a('first_row')} + taken / lanes, {a('first_lane')} + taken % lanes);",
            "            taken++;",
            "            if (k.left[s] == 0) {",
            *indented(leave, 4),
            "            }",
            "        }",
            "        if (k.left[s] > 0) {",
            "            live = 1;",
            "            n = k.left[s] < n ? k.left[s] : n;",
            "        }",
            "    }",
            "    if (!live) return;"]
        load, store = [], []
        backwards = f"({a('reverse')} ? -1 : 1)"
        for what, ports in (("input", self.ports.inputs), ("output", self.ports.outputs)):
            for p in ports.values():
                pointer = self._pointer_name(p, what)
                move = [f"const int64_t step = {backwards} * {a(f'{what}_token', p.name)};",
                        f"{'const ' if what == 'input' else ''}{self.ports.memory(p)} *p = k.{pointer}[s];"]
                if what == "input":
                    for v in self.input_leaves:
                        if v.attribute[0] == p.name:
                            move += loop("t", "n", [f"k.{self.leaf_name[v]}[t][s] = p[t * step + {v.attribute[1]}];"])
                    load += ["{", *indented([*move, f"k.{pointer}[s] += n * step;"]), "}"]
                else:
                    own = " && k.lane[s] == 0" if self.wide and not p.lane else ""
                    for o in self.outputs:
                        if o.name == p.name:
                            move += loop("t", "n", [
                                f"p[t * step + {o.element}] = ({self.ports.memory(p)})k.{self.output_name[o]}[t][s];"])
                    store += [f"if (k.{pointer}[s]{own}) {{",
                              *indented([*move, f"k.{pointer}[s] += n * step;"]), "}"]
        if self.options.resets:
            load += ["if (k.reset_at[s]) {", *indented([
                f"const int64_t step = {backwards} * {a('resets_token')};", *loop("t", "n", [
                    "k.reset[t][s] = k.reset_at[s][t * step];"]), "k.reset_at[s] += n * step;"]), "}"]
        load += [f"k.failing[s] = {name}_tile;"] * bool(self.checks)
        if self.checks:
            store += [f"if (k.failing[s] < {name}_tile) {{",
                      "    const int64_t at = k.at[s] + k.failing[s];", f"    {self._failure('k.row[s]', 'at')}", "}"]
        store += ["k.at[s] += n;", "k.left[s] -= n;", "if (k.left[s] == 0) {", *indented(leave), "}"]
        for moved in (load, store):
            guarded = ["if (k.left[s] == 0) continue;", *moved]
            lines += indented(loop("s", str(SLOTS), guarded, "int"))
            if moved is load:
                lines.append(f"    {name}_run_tile(&k, (int)n);")
        lines.append("}")
        return function_text(f"static void {name}_in_slots(const struct {name}_args *a)", lines,
                         f"All streams, {SLOTS} at a time.")

    # What a launch calls.

    def _entry(self) -> str:
        a, name = self.a, self.name
        lines = [f"const int64_t lanes = {a('end_lane')} - {a('first_lane')};"]
        if self.wide:
            lines += [f"if (lanes < {FEW_LANES} && lanes * ({a('end_row')} - {a('first_row')}) >= {FEW_STREAMS}) {{",
                      f"    {name}_in_slots(a);", "    return;", "}",
                      f"for (int64_t row = {a('first_row')}; row < {a('end_row')}; row++)",
                      f"    for (int64_t lane = {a('first_lane')}; lane < {a('end_lane')}; lane += {name}_block) {{",
                      f"        const int64_t left = {a('end_lane')} - lane;",
                      f"        {name}_lanes(a, row, lane, left < {name}_block ? left : {name}_block);", "    }"]
        else:
            slots = [f"if ({a('end_row')} - {a('first_row')} >= {FEW_STREAMS}) {{", f"    {name}_in_slots(a);",
                     "    return;", "}"]
            lines = [*([] if self.alone else slots),
                     f"for (int64_t row = {a('first_row')}; row < {a('end_row')}; row++)",
                     f"    {name}_one(a, row, 0);"]
        return function_text(f"void {name}_sequential(const struct {name}_args *a)", lines,
                         "Rows first_row to end_row and lanes first_lane to end_lane, ends excluded.")


def _element_name(v: Value) -> str:
    name, element = v.attribute
    return f"{name}_{element}" if element else str(name)


def loop(variable: str, end: str, body: list[str], kind: str = "int64_t") -> list[str]:
    """A loop from 0; nothing if it does nothing."""
    if not body:
        return []
    return [f"for ({kind} {variable} = 0; {variable} < {end}; {variable}++) {{", *indented(body), "}"]


def indented(lines: list[str], by: int = 1) -> list[str]:
    return [line if line.startswith("#") else "    " * by + line for line in lines]


def function_text(head: str, lines: list[str], comment: str) -> str:
    """A function with a comment above it."""
    return "\n".join([f"/* {comment} */", head, "{", *indented(lines), "}"])
