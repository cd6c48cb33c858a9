"""Exports say what a system has, and say so where it lacks the method."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from artifacts import artifact
from commands import call

from calibrate.artifact import save_artifact
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.models.specs import ModelSpec
from engine.runtime.placement import PLACEMENTS
from scenarios.calibrations import REFERENCE
from sim.search.exports import DRAFT, SYSTEMS, export, export_by_load, restriction
from sim.search.grid import Grid
from sim.search.tuned import load_tuned

SPECULATIVE = Configuration(policy="speculative", draft_length=5, placement="in-turn")
ALONE = Configuration(policy="autoregressive", placement="in-turn")
LOOKUP = Configuration(policy="prompt-lookup", draft_length=4, longest_match=3, first_match=True)
WHOLE = {"small": ModelSpec(source="a/small"), "smaller": ModelSpec(source="a/smaller")}
MADE_HERE = {
    "int8": ModelSpec(source="a/large", bits=8),
    "cut": ModelSpec(source="a/small", kept_tokens="kept.safetensors"),
    "distilled": ModelSpec(source="a/large", distilled="small.safetensors"),
}


def test_vllm_takes_one_json_argument() -> None:
    flag, value = shlex.split(export(SPECULATIVE, "vllm", "a model").text)
    assert flag == "--speculative-config"
    assert json.loads(value) == {"method": "draft_model", "model": "a model", "num_speculative_tokens": 5}
    _, value = shlex.split(export(LOOKUP, "vllm").text)
    assert json.loads(value)["method"] == "ngram"
    assert json.loads(value)["prompt_lookup_max"] == 3


@pytest.mark.parametrize(
    ("system", "drawn", "said"),
    [
        ("vllm", True, "rejects by p / q"),
        ("vllm", False, None),
        ("sglang", True, "draws none"),
        ("sglang", False, None),
        ("transformers", True, "rejects by p / q"),
        ("transformers", False, "it draws draft tokens"),
    ],
)
def test_what_becomes_of_draws_is_said(system: str, drawn: bool, said: str | None) -> None:
    configuration = SPECULATIVE.model_copy(update={"draw_drafts": drawn})
    made = export(configuration, system, "m", temperature=1.0)
    assert made.exact is (said is None)
    assert any(said in warning for warning in made.warnings) if said else True
    assert ("probabilistic" in made.text) is (drawn and system == "vllm")
    assert export(configuration, system, "m").exact  # greedily there is nothing to draw


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_helps_a_draft_here_is_not_promised(system: str) -> None:
    for name, value, said in (
        ("guesses", 2, "n-grams"),
        ("repeats", 2, "n-grams"),
        ("second_under", 0.5, "second"),
    ):
        made = export(SPECULATIVE.model_copy(update={name: value}), system, "m")
        assert not made.exact
        assert any(said in warning for warning in made.warnings)


BY_LOAD = Configuration(policy="length-by-load", lengths_by_load="1-4:4/5-12:2/13-:0", placement="in-turn")


def test_vllm_takes_lengths_by_load_from_a_configuration_as_from_a_schedule() -> None:
    made = export(BY_LOAD, "vllm", "org/draft")
    assert made.exact
    assert any("EAGLE" in warning for warning in made.warnings)
    flag, value = shlex.split(made.text)
    given = json.loads(value)
    lengths = given.pop("num_speculative_tokens_per_batch_size")
    assert (flag, given) == (
        "--speculative-config",
        {"method": "draft_model", "model": "org/draft", "num_speculative_tokens": 4},
    )
    # What vLLM asks of them (validate_and_normalize_dynamic_sd_schedule): from 1 on, behind one another, each with an
    # end; and what it makes of them is the length at each number of requests.
    assert [first for first, *_ in lengths] == [1, *(last + 1 for _, last, _ in lengths[:-1])]
    said = {n: length for first, last, length in lengths for n in range(first, last + 1)}
    assert all(said[n] == BY_LOAD.length_at(n) for n in range(1, 65))
    stretches = [(1, 4, 4), (5, 12, 2), (13, 64, 0)]
    plain = [
        (first, last, SPECULATIVE.model_copy(update={"draft_length": length}) if length else ALONE)
        for first, last, length in stretches
    ]
    scheduled = export_by_load(plain, "vllm", "org/draft")
    assert shlex.split(scheduled.text.replace("[13, 64, 0]", str(lengths[-1]))) == [flag, value]


def test_lengths_by_load_without_a_draft_set_nothing() -> None:
    assert export(BY_LOAD.model_copy(update={"lengths_by_load": "1-:0"}), "vllm").text == ""


@pytest.mark.parametrize("system", ["sglang", "transformers"])
def test_who_is_not_told_of_the_load_drafts_as_much_as_it_ever_does(system: str) -> None:
    made = export(BY_LOAD, system, "m")
    assert not made.exact
    assert "it is not told of draft lengths by load: this drafts 4 tokens at every load" in made.warnings
    assert made.text == export(SPECULATIVE.model_copy(update={"draft_length": 4}), system, "m").text


def test_sglang_judges_one_token_more_than_is_drafted() -> None:
    words = shlex.split(export(SPECULATIVE, "sglang", "draft's folder").text)
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert given["--speculative-draft-model-path"] == "draft's folder"
    assert given["--speculative-num-steps"] == "5"
    assert given["--speculative-num-draft-tokens"] == "6"
    assert not export(LOOKUP, "sglang").exact


@pytest.mark.parametrize("configuration", [SPECULATIVE, LOOKUP], ids=lambda c: c.policy)
def test_transformers_takes_every_key(configuration: Configuration) -> None:
    from transformers import GenerationConfig

    settings = json.loads(export(configuration, "transformers", "m").text)
    config: Any = GenerationConfig(**settings)  # type: ignore[no-untyped-call]
    for key, value in settings.items():
        assert getattr(config, key) == value
    config.validate()


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("policy", ["pearl", "specbranch", "adaedl"])
def test_what_a_system_lacks_is_said_aloud(system: str, policy: str) -> None:
    made = export(Configuration(policy=policy, draft_length=4), system, "m")
    assert not made.exact
    assert any("it has no" in warning for warning in made.warnings)


@pytest.mark.parametrize("system", SYSTEMS)
def test_without_a_draft_there_is_nothing_to_set(system: str) -> None:
    assert export(Configuration(policy="autoregressive"), system).text == ""


def test_a_missing_name_is_asked_for() -> None:
    made = export(SPECULATIVE, "vllm")
    assert DRAFT in made.text
    assert any("--draft-model" in warning for warning in made.warnings)


def test_an_unknown_system_is_named() -> None:
    with pytest.raises(ConfigurationError, match="vllm, sglang, transformers"):
        export(SPECULATIVE, "tgi")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("system", SYSTEMS)
def test_what_a_search_for_a_system_goes_through_is_exported_exactly(system: str, temperature: float) -> None:
    drafts = WHOLE | MADE_HERE
    grid = Grid(draft_lengths=(1, 4), draw_drafts=(False, True), first_match=(False, True))
    everything = grid.configurations(tuple(drafts), PLACEMENTS)
    allows = restriction(system, drafts, temperature).allows
    kept = 0
    for configuration in everything:
        draft = drafts[name] if (name := configuration.draft_among(drafts)) else None
        made = export(configuration, system, temperature=temperature, draft=draft)
        assert made.exact is allows(configuration)
        kept += made.exact
        if made.exact and draft:
            assert configuration.policy == "speculative"
            assert configuration.draft in WHOLE
            assert DRAFT not in made.text
    assert 0 < kept < len(everything)
    by_model = [c for c in everything if c.policy == "speculative" and allows(c)]
    # Draft tokens that transformers draws at a temperature are drawn otherwise than here.
    assert bool(by_model) is not (system == "transformers" and temperature > 0.0)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_draft_made_here_is_left_out_and_the_way_out_is_said(system: str) -> None:
    only = restriction(system, MADE_HERE)
    assert not any(only.allows(SPECULATIVE.model_copy(update={"draft": name})) for name in MADE_HERE)
    assert any("int8, cut, distilled" in note and "--draft-model" in note for note in only.notes)
    assert only.allows(Configuration(policy="autoregressive"))
    (said,) = [w for w in export(SPECULATIVE, system, "m", draft=MADE_HERE["int8"]).warnings if "int8" in w]
    assert "made here" in said


def test_prompt_lookup_goes_by_the_first_match_elsewhere() -> None:
    last = LOOKUP.model_copy(update={"first_match": False})
    assert export(LOOKUP, "vllm").exact
    assert export(LOOKUP, "transformers").exact
    for system in SYSTEMS:
        assert not export(last, system).exact


def test_where_a_draft_cannot_run_is_said() -> None:
    apart = SPECULATIVE.model_copy(update={"placement": "at-once"})
    assert export(apart, "transformers", "m").exact
    assert any("a device of its own" in warning for warning in export(apart, "transformers", "m").warnings)
    for system in ("vllm", "sglang"):
        assert not export(apart, system, "m").exact


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("calibration", ["reference", "whole drafts"])
def test_what_was_tuned_for_a_system_is_exported_as_it_is(
    system: str, calibration: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = REFERENCE, tmp_path / "tuned.yaml"
    if calibration != "reference":
        folder = tmp_path / "calibration"
        save_artifact(folder, artifact(prompts=2, tokens=24, drafts={"small": (0.95, 0.002)}))
    words = ["--calibration", str(folder), "--for", system, "--out", str(out), "--jobs", "1", "--json"]
    assert call("tune", *words) == 0
    tuned = load_tuned(out)
    assert json.loads(capsys.readouterr().out)["system"] == tuned.system == system
    assert call("export", str(out), "--json") == 0  # and to that system, without being told again
    made = json.loads(capsys.readouterr().out)
    assert made["exact"]
    assert tuned.advice.startswith(f"of what {SYSTEMS[system].title} runs, ")
    if calibration != "reference":
        assert tuned.chosen.policy == "speculative"
        assert "--draft-model" not in " ".join(made["warnings"])  # the calibration knows its name
    others = [c for c in (*tuned.baselines, *tuned.others, *tuned.tied) if c.drafts]
    draft = next(iter(tuned.drafts.values()))
    assert all(export(c, system, "m", draft=draft if "draft" in c.uses else None).exact for c in others)


def test_export_of_what_no_system_has_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tuned.yaml"
    out.write_text("calibration: c\ncalibration_digest: d\nsearched: 1\nadvice: a\nchosen: {policy: pearl}\n")
    assert call("export", str(out), "--to", "vllm") == 1
    assert "specbranch tune --for vllm" in capsys.readouterr().err
    assert call("export", str(out), "--to", "vllm", "--nearest") == 0
    assert call("tune", "--for", "tgi") == 1
    assert "vllm, sglang, transformers" in capsys.readouterr().err
