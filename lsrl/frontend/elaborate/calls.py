"""Calls: of the language's own functions, and of programs and defs, whose bodies are elaborated once a call.

Each call in the text is a copy with state of its own. In a branch of an `if` statement its states keep their values
where the branch is not taken, as all states do; in `a if c else b`, `and`, `or` and the arms of a `match` every
operand is evaluated at every token, and so steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lsrl.diagnostics import Span, did_you_mean
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.constants import require_static
from lsrl.frontend.elaborate.context import CALL_LIMIT, Context, Frame
from lsrl.frontend.elaborate.conversion import convert, convert_record
from lsrl.frontend.elaborate.expressions import expression, handles
from lsrl.frontend.elaborate.scope import DefEntity, suggestion
from lsrl.frontend.elaborate.types import match_type, plain, resolve_type, static_type
from lsrl.frontend.elaborate.values import POISON, Data, Poison, Poisoned, Problem, Static
from lsrl.types import Record, Type

__all__ = ["FUNCTIONS", "Function", "arguments", "call_definition", "function", "inside", "is_ordinary",
           "result_of"]

Function = Callable[[Context, syntax.Call, "Type | None"], Static]
FUNCTIONS: dict[str, Function] = {}


def function(name: str) -> Callable[[Function], Function]:
    """Registers a function of the language; names that start with `_` are for the standard library alone."""

    def register(f: Function) -> Function:
        FUNCTIONS[name] = f
        return f

    return register


@handles(syntax.Call)
def _call(ctx: Context, e: syntax.Call, expected: Type | None) -> Static:
    name = e.function.id
    entity = ctx.frame.module.look_up(name)
    if isinstance(entity, DefEntity):
        return call_definition(ctx, entity, e)
    builtin = FUNCTIONS.get(name)
    if builtin is not None and (ctx.frame.module.library or not name.startswith("_")):
        return builtin(ctx, e, expected)
    for arg in [*e.args, *(v for _, v in e.named)]:  # for their own errors
        if not isinstance(arg, _TYPE_EXPRESSIONS):
            expression(ctx, arg)
    if entity is not None or ctx.frame.look_up(name) is not None:
        raise Problem("L110", f"`{name}` is not a function", e.function.span,
                      help=f"write {name}[…] for an element" if entity is None else "")
    known = [n for n in FUNCTIONS if not n.startswith("_")]
    raise Problem("L101", f"the function `{name}` is not known here", e.function.span,
                  help=suggestion(name, known, ctx.frame.module))


_TYPE_EXPRESSIONS = (syntax.TypeName, syntax.RangeType, syntax.AlphabetType, syntax.UnionType, syntax.ArrayType,
                     syntax.RecordType)


def arguments(e: syntax.Call, names: list[str], required: int | None = None) -> dict[str, syntax.Expr]:
    """The arguments of a call by parameter name, in the order of the parameters. Raises Problem L104."""
    call = f"`{e.function.id}`"
    if len(e.args) > len(names):
        raise Problem("L104", f"{call} takes {_count(len(names))}, and here are {len(e.args) + len(e.named)}", e.span,
                      help=f"its parameters are {', '.join(names)}" if names else "")
    given: dict[str, syntax.Expr] = {}
    for name, arg in zip(names, e.args, strict=False):
        if isinstance(arg, _TYPE_EXPRESSIONS):
            raise Problem("L104", f"`{name}` of {call} is a value, and this is a type", arg.span)
        given[name] = arg
    for named, value in e.named:
        if named.id not in names:
            raise Problem("L104", f"{call} has no parameter `{named.id}`", named.span,
                          help=did_you_mean(named.id, names) or f"its parameters are {', '.join(names)}")
        if named.id in given:
            raise Problem("L104", f"`{named.id}` of {call} is given twice", named.span)
        given[named.id] = value
    missing = [n for n in names[: len(names) if required is None else required] if n not in given]
    if missing:
        raise Problem("L104", f"{call} takes {_count(len(names))}, and {', '.join(f'`{m}`' for m in missing)} "
                      f"{'is' if len(missing) == 1 else 'are'} missing", e.span)
    return {n: given[n] for n in names if n in given}


def _count(n: int) -> str:
    return "no arguments" if n == 0 else "1 argument" if n == 1 else f"{n} arguments"


def call_definition(ctx: Context, entity: DefEntity, e: syntax.Call) -> Static:
    """The result of calling a program or def: its body, with parameters bound to the arguments."""
    d = entity.definition
    _forbid_recursion(ctx, d, e.span)
    given = arguments(e, [p.name.id for p in d.parameters])
    ctx.expand(e.span)
    frame = Frame(entity.scope, ctx.frame.unique(d.name.id) + ".", d, e.span)
    values = _values(ctx, d, given, frame)
    _bind_generics(ctx, d, given, values, frame)
    for p in d.parameters:
        if p.const:
            frame.blocks[0][p.name.id] = values[p.name.id]
    declared = _declared_types(ctx, d, frame)
    failed = False
    for p in d.parameters:
        value, arg = values[p.name.id], given[p.name.id]
        t = declared.get(p.name.id)
        if t is not None:
            value = POISON
            with ctx.recover():
                value = convert(ctx, values[p.name.id], t, arg.span, f"`{p.name.id}` of `{d.name.id}`")
        failed = failed or isinstance(value, Poison)
        frame.blocks[0][p.name.id] = value
    if failed:
        raise Poisoned
    frame.ordinary = is_ordinary(d) and not any(isinstance(v, Data) and v.constant for v in values.values())
    if frame.ordinary and not ctx.constants_only:
        ctx.sink.checked.add(d)
    with inside(ctx, frame):
        return _body(ctx, d, frame)


def is_ordinary(d: syntax.Definition) -> bool:
    """Are all its parameters streams of types that stand in the text?"""
    return not d.generics and not any(p.const or p.type is None for p in d.parameters)


def _body(ctx: Context, d: syntax.Definition, frame: Frame) -> Static:
    from lsrl.frontend.elaborate.statements import body

    for p in d.parameters:
        frame.places[p.name.id] = p.name.span
        value = frame.blocks[0][p.name.id]
        if isinstance(value, Data):
            ctx.names[frame.prefix + p.name.id] = value.node
    expected: Type | None = None
    if d.result is not None:
        with ctx.recover():
            expected = resolve_type(ctx, d.result)
        if expected is None:
            raise Poisoned
    found = body(ctx, d, expected)
    if isinstance(found, Poison):
        raise Poisoned
    return found


def result_of(ctx: Context, value: Static, declared: Type | None, e: syntax.Expr) -> Static:
    """A returned value as the declared result."""
    if declared is None:
        return value
    if isinstance(declared, Record):
        spans = {n.id: part.span for n, part in e.fields} if isinstance(e, syntax.RecordLiteral) else None
        return convert_record(ctx, value, declared, e.span, "the result", spans)
    return convert(ctx, value, declared, e.span, "the result")


@contextmanager
def inside(ctx: Context, frame: Frame) -> Iterator[None]:
    """Elaboration inside a call."""
    ctx.frames.append(frame)
    try:
        yield
    finally:
        ctx.frames.pop()


def _forbid_recursion(ctx: Context, d: syntax.Definition, span: Span) -> None:
    running = [f.definition for f in ctx.frames]
    if d in running:
        names = [x.name.id for x in running[running.index(d):] if x is not None]
        cycle = " → ".join([*names, d.name.id])
        raise Problem("L103", f"`{d.name.id}` calls itself: {cycle}", span,
                      help="recursion has no end at compile time; use state, or a for loop")
    if len(running) > CALL_LIMIT:
        raise Problem("L111", f"calls are nested more than {CALL_LIMIT} deep here", span)


def _values(ctx: Context, d: syntax.Definition, given: dict[str, syntax.Expr], frame: Frame) -> dict[str, Static]:
    """The arguments, elaborated in the caller. Raises Poisoned after an error."""
    out: dict[str, Static] = {}
    for p in d.parameters:
        arg = given[p.name.id]
        value = expression(ctx, arg, _plain_type(ctx, d, p, frame))
        if p.const and not isinstance(value, Poison):
            with ctx.recover():
                out[p.name.id] = require_static(ctx, value, arg.span, f"`{p.name.id}` of `{d.name.id}`")
                continue
            value = POISON
        out[p.name.id] = value
    if any(isinstance(v, Poison) for v in out.values()):
        raise Poisoned
    return out


def _plain_type(ctx: Context, d: syntax.Definition, p: syntax.Parameter, frame: Frame) -> Type | None:
    """The declared type of a parameter if it is an alphabet, by itself: string literals in the argument need it."""
    t = p.type
    names = {g.id for g in d.generics}
    if not isinstance(t, syntax.AlphabetType) and not (isinstance(t, syntax.TypeName) and t.name.id not in names):
        return None
    with inside(ctx, frame):
        return resolve_type(ctx, t)


def _bind_generics(ctx: Context, d: syntax.Definition, given: dict[str, syntax.Expr], values: dict[str, Static],
                   frame: Frame) -> None:
    """Find the generics from the arguments, streams before constants. Raises Problem L208."""
    free: dict[str, Static | None] = {g.id: None for g in d.generics}
    typed = [(p.type, values[p.name.id]) for p in d.parameters if p.type is not None]
    for constants in (False, True):
        for pattern, value in typed:
            if isinstance(value, Data) and value.constant == constants:
                ranged = value.type != plain(value.type)  # a constant that was declared with a range keeps it
                match_type(ctx, pattern, value.type if ranged else static_type(value), free, constants and not ranged)
    for name, found in free.items():
        if found is None:
            shown = ", ".join(given[p.name.id].span.text for p in d.parameters)
            raise Problem("L208", f"`{name}` of `{d.name.id}[{', '.join(free)}]` cannot be found from the arguments",
                          frame.call or d.span, help=f"the arguments are ({shown})" if len(shown) < 60 else "")
        frame.blocks[0][name] = found


def _declared_types(ctx: Context, d: syntax.Definition, frame: Frame) -> dict[str, Type]:
    """The types of the parameters, generics and const parameters known."""
    out: dict[str, Type] = {}
    with inside(ctx, frame):
        for p in d.parameters:
            if p.type is not None:
                with ctx.recover():
                    t = resolve_type(ctx, p.type)
                    if isinstance(t, Record):
                        raise Problem("L211", "a record can only be the result of a program or def", p.type.span)
                    out[p.name.id] = t
    if len(out) < sum(p.type is not None for p in d.parameters):
        raise Poisoned
    return out
