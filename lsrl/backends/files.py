"""Model files: safetensors with everything else as JSON in the header. Never pickle.

A file is written whole or not at all. What is read is checked before it is believed: the size of the header, the
checksum over metadata and tensors, the names and shapes that the metadata promises. Source of the layout: the
safetensors format (8 bytes of header length, a JSON header, the tensors' bytes without gaps).
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from lsrl.diagnostics import LsrlError

__all__ = ["FORMAT", "checksum", "damaged", "model_file_bytes", "ordered", "read_model_file", "write_model_file"]

FORMAT = 1
_HEADER_LIMIT = 100_000_000  # bytes; the safetensors library refuses longer headers too
_KEY, _SUM = "lsrl.model", "lsrl.sha256"
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive, such as `torch.save` writes: it holds pickled code"),
    (b"\x80\x02", "a pickle"), (b"\x80\x03", "a pickle"), (b"\x80\x04", "a pickle"), (b"\x80\x05", "a pickle"),
    (b"\x80\x00", "a pickle"), (b"\x80\x01", "a pickle"), (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"), (b"GGUF", "a GGUF file"), (b"\x1f\x8b", "a gzip archive"), (b"\x7fELF", "a program"),
    (b"\xef\xbb\xbf", "a text file"), (b"%PDF", "a PDF file"),
)
_PICKLE_ENDINGS = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt", ".zip", ".npy", ".npz")


def damaged(path: str | os.PathLike[str], why: str) -> LsrlError:
    """The error of a model file that was cut short, altered or made by a faulty writer."""
    return LsrlError.of("L622", f"`{os.fspath(path)}` is not a whole model file: {why}",
                        help="write it again with `lsrl compile … -o FILE`")


def checksum(description: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256, in hex, over the metadata text and the name, dtype, shape and bytes of every tensor in name order."""
    digest = hashlib.sha256(description.encode())
    for name in sorted(tensors):
        t = tensors[name].detach().cpu().contiguous()
        digest.update(f"\0{name}\0{t.dtype}\0{tuple(t.shape)}\0".encode())
        if t.numel():
            digest.update(t.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def model_file_bytes(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """A model file's contents. description: anything JSON can hold."""
    text = json.dumps(description, sort_keys=True, ensure_ascii=False, allow_nan=False)
    whole = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    return ordered(save_tensors(whole, {_KEY: text, _SUM: checksum(text, whole)}))


def write_model_file(path: str | os.PathLike[str], description: Mapping[str, Any],
                     tensors: Mapping[str, Tensor]) -> None:
    """Writes a model file: to a temporary file beside it first, then renamed, so that no reader sees half of one.

    description: anything JSON can hold. Raises LsrlError (L620) where the file system refuses; then, and on an
    interrupt, `path` is as it was.
    """
    data = model_file_bytes(description, tensors)
    target = Path(path)
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:64]}.", suffix=".tmp", dir=target.parent)
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise LsrlError.of("L620", f"cannot write `{os.fspath(path)}`: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def ordered(data: bytes) -> bytes:
    """The same file with its header in a fixed order; the library's differs from run to run."""
    length = int.from_bytes(data[:8], "little")
    text = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_model_file(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The description and the tensors of a model file; nothing in it is executed.

    Raises LsrlError: L620 unreadable, L621 another kind of file (a pickle is refused unread), L622 damaged,
    L623 no metadata of this program, L625 written by a later version.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            start = file.read(16)
            _refuse_foreign(name, start)
            size = os.fstat(file.fileno()).st_size
            _check_header_size(name, start, size)
            data = start + file.read()
    except OSError as error:
        raise LsrlError.of("L620", f"cannot read `{name}`: {error.strerror or error}") from None
    header = _header(name, data)
    description, stated = _metadata(name, header)
    try:
        tensors: dict[str, Tensor] = load_tensors(data)
    except (SafetensorError, ValueError, KeyError, OverflowError) as error:
        raise damaged(path, str(error)) from None
    if checksum(description, tensors) != stated:
        raise damaged(path, "its checksum differs from what it holds")
    try:
        parsed = json.loads(description)
    except (ValueError, RecursionError):
        raise LsrlError.of("L623", f"the metadata of `{name}` is not JSON") from None
    if not isinstance(parsed, dict):
        raise LsrlError.of("L623", f"the metadata of `{name}` does not describe a model")
    version = parsed.get("format")
    if not isinstance(version, int) or version > FORMAT or version < 1:
        raise LsrlError.of("L625", f"`{name}` has model format {version!r}; this version of lsrl reads 1 to {FORMAT}",
                           help="use the version of lsrl that wrote it, or compile the program again")
    return parsed, tensors


def _refuse_foreign(name: str, start: bytes) -> None:
    for magic, what in _FOREIGN:
        if start.startswith(magic):
            raise _foreign(name, what)
    if not start:
        raise _foreign(name, "empty")
    if start[8:9] != b"{":
        ending = Path(name).suffix.lower()
        known = "by its name a pickle or an archive" if ending in _PICKLE_ENDINGS else "not in the safetensors format"
        raise _foreign(name, known if len(start) >= 9 else "too short to be in the safetensors format")


def _foreign(name: str, what: str) -> LsrlError:
    return LsrlError.of("L621", f"`{name}` is not a model file: it is {what}; it was not read further",
                        help="a model is a safetensors file that `lsrl compile` wrote; others can run code when opened")


def _check_header_size(name: str, start: bytes, size: int) -> None:
    length = int.from_bytes(start[:8], "little")
    if length > _HEADER_LIMIT:
        raise damaged(name, f"its header claims {length} bytes")
    if 8 + length > size:
        raise damaged(name, f"its header claims {length} bytes, and the file has {size}")


def _header(name: str, data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        raise damaged(name, "its header is not JSON") from None
    if not isinstance(header, dict):
        raise damaged(name, "its header is not a JSON object")
    return header


def _metadata(name: str, header: dict[str, Any]) -> tuple[str, str]:
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
        raise LsrlError.of("L623", f"`{name}` holds tensors but no lsrl model: its metadata has no `{_KEY}`",
                           help="models are made by `lsrl compile`")
    stated = metadata.get(_SUM)
    if not isinstance(stated, str):
        raise damaged(name, "it has no checksum")
    return metadata[_KEY], stated
