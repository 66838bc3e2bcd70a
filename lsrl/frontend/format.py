"""The canonical form of a file.

Four spaces a block, one blank around binary operators, no more parentheses than needed, lines of at most 100 characters
where brackets allow it. One empty line around each program and def; elsewhere empty lines are kept, but no more than
one at a time. Comments stay where they are, except that those inside a statement's brackets move above it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TypeVar, assert_never

from lsrl.frontend import syntax as s
from lsrl.frontend.format_expressions import block_match, item_docs, patterns_text, source_doc, type_doc, value_doc
from lsrl.frontend.pretty import INDENT, Broken, Doc, Group, Line, Nest, bracketed, flat, render
from lsrl.types import quote_symbol

__all__ = ["format_file"]

_ELSE = re.compile(r"^[ \t]*else\b", re.MULTILINE)


def format_file(file: s.File) -> str:
    """The canonical text of a parsed file. It parses to the same tree, and formatting it again changes nothing."""
    printer = _Printer(file)
    if file.doc is not None:
        printer.docstring(file.doc, 0)
        printer.empty = _ONE
    for item, following in _with_next(file.items, len(file.source.text)):
        if isinstance(item, s.Definition) and printer.out:
            printer.empty = _ONE
        _item(printer, item, following)
        printer.empty = _ONE if isinstance(item, s.Definition) else _KEPT
    printer.comments_before(len(file.source.text) + 1, 0)
    return "".join(line + "\n" for line in printer.out)


_Node = TypeVar("_Node", s.Item, s.Statement, s.Arm)


def _with_next(nodes: Sequence[_Node], end: int) -> Iterator[tuple[_Node, int]]:
    """Each node with the offset at which the next one starts; `end` for the last."""
    return zip(nodes, [*(node.span.start for node in nodes[1:]), end], strict=False)


_NONE, _KEPT, _ONE = range(3)  # empty lines before the next line: none, at most one of the source's, exactly one


class _Printer:
    """Prints line by line, and lets the comments in as it passes them."""

    def __init__(self, file: s.File) -> None:
        self.source = file.source
        self.comments = list(reversed(file.comments))  # those to come; the next one last
        self.out: list[str] = []
        self.empty = _NONE
        self.last_line = 0  # of the source: where that ends which was printed last

    def number(self, offset: int) -> int:
        return self.source.position(offset)[0]

    def emit(self, text: str, start: int) -> None:
        """Add text that starts at offset `start` of the source, after an empty line if there should be one."""
        if self.out and (self.empty == _ONE or (self.empty == _KEPT and self.number(start) - self.last_line > 1)):
            self.out.append("")
        self.out += text.split("\n")
        self.empty = _KEPT

    def comments_before(self, offset: int, indent: int, column: int = 0) -> None:
        """Print the comments that start before `offset`, up to the first that stands left of `column` (from 1)."""
        while self.comments and self.comments[-1].span.start < offset and self.comments[-1].span.column >= column:
            comment = self.comments.pop()
            self.emit(" " * indent + comment.text, comment.span.start)
            self.last_line = comment.span.line

    def line(self, text: str, indent: int, start: int, end: int) -> None:
        """Print what the source has from `start` to `end`, with the comments before, in and beside it."""
        self.comments_before(start, indent)
        lines = []
        while self.comments and self.comments[-1].span.start < end:
            lines.append(self.comments.pop().text)
        self.emit("\n".join(" " * indent + line for line in (*lines, text)), start)
        self.last_line = self.number(end)
        if self.comments and not self.comments[-1].own_line and self.comments[-1].span.line == self.last_line:
            self.out[-1] += "  " + self.comments.pop().text

    def docstring(self, doc: s.String, indent: int) -> None:
        first, *more = doc.value.split("\n")
        lines = [first, *(" " * indent + text if text else "" for text in more)]
        if more:
            lines.append(" " * indent)
        elif first.endswith('"'):
            lines[0] += " "  # or the quotes would end one sign too early
        self.line('"""' + "\n".join(lines) + '"""', indent, doc.span.start, doc.span.end)


# ---------------------------------------------------------------- items


def _item(printer: _Printer, item: s.Item, following: int) -> None:
    match item:
        case s.Definition():
            _definition(printer, item, following)
        case s.TypeDecl(name=name, type=declared):
            _plain(printer, (f"type {name.id} = ", type_doc(declared)), item, 0)
        case s.ConstDecl(name=name, type=declared, value=value):
            head: Doc = (f"const {name.id}", "" if declared is None else (": ", type_doc(declared)), " = ")
            _with_value(printer, head, value, item, 0, following)
        case s.Import(path=path, names=None, alias=alias):
            _plain(printer, f"import {quote_symbol(path.value)}" + (f" as {alias.id}" if alias else ""), item, 0)
        case s.Import(path=path, names=names):
            listed: list[Doc] = []
            for name, alias in names or ():
                listed += [",", Line()] if listed else []
                listed.append(f"{name.id} as {alias.id}" if alias else name.id)
            inside = (Broken("("), Nest((Line(""), listed)), Broken(","), Line(""), Broken(")"))
            _plain(printer, (f"from {quote_symbol(path.value)} import ", Group(inside)), item, 0)
        case _:
            assert_never(item)


def _definition(printer: _Printer, item: s.Definition, following: int) -> None:
    generics = bracketed("[", [g.id for g in item.generics], "]") if item.generics else ""
    parameters: list[Doc] = []
    for parameter in item.parameters:
        declared: Doc = "" if parameter.type is None else (": ", type_doc(parameter.type))
        parameters.append(("const " if parameter.const else "", parameter.name.id, declared))
    result: Doc = "" if item.result is None else (" -> ", type_doc(item.result))
    heading = (f"{item.kind} {item.name.id}", generics, bracketed("(", parameters, ")"), result, ":")
    printer.line(render(heading, 0), 0, item.span.start, item.span.end)
    printer.empty = _NONE
    if item.doc is not None:
        printer.docstring(item.doc, INDENT)
    _statements(printer, item.body, INDENT, following)


# ---------------------------------------------------------------- statements


def _statements(printer: _Printer, body: Sequence[s.Statement], indent: int, following: int) -> None:
    """Print a block; what comes after it starts at offset `following`."""
    for statement, after in _with_next(body, following):
        _statement(printer, statement, indent, after)
    printer.comments_before(following, indent, body[0].span.column)


def _statement(printer: _Printer, node: s.Statement, indent: int, following: int) -> None:
    match node:
        case s.StateDecl(name=name, type=declared, init=value):
            _with_value(printer, (f"state {name.id}: ", type_doc(declared), " = "), value, node, indent, following)
        case s.ParamDecl(name=name, type=declared, init=value):
            _with_value(printer, (f"param {name.id}: ", type_doc(declared), " = "), value, node, indent, following)
        case s.Bind(name=name, type=declared, value=value):
            head: Doc = (name.id, "" if declared is None else (": ", type_doc(declared)), " = ")
            _with_value(printer, head, value, node, indent, following)
        case s.Assign(name=name, indices=indices, value=value):
            place = bracketed("[", item_docs(indices), "]") if indices else ""
            _with_value(printer, (name.id, place, " := "), value, node, indent, following)
        case s.If():
            _if(printer, node, indent, following)
        case s.For(name=name, source=source, body=body):
            over = flat(source_doc(source, False)) if isinstance(source, s.Range) else value_doc(source, False)
            heading = (f"for {name.id} in ", over, ":")
            _heading(printer, heading, indent, node.span.start, source.span.end)
            _statements(printer, body, indent + INDENT, following)
        case s.Assert(condition=condition, text=text):
            if text is None:
                _with_value(printer, "assert ", condition, node, indent, following)
            else:
                doc = ("assert ", value_doc(condition, False), ", ", quote_symbol(text.value))
                _plain(printer, doc, node, indent)
        case s.Assume(condition=condition):
            _with_value(printer, "assume ", condition, node, indent, following)
        case s.Return(value=value):
            _with_value(printer, "return ", value, node, indent, following)
        case _:
            assert_never(node)


def _plain(printer: _Printer, doc: Doc, node: s.Item | s.Statement, indent: int) -> None:
    printer.line(render(doc, indent), indent, node.span.start, node.span.end)


def _heading(printer: _Printer, doc: Doc, indent: int, start: int, end: int) -> None:
    printer.line(render(doc, indent), indent, start, end)
    printer.empty = _NONE


def _with_value(printer: _Printer, head: Doc, value: s.Expr, node: s.Item | s.Statement, indent: int,
                following: int) -> None:
    """Print a statement that ends in a value, which may be a block match."""
    doc = (head, value_doc(value))
    block = block_match(value)
    if block is None:
        _plain(printer, doc, node, indent)
    else:
        _heading(printer, doc, indent, node.span.start, block.subject.span.end)
        _arms(printer, block, indent + INDENT, following)


def _arms(printer: _Printer, node: s.Match, indent: int, following: int) -> None:
    for arm, after in _with_next(node.arms, following):
        doc = (patterns_text(arm), " ", value_doc(arm.value))
        block = block_match(arm.value)
        if block is None:
            printer.line(render(doc, indent), indent, arm.span.start, arm.span.end)
        else:
            _heading(printer, doc, indent, arm.span.start, block.subject.span.end)
            _arms(printer, block, indent + INDENT, after)
    printer.comments_before(following, indent, node.arms[0].span.column)


def _if(printer: _Printer, node: s.If, indent: int, following: int) -> None:
    text = printer.source.text
    last = following
    if node.orelse:
        found = _ELSE.search(text, node.branches[-1][1][-1].span.end, node.orelse[0].span.start)
        last = node.orelse[0].span.start if found is None else found.end() - len("else")
    starts = [node.span.start]
    for condition, _ in node.branches[1:]:
        starts.append(max(text.rfind("elif", 0, condition.span.start), starts[-1]))
    for i, (condition, body) in enumerate(node.branches):
        if i:
            printer.empty = _NONE
        heading = ("elif " if i else "if ", value_doc(condition, False), ":")
        _heading(printer, heading, indent, starts[i], condition.span.end)
        _statements(printer, body, indent + INDENT, [*starts[1:], last][i])
    if node.orelse:
        printer.empty = _NONE
        _heading(printer, "else:", indent, last, last + len("else"))
        _statements(printer, node.orelse, indent + INDENT, following)
