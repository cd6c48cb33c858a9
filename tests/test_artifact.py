"""A calibration folder is whole or does not load."""

import json
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from artifacts import artifact as build_artifact
from artifacts import replay
from hypothesis import HealthCheck, given, settings

from calibrate import one_file
from calibrate.artifact import Artifact, load_artifact, save_artifact
from calibrate.cost_records import VERSIONS as COSTS
from calibrate.cost_records import Cell, Rehearsal
from calibrate.file_kinds import ARRAYS_NAME, COSTS_NAME, TRACES_NAME
from calibrate.seal import seal, seal_of
from calibrate.trace_records import VERSIONS as TRACES
from calibrate.versions import History, Migration, OtherVersion
from engine.configuration import Configuration
from engine.errors import CalibrationError
from engine.metrics import speed
from scenarios.calibrations import REFERENCE

DATA = Path(__file__).parent / "data"
JSON = {COSTS_NAME: COSTS.present, TRACES_NAME: TRACES.present}  # and the versions that are written
PLAIN = Configuration(policy="autoregressive")
SPECULATIVE = Configuration(policy="speculative", draft="int8")


def test_round_trip(tmp_path: Path) -> None:
    made, other = build_artifact(drawn=True), build_artifact(seed=1)
    drawing = (
        replace(trace, drawing=another.drafts)
        for trace, another in zip(made.sampled, other.traces, strict=True)
    )
    artifact = replace(made, sampled=tuple(drawing))
    save_artifact(tmp_path, artifact)
    loaded = load_artifact(tmp_path)
    assert loaded.costs.placements == artifact.costs.placements
    for mine, theirs in zip(
        (*artifact.traces, *artifact.sampled), (*loaded.traces, *loaded.sampled), strict=True
    ):
        assert (mine.path == theirs.path).all()
        for drawn in (False, True):
            views, again = mine.views(drawn=drawn), theirs.views(drawn=drawn)
            assert views.keys() == again.keys()
            for name, seen in views.items():
                assert seen.off_chances.tobytes() == again[name].off_chances.tobytes()


def test_missing_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="specbranch calibrate --out"):
        load_artifact(tmp_path / "none")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    st.sampled_from([*JSON, ARRAYS_NAME]),
    st.floats(0, 1, exclude_max=True),
    st.booleans(),
    st.integers(1, 255),
)
def test_any_flipped_byte_or_truncation_is_detected(
    tmp_path: Path, name: str, where: float, truncate: bool, flip: int
) -> None:
    save_artifact(tmp_path, build_artifact())
    data = bytearray((tmp_path / name).read_bytes())
    place = int(where * len(data))
    if truncate:
        del data[place:]
    else:
        data[place] ^= flip
    (tmp_path / name).write_bytes(bytes(data))
    with pytest.raises(CalibrationError):
        load_artifact(tmp_path)


@pytest.mark.parametrize("name", JSON)
def test_a_newer_version_is_named(tmp_path: Path, name: str) -> None:
    save_artifact(tmp_path, build_artifact())
    path = tmp_path / name
    path.write_text(path.read_text().replace(f'"version":{JSON[name]},', '"version":99,', 1))
    with pytest.raises(
        CalibrationError, match=r"made by a newer program .version 99, .* update this program"
    ):
        load_artifact(tmp_path)


def test_a_version_without_a_way_up_says_why(tmp_path: Path) -> None:
    shutil.copytree(DATA / "calibration-7", tmp_path / "old")
    path = tmp_path / "old" / one_file.NAME
    path.write_text(path.read_text().replace('"version":7,', '"version":6,', 1))
    with pytest.raises(CalibrationError, match=r"version 6, .* without the pauses .*--again"):
        load_artifact(tmp_path / "old")


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("version", ["true", '"1"', "null", "1.5"])
def test_a_version_is_a_whole_number(tmp_path: Path, version: str, name: str) -> None:
    save_artifact(tmp_path, build_artifact())
    path = tmp_path / name
    path.write_text(path.read_text().replace(f'"version":{JSON[name]},', f'"version":{version},', 1))
    with pytest.raises(CalibrationError, match="is damaged"):
        load_artifact(tmp_path)


@pytest.mark.parametrize("folder", [DATA / "calibration-7", DATA / "calibration-10", REFERENCE], ids=str)
def test_older_versions_load_for_ever(folder: Path) -> None:
    """Folders as programs of these versions wrote them, their seals as those made them, and not a byte rewritten."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    written = json.loads(files[one_file.NAME])
    loaded = load_artifact(folder)
    assert loaded.digest == written["seal"]
    assert not loaded.of_two
    for record, version in ((loaded.costs, COSTS.present), (loaded.recorded, TRACES.present)):
        assert (record.version, record.positions, record.engine_revision) == (version, None, None)
        again = record.model_dump(mode="json")
        shared = written.keys() & again.keys() - {"version", "placements"}
        assert shared >= {"created", "hardware", "software", "effort", "seed", "target", "drafts"}
        assert _holds(again, {key: written[key] for key in shared})
    said = loaded.costs.model_dump(mode="json").keys() | loaded.recorded.model_dump(mode="json").keys()
    assert written.keys() - said == {"traces_sha256"}
    assert list(_cells(loaded.costs.model_dump(mode="json")["placements"])) == [
        {"rows": cell.pop("tokens"), "sequences": 1, "cache_tokens": cell.pop("context"), "unscored": 0}
        | cell
        for cell in _cells(written["placements"])
    ]
    for costs, old in zip(loaded.costs.placements, written["placements"], strict=True):
        assert list(costs.hand_over) == old["hand_over"]
        for name, draft in costs.drafts.items():
            assert _holds(
                [t.model_dump(mode="json") for t in draft.together], old["drafts"][name]["together"]
            )
    assert [len(trace.path) for trace in loaded.traces] == [p["path_tokens"] for p in written["prompts"]]
    assert speed(replay(loaded, Configuration(policy="specbranch", branches=2))).value > 0.0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def _cells(record: Any) -> Iterator[dict[str, Any]]:
    """Every cell of a record's JSON but those of forgetting tokens, whatever its coordinates are called."""
    if isinstance(record, dict):
        if "excluded" in record:
            yield record
        else:
            yield from (cell for key, value in record.items() if key != "rollback" for cell in _cells(value))
    elif isinstance(record, list):
        yield from (cell for value in record for cell in _cells(value))


def _holds(record: Any, part: Any) -> bool:
    """Whether a record's JSON has all that another one has."""
    if isinstance(part, dict):
        return all(key in record and _holds(record[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(record) == len(part) and all(map(_holds, record, part))
    return bool(record == part)


def test_costs_without_batches_load_as_they_are(tmp_path: Path) -> None:
    """Version 1 has no contention of several sequences, and says nothing of sequences where both models are at once."""
    made = save_artifact(tmp_path, build_artifact())
    path = tmp_path / COSTS_NAME
    record = json.loads(path.read_bytes()) | {"version": 1, "seal": ""}
    for placed in record["placements"]:
        for draft in placed["drafts"].values():
            assert draft.pop("batched_together") == []
            assert {together.pop("sequences") for together in draft["together"]} <= {1}
    written = seal(json.dumps(record, separators=(",", ":")).encode())[0]
    path.write_bytes(written)
    loaded = load_artifact(tmp_path)
    assert loaded.costs.placements == made.costs.placements
    assert (loaded.costs.version, loaded.costs.has_batches) == (COSTS.present, False)
    assert path.read_bytes() == written


def test_an_older_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    shutil.copytree(DATA / "calibration-7", tmp_path / "folder")
    made = build_artifact()
    saved = save_artifact(tmp_path / "folder", made)
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {*JSON, ARRAYS_NAME}
    assert load_artifact(tmp_path / "folder").digest == saved.digest


def test_costs_and_traces_may_be_of_two_calibrations(tmp_path: Path) -> None:
    """Whether a command takes them from two folders, or a person moved a file; and it is said of every figure."""
    here = save_artifact(tmp_path / "here", build_artifact(seed=1, drafts={"int8": (0.9, 0.02)}))
    elsewhere = build_artifact(seed=2)
    update = {"created": "2026-02-02T00:00:00+00:00", "hardware": {"processor": "Z80"}}
    run = Rehearsal(configuration=PLAIN, prompt=0, run=replay(elsewhere, PLAIN)[0])
    costs = elsewhere.costs.model_copy(update={**update, "rehearsals": (run,)})
    there = save_artifact(
        tmp_path / "there",
        replace(elsewhere, costs=costs, recorded=elsewhere.recorded.model_copy(update=update)),
    )
    both = load_artifact(tmp_path / "here", costs=tmp_path / "there")
    assert (both.costs, both.recorded) == (there.costs, here.recorded)
    assert len({both.digest, here.digest, there.digest}) == 3
    assert [(a.rehearsals, a.of_two) for a in (there, both)] == [((run,), False), ((), True)]
    (said,) = both.remarks
    assert said.startswith("costs and traces come from two calibrations")
    assert "Z80" in said
    by_hand = replay(Artifact(there.costs, here.recorded, here.traces), SPECULATIVE)
    assert replay(both, SPECULATIVE) == by_hand
    shutil.copy(tmp_path / "there" / COSTS_NAME, tmp_path / "here" / COSTS_NAME)
    assert load_artifact(tmp_path / "here").digest == both.digest
    save_artifact(tmp_path / "here", here)
    with pytest.raises(CalibrationError, match=r"traces are of draft 'int4', and the costs are of int8;"):
        load_artifact(tmp_path / "there", costs=tmp_path / "here")


@pytest.mark.parametrize(("here", "there", "fit"), [(100, 200, False), (100, 100, True), (None, 100, True)])
def test_vocabularies_have_to_fit(tmp_path: Path, here: int | None, there: int, fit: bool) -> None:
    made = build_artifact(prompts=1, tokens=4)
    for name, known, seconds in (("here", here, 1), ("there", there, 2)):
        model = made.costs.target.model_copy(update={"vocabulary": known})
        update = {"target": model, "created": f"2026-01-01T00:00:0{seconds}+00:00"}
        records = made.costs.model_copy(update=update), made.recorded.model_copy(update=update)
        save_artifact(tmp_path / name, Artifact(*records, made.traces))
    with (
        nullcontext()
        if fit
        else pytest.raises(CalibrationError, match=r"'target' knows 100 tokens .* 200 in")
    ):
        load_artifact(tmp_path / "here", costs=tmp_path / "there")


def test_the_shipped_calibration_keeps_its_name() -> None:
    assert load_artifact(REFERENCE).digest == json.loads((REFERENCE / one_file.NAME).read_bytes())["seal"]


@given(st.data())
def test_what_is_migrated_is_left_as_it_is(data: st.DataObject) -> None:
    """Each step is taken once, in order, on a copy; what is of the present version is not touched."""
    present = data.draw(st.integers(1, 6))
    first = data.draw(st.integers(1, present))

    def step(version: int) -> Migration:
        return lambda record: {**record, "steps": [*record["steps"], version]}

    history = History(present, {version: step(version) for version in range(1, present)}, "lost")
    record: dict[str, Any] = {"version": first, "steps": []}
    assert history.migrate(record) == {"version": present, "steps": list(range(first, present))}
    assert record == {"version": first, "steps": []}
    with pytest.raises(OtherVersion, match="lost"):
        history.migrate({"version": 0, "steps": []})
    with pytest.raises(OtherVersion, match="newer"):
        history.migrate({"version": present + 1, "steps": []})


seconds = st.floats(0.0, 1e9, allow_nan=False)
samples = st.lists(seconds, min_size=1, max_size=4).map(tuple)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    cells=st.lists(
        st.builds(Cell, rows=st.integers(0, 9999), cache_tokens=st.integers(0, 9999), seconds=samples)
    ),
    notes=st.lists(st.text()).map(tuple),
    processor=st.text(),
    revision=st.none() | st.text(),
    positions=st.none() | st.integers(1, 10**9),
    hand_over=samples,
    seed=st.integers(0, 2**53),
)
def test_what_is_saved_is_what_is_loaded(
    tmp_path: Path,
    cells: list[Cell],
    notes: tuple[str, ...],
    processor: str,
    revision: str | None,
    positions: int | None,
    hand_over: tuple[float, ...],
    seed: int,
) -> None:
    """To the last bit, also in another library's hands: the seal is of the bytes, and JSON rewritten is found out."""
    made = build_artifact(prompts=2, tokens=6)
    placed = made.costs.placements[0].model_copy(update={"target": tuple(cells), "hand_over": hand_over})
    update = {
        "hardware": {"processor": processor},
        "engine_revision": revision,
        "target": made.costs.target.model_copy(update={"positions": positions}),
        "seed": seed,
    }
    costs = made.costs.model_copy(update={**update, "placements": (placed,), "notes": notes})
    recorded = made.recorded.model_copy(update=update)
    saved = save_artifact(tmp_path, replace(made, costs=costs, recorded=recorded))
    loaded = load_artifact(tmp_path)
    assert (loaded.costs, loaded.recorded, loaded.digest) == (saved.costs, saved.recorded, saved.digest)
    assert loaded.costs.model_copy(update={"seal": ""}) == costs
    assert loaded.recorded.model_copy(update={"seal": "", "arrays_sha256": ""}) == recorded
    for name, record in zip(JSON, (loaded.costs, loaded.recorded), strict=True):
        text = (tmp_path / name).read_bytes()
        assert record.seal == json.loads(text)["seal"]
        (tmp_path / name).write_text(json.dumps(json.loads(text)))
        with pytest.raises(CalibrationError, match="is damaged"):
            load_artifact(tmp_path)
        (tmp_path / name).write_bytes(text)


@given(st.binary(max_size=200), st.data())
def test_a_seal_finds_every_changed_byte(content: bytes, data: st.DataObject) -> None:
    """Whoever wrote the JSON: a seal does not ask how numbers are printed."""
    text, found = seal(b'{"x":' + content + b',"seal":""}')
    assert seal_of(text) == found
    place, flip = data.draw(st.integers(0, len(text) - 1)), data.draw(st.integers(1, 255))
    damaged = bytearray(text)
    damaged[place] ^= flip
    assert seal_of(bytes(damaged)) is None
    assert seal_of(text[:place]) is None


def test_a_number_printed_otherwise_is_no_damage(tmp_path: Path) -> None:
    """As a library of another release may write 1e-05 for 0.00001: the bytes are sealed as they are."""
    save_artifact(tmp_path, build_artifact(jitter=False))
    path = tmp_path / COSTS_NAME
    record = json.loads(path.read_bytes()) | {"seal": ""}
    other = json.dumps(record, separators=(",", ":")).replace("0.028", "2.8E-2").encode()
    assert b"2.8E-2" in other
    path.write_bytes(seal(other)[0])
    assert load_artifact(tmp_path).costs.placements[1].target[0].seconds[0] == 0.028
