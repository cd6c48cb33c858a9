"""Costs measured again while a verification runs: they tell a machine that changed from a model that is wrong.

A shared machine may be a tenth faster than it was when it was calibrated, half an hour before. What a configuration
would be predicted at with the costs of the verification's own time differs from the prediction by that change alone,
and from the measurement by what the model is off. No run of a configuration has a part in these costs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from calibrate.artifact import Artifact, PlacementCosts
from calibrate.costs import CostLaps, Laps
from calibrate.journal import Journal
from engine.pair import Pair

LAPS = Laps(fewest=3, seconds=0.0, together_seconds=0.15)


@contextmanager
def measuring_again(
    pair: Pair, artifact: Artifact, prompts: Sequence[Sequence[int]], seed: int
) -> Iterator[CostLaps]:
    """Laps over what `artifact` holds of costs, for prompts (token ids) as long as these; nothing is kept of them."""
    hrad = any(costs.foresight for costs in artifact.calibration.placements)
    with TemporaryDirectory() as folder:
        journal = Journal(Path(folder), [])
        yield CostLaps(pair, prompts, LAPS, seed, journal, lambda what, done, total: None, hrad)


def before_runs(runs: int) -> set[int]:
    """Before which of so many runs a lap is due; the last lap follows all of them."""
    between = LAPS.fewest - 1
    return {runs * i // between for i in range(between)}


def with_costs(artifact: Artifact, placements: Sequence[PlacementCosts]) -> Artifact:
    """The same texts and views, with other costs."""
    calibration = artifact.calibration.model_copy(update={"placements": tuple(placements)})
    return replace(artifact, calibration=calibration)
