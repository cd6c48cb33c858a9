"""A calibration folder is whole or does not load."""

from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from artifacts import artifact as build_artifact
from hypothesis import HealthCheck, given, settings

from calibrate.artifact import ARRAYS_NAME, JSON_NAME, VERSION, load_artifact, save_artifact
from engine.errors import CalibrationError


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


def test_another_version_is_named(tmp_path: Path) -> None:
    save_artifact(tmp_path, build_artifact())
    path = tmp_path / JSON_NAME
    path.write_text(path.read_text().replace(f'"version":{VERSION},', '"version":99,', 1))
    with pytest.raises(CalibrationError, match="version 99"):
        load_artifact(tmp_path)
