"""What if the draft agreed with the target more often, or less: the recorded trace, shifted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from calibrate.trace_records import DraftTrace

NOBODY = np.int32(-(2**31) + 1)  # a candidate of unknown identity, which is never right

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Shifted:
    """A draft's views after a shift of `logits`, and the share of positions where its first token is right."""

    views: tuple[DraftTrace, ...]
    share: float
    logits: float


def shift_alignment(
    paths: Sequence[NDArray[np.int32]], views: Sequence[DraftTrace], wished: float, seed: Sequence[int]
) -> Shifted:
    """Views of the same paths whose mean share of right first tokens is as near to `wished` as they allow.

    Each position's chance of a hit is a logistic fit on the logit of the draft's confidence. A uniform number,
    drawn given what was observed (under the chance for a hit, over it for a miss), decides anew when all
    chances are shifted by the same logits: shift 0 changes nothing, a larger one only adds hits, and where the
    draft was unsure it changes first. A hit that becomes a miss moves the target's token to a rank drawn from
    those observed at misses, a miss that becomes a hit moves it to the front. Confidences stay as recorded.
    """
    rng = np.random.default_rng(seed)
    ranks = np.concatenate([_ranks(path, seen) for path, seen in zip(paths, views, strict=True)])
    hits = ranks == 0
    logits = _logit(np.concatenate([seen.chances[:, 0] for seen in views]).astype(float))
    base, slope = _fit_logistic(logits, hits)
    at = base + slope * logits
    chance = expit(at)
    draws = rng.random(len(hits))
    # The logit of the deciding number: a position is a hit from the shift threshold - at on.
    decider = np.where(hits, draws * chance, chance + draws * (1.0 - chance))
    needed = _logit(decider) - at
    needed = np.where(hits, np.minimum(needed, 0.0), np.maximum(needed, np.finfo(float).tiny))
    shift = _bisect(needed, wished)
    now = needed <= shift
    missed = ranks[~hits]
    candidates = views[0].tokens.shape[1]
    lost = rng.choice(missed if len(missed) else np.array([candidates]), size=len(hits))
    wanted = np.where(now, 0, np.where(hits, lost, ranks))
    shifted, begin = [], 0
    for path, seen in zip(paths, views, strict=True):
        end = begin + len(path)
        shifted.append(_move(path, seen, ranks[begin:end], wanted[begin:end]))
        begin = end
    return Shifted(tuple(shifted), float(now.mean()), shift)


def _ranks(path: NDArray[np.int32], seen: DraftTrace) -> NDArray[np.int64]:
    """The rank of the path's token among the candidates; their count where it is not one of them."""
    same = seen.tokens == path[:, None]
    ranks: NDArray[np.int64] = np.where(same.any(axis=1), same.argmax(axis=1), seen.tokens.shape[1])
    return ranks


def _bisect(needed: Floats, wished: float) -> float:
    """The shift under which the share of positions that need no more is nearest to `wished`; 0 if 0 is."""
    low, high = -80.0, 80.0
    for _ in range(80):
        middle = (low + high) / 2.0
        low, high = (middle, high) if (needed <= middle).mean() < wished else (low, middle)
    return min((0.0, low, high), key=lambda shift: abs(float((needed <= shift).mean()) - wished))


def _move(
    path: NDArray[np.int32], seen: DraftTrace, old: NDArray[np.int64], new: NDArray[np.int64]
) -> DraftTrace:
    """Put the path's token at rank `new` instead of `old` where these differ; the others keep their order."""
    tokens, off, off_bounds = seen.tokens.copy(), seen.off_chances.copy(), seen.off_bounds.copy()
    count = tokens.shape[1]
    for i in np.flatnonzero(old != new):
        others = [token for token in tokens[i].tolist() if token != path[i]][: count - 1]
        others.insert(int(new[i]), int(path[i] if new[i] < count else NOBODY))
        tokens[i] = others
        off[i] = off_bounds[i] = np.nan  # nobody recorded what follows this first candidate
    return replace(seen, tokens=tokens, off_chances=off, off_bounds=off_bounds)


def _fit_logistic(x: Floats, hits: Flags) -> tuple[float, float]:
    """Intercept and slope by Newton's method; a little ridge keeps separable data finite."""
    design = np.stack([np.ones_like(x), x], axis=1)
    weights = np.zeros(2)
    for _ in range(50):
        chance = expit(design @ weights)
        slope = design.T @ (hits - chance) - 1e-3 * weights
        curve = (design.T * (chance * (1.0 - chance))) @ design + 1e-3 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        weights = weights + np.clip(step, -4.0, 4.0)
        if np.abs(step).max() < 1e-9:
            break
    return float(weights[0]), float(weights[1])


def _logit(p: Floats) -> Floats:
    found: Floats = logit(np.clip(p, 1e-12, 1.0 - 1e-12))
    return found
