"""The state of one elaboration: the graph under construction, scopes, path conditions and diagnostics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

from lsrl.arithmetic import apply
from lsrl.diagnostics import Diagnostic, LsrlError, Span
from lsrl.frontend import syntax
from lsrl.frontend.elaborate.types import plain
from lsrl.frontend.elaborate.values import Data, Poisoned, Problem, StateSlot, Static
from lsrl.ir.graph import Check, GraphBuilder
from lsrl.ir.nodes import Const, Divide, Index, Input, Logic, Mux, Node, Pack, Unary, operands
from lsrl.types import BOOL, INT, Type, Value, Vector, shape

if TYPE_CHECKING:
    from lsrl.frontend.elaborate.scope import ModuleScope

__all__ = ["Context", "Frame", "Layer", "Parts", "Sink"]

CALL_LIMIT = 200  # calls inside calls
CHAIN_LIMIT = 500  # constants and types that need one another, not worked out yet
DIGIT_LIMIT = 4000  # of a constant; Python does not print ints of more than 4300
_LARGEST = 10**DIGIT_LIMIT
EXPANSION_LIMIT = 50_000  # calls and turns of loops, all in all


class Sink:
    """Collects diagnostics; of several with one code at one place only the first is kept."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._seen: set[tuple[str, str, int, int]] = set()
        self.checked: set[syntax.Definition] = set()  # elaborated in full, so that they need no check of their own

    def add(self, d: Diagnostic) -> None:
        key = (d.code, d.span.source.name, d.span.start, d.span.end)
        if key not in self._seen:
            self._seen.add(key)
            self.diagnostics.append(d)

    def in_order(self) -> list[Diagnostic]:
        """The diagnostics by file, in the order of first appearance, and by place."""
        files: dict[str, int] = {}
        for d in self.diagnostics:
            files.setdefault(d.span.source.name, len(files))
        return sorted(self.diagnostics, key=lambda d: (files[d.span.source.name], d.span.start, d.span.end))


@dataclass(eq=False)
class Frame:
    """The body that is being elaborated: the program's, or that of one call.

    prefix: what its states' names start with, as "count#2.". call: the span of the call, None for the program.
    ordinary: is it a call of a def without generics and const parameters with streams alone, so that its errors do not
    depend on the call? coming: names that the body gives further down, for messages.
    """

    module: ModuleScope
    prefix: str
    definition: syntax.Definition | None
    call: Span | None
    ordinary: bool = False
    blocks: list[dict[str, Static | StateSlot]] = field(default_factory=lambda: [{}])
    copies: dict[str, int] = field(default_factory=dict)
    given: dict[str, int] = field(default_factory=dict)
    coming: dict[str, Span] = field(default_factory=dict)
    places: dict[str, Span] = field(default_factory=dict)

    def look_up(self, name: str) -> Static | StateSlot | None:
        """The local meaning of a name, innermost block first."""
        for block in reversed(self.blocks):
            found = block.get(name)
            if found is not None:
                return found
        return None

    def unique(self, name: str) -> str:
        """`name`, `name#2`, `name#3`, …: the name of the next copy, with the prefix."""
        n = self.copies[name] = self.copies.get(name, 0) + 1
        return f"{self.prefix}{name}" if n == 1 else f"{self.prefix}{name}#{n}"

    def named(self, name: str) -> str:
        """As `unique`, for names that blocks give: a loop gives them several times."""
        n = self.given[name] = self.given.get(name, 0) + 1
        return f"{self.prefix}{name}" if n == 1 else f"{self.prefix}{name}#{n}"


@dataclass(slots=True, eq=False)
class Parts:
    """A vector state's value as its elements, made into a `Pack` only when the whole is read."""

    elements: list[Node]
    type: Vector
    span: Span
    whole: Node | None = None


Layer: TypeAlias = "dict[str, Node | Parts]"  # the new values of states that one branch assigns, by name


class _Recovery:
    """Reports an error raised in a `with` block, and swallows it."""

    __slots__ = ("_ctx",)

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, Problem):
            self._ctx.report(error)
        return isinstance(error, Problem | Poisoned)


class Context:
    """One elaboration.

    constants_only: what it is for, such as "a constant", if there may be no streams. chain: how many constants and
    types wait for this one.
    """

    def __init__(self, module: ModuleScope, sink: Sink, constants_only: str = "", chain: int = 0) -> None:
        self.sink = sink
        self.chain = chain
        self.constants_only = constants_only
        self.builder = GraphBuilder()
        self.inputs: list[Input] = []
        self.states: dict[str, StateSlot] = {}
        self.checks: list[Check] = []
        self.names: dict[str, Node | StateSlot] = {}
        self.frames = [Frame(module, "", None, None)]
        self.guard: Node | None = None  # holds where the statement is reached
        self.lazy_guards: list[Callable[[], Node]] = []  # hold where the operand's value is used
        self._expanded = 0
        self._overlays: list[Layer] = [{}]  # new values of states, one layer a branch

    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    # ---- diagnostics

    def report(self, p: Problem) -> None:
        """Record an error. One inside the standard library is shown at the call that led to it."""
        notes: list[tuple[str, Span]] = []
        span, label, help = p.span, p.label, p.help
        for frame in reversed(self.frames):
            if frame.call is None or frame.definition is None:
                break
            if frame.module.library:
                if span.source is frame.definition.span.source:
                    if span is p.span:
                        notes.append((f"raised inside `{frame.definition.name.id}` of the standard library", span))
                    span, label = frame.call, ""
            elif not frame.ordinary:
                notes.append((f"in this call of `{frame.definition.name.id}`", frame.call))
        self.sink.add(Diagnostic(p.code, p.message, span, label, help, tuple(notes[:8])))

    def error(self, code: str, message: str, span: Span, *, label: str = "", help: str = "") -> None:
        """Record an error and go on."""
        self.report(Problem(code, message, span, label=label, help=help))

    def recover(self) -> _Recovery:
        """Report an error raised inside, and go on after the block."""
        return _Recovery(self)

    def for_name(self, module: ModuleScope, what: str, name: syntax.Name) -> Context:
        """An elaboration of the constant or type `name` of a file. Raises Problem L111 where too many wait for it."""
        if self.chain >= CHAIN_LIMIT:
            raise Problem("L111", f"`{name.id}` ends a chain of {CHAIN_LIMIT} names that need one another", name.span,
                          help="define each name before those that need it")
        return Context(module, self.sink, what, self.chain + 1)

    def expand(self, span: Span) -> None:
        """Count a call or a turn of a loop. Raises LsrlError L210 where there are too many to go on."""
        self._expanded += 1
        if self._expanded > EXPANSION_LIMIT:
            self.error("L210", f"this program expands to more than {EXPANSION_LIMIT} calls and turns of loops", span,
                       help="calls and loops are unrolled at compile time; use state for what repeats over tokens")
            raise LsrlError(self.sink.in_order())

    # ---- nodes

    def add(self, node: Node) -> Node:
        """The node in the graph; a constant if all its operands are."""
        args = operands(node)
        if args and all(isinstance(a, Const) for a in args):
            return self.fold(node, [a.value for a in args if isinstance(a, Const)])
        return self.builder.add(node)

    def fold(self, node: Node, args: list[Value]) -> Node:
        """The constant that a node over constants is. Transcendental results are the float64, as an exact rational."""
        value = apply(node, args, numeric=isinstance(node, Unary | Divide))
        try:
            return self.constant(_exact(value) if isinstance(node, Unary | Divide) else value, node.type, node.span)
        except (ValueError, OverflowError):
            raise Problem("L207", "this constant has no finite value", node.span) from None

    def constant(self, value: Value, t: Type, span: Span) -> Const:
        """A constant. Raises Problem L210 for a number of too many digits."""
        if isinstance(value, int | Fraction) and max(abs(value.numerator), value.denominator) > _LARGEST:
            raise Problem("L210", f"this constant has more than {DIGIT_LIMIT} digits", span)
        node = self.builder.add(Const(value, t, span))
        assert isinstance(node, Const)
        return node

    def number(self, value: int, span: Span) -> Const:
        """An int constant."""
        return self.constant(value, INT, span)

    def pack(self, elements: list[Node], t: Vector, span: Span) -> Node:
        """The vector of the elements."""
        if all(isinstance(e, Const) for e in elements):
            return self.constant(tuple([e.value for e in elements if isinstance(e, Const)]), t, span)
        first = elements[0]
        if isinstance(first, Index) and first.vector.type == t and all(
                isinstance(e, Index) and e.vector is first.vector and isinstance(e.index, Const) and e.index.value == i
                for i, e in enumerate(elements)):
            return first.vector
        return self.builder.add(Pack(tuple(elements), t, span))

    def elements(self, vector: Node, span: Span) -> list[Node]:
        """The elements (the rows of a matrix) of a vector node."""
        assert isinstance(vector.type, Vector)
        if isinstance(vector, Pack):
            return list(vector.elements)
        elem = vector.type.elem
        if isinstance(vector, Const):
            assert isinstance(vector.value, tuple)
            return [self.constant(v, elem, span) for v in vector.value]
        return [self.builder.add(Index(vector, self.number(i, span), elem, span)) for i in range(vector.type.size)]

    def element(self, vector: Node, i: int, span: Span) -> Node:
        """One element by a constant index in range."""
        assert isinstance(vector.type, Vector)
        if isinstance(vector, Pack):
            return vector.elements[i]
        if isinstance(vector, Const):
            assert isinstance(vector.value, tuple)
            return self.constant(vector.value[i], vector.type.elem, span)
        return self.builder.add(Index(vector, self.number(i, span), vector.type.elem, span))

    def leaves(self, node: Node, span: Span) -> list[Node]:
        """The scalar elements of a node, row-major."""
        out = [node]
        for _ in shape(node.type):
            out = [e for v in out for e in self.elements(v, span)]
        return out

    # ---- logic with constants folded, for conditions and guards

    def both(self, op: str, args: list[Node], span: Span) -> Node:
        """`and` or `or` of scalar bools."""
        absorbing = op == "or"
        kept: list[Node] = []
        for a in args:
            if isinstance(a, Const):
                if a.value == absorbing:
                    return self.constant(absorbing, BOOL, span)
            elif a not in kept[-1:]:
                kept.append(a)
        if not kept:
            return self.constant(not absorbing, BOOL, span)
        return kept[0] if len(kept) == 1 else self.add(Logic(op, tuple(kept), BOOL, span))

    def negate(self, a: Node, span: Span) -> Node:
        """`not` of a scalar bool."""
        if isinstance(a, Logic) and a.op == "not":
            return a.args[0]
        return self.add(Logic("not", (a,), BOOL, span))

    def mux(self, condition: Node, then: Node, other: Node, t: Type, span: Span) -> Node:
        """`then if condition else other`, with a constant condition or equal branches folded."""
        if isinstance(condition, Const) and isinstance(condition.value, bool):
            chosen = then if condition.value else other
            if chosen.type == t:
                return chosen
        if then is other and then.type == t and not shape(condition.type):
            return then
        return self.add(Mux(condition, then, other, t, span))

    # ---- states and branches

    def current(self, slot: StateSlot) -> Node | Parts:
        """The value of a state at this place of the text."""
        for layer in reversed(self._overlays):
            found = layer.get(slot.name)
            if found is not None:
                return found
        return slot.read

    def current_node(self, slot: StateSlot) -> Node:
        """The value of a state at this place of the text, as a node."""
        now = self.current(slot)
        if isinstance(now, Parts):
            if now.whole is None:
                now.whole = self.pack(now.elements, now.type, now.span)
            return now.whole
        return now

    def assign(self, slot: StateSlot, value: Node | Parts) -> None:
        self._overlays[-1][slot.name] = value

    def push_branch(self) -> None:
        """From here on, assignments are kept apart until `pop_branch`."""
        self._overlays.append({})

    def pop_branch(self) -> Layer:
        """What was assigned since `push_branch`."""
        return self._overlays.pop()

    def branch_assigns(self) -> bool:
        """Was anything assigned since `push_branch`?"""
        return bool(self._overlays[-1])

    def assign_all(self, layer: Layer) -> None:
        """Assign what another layer assigns."""
        self._overlays[-1].update(layer)

    def merge(self, condition: Node, then: Layer, other: Layer,
              span: Span) -> None:
        """Assign each state that a branch assigned: by the condition, its value from one or the other branch."""
        for name in {**then, **other}:
            slot = self.states[name]
            base = self.current(slot)
            a, b = then.get(name, base), other.get(name, base)
            if isinstance(a, Parts) or isinstance(b, Parts):
                assert isinstance(slot.type, Vector)
                t = slot.type.elem
                merged = [x if x is y else self.mux(condition, x, y, self.merged_type(x, y, t), span)
                          for x, y in zip(self._parts(a, span), self._parts(b, span), strict=True)]
                self.assign(slot, Parts(merged, self.vector_type(merged, slot.type), span))
            else:
                self.assign(slot, self.mux(condition, a, b, self.merged_type(a, b, slot.type), span))

    @staticmethod
    def merged_type(a: Node, b: Node, declared: Type) -> Type:
        """The type of a choice between two values of a state: the declared one only if both are of it."""
        return declared if a.type == declared and b.type == declared else plain(declared)

    @staticmethod
    def vector_type(elements: list[Node], declared: Vector) -> Vector:
        """The type of a state's elements as a vector: the declared one only if all are of its type."""
        same = all(e.type == declared.elem for e in elements)
        return declared if same else Vector(plain(declared.elem), declared.size)

    def _parts(self, value: Node | Parts, span: Span) -> list[Node]:
        return value.elements if isinstance(value, Parts) else self.elements(value, span)

    def parts(self, slot: StateSlot, span: Span) -> list[Node]:
        """The elements of a vector state at this place of the text, as a new list."""
        return list(self._parts(self.current(slot), span))

    @contextmanager
    def guarded(self, condition: Node, span: Span) -> Iterator[None]:
        """Statements inside are reached where the condition holds."""
        before = self.guard
        self.also_guarded(condition, span)
        try:
            yield
        finally:
            self.guard = before

    def also_guarded(self, condition: Node, span: Span) -> None:
        """From here on, statements are reached only where the condition holds too; the caller restores `guard`."""
        self.guard = condition if self.guard is None else self.both("and", [self.guard, condition], span)

    @contextmanager
    def used_where(self, condition: Callable[[], Node]) -> Iterator[None]:
        """Values inside are used only where the condition, a thunk of a bool node, holds."""
        self.lazy_guards.append(condition)
        try:
            yield
        finally:
            self.lazy_guards.pop()

    # ---- checks

    def check(self, kind: str, code: str, message: str, condition: Node, subject: Data | None, span: Span,
              of_state: bool = False, help: str = "") -> None:
        """Add a check of a scalar bool, true where the place is not reached.

        of_state: the value is kept although a conditional expression may not use it, so only statements guard it.
        """
        paths = [] if self.guard is None else [self.guard]
        if not of_state:
            paths += [g() for g in self.lazy_guards]
        condition = self.both("or", [*[self.negate(p, span) for p in paths if not shape(p.type)], condition], span)
        if isinstance(condition, Const) and condition.value is True:
            return
        node = None if subject is None else subject.node
        self.checks.append(Check(kind, condition, message, code, node, span, help))


def _exact(value: Value) -> Value:
    """Floats as the rationals they are; ValueError or OverflowError for NaN and infinities."""
    if isinstance(value, tuple):
        return tuple([_exact(v) for v in value])
    return Fraction(value)
