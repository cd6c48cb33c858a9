"""Replays at the pace of each run's own minute. Torch-free.

The machine's pace changes within a verification, and a configuration that met more slow minutes than another was not
foretold too fast. The replay is linear in what a model's step takes longer: each run of a text is given what its own
minute's steps took longer than those of all runs in the mean, times what a second more a step adds to that text. So its
mean over all runs is that at the mean pace, but errors do not scatter by the minutes that a configuration met. Only
timings between the runs tell, never the runs.

A minute's step is the mean of the timings just before and behind the run. Single timings scatter by more than a minute
does, and so it counts by its reliability, 2 r / (1 + r) for the mean of two (Spearman 1910 and Brown 1910), r being the
correlation of neighbouring timings over the whole run.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from calibrate.artifact import Artifact
from calibrate.costs.drift import ContentionSample, Drift, PlacedModel, adjusted_for_drift
from engine.configuration import Configuration
from engine.models.specs import TARGET
from engine.record import Run
from reports.verify.verification import Foretold, Sample

MORE = 0.05  # of a step, by which it is made longer to see what that adds
FEWEST = 16  # timings of a step, below which nothing is known of how neighbours correlate

Floats = NDArray[np.float64]
ReplayAll = Callable[[Artifact], Mapping[Configuration, Sequence[Run]]]


def longer_by_minute(drift: Drift) -> Floats:
    """What a step took longer in the minute behind each of its timings than over all of them, in seconds; [timings]."""
    steps = drift.counted
    around = np.append((steps[:-1] + steps[1:]) / 2.0, steps[-1])
    longer: Floats = reliability(steps) * (around - steps.mean())
    return longer


def reliability(steps: Floats) -> float:
    """Which share of the variance of the mean of two neighbours is the pace's own, 0 to 1; `steps`: in their order."""
    if len(steps) < FEWEST or not min(steps[:-1].std(), steps[1:].std()):
        return 0.0
    correlation = max(0.0, float(np.corrcoef(steps[:-1], steps[1:])[0, 1]))
    return 2.0 * correlation / (1.0 + correlation)


def replays_at_own_pace(
    artifact: Artifact,
    pace: Sequence[Drift],
    crowds: Sequence[ContentionSample],
    samples: Mapping[Configuration, Sequence[Sample]],
    timed: Sequence[Mapping[PlacedModel, int]],
    replay_all: ReplayAll,
) -> dict[Configuration, Foretold]:
    """Tokens and seconds of each text, each configuration's runs of it at their own pace.

    `artifact`: the measured texts by the calibration's costs as they were; `timed`: for each run in its order, which of
    its models' timings in `pace` came before it; `replay_all`: runs of all configurations by an artifact, a text each.
    """

    longer = {(one.placement, one.model): longer_by_minute(one) for one in pace}
    steps = {(one.placement, one.model): one.step for one in pace}

    def replayed(slower: Callable[[str], bool]) -> Mapping[Configuration, Sequence[Run]]:
        # What minutes take longer is added below, so that forwards scatter by the rest alone.
        even = [
            one.model_copy(
                update={
                    "now": tuple(
                        (
                            one.counted
                            - longer[one.placement, one.model]
                            + MORE * one.step * slower(one.model)
                        ).tolist()
                    )
                }
            )
            for one in pace
        ]
        return replay_all(adjusted_for_drift(artifact, even, crowds))

    base = replayed(lambda model: False)
    by_role = {
        True: replayed(lambda model: model == TARGET),
        False: replayed(lambda model: model != TARGET),
    }
    found = {}
    for configuration, mine in samples.items():
        seconds = np.array([run.seconds for run in base[configuration]])
        more = np.zeros(len(seconds))
        repeats = np.bincount([sample.prompt for sample in mine], minlength=len(seconds))
        for sample in mine:
            for placed, index in timed[sample.order].items():
                slower = by_role[placed[1] == TARGET][configuration][sample.prompt]
                each = (slower.seconds - seconds[sample.prompt]) / (MORE * steps[placed])
                more[sample.prompt] += each * longer[placed][index] / repeats[sample.prompt]
        found[configuration] = Foretold(
            tokens=tuple(len(run.tokens) for run in base[configuration]),
            seconds=tuple((seconds + more).tolist()),
        )
    return found
