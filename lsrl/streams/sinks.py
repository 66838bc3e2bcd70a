"""Where bytes go: standard output, a stream, or a file that appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lsrl.diagnostics import LsrlError
from lsrl.streams.sources import Place, describe_os_error

__all__ = ["ByteSink", "write_whole"]


class ByteSink:
    """Where a writer's bytes go: a stream as it is, or a new file that takes its place when `commit` is called."""

    def __init__(self, place: Place | None) -> None:
        self._temporary: Path | None = None
        self._own = False
        self._target: Path | None = None
        if place is None or (isinstance(place, str | os.PathLike) and os.fspath(place) == "-"):
            self.name, self.stream = "standard output", sys.stdout.buffer
        elif isinstance(place, str | os.PathLike):
            self.name = os.fspath(place)
            self.stream = self._create(Path(place))
        else:
            self.name, self.stream = str(getattr(place, "name", "the output")), place

    def _create(self, path: Path) -> IO[bytes]:
        try:
            if path.is_dir():
                raise IsADirectoryError
            path = Path(os.path.realpath(path))
            if path.exists() and not path.is_file():  # a device or a pipe: nothing can be put in its place
                stream = path.open("wb")
                self._own = True
                return stream
            beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
            stream = beside.open("xb")
        except (OSError, ValueError) as error:
            raise LsrlError.of("L611", f"cannot write {self.name}: {describe_os_error(error)}") from None
        self._target, self._temporary, self._own = path, beside, True
        return stream

    @property
    def is_file(self) -> bool:
        """Whether a new file is written, which can be gone back in."""
        return self._temporary is not None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turns what the operating system refuses into LsrlError (L611); BrokenPipeError passes, to end quietly."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise LsrlError.of("L611", f"cannot write {self.name}: {describe_os_error(error)}") from None

    def write(self, data: bytes) -> None:
        """Writes on. Raises as `writing`."""
        with self.writing():
            self.stream.write(data)
            if not self.is_file:
                self.stream.flush()

    def commit(self) -> None:
        """Puts the file in its place."""
        with self.writing():
            if self._own:
                self.stream.close()
            if self._temporary is None or self._target is None:
                return
            os.replace(self._temporary, self._target)
        self._temporary = None

    def abort(self) -> None:
        """Takes a file that was not put in its place away."""
        if self._own:
            with suppress(OSError):  # what could not be written is not wanted any more
                self.stream.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file, whole or not at all, an interrupt included. Raises LsrlError (L611)."""
    sink = ByteSink(path)
    try:
        sink.write(data)
        sink.commit()
    finally:
        sink.abort()
