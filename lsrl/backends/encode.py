"""Program values ↔ tensors: input columns of the first layer, outputs read off the last.

Inputs are tensors (B, T) for scalars and (B, T, n, …) for vectors: codes for symbols, 0/1 or bool for bools, numbers
for the rest. They are checked against the program's types here, so that no wrong value reaches the weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from lsrl.backends.circuit import Column
from lsrl.diagnostics import LsrlError, did_you_mean
from lsrl.types import Bool, Int, Real, Symbols, Type, Vector, quote_symbol, scalar_of, shape, size, values

__all__ = ["ColumnGroup", "Encoder", "column_groups", "decode_outputs", "text_tokens", "type_from_json",
           "type_to_json"]


_LARGEST_TABLE = 2**26  # entries of an embedding


def type_to_json(t: Type) -> Any:
    """A stream type as JSON values; `type_from_json` is its inverse."""
    match t:
        case Bool():
            return ["bool"]
        case Int(lo=lo, hi=hi, raw=raw):
            return ["int", lo, hi, raw]
        case Real(lo=lo, hi=hi, grid=grid):
            return ["real", *(None if x is None else str(x) for x in (lo, hi, grid))]
        case Symbols(names=names, other=other):
            return ["symbols", list(names), other]
        case Vector(elem=elem, size=n):
            return ["vector", type_to_json(elem), n]
        case _:
            raise ValueError(f"{t} is not the type of a stream")


def type_from_json(data: Any) -> Type:
    """The type that `type_to_json` wrote. Raises ValueError, TypeError or IndexError for anything else."""
    match data:
        case ["bool"]:
            return Bool()
        case ["int", int() | None as lo, int() | None as hi, bool() as raw]:
            return Int(lo, hi, raw)
        case ["real", lo, hi, grid]:
            low, high, by = (None if x is None else Fraction(str(x)) for x in (lo, hi, grid))
            return Real(low, high, by)
        case ["symbols", list() as names, bool() as other] if all(isinstance(n, str) for n in names):
            return Symbols(tuple(names), other)
        case ["vector", elem, int() as n] if n >= 0:
            return Vector(type_from_json(elem), n)
        case _:
            raise ValueError(f"{str(data)[:60]} is not a type")


@dataclass(frozen=True, slots=True)
class ColumnGroup:
    """The columns of layer 0 that show one scalar of one input.

    element: its place in a vector input, row-major; None for a scalar input. columns: their places in layer 0.
    members: for each column, the places in the type's list of values where it is 1; None for the one column that
    holds a number, divided by its grid.
    """

    input: str
    element: int | None
    columns: tuple[int, ...]
    members: tuple[tuple[int, ...], ...] | None

    def to_json(self) -> Any:
        members = None if self.members is None else [list(m) for m in self.members]
        return [self.input, self.element, list(self.columns), members]

    @classmethod
    def from_json(cls, data: Any) -> ColumnGroup:
        name, element, columns, members = data
        return cls(str(name), None if element is None else int(element), tuple(map(int, columns)),
                   None if members is None else tuple(tuple(map(int, m)) for m in members))


def column_groups(columns: Sequence[Column], types: Mapping[str, Type]) -> tuple[ColumnGroup, ...]:
    """The columns of a circuit, by the scalar that they show, in order of first appearance."""
    found: dict[tuple[str, int | None, bool], list[int]] = {}
    for i, c in enumerate(columns):
        found.setdefault((c.input, c.element, c.values is None), []).append(i)
    groups: list[ColumnGroup] = []
    for (name, element, number), places in found.items():
        if number:
            groups.extend(ColumnGroup(name, element, (i,), None) for i in places)
            continue
        order = {v: k for k, v in enumerate(values(scalar_of(types[name])))}
        members = tuple(tuple(sorted(order[v] for v in columns[i].values or () if v in order)) for i in places)
        groups.append(ColumnGroup(name, element, tuple(places), members))
    return tuple(groups)


class Encoder(nn.Module):
    """Inputs → columns (B, T, C) of layer 0. The 0/1 embeddings are buffers of the module, one a one-hot group."""

    order: Tensor
    zero: Tensor  # of the dtype and on the device that the columns are to have

    def __init__(self, inputs: Sequence[tuple[str, Type]], groups: Sequence[ColumnGroup], dtype: torch.dtype,
                 limit: int) -> None:
        """limit: the largest number, in units of its grid, that an unbounded number input may hold in this dtype."""
        super().__init__()
        self.inputs = dict(inputs)
        self.groups = tuple(groups)
        self.limit = limit
        self.width = sum(len(g.columns) for g in groups)
        order = [c for g in groups for c in g.columns]
        if sorted(order) != list(range(self.width)):
            raise ValueError("the groups do not make up the columns")
        self.register_buffer("zero", torch.zeros((), dtype=dtype), persistent=False)
        self.in_order = order == sorted(order)
        self.register_buffer("order", torch.tensor(order, dtype=torch.long).argsort(), persistent=False)
        for i, g in enumerate(self.groups):
            if g.members is not None:
                rows = size(scalar_of(self.inputs[g.input]))
                if rows is None or rows * len(g.columns) > _LARGEST_TABLE:
                    raise ValueError(f"input `{g.input}` has too many values for one column each")
                table = torch.zeros(rows, len(g.columns), dtype=dtype)
                for column, places in enumerate(g.members):
                    table[list(places), column] = 1
                self.register_buffer(f"embedding_{i}", table, persistent=False)

    def forward(self, inputs: Mapping[str, Any] | Any) -> Tensor:
        """inputs: name → tensor, or the bare tensor of a program with one input (for a program without inputs, a
        tensor whose first two dimensions are B and T). Raises LsrlError (L602 to L606) for what is not of its type."""
        if not self.inputs:
            return self._no_columns(inputs)
        codes = {name: self._codes(name, value) for name, value in self._named(inputs).items()}
        sizes = {name: tuple(c.shape[:2]) for name, c in codes.items()}
        if len(set(sizes.values())) > 1:
            raise LsrlError.of("L602", "inputs of different lengths: " + ", ".join(
                f"`{n}` is {b} × {t}" for n, (b, t) in sizes.items()))
        device, dtype = self.zero.device, self.zero.dtype
        parts: list[Tensor] = []
        for i, g in enumerate(self.groups):
            code = codes[g.input] if g.element is None else codes[g.input].flatten(2)[:, :, g.element]
            if g.members is not None:
                table: Tensor = getattr(self, f"embedding_{i}")
                parts.append(nn.functional.embedding((code - _first(self.inputs[g.input])).to(device), table))
            else:
                parts.append(code.to(device, dtype).unsqueeze(-1))
        batch, steps = next(iter(sizes.values()))
        if not parts:
            return torch.zeros(batch, steps, 0, dtype=dtype, device=device)
        joined = torch.cat(parts, -1)
        return joined if self.in_order else joined[..., self.order]

    def _no_columns(self, inputs: Mapping[str, Any] | Any) -> Tensor:
        if isinstance(inputs, Mapping) or torch.as_tensor(inputs).dim() < 2:
            raise LsrlError.of("L606", "the program has no input, so the numbers of sequences and tokens are not known",
                               help="pass a tensor whose first two dimensions they are, such as torch.zeros(B, T)")
        given = torch.as_tensor(inputs)
        return torch.zeros(given.shape[0], given.shape[1], 0, dtype=self.zero.dtype,
                           device=self.zero.device)

    def _named(self, inputs: Mapping[str, Any] | Any) -> dict[str, Any]:
        if not isinstance(inputs, Mapping):
            if len(self.inputs) != 1:
                raise LsrlError.of("L606", f"the program has {len(self.inputs)} inputs: "
                                   + ", ".join(f"`{n}`" for n in self.inputs), help="pass a dict from name to tensor")
            return {next(iter(self.inputs)): inputs}
        for name in inputs:
            if name not in self.inputs:
                raise LsrlError.of("L606", f"the program has no input `{name}`", help=did_you_mean(name, self.inputs))
        for name in self.inputs:
            if name not in inputs:
                raise LsrlError.of("L606", f"input `{name}` is missing", help=did_you_mean(name, inputs))
        return dict(inputs)

    def _codes(self, name: str, value: Any) -> Tensor:
        """0 or 1 of bools, codes of symbols, ints, multiples of the grid of reals: int64."""
        t = self.inputs[name]
        try:
            given = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise LsrlError.of("L602", f"input `{name}` is no tensor of numbers",
                               help="symbols go in as codes: `model.tokens(text)` makes them") from None
        dims = shape(t)
        if given.dim() != 2 + len(dims) or tuple(given.shape[2:]) != dims:
            wanted = ", ".join(["batch", "tokens", *map(str, dims)])
            raise LsrlError.of("L602", f"input `{name}` has shape {tuple(given.shape)}; ({wanted}) is wanted")
        scalar = scalar_of(t)
        if isinstance(scalar, Real) and scalar.grid is None:
            return self._reals(name, given, scalar)
        grid = _grid(scalar)
        codes = _multiples(name, given, scalar, grid)
        low, high = _bounds(scalar, grid, self.limit)
        outside = (codes < low) | (codes > high)
        if bool(outside.any()):
            at = outside.nonzero()[0].tolist()
            shown = given[tuple(at)].item()
            raise LsrlError.of(*_outside(name, shown, at, scalar, self.limit))
        return codes


    def _reals(self, name: str, given: Tensor, t: Real) -> Tensor:
        """Numbers without a grid as they stand, float64."""
        if given.is_complex():
            raise LsrlError.of("L602", f"input `{name}` is complex")
        x = given.double()
        low, high = (float(bound) if bound is not None else sign * float(self.limit)
                     for bound, sign in ((t.lo, -1), (t.hi, 1)))
        outside = ~((x >= low) & (x <= high))
        if bool(outside.any()):
            at = outside.nonzero()[0].tolist()
            shown = given[tuple(at)].item()
            known = t.lo is not None and t.hi is not None
            raise LsrlError.of("L603", f"input `{name}` at {_place(at)} is {shown}, outside {t}" if known else
                               f"input `{name}` at {_place(at)} is {shown}, and the bound of the model's error is for "
                               f"{t} up to {self.limit} in size")
        return x


def _grid(t: Type) -> Fraction:
    return t.grid if isinstance(t, Real) and t.grid is not None else Fraction(1)


def _first(t: Type) -> int:
    """The whole number that stands for the first value of a finite type."""
    scalar = scalar_of(t)
    return _bounds(scalar, _grid(scalar), 0)[0]


def _multiples(name: str, given: Tensor, t: Type, grid: Fraction) -> Tensor:
    """The values as whole multiples of the grid, int64."""
    if given.dtype == torch.bool or not (given.is_floating_point() or given.is_complex()):
        if isinstance(t, Real):
            k = given.long() * grid.denominator
            exact = k % grid.numerator == 0
            k = k // grid.numerator
        else:
            return given.long()
    elif given.is_complex():
        raise LsrlError.of("L602", f"input `{name}` is complex")
    else:
        wide = given.double()
        k = torch.nan_to_num(wide * grid.denominator / grid.numerator, nan=0.5, posinf=0.5, neginf=0.5)
        k = k.clamp(-(2.0**62), 2.0**62).round().long()
        exact = (k.double() * grid.numerator / grid.denominator).to(given.dtype) == given
    if not bool(exact.all()):
        at = (~exact).nonzero()[0].tolist()
        what, code = (f"a multiple of {grid}", "L604") if isinstance(t, Real) else (f"of type {t}", "L602")
        raise LsrlError.of(code, f"input `{name}` at {_place(at)} is {given[tuple(at)].item()}, which is not {what}")
    return k


def _bounds(t: Type, grid: Fraction, limit: int) -> tuple[int, int]:
    """The least and the greatest multiple of the grid that the type admits and the dtype holds exactly."""
    match t:
        case Bool():
            return 0, 1
        case Symbols():
            return 0, len(t.names) + t.other - 1
        case Int(lo=lo, hi=hi):
            return (-limit if lo is None else lo), (limit if hi is None else hi)
        case Real(lo=low, hi=high):
            return (-limit if low is None else -(-low // grid)), (limit if high is None else high // grid)
        case _:
            raise ValueError(f"{t} is not a scalar")


def _place(at: list[int]) -> str:
    element = f", element {at[2:]}" if len(at) > 2 else ""
    return f"token {at[1]} of sequence {at[0]}{element}"


def _outside(name: str, shown: Any, at: list[int], t: Type, limit: int) -> tuple[str, str]:
    if isinstance(t, Symbols):
        count = len(t.names) + t.other
        return "L605", f"input `{name}` at {_place(at)} is {shown}, and the alphabet has the codes 0 to {count - 1}"
    if size(t) is None and abs(shown) > limit:
        return "L603", (f"input `{name}` at {_place(at)} is {shown}, and the model's numbers are exact up to {limit}; "
                        "compile with dtype float64 for larger ones")
    return "L603", f"input `{name}` at {_place(at)} is {shown}, outside {t}"


def text_tokens(t: Type, text: str | bytes) -> Tensor:
    """The codes (1, T) of a text for a symbol or byte input. Raises LsrlError (L605) with the offset of a stranger."""
    if isinstance(t, Int) and t.lo == 0 and t.hi == 255:
        data = text.encode() if isinstance(text, str) else text
        return torch.tensor([list(data)], dtype=torch.long)
    if not isinstance(t, Symbols):
        raise LsrlError.of("L602", f"a text is given, and the input is of type {t}")
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise LsrlError.of("L608", f"the text is not UTF-8 at byte {error.start}") from None
    known = {name: code for code, name in enumerate(t.names)}
    codes: list[int] = []
    for offset, symbol in enumerate(text):
        code = known.get(symbol, len(t.names) if t.other else -1)
        if code < 0:
            raise LsrlError.of("L605", f"{quote_symbol(symbol)} at offset {offset} is not in {str(t)[:60]}")
        codes.append(code)
    return torch.tensor([codes], dtype=torch.long)


def decode_outputs(raw: Tensor, outputs: Sequence[tuple[str, Type]], grids: Sequence[Fraction]) -> dict[str, Tensor]:
    """Read-out values (B, T, R) → each output (B, T, …): bool, int64 (codes for symbols), float64 for reals.

    Row r holds a scalar of an output, in order and row-major, divided by `grids[r]`. The nearest whole number is
    taken, so a read-out is right while its error is below one half. A grid of 0 says that it is read as it stands.
    """
    out: dict[str, Tensor] = {}
    start = 0
    for name, t in outputs:
        dims = shape(t)
        stop = start + math.prod(dims)
        read = raw[..., start:stop].double()
        scalar = scalar_of(t)
        top = torch.tensor([g.numerator for g in grids[start:stop]], dtype=torch.float64, device=raw.device)
        under = torch.tensor([g.denominator for g in grids[start:stop]], dtype=torch.float64, device=raw.device)
        exact = torch.where(top == 0, read, read.round() * top / under)
        decoded = exact > 0.5 if isinstance(scalar, Bool) else exact if isinstance(scalar, Real) else exact.long()
        out[name] = decoded.reshape(*raw.shape[:2], *dims)
        start = stop
    return out
