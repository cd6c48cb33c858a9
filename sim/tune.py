"""Search the configurations on a calibration, and tell every one that is tied with the best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from calibrate.artifact import Artifact
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.metrics import Estimate, ratio_of_sums
from engine.policies.pearl import balanced_length
from engine.policies.settings import LONGEST_DRAFT
from sim.batch import Batch
from sim.grid import Grid, simplicity, spread
from sim.replay import NO_CHANGE, Replay, replay_notes
from sim.what_if import WhatIf

__all__ = ["Grid", "Scored", "Tuning", "tune"]

FEWEST = 6  # configurations that `verify` runs in all
FEWEST_OTHERS = 2

# The whole grid meets a sample of the prompts; all prompts are for those that can still be within a tenth of the
# fastest, and for the first few of each policy and draft, one of which is going to be its baseline.
SAMPLE = 12
LEAD = 0.9
FIRST_OF_EACH = 3

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Scored:
    """A configuration's predicted seconds for each prompt of `prompts`.

    `speed` in tokens/s; `speed_up` over the best autoregressive placement, paired by prompt; each with its 95%
    interval over prompts.
    """

    configuration: Configuration
    prompts: tuple[int, ...]
    seconds: tuple[float, ...]
    speed: Estimate
    speed_up: Estimate


@dataclass(frozen=True)
class Tuning:
    """What a search found. All speeds are predictions.

    `tied`: those whose paired interval against the `best` one includes equality, the best itself first.
    `chosen`: the simplest of them. `baselines`: autoregressive decoding in each placement, the faster first, and
    the best of each other policy and draft. `others`: some more, spread over the grid, for `verify` to test
    predictions on. `scored`: the whole grid; first those replayed on all `prompts`, each part fastest first.
    """

    scored: tuple[Scored, ...]
    tied: tuple[Scored, ...]
    chosen: Scored
    baselines: tuple[Scored, ...]
    others: tuple[Scored, ...]
    prompts: int
    tokens: int
    seed: int
    what_if: WhatIf
    notes: tuple[str, ...]

    @property
    def best(self) -> Scored:
        """The fastest."""
        return self.tied[0]

    @property
    def autoregressive(self) -> Scored:
        """The best autoregressive placement."""
        return self.baselines[0]

    @property
    def speculate(self) -> bool:
        """Whether drafting pays: autoregressive decoding is neither the best nor tied with it."""
        return self.chosen.configuration.drafts

    @property
    def advice(self) -> str:
        """The finding in a sentence."""
        c, value = self.chosen.configuration, self.chosen.speed.value
        if not self.speculate:
            why = (
                "faster than every configuration that drafts"
                if self.best is self.chosen
                else f"statistically tied with the fastest configuration, {self.best.configuration.label()}"
            )
            return f"do not speculate: {c.label()} is predicted at {value:.1f} tokens/s, {why}."
        up = self.chosen.speed_up
        return (
            f"use {c.label()}: predicted {value:.1f} tokens/s, {up.value:.2f} times the best autoregressive decoding "
            f"({up.low:.2f} to {up.high:.2f}); {len(self.tied)} of {len(self.scored)} configurations are "
            "statistically tied with the fastest."
        )


def tune(
    artifact: Artifact,
    grid: Grid | None = None,
    *,
    what_if: WhatIf = NO_CHANGE,
    seed: int = 0,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Tuning:
    """Find the configuration with the most tokens/s on a calibration.

    Configurations replay the same recorded texts with common random numbers: the whole grid a sample of them,
    the leaders all. `jobs`: processes (none: one for each core). `progress` hears (done, of all), which may
    grow once the leaders are known. ConfigurationError if the grid asks for what the calibration does not
    have, or holds nothing.
    """
    world = Replay(artifact, what_if, seed)
    foreseen = all(len(seen.foreseen) for trace in artifact.traces for seen in trace.drafts.values())
    grid = grid or Grid(hrad=(False, True) if foreseen else (False,))
    configurations = grid.configurations(tuple(artifact.calibration.drafts), world.placements)
    if not configurations:
        raise ConfigurationError(
            "the grid to tune over is empty: give it policies, drafts, lengths and placements."
        )
    for configuration in configurations:
        configuration.draft_among(artifact.calibration.drafts)
    if "pearl" in grid.policies:
        configurations = tuple(dict.fromkeys([*configurations, *_balanced(artifact, configurations)]))
    # Speed-ups need the baseline even where the grid leaves it out.
    alone = [Configuration(policy="autoregressive", placement=p) for p in world.placements]
    everything = list(dict.fromkeys([*alone, *configurations]))
    batch = Batch(artifact, what_if, seed) if jobs is None else Batch(artifact, what_if, seed, jobs)
    board = _replay_leaders(batch, everything, alone, progress)
    scored = [s for s in board if s.configuration in set(configurations)]
    tied = [scored[0], *(s for s in scored[1:] if _may_reach(scored[0], s, 1.0))]
    chosen = min(tied, key=lambda s: (simplicity(s.configuration), sum(s.seconds)))
    baselines = [s for s in board if s.configuration in alone]
    baselines += _first_of_each(scored, 1, [chosen, *baselines])
    taken = [s.configuration for s in (chosen, *baselines)]
    others = spread(taken, [s.configuration for s in scored], max(FEWEST_OTHERS, FEWEST - len(set(taken))))
    return Tuning(
        scored=tuple(scored),
        tied=tuple(tied),
        chosen=chosen,
        baselines=tuple(baselines),
        others=tuple(s for s in scored if s.configuration in others),
        prompts=len(artifact.traces),
        tokens=sum(len(trace.path) for trace in artifact.traces),
        seed=seed,
        what_if=what_if,
        notes=replay_notes(batch.outside, batch.operations),
    )


def _balanced(artifact: Artifact, configurations: Sequence[Configuration]) -> list[Configuration]:
    """PEARL with the draft length that its paper sets, for each draft and placement where both models run at once."""
    found = []
    for c in configurations:
        if c.policy != "pearl" or c.draft is None:
            continue
        together = artifact.calibration.costs(c.placement).drafts[c.draft].together
        if together:
            length = balanced_length(median(together.target_together), median(together.draft_together))
            found.append(c.model_copy(update={"draft_length": min(length, LONGEST_DRAFT)}))
    return found


def _replay_leaders(
    batch: Batch,
    everything: Sequence[Configuration],
    alone: Sequence[Configuration],
    progress: Progress | None,
) -> list[Scored]:
    """Everything on a sample of the prompts, then the leaders on all; these first, each part fastest first."""
    count, finished, total = len(batch.artifact.traces), 0, len(everything)

    def done(more: int) -> None:
        nonlocal finished
        finished += more
        if progress:
            progress(finished, total)

    few = count <= 2 * SAMPLE  # then a sample would save little
    sample = list(range(count)) if few else [index * count // SAMPLE for index in range(SAMPLE)]
    board = _board(batch, batch.seconds(everything, sample, done), sample, alone)
    if few:
        return board
    leaders = {s.configuration for s in board if _may_reach(board[0], s, LEAD)}
    leaders |= {s.configuration for s in _first_of_each(board, FIRST_OF_EACH)} | set(alone)
    total += len(leaders)
    everywhere = list(range(count))
    final = _board(
        batch, batch.seconds([c for c in everything if c in leaders], everywhere, done), everywhere, alone
    )
    return final + [s for s in board if s.configuration not in leaders]


def _board(
    batch: Batch,
    seconds: dict[Configuration, list[float]],
    prompts: Sequence[int],
    alone: Sequence[Configuration],
) -> list[Scored]:
    """Scores on the same prompts, fastest first."""
    lengths = [len(batch.artifact.traces[index].path) for index in prompts]
    baseline = min((seconds[c] for c in alone), key=sum)
    scored = [
        Scored(
            configuration,
            tuple(prompts),
            tuple(mine),
            ratio_of_sums(lengths, mine),
            ratio_of_sums(baseline, mine),
        )
        for configuration, mine in seconds.items()
    ]
    # Equals come in an order that does not depend on which process was faster.
    return sorted(
        scored, key=lambda s: (sum(s.seconds), simplicity(s.configuration), s.configuration.label())
    )


def _may_reach(best: Scored, other: Scored, share: float) -> bool:
    """Whether `other` can have `share` of the best speed, by the paired interval of their times."""
    if best.prompts != other.prompts:
        return False
    ratio = ratio_of_sums(best.seconds, other.seconds)
    return max(ratio.value, ratio.high) >= share


def _first_of_each(scored: Sequence[Scored], count: int, taken: Sequence[Scored] = ()) -> list[Scored]:
    """The first `count` of each policy and draft, but of those that are taken."""

    def kind(s: Scored) -> tuple[str, str | None]:
        return s.configuration.policy, s.configuration.draft

    first: dict[tuple[str, str | None], list[Scored]] = {}
    for s in scored:
        first.setdefault(kind(s), []).append(s)
    there = {kind(s) for s in taken}
    return [s for key, some in first.items() if key not in there for s in some[:count]]
