"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from lsrl.diagnostics import LsrlError
from lsrl.streams.sources import describe_os_error

__all__ = ["check_free", "write_folder"]


def check_free(path: Path, force: bool, marker: str) -> None:
    """Raises LsrlError (L630) if something is at `path`, unless `force` is given and it is a folder that holds the
    file `marker`, which says that it was written by the same command, or an empty one."""
    if not os.path.lexists(path):
        return
    if not force:
        raise LsrlError.of("L630", f"`{path}` is there already", help="name another folder, or replace it with --force")
    if not path.is_dir() or path.is_symlink() or (any(path.iterdir()) and not (path / marker).is_file()):
        raise LsrlError.of("L630", f"`{path}` is no exported case, so that --force does not replace it",
                           help="name another folder")


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Writes files, by their paths inside the folder, to a folder beside `path`, which then takes its place.

    An older folder there is put aside first and removed at the end. On an error or an interrupt `path` is as it was.
    Raises LsrlError (L611).
    """
    path = Path(os.path.realpath(path))
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    old = path.with_name(f".{path.name}.{secrets.token_hex(6)}.old")
    try:
        fresh.mkdir()
        for name, data in files.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_bytes(data)
        if path.exists():
            path.rename(old)
        fresh.rename(path)
    except OSError as error:
        raise LsrlError.of("L611", f"cannot write {path}: {describe_os_error(error)}") from None
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        for rest in (fresh, old):
            shutil.rmtree(rest, ignore_errors=True)
