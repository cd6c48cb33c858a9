"""Scenarios in which requests arrive: what they may say, and what comes of them."""

import json
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from artifacts import PER_SEQUENCE, TARGET_SECONDS, artifact, with_batches
from commands import ROOT, document, specbranch
from rich.console import Console

from calibrate.artifact import Artifact, load_artifact, save_artifact
from engine.errors import CalibrationError, ConfigurationError
from engine.runtime.workload import Arrivals, Limits, draw_requests, read_trace
from reports.load.load_page import render
from reports.service_tables import load_table, print_served
from reports.wording import percent
from scenarios.schema import load_scenario, load_scenarios
from scenarios.shipped import REFERENCE, find_scenario
from scenarios.stated_hardware import Hardware
from scenarios.what_if import WhatIf
from sim.sweeps.run import run_scenario
from sim.sweeps.served import ServingWorld, run_served
from sim.world.reach import MARK
from sim.world.served_costs import hardware_forward_costs, linear_forward_costs

SERVED = """\
title: t
acceptance: {independent: 0.6}
costs:
  target_forward_ms: 10
  draft_step_ms: 2
  hand_over_ms: 0.1
workload:
  arrivals: {users: [1, 3]}
  requests: 9
  tokens: {uniform: [5, 9]}
  limits: {token_seconds: 0.009}
batching:
  discipline: [ready, lockstep]
configurations:
  - {policy: autoregressive}
  - {policy: pearl, draft_length: [2, 3]}
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "s.yaml"
    file.write_text(text)
    return file


def test_every_load_serves_the_same_requests(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path, SERVED))
    outcomes = list(run_served(scenario))
    assert len(outcomes) == scenario.outcomes == 2 * 2 * 3
    tokens = sum(draw_requests(scenario.workload.under(scenario.workload.arrivals[0])).tokens.tolist())
    assert {outcome.samples[0].tokens for outcome in outcomes} == {tokens}
    order = [(o.batching.discipline, o.arrivals.users, o.configuration.policy) for o in outcomes]
    assert order[:4] == [
        ("ready", 1, "autoregressive"),
        *[("ready", 1, "pearl")] * 2,
        ("ready", 3, "autoregressive"),
    ]
    assert order[6][0] == "lockstep"
    alone, three = outcomes[0].samples[0], outcomes[3].samples[0]
    # Forwards take the same whatever they have: one user's tokens take 10.1 ms each, three users' nearly a third.
    assert alone.token.p99 == pytest.approx(0.0101)
    assert alone.tokens_per_second == pytest.approx(1 / 0.0101)
    assert 2.3 < three.tokens_per_second / alone.tokens_per_second <= 3
    assert [device.models for device in alone.devices] == [("target",)]
    assert alone.good == 0.0
    assert any(o.samples[0].good > 0 for o in outcomes if o.configuration.policy == "pearl")


def test_one_user_writes_as_fast_as_texts_that_are_written_alone(tmp_path: Path) -> None:
    text = SERVED.replace("uniform: [5, 9]", "uniform: [9, 9]").replace("[1, 3]", "1")
    alone = text.replace("  arrivals: {users: 1}\n  requests: 9\n", "  prompts: 9\n")
    alone = alone.replace("{uniform: [9, 9]}", "9").replace("  limits: {token_seconds: 0.009}\n", "")
    alone = alone.replace("batching:\n  discipline: [ready, lockstep]\n", "")
    each = [outcome.speed.value for outcome in run_scenario(load_scenario(write(tmp_path, alone)))]
    ready = [outcome for outcome in run_served(load_scenario(write(tmp_path, text)))][:3]
    assert [outcome.figures["tokens_per_second"].value for outcome in ready] == pytest.approx(each)


def test_cache_tokens_cost_the_same_alone_and_together(tmp_path: Path) -> None:
    costs = "  target_cache_token_ms: 0.5\n  draft_cache_token_ms: 0.25\n  target_token_ms: 1\n  draft_token_ms: 0.5\n"
    text = SERVED.replace("  hand_over_ms: 0.1\n", costs).replace("tokens: {uniform: [5, 9]}", "tokens: 7")
    text = text.replace("[1, 3]", "1").replace("requests: 9", "requests: 1")
    alone = (
        text[: text.index("workload:")] + "workload: {prompts: 1, tokens: 7}\n" + text[text.index("config") :]
    )
    each = [outcome.speed.value for outcome in run_scenario(load_scenario(write(tmp_path, alone)))]
    ready = [outcome for outcome in run_served(load_scenario(write(tmp_path, text)))][:3]
    assert [outcome.figures["tokens_per_second"].value for outcome in ready] == pytest.approx(each)


def test_samples_give_intervals(tmp_path: Path) -> None:
    text = SERVED.replace("requests: 9", "requests: 40\n  samples: 3").replace("[1, 3]", "3")
    outcome = list(run_served(load_scenario(write(tmp_path, text))))[1]
    each = [sample.tokens_per_second for sample in outcome.samples]
    figure = outcome.figures["tokens_per_second"]
    assert len(set(each)) == 3
    assert figure.value == pytest.approx(sum(each) / 3)
    assert figure.low < min(each) < max(each) < figure.high
    assert not outcome.notes
    alone = list(run_served(load_scenario(write(tmp_path, text.replace("samples: 3", "samples: 1")))))[1]
    assert alone.samples[0] == outcome.samples[0]
    assert alone.timeline == outcome.timeline
    assert alone.notes
    shown = specbranch("simulate", write(tmp_path, text)).stdout
    assert "Means of 3 samples" in shown


def test_a_calibrations_texts_take_turns(tmp_path: Path) -> None:
    made_up = artifact(prompts=3, tokens=24, prompt_tokens=5)
    text = SERVED.replace("acceptance: {independent: 0.6}\n", "").replace("  tokens: {uniform: [5, 9]}\n", "")
    outcomes = list(run_served(load_scenario(write(tmp_path, text)), made_up))
    assert {outcome.samples[0].tokens for outcome in outcomes} == {3 * (24 + 24 + 17)}
    cut = text.replace("requests: 9", "requests: 9\n  tokens: 10\n  kinds: [code]")
    outcomes = list(run_served(load_scenario(write(tmp_path, cut)), made_up))
    assert {outcome.samples[0].tokens for outcome in outcomes} == {9 * 10}


def test_a_trace_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "arrived_at,num_prefill_tokens,num_decode_tokens\n10,20,3\n12,30,4\n11,10,5\n"
    )
    text = SERVED.replace("{users: [1, 3]}", "{trace: t.csv, time_scale: [1, 0.5]}").replace(
        "  requests: 9\n", ""
    )
    outcomes = list(run_served(load_scenario(write(tmp_path, text))))
    assert {outcome.samples[0].tokens for outcome in outcomes} == {12}
    assert outcomes[0].arrivals.label() == "t.csv"
    assert outcomes[0].samples[0].seconds == pytest.approx(2.0 + 4 * 0.0101)
    assert outcomes[3].samples[0].seconds == pytest.approx(1.0 + 4 * 0.0101)


def test_hardware_reads_the_weights_once_for_all() -> None:
    roofline: dict[str, Any] = {
        "model": json.loads((ROOT / "scenarios/hardware/models/llama-3.2-1b.json").read_text()),
        "device": {
            "title": "d",
            "gigabytes_per_second": {"value": 1000, "source": "s"},
            "teraflops": {"value": 1e6, "source": "s"},
        },
    }
    sizes = ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size")
    known = (*sizes, "num_attention_heads", "num_key_value_heads")
    roofline["model"] = {key: roofline["model"][key] for key in known}
    hardware = Hardware.model_validate({"target": {"roofline": roofline}, "draft": {"roofline": roofline}})
    costs = hardware_forward_costs(hardware, WhatIf(draft_speed=2.0), shared=False)
    target, draft = costs["target"], costs["draft"]
    assert target(1, 1, 100) == hardware.target.seconds(1, 99)
    assert target(8, 8, 800) - target(8, 8, 400) == pytest.approx(target(8, 8, 1200) - target(8, 8, 800))
    assert target(8, 8, 100) == pytest.approx(target(1, 1, 100))
    assert draft(8, 8, 800) == target(8, 8, 800) / 2


CALIBRATED = """\
title: t
workload:
  arrivals: {users: [1, 4, 40]}
  requests: 40
  tokens: 12
batching:
  discipline: lockstep
  chunks: false
what_if: {jitter: false}
configurations:
  - {policy: autoregressive, placement: in-turn}
"""


@pytest.fixture(scope="module")
def calibrated() -> Artifact:
    return with_batches(artifact(jitter=False, kinds=("chat",) * 3, prompts=1))


def _forward(rows: int, sequences: int, cache: int) -> float:
    """Seconds of the target's, in turn, as `artifact` and `with_batches` make them up."""
    grown = 0.02 * (rows - 1) + 0.2 * cache / 384 + PER_SEQUENCE * (sequences - 1)
    return TARGET_SECONDS["in-turn"] * (1.0 + grown)


def test_a_calibration_serves_by_its_own_batches(tmp_path: Path, calibrated: Artifact) -> None:
    """Requests of one prompt, in step: a round of n users takes n prompts, then forwards of n rows behind n caches."""
    prompt, tokens, over = 40, 12, 0.0003
    outcomes = list(run_served(load_scenario(write(tmp_path, CALIBRATED)), calibrated))
    for outcome in outcomes:
        users = outcome.arrivals.users
        assert users is not None
        read = _forward(prompt * users, users, 0) if prompt * users <= 512 else None
        if read is None:
            continue
        once = read + sum(_forward(users, users, users * (prompt + n)) for n in range(tokens - 1))
        (found,) = outcome.samples
        assert found.seconds == pytest.approx(40 / users * (once + tokens * over), rel=1e-6)
    assert not any("extrapolated" in note for outcome in outcomes[:2] for note in outcome.notes)
    beyond = (
        "forwards of the target over more than 256 rows or 16 requests are extrapolated from smaller ones"
    )
    assert beyond in outcomes[2].notes


def test_a_load_whose_costs_are_extrapolated_is_marked(tmp_path: Path, calibrated: Artifact) -> None:
    """Forwards of 40 requests, where 16 were measured; nothing of a load that keeps within the cells."""
    scenario = load_scenario(write(tmp_path, CALIBRATED))
    outcomes = list(run_served(scenario, calibrated))
    # Prompts of 40 rows are read twelve at a time, but for the last four, of which such a forward was measured.
    seconds = [_forward(480, 12, 0)] * 3 + [_forward(160, 4, 0)]
    seconds += [_forward(40, 40, 40 * (40 + n)) for n in range(11)]
    beyond = 1.0 - seconds[3] / sum(seconds)
    assert [outcome.extrapolated for outcome in outcomes] == [0.0, 0.0, pytest.approx(beyond)]
    names = list(load_table("t", outcomes, Limits(), False).columns[0].cells)
    assert [MARK in str(name) for name in names if str(name).startswith("  ")] == [False, False, True]
    for some, marked in ((outcomes, True), (outcomes[:2], False)):
        page, out = render([(scenario, some)], calibrated), StringIO()
        assert (MARK in page) is marked
        print_served(Console(file=out, width=400), scenario, calibrated, some)
        assert (f"up to {percent(beyond, 0)} of the forwards' time at a load" in out.getvalue()) is marked


@pytest.mark.parametrize(("prompt", "far"), [(300, 0), (500, 1), (600, 2)])
def test_texts_far_behind_the_contexts_of_the_cells_are_told(tmp_path: Path, prompt: int, far: int) -> None:
    """Several requests were measured behind 256 tokens each, one behind 384; beyond by half is far."""
    made = with_batches(artifact(jitter=False, kinds=("chat",) * 3, prompts=1, prompt_tokens=prompt))
    scenario = load_scenario(write(tmp_path, CALIBRATED.replace("[1, 4, 40]", "[1, 4]")))
    one, four = run_served(scenario, made)
    said = [[note for note in outcome.notes if note.startswith("texts reach")] for outcome in (one, four)]
    assert [len(notes) > 0 for notes in said] == [far > 1, far > 0]
    if far:
        assert (
            f"texts reach {prompt + 12} tokens of context, and forwards of the target over several requests were "
            "measured behind 256 of each at most"
        ) in said[1]


def test_what_a_calibration_costs_can_be_otherwise(tmp_path: Path, calibrated: Artifact) -> None:
    """A target twice as fast takes half as long; contention slows those that run at once, and nobody in turn."""
    text = CALIBRATED.replace("[1, 4, 40]", "4").replace("lockstep", "ready")
    text = text.replace("{jitter: false}", "{jitter: false, contention: [true, false]}")
    text += "  - {policy: pearl, draft_length: 3, placement: [at-once, in-turn]}\n"
    scenario = load_scenario(write(tmp_path, text))
    found = {
        (o.what_if.contention, o.configuration.policy, o.configuration.placement): o.samples[0].seconds
        for o in run_served(scenario, calibrated)
    }
    assert found[True, "pearl", "at-once"] > 1.01 * found[False, "pearl", "at-once"]
    for alike in (("pearl", "in-turn"), ("autoregressive", "in-turn")):
        assert found[True, *alike] == found[False, *alike]
    fast = CALIBRATED.replace("jitter: false", "overheads: false, target_speed: [1, 2]")
    once, twice = (
        outcome.samples[0].seconds
        for outcome in run_served(load_scenario(write(tmp_path, fast.replace("[1, 4, 40]", "4"))), calibrated)
    )
    assert once == pytest.approx(2 * twice)


def test_forwards_vary_as_the_samples_of_cells_do(tmp_path: Path) -> None:
    """By the same factors for every configuration, and around the medians."""
    varying = with_batches(artifact(kinds=("chat",) * 3))
    text = CALIBRATED.replace("[1, 4, 40]", "4").replace("jitter: false", "jitter: [true, false]")
    one, other = run_served(load_scenario(write(tmp_path, text)), varying)
    (again,) = run_served(load_scenario(write(tmp_path, text.replace("[true, false]", "true"))), varying)
    assert one.samples == again.samples
    assert one.samples[0].seconds != other.samples[0].seconds
    assert one.samples[0].seconds == pytest.approx(other.samples[0].seconds, rel=0.02)


def test_a_folder_with_batches_is_served_by_the_verb(tmp_path: Path, calibrated: Artifact) -> None:
    save_artifact(tmp_path / "calibration", calibrated)
    file = write(
        tmp_path, CALIBRATED.replace("[1, 4, 40]", "4") + "  - {policy: speculative, draft_length: 2}\n"
    )
    found = document("simulate", file, "--calibration", tmp_path / "calibration")
    assert all(outcome["samples"][0]["requests"] == 40 for outcome in found["outcomes"])


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        (
            "{users: [1, 3]}",
            "{user: [1, 3]}",
            8,
            "'workload.arrivals.user' is unknown, did you mean 'users'?",
        ),
        ("  arrivals: {users: [1, 3]}", "  arivals: {users: 1}", 8, "did you mean 'arrivals'?"),
        ("{users: [1, 3]}", "{users: [1, 0]}", 8, "'workload.arrivals.users': input should be greater"),
        (
            "{users: [1, 3]}",
            "[{users: 1}, {rate: -1}]",
            8,
            "'workload.arrivals.1.rate': input should be greater",
        ),
        ("{users: [1, 3]}", "{users: 1, rate: 2}", 8, "'workload.arrivals': needs one of"),
        (
            "{uniform: [5, 9]}",
            "{unifrom: [5, 9]}",
            10,
            "'workload.tokens.unifrom' is unknown, did you mean 'uniform'",
        ),
        ("{uniform: [5, 9]}", "{uniform: [9, 5]}", 10, "'workload.tokens': 'uniform' goes from"),
        ("{uniform: [5, 9]}", "0", 10, "'workload.tokens': input should be greater"),
        ("{uniform: [5, 9]}", "{lognormal: {median: 9}}", 10, "'workload.tokens.lognormal.p95' is missing"),
        ("token_seconds", "tokens_seconds", 11, "did you mean 'token_seconds'"),
        ("lockstep]", "lockstop]", 13, "'batching.discipline': input should be"),
        ("discipline: [", "disciplin: [", 13, "did you mean 'discipline'?"),
        ("hand_over_ms: 0.1", "fork_ms: 0.1", 6, "'costs.fork_ms': is not known of requests"),
        ("hand_over_ms: 0.1", "draft_branch_ms: 0.1", 6, "state 'draft_token_ms'"),
        ("hand_over_ms: 0.1", "target_slow_down: 1.1", 6, "'costs.target_slow_down': is not known"),
        ("{policy: autoregressive}", "{policy: pearl, placement: threads}", 15, "here at-once or in-turn"),
        ("  requests: 9", "  prompts: 9", 9, "here say 'requests'"),
        (
            "title: t",
            "title: t\nwhat_if: {link: {latency_ms: 1, megabits_per_second: 9}}",
            2,
            "'what_if.link'",
        ),
        ("  arrivals: {users: [1, 3]}\n", "", 8, "'workload.requests': needs 'workload.arrivals'"),
        (
            "  arrivals: {users: [1, 3]}\n  requests: 9\n",
            "",
            9,
            "'workload.limits': needs 'workload.arrivals'",
        ),
        ("acceptance: {independent: 0.6}\n", "", 9, "texts have their own lengths"),
        ("acceptance: {independent: 0.6}", "costs_from: x", 2, "'costs_from': does not go with 'costs'"),
    ],
)
def test_wrong_key_is_named(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    assert old in SERVED
    file = write(tmp_path, SERVED.replace(old, new))
    with pytest.raises(ConfigurationError) as caught:
        load_scenario(file)
    assert str(caught.value).startswith(f"{file}:{line}: "), str(caught.value)
    assert says in str(caught.value)


def test_what_is_not_stated_is_asked_for(tmp_path: Path) -> None:
    text = "title: t\nworkload:\n  arrivals: {rate: 1}\nconfigurations: [{policy: pearl}]\n"
    with pytest.raises(
        CalibrationError, match=r"no forwards of several requests; .* --again --batches' measures"
    ):
        list(run_served(load_scenario(write(tmp_path, text)), artifact()))
    stated = text.replace("title: t", "title: t\nacceptance: {independent: 0.6}")
    with pytest.raises(ConfigurationError, match=r":2: key 'acceptance': needs 'costs' or 'hardware'"):
        load_scenario(write(tmp_path, stated))
    with pytest.raises(ConfigurationError, match="are served together"):
        list(run_scenario(load_scenario(write(tmp_path, SERVED))))


SHIPPED = [path for path in sorted((ROOT / "scenarios").glob("*.yaml")) if load_scenarios(path)[0].served]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_shipped_scenarios_run(path: Path) -> None:
    for scenario in load_scenarios(path):
        short = scenario.workload.model_copy(update={"requests": 4})
        outcomes = list(run_served(scenario.model_copy(update={"workload": short})))
        assert len(outcomes) == scenario.outcomes
        assert all(outcome.samples[0].requests == 4 for outcome in outcomes)


def test_the_shipped_costs_are_the_published_fit() -> None:
    """SpecDecode-Bench, Llama-3.1-8B on an H100: 3.926e-8 s x cache tokens + 2.101e-5 s x tokens + 5.886e-3 s, an EAGLE
    draft's 2.378e-9, 8.41e-7 and 2.135e-3, and 1.207e-3 s a step besides.
    """
    costs = load_scenario(find_scenario(Path("many-requests"))).costs
    assert costs is not None
    found = linear_forward_costs(costs)
    for rows, cache in ((1, 100), (64, 30_000), (2048, 2048)):
        assert found["target"](rows, 8, cache) == pytest.approx(
            3.926e-8 * cache + 2.101e-5 * rows + 5.886e-3 + 1.207e-3, rel=1e-4
        )
        assert found["draft"](rows, 8, cache) == pytest.approx(
            2.378e-9 * cache + 8.41e-7 * rows + 2.135e-3, rel=1e-4
        )


def test_the_verb_prints_a_table_by_load_and_json(tmp_path: Path) -> None:
    file = write(tmp_path, SERVED)
    shown = specbranch("simulate", file, "--wide").stdout
    for words in (
        "1 user",
        "3 users",
        "autoregressive decoding",
        "PEARL",
        "t; lockstep",
        "t; ready",
        "good/s",
    ):
        assert words in shown, words
    found = document("simulate", file)
    assert len(found["outcomes"]) == 12
    assert found["outcomes"][0]["samples"][0]["tokens_per_second"] == pytest.approx(1 / 0.0101)
    assert found["scenario"]["workload"]["arrivals"] == [
        {"rate": None, "users": users, "think_seconds": 0.0, "trace": None, "time_scale": 1.0}
        for users in (1, 3)
    ]


def test_serving_a_scenario_never_imports_torch(tmp_path: Path) -> None:
    file = write(tmp_path, SERVED)
    code = (
        "import sys; sys.argv = ['specbranch', 'simulate', sys.argv[1]]\n"
        "import specbranch\n"
        "try:\n    specbranch.app()\nexcept SystemExit as end:\n    assert not end.code\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], cwd=ROOT, capture_output=True, timeout=120, text=True
    )
    assert done.returncode == 0, done.stderr


def test_what_the_guide_says_of_the_shipped_loads_is_so() -> None:
    text = " ".join((ROOT / "docs/guides/many-requests.md").read_text().split())
    (said,) = re.findall(
        r"makes ([\d.]+) times as many tokens/s with one user and ([\d.]+) times as many with 64", text
    )
    speeds = {
        (
            outcome.arrivals.users,
            outcome.configuration.drafts * outcome.configuration.draft_length,
        ): outcome.figures["tokens_per_second"].value
        for outcome in run_served(load_scenario(find_scenario(Path("many-requests"))))
    }
    one, many = ({length: speeds[users, length] / speeds[users, 0] for length in (1, 3)} for users in (1, 64))
    assert [f"{gains[1]:.1f}" for gains in (one, many)] == list(said)
    assert one[3] == pytest.approx(one[1], rel=0.02)
    assert many[3] < many[1]


def test_what_the_guide_says_of_the_public_trace_is_so() -> None:
    text = " ".join((ROOT / "docs/guides/many-requests.md").read_text().split())
    scenario = load_scenario(find_scenario(Path("public-trace")))
    trace = scenario.workload.arrivals[0]
    assert trace.trace is not None
    requests = read_trace(trace.trace)
    means = requests.prompt_tokens.mean(), requests.tokens.mean()
    assert f"{len(requests)} requests" in text
    assert "prompts of {:.0f} tokens and answers of {:.0f}".format(*means) in text
    assert requests.at[-1] < 90.0
    assert np.searchsorted(requests.at, 30.0) / 30.0 == pytest.approx(2.0, abs=0.3)
    assert (requests.at > 40.0).sum() / 50.0 == pytest.approx(5.0, abs=0.5)

    outcomes = list(run_served(scenario))
    slow, fast = outcomes[:4], outcomes[4:]
    ends = [[f"{o.samples[0].end_to_end.p95:.1f}" for o in load] for load in (slow, fast)]
    assert f"within {ends[0][1]} s instead of {ends[0][0]}" in text
    assert f"it is {ends[1][1]} s instead of {ends[1][0]}" in text
    alone, one, three = (o.samples[0] for o in fast[:3])
    assert f"{one.good:.0%} of the requests keep within the limits instead of {alone.good:.0%}" in text
    assert three.end_to_end.p95 > 1.02 * one.end_to_end.p95
    assert ends[0][2] == ends[0][1]
    for load in (slow, fast):
        best = min(o.samples[0].end_to_end.p95 for o in load[1:3])
        assert load[3].samples[0].end_to_end.p95 < 1.02 * best
        assert load[1].samples[0].tokens_per_second < 1.07 * load[0].samples[0].tokens_per_second

    (rate,) = re.findall(r"`rate: ([\d.]+)`, `requests: 332`, `prompt_tokens: 897` and `tokens: 259`", text)
    assert float(rate) == pytest.approx(4 * len(requests) / requests.at[-1], rel=0.01)
    mean = {"arrivals": (Arrivals(rate=float(rate)),), "requests": 332, "prompt_tokens": 897, "tokens": 259}
    steady = scenario.workload.model_copy(update=mean)
    only = scenario.model_copy(update={"workload": steady, "configurations": scenario.configurations[:1]})
    (outcome,) = run_served(only)
    assert f"a token every {outcome.samples[0].token.median * 1e3:.1f} ms without a draft" in text
    assert f"As they come, it is {alone.token.median * 1e3:.1f} ms" in text


def test_what_is_said_of_a_shared_budget_is_so() -> None:
    """docs/echo.md, of 16 users: wider is faster and fairer than a fixed length, and deeper is slower and less fair."""
    scenario = load_scenario(find_scenario(Path("shared-budget")))
    world = ServingWorld(scenario, load_artifact(REFERENCE))
    load = next(arrivals for arrivals in scenario.workload.arrivals if arrivals.users == 16)
    by = {(c.policy, c.draft_length, c.batch_nodes): c for c in scenario.configurations[:-2]}
    wide, fixed, deep = (
        world.outcome(by[key], scenario.what_if[0], scenario.batching[0], load).figures
        for key in (("echo", 1, 64), ("speculative", 2, 32), ("echo", 4, 64))
    )
    for figure in ("tokens_per_second", "fairness"):
        assert wide[figure].value > fixed[figure].value > deep[figure].value
    assert wide["token_p95"].value < fixed["token_p95"].value < deep["token_p95"].value
