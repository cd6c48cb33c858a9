"""Replay a calibration: any configuration over the recorded texts, without running a model."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from calibrate.artifact import Artifact
from calibrate.cost_records import MeasuredCosts
from engine.configuration import Configuration
from engine.record import Run
from engine.runtime.placement import PLACEMENTS, Placement
from scenarios.what_if import WhatIf
from sim.costs.durations import Timings, behind_pauses, faster_target, without_pauses
from sim.costs.measured import CalibratedCosts
from sim.scripts.texts import Texts
from sim.scripts.work import Scripts
from sim.world.closed_form_time import total_seconds
from sim.world.reach import far_note, is_far, measured_context
from sim.world.simulation import Played, play_all, record

NO_CHANGE = WhatIf()


class Tally(NamedTuple):
    """A replay in brief: its seconds, and the draft's tokens by what became of them (see `engine.record`)."""

    seconds: float
    drafted: int
    rollback: int
    hedge: int


@dataclass
class Replay:
    """A calibration under a what-if, with what its configurations share worked out once.

    `prompts` (indices; none: all) and `tokens` (at most so many for each prompt) narrow it. With one `seed`,
    durations and drawn confidences are the same for every configuration. `outside` counts the operations
    that went beyond what was measured, `operations` all; both grow with each replay.
    """

    artifact: Artifact
    what_if: WhatIf = NO_CHANGE
    seed: int = 0
    prompts: Sequence[int] | None = None
    tokens: int | None = None
    outside: Counter[str] = field(default_factory=Counter)
    operations: int = 0
    texts: Texts = field(init=False)
    _tables: dict[tuple[Placement, str | None], CalibratedCosts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        alignment, temperature = self.what_if.alignment, self.what_if.temperature
        self.texts = Texts(self.artifact, alignment, temperature, self.seed, self.prompts, self.tokens)

    def under(self, what_if: WhatIf, costs: MeasuredCosts | None = None) -> "Replay":
        """The same under another what-if, or by other `costs`; where that changes nothing but times, both share their
        texts."""
        artifact = replace(self.artifact, costs=costs or self.artifact.costs)
        other = Replay(artifact, what_if, self.seed, self.prompts, self.tokens)
        if (what_if.alignment, what_if.temperature) == (self.what_if.alignment, self.what_if.temperature):
            other.texts = self.texts
        return other

    @property
    def placements(self) -> tuple[Placement, ...]:
        """The placements that were measured."""
        measured = {costs.placement for costs in self.texts.artifact.costs.placements}
        return tuple(placement for placement in PLACEMENTS if placement in measured)

    def runs(self, configuration: Configuration) -> list[Run]:
        """One run a trace. ConfigurationError or CalibrationError for what was not recorded or measured."""
        limit, shared = self.texts.artifact.recorded.max_tokens, configuration.shares_device
        return [
            record(
                played,
                shared,
                "end-of-text"
                if len(played.script.path) < limit and not self.texts.is_cut(index)
                else "token-limit",
            )
            for index, played in zip(self.texts.chosen, self._play(configuration), strict=True)
        ]

    def tallies(self, configuration: Configuration) -> list[Tally]:
        """Each of `runs` in brief, without making records."""
        scripts, costs, given = self._timed(configuration)
        seconds = total_seconds(scripts, given, costs.contention, configuration.shares_device).tolist()
        return [Tally(took, *its) for took, its in zip(seconds, scripts.counts.tolist(), strict=True)]

    def tallies_at(self, configuration: Configuration, speeds: Sequence[float]) -> list[list[Tally]]:
        """What `tallies` tells, were the target so many times as fast as it is: for each of the speeds.

        As a replay under another what-if would, but what the speeds share is worked out once.
        """
        scripts, costs, steady = self._steady(configuration)
        counts, shared, found = scripts.counts.tolist(), configuration.shares_device, []
        for speed in speeds:
            given = behind_pauses(scripts, costs, faster_target(scripts, steady, speed))
            seconds = total_seconds(scripts, given, costs.contention, shared).tolist()
            found.append([Tally(took, *its) for took, its in zip(seconds, counts, strict=True)])
        return found

    def _play(self, configuration: Configuration) -> list[Played]:
        scripts, costs, given = self._timed(configuration)
        return play_all(scripts, given, costs.contention, configuration.shares_device)

    def _timed(self, configuration: Configuration) -> tuple[Scripts, CalibratedCosts, Timings]:
        """The texts' scripts, their costs, and how long their jobs take by these."""
        scripts, costs, steady = self._steady(configuration)
        return scripts, costs, behind_pauses(scripts, costs, steady)

    def _steady(self, configuration: Configuration) -> tuple[Scripts, CalibratedCosts, Timings]:
        """The same, but for what a draft takes longer behind a pause."""
        scripts, costs = self.texts.scripts(configuration), self._costs(configuration)
        link = None if configuration.shares_device else self.what_if.link
        before, sampled = costs.outside, self.texts.artifact.temperature > 0.0
        given = without_pauses(scripts, costs, link, sampled)
        self.outside += costs.outside - before
        self.operations += int(scripts.work.forwards.sum())
        return scripts, costs, given

    def _costs(self, configuration: Configuration) -> CalibratedCosts:
        placement = configuration.placement
        draft = configuration.draft_among(self.texts.artifact.recorded.drafts)
        if (placement, draft) not in self._tables:
            measured = self.artifact.costs.at(placement)
            self._tables[placement, draft] = CalibratedCosts.of(measured, draft, self.what_if, self.seed)
        return self._tables[placement, draft]

    @property
    def longest_text(self) -> int:
        """How many tokens the longest text has, with its prompt."""
        traces = self.texts.artifact.traces
        return max(
            len(self.texts.tokens_before[index]) + len(traces[index].path[: self.tokens])
            for index in self.texts.chosen
        )

    def measured_context(self, configuration: Configuration) -> int:
        """The longest context behind which this configuration's forwards were measured."""
        draft = configuration.draft_among(self.texts.artifact.recorded.drafts)
        return measured_context(self.artifact.costs.at(configuration.placement), draft)

    def is_far(self, configuration: Configuration) -> bool:
        """Whether the texts reach farther than its costs can tell (`sim.world.reach`)."""
        return is_far(self.longest_text, self.measured_context(configuration))

    def far_notes(self, configuration: Configuration) -> tuple[str, ...]:
        """A sentence if so."""
        if not self.is_far(configuration):
            return ()
        return (far_note(self.longest_text, self.measured_context(configuration)),)

    def forget_notes(self) -> None:
        """Count anew what the notes tell."""
        self.outside.clear()
        self.operations = 0

    def notes(self) -> tuple[str, ...]:
        """What a reader of the results has to know."""
        return replay_notes(self.outside, self.operations)


def replay_notes(outside: Counter[str], operations: int) -> tuple[str, ...]:
    """A sentence if some of all `operations` went beyond what was measured."""
    if not outside:
        return ()
    parts = ", ".join(f"{count} {name}" for name, count in sorted(outside.items()))
    return (f"extrapolated beyond what was measured: {parts}, of {operations} forwards in all",)
