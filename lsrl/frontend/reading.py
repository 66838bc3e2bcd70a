"""Files to sources."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from lsrl.diagnostics import LsrlError, Source, did_you_mean

__all__ = ["ENDING", "decode_source", "read_source"]

ENDING = ".lsrl"


def read_source(path: str | PathLike[str]) -> Source:
    """The text of a program's file, named by its path as given.

    Raises LsrlError: L019 for another ending than .lsrl, L020 for a file that cannot be read, L005 for one that is
    not UTF-8.
    """
    file = Path(path)
    if file.suffix != ENDING:
        found = f"ends in {file.suffix}" if file.suffix else "has no ending"
        raise LsrlError.of("L019", f"a program's file ends in {ENDING}, but {file} {found}",
                           help=_alike(file.with_suffix(ENDING)) if file.suffix or not file.is_dir() else "")
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise LsrlError.of("L020", f"there is no file {file}", help=_alike(file)) from None
    except ValueError:
        raise LsrlError.of("L020", "the name of a file has no NUL character") from None
    except IsADirectoryError:
        raise LsrlError.of("L020", f"{file} is a folder, not a file") from None
    except OSError as error:
        raise LsrlError.of("L020", f"{file} cannot be read: {error.strerror}") from None
    return decode_source(str(path), data)


def decode_source(name: str, data: bytes) -> Source:
    """The text that the bytes stand for in UTF-8, without a byte order mark. Raises LsrlError L005."""
    try:
        return Source(name, data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        message = f"{name} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start} does not belong"
        utf16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        raise LsrlError.of("L005", message, help="the file is UTF-16: save it as UTF-8" if utf16 else "") from None


def _alike(file: Path) -> str:
    """A help line that names the file itself if it exists, or one in its folder with a similar name."""
    if file.is_file():
        return f"did you mean `{file}`?"
    names = sorted(f.name for f in file.parent.glob(f"*{ENDING}")) if file.parent.is_dir() else []
    return did_you_mean(file.name, names)
