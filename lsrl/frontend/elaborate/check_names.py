"""Looks up every name of a body that is not elaborated by itself: a generic def may never be called."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from lsrl.diagnostics import Diagnostic
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.calls import FUNCTIONS
from lsrl.frontend.elaborate.context import Sink
from lsrl.frontend.elaborate.scope import DefEntity, suggestion
from lsrl.frontend.elaborate.types import BUILTIN_TYPES
from lsrl.frontend.elaborate.values import Poisoned

__all__ = ["check_names"]

_PARAM_INITS = ("zeros", "ones", "normal", "uniform")


def check_names(entity: DefEntity, sink: Sink) -> None:
    """Report the names of a definition that nothing gives (L101)."""
    d = entity.definition
    walker = _Walker(entity, sink)
    walker.blocks.append({g.id for g in d.generics} | {p.name.id for p in d.parameters})
    for p in d.parameters:
        walker.visit(p.type)
    walker.visit(d.result)
    walker.statements(d.body)


class _Walker:
    """The names in scope while a body is read from top to bottom."""

    def __init__(self, entity: DefEntity, sink: Sink) -> None:
        self.scope = entity.scope
        self.sink = sink
        self.blocks: list[set[str]] = []

    def statements(self, body: tuple[syntax.Statement, ...], names: tuple[str, ...] = ()) -> None:
        self.blocks.append(set(names))
        for s in body:
            self.statement(s)
        self.blocks.pop()

    def statement(self, s: syntax.Statement) -> None:
        match s:
            case syntax.If():
                for test, block in s.branches:
                    self.visit(test)
                    self.statements(block)
                self.statements(s.orelse)
            case syntax.For():
                self.visit(s.source)
                self.statements(s.body, (s.name.id,))
            case syntax.Bind() | syntax.StateDecl():
                self.visit(s.type)
                self.visit(s.value if isinstance(s, syntax.Bind) else s.init)
                self.blocks[-1].add(s.name.id)
            case syntax.ParamDecl():
                self.visit(s.type)
                call = s.init.function if isinstance(s.init, syntax.Call) else s.init
                if isinstance(call, syntax.Name) and call.id in _PARAM_INITS:
                    self.visit(s.init.args if isinstance(s.init, syntax.Call) else None)
                else:
                    self.visit(s.init)
                self.blocks[-1].add(s.name.id)
            case syntax.Assign():
                self.visit(s.indices)
                self.visit(s.value)
            case syntax.Assert() | syntax.Assume():
                self.visit(s.condition)
            case syntax.Return():
                self.visit(s.value)

    def visit(self, node: Any) -> None:
        """Look up the names in an expression, a type, or several."""
        match node:
            case tuple():
                for part in node:
                    self.visit(part)
            case syntax.Name():
                self.require(node, functions=False)
            case syntax.TypeName():
                self.require(node.name, functions=False)
            case syntax.Call():
                self.require(node.function, functions=True)
                self.visit(node.args)
                self.visit(tuple(v for _, v in node.named))
            case syntax.Comprehension():
                self.visit(node.source)
                self.blocks.append({node.name.id})
                self.visit(node.value)
                self.blocks.pop()
            case syntax.Field(value=syntax.Name() as first) if not self.is_local(first.id):
                self.require(syntax.Name(f"{first.id}.{node.name.id}", node.span), functions=False)
            case syntax.Field():
                self.visit(node.value)
            case syntax.RecordLiteral() | syntax.RecordType():
                self.visit(tuple(v for _, v in node.fields))
            case syntax.String() | syntax.AlphabetType() | syntax.Number() | syntax.Truth() | syntax.Operator() | None:
                pass
            case _ if hasattr(node, "span"):
                for f in fields(node):
                    if f.name != "span":
                        self.visit(getattr(node, f.name))
            case _:
                pass  # an operator's sign, a flag

    def is_local(self, name: str) -> bool:
        return any(name in block for block in self.blocks)

    def require(self, name: syntax.Name, functions: bool) -> None:
        if not functions and (self.is_local(name.id) or name.id in BUILTIN_TYPES):
            return
        if functions and name.id in FUNCTIONS and (self.scope.library or not name.id.startswith("_")):
            return
        try:
            if self.scope.look_up(name.id) is not None:
                return
        except Poisoned:
            return
        if functions:
            message, known = f"the function `{name.id}` is not known here", [f for f in FUNCTIONS if f[0] != "_"]
        else:
            message = f"the name `{name.id}` is not known here"
            known = [*(n for block in self.blocks for n in block), *BUILTIN_TYPES]
        help = suggestion(name.id, sorted(known), self.scope)
        self.sink.add(Diagnostic("L101", message, name.span, help=help))
