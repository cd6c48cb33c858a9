"""The report page: what stands in it, and how it behaves in a real browser."""

import base64
import fcntl
import hashlib
import itertools
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from statistics import median
from typing import Any

import plotly.graph_objects as go  # type: ignore[import-untyped]
import pytest
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]
from verifications import HOSTILE, artifact, at_speeds, verification

from engine.errors import SpecBranchError
from engine.metrics import Estimate
from engine.naming import in_words
from reports.page import charts, palette
from reports.page.html import unpack
from reports.page.report import render, write_page
from reports.page.verdict import verdict
from reports.verify.settle import settle, summary
from reports.verify.tolerance import Tolerance
from reports.verify.verification import Verification, load_verification
from reports.wording import has_interval, interval

QUESTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "run": {"speeds": ("speeds",)},
    "trust": {"prediction": ("prediction",), "timeline": ("timeline",)},
    "why": {
        "shares": ("shares",),
        "dropped": ("dropped",),
        "frontier": ("frontier",),
        "acceptance": ("depth", "kinds", "reliability"),
        "costs": ("costs",),
    },
    "what-if": {
        "tradeoff": ("tradeoff",),
        "overheads": ("overheads",),
        "sensitivities": ("sensitivities",),
    },
    "under": {"conditions": ("reference",)},
}
SECTIONS = {key: charts for answers in QUESTIONS.values() for key, charts in answers.items()}
CHARTS = tuple(chart for charts in SECTIONS.values() for chart in charts)
DATA = {"plotly", "charts", "record"}
FAULTS = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}


class Parsed(HTMLParser):
    """Elements with their attributes, the scripts' content, and the text of everything else."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self.style = self.text = ""
        self._inside: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements.append((tag, given))
        self._inside = tag
        if tag == "script":
            self.scripts.append((given, ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            given, content = self.scripts[-1]
            self.scripts[-1] = (given, content + data)
        elif self._inside == "style":
            self.style += data
        else:
            self.text += data

    def data(self, key: str) -> str:
        """What a packed block holds."""
        return unpack(self.packed(key))

    def packed(self, key: str) -> str:
        """A packed block as it stands there."""
        return next(content for given, content in self.scripts if given.get("id") == key)

    def finding(self, html: str, key: str) -> str:
        """What a section says in words, in the open and folded."""
        body = html[html.index(f'id="{key}-finding">') :].split("</section>")[0]
        lead, _, behind = body.partition(">")[2].partition("</p>")
        folded = (behind.partition('<details class="more">')[2] or behind).partition("</details>")[0]
        return Parsed(" ".join([lead, *re.findall("<p>(.*?)</p>", folded, re.DOTALL)])).text


@pytest.fixture(scope="module")
def record() -> Verification:
    return verification(prompts=5)


@pytest.fixture(scope="module")
def html(record: Verification) -> str:
    return render(record, artifact())


@pytest.fixture(scope="module")
def page(html: str) -> Parsed:
    return Parsed(html)


def test_plotly_is_embedded_once(html: str) -> None:
    assert Parsed(html).data("plotly") == get_plotlyjs()
    assert [given.get("id") for given, _ in Parsed(html).scripts] == ["plotly", "charts", "record", None]


def test_nothing_is_loaded(page: Parsed) -> None:
    loading = {"src", "srcset", "href", "data", "poster", "action", "background"}
    used = [(tag, value) for tag, given in page.elements for name, value in given.items() if name in loading]
    assert used
    assert all(value.startswith(("#", "data:,")) for _, value in used)
    assert not {"iframe", "img", "object", "embed", "form", "base"} & {tag for tag, _ in page.elements}
    assert "url(" not in page.style
    assert "@import" not in page.style


def test_only_its_own_scripts_may_run(page: Parsed) -> None:
    policy = next(g["content"] for t, g in page.elements if t == "meta" and g.get("http-equiv"))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    running = [page.data("plotly"), *(content for given, content in page.scripts if "id" not in given)]
    assert [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in running] == allowed
    assert "unsafe-eval" not in policy
    assert not any(name.startswith("on") for _, given in page.elements for name in given)


def test_strings_of_others_are_text(page: Parsed) -> None:
    assert len(page.scripts) == 4
    assert not {"b", "i", "img"} & {tag for tag, _ in page.elements}
    for hostile in (*HOSTILE, "imaginary <b>processor</b>", "cal/<i>synthetic</i>", "0.0 </script>"):
        assert hostile in page.text
    for key in DATA:
        assert page.packed(key)
        assert not set("<>&'\"") & set(page.packed(key))


def test_a_draft_by_the_name_of_markup_is_escaped_in_charts(page: Parsed) -> None:
    figures = json.loads(page.data("charts"))["views"]
    shown = json.dumps([figures[key] for key in ("speeds", "tradeoff", "costs")])
    assert "int4 &lt;b&gt;" in shown
    captions = {view["caption"] for views in figures.values() for view in views.values()}
    hovers = re.sub(
        r"</?b>|<br>|<extra></extra>",
        "",
        json.dumps([v["figure"] for s in figures.values() for v in s.values()]),
    )
    assert "<" not in hovers
    assert any(HOSTILE[0] in caption for caption in captions)


def test_every_section_has_a_finding_a_chart_and_a_table(html: str, page: Parsed) -> None:
    sections = [g["id"] for t, g in page.elements if t == "section"]
    assert sections == [key for question, answers in QUESTIONS.items() for key in (question, *answers)]
    drawn = {g["id"]: g for t, g in page.elements if t == "div" and g.get("class") == "chart"}
    assert list(drawn) == [f"chart-{key}" for key in CHARTS]
    assert all(g["role"] == "img" and g["aria-label"] for g in drawn.values())
    for key in SECTIONS:
        assert page.finding(html, key).strip().endswith(".")
        body = html[html.index(f'<section id="{key}"') :]
        assert "<tbody>\n<tr>" in body[: body.index("</section>")]


def test_the_page_has_a_language_a_title_and_named_parts(page: Parsed) -> None:
    assert ("html", {"lang": "en"}) in page.elements
    assert "Verification report" in page.text
    labelled = {"select", "button", "figure", "nav"}
    assert labelled <= {tag for tag, _ in page.elements}
    identities = {g["id"] for _, g in page.elements if "id" in g}
    for _, given in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert name not in given or given[name] in identities
        if given.get("href", "").startswith("#"):
            assert given["href"][1:] in identities


def test_plotly_accepts_every_view_in_both_schemes(page: Parsed) -> None:
    shown = json.loads(page.data("charts"))
    for views in shown["views"].values():
        for view in views.values():
            assert go.Figure(view["figure"], skip_invalid=False).data
            swapped = json.dumps(view["figure"])
            for light, dark in shown["dark"].items():
                swapped = swapped.replace(f'"{light}"', f'"{dark}"')
            go.Figure(json.loads(swapped))


def test_every_choice_has_a_view(page: Parsed) -> None:
    views = json.loads(page.data("charts"))["views"]
    offered = {
        "tradeoff": "2423",
        "overheads": "23",
        "sensitivities": "3",
        "depth": "2",
        "kinds": "4",
        "costs": "2",
    }
    for chart, counts in offered.items():
        options = [range(int(count)) for count in counts]
        assert set(views[chart]) == {",".join(map(str, places)) for places in itertools.product(*options)}


def test_the_raw_record_is_in_it(page: Parsed, record: Verification) -> None:
    assert Verification.model_validate_json(page.data("record")) == record


def test_findings_agree_with_the_numbers(html: str, page: Parsed, record: Verification) -> None:
    errors = [c.predicted.speed.value / c.measured.speed.value - 1 for c in record.compared]
    assert f"error of the predicted tokens/s was {100 * median(map(abs, errors)):.1f}%" in page.finding(
        html, "prediction"
    )
    swept = [p for p in record.sweep if p.alignment is None]
    top = max(swept, key=lambda p: p.best_speed_up.value)
    found = page.finding(html, "tradeoff")
    assert f"Of {len(swept)} simulated configurations" in found
    assert f"{in_words(top.configuration)} at {top.best_speed_up.value:.2f}\u00d7" in found
    rates = [
        c.measured.metrics.rollback_rate
        for c in record.compared
        if c.configuration.policy != "autoregressive"
    ]
    assert f"between {100 * min(rates):.1f}%" in page.finding(html, "dropped")
    assert f"and {100 * max(rates):.1f}%" in page.finding(html, "dropped")
    real = record.timeline.real
    assert f"took {real.seconds:.2f} s, simulated {record.timeline.simulated.seconds:.2f} s" in page.finding(
        html, "timeline"
    )
    assert f"{sum(r.rollback > 0 for r in real.rounds)} of them rolled" in page.finding(html, "timeline")
    runs = sum(len(c.samples) for c in record.compared)
    assert f"{runs} real runs of {len(record.compared)} configurations" in page.finding(html, "conditions")


def test_the_verdict_names_the_gain(record: Verification) -> None:
    found = verdict(record)
    chosen = next(c for c in record.compared if c.role == "chosen")
    assert (found.tone, found.alarms) == ("good", ())
    assert found.headline == f"Speculate with {in_words(chosen.configuration)}."
    said = " ".join(found.sentences)
    gain = chosen.measured.best_speed_up
    assert f"{gain.value:.2f}\u00d7 ({gain.low:.2f} to {gain.high:.2f})" in said
    assert "autoregressive decoding, one shared device" in said
    assert "token for token, in all 30 runs" in said


@pytest.mark.parametrize("chosen", ["fastest", "specbranch"])
def test_it_says_plainly_not_to_speculate(chosen: str) -> None:
    made = verification(draft_cost=4, chosen=chosen)
    found = verdict(made)
    assert found.headline == "Do not speculate."
    assert "Do not speculate." in Parsed(render(made)).text


def test_a_gain_within_its_interval_is_no_gain(record: Verification) -> None:
    chosen = next(c for c in record.compared if c.role == "chosen")
    gain = replace(chosen.measured.best_speed_up, low=0.97)
    measured = chosen.measured.model_copy(update={"best_speed_up": gain})
    unsure = chosen.model_copy(update={"measured": measured})
    compared = tuple(unsure if c is chosen else c for c in record.compared)
    assert verdict(record.model_copy(update={"compared": compared})).headline.startswith("No gain was shown")


def test_faults_of_the_output_come_before_any_gain() -> None:
    found = verdict(verification(mismatches=3, other_hardware=True))
    assert found.tone == "bad"
    assert found.headline == "The output was not the target's own."
    assert [alarm.split()[0] for alarm in found.alarms] == ["3", "The"]
    assert "but for 2 tokens" in " ".join(verdict(verification(near_ties=2)).sentences)


def test_one_prompt_gives_no_interval() -> None:
    text = Parsed(render(verification(prompts=1))).text
    assert "no interval: one prompt" in text
    assert "nan" not in text.lower().split()


def test_an_interval_to_anywhere_is_none() -> None:
    """As of two prompts that scatter, by which an axis would show nothing else."""
    anywhere = Estimate(8.5, 0.01, 358_950.9)
    assert not has_interval(anywhere)
    assert interval(anywhere) == "no interval: they scatter"
    assert has_interval(Estimate(8.5, 0.5, 200.0))
    assert has_interval(Estimate(0.0, 0.0, 0.1))


def test_a_record_without_sweep_or_reference_still_makes_a_page(record: Verification) -> None:
    empty = ("sweep", "reference_seconds", "notes", "overheads", "sensitivities", "occupied")
    html = render(record.model_copy(update={name: () for name in empty}))
    assert "The record holds no simulated sweep." in html
    assert "The record holds no simulation without overheads." in html
    assert "The record holds no sensitivities." in html


def test_the_top_says_whether_the_predictions_held(record: Verification) -> None:
    loose = Tolerance(median_error=0.9, tail_error=0.9, tau=-1.0, regret=0.9)
    halved = at_speeds(record, [0.5 * one.predicted.speed.value for one in record.compared])
    for v, word, tone in (
        (record.model_copy(update={"tolerance": loose}), "PASS", "good"),
        (halved, "FAIL", "bad"),
        (record.model_copy(update={"tolerance": Tolerance(unsteadiness=1.0)}), "TOO NOISY TO TELL", "even"),
    ):
        found = verdict(v).predictions
        assert found
        assert found[0] == tone
        top = render(v).split('id="verdict"')[1].split("</section>")[0]
        assert f'class="predictions {tone}"' in top
        assert f"{word}: " in Parsed(top).text


def test_the_settling_test_has_a_section_where_there_was_one(html: str) -> None:
    assert 'id="settlement"' not in html
    v = verification(settling=True)
    settled = settle(v)
    assert settled
    made = render(v)
    assert len(json.loads(Parsed(made).data("charts"))["views"]["settlement"]) == 1
    body = made[made.index('<section id="settlement"') :].split("</section>")[0]
    assert body.count("<tr>") == 1 + len(settled.claims)
    assert summary(settled) in Parsed(made).finding(made, "settlement")


def test_a_text_that_went_another_way_is_told(record: Verification) -> None:
    real = record.timeline.real
    other = record.timeline.model_copy(update={"real": replace(real, rounds=real.rounds[:-2])})
    html = render(record.model_copy(update={"timeline": other}))
    assert f"The real one took {len(real.rounds) - 2} rounds" in html


def test_the_simulated_run_stands_above_the_real_one_with_rollbacks_marked(
    page: Parsed, record: Verification
) -> None:
    (view,) = json.loads(page.data("charts"))["views"]["timeline"].values()
    figure = view["figure"]
    lanes = {"y": record.timeline.simulated, "y2": record.timeline.real}
    assert figure["layout"]["yaxis"]["domain"][0] > figure["layout"]["yaxis2"]["domain"][1]
    assert {trace.get("xaxis", "x") for trace in figure["data"]} == {"x"}  # one axis, so one zoom
    for axis, run in lanes.items():
        marks = [t for t in figure["data"] if t["yaxis"] == axis and t["name"] == "rolled back"]
        assert [len(t["x"]) for t in marks] == [sum(r.rollback > 0 for r in run.rounds)]


def test_new_policies_get_marks_of_their_own() -> None:
    policies = ["pearl", "mine", "another"]
    marks = [palette.mark(p, policies) for p in policies]
    assert len(set(marks)) == 3


def test_dark_counterparts_cover_every_colour_of_the_charts(page: Parsed) -> None:
    views = json.dumps(json.loads(page.data("charts"))["views"])
    assert set(re.findall(r'"(#[0-9a-f]{6})"', views)) <= set(palette.DARK)


def test_per_hundred(record: Verification) -> None:
    metrics = record.compared[-1].measured.metrics
    assert charts.per_hundred(metrics, "rollback") == 100 * metrics.rollback_tokens / metrics.tokens


def test_a_file_that_cannot_be_written(record: Verification, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecBranchError, match="cannot be written"):
        write_page(record, tmp_path / "file" / "page.html")


def test_torch_stays_out() -> None:
    code = "import sys, reports.page.report; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


class Browser:
    """Chromium over its debugging pipe, which needs no driver and no port."""

    FLAGS = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --remote-debugging-pipe"
    )
    PATIENCE = 60.0

    def __init__(self, program: str, home: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # The protocol is spoken over the descriptors 3 and 4; our own ends must not be in their way.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs_in, theirs_out)]
        actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_DUP2, end, 3 + i) for i, end in enumerate(ends)]
        actions += [(os.POSIX_SPAWN_OPEN, output, os.devnull, os.O_WRONLY, 0) for output in (1, 2)]
        arguments = [program, *self.FLAGS.split(), f"--user-data-dir={home}"]
        self._process = os.posix_spawn(program, arguments, os.environ, file_actions=actions)
        for end in (theirs_in, theirs_out, *ends):
            os.close(end)
        self._count = 0
        self._buffer = b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], self.PATIENCE)[0]:
                raise TimeoutError("Chromium does not answer")
            piece = os.read(self._in, 1 << 20)
            if not piece:
                raise ConnectionError("Chromium ended")
            self._buffer += piece
        message, self._buffer = self._buffer.split(b"\0", 1)
        return dict(json.loads(message))

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its result; events that come meanwhile are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._count:
            self.events.append(answer)
        assert "error" not in answer, answer
        return dict(answer["result"])

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Until a JavaScript expression is true."""
        deadline = time.monotonic() + self.PATIENCE
        while not self.run(condition):
            assert time.monotonic() < deadline, f"never came true: {condition}"
            time.sleep(0.05)

    def open(
        self,
        page: Path,
        width: int = 1280,
        dark: bool = False,
        charts: int | None = len(CHARTS),
        height: int = 900,
    ) -> None:
        """Load a page afresh and wait for its charts, of which there are so many."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.scheme(dark)
        self.call("Page.navigate", url=page.as_uri())
        self.wait_for("document.documentElement?.dataset.ready === 'charts'")
        if charts is not None:
            assert self.run("document.querySelectorAll('.chart:has(.main-svg)').length") == charts

    def choose(self, chart: str, place: int, value: int) -> None:
        """Choose an option in one of a chart's drop-downs."""
        self.run(
            f"{{ const s = document.querySelectorAll('select[data-chart={chart}]')[{place}]; s.value = '{value}';"
            "s.dispatchEvent(new Event('change', { bubbles: true })); }"
        )

    def scheme(self, dark: bool) -> None:
        """Switch between a light and a dark screen."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def methods(self) -> set[str]:
        return {event["method"] for event in self.events}

    def close(self) -> None:
        os.kill(self._process, signal.SIGTERM)
        os.waitpid(self._process, 0)
        os.close(self._in)
        os.close(self._out)


def start_browser() -> Iterator[Browser]:
    """A browser, for a fixture; skips where there is none."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        reason = "no Chromium here; on Debian: apt-get update && apt-get install -y chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        started = Browser(program, Path(home))
        yield started
        started.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from start_browser()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, record: Verification) -> Path:
    out = tmp_path_factory.mktemp("page") / "report.html"
    write_page(record, out, artifact())
    return out


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False), (390, True)])
def test_charts_are_drawn_without_errors_or_requests(
    browser: Browser, file: Path, width: int, dark: bool
) -> None:
    browser.open(file, width, dark)
    marks = {
        "speeds": ".scatterlayer .points path",
        "prediction": ".errorbars path",
        "tradeoff": ".heatmaplayer image",
        "timeline": ".barlayer .point path",
        "frontier": ".scatterlayer .points path",
        "overheads": ".errorbars path",
        "sensitivities": ".barlayer .point path",
        "shares": ".barlayer .point path",
        "dropped": ".barlayer .point path",
        "depth": ".scatterlayer .lines path",
        "kinds": ".errorbars path",
        "reliability": ".scatterlayer .points path",
        "costs": ".scatterlayer .lines path",
        "reference": ".scatterlayer .lines path",
    }
    for key, mark in marks.items():
        assert browser.run(f"document.querySelectorAll('#chart-{key} {mark}').length") > 0, key
    assert set(marks) == set(CHARTS)
    assert not browser.methods() & FAULTS
    urls = [
        e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"
    ]
    assert all(url.startswith(("file:", "data:", "blob:")) for url in urls)
    assert sum(url.startswith("file:") for url in urls) == 1
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_the_drop_downs_change_the_heatmap(browser: Browser, file: Path) -> None:
    browser.open(file)
    cells = "[...document.querySelectorAll('#chart-tradeoff .heatmap-label')].map((cell) => cell.textContent).join()"
    caption = "document.getElementById('caption-tradeoff').textContent"
    seen = {(browser.run(cells), browser.run(caption))}
    # Draft, policy, alignment, quantity.
    for place, value in ((0, 1), (1, 3), (2, 1), (3, 1), (0, 0), (3, 2)):
        before = browser.run(cells)
        browser.choose("tradeoff", place, value)
        browser.wait_for(f"{cells} !== {json.dumps(before)}")
        seen.add((browser.run(cells), browser.run(caption)))
    assert len(seen) == 7


@pytest.mark.parametrize("chart", ["overheads", "sensitivities", "depth", "kinds"])
def test_every_option_draws_something_else(browser: Browser, file: Path, chart: str) -> None:
    browser.open(file)
    drawn = f"JSON.stringify(document.getElementById('chart-{chart}')._fullData.map((t) => [...t.x, ...t.y, t.base]))"
    lists = f"document.querySelectorAll('select[data-chart={chart}]')"
    seen = [browser.run(drawn)]
    for place in range(browser.run(f"{lists}.length")):
        for value in range(1, browser.run(f"{lists}[{place}].options.length")):
            browser.choose(chart, place, value)
            browser.wait_for(f"{drawn} !== {json.dumps(seen[-1])}")
            seen.append(browser.run(drawn))
    assert len(set(seen)) == len(seen) > 1
    assert not browser.methods() & FAULTS


def test_the_settling_test_is_drawn(browser: Browser, tmp_path: Path) -> None:
    v = verification(settling=True)
    settled = settle(v)
    assert settled
    write_page(v, tmp_path / "page.html")
    # Without the calibration there are neither costs nor acceptance.
    without = len(CHARTS) - len(SECTIONS["acceptance"]) - len(SECTIONS["costs"])
    for width in (1280, 390):
        browser.open(tmp_path / "page.html", width, charts=without + 1)
        points = browser.run("document.querySelectorAll('#chart-settlement .scatterlayer .point').length")
        assert points == len(settled.claims)
        assert not browser.methods() & FAULTS
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_a_drop_down_answers_the_keyboard(browser: Browser, file: Path) -> None:
    browser.open(file)
    quantity = "document.querySelectorAll('select[data-chart=tradeoff]')[3]"
    browser.run(f"{quantity}.focus()")
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key="ArrowDown", code="ArrowDown", windowsVirtualKeyCode=40
        )
    browser.wait_for(f"{quantity}.value === '1'")
    browser.wait_for("document.getElementById('caption-tradeoff').textContent.startsWith('Lowest rollback')")


def test_one_time_axis_for_both_worlds(browser: Browser, file: Path, record: Verification) -> None:
    browser.open(file)
    span = "document.getElementById('chart-timeline').layout.xaxis.range"
    first, last = browser.run(span)
    longest = max(record.timeline.real.seconds, record.timeline.simulated.seconds)
    assert (first, last) == (0, pytest.approx(longest, rel=1e-5))  # charts have six digits
    axes = "document.getElementById('chart-timeline')._fullData.map((trace) => trace.xaxis + trace.yaxis)"
    assert set(browser.run(axes)) == {"xy", "xy2"}

    def press(name: str) -> list[float]:
        browser.run(f"document.querySelector('button[data-zoom={name}]').click()")
        return [float(end) for end in browser.run(span)]

    assert press("in") == pytest.approx([last / 4, 3 * last / 4])
    assert press("earlier") == pytest.approx([0, last / 2])
    assert press("later") == pytest.approx([last / 4, 3 * last / 4])
    # A change of the screen's scheme draws anew and leaves the view where it was.
    ink = "getComputedStyle(document.querySelector('#chart-timeline .annotation-text')).fill"
    light = browser.run(ink)
    browser.scheme(dark=True)
    browser.wait_for(f"{ink} !== '{light}'")
    assert browser.run(span) == pytest.approx([last / 4, 3 * last / 4])
    assert press("whole") == [first, last]


def test_hostile_strings_stay_text(browser: Browser, file: Path) -> None:
    browser.open(file)
    assert "Page.javascriptDialogOpening" not in browser.methods()
    assert browser.run("document.querySelectorAll('main img, main script, main b, main i').length") == 0
    assert browser.run("document.scripts.length") == 5  # the four of the file, and plotly.js unpacked
    cells = browser.run("[...document.querySelectorAll('td, th')].map((cell) => cell.textContent)")
    assert set(HOSTILE) <= set(cells)
    ticks = browser.run(
        "[...document.querySelectorAll('#chart-speeds .ytick text')].map((tick) => tick.textContent)"
    )
    assert any("int4 <b>" in tick for tick in ticks)


def test_the_raw_data_can_be_downloaded(
    browser: Browser, file: Path, record: Verification, tmp_path: Path
) -> None:
    browser.open(file)
    browser.call(
        "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), eventsEnabled=True
    )
    browser.run("document.getElementById('download').click()")
    saved = tmp_path / "verification.json"
    deadline = time.monotonic() + 30
    while not saved.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert load_verification(saved) == record


def test_it_prints_in_light_colours_with_its_tables_open(browser: Browser, file: Path) -> None:
    browser.open(file, dark=True)
    browser.run(
        "addEventListener('beforeprint', () => { window.printed = ["
        "document.querySelectorAll('details[open]').length,"
        "document.querySelector('#chart-speeds .xtick text').style.fill,"
        "document.querySelector('#chart-speeds .main-svg').clientWidth]; })"
    )
    folded = browser.run("document.querySelectorAll('details:not([open])').length")
    paper = browser.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"]
    assert base64.b64decode(paper).startswith(b"%PDF")
    opened, ink, width = browser.run("window.printed")
    assert opened > 0
    assert ink == "rgb(90, 103, 114)"
    assert width == 670
    browser.wait_for(f"document.querySelectorAll('details:not([open])').length === {folded}")
    browser.wait_for("document.querySelector('#chart-speeds .main-svg').clientWidth > 670")
