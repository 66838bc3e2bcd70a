"""Looking names up: locals, the file's own, imported ones, the standard library, built-in types."""

from __future__ import annotations

from lsrl.frontend import syntax
from lsrl.frontend.elaborate.context import Context
from lsrl.frontend.elaborate.scope import ConstEntity, DefEntity, Entity, ModuleEntity, TypeEntity, suggestion
from lsrl.frontend.elaborate.types import BUILTIN_TYPES, resolve_type
from lsrl.frontend.elaborate.values import POISON, Data, Poisoned, Problem, StateSlot, Static, TypeValue
from lsrl.types import Record

__all__ = ["const_value", "look_up", "type_value"]


def look_up(ctx: Context, name: syntax.Name) -> Static | StateSlot:
    """What a name means here. Raises Problem L101 for an unknown one."""
    frame = ctx.frame
    found = frame.look_up(name.id)
    if found is not None:
        return found
    if name.id in frame.coming:
        line = frame.coming[name.id].line
        raise Problem("L303", f"`{name.id}` is used before line {line} declares it", name.span,
                      help="the step is read from top to bottom: move the declaration up")
    entity = frame.module.look_up(name.id)
    if entity is not None:
        return entity_value(ctx, entity, name)
    if name.id in BUILTIN_TYPES:
        return TypeValue(BUILTIN_TYPES[name.id])
    raise _unknown(ctx, name)


def _unknown(ctx: Context, name: syntax.Name) -> Problem:
    from lsrl.frontend.elaborate.calls import FUNCTIONS

    if name.id in FUNCTIONS and not name.id.startswith("_"):
        return Problem("L110", f"`{name.id}` is a function: it stands only in a call", name.span,
                       help=f"write {name.id}(…)")
    if name.id in ctx.frame.places:
        return Problem("L101", f"the name `{name.id}` is not known here", name.span,
                       help=f"the `{name.id}` of line {ctx.frame.places[name.id].line} is local to its block: "
                            "use state, or name it outside with a if c else b")
    local = [n for block in ctx.frame.blocks for n in block]
    help = suggestion(name.id, [*local, *BUILTIN_TYPES], ctx.frame.module)
    return Problem("L101", f"the name `{name.id}` is not known here", name.span, help=help)


def entity_value(ctx: Context, entity: Entity, name: syntax.Name) -> Static:
    """The value of a name of a file. Raises Problem for one that has none."""
    match entity:
        case ConstEntity():
            value = const_value(ctx, entity)
            if isinstance(value, Data):
                return Data(ctx.constant(value.value, value.node.type, name.span), value.type)
            return value
        case TypeEntity():
            return type_value(ctx, entity)
        case DefEntity():
            kind = entity.definition.kind
            raise Problem("L110", f"`{name.id}` is a {kind}: it stands only in a call", name.span,
                          help=f"write {name.id}(…)")
        case ModuleEntity():
            raise Problem("L110", f"`{name.id}` is an imported file", name.span,
                          help=f"write {name.id}.name for what it defines")


def type_value(ctx: Context, entity: TypeEntity) -> Static:
    """The type of a `type` declaration, worked out once."""
    if entity.busy:
        raise Problem("L103", f"the type `{entity.decl.name.id}` is defined by itself", entity.decl.name.span)
    if entity.value is None:
        inner = ctx.for_name(entity.scope, "a type", entity.decl.name)
        entity.busy = True
        entity.value = POISON
        try:
            with inner.recover():
                found = resolve_type(inner, entity.decl.type)
                if isinstance(found, Record):
                    raise Problem("L211", "a record can only be the result of a program or def",
                                  entity.decl.type.span)
                entity.value = TypeValue(found)
        finally:
            entity.busy = False
    if entity.value is POISON:
        raise Poisoned
    return entity.value


def const_value(ctx: Context, entity: ConstEntity) -> Static:
    """The value of a `const` declaration, worked out once."""
    from lsrl.frontend.elaborate.constants import require_static
    from lsrl.frontend.elaborate.conversion import convert
    from lsrl.frontend.elaborate.expressions import expression

    decl = entity.decl
    if entity.busy:
        raise Problem("L103", f"the constant `{decl.name.id}` is defined by itself", decl.name.span)
    if entity.value is None:
        inner = ctx.for_name(entity.scope, "a constant", decl.name)
        entity.busy = True
        entity.value = POISON
        try:
            with inner.recover():
                declared = None if decl.type is None else resolve_type(inner, decl.type)
                value = require_static(inner, expression(inner, decl.value, declared), decl.value.span, "a constant")
                if declared is not None:
                    value = convert(inner, value, declared, decl.value.span, f"`{decl.name.id}`")
                entity.value = value
        finally:
            entity.busy = False
    if entity.value is POISON:
        raise Poisoned
    return entity.value
