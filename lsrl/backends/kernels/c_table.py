"""The table shape in C: a program with few joint states as look-ups, one for each token, or one for several.

next[letter][state] is the state after a token: the row of a letter is known early, so a token costs the latency of one
load. Where letters are few, a row of a larger table stands for 2 or 4 tokens at once, with all their outputs. Four
rows run at a time, so that their loads overlap; so do four chunks of one row, where the letters before each chunk leave
one state possible (see speculate.py). A check that fails leads to a state which is never left; a row that
is found there at the end of a stretch of tokens is run through it again to find the token.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsrl.backends.kernels.bodies import Output
from lsrl.backends.kernels.c_ports import Arguments, CPorts
from lsrl.backends.kernels.c_streams import function_text, indented
from lsrl.backends.kernels.c_values import narrowest, table_text
from lsrl.backends.kernels.call import edge_dtype
from lsrl.backends.kernels.lanes import Port
from lsrl.backends.kernels.speculate import may_converge
from lsrl.backends.kernels.state_table import StateTable
from lsrl.backends.kernels.text import identifier

__all__ = ["ROWS", "TableText"]

ROWS = 4  # rows whose look-ups overlap
_UNREAD = 1 << 14  # bytes that outputs nobody wants are written to
_CACHED = 24 << 10  # bytes that the tables of several tokens may take
_WORDS = {2: "uint16_t", 4: "uint32_t"}
# Compiled once for all that call it; and for size, as it takes little of the time.
_ONCE = "#if defined(__GNUC__)\n__attribute__((noinline))\n#endif\n"
_SMALL = "#if defined(__GNUC__)\n__attribute__((cold, noinline))\n#endif\n"
_CHUNKED = 1 << 12  # tokens from which a row on its own is run in chunks
_PAGE, _APART = 4096, 1088  # of bytes: chunks at the same place of a page would be in each other's way in the caches
_PAGES = 1 << 16  # tokens of a chunk beyond which those that this leaves over do not count
_SEARCH = 16  # a chunk's tokens for each look-up by which the state before it is looked for


@dataclass(frozen=True)
class _Group:
    """Look-ups of `tokens` tokens at once, letters of `bits` bits each."""

    tokens: int
    bits: int


class TableText:
    """Writes the function of the table shape. Outputs are those of the step, in its order."""

    def __init__(self, name: str, arguments: Arguments, ports: CPorts, table: StateTable) -> None:
        self.name, self.a, self.ports, self.table = name, arguments, ports, table
        self.outputs: tuple[Output, ...] = ports.parts.step.outputs
        self.dead = len(table.states) if table.fails and ports.options.checks else None
        next_states = table.next
        if self.dead is not None:
            next_states = np.where(next_states < 0, self.dead, next_states)
            next_states = np.concatenate([next_states, np.full((1, next_states.shape[1]), self.dead)])
        shown = [np.concatenate([x, x[:1]]) if self.dead is not None else x for x in table.outputs]
        # A letter outside counts as the last one, where looking that up is simpler than asking.
        self.masked = len(table.digits) == 1 and table.digits[0].low == 0 and self._memory(0) == "uint8_t"
        letters = next_states.shape[1]
        self.bits = max(1, (letters - 1).bit_length())
        if self.masked:
            fill = np.minimum(np.arange(1 << self.bits), letters - 1)
            next_states, shown = next_states[:, fill], [x[:, fill] for x in shown]
        self.next: NDArray[np.int64] = next_states.T.copy()  # [letter][state]
        self.shown = [x.T.copy() for x in shown]
        self.states = self.next.shape[1]
        self.group = self._group()
        self.speculative = may_converge(table)
        self.names = [f"{name}__{identifier(o.name)}" + (f"_{o.element}" if o.element else "") for o in self.outputs]
        self.definitions: list[str] = []
        self._moore = [table.by_state(i) for i in range(len(self.outputs))]

    def _memory(self, digit: int) -> str:
        return self.ports.memory(self.ports.inputs[self.table.digits[digit].leaf.attribute[0]])

    def _group(self) -> _Group | None:
        """The most tokens whose tables stay in the nearest cache."""
        bytes_only = all(self.ports.memory(self.ports.outputs[o.name]) in ("uint8_t", "int8_t") and
                         self.ports.outputs[o.name].elements == 1 for o in self.outputs)
        if not self.masked or not bytes_only or sys.byteorder != "little":
            return None
        entry = 1 if self.states <= 256 else 2
        for tokens, most in ((4, 2), (2, 4)):
            size = (1 << self.bits * tokens) * self.states * (entry + tokens * len(self.outputs))
            if self.bits <= most and size <= _CACHED:
                return _Group(tokens, self.bits)
        return None

    def text(self) -> list[str]:
        """The functions, between the declarations of the tables and the tables themselves."""
        functions = [self._letter(), self._one(), self._walk(), self._dense()]
        if self.speculative:
            functions += [*self._possible(), self._in_chunks()]
        functions.append(self._entry())
        declarations = "\n".join(t.split(" = ")[0] + ";" for t in self.definitions)
        return [declarations, *functions, *self.definitions]

    def _array(self, name: str, entries: NDArray[np.int64], kind: str) -> None:
        self.definitions.append(table_text(name, kind, [str(x) for x in entries.reshape(-1).tolist()]))

    # Tables.

    def _next_table(self) -> tuple[str, str]:
        name = f"{self.name}__next"
        kind = narrowest((0, self.states - 1))
        if not any(f" {name}[" in d for d in self.definitions):
            self._array(name, self.next, kind)
        return name, kind

    def _output_expression(self, i: int, at: str, state: str) -> str:
        """An output element, in memory's type, at a place of the letters' table or in a state after."""
        name, o = self.names[i], self.outputs[i]
        moore = self._moore[i]
        entries = self.shown[i] if moore is None else moore if self.dead is None else np.append(moore, 0)
        kind = narrowest(entries.reshape(-1).tolist())
        if not any(f" {name}[" in d for d in self.definitions):
            self._array(name, entries, kind)
        x = f"{name}[{at if moore is None else state}]"
        if o.value.kind == "int64":
            x = f"(int64_t){x}"
        return self.ports.stored(o)(x)

    def _grouped(self, g: _Group) -> tuple[str, list[str]]:
        """The tables of several tokens: the state after, and the outputs as the bytes of one number."""
        rows = 1 << g.bits * g.tokens
        letter = np.arange(rows)
        state = np.tile(np.arange(self.states), (rows, 1))
        shown = [np.zeros((rows, self.states), np.int64) for _ in self.outputs]
        for t in range(g.tokens):
            x = (letter >> g.bits * t & (1 << g.bits) - 1)[:, None]
            for out, table in zip(shown, self.shown, strict=True):
                out += (table[x, state] & 255) << 8 * t
            state = self.next[x, state]
        self._array(f"{self.name}__next_{g.tokens}", state, narrowest((0, self.states - 1)))
        names = []
        for name, out in zip(self.names, shown, strict=True):
            names.append(f"{name}_{g.tokens}")
            entries = [f"{x}u" for x in out.reshape(-1).tolist()]
            self.definitions.append(table_text(names[-1], _WORDS[g.tokens], entries))
        return f"{self.name}__next_{g.tokens}", names

    # Functions.

    def _letter(self) -> str:
        """The letter of a token; each input is a digit of it."""
        digits = self.table.digits
        kinds = ", ".join(f"const {self._memory(i)} *x{i}" for i in range(len(digits))) or "void"
        if self.masked:
            lines = [f"return *x0 & {(1 << self.bits) - 1};"]
        else:
            lines = ["uint32_t letter = 0;"]
            for i, d in enumerate(digits):
                minus = f" - ({d.low})" if d.low else ""
                lines += ["{", f"    const int64_t digit = (int64_t)*x{i}{minus};",
                          f"    letter = letter * {d.count} + "
                          f"(uint32_t)(digit < 0 ? 0 : digit < {d.count} ? digit : {d.count - 1});", "}"]
            lines.append("return letter;")
        return function_text(f"static inline uint32_t {self.name}_letter({kinds})", lines,
                             "The number of a token's letter: each input is a digit of it.")

    def _letter_at(self, offset: str) -> str:
        names = [f"{self._from(d.leaf.attribute[0])}{offset}" for d in self.table.digits]
        return f"{self.name}_letter({', '.join(names)})"

    def _from(self, name: str) -> str:
        return f"from_{list(self.ports.inputs).index(name)}"

    def _to(self, name: str) -> str:
        return f"to_{list(self.ports.outputs).index(name)}"

    def _one(self) -> str:
        """One row of any strides, with resets, in either direction."""
        next_name, _ = self._next_table()
        a = self.a
        head, moving = self._row_pointers(list(self.ports.outputs.values()))
        body = ["if (reset && *reset) q = 0;"] * self.ports.options.resets
        body += [f"const uint32_t at = {self._letter_at('')} * {self.states} + q;", f"q = {next_name}[at];"]
        if self.dead is not None:
            body += [f"if (q == {self.dead}) {{", f"    if ({a('failed')} && {a('failed')}[row] > t) "
                     f"{a('failed')}[row] = t;", "    break;", "}"]
        for name, p in self.ports.outputs.items():
            own = [f"    {self._to(name)}[{o.element}] = {self._output_expression(i, 'at', 'q')};"
                   for i, o in enumerate(self.outputs) if o.name == name]
            body += [f"if ({self._to(p.name)}) {{", *own, "}"]
        lines = [*head, "for (int64_t t = start; t < tokens; t++) {", *indented([*body, *moving]), "}", "return q;"]
        return function_text(
            f"static uint32_t {self.name}_look_up(const struct {self.name}_args *a, int64_t row, int64_t offset, "
            "int64_t tokens, int64_t start, uint32_t q)", lines,
            "The state of a row after its tokens from `start` on, in state q before them.")

    def _row_pointers(self, outputs: list[Port]) -> tuple[list[str], list[str]]:
        """Pointers to a row's token `start`, and what moves them on by a token."""
        a, lines = self.a, ["const int64_t last = tokens - 1;"]
        moving = []
        read = [self.ports.inputs[d.leaf.attribute[0]] for d in self.table.digits]
        for what, ports in (("input", read), ("output", outputs)):
            for p in ports:
                name = self._from(p.name) if what == "input" else self._to(p.name)
                const = "const " if what == "input" else ""
                base, row, token = a(what, p.name), a(f"{what}_row", p.name), a(f"{what}_token", p.name)
                lines += [f"const int64_t {name}_step = !{base} ? 0 : {a('reverse')} ? -{token} : {token};",
                          f"{const}{self.ports.memory(p)} *{name} = {base} ? {base} + row * {row} + "
                          f"(offset + ({a('reverse')} ? last - start : start)) * {token} : 0;"]
                moving.append(name)
        if self.ports.options.resets:
            base, row, token = a("resets"), a("resets_row"), a("resets_token")
            lines += [f"const int64_t reset_step = !{base} ? 0 : {a('reverse')} ? -{token} : {token};",
                      f"const uint8_t *reset = {base} ? {base} + row * {row} + "
                      f"(offset + ({a('reverse')} ? last - start : start)) * {token} : 0;"]
            moving.append("reset")
        return lines, [f"{n} += {n}_step;" for n in moving]

    def _possible(self) -> list[str]:
        """The states that rows of one sequence leave possible, whatever state was before them."""
        a, name = self.a, self.name
        next_name, kind = self._next_table()
        live = self.states - (self.dead is not None)
        distinct = [f"uint8_t seen[{self.states}];", "memset(seen, 0, sizeof seen);"]
        distinct += [f"seen[{self.dead}] = 1;"] * (self.dead is not None)
        distinct += ["int n = 0;", "for (int i = 0; i < count; i++) {", "    const uint32_t state = q[i];",
                     "    if (!seen[state]) q[n++] = state;", "    seen[state] = 1;", "}", "return n;"]
        head, moving = self._row_pointers([])
        body = ["if (reset && *reset) {", "    q[0] = 0;", "    n = 1;", "}"] if self.ports.options.resets else []
        body += [f"const {kind} *to = {next_name} + {self._letter_at('')} * {self.states};",
                 "for (int i = 0; i < n; i++) q[i] = to[q[i]];", "*work += n;",
                 f"if (n > 1 && t % 8 == 7) n = {name}_distinct(q, n);", *moving]
        after = [*head, f"int n = {live};", "for (int i = 0; i < n; i++) q[i] = i;",
                 "for (int64_t t = start; t < tokens; t++) {", *indented(body), "}",
                 f"return {name}_distinct(q, n);"]
        left = ["int64_t letters = 16, work = 0;", "for (;;) {", "    letters = letters < tokens ? letters : tokens;",
                f"    const int n = {name}_after(a, row, offset, tokens, tokens - letters, q, &work);",
                "    if (n < 2 || letters == tokens || work + 2 * letters * n > budget) return n;",
                "    letters *= 4;", "}"]
        rows = [f"for (int64_t row = {a('first_row')}; row < {a('end_row')}; row++) {{",
                f"    uint32_t q[{self.states}];", f"    int32_t *to = {a('possible')} + row * {live + 1};",
                f"    const int n = {name}_left(a, row, 0, {a('token_count')}, {a('budget')}, q);",
                "    for (int i = 0; i < n; i++) to[i] = (int32_t)q[i];", "    to[n] = -1;", "}"]
        parameters = f"const struct {name}_args *a, int64_t row, int64_t offset, int64_t tokens"
        return [
            function_text(f"{_SMALL}static int {name}_distinct(uint32_t *q, int count)", distinct,
                          "Leaves each of some states once, and returns how many they are."),
            function_text(f"{_SMALL}static int {name}_after({parameters}, int64_t start, uint32_t *q, int64_t *work)",
                          after,
                          "The states that a row's tokens from `start` on lead to from any state, and how many they "
                          "are."),
            function_text(f"{_SMALL}static int {name}_left({parameters}, int64_t budget, uint32_t *q)", left,
                          "The states that a row's tokens leave possible: those after the last letters, more of them "
                          "while several\n   states are left and the work is within the budget."),
            function_text(f"{_SMALL}void {name}_possible(const struct {name}_args *a)", rows,
                          "The states that rows leave possible, whatever state was before them.")]

    def _in_chunks(self) -> str:
        """One row in chunks whose look-ups overlap, where the letters before each tell its state."""
        a, name = self.a, self.name
        lines = [f"uint32_t start[{ROWS}], q[{self.states}];", f"int64_t at[{ROWS}];",
                 f"int64_t chunk = tokens / {ROWS};",
                 f"if (chunk > {_PAGES}) chunk -= (chunk + {_PAGE - _APART}) % {_PAGE}; /* apart within a page */",
                 "start[0] = *state;",
                 f"for (int i = 0; i < {ROWS}; i++) {{", "    at[i] = offset + i * chunk;", "    if (i == 0) continue;",
                 f"    if ({name}_left(a, row, offset, i * chunk, chunk / {_SEARCH}, q) != 1) return 0;",
                 "    start[i] = q[0];", "}", f"struct {name}_args own = *a;"]
        for what, ports in (("input", self.ports.inputs), ("output", self.ports.outputs)):
            for n in ports:
                base, stride = (a(x, n).replace("a->", "own.") for x in (what, f"{what}_row"))
                lines += [f"if ({base}) {base} += row * {stride};", f"{stride} = 0;"]
        lines += [f"{a('failed').replace('a->', 'own.')} = 0;", f"{name}_dense(&own, 0, {ROWS}, at, start, 0, chunk);"]
        if self.dead is not None:
            lines += [f"for (int i = 0; i < {ROWS}; i++)", f"    if (start[i] == {self.dead}) return 0;"]
        lines += [f"*state = start[{ROWS - 1}];", f"return chunk * {ROWS};"]
        return function_text(
            f"{_SMALL}static int64_t {name}_in_chunks(const struct {name}_args *a, int64_t row, int64_t offset, "
            "int64_t tokens, uint32_t *state)", lines,
            "A row in chunks whose look-ups overlap, where the letters before each tell its state. How many tokens\n"
            "   are done: none where they do not, or where a check fails.")

    def _walk(self) -> str:
        """Some rows side by side, n tokens that lie next to each other."""
        next_name, _ = self._next_table()
        read = list(dict.fromkeys(d.leaf.attribute[0] for d in self.table.digits))
        params = [f"const {self.ports.memory(self.ports.inputs[n])} *const *{self._from(n)}_rows" for n in read]
        params += [f"{self.ports.memory(p)} *const *{self._to(n)}_rows" for n, p in self.ports.outputs.items()]
        lines = [f"const {self.ports.memory(self.ports.inputs[n])} *{self._from(n)}[{ROWS}];" for n in read]
        lines += [f"{self.ports.memory(p)} *{self._to(n)}[{ROWS}];" for n, p in self.ports.outputs.items()]
        lines.append(f"uint32_t q[{ROWS}];")
        every = "for (int i = 0; i < rows; i++) "
        lines += [f"{every}{self._from(n)}[i] = {self._from(n)}_rows[i];" for n in read]
        lines += [f"{every}{self._to(n)}[i] = {self._to(n)}_rows[i];" for n in self.ports.outputs]
        lines += [f"{every}q[i] = states[i];", "int64_t t = 0;"]
        unrolled = [f"#pragma GCC unroll {ROWS}"]
        if self.group is not None:
            g = self.group
            next_group, shown = self._grouped(g)
            word, bits = _WORDS[g.tokens], g.tokens * g.bits
            name = self._from(read[0])
            spread = sum(1 << 8 * (g.tokens - 1 - i) + i * g.bits for i in range(g.tokens))
            index = f"(uint32_t)(word * 0x{spread:x}u) >> {8 * (g.tokens - 1)} & {(1 << bits) - 1}"
            if g.tokens == 2:
                index = f"(word | (uint32_t)word >> {8 - g.bits}) & {(1 << bits) - 1}"
            body = [f"{word} word;", f"memcpy(&word, {name}[i] + t, {g.tokens});",
                    f"const uint32_t at = ({index}) * {self.states} + q[i];", f"q[i] = {next_group}[at];"]
            for o, table in zip(self.outputs, shown, strict=True):
                body.append(f"memcpy({self._to(o.name)}[i] + t, &{table}[at], {g.tokens});")
            lines += [f"for (; t + {g.tokens} <= n; t += {g.tokens}) {{", *unrolled,
                      *indented([f"{every}{{", *indented(body), "}"]), "}"]
        kind = self._next_table()[1]
        body = [f"const uint32_t letter = {self._letter_at('[i] + t')};",
                f"const {kind} *to = {next_name} + letter * {self.states};"]
        if any(m is None for m in self._moore):
            body.append(f"const uint32_t at = letter * {self.states} + q[i];")
        body.append("q[i] = to[q[i]];")
        for i, o in enumerate(self.outputs):
            elements = self.ports.outputs[o.name].elements
            place = "t" if elements == 1 else f"t * {elements} + {o.element}"
            body.append(f"{self._to(o.name)}[i][{place}] = {self._output_expression(i, 'at', 'q[i]')};")
        lines += ["for (; t < n; t++) {", *unrolled, *indented([f"{every}{{", *indented(body), "}"]), "}"]
        lines += [f"{every}states[i] = q[i];"]
        head = ("#if defined(__GNUC__)\n__attribute__((always_inline))\n#endif\n"
                f"static inline void {self.name}_walk({', '.join(params)}, uint32_t *states, int rows, int64_t n)")
        return function_text(head, lines, "Takes rows side by side over n tokens, which lie next to each other.")

    def _dense(self) -> str:
        """Rows whose tokens lie next to each other, from one token to another."""
        a, name, ports = self.a, self.name, self.ports
        read = [ports.inputs[n] for n in dict.fromkeys(d.leaf.attribute[0] for d in self.table.digits)]
        width = sum(p.elements * edge_dtype(p, ports.options).itemsize for p in ports.outputs.values())
        stretch = max(64, min(4096, _UNREAD // max(1, width)) // 4 * 4)
        lines = [f"{ports.memory(p)} {self._to(n)}_unread[{stretch * p.elements}];" for n, p in ports.outputs.items()]
        lines += [f"for (int64_t done = from; done < to; done += {stretch}) {{",
                  f"    const int64_t n = to - done < {stretch} ? to - done : {stretch};"]
        walk = [f"const {ports.memory(p)} *{self._from(p.name)}[{ROWS}];" for p in read]
        walk += [f"{ports.memory(p)} *{self._to(n)}[{ROWS}];" for n, p in ports.outputs.items()]
        walk += [f"uint32_t before[{ROWS}];"] * (self.dead is not None)
        each = [f"{self._from(p.name)}[i] = {a('input', p.name)} + (first + i) * {a('input_row', p.name)} + offset[i] "
                "+ done;" for p in read]
        each += [f"{self._to(n)}[i] = {a('output', n)} ? {a('output', n)} + (first + i) * {a('output_row', n)} "
                 f"+ (offset[i] + done) * {p.elements} : {self._to(n)}_unread;" for n, p in ports.outputs.items()]
        each += ["before[i] = q[i];"] * (self.dead is not None)
        if each:
            walk += ["for (int i = 0; i < rows; i++) {", *indented(each), "}"]
        pointers = "".join(f"{x}, " for x in [*(self._from(p.name) for p in read),
                                               *(self._to(n) for n in ports.outputs)])
        walk += [f"if (rows == {ROWS})", f"    {name}_walk({pointers}q, {ROWS}, n);", "else",
                 f"    {name}_walk({pointers}q, 1, n);"]
        if self.dead is not None:
            walk += ["for (int i = 0; i < rows; i++)", f"    if (q[i] == {self.dead} && before[i] != {self.dead})",
                     f"        {name}_look_up(a, first + i, offset[i], done + n, done, before[i]);"]
        lines += [*indented(walk), "}"]
        return function_text(
            f"{_ONCE}static void {name}_dense(const struct {name}_args *a, int64_t first, int rows, "
            "const int64_t *offset, uint32_t *q, int64_t from, int64_t to)", lines,
            f"One row or {ROWS}, whose tokens lie next to each other, from one token to another.")

    def _entry(self) -> str:
        a, name, ports = self.a, self.name, self.ports
        read = [ports.inputs[n] for n in dict.fromkeys(d.leaf.attribute[0] for d in self.table.digits)]
        dense = [f"{a('input_token', p.name)} == 1" for p in read]
        dense += [f"(!{a('output', p.name)} || {a('output_token', p.name)} == {p.elements})"
                  for p in ports.outputs.values()]
        dense.append(f"!{a('reverse')}")
        if ports.options.resets:
            dense.append(f"!{a('resets')}")
        length = f"{a('token_count')}"
        start = "0"
        if ports.options.packed:
            start = f"{a('offsets')} ? {a('offsets')}[first + i] : 0"
            length = f"{a('offsets')} ? {a('offsets')}[first + i + 1] - offset[i] : {length}"
        alive = "" if self.dead is None else f" && q[i] != {self.dead}"
        inner = [f"rows = {a('end_row')} - first < {ROWS} ? 1 : {ROWS};",
                 f"int64_t offset[{ROWS}], tokens[{ROWS}], common = INT64_MAX;", f"uint32_t q[{ROWS}];",
                 "for (int i = 0; i < rows; i++) {", f"    offset[i] = {start};", f"    tokens[i] = {length};",
                 "    common = tokens[i] < common ? tokens[i] : common;",
                 f"    q[i] = {a('first_state')} ? (uint32_t){a('first_state')}[first + i] : 0;", "}",
                 *["int64_t done = 0;", f"if (dense && rows == 1 && common >= {_CHUNKED})",
                   f"    done = {name}_in_chunks(a, first, offset[0], common, q);"] * self.speculative,
                 f"if (dense) {name}_dense(a, first, rows, offset, q, {'done' if self.speculative else '0'}, common);",
                 "for (int i = 0; i < rows; i++) {",
                 f"    if (dense && common < tokens[i]{alive})",
                 f"        {name}_dense(a, first + i, 1, offset + i, q + i, common, tokens[i]);",
                 "    if (!dense)",
                 f"        q[i] = {name}_look_up(a, first + i, offset[i], tokens[i], 0, q[i]);",
                 f"    if ({a('last_state')}) {a('last_state')}[first + i] = (int32_t)q[i];", "}"]
        lines = [f"const int dense = {' && '.join(dense)};", "int rows;",
                 f"for (int64_t first = {a('first_row')}; first < {a('end_row')}; first += rows) {{",
                 *indented(inner), "}"]
        return function_text(f"void {name}_table(const struct {name}_args *a)", lines,
                             "Rows first_row to end_row, the end excluded, by look-ups.")
