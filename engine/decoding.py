"""The two jobs of decoding: the target verifies a line, the draft writes branches."""

from collections.abc import Callable, Sequence

from torch import Tensor

from engine.cached_model import CachedModel
from engine.distributions import acceptance_bound, perturb
from engine.policies.repetitions import Guess, no_guess, take
from engine.policies.words import EMPTY, Draft, DraftLimits, Line
from engine.ranking import best, ranked
from engine.sampling import GREEDY, Sampling


def choices(model: CachedModel, logits: Tensor) -> list[int]:
    """The most likely token of each row of logits [n, rows of the head]."""
    return model.token_ids(best(logits))


def candidates(model: CachedModel, logits: Tensor, count: int) -> list[tuple[list[int], list[float]]]:
    """For each row of logits, its `count` most likely tokens and their probabilities, best first."""
    return [(model.token_ids(rows), chances) for rows, chances in ranked(logits, count)]


def verify(
    target: CachedModel,
    text: Sequence[int],
    line: Sequence[int],
    sampling: Sampling = GREEDY,
    trusted: int = 0,
) -> tuple[int, int]:
    """How many tokens of `line` are accepted, and the target's own token behind them.

    Draft tokens are accepted while they are what the target itself takes there: its argmax or, at a temperature, its
    draw (see `engine.sampling`). So every token of the text is the target's, wherever the draft's came from.
    """
    unread = target.rewind(text, trusted)
    logits = target.read((*unread, *line), last=len(line) + 1)
    chosen = choices(target, perturb(logits, sampling, range(len(text), len(text) + len(line) + 1)))
    accepted = next((i for i, token in enumerate(line) if token != chosen[i]), len(line))
    return accepted, chosen[accepted]


def write_branches(
    draft: CachedModel,
    context: Sequence[int],
    limits: DraftLimits,
    trusted: int = 0,
    sampling: Sampling = GREEDY,
    guess: Guess = no_guess,
) -> Draft:
    """Branch at the end of `context`, then extend every branch until it is long enough or unsure.

    A branch that is alone is written in fewer forwards where `guess` is right. With `limits.drawn` tokens are drawn as
    `sampling` says, by the noise that the target adds too; all that a draft goes by, candidates and confidences, is
    then of the logits with this noise.
    """

    def see(logits: Tensor, ahead: Sequence[int]) -> Tensor:
        """Logits of rows that are so many tokens behind the context, with the noise of what they choose."""
        if not limits.drawn:
            return logits
        places = [len(context) + tokens for tokens in ahead]
        return perturb(logits, sampling, places, draft.decoder.kept_tokens)

    unread = draft.rewind(context, trusted)
    if limits.branches == 1:
        return _write_line(draft, limits, see, guess, unread, EMPTY)
    ((first, chances),) = candidates(draft, see(draft.read(unread, last=1), [0]), limits.branches)
    count = limits.branch_count(chances[0])
    if count == 1:
        return _write_line(draft, limits, see, guess, first[:1], Line((first[0],), (chances[0],)))
    tokens, confidences = [[t] for t in first[:count]], [[c] for c in chances[:count]]
    active, steps = list(range(count)), 1
    while active and steps < limits.length:
        logits = see(draft.read_branches([(b, tokens[b][-1]) for b in active]), [steps] * len(active))
        likely = candidates(draft, logits, 1)
        going = _sure(logits, likely, limits)
        for branch, ((token,), (confidence,)), on in zip(active, likely, going, strict=True):
            if on:
                tokens[branch].append(token)
                confidences[branch].append(confidence)
        active, steps = [branch for branch, on in zip(active, going, strict=True) if on], steps + 1
    lines = (Line(tuple(t), tuple(c)) for t, c in zip(tokens, confidences, strict=True))
    return Draft(tuple(lines), steps)


def _write_line(
    draft: CachedModel,
    limits: DraftLimits,
    see: Callable[[Tensor, Sequence[int]], Tensor],
    guess: Guess,
    unread: Sequence[int],
    begun: Line,
) -> Draft:
    """Extend the only branch, `begun`, whose last token is `unread` as what it may be the first of."""
    tokens, confidences = list(begun.tokens), list(begun.confidences)
    steps, going = len(begun), True
    while going and len(tokens) < limits.length:
        begin = len(tokens)
        guessed = guess(tokens, limits.length - begin - 1)
        ahead = range(begin, begin + len(guessed) + 1)
        logits = see(draft.read((*unread, *guessed), last=len(ahead)), ahead)
        likely = candidates(draft, logits, 1)
        sure = _sure(logits, likely, limits)
        right, going = take(
            tokens, guessed, [(token, on) for ((token,), _), on in zip(likely, sure, strict=True)]
        )
        confidences += [chance for _, (chance,) in likely[: len(tokens) - begin]]
        draft.ledger.forget(len(guessed) - right)
        unread, steps = tokens[-1:], steps + 1
    return Draft((Line(tuple(tokens), tuple(confidences)),), steps)


def _sure(logits: Tensor, likely: Sequence[tuple[list[int], list[float]]], limits: DraftLimits) -> list[bool]:
    """Whether each branch goes on at its row."""
    sure = [chance >= limits.min_confidence for _, (chance,) in likely]
    if limits.min_bound is None:
        return sure
    bounds = acceptance_bound(logits).tolist()
    return [s and bound >= limits.min_bound for s, bound in zip(sure, bounds, strict=True)]
