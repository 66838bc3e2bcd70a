"""Outputs as sums of the letter, of old states and of new ones: no map is needed where a sum says it.

The sum bit of an adder is a + b + carry − 2 · (new carry). An output that is a table of inputs and old states is a sum
of them and of the new states, which the circuit has as well, if the linear equations of all its cases have a solution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lsrl.backends.gated.threshold_latches import whole_weights
from lsrl.backends.holdings import Fold, spread, union
from lsrl.backends.linear_form import Form
from lsrl.backends.wiring import Choice
from lsrl.ir.nodes import Const, Node
from lsrl.types import Value

__all__ = ["Renewal", "linear_output"]

_ROWS = 256
_FEATURES = 24

Renewal = tuple["Fold | Const", "Fold | Const", Choice]  # of an old bit: whether it is written, what, and the new one


def linear_output(node: Node, fold: Fold, renewals: Mapping[Choice, Renewal]) -> Choice | None:
    """A bool as a sum over the layer of what decides it, one earlier than a map of that; None if there is none.

    renewals: of the old bits that are known by a variable.
    """
    known = [(r, renewals[r]) for r in fold.roots if r in renewals]
    if len(fold.roots) < 2 or not known or set(fold.table) - {False, True}:
        return None
    tables = [f for _, (write, value, _) in known for f in (write, value) if isinstance(f, Fold)]
    roots = union([fold.roots, *(f.roots for f in tables)])
    count = 1
    for r in roots:
        count *= len(r.domain)
    features = [(r, p) for r in roots for p in range(1, len(r.domain))]
    layer = max([r.layer for r in roots] + [now.layer for _, (_, _, now) in known])
    if count > _ROWS or len(features) + len(known) > _FEATURES or layer > max(r.layer for r in fold.roots):
        return None
    columns = [[int(v == r.domain[p]) for v in _values(r, roots)] for r, p in features]
    for r, (write, value, _) in known:
        written, what, old = (_spread(f, roots, count) for f in (write, value, Fold((r,), r.domain)))
        columns.append([int(bool(v if w else o)) for w, v, o in zip(written, what, old, strict=True)])
    rows = [(*row, 1) for row in zip(*columns, strict=True)]
    weights = whole_weights(rows, [int(bool(v)) for v in spread(fold, roots)])
    if weights is None:
        return None
    parts: list[Form] = []
    for (r, p), w in zip(features, weights, strict=False):
        if w:
            parts.append(r.member(frozenset({p}), layer).scale(w))
    for (_, (_, _, now)), w in zip(known, weights[len(features) :], strict=False):
        if w:
            parts.append(now.member(frozenset({i for i, v in enumerate(now.domain) if v}), layer).scale(w))
    total = Form.total(parts, weights[-1])
    first = fold.roots[0]
    return Choice(first.wiring, first.name, (False, True), layer,
                  lambda places: total if places == {1} else Form((), 1) - total)


def _values(r: Choice, roots: Sequence[Choice]) -> list[Value]:
    return spread(Fold((r,), r.domain), roots)


def _spread(f: Fold | Const, roots: Sequence[Choice], count: int) -> list[Value]:
    return [f.value] * count if isinstance(f, Const) else spread(f, roots)
