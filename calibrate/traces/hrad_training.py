"""Training H-RAD's network (`engine.models.hrad`) and predicting each prompt by a network that never saw it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import ConfigurationError
from engine.models.hrad import LONGEST, Predictor, run_chances


@dataclass(frozen=True)
class Plan:
    """How a network is trained: AdamW on batches of positions, until prompts held out say that it is enough.

    `dropout` of inputs and of hidden units; `held_out` is a share of the prompts; `patience` epochs without gain
    on them end the training, and the best epoch's network is kept.
    """

    hidden: int = 64
    dropout: float = 0.5
    weight_decay: float = 1.0
    rate: float = 5e-4
    batch: int = 256
    epochs: int = 30
    patience: int = 4
    held_out: float = 0.15


@dataclass(frozen=True)
class CrossFit:
    """For each prompt, chances [T, R + 1] of the run behind each of its T tokens, by what never saw that prompt.

    `predicted` by networks; `base` by the base rate of the same training prompts, equal in all rows. `unaware`: for
    each prompt the network, to predict other texts behind it.
    """

    unaware: tuple[Predictor, ...]
    predicted: tuple[Tensor, ...]
    base: tuple[Tensor, ...]


def outcomes(hits: Tensor, longest: int = LONGEST) -> tuple[Tensor, Tensor]:
    """Whether the run behind each of T tokens goes on at its step k, and whether that is known; bool [T, R] each.

    `hits` bool [T] (`calibrate.traces.hrad_examples.Agreement`). Step k is known if the text reaches so far and all
    steps before it went on. So a run that the text's end cuts off is not taken for a short one: all its steps count as
    survived and none as its last. That holds for an end token too, since no draft token behind it is ever judged.
    """
    length = len(hits)
    step = torch.arange(length)[:, None] + 1 + torch.arange(longest)[None, :]
    exists = step < length
    went_on = hits[step.clamp_max(length - 1)] & exists
    unbroken = functional.pad(went_on.int().cumprod(dim=1).bool(), (1, 0), value=True)[:, :-1]
    return went_on, exists & unbroken


def base_log_odds(hits: Sequence[Tensor], longest: int = LONGEST) -> Tensor:
    """The log-odds [R] that a run goes on at each step, by counts alone with half a case added to both."""
    counted = [outcomes(h, longest) for h in hits]
    known = sum(known.sum(dim=0) for _, known in counted)
    on = sum((went_on & known).sum(dim=0) for went_on, known in counted)
    return torch.as_tensor((on + 0.5) / (known - on + 0.5), dtype=torch.float32).log()


def fit(
    features: Sequence[Tensor], hits: Sequence[Tensor], plan: Plan | None = None, *, seed: int = 0
) -> Predictor:
    """A network for the lessons of two prompts or more, from `features` [T, F] and `hits` bool [T] of each.

    It begins at the base rate, and is that if the prompts held out show no gain. The loss is the negative
    log-likelihood of the runs, those cut off included (see `outcomes`). ConfigurationError for a single prompt.
    """
    plan = plan or Plan()
    if len(features) < 2:
        raise ConfigurationError("H-RAD is trained on two prompts or more, since some are held out.")
    order = random.Random(seed).sample(range(len(features)), len(features))
    held = order[: max(1, round(plan.held_out * len(order)))]
    taught = order[len(held) :]
    x, went_on, known = _positions(features, hits, taught)
    test_x, test_on, test_known = _positions(features, hits, held)
    mean, scale = x.mean(dim=0), _inverse(x.std(dim=0))
    generator = torch.Generator().manual_seed(seed)
    width = x.shape[1]
    inner = torch.randn(plan.hidden, width, generator=generator) / width**0.5
    weights = [inner, torch.zeros(plan.hidden), torch.zeros(LONGEST, plan.hidden)]
    weights.append(base_log_odds([hits[i] for i in taught]))
    inner, inner_bias, outer, outer_bias = (w.requires_grad_() for w in weights)
    optimiser = torch.optim.AdamW(
        [
            {"params": [inner, outer], "weight_decay": plan.weight_decay},
            {"params": [inner_bias, outer_bias], "weight_decay": 0.0},
        ],
        lr=plan.rate,
    )

    def drop(values: Tensor) -> Tensor:
        kept = torch.rand(values.shape, generator=generator) >= plan.dropout
        return values * kept / (1.0 - plan.dropout)

    def log_odds(rows: Tensor, training: bool) -> Tensor:
        standard = (rows - mean) * scale
        hidden = functional.silu(
            functional.linear(drop(standard) if training else standard, inner, inner_bias)
        )
        return functional.linear(drop(hidden) if training else hidden, outer, outer_bias)

    def tested() -> float:
        with torch.no_grad():
            return float(_loss(log_odds(test_x, False), test_on, test_known))

    def snapshot() -> Predictor:
        return Predictor(mean, scale, *(w.detach().clone() for w in (inner, inner_bias, outer, outer_bias)))

    best, kept, stale = tested(), snapshot(), 0
    for _ in range(plan.epochs):
        for rows in torch.split(torch.randperm(len(x), generator=generator), plan.batch):
            optimiser.zero_grad()
            _loss(log_odds(x[rows], True), went_on[rows], known[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        now = tested()
        if now < best:
            best, kept, stale = now, snapshot(), 0
        else:
            stale += 1
        if stale == plan.patience:
            break
    return kept


def cross_fit(
    features: Sequence[Tensor],
    hits: Sequence[Tensor],
    plan: Plan | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
) -> CrossFit:
    """Foresee every prompt by a network trained on others; `fit` says what is given.

    Prompts are dealt into `folds` parts at random. ConfigurationError for fewer than three prompts.
    """
    count = len(features)
    if count < 3:
        raise ConfigurationError("H-RAD is tested on three prompts or more: two to train on, one to predict.")
    order = random.Random(seed).sample(range(count), count)
    unaware: dict[int, Predictor] = {}
    base: dict[int, Tensor] = {}
    folds = min(folds, count)
    for fold in range(folds):
        held = order[fold::folds]
        others = [i for i in order if i not in held]
        predictor = fit([features[i] for i in others], [hits[i] for i in others], plan, seed=seed + fold)
        rate = run_chances(base_log_odds([hits[i] for i in others])[None])
        for i in held:
            unaware[i], base[i] = predictor, rate.expand(len(hits[i]), -1)
    return CrossFit(
        tuple(unaware[i] for i in range(count)),
        tuple(unaware[i].predict(features[i]) for i in range(count)),
        tuple(base[i] for i in range(count)),
    )


def _positions(
    features: Sequence[Tensor], hits: Sequence[Tensor], prompts: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Features float32 [n, F], and `outcomes` [n, R], of all positions of some prompts that show anything."""
    counted = [outcomes(hits[i]) for i in prompts]
    went_on, known = (torch.cat(parts) for parts in zip(*counted, strict=True))
    shows = known[:, 0]  # not so for a text's last token, behind which there is nothing
    x = torch.cat([features[i] for i in prompts])[shows].float()
    return x, went_on[shows].float(), known[shows].float()


def _loss(log_odds: Tensor, went_on: Tensor, known: Tensor) -> Tensor:
    """Nats a position."""
    steps = functional.binary_cross_entropy_with_logits(log_odds, went_on, weight=known, reduction="sum")
    return steps / max(1, len(log_odds))


def _inverse(spread: Tensor) -> Tensor:
    """One over a standard deviation; a feature that never changes stays out."""
    return torch.where(spread > 1e-6, 1.0 / spread.clamp_min(1e-6), torch.zeros_like(spread))
