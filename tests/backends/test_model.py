"""CompiledModel: batches, states, single steps, reading and writing variables, what it says of itself, bad input."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsrl.backends.model import CompiledModel
from lsrl.backends.registry import compile_graph
from lsrl.diagnostics import LsrlError
from lsrl.interpreter import Interpreter
from lsrl.ir.graph import Graph
from lsrl.types import Value
from tests.backends.texts import agree, as_tensors, graph_of, plain, random_rows

BRACKETS = """
type Char = {"(", ")", *}

program brackets(tok: Char) -> (ok: bool, depth: int[0..4]):
    state depth: int[0..4] = 0
    state broken: bool = false
    up = tok == "(" and depth < 4
    broken := broken or (tok == ")" and depth == 0) or (tok == "(" and depth == 4)
    depth := depth + 1 if up else depth - 1 if tok == ")" and depth > 0 else depth
    return (ok = depth == 0 and not broken, depth = depth)
"""
TARGETS = ("lstm", "rnn_relu")
SETTINGS = [(target, uniform, dtype) for target in TARGETS for uniform in (False, True)
            for dtype in (torch.float32, torch.float64)]


@pytest.fixture(scope="module")
def graph() -> Graph:
    return graph_of(BRACKETS)


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda s: f"{s[0]}-{'uniform' if s[1] else 'layers'}-{s[2]}")
def model(graph: Graph, request: pytest.FixtureRequest) -> CompiledModel:
    target, uniform, dtype = request.param
    return compile_graph(graph, target, dtype, uniform=uniform)


def tokens(batch: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 3, (batch, length), generator=torch.manual_seed(seed))


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    return torch.equal(a, b)


def test_it_equals_the_interpreter(graph: Graph, model: CompiledModel) -> None:
    rows = random_rows(graph, 300, 1)
    got, _ = model(as_tensors(graph, [rows]))
    want = list(Interpreter(graph).run(rows))
    assert got["ok"].dtype == torch.bool
    assert got["depth"].dtype == torch.int64
    for name in got:
        assert got[name][0].tolist() == [row[name] for row in want]


def test_a_batch_is_its_sequences(model: CompiledModel) -> None:
    x = tokens(7, 40)
    together, end = model(x)
    for i in range(7):
        alone, state = model(x[i : i + 1])
        assert equal({k: v[i : i + 1] for k, v in together.items()}, alone)
        assert equal(tuple(t[i : i + 1] for t in end), state)


def test_a_sequence_in_parts(model: CompiledModel) -> None:
    x = tokens(3, 50)
    whole, end = model(x)
    for cut in (0, 1, 17, 49, 50):
        first, state = model(x[:, :cut])
        second, last = model(x[:, cut:], state)
        assert equal({k: torch.cat([first[k], second[k]], 1) for k in whole}, whole)
        assert equal(last, end)


def test_steps_are_the_sequence(model: CompiledModel) -> None:
    x = tokens(4, 30)
    whole, end = model(x)
    state = model.initial_state(4)
    for t in range(30):
        out, state = model.step(x[:, t], state)
        assert equal(out, {k: v[:, t] for k, v in whole.items()})
    assert equal(state, end)


def test_the_number_of_threads_does_not_matter(model: CompiledModel) -> None:
    x = tokens(5, 200)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = model(x)
        torch.set_num_threads(2)
        two = model(x)
    finally:
        torch.set_num_threads(before)
    assert equal(one[0], two[0])
    assert equal(one[1], two[1])


def test_states_are_not_shared(model: CompiledModel) -> None:
    start = model.initial_state(2)
    kept = tuple(t.clone() for t in start)
    model(tokens(2, 10), start)
    assert equal(start, kept)
    start[0].fill_(9.0)
    assert equal(model.initial_state(2), kept)


def test_empty_batches_and_sequences(model: CompiledModel) -> None:
    out, state = model(torch.zeros(2, 0, dtype=torch.long))
    assert out["ok"].shape == (2, 0)
    assert equal(state, model.initial_state(2))
    out, state = model(torch.zeros(0, 3, dtype=torch.long))
    assert out["depth"].shape == (0, 3)
    assert state[0].shape[0] == 0


def test_probe_reads_what_the_interpreter_holds(graph: Graph, model: CompiledModel) -> None:
    rng = random.Random(3)
    assert set(model.variables) == {"depth", "broken"}
    for _ in range(20):
        rows: list[dict[str, Value]] = [{"tok": rng.choice([0, 0, 1, 2])} for _ in range(rng.randint(0, 9))]
        held = Interpreter(graph).initial_state()
        for row in rows:
            _, held = Interpreter(graph).step(held, row)
        state = model.initial_state(1)
        if rows:
            _, state = model(as_tensors(graph, [rows]), state)
        for name in ("depth", "broken"):
            assert model.probe(state, name).tolist() == [held[name]], rows


def test_poke_is_as_if_the_program_were_there(graph: Graph, model: CompiledModel) -> None:
    interpreter = Interpreter(graph)
    rows = random_rows(graph, 12, 5)
    for depth in range(5):
        for broken in (False, True):
            state = model.poke(model.poke(model.initial_state(2), "broken", broken), "depth", depth)
            assert model.probe(state, "depth").tolist() == [depth, depth]
            assert model.probe(state, "broken").tolist() == [broken, broken]
            got, _ = model(as_tensors(graph, [rows, rows]), state)
            want = list(interpreter.run(rows, {"depth": depth, "broken": broken}))
            for name in got:
                assert got[name].tolist() == [[row[name] for row in want]] * 2


def test_poke_takes_a_value_for_each_row(model: CompiledModel) -> None:
    state = model.poke(model.initial_state(3), "depth", torch.tensor([0, 3, 1]))
    assert model.probe(state, "depth").tolist() == [0, 3, 1]
    assert model.probe(model.poke(state, "depth", [2, 2, 4]), "depth").tolist() == [2, 2, 4]


def refused(code: str, act: Any) -> str:
    with pytest.raises(LsrlError) as caught:
        act()
    assert caught.value.diagnostics[0].code == code, str(caught.value)
    return str(caught.value)


def test_probe_and_poke_refuse_what_is_not_there(model: CompiledModel) -> None:
    state = model.initial_state(2)
    assert "did you mean `depth`" in refused("L408", lambda: model.probe(state, "deepth"))
    refused("L408", lambda: model.poke(state, "nothing", 1))
    refused("L603", lambda: model.poke(state, "depth", 5))
    refused("L603", lambda: model.poke(state, "depth", -1))
    refused("L602", lambda: model.poke(state, "depth", "x"))
    refused("L602", lambda: model.poke(state, "broken", 2))
    refused("L602", lambda: model.poke(state, "depth", [1, 2, 3]))


def test_the_layers_are_torch_modules(graph: Graph, model: CompiledModel) -> None:
    kind = nn.LSTM if model.target == "lstm" else nn.RNN
    assert all(type(layer) is kind for layer in model.layers)
    first = model.layers[0]
    assert isinstance(first, nn.RNNBase)
    assert first.batch_first
    if kind is nn.RNN:
        assert first.nonlinearity == "relu"
    if model.description["uniform"]:
        assert len(model.layers) == 1
        assert first.num_layers == len(model.certificate.widths)
    else:
        assert tuple(m.hidden_size for m in model.layers) == model.certificate.widths
    assert not any(p.requires_grad for p in model.parameters())


def test_gradients_flow_where_they_are_asked_for(graph: Graph) -> None:
    model = compile_graph(graph, "lstm").requires_grad_()
    raw, _ = model.raw(tokens(2, 5))
    grads = torch.autograd.grad(raw.sum(), list(model.parameters()))
    assert all(g.isfinite().all() for g in grads)


def test_symbols_say_where_variables_are(model: CompiledModel) -> None:
    symbols = json.loads(json.dumps(model.symbols))
    assert symbols == model.symbols
    _, state = model(tokens(4, 33))
    names = [(layer, tensor) for layer, tensor, _ in model.stack.state_names]
    for v in symbols["variables"]:
        total = torch.full((4,), float(v["bias"]), dtype=torch.float64)
        for tensor, index, weight, (off, on) in zip(v["tensor"], v["indices"], v["weights"], v["levels"], strict=True):
            raw = state[names.index((v["layer"], tensor))][:, index].double()
            total += float(weight) * ((raw - off) / (on - off)).round()
        assert total.tolist() == [float(x) for x in model.probe(state, v["variable"]).tolist()]
    assert {u["layer"] for u in symbols["units"]} == set(range(len(model.certificate.widths)))
    assert any("tok" in u["means"] for u in symbols["units"])


def test_the_certificate_states_its_facts(model: CompiledModel) -> None:
    c = model.certificate
    assert c.target == model.target
    assert c.horizon is None
    assert c.parameters == sum(p.numel() for p in model.parameters())
    assert c.nonzero == sum(int(p.count_nonzero()) for p in model.parameters())
    assert c.baseline is not None
    assert sum(c.widths) <= c.baseline or model.description["uniform"]
    table = c.table()
    assert "exact for" in table
    assert "every length" in table
    assert torch.__version__ in table
    assert c.to_json() == json.loads(json.dumps(c.to_json())) or c.cells


def test_the_same_program_gives_the_same_bytes(graph: Graph) -> None:
    for target in TARGETS:
        a, b = (compile_graph(graph, target) for _ in range(2))
        assert json.dumps(a.description) == json.dumps(b.description)
        assert equal(dict(a.state_dict()), dict(b.state_dict()))


# Inputs


def test_texts_become_tokens(model: CompiledModel) -> None:
    assert model.tokens("(a))").tolist() == [[0, 2, 1, 1]]
    assert model.tokens("").shape == (1, 0)
    out, _ = model(model.tokens("(()x())"))
    assert out["ok"][0].tolist() == [False] * 6 + [True]


def test_strange_symbols_and_bytes() -> None:
    bits = compile_graph(graph_of('program p(x: {"0", "1"}) -> bool:\n    return parity(x == "1")\n'), "rnn_relu")
    assert "offset 2" in refused("L605", lambda: bits.tokens("012"))
    raw = compile_graph(graph_of("program p(x: byte) -> bool:\n    return parity(x == 10)\n"), "rnn_relu")
    assert raw.tokens("é\n").tolist() == [[0xC3, 0xA9, 10]]
    assert raw.tokens(b"\xff\x00").tolist() == [[255, 0]]
    assert raw(raw.tokens("\n\n\n"))[0].tolist() == [[True, False, True]]
    refused("L608", lambda: bits.tokens(b"\xff"))
    refused("L602", lambda: compile_graph(graph_of("program p(x: bool) -> bool:\n    return x\n"), "lstm").tokens("1"))


@pytest.mark.parametrize(("given", "code"), [
    (torch.tensor([[0, 3]]), "L605"), (torch.tensor([[-1]]), "L605"), (torch.tensor([0, 1]), "L602"),
    (torch.tensor([[0.5]]), "L602"), (torch.tensor([[float("nan")]]), "L602"), ("((", "L602"), ({"tak": 1}, "L606"),
    ({}, "L606"), (torch.zeros(1, 2, 3), "L602"), (torch.zeros(1, 2, dtype=torch.complex64), "L602"),
    ({"tok": torch.zeros(1, 2), "x": torch.zeros(1, 2)}, "L606"),
])
def test_bad_inputs_are_refused(graph: Graph, given: Any, code: str) -> None:
    refused(code, lambda: compile_graph(graph, "rnn_relu")(given))


def test_bad_inputs_say_where() -> None:
    model = compile_graph(graph_of("program p(x: int[-3..5], y: real[-1..1 by 1/10]) -> int:\n"
                                   "    return x if y > 0 else 0\n"), "rnn_relu")
    good = {"x": torch.zeros(2, 3, dtype=torch.long), "y": torch.zeros(2, 3)}
    x = good["x"].clone()
    x[1, 2] = 6
    assert "token 2 of sequence 1" in refused("L603", lambda: model({**good, "x": x}))
    y = good["y"].clone()
    y[0, 1] = 0.05
    assert "token 1 of sequence 0" in refused("L604", lambda: model({**good, "y": y}))
    y[0, 1] = 1.1
    refused("L603", lambda: model({**good, "y": y}))
    refused("L602", lambda: model({**good, "x": x[:, :2]}))
    refused("L606", lambda: model(x))
    y[0, 1] = 0.3  # the float32 nearest to 3/10
    model({**good, "y": y})


def test_a_state_of_another_shape_is_refused(model: CompiledModel) -> None:
    refused("L602", lambda: model(tokens(2, 3), model.initial_state(3)))
    refused("L602", lambda: model(tokens(2, 3), model.initial_state(2)[:-1]))


def test_a_program_without_inputs() -> None:
    graph = graph_of("program clock() -> (i: int, even: bool):\n"
                     "    i = index()\n    return (i = i, even = not parity(true))\n")
    model = agree(graph, [[{}] * 7] * 2)
    out, state = model(torch.zeros(2, 3))
    assert out["i"].tolist() == [[0, 1, 2]] * 2
    out, _ = model.step(torch.zeros(2), state)
    assert out["i"].tolist() == [3, 3]
    refused("L606", lambda: model({}))


def test_a_program_that_is_only_a_map() -> None:
    graph = graph_of("program p(x: bool, y: int[0..9]) -> (x: bool, y: int, z: int):\n"
                     "    return (x = x, y = y, z = 7)\n")
    for target in TARGETS:
        model = compile_graph(graph, target)
        rows = random_rows(graph, 9)
        out, state = model(as_tensors(graph, [rows]))
        assert out["y"][0].tolist() == [row["y"] for row in rows]
        assert out["z"][0].tolist() == [7] * 9
        assert equal(model(as_tensors(graph, [rows]), state)[0], out)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("value", ["v", "[v, v]", "v[1]", "[v[0], v[0]]", "v[0..1]"])
def test_inputs_that_are_outputs(target: str, value: str) -> None:
    """An input that only an output uses keeps all its values."""
    types = {"v": "int[3]", "[v, v]": "int[2, 3]", "v[1]": "int", "[v[0], v[0]]": "int[2]", "v[0..1]": "int[2]"}
    graph = graph_of(f"program p(v: int[0..3][3]) -> {types[value]}:\n    return {value}\n")
    rows = random_rows(graph, 9)
    got, _ = compile_graph(graph, target)(as_tensors(graph, [rows]))
    assert got[0].tolist() == [plain(row["out"]) for row in Interpreter(graph).run(rows)]


def test_vectors_in_and_out() -> None:
    graph = graph_of("""
        program p(v: int[0..3][2, 3], b: bool[2]) -> int[3]:
            return [v[0, 2] + v[1, 0], max(v[1, 1], 2) if b[1] else v[0, 0], sum([int(x) for x in b])]
    """)
    batch = [random_rows(graph, 20, seed) for seed in range(2)]
    model = agree(graph, batch)
    out, _ = model(as_tensors(graph, batch))
    assert out.shape == (2, 20, 3)
    assert plain(out[0].tolist()) == [plain(row["out"]) for row in Interpreter(graph).run(batch[0])]
