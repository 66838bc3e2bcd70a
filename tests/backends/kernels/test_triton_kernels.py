"""Generated Triton: lanes, float types, functions, checks, combine functions, machine code, and what goes wrong."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lsrl.backends.kernels.call import Options, Shape
from lsrl.backends.kernels.triton_kernel import Configuration, TritonKernel, configurations, imported
from lsrl.diagnostics import LsrlError
from tests.backends.kernels import gradchecks, triton_combines, triton_compiles, triton_runs
from tests.backends.kernels.batches import make_call
from tests.backends.kernels.processes import one_process
from tests.backends.kernels.triton_runs import kernel_of, lanes_of, sequence

pytest.importorskip("lsrl.backends.kernels.triton_kernel")

SHAPES: tuple[Shape, ...] = ("sequential", "block", "split")
SCANNED = ("parity", "mod_5", "tomita_3", "modular_arithmetic", "leaky_unit", "run_length", "greatest", "set_reset",
           "induction_head", "majority", "delay_3", "mean_so_far", "balanced")


@pytest.fixture(scope="module")
def compiler() -> Iterator[ProcessPoolExecutor]:
    with one_process(interpreted=False) as pool:
        yield pool


@pytest.mark.parametrize("shape", SHAPES)
def test_lanes_are_as_many_as_the_tensors_have(shape: Shape, process: ProcessPoolExecutor) -> None:
    process.submit(triton_runs.check_lanes, shape, 5, 3).result()


@pytest.mark.parametrize(("name", "sizes"), [
    ("gru", {"d": 2, "k": 5}), ("gru", {"d": 2, "k": 34}), ("heads", {"h": 2, "d": 3, "k": 2}),
    ("gate_of_all", {"k": 9})])
def test_lanes_meet_in_products(name: str, sizes: dict[str, int], process: ProcessPoolExecutor) -> None:
    process.submit(triton_runs.check_products, name, sizes).result()


@pytest.mark.parametrize("which", [("register", 64, 2), ("parities", 32, 2)], ids=lambda m: m[0])
def test_chunks_from_the_states_that_are_possible(which: tuple[str, int, int], process: ProcessPoolExecutor) -> None:
    process.submit(triton_runs.check_speculative, which, 70).result()


@pytest.mark.parametrize("shape", SHAPES)
def test_states_in_range_that_are_never_reached(shape: Shape, process: ProcessPoolExecutor) -> None:
    process.submit(triton_runs.check_any_start, shape).result()


@pytest.mark.parametrize(("name", "option", "order"), [
    ("delay", "from_state", 2), ("latch", "resets", 1), ("tropical", "plain", 2)])
def test_gradients(name: str, option: str, order: int, process: ProcessPoolExecutor) -> None:
    """Some of the checks that `python -m benchmarks.gradcheck_table` makes."""
    process.submit(gradchecks.check, name, option, "triton", order).result()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_first_failing_token_of_each_row_is_told(shape: Shape, process: ProcessPoolExecutor) -> None:
    process.submit(triton_runs.check_failures, shape).result()


@pytest.mark.parametrize("shape", SHAPES)
def test_no_tokens_and_no_rows(shape: Shape, process: ProcessPoolExecutor) -> None:
    process.submit(triton_runs.check_nothing, shape).result()


@pytest.mark.parametrize("shape", SHAPES)
def test_states_that_are_not_given(shape: Shape, process: ProcessPoolExecutor) -> None:
    process.submit(triton_runs.check_some_states, shape).result()


@pytest.mark.parametrize("shape", SHAPES)
def test_adjoints_are_kernels_too(shape: Shape, process: ProcessPoolExecutor) -> None:
    process.submit(triton_runs.check_adjoint, shape).result()


@pytest.mark.parametrize("shape", SHAPES)
def test_newton_over_time(shape: Shape, process: ProcessPoolExecutor) -> None:
    process.submit(triton_runs.check_newton, shape).result()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("edge, carry, bound", [
    (torch.bfloat16, torch.float32, 2**-7), (torch.float16, torch.float32, 2**-10),
    (torch.float64, torch.float64, 1e-14)], ids=["bfloat16", "float16", "float64"])
def test_float_types_of_edges(shape: Shape, edge: torch.dtype, carry: torch.dtype, bound: float,
                              process: ProcessPoolExecutor) -> None:
    process.submit(triton_runs.check_edges, shape, edge, carry, bound).result()


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "sigmoid", "tanh", "softplus", "silu", "sin", "cos"])
def test_functions_are_right_from_0_to_infinity(name: str, process: ProcessPoolExecutor) -> None:
    process.submit(triton_runs.check_function, name, torch.float64, 4e-15).result()
    # `exp` of a GPU itself is good to (2 + |x|) · 2⁻²⁴, as is what is made of it
    process.submit(triton_runs.check_function, name, torch.float32,
                   1e-5 if torch.cuda.is_available() else 1e-6).result()


@pytest.mark.parametrize("name", SCANNED)
def test_combine_functions_are_associative_and_compose(name: str, process: ProcessPoolExecutor) -> None:
    process.submit(triton_combines.check_combines, name, True).result()


@pytest.mark.parametrize("name, spoil", [
    ("run_length", ("* first_1)", "* then_1)")), ("set_reset", ("tl.where(then_0", "tl.where(first_0")),
    ("mod_5", ("first_0 + then_0", "first_0 - then_0"))])
def test_a_wrong_combine_function_is_caught(name: str, spoil: tuple[str, str], process: ProcessPoolExecutor) -> None:
    with pytest.raises(AssertionError):
        process.submit(triton_combines.check_combines, name, False, spoil).result()


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "gfx942"])
@pytest.mark.parametrize("name, shapes", [
    ("parity", ("sequential", "block")), ("tomita_3", ("block",)), ("leaky_unit", ("split",)),
    ("run_length", ("block",)), ("gated", ("sequential", "block"))], ids=lambda x: x if isinstance(x, str) else "")
def test_machine_code_spills_nothing(name: str, shapes: tuple[Shape, ...], architecture: str,
                                     compiler: ProcessPoolExecutor) -> None:
    assert compiler.submit(triton_compiles.check_no_spills, name, architecture, shapes).result() >= len(shapes)


@pytest.mark.parametrize(("units", "architecture"), [(16, "gfx942"), (64, "sm_80"), (128, "sm_90")])
def test_products_spill_nothing(units: int, architecture: str, compiler: ProcessPoolExecutor) -> None:
    assert compiler.submit(triton_compiles.check_products_spill_nothing, units, architecture).result() == 2


@pytest.mark.parametrize(("name", "sizes", "architecture"), [
    ("mamba", {"d": 64, "n": 16}, "gfx942"), ("gla", {"d": 64, "m": 64}, "sm_80"),
    ("deltanet", {"d": 64, "m": 64}, "sm_90")], ids=str)
def test_columns_spill_nothing(name: str, sizes: dict[str, int], architecture: str,
                               compiler: ProcessPoolExecutor) -> None:
    assert compiler.submit(triton_compiles.check_columns_spill_nothing, name, sizes, architecture).result() == 3


@pytest.mark.parametrize("name", ["gated", "gated_shared", "latch", "tropical", "ema", "lru", "indrnn"])
def test_types_of_kernels_and_their_gradients(name: str, compiler: ProcessPoolExecutor) -> None:
    assert compiler.submit(triton_compiles.check_types, name).result() >= 2


@pytest.mark.parametrize(("shape", "packed", "kernels"), [("sequential", False, 2), ("split", True, 8)])
def test_launches_pass_what_kernels_take(shape: Shape, packed: bool, kernels: int,
                                         compiler: ProcessPoolExecutor) -> None:
    assert compiler.submit(triton_compiles.check_launches, shape, packed).result() == kernels


def test_texts_stand_alone_and_do_not_depend_on_the_number_of_lanes() -> None:
    three, five = (TritonKernel(lanes_of(n), Options(), "plan of lanes") for n in (3, 5))
    assert three.source == five.source
    tree = ast.parse(three.source)
    modules = {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert modules == {"functools", "torch", "triton"}
    assert not any(isinstance(n, ast.ImportFrom) for n in ast.walk(tree))
    assert three.source.startswith("# plan of lanes")


def test_triton_is_loaded_when_a_kernel_runs() -> None:
    code = ("import sys, lsrl, lsrl.cli.main; from lsrl.backends.kernels.triton_kernel import TritonKernel; "
            "from tests.backends.kernels.triton_runs import kernel_of; from lsrl.backends.kernels.call import Options; "
            "kernel_of('parity', Options()); print('triton' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_is_a_way_out() -> None:
    kernel = kernel_of("parity", Options())
    with pytest.raises(LsrlError) as caught:
        kernel.launch(make_call(kernel.parts, Options(), [sequence("parity", 1, 5)]), "sequential")
    (told,) = caught.value.diagnostics
    assert told.code == "L413" and "target=\"c\"" in told.help


class OutOfResources(Exception):  # noqa: N818  (Triton's own name)
    pass


def test_a_tile_that_does_not_fit_becomes_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    tried: list[tuple[Shape, int]] = []

    def launch(shape: Shape, *_: Any, BT: int, fits: int = 32, **__: Any) -> None:
        tried.append((shape, BT))
        if shape != "sequential" and fits < BT:
            raise OutOfResources("shared memory")

    kernel = TritonKernel(kernel_of("parity", Options()).parts, Options())
    call = make_call(kernel.parts, Options(), [sequence("parity", 1, 200)])
    variant = kernel._variant(Options())
    vars(variant)["module"] = SimpleNamespace(launch=launch)
    kernel.launch(call, "block")
    tiles = [tile for _, tile in tried]
    assert tiles == sorted(tiles, reverse=True) and tiles[0] > 32 and tiles[-1] == 32
    tried.clear()
    kernel.launch(call, "block")
    assert tried == [("block", 32)]  # what does not fit is not tried again
    vars(variant)["module"] = SimpleNamespace(launch=lambda *a, **k: launch(*a, fits=0, **k))
    tried.clear()
    kernel.launch(call, "block")
    assert tried[-1][0] == "sequential"


def test_configurations_fit_the_call() -> None:
    parts = kernel_of("parity", Options()).parts
    for rows, tokens in ((1, 1), (3, 40), (1000, 100_000)):
        for shape in SHAPES:
            for c in configurations(parts, shape, rows, tokens, 1):
                assert all(x & (x - 1) == 0 and x > 0 for x in (c.streams, c.tile, c.group, c.warps))
    # a length in the same range compiles nothing anew
    assert list(configurations(parts, "block", 8, 70_000, 1)) == list(configurations(parts, "block", 8, 90_001, 1))
    assert next(configurations(parts, "block", 8, 1 << 20, 1)) != Configuration(1, 1, 1, 1)


def test_a_text_that_is_no_python_is_not_kept_as_a_module() -> None:
    known = set(sys.modules)
    with pytest.raises(SyntaxError):
        imported("def broken(:\n")
    assert {n for n in sys.modules if n.startswith("lsrl_triton")} <= known
