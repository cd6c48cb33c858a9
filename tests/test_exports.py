"""Exports say what a system has, and say so where it lacks the method."""

import json
import shlex
from typing import Any

import pytest

from engine.configuration import Configuration
from engine.errors import ConfigurationError
from scenarios.exports import DRAFT, SYSTEMS, export

SPECULATIVE = Configuration(policy="speculative", draft_length=5, placement="in-turn")
LOOKUP = Configuration(policy="prompt-lookup", draft_length=4, longest_match=3)


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
