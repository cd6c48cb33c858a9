"""Scenario files: the shipped ones run, and a wrong one is named by file, line, key and nearest key."""

import json
from pathlib import Path

import pytest
from artifacts import artifact

from calibrate.artifact import Artifact, load_artifact, save_artifact
from engine.errors import CalibrationError, ConfigurationError
from engine.metrics import measure
from engine.policies import policy_names, uses
from scenarios import calibrations
from scenarios.schema import load_scenario, load_scenarios
from scenarios.what_if import Link, WhatIf
from sim.scripts.script import ScriptSession
from sim.sweeps.run import first_run, run_scenario

EVERY = sorted((Path(__file__).parent.parent / "scenarios").glob("*.yaml"))
SHIPPED = [
    path for path in EVERY if not load_scenarios(path)[0].served
]  # others: tests/test_served_scenarios.py
STATED = """\
title: t
acceptance: {independent: 0.5}
costs:
  draft_step_ms: 1
  target_forward_ms: 4
configurations:
  - policy: pearl
    draft_length: [2, 3]
"""
REPLAYED = """\
title: t
calibration: mine
workload: {prompts: 4, tokens: 20}
what_if:
  draft_speed: [1, 2]
  link:
    latency_ms: [1, 5]
    megabits_per_second: 100
configurations:
  - policy: speculative
    draft: int4
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "s.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_scenarios_run(path: Path) -> None:
    made_up = artifact(prompts=12, tokens=24, kinds=("mathematics", "code", "story"), drawn=True)
    for scenario in load_scenarios(path):
        kinds = scenario.workload.kinds
        tokens = 8 * 24 if kinds else 8 * 24 + 4 * 17  # stories end early
        outcomes = list(run_scenario(scenario, made_up))
        assert len(outcomes) == scenario.outcomes
        for outcome in outcomes:
            assert outcome.metrics.tokens == (60 * 128 if scenario.stated else tokens)
            assert outcome.speed.low <= outcome.speed.value <= outcome.speed.high
            assert outcome.speed_up.low <= outcome.speed_up.value <= outcome.speed_up.high
            assert any("extrapolated" in note for note in outcome.notes) is (scenario.hardware is not None)


REPLAYING = [path for path in SHIPPED if load_scenarios(path)[0].stated is None]


@pytest.fixture(scope="module")
def shipped() -> Artifact:
    return load_artifact(calibrations.REFERENCE)


@pytest.mark.parametrize("path", REPLAYING, ids=lambda p: p.stem)
def test_shipped_scenarios_run_on_the_shipped_calibration(path: Path, shipped: Artifact) -> None:
    for scenario in load_scenarios(path):
        work = scenario.workload.model_copy(update={"prompts": 2, "tokens": 12})
        (first, *_) = run_scenario(scenario.model_copy(update={"workload": work}), shipped)
        assert first.metrics.tokens == 2 * 12


def test_there_are_scenarios_over_a_calibration_and_one_without() -> None:
    kinds = {path.stem: load_scenarios(path)[0].stated is None for path in SHIPPED}
    assert sum(kinds.values()) >= 6
    assert not kinds["stated-costs"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_the_first_run_is_of_the_first_outcome(path: Path) -> None:
    scenario = load_scenarios(path)[0]
    made_up = artifact(prompts=12, tokens=24, kinds=("mathematics", "code", "story"), drawn=True)
    work = scenario.workload.model_copy(update={"prompts": 1})
    alone = next(run_scenario(scenario.model_copy(update={"workload": work}), made_up))
    configuration, run = first_run(scenario, made_up)
    assert configuration == alone.configuration
    assert measure([run]) == alone.metrics


def test_autoregressive_has_speed_up_one(tmp_path: Path) -> None:
    file = write(tmp_path, STATED.replace("pearl", "autoregressive"))
    speed_ups = [o.speed_up.value for o in run_scenario(load_scenario(file))]
    assert speed_ups == pytest.approx([1.0, 1.0])


def test_the_baseline_is_the_best_autoregressive_placement(tmp_path: Path) -> None:
    text = "title: t\nconfigurations: [{policy: autoregressive, placement: [at-once, in-turn]}]\n"
    at_once, in_turn = run_scenario(load_scenario(write(tmp_path, text)), artifact())
    assert in_turn.speed_up.value == pytest.approx(1.0)  # in turn the target may have both cores
    assert at_once.speed_up.value < 0.8
    (alone,) = run_scenario(
        load_scenario(write(tmp_path, text.replace(", in-turn", ""))), artifact(placements=["at-once"])
    )
    assert alone.speed_up.value == pytest.approx(1.0)


def test_a_calibration_is_named_relative_to_the_file(tmp_path: Path) -> None:
    save_artifact(tmp_path / "mine", artifact(prompts=5, tokens=24))
    outcomes = list(run_scenario(load_scenario(write(tmp_path, REPLAYED))))
    assert [o.what_if for o in outcomes] == [
        WhatIf(draft_speed=speed, link=Link(latency_ms=latency, megabits_per_second=100))
        for speed in (1, 2)
        for latency in (1, 5)
    ]
    assert {o.metrics.tokens for o in outcomes} == {20 + 17 + 20 + 20}  # prompts 0, 1, 2, 3; one ends early
    assert outcomes[0].notes == ("measured on other hardware: made up",)


def test_costs_may_come_from_another_calibration(tmp_path: Path) -> None:
    """What is simulated is the traces' texts at the other's speed; and every outcome says so."""
    save_artifact(tmp_path / "mine", artifact(prompts=5, tokens=24))
    made = artifact(prompts=2, seed=1, jitter=False)
    update = {"created": "2026-03-03T00:00:00+00:00"}
    slow = made.costs.model_copy(update=update), made.recorded.model_copy(update=update)
    save_artifact(tmp_path / "slow", Artifact(*slow, made.traces))
    own, other = (
        list(run_scenario(load_scenario(write(tmp_path, text))))
        for text in (REPLAYED, f"{REPLAYED}costs_from: slow\n")
    )
    both = load_artifact(tmp_path / "mine", costs=tmp_path / "slow")
    for here, there in zip(own, other, strict=True):
        assert here.metrics.tokens == there.metrics.tokens
        assert here.metrics.mean_accepted_length == there.metrics.mean_accepted_length
        assert here.speed != there.speed
        assert any(note.startswith("costs and traces come from two calibrations") for note in there.notes)
        assert both.remarks[0] in there.notes


def test_which_calibration_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(calibrations, "REFERENCE", tmp_path / "reference")
    with pytest.raises(CalibrationError, match="run 'specbranch calibrate'"):
        calibrations.find_calibration()
    save_artifact(tmp_path / "reference", artifact(prompts=1))
    assert calibrations.find_calibration() == tmp_path / "reference"
    save_artifact(calibrations.OWN, artifact(prompts=2))
    assert calibrations.find_calibration() == calibrations.OWN
    assert calibrations.find_calibration(key=Path("key")) == Path("key")
    assert calibrations.find_calibration(Path("flag"), Path("key")) == Path("flag")
    assert len(calibrations.open_calibration().traces) == 2


@pytest.mark.parametrize(
    ("text", "old", "new", "line", "says"),
    [
        (STATED, "draft_step_ms", "draft_step_mss", 4, "did you mean 'draft_step_ms'?"),
        (STATED, "draft_length", "draft_lenght", 8, "did you mean 'draft_length'?"),
        (STATED, "[2, 3]", "[2, 0]", 8, "greater than or equal to 1"),
        (STATED, "title: t\n", "", 1, "'title' is missing"),
        (STATED, "title: t", "titel: t", 1, "did you mean 'title'?"),
        (STATED, "pearl", "perl", 7, "did you mean 'pearl'"),
        (STATED, "title: t", "title: t\ncalibration: x", 2, "does not go with stated"),
        (STATED, "title: t", "title: t\ncosts_from: x", 2, "'costs_from': does not go with 'acceptance'"),
        (STATED, "acceptance: {independent: 0.5}\n", "", 2, "needs 'acceptance' beside it"),
        (STATED, "title: t", "title: t\nwhat_if: {alignment: 0.5}", 2, "shifts a calibration"),
        (STATED, "draft_length: [2, 3]", "draft: int4", 8, "one draft without a name"),
        (
            REPLAYED,
            "latency_ms",
            "latency",
            7,
            "'what_if.link.latency' is unknown, did you mean 'latency_ms'?",
        ),
        (REPLAYED, "[1, 5]", "[1, -5]", 7, "'what_if.link.latency_ms': input should be greater"),
        (
            REPLAYED,
            "draft_speed",
            "draft_sped",
            5,
            "'what_if.draft_sped' is unknown, did you mean 'draft_speed'?",
        ),
        (STATED, "title: t", "title: t\nwhat_if: {temperature: [0, 1]}", 2, "picks a calibration's texts"),
        (STATED, "[2, 3]", "2\n    repeats: 7", 9, "'configurations.0.repeats': it looks for repetitions in"),
        (STATED, "[2, 3]", "[2, 3]\n    repeats: [0, 7]", 9, "looks for repetitions in real text"),
        (STATED, "[2, 3]", "[2, 3]\n    guesses: [0, 2]", 9, "'configurations.0.guesses': it looks for"),
        (STATED, "policy: pearl", "policy: [pearl, prompt-lookup]", 7, "prompt-lookup looks for repetitions"),
        (STATED, "pearl", "specbranch\n    hrad: [false, true]", 8, "nothing of how H-RAD would predict"),
        (
            STATED,
            "configurations:\n",
            "configurations:\n  - policy: pearl\n  - {policy: speculative, repeats: [0, 3]}\n",
            8,
            "'configurations.1.repeats'",
        ),
        (STATED, "title: t", "title: t\nworkload: {kinds: [code]}", 2, "here no text is known"),
        (STATED, "independent: 0.5", "independant: 0.5", 2, "did you mean 'independent'?"),
        (STATED, "independent: 0.5", "independent: 0.5, bursty: {acceptance: 0.5, mean_run: 4}", 2, "either"),
        (STATED, "independent: 0.5", "bursty: {acceptance: 0.5, mean: 4}", 2, "did you mean 'mean_run'?"),
        (STATED, "independent: 0.5", "bursty: {acceptance: 0.9, mean_run: 4}", 2, "9 tokens long on average"),
        (REPLAYED, "prompts: 4", "kind: [code]", 3, "did you mean 'kinds'?"),
        (REPLAYED, "tokens: 20", "token: 20", 3, "did you mean 'tokens'?"),
        (REPLAYED, "    megabits_per_second: 100\n", "", 6, "'what_if.link.megabits_per_second' is missing"),
    ],
)
def test_wrong_key_is_named(tmp_path: Path, text: str, old: str, new: str, line: int, says: str) -> None:
    assert old in text
    file = write(tmp_path, text.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        load_scenario(file)
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert says in str(caught.value)


@pytest.mark.parametrize("policy", policy_names())
def test_stated_acceptance_is_never_taken_for_text(
    policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tokens are ranks, so whatever a policy would look up among them it would find: who reads them is refused."""
    text = STATED.replace("pearl", policy).replace("costs:", "workload: {prompts: 2, tokens: 9}\ncosts:")

    def read(session: ScriptSession) -> list[int]:
        raise AssertionError("a policy read the ranks of stated acceptance")

    monkeypatch.setattr(ScriptSession, "text", property(read))
    refused = 0
    for setting in ("repeats: 7", "guesses: 3", "hrad: true", "second_under: 0.9", "redraft: true", ""):
        try:
            scenario = load_scenario(write(tmp_path, text + f"    {setting}\n"))
        except ConfigurationError:
            refused += 1
            continue
        assert all(outcome.metrics.tokens == 18 for outcome in run_scenario(scenario))
    used = uses(policy)
    everything = policy == "prompt-lookup"
    assert refused == (6 if everything else sum(key in used for key in ("repeats", "guesses", "hrad")))


def test_a_list_of_what_ifs_is_named_by_its_entry(tmp_path: Path) -> None:
    text = "title: t\nwhat_if:\n  - {}\n  - alignment: [0.5, 1.5]\nconfigurations: [{policy: pearl}]\n"
    with pytest.raises(ConfigurationError, match=r":4: key 'what_if.1.alignment': input should be less"):
        load_scenario(write(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("draft: int4", "draft: int3", "no draft 'int3'; its drafts: int8, int4, distilled"),
        ("prompts: 4", "prompts: 40", "asks for 40 prompts, but the calibration recorded 6"),
        ("prompts: 4", "prompts: 4, kinds: [code]", "asks for 4 prompts, but the calibration recorded 2 of"),
        (
            "prompts: 4",
            "kinds: [code, chta]",
            r"s.yaml:3: key 'workload.kinds.1': .* no prompts of kind 'chta'; did you mean 'chat'",
        ),
        ("prompts: 4", "kinds: [zzz]", "no prompts of kind 'zzz'; its kinds: chat, code, story"),
    ],
)
def test_what_the_calibration_does_not_have(tmp_path: Path, old: str, new: str, says: str) -> None:
    scenario = load_scenario(write(tmp_path, REPLAYED.replace(old, new)))
    with pytest.raises(ConfigurationError, match=says):
        list(run_scenario(scenario, artifact(tokens=24)))


ELSEWHERE = """\
title: t
hardware:
  target: {roofline: {model: llama-3.1-8b, device: h100-sxm}}
  draft:
    roofline:
      model: small.json
      device: h100-sxm
configurations: [{policy: autoregressive}]
"""


def test_texts_end_where_a_models_positions_do(tmp_path: Path) -> None:
    """Stated ones and a calibration's, on hardware whose models are known; before anything is simulated."""
    shape = json.loads((SHIPPED[0].parent / "hardware/models/llama-3.2-1b.json").read_text())
    (tmp_path / "small.json").write_text(json.dumps(shape | {"max_position_embeddings": 200}))
    stated = ELSEWHERE + "acceptance: {independent: 0.5}\nworkload: {prompt_tokens: 73, prompts: 1}\n"
    says = r"s.yaml:6: key 'hardware.draft.roofline.model': it has 200 positions .* up to 201 tokens"
    with pytest.raises(ConfigurationError, match=says):
        next(run_scenario(load_scenario(write(tmp_path, stated))))
    (outcome,) = run_scenario(load_scenario(write(tmp_path, stated.replace("73", "72"))))
    assert outcome.metrics.tokens == 128
    replayed = load_scenario(write(tmp_path, ELSEWHERE))
    with pytest.raises(ConfigurationError, match=says):
        next(run_scenario(replayed, artifact(prompts=2, tokens=20, prompt_tokens=180)))
    assert (
        next(run_scenario(replayed, artifact(prompts=1, tokens=20, prompt_tokens=180))).metrics.tokens == 20
    )


def test_kinds_pick_prompts(tmp_path: Path) -> None:
    text = "title: t\nworkload: {kinds: KINDS}\nconfigurations: [{policy: autoregressive}]\n"
    made_up = artifact(prompts=6, tokens=24)  # of each kind two; stories have 17 tokens

    def tokens(kinds: str) -> int:
        (outcome,) = run_scenario(load_scenario(write(tmp_path, text.replace("KINDS", kinds))), made_up)
        return outcome.metrics.tokens

    assert tokens("[story]") == 2 * 17
    assert tokens("[chat, code]") == 4 * 24
    assert tokens("[story, chat, code]") == tokens("null") == 4 * 24 + 2 * 17


def test_longer_runs_of_the_same_share_are_accepted_further(tmp_path: Path) -> None:
    runs = "bursty: {acceptance: 0.5, mean_run: 12}"
    (_, independent), (_, bursty) = (
        run_scenario(load_scenario(write(tmp_path, STATED.replace("independent: 0.5", acceptance))))
        for acceptance in ("independent: 0.5", runs)
    )
    assert bursty.metrics.mean_accepted_length > independent.metrics.mean_accepted_length


def test_a_missing_calibration_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="holds no whole calibration"):
        list(run_scenario(load_scenario(write(tmp_path, REPLAYED))))


@pytest.mark.parametrize(
    ("text", "says"), [("a: [", "not valid YAML"), ("- a", "is a mapping"), ("", "is a mapping")]
)
def test_not_a_mapping(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load_scenario(write(tmp_path, text))
