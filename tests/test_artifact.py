"""A calibration folder is whole or does not load."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from artifacts import artifact as build_artifact
from hypothesis import HealthCheck, given, settings

from calibrate.artifact import ARRAYS_NAME, JSON_NAME, VERSION, Cell, load_artifact, save_artifact
from calibrate.seal import seal, seal_of
from calibrate.versions import History, Migration, OtherVersion
from engine.configuration import Configuration
from engine.errors import CalibrationError
from engine.metrics import speed
from scenarios.calibrations import REFERENCE
from sim.world.replay import replay

DATA = Path(__file__).parent / "data"


def test_round_trip(tmp_path: Path) -> None:
    made, other = build_artifact(drawn=True), build_artifact(seed=1)
    drawing = (
        replace(trace, drawing=another.drafts)
        for trace, another in zip(made.sampled, other.traces, strict=True)
    )
    artifact = replace(made, sampled=tuple(drawing))
    save_artifact(tmp_path, artifact)
    loaded = load_artifact(tmp_path)
    assert loaded.calibration.placements == artifact.calibration.placements
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
    st.sampled_from([JSON_NAME, ARRAYS_NAME]),
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


def test_a_newer_version_is_named(tmp_path: Path) -> None:
    save_artifact(tmp_path, build_artifact())
    path = tmp_path / JSON_NAME
    path.write_text(path.read_text().replace(f'"version":{VERSION},', '"version":99,', 1))
    with pytest.raises(
        CalibrationError, match=r"made by a newer program .version 99, .* update this program"
    ):
        load_artifact(tmp_path)


def test_a_version_without_a_way_up_says_why(tmp_path: Path) -> None:
    save_artifact(tmp_path, build_artifact())
    path = tmp_path / JSON_NAME
    path.write_text(path.read_text().replace(f'"version":{VERSION},', '"version":6,', 1))
    with pytest.raises(CalibrationError, match=r"version 6, .* without the pauses .*--again"):
        load_artifact(tmp_path)


@pytest.mark.parametrize("version", ["true", '"11"', "null", "11.5"])
def test_a_version_is_a_whole_number(tmp_path: Path, version: str) -> None:
    save_artifact(tmp_path, build_artifact())
    path = tmp_path / JSON_NAME
    path.write_text(path.read_text().replace(f'"version":{VERSION},', f'"version":{version},', 1))
    with pytest.raises(CalibrationError, match="is damaged"):
        load_artifact(tmp_path)


@pytest.mark.parametrize("version", [7, 10])
def test_older_versions_load_for_ever(version: int) -> None:
    """Folders as programs of these versions wrote them, and their seals as those made them."""
    folder = DATA / f"calibration-{version}"
    written = json.loads((folder / JSON_NAME).read_bytes())
    assert written["version"] == version
    loaded = load_artifact(folder)
    assert (loaded.digest, loaded.calibration.version) == (written["seal"], VERSION)
    assert (loaded.calibration.positions, loaded.calibration.engine_revision) == (None, None)
    again = loaded.calibration.model_dump(mode="json")
    assert _holds(again, {**written, "version": VERSION})
    assert [len(trace.path) for trace in loaded.traces] == [p["path_tokens"] for p in written["prompts"]]
    assert speed(replay(loaded, Configuration(policy="specbranch", branches=2))).value > 0.0


def _holds(record: Any, part: Any) -> bool:
    """Whether a record's JSON has all that another one has."""
    if isinstance(part, dict):
        return all(key in record and _holds(record[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(record) == len(part) and all(map(_holds, record, part))
    return bool(record == part)


def test_the_shipped_calibration_keeps_its_name() -> None:
    folder = REFERENCE / JSON_NAME
    assert load_artifact(REFERENCE).digest == json.loads(folder.read_bytes())["seal"]


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
        st.builds(Cell, tokens=st.integers(0, 9999), context=st.integers(0, 9999), seconds=samples)
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
    costs = made.calibration.placements[0].model_copy(update={"target": tuple(cells), "hand_over": hand_over})
    calibration = made.calibration.model_copy(
        update={
            "placements": (costs,),
            "notes": notes,
            "hardware": {"processor": processor},
            "engine_revision": revision,
            "target": made.calibration.target.model_copy(update={"positions": positions}),
            "seed": seed,
        }
    )
    saved = save_artifact(tmp_path, replace(made, calibration=calibration))
    loaded = load_artifact(tmp_path)
    assert loaded.calibration == saved.calibration
    assert loaded.digest == saved.digest == json.loads((tmp_path / JSON_NAME).read_bytes())["seal"]
    sealless = {"seal": "", "traces_sha256": ""}
    assert loaded.calibration.model_copy(update=sealless) == calibration.model_copy(update=sealless)
    text = (tmp_path / JSON_NAME).read_bytes()
    (tmp_path / JSON_NAME).write_text(json.dumps(json.loads(text)))
    with pytest.raises(CalibrationError, match="is damaged"):
        load_artifact(tmp_path)


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
    path = tmp_path / JSON_NAME
    record = json.loads(path.read_bytes()) | {"seal": ""}
    other = json.dumps(record, separators=(",", ":")).replace("0.028", "2.8E-2").encode()
    assert b"2.8E-2" in other
    path.write_bytes(seal(other)[0])
    assert load_artifact(tmp_path).calibration.placements[1].target[0].seconds[0] == 0.028
