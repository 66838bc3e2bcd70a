"""The folder of generated kernels: found by what they were made of, checked by what they contain.

A file is named `<key>-<digest>.so`, or `.py` where it is a Triton text: the key is a hash of the text, the compiler,
its flags and the processor; the digest a hash of the file's own bytes, so that a file that was cut short or changed is
not loaded but made again. Files appear by renaming, which is atomic: several processes may use the folder at once. The
least recently used go first when the folder grows beyond its limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import warnings
from functools import cache
from pathlib import Path

__all__ = ["DEFAULT_LIMIT", "CacheFolder", "cache_folder", "cache_path"]

DEFAULT_LIMIT = 256 << 20  # bytes


def cache_path() -> Path:
    """$LSRL_CACHE_DIR, or `lsrl` in $XDG_CACHE_HOME, or ~/.cache/lsrl."""
    own = os.environ.get("LSRL_CACHE_DIR")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lsrl"


class CacheFolder:
    """A folder of compiled kernels. limit: bytes that it may hold."""

    def __init__(self, path: Path, limit: int = DEFAULT_LIMIT) -> None:
        self.path = path
        self.limit = limit

    def files(self) -> list[Path]:
        """The compiled kernels in it."""
        try:
            return sorted([*self.path.glob("*-*.so"), *self.path.glob("*-*.py")])
        except OSError:
            return []

    def size(self) -> int:
        """Their bytes together."""
        return sum(size for _, size, _ in self._listed())

    def find(self, key: str, ending: str = ".so") -> Path | None:
        """A whole file of that key; damaged ones are removed."""
        for file in self.path.glob(f"{key}-*{ending}"):
            try:
                content = file.read_bytes()
            except OSError:
                continue
            if file.stem == f"{key}-{_digest(content)}":
                with contextlib.suppress(OSError):
                    os.utime(file)
                return file
            with contextlib.suppress(OSError):
                file.unlink()
        return None

    def store(self, key: str, content: bytes, ending: str = ".so") -> Path:
        """The file that holds these bytes from now on. Raises OSError where it cannot be written."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(prefix=".new-", dir=self.path)
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(content)
            os.chmod(name, 0o700)
            file = self.path / f"{key}-{_digest(content)}{ending}"
            os.replace(name, file)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        self._make_room(file)
        return file

    def clear(self) -> int:
        """Removes all compiled kernels; how many there were."""
        gone = 0
        for file in [*self.files(), *self.path.glob(".new-*")]:
            with contextlib.suppress(OSError):
                file.unlink()
                gone += not file.name.startswith(".")
        return gone

    def private(self) -> bool:
        """Whether nobody else can write to it: what is in it will be run."""
        try:
            found = self.path.stat()
        except OSError:
            return True
        return not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)

    def _make_room(self, keep: Path) -> None:
        listed = sorted(self._listed())
        total = sum(size for _, size, _ in listed)
        for _, size, file in listed:
            if total <= self.limit:
                return
            if file != keep:
                with contextlib.suppress(OSError):
                    file.unlink()
                    total -= size

    def _listed(self) -> list[tuple[float, int, Path]]:
        """Time of last use, bytes and path of each file; without those that another process just removed."""
        out = []
        for file in self.files():
            with contextlib.suppress(OSError):
                found = file.stat()
                out.append((found.st_mtime, found.st_size, file))
        return out


def cache_folder() -> CacheFolder:
    """The user's folder. Its limit is DEFAULT_LIMIT, or $LSRL_CACHE_MB megabytes."""
    try:
        limit = int(os.environ.get("LSRL_CACHE_MB", "")) << 20
    except ValueError:
        limit = DEFAULT_LIMIT
    return CacheFolder(cache_path(), limit)


def keep(key: str, content: bytes, ending: str = ".so") -> Path:
    """Stores bytes in the user's folder, or where that cannot be, in one of this process, with a warning."""
    folder = cache_folder()
    reason = "others may write to it"
    if folder.private():
        try:
            return folder.store(key, content, ending)
        except OSError as error:
            reason = error.strerror or str(error)
    _warn_once(str(folder.path), reason)
    return CacheFolder(_own_folder()).store(key, content, ending)


def found(key: str, ending: str = ".so") -> Path | None:
    """The file of a key, in the user's folder."""
    folder = cache_folder()
    return folder.find(key, ending) if folder.private() else None


@cache
def _warn_once(path: str, reason: str) -> None:
    warnings.warn(f"compiled kernels are not kept in {path} ({reason}): they are compiled anew in every process; "
                  "LSRL_CACHE_DIR names another folder", RuntimeWarning, stacklevel=4)


@cache
def _own_folder() -> Path:
    """A folder that goes with this process."""
    import atexit
    import shutil

    path = Path(tempfile.mkdtemp(prefix="lsrl-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
