"""Forms of trees: which node follows which, without tokens, and what is made of one again and again. Torch-free."""

from collections.abc import Callable, Sequence
from functools import cache, cached_property, lru_cache
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

K = TypeVar("K")
V = TypeVar("V")

# Where a node comes from: a forward of the draft was made for it; it was another candidate of such a forward, for
# nothing; or it was found without a draft, in the text or among n-grams.
DRAFTED, SIBLING, FOUND = range(3)

Pick = Callable[[Sequence[Any]], tuple[Any, ...]]
"""Takes some nodes' values out of those of all."""


def picking(nodes: Sequence[int]) -> Pick:
    """Takes the values of these nodes, in their order; a slice where they lie in a row, which is faster."""
    first, count = (nodes[0], len(nodes)) if nodes else (0, 0)
    if tuple(nodes) == tuple(range(first, first + count)):
        return itemgetter(slice(first, first + count))
    return itemgetter(*nodes)


class Parents(tuple[int, ...]):
    """Of each node of a tree the one that it follows, which stands before it; -1: it follows the text.

    What depends on these alone is worked out once, since a policy makes trees of few forms: they share their parents,
    and whatever is made of those is kept with them.
    """

    @cached_property
    def is_chain(self) -> bool:
        """Whether each node follows the one before."""
        return self == tuple(range(-1, len(self) - 1))

    @cached_property
    def first_line(self) -> tuple[int, ...]:
        """The nodes from the text to its first child, from there to that one's first, and so on."""
        nodes, last = [], -1
        for node, parent in enumerate(self):
            if parent == last:
                nodes.append(node)
                last = node
        return tuple(nodes)

    @cached_property
    def roots(self) -> tuple[int, ...]:
        """The nodes that follow the text."""
        return tuple(node for node, parent in enumerate(self) if parent < 0)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """How many ancestors each node has."""
        found: list[int] = []
        for parent in self:
            found.append(found[parent] + 1 if parent >= 0 else 0)
        return tuple(found)

    @cached_property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """The nodes with no ancestors, with one, and so on."""
        found: list[list[int]] = []
        for node, above in enumerate(self.depths):
            if above == len(found):
                found.append([])
            found[above].append(node)
        return tuple(map(tuple, found))

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """The nodes that follow each node; of the last entry, [-1], those that follow the text."""
        found: list[list[int]] = [[] for _ in range(len(self) + 1)]
        for node, parent in enumerate(self):
            found[parent].append(node)
        return tuple(map(tuple, found))

    @cached_property
    def by_depth(self) -> Pick:
        """Takes what belongs to the text, then to each node, out of what belongs to the text and to each depth."""
        return picking([0, *(above + 1 for above in self.depths)])

    @cached_property
    def below(self) -> "Kept[int, tuple[Pick, Parents]]":
        """By a node: what follows it, as what takes that, and its parents in a tree of its own."""
        return Kept(self._below)

    def _below(self, top: int) -> "tuple[Pick, Parents]":
        there = {top}
        for node in range(top + 1, len(self)):
            if self[node] in there:
                there.add(node)
        return self._part(sorted(there - {top}), top)

    @cached_property
    def until(self) -> "Kept[int, tuple[Pick, Parents]]":
        """By a count: the nodes with fewer ancestors, in the same way."""
        return Kept(
            lambda depth: self._part([node for node, above in enumerate(self.depths) if above < depth])
        )

    def _part(self, nodes: Sequence[int], top: int = -1) -> "tuple[Pick, Parents]":
        """What takes these nodes, all below `top` and connected with it; and their parents in a tree of their own."""
        number = {top: -1} | {node: i for i, node in enumerate(nodes)}
        return picking(nodes), shared(tuple([number[self[node]] for node in nodes]))

    @cached_property
    def lengthened(self) -> "Kept[int, Parents]":
        """By a count: so many nodes more, one behind another, behind the first line."""
        last, end = max(self.first_line, default=-1), len(self)
        return Kept(lambda count: shared((*self, *[last, *range(end, end + count)][:count])))

    @cached_property
    def with_siblings(self) -> "Kept[tuple[int, ...], tuple[Parents, tuple[int, ...]]]":
        """By some nodes: a sibling more of each behind all nodes, and the sources of all."""
        return Kept(
            lambda nodes: (
                shared((*self, *[self[node] for node in nodes])),
                (DRAFTED,) * len(self) + (SIBLING,) * len(nodes),
            )
        )

    @cached_property
    def first(self) -> "Kept[int, Parents]":
        """By a count: the first nodes."""
        return Kept(lambda count: shared(self[:count]))

    @cached_property
    def reading(self) -> "Kept[tuple[int, bool], Reading]":
        """By a number of levels: the order in which a draft that wrote these nodes read so many of them.

        Level after level; of `inner` nodes, those that have children.
        """
        return Kept(lambda asked: self._reading(*asked))

    def _reading(self, levels: int, inner: bool) -> "Reading":
        wanted = set(self) if inner else range(len(self))
        numbers, counts, read = [-1] * len(self), [], 0
        for level in self.levels[:levels]:
            nodes = [node for node in level if node in wanted]
            for node in nodes:
                numbers[node], read = read, read + 1
            counts.append(len(nodes))
        lines: list[Line] = []
        for last in range(len(self)):
            if numbers[last] >= 0 and all(numbers[node] < 0 for node in self.children[last]):
                line = [last]
                while self[line[0]] >= 0:
                    line.insert(0, self[line[0]])
                lines.append(Line(line[0], picking(line), tuple([numbers[node] for node in line])))
        return Reading(tuple(counts), tuple(lines))


class Line(NamedTuple):
    """Nodes from the text on, each behind the one before: the `first`, what takes them, and their order of reading."""

    first: int
    pick: Pick
    numbers: tuple[int, ...]


class Reading(NamedTuple):
    """How nodes were read: how many each forward read, and the lines to all behind which none was read."""

    counts: tuple[int, ...]
    lines: tuple[Line, ...] = ()


class Kept(dict[K, V]):
    """Values that are made when they are first asked for."""

    def __init__(self, make: Callable[[K], V]) -> None:
        self._make = make

    def __missing__(self, key: K) -> V:
        self[key] = value = self._make(key)
        return value


FORMS = 1 << 16  # of trees, whose parents are remembered, with what was made of them


@lru_cache(FORMS)
def shared(parents: tuple[int, ...]) -> Parents:
    """These parents, as one object for all trees that have them."""
    return Parents(parents)


@cache
def chain(count: int) -> Parents:
    """The parents of `count` nodes of which each follows the one before."""
    return shared(tuple(range(-1, count - 1)))


NO_PARENTS = chain(0)


@lru_cache(FORMS)
def lines(lengths: tuple[int, ...]) -> Parents:
    """The parents in so many chains of these lengths, one after another."""
    parents: list[int] = []
    for length in lengths:
        first = len(parents)
        parents += [-1, *range(first, first + length - 1)][:length]
    return shared(tuple(parents))


class Shape(NamedTuple):
    """A tree without tokens: of each node its parent, and its rank among a place's candidates."""

    parents: Parents = NO_PARENTS
    ranks: tuple[int, ...] = ()

    @property
    def levels(self) -> int:
        """How many forwards of a draft fill it."""
        return len(self.parents.levels)

    @property
    def candidates(self) -> int:
        """How many candidates of a place it takes, at most."""
        return max(self.ranks, default=-1) + 1


NO_SHAPE = Shape()
