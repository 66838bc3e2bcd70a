"""Model files: what is written comes back, and whatever else is offered is refused with its cause."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lsrl.backends.files import FORMAT, checksum, read_model_file, write_model_file
from lsrl.backends.model import CompiledModel, load_model
from lsrl.backends.registry import compile_graph
from lsrl.diagnostics import LsrlError
from lsrl.ir.graph import Graph
from tests.backends.texts import graph_of

PARITY = """
program parity_of(x: bool) -> bool:
    return parity(x)
"""
COUNT = """
program ones(x: bool) -> int:
    return count(x)
"""


@pytest.fixture(scope="module")
def graph() -> Graph:
    return graph_of(PARITY)


@pytest.fixture
def model(graph: Graph) -> CompiledModel:
    return compile_graph(graph, "rnn_relu")


def refused(path: Path, code: str, **options: Any) -> str:
    with pytest.raises(LsrlError) as caught:
        load_model(path, **options)
    (found,) = caught.value.diagnostics
    assert found.code == code, found.render()
    assert str(path) in found.message
    return found.message


@pytest.mark.parametrize("target", ["lstm", "rnn_relu"])
@pytest.mark.parametrize("uniform", [False, True])
def test_a_saved_model_comes_back(tmp_path: Path, target: str, uniform: bool) -> None:
    graph = graph_of("""
        program both(x: bool) -> (odd: bool, twice: bool):
            odd = parity(x)
            return (odd = odd, twice = prev(odd, false) and x)
    """)
    model = compile_graph(graph, target, uniform=uniform)
    model.save(tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors", graph)
    assert again.description == model.description
    assert again.certificate == model.certificate
    assert again.symbols == json.loads(json.dumps(model.symbols))
    assert again.graph == graph
    x = torch.randint(0, 2, (3, 50), generator=torch.manual_seed(1))
    (want, end), (got, end_again) = model(x), again(x)
    assert all(torch.equal(want[n], got[n]) for n in want)
    assert all(torch.equal(a, b) for a, b in zip(end, end_again, strict=True))
    again.save(tmp_path / "n.safetensors")
    assert (tmp_path / "n.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()


def test_the_certificate_keeps_its_type(tmp_path: Path, model: CompiledModel) -> None:
    model.save(tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert again.certificate.to_json() == model.certificate.to_json()
    assert again.certificate.table() == model.certificate.table()
    assert "exact for" in again.certificate.table()


def test_a_pickle_is_refused_unread(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "exploded"),)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path = tmp_path / f"p{protocol}.safetensors"
        path.write_bytes(pickle.dumps(Bomb(), protocol))
        assert "not a model file" in refused(path, "L621")
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(2)}, buffer)
    (tmp_path / "model.pt").write_bytes(buffer.getvalue())
    assert "zip archive" in refused(tmp_path / "model.pt", "L621")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("data", [b"", b"x", b"program p(x: bool) -> bool:\n", b"\x00" * 64, b"{" * 64, b"\xff" * 64])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    with pytest.raises(LsrlError) as caught:
        load_model(path)
    assert caught.value.diagnostics[0].code in ("L621", "L622")


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    refused(tmp_path / "nothing", "L620")
    refused(tmp_path, "L620")


def test_every_truncation_is_refused(tmp_path: Path, model: CompiledModel) -> None:
    whole = tmp_path / "m.safetensors"
    model.save(whole)
    data = whole.read_bytes()
    path = tmp_path / "cut.safetensors"
    for size in sorted({*range(32), *range(32, len(data), max(1, len(data) // 40)), len(data) - 1}):
        path.write_bytes(data[:size])
        with pytest.raises(LsrlError) as caught:
            load_model(path)
        assert caught.value.diagnostics[0].code in ("L621", "L622"), size


def test_every_flipped_bit_is_refused(tmp_path: Path, model: CompiledModel) -> None:
    whole = tmp_path / "m.safetensors"
    model.save(whole)
    data = bytearray(whole.read_bytes())
    path = tmp_path / "bad.safetensors"
    places = [*range(16), *range(16, len(data), max(1, len(data) // 100)), *range(len(data) - 24, len(data))]
    for at in places:
        for bit in (0, 5):
            data[at] ^= 1 << bit
            path.write_bytes(data)
            with pytest.raises(LsrlError) as caught:
                load_model(path)
            assert caught.value.diagnostics[0].code in ("L621", "L622", "L623"), (at, bit)
            data[at] ^= 1 << bit


def test_appended_bytes_are_refused(tmp_path: Path, model: CompiledModel) -> None:
    path = tmp_path / "m.safetensors"
    model.save(path)
    path.write_bytes(path.read_bytes() + b"\0\0\0\0")
    refused(path, "L622")


def header(description: object) -> bytes:
    text = json.dumps(description).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize("data", [
    struct.pack("<Q", 2**63) + b'{"a":1}',
    struct.pack("<Q", 99_000_000) + b'{"a":1}',
    header({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}, "__metadata__": {
        "lsrl.model": "{}", "lsrl.sha256": "0"}}),
    header({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, "__metadata__": {
        "lsrl.model": "{}", "lsrl.sha256": "0"}}) + b"\0\0\0\0",
    struct.pack("<Q", 200_000) + b"[" * 200_000,
    struct.pack("<Q", 200_008) + b'{"a":' + b"[" * 200_003,
    header([1, 2]),
    header({"__metadata__": {"lsrl.model": "{}"}}),
])
def test_hostile_headers_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    with pytest.raises(LsrlError) as caught:
        load_model(path)
    assert caught.value.diagnostics[0].code in ("L621", "L622")


def test_tensors_of_another_library_are_refused(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(3)}, tmp_path / "m.safetensors")
    assert "no lsrl model" in refused(tmp_path / "m.safetensors", "L623")


def rewritten(tmp_path: Path, model: CompiledModel, **changes: object) -> Path:
    """The model's file with its metadata changed, and a checksum that fits."""
    path = tmp_path / "m.safetensors"
    model.save(path)
    description, tensors = read_model_file(path)
    write_model_file(path, {**description, **changes}, tensors)
    return path


@pytest.mark.parametrize("change", [
    {"widths": [10**9]}, {"widths": [-1]}, {"widths": "x"}, {"widths": []}, {"widths": [1] * 20_000}, {"kind": "gru2"},
    {"kind": "lstm"}, {"inputs": [["x", ["int", 0, 10**15, False]]]}, {"inputs": 3},
    {"columns": [["y", None, [0], [[0]]]]},
    {"columns": [["x", None, [5], [[0]]]]}, {"grids": ["1/0"]}, {"dtype": "int8"}, {"placements": [{}]},
    {"certificate": {}}, {"certificate": 5}, {"limits": ["x"]}, {"unit_kinds": [["bit"]] * 9 + [[3]], "placements": 7},
    {"outputs": [["out", ["real", 0, 0, 0, 0]]]}, {"states": [["odd", 5]]}, {"input_limit": "many"},
])
def test_metadata_that_describes_no_model_is_refused(tmp_path: Path, model: CompiledModel, change: Any) -> None:
    path = rewritten(tmp_path, model, **change)
    with pytest.raises(LsrlError) as caught:
        load_model(path)
    assert caught.value.diagnostics[0].code in ("L622", "L623")


def test_an_unknown_target_is_refused(tmp_path: Path, model: CompiledModel) -> None:
    with pytest.raises(LsrlError) as caught:
        load_model(rewritten(tmp_path, model, target="rnn_relv"))
    assert caught.value.diagnostics[0].code == "L401"


@pytest.mark.parametrize("version", [FORMAT + 1, 0, "1", None])
def test_other_formats_are_refused(tmp_path: Path, model: CompiledModel, version: object) -> None:
    refused(rewritten(tmp_path, model, format=version), "L625")


def test_missing_and_foreign_tensors_are_refused(tmp_path: Path, model: CompiledModel) -> None:
    path = tmp_path / "m.safetensors"
    model.save(path)
    description, tensors = read_model_file(path)
    for key in tensors:
        write_model_file(path, description, {k: t for k, t in tensors.items() if k != key})
        refused(path, "L622")
    write_model_file(path, description, {**tensors, "extra": torch.zeros(1)})
    refused(path, "L622")
    write_model_file(path, description, {k: t.double() for k, t in tensors.items()})
    refused(path, "L622")


def test_a_model_of_another_program_is_refused(tmp_path: Path, model: CompiledModel) -> None:
    path = tmp_path / "m.safetensors"
    model.save(path)
    other = graph_of(COUNT)
    assert "another program" in refused(path, "L624", program=other)
    reformatted = graph_of("# the same\nprogram parity_of( x : bool ) -> bool:\n\n    return parity( x )\n")
    assert load_model(path, reformatted).name == "parity_of"


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, model: CompiledModel,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(LsrlError) as caught:
            model.save(path)
    assert caught.value.diagnostics[0].code == "L620"
    assert "No space left" in str(caught.value)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    with pytest.raises(LsrlError):
        model.save(tmp_path / "no such folder" / "m.safetensors")
    with pytest.raises(LsrlError):
        model.save(tmp_path)


def test_an_interrupt_leaves_the_old_file(tmp_path: Path, model: CompiledModel,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.save(path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"old")
    code = textwrap.dedent(f"""
        import os, signal, torch
        from lsrl.backends.files import write_model_file
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        write_model_file({str(path)!r}, {{"format": 1}}, {{"w": torch.zeros(3)}})
    """)
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_the_checksum_covers_everything() -> None:
    tensors = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[3]])}
    base = checksum("{}", tensors)
    assert checksum("{} ", tensors) != base
    assert checksum("{}", {**tensors, "a": torch.tensor([1.0, 2.5])}) != base
    assert checksum("{}", {**tensors, "b": torch.tensor([3])}) != base
    assert checksum("{}", {"c": tensors["a"], "b": tensors["b"]}) != base
    assert checksum("{}", dict(reversed(tensors.items()))) == base
