"""States in another basis: dense, the same function bit for bit, and the map back finds every variable."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import lsrl
from lsrl.backends.gated.basis import random_basis
from lsrl.backends.gated.layers import GatedLayer
from lsrl.backends.gated.linear import LinearRecurrence
from lsrl.backends.model import CompiledModel
from lsrl.diagnostics import LsrlError
from lsrl.export import Split, compile_case, export_files
from lsrl.program import Program
from lsrl.types import Bool
from lsrl.verify.testing import random_inputs
from tests.corpus import ROOT

CASES = [("memory/edges", "linear"), ("counting/position", "linear"), ("tables/histogram", "linear"),
         ("regular/mod_5", "bilinear"), ("text/c_comments", "bilinear"), ("counting/dyck_1", "bilinear"),
         ("memory/key_value", "bilinear"), ("regular/word_problem_s3", "delta"), ("regular/parity", "delta")]
cases = pytest.mark.parametrize(("name", "target"), CASES)
SEED = 5


def load(name: str) -> Program:
    return lsrl.load(ROOT / "examples" / f"{name}.lsrl")


def inputs_of(program: Program, length: int) -> dict[str, Tensor]:
    batch = [random_inputs(program.graph, length, np.random.default_rng(seed)) for seed in range(6)]
    return {i.name: torch.tensor([[r[i.name] for r in rows] for rows in batch],
                                 dtype=torch.bool if i.type == Bool() else torch.float64) for i in program.graph.inputs}


def turned(model: CompiledModel) -> list[tuple[int, Any]]:
    """The layers whose state is in another basis, and their mixers."""
    return [(k, layer.mixer) for k, layer in enumerate(model.layers)
            if isinstance(layer, GatedLayer) and layer.mixer is not None and layer.mixer.basis is not None]


@pytest.mark.parametrize(("size", "rounds"), [(1, 1), (4, 1), (6, 2), (16, 2), (21, 2)])
def test_a_basis_is_orthogonal_and_on_its_grid(size: int, rounds: int) -> None:
    import random

    q = random_basis(size, rounds, random.Random(1))
    assert torch.equal(q @ q.T, torch.eye(len(q), dtype=torch.float64))
    assert len(q) % 4 == 0 and size <= len(q) < size + 4
    assert torch.equal(q * 2**rounds, (q * 2**rounds).round())
    assert int((q != 0).sum(1).min()) >= 4 - rounds // 2  # no row is one of the identity's
    assert not torch.equal(q, random_basis(size, rounds, random.Random(2)))


@cases
def test_states_are_turned_and_the_function_is_the_same(name: str, target: str) -> None:
    program = load(name)
    plain, _, _ = compile_case(program.graph, target, disguise="permute", seed=SEED)
    model, circuit, back = compile_case(program.graph, target, disguise="orthogonal", seed=SEED)
    assert back is not None and [k for k, _ in back.bases] == [k for k, _ in turned(model)] != []
    assert lsrl.verify(program, model, states=3000, tests=4, seconds=20).ok
    x = inputs_of(program, 40)
    (one, known), (two, state) = plain.outputs_of(x), model.outputs_of(x)
    assert all(torch.equal(one[n], two[n]) for n in one)
    assert all(bool((v != v.flatten()[0]).any()) for v in two.values())
    step = model.initial_state(6)
    for t in range(40):
        _, step = model.step({n: v[:, t] for n, v in x.items()}, step)
    assert all(torch.equal(a, b) for a, b in zip(step, state, strict=True))
    contents = [plain.places.contents(known, k + 1) for k in range(len(plain.layers)) if plain.stack.tensors[k]]
    found = [model.places.contents(state, k + 1) for k in range(len(model.layers)) if model.stack.tensors[k]]
    assert all(torch.equal(a, b) for a, b in zip(contents, found, strict=True))
    assert circuit.width == plain.certificate.width == model.certificate.width


@cases
def test_a_variable_lies_across_the_state_and_symbols_find_it(name: str, target: str) -> None:
    program = load(name)
    model, _, _ = compile_case(program.graph, target, disguise="orthogonal", seed=SEED)
    x = inputs_of(program, 25)
    _, state = model.outputs_of(x)
    tensors = {(layer, n): t for (layer, n, _), t in zip(model.stack.state_names, state, strict=True)}
    layers = {k for k, _ in turned(model)}
    wide = 0
    for v in model.symbols["variables"]:
        total = Fraction(v["bias"])
        for tensor, i, w, (off, on) in zip(v["tensor"], v["indices"], v["weights"], v["levels"], strict=True):
            element = Fraction(float(tensors[v["layer"], tensor][0, i]))
            total += Fraction(w) * (element - Fraction(off)) / (Fraction(on) - Fraction(off))
        assert total == Fraction(float(model.probe(state, v["variable"])[0]))
        wide += v["layer"] in layers and len(v["indices"]) >= 4
    assert bool(wide) == bool(model.variables)  # a lag is a unit and no variable
    for k, mixer in turned(model):
        held = model.places.contents(state, k + 1)[0]
        for u in model.symbols["units"]:
            if u["layer"] == k and "mixture" in u:
                assert u["element"] is None
                mixed = sum(Fraction(w) * Fraction(float(tensors[k, u["tensor"]][0, i])) for i, w in u["mixture"])
                assert mixed == Fraction(float(held[u["index"]]))
        assert sum("mixture" in u for u in model.symbols["units"] if u["layer"] == k) == mixer.units


@cases
def test_poke_and_files(name: str, target: str, tmp_path: Path) -> None:
    program = load(name)
    plain, _, _ = compile_case(program.graph, target)
    model, _, _ = compile_case(program.graph, target, disguise="orthogonal", seed=SEED)
    model.save(tmp_path / "m.safetensors")
    again = lsrl.load_model(tmp_path / "m.safetensors", program)
    x = inputs_of(program, 15)
    _, known = plain.outputs_of(x)
    for variable in model.variables:
        value = plain.probe(known, variable)
        try:
            expected, _ = plain.outputs_of(x, plain.poke(plain.initial_state(6), variable, value))
        except LsrlError as refusal:  # no state has this value while the others are those of the start
            with pytest.raises(LsrlError, match=re.escape(refusal.diagnostics[0].message)):
                again.poke(again.initial_state(6), variable, value)
            continue
        poked = again.poke(again.initial_state(6), variable, value)
        assert torch.equal(again.probe(poked, variable), value)
        got, _ = again.outputs_of(x, poked)
        assert all(torch.equal(expected[n], got[n]) for n in got)


def test_matrices_are_dense() -> None:
    """No entry of the state's own matrices tells which channels feed which."""
    for name, target in (("memory/delay_3", "linear"), ("regular/mod_5", "bilinear")):
        plain, _, _ = compile_case(load(name).graph, target, disguise="permute", seed=SEED)
        model, _, _ = compile_case(load(name).graph, target, disguise="orthogonal", seed=SEED)
        for k, mixer in turned(model):
            layer = plain.layers[k]
            assert isinstance(layer, GatedLayer) and layer.mixer is not None
            before, after = (m.A if isinstance(m, LinearRecurrence) else m.get_parameter("M")[..., 0]
                             for m in (layer.mixer, mixer))
            assert int(before.count_nonzero(1).max()) <= 2
            assert int(after.count_nonzero()) > 0.3 * after.numel()


def test_the_horizon_is_smaller_and_true() -> None:
    """As far as the certificate says, all at once and token by token; beyond, numbers are refused."""
    program = load("counting/position")
    plain, _, _ = compile_case(program.graph, "linear")
    model, _, _ = compile_case(program.graph, "linear", disguise="orthogonal", seed=SEED)
    horizon = model.certificate.horizon
    assert horizon is not None and plain.certificate.horizon is not None
    assert 2**16 < horizon < plain.certificate.horizon
    x = {i.name: torch.zeros(1, horizon, dtype=torch.int64) for i in program.graph.inputs}
    out, state = model.outputs_of(x)
    want, _ = plain.outputs_of(x)
    assert all(torch.equal(out[n], want[n]) for n in out)
    with pytest.raises(LsrlError) as caught:
        model.outputs_of({n: v[:, :1000] for n, v in x.items()}, state)
    assert caught.value.diagnostics[0].code == "L407"


@pytest.mark.parametrize(("name", "target", "reason"), [
    ("memory/flip_flop", "mingru", "no recurrence with a full matrix"),
    ("regular/parity", "lstm", "no recurrence with a full matrix"),
    ("memory/flip_flop", "delta", "no recurrence with a full matrix")])
def test_others_are_refused_with_the_reason(name: str, target: str, reason: str) -> None:
    with pytest.raises(LsrlError) as caught:
        compile_case(load(name).graph, target, disguise="orthogonal")
    assert caught.value.diagnostics[0].code == "L631" and reason in caught.value.diagnostics[0].message


def test_a_case_carries_the_map_back_apart_from_the_weights() -> None:
    import json

    from safetensors.torch import load as tensors_of

    program = load("regular/word_problem_s3")
    splits = [Split("train", 3, 10), Split("valid", 2, 10), Split("test", 2, 10)]
    files, model, verdict = export_files(program.graph, program.text, "bilinear", splits, disguise="orthogonal", seed=1)
    assert verdict.kind == "PROVED"
    assert not [n for n in tensors_of(files["weights.safetensors"]) if "turn" in n]
    (layer,) = json.loads(files["disguise.json"])["bases"]
    [(k, mixer)] = turned(model)
    assert layer["layer"] == k and torch.equal(torch.tensor(layer["basis"], dtype=torch.float64), mixer.basis)
