"""What a verification found, and how it is said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from lsrl.streams.sinks import write_whole
from lsrl.types import Symbols, Type, Value
from lsrl.values import show_value

__all__ = ["Counterexample", "Verdict"]

_ROWS = 24  # tokens of a counterexample that are printed; the middle of a longer one is left out


@dataclass(frozen=True, slots=True)
class Counterexample:
    """Inputs that show a difference at their last token.

    inputs: one row a token. expected, actual: the outputs at each token; None for `actual` where there is only a
    program. reason: what went wrong at the last token. titles: the names of the two sides.
    """

    inputs: tuple[Mapping[str, Value], ...]
    expected: tuple[Mapping[str, Value], ...]
    actual: tuple[Mapping[str, Value], ...] | None
    reason: str
    types: Mapping[str, Type]
    titles: tuple[str, str] = ("program", "model")

    def __len__(self) -> int:
        return len(self.inputs)

    def render(self) -> str:
        """Both traces side by side, up to the first difference."""
        names = list(self.inputs[0]) if self.inputs else []
        outs = list(self.expected[0]) if self.expected else []
        header = ["t", *names]
        for name in outs:
            header.append(f"{self.titles[0]} {name}")
            if self.actual is not None:
                header.append(f"{self.titles[1]} {name}")
        rows = [header]
        for t, row in enumerate(self.inputs):
            cells = [str(t), *(show_value(row[n], self.types[n]) for n in names)]
            for name in outs:
                cells.append(self._shown(self.expected, t, name))
                if self.actual is not None:
                    cells.append(self._shown(self.actual, t, name))
            if self.actual is not None and t < min(len(self.expected), len(self.actual)) \
                    and self.expected[t] != self.actual[t]:
                cells.append("← differs")
            rows.append(cells)
        if len(rows) > _ROWS + 1:
            half = _ROWS // 2
            rows = [*rows[: half + 1], ["…"], *rows[-half:]]
        width = [max(len(r[i]) for r in rows if i < len(r)) for i in range(max(map(len, rows)))]
        table = ["  " + "  ".join(c.ljust(w) for c, w in zip(r, width, strict=False)).rstrip() for r in rows]
        return "\n".join([f"{self.reason}; the shortest input that shows it has {_tokens(len(self.inputs))}:", *table])

    def _shown(self, trace: Sequence[Mapping[str, Value]], t: int, name: str) -> str:
        return show_value(trace[t][name], self.types[name]) if t < len(trace) else "stops"

    def save(self, path: str | Path) -> None:
        """Writes the inputs as JSON lines, which `lsrl run FILE PATH` replays. Atomic."""
        lines = [json.dumps({n: _plain(v, self.types[n]) for n, v in row.items()}, ensure_ascii=False)
                 for row in self.inputs]
        write_whole(path, "".join(line + "\n" for line in lines).encode())


def _plain(value: Value, t: Type) -> object:
    if isinstance(value, tuple):
        elem = getattr(t, "elem", t)
        return [_plain(v, elem) for v in value]
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else str(value)
    return t.name(int(value)) if isinstance(t, Symbols) else value


def _tokens(n: int) -> str:
    return f"{n} token" if n == 1 else f"{n} tokens"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One of PROVED, EXHAUSTED, TESTED, APPROXIMATE and REFUTED, with what it covers.

    claim: what the verdict is about, "`p` and its lstm model are equal".
    length: for EXHAUSTED, all inputs up to this many tokens were covered. tests: for TESTED, the number of inputs.
    joint_states, transitions: how much was searched. covers: dtype, device, versions, batch, hash of the module.
    For APPROXIMATE: length: the tokens for which the bound of the error holds, None for any number; epsilon: the error
    that was allowed; bound: of the certificate; seen: the largest error on the tests' inputs.
    stopped: why a search ended before it closed. accuracy: share of random tokens answered right, where measured.
    """

    kind: str
    claim: str
    length: int | None = None
    tests: int = 0
    joint_states: int = 0
    transitions: int = 0
    counterexample: Counterexample | None = None
    covers: Mapping[str, str] = field(default_factory=dict)
    stopped: str = ""
    accuracy: float | None = None
    seconds: float = 0.0
    epsilon: float = 0.0
    bound: float = 0.0
    seen: float = 0.0

    @property
    def ok(self) -> bool:
        """False for REFUTED alone."""
        return self.kind != "REFUTED"

    @property
    def first_wrong(self) -> int | None:
        """The length of the counterexample: for a search, the least length at which an answer is wrong."""
        return None if self.counterexample is None else len(self.counterexample)

    @property
    def headline(self) -> str:
        """The verdict in one phrase: `PROVED`, `EXHAUSTED to length 64`, `TESTED 4096`, `REFUTED`, or `APPROXIMATE to
        0.01 up to horizon 246`."""
        match self.kind:
            case "EXHAUSTED":
                return f"EXHAUSTED to length {self.length}"
            case "TESTED":
                return f"TESTED {self.tests}"
            case "APPROXIMATE":
                up_to = "" if self.length is None else f" up to horizon {self.length}"
                return f"APPROXIMATE to {self.epsilon:g}{up_to}"
            case _:
                return self.kind

    def render(self) -> str:
        """The whole report, as `lsrl verify` prints it."""
        extent = {
            "PROVED": " on every input of every length",
            "EXHAUSTED": f" on every input of up to {self.length} tokens",
            "TESTED": f" on {self.tests} inputs, random and at the edges",
            "APPROXIMATE": f" but for an error of at most {self.bound:.3g} by the certificate; {self.seen:.2g} was seen"
                           f" on {self.tests} inputs, random and adversarial",
            "REFUTED": "",
        }[self.kind]
        out = [f"{self.headline}: {'' if self.ok else 'it is not true that '}{self.claim}{extent}"]
        if self.counterexample is not None:
            out.append(self.counterexample.render())
        if self.joint_states:
            out.append(f"searched {self.joint_states:,} joint states by {self.transitions:,} transitions "
                       f"in {self.seconds:.1f} s")
        if self.stopped:
            out.append(f"stopped: {self.stopped}")
        if self.accuracy is not None:
            out.append(f"accuracy on random inputs: {self.accuracy:.2%}")
        if self.covers:
            out.append("covers: " + ", ".join(f"{k} {v}" for k, v in self.covers.items()))
        return "\n".join(out)
