"""Next-token distributions after temperature, top-k and top-p, and draws from them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from engine.sampling import Sampling

ENTROPY_WEIGHT = 0.2  # how strongly AdaEDL (arXiv 2410.18351) takes entropy for doubt


def distribution(logits: Tensor, sampling: Sampling) -> Tensor:
    """Probabilities, float32 [n, rows], of logits [n, rows]; `sampling` must not be greedy.

    By transformers' own warpers, so that a text drawn here and one drawn there follow the same law.
    """
    scores, no_ids = logits.float(), torch.empty(0, dtype=torch.long)
    if sampling.temperature != 1.0:
        scores = TemperatureLogitsWarper(sampling.temperature)(no_ids, scores)
    if sampling.top_k is not None:
        scores = TopKLogitsWarper(sampling.top_k)(no_ids, scores)
    if sampling.top_p < 1.0:
        scores = TopPLogitsWarper(sampling.top_p)(no_ids, scores)
    return scores.softmax(dim=-1)


def draw(chances: Tensor, numbers: Sequence[float]) -> list[int]:
    """One index for each row of `chances` [n, rows], by a number in [0, 1) each: the inverse of the sums.

    Rows need not add up to 1. An index of chance 0 is never drawn.
    """
    sums = chances.cumsum(dim=-1)
    aims = torch.tensor(numbers, dtype=sums.dtype, device=sums.device)[:, None] * sums[:, -1:]
    # Rounding may lift an aim to the whole sum, behind which there is nothing.
    aims = torch.minimum(aims, torch.nextafter(sums[:, -1:], torch.zeros_like(sums[:, -1:])))
    found: list[int] = torch.searchsorted(sums, aims, right=True)[:, 0].tolist()
    return found


def residual(target: Tensor, draft: Tensor) -> Tensor:
    """What the target has and the draft lacks, max(p - q, 0), not normalised; p itself where that is nothing.

    Both float32 [rows] over the target's vocabulary (Leviathan et al. 2023, section 2.3).
    """
    rest = (target - draft).clamp_min(0.0)
    return rest if float(rest.sum()) > 0.0 else target


def acceptance_bound(logits: Tensor) -> Tensor:
    """AdaEDL's lower bound of the chance that a token drawn from each row is accepted, float32 [n].

    1 - sqrt(weight x entropy), with the entropy in nats of the draft's whole distribution (arXiv 2410.18351).
    """
    shares = logits.float().log_softmax(dim=-1)
    entropy = -(shares.exp() * shares).nansum(dim=-1)
    return 1.0 - (ENTROPY_WEIGHT * entropy).sqrt()
