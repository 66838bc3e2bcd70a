"""Generated Triton kernels, in Triton's interpreter (on a GPU where there is one): every example, every shape."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import pytest

import lsrl
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.lanes import make_lanes
from tests.backends.kernels import triton_runs
from tests.corpus import CORPUS, Case

pytest.importorskip("triton", reason="Triton is for Linux")

CASES = pytest.mark.parametrize("case", CORPUS, ids=lambda c: c.name)
LARGER = ("tok2tok_5", "tok2tok_10", "vec2vec_2_2", "vec2vec_3_2")  # as smaller ones, with more registers
# one of each class: cuts, and in every shape resets, packed sequences and the last token first
CLASSES = ("parity", "tomita_3", "run_length", "greatest", "leaky_unit", "delay_3", "induction_head", "mod_5", "queue")


def has_scans(case: Case) -> bool:
    return Parts.of(make_lanes(lsrl.load(case.file).graph)).parallel is not None


@CASES
def test_the_sequential_shape_equals_the_interpreter(case: Case, process: ProcessPoolExecutor) -> None:
    process.submit(triton_runs.check_packed, case.name, "sequential").result()
    if case.name in CLASSES:
        process.submit(triton_runs.check_whole, case.name, "sequential", 19, 9).result()


@CASES
def test_blocks_of_time_equal_the_interpreter(case: Case, process: ProcessPoolExecutor) -> None:
    if not has_scans(case) or case.name in LARGER:
        return
    if case.name in CLASSES:
        process.submit(triton_runs.check_whole, case.name, "block", 19, 9).result()
        process.submit(triton_runs.check_packed, case.name, "block").result()
    else:
        process.submit(triton_runs.check_whole, case.name, "block", 13).result()


@CASES
def test_chunks_of_time_equal_the_interpreter(case: Case, process: ProcessPoolExecutor) -> None:
    if not has_scans(case) or case.name in (*LARGER, "tok2tok_3"):
        return
    if case.name in CLASSES:
        process.submit(triton_runs.check_packed, case.name, "split").result()
    else:
        process.submit(triton_runs.check_whole, case.name, "split", 13).result()
