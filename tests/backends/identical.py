"""What a process with a given number of threads makes of some models: for `test_identical`, which starts it.

`python -m tests.backends.identical THREADS` prints, for each program and target that hosts it, the digest of all
read-outs and of the last state, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable

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


def digests() -> dict[str, str]:
    """Of all programs and targets, over inputs that are large enough for threads to share the work."""
    found: dict[str, str] = {}
    for name in PROGRAMS:
        for target, model in models(name).items():
            raw, state = run(model, inputs_of(model.graph, 64, 600, 3))
            found[f"{name} {target}"] = digest([raw, *state])
    return found


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    assert torch.get_num_threads() == int(sys.argv[1])
    print(json.dumps(digests()))
