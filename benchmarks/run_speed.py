"""Tokens a second of `lsrl run` and of each form of the interpreter, on example programs and random text.

    python -m benchmarks.run_speed [TOKENS]

Each line: program, then millions of tokens a second read, run and written as JSON lines (table of transitions), by
the generated loop alone, by the reference interpreter, and by a NumPy batch of 256 rows. Best of three.
"""

from __future__ import annotations

import io
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import lsrl
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.python_step import compile_step
from lsrl.streams import open_input, open_output, run_stream
from lsrl.types import Symbols
from lsrl.vectorized import run_batch

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ["text/balanced", "text/c_comments", "text/json_structure", "text/word_count", "counting/dyck_1"]


def best(work: Callable[[], object]) -> float:
    """Seconds of the fastest of three runs."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def text_for(alphabet: Symbols, tokens: int) -> str:
    """Random text of an alphabet's symbols, brackets in pairs so that depths stay small."""
    rng = random.Random(1)
    others = [n for n in alphabet.names if n not in "()[]{}"] + (["x"] if alphabet.other else [])
    pairs = [p for p in ("()", "[]", "{}") if p[0] in alphabet.names and p[1] in alphabet.names]
    return "".join(rng.choice([*pairs, *others] or ["x"]) for _ in range(tokens))[:tokens]


def stream(graph: Graph, text: bytes) -> None:
    with open_output(graph, io.BytesIO(), "jsonl") as target:
        run_stream(graph, open_input(graph, io.BytesIO(text)), target)


def measure(name: str, tokens: int) -> str:
    """One line of the table."""
    graph = lsrl.load(ROOT / "examples" / f"{name}.lsrl").graph
    alphabet = graph.inputs[0].type
    assert isinstance(alphabet, Symbols)
    text = text_for(alphabet, tokens)
    codes = [alphabet.code(c) for c in text]
    step = compile_step(graph)
    state = step.pack_state(step.initial_state())
    interpreter = Interpreter(graph)
    rows = [{graph.inputs[0].name: c} for c in codes[: tokens // 50]]
    batch = np.array(codes[: tokens // 256 * 256]).reshape(256, -1)
    rates = [tokens / best(lambda: stream(graph, text.encode())),
             tokens / best(lambda: step.run_block(state, codes, [])),
             len(rows) / best(lambda: list(interpreter.run(rows))),
             batch.size / best(lambda: run_batch(graph, {graph.inputs[0].name: batch}))]
    return f"{name:22}" + "".join(f"{rate / 1e6:10.2f}" for rate in rates)


def main() -> None:
    tokens = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    print(f"{'million tokens/s':22}{'stream':>10}{'loop':>10}{'reference':>10}{'batch':>10}")
    for name in PROGRAMS:
        print(measure(name, tokens), flush=True)


if __name__ == "__main__":
    main()
