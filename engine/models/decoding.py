"""The two jobs of decoding: the target verifies a tree of tokens, the draft writes one.

Each is a generator of forwards (`engine.models.reader.Forwards`): one text's are run by `CachedModel.compute`,
those of several texts together by `engine.runtime.batching`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.models.cached_model import CachedModel
from engine.models.reader import Candidates, Forwards, Found, Wanted
from engine.models.sampling import GREEDY, Sampling
from engine.policies.forms import Shape
from engine.policies.guesses import Guess, no_guess, take
from engine.policies.protocol import Draft, DraftLimits
from engine.policies.tree import Sibling, TokenTree, accept, side_by_side

ONE = Wanted(1, chances=False)


@dataclass(slots=True)
class Branch:
    """A branch as it is written: its tokens with their confidences, and their siblings."""

    tokens: list[int] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    siblings: list[Sibling] = field(default_factory=list)

    def add(self, found: Candidates, limits: DraftLimits) -> None:
        """Go on with the best of what was found."""
        tokens, chances = found
        if len(tokens) > 1 and chances[0] < limits.second_under:
            self.siblings.append((len(self.tokens), tokens[1], chances[1]))
        self.tokens.append(tokens[0])
        self.confidences.append(chances[0])


def _tree(branches: Sequence[Branch]) -> TokenTree:
    written = [(tuple(branch.tokens), tuple(branch.confidences)) for branch in branches]
    return side_by_side(written, [branch.siblings for branch in branches])


def verify(
    target: CachedModel,
    text: Sequence[int],
    tree: TokenTree,
    sampling: Sampling = GREEDY,
    trusted: int = 0,
) -> Forwards[tuple[tuple[int, ...], int]]:
    """The nodes of `tree` that are accepted behind `text`, and the target's own token behind them, by one forward.

    A node is accepted if it is what the target itself takes there: its argmax or, at a temperature, its draw (see
    `engine.models.sampling`). So every token of the text is the target's, wherever the draft's came from. A tree is
    read as in SpecInfer (arXiv 2305.09781): each node sees the text, its ancestors and itself.
    """
    wanted = ONE
    if not sampling.greedy:
        places = [len(text), *(len(text) + 1 + above for above in tree.parents.depths)]
        wanted = Wanted(1, chances=False, sampling=sampling, places=places)
    found = yield from target.read_by_forwards(target.rewind(text, trusted), 1, tree, wanted)
    return accept(tree, found.best)


def write_draft(
    draft: CachedModel,
    context: Sequence[int],
    limits: DraftLimits,
    trusted: int = 0,
    sampling: Sampling = GREEDY,
    guess: Guess = no_guess,
) -> Forwards[Draft]:
    """Branch at the end of `context`, then extend every branch until it is long enough or unsure.

    A branch that is alone gets more tokens from as many forwards where `guess` is right. With `limits.drawn` tokens are
    drawn as `sampling` says, by the noise that the target adds too; all that a draft goes by, candidates and
    confidences, is then of the logits with this noise.
    """

    bounds, likely = limits.min_bound is not None, 2 if limits.second_under else 1

    def want(ahead: Sequence[int], count: int = likely) -> Wanted:
        """So many candidates of rows that are so many tokens behind the context, and all that branches go on by."""
        if not limits.drawn:
            return Wanted(count, bounds=bounds)
        return Wanted(count, True, bounds, sampling, [len(context) + tokens for tokens in ahead])

    unread = draft.rewind(context, trusted)
    if limits.shape.ranks:
        return (yield from _fill(draft, limits.shape, want, unread))
    if limits.branches == 1:
        return (yield from _write_line(draft, limits, want, guess, unread, Branch()))
    found = yield from draft.read_by_forwards(unread, 1, wanted=want([0], limits.branches))
    ((first, chances),) = found.candidates
    count = limits.branch_count(chances[0])
    if count == 1:
        begun = Branch()
        begun.add((first, chances), limits)
        return (yield from _write_line(draft, limits, want, guess, first[:1], begun))
    branches = [Branch([token], [chance]) for token, chance in zip(first, chances, strict=True)][:count]
    active, last, steps = list(range(count)), [-1] * count, 1
    while active and steps < limits.length:
        read = len(draft.cache.nodes)
        tokens, parents = [branches[b].tokens[-1] for b in active], [last[b] for b in active]
        found = yield from draft.read_nodes_by_forwards(tokens, parents, want([steps] * len(active)))
        going = _sure(found, limits)
        for row, (branch, its, on) in enumerate(zip(active, found.candidates, going, strict=True)):
            last[branch] = read + row
            if on:
                branches[branch].add(its, limits)
        active, steps = [branch for branch, on in zip(active, going, strict=True) if on], steps + 1
    return Draft(_tree(branches), steps)


def _write_line(
    draft: CachedModel,
    limits: DraftLimits,
    want: Callable[..., Wanted],
    guess: Guess,
    unread: Sequence[int],
    branch: Branch,
) -> Forwards[Draft]:
    """Extend the only branch, whose last token is `unread`, as what it may be the first of."""
    steps, going = len(branch.tokens), True
    while going and steps < limits.length and len(branch.tokens) < limits.most:
        begin = len(branch.tokens)
        guessed = guess(branch.tokens, limits.most - begin - 1)
        ahead = range(begin, begin + len(guessed) + 1)
        found = yield from draft.read_by_forwards((*unread, *guessed), len(ahead), wanted=want(ahead))
        rows = list(zip(found.best, _sure(found, limits), strict=True))
        written: list[int] = list(branch.tokens)
        right, going = take(written, guessed, rows)
        for its in found.candidates[: len(written) - begin]:
            branch.add(its, limits)
        draft.cache.forget(len(guessed) - right)
        unread, steps = written[-1:], steps + 1
    return Draft(_tree([branch]), steps)


def _fill(
    draft: CachedModel, shape: Shape, want: Callable[..., Wanted], unread: Sequence[int]
) -> Forwards[Draft]:
    """Give a shape its tokens, level by level; a node with children is read in the forward that finds these."""
    parents, ranks = shape
    levels, inside = parents.levels, set(parents)
    read = yield from draft.read_by_forwards(unread, 1, wanted=want([0], shape.candidates))
    found = {-1: read.candidates[0]}
    number = {-1: -1}  # of each node that was read, among those
    tokens, confidences = [0] * len(ranks), [0.0] * len(ranks)
    for above, nodes in enumerate(levels, 1):
        for node in nodes:
            there, chances = found[parents[node]]
            tokens[node], confidences[node] = there[ranks[node]], chances[ranks[node]]
        inner = [node for node in nodes if node in inside]
        if inner:
            number.update({node: len(draft.cache.nodes) + row for row, node in enumerate(inner)})
            read = yield from draft.read_nodes_by_forwards(
                [tokens[node] for node in inner],
                [number[parents[node]] for node in inner],
                want([above] * len(inner), shape.candidates),
            )
            found.update(zip(inner, read.candidates, strict=True))
    return Draft(TokenTree(tuple(tokens), parents, tuple(confidences)), len(levels))


def _sure(found: Found, limits: DraftLimits) -> list[bool]:
    """Whether each branch goes on at its row."""
    sure = [chances[0] >= limits.min_confidence for _, chances in found.candidates]
    if limits.min_bound is None:
        return sure
    return [s and bound >= limits.min_bound for s, bound in zip(sure, found.bounds, strict=True)]
