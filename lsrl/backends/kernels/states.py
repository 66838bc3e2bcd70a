"""States at the edge of a kernel: in the numbers of the program outside, in the kernel's counts inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TypeAlias

import torch
from torch import Tensor

from lsrl.backends.kernels.call import state_dtype
from lsrl.backends.kernels.edges import named
from lsrl.backends.kernels.lanes import Port
from lsrl.backends.kernels.operator import Operator
from lsrl.diagnostics import LsrlError
from lsrl.types import Real, scalar_of

__all__ = ["State", "given_state", "initial_state", "shown_state"]

State: TypeAlias = dict[str, Tensor]


def initial_state(ports: Sequence[Port], operator: Operator, batch: int, device: str | torch.device) -> State:
    """The state before the first token in each of `batch` rows. ports: the program's own, not those of its lanes."""
    registers = {r.name: r for r in operator.parts.registers}
    out: State = {}
    for p, port in zip(operator.lanes.states, ports, strict=True):
        flat = [float(Fraction(registers[n].init) / registers[n].scale) for n in p.parts]
        one = _outside(_of_lanes(flat, p).expand(p.dims), p, port)
        out[p.name] = one.to(_shown_dtype(p, operator)).to(device).expand(batch, *port.dims).contiguous()
    return out


def given_state(state: Mapping[str, Tensor], ports: Sequence[Port], operator: Operator, count: int,
                device: torch.device) -> list[Tensor]:
    """A state of `count` rows as the kernel takes it. Raises LsrlError (L602, L603, L606)."""
    given = named("state", ports, state)
    out: list[Tensor] = []
    for p, port in zip(operator.lanes.states, ports, strict=True):
        x = torch.as_tensor(given[p.name])
        if tuple(x.shape) != (count, *port.dims):
            raise LsrlError.of("L602", f"state `{p.name}` has shape {tuple(x.shape)}; {(count, *port.dims)} is wanted")
        x = x.reshape(count, *p.dims[-1:], *p.seen).movedim(1, -1) if p.lane else x.reshape(count, *p.dims)
        dtype = state_dtype(p, operator.parts, operator.options)
        if isinstance(scalar_of(p.type), Real) and not dtype.is_floating_point:
            x = (x.double() * _scales(p, operator, x)).round()
        x = x.to(device, dtype)
        _check(x, p, operator)
        out.append(x)
    return out


def shown_state(made: Sequence[Tensor], ports: Sequence[Port], operator: Operator) -> State:
    """The state that a kernel leaves, as it is given back."""
    after: State = {}
    for p, port, x in zip(operator.lanes.states, ports, made, strict=True):
        dtype = _shown_dtype(p, operator)
        if dtype.is_floating_point and not x.is_floating_point():
            x = x.double() / _scales(p, operator, x)
        after[p.name] = _outside(x.to(dtype), p, port)
    return after


def _outside(x: Tensor, inside: Port, port: Port) -> Tensor:
    """A state (…, *dims) of the lanes, as the program has it: there the dimension of lanes comes first."""
    lead = x.dim() - len(inside.dims)
    return (x.movedim(-1, lead) if inside.lane else x).reshape((*x.shape[:lead], *port.dims))


def _of_lanes(numbers: Sequence[float], port: Port) -> Tensor:
    """A number for each scalar of a state of the lanes, as something to be expanded to its dimensions."""
    x = torch.tensor(numbers, dtype=torch.float64)
    return x.reshape((*port.seen, 1)) if port.lane else x.reshape(port.dims)


def _shown_dtype(port: Port, operator: Operator) -> torch.dtype:
    dtype = state_dtype(port, operator.parts, operator.options)
    if isinstance(scalar_of(port.type), Real) and not dtype.is_floating_point:
        return torch.float64
    return torch.int64 if dtype == torch.int32 else dtype


def _scales(port: Port, operator: Operator, like: Tensor) -> Tensor:
    registers = {r.name: r for r in operator.parts.registers}
    return _of_lanes([float(registers[n].scale) for n in port.parts], port).to(like.device)


def _check(x: Tensor, port: Port, operator: Operator) -> None:
    """That a state, in counts, has values that the code was proved for. Raises LsrlError (L603)."""
    if x.is_floating_point() or torch.compiler.is_compiling() or not x.numel():
        return
    ranges = operator.parts.state_ranges
    for i, name in enumerate(port.parts):
        column = x.reshape(len(x), port.elements, -1)[:, i].to(torch.int64)
        proved = ranges[name]
        least, most = (int(v) for v in torch.aminmax(column))
        shown = least if least < proved.lo else most
        what = f"outside the {proved.lo} to {proved.hi}"
        if proved.lo <= least and most <= proved.hi:
            off = column[column % proved.step != 0] if proved.step else column[column != 0]
            if not off.numel():
                continue
            shown, what = int(off[0]), f"not among the multiples of {proved.step}"
        raise LsrlError.of("L603", f"state `{name}` is {shown}, {what} that the program can reach")
