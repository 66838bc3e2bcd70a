"""A benchmark case for interpretability work: a model, what it does, and the ground truth about how."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from lsrl.backends.approximate import bounded_inputs
from lsrl.backends.circuit import Circuit
from lsrl.backends.files import model_file_bytes, ordered
from lsrl.backends.gated.basis import turn_layers
from lsrl.backends.model import CompiledModel, assemble
from lsrl.backends.registry import compile_with_circuit, find_target
from lsrl.diagnostics import LsrlError
from lsrl.export.card import loading_code, model_card
from lsrl.export.circuit_graph import circuit_to_graphml, circuit_to_json
from lsrl.export.disguise import Disguise, disguise_circuit
from lsrl.export.interface import interface_json, plain_tensors
from lsrl.export.splits import Split, make_splits
from lsrl.ir.graph import Graph
from lsrl.ir.printer import print_graph
from lsrl.passes import run_pipeline
from lsrl.verify import Verdict, verify

__all__ = ["MARKER", "compile_case", "export_files"]

MARKER = "circuit.json"  # the file that tells an exported folder from others


def compile_case(graph: Graph, target: str, dtype: torch.dtype = torch.float32, disguise: str | None = None,
                 seed: int = 0, approx: Fraction | float | None = None,
                 horizon: int | None = None) -> tuple[CompiledModel, Circuit, Disguise | None]:
    """The model of a program, in disguise if one is named, with the circuit that it was emitted from.

    approx, horizon: as of `compile_graph`. Raises LsrlError: as that, and L631 where the target cannot hold the
    disguised circuit, or the model is not exact.
    """
    model, circuit = compile_with_circuit(graph, target, dtype, approx=approx, horizon=horizon)
    if disguise is None:
        return model, circuit, None
    if model.certificate.epsilon:
        raise LsrlError.of("L631", f"`{graph.name}` on `{target}` cannot be disguised: it has an error, and a disguise "
                           "would change it", graph.span, help="leave out --disguise")
    row, scalar = find_target(target), run_pipeline(graph)
    turned = disguise == "orthogonal"
    hidden, back = disguise_circuit(circuit, "permute" if turned else disguise, seed)
    try:
        emission = row.emit(hidden, dtype)
        if turned:
            emission, bases = turn_layers(hidden, emission, dtype, random.Random(f"basis {seed}"))
            rows = tuple((k, tuple(map(tuple, q.tolist()))) for k, q in bases.items())
            back = replace(back, kind=disguise, bases=rows)
    except (LsrlError, ValueError) as error:
        raise LsrlError.of("L631", f"`{graph.name}` on `{target}` cannot be disguised by `{disguise}`: {error}",
                           graph.span, help="try --disguise permute, or another --seed") from None
    return assemble(graph, scalar, hidden, emission, target, dtype), hidden, back


def export_files(graph: Graph, text: str, target: str, splits: Sequence[Split], dtype: torch.dtype = torch.float32,
                 disguise: str | None = None, seed: int = 0, states: int = 100_000, seconds: float = 60.0,
                 progress: Callable[[str], None] | None = None, approx: Fraction | float | None = None,
                 horizon: int | None = None) -> tuple[dict[str, bytes], CompiledModel, Verdict]:
    """The files of a case by their paths in its folder, its model, and the verdict on it.

    text: the program's file. approx, horizon: as of `compile_graph`; an error must be bounded for as many tokens as the
    longest input has. states, seconds: limits of the verifier. The same arguments give the same bytes, unless
    the verifier runs out of time. Raises LsrlError: as `compile_case`, L504 where data cannot be drawn, and L631 if the
    model is not equal to the program, which would be a fault of lsrl.
    """
    if approx is not None:
        horizon = max([horizon or 1, *(s.length for s in splits)])
    model, circuit, back = compile_case(graph, target, dtype, disguise, seed, approx, horizon)
    report = None if progress is None else lambda depth, n: progress(f"verifying, depth {depth}, {n:,} joint states")
    verdict = verify(graph, model, states=states, seconds=seconds, seed=seed, progress=report)
    if not verdict.ok:
        raise LsrlError.of("L631", f"the model of `{graph.name}` on `{target}` is not equal to the program: "
                           f"{verdict.render()}", graph.span, help="this is a fault of lsrl: please report it")
    drawn = bounded_inputs(graph, model.certificate.input_limit or 1) if model.certificate.epsilon else graph
    data = make_splits(drawn, splits, seed, progress)
    shown = circuit_to_json(circuit, {i.name: i.type for i in graph.inputs})
    claim = f"{verdict.headline}: {verdict.claim}"
    certificate = {**model.certificate.to_json(), "verdict": {
        "kind": verdict.kind, "claim": verdict.claim, "length": verdict.length, "tests": verdict.tests,
        "joint_states": verdict.joint_states, "transitions": verdict.transitions, "covers": dict(verdict.covers),
        "stopped": verdict.stopped}}
    description, tensors = model.contents()
    files = {
        "README.md": model_card(model, claim, list(splits), shown, disguise, _title(text)).encode(),
        "program.lsrl": text.encode(), "program.graph": print_graph(graph).encode(),
        "model.safetensors": model_file_bytes(description, tensors),
        "weights.safetensors": _safetensors(plain_tensors(model)), "interface.json": _json(interface_json(model)),
        "symbols.json": _json(model.symbols), "circuit.json": _json(shown),
        "circuit.graphml": circuit_to_graphml(shown), "certificate.json": _json(certificate),
        "load.py": loading_code(model).encode(),
        **{f"data/{name}.jsonl": lines for name, lines in data.items()}}
    if back is not None:
        files["disguise.json"] = _json(back.to_json())
    return files, model, verdict


def _safetensors(tensors: Mapping[str, Tensor]) -> bytes:
    return ordered(save_tensors(dict(tensors)))


def _json(data: Any) -> bytes:
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _title(text: str) -> str:
    """The first line of the text that a file starts with."""
    found = re.match(r'\s*"""\s*(.*?)\s*("""|\n)', text)
    return found.group(1) if found else ""
