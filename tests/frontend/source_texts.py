"""Random texts that the grammar accepts, with odd blanks, brackets that nothing needs, and comments everywhere.

Nothing in them is well typed; they are for the parser and the formatter.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

__all__ = ["expressions", "files"]

Draw = Callable[[st.SearchStrategy[str]], str]

NAMES = st.sampled_from(["a", "b", "x1", "_y", "size", "Abc", "a_rather_long_name_of_a_value"])
NUMBERS = st.sampled_from(["0", "7", "0x1F", "12345678901234567890", "0.5", "1e-3", "2.50E+2"])
STRINGS = st.sampled_from(['"a"', '"\\n"', '"\\x41b"', '"\\u{1F600}"', '"#"', '"(\\""', '""', '"\\\\d+"'])
TYPES = [
    "int",
    "real",
    "bool",
    "K",
    "m.K",
    "int[0..9]",
    "real[0..1 by 1/4]",
    '{"a", "b".."d", *}',
    "K[n]",
    "int[0..3][2, k+1]",
    '{"a"} | K',
    '({"a"} | K)[2]',
    "real[-1..(2+3)*n]",
]
COMPARISONS = ["==", "!=", "<", "<=", ">", ">="]


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3, last: bool = True) -> str:
    """An expression; `last`: nothing follows it up to a closing bracket or the end of the statement."""
    if depth == 0:
        return draw(st.one_of(NAMES, NUMBERS, STRINGS, st.sampled_from(["true", "false"])))
    kind = draw(
        st.sampled_from(
            [
                "leaf",
                "if",
                "or",
                "and",
                "not",
                "compare",
                "sum",
                "product",
                "minus",
                "power",
                "call",
                "subscript",
                "field",
                "vector",
                "comprehension",
                "parentheses",
                "match",
                "word",
            ]
        )
    )
    inner = expressions(depth - 1, True)
    bracketed = inner.map(lambda e: f"({e})")
    operand = st.one_of(bracketed, expressions(0), expressions(0))
    tail = (
        st.one_of(operand, expressions(depth - 1, True).map(lambda e: f"match {e} : 1=>2 ,_ => {e}"))
        if last
        else operand
    )
    match kind:
        case "leaf":
            return draw(expressions(0))
        case "if":
            return f"{draw(operand)} if {draw(operand)} else {draw(expressions(depth - 1, last) if last else operand)}"
        case "or" | "and":
            return f" {kind} ".join([draw(operand) for _ in range(draw(st.integers(1, 3)))] + [draw(tail)])
        case "not":
            return draw(st.sampled_from(["not ", "not not "])) + draw(tail)
        case "compare":
            return _joined(draw, COMPARISONS, operand, tail)
        case "sum":
            return _joined(draw, ["+", "-", " - -"], operand, tail)
        case "product":
            return _joined(draw, ["*", "/", "//", "%", " @ "], operand, tail)
        case "minus":
            return "-" + draw(tail)
        case "power":
            return f"{draw(operand)}**{draw(st.sampled_from(['', '-']))}{draw(tail)}"
        case "call":
            args = [
                draw(st.one_of(bracketed, operand, st.sampled_from([*TYPES, "==", "<"])))
                for _ in range(draw(st.integers(0, 3)))
            ]
            args += draw(st.sampled_from([[], [f"k={draw(operand)}"], [f"k = {draw(inner)}"]]))
            return f"{draw(NAMES)}({','.join(args)}{draw(st.sampled_from(['', ' ,'])) if args else ''})"
        case "word":
            return f"{draw(st.sampled_from(['and', 'or']))}({draw(operand)}, {draw(inner)})"
        case "subscript":
            index = draw(st.sampled_from(["{0}", "{0}, {1}", "{0} .. {1}", "0..n-1", "{0}..{1}, 2"]))
            return f"{draw(bracketed)}[{index.format(draw(operand), draw(operand))}]"
        case "field":
            return f"{draw(bracketed)} . {draw(NAMES)}"
        case "vector":
            return "[" + ", ".join([draw(operand), draw(operand), draw(inner)][: draw(st.integers(0, 3))]) + "]"
        case "comprehension":
            return f"[{draw(operand)} for {draw(NAMES)} in {draw(st.sampled_from(['0..n-1', 'v', '(1)..(f(x))-2']))}]"
        case "parentheses":
            return f"( ( {draw(inner)}) )"
    subject = draw(operand)
    if last:
        return f"match {subject}:{draw(PATTERNS)}=>{draw(operand)},{draw(PATTERNS)} => {draw(inner)}"
    return f"(match {subject}: {draw(PATTERNS)} => {draw(inner)})"


PATTERNS = st.sampled_from(["_", "1", '"a"|"b"', "-1 | 0..3", "n-1 .. n+1", "true"])


def _joined(
    draw: st.DrawFn, operators: list[str], operand: st.SearchStrategy[str], tail: st.SearchStrategy[str]
) -> str:
    out = draw(operand)
    count = draw(st.integers(1, 3))
    for i in range(count):
        out += draw(st.sampled_from(operators)) + draw(tail if i == count - 1 else operand)
    return out


COMMENTS = st.sampled_from(["", "", "", " # why", "#", "  # else: x"])


@st.composite
def blocks(draw: st.DrawFn, depth: int, indent: str) -> str:
    """Statements, one a line, in a block with this indentation."""
    out = ""
    for _ in range(draw(st.integers(1, 3))):
        out += draw(
            st.sampled_from(["", "", "\n", "\n \n\n", f"{indent}# note\n", "# far left\n", f"{indent}    # deep\n"])
        )
        out += draw(statements(depth, indent))
    return out + draw(st.sampled_from(["", "", f"{indent}# last\n", "\n# last, left\n"]))


@st.composite
def statements(draw: st.DrawFn, depth: int, indent: str) -> str:
    value = expressions(2)
    end = draw(COMMENTS) + "\n"
    deeper = indent + draw(st.sampled_from(["    ", "  ", " "]))
    kind = draw(
        st.sampled_from(
            [
                "bind",
                "typed",
                "state",
                "param",
                "assign",
                "element",
                "assert",
                "assume",
                "return",
                "record",
                "arms",
                "split",
                "if",
                "for",
            ]
        )
    )
    if depth == 0 and kind in ("if", "for"):
        kind = "bind"
    match kind:
        case "bind":
            return f"{indent}x={draw(value)}{end}"
        case "typed":
            return f"{indent}x :{draw(st.sampled_from(TYPES))}= {draw(value)}{end}"
        case "state" | "param":
            return f"{indent}{kind} s: {draw(st.sampled_from(TYPES))} = {draw(value)}{end}"
        case "assign":
            return f"{indent}s:={draw(value)}{end}"
        case "element":
            return f"{indent}s[{draw(st.sampled_from(['i', 'i, (j)', '(match x: _ => 1), 2']))}] := {draw(value)}{end}"
        case "assert":
            text = draw(st.sampled_from(["", ', "text"']))
            return f"{indent}assert {draw(expressions(2, text == ''))}{text}{end}"
        case "assume":
            return f"{indent}assume {draw(value)}{end}"
        case "return":
            return f"{indent}return {draw(value)}{end}"
        case "record":
            return f"{indent}return (a=1,b = {draw(value)}){end}"
        case "split":
            return f"{indent}x = ( {draw(expressions(1))}{end}# between\n  )  # after\n"
        case "arms":
            return (
                f"{indent}x = {draw(st.sampled_from(['', '1 + ', 'not ']))}match (a):{end}{draw(arms(depth, deeper))}"
            )
        case "for":
            over = draw(st.sampled_from(["0..n-1", "v", "(f(x))"]))
            return f"{indent}for i in {over} :{end}{draw(blocks(depth - 1, deeper))}"
    out = f"{indent}if {draw(expressions(2, False))}:{end}{draw(blocks(depth - 1, deeper))}"
    for _ in range(draw(st.integers(0, 2))):
        out += f"{indent}elif {draw(expressions(1, False))}:{draw(COMMENTS)}\n{draw(blocks(depth - 1, deeper))}"
    if draw(st.booleans()):
        before = draw(st.sampled_from(["", f"{indent}# else, then\n"]))
        out += f"{before}{indent}else :{draw(COMMENTS)}\n{draw(blocks(depth - 1, deeper))}"
    return out


@st.composite
def arms(draw: st.DrawFn, depth: int, indent: str) -> str:
    out = draw(st.sampled_from(["", f"{indent}# arms\n"]))
    for _ in range(draw(st.integers(1, 2))):
        out += f"{indent}{draw(PATTERNS)} => {draw(expressions(1))}{draw(st.sampled_from(['', ',']))}{draw(COMMENTS)}\n"
    if depth:
        out += f"{indent}_ => match b:\n{draw(arms(depth - 1, indent + '  '))}"
    return out + draw(st.sampled_from(["", f"{indent}# no more\n"]))


HEADINGS = st.sampled_from(
    [
        "program p(x: bool) -> bool:",
        "def f(x) :",
        "def f[K,n](x: K[n], const k) -> (a: int, b: K):",
        "program p[K](a_rather_long_name: int[0..100], another_one: real[0..1 by 1/4], third: K, const k: int,) -> K:",
    ]
)
DOCS = st.sampled_from(
    ["", '"""One line."""', '"""Several.\n\n      indented\n    """', '"""  says "hi" """', '""""""']
)
ITEMS = st.sampled_from(
    [
        'import "a.lsrl"',
        'import "a.lsrl" as m',
        'from "a.lsrl" import a,b as c',
        'from "a.lsrl" import (  # names\n  a,\n  b as c, )',
        "type K = int",
        "const N: int = 3  # three",
        "type Long = {" + ", ".join(f'"{letter}"' for letter in "abcdefghijklmnopqrstuvwxyz") + ", *}",
    ]
)


@st.composite
def files(draw: st.DrawFn) -> str:
    """A file."""
    out = draw(st.sampled_from(["", "# first\n", "\n\n"]))
    doc = draw(DOCS)
    out += doc + draw(COMMENTS) + "\n" if doc else ""
    for _ in range(draw(st.integers(0, 3))):
        out += draw(st.sampled_from(["", "\n", "\n\n\n", "# above\n", "# far\n\n"]))
        if draw(st.booleans()):
            out += draw(ITEMS) + draw(COMMENTS) + "\n"
            continue
        indent = draw(st.sampled_from(["    ", "  ", "   "]))
        doc = draw(DOCS)
        out += draw(HEADINGS) + draw(COMMENTS) + "\n" + (f"{indent}{doc}{draw(COMMENTS)}\n" if doc else "")
        out += draw(blocks(2, indent))
    return out + draw(st.sampled_from(["", "# end", "\n\n"]))
