"""How well H-RAD predicts, beside the base rate and beside the draft's own confidence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from engine.metrics import Estimate, ratio_of_sums
from engine.policies.prediction import classify

CLASSES = ("none", "some", "all")  # of a line's tokens are accepted
LEAST = 1e-6  # a chance predicted counts as this at least, or one surprise would make a log-loss infinite


@dataclass(frozen=True)
class Quality:
    """Of predicting lines of `tokens` tokens, on all positions that have so many behind them.

    `confusion[truth][predicted]` counts positions, in the order of CLASSES. `log_loss` and `base_log_loss` are nats
    a position, and `gain` is the latter less the former, with its 95% interval over prompts. `base_accuracy` is
    the likeliest class's share. The areas under the ROC curve are of telling "none" and "all" from the rest: by
    H-RAD, and by the draft's confidence in its first token and in all of them (NaN where only one kind occurs).
    """

    tokens: int
    prompts: int
    positions: int
    confusion: tuple[tuple[int, ...], ...]
    accuracy: float
    base_accuracy: float
    log_loss: float
    base_log_loss: float
    gain: Estimate
    auc_none: float
    auc_all: float
    confidence_auc_none: float
    confidence_auc_all: float


def quality(
    predicted: Sequence[Tensor],
    base: Sequence[Tensor],
    hits: Sequence[Tensor],
    chances: Sequence[Tensor],
    tokens: int,
) -> Quality | None:
    """The figures over prompts: chances of runs [T, R + 1] as predicted and by base rate, then `Agreement`'s [T].

    None if no text has so many tokens.
    """
    kinds: list[NDArray[np.int_]] = []
    told: list[NDArray[np.int_]] = []
    by_class: list[NDArray[np.float64]] = []
    sure: list[NDArray[np.float64]] = []
    gains: list[float] = []
    losses: list[tuple[float, float]] = []
    for mine, rate, hit, chance in zip(predicted, base, hits, chances, strict=True):
        usable = len(hit) - tokens
        if usable < 1:
            continue
        behind = np.lib.stride_tricks.sliding_window_view(hit.numpy()[1:], tokens)
        confident = np.lib.stride_tricks.sliding_window_view(chance.double().numpy()[1:], tokens)
        kind = np.where(~behind[:, 0], 0, np.where(behind.all(axis=1), 2, 1))
        split = _classes(mine[:usable], tokens)
        each = np.arange(usable)
        loss = -np.log(split[each, kind].clip(LEAST))
        base_loss = -np.log(_classes(rate[:usable], tokens)[each, kind].clip(LEAST))
        kinds.append(kind)
        told.append(np.array([classify(row, tokens) for row in mine[:usable].tolist()]))
        by_class.append(split)
        sure.append(np.stack([1.0 - confident[:, 0], confident.prod(axis=1)], axis=1))
        losses.append((float(loss.sum()), float(base_loss.sum())))
        gains.append(float((base_loss - loss).sum()))
    if not kinds:
        return None
    truth, said = np.concatenate(kinds), np.concatenate(told)
    split, confidence = np.concatenate(by_class), np.concatenate(sure)
    positions = len(truth)
    confusion = tuple(
        tuple(int(((truth == t) & (said == s)).sum()) for s in range(len(CLASSES)))
        for t in range(len(CLASSES))
    )
    return Quality(
        tokens=tokens,
        prompts=len(kinds),
        positions=positions,
        confusion=confusion,
        accuracy=float((truth == said).mean()),
        base_accuracy=max(map(sum, confusion)) / positions,
        log_loss=sum(mine for mine, _ in losses) / positions,
        base_log_loss=sum(rate for _, rate in losses) / positions,
        gain=ratio_of_sums(gains, [len(kind) for kind in kinds]),
        auc_none=auc(split[:, 0], truth == 0),
        auc_all=auc(split[:, 2], truth == 2),
        confidence_auc_none=auc(confidence[:, 0], truth == 0),
        confidence_auc_all=auc(confidence[:, 1], truth == 2),
    )


def auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """The chance that a positive has the higher score, ties counting half; NaN without both kinds."""
    count, others = int(positive.sum()), int((~positive).sum())
    if not count or not others:
        return float("nan")
    ranks = float(rankdata(scores)[positive].sum())
    return (ranks - count * (count + 1) / 2) / (count * others)


def describe(name: str, found: Quality) -> Iterator[str]:
    """Quality for a person, line by line."""
    yield (
        f"{name}, lines of {found.tokens}: log-loss {found.log_loss:.3f} nats against {found.base_log_loss:.3f} by "
        f"base rate, gain {found.gain.value:.3f} ({found.gain.low:.3f} to {found.gain.high:.3f}); the right class "
        f"at {found.accuracy:.1%} against {found.base_accuracy:.1%} of {found.positions} positions on "
        f"{found.prompts} prompts"
    )
    yield (
        f"  area under the curve, none accepted: {found.auc_none:.2f} (draft's confidence "
        f"{found.confidence_auc_none:.2f}); all: {found.auc_all:.2f} ({found.confidence_auc_all:.2f})"
    )
    for kind, row in zip(CLASSES, found.confusion, strict=True):
        cells = ", ".join(f"{told} {count}" for told, count in zip(CLASSES, row, strict=True))
        yield f"  {kind} accepted, predicted as: {cells}"


def _classes(chances: Tensor, tokens: int) -> NDArray[np.float64]:
    """Chances [n, 3] of CLASSES from those of runs [n, R + 1]."""
    rows = chances.double().numpy()
    none, everything = rows[:, 0], rows[:, min(tokens, rows.shape[1] - 1) :].sum(axis=1)
    return np.stack([none, 1.0 - none - everything, everything], axis=1)
