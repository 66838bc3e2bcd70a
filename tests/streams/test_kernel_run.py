"""Long texts go through a C kernel, and give what the generated Python step gives, byte for byte."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

import lsrl
from lsrl.diagnostics import LsrlError
from lsrl.streams import open_input, open_output, run, run_stream, sources
from lsrl.streams.kernel_run import KernelRun, make_kernel_run
from lsrl.streams.readers import is_text_program
from lsrl.types import Symbols
from tests.corpus import CORPUS, OTHER, Case

TEXTS = [c for c in CORPUS if c.name in ("balanced", "word_count", "c_comments", "dyck_1", "modular_arithmetic",
                                         "letter_counts", "shuffle_dyck_2", "tomita_3")]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK", 61)


def text_of(case: Case, program: lsrl.Program, length: int = 700) -> str:
    """A random text of the alphabet, with letters of one to four bytes for what it does not name."""
    rows = case.rows({n.name: n.type for n in program.graph.inputs}, length, 9)
    name = program.graph.inputs[0].name
    others = iter("aé世𝄞" * length)
    return "".join(next(others) if r[name] is OTHER else r[name] for r in rows)


def ran(program: lsrl.Program, text: bytes, form: str, *, kernel: bool, monkeypatch: pytest.MonkeyPatch,
        path: Path, last: bool = False) -> tuple[bytes, object]:
    monkeypatch.setattr(run, "AFTER_TOKENS", 100 if kernel else 1 << 60)
    used: list[KernelRun | None] = []

    def watched(*given: object) -> KernelRun | None:
        used.append(make_kernel_run(*given))  # type: ignore[arg-type]
        return used[-1]

    monkeypatch.setattr(run, "make_kernel_run", watched)
    target = path / f"out_{kernel}.{form}"
    with open_input(program.graph, io.BytesIO(text), "text") as source, \
            open_output(program.graph, target, form) as sink:
        after = run_stream(program.graph, source, sink, last=last)
    assert bool(used and used[0] is not None and used[0].ran) == kernel
    return target.read_bytes(), after


@pytest.mark.parametrize("case", TEXTS, ids=lambda c: c.name)
def test_every_form_of_output_is_the_same(case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = lsrl.load(case.file)
    assert is_text_program(program.graph)
    text = text_of(case, program).encode()
    for form in ("jsonl", "csv", "text", "npz"):
        slow, fast = (ran(program, text, form, kernel=k, monkeypatch=monkeypatch, path=tmp_path) for k in (False, True))
        assert slow == fast
    slow, fast = (ran(program, text, "csv", kernel=k, monkeypatch=monkeypatch, path=tmp_path, last=True)
                  for k in (False, True))
    assert slow == fast


ECHO = """
type T = {"a", "b", "é", *}
type Told = {"x", "y", "-"}
program told(t: T) -> %s:
    n = count(t == "b")
    said: Told = "x" if n %% 3 == 1 else "y" if t == "a" else "-"
    return %s
"""


@pytest.mark.parametrize(("output", "value", "in_bytes"), [("Told", "said", True), ("T", "t", False),
                                                           ("bool", 'said == "x"', False)])
def test_outputs_of_one_byte_come_from_the_kernel(output: str, value: str, in_bytes: bool,
                                                  monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = lsrl.parse(ECHO % (output, value))
    text = ("abéabbab" * 90).encode()
    for form in ("text", "jsonl", "csv"):
        slow, fast = (ran(program, text, form, kernel=k, monkeypatch=monkeypatch, path=tmp_path) for k in (False, True))
        assert slow == fast
        with open_output(program.graph, tmp_path / "o", form) as sink:
            assert (sink.byte_of is not None) == (in_bytes and form == "text")
        assert not (in_bytes and form == "text") or fast[0].startswith(b"yxxx-")


@pytest.mark.parametrize("place", [90, 101, 333])
def test_a_letter_outside_the_alphabet_is_the_same_error(place: int, monkeypatch: pytest.MonkeyPatch,
                                                         tmp_path: Path) -> None:
    program = lsrl.load(next(c for c in CORPUS if c.name == "tomita_3").file)
    alphabet = program.graph.inputs[0].type
    assert isinstance(alphabet, Symbols) and not alphabet.other
    text = (alphabet.names[0] * place + "é" + alphabet.names[1] * 400).encode()
    messages = []
    for kernel in (False, True):
        monkeypatch.setattr(run, "AFTER_TOKENS", 64 if kernel else 1 << 60)
        with pytest.raises(LsrlError) as error, open_input(program.graph, io.BytesIO(text), "text") as source, \
                open_output(program.graph, tmp_path / f"{kernel}.csv", "csv") as sink:
            run_stream(program.graph, source, sink)
        messages.append(str(error.value))
    assert messages[0] == messages[1] and "L605" in messages[0] and f"character {place} " in messages[0]


def test_a_check_that_fails_is_the_same_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = lsrl.parse('program p(tok: {"a", "b"}) -> int[0..200]:\n    state n: int[0..200] = 0\n'
                         '    n := n + match tok: "a" => 1, "b" => 0\n    return n\n')
    text = b"ab" * 300
    messages = []
    for kernel in (False, True):
        monkeypatch.setattr(run, "AFTER_TOKENS", 64 if kernel else 1 << 60)
        with pytest.raises(LsrlError) as error, open_input(program.graph, io.BytesIO(text), "text") as source, \
                open_output(program.graph, tmp_path / f"{kernel}.csv", "csv") as sink:
            run_stream(program.graph, source, sink)
        messages.append(str(error.value))
    assert messages[0] == messages[1] and "becomes 201 when n is 200" in messages[0]


def test_a_state_from_before_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = lsrl.load(next(c for c in CORPUS if c.name == "balanced").file)
    text = "(a[b{c}]" * 100
    states = []
    for kernel in (False, True):
        monkeypatch.setattr(run, "AFTER_TOKENS", 64 if kernel else 1 << 60)
        state = None
        for piece in (text[:411], text[411:]):
            with open_input(program.graph, io.BytesIO(piece.encode()), "text") as source, \
                    open_output(program.graph, tmp_path / f"{kernel}.csv", "csv") as sink:
                state = run_stream(program.graph, source, sink, state=state)
        states.append(state)
    assert states[0] == states[1]


def test_bytes_of_any_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = lsrl.parse("program p(b: byte) -> byte:\n    state s: int[0..255] = 0\n    s := (s + b) % 256\n"
                         "    return s\n")
    text = bytes(range(256)) * 3
    slow, fast = (ran(program, text, "text", kernel=k, monkeypatch=monkeypatch, path=tmp_path) for k in (False, True))
    assert slow == fast


def test_without_a_compiler_python_goes_on_and_says_so_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    from lsrl.backends.kernels import c_kernel
    from lsrl.streams import kernel_run

    def none(*given: object) -> object:
        raise LsrlError.of("L412", "no C compiler was found")

    monkeypatch.setattr(c_kernel, "build", none)
    monkeypatch.setattr(kernel_run, "_warned", set())
    kernel_run._operator.cache_clear()
    program = lsrl.load(next(c for c in CORPUS if c.name == "balanced").file)
    monkeypatch.setattr(run, "AFTER_TOKENS", 64)
    for _ in range(2):
        with open_input(program.graph, io.BytesIO(b"()" * 200), "text") as source, \
                open_output(program.graph, tmp_path / "out.csv", "csv") as sink:
            run_stream(program.graph, source, sink)
    assert capsys.readouterr().err.count("no C compiler was found") == 1


ROWS = {
    "of numbers": ("program p(x: int[-3..250], on: bool) -> (total: int, most: int[-3..250]):\n"
                   "    state s: int = 0\n    state m: int[-3..250] = -3\n    if on:\n        s := s + x\n"
                   "    m := max(m, x)\n    return (total = s, most = m)\n",
                   {"x": np.arange(10_000) % 254 - 3, "on": np.arange(10_000) % 3 == 0}),
    "of vectors": ("program p[n](v: int[0..9][n]) -> int[0..9][n]:\n    state s: int[0..9][n] = zeros(n)\n"
                   "    s := (s + v) % 10\n    return s\n", {"v": np.arange(9000).reshape(3000, 3) % 10}),
    "of symbols": ('program p(a: {"u", "v", "w"}, b: {"x", *}) -> {"same", "other"}:\n'
                   '    state last: {"u", "v", "w"} = "u"\n'
                   '    before = last\n    last := a\n    return "same" if before == a and b == "x" else "other"\n',
                   {"a": np.arange(5000) % 7 % 3, "b": np.arange(5000) % 2}),
    "of reals": ("program p(x: real, y: real) -> (a: real, b: bool):\n    param w: real = 0.75\n    state h: real = 0\n"
                 "    h := tanh(w * h + x * y)\n    return (a = h, b = h > 0.25)\n",
                 {"x": np.sin(np.arange(6000)), "y": np.where(np.arange(6000) % 5, np.cos(np.arange(6000)), -0.0)}),
}


def written(path: Path, form: str, columns: dict[str, np.ndarray], program: lsrl.Program) -> Path:
    """A file of inputs."""
    file = path / f"in.{form}"
    if form == "npz":
        np.savez(file, **columns)  # type: ignore[arg-type]
    elif form == "parquet":
        values = {k: [t.name(i) for i in c] if isinstance(t, Symbols) else c.tolist()
                  for (k, c), t in zip(columns.items(), (n.type for n in program.graph.inputs), strict=True)}
        pyarrow.parquet.write_table(pyarrow.table(values), file)
    else:
        lines = [",".join(k if c.ndim == 1 else ",".join(f"{k}[{i}]" for i in range(c.shape[1]))
                          for k, c in columns.items())]
        types = {n.name: n.type for n in program.graph.inputs}
        for row in zip(*columns.values(), strict=True):
            cells: list[str] = []
            for k, v in zip(columns, row, strict=True):
                t = types[k]
                cells += [t.name(int(v))] if isinstance(t, Symbols) else map(str, np.atleast_1d(v).tolist())
            lines.append(",".join(cells))
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("form", ["npz", "parquet", "csv"])
@pytest.mark.parametrize("what", ROWS)
def test_rows_of_every_form(what: str, form: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text, columns = ROWS[what]
    program = lsrl.parse(text, n=3) if "[n]" in text else lsrl.parse(text)
    file = written(tmp_path, form, columns, program)
    for out in ("jsonl", "csv", "npz", "parquet"):
        found = []
        for kernel in (False, True):
            monkeypatch.setattr(run, "AT_ONCE", 1 if kernel else 1 << 60)
            used: list[KernelRun | None] = []

            def watched(*given: object, used: list[KernelRun | None] = used) -> KernelRun | None:
                used.append(make_kernel_run(*given))  # type: ignore[arg-type]
                return used[-1]

            monkeypatch.setattr(run, "make_kernel_run", watched)
            target = tmp_path / f"{kernel}.{out}"
            with open_input(program.graph, file) as source, open_output(program.graph, target, out) as sink:
                after = run_stream(program.graph, source, sink)
            assert bool(used and used[0] is not None and used[0].ran) == kernel
            found.append((target.read_bytes(), after))
        assert found[0] == found[1]


@pytest.mark.parametrize("kernel", [False, True])
def test_a_value_out_of_range_in_an_array_is_named_after_the_rows_before(kernel: bool, monkeypatch: pytest.MonkeyPatch,
                                                                         tmp_path: Path) -> None:
    monkeypatch.setattr(run, "AT_ONCE", 1 if kernel else 1 << 60)
    program = lsrl.parse("program p(x: int[0..9]) -> int:\n    state s: int = 0\n    s := s + x\n    return s\n")
    x = np.arange(6000) % 10
    x[5003] = 12
    np.save(tmp_path / "in.npy", x)
    out = tmp_path / "out.csv"
    with pytest.raises(LsrlError) as error, out.open("wb") as stream, \
            open_input(program.graph, tmp_path / "in.npy") as source, \
            open_output(program.graph, stream, "csv") as sink:
        run_stream(program.graph, source, sink)
    assert "row 5003, `x`: 12 is outside int[0..9]" in str(error.value)
    assert out.read_text().split() == ["out", *map(str, np.cumsum(x[:5003]).tolist())]


def test_numbers_that_no_kernel_holds_stay_exact(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = lsrl.parse("program p(x: int) -> int:\n    state s: int = 0\n    s := s + x\n    return s\n")
    np.save(tmp_path / "in.npy", np.full(5000, (1 << 64) - 1, np.uint64))
    monkeypatch.setattr(run, "AT_ONCE", 1)
    with open_input(program.graph, tmp_path / "in.npy") as source, \
            open_output(program.graph, tmp_path / "out.csv", "csv") as sink:
        after = run_stream(program.graph, source, sink)
    assert after == {"s": 5000 * ((1 << 64) - 1)}
