"""Data splits of a program: random inputs, all different, and the interpreter's outputs, as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from lsrl.diagnostics import LsrlError
from lsrl.ir.graph import Graph
from lsrl.types import Value
from lsrl.verify.testing import random_inputs, run_program

__all__ = ["Split", "make_splits"]

_TRIES = 200  # draws for an input that is not yet in a split


@dataclass(frozen=True, slots=True)
class Split:
    """name; sequences: how many inputs; length: tokens of each."""

    name: str
    sequences: int
    length: int


def make_splits(graph: Graph, splits: Sequence[Split], seed: int,
                progress: Callable[[str], None] | None = None) -> dict[str, bytes]:
    """For each split its JSON lines: {"inputs": {name: [a value a token]}, "outputs": {name: …}}.

    Symbols stand as their codes, bools as true and false, vectors as lists, rationals as numbers. No input is in two
    places. The same seed gives the same bytes. Raises LsrlError (L504) where there are not enough different inputs that
    the program runs over.
    """
    rng = np.random.default_rng(seed)
    seen: set[str] = set()
    out: dict[str, bytes] = {}
    for split in splits:
        lines: list[str] = []
        while len(lines) < split.sequences:
            if progress is not None:
                progress(f"data, {split.name} {len(lines)} of {split.sequences}")
            lines.append(_fresh(graph, split, rng, seen))
        out[split.name] = "".join(lines).encode()
    return out


def _fresh(graph: Graph, split: Split, rng: np.random.Generator, seen: set[str]) -> str:
    for _ in range(_TRIES):
        rows = random_inputs(graph, split.length, rng)
        outputs, error = run_program(graph, rows)
        if error is not None or len(outputs) < split.length:
            continue
        inputs = json.dumps(_stream(rows, [i.name for i in graph.inputs]))
        if inputs in seen:
            continue
        seen.add(inputs)
        answers = json.dumps(_stream(outputs, [n for n, _ in graph.outputs]))
        return f'{{"inputs": {inputs}, "outputs": {answers}}}\n'
    raise LsrlError.of("L504", f"after {len(seen)} inputs, {_TRIES} draws gave none of {split.length} tokens that "
                       f"is new and that `{graph.name}` runs over to its end", graph.span,
                       help="ask for fewer inputs with --sizes, or for another --length")


def _stream(rows: Sequence[Mapping[str, Value]], names: Sequence[str]) -> dict[str, list[Any]]:
    return {n: [_plain(row[n]) for row in rows] for n in names}


def _plain(value: Value) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    return value
