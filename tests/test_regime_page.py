"""The map's page: what stands in it, and a cell and a point of it read in a real browser."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go  # type: ignore[import-untyped]
import pytest
from rich.console import Console
from test_page import FAULTS, Browser, Parsed, start_browser
from verifications import HOSTILE, artifact, verification

from engine.metrics import Estimate
from engine.naming import in_words, method_name
from reports.map.cell_sections import published_view
from reports.map.claims import findings
from reports.map.evidence_sections import measured
from reports.map.published import PAIRS, find_regimes
from reports.map.regime_charts import CODES, lead_text, place_alignment, place_ratio
from reports.map.regime_page import document, render, write_map
from reports.map.regime_points import MapPoint, points_of
from reports.map.regime_verdict import best_own, decide
from reports.map.settled_rows import Row, settled
from reports.map.terminal import print_map
from reports.page import palette
from reports.tables import WIDTH
from reports.wording import number, percent, times
from sim.search.regime_map import regime_map
from sim.search.regimes import RegimeMap

QUESTIONS = {
    "run": ("map",),
    "trust": ("points", "published", "claims"),
    "why": ("losses",),
    "what-if": ("ratios",),
    "under": ("conditions",),
}
SECTIONS = [section for sections in QUESTIONS.values() for section in sections]
CHARTS = 5
RATIOS, ALIGNMENTS = (2.0, 8.0, 30.0), (0.5, 0.8, 0.95)


@pytest.fixture(scope="module")
def found() -> RegimeMap:
    return regime_map(artifact(), HOSTILE[0], ratios=RATIOS, alignments=ALIGNMENTS, jobs=1)


@pytest.fixture(scope="module")
def points() -> tuple[MapPoint, ...]:
    made = points_of(verification(settling=True), record=HOSTILE[1])
    return tuple(
        p.model_copy(update={"ratio": Estimate(r, 0.9 * r, 1.1 * r)})
        for p, r in zip(made, (8.0, 20.0), strict=True)
    )


@pytest.fixture(scope="module")
def rows(points: tuple[MapPoint, ...]) -> tuple[Row, ...]:
    return settled(verification(settling=True), points, artifact())


@pytest.fixture(scope="module")
def html(found: RegimeMap, points: tuple[MapPoint, ...], rows: tuple[Row, ...]) -> str:
    return render(found, points, rows)


@pytest.fixture(scope="module")
def page(html: str) -> Parsed:
    return Parsed(html)


def test_every_section_is_there_with_a_finding(html: str, page: Parsed) -> None:
    made = [g["id"] for t, g in page.elements if t == "section"]
    assert made == [key for question, sections in QUESTIONS.items() for key in (question, *sections)]
    for key in SECTIONS:
        assert page.finding(html, key).strip().endswith(".")


def test_the_decision_says_where_the_pair_lies_what_wins_and_by_how_much(found: RegimeMap) -> None:
    opening, (own, cell) = decide(found), best_own(found)
    assert number(own.ratio) in opening.headline
    assert percent(own.alignment, 0) in opening.headline
    if cell.winner.configuration.drafts:
        assert in_words(cell.winner.configuration) in opening.headline
        assert times(cell.winner.speed_up.value) in opening.headline or cell.is_tie
    assert any("SpecBranch would be" in s for s in opening.sentences)


def test_what_has_to_be_said_of_a_target_stands_under_the_decision(
    found: RegimeMap, points: tuple[MapPoint, ...]
) -> None:
    """Each remark once, of the calibration and of the points."""
    here = found.model_copy(update={"remarks": ("the target is so deep",)})
    there = [p.model_copy(update={"remarks": ("the target is deeper",)}) for p in points]
    opening = render(here, there).partition('class="finding"')[0]
    for said in ("The target is so deep.", "The target is deeper."):
        assert opening.count(said) == 1
    out = Console(file=io.StringIO(), width=200)
    print_map(out, here, there)
    assert isinstance(out.file, io.StringIO)
    assert "The target is so deep.\nThe target is deeper.\n" in out.file.getvalue()


def test_points_of_an_unsteady_machine_are_told_as_such(
    found: RegimeMap, points: tuple[MapPoint, ...]
) -> None:
    for unsteady, said in ((0, None), (1, "1"), (len(points), "all")):
        there = [p.model_copy(update={"unsteady": i < unsteady}) for i, p in enumerate(points)]
        finding = measured(found, there).finding
        assert (said is None) == ("too unsteady" not in finding)
        assert said is None or f"too unsteady for a verdict at {said} of them." in finding


def test_the_map_fits_a_terminal(
    found: RegimeMap, points: tuple[MapPoint, ...], rows: tuple[Row, ...]
) -> None:
    out = Console(file=io.StringIO(), width=WIDTH)
    print_map(out, found, points, rows)
    assert isinstance(out.file, io.StringIO)
    assert max(map(len, out.file.getvalue().splitlines())) <= WIDTH
    assert "\u2026" not in out.file.getvalue()
    assert "SB: SpecBranch" in out.file.getvalue()


def test_it_says_not_to_speculate_where_nothing_gains(found: RegimeMap) -> None:
    own = []
    for o in found.own:
        views = []
        for v in o.views:
            (cell,) = v.cells
            alone = cell.entry("autoregressive")
            assert alone
            rest = tuple(e for e in cell.entries if e is not alone)
            lost = cell.model_copy(
                update={
                    "entries": (alone, *rest),
                    "tied": ("autoregressive",),
                    "lead": Estimate(1.2, 1.1, 1.3),
                }
            )
            views.append(v.model_copy(update={"cells": (lost,)}))
        own.append(o.model_copy(update={"views": tuple(views)}))
    opening = decide(found.model_copy(update={"own": tuple(own)}))
    assert opening.tone == "bad"
    assert "do not speculate" in opening.headline


def test_the_table_says_what_the_heat_map_says(found: RegimeMap, page: Parsed, html: str) -> None:
    views = json.loads(page.data("charts"))["views"]["map"]
    assert len(views) == len(found.views)
    view = found.views[0]
    start = html.index('data-of="map" data-choice="0,0"')
    body = html[start : html.index("</table>", start)]
    for cell in view.cells:
        assert f"{CODES[cell.winner.policy]} {lead_text(cell)}" in body
        (text,) = {
            t["text"][ALIGNMENTS.index(cell.alignment)][RATIOS.index(cell.ratio)]
            for t in views["0,0"]["figure"]["data"]
            if t["type"] == "heatmap"
        } - {""}
        assert text == f"{CODES[cell.winner.policy]}<br>{lead_text(cell)}"


def test_plotly_accepts_every_view_in_both_schemes(page: Parsed) -> None:
    shown = json.loads(page.data("charts"))
    assert set(shown["views"]) == {"map", "ratios", "losses", "published", "points"}
    for views in shown["views"].values():
        for view in views.values():
            text = json.dumps(view["figure"])
            go.Figure(view["figure"], skip_invalid=False)
            for light, dark in palette.DARK.items():
                text = text.replace(f'"{light}"', f'"{dark}"')
            go.Figure(json.loads(text))


def test_strings_of_others_are_text(page: Parsed) -> None:
    assert len(page.scripts) == 4
    assert not {"b", "i", "img"} & {tag for tag, _ in page.elements}
    for hostile in HOSTILE[:2]:
        assert hostile in page.text
    assert "int4 &lt;b&gt;" in json.dumps(json.loads(page.data("charts"))["views"]["map"])


def test_the_document_holds_the_map_and_its_points(
    found: RegimeMap, points: tuple[MapPoint, ...], rows: tuple[Row, ...], page: Parsed
) -> None:
    held = json.loads(page.data("record"))
    assert held == json.loads(json.dumps(document(found, points, rows)))
    assert tuple(map(Row.model_validate, held["claims"]["rows"])) == rows
    assert held["claims"]["findings"] == findings(rows)
    assert RegimeMap.model_validate(held["map"]) == found
    assert tuple(MapPoint.model_validate(p) for p in held["points"]) == points
    assert [p["pair"] for p in held["published"]] == [p.name for p in PAIRS]


def test_a_published_pair_lies_where_the_map_gives_pearl_its_average(found: RegimeMap) -> None:
    view = published_view(found)
    pair = replace(PAIRS[0], target_layers=8, draft_layers=1, target_parameters=8.0, draft_parameters=1.0)
    speeds = [e.speed_up.value for c in view.cells if c.ratio == 8.0 and (e := c.entry("pearl"))]
    gains = [e.speed_up.value for c in view.cells if c.ratio == 8.0 and (e := c.entry("specbranch"))]
    for place, alignment in enumerate(ALIGNMENTS):
        (regime,) = find_regimes(found, view, [replace(pair, pearl=speeds[place])])
        assert regime.middle
        assert (regime.middle.ratio, regime.middle.alignment) == pytest.approx((8.0, alignment))
        assert regime.middle.specbranch == pytest.approx(gains[place])
    (nowhere,) = find_regimes(found, view, [replace(pair, pearl=50.0)])
    assert nowhere.places == ()


def test_published_ratios_lie_between_those_of_layers_and_parameters() -> None:
    for pair in PAIRS:
        low, middle, high = pair.ratios
        assert low < middle < high
        assert {round(low, 6), round(high, 6)} == {
            round(pair.target_layers / pair.draft_layers, 6),
            round(pair.target_parameters / pair.draft_parameters, 6),
        }
        assert pair.gain == pair.specbranch / pair.pearl


def test_published_parameters_are_those_of_the_models_shapes() -> None:
    """Layers, width, the MLP's, the keys', and tokens, with embeddings and head apart; norms are left out."""
    shapes = {
        "A": ((32, 4096, 11008, 4096, 32000), (2, 768, 3072, 768, 32000)),
        "B": ((40, 5120, 13824, 5120, 32000), (2, 768, 3072, 768, 32000)),
        "C": ((62, 7168, 19200, 1024, 32256), (24, 2048, 5504, 2048, 32256)),
        "D": ((80, 8192, 28672, 1024, 128256), (32, 4096, 14336, 1024, 128256)),
    }
    for pair in PAIRS:
        found = [
            (
                layers,
                (layers * (2 * width**2 + 2 * width * kept + 3 * width * mlp) + 2 * tokens * width) / 1e9,
            )
            for layers, width, mlp, kept, tokens in shapes[pair.letter]
        ]
        assert [layers for layers, _ in found] == [pair.target_layers, pair.draft_layers]
        stated = [pair.target_parameters, pair.draft_parameters]
        assert stated == pytest.approx([billions for _, billions in found], rel=0.005)


def test_places_lie_on_cells_and_between_them(found: RegimeMap) -> None:
    assert [place_ratio(found, r) for r in RATIOS] == [0, 1, 2]
    assert place_ratio(found, 4.0) == pytest.approx(0.5)
    assert [place_alignment(found, a) for a in ALIGNMENTS] == [0, 1, 2]
    assert place_alignment(found, 0.65) == pytest.approx(0.5)
    assert (place_ratio(found, 1.0), place_ratio(found, 99.0)) == (-0.4, 2.4)


def test_without_points_the_page_says_how_to_get_them(found: RegimeMap) -> None:
    made = render(found)
    assert "takes the records" in Parsed(made).finding(made, "points")


def test_without_settlements_nothing_is_said_of_the_claims(
    found: RegimeMap, points: tuple[MapPoint, ...]
) -> None:
    assert 'id="claims"' not in render(found, points)
    assert "claims" not in document(found, points)


def test_torch_stays_out() -> None:
    code = "import sys, reports.map.regime_page; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from start_browser()


@pytest.fixture(scope="module")
def file(
    tmp_path_factory: pytest.TempPathFactory,
    found: RegimeMap,
    points: tuple[MapPoint, ...],
    rows: tuple[Row, ...],
) -> Path:
    out = tmp_path_factory.mktemp("map") / "map.html"
    write_map(found, points, out, rows)
    return out


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_cell_and_a_point_are_read(
    browser: Browser, file: Path, found: RegimeMap, points: tuple[MapPoint, ...], width: int, dark: bool
) -> None:
    browser.open(file, width, dark, charts=CHARTS)
    assert not browser.methods() & FAULTS
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    chart = "document.getElementById('chart-map')"

    def hovered(x: float, y: float, begins: str) -> str:
        """What the hover box says where the pointer is moved to, in places of the map's lists, once it begins so."""
        at = (
            f"(() => {{ const c = {chart}, l = c._fullLayout;"
            " c.scrollIntoView({ block: 'center', behavior: 'instant' });"
            f" const r = c.getBoundingClientRect(); return [r.left + l.xaxis._offset + l.xaxis.d2p({x}),"
            f" r.top + l.yaxis._offset + l.yaxis.d2p({y})]; }})()"
        )
        left, top = browser.run(at)
        for step in (6, 0):
            browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=left + step, y=top)
        box = f"{chart}.querySelector('.hoverlayer .hovertext')"
        browser.wait_for(f"({box}?.textContent ?? '').startsWith({json.dumps(begins)})")
        return str(browser.run(f"{box}.textContent"))

    cell = next(c for c in found.views[0].cells if (c.ratio, c.alignment) == (2.0, 0.5))
    said = hovered(0.0, 0.0, "ratio 2, alignment 50%")
    assert times(cell.winner.speed_up.value) in said
    assert cell.runner_up
    assert f"runner-up: {method_name(cell.runner_up.policy)}" in said
    if not cell.is_tie:
        assert f"{percent(cell.lead.value - 1.0)} ahead" in said
    point = points[1]
    x, y = place_ratio(found, point.ratio.value), place_alignment(found, point.alignment.value)
    said = hovered(x, y, f"measured with {point.draft}")
    assert in_words(point.winner) in said
    assert f"predicted {number(point.ratios[0].predicted, 2)}" in said


def test_the_claims_are_read_by_row(browser: Browser, file: Path, rows: tuple[Row, ...]) -> None:
    browser.open(file, charts=CHARTS)
    shown = browser.run(
        "[...document.querySelector('#claims table').tBodies[0].rows].map((r) => [...r.cells].map((c) => c.innerText))"
    )
    assert len(shown) == len(rows)
    for cells, row in zip(shown, rows, strict=True):
        assert cells[0] == row.target  # markup in it is text
        assert (cells[1], cells[2]) == ("greedy", row.draft)
        assert cells[3].startswith(number(row.ratio.value))
        told = [cell.rpartition(": ") for cell in cells[5:-1] if cell]
        assert sorted(text.split(" ")[0] for text, _, _ in told) == sorted(
            number(c.figure.value, 2) for c in row.claims
        )
        assert [outcome for *_, outcome in told[:3]] == [
            c.outcome for c in (row.claims[0], row.claims[2], row.claims[1])
        ]
    items = browser.run("[...document.querySelectorAll('#claims .items li')].map((e) => e.innerText)")
    assert items == findings(rows)


def test_switches_change_the_map_and_its_table(browser: Browser, file: Path, found: RegimeMap) -> None:
    browser.open(file, charts=CHARTS)
    table = "[...document.querySelectorAll('[data-of=map]:not([hidden]) caption')].map((c) => c.textContent)"
    drawn = (
        "JSON.stringify(document.getElementById('chart-map')._fullData.filter((t) => t.type === 'heatmap')"
        ".map((t) => t.hovertext))"
    )
    seen = {(browser.run(drawn), *browser.run(table))}
    for place, value in ((0, 1), (1, 1), (0, 2), (1, 0)):
        before = browser.run(drawn)
        browser.choose("map", place, value)
        browser.wait_for(f"{drawn} !== {json.dumps(before)}")
        shown = browser.run(table)
        assert len(shown) == 2
        assert shown[0].removeprefix("Winner and its lead in percent: ") == shown[1].removeprefix(
            "Every cell: "
        )
        seen.add((browser.run(drawn), *shown))
    assert len(seen) == 5


def test_it_prints_one_table_for_its_map(browser: Browser, file: Path) -> None:
    browser.open(file, charts=CHARTS)
    browser.run(
        "addEventListener('beforeprint', () => { window.printed = ["
        "[...document.querySelectorAll('[data-of=map]')].filter((e) => !e.hidden).length,"
        "document.querySelector('#chart-map .main-svg').clientWidth]; })"
    )
    browser.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
    assert browser.run("window.printed") == [2, 670]
