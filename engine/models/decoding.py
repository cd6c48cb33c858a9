"""The two jobs of decoding: the target verifies a tree of tokens, the draft writes one.

Each is a generator of forwards (`engine.models.cached_model.Forwards`): one text's are run by `CachedModel.compute`,
those of several texts together by `engine.runtime.batching`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from engine.kernels.ranking import best, ranked
from engine.models.cached_model import CachedModel, Forwards
from engine.models.distributions import acceptance_bound, perturb
from engine.models.sampling import GREEDY, Sampling
from engine.policies.forms import Shape
from engine.policies.guesses import Guess, no_guess, take
from engine.policies.protocol import Draft, DraftLimits
from engine.policies.tree import Sibling, TokenTree, accept, side_by_side


def choices(model: CachedModel, logits: Tensor, largest: list[int] | None = None) -> list[int]:
    """The most likely token of each row of logits [n, rows of the head].

    `largest`: where the largest logit of each row is, if that is known already.
    """
    return model.token_ids(best(logits) if largest is None else largest)


Candidates = tuple[list[int], list[float]]
"""The most likely tokens at one place, and their probabilities, best first."""


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


def candidates(model: CachedModel, logits: Tensor, count: int) -> list[Candidates]:
    """For each row of logits, its `count` most likely tokens."""
    return [(model.token_ids(rows), chances) for rows, chances in ranked(logits, count)]


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
    logits = yield from target.read_by_forwards(target.rewind(text, trusted), last=1, tree=tree)
    if sampling.greedy:
        return accept(tree, choices(target, logits, target.largest))
    places = [len(text), *(len(text) + 1 + above for above in tree.parents.depths)]
    return accept(tree, choices(target, perturb(logits, sampling, places)))


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

    def see(logits: Tensor, ahead: Sequence[int]) -> Tensor:
        """Logits of rows that are so many tokens behind the context, with the noise of what they choose."""
        if not limits.drawn:
            return logits
        places = [len(context) + tokens for tokens in ahead]
        return perturb(logits, sampling, places, draft.decoder.kept_tokens)

    unread = draft.rewind(context, trusted)
    if limits.shape.ranks:
        return (yield from _fill(draft, limits.shape, see, unread))
    if limits.branches == 1:
        return (yield from _write_line(draft, limits, see, guess, unread, Branch()))
    logits = yield from draft.read_by_forwards(unread, last=1)
    ((first, chances),) = candidates(draft, see(logits, [0]), limits.branches)
    count = limits.branch_count(chances[0])
    if count == 1:
        begun = Branch()
        begun.add((first, chances), limits)
        return (yield from _write_line(draft, limits, see, guess, first[:1], begun))
    branches = [Branch([token], [chance]) for token, chance in zip(first, chances, strict=True)][:count]
    active, last, steps = list(range(count)), [-1] * count, 1
    while active and steps < limits.length:
        read = len(draft.cache.nodes)
        tokens, parents = [branches[b].tokens[-1] for b in active], [last[b] for b in active]
        logits = yield from draft.read_nodes_by_forwards(tokens, parents)
        logits = see(logits, [steps] * len(active))
        likely = _likely(draft, logits, limits)
        going = _sure(logits, likely, limits)
        for row, (branch, found, on) in enumerate(zip(active, likely, going, strict=True)):
            last[branch] = read + row
            if on:
                branches[branch].add(found, limits)
        active, steps = [branch for branch, on in zip(active, going, strict=True) if on], steps + 1
    return Draft(_tree(branches), steps)


def _write_line(
    draft: CachedModel,
    limits: DraftLimits,
    see: Callable[[Tensor, Sequence[int]], Tensor],
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
        logits = yield from draft.read_by_forwards((*unread, *guessed), last=len(ahead))
        logits = see(logits, ahead)
        likely = _likely(draft, logits, limits)
        sure = _sure(logits, likely, limits)
        rows = [(tokens[0], on) for (tokens, _), on in zip(likely, sure, strict=True)]
        written: list[int] = list(branch.tokens)
        right, going = take(written, guessed, rows)
        for found in likely[: len(written) - begin]:
            branch.add(found, limits)
        draft.cache.forget(len(guessed) - right)
        unread, steps = written[-1:], steps + 1
    return Draft(_tree([branch]), steps)


def _fill(
    draft: CachedModel, shape: Shape, see: Callable[[Tensor, Sequence[int]], Tensor], unread: Sequence[int]
) -> Forwards[Draft]:
    """Give a shape its tokens, level by level; a node with children is read in the forward that finds these."""
    parents, ranks = shape
    levels, inside = parents.levels, set(parents)
    logits = yield from draft.read_by_forwards(unread, last=1)
    found = {-1: candidates(draft, see(logits, [0]), shape.candidates)[0]}
    number = {-1: -1}  # of each node that was read, among those
    tokens, confidences = [0] * len(ranks), [0.0] * len(ranks)
    for above, nodes in enumerate(levels, 1):
        for node in nodes:
            there, chances = found[parents[node]]
            tokens[node], confidences[node] = there[ranks[node]], chances[ranks[node]]
        inner = [node for node in nodes if node in inside]
        if inner:
            number.update({node: len(draft.cache.nodes) + row for row, node in enumerate(inner)})
            logits = yield from draft.read_nodes_by_forwards(
                [tokens[node] for node in inner], [number[parents[node]] for node in inner]
            )
            rows = candidates(draft, see(logits, [above] * len(inner)), shape.candidates)
            found.update(zip(inner, rows, strict=True))
    return Draft(TokenTree(tuple(tokens), parents, tuple(confidences)), len(levels))


def _likely(draft: CachedModel, logits: Tensor, limits: DraftLimits) -> list[Candidates]:
    """The candidates that a branch's further tokens are chosen of."""
    return candidates(draft, logits, 2 if limits.second_under else 1)


def _sure(logits: Tensor, likely: Sequence[Candidates], limits: DraftLimits) -> list[bool]:
    """Whether each branch goes on at its row."""
    sure = [chances[0] >= limits.min_confidence for _, chances in likely]
    if limits.min_bound is None:
        return sure
    bounds = acceptance_bound(logits).tolist()
    return [s and bound >= limits.min_bound for s, bound in zip(sure, bounds, strict=True)]
