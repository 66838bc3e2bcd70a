"""What a name or expression can stand for while a program is elaborated.

A value of the program is `Data`: a graph node, which is a `Const` where the value is known at compile time, and its
static type. The other kinds exist only at compile time. `POISON` stands for an expression that had an error; using
it gives no further error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from lsrl.diagnostics import Span
from lsrl.ir.nodes import Const, Node, Read
from lsrl.types import Bool, Int, Real, Record, Symbols, Type, Value, Vector, quote_symbol

__all__ = ["POISON", "Data", "Items", "OperatorValue", "Poison", "Poisoned", "Problem", "RecordValue",
           "SelectorValue", "StateSlot", "Static", "Text", "TypeValue", "kind_name", "show_constant", "words_for"]


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """A stream or a constant.

    type: the static type. It may be narrower than the node's (a declared range, which a check enforces), never of
    another kind, alphabet or shape.
    """

    node: Node
    type: Type

    @property
    def constant(self) -> bool:
        """Is the value known at compile time?"""
        return isinstance(self.node, Const)

    @property
    def value(self) -> Value:
        """The value of a constant."""
        if not isinstance(self.node, Const):
            raise ValueError("a stream has no value at compile time")
        return self.node.value


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A string literal: a symbol once its alphabet is known, or the text of a constant argument. span: the literal."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """A vector literal of string literals whose alphabet is not known yet."""

    items: tuple[Text, ...]


@dataclass(frozen=True, slots=True, eq=False)
class OperatorValue:
    """A comparison operator as an argument."""

    op: str


@dataclass(frozen=True, slots=True, eq=False)
class TypeValue:
    """A type, by name or as a type variable's value."""

    type: Type


@dataclass(frozen=True, slots=True, eq=False)
class RecordValue:
    """The result of a call that gives a record."""

    fields: dict[str, Data]

    @property
    def type(self) -> Record:
        return Record(tuple((n, v.type) for n, v in self.fields.items()))


@dataclass(frozen=True, slots=True, eq=False)
class SelectorValue:
    """RASP's selector: a condition on (key of an earlier token, query of this token).

    keys: the finite key streams it looks at. op: a comparison operator, "and", "or" or "not".
    parts: (place of the key in `keys`, query) for a comparison, else selectors over the same `keys`.
    """

    keys: tuple[Data, ...]
    op: str
    parts: tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Poison:
    """The value of an expression that had an error."""


POISON = Poison()

Static: TypeAlias = Data | Text | Items | OperatorValue | TypeValue | RecordValue | SelectorValue | Poison


@dataclass(slots=True, eq=False)
class StateSlot:
    """A declared state: its name in the graph, its type, and the node of its value from the token before."""

    name: str
    type: Type
    init: Value
    read: Read
    span: Span


class Problem(Exception):  # noqa: N818 - it is reported, not raised to the user
    """An error found in an expression; the nearest enclosing expression or statement reports it and goes on."""

    def __init__(self, code: str, message: str, span: Span, *, label: str = "", help: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.span, self.label, self.help = code, message, span, label, help


class Poisoned(Exception):  # noqa: N818 - silent: the error was reported where it arose
    """A poisoned value was used."""


def kind_name(t: Type) -> str:
    """The kind of a type in one word, for messages."""
    match t:
        case Bool():
            return "bool"
        case Int():
            return "int"
        case Real():
            return "real"
        case Symbols():
            return "symbol"
        case Vector():
            return "vector"
        case Record():
            return "record"


def words_for(value: Static) -> str:
    """What a value is, for messages: its type, or the kind of compile-time thing."""
    match value:
        case Data():
            return f"`{value.type}`"
        case Text():
            return f"the text {quote_symbol(value.text)}"
        case Items():
            return "a vector of texts"
        case OperatorValue():
            return f"the operator `{value.op}`"
        case TypeValue():
            return f"the type `{value.type}`"
        case RecordValue():
            return f"the record `{value.type}`"
        case SelectorValue():
            return "a selector"
        case Poison():
            return "an error"


def show_constant(value: Value, t: Type) -> str:
    """A constant as the language writes it."""
    if isinstance(value, tuple):
        elem = t.elem if isinstance(t, Vector) else t
        return "[" + ", ".join(show_constant(v, elem) for v in value) + "]"
    if isinstance(t, Symbols) and isinstance(value, int):
        name = t.name(value)
        return "*" if value >= len(t.names) else quote_symbol(name)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
