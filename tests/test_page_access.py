"""What every kind of page keeps to: size, structure for a screen reader, the keyboard, colours, old browsers."""

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from test_compare_page import COMPARED
from test_page import FAULTS, Browser, start_browser
from verifications import artifact, verification

from calibrate.artifact import load_artifact
from engine.metrics import Estimate
from reports.compare.compare_page import write_comparison
from reports.load.load_page import write_loads
from reports.map.regime_page import write_map
from reports.map.regime_points import points_of
from reports.map.settled_rows import settled
from reports.page import palette
from reports.page.html import pack, unpack
from reports.page.report import write_page
from scenarios.calibrations import REFERENCE
from scenarios.schema import load_scenario
from scenarios.shipped import find_scenario
from sim.search.regime_map import regime_map
from sim.sweeps.served import run_served

LIMIT = 3_000_000  # bytes
KINDS = ("report", "settlement", "comparison", "map", "load")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Each kind of page at its usual size; the map is the shipped calibration's, with every cell and view."""
    folder = tmp_path_factory.mktemp("pages")
    made = {kind: folder / f"{kind}.html" for kind in KINDS}
    settling = verification(settling=True)
    record = verification(
        prompts=24, tokens=48, lengths=(1, 2, 3, 4, 5, 6, 8), branches=(1, 2, 3, 4), other_hardware=True
    )
    write_page(record, made["report"], artifact())
    write_page(settling, made["settlement"])
    write_comparison(COMPARED, made["comparison"])
    requests = load_scenario(find_scenario(Path("many-requests")))
    fewer = requests.model_copy(update={"workload": requests.workload.model_copy(update={"requests": 64})})
    write_loads([(fewer, list(run_served(fewer)))], made["load"])
    points = tuple(
        p.model_copy(update={"ratio": Estimate(r, 0.9 * r, 1.1 * r)})
        for p, r in zip(points_of(settling, record="a.json"), (8.0, 20.0), strict=True)
    )
    found = regime_map(load_artifact(REFERENCE), "reference", prompts=2, jobs=1)
    write_map(found, points, made["map"], settled(settling, points, artifact()))
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from start_browser()


@pytest.fixture(params=KINDS)
def opened(browser: Browser, pages: Mapping[str, Path], request: pytest.FixtureRequest) -> Browser:
    """A browser that shows a page of each kind."""
    browser.open(pages[request.param], charts=None)
    return browser


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_small(pages: Mapping[str, Path], kind: str) -> None:
    assert pages[kind].stat().st_size <= LIMIT


@pytest.mark.parametrize("text", ["", "a", "ab", "abc", "abcd", "\u2028 </script> \U0001f600" * 99])
def test_what_is_packed_is_unpacked_and_holds_no_markup(text: str) -> None:
    assert unpack(pack(text)) == text
    assert not set("<>&'\"") & set(pack(text))


def test_headings_and_landmarks_follow_the_questions(opened: Browser) -> None:
    levels = opened.run(
        "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((h) => Number(h.tagName[1]))"
    )
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    asked = opened.run("[...document.querySelectorAll('h2')].map((h) => h.textContent)")
    order = ["What to run", "Can I trust it?", "Why?", "What if?", "Conditions"]
    assert asked == [question for question in order if question in asked]
    assert {"What to run", "Can I trust it?", "Conditions"} <= set(asked)
    assert opened.run("[...document.querySelectorAll('nav a')].map((a) => a.textContent)") == asked
    for tag in ("header", "nav", "main", "footer"):
        assert opened.run(f"document.querySelectorAll('body > {tag}').length") == 1
    twice = "[...document.querySelectorAll('[id]')].filter((e, i, all) => all.some((o, k) => k < i && o.id === e.id))"
    assert opened.run(f"{twice}.length") == 0


def test_tables_have_captions_and_headers(opened: Browser) -> None:
    faulty = opened.run(
        "[...document.querySelectorAll('table')].filter((t) => !t.caption?.textContent.trim()"
        " || ![...t.tHead.rows[0].cells].every((c) => c.matches('th[scope=col]') && c.textContent.trim())"
        " || ![...t.tBodies[0].rows].every((r) => r.cells[0].matches('th[scope=row]'))).map((t) => t.outerHTML)"
    )
    assert faulty == []


def test_a_screen_reader_hears_names_and_what_charts_show(opened: Browser) -> None:
    """By the tree that the browser gives to assistive technology."""
    nodes = [n for n in opened.call("Accessibility.getFullAXTree")["nodes"] if not n["ignored"]]

    def those(*roles: str) -> list[str]:
        return [n["name"]["value"].strip() for n in nodes if n["role"]["value"] in roles]

    controls = opened.run("document.querySelectorAll('select, main button').length")
    assert len(those("combobox", "button")) == controls
    charts = opened.run("document.querySelectorAll('.chart').length")
    images = [n for n in nodes if n["role"]["value"] in ("image", "img")]
    assert len(images) == charts
    assert all(n["name"]["value"].strip() and n["description"]["value"].strip() for n in images)
    assert not those("graphics-symbol", "graphics-object")  # nothing inside them is read out
    for role in (
        "combobox",
        "button",
        "image",
        "img",
        "link",
        "figure",
        "table",
        "region",
        "navigation",
    ):
        assert all(those(role)), role
    assert opened.run("[...document.querySelectorAll('[role=group]')].every((e) => e.ariaLabel)")
    assert {"main", "banner", "navigation", "contentinfo"} <= {n["role"]["value"] for n in nodes}


def test_the_tab_key_reaches_every_control_and_shows_where_it_is(opened: Browser) -> None:
    opened.run("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    wanted = opened.run(
        "(window.wanted = [...document.querySelectorAll('a[href], select, button, summary, [tabindex=\"0\"]')]"
        ".filter((e) => e.checkVisibility())).length"
    )
    opened.run("document.activeElement.blur(); window.seen = new Set(); window.unmarked = [];")
    for _ in range(wanted):
        for kind in ("rawKeyDown", "keyUp"):
            opened.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        opened.run(
            "(() => { const e = document.activeElement; window.seen.add(e);"
            " if (getComputedStyle(e).outlineStyle === 'none') window.unmarked.push(e.outerHTML); })()"
        )
    assert opened.run("window.wanted.filter((e) => !window.seen.has(e)).map((e) => e.outerHTML)") == []
    assert opened.run("window.unmarked") == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_decision_and_its_chart_stand_on_the_first_screen(
    browser: Browser, pages: Mapping[str, Path], kind: str
) -> None:
    for width, shown in (
        (1280, ".headline, .tiles, #run .chart .ytick, #run .chart .xy"),
        (390, ".headline, .tiles"),
    ):
        browser.open(pages[kind], width, charts=None)
        top = f"[...document.querySelectorAll('{shown}')].map((e) => e.getBoundingClientRect())"
        assert browser.run(f"{top}.every((r) => r.top >= 0 && r.top < innerHeight)")
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("kind", KINDS)
def test_a_phone_shows_the_decision_and_the_beginning_of_its_chart(
    browser: Browser, pages: Mapping[str, Path], kind: str
) -> None:
    """At 390 x 844, a common phone; the rest comes below, in an order that the tab key keeps to."""
    browser.open(pages[kind], 390, charts=None, height=844)

    def edges(shown: str) -> list[dict[str, float]]:
        boxes = f"[...document.querySelectorAll('{shown}')].map((e) => e.getBoundingClientRect().toJSON())"
        return list(browser.run(boxes))

    above, (drawn, *_) = edges(".headline, .tiles"), edges("#run .chart .main-svg")
    assert max(box["bottom"] for box in above) <= drawn["top"] <= 844 - 200
    assert 0 <= drawn["left"] < drawn["right"] <= 390
    marks = browser.run(
        "[...document.querySelectorAll('#run .chart .ytick text')]"
        ".filter((t) => t.getBoundingClientRect().bottom < innerHeight).length"
    )
    assert marks > 0
    places = browser.run(
        "[...document.querySelectorAll('#run :is(a, select, button, summary)')].filter((e) => e.checkVisibility())"
        ".map((e) => { const r = e.getBoundingClientRect(); return [r.top, r.left]; })"
    )
    assert places == sorted(places)


def test_names_on_axes_are_whole(browser: Browser, pages: Mapping[str, Path]) -> None:
    for width in (1280, 390):
        browser.open(pages["report"], width, charts=None)
        cut = browser.run(
            "[...document.querySelectorAll('.chart')].flatMap((c) => [...c.querySelectorAll('.ytick text')]"
            ".filter((t) => t.getBoundingClientRect().left < c.getBoundingClientRect().left - 1"
            " || t.textContent.includes('\u2026')).map((t) => c.id + t.textContent))"
        )
        assert cut == []


def test_without_decompression_the_page_says_so_and_keeps_its_tables_and_data(
    browser: Browser, pages: Mapping[str, Path]
) -> None:
    script = browser.call(
        "Page.addScriptToEvaluateOnNewDocument", source="delete window.DecompressionStream;"
    )["identifier"]
    try:
        browser.call("Page.navigate", url=pages["map"].as_uri())
        browser.wait_for("document.documentElement?.dataset.ready === 'text'")
    finally:
        browser.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    assert browser.run("document.getElementById('uncharted').checkVisibility()")
    assert browser.run("[...document.querySelectorAll('.chart')].every((c) => !c.checkVisibility())")
    assert browser.run("document.getElementById('download').download") == "map.json.gz"
    shown = "[...document.querySelectorAll('[data-of=map]')].findIndex((t) => !t.hidden)"
    before = browser.run(shown)
    browser.choose("map", 0, 1)
    assert browser.run(shown) != before
    assert not browser.methods() & FAULTS


def _contrast(one: str, other: str) -> float:
    """By WCAG 2.2, 1.4.3."""

    def luminance(tint: str) -> float:
        parts = [int(two, 16) / 255 for two in re.findall("[0-9a-f]{2}", tint)]
        r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_what_wcag_defines() -> None:
    assert _contrast("#ffffff", "#000000") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_in_charts_can_be_read(scheme: str) -> None:
    on_surface = (palette.INK, palette.MUTED)
    inside_bars = (palette.BLUE, palette.GREEN, palette.VERMILLION, palette.PURPLE, palette.AMBER)
    under_ink = (
        *(palette.WORSE, palette.EVEN, palette.BETTER, palette.NONE, palette.SOME, palette.MUCH),
        *(tint for pair in palette.WON.values() for tint in pair),
    )
    pairs = [(text, palette.SURFACE) for text in on_surface]
    pairs += [(palette.SURFACE, tint) for tint in inside_bars]
    pairs += [(palette.INK, tint) for tint in under_ink]
    for text, ground in pairs:
        if scheme == "dark":
            text, ground = palette.DARK[text], palette.DARK[ground]
        assert _contrast(text, ground) >= 4.5, (text, ground)


def test_a_report_is_read_in_two_minutes(browser: Browser, pages: Mapping[str, Path]) -> None:
    """What stands in the open beside charts and tables, at 240 words a minute."""
    browser.open(pages["report"], charts=None)
    told = ".headline, .tiles, .predictions, .because, .finding, h2, h3"
    assert (
        len(
            browser.run(f"[...document.querySelectorAll('{told}')].map((e) => e.innerText).join(' ')").split()
        )
        < 480
    )
