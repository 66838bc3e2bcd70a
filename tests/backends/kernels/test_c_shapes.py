"""Generated C, every shape: every example gives what the interpreter gives, bit for bit where it is exact.

What a text calculates is seen without optimising it; a test runs each example's own kernel as users get it, too. The
kernels of chunks are optimised in `test_c_split`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch

import lsrl
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.c_kernel import CKernel
from lsrl.backends.kernels.call import Call, Options, Shape
from lsrl.backends.kernels.lanes import make_lanes
from tests.backends.kernels.batches import (
    NEVER,
    Layout,
    make_call,
    packed_call,
    shown,
    spread_out,
    state_tensors,
    time_major,
    wanted,
)
from tests.backends.kernels.test_bodies import coded
from tests.corpus import CORPUS, Case

FLOAT64 = Options(edge=torch.float64, carry=torch.float64, resets=True, packed=True)
TOKENS = 131  # two tiles and a little
pytestmark = pytest.mark.usefixtures("quick_kernels")
CASES = pytest.mark.parametrize("case", CORPUS, ids=lambda c: c.name)
Shown = list[dict[str, list[Any]]]


@cache
def program_of(case: Case) -> lsrl.Program:
    return lsrl.load(case.file)


@cache
def kernel(case: Case, options: Options) -> CKernel:
    return CKernel(Parts.of(make_lanes(program_of(case).graph)), options)


@cache
def sequence(case: Case, seed: int, tokens: int = TOKENS) -> list[dict[str, Any]]:
    return coded(case, program_of(case), seed, tokens)


@cache
def expected(case: Case, seed: int, tokens: int = TOKENS) -> Shown:
    return wanted(program_of(case), sequence(case, seed, tokens))


def same(got: Shown, want: Shown, exact: bool) -> bool:
    """Equal bit for bit; within a few roundings where a rational has no step and is held as a float."""
    if exact:
        return got == want
    return len(got) == len(want) and all(abs(a - b) <= 1e-12 * (1 + abs(b)) for p, q in zip(got, want, strict=True)
                                         for n in q for a, b in zip(p[n], q[n], strict=True))


def as_the_interpreter(case: Case) -> bool:
    """Whether reals are what they are in the interpreter: exact, or floats there too."""
    storage = kernel(case, FLOAT64).parts.storage
    return storage.exact or program_of(case).graph.numeric


def shapes(k: CKernel) -> tuple[Shape, ...]:
    """The shapes of a kernel that give the same bits: splitting rounds floats otherwise, and has a test of its own."""
    return k.shapes if k.parts.storage.exact else tuple(s for s in k.shapes if s != "split")


def runs(case: Case, **call: Any) -> Iterator[tuple[CKernel, Call]]:
    """The call, made and launched in every shape."""
    k = kernel(case, FLOAT64)
    for shape in shapes(k):
        made = make_call(k.parts, FLOAT64, **call)
        k.launch(made, shape)
        yield k, made


@CASES
@pytest.mark.parametrize("layout", [lambda x: x, time_major, spread_out], ids=["rows", "tokens", "gaps"])
def test_every_example_equals_the_interpreter_in_any_layout(case: Case, layout: Layout) -> None:
    for rows in (1, 11):  # one stream alone; groups of slots and streams that are left
        for k, call in runs(case, sequences=[sequence(case, s) for s in range(rows)], layout=layout):
            assert call.failed is not None and int(call.failed.min()) == NEVER
            for s, got in enumerate(shown(k.parts, call.outputs)):
                assert same(got, expected(case, s), as_the_interpreter(case))


@CASES
def test_optimising_changes_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LSRL_CFLAGS")
    k = CKernel(kernel(case, FLOAT64).parts, FLOAT64)
    for shape in shapes(k):
        for rows in (1, 11) if shape != "split" else ():
            call = make_call(k.parts, FLOAT64, [sequence(case, s) for s in range(rows)])
            k.launch(call, shape)
            for s, got in enumerate(shown(k.parts, call.outputs)):
                assert same(got, expected(case, s), as_the_interpreter(case))


@CASES
def test_a_sequence_cut_anywhere_goes_on_from_its_state(case: Case) -> None:
    for rows in (1, 5):
        wholes = [call for _, call in runs(case, sequences=[sequence(case, s) for s in range(rows)])]
        for cut in (0, 1, 64, TOKENS):
            firsts = [call for _, call in runs(case, sequences=[sequence(case, s)[:cut] for s in range(rows)])]
            for whole, first in zip(wholes, firsts, strict=True):
                for _, then in runs(case, sequences=[sequence(case, s)[cut:] for s in range(rows)],
                                    before=first.after):
                    for name, x in whole.outputs.items():
                        assert torch.equal(torch.cat([first.outputs[name], then.outputs[name]], 1), x)
                    for name, x in whole.after.items():
                        assert torch.equal(then.after[name], x)


@CASES
def test_states_are_the_programs_own(case: Case) -> None:
    program, parts = program_of(case), kernel(case, FLOAT64).parts
    if not as_the_interpreter(case):
        return
    states = []
    for s in range(3):
        now = program._interpreter.initial_state()
        for row in sequence(case, s)[:40]:
            _, now = program._interpreter.step(now, row)
        states.append(now)
    tensors = state_tensors(parts, FLOAT64, states)
    for _, call in runs(case, sequences=[sequence(case, s)[:40] for s in range(3)]):
        for name, x in tensors.items():
            assert torch.equal(call.after[name], x)
    for _, call in runs(case, sequences=[sequence(case, s)[40:] for s in range(3)], before=tensors):
        for s, got in enumerate(shown(parts, call.outputs)):
            assert got == expected(case, s)[40:]


@CASES
def test_resets_start_anew(case: Case) -> None:
    for rows in (1, 6):
        resets = [[random.Random(r * 1000 + t).random() < 0.1 for t in range(TOKENS)] for r in range(rows)]
        want = []
        for s in range(rows):
            cuts = [0, *(t for t in range(1, TOKENS) if resets[s][t]), TOKENS]
            want.append([x for a, b in pairwise(cuts) for x in wanted(program_of(case), sequence(case, s)[a:b])])
        for k, call in runs(case, sequences=[sequence(case, s) for s in range(rows)], resets=resets):
            for s, got in enumerate(shown(k.parts, call.outputs)):
                assert same(got, want[s], as_the_interpreter(case))


@CASES
@pytest.mark.parametrize("reverse", [False, True])
def test_packed_sequences_are_sequences(case: Case, reverse: bool) -> None:
    k = kernel(case, FLOAT64)
    lengths = [0, 3, 64, 1, 0, 65, 130, 7, *range(12), 0]
    for count in (2, len(lengths)):
        sequences = [sequence(case, s)[: lengths[s]] for s in range(count)]
        given = [rows[::-1] for rows in sequences] if reverse else sequences
        want = [x for s in range(count) for x in expected(case, s)[: lengths[s]][:: -1 if reverse else 1]]
        for shape in shapes(k):
            call = packed_call(k.parts, FLOAT64, given, reverse=reverse)
            k.launch(call, shape)
            got = shown(k.parts, {n: x.unsqueeze(0) for n, x in call.outputs.items()})[0]
            assert same(got, want, as_the_interpreter(case))


@CASES
def test_reverse_runs_from_the_last_token(case: Case) -> None:
    for rows in (1, 5):
        for k, call in runs(case, sequences=[sequence(case, s)[::-1] for s in range(rows)], reverse=True):
            for s, got in enumerate(shown(k.parts, call.outputs)):
                assert same(got[::-1], expected(case, s), as_the_interpreter(case))


@CASES
def test_nothing_to_do_is_done(case: Case) -> None:
    start = program_of(case)._interpreter.initial_state()
    for rows in (0, 1, 5):
        for k, call in runs(case, sequences=[[]] * rows):
            for name, x in (state_tensors(k.parts, FLOAT64, [start] * rows) if rows else {}).items():
                assert torch.equal(call.after[name], x)


def test_outputs_that_are_inputs_or_constants_as_they_stand() -> None:
    program = lsrl.parse("""
program p(x: int[0..2][2, 3], v: bool[2], on: bool) -> (x: int[0..2][2, 3], v: bool[2], k: int[0..9][3], m: bool[2, 2]):
    return (x = x, v = v, k = [7, 8, 9], m = [v, [true, on]])
""")
    k = CKernel(Parts.of(make_lanes(program.graph)), FLOAT64)
    rows = [{"x": ((t % 3, 1, 2), (0, 1, t % 2)), "v": (t % 2 == 0, t % 3 == 0), "on": t % 5 == 0} for t in range(70)]
    for shape in shapes(k):
        for count in (1, 5):
            call = make_call(k.parts, FLOAT64, [rows] * count)
            k.launch(call, shape)
            assert shown(k.parts, call.outputs) == [wanted(program, rows)] * count
