"""Every command that the README and the documents show is run as written or, where that takes long, parsed."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import replayed_records
from artifacts import artifact
from commands import call
from tiny_models import save_tiny
from typer.main import get_command

import specbranch
from calibrate.artifact import HRAD_FOLDER, load_artifact, save_artifact
from engine.configuration import Configuration
from engine.models import ModelSpec
from reports.verification import replay_folder, save_verification
from scenarios.tuned import TunedConfiguration, save_tuned
from sim.grid import Grid
from sim.regime_map import regime_map

ROOT = Path(__file__).parent.parent
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
CLI: Any = get_command(specbranch.app)

# What a document leaves to its reader, and what stands for it here.
PLACEHOLDERS = {
    r"\bNAME\b": "default",
    r"\bFOLDER\b": "runs/calibration",
    r"\bRUN\.json\b": "runs/verification.json",
    r"\bRUN\b": "runs/verification.json",
    r"\bFILE\b": "runs/file.safetensors",
}

# Verbs that are parsed by the real command line and not run, and why; tests elsewhere run them on small models.
LONG = {
    "calibrate": "measures for minutes",
    "verify": "runs the engine for minutes",
    "bench": "runs every policy for a quarter of an hour",
    "bench-calibration": "calibrates three times",
    "bench-sim": "times the simulator for minutes",
    "distill": "trains for hours",
    "count-ngrams": "lets the target write for a quarter of an hour",
    "train-hrad": "lets the target write, and trains",
    "hardware-check": "calibrates, verifies and races on a GPU",
}

# What `tune` searches here, since thousands of configurations take their time.
SMALL: dict[str, Any] = {"draft_lengths": (2, 4), "branches": (2,), "cuts": (0.0,), "bounds": (0.4,)}
# And the places that `map` works out.
FEW: dict[str, Any] = {"ratios": (1.5, 12.0), "alignments": (0.5, 0.9)}

BEGINS = re.compile(r"(?:\.venv/bin/)?specbranch |make [a-z]|python -m ")
MENTION = re.compile(rf"(?:{'|'.join(map(re.escape, CLI.commands))}) --")


def blocks_and_prose(text: str) -> tuple[list[str], str]:
    """The lines of fenced and of indented blocks, and all the rest."""
    lines: list[str] = []
    prose: list[str] = []
    fenced = False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            lines.append(line.strip())
        else:
            prose.append(line)
    return lines, "\n".join(prose)


def shown(text: str) -> Iterator[str]:
    """The commands of a document, and mentions of a verb with an option."""
    lines, prose = blocks_and_prose(text)
    spans = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose))
    for found in (*lines, *spans):
        if BEGINS.match(found) or MENTION.match(found):
            yield found


COMMANDS = sorted({found for document in DOCUMENTS for found in shown(document.read_text())})


def words_of(command: str) -> list[str]:
    for placeholder, stand_in in PLACEHOLDERS.items():
        command = re.sub(placeholder, stand_in, command)
    return shlex.split(command, comments=True)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the verbs write, each small: two calibrated texts, a choice, records, tables."""
    folder = tmp_path_factory.mktemp("prepared")
    runs = folder / "runs"
    save_artifact(runs / "calibration", artifact(prompts=2, tokens=10, drawn=True))
    (runs / "calibration" / HRAD_FOLDER).mkdir()
    chosen = Configuration(policy="prompt-lookup", first_match=True, placement="in-turn")
    tuned = TunedConfiguration(
        calibration=runs / "calibration",
        calibration_digest=load_artifact(runs / "calibration").digest,
        searched=1,
        advice="made up",
        chosen=chosen,
    )
    save_tuned(runs / "tuned.yaml", tuned)
    record = replayed_records.record(replayed_records.HERE, replayed_records.ELSEWHERE)
    for name in ("verification.json", "wide.json"):
        save_verification(runs / name, record)
        save_artifact(replay_folder(runs / name), replayed_records.HERE)
    (folder / "scenarios").symlink_to(ROOT / "scenarios")
    scenario = folder / "s.yaml"
    for name, policy in (("A", "pearl"), ("B", "speculative")):
        scenario.write_text(f"title: t\nconfigurations:\n  - policy: {policy}\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            assert call("simulate", "s.yaml", "--table", f"{name}.csv", "--jobs", "1") == 0
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which a command is run."""
    place = tmp_path / "here"
    shutil.copytree(prepared, place, symlinks=True)
    monkeypatch.chdir(place)
    return place


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelSpec, dict[str, ModelSpec]]:
    """What stands for the default pair."""
    source = save_tiny(tmp_path_factory.mktemp("tiny"), seed=0)
    spec = ModelSpec(source=source, precision="float32")
    return spec, {"int8": spec.model_copy(update={"bits": 8})}


@pytest.mark.parametrize("command", [c for c in COMMANDS if not MENTION.match(c)])
def test_what_is_shown_works(
    command: str,
    folder: Path,
    tiny: tuple[ModelSpec, dict[str, ModelSpec]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program, *words = words_of(command)
    if program == "make":
        plan = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert plan.returncode == 0, plan.stderr
    elif program == "python":
        done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    elif words[0] in LONG:
        CLI.commands[words[0]].make_context(words[0], words[1:])
    else:
        monkeypatch.setattr("engine.default_drafts.choose_models", lambda *given: tiny)
        monkeypatch.setattr("sim.tune.Grid", lambda **given: Grid(**SMALL, **given))
        monkeypatch.setattr("sim.regime_map.regime_map", partial(regime_map, **FEW))
        monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # starting processes takes longer than the search
        assert call(*words) == 0, capsys.readouterr().err
        assert capsys.readouterr().out


@pytest.mark.parametrize("mention", [c for c in COMMANDS if MENTION.match(c)])
def test_what_is_mentioned_exists(mention: str) -> None:
    verb, *words = words_of(mention)
    known = {name for parameter in CLI.commands[verb].params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_no_verb_is_left_out_of_the_readme() -> None:
    seen = {words_of(c)[1] for c in shown((ROOT / "README.md").read_text()) if c.startswith("specbranch ")}
    assert set(CLI.commands) <= seen


def test_what_is_only_parsed_is_shown() -> None:
    verbs = {words_of(c)[1] for c in COMMANDS if c.startswith("specbranch ")}
    assert set(LONG) <= verbs


@pytest.mark.parametrize(
    "text",
    [
        "    specbranch inspect --folder x",
        "Try `specbranch\ninspect --folder x` first.",
        "```sh\nspecbranch inspect --folder x\n```",
    ],
)
def test_a_wrong_command_is_found_wherever_it_stands(text: str, folder: Path) -> None:
    (command,) = shown(text)
    assert command == "specbranch inspect --folder x"
    assert call(*words_of(command)[1:]) != 0


def test_no_help_needs_torch() -> None:
    code = """
import sys
sys.modules["torch"] = None  # importing it fails
import typer, specbranch
for verb in ["", *typer.main.get_command(specbranch.app).commands]:
    assert not specbranch.app([*filter(None, [verb]), "--help"], standalone_mode=False), verb
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
