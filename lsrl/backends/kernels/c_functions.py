"""C functions that generated kernels use; a text contains those that it needs.

With float64 inside, functions are libm's by the formulas of `lsrl.arithmetic`, so that results equal the interpreter's
bit for bit. With float32 inside they are polynomials that vectorise, with these errors in units in the last place, over
all float32 arguments (measured by a test): exp 1.25; log 1; sigmoid 2.5; tanh 1.75; softplus 3; silu 3.5; sqrt is
rounded correctly, sin and cos are libm's. In results below 2⁻¹²⁶ a unit is 2⁻¹⁴⁹. NaN and infinities give what float64
gives.

exp: x = n ln 2 + r in two parts (Cody and Waite 1980), 1 + r + r² q(r). log: x = 2ᵉ m with m about 1, f = m − 1,
f − f²/2 + f³ q(f). tanh: x + x³ q(x²) for small x, else 1 − 2 / (exp(2x) + 1). The coefficients of each q interpolate
at Chebyshev nodes. softplus takes log(1 + e) as log(u) e / (u − 1) with u = 1 + e (Kahan; Higham 2002, section 1.14.1).
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["FUNCTION_NAMES", "ULPS", "functions"]

# Bounds of the float32 functions' errors.
ULPS = {"exp": 1.25, "log": 1.0, "sigmoid": 2.5, "tanh": 1.75, "softplus": 3.0, "silu": 3.5, "sqrt": 0.5, "sin": 1.0,
        "cos": 1.0}

_COMMON: dict[str, tuple[tuple[str, ...], str]] = {
    "bits_of": ((), """
static inline uint32_t bits_of(float x) { uint32_t b; memcpy(&b, &x, 4); return b; }
static inline float of_bits(uint32_t b) { float x; memcpy(&x, &b, 4); return x; }"""),
    "min_int32": ((), "static inline int32_t min_int32(int32_t a, int32_t b) { return a < b ? a : b; }"),
    "max_int32": ((), "static inline int32_t max_int32(int32_t a, int32_t b) { return a > b ? a : b; }"),
    "min_int64": ((), "static inline int64_t min_int64(int64_t a, int64_t b) { return a < b ? a : b; }"),
    "max_int64": ((), "static inline int64_t max_int64(int64_t a, int64_t b) { return a > b ? a : b; }"),
    "quotient_int32": ((), """
/* The floor of a / d, for d > 0. */
static inline int32_t quotient_int32(int32_t a, int32_t d) { return a / d - (a % d < 0); }"""),
    "quotient_int64": ((), """
/* The floor of a / d, for d > 0. */
static inline int64_t quotient_int64(int64_t a, int64_t d) { return a / d - (a % d < 0); }"""),
    "remainder_int32": ((), """
/* a modulo d, from 0 to d - 1. */
static inline int32_t remainder_int32(int32_t a, int32_t d) { int32_t r = a % d; return r + (r < 0 ? d : 0); }"""),
    "remainder_int64": ((), """
/* a modulo d, from 0 to d - 1. */
static inline int64_t remainder_int64(int64_t a, int64_t d) { int64_t r = a % d; return r + (r < 0 ? d : 0); }"""),
    "count_int32": ((), """
/* A double as the nearest integer; the end of the range beyond it, 0 for NaN. */
static inline int32_t count_int32(double x)
{
    x = x >= -2147483648.0 ? x : x < 0 ? -2147483648.0 : 0;
    return (int32_t)nearbyint(x <= 2147483647.0 ? x : 2147483647.0);
}"""),
    "count_int64": ((), """
/* A double as the nearest integer; the end of the range beyond it, 0 for NaN. */
static inline int64_t count_int64(double x)
{
    x = x >= -9223372036854774784.0 ? x : x < 0 ? -9223372036854774784.0 : 0;
    return (int64_t)nearbyint(x <= 9223372036854774784.0 ? x : 9223372036854774784.0);
}"""),
    "below_int32": (("count_int32",), """
/* The integer below a number; 0 if it is not finite. */
static inline int32_t below_int32(double x) { return count_int32(fabs(x) < INFINITY ? floor(x) : 0); }"""),
    "below_int64": (("count_int64",), """
/* The integer below a number; 0 if it is not finite. */
static inline int64_t below_int64(double x) { return count_int64(fabs(x) < INFINITY ? floor(x) : 0); }"""),
    "float_of_bfloat16": (("bits_of",), """
static inline float float_of_bfloat16(uint16_t h) { return of_bits((uint32_t)h << 16); }"""),
    "bfloat16_of_float": (("bits_of",), """
/* The nearest bfloat16, ties to even. */
static inline uint16_t bfloat16_of_float(float x)
{
    uint32_t b = bits_of(x);
    return (uint16_t)((x != x ? b | 0x400000u : b + 0x7fffu + (b >> 16 & 1)) >> 16);
}"""),
    "float_of_float16": (("bits_of",), """
static inline float float_of_float16(uint16_t h)
{
    float x = of_bits((h & 0x7fffu) << 13) * 0x1p112f;
    uint32_t b = (h & 0x7c00u) == 0x7c00u ? 0x7f800000u | (h & 0x3ffu) << 13 : bits_of(x);
    return of_bits(b | (h & 0x8000u) << 16);
}"""),
    "float16_of_float": (("bits_of",), """
/* The nearest float16, ties to even. */
static inline uint16_t float16_of_float(float x)
{
    uint32_t b = bits_of(x), sign = b >> 16 & 0x8000u;
    b &= 0x7fffffffu;
    uint32_t small = bits_of(of_bits(b) + 0.5f) - 0x3f000000u;
    uint32_t normal = (b - 0x38000000u + 0xfffu + (b >> 13 & 1)) >> 13;
    uint32_t large = b > 0x7f800000u ? 0x7e00u : 0x7c00u;
    return (uint16_t)(sign | (b >= 0x47800000u ? large : b < 0x38800000u ? small : normal));
}"""),
    "odd_float": (("bits_of",), """
/* A double as a float, to be rounded once more: rounded to odd, so that the two roundings give what one does. */
static inline float odd_float(double x)
{
    float f = (float)x;
    uint32_t b = bits_of(f);
    uint32_t other = fabs((double)f) > fabs(x) ? b - 1 : b + 1;
    return (double)f != x && x == x && !(b & 1) ? of_bits(other) : f;
}"""),
    "fetch": ((), """
/* Asks for n bytes that will be read soon. */
static inline void fetch(const void *from, int64_t n)
{
#if defined(__GNUC__)
    for (int64_t i = 0; i < n; i += 64) __builtin_prefetch((const char *)from + i);
#endif
}"""),
    "put": ((), """
/* Copies n bytes that nothing here reads again: past the caches if `stream` says so, as far as lines are whole. */
static inline void put(char *to, const char *from, size_t n, int stream)
{
#if defined(__SSE2__)
    if (stream && n >= 128) {
        size_t head = (64 - ((uintptr_t)to & 63)) & 63;
        memcpy(to, from, head);
        to += head, from += head, n -= head;
        for (; n >= 64; to += 64, from += 64, n -= 64)
            for (int i = 0; i < 64; i += 16)
                _mm_stream_si128((__m128i *)(to + i), _mm_loadu_si128((const __m128i *)(from + i)));
    }
#endif
    memcpy(to, from, n);
}"""),
}

_DOUBLE: dict[str, tuple[tuple[str, ...], str]] = {
    "min_float": ((), """
/* The lesser; NaN if one is NaN. */
static inline double min_float(double a, double b) { return a < b || a != a ? a : b; }"""),
    "max_float": ((), """
/* The greater; NaN if one is NaN. */
static inline double max_float(double a, double b) { return a > b || a != a ? a : b; }"""),
    "floor_float": ((), "static inline double floor_float(double x) { return floor(x) + 0.0; }"),
    "remainder_float": ((), """
/* x modulo d, for d > 0. */
static inline double remainder_float(double x, double d) { double r = fmod(x, d); return r < 0 ? r + d : r + 0.0; }"""),
    "exp_float": ((), "static inline double exp_float(double x) { return exp(x); }"),
    "log_float": ((), "static inline double log_float(double x) { return log(x); }"),
    "sqrt_float": ((), "static inline double sqrt_float(double x) { return sqrt(x); }"),
    "tanh_float": ((), "static inline double tanh_float(double x) { return tanh(x); }"),
    "sin_float": ((), "static inline double sin_float(double x) { return sin(x); }"),
    "cos_float": ((), "static inline double cos_float(double x) { return cos(x); }"),
    "sigmoid_float": ((), """
static inline double sigmoid_float(double x)
{
    double e = exp(x >= 0 ? -x : x);
    return (x >= 0 ? 1.0 : e) / (1.0 + e);
}"""),
    "softplus_float": ((), """
static inline double softplus_float(double x) { return x == x ? (0.0 > x ? 0.0 : x) + log1p(exp(-fabs(x))) : x; }"""),
    "silu_float": (("sigmoid_float",), """
static inline double silu_float(double x) { return x == -INFINITY ? -0.0 : x * sigmoid_float(x); }"""),
}

_FLOAT: dict[str, tuple[tuple[str, ...], str]] = {
    "min_float": ((), """
/* The lesser; NaN if one is NaN. */
static inline float min_float(float a, float b) { return a < b || a != a ? a : b; }"""),
    "max_float": ((), """
/* The greater; NaN if one is NaN. */
static inline float max_float(float a, float b) { return a > b || a != a ? a : b; }"""),
    "floor_float": ((), "static inline float floor_float(float x) { return floorf(x) + 0.0f; }"),
    "remainder_float": ((), """
/* x modulo d, for d > 0. */
static inline float remainder_float(float x, float d) { float r = fmodf(x, d); return r < 0 ? r + d : r + 0.0f; }"""),
    "sqrt_float": ((), "static inline float sqrt_float(float x) { return sqrtf(x); }"),
    "sin_float": ((), "static inline float sin_float(float x) { return sinf(x); }"),
    "cos_float": ((), "static inline float cos_float(float x) { return cosf(x); }"),
    "exp_parts": (("bits_of",), """
/* exp(x) as the result times two to the n, for x from -104 to 89. */
static inline float exp_parts(float x, int32_t *n)
{
    float shifted = x * 0x1.715476p+0f + 0x1.8p23f;
    *n = (int32_t)(bits_of(shifted) - 0x4b400000u);
    float k = shifted - 0x1.8p23f;
    float r = x - k * 0x1.62e4p-1f - k * 0x1.7f7d1cp-20f;
    float q = 0x1.6d1606p-10f;
    q = q * r + 0x1.12106cp-7f;
    q = q * r + 0x1.555516p-5f;
    q = q * r + 0x1.5554d8p-3f;
    q = q * r + 0.5f;
    return r + r * r * q + 1.0f;
}"""),
    "exp_float": (("exp_parts",), """
static inline float exp_float(float x)
{
    int32_t n;
    float y = exp_parts(x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x, &n);
    uint32_t half = (uint32_t)(n >> 1), rest = (uint32_t)n - half;
    return y * of_bits((half + 127u) << 23) * of_bits((rest + 127u) << 23);
}"""),
    "exp_of_minus": (("exp_parts",), """
/* exp(-x) for x >= 0: in two steps, as the result may be below 0x1p-126. */
static inline float exp_of_minus(float x)
{
    int32_t n;
    float y = exp_parts(x > 104.0f ? -104.0f : -x, &n);
    return y * of_bits(((uint32_t)n + 190u) << 23) * 0x1p-63f;
}"""),
    "log_float": (("bits_of",), """
static inline float log_float(float x)
{
    int tiny = x < 0x1p-126f;
    uint32_t b = bits_of(tiny ? x * 0x1p25f : x) - 0x3f3504f3u;
    float e = (float)((int32_t)b >> 23) - (tiny ? 25.0f : 0.0f);
    float f = of_bits((b & 0x7fffffu) + 0x3f3504f3u) - 1.0f;
    float q = 0x1.1dedf8p-4f;
    q = q * f - 0x1.d6d10ep-4f;
    q = q * f + 0x1.dec8ccp-4f;
    q = q * f - 0x1.fce37ap-4f;
    q = q * f + 0x1.23cf72p-3f;
    q = q * f - 0x1.555b8ap-3f;
    q = q * f + 0x1.999d6ep-3f;
    q = q * f - 0x1.fffffcp-3f;
    q = q * f + 0x1.555554p-2f;
    float rest = f * f * (f * q - 0.5f) + e * 0x1.7f7d1cp-20f;
    float y = rest + f + e * 0x1.62e4p-1f;
    y = x == 0.0f ? -INFINITY : x < 0.0f ? NAN : y;
    return x < INFINITY ? y : x;
}"""),
    "sigmoid_float": (("exp_of_minus",), """
static inline float sigmoid_float(float x)
{
    float e = exp_of_minus(fabsf(x));
    return (x >= 0.0f ? 1.0f : e) / (1.0f + e);
}"""),
    "silu_float": (("exp_float",), """
/* Far below 0, where exp(x) has few digits left, it is taken as exp(x + 40) exp(-40), multiplied by x in between. */
static inline float silu_float(float x)
{
    float far = x < -64.0f ? 40.0f : 0.0f;
    float e = exp_float(far - fabsf(x));
    float y = far > 0.0f ? x * e * 0x1.397924p-58f : x * ((x >= 0.0f ? 1.0f : e) / (1.0f + e));
    return x == -INFINITY ? -0.0f : y;
}"""),
    "tanh_float": (("exp_parts",), """
/* Beyond 32 it is 1, as exp(64) + 1 is exp(64). */
static inline float tanh_float(float x)
{
    float z = x * x, a = fabsf(x);
    float q = -0x1.9ada60p-8f;
    q = q * z + 0x1.59e1c8p-6f;
    q = q * z - 0x1.b955dcp-5f;
    q = q * z + 0x1.110ee0p-3f;
    q = q * z - 0x1.555554p-2f;
    float small = x + x * z * q;
    int32_t n;
    float y = exp_parts(a > 32.0f ? 64.0f : 2.0f * a, &n);
    float large = 1.0f - 2.0f / (y * of_bits(((uint32_t)n + 127u) << 23) + 1.0f);
    return a < 0.6f ? small : copysignf(large, x);
}"""),
    "softplus_float": (("exp_of_minus", "log_float", "max_float"), """
static inline float softplus_float(float x)
{
    float e = exp_of_minus(fabsf(x)), u = 1.0f + e;
    float y = u == 1.0f ? e : log_float(u) * (e / (u - 1.0f));
    return max_float(x, 0.0f) + y;
}"""),
}

FUNCTION_NAMES = frozenset((*_COMMON, *_DOUBLE, *_FLOAT, "of_bits"))


def functions(names: Iterable[str], carry: str) -> list[str]:
    """The texts of some functions and of those that they use, these first.

    carry: "float" or "double", what functions ending in `_float` work in. Raises KeyError for a name that there is not.
    """
    known = {**_COMMON, **(_FLOAT if carry == "float" else _DOUBLE)}
    out: dict[str, str] = {}

    def add(name: str) -> None:
        if name not in out:
            needs, text = known[name]
            for other in needs:
                add(other)
            out[name] = text.strip()

    for name in names:
        add(name)
    return list(out.values())
