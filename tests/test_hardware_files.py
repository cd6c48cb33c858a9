"""What `hardware` names: shipped files are whole and sourced, wrong ones are told by file, line and key."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from artifacts import artifact

from engine.errors import ConfigurationError
from scenarios.hardware_files import SHIPPED, read_device, read_model, read_profile
from scenarios.schema import load_scenario, load_scenarios
from sim.sweeps.run import run_scenario

SCENARIO = """\
title: t
acceptance: {independent: 0.5}
hardware:
  target: {profile: h100-llama-2-70b-tp4}
  draft:
    roofline:
      model: mine/config.json
      device:
        title: mine
        gigabytes_per_second: {value: 500, source: guessed}
        teraflops: {value: 50, source: guessed}
configurations:
  - policy: speculative
"""
CONFIG = {
    "architectures": ["X"],
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "vocab_size": 1000,
    "torch_dtype": "bfloat16",
}


def write(folder: Path, text: str = SCENARIO, changed: Mapping[str, object] = MappingProxyType({})) -> Path:
    (folder / "mine").mkdir(exist_ok=True)
    config = {key: value for key, value in {**CONFIG, **changed}.items() if value is not None}
    (folder / "mine" / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "s.yaml").write_text(text)
    return folder / "s.yaml"


def test_every_shipped_file_is_whole() -> None:
    profiles = [read_profile(path) for path in sorted((SHIPPED / "profiles").iterdir())]
    devices = [read_device(path) for path in sorted((SHIPPED / "devices").iterdir())]
    models = [read_model(path) for path in sorted((SHIPPED / "models").iterdir())]
    assert min(len(profiles), len(devices), len(models)) >= 3
    assert all(profile.excludes for profile in profiles)


def test_names_and_files_are_resolved_beside_the_scenario(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path))
    assert scenario.hardware is not None
    assert scenario.hardware.target.profile == read_profile(SHIPPED / "profiles/h100-llama-2-70b-tp4.yaml")
    roofline = scenario.hardware.draft.roofline
    assert roofline is not None
    assert roofline.model.hidden_size == 64
    (outcome,) = run_scenario(scenario)
    assert outcome.metrics.tokens == 60 * 128


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("h100-llama-2-70b-tp4", "h100-lama-2-70b-tp4", 4, "did you mean 'h100-llama-2-70b-tp4'?"),
        ("h100-llama-2-70b-tp4", "zzzz", 4, "there are: a100-llama-2-70b"),
        ("mine/config.json", "mine/conf.json", 7, "'hardware.draft.roofline.model': there is no file"),
        ("profile:", "profil:", 4, "'hardware.target.profil' is unknown, did you mean 'profile'?"),
        ("gigabytes_per_second", "gigabyte_per_second", 10, "did you mean 'gigabytes_per_second'?"),
        (
            ", source: guessed}",
            "}",
            10,
            "'hardware.draft.roofline.device.gigabytes_per_second.source' is missing",
        ),
        ("mine/config.json", "{hidden: 64}", 7, "did you mean 'hidden_size'?"),
        ("  target: {profile: h100-llama-2-70b-tp4}\n", "", 3, "'hardware.target' is missing"),
        (
            "h100-llama-2-70b-tp4",
            "h100-llama-2-70b-tp4, roofline: null, added: {layer_ms: 1}",
            4,
            "'layer_us'?",
        ),
        ("  target:", "  target: {}\n  tarket:", 5, "did you mean 'target'?"),
        (
            "policy: speculative",
            "policy: speculative\n    placement: threads",
            14,
            "only a calibration can tell",
        ),
        (
            "hardware:",
            "costs: {draft_step_ms: 1, target_forward_ms: 2}\nhardware:",
            4,
            "does not go with 'costs'",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    assert old in SCENARIO
    file = write(tmp_path, SCENARIO.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        load_scenario(file)
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert says in str(caught.value)


def test_lists_inside_make_a_scenario_for_each_choice(tmp_path: Path) -> None:
    text = SCENARIO.replace(
        "{profile: h100-llama-2-70b-tp4}", "{profile: [h100-llama-2-70b-tp4, a100-llama-2-70b]}"
    )
    text = text.replace("model: mine/config.json", "model: mine/config.json\n      devices: [1, 2]")
    scenarios = load_scenarios(write(tmp_path, text))
    found = []
    for scenario in scenarios:
        assert scenario.hardware is not None
        assert scenario.hardware.target.profile is not None
        assert scenario.hardware.draft.roofline is not None
        found.append((scenario.hardware.target.profile.title, scenario.hardware.draft.roofline.devices))
    assert len(set(found)) == len(scenarios) == 4
    assert [s.hardware.name for s in scenarios if s.hardware][:2] == [
        "target profile h100-llama-2-70b-tp4, draft devices 1",
        "target profile h100-llama-2-70b-tp4, draft devices 2",
    ]
    speeds = {outcome.speed.value for scenario in scenarios for outcome in run_scenario(scenario)}
    assert len(speeds) == 4
    with pytest.raises(ConfigurationError, match="names 4 kinds of hardware"):
        load_scenario(tmp_path / "s.yaml")


def test_a_profile_written_out_has_lists_of_its_own(tmp_path: Path) -> None:
    profile = """{profile: {title: p, layers: 2, source: guessed, excludes: [all, most],
    layer_ms: [{tokens: 1, ms: 1, source: g}, {tokens: 9, ms: 2, source: g}]}}"""
    text = SCENARIO.replace("{profile: h100-llama-2-70b-tp4}", profile)
    (scenario,) = load_scenarios(write(tmp_path, text))
    assert scenario.hardware is not None
    assert scenario.hardware.name == ""
    assert scenario.hardware.target.profile is not None
    assert len(scenario.hardware.target.profile.layer_ms) == 2


SEVERAL = """\
title: t
acceptance: {independent: 0.5}
hardware:
  - name: big
    target: {profile: h100-llama-2-70b-tp4}
    draft: {profile: a100-llama-2-70b}
  - target: {profile: a100-llama-2-70b}
    draft: {profile: a100-llama-2-70b}
configurations:
  - policy: speculative
"""


def test_hardware_may_be_a_list(tmp_path: Path) -> None:
    scenarios = load_scenarios(write(tmp_path, SEVERAL))
    assert [s.hardware.name for s in scenarios if s.hardware] == ["big", "target profile a100-llama-2-70b"]


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        (
            "  - target: {profile: a100-llama-2-70b}",
            "  - target: {profil: a100-llama-2-70b}",
            7,
            "'profile'?",
        ),
        (
            "  - target: {profile: a100-llama-2-70b}",
            "  - target: {profile: a10-llama-2-70b}",
            7,
            "did you mean",
        ),
        ("    draft: {profile: a100-llama-2-70b}\n  -", "    drift: {profile: x}\n  -", 6, "'draft'?"),
        (SEVERAL[SEVERAL.index("hardware:") : SEVERAL.index("config")], "hardware: []\n", 3, "is empty"),
    ],
)
def test_what_is_wrong_in_a_list_is_named(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    assert old in SEVERAL
    file = write(tmp_path, SEVERAL.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        load_scenarios(file)
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "line", "says"),
    [
        ("hidden_size", None, 1, "'hidden_size' is missing"),
        ("hidden_size", 0, 5, "'hidden_size': input should be greater"),
        ("num_local_experts", 8, 11, "a mixture of experts"),
    ],
)
def test_a_wrong_config_is_named_by_its_own_line(
    tmp_path: Path, key: str, value: object, line: int, says: str
) -> None:
    file = write(tmp_path, changed={key: value})
    with pytest.raises(ConfigurationError) as caught:
        load_scenario(file)
    assert str(caught.value).startswith(f"{tmp_path / 'mine' / 'config.json'}:{line}: ")
    assert says in str(caught.value)


def test_a_calibration_is_replayed_at_other_costs(tmp_path: Path) -> None:
    text = SCENARIO.replace("acceptance: {independent: 0.5}\n", "").replace(
        "policy: speculative", "policy: speculative\n    draft: [int8, distilled]"
    )
    measured = text[: text.index("hardware")] + text[text.index("configurations") :]
    made_up = artifact(prompts=3, tokens=24)
    other = list(run_scenario(load_scenario(write(tmp_path, text)), made_up))
    own = list(run_scenario(load_scenario(write(tmp_path, measured)), made_up))
    # The texts and what is accepted of the drafts stay; the times do not, nor where they are from.
    accepted = [o.metrics.mean_accepted_length for o in other]
    assert accepted == [o.metrics.mean_accepted_length for o in own]
    assert accepted[0] > accepted[1]
    assert other[0].speed.value > 1.5 * own[0].speed.value
    assert any("extrapolated, not measured here" in note for note in other[0].notes)
    assert not any("measured on other hardware" in note for note in other[0].notes)
