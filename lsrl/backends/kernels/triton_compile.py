"""Kernels compiled down to machine code without a device: registers, spills and shared memory of each."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.call import Options, Shape
from lsrl.backends.kernels.triton_dense import tile_lanes
from lsrl.backends.kernels.triton_kernel import STAGES, Configuration, configurations, imported
from lsrl.backends.kernels.triton_text import KernelText, triton_text

__all__ = ["ARCHITECTURES", "Usage", "compiled", "default_kernels", "lower", "typed"]

ARCHITECTURES: Mapping[str, tuple[str, int | str, int]] = {
    "sm_80": ("cuda", 80, 32), "sm_90": ("cuda", 90, 32), "gfx942": ("hip", "gfx942", 64)}


@dataclass(frozen=True)
class Usage:
    """registers: of 32 bits, of a thread. spilled: bytes of spill stores and loads and local memory on NVIDIA, of
    registers and private memory on AMD. shared: bytes."""

    registers: int
    spilled: int
    shared: int


def default_kernels(parts: Parts, options: Options, rows: int, tokens: int, lanes: int,
                    shapes: tuple[Shape, ...] = ("sequential", "block", "split")
                    ) -> Iterator[tuple[str, KernelText, dict[str, Any], Configuration]]:
    """The kernels of a program for calls of some size: text, kernel, compile-time constants, configuration.

    Of those that the shapes use, each once, in the first configuration.
    """
    made = triton_text(parts, options)
    done = set()
    for shape in shapes:
        if shape not in made.shapes:
            continue
        c = next(configurations(parts, shape, rows, tokens, lanes))
        for kernel in made.kernels:
            sequential = kernel.name == "sequential_kernel"
            if sequential == (shape == "sequential") and (shape == "split" or not kernel.name.startswith(
                    ("summary", "carry"))):
                constants = _constants(kernel, c, shape, tile_lanes(parts) if parts.lanes.mixes else 0)
                key = (kernel.name, tuple(constants.items()), c)
                if key not in done:
                    done.add(key)
                    yield made.text, kernel, constants, c


def _constants(kernel: KernelText, c: Configuration, shape: Shape, lanes: int) -> dict[str, Any]:
    values = {"GIVEN": True, "KEPT": True, "REVERSE": False, "ALIGNED": True, "UNIT": True, "BL": c.streams,
              "BT": c.tile, "GROUP": c.group, "CHUNKED": shape == "split", "STAGES": STAGES, "BK": c.tile,
              "BD": lanes}
    return {name: values[name] for name, t in kernel.types.items() if t == "constexpr"}


def typed(text: str, kernel: KernelText, constants: Mapping[str, Any], architecture: str) -> str:
    """A kernel as Triton's intermediate language, for which it infers all types and shapes: a small part of the time
    that machine code takes. Raises triton.CompilationError. Not in a process with TRITON_INTERPRET."""
    return lower(*_source(text, kernel, constants, architecture))


def lower(source: Any, target: Any) -> str:
    """A triton.compiler.ASTSource as Triton's intermediate language."""
    from triton._C.libtriton import ir
    from triton.compiler.compiler import make_backend

    backend = make_backend(target)
    options = backend.parse_options({})
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    return str(source.make_ir(target, options, backend.get_codegen_implementation(options), backend.get_module_map(),
                              context))


def compiled(text: str, kernel: KernelText, constants: Mapping[str, Any], c: Configuration,
             architecture: str) -> Usage:
    """What a kernel takes on an architecture of `ARCHITECTURES`. Not in a process with TRITON_INTERPRET."""
    from triton.compiler import compile as compile_source

    source, target = _source(text, kernel, constants, architecture)
    out = compile_source(source, target=target, options=c.options(target.backend == "hip"))
    if "cubin" in out.asm:
        return _nvidia(out.asm["cubin"], out.asm["ptx"], out.metadata.shared)
    text = out.asm["amdgcn"]
    spilled = _number(r"\.vgpr_spill_count:\s*(\d+)", text) + _number(r"\.private_segment_fixed_size:\s*(\d+)", text)
    return Usage(_number(r"\.vgpr_count:\s*(\d+)", text), spilled, out.metadata.shared)


def _source(text: str, kernel: KernelText, constants: Mapping[str, Any], architecture: str) -> tuple[Any, Any]:
    """What Triton compiles, and for what."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    types = kernel.types
    aligned = {(i,): [["tt.divisibility", 16]] for i, t in enumerate(types.values()) if t.startswith("*")}
    source = ASTSource(fn=getattr(imported(text), kernel.name), signature=dict(types), constexprs=dict(constants),
                       attrs=aligned)
    return source, GPUTarget(*ARCHITECTURES[architecture])


def _nvidia(cubin: bytes, ptx: str, shared: int) -> Usage:
    """What ptxas made. A stack need not be of spilled registers: `sin` and `cos` of large numbers have an array there.
    """
    import triton
    from triton import knobs

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        code, text = Path(folder, "kernel.cubin"), Path(folder, "kernel.ptx")
        code.write_bytes(cubin)
        found = subprocess.run([str(tool), "-res-usage", code], capture_output=True, text=True, check=True).stdout
        spilled = _number(r"LOCAL:(\d+)", found)
        if _number(r"STACK:(\d+)", found):
            text.write_text(ptx)
            target = re.search(r"^\.target (\w+)", ptx, re.MULTILINE)
            assert target is not None
            said = subprocess.run([knobs.nvidia.ptxas.path, "-v", "--regAllocOptLevel=2", f"--gpu-name={target[1]}",
                                   text, "-o", code], capture_output=True, text=True, check=True)
            spilled += sum(int(x) for x in re.findall(r"(\d+) bytes spill", said.stdout + said.stderr))
    return Usage(_number(r"REG:(\d+)", found), spilled, shared)


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"no {pattern} in what the compiler says")
    return int(found[1])
