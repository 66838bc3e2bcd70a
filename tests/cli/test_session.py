"""The REPL's sessions: entries in, answers out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lsrl.cli.session import Session, is_unfinished
from lsrl.diagnostics import LsrlError
from tests.corpus import ROOT


def answers(*entries: str) -> list[str]:
    session = Session()
    return [session.enter(e) for e in entries]


def test_streams_stand_beside_their_definitions() -> None:
    assert answers(":input bit = [1, 0, 1, 1]", "odd = parity(bit)", "count(bit) > 1")[1:] == [
        "bit  bool  true  false  true   true\nodd  bool  true  true   false  true",
        "bit  bool  true   false  true  true\nit   bool  false  false  true  true",
    ]


def test_state_is_carried_from_entry_to_entry() -> None:
    got = answers(":input x = [3, 1, 2]", "state s: int = 0", "s := s + x", "s * 10")
    assert got[2].splitlines()[-1].split() == ["s", "int", "3", "4", "6"]
    assert got[3].splitlines()[-1].split() == ["it", "int", "30", "40", "60"]


def test_blocks_and_definitions() -> None:
    got = answers(":input x = [1, 2, 3]", "def twice(v: int) -> int:\n    return 2 * v\n", "twice(x)",
                  "state big: int = 0", "if x > 1:\n    big := big + x\n")
    assert got[2].splitlines()[-1].split() == ["it", "int", "2", "4", "6"]
    assert got[4].splitlines()[-1].split() == ["big", "int", "0", "2", "5"]


def test_a_text_example_has_its_symbols_as_alphabet() -> None:
    got = answers(':input tok = "(()"', 'd = count(tok == "(")')
    assert got[1] == 'tok  {"(", ")", *}  (  (  )\nd    int            1  2  2'


def test_type_undo_source_clear() -> None:
    session = Session()
    session.enter(":input bit = [1]")
    session.enter("n = count(bit)")
    assert session.enter(":type n") == "int"
    assert session.enter(":type n > 2") == "bool"
    assert session.enter(":source") == \
        "program session(bit: bool) -> bool:\n    n = count(bit)\n    return true"
    session.enter(":undo")
    assert "count" not in session.enter(":source")
    session.enter(":clear")
    assert session.inputs == {}


def test_a_wrong_entry_changes_nothing() -> None:
    session = Session()
    session.enter(":input bit = [1, 0]")
    with pytest.raises(LsrlError) as error:
        session.enter("n = cuont(bit)")
    assert error.value.diagnostics[0].code == "L101"
    assert error.value.diagnostics[0].help == "did you mean `count`?"
    assert session.statements == []
    with pytest.raises(LsrlError, match="L602"):
        session.enter(":input bit = __import__('os')")
    with pytest.raises(LsrlError, match="did you mean `show`"):
        session.enter(":shwo")
    with pytest.raises(LsrlError):
        session.enter(":input bit: int[0..3] = [1, 7]")
    assert session.inputs["bit"] == ("bool", [1, 0])


def test_a_check_that_fails_is_shown_where_it_fails() -> None:
    got = answers(":input x = [3, 7, 2]", 'y: int[0..5] = x')
    assert "L204" in got[1]
    assert "at token 1" in got[1]


def test_files_are_loaded_and_looked_at() -> None:
    session = Session()
    answer = session.enter(f":load {ROOT / 'examples/text/balanced.lsrl'}")
    assert answer.endswith("balanced; using balanced")
    shown = session.enter(':input tok = "([)]"')
    row = next(line for line in shown.splitlines() if line.startswith("broken"))
    assert row.split() == ["broken", "bool", "false", "false", "true", "true"]
    assert session.enter(":type depth") == "int[0..6]"
    assert "balanced" in session.enter(":explain")
    assert session.enter(":graph").startswith("graph balanced")
    session.enter(f":load {ROOT / 'examples/regular/parity.lsrl'}")  # which is compiled sooner
    assert "lstm" in session.enter(":targets")


@pytest.mark.parametrize(("text", "more"), [
    ("x = 1", False), ("f(", True), ("if x:", True), ("if x:\n    s := 1", True), ("if x:\n    s := 1\n", False),
    ("def f(x: int) -> int:\n    return x\n", False), ('"""doc', True), ('x == "("', False), ("x # (", False),
])
def test_unfinished_entries(text: str, more: bool) -> None:
    assert is_unfinished(text) is more


def test_a_script_on_standard_input(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-m", "lsrl", "repl"], cwd=ROOT, capture_output=True, text=True,
                         input=":input bit = [1, 1, 0]\nodd = parity(bit)\nnope\n:quit\nodd\n")
    assert ran.stdout.splitlines()[-1].split() == ["odd", "bool", "true", "false", "false"]
    assert "L101" in ran.stderr
    assert ran.returncode == 2
