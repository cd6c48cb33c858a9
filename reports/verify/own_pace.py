"""Replays at the pace of each run's own minute. Torch-free.

The machine's pace changes within a verification, and a configuration that met more slow minutes than another was not
foretold too fast. The replay is linear in what a model's step takes longer, and in what a prompt does beyond it: each
run of a text is given what its own minute's took longer than those of all runs in the mean, times what a second more
adds to that text. So its mean over all runs is that at the mean pace, but errors do not scatter by the minutes that a
configuration met. Only timings between the runs tell, never the runs.

A minute's timing is the mean of those just before and behind the run. Single timings scatter by more than a minute
does, and so it counts by its reliability, 2 r / (1 + r) for the mean of two (Spearman 1910 and Brown 1910), r being the
correlation of neighbouring timings over the whole run.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibrate.artifact import Artifact
from calibrate.costs.drift import ContentionSample, Drift, PlacedModel, adjusted_for_drift
from engine.configuration import Configuration
from engine.models.specs import TARGET
from engine.record import Run
from reports.verify.verification import Foretold, Sample

MORE = 0.05  # of a step, or of what forwards take beyond it, by which it is made longer to see what that adds
FEWEST = 16  # timings, below which nothing is known of how neighbours correlate

Part = Literal["step", "rows"]  # of a forward: its step, and what further rows take beyond it
PARTS: tuple[Part, ...] = ("step", "rows")
Floats = NDArray[np.float64]
ReplayAll = Callable[[Artifact], Mapping[Configuration, Sequence[Run]]]


def longer_by_minute(timings: Floats) -> Floats:
    """What an operation took longer in the minute behind each of its timings than over all of them; in seconds."""
    around = np.append((timings[:-1] + timings[1:]) / 2.0, timings[-1])
    longer: Floats = reliability(timings) * (around - timings.mean())
    return longer


def reliability(timings: Floats) -> float:
    """Which share of the variance of the mean of two neighbours is the pace's own, 0 to 1; in the order timed."""
    if len(timings) < FEWEST or not min(timings[:-1].std(), timings[1:].std()):
        return 0.0
    correlation = max(0.0, float(np.corrcoef(timings[:-1], timings[1:])[0, 1]))
    return 2.0 * correlation / (1.0 + correlation)


def _times_more(drift: Drift, part: Part) -> Floats:
    """By how many times MORE a part took longer in the minute behind each timing than over all of them."""
    if part == "step":
        return longer_by_minute(drift.counted) / (MORE * drift.step)
    if not drift.rows:
        return np.zeros(len(drift.now))
    rows = drift.rows_counted
    return longer_by_minute(rows) / (MORE * float(rows.mean()))


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

    def replayed(role: bool | None = None, part: Part = "step") -> Mapping[Configuration, Sequence[Run]]:
        """With one part of the target (True) or the drafts (False) longer by MORE; None: of neither."""

        def even(one: Drift) -> Drift:
            # What minutes take longer is added below, so that forwards scatter by the rest alone.
            steps = one.counted - longer_by_minute(one.counted)
            more = MORE if role is (one.model == TARGET) else 0.0
            if part == "rows":
                return one.at(steps, 1.0 + more)
            return one.at(steps + more * one.step)

        return replay_all(adjusted_for_drift(artifact, [even(one) for one in pace], crowds))

    base = replayed()
    longer = {part: {(one.placement, one.model): _times_more(one, part) for one in pace} for part in PARTS}
    slower = {part: {role: replayed(role, part) for role in (True, False)} for part in PARTS}
    found = {}
    for configuration, mine in samples.items():
        seconds = np.array([run.seconds for run in base[configuration]])
        more = np.zeros(len(seconds))
        repeats = np.bincount([sample.prompt for sample in mine], minlength=len(seconds))
        for sample in mine:
            for placed, index in timed[sample.order].items():
                for part in PARTS:
                    run = slower[part][placed[1] == TARGET][configuration][sample.prompt]
                    each = (run.seconds - seconds[sample.prompt]) * longer[part][placed][index]
                    more[sample.prompt] += each / repeats[sample.prompt]
        found[configuration] = Foretold(
            tokens=tuple(len(run.tokens) for run in base[configuration]),
            seconds=tuple((seconds + more).tolist()),
        )
    return found
