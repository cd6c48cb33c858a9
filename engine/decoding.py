"""The two jobs of decoding: the target verifies a line, the draft writes branches."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.cached_model import CachedModel
from engine.distributions import acceptance_bound, distribution, draw, residual
from engine.policies.words import Draft, DraftLimits, Line
from engine.policies.words import Draw as Drawn
from engine.sampling import GREEDY, Sampling, uniform

SPARE = 3  # how many tied logits beyond the last wanted one are still put in order

Keep = Callable[[Tensor], int]
"""Keeps a draft's distribution, float32 [rows of the head], for a residual; returns the name it has from now on."""


def choices(model: CachedModel, logits: Tensor) -> list[int]:
    """The most likely token of each row of logits [n, rows of the head]."""
    ids: list[int] = model.token_ids(logits.argmax(dim=-1)).tolist()
    return ids


def candidates(model: CachedModel, logits: Tensor, count: int) -> list[tuple[list[int], list[float]]]:
    """For each row of logits, its `count` most likely tokens and their probabilities, best first.

    Equal logits, which bfloat16 makes common, go by token id, as they do for the target's argmax: were their
    order left to `topk`, a draft would miss tokens that it knows, and differently for different shapes.
    """
    best = logits.topk(min(count + SPARE, logits.shape[-1]), dim=-1)
    ids = model.token_ids(best.indices).tolist()
    chances = (best.values - logits.logsumexp(dim=-1, keepdim=True)).exp().tolist()
    rows = []
    for row_ids, row_chances in zip(ids, chances, strict=True):
        ranked = sorted(zip(row_chances, row_ids, strict=True), key=lambda pair: (-pair[0], pair[1]))[:count]
        rows.append(([token for _, token in ranked], [chance for chance, _ in ranked]))
    return rows


def verify(
    target: CachedModel,
    text: Sequence[int],
    line: Sequence[int],
    draws: Sequence[Drawn] = (),
    sampling: Sampling = GREEDY,
    trusted: int = 0,
) -> tuple[int, int | Tensor]:
    """How many tokens of `line` are accepted, and the target's own token behind them.

    Draft tokens that were not drawn are accepted while they are what the target itself draws (its argmax, if
    greedy). That is the rule for deterministic drafts: x is accepted with chance p(x), and else the token
    is one of p without x. Drawn ones are accepted with chance min(1, p(x) / q(x)) (Leviathan et al. 2023); behind a
    rejection there is no token yet but p, float32 [vocabulary], to be given to `correct` with q.
    """
    unread = target.rewind(text, trusted)
    logits = target.read((*unread, *line), last=len(line) + 1)
    if sampling.greedy:
        return _agreed(line, choices(target, logits))
    chances, places = distribution(logits, sampling), range(len(text), len(text) + len(line) + 1)
    if not draws:
        return _agreed(line, draw(chances, [uniform(sampling.seed, "text", place) for place in places]))
    mine = chances[torch.arange(len(line)), torch.tensor(line)].tolist()
    for index, ((theirs, _), place) in enumerate(zip(draws, places, strict=False)):
        if uniform(sampling.seed, "accept", place) * theirs >= mine[index]:
            return index, chances[index]
    (token,) = draw(chances[-1:], [uniform(sampling.seed, "text", places[-1])])
    return len(line), token


def _agreed(line: Sequence[int], chosen: Sequence[int]) -> tuple[int, int]:
    accepted = next((i for i, token in enumerate(line) if token != chosen[i]), len(line))
    return accepted, chosen[accepted]


def correct(target: Tensor, draft: Tensor, sampling: Sampling, place: int) -> int:
    """The token at `place` where a drawn draft token was rejected, of p and q, float32 [vocabulary] each."""
    (token,) = draw(residual(target, draft)[None], [uniform(sampling.seed, "residual", place)])
    return token


def write_branches(
    draft: CachedModel,
    context: Sequence[int],
    limits: DraftLimits,
    trusted: int = 0,
    *,
    sampling: Sampling = GREEDY,
    job: int = 0,
    keep: Keep | None = None,
) -> Draft:
    """Branch at the end of `context`, then extend every branch until it is long enough or unsure.

    Tokens are drawn from place `limits.drawn_from` of a branch on, if `sampling` is not greedy; `job`
    numbers the drafts of one text, so that no two of them draw with the same numbers.
    """
    logits = draft.read(draft.rewind(context, trusted), last=1)
    ((first, chances),) = candidates(draft, logits, limits.branches)
    count = limits.branch_count(chances[0])
    tokens, confidences = [[t] for t in first[:count]], [[c] for c in chances[:count]]
    drawn_from = None if sampling.greedy or keep is None else limits.drawn_from
    draws: list[list[Drawn]] = [[(chance, -1)] for chance in chances[:count]]  # never judged by q

    def drawn(logits: Tensor, branches: Sequence[int], place: int) -> list[int]:
        """Draw a token of each branch from its row, and keep what it was drawn from."""
        assert keep is not None
        rows = distribution(logits, sampling)
        numbers = [uniform(sampling.seed, "draft", place, job, branch) for branch in branches]
        found = draw(rows, numbers)
        for branch, row, index in zip(branches, rows, found, strict=True):
            draws[branch].append((float(row[index]), keep(row)))
        ids: list[int] = draft.token_ids(torch.tensor(found, device=logits.device)).tolist()
        return ids

    if drawn_from == 0:
        draws[0].clear()
        tokens[0] = drawn(logits, [0], len(context))
    active, steps = list(range(count)), 1
    while active and steps < limits.length:
        logits = draft.read_branches([(b, tokens[b][-1]) for b in active])
        best = candidates(draft, logits, 1)
        going = _sure(logits, best, limits)
        still = [branch for branch, on in zip(active, going, strict=True) if on]
        written = [token for (((token,), _), on) in zip(best, going, strict=True) if on]
        if drawn_from is not None and still:
            written = drawn(logits[torch.tensor(going)], still, len(context) + steps)
        chosen = [chance for ((_, (chance,)), on) in zip(best, going, strict=True) if on]
        for branch, token, confidence in zip(still, written, chosen, strict=True):
            tokens[branch].append(token)
            confidences[branch].append(confidence)
        active, steps = still, steps + 1
    lines = (
        Line(tuple(t), tuple(c), tuple(d) if drawn_from is not None else ())
        for t, c, d in zip(tokens, confidences, draws, strict=True)
    )
    return Draft(tuple(lines), steps)


def _sure(logits: Tensor, best: Sequence[tuple[list[int], list[float]]], limits: DraftLimits) -> list[bool]:
    """Whether each branch goes on at its row: by the row alone, never by what might be drawn from it."""
    sure = [chance >= limits.min_confidence for _, (chance,) in best]
    if limits.min_bound is None:
        return sure
    bounds = acceptance_bound(logits).tolist()
    return [s and bound >= limits.min_bound for s, bound in zip(sure, bounds, strict=True)]
