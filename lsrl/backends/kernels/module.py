"""A program as a torch module that runs generated kernels: C on CPUs, Triton on GPUs."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from copy import deepcopy
from fractions import Fraction
from functools import cached_property
from typing import Any, get_args

import torch
from torch import Tensor, nn

from lsrl.backends.kernels.call import EDGES, Options, Shape, edge_dtype
from lsrl.backends.kernels.cost import Device
from lsrl.backends.kernels.dense import Arranged, arrange
from lsrl.backends.kernels.edges import check_offsets, named, read_stream
from lsrl.backends.kernels.functional import forward_mode, run_scan
from lsrl.backends.kernels.lanes import Lanes, Port, Ports
from lsrl.backends.kernels.newton_operator import Convergence, Newton, operator_for
from lsrl.backends.kernels.operator import FailedError, Operator, operator_of
from lsrl.backends.kernels.plan import Plan, make_plan
from lsrl.backends.kernels.states import State, given_state, initial_state, shown_state
from lsrl.backends.kernels.targets import device_of, find_backend, make_kernel
from lsrl.diagnostics import NOWHERE, LsrlError
from lsrl.interpreter import param_values
from lsrl.ir.graph import Graph
from lsrl.types import Real, scalar_of
from lsrl.types import shape as dims_of

__all__ = ["KernelModule", "load_kernel"]

_COMPILED = ("_operators",)  # attributes that hold compiled kernels
_SHARED = ("graph", "arranged", "plan", "_newton")  # and that never change
_MOST_ELEMENTS = 10_000_000  # of an array at the edge: what a file may claim


class KernelModule(nn.Module):
    """A program as a module. Sizes: B sequences, T tokens.

    graph: the program. target: "c", "triton", or "auto", which goes by the device of the inputs. dtype: of real inputs
    and outputs where the inputs do not say: float32, bfloat16, float16 or float64. Inside, and in every carried state,
    reals are float32, float64 for float64 inputs. check: that inputs are of their types and that the program's checks
    hold. shape: run in this shape of kernel, whatever the sizes are. floats: hold reals in floats even where the
    program is exact in counts of a step, so that it has gradients. debug: say where an infinity or a NaN first
    appears (L616), at the price of a second run. dense: whether vectors that matrices mix are lanes of the kernel, with
    what no state depends on left to torch; without it they are scalars; None: if they have more than 8 elements.

    method: "sequential" runs cells that are no scans a token at a time; "newton" solves for the states of all tokens
    at once (L415 where that cannot be); "auto" does where it is expected to be faster. tolerance: the change of a
    state, relative to 1 + |state|, at which an iteration is the last; 1e-5 if None, 1e-10 where states are float64.
    iterations: at most so many, after which the tokens are run one at a time. `newton` tells what the last call did.

    `param`s are parameters of the module, under their names ("." becomes "_"), of the program's initial values.
    """

    def __init__(self, graph: Graph, target: str = "auto", dtype: torch.dtype = torch.float32, *, check: bool = True,
                 shape: Shape | None = None, floats: bool = False, debug: bool = False,
                 dense: bool | None = None, method: str = "sequential", tolerance: float | None = None,
                 iterations: int = 16) -> None:
        super().__init__()
        self._newton = Newton(method, tolerance, iterations)
        find_backend(target)
        if dtype not in EDGES:
            raise LsrlError.of("L407", f"a kernel has no numbers of {dtype}",
                               help=f"take one of {', '.join(str(d).removeprefix('torch.') for d in EDGES)}")
        self.graph, self.target, self.dtype, self.check, self.shape = graph, target, dtype, check, shape
        self.debug = debug
        self.dense = dense
        self.arranged: Arranged = arrange(graph, floats, dense, target == "c")
        self._operators: dict[torch.dtype, Operator] = {}
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        initial = param_values(graph)
        for p in self.ports.params:
            self.register_parameter(_attribute(p.name), nn.Parameter(torch.tensor(initial[p.name], dtype=wide)))
        if floats and not self._has_reals():
            raise LsrlError.of("L414", f"floats are asked for, and `{graph.name}` has no reals, so no gradients",
                               graph.span, help="declare what gradients go to as real, or leave `floats` out")
        self._operator(dtype)  # refusals come now

    @property
    def lanes(self) -> Lanes:
        """What the kernel runs."""
        return self.arranged.lanes

    @property
    def ports(self) -> Ports:
        """The program's arrays."""
        return self.arranged.ports

    @cached_property
    def plan(self) -> Plan:
        """The plan of the kernels."""
        return make_plan(self._operator(self.dtype).parts, Options(self.dtype))

    @property
    def exact(self) -> bool:
        """Whether outputs are those of the interpreter bit for bit; otherwise reals are floats."""
        return self._operator(self.dtype).parts.storage.exact

    @property
    def newton(self) -> Convergence | None:
        """What the last call did, of a module whose method is not "sequential"; copies of a module share it."""
        return self._newton.last

    def source(self, device: str | torch.device = "cpu") -> str:
        """The generated text of the kernels for a device."""
        kernel = self._operator(self.dtype).kernel(torch.device(device), False, False)
        return str(getattr(kernel, "source", ""))

    def initial_state(self, batch: int, device: str | torch.device = "cpu") -> State:
        """The state before the first token in each of `batch` rows."""
        return initial_state(self.ports.states, self._operator(self.dtype), batch, device)

    def forward(self, inputs: Mapping[str, Any] | Any, state: Mapping[str, Tensor] | None = None, *,
                resets: Any = None, cu_seqlens: Any = None, layout: str = "BT") -> tuple[Any, State]:
        """The outputs of every token, and the state after the last.

        inputs: name → tensor (B, T, *dims), or the bare tensor of a program with one input; of one without inputs a
        tensor whose first two dimensions are B and T. Codes for symbols (`tokens` makes them of a text).
        state: name → tensor (B, *dims), as this method returns it; the initial state if None.
        resets: bools (B, T); where true, all states start anew before that token.
        cu_seqlens: (sequences + 1) offsets of packed sequences: streams are then (total, *dims) or (1, total, *dims),
        and states have a row for each sequence. layout: "BT", or "TB" for streams (T, B, *dims).
        Outputs likewise: the bare tensor of a program with one output, else a dict; bool, the narrowest integers that
        hold the declared range, or the dtype of the real inputs.
        Raises LsrlError: L602 to L606 for inputs that are not of their types, L204, L501 and L601 where a check fails,
        L414 where gradients are asked of an exact program, L616 in debug mode.
        """
        if layout not in ("BT", "TB"):
            raise LsrlError.of("L602", f"there is no layout {layout!r}", help='it is "BT" or "TB"')
        streams, offsets, flattened, rows, tokens, device = self._streams(inputs, cu_seqlens, layout)
        edge = self._edge(streams)
        leaves = (*streams, *(() if state is None else state.values()), *self.parameters())
        gradients = forward_mode(leaves) or (
            torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in leaves))
        number: int = self._prepared(edge, gradients, resets is not None, offsets is not None)
        operator, used = self._operator(edge), operator_of(number)
        count = rows if offsets is None else offsets.shape[0] - 1
        before = [] if state is None else given_state(state, self.ports.states, operator, count, device)
        started = None if resets is None else self._resets(resets, rows, tokens, offsets is not None, layout, device)
        wide = operator.options.carry
        params = [getattr(self, _attribute(p.name)).to(device, wide) for p in self.ports.params]
        given = (*streams, *params)
        streams, params = self._calculated(operator, streams, params)
        try:
            made = run_scan(streams, before, params, started, offsets, number, rows, tokens, False)
        except FailedError as failed:
            raise self._explained(failed, operator, streams, before, params, started, offsets) from None
        if self.debug and not torch.compiler.is_compiling():
            from lsrl.backends.kernels.finite import first_not_finite

            fault = first_not_finite(operator, streams, before, params, started, offsets, rows, tokens)
            if fault is not None:
                raise fault
        return self._shown(made, used, operator, layout, flattened, given)

    def step(self, inputs: Mapping[str, Any] | Any, state: Mapping[str, Tensor] | None = None) -> tuple[Any, State]:
        """One token: inputs and outputs as `forward` has them, without the dimension of tokens."""
        if isinstance(inputs, Mapping):
            inputs = {n: torch.as_tensor(x).unsqueeze(1) for n, x in inputs.items()}
        else:
            inputs = torch.as_tensor(inputs).unsqueeze(1)
        out, after = self(inputs, state)
        return ({n: x.squeeze(1) for n, x in out.items()} if isinstance(out, dict) else out.squeeze(1)), after

    def tokens(self, text: str | bytes) -> Tensor:
        """A text as the codes (1, T) of the program's one symbol or byte input. Raises LsrlError (L602, L605)."""
        from lsrl.backends.encode import text_tokens

        if len(self.ports.inputs) != 1:
            raise LsrlError.of("L602", f"a text is for one input; the program has {len(self.ports.inputs)}")
        return text_tokens(self.ports.inputs[0].type, text)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the program and its parameters as a safetensors file, whole or not at all. Raises LsrlError (L620)."""
        from lsrl.backends.files import FORMAT, write_model_file
        from lsrl.ir.printer import print_graph

        description = {
            "format": FORMAT, "name": self.graph.name, "target": self.target, "kind": "kernel",
            "dtype": str(self.dtype).removeprefix("torch."), "check": self.check, "shape": self.shape,
            "floats": self.lanes.floats and self.arranged.outside is None, "dense": self.dense,
            "newton": self._newton.options, "graph": print_graph(self.graph),
            "text": "" if self.graph.span is NOWHERE else self.graph.span.source.text}
        write_model_file(path, description, dict(self.state_dict()))

    def __deepcopy__(self, memo: dict[int, Any]) -> KernelModule:
        """A module with parameters of its own that shares the compiled kernels."""
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        for name, value in self.__dict__.items():
            shared = dict(value) if name in _COMPILED else value
            made.__dict__[name] = shared if name in (*_COMPILED, *_SHARED) else deepcopy(value, memo)
        return made

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: the program as text; what is compiled is compiled again where it is needed."""
        from lsrl.ir.printer import print_graph

        kept = {n: v for n, v in self.__dict__.items() if n not in (*_COMPILED, *_SHARED)}
        return {**kept, "graph": print_graph(self.graph), "newton": self._newton.options,
                "floats": self.lanes.floats and self.arranged.outside is None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from lsrl.ir.parser import parse_graph

        kept = dict(state)
        graph, floats = parse_graph(kept.pop("graph")), bool(kept.pop("floats"))
        newton = Newton(*kept.pop("newton"))
        super().__setstate__({  # type: ignore[no-untyped-call]
            **kept, "graph": graph, "arranged": arrange(graph, floats, kept["dense"], kept["target"] == "c"),
            "_newton": newton,
            **{name: {} for name in _COMPILED}})

    def _has_reals(self) -> bool:
        ports = (*self.ports.inputs, *self.ports.outputs, *self.ports.states, *self.ports.params)
        return any(isinstance(scalar_of(p.type), Real) for p in ports)

    # Pieces of `forward`.

    def _operator(self, edge: torch.dtype) -> Operator:
        if edge not in self._operators:
            carry = torch.float64 if edge == torch.float64 else torch.float32
            self._operators[edge] = operator_for(
                self.lanes, Options(edge, carry, checks=self.check),
                lambda device, parts, options: make_kernel(self.target, device, parts, options), self._device,
                self.shape, self._newton)
        return self._operators[edge]

    def _device(self, device: torch.device) -> Device:
        return device_of(device, self.target)

    @torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # not traced: a program is analysed here
    def _prepared(self, edge: torch.dtype, gradients: bool, resets: bool, packed: bool) -> int:
        """The number of the operator for a float type, of the one that records states for gradients if they are."""
        operator = self._operator(edge)
        used = self._for_gradients(operator, resets, packed) if gradients else operator
        for o in (operator, used):
            _ = o.parts.registers  # found now: tracing cannot take the lock of a cached property
        return used.number

    def _for_gradients(self, operator: Operator, resets: bool, packed: bool) -> Operator:
        if operator.parts.storage.exact:
            raise LsrlError.of("L414", f"`{self.graph.name}` is exact: its numbers are integers, which have no "
                               "gradients", self.graph.span, help="compile it with floats=True, detach its inputs, or "
                               "run it under torch.no_grad()")
        return operator.for_gradients(resets, packed)

    def _calculated(self, operator: Operator, streams: list[Tensor],
                    params: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """The streams and params of the lanes, from those of the program."""
        outside, options = self.arranged.outside, operator.options
        if outside is None:
            return streams, params
        made = outside.maps(options.carry)[0](*streams, *params)
        own = [x.to(edge_dtype(p, options)) for p, x in zip(self.lanes.inputs, made, strict=False)]
        return own, [x.to(options.carry) for x in made[len(own):]]

    def _streams(self, inputs: Mapping[str, Any] | Any, cu_seqlens: Any,
                 layout: str) -> tuple[list[Tensor], Tensor | None, bool, int, int, torch.device]:
        packed = cu_seqlens is not None
        if not self.ports.inputs:
            return self._no_streams(inputs, cu_seqlens, layout)
        given = named("input", self.ports.inputs, inputs)
        flattened = False
        streams: list[Tensor] = []
        operator = self._operator(self.dtype)
        for p in self.ports.inputs:
            x = given[p.name]
            if packed and isinstance(x, Tensor) and x.dim() == 2 + len(p.dims) and x.shape[0] == 1:
                x, flattened = x[0], True
            if not packed and layout == "TB" and isinstance(x, Tensor) and x.dim() >= 2:
                x = x.transpose(0, 1)
            real = isinstance(scalar_of(p.type), Real)
            dtype = edge_dtype(p, operator.options)
            if real and isinstance(x, Tensor) and x.dtype in EDGES:
                dtype = x.dtype
            streams.append(read_stream(p, x, dtype, self._grid(p, operator), self.check, packed))
        sizes = {p.name: tuple(x.shape[: 1 if packed else 2]) for p, x in zip(self.ports.inputs, streams, strict=True)}
        devices = {x.device for x in streams}
        size, device = next(iter(sizes.values())), streams[0].device
        if any(s != size for s in sizes.values()):
            raise LsrlError.of("L602", "inputs of different lengths: " + ", ".join(
                f"`{n}` is {' × '.join(map(str, s))}" for n, s in sizes.items()))
        if len(devices) > 1:
            raise LsrlError.of("L602", f"inputs on different devices: {', '.join(sorted(map(str, devices)))}")
        if packed:
            return streams, check_offsets(cu_seqlens, size[0], device), flattened, 1, size[0], device
        return streams, None, False, size[0], size[1], device

    def _no_streams(self, inputs: Any, cu_seqlens: Any,
                    layout: str) -> tuple[list[Tensor], Tensor | None, bool, int, int, torch.device]:
        if isinstance(inputs, Mapping) or torch.as_tensor(inputs).dim() < 2:
            raise LsrlError.of("L606", "the program has no input, so the numbers of sequences and tokens are not known",
                               help="pass a tensor whose first two dimensions they are, such as torch.zeros(B, T)")
        given = torch.as_tensor(inputs)
        rows, tokens = given.shape[:2] if layout == "BT" else (given.shape[1], given.shape[0])
        if cu_seqlens is not None:
            return [], check_offsets(cu_seqlens, rows * tokens, given.device), True, 1, rows * tokens, given.device
        return [], None, False, rows, tokens, given.device

    def _grid(self, port: Port, operator: Operator) -> Fraction | None:
        t = scalar_of(port.type)
        if not isinstance(t, Real) or self.lanes.floats:
            return None
        if operator.parts.storage.floats:
            return t.grid
        stream = next(n for n in operator.parts.graph.inputs if n.name == port.name)
        return Fraction(1, operator.parts.storage.scale(stream)) if t.grid is None else t.grid

    def _edge(self, streams: list[Tensor]) -> torch.dtype:
        """The widest float type among the real inputs, which all get."""
        real = [x for p, x in zip(self.ports.inputs, streams, strict=True) if isinstance(scalar_of(p.type), Real)]
        if not real:
            return self.dtype
        edge = real[0].dtype
        for x in real[1:]:
            edge = torch.promote_types(edge, x.dtype)
        for i, p in enumerate(self.ports.inputs):
            if isinstance(scalar_of(p.type), Real):
                streams[i] = streams[i].to(edge)
        return edge

    def _resets(self, resets: Any, rows: int, tokens: int, packed: bool, layout: str, device: torch.device) -> Tensor:
        given = torch.as_tensor(resets).to(device)
        if packed and given.dim() == 2 and given.shape[0] == 1:
            given = given[0]
        if not packed and layout == "TB" and given.dim() == 2:
            given = given.transpose(0, 1)
        wanted = (tokens,) if packed else (rows, tokens)
        if given.dtype != torch.bool or tuple(given.shape) != wanted:
            raise LsrlError.of("L602", f"resets has shape {tuple(given.shape)} of {given.dtype}; bools of shape "
                               f"{wanted} are wanted")
        return given.contiguous()

    def _shown(self, made: list[Tensor], used: Operator, operator: Operator, layout: str, flattened: bool,
               given: tuple[Tensor, ...]) -> tuple[Any, State]:
        """Outputs and states as they are given back. given: the program's own streams and params."""
        made_out = used.packs.apart(made[:len(used.packs)])
        results = [made_out[p.name] for p in used.lanes.outputs if not p.name.startswith("~")]
        if self.arranged.outside is not None:
            shown = self.arranged.outside.maps(operator.options.carry)[1](*given, *results)
            results = [x.to(edge_dtype(p, operator.options)) for p, x in zip(self.ports.outputs, shown, strict=True)]
        out: dict[str, Tensor] = {}
        for p, x in zip(self.ports.outputs, results, strict=True):
            out[p.name] = x.unsqueeze(0) if flattened else x.transpose(0, 1) if layout == "TB" else x
        after = shown_state(made[len(used.packs):], self.ports.states, operator)
        return (next(iter(out.values())) if len(out) == 1 else out), after

    def _explained(self, failed: FailedError, operator: Operator, streams: list[Tensor], before: list[Tensor],
                   params: list[Tensor], resets: Tensor | None, offsets: Tensor | None) -> LsrlError:
        """The error of a check, in the interpreter's words: the tokens before are run again, and that one by it."""
        from lsrl.backends.kernels.failures import explain

        return explain(failed, self.graph, operator, streams, before, params, resets, offsets)


def _attribute(name: str) -> str:
    return name.replace(".", "_").replace("#", "_")


def load_kernel(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> KernelModule:
    """The module of a model file's contents. Raises KeyError, TypeError or ValueError if they are not of one."""
    from lsrl.ir.parser import parse_graph

    graph = parse_graph(str(description["graph"]))
    arrays = [(n.name, n.type) for n in graph.inputs] + [(s.name, s.type) for s in graph.states]
    for name, t in (*arrays, *((p.name, p.type) for p in graph.params)):
        if math.prod(dims_of(t)) > _MOST_ELEMENTS:
            raise ValueError(f"`{name}` of {t}")
    params = {_attribute(p.name): p for p in graph.params}
    if set(params) != set(tensors) or any(tuple(t.shape) != dims_of(params[n].type) or t.dtype not in EDGES
                                          for n, t in tensors.items()):
        raise ValueError("its tensors are not the program's params")
    chosen = description["shape"]
    if chosen not in (None, *get_args(Shape)) or description["dense"] not in (None, True, False):
        raise ValueError(f"a shape {chosen!r}")
    method, tolerance, iterations = description.get("newton", ("sequential", None, 16))
    module = KernelModule(graph, str(description["target"]),
                          {str(d).removeprefix("torch."): d for d in EDGES}[str(description["dtype"])],
                          check=bool(description["check"]), shape=chosen, floats=bool(description["floats"]),
                          dense=description["dense"], method=str(method),
                          tolerance=None if tolerance is None else float(tolerance), iterations=int(iterations))
    for n, p in module.named_parameters():
        p.data = tensors[n].clone()
    return module


