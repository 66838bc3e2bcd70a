"""Random programs over reals without a grid: whatever is hosted with an error is within its bound."""

from __future__ import annotations

import random

import pytest
import torch

import lsrl
from lsrl.backends.registry import TARGETS, compile_graph
from lsrl.diagnostics import LsrlError
from tests.backends.approximate.programs import streams, worst


def random_program(seed: int) -> str:
    """Up to three states, in a chain or not, with leaks, sums, resets, holds, ReLUs and delays."""
    draw = random.Random(seed)

    def number() -> str:
        return f"{draw.choice((1, 3, 7, 19, 97, 313)) * draw.choice((1, -1))}/{draw.choice((2, 7, 10, 128, 1000))}"

    lines = [f"program random_{seed}(x: real[-1..2], y: real[0..1/3], c: bool) -> real:"]
    names = ["x", "y"]
    count = draw.randint(1, 3)
    for k in range(count):
        lines.append(f"    state s{k}: real = {draw.choice(('0', '0', number()))}")
    for k in range(count):
        leak = draw.choice(("0", "1/2", "9/10", "63/64", "1/1000", "-2/3"))
        add = f"{number()} * {draw.choice(names)} + {number()} * {draw.choice(names)} + {number()}"
        kind = draw.randrange(5)
        if kind == 0:
            new = f"{leak} * s{k} + {add}"
        elif kind == 1:
            new = f"{draw.choice(('0', add))} if c else {leak} * s{k} + {add}"
        elif kind == 2:
            new = f"{add} if c else s{k}"
        elif kind == 3:
            new = f"{leak} * s{k} + max({add}, {number()})"
        else:
            new = f"s{k} + {add}"
        lines.append(f"    s{k} := {new}")
        names.append(f"s{k}")
    lines.append(f"    return {number()} * {draw.choice(names)} + s{count - 1}")
    return "\n".join(lines) + "\n"


def check(seed: int, targets: list[str], length: int) -> int:
    """Compiles a random program for some targets and compares; returns how many host it."""
    graph = lsrl.parse(random_program(seed)).graph
    hosted = 0
    for target in targets:
        dtype = (torch.float32, torch.float64)[seed % 2]
        try:
            model = compile_graph(graph, target, dtype, approx=0.5)
        except LsrlError as refusal:
            if not {d.code for d in refusal.diagnostics} <= {"L402", "L404", "L417"}:
                raise
            continue
        hosted += 1
        certificate = model.certificate
        for k, rows in enumerate(streams(graph, 1, min(certificate.horizon or length, length), seed)[::2]):
            error = worst(graph, model, rows, stepwise=k == 1)
            assert error <= certificate.error, (seed, target, error, certificate.error)
    return hosted


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_are_within_their_bounds(seed: int) -> None:
    check(seed, list(TARGETS), 40)


def test_every_target_hosts_some_of_them() -> None:
    for target in TARGETS:
        assert any(check(seed, [target], 5) for seed in range(40)), target
