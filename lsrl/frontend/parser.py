"""Text to syntax tree.

The grammar is lsrl/grammar/lsrl.lark; lark makes its LALR(1) tables, once a process. Items are parsed one by one,
and after a mistake the parser goes on with the next line, so that one run reports many.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from lark import Lark, UnexpectedToken
from lark.grammar import Rule
from lark.lexer import Lexer, PatternStr

from lsrl.diagnostics import Diagnostic, LsrlError, Source, Span
from lsrl.frontend import syntax
from lsrl.frontend.build import Builder, FileDoc
from lsrl.frontend.layout import Layout, Lexicon, Token, read_layout

__all__ = ["parse"]

_GRAMMAR = Path(__file__).parent.parent / "grammar" / "lsrl.lark"


class _NoLexer(Lexer):
    """lark asks for a lexer; the tokens come from layout.py."""

    def __init__(self, lexer_conf: Any) -> None:
        pass

    def lex(self, lexer_state: Any, parser_state: Any) -> Any:
        raise AssertionError("the parser is fed from layout.py")


@cache
def _grammar() -> tuple[Lark, Lexicon]:
    lark = Lark(_GRAMMAR.read_text(encoding="utf-8"), parser="lalr", lexer=_NoLexer, start="item",
                transformer=Builder(), maybe_placeholders=True)
    terminals = (
        (t.name, None, t.pattern.value, t.priority) if isinstance(t.pattern, PatternStr)
        else (t.name, t.pattern.to_regexp(), None, t.priority)
        for t in lark.terminals
    )
    return lark, Lexicon(terminals)


def parse(source: Source) -> syntax.File:
    """The syntax tree of a text. Raises LsrlError with all syntax errors that can be found."""
    lark, lexicon = _grammar()
    layout = read_layout(source, lexicon)
    diagnostics = list(layout.diagnostics)
    items: list[Any] = []
    for group in layout.groups:
        state = lark.parse_interactive(start="item").parser_state
        try:
            for token in group:
                state.feed_token(token)
            items.append(state.feed_token(Token("$END", "", group[-1].span), True))
        except UnexpectedToken as error:
            diagnostics.append(Diagnostic("L010", f"unexpected {error.token.text!r}", error.token.span))
        except LsrlError as error:
            diagnostics += error.diagnostics
    if diagnostics:
        raise LsrlError(sorted(diagnostics, key=lambda d: d.span.start))
    doc = items.pop(0).text if items and isinstance(items[0], FileDoc) else None
    return syntax.File(source, doc, tuple(items), layout.comments)
