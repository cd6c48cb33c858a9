"""The page of requests that are served together, and the ranking behind it."""

import json
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import plotly.graph_objects as go  # type: ignore[import-untyped]
import pytest
from commands import refusal
from test_page import Browser, Parsed, start_browser

from engine.errors import SpecBranchError
from reports.load.load_charts import LATENCIES
from reports.load.load_page import Served, answers, opening, render, write_loads
from reports.load.ranking import Setting, name_of, schedule, settings
from scenarios.schema import load_scenario
from sim.sweeps.served import run_served
from sim.sweeps.served_outcome import END_TO_END, THROUGHPUT, gain

HOSTILE = "<b>b</b> </script>"
SCENARIO = """\
title: "TITLE"
acceptance: {independent: 0.7}
costs:
  target_forward_ms: 10
  target_token_ms: ROW
  draft_step_ms: 1
workload:
  arrivals: ARRIVALS
  requests: 24
  tokens: {uniform: [8, 16]}
  samples: SAMPLES
  limits: {token_seconds: 0.02}
batching:
  sequences: [64, 2]
configurations:
  - {policy: autoregressive}
  - {policy: speculative, draft_length: [2, 4], placement: in-turn}
"""


def serve(
    folder: Path,
    arrivals: str = "{users: [1, 8]}",
    row: float = 3.0,
    samples: int = 3,
    title: str = "t",
) -> Served:
    file = folder / "s.yaml"
    text = SCENARIO.replace("ARRIVALS", arrivals).replace("ROW", str(row)).replace("SAMPLES", str(samples))
    file.write_text(text.replace("TITLE", title))
    scenario = load_scenario(file)
    return [(scenario, list(run_served(scenario)))]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Rows are dear, so that speculation gains for one user and loses for eight."""
    return serve(tmp_path_factory.mktemp("served"), title=HOSTILE)


@pytest.fixture(scope="module")
def found(served: Served) -> Sequence[Setting]:
    return settings(served)


def test_the_best_is_the_one_with_most_tokens_a_second(found: Sequence[Setting]) -> None:
    assert [setting.name for setting in found] == ["ready", "ready, 2 sequences"]
    for setting in found:
        assert [load.arrivals.users for load in setting.loads] == [1, 8]
        for load in setting.loads:
            speeds = [rank.outcome.figures["tokens_per_second"].value for rank in load.ranks]
            assert speeds == sorted(speeds, reverse=True)
            assert load.objective is THROUGHPUT
            alone = next(r for r in load.ranks if not r.outcome.configuration.drafts)
            for rank, speed in zip(load.ranks, speeds, strict=True):
                assert rank.gain is not None
                expected = speed / alone.outcome.figures["tokens_per_second"].value
                assert rank.gain.value == pytest.approx(expected)
                assert rank.gain.low <= rank.gain.value <= rank.gain.high
    one, eight = found[0].loads
    assert one.best.outcome.configuration.drafts
    assert not eight.best.outcome.configuration.drafts
    assert schedule(found[0]) == (
        f"1 user: {name_of(one.best.outcome, found[0])}; 8 users: autoregressive decoding"
    )


def test_what_arrives_by_itself_is_ranked_by_when_it_ends(tmp_path: Path) -> None:
    (setting, *_) = settings(serve(tmp_path, "{rate: [2, 40]}", row=0.1))
    for load in setting.loads:
        ends = [rank.outcome.figures["end_to_end_p95"].value for rank in load.ranks]
        assert ends == sorted(ends)
        assert load.objective is END_TO_END
        first, last = load.ranks[0].outcome, load.ranks[-1].outcome
        means = [sum(m.end_to_end.p95 for m in outcome.samples) for outcome in (last, first)]
        assert gain(first, last, END_TO_END).value == pytest.approx(means[0] / means[1])
    assert len({name_of(load.best.outcome, setting) for load in setting.loads}) == 1
    assert schedule(setting).endswith(" at every load")


def test_equals_are_tied_and_one_sample_tells_nothing_apart(tmp_path: Path, found: Sequence[Setting]) -> None:
    for load in (load for setting in found for load in setting.loads):
        assert load.best.tied
        for rank in load.ranks[1:]:
            assert rank.tied == (rank.behind.low <= 1.0)
    (single, *_) = settings(serve(tmp_path, samples=1))
    assert [sum(rank.tied for rank in load.ranks) for load in single.loads] == [1, 1]
    assert "how much others would differ is not known" in " ".join(
        opening(serve(tmp_path, samples=1), [single], None).sentences
    )


def test_the_page_opens_with_the_schedule_and_holds_everything(served: Served, tmp_path: Path) -> None:
    html = render(served)
    first = settings(served)[0]
    assert opening(served, [first], None).headline.lower() == schedule(first).lower() + "."
    assert "<title>Many requests, SpecBranch Lab</title>" in html
    for key in ("gains", "assumptions", "latencies", "courses", "conditions"):
        assert f'<section id="{key}"' in html
    assert HOSTILE not in html
    document = json.loads(Parsed(html).data("record"))
    assert document["scenario"]["title"] == HOSTILE
    assert len(document["outcomes"]) == len(served[0][1])
    write_loads(served, tmp_path / "p.html")
    assert (tmp_path / "p.html").read_text() == html
    with pytest.raises(SpecBranchError, match="cannot be written"):
        write_loads(served, tmp_path / "p.html" / "q.html")


def test_it_says_not_to_speculate_where_nothing_gains(tmp_path: Path) -> None:
    dear = serve(tmp_path, row=30.0)
    assert opening(dear, settings(dear), None).headline == "Do not speculate at any of these loads."


def test_charts_hold_each_load_of_each_configuration(served: Served, found: Sequence[Setting]) -> None:
    made = answers(served, found, None)
    (gains,), (latencies,), (courses,) = made.run[0].charts, made.why[0].charts, made.why[1].charts
    for chart in (gains, latencies, courses):
        for view in chart.views.values():
            go.Figure(view.figure)  # refuses what plotly.js does not know
    for i, setting in enumerate(found):
        for trace in gains.views[str(i)].figure["data"]:
            ranks = [
                next(r for r in load.ranks if name_of(r.outcome, setting) == trace["name"].lower())
                for load in setting.loads
            ]
            assert trace["y"] == [rank.gain.value for rank in ranks if rank.gain]
            for j, latency in enumerate(LATENCIES):
                (mine,) = (
                    t for t in latencies.views[f"{i},{j}"].figure["data"] if t["name"] == trace["name"]
                )
                figures = [rank.outcome.figures["tokens_per_second"].value for rank in ranks]
                assert mine["x"] == figures
                assert mine["y"] == [latency.scale * latency.of(rank.outcome).value for rank in ranks]
    last = found[0].loads[-1].best.outcome
    shown = courses.views["0,0"].figure["data"]
    assert shown[0]["y"] == list(last.timeline.queue)
    assert shown[2]["y"] == list(last.timeline.batch[0])
    assert set(courses.views) == {f"{a},{b}" for a, b in product(range(2), range(3))}


def test_only_what_is_served_together_has_such_a_page(tmp_path: Path) -> None:
    assert "served together" in refusal("simulate", "default", "--page", tmp_path / "p.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from start_browser()


def test_a_browser_draws_it_and_switches(browser: Browser, served: Served, tmp_path: Path) -> None:
    write_loads(served, tmp_path / "p.html")
    browser.open(tmp_path / "p.html", charts=3)
    first = settings(served)[0]
    drawn = "document.getElementById('chart-gains').data.map((t) => [...t.y])"
    before = browser.run(drawn)
    best = first.loads[0].best
    assert best.gain is not None
    assert max(line[0] for line in before) == pytest.approx(best.gain.value, rel=1e-5)
    browser.choose("gains", 0, 1)
    browser.wait_for(f"JSON.stringify({drawn}) !== {json.dumps(json.dumps(before, separators=(',', ':')))}")
    after = browser.run(drawn)
    fewer = settings(served)[1].loads[1].best
    assert fewer.gain is not None
    assert max(line[1] for line in after) == pytest.approx(fewer.gain.value, rel=1e-5)
