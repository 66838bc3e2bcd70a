"""What the text of a generated kernel is made of in any language: names, comments, and which values get a statement."""

from __future__ import annotations

import keyword
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from lsrl.backends.kernels.code import Value, schedule

__all__ = ["Names", "commented", "identifier", "invariant", "leaves", "stated"]

_INLINE = 3  # operations of an expression that stands inside another one
_LEAVES = ("input", "param", "state", "reset", "new", "prev")


def identifier(name: str) -> str:
    """A program's name as an identifier: `stack[2]` becomes `stack_2`."""
    plain = re.sub(r"_+", "_", re.sub(r"[^0-9A-Za-z]+", "_", name)).strip("_") or "value"
    return plain if plain[0].isalpha() else f"v_{plain}"


class Names:
    """Identifiers, each given out once. taken: words that may not be used."""

    def __init__(self, taken: Collection[str] = ()) -> None:
        self._taken = {*taken, *keyword.kwlist}

    def copy(self) -> Names:
        """Another, in which the same words are taken."""
        return Names(self._taken)

    def fresh(self, wish: str) -> str:
        """An identifier like the one wished for."""
        plain = identifier(wish)
        name, i = plain, 1
        while name in self._taken:
            i += 1
            name = f"{plain}_{i}"
        self._taken.add(name)
        return name


def commented(text: str, mark: str, width: int = 110) -> list[str]:
    """A text as comment lines, each beginning with `mark`."""
    lines = []
    for line in text.splitlines():
        line = line.replace("*/", "* /")
        lines += textwrap.wrap(line, width - len(mark) - 1, subsequent_indent="  ") or [""]
    return [f"{mark} {line}".rstrip() for line in lines]


def stated(roots: Sequence[Value], names: Mapping[Value, str] | None = None,
           alone: Callable[[Value], bool] = lambda value: False) -> list[Value]:
    """The values that get a statement of their own, arguments first; all others stand inside expressions.

    Those are leaves, values with a name, those used more than once, those for which `alone` says so, look-ups, and
    expressions that would grow long. Constants have no statement.
    """
    order = schedule(roots)
    uses = Counter(a for v in order for a in v.args)
    uses.update(roots)
    weight: dict[Value, int] = {}
    out = []
    for v in order:
        inside = 1 + sum(weight[a] for a in v.args)
        if v.op == "const":
            weight[v] = 0
        elif v.op in _LEAVES or v.op == "lookup" or uses[v] > 1 or inside > _INLINE or alone(v) \
                or (names is not None and v in names):
            weight[v] = 0
            out.append(v)
        else:
            weight[v] = inside
    return out


def invariant(roots: Sequence[Value], cheap: Collection[str] = ("neg", "cast")) -> tuple[Value, ...]:
    """The values that no token changes, as they depend on params alone, and that others use: worked out once.

    cheap: operations that are not worth it.
    """
    order = schedule(roots)
    fixed: set[Value] = set()
    for v in order:
        if v.op in ("param", "const") or (v.args and v.op not in ("new", "prev") and all(a in fixed for a in v.args)):
            fixed.add(v)
    used = dict.fromkeys([a for v in order if v not in fixed for a in v.args] + [r for r in roots if r in fixed])
    return tuple(v for v in used if v in fixed and v.op not in ("param", "const") and v.op not in cheap)


def leaves(roots: Iterable[Value], op: str) -> list[Value]:
    """The leaves of one kind that roots need, in a fixed order."""
    return sorted((v for v in schedule(roots) if v.op == op), key=lambda v: v.attribute)
