"""The real engine over worker processes: greedy text is the target's own, the accounting adds up, faults end well."""

import itertools
import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from tiny_models import PROMPTS, TOKENS, own_text, save_tiny

from calibrate.traces.hrad_examples import identify
from engine.configuration import Configuration
from engine.errors import ConfigurationError, SpecBranchError, WorkerLost
from engine.models.hrad import Predictor, save_predictor
from engine.models.sampling import Sampling
from engine.models.specs import ModelSpec
from engine.policies.tree import Round
from engine.runtime.pair import Pair, find_predictors, predictor_path

CONFIGURATIONS = [
    Configuration(policy="autoregressive"),
    Configuration(policy="speculative", draft_length=3),
    Configuration(policy="speculative", draft_length=6, min_confidence=0.3),
    Configuration(policy="adaedl", draft_length=6, min_bound=0.3),
    Configuration(policy="prompt-lookup", draft_length=4),
    Configuration(policy="pearl", draft_length=4),
    Configuration(policy="specbranch", draft_length=1, branches=3),
    Configuration(policy="specbranch", draft_length=5, branches=4, min_confidence=0.3),
    Configuration(policy="specbranch", draft_length=4, branches=2, redraft=True),
    Configuration(policy="speculative", draft_length=5, guesses=3, repeats=4),
    Configuration(policy="specbranch", draft_length=5, branches=3, redraft=True, guesses=2, repeats=8),
    Configuration(policy="tree", draft_length=3, tree_nodes=10, rank_acceptance="0.5 0.2 0.1"),
    Configuration(policy="tree", draft_length=5, placement="in-turn"),
    Configuration(policy="length-by-load", lengths_by_load="1-:3", placement="in-turn"),
    Configuration(policy="echo", draft_length=5, gates="1:0.1/3:0.02", batch_nodes=9),
    Configuration(policy="specbranch", draft_length=4, branches=3, adaptive_branches=False),
    Configuration(
        policy="specbranch", draft_length=4, branches=3, adaptive_branches=False, placement="in-turn"
    ),
]
DRAFTS = ["same", "rounded", "other", "general"]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("target"), seed=0)


@pytest.fixture(scope="module")
def pair(target: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    spec = ModelSpec(source=target, precision="float32")
    drafts = {
        "same": spec,
        "rounded": spec.model_copy(update={"bits": 4}),
        "other": ModelSpec(source=save_tiny(tmp_path_factory.mktemp("other"), seed=5), precision="float32"),
        "general": spec.model_copy(update={"general_path": True}),
        "absent": ModelSpec(source=str(tmp_path_factory.mktemp("empty"))),
    }
    with Pair(spec, drafts, cores=(0, 1)) as pair:
        yield pair


@pytest.fixture(scope="module")
def texts(target: str) -> list[tuple[int, ...]]:
    return [own_text(target, prompt) for prompt in PROMPTS]


@pytest.mark.parametrize(
    ("configuration", "draft"),
    [
        # The general path is slow: the one with every aid is tried every time, all for a landing.
        pytest.param(
            c,
            draft,
            id=f"{c.label()}-{draft}",
            marks=pytest.mark.slow if draft == "general" and not c.repeats else (),
        )
        for c in CONFIGURATIONS
        for draft in DRAFTS
    ],
)
def test_greedy_text_is_the_targets_own(
    pair: Pair, texts: list[tuple[int, ...]], configuration: Configuration, draft: str
) -> None:
    chosen = configuration.model_copy(update={"draft": draft})
    for prompt, text in zip(PROMPTS, texts, strict=True):
        run = pair.generate(chosen, prompt, max_tokens=TOKENS)
        assert run.tokens == text
        assert sum(r.emitted for r in run.rounds) == len(run.tokens)
        assert all(r.emitted == r.accepted + 1 for r in run.rounds[:-1])
        if draft in ("same", "general") and "draft" in chosen.uses and not chosen.repeats:
            wrong = sum(r.verified - r.accepted for r in run.rounds)
            assert wrong == sum(
                r.hedge for r in run.rounds if chosen.policy in ("tree", "echo")
            )  # of a tree, the first line is right


@pytest.fixture(scope="module")
def predicting(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The pair with untrained H-RAD networks, whose classes are as good as any for a text's identity."""
    folder = tmp_path_factory.mktemp("hrad")
    target, _ = pair.players("in-turn", None)
    fingerprint = target.worker.call(identify, name=target.model)
    for seed, name in enumerate(("rounded", "other")):
        generator = torch.Generator().manual_seed(seed)
        width = 3 * 64  # two layers and an embedding
        network = Predictor(
            torch.zeros(width),
            torch.ones(width),
            torch.randn(8, width, generator=generator) / 8,
            torch.zeros(8),
            torch.randn(16, 8, generator=generator),
            torch.zeros(16),
        )
        path = predictor_path(folder, name)
        save_predictor(path, network, fingerprint, pair.drafts[name], {})
    return replace(pair, predictors=find_predictors(folder, pair.drafts))


@pytest.mark.parametrize("draft", ["rounded", "other"])
@pytest.mark.parametrize("least", [0.0, 0.4])
def test_hrad_changes_the_rounds_and_never_the_text(
    predicting: Pair, texts: list[tuple[int, ...]], draft: str, least: float
) -> None:
    plain = Configuration(
        policy="specbranch", draft=draft, draft_length=6, branches=3, adaptive_branches=False
    )
    hybrid = plain.model_copy(update={"hrad": True, "min_confidence": least})
    drawn = hybrid.model_copy(update={"draw_drafts": True})
    cut = 0
    for prompt, text in zip(PROMPTS, texts, strict=True):
        run = predicting.generate(hybrid, prompt, max_tokens=TOKENS)
        assert run.tokens == text
        cut += sum(r.cut for r in run.rounds)
        assert len(predicting.generate(drawn, prompt, max_tokens=TOKENS, sampling=WARM[0]).tokens) == TOKENS
    assert cut > 0 or draft == "other"  # of which little survives to be cut


def test_hrad_asks_for_a_network(pair: Pair) -> None:
    asks = Configuration(policy="specbranch", draft="same", hrad=True)
    with pytest.raises(ConfigurationError, match="no H-RAD network for the draft 'same'"):
        pair.generate(asks, PROMPTS[0], max_tokens=TOKENS)


WARM = [Sampling(temperature=1.0, seed=seed) for seed in (1, 2)]


def test_one_seed_writes_one_text_whatever_drafts(pair: Pair) -> None:
    """Neither drafts, drawn or not, nor placements leave a trace in a drawn text."""
    drafting = [c for c in CONFIGURATIONS if "draft" in c.uses]
    alone = [c for c in CONFIGURATIONS if "draft" not in c.uses]
    for sampling, drafts in [
        (WARM[0], DRAFTS),
        (Sampling(temperature=0.7, top_k=9, top_p=0.9, seed=3), ["other"]),
    ]:
        drawn = itertools.product(drafting, drafts, (False, True))
        chosen = [c.model_copy(update={"draft": draft, "draw_drafts": draws}) for c, draft, draws in drawn]
        texts = {
            pair.generate(c, PROMPTS[2], max_tokens=TOKENS, sampling=sampling).tokens
            for c in (*alone, *chosen)
        }
        assert len(texts) == 1


@pytest.mark.parametrize("policy", ["speculative", "adaedl", "pearl", "specbranch"])
def test_a_draft_equal_to_the_target_is_never_refused(pair: Pair, policy: str) -> None:
    """With the same noise it draws what the target draws."""
    configuration = Configuration(
        policy=policy, draft="same", draft_length=4, min_bound=0.0, draw_drafts=True
    )
    for sampling in WARM:
        run = pair.generate(configuration, PROMPTS[3], max_tokens=TOKENS, sampling=sampling)
        assert sum(r.accepted for r in run.rounds) == sum(r.verified for r in run.rounds) > 0


def test_text_ends_at_the_end_token(pair: Pair, target: str, texts: list[tuple[int, ...]]) -> None:
    end = texts[0][7]
    expected = own_text(target, PROMPTS[0], end=end)
    for configuration in CONFIGURATIONS:
        run = pair.generate(configuration, PROMPTS[0], max_tokens=TOKENS, end_tokens={end})
        assert run.tokens == expected
        assert run.ending == "end-of-text"


def test_jobs_of_a_worker_never_overlap_and_lie_within_the_run(pair: Pair) -> None:
    for configuration in CONFIGURATIONS:
        run = pair.generate(configuration, PROMPTS[1], max_tokens=TOKENS)
        lanes = (
            [run.jobs] if run.shared else [[j for j in run.jobs if j.model == m] for m in ("target", "draft")]
        )
        for lane in lanes:
            assert all(a.end <= b.start for a, b in itertools.pairwise(sorted(lane, key=lambda j: j.start)))
        assert all(0 <= job.start < job.end <= run.seconds for job in run.jobs)
        assert sum(job.model == "target" for job in run.jobs) == len(run.rounds)


def test_a_perfect_draft_reads_no_token_twice(pair: Pair) -> None:
    """Each model reads the prompt and the text, less its last token; nothing is rolled back."""
    configuration = Configuration(policy="pearl", draft="same", draft_length=4)
    run = pair.generate(configuration, PROMPTS[0], max_tokens=TOKENS)
    read = sum(job.tokens for job in run.jobs if job.model == "target")
    assert read <= len(PROMPTS[0]) + len(run.tokens) + 4
    assert sum(r.rollback for r in run.rounds[1:-1]) == 0


def test_text_is_streamed_in_order(pair: Pair) -> None:
    heard: list[int] = []
    run = pair.generate(CONFIGURATIONS[5], PROMPTS[2], max_tokens=TOKENS, on_text=heard.extend)
    assert tuple(heard) == run.tokens


def test_a_killed_draft_worker_costs_nothing_but_speed(pair: Pair, texts: list[tuple[int, ...]]) -> None:
    configuration = Configuration(policy="specbranch", draft="other", draft_length=4, branches=2)
    _, drafter = pair.players("at-once", "other")
    assert drafter is not None
    killed: list[int] = []

    def kill_in_the_middle(tokens: object) -> None:
        process = drafter.worker.process
        if not killed and process.pid:
            os.kill(process.pid, signal.SIGKILL)
            killed.append(process.pid)

    run = pair.generate(configuration, PROMPTS[0], max_tokens=TOKENS, on_text=kill_in_the_middle)
    assert killed
    assert run.tokens == texts[0]
    assert run.warning is not None
    assert "went on alone" in run.warning
    again = pair.generate(configuration, PROMPTS[0], max_tokens=TOKENS)
    assert (again.tokens, again.warning) == (texts[0], None)


def test_a_hung_draft_worker_is_given_up(
    pair: Pair, texts: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.runtime.local_session.SILENCE_SECONDS", 0.5)
    _, drafter = pair.players("at-once", "same")
    assert drafter is not None
    assert drafter.worker.process.pid
    os.kill(drafter.worker.process.pid, signal.SIGSTOP)
    run = pair.generate(Configuration(policy="pearl", draft="same"), PROMPTS[0], max_tokens=TOKENS)
    assert run.tokens == texts[0]
    assert run.warning is not None
    assert "silent" in run.warning


def test_a_killed_target_worker_is_an_error_and_leaves_no_orphan(target: str) -> None:
    spec = ModelSpec(source=target, precision="float32")
    with Pair(spec, {"same": spec}, cores=(0, 1)) as pair:
        players = pair.players("at-once", "same")
        processes = [p.worker.process for p in players if p]

        def kill(tokens: object) -> None:
            if processes[0].pid:
                os.kill(processes[0].pid, signal.SIGKILL)

        with pytest.raises(WorkerLost, match="target worker died"):
            pair.generate(Configuration(policy="pearl"), PROMPTS[0], max_tokens=TOKENS, on_text=kill)
    assert not any(process.is_alive() for process in processes)


def test_unknown_draft_and_unloadable_model(pair: Pair) -> None:
    with pytest.raises(ConfigurationError, match="no draft 'nonesuch'; its drafts: same, rounded"):
        pair.generate(Configuration(policy="pearl", draft="nonesuch"), PROMPTS[0], max_tokens=4)
    with pytest.raises(SpecBranchError, match="could not be loaded"):
        pair.generate(Configuration(policy="pearl", draft="absent"), PROMPTS[0], max_tokens=4)


def test_rounds_count_what_was_written(pair: Pair) -> None:
    run = pair.generate(Configuration(policy="autoregressive"), PROMPTS[0], max_tokens=3)
    assert run.rounds == (Round(drafted=0, verified=0, accepted=0, emitted=1, rollback=0, hedge=0),) * 3
