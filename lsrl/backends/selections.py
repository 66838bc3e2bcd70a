"""Trees of conditionals that pick one of several values by an index: what `split_vectors` makes of `vector[index]`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lsrl.arithmetic import apply
from lsrl.ir.nodes import Compare, Const, Mux, Node, operands
from lsrl.types import Value

__all__ = ["Selection", "index_of", "looks_at", "selection", "truth_of"]


@dataclass(frozen=True)
class Selection:
    """cases: nodes, each with the values of the index for which it is picked; together all values of its domain.

    inner: the conditionals of the tree.
    """

    index: Node
    cases: tuple[tuple[Node, tuple[Value, ...]], ...]
    inner: tuple[Node, ...]


def looks_at(condition: Node) -> Node | None:
    """What a comparison compares with a constant; None if it is no such comparison."""
    if not isinstance(condition, Compare):
        return None
    moving = [x for x in operands(condition) if not isinstance(x, Const)]
    return moving[0] if len(moving) == 1 else None


def truth_of(condition: Node, value: Value) -> bool:
    """Whether a comparison with a constant holds of a value."""
    return bool(apply(condition, [x.value if isinstance(x, Const) else value for x in operands(condition)]))


def index_of(node: Node) -> Node | None:
    """What a conditional compares with a constant to choose between its branches; None if it is no such conditional."""
    return looks_at(node.condition) if isinstance(node, Mux) else None


def selection(node: Node, domain: Sequence[Value], is_whole: Callable[[Node], bool]) -> Selection | None:
    """A tree of conditionals on one index, None if `node` is none.

    domain: the values of `index_of(node)`. is_whole: for a node inside that it is to be taken as it stands.
    """
    index = index_of(node)
    if index is None:
        return None
    cases: dict[Node, list[Value]] = {}
    inner: dict[Node, None] = {}
    for value in domain:
        at = node
        while isinstance(at, Mux) and index_of(at) is index and (at is node or not is_whole(at)):
            inner[at] = None
            at = at.then if truth_of(at.condition, value) else at.other
        cases.setdefault(at, []).append(value)
    return Selection(index, tuple((x, tuple(values)) for x, values in cases.items()), tuple(inner))
