"""The command line as a user meets it: what is printed, where, and the exit status."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from lsrl.cli.main import COMMANDS, entry, main
from tests.cli.interrupts import interrupted
from tests.corpus import ROOT

PARITY = str(ROOT / "examples/regular/parity.lsrl")
BALANCED = str(ROOT / "examples/text/balanced.lsrl")
DYCK = str(ROOT / "examples/counting/dyck_1.lsrl")
Captured = pytest.CaptureFixture[str]


def lsrl(capsys: Captured, *words: str | Path) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command."""
    status = main([str(w) for w in words])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help_with_examples(capsys: Captured, command: str) -> None:
    status, out, err = lsrl(capsys, command, "--help")
    assert (status, err) == (0, "")
    assert f"  lsrl {command}" in out.split("examples:")[1]


def test_help_version_and_misspelt_commands(capsys: Captured) -> None:
    assert all(name in lsrl(capsys, "--help")[1] for name in COMMANDS)
    assert lsrl(capsys, "--version")[:2] == (0, "lsrl 0.1.0\n")
    status, _, err = lsrl(capsys, "chekc", PARITY)
    assert status == 2
    assert "did you mean `check`?" in err


def test_options_stand_anywhere_among_the_files(capsys: Captured, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("(()")
    for words in (("--last", DYCK, text), (DYCK, "--last", text), (DYCK, text, "--last")):
        assert lsrl(capsys, "run", *words) == (0, "false\n", ""), words
    assert lsrl(capsys, "fmt", DYCK, "--check", PARITY)[0] == 0
    assert lsrl(capsys, "run", DYCK, text, "more.txt")[0] == 2


def test_types_of_generics_are_given_as_text(capsys: Captured, tmp_path: Path) -> None:
    program = tmp_path / "tally.lsrl"
    program.write_text("program tally[K](x: K) -> int[size(K)]:\n    return counts(x)\n")
    text = tmp_path / "text.txt"
    text.write_text("aba")
    assert lsrl(capsys, "run", program, text, "--set", 'K={"a", "b"}', "--last") == (0, "[2, 1]\n", "")
    for wrong in ("K=", "K=-1", "K", "=3", "K=1/2"):
        status, _, err = lsrl(capsys, "run", program, text, "--set", wrong)
        assert (status, "error[L104]" in err) == (2, True), wrong


def test_a_byte_order_mark_is_no_column(capsys: Captured, tmp_path: Path) -> None:
    program = tmp_path / "marked.lsrl"
    program.write_bytes(b"\xef\xbb\xbfprogram p(x: int) -> int:\r\n    return y\r\n")
    assert f"{program}:2:12" in lsrl(capsys, "check", program)[2]
    program.write_bytes(b"\xef\xbb\xbfconst N = y\r\n")
    assert f"{program}:1:11" in lsrl(capsys, "check", program)[2]


def test_an_output_of_unknown_form_is_not_guessed(capsys: Captured, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("(()")
    out = tmp_path / "out.prquet"
    status, _, err = lsrl(capsys, "run", DYCK, text, "-o", out)
    assert (status, "error[L610]" in err, out.exists()) == (2, True, False)
    assert lsrl(capsys, "run", DYCK, text, "-o", out, "--format", "csv")[0] == 0
    assert out.read_text().splitlines() == ["out", "false", "false", "false"]


@pytest.mark.parametrize("seconds", ["-1", "0", "nan", "inf", "x"])
def test_seconds_are_positive(capsys: Captured, seconds: str) -> None:
    status, _, err = lsrl(capsys, "verify", PARITY, "--time", seconds)
    assert status == 2
    assert "is not a positive number of seconds" in err


def test_check(capsys: Captured, tmp_path: Path) -> None:
    assert lsrl(capsys, "check", PARITY, BALANCED)[:2] == (0, f"{PARITY}: parity\n{BALANCED}: balanced\n")
    wrong = tmp_path / "wrong.lsrl"
    wrong.write_text("program p(x: int) -> bool:\n    y = x + true\n    z = cuont(x > 0)\n    return y\n")
    status, out, err = lsrl(capsys, "check", wrong, PARITY)
    assert status == 2
    assert "parity" in out
    assert err.count("error[") == 2  # both type errors in one run, and none that only follows from them
    assert f"{wrong}:2:" in err
    assert f"{wrong}:3:9" in err


@pytest.mark.parametrize(("name", "content", "words"), [
    ("p.txt", b"program p(x: bool) -> bool:\n    return x\n", ".lsrl"),
    ("p.lsrl", b"", "no program"),
    ("p.lsrl", b"program p(x: bool) -> bool:\n\treturn x\n  \n    return x\n", "tab"),
    ("p.lsrl", b"program p(x: bool) -> bool:\n    return x\0\n", "NUL byte"),
    ("p.lsrl", b"program p(x: bool) -> bool:\n    return \xff\n", "UTF-8"),
    ("p.lsrl", b"def f(x: bool) -> bool:\n    return x\n", "no program"),
])
def test_files_that_are_no_programs(capsys: Captured, tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    status, out, err = lsrl(capsys, "ir", path)
    assert (status, out) == (2, "")
    assert words in err
    assert "error[L" in err


def test_missing_files_and_folders(capsys: Captured, tmp_path: Path) -> None:
    for path in (tmp_path / "none.lsrl", tmp_path):
        status, _, err = lsrl(capsys, "check", path)
        assert status == 2
        assert str(path) in err


def test_byte_order_mark_and_crlf_are_read(capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "p.lsrl"
    path.write_bytes(b"\xef\xbb\xbfprogram p(x: bool) -> bool:\r\n    return not x\r\n")
    assert lsrl(capsys, "check", path)[0] == 0


def test_fmt(capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "p.lsrl"
    path.write_text("program p( x:bool )->bool:\n  # why\n  return not  x\n")
    assert lsrl(capsys, "fmt", "--check", path)[0] == 1
    status, out, _ = lsrl(capsys, "fmt", "--diff", path)
    assert status == 1
    assert "+    return not x\n" in out
    assert lsrl(capsys, "fmt", path)[:2] == (0, f"{path}: rewritten\n")
    assert path.read_text() == "program p(x: bool) -> bool:\n    # why\n    return not x\n"
    assert lsrl(capsys, "fmt", "--check", path)[:2] == (0, "")
    path.write_text("program p(\n")
    assert lsrl(capsys, "fmt", path)[0] == 2
    assert path.read_text() == "program p(\n"


def test_run_text(capsys: Captured, tmp_path: Path) -> None:
    text = tmp_path / "t.txt"
    text.write_text("(a[b]){")
    status, out, _ = lsrl(capsys, "run", BALANCED, text, "--format", "csv")
    assert status == 0
    assert out.splitlines()[0] == "ok,broken"
    assert len(out.splitlines()) == 8
    status, out, _ = lsrl(capsys, "run", BALANCED, text, "--last")
    assert json.loads(out) == {"ok": False, "broken": False}


def test_a_symbol_outside_the_alphabet(capsys: Captured, tmp_path: Path) -> None:
    text = tmp_path / "t.txt"
    text.write_text("(()x)")
    status, _, err = lsrl(capsys, "run", DYCK, text)
    assert status == 2
    assert "character 3" in err
    assert '"x"' in err


def test_state_goes_from_run_to_run(capsys: Captured, tmp_path: Path) -> None:
    first, second, state = tmp_path / "1.txt", tmp_path / "2.txt", tmp_path / "s.json"
    first.write_text("(([")
    second.write_text("]))")
    assert lsrl(capsys, "run", BALANCED, first, "--last", "--state-out", state)[0] == 0
    status, out, _ = lsrl(capsys, "run", BALANCED, second, "--last", "--state-in", state)
    assert (status, json.loads(out)) == (0, {"ok": True, "broken": False})
    assert lsrl(capsys, "run", DYCK, first, "--state-in", state)[0] == 2  # of another program
    status, out, err = lsrl(capsys, "run", BALANCED, first, "--state-out", tmp_path / "none" / "s.json")
    assert (status, out) == (2, "")
    assert "its folder does not exist" in err
    state.write_text(state.read_text()[:-20])
    assert lsrl(capsys, "run", BALANCED, second, "--state-in", state)[0] == 2


def test_nothing_is_half_written(capsys: Captured, tmp_path: Path) -> None:
    text, out = tmp_path / "t.txt", tmp_path / "out.csv"
    text.write_text("()" * 1000 + "x")
    assert lsrl(capsys, "run", DYCK, text, "-o", out)[0] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.txt"]


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    words = ["run", str(BALANCED), "-", "-o", str(tmp_path / "o.csv")]
    status, _, err = interrupted(words, lambda: any(tmp_path.iterdir()), "()" * 100_000)
    assert (status, err) == (130, "interrupted")
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_is_no_error() -> None:
    ran = subprocess.run(f"yes '()' | head -c 4000000 | tr -d '\\n' | {sys.executable} -m lsrl run {DYCK} | head -n 1",
                         shell=True, cwd=ROOT, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("false\n", "")


def test_ir_and_its_passes(capsys: Captured) -> None:
    assert lsrl(capsys, "ir", PARITY)[1].startswith("graph parity\n")
    assert lsrl(capsys, "ir", PARITY, "--after", "all")[0] == 0
    assert "elaborated" in lsrl(capsys, "ir", PARITY, "--passes")[1]
    status, _, err = lsrl(capsys, "ir", PARITY, "--after", "fold_constant")
    assert status == 2
    assert "did you mean `fold_constants`?" in err


def test_explain_programs_and_codes(capsys: Captured) -> None:
    status, out, _ = lsrl(capsys, "explain", PARITY)
    assert status == 0
    assert "automaton" in out
    assert "L204" in lsrl(capsys, "explain", "L204")[1]
    assert lsrl(capsys, "explain", "L999")[0] == 2


def test_graph_draws(capsys: Captured, tmp_path: Path) -> None:
    assert lsrl(capsys, "graph", PARITY)[1].startswith("digraph")
    for ending, start in ((".svg", b"<svg"), (".png", b"\x89PNG"), (".dot", b"digraph")):
        path = tmp_path / f"g{ending}"
        assert lsrl(capsys, "graph", PARITY, "-o", path)[0] == 0
        assert path.read_bytes().startswith(start)
    assert lsrl(capsys, "graph", PARITY, "-o", tmp_path / "g.gif")[0] == 2


def test_targets(capsys: Captured) -> None:
    assert lsrl(capsys, "targets")[1].split("\n")[0].startswith("lstm")
    assert "yes" in lsrl(capsys, "targets", PARITY)[1]
    status, _, err = lsrl(capsys, "compile", PARITY, "--target", "lstn")
    assert status == 2
    assert "did you mean `lstm`?" in err


def test_compile_verify_and_what_can_happen_to_a_model(capsys: Captured, tmp_path: Path) -> None:
    model = tmp_path / "m.safetensors"
    status, out, _ = lsrl(capsys, "compile", PARITY, "--target", "lstm", "-o", model)
    assert status == 0
    assert f"saved {model}" in out
    status, out, _ = lsrl(capsys, "verify", PARITY, "--model", model)
    assert (status, out.splitlines()[0]) == (0, "PROVED: `parity` and its lstm model are equal on every input of every "
                                                "length")
    status, _, err = lsrl(capsys, "verify", DYCK, "--model", model)
    assert status == 2
    assert "dyck_1" in err
    whole = model.read_bytes()
    for spoilt in (whole[:-7], whole[:40], whole[:-9] + bytes([whole[-9] ^ 64]) + whole[-8:], b"", b"\xff" * 64):
        model.write_bytes(spoilt)
        status, _, err = lsrl(capsys, "verify", PARITY, "--model", model)
        assert status == 2
        assert "error[L6" in err


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploded",)


def test_a_pickle_is_refused_unread(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("m.safetensors", "m.pt"):
        Path(name).write_bytes(pickle.dumps(_Bomb()))
        status, _, err = lsrl(capsys, "verify", PARITY, "--model", name)
        assert status == 2
        assert "pickle" in err
    assert not Path("exploded").exists()


def test_verify_against_another_program(capsys: Captured, tmp_path: Path) -> None:
    other = tmp_path / "other.lsrl"
    other.write_text("program other(bit: bool) -> bool:\n    return count(bit) % 2 == 1\n")
    status, out, _ = lsrl(capsys, "verify", PARITY, "--against", other)
    assert (status, out.split(":")[0]) == (0, "EXHAUSTED to length 64")
    other.write_text("program other(bit: bool) -> bool:\n    return count(bit) == 1 or count(bit) >= 3\n")
    saved = tmp_path / "c.jsonl"
    status, out, _ = lsrl(capsys, "verify", PARITY, "--against", other, "--save", saved)
    assert (status, out.split(":")[0]) == (1, "REFUTED")
    assert [json.loads(x) for x in saved.read_text().splitlines()] == [{"bit": True}] * 4
    assert lsrl(capsys, "run", PARITY, saved)[1] == "true\nfalse\ntrue\nfalse\n"


def test_sizes_of_generic_programs(capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "p.lsrl"
    path.write_text("program total[n](x: int[0..3][n]) -> int:\n    return sum(x)\n")
    rows = tmp_path / "x.jsonl"
    rows.write_text('{"x": [1, 2]}\n')
    assert lsrl(capsys, "run", path, rows, "--set", "n=2")[:2] == (0, "3\n")
    status, _, err = lsrl(capsys, "run", path, rows)
    assert status == 2
    assert "n=" in err
    assert lsrl(capsys, "run", path, rows, "--set", "n:2")[0] == 2


def test_which_program_of_several(capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "p.lsrl"
    path.write_text("program a(x: bool) -> bool:\n    return x\n\n\nprogram b(x: bool) -> bool:\n    return not x\n")
    status, _, err = lsrl(capsys, "ir", path)
    assert status == 2
    assert "a" in err
    assert "b" in err
    assert lsrl(capsys, "ir", path, "-p", "b")[1].startswith("graph b")
    assert lsrl(capsys, "ir", path, "-p", "c")[0] == 2


def test_a_fault_of_ours_is_no_negative_verdict(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> int:
        raise RuntimeError("a fault")

    monkeypatch.setattr("lsrl.cli.main.main", broken)
    with pytest.raises(SystemExit) as stop:
        entry()
    assert stop.value.code == 2
    assert "please report it" in capsys.readouterr().err
