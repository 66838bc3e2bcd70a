"""Small numeric programs, one for each class of cell, to differentiate."""

from __future__ import annotations

CELLS: dict[str, str] = {
    "accumulator": """
program summed[n](x: real[n]) -> real[n]:
    param w: real[n] = 0.75
    state s: real[n] = zeros(n)
    s := s + w * x
    return s * s
""",
    "affine": """
program ema[n](x: real[n]) -> real[n]:
    param w: real = 0.5
    state s: real[n] = zeros(n)
    s := 0.9 * s + sin(w * x)
    return s
""",
    "gated": """
program mingru[n](x: real[n], z: real[n]) -> real[n]:
    param w: real[n] = 0.5
    param b: real = 0.25
    state h: real[n] = zeros(n)
    g = sigmoid(w * z + b)
    h := (1 - g) * h + g * tanh(x)
    return h
""",
    "gated_shared": """
program shared[n](x: real[n], z: real) -> (h: real[n], count: real):
    param b: real = 0.25
    state h: real[n] = zeros(n)
    state c: real = 0.5
    g = sigmoid(z + b)
    c := g * c + z
    h := g * h + x * c
    return (h = h, count = c * c)
""",
    "delay": """
program difference(x: real) -> real:
    param w: real = 0.5
    return exp(w * (x - prev(x, 0)))
""",
    "latch": """
program held(x: real, p: bool) -> real:
    param w: real = 0.5
    return cos(w * hold(x, p, 0))
""",
    "tropical": """
program walk(x: real) -> real:
    param w: real = 0.5
    state s: real = 0.25
    s := max(min(s + w * x, 2), -1)
    return s * s
""",
    "affine_dense": """
program rotated(x: real, a: real) -> real:
    param w: real = 0.5
    state p: real = 1
    state q: real = 0
    c = cos(w * a)
    s = sin(w * a)
    old = p
    p := 0.9 * (c * p - s * q) + x
    q := 0.9 * (s * old + c * q)
    return p * q
""",
    "smooth": """
program lstm_lane[n](x: real[n]) -> real[n]:
    param w: real[n] = 0.5
    param u: real[n] = 0.25
    state h: real[n] = zeros(n)
    state c: real[n] = zeros(n)
    i = sigmoid(w * x + u * h)
    f = sigmoid(w * x - u * h + 1)
    g = tanh(u * x + w * h)
    c := f * c + i * g
    h := sigmoid(x) * tanh(c)
    return h
""",
    "matrix": """
program elman(x: real[2]) -> real[3]:
    param w: real[3, 3] = normal(0.5)
    param u: real[3, 2] = normal(0.5)
    param b: real[3] = 0.125
    state h: real[3] = zeros(3)
    h := tanh(w @ h + u @ x + b)
    return h
""",
    "functions": """
program many(x: real) -> real:
    param w: real = 0.5
    state s: real = 0.5
    a = softplus(w * x) + silu(x) + sqrt(1 + x * x)
    b = log(2 + sin(x)) / (1 + exp(w * x))
    s := 0.5 * s + abs(x) * b + (a if x > 0 else x % 3)
    return s
""",
}
