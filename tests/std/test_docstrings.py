"""Every function of the library has a docstring, and the example sequences in it are right.

An example is a line `name: value value …` for each input, `name of TYPE: …` where the type matters, and after them
lines `expression: value value …` of what it gives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import lsrl
from lsrl.diagnostics import Source
from lsrl.frontend.format import format_file
from lsrl.frontend.parser import parse
from lsrl.frontend.syntax import Definition
from tests.std.support import program, run, same

STD = Path(lsrl.__file__).parent / "std"
TABLE = {
    "index", "first_token", "prev", "delay", "window", "modulo_counter", "count", "running_sum", "running_max",
    "running_min", "running_mean", "ema", "ever", "always", "parity", "hold", "since", "run_length", "rising",
    "falling", "latch", "recall", "counts", "occurrences", "most_frequent", "seen", "distinct", "width",
    "aggregate", "aggregate_mean", "matches", "contains", "word_start",
}
SUGAR = {"linear", "linstate", "bump", "eq", "neq", "larger", "smaller", "ifelse", "constant"}


def definitions() -> list[Definition]:
    files = [parse(Source(p.name, p.read_text())) for p in sorted(STD.glob("*.lsrl"))]
    return [item for file in files for item in file.items if isinstance(item, Definition)]


@dataclass(frozen=True)
class Example:
    inputs: tuple[tuple[str, str, tuple[Any, ...]], ...]  # name, type, values
    expression: str
    values: tuple[Any, ...]


def value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"'):
        return text[1:-1]
    if text.startswith("["):
        return [value(part.strip()) for part in text[1:-1].split(",")]
    return float(text) if re.fullmatch(r"-?\d+\.\d+", text) else Fraction(text)


def type_of(values: list[Any]) -> str:
    if isinstance(values[0], bool):
        return "bool"
    return '{"a".."z", " "}' if isinstance(values[0], str) else "int[-9..9]"


def examples() -> list[Example]:
    out: list[Example] = []
    for d in definitions():
        inputs: list[tuple[str, str, tuple[Any, ...]]] = []
        for line in (d.doc.value if d.doc else "").splitlines():
            # A name may have a type; an expression ends at the colon before its values.
            found = re.fullmatch(r" *(\w+(?: of [^:]+)?|\w+\(.*\)): +(\S.*)", line)
            if found is None:
                continue
            values = [value(v) for v in re.findall(r'\[[^\]]*\]|"[^"]*"|\S+', found[2])]
            name, _, t = found[1].partition(" of ")
            if "(" in found[1]:
                out.append(Example(tuple(inputs), found[1], tuple(values)))
            else:
                inputs.append((name, t or type_of(values), tuple(values)))
    return out


def result_type(e: Example) -> str:
    first = e.values[0]
    if isinstance(first, list):
        return f"{'bool' if isinstance(first[0], bool) else 'int'}[{len(first)}]"
    if isinstance(first, str):
        return e.inputs[0][1]
    if isinstance(first, bool):
        return "bool"
    whole = all(isinstance(v, Fraction) and v.denominator == 1 for v in e.values)
    return "int" if whole else "real"


def test_the_table_of_the_language_page_is_there() -> None:
    known = {d.name.id for d in definitions()}
    assert known >= TABLE | SUGAR
    assert all(d.doc is not None and len(d.doc.value) > 20 for d in definitions())


def test_the_library_is_in_the_canonical_form() -> None:
    for path in STD.glob("*.lsrl"):
        text = path.read_text()
        assert format_file(parse(Source(path.name, text))) == text


def test_most_functions_show_an_example() -> None:
    shown = {e.expression.split("(")[0] for e in examples()}
    assert TABLE - shown == {"index", "first_token", "modulo_counter"}


@pytest.mark.parametrize("example", examples(), ids=lambda e: e.expression)
def test_example(example: Example) -> None:
    parameters = ", ".join(f"{name}: {t}" for name, t, _ in example.inputs)
    columns = {name: list(values) for name, _, values in example.inputs}
    got = run(program(parameters, result_type(example), example.expression), columns)
    assert len(got) == len(example.values)
    assert all(same(a, b) for a, b in zip(got, example.values, strict=True)), got
