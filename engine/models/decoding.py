"""The two jobs of decoding: the target verifies a line, the draft writes branches.

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
from engine.policies.repetitions import Guess, no_guess, take
from engine.policies.words import Draft, DraftLimits, Line


def choices(model: CachedModel, logits: Tensor) -> list[int]:
    """The most likely token of each row of logits [n, rows of the head]."""
    return model.token_ids(best(logits))


Candidates = tuple[list[int], list[float]]
"""The most likely tokens at one place, and their probabilities, best first."""


@dataclass(slots=True)
class Branch:
    """A branch as it is written; what `Line` has, in lists."""

    tokens: list[int] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    seconds: list[int | None] = field(default_factory=list)

    def add(self, found: Candidates, limits: DraftLimits) -> None:
        """Go on with the best of what was found."""
        tokens, chances = found
        self.tokens.append(tokens[0])
        self.confidences.append(chances[0])
        told = len(tokens) > 1 and chances[0] < limits.second_under
        self.seconds.append(tokens[1] if told else None)

    def line(self, limits: DraftLimits) -> Line:
        """As a line, with second choices if they are asked for."""
        seconds = tuple(self.seconds) if limits.second_under else ()
        return Line(tuple(self.tokens), tuple(self.confidences), seconds)


def candidates(model: CachedModel, logits: Tensor, count: int) -> list[Candidates]:
    """For each row of logits, its `count` most likely tokens."""
    return [(model.token_ids(rows), chances) for rows, chances in ranked(logits, count)]


def verify(
    target: CachedModel,
    text: Sequence[int],
    line: Sequence[int],
    sampling: Sampling = GREEDY,
    trusted: int = 0,
    seconds: Sequence[tuple[int, int]] = (),
) -> Forwards[tuple[int, int, int | None]]:
    """How many tokens of `line` are accepted, the target's own token behind them, and perhaps the one behind that.

    Draft tokens are accepted while they are what the target itself takes there: its argmax or, at a temperature, its
    draw (see `engine.models.sampling`). So every token of the text is the target's, wherever the draft's came from.
    `seconds` (place in the line, token) are judged in the same forward, each behind the line up to its place: a leaf of
    a tree of tokens (SpecInfer, arXiv 2305.09781). Where the target's own token is one, the next token is known as
    well.
    """
    unread = target.rewind(text, trusted)
    beside = [(len(unread) + place, token) for place, token in seconds]
    logits = yield from target.reading((*unread, *line), last=len(line) + 1, beside=beside)
    places = [*range(len(line) + 1), *(place + 1 for place, _ in seconds)]
    chosen = choices(target, perturb(logits, sampling, [len(text) + place for place in places]))
    accepted = next((i for i, token in enumerate(line) if token != chosen[i]), len(line))
    known = zip(seconds, chosen[len(line) + 1 :], strict=True)
    further = next((token for second, token in known if tuple(second) == (accepted, chosen[accepted])), None)
    return accepted, chosen[accepted], further


def write_branches(
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
    if limits.branches == 1:
        return (yield from _write_line(draft, limits, see, guess, unread, Branch()))
    logits = yield from draft.reading(unread, last=1)
    ((first, chances),) = candidates(draft, see(logits, [0]), limits.branches)
    count = limits.branch_count(chances[0])
    if count == 1:
        begun = Branch()
        begun.add((first, chances), limits)
        return (yield from _write_line(draft, limits, see, guess, first[:1], begun))
    branches = [Branch([token], [chance], [None]) for token, chance in zip(first, chances, strict=True)][
        :count
    ]
    active, steps = list(range(count)), 1
    while active and steps < limits.length:
        logits = yield from draft.reading_branches([(b, branches[b].tokens[-1]) for b in active])
        logits = see(logits, [steps] * len(active))
        likely = _likely(draft, logits, limits)
        going = _sure(logits, likely, limits)
        for branch, found, on in zip(active, likely, going, strict=True):
            if on:
                branches[branch].add(found, limits)
        active, steps = [branch for branch, on in zip(active, going, strict=True) if on], steps + 1
    return Draft(tuple(branch.line(limits) for branch in branches), steps)


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
        logits = yield from draft.reading((*unread, *guessed), last=len(ahead))
        logits = see(logits, ahead)
        likely = _likely(draft, logits, limits)
        sure = _sure(logits, likely, limits)
        rows = [(tokens[0], on) for (tokens, _), on in zip(likely, sure, strict=True)]
        written: list[int] = list(branch.tokens)
        right, going = take(written, guessed, rows)
        for found in likely[: len(written) - begin]:
            branch.add(found, limits)
        draft.ledger.forget(len(guessed) - right)
        unread, steps = written[-1:], steps + 1
    return Draft((branch.line(limits),), steps)


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
