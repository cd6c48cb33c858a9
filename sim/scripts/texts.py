"""The texts of a calibration as a simulation meets them, and what policies do along them: nothing here has a clock."""

import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from calibrate.artifact import Artifact
from calibrate.trace_records import DraftTrace
from engine.configuration import Configuration
from engine.errors import CalibrationError, ConfigurationError
from engine.policies import load_policy
from engine.policies.ngrams import NONE, NGrams, load_ngrams
from engine.policies.repetitions import Repetitions
from sim.acceptance.alignment import Shifted, shift_alignment
from sim.acceptance.sources import AcceptanceSource, PathOnly, TraceAcceptance, off_path_runs
from sim.acceptance.temperature import at_temperature
from sim.scripts.live import Play
from sim.scripts.script import PROMPT_TOKEN, write_script
from sim.scripts.work import Scripts

# Configurations whose scripts are kept, of about a megabyte each (60 texts of 128 tokens): enough for the placements of
# one, or for all that a what-if is to share with the next.
KEPT, MANY = 4, 64

_Key = tuple[tuple[str, object], ...]


@dataclass
class Texts:
    """A calibration's texts at a temperature, with what configurations share worked out once.

    `alignment`, if any, is what each draft is shifted to. `prompts` (indices; none: all) and `tokens` (at most so many
    for each prompt) narrow them. Drawn confidences follow `seed`, and are the same for every configuration. `kept`:
    how many configurations' scripts are.
    """

    artifact: Artifact
    alignment: float | None = None
    temperature: float = 0.0
    seed: int = 0
    prompts: Sequence[int] | None = None
    tokens: int | None = None
    kept: int = KEPT
    _sources: dict[tuple[str | None, bool, bool], list[AcceptanceSource]] = field(default_factory=dict)
    _shifted: dict[tuple[str, bool], Shifted] = field(default_factory=dict)
    _written: OrderedDict[_Key, Scripts] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.artifact = at_temperature(self.artifact, self.temperature)
        count = len(self.artifact.traces)
        self.chosen = range(count) if self.prompts is None else self.prompts
        self.tokens_before = [trace.prompt.tolist() or [PROMPT_TOKEN] for trace in self.artifact.traces]
        self._repetitions = [Repetitions() for _ in range(count)]
        if any(not 0 <= index < count for index in self.chosen) or not self.chosen:
            raise ConfigurationError(
                f"the calibration has {count} prompts, numbered from 0; name some of them."
            )

    def scripts(self, configuration: Configuration) -> Scripts:
        """What the policy does along each text, wherever the models run; those asked for lately are kept."""
        used = tuple((name, getattr(configuration, name)) for name in sorted(configuration.uses))
        key = ("policy", configuration.policy), *used
        if key not in self._written:
            decode, sources = load_policy(configuration.policy), self.sources(configuration)
            ngrams = self._ngrams(configuration)
            scripts = [
                write_script(
                    configuration, source, self.tokens_before[index], decode, ngrams, self._repetitions[index]
                )
                for index, source in zip(self.chosen, sources, strict=True)
            ]
            self._written[key] = Scripts(scripts, tuple(self.chosen))
            if len(self._written) > self.kept:
                self._written.popitem(last=False)
        self._written.move_to_end(key)
        return self._written[key]

    def plays(self, configuration: Configuration) -> list[Play]:
        """The same texts, for a policy that asks about the load, so that its scripts are those of each text alone."""
        ngrams = self._ngrams(configuration)
        return [
            Play(configuration, source, self.tokens_before[index], ngrams)
            for index, source in zip(self.chosen, self.sources(configuration), strict=True)
        ]

    def _ngrams(self, configuration: Configuration) -> NGrams:
        """What is guessed by beside the text's repetitions. SpecBranchError if its file cannot be read."""
        if not configuration.guesses or "guesses" not in configuration.uses:
            return NONE
        recorded = self.artifact.recorded
        draft = configuration.draft_among(recorded.drafts)
        path = (recorded.drafts[draft] if draft else recorded.target).spec.ngrams_file
        return load_ngrams(path) if path else NONE

    def forget_scripts(self) -> None:
        """Write them anew when they are asked for again."""
        self._written.clear()

    def is_cut(self, index: int) -> bool:
        """Whether `tokens` ends a text before its own end."""
        return self.tokens is not None and self.tokens < len(self.artifact.traces[index].path)

    def sources(self, configuration: Configuration) -> list[AcceptanceSource]:
        """Where the tokens of each text come from. ConfigurationError or CalibrationError as for `runs`."""
        draft = configuration.draft_among(self.artifact.recorded.drafts)
        by_bound = "min_bound" in configuration.uses
        drawn = configuration.draws_drafts and self.artifact.temperature > 0.0
        key = draft, by_bound, drawn
        if key not in self._sources:
            if draft is None:
                self._sources[key] = [self._path(index) for index in self.chosen]
            else:
                self._sources[key] = list(self._traced(draft, by_bound=by_bound, drawn=drawn))
        return self._sources[key]

    def _path(self, index: int) -> PathOnly:
        return PathOnly(tuple(self.artifact.traces[index].path[: self.tokens].tolist()))

    def _traced(self, draft: str, *, by_bound: bool, drawn: bool) -> list[TraceAcceptance]:
        recorded = self._recorded(draft, drawn=drawn)
        views: Sequence[DraftTrace] = self.views(draft, drawn=drawn)
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
            for index in self.chosen
        ]

    def _recorded(self, draft: str, *, drawn: bool) -> list[DraftTrace]:
        return [trace.views(drawn=drawn)[draft] for trace in self.artifact.traces]

    def views(self, draft: str, *, drawn: bool = False) -> Sequence[DraftTrace]:
        """How a draft sees each trace, shifted to the alignment that is wished; `drawn`: where it draws its tokens."""
        views, wished = self._recorded(draft, drawn=drawn), self.alignment
        if wished is None:
            return views
        key = draft, drawn
        if key not in self._shifted:
            paths = [trace.path for trace in self.artifact.traces]
            self._shifted[key] = shift_alignment(paths, views, wished, [self.seed, _number(draft)])
        return self._shifted[key].views


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
