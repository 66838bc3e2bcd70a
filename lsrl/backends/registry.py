"""The weight targets, a row each: adding one is a file with its emitter and a line here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import torch

from lsrl.backends import gru, lstm, rnn_relu, rnn_tanh, slstm
from lsrl.backends.approximate import approximate
from lsrl.backends.certificate import PRECISION
from lsrl.backends.circuit import Circuit
from lsrl.backends.emission import Emission, short
from lsrl.backends.gated import (
    bilinear,
    delta,
    gateloop,
    gla,
    hgrn,
    linear,
    lru,
    mamba,
    mingru,
    minlstm,
    mlstm,
    retnet,
    rglru,
    rwkv,
)
from lsrl.backends.least_dtype import horizon_of, least_dtype
from lsrl.backends.lower import threshold_circuit
from lsrl.backends.model import CompiledModel, assemble, program_hash
from lsrl.backends.reasons import all_reasons
from lsrl.backends.refusal import RefusalError
from lsrl.backends.relu import relu_circuit, relu_nearly
from lsrl.backends.target import DTYPES, Target
from lsrl.diagnostics import LsrlError, did_you_mean
from lsrl.ir.graph import Graph
from lsrl.ir.remembered import remembered
from lsrl.passes import run_pipeline
from lsrl.seldom_collected import seldom_collected

__all__ = ["TARGETS", "Target", "TargetRow", "compile_graph", "compile_with_circuit", "explain_targets", "find_target",
           "render_targets"]

_MOST_KNOWN = 10_000
_HOSTED: dict[tuple[str, str, torch.dtype], bool] = {}  # by target and hash of the scalar program: it is hosted


TARGETS: dict[str, Target] = {t.name: t for t in (
    Target("lstm", "torch.nn.LSTM: automata, latches, counters, counter machines one level deep",
           lambda graph, name, dtype: threshold_circuit(graph, name, holds=True), lstm.emit, lstm.TECHNOLOGY,
           holds=True, dtypes=DTYPES, approximate=lstm.APPROXIMATE),
    gru.TARGET,
    rnn_tanh.TARGET,
    slstm.TARGET,
    Target("rnn_relu", "torch.nn.RNN(nonlinearity='relu'): also accumulators, delays, running maxima, sums of numbers",
           relu_circuit, rnn_relu.emit, rnn_relu.TECHNOLOGY, dtypes=DTYPES, approximate=relu_nearly),
    linear.TARGET,
    mingru.TARGET,
    minlstm.TARGET,
    hgrn.TARGET,
    gla.TARGET,
    mlstm.TARGET,
    rwkv.TARGET,
    gateloop.TARGET,
    retnet.TARGET,
    lru.TARGET,
    delta.TARGET,
    bilinear.TARGET,
    mamba.TARGET,
    rglru.TARGET,
)}


def find_target(name: str) -> Target:
    """The target of a name. Raises LsrlError (L401) for an unknown one."""
    if name not in TARGETS:
        raise LsrlError.of("L401", f"there is no target `{name}`",
                           help=did_you_mean(name, TARGETS) or f"targets: {', '.join(TARGETS)}")
    return TARGETS[name]


def compile_graph(graph: Graph, target: str, dtype: torch.dtype = torch.float32, uniform: bool = False,
                  approx: Fraction | float | None = None, horizon: int | None = None) -> CompiledModel:
    """The program as weights of the target's torch layers.

    uniform: pad all layers to one width, so that they are a single torch module. approx: where the target cannot host
    the program exactly, every output may be off by so much. horizon: the number of tokens for which the model must be
    exact, or within that. Raises LsrlError: L401 for an unknown target, L402 to L407 with the place and the reason
    where the target cannot host the program, L416 where it is exact for fewer tokens, L417 where no bound of the error
    is small enough, L418 for an error or a horizon that is not positive.
    """
    return compile_with_circuit(graph, target, dtype, uniform, approx, horizon)[0]


@seldom_collected()
def compile_with_circuit(graph: Graph, target: str, dtype: torch.dtype = torch.float32, uniform: bool = False,
                         approx: Fraction | float | None = None,
                         horizon: int | None = None) -> tuple[CompiledModel, Circuit]:
    """As `compile_graph`, with the circuit that the model was emitted from."""
    row = find_target(target)
    epsilon = _checked(approx, horizon)
    scalar = _scalar(graph)
    result = _try(row, scalar, dtype)
    if not isinstance(result, LsrlError):
        _require_horizon(*result, row, dtype, horizon)
    elif epsilon is not None and _may_be_near(result):
        circuit, emission = _nearly(row, scalar, dtype, epsilon, horizon)
        return assemble(graph, scalar, circuit, emission, target, dtype, uniform), circuit
    if isinstance(result, RefusalError):
        every = all_reasons(lambda part: row.lower(part, row.name, dtype), scalar, result)
        raise every.hosted_by(lambda: _hosts(row, scalar, dtype))
    if isinstance(result, LsrlError):
        raise _with_least_dtype(result, row, scalar, dtype) if result.diagnostics[0].code == "L407" else result
    circuit, emission = result
    least = least_dtype(row, *result, dtype)
    return assemble(graph, scalar, circuit, emission, target, dtype, uniform, least), circuit


def _checked(approx: Fraction | float | None, horizon: int | None) -> Fraction | None:
    """The error that is allowed. Raises LsrlError (L418)."""
    if horizon is not None and horizon < 1:
        raise LsrlError.of("L418", f"a horizon of {horizon} tokens is asked for; it is at least 1")
    if approx is None:
        return None
    if not math.isfinite(approx) or approx <= 0:
        raise LsrlError.of("L418", f"an error of {approx} is allowed; it is a positive number")
    return Fraction(approx)


def _require_horizon(circuit: Circuit, emission: Emission, row: Target, dtype: torch.dtype,
                     horizon: int | None) -> None:
    """That an exact model is exact for so many tokens. Raises LsrlError (L416)."""
    known = horizon_of(circuit, emission, dtype)
    if horizon is None or known is None or known >= horizon:
        return
    growing = [q.name for q in circuit.quantities if q.lo is None or q.hi is None]
    which = f"`{growing[0]}` grows without a bound and " if growing else "a sum "
    help = "declare a range for it"
    if dtype != torch.float64:
        help += ", or compile with dtype float64"
    raise LsrlError.of("L416", f"`{row.name}` in {short(dtype)} is exact for {known:,} tokens, not for {horizon:,}: "
                       f"{which}is exact up to 2^{PRECISION[short(dtype)]}", help=help)


def _may_be_near(error: LsrlError) -> bool:
    """Whether an error of the outputs would help: not for programs of floats, nor for those that are too large."""
    return error.diagnostics[0].code in ("L402", "L404")


def _nearly(row: Target, scalar: Graph, dtype: torch.dtype, epsilon: Fraction,
            horizon: int | None) -> tuple[Circuit, Emission]:
    """What the target makes of a program with an error. Raises LsrlError."""
    if row.approximate is None:
        raise LsrlError.of("L417", f"`{row.name}` hosts nothing with an error: its layers hold bits, or whole numbers")
    return approximate(row.approximate, scalar, row.name, dtype, epsilon, horizon)


@remembered(16)
def _scalar(graph: Graph) -> Graph:
    """The graph after the pipeline: one for all targets, which share what they find out about it."""
    return run_pipeline(graph)


def _try(row: Target, scalar: Graph, dtype: torch.dtype) -> tuple[Circuit, Emission] | LsrlError:
    """What the target makes of a program, or why it does not."""
    try:
        if dtype not in row.dtypes:
            known = ", ".join(map(short, row.dtypes))
            raise LsrlError.of("L407", f"`{row.name}` is exact in {known}, not in {short(dtype)}")
        circuit = row.lower(scalar, row.name, dtype)
        return circuit, row.emit(circuit, dtype)
    except LsrlError as error:
        return error


@seldom_collected()
def _hosts(row: Target, scalar: Graph, dtype: torch.dtype) -> list[str]:
    """The names of the other targets that host a program."""
    key = program_hash(scalar), dtype
    if len(_HOSTED) > _MOST_KNOWN:
        _HOSTED.clear()
    others = [t for t in TARGETS.values() if t is not row]
    for t in others:
        if (t.name, *key) not in _HOSTED:
            _HOSTED[t.name, *key] = not isinstance(_try(t, scalar, dtype), LsrlError)
    return [t.name for t in others if _HOSTED[t.name, *key]]


def _with_least_dtype(error: LsrlError, row: Target, scalar: Graph, dtype: torch.dtype) -> LsrlError:
    """The error with the least dtype that is exact in its help line; a greater one than the given."""
    first = DTYPES.index(dtype) + 1 if dtype in DTYPES else 0
    for other in DTYPES[first:]:
        if other in row.dtypes and not isinstance(_try(row, scalar, other), LsrlError):
            help = f"compile with dtype {short(other)}, the least in which `{row.name}` is exact"
            break
    else:
        help = "give the program's numbers smaller ranges: no dtype of the target is large enough"
    return LsrlError([replace(error.diagnostics[0], help=help)])


@dataclass(frozen=True, slots=True)
class TargetRow:
    """What one target makes of a program.

    params: weights and biases, of which `nonzero` are not 0. horizon: tokens, None for any number.
    error: the bound of its outputs' errors, 0 if it is exact.
    least_dtype: the least in which it is exact for so many. verdict: of the model, if it was asked for.
    """

    target: str
    hosts: bool
    width: int = 0
    layers: int = 0
    params: int = 0
    nonzero: int = 0
    baseline: int | None = None
    horizon: int | None = None
    least_dtype: str = ""
    reason: str = ""
    verdict: str = ""
    error: float = 0.0


@seldom_collected()
def explain_targets(graph: Graph, dtype: torch.dtype = torch.float32,
                    judge: Callable[[CompiledModel], str] | None = None, approx: Fraction | float | None = None,
                    horizon: int | None = None) -> list[TargetRow]:
    """For every target whether it hosts the program, at what size, or why not.

    judge: gives the verdict on a model; without it there is none. approx, horizon: as of `compile_graph`.
    """
    scalar, epsilon = _scalar(graph), _checked(approx, horizon)
    rows: list[TargetRow] = []
    for target in TARGETS.values():
        result = _try(target, scalar, dtype)
        try:
            if not isinstance(result, LsrlError):
                _require_horizon(*result, target, dtype, horizon)
            elif epsilon is not None and _may_be_near(result):
                result = _nearly(target, scalar, dtype, epsilon, horizon)
        except LsrlError as error:
            result = error
        if isinstance(result, LsrlError):
            why = result.reason if isinstance(result, RefusalError) else result.diagnostics[0].message
            rows.append(TargetRow(target.name, False, reason=why))
            continue
        least = least_dtype(target, *result, dtype) if result[1].epsilon is None else dtype
        model = assemble(graph, scalar, *result, target.name, dtype, least_dtype=least)
        certificate = model.certificate
        rows.append(TargetRow(target.name, True, sum(certificate.widths), len(certificate.widths),
                              certificate.parameters, certificate.nonzero, certificate.baseline, certificate.horizon,
                              certificate.least_dtype, verdict="" if judge is None else judge(model),
                              error=certificate.error))
    return rows


def render_targets(graph: Graph, judge: Callable[[CompiledModel], str] | None = None,
                   approx: Fraction | float | None = None, horizon: int | None = None) -> str:
    """`explain_targets` as a table."""
    head: tuple[str, ...] = ("target", "hosts it", "units", "layers", "weights", "n·k", "exact for", "least dtype")
    head = head if judge is None else (*head, "verdict")
    table: list[tuple[str, ...]] = [head]
    reasons: list[str] = []
    for r in explain_targets(graph, judge=judge, approx=approx, horizon=horizon):
        if r.hosts:
            length = "any length" if r.horizon is None else f"{r.horizon:,} tokens"
            hosts = f"to {r.error:.2g}" if r.error else "yes"
            table.append((r.target, hosts, str(r.width), str(r.layers), f"{r.params:,}",
                          "-" if r.baseline is None else str(r.baseline), length, r.least_dtype,
                          r.verdict)[: len(head)])
        else:
            table.append((r.target, "no", *("" for _ in head[2:])))
            reasons.append(f"{r.target}: {r.reason}")
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join([*lines, *reasons])
