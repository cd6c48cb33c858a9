"""Replays at the pace of each run's own minute."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from artifacts import artifact

from calibrate.artifact import Artifact
from calibrate.cost_records import prompt_of, step_of
from calibrate.costs.drift import PlacedModel, Timing, adjusted_for_drift, drifts
from engine.configuration import Configuration
from engine.models.specs import TARGET
from engine.record import Run
from reports.verify.own_pace import FEWEST, reliability, replays_at_own_pace
from reports.verify.verification import Foretold, Sample
from sim.world.replay import Replay

HERE = artifact(jitter=False)
TEXTS = range(len(HERE.traces))
DRAFT = next(iter(HERE.recorded.drafts))
ALONE = Configuration(policy="autoregressive", placement="in-turn")
BOTH = Configuration(policy="speculative", placement="in-turn", draft=DRAFT, draft_length=3)
REPEATS = 12


def replay_all(made: Artifact) -> dict[Configuration, list[Run]]:
    world = Replay(made)
    return {c: world.runs(c) for c in (ALONE, BOTH)}


def met(
    factors: Sequence[tuple[float, float]],
) -> tuple[dict[Configuration, Foretold], dict[Configuration, np.ndarray]]:
    """Replays at own pace, and what each text really took in the mean of its repeats.

    Run i meets `factors[i]`: how many times as long steps take, and what prompts take beyond them.
    """
    costs = HERE.costs.at("in-turn")

    def timing(model: str, step: float, rows: float) -> Timing:
        prompt, one = prompt_of(costs, model), float(np.median(step_of(costs, model).seconds))
        assert prompt is not None
        return Timing(step * one, step * one + rows * (float(np.median(prompt.seconds)) - one))

    timings: dict[PlacedModel, list[Timing]] = {("in-turn", TARGET): [], ("in-turn", DRAFT): []}
    samples: dict[Configuration, list[Sample]] = {ALONE: [], BOTH: []}
    took = {c: np.zeros(len(TEXTS)) for c in samples}
    timed: list[dict[PlacedModel, int]] = []
    real = {
        factor: replay_all(
            adjusted_for_drift(
                HERE,
                tuple(drifts(HERE.costs, {("in-turn", m): [timing(m, *factor)] for m in (TARGET, DRAFT)})),
            )
        )
        for factor in set(factors)
    }
    base = replay_all(HERE)
    for order, (repeat, prompt, c) in enumerate(product(range(REPEATS), TEXTS, (ALONE, BOTH))):
        models = [TARGET] if c is ALONE else [TARGET, DRAFT]
        timed.append({("in-turn", model): len(timings["in-turn", model]) for model in models})
        for model in models:
            timings["in-turn", model].append(timing(model, *factors[order]))
        samples[c].append(Sample(prompt=prompt, repeat=repeat, order=order, run=base[c][prompt]))
        took[c][prompt] += real[factors[order]][c][prompt].seconds / REPEATS
    pace = tuple(drifts(HERE.costs, timings))
    return replays_at_own_pace(HERE, pace, (), samples, timed, replay_all), took


def test_one_pace_leaves_replays_as_they_are() -> None:
    found, took = met([(1.2, 1.4)] * (REPEATS * len(TEXTS) * 2))
    for c in (ALONE, BOTH):
        assert found[c].seconds == pytest.approx(took[c])
        assert found[c].tokens == tuple(len(run.tokens) for run in replay_all(HERE)[c])


@pytest.mark.parametrize("moody", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)], ids=["steps", "rows", "both"])
def test_each_text_is_at_the_pace_of_the_minutes_that_it_met(moody: tuple[float, float]) -> None:
    """Two moods in stretches of twenty runs, which texts meet unequally; the mean pace knows nothing of that."""
    count = REPEATS * len(TEXTS) * 2
    own = mean = 0.0
    for seed in range(4):
        moods = np.cumsum(np.random.default_rng(seed).random(count) < 0.05) % 2
        factors = 1.0 + np.where(moods, 0.4, -0.1)[:, None] * moody
        found, took = met([(step, rows) for step, rows in factors.tolist()])
        step, rows = factors.mean(axis=0).tolist()
        even, _ = met([(step, rows)] * count)
        own += sum(np.abs(np.array(found[c].seconds) - took[c]).sum() for c in took)
        mean += sum(np.abs(np.array(even[c].seconds) - took[c]).sum() for c in took)
    assert own < 0.75 * mean


def test_a_minute_counts_by_how_neighbours_correlate() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(4000)
    mood = np.repeat(rng.standard_normal(100), 40)
    assert reliability(noise) < 0.1
    assert reliability(mood) > 0.95
    # Of a mood with as much noise, the mean of two has 1 / (1 + 1/2) of its variance from the mood.
    assert reliability(mood + noise) == pytest.approx(2 / 3, abs=0.05)
    assert reliability(mood[: FEWEST - 1]) == 0.0
    assert reliability(np.ones(100)) == 0.0
