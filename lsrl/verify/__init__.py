"""The verifier: a program against a model, against another program, or against its own asserts.

The joint states (program state, hidden state bit for bit) are searched breadth first. If they close, the verdict is
PROVED; if a limit stops the search, EXHAUSTED to the length that was covered; inputs without end are TESTED; and a
difference is REFUTED with a shortest counterexample.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

from lsrl.diagnostics import Diagnostic, LsrlError
from lsrl.ir.graph import Graph
from lsrl.types import Type, Vector, is_finite, size, values
from lsrl.verify.machines import BATCH, Letters, Machine, ModelMachine, Outputs, ProgramMachine, SequenceMachine
from lsrl.verify.nearly import verify_nearly
from lsrl.verify.search import Found, Limits, search
from lsrl.verify.testing import Row, failing, in_batches, run_model, run_models, run_program, shrink, test_inputs
from lsrl.verify.verdict import Counterexample, Verdict

__all__ = ["Counterexample", "Limits", "Verdict", "letters_of", "verify"]

_MOST_LETTERS = 65_536
_TOGETHER = 1024  # tokens of random inputs that a compiled model runs at once
_BEYOND = 32  # random inputs that follow a search which did not close
_UNBOUNDED_LENGTH = 64  # tokens, where a state has no bound and no length was asked for


def verify(graph: Graph, model: Any = None, *, against: Graph | None = None, length: int | None = None,
           states: int | None = 1_000_000, seconds: float | None = 60.0, tests: int = 256, seed: int = 0,
           progress: Callable[[int, int], None] | None = None) -> Verdict:
    """Compares a program with a model, or with another program, or with its own asserts and ranges if neither is given.

    model: a `CompiledModel`, or any torch module with `step(inputs, state)` and `initial_state(batch)`, or one whose
    `forward` takes (B, T) inputs (a tensor, or a dict of them by name) and gives as many outputs.
    length, states, seconds: limits of the search; where a state is unbounded, length is 64 unless given.
    A compiled model is asked for no more tokens than its certificate's horizon; one with an error is tested against
    its certificate's bounds.
    tests: number of random inputs where the inputs have no end. progress: called with (depth, joint states).
    Raises LsrlError (L502) if the two sides have different inputs or outputs, (L503) for numeric programs against
    a model: their floats are compared by a bound, not by a proof.
    """
    began = time.monotonic()
    if model is not None and against is not None:
        raise ValueError("give a model or another program, not both")
    if against is not None:
        _require_same_interface(graph, against)
    if graph.numeric and model is not None:
        raise LsrlError(Diagnostic("L503", f"`{graph.name}` is numeric: its values are floats, not exact", graph.span,
                                   help="exact weights and proofs are for programs without transcendental functions"))
    claim = _claim(graph, model, against)
    covers = {} if model is None else _covers(model)
    certificate = getattr(model, "certificate", None)
    if certificate is not None and certificate.epsilon:
        near = verify_nearly(graph, model, certificate, claim, covers, length, tests, seed)
        return _timed(near, began, model, graph, seed)
    letters = letters_of(graph)
    if letters is not None:
        programs = [graph] if against is None else [graph, against]
        if length is None and any(not is_finite(s.type) for g in programs for s in g.states):
            length = _UNBOUNDED_LENGTH
        horizon = _horizon(model)
        if horizon is not None:
            length = horizon if length is None else min(length, horizon)
        found, outputs, program = _searched(graph, model, against, letters, Limits(length, states, seconds), progress)
        verdict = _from_search(found, graph, claim, covers, letters, outputs, program, against)
        if verdict.kind == "EXHAUSTED" and model is not None:
            # what lies beyond the covered length is at least tried
            beyond = _tested(graph, model, against, claim, covers, min(tests, _BEYOND), seed)
            verdict = verdict if beyond.ok else beyond
        if found.length or found.closed or not verdict.ok:
            return _timed(verdict, began, model, graph, seed)
    return _timed(_tested(graph, model, against, claim, covers, tests, seed), began, model, graph, seed)


def letters_of(graph: Graph) -> Letters | None:
    """All rows that one token of input can be; None if there are too many or no end of them."""
    sizes = [size(i.type) for i in graph.inputs]
    if None in sizes or math.prod(s for s in sizes if s is not None) > _MOST_LETTERS:
        return None
    rows = itertools.product(*(_all_values(i.type) for i in graph.inputs))
    return Letters(graph, [dict(zip((i.name for i in graph.inputs), row, strict=True)) for row in rows])


def _all_values(t: Type) -> list[Any]:
    if isinstance(t, Vector):
        return list(itertools.product(_all_values(t.elem), repeat=t.size))
    return list(values(t))


def _horizon(model: Any) -> int | None:
    """The tokens up to which a model claims to be exact; None for any number, or where nothing says."""
    return getattr(getattr(model, "certificate", None), "horizon", None)


def _claim(graph: Graph, model: Any, against: Graph | None) -> str:
    if against is not None:
        return f"`{graph.name}` and `{against.name}` are equal"
    if model is not None:
        target = getattr(getattr(model, "certificate", None), "target", None) or type(model).__name__
        return f"`{graph.name}` and its {target} model are equal"
    kinds = {c.kind for c in graph.checks} - {"assume"}
    return f"every {' and every '.join(sorted(kinds))} of `{graph.name}` holds" if kinds else \
        f"`{graph.name}`, which asserts nothing, runs"


def _covers(model: Any) -> dict[str, str]:
    """What a proof about floating point depends on."""
    import hashlib
    import platform

    import torch

    tensors = dict(model.state_dict()) if isinstance(model, torch.nn.Module) else {}
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    floats = sorted({str(x.dtype).removeprefix("torch.") for x in tensors.values() if x.is_floating_point()})
    devices = sorted({str(x.device) for x in tensors.values()})
    return {"dtype": "/".join(floats) or "none", "device": "/".join(devices) or "none", "torch": torch.__version__,
            "machine": platform.machine(), "batch": str(BATCH),
            "module": digest.hexdigest()[:16]}


def _searched(graph: Graph, model: Any, against: Graph | None, letters: Letters, limits: Limits,
              progress: Callable[[int, int], None] | None) -> tuple[Found, Outputs, ProgramMachine]:
    outputs, program, letters = _known_program(graph, letters)
    machines: list[Machine] = [program]
    if against is not None:
        machines.append(ProgramMachine(against, letters, outputs))
    elif model is not None:
        stepwise = callable(getattr(model, "step", None)) and callable(getattr(model, "initial_state", None))
        machines.append((ModelMachine if stepwise else SequenceMachine)(model, graph, letters, outputs))
    return search(machines, len(letters), limits, progress), outputs, program


class _Latest:
    """The program that was verified last: what the interpreter made of it serves the next model of it too."""

    parts: tuple[Graph, Outputs, ProgramMachine, Letters] | None = None


def _known_program(graph: Graph, letters: Letters) -> tuple[Outputs, ProgramMachine, Letters]:
    if _Latest.parts is None or _Latest.parts[0] is not graph:
        outputs = Outputs()
        _Latest.parts = graph, outputs, ProgramMachine(graph, letters, outputs), letters
    return _Latest.parts[1:]


def _from_search(found: Found, graph: Graph, claim: str, covers: dict[str, str], letters: Letters, outputs: Outputs,
                 program: ProgramMachine, against: Graph | None) -> Verdict:
    if found.word is None:
        kind = "PROVED" if found.closed else "EXHAUSTED"
        return Verdict(kind, claim, None if found.closed else found.length, 0, found.states, found.transitions, None,
                       covers, found.stopped)
    traces = [tuple(outputs.rows[o] for o in itertools.takewhile(lambda o: o >= 0, trace)) for trace in found.outputs]
    failed = found.outputs[0][-1] < 0
    reason = "the outputs differ"
    if failed:
        reason = f"the program stops: {program.failures[-1 - found.outputs[0][-1]].check.message}"  # type: ignore[union-attr]
    types = {**letters.types, **{n: node.type for n, node in graph.outputs}}
    titles = (graph.name, against.name) if against is not None else ("program", "model")
    example = Counterexample(tuple(letters.rows[x] for x in found.word), traces[0],
                             traces[1] if len(traces) > 1 else None, reason, types, titles)
    return Verdict("REFUTED", claim, None, 0, found.states, found.transitions, example, covers)


def _tested(graph: Graph, model: Any, against: Graph | None, claim: str, covers: dict[str, str], tests: int,
            seed: int) -> Verdict:
    other = None
    if model is not None:
        def other(rows: Any) -> Any:
            return run_model(model, graph, rows)
    elif against is not None:
        def other(rows: Any) -> Any:
            return run_program(against, rows)[0]

    def again(rows: Any) -> Any:
        return failing(graph, other, rows)

    horizon = _horizon(model)
    inputs = (rows[:horizon] for rows in test_inputs(graph, seed, tests, 64))
    for rows, known in _answered(model, graph, filter(None, inputs)):
        failure = failing(graph, known or other, rows)
        if failure is not None:
            failure = shrink(failure, again)
            types = {**{i.name: i.type for i in graph.inputs}, **{n: node.type for n, node in graph.outputs}}
            example = Counterexample(failure.inputs, failure.expected, failure.actual, failure.reason, types)
            return Verdict("REFUTED", claim, counterexample=example, covers=covers)
    return Verdict("TESTED", claim, tests=tests, covers=covers)


def _answered(model: Any, graph: Graph, inputs: Iterable[list[Row]],
              ) -> Iterator[tuple[list[Row], Callable[[Any], Any] | None]]:
    """Inputs, each with what a compiled model answers to a beginning of it; None for other models.

    A compiled model runs many inputs in one batch: as it is causal, what short ones are filled up with is no matter.
    """
    if not hasattr(model, "certificate"):
        yield from ((rows, None) for rows in inputs)
        return

    def of_beginnings(answer: tuple[Any, ...]) -> Callable[[Any], Any]:
        return lambda rows: answer[: len(rows)]

    for group in in_batches(inputs, _TOGETHER):
        yield from zip(group, map(of_beginnings, run_models(model, graph, group)), strict=True)


def _timed(verdict: Verdict, began: float, model: Any, graph: Graph, seed: int) -> Verdict:
    """The verdict with its time; for a refuted model that was not compiled here, its accuracy on random inputs."""
    from dataclasses import replace

    accuracy = None
    if verdict.kind == "REFUTED" and model is not None and not hasattr(model, "certificate"):
        right = total = 0
        for rows in test_inputs(graph, seed, 16, 128):
            expected, _ = run_program(graph, rows)
            if expected:
                actual = run_model(model, graph, rows[: len(expected)])
                right += sum(a == b for a, b in zip(expected, actual, strict=True))
                total += len(expected)
        accuracy = right / total if total else None
    return replace(verdict, accuracy=accuracy, seconds=time.monotonic() - began)


def _require_same_interface(a: Graph, b: Graph) -> None:
    for what, x, y in (("inputs", [(i.name, i.type) for i in a.inputs], [(i.name, i.type) for i in b.inputs]),
                       ("outputs", [(n, o.type) for n, o in a.outputs], [(n, o.type) for n, o in b.outputs])):
        if [n for n, _ in x] != [n for n, _ in y]:
            raise LsrlError.of("L502", f"`{a.name}` and `{b.name}` have different {what}: "
                               f"{', '.join(n for n, _ in x)} against {', '.join(n for n, _ in y)}", b.span)
        if what == "inputs" and x != y:
            raise LsrlError.of("L502", f"`{a.name}` and `{b.name}` have inputs of different types", b.span)


class _Package(ModuleType):
    """`lsrl.verify` is this package and also, as `lsrl.verify(program, model)`, the function of the Python API."""

    def __call__(self, program: Any, model: Any = None, **options: Any) -> Verdict:
        from lsrl.program import verify as check

        return check(program, model, **options)


sys.modules[__name__].__class__ = _Package
