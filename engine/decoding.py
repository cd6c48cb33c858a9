"""The two jobs of greedy decoding: the target verifies a line, the draft writes branches."""

from collections.abc import Sequence

from torch import Tensor

from engine.cached_model import CachedModel
from engine.policies.words import Draft, DraftLimits, Line, Verdict

SPARE = 3  # how many tied logits beyond the last wanted one are still put in order


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


def verify(target: CachedModel, text: Sequence[int], line: Sequence[int], trusted: int = 0) -> Verdict:
    """Accept the tokens of `line` that are the target's argmax, then give the target's own token."""
    unread = target.rewind(text, trusted)
    chosen = choices(target, target.read((*unread, *line), last=len(line) + 1))
    accepted = next((i for i, t in enumerate(line) if t != chosen[i]), len(line))
    return Verdict(accepted, chosen[accepted])


def write_branches(
    draft: CachedModel, context: Sequence[int], limits: DraftLimits, trusted: int = 0
) -> Draft:
    """Branch at the end of `context`, then extend every branch until it is long enough or unsure."""
    logits = draft.read(draft.rewind(context, trusted), last=1)
    ((first, chances),) = candidates(draft, logits, limits.branches)
    count = limits.branch_count(chances[0])
    tokens, confidences = [[t] for t in first[:count]], [[c] for c in chances[:count]]
    active, steps = list(range(count)), 1
    while active and steps < limits.length:
        rows = candidates(draft, draft.read_branches([(b, tokens[b][-1]) for b in active]), 1)
        steps += 1
        still = []
        for branch, ((token,), (confidence,)) in zip(active, rows, strict=True):
            if confidence >= limits.min_confidence:
                tokens[branch].append(token)
                confidences[branch].append(confidence)
                still.append(branch)
        active = still
    lines = (Line(tuple(t), tuple(c)) for t, c in zip(tokens, confidences, strict=True))
    return Draft(tuple(lines), steps)
