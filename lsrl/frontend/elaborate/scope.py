"""What the names of a file mean: what it defines and imports, and the standard library behind that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from lsrl.diagnostics import did_you_mean
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.values import Poisoned, Static

__all__ = ["ConstEntity", "DefEntity", "Entity", "ModuleEntity", "ModuleScope", "TypeEntity", "suggestion"]


@dataclass(slots=True, eq=False)
class DefEntity:
    """A program or def of a file."""

    definition: syntax.Definition
    scope: ModuleScope


@dataclass(slots=True, eq=False)
class TypeEntity:
    """A named type; `value` once it was worked out, `busy` while it is."""

    decl: syntax.TypeDecl
    scope: ModuleScope
    value: Static | None = None
    busy: bool = False


@dataclass(slots=True, eq=False)
class ConstEntity:
    """A named constant; `value` once it was worked out, `busy` while it is."""

    decl: syntax.ConstDecl
    scope: ModuleScope
    value: Static | None = None
    busy: bool = False


@dataclass(slots=True, eq=False)
class ModuleEntity:
    """An imported file, under its name or alias."""

    scope: ModuleScope


Entity: TypeAlias = DefEntity | TypeEntity | ConstEntity | ModuleEntity


@dataclass(eq=False)
class ModuleScope:
    """The names of one file.

    names: what the file defines and imports. outer: the public names of the standard library. library: is it a
    file of the standard library, which may use the functions that are internal to it? failed: names that imports
    should have brought and did not; they give no further errors.
    """

    name: str
    names: dict[str, Entity] = field(default_factory=dict)
    outer: dict[str, Entity] = field(default_factory=dict)
    library: bool = False
    failed: set[str] = field(default_factory=set)

    def look_up(self, name: str) -> Entity | None:
        """The meaning of a name, or of `file.name` for an imported file. Raises Poisoned for one that failed."""
        first, dot, rest = name.partition(".")
        if first in self.failed:
            raise Poisoned
        found = self.names.get(first) or self.outer.get(first)
        if dot:
            inner = isinstance(found, ModuleEntity) and not rest.startswith("_")
            return found.scope.names.get(rest) if inner and isinstance(found, ModuleEntity) else None
        return found

    def known(self) -> list[str]:
        """The names that can be written here, for suggestions."""
        return [*self.names, *(n for n in self.outer if not n.startswith("_"))]


def suggestion(name: str, local: Iterable[str], scope: ModuleScope) -> str:
    """The help line for an unknown name."""
    first, dot, rest = name.partition(".")
    found = scope.names.get(first)
    if dot and isinstance(found, ModuleEntity):
        if rest.startswith("_"):
            return "names that start with `_` are private to their file"
        return did_you_mean(rest, [n for n in found.scope.names if not n.startswith("_")])
    return did_you_mean(name, [*local, *scope.known()])
