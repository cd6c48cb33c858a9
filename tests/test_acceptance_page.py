"""The section on acceptance shows what the statistics say."""

import artifacts
import pytest

from calibrate.traces.acceptance_statistics import RANKS, acceptance_statistics
from reports.page.acceptance_page import acceptance

STATISTICS = acceptance_statistics(artifacts.artifact(prompts=6))
SECTION = acceptance(STATISTICS)
DEPTH, KINDS, RELIABILITY = SECTION.charts


def test_every_draft_is_in_every_view() -> None:
    for chart in SECTION.charts:
        for view in chart.views.values():
            named = [t["name"] for t in view.figure["data"] if t.get("showlegend", True)]
            assert named == list(artifacts.DRAFTS)


def test_shares_are_in_percent_with_their_intervals() -> None:
    for key, pick in (("0", "given"), ("1", "reached")):
        for trace, one in zip(DEPTH.views[key].figure["data"], STATISTICS, strict=True):
            shares = [share for d in one.by_depth if (share := getattr(d, pick))]
            assert trace["y"] == pytest.approx([100 * s.value for s in shares])
            assert trace["error_y"]["array"] == pytest.approx([100 * (s.high - s.value) for s in shares])
    for rank in range(len(RANKS)):
        for trace, one in zip(KINDS.views[str(rank)].figure["data"], STATISTICS, strict=True):
            assert trace["y"] == pytest.approx([100 * k.within[rank].value for k in one.by_kind])


def test_reliability_stands_against_the_line_of_equality() -> None:
    even, *drafts = RELIABILITY.views[""].figure["data"]
    assert even["x"] == even["y"]
    for trace, one in zip(drafts, STATISTICS, strict=True):
        assert trace["x"] == pytest.approx([100 * b.confidence for b in one.reliability])
        assert trace["y"] == pytest.approx([100 * b.right.value for b in one.reliability])


def test_the_finding_names_every_drafts_share() -> None:
    for one in STATISTICS:
        assert f"{one.draft} predicts {100 * one.overall.within[0].value:.1f}%" in SECTION.finding


def test_no_draft_is_told() -> None:
    assert acceptance(()).finding == "The calibration holds no draft."
