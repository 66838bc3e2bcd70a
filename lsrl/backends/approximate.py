"""Programs that a target cannot host exactly, hosted with an error below a given one, for a stated number of tokens.

What may be inexact are real numbers without a grid and the factors of recurrences: everything is compiled as if floats
were reals, and `error_bound` says how far the result is from the program. Finite values stay exact. Inputs without
bounds are taken to be at most a power of two in size, the largest of a few for which the bound holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import torch

from lsrl.backends.circuit import Circuit
from lsrl.backends.emission import Emission, short
from lsrl.backends.error_bound import ErrorBound, InexactGateError
from lsrl.diagnostics import LsrlError
from lsrl.ir.graph import Graph, GraphBuilder
from lsrl.ir.nodes import Input, Node, map_operands
from lsrl.ir.printer import all_nodes
from lsrl.passes.rewrite import rebuild
from lsrl.types import Real, Type, Vector, scalar_of

__all__ = ["Approximate", "approximate", "bounded_inputs", "has_unbounded_reals"]

# graph, target's name, dtype, epsilon, input limit → circuit, emission, and the bound, which the caller judges
Approximate = Callable[[Graph, str, torch.dtype, Fraction, int], tuple[Circuit, Emission, ErrorBound]]

_LIMITS = (1024, 256, 64, 16, 4, 1)  # that an input without bounds is taken to be at most
_ENOUGH = 1000  # tokens that a bound should last, where no number is asked for, before inputs are taken to be smaller


def approximate(host: Approximate, graph: Graph, target: str, dtype: torch.dtype, epsilon: Fraction,
                horizon: int | None) -> tuple[Circuit, Emission]:
    """The scalar graph as a circuit and its parameters, every output within epsilon of the program's.

    horizon: for at least so many tokens; None for as many as there are. Raises RefusalError where the target cannot
    host the program even so, LsrlError: L407 for half dtypes, L417 where no bound holds for one token, or for the
    horizon.
    """
    if dtype not in (torch.float32, torch.float64):
        raise LsrlError.of("L407", f"errors are bounded in float32 and float64, not in {short(dtype)}")
    best: tuple[Circuit, Emission, ErrorBound] | None = None
    limits = _LIMITS if has_unbounded_reals(graph) else _LIMITS[:1]
    for limit in limits:
        try:
            found = host(bounded_inputs(graph, limit), target, dtype, epsilon, limit)
        except InexactGateError:
            raise _refused(graph, target, "a gate depends on numbers that have no exact value, and a gate has to be "
                           "open or shut", "") from None
        if best is None or _tokens(found[2]) > _tokens(best[2]):
            best = found
        if _tokens(found[2]) >= (horizon or _ENOUGH):
            best = found
            break
    assert best is not None
    circuit, emission, bound = best
    if len(limits) == 1 and all(c.values is not None or c.hi is not None for c in circuit.columns):
        emission = replace(emission, input_limit=None)
    if _tokens(bound) < (horizon or 1):
        what = "for any token" if not bound.horizon else f"for {bound.horizon:,} tokens" + (
            f", and not for {horizon:,}" if horizon else "")
        dtypes = " or compile with dtype float64" if dtype != torch.float64 else ""
        raise _refused(graph, target, f"its error in {short(dtype)} is known to be at most {float(epsilon):g} {what}",
                       f"allow a larger error, declare smaller ranges{dtypes}")
    return circuit, emission


def _tokens(bound: ErrorBound) -> float:
    return float("inf") if bound.horizon is None else bound.horizon


def _refused(graph: Graph, target: str, reason: str, help: str) -> LsrlError:
    return LsrlError.of("L417", f"`{target}` cannot host `{graph.name}` within the error asked for: {reason}",
                        graph.span, help=help)


def has_unbounded_reals(graph: Graph) -> bool:
    """Whether an input is a real without a grid that is not bounded on both sides."""
    return any(_is_open(i.type) for i in graph.inputs)


def _is_open(t: Type) -> bool:
    s = scalar_of(t)
    return isinstance(s, Real) and s.grid is None and (s.lo is None or s.hi is None)


def bounded_inputs(graph: Graph, limit: int) -> Graph:
    """The graph with its reals without a grid and bounds as reals from −limit to limit."""
    if not has_unbounded_reals(graph):
        return graph
    builder = GraphBuilder()
    made: dict[Node, Node] = {}
    inputs: list[Input] = []
    for node in all_nodes(graph):
        if not isinstance(node, Input):
            made[node] = builder.add(map_operands(node, made.__getitem__))
            continue
        new = replace(node, type=_bounded(node.type, limit)) if _is_open(node.type) else node
        made[node] = new
    for i in graph.inputs:
        kept = made.get(i, i)
        assert isinstance(kept, Input)
        inputs.append(kept)
    return replace(rebuild(graph, made), inputs=tuple(inputs))


def _bounded(t: Type, limit: int) -> Type:
    if isinstance(t, Vector):
        return replace(t, elem=_bounded(t.elem, limit))
    assert isinstance(t, Real)
    return Real(Fraction(-limit) if t.lo is None else t.lo, Fraction(limit) if t.hi is None else t.hi, None)
