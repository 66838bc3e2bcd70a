"""Why a target does not host a program: a diagnostic that names the cell, the place, the class and the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lsrl.analysis.cells import find_cells
from lsrl.diagnostics import Diagnostic, LsrlError
from lsrl.ir.graph import Graph
from lsrl.ir.nodes import Divide, Input, Node, Param, Read, Unary, operands
from lsrl.types import is_number

__all__ = ["NotHostedError", "RefusalError", "refuse", "refuse_numeric"]


class NotHostedError(Exception):
    """The technology cannot compute a node; `reason` says why, as the end of a sentence."""

    def __init__(self, node: Node, reason: str) -> None:
        super().__init__(reason)
        self.node, self.reason = node, reason


class RefusalError(LsrlError):
    """One or more L4xx diagnostics; `reason` is why, as half a sentence (of several, the first that was met)."""

    def __init__(self, diagnostics: Diagnostic | Sequence[Diagnostic], reason: str,
                 again: Callable[[str], RefusalError] | None = None) -> None:
        """again: makes the same for another target."""
        super().__init__(diagnostics)
        self.reason, self._again = reason, again

    def for_target(self, target: str) -> RefusalError:
        """The same for another target that refuses the program for the same reason."""
        return self if self._again is None else self._again(target)

    def hosted_by(self, targets: Callable[[], Sequence[str]]) -> RefusalError:
        """The same with the targets that would take the program in its last help line.

        targets: finds them out, which takes as long as to compile the program for each; called when the line is read.
        """
        def help() -> str:
            *most, end = [f"`{t}`" for t in targets()] or ["no target"]
            return f"{', '.join(most)} and {end} can host it" if most else f"{end} can host it"

        *others, last = self.diagnostics
        return RefusalError([*others, replace(last, help=help)], self.reason)

    def __reduce__(self) -> Any:
        return RefusalError, (self.diagnostics, self.reason)


def refuse(graph: Graph, target: str, code: str, node: Node, reason: str, cell: str = "") -> RefusalError:
    """The refusal of a program because of one node.

    cell: the class of the cell that the node belongs to, found out if not given. code: L402 the cell's class, L403 an
    unbounded number as output, L404 a real without a grid, L405 floating reference values, L406 too large.
    """
    states = _states_of(node)
    cell = cell or _kind(graph, states)

    def again(other: str) -> RefusalError:
        return refuse(graph, other, code, node, reason, cell)

    what = f"`{', '.join(states[:4])}`" if states else f"`{graph.name}`"
    kind = f" ({cell})" if cell else ""
    message = f"`{target}` cannot host {what}{kind}: {reason}"
    if node.span.source.name != graph.span.source.name:  # in a library: say so beside the program
        return RefusalError(Diagnostic(code, message, graph.span, notes=(("it comes from here", node.span),)), reason,
                            again)
    return RefusalError(Diagnostic(code, message, node.span), reason, again)


def refuse_numeric(graph: Graph, target: str) -> RefusalError | None:
    """The refusal of a program with floating reference values, None if it has none."""
    for node in graph.nodes:
        match node:
            case Unary(function=name):
                reason = f"`{name}` has floating reference values, which exact weights cannot equal"
            case Divide():
                reason = "a division by a stream has floating reference values, which exact weights cannot equal"
            case Param(name=name):
                reason = f"`{name}` is a learnable constant; a learnable cell becomes a kernel, not constructed weights"
            case _:
                continue
        return refuse(graph, target, "L405", node, reason)
    return None


def _kind(graph: Graph, states: Sequence[str]) -> str:
    """The class of the cell of the first of the states, as `lsrl explain` names it."""
    found = [c.kind for c in find_cells(graph) if states[:1] and states[0] in c.states]
    return found[0] if found else ""


def _states_of(node: Node) -> list[str]:
    """The states whose values a node reads at this token, numbers first, then the nearest; without recursion."""
    seen: set[Node] = {node}
    queue = [node]
    names: dict[str, bool] = {}
    for n in queue:
        if isinstance(n, Read):
            names[n.state] = is_number(n.type)
        for x in operands(n):
            if x not in seen and not isinstance(x, Input):
                seen.add(x)
                queue.append(x)
    return sorted(names, key=lambda name: not names[name])
