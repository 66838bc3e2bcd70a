"""What the parser says about wrong texts: place, code, sentence and help, pinned."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsrl.diagnostics import Diagnostic, LsrlError, Source
from lsrl.frontend.layout import MAX_ERRORS, MAX_NESTING
from lsrl.frontend.parser import parse, read_source
from lsrl.frontend.reading import decode_source
from tests.frontend.source_texts import files

HEADING = "def f(x):\n    "


def errors(text: str) -> list[str]:
    """Each error as `line:column code sentence = help`."""
    with pytest.raises(LsrlError) as caught:
        parse(Source("t.lsrl", text))
    return [
        f"{d.span.line}:{d.span.column} {d.code} {d.message}" + (f" = {d.help}" if d.help else "")
        for d in caught.value.diagnostics
    ]


CHARACTERS = [
    ("const N = $", "1:11 L001 `$` means nothing here"),
    ("const N = a\x00b", "1:12 L001 a NUL byte stands here: this is no text"),
    (
        "const größe = 1",
        "1:9 L001 `öß` cannot stand in a name = names are made of the letters a to z, A to Z, digits and _",
    ),
    ("const N = 1 ≤ 2", "1:13 L013 the language has no `≤` = write `<=`"),
    ("const N = 3;", "1:12 L013 the language has no `;` = write one statement a line"),
    (
        "const N = a\\\n  + 1",
        "1:12 L013 the language has no `\\` = a bracket joins lines: put the expression in ( )",
    ),
    ("const N = 1 \r + 2", "1:13 L001 the character U+000D means nothing here"),
    ("const N = \u200b1", "1:11 L001 the character U+200B means nothing here"),
]


@pytest.mark.parametrize("text, expected", CHARACTERS)
def test_characters(text: str, expected: str) -> None:
    assert errors(text) == [expected]


STRINGS_AND_NUMBERS = [
    (
        'const N = "abc',
        "1:11 L002 this string has no closing quote = a string ends on its line; write \\n for the end of a line",
    ),
    (
        'const N = "abc\\"',
        "1:11 L002 this string has no closing quote = a string ends on its line; write \\n for the end of a line",
    ),
    ('"""never closed\nconst N = 1', '1:1 L002 this docstring has no closing """'),
    ('const N = "\\q"', '1:12 L003 `\\q` is no escape = the escapes are \\n \\t \\r \\\\ \\" \\xNN \\u{…}'),
    ('const N = "\\x4"', '1:12 L003 `\\x` is no escape = the escapes are \\n \\t \\r \\\\ \\" \\xNN \\u{…}'),
    ('const N = "\\u{D800}"', "1:12 L003 there is no character U+D800"),
    ('const N = "\\u{110000}"', "1:12 L003 there is no character U+110000"),
    ("const N = 'a'", '1:11 L013 strings stand between double quotes = write "a"'),
    ("const N = 3x", "1:11 L004 `3x` is neither a number nor a name"),
    ("const N = 0x", "1:11 L004 `0x` is neither a number nor a name"),
    ("const N = 0b101", "1:11 L004 `0b101` is neither a number nor a name"),
    ("const N = 1_000", "1:11 L004 `1_000` is neither a number nor a name = write 1000"),
    ("const N = 1.", "1:11 L004 a real has digits on both sides of its point = write 1.0"),
    ("const N = .5", "1:11 L004 a real has digits on both sides of its point = write 0 before the point"),
    ("const N = 1e", "1:11 L004 `1e` is neither a number nor a name"),
    ("const N = 1e99999", "1:11 L004 this number has more than 4000 digits"),
    ("const N = 1e-99999999999", "1:11 L004 this number has more than 4000 digits"),
]


@pytest.mark.parametrize("text, expected", STRINGS_AND_NUMBERS)
def test_strings_and_numbers(text: str, expected: str) -> None:
    assert errors(text) == [expected]


LAYOUT = [
    (
        "def f(x):\n\ty = 1\n        return y",
        "3:1 L006 this line is indented with spaces, a line above with tabs = indent every line of the file with tabs",
    ),
    (
        "def f(x):\n    if x:\n    \ty = 1\n    return y",
        "3:1 L006 this line is indented with tabs and spaces together = indent every line of the file with spaces",
    ),
    (
        "def f(x):\n    if x:\n        y = 1\n      z = 2\n    return x",
        "4:1 L007 this line's indentation matches no block around it = the blocks around it are indented by 0 or 4",
    ),
    (
        "def f(x):\n    y = 1\n        z = 2\n    return y",
        "3:1 L008 this line is indented for no reason = only a line that ends in `:` has a deeper block under it",
    ),
    ("def f(x):\nreturn x", "1:1 L008 expected an indented block with the statements under this line"),
    (
        "def f(x):\n    if x:\n    y = 1\n    return y",
        "2:5 L008 expected an indented block with the statements under this line",
    ),
    ("def f(x):", "1:1 L008 expected an indented block with the statements under this line"),
    (
        "def f(x):\n    if x:\n\ndef g(x):\n    return x",
        "2:5 L008 expected an indented block with the statements under this line",
    ),
    (
        "def f(x):\n    y = match x:\n    return y",
        "2:5 L008 expected an indented block with the arms of the `match` under this line",
    ),
    ('def f(x):\n    """Only a docstring."""', "2:28 L010 expected a statement, but the block ends"),
    (
        "  def f(x):\n    return x",
        "1:1 L008 this line is indented for no reason = only a line that ends in `:` has a deeper block under it",
    ),
    (
        "def f(x): return x",
        "1:11 L010 expected the end of the line after `:`, but found `return`"
        " = the block stands on the lines below, indented",
    ),
    (
        "def f(x):\n    if x: y = 1\n    return x",
        "2:11 L010 expected the end of the line after `:`, but found `y`"
        " = the block stands on the lines below, indented",
    ),
    ('const N = 1\n"""late"""', "2:1 L018 a docstring stands first in a file or a definition = write a # comment"),
]


@pytest.mark.parametrize("text, expected", LAYOUT)
def test_layout(text: str, expected: str) -> None:
    assert errors(text) == [expected]


BRACKETS = [
    ("const N = (1 + 2", "1:11 L009 this `(` is never closed"),
    ("const N = f(1, [2, 3)", "1:21 L009 expected `]` to close the `[`, but found `)`"),
    ("const N = 1 + 2)", "1:16 L009 this `)` closes no bracket"),
    (
        "def f(x):\n    y = g(x\n    z = 1\n    return z\n\ndef h(x):\n    return x",
        "2:10 L009 this `(` is never closed",
    ),
    (
        "const N = (1, 2)",
        "1:13 L010 there are no tuples = write a vector, [a, b], or a record, `return (x = a, y = b)`",
    ),
    ("const N = [1 2]", "1:14 L010 expected an operator, `,` or `]`, but found `2`"),
    ("const N = ()", "1:12 L010 expected a value, but found `)`"),
    ("const N = f(a, , b)", "1:16 L010 expected a value or `)`, but found `,`"),
    ('type K = {"a", b}', "1:16 L010 expected a string, `}` or `*`, but found `b`"),
]


@pytest.mark.parametrize("text, expected", BRACKETS)
def test_brackets(text: str, expected: str) -> None:
    assert errors(text) == [expected]


EXPECTED = [
    ("def f(x)\n    return x", "1:9 L010 expected `:` after the heading of the def, but the line ends"),
    (
        "program f(x: bool):\n    return x",
        "1:9 L010 program `f` does not say what it gives = write `program f(…) -> bool:`, or the type that it gives",
    ),
    ("program (x: bool) -> bool:\n    return x", "1:9 L010 expected a name, but found `(`"),
    ("def f(x, 3):\n    return x", "1:10 L010 expected a name, `)` or `const`, but found `3`"),
    ("def f(x: ):\n    return x", "1:10 L010 expected a type, but found `)`"),
    ("def f(x) -> :\n    return x", "1:13 L010 expected a type, but found `:`"),
    ("def f[](x):\n    return x", "1:7 L010 expected a name, but found `]`"),
    ("type K", "1:7 L010 expected `=`, but the line ends"),
    (
        "type K = ",
        "1:9 L010 the line ends where a value belongs, after `=`"
        " = a bracket joins lines: put the expression in ( ) to go on in the next line",
    ),
    ("type = int", "1:1 L011 `type` is a reserved word = use another name, such as `type_`"),
    ("const N", "1:8 L010 expected `=` or `:`, but the line ends"),
    (
        "const N =",
        "1:10 L010 the line ends where a value belongs, after `=`"
        " = a bracket joins lines: put the expression in ( ) to go on in the next line",
    ),
    ("import a", '1:8 L010 expected a path between double quotes, but found `a` = write "a.lsrl"'),
    ("import a.b", '1:8 L010 expected a path between double quotes, but found `a` = write "a.lsrl"'),
    ('from "a"', "1:9 L010 expected `import`, but the line ends"),
    ('from "a" import', "1:16 L010 expected a name or `(`, but the line ends"),
    ('from "a" import *', "1:17 L010 expected a name or `(`, but found `*`"),
    ('import "a" as 3', "1:15 L010 expected a name, but found `3`"),
]


@pytest.mark.parametrize("text, expected", EXPECTED)
def test_expected(text: str, expected: str) -> None:
    assert errors(text) == [expected]


STATEMENTS = [
    ("if x\n        y = 1", "2:9 L010 expected `:` after the condition, but the line ends"),
    ("if x = 3:\n        y = 1", "2:10 L012 `=` names a value; it does not compare = write `==`"),
    ("if x := 3:\n        y = 1", "2:10 L012 `:=` sets a state, in a statement of its own = to compare, write `==`"),
    ("if x y:\n        y = 1", "2:10 L010 expected `:` after the condition, but found `y`"),
    ("for i in 0..3\n        y = i", "2:18 L010 expected `:` after what `for` runs over, but the line ends"),
    ("for i = 0..3:\n        y = i", "2:11 L010 expected `in`, but found `=`"),
    ("for i 0..3:\n        y = i", "2:11 L010 expected `in`, but found `0`"),
    (
        "else:\n        y = 1",
        "2:5 L010 this `else` belongs to no `if` = it stands right after the block of its `if`, indented like it",
    ),
    (
        "elif x:\n        y = 1",
        "2:5 L010 this `elif` belongs to no `if` = it stands right after the block of its `if`, indented like it",
    ),
    (
        "if x:\n        y = 1\n    else if x:\n        y = 2",
        "4:10 L013 the language has no `else if` = write `elif`",
    ),
    ("if x:\n        y = 1\n    else x:\n        y = 2", "4:10 L010 expected `:` after `else`, but found `x`"),
    ("state s: int", "2:17 L010 this state has no first value = write `= …` after the type"),
    ("state s = 0", "2:13 L010 this state has no type = write `state s: int = …`"),
    ("state s: int := 0", "2:18 L012 `:=` sets a state; a state gets its first value with `=` = write `=`"),
    ("param w: real", "2:18 L010 this param has no first value = write `= …` after the type"),
    ("y: int := 1", "2:12 L012 `:=` sets a state; a value with a type is named with `=` = write `=`"),
    (
        "y == 1",
        "2:7 L012 `==` compares; this line names or sets nothing = write `=` to name a value, `:=` to set a state",
    ),
    ("v[i] = 1", "2:10 L012 an element of a state is set with `:=` = write `:=`"),
    (
        "v[i] == 1",
        "2:10 L012 `==` compares; this line names or sets nothing = write `=` to name a value, `:=` to set a state",
    ),
    ("v[0..1] := 1", "2:8 L010 expected an operator, `,` or `]`, but found `..`"),
    ("f(x)", "2:6 L010 expected `=` or `:=` after `f`, but found `(` = write `x = …` to name the value"),
    ("x", "2:6 L010 expected `=` or `:=` after `x`, but the line ends"),
    ("x.y = 1", "2:6 L010 expected `=` or `:=` after `x`, but found `.`"),
    ("x, y = 1, 2", "2:6 L010 a statement names one value = write one line for each name"),
    ("return x, y", "2:13 L010 `return` gives one value = write `return (a = …, b = …)`, or a vector [a, b]"),
    ("return", "2:11 L010 expected a value, but the line ends"),
    ("return (a = 1, b)", "2:21 L010 expected `=`, but found `)`"),
    ("let y = 1", "2:5 L011 `let` is reserved for later = leave it out: `x = …` names a value"),
    ("state = 1", "2:5 L011 `state` is a reserved word = use another name, such as `state_`"),
    ("y = def + 1", "2:9 L011 `def` is a reserved word = use another name, such as `def_`"),
    ("for in in v:\n        y = 1", "2:9 L011 `in` is a reserved word = use another name, such as `in_`"),
    (
        "match x:\n        1 => 2",
        "2:5 L010 a `match` is a value, not a statement = write `x = match …`, or `s := match …`",
    ),
    ('assert x "no"', '2:14 L010 expected an operator, `,` or the end of the line, but found `"no"`'),
    ("assert x, y", "2:15 L010 expected a string, but found `y`"),
    ("assume", "2:11 L010 expected a value, but the line ends"),
    (
        "while x:\n        y = 1",
        "2:5 L013 the language has no `while` = a loop runs over a range known at compile time: `for i in 0..n-1:`",
    ),
    ("pass", "2:5 L013 the language has no `pass` = leave the block out"),
    ("s += 1", "2:7 L013 the language has no `+=` = write `s := s + …`"),
    ("s++", "2:6 L013 the language has no `++` = write `s := s + 1` to count a state up"),
    (
        "print(x)",
        "2:5 L013 the language has no `print`"
        " = every output is part of what `return` gives; `lsrl repl` shows the values of all names",
    ),
    ("fn g(x):\n        return x", "2:5 L013 the language has no `fn` = write `def`"),
    (
        "def g(x):\n        return x",
        "2:5 L010 `def` stands at the top of a file, not inside a definition = start the line at its first column",
    ),
    ("program = 1", "2:5 L011 `program` is a reserved word = use another name, such as `program_`"),
    ('"""late"""', "2:15 L010 expected a statement, but the block ends"),
    ("y = z = 1", "2:11 L012 `=` names a value; it does not compare = write `==`"),
]


@pytest.mark.parametrize("text, expected", STATEMENTS)
def test_statements(text: str, expected: str) -> None:
    assert errors(HEADING + text) == [expected]


EXPRESSIONS = [
    (
        "1 +",
        "1:14 L010 the line ends where a value belongs, after `+`"
        " = a bracket joins lines: put the expression in ( ) to go on in the next line",
    ),
    (
        "a and",
        "1:16 L010 the line ends where a value belongs, after `and`"
        " = a bracket joins lines: put the expression in ( ) to go on in the next line",
    ),
    ("a && b", "1:13 L013 the language has no `&&` = write `and`"),
    ("a || b", "1:13 L013 the language has no `||` = write `or`"),
    ("!a", "1:11 L013 the language has no `!` = write `not`"),
    ("a !== b", "1:13 L013 the language has no `!==` = write `!=`"),
    ("a === b", "1:13 L013 the language has no `===` = write `==`"),
    ("a <> b", "1:13 L013 the language has no `<>` = write `!=`"),
    ("a & b", "1:13 L013 the language has no `&` = write `and`"),
    ("a | b", "1:13 L013 `|` joins patterns and alphabets = write `or`"),
    ("a ^ b", "1:13 L013 the language has no `^` = write `**` for a power, `!=` for exclusive or"),
    ("~a", "1:11 L013 the language has no `~` = write `not`"),
    ("+1", "1:11 L013 there is no `+` in front of a single value = leave it out"),
    ("a if b", "1:17 L010 this `if` inside an expression has no `else` = write `a if c else b`"),
    ("a if b else", "1:22 L010 expected a value, but the line ends"),
    (
        "not",
        "1:14 L010 the line ends where a value belongs, after `not`"
        " = a bracket joins lines: put the expression in ( ) to go on in the next line",
    ),
    ("a == not b", "1:16 L010 `not` binds looser than what stands before it = put `not …` in parentheses"),
    ("a not in b", "1:13 L013 the language has no `not in`"),
    (
        "a in b",
        "1:13 L013 `in` stands in a `for` only"
        ' = to test for one of several values: `match x: "a" | "b" => true, _ => false`',
    ),
    ("True", "1:11 L013 the language has no `True` = write `true`"),
    ("False", "1:11 L013 the language has no `False` = write `false`"),
    ("a b", "1:13 L010 expected an operator or the end of the line, but found `b`"),
    ("_", "1:11 L010 `_` stands only as the pattern for all that is left"),
    ("_ + 1", "1:11 L010 `_` stands only as the pattern for all that is left"),
    ("f(k = 1, 2)", "1:20 L017 an argument without a name follows one with a name"),
    ("x.1", "1:13 L010 expected a name, but found `1`"),
    ("x.", "1:13 L010 expected a name, but the line ends"),
    ("v[", "1:12 L009 this `[` is never closed"),
    ("v[]", "1:13 L010 expected a value, but found `]`"),
    ("v[1..]", "1:16 L010 expected a value, but found `]`"),
    ("v[0..1 by 2]", "1:21 L015 only real takes a grid (`by`)"),
    ("f(x)(y)", "1:11 L010 only a function that has a name can be called"),
    ("match x", "1:18 L010 expected `:` after what `match` looks at, but the line ends"),
    ("match x: 1", "1:21 L010 expected `=>` after the pattern, but the line ends"),
    (
        "match x: 1 => ",
        "1:24 L010 the line ends where a value belongs, after `=>`"
        " = a bracket joins lines: put the expression in ( ) to go on in the next line",
    ),
    ("match x: 1 = 2", "1:22 L010 expected `=>` after the pattern, but found `=`"),
    (
        "f(match x: 1 => 2, y)",
        "1:31 L010 expected `=>` after the pattern, but found `)`"
        " = a `match` reaches as far right as it can: put it in parentheses to end it",
    ),
    ("match x: _ | 1 => 2", "1:22 L010 expected `=>` after the pattern, but found `|`"),
    (
        "int[0..3] + 1",
        "1:11 L015 a type stands where a value belongs = a type can be an argument, as in size(T), or follow a `:`",
    ),
    ("[x for y]", "1:19 L010 expected `in`, but found `]`"),
    ("[x for y in z, w]", "1:24 L010 expected an operator, `..` or `]`, but found `,`"),
    ("else", "1:11 L011 `else` is a reserved word = use another name, such as `else_`"),
    ("a = b", "1:13 L012 `=` names a value; it does not compare = write `==`"),
    ("a := b", "1:13 L012 `:=` sets a state, in a statement of its own = to compare, write `==`"),
    ("=> 1", "1:11 L010 expected a value, but found `=>`"),
    ("(a: int)", "1:13 L010 expected an operator or `)`, but found `:`"),
    (
        'match x: {"a"} => 1',
        "1:20 L015 a type stands where a value belongs = a type can be an argument, as in size(T), or follow a `:`",
    ),
]


@pytest.mark.parametrize("text, expected", EXPRESSIONS)
def test_expressions(text: str, expected: str) -> None:
    assert errors(f"const N = {text}") == [expected]


TYPES = [
    (
        "3",
        "1:10 L015 this is not a type"
        ' = types are bool, int, real, byte, int[lo..hi], {"a", "b"}, T[n] and names of types',
    ),
    ("a + b", "1:12 L010 expected the end of the line, but found `+`"),
    (
        "f(x)",
        "1:10 L015 this is not a type"
        ' = types are bool, int, real, byte, int[lo..hi], {"a", "b"}, T[n] and names of types',
    ),
    ("{}", '1:10 L016 an alphabet has at least one symbol = write {"a", "b"}'),
    ('{"a".."bc"}', "1:11 L016 the ends of a range of symbols are one character each"),
    ('{"b".."a"}', "1:11 L016 this range of symbols is empty: its first symbol comes after its last"),
    ('{"a".."c".."d"}', "1:19 L010 expected `,` or `}`, but found `..`"),
    ("bool[0..1]", "1:15 L015 only int and real take a range = the size of a vector is one number: T[n]"),
    (
        "int[0..1, 2]",
        "1:20 L015 a range of numbers has no second part"
        " = the sizes of a vector follow in brackets of their own: int[0..9][4]",
    ),
    ("int[0..1 by 1]", "1:22 L015 only real takes a grid (`by`)"),
    ("int[0..]", "1:17 L010 expected a value, but found `]`"),
    ("K[0..1]", "1:12 L015 only int and real take a range = the size of a vector is one number: T[n]"),
    ("(a: int, b)", "1:20 L010 expected `:`, but found `)`"),
    ("(int, int)", "1:14 L010 there are no tuples = write a vector, [a, b], or a record, `return (x = a, y = b)`"),
    ("(a: int) | K", "1:19 L010 expected the end of the line, but found `|`"),
    ("int | ", "1:15 L010 expected a type, but the line ends"),
    ("not K", "1:10 L011 `not` is a reserved word = use another name, such as `not_`"),
]


@pytest.mark.parametrize("text, expected", TYPES)
def test_types(text: str, expected: str) -> None:
    assert errors(f"type K = {text}") == [expected]


SEVERAL = [
    (
        "def f(x)\n    return x\n\ndef g(x):\n    y = 1 +\n    z = (2\n    return !x\n\ntype K = 3\n",
        [
            "1:9 L010 expected `:` after the heading of the def, but the line ends",
            "5:12 L010 the line ends where a value belongs, after `+`",
            "6:9 L009 this `(` is never closed",
            "7:12 L013 the language has no `!`",
            "9:10 L015 this is not a type",
        ],
    ),
    (
        "def f(x):\n    if x:\n        y = = 1\n        s +:= 1\n    else:\n        z = \n    return True\n",
        [
            "3:13 L010 expected a value, but found `=`",
            "4:11 L010 expected `=` or `:=` after `s`, but found `+`",
            "6:12 L010 the line ends where a value belongs, after `=`",
            "7:12 L013 the language has no `True`",
        ],
    ),
    (
        "def f(x):\n    y = match x:\n        1 => 2 3\n        2 = 3\n        _ => 4\n    return y y\n",
        [
            "3:16 L010 expected an operator, `,` or the end of the line, but found `3`",
            "4:11 L010 expected `=>` after the pattern, but found `=`",
            "6:14 L010 expected an operator or the end of the line, but found `y`",
        ],
    ),
    (
        "def f(x):\n"
        "    if x = 1:\n"
        "        y = )\n"
        "    elif x = 2:\n"
        "        y = 2\n"
        "    else:\n"
        "        y = ]\n"
        "    return (\n",
        [
            "2:10 L012 `=` names a value; it does not compare",
            "3:13 L009 this `)` closes no bracket",
            "7:13 L009 this `]` closes no bracket",
            "8:12 L009 this `(` is never closed",
        ],
    ),
    (
        "def f(x):\nreturn x\n\ndef g(x):\n    return = x\n",
        [
            "1:1 L008 expected an indented block with the statements under this line",
            "5:5 L011 `return` is a reserved word",
        ],
    ),
    (
        "def f(x):\n    let y = 1\n    let z = 2 +\n    return y\n",
        [
            "2:5 L011 `let` is reserved for later",
            "3:16 L010 the line ends where a value belongs, after `+`",
        ],
    ),
]


@pytest.mark.parametrize("text, expected", SEVERAL)
def test_several(text: str, expected: list[str]) -> None:
    assert [e.split(" = ")[0] for e in errors(text)] == expected


def test_a_rendered_error() -> None:
    with pytest.raises(LsrlError) as caught:
        parse(Source("t.lsrl", "def f(x):\n    if x = 3:\n        y = 1\n    return x\n"))
    assert str(caught.value) == (
        "error[L012]: `=` names a value; it does not compare\n"
        "  ┌─ t.lsrl:2:10\n"
        "  │\n"
        "2 │     if x = 3:\n"
        "  │          ^\n"
        "  = help: write `==`"
    )


def test_a_bracket_of_another_kind_names_both_places() -> None:
    with pytest.raises(LsrlError) as caught:
        parse(Source("t.lsrl", "const N = f(\n  1]\n"))
    (diagnostic,) = caught.value.diagnostics
    assert [(text, str(place)) for text, place in diagnostic.notes] == [("the `(` stands here", "t.lsrl:1:12")]


TOO_DEEP = f"nested more than {MAX_NESTING} deep"


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 10_000 + "a" + ")" * 10_000,
        "x = " + "[" * 10_000,
        "x = " + "f(" * 201 + ")" * 201,
        "x = " + "not " * 10_000 + "a",
        "x = " + "-" * 10_000 + "a",
        "x = " + "a ** " * 10_000 + "a",
        "x = " + "a if b else " * 10_000 + "c",
        "x = " + "match a: 1 => " * 10_000 + "2",
        "x = a" + "[0]" * 10_000,
        "x = a" + ".b" * 10_000,
        "x: K" + "[0]" * 10_000 + " = 1",
        "x: int" + "[0]" * 10_000 + " = 1",
        "".join("    " * i + "if a:\n    " for i in range(1000)) + "    " * 1000 + "x = 1",
    ],
    ids=[
        "parentheses",
        "open",
        "calls",
        "not",
        "minus",
        "power",
        "if",
        "match",
        "index",
        "field",
        "type",
        "int",
        "blocks",
    ],
)
def test_nesting_has_a_limit(text: str) -> None:
    (error,) = errors(HEADING + text + "\n")
    assert " L014 " in error
    assert str(MAX_NESTING) in error
    assert sys.getrecursionlimit() <= 1000 + 1  # nobody raised it to get here


def test_numbers_have_a_limit() -> None:
    for text in (
        "1" * 4001,
        "1" * 1_000_000,
        "0x" + "f" * 4001,
        "1." + "1" * 4001,
        "1e4001",
        "1e-4001",
        "1e9999999999",
    ):
        assert errors(f"const N = {text}") == ["1:11 L004 this number has more than 4000 digits"]
    parse(Source("t.lsrl", "const N = " + "9" * 4000))


def test_a_long_line_is_cut_around_the_caret() -> None:
    with pytest.raises(LsrlError) as caught:
        parse(Source("t.lsrl", "const N = [" + "1, " * 20_000 + "2 3" + ", 4" * 1000 + "]\n"))
    lines = str(caught.value).splitlines()
    assert lines[1].endswith("t.lsrl:1:60014")
    assert max(map(len, lines)) < 200
    assert lines[4].index("^") == lines[3].index("3,")


def test_the_number_of_errors_has_a_limit() -> None:
    for text in (
        "const N = $\n" * 1000,
        "const N = = 1\n" * 1000,
        HEADING + "y = = 1\n    " * 1000 + "return y\n",
        ")\n" * 1000,
    ):
        assert len(errors(text)) == MAX_ERRORS


RESERVED = """program def state param const type import from as if elif else match return and or not true false for in
by assert assume let"""


@pytest.mark.parametrize("word", RESERVED.split())
def test_reserved_words_are_no_names(word: str) -> None:
    for text in (
        f"type {word} = int",
        f"const {word} = 1",
        f"def {word}(x):\n    return x",
        f"def f({word}):\n    return 1",
        f"def f(x):\n    {word} = 1\n    return x",
        f"def f(x):\n    state {word}: int = 1\n    return x",
    ):
        if (text, word) != (f"def f({word}):\n    return 1", "const"):
            assert [e for e in errors(text) if " L011 " in e or " L010 expected" in e], text


SIGNS = [*"()[]{}:=,.|*+-_\"'#\n\t\\ 0a$", "=>", ":=", "..", "\n    ", "\n  ", '"""', "\ufeff", "\r\n"]
WORDS = ["def ", "if ", "else", "match ", "not ", "in ", "by ", " as ", "let ", "for ", "state ", "return "]
PIECES = st.sampled_from(SIGNS + WORDS)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A correct file with some of its text replaced."""
    text = draw(files())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(st.one_of(PIECES, st.just(""))) + text[start + draw(st.integers(0, 3)) :]
    return text


@given(st.one_of(damaged(), st.text(max_size=60), st.lists(PIECES).map("".join)))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_text_is_parsed_or_explained(text: str) -> None:
    for diagnostic in diagnostics(text):
        assert diagnostic.code.startswith("L0")
        assert diagnostic.render()
        assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(text)


def diagnostics(text: str) -> tuple[Diagnostic, ...]:
    try:
        parse(Source("t.lsrl", text))
    except LsrlError as error:
        return error.diagnostics
    return ()


# ---------------------------------------------------------------- files


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.lsrl"
    path.write_bytes("\ufeffconst N = 1  # é\r\n".encode())
    source = read_source(path)
    assert (source.name, source.text) == (str(path), "const N = 1  # é\r\n")
    assert read_source(str(path)).text == source.text


def reading(path: Path) -> str:
    with pytest.raises(LsrlError) as caught:
        read_source(path)
    (diagnostic,) = caught.value.diagnostics
    text = f"{diagnostic.code} {diagnostic.message}" + (f" = {diagnostic.help}" if diagnostic.help else "")
    return text.replace(str(path.parent) + "/", "")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "balanced.lsrl").write_text("const N = 1", encoding="utf-8")
    (tmp_path / "folder.lsrl").mkdir()
    (tmp_path / "bytes.lsrl").write_bytes(b"const N = 1 # \xff")
    (tmp_path / "cut.lsrl").write_bytes("é".encode()[:1])
    (tmp_path / "wide.lsrl").write_bytes("const N = 1".encode("utf-16"))
    (tmp_path / "balanced.txt").write_text("const N = 1", encoding="utf-8")
    assert reading(tmp_path / "balance.lsrl") == "L020 there is no file balance.lsrl = did you mean `balanced.lsrl`?"
    assert reading(tmp_path / "nothing/x.lsrl") == "L020 there is no file x.lsrl"
    assert reading(tmp_path / "folder.lsrl") == "L020 folder.lsrl is a folder, not a file"
    assert reading(tmp_path / "bytes.lsrl") == "L005 bytes.lsrl is not UTF-8: byte 0xff at offset 14 does not belong"
    assert reading(tmp_path / "cut.lsrl") == "L005 cut.lsrl is not UTF-8: byte 0xc3 at offset 0 does not belong"
    assert reading(tmp_path / "wide.lsrl").endswith("does not belong = the file is UTF-16: save it as UTF-8")
    assert reading(tmp_path / "balanced.txt") == (
        "L019 a program's file ends in .lsrl, but balanced.txt ends in .txt = did you mean `balanced.lsrl`?"
    )
    assert reading(tmp_path / "model").startswith("L019 a program's file ends in .lsrl, but model has no ending")


def test_bytes_are_decoded_under_a_name() -> None:
    assert decode_source("<standard input>", b"const N = 1").name == "<standard input>"
