"""The loops of the sequential shape in C: one stream at a time, neighbouring lanes, or many streams in slots.

One stream: states are local variables. Lanes: a block of neighbouring lanes of one row, whose inner loop over lanes the
compiler vectorises. Slots: see c_slots.py; lanes that hold vectors: c_columns.py.
"""

from __future__ import annotations

from lsrl.backends.kernels.c_columns import ColumnLoops
from lsrl.backends.kernels.c_slots import Slots
from lsrl.backends.kernels.c_streams import function_text, indented, loop
from lsrl.backends.kernels.call import edge_dtype
from lsrl.backends.kernels.code import Value

__all__ = ["Loops"]

_FEW_STREAMS = 4  # fewer are run one by one
_FEW_LANES = 16  # fewer are run in slots, as rows are
_BLOCK_BYTES = 1 << 14  # of a block's local arrays
_MOST_LANES = 1024  # of a block
_AHEAD = 1024  # bytes between what is read and what is asked for


class Loops(ColumnLoops, Slots):
    """Writes the functions of the sequential shape; `text` is all of them."""

    def text(self) -> list[str]:
        """The functions; the last one is what a launch calls."""
        if self.alone:
            return [self._one_stream(), self._entry()]
        if self.columns is not None:
            return [self._column_lanes(), self._entry()]
        if self.wide:
            return [self._lanes(), *[self._slots()] * self.slotted, self._entry()]
        return [self._one_stream(), self._slots(), self._entry()]

    @property
    def slotted(self) -> bool:
        """Whether few lanes are run in slots: not where they hold vectors, nor where lanes are summed."""
        return self.columns is None and not any(p.summed for p in self.ports.outputs.values())

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
            place = f"{self._pointer_name(port, 'input')}[{self._element(port, v.attribute[1])}]"
            inner.append(f"const {values.type(v.kind)} {known[v]} = {self.ports.loaded(port, v.kind, place)};")
        statements, text = self._body(known, self.fixed_name.__getitem__)
        inner += statements
        for check in self.checks:
            inner += [f"if (!{text[check]}) {{", f"    {self._failure('row', 't')}", "    break;", "}"]
        for p in self.ports.outputs.values():
            own = [o for o in self.outputs if o.name == p.name]
            to = self._pointer_name(p, "output")
            inner.append(f"if ({to}) {{")
            inner += [f"    {to}[{self._element(p, o.element)}] = {self.ports.stored(o)(text[o.value])};"
                      for o in own] + ["}"]
        inner += self._assigned(text, "{}")
        inner += [f"{n} += {self._step_name[n]};" for n in self._moving()]
        lines += ["for (int64_t t = 0; t < tokens; t++) {", *indented(inner), "}"]
        lines += [self._after(r, "row", "lane", self.state_name[r.name]) for r in self.registers]
        return function_text(
            f"static void {self.name}_one(const struct {self.name}_args *a, int64_t row, int64_t lane)", lines,
            "One stream from its first token to its last.")

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
            known[v] = f"{self.pointer['param', port.name]}[{self._element(port, v.attribute[1], 'c')}]"
        lines += self._param_pointers()
        lines += [f"{values.type(v.kind)} {self.fixed_name[v]}[{block}];" for v in self.fixed]
        lines += [f"{values.type(r.kind)} {self.state_name[r.name]}[{block}];" for r in self.registers]
        lines += [f"{self._array(o)} {self.output_name[o]}[{block}];" for o in self.outputs]
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
            place = f"{self._pointer_name(port, 'input')}[{self._element(port, v.attribute[1], 'c')}]"
            (body if port.lane else inner).append(
                f"const {values.type(v.kind)} {known[v]} = {self.ports.loaded(port, v.kind, place)};")
        statements, text = self._body(known, lambda v: f"{self.fixed_name[v]}[c]")
        body += statements
        body += [f"{self.output_name[o]}[c] = {self._in_array(o, text[o.value])};" for o in self.outputs]
        body += self._assigned(text, "{}[c]")
        body += [f"failing |= !{text[check]};" for check in self.checks]
        inner += self._fetched()
        inner += ["int32_t failing = 0;"] * bool(self.checks)
        inner += [f"#pragma omp simd{' reduction(|:failing)' * bool(self.checks)}", *loop("c", "n", body)]
        if self.checks:
            inner += ["if (failing) {", f"    {self._failure('row', 't')}", "    break;", "}"]
        for o in self.outputs:
            inner += self._stored(o, o.element, self.output_name[o])
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
            if port.elements > 1:
                continue  # its elements are neighbours: it reads whole pages
            pointer, size = self._pointer_name(port, "input"), edge_dtype(port, self.options).itemsize
            self.values.use("fetch")
            lines.append(f"if (t < tokens - 1 - {_AHEAD} / (n * {size})) "
                         f"fetch({pointer} + (1 + {_AHEAD} / (n * {size})) * {self._step_name[pointer]}, n * {size});")
        return [f"if ({self.a('streaming')}) {{", *indented(lines), "}"] if lines else []

    # What a launch calls.

    def _entry(self) -> str:
        a, name = self.a, self.name
        lines = [f"const int64_t lanes = {a('end_lane')} - {a('first_lane')};"]
        if self.wide:
            slots = [f"if (lanes < {_FEW_LANES} && lanes * ({a('end_row')} - {a('first_row')}) >= {_FEW_STREAMS}) {{",
                     f"    {name}_in_slots(a);", "    return;", "}"]
            lines += [*slots * self.slotted,
                      f"for (int64_t row = {a('first_row')}; row < {a('end_row')}; row++)",
                      f"    for (int64_t lane = {a('first_lane')}; lane < {a('end_lane')}; lane += {name}_block) {{",
                      f"        const int64_t left = {a('end_lane')} - lane;",
                      f"        {name}_lanes(a, row, lane, left < {name}_block ? left : {name}_block);", "    }"]
        else:
            slots = [f"if ({a('end_row')} - {a('first_row')} >= {_FEW_STREAMS}) {{", f"    {name}_in_slots(a);",
                     "    return;", "}"]
            lines = [*([] if self.alone else slots),
                     f"for (int64_t row = {a('first_row')}; row < {a('end_row')}; row++)",
                     f"    {name}_one(a, row, 0);"]
        return function_text(f"void {name}_sequential(const struct {name}_args *a)", lines,
                         "Rows first_row to end_row and lanes first_lane to end_lane, ends excluded.")
