"""Every path that a verb takes: one that is not there, or not what it should be, is said in one sentence."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from artifacts import artifact
from commands import call
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import save_tiny
from typer.main import get_command

import specbranch
from calibrate.artifact import load_artifact, save_artifact
from engine.configuration import Configuration
from engine.errors import ConfigurationError, SpecBranchError
from engine.models.specs import ModelSpec
from engine.models.tokenizer import Tokenizer
from engine.paths import check_model, looks_like_a_path
from engine.runtime.loading import load_model
from sim.search.tuned import TunedConfiguration, save_tuned

CLI: Any = get_command(specbranch.app)

# What a verb needs beside the path in question.
BESIDE = {
    "calibrate": ["--out", "new"],
    "generate": ["hi"],
    "simulate": ["s.yaml"],
    "verify-load": ["s.yaml"],
    "merge": ["--out", "merged.csv"],
    "count-ngrams": ["--out", "n.safetensors"],
}
# By parameter: how it is given where that is not its own option, and what it is.
GIVEN = {
    ("simulate", "scenario"): (["PATH"], "file"),
    ("simulate", "against"): (["--against", "PATH"], "file"),
    ("verify-load", "scenario"): (["PATH"], "file"),
    ("serve-bench", "requests_of"): (["--arrivals", "PATH"], "file"),
    ("inspect", "folder"): (["PATH"], "folder"),
    ("bench-load", "folder"): (["--folder", "PATH"], "output folder"),
    ("verify", "config"): (["PATH"], "file"),
    ("export", "config"): (["PATH"], "file"),
    ("report", "record"): (["PATH"], "file"),
    ("trace", "record"): (["PATH"], "file"),
    ("compare", "records"): (["PATH", "PATH"], "file"),
    ("compare", "out"): (["a.json", "a.json", "--out", "PATH"], "output"),
    ("map", "points"): (["--points", "PATH"], "file"),
    ("map", "more"): (["--points", "PATH"], "file"),
    ("merge", "tables"): (["PATH", "--out", "merged.csv"], "file"),
    ("merge", "out"): (["a.csv", "--out", "PATH"], "output"),
    ("count-ngrams", "out"): (["--out", "PATH"], "output"),
    ("calibrate", "out"): (["--out", "PATH"], "output folder"),
    ("bench-calibration", "out"): (["--out", "PATH"], "output folder"),
    ("train-hrad", "out"): (["--out", "PATH"], "output folder"),
}
KINDS = {
    "own": "file",
    "kept": "output",
    "config": "file",
    "ngrams": "file",
    "shown": "file",
    "tolerance": "file",
    "calibration": "folder",
    "costs_from": "folder",
    "target": "folder",
    "draft_model": "folder",
    "hrad_networks": "named folder",
    "out": "output",
    "page": "output",
    "markdown": "output",
    "trace": "output",
    "table": "table",
}
# What is tried of each kind: what is there at the path.
TRIED = {
    "file": ("nothing", "a folder", "garbage"),
    "folder": ("nothing", "a folder", "garbage"),
    "named folder": ("nothing", "garbage"),
    "output": ("a folder", "a path below a file"),
    "output folder": ("garbage", "a path below a file"),
    "table": ("a folder", "garbage", "a path below a file"),
}
ELSEWHERE = {("export", "draft_model")}  # a name on another machine


FUNCTIONS = {
    made.name or made.callback.__name__: made.callback
    for made in specbranch.app.registered_commands
    if made.callback
}


def is_path(verb: str, name: str) -> bool:
    return "Path" in str(get_type_hints(FUNCTIONS[verb])[name]) or name in (
        "target",
        "draft_model",
        "tolerance",
    )


PARAMETERS = [
    (verb, parameter.name, parameter.opts[0])
    for verb, command in CLI.commands.items()
    for parameter in command.params
    if parameter.name != "help" and is_path(verb, parameter.name) and (verb, parameter.name) not in ELSEWHERE
]


def cases() -> Iterator[tuple[list[str], str]]:
    for verb, name, option in PARAMETERS:
        words, kind = GIVEN.get((verb, name), ([*BESIDE.get(verb, []), option, "PATH"], KINDS.get(name)))
        assert kind, f"'{verb}' has a new path, {option}: say here what it is"
        target = ["--target", "tiny"] if name == "draft_model" else []
        yield from (([verb, *words, *target], there) for there in TRIED[kind])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a calibration, a choice, a scenario and a tiny model."""
    folder = tmp_path_factory.mktemp("prepared")
    runs = folder / "runs"
    save_artifact(runs / "calibration", artifact(prompts=1, tokens=6))
    tuned = TunedConfiguration(
        calibration=runs / "calibration",
        calibration_digest=load_artifact(runs / "calibration").digest,
        searched=1,
        advice="made up",
        chosen=Configuration(policy="autoregressive"),
    )
    save_tuned(runs / "tuned.yaml", tuned)
    (runs / "verification.json").write_text('{"version": 1, "compared": []}')
    (folder / "s.yaml").write_text("title: t\nconfigurations:\n  - policy: autoregressive\n")
    (folder / "a.csv").write_text("")
    (runs / "load.json").write_text('{"created": "", "compared": [], "pace": []}')
    (runs / "bench.json").write_text('{"version": 1, "budgets": {}, "rows": [], "trials": []}')
    (runs / "schedule.yaml").write_text("calibration: calibration\nstretches: []\n")
    (folder / "noted.yaml").write_text("a: 1\n")
    (folder / "page.html").write_text("<!doctype html>\n<title>t</title>\n")
    (folder / "prompts.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    (folder / "trace.csv").write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,1,1\n")
    save_tiny(folder / "tiny", seed=0)
    (folder / "a folder").mkdir()
    (folder / "garbage").write_bytes(b"\x00\xff{[ garbage\n")
    return folder


@pytest.mark.parametrize(("words", "there"), list(cases()), ids=str)
def test_a_wrong_path_is_said(
    words: list[str],
    there: str,
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(prepared)
    path = "garbage/below" if there == "a path below a file" else f"./{there}"
    code = call(*(path if word == "PATH" else word for word in words))
    out, err = capsys.readouterr()
    assert code == 1, (out, err)
    assert out == ""
    assert err.strip().startswith("specbranch: ")
    assert "\n" not in err.strip()
    assert path.removeprefix("./") in err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("inspect", "runs"), "name runs/calibration."),
        (("tune", "--calibration", "runs"), "name runs/calibration."),
        (("inspect", "runs/tuned.yaml"), "'specbranch verify runs/tuned.yaml' runs it"),
        (("inspect", "s.yaml"), "is a scenario, where a calibration's folder is wanted"),
        (("inspect", "garbage"), "a calibration is a folder"),
        (("inspect", "runs/calibration/costs.json"), "name runs/calibration."),
        (("tune", "--calibration", "tiny"), "is a model's folder, where a calibration's folder is wanted"),
        (("report", "runs/tuned.yaml"), "'specbranch verify runs/tuned.yaml' runs it"),
        (("report", "s.yaml"), "'specbranch simulate s.yaml' replays it"),
        (("report", "noted.yaml"), "is a YAML file, where a record of 'specbranch verify' is wanted; run"),
        (("report", "runs/calibration"), "'specbranch inspect runs/calibration' prints what is in it"),
        (("report", "runs/load.json"), "is a record of 'specbranch verify-load', where a record of"),
        (("map", "--points", "runs/tuned.yaml"), "is a choice of 'specbranch tune', where a record of"),
        (("compare", "runs/tuned.yaml", "runs/tuned.yaml"), "'specbranch verify runs/tuned.yaml' runs it"),
        (("trace", "runs/bench.json"), "'specbranch bench --show runs/bench.json' prints it"),
        (("bench", "--show", "runs/verification.json"), "'specbranch report runs/verification.json' makes"),
        (("simulate", "runs/calibration"), "'specbranch inspect runs/calibration' prints"),
        (("simulate", "--against", "s.yaml"), "where a record of 'specbranch verify' is wanted"),
        (
            ("simulate", "s.yaml", "--table", "prompts.jsonl"),
            "is a file of prompts, where a table of simulated",
        ),
        (("verify-load", "runs/tuned.yaml"), "is a choice of 'specbranch tune', where a scenario is wanted"),
        (("verify-load", "runs/schedule.yaml"), "'specbranch export runs/schedule.yaml' prints it"),
        (("verify", "runs/schedule.yaml"), "where a choice of 'specbranch tune' is wanted"),
        (
            ("verify", "page.html"),
            "is a page, where a choice of 'specbranch tune' is wanted; a browser opens",
        ),
        (("verify", "--tolerance", "runs/tuned.yaml"), "where a file of a verdict's bounds is wanted"),
        (("calibrate", "--own-prompts", "s.yaml"), "is a scenario, where a file of prompts is wanted"),
        (
            ("merge", "trace.csv", "trace.csv", "--out", "b.csv"),
            "'specbranch serve-bench --arrivals trace.csv'",
        ),
        (("simulate", "defualt"), "did you mean 'default'"),
        (("simulate", "scenarios/draft-length.yaml"), "did you mean 'draft-length'"),
        (("simulate", "runs"), "a scenario is a file"),
        (("simulate", "runs/tuned.yaml"), "'specbranch verify runs/tuned.yaml' runs it"),
        (
            ("verify", "runs/verification.json"),
            "'specbranch report runs/verification.json' makes a page of it",
        ),
    ],
    ids=str,
)
def test_a_near_miss_names_what_was_meant(
    words: tuple[str, ...],
    hint: str,
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(prepared)
    assert call(*words) == 1
    err = capsys.readouterr().err.strip()
    assert hint in err
    assert "\n" not in err


@pytest.mark.parametrize("damaged", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_model_is_said(damaged: str, prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared / "tiny", tmp_path / "model")
    (tmp_path / "model" / damaged).write_bytes((prepared / "garbage").read_bytes())
    spec = ModelSpec(source=str(tmp_path / "model"))
    load: Callable[[ModelSpec], object] = load_model if damaged == "model.safetensors" else Tokenizer
    with pytest.raises(SpecBranchError, match=r"could not be loaded: .+[^:]$") as said:
        load(spec)
    assert "\n" not in str(said.value)


@given(st.text("ab/.-_", min_size=1, max_size=12))
def test_only_what_no_hub_id_can_be_is_taken_for_a_path(name: str) -> None:
    parts = name.split("/")
    could_be_an_id = len(parts) <= 2 and all(parts) and not name.startswith(".")
    assert looks_like_a_path(name) != could_be_an_id


def test_what_looks_like_a_path_and_is_not_there_is_no_hub_id(tmp_path: Path) -> None:
    for name in ("/no/such/folder", "./none", "../none", "~/none", "a/b/c", "none\\here"):
        with pytest.raises(
            ConfigurationError, match=r"there is no folder .*; name a folder that a model was saved"
        ):
            check_model(name)
    check_model("owner/name")
    check_model("name")
    (tmp_path / "config.json").write_text("{}")
    check_model(str(tmp_path))


def test_a_model_that_is_not_there_is_told_from_those_that_are(tmp_path: Path) -> None:
    """The nearest one beside what was named, and what lies in a folder that is none itself."""
    for name in ("target-1b", "draft"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "config.json").write_text("{}")
    (tmp_path / "models" / "target-1c").mkdir()  # no model's
    models = tmp_path / "models"
    for wrong, said in (
        (models / "target-1d", f"did you mean {models / 'target-1b'}?"),
        (
            models / "else",
            "name a folder that a model was saved to, with its config.json, or an id of the hub.",
        ),
        (models, f"has no config.json; name {models / 'draft'} or {models / 'target-1b'}, which"),
        (models / "target-1c", "name a folder that a model was saved to"),
        (models / "draft" / "config.json", "is a file; a model is a folder, or an id of the hub."),
    ):
        with pytest.raises(ConfigurationError) as raised:
            check_model(str(wrong))
        assert said in str(raised.value)


def test_a_hub_id_that_cannot_be_fetched_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert call("generate", "hi", "--target", "owner/none") == 1
    err = capsys.readouterr().err
    assert "no folder 'owner/none'" in err
    assert "fetch it where there is a network" in err
