"""Tensors at the edge of a kernel: what users give, brought to the element types of the kernel, and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from lsrl.backends.kernels.lanes import Port
from lsrl.diagnostics import LsrlError, did_you_mean
from lsrl.types import Bool, Int, Real, Symbols, scalar_of

__all__ = ["check_offsets", "named", "place_of", "read_stream", "require_shape"]

_INT32 = 1 << 31


def named(what: str, ports: Sequence[Port], given: Any) -> dict[str, Any]:
    """Tensors by name: a mapping of exactly the ports' names, or the bare tensor of a single port.

    what: "input" or "state", for messages. Raises LsrlError (L606).
    """
    names = [p.name for p in ports]
    if not isinstance(given, Mapping):
        if len(names) != 1:
            raise LsrlError.of("L606", f"the program has {len(names)} {what}s: " + ", ".join(f"`{n}`" for n in names),
                               help="pass a dict from name to tensor")
        return {names[0]: given}
    for name in given:
        if name not in names:
            raise LsrlError.of("L606", f"the program has no {what} `{name}`", help=did_you_mean(str(name), names))
    for name in names:
        if name not in given:
            raise LsrlError.of("L606", f"{what} `{name}` is missing", help=did_you_mean(name, list(given)))
    return dict(given)


def place_of(flat: int, shape: Sequence[int], packed: bool) -> str:
    """Where an element of (batch, token, …), or (token, …), is."""
    at: list[int] = []
    for n in reversed(shape):
        at.append(flat % n)
        flat //= n
    at.reverse()
    lead = 1 if packed else 2
    element = f", element {at[lead:]}" if len(at) > lead else ""
    return (f"token {at[0]}" if packed else f"token {at[1]} of sequence {at[0]}") + element


def require_shape(name: str, given: Tensor, port: Port, packed: bool) -> None:
    """Raises LsrlError (L602) if a stream is not (batch, tokens, *dims), or (tokens, *dims) if packed."""
    lead = 1 if packed else 2
    if given.dim() != lead + len(port.dims) or tuple(given.shape[lead:]) != port.dims:
        wanted = ", ".join([*(("tokens",) if packed else ("batch", "tokens")), *map(str, port.dims)])
        raise LsrlError.of("L602", f"input `{name}` has shape {tuple(given.shape)}; ({wanted}) is wanted")


def read_stream(port: Port, value: Any, dtype: torch.dtype, grid: Fraction | None, check: bool, packed: bool) -> Tensor:
    """A stream as a tensor of the kernel's element type.

    grid: what values must be multiples of, None if they may be any. check: that they are of the declared type; not done
    where torch.compile or torch.export traces the call, for which values are not known.
    Raises LsrlError: L602 for another kind or shape, L603 out of the range, L604 off the grid, L605 for a code that
    the alphabet has not.
    """
    try:
        given = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise LsrlError.of("L602", f"input `{port.name}` is no tensor of numbers",
                           help="symbols go in as codes: `model.tokens(text)` makes them") from None
    require_shape(port.name, given, port, packed)
    scalar = scalar_of(port.type)
    if given.requires_grad and not isinstance(scalar, Real):
        raise LsrlError.of("L414", f"input `{port.name}` is of type {scalar}, and gradients are asked for it",
                           help="only reals have gradients; detach it")
    if given.is_complex() or (given.is_floating_point() and not isinstance(scalar, Real)):
        raise LsrlError.of("L602", f"input `{port.name}` holds {given.dtype}, and is of type {scalar}",
                           help="convert it, for example with `.long()`")
    if check and not torch.compiler.is_compiling():
        _check(port, given, scalar, grid, packed)
    return given if given.dtype == dtype else given.to(dtype)


def _check(port: Port, given: Tensor, scalar: object, grid: Fraction | None, packed: bool) -> None:
    if given.numel() == 0:
        return
    match scalar:
        case Bool():
            lo, hi = 0, 1
        case Symbols():
            lo, hi = 0, len(scalar.names) + scalar.other - 1
        case Int():
            lo = -_INT32 if scalar.lo is None else scalar.lo
            hi = _INT32 - 1 if scalar.hi is None else scalar.hi
        case Real():
            _check_real(port, given, scalar, grid, packed)
            return
        case _:
            raise AssertionError(scalar)
    if given.dtype == torch.bool:
        return
    least, most = (int(x) for x in torch.aminmax(given))
    if least < lo or most > hi:
        flat = int(((given < lo) | (given > hi)).reshape(-1).int().argmax())
        shown = int(given.reshape(-1)[flat])
        where = place_of(flat, given.shape, packed)
        if isinstance(scalar, Symbols):
            raise LsrlError.of("L605", f"input `{port.name}` at {where} is {shown}, and the alphabet has the codes 0 "
                               f"to {hi}")
        outside = f"outside {scalar}" if isinstance(scalar, Bool) or scalar.lo is not None or scalar.hi is not None \
            else "and a kernel takes ints of 32 bits"
        raise LsrlError.of("L603", f"input `{port.name}` at {where} is {shown}, {outside}")


def _check_real(port: Port, given: Tensor, scalar: Real, grid: Fraction | None, packed: bool) -> None:
    if scalar.lo is None and scalar.hi is None and grid is None:
        return
    wide = given.detach().double()
    bad = torch.zeros_like(wide, dtype=torch.bool)
    if scalar.lo is not None:
        bad |= ~(wide >= float(scalar.lo))
    if scalar.hi is not None:
        bad |= ~(wide <= float(scalar.hi))
    code, what = "L603", f"outside {scalar}"
    if grid is not None and not bool(bad.any()):
        counts = torch.nan_to_num(wide / float(grid), nan=0.5, posinf=0.5, neginf=0.5).round()
        bad = (counts * float(grid)).to(given.dtype) != given
        code, what = "L604", f"which is not a multiple of {grid}"
    if bool(bad.any()):
        flat = int(bad.reshape(-1).int().argmax())
        raise LsrlError.of(code, f"input `{port.name}` at {place_of(flat, given.shape, packed)} is "
                           f"{given.reshape(-1)[flat].item()}, {what}")


def check_offsets(offsets: Any, tokens: int, device: torch.device) -> Tensor:
    """`cu_seqlens` as (sequences + 1) int64, ascending from 0 to the number of tokens. Raises LsrlError (L602)."""
    given = torch.as_tensor(offsets)
    if given.dim() != 1 or given.shape[0] < 1 or given.is_floating_point() or given.dtype == torch.bool:
        raise LsrlError.of("L602", f"cu_seqlens has shape {tuple(given.shape)} of {given.dtype}; whole numbers of "
                           "shape (sequences + 1,) are wanted")
    if torch.compiler.is_compiling():
        return given.to(device, torch.int64)
    on_host = given.to("cpu", torch.int64)
    if int(on_host[0]) != 0 or int(on_host[-1]) != tokens:
        raise LsrlError.of("L602", f"cu_seqlens goes from {int(on_host[0])} to {int(on_host[-1])}, and there are "
                           f"{tokens} tokens: it starts at 0 and ends with their number")
    falls = (on_host.diff() < 0).nonzero()
    if len(falls):
        at = int(falls[0]) + 1
        raise LsrlError.of("L602", f"cu_seqlens falls from {int(on_host[at - 1])} to {int(on_host[at])} at place {at}; "
                           "it must ascend")
    return on_host.to(device)
