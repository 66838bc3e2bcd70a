"""Files: opened, named, written whole or not at all; states saved and loaded."""

from __future__ import annotations

import errno
import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from lsrl.diagnostics import NOWHERE, LsrlError
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph, State
from lsrl.streams import load_state, open_input, open_output, program_digest, run_stream, save_state
from lsrl.types import INT, REAL, Value
from tests.streams.graphs import depth, echo, everything, numeric, total


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "none.txt", "there is no such file"), (tmp_path, "it is a directory"),
                          ("a\0b", "embedded null byte")):
        with pytest.raises(LsrlError) as raised:
            open_input(depth(), path)
        told = raised.value.diagnostics[0]
        assert told.code == "L607" and told.message == f"cannot read {path}: {message}"


def test_formats_go_by_the_ending(tmp_path: Path) -> None:
    for name in ("x.jsonl", "x.ndjson", "x.JSONL"):
        (tmp_path / name).write_text("1\n2\n")
        with open_input(echo(x=INT), tmp_path / name) as reader:
            assert list(reader.blocks()) == [[(1,), (2,)]]
    (tmp_path / "x.json").write_text("1\n")
    for name in ("x.json", "x"):
        with pytest.raises(LsrlError, match="does not say in which format it is") as raised:
            open_input(echo(x=INT), tmp_path / name)
        assert "--input-format jsonl" in raised.value.diagnostics[0].help
    for name in ("x.json", "x.txt", "x"):  # a program of text reads all others as text
        (tmp_path / name).write_text("()")
        with open_input(depth(), tmp_path / name) as reader:
            assert list(reader.blocks()) == ["()"]
    (tmp_path / "x.csv").write_text("()")
    with pytest.raises(LsrlError, match="there is no column `tok`") as raised, \
            open_input(depth(), tmp_path / "x.csv") as reader:
        list(reader.blocks())
    assert "to read the file as plain text, say --input-format text" in raised.value.diagnostics[0].help
    with open_input(depth(), tmp_path / "x.csv", "text") as reader:
        assert list(reader.blocks()) == ["()"]


def test_unknown_formats() -> None:
    with pytest.raises(LsrlError, match="there is no input format `jsnol`") as raised:
        open_input(depth(), io.BytesIO(), "jsnol")
    assert raised.value.diagnostics[0].help == "did you mean `jsonl`?"
    with pytest.raises(LsrlError, match="there is no output format `xml`") as raised:
        open_output(depth(), io.BytesIO(), "xml")
    assert raised.value.diagnostics[0].help == "the formats are jsonl, csv, text, npy, npz, parquet"


def stop_half_way(graph: Graph, path: Path) -> None:
    with open_output(graph, path) as target:
        target.write(["half"])
        raise KeyboardInterrupt


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    graph = depth(most=1)
    path = tmp_path / "out.jsonl"
    path.write_text("before\n")
    with pytest.raises(LsrlError), open_output(graph, path) as target:
        run_stream(graph, open_input(graph, io.BytesIO(b"()((")), target)
    assert path.read_text() == "before\n"
    with pytest.raises(KeyboardInterrupt):
        stop_half_way(graph, path)
    assert path.read_text() == "before\n"
    with open_output(graph, path) as target:
        run_stream(graph, open_input(graph, io.BytesIO(b"()")), target)
        assert path.read_text() == "before\n"
    assert path.read_text() == "1\n0\n"
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]


def test_the_same_file_in_and_out(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("1\n2\n")
    graph = total()
    with open_output(graph, path) as target:
        run_stream(graph, open_input(graph, path), target)
    assert path.read_text() == "1\n3\n"


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    for path, message in ((tmp_path / "none" / "x.csv", "there is no such file"), (tmp_path, "it is a directory")):
        with pytest.raises(LsrlError) as raised:
            open_output(depth(), path)
        told = raised.value.diagnostics[0]
        assert told.code == "L611" and told.message == f"cannot write {path}: {message}"
    with open_output(depth(), "/dev/null") as target:
        target.write(["1\n"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux device stands for a full disk")
@pytest.mark.parametrize("to", ["jsonl", "csv", "text"])
def test_a_full_disk(to: str) -> None:
    with pytest.raises(LsrlError, match="cannot write /dev/full: no space left on device"), \
            open_output(depth(), "/dev/full", to) as target:
        target.write(["1\n"])


class FullDisk(io.BytesIO):
    """A stream that takes the first writes and no more."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._left = most

    def write(self, data: Any) -> int:
        self._left -= 1
        if self._left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


@pytest.mark.parametrize("to", ["npy", "npz", "parquet"])
@pytest.mark.parametrize("most", [1, 2])
def test_a_disk_that_fills_under_an_array(to: str, most: int) -> None:
    graph = depth()
    with pytest.raises(LsrlError, match="cannot write the output: no space left on device"), \
            open_output(graph, FullDisk(most), to) as target:
        run_stream(graph, open_input(graph, io.BytesIO(b"()" * 100)), target)


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    with open_output(echo(x=INT), tmp_path / "link.csv") as target:
        target.write(["1\n"])
    assert (tmp_path / "link.csv").is_symlink() and (tmp_path / "real.csv").read_text() == "out\n1\n"


STATES: list[dict[str, Value]] = [
    Interpreter(everything()).initial_state(),
    {"bit": False, "count": -(10**5000), "part": Fraction(-(10**3000), 7), "letter": 0, "pair": (2**60, -5), "raw": 0}]


@pytest.mark.parametrize("state", STATES)
def test_a_state_is_saved_exactly(tmp_path: Path, state: dict[str, Value]) -> None:
    path = tmp_path / "state.json"
    save_state(everything(), state, path)
    loaded = load_state(everything(), path)
    assert loaded == state and [type(v) for v in loaded.values()] == [type(v) for v in state.values()]
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


def test_floats_are_saved_exactly(tmp_path: Path) -> None:
    base = numeric()
    graph = Graph("f", base.inputs, (State("s", REAL, 0, base.outputs[0][1], NOWHERE),), base.outputs, (), (), NOWHERE)
    for value in (0.1, -0.0, 1e-320, float("inf")):
        save_state(graph, {"s": value}, tmp_path / "s.json")
        assert str(load_state(graph, tmp_path / "s.json")["s"]) == str(value)


def changed(tmp_path: Path, change: Any) -> Path:
    path = tmp_path / "state.json"
    save_state(everything(), STATES[0], path)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


def put(name: str, value: Any) -> Any:
    return lambda d: d["state"].__setitem__(name, value)


@pytest.mark.parametrize("change, message", [
    (put("bit", 1), "state `bit`: 1 is not of type bool"), (put("count", "x"), 'state `count`: "x" is not of type int'),
    (put("count", 1.5), "state `count`: 1.5 is not of type int"), (put("count", True), "true is not of type int"),
    (put("part", 0.5), "state `part`: 0.5 is not of type real"), (put("part", "1/0"), '"1/0" is not of type real'),
    (put("part", "1"), '"1" is not of type real'), (put("raw", 256), "256 is outside byte"),
    (put("letter", "q"), '"q" is not of type'), (put("letter", 1), "1 is not of type"),
    (put("letter", ["("]), "is not of type"), (put("pair", [1]), "state `pair`: a list of 2 is wanted"),
    (put("more", 1), "the program has no state `more`"),
    (lambda d: d["state"].pop("raw"), "the state `raw` is missing"),
    (lambda d: d.pop("state"), "has no states"), (lambda d: d.pop("format"), "is not a state file that this version"),
    (lambda d: d.update(digest="0"), "holds the state of another version of `everything`"),
    (lambda d: d.update(digest="0", program="other"), "holds the state of the program `other`, not of this program"),
])
def test_altered_states_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    path = changed(tmp_path, change)
    with pytest.raises(LsrlError) as raised:
        load_state(everything(), path)
    told = raised.value.diagnostics[0]
    assert told.code == "L612" and message in told.message


@pytest.mark.parametrize("data, message", [
    (b"", "is damaged: it is not whole JSON"), (b'{"format": "lsrl', "is damaged"), (b"[]", "is not a state file"),
    (b"\xff\xfe", "is damaged"), (b"[" * 100_000, "is damaged"), (b"\x80\x04pickle", "is damaged")])
def test_files_that_are_no_states(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(data)
    with pytest.raises(LsrlError) as raised:
        load_state(everything(), path)
    assert raised.value.diagnostics[0].code == "L612" and message in raised.value.diagnostics[0].message


def test_the_digest_is_of_the_program() -> None:
    assert program_digest(depth()) == program_digest(depth()) != program_digest(depth(most=3))
