"""What this program writes is told by what is in it, each kind from all others, and nothing else is taken for it."""

import json
import tempfile
from pathlib import Path

import pytest
from artifacts import artifact
from hypothesis import given
from hypothesis import strategies as st

from calibrate import file_kinds
from calibrate.artifact import save_artifact
from calibrate.file_kinds import FileKind, kind_of, other_kind
from engine.configuration import Configuration
from engine.runtime.workload import TRACE_COLUMNS
from reports.bench.benchmark_record import Benchmark
from reports.load.verifying import LoadVerification
from reports.map.evidence import Evidence
from reports.verify.tolerance import Tolerance
from reports.verify.verification import Verification
from scenarios.schema import Scenario
from sim.search.tuned import TunedConfiguration, save_tuned
from sim.sweeps.results import write_table
from sim.sweeps.schedule_file import ScheduleFile

DATA = Path(__file__).parent / "data"
REFERENCE = Path(__file__).parent.parent / "scenarios"
KINDS = [kind for kind in vars(file_kinds).values() if isinstance(kind, FileKind)]


def examples(folder: Path) -> dict[FileKind, Path]:
    """What verbs write and read, of each kind that can be made in no time."""
    calibration = folder / "calibration"
    save_artifact(calibration, artifact(prompts=1, tokens=6))
    tuned = TunedConfiguration(
        calibration=calibration,
        calibration_digest="abc",
        searched=1,
        advice="made up",
        chosen=Configuration(policy="autoregressive"),
    )
    save_tuned(folder / "tuned.yaml", tuned)
    write_table(folder / "table.csv", [])
    (folder / "requests.csv").write_text(",".join(TRACE_COLUMNS) + "\n0,1,1\n")
    (folder / "prompts").write_text('{"turns": ["a", "b"]}\n{"text": "b"}\n')
    (folder / "page").write_text("\n<!DOCTYPE html>\n")
    return {
        file_kinds.CALIBRATION: calibration,
        file_kinds.PART: calibration / "traces.json",
        file_kinds.VERIFICATION: DATA / "verification-5.json",
        file_kinds.TUNED: folder / "tuned.yaml",
        file_kinds.TABLE: folder / "table.csv",
        file_kinds.ARRIVALS: folder / "requests.csv",
        file_kinds.PROMPTS: folder / "prompts",
        file_kinds.PAGE: folder / "page",
        file_kinds.SCENARIO: REFERENCE / "default.yaml",
    }


def test_each_kind_is_told_and_what_is_wanted_is_no_other(tmp_path: Path) -> None:
    for kind, path in examples(tmp_path).items():
        assert kind_of(path) == kind
        assert other_kind(path, kind) is None
        for wanted in KINDS:
            said = other_kind(path, wanted)
            assert (said is None) == (wanted == kind)
            if said is not None:
                assert said.startswith(f"{path} is {kind.name}, where {wanted.name} is wanted; ")
                assert "{" not in said
                assert said.endswith(".")
    for name in ("costs.json", "traces.json", "traces.safetensors"):
        assert kind_of(tmp_path / "calibration" / name) == file_kinds.PART


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (file_kinds.VERIFICATION, Verification.model_fields),
        (file_kinds.LOAD_VERIFICATION, LoadVerification.__dataclass_fields__),
        (file_kinds.BENCHMARK, Benchmark.model_fields),
        (file_kinds.MAP_POINTS, Evidence.model_fields),
        (file_kinds.TUNED, TunedConfiguration.model_fields),
        (file_kinds.SCHEDULE, ScheduleFile.model_fields),
        (file_kinds.SCENARIO, Scenario.model_fields),
        (file_kinds.TOLERANCE, Tolerance.model_fields),
    ],
    ids=lambda value: value.name if isinstance(value, FileKind) else "",
)
def test_a_kind_is_known_by_the_keys_of_its_own_schema(
    kind: FileKind, fields: dict[str, object], tmp_path: Path
) -> None:
    """Should a schema lose the key by which it is known, or get that of another, this says so."""
    path = tmp_path / "any"
    path.write_text(json.dumps(dict.fromkeys(fields, 1)))
    assert kind_of(path) == kind


@given(st.binary(max_size=80) | st.text("{}[]:,\"'ab1\n -&*!%|>?#@\t", max_size=80).map(str.encode))
def test_whatever_else_a_file_is_it_is_none_of_ours(content: bytes) -> None:
    """And asking raises nothing, whatever JSON or YAML make of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        path.write_bytes(content)
        assert kind_of(path) is None
        assert other_kind(Path(folder, "none"), file_kinds.TUNED) is None


def test_something_else_in_another_form_is_told_by_its_form(tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text("a: 1\n")
    (tmp_path / "some.json").write_text("[]")
    said = other_kind(tmp_path / "notes.yaml", file_kinds.VERIFICATION)
    assert said is not None
    assert "is a YAML file" in said
    assert "run 'specbranch verify' first" in said
    assert (
        other_kind(tmp_path / "some.json", file_kinds.VERIFICATION) is None
    )  # a damaged one, for all that is known
    assert other_kind(tmp_path / "notes.yaml", file_kinds.SCENARIO) is None  # its reader knows the wrong key
