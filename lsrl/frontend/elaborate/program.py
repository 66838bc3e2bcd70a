"""A whole program: its inputs, its body, its outputs, as a graph."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from lsrl.diagnostics import Diagnostic, LsrlError
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.context import Context, Frame, Sink
from lsrl.frontend.elaborate.conversion import data
from lsrl.frontend.elaborate.scope import DefEntity
from lsrl.frontend.elaborate.statements import body
from lsrl.frontend.elaborate.types import resolve_type, type_variables
from lsrl.frontend.elaborate.values import POISON, Data, Poison, Problem, RecordValue, StateSlot, Static, TypeValue
from lsrl.ir.graph import Graph, State
from lsrl.ir.nodes import Input, Node
from lsrl.types import INT, Record, Type

__all__ = ["deep", "elaborate_definition", "elaborate_program"]

_RECURSION = 60_000  # frames: 200 calls of bodies whose expressions are 200 deep


@contextmanager
def deep() -> Iterator[None]:
    """Room for deep syntax trees and call chains; both are limited elsewhere, with diagnostics."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def elaborate_program(entity: DefEntity, sizes: Mapping[str, int | Type] | None = None) -> Graph:
    """The graph of a program. sizes: the values of its generics. Raises LsrlError with all errors found."""
    sink = Sink()
    graph = elaborate_definition(entity, sink, sizes or {})
    if sink.diagnostics or graph is None:
        raise LsrlError(sink.in_order())
    return graph


def elaborate_definition(entity: DefEntity, sink: Sink, sizes: Mapping[str, int | Type]) -> Graph | None:
    """The graph of a program or def whose parameters are all streams; None after errors, which go to `sink`."""
    d = entity.definition
    errors = len(sink.diagnostics)
    ctx = Context(entity.scope, sink)
    frame = Frame(entity.scope, "", d, None)
    ctx.frames = [frame]
    with deep():
        try:
            with ctx.recover():
                _bind_sizes(ctx, d, sizes)
                _inputs(ctx, d)
                declared = None if d.result is None else resolve_type(ctx, d.result)
                result = body(ctx, d, declared)
                if d.kind == "program" and not isinstance(result, RecordValue | Poison):
                    result = data(result, d.span)
                if len(sink.diagnostics) == errors and isinstance(result, Data | RecordValue):
                    return _graph(ctx, d, result)
        except LsrlError:
            return None  # too large to go on; the sink has the error
        except RecursionError:
            sink.add(Diagnostic("L111", f"`{d.name.id}` nests too deeply to be compiled", d.name.span))
    return None


def _bind_sizes(ctx: Context, d: syntax.Definition, sizes: Mapping[str, int | Type]) -> None:
    """Give the generics of a program their values. Raises Problem L208."""
    names = [g.id for g in d.generics]
    for name in sizes:
        if name not in names:
            raise Problem("L208", f"`{d.name.id}` has no generic `{name}`", d.span,
                          help=f"its generics are {', '.join(names)}" if names else "it takes none")
    missing = [n for n in names if n not in sizes]
    if missing:
        types = type_variables(d)
        wanted = ", ".join(f"{n}='{{\"a\", \"b\"}}'" if n in types else f"{n}=64" for n in missing)
        raise Problem("L208", f"`{d.name.id}` is generic: {', '.join(f'`{m}`' for m in missing)} must be given", d.span,
                      help=f"say for example {wanted}")
    for name in names:
        given = sizes[name]
        value: Static = Data(ctx.number(given, d.span), INT) if isinstance(given, int) else TypeValue(given)
        ctx.frame.blocks[0][name] = value


def _inputs(ctx: Context, d: syntax.Definition) -> None:
    """One input a parameter."""
    for p in d.parameters:
        value: Static = POISON
        with ctx.recover():
            if p.const:
                raise Problem("L206", f"the inputs of a program are streams: `{p.name.id}` cannot be `const`", p.span,
                              help="make it a generic: program p[n](…), given when it is compiled")
            if p.type is None:
                raise Problem("L201", f"the input `{p.name.id}` needs a type", p.span, help=f"write {p.name.id}: T")
            t = resolve_type(ctx, p.type)
            if isinstance(t, Record):
                raise Problem("L211", "a record can only be the result of a program or def", p.type.span)
            node = Input(p.name.id, t, p.span)
            ctx.inputs.append(node)
            ctx.builder.add(node)
            ctx.names[p.name.id] = node
            value = Data(node, t)
        if p.name.id in ctx.frame.blocks[0] and p.name.id not in {g.id for g in d.generics}:
            ctx.error("L102", f"the parameter `{p.name.id}` stands twice", p.name.span)
        ctx.frame.blocks[0][p.name.id] = value
        ctx.frame.places[p.name.id] = p.name.span


def _graph(ctx: Context, d: syntax.Definition, result: Data | RecordValue) -> Graph:
    outputs: tuple[tuple[str, Node], ...]
    if isinstance(result, RecordValue):
        outputs = tuple((name, v.node) for name, v in result.fields.items())
    else:
        outputs = (("out", result.node),)
    nexts = {name: ctx.current_node(slot) for name, slot in ctx.states.items()}
    states = tuple(State(name, s.type, s.init, nexts[name], s.span) for name, s in ctx.states.items())
    names = tuple((n, nexts[v.name] if isinstance(v, StateSlot) else v) for n, v in ctx.names.items())
    return Graph(d.name.id, tuple(ctx.inputs), states, outputs, tuple(ctx.checks), names, d.span,
                 "" if d.doc is None else d.doc.value)
