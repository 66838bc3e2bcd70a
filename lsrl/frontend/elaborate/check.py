"""Checks everything that a file defines, whether it is used or not."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from lsrl.diagnostics import NOWHERE, Diagnostic, LsrlError
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.calls import is_ordinary
from lsrl.frontend.elaborate.check_names import check_names
from lsrl.frontend.elaborate.context import Context, Sink
from lsrl.frontend.elaborate.names import const_value, type_value
from lsrl.frontend.elaborate.program import deep, elaborate_definition
from lsrl.frontend.elaborate.scope import ConstEntity, DefEntity, ModuleScope, TypeEntity
from lsrl.frontend.elaborate.types import type_variables
from lsrl.ir.graph import Graph
from lsrl.types import BOOL, INT, REAL, Int, Symbols, Type

__all__ = ["check_module"]

# What generic programs are tried with; an error that every try gives is one of the program.
_SIZES = (4, 2, 8, 3, 16, 1)
_OF_SIZES = ("L204", "L210", "L213", "L217", "L501")  # errors that other sizes may not have
_TYPES: tuple[Type, ...] = (Symbols(("a", "b", "c")), Int(0, 3), INT, REAL, BOOL, Int(0, 255, raw=True))


def check_module(scope: ModuleScope, file: syntax.File, sink: Sink) -> dict[str, Graph]:
    """Report the errors of a file; the graphs of its programs that are not generic.

    A def whose parameters are all streams of known types is elaborated like a program; of others only the names are
    looked up here: their types are checked where they are called.
    """
    for entity in scope.names.values():
        if isinstance(entity, TypeEntity | ConstEntity) and entity.scope is scope:
            _check_value(entity, Context(scope, sink, "a constant"))
    graphs: dict[str, Graph] = {}
    items = [i for i in file.items if isinstance(i, syntax.Definition)]
    # Programs first, then defs from the last to the first: what a call elaborated needs no check of its own.
    for d in [*(d for d in items if d.kind == "program"), *(d for d in reversed(items) if d.kind == "def")]:
        entity = DefEntity(d, scope)
        _check_parameters(d, sink)
        if d.generics or (d.kind == "def" and not is_ordinary(d)):
            check_names(entity, sink)
            if d.kind == "program":
                _check_generic(entity, sink)
            continue
        if d.kind == "def" and d in sink.checked:
            continue
        graph = elaborate_definition(entity, sink, {})
        if graph is not None and d.kind == "program":
            graphs[d.name.id] = graph
    return graphs


def _check_value(entity: TypeEntity | ConstEntity, ctx: Context) -> None:
    """Work out a type or a constant."""
    with deep(), ctx.recover(), suppress(LsrlError):  # LsrlError: too large to go on; the sink has the error
        if isinstance(entity, TypeEntity):
            type_value(ctx, entity)
        else:
            const_value(ctx, entity)


def _check_parameters(d: syntax.Definition, sink: Sink) -> None:
    seen: set[str] = set()
    for name in [*d.generics, *(p.name for p in d.parameters)]:
        if name.id in seen:
            sink.add(Diagnostic("L102", f"`{name.id}` stands twice among the parameters", name.span))
        seen.add(name.id)


def _check_generic(entity: DefEntity, sink: Sink) -> None:
    """Try a generic program with some sizes; report what is wrong with all of them."""
    d = entity.definition
    types = type_variables(d)
    common: dict[tuple[str, str, int, int], Diagnostic] | None = None
    for n, t in zip(_SIZES, _TYPES, strict=True):
        trial = Sink()
        sizes: dict[str, int | Type] = {g.id: t if g.id in types else n for g in d.generics}
        if elaborate_definition(entity, trial, sizes) is not None:
            return
        found = {(x.code, x.span.source.name, x.span.start, x.span.end): x for x in trial.diagnostics}
        common = found if common is None else {k: x for k, x in common.items() if k in found}
    tried = ", ".join(f"{g.id} = {_TYPES[0] if g.id in types else _SIZES[0]}" for g in d.generics)
    for x in (common or {}).values():
        if x.code not in _OF_SIZES:
            note = f"as it is with {tried}; other sizes have the error too"
            sink.add(replace(x, notes=(*x.notes, (note, NOWHERE))))
