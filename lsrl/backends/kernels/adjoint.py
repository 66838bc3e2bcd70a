"""Gradients as programs: the adjoint of a program is another program, run from the last token to the first.

Reverse-mode differentiation of one step (Griewank and Walther 2008, chapter 3), with the states' cotangents as states
of their own: what a state's new value contributes to the loss is carried back as the cotangent of its old value. It is
linear in those states, so cells that are scans have adjoints that are scans, and so do smooth cells of few states. The
adjoint is an ordinary graph: classified, planned, emitted and differentiated once more like any other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from lsrl.backends.kernels.bodies import MANY_COLUMNS, MOST_SUMMED
from lsrl.backends.kernels.differentiate import Reverse
from lsrl.backends.kernels.lanes import Lanes, Mix, Port, port_names, tidied
from lsrl.backends.kernels.lowering import read_element
from lsrl.diagnostics import NOWHERE
from lsrl.ir.graph import Graph, State, reachable
from lsrl.ir.nodes import (
    Index,
    Input,
    Mux,
    Node,
    Pack,
    Param,
    Read,
    Unary,
    operands,
)
from lsrl.passes.rewrite import with_operands
from lsrl.types import BOOL, REAL, Real, Type, Vector, scalar_of, shape, with_shape

__all__ = ["RECORD", "RESET", "Adjoint", "cotangent", "make_adjoint", "record_of", "recorded"]

RECORD = "~before."  # how the names of recorded outputs begin
RESET = "~reset"  # the input of an adjoint that tells where the states started anew


def recorded(lanes: Lanes, wanted: Collection[str] | None = None) -> Lanes:
    """The program with what its adjoint may need as further outputs, `~before.NAME`.

    wanted: states, whose values before the token those are, inputs and outputs of mixes, and `kept_values`; all of them
    if None.
    """
    graph, outputs, ports = lanes.graph, list(lanes.graph.outputs), list(lanes.outputs)
    reads = {n.state: n for n in graph.nodes if isinstance(n, Read)}
    for port in lanes.states:
        if wanted is not None and port.name not in wanted:
            continue
        parts: list[Node] = [reads.get(name) or Read(name, graph.state[name].type, NOWHERE) for name in port.parts]
        outputs.append((f"{RECORD}{port.name}", _packed(parts, port.seen, scalar_of(port.type))))
        ports.append(Port(f"{RECORD}{port.name}", port.type, port.lane, wide=True))
    streams = {n.name: n for n in graph.inputs}
    for m in lanes.products:
        for name, node in ((m.name, streams[m.name]), *(((m.source, graph.output[m.source]),) if m in lanes.mixes
                                                        else ())):
            if wanted is None or name in wanted:
                outputs.append((f"{RECORD}{name}", node))
                ports.append(Port(f"{RECORD}{name}", Vector(REAL, lanes.width), True, wide=True))
    for name, node in kept_values(lanes).items():
        if wanted is None or name in wanted:
            outputs.append((f"{RECORD}{name}", node))
            ports.append(Port(f"{RECORD}{name}", Vector(REAL, lanes.width), True, wide=True))
    return replace(lanes, graph=replace(graph, outputs=tuple(outputs)), outputs=tuple(ports), floats=True)


def kept_values(lanes: Lanes) -> dict[str, Node]:
    """The values of a token that are recorded rather than calculated again, by name.

    Results of functions, where lanes meet in products: to calculate a gate again would take both the product and the
    inputs from memory, and the gate itself is as much as one of them. Other programs are limited by memory.
    """
    if not lanes.mixes:
        return {}
    found = (n for n in reachable(lanes.graph.roots) if isinstance(n, Unary))
    return {f"~kept.{i}": n for i, n in enumerate(found)}


def record_of(lanes: Lanes, mix: Mix) -> str:
    """What is recorded of the vector of a mix: a state that it is, or the vector itself."""
    node = lanes.graph.output[mix.source]
    return node.state if isinstance(node, Read) else mix.source


@dataclass(frozen=True, eq=False)
class Adjoint:
    """The adjoint of a program that records its states.

    lanes: the program to run in reverse. Its inputs are those of the program's own inputs and recorded states that it
    needs, the `cotangent` of each output of `outputs`, and RESET; its outputs `~d.NAME` for each of `inputs`. Its
    states are `~d.NAME` for each of `states` and of `params`, the latter summed over the tokens, all of them with a
    value for each lane. These tuples name what has a cotangent. needs: what has to be recorded. products: for each mix,
    the output that is the cotangent of its product; the gradient of its matrix is left to the caller, as the sum over
    the tokens of the outer products of that and the mix's vector.
    """

    lanes: Lanes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[str, ...]
    params: tuple[str, ...]
    needs: tuple[str, ...]
    products: Mapping[str, str]


def make_adjoint(lanes: Lanes, resets: bool, outputs: Collection[str] | None = None, summed: int = 0) -> Adjoint:
    """The adjoint of a program.

    resets: whether it was run with resets. outputs: those whose cotangent is not 0, all real ones if None. summed: of
    so many neighbouring lanes the cotangents of a long vector that all lanes see are summed, if states have no more
    than MOST_SUMMED columns; 0: of none.
    """
    names = [*(p.name for p in lanes.states), *(x for m in lanes.mixes for x in (m.name, m.source)),
             *(m.name for m in lanes.projections), *kept_values(lanes)]
    recording = recorded(lanes, [n for n in names if f"{RECORD}{n}" not in lanes.graph.output])
    return _Maker(lanes, recording, resets, outputs, summed).made()


def cotangent(lanes: Lanes, name: str) -> str:
    """The input of an adjoint that is an output's cotangent: `~d.NAME`, or a name like it that no input has yet."""
    known, found = {p.name for p in lanes.inputs}, f"~d.{name}"
    while found in known:
        found += "'"
    return found


def _packed(parts: list[Node], dims: tuple[int, ...], t: Type) -> Node:
    """A vector, or a vector of vectors, of scalars in row-major order; the one scalar if there are no dimensions."""
    if not dims:
        return parts[0]
    for n in reversed(dims[1:]):
        parts = [Pack(tuple(parts[i : i + n]), Vector(parts[0].type, n), NOWHERE) for i in range(0, len(parts), n)]
    return Pack(tuple(parts), with_shape(t, dims), NOWHERE)


class _Maker(Reverse):
    def __init__(self, lanes: Lanes, recording: Lanes, resets: bool, outputs: Collection[str] | None,
                 summed: int) -> None:
        super().__init__()
        self.lanes = lanes
        self.graph = lanes.graph
        self.recording = recording
        self.resets = resets
        self.wanted = outputs
        self.summed = summed
        self._moved: dict[Node, Node] = {}
        self._kept = {n: name for name, n in kept_values(lanes).items()}

    def made(self) -> Adjoint:
        real = {name for name, n in self.graph.outputs if isinstance(scalar_of(n.type), Real)}
        outs = tuple(p for p in self.lanes.outputs if p.name in real and (self.wanted is None or p.name in self.wanted))
        states = tuple(p for p in self.lanes.states if isinstance(scalar_of(p.type), Real))
        used = {n.name for n in self.graph.inputs}
        ins = tuple(p for p in self.lanes.inputs if isinstance(scalar_of(p.type), Real) and p.name in used)
        self._seed(outs, states)
        self._sweep((*(n for _, n in self.graph.outputs), *(s.next for s in self.graph.states)))
        inputs = [*map(self._leaf, self.graph.inputs), *(self._stream(p) for p in self.lanes.states), *(
            self._input(cotangent(self.lanes, p.name), p) for p in outs)]
        reset = self._leaf(Input(RESET, BOOL, NOWHERE))
        new_states: list[State] = []
        for p in states:
            for name, read in zip(p.parts, self._reads(p), strict=True):
                back = self._cotangent(read)
                if self.resets:
                    back = self._add(Mux(reset, self._number(0), back, REAL, NOWHERE))
                new_states.append(State(f"~d.{name}", REAL, 0, back, NOWHERE, True))
        param_ports = []
        params = tuple(p for p in self.lanes.params if p.name not in self.lanes.matrices)
        for p in params:
            names = self._param_names(p)
            for i, name in enumerate(names):
                old = self._add(Read(name, REAL, NOWHERE))
                share = self._cotangent(self._param(p, i))
                new_states.append(State(name, REAL, 0, self._sum([(1, old), (1, share)]), NOWHERE, True))
            param_ports.append(self._own(f"~d.{p.name}", p, names))
        streams = {n.name: n for n in self.graph.inputs}
        outputs = (*((f"~d.{p.name}", self._shown(p)) for p in ins),
                   *((f"~d.{m.name}", self._cotangent(streams[m.name]))
                     for m in self.lanes.products))
        before = [q for q in self.recording.outputs if q.name.startswith(RECORD)]
        in_ports = [*self.lanes.inputs, *before, *(self._own(cotangent(self.lanes, p.name), p, ()) for p in outs)]
        inputs += [self._input(q.name, q) for q in before if q.name not in {n.name for n in inputs}]
        inputs += [self._back(m) for m in self.lanes.mixes]
        if self.resets:
            inputs.append(reset)
            in_ports.append(Port(RESET, BOOL, False))
        graph = tidied(Graph(f"{self.graph.name}~", tuple(inputs), tuple(new_states), outputs, (), (), NOWHERE))
        used = {n.name for n in reachable(graph.roots) if isinstance(n, Input)}
        graph = replace(graph, inputs=tuple(n for n in graph.inputs if n.name in used))
        mixes = tuple(Mix(self._back(m).name, f"~d.{m.name}", m.matrix, not m.transposed) for m in self.lanes.mixes
                      if self._back(m).name in used)
        shown = [self._of_input(p) for p in ins]
        own = {graph.output[p.name]: p for p in reversed(shown) if p.lane and p.wide}
        products = {}
        for m in self.lanes.products:
            node = graph.output[f"~d.{m.name}"]
            if node not in own:
                own[node] = Port(f"~d.{m.name}", Vector(REAL, self.lanes.width), True, wide=True)
                shown.append(own[node])
            products[m.name] = own[node].name
        kept = tuple(p for p in self.lanes.params if p in params or p.name in {m.matrix for m in mixes})
        made = Lanes(graph, graph, self.lanes.width, tuple(p for p in in_ports if p.name in used), tuple(shown),
                     (*(self._own(f"~d.{p.name}", p, tuple(f"~d.{n}" for n in p.parts)) for p in states),
                      *param_ports), kept, True, mixes)
        needs = [q.name.removeprefix(RECORD) for q in before if q.name in used]
        needs += [record_of(self.lanes, m) for m in self.lanes.mixes]
        return Adjoint(made, port_names(ins), port_names(outs), port_names(states), port_names(params),
                       tuple(dict.fromkeys(needs)), products)

    def _own(self, name: str, port: Port, parts: tuple[str, ...]) -> Port:
        """The port of a cotangent: one for each lane, also of what all lanes share."""
        lane = self.lanes.width > 1 or any(p.lane for p in (*self.lanes.inputs, *self.lanes.states))
        dims = (*port.seen, self.lanes.width) if lane else port.seen
        return Port(name, with_shape(REAL, dims), lane, parts, port.wide)

    def _of_input(self, port: Port) -> Port:
        """The port of an input's cotangent."""
        own = self._own(f"~d.{port.name}", port, ())
        few = all(p.elements <= MOST_SUMMED for p in self.lanes.states)
        if port.lane or not own.lane or not self.summed or port.elements < MANY_COLUMNS or not few:
            return own
        count = -(-self.lanes.width // self.summed)
        return replace(own, type=with_shape(REAL, (*port.seen, count)), summed=self.summed)

    # Leaves of the adjoint.

    def _stream(self, port: Port) -> Input:
        return self._input(f"{RECORD}{port.name}", port)

    def _reads(self, port: Port) -> list[Node | None]:
        known = {n.state: n for n in self.graph.nodes if isinstance(n, Read)}
        return [known.get(name) for name in port.parts]

    def _param(self, port: Port, i: int) -> Node | None:
        """The node that reads element i of a param, if there is one."""
        for n in self.graph.nodes:
            if isinstance(n, Param) and n.name == port.name and not shape(n.type):
                return n
            if isinstance(n, Index) and not shape(n.type):
                found = read_element(n)
                if found is not None and (found[0].name, found[1]) == (port.name, i):
                    return n
        return None

    def _param_names(self, port: Port) -> tuple[str, ...]:
        count = port.elements
        return tuple(f"~d.{port.name}" if count == 1 else f"~d.{port.name}[{i}]" for i in range(count))

    def _shown(self, port: Port) -> Node:
        """The cotangent of an input, as an output."""
        found: dict[int, Node] = {}
        for n in self.graph.nodes:
            if isinstance(n, Input) and n.name == port.name and not shape(n.type):
                return self._cotangent(n)
            if isinstance(n, Index) and not shape(n.type):
                leaf = read_element(n)
                if leaf is not None and leaf[0].name == port.name:
                    found[leaf[1]] = self._cotangent(n)
        zero = self._number(0)
        return _packed([found.get(i, zero) for i in range(port.elements)], port.seen, REAL)

    def _back(self, mix: Mix) -> Input:
        """What the vector of a mix gets back from the product."""
        return self._leaf(Input(f"~back.{mix.name}", REAL, NOWHERE))

    # The sweep.

    def _seed(self, outs: tuple[Port, ...], states: tuple[Port, ...]) -> None:
        for m in self.lanes.mixes:
            self._give(self.graph.output[m.source], self._back(m))
        for p in outs:
            stream = self._input(cotangent(self.lanes, p.name), p)
            for i, node in enumerate(self.lanes.output_nodes(p.name)):
                self._give(node, self._element(stream, i))
        for p in states:
            for name in p.parts:
                self._give(self.graph.state[name].next, self._add(Read(f"~d.{name}", REAL, NOWHERE)))


    # Nodes of the adjoint.

    def _again(self, node: Node) -> Node:
        """A node of the program, calculated in the adjoint from inputs and recorded states."""
        stack = [node]
        while stack:
            n = stack[-1]
            missing = [x for x in operands(n) if x not in self._moved and n not in self._kept]
            if n in self._moved:
                stack.pop()
            elif missing:
                stack.extend(missing)
            else:
                stack.pop()
                self._moved[n] = self._copied(n)
        return self._moved[node]

    def _copied(self, n: Node) -> Node:
        if isinstance(n, Read):
            for port in self.lanes.states:
                if n.state in port.parts:
                    return self._element(self._stream(port), port.parts.index(n.state))
        if isinstance(n, Input) and any(n.name == m.name for m in self.lanes.products):
            return self._leaf(Input(f"{RECORD}{n.name}", REAL, NOWHERE))
        if n in self._kept:
            return self._leaf(Input(f"{RECORD}{self._kept[n]}", REAL, NOWHERE))
        if not operands(n):
            return self._add(n)
        return self._add(with_operands(n, [self._moved[x] for x in operands(n)], n.type))
