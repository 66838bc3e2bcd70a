"""The LALR(1) tables of the grammar, and the machine that runs them.

lark reads lsrl/grammar/lsrl.lark and makes the tables, which takes some tenths of a second. They are kept beside
the grammar in `lsrl.tables.json`, with a hash of it: a table of another grammar is never used. Make the file anew with

    python -m lsrl.frontend.tables
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

from lsrl.frontend.layout import Token

__all__ = ["END", "Grammar", "Machine", "Rule", "Run", "Terminal", "UnexpectedTokenError", "build_grammar",
           "expected_after", "load_grammar"]

END = "$END"
_GRAMMAR = Path(__file__).parent.parent / "grammar" / "lsrl.lark"
_TABLES = _GRAMMAR.with_name("lsrl.tables.json")


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal that has a literal text or else a regular expression."""

    name: str
    literal: str | None
    pattern: str | None
    priority: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A way to make `origin` of `size` symbols.

    method: the builder's, "" for a rule that hands its only child up, "*" for one that hands up the list
    of its children.
    children: what the method gets, in order: the index of a symbol, its bitwise complement for a symbol whose list is
    spliced in, None for an optional part that is absent.
    """

    origin: str
    size: int
    method: str
    children: tuple[int | None, ...]


@dataclass(frozen=True)
class Grammar:
    """Tables, by number of state.

    actions: by type of token, the next state, or the bitwise complement of the number of the rule to reduce by.
    gotos: by origin of a rule, the next state.
    """

    source: str  # a hash of the grammar's text
    terminals: tuple[Terminal, ...]
    rules: tuple[Rule, ...]
    actions: tuple[dict[str, int], ...]
    gotos: tuple[dict[str, int], ...]
    start: int
    end: int


def load_grammar() -> Grammar:
    """The tables beside the grammar if they are its own, else tables made anew."""
    try:
        raw = json.loads(_TABLES.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return build_grammar()
    if not isinstance(raw, dict) or raw.get("source") != _hash():
        return build_grammar()
    return Grammar(
        raw["source"],
        tuple(Terminal(**t) for t in raw["terminals"]),
        tuple(Rule(r["origin"], r["size"], r["method"], tuple(r["children"])) for r in raw["rules"]),
        tuple(raw["actions"]),
        tuple(raw["gotos"]),
        raw["start"],
        raw["end"],
    )


def build_grammar() -> Grammar:
    """The tables that lark makes of the grammar."""
    from lark import Lark
    from lark.lexer import PatternStr
    from lark.parsers.lalr_analysis import Shift

    lark = Lark(_GRAMMAR.read_text(encoding="utf-8"), parser="lalr", lexer="basic", start="item")
    table = lark.parser.parser._parse_table
    rules = sorted(lark.rules, key=lambda r: (r.origin.name, [symbol.name for symbol in r.expansion]))
    numbers = {rule: i for i, rule in enumerate(rules)}
    # lark numbers states in an order that changes from run to run: number them as they are met from the start.
    order = [table.start_states["item"]]
    known = {order[0]: 0}
    actions: list[dict[str, int]] = []
    gotos: list[dict[str, int]] = []
    for state in order:
        actions.append({})
        gotos.append({})
        for symbol, (action, target) in sorted(table.states[state].items(), key=lambda item: str(item[0])):
            if action is not Shift:
                actions[-1][str(symbol)] = ~numbers[target]
                continue
            if target not in known:
                known[target] = len(order)
                order.append(target)
            (actions if symbol.isupper() else gotos)[-1][str(symbol)] = known[target]
    terminals = sorted(
        (Terminal(t.name, t.pattern.value, None, t.priority) if isinstance(t.pattern, PatternStr)
         else Terminal(t.name, None, t.pattern.to_regexp(), t.priority) for t in lark.terminals),
        key=lambda t: t.name,
    )
    return Grammar(_hash(), tuple(terminals), tuple(_rule(r) for r in rules), tuple(actions), tuple(gotos),
                   0, known[table.end_states["item"]])


def _rule(rule: Any) -> Rule:
    """One of lark's rules, with what its modifiers `!`, `?` and `[ ]` say about its children worked out."""
    origin = str(rule.origin.name)
    absent = list(rule.options.empty_indices)
    children: list[int | None] = []
    index = 0
    for missing in absent or [False] * len(rule.expansion):
        if missing:
            children.append(None)
            continue
        symbol = rule.expansion[index]
        if not symbol.is_term and symbol.name.startswith("_"):
            children.append(~index)
        elif rule.options.keep_all_tokens or not (symbol.is_term and symbol.filter_out):
            children.append(index)
        index += 1
    method = str(rule.alias or origin)
    if origin.startswith("_"):
        method = "*"
    elif rule.options.expand1 and not rule.alias and len(children) == 1:
        method = ""
    return Rule(origin, len(rule.expansion), method, tuple(children))


@cache
def _hash() -> str:
    return sha256(_GRAMMAR.read_bytes()).hexdigest()


class UnexpectedTokenError(Exception):
    """A token that cannot stand where it stands."""

    def __init__(self, token: Token) -> None:
        super().__init__(token)
        self.token = token


Build = Callable[[list[Any]], Any]
# What to do at a token: go to a state, or reduce: how many symbols, how to build (None: hand the child up), gotos.
Action: TypeAlias = int | tuple[int, Build | None, dict[int, int]]


class Machine:
    """Tables joined with a builder: made once, run by `Run`."""

    def __init__(self, grammar: Grammar, builder: object) -> None:
        gotos: dict[str, dict[int, int]] = {rule.origin: {} for rule in grammar.rules}
        for state, row in enumerate(grammar.gotos):
            for origin, target in row.items():
                gotos[origin][state] = target
        reductions = [(rule.size, _build(rule, builder), gotos[rule.origin]) for rule in grammar.rules]
        self.grammar = grammar
        self.actions: list[dict[str, Action]] = [
            {kind: arg if arg >= 0 else reductions[~arg] for kind, arg in row.items()} for row in grammar.actions
        ]


def _build(rule: Rule, builder: object) -> Build | None:
    """The function that makes a node of the values of a rule's symbols."""
    if not rule.method:
        return None
    method: Build = list if rule.method == "*" else getattr(builder, rule.method)
    plan = rule.children
    if plan == tuple(range(rule.size)):
        return method
    if rule.method == "*" and plan[0] == -1 and None not in plan:
        return _appending(plan)

    def build(values: list[Any]) -> Any:
        children: list[Any] = []
        for i in plan:
            if i is None:
                children.append(None)
            elif i < 0:
                children += values[~i]
            else:
                children.append(values[i])
        return method(children)

    return build


def _appending(plan: tuple[int | None, ...]) -> Build:
    """The function for `list: list item`: it lengthens the list in place, so that long lists cost linear time."""
    def build(values: list[Any]) -> Any:
        children: list[Any] = values[0]
        for i in plan[1:]:
            assert i is not None
            if i < 0:
                children += values[~i]
            else:
                children.append(values[i])
        return children

    return build


class Run:
    """One run of a machine over the tokens of one item."""

    __slots__ = ("machine", "states", "values")

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.states: list[int] = [machine.grammar.start]
        self.values: list[Any] = []

    def feed(self, token: Token) -> None:
        """Take one token. Raises UnexpectedTokenError, with the reductions before it done."""
        states, values, actions, kind = self.states, self.values, self.machine.actions, token.type
        while True:
            action = actions[states[-1]].get(kind)
            if isinstance(action, int):
                states.append(action)
                values.append(token)
                return
            if action is None:
                if kind == END and states[-1] == self.machine.grammar.end:
                    return
                raise UnexpectedTokenError(token)
            size, build, goto = action
            if build is None:
                states[-1] = goto[states[-2]]
                continue
            if size:
                children = values[-size:]
                del values[-size:], states[-size:]
            else:
                children = []
            states.append(goto[states[-1]])
            values.append(build(children))

    def result(self) -> Any:
        """The value of the start rule, after END was fed."""
        (value,) = self.values
        return value

    def save(self) -> tuple[list[int], list[Any]]:
        return self.states.copy(), self.values.copy()

    def restore(self, saved: tuple[list[int], list[Any]]) -> None:
        self.states, self.values = saved[0].copy(), saved[1].copy()


def expected_after(grammar: Grammar, states: Sequence[int], kinds: Iterable[str]) -> frozenset[str]:
    """The types of token that may stand after tokens of these types, which fit, in a run with these states."""
    states = list(states)
    for kind in kinds:
        _step(grammar, states, kind)
    return frozenset(kind for kind in grammar.actions[states[-1]] if _step(grammar, states.copy(), kind))


def _step(grammar: Grammar, states: list[int], kind: str) -> bool:
    """Take a token of a type; whether it fits."""
    while True:
        action = grammar.actions[states[-1]].get(kind)
        if action is None:
            return kind == END and states[-1] == grammar.end
        if action >= 0:
            states.append(action)
            return True
        rule = grammar.rules[~action]
        del states[len(states) - rule.size :]
        states.append(grammar.gotos[states[-1]][rule.origin])


def _write() -> None:
    grammar = build_grammar()
    text = json.dumps(asdict(grammar), separators=(",", ":")).replace("},{", "},\n{")
    _TABLES.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write()
