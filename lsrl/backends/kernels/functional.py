"""The operator `lsrl::scan` under `torch.func` and in forward mode.

A custom operator of torch has no rule for the transforms of `torch.func` (`grad`, `vjp`, `jvp` and what is made of
them), and drops the tangents of dual tensors without a word. Where either is there, the operator is called through an
`autograd.Function`, which has them. Its tangent is the adjoint of its adjoint: pulling back is linear in the
cotangents, so pulling back through that pushes forward (Townsend 2017, "A new trick for calculating Jacobian vector
products").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch._functorch.pyfunctorch import coerce_cinterpreter as coerce
from torch.autograd import forward_ad

from lsrl.types import Real, scalar_of

__all__ = ["forward_mode", "run_scan"]


def forward_mode(tensors: Sequence[object]) -> bool:
    """Whether tangents are pushed through these tensors."""
    if torch.compiler.is_compiling():
        return False
    floats = [x for x in tensors if isinstance(x, Tensor) and x.is_floating_point()]
    if torch._C._are_functorch_transforms_active():
        stack = _functorch.get_interpreter_stack()
        return bool(floats) and any(i.key() == _functorch.TransformType.Jvp for i in stack)
    return forward_ad._current_level >= 0 and any(_unpacked(x)[1] is not None for x in floats)


def _unpacked(x: Tensor) -> tuple[Tensor, Tensor | None]:
    found = forward_ad.unpack_dual(x)  # type: ignore[no-untyped-call]
    return found.primal, found.tangent


def run_scan(inputs: Sequence[Tensor], before: Sequence[Tensor], params: Sequence[Tensor], resets: Tensor | None,
             offsets: Tensor | None, number: int, rows: int, tokens: int, reverse: bool) -> list[Tensor]:
    """`lsrl::scan`, with the rules that its caller's transforms want."""
    given = (*inputs, *before, *params)
    if not torch.compiler.is_compiling() and (torch._C._are_functorch_transforms_active() or forward_mode(given)):
        form = _Form(len(inputs), len(before), len(params), resets is not None, offsets is not None, number, rows,
                     tokens, reverse)
        flat = (*given, *(x for x in (resets, offsets) if x is not None))
        return list(_Scan.apply(form, *flat))  # type: ignore[no-untyped-call]
    made: list[Tensor] = torch.ops.lsrl.scan(list(inputs), list(before), list(params), resets, offsets, number, rows,
                                             tokens, reverse)
    return made


@dataclass(frozen=True)
class _Form:
    """The arguments of the operator that are no tensors, and how many tensors there are of each kind."""

    inputs: int
    before: int
    params: int
    resets: bool
    offsets: bool
    number: int
    rows: int
    tokens: int
    reverse: bool

    def arguments(self, flat: Sequence[Any]) -> tuple[Any, ...]:
        """The operator's arguments, from the tensors in a row (or what there is one of for each)."""
        rest = list(flat)

        def some(n: int) -> list[Any]:
            taken = rest[:n]
            del rest[:n]
            return taken

        streams, states, weights = some(self.inputs), some(self.before), some(self.params)
        resets, offsets = (some(1)[0] if there else None for there in (self.resets, self.offsets))
        return streams, states, weights, resets, offsets, self.number, self.rows, self.tokens, self.reverse

    def pulled(self, saved: Sequence[Tensor], grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The cotangents of the tensors in a row."""
        from lsrl.backends.kernels.operator import _backward

        sizes = self.inputs, self.before, self.params, self.number, self.rows, self.tokens, self.reverse
        ctx = SimpleNamespace(sizes=sizes, has=(self.resets, self.offsets), saved_tensors=saved)
        d_inputs, d_before, d_params, *_ = _backward(ctx, grads)
        return [*d_inputs, *d_before, *d_params, *(None,) * (self.resets + self.offsets)]


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(form: _Form, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.ops.lsrl.scan(*form.arguments(tensors)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        from lsrl.backends.kernels.operator import operator_of

        form, *tensors = inputs
        streams, _, params, resets, offsets, *_ = form.arguments(tensors)
        operator = operator_of(form.number)
        lanes, packs = operator.lanes, operator.packs
        records = packs.records(output[:len(packs)])
        saved = [*streams, *params, *records, *(x for x in (resets, offsets) if x is not None)]
        ctx.save_for_backward(*saved)
        ctx.save_for_forward(*saved)
        ctx.form = form
        real = {p.name: isinstance(scalar_of(p.type), Real) for p in lanes.outputs}
        ctx.smooth = [*(real[pack.outputs[0]] for pack in packs.packs), *(isinstance(scalar_of(p.type), Real)
                                                                    for p in lanes.states)]
        ctx.like = [(tuple(x.shape), x.dtype, x.device) for x in output]
        ctx.mark_non_differentiable(*(x for x, real in zip(output, ctx.smooth, strict=True) if not real))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        return None, *ctx.form.pulled(ctx.saved_tensors, grads)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor | None, ...]:
        pushed = [(i, t) for i, t in enumerate(tangents[1:]) if t is not None]
        interpreter: Any = _functorch.peek_interpreter_stack()
        if interpreter is None:
            return _pushed(ctx, [_unpacked(x)[0] for x in ctx.saved_tensors], pushed)
        level = interpreter.level()  # what is pushed here is calculated a level further out, which may push it again
        saved = [_functorch._unwrap_for_grad(x, level) for x in ctx.saved_tensors]
        pushed = [(i, _functorch._unwrap_for_grad(t, level)) for i, t in pushed]
        with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True), coerce(interpreter).lower():
            found = _pushed(ctx, saved, pushed)
        return tuple(None if x is None else _functorch._wrap_for_grad(x, level) for x in found)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], form: _Form, *tensors: Tensor) -> tuple[Any, Any]:
        from lsrl.backends.kernels.operator import _vmap

        made, dims = _vmap(info, form.arguments(in_dims[1:]), *form.arguments(tensors))
        return tuple(made), tuple(dims)


def _pushed(ctx: Any, saved: Sequence[Tensor], pushed: Sequence[tuple[int, Tensor]]) -> tuple[Tensor | None, ...]:
    """The tangents of the outputs. pushed: those of some tensors, by their places."""
    zeros = [torch.zeros(size, dtype=dtype, device=device) for (size, dtype, device), real in zip(
        ctx.like, ctx.smooth, strict=True) if real]

    def pull(*cotangents: Tensor) -> tuple[Tensor, ...]:
        rest = iter(cotangents)
        found = ctx.form.pulled(saved, [next(rest) if real else None for real in ctx.smooth])
        return tuple(x for i, _ in pushed if (x := found[i]) is not None)

    shown, push = torch.func.vjp(pull, *zeros)[:2]
    assert len(shown) == len(pushed)
    made = iter(push(tuple(t.to(x.dtype) for (_, t), x in zip(pushed, shown, strict=True))))
    return tuple(next(made) if real else None for real in ctx.smooth)
