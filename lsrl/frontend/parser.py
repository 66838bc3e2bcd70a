"""Text to syntax tree, with all syntax errors of a text in one run.

Top-level items are parsed one by one. After a mistake inside a definition the parser takes the line, and the block
under it, for a statement that it knows, and goes on with the next line.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from threading import Lock

from lsrl.diagnostics import Diagnostic, LsrlError, Source
from lsrl.frontend import syntax
from lsrl.frontend.build import Builder, FileDoc
from lsrl.frontend.layout import DEDENT, ERROR, INDENT, MAX_ERRORS, MAX_NESTING, NEWLINE, Lexicon, Token, read_layout
from lsrl.frontend.mistakes import LINE_EDGES, STATEMENT_STARTS, line_of, mistake
from lsrl.frontend.reading import read_source
from lsrl.frontend.tables import END, Machine, Run, UnexpectedTokenError, expected_after, load_grammar
from lsrl.frontend.walk import deepest

__all__ = ["is_name", "parse", "read_source"]

_lock = Lock()  # the builder, which all parses share, keeps the mistakes of the one under way


@cache
def _tools() -> tuple[Machine, Lexicon, Builder]:
    grammar, builder = load_grammar(), Builder()
    lexicon = Lexicon((t.name, t.pattern, t.literal, t.priority) for t in grammar.terminals)
    return Machine(grammar, builder), lexicon, builder


def is_name(text: str) -> bool:
    """Whether a text can stand as a name: letters, digits and underscores, and no reserved word."""
    _, lexicon, _ = _tools()
    return text.isascii() and text.isidentifier() and text not in lexicon.words


def parse(source: Source) -> syntax.File:
    """The syntax tree of a text; of one that holds no definition, a File without items.

    Raises LsrlError (L0xx) with every syntax error that can be found, in the order of the text.
    """
    with _lock:
        return _parse(source)


def _parse(source: Source) -> syntax.File:
    machine, lexicon, builder = _tools()
    layout = read_layout(source, lexicon)
    builder.errors = list(layout.diagnostics)
    doc: syntax.String | None = None
    items: list[syntax.Item] = []
    bodiless = False  # the definition above has its body at the top of the file
    for number, group in enumerate(layout.groups):
        if bodiless and group[0].type in STATEMENT_STARTS:
            continue
        before = len(builder.errors)
        item = _ItemParser(machine, group, builder.errors).parse()
        if isinstance(item, FileDoc):
            if number:
                message = "a docstring stands first in a file or a definition"
                builder.errors.append(Diagnostic("L018", message, item.span, help="write a # comment"))
            doc = item.text
        elif item is not None:
            items.append(item)
        bodiless = any(e.code == "L008" for e in builder.errors[before:]) and group[-1].type != DEDENT
        if len(builder.errors) >= MAX_ERRORS:
            break
    if builder.errors:
        raise LsrlError(_without_echoes(builder.errors)[:MAX_ERRORS])
    return syntax.File(source, doc, tuple(items), layout.comments)


def _without_echoes(errors: Sequence[Diagnostic]) -> list[Diagnostic]:
    """The errors without those that follow from tabs and spaces being mixed, or from a block that is missing."""
    bad_dedent = any(e.code == "L007" for e in errors)
    # A mistake is noted twice if the parser comes back to before the line that it stands in was reduced.
    unique = {(e.span.start, e.span.end, e.code, e.message): e for e in errors}
    out: list[Diagnostic] = []
    for _, error in sorted(unique.items(), key=lambda item: item[0]):
        if error.code == "L008" and bad_dedent:
            continue
        out.append(error)
        if error.code == "L006":
            break
    return out


class _ItemParser:
    """Parses one top-level item, and goes on after mistakes to find more of them."""

    def __init__(self, machine: Machine, group: Sequence[Token], errors: list[Diagnostic]) -> None:
        self.grammar = machine.grammar
        self.run = Run(machine)
        self.tokens = (*group, Token(END, "", group[-1].span))
        self.errors = errors

    def parse(self) -> syntax.Item | FileDoc | None:
        """The item, or None after a mistake."""
        run, tokens = self.run, self.tokens
        edges = LINE_EDGES
        i, failed, start, at_start = 0, False, 0, run.save()
        while i < len(tokens):
            token = tokens[i]
            if token.type not in edges and tokens[i - 1].type in edges:
                start, at_start = i, run.save()  # to come back to, should this line be wrong
            try:
                run.feed(token)
                i += 1
            except UnexpectedTokenError:
                failed = True
                self.report(i, start, at_start[0])
                go_on = self.recover(i, start, at_start)
                if go_on is None or len(self.errors) >= MAX_ERRORS:
                    return None
                i = go_on
        if failed:
            return None
        item: syntax.Item | FileDoc = run.result()
        if len(tokens) > MAX_NESTING:  # every level of the tree takes a token
            deep = deepest(item, MAX_NESTING)
            if deep is not None:
                self.errors.append(Diagnostic("L014", f"this is nested more than {MAX_NESTING} deep", deep.span,
                                              help="give a part of it a name on a line of its own"))
        return item

    def report(self, i: int, start: int, states: list[int]) -> None:
        """Say what is wrong with token i, unless layout has complained about its line already.

        `states` are the machine's before token `start`. From there, as the tables reduce before they see that a
        token does not fit, which makes fewer others seem to fit than do.
        """
        line = self.tokens[line_of(self.tokens, i) : self.line_end(i)]
        if all(t.type != ERROR for t in line) and self.tokens[i].type != ERROR:
            kinds = (t.type for t in self.tokens[start:i])
            self.errors.append(mistake(self.tokens, i, expected_after(self.grammar, states, kinds)))

    def expected(self) -> frozenset[str]:
        return expected_after(self.grammar, self.run.states, ())

    def recover(self, i: int, start: int, at_start: tuple[list[int], list[object]]) -> int | None:
        """Put the machine where it can go on after a mistake at token i, in the line that starts at token `start`.

        The index of the token to go on with; None to give the item up.
        """
        run, tokens = self.run, self.tokens
        if self.expected() == {INDENT}:  # a block is missing
            return i if self.pretend(_STATEMENT_BLOCK) or self.pretend(_ARM_BLOCK) else None
        if i == 0 or tokens[i].type in (DEDENT, END):
            return None
        if tokens[i].type == INDENT:
            return self.block_end(i)
        if start == 0:
            return None
        run.restore(at_start)
        end = self.line_end(i)
        after = self.block_end(end) if tokens[end].type == INDENT else end
        first = tokens[start].type
        if first in ("ELIF", "ELSE") and first in self.expected():
            return after
        while first in ("IF", "ELIF", "ELSE") and tokens[after].type in ("ELIF", "ELSE"):
            end = self.line_end(after)
            after = self.block_end(end) if tokens[end].type == INDENT else end
        return after if self.pretend(_STATEMENT) or self.pretend(_ARM) else None

    def line_end(self, i: int) -> int:
        """The index after the NEWLINE of the logical line of token i."""
        while self.tokens[i].type not in (NEWLINE, END):
            i += 1
        return min(i + 1, len(self.tokens) - 1)

    def block_end(self, i: int) -> int:
        """The index after the DEDENT that closes the INDENT at i, and after a NEWLINE that follows it at once."""
        depth = 0
        while True:
            kind = self.tokens[i].type
            depth += (kind == INDENT) - (kind == DEDENT)
            i += 1
            if depth == 0:
                return i + 1 if self.tokens[i].type == NEWLINE else i

    def pretend(self, kinds: Sequence[str]) -> bool:
        """Feed tokens that the text does not have; False, and nothing done, if they do not fit."""
        saved = self.run.save()
        try:
            for kind in kinds:
                self.run.feed(Token(kind, "0", self.tokens[0].span))
        except UnexpectedTokenError:
            self.run.restore(saved)
            return False
        return True


_STATEMENT = ("NAME", "EQUAL", "INT", NEWLINE)
_ARM = ("INT", "THEN", "INT", NEWLINE)
_STATEMENT_BLOCK = (INDENT, *_STATEMENT, DEDENT)
_ARM_BLOCK = (INDENT, *_ARM, DEDENT, NEWLINE)
