"""Batches of token sequences as the tensors of a kernel's call, and its results in the program's own values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

import lsrl
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.call import Call, Options, edge_dtype, state_dtype
from lsrl.backends.kernels.lanes import Port
from lsrl.interpreter import RunError, param_values
from lsrl.types import Bool, Real, Value, Vector, scalar_of
from lsrl.values import flattened

Row = Mapping[str, Any]
Rows = Sequence[Row]
NEVER = torch.iinfo(torch.int64).max
Layout = Callable[[Tensor], Tensor]
"""Puts a tensor of (rows, tokens, …) into other memory, with the same elements."""


def time_major(x: Tensor) -> Tensor:
    """(T, B, …) in memory."""
    return x.transpose(0, 1).contiguous().transpose(0, 1)


def spread_out(x: Tensor) -> Tensor:
    """With gaps between rows and between tokens."""
    wide = torch.zeros(x.shape[0] * 2 + 1, x.shape[1] * 3 + 1, *x.shape[2:], dtype=x.dtype)
    out = wide[1::2, 1::3][: x.shape[0], : x.shape[1]]
    out.copy_(x)
    return out


def input_tensor(port: Port, options: Options, sequences: Sequence[Rows]) -> Tensor:
    numbers = [[[float(x) if isinstance(x, Fraction) else x for x in flattened(row[port.name])] for row in rows]
               for rows in sequences]
    tokens = len(sequences[0]) if sequences else 0
    return torch.tensor(numbers, dtype=edge_dtype(port, options)).reshape(len(sequences), tokens, *port.dims)


def make_call(parts: Parts, options: Options, sequences: Sequence[Rows], *, layout: Layout = lambda x: x,
              before: Mapping[str, Tensor] | None = None, resets: Sequence[Sequence[bool]] | None = None,
              reverse: bool = False) -> Call:
    """A call over sequences of one length, outputs and final states filled with what a kernel must overwrite."""
    lanes, rows, tokens = parts.lanes, len(sequences), len(sequences[0]) if sequences else 0
    outputs = {p.name: layout(torch.full((rows, tokens, *p.dims), 77, dtype=torch.float64)
                              .to(edge_dtype(p, options))) for p in lanes.outputs}
    return Call(
        rows, tokens, {p.name: layout(input_tensor(p, options, sequences)) for p in lanes.inputs}, outputs,
        before or {}, {p.name: torch.full((rows, *p.dims), 77.0).to(state_dtype(p, parts, options))
                       for p in lanes.states},
        param_tensors(parts, options), None if resets is None else torch.tensor(resets, dtype=torch.bool),
        reverse=reverse, failed=torch.full((rows,), NEVER))


def packed_call(parts: Parts, options: Options, sequences: Sequence[Rows], *, reverse: bool = False) -> Call:
    """A call over sequences of any lengths, one after the other."""
    lanes = parts.lanes
    joined = [row for rows in sequences for row in rows]
    offsets = torch.tensor([sum(map(len, sequences[:i])) for i in range(len(sequences) + 1)])
    outputs = {p.name: torch.full((len(joined), *p.dims), 77, dtype=torch.float64).to(edge_dtype(p, options))
               for p in lanes.outputs}
    after = {p.name: torch.full((len(sequences), *p.dims), 77.0).to(state_dtype(p, parts, options))
             for p in lanes.states}
    return Call(len(sequences), max(map(len, sequences), default=0),
                {p.name: input_tensor(p, options, [joined])[0] for p in lanes.inputs}, outputs, {}, after,
                param_tensors(parts, options), offsets=offsets, reverse=reverse,
                failed=torch.full((len(sequences),), NEVER))


def param_tensors(parts: Parts, options: Options) -> dict[str, Tensor]:
    values = param_values(parts.lanes.source)
    return {p.name: torch.tensor(flattened(values[p.name]), dtype=torch.float64).to(options.carry).reshape(p.dims)
            for p in parts.lanes.params}


def state_tensors(parts: Parts, options: Options, states: Sequence[Mapping[str, Value]]) -> dict[str, Tensor]:
    """Program states, one a row, as kernels hold them."""
    scales = {r.name: r.scale for r in parts.registers}
    out = {}
    for p in parts.lanes.states:
        numbers = [[x if isinstance(x, float) else int(Fraction(x) * scales[p.parts[i if len(p.parts) > 1 else 0]])
                    for i, x in enumerate(flattened(state[p.name]))] for state in states]
        wide = torch.float64 if isinstance(numbers[0][0], float) else torch.int64
        out[p.name] = torch.tensor(numbers, dtype=wide).to(state_dtype(p, parts, options)).reshape(len(states), *p.dims)
    return out


def shown(parts: Parts, outputs: Mapping[str, Tensor]) -> list[list[dict[str, list[Any]]]]:
    """The outputs of each row and token, elements in a flat list: bools, ints or floats."""
    lists = {name: x.reshape(*x.shape[:2], -1).to(torch.float64 if x.dtype.is_floating_point else x.dtype).tolist()
             for name, x in outputs.items()}
    rows, tokens = next(iter(outputs.values())).shape[:2]
    return [[{n: lists[n][r][t] for n in lists} for t in range(tokens)] for r in range(rows)]


def wanted(program: lsrl.Program, rows: Rows, before: Mapping[str, Value] | None = None) -> list[dict[str, list[Any]]]:
    """What the interpreter gives, in the same form, up to the first check that fails."""
    out = []
    try:
        for token in program._interpreter.run(rows, before):
            out.append({n: [_plain(x, program, n) for x in flattened(v)] for n, v in token.items()})
    except RunError:
        pass
    return out


def _plain(x: Any, program: lsrl.Program, name: str) -> Any:
    t = dict(program.graph.outputs)[name].type
    while isinstance(t, Vector):
        t = t.elem
    return bool(x) if isinstance(t, Bool) else float(x) if isinstance(scalar_of(t), Real) else int(x)
