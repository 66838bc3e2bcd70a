"""Every example in README and docs is run: console sessions, Python and programs.

A `console` block holds commands after `$ ` (and their further lines after `> `) and their whole output; a line of `…`
stands for any lines, `…` inside a line for any characters. Blocks of one page share a folder, which holds a copy of
`examples`. A `python` block runs as it stands, each page's in one namespace; `>>>` blocks are compared. An `lsrl` block
must check without a diagnostic.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lsrl.diagnostics import Source
from lsrl.frontend.modules import read_module
from tests.forked import run_lsrl

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *kinds: str) -> Iterator[tuple[str, str, int]]:
    text = page.read_text(encoding="utf-8")
    for m in _BLOCK.finditer(text):
        if m.group(1) in kinds:
            yield m.group(1), m.group(2), text.count("\n", 0, m.start()) + 2


def sessions(block: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that is shown."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)
    assert not parts[0].strip(), f"a console block starts with a command: {parts[0]!r}"
    for part in parts[1:]:
        lines = part.split("\n")
        end = next((i for i, line in enumerate(lines) if i and not line.startswith("> ")), len(lines))
        yield "\n".join([lines[0], *(line[2:] for line in lines[1:end])]), "\n".join(lines[end:])


def matches(shown: str, real: str) -> bool:
    pattern = ""
    for line in shown.rstrip().split("\n"):
        piece = ".*".join(map(re.escape, line.rstrip().split("…")))
        pattern += r"(?:.*\n)*" if line == "…" else piece + r"\n"
    return re.fullmatch(pattern, real.rstrip() + "\n") is not None


def printed(command: str, environment: dict[str, str]) -> str:
    """What a command writes. Those that are `lsrl` and plain words take no shell, and no time to start."""
    if re.fullmatch(r"lsrl [\w ./=,:-]+", command):
        return run_lsrl(command.split()[1:], environment)
    ran = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=120)
    return ran.stdout + ran.stderr


@pytest.fixture(scope="module", params=PAGES, ids=lambda p: p.stem)
def page(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_examples_of_a_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "bin").mkdir()
    for name, what in (("lsrl", "-m lsrl "), ("python", "")):
        script = tmp_path / "bin" / name
        script.write_text(f"#!/bin/sh\nexec {sys.executable} {what}\"$@\"\n")
        script.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for kind, text, line in blocks(page, "console", "python", "lsrl"):
        where = f"{page.name}:{line}"
        if kind == "lsrl":
            read_module(Source(where, text), tmp_path)
        elif kind == "python" and ">>>" in text:
            test = doctest.DocTestParser().get_doctest(text, namespace, where, str(page), line)
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
            runner.run(test, clear_globs=False)
            assert runner.summarize(verbose=False).failed == 0, where
            namespace.update(test.globs)
        elif kind == "python":
            exec(compile(text, where, "exec"), namespace)
        else:
            for command, shown in sessions(text):
                real = printed(command, environment)
                assert matches(shown, real), f"{where}: `{command}` printed\n{real}\ninstead of\n{shown}"


def test_a_wrong_page_is_noticed() -> None:
    assert matches("a …\n…\nz\n", "a b\nc\nd\nz\n")
    assert matches("a\n…\nz\n", "a\nz\n")
    assert not matches("a …\nz\n", "b\nz\n")
    assert not matches("a\n", "a\nb\n")
