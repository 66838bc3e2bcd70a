"""Files: imports, private names, cycles, the library in scope, and files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

import lsrl
from lsrl.diagnostics import LsrlError, Source
from lsrl.frontend.modules import load_module, read_module, standard_library
from lsrl.types import Symbols
from tests.work import growth

LIBRARY = '''type Char = {"a", "b"}
const LIMIT = 3

def twice(x: int) -> int:
    return _double(x)

def _double(x: int) -> int:
    return 2 * x

program id(c: Char) -> Char:
    return c
'''


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.lsrl").write_text(text, encoding="utf-8")
    return folder / "main.lsrl"


def messages(path: Path) -> list[str]:
    with pytest.raises(LsrlError) as error:
        load_module(path)
    return [f"{d.code} {Path(d.span.source.name).name}:{d.span.line}:{d.span.column} {d.message}"
            for d in error.value.diagnostics]


def test_import_of_names_and_of_a_file(tmp_path: Path) -> None:
    main = write(tmp_path, tools=LIBRARY, main=(
        'import "tools.lsrl"\nimport "tools.lsrl" as t\nfrom "tools.lsrl" import twice, LIMIT as most, Char\n\n'
        'program p(x: int, c: Char, d: tools.Char) -> int:\n'
        '    return twice(x) + t.twice(1) + most * tools.LIMIT + int(t.id(c) == d) + size(t.Char)\n'))
    assert lsrl.load(main).run([{"x": 5, "c": "a", "d": "a"}]) == [10 + 2 + 9 + 1 + 2]


def test_imports_are_relative_to_the_file_that_has_them(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    write(tmp_path / "parts", a='from "b.lsrl" import f\ndef g(x: int) -> int:\n    return f(x) + 1\n',
          b="def f(x: int) -> int:\n    return 10 * x\n")
    main = write(tmp_path, main='from "parts/a.lsrl" import g\nprogram p(x: int) -> int:\n    return g(x)\n')
    assert lsrl.load(main).run([3]) == [31]


def test_a_long_chain_of_imports(tmp_path: Path) -> None:
    files = {f"f{i}": f'from "f{i + 1}.lsrl" import A\n' for i in range(400)}
    main = write(tmp_path, **files, f400="const A = 7\n",
                 main='from "f0.lsrl" import A\nprogram p() -> int:\n    return A\n')
    assert lsrl.load(main).run([None]) == [7]


def test_a_file_is_read_once(tmp_path: Path) -> None:
    main = write(tmp_path, a='from "tools.lsrl" import Char\n', tools=LIBRARY,
                 main='from "a.lsrl" import Char\nfrom "tools.lsrl" import Char as Other\n'
                      'program p(x: Char, y: Other) -> bool:\n    return x == y\n')
    assert lsrl.load(main).run([{"x": "a", "y": "b"}]) == [False]


def test_own_names_hide_the_library(tmp_path: Path) -> None:
    main = write(tmp_path, main="def parity(p: bool) -> int:\n    return 7\n\n"
                                "program p(x: bool) -> int:\n    return parity(x) + count(x)\n")
    assert lsrl.load(main).run([True]) == [8]


@pytest.mark.parametrize("text, expected", [
    ('from "tools.lsrl" import twise, _double\n',
     ["L106 main.lsrl:1:26 tools.lsrl has no `twise`", "L106 main.lsrl:1:33 `_double` is private to tools.lsrl"]),
    ('import "toools.lsrl"\nprogram p(x: int) -> int:\n    return toools.f(x) + y\n',
     ["L105 main.lsrl:1:8 there is no file", "L101 main.lsrl:3:26 the name `y` is not known here"]),
    ('import "tools.lsrl"\nprogram p(x: int) -> int:\n    return tools.twise(x) + tools._double(x) + tools\n',
     ["L101 main.lsrl:3:12 the function `tools.twise` is not known here",
      "L101 main.lsrl:3:29 the function `tools._double` is not known here",
      "L110 main.lsrl:3:48 `tools` is an imported file"]),
    ('import "tools.txt"\n', ["L105 main.lsrl:1:8"]),
    ('from "tools.lsrl" import twice\ndef twice(x: int) -> int:\n    return x\n',
     ["L102 main.lsrl:1:26 `twice` is defined twice"]),
    ('import "main.lsrl"\n', ["L103 main.lsrl:1:8 this import comes back to itself: main.lsrl → main.lsrl"]),
])
def test_imports_that_fail(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = messages(write(tmp_path, main=text, tools=LIBRARY))
    assert len(found) == len(expected)
    for message, start in zip(found, expected, strict=True):
        assert message.startswith(start)


def test_an_import_cycle_is_shown(tmp_path: Path) -> None:
    main = write(tmp_path, main='import "a.lsrl"\n', a='import "b.lsrl"\n', b='import "a.lsrl"\n')
    assert messages(main) == ["L103 b.lsrl:1:8 this import comes back to itself: a.lsrl → b.lsrl → a.lsrl"]


def test_errors_of_imported_files_are_reported_there(tmp_path: Path) -> None:
    main = write(tmp_path, a="def f(x: int) -> int:\n    return x + true\n\ndef g(x: bool) -> int:\n    return x\n",
                 main='from "a.lsrl" import f\nprogram p(x: int) -> int:\n    return f(x) + y\n')
    assert sorted(messages(main)) == [
        "L101 main.lsrl:3:19 the name `y` is not known here",
        "L201 a.lsrl:5:12 the result is `int`, and this is `bool`",
        "L202 a.lsrl:2:16 `+` takes numbers, and this is `bool`"]


def test_syntax_errors_of_imported_files(tmp_path: Path) -> None:
    main = write(tmp_path, a="def f(x: int) -> int\n    return x\n", main='from "a.lsrl" import f\n')
    (message,) = messages(main)
    assert message.startswith("L0") and "a.lsrl:1:" in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.lsrl").write_bytes(b'program p(x: int) -> int:\n    return x  # \xe9\n')
    (tmp_path / "folder.lsrl").mkdir()
    for name, code, words in [("latin.lsrl", "L005", "is not UTF-8: byte 0xe9 at offset 42"),
                              ("folder.lsrl", "L020", "is a folder"), ("main.lsrl", "L020", "there is no file"),
                              ("main.txt", "L019", "ends in .txt")]:
        with pytest.raises(LsrlError, match=words) as error:
            lsrl.load(tmp_path / name)
        assert error.value.diagnostics[0].code == code


def test_a_missing_file_has_a_near_name(tmp_path: Path) -> None:
    write(tmp_path, balanced="const A = 1\n")
    with pytest.raises(LsrlError) as error:
        load_module(tmp_path / "balanced2.lsrl")
    assert error.value.diagnostics[0].help == "did you mean `balanced.lsrl`?"


def test_which_program(tmp_path: Path) -> None:
    both = write(tmp_path, main="program a(x: int) -> int:\n    return x\n\nprogram b(x: int) -> int:\n    return -x\n")
    assert lsrl.load(both, "b").run([1]) == [-1]
    for name, words in [(None, "several programs"), ("c", "has no program `c`")]:
        with pytest.raises(LsrlError, match=words) as error:
            lsrl.load(both, name)
        assert error.value.diagnostics[0].code == "L112"
    with pytest.raises(LsrlError, match="has no program"):
        lsrl.load(write(tmp_path, main="const A = 1\n"))


def test_sizes_of_a_generic_program() -> None:
    text = "program p[n, K](x: int[n], k: K) -> int:\n    return sum(x) * size(K) + n\n"
    assert lsrl.parse(text, n=2, K='{"a", "b", *}').run([{"x": [1, 2], "k": "a"}]) == [11]
    assert lsrl.parse(text, n=1, K=Symbols(("q",))).run([{"x": [1], "k": "q"}]) == [2]
    with pytest.raises(LsrlError, match="`n`, `K` must be given") as error:
        lsrl.parse(text)
    assert error.value.diagnostics[0].help == 'say for example n=64, K=\'{"a", "b"}\''
    with pytest.raises(LsrlError, match="has no generic `m`"):
        lsrl.parse(text, m=3)
    with pytest.raises(LsrlError):
        lsrl.parse(text, n=2, K="{")


def test_what_is_internal_to_the_library_stays_there() -> None:
    text = "program p(x: int[0..3]) -> int:\n    return _selector_size(select(x, x, ==))\n"
    with pytest.raises(LsrlError, match="`_selector_size` is not known") as error:
        read_module(Source("t", text), Path())
    assert error.value.diagnostics[0].code == "L101"


def test_the_library_has_every_function_of_the_language_page() -> None:
    expected = {"index", "first_token", "prev", "delay", "window", "modulo_counter", "count", "running_sum",
                "running_max", "running_min", "running_mean", "ema", "ever", "always", "parity", "hold", "since",
                "run_length", "rising", "falling", "latch", "recall", "counts", "occurrences", "most_frequent", "seen",
                "distinct", "width", "aggregate", "aggregate_mean", "matches", "contains", "word_start", "linear",
                "linstate", "bump", "eq", "neq", "ifelse", "larger", "smaller", "constant"}
    assert expected <= standard_library().keys()


def test_api_runs_texts_and_steps() -> None:
    program = lsrl.parse('program p(c: {"a", *}) -> (n: int, same: {"a", *}):\n'
                         '    return (n = count(c == "a"), same = c)\n')
    assert program.name == "p" and program.text.startswith("program p")
    assert program.run("ab") == [{"n": 1, "same": "a"}, {"n": 1, "same": "*"}]
    out, state = program.step("a")
    assert out["n"] == 1 and state == {"count.n": 1}
    assert program.step("a", state)[0]["n"] == 2
    assert lsrl.parse("program p(b: byte) -> int:\n    return b\n").run(b"\x00\xff") == [0, 255]
    assert lsrl.parse("program p() -> int:\n    return index()\n").run([None, None]) == [0, 1]
    with pytest.raises(TypeError, match="a dict of its inputs: x, y"):
        lsrl.parse("program p(x: int, y: int) -> int:\n    return x\n").run([1])


def long_program(states: int) -> Source:
    """A program of five lines a state."""
    lines = ['type T = {"a", "b", *}', "", "program p(x: int, t: T) -> int:", "    state s0: int = 0"]
    for i in range(states):
        lines += [f"    state s{i + 1}: int[0..9] = 0", f"    y{i} = x * 2 + {i} - (x if x < {i} else s{i})",
                  f'    s{i + 1} := match t: "a" => 1, "b" => (y{i} + 3) % 7, _ => s{i + 1}',
                  f"    if count(x > {i}) > 2 and s{i + 1} != y{i}:", f"        s{i + 1} := clamp(y{i}, 0, 9)"]
    return Source("t", "\n".join([*lines, f"    return s{states}", ""]))


@pytest.mark.slow
def test_ten_thousand_lines() -> None:
    source = long_program(2000)
    assert source.text.count("\n") > 10_000
    assert len(read_module(source, Path()).elaborate().states) == 4001


def test_a_program_is_read_in_time_that_grows_with_its_length() -> None:
    """Parsed, checked and elaborated."""
    assert growth(lambda: read_module(long_program(50), Path()).elaborate(),
                  lambda: read_module(long_program(200), Path()).elaborate()) < 5
