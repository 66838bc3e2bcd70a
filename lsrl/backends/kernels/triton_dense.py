"""The Triton file of a program whose lanes meet in matrices.

A program of the grid runs a block of rows, and all lanes of one block of the matrices, for all tokens: states are
tiles (rows, lanes) in registers, a product is `tl.dot` of such a tile and the matrix, which stays in the caches near
the processor. A matrix that is too large for one tile is taken in pieces, its vector going through memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.code import Value, schedule
from lsrl.backends.kernels.lanes import Mix, Port
from lsrl.backends.kernels.plan import most_alive
from lsrl.backends.kernels.text import leaves, stated
from lsrl.backends.kernels.triton_streams import Streams
from lsrl.backends.kernels.triton_text import File
from lsrl.backends.kernels.triton_values import power_of_two

__all__ = ["DenseFile", "dense_sizes", "tile_lanes"]

_WHOLE = 16  # lanes up to which a matrix is one tile
_PIECE = 32  # rows of a piece of a larger one
_ROWS = 16  # of a program of the grid
_EACH = 32 * 96  # numbers that a warp's registers hold beside what products need


def dense_sizes(parts: Parts, rows: int) -> Iterator[tuple[int, int, int]]:
    """Rows of a program, rows of a matrix that are multiplied at once (0: all), and warps; the best first.

    What is alive at once, a tile for each value, has to fit the registers of the program's threads.
    """
    lanes = tile_lanes(parts)
    step = parts.step
    roots = [*(o.value for o in step.outputs), *step.nexts, *step.mixed]
    order = [v for v in schedule(roots) if v.op not in ("const", "param")]
    tiles = most_alive(order, roots) + len(parts.registers)
    count = min(_ROWS, power_of_two(rows))
    while True:
        each = tiles * count * lanes
        warps = next((w for w in (4, 8) if each <= w * _EACH), 8)
        if each <= warps * _EACH or count == 1:
            yield count, 0 if lanes <= _WHOLE else _PIECE, warps
        if count == 1:
            return
        count //= 2


def block_size(parts: Parts) -> int:
    """The rows of a matrix."""
    lanes = parts.lanes
    return next(p.dims[1] for p in lanes.params if p.name == lanes.mixes[0].matrix)


def tile_lanes(parts: Parts) -> int:
    """The lanes of a tile: a power of two, as Triton wants it, and at least 16."""
    return max(16, power_of_two(block_size(parts)))


class DenseStreams(Streams):
    """Streams are all lanes of a block, for some rows: tiles [BL, BD]."""

    def begin(self) -> list[str]:
        n = block_size(self.parts)
        out = [f"blocks: tl.constexpr = {self.parts.lanes.width // n}",
               f"block = program % blocks * {n}  # the first lane",
               "row = (program // blocks * BL + tl.arange(0, BL))[:, None]",
               "column = tl.arange(0, BD)[None, :]",
               "lane = block + column",
               "there = row < rows", f"live = there & (column < {n})"]
        if self.options.packed:
            out += ["first = tl.load(offsets_ptr + row, mask=there, other=0)  # of the row's tokens",
                    "length = tl.load(offsets_ptr + row + 1, mask=there, other=0) - first",
                    "longest = tl.max(length)"]
        else:
            out += ["first = 0", "length = tokens.to(tl.int64)", "longest = length"]
        out += ["direction: tl.constexpr = -1 if REVERSE else 1", "if REVERSE:", "    first = first + length - 1"]
        written = set(self.ports.output.values())
        for ports, names in ((self.parts.lanes.inputs, self.ports.input), (self.parts.lanes.outputs,
                                                                           self.ports.output)):
            for p in ports:
                name = names[p.name]
                apart = " + lane" if p.lane else " + lane * 0" if name in written else ""
                where = f"{name}_ptr + first * {name}_token" + ("" if self.options.packed else f" + row * {name}_row")
                out += [f"{name}_at = {where}{apart}", f"{name}_step = {name}_token.to(tl.int64) * direction"]
        if self.options.resets:
            where = "reset_ptr + first * reset_token" + ("" if self.options.packed else " + row * reset_row")
            out += [f"reset_at = {where}", "reset_step = reset_token.to(tl.int64) * direction"]
        return out

    def mask(self, port: Port) -> str:
        """Where an input is read."""
        return "live & inside" if port.lane else "there & inside"

    def load_states(self, wanted: object = None) -> list[str]:
        e = self.expressions
        given, fresh = [], []
        for r in self.parts.registers:
            port, element = self._place(r)
            name = self.ports.register[r.name]
            where = f"{self.ports.state[port.name]}_before + {self._state_at(port, element)}"
            loaded = f"tl.load({where}, mask={'live' if port.lane else 'there'}, other=0)"
            text = f"{loaded} != 0" if r.kind == "bool" else f"{loaded}.to({e.dtype(r.kind)})"
            given.append(f"{name} = tl.broadcast_to({text}, [BL, BD])")
            fresh.append(f"{name} = {e.typed(r.init, r.kind, '[BL, BD]')}")
        return ["if GIVEN:", *(f"    {x}" for x in given), "else:", *(f"    {x}" for x in fresh)] if given else []

    def store_states(self, values: object, extra: str = "") -> list[str]:
        assert isinstance(values, dict)
        return [x.replace("mask=lane == 0", "mask=there & (lane == 0)") for x in super().store_states(values, extra)]

    def shape_of(self, port: Port) -> str:
        return "live" if port.lane else "(there & (lane == 0))"


class DenseFile(File):
    """The file; its one kernel is `sequential_kernel`."""

    s: DenseStreams

    def streams(self) -> DenseStreams:
        return DenseStreams(self.parts, self.options)

    def bodies(self) -> None:
        self.matrix = {m.name: self.s.names.fresh(f"{m.matrix} matrix") for m in self.parts.lanes.mixes}
        self.room = {m.name: self.s.names.fresh(f"{m.source} room") for m in self.parts.lanes.mixes}
        self.own = [f"{x}_ptr" for x in (*self.matrix.values(), *self.room.values())]
        self.s.scope()
        self.kernels.append(("sequential_kernel", self.own, self._body(),
                             ["GIVEN", "KEPT", "REVERSE", "ALIGNED", "BL", "BD", "BK"]))

    def _body(self) -> list[str]:
        s, parts = self.s, self.parts
        e, body = s.expressions, parts.step
        registers = [s.ports.register[r.name] for r in parts.registers]
        roots = [*(o.value for o in body.outputs), *body.nexts]
        everything = [*roots, *body.mixed]
        named: dict[Value, str] = {leaf: s.param_name(leaf) for leaf in leaves(everything, "param")}
        named |= {leaf: s.ports.register[leaf.attribute[0]] for leaf in leaves(everything, "state")}
        mixes = {m.name: m for m in parts.lanes.mixes}
        step: list[str] = ["inside = position < length"]
        products: dict[str, Value] = {}
        for leaf in leaves(everything, "input"):
            name, element = leaf.attribute
            if name in mixes:
                products[name] = leaf
                continue
            port = next(p for p in parts.lanes.inputs if p.name == name)
            base = s.ports.input[name]
            named[leaf] = s.names.fresh(f"{base}_{element}_here" if element else f"{base}_here")
            raw = f"tl.load({s.pointer(base, port, element)}, mask={s.mask(port)}, other=0)"
            step.append(f"{named[leaf]} = {s.read(leaf, raw)}")
        if s.options.resets:
            step.append("reset = tl.load(reset_at, mask=there & inside, other=0) != 0")
            step += [f"{name} = tl.where(reset, {e.constant(r.init, r.kind)}, {name})" if r.kind != "bool" else
                     f"{name} = {name} | reset" if r.init else f"{name} = {name} & ~reset"
                     for r, name in zip(parts.registers, registers, strict=True)]
        wishes = {**dict.fromkeys(stated(everything, body.names), "v"), **body.names}
        waiting = dict(zip(parts.lanes.mixes, body.mixed, strict=True))
        while waiting:
            m, v = next((m, v) for m, v in waiting.items()
                        if not any(x in products and products[x] not in named for x in _inputs(v)))
            del waiting[m]
            step += e.statements([v], named, s.names, wishes)
            step += self._product(m, named[v] if v in named else e.expression(v, named))
            if m.name in products:
                named[products[m.name]] = f"{self.matrix[m.name]}_product"
        step += e.statements(roots, named, s.names, wishes)

        def value(v: Value) -> str:
            return named[v] if v in named else e.expression(v, named)

        for o in body.outputs:
            port = next(p for p in parts.lanes.outputs if p.name == o.name)
            base = s.ports.output[o.name]
            step.append(f"tl.store({s.pointer(base, port, o.element)}, "
                        f"{s.written(o, port, f'tl.broadcast_to({value(o.value)}, [BL, BD])')}, "
                        f"mask={s.shape_of(port)} & inside)")
        after = [s.names.fresh(f"{r.name}_next") for r in parts.registers]
        step += [f"{new} = tl.where(inside, {value(v)}, {old})"
                 for new, v, old in zip(after, body.nexts, registers, strict=True)]
        step += [f"{old} = {new}" for new, old in zip(after, registers, strict=True)]
        moved = [*(s.ports.input[p.name] for p in parts.lanes.inputs),
                 *(s.ports.output[p.name] for p in parts.lanes.outputs), *(["reset"] if s.options.resets else [])]
        step += [f"{x}_at += {x}_step" for x in moved]
        return ["program = tl.program_id(0).to(tl.int64)", "if ALIGNED:", *(f"    {x}" for x in s.hints()), *s.begin(),
                *s.params(), *s.load_states(), "for position in range(0, longest):", *(f"    {x}" for x in step),
                *s.store_states(dict(zip([r.name for r in parts.registers], registers, strict=True)))]

    def _product(self, m: Mix, vector: str) -> list[str]:
        """Statements of a product, as one tile or in pieces."""
        n = block_size(self.parts)
        name, room = self.matrix[m.name], self.room[m.name]
        start = f"{name}_ptr + block * {n}" if self.parts.lanes.width > n else f"{name}_ptr"
        out = f"{name}_product"
        return [
            f"{room} = tl.where(live, tl.broadcast_to({vector}, [BL, BD]), 0)",
            "if BK == 0:",
            "    inner = tl.arange(0, BD)[:, None]",
            f"    {name} = tl.load({start} + inner * {n} + column, mask=(inner < {n}) & (column < {n}), other=0)",
            f"    {out} = tl.dot({room}, {name}, input_precision=\"ieee\", out_dtype={self.s.real})",
            "else:",
            f"    tl.store({room}_ptr + row * lanes + lane, {room}, mask=live)",
            "    tl.debug_barrier()  # the vector is read by other threads than wrote it",
            f"    {out} = tl.zeros([BL, BD], {self.s.real})",
            f"    for k in range(0, {n}, BK):",
            "        inner = k + tl.arange(0, BK)",
            f"        piece = tl.load({room}_ptr + row * lanes + block + inner[None, :], "
            f"mask=there & (inner[None, :] < {n}), other=0)",
            f"        {name} = tl.load({start} + inner[:, None] * {n} + column, "
            f"mask=(inner[:, None] < {n}) & (column < {n}), other=0)",
            f"        {out} = tl.dot(piece, {name}, {out}, input_precision=\"ieee\", out_dtype={self.s.real})",
            "    tl.debug_barrier()"]

    def launches(self) -> list[str]:
        n = block_size(self.parts)
        width = self.parts.lanes.width
        mixes = self.parts.lanes.mixes
        return ["matrices = [" + ", ".join(f'params["{m.name}"]' for m in mixes) + "]",
                f"rooms = [torch.empty((rows, {width}) if BT else 1, dtype={self.options.carry}, device=device)"
                f" for _ in range({len(mixes)})]",
                'if shape != "sequential":', '    raise ValueError(f"no kernel of shape {shape}")',
                f"grid = -(-rows // BL) * {width // n}",
                f"sequential_kernel[(grid,)](*arguments, *matrices, *rooms, BD={tile_lanes(self.parts)}, BK=BT, "
                "**constants)"]


def _inputs(v: Value) -> set[str]:
    return {leaf.attribute[0] for leaf in leaves([v], "input")}
