"""JSON lines, CSV, NumPy and Parquet, in and out."""

from __future__ import annotations

import io
import os
import struct
import tempfile
import warnings
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsrl.diagnostics import LsrlError
from lsrl.ir.graph import Graph
from lsrl.streams import open_input, open_output, run_stream
from lsrl.types import BOOL, BYTE, INT, REAL, Int, Real, Type, Vector
from tests.random_graphs import values_of
from tests.streams.graphs import ANY, depth, echo, numeric, run, total

TENTHS = Real(Fraction(0), Fraction(2), Fraction(1, 10))
MIXED: dict[str, Type] = {"flag": BOOL, "n": INT, "r": REAL, "c": ANY, "v": Vector(INT, 2),
                          "m": Vector(Vector(TENTHS, 1), 2)}
FORMATS = ["jsonl", "csv", "npz", "parquet"]


def through(tmp_path: Path, graph: Graph, data: bytes, to: str, exact: bool = False) -> Path:
    """Runs `graph` on JSON lines into a file of another format."""
    path = tmp_path / f"out.{to}"
    with open_output(graph, path, exact=exact) as target:
        run_stream(graph, open_input(graph, io.BytesIO(data), "jsonl"), target)
    return path


def back(graph: Graph, path: Path, exact: bool = False) -> bytes:
    out = io.BytesIO()
    with open_output(graph, out, "jsonl", exact) as target:
        run_stream(graph, open_input(graph, path, path.suffix[1:]), target)
    return out.getvalue()


ROWS = (b'{"flag": true, "n": -7, "r": 0.5, "c": "(", "v": [1, 2], "m": [[0.1], [2]]}\n'
        b'{"flag": 0, "n": 12345678901, "r": 3, "c": "x", "v": [0, -1], "m": [[0], [1.5]]}\n')
SHOWN = (b'{"flag": true, "n": -7, "r": 0.5, "c": "(", "v": [1, 2], "m": [[0.1], [2.0]]}\n'
         b'{"flag": false, "n": 12345678901, "r": 3.0, "c": "*", "v": [0, -1], "m": [[0.0], [1.5]]}\n')


@pytest.mark.parametrize("to", FORMATS)
def test_every_type_through_every_format(tmp_path: Path, to: str) -> None:
    graph = echo(**MIXED)
    assert back(graph, through(tmp_path, graph, ROWS, to)) == SHOWN


@pytest.mark.parametrize("to", FORMATS)
def test_no_rows_in_every_format(tmp_path: Path, to: str) -> None:
    graph = echo(**MIXED)
    assert back(graph, through(tmp_path, graph, b"", to)) == b""


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(FORMATS))
def test_random_values_come_back(data: st.DataObject, to: str) -> None:
    graph = echo(**MIXED)
    rows = data.draw(st.lists(st.fixed_dictionaries({n.name: values_of(n.type) for n in graph.inputs}), max_size=4))
    exact = to in ("jsonl", "csv", "parquet")
    out = io.BytesIO()
    with open_output(graph, out, "jsonl", exact=True) as target:
        target.write([target.render(tuple(row[n.name] for n in graph.inputs)) for row in rows])
    with tempfile.TemporaryDirectory() as folder:
        path = through(Path(folder), graph, out.getvalue(), to, exact)
        wanted = run(graph, out.getvalue(), format="jsonl", to="jsonl", exact=exact)[0]
        assert back(graph, path, exact) == wanted


@pytest.mark.parametrize("to, wanted", [
    ("jsonl", b'"1/3"\n"-2"\n'), ("csv", b"out\n1/3\n-2\n"), ("text", b"1/3\n-2\n")])
def test_rationals_exactly(to: str, wanted: bytes) -> None:
    assert run(echo(x=REAL), b'"1/3"\n-2.0\n', format="jsonl", to=to, exact=True)[0] == wanted


def test_decimals_are_exact_and_floats_are_nearest() -> None:
    assert run(total(REAL, REAL), b"0.1\n0.2\n", exact=True)[0] == b'"1/10"\n"3/10"\n'
    assert run(total(REAL, REAL), b"0.1\n0.2\n")[0] == b"0.1\n0.3\n"
    assert run(total(REAL, REAL), b"x\n1/3\n0.1\n1e2\n", format="csv", to="csv", exact=True)[0] == \
        b"out\n1/3\n13/30\n3013/30\n"


def test_numeric_programs_take_and_write_nonfinite_values() -> None:
    assert run(numeric("log"), b'0\n-1\n"Infinity"\nNaN\n')[0] == b'"-Infinity"\n"NaN"\n"Infinity"\n"NaN"\n'
    assert run(numeric("log"), b"x\n-inf\n1\n", format="csv", to="csv")[0] == b"out\nNaN\n0.0\n"


def test_a_huge_integer_comes_out_whole() -> None:
    text = b"9" * 4000
    assert run(total(), text + b"\n" + text)[0] == text + b"\n1" + b"9" * 3999 + b"8\n"
    square = b"\n".join([text] * 3)
    assert len(run(total(), square)[0].splitlines()[-1]) == 4001


def test_one_input_takes_bare_values_and_objects() -> None:
    assert run(echo(x=INT), b'1\n{"x": 2}\n\n  \n3')[0] == b"1\n2\n3\n"
    assert run(echo(x=Vector(INT, 2)), b"[1, 2]\n")[0] == b"[1, 2]\n"


def test_byte_order_mark_and_line_ends() -> None:
    assert run(echo(x=INT), b"\xef\xbb\xbf1\r\n2\r\n")[0] == b"1\n2\n"
    assert run(echo(x=INT), b"\xef\xbb\xbfx\r\n1\r\n\r\n2", format="csv")[0] == b"1\n2\n"


@pytest.mark.parametrize("data, code, message", [
    (b"{", "L609", "the input, line 1, column 2: this is not JSON: expecting property name enclosed in double quotes"),
    (b'{"n": 1}\n{"n": 1, "b": nul}', "L606", "the input, line 1: there is no field `b`"),
    (b'{"n": 1, "b": 1}\n{"n": 1, "b": nul}', "L609",
     "the input, line 2, column 15: this is not JSON: expecting value"),
    (b'{"n": 1, "b": 1, "bb": 2}', "L606", "the input, line 1: the program has no input `bb`"),
    (b'{"n": 1, "b": 1, "n": 2}', "L606", "the input, line 1: the field `n` stands there twice"),
    (b"7", "L602", "the input, line 1: a row is an object with a field for each input"),
    (b"[1, 2]", "L602", "the input, line 1: a row is an object with a field for each input"),
    (b'{"n": "x", "b": 1}', "L602", 'the input, line 1, field `n`: "x" is not an integer'),
    (b'{"n": 1.5, "b": 1}', "L602", "the input, line 1, field `n`: 1.5 is not an integer"),
    (b'{"n": null, "b": 1}', "L602", "the input, line 1, field `n`: null is not an integer"),
    (b'{"n": NaN, "b": 1}', "L602", "the input, line 1, field `n`: nan is not an integer"),
    (b'{"n": 10, "b": 1}', "L603", "the input, line 1, field `n`: 10 is outside int[0..9]"),
    (b'{"n": 1e9999999, "b": 1}', "L602", "the input, line 1, field `n`: 1E+9999999 has more than 4000 digits"),
    (b'{"n": 1e' + b"9" * 30 + b', "b": 1}', "L602",
     f'the input, line 1: "1e{"9" * 30}" has more than 4000 digits'),
    (b'{"n": ' + b"1" * 5000 + b', "b": 1}', "L609",
     "the input, line 1: this JSON cannot be read: a number is too long"),
    (b"[" * 100_000, "L609", "the input, line 1: this JSON cannot be read: it is nested too deep"),
    (b'{"n": 1, "b": 1}\n\xff', "L608", "the input is not UTF-8: byte 0xff at offset 17"),
    (b'{"n": 1, "b": "\0"}', "L609", "the input, line 1, column 16: this is not JSON: invalid control character at"),
])
def test_bad_json_lines(data: bytes, code: str, message: str) -> None:
    with pytest.raises(LsrlError) as raised:
        run(echo(n=Int(0, 9), b=BOOL), data, format="jsonl")
    told = raised.value.diagnostics[0]
    assert (told.code, told.message) == (code, message)


def test_rows_before_a_bad_one_are_run() -> None:
    out = io.BytesIO()
    graph = echo(x=INT)
    with pytest.raises(LsrlError, match="line 3"), open_output(graph, out) as target:
        run_stream(graph, open_input(graph, io.BytesIO(b"1\n2\nx\n")), target)
    assert out.getvalue() == b"1\n2\n"


@pytest.mark.parametrize("data, code, message", [
    (b"n,b\n1\n", "L609", "the input, line 2: 1 cells under a header of 2"),
    (b"n,b\n1,1,1\n", "L609", "the input, line 2: 3 cells under a header of 2"),
    (b"n\n1\n", "L606", "the input: there is no column `b`"),
    (b"n,b,c\n", "L606", "the input: the program has no input for the column `c`"),
    (b"n,b,n\n", "L606", "the input: the column `n` stands there twice"),
    (b"n,b\n1,1\n\nx,1\n", "L602", 'the input, line 4, column `n`: "x" is not a number'),
    (b"n,b\n,1\n", "L602", "the input, line 2, column `n`: the value is empty"),
    (b"n,b\n1,\n", "L602", "the input, line 2, column `b`: the value is empty"),
    (b"n,b\n1,yes\n", "L602", 'the input, line 2, column `b`: "yes" is not a bool'),
    (b"n,b\n1/0,1\n", "L602", 'the input, line 2, column `n`: "1/0" divides by zero'),
    (b"n,b\nnan,1\n", "L602", "the input, line 2, column `n`: nan is not an integer"),
    (b'n,b\n"1,1\n', "L609", "the input, line 2: unexpected end of data"),
    (b"n,b\n1,1\0\n", "L602", 'the input, line 2, column `b`: "1\\x00" is not a bool'),
    (b"\n\n", "L609", "the input has no header with the names of the inputs"),
])
def test_bad_csv(data: bytes, code: str, message: str) -> None:
    with pytest.raises(LsrlError) as raised:
        run(echo(n=Int(0, 9), b=BOOL), data, format="csv")
    told = raised.value.diagnostics[0]
    assert (told.code, told.message) == (code, message)


def test_csv_columns_of_vectors_in_any_order() -> None:
    graph = echo(v=Vector(INT, 2), c=ANY)
    assert run(graph, b'c,v[1],v[0]\n(,2,1\n"\n",4,3\n', format="csv", to="csv")[0] == \
        b"v[0],v[1],c\n1,2,(\n3,4,*\n"
    with pytest.raises(LsrlError, match=r"there is no column `v\[1\]`"):
        run(graph, b"c,v[0]\n", format="csv")


def test_an_empty_csv_has_no_tokens() -> None:
    assert run(echo(n=INT), b"", format="csv", to="csv") == (b"out\n", {})


def save(tmp_path: Path, name: str, data: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def read_all(graph: Graph, place: Path | io.BytesIO, format: str | None = None) -> bytes:
    out = io.BytesIO()
    with open_input(graph, place, format) as source, open_output(graph, out) as target:
        run_stream(graph, source, target)
    return out.getvalue()


@pytest.mark.parametrize("t, array, wanted", [
    (INT, np.array([1, -2], np.int8), b"1\n-2\n"), (INT, np.array([2**63], np.uint64), b"9223372036854775808\n"),
    (BOOL, np.array([True, False]), b"true\nfalse\n"), (BOOL, np.array([0, 1]), b"false\ntrue\n"),
    (ANY, np.array(["(", "zz"]), b'"("\n"*"\n'), (ANY, np.array([1, 2]), b'")"\n"*"\n'),
    (REAL, np.array([0.25, 3]), b"0.25\n3.0\n"), (TENTHS, np.array([0.3, 1.1], np.float32), b"0.3\n1.1\n"),
    (TENTHS, np.array([0.3]), b"0.3\n"), (BYTE, np.array([255, 0], np.uint8), b"255\n0\n"),
    (Vector(INT, 2), np.array([[1, 2], [3, 4]]), b"[1, 2]\n[3, 4]\n"), (INT, np.zeros(0, int), b""),
    (INT, np.array([1, 2], ">i4"), b"1\n2\n")])
def test_npy_of_every_kind(tmp_path: Path, t: Type, array: Any, wanted: bytes) -> None:
    assert read_all(echo(x=t), save(tmp_path, "in.npy", npy(array))) == wanted


class Spy:
    """What a pickle could do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("pickled",)


@pytest.mark.parametrize("data, code, message", [
    (npy(np.array([Spy()], object)), "L609", "in.npy holds Python objects, which are not read: they could run code"),
    (npy(np.array([1, 2, 3]))[:-5], "L609", "in.npy is cut short: 2 of 3 rows are there"),
    (npy(np.array([1]))[:20], "L609", "in.npy is not a whole .npy file: EOF: reading array header, "
                                      "expected 118 bytes got 10"),
    (b"", "L609", "in.npy is not a whole .npy file: EOF: reading magic string, expected 8 bytes got 0"),
    (b"PK\3\4junkjunkjunk", "L609", "in.npy is not a whole .npy file: the magic string is not correct; "
                                    "expected b'\\x93NUMPY', got b'PK\\x03\\x04ju'"),
    (npy(np.array([1j])), "L602", "in.npy holds complex128, not numbers, bools or symbols"),
    (npy(np.array([b"x"])), "L602", "in.npy holds |S1, not numbers, bools or symbols"),
    (npy(np.array([[1, 2]])), "L602", "in.npy has the shape (1, 2), where (tokens,) is wanted for the input `x`: int"),
    (npy(np.array(1)), "L602", "in.npy has the shape (), where (tokens,) is wanted for the input `x`: int"),
    (npy(np.array([1, 1.5])), "L602", "in.npy, row 1, `x`: 1.5 is not an integer"),
    (npy(np.array([1, np.nan])), "L602", "in.npy, row 1, `x`: nan is not an integer"),
])
def test_bad_npy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, code: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path, "in.npy", data)
    with pytest.raises(LsrlError) as raised:
        read_all(echo(x=INT), Path("in.npy"))
    told = raised.value.diagnostics[0]
    assert (told.code, told.message) == (code, message)
    assert not (tmp_path / "pickled").exists()


def test_arrays_stored_by_columns_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, "in.npy", npy(np.asfortranarray(np.ones((3, 2), int))))
    with pytest.raises(LsrlError, match="is stored by columns"):
        read_all(echo(x=Vector(INT, 2)), path)


def test_a_header_that_claims_too_much_costs_nothing(tmp_path: Path) -> None:
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000000,), }".ljust(117) + b"\n"
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(16)
    with pytest.raises(LsrlError, match="is cut short: 2 of 1000000000000000 rows are there"):
        read_all(echo(x=INT), save(tmp_path, "in.npy", data))


def test_npz_by_name(tmp_path: Path) -> None:
    graph = echo(a=INT, b=ANY)
    path = tmp_path / "in.npz"
    np.savez_compressed(path, b=np.array(["(", ")"]), a=np.array([1, 2]))
    assert read_all(graph, path) == b'{"a": 1, "b": "("}\n{"a": 2, "b": ")"}\n'
    for arrays, message in (({"a": np.array([1])}, "there is no array `b`"),
                            ({"a": [1], "b": [1], "c": [1]}, "the program has no input for the array `c`"),
                            ({"a": [1, 2], "b": [1]}, "`a` has 2 rows, another input 1")):
        np.savez(path, **arrays)
        with pytest.raises(LsrlError, match=message):
            read_all(graph, path)


def test_bad_npz(tmp_path: Path) -> None:
    graph = echo(a=INT, b=INT)
    with pytest.raises(LsrlError, match=r"is not a \.npz file"):
        read_all(graph, save(tmp_path, "in.npz", b"PK no zip"))
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy(np.array([1])))
        archive.writestr("b.npy", npy(np.array([1]))[:60] + bytes(10**8))
    with pytest.raises(LsrlError, match=r"the array `b` of .* is not a whole .npy file"):
        read_all(graph, path)
    data = bytearray(path.read_bytes())
    data[60:70] = bytes(10)
    with pytest.raises(LsrlError, match=r"is not a whole \.npy file|is damaged"):
        read_all(graph, save(tmp_path, "damaged.npz", bytes(data)))


def test_bad_parquet(tmp_path: Path) -> None:
    graph = echo(a=INT, b=Vector(INT, 2))
    with pytest.raises(LsrlError, match=r"is not a Parquet file|is not a whole Parquet file"):
        read_all(graph, save(tmp_path, "in.parquet", b"PAR1 but no more"))
    whole = through(tmp_path, graph, b'{"a": 1, "b": [1, 2]}\n', "parquet").read_bytes()
    with pytest.raises(LsrlError, match=r"is not a Parquet file|is not a whole Parquet file"):
        read_all(graph, save(tmp_path, "in.parquet", whole[:-30]))


def test_parquet_columns(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    def write(**columns: Any) -> Path:
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "in.parquet")
        return tmp_path / "in.parquet"

    graph = echo(a=INT, b=Vector(INT, 2))
    assert read_all(graph, write(b=[[1, 2]], a=[7])) == b'{"a": 7, "b": [1, 2]}\n'
    assert read_all(graph, write(**{"b[1]": [2], "a": [7], "b[0]": [1]})) == b'{"a": 7, "b": [1, 2]}\n'
    for columns, message in (({"a": [1]}, r"there is no column `b\[0\]`"),
                             ({"a": [1], "b": [[1, 2]], "c": [1]}, "no input for the column `c`"),
                             ({"a": [None], "b": [[1, 2]]}, "row 0, column `a`: null is not an integer"),
                             ({"a": [1], "b": [[1]]}, "row 0, column `b`: a vector of 1 stands where"),
                             ({"a": ["x"], "b": [[1, 2]]}, 'row 0, column `a`: "x" is not an integer')):
        with pytest.raises(LsrlError, match=message):
            read_all(graph, write(**columns))
    with pytest.raises(LsrlError, match="cannot be read in any order"):
        open_input(graph, Unseekable(b""), "parquet").blocks().__iter__().__next__()


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("to, exact, message", [
    ("npy", False, "a .npy file holds one output; `echo` has 2"),
    ("npz", True, "cannot hold the rationals of `r` exactly")])
def test_outputs_that_a_format_cannot_hold(tmp_path: Path, to: str, exact: bool, message: str) -> None:
    with pytest.raises(LsrlError, match=message):
        through(tmp_path, echo(r=REAL, b=BOOL), b"", to, exact)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["npy", "npz", "parquet"])
def test_large_ints_do_not_fit_arrays(tmp_path: Path, to: str) -> None:
    with pytest.raises(LsrlError, match="the output `out` has a value that does not fit 64 bits"):
        through(tmp_path, echo(x=INT), b"%d\n" % 2**63, to)
    assert list(tmp_path.iterdir()) == []


def test_binary_formats_need_a_file() -> None:
    with pytest.raises(LsrlError, match=r"\.npz needs a file"):
        open_output(echo(x=INT), Unseekable(), "npz")


def test_written_arrays_are_numpys_own(tmp_path: Path) -> None:
    graph = echo(x=Vector(TENTHS, 2))
    array = np.load(through(tmp_path, graph, b"[0.1, 0.2]\n[1, 2]\n", "npy"))
    assert array.dtype == np.float64 and array.tolist() == [[0.1, 0.2], [1.0, 2.0]]
    with np.load(through(tmp_path, depth(), b'"("\n")"\n', "npz")) as arrays:
        assert arrays["out"].tolist() == [1, 0]
    first = (tmp_path / "out.npz").read_bytes()
    assert through(tmp_path, depth(), b'"("\n")"\n', "npz").read_bytes() == first


@pytest.mark.parametrize("cell", ["1e" + "9" * 30, "1_", "1__0", "1/1e" + "9" * 30, "_1", "1/_"])
def test_cells_that_look_like_numbers(cell: str) -> None:
    with pytest.raises(LsrlError) as raised:
        read_all(echo(r=REAL), io.BytesIO(f"r\n{cell}\n".encode()), "csv")
    assert raised.value.diagnostics[0].code == "L602"


@pytest.mark.parametrize("cell", ["1_000", "\x1c1000\x1f", " 1e3 ", "3_000/3"])
def test_cells_that_are_numbers(cell: str) -> None:
    assert read_all(echo(r=REAL), io.BytesIO(f"r\n{cell}\n".encode()), "csv") == b"1000.0\n"


def test_damaged_archives(tmp_path: Path) -> None:
    """Every byte of a small archive, changed: read, or refused with a place and a code."""
    whole = io.BytesIO()
    np.savez(whole, x=np.array([1, 2]))
    data = whole.getvalue()
    read, codes = 0, set()
    for at in range(len(data)):
        for byte in (0x00, 0x5F, 0xFF):
            damaged = data[:at] + bytes([byte]) + data[at + 1 :]
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # numpy's, of headers that Python 2 could have written
                    read_all(echo(x=INT), io.BytesIO(damaged), "npz")
                read += 1
            except LsrlError as error:
                codes.add(error.diagnostics[0].code)
    assert codes == {"L606", "L609"}
    assert read > 0
