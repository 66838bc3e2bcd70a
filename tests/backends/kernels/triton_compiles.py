"""Compiling Triton kernels to machine code, in a process of its own."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import torch

import lsrl
from lsrl.backends.kernels.adjoint import make_adjoint, recorded
from lsrl.backends.kernels.bodies import TILE_LANES, Parts
from lsrl.backends.kernels.call import Options, Shape
from lsrl.backends.kernels.dense import arrange
from lsrl.backends.kernels.lanes import make_lanes
from lsrl.backends.kernels.triton_compile import ARCHITECTURES, compiled, default_kernels, lower, typed
from tests.backends.kernels.cells import CELLS
from tests.backends.kernels.test_dense import FOLDER
from tests.backends.kernels.triton_runs import program_of

GATED = """program gated(a: real[64], u: real[64]) -> real[64]:
    state s: real[64] = 0
    s := a * s + u
    return s
"""


def check_types(name: str) -> int:
    """Infers all types of a cell's kernels, forwards and backwards, with resets and packed sequences; how many.

    Triton's interpreter takes more than its compiler does."""
    sizes: dict[str, Any] = {"n": 3} if name not in CELLS or "[n]" in CELLS[name] else {}
    program = lsrl.parse(CELLS[name], None, **sizes) if name in CELLS else \
        lsrl.load(FOLDER / f"{name}.lsrl", None, **sizes)
    lanes = make_lanes(program.graph)
    count = 0
    for some in (lanes, make_adjoint(lanes, False, {p.name for p in lanes.outputs}).lanes):
        parts = Parts.of(some)
        for text, kernel, constants, _ in default_kernels(parts, Options(resets=True, packed=True), 64, 999, 64):
            assert f"@{kernel.name}" in typed(text, kernel, constants, "sm_90"), kernel.name
            count += 1
    return count


class _Device:
    """A device of Triton's that code can be made for."""

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget(*ARCHITECTURES["sm_90"])


def check_launches(shape: Shape, packed: bool) -> int:
    """Calls a module as on a GPU, up to the launches themselves: what is passed is what the kernels take.

    How many kernels were made. Triton's interpreter takes arguments in a way of its own."""
    import triton
    from triton.runtime.driver import driver
    from triton.runtime.jit import KernelInterface

    from lsrl.backends.kernels import triton_kernel

    made: list[str] = []

    def lowered(source: Any, target: Any, options: Any) -> str:
        made.append(lower(source, target))
        return made[-1]

    def launcher(kernel: Any, grid: tuple[int, ...]) -> Any:
        assert all(type(n) is int and n > 0 for n in grid)
        return lambda *arguments, **constants: kernel.run(*arguments, grid=grid, warmup=True, **constants)

    driver.set_active(_Device())
    model = lsrl.compile(lsrl.load(FOLDER / "ema.lsrl", None, n=3), "triton", shape=shape)
    x = torch.randn(*((7,) if packed else (2, 7)), 3, requires_grad=True)
    how = {"cu_seqlens": torch.tensor([0, 4, 7])} if packed else {"resets": torch.zeros(2, 7, dtype=torch.bool)}
    with patch.object(triton.compiler, "compile", lowered), patch.object(KernelInterface, "__getitem__", launcher), \
            patch.object(triton_kernel, "_refuse_without_device", lambda call: None):
        y, _ = model(x, **how)
        y.sum().backward()
    assert all("tt.store" in text for text in made)
    return len(made)


def check_no_spills(name: str, architecture: str, shapes: tuple[Shape, ...]) -> int:
    """Compiles an example's kernels in their default configurations, with resets and packed sequences; how many."""
    program = lsrl.parse(GATED) if name == "gated" else program_of(name)
    parts = Parts.of(make_lanes(program.graph))
    count = 0
    for text, kernel, constants, c in default_kernels(
            parts, Options(resets=True, packed=True), 64, 65536, 256 if name == "gated" else 1, shapes):
        usage = compiled(text, kernel, constants, c, architecture)
        assert usage.spilled == 0, (name, kernel.name, constants, usage)
        assert 0 < usage.registers <= 512 and usage.shared <= 48 << 10, (name, kernel.name, usage)
        count += 1
    return count


def check_columns_spill_nothing(name: str, sizes: dict[str, int], architecture: str) -> int:
    """The kernels of a cell whose state is a matrix: forwards, with records, and backwards. The number of kernels."""
    lanes = arrange(lsrl.load(FOLDER / f"{name}.lsrl", None, **sizes).graph, dense=True).lanes
    adjoint = make_adjoint(lanes, False, None, TILE_LANES)
    found = 0
    for some in (lanes, recorded(lanes, adjoint.needs), adjoint.lanes):
        for text, kernel, constants, c in default_kernels(Parts.of(some), Options(), 8, 1024, 64):
            assert kernel.name == "sequential_kernel" and len(text) < 20_000
            used = compiled(text, kernel, constants, c, architecture)
            assert used.spilled == 0, (name, used)
            found += 1
    return found


def check_products_spill_nothing(units: int, architecture: str) -> int:
    """The kernels of an LSTM, forwards and backwards. The number of kernels."""
    from lsrl.backends.kernels.triton_dense import tile_lanes
    from tests.backends.kernels.test_dense import made

    model = made("lstm", torch.float32, "triton", d=3, k=units)
    adjoint = make_adjoint(model.lanes, False, {"out"})
    found = 0
    for lanes in (model.lanes, adjoint.lanes):
        parts = Parts.of(lanes)
        for text, kernel, constants, c in default_kernels(parts, Options(checks=False), 64, 1000, 1):
            assert constants["BD"] == tile_lanes(parts) == units
            used = compiled(text, kernel, constants, c, architecture)
            assert used.spilled == 0, (kernel.name, used)
            found += 1
    return found
