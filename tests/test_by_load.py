"""A schedule by load: as good as the best at every load, with as few changes as there can be."""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import hypothesis.strategies as st
import pytest
from artifacts import artifact, with_batches
from commands import call
from hypothesis import given

from calibrate.artifact import Artifact, save_artifact
from calibrate.cost_records import Cell
from engine.configuration import Configuration
from engine.errors import CalibrationError, ConfigurationError
from engine.models.specs import ModelSpec
from engine.runtime.workload import Arrivals, Limits
from engine.service_metrics import measure_service
from scenarios.schema import Scenario
from scenarios.served import ScenarioWorkload
from sim.search.exports import export_by_load, restriction
from sim.search.grid import Aids, Grid
from sim.sweeps import load_scores
from sim.sweeps.by_load import MOST, Schedule, fewest_changes, schedule_by_load
from sim.sweeps.load_scores import VALUES, LoadObjective, batching_for
from sim.sweeps.schedule_file import (
    ScheduledStretch,
    ScheduleFile,
    export_schedule,
    is_schedule,
    load_schedule,
    save_schedule,
)
from sim.sweeps.served import ServingWorld
from sim.world.replay import NO_CHANGE

GRID = Grid(
    policies=("autoregressive", "speculative", "pearl", "specbranch"),
    draft_lengths=(1, 4),
    branches=(2,),
    adaptive_branches=(False,),
    cuts=(0.0,),
    redraft=(False,),
    aids=(Aids(),),
)
USERS = (1, 3, 8)
LOADS = [Arrivals(users=users) for users in USERS]
SAMPLES = 3


def made(prompt_tokens: int = 40) -> Artifact:
    drafts = {"int8": (0.85, 0.006), "small": (0.5, 0.002)}
    return with_batches(artifact(jitter=False, drafts=drafts, tokens=24, prompt_tokens=prompt_tokens))


@pytest.fixture(scope="module", autouse=True)
def few_requests() -> Iterator[None]:
    """Of each load, so that everything can be served at every load."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load_scores, "ALL", 3)
        patch.setattr(load_scores, "FEWEST", (4, 9))
        yield


@pytest.fixture(scope="module")
def calibrated() -> Artifact:
    return made()


@pytest.fixture(scope="module")
def found(calibrated: Artifact) -> Schedule:
    return search(calibrated)


def search(calibrated: Artifact, **options: object) -> Schedule:
    given = {"samples": SAMPLES, "jobs": 1, "sequences": 8, **options}
    return schedule_by_load(calibrated, LOADS, GRID, **given)  # type: ignore[arg-type]


def exhaustive(
    calibrated: Artifact, objective: LoadObjective, limits: Limits
) -> dict[int, dict[Configuration, float]]:
    """The value of every configuration at every load, by all requests of all samples."""
    drafts = tuple(calibrated.recorded.drafts)
    configurations = GRID.configurations(drafts, ("at-once", "in-turn"))
    work = ScenarioWorkload(arrivals=tuple(LOADS), limits=limits, samples=SAMPLES)
    scenario = Scenario(title="t", workload=work, configurations=configurations)
    world, found = ServingWorld(scenario, calibrated), {}
    for load in LOADS:
        assert load.users is not None
        count = max(load_scores.FEWEST[1], load_scores.ALL * load.users)
        found[load.users] = {
            c: fmean(
                VALUES[objective](
                    measure_service(
                        world.serve(c, NO_CHANGE, batching_for(c, 8), load, sample, count), limits
                    )
                )
                for sample in range(SAMPLES)
            )
            for c in configurations
        }
    return found


@pytest.mark.parametrize(
    ("objective", "limits"),
    [
        ("tokens-per-second", Limits()),
        ("goodput", Limits(first_token_seconds=0.5, token_seconds=0.1)),
        ("p95-token-seconds", Limits()),
    ],
)
def test_it_loses_little_against_everything_at_every_load(
    calibrated: Artifact, objective: LoadObjective, limits: Limits
) -> None:
    """The first look at a few requests leaves out nothing that matters, and a tie costs no more than is allowed."""
    found = search(calibrated, objective=objective, limits=limits)
    values = exhaustive(calibrated, objective, limits)
    assert found.searched == len(values[1])
    for result in found.results:
        here = values[result.arrivals.users or 0]
        assert result.chosen.value == pytest.approx(here[result.chosen.configuration])
        best = max(here.values())
        assert result.scores[0].value == pytest.approx(best)
        assert best - result.chosen.value <= MOST * abs(best)
        assert result.scores[0] in result.tied
        assert result.chosen in result.tied
        alone = [value for c, value in here.items() if not c.drafts]
        assert result.autoregressive.value == pytest.approx(max(alone))


def test_the_same_seed_finds_the_same_schedule(calibrated: Artifact, found: Schedule) -> None:
    other = search(calibrated)
    assert found.stretches == other.stretches
    assert [r.chosen.values for r in found.results] == [r.chosen.values for r in other.results]


def test_stretches_lie_behind_one_another_and_hold_what_was_chosen(found: Schedule) -> None:
    assert found.stretches[0].first == 1
    assert found.stretches[-1].last is None
    for before, after in itertools.pairwise(found.stretches):
        assert after.first == (before.last or 0) + 1
        assert before.configuration != after.configuration
    for result in found.results:
        users = result.arrivals.users or 0
        (holding,) = [s for s in found.stretches if s.first <= users and (s.last is None or users <= s.last)]
        assert holding.configuration == result.chosen.configuration


def test_a_change_between_loads_is_where_the_two_cross() -> None:
    """Drafting that pays for one user and loses for eight: up to how many users it pays, by all requests."""
    cheap = made(prompt_tokens=2)
    placements = tuple(
        placed.model_copy(
            update={
                name: tuple(dearer(cell) for cell in getattr(placed, name)) for name in ("target", "batched")
            }
        )
        for placed in cheap.costs.placements
    )
    costs = cheap.costs.model_copy(update={"placements": placements})
    crossing = Artifact(costs, cheap.recorded, cheap.traces)
    found = schedule_by_load(crossing, [LOADS[0], LOADS[2]], GRID, samples=SAMPLES, jobs=1, sequences=16)
    first, *_, last = found.stretches
    assert first.configuration.drafts
    assert (first.configuration, first.last) != (last.configuration, None)
    assert not last.configuration.drafts
    world = ServingWorld(
        Scenario(
            title="t",
            workload=ScenarioWorkload(arrivals=tuple(LOADS), samples=SAMPLES),
            configurations=(first.configuration,),
        ),
        crossing,
    )

    def speed(configuration: Configuration, users: int) -> float:
        load, count = Arrivals(users=users), max(load_scores.FEWEST[1], load_scores.ALL * users)
        return fmean(
            measure_service(
                world.serve(configuration, NO_CHANGE, batching_for(configuration, 16), load, sample, count)
            ).tokens_per_second
            for sample in range(SAMPLES)
        )

    if len(found.stretches) == 2:
        end = int(first.last or 0)
        assert 1 <= end < 8
        assert end == 1 or speed(first.configuration, end) >= speed(last.configuration, end)
        assert end == 7 or speed(first.configuration, end + 1) < speed(last.configuration, end + 1)


def dearer(cell: Cell) -> Cell:
    """As much again for each row beyond six."""
    more = 1.0 + max(0, cell.rows - 6)
    return cell.model_copy(update={"seconds": tuple(second * more for second in cell.seconds)})


configurations = [
    Configuration(policy="autoregressive"),
    *(Configuration(policy="speculative", draft_length=length) for length in (1, 2, 3)),
]
ties = st.lists(
    st.lists(st.sampled_from(configurations), min_size=1, max_size=4, unique=True), min_size=1, max_size=5
)


@given(ties)
def test_no_choice_has_fewer_changes(tied: Sequence[Sequence[Configuration]]) -> None:
    chosen = fewest_changes(tied)
    assert all(one in some for one, some in zip(chosen, tied, strict=True))

    def changes(these: Sequence[Configuration]) -> int:
        return sum(one != other for one, other in itertools.pairwise(these))

    assert changes(chosen) == min(map(changes, itertools.product(*tied)))


def test_rates_are_parted_in_the_middle(calibrated: Artifact) -> None:
    loads = [Arrivals(rate=rate) for rate in (0.5, 8.0)]
    found = schedule_by_load(calibrated, loads, GRID, samples=2, jobs=1)
    assert found.by_rate
    if len(found.stretches) > 1:
        assert (found.stretches[0].last, found.stretches[1].first) == (2.0, 2.0)
    for wrong in ([], [*loads, LOADS[0]]):
        with pytest.raises(ConfigurationError, match="by numbers of users, or by requests a second"):
            schedule_by_load(calibrated, wrong, GRID)


def test_costs_without_batches_are_refused(calibrated: Artifact) -> None:
    with pytest.raises(CalibrationError, match="--again --batches"):
        schedule_by_load(artifact(), LOADS, GRID, samples=2, jobs=1)


def test_one_way_of_drafting_is_exported(calibrated: Artifact) -> None:
    """Whatever a server runs, its lengths alone differ, and the export says them by the number of requests."""
    drafts = {name: ModelSpec(source=f"org/{name}") for name in calibrated.recorded.drafts}
    only = restriction("vllm", drafts)
    found = search(calibrated, only=only, one_method=True)
    kinds = {
        (s.configuration.policy, s.configuration.draft) for s in found.stretches if s.configuration.drafts
    }
    assert len(kinds) <= 1
    assert all(only.allows(s.configuration) for s in found.stretches)
    written = ScheduleFile.of(
        found, Path("c"), calibrated.digest, drafts, sequences=8, what_if=NO_CHANGE, seed=0, system="vllm"
    )
    made = export_schedule(written, "vllm")
    assert made.exact
    if kinds:
        settings = json.loads(made.text.split("'")[1])
        lengths = settings["num_speculative_tokens_per_batch_size"]
        assert lengths[0][0] == 1
        assert lengths[-1][1] == 8
        assert settings["num_speculative_tokens"] == max(length for *_, length in lengths)


SPECULATIVE = Configuration(policy="speculative", draft="int8", draft_length=4, placement="in-turn")


def test_an_export_has_a_length_for_each_range_of_requests() -> None:
    stretches = [
        (1, 4, SPECULATIVE),
        (5, 12, SPECULATIVE.model_copy(update={"draft_length": 2})),
        (13, 64, Configuration(policy="autoregressive", placement="in-turn")),
    ]
    made = export_by_load(stretches, "vllm", "org/draft")
    settings = json.loads(made.text.removeprefix("--speculative-config ").strip("'"))
    assert settings == {
        "method": "draft_model",
        "model": "org/draft",
        "num_speculative_tokens": 4,
        "num_speculative_tokens_per_batch_size": [[1, 4, 4], [5, 12, 2], [13, 64, 0]],
    }
    assert made.exact
    assert export_by_load(stretches[2:], "vllm").text == ""
    with pytest.raises(ConfigurationError, match="SGLang is not told of draft lengths by load"):
        export_by_load(stretches, "sglang")
    several = [stretches[0], (5, 64, Configuration(policy="prompt-lookup", placement="in-turn"))]
    with pytest.raises(ConfigurationError, match="drafts in one way, and this schedule in several"):
        export_by_load(several, "vllm")


def test_a_file_says_it_again(calibrated: Artifact, found: Schedule, tmp_path: Path) -> None:
    written = ScheduleFile.of(
        found, tmp_path / "c", calibrated.digest, {}, sequences=8, what_if=NO_CHANGE, seed=0
    )
    save_schedule(tmp_path / "s.yaml", written)
    assert load_schedule(tmp_path / "s.yaml") == written
    assert is_schedule(tmp_path / "s.yaml")
    rates = written.model_copy(update={"by": "requests a second"})
    with pytest.raises(ConfigurationError, match="by requests a second: make one by --users"):
        export_schedule(rates, "vllm")
    labels = [
        ScheduledStretch(first=first, last=last, configuration=SPECULATIVE).label
        for first, last in ((1, 4), (5, 5), (6, None))
    ]
    assert labels == ["1-4", "5", "6-"]


def test_the_verb_writes_what_export_reads(
    calibrated: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sim.sweeps.by_load.LOAD_GRID", GRID)
    save_artifact(Path("served"), calibrated)
    common = ("schedule", "--calibration", "served", "--jobs", "1", "--samples", "2")
    assert call(*common, "--users", "1,4", "--out", "s.yaml") == 0, capsys.readouterr().err
    shown = capsys.readouterr().out
    assert "Schedule by users:" in shown
    assert "4 users" in shown
    assert load_schedule(Path("s.yaml")).stretches[0].first == 1
    assert call(*common, "--for", "vllm", "--users", "1,4", "--out", "v.yaml") == 0
    capsys.readouterr()
    assert call("export", "v.yaml") == 0, capsys.readouterr().err
    for wrong, says in (
        (("--users", "1,x"), "--users '1,x' is no list of numbers"),
        (("--rates", "0"), "--rates '0' is no list of numbers"),
        (("--rates", "1", "--users", "1"), "name one of them"),
        (("--objective", "speed"), "there is no objective 'speed'"),
        (("--objective", "goodput"), "goodput is of requests within limits"),
    ):
        assert call(*common, *wrong) == 1
        assert says in capsys.readouterr().err
