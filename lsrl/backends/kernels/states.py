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
        one = torch.tensor(flat, dtype=torch.float64)
        one = one.expand(port.dims) if p.lane else one.reshape(port.dims)
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
        x = x.reshape(count, *p.dims)
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
        after[p.name] = x.to(dtype).reshape(x.shape[0], *port.dims)
    return after


def _shown_dtype(port: Port, operator: Operator) -> torch.dtype:
    dtype = state_dtype(port, operator.parts, operator.options)
    if isinstance(scalar_of(port.type), Real) and not dtype.is_floating_point:
        return torch.float64
    return torch.int64 if dtype == torch.int32 else dtype


def _scales(port: Port, operator: Operator, like: Tensor) -> Tensor:
    registers = {r.name: r for r in operator.parts.registers}
    flat = torch.tensor([float(registers[n].scale) for n in port.parts], dtype=torch.float64, device=like.device)
    return flat if port.lane else flat.reshape(port.dims)


def _check(x: Tensor, port: Port, operator: Operator) -> None:
    """That a state, in counts, has values that the code was proved for. Raises LsrlError (L603)."""
    if x.is_floating_point() or torch.compiler.is_compiling() or not x.numel():
        return
    ranges = operator.parts.state_ranges
    for i, name in enumerate(port.parts):
        column = (x if port.lane else x.reshape(len(x), -1)[:, i]).to(torch.int64)
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
