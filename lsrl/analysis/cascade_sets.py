"""Levels of a cascade, found by following sets of states: the holonomy method.

A node stands for what the components found so far say of the state: that it is in a set S. A step takes strongly
connected classes of nodes whose sets are bijective images of each other, covers those sets by tiles (proper subsets)
and lets a new component say in which tile the state is. Where a letter maps the set of a node onto that of the next
one, tiles go to tiles: a permutation. Where it does not, the image lies in one tile: a constant. (Eilenberg, "Automata,
Languages, and Machines" B, 1976, II; Egri-Nagy and Nehaniv, "Computational Holonomy Decomposition", arXiv:1508.06345.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lsrl.analysis.cascade_partitions import Rows, components
from lsrl.analysis.cascade_tiles import Code, Permutation, Tiles, TooLargeError, elements, find_codes, find_tiles

__all__ = ["Action", "Component", "GroupFound", "Sets"]

Action: TypeAlias = "tuple[int, ...]"  # the new value for each old one
_Word: TypeAlias = "tuple[int, ...]"


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """One component of a cascade: `size` values, `start` before the first token.

    A node is what the components above say, all that matters of it here. action[node][x]: what letter x does to the
    values, None where that does not matter. child[node][value]: the node of the component below, −1 where that value
    cannot be.
    """

    size: int
    start: int
    action: tuple[tuple[Action | None, ...], ...]
    child: tuple[tuple[int, ...], ...]


class GroupFound(Exception):  # noqa: N818  (a finding, not an error)
    """Words permute a set of states in a way that is not allowed.

    points: the elements of the set; words: each with the permutation of the points that it is.
    """

    def __init__(self, points: tuple[int, ...], words: tuple[tuple[_Word, tuple[int, ...]], ...]) -> None:
        super().__init__()
        self.points = points
        self.words = words


@dataclass(frozen=True, slots=True, eq=False)
class _Class:
    """Nodes whose sets are bijective images of the first one's. move[N]: from that set to the set of N."""

    nodes: tuple[int, ...]
    move: dict[int, dict[int, int]]
    generators: tuple[Permutation, ...]
    words: tuple[_Word, ...]


@dataclass(slots=True, eq=False)
class _Refined:
    """A class that the step covers by tiles."""

    group: _Class
    tiles: Tiles
    codes: dict[int, Code]
    of: dict[Code, int]


class Sets:
    """The nodes after the components found so far, and what each letter does to them.

    sets[N]: the states (of the automaton that is decomposed now) that can be current at node N, as bits.
    """

    def __init__(self, clock: int, letters: int, most_nodes: int, most_components: int) -> None:
        self.k = letters
        self._most_nodes = most_nodes
        self._most_components = most_components
        self.components: list[Component] = []
        self.after: list[list[int]] = [[(r + 1) % clock] * letters for r in range(clock)]
        self.start = 0
        self.begin = 0  # the state before the first token
        self.first = list(range(clock))  # the node of each residue of the clock
        self.sets: list[int] = []
        self.table: Rows = ()

    def follow(self, table: Rows, start: int) -> None:
        """Goes on with another automaton, of which the one before is a quotient."""
        self.table = table
        self.begin = start
        self._track()
        self._merge()

    def _image(self, s: int, x: int) -> int:
        out = 0
        for q in elements(s):
            to = self.table[q][x]
            if to >= 0:
                out |= 1 << to
        return out

    def _track(self) -> None:
        """Works out which states can be current at each node; no node follows where no state can go on."""
        self.sets = [0] * len(self.after)
        self.sets[self.start] = 1 << self.begin
        work = [(self.start, 1 << self.begin)]
        while work:
            node, new = work.pop()
            for x, to in enumerate(self.after[node]):
                if to < 0:
                    continue
                fresh = self._image(new, x) & ~self.sets[to]
                if fresh:
                    self.sets[to] |= fresh
                    work.append((to, fresh))
        self.after = [[to if to >= 0 and self._image(self.sets[n], x) else -1 for x, to in enumerate(row)]
                      for n, row in enumerate(self.after)]

    def _merge(self) -> None:
        """Makes nodes with equal sets one where every word leads them to equal sets; drops those without states."""
        number: dict[object, int] = {}
        kind = [number.setdefault(s, len(number)) for s in self.sets]
        while True:
            number = {}
            finer = [number.setdefault((kind[n], *(-1 if to < 0 else kind[to] for to in row)), len(number))
                     for n, row in enumerate(self.after)]
            if max(finer) == max(kind):
                break
            kind = finer
        rename: dict[int, int] = {}
        for n, s in enumerate(self.sets):
            if s:
                rename.setdefault(kind[n], len(rename))
        new = [rename.get(c, -1) if s else -1 for c, s in zip(kind, self.sets, strict=True)]
        first = [new.index(i) for i in range(len(rename))]
        self.after = [[-1 if to < 0 else new[to] for to in self.after[n]] for n in first]
        self.sets = [self.sets[n] for n in first]
        self.start = new[self.start]
        self._redirect(len(self.components) - 1, new)

    def _redirect(self, at: int, new: Sequence[int]) -> None:
        """Renames the nodes below component `at` (−1: those of the clock)."""
        if at < 0:
            self.first = [new[n] for n in self.first]
        else:
            c = self.components[at]
            child = tuple(tuple(-1 if to < 0 else new[to] for to in row) for row in c.child)
            self.components[at] = Component(c.size, c.start, c.action, child)

    def refine(self, groups: str) -> bool:
        """One step; False if every set is a single state.

        groups: "delay" (as "none", for automata whose components never need to keep), "none", "two" or "any".
        Raises GroupFound, TooLargeError.
        """
        if all(s.bit_count() == 1 for s in self.sets):
            return False
        chosen = self._choose(groups)
        width = max(len(code) for r in chosen.values() for code in r.codes.values())
        if len(self.components) + width > self._most_components:
            raise TooLargeError(f"a cascade of more than {self._most_components} components")
        actions = {(n, x): self._action(chosen, n, x, to) for n, row in enumerate(self.after)
                   for x, to in enumerate(row) if to >= 0}
        self._descend(chosen, actions, width)
        return True

    def _choose(self, groups: str) -> dict[int, _Refined]:
        """The nodes to refine, each with its class: those into which no letter maps a set onto theirs from outside,
        and others for which the same component can serve."""
        wide = [n for n, s in enumerate(self.sets) if s.bit_count() > 1]
        incoming: dict[int, list[tuple[int, int, int]]] = {n: [] for n in range(len(self.sets))}
        for n, row in enumerate(self.after):
            for x, to in enumerate(row):
                if to >= 0 and self.sets[to].bit_count() > 1:
                    incoming[to].append((n, x, self._image(self.sets[n], x)))
        onto: dict[int, list[tuple[int, int]]] = {n: [] for n in range(len(self.sets))}
        for to, edges in incoming.items():
            for n, x, image in edges:
                if image == self.sets[to] and image.bit_count() == self.sets[n].bit_count():
                    onto[n].append((x, to))
        classes = components(len(self.sets), lambda n: [to for _, to in onto[n]])[::-1]
        classes = [c for c in classes if c[0] in set(wide)]
        classes.sort(key=lambda c: -self.sets[c[0]].bit_count())
        chosen: dict[int, _Refined] = {}
        for nodes in classes:
            own = set(nodes)
            full = [(n, x, to) for to in nodes for n, x, image in incoming[to] if n not in own
                    and image == self.sets[to]]
            group = self._class(nodes, onto)
            if group.generators and groups in ("none", "delay"):
                raise self._found(group)
            labelled = self._labelled(group, full, chosen) if full and groups != "delay" else None
            if full and labelled is None:
                continue
            images = [1 << e for e in elements(self.sets[nodes[0]])]
            for to in nodes:
                back = {v: e for e, v in group.move[to].items()}
                for _, _, image in incoming[to]:
                    if image != self.sets[to]:
                        images.append(_apply(back, image))
            tiles = find_tiles(self.sets[nodes[0]], images, group.generators, labelled)
            if tiles is None:
                continue
            codes = find_codes(list(tiles), group.generators, groups != "any")
            if codes is None:
                raise self._found(group)
            refined = _Refined(group, tiles, codes, {code: e for e, code in codes.items()})
            chosen.update(dict.fromkeys(nodes, refined))
        return chosen

    def _labelled(self, group: _Class, full: Sequence[tuple[int, int, int]],
                  chosen: dict[int, _Refined]) -> tuple[list[int], list[int]] | None:
        """Where the letters that map a whole set onto one of the class send the two tiles of the node they come from;
        None if that is no node with two tiles, or the class has a group."""
        if group.generators:
            return None
        parts: tuple[list[int], list[int]] = ([], [])
        for n, x, to in full:
            r = chosen.get(n)
            if r is None or set(r.of) != {(0,), (1,)} or r.group.generators:
                return None
            back = {v: e for e, v in group.move[to].items()}
            for value in (0, 1):
                tile = _apply(r.group.move[n], r.tiles[r.of[(value,)]])
                parts[value].append(_apply(back, self._image(tile, x)))
        return parts

    def _class(self, nodes: Sequence[int], onto: dict[int, list[tuple[int, int]]]) -> _Class:
        own = set(nodes)
        root = nodes[0]
        move = {root: {e: e for e in elements(self.sets[root])}}
        word: dict[int, _Word] = {root: ()}
        order = [root]
        for n in order:
            for x, to in onto[n]:
                if to in own and to not in move:
                    move[to] = {e: self.table[v][x] for e, v in move[n].items()}
                    word[to] = (*word[n], x)
                    order.append(to)
        generators: dict[tuple[int, ...], tuple[Permutation, int, int, int]] = {}
        for n in order:
            for x, to in onto[n]:
                if to in own:
                    back = {v: e for e, v in move[to].items()}
                    g = {e: back[self.table[v][x]] for e, v in move[n].items()}
                    if any(e != v for e, v in g.items()):
                        generators.setdefault(tuple(g.values()), (g, n, x, to))
        words: list[_Word] = []
        if generators:
            home = self._ways_home(nodes, onto)
            words = [(*word[n], x, *home[to]) for _, n, x, to in generators.values()]
            words += [(*word[n], *home[n]) for n in order if n != root]
        return _Class(tuple(nodes), move, tuple(g for g, _, _, _ in generators.values()), tuple(words))

    def _ways_home(self, nodes: Sequence[int], onto: dict[int, list[tuple[int, int]]]) -> dict[int, _Word]:
        """For each node of a class a shortest word that leads back to the first."""
        home: dict[int, _Word] = {nodes[0]: ()}
        order = [nodes[0]]
        for to in order:
            for n in nodes:
                for x, target in onto[n]:
                    if target == to and n not in home:
                        home[n] = (x, *home[to])
                        order.append(n)
        return home

    def _found(self, group: _Class) -> GroupFound:
        points = tuple(group.move[group.nodes[0]])
        rank = {p: i for i, p in enumerate(points)}
        out: dict[tuple[int, ...], _Word] = {}
        for word in sorted(group.words, key=lambda w: (len(w), w)):
            ends = list(points)
            for x in word:
                ends = [self.table[q][x] for q in ends]
            g = tuple(rank[q] for q in ends)
            if g != tuple(range(len(points))):
                out.setdefault(g, word)
        return GroupFound(points, tuple((word, g) for g, word in out.items()))

    def _action(self, chosen: dict[int, _Refined], n: int, x: int, to: int) -> dict[int, int] | int | None:
        """What a letter does to the tiles: where each goes, or the one where all go; None if it does not matter."""
        target = chosen.get(to)
        if target is None:
            return None
        image = self._image(self.sets[n], x)
        back = {v: e for e, v in target.group.move[to].items()}
        if image != self.sets[to]:
            pulled = _apply(back, image)
            return min((e for e, t in target.tiles.items() if pulled & ~t == 0),
                       key=lambda e: (target.tiles[e].bit_count(), e))
        source = chosen[n]
        if source is target:
            move = source.group.move[n]
            return {e: back[self.table[move[e]][x]] for e in source.tiles}
        return {source.of[(v,)]: target.of[(v,)] for v in (0, 1)}

    def _descend(self, chosen: dict[int, _Refined], actions: dict[tuple[int, int], dict[int, int] | int | None],
                 width: int) -> None:
        """Adds a component for each digit of the tiles' codes, and goes on to the nodes below the last."""
        bottom: dict[tuple[int, int | None], int] = {}  # (node, tile)
        for n in range(len(self.sets)):
            for e in (chosen[n].tiles if n in chosen else (None,)):
                bottom[n, e] = len(bottom)
        if len(bottom) > self._most_nodes:
            raise TooLargeError(f"more than {self._most_nodes} sets of states at one level")
        after = [[-1] * self.k for _ in bottom]
        for (n, e), at in bottom.items():
            for x, to in enumerate(self.after[n]):
                if to >= 0:
                    act = actions[n, x]
                    tile = None if act is None else act if isinstance(act, int) else act[_tile(e)]
                    after[at][x] = bottom[to, tile]
        codes = {(n, e): () if e is None else chosen[n].codes[e] for n, e in bottom}
        start_tile = None
        if self.start in chosen:
            r = chosen[self.start]
            start_tile = min((e for e, t in r.tiles.items() if _apply(r.group.move[self.start], t) >> self.begin & 1),
                             key=lambda e: (r.tiles[e].bit_count(), e))
        above: dict[tuple[int, Code], int] = {(n, ()): n for n in range(len(self.sets))}
        for digit in range(width):
            below: dict[tuple[int, Code], int] = {}
            for (n, _), code in codes.items():
                below.setdefault((n, code[: digit + 1]), len(below))
            if digit == width - 1:
                below = {(n, codes[n, e]): at for (n, e), at in bottom.items()}
            size = 1 + max(code[digit] for code in codes.values() if len(code) > digit)
            child, action = [], []
            for n, prefix in above:
                values = sorted({code[digit] for (m, _), code in codes.items()
                                 if m == n and code[:digit] == prefix and len(code) > digit})
                child.append(tuple(below.get((n, (*prefix, v)), -1) for v in range(size)) if values
                             else (below[n, prefix],) * size)
                action.append(tuple(self._digit(chosen, actions, (n, prefix), x, digit, values, size)
                                    for x in range(self.k)))
            start = codes[self.start, start_tile]
            self.components.append(Component(max(size, 2), start[digit] if len(start) > digit else 0, tuple(action),
                                             tuple(row if size > 1 else row * 2 for row in child)))
            above = below
        self.after = after
        self.start = bottom[self.start, start_tile]
        self._track()
        self._merge()
        self._prune(width)

    def _digit(self, chosen: dict[int, _Refined], actions: dict[tuple[int, int], dict[int, int] | int | None],
               above: tuple[int, Code], x: int, place: int, values: Sequence[int], size: int) -> Action | None:
        """What a letter does to the digit in one place of the code of a tile.

        above: the node and the digits before it, which may be fewer where the code is shorter.
        """
        n, prefix = above
        act = actions.get((n, x))
        if act is None:
            return None
        target = chosen[self.after[n][x]]
        if isinstance(act, int):
            code = target.codes[act]
            return (code[place],) * size if len(code) > place else None
        known: dict[int, int] = {}
        for code, e in chosen[n].of.items():
            if code[:place] == prefix and len(code) > place:
                known[code[place]] = target.codes[act[e]][place]
        if not values:
            return None
        if len(known) == 1:
            (v, w), = known.items()
            return tuple(range(size)) if v == w else (w,) * size
        spare = [w for w in range(size) if w not in known.values()]
        return tuple(known[v] if v in known else spare.pop(0) for v in range(size))

    def _prune(self, width: int) -> None:
        """Drops values that cannot be and components that say nothing, among the last ones; those below first."""
        alive = set(range(len(self.sets)))
        for at in range(len(self.components) - 1, len(self.components) - 1 - width, -1):
            c = self.components[at]
            child = tuple(tuple(to if to in alive else -1 for to in row) for row in c.child)
            if all(len({to for to in row if to >= 0}) <= 1 for row in child):
                self._redirect(at - 1, [max(row) for row in child])
                del self.components[at]
            else:
                self.components[at] = Component(c.size, c.start, c.action, child)
                alive = {n for n, row in enumerate(child) if any(to >= 0 for to in row)}


def _tile(e: int | None) -> int:
    assert e is not None
    return e


def _apply(move: Permutation, s: int) -> int:
    return sum(1 << move[e] for e in elements(s))
