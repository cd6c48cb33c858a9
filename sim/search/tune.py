"""Search the configurations on a calibration, and tell every one that is tied with the best."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from calibrate.artifact import Artifact
from calibrate.provenance import outdated
from calibrate.traces.acceptance_statistics import rank_shares
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.metrics import Estimate, ratio_of_sums
from engine.naming import in_words
from engine.policies.pearl import balanced_length
from engine.policies.settings import LONGEST_DRAFT
from engine.policies.tree_drafting import NAME as TREE
from engine.progress import Progress
from engine.runtime.placement import Placement
from scenarios.what_if import WhatIf
from sim.acceptance.temperature import at_temperature
from sim.search.grid import PARALLEL, Grid, Restriction, has_helpers, simplicity, spread
from sim.search.objectives import Bounds, Objective, Occupancy, compare, cost, front, within
from sim.search.processes import ParallelReplay, usable_processes
from sim.world.replay import NO_CHANGE, Replay, Tally, replay_notes

__all__ = ["Grid", "Scored", "Tuning", "tune"]

FEWEST = 6  # configurations that `verify` runs in all
FEWEST_OTHERS = 2

# The whole grid meets a sample of the prompts; all prompts are for those that can still be within a tenth of the
# fastest, and for the first few of each policy and draft, one of which is going to be its baseline.
SAMPLE = 12
LEAD = 0.9
FIRST_OF_EACH = 3

NO_BOUNDS = Bounds()
NOTHING = Estimate(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Scored:
    """A configuration's predicted seconds for each prompt of `prompts`, and what it costs beside them.

    `speed` in tokens/s; `speed_up` over the best autoregressive placement, paired by prompt; `rollback` and `hedge`:
    rates as in `engine.metrics.Metrics`; each with its 95% interval over prompts. `waste`: rollback and hedge tokens
    for each token of text; `devices`: cores or devices it occupies; `cost`: what the objective makes small.
    `far_context`: the texts reach farther than its costs were measured (`sim.world.reach`).
    """

    configuration: Configuration
    prompts: tuple[int, ...]
    seconds: tuple[float, ...]
    speed: Estimate
    speed_up: Estimate
    rollback: Estimate = NOTHING
    hedge: Estimate = NOTHING
    waste: float = 0.0
    devices: int = 1
    cost: float = 0.0
    far_context: bool = False

    @property
    def rollback_rate(self) -> float:
        """Of the followed line's tokens."""
        return self.rollback.value

    @property
    def hedge_rate(self) -> float:
        """Of all drafted tokens."""
        return self.hedge.value

    @property
    def traded(self) -> tuple[float, float, float]:
        """What the Pareto front is about, more being better: tokens/s, those for each device, and little waste."""
        return self.speed.value, self.speed.value / self.devices, -self.waste


@dataclass(frozen=True)
class Tuning:
    """What a search found. All speeds are predictions.

    `tied`: those whose paired interval against the `best` one includes equality, the best itself first; both within
    the `bounds`, and by the `objective`. `chosen`: the simplest of them. `front`: those replayed on all prompts
    that no other one is better than in tokens/s, in tokens/s for each device and in waste (see `Scored.traded`),
    fastest first. `baselines`: autoregressive decoding in each placement, the better first, and the best of each
    other policy and draft. `others`: some more, for `verify` to test predictions on: first the best of each policy and
    draft as published, without helpers, parallel ones on separate devices, and then a spread over the grid.
    `system`, of which `title` is the name that people write: the serving system whose methods alone were searched.
    `scored`: the whole grid; first those replayed on all `prompts`, each part best first.
    """

    scored: tuple[Scored, ...]
    tied: tuple[Scored, ...]
    chosen: Scored
    baselines: tuple[Scored, ...]
    others: tuple[Scored, ...]
    front: tuple[Scored, ...]
    objective: Objective
    bounds: Bounds
    prompts: int
    tokens: int
    seed: int
    what_if: WhatIf
    notes: tuple[str, ...]
    system: str | None = None
    title: str | None = None

    @property
    def best(self) -> Scored:
        """The best by the objective, within the bounds."""
        return self.tied[0]

    @property
    def speculate(self) -> bool:
        """Whether drafting pays: autoregressive decoding is neither the best nor tied with it."""
        return self.chosen.configuration.drafts

    @property
    def advice(self) -> str:
        """The finding in a sentence."""
        c, value = self.chosen.configuration, self.chosen.speed.value
        goal = _GOALS[self.objective]
        among = f"of what {self.title} runs, " if self.title else ""
        if not self.speculate:
            why = (
                "and nothing that drafts was searched"
                if not any(s.configuration.drafts for s in self.scored)
                else f"{goal} than every configuration that drafts"
                if self.best is self.chosen
                else f"statistically tied with the {_BEST[self.objective]} configuration, "
                f"{in_words(self.best.configuration)}"
            )
            return f"{among}do not speculate: {in_words(c)} is predicted at {value:.1f} tokens/s, {why}."
        up = self.chosen.speed_up
        return (
            f"{among}use {in_words(c)}: predicted {value:.1f} tokens/s, {up.value:.2f} times the best autoregressive "
            f"decoding ({up.low:.2f} to {up.high:.2f}); {len(self.tied)} of {len(self.scored)} configurations are "
            f"statistically tied with the {_BEST[self.objective]}."
        )


_BEST: dict[Objective, str] = {
    "tokens-per-second": "fastest",
    "tokens-per-device-second": "fastest for each device it occupies",
    "p95-token-seconds": "best 95th percentile of the time for each token",
}
_GOALS: dict[Objective, str] = {
    "tokens-per-second": "faster",
    "tokens-per-device-second": "faster for each device it occupies",
    "p95-token-seconds": "better at the 95th percentile of the time for each token",
}


def whole_grid(artifact: Artifact) -> Grid:
    """What is searched where nothing less is asked: H-RAD and drawn drafts where the texts have what these need."""
    predicted = all(len(seen.foreseen) for trace in artifact.traces for seen in trace.drafts.values())
    return Grid(
        hrad=(False, True) if predicted else (False,),
        draw_drafts=(False, True) if artifact.temperature else (False,),
    )


def tune(
    artifact: Artifact,
    grid: Grid | None = None,
    *,
    objective: Objective = "tokens-per-second",
    bounds: Bounds = NO_BOUNDS,
    what_if: WhatIf = NO_CHANGE,
    only: Restriction | None = None,
    seed: int = 0,
    jobs: int | None = None,
    listed: int = FEWEST,
    progress: Progress | None = None,
) -> Tuning:
    """Find the configuration that is best by an objective on a calibration, among those within bounds.

    Configurations replay the same recorded texts with common random numbers: the whole grid a sample of them,
    the leaders all. `only`: what else a configuration has to be. `jobs`: processes (none: one for each core).
    `listed`: how many configurations are there for `verify` in all, or more, where policies and drafts are.
    `progress` hears (done, of all), which may grow once the leaders are known. ConfigurationError if the grid
    asks for what the calibration does not have, or holds nothing, or nothing within the bounds.
    """
    artifact = at_temperature(artifact, what_if.temperature)
    world = Replay(artifact, what_if, seed)
    grid = grid or whole_grid(artifact).model_copy(
        update={"first_match": (False, True) if only else (False,)}
    )
    configurations = grid.configurations(tuple(artifact.recorded.drafts), world.placements)
    for configuration in configurations:
        configuration.draft_among(artifact.recorded.drafts)
    if "pearl" in grid.policies:
        configurations = tuple(dict.fromkeys([*configurations, *_balanced(artifact, configurations)]))
    if TREE in grid.policies:
        configurations = (*configurations, *_trees(artifact, grid, world.placements))
    if not configurations:
        raise ConfigurationError(
            "the grid to tune over is empty: give it policies, drafts, lengths and placements."
        )
    if only:
        configurations = tuple(filter(only.allows, configurations))
        if not configurations:
            raise ConfigurationError(f"{only.title} runs no configuration of the grid as it is simulated.")
    # Speed-ups need the baseline even where the grid leaves it out.
    alone = [Configuration(policy="autoregressive", placement=p) for p in world.placements]
    everything = list(dict.fromkeys([*alone, *configurations]))
    parallel = ParallelReplay(artifact, what_if, seed, usable_processes() if jobs is None else jobs)
    scorer = _Scorer(parallel, objective, bounds, alone, Occupancy.of(artifact), seed, world)
    board = _replay_leaders(scorer, everything, progress)
    asked = set(configurations)
    scored = [s for s in board if s.configuration in asked]
    whole = [s for s in scored if len(s.prompts) == len(artifact.traces)]
    fit = within(whole, bounds)
    tied = [fit[0], *(s for s in fit[1:] if scorer.may_reach(fit[0], s, 1.0))]
    chosen = min(tied, key=lambda s: (simplicity(s.configuration), s.cost))
    baselines = [s for s in board if s.configuration in alone]
    baselines += _first_of_each(scored, 1, [chosen, *baselines])
    taken = [s.configuration for s in (chosen, *baselines)]
    others = _others(taken, scored, max(FEWEST_OTHERS, listed - len(set(taken))))
    return Tuning(
        scored=tuple(scored),
        tied=tuple(tied),
        chosen=chosen,
        baselines=tuple(baselines),
        others=tuple(s for s in scored if s.configuration in others),
        front=tuple(
            sorted((whole[i] for i in front([s.traded for s in whole])), key=lambda s: -s.speed.value)
        ),
        objective=objective,
        bounds=bounds,
        prompts=len(artifact.traces),
        tokens=sum(len(trace.path) for trace in artifact.traces),
        seed=seed,
        what_if=what_if,
        notes=(
            *(only.notes if only else ()),
            *artifact.remarks,
            *outdated(artifact.costs),
            *dict.fromkeys(note for s in scored for note in world.far_notes(s.configuration)),
            *replay_notes(parallel.outside, parallel.operations),
        ),
        system=only.system if only else None,
        title=only.title if only else None,
    )


def _trees(artifact: Artifact, grid: Grid, placements: Sequence[Placement]) -> Iterator[Configuration]:
    """Static trees of each draft, of the shapes that are best for how often its candidates are right in the traces."""
    for name in grid.drafts or artifact.recorded.drafts:
        draft = Configuration(policy=TREE, draft=name).draft_among(artifact.recorded.drafts) or name
        for drawn in grid.draw_drafts:
            yield from grid.trees(placements, draft, rank_shares(artifact, draft, drawn=drawn), drawn)


def _balanced(artifact: Artifact, configurations: Sequence[Configuration]) -> list[Configuration]:
    """PEARL with the draft length that its paper sets, for each draft and placement where both models run at once."""
    found = []
    for c in configurations:
        if c.policy != "pearl" or c.draft is None:
            continue
        together = artifact.costs.at(c.placement).drafts[c.draft].together
        if together:
            # The longest line that was measured beside a single branch, which is all that PEARL drafts.
            line = max(together, key=lambda t: (-t.branches, t.target_tokens))
            length = balanced_length(median(line.target_together), median(line.draft_together))
            found.append(c.model_copy(update={"draft_length": min(length, LONGEST_DRAFT)}))
    return found


@dataclass(frozen=True)
class _Scorer:
    """What all configurations of a search are scored by."""

    parallel: ParallelReplay
    objective: Objective
    bounds: Bounds
    alone: Sequence[Configuration]
    occupancy: Occupancy
    seed: int
    world: Replay

    def board(
        self, configurations: Sequence[Configuration], prompts: Sequence[int], done: Callable[[int], None]
    ) -> list[Scored]:
        """Scores on the same prompts, best first."""
        tallies = self.parallel.tallies(configurations, prompts, done)
        tokens = [len(self.parallel.artifact.traces[index].path) for index in prompts]
        seconds = {c: [t.seconds for t in mine] for c, mine in tallies.items()}
        baseline = min((seconds[c] for c in self.alone), key=sum)
        scored = [self._score(c, mine, seconds[c], baseline, tokens, prompts) for c, mine in tallies.items()]
        # Equals come in an order that does not depend on which process was faster.
        return sorted(scored, key=lambda s: (s.cost, simplicity(s.configuration), s.configuration.label()))

    def _score(
        self,
        configuration: Configuration,
        tallies: Sequence[Tally],
        seconds: Sequence[float],
        baseline: Sequence[float],
        tokens: Sequence[int],
        prompts: Sequence[int],
    ) -> Scored:
        _, drafted, rollback, hedge = zip(*tallies, strict=True)
        devices = self.occupancy.devices(configuration)
        return Scored(
            configuration,
            tuple(prompts),
            tuple(seconds),
            ratio_of_sums(tokens, seconds),
            ratio_of_sums(baseline, seconds),
            rollback=_rate(rollback, [d - h for d, h in zip(drafted, hedge, strict=True)]),
            hedge=_rate(hedge, drafted),
            waste=(sum(rollback) + sum(hedge)) / sum(tokens),
            devices=devices,
            cost=cost(self.objective, seconds, tokens, devices),
            far_context=self.world.is_far(configuration),
        )

    def may_reach(self, best: Scored, other: Scored, share: float) -> bool:
        """Whether `other` can be `share` as good as the best, by the paired interval of the objective."""
        if best.prompts != other.prompts:
            return False
        tokens = [len(self.parallel.artifact.traces[index].path) for index in best.prompts]
        devices = other.devices, best.devices
        ratio = compare(self.objective, other.seconds, best.seconds, tokens, devices, self.seed)
        return max(ratio.value, ratio.high) >= share


def _replay_leaders(
    scorer: _Scorer, everything: Sequence[Configuration], progress: Progress | None
) -> list[Scored]:
    """Everything on a sample of the prompts, then the leaders on all; these first, each part best first."""
    count, finished, total = len(scorer.parallel.artifact.traces), 0, len(everything)

    def done(more: int) -> None:
        nonlocal finished
        finished += more
        if progress:
            progress(finished, total)

    few = count <= 2 * SAMPLE  # then a sample would save little
    sample = list(range(count)) if few else [index * count // SAMPLE for index in range(SAMPLE)]
    board = scorer.board(everything, sample, done)
    if few:
        return board
    # A sample's rates are not those of all prompts: what may be within the bounds is not left out for them, nor is
    # it for what is better but may turn out to be beyond them.
    hopeful, sure = (_within(board, scorer.bounds, end) for end in ("low", "high"))
    leaders = {s.configuration for s in hopeful if not sure or scorer.may_reach(sure[0], s, LEAD)}
    leaders |= set(scorer.alone)
    leaders |= {s.configuration for some in (board, hopeful) for s in _first_of_each(some, FIRST_OF_EACH)}
    leaders |= {board[index].configuration for index in front([s.traded for s in board])}
    total += len(leaders)
    final = scorer.board([c for c in everything if c in leaders], list(range(count)), done)
    return final + [s for s in board if s.configuration not in leaders]


def _within(board: Sequence[Scored], bounds: Bounds, end: Literal["low", "high"]) -> list[Scored]:
    """Those that keep to the bounds by the lower, or by the upper, end of each rate's interval."""
    return [s for s in board if bounds.hold(getattr(s.rollback, end), getattr(s.hedge, end), s.devices)]


def _rate(part: Sequence[float], whole: Sequence[float]) -> Estimate:
    """Nothing of nothing is nothing."""
    return ratio_of_sums(part, whole) if sum(whole) else NOTHING


def _others(taken: Sequence[Configuration], scored: Sequence[Scored], count: int) -> list[Configuration]:
    """Up to `count` beside those taken: the best of each policy and draft as published, then what is far from all.

    First of all those that draft while the target verifies, where they do so: the search may place every one of them
    in turn, and then nothing that is verified would tell of what the models do to each other.
    """
    published = [s for s in scored if s.configuration.drafts and not has_helpers(s.configuration)]
    at_once = [
        s for s in published if s.configuration.policy in PARALLEL and s.configuration.placement != "in-turn"
    ]
    first = [s.configuration for s in (*_first_of_each(at_once, 1), *_first_of_each(published, 1))]
    first = [c for c in dict.fromkeys(first) if c not in taken][:count]
    rest = [s.configuration for s in scored if s.configuration not in first]
    return [*first, *spread([*taken, *first], rest, count - len(first))]


def _first_of_each(scored: Sequence[Scored], count: int, taken: Sequence[Scored] = ()) -> list[Scored]:
    """The first `count` of each policy and draft, but of those that are taken."""

    def kind(s: Scored) -> tuple[str, str | None]:
        return s.configuration.policy, s.configuration.draft

    first: dict[tuple[str, str | None], list[Scored]] = {}
    for s in scored:
        first.setdefault(kind(s), []).append(s)
    there = {kind(s) for s in taken}
    return [s for key, some in first.items() if key not in there for s in some[:count]]
