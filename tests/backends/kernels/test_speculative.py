"""Chunks of a sequence at once, from the states that the letters before them leave possible: as a token at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
import torch

import lsrl
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.c_kernel import CKernel
from lsrl.backends.kernels.call import Call, Options, Shape, UnknownStateError, edge_dtype, state_dtype
from lsrl.backends.kernels.lanes import make_lanes
from lsrl.backends.kernels.speculate import may_converge, possible_states
from lsrl.backends.kernels.state_table import find_table
from tests.backends.kernels.machines import machine, parts_of, program_text, reached, walk

NEVER = torch.iinfo(torch.int64).max
MACHINES = [("converging", 17, 3), ("squares", 197, 3), ("pairs", 40, 3), ("permutation", 12, 2)]
EVERY = pytest.mark.parametrize("which", MACHINES, ids=lambda m: f"{m[0]} {m[1]}")
OPTIONS = Options(resets=True, packed=True)
Which = tuple[str, int, int]


@pytest.fixture(params=[1, 4], autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@cache
def kernel(which: Which) -> CKernel:
    return CKernel(parts_of(*which), OPTIONS)


def run(k: CKernel, x: torch.Tensor, before: list[int], reverse: bool = False, resets: torch.Tensor | None = None,
        offsets: torch.Tensor | None = None, chunks: int = 0,
        shape: Shape = "speculative") -> tuple[torch.Tensor, list[int]]:
    """Outputs and final states; with `chunks`, sequences are cut into so many, whatever it costs."""
    (port,) = k.parts.lanes.states
    held = state_dtype(port, k.parts, OPTIONS)
    call = Call(len(before), x.shape[-1], {"x": x}, outputs_like(k, x),
                {"q": torch.tensor(before, dtype=held)}, {"q": torch.full((len(before),), 77, dtype=held)},
                resets=resets, offsets=offsets, reverse=reverse)
    if chunks:
        lengths = [call.tokens] * call.rows if offsets is None else offsets.diff().tolist()
        cut = k._speculation.cut + sum(n >= 32 for n in lengths)
        k._speculation.launch(call, chunks, len(k._speculation.table.states))
        assert k._speculation.cut == cut and k._speculation.whole == 0
    else:
        k.launch(call, shape)
    return call.outputs["out"], call.after["q"].tolist()


def outputs_like(k: CKernel, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Outputs for an input, filled with what a kernel must overwrite."""
    return {p.name: torch.full(x.shape, 77).to(edge_dtype(p, k.options)) for p in k.parts.lanes.outputs}


def starts_of(k: CKernel, count: int) -> list[int]:
    """States that the program reaches."""
    table = find_table(k.parts, True)
    assert table is not None
    return [table.states[(7 * i) % len(table.states)][0] for i in range(count)]


def letters(which: Which, rows: int, tokens: int) -> torch.Tensor:
    return torch.randint(0, which[2], (rows, tokens), generator=torch.Generator().manual_seed(tokens)).to(torch.uint8)


@EVERY
@pytest.mark.parametrize("tokens", [0, 1, 31, 32, 33, 63, 65, 127, 129, 8195])
def test_any_length_is_the_walk_through_the_table(which: Which, tokens: int, threads: int) -> None:
    k, table = kernel(which), machine(*which)
    x = letters(which, 2, tokens)
    before = starts_of(k, 2)
    for reverse in (False, True):
        for chunks in (3, 4 * threads):
            out, after = run(k, x, before, reverse, chunks=chunks)
            for r, word in enumerate(x.tolist()):
                want = walk(table, word[::-1] if reverse else word, before[r])
                assert out[r].tolist() == (want[::-1] if reverse else want)
                assert after[r] == (want[-1] if want else before[r])


@EVERY
def test_resets_and_packed_sequences(which: Which) -> None:
    k, table = kernel(which), machine(*which)
    cuts = [0, 0, 3000, 3010, 8000, 8001]
    x = letters(which, 1, cuts[-1])[0]
    before = starts_of(k, len(cuts) - 1)
    for often in (0.0, 1e-3, 0.02, 0.3):
        resets = torch.rand(len(x), generator=torch.Generator().manual_seed(1)) < often
        for reverse in (False, True):
            out, after = run(k, x, before, reverse, resets if often else None, torch.tensor(cuts), 5)
            for r in range(len(before)):
                step = slice(None, None, -1 if reverse else 1)
                word = x[cuts[r] : cuts[r + 1]].tolist()[step]
                want = walk(table, word, before[r], resets[cuts[r] : cuts[r + 1]].tolist()[step])
                assert out[cuts[r] : cuts[r + 1]].tolist()[step] == want
                assert after[r] == (want[-1] if want else before[r])


@EVERY
@pytest.mark.parametrize("cuts", [[0, 4095], [0, 4096], [0, 4097], [0, 20_003], [0, 300_001],
                                  [0, 18_000, 18_001, 40_000]])
def test_few_rows_are_run_in_chunks_by_one_thread_too(which: Which, cuts: list[int]) -> None:
    """The table shape, of rows that are too few to run side by side."""
    k, table = kernel(which), machine(*which)
    x = letters(which, 1, cuts[-1])[0]
    before = starts_of(k, len(cuts) - 1)
    out, after = run(k, x, before, offsets=torch.tensor(cuts), shape="table")
    for r in range(len(before)):
        want = walk(table, x[cuts[r] : cuts[r + 1]].tolist(), before[r])
        assert out[cuts[r] : cuts[r + 1]].tolist() == want and after[r] == want[-1]


@EVERY
def test_three_rows_are_run_in_chunks_one_by_one(which: Which) -> None:
    k = kernel(which)
    x = letters(which, 3, 20_003)
    before = starts_of(k, 3)
    out, after = run(k, x, before, shape="table")
    for r, word in enumerate(x.tolist()):
        want = walk(machine(*which), word, before[r])
        assert out[r].tolist() == want and after[r] == want[-1]


def test_what_converges_is_cut_and_what_does_not_is_run_whole(threads: int) -> None:
    """Pairs of states are two for ever, for which one thread is too few; a permutation leaves all of them."""
    for which in MACHINES:
        k = CKernel(parts_of(*which), OPTIONS)
        run(k, letters(which, 1, 800_003), [0])
        assert (k._speculation.cut, k._speculation.whole) == \
            ((0, 1) if which[0] == "permutation" or which[0] == "pairs" and threads == 1 else (1, 0))


def test_many_states_that_letters_permute_have_no_such_shape() -> None:
    table = find_table(parts_of("permutation", 24, 2), True)
    assert table is not None and not may_converge(table)
    assert CKernel(parts_of("permutation", 24, 2), OPTIONS).shapes == ("sequential", "table")


def test_a_text_that_brings_nothing_together_is_run_whole_and_asked_for_less_often() -> None:
    """Letter 0 alone permutes, although others do not."""
    text = ("program hold(x: int[0..9]) -> int[0..99]:\n    state s: int[0..99] = 0\n"
            "    s := (s + 7) % 100 if x == 0 else max(s - x, 0)\n    return s\n")
    k = CKernel(Parts.of(make_lanes(lsrl.parse(text).graph)), Options())
    x = torch.zeros(1, 9000, dtype=torch.uint8)
    for _ in range(20):
        call = Call(1, 9000, {"x": x}, outputs_like(k, x), {}, {})
        k.launch(call, "speculative")
        assert call.outputs["out"][0].tolist() == [7 * (t + 1) % 100 for t in range(9000)]
    assert k._speculation.cut == 0 and k._speculation.whole == 20
    asked = []
    k._speculation._possible = lambda call: asked.append(call) or [[0]] * call.rows  # type: ignore[func-returns-value]
    for _ in range(20):
        k.launch(Call(1, 9000, {"x": x}, {}, {}, {}), "table")
    assert not asked


@EVERY
def test_the_states_that_are_left_possible(which: Which) -> None:
    """Those of some number of last letters, so that the right one is among them whatever came before."""
    parts, table = parts_of(*which), machine(*which)
    found = find_table(parts, True)
    assert found is not None
    every = [q for q, in found.states]
    x = letters(which, 3, 1000)
    resets = torch.rand(3, 1000, generator=torch.Generator().manual_seed(1)) < 0.002
    for reverse in (False, True):
        for anew in (None, resets):
            call = Call(3, 1000, {"x": x}, {}, {}, {}, resets=anew, reverse=reverse)
            answers = [possible_states(found, call)]
            answers += [kernel(which)._possible(call)] if may_converge(found) else []
            for sets in answers:
                for r, numbers in enumerate(sets):
                    word = x[r].tolist()[:: -1 if reverse else 1]
                    flags = [False] * 1000 if anew is None else anew[r].tolist()[:: -1 if reverse else 1]
                    states = {every[q] for q in numbers}
                    assert len(states) == len(numbers)
                    assert any(states == reached(table, word[-n:], every, flags[-n:]) for n in (16, 64, 256, 1000))


def test_how_many_states_are_left_possible() -> None:
    for which, left in ((MACHINES[0], 1), (MACHINES[2], 2), (("permutation", 24, 2), 24)):
        found = find_table(parts_of(*which), True)
        assert found is not None
        sets = possible_states(found, Call(2, 4096, {"x": letters(which, 2, 4096)}, {}, {}, {}))
        assert [len(s) for s in sets] == [left, left]


@pytest.mark.parametrize("which", [MACHINES[0], MACHINES[2]], ids=lambda m: m[0])
def test_a_wrong_set_of_states_is_noticed(which: Which) -> None:
    """A set without the right state gives other outputs than the walk through the table."""
    k = CKernel(parts_of(*which), OPTIONS)
    right, count = k._speculation._possible, len(k._speculation.table.states)
    x = letters(which, 1, 40_003)
    want = walk(machine(*which), x[0].tolist(), 0)
    assert run(k, x, [0], chunks=4)[0][0].tolist() == want
    k._speculation._possible = lambda call: [[(q + 1) % count for q in s] for s in right(call)]
    assert run(k, x, [0], chunks=4)[0][0].tolist() != want


@pytest.mark.parametrize("place", [None, 30, 9000, 200_001, 400_001])
def test_the_first_check_that_fails_is_told(place: int | None) -> None:
    text = ("program bounded(x: int[0..2]) -> int[0..30]:\n    state s: int[0..30] = 0\n    s := max(s + x - 1, 0)\n"
            "    return s\n")
    k = CKernel(Parts.of(make_lanes(lsrl.parse(text).graph)), Options())
    generator = torch.Generator().manual_seed(5)
    x = torch.tensor([0, 0, 1, 2], dtype=torch.uint8)[torch.randint(0, 4, (1, 400_003), generator=generator)]
    if place is not None:
        x[0, max(0, place - 60) : place + 1] = 2
    shapes: tuple[Shape, ...] = ("sequential", "table", "speculative")
    calls = [Call(1, 400_003, {"x": x}, outputs_like(k, x), {}, {}, failed=torch.full((1,), NEVER)) for _ in shapes]
    for call, shape in zip(calls, shapes, strict=True):
        k.launch(call, shape)
    failed = [int(c.failed) for c in calls if c.failed is not None]
    assert failed == failed[:1] * 3 and (failed[0] == NEVER) == (place is None)
    until = min(failed[0], 400_003)
    for call in calls[1:]:
        assert torch.equal(calls[0].outputs["out"][:, :until], call.outputs["out"][:, :until])
    assert k._speculation.cut == 1


def test_a_state_that_is_never_reached_is_refused_with_nothing_done() -> None:
    text = ("program p(x: int[0..1]) -> int[0..40]:\n    state q: int[0..40] = 0\n    q := (q * 2 + x) % 41 % 3\n"
            "    return q\n")
    k = CKernel(Parts.of(make_lanes(lsrl.parse(text).graph)), OPTIONS)
    with pytest.raises(UnknownStateError):
        run(k, torch.zeros(2, 100, dtype=torch.uint8), [0, 40])


def test_modules_take_it_for_few_long_sequences_and_steps_are_the_scan(threads: int) -> None:
    which = MACHINES[1]
    program = lsrl.parse(program_text(*which))
    found = lsrl.compile(program, target="c")
    operator = found._operator(found.dtype)
    k = operator.kernel(torch.device("cpu"), False, False)
    assert isinstance(k, CKernel)
    x = letters(which, 1, 1 << 19)
    y, _ = found(x)
    assert (k._speculation.cut, k._speculation.whole) == (int(threads == 4), 0)
    assert y[0].tolist() == walk(machine(*which), x[0].tolist(), 0)
    found = lsrl.compile(program, target="c", shape="speculative")
    x = letters(which, 1, 3000)
    y, after = found(x)
    head, state = found(x[:, :1701])
    tail, state = found(x[:, 1701:], state)
    assert torch.equal(torch.cat([head, tail], 1), y) and torch.equal(state["q"], after["q"])
    now = None
    for t in range(200):
        one, now = found.step(x[:, t], now)
        assert torch.equal(one, y[:, t])
