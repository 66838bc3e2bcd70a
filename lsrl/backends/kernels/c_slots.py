"""Many streams in slots: the loops in C whose rows or lanes run side by side, whatever their strides and lengths are.

The tokens of several rows are brought into small tiles, a column for each, so that the inner loop over columns
vectorises; a slot whose row has ended takes the next row.
"""

from __future__ import annotations

from lsrl.backends.kernels.c_streams import Streams, function_text, indented, loop
from lsrl.backends.kernels.code import Value

__all__ = ["Slots"]

_SLOTS = 8  # rows that run at once
_TILE = 64  # tokens of a tile
_TILE_BYTES = 1 << 17  # of all tiles of a kernel


class Slots(Streams):
    """Writes the functions that run streams in slots."""

    def _slots(self) -> str:
        values = self.values
        width = 8 if values.carry == "double" or any(v.kind == "int64" for v in self.roots) else 4
        columns = len(self.input_leaves) + len(self.outputs) + self.options.resets
        tile = _TILE
        while tile > 4 and tile * _SLOTS * width * columns > _TILE_BYTES:
            tile //= 2
        struct = [f"{self.ports.wide_memory(self.ports.inputs[v.attribute[0]])} {self.leaf_name[v]}[{tile}][{_SLOTS}];"
                  for v in self.input_leaves]
        struct += [f"{self.ports.wide_memory(self.ports.outputs[o.name])} {self.output_name[o]}[{tile}][{_SLOTS}];"
                   for o in self.outputs]
        struct += [f"int32_t reset[{tile}][{_SLOTS}];"] * self.options.resets
        struct += [f"{values.type(r.kind)} {self.state_name[r.name]}[{_SLOTS}];" for r in self.registers]
        struct += [f"{values.carry} {self.leaf_name[v]}[{_SLOTS}];" for v in self.param_leaves]
        struct += [f"{values.type(v.kind)} {self.fixed_name[v]}[{_SLOTS}];" for v in self.fixed]
        struct += [f"int32_t failing[{_SLOTS}];"] * bool(self.checks)
        struct += [f"int64_t row[{_SLOTS}], lane[{_SLOTS}], at[{_SLOTS}], left[{_SLOTS}];"]
        for what, ports in (("input", self.ports.inputs), ("output", self.ports.outputs)):
            const = "const " if what == "input" else ""
            struct += [f"{const}{self.ports.memory(p)} *{self._pointer_name(p, what)}[{_SLOTS}];"
                       for p in ports.values()]
        struct += [f"const uint8_t *reset_at[{_SLOTS}];"] * self.options.resets
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
            lines += [f"{values.type(r.kind)} {n}[{_SLOTS}];", f"memcpy({n}, k->{n}, sizeof {n});"]
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
        columns = ["#pragma omp simd", *loop("c", str(_SLOTS), body, "int")]
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
            f"    for (int s = 0; s < {_SLOTS}; s++) {{",
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
                            move += loop("t", "n", [
                                f"k.{self.leaf_name[v]}[t][s] = p[t * step + {self._element(p, v.attribute[1])}];"])
                    load += ["{", *indented([*move, f"k.{pointer}[s] += n * step;"]), "}"]
                else:
                    own = " && k.lane[s] == 0" if self.wide and not p.lane else ""
                    for o in self.outputs:
                        if o.name == p.name:
                            move += loop("t", "n", [
                                f"p[t * step + {self._element(p, o.element)}] = "
                                f"({self.ports.memory(p)})k.{self.output_name[o]}[t][s];"])
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
            lines += indented(loop("s", str(_SLOTS), guarded, "int"))
            if moved is load:
                lines.append(f"    {name}_run_tile(&k, (int)n);")
        lines.append("}")
        return function_text(f"static void {name}_in_slots(const struct {name}_args *a)", lines,
                         f"All streams, {_SLOTS} at a time.")
