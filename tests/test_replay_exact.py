"""In float32 the simulator's rounds are the engine's, round by round, on the prompts that were recorded."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_models import VOCABULARY, own_text, save_tiny

from calibrate.artifact import HRAD_FOLDER, Artifact
from calibrate.costs.measurement import SamplingBudget
from calibrate.prompts import Prompt
from calibrate.run import Effort, calibrate
from calibrate.trace_records import DraftTrace, Trace
from calibrate.traces.hrad_examples import predictions
from engine.configuration import Configuration
from engine.drafts.ngram_counting import save_ngrams
from engine.models.hrad import LONGEST
from engine.models.sampling import Sampling
from engine.models.specs import ModelSpec
from engine.models.tokenizer import Tokenizer
from engine.policies.ngrams import count_ngrams
from engine.runtime.pair import Pair, find_predictors
from scenarios.what_if import WhatIf
from sim.world.replay import Replay

EFFORT = Effort("tiny", 4, 40, SamplingBudget(1, seconds=0.0, together_seconds=0.01), sampled=24, hrad=True)
PROMPTS = tuple(Prompt(f"p{i}", "test", "calibration", f"w3 w{5 + i} w9 w{11 + i}") for i in range(4))
CONFIGURATIONS = (
    Configuration(policy="autoregressive"),
    Configuration(policy="speculative", draft_length=1),
    Configuration(policy="speculative", draft_length=4),
    Configuration(policy="speculative", draft_length=6, min_confidence=0.4),
    Configuration(policy="prompt-lookup", draft_length=4),
    Configuration(policy="prompt-lookup", draft_length=4, guesses=3),
    Configuration(policy="adaedl", draft_length=6, min_bound=0.3),
    Configuration(policy="pearl", draft_length=1),
    Configuration(policy="pearl", draft_length=3),
    Configuration(policy="pearl", draft_length=8),
    Configuration(policy="specbranch", draft_length=3, branches=3, adaptive_branches=False),
    Configuration(
        policy="specbranch", draft_length=5, branches=6, adaptive_branches=False, placement="in-turn"
    ),
    Configuration(policy="specbranch", draft_length=4, branches=3, adaptive_branches=False, redraft=True),
    Configuration(policy="specbranch", draft_length=5, branches=1, min_confidence=0.3, redraft=True),
    Configuration(policy="specbranch", draft_length=4, branches=4, min_confidence=0.3, hrad=True),
    Configuration(policy="speculative", draft_length=6, guesses=3),
    Configuration(policy="speculative", draft_length=8, min_confidence=0.3, guesses=5),
    Configuration(policy="adaedl", draft_length=6, min_bound=0.3, guesses=2),
    Configuration(policy="pearl", draft_length=5, guesses=2),
    Configuration(policy="specbranch", draft_length=5, branches=3, redraft=True, guesses=2),
    Configuration(policy="speculative", draft_length=3, guesses=2, repeats=6),
    Configuration(policy="pearl", draft_length=3, repeats=8),
    Configuration(policy="specbranch", draft_length=4, branches=2, redraft=True, guesses=2, repeats=8),
    Configuration(policy="specbranch", draft_length=4, branches=4, min_confidence=0.3, hrad=True, repeats=5),
    Configuration(policy="specbranch", draft_length=4, branches=1, hrad=True, redraft=True, guesses=2),
    Configuration(policy="speculative", draft_length=5, second_under=0.9),
    Configuration(policy="speculative", draft_length=4, min_confidence=0.2, guesses=3, second_under=0.5),
    Configuration(policy="pearl", draft_length=4, repeats=6, second_under=0.8),
    Configuration(policy="specbranch", draft_length=5, branches=3, redraft=True, guesses=2, second_under=0.7),
    Configuration(policy="specbranch", draft_length=4, branches=4, hrad=True, second_under=1.0),
    Configuration(policy="tree", draft_length=1, tree_nodes=3),
    Configuration(policy="tree", draft_length=4, tree_nodes=12, rank_acceptance="0.4 0.2 0.15 0.1"),
    Configuration(
        policy="tree", draft_length=6, tree_nodes=40, rank_acceptance="0.7 0.1", placement="in-turn"
    ),
    Configuration(policy="length-by-load", lengths_by_load="1-:3", placement="in-turn"),
    Configuration(policy="echo", draft_length=6, gates="1:0.05/2:0.02/4:0.01", placement="in-turn"),
    Configuration(policy="echo", draft_length=4, gates="2:0.03", tree_width=2, batch_nodes=5),
)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pair, Tokenizer, Artifact]]:
    def model(seed: int) -> ModelSpec:
        folder: Path = tmp_path_factory.mktemp(f"model{seed}")
        return ModelSpec(source=save_tiny(folder, seed), precision="float32")

    plain = model(0)
    tokenizer = Tokenizer(plain)
    # Of the very texts, so that many guesses are right.
    texts = [(ids := tokenizer.encode(p.text), own_text(plain.source, ids, EFFORT.tokens)) for p in PROMPTS]
    path = tmp_path_factory.mktemp("ngrams") / "ngrams.safetensors"
    save_ngrams(path, count_ngrams([([*ids, *text], len(ids)) for ids, text in texts]), VOCABULARY, {})
    target = plain.model_copy(update={"ngrams": str(path)})
    drafts = {
        "near": target.model_copy(update={"bits": 8}),
        "middling": target.model_copy(update={"bits": 4}),
        "far": model(5).model_copy(update={"ngrams": str(path)}),
    }
    with Pair(target, drafts, cores=(0, 1)) as pair:
        out = tmp_path_factory.mktemp("calibration")
        artifact = calibrate(pair, tokenizer, PROMPTS, EFFORT, out)
        yield replace(pair, predictors=find_predictors(out / HRAD_FOLDER, drafts)), tokenizer, artifact


@pytest.fixture(scope="module")
def measured(calibrated: tuple[Pair, Tokenizer, Artifact]) -> tuple[Pair, Tokenizer, Artifact]:
    pair, tokenizer, artifact = calibrated
    return pair, tokenizer, by_one_network(pair, artifact)


def by_one_network(pair: Pair, artifact: Artifact) -> Artifact:
    """The calibration as H-RAD's final networks predict its prompts, where it holds what others predicted."""

    def predicted(trace: Trace, name: str) -> DraftTrace:
        target, _ = pair.players("in-turn", name)
        pair.teach(target, name)
        chances = target.worker.call(
            predictions,
            name=target.model,
            draft=name,
            prompt=trace.prompt.tolist(),
            path=trace.path.tolist(),
        )
        return replace(trace.drafts[name], foreseen=np.array(chances, dtype=np.float32))

    def all_predicted(traces: Sequence[Trace]) -> tuple[Trace, ...]:
        return tuple(replace(t, drafts={name: predicted(t, name) for name in t.drafts}) for t in traces)

    return replace(artifact, traces=all_predicted(artifact.traces), sampled=all_predicted(artifact.sampled))


@pytest.mark.parametrize("draft", ["near", pytest.param("middling", marks=pytest.mark.slow), "far"])
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: c.label())
def test_rounds_and_reads_are_the_engines(
    measured: tuple[Pair, Tokenizer, Artifact], configuration: Configuration, draft: str
) -> None:
    pair, tokenizer, artifact = measured
    chosen = configuration.model_copy(update={"draft": draft})
    simulated = Replay(artifact).runs(chosen)
    for prompt, expected in zip(PROMPTS, simulated, strict=True):
        run = pair.generate(
            chosen,
            tokenizer.encode(prompt.text),
            max_tokens=EFFORT.tokens,
            end_tokens=tokenizer.end_tokens,
        )
        assert run.tokens == expected.tokens
        assert run.ending == expected.ending
        # Past the text's end the trace knows nothing of the draft, so what the last rounds drafted may differ.
        whole = len(run.rounds) - 1 - (configuration.draft_length > 0)
        assert run.rounds[:whole] == expected.rounds[:whole]
        assert [r.emitted for r in run.rounds] == [r.emitted for r in expected.rounds]
        for model in ("target", "draft"):
            mine = [(j.round, j.forwards, j.tokens) for j in run.jobs if j.model == model and j.round < whole]
            theirs = [
                (j.round, j.forwards, j.tokens) for j in expected.jobs if j.model == model and j.round < whole
            ]
            assert mine == theirs


@pytest.mark.parametrize("draft", ["near", "middling"])
@pytest.mark.parametrize("draw_drafts", [False, True])
def test_predictions_for_drawn_texts_is_the_engines(
    measured: tuple[Pair, Tokenizer, Artifact], draft: str, draw_drafts: bool
) -> None:
    pair, tokenizer, artifact = measured
    chosen = next(c for c in CONFIGURATIONS if c.hrad)
    chosen = chosen.model_copy(update={"draft": draft, "draw_drafts": draw_drafts})
    simulated = Replay(artifact, WhatIf(temperature=1.0)).runs(chosen)
    for prompt, expected in zip(PROMPTS, simulated, strict=True):
        run = pair.generate(
            chosen,
            tokenizer.encode(prompt.text),
            max_tokens=EFFORT.sampled,
            end_tokens=tokenizer.end_tokens,
            sampling=Sampling(temperature=1.0).of_text(prompt.digest),
        )
        assert run.tokens == expected.tokens
        assert run.rounds[:-2] == expected.rounds[:-2]


def test_every_text_is_predicted(calibrated: tuple[Pair, Tokenizer, Artifact]) -> None:
    artifact = calibrated[2]
    for trace in (*artifact.traces, *artifact.sampled):
        for seen in (*trace.drafts.values(), *trace.drawing.values()):
            assert seen.foreseen.shape == (len(trace.path), LONGEST + 1)
            np.testing.assert_allclose(seen.foreseen.sum(axis=1), 1.0, rtol=1e-5)
