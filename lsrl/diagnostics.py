"""Places in source text, and everything the compiler has to say about them.

Every error that a user can cause is a `Diagnostic` (code, span, one sentence, help) inside an
`LsrlError`. Lines and columns count characters, from 1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

__all__ = ["Diagnostic", "LsrlError", "Source", "Span", "NOWHERE", "did_you_mean"]

_LONGEST = 1200  # characters of a sentence, longer ones are cut in the middle
_WIDEST = 160  # characters of a source line that a diagnostic shows; longer ones are cut around the caret


@dataclass(frozen=True, eq=False)
class Source:
    """A named text. `name` is what diagnostics print before the line and column."""

    name: str
    text: str = field(repr=False)

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(i + 1 for i, c in enumerate(self.text) if c == "\n")]

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column (both from 1) of a character offset."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its end."""
        start = self._starts[number - 1]
        end = self._starts[number] - 1 if number < len(self._starts) else len(self.text)
        return self.text[start:end].rstrip("\r")


@dataclass(frozen=True, slots=True)
class Span:
    """The half-open range [start, end) of character offsets in a source."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        return self.source.position(self.start)[1]

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of `other`."""
        return Span(self.source, min(self.start, other.start), max(self.end, other.end))

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"

    def __repr__(self) -> str:
        return f"<{self}>"

    def __reduce__(self) -> Any:
        return "NOWHERE" if self is NOWHERE else (Span, (self.source, self.start, self.end))


NOWHERE = Span(Source("<built in>", ""), 0, 0)


class _Text:
    """A field whose value is a text, or a function that makes one: it is called when the text is first read."""

    def __get__(self, diagnostic: Diagnostic | None, owner: type[Diagnostic]) -> str:
        if diagnostic is None:
            return ""
        value = diagnostic.__dict__["help"]
        if not isinstance(value, str):
            value = diagnostic.__dict__["help"] = value()
        assert isinstance(value, str)
        return value

    def __set__(self, diagnostic: Diagnostic, value: str | Callable[[], str]) -> None:
        diagnostic.__dict__["help"] = value


@dataclass(frozen=True)
class Diagnostic:
    """One thing that is wrong.

    code: L0xx lexis and syntax, L1xx names and definitions, L2xx types and ranges, L3xx state and
    causality, L4xx targets, L5xx verification, L6xx input data.
    message: one sentence. label: what stands beside the caret. help: what to write instead, or a function that finds
    it out when it is read.
    notes: further places that explain it, such as the call through which it was reached.
    """

    code: str
    message: str
    span: Span = NOWHERE
    label: str = ""
    help: _Text = _Text()
    notes: tuple[tuple[str, Span], ...] = ()
    severity: str = "error"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "help": self.help}

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """The diagnostic as text, with the source line and a caret under the place."""
        out = [f"{self.severity}[{self.code}]: {_cut(self.message)}"]
        width = 1
        if self.span is not NOWHERE:
            width = len(str(self.span.line))
            out += _excerpt(self.span, _cut(self.label), width)
        out += [f"{' ' * width} = note: {_cut(text)}" + (f" ({place})" if place is not NOWHERE else "")
                for text, place in self.notes]
        if self.help:
            out.append(f"{' ' * width} = help: {_cut(self.help)}")
        return "\n".join(out)


def _cut(text: str) -> str:
    """A sentence in which a name or value of the user's does not fill the screen."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 4 :]}"


def _excerpt(span: Span, label: str, width: int) -> list[str]:
    line, column = span.line, span.column
    text = span.source.line(line)
    length = max(1, min(span.end - span.start, len(text) - column + 1))
    if len(text) > _WIDEST:
        cut = max(0, column - 1 - _WIDEST // 2)
        text = ("…" if cut else "") + text[cut : cut + _WIDEST] + "…"
        column -= cut - (1 if cut else 0)
        length = min(length, _WIDEST // 2)
    text = "".join(c if c == "\t" or c.isprintable() else "�" for c in text)
    indent = "".join("\t" if c == "\t" else " " for c in text[: column - 1])
    bar = " " * width
    caret = f"{indent}{'^' * length} {label}".rstrip()
    return [f"{bar} ┌─ {span}", f"{bar} │", f"{line} │ {text}".rstrip(), f"{bar} │ {caret}"]


class LsrlError(Exception):
    """One or more diagnostics, in source order."""

    def __init__(self, diagnostics: Diagnostic | Iterable[Diagnostic]) -> None:
        self.diagnostics = (diagnostics,) if isinstance(diagnostics, Diagnostic) else tuple(diagnostics)
        super().__init__()

    def __str__(self) -> str:
        return "\n\n".join(d.render() for d in self.diagnostics)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> Any:
        return type(self), (self.diagnostics,)

    @classmethod
    def of(cls, code: str, message: str, span: Span = NOWHERE, *, label: str = "", help: str = "") -> LsrlError:
        return cls(Diagnostic(code, message, span, label, help))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A help line that offers the nearest known name, or the empty string."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else ""
