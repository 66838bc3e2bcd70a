"""Files as modules: reading, imports, the standard library in scope, and the check of everything in a file."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from lsrl.diagnostics import Diagnostic, LsrlError, Source, Span, did_you_mean
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.check import check_module
from lsrl.frontend.elaborate.context import Context, Sink
from lsrl.frontend.elaborate.program import deep, elaborate_program
from lsrl.frontend.elaborate.scope import ConstEntity, DefEntity, Entity, ModuleEntity, ModuleScope, TypeEntity
from lsrl.frontend.elaborate.types import resolve_type
from lsrl.frontend.parser import is_name, parse
from lsrl.frontend.reading import read_source
from lsrl.ir.graph import Graph
from lsrl.types import Type

__all__ = ["Module", "load_module", "read_module", "read_type", "standard_library"]

_STANDARD = Path(__file__).parent.parent / "std"


@dataclass(eq=False)
class Module:
    """A file that was read and checked.

    programs: its programs by name, in the order of the text. graphs: those that need no sizes, elaborated.
    """

    source: Source
    file: syntax.File
    scope: ModuleScope
    programs: dict[str, syntax.Definition]
    graphs: dict[str, Graph] = field(default_factory=dict)

    def elaborate(self, name: str | None = None, sizes: Mapping[str, int | Type] | None = None) -> Graph:
        """The graph of a program. sizes: values of its generics; name may be left out if there is only one.

        Raises LsrlError: L112 for no such program or several, L208 for sizes that do not fit, and what the body says.
        """
        name = self._chosen(name)
        if not sizes and name in self.graphs:
            return self.graphs[name]
        graph = elaborate_program(DefEntity(self.programs[name], self.scope), sizes)
        if not sizes:
            self.graphs[name] = graph
        return graph

    def _chosen(self, name: str | None) -> str:
        known = ", ".join(self.programs)
        if name is not None and name in self.programs:
            return name
        if name is not None:
            help = did_you_mean(name, self.programs) or (f"its programs are {known}" if known else "it has none")
            raise LsrlError.of("L112", f"{self.source.name} has no program `{name}`", help=help)
        if not self.programs:
            raise LsrlError.of("L112", f"{self.source.name} has no program",
                               help="write program name(x: T) -> R: and its body")
        if len(self.programs) > 1:
            raise LsrlError.of("L112", f"{self.source.name} has several programs: say which", help=f"one of {known}")
        return next(iter(self.programs))


def load_module(path: str | Path) -> Module:
    """Read, parse and check a file and what it imports. Raises LsrlError with every error found."""
    path = Path(path)
    with deep(), _no_collection():
        return _Reader().read_checked(_source(path, None), path.parent, path)


def read_module(source: Source, folder: Path) -> Module:
    """As `load_module`, for a text; its imports are looked for from `folder`."""
    with deep(), _no_collection():
        return _Reader().read_checked(source, folder, None)


@contextmanager
def _no_collection() -> Iterator[None]:
    """The cycle collector off: trees and graphs have no cycles, and walking them costs a quarter of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read_type(scope: ModuleScope, name: str, text: str) -> Type:
    """The type that a text means in a file, for a type variable given from outside. Raises LsrlError."""
    file = parse(Source(name, f"type T = {text}\n"))
    sink = Sink()
    ctx = Context(scope, sink, "a type")
    for item in file.items:
        if isinstance(item, syntax.TypeDecl) and len(file.items) == 1:
            with ctx.recover():
                return resolve_type(ctx, item.type)
    raise LsrlError(sink.in_order() or [Diagnostic("L212", f"{text!r} is not a type")])


def _source(path: Path, place: Span | None) -> Source:
    """The text of a file. place: the import that names it. Raises LsrlError: as `read_source`, L105 at an import."""
    try:
        return read_source(path)
    except LsrlError as error:
        if place is None:
            raise
        raise LsrlError(replace(d, code="L105", span=place) for d in error.diagnostics) from None


@cache
def standard_library() -> dict[str, Entity]:
    """The public names of lsrl/std. Its files see each other's public names without imports."""
    public: dict[str, Entity] = {}
    for path in sorted(_STANDARD.glob("*.lsrl")):
        source = Source(f"<std>/{path.name}", path.read_text(encoding="utf-8"))
        scope = ModuleScope(path.stem, outer=public, library=True)
        sink = Sink()
        _define(scope, parse(source), sink)
        if sink.diagnostics:
            raise LsrlError(sink.in_order())
        public.update({n: e for n, e in scope.names.items() if not n.startswith("_")})
    return public


def _define(scope: ModuleScope, file: syntax.File, sink: Sink) -> None:
    """Enter what a file itself defines; reports names given twice (L102)."""
    places: dict[str, Span] = {}
    for item in file.items:
        entity: Entity
        match item:
            case syntax.Definition():
                entity = DefEntity(item, scope)
            case syntax.TypeDecl():
                entity = TypeEntity(item, scope)
            case syntax.ConstDecl():
                entity = ConstEntity(item, scope)
            case syntax.Import():
                continue
        _enter(scope, item.name, entity, places, sink)


def _enter(scope: ModuleScope, name: syntax.Name, entity: Entity, places: dict[str, Span], sink: Sink) -> None:
    if name.id in scope.names:
        line = f", on line {places[name.id].line} first" if name.id in places else ""
        sink.add(Diagnostic("L102", f"`{name.id}` is defined twice{line}", name.span, help="take another name"))
        return
    scope.names[name.id] = entity
    places[name.id] = name.span


class _Reader:
    """Reads a file and what it imports, each file once."""

    def __init__(self) -> None:
        self.sink = Sink()
        self.scopes: dict[Path, tuple[ModuleScope, syntax.File]] = {}
        self.reading: list[Path] = []

    def read_checked(self, source: Source, folder: Path, path: Path | None) -> Module:
        file = parse(source)
        scope = ModuleScope(source.name, outer=standard_library())
        if path is not None:
            self.reading.append(path.resolve())
        self._fill(scope, file, folder)
        programs = {i.name.id: i for i in file.items if isinstance(i, syntax.Definition) and i.kind == "program"}
        module = Module(source, file, scope, programs)
        for inner, inner_file in self.scopes.values():
            check_module(inner, inner_file, self.sink)
        module.graphs = check_module(scope, file, self.sink)
        if self.sink.diagnostics:
            raise LsrlError(self.sink.in_order())
        return module

    def _fill(self, scope: ModuleScope, file: syntax.File, folder: Path) -> None:
        _define(scope, file, self.sink)
        places: dict[str, Span] = {}
        for item in file.items:
            if isinstance(item, syntax.Import):
                try:
                    inner = self._imported(item, folder)
                    self._enter_import(scope, item, inner, places)
                except LsrlError as error:
                    for d in error.diagnostics:
                        self.sink.add(d)
                    self._enter_failed(scope, item)

    def _imported(self, item: syntax.Import, folder: Path) -> ModuleScope:
        """The scope of an imported file. Raises LsrlError."""
        if "\0" in item.path.value:
            raise LsrlError.of("L105", "a path has no NUL character", item.path.span)
        path = folder / item.path.value
        try:
            key = path.resolve()
        except (OSError, RuntimeError):  # links that lead round in a circle
            raise LsrlError.of("L105", f"{path} cannot be read: its links lead nowhere", item.path.span) from None
        if key in self.reading:
            cycle = " → ".join([*(p.name for p in self.reading[self.reading.index(key):]), key.name])
            raise LsrlError.of("L103", f"this import comes back to itself: {cycle}", item.path.span,
                               help="move what both files need to a third")
        if key not in self.scopes:
            source = _source(path, item.path.span)
            file = parse(source)
            scope = ModuleScope(source.name, outer=standard_library())
            self.reading.append(key)
            try:
                self._fill(scope, file, path.parent)
            finally:
                self.reading.pop()
            self.scopes[key] = scope, file
        return self.scopes[key][0]

    def _enter_import(self, scope: ModuleScope, item: syntax.Import, inner: ModuleScope,
                      places: dict[str, Span]) -> None:
        if item.names is None:
            stem = Path(item.path.value).stem
            if item.alias is None and not is_name(stem):
                self.sink.add(Diagnostic("L106", f"`{stem}` is not a name", item.path.span,
                                         help=f'write import "{item.path.value}" as name'))
                return
            name = item.alias or syntax.Name(stem, item.path.span)
            _enter(scope, name, ModuleEntity(inner), places, self.sink)
            return
        for name, alias in item.names:
            entity = inner.names.get(name.id)
            if name.id.startswith("_"):
                self.sink.add(Diagnostic("L106", f"`{name.id}` is private to {item.path.value}", name.span,
                                         help="names that start with `_` stay in their file"))
            elif entity is None:
                public = [n for n in inner.names if not n.startswith("_")]
                self.sink.add(Diagnostic("L106", f"{item.path.value} has no `{name.id}`", name.span,
                                         help=did_you_mean(name.id, public)))
            if entity is None or name.id.startswith("_"):
                scope.failed.add((alias or name).id)
                continue
            _enter(scope, alias or name, entity, places, self.sink)

    def _enter_failed(self, scope: ModuleScope, item: syntax.Import) -> None:
        """Names that would have come from a file that cannot be read give no further errors."""
        if item.names is None:
            scope.failed.add(item.alias.id if item.alias else Path(item.path.value).stem)
        else:
            scope.failed.update((alias or name).id for name, alias in item.names)
