"""A circuit as a graph of units: which feeds which, with what weight, at the same token or the next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from fractions import Fraction
from io import BytesIO
from typing import Any

from lsrl.backends.circuit import Circuit, Gated, Lag, Register, Unit
from lsrl.backends.linear_form import Form, Gate, Rational
from lsrl.diagnostics import NOWHERE
from lsrl.types import Symbols, Type, quote_symbol, scalar_of

__all__ = ["circuit_to_graphml", "circuit_to_json"]


def circuit_to_json(circuit: Circuit, types: dict[str, Type]) -> dict[str, Any]:
    """The circuit in networkx's node-link form, a directed multigraph: `networkx.node_link_graph(data)` reads it.

    Nodes: input columns `x.I`, units `L.I` (layer and index, both from 0), outputs `y.NAME` or `y.NAME.K`. An edge has
    its exact weight as text, the nearest float, the part of the unit that reads it, and delay 1 if it is recurrent: the
    target reads the source's value of the token before. types: of the inputs, by name.
    """
    nodes = [*_columns(circuit, types), *_units(circuit), *_outputs(circuit)]
    edges = [{"source": s, "target": t, "key": k, "weight": float(w), "exact": str(w), "part": part, "delay": delay}
             for k, (s, t, w, part, delay) in enumerate(_edges(circuit))]
    return {"directed": True, "multigraph": True, "graph": {"name": circuit.name}, "nodes": nodes, "edges": edges}


def _columns(circuit: Circuit, types: dict[str, Type]) -> Iterator[dict[str, Any]]:
    for i, c in enumerate(circuit.columns):
        name = c.input if c.element is None else f"{c.input}[{c.element}]"
        if c.values is None:
            means = name if c.grid == 1 else f"{name} / {c.grid}"
        else:
            t = scalar_of(types[c.input])
            shown = [quote_symbol(t.name(int(v))) if isinstance(t, Symbols) and not isinstance(v, tuple | Fraction)
                     else str(v).lower() for v in c.values]
            means = f"{name} in {{{', '.join(shown)}}}"
        yield {"id": f"x.{i}", "kind": "input", "layer": -1, "index": i, "means": means, "span": "", "states": "",
               "bias": "0"}


def _units(circuit: Circuit) -> Iterator[dict[str, Any]]:
    for layer, units in enumerate(circuit.layers):
        for i, unit in enumerate(units):
            span = unit.symbol.span
            yield {"id": f"{layer}.{i}", "kind": type(unit).__name__.lower(), "layer": layer, "index": i,
                   "means": unit.symbol.text, "span": "" if span is NOWHERE else str(span),
                   "states": " ".join(unit.symbol.states),
                   "bias": "; ".join(f"{part} {bias}" if part else str(bias) for part, bias in _biases(unit))}


def _outputs(circuit: Circuit) -> Iterator[dict[str, Any]]:
    for name, form, k in _output_forms(circuit):
        yield {"id": f"y.{name}", "kind": "output", "layer": len(circuit.layers), "index": k, "means": name, "span": "",
               "states": "", "bias": str(form.bias)}


def _output_forms(circuit: Circuit) -> Iterator[tuple[str, Form, int]]:
    at = 0
    for output in circuit.outputs:
        for k, form in enumerate(output.forms):
            yield (output.name if len(output.forms) == 1 else f"{output.name}.{k}"), form, at
            at += 1


def _forms(unit: Unit) -> Iterator[tuple[str, str, Form]]:
    """The forms that a unit reads: (part, "below" or "own", form)."""
    for field in fields(unit):
        value = getattr(unit, field.name)
        if isinstance(value, Form):
            plain = field.name in ("below", "own")
            yield ("" if plain else field.name), ("own" if field.name == "own" else "below"), value
        elif isinstance(value, Gate):
            yield field.name, "below", value.below
            yield field.name, "own", value.own


def _biases(unit: Unit) -> Iterator[tuple[str, Rational]]:
    totals: dict[str, Rational] = {}
    for part, _, form in _forms(unit):
        totals[part] = totals.get(part, 0) + form.bias
    for part, bias in totals.items():
        if bias or not part:
            yield part, bias


def _edges(circuit: Circuit) -> Iterator[tuple[str, str, Rational, str, int]]:
    for layer, units in enumerate(circuit.layers):
        for i, unit in enumerate(units):
            me = f"{layer}.{i}"
            for part, where, form in _forms(unit):
                for w, j in form.terms:
                    source = f"{layer}.{j}" if where == "own" else f"x.{j}" if layer == 0 else f"{layer - 1}.{j}"
                    yield source, me, w, part, int(where == "own" or isinstance(unit, Lag))
            if isinstance(unit, Gated):
                for k, (keep, j) in enumerate(unit.keeps):
                    part = "keep" if len(unit.keeps) == 1 else f"keep {k}"
                    yield f"{layer}.{j}", me, 1, part, 1
                    for w, below in keep.terms:
                        yield (f"x.{below}" if layer == 0 else f"{layer - 1}.{below}"), me, w, part, 0
            if isinstance(unit, Register):
                yield me, me, 1, "count", 1
    top = len(circuit.layers) - 1
    for name, form, _ in _output_forms(circuit):
        for w, j in form.terms:
            yield (f"x.{j}" if top < 0 else f"{top}.{j}"), f"y.{name}", w, "", 0


def circuit_to_graphml(data: dict[str, Any]) -> bytes:
    """The same graph as GraphML."""
    import networkx

    out = BytesIO()
    networkx.write_graphml(networkx.node_link_graph(data, edges="edges"), out)
    return out.getvalue()
