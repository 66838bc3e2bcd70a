"""Generated C under the sanitizers of the compiler: no foreign memory, nothing undefined, no race of two threads.

Each text is compiled with a function that calls its kernel on arrays of exactly the size needed, for several numbers of
rows and tokens, forwards and backwards, with resets, and packed.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import lsrl
from lsrl.backends.kernels.adjoint import make_adjoint
from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.c_build import find_compiler
from lsrl.backends.kernels.c_dense import PAD
from lsrl.backends.kernels.c_ports import MEMORY
from lsrl.backends.kernels.c_text import CText, c_text
from lsrl.backends.kernels.call import Options, edge_dtype, state_dtype
from lsrl.backends.kernels.dense import arrange
from lsrl.backends.kernels.lanes import Port, make_lanes
from lsrl.backends.kernels.speculate import may_converge
from lsrl.types import Bool, Int, Symbols, scalar_of
from tests.backends.kernels.test_dense import FOLDER as CELLS
from tests.backends.kernels.test_dense import OWN
from tests.corpus import CORPUS, Case

OPTIONS = Options(resets=True, packed=True)
LANES = """
program lanes(a: real[70], x: real[70], keep: bool) -> (y: real[70], z: bool):
    param w: real[70] = 0.5
    state h: real[70] = zeros(70)
    state kept: bool = false
    kept := kept or keep
    h := sigmoid(w * a) * h + x
    return (y = h, z = kept)
"""
BASE = ("-std=c99", "-ffp-contract=off", "-fwrapv")


def random_element(port: Port) -> str:
    """A C expression that draws a value of an input."""
    match scalar_of(port.type):
        case Bool():
            return "rand() & 1"
        case Symbols(names=names, other=other):
            return f"rand() % {len(names) + other}"
        case Int(lo=lo, hi=hi):
            low, high = -9 if lo is None else lo, 9 if hi is None else hi
            return f"{low} + rand() % {high - low + 1}"
        case _:
            return "(rand() % 65 - 32) / 8.0f"


def driver(parts: Parts, c: CText, threads: bool = False) -> str:
    """A function that calls the kernel on arrays of its own; threads: also two at a time."""
    lanes = parts.lanes.width
    ports = {("input", p.name): p for p in parts.lanes.inputs} | {("output", p.name): p for p in parts.lanes.outputs}
    states = {p.name: p for p in parts.lanes.states}
    params = {p.name: p for p in parts.lanes.params}

    products = parts.lanes.products

    def count(port: Port) -> int:
        return lanes if port.lane else port.elements

    fill, release = [], []
    for f in c.fields:
        array = f"{f.name}_array"
        if (f.what, f.of) in ports:
            p = ports[f.what, f.of]
            size = f"(size_t)(rows * tokens * {count(p)}) * sizeof({MEMORY[edge_dtype(p, OPTIONS)]})"
            fill.append(f"{f.type}{array} = malloc({size});".replace("const ", ""))
            if f.what == "input":
                fill.append(f"for (int64_t i = 0; i < rows * tokens * {count(p)}; i++) {array}[i] = "
                            f"{random_element(p)};")
            release.append(f"free({array});")
            value = array
        elif f.what.endswith(("_row", "_token")) and f.what.split("_")[0] in ("input", "output", "resets"):
            n = count(ports[f.what.split("_")[0], f.of]) if f.of else 1
            value = f"packed ? 0 : tokens * {n}" if f.what.endswith("row") else str(n)
        elif f.what in ("before", "after"):
            p = states[f.of]
            kind = MEMORY[state_dtype(p, parts, OPTIONS)]
            if f.what == "before":
                value = "0"
            else:
                fill.append(f"{kind} *{array} = malloc((size_t)(rows * {count(p)}) * sizeof({kind}));")
                release.append(f"free({array});")
                value = array
        elif f.what == "param":
            fill.append(f"float *{array} = calloc({count(params[f.of])}, sizeof(float));")
            release.append(f"free({array});")
            value = array
        elif f.what == "mix":
            blocks, rows, columns = params[next(m.matrix for m in products if m.name == f.of)].dims
            transposed = next(m.transposed for m in products if m.name == f.of)
            room = blocks * (rows * -(-columns // PAD) if transposed else columns * -(-rows // PAD)) * PAD
            fill.append(f"float *{array} = calloc({room}, sizeof(float));")
            release.append(f"free({array});")
            value = array
        elif f.what == "scratch":
            fill.append(f"void *{array} = malloc({c.scratch}), *another = malloc({c.scratch});")
            release.append(f"free({array}), free(another);")
            value = array
        elif f.what == "possible":
            assert c.table is not None
            fill.append(f"int32_t *{array} = malloc((size_t)(rows * {len(c.table.states) + 1}) * 4);")
            release.append(f"free({array});")
            value = array
        else:
            value = {"token_count": "tokens", "lane_count": str(lanes), "first_row": "0", "end_row": "rows",
                     "first_lane": "0", "end_lane": str(lanes), "reverse": "reverse", "streaming": "2",
                     "resets": "reset ? resets : 0", "offsets": "packed ? offsets : 0", "failed": "failed",
                     "last_state": "last", "first_state": "0", "budget": "1000"}[f.what]
        fill.append(f"a.{f.name} = {value};")
    calls = []
    possible = ("possible",) * (c.table is not None and may_converge(c.table))
    for shape in (*c.shapes, *possible):
        whole = lanes == 1 or bool(products)
        shares = [("rows / 2", "rows", "0", str(lanes))] if whole else [("0", "rows", "3", "9"),
                                                                              ("0", "rows", "64", str(lanes))]
        calls.append(f"{c.name}_{shape}(&a);")
        for r, e, lane, end in shares:
            calls += [f"a.first_row = {r}, a.end_row = {e}, a.first_lane = {lane}, a.end_lane = {end};",
                      f"{c.name}_{shape}(&a);"]
        if threads:
            halves = ("rows / 2", "0") if whole else ("0", str(lanes // 2))
            calls += ["{", f"struct {c.name}_args b = a;", *["b.scratch = another;"] * bool(products),
                      f"a.first_row = 0, a.end_row = {'rows / 2' if whole else 'rows'}, a.first_lane = 0, "
                      f"a.end_lane = {lanes if whole else lanes // 2};",
                      f"b.first_row = {halves[0]}, b.end_row = rows, b.first_lane = {halves[1]}, "
                      f"b.end_lane = {lanes}, b.failed = 0;",
                      "pthread_t other;", f"pthread_create(&other, 0, (void *(*)(void *)){c.name}_{shape}, &b);",
                      f"{c.name}_{shape}(&a);", "pthread_join(other, 0);", "}"]
    body = "\n    ".join([
        f"struct {c.name}_args a;", "uint8_t *resets = malloc((size_t)(rows * tokens));",
        "for (int64_t i = 0; i < rows * tokens; i++) resets[i] = rand() % 10 == 0;",
        "int64_t *offsets = malloc((size_t)(rows + 1) * 8), *failed = malloc((size_t)rows * 8);",
        "int32_t *last = malloc((size_t)rows * 4);",
        "offsets[0] = 0;",
        "for (int64_t i = 0; i < rows; i++) {",
        "    offsets[i + 1] = i + 1 == rows ? rows * tokens : offsets[i] + rand() % (tokens + 1);",
        "    failed[i] = INT64_MAX;", "}", *fill, *calls, *release,
        "free(resets), free(offsets), free(failed), free(last);"])
    return f"""
#include <stdlib.h>
#include <pthread.h>

void run_{c.name}(int64_t rows, int64_t tokens, int reverse, int reset, int packed)
{{
    {body}
}}
"""


MAIN = """
int main(void)
{
    const int64_t rows[] = {1, 4, 11}, tokens[] = {0, 1, 63, 64, 130};
    for (int r = 0; r < 3; r++)
        for (int t = 0; t < 5; t++)
            for (int how = 0; how < 8; how++) {
%s
            }
    for (int how = 0; how < 8; how++) {
%s
    }
    return 0;
}
"""


def sanitizes(flag: str, folder: Path) -> bool:
    """Whether the compiler has the sanitizer and its library."""
    source = folder / "probe.c"
    source.write_text("int main(void) { return 0; }\n")
    command = [*find_compiler().command, f"-fsanitize={flag}", "-o", str(folder / "probe"), str(source)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0 and \
        subprocess.run([str(folder / "probe")], capture_output=True, check=False).returncode == 0


def run_all(folder: Path, flag: str, sources: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Compiles the texts with a sanitizer, and calls all of them. Skips the test where the compiler has none."""
    if not sanitizes(flag, folder):
        pytest.skip(f"the compiler has no -fsanitize={flag}")
    effort = "-O1" if flag == "thread" else "-O0"  # two threads are watched for long, and few texts are compiled
    flags = [*find_compiler().command, *BASE, effort, f"-fsanitize={flag}", "-fno-sanitize-recover=all"]
    for name, text in sources.items():
        (folder / f"{name}.c").write_text(text)
        subprocess.run([*flags, "-c", "-o", str(folder / f"{name}.o"), str(folder / f"{name}.c")], check=True)
    calls, long = ("\n".join(f"                run_{n}({sizes}, how & 1, how >> 1 & 1, how >> 2);" for n in sources)
                   for sizes in ("rows[r], tokens[t]", "1, 5000"))
    declared = "#include <stdint.h>\n" + "\n".join(f"void run_{n}(int64_t, int64_t, int, int, int);" for n in sources)
    (folder / "main.c").write_text(declared + MAIN % (calls, long))
    subprocess.run([*flags, "-o", str(folder / "all"), str(folder / "main.c"),
                    *(str(folder / f"{n}.o") for n in sources), "-lm", "-lpthread"], check=True)
    return subprocess.run([str(folder / "all")], capture_output=True, text=True, check=False, timeout=900)


def parts_of(case: Case) -> Parts:
    return Parts.of(make_lanes(lsrl.load(case.file).graph))


def source(parts: Parts, threads: bool = False) -> tuple[str, str]:
    c = c_text(parts, OPTIONS)
    return c.name, c.text + driver(parts, c, threads)


def dense() -> list[Parts]:
    """Lanes that meet in products: of inputs and states, and of blocks in an adjoint."""
    gru = arrange(lsrl.load(CELLS / "gru.lsrl", None, d=5, k=13).graph, dense=True, inside=True).lanes
    heads = arrange(lsrl.parse(OWN["heads"], None, h=2, d=5, k=3).graph, dense=True, inside=True).lanes
    return [Parts.of(x) for x in (gru, make_adjoint(heads, False).lanes)]


def test_no_foreign_memory_and_nothing_undefined(tmp_path: Path) -> None:
    lanes = Parts.of(make_lanes(lsrl.parse(LANES).graph))
    made = [source(p) for p in (*map(parts_of, CORPUS), lanes, *dense())]
    assert len(dict(made)) == len(CORPUS) + 3
    done = run_all(tmp_path, "address,undefined", dict(made))
    assert done.returncode == 0, done.stderr[:4000]


def test_a_fault_would_be_found(tmp_path: Path) -> None:
    name, text = source(Parts.of(make_lanes(lsrl.parse(LANES).graph)))
    size = "y_array = malloc((size_t)(rows * tokens * {})"
    short = text.replace(size.format(70), size.format(69))
    assert short != text
    assert "heap-buffer-overflow" in run_all(tmp_path, "address,undefined", {name: short}).stderr


def test_two_threads_do_not_meet(tmp_path: Path) -> None:
    made = [p for p in CORPUS if p.name in ("balanced", "majority", "key_value", "moving_average")]
    done = run_all(tmp_path, "thread", dict(source(p, True) for p in (
        *map(parts_of, made), Parts.of(make_lanes(lsrl.parse(LANES).graph)), *dense())))
    assert done.returncode == 0, done.stderr[:4000]
