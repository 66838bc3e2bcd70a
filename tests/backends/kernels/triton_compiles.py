"""Compiling Triton kernels to machine code, in a process of its own."""

from __future__ import annotations

from typing import Any

import torch

import lsrl
from lsrl.backends.kernels.adjoint import make_adjoint
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.call import Options, Shape
from lsrl.backends.kernels.lanes import make_lanes
from lsrl.backends.kernels.triton_compile import compiled, default_kernels, typed
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
