"""Text, bytes and words as input."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsrl.diagnostics import LsrlError
from lsrl.interpreter import Interpreter, RunError
from lsrl.streams import open_input, open_output, run_stream, sources
from lsrl.types import BOOL, BYTE, INT, REAL, Int, Symbols
from tests.streams.graphs import ANY, BRACKETS, depth, echo, numeric, run, total

LETTERS = Symbols(("a", "b", "é", "😀", "\n"), other=True)
WORDS = Symbols(("open", "close"), other=True)


class Trickle(io.RawIOBase):
    """A stream that gives a few bytes at a time."""

    name = "trickle"

    def __init__(self, data: bytes, most: int) -> None:
        self._data, self._most = data, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part, self._data = self._data[: self._most], self._data[self._most :]
        buffer[: len(part)] = part
        return len(part)


@settings(max_examples=60, deadline=None)
@given(st.text("ab\n\r😀éxyz"), st.integers(1, 5))
def test_text_arrives_whole_however_it_is_cut(text: str, most: int) -> None:
    graph = echo(x=LETTERS)
    out = io.BytesIO()
    with open_output(graph, out, "csv") as target:
        run_stream(graph, open_input(graph, io.BufferedReader(Trickle(text.encode(), most), 1)), target)
    whole, _ = run(graph, text.encode(), to="csv")
    assert out.getvalue() == whole
    interpreter = Interpreter(graph)
    codes = [interpreter.step({}, {"x": c})[0]["out"] for c in text]
    assert [LETTERS.name(int(c)) for c in codes if not isinstance(c, tuple)] == \
        [c if c in LETTERS.names else "*" for c in text]
    assert len(codes) == len(text)


def test_each_character_is_a_token() -> None:
    assert run(depth(), b"(x()") == (b"1\n1\n2\n1\n", {"depth": 1})
    assert run(depth(), b"") == (b"", {"depth": 0})


@pytest.mark.parametrize("data, wanted", [
    (b"()", b"1\n0\n"), (b"()\n", b"1\n0\n"), (b"()\r\n", b"1\n0\n"), (b"\xef\xbb\xbf()", b"1\n0\n"), (b"\n", b""),
    (b"\xef\xbb\xbf", b""), (b"\r\n", b"")])
def test_a_line_end_at_the_end_and_a_byte_order_mark_are_no_tokens(data: bytes, wanted: bytes) -> None:
    assert run(depth(BRACKETS), data)[0] == wanted


def test_line_ends_are_tokens_where_the_alphabet_has_them() -> None:
    assert run(depth(ANY), b"(\r\n)\n")[0] == b"1\n1\n1\n0\n0\n"
    lines = Symbols(("(", ")", "\n"))
    assert run(depth(lines), b"(\n\n)\n")[0] == b"1\n1\n1\n0\n0\n"


@pytest.mark.parametrize("data, message", [
    (b"()x", 'character 2 of the input (line 1, column 3): "x" is not in the alphabet {"(", ")"}'),
    (b"()\n(", 'character 2 of the input (line 1, column 3): "\\n" is not in the alphabet {"(", ")"}'),
    (b"()\n\n", 'character 2 of the input (line 1, column 3): "\\n" is not in the alphabet {"(", ")"}'),
    (b"(\r", 'character 1 of the input (line 1, column 2): "\\r" is not in the alphabet {"(", ")"}'),
    (b"(\0)", 'character 1 of the input (line 1, column 2): "\\x00" is not in the alphabet {"(", ")"}'),
    ("((é".encode(), 'character 2 of the input (line 1, column 3): "é" is not in the alphabet {"(", ")"}'),
])
def test_symbols_outside_the_alphabet(data: bytes, message: str) -> None:
    with pytest.raises(LsrlError) as raised:
        run(depth(BRACKETS), data)
    told = raised.value.diagnostics[0]
    assert (told.code, told.message) == ("L605", message)


def test_lines_and_columns_count_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK", 3)
    lines = Symbols(("(", ")", "\n"))
    with pytest.raises(LsrlError, match=r'character 15 of the input \(line 4, column 5\): "\?" is not'):
        run(depth(lines), b"()()\n()()\n\n()()?)")
    with pytest.raises(LsrlError, match=r"character 11 of the input \(line 4, column 1\)"):
        run(depth(lines), b"()()\n()()\n\n?")


@pytest.mark.parametrize("data, written, message", [
    (b"(\xff(", b"1\n", "the input is not UTF-8: byte 0xff at offset 1"),
    (b"\xff\xfe(\0", b"", "the input is not UTF-8: byte 0xff at offset 0"),
    (b"((\xe2\x82", b"1\n2\n", "the input is not UTF-8: it ends inside a character, at byte 2"),
    (b"((\xc0\x80", b"1\n2\n", "the input is not UTF-8: byte 0xc0 at offset 2"),
    (b"(\xed\xa0\x80", b"1\n", "the input is not UTF-8: byte 0xed at offset 1")])
def test_text_that_is_not_utf8(data: bytes, written: bytes, message: str) -> None:
    out = io.BytesIO()
    graph = depth()
    with pytest.raises(LsrlError) as raised, open_output(graph, out) as target:
        run_stream(graph, open_input(graph, io.BytesIO(data)), target)
    told = raised.value.diagnostics[0]
    assert (told.code, told.message, out.getvalue()) == ("L608", message, written)


def test_utf8_offsets_count_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "BLOCK", 2)
    with pytest.raises(LsrlError, match="byte 0xff at offset 7"):
        run(depth(), "€€(".encode() + b"\xff")


def test_a_check_that_fails_says_where_in_the_text() -> None:
    out = io.BytesIO()
    graph = depth(most=2)
    with pytest.raises(RunError) as raised, open_output(graph, out) as target:
        run_stream(graph, open_input(graph, io.BytesIO(b"(\n(\n ( (")), target)
    assert str(raised.value) == """\
error[L204]: `depth` leaves its range int[..2] at token 5
  = note: the inputs of that token: tok = "("
  = note: that is character 5 of the input (line 3, column 2)"""
    assert raised.value.position == 5
    assert out.getvalue() == b"1\n1\n2\n2\n2\n"


def test_bytes_are_read_raw() -> None:
    data = bytes(range(256)) + b"\xef\xbb\xbf\r\n"
    written, _ = run(echo(x=BYTE), data, to="text")
    assert written == data
    assert run(echo(x=BYTE), b"\0\xff")[0] == b"0\n255\n"


def test_symbols_come_out_side_by_side_as_plain_text() -> None:
    assert run(echo(x=LETTERS), "abé😀q\n".encode(), to="text")[0] == "abé😀*\n".encode()
    assert run(echo(x=LETTERS), "aé".encode())[0] == '"a"\n"é"\n'.encode()


def test_longer_symbols_are_words() -> None:
    graph = depth(WORDS)
    assert run(graph, b"open open\n  close x\t")[0] == b"1\n2\n1\n1\n"
    assert run(graph, b" \n")[0] == b""
    with pytest.raises(LsrlError, match='word 2 of the input: "x" is not in the alphabet'):
        run(depth(Symbols(("open", "close"))), b"open close x")
    assert run(echo(x=WORDS), b"open z", to="text")[0] == b"open\n*\n"


def test_words_arrive_whole_however_they_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(depth(WORDS), b"open close  open\nopen openclose")[0]
    for size in range(1, 9):
        monkeypatch.setattr(sources, "BLOCK", size)
        assert run(depth(WORDS), b"open close  open\nopen openclose")[0] == whole == b"1\n0\n1\n2\n2\n"


def test_numbers_as_words_when_asked_for() -> None:
    assert run(total(), b"1 2\n-7", format="text")[0] == b"1\n3\n-4\n"
    assert run(total(REAL, REAL), b"0.1 0.2 1/3 1e-1", format="text", exact=True)[0] == \
        b'"1/10"\n"3/10"\n"19/30"\n"11/15"\n'
    assert run(echo(x=BOOL), b"1 false TRUE", format="text")[0] == b"true\nfalse\ntrue\n"
    with pytest.raises(LsrlError, match='word 1 of the input: "x" is not a number'):
        run(total(), b"1 x", format="text")


def test_symbols_with_spaces_cannot_be_words() -> None:
    with pytest.raises(LsrlError, match='the symbol "new york" cannot stand in a text of words'):
        run(echo(x=Symbols(("new york", "a"))), b"")


def test_a_program_of_several_inputs_reads_no_text() -> None:
    with pytest.raises(LsrlError, match="`echo` does not read text: it has not one input of a finite alphabet"):
        run(echo(x=ANY, y=INT), b"", format="text")


def test_the_last_value_alone() -> None:
    assert run(depth(), b"(()(", last=True) == (b"2\n", {"depth": 2})
    assert run(numeric(), b"0\n1\n0\n", last=True)[0] == b"1.0\n"
    with pytest.raises(LsrlError, match="the input is empty: there is no last token") as raised:
        run(depth(), b"", last=True)
    assert raised.value.diagnostics[0].code == "L614"


def test_a_run_goes_on_from_a_state() -> None:
    first, state = run(depth(), b"((")
    second, end = run(depth(), b"()", state=state)
    assert first + second == run(depth(), b"((()")[0] and end == {"depth": 2}


def test_progress_is_told() -> None:
    calls: list[tuple[int, float | None]] = []
    graph = depth()
    with open_output(graph, io.BytesIO()) as target:
        run_stream(graph, open_input(graph, io.BytesIO(b"()" * 100_000)), target,
                   progress=lambda tokens, part: calls.append((tokens, part)))
    assert calls[-1] == (200_000, None) and len(calls) >= 3


def test_a_state_that_never_comes_back_and_one_that_does() -> None:
    assert run(total(Int(0, 9)), b"".join(b"%d\n" % (i % 10) for i in range(300_000)), last=True)[0] == b"1350000\n"
    text = b"(())()x" * 30_000
    assert run(depth(), text, last=True)[0] == b"0\n"
