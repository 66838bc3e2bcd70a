"""The speculative shape: chunks of a sequence at once, each from the states that the letters before it leave possible.

A word of letters maps all states of an automaton to few of them, often to one: then the state before a chunk is known
from the letters before it alone, whatever came earlier, and the chunks are sequences of their own. Where a few states
are left, each chunk is run from all of them for its map, and once more from the right one. Where many are, as in every
automaton whose letters permute its states, the sequence is run whole. So nothing is guessed, and results never differ.

Mytkowicz, Musuvathi and Schulte 2014, "Data-parallel finite-state machines", for sets of states that converge; Ladner
and Fischer 1980 for maps of states that compose.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lsrl.backends.kernels.bodies import Parts
from lsrl.backends.kernels.call import Call, Options, UnknownStateError, state_dtype
from lsrl.backends.kernels.chunks import Chunks, chunk_call, one_row, run_chunks
from lsrl.backends.kernels.state_table import StateTable

__all__ = ["Speculation", "convergence", "may_converge", "numbers_of", "possible_states", "states_of"]

_FEW = 16  # states that a program may have whose letters bring none of them together
_LEAST = 16  # tokens of a chunk
_PATIENCE = 64  # calls that are run whole, at most, after some in which too many states were possible
_LETTERS = 1024  # random ones, after which the states are counted
_ELEMENTS = 1 << 22  # of the maps of all letters that are looked at


def may_converge(table: StateTable) -> bool:
    """Whether few states can be left possible: some letter brings states together, or there are few of them."""
    if len(table.states) == 1:
        return False  # a map: nothing waits for the token before
    columns = table.next.T
    return len(table.states) <= _FEW or any(len(set(c[c >= 0].tolist())) < len(table.states) for c in columns)


def convergence(table: StateTable) -> tuple[int, int]:
    """Some number of random letters, all as likely, and how many states they leave possible: 2 if that many can be."""
    rng = random.Random(0)
    possible = set(range(len(table.states)))
    for count in range(1, _LETTERS + 1):
        letter = rng.randrange(table.next.shape[1])
        possible = {q for q in table.next[list(possible), letter].tolist() if q >= 0}
        if count & count - 1 == 0 and count >= _LEAST and len(possible) <= 2:
            break
    return count, len(possible)


class Speculation:
    """Launches a program's kernel on chunks of each sequence.

    run: runs a call, a token at a time or by look-ups. possible: for each row of a call the states that its tokens
    leave possible, whatever state was before them (more may be said to be, none left out). unread: whether outputs that
    nobody wants can be left out of a call. cut, whole: how many sequences were cut into chunks, and how many run whole.
    """

    def __init__(self, parts: Parts, options: Options, table: StateTable, run: Callable[[Call], None],
                 possible: Callable[[Call], Sequence[list[int]]], unread: bool) -> None:
        self._parts, self._options, self.table = parts, options, table
        self._run, self._possible, self._unread = run, possible, unread
        self._wait, self._failures = 0, 0
        self.cut, self.whole = 0, 0

    def launch(self, call: Call, chunks: int, most: int) -> None:
        """As a kernel's `launch`. chunks: of a sequence, at most. most: states that may be possible before one."""
        numbers = numbers_of(call.before, call.rows, self._parts, self.table)
        if self._wait > 0:
            self._wait -= 1
            self.whole += call.rows
            self._run(call)
            return
        for r, number in enumerate(numbers):
            row = one_row(call, r)
            count = max(1, min(chunks, row.tokens // _LEAST))
            at = Chunks(row.tokens, count, row.reverse)
            starts = self._starts(row, at, number, most)
            if starts is None:
                self._failures = min(self._failures + 1, _PATIENCE.bit_length())
                self._wait = (1 << self._failures - 1) - 1
                self.whole += 1
                self._run(_unsqueezed(row))
            else:
                self._failures = 0
                self.cut += at.count > 1
                before = states_of(at.listed(starts), self._parts, self._options, self.table, _device(call))
                run_chunks(row, at, before, self._run)

    def _starts(self, row: Call, at: Chunks, number: int, most: int) -> list[int] | None:
        """The states before each chunk, in the order of the work; None where more than `most` may be before one."""
        if at.count == 1:
            return [number]
        whole = chunk_call(row, at)
        sets = [[number], *at.listed(self._possible(_without_the_last(whole)))]
        widest = max(map(len, sets))
        if widest > most:
            return None
        if widest <= 1:
            return [s[0] if s else 0 for s in sets]  # none is left where a check failed before: then any is right
        maps = replace(whole, outputs={} if self._unread else whole.outputs)  # what is written there is written again
        ends: list[Sequence[int]] = []
        for j in range(widest):
            given = [s[min(j, len(s) - 1)] if s else 0 for s in sets]
            before = states_of(at.listed(given), self._parts, self._options, self.table, _device(row))
            after = {n: torch.empty_like(x) for n, x in before.items()}
            self._run(replace(maps, before=before, after=after))
            ends.append(at.listed([self.table.code.get(q, 0) for q in _joint(after, at.count, self._parts)]))
        starts = [number]
        for c in range(at.count - 1):
            own = sets[c]
            starts.append(ends[own.index(starts[c])][c] if starts[c] in own else 0)
        return starts


def possible_states(table: StateTable, call: Call) -> list[list[int]]:
    """The states after the rows of a call, whatever state was before them: from the maps of their last letters.

    The maps (rows, letters, states) are composed in pairs, in as many steps as the number of letters has bits.
    """
    device = _device(call)
    count, letters = table.next.shape
    room = max(1, _ELEMENTS // (call.rows * (count + 1)))
    taken = min(call.tokens, 1 << room.bit_length() - 1)
    dead = torch.full((1, letters), count, dtype=torch.int64)
    following = torch.cat([torch.from_numpy(table.next).to(torch.int64), dead]).to(device)
    following = torch.where(following < 0, count, following).T  # [letter][state], one state for failed checks

    def window(x: Tensor) -> Tensor:
        return x[:, :taken].flip(1) if call.reverse else x[:, call.tokens - taken:]

    letter = torch.zeros((call.rows, taken), dtype=torch.int64, device=device)
    for d in table.digits:
        x = window(call.inputs[d.leaf.attribute[0]]).to(torch.int64) - d.low
        letter = letter * d.count + x.clamp(0, d.count - 1)
    maps = following[letter]
    if call.resets is not None:
        maps = torch.where(window(call.resets).unsqueeze(2), maps[:, :, :1], maps)
    while maps.shape[1] > 1:
        odd = maps[:, -1:] if maps.shape[1] % 2 else maps[:, :0]
        maps = torch.cat([maps[:, 1::2].gather(2, maps[:, : maps.shape[1] - odd.shape[1] : 2]), odd], 1)
    if taken == 0:
        return [list(range(count)) for _ in range(call.rows)]
    return [sorted(set(row) - {count}) for row in maps[:, 0, :count].tolist()]


def numbers_of(before: Mapping[str, Tensor], rows: int, parts: Parts, table: StateTable) -> list[int]:
    """The numbers of the joint states before each row. Raises UnknownStateError where one has none."""
    if not before or not parts.registers:
        return [0] * rows
    found = [table.code.get(q, -1) for q in _joint(before, rows, parts)]
    if -1 in found:
        raise UnknownStateError("a state before the first token is not among those that the program reaches")
    return found


def states_of(numbers: Sequence[int], parts: Parts, options: Options, table: StateTable,
              device: torch.device) -> dict[str, Tensor]:
    """States by port, (rows, *dims), of the joint states of those numbers."""
    place = {r.name: i for i, r in enumerate(parts.registers)}
    out = {}
    for p in parts.lanes.states:
        columns = [place[n] for n in p.parts]
        counts = [[table.states[q][i] for i in columns] for q in numbers]
        out[p.name] = torch.tensor(counts, dtype=state_dtype(p, parts, options)).reshape(len(numbers), *p.dims) \
            .to(device)
    return out


def _joint(states: Mapping[str, Tensor], rows: int, parts: Parts) -> list[tuple[int, ...]]:
    """The joint states of rows, as counts of all registers; a port that is missing has its initial value."""
    init = {r.name: int(r.init) for r in parts.registers}
    columns: dict[str, list[int]] = {}
    for p in parts.lanes.states:
        given = states.get(p.name)
        for i, name in enumerate(p.parts):
            columns[name] = [init[name]] * rows if given is None else \
                given.reshape(rows, -1)[:, i].to(torch.int64).tolist()
    return list(zip(*(columns[n] for n in init), strict=True))


def _without_the_last(chunks: Call) -> Call:
    """All chunks but the last one of the work."""
    kept = slice(1, None) if chunks.reverse else slice(0, -1)
    return replace(chunks, rows=chunks.rows - 1, inputs={n: x[kept] for n, x in chunks.inputs.items()}, outputs={},
                   resets=None if chunks.resets is None else chunks.resets[kept])


def _unsqueezed(row: Call) -> Call:
    """A row's call with the dimension of rows again."""
    return replace(row, inputs={n: x.unsqueeze(0) for n, x in row.inputs.items()},
                   outputs={n: x.unsqueeze(0) for n, x in row.outputs.items()},
                   resets=None if row.resets is None else row.resets.unsqueeze(0))


def _device(call: Call) -> torch.device:
    return next(iter((*call.inputs.values(), *call.outputs.values(), *call.after.values())), torch.empty(0)).device
