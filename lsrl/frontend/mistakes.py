"""What is wrong where the parser meets a token that cannot stand there, in words, and what to write instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsrl.diagnostics import Diagnostic, Span
from lsrl.frontend.layout import DEDENT, INDENT, NEWLINE, Token
from lsrl.frontend.tables import END

__all__ = ["LINE_EDGES", "STATEMENT_STARTS", "line_of", "mistake"]

LINE_EDGES = frozenset({NEWLINE, INDENT, DEDENT})
STATEMENT_STARTS = frozenset({"NAME", "STATE", "PARAM", "IF", "FOR", "ASSERT", "ASSUME", "RETURN"})
_DEFINITIONS = frozenset({"PROGRAM", "DEF", "TYPE", "CONST", "IMPORT", "FROM"})
_BINARY = frozenset({"PLUS", "MINUS", "STAR", "MUL_OP", "POWER", "COMPARE", "AND", "OR", "IF", "DOT", "LPAR", "LSQB"})
_RIGHT_OF = frozenset({"PLUS", "MINUS", "STAR", "MUL_OP", "POWER", "COMPARE", "AND", "OR", "NOT", "EQUAL", "ASSIGN",
                       "THEN"})

_AFTER_HEADING = {
    "IF": "the condition",
    "ELIF": "the condition",
    "ELSE": "`else`",
    "FOR": "what `for` runs over",
    "PROGRAM": "the heading of the program",
    "DEF": "the heading of the def",
}
_SHOWN = {
    "NAME": "a name", "INT": "a number", "STRING": "a string", "EQUAL": "`=`", "ASSIGN": "`:=`", "RANGE": "`..`",
    "THEN": "`=>`", "ARROW": "`->`", "COMMA": "`,`", "COLON": "`:`", "BAR": "`|`", "LPAR": "`(`", "RPAR": "`)`",
    "LSQB": "`[`", "RSQB": "`]`", "RBRACE": "`}`", "LBRACE": "`{`", "STAR": "`*`", "DOCSTRING": "a docstring",
    NEWLINE: "the end of the line", INDENT: "an indented block", DEDENT: "the end of the block",
    END: "the end of the file",
}
# Words that other languages start a statement with.
_FOREIGN_STATEMENTS = {
    "while": "a loop runs over a range known at compile time: `for i in 0..n-1:`",
    "pass": "leave the block out",
    "elsif": "write `elif`", "elseif": "write `elif`",
    "function": "write `def`", "func": "write `def`", "fn": "write `def`",
    "var": "write `x = …` for a value, `state x: T = …` for what lives on to the next token",
    "switch": "write `x = match y:`", "case": "write `x = match y:`",
    "print": "every output is part of what `return` gives; `lsrl repl` shows the values of all names",
    "break": "a `for` is unrolled; write an `if` in it", "continue": "a `for` is unrolled; write an `if` in it",
    "class": "write `type` for a type, `def` for a part with state",
    "global": "", "nonlocal": "", "lambda": "", "try": "", "with": "", "yield": "write `return`", "del": "",
}


@dataclass(frozen=True)
class _Place:
    """The token at `index` cannot stand there; one of `expected` can."""

    tokens: Sequence[Token]
    index: int
    expected: frozenset[str]

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    @property
    def before(self) -> Token | None:
        """The token before on the same line."""
        return None if self.starts_line else self.tokens[self.index - 1]

    @property
    def after(self) -> str:
        """The type of the token after."""
        return self.tokens[self.index + 1].type if self.index + 1 < len(self.tokens) else END

    @property
    def starts_line(self) -> bool:
        return self.index == 0 or self.tokens[self.index - 1].type in LINE_EDGES

    @property
    def first(self) -> Token:
        """The first token of the line."""
        return self.tokens[line_of(self.tokens, self.index)]

    @property
    def wants_value(self) -> bool:
        return {"INT", "STRING", "LPAR"} <= self.expected

    def diagnostic(self, code: str, message: str, help: str = "", span: Span | None = None) -> Diagnostic:
        return Diagnostic(code, message, span or self.token.span, help=help)


def line_of(tokens: Sequence[Token], index: int) -> int:
    """The index of the first token of the logical line that tokens[index] stands in."""
    while index > 0 and tokens[index - 1].type not in LINE_EDGES:
        index -= 1
    return index


def mistake(tokens: Sequence[Token], index: int, expected: frozenset[str]) -> Diagnostic:
    """Says what is wrong with tokens[index], where only the types in `expected` can stand."""
    place = _Place(tokens, index, expected)
    if place.expected == {INDENT}:
        return _missing_block(place)
    for explain in (_at_line_start, _equals, _words, _numbers_and_signs, _line_ends, _brackets_and_commas):
        found = explain(place)
        if found is not None:
            return found
    return place.diagnostic("L010", f"expected {_expected(place)}, but {_found(place.token)}")


def _missing_block(place: _Place) -> Diagnostic:
    header = place.tokens[: place.index]
    while header and header[-1].type in LINE_EDGES:
        header = header[:-1]
    first, last = header[line_of(header, len(header) - 1)], header[-1]
    what = "arms of the `match`" if first.type not in _AFTER_HEADING else "statements"
    return place.diagnostic("L008", f"expected an indented block with the {what} under this line",
                            span=first.span.to(last.span))


def _at_line_start(place: _Place) -> Diagnostic | None:
    """Mistakes that show in how a line starts."""
    token, kind, first = place.token, place.token.type, place.first
    inside = place.index > 0
    if place.before in (None, first) and first.type == "NAME" and first.text in _FOREIGN_STATEMENTS:
        help = _FOREIGN_STATEMENTS[first.text]
        return place.diagnostic("L013", f"the language has no `{first.text}`", help, first.span)
    if not place.starts_line:
        return None
    if _is_word(token) and place.after in ("EQUAL", "ASSIGN"):
        return _reserved(token)
    if kind == INDENT:
        return place.diagnostic("L008", "this line is indented for no reason",
                                help="only a line that ends in `:` has a deeper block under it")
    if kind in ("ELSE", "ELIF"):
        return place.diagnostic("L010", f"this `{token.text}` belongs to no `if`",
                                help="it stands right after the block of its `if`, indented like it")
    if kind == "DOCSTRING":
        return place.diagnostic("L018", "a docstring stands first in a file or a definition", help="write a # comment")
    if "THEN" in place.expected or ("UNDERSCORE" in place.expected and inside):
        return None
    if not inside and kind in STATEMENT_STARTS - {"NAME"}:
        return place.diagnostic("L010", f"`{token.text}` stands inside a program or a def, not at the top of a file")
    if not inside:
        help = f"write `const {token.text} = …`" if kind == "NAME" and place.after == "EQUAL" else ""
        return place.diagnostic("L010", f"expected a program, def, type, const or import, but {_found(token)}", help)
    if kind in _DEFINITIONS:
        return place.diagnostic("L010", f"`{token.text}` stands at the top of a file, not inside a definition",
                                help="start the line at its first column")
    if kind == "MATCH":
        return place.diagnostic("L010", "a `match` is a value, not a statement",
                                help="write `x = match …`, or `s := match …`")
    if "STATE" in place.expected:
        return place.diagnostic("L010", f"expected a statement, but {_found(token)}")
    return None


def _equals(place: _Place) -> Diagnostic | None:
    """`=`, `:=` and `==` in each other's place."""
    kind, first = place.token.type, place.first
    if kind == "LSQB" and "ASSIGN" in place.expected:
        return place.diagnostic("L010", "the indices of an element stand in one pair of brackets",
                                help="write `m[i, j] := …`")
    if kind == "EQUAL" and "ASSIGN" in place.expected:
        return place.diagnostic("L012", "an element of a state is set with `:=`", help="write `:=`")
    if kind == "EQUAL" and first.type in ("STATE", "PARAM") and "COLON" in place.expected:
        return place.diagnostic("L010", f"this {first.text} has no type",
                                help=f"write `{first.text} {place.tokens[place.index - 1].text}: int = …`")
    if kind == "EQUAL" and "COMPARE" in place.expected:
        return place.diagnostic("L012", "`=` names a value; it does not compare", help="write `==`")
    if kind == "ASSIGN" and "EQUAL" in place.expected:
        return place.diagnostic("L012", f"`:=` sets a state; {_what_equals_does(first)}", help="write `=`")
    if kind == "ASSIGN" and "COMPARE" in place.expected:
        return place.diagnostic("L012", "`:=` sets a state, in a statement of its own", help="to compare, write `==`")
    if kind == "COMPARE" and place.token.text == "==" and {"EQUAL", "ASSIGN"} & place.expected:
        return place.diagnostic("L012", "`==` compares; this line names or sets nothing",
                                help="write `=` to name a value, `:=` to set a state")
    return None


def _what_equals_does(first: Token) -> str:
    if first.type in ("STATE", "PARAM"):
        return f"a {first.text} gets its first value with `=`"
    return "a named argument is given with `=`" if first.type != "NAME" else "a value with a type is named with `=`"


def _words(place: _Place) -> Diagnostic | None:
    """Reserved words and words of other languages."""
    token, kind, before = place.token, place.token.type, place.before
    if kind == "IF" and before is not None and before.type == "ELSE":
        return place.diagnostic("L013", "the language has no `else if`", help="write `elif`")
    if kind == "IN" and "COMPARE" in place.expected:
        return place.diagnostic("L013", "`in` stands in a `for` only",
                                help='to test for one of several values: `match x: "a" | "b" => true, _ => false`')
    if kind == "NOT" and place.after == "IN":
        return place.diagnostic("L013", "the language has no `not in`")
    if kind == "NOT" and place.wants_value and "MINUS" in place.expected:
        return place.diagnostic("L010", "`not` binds looser than what stands before it",
                                help="put `not …` in parentheses")
    if kind == "BAR" and "OR" in place.expected:
        return place.diagnostic("L013", "`|` joins patterns and alphabets", help="write `or`")
    if kind == "UNDERSCORE":
        return place.diagnostic("L010", "`_` stands only as the pattern for all that is left")
    if kind in ("EQUAL", "ASSIGN") and before is place.first and before is not None and _is_word(before):
        return _reserved(before)
    if kind == "STRING" or not _is_word(token) or "NAME" not in place.expected:
        return None
    return _reserved(token)


def _is_word(token: Token) -> bool:
    """Whether a token is a reserved word."""
    return token.text.isalpha() and token.text.upper() == token.type


def _reserved(token: Token) -> Diagnostic:
    return Diagnostic("L011", f"`{token.text}` is a reserved word", token.span,
                      help=f"use another name, such as `{token.text}_`")


def _numbers_and_signs(place: _Place) -> Diagnostic | None:
    kind, before = place.token.type, place.before
    two_before = place.tokens[place.index - 2] if place.index > 1 else None
    if before is not None and before.type == "DOT" and two_before is not None and two_before.type == "INT":
        return place.diagnostic("L004", "a real has digits on both sides of its point",
                                help=f"write {two_before.text[:40]}.0", span=two_before.span.to(before.span))
    if kind == "DOT" and place.after in ("INT", "REAL") and place.wants_value:
        return place.diagnostic("L004", "a real has digits on both sides of its point", help="write 0 before the point")
    if kind == "PLUS" and place.wants_value:
        return place.diagnostic("L013", "there is no `+` in front of a single value", help="leave it out")
    return None


def _line_ends(place: _Place) -> Diagnostic | None:
    """What is missing at the end of a line, and colons missing before it."""
    kind, first, before = place.token.type, place.first, place.before
    if place.starts_line:
        return None
    if "COLON" in place.expected and first.type in _AFTER_HEADING and kind in (NEWLINE, "RETURN", "NAME"):
        after = _AFTER_HEADING[first.type]
        return place.diagnostic("L010", f"expected `:` after {after}, but {_found(place.token)}")
    if place.expected == {NEWLINE} and before is not None and before.type == "COLON":
        return place.diagnostic("L010", f"expected the end of the line after `:`, but {_found(place.token)}",
                                help="the block stands on the lines below, indented")
    if "ELSE" in place.expected and kind in (NEWLINE, "RPAR", "RSQB", "COMMA"):
        return place.diagnostic("L010", "this `if` inside an expression has no `else`", help="write `a if c else b`")
    if kind != NEWLINE:
        return None
    if "COLON" in place.expected and any(t.type == "MATCH" for t in place.tokens[line_of(place.tokens, place.index) :]):
        return place.diagnostic("L010", "expected `:` after what `match` looks at, but the line ends")
    if first.type in ("STATE", "PARAM") and "EQUAL" in place.expected:
        return place.diagnostic("L010", f"this {first.text} has no first value", help="write `= …` after the type")
    if place.wants_value and before is not None and before.type in _RIGHT_OF:
        return place.diagnostic("L010", f"the line ends where a value belongs, after `{before.text}`",
                                help="a bracket joins lines: put the expression in ( ) to go on in the next line")
    return None


def _brackets_and_commas(place: _Place) -> Diagnostic | None:
    token, kind, first, before = place.token, place.token.type, place.first, place.before
    if before is first and first.type == "NAME" and {"EQUAL", "ASSIGN"} <= place.expected:
        if kind == "COMMA":
            return place.diagnostic("L010", "a statement names one value", help="write one line for each name")
        help = "write `x = …` to name the value" if kind == "LPAR" else ""
        return place.diagnostic("L010", f"expected `=` or `:=` after `{first.text}`, but {_found(token)}", help=help)
    if kind == NEWLINE and {"EQUAL", "ASSIGN"} & place.expected and first.type == "NAME":
        return place.diagnostic("L010", "this line neither names a value nor sets a state",
                                help="write `x = …` to name the value")
    if kind == "COMMA" and first.type == "RETURN" and NEWLINE in place.expected:
        return place.diagnostic("L010", "`return` gives one value",
                                help="write `return (a = …, b = …)`, or a vector [a, b]")
    if kind == "COMMA" and "RPAR" in place.expected and not place.wants_value:
        return place.diagnostic("L010", "there are no tuples",
                                help="write a vector, [a, b], or a record, `return (x = a, y = b)`")
    if "THEN" in place.expected:
        ended = kind in ("COMMA", "RPAR", "RSQB")
        help = "a `match` reaches as far right as it can: put it in parentheses to end it" if ended else ""
        return place.diagnostic("L010", f"expected `=>` after the pattern, but {_found(token)}", help)
    if kind == "NAME" and place.expected == {"STRING"} and first.type in ("IMPORT", "FROM"):
        return place.diagnostic("L010", f"expected a path between double quotes, but {_found(token)}",
                                f'write "{token.text}.lsrl"')
    return None


# ---------------------------------------------------------------- words


def _found(token: Token) -> str:
    match token.type:
        case "_NEWLINE":
            return "the line ends"
        case "_DEDENT":
            return "the block ends"
        case "$END":
            return "the file ends"
        case "_INDENT":
            return "an indented line follows"
        case "DOCSTRING":
            return "a docstring stands here"
    text = token.text if len(token.text) <= 40 else token.text[:39] + "…"
    return f"found `{text}`"


def _expected(place: _Place) -> str:
    """The types of token that can stand here, as a phrase."""
    expected = place.expected
    parts: list[str] = []
    if place.wants_value:
        is_type = "MINUS" not in expected
        parts.append("a pattern" if "UNDERSCORE" in expected else "a type" if is_type else "a value")
        expected = expected & {"RPAR", "RSQB"}
    elif {"LPAR", "LSQB", "DOT"} <= expected:  # a value or a type could end here
        parts += ["an operator"] if "COMPARE" in expected else []
        expected = expected - _BINARY - {"BY", "BAR", "FOR"}
    expected = expected - {"LET"}
    order = [*_SHOWN, *sorted(expected - _SHOWN.keys())]
    parts += [_SHOWN.get(kind, f"`{kind.lower()}`") for kind in order if kind in expected]
    if len(parts) == 1:
        return parts[0]
    return ", ".join(parts[:-1]) + " or " + parts[-1]
