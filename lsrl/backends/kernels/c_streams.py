"""What loops of the sequential shape in C have in common: names, pointers, states and the statements of a token."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lsrl.backends.kernels.bodies import Output, Register
from lsrl.backends.kernels.c_ports import C_WORDS, Arguments, CPorts
from lsrl.backends.kernels.code import Value, schedule
from lsrl.backends.kernels.lanes import Port
from lsrl.backends.kernels.text import Names, identifier, invariant, leaves

__all__ = ["Streams", "function_text", "indented", "loop"]

_LARGE = 2000  # values of a step beyond which it is run one stream at a time, and optimised less


class Streams:
    """Names for what a step reads and writes in loops over streams.

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
        self.large = not self.wide and len(schedule(self.roots)) > _LARGE
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

    def _one(self, o: Output) -> bool:
        return self.ports.outputs[o.name].elements == 1

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
                                       row, f" + {lane}{f' / {p.summed}' * (p.summed > 0)}" if p.lane else "")
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

    def _element(self, port: Port, i: int | str, lane: str = "") -> str:
        """The place of an element from where the first one of a lane is, or of the lane that is so many further."""
        if not port.lane:
            return str(i)
        if port.summed:
            return f"{i} * (({self.a('lane_count')} + {port.summed - 1}) / {port.summed})" if i != 0 else "0"
        return " + ".join([f"{i} * {self.a('lane_count')}"] * (i != 0) + [lane] * bool(lane)) or "0"

    def _array(self, o: Output) -> str:
        """The type of a local array of an output's values: memory's, or what is summed before it goes there."""
        port = self.ports.outputs[o.name]
        return self.values.type(o.value.kind) if port.summed else self.ports.memory(port)

    def _in_array(self, o: Output, x: str) -> str:
        """A value as an element of such an array."""
        return x if self.ports.outputs[o.name].summed else self.ports.stored(o)(x)

    def _stored(self, o: Output, element: int | str, array: str) -> list[str]:
        """Statements that store an element of an output, for n lanes, from an array of them."""
        port = self.ports.outputs[o.name]
        to = self._pointer_name(port, "output")
        place = self._element(port, element)
        at = to if place == "0" else f"({to} + {place})"
        if not port.lane:
            return [f"if ({to} && lane == 0) *{at} = {array}[0];"]
        if not port.summed:
            self.values.use("put")
            return [f"if ({to}) put((char *){at}, (const char *){array}, (size_t)n * sizeof *{to}, "
                    f"{self.a('streaming')} > 1);"]
        return [f"for (int64_t c = 0; {to} && c < n; c += {port.summed}) {{",
                f"    const int64_t end = n - c < {port.summed} ? n - c : {port.summed};",
                f"    {self._array(o)} sum = 0;",
                "#pragma omp simd reduction(+:sum)",
                f"    for (int64_t i = 0; i < end; i++) sum += {array}[c + i];",
                f"    {at}[c / {port.summed}] = {self.ports.stored(o)('sum')};", "}"]

    def _param_pointers(self) -> list[str]:
        """Pointers to the params, of lanes to the first lane's."""
        return [f"const {self.values.carry} *{self.pointer['param', port.name]} = {self.a('param', port.name)}"
                f"{' + lane' if port.lane else ''};"
                for port in dict.fromkeys(self.ports.params[v.attribute[0]] for v in self.param_leaves)]

    def _state_place(self, port: Port, i: int | str, row: str, lane: str) -> str:
        first = f"{row} * {port.elements}" if port.elements > 1 else row
        element = f"({first} + {i})" if port.elements > 1 else row
        if port.lane:
            return f"{element} * {self.a('lane_count')} + {lane}"
        return f"{first} + {i}" if port.elements > 1 else row

    def _after(self, r: Register, row: str, lane: str, value: str) -> str:
        port, i = self.ports.state_port[r.name]
        p = self.a("after", port.name)
        own = f" && {lane} == 0" if self.wide and not port.lane else ""
        at = self._state_place(port, i, row, lane)
        return f"if ({p}{own}) {p}[{at}] = {value};"

    def _param(self, v: Value, lane: str) -> str:
        port = self.ports.params[v.attribute[0]]
        return f"{self.a('param', port.name)}[{self._element(port, v.attribute[1], lane)}]"

    def _failure(self, row: str, at: str) -> str:
        f = self.a("failed")
        return f"if ({f} && {f}[{row}] > {at}) {f}[{row}] = {at};"

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
