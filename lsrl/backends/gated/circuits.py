"""Scalarised graphs as circuits of ReLU maps and gated units: automata are factored first, then all is lowered."""

from __future__ import annotations

import itertools
from dataclasses import replace

import torch

from lsrl.analysis.automaton import minimise
from lsrl.arithmetic import apply, convert
from lsrl.backends.circuit import Circuit, Derived, Gated, Lag
from lsrl.backends.cubes import TooLargeError
from lsrl.backends.gated.compaction import compacted
from lsrl.backends.gated.dense import STATES, build_whole, merges_some
from lsrl.backends.gated.gates import Gates
from lsrl.backends.gated.lowering import GatedLowering
from lsrl.backends.joint import whole_automaton
from lsrl.backends.refusal import NotHostedError, refuse, refuse_numeric
from lsrl.backends.relu import refusal_code
from lsrl.backends.whole import whole_weights
from lsrl.backends.wiring import reordered
from lsrl.ir.graph import Graph, reachable
from lsrl.ir.nodes import Const, Node, Read, operands
from lsrl.ir.remembered import remembered
from lsrl.passes.factor_cascades import Factored, Way, factor_cascades, factor_definite
from lsrl.types import Value

__all__ = ["gated_circuit"]

_BITS = 10  # of a state that is read back from several
_LARGE = 700  # units of a circuit beside which no other is tried
_SMALL = 48  # units of a circuit beside which one is tried whose outputs are sums
_FAR = 4  # by what a circuit is below n·k beside which no other is tried
_SHOWN_BEFORE = (Way(), Way(after=True), Way(after=True, keyed=True, beside=True), Way(split=True),
                 Way(after=True, split=True))
_SHOWN_AFTER = (Way(after=True), Way(after=True, keyed=True, beside=True), Way(after=True, keyed=True),
                Way(after=True, beside=True), Way(), Way(after=True, split=True), Way(split=True))


def gated_circuit(graph: Graph, target: str, dtype: torch.dtype, gates: Gates, fine: bool = False) -> Circuit:
    """The circuit of a graph that the pass pipeline has made scalar, maps before gated units in every layer.

    fine: reals without a grid, and gates that are neither 0 nor 1, are hosted too, with an error. Raises
    RefusalError (L402 to L406).
    """
    numeric = refuse_numeric(graph, target)
    if numeric is not None:
        raise numeric
    found = _lowered(graph, dtype, gates, fine)
    if isinstance(found, NotHostedError):
        raise refuse(graph, target, refusal_code(found.reason), found.node, found.reason)
    if isinstance(found, TooLargeError):
        reason = "its finite part has too many cases"
        raise refuse(graph, target, "L406", graph.outputs[0][1], reason)
    return found


@remembered(64)
def _lowered(graph: Graph, dtype: torch.dtype, gates: Gates,
             fine: bool) -> Circuit | NotHostedError | TooLargeError:
    """The circuit, or why there is none; the same for all targets with the same gates."""
    refusal: NotHostedError | TooLargeError | None = None
    for groups in _groups(gates):
        options: list[Circuit] = []
        tried: list[Factored] = []
        lowered: list[Circuit] = []
        for way in _SHOWN_BEFORE if gates.lag == "before" else _SHOWN_AFTER:
            factored = _cascades(graph, groups, gates.keeps == "shared", way)
            if any(factored.chosen == other.chosen for other in tried):
                continue
            tried.append(factored)
            if groups == "none" and gates.mixing == "permutation" and _merged(factored):
                break  # another way to factor follows
            try:
                lowering = GatedLowering(factored, dtype, gates, fine)
                circuit = lowering.circuit()
            except (NotHostedError, TooLargeError) as error:
                refusal = error.with_traceback(None)
                break
            if circuit in lowered:
                continue
            lowered.append(circuit)
            whole = _maps_first(circuit if fine else compacted(whole_weights(circuit)))
            if whole.width <= _SMALL and not fine and lowering.has_old_outputs and gates.lag != "before":
                summed = GatedLowering(factored, dtype, gates, linear=True).circuit()
                if summed != circuit:
                    whole = min(whole, _maps_first(compacted(whole_weights(summed))), key=_size)
            options.append(replace(whole, derived=_derived(whole, factored)))
            if circuit.width > _LARGE or (whole.baseline is not None and _FAR * whole.width <= whole.baseline):
                break
        if gates.mixing == "matrix" and not fine:
            options += _as_one(graph, dtype, gates, min((c.width for c in options), default=STATES))
        if options:
            return min(options, key=_size)
    assert refusal is not None
    return refusal


def _merged(factored: Factored) -> bool:
    """Whether a cell that is no cascade is an automaton with a letter that merges some of its states only."""
    automata = [r.cell.automaton for r in factored.refused]
    return any(merges_some(minimise(a)) for a in automata if a is not None)


def _as_one(graph: Graph, dtype: torch.dtype, gates: Gates, most: int) -> list[Circuit]:
    """The whole program as one automaton, if it is one and has fewer than `most` states."""
    whole = whole_automaton(graph)
    if whole is None or len(whole.automaton.states) >= most:
        return []
    lowering = GatedLowering(Factored(graph, {}, (), ()), dtype, gates)
    try:
        build_whole(lowering, whole)
        circuit = lowering.circuit()
    except (NotHostedError, TooLargeError):
        return []
    return [_maps_first(replace(compacted(whole_weights(circuit)), baseline=whole.baseline))]


def _size(circuit: Circuit) -> tuple[int, int]:
    return circuit.width, len(circuit.layers)


def _groups(gates: Gates) -> tuple[str, ...]:
    """How automata are to be factored before they are lowered: what to try, in order."""
    if gates.mixing == "matrix":
        return ("whole",)
    if gates.mixing == "permutation":
        return "none", "two"  # a latch that is swapped is a permutation of two states
    if gates.keeps == "constant":
        return "whole", "delay"
    return ("two" if gates.signs else "none",)


@remembered(64)
def _cascades(graph: Graph, groups: str, numeric: bool, way: Way) -> Factored:
    """The graph with its automata as what the gates host: latches, or delays."""
    if groups == "whole":
        return Factored(graph, {}, (), ())
    if groups == "delay":
        return factor_definite(graph)
    return factor_cascades(graph, groups, numeric, way)


def _derived(circuit: Circuit, factored: Factored) -> tuple[Derived, ...]:
    """The program's states that bits stand for, where all the bits have a place."""
    home = {name: p for p in circuit.placements for name in p.states}
    out: list[Derived] = []
    for name, node in factored.recovered.items():
        nodes = reachable([node])
        reads = {n.state: n for n in nodes if isinstance(n, Read)}
        if not reads.keys() <= home.keys():
            continue
        names = tuple(dict.fromkeys(n for r in reads for n in home[r].states))  # bits of one placement go together
        if len(names) > _BITS:
            continue
        rows: list[tuple[tuple[bool, ...], Value]] = []
        for bits in itertools.product((False, True), repeat=len(names)):
            held = dict(zip(names, bits, strict=True))
            if any(tuple(held[n] for n in p.states) not in p.values for p in {home[n] for n in names}):
                continue
            values: dict[Node, Value] = {n: held[r] for r, n in reads.items()}
            for n in nodes:
                if n not in values:
                    values[n] = n.value if isinstance(n, Const) else convert(
                        apply(n, [values[x] for x in operands(n)]), n.type)
            rows.append((bits, values[node]))
        out.append(Derived(name, names, tuple(rows)))
    return tuple(out)


def _maps_first(circuit: Circuit) -> Circuit:
    order = [sorted(range(len(units)), key=lambda i, units=units: isinstance(units[i], Gated | Lag))  # type: ignore[misc]
             for units in circuit.layers]
    return reordered(circuit, order)
