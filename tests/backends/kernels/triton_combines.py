"""Whether the combine functions of generated Triton texts are associative, and compose what the scans say they do."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product

import torch

from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.call import Options
from lsrl.backends.kernels.code import Constant, Kind
from lsrl.backends.kernels.lanes import make_lanes
from lsrl.backends.kernels.scans import Clamp, Cyclic, Latch, Maps, Scan, Segmented, Shift, packed
from lsrl.backends.kernels.triton_kernel import imported
from lsrl.backends.kernels.triton_text import triton_text
from tests.backends.kernels.by_hand import combined
from tests.backends.kernels.triton_runs import DEVICE, program_of

Element = tuple[Constant, ...]
MOST = 512  # triples of elements
SAMPLE = 24  # pairs that are compared with the scan's own combine


def check_combines(name: str, resets: bool, spoil: tuple[str, str] | None = None) -> None:
    """Every combine function of an example's text. spoil: a change of the text, for tests of this test."""
    parts = Parts.of(make_lanes(program_of(name).graph))
    made = triton_text(parts, Options(resets=resets))
    body = parts.resettable if resets else parts.parallel
    assert body is not None
    text = made.text
    if spoil is not None:
        assert spoil[0] in text
        text = text.replace(*spoil)
    for scan, function in zip(body.scans, made.combines, strict=True):
        _check(scan, function, text, random.Random(name))


def _check(scan: Scan, function: str, text: str, rng: random.Random) -> None:
    n = len(scan.kinds)
    elements = _elements(scan, rng)
    every = len(elements) ** 3 <= MOST
    triples = list(product(elements, repeat=3)) if every else [
        (rng.choice(elements), rng.choice(elements), rng.choice(elements)) for _ in range(MOST)]
    module = imported(text + _harness(function, n))
    columns = [_column([t[side][i] for t in triples], scan.kinds[i]) for side in range(3) for i in range(n)]
    outputs = [torch.zeros_like(columns[i]) for _ in range(3) for i in range(n)]
    module.associate[(1,)](*columns, *outputs, N=len(columns[0]))
    left, right, pair = (outputs[n * k : n * k + n] for k in range(3))
    for i, kind in enumerate(scan.kinds):
        x, y = left[i][: len(triples)], right[i][: len(triples)]
        if kind == "float":
            torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-5)
        else:
            assert torch.equal(x, y), f"{function} is not associative"
    for k in range(0, len(triples), max(1, len(triples) // SAMPLE)):
        want = combined(scan, *triples[k][:2])
        for i in range(n):
            assert abs(pair[i][k].item() - want[i]) <= (1e-5 if scan.kinds[i] == "float" else 0), (function, triples[k])


def _elements(scan: Scan, rng: random.Random) -> list[Element]:
    """Elements of a scan: all of them where they are few."""
    if isinstance(scan, Segmented):
        return [(r, *x) for r in (False, True) for x in _elements(scan.inside, rng)]
    if isinstance(scan, Cyclic):
        return [(i,) for i in range(scan.count)]
    if isinstance(scan, Maps):
        return [(packed([rng.randrange(scan.count) for _ in range(scan.count)]),) for _ in range(64)]
    if isinstance(scan, Clamp):
        return [(rng.randint(-5, 5), lo, lo + rng.randint(0, 6)) for lo in range(-8, 8) for _ in range(4)]
    if isinstance(scan, Latch | Shift) and all(k == "bool" for k in scan.kinds):
        return list(product((False, True), repeat=len(scan.kinds)))
    draw: dict[Kind, Callable[[], Constant]] = {
        "bool": lambda: rng.random() < 0.5, "int32": lambda: rng.randint(-1 << 31, (1 << 31) - 1),
        "int64": lambda: rng.randint(-1 << 63, (1 << 63) - 1), "float": lambda: rng.uniform(-1, 1)}
    return [tuple(draw[k]() for k in scan.kinds) for _ in range(64)]


def _column(values: list[Constant], kind: Kind) -> torch.Tensor:
    dtype = {"bool": torch.int32, "int32": torch.int32, "int64": torch.int64, "float": torch.float32}[kind]
    size = 1 << (len(values) - 1).bit_length()
    return torch.tensor([int(x) if kind == "bool" else x for x in values] + [0] * (size - len(values)), dtype=dtype,
                        device=DEVICE)


def _harness(function: str, n: int) -> str:
    def names(letter: str) -> list[str]:
        return [f"{letter}{i}" for i in range(n)]

    a, b, c = names("a"), names("b"), names("c")
    outputs = {x: names(x) for x in ("left", "right", "pair")}
    pointers = [f"{x}_ptr" for x in (*a, *b, *c, *outputs["left"], *outputs["right"], *outputs["pair"])]
    lines = ["", "", "@triton.jit", f"def associate({', '.join(pointers)}, N: tl.constexpr):",
             "    at = tl.arange(0, N)"]
    lines += [f"    {x} = tl.load({x}_ptr + at)" for x in (*a, *b, *c)]

    def call(out: list[str], first: list[str], then: list[str]) -> str:
        return f"    {', '.join(out)} = {function}({', '.join((*first, *then))})"

    tail = names("tail")
    lines += [call(outputs["pair"], a, b), call(outputs["left"], outputs["pair"], c), call(tail, b, c),
              call(outputs["right"], a, tail)]
    lines += [f"    tl.store({x}_ptr + at, {x})" for xs in outputs.values() for x in xs]
    return "\n".join(lines) + "\n"
