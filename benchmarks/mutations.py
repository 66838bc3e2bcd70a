"""Does the verifier catch faults? Random single changes to the weights of compiled models, each verified.

`python -m benchmarks.mutations --count 200` prints the share of the changes that alter behaviour on random inputs and
are REFUTED. What alters behaviour is decided without the verifier: by running the changed model beside the program.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lsrl
from lsrl.ir.graph import Graph
from lsrl.verify import Verdict, verify
from lsrl.verify.machines import as_tensor, split_outputs
from lsrl.verify.testing import random_inputs, run_program

__all__ = ["Mutant", "PROGRAMS", "mutants"]

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PROGRAMS = ("regular/parity", "regular/even_pairs", "regular/tomita_3", "regular/tomita_7", "regular/mod_5",
            "regular/dyck_1_bounded", "regular/star_free", "regular/binary_addition", "memory/flip_flop",
            "memory/set_reset", "memory/window_majority", "text/c_comments")
TARGETS = ("lstm", "rnn_relu")


@dataclass(frozen=True)
class Mutant:
    """One changed weight. alters: a random input told the changed model from the program."""

    program: str
    target: str
    weight: str
    before: float
    after: float
    alters: bool
    verdict: Verdict

    @property
    def caught(self) -> bool:
        return self.verdict.kind == "REFUTED"


def mutants(count: int, seed: int = 0, programs: Sequence[str] = PROGRAMS) -> Iterator[Mutant]:
    """`count` mutants, in turn over programs and targets; reproducible from the seed."""
    rng = np.random.default_rng(seed)
    loaded = {p: lsrl.load(EXAMPLES / f"{p}.lsrl") for p in programs}
    samples = {p: _Sample(program.graph, rng) for p, program in loaded.items()}
    models = [(p, t, program.graph, lsrl.compile(program, target=t)) for p, program in loaded.items() for t in TARGETS]
    for k in range(count):
        name, target, graph, model = models[k % len(models)]
        changed = copy.deepcopy(model)
        weight, before, after = _change(changed, rng)
        alters = samples[name].tells_apart(changed)
        yield Mutant(name, target, weight, before, after, alters, verify(graph, changed, length=40, states=20_000))


def _change(model: torch.nn.Module, rng: np.random.Generator) -> tuple[str, float, float]:
    """Changes one weight in place: sign, nought, doubled, or shifted by the size of the largest in its tensor."""
    parameters = [(n, p) for n, p in model.named_parameters() if p.numel()]
    while True:
        name, p = parameters[int(rng.integers(len(parameters)))]
        flat = p.data.view(-1)
        at = int(rng.integers(len(flat)))
        before = float(flat[at])
        size = float(flat.abs().max()) or 1.0
        after = [-before, 0.0, 2 * before, before + size, before - size][int(rng.integers(5))]
        if after != before:
            flat[at] = after
            return f"{name}[{at}]", before, after


class _Sample:
    """Random inputs of a program in one batch, and the program's outputs on them."""

    def __init__(self, graph: Graph, rng: np.random.Generator, batch: int = 16, length: int = 128) -> None:
        rows = [random_inputs(graph, length, rng) for _ in range(batch)]
        outputs = [run_program(graph, r)[0] for r in rows]
        self._inputs = {i.name: torch.stack([as_tensor([t[i.name] for t in r], i.type) for r in rows])
                        for i in graph.inputs}
        self._expected = {n: torch.stack([as_tensor([t[n] for t in r], x.type) for r in outputs])
                          for n, x in graph.outputs}
        self._graph = graph

    def tells_apart(self, model: Any) -> bool:
        with torch.no_grad():
            answer, _ = model(self._inputs)
        got = split_outputs(self._graph, answer)
        return any(not torch.equal(got[n].to(x.dtype), x) for n, x in self._expected.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = list(mutants(options.count, options.seed))
    altering = [m for m in found if m.alters]
    missed = [m for m in altering if not m.caught]
    only_proof = sum(m.caught and not m.alters for m in found)
    print(f"{len(found)} single changes, {len(altering)} alter behaviour on random inputs, "
          f"{len(altering) - len(missed)} of these REFUTED; {only_proof} more REFUTED that random inputs had not shown")
    for m in missed:
        print(f"missed: {m.program} {m.target} {m.weight}: {m.before} → {m.after}: {m.verdict.headline}")


if __name__ == "__main__":
    main()
