"""The two bodies of a kernel mean what the interpreter means."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

import lsrl
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.lanes import make_lanes
from lsrl.values import flattened
from tests.backends.kernels.by_hand import run_parallel, run_step
from tests.corpus import CORPUS, OTHER, Case

TOKENS = 24


def coded(case: Case, program: lsrl.Program, seed: int, tokens: int = TOKENS) -> list[dict[str, Any]]:
    """Random inputs of a case, symbols as codes."""
    from lsrl.interpreter import read_inputs

    types = {n.name: n.type for n in program.graph.inputs}
    rows = case.rows(types, tokens, seed)
    return [dict(read_inputs(program.graph, {k: "\0" if v is OTHER else v for k, v in r.items()}, 0)) for r in rows]


def agrees(shown: list[dict[str, list[Any]]], wanted: list[dict[str, Any]], exact: bool) -> bool:
    got = shown
    expected = [{n: flattened(x) for n, x in row.items()} for row in wanted]
    if exact:
        return got == expected
    return all(abs(float(a) - float(b)) <= 1e-12 * (1 + abs(float(b))) for p, q in zip(got, expected, strict=True)
               for n in p for a, b in zip(p[n], q[n], strict=True))


@pytest.mark.parametrize("case", CORPUS, ids=lambda c: c.name)
def test_the_step_and_every_bracketing_of_the_scans_equal_the_interpreter(case: Case) -> None:
    program = lsrl.load(case.file)
    parts = Parts.of(make_lanes(program.graph))
    rows = coded(case, program, 1)
    wanted = list(program._interpreter.run(rows))
    assert agrees(run_step(parts, rows), wanted, parts.storage.exact)
    if parts.parallel is not None:
        assert agrees(run_parallel(parts, rows, random.Random(2)), wanted, parts.storage.exact)


@pytest.mark.parametrize("case", CORPUS, ids=lambda c: c.name)
def test_resets_start_anew(case: Case) -> None:
    program = lsrl.load(case.file)
    parts = Parts.of(make_lanes(program.graph))
    rows = coded(case, program, 3)
    resets = [random.Random(4 + t).random() < 0.2 for t in range(TOKENS)]
    cuts = [0, *(t for t in range(1, TOKENS) if resets[t]), TOKENS]
    wanted = [x for a, b in pairwise(cuts) for x in program._interpreter.run(rows[a:b])]
    assert agrees(run_step(parts, rows, resets=resets), wanted, parts.storage.exact)
    if parts.resettable is not None:
        assert agrees(run_parallel(parts, rows, random.Random(5), resets=resets), wanted, parts.storage.exact)
