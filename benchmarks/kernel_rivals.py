"""What else computes the rows of `benchmarks.kernels`: loops that numba or JAX compile, and kernels of other packages.

Each function of rivals gives, by name, the package that a rival needs ("" for none) and what makes it ready: compiled
at its first call, inputs where it wants them. None of them counts conversions of inputs or outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

__all__ = ["Rival", "automaton_on_cpu", "gated_backward_on_cpu", "gated_on_cpu", "gated_on_gpu", "jax_call",
           "jax_smooth"]

Rival: TypeAlias = "tuple[str, Callable[[], Callable[[], object]]]"


def gated_on_cpu(g: Tensor, u: Tensor) -> dict[str, Rival]:
    a, b = g.numpy(), u.numpy()
    c = np.empty_like(a)

    def numpy_loop() -> object:
        h = np.zeros_like(a[:, 0])
        for t in range(a.shape[1]):
            h = a[:, t] * h + b[:, t]
            c[:, t] = h
        return c

    return {"NumPy loop": ("", lambda: numpy_loop), "numba": ("numba", lambda: _numba_gated(a, b)),
            "jax lax.scan": ("jax", lambda: _jax_gated(a, b, False)),
            "jax associative_scan": ("jax", lambda: _jax_gated(a, b, True))}


def gated_backward_on_cpu(g: Tensor, u: Tensor, out: Tensor) -> dict[str, Rival]:
    def both() -> Callable[[], object]:
        import jax

        def total(a: Any, b: Any, d: Any) -> Any:
            return (_gated_scan(a, b) * d).sum()

        gradients = jax.jit(jax.grad(total, argnums=(0, 1)))
        a, b, d = (jax.numpy.asarray(x.numpy()) for x in (g, u, out))
        return lambda: _ready(gradients(a, b, d))

    return {"jax lax.scan": ("jax", both)}


def gated_on_gpu(g: Tensor, u: Tensor) -> dict[str, Rival]:
    return {"accelerated-scan": ("accelerated_scan", lambda: _accelerated(g, u)),
            "flash-linear-attention chunk_hgrn": ("fla", lambda: _chunk_hgrn(g, u)),
            "torch associative_scan": ("", lambda: _torch_scan(g, u))}


def automaton_on_cpu(after: Any, x: Any) -> dict[str, Rival]:
    return {"numba": ("numba", lambda: _numba_machine(after, x)),
            "jax lax.scan": ("jax", lambda: _jax_machine(after, x))}


def jax_call(module: str, name: str, x: Tensor) -> Callable[[], object]:
    """A function of jax over time."""
    import jax

    given = jax.numpy.asarray(x.numpy())
    run = jax.jit(lambda v: getattr(getattr(jax, module), name)(v, axis=1))
    return lambda: _ready(run(given))


def jax_smooth(x: Tensor, y: Tensor, z: Tensor, o: Tensor, u: float) -> Callable[[], object]:
    import jax

    def step(carried: Any, at: Any) -> Any:
        h, c = carried
        i, f = jax.nn.sigmoid(at[0] + u * h), jax.nn.sigmoid(at[1] + u * h)
        c = f * c + i * jax.numpy.tanh(at[2] + u * h)
        h = jax.nn.sigmoid(at[3] + u * h) * jax.numpy.tanh(c)
        return (h, c), h

    def whole(*streams: Any) -> Any:
        zero = jax.numpy.zeros_like(streams[0][:, 0])
        return jax.lax.scan(step, (zero, zero), tuple(s.swapaxes(0, 1) for s in streams))[1].swapaxes(0, 1)

    run = jax.jit(whole)
    given = [jax.numpy.asarray(v.numpy()) for v in (x, y, z, o)]
    return lambda: _ready(run(*given))


def _numba_gated(a: Any, b: Any) -> Callable[[], object]:
    import numba

    c = np.empty_like(a)

    def run(a: Any, b: Any, c: Any) -> None:
        for row in range(a.shape[0]):
            h = np.zeros(a.shape[2], np.float32)
            for t in range(a.shape[1]):
                for d in range(a.shape[2]):
                    h[d] = a[row, t, d] * h[d] + b[row, t, d]
                    c[row, t, d] = h[d]

    compiled = numba.njit(fastmath=True)(run)

    def call() -> object:
        compiled(a, b, c)
        return c

    return call


def _numba_machine(after: Any, x: Any) -> Callable[[], object]:
    import numba

    out = np.empty_like(x)

    def run(after: Any, x: Any, out: Any) -> None:
        for row in range(x.shape[0]):
            q = 0
            for t in range(x.shape[1]):
                q = after[q, x[row, t]]
                out[row, t] = q

    compiled = numba.njit(run)

    def call() -> object:
        compiled(after, x, out)
        return out

    return call


def _gated_scan(a: Any, b: Any) -> Any:
    import jax

    def step(h: Any, at: Any) -> Any:
        h = at[0] * h + at[1]
        return h, h

    return jax.lax.scan(step, jax.numpy.zeros_like(a[:, 0]), (a.swapaxes(0, 1), b.swapaxes(0, 1)))[1].swapaxes(0, 1)


def _jax_gated(a: Any, b: Any, associative: bool) -> Callable[[], object]:
    import jax

    def combine(p: Any, q: Any) -> Any:
        return p[0] * q[0], q[0] * p[1] + q[1]

    run = jax.jit(lambda g, u: jax.lax.associative_scan(combine, (g, u), axis=1)[1]) if associative else \
        jax.jit(_gated_scan)
    x, y = jax.numpy.asarray(a), jax.numpy.asarray(b)
    return lambda: _ready(run(x, y))


def _jax_machine(after: Any, x: Any) -> Callable[[], object]:
    import jax

    table = jax.numpy.asarray(after)

    def step(q: Any, letter: Any) -> Any:
        q = table[q, letter]
        return q, q

    def whole(letters: Any) -> Any:
        start = jax.numpy.zeros(letters.shape[0], after.dtype)
        return jax.lax.scan(step, start, letters.swapaxes(0, 1))[1].swapaxes(0, 1)

    run = jax.jit(whole)
    given = jax.numpy.asarray(x)
    return lambda: _ready(run(given))


def _ready(x: Any) -> Any:
    """The arrays that a call of JAX gives, when they are there: it returns before."""
    import jax

    wait: Any = jax.block_until_ready
    return wait(x)


def _accelerated(g: Tensor, u: Tensor) -> Callable[[], object]:
    from accelerated_scan.triton import scan

    gates, tokens = (x.transpose(1, 2).contiguous() for x in (g, u))
    return lambda: scan(gates, tokens).transpose(1, 2)


def _chunk_hgrn(g: Tensor, u: Tensor) -> Callable[[], object]:
    from fla.ops.hgrn import chunk_hgrn

    decays = g.log()
    return lambda: chunk_hgrn(u, decays)[0]


def _torch_scan(g: Tensor, u: Tensor) -> Callable[[], object]:
    from torch._higher_order_ops.associative_scan import associative_scan

    def combine(p: Any, q: Any) -> Any:
        return p[0] * q[0], q[0] * p[1] + q[1]

    run = torch.compile(lambda a, b: associative_scan(combine, (a, b), 1)[1])
    return lambda: run(g, u)
