"""An operator that solves for the states of all tokens at once, by Newton's method over time, where that pays.

It gives what the operator that runs a token at a time gives, within a tolerance: where the iteration has not come that
near within its limit, the tokens are run one at a time after all. Gradients need nothing of their own: an adjoint is
linear in its states, a scan already, and what it needs of the way forward is recorded from the states that were found.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.call import Options, Shape, state_dtype
from lsrl.backends.kernels.cost import choose_newton
from lsrl.backends.kernels.lanes import Lanes, port_names
from lsrl.backends.kernels.newton import GUESS, evaluated, guessed, linearised, unsuitable
from lsrl.backends.kernels.operator import MakeKernel, OfDevice, Operator
from lsrl.backends.kernels.plan import make_plan
from lsrl.diagnostics import LsrlError, did_you_mean

__all__ = ["Convergence", "Method", "Newton", "NewtonOperator", "operator_for"]

Method: TypeAlias = Literal["sequential", "newton", "auto"]
_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
_USUAL = 5  # iterations that a cell takes, before anything is known of it


@dataclass(frozen=True)
class Convergence:
    """What a call did. method: what its results come from.

    iterations: how many were made. change: by how much the last of them changed a state, at most over all tokens,
    relative to 1 + |state|; an iteration squares it, about. why: in words.
    """

    method: Literal["sequential", "newton"]
    iterations: int
    change: float
    why: str


class Newton:
    """How a module goes over time, and what its last call did: shared by all its operators.

    tolerance: the change at which an iteration is the last; None: 1e-5, and 1e-10 where states are float64.
    limit: of iterations, after which the tokens are run one at a time. Raises LsrlError (L415).
    """

    def __init__(self, method: str, tolerance: float | None, limit: int) -> None:
        if method not in get_args(Method):
            raise LsrlError.of("L415", f"there is no method `{method}`", help=did_you_mean(method, get_args(Method)) or
                               f"methods: {', '.join(get_args(Method))}")
        if tolerance is not None and not 0 < tolerance < math.inf:
            raise LsrlError.of("L415", f"a tolerance of {tolerance}; it is above 0")
        if limit < 1:
            raise LsrlError.of("L415", f"a limit of {limit} iterations; it is at least 1")
        self.method, self.tolerance, self.limit = method, tolerance, limit
        self.last: Convergence | None = None
        self.usual = _USUAL
        self._warned = False

    @property
    def options(self) -> tuple[str, float | None, int]:
        """What it was made with."""
        return self.method, self.tolerance, self.limit

    def failed(self, program: str, iterations: int, change: float) -> None:
        """Notes a call that did not converge; warns of the first."""
        why = f"the last of {iterations} iterations changed a state by {change:.1e}: the tokens were run one at a time"
        self.last = Convergence("sequential", iterations, change, why)
        if not self._warned:
            warnings.warn(f"Newton's method did not converge for `{program}`: {why}; the module's `newton` tells this "
                          "of each call", RuntimeWarning, stacklevel=2)
        self._warned = True


def operator_for(lanes: Lanes, options: Options, make_kernel: MakeKernel, of_device: OfDevice, shape: Shape | None,
                 newton: Newton) -> Operator:
    """The operator of a program for a method. Raises LsrlError (L415) where it is "newton" and cannot be."""
    if newton.method == "sequential":
        return Operator(lanes, options, make_kernel, of_device, shape)
    why = unsuitable(Parts.of(lanes))
    if not why:
        return NewtonOperator(lanes, options, make_kernel, of_device, shape, newton)
    if newton.method == "newton":
        raise LsrlError.of("L415", f"Newton's method is not for `{lanes.source.name}`: {why}", lanes.source.span,
                           help='take method="auto", which runs what suits the program')
    return Operator(lanes, options, make_kernel, of_device, shape)


class NewtonOperator(Operator):
    """An operator whose states are found by Newton's method where the method, or the cost model, says so."""

    def __init__(self, lanes: Lanes, options: Options, make_kernel: MakeKernel, of_device: OfDevice,
                 shape: Shape | None, newton: Newton) -> None:
        super().__init__(lanes, options, make_kernel, of_device, shape)
        self.newton = newton

    @cached_property
    def iteration(self) -> Operator:
        """One iteration: from guesses to states."""
        return super()._like(linearised(self.parts))

    @cached_property
    def evaluation(self) -> Operator:
        """From the states that were found to outputs and final states, with the program's checks."""
        return Operator(evaluated(self.parts), self.options, self._make, self._of_device, self.shape)

    def run(self, inputs: Sequence[Tensor], before: Sequence[Tensor], params: Sequence[Tensor], resets: Tensor | None,
            offsets: Tensor | None, rows: int, tokens: int, reverse: bool) -> tuple[list[Tensor], list[Tensor]]:
        """As every operator. What was done is noted in `newton.last`."""
        like = next(iter((*inputs, *before, *params)), torch.empty(0))
        found: list[Tensor] | None = None
        if self._pays(like.device, rows, tokens, offsets):
            found = self._solved(like, inputs, before, params, resets, offsets, rows, tokens, reverse)
        if found is None:
            return super().run(inputs, before, params, resets, offsets, rows, tokens, reverse)
        streams = self._streams(self.evaluation, inputs, found)
        return self.evaluation.run(streams, before, params, resets, offsets, rows, tokens, reverse)

    def _pays(self, device: torch.device, rows: int, tokens: int, offsets: Tensor | None) -> bool:
        newton = self.newton
        each = tokens if offsets is None else tokens // max(1, offsets.shape[0] - 1)
        count = rows if offsets is None else offsets.shape[0] - 1
        if each < 2 or not count:
            newton.last = Convergence("sequential", 0, 0.0, "there is at most one token")
            return False
        if newton.method == "newton":
            return True
        pays, why = choose_newton(self._of_device(device), count, each, self.lanes.width, newton.usual + 1, *self._work)
        if not pays:
            newton.last = Convergence("sequential", 0, 0.0, why)
        return pays

    @cached_property
    def _work(self) -> tuple[int, int]:
        """Operations of a token: of the program's step, and of an iteration."""
        plan = make_plan(self.iteration.parts)
        return make_plan(self.parts).operations, plan.operations + sum(c.operations for c in plan.cells)

    def _solved(self, like: Tensor, inputs: Sequence[Tensor], before: Sequence[Tensor], params: Sequence[Tensor],
                resets: Tensor | None, offsets: Tensor | None, rows: int, tokens: int,
                reverse: bool) -> list[Tensor] | None:
        """The states before each token; None if the iteration does not converge."""
        newton, own = self.newton, self.iteration
        tolerance = _TOLERANCE[self.options.carry] if newton.tolerance is None else newton.tolerance
        names = [p.name for p in own.lanes.states]
        start = [x for p, x in zip(self.lanes.states, before, strict=True) if p.name in names] if before else []
        guesses = self._first(like, before, offsets, rows, tokens)
        change, made = math.inf, 0
        while made < newton.limit and not change <= tolerance:
            found, _ = own.run(self._streams(own, inputs, guesses), start, params, resets, offsets, rows, tokens,
                               reverse)
            change = float(torch.stack([((x - y).abs() / (1 + x.abs())).amax() for x, y in zip(
                found, guesses, strict=True)]).amax())
            guesses, made = found, made + 1
            if not math.isfinite(change):
                break
        if not change <= tolerance:
            newton.failed(self.lanes.source.name, made, change)
            return None
        newton.usual = made
        newton.last = Convergence("newton", made, change, f"the last iteration changed no state by more than "
                                  f"{tolerance:.0e}")
        return guesses

    def _first(self, like: Tensor, before: Sequence[Tensor], offsets: Tensor | None, rows: int,
               tokens: int) -> list[Tensor]:
        """The first guess: every token has the state before the first; in packed sequences, the initial one."""
        known = {p.name: x for p, x in zip(self.lanes.states, before, strict=True)} if before else {}
        registers = {r.name: r for r in self.parts.registers}
        out = []
        for p in guessed(self.parts):
            if offsets is None and p.name in known:
                x = known[p.name].unsqueeze(1)
            else:
                initial = [float(registers[n].init) for n in p.parts]
                x = like.new_tensor(initial, dtype=state_dtype(p, self.parts, self.options))
                x = x.reshape(*p.seen, 1).expand(p.dims) if p.lane else x.reshape(p.dims)
            out.append(x.expand(*((rows, tokens) if offsets is None else (tokens,)), *p.dims))
        return out

    def _streams(self, operator: Operator, inputs: Sequence[Tensor], guesses: Sequence[Tensor]) -> list[Tensor]:
        known = dict(zip(port_names(self.lanes.inputs), inputs, strict=True))
        known.update({f"{GUESS}{p.name}": x for p, x in zip(guessed(self.parts), guesses, strict=True)})
        return [known[n] for n in port_names(operator.lanes.inputs)]

    def _like(self, lanes: Lanes) -> Operator:
        """Programs that record states are solved as this one is; adjoints are scans."""
        if unsuitable(Parts.of(lanes)):
            return super()._like(lanes)
        return NewtonOperator(lanes, self.options, self._make, self._of_device, self.shape, self.newton)
