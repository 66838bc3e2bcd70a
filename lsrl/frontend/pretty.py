"""Text that is laid out on one line where it fits, and broken at marked places where it does not.

After Wadler, "A prettier printer" (2003): the outermost groups break first, and a group breaks at all of its places or
at none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["INDENT", "WIDTH", "Broken", "Doc", "Group", "Line", "Nest", "bracketed", "flat", "render"]

WIDTH = 100  # characters of a line
INDENT = 4


@dataclass(frozen=True, slots=True)
class Line:
    """A place where the group around it may be broken; `flat` stands there if it is not."""

    flat: str = " "


@dataclass(frozen=True, slots=True)
class Broken:
    """Text that stands only if the group around it is broken."""

    text: str


@dataclass(frozen=True, slots=True)
class Nest:
    """Lines that start inside are indented once more."""

    doc: Doc


@dataclass(frozen=True, slots=True)
class Group:
    """Broken at all of its own places, if it does not fit on the line."""

    doc: Doc


Doc: TypeAlias = "str | Line | Broken | Nest | Group | tuple[Doc, ...] | list[Doc]"

_Piece: TypeAlias = tuple[int, bool, Doc]  # indentation, whether its group is broken, what to lay out


def bracketed(opening: str, items: Iterable[Doc], closing: str, last: str = ",") -> Doc:
    """Items between brackets, separated by commas, with `last` after the last if the brackets are broken.

    Broken, each item stands on a line of its own; short ones, if there is nothing else, fill the lines.
    """
    items = list(items)
    if not items:
        return opening + closing
    fill = all(isinstance(item, str) for item in items)
    inside: list[Doc] = [Line(""), items[0]]
    for item in items[1:]:
        inside += [",", Group((Line(), item)) if fill else (Line(), item)]
    return Group((opening, Nest(inside), Broken(last), Line(""), closing))


def flat(doc: Doc) -> str:
    """The text of a document on one line, however long."""
    return render(Group(doc), 0, 10**9)


def render(doc: Doc, indent: int, width: int = WIDTH) -> str:
    """The text of a document that starts at column `indent`, without the blanks before it."""
    out: list[str] = []
    column = indent
    waiting: list[_Piece] = [(indent, True, doc)]
    while waiting:
        margin, broken, doc = waiting.pop()
        match doc:
            case str():
                out.append(doc)
                column += len(doc)
            case Line(flat=flat):
                out.append("\n" + " " * margin if broken else flat)
                column = margin if broken else column + len(flat)
            case Broken(text=text):
                if broken:
                    out.append(text)
                    column += len(text)
            case Nest(doc=inner):
                waiting.append((margin + INDENT, broken, inner))
            case Group(doc=inner):
                waiting.append((margin, not _fits(waiting, inner, width - column), inner))
            case _:
                waiting += [(margin, broken, part) for part in reversed(doc)]
    return "".join(out)


def _fits(rest: list[_Piece], doc: Doc, room: int) -> bool:
    """Whether a document, not broken, and what follows it up to the next line break take at most `room`."""
    waiting: list[tuple[bool, Doc]] = [(False, doc)]
    next_rest = len(rest)
    while room >= 0:
        if waiting:
            broken, doc = waiting.pop()
        elif next_rest:
            next_rest -= 1
            _, broken, doc = rest[next_rest]
        else:
            return True
        match doc:
            case str():
                room -= len(doc)
            case Line(flat=flat):
                if broken:
                    return True
                room -= len(flat)
            case Broken(text=text):
                room -= len(text) if broken else 0
            case Nest(doc=inner) | Group(doc=inner):
                # A group in the rest may still be broken: its first place counts as the end of the line.
                waiting.append((broken, inner))
            case _:
                waiting += [(broken, part) for part in reversed(doc)]
    return False
