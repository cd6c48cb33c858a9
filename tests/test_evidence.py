"""What a map shows that was measured: gathered from records, kept in a small file, and read from it as it was."""

import json
from pathlib import Path

import pytest
from verifications import verification

from engine.errors import SpecBranchError
from engine.metrics import Estimate
from reports.map.evidence import VERSION, Evidence, gather, save_evidence
from reports.map.regime_points import points_of
from reports.map.settled_rows import settled
from reports.verify.verification import save_verification


def records(folder: Path) -> list[Path]:
    """A record of a verification, and one that settles the published claims."""
    for name, settling in (("one", False), ("settling", True)):
        save_verification(folder / f"{name}.json", verification(settling=settling))
    return [folder / "one.json", folder / "settling.json"]


def test_records_are_gathered_in_their_order(tmp_path: Path) -> None:
    one, settling = records(tmp_path)
    found = gather([one, settling])
    claims = points_of(verification(settling=True), None, str(settling))
    assert found.points == (*points_of(verification(), None, str(one)), *claims)
    assert found.settled == settled(verification(settling=True), claims)
    assert found.settled


def test_a_file_of_points_stands_for_its_records(tmp_path: Path) -> None:
    paths, kept = records(tmp_path), tmp_path / "points.json"
    found = gather(paths)
    save_evidence(kept, found)
    assert gather([kept]) == found
    assert gather([*paths, kept, kept]) == found, "what is there twice is drawn once"
    one = gather(paths[:1])
    save_evidence(kept, one)
    assert gather([kept, paths[1]]) == found
    assert kept.stat().st_size < sum(path.stat().st_size for path in paths) / 2


def test_what_was_not_measured_stays_so(tmp_path: Path) -> None:
    """Ends of an interval that nothing tells are not numbers, in the file as well."""
    (first, *_) = points_of(verification())
    nan = float("nan")
    unknown = first.model_copy(update={"ratio": Estimate(3.0, nan, nan), "ratio_from": "one timing"})
    save_evidence(tmp_path / "p.json", Evidence(points=(unknown,)))
    (back,) = gather([tmp_path / "p.json"]).points
    assert back.model_dump_json() == unknown.model_dump_json()
    assert back.ratio.low != back.ratio.low


def test_what_has_no_point_or_cannot_be_read_is_refused(tmp_path: Path) -> None:
    v = verification()
    alone = tuple(c for c in v.compared if c.configuration.drafts)
    save_verification(tmp_path / "none.json", v.model_copy(update={"compared": alone}))
    with pytest.raises(SpecBranchError, match=r"none.json has no draft .* verify --settle"):
        gather([tmp_path / "none.json"])
    with pytest.raises(SpecBranchError, match="cannot be read"):
        gather([tmp_path / "missing.json"])
    kept = tmp_path / "points.json"
    kept.write_text(json.dumps({"version": VERSION, "points": [{"draft": "mine"}]}))
    with pytest.raises(SpecBranchError, match=r"points.json is damaged; .* --save-points"):
        gather([kept])
    kept.write_text(json.dumps({"version": VERSION + 1, "points": []}))
    with pytest.raises(SpecBranchError, match="newer program"):
        gather([kept])
