"""What the compiler proved about one lowering: number grid, ranges, margins, horizon, widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from typing import Any

__all__ = ["PRECISION", "CellRow", "Certificate", "RangeRow"]

PRECISION: dict[str, int] = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}  # bits of an exact integer


@dataclass(frozen=True, slots=True)
class RangeRow:
    """A number that the model holds: its range and grid as text ("-inf", "inf" where there is no bound).

    growth: by how much its size can grow a token, if it has no bound and that is known.
    """

    name: str
    lo: str
    hi: str
    grid: str
    growth: str = ""


@dataclass(frozen=True, slots=True)
class CellRow:
    """A cell as built: `width` units in layer `layer` (from 1), beside the baseline n·k (states · letters), if any."""

    states: tuple[str, ...]
    kind: str
    layer: int
    width: int
    baseline: int | None
    place: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Facts about one compiled model; all of it can be printed, stored and read back.

    horizon: the number of tokens up to which every value and every partial sum is exact; None: any number.
    partial_sum: the largest bound Σ|weight|·max|signal| + |bias| of a sum whose signals are all bounded.
    margin: the least distance of a pre-activation from its threshold, in units of one signal level.
    tolerance: the largest error of the read-out before rounding; below one half it cannot be wrong.
    least_dtype: the least in which the same circuit is exact for as many tokens ("" if that was not found out).
    input_limit: numbers that the program does not bound are taken to be at most this, in units of their grid.
    epsilon: the error that was allowed ("" of an exact model); then `errors` are the bounds that were found, by output,
    for horizon tokens and inputs of that size; 0 of an exact output.
    """

    program: str
    target: str
    dtype: str
    horizon: int | None
    margin: float
    tolerance: float
    precision_bits: int
    partial_sum: str
    ranges: tuple[RangeRow, ...]
    cells: tuple[CellRow, ...]
    widths: tuple[int, ...]
    baseline: int | None
    parameters: int
    nonzero: int
    uniform: bool = False
    least_dtype: str = ""
    saturation: str = ""
    input_limit: int | None = None
    epsilon: str = ""
    errors: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def layers(self) -> int:
        return len(self.widths)

    @property
    def error(self) -> float:
        """The largest of the bounds of the outputs' errors; 0 of an exact model."""
        return max((bound for _, bound in self.errors), default=0.0)

    @property
    def width(self) -> int:
        """Units in all layers together."""
        return sum(self.widths)

    def to_json(self) -> dict[str, Any]:
        """The certificate as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Certificate:
        """The certificate that `to_json` wrote. Raises TypeError or KeyError for anything else."""
        if not isinstance(data, dict):
            raise TypeError("a certificate is an object")
        known = {f.name for f in fields(cls)}
        values = {k: v for k, v in data.items() if k in known}
        values["ranges"] = tuple(RangeRow(**r) for r in values["ranges"])
        values["cells"] = tuple(CellRow(**{**c, "states": tuple(c["states"])}) for c in values["cells"])
        values["widths"] = tuple(map(int, values["widths"]))
        values["errors"] = tuple((str(name), float(bound)) for name, bound in values.get("errors", ()))
        values["notes"] = tuple(map(str, values["notes"]))
        return cls(**values)

    def table(self) -> str:
        """The certificate as text, one fact a line, tables for ranges and cells."""
        horizon = "every length" if self.horizon is None else f"{self.horizon:,} tokens"
        facts = [
            ("program", self.program), ("target", f"{self.target}, {self.dtype}"),
            *(self._exactness(horizon) if not self.epsilon else self._nearness(horizon)),
            ("layers", " → ".join(map(str, self.widths)) + (" (padded to one width)" if self.uniform else "")),
            ("width", f"{self.width}" + ("" if self.baseline is None else f" (baseline n·k: {self.baseline})")),
            ("parameters", f"{self.parameters:,}, of which {self.nonzero:,} are not zero"),
        ]
        if self.least_dtype:
            facts.append(("least dtype", self.least_dtype))
        if self.saturation:
            facts.append(("saturation", self.saturation))
        if self.input_limit is not None:
            facts.append(("unbounded inputs", f"taken to be at most {self.input_limit:,} in size"))
        if self.versions:
            facts.append(("versions", ", ".join(f"{k} {v}" for k, v in sorted(self.versions.items()))))
        wide = max(len(k) for k, _ in facts)
        lines = [f"{k:<{wide}}  {v}" for k, v in facts]
        if self.ranges:
            columns = 5 if any(r.growth for r in self.ranges) else 4
            rows = [(r.name, r.lo, r.hi, r.grid, r.growth)[:columns] for r in self.ranges]
            lines += ["", *_table(("number", "from", "to", "grid", "growth a token")[:columns], rows)]
        if self.cells:
            lines += ["", *_table(("cell", "class", "layer", "width", "baseline", "note"), [
                (" ".join(c.states), c.kind, str(c.layer), str(c.width),
                 "" if c.baseline is None else str(c.baseline), c.note) for c in self.cells])]
        if self.notes:
            lines += ["", *(f"- {n}" for n in self.notes)]
        return "\n".join(line.rstrip() for line in lines)

    def _exactness(self, horizon: str) -> list[tuple[str, str]]:
        return [("exact for", horizon), ("margin", f"{self.margin:g}"),
                ("read-out error", f"at most {self.tolerance:.3g}"),
                ("largest bounded sum", f"{self.partial_sum} (exact up to 2^{self.precision_bits})")]

    def _nearness(self, horizon: str) -> list[tuple[str, str]]:
        allowed = f"{float(Fraction(self.epsilon)):g}"
        shown = ", ".join(f"{name} {bound:.3g}" if bound else f"{name} exact" for name, bound in self.errors)
        return [("approximate to", f"{allowed}, for {horizon}"), ("bounds of the errors", shown)]

    def __str__(self) -> str:
        return self.table()


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    wide = [max(len(x) for x in column) for column in zip(head, *rows, strict=True)]
    lines = ["  ".join(f"{x:<{w}}" for x, w in zip(row, wide, strict=True)) for row in (head, *rows)]
    lines.insert(1, "  ".join("─" * w for w in wide))
    return lines
