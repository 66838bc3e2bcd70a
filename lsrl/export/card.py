"""The model card of an exported case: what it is, what is proved about it, and how to load it without lsrl."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lsrl.backends.layers import KINDS
from lsrl.backends.model import CompiledModel
from lsrl.export.splits import Split

__all__ = ["loading_code", "model_card"]

_MODULES = {"lstm": "LSTM(columns, width, batch_first=True, dtype=dtype)",
            "gru": "GRU(columns, width, batch_first=True, dtype=dtype)",
            "rnn_relu": 'RNN(columns, width, nonlinearity="relu", batch_first=True, dtype=dtype)',
            "rnn_tanh": "RNN(columns, width, batch_first=True, dtype=dtype)"}

_PLAIN = '''import json

import torch
from safetensors.torch import load_file

weights, about = load_file("weights.safetensors"), json.load(open("interface.json"))
dtype = getattr(torch, about["dtype"])
columns, layers = max(about["columns"], 1), []
for i, width in enumerate(about["widths"]):
    layer = torch.nn.{module}
    own = f"layers.{{i}}."
    layer.load_state_dict({{n.removeprefix(own): t for n, t in weights.items() if n.startswith(own)}})
    layers.append(layer)
    columns = width


def run(inputs, tokens):
    """Lists of values by the input's name → values of the outputs, one a token, by their names."""
    x = torch.zeros(tokens, max(about["columns"], 1), dtype=dtype)
    for given in about["inputs"]:
        values = torch.tensor(inputs[given["name"]], dtype=torch.float64).reshape(tokens, -1) / given["grid"]
        for table in given["tables"]:
            value, rows = values[:, table["element"]], weights[table["tensor"]]
            value = value.round() if given["whole"] else value
            x += value[:, None].to(dtype) * rows if table["number"] else rows[(value - given["first"]).long()]
    x = x[None]
    for i, layer in enumerate(layers):
        state = tuple(weights[f"initial.{{i}}.{{s['name']}}"][None, None] for s in about["state"] if s["layer"] == i)
        x, _ = layer(x, state if len(state) > 1 else state[0])
    raw = (x[0] @ weights["readout.weight"].T + weights["readout.bias"]).double()
    out = {{}}
    for o in about["outputs"]:
        rows, grid = raw[:, o["rows"][0]:o["rows"][1]], torch.tensor(o["grid"], dtype=torch.float64)
        out[o["name"]] = torch.where(grid == 0, rows, rows.round() * grid).reshape(tokens, *o["shape"]).tolist()
    return out


def near(a, b, name):
    error = next(o["error"] for o in about["outputs"] if o["name"] == name)
    a, b = (torch.tensor(x, dtype=torch.float64) for x in (a, b))
    return bool(((a - b).abs() <= error).all())


right = total = 0
with torch.no_grad():
    for line in open("data/test.jsonl"):
        case = json.loads(line)
        tokens = len(next(iter(case["outputs"].values())))
        for name, values in run(case["inputs"], tokens).items():
            right += sum(near(a, b, name) for a, b in zip(values, case["outputs"][name], strict=True))
            total += tokens
print(f"{{right}} of {{total}} answers are right")
'''

_WITH_LSRL = '''import json

import lsrl
import torch

model = lsrl.load_model("model.safetensors")
right = total = 0
with torch.no_grad():
    for line in open("data/test.jsonl"):
        case = json.loads(line)
        tokens = len(next(iter(case["outputs"].values())))
        inputs = {n: torch.tensor([x], dtype=torch.float64) for n, x in case["inputs"].items()}
        inputs = inputs or torch.zeros(1, tokens)
        outputs, _ = model.outputs_of(inputs)
        for name, values in outputs.items():
            wanted = torch.tensor(case["outputs"][name], dtype=torch.float64)
            near = (values[0].double() - wanted).abs() <= dict(model.certificate.errors).get(name, 0)
            right += int(near.reshape(tokens, -1).all(1).sum())
            total += tokens
print(f"{right} of {total} answers are right")
'''


def loading_code(model: CompiledModel) -> str:
    """A script that loads the case in its folder and counts right answers on the test split.

    Layers that torch has are loaded by torch and safetensors alone; others by lsrl, which holds their modules.
    """
    kind = str(model.description["kind"])
    return _PLAIN.format(module=_MODULES[kind]) if kind in KINDS and kind in _MODULES else _WITH_LSRL


def model_card(model: CompiledModel, verdict: str, splits: list[Split], circuit: Mapping[str, Any],
               disguise: str | None, title: str) -> str:
    """The card as Markdown. verdict: the verifier's headline and claim. title: what the program says of itself."""
    c = model.certificate
    horizon = "every length" if c.horizon is None else f"{c.horizon:,} tokens"
    facts = [
        ("program", f"`{model.name}`" + (f": {title}" if title else "")), ("target", f"`{model.target}`, {c.dtype}"),
        ("layers", " → ".join(map(str, c.widths)) or "none"),
        ("weights", f"{c.parameters:,}, of which {c.nonzero:,} are not zero"),
        ("verdict", verdict), ("within the bound for" if c.epsilon else "exact for", horizon),
        ("error" if c.epsilon else "read-out error", f"at most {c.error or c.tolerance:.3g}"),
        ("circuit", f"{len(circuit['nodes'])} nodes, {len(circuit['edges'])} edges"),
        ("disguise", disguise or "none"),
        ("versions", ", ".join(f"{k} {v}" for k, v in sorted(c.versions.items())))]
    data = "\n".join(f"- `data/{s.name}.jsonl`: {s.sequences:,} inputs of {s.length} tokens" for s in splits)
    inputs = "\n".join(f"- input `{n}`: `{t}`" for n, t in model.inputs)
    outputs = "\n".join(f"- output `{n}`: `{t}`" for n, t in model.outputs)
    plain = loading_code(model)
    how = "lsrl alone knows these layers:" if plain is _WITH_LSRL else "With torch and safetensors, without lsrl:"
    return _CARD.format(
        name=model.name, target=model.target, facts="\n".join(f"| {k} | {v} |" for k, v in facts), inputs=inputs,
        outputs=outputs, data=data, how=how, code=plain,
        disguise="" if disguise is None else
        "- `disguise.json`: the map back: the role of every unit, and its index in the plain circuit\n")


_CARD = """# {name} on {target}

A recurrent model whose weights were constructed from a program, not trained: what every unit does is known.

| | |
| --- | --- |
{facts}

{inputs}
{outputs}

## Files

- `program.lsrl`, `program.graph`: the program, and its dataflow graph as text
- `model.safetensors`: the whole model, for `lsrl.load_model`
- `weights.safetensors`, `interface.json`: its tensors by plain names, and how values go in and come out
- `symbols.json`: which unit carries which variable, at which levels; what each unit means, and its source line
- `circuit.json`, `circuit.graphml`: the ground truth: which unit feeds which, with what weight. `delay` 1 marks
  recurrent edges. `networkx.node_link_graph(json.load(open("circuit.json")), edges="edges")` reads it
- `load.py`: the code below
- `certificate.json`: ranges, margins, horizon, sizes, and the verdict with what it covers
{disguise}{data}

Each line of the data is `{{"inputs": {{name: [a value a token]}}, "outputs": {{…}}}}`; symbols stand as codes,
whose names are in `interface.json`. The outputs are the interpreter's. No input is in two places.

## Loading

{how}

```python
{code}```
"""
