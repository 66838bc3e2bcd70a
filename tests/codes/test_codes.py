"""Every code has a page, every page a use, and every example on a page does what the page says."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

import lsrl
from lsrl.codes import CODES, FAMILIES, page
from lsrl.diagnostics import LsrlError, Source
from lsrl.frontend.modules import read_module
from lsrl.interpreter import Interpreter

PACKAGE = Path(lsrl.__file__).parent


@dataclass(frozen=True)
class Example:
    code: str
    marks: tuple[str, ...]
    text: str
    rows: tuple[dict[str, object], ...]


def examples() -> list[Example]:
    found: list[Example] = []
    for code in CODES:
        blocks = re.findall(r"^```(\w+)([^\n]*)\n(.*?)^```", page(code), flags=re.MULTILINE | re.DOTALL)
        for i, (language, marks, text) in enumerate(blocks):
            if language != "lsrl":
                continue
            rows = blocks[i + 1][2].splitlines() if i + 1 < len(blocks) and blocks[i + 1][0] == "jsonl" else []
            found.append(Example(code, tuple(marks.split()), text, tuple(json.loads(row) for row in rows)))
    return found


def codes_of(example: Example) -> set[str]:
    """The codes that the compiler, a run over the rows, and the targets of the marks give for a program."""
    try:
        module = read_module(Source(f"{example.code}.lsrl", example.text), Path())
        graph = module.elaborate()
        list(Interpreter(graph).run(example.rows))
        for mark in example.marks:
            if mark.startswith("target="):
                from lsrl.backends.registry import compile_graph

                compile_graph(graph, mark.removeprefix("target="))
    except LsrlError as error:
        return {d.code for d in error.diagnostics}
    return set()


def raised() -> set[str]:
    """Every code that stands in the package's source."""
    files = [p for p in PACKAGE.rglob("*.py") if p.parent.name != "codes"]
    return set(re.findall(r"[\"'](L[0-6]\d\d)[\"']", "\n".join(p.read_text() for p in files)))


def test_every_code_has_a_page_and_every_page_a_use() -> None:
    assert raised() - {"L107"} == CODES.keys() - {"L107"}


def test_families_and_order() -> None:
    assert list(CODES) == sorted(CODES)
    assert {code[:2] for code in CODES} == FAMILIES.keys()


@pytest.mark.parametrize("code", CODES)
def test_a_page_says_enough(code: str) -> None:
    title, _, body = page(code).partition("\n\n")
    assert title == f"{code}: {CODES[code]}" and CODES[code]
    assert len(body.split()) >= 15
    assert page(code.lower()) == page(code)


@pytest.mark.parametrize("example", examples(), ids=lambda e: e.code)
def test_examples_on_pages(example: Example) -> None:
    assert codes_of(example) == (set() if "ok" in example.marks else {example.code})


def test_pages_name_options_that_there_are() -> None:
    commands = "\n".join(p.read_text() for p in (PACKAGE / "cli").glob("*.py"))
    for code in CODES:
        for option in re.findall(r"--[a-z][a-z-]+", page(code)):
            assert f'"{option}"' in commands, f"{code}: {option}"


def test_an_unknown_code() -> None:
    with pytest.raises(LsrlError) as caught:
        page("L999")
    assert caught.value.diagnostics[0].code == "L107"
