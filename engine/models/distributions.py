"""Next-token distributions after temperature, top-k and top-p, and draws from them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from engine.kernels.crew import Crew
from engine.kernels.noise import with_noise
from engine.kernels.ranking import entropies
from engine.models.sampling import Sampling

Law = tuple[float, int | None, float]  # temperature, top-k and top-p

ENTROPY_WEIGHT = 0.2  # how strongly AdaEDL (arXiv 2410.18351) takes entropy for doubt


def distribution(logits: Tensor, sampling: Sampling) -> Tensor:
    """Probabilities, float32 [n, rows], of logits [n, rows]; `sampling` must not be greedy."""
    return _warped(logits, sampling).softmax(dim=-1)


def perturb(
    logits: Tensor,
    sampling: Sampling,
    places: Sequence[int],
    kept_tokens: Tensor | None = None,
    crew: Crew | None = None,
) -> Tensor:
    """Logits float32 [n, rows] with each place's noise: the largest of a row is a draw from its `distribution`.

    `places` [n] in the text; `kept_tokens` int64 [rows] are the rows' token ids where they are not their numbers. What
    top-k or top-p leaves out is at minus infinity. Of greedy sampling, the logits as they are. A `crew` shares many
    rows.
    """
    return perturb_rows(logits, [sampling] * len(places), places, kept_tokens, crew)


def perturb_rows(
    logits: Tensor,
    samplings: Sequence[Sampling],
    places: Sequence[int],
    kept_tokens: Tensor | None = None,
    crew: Crew | None = None,
) -> Tensor:
    """As `perturb`, of rows that are drawn each as its own of `samplings` [n] says."""
    by_law: dict[Law, list[int]] = {}
    for row, sampling in enumerate(samplings):
        if not sampling.greedy:
            by_law.setdefault((sampling.temperature, sampling.top_k, sampling.top_p), []).append(row)
    found = logits
    for rows in by_law.values():
        alike, law = len(rows) == len(logits), samplings[rows[0]]
        draws = [(samplings[row].seed, places[row]) for row in rows]
        scores = _warped(logits if alike else logits[rows], law)
        drawn = with_noise(scores, draws, law.temperature, kept_tokens, crew)
        if alike:
            return drawn
        found = logits.clone() if found is logits else found
        found[rows] = drawn
    return found


def _warped(logits: Tensor, sampling: Sampling) -> Tensor:
    """By transformers' own warpers, so that a text drawn here and one drawn there follow the same law."""
    scores, no_ids = logits.float(), torch.empty(0, dtype=torch.long)
    if sampling.temperature != 1.0:
        scores = TemperatureLogitsWarper(sampling.temperature)(no_ids, scores)
    if sampling.top_k is not None:
        scores = TopKLogitsWarper(sampling.top_k)(no_ids, scores)
    if sampling.top_p < 1.0:
        scores = TopPLogitsWarper(sampling.top_p)(no_ids, scores)
    return scores


def acceptance_bound(logits: Tensor) -> Tensor:
    """AdaEDL's lower bound of the chance that a token drawn from each row is accepted, float32 [n].

    1 - sqrt(weight x entropy), with the entropy in nats of the draft's whole distribution (arXiv 2410.18351).
    """
    return 1.0 - (ENTROPY_WEIGHT * entropies(logits).clamp_min(0.0)).sqrt()
