"""The result of compiling to weights: a torch module, its certificate and its debug map, to run, save and load."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lsrl.backends.certificate import PRECISION, CellRow, Certificate, RangeRow
from lsrl.backends.circuit import Circuit
from lsrl.backends.emission import Emission, Technology, build_stack, holders_of, short
from lsrl.backends.encode import (
    ColumnGroup,
    Encoder,
    column_groups,
    decode_outputs,
    text_tokens,
    type_from_json,
    type_to_json,
)
from lsrl.backends.files import FORMAT, damaged, read_model_file, write_model_file
from lsrl.backends.layers import KINDS, Layer, ModuleStack, Stack, State, TorchStack
from lsrl.backends.least_dtype import horizon_of
from lsrl.backends.symbols import (
    Places,
    derived_from_json,
    derived_to_json,
    describe_symbols,
    placement_from_json,
    placement_to_json,
)
from lsrl.diagnostics import NOWHERE, LsrlError
from lsrl.types import BOOL, Type

if TYPE_CHECKING:
    from lsrl.backends.kernels.module import KernelModule
    from lsrl.backends.library import TransformersModel
    from lsrl.ir.graph import Graph

__all__ = ["CompiledModel", "assemble", "load_model", "program_hash"]

_DTYPES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16}
_MOST_LAYERS, _WIDEST = 10_000, 10_000_000  # what a file may claim


class CompiledModel(nn.Module):
    """A program as weights of ordinary torch layers.

    Parameters are constructed, not trained, and need no gradient until `requires_grad_()` asks for one. A state is a
    tuple of tensors (B, width), for each layer in turn those of its kind: h, or h and c. Sizes: B sequences, T tokens.
    """

    def __init__(self, description: Mapping[str, Any], technology: Technology | None,
                 layer: Callable[..., Layer] | None = None, stack: Stack | None = None) -> None:
        """From what `assemble` or a file describes. Raises ValueError, TypeError, KeyError or IndexError if that is
        no description of a model.

        technology: how torch's layers hold contents; None for layers that are modules, which `layer` makes.
        """
        super().__init__()
        self.description: dict[str, Any] = dict(description)
        self.name = str(description["name"])
        self.target = str(description["target"])
        self.text = str(description["text"])
        self.inputs = tuple((str(n), type_from_json(t)) for n, t in description["inputs"])
        self.outputs = tuple((str(n), type_from_json(t)) for n, t in description["outputs"])
        self.grids = tuple(Fraction(g) for g in description["grids"])
        self.certificate = Certificate.from_json(description["certificate"])
        self.symbols: dict[str, Any] = description["symbols"]
        dtype = _DTYPES[description["dtype"]]
        groups = [ColumnGroup.from_json(g) for g in description["columns"]]
        self.encoder = Encoder(self.inputs, groups, dtype, int(description["input_limit"]))
        widths = [int(w) for w in description["widths"]]
        if len(widths) > _MOST_LAYERS or any(not 0 <= w < _WIDEST for w in widths):
            raise ValueError(f"layers of the widths {str(widths)[:80]}")
        self.stack = stack or _empty_stack(description, self.encoder.width, widths, dtype, layer)
        top = max(widths[-1] if widths else self.encoder.width, 1)  # a column of zeros stands in for none
        self.readout = nn.Linear(top, len(self.grids), dtype=dtype)
        self.readout.requires_grad_(False)
        self.limits = tuple(None if x is None else float(x) for x in description["limits"])
        types = {str(n): type_from_json(t) for n, t in description["states"]}
        kinds = [tuple(map(str, k)) for k in description["unit_kinds"]]
        self.places = Places([placement_from_json(p, types) for p in description["placements"]],
                             self.stack, holders_of(self.stack, kinds, technology), kinds, types,
                             [derived_from_json(d, types) for d in description["derived"]],
                             whole=not self.certificate.epsilon)

    @property
    def layers(self) -> nn.ModuleList:
        """The torch layers themselves: one torch.nn.LSTM or RNN a layer, or a single one if `uniform`."""
        return self.stack.layers

    @property
    def graph(self) -> Graph:
        """The program that was compiled, read back from the text form of its graph."""
        from lsrl.ir.parser import parse_graph

        return parse_graph(str(self.description["graph"]))

    @property
    def variables(self) -> tuple[str, ...]:
        """The program's states that `probe` and `poke` know."""
        return self.places.variables

    def initial_state(self, batch: int) -> State:
        """The state before the first token, the same in each of `batch` rows."""
        return self.stack.initial_state(batch)

    def forward(self, inputs: Mapping[str, Any] | Any, state: State | None = None) -> tuple[Any, State]:
        """The outputs of every token, and the state after the last.

        inputs: name → tensor (B, T) or (B, T, n, …), the bare tensor of a program with one input; of one without
        inputs a tensor whose first two dimensions are B and T. Codes for symbols (`tokens` makes them of a text).
        Outputs likewise: the bare tensor of a program with one output, else a dict; bool, int64 or float64.
        Raises LsrlError: L602 to L606 for inputs that are not of their types, L407 beyond the range of exactness.
        """
        out, after = self.outputs_of(inputs, state)
        return (next(iter(out.values())) if len(out) == 1 else out), after

    def outputs_of(self, inputs: Mapping[str, Any] | Any,
                   state: State | None = None) -> tuple[dict[str, Tensor], State]:
        """As `forward`, with the outputs always as a dict."""
        raw, after = self.raw(inputs, state)
        return decode_outputs(raw, self.outputs, self.grids), after

    def raw(self, inputs: Mapping[str, Any] | Any, state: State | None = None) -> tuple[Tensor, State]:
        """The read-out before it is decoded (B, T, scalars of all outputs), which gradients can pass."""
        columns = self.encoder(inputs)
        batch, steps = columns.shape[:2]
        before = self.initial_state(batch) if state is None else self._checked(state, batch)
        if batch == 0 or steps == 0:
            return columns.new_zeros(batch, steps, len(self.grids)), before
        top, after, peaks = self.stack(columns, before, any(x is not None for x in self.limits))
        self.check_limits(peaks)
        if top.shape[-1] == 0:
            top = top.new_zeros(*top.shape[:-1], 1)
        return self.readout(top), after

    def check_limits(self, peaks: Sequence[float]) -> None:
        """That the largest element which each layer showed is one with which all sums are exact, else L407."""
        for layer, (peak, limit) in enumerate(zip(peaks, self.limits, strict=False)):
            if limit is not None and not peak <= limit:
                raise LsrlError.of(
                    "L407", f"a number in layer {layer + 1} reached {peak:.0f}; sums are exact up to {limit:.0f} there",
                    help="compile with dtype float64, or give the program's numbers a range")

    def to_transformers(self) -> TransformersModel:
        """The model with layers of the transformers library in the place of its own; outputs are equal bit for bit.

        Raises LsrlError (L410) for a target or a dtype for which the library has no layers, or where it is missing.
        """
        from lsrl.backends.library import TransformersModel, no_layers

        if not isinstance(self.stack, ModuleStack):
            raise no_layers(self.target)
        if self.stack.dtype != torch.float32:
            raise LsrlError.of("L410", f"layers of the transformers library keep their state in float32, and this "
                               f"model has {self.stack.dtype}", help="compile with dtype float32")
        layers = [layer.to_transformers() for layer in self.layers if isinstance(layer, Layer)]
        return TransformersModel(self, layers)

    def step(self, inputs: Mapping[str, Any] | Any, state: State | None = None) -> tuple[Any, State]:
        """One token: inputs and outputs as `forward` has them, without the dimension of tokens."""
        if isinstance(inputs, Mapping):
            inputs = {n: torch.as_tensor(x).unsqueeze(1) for n, x in inputs.items()}
        else:
            inputs = torch.as_tensor(inputs).unsqueeze(1)
        out, after = self(inputs, state)
        return ({n: x.squeeze(1) for n, x in out.items()} if isinstance(out, dict) else out.squeeze(1)), after

    def tokens(self, text: str | bytes) -> Tensor:
        """A text as the codes (1, T) of the program's one symbol or byte input. Raises LsrlError (L602, L605)."""
        if len(self.inputs) != 1:
            raise LsrlError.of("L602", f"a text is for one input; the program has {len(self.inputs)}")
        return text_tokens(self.inputs[0][1], text)

    def probe(self, state: State, name: str) -> Tensor:
        """The value of a program state in each row of a model state (B,); (B, n) of a vector. Raises LsrlError L408."""
        return self.places.read(state, name)

    def poke(self, state: State, name: str, value: Any) -> State:
        """A model state in which the program state `name` has this value (one, or one a row), all others theirs.

        Raises LsrlError: L408 for a state that is not there or cannot have the value, L602 to L605 for a bad value.
        """
        return self.places.write(state, name, value)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model as a safetensors file, whole or not at all. Raises LsrlError (L620)."""
        write_model_file(path, *self.contents())

    def contents(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What a file of the model holds: its description, as JSON values, and its tensors by name."""
        return self.description, self._tensors()

    def _tensors(self) -> dict[str, Tensor]:
        return {**{f"stack.{n}": t for n, t in self.stack.state_dict().items()},
                **{f"readout.{n}": t for n, t in self.readout.state_dict().items()}}

    def _checked(self, state: State, batch: int) -> State:
        wanted = [(batch, width) for _, _, width in self.stack.state_names]
        given = [tuple(t.shape) for t in state]
        if given != wanted:
            raise LsrlError.of("L602", f"a state of the shapes {given} is given; {wanted} is wanted")
        return state


def _empty_stack(description: Mapping[str, Any], inputs: int, widths: Sequence[int], dtype: torch.dtype,
                 layer: Callable[..., Layer] | None) -> Stack:
    """The stack that is described, its parameters still to be filled in."""
    if layer is None:
        kind = str(description["kind"])
        if kind not in KINDS:
            raise ValueError(f"layers of kind {kind}")
        return TorchStack(kind, inputs, widths, dtype, bool(description["uniform"]))
    layers = [layer(**{str(k): v for k, v in config.items()}, dtype=dtype) for config in description["layers"]]
    if [x.width for x in layers] != list(widths):
        raise ValueError(f"layers of the widths {[x.width for x in layers]}, not {list(widths)}")
    return ModuleStack(inputs, layers, dtype)


def program_hash(graph: Graph) -> str:
    """SHA-256, in hex, of the text form of a graph: equal for equal programs, whatever their layout and comments."""
    from lsrl.ir.printer import print_graph

    return hashlib.sha256(print_graph(graph).encode()).hexdigest()


def assemble(program: Graph, lowered: Graph, circuit: Circuit, emission: Emission, target: str, dtype: torch.dtype,
             uniform: bool = False, least_dtype: torch.dtype | None = None) -> CompiledModel:
    """The model of a circuit's emission.

    program: the graph as elaborated; lowered: the scalar graph that the circuit was made from (for its states' types).
    least_dtype: the least in which the same circuit is as exact, if it is less than dtype.
    """
    from lsrl.ir.printer import print_graph

    stack = build_stack(emission, len(circuit.columns), dtype, uniform)
    holders = holders_of(stack, emission.unit_kinds, emission.technology)
    placed = _placed(circuit)
    types: dict[str, Type] = dict.fromkeys(placed, BOOL)  # bits that stand for a state of the program
    types.update((s.name, s.type) for s in lowered.states)
    inputs = tuple((n.name, n.type) for n in program.inputs)
    outputs = tuple((o.name, o.type) for o in circuit.outputs)
    name = str(dtype).removeprefix("torch.")
    groups = column_groups(circuit.columns, dict(inputs))
    text = print_graph(program)
    weight, bias = emission.readout
    width = max(stack.widths[-1] if stack.widths else len(circuit.columns), 1)
    readout = nn.functional.pad(weight, (0, width - weight.shape[1])), bias
    certificate = _certificate(circuit, emission, target, name, stack, uniform, (*stack.parameters(), *readout),
                               "" if emission.epsilon is not None else short(least_dtype or dtype))
    description: dict[str, Any] = {
        "format": FORMAT, "name": program.name, "target": target, "kind": emission.kind, "dtype": name,
        "text": "" if program.span is NOWHERE else program.span.source.text, "graph": text,
        "program_sha256": hashlib.sha256(text.encode()).hexdigest(), "uniform": uniform,
        "inputs": [[n, type_to_json(t)] for n, t in inputs], "outputs": [[n, type_to_json(t)] for n, t in outputs],
        "states": [[n, type_to_json(types[n])] for n in sorted(placed)],
        "columns": [g.to_json() for g in groups], "grids": [str(g) for g in emission.grids],
        "input_limit": emission.input_limit or 2 ** PRECISION[name], "widths": list(stack.widths),
        "limits": list(emission.limits), "unit_kinds": [list(k) for k in emission.unit_kinds],
        "derived": [derived_to_json(d) for d in circuit.derived],
        "placements": [placement_to_json(p) for p in circuit.placements],
        "symbols": describe_symbols(circuit, types, holders, stack.tensors, emission.unit_kinds),
        "layers": [layer.config() for layer in stack.layers if isinstance(layer, Layer)],
        "certificate": certificate.to_json(),
    }
    model = CompiledModel(json.loads(json.dumps(description)), emission.technology, stack=stack)
    with torch.no_grad():
        for parameter, value in zip((model.readout.weight, model.readout.bias), readout, strict=True):
            parameter.copy_(value)
    return model


def _placed(circuit: Circuit) -> set[str]:
    return {*(name for p in circuit.placements for name in (*p.states, *(n for n, _ in p.numbers))),
            *(d.state for d in circuit.derived)}


def _certificate(circuit: Circuit, emission: Emission, target: str, dtype: str, stack: Stack, uniform: bool,
                 tensors: Sequence[Tensor], least_dtype: str) -> Certificate:
    return Certificate(
        program=circuit.name, target=target, dtype=dtype,
        horizon=horizon_of(circuit, emission, _DTYPES[dtype]) if emission.epsilon is None else emission.horizon,
        margin=emission.margin, tolerance=emission.tolerance, precision_bits=PRECISION[dtype],
        partial_sum=str(emission.partial_sum),
        ranges=tuple(RangeRow(q.name, "-inf" if q.lo is None else str(q.lo), "inf" if q.hi is None else str(q.hi),
                              str(q.grid) if q.grid else "none", str(q.growth) if q.growth else "")
                     for q in circuit.quantities),
        cells=tuple(CellRow(c.states, c.kind, c.layer, c.width, c.baseline,
                            "" if c.span is NOWHERE else str(c.span), c.note) for c in circuit.cells),
        widths=tuple(map(len, circuit.layers)) if not uniform else stack.widths, baseline=circuit.baseline,
        parameters=sum(t.numel() for t in tensors), nonzero=sum(int(t.count_nonzero()) for t in tensors),
        uniform=uniform, least_dtype=least_dtype, saturation=emission.saturation, input_limit=emission.input_limit,
        epsilon="" if emission.epsilon is None else str(emission.epsilon), errors=_errors(circuit, emission),
        notes=(*circuit.notes, *emission.notes),
        versions={"lsrl": _version(), "torch": torch.__version__, "python": platform.python_version()})


def _errors(circuit: Circuit, emission: Emission) -> tuple[tuple[str, float], ...]:
    """The largest bound of each output's scalars."""
    rest = iter(emission.errors)
    if emission.epsilon is None:
        return ()
    return tuple((o.name, max((next(rest) for _ in o.forms), default=0.0)) for o in circuit.outputs)


def _version() -> str:
    try:
        return importlib.metadata.version("lsrl")
    except importlib.metadata.PackageNotFoundError:
        return "from source"


def load_model(path: str | os.PathLike[str], program: Graph | None = None) -> Any:
    """The model in a file, a CompiledModel or a KernelModule: built from what the file says.

    program: the graph that it should be a model of, to be compared. Raises LsrlError: L620 to L623 and L625 for a
    file that is not a whole model (see `files`), L624 for a model of another program, L401 for an unknown target.
    """
    from lsrl.backends.registry import find_target

    description, tensors = read_model_file(path)
    name = os.fspath(path)
    if description.get("kind") == "kernel":
        return _load_kernel(name, description, tensors, program)
    try:
        target = find_target(str(description["target"]))
        _check_shapes(name, description, tensors)
        model = CompiledModel(description, target.technology, target.layer)
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError, OverflowError, RuntimeError) as error:
        raise LsrlError.of("L623", f"the metadata of `{name}` does not describe a model: {error}") from None
    own = model._tensors()
    if set(own) != set(tensors):
        missing = sorted(set(own) - set(tensors)) or sorted(set(tensors) - set(own))
        raise damaged(path, f"tensor `{missing[0]}` is missing or unknown")
    for key, t in own.items():
        if t.shape != tensors[key].shape or t.dtype != tensors[key].dtype:
            raise damaged(path, f"tensor `{key}` is {tuple(tensors[key].shape)} of {tensors[key].dtype}, "
                          f"not {tuple(t.shape)} of {t.dtype}")
        with torch.no_grad():
            t.copy_(tensors[key])
    if program is not None and program_hash(program) != description["program_sha256"]:
        raise _of_another(name, model.name, program)
    return model


def _of_another(file: str, name: str, program: Graph) -> LsrlError:
    which = f"`{name}`" if name != program.name else f"another `{name}`"
    return LsrlError.of("L624", f"`{file}` is a model of another program: of {which}", program.span,
                        help="compile the program again, or give the text that it was made from")


def _load_kernel(name: str, description: Mapping[str, Any], tensors: Mapping[str, Tensor],
                 program: Graph | None) -> KernelModule:
    from lsrl.backends.kernels.module import load_kernel

    try:
        model = load_kernel(description, tensors)
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError, OverflowError, RuntimeError) as error:
        raise LsrlError.of("L623", f"the metadata of `{name}` does not describe a kernel: {error}") from None
    except LsrlError as error:
        if not error.diagnostics[0].code.startswith("L09"):  # those of a graph's text
            raise
        raise LsrlError.of("L623", f"the graph in `{name}` cannot be read: {error.diagnostics[0].message}") from None
    if program is not None and program_hash(program) != program_hash(model.graph):
        raise _of_another(name, model.graph.name, program)
    return model


def _check_shapes(name: str, description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """That the claimed sizes are those of the tensors in the file, before anything of that size is made."""
    widths = [int(w) for w in description["widths"]]
    claimed = sum(w * w for w in widths) if "layers" not in description or not description["layers"] else sum(
        int(x) for layer in description["layers"] for s in layer.values() for x in (s if isinstance(s, list) else [s]))
    present = sum(t.numel() for t in tensors.values())
    if claimed > present or any(w < 0 for w in widths):
        raise damaged(name, f"it claims {claimed} weights and holds {present}")
