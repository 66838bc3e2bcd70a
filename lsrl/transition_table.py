"""A program's transitions, found once and then looked up: what makes one long stream fast.

Each row stands for a state (and the outputs that led to it) and is a dictionary from input letters to rows, filled
on demand, so that a token costs one look-up. It pays for finite states and for unbounded ones that come back often
(the depth of brackets); where states do not come back, `StreamRunner` notices and goes on with the generated loop.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lsrl.interpreter import read_inputs
from lsrl.ir.graph import Graph
from lsrl.python_step import CheckFailedError, CompiledStep, compile_step
from lsrl.types import Value, shape
from lsrl.values import BadValueError, read_value

__all__ = ["StreamRunner", "TokenError", "run_text"]

MOST_ENTRIES = 1 << 18  # of the table, at about 100 bytes each; fewer where states are large
_REMEMBERED = 1 << 16  # inputs and outputs outside the table
_WORTH = 8  # look-ups an entry must have served, on average, for a full table to be started afresh


def run_text(graph: Graph, text: str | bytes, state: Mapping[str, Value] | None = None,
             show: Callable[[dict[str, Value]], Any] = dict) -> tuple[list[Any], dict[str, Value]]:
    """The outputs of every token of a text, and the state after it, as `Interpreter.run` gives them but far faster.

    The program has one input; its tokens are the characters (or bytes) of the text. show: what to make of the outputs
    of a token; it is called once for equal ones, and tokens share what it gives. Raises RunError as the interpreter.
    """
    step = compile_step(graph)
    name = graph.inputs[0].name

    def decode(letter: str | int) -> tuple[Value, ...]:
        return (read_value(letter, graph.inputs[0].type, graph.numeric),)

    start = step.pack_state(step.initial_state() if state is None else state)
    runner = StreamRunner(step, start, decode, lambda outputs: show(step.unpack_outputs(outputs)))
    try:
        return runner.run(text), step.unpack_state(runner.state)
    except TokenError as stop:
        if isinstance(stop.cause, CheckFailedError):
            raise step.error(stop.cause, stop.index) from None
        read_inputs(graph, {name: text[stop.index]}, stop.index)  # raises
        raise AssertionError("a letter that was refused is not refused again") from None


class TokenError(Exception):
    """The token `index` of a block stopped the run. `before`: what the tokens before it gave. `cause`: why."""

    def __init__(self, index: int, before: list[Any], cause: CheckFailedError | BadValueError) -> None:
        super().__init__(index)
        self.index = index
        self.before = before
        self.cause = cause


class _TableFullError(Exception):
    pass


class _Row(dict[Any, "_Row"]):
    """From letters to rows; `state` is the program's state here, `shown` the rendered outputs of the token before."""

    __slots__ = ("add", "shown", "state")

    def __init__(self, state: tuple[Value, ...], shown: Any, add: Callable[[_Row, Any], _Row]) -> None:
        super().__init__()
        self.state = state
        self.shown = shown
        self.add = add

    def __missing__(self, letter: Any) -> _Row:
        return self.add(self, letter)


class _Inputs(dict[Any, Any]):
    """Letters to what `run_block` takes, remembered; `most` bounds what is kept. Rows are kept only if `rows`."""

    def __init__(self, decode: Callable[[Any], tuple[Value, ...]], single: bool, rows: bool, most: int) -> None:
        super().__init__()
        self._decode, self._single, self._all, self._most = decode, single, rows, most

    def __missing__(self, letter: Any) -> Any:
        values = self._decode(letter)
        value = values[0] if self._single else values
        if len(self) < self._most and (self._all or isinstance(letter, str | int)):
            self[letter] = value
        return value


class _Shown(dict[Any, Any]):
    """Outputs to what is shown of them, remembered; `most` bounds what is kept."""

    def __init__(self, show: Callable[[tuple[Any, ...]], Any], single: bool, most: int) -> None:
        super().__init__()
        self._show, self._single, self._most = show, single, most

    def __missing__(self, outputs: Any) -> Any:
        shown = self._show((outputs,) if self._single else outputs)
        if len(self) < self._most:
            self[outputs] = shown
        return shown


class StreamRunner:
    """Runs one stream in blocks of letters.

    decode: the input values of a letter; raises BadValueError for one that the program does not take.
    show: what to make of the outputs of a token, called once for equal outputs.
    remember: False for a stream whose letters and outputs hardly ever come back.
    """

    def __init__(self, step: CompiledStep, state: tuple[Value, ...], decode: Callable[[Any], tuple[Value, ...]],
                 show: Callable[[tuple[Any, ...]], Any], *, remember: bool = True, most: int = MOST_ENTRIES) -> None:
        self._step = step
        self._state = state
        self._decode = decode
        self._show = show
        self._most = max(16, most // (1 + sum(math.prod(shape(s.type)) for s in step.graph.states) // 16))
        single_in, single_out = len(step.graph.inputs) == 1, len(step.graph.outputs) == 1
        floats = step.graph.numeric  # 0.0 and -0.0 are equal keys but different values
        self._inputs = _Inputs(decode, single_in, not floats, _REMEMBERED)
        self._outputs = _Shown(show, single_out, 0 if floats else _REMEMBERED)
        self._rows: dict[Any, _Row] = {}
        self._row: _Row | None = None
        self._entries = 0
        self._served = 0
        if remember and not floats:
            self._row = self._row_of(state, None)

    @property
    def state(self) -> tuple[Value, ...]:
        """The states after the tokens so far, in the graph's order."""
        return self._state if self._row is None else self._row.state

    @property
    def uses_table(self) -> bool:
        """Whether transitions are looked up (else the generated loop runs)."""
        return self._row is not None

    def run(self, letters: Sequence[Any]) -> list[Any]:
        """What `show` makes of the outputs of each token of the block.

        Raises TokenError, and leaves the state as it was before the block.
        """
        while self._row is not None:
            row = first = self._row
            try:
                shown = [(row := row[letter]).shown for letter in letters]
            except _TableFullError:
                self._start_afresh()
            except (CheckFailedError, BadValueError):
                raise self._locate(first, letters) from None
            else:
                self._advance(row, len(letters))
                return shown
        return list(map(self._outputs.__getitem__, self._loop(letters)))

    def run_last(self, letters: Sequence[Any]) -> Any:
        """The same for the last token alone; the block may not be empty."""
        while self._row is not None:
            row = first = self._row
            try:
                for letter in letters:
                    row = row[letter]
            except _TableFullError:
                self._start_afresh()
            except (CheckFailedError, BadValueError):
                raise self._locate(first, letters) from None
            else:
                self._advance(row, len(letters))
                return row.shown
        return self._outputs[self._loop(letters)[-1]]

    def _advance(self, row: _Row, tokens: int) -> None:
        self._row = row
        self._served += tokens

    def _locate(self, row: _Row, letters: Sequence[Any]) -> Exception:
        """The TokenError of a block in which a letter is known to stop the run."""
        before: list[Any] = []
        for index, letter in enumerate(letters):
            try:
                row = row[letter]
            except (CheckFailedError, BadValueError) as cause:
                return TokenError(index, before, cause)
            before.append(row.shown)
        raise AssertionError("a block that failed did not fail again")

    def _start_afresh(self) -> None:
        """Empties a full table; gives it up if it has served too few tokens."""
        worth = self._served >= _WORTH * self._most
        self._state = self.state
        self._rows, self._entries, self._served = {}, 0, 0
        self._row = self._row_of(self._state, None) if worth else None

    def _row_of(self, state: tuple[Value, ...], shown: Any) -> _Row:
        return _Row(state, shown, self._add)

    def _add(self, row: _Row, letter: Any) -> _Row:
        if self._entries >= self._most:
            raise _TableFullError
        outputs, after = self._step.transition(row.state, self._decode(letter))
        found = self._rows.get((after, outputs))
        if found is None:
            found = self._rows[after, outputs] = self._row_of(after, self._show(outputs))
        row[letter] = found
        self._entries += 1
        return found

    def _loop(self, letters: Sequence[Any]) -> list[Any]:
        out: list[Any] = []
        try:
            self._state = self._step.run_block(self._state, map(self._inputs.__getitem__, letters), out)
        except (CheckFailedError, BadValueError) as cause:
            raise TokenError(len(out), list(map(self._outputs.__getitem__, out)), cause) from None
        return out
