"""The noise study: what is disturbed, by how much, and what is counted as wrong."""

from __future__ import annotations

import json
import math

import pytest
import torch

import lsrl
from lsrl.diagnostics import LsrlError
from lsrl.robustness import (
    Measurement,
    Point,
    Prediction,
    Promise,
    Row,
    disturbed,
    draw_plot,
    make_trial,
    measure,
    promise,
    render_json,
    render_table,
)
from tests.corpus import ROOT

PARITY = lsrl.load(ROOT / "examples/regular/parity.lsrl")
S3 = lsrl.load(ROOT / "examples/regular/word_problem_s3.lsrl")


@pytest.mark.parametrize("target", ["lstm", "rnn_relu"])
@pytest.mark.parametrize("relative", [False, True])
def test_noise_is_on_every_weight_that_is_not_zero_and_on_no_other(target: str, relative: bool) -> None:
    model = S3.compile(target, dtype=torch.float64)
    noisy = disturbed(model, 1e-3, 5, relative)
    after = noisy.state_dict()
    changes: list[torch.Tensor] = []
    for name, before in model.state_dict().items():
        moved = after[name] - before
        if "initial" in name:
            assert torch.equal(after[name], before)
            continue
        assert bool((moved[before == 0] == 0).all())
        assert bool((moved[before != 0] != 0).all())
        changes.append((moved / before.abs() if relative else moved)[before != 0])
    x = torch.cat(changes) / 1e-3
    assert x.numel() == model.certificate.nonzero
    assert abs(float(x.mean())) < 4 / math.sqrt(x.numel())  # four standard errors
    assert abs(float((x**2).mean()) - 1) < 4 * math.sqrt(2 / x.numel())


def test_a_seed_gives_the_same_noise_and_another_seed_other_noise() -> None:
    model = S3.compile("lstm", dtype=torch.float64)
    weight = model.readout.weight
    a, b, c = (disturbed(model, s, seed).readout.weight - weight for s, seed in ((0.1, 1), (0.2, 1), (0.1, 2)))
    assert torch.allclose(2 * a, b, atol=1e-12)
    assert not torch.allclose(a, c)
    assert torch.equal(model.readout.weight, S3.compile("lstm", dtype=torch.float64).readout.weight)


def test_expected_outputs_are_the_interpreters() -> None:
    trial = make_trial(PARITY.graph, 3, 20, 7)
    for bits, outputs in zip(trial.inputs["bit"].tolist(), trial.expected["out"].tolist(), strict=True):
        assert outputs == [sum(bits[: t + 1]) % 2 == 1 for t in range(20)]


def test_the_share_of_wrong_tokens() -> None:
    model = PARITY.compile("lstm")
    trial = make_trial(PARITY.graph, 8, 30, 0)
    assert measure(model, trial, (0.0,)).points == (Point(0.0, (0.0,)),)
    with torch.no_grad():
        model.readout.bias.add_(5.0)  # says odd always
    odd = sum(sum(bits[: t + 1]) % 2 for bits in trial.inputs["bit"].tolist() for t in range(30))
    assert measure(model, trial, (0.0,)).points == (Point(0.0, ((240 - odd) / 240,)),)


def test_no_noise_is_drawn_once_and_sizes_rise() -> None:
    trial = make_trial(PARITY.graph, 2, 8, 0)
    points = measure(PARITY.compile("rnn_relu"), trial, (0.1, 0.0, 0.01), draws=3).points
    assert [(p.sigma, len(p.wrong)) for p in points] == [(0.0, 1), (0.01, 3), (0.1, 3)]


def test_programs_without_inputs_and_with_vectors() -> None:
    for text in ("program p() -> bool:\n    state a: bool = false\n    a := not a\n    return a\n",
                 "program p(x: bool[3]) -> bool[2]:\n    return [x[0] and x[1], x[2]]\n"):
        program = lsrl.parse(text)
        trial = make_trial(program.graph, 4, 9, 1)
        assert measure(program.compile("lstm"), trial, (0.0, 1e-3), draws=2).first_error is None
        assert (measure(program.compile("lstm"), trial, (3.0,), draws=4).first_error) == 3.0


def test_a_program_that_runs_over_no_input_is_an_error() -> None:
    stuck = lsrl.parse("program p(x: int[0..3]) -> int:\n    assume count(true) < 10\n    return x\n")
    assert make_trial(stuck.graph, 2, 9, 0).length == 9
    with pytest.raises(LsrlError) as caught:
        make_trial(stuck.graph, 2, 10, 0)
    assert caught.value.diagnostics[0].code == "L504"


def _row(wrong: tuple[float, ...], promise: Promise | None = None) -> Row:
    measured = Measurement((Point(0.0, (0.0,)), Point(0.5, wrong)))
    return Row("lstm", 10, 5, measured, Prediction(promise, "why not", 0.25))


def test_first_errors_are_those_of_any_draw_and_of_half() -> None:
    few, half = Measurement((Point(0.1, (0.0, 0.2, 0.0)),)), Measurement((Point(0.1, (0.0, 0.2)),))
    assert (few.first_error, few.first_half) == (0.1, None)
    assert (half.first_error, half.first_half) == (0.1, 0.1)


def test_table_and_json() -> None:
    text = render_table([_row((0.0, 0.25, 1.0), Promise(0.125, 8, "a row"))])
    assert "25.0% (0.0% to 100.0%)" in text
    assert "0.12 for 8 tokens" in text and "lstm: first to give way: a row" in text
    assert "nothing promised" in render_table([_row((0.0,))]) and "lstm: why not" in render_table([_row((0.0,))])
    target = json.loads(render_json([_row((0.0, 0.25, 1.0))], {"seed": 3}))["targets"][0]
    assert (target["points"][1]["median"], target["points"][1]["wrong"]) == (0.25, [0.0, 0.25, 1.0])
    assert (target["promise"], target["no_promise"], target["expected"]) == (None, "why not", 0.25)


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_plots_are_the_same_bytes_each_time(tmp_path_factory: pytest.TempPathFactory, ending: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path_factory.mktemp("plots")
    for name in ("a", "b"):
        draw_plot([_row((0.0, 0.25), Promise(0.125, None, "a row"))], "noise", path / f"{name}.{ending}")
    first = (path / f"a.{ending}").read_bytes()
    assert first == (path / f"b.{ending}").read_bytes() and len(first) > 1000
    draw_plot([_row((0.0, 0.75), Promise(0.125, None, "a row"))], "noise", path / f"c.{ending}")
    assert first != (path / f"c.{ending}").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("target", ["lstm", "gru", "rnn_tanh", "slstm"])
def test_tok2tok_answers_without_an_error_at_a_thousandth(target: str) -> None:
    """All variants of the LSRL paper's own tok2tok fail at 1e-5 (docs/robustness.md); what is promised here is 1e-2."""
    program = lsrl.load(ROOT / "examples/lsrl/tok2tok_3.lsrl")
    model = program.compile(target)
    trial = make_trial(program.graph, 16, 32, 0)
    assert len(set(trial.expected["out"].flatten().tolist())) > 2
    measured = measure(model, trial, (1e-5, 1e-3), 3)
    assert all(not any(p.wrong) for p in measured.points), measured
    found = promise(model)
    assert isinstance(found, Promise) and found.delta > 1e-2 and found.tokens is None
    assert any(any(p.wrong) for p in measure(model, trial, (1.0,), 3).points)  # the study does find errors


def test_models_with_an_error_promise_nothing() -> None:
    total = lsrl.parse("program p(x: real[0..1]) -> real:\n    return running_sum(x)\n")
    for target in ("lstm", "rnn_relu", "mingru"):
        found = promise(total.compile(target, approx=0.1))
        assert isinstance(found, str) and (target == "mingru" or "with an error" in found or "no analysis" in found)
