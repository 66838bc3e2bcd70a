"""A scalarised graph as a circuit of threshold bits and registers: the smallest of several layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from lsrl.analysis.interval import Range
from lsrl.analysis.ranges import analyse
from lsrl.backends.circuit import Bit, Circuit
from lsrl.backends.cubes import TooLargeError
from lsrl.backends.held_bits import hold_bits
from lsrl.backends.joint import joint_circuit, whole_automaton
from lsrl.backends.refusal import NotHostedError, RefusalError, refuse, refuse_numeric
from lsrl.backends.relays import UnshownError
from lsrl.backends.stages import FarSetError
from lsrl.backends.structure import state_needs
from lsrl.backends.threshold import Layout, Planner
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Node, Read
from lsrl.ir.remembered import remembered
from lsrl.types import Bool, Int, Symbols

__all__ = ["bits_circuit", "threshold_circuit"]

_SMALL = 64  # a state of more values is counted where it can be
_MOST_VALUES = 1024
_LARGE = 1500  # nodes of a graph for which only the first layout is tried
_FEW_PAIRS, _FAR = 256, 8  # n·k below which the whole program is tried as one machine, or by what it is above a circuit
_SAVED = 1.25  # times as many units without gates: then gates save much
_MUCH = 2_200  # nodes of the diagrams of its functions, likewise


Cost: TypeAlias = tuple[int, bool]  # `general` and `holds` of `threshold_circuit`

_CHANGES: dict[str, Callable[[Layout], Layout]] = {
    "lag": lambda x: replace(x, lag=not x.lag), "wide": lambda x: replace(x, wide=not x.wide),
    "letters": lambda x: replace(x, letters=not x.letters), "mirror": lambda x: replace(x, mirror=not x.mirror),
    "select": lambda x: replace(x, select=not x.select)}


def bits_circuit(graph: Graph, target: str, why: str = "a bit has two values", general: int = 1,
                 holds: bool = False) -> Circuit:
    """As `threshold_circuit`, for technologies without registers.

    why: what stands in the way of counting, as half a sentence. Raises RefusalError for a state without bounds.
    """
    return threshold_circuit(graph, target, counting=False, why=why, general=general, holds=holds)


def threshold_circuit(graph: Graph, target: str, counting: bool = True, why: str = "", general: int = 1,
                      holds: bool = False) -> Circuit:
    """The circuit of a graph that the pass pipeline has made scalar; `counting`: there are registers.

    general: the units that a threshold of any weights takes in the end; one where no sum exceeds 1 takes one.
    holds: units have a gate that keeps them as they are.

    Layouts tried: cells in layers, with one choice after another changed while that makes the circuit smaller, and the
    whole program as one machine, unless it is large and the layers are far below n·k. The fewest units win, then the
    fewest layers. Raises RefusalError (L402 to L406).
    """
    numeric = refuse_numeric(graph, target)
    if numeric is not None:
        raise numeric
    known = _circuits(graph)
    cost = general, holds
    if (counting, cost) not in known:
        known[counting, cost], counted = _lower(graph, target, counting, why, cost)
        if not counted:
            known[not counting, cost] = known[counting, cost]
    return known[counting, cost]


@remembered(64)
def _circuits(graph: Graph) -> dict[tuple[bool, Cost], Circuit]:
    """The circuits of a graph so far, by `counting` and `general`, `holds`: several targets share them."""
    return {}


@remembered(64)
def _layouts(graph: Graph) -> dict[tuple[frozenset[str], Cost], Circuit | RefusalError]:
    """The smallest layouts of a graph so far, by the states that are counted and `general`, `holds`."""
    return {}


def _lower(graph: Graph, target: str, counting: bool, why: str, cost: Cost) -> tuple[Circuit, bool]:
    """The circuit, and whether some state is counted in it."""
    general, holds = cost
    ranges = analyse(graph)
    whole = whole_automaton(graph)
    best: Circuit | None = None
    refusal: RefusalError | None = None
    counted = False
    for registers in _counted(graph, ranges):
        counted = counted or bool(registers)
        if registers and not counting:
            refusal = refusal or _no_counter(graph, target, registers, ranges, why)
            continue
        known = _layouts(graph)
        if (registers, cost) not in known:
            known[registers, cost] = _descend(graph, ranges, Layout(registers, general=general), target, holds)
        result = known[registers, cost]
        if not isinstance(result, RefusalError):
            best = result
            break  # to enumerate what could be counted would make it larger
        refusal = refusal or result.for_target(target)
    if whole is not None and (best is None or whole.baseline < max(_FEW_PAIRS, _FAR * best.width)):
        joint = joint_circuit(graph, whole, general)
        joint = hold_bits(joint) if joint is not None and holds else joint
        best = joint if best is None else best if joint is None else _smaller(joint, best, general)
    if best is None:
        assert refusal is not None
        raise refusal
    relays = f"{best.relays} of {best.width} units pass a value on to a later layer"
    best = replace(best, notes=(*best.notes, relays) if best.relays else best.notes)
    return (best if whole is None else replace(best, baseline=whole.baseline)), counted


def _smaller(a: Circuit | None, b: Circuit, general: int) -> Circuit:
    def size(c: Circuit) -> tuple[int, int]:
        dear = sum(1 for layer in c.layers for u in layer if isinstance(u, Bit) and not u.at_most_one)
        return c.width + (general - 1) * dear, len(c.layers)

    return b if a is None or size(b) < size(a) else a


def _descend(graph: Graph, ranges: Mapping[Node, Range], layout: Layout, target: str,
             holds: bool) -> Circuit | RefusalError:
    """The smallest circuit found by changing one choice of the layout after another; a refusal if none is possible.

    A gate holds a cell that is set to what it reads, which letters and wide observations hide: with gates, a layout
    without either comes first, and if they save much in it the search goes on from there.
    """
    best: Circuit | None = None
    saved = False
    refusal: RefusalError | None = None
    matters: set[str] = set()

    def attempt(now: Layout) -> bool:
        nonlocal best, refusal, saved
        result = _build(graph, ranges, now, target, matters)
        if isinstance(result, RefusalError):
            refusal = refusal or result
            return False
        held = hold_bits(result) if holds else result
        saved = held.width * _SAVED <= result.width
        before, best = best, _smaller(best, held, layout.general)
        return best is not before

    plain = replace(layout, wide=False, letters=False)
    if holds and attempt(plain) and saved:
        layout = plain
    else:
        refusal = None
        attempt(layout)
    if len(graph.nodes) <= _LARGE and "much work" not in matters:
        for choice, change in _CHANGES.items():
            if choice in matters and attempt(change(layout)):
                layout = change(layout)
    if best is not None:
        return best
    assert refusal is not None
    return refusal


@remembered(64)
def _builds(graph: Graph) -> dict[Layout, tuple[Circuit | RefusalError, frozenset[str]]]:
    """What was built of a graph so far, by layout, and the choices that made a difference."""
    return {}


def _build(graph: Graph, ranges: Mapping[Node, Range], layout: Layout, target: str,
           matters: set[str]) -> Circuit | RefusalError:
    """matters: the choices that made a difference are added to it, and "much work" if that is what it was."""
    known = _builds(graph)
    if layout not in known:
        found: set[str] = set()
        known[layout] = _planned(graph, ranges, layout, target, found), frozenset(found)
    result, found_before = known[layout]
    matters.update(found_before)
    return result.for_target(target) if isinstance(result, RefusalError) else result


def _planned(graph: Graph, ranges: Mapping[Node, Range], layout: Layout, target: str,
             matters: set[str]) -> Circuit | RefusalError:
    try:
        planner = Planner(graph, ranges, layout)
        matters.update(planner.matters)
        try:
            return planner.circuit()
        finally:
            matters.update(planner.matters)
            if planner.diagrams.nodes > _MUCH:
                matters.add("much work")
    except NotHostedError as error:
        return refuse(graph, target, _code(error), error.node, error.reason)
    except FarSetError:
        return refuse(graph, target, "L402", _any_node(graph), "a number is set to a value too far from what it is "
                      "compared with, and its own comparisons decide when")
    except UnshownError:
        return refuse(graph, target, "L402", _any_node(graph), "a number that it counts is read in a way that no unit "
                      "shows")
    except TooLargeError:
        return refuse(graph, target, "L406", _any_node(graph), "its finite part has too many states or cases; give its "
                      "states smaller ranges")


def _counted(graph: Graph, ranges: Mapping[Node, Range]) -> Iterator[frozenset[str]]:
    """The states to be counted rather than enumerated: the larger ones, then only those that are too large."""
    reads = {n.state: n for n in graph.nodes if isinstance(n, Read)}
    sizes: dict[str, int | None] = {}
    needs = state_needs(graph)
    for s in graph.states:
        small = isinstance(s.type, Bool | Symbols) or s.name not in reads
        sizes[s.name] = 2 if small else ranges[reads[s.name]].count
    seen: list[frozenset[str]] = []
    for most in (_SMALL, _MOST_VALUES):
        registers = frozenset(n for n, size in sizes.items() if size is None or size > _MOST_VALUES
                              or (size > most and n in needs[n]))
        if registers not in seen:
            seen.append(registers)
            yield registers


def _no_counter(graph: Graph, target: str, registers: frozenset[str], ranges: Mapping[Node, Range],
                why: str) -> RefusalError:
    """The refusal of states that only a counter could hold, where there is none; an unbounded one comes first."""
    def rank(name: str) -> tuple[bool, bool, str]:
        r = ranges[graph.state[name].next]
        return r.grid is not None, r.bounded, name

    name = min(registers, key=rank)
    gridded, bounded, _ = rank(name)
    state = graph.state[name]
    if not gridded:
        return refuse(graph, target, "L404", state.next, f"`{name}` is a real without a grid, and a bit needs one")
    declare = "int[0..k]" if isinstance(state.type, Int) else "real[lo..hi by g]"
    reason = ("has too many values for bits; declare a smaller range" if bounded else
              f"is unbounded; {why}; declare {declare}")
    return refuse(graph, target, "L402", state.next, f"`{name}` {reason}")


def _code(error: NotHostedError) -> str:
    if "shows the sign" in error.reason:
        return "L403"
    return "L404" if "without a grid" in error.reason else "L402"


def _any_node(graph: Graph) -> Node:
    return graph.states[0].next if graph.states else graph.outputs[0][1]
