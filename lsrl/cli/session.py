"""The state of an interactive session: definitions, statements and example inputs, and what each name's stream is.

Everything that was entered is one program text, which is read anew at every entry: what the session shows is what the
compiler says of that text. The terminal is in `repl_command`; nothing here reads or prints.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from lsrl.diagnostics import LsrlError, Source, did_you_mean
from lsrl.interpreter import Interpreter, RunError, read_inputs
from lsrl.ir.graph import Graph
from lsrl.types import Symbols, Type, Value, quote_symbol
from lsrl.values import show_value

__all__ = ["HELP", "Session", "is_unfinished"]

HELP = """Enter definitions (a block ends at an empty line), statements of a step, or expressions:
  :input bit = [1, 0, 1]      an example: a list of bools or numbers, or a text in quotes
  :input tok = "(())"         each character of the text is a token
  odd = parity(bit)           names a stream; its values on the example are shown
  count(bit) > 1              shows an expression's values
Commands:
  :type EXPR      the type of an expression         :show         every name's stream
  :explain        what is known about the program   :graph [PATH] the graph, as text or drawn to a file
  :targets        which targets host it             :source       the text entered so far
  :load FILE      takes the definitions of a file   :use NAME     looks at a program instead of your statements
  :undo           takes back the last entry         :clear        forgets everything
  :help           this page                         :quit         leaves
"""

_ITEM = re.compile(r"(program|def|type|const|import|from)\b")
_STATEMENT = re.compile(r"(state|param|if|for|assert|assume)\b|[A-Za-z_]\w*\s*(\[[^=]*\]\s*:=|:=|:[^=]|=(?!=))")
_SHOWN = 16  # values of a stream on one line


@dataclass
class Session:
    """What was entered so far. `folder` is where relative imports are looked for."""

    folder: Path = field(default_factory=Path.cwd)
    items: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    inputs: dict[str, tuple[str, list[Any]]] = field(default_factory=dict)
    using: str | None = None
    _past: list[tuple[list[str], list[str], dict[str, tuple[str, list[Any]]], str | None]] = \
        field(default_factory=list)

    def enter(self, text: str) -> str:
        """The answer to one entry. Raises LsrlError for one that is wrong, and the session is as it was."""
        text = text.strip("\n")
        if not text.strip():
            return ""
        if text.startswith(":"):
            return self._command(text)
        before = self._kept()
        try:
            answer = self._extend(text)
        except LsrlError:
            self._restore(before)
            raise
        if before != self._kept():
            self._past.append(before)
        return answer

    def _extend(self, text: str) -> str:
        if _ITEM.match(text):
            self.items.append(text)
            self.graph()
            return ""
        if not _STATEMENT.match(text):
            return self._shown_expression(text)
        self.using = None
        self.statements.append(text)
        graph = self.graph()
        names = [n for n in re.findall(r"^\s*(?:state\s+)?([A-Za-z_]\w*)\s*(?=[:=\[])", text, re.MULTILINE)
                 if n in dict(graph.names)]
        return self._table(graph, dict.fromkeys(names))

    # ------------------------------------------------------------ the program

    def source(self, extra: Sequence[str] = ()) -> str:
        """The text of everything entered, with the statements as a program named `session`."""
        lines = [line for s in (*self.statements, *extra) for line in s.splitlines()]
        head = ", ".join(f"{n}: {t}" for n, (t, _) in self.inputs.items()) or "tick: bool"
        body = "\n".join("    " + line for line in [*lines, "return true"])
        return "\n\n".join([*self.items, f"program session({head}) -> bool:\n{body}\n"])

    def graph(self, extra: Sequence[str] = ()) -> Graph:
        """The graph of the program in use, or of the statements."""
        from lsrl.frontend.modules import read_module

        if self.using is not None and not extra:
            module = read_module(Source("<session>", "\n\n".join(self.items) + "\n"), self.folder)
            return module.elaborate(self.using)
        return read_module(Source("<session>", self.source(extra)), self.folder).elaborate("session")

    def _shown_expression(self, text: str) -> str:
        graph = self.graph([f"it = ({text})" if "\n" in text else f"it = {text}"])
        return self._table(graph, ["it"])

    def _streams(self, graph: Graph, names: Sequence[str]) -> tuple[dict[str, list[Value]], str]:
        """The values of each name on the example; and why the run stopped, if it did."""
        nodes = dict(graph.names)
        watched = replace(graph, outputs=tuple((n, nodes[n]) for n in names))
        streams: dict[str, list[Value]] = {n: [] for n in names}
        try:
            for row in Interpreter(watched).run(self._rows(graph)):
                for n in names:
                    streams[n].append(row[n])
        except RunError as stop:
            return streams, str(stop)
        return streams, ""

    def _rows(self, graph: Graph) -> list[dict[str, Value]]:
        """The example as rows of values; as long as its shortest input. Raises LsrlError where one does not fit."""
        wanted = [i.name for i in graph.inputs]
        if wanted == ["tick"] and "tick" not in self.inputs:
            return [{"tick": True}] * 8
        missing = [n for n in wanted if n not in self.inputs]
        if missing:
            return []
        length = min(len(self.inputs[n][1]) for n in wanted)
        return [read_inputs(graph, {n: self.inputs[n][1][t] for n in wanted}, t) for t in range(length)]

    def _table(self, graph: Graph, names: Iterable[str]) -> str:
        """A line a name: its type and its values, under the example's own."""
        names = list(names)
        if not names:
            return ""
        streams, stopped = self._streams(graph, names)
        types = _types(graph)
        rows: list[tuple[str, Type, list[Value]]] = []
        example = self._rows(graph)
        for i in graph.inputs:
            if i.name in self.inputs and i.name not in names:
                rows.append((i.name, i.type, [row[i.name] for row in example]))
        rows += [(n, types[n], streams[n]) for n in names]
        cells = [[n, str(t), *(_short(v, t) for v in vs[:_SHOWN]), *(["…"] if len(vs) > _SHOWN else [])]
                 for n, t, vs in rows]
        widths = [max(len(c[k]) for c in cells if k < len(c)) for k in range(max(map(len, cells)))]
        text = "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=False)).rstrip() for row in cells)
        return f"{text}\n{stopped}".rstrip()

    # ------------------------------------------------------------ commands

    def _command(self, text: str) -> str:
        name, _, rest = text[1:].partition(" ")
        commands: dict[str, Callable[[str], str]] = {
            "input": self._input, "type": self._type, "show": self._show, "explain": self._explain,
            "graph": self._graph, "targets": self._targets, "source": lambda _: self.source().rstrip(),
            "load": self._load, "use": self._use, "undo": self._undo, "clear": self._clear,
            "help": lambda _: HELP.rstrip()}
        if name not in commands:
            raise LsrlError.of("L107", f"there is no command `:{name}`",
                               help=did_you_mean(name, commands) or "`:help` lists them")
        return commands[name](rest.strip())

    def _input(self, rest: str) -> str:
        m = re.fullmatch(r"([A-Za-z_]\w*)\s*(?::(.*?))?=\s*(.+)", rest, re.DOTALL)
        if m is None:
            raise LsrlError.of("L602", "an example is written `:input NAME = VALUES`",
                               help='`:input bit = [1, 0, 1]`, `:input tok = "(())"`, `:input x: int[0..9] = [3, 1]`')
        name, given, text = m.group(1), m.group(2), m.group(3)
        values = _example(text)
        before = self._kept()
        self.inputs[name] = (given.strip() if given else _type_of(values), values)
        try:
            self._rows(self.graph())
        except LsrlError:
            self._restore(before)
            raise
        self._past.append(before)
        return self._show("")

    def _type(self, rest: str) -> str:
        known = _types(self.graph())
        if rest in known:
            return str(known[rest])
        return str(dict(self.graph([f"it = {rest}"]).names)["it"].type)

    def _show(self, _: str) -> str:
        graph = self.graph()
        inputs = {i.name for i in graph.inputs}
        return self._table(graph, [n for n, _ in graph.names if "." not in n and n not in inputs])

    def _explain(self, _: str) -> str:
        from lsrl.analysis.report import explain

        return explain(self._whole())

    def _targets(self, _: str) -> str:
        from lsrl.backends.registry import render_targets

        return render_targets(self._whole())

    def _whole(self) -> Graph:
        """The program in use; or the statements, with the last name as the output."""
        graph = self.graph()
        if self.using is not None:
            return graph
        names = [(n, x) for n, x in graph.names if "." not in n and x not in graph.inputs]
        if not names:
            raise LsrlError.of("L107", "nothing is named yet", help="name a stream first: `odd = parity(bit)`")
        return replace(graph, outputs=(("out", names[-1][1]),), name=names[-1][0])

    def _graph(self, rest: str) -> str:
        if rest:
            from lsrl.ir.dot import write_picture

            write_picture(self._whole(), Path(rest))
            return f"wrote {rest}"
        from lsrl.ir.printer import print_graph

        return print_graph(self._whole()).rstrip()

    def _load(self, rest: str) -> str:
        from lsrl.frontend.modules import load_module
        from lsrl.frontend.parser import read_source

        path = Path(rest.strip("\"'"))
        module = load_module(path)
        self._past.append(self._kept())
        self.items, self.statements, self.folder = [read_source(path).text.rstrip()], [], path.resolve().parent
        self.using = next(iter(module.programs), None)
        return f"{path}: {', '.join(module.programs) or 'no program'}" + \
            (f"; using {self.using}" if self.using else "")

    def _use(self, rest: str) -> str:
        before = self._kept()
        self.using = rest or None
        try:
            graph = self.graph()
        except LsrlError:
            self._restore(before)
            raise
        self._past.append(before)
        return ", ".join(f"{i.name}: {i.type}" for i in graph.inputs)

    def _undo(self, _: str) -> str:
        if not self._past:
            return "there is nothing to take back"
        self._restore(self._past.pop())
        return ""

    def _clear(self, _: str) -> str:
        self._past.append(self._kept())
        self.items, self.statements, self.inputs, self.using = [], [], {}, None
        return ""

    def _kept(self) -> tuple[list[str], list[str], dict[str, tuple[str, list[Any]]], str | None]:
        return list(self.items), list(self.statements), dict(self.inputs), self.using

    def _restore(self, kept: tuple[list[str], list[str], dict[str, tuple[str, list[Any]]], str | None]) -> None:
        self.items, self.statements, self.inputs, self.using = \
            list(kept[0]), list(kept[1]), dict(kept[2]), kept[3]


def _types(graph: Graph) -> dict[str, Type]:
    """The type of every name; of a state the declared one."""
    return {**{i.name: i.type for i in graph.inputs}, **{n: x.type for n, x in graph.names},
            **{s.name: s.type for s in graph.states}}


def _example(text: str) -> list[Any]:
    try:
        value = ast.literal_eval(text.replace("true", "True").replace("false", "False"))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise LsrlError.of("L602", f"{text[:40]} is not a list of values or a text in quotes") from None
    if not isinstance(value, str | list | tuple) or not value:
        raise LsrlError.of("L602", "an example is a list with at least one value, or a text in quotes")
    return [Fraction(str(v)) if isinstance(v, float) else v for v in value]


def _type_of(values: Sequence[Any]) -> str:
    """The type of an example: bools, ints (0 and 1 alone are bools), reals, or the alphabet of its symbols."""
    if all(isinstance(v, bool) or v in (0, 1) for v in values):
        return "bool"
    if all(isinstance(v, int) for v in values):
        return "int"
    if all(isinstance(v, int | Fraction) for v in values):
        return "real"
    return "{" + ", ".join(quote_symbol(str(s)) for s in dict.fromkeys(values)) + ", *}"


def _short(value: Value, t: Type) -> str:
    shown = show_value(value, t)
    return shown.strip('"') if isinstance(t, Symbols) and len(shown) == 3 and shown.strip('" ') else shown


def is_unfinished(text: str) -> bool:
    """True if more lines must follow: a bracket or docstring is open, or a block has not met its empty line."""
    code = re.sub(r'"""(?:.|\n)*?"""|(?<!")"(?!"")(?:\\.|[^"\\\n])*"|#[^\n]*', "", text)
    if '"""' in code or sum(code.count(c) for c in "([{") > sum(code.count(c) for c in ")]}"):
        return True
    lines = text.split("\n")
    has_block = any(line.rstrip().endswith(":") or line[:1] in (" ", "\t") for line in code.split("\n"))
    return has_block and bool(lines[-1].strip())
