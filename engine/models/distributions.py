"""Next-token distributions after temperature, top-k and top-p, and draws from them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from engine.kernels.crew import Crew
from engine.kernels.noise import add_noise
from engine.kernels.ranking import entropies
from engine.models.sampling import Sampling

Law = tuple[float, int | None, float]  # temperature, top-k and top-p

ENTROPY_WEIGHT = 0.2  # how strongly AdaEDL (arXiv 2410.18351) takes entropy for doubt


def distribution(logits: Tensor, sampling: Sampling) -> Tensor:
    """Probabilities, float32 [n, rows], of logits [n, rows]; `sampling` must not be greedy."""
    return _warped(logits, sampling).softmax(dim=-1)


def perturb(
    logits: Tensor, sampling: Sampling, places: Sequence[int], kept_tokens: Tensor | None = None
) -> Tensor:
    """Logits float32 [n, rows] with each place's noise: the largest of a row is a draw from its `distribution`.

    `places` [n] in the text; `kept_tokens` int64 [rows] are the rows' token ids where they are not their numbers. What
    top-k or top-p leaves out is at minus infinity. Of greedy sampling, the logits as they are.
    """
    if sampling.greedy:
        return logits
    return perturb_rows(logits.float().clone(), [sampling] * len(places), places, kept_tokens)


@torch.inference_mode()
def perturb_rows(
    logits: Tensor,
    samplings: Sequence[Sampling],
    places: Sequence[int],
    kept_tokens: Tensor | None = None,
    crew: Crew | None = None,
) -> Tensor:
    """As `perturb`, of float32 rows that are drawn each as its own of `samplings` [n] says; may change `logits`.

    A `crew` shares many rows.
    """
    by_law: dict[Law, list[int]] = {}
    for row, sampling in enumerate(samplings):
        if not sampling.greedy:
            by_law.setdefault((sampling.temperature, sampling.top_k, sampling.top_p), []).append(row)
    for rows in by_law.values():
        alike, law = len(rows) == len(logits), samplings[rows[0]]
        scores = _warped(logits if alike else logits[rows], law).contiguous()
        draws = [(samplings[row].seed, places[row]) for row in rows]
        drawn = add_noise(scores, draws, law.temperature, kept_tokens, crew)
        if alike:
            return drawn
        logits[rows] = drawn
    return logits


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


def acceptance_bound(logits: Tensor, crew: Crew | None = None) -> Tensor:
    """AdaEDL's lower bound of the chance that a token drawn from each row is accepted, float32 [n].

    1 - sqrt(weight x entropy), with the entropy in nats of the draft's whole distribution (arXiv 2410.18351). A `crew`
    shares many rows.
    """
    return 1.0 - (ENTROPY_WEIGHT * entropies(logits, crew).clamp_min(0.0)).sqrt()
