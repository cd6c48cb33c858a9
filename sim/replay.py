"""Replay a calibration: any configuration over the recorded texts, without running a model."""

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from calibrate.artifact import Artifact, DraftTrace
from engine.configuration import Configuration
from engine.errors import CalibrationError, ConfigurationError
from engine.placement import PLACEMENTS, Placement
from engine.policies import load_policy
from engine.record import Run
from sim.acceptance import AcceptanceSource, PathOnly, TraceAcceptance, off_path_runs
from sim.alignment import Shifted, shift_alignment
from sim.calibrated_costs import CalibratedCosts
from sim.drawn_acceptance import DrawnAcceptance
from sim.durations import durations
from sim.objectives import Tally
from sim.script import PROMPT_TOKEN, Scripts, write_script
from sim.temperature import at_temperature
from sim.what_if import WhatIf
from sim.world import Played, play, record

NO_CHANGE = WhatIf()


@dataclass
class Replay:
    """A calibration under a what-if, with what its configurations share worked out once.

    `prompts` (indices; none: all) and `tokens` (at most so many for each prompt) narrow it. With one `seed`,
    durations and drawn confidences are the same for every configuration. `outside` counts the operations
    that went beyond what was measured, `operations` all; both grow with each replay. Configurations that differ in
    their placement alone are best replayed one behind another (see `scripts`).
    """

    artifact: Artifact
    what_if: WhatIf = NO_CHANGE
    seed: int = 0
    prompts: Sequence[int] | None = None
    tokens: int | None = None
    outside: Counter[str] = field(default_factory=Counter)
    operations: int = 0
    _sources: dict[tuple[str | None, bool, bool], list[AcceptanceSource]] = field(default_factory=dict)
    _shifted: dict[str, Shifted] = field(default_factory=dict)
    _tables: dict[tuple[Placement, str | None], CalibratedCosts] = field(default_factory=dict)
    _written: tuple[tuple[tuple[str, object], ...], Scripts] | None = None

    def __post_init__(self) -> None:
        self.artifact = at_temperature(self.artifact, self.what_if.temperature)
        count = len(self.artifact.traces)
        self._chosen = range(count) if self.prompts is None else self.prompts
        self._prompts = [trace.prompt.tolist() or [PROMPT_TOKEN] for trace in self.artifact.traces]
        if any(not 0 <= index < count for index in self._chosen) or not self._chosen:
            raise ConfigurationError(
                f"the calibration has {count} prompts, numbered from 0; name some of them."
            )

    @property
    def placements(self) -> tuple[Placement, ...]:
        """The placements that were measured."""
        measured = {costs.placement for costs in self.artifact.calibration.placements}
        return tuple(placement for placement in PLACEMENTS if placement in measured)

    def runs(self, configuration: Configuration) -> list[Run]:
        """One run a trace. ConfigurationError or CalibrationError for what was not recorded or measured."""
        limit, shared = self.artifact.calibration.max_tokens, configuration.shares_device
        return [
            record(
                played,
                shared,
                "end-of-text"
                if len(played.script.path) < limit and not self._is_cut(index)
                else "token-limit",
            )
            for index, played in zip(self._chosen, self._play(configuration), strict=True)
        ]

    def tallies(self, configuration: Configuration) -> list[Tally]:
        """Each of `runs` in brief, without making records."""
        seconds = [played.seconds for played in self._play(configuration)]
        counts = self.scripts(configuration).counts.tolist()
        return [Tally(took, *its) for took, its in zip(seconds, counts, strict=True)]

    def scripts(self, configuration: Configuration) -> Scripts:
        """What the policy does along each text; those asked for last are kept, since placements share them."""
        key = tuple((name, getattr(configuration, name)) for name in sorted(configuration.uses))
        key = ("policy", configuration.policy), *key
        if self._written is None or self._written[0] != key:
            decode, sources = load_policy(configuration.policy), self.sources(configuration)
            scripts = [
                write_script(configuration, source, self._prompts[index], decode)
                for index, source in zip(self._chosen, sources, strict=True)
            ]
            self._written = key, Scripts(scripts, tuple(self._chosen))
        return self._written[1]

    def forget_scripts(self) -> None:
        """Write them anew when they are asked for again."""
        self._written = None

    def _play(self, configuration: Configuration) -> Iterator[Played]:
        scripts, shared = self.scripts(configuration), configuration.shares_device
        costs = self._costs(configuration)
        before, link = costs.outside, None if shared else self.what_if.link
        given = durations(scripts, costs, link, self.artifact.temperature > 0.0)
        self.outside += costs.outside - before
        self.operations += int(scripts.work.forwards.sum())
        for script, its in zip(scripts.scripts, given, strict=True):
            yield play(script, its, costs.slow_downs, shared)

    def _costs(self, configuration: Configuration) -> CalibratedCosts:
        placement = configuration.placement
        draft = configuration.draft_among(self.artifact.calibration.drafts)
        if (placement, draft) not in self._tables:
            measured = self.artifact.calibration.costs(placement)
            self._tables[placement, draft] = CalibratedCosts.of(measured, draft, self.what_if, self.seed)
        return self._tables[placement, draft]

    def _is_cut(self, index: int) -> bool:
        return self.tokens is not None and self.tokens < len(self.artifact.traces[index].path)

    def sources(self, configuration: Configuration) -> list[AcceptanceSource]:
        """Where the tokens of each text come from. ConfigurationError or CalibrationError as for `runs`."""
        draft = configuration.draft_among(self.artifact.calibration.drafts)
        by_bound = "min_bound" in configuration.uses
        drawn = (
            configuration.draw_drafts
            and "draw_drafts" in configuration.uses
            and self.artifact.temperature > 0.0
        )
        key = draft, by_bound, drawn
        if key not in self._sources:
            if draft is None:
                self._sources[key] = [self._path(index) for index in self._chosen]
            else:
                traced = self._traced(draft, by_bound)
                self._sources[key] = list(self._drawn(draft, traced) if drawn else traced)
        return self._sources[key]

    def _path(self, index: int) -> PathOnly:
        return PathOnly(tuple(self.artifact.traces[index].path[: self.tokens].tolist()))

    def _traced(self, draft: str, by_bound: bool) -> list[TraceAcceptance]:
        views, recorded = self.views(draft), [trace.drafts[draft] for trace in self.artifact.traces]
        if by_bound:  # a policy that stops by AdaEDL's bound asks for nothing else of the draft's doubts
            if any(np.isnan(view.bounds).any() for view in views):
                raise CalibrationError(
                    "the calibration recorded no entropies, by which this policy stops; run 'specbranch calibrate "
                    "--again'."
                )
            views, recorded = (list(map(_in_bounds, some)) for some in (views, recorded))
        runs = off_path_runs(recorded)
        if not runs:
            raise CalibrationError(
                f"the calibration recorded nothing of draft '{draft}'; run 'specbranch calibrate --again'."
            )
        return [
            TraceAcceptance.of(
                self.artifact.traces[index].path[: self.tokens],
                _head(views[index], self.tokens),
                runs,
                [self.seed, index, _number(draft)],
            )
            for index in self._chosen
        ]

    def _drawn(self, draft: str, traced: Sequence[TraceAcceptance]) -> Iterator[DrawnAcceptance]:
        if self.what_if.alignment is not None:
            raise ConfigurationError(
                "a shifted alignment says nothing of drawn draft tokens; replay it with draw_drafts: false."
            )
        for index, source in zip(self._chosen, traced, strict=True):
            trace = self.artifact.traces[index]
            yield DrawnAcceptance.of(
                source,
                trace.drafts[draft].true_chance[: self.tokens],
                trace.chances[: self.tokens],
                self.seed + index,
            )

    def views(self, draft: str) -> Sequence[DraftTrace]:
        """How a draft sees each trace, shifted to the alignment that is wished."""
        traces, wished = self.artifact.traces, self.what_if.alignment
        views = [trace.drafts[draft] for trace in traces]
        if wished is None:
            return views
        if draft not in self._shifted:
            seed = [self.seed, _number(draft)]
            self._shifted[draft] = shift_alignment([trace.path for trace in traces], views, wished, seed)
        return self._shifted[draft].views

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


def replay(
    artifact: Artifact,
    configuration: Configuration,
    *,
    what_if: WhatIf = NO_CHANGE,
    seed: int = 0,
    prompts: Sequence[int] | None = None,
    tokens: int | None = None,
) -> list[Run]:
    """Runs of one configuration, one for each trace of the artifact; see `Replay` for many configurations."""
    return Replay(artifact, what_if, seed, prompts, tokens).runs(configuration)


def _head(seen: DraftTrace, tokens: int | None) -> DraftTrace:
    """The first `tokens` positions of a view."""
    return DraftTrace(*(getattr(seen, name)[:tokens] for name in DraftTrace.__dataclass_fields__))


def _in_bounds(seen: DraftTrace) -> DraftTrace:
    """A view whose confidences are AdaEDL's bounds."""
    chances = np.column_stack([seen.bounds, seen.chances[:, 1:]])
    return replace(seen, chances=chances, off_chances=seen.off_bounds)


def _number(name: str) -> int:
    """A name as a seed; the same in every process, unlike `hash`."""
    return zlib.crc32(name.encode())
