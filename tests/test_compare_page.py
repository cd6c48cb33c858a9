"""The page and the table of a comparison."""

import json
from pathlib import Path

import plotly.graph_objects as go  # type: ignore[import-untyped]
import pytest
from rich.console import Console
from test_page import Parsed
from verifications import verification

from engine.errors import SpecBranchError
from reports.compare.compare_page import answers, render, write_comparison
from reports.compare.compare_tables import print_comparisons
from reports.compare.pairing import compare

HOSTILE = "<b>b</b> </script>"
FIRST = verification(prompts=4, tokens=16, lengths=(2,), branches=(1,))
SECOND = verification(prompts=3, tokens=16, lengths=(2,), branches=(1,), seed=6)
CHANGED = SECOND.model_copy(update={"hardware": {**SECOND.hardware, "cores": "</script>64"}})
COMPARED = compare([FIRST, CHANGED, FIRST], ["a", HOSTILE, "c"])


def test_the_page_is_one_file_of_the_reports_machinery(tmp_path: Path) -> None:
    html = render(COMPARED)
    assert "<title>Comparison of runs, SpecBranch Lab</title>" in html
    assert html.count('id="download"') == 1  # the page's script asks for it
    for key in ("ratios", "errors", "conditions"):
        assert f'<section id="{key}"' in html
    assert HOSTILE not in html
    assert "</script>64" not in html
    assert [one["second"] for one in json.loads(Parsed(html).data("record"))] == [HOSTILE, "c"]
    write_comparison(COMPARED, tmp_path / "p.html")
    assert (tmp_path / "p.html").read_text() == html
    with pytest.raises(SpecBranchError, match="cannot be written"):
        write_comparison(COMPARED, tmp_path / "p.html" / "q.html")


def test_charts_hold_every_row_and_are_plotlys() -> None:
    (ratios,), (errors,) = answers(COMPARED).run, answers(COMPARED).trust
    figure = ratios.charts[0].views[""].figure
    go.Figure(figure)  # refuses what plotly.js does not know
    for trace, one in zip(figure["data"], COMPARED, strict=True):
        assert trace["x"] == [row.ratio.value for row in one.rows]
    figure = errors.charts[0].views[""].figure
    go.Figure(figure)
    assert len(figure["data"]) == len(COMPARED) + 1
    assert figure["data"][0]["x"] == [100 * row.first.error for row in COMPARED[0].rows]


def test_a_condition_that_differs_is_a_warning_everywhere() -> None:
    out = Console(record=True, width=200, file=None)
    with out.capture() as said:
        print_comparisons(out, COMPARED)
    told = " ".join(said.get().split())
    assert "Warning: hardware cores: 2 in the first, </script>64 in the second." in told
    (conditions,) = answers(COMPARED).conditions
    assert ("hardware cores", "2", "</script>64") in conditions.tables[0].rows
    assert conditions.tables[1].rows == (("nothing", "", ""),)
    assert "were not made under the same conditions" in render(COMPARED)
    assert "were not made under the same conditions" not in render(COMPARED[1:])
