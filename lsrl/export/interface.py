"""How values go into a model's tensors and come out, in a form that needs no lsrl: tables and a few numbers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lsrl.backends.encode import type_to_json
from lsrl.backends.model import CompiledModel
from lsrl.types import Int, Real, Symbols, Type, scalar_of, shape

__all__ = ["interface_json", "plain_tensors"]


def plain_tensors(model: CompiledModel) -> dict[str, Tensor]:
    """The weights under torch's own names, and the tables `input.NAME` that make columns of an input's values, of a
    vector `input.NAME[I]`.

    `layers.I.…` are the parameters of layer I, `initial.I.NAME` (width,) its start state, `readout.weight` and
    `readout.bias` the read-out. A table is (values, columns) with 0 and 1: the columns of a token are the sum, over
    all scalars of the input, of the rows of its values; for a number (1, columns), to be multiplied by it.
    """
    out: dict[str, Tensor] = {}
    for name, tensor in model.stack.state_dict().items():
        if name.endswith(".turn"):
            continue  # the basis of a state: it is part of the map back, and no weight
        parts = name.split("_", 2)
        out[f"initial.{parts[1]}.{parts[2]}" if parts[0] == "initial" else name] = tensor
    out.update({f"readout.{n}": t for n, t in model.readout.state_dict().items()})
    encoder = model.encoder
    for key, _, i in _tables(model):
        group = encoder.groups[i]
        table = torch.ones(1, 1) if group.members is None else getattr(encoder, f"embedding_{i}")
        out[key] = torch.zeros(len(table), max(encoder.width, 1), dtype=model.readout.weight.dtype)
        out[key][:, list(group.columns)] = table.to(out[key].dtype)
    return {name: t.detach().cpu().contiguous().clone() for name, t in out.items()}


def _tables(model: CompiledModel) -> list[tuple[str, str, int]]:
    """(tensor, input, group of columns) of each table; `#` numbers the tables of one scalar."""
    found: list[tuple[str, str, int]] = []
    for i, g in enumerate(model.encoder.groups):
        key = f"input.{g.input}" + ("" if g.element is None else f"[{g.element}]")
        before = sum(k.split("#")[0] == key for k, _, _ in found)
        found.append((f"{key}#{before}" if before else key, g.input, i))
    return found


def interface_json(model: CompiledModel) -> dict[str, Any]:
    """For each input its type and how a value becomes a row of its tables, for each output how it is read.

    Row of a table: value / grid − first; of a number the one row times value / grid, rounded if it is whole. Output:
    round(row of the read-out) · grid, true above one half for a bool; the row as it stands where the grid is 0, and
    `error` is the bound of what it is off by.
    """
    errors = dict(model.certificate.errors)
    rows = [float(g) for g in model.grids]
    outputs, at = [], 0
    for name, t in model.outputs:
        count = math.prod(shape(t))
        outputs.append({"name": name, **_type(t), "rows": [at, at + count], "grid": rows[at : at + count],
                        "error": errors.get(name, 0.0)})
        at += count
    tables: dict[str, list[dict[str, Any]]] = {}
    for key, name, i in _tables(model):
        group = model.encoder.groups[i]
        tables.setdefault(name, []).append(
            {"tensor": key, "element": group.element or 0, "number": group.members is None})
    return {
        "target": model.target, "kind": model.description["kind"], "dtype": model.description["dtype"],
        "columns": model.encoder.width, "widths": list(model.stack.widths), "uniform": model.stack.uniform,
        "layers": model.description.get("layers") or [],
        "state": [{"layer": layer, "name": name, "width": width} for layer, name, width in model.stack.state_names],
        "inputs": [{"name": n, **_type(t), **_row(t), "tables": tables.get(n, [])} for n, t in model.inputs],
        "outputs": outputs}


def _type(t: Type) -> dict[str, Any]:
    scalar = scalar_of(t)
    names = {"symbols": [*scalar.names, *(["*"] if scalar.other else [])]} if isinstance(scalar, Symbols) else {}
    return {"type": str(t), "shape": list(shape(t)), "as_json": type_to_json(t), **names}


def _row(t: Type) -> dict[str, Any]:
    scalar = scalar_of(t)
    grid = scalar.grid if isinstance(scalar, Real) and scalar.grid is not None else 1
    lo = scalar.lo if isinstance(scalar, Int | Real) else None
    whole = not isinstance(scalar, Real) or scalar.grid is not None
    return {"grid": float(grid), "whole": whole, "first": 0 if lo is None else int(-(-lo // grid))}
