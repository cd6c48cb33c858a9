"""Every configuration of a scenario under every load: requests that arrive, and are served together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from calibrate.artifact import Artifact
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.runtime.placement import Placement
from engine.runtime.workload import Arrivals, Requests, draw_requests, slots_needed
from engine.service_metrics import measure_service, timeline
from engine.service_record import MODELS, Model
from scenarios.calibrations import open_calibration
from scenarios.schema import Scenario
from scenarios.served import Batching
from scenarios.stated import Acceptance
from scenarios.what_if import WhatIf
from sim.acceptance.stated import draw_stated
from sim.costs.forwards import FittedForwardCost
from sim.scripts.live import Play
from sim.scripts.script import PROMPT_TOKEN, write_script
from sim.scripts.texts import Texts
from sim.scripts.work import Script
from sim.sweeps.run import check_positions, pick_prompts
from sim.sweeps.served_outcome import ServedOutcome
from sim.world.reach import is_far
from sim.world.replay import NO_CHANGE
from sim.world.requests import Arrival, Writes
from sim.world.served_costs import ServingCosts, calibrated_costs, hardware_costs, stated_costs
from sim.world.served_runs import Served
from sim.world.serving import serve

KEPT = 1 << 21  # tokens of stated texts at most whose scripts are kept for the next load, some 130 bytes each

ONE_SAMPLE = (
    "figures are of one sample of requests, from the first arrival to the last end, and have no intervals; with more "
    "'samples' in the workload they do"
)


Asked = tuple[Script | Writes, int, int, Play | None]
"""What a request does, its tokens, of the prompt and written, and, where it asks about the load, what it runs by."""
Written = tuple[Sequence[int], Sequence[int]]
"""A text: the tokens of its prompt, and those behind it."""
ScriptsOf = Callable[[Configuration, Requests, int], list[Asked]]
"""What requests of a sample do by a configuration."""


def run_served(scenario: Scenario, artifact: Artifact | None = None) -> Iterator[ServedOutcome]:
    """Outcomes by what-if, batching and load, then in the scenario's order; all serve the same requests.

    `artifact`: the calibration whose texts are written, if not the one that the scenario names or finds; none is needed
    where acceptance is stated. ConfigurationError or CalibrationError for what cannot be served.
    """
    if scenario.stated is None:
        artifact = artifact or open_calibration(key=scenario.calibration, costs_from=scenario.costs_from)
    world = ServingWorld(scenario, artifact)
    for what_if in scenario.what_if:
        for batching in scenario.batching:
            for arrivals in scenario.workload.arrivals:
                for configuration in scenario.configurations:
                    yield world.outcome(configuration, what_if, batching, arrivals)


@dataclass
class ServingWorld:
    """A scenario's requests and texts; what its outcomes share is worked out once."""

    scenario: Scenario
    artifact: Artifact | None = None
    costs: "CostsOf" = field(init=False)
    _scripts: dict[tuple[float | None, float], ScriptsOf] = field(default_factory=dict)
    _drawn: dict[tuple[Arrivals, int, int | None], Requests] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.costs = CostsOf(self.scenario, self.artifact)

    def outcome(
        self, configuration: Configuration, what_if: WhatIf, batching: Batching, arrivals: Arrivals
    ) -> ServedOutcome:
        """What comes of all samples. ConfigurationError or CalibrationError for what cannot be served."""
        work, kept = self.scenario.workload, self.costs.measured
        services = [
            self.serve(configuration, what_if, batching, arrivals, sample, kept=kept)
            for sample in range(work.samples)
        ]
        beyond = self.costs.beyond(configuration, services)
        return ServedOutcome.of(
            configuration,
            batching,
            arrivals,
            [measure_service(service, work.limits) for service in services],
            timeline(services[0]),
            sum(service.rounds for service in services),
            what_if,
            beyond.share,
            (*beyond.notes, *_notes(self.scenario, configuration)),
        )

    def serve(
        self,
        configuration: Configuration,
        what_if: WhatIf,
        batching: Batching,
        arrivals: Arrivals,
        sample: int = 0,
        count: int | None = None,
        kept: bool = True,
    ) -> Served:
        """Serve a sample of the requests, or its first `count`; without `kept`, there are figures and no `Served.runs`.

        ConfigurationError if one of them has no room.
        """
        requests = self.requests(arrivals, sample, count)
        asked = self.scripts(what_if)(configuration, requests, sample)
        check_positions(self.scenario, max(prompt + tokens for _, prompt, tokens, _ in asked))
        costs = self.costs(configuration, what_if, sample)
        return serve(
            [
                Arrival(script, at, slots_needed(configuration, prompt, tokens), prompt, play)
                for at, (script, prompt, tokens, play) in zip(requests.at.tolist(), asked, strict=True)
            ],
            costs.forwards,
            batching.budget,
            batching.discipline,
            configuration.shares_device,
            users=requests.users,
            chunks=batching.chunks,
            hand_over=costs.hand_over,
            contention=costs.contention,
            drafts="draft" in configuration.uses,
            kept=kept,
        )

    def requests(self, arrivals: Arrivals, sample: int, count: int | None = None) -> Requests:
        """Those of one load, in one of the samples, or the first `count` of them."""
        key = arrivals, sample, count
        if key not in self._drawn:
            work = self.scenario.workload.under(arrivals, sample)
            self._drawn[key] = draw_requests(
                work if count is None else work.model_copy(update={"requests": count})
            )
        return self._drawn[key]

    def written(self, arrivals: Arrivals, sample: int) -> list[Written]:
        """The texts of one load's requests, in one of the samples. ConfigurationError where acceptance is stated."""
        recorded = self.scripts(NO_CHANGE)
        if not isinstance(recorded, _Recorded):
            raise ConfigurationError(
                "texts whose acceptance is stated are nobody's, and no engine writes them."
            )
        return recorded.written(self.requests(arrivals, sample), sample)

    def scripts(self, what_if: WhatIf) -> ScriptsOf:
        """What requests do along their texts."""
        key = what_if.alignment, what_if.temperature
        if key not in self._scripts:
            self._scripts[key] = (
                _stated(self.scenario)
                if self.artifact is None
                else _recorded(self.scenario, self.artifact, what_if)
            )
        return self._scripts[key]


@dataclass
class CostsOf:
    """What configurations are served by: stated costs or hardware, or else those of the calibration."""

    scenario: Scenario
    artifact: Artifact | None
    _fits: dict[tuple[Placement, str | None], dict[Model, FittedForwardCost]] = field(default_factory=dict)

    def __call__(self, configuration: Configuration, what_if: WhatIf, sample: int = 0) -> ServingCosts:
        """CalibrationError where the calibration does not have them."""
        scenario = self.scenario
        if scenario.hardware is not None:
            return hardware_costs(scenario.hardware, what_if, configuration.shares_device)
        if scenario.costs is not None:
            return stated_costs(scenario.costs.under(what_if))
        assert self.artifact is not None
        where = configuration.placement, self._draft(configuration)
        seed = scenario.workload.seed + sample
        return calibrated_costs(self.artifact.costs, *where, what_if, seed, self._fits)

    @property
    def measured(self) -> bool:
        """Whether they are the calibration's."""
        return self.scenario.hardware is None and self.scenario.costs is None

    def _draft(self, configuration: Configuration) -> str | None:
        assert self.artifact is not None
        return configuration.draft_among(self.artifact.recorded.drafts)

    def beyond(self, configuration: Configuration, services: Sequence[Served]) -> "Beyond":
        """How far what was served was from the calibration's cells; nothing of costs that are not a calibration's."""
        if self.artifact is None or (configuration.placement, self._draft(configuration)) not in self._fits:
            return Beyond()
        fits = self._fits[configuration.placement, self._draft(configuration)]
        total = outside = 0.0
        larger, farther = set[Model](), dict[tuple[Model, bool], int]()
        for service in services:
            reach = np.array([request.prompt_tokens + request.tokens for request in service.requests])
            ran = service.batches
            if not len(ran):
                continue
            ends, rows = np.asarray(ran.last), np.asarray(ran.rows)
            took = np.asarray(ran.end) - np.asarray(ran.start)
            counts = np.diff(ends, prepend=0)
            context = np.maximum.reduceat(reach[np.asarray(ran.requests)], ends - counts)
            total += float(took.sum())
            for place, model in enumerate(MODELS):
                for several in (False, True):
                    mine = (np.asarray(ran.model) == place) & ((counts > 1) == several)
                    if not mine.any():
                        continue
                    fit = fits[model]
                    large = (rows[mine] > fit.most_rows) | (counts[mine] > fit.most_sequences)
                    far = is_far(context[mine], fit.most_context(2 if several else 1))
                    if large.any():
                        larger.add(model)
                    if far.any():
                        key = model, several
                        farther[key] = max(int(context[mine][far].max()), farther.get(key, 0))
                    outside += float(took[mine][large | far].sum())
        notes = [
            f"forwards of the {model} over more than {fits[model].most_rows} rows or {fits[model].most_sequences} "
            "requests are extrapolated from smaller ones"
            for model in MODELS
            if model in larger
        ]
        notes += [
            f"texts reach {context} tokens of context, and forwards of the {model} over "
            f"{'several requests' if several else 'one request'} were measured behind "
            f"{fits[model].most_context(2 if several else 1)} of each at most"
            for (model, several), context in sorted(farther.items())
        ]
        return Beyond(outside / total if total else 0.0, tuple(notes))


@dataclass(frozen=True)
class Beyond:
    """Forwards that have more rows, requests or context than any that was measured, or texts that come to have them.

    `share`: of the time of all forwards; `notes`: which, in words. A context is too far as `sim.world.reach` says.
    """

    share: float = 0.0
    notes: tuple[str, ...] = ()


def _notes(scenario: Scenario, configuration: Configuration) -> tuple[str, ...]:
    one = (ONE_SAMPLE,) if scenario.workload.samples == 1 else ()
    if scenario.hardware is None:
        return one
    return (*scenario.hardware.notes(configuration.shares_device, "draft" in configuration.uses), *one)


@dataclass
class _Stated:
    """Scripts along texts of stated acceptance: the i-th request has the i-th text, of its own length.

    A script is written when its request begins to run, and kept for other loads if there are some, and room.
    """

    acceptance: Acceptance
    seed: int
    several: bool
    _known: dict[tuple[Configuration, int, int, int], Script | Play] = field(default_factory=dict)
    _asking: set[Configuration] = field(default_factory=set)  # about the load
    _kept: int = 0  # tokens

    def __call__(self, configuration: Configuration, requests: Requests, sample: int) -> list[Asked]:
        """What requests do along the texts of their numbers."""
        first = sample * len(requests)
        lengths = zip(requests.prompt_tokens.tolist(), requests.tokens.tolist(), strict=True)
        return [
            (partial(self._does, configuration, number, prompt, tokens), prompt, tokens, None)
            for number, (prompt, tokens) in enumerate(lengths, first)
        ]

    def _does(self, configuration: Configuration, number: int, prompt: int, tokens: int) -> Script | Play:
        key = configuration, number, prompt, tokens
        if key in self._known:
            return self._known[key]
        path, before = draw_stated(self.acceptance, tokens, self.seed + number), (PROMPT_TOKEN,) * prompt
        does: Script | Play = Play(configuration, path, before)
        if configuration not in self._asking:  # who asked once may ask again, and runs as it is served
            script = write_script(configuration, path, before)
            if script.questions:
                self._asking.add(configuration)
            else:
                does = script
        if self.several and self._kept + tokens <= KEPT:
            self._known[key] = does
            self._kept += tokens
        return does


@dataclass
class _Recorded:
    """A calibration's texts, which take turns in an order that is drawn anew when all had theirs."""

    texts: Texts
    seed: int

    def __call__(self, configuration: Configuration, requests: Requests, sample: int) -> list[Asked]:
        """What requests do along the texts whose turns they are."""
        known, texts = self.texts.scripts(configuration).scripts, self.texts
        plays: list[Play | None] = [None] * len(known)
        if any(script.questions for script in known):
            plays = [*texts.plays(configuration)]
        return [
            (known[turn], len(texts.tokens_before[texts.chosen[turn]]), len(known[turn].path), plays[turn])
            for turn in self._turns(len(requests), sample)
        ]

    def written(self, requests: Requests, sample: int) -> list[Written]:
        """The texts themselves."""
        texts = self.texts
        whose = [texts.chosen[turn] for turn in self._turns(len(requests), sample)]
        return [
            (texts.tokens_before[i], texts.artifact.traces[i].path[: texts.tokens].tolist()) for i in whose
        ]

    def _turns(self, count: int, sample: int) -> list[int]:
        known = len(self.texts.chosen)
        rng = np.random.default_rng([self.seed + sample, known])
        turns = np.concatenate([rng.permutation(known) for _ in range(-(-count // known))])[:count]
        return [int(turn) for turn in turns]


def _stated(scenario: Scenario) -> _Stated:
    assert scenario.acceptance is not None
    several = scenario.outcomes > len(scenario.configurations)
    return _Stated(scenario.acceptance, scenario.workload.seed, several)


def _recorded(scenario: Scenario, artifact: Artifact, what_if: WhatIf) -> _Recorded:
    work = scenario.workload
    prompts = pick_prompts(scenario, [prompt.kind for prompt in artifact.recorded.prompts])
    return _Recorded(
        Texts(artifact, what_if.alignment, what_if.temperature, work.seed, prompts, work.length), work.seed
    )
