"""Every example against its oracle: interpreter, fast step, batch, text round-trip, each pass, each target.

A target hosts a program with the verdict that the corpus says, or refuses it with the code that the corpus says;
there is no third outcome.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch

import lsrl
from benchmarks import targets_page, widths
from benchmarks.examples import weight_examples
from lsrl.backends.model import CompiledModel
from lsrl.backends.registry import TARGETS
from lsrl.diagnostics import LsrlError, Source
from lsrl.frontend.format import format_file
from lsrl.frontend.modules import read_module
from lsrl.frontend.parser import parse
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.ir.parser import parse_graph
from lsrl.ir.printer import print_graph
from lsrl.ir.validate import validate
from lsrl.passes import PIPELINE, run_pipeline
from lsrl.python_step import compile_step
from lsrl.types import Real, Symbols
from lsrl.vectorized import run_batch
from lsrl.verify import verify
from lsrl.verify.machines import as_tensor
from lsrl.verify.testing import run_models
from tests.corpus import CORPUS, DEFAULTS, OTHER, Case, decoded
from tests.gated_outcomes import OUTCOMES

LENGTHS = (1, 2, 3, 5, 8, 13, 40, 40, 120, 120)
GATED_DEPTH = 6  # of the search where it has no end: there are many gated targets
HOSTED = ("PROVED", "EXHAUSTED", "TESTED")

cases = pytest.mark.parametrize("case", CORPUS, ids=lambda c: c.path)
targets = pytest.mark.parametrize("target", sorted(TARGETS))


def graph_of(case: Case) -> Graph:
    return case.program.graph


@cache
def model_of(case: Case, target: str) -> CompiledModel:
    return lsrl.compile(graph_of(case), target=target)


def inputs_of(case: Case, length: int, seed: int) -> list[dict[str, Any]]:
    """A random input as the interpreter takes it, symbols as codes; of length 0, the case's text of number `seed`."""
    graph = graph_of(case)
    types = {i.name: i.type for i in graph.inputs}
    given = case.rows(types, length, seed) if length else [{graph.inputs[0].name: c} for c in case.texts[seed]]

    def code(value: Any, name: str) -> Any:
        t = types[name]
        if isinstance(t, Symbols):
            return len(t.names) if value == OTHER and OTHER not in t.names else t.names.index(value)
        return value

    return [{n: code(v, n) for n, v in row.items()} for row in given]


@cache
def all_inputs(case: Case) -> list[list[dict[str, Any]]]:
    """Random inputs of growing length, and the corpus's own texts."""
    return [*(inputs_of(case, n, seed) for seed, n in enumerate(LENGTHS)),
            *(inputs_of(case, 0, k) for k in range(len(case.texts)))]


def expected(case: Case, rows: Sequence[dict[str, Any]]) -> list[Any]:
    """What the oracle says of an input given as codes."""
    graph = graph_of(case)
    columns = [[decoded(r[i.name], i.type) for r in rows] for i in graph.inputs]
    return case.oracle(*columns)


@cache
def answers(case: Case) -> list[list[Any]]:
    """What the oracle says of each of `all_inputs`."""
    return [expected(case, rows) for rows in all_inputs(case)]


def outputs(case: Case, rows: Sequence[dict[str, Any]]) -> list[Any]:
    """A program's output rows as its oracle writes them: one value, or a tuple of the fields."""
    graph = graph_of(case)
    types = [(n, x.type) for n, x in graph.outputs]
    out = [tuple(decoded(r[n], t) for n, t in types) for r in rows]
    return [r[0] for r in out] if len(types) == 1 else out


def assert_equal(case: Case, actual: list[Any], wanted: list[Any]) -> None:
    if case.numeric:
        assert len(actual) == len(wanted)
        for a, b in zip(actual, wanted, strict=True):
            assert abs(a - b) <= case.bound * max(1.0, abs(b))
    else:
        assert actual == wanted


@cases
def test_interpreter_equals_oracle(case: Case) -> None:
    graph = graph_of(case)
    validate(graph)
    for rows, wanted in zip(all_inputs(case), answers(case), strict=True):
        assert_equal(case, outputs(case, list(Interpreter(graph).run(rows))), wanted)


@cases
def test_random_inputs_reach_more_than_one_answer(case: Case) -> None:
    """An oracle that is only ever asked for one answer tests nothing."""
    seen = {str(x) for wanted in answers(case) for x in wanted}
    assert len(seen) > 1


@cases
def test_fast_step_equals_interpreter(case: Case) -> None:
    graph = graph_of(case)
    rows = inputs_of(case, 100, 100)
    assert list(compile_step(graph).run(rows)) == list(Interpreter(graph).run(rows))


@cases
def test_batch_equals_interpreter(case: Case) -> None:
    graph = graph_of(case)
    if any(isinstance(i.type, Real) and i.type.hi is None for i in graph.inputs) and not graph.numeric:
        pytest.skip("unbounded rationals have no machine type")
    batch = [inputs_of(case, 50, seed) for seed in range(4)]
    arrays = {i.name: torch.stack([as_tensor([r[i.name] for r in rows], i.type) for rows in batch]).numpy()
              for i in graph.inputs}
    ran, _ = run_batch(graph, arrays)
    for k, rows in enumerate(batch):
        for t, row in enumerate(Interpreter(graph).run(rows)):
            for name, value in row.items():
                got = ran[name][k][t].tolist()
                assert (tuple(got) if isinstance(got, list) else got) == value


@cases
def test_text_round_trip(case: Case) -> None:
    text = case.file.read_text(encoding="utf-8")
    again = format_file(parse(Source("again.lsrl", text)))
    assert read_module(Source("again.lsrl", again), case.file.parent).elaborate() == graph_of(case)
    assert parse_graph(print_graph(graph_of(case))) == graph_of(case)


@cases
def test_examples_are_in_the_canonical_form(case: Case) -> None:
    text = case.file.read_text(encoding="utf-8")
    assert format_file(parse(Source(case.file.name, text))) == text


@cases
def test_every_pass_keeps_the_meaning(case: Case) -> None:
    graph = graph_of(case)
    rows = inputs_of(case, 60, 7)
    wanted = list(Interpreter(graph).run(rows))
    for name, step in PIPELINE:
        graph = step(graph)
        validate(graph)
        assert list(Interpreter(graph).run(rows)) == wanted, name


@cases
def test_the_pipeline_is_deterministic(case: Case) -> None:
    again = lsrl.load(case.file).graph
    assert print_graph(run_pipeline(again)) == print_graph(run_pipeline(graph_of(case)))


def test_every_target_has_an_outcome_for_every_case() -> None:
    assert set(DEFAULTS) == set(TARGETS)
    for case in CORPUS:
        named = {name for names in case.others for name in names.split()}
        assert named <= set(TARGETS), f"{case.path}: {named - set(TARGETS)}"
        assert all(case.outcome(t) in HOSTED or case.outcome(t).startswith("L4") for t in TARGETS), case.path


@targets
@cases
def test_target(case: Case, target: str) -> None:
    outcome = case.outcome(target)
    if outcome not in HOSTED:
        with pytest.raises(LsrlError) as refusal:
            model_of(case, target)
        assert outcome in {d.code for d in refusal.value.diagnostics}
        assert refusal.value.diagnostics[0].span.source.name.endswith(".lsrl")
        return
    model = model_of(case, target)
    for got, wanted in zip(run_models(model, graph_of(case), all_inputs(case)), answers(case), strict=True):
        assert_equal(case, outputs(case, got), wanted)
    depth = min(case.depth, GATED_DEPTH) if target in OUTCOMES else case.depth
    verdict = verify(graph_of(case), model, length=depth if outcome == "EXHAUSTED" else None, seconds=300, tests=64)
    assert verdict.kind == outcome, verdict.render()
    certificate = model.certificate
    # n·k units are for cells whose feedback is not linear; a cascade of latches has layers between them.
    assert target in OUTCOMES or certificate.baseline is None or certificate.width <= certificate.baseline


@targets
@pytest.mark.parametrize("case", [c for c in CORPUS if c.outcome("rnn_relu") == "L404"], ids=lambda c: c.path)
def test_what_has_no_grid_is_hosted_with_an_error(case: Case, target: str) -> None:
    """Each such pair is within its certificate's bound, on every target."""
    model = lsrl.compile(lsrl.load(case.file), target=target, approx=0.01)
    verdict = verify(graph_of(case), model, tests=16)
    assert verdict.kind == "APPROXIMATE" and 0 < verdict.seen <= model.certificate.error <= 0.01, verdict.render()


@pytest.mark.slow
def test_the_pages_on_targets_and_widths_are_what_the_commands_write() -> None:
    """Of every seventh example, since all of them take minutes; the commands are to be run for all."""
    examples = weight_examples()
    for command in (targets_page, widths):
        text = command.PAGE.read_text(encoding="utf-8").splitlines()
        rows = [line for line in command.page(examples[::7]).splitlines() if line.startswith("| ")]
        assert len(rows) > 20
        assert set(rows) <= set(text), f"run `python -m {command.__name__}`"
    shown = {line.split(" | ")[0][2:] for line in targets_page.PAGE.read_text(encoding="utf-8").splitlines()}
    assert {f"{p.parent.name}/{p.stem}" for p in examples} <= shown, "run `python -m benchmarks.targets_page`"
    found = re.findall(r"- `(\w+)`: ([0-9.]+) of n·k in the median of (\d+) examples, at most ([0-9.]+)",
                       widths.PAGE.read_text(encoding="utf-8"))
    known = {name: (float(median), float(most), int(count)) for name, median, count, most in found}
    for name in ("lstm", "gru", "rnn_tanh", "slstm", "rnn_relu"):
        median, most, count = known[name]
        assert median <= 0.5 and most <= 1 and count >= 15, name
