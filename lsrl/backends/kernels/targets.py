"""The kernel targets, a row each, and the devices that they run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import torch

from lsrl.backends.kernels.bodies import SUMMED, TILE_LANES, Parts
from lsrl.backends.kernels.call import CompiledKernel, Options
from lsrl.backends.kernels.cost import Device
from lsrl.backends.kernels.plan import make_plan
from lsrl.diagnostics import LsrlError, did_you_mean

__all__ = ["KERNEL_TARGETS", "KernelTarget", "device_of", "find_backend", "make_kernel"]


@dataclass(frozen=True)
class KernelTarget:
    """text: the generated text. make: a compiled kernel. devices: the types of torch devices whose tensors it takes.

    summed: of how many neighbouring lanes its kernels sum the cotangents of vectors that all lanes see; 0: of none.
    """

    name: str
    summary: str
    devices: tuple[str, ...]
    text: Callable[[Parts, Options], str]
    make: Callable[[Parts, Options], CompiledKernel]
    summed: int = 0


def _c(parts: Parts, options: Options) -> CompiledKernel:
    from lsrl.backends.kernels.c_kernel import CKernel

    return CKernel(parts, options, make_plan(parts, options).text())


def _c_text(parts: Parts, options: Options) -> str:
    from lsrl.backends.kernels.c_text import c_text

    return c_text(parts, options, make_plan(parts, options).text()).text


def _triton(parts: Parts, options: Options) -> CompiledKernel:
    made: CompiledKernel = import_module("lsrl.backends.kernels.triton_kernel").TritonKernel(
        parts, options, make_plan(parts, options).text())
    return made


def _triton_text(parts: Parts, options: Options) -> str:
    text: str = import_module("lsrl.backends.kernels.triton_text").triton_text(
        parts, options, make_plan(parts, options).text()).text
    return text


KERNEL_TARGETS: dict[str, KernelTarget] = {t.name: t for t in (
    KernelTarget("c", "generated C for CPUs, compiled by the system's compiler", ("cpu",), _c_text, _c,
                 SUMMED),
    KernelTarget("triton", "generated Triton for GPUs", ("cuda",), _triton_text, _triton, TILE_LANES),
)}


def find_backend(name: str) -> KernelTarget | None:
    """The kernel target of a name, None for "auto". Raises LsrlError (L401) for an unknown one."""
    if name == "auto":
        return None
    if name not in KERNEL_TARGETS:
        known = [*KERNEL_TARGETS, "auto"]
        raise LsrlError.of("L401", f"there is no kernel target `{name}`",
                           help=did_you_mean(name, known) or f"kernel targets: {', '.join(known)}")
    return KERNEL_TARGETS[name]


def make_kernel(target: str, device: torch.device, parts: Parts, options: Options) -> CompiledKernel:
    """The kernel of a target for tensors on a device. Raises LsrlError (L413) if it cannot take them."""
    row = _row(target, device)
    if row is None:
        raise LsrlError.of("L413", f"there is no kernel target for tensors on `{device}`",
                           help="move the inputs to the CPU or to a GPU of NVIDIA or AMD")
    return row.make(parts, options)


def _row(target: str, device: torch.device) -> KernelTarget | None:
    return find_backend(target) or next((t for t in KERNEL_TARGETS.values() if device.type in t.devices), None)


def device_of(device: torch.device, target: str = "auto") -> Device:
    """What the cost model knows of a torch device, and of a target's kernels for it."""
    row = _row(target, device)
    summed = 0 if row is None else row.summed
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return Device("gpu", found.multi_processor_count * 2048, summed=summed)
    threads = torch.get_num_threads()
    return Device("cpu", 16 * threads, threads, summed)
