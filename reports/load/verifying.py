"""A scenario of served requests on the real engine, and what was predicted of it beside. Torch-free.

    verification = verify_loads(pair, artifact, scenario)

The engine serves the very requests that are simulated: the calibration's own texts, in the same turns, of the same
lengths, and greedily, so that acceptance is the same on both sides and what is left is timing and scheduling. Samples
of the requests are served one behind another, all configurations and loads of each in an order drawn anew, so that a
slow minute falls on all alike. Before each of them the steps of its models are timed, and before each sample what
models that compute at once do to each other; predictions are made for the machine's pace of the run, as those of
`verify` are (`calibrate.costs.drift`). All of this is timed where the models serve: on separate devices, in two threads
of one process.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from statistics import fmean
from typing import NamedTuple

from calibrate.artifact import Artifact
from calibrate.costs.contention import BATCHES, ONE, ContentionTimes, as_together
from calibrate.costs.drift import ContentionSample, Drift, PlacedModel, Timing, adjusted_for_drift, drifts
from calibrate.costs.remeasure import pairs_at_once, time_contention, time_pace
from calibrate.hardware import hardware, software
from calibrate.revision import engine_revision
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.naming import in_words
from engine.runtime.pair import Pair
from engine.runtime.placement import serving_placement
from engine.runtime.requests import Request
from engine.runtime.served_session import Serve
from engine.runtime.waiting import waited_since
from engine.runtime.workload import Arrivals
from engine.service_metrics import ServiceMetrics, Timeline, measure_service, timeline
from scenarios.schema import Scenario
from scenarios.served import Batching
from sim.sweeps.served import ServingWorld
from sim.sweeps.served_outcome import ServedOutcome
from sim.world.replay import NO_CHANGE

WARM_REQUESTS, WARM_TOKENS = 4, 4  # that are written before any is measured


class Case(NamedTuple):
    """What is served in one go: one load by one configuration."""

    batching: Batching
    arrivals: Arrivals
    configuration: Configuration

    def label(self) -> str:
        """For a progress line."""
        return f"{self.arrivals.label()}: {in_words(self.configuration)}"


@dataclass(frozen=True)
class _Sample:
    """One sample of the requests as the engine served it; `rounds` of all texts.

    `waited`: for what share of the time threads waited for a core that another one had, where the system counts it.
    `others`: how many texts are not those that are simulated.
    """

    metrics: ServiceMetrics
    course: Timeline
    rounds: int
    waited: float | None
    others: int


@dataclass(frozen=True)
class ComparedLoad:
    """One load by one configuration: as calibrated, predicted at the machine's pace of the run, and measured.

    `waited`: for what share of the measured time threads waited for a core that another thread had: one of the engine's
    own or anybody's. None where the system does not count it.
    """

    as_calibrated: ServedOutcome
    predicted: ServedOutcome
    measured: ServedOutcome
    waited: float | None = None

    def error(self, figure: str, as_calibrated: bool = False) -> float:
        """Signed relative error of one of `engine.service_metrics.FIGURES`."""
        one = self.as_calibrated if as_calibrated else self.predicted
        return one.figures[figure].value / self.measured.figures[figure].value - 1.0


@dataclass(frozen=True)
class LoadVerification:
    """All of them in the scenario's order, and the conditions; `pace`: what tells each model's where it sat.

    `contention`: what models that computed at once did to each other there. `notes`: where a service was not of the
    texts that were simulated.
    """

    created: str
    hardware: dict[str, str]
    software: dict[str, str]
    engine_revision: str
    calibration_digest: str
    compared: tuple[ComparedLoad, ...]
    pace: tuple[Drift, ...]
    reference_seconds: tuple[float, ...]
    remarks: tuple[str, ...]
    notes: tuple[str, ...] = ()
    contention: tuple[ContentionSample, ...] = ()


def count_services(scenario: Scenario) -> int:
    """How often `verify_loads` will report an advance."""
    return scenario.workload.samples * scenario.outcomes


def verify_loads(
    pair: Pair, artifact: Artifact, scenario: Scenario, advance: Callable[[str], None] = lambda what: None
) -> LoadVerification:
    """Serve all that the scenario says and predict it, by a calibration of this pair that has batches.

    `advance` hears what was just served. ConfigurationError for a scenario whose costs or acceptance are stated, that
    supposes what is not here, or draws its tokens; CalibrationError for a calibration without batches.
    """
    check_scenario(scenario)
    world = ServingWorld(scenario, artifact)
    cases = list(_cases(scenario))
    foretold = [_predict(world, case) for case in cases]  # before the first run
    rng = random.Random(scenario.workload.seed)
    timings: dict[PlacedModel, list[Timing]] = {}
    reference: list[float] = []
    found: dict[Case, list[_Sample]] = {case: [] for case in cases}
    notes: list[str] = []
    for configuration in dict.fromkeys(case.configuration for case in cases):
        _warm_up(pair, world, configuration, cases[0])
    at_once = _Contention(pair, [case.configuration for case in cases])
    for sample in range(scenario.workload.samples):
        at_once.time()
        for case in rng.sample(cases, len(cases)):
            c = case.configuration
            draft = c.draft_among(pair.drafts)
            now, before = time_pace(pair, serving_placement(c.placement, draft), draft)
            for (_, model), timing in now.items():
                timings.setdefault((c.placement, model), []).append(timing)
            reference.append(before)
            served, noted = _serve(pair, world, case, sample)
            found[case].append(served)
            notes += noted
            advance(case.label())
    notes = [*_other_texts(list(found.values())), *notes]
    pace = tuple(drifts(artifact.costs, timings))
    at_pace = ServingWorld(scenario, adjusted_for_drift(artifact, pace, at_once.found()))
    return LoadVerification(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        hardware=hardware(),
        software=software(),
        engine_revision=engine_revision(),
        calibration_digest=artifact.digest,
        compared=tuple(
            ComparedLoad(before, _predict(at_pace, case), _measured(case, found[case]), _waited(found[case]))
            for case, before in zip(cases, foretold, strict=True)
        ),
        pace=pace,
        reference_seconds=tuple(reference),
        remarks=artifact.remarks,
        notes=tuple(notes),
        contention=at_once.found(),
    )


class _Contention:
    """What the target and each draft that some configuration has beside it do to each other, as it is timed again."""

    def __init__(self, pair: Pair, configurations: Sequence[Configuration]) -> None:
        self.pair = pair
        self.seated = {
            (placement, draft): serving_placement(placement, draft)
            for placement, draft in pairs_at_once(pair, configurations)
        }
        self._known: dict[PlacedModel, dict[int, ContentionTimes]] = {}

    def time(self) -> None:
        """Time all of them once, over one sequence and over several."""
        for (placement, draft), served in self.seated.items():
            for crossed in (ONE, *BATCHES):
                by_sequences = self._known.setdefault((placement, draft), {})
                known = by_sequences.setdefault(crossed.sequences, {})
                time_contention(self.pair, served, draft, known, crossed)

    def found(self) -> tuple[ContentionSample, ...]:
        """As records, each in the name of the placement whose costs it changes."""
        return tuple(
            ContentionSample(
                placement=placement,
                draft=draft,
                together=tuple(t for count, times in known.items() for t in as_together(times, count)),
            )
            for (placement, draft), known in self._known.items()
        )


def check_scenario(scenario: Scenario) -> None:
    """Whether the engine can serve what a scenario says. ConfigurationError if not."""
    if not scenario.served:
        raise ConfigurationError("the scenario's workload has no 'arrivals', so nothing is served together.")
    if scenario.stated is not None or scenario.costs is not None or scenario.hardware is not None:
        raise ConfigurationError(
            "the scenario states acceptance, costs or hardware; the engine serves a calibration's own texts here."
        )
    if any(what_if != NO_CHANGE for what_if in scenario.what_if):
        raise ConfigurationError("the scenario asks what if; the engine serves what is here, and greedily.")


def _cases(scenario: Scenario) -> Iterator[Case]:
    for batching, arrivals, configuration in product(
        scenario.batching, scenario.workload.arrivals, scenario.configurations
    ):
        yield Case(batching, arrivals, configuration)


def _predict(world: ServingWorld, case: Case) -> ServedOutcome:
    return world.outcome(case.configuration, NO_CHANGE, case.batching, case.arrivals)


def _requests(world: ServingWorld, case: Case, sample: int) -> list[Request]:
    return [
        Request(list(prompt), case.configuration, len(path))
        for prompt, path in world.written(case.arrivals, sample)
    ]


def _how(case: Case, at: Sequence[float], users: int | None) -> Serve:
    b = case.batching
    return Serve(at, users, b.budget, b.discipline, b.chunks)


def _warm_up(pair: Pair, world: ServingWorld, configuration: Configuration, case: Case) -> None:
    few = _requests(world, case._replace(configuration=configuration), 0)[:WARM_REQUESTS]
    short = [replace(request, max_tokens=WARM_TOKENS) for request in few]
    pair.serve(configuration, short, _how(case, [0.0] * len(short), None))


def _serve(pair: Pair, world: ServingWorld, case: Case, sample: int) -> tuple[_Sample, list[str]]:
    """What came of it, and what has to be said: a draft may have failed."""
    drawn = world.requests(case.arrivals, sample)
    how = _how(case, drawn.at.tolist(), drawn.users)
    requests = _requests(world, case, sample)
    before, start = pair.waits(), time.perf_counter()
    served = pair.serve(case.configuration, requests, how)
    took = time.perf_counter() - start
    waited = waited_since(before, pair.waits()) / took if before else None
    simulated = world.written(case.arrivals, sample)
    others = sum(
        list(run.tokens) != list(path) for run, (_, path) in zip(served.runs, simulated, strict=True)
    )
    alone = [run.warning for run in served.runs if run.warning is not None]
    notes = []
    if alone:
        notes.append(f"{case.label()}: {len(alone)} texts were written without the draft; {alone[0]}")
    metrics = measure_service(served.service, world.scenario.workload.limits)
    rounds = sum(len(run.rounds) for run in served.runs)
    return _Sample(metrics, timeline(served.service), rounds, waited, others), notes


def _other_texts(found: Sequence[Sequence[_Sample]]) -> list[str]:
    """A note where near ties in rounded numbers have led texts elsewhere."""
    others = [sample.others for samples in found for sample in samples]
    some = [count for count in others if count]
    if not some:
        return []
    least, most = min(some), max(some)
    ranged = f"{least} to {most}" if least < most else f"{most}"
    return [
        f"in {len(some)} of {len(others)} services some texts are not those that are simulated, {ranged} of each, "
        "as near ties fall elsewhere in other batches"
    ]


def _waited(found: Sequence[_Sample]) -> float | None:
    shares = [sample.waited for sample in found if sample.waited is not None]
    return fmean(shares) if shares else None


def _measured(case: Case, found: Sequence[_Sample]) -> ServedOutcome:
    return ServedOutcome.of(
        case.configuration,
        case.batching,
        case.arrivals,
        [sample.metrics for sample in found],
        found[0].course,
        sum(sample.rounds for sample in found),
    )
