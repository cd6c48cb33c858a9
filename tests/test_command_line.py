"""The command line as a stranger meets it: the whole job on a tiny pair, and errors in one sentence."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from commands import ROOT, Done, document, refusal, specbranch
from tiny_models import save_tiny

from calibrate.artifact import load_artifact
from calibrate.run import EFFORTS
from engine.metrics import ratio_of_sums
from reports.verify.tolerance import Tolerance
from reports.verify.verdict_words import QUESTIONS
from reports.verify.verification import load_verification, replay_folder
from sim.world.replay import Replay

VERDICTS = {"PASS": 0, "FAIL": 4, "TOO NOISY TO TELL": 3}


def anew(*arguments: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """As a shell runs it, in an interpreter of its own."""
    command = [sys.executable, str(ROOT / "specbranch.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    """Options that name a tiny target and a tiny draft."""
    target = save_tiny(tmp_path_factory.mktemp("target"), seed=0)
    draft = save_tiny(tmp_path_factory.mktemp("draft"), seed=5)
    return ["--target", target, "--draft-model", draft, "--precision", "float32"]


def whole_job(
    run: Callable[..., Done | subprocess.CompletedProcess[str]], models: list[str | Path], folder: Path
) -> None:
    """Calibrate, tune, verify and report, each from what the one before wrote."""
    prompts = folder / "prompts.jsonl"
    lines = [
        json.dumps({"text": f"w{3 + i} w7 w{9 + i}", "split": ("calibration", "heldout")[i % 2]})
        for i in range(8)
    ]
    prompts.write_text("\n".join(lines))
    done = run("calibrate", "--quick", "--own-prompts", prompts, *models, "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["traces"]["prompts"]) == 4
    done = run("tune", "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["searched"] > 100
    done = run("verify", "--own-prompts", prompts, "--max-tokens", "16", folder=folder)
    assert "Predicted and measured" in done.stdout, done.stderr
    (verdict,) = [word for word in VERDICTS if f"{QUESTIONS['model']}? {word}: " in done.stdout]
    assert done.returncode == VERDICTS[verdict]
    page = run("report", folder=folder)
    assert page.returncode == 0, page.stderr
    assert Path(folder, page.stdout.strip()).stat().st_size > 1_000_000


@pytest.fixture(scope="module")
def work(models: list[str | Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder where the whole job was done, with a quick calibration that measures its costs once and no more."""
    folder = tmp_path_factory.mktemp("work")
    quick = EFFORTS["quick"]
    once = replace(quick, laps=replace(quick.laps, seconds=0.0, together_seconds=0.01))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EFFORTS, "quick", once)
        whole_job(specbranch, models, folder)
        yield folder


@pytest.mark.slow
def test_the_whole_job_as_a_shell_runs_it(models: list[str | Path], tmp_path: Path) -> None:
    whole_job(anew, models, tmp_path)


def test_verification_compares_at_least_six_configurations(work: Path) -> None:
    verification = json.loads((work / "runs/verification.json").read_text())
    compared = verification["compared"]
    assert len(compared) >= 6
    assert [c["role"] for c in compared].count("chosen") == 1
    policies = {c["configuration"]["policy"] for c in compared}
    assert {"autoregressive", "speculative", "pearl", "specbranch"} <= policies
    for row in compared:
        assert (row["near_ties"], row["mismatches"]) == (0, 0)
        assert {s["prompt"] for s in row["samples"]} == set(range(4))
    orders = [s["order"] for row in compared for s in row["samples"]]
    assert sorted(orders) == list(range(len(orders)))
    texts = {(s["prompt"], tuple(s["run"]["tokens"])) for row in compared for s in row["samples"]}
    assert len(texts) == 4  # in float32, one text a prompt whatever the configuration


def test_a_verification_keeps_the_replay_of_its_own_prompts(work: Path) -> None:
    record = load_verification(work / "runs/verification.json")
    here = load_artifact(replay_folder(work / "runs/verification.json"))
    assert here.recorded.prompts == record.prompts
    assert record.tolerance == Tolerance()
    world = Replay(here, seed=record.seed)
    for row in record.compared:
        assert row.replays is not None  # each text at the pace of its own runs; here at that of all
        assert row.replays.tokens == tuple(len(run.tokens) for run in world.runs(row.configuration))
        assert row.replayed == ratio_of_sums(row.replays.tokens, row.replays.seconds)


def test_the_settling_test_answers_every_claim(work: Path) -> None:
    options = ["--own-prompts", "prompts.jsonl", "--max-tokens", "12"]
    found = document("verify", "--settle", *options, folder=work)  # 0 whichever way the claims fall
    assert {c["claim"] for c in found["settlement"]["claims"]} == set("abc")
    assert len(found["settlement"]["answers"]) == 3
    policies = [c["configuration"]["policy"] for c in found["compared"]]
    assert sorted(set(policies)) == ["autoregressive", "pearl", "specbranch", "speculative"]
    page = specbranch("report", "runs/settlement.json", "--out", "settlement.html", folder=work)
    assert page.returncode == 0, page.stderr
    assert 'id="settlement"' in (work / "settlement.html").read_text()


def test_what_is_there_is_not_done_again(work: Path, models: list[str | Path]) -> None:
    calibrated: list[str | Path] = ["--quick", "--own-prompts", "prompts.jsonl"]
    done = specbranch("calibrate", *calibrated, *models, folder=work)
    assert "already" in done.stderr
    verify = ["verify", "--own-prompts", "prompts.jsonl", "--max-tokens", "16"]
    done = specbranch(*verify, folder=work)
    assert "already" in done.stderr
    fidelity = document(*verify, folder=work, code=done.returncode)["fidelity"]
    assert VERDICTS[fidelity["verdict"]] == done.returncode
    assert "of another pair" in refusal("calibrate", *calibrated, *models[:4], folder=work)


def test_simulate_uses_the_calibration_of_the_folder(work: Path) -> None:
    scenario = work / "s.yaml"
    scenario.write_text("title: t\nconfigurations:\n  - policy: pearl\n    draft_length: [2, 3]\n")
    outcomes = document("simulate", scenario, folder=work)["outcomes"]
    assert [o["configuration"]["draft_length"] for o in outcomes] == [2, 3]


def test_generate_writes_the_same_text_under_every_policy(work: Path, models: list[str | Path]) -> None:
    texts = set()
    repeating = ("--redraft", "--guesses", "2", "--repeats", "4", "--second-under", "0.9")
    for policy, more in (("autoregressive", ()), ("specbranch", ()), ("specbranch", repeating)):
        answer = document("generate", "w5 w8", "--policy", policy, *more, "--max-tokens", "12", *models)
        texts.add(answer["text"])
        assert answer["metrics"]["tokens"] == len(answer["run"]["tokens"])
    assert len(texts) == 1


def test_simulate_writes_the_trace_of_its_first_run(tmp_path: Path) -> None:
    out = tmp_path / "trace.json"
    outcomes = document("simulate", "scenarios/default.yaml", "--trace", out)["outcomes"]
    trace = json.loads(out.read_text())
    assert trace["otherData"]["configuration"].startswith(outcomes[0]["configuration"]["policy"])
    assert {e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"} == {"simulator"}
    assert "goes with a scenario" in refusal("simulate", "--against", "none.json", "--trace", out)


def test_simulate_prints_one_json_document() -> None:
    outcomes = document("simulate", "scenarios/default.yaml")["outcomes"]
    assert outcomes[0]["configuration"]["policy"] == "autoregressive"


def test_schema_prints_the_shipped_one() -> None:
    assert specbranch("schema").stdout == (ROOT / "scenarios/scenario.schema.json").read_text()


def test_errors_are_one_sentence(tmp_path: Path, models: list[str | Path]) -> None:
    wrong = tmp_path / "s.yaml"
    wrong.write_text((ROOT / "scenarios/default.yaml").read_text().replace("pearl", "perl"))
    assert "did you mean 'pearl'" in refusal("simulate", wrong)
    shown = anew("simulate", wrong)
    assert shown.returncode == 1
    assert shown.stderr == refusal("simulate", wrong)
    assert "cannot be read" in refusal("simulate", tmp_path / "none.yaml")
    assert "specbranch calibrate --out" in refusal("tune", folder=tmp_path)
    assert "runs/tuned.yaml" in refusal("verify", folder=tmp_path)
    assert "run 'specbranch verify' first" in refusal("report", folder=tmp_path)
    assert "did you mean 'pearl'" in refusal("generate", "w5", "--policy", "perl", *models)
    assert "could not be loaded" in refusal("generate", "w5", "--target", tmp_path)
    assert "bfloat16" in refusal("generate", "w5", *models[:4], "--precision", "int3")
    assert "--guesses" in refusal("generate", "w5", *models, "--guesses", "99")


def test_another_vocabulary_is_refused(tmp_path: Path, models: list[str | Path]) -> None:
    stranger = save_tiny(tmp_path, seed=1, first_word="zero")
    options = [*models[:2], "--draft-model", stranger]
    assert "another vocabulary" in refusal("generate", "w5", *options)


def test_help_and_simulate_do_not_import_torch() -> None:
    modules = (
        "specbranch, sim.sweeps.run, reports.tables, reports.map.terminal, scenarios.json_schema as schema"
    )
    code = f"import sys, {modules}; schema.schema_text(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


def test_a_map_is_drawn_with_what_was_measured_on_it(work: Path) -> None:
    record = "runs/verification.json"
    words = ("map", "--calibration", "runs/calibration", "--prompts", "2")
    made = document(*words, "--points", record, "--save-points", "runs/points.json", folder=work)
    again = document(*words, "--points", "runs/points.json", record, folder=work)
    assert again["points"] == made["points"]
    assert (work / "runs/map.html").stat().st_size > 1_000_000
    places = {(c["ratio"], c["alignment"]) for c in made["map"]["views"][0]["cells"]}
    assert len(places) >= 100
    (draft,) = {own["draft"] for own in made["map"]["own"]}
    assert {(p["draft"], p["record"]) for p in made["points"]} == {(draft, record)}
    assert {p["alignment_from"] for p in made["points"]} == {"the measured texts"}
    assert len(made["points"]) % 2 == 0


def test_a_map_needs_readable_points_before_it_works(tmp_path: Path) -> None:
    assert "cannot be read" in refusal("map", "--points", tmp_path / "none.json")
    assert "name a record" in refusal("map", "--save-points", tmp_path / "points.json")
    assert "no draft 'mine'" in refusal("map", "--calibration", "scenarios/reference", "--draft", "mine")


def test_a_damaged_result_says_the_way_out(tmp_path: Path, work: Path) -> None:
    """What the error advises must not end in the same error."""
    shutil.copytree(work, tmp_path / "w")
    folder = tmp_path / "w"
    record, calibration = folder / "runs/verification.json", folder / "runs/calibration/costs.json"
    record.write_text(record.read_text()[:-9])
    assert "specbranch verify --again" in refusal("report", folder=folder)
    assert "specbranch verify --again" in refusal("verify", "--own-prompts", "prompts.jsonl", folder=folder)
    calibration.write_text(calibration.read_text()[:-9])
    assert "specbranch calibrate --again" in refusal("inspect", folder=folder)


def test_train_hrad_writes_a_network_for_the_draft(tmp_path: Path, models: list[str | Path]) -> None:
    prompts = tmp_path / "prompts.jsonl"
    lines = [json.dumps({"text": f"w{3 + i} w7 w{9 + i}", "split": "calibration"}) for i in range(5)]
    prompts.write_text("\n".join(lines))
    options: list[str | Path] = [
        "--own-prompts",
        prompts,
        "--max-tokens",
        "16",
        "--out",
        tmp_path / "hrad",
        *models,
    ]
    (trained,) = document("train-hrad", *options)
    assert Path(trained["path"]).exists()
    assert trained["prompts"] == 5
    assert [found["tokens"] for found in trained["quality"]] == [1, 3, 7]
    prompts.write_text(lines[0])
    assert "three or more" in refusal("train-hrad", *options)
