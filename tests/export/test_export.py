"""Exported cases: disguises keep the function, circuits are the weights' own, a case loads without this project."""

from __future__ import annotations

import json
from pathlib import Path

import networkx
import numpy as np
import pytest
import torch

import lsrl
from lsrl.backends.circuit import Circuit
from lsrl.diagnostics import LsrlError
from lsrl.export import (
    DISGUISES,
    Split,
    check_free,
    circuit_to_graphml,
    circuit_to_json,
    compile_case,
    export_files,
    make_splits,
    write_folder,
)
from lsrl.program import Program
from lsrl.verify.testing import random_inputs, run_program
from tests.corpus import ROOT
from tests.forked import run_script

NAMES = ("regular/parity", "regular/word_problem_s3", "counting/dyck_1", "counting/position", "memory/delay_3",
         "numeric/moving_average", "memory/key_value", "text/c_comments", "memory/flip_flop")
TARGETS = ("lstm", "rnn_relu", "mingru")
CIRCUITS = tuple(kind for kind in DISGUISES if kind != "orthogonal")  # what rewrites circuits alone


def load(name: str) -> Program:
    return lsrl.load(ROOT / "examples" / f"{name}.lsrl")


def hosted() -> list[tuple[str, str]]:
    refused = {("counting/position", "lstm"), *((n, "mingru") for n in NAMES if not n.startswith("memory"))}
    return [(n, t) for n in NAMES for t in TARGETS if (n, t) not in refused]


def agrees(program: Program, circuit: Circuit, seed: int) -> None:
    rows = random_inputs(program.graph, 60, np.random.default_rng(seed))
    assert tuple(circuit.simulate(rows)) == run_program(program.graph, rows)[0]


@pytest.mark.parametrize(("name", "target"), hosted())
@pytest.mark.parametrize("kind", CIRCUITS)
def test_a_disguised_model_is_exact_and_its_variables_are_where_it_says(name: str, target: str, kind: str) -> None:
    program = load(name)
    plain, _, _ = compile_case(program.graph, target)
    model, circuit, back = compile_case(program.graph, target, disguise=kind, seed=3)
    assert back is not None
    for seed in range(2):
        agrees(program, circuit, seed)
    assert lsrl.verify(program, model, states=2000, tests=4, seconds=20).ok
    assert model.variables == plain.variables
    rows = random_inputs(program.graph, 20, np.random.default_rng(1))
    inputs = {i.name: torch.tensor([[float(r[i.name]) for r in rows]]) for i in program.graph.inputs  # type: ignore[arg-type]
              if not isinstance(rows[0][i.name], tuple)}
    if not inputs:
        return
    _, state = model.outputs_of(inputs)
    _, known = plain.outputs_of(inputs)
    for variable in model.variables:
        value = plain.probe(known, variable)
        assert torch.equal(model.probe(state, variable), value)
        after = [m.outputs_of(inputs, m.poke(s, variable, value))[0] for m, s in ((plain, known), (model, state))]
        assert all(torch.equal(after[0][n], after[1][n]) for n in after[0])


@pytest.mark.parametrize("target", ["lstm", "rnn_relu"])
def test_a_permuted_model_has_the_same_weights_in_another_order(target: str) -> None:
    program = load("regular/word_problem_s3")
    plain, before, _ = compile_case(program.graph, target)
    model, after, back = compile_case(program.graph, target, disguise="permute", seed=1)
    assert back is not None and sorted(back.columns) == list(range(len(before.columns)))
    order = [o.was for o in back.units[0]]
    assert sorted(x for x in order if x is not None) == list(range(len(before.layers[0])))
    assert order != sorted(order, key=str)
    assert torch.equal(model.readout.weight, plain.readout.weight[:, order])
    own, other = (dict(m.stack.layers[0].named_parameters())["weight_hh_l0"] for m in (plain, model))
    gates, width = own.shape[0] // own.shape[1], own.shape[1]
    assert torch.equal(other.reshape(gates, width, width), own.reshape(gates, width, width)[:, order][:, :, order])
    assert after.width == before.width


def test_superposing_adds_twins_that_are_always_equal_and_distractors_that_cancel() -> None:
    program = load("text/c_comments")
    _, before, _ = compile_case(program.graph, "rnn_relu")
    _, circuit, back = compile_case(program.graph, "rnn_relu", disguise="superpose", seed=5)
    assert back is not None
    origins = back.units[0]
    twins = {i: o.equals for i, o in enumerate(origins) if o.role == "twin"}
    distractors = [i for i, o in enumerate(origins) if o.role == "distractor"]
    assert len(twins) > 4 and distractors and circuit.width == before.width + len(twins) + len(distractors)
    assert sorted(o.was for o in origins if o.role == "unit") == list(range(before.width))  # type: ignore[type-var]
    state, plain = circuit.start(), before.start()
    lit: set[int] = set()
    for row in random_inputs(program.graph, 300, np.random.default_rng(0)):
        _, state = circuit.step(state, row)
        _, plain = before.step(plain, row)
        for a, b in twins.items():
            assert b is not None and state[0][a] == state[0][b]
        for i, o in enumerate(origins):
            if o.was is not None:
                assert state[0][i] == plain[0][o.was]
        lit.update(i for i in distractors if state[0][i])
    assert lit  # they carry signals
    read = {i for output in circuit.outputs for form in output.forms for w, i in form.terms}
    assert read & set(distractors)  # and are read


def test_a_disguise_depends_on_its_seed_alone() -> None:
    graph = load("regular/word_problem_s3").graph
    a, b, c = (compile_case(graph, "lstm", disguise="superpose", seed=s)[2] for s in (1, 1, 2))
    assert a == b and a != c


@pytest.mark.parametrize(("name", "target"), [("regular/parity", "lstm"), ("text/c_comments", "lstm"),
                                              ("counting/dyck_1", "rnn_relu"), ("memory/delay_3", "rnn_relu")])
@pytest.mark.parametrize("kind", [None, *CIRCUITS])
def test_the_circuits_edges_are_the_weights_that_are_not_zero(name: str, target: str, kind: str | None) -> None:
    program = load(name)
    model, circuit, _ = compile_case(program.graph, target, disguise=kind, seed=2)
    data = circuit_to_json(circuit, {i.name: i.type for i in program.graph.inputs})
    edges = {(e["source"], e["target"], e["delay"]) for e in data["edges"] if e["part"] != "count"}
    found = set()
    for layer, module in enumerate(model.stack.layers):
        width = model.stack.widths[layer]
        for parameter, delay in (("weight_ih_l0", 0), ("weight_hh_l0", 1)):
            weight = dict(module.named_parameters())[parameter]
            for row, j in weight.nonzero().tolist():
                source = f"{layer}.{j}" if delay else f"x.{j}" if layer == 0 else f"{layer - 1}.{j}"
                found.add((source, f"{layer}.{row % width}", delay))
    names = [n["id"] for n in data["nodes"] if n["kind"] == "output"]
    top = len(model.stack.widths) - 1
    found |= {(f"{top}.{j}", names[r], 0) for r, j in model.readout.weight.nonzero().tolist()}
    assert edges == found


def test_the_circuit_is_read_by_networkx_and_says_what_units_mean() -> None:
    program = load("regular/parity")
    _, circuit, _ = compile_case(program.graph, "lstm")
    data = json.loads(json.dumps(circuit_to_json(circuit, {i.name: i.type for i in program.graph.inputs})))
    graph = networkx.node_link_graph(data, edges="edges")
    assert isinstance(graph, networkx.MultiDiGraph) and len(graph) == len(data["nodes"])
    for node, values in graph.nodes(data=True):
        assert values["means"], node
    assert all(graph.nodes[f"0.{i}"]["states"] == "odd" and ":5:" in graph.nodes[f"0.{i}"]["span"] for i in (0, 1))
    again = networkx.parse_graphml(circuit_to_graphml(data).decode(), force_multigraph=True)
    assert {(a, b, d["exact"], d["delay"]) for a, b, d in again.edges(data=True)} == {
        (a, b, d["exact"], d["delay"]) for a, b, d in graph.edges(data=True)}


@pytest.mark.parametrize("target", ["lstm", "rnn_relu", "mingru"])
def test_every_unit_has_its_place_and_levels(target: str) -> None:
    program = load("memory/flip_flop" if target == "mingru" else "counting/dyck_1")
    model = program.compile(target)
    assert len(model.symbols["units"]) == model.certificate.width
    for unit in model.symbols["units"]:
        assert unit["means"] and unit["kind"]
        if unit["tensor"] is not None:
            off, on = unit["levels"]
            assert on > off
    start = model.initial_state(1)
    names = {(layer, name): t for (layer, name, _), t in zip(model.stack.state_names, start, strict=True)}
    for layer in range(len(model.stack.widths)):
        if not any(u["tensor"] for u in model.symbols["units"] if u["layer"] == layer):
            continue
        contents = model.places.contents(start, layer + 1)[0]
        for unit in (u for u in model.symbols["units"] if u["layer"] == layer and u["tensor"] is not None):
            off, on = unit["levels"]
            element = float(names[layer, unit["tensor"]][0, unit["element"]])
            assert (element - off) / (on - off) == pytest.approx(float(contents[unit["index"]]), abs=1e-6)


@pytest.mark.parametrize(("name", "target", "kind"), [
    ("text/c_comments", "lstm", "superpose"), ("memory/key_value", "rnn_relu", None),
    ("memory/flip_flop", "mingru", None), ("numeric/moving_average", "rnn_relu", "permute"),
    ("memory/selective_copy", "gru", "permute")])
def test_a_case_loads_by_its_own_script(tmp_path: Path, name: str, target: str, kind: str | None) -> None:
    program = load(name)
    splits = [Split("train", 4, 12), Split("valid", 2, 12), Split("test", 5, 30)]
    files, model, _ = export_files(program.graph, program.text, target, splits, disguise=kind, seed=2, states=2000)
    write_folder(tmp_path / "case", files)
    if target != "mingru":
        assert b"lsrl" not in files["load.py"]
    total = 150 * len(program.graph.outputs)
    assert run_script(tmp_path / "case" / "load.py", target == "mingru") == f"{total} of {total} answers are right\n"
    again = lsrl.load_model(tmp_path / "case" / "model.safetensors", program)
    assert all(torch.equal(a, again.state_dict()[n]) for n, a in model.state_dict().items())
    assert json.loads(files["symbols.json"]) == model.symbols
    assert ("disguise.json" in files) == (kind is not None)
    assert lsrl.load(tmp_path / "case" / "program.lsrl").graph == program.graph


def test_a_script_notices_wrong_weights(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    program = load("regular/parity")
    files, _, _ = export_files(program.graph, program.text, "lstm", [Split("test", 5, 20)])
    write_folder(tmp_path / "case", files)
    weights = load_file(tmp_path / "case" / "weights.safetensors")
    save_file({**weights, "readout.weight": -weights["readout.weight"]}, tmp_path / "case" / "weights.safetensors")
    out = run_script(tmp_path / "case" / "load.py", False)
    assert out.endswith("of 100 answers are right\n") and not out.startswith("100 ")


def test_the_same_arguments_give_the_same_bytes() -> None:
    program = load("memory/key_value")
    splits = [Split("train", 3, 8)]
    a, b, c = (export_files(program.graph, program.text, "lstm", splits, disguise="superpose", seed=s, states=500)[0]
               for s in (1, 1, 2))
    assert a == b
    assert {n for n in a if a[n] != c[n]} >= {"model.safetensors", "circuit.json", "disguise.json", "data/train.jsonl"}


@pytest.mark.parametrize("target", ["gru", "rnn_relu", "mingru"])
def test_a_case_with_an_error_loads_and_is_within_its_bound(tmp_path: Path, target: str) -> None:
    program = load("numeric/exponential_average")
    splits = [Split("train", 2, 12), Split("test", 5, 30)]
    files, model, verdict = export_files(program.graph, program.text, target, splits, approx=0.01)
    assert verdict.kind == "APPROXIMATE" and model.certificate.epsilon
    write_folder(tmp_path / "case", files)
    about = json.loads(files["interface.json"])
    assert about["outputs"][0]["grid"] == [0.0] and about["outputs"][0]["error"] == model.certificate.error

    def run() -> str:
        return run_script(tmp_path / "case" / "load.py", target == "mingru")

    assert run() == "150 of 150 answers are right\n"
    data = tmp_path / "case" / "data" / "test.jsonl"
    first = json.loads(data.read_text().splitlines()[0])
    first["outputs"]["out"][3] += 3 * model.certificate.error
    data.write_text(json.dumps(first) + "\n")
    assert run() == "29 of 30 answers are right\n"


def test_an_error_is_bounded_for_the_longest_input_and_has_no_disguise() -> None:
    total = lsrl.parse("program total(x: real[0..1]) -> real:\n    return running_sum(x)\n")
    with pytest.raises(LsrlError, match="not for 5,000"):
        export_files(total.graph, total.text, "linear", [Split("test", 1, 5000)], approx=0.01)
    with pytest.raises(LsrlError, match="leave out --disguise"):
        export_files(total.graph, total.text, "linear", [Split("test", 1, 5)], disguise="permute", approx=0.01)


def test_splits_are_right_and_different() -> None:
    program = load("regular/parity")
    data = make_splits(program.graph, [Split("train", 20, 6), Split("test", 20, 6)], 0)
    rows = [json.loads(line) for split in data.values() for line in split.splitlines()]
    inputs = [tuple(r["inputs"]["bit"]) for r in rows]
    assert len(set(inputs)) == 40 and {len(x) for x in inputs} == {6}
    for bits, row in zip(inputs, rows, strict=True):
        assert row["outputs"]["out"] == [sum(bits[: t + 1]) % 2 == 1 for t in range(6)]
    with pytest.raises(LsrlError) as caught:
        make_splits(program.graph, [Split("train", 9, 3)], 0)  # there are 8
    assert caught.value.diagnostics[0].code == "L504"


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "case"
    write_folder(path, {"circuit.json": b"1", "data/a": b"2"})
    with pytest.raises(LsrlError) as caught:
        check_free(path, False, "circuit.json")
    assert caught.value.diagnostics[0].code == "L630"
    check_free(path, True, "circuit.json")
    write_folder(path, {"circuit.json": b"3"})
    assert [p.name for p in path.iterdir()] == ["circuit.json"] and (path / "circuit.json").read_bytes() == b"3"

    class Broken(dict[str, bytes]):
        def items(self) -> object:  # type: ignore[override]
            yield "circuit.json", b"4"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(path, Broken())
    assert (path / "circuit.json").read_bytes() == b"3" and [p.name for p in tmp_path.iterdir()] == ["case"]
    (tmp_path / "other").mkdir()
    check_free(tmp_path / "other", True, "circuit.json")
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(LsrlError):
        check_free(tmp_path / "other", True, "circuit.json")


def test_a_disguise_that_a_target_cannot_hold_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from lsrl.backends.registry import TARGETS

    def refuse(circuit: Circuit, dtype: torch.dtype) -> None:
        raise ValueError("no such units")

    program = load("regular/parity")
    row = TARGETS["lstm"]
    import lsrl.export.case as case

    monkeypatch.setattr(case, "find_target", lambda name: type("Row", (), {"lower": staticmethod(row.lower),
                                                                           "emit": staticmethod(refuse)}))
    with pytest.raises(LsrlError) as caught:
        compile_case(program.graph, "lstm", disguise="permute")
    assert caught.value.diagnostics[0].code == "L631"
