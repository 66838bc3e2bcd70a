"""The sequential kernel: every stream a token at a time, its states in registers.

A group of tokens is asked for before the first of them is used, as a store in between would keep the compiler from
loading ahead.
"""

from __future__ import annotations

from lsrl.backends.kernels.code import Builder, Value
from lsrl.backends.kernels.text import leaves
from lsrl.backends.kernels.triton_streams import Streams

__all__ = ["in_groups", "sequential_kernel"]


def sequential_kernel(s: Streams) -> tuple[list[str], list[str]]:
    """The body's lines, and the compile-time parameters."""
    parts, e, body = s.parts, s.expressions, s.parts.step
    registers = [s.ports.register[r.name] for r in parts.registers]
    roots = [*(o.value for o in body.outputs), *body.nexts, *((c for _, c in body.checks) if s.checked else ())]
    named: dict[Value, str] = {}
    for leaf in leaves(roots, "param"):
        named[leaf] = s.param_name(leaf)
    for leaf in leaves(roots, "state"):
        named[leaf] = s.ports.register[leaf.attribute[0]]
    ask, take = [], []
    start = []
    for leaf in leaves(roots, "input"):
        name, element = leaf.attribute
        port = next(p for p in parts.lanes.inputs if p.name == name)
        base = s.ports.input[name]
        own = f"{base}_{element}" if port.elements > 1 else base
        named[leaf] = s.names.fresh(f"{own}_here")
        mask = "inside" if s.wide and not port.lane else "live & inside"
        ahead = s.names.fresh(f"{own}_ahead")
        start.append(f"{ahead} = ()")
        ask.append(f"{ahead} = {ahead} + (tl.load({s.pointer(base, port, element)} + i * {base}_step, mask={mask}, "
                   f"other=0),)")
        take.append(f"{named[leaf]} = {s.read(leaf, f'{ahead}[i]')}")
    if s.options.resets:
        start.append("reset_ahead = ()")
        mask = "inside" if s.wide else "live & inside"
        ask.append(f"reset_ahead = reset_ahead + (tl.load(reset_at + i * reset_step, mask={mask}, other=0),)")
        take.append("reset = reset_ahead[i] != 0")
        take += [f"{name} = tl.where(reset, {e.constant(r.init, r.kind)}, {name})" if r.kind != "bool" else
                 f"{name} = {name} | reset" if r.init else f"{name} = {name} & ~reset"
                 for r, name in zip(parts.registers, registers, strict=True)]

    step = list(take)
    step += e.statements(roots, named, s.names, body.names)
    for o in body.outputs:
        port = next(p for p in parts.lanes.outputs if p.name == o.name)
        base = s.ports.output[o.name]
        value = f"tl.broadcast_to({_value(s, o.value, named)}, [BL])"
        if port.summed:
            total = s.written(o, port, f"tl.sum(tl.where(live, {value}, 0), 0)")
            step.append(f"tl.store({s.pointer(base, port, o.element)} + i * {base}_step, {total}, mask=inside)")
            continue
        step.append(f"tl.store({s.pointer(base, port, o.element)} + i * {base}_step, "
                    f"{s.written(o, port, value)}, mask={s.shape_of(port)} & inside)")
    if s.checked:
        b = Builder()
        ok = b.all(c for _, c in body.checks)
        (line,) = [f"ok = {e.expression(ok, named) if ok not in named else named[ok]}"]
        step += [line, "broken = tl.where(inside & ~ok & (broken == NEVER), position, broken)"]
    after = [s.names.fresh(f"{r.name}_next") for r in parts.registers]
    step += [f"{new} = tl.where(inside, {_value(s, v, named)}, {old})"
             for new, v, old in zip(after, body.nexts, registers, strict=True)]
    step += [f"{old} = {new}" for new, old in zip(after, registers, strict=True)]

    lines = ["program = tl.program_id(0).to(tl.int64)", "if ALIGNED:", *(f"    {x}" for x in s.hints()), *s.begin(),
             *s.params(), *s.load_states()]
    if s.checked:
        lines.append("broken = tl.full([BL], NEVER, tl.int64)  # the first token at which a check fails")
    lines += in_groups(s, start, ask, step)
    lines += s.store_states({r.name: name for r, name in zip(parts.registers, registers, strict=True)})
    if s.checked:
        lines += failed(s)
    return lines, ["GIVEN", "KEPT", "REVERSE", "ALIGNED", *([] if s.wide else ["UNIT"]), "BL", "GROUP"]


def in_groups(s: Streams, start: list[str], ask: list[str], step: list[str]) -> list[str]:
    """The loop over tokens. start: statements before a group; ask, step: of token i of it, before all and in turn."""
    lanes = s.parts.lanes
    moved = [s.ports.input[p.name] for p in lanes.inputs] + [s.ports.output[p.name] for p in lanes.outputs]
    moved += ["reset"] if s.options.resets else []
    lines = ["for start in range(0, longest, GROUP):"]
    inner = [*start]
    if ask:
        inner += ["for i in tl.static_range(GROUP):  # ask for the group's tokens", "    inside = start + i < length",
                  *(f"    {x}" for x in ask)]
    inner += ["for i in tl.static_range(GROUP):", "    position = start + i", "    inside = position < length",
              *(f"    {x}" for x in step)]
    inner += [f"{x}_at += GROUP * {x}_step" for x in moved]
    return lines + [f"    {x}" for x in inner]


def failed(s: Streams) -> list[str]:
    """Statements that write the first failing token of each stream."""
    if s.wide:
        return ["tl.atomic_min(failed_ptr + row + lane * 0, broken, mask=live & (broken != NEVER))"]
    return ["tl.atomic_min(failed_ptr + row, broken, mask=live & (broken != NEVER))"]


def _value(s: Streams, v: Value, named: dict[Value, str]) -> str:
    if v in named:
        return named[v]
    return s.expressions.expression(v, named)
