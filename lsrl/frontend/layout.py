"""Text to tokens: lexis, comments, brackets that join lines, and indentation.

`read_layout` gives the tokens in groups, one group a top-level item, so that the parser can go on with the next
item after an error. Mistakes of lexis and layout are collected; where one stands, an ERROR token tells the parser to
skip that line in silence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lsrl.diagnostics import Diagnostic, Source, Span
from lsrl.frontend.syntax import Comment

__all__ = ["DEDENT", "ERROR", "INDENT", "MAX_ERRORS", "MAX_NESTING", "NEWLINE", "Layout", "Lexicon", "Token",
           "read_layout"]

MAX_NESTING = 200  # brackets inside brackets, blocks inside blocks, and nodes inside nodes of the syntax tree

MAX_ERRORS = 20  # after so many mistakes the rest of the file is not read

NEWLINE, INDENT, DEDENT, ERROR = "_NEWLINE", "_INDENT", "_DEDENT", "ERROR"

_PAIRS = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
_OPENING = {close: open_ for open_, close in _PAIRS.items()}
_SIGN = {"LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "LBRACE": "{", "RBRACE": "}"}

# A line that starts with one of these opens a block of statements; any other that is followed by an indented
# block ends in `match …:`, and the block holds its arms.
_BLOCK_STARTERS = frozenset({"IF", "ELIF", "ELSE", "FOR", "PROGRAM", "DEF"})
# These never stand inside brackets: at the start of a line they show that a bracket above was left open.
_NEVER_IN_BRACKETS = frozenset(
    {"PROGRAM", "DEF", "TYPE", "IMPORT", "FROM", "STATE", "PARAM", "RETURN", "ASSERT", "ASSUME", "ELIF"}
)


@dataclass(slots=True, eq=False)
class Token:
    """A terminal of the grammar with its text and place; of type ERROR where lexis or layout went wrong."""

    type: str
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Layout:
    """The groups of tokens of a file, one for each top-level item, its comments, and what is wrong."""

    groups: tuple[tuple[Token, ...], ...]
    comments: tuple[Comment, ...]
    diagnostics: tuple[Diagnostic, ...]


class Lexicon:
    """The terminals of the grammar as one regular expression.

    terminals: (name, regular expression or None, literal text or None, priority) of each, of which exactly one of
    the two is given. Literals that look like a name are reserved words.
    """

    def __init__(self, terminals: Iterable[tuple[str, str | None, str | None, int]]) -> None:
        self.words: dict[str, str] = {}
        patterns: list[tuple[int, int, str, str]] = []
        for name, pattern, literal, priority in terminals:
            if literal is not None and literal.replace("_", "a").isalpha():
                self.words[literal] = name
            elif literal is not None:
                patterns.append((-priority, -len(literal), name, re.escape(literal)))
            elif pattern is not None:
                patterns.append((-priority, -9, name, pattern))
        alternatives = [*_FIRST, *((name, pattern) for _, _, name, pattern in sorted(patterns)), *_LAST]
        self.pattern = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in alternatives))


_FIRST = (
    ("blank", r"[ \t]+"),
    ("newline", r"\r?\n"),
    ("comment", r"#[^\r\n]*"),
    ("open_doc", r'"""(?![\s\S]*?""")[\s\S]*'),
    ("foreign", r"&&|\|\||\+\+|(?:\*\*|//|[-+*/%|&^@])=(?!=)|[=!]==|<>"),
)
_LAST = (
    ("open_string", r'"(?:[^"\\\n]|\\.)*\\?'),
    ("quote", r"'(?:[^'\\\n]|\\.)*'?"),
    ("wrong", r"[^\s!-~]+|[\s\S]"),
)

_FOREIGN = {
    "&&": "write `and`",
    "||": "write `or`",
    "!": "write `not`",
    "++": "write `s := s + 1` to count a state up",
    "!==": "write `!=`",
    "===": "write `==`",
    "<>": "write `!=`",
    "&": "write `and`",
    "^": "write `**` for a power, `!=` for exclusive or",
    "~": "write `not`",
    "\\": "a bracket joins lines: put the expression in ( )",
    ";": "write one statement a line",
    "≤": "write `<=`",
    "≥": "write `>=`",
    "≠": "write `!=`",
    "→": "write `->`",
    "⇒": "write `=>`",
    "×": "write `*`",
    "·": "write `*`",
    "÷": "write `/`",
    "−": "write `-`",
    "∧": "write `and`",
    "∨": "write `or`",
    "¬": "write `not`",
    "“": 'write symbols between plain double quotes: "a"',
    "”": 'write symbols between plain double quotes: "a"',
}


_PYTHON = {"True": "true", "False": "false"}


class _StopError(Exception):
    """Reading on would tell the user nothing new."""


class _Reader:
    """The state of reading one text."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.tokens: list[Token] = []  # of the group being read
        self.groups: list[tuple[Token, ...]] = []
        self.comments: list[Comment] = []
        self.diagnostics: list[Diagnostic] = []
        self.brackets: list[Token] = []  # open ones
        self.blocks: list[tuple[int, bool]] = [(0, True)]  # width of the indentation; is it a block of statements?
        self.line_start = 0  # offset of the present line of text
        self.last_end = 0  # of the last token; where an error about the end of a line or a block points
        self.opener = ""  # type of the first token of the present logical line, "" before it is read
        self.last_opener = ""  # the same of the logical line before
        self.blanks = ""  # the first line with an indentation has it of these
        self.mixed = False  # an error about tabs and spaces has been reported

    def wrong(self, code: str, message: str, start: int, end: int, help: str = "") -> None:
        """Report a mistake, and leave a token that makes the parser skip the line."""
        span = Span(self.source, start, end)
        self.report(Diagnostic(code, message, span, help=help))
        self.token(ERROR, span)

    def report(self, diagnostic: Diagnostic) -> None:
        self.diagnostics.append(diagnostic)
        if len(self.diagnostics) >= MAX_ERRORS:
            raise _StopError

    def token(self, kind: str, span: Span, text: str = "") -> None:
        """Add a token; the first of a logical line places the line in its block."""
        if not self.opener:
            self.begin_line(kind, span)
        self.tokens.append(Token(kind, text, span))

    # ------------------------------------------------------------ lines and blocks

    def begin_line(self, kind: str, span: Span) -> None:
        self.opener = kind
        width = self.indentation(span.start)
        if width > self.blocks[-1][0]:
            self.blocks.append((width, self.last_opener in _BLOCK_STARTERS))
            if len(self.blocks) > MAX_NESTING:
                self.too_deep("blocks", span)
            self.tokens.append(Token(INDENT, "", Span(self.source, self.line_start, span.start)))
            return
        while width < self.blocks[-1][0]:
            self.close_block()
        if width != self.blocks[-1][0]:
            widths = " or ".join(str(w) for w, _ in self.blocks)
            place = Span(self.source, self.line_start, span.start)
            message = "this line's indentation matches no block around it"
            self.report(Diagnostic("L007", message, place, help=f"the blocks around it are indented by {widths}"))
        if len(self.blocks) == 1:
            self.end_group()

    def indentation(self, start: int) -> int:
        """The width of the blanks before `start`; complains once a file if tabs and spaces are mixed."""
        blanks = self.source.text[self.line_start : start]
        if not blanks:
            return 0
        self.blanks = self.blanks or blanks[0]
        if not self.mixed and blanks.strip(self.blanks):
            self.mixed = True
            here, above = ("spaces", "tabs") if self.blanks == "\t" else ("tabs", "spaces")
            together = len(set(blanks)) > 1
            message = ("this line is indented with tabs and spaces together" if together
                       else f"this line is indented with {here}, a line above with {above}")
            self.report(Diagnostic("L006", message, Span(self.source, self.line_start, start),
                                   help=f"indent every line of the file with {above}"))
        return len(blanks.expandtabs(8))

    def end_line(self) -> None:
        """Close the logical line, unless it is empty or a bracket is open."""
        if self.opener and not self.brackets:
            self.tokens.append(Token(NEWLINE, "", Span(self.source, self.last_end, self.last_end)))
            self.last_opener, self.opener = self.opener, ""

    def close_block(self) -> None:
        _, statements = self.blocks.pop()
        span = Span(self.source, self.last_end, self.last_end)
        self.tokens.append(Token(DEDENT, "", span))
        if not statements:
            self.tokens.append(Token(NEWLINE, "", span))

    def end_group(self) -> None:
        if self.tokens:
            self.groups.append(tuple(self.tokens))
            self.tokens = []

    # ------------------------------------------------------------ brackets

    def open(self, kind: str, span: Span) -> None:
        self.token(kind, span, _SIGN[kind])
        self.brackets.append(self.tokens[-1])
        if len(self.brackets) > MAX_NESTING:
            self.too_deep("brackets", span)

    def close(self, kind: str, span: Span) -> None:
        sign = _SIGN[kind]
        if not self.brackets:
            self.wrong("L009", f"this `{sign}` closes no bracket", span.start, span.end)
            return
        opening = self.brackets.pop()
        if _PAIRS[opening.type] == kind:
            self.tokens.append(Token(kind, sign, span))
            return
        while any(_PAIRS[b.type] == kind for b in self.brackets) and _PAIRS[self.brackets.pop().type] != kind:
            pass  # what stands inside the bracket that is closed here is closed with it
        wanted = _SIGN[_PAIRS[opening.type]]
        self.report(Diagnostic("L009", f"expected `{wanted}` to close the `{opening.text}`, but found `{sign}`", span,
                               notes=((f"the `{opening.text}` stands here", opening.span),)))
        self.tokens.append(Token(ERROR, "", span))

    def never_closed(self) -> None:
        """Report the innermost open bracket, close all of them, and end the line."""
        opening = self.brackets[-1]
        self.brackets.clear()
        self.wrong("L009", f"this `{opening.text}` is never closed", opening.span.start, opening.span.end)
        self.end_line()

    def too_deep(self, what: str, span: Span) -> None:
        self.diagnostics.append(
            Diagnostic("L014", f"{what} may stand inside each other at most {MAX_NESTING} deep", span,
                       help="name a part of it on a line of its own"))
        raise _StopError

    # ------------------------------------------------------------ the end

    def finish(self) -> None:
        if self.brackets:
            self.never_closed()
        self.end_line()
        while len(self.blocks) > 1:
            self.close_block()
        self.end_group()


def read_layout(source: Source, lexicon: Lexicon) -> Layout:
    """The tokens of a text in groups, one for each top-level item, with its comments and mistakes."""
    reader = _Reader(source)
    try:
        _read_tokens(reader, source, lexicon)
    except _StopError:
        reader.groups.clear()  # half an item would only make the parser complain as well
    return Layout(tuple(reader.groups), tuple(reader.comments), tuple(reader.diagnostics))


def _read_tokens(reader: _Reader, source: Source, lexicon: Lexicon) -> None:
    words, text = lexicon.words, source.text
    reader.line_start = start = 1 if text.startswith("\ufeff") else 0
    first = True  # nothing but blanks has been read in this line of text
    for match in lexicon.pattern.finditer(text, start):
        kind = match.lastgroup or ""
        if kind == "blank":
            continue
        start, end = match.span()
        if kind == "newline":
            reader.end_line()
            reader.line_start, first = end, True
            continue
        span = Span(source, start, end)
        if kind == "comment":
            reader.comments.append(Comment(match.group().rstrip(), first, span))
            continue
        if kind == "NAME":
            word = match.group()
            kind = words.get(word, "NAME")
            if first and reader.brackets and kind in _NEVER_IN_BRACKETS:
                reader.never_closed()
            last = reader.tokens[-1] if reader.tokens else None
            if last and last.type in ("INT", "REAL") and last.span.end == start:
                _bad_number(reader, Span(source, last.span.start, end))
            elif word in _PYTHON:
                reader.wrong("L013", f"the language has no `{word}`", start, end, f"write `{_PYTHON[word]}`")
            else:
                reader.token(kind, span, word)
        elif kind in _PAIRS:
            reader.open(kind, span)
        elif kind in _OPENING:
            reader.close(kind, span)
        elif kind.isupper():
            if not reader.opener:
                reader.begin_line(kind, span)
            reader.tokens.append(Token(kind, match.group(), span))
        else:
            _complain(reader, kind, span)
        first, reader.last_end = False, end
    reader.finish()


def _bad_number(reader: _Reader, span: Span) -> None:
    text = span.text
    help = f"write {text.replace('_', '')}" if text.replace("_", "").isdecimal() else ""
    reader.tokens.pop()
    shown = f"`{text}`" if len(text) < 40 else "this"
    reader.wrong("L004", f"{shown} is neither a number nor a name", span.start, span.end, help)


def _complain(reader: _Reader, kind: str, span: Span) -> None:
    """Report what no token can be made of."""
    text, start, end = span.text, span.start, span.end
    if kind == "open_doc":
        reader.wrong("L002", 'this docstring has no closing """', start, start + 3)
    elif kind == "open_string":
        reader.wrong("L002", "this string has no closing quote", start, end,
                     "a string ends on its line; write \\n for the end of a line")
    elif kind == "quote":
        reader.wrong("L013", "strings stand between double quotes", start, end,
                     f'write "{text[1:-1]}"' if len(text) > 2 and text.endswith("'") and '"' not in text else "")
    elif text[0] == "\0":
        reader.wrong("L001", "a NUL byte stands here: this is no text", start, start + 1)
    elif kind == "foreign" and text.endswith("=") and text not in _FOREIGN:
        reader.wrong("L013", f"the language has no `{text}`", start, end, f"write `s := s {text[:-1]} …`")
    elif text in _FOREIGN:
        reader.wrong("L013", f"the language has no `{text}`", start, end, _FOREIGN[text])
    elif text.isalpha():
        reader.wrong("L001", f"`{text[:40]}` cannot stand in a name", start, end,
                     "names are made of the letters a to z, A to Z, digits and _")
    else:
        shown = f"`{text[:40]}`" if text.isprintable() else f"the character U+{ord(text[0]):04X}"
        reader.wrong("L001", f"{shown} means nothing here", start, end)
