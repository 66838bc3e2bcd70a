"""docs/library.md says what the docstrings of the library say; `pytest --update-golden` writes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lsrl
from lsrl.diagnostics import Source
from lsrl.frontend.parser import parse
from lsrl.frontend.syntax import Definition, File

STD = Path(lsrl.__file__).parent / "std"
PAGE = Path(__file__).parents[2] / "docs" / "library.md"
ORDER = ("time", "folds", "memory", "tables", "rasp", "text", "lsrl")
HEAD = """# The standard library

These functions are in scope without an import, and written in the language itself, in `lsrl/std`. This page is made
from their docstrings, and the tests run its examples.

Each call in a program's text has a state of its own. A token's own value counts: at the first token, `count(p)` is 1 if
p holds there. A call in a branch of an `if` steps only at tokens that take the branch.
"""


def signature(d: Definition) -> str:
    """The heading without `def`, on one line."""
    return " ".join(d.span.text.removeprefix("def ").rstrip(":").split())


def entry(d: Definition) -> str:
    """A function: its signature, what it says, and its example as it stands."""
    assert d.doc is not None
    said, _, example = d.doc.value.strip().partition("\n\n")
    said = " ".join(said.split())
    shown = f"\n```text\n{example.rstrip()}\n```\n" if example else ""
    return f"### {d.name.id}\n\n`{signature(d)}`\n\n{said}\n{shown}"


def rendered() -> str:
    parts = [HEAD]
    for name in ORDER:
        file: File = parse(Source(name, (STD / f"{name}.lsrl").read_text()))
        assert file.doc is not None
        title, _, rest = file.doc.value.strip().partition("\n")
        more = "\n\n".join(" ".join(p.split()) for p in rest.strip().split("\n\n"))
        parts.append(f"## {name}\n\n{title}\n" + (f"\n{more}\n" if more else ""))
        parts += [entry(d) for d in file.items if isinstance(d, Definition) and not d.name.id.startswith("_")]
    return "\n".join(parts)


def test_every_file_of_the_library_is_on_the_page() -> None:
    assert {p.stem for p in STD.glob("*.lsrl")} == set(ORDER)


def test_the_page_is_what_the_docstrings_say(golden: Callable[[str, Path], None]) -> None:
    golden(rendered(), PAGE)
