"""What a process makes of some models with given numbers of threads: for `test_identical`, which starts it.

`python -m tests.backends.identical THREADS...` prints, for each number of threads and for each program and target that
hosts it, the digest of all read-outs and of the last state, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

import lsrl
from lsrl.backends.layers import State
from lsrl.backends.model import CompiledModel
from lsrl.backends.registry import TARGETS, compile_graph
from lsrl.diagnostics import LsrlError
from lsrl.ir.graph import Graph
from lsrl.types import size
from tests.corpus import ROOT

__all__ = ["PROGRAMS", "digest", "digests", "inputs_of", "models"]

PROGRAMS = ("regular/parity", "memory/flip_flop", "counting/majority", "memory/edges", "regular/detect_pattern")


def inputs_of(graph: Graph, batch: int, length: int, seed: int) -> dict[str, Tensor]:
    """Random inputs of finite types (B, T)."""
    generator = torch.Generator().manual_seed(seed)
    return {i.name: torch.randint(0, size(i.type) or 2, (batch, length), generator=generator) for i in graph.inputs}


def models(name: str) -> dict[str, CompiledModel]:
    """The models of a program at every target that hosts it."""
    graph, found = lsrl.load(ROOT / "examples" / f"{name}.lsrl").graph, {}
    for target in TARGETS:
        try:
            found[target] = compile_graph(graph, target)
        except LsrlError:
            continue
    return found


def digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 of the bytes of tensors."""
    total = hashlib.sha256()
    for t in tensors:
        total.update(t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def run(model: CompiledModel, inputs: dict[str, Tensor]) -> tuple[Tensor, State]:
    """The read-out before it is rounded, and the last state."""
    with torch.no_grad():
        return model.raw(inputs)


def digests(threads: Sequence[int]) -> list[dict[str, str]]:
    """Of all programs and targets, over inputs that are large enough for threads to share the work."""
    found: list[dict[str, str]] = [{} for _ in threads]
    for name in PROGRAMS:
        for target, model in models(name).items():
            inputs = inputs_of(model.graph, 64, 600, 3)
            for count, digests_of in zip(threads, found, strict=True):
                torch.set_num_threads(count)
                assert torch.get_num_threads() == count
                raw, state = run(model, inputs)
                digests_of[f"{name} {target}"] = digest([raw, *state])
    return found


if __name__ == "__main__":
    print(json.dumps(digests([int(x) for x in sys.argv[1:]])))
