"""Commands of `lsrl`, and scripts, run by processes that are forked from one which has imported torch.

Importing it takes longer than most of them.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["run_lsrl", "run_script"]

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["torch", "safetensors.torch", "lsrl.cli.main", "lsrl.backends.registry", "lsrl.verify"])


def run_lsrl(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """What `lsrl` with these words, in this folder, writes to standard output, and then what to standard error."""
    return _written(_command, list(words), os.getcwd(), dict(environment))


def run_script(file: Path, knows_lsrl: bool) -> str:
    """What a Python script writes, likewise, in its own folder. knows_lsrl: whether it can import lsrl."""
    return _written(_script, file, knows_lsrl)


def _written(run: Callable[..., None], *words: object, seconds: float = 120) -> str:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("out", "err")]
        process = _FORKS.Process(target=_in_files, args=(files, run, *words))
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"{words} takes more than {seconds} s")
        return "".join(f.read_text(encoding="utf-8") for f in files)


def _in_files(files: Sequence[Path], run: Callable[..., None], *words: object) -> None:
    for number, file in enumerate(files, 1):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, number)
        os.close(descriptor)
    run(*words)


def _command(words: list[str], folder: str, environment: dict[str, str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["lsrl", *words]
    from lsrl.cli.main import entry

    entry()


def _script(file: Path, knows_lsrl: bool) -> None:
    os.chdir(file.parent)
    if not knows_lsrl:
        for name in [n for n in sys.modules if n.split(".")[0] == "lsrl"]:
            del sys.modules[name]
        sys.modules["lsrl"] = None  # type: ignore[assignment]  # cannot be imported
    sys.path.insert(0, str(file.parent))
    runpy.run_path(str(file), run_name="__main__")
