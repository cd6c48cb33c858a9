"""Served requests on the real engine beside what is simulated of them, and the verdict on that."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_load_page import serve
from tiny_models import only, word_prompts

from calibrate.artifact import Artifact, load_artifact
from calibrate.costs.measurement import SamplingBudget
from calibrate.run import Effort, calibrate
from engine.errors import ConfigurationError
from engine.models.tokenizer import Tokenizer
from engine.runtime.pair import Pair
from engine.runtime.placement import Placement
from engine.service_metrics import FIGURES, estimates
from reports.load import verifying
from reports.load.load_fidelity import BOUNDS, judge_loads
from reports.load.load_page import opening, render, write_verified
from reports.load.load_tables import regret_said, said
from reports.load.ranking import settings
from reports.load.verifying import (
    ComparedLoad,
    LoadVerification,
    check_scenario,
    count_services,
    verify_loads,
)
from scenarios.schema import Scenario, load_scenario
from sim.sweeps.served_outcome import ServedOutcome

SCENARIO = """\
title: t
workload:
  arrivals: {users: [1, 3]}
  requests: 6
  samples: 2
  tokens: 12
configurations:
  - {policy: autoregressive, placement: in-turn}
  - {policy: speculative, draft: near, draft_length: 3, placement: in-turn}
  - {policy: pearl, draft: near, draft_length: 2, placement: at-once}
"""


def scenario_in(folder: Path) -> Scenario:
    (folder / "s.yaml").write_text(SCENARIO)
    return load_scenario(folder / "s.yaml")


@pytest.fixture(scope="module")
def batched(tiny_pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Artifact]:
    """A tiny pair and its calibration, with batches."""
    pair, folder = only(tiny_pair, "near"), tmp_path_factory.mktemp("calibration")
    laps = SamplingBudget(1, seconds=0.0, together_seconds=0.01, batches=True)
    calibrate(pair, Tokenizer(pair.target), word_prompts("calibration"), Effort("tiny", 4, 24, laps), folder)
    return pair, load_artifact(folder)


@pytest.fixture(scope="module")
def verified(
    batched: tuple[Pair, Artifact], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Scenario, LoadVerification, list[str]]:
    scenario = scenario_in(tmp_path_factory.mktemp("load"))
    heard: list[str] = []
    seats: set[str] = set()

    def watched(timing: Callable[..., Any]) -> Callable[..., Any]:
        def timed(pair: Pair, placement: Placement, *others: Any) -> Any:
            seats.add(placement)
            return timing(pair, placement, *others)

        return timed

    with pytest.MonkeyPatch.context() as patch:
        for name in ("time_pace", "time_contention"):
            patch.setattr(verifying, name, watched(getattr(verifying, name)))
        found = verify_loads(*batched, scenario, heard.append)
    assert seats == {"in-turn", "threads"}  # where they serve, and not where they were calibrated
    return scenario, found, heard


def test_the_engine_serves_the_requests_that_are_simulated(
    verified: tuple[Scenario, LoadVerification, list[str]],
) -> None:
    scenario, found, heard = verified
    assert len(heard) == count_services(scenario) == 2 * 2 * 3
    assert [(one.measured.arrivals.users, one.measured.configuration.policy) for one in found.compared] == [
        (users, c.policy) for users in (1, 3) for c in scenario.configurations
    ]
    for one in found.compared:
        for told, real in zip(one.predicted.samples, one.measured.samples, strict=True):
            assert (told.requests, told.tokens) == (real.requests, real.tokens)
            assert [d.models for d in told.devices] == [d.models for d in real.devices]
            if one.measured.arrivals.users == 1:  # nobody else's forwards are merged with these
                assert [d.forwards for d in told.devices] == [d.forwards for d in real.devices]
        assert one.as_calibrated.configuration == one.predicted.configuration == one.measured.configuration
    assert found.notes == ()  # in float32 the texts are those that are simulated, and no draft failed
    paced = {(drift.placement, drift.model): len(drift.now) for drift in found.pace}
    assert paced == {
        ("in-turn", "target"): 8,
        ("in-turn", "near"): 4,
        ("at-once", "target"): 4,
        ("at-once", "near"): 4,
    }
    (contention,) = found.contention
    assert (contention.placement, contention.draft) == ("at-once", "near")
    assert {t.sequences for t in contention.together} == {1, 4, 16}
    assert all(len(t.target_together) >= 2 * 2 for t in contention.together)  # in each sample


def test_the_page_shows_both_worlds(
    verified: tuple[Scenario, LoadVerification, list[str]],
    batched: tuple[Pair, Artifact],
    tmp_path: Path,
) -> None:
    scenario, found, _ = verified
    write_verified(scenario, found, batched[1], tmp_path / "p.html")
    html = (tmp_path / "p.html").read_text()
    assert "Can I trust it?" in html
    assert judge_loads(found.compared).verdict in html
    served = [(scenario, [one.predicted for one in found.compared])]
    (setting,) = settings(served, [one.measured for one in found.compared])
    for load in setting.loads:
        for rank in load.ranks:
            assert rank.measured is not None
            assert rank.measured.configuration == rank.outcome.configuration
            assert rank.measured.arrivals == load.arrivals
    assert "The engine served the same requests" in html
    assert "The engine served the same requests" not in render(served, batched[1])


def test_the_page_opens_with_what_was_measured_to_be_better(
    verified: tuple[Scenario, LoadVerification, list[str]],
) -> None:
    scenario, found, _ = verified
    served = [(scenario, [one.predicted for one in found.compared])]
    right = replace(found, compared=tuple(replace(one, measured=one.predicted) for one in found.compared))
    best = max(right.compared[:2], key=lambda one: one.predicted.figures["tokens_per_second"].value)
    slow = replace(best, measured=at(best.predicted, np.full(len(best.predicted.samples), 0.01)))
    wrong = replace(right, compared=tuple(slow if one is best else one for one in right.compared))
    for verification, beaten in ((right, False), (wrong, True)):
        said = opening(served, settings(served), None, verification)
        lines = said.alarms if beaten else said.sentences
        assert regret_said(judge_loads(verification.compared)) in lines
        assert bool(said.alarms) is beaten


def at(outcome: ServedOutcome, factors: np.ndarray) -> ServedOutcome:
    """As if all samples had been so many times as fast."""
    samples = tuple(
        replace(
            m,
            tokens_per_second=m.tokens_per_second * f,
            token=replace(m.token, median=m.token.median / f),
            first_token=replace(m.first_token, p95=m.first_token.p95 / f),
        )
        for m, f in zip(outcome.samples, factors, strict=True)
    )
    return replace(outcome, samples=samples, figures=estimates(samples))


@pytest.mark.parametrize(
    ("off", "spread", "verdict"),
    [(0.0, 0.001, "PASS"), (0.3, 0.001, "FAIL"), (-0.3, 0.001, "FAIL"), (0.0, 0.3, "TOO NOISY TO TELL")],
)
def test_the_verdict_follows_from_errors_and_their_scatter(
    tmp_path: Path, off: float, spread: float, verdict: str
) -> None:
    outcomes = serve(tmp_path, samples=6)[0][1]
    rng = np.random.default_rng(0)
    compared = [
        ComparedLoad(o, o, at(o, (1.0 + off) * np.exp(spread * rng.standard_normal(6)))) for o in outcomes
    ]
    found = judge_loads(compared)
    assert found.verdict == verdict
    assert [check.figure for check in found.checks] == [
        bound.name for bound in BOUNDS for _ in range(1 + (bound.median is not None))
    ]
    for one in compared:
        for bound in BOUNDS:
            figures = (one.predicted.figures[bound.figure].value, one.measured.figures[bound.figure].value)
            assert one.error(bound.figure) == pytest.approx(figures[0] / figures[1] - 1.0)
            assert bound.figure in FIGURES


@pytest.mark.parametrize(
    ("waited", "reference", "said_to_be"),
    [
        (0.06, (1e-3, 1e-3), "for 6.0% of the runs' time threads waited for a core"),
        (0.01, (1e-3, 1e-3, 2e-3), "and 1.30 is allowed"),
    ],
)
def test_an_unsteady_machine_decides_nothing(
    tmp_path: Path, waited: float, reference: tuple[float, ...], said_to_be: str
) -> None:
    """By the rule of `verify`, whatever was predicted: what is far off, too."""
    outcomes = serve(tmp_path, samples=6)[0][1]
    rng = np.random.default_rng(0)
    scattered = [np.exp(0.001 * rng.standard_normal(6)) for _ in outcomes]
    for off in (1.0, 1.5):
        compared = [
            ComparedLoad(o, o, at(o, off * s), waited) for o, s in zip(outcomes, scattered, strict=True)
        ]
        found = judge_loads(compared, reference)
        assert found.verdict == "TOO NOISY TO TELL"
        assert said_to_be in said(found)
        assert judge_loads([replace(one, waited=0.01) for one in compared]).verdict != "TOO NOISY TO TELL"


def test_regret_is_what_the_predicted_best_lacks_of_the_measured_one(tmp_path: Path) -> None:
    outcomes = serve(tmp_path, samples=3)[0][1]
    best = max(outcomes[:3], key=lambda o: o.figures["tokens_per_second"].value)
    same = [ComparedLoad(o, o, o) for o in outcomes]
    assert [regret.lacks.value for regret in judge_loads(same).regrets] == pytest.approx([0.0] * 4)
    slowed = [ComparedLoad(o, o, at(o, np.full(3, 0.5)) if o is best else o) for o in outcomes]
    second = sorted(o.figures["tokens_per_second"].value for o in outcomes[:3])[-2]
    lacks = 1.0 - 0.5 * best.figures["tokens_per_second"].value / second
    assert judge_loads(slowed).regrets[0].lacks.value == pytest.approx(lacks, rel=1e-3)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  arrivals: {users: [1, 3]}\n  requests: 6\n  samples: 2\n", "", "no 'arrivals'"),
        ("title: t", "title: t\ncosts: {target_forward_ms: 3, draft_step_ms: 1}", "states"),
        ("title: t", "title: t\nwhat_if: {target_speed: 2}", "what if"),
    ],
)
def test_what_the_engine_cannot_serve_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    (tmp_path / "s.yaml").write_text(SCENARIO.replace(old, new))
    with pytest.raises(ConfigurationError, match=said):
        check_scenario(load_scenario(tmp_path / "s.yaml"))


def test_texts_that_differ_are_told_once(tmp_path: Path) -> None:
    """However many services have some: a note for each would hide what else there is to know."""
    (outcome, *_) = serve(tmp_path, samples=3)[0][1]
    samples = [
        verifying._Sample(outcome.samples[0], outcome.timeline, rounds=1, waited=None, others=others)
        for others in (0, 2, 3)
    ]
    (note,) = verifying._other_texts([samples, samples])
    assert note.startswith("in 4 of 6 services some texts are not those that are simulated, 2 to 3 of each")
    assert verifying._other_texts([samples[:1]]) == []
