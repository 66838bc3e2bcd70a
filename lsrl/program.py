"""The Python API: load or parse a program, run it, compile it, verify a model of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from lsrl.diagnostics import Source
from lsrl.ir.graph import Graph
from lsrl.types import Symbols, Type, Value, Vector

if TYPE_CHECKING:
    import torch

    from lsrl.backends.kernels.module import KernelModule
    from lsrl.backends.model import CompiledModel
    from lsrl.frontend.modules import Module
    from lsrl.interpreter import Interpreter
    from lsrl.verify import Verdict

KernelName: TypeAlias = Literal["c", "triton", "auto"]
_KERNELS = ("c", "triton", "auto")
_KERNEL_OPTIONS = ("check", "shape", "floats", "debug", "method", "tolerance", "iterations")
_WEIGHT_OPTIONS = ("approx", "horizon")

__all__ = ["Program", "compile", "load", "load_model", "parse", "verify"]


@dataclass(frozen=True, eq=False)
class Program:
    """A checked program.

    graph: its dataflow graph. text: the whole file it stands in. name: its name there.
    """

    graph: Graph
    text: str

    @property
    def name(self) -> str:
        return self.graph.name

    def __repr__(self) -> str:
        return f"<program {self.name}>"

    @cached_property
    def _interpreter(self) -> Interpreter:
        from lsrl.interpreter import Interpreter

        return Interpreter(self.graph)

    def run(self, stream: str | bytes | Iterable[Any], state: Mapping[str, Value] | None = None) -> list[Any]:
        """The output of every token: the reference meaning.

        stream: a text or bytes, for one input of symbols or bytes; else one value a token for a program with one
        input, or a dict a token from input names to values. Symbols may be names or codes.
        Gives one value a token, a dict for several outputs; symbols as names, vectors as tuples, reals as Fractions
        (floats in numeric programs). Raises lsrl.interpreter.RunError where a check fails or an input does not fit.
        """
        if isinstance(stream, str | bytes) and len(self.graph.inputs) == 1:
            from lsrl.transition_table import run_text

            shown, _ = run_text(self.graph, stream, state, self._shown)
            return [dict(x) for x in shown] if shown and isinstance(shown[0], dict) else shown
        rows = (self._row(x) for x in stream)
        return [self._shown(outputs) for outputs in self._interpreter.run(rows, state)]

    def step(self, inputs: Any = None, state: Mapping[str, Value] | None = None) -> tuple[Any, dict[str, Value]]:
        """Output and new state of one token; `state` as a step before gave it, the initial one if left out."""
        before = self.initial_state() if state is None else state
        outputs, after = self._interpreter.step(before, self._row(inputs))
        return self._shown(outputs), after

    def initial_state(self) -> dict[str, Value]:
        """The value of every state before the first token."""
        return self._interpreter.initial_state()

    @overload
    def compile(self, target: KernelName, dtype: torch.dtype | None = None, uniform: bool = False,
                **options: Any) -> KernelModule: ...

    @overload
    def compile(self, target: str, dtype: torch.dtype | None = None, uniform: bool = False,
                **options: Any) -> CompiledModel: ...

    def compile(self, target: str, dtype: torch.dtype | None = None, uniform: bool = False,
                **options: Any) -> CompiledModel | KernelModule:
        """As `lsrl.compile`. Raises LsrlError (L4xx) where the target cannot host the program."""
        return compile(self, target, dtype, uniform, **options)

    def _row(self, x: Any) -> Mapping[str, object]:
        if isinstance(x, Mapping):
            return x
        if x is None and not self.graph.inputs:
            return {}
        if len(self.graph.inputs) != 1:
            names = ", ".join(i.name for i in self.graph.inputs) or "none"
            raise TypeError(f"a token of {self.name} is a dict of its inputs: {names}")
        return {self.graph.inputs[0].name: x}

    def _shown(self, outputs: Mapping[str, Value]) -> Any:
        named = {n: _named(outputs[n], node.type) for n, node in self.graph.outputs}
        return named["out"] if list(named) == ["out"] else named


def _named(value: Value, t: Type) -> Any:
    """A value with symbols by name."""
    if isinstance(value, tuple):
        elem = t.elem if isinstance(t, Vector) else t
        return tuple(_named(v, elem) for v in value)
    return t.name(value) if isinstance(t, Symbols) and isinstance(value, int) else value


def load(path: str | Path, program: str | None = None, **sizes: int | str | Type) -> Program:
    """The program of a file; `program` names it where there are several.

    sizes: values of its generics; a type as in `K='{"a", "b"}'`. Raises LsrlError with every error found.
    """
    from lsrl.frontend.modules import load_module

    return _program(load_module(path), program, sizes)


def parse(text: str, program: str | None = None, *, name: str = "<text>", folder: str | Path = ".",
          **sizes: int | str | Type) -> Program:
    """The program of a text. name: what diagnostics call it. folder: where its imports are looked for."""
    from lsrl.frontend.modules import read_module

    return _program(read_module(Source(name, text), Path(folder)), program, sizes)


def _program(module: Module, name: str | None, sizes: Mapping[str, int | str | Type]) -> Program:
    from lsrl.frontend.modules import read_type

    known = {n: read_type(module.scope, n, v) if isinstance(v, str) else v for n, v in sizes.items()}
    return Program(module.elaborate(name, known), module.source.text)


@overload
def compile(program: Program | Graph | str | Path, target: KernelName, dtype: torch.dtype | None = None,
            uniform: bool = False, **options: Any) -> KernelModule: ...


@overload
def compile(program: Program | Graph | str | Path, target: str = "lstm", dtype: torch.dtype | None = None,
            uniform: bool = False, **options: Any) -> CompiledModel: ...


def compile(program: Program | Graph | str | Path, target: str = "lstm", dtype: torch.dtype | None = None,
            uniform: bool = False, **options: Any) -> CompiledModel | KernelModule:
    """A program as a torch module; float32 unless said otherwise.

    program: one that is loaded, or the path of a file, with the sizes of a generic program as options (`n=64`).
    target: exact weights of a recurrent module (`lsrl targets` lists them), or generated kernels: "c", "triton", or
    "auto", which goes by the device of the inputs. uniform: pad all layers of weights to one width, so that they are a
    single torch module. The other options of kernels are those of `lsrl.backends.kernels.module.KernelModule`.
    Of weights: approx: where the target cannot host the program exactly, each output may be off by so much (a Fraction
    or float); the certificate states the bound that was found, and for how many tokens. horizon: the number of tokens
    for which the model must be exact, or within that.
    Raises LsrlError (L4xx) with the place and the reason where the target cannot host the program.
    """
    import torch

    if isinstance(program, str | Path):
        known = {n: options.pop(n) for n in list(options) if n not in (*_KERNEL_OPTIONS, *_WEIGHT_OPTIONS)}
        program = load(program, None, **known)
    if target in _KERNELS:
        from lsrl.backends.kernels.module import KernelModule

        return KernelModule(_graph(program), target, torch.float32 if dtype is None else dtype, **options)
    wished = {n: options.pop(n) for n in _WEIGHT_OPTIONS if n in options}
    if options:
        raise TypeError(f"compiling to `{target}` has no option `{next(iter(options))}`")
    from lsrl.backends.registry import compile_graph

    return compile_graph(_graph(program), target, torch.float32 if dtype is None else dtype, uniform, **wished)


def load_model(path: str | Path, program: Program | Graph | None = None) -> Any:
    """A saved model or kernel module; `program`, if given, must be the one that it was compiled from.

    Raises LsrlError.
    """
    from lsrl.backends.model import load_model as load_file

    return load_file(path, None if program is None else _graph(program))


def verify(program: Program | Graph, model: Any = None, **options: Any) -> Verdict:
    """Compare a program with a model of it, or with its own assertions; options as of `lsrl.verify.verify`."""
    from lsrl.verify import verify as check

    return check(_graph(program), model, **options)


def _graph(program: Program | Graph) -> Graph:
    return program if isinstance(program, Graph) else program.graph
