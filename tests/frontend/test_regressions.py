"""Mistakes that users made, and what they are told: once answered badly, now pinned."""

from __future__ import annotations

from pathlib import Path

import pytest

from lsrl.diagnostics import LsrlError, Source
from lsrl.frontend.modules import read_module


def errors(text: str, folder: Path = Path()) -> list[str]:
    """Each error of a text as `line:column code sentence = help`."""
    with pytest.raises(LsrlError) as caught:
        read_module(Source("t.lsrl", text), folder)
    return [f"{d.span.line}:{d.span.column} {d.code} {d.message}" + (f" = {d.help}" if d.help else "")
            for d in caught.value.diagnostics]


def body(*lines: str) -> str:
    return "program p(x: int, b: bool) -> real:\n" + "".join(f"    {line}\n" for line in lines)


ONE_ERROR_EACH = [
    # what follows from a mistake is not reported again
    (body("for i in 0..2:", "    state s: int = 0", "    s := s + x", "return x"),
     "3:9 L306 `state` stands at the top of a body, not inside `if` or `for` = declare it above; assign it with := in "
     "the branch"),
    (body("y := 3", "z = y", "return y + z"),
     "2:5 L301 the state `y` is not declared = declare it above: state y: T = …"),
    (body("if b:", "    return x"),
     "3:9 L305 `return` stands last in a body, outside `if` and `for` = choose the value before: return a if c else b"),
    # a name of a block that has ended
    (body("if b:", "    y = x", "return y"),
     "4:12 L101 the name `y` is not known here = the `y` of line 3 is local to its block: use state, or name it "
     "outside with a if c else b"),
    # params
    (body("param w: real = normal(-1)", "return w"),
     "2:28 L213 a standard deviation is not negative, and this is -1"),
    (body("param w: real = uniform(1, 0)", "return w"), "2:21 L213 the range 1..0 is empty = write uniform(lo, hi)"),
    # indices
    (body("v = [1, 2]", "return v[0, 1]"), "3:17 L205 this is one index too many: the vector has 1 dimension"),
    (body("state v: int[2] = 0", "v[0, 1] := x", "return x"), "3:5 L205 `v` is `int[2]`: it takes one index"),
    (body("state v: int[2, 2] = 0", "v[0][1] := x", "return x"),
     "3:9 L010 the indices of an element stand in one pair of brackets = write `m[i, j] := …`"),
    # imports
    ('import "a\\x00.lsrl"\n', "1:8 L105 a path has no NUL character"),
]


@pytest.mark.parametrize("text, expected", ONE_ERROR_EACH)
def test_one_error_and_its_help(text: str, expected: str) -> None:
    assert errors(text) == [expected]


def test_a_file_named_like_a_reserved_word_needs_an_alias(tmp_path: Path) -> None:
    (tmp_path / "if.lsrl").write_text("const N = 1\n", encoding="utf-8")
    assert errors('import "if.lsrl"\n', tmp_path) == ['1:8 L106 `if` is not a name = write import "if.lsrl" as name']
    read_module(Source("t.lsrl", 'import "if.lsrl" as other\nconst M = other.N\n'), tmp_path)


def test_an_error_at_every_size_names_the_size_it_shows() -> None:
    with pytest.raises(LsrlError) as caught:
        read_module(Source("t.lsrl", "program p[n](x: real[n]) -> real[n]:\n    return x + zeros(n + 1)\n"), Path())
    (one,) = caught.value.diagnostics
    assert [text for text, _ in one.notes] == ["as it is with n = 4; other sizes have the error too"]


def test_a_name_that_fills_the_screen_is_cut() -> None:
    with pytest.raises(LsrlError) as caught:
        read_module(Source("t.lsrl", f"const A = {'a' * 100_000}\n"), Path())
    assert len(str(caught.value)) < 2500
