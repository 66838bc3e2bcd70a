"""Helper functions of generated Triton files, and the functions of floats, right over their whole range.

tanh near 0 is Lambert's continued fraction x/(1 + x²/(3 + x²/(5 + …))) (Lambert 1768), elsewhere 1 − 2/(e²ˣ + 1), of
which the rounding at ±1 is harmless and the overflow of e²ˣ gives 1. log(1 + e) for 0 ≤ e ≤ 1 is 2 artanh(e/(2 + e))
by its series, as `tl.log` has only an absolute error near 1 on some devices. `tl.exp` in float32 has a relative error
of about (2 + |x|)·2⁻²⁴ on GPUs.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

__all__ = ["helper_text"]

_LEVELS = {"tl.float32": 5, "tl.float64": 10}  # of the continued fraction, for |x| < 0.625
_TERMS = {"tl.float32": 8, "tl.float64": 18}  # of the series in 0..1/9

_FIXED: dict[str, str] = {
    "INFINITY": """
INFINITY = tl.constexpr(float("inf"))
""",
    "floor_quotient": """
@triton.jit
def floor_quotient(x, n: tl.constexpr):
    q = x // n  # cut towards zero
    return tl.where(q * n > x, q - 1, q)
""",
    "floor_remainder": """
@triton.jit
def floor_remainder(x, n: tl.constexpr):
    r = x % n
    return tl.where(r < 0, r + n, r)
""",
    "float_remainder": """
@triton.jit
def float_remainder(x, n):
    r = x % n
    return tl.where(r < 0, r + n, r + 0.0)
""",
    "look_up": """
@triton.jit
def look_up(table, place, size: tl.constexpr):
    return tl.load(table + tl.minimum(tl.maximum(place, 0), size - 1))
""",
    "to_int32": """
@triton.jit
def to_int32(x):
    below = tl.floor(x)
    return tl.where(tl.abs(below) < 2147483648.0, below, 0.0).to(tl.int32)
""",
    "to_int64": """
@triton.jit
def to_int64(x):
    below = tl.floor(x)
    return tl.where(tl.abs(below) < 9223372036854775808.0, below, 0.0).to(tl.int64)
""",
    "least": """
@triton.jit
def least(a, b):
    return tl.where(a < b, a, tl.where(a != a, a, b))  # NaN if one is NaN
""",
    "greatest": """
@triton.jit
def greatest(a, b):
    return tl.where(a > b, a, tl.where(a != a, a, b))  # NaN if one is NaN
""",
    "sigmoid": """
@triton.jit
def sigmoid(x):
    e = tl.exp(-tl.abs(x))
    return tl.where(x < 0, e, 1.0) / (1.0 + e)
""",
    "silu": """
@triton.jit
def silu(x):
    return tl.where(x < -1e6, -0.0, x) * sigmoid(x)
""",
    "last": """
@triton.jit
def last(x, place, count, carried):
    # what stands at place count - 1 of a tile, and what is carried where there are no tokens
    here = tl.sum(tl.where(place == count - 1, x, tl.zeros_like(x)), 0)
    return tl.where(count > 0, here, carried)
""",
    "before": """
@triton.jit
def before(x, place, carried):
    # a tile one token later; what is carried comes first
    at = tl.broadcast_to(tl.maximum(place - 1, 0), x.shape)
    return tl.where(place == 0, carried[None, :], tl.gather(x, at, 0))
""",
}


def helper_text(names: Iterable[str], real: str) -> str:
    """The definitions of some helpers, in a fixed order. real: "tl.float32" or "tl.float64"."""
    wanted = set(names)
    made = {**_FIXED, "tanh": _tanh(_LEVELS[real]), "softplus": _softplus(_TERMS[real])}
    unknown = wanted - set(made)
    assert not unknown, unknown
    return "\n".join(text for name, text in made.items() if name in wanted)


def _tanh(levels: int) -> str:
    above, below = _lambert(levels)
    return f"""
@triton.jit
def tanh(x):
    size = tl.abs(x)
    z = tl.where(size < 0.625, x * x, 0.0)
    near = x * ({_horner(above)}) / ({_horner(below)})
    far = 1.0 - 2.0 / (tl.exp(2.0 * size) + 1.0)
    return tl.where(size < 0.625, near, tl.where(x < 0, -far, far))
"""


def _lambert(levels: int) -> tuple[list[Fraction], list[Fraction]]:
    """Numerator and denominator of tanh(x)/x as polynomials of z = x², scaled to a denominator that begins with 1."""
    a, b = [[Fraction(0)], [Fraction(1)]], [[Fraction(1)], [Fraction(1)]]
    for k in range(1, levels):
        for side in (a, b):
            wide = [Fraction(2 * k + 1) * c for c in side[-1]]
            shifted = [Fraction(0), *side[-2]]
            size = max(len(wide), len(shifted))
            side.append([(wide[i] if i < len(wide) else 0) + (shifted[i] if i < len(shifted) else Fraction(0))
                         for i in range(size)])
    top, bottom = a[-1], b[-1]
    while not top[-1]:
        top.pop()
    return [c / bottom[0] for c in top], [c / bottom[0] for c in bottom]


def _softplus(terms: int) -> str:
    series = [Fraction(1, 2 * k + 1) for k in range(terms)]
    return f"""
@triton.jit
def softplus(x):
    e = tl.exp(-tl.abs(x))
    s = e / (2.0 + e)
    z = s * s
    return tl.where(x < 0, 0.0, x) + 2.0 * s * ({_horner(series)})
"""


def _horner(coefficients: list[Fraction]) -> str:
    text = repr(float(coefficients[-1]))
    for c in reversed(coefficients[:-1]):
        text = f"{float(c)!r} + z * ({text})" if "z" in text else f"{float(c)!r} + z * {text}"
    return text
