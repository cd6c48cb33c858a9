"""What `verify` says of the machine, and which configurations it runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_models import Calibrated, word_prompts
from verifications import verification

from calibrate.artifact import save_artifact
from calibrate.costs.drift import Drift, adjusted_for_drift
from calibrate.hardware import hardware
from calibrate.prompts import Prompt
from calibrate.revision import engine_revision
from engine.configuration import Configuration
from engine.errors import ConfigurationError, SpecBranchError
from engine.metrics import speed
from reports.page.report import render
from reports.tables import verified_summary
from reports.verify.error_budget import split_error
from reports.verify.fidelity import judge
from reports.verify.looks import Looks, plan_looks
from reports.verify.paired_runs import find_runs, open_replay
from reports.verify.plan import Plan
from reports.verify.run import _changed, configurations, is_verified, longest_text, verify
from reports.verify.tolerance import Tolerance
from reports.verify.verification import VERSION, Settling, load_verification, replay_folder, save_verification
from scenarios.what_if import WhatIf
from sim.acceptance.temperature import at_temperature
from sim.search.grid import Grid
from sim.search.tune import tune
from sim.search.tuned import TunedConfiguration, load_tuned, save_tuned
from sim.world.replay import Replay

DATA = Path(__file__).parent / "data"
CHOSEN = Configuration(policy="pearl", draft="int8")
ALONE = Configuration(policy="autoregressive")


def test_every_configuration_is_run_once_and_the_chosen_one_stays_so() -> None:
    tuned = TunedConfiguration(
        calibration=Path("c"),
        calibration_digest="d",
        searched=3,
        advice="a",
        chosen=CHOSEN,
        baselines=(ALONE, CHOSEN),
        others=(ALONE,),
    )
    assert configurations(tuned) == [(CHOSEN, "chosen"), (ALONE, "baseline")]


def test_a_change_of_pace_is_told_with_its_size() -> None:
    def pace(model: str, by: float) -> Drift:
        return Drift(
            placement="in-turn",
            model=model,
            calibrated=(0.01, 0.01),
            now=(0.01 * by, 0.01 * by),
        )

    assert _changed([pace("target", 1.02), pace("near", 0.98)]) == []
    (note,) = _changed([pace("target", 1.02), pace("near", 1.25), pace("far", 0.8)])
    assert "near in-turn 1.25 times" in note
    assert "far in-turn 0.80 times" in note
    assert "target" not in note


@pytest.mark.parametrize(
    "changes",
    [
        {"max_tokens": 1},
        {"seed": 9},
        {
            "tolerance": Tolerance(regret=0.5)
        },  # a bound is fixed before a run, and never fitted to one that is there
        {"settling": Settling(well="a", poor="b", alignment={})},
    ],
)
def test_a_record_stands_for_its_own_plan_alone(changes: dict[str, object]) -> None:
    made = verification()
    ranked = sorted(made.compared, key=lambda c: ("chosen", "baseline", "other").index(c.role))
    record = made.model_copy(update={"compared": tuple(ranked)})
    by_role = {
        role: tuple(c.configuration for c in ranked if c.role == role)
        for role in ("chosen", "baseline", "other")
    }
    tuned = TunedConfiguration(
        calibration=Path("c"),
        calibration_digest=made.calibration_digest,
        searched=1,
        advice="a",
        chosen=by_role["chosen"][0],
        baselines=by_role["baseline"],
        others=by_role["other"],
    )
    prompts = [Prompt(p.id, p.kind, "heldout", p.id) for p in made.prompts]
    written = zip(made.prompts, prompts, strict=True)
    record = record.model_copy(
        update={"prompts": tuple(p.model_copy(update={"digest": q.digest}) for p, q in written)}
    )
    record = record.model_copy(update={"hardware": hardware(), "engine_revision": engine_revision()})
    plan = Plan(made.max_tokens, made.repeats, made.seed)
    assert is_verified(record, tuned, prompts, plan)
    for elsewhere in ({"hardware": made.hardware}, {"engine_revision": None}):
        assert not is_verified(record.model_copy(update=elsewhere), tuned, prompts, plan)
    assert not is_verified(record, tuned, prompts, replace(plan, **changes))  # type: ignore[arg-type]
    assert not is_verified(record, tuned, prompts[1:], plan)
    warmer = tuned.model_copy(update={"what_if": WhatIf(temperature=1.0)})
    assert not is_verified(record, warmer, prompts, plan)
    # One that ended early stands for its plan: its prompts are the first of those that were planned.
    more = [Prompt(f"more {i}", "chat", "heldout", f"more {i}") for i in range(len(prompts))]
    planned = replace(plan, looks=2, minutes=3.0)
    looks = Looks(planned=plan_looks(2 * len(prompts), 2), minutes=3.0, ended="minutes")
    early = record.model_copy(update={"looks": looks})
    assert is_verified(early, tuned, [*prompts, *more], planned)
    assert not is_verified(early, tuned, [*more, *prompts], planned)
    assert not is_verified(early, tuned, prompts, planned)
    assert not is_verified(early, tuned, [*prompts, *more], replace(planned, looks=3))
    assert not is_verified(early, tuned, [*prompts, *more], replace(planned, minutes=4.0))
    assert not is_verified(record, tuned, [*prompts, *more], plan)  # which ended for no reason


def test_drawn_texts_are_verified_from_the_search_to_the_page(
    tiny_calibrated: Calibrated, tmp_path: Path
) -> None:
    pair, tokenizer, artifact = tiny_calibrated.pair, tiny_calibrated.tokenizer, tiny_calibrated.artifact
    grid = Grid(draft_lengths=(2, 4), branches=(1, 3), cuts=(0.0,), bounds=(0.4,), draw_drafts=(False, True))
    found = tune(artifact, grid, what_if=WhatIf(temperature=1.0), jobs=1, listed=12)
    save_tuned(tmp_path / "tuned.yaml", TunedConfiguration.of(found, tiny_calibrated.folder, artifact.digest))
    tuned = load_tuned(tmp_path / "tuned.yaml")
    drawn = next(c for c in (*tuned.baselines, *tuned.others) if c.draws_drafts)
    tuned = tuned.model_copy(update={"chosen": drawn, "others": (*tuned.others, tuned.chosen)})
    assert longest_text(artifact, tuned) == artifact.recorded.sampled_tokens
    plan = Plan(12, repeats=1, seed=5)
    made, replay = verify(pair, tokenizer, artifact, tuned, word_prompts("heldout"), plan)
    assert is_verified(made, tuned, word_prompts("heldout"), plan)
    record = tmp_path / "record.json"
    save_verification(record, made)
    save_artifact(replay_folder(record), replay)
    assert load_verification(record) == made
    assert made.temperature == 1.0
    assert (made.engine_revision, {one.far_context for one in made.compared}) == (engine_revision(), {False})
    texts: dict[int, set[tuple[int, ...]]] = {}
    for one in made.compared:
        assert one.mismatches == one.near_ties == 0
        for sample in one.samples:
            texts.setdefault(sample.prompt, set()).add(sample.run.tokens)
    assert all(len(some) == 1 for some in texts.values())  # one seed is one text, in float32
    assert {(p.placement, p.model) for p in made.pace} >= {
        (drawn.placement, "target"),
        (drawn.placement, "near"),
    }
    assert all(len(p.now) >= len(word_prompts("heldout")) for p in made.pace)
    for pace, crowds, known in ((made.pace, made.crowds, True), ((), (), False)):
        world = Replay(
            adjusted_for_drift(at_temperature(artifact, 1.0), pace, crowds), seed=5, tokens=plan.max_tokens
        )
        for one in made.compared:
            told = one.predicted.speed if known else one.as_calibrated
            assert told == speed(world.runs(one.configuration))
    again = open_replay(record)
    assert [tuple(trace.path) for trace in again.traces] == [min(texts[i]) for i in range(4)]
    budget = split_error(made, again)
    for row in budget.rows:
        assert row.matched == row.runs
    real, simulated = find_runs(record, made, drawn.label(), 1, ("engine", "simulator"))
    assert [r.emitted for r in real.rounds] == [r.emitted for r in simulated.rounds]
    assert any(check.name == "mismatches" and check.outcome == "held" for check in judge(made).checks)
    assert "drawn at temperature 1" in verified_summary(made)
    page = render(made, None, budget)
    assert "drawn at temperature 1" in page


@pytest.mark.parametrize(
    ("what_if", "tokens", "said"),
    [
        (WhatIf(target_speed=2.0), 12, "target x2"),
        (WhatIf(temperature=1.0), 41, "40 tokens at most"),
        (WhatIf(), 25, "24 tokens at most"),
    ],
)
def test_what_cannot_be_run_here_is_refused(
    tiny_calibrated: Calibrated, what_if: WhatIf, tokens: int, said: str
) -> None:
    pair, tokenizer, artifact = tiny_calibrated.pair, tiny_calibrated.tokenizer, tiny_calibrated.artifact
    tuned = TunedConfiguration(
        calibration=tiny_calibrated.folder,
        calibration_digest=artifact.digest,
        what_if=what_if,
        searched=1,
        advice="a",
        chosen=ALONE,
    )
    with pytest.raises(ConfigurationError, match=said):
        verify(pair, tokenizer, artifact, tuned, word_prompts("heldout"), Plan(tokens, repeats=1))


def test_texts_beyond_a_models_positions_are_refused_before_one_is_written(
    tiny_calibrated: Calibrated,
) -> None:
    pair, tokenizer, artifact = tiny_calibrated.pair, tiny_calibrated.tokenizer, tiny_calibrated.artifact
    tuned = TunedConfiguration(
        calibration=tiny_calibrated.folder,
        calibration_digest=artifact.digest,
        searched=1,
        advice="a",
        chosen=ALONE,
    )
    long = Prompt("long", "test", "heldout", " ".join(f"w{3 + i % 40}" for i in range(2040)))
    with pytest.raises(
        ConfigurationError, match=r"'long' has .* 2048 positions of 'target': .* --max-tokens"
    ):
        verify(pair, tokenizer, artifact, tuned, [*word_prompts("heldout"), long], Plan(12, repeats=1))


@pytest.mark.parametrize("version", [3, 5])
def test_older_records_load_for_ever(version: int) -> None:
    """As programs of these versions wrote them."""
    path = DATA / f"verification-{version}.json"
    written = json.loads(path.read_bytes())
    record = load_verification(path)
    assert (written["version"], record.version) == (version, VERSION)
    for one, old in zip(record.compared, written["compared"], strict=True):
        assert one.predicted.speed.value == old["predicted"]["speed"]["value"]
        # Up to version 3 there was no other pace than the calibration's.
        then = old.get("as_calibrated", old["predicted"]["speed"])
        assert one.as_calibrated.value == then["value"]
        assert not one.far_context
    assert "Predicted" in render(record)


def test_a_record_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    written = json.loads((DATA / "verification-5.json").read_bytes())
    for version, says in (
        (99, "newer program .version 99"),
        (2, "version 2, .* by their law"),
        (None, "damaged"),
    ):
        path.write_text(json.dumps({**written, "version": version}))
        with pytest.raises(SpecBranchError, match=f"{says}.*'specbranch verify --again'"):
            load_verification(path)
    for text in ("", "[]", json.dumps({"version": 3}), json.dumps({**written, "compared": 1})):
        path.write_text(text)
        with pytest.raises(SpecBranchError, match="damaged"):
            load_verification(path)
