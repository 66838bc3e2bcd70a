"""C texts become functions that Python can call: the compiler is found, run, and its result kept."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

from lsrl.backends.kernels import c_cache
from lsrl.diagnostics import LsrlError

__all__ = ["FLAGS", "Compiler", "Effort", "build", "find_compiler"]

# Results are those of the text, operation by operation: no fused multiply-add (see `build`), integers wrap. Loops are
# not copied for what is the same in each of their turns (whether an array is given): compiling would take 1.3 times as
# long, and branches that always go the same way cost nothing.
FLAGS = ("-std=c99", "-O3", "-fno-unswitch-loops", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off",
         "-fwrapv", "-fopenmp-simd")
Effort: TypeAlias = Literal["most", "enough", "little"]
_NATIVE = ("-march=native",)
_WIDE = ("-mprefer-vector-width=512",)
_FUSED = ("-ffp-contract=fast",)
_VECTORS = ("-fvect-cost-model=dynamic",)  # gcc's at -O2 leaves loops alone whose number of turns it does not know
_EFFORTS: dict[Effort, tuple[str, ...]] = {"most": (), "enough": ("-O2", "-ftree-vectorize"), "little": ("-O1",)}
_MOST_MESSAGE = 12  # lines of a compiler's message


@dataclass(frozen=True)
class Compiler:
    """command: what runs it. version: what it says about itself. native: flags for this processor, wide: for its
    widest vectors, vectors: for more loops to use them, if it has them."""

    command: tuple[str, ...]
    version: str
    native: tuple[str, ...]
    wide: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()


def find_compiler() -> Compiler:
    """$CC, or else cc, gcc or clang, or the one in the Python package ziglang. Raises LsrlError (L412)."""
    return _find(os.environ.get("CC", ""), os.environ.get("PATH", ""))


@cache
def _find(wished: str, path: str) -> Compiler:
    candidates = [tuple(shlex.split(wished))] if wished else []
    candidates += [(name,) for name in ("cc", "gcc", "clang")]
    if importlib.util.find_spec("ziglang") is not None:
        candidates.append((sys.executable, "-m", "ziglang", "cc"))
    for command in candidates:
        if shutil.which(command[0], path=path) is None:
            continue
        said = _run([*command, "--version"])
        if said.returncode == 0:
            known = [flags if _run([*command, *flags, "-E", "-x", "c", os.devnull]).returncode == 0 else ()
                     for flags in (_NATIVE, _WIDE, _VECTORS)]
            return Compiler(command, said.stdout, *known)
    raise LsrlError.of("L412", "no C compiler was found: $CC, cc, gcc, clang",
                       help="install one, such as the package gcc of the system, or `pip install ziglang`")


def build(text: str, effort: Effort = "most", fused: bool = False) -> ctypes.CDLL:
    """The library of a C text, compiled if no earlier run has. Raises LsrlError (L412) if that fails.

    effort: how much to optimise. fused: whether sums of products may be rounded once, and the widest vectors are worth
    it. What $LSRL_CFLAGS holds comes last.
    """
    compiler = find_compiler()
    more = (*_EFFORTS[effort], *(compiler.vectors if effort == "enough" else ()),
            *((*_FUSED, *compiler.wide) if fused else ()), *shlex.split(os.environ.get("LSRL_CFLAGS", "")))
    if more:
        compiler = replace(compiler, native=(*compiler.native, *more))
    return _loaded(text, compiler)


@cache
def _loaded(text: str, compiler: Compiler) -> ctypes.CDLL:
    key = _key(text, compiler)
    file = c_cache.found(key)
    if file is not None:
        try:
            return ctypes.CDLL(str(file))
        except OSError:  # made for another system: compiled anew
            file.unlink(missing_ok=True)
    return ctypes.CDLL(str(c_cache.keep(key, _compile(text, compiler))))


def _compile(text: str, compiler: Compiler) -> bytes:
    """The shared library of a text."""
    with tempfile.TemporaryDirectory(prefix="lsrl-") as folder:
        source, out = Path(folder, "kernel.c"), Path(folder, "kernel.so")
        source.write_text(text, encoding="utf-8")
        done = _run([*compiler.command, *FLAGS, *compiler.native, "-shared", "-fPIC", "-o", str(out), str(source),
                     "-lm"])
        if done.returncode == 0:
            return out.read_bytes()
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        shown = "\n".join(lines[:_MOST_MESSAGE]) or f"it ended with status {done.returncode}"
        raise LsrlError.of("L412", f"`{shlex.join(compiler.command)}` does not compile a generated kernel:\n{shown}",
                           help="set CC to another compiler; the interpreter runs the program without one")


def _key(text: str, compiler: Compiler) -> str:
    parts = (text, *compiler.command, compiler.version, *FLAGS, *compiler.native, _processor())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@cache
def _processor() -> str:
    """What the compiler's `native` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    known = sorted({line for line in lines if line.startswith(("flags", "model name", "Features", "CPU part"))})
    return "\n".join([platform.system(), platform.machine(), platform.processor(), *known])


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False,
                              stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"})
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))
