"""Real runs of several configurations on the same prompts, interleaved, with the machine's pace in between. Torch-free.

Every prompt meets every configuration in an order drawn anew for each prompt and repeat, so that a slow minute
of the machine falls on all of them alike. Before each run the steps of its models are timed where it puts them, and
before each prompt the pairs of models that some run has compute at once.
"""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from calibrate.costs import Crowded, as_together
from calibrate.pace import Crowd, Seated, time_crowd, time_steps
from engine.configuration import Configuration
from engine.errors import WorkerLost
from engine.pair import Pair
from engine.record import Run
from engine.sampling import Sampling
from reports.verification import Sample


@dataclass(frozen=True)
class Prompted:
    """What all configurations write: texts of up to `max_tokens` tokens behind these prompts (token ids)."""

    ids: Sequence[list[int]]
    sampling: Sequence[Sampling]
    max_tokens: int
    end_tokens: Collection[int]

    def write(self, pair: Pair, configuration: Configuration, prompt: int) -> Run:
        """One of them."""
        return pair.generate(
            configuration,
            self.ids[prompt],
            max_tokens=self.max_tokens,
            end_tokens=self.end_tokens,
            sampling=self.sampling[prompt],
        )


@dataclass
class Measured:
    """The runs of each configuration, by repeat and prompt; seconds of each model's step, of the target and a draft
    at once, and of the reference operation, in the order timed; and what a reader has to know."""

    samples: dict[Configuration, list[Sample]]
    steps: dict[Seated, list[float]] = field(default_factory=dict)
    crowded: dict[Seated, Crowded] = field(default_factory=dict)
    reference: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def crowds(self) -> tuple[Crowd, ...]:
        """The target and each draft at once, as records."""
        return tuple(
            Crowd(placement=placement, draft=draft, together=as_together(known))
            for (placement, draft), known in self.crowded.items()
            if known
        )


def measure(
    pair: Pair,
    chosen: Sequence[Configuration],
    prompted: Prompted,
    repeats: int,
    seed: int,
    advance: Callable[[str], None],
) -> Measured:
    """Run them all; `advance` hears of each run. WorkerLost if the target's worker dies in one."""
    rng = random.Random(seed)
    found = Measured({configuration: [] for configuration in chosen})
    order = 0
    for repeat in range(repeats):
        for prompt in rng.sample(range(len(prompted.ids)), len(prompted.ids)):
            _time_crowds(pair, chosen, found)
            for configuration in rng.sample(chosen, len(chosen)):
                _time_steps(pair, configuration, found)
                run = prompted.write(pair, configuration, prompt)
                if run.warning:
                    # Fixed beforehand: a generation that lost its draft says nothing of the configuration, so
                    # it is run once more and told of.
                    found.notes.append(f"{configuration.label()}, prompt {prompt}: run again; {run.warning}")
                    run = prompted.write(pair, configuration, prompt)
                found.samples[configuration].append(
                    Sample(prompt=prompt, repeat=repeat, order=order, run=run)
                )
                order += 1
                advance(configuration.label())
    for mine in found.samples.values():
        mine.sort(key=lambda sample: (sample.repeat, sample.prompt))
    return found


def _time_steps(pair: Pair, configuration: Configuration, found: Measured) -> None:
    """Note what a step of each of its models takes now; a worker that was lost since is started again."""
    draft = configuration.draft_among(pair.drafts)
    try:
        steps, reference = time_steps(pair, configuration.placement, draft)
    except WorkerLost as lost:
        found.notes.append(f"{configuration.label()}: its models' steps were timed again; {lost}")
        steps, reference = time_steps(pair, configuration.placement, draft)
    for seated, seconds in steps.items():
        found.steps.setdefault(seated, []).append(seconds)
    found.reference.append(reference)


def _time_crowds(pair: Pair, chosen: Sequence[Configuration], found: Measured) -> None:
    """Note what the target and each draft do to each other now; one that is lost meanwhile is left for next time."""
    seated = {(c.placement, draft): None for c in chosen if (draft := c.draft_among(pair.drafts))}
    for placement, draft in seated:
        try:
            time_crowd(pair, placement, draft, found.crowded.setdefault((placement, draft), {}))
        except WorkerLost as lost:
            found.notes.append(f"the target and {draft} were timed at once one time less; {lost}")
