"""The loops in C of programs whose lanes meet in matrices: several rows at once, so that a matrix is read once for all.

A token is done in phases: the vectors that do not wait for a product, for all rows and lanes; their products; what
these allow; and so on, to the states and outputs. A function of a function (the tanh of a state that is made of gates)
has a phase of its own, since a processor fills the time that one waits for the other with no more than a few hundred
operations. A product keeps tiles of rows and lanes in vector registers.
"""

from __future__ import annotations

from lsrl.backends.kernels.c_sequential import Loops
from lsrl.backends.kernels.c_streams import function_text, indented, loop
from lsrl.backends.kernels.code import FLOAT_FUNCTIONS, Value, schedule
from lsrl.backends.kernels.text import leaves

__all__ = ["ROWS", "DenseLoops"]

ROWS = 8  # that run at once
PAD = 16  # rows of matrices are filled up with zeros to a multiple of so many elements
_AHEAD = 8  # tokens
_ROWS_AHEAD = 8  # rows of a matrix between those that are taken and those that are asked for
_TILES = ((8, 2), (8, 1), (4, 2), (4, 1), (2, 4), (2, 1), (1, 8), (1, 1))  # rows and vectors of a tile of a product
_MOST_ROWS = 4  # of a tile where there are only 16 vector registers
_VECTORS = """#if defined(__AVX512F__)
#define {name}_BYTES 64
#elif defined(__AVX__)
#define {name}_BYTES 32
#else
#define {name}_BYTES 16
#endif
typedef {carry} {name}_vector __attribute__((vector_size({name}_BYTES), aligned({size}), may_alias));
enum {{ {name}_width = {width}, {name}_pitch = {pitch}, {name}_rows = {rows},
       {name}_long = {name}_BYTES / (int)sizeof({carry}) }};"""


class DenseLoops(Loops):
    """Writes the functions of the sequential shape."""

    def _prepare(self) -> None:
        lanes = self.parts.lanes
        step = self.parts.step
        self.mixes = dict(zip(lanes.mixes, step.mixed, strict=True))
        self.blocks = {p.name: p.dims for p in lanes.params if p.name in lanes.matrices}
        self.width = lanes.width
        n = self.blocks[lanes.mixes[0].matrix][1]
        self.pitch = self.width if n % PAD == 0 else -(-(self.width + PAD) // PAD) * PAD
        self.mix_leaves = {v.attribute[0]: v for v in leaves(self.all_roots, "input")
                           if v.attribute[0] in {m.name for m in lanes.products}}
        self.projections = [m for m in lanes.projections if m.name in self.mix_leaves]
        self.vectors = {m.source: self.blocks[m.matrix][2] for m in self.projections}
        self.phases, self.kept = self._phased()
        names = self._names
        self.mix_name = {m.name: names.fresh(f"product {i}") for i, m in enumerate((*self.mixes, *self.projections))}
        self.vector_name = {name: names.fresh(f"{name} vector") for name in self.vectors}
        self.kept_name = {v: names.fresh(self.called.get(v, "kept")) for v in self.kept}

    @property
    def all_roots(self) -> list[Value]:
        return [*self.roots, *self.parts.step.mixed]

    def _phased(self) -> tuple[list[list[Value]], list[Value]]:
        """What is calculated in each phase but the last, and the values that are kept for products or later phases."""
        source = {m.name: v for m, v in self.mixes.items()}
        fixed = set(self.fixed)
        level: dict[Value, int] = {}
        slow: set[Value] = set()  # what waits for a function of the same phase
        phases: list[dict[Value, None]] = [{}]
        for v in _with_sources(self.all_roots, source):
            own = 1 + level[source[v.attribute[0]]] if v.op == "input" and v.attribute[0] in source else 0
            level[v] = max([own, *(level[a] for a in v.args)])
            waits = [a for a in v.args if a in slow and level[a] == level[v]]
            if v.op in FLOAT_FUNCTIONS and waits:
                phases[level[v]].update(dict.fromkeys(waits))
                level[v] += 1
            if v not in fixed and (waits or v.op in FLOAT_FUNCTIONS):
                slow.add(v)
            phases += [{} for _ in range(len(phases), level[v] + 1)]
        self.level_of = {m.name: level[v] for m, v in self.mixes.items()}
        for v in self.mixes.values():
            if v.op != "state":
                phases[level[v]][v] = None
        kept = dict.fromkeys(v for phase in phases for v in phase)
        done: set[Value] = set()
        for roots in [*phases, self.roots]:
            mine: set[Value] = set()
            stack = list(roots)
            while stack:
                v = stack.pop()
                if v in mine or v in fixed or not v.args:
                    continue
                if v in done:
                    kept[v] = None
                    continue
                mine.add(v)
                stack.extend(v.args)
            done |= mine
        return [list(phase) for phase in phases], list(kept)

    def text(self) -> list[str]:
        """The functions; the last one is what a launch calls."""
        self._prepare()
        carry = self.values.carry
        head = _VECTORS.format(name=self.name, carry=carry, size=8 if carry == "double" else 4, width=self.width,
                               pitch=self.pitch, rows=ROWS)
        return [head, self._scratch(), self._product(), self._take_row(), self._token(), self._enter()]

    @property
    def scratch_bytes(self) -> int:
        """What a launch needs besides, for each thread."""
        arrays = len(self.registers) + len(self.mix_name) + len(self.kept)
        vectors = sum(-(-n // PAD) * PAD for n in self.vectors.values())
        return ((arrays * self.pitch + vectors) * ROWS + (len(self.fixed) + len(self.outputs)) * self.pitch) * 8 \
            + 64 * 8 * (4 + len(self._moving())) + 4096

    def _scratch(self) -> str:
        values = self.values
        rows = f"[{self.name}_rows][{self.name}_pitch]"
        lines = [f"{values.type(r.kind)} {self.state_name[r.name]}{rows};" for r in self.registers]
        lines += [f"{values.carry} {n}{rows};" for n in self.mix_name.values()]
        lines += [f"{values.carry} {n}[{self.name}_rows][{-(-self.vectors[p] // PAD) * PAD}];"
                  for p, n in self.vector_name.items()]
        lines += [f"{values.type(v.kind)} {n}{rows};" for v, n in self.kept_name.items()]
        lines += [f"{values.type(v.kind)} {self.fixed_name[v]}[{self.name}_pitch];" for v in self.fixed]
        lines += [f"{self.ports.memory(self.ports.outputs[o.name])} {self.output_name[o]}[{self.name}_pitch];"
                  for o in self.outputs]
        lines.append(f"int64_t row[{self.name}_rows], left[{self.name}_rows];")
        for what, ports in (("input", self.ports.inputs), ("output", self.ports.outputs)):
            const = "const " if what == "input" else ""
            lines += [f"{const}{self.ports.memory(p)} *{self._pointer_name(p, what)}[{self.name}_rows];"
                      for p in ports.values()]
        lines += [f"const uint8_t *reset_at[{self.name}_rows];"] * self.options.resets
        return "/* What is kept for the rows that run at once. */\n" \
            f"struct {self.name}_scratch {{\n" + "\n".join(indented(lines)) + "\n};"

    # Products.

    def _product(self) -> str:
        name, carry = self.name, self.values.carry
        vector = f"{name}_vector"
        self.values.use("fetch")
        texts = []
        for rows, vectors in _TILES:
            sums = [[f"s{r}_{k}" for k in range(vectors)] for r in range(rows)]
            body = [f"{vector} {', '.join(f'{x} = {{0}}' for x in own)};" for own in sums]
            inner = [f"const {vector} m{k} = *(const {vector} *)(m + {k} * {name}_long);" for k in range(vectors)]
            inner.append(f"fetch(m + {_ROWS_AHEAD} * pitch, {vectors} * {name}_BYTES);")
            for r in range(rows):
                inner.append(f"const {carry} x{r} = v[{r} * apart + j];")
                inner += [f"s{r}_{k} += x{r} * m{k};" for k in range(vectors)]
            inner.append("m += pitch;")
            body += ["for (int j = 0; j < n; j++) {", *indented(inner), "}"]
            body += [f"*({vector} *)(out + {r} * {name}_pitch + {k} * {name}_long) = s{r}_{k};"
                     for r in range(rows) for k in range(vectors)]
            texts.append(_where_wide(rows, function_text(
                f"static void {name}_tile_{rows}_{vectors}(const {carry} *restrict m, "
                f"const {carry} *restrict v, {carry} *restrict out, int n, int pitch, int apart)", body,
                f"{rows} rows, {vectors} vectors of the product.")))
        lines = ["int s = 0;"]
        for rows in dict.fromkeys(r for r, _ in _TILES):
            step = [f"for (; c + {k} * {name}_long <= pitch; c += {k} * {name}_long)\n"
                    f"    {name}_tile_{rows}_{k}(m + c, v + s * apart, out + s * {name}_pitch + c, n, pitch, apart);"
                    for r, k in _TILES if r == rows]
            lines += _where_wide(rows, "\n".join([
                f"for (; s + {rows} <= rows; s += {rows}) {{", "    int c = 0;",
                *indented([x for part in step for x in part.split("\n")]), "}"])).split("\n")
        texts.append(function_text(
            f"static void {name}_product(const {carry} *restrict m, const {carry} *restrict v, "
            f"{carry} *restrict out, int rows, int n, int pitch, int apart)", lines,
            "out = v m for some rows, v's `apart` elements apart; m has n rows of `pitch` elements."))
        return "\n\n".join(texts)

    def _products(self, phase: int) -> list[str]:
        lines = []
        for m, v in self.mixes.items():
            if self.level_of[m.name] != phase:
                continue
            count, n, _ = self.blocks[m.matrix]
            pitch = -(-n // PAD) * PAD
            source = f"k->{self.state_name[v.attribute[0]] if v.op == 'state' else self.kept_name[v]}[0]"
            target, matrix = f"k->{self.mix_name[m.name]}[0]", self.a("mix", m.name)
            if count == 1:
                lines.append(f"{self.name}_product({matrix}, {source}, {target}, rows, {n}, {pitch}, "
                             f"{self.name}_pitch);")
            else:
                lines += [f"for (int b = 0; b < {count}; b++)",
                          f"    {self.name}_product({matrix} + b * {n * pitch}, {source} + b * {n}, "
                          f"{target} + b * {n}, rows, {n}, {pitch}, {self.name}_pitch);"]
        return lines

    def _projected(self) -> list[str]:
        """Inputs as vectors of the kernel's numbers, and their products."""
        lines: list[str] = []
        for name, vector in self.vector_name.items():
            port = self.ports.inputs[name]
            pointer = self._pointer_name(port, "input")
            own = self.ports.loaded(port, "float", f"{pointer}[c]")
            lines += loop("s", "rows", [
                f"const {self.ports.memory(port)} *restrict {pointer} = k->{pointer}[s];", "#pragma omp simd",
                *loop("c", str(self.vectors[name]), [f"k->{vector}[s][c] = {own};"], "int")], "int")
        for m in self.projections:
            n = self.vectors[m.source]
            lines.append(f"{self.name}_product({self.a('mix', m.name)}, k->{self.vector_name[m.source]}[0], "
                         f"k->{self.mix_name[m.name]}[0], rows, {n}, {-(-self.width // PAD) * PAD}, "
                         f"{-(-n // PAD) * PAD});")
        return lines

    # Rows.

    def _take_row(self) -> str:
        lines = [*self._row_head("row"), *self._port_pointers("row", "0")]
        lines += [f"k->{n}[s] = {n};" for n in self._moving()]
        lines += [f"(void){self._step_name[n]};" for n in self._moving()]
        lines += ["k->row[s] = row, k->left[s] = tokens;"]
        lines += loop("c", f"{self.name}_width", [
            f"k->{self.state_name[r.name]}[s][c] = {self._before(r, 'row', 'c')};" for r in self.registers])
        return function_text(
            f"static void {self.name}_take(const struct {self.name}_args *a, struct {self.name}_scratch *k, int s, "
            "int64_t row)", lines, "A place takes a row.")

    def _token(self) -> str:
        name = self.name
        lines: list[str] = []
        if self.options.resets:
            lines += loop("s", "rows", ["if (k->reset_at[s] && *k->reset_at[s])", *indented(loop(
                "c", f"{name}_width", [f"k->{self.state_name[r.name]}[s][c] = {self.ports.initial(r)};"
                                       for r in self.registers]))], "int")
        done: dict[Value, None] = {}
        lines += self._projected()
        for i, phase in enumerate(self.phases):
            if phase:
                lines += self._phase(phase, done, [f"{self.kept_name[v]}[c] = {{}};" for v in phase])
            lines += self._products(i)
        last: list[str] = []
        for o in self.outputs:
            p = self.ports.outputs[o.name]
            if not p.lane:
                last.append(f"if (k->{self._pointer_name(p, 'output')}[s]) *k->{self._pointer_name(p, 'output')}[s] = "
                            f"k->{self.output_name[o]}[0];")
            else:
                last.append(f"if (k->{self._pointer_name(p, 'output')}[s]) memcpy(k->{self._pointer_name(p, 'output')}"
                            f"[s], k->{self.output_name[o]}, {name}_width * sizeof *k->{self.output_name[o]});")
        last += [f"if (k->{n}[s]) k->{n}[s] += {n}_by;" for n in self._moving()]
        last += self._asked_for()
        lines += self._phase(self.roots, done, None, last)
        backwards = f"({self.a('reverse')} ? -1 : 1)"
        steps = [f"const int64_t {n}_by = {backwards} * {self.a(*what)};" for n, what in self._strides()]
        fixed = self._fixed_once()
        return fixed + "\n\n" + function_text(
            f"static void {name}_token(const struct {name}_args *a, struct {name}_scratch *k, int rows, int ahead)",
            ["(void)ahead;", *steps, *lines], "One token of the rows that run. ahead: whether there are many more.")

    def _asked_for(self) -> list[str]:
        """Inputs are asked for early: of so many streams the processor itself follows few."""
        lines = []
        for p in self.ports.inputs.values():
            if p.lane or p.name in self.vectors:
                self.values.use("fetch")
                pointer = self._pointer_name(p, "input")
                lines.append(f"fetch(k->{pointer}[s] + {_AHEAD} * {pointer}_by, "
                             f"{self.vectors.get(p.name, self.width)} * sizeof *k->{pointer}[s]);")
        return ["if (ahead) {", *indented(lines), "}"] if lines else []

    def _strides(self) -> list[tuple[str, tuple[str, str]]]:
        out = [(self._pointer_name(p, what), (f"{what}_token", p.name))
               for what, ports in (("input", self.ports.inputs), ("output", self.ports.outputs))
               for p in ports.values()]
        return out + ([("reset_at", ("resets_token", ""))] if self.options.resets else [])

    def _phase(self, roots: list[Value], done: dict[Value, None], store: list[str] | None,
               after: list[str] | None = None) -> list[str]:
        """Some values for all rows and lanes. store: what to do with them; None for the last phase."""
        values = self.values
        known: dict[Value, str] = {}
        head: list[str] = []
        body: list[str] = []
        stop = {v: f"{self.kept_name[v]}[c]" for v in self.kept if v in done}
        needed = set(schedule(roots, set(stop) | set(self.fixed)))
        for name, leaf in self.state_leaves.items():
            if leaf in needed or store is None:
                own = self.state_name[name]
                head.append(f"{values.type(leaf.kind)} *restrict {own} = k->{own}[s];")
                if leaf in needed:
                    known[leaf] = self.old_name[name]
                    body.append(f"const {values.type(leaf.kind)} {known[leaf]} = {own}[c];")
        if store is None:
            head += [f"{values.type(r.kind)} *restrict {self.state_name[r.name]} = k->{self.state_name[r.name]}[s];"
                     for r in self.registers if r.name not in self.state_leaves]
        for v in self.input_leaves:
            if v in needed:
                port = self.ports.inputs[v.attribute[0]]
                known[v] = self.leaf_name[v]
                pointer = self._pointer_name(port, "input")
                if port.lane:
                    head.append(f"const {self.ports.memory(port)} *restrict {pointer} = k->{pointer}[s];")
                    body.append(f"const {values.type(v.kind)} {known[v]} = "
                                f"{self.ports.loaded(port, v.kind, f'{pointer}[c]')};")
                else:
                    head.append(f"const {values.type(v.kind)} {known[v]} = "
                                f"{self.ports.loaded(port, v.kind, f'k->{pointer}[s][{v.attribute[1]}]')};")
        for name, v in self.mix_leaves.items():
            if v in needed:
                own = self.mix_name[name]
                head.append(f"const {values.carry} *restrict {own} = k->{own}[s];")
                known[v] = f"{own}[c]"
        for v in self.param_leaves:
            if v in needed:
                port = self.ports.params[v.attribute[0]]
                known[v] = f"{self.leaf_name[v]}[c]" if port.lane else self.leaf_name[v]
                head.append(f"const {values.carry} {'*restrict ' * port.lane}{self.leaf_name[v]} = "
                            f"{self.a('param', port.name) if port.lane else self._param(v, 'c')};")
        for v in (*(v for v in self.kept if v in done and v in needed), *(roots if store is not None else ())):
            const = "const " if v in done else ""
            head.append(f"{const}{values.type(v.kind)} *restrict {self.kept_name[v]} = k->{self.kept_name[v]}[s];")
        also = [v for v in self.kept if v in needed and v not in done and v not in roots]
        head += [f"{values.type(v.kind)} *restrict {self.kept_name[v]} = k->{self.kept_name[v]}[s];" for v in also]
        known.update({v: t for v, t in stop.items() if v in needed})
        known.update({v: f"k->{self.fixed_name[v]}[c]" for v in self.fixed})
        statements, text = values.statements([*roots, *also], known, self.called, self._locals())
        body += statements
        body += [f"{self.kept_name[v]}[c] = {text[v]};" for v in also]
        if store is not None:
            body += [line.format(text[v]) for v, line in zip(roots, store, strict=True)]
        else:
            body += [f"k->{self.output_name[o]}[c] = {self.ports.stored(o)(text[o.value])};" for o in self.outputs]
            body += self._assigned(text, "{}[c]")
        done.update(dict.fromkeys([*also, *(roots if store is not None else ())]))
        inner = [*head, "#pragma omp simd", *loop("c", f"{self.name}_width", body, "int"), *(after or [])]
        return loop("s", "rows", inner, "int")

    def _fixed_once(self) -> str:
        known = {v: self._param(v, "c") for v in self.param_leaves}
        statements, text = self._fixed(known)
        body = loop("c", f"{self.name}_width", [*statements, *(
            f"k->{self.fixed_name[v]}[c] = {text[v]};" for v in self.fixed)], "int")
        return function_text(
            f"static void {self.name}_fixed(const struct {self.name}_args *a, struct {self.name}_scratch *k)",
            [*body, "(void)a, (void)k;"], "What no token changes.")

    def _enter(self) -> str:
        a, name = self.a, self.name
        ended = loop("c", f"{name}_width", [self._after(r, "k->row[s]", "c", f"k->{self.state_name[r.name]}[s][c]")
                                           for r in self.registers], "int")
        moved = [f"memcpy(k->{n}[s], k->{n}[rows], sizeof k->{n}[s]);" for n in self.state_name.values()]
        moved += [f"k->{n}[s] = k->{n}[rows];" for n in (*self._moving(), "row", "left")]
        lines = [
            f"struct {name}_scratch *k = (struct {name}_scratch *){a('scratch')};",
            f"int64_t next = {a('first_row')};",
            "int rows = 0;",
            f"{name}_fixed(a, k);",
            "for (;;) {",
            f"    while (rows < {name}_rows && next < {a('end_row')}) {name}_take(a, k, rows++, next++);",
            "    if (!rows) return;",
            "    int64_t n = k->left[0];",
            "    for (int s = 1; s < rows; s++) n = k->left[s] < n ? k->left[s] : n;",
            f"    for (int64_t t = 0; t < n; t++) {name}_token(a, k, rows, t + {_AHEAD} < n);",
            "    for (int s = rows - 1; s >= 0; s--) {",
            "        k->left[s] -= n;",
            "        if (k->left[s]) continue;",
            *indented(ended, 2),
            "        rows--;",
            "        if (s == rows) continue;",
            *indented(moved, 2),
            "    }",
            "}"]
        return function_text(f"void {name}_sequential(const struct {name}_args *a)", lines,
                             "Rows first_row to end_row, the end excluded; a row that has ended gives its place to the "
                             "next.")


def _where_wide(rows: int, text: str) -> str:
    """Text for processors with enough vector registers."""
    return text if rows <= _MOST_ROWS else f"#if defined(__AVX512F__)\n{text}\n#endif"


def _with_sources(roots: list[Value], source: dict[str, Value]) -> list[Value]:
    """The values that roots need, the vector of a product before the product."""
    order: list[Value] = []
    done: set[Value] = set()
    stack = [(v, False) for v in reversed(roots)]
    while stack:
        v, ready = stack.pop()
        if v in done:
            continue
        if ready:
            done.add(v)
            order.append(v)
            continue
        stack.append((v, True))
        stack += [(x, False) for x in reversed(v.args)]
        if v.op == "input" and v.attribute[0] in source:
            stack.append((source[v.attribute[0]], False))
    return order
