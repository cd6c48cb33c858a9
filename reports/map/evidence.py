"""What a map shows that was measured, gathered from records of `verify`, and kept in one small file. Torch-free.

    save_evidence(Path("points.json"), gather([Path("one.json"), Path("other.json")]))

A record holds every run and weighs a megabyte and more. What a map takes from it is its points, and how the published
claims fell: some kilobytes each, which can be sent, kept in version control, and drawn on any later map.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from calibrate.artifact import Artifact, write_whole
from calibrate.file_kinds import MAP_POINTS, kind_of
from calibrate.versions import History, OtherVersion
from engine.errors import SpecBranchError
from engine.frozen_record import FrozenRecord
from reports.map.regime_points import MapPoint, points_of
from reports.map.settled_rows import Row, settled
from reports.verify.paired_runs import open_replay
from reports.verify.verification import load_verification

VERSION: Literal[1] = 1
VERSIONS = History(present=VERSION, migrations={}, too_old="there is none")


class Evidence(FrozenRecord):
    """The points, and the rows of those records that settled the published claims, in the order of the records."""

    version: Literal[1] = VERSION
    points: tuple[MapPoint, ...]
    settled: tuple[Row, ...] = ()


def gather(paths: Sequence[Path]) -> Evidence:
    """What records of `verify`, and files that `save_evidence` wrote, have for a map; what is there twice, once.

    SpecBranchError for one that cannot be read, or has no points.
    """
    points: list[MapPoint] = []
    rows: list[Row] = []
    for path in paths:
        found = _load(path) if kind_of(path) == MAP_POINTS else _of_record(path)
        points += [p for p in found.points if p not in points]
        rows += [row for row in found.settled if row not in rows]
    return Evidence(points=tuple(points), settled=tuple(rows))


def save_evidence(path: Path, evidence: Evidence) -> None:
    """Write it as one JSON file, which `gather` reads."""
    # By the json module, which keeps what is not a number as it is: an interval of a single timing has no ends.
    whole = {"version": VERSION, **evidence.model_dump(exclude_defaults=True)}
    write_whole(path, json.dumps(whole, indent=1).encode())


def _of_record(path: Path) -> Evidence:
    verification = load_verification(path)
    replay: Artifact | None
    try:
        replay = open_replay(path)
    except SpecBranchError:  # then alignment comes from the runs, which the point says
        replay = None
    points = points_of(verification, replay, str(path))
    if not points:
        raise SpecBranchError(
            f"{path} has no draft with an autoregressive set-up beside it, and so no point on the map; verify with "
            "'specbranch verify --settle'."
        )
    return Evidence(points=points, settled=settled(verification, points, replay))


def _load(path: Path) -> Evidence:
    try:
        return Evidence.model_validate(VERSIONS.migrate(json.loads(path.read_bytes())))
    except OtherVersion as error:
        raise SpecBranchError(f"{path} {error}.") from error
    except (OSError, ValueError) as error:  # pydantic's are among them
        raise SpecBranchError(
            f"{path} is damaged; 'specbranch map --save-points {path}' writes it anew from the records."
        ) from error
