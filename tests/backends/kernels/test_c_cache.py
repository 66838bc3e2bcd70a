"""Compiled kernels are kept: found again, checked, limited; compilers that are missing or fail are named."""

from __future__ import annotations

import importlib.util
import os
import shlex
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lsrl.backends.kernels import c_build, c_cache
from lsrl.backends.kernels.c_cache import CacheFolder, cache_folder
from lsrl.cli.main import main
from lsrl.diagnostics import LsrlError
from tests.forked import run_script

TEXT = "long answer(void) { return 42; }\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CacheFolder:
    """An empty cache; nothing compiled so far in this process counts."""
    monkeypatch.setenv("LSRL_CACHE_DIR", str(tmp_path / "kernels"))
    c_build._loaded.cache_clear()
    c_cache._warn_once.cache_clear()
    return cache_folder()


def again(text: str = TEXT) -> int:
    """The answer of a text, loaded as a new process would."""
    c_build._loaded.cache_clear()
    return int(c_build.build(text).answer())


def no_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> bytes:
        raise AssertionError("compiled again")

    monkeypatch.setattr(c_build, "_compile", never)


def test_what_was_compiled_is_found_again(folder: CacheFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert again() == 42
    (file,) = folder.files()
    assert folder.size() == file.stat().st_size
    no_compiling(monkeypatch)
    assert again() == 42
    with pytest.raises(AssertionError, match="compiled again"):
        again(TEXT.replace("42", "43"))


def test_another_compiler_or_flag_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = c_build.find_compiler()
    keys = {c_build._key(TEXT, compiler),
            c_build._key(TEXT, c_build.Compiler(compiler.command, compiler.version + "x", compiler.native)),
            c_build._key(TEXT, c_build.Compiler(compiler.command, compiler.version, ("-O1",)))}
    monkeypatch.setattr(c_build, "FLAGS", ("-O0",))
    assert len(keys | {c_build._key(TEXT, compiler)}) == 4


def test_options_of_the_environment_come_last(folder: CacheFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "#ifndef ANSWER\n#define ANSWER 42\n#endif\nlong answer(void) { return ANSWER; }\n"
    assert again(text) == 42
    monkeypatch.setenv("LSRL_CFLAGS", "-O0 -DANSWER='6 * 7 + 1'")
    assert again(text) == 43 and len(folder.files()) == 2
    monkeypatch.setenv("LSRL_CFLAGS", "--no-such-option")
    with pytest.raises(LsrlError, match="no-such-option"):
        again(text)


def test_a_compiler_that_lacks_an_option_goes_without(folder: CacheFolder, monkeypatch: pytest.MonkeyPatch,
                                                      tmp_path: Path) -> None:
    """As clang, which knows no model of what vectors cost."""
    script = tmp_path / "other-cc"
    script.write_text('#!/bin/sh\ncase "$*" in *-fvect-cost-model*) echo unknown option >&2; exit 1;; esac\n'
                      f'exec {shlex.join(c_build.find_compiler().command)} "$@"\n')
    script.chmod(0o755)
    assert c_build.find_compiler().vectors or "clang" in c_build.find_compiler().version
    monkeypatch.setenv("CC", str(script))
    assert c_build.find_compiler().vectors == ()
    for effort in ("most", "enough", "little"):
        assert c_build.build(TEXT, effort).answer() == 42
    assert len(folder.files()) == 3


@pytest.mark.parametrize("damage", [b"", b"not a library", None])
def test_a_damaged_file_is_made_again(folder: CacheFolder, damage: bytes | None) -> None:
    again()
    (file,) = folder.files()
    whole = file.read_bytes()
    file.unlink()  # it is loaded in this process: what is written goes to another file
    file.write_bytes(whole[:-100] + bytes(100) if damage is None else damage)
    assert again() == 42
    assert folder.files()[0].read_bytes() == whole


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path / "few", limit=2500)
    for i, name in enumerate(["a", "b"]):
        os.utime(folder.store(name, bytes([i]) * 1000), (i, i))
    assert folder.find("a") is not None  # used just now
    folder.store("c", b"c" * 1000)
    assert sorted(f.name[0] for f in folder.files()) == ["a", "c"]
    folder.store("d", b"d" * 5000)  # larger than the limit: kept all the same, alone
    assert sorted(f.name[0] for f in folder.files()) == ["d"]


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_replaced_with_one_warning(folder: CacheFolder) -> None:
    folder.path.mkdir()
    folder.path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.warns(RuntimeWarning, match="LSRL_CACHE_DIR"):
        assert again() == 42
    assert again(TEXT.replace("42", "43")) == 43  # warnings are errors: there is no second one
    assert folder.files() == []


def test_a_full_disk_is_no_reason_to_stop(folder: CacheFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    own = CacheFolder.store

    def full(self: CacheFolder, key: str, content: bytes, ending: str = ".so") -> Path:
        if self.path == folder.path:
            raise OSError(28, "No space left on device")
        return own(self, key, content, ending)

    monkeypatch.setattr(CacheFolder, "store", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        assert again() == 42
    assert again(TEXT.replace("42", "44")) == 44


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners here")
def test_a_folder_that_others_may_write_to_is_not_trusted(folder: CacheFolder) -> None:
    again()
    folder.path.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="others may write"):
        assert again() == 42


def test_several_processes_at_once(folder: CacheFolder, tmp_path: Path) -> None:
    script = tmp_path / "builds.py"
    script.write_text(f"import os\nos.environ['LSRL_CACHE_DIR'] = {str(folder.path)!r}\n"
                      "from lsrl.backends.kernels.c_build import build\n"
                      f"print([build({TEXT!r}.replace('42', str(i))).answer() for i in range(3)])\n")
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run_script, [script] * 3, [True] * 3)) == ["[0, 1, 2]\n"] * 3
    assert 3 <= len(folder.files()) <= 9
    assert not [f for f in folder.path.iterdir() if f.name.startswith(".")]


def test_no_compiler(folder: CacheFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    c_build._find.cache_clear()
    with pytest.raises(LsrlError) as caught:
        again()
    c_build._find.cache_clear()
    assert caught.value.diagnostics[0].code == "L412"
    assert "ziglang" in caught.value.diagnostics[0].help


def test_a_compiler_that_fails_is_quoted(folder: CacheFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(LsrlError, match=r"error: .*nonsense") as caught:
        again("nonsense here;\n")
    assert caught.value.diagnostics[0].code == "L412"
    broken = tmp_path / "broken"
    broken.write_text(f"#!{sys.executable}\nimport sys\nif '--version' in sys.argv: print('broken 1'); sys.exit()\n"
                      "sys.stderr.write('disk on fire')\nsys.exit(3)\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", f"{broken} -g")
    with pytest.raises(LsrlError, match="disk on fire"):
        again()


def test_the_command(folder: CacheFolder, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> str:
        assert main(["cache", *words]) == 0
        return capsys.readouterr().out

    assert said() == f"{folder.path}: 0 compiled kernels, 0 of {folder.limit:,} bytes\n"
    again()
    size = folder.size()
    assert said("--path") == f"{folder.path}\n"
    assert said("--size") == f"{size}\n"
    assert said() == f"{folder.path}: 1 compiled kernel, {size:,} of {folder.limit:,} bytes\n"
    assert said("--clear") == f"1 compiled kernel removed from {folder.path}\n"
    assert folder.files() == []
    assert main(["cache", "--clear", "--size"]) == 2


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LSRL_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert c_cache.cache_path() == Path("/somewhere/lsrl")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert c_cache.cache_path() == Path("/home/me/.cache/lsrl")
    monkeypatch.setenv("LSRL_CACHE_DIR", "/own")
    monkeypatch.setenv("LSRL_CACHE_MB", "3")
    assert cache_folder().path == Path("/own") and cache_folder().limit == 3 << 20
    monkeypatch.setenv("LSRL_CACHE_MB", "much")
    assert cache_folder().limit == c_cache.DEFAULT_LIMIT
