"""Of a refused program every cell that is refused by itself is named, and none is lowered in vain."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lsrl.backends.circuit import Circuit
from lsrl.backends.reasons import all_reasons
from lsrl.backends.refusal import RefusalError
from lsrl.backends.registry import find_target
from lsrl.diagnostics import Source
from lsrl.frontend.modules import read_module
from lsrl.ir.graph import Graph
from lsrl.passes import run_pipeline
from tests.corpus import CORPUS

# `w` and `after` depend on `u`; `v` and `kept` do not, and `kept` is a latch, which is hosted.
CELLS = """program p(a: bool, b: bool) -> (u: bool, v: bool, w: bool, kept: bool, after: bool):
    state u: bool = false
    state v: bool = false
    state w: bool = false
    state kept: bool = false
    state after: bool = false
    u := u != a
    v := v != b
    w := w != u
    kept := b if a else kept
    after := w != after
    return (u = u, v = v, w = w, kept = kept, after = after)
"""


def refused(graph: Graph, target: str) -> tuple[RefusalError, list[str]]:
    """The refusal, and the first output of each program that was lowered for it."""
    row = find_target(target)
    lowered: list[str] = []

    def lower(part: Graph) -> Circuit:
        lowered.append(part.outputs[0][0])
        return row.lower(part, row.name, torch.float32)

    with pytest.raises(RefusalError) as first:
        row.lower(graph, row.name, torch.float32)
    return all_reasons(lower, graph, first.value), lowered


def test_cells_are_named_that_depend_on_none_that_is_refused() -> None:
    graph = run_pipeline(read_module(Source("case.lsrl", CELLS), Path()).elaborate())
    error, lowered = refused(graph, "mingru")
    names = [d.message.split("`")[3] for d in error.diagnostics]
    assert sorted(names) == ["u", "v"]
    assert sorted(lowered) == ["kept", "u", "v"]


def test_a_program_in_which_all_depends_on_one_cell_is_refused_at_once() -> None:
    example = next(case for case in CORPUS if case.name == "tok2tok_3")
    error, lowered = refused(run_pipeline(example.program.graph), "lru")
    assert len(error.diagnostics) == len(lowered) == 1
