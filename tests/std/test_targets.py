"""Every function of the library on every target: exact, or refused for the reason that its numbers give."""

from __future__ import annotations

import random
from typing import Any

import pytest

from lsrl.backends.registry import TARGETS, compile_graph
from lsrl.diagnostics import LsrlError
from lsrl.interpreter import Interpreter
from lsrl.types import Type, Vector, values
from lsrl.verify.testing import run_model
from tests.std.support import ABC, graph_of, program

# What refuses alike.
GROUPS = {"bits": ("gru", "rnn_tanh", "slstm"), "shared": ("mingru", "minlstm", "hgrn", "rglru"),
          "free": ("gla", "mlstm", "rwkv", "mamba"), "fixed": ("linear", "retnet", "lru"),
          "gated": ("mingru", "minlstm", "hgrn", "rglru", "gla", "mlstm", "rwkv", "mamba", "gateloop")}

# Inputs, result, expression, and the targets or groups that refuse it: L402, a cell that they cannot host; L403, a
# number without bound as output.
CASES: list[tuple[str, str, str, dict[str, str]]] = [
    ("x: bool", "bool", "first_token()", {}),
    ("x: bool", "int", "index()", {"lstm": "L403", "bits shared delta": "L402"}),
    ("x: int[0..3]", "int[0..3]", "prev(x, 0)", {}),
    (f"x: {ABC}", ABC, 'delay(x, 3, "b")', {}),
    ("x: bool", "bool[3]", "window(x, 3, false)", {}),
    ("x: bool", "int[0..6]", "modulo_counter(7)", {"gated retnet lru": "L402"}),
    ("x: bool", "bool", "count(x) > 3", {"bits shared delta": "L402"}),
    ("x: int[-2..2]", "bool", "running_sum(x) > 3", {"bits shared delta": "L402"}),
    ("x: int[0..5]", "int[0..5]", "running_max(x)", {"fixed": "L402"}),
    ("x: int[0..5]", "int[0..5]", "running_min(x)", {"fixed": "L402"}),
    ("x: bool", "bool", "parity(x)", {"shared free fixed": "L402"}),
    ("x: bool", "bool", "ever(x)", {"fixed": "L402"}),
    ("x: bool", "bool", "always(x)", {"fixed": "L402"}),
    ("x: bool, p: bool", "bool", "hold(x, p, false)", {"fixed": "L402"}),
    ("x: bool", "bool", "since(x) == 3", {"bits shared delta fixed": "L402"}),
    (f"x: {ABC}", "bool", "run_length(x) >= 3", {"bits shared delta fixed": "L402"}),
    ("x: bool", "bool", "rising(x)", {}),
    ("x: bool", "bool", "falling(x)", {}),
    ("s: bool, r: bool", "bool", "latch(s, r)", {"fixed": "L402"}),
    (f"k: {ABC}, v: bool, q: {ABC}", "bool", "recall(k, v, q, false)", {"fixed": "L402"}),
    (f"x: {ABC}", "int[3]", "counts(x)", {"lstm": "L403", "bits shared delta": "L402"}),
    (f"x: {ABC}", "bool", "occurrences(x) > 2", {"bits shared delta": "L402"}),
    (f"x: {ABC}", ABC, "most_frequent(x)", {"bits gated fixed bilinear delta": "L402"}),
    (f"x: {ABC}", "bool[3]", "seen(x)", {"fixed": "L402"}),
    (f"x: {ABC}", "int[0..3]", "distinct(x)", {"fixed": "L402"}),
    ("x: int[0..3]", "bool", "width(select(x, x, <)) > 2", {"bits shared delta": "L402"}),
    ("x: int[0..2]", "bool", "aggregate(select(x, x, ==), x) > 2", {"bits shared delta": "L402"}),
    (f"x: {ABC}", "bool", 'matches(x, "(ab)*c?")', {"fixed": "L402"}),
    (f"x: {ABC}", "bool", 'contains(x, "a.c")', {"fixed": "L402"}),
    ('x: {"a", " ", *}', "bool", "word_start(x)", {}),
]


def some(t: Type, generator: random.Random) -> Any:
    return tuple(some(t.elem, generator) for _ in range(t.size)) if isinstance(t, Vector) else \
        generator.choice([*values(t)])


@pytest.mark.parametrize("target", sorted(TARGETS))
@pytest.mark.parametrize("case", CASES, ids=[c[2] for c in CASES])
def test_target(case: tuple[str, str, str, dict[str, str]], target: str) -> None:
    inputs, result, expression, refusals = case
    graph = graph_of(program(inputs, result, expression))
    refused = {t: code for names, code in refusals.items() for name in names.split() for t in GROUPS.get(name, (name,))}
    if target in refused:
        with pytest.raises(LsrlError) as refusal:
            compile_graph(graph, target)
        assert refused[target] in {d.code for d in refusal.value.diagnostics}
        return
    model = compile_graph(graph, target)
    generator = random.Random(expression)
    for _ in range(4):
        rows = [{n.name: some(n.type, generator) for n in graph.inputs} for _ in range(100)]
        assert list(run_model(model, graph, rows)) == list(Interpreter(graph).run(rows))
