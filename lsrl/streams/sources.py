"""Where bytes come from: files and streams, opened with clear errors, read in blocks."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeAlias

from lsrl.diagnostics import LsrlError

__all__ = ["BLOCK", "Place", "ByteSource", "describe_os_error"]

Place: TypeAlias = "str | os.PathLike[str] | IO[bytes]"  # a path, "-" for standard input (output), or a binary stream
BLOCK = 1 << 16  # bytes that are read at once, at first; then more and more, up to the most
_MOST_AT_ONCE = 1 << 20


class ByteSource:
    """A binary stream with a name for error messages; `fraction` says how much of a file has been read."""

    def __init__(self, place: Place) -> None:
        self._own = False
        self._size = 0
        self.offset = 0
        if isinstance(place, str | os.PathLike) and os.fspath(place) == "-":
            self.name, self.stream = "standard input", sys.stdin.buffer
        elif isinstance(place, str | os.PathLike):
            self.name = os.fspath(place)
            self.stream = self._open(Path(place))
            self._own = True
        else:
            self.name, self.stream = str(getattr(place, "name", "the input")), place

    def _open(self, path: Path) -> IO[bytes]:
        try:
            stream = path.open("rb")
            self._size = os.fstat(stream.fileno()).st_size
        except (OSError, ValueError) as error:
            raise LsrlError.of("L607", f"cannot read {self.name}: {describe_os_error(error)}") from None
        return stream

    @property
    def size(self) -> int:
        """The bytes of a file; 0 where that is not known."""
        return self._size

    @property
    def fraction(self) -> float | None:
        """The part of the input that has been read, from 0 to 1, or None where its length is not known."""
        return min(1.0, self.offset / self._size) if self._size else None

    def blocks(self) -> Iterator[bytes]:
        """The bytes, some at a time: as they come, if the stream is a pipe or terminal."""
        read = getattr(self.stream, "read1", self.stream.read)
        size = BLOCK
        while True:
            try:
                block: bytes = read(size)
            except OSError as error:
                raise LsrlError.of("L607", f"cannot read {self.name}: {describe_os_error(error)}") from None
            if not block:
                return
            self.offset += len(block)
            size = min(2 * size, _MOST_AT_ONCE) if len(block) == size else size
            yield block

    def text_blocks(self) -> Iterator[str]:
        """The text, decoded from UTF-8, some at a time; a byte order mark at the start is dropped.

        Raises LsrlError (L608) with the offset of the first byte that is not UTF-8, after all text before it.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("strict")
        first = True
        for data in self.blocks():
            done = self.offset - len(data) - len(decoder.getstate()[0])
            try:
                text = decoder.decode(data)
            except UnicodeDecodeError as error:
                yield error.object[: error.start].decode("utf-8").removeprefix("\ufeff" if first else "")
                raise self._not_utf8(done + error.start, error) from None
            if first and text:
                first = False
                text = text.removeprefix("\ufeff")
            if text:
                yield text
        pending = decoder.getstate()[0]
        if pending:
            raise LsrlError.of("L608", f"{self.name} is not UTF-8: it ends inside a character, "
                                       f"at byte {self.offset - len(pending)}")

    def _not_utf8(self, offset: int, error: UnicodeDecodeError) -> LsrlError:
        bad = error.object[error.start]
        hint = "the file may be UTF-16" if offset == 0 and bad in (0xFE, 0xFF) else \
            "a program with one `byte` input reads bytes of any kind"
        return LsrlError.of("L608", f"{self.name} is not UTF-8: byte 0x{bad:02x} at offset {offset}", help=hint)

    def seekable(self) -> IO[bytes]:
        """The stream, if it can be read in any order. Raises LsrlError (L607)."""
        if not self.stream.seekable():
            raise LsrlError.of("L607", f"{self.name} cannot be read in any order, which this format needs",
                               help="save it to a file first")
        return self.stream

    def lines(self, longest: int) -> Iterator[str]:
        """The lines of the text, without their ends; a line of more than `longest` characters is an error (L609)."""
        rest, number = "", 1
        for text in self.text_blocks():
            rest += text
            *whole, rest = rest.split("\n")
            for line in whole:
                number += 1
                yield line.removesuffix("\r")
            if len(rest) > longest:
                raise LsrlError.of("L609", f"line {number} of {self.name} has more than {longest} characters")
        if rest:
            yield rest.removesuffix("\r")

    def close(self) -> None:
        if self._own:
            self.stream.close()


def describe_os_error(error: OSError | ValueError) -> str:
    """What went wrong with a file, in a few words."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a directory"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error)  # "embedded null byte"
