"""`lsrl export` as a user meets it."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from lsrl.cli.main import main
from tests.cli.interrupts import interrupted
from tests.corpus import ROOT

PARITY = str(ROOT / "examples/regular/parity.lsrl")
Captured = pytest.CaptureFixture[str]


def lsrl(capsys: Captured, *words: str | Path) -> tuple[int, str, str]:
    status = main(["export", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_case_is_written_and_not_twice(capsys: Captured, tmp_path: Path) -> None:
    path = tmp_path / "cases" / "parity"
    words = (PARITY, "--target", "rnn_relu", "--out", path, "--sizes", "3,2,1", "--length", "9", "--test-length", "12")
    assert lsrl(capsys, *words)[0] == 2  # no folder `cases`
    path.parent.mkdir()
    status, out, err = lsrl(capsys, *words, "--disguise", "superpose")
    assert (status, err) == (0, "")
    assert out.startswith("PROVED: `parity` and its rnn_relu model are equal") and "wrote 15 files" in out
    lines = {n: (path / "data" / f"{n}.jsonl").read_text().splitlines() for n in ("train", "valid", "test")}
    assert {n: len(x) for n, x in lines.items()} == {"train": 3, "valid": 2, "test": 1}
    assert len(json.loads(lines["test"][0])["inputs"]["bit"]) == 12
    assert "PROVED" in (path / "README.md").read_text()
    status, _, err = lsrl(capsys, *words)
    assert (status, "error[L630]" in err and "--force" in err) == (2, True)
    assert lsrl(capsys, *words, "--force")[0] == 0
    assert not (path / "disguise.json").exists()
    assert [p.name for p in path.parent.iterdir()] == ["parity"]


def test_errors_come_before_work(capsys: Captured, tmp_path: Path) -> None:
    out = tmp_path / "case"
    for words, code in ((("--target", "lstn"), "L401"), (("--target", "lstm", "--length", "3"), "L504")):
        status, _, err = lsrl(capsys, PARITY, "--out", out, *words)
        assert (status, f"error[{code}]" in err) == (2, True), words
    for wrong in ("--sizes=1,2", "--sizes=1,2,x", "--length=0", "--seed=-1", "--disguise=wig"):
        assert lsrl(capsys, PARITY, "--target", "lstm", "--out", out, wrong)[0] == 2
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    words = ["export", PARITY, "--target", "lstm", "--out", str(tmp_path / "case"), "--sizes", "10000000,1,1"]
    began = time.monotonic()
    status, out, err = interrupted(words, lambda: time.monotonic() > began + 4)
    assert status in (130, -signal.SIGINT)  # Python's own status while a library is being imported
    assert (out, err) == ("", "interrupted")
    assert list(tmp_path.iterdir()) == []
