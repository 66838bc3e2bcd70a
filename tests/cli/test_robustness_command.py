"""`lsrl robustness` as a user meets it."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

import pytest

from lsrl.cli.main import main
from tests.cli.interrupts import interrupted
from tests.corpus import ROOT

PARITY = str(ROOT / "examples/regular/parity.lsrl")
POSITION = str(ROOT / "examples/counting/position.lsrl")
QUICK = ("--length", "16", "--sequences", "4", "--draws", "2")
Captured = pytest.CaptureFixture[str]


def lsrl(capsys: Captured, *words: str | Path) -> tuple[int, str, str]:
    status = main(["robustness", *map(str, words)])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_table_of_targets(capsys: Captured) -> None:
    status, out, err = lsrl(capsys, PARITY, "--target", "lstm", "--target", "rnn_relu", *QUICK)
    assert (status, err) == (0, "")
    assert out.startswith("parity: absolute noise, 4 inputs of 16 tokens, 2 draws, float32\n")
    lines = out.splitlines()
    assert lines[2].split() == ["noise", "σ", "lstm", "rnn_relu"]
    assert [line.split()[0] for line in lines[4:11]] == ["0", "1e-06", "1e-05", "0.0001", "0.001", "0.01", "0.1"]
    assert any(line.split()[0] == "lstm" and line.endswith(" 0.2") for line in lines if line)
    assert lsrl(capsys, PARITY, "--target", "lstm", "--target", "rnn_relu", *QUICK)[1] == out


def test_all_leaves_out_what_is_refused_and_says_why(capsys: Captured) -> None:
    status, out, _ = lsrl(capsys, POSITION, "--target", "all", "--sigma", "0", *QUICK)
    assert status == 0
    assert "lstm: refused: " in out and "rnn_relu" in out.splitlines()[2]
    status, out, err = lsrl(capsys, POSITION, "--target", "lstm", *QUICK)
    assert (status, out) == (2, "") and "error[L40" in err


def test_json_holds_every_draw(capsys: Captured) -> None:
    sizes = ("--sigma", "0.5", "--sigma", "0", "--relative")
    out = lsrl(capsys, PARITY, "--target", "rnn_relu", *sizes, "--json", *QUICK)[1]
    data = json.loads(out)
    assert (data["noise"], data["length"], data["seed"], data["refused"]) == ("relative", 16, 0, {})
    target = data["targets"][0]
    assert [(p["sigma"], len(p["wrong"])) for p in target["points"]] == [(0.0, 1), (0.5, 2)]
    assert target["promise"]["tokens"] == 16


def test_a_plot(capsys: Captured, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "noise.svg"
    status, out, _ = lsrl(capsys, PARITY, "--target", "lstm", "--plot", path, *QUICK)
    assert (status, f"wrote {path}" in out, path.read_text().startswith("<?xml")) == (0, True, True)


def test_errors(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, code in ((("--target", "lstn"), "L401"), (("--target", "lstm", "--plot", tmp_path / "a.pdf"), "L613"),
                        (("--target", "lstm", "--plot", tmp_path / "no" / "a.svg"), "L611")):
        status, _, err = lsrl(capsys, PARITY, *words, *QUICK)
        assert (status, f"error[{code}]" in err) == (2, True), words
    assert "did you mean `lstm`?" in lsrl(capsys, PARITY, "--target", "lstn")[2]
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, _, err = lsrl(capsys, PARITY, "--target", "lstm", "--plot", tmp_path / "a.svg", *QUICK)
    assert (status, "error[L615]" in err) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("--sigma", "-1"), ("--sigma", "nan"), ("--draws", "0"), ("--length", "x"),
                                   ("--seed", "-1")])
def test_options_out_of_range(capsys: Captured, words: tuple[str, str]) -> None:
    status, _, err = lsrl(capsys, PARITY, "--target", "lstm", f"{words[0]}={words[1]}")
    assert (status, words[1] in err) == (2, True)


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    words = ["robustness", PARITY, "--target", "lstm", "--draws", "1000000", "--plot", str(tmp_path / "a.svg")]
    began = time.monotonic()
    status, out, err = interrupted(words, lambda: time.monotonic() > began + 4)
    assert status in (130, -signal.SIGINT)  # Python's own status while a library is being imported
    assert (out, err) == ("", "interrupted")
    assert list(tmp_path.iterdir()) == []
