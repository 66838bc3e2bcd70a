"""Statements: state, names, assignment, branches, loops, assertions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

from lsrl.diagnostics import Span, did_you_mean
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.constants import require_static
from lsrl.frontend.elaborate.context import Context, Layer
from lsrl.frontend.elaborate.conversion import convert
from lsrl.frontend.elaborate.expressions import condition, each_value, expression
from lsrl.frontend.elaborate.indexing import assign_element
from lsrl.frontend.elaborate.types import resolve_type
from lsrl.frontend.elaborate.values import POISON, Data, Poison, Poisoned, Problem, RecordValue, StateSlot, Static
from lsrl.frontend.walk import children
from lsrl.ir.nodes import Const, Node, Param, Read
from lsrl.types import Real, Record, Type, Value, first_value, scalar_of

__all__ = ["body"]


def body(ctx: Context, d: syntax.Definition, result: Type | None) -> Static:
    """The value that a body returns, POISON after an error in it."""
    from lsrl.frontend.elaborate.calls import result_of

    frame = ctx.frame
    frame.coming = {s.name.id: s.name.span for s in reversed(d.body)
                    if isinstance(s, syntax.StateDecl | syntax.ParamDecl | syntax.Bind)}
    _require_used(ctx, d)
    returned: Static | None = None
    for i, s in enumerate(d.body):
        if not isinstance(s, syntax.Return):
            statement(ctx, s, top=True)
            continue
        returned = POISON
        if i + 1 < len(d.body):
            ctx.error("L305", "nothing can follow `return`", d.body[i + 1].span, help="`return` stands last, and once")
        with ctx.recover():
            value = expression(ctx, s.value, result)
            if isinstance(value, Poison):
                raise Poisoned
            returned = result_of(ctx, value, result, s.value)
        break
    if returned is None and not any(isinstance(s, syntax.Return) for s in statements_in(d.body)):
        ctx.error("L304", f"`{d.name.id}` returns nothing", d.name.span, help="end the body with return …")
    return POISON if returned is None else returned


def _require_used(ctx: Context, d: syntax.Definition) -> None:
    """That the body names each of its params: what is not named would have no gradient, and be no parameter."""
    params = [s for s in d.body if isinstance(s, syntax.ParamDecl)]
    if not params:
        return
    named: set[str] = set()
    work: list[object] = [part for s in d.body for part in children(s) if part is not getattr(s, "name", None)]
    while work:
        node = work.pop()
        if isinstance(node, syntax.Name):
            named.add(node.id)
        work += children(node)
    for s in params:
        if s.name.id not in named:
            ctx.error("L307", f"nothing uses the param `{s.name.id}`", s.span, help="use it, or take it out")


def statements_in(body: Sequence[syntax.Statement]) -> Iterator[syntax.Statement]:
    """Every statement of a body, those in its blocks included."""
    work = list(body)
    while work:
        s = work.pop()
        yield s
        if isinstance(s, syntax.If):
            work += [*s.orelse, *(inner for _, block in s.branches for inner in block)]
        elif isinstance(s, syntax.For):
            work += s.body


def statement(ctx: Context, s: syntax.Statement, top: bool) -> None:
    """Elaborate one statement; errors are reported. top: does it stand outside every `if` and `for`?"""
    with ctx.recover():
        match s:
            case syntax.Bind():
                _bind(ctx, s)
            case syntax.Assign():
                _assign(ctx, s)
            case syntax.If():
                _if(ctx, s)
            case syntax.For():
                _for(ctx, s)
            case syntax.StateDecl():
                _require_top(ctx, s, top, "state")
                _state(ctx, s)
            case syntax.ParamDecl():
                _require_top(ctx, s, top, "param")
                _param(ctx, s)
            case syntax.Assert():
                _assert(ctx, s)
            case syntax.Assume():
                _assume(ctx, s)
            case syntax.Return():
                expression(ctx, s.value)
                raise Problem("L305", "`return` stands last in a body, outside `if` and `for`", s.span,
                              help="choose the value before: return a if c else b")


def _block(ctx: Context, statements: Sequence[syntax.Statement], names: dict[str, Static | StateSlot]) -> None:
    ctx.frame.blocks.append(names)
    try:
        for s in statements:
            statement(ctx, s, top=False)
    finally:
        ctx.frame.blocks.pop()


# ---------------------------------------------------------------- names and state


def _require_top(ctx: Context, s: syntax.StateDecl | syntax.ParamDecl, top: bool, word: str) -> None:
    if not top:
        ctx.frame.blocks[-1].setdefault(s.name.id, POISON)  # its uses give no further errors
        raise Problem("L306", f"`{word}` stands at the top of a body, not inside `if` or `for`", s.span,
                      help="declare it above; assign it with := in the branch")


def _declare(ctx: Context, name: syntax.Name, value: Static | StateSlot) -> None:
    """Give a name its meaning. Raises Problem L302 if it has one in this body."""
    frame = ctx.frame
    before = frame.look_up(name.id)
    if before is not None:
        line = f" on line {frame.places[name.id].line}" if name.id in frame.places else ""
        if isinstance(before, StateSlot):
            raise Problem("L302", f"`{name.id}` is a state, declared{line}", name.span,
                          help=f"give a state its new value with {name.id} := …")
        raise Problem("L302", f"`{name.id}` is named{line} already, and a name is given once", name.span,
                      help="take another name; what changes from token to token is state, assigned with :=")
    frame.blocks[-1][name.id] = value
    frame.places[name.id] = name.span
    if isinstance(value, StateSlot):
        ctx.names[value.name] = value
    elif isinstance(value, Data):
        ctx.names[frame.named(name.id)] = value.node
    elif isinstance(value, RecordValue):
        whole = frame.named(name.id)
        for field, part in value.fields.items():
            ctx.names[f"{whole}.{field}"] = part.node


def _bind(ctx: Context, s: syntax.Bind) -> None:
    value: Static = POISON
    with ctx.recover():
        declared = None if s.type is None else resolve_type(ctx, s.type)
        value = expression(ctx, s.value, declared)
        if declared is not None and not isinstance(value, Poison):
            found, value = value, POISON
            value = convert(ctx, found, declared, s.value.span, f"`{s.name.id}`")
    _declare(ctx, s.name, value)


def _state(ctx: Context, s: syntax.StateDecl) -> None:
    slot: StateSlot | None = None
    with ctx.recover():
        if ctx.constants_only:
            raise Problem("L206", f"{ctx.constants_only} cannot be computed by a def that has state", s.span)
        t = resolve_type(ctx, s.type)
        if isinstance(t, Record):
            raise Problem("L211", "a state cannot be a record", s.type.span, help="declare one state a field")
        init = first_value(t)  # to go on with after an error
        with ctx.recover():
            value = require_static(ctx, expression(ctx, s.init, t), s.init.span, f"the initial value of `{s.name.id}`")
            node = convert(ctx, value, t, s.init.span, f"`{s.name.id}`", spread=True).node
            assert isinstance(node, Const)
            init = node.value
        name = ctx.frame.prefix + s.name.id
        read = ctx.builder.add(Read(name, t, s.span))
        assert isinstance(read, Read)
        slot = StateSlot(name, t, init, read, s.span)
    _declare(ctx, s.name, POISON if slot is None else slot)
    if slot is not None:
        ctx.states[slot.name] = slot


_INITS = {"zeros": 0, "ones": 0, "normal": 1, "uniform": 2}


def _param(ctx: Context, s: syntax.ParamDecl) -> None:
    value: Static = POISON
    with ctx.recover():
        if ctx.constants_only:
            raise Problem("L206", f"{ctx.constants_only} cannot be computed with a `param`", s.span)
        t = resolve_type(ctx, s.type)
        if not isinstance(scalar_of(t), Real) or isinstance(t, Record):
            raise Problem("L201", f"a param is real, or a vector of reals, not `{t}`", s.type.span)
        init = _param_init(ctx, s.init, t, s.name.id)
        value = Data(ctx.builder.add(Param(ctx.frame.prefix + s.name.id, init, t, s.span)), t)
    _declare(ctx, s.name, value)


def _param_init(ctx: Context, e: syntax.Expr, t: Type, name: str) -> tuple[str, tuple[Value, ...]]:
    """(kind, arguments) of a param's initial value. Raises Problem."""
    from lsrl.frontend.elaborate.constants import constant_number

    kind = e.function.id if isinstance(e, syntax.Call) else e.id if isinstance(e, syntax.Name) else ""
    args = e.args if isinstance(e, syntax.Call) else ()
    if kind in _INITS and ctx.frame.look_up(kind) is None and (kind in ("normal", "uniform") or not args):
        numbers: list[Fraction] = []
        for a in args:
            if isinstance(a, syntax.TypeName | syntax.RangeType | syntax.AlphabetType | syntax.UnionType
                          | syntax.ArrayType | syntax.RecordType):
                raise Problem("L104", f"`{kind}` takes numbers", a.span)
            numbers.append(Fraction(constant_number(ctx, a, f"an argument of `{kind}`")))
            if kind == "normal" and numbers[0] < 0:
                raise Problem("L213", f"a standard deviation is not negative, and this is {numbers[0]}", a.span)
        if len(numbers) != _INITS[kind] or (isinstance(e, syntax.Call) and e.named):
            raise Problem("L104", f"`{kind}` takes {_INITS[kind]} number{'s' if _INITS[kind] != 1 else ''} here",
                          e.span, help="normal(standard deviation), uniform(lo, hi)")
        if kind == "uniform" and numbers[0] > numbers[1]:
            raise Problem("L213", f"the range {numbers[0]}..{numbers[1]} is empty", e.span,
                          help="write uniform(lo, hi)")
        return kind, tuple(numbers)
    value = require_static(ctx, expression(ctx, e, t), e.span, f"the initial value of `{name}`")
    node = convert(ctx, value, t, e.span, f"`{name}`", spread=True).node
    assert isinstance(node, Const)
    return "const", (node.value,)


def _assign(ctx: Context, s: syntax.Assign) -> None:
    found = ctx.frame.look_up(s.name.id)
    if not isinstance(found, StateSlot):
        expression(ctx, s.value)
        if isinstance(found, Poison):
            return
        problem = _not_a_state(ctx, s, found)
        if found is None and s.name.id not in ctx.frame.coming:
            ctx.frame.blocks[0][s.name.id] = POISON  # its further uses give no further errors
        raise problem
    if s.indices:
        assign_element(ctx, found, s)
        return
    value = convert(ctx, expression(ctx, s.value, found.type), found.type, s.value.span, f"`{s.name.id}`", spread=True,
                    of_state=True, statement=s.span)
    ctx.assign(found, value.node)


def _not_a_state(ctx: Context, s: syntax.Assign, found: Static | None) -> Problem:
    name = s.name.id
    if found is not None:
        return Problem("L301", f"`{name}` is not a state, so it has no new value", s.span,
                       help=f"declare it with state {name}: T = …, or name the value with = under another name")
    if name in ctx.frame.coming:
        return Problem("L303", f"`{name}` is used before line {ctx.frame.coming[name].line} declares it", s.name.span,
                       help="the step is read from top to bottom: move the declaration up")
    states = [n for b in ctx.frame.blocks for n, v in b.items() if isinstance(v, StateSlot)]
    near = did_you_mean(name, states)
    return Problem("L301", f"the state `{name}` is not declared", s.name.span,
                   help=near or f"declare it above: state {name}: T = …")


# ---------------------------------------------------------------- branches and loops


def _if(ctx: Context, s: syntax.If) -> None:
    """Each branch assigns on a layer of its own; `elif` is an `if` inside the `else`, done without recursion."""
    levels: list[tuple[Node | None, Layer, bool]] = []  # condition, its branch, was a layer opened for what follows?
    guard = ctx.guard
    last = s.orelse
    try:
        for i, (test, block) in enumerate(s.branches):
            if i:
                ctx.push_branch()
            found: Data | None = None
            with ctx.recover():
                found = condition(ctx, test)
            opened = i > 0 and ctx.branch_assigns()
            if i and not opened:
                ctx.pop_branch()
            if found is not None and found.constant:
                levels.append((None, {}, opened))
                if found.value:
                    last = block
                    break
                continue
            ctx.push_branch()
            if found is None:  # for the errors in it
                _block(ctx, block, {})
                ctx.pop_branch()
                levels.append((None, {}, opened))
                continue
            with ctx.guarded(found.node, test.span):
                _block(ctx, block, {})
            levels.append((found.node, ctx.pop_branch(), opened))
            ctx.also_guarded(ctx.negate(found.node, test.span), test.span)
        ctx.push_branch()
        _block(ctx, last, {})
        _close(ctx, levels, ctx.pop_branch(), s.span)
    finally:
        ctx.guard = guard


def _close(ctx: Context, levels: list[tuple[Node | None, Layer, bool]], rest: Layer, span: Span) -> None:
    """Merge the branches, innermost first, into what the statement assigns."""
    for node, branch, opened in reversed(levels):
        if not opened:
            ctx.push_branch()
        if node is None:
            ctx.assign_all(rest)
        else:
            ctx.merge(node, branch, rest, span)
        rest = ctx.pop_branch()
    ctx.assign_all(rest)


def _for(ctx: Context, s: syntax.For) -> None:
    if ctx.frame.look_up(s.name.id) is not None:
        raise Problem("L302", f"`{s.name.id}` is named already, and a name is given once", s.name.span,
                      help="take another name")
    try:
        items = each_value(ctx, s.source)
    except (Problem, Poisoned) as p:
        if isinstance(p, Problem):
            ctx.report(p)
        _block(ctx, s.body, {s.name.id: POISON})  # for the errors in it
        return
    for item in items:
        ctx.expand(s.span)
        ctx.frame.places[s.name.id] = s.name.span
        _block(ctx, s.body, {s.name.id: item})


# ---------------------------------------------------------------- assertions


def _shown(e: syntax.Expr) -> str:
    """The text of an expression in one line, cut where it is long."""
    text = " ".join(e.span.text.split())
    return text if len(text) <= 60 else text[:59] + "…"


def _assert(ctx: Context, s: syntax.Assert) -> None:
    test = condition(ctx, s.condition)
    message = f"assertion failed: {s.text.value if s.text is not None else _shown(s.condition)}"
    if test.constant and test.value is False and ctx.guard is None and not ctx.lazy_guards:
        raise Problem("L501", message, s.span, label="never holds")
    ctx.check("assert", "L501", message, test.node, None, s.span)


def _assume(ctx: Context, s: syntax.Assume) -> None:
    test = condition(ctx, s.condition)
    message = f"the input breaks the assumption: {_shown(s.condition)}"
    if test.constant and test.value is False and ctx.guard is None and not ctx.lazy_guards:
        raise Problem("L601", message, s.span, label="never holds")
    ctx.check("assume", "L601", message, test.node, None, s.span)
