"""A scalarised graph as a circuit of threshold bits and registers: the smallest of several layouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from lsrl.analysis.interval import Range
from lsrl.analysis.ranges import analyse
from lsrl.backends.circuit import Circuit
from lsrl.backends.cubes import TooLargeError
from lsrl.backends.refusal import RefusalError, refuse, refuse_numeric
from lsrl.backends.schedule import FarSetError
from lsrl.backends.symbolic import NotHostedError
from lsrl.backends.threshold import Planner
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Node, Read
from lsrl.types import Bool, Symbols

__all__ = ["bits_circuit", "layouts", "threshold_circuit"]

_SMALL = 64  # a state of more values is counted where it can be
_MOST_VALUES = 1024
_JOINT_STATES = 300


def bits_circuit(graph: Graph, target: str) -> Circuit:
    """As `threshold_circuit`, for technologies without registers. Raises RefusalError for a state without bounds."""
    return threshold_circuit(graph, target, counting=False)


def threshold_circuit(graph: Graph, target: str, counting: bool = True) -> Circuit:
    """The circuit of a graph that the pass pipeline has made scalar; `counting`: there are registers.

    Layouts tried: cells in layers, or all finite states as one machine; the fewest units win, then the fewest layers.
    Raises RefusalError (L402 to L406).
    """
    numeric = refuse_numeric(graph, target)
    if numeric is not None:
        raise numeric
    ranges = analyse(graph)
    best: Circuit | None = None
    joint_baseline: int | None = None
    first: RefusalError | None = None
    for registers, joint in layouts(graph, ranges):
        if registers and not counting:
            name = min(registers)
            first = first or refuse(graph, target, "L402", graph.state[name].next, f"`{name}` has too many values for "
                                    "bits; declare a smaller range")
            continue
        try:
            circuit = Planner(graph, ranges, registers, joint, _JOINT_STATES if joint else 4096).circuit()
        except NotHostedError as error:
            first = first or refuse(graph, target, _code(error), error.node, error.reason)
            continue
        except FarSetError:
            first = first or refuse(graph, target, "L402", _any_node(graph), "a number is set to a value too far from "
                                    "what it is compared with, and its own comparisons decide when")
            continue
        except TooLargeError:
            first = first or refuse(graph, target, "L406", _any_node(graph), "its finite part has too many states or "
                                    "cases; give its states smaller ranges")
            continue
        if joint:
            joint_baseline = circuit.baseline
        if best is None or (circuit.width, len(circuit.layers)) < (best.width, len(best.layers)):
            best = circuit
    if best is None:
        assert first is not None
        raise first
    return best if joint_baseline is None else replace(best, baseline=joint_baseline)


def layouts(graph: Graph, ranges: Mapping[Node, Range]) -> Iterator[tuple[frozenset[str], bool]]:
    """(states to be counted, whether all others are one machine), the most promising first."""
    reads = {n.state: n for n in graph.nodes if isinstance(n, Read)}
    sizes: dict[str, int | None] = {}
    for s in graph.states:
        small = isinstance(s.type, Bool | Symbols) or s.name not in reads
        sizes[s.name] = 2 if small else ranges[reads[s.name]].count
    seen: list[frozenset[str]] = []
    for most in (_SMALL, _MOST_VALUES):
        registers = frozenset(n for n, size in sizes.items() if size is None or size > most)
        if registers not in seen:
            seen.append(registers)
            yield registers, False
            if len(sizes) - len(registers) > 1:
                yield registers, True


def _code(error: NotHostedError) -> str:
    if "output" in error.reason or "shows the sign" in error.reason:
        return "L403"
    return "L404" if "without a grid" in error.reason else "L402"


def _any_node(graph: Graph) -> Node:
    return graph.states[0].next if graph.states else graph.outputs[0][1]
