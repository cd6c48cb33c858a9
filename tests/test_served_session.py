"""Requests that are served in workers: texts as `generate` writes each, and no worker's death or error hangs a run."""

import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import document, refusal, specbranch
from table_pair import PROMPT, TableDecoder, before, tables
from tiny_models import PROMPTS, TOKENS, only, save_tiny

from engine.configuration import Configuration
from engine.errors import ConfigurationError, SpecBranchError, WorkerLost
from engine.models.cached_model import CachedModel
from engine.models.sampling import GREEDY, Sampling
from engine.models.specs import ModelSpec
from engine.runtime import served_session, worker_process
from engine.runtime.pair import Pair
from engine.runtime.placement import usable_cores
from engine.runtime.requests import Request
from engine.runtime.scheduler import Budget
from engine.runtime.served_session import Serve
from engine.runtime.worker_process import Host, Hosted

CONFIGURATIONS = (
    Configuration(policy="autoregressive", placement="in-turn"),
    Configuration(policy="autoregressive", placement="at-once"),
    Configuration(policy="prompt-lookup", placement="in-turn"),
    Configuration(policy="speculative", draft_length=3, second_under=0.5, placement="in-turn"),
    Configuration(policy="tree", draft_length=3, placement="in-turn"),
    Configuration(policy="adaedl", draft_length=4, placement="at-once"),
    Configuration(policy="pearl", draft_length=3, guesses=2, placement="at-once"),
    Configuration(policy="specbranch", draft_length=4, branches=2, redraft=True, placement="at-once"),
    Configuration(policy="specbranch", draft_length=4, branches=3, placement="in-turn"),
    Configuration(policy="length-by-load", lengths_by_load="1:3/2:2/3-:0", placement="in-turn"),
    Configuration(policy="echo", draft_length=4, gates="1:0.02/2:0.01", batch_nodes=8, placement="in-turn"),
    Configuration(policy="echo", draft_length=4, gates="1:0.02", batch_nodes=5, placement="at-once"),
)
LOAD_AWARE = ("length-by-load", "echo")
PEARL = CONFIGURATIONS[6]
two_cores = pytest.mark.skipif(len(usable_cores()) < 2, reason="a device for each model needs two cores")


@pytest.fixture(scope="module")
def pair(tiny_pair: Pair) -> Pair:
    return replace(only(tiny_pair, "int8"), cores=usable_cores()[:2])


def wanted(configuration: Configuration, sampling: Sampling = GREEDY, count: int = 5) -> list[Request]:
    return [
        Request(prompt, configuration, TOKENS - 2 * i, (2,), sampling.model_copy(update={"seed": i}))
        for i, prompt in enumerate(PROMPTS[:count])
    ]


@two_cores
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.0)], ids=["greedy", "drawn"])
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: c.label())
def test_texts_are_those_of_generate(pair: Pair, configuration: Configuration, sampling: Sampling) -> None:
    requests = wanted(configuration, sampling)
    heard: list[tuple[int, int]] = []
    how = Serve([0.0, 0.0, 0.01, 0.02, 0.03], budget=Budget(16, 3))
    served = pair.serve(configuration, requests, how, lambda *news: heard.append(news))
    for request, run in zip(requests, served.runs, strict=True):
        alone = pair.generate(
            configuration,
            request.prompt,
            max_tokens=request.max_tokens,
            end_tokens=request.end_tokens,
            sampling=request.sampling,
        )
        assert (run.tokens, run.ending) == (alone.tokens, alone.ending)
        assert run.rounds == alone.rounds or configuration.policy in LOAD_AWARE
        assert run.warning is None
    drafts = "draft" in configuration.uses
    apart = drafts and configuration.placement == "at-once"
    both = ("target", "draft") if drafts else ("target",)
    assert served.service.devices == ((("target",), ("draft",)) if apart else (both,))
    assert [request.tokens for request in served.service.requests] == [len(run.tokens) for run in served.runs]
    assert {batch.model for batch in served.service.batches} == set(both)
    assert heard == sorted(heard)


@two_cores
def test_a_closed_loop_in_a_worker(pair: Pair) -> None:
    served = pair.serve(PEARL, wanted(PEARL), Serve([0.0] * 5, users=2))
    requests = served.service.requests
    ends = [request.ended for request in requests]
    assert all(request.arrived in (0.0, *ends) for request in requests)


@two_cores
@pytest.mark.parametrize("placement", ["at-once", "in-turn"])
def test_what_is_refused_leaves_the_workers_as_they_are(pair: Pair, placement: str) -> None:
    """Also the one that lends its thread."""
    configuration = PEARL.model_copy(update={"placement": placement})
    requests = wanted(configuration)
    with pytest.raises(ConfigurationError, match="slots of the cache"):
        pair.serve(configuration, requests, Serve([0.0] * 5, budget=Budget(slots=20)))
    odd = [replace(requests[0], settings=Configuration(policy="none"))]
    with pytest.raises(ConfigurationError, match="there is no policy 'none'"):
        pair.serve(configuration, odd, Serve([0.0]))
    assert len(pair.serve(configuration, requests, Serve([0.0] * 5)).runs) == 5


@two_cores
@pytest.mark.parametrize("placement", ["at-once", "in-turn"])
def test_a_process_that_dies_ends_a_service_at_once(tmp_path: Path, placement: str) -> None:
    """With an error; and what is served next has another one."""
    configuration = PEARL.model_copy(update={"placement": placement})
    target = ModelSpec(source=save_tiny(tmp_path / "target", 0), precision="float32")
    draft = target.model_copy(update={"bits": 8})
    with Pair(target, {"int8": draft}, cores=usable_cores()[:2]) as pair:
        seats = pair.players("threads" if placement == "at-once" else "in-turn", "int8")
        pid = seats[0].worker.process.pid
        assert pid is not None
        patient = Serve([0.0] * 4 + [1000.0])
        with pytest.raises(WorkerLost, match="the target worker"):
            pair.serve(configuration, wanted(configuration), patient, lambda *_: os.kill(pid, signal.SIGKILL))
        assert len(pair.serve(configuration, wanted(configuration), Serve([0.0] * 5)).runs) == 5


def host(fail_behind: float = math.inf) -> Host:
    """A worker's host of both models; the draft fails from some forward on."""
    target, draft = (TableDecoder(table) for table in tables(seed=1))

    def fail(call: int) -> None:
        if call >= fail_behind:
            raise ValueError("no more")

    models = {"target": Hosted(CachedModel(target)), "near": Hosted(CachedModel(before(draft, fail)))}
    return Host(models=models)


def serve_here(made: Host, tell: Callable[[Any], None] = lambda news: None) -> list[Any]:
    made.tell = tell
    return served_session.serve(
        made,
        ["target", "near"],
        False,
        [
            {
                "prompt": PROMPT,
                "settings": PEARL.model_dump(mode="json"),
                "max_tokens": 12,
                "end_tokens": [],
                "sampling": GREEDY.model_dump(),
            }
        ]
        * 1,
        [0.0],
        None,
        {"rows": 64, "sequences": 4, "slots": 1000},
        "ready",
        True,
    )


def test_a_draft_that_failed_is_loaded_anew_when_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPECBRANCH_CACHE", str(tmp_path))
    monkeypatch.setattr(Host, "wanted", lambda host: False)
    made = host(fail_behind=3)
    *_, (run,) = serve_here(made)
    assert "the target went on alone" in run[-1]
    assert list(made.models) == ["target"]
    whole = host()
    *_, (expected,) = serve_here(whole)
    assert (run[0], expected[-1]) == (expected[0], None)
    assert list(whole.models) == ["target", "near"]


def test_a_service_that_the_driver_gave_up_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.runtime.serving.TELL_SECONDS", 0.0)
    heard: list[Any] = []
    monkeypatch.setattr(Host, "wanted", lambda host: len(heard) == 2)
    with pytest.raises(SpecBranchError, match="given up"):
        serve_here(host(), heard.append)
    assert len(heard) == 2


def test_a_thread_is_lent_until_there_are_no_more_errands() -> None:
    done: list[int] = []
    lender = Host()
    for errand in (lambda: done.append(1), lambda: done.append(2), None):
        lender.errands.put(errand)
    worker_process.lend(lender)
    assert done == [1, 2]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    """Options that name a tiny target and a tiny draft."""
    target = save_tiny(tmp_path_factory.mktemp("target"), seed=0)
    draft = save_tiny(tmp_path_factory.mktemp("draft"), seed=5)
    return ["--target", target, "--draft-model", draft, "--precision", "float32"]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    lines = [f'{{"text": "w{3 + i} w7 w{9 + i}", "split": "heldout"}}' for i in range(3)]
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    path.write_text("\n".join(lines))
    return ["--own-prompts", path]


TWO_LOADS = [
    "--policy",
    "speculative",
    "--users",
    "1,3",
    "--max-tokens",
    "5",
    "--ignore-end",
]


def test_the_verb_measures_each_load(models: list[str | Path], prompts: list[str | Path]) -> None:
    """The same requests at every load: all are served, to their last token."""
    done = document("serve-bench", *models, *prompts, *TWO_LOADS, "--requests", "7", "--samples", "2")
    assert [load["arrivals"]["users"] for load in done["loads"]] == [1, 3]
    for load in done["loads"]:
        assert [(sample["requests"], sample["tokens"]) for sample in load["samples"]] == [(7, 35)] * 2
        assert load["figures"]["tokens_per_second"]["low"] < load["figures"]["tokens_per_second"]["high"]
        assert 1.0 <= load["accepted_length"] <= 5.0
        assert max(load["timeline"]["running"]) <= load["arrivals"]["users"] + 1e-9


def test_the_verb_says_how_many_times_as_fast(models: list[str | Path], prompts: list[str | Path]) -> None:
    """Autoregressive decoding serves the same requests, and writes the same texts."""
    done = document(
        "serve-bench", *models, *prompts, *TWO_LOADS, "--requests", "6", "--samples", "2", "--speed-up"
    )
    assert [(its["arrivals"]["users"], its["configuration"]["policy"]) for its in done["loads"]] == [
        (users, policy) for users in (1, 3) for policy in ("autoregressive", "speculative")
    ]
    for alone, drafted in zip(done["loads"][::2], done["loads"][1::2], strict=True):
        assert (
            [s["tokens"] for s in alone["samples"]] == [s["tokens"] for s in drafted["samples"]] == [30] * 2
        )
        assert alone["accepted_length"] == 1.0
    shown = specbranch("serve-bench", *models, *prompts, *TWO_LOADS, "--requests", "6", "--speed-up").stdout
    assert "speed-up" in shown
    assert "Speed-ups are over autoregressive decoding at the same load" in " ".join(shown.split())


def test_the_verb_serves_a_trace_by_its_lengths(
    models: list[str | Path], prompts: list[str | Path], tmp_path: Path
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("arrived_at,num_prefill_tokens,num_decode_tokens\n5.0,9,3\n5.1,30,4\n")
    options: list[str | Path] = ["--arrivals", trace, "--time-scale", "0.5", "--ignore-end"]
    (load,) = document("serve-bench", *models, *prompts, *options)["loads"]
    (sample,) = load["samples"]
    assert (sample["requests"], sample["tokens"]) == (2, 7)
    shown = specbranch("serve-bench", *models, *prompts, *options, "--first-token-seconds", "60").stdout
    assert "trace.csv, time x0.5" in shown
    assert "good/s" in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--users", "1", "--rates", "2"], "--users, --rates or --arrivals; name one"),
        (["--users", "1,none"], "--users '1,none' is no list of numbers above 0"),
        (["--rates", "0"], "--rates '0' is no list of numbers above 0"),
        (["--rates", "1", "--think-seconds", "1"], "--think-seconds goes with --users"),
        (["--time-scale", "2"], "--time-scale goes with --arrivals"),
        (["--discipline", "fair"], "there is no discipline 'fair'"),
        (["--policy", "fair"], "there is no policy 'fair'"),
        (["--slots", "8"], "a request needs"),
        (["--speed-up"], "--speed-up goes with a method that drafts"),
        (["--arrivals", "none.csv"], "none.csv: a trace cannot be read"),
    ],
)
def test_what_the_verb_refuses(
    models: list[str | Path], prompts: list[str | Path], options: list[str], said: str
) -> None:
    assert said in refusal("serve-bench", *models, *prompts, *options)
