"""Every command that the README and the documents show is run as written or, where that takes long, parsed.

A guide is walked from its beginning to its end in one folder: the files that it has its reader write are written, and
what takes long leaves what it would have written. What a guide shows of Python is run, too.
"""

import os
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
import verifications
from artifacts import artifact, with_batches
from commands import call
from tiny_models import save_tiny
from typer.main import get_command

import calibrate.run
import specbranch
from calibrate.artifact import HRAD_FOLDER, load_artifact, save_artifact
from calibrate.costs.measurement import SamplingBudget
from calibrate.prompts import SPLITS, read_prompts
from calibrate.run import Effort
from engine.configuration import Configuration
from engine.models.specs import ModelSpec
from reports.verify.verification import replay_folder, save_verification
from scenarios.calibrations import REFERENCE
from sim.search.grid import Grid
from sim.search.regime_map import regime_map
from sim.search.tuned import TunedConfiguration, save_tuned
from sim.world.replay import Replay

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DOCUMENTS = (ROOT / "README.md", *sorted(DOCS.glob("*.md")))
GUIDES = tuple(sorted((DOCS / "guides").glob("*.md")))
NEW_METHOD, IN_PYTHON = DOCS / "guides" / "add-a-method.md", DOCS / "guides" / "in-python.md"
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
    "serve-bench": "serves requests for minutes",
    "bench-load": "installs other engines, and races them for minutes",
    "verify-load": "serves requests for minutes",
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

# What a record's runs were simulated with, and what they were predicted by.
REPLAYED = replayed_records.HERE, replayed_records.ELSEWHERE

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


def commands_of(text: str) -> list[str]:
    """Those to be run, in the text's order; what only stands in a sentence may be for a reader who is elsewhere."""
    lines, _ = blocks_and_prose(text)
    return [line for line in lines if BEGINS.match(line)]


FILE = re.compile(r"`([\w./-]+\.(?:yaml|jsonl|py))`")


def told_blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """Each fenced block with its language, behind the paragraph before it."""
    before, _, rest = text.partition("\n```")
    while rest:
        block, _, behind = rest.partition("\n```")
        language, _, content = block.partition("\n")
        yield before.strip().split("\n\n")[-1], language, content + "\n"
        before, _, rest = behind.partition("\n```")


def files_of(text: str) -> dict[str, str]:
    """The files that a guide has its reader write: blocks behind a paragraph that names one, the last that it names."""
    return {names[-1]: block for told, _, block in told_blocks(text) if (names := FILE.findall(told))}


COMMANDS = sorted({found for document in DOCUMENTS for found in shown(document.read_text())})
MENTIONS = {found for guide in GUIDES for found in shown(guide.read_text()) if MENTION.match(found)}


def words_of(command: str) -> list[str]:
    for placeholder, stand_in in PLACEHOLDERS.items():
        command = re.sub(placeholder, stand_in, command)
    return shlex.split(command, comments=True)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the verbs write, each small: two calibrated texts, a choice, records, tables."""
    folder = tmp_path_factory.mktemp("prepared")
    runs = folder / "runs"
    save_artifact(runs / "calibration", with_batches(artifact(prompts=2, tokens=10, drawn=True)))
    (runs / "calibration" / HRAD_FOLDER).mkdir()
    chosen = Configuration(policy="prompt-lookup", first_match=True, placement="in-turn")
    tuned = TunedConfiguration(
        calibration=runs / "calibration",
        calibration_digest=load_artifact(runs / "calibration").digest,
        searched=1,
        advice="made up",
        chosen=chosen,
    )
    shutil.copytree(runs / "calibration", runs / "mine")
    for name in ("tuned.yaml", "mine.yaml"):
        save_tuned(runs / name, tuned)
    record = replayed_records.record(*REPLAYED)
    for name in ("verification.json", "wide.json", "mine.json"):
        save_verification(runs / name, record)
        save_artifact(replay_folder(runs / name), REPLAYED[0])
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


def stand_in(monkeypatch: pytest.MonkeyPatch, tiny: tuple[ModelSpec, dict[str, ModelSpec]]) -> None:
    """Small models and searches in place of those that a command would have."""
    monkeypatch.setattr("engine.drafts.default_drafts.choose_models", lambda *given: tiny)
    monkeypatch.setattr("sim.search.tune.Grid", lambda **given: Grid(**SMALL, **given))
    monkeypatch.setattr(
        "sim.sweeps.by_load.LOAD_GRID", Grid(**SMALL, policies=("autoregressive", "speculative"))
    )
    monkeypatch.setattr("sim.search.regime_map.regime_map", partial(regime_map, **FEW))
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # starting processes takes longer than the search


@pytest.mark.parametrize("command", [c for c in COMMANDS if not MENTION.match(c)])
def test_what_is_shown_works(
    command: str,
    folder: Path,
    tiny: tuple[ModelSpec, dict[str, ModelSpec]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program, *words = words_of(command)
    stand_in(monkeypatch, tiny)
    if program == "make":
        plan = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert plan.returncode == 0, plan.stderr
    elif program == "python":
        done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    elif words[0] in LONG:
        CLI.commands[words[0]].make_context(words[0], words[1:])
    else:
        assert call(*words) == 0, capsys.readouterr().err
        assert capsys.readouterr().out


@pytest.mark.parametrize("mention", sorted(MENTIONS.union(c for c in COMMANDS if MENTION.match(c))))
def test_what_is_mentioned_exists(mention: str) -> None:
    verb, *words = words_of(mention)
    known = {name for parameter in CLI.commands[verb].params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_no_verb_is_left_out_of_the_reference() -> None:
    seen = {words_of(c)[1] for c in shown((DOCS / "reference.md").read_text()) if c.startswith("specbranch ")}
    assert set(CLI.commands) <= seen


def leave_behind(verb: str, given: dict[str, Any]) -> None:
    """What a command that takes long would have written, here from what `prepared` holds."""
    runs = Path("runs")
    if verb == "calibrate" and not given["out"].exists():
        shutil.copytree(runs / "calibration", given["out"])
    if verb == "verify":
        settling = given["settling"]
        out = given["out"] or runs / ("settlement.json" if settling else "verification.json")
        if not out.exists():
            record = (
                verifications.verification(settling=True) if settling else replayed_records.record(*REPLAYED)
            )
            save_verification(out, record)
            save_artifact(replay_folder(out), verifications.artifact() if settling else REPLAYED[0])


@pytest.mark.parametrize(
    "guide", [g for g in GUIDES if g not in (NEW_METHOD, IN_PYTHON)], ids=lambda guide: guide.stem
)
def test_a_guide_is_walked(
    guide: Path,
    folder: Path,
    tiny: tuple[ModelSpec, dict[str, ModelSpec]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stand_in(monkeypatch, tiny)
    text = guide.read_text()
    for name, content in files_of(text).items():
        Path(name).write_text(content)
        if name.endswith(".jsonl"):
            assert {prompt.split for prompt in read_prompts(Path(name))} == set(SPLITS)
    for command in commands_of(text):
        _, verb, *words = words_of(command)
        if verb in LONG:
            leave_behind(verb, CLI.commands[verb].make_context(verb, words).params)
        else:
            assert call(verb, *words) == 0, (command, capsys.readouterr().err)
            assert capsys.readouterr().out


def test_every_guide_is_found() -> None:
    """A guide without a command or a block would be walked by doing nothing."""
    assert len(GUIDES) >= 6
    for guide in GUIDES:
        assert commands_of(guide.read_text()) or python_of(guide.read_text()), guide


def test_files_are_found_in_a_guide() -> None:
    text = "Keep `a.yaml`. Write it into\n`b.yaml`:\n\n```yaml\nx: 1\n```\n\nThen see:\n\n```python\ny\n```\n"
    assert files_of(text) == {"b.yaml": "x: 1\n"}
    assert python_of(text) == ["y\n"]


def python_of(text: str) -> list[str]:
    """The blocks of Python."""
    return [block for _, language, block in told_blocks(text) if language == "python"]


def test_what_is_measured_in_python_is_a_calibration(
    tiny: tuple[ModelSpec, dict[str, ModelSpec]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = Effort("quick", 2, 8, SamplingBudget(1, seconds=0.0, together_seconds=0.01), sampled=4)
    monkeypatch.setattr("engine.drafts.default_drafts.choose_models", lambda *given: tiny)
    monkeypatch.setitem(calibrate.run.EFFORTS, "quick", brief)
    monkeypatch.chdir(tmp_path)
    measuring, *_ = python_of(IN_PYTHON.read_text())
    exec(measuring, {})
    made = load_artifact(Path("runs/calibration"))
    assert (len(made.traces), tuple(made.recorded.drafts)) == (brief.prompts, ("int8",))


def test_replay_and_plot_in_python_need_no_torch(tmp_path: Path) -> None:
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    _, *blocks = python_of(IN_PYTHON.read_text())
    code = "\n".join(["import sys", "sys.modules['torch'] = None  # importing it fails", *blocks])
    done = run_python("-c", code, folder=tmp_path, path=ROOT)
    assert done.returncode == 0, done.stderr
    # The same by closed forms of the waits, which the page leaves to the simulator's clock.
    world = Replay(load_artifact(REFERENCE))

    def seconds(policy: str, draft: str | None = None, length: int = 1) -> float:
        setting = Configuration(policy=policy, draft=draft, draft_length=length, placement="in-turn")
        return sum(tally.seconds for tally in world.tallies(setting))

    alone, lengths = seconds("autoregressive"), (1, 2, 3, 4, 6, 8)
    drafts = world.artifact.recorded.drafts
    gain, *best = max((alone / seconds("speculative", d, n), d, n) for d in drafts for n in lengths)
    assert done.stdout.startswith(f"best: {best[0]} {best[1]} at {gain:.2f} times")
    page = (tmp_path / "lengths.html").read_text()
    assert all(f"{draft} draft" in page for draft in drafts)


def run_python(*words: str, folder: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """A new interpreter that finds the product in `path`, and keeps its cache in `folder`."""
    surroundings = os.environ | {"PYTHONPATH": str(path), "SPECBRANCH_CACHE": str(folder / ".cache")}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=170)


def link_checkout(folder: Path) -> None:
    """A checkout that a reader may add files to: links to what is here, in folders of its own."""
    own = ("engine", "engine/policies", "tests")
    for place in ("", *own):
        (folder / place).mkdir(exist_ok=True)
        for entry in (ROOT / place).iterdir():
            name = entry.relative_to(ROOT)
            if entry.name[0] not in "._" and name.parts[0] != "runs" and str(name) not in own:
                (folder / name).symlink_to(entry)
        if (first := ROOT / place / "__init__.py").exists():
            (folder / place / "__init__.py").symlink_to(first)


@pytest.mark.slow
def test_a_new_method_runs_in_both_worlds(
    tiny: tuple[ModelSpec, dict[str, ModelSpec]], tmp_path: Path
) -> None:
    """As the guide says: its file, its scenario, an answer, and its test in a checkout of its own."""
    link_checkout(tmp_path)
    text = NEW_METHOD.read_text()
    for name, content in files_of(text).items():
        (tmp_path / name).write_text(content)
    ran = []
    for command in commands_of(text):
        program, *words = words_of(command)
        if program == "specbranch":
            ran.append(words[0])
            small = ("--target", tiny[0].source, "--precision", "float32", "--max-tokens", "8")
            words = ["-m", "specbranch", *words, *(small if words[0] == "generate" else ())]
        else:
            ran.append(words[1])
            words += ["-p", "no:cacheprovider"]
        done = run_python(*words, folder=tmp_path, path=tmp_path)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert ran == ["simulate", "generate", "pytest"]


LINK = re.compile(r"\]\(([^)#:]+)(?:#([\w-]+))?\)")


@pytest.mark.parametrize("document", [*DOCUMENTS, *GUIDES], ids=lambda d: str(d.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for name, heading in LINK.findall(document.read_text()):
        linked = document.parent / name
        assert linked.exists(), name
        if heading:
            titles = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def test_every_file_of_the_documents_is_listed() -> None:
    index = DOCS / "README.md"
    linked = {(DOCS / name).resolve() for name, _ in LINK.findall(index.read_text())}
    there = {path for path in DOCS.rglob("*") if path.is_file() and path != index}
    assert there <= linked


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
