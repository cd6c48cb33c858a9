"""A calibration of a tiny pair: complete, resumable, and true to what the engine does."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import chances_of, own_text, save_tiny

from calibrate import journal
from calibrate.artifact import Artifact, load_artifact, write_whole
from calibrate.cost_records import PROMPT, STEP, Key, MeasuredCosts, prompt_of, step_of
from calibrate.costs.contention import BATCHES, ONE
from calibrate.costs.lengths import ROOM
from calibrate.costs.measurement import (
    BATCHED_BRANCHES,
    BATCHED_CONTEXTS,
    BATCHED_TOKENS,
    BURSTS,
    CHUNKED,
    FORWARD_CONTEXTS,
    SEQUENCES,
    TARGET_TOKENS,
    TOGETHER,
    CostLaps,
    Reach,
    SamplingBudget,
    on_both_sides,
    prompt_lengths,
    prompt_tokens,
)
from calibrate.costs.sampling_plan import BETWEEN, OFTEN, SAMPLES
from calibrate.costs.slow_downs import slow_downs
from calibrate.prompts import Prompt
from calibrate.run import Effort, calibrate, differences, parts
from calibrate.summary import describe
from calibrate.traces.texts import WARM_UP_TOKENS, Author, SamplingParams
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.models.sampling import GREEDY, Sampling
from engine.models.specs import TARGET, ModelSpec
from engine.models.tokenizer import Tokenizer
from engine.policies.forms import Parents
from engine.policies.protocol import DraftLimits
from engine.record import Run
from engine.runtime import worker_process
from engine.runtime.pair import Pair
from sim.world.explained import explain

LAPS = SamplingBudget(3, seconds=0.0, together_seconds=0.01)
EFFORT = Effort("tiny", 2, 16, replace(LAPS, batches=True), sampled=12, rehearsals=2)
PROMPTS = tuple(Prompt(f"p{i}", "test", "calibration", f"w3 w{5 + i} w9 w{11 + i}") for i in range(2))
COSTS, TEXTS, ROUNDS = "costs", "texts, seen by all", "real rounds, both models at once"
ORDER = [COSTS, TEXTS, COSTS, TEXTS, ROUNDS, COSTS]

Steps = list[tuple[str, int, int]]


def stages(steps: Sequence[tuple[str, int, int]]) -> list[str]:
    """What was shown, without details, each stage once for each stretch of it."""
    return [stage for stage, _ in itertools.groupby(what.partition(":")[0] for what, _, _ in steps)]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return ModelSpec(source=save_tiny(tmp_path_factory.mktemp("target"), seed=0), precision="float32")


@pytest.fixture(scope="module")
def pair(spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    other = ModelSpec(source=save_tiny(tmp_path_factory.mktemp("other"), seed=5), precision="float32")
    with Pair(spec, {"rounded": spec.model_copy(update={"bits": 4}), "other": other}, cores=(0, 1)) as pair:
        yield pair


class Interrupted(Exception):
    """As if the user had pressed Ctrl-C."""


@contextmanager
def noting(interrupted_at: int | None = None) -> Iterator[list[Path]]:
    """The files of the steps that are measured meanwhile, up to so many."""
    noted: list[Path] = []

    def write(path: Path, data: bytes) -> None:
        noted.append(path)
        write_whole(path, data)
        if len(noted) == interrupted_at:
            raise Interrupted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "write_whole", write)
        yield noted


@dataclass(frozen=True)
class Making:
    """How a calibration was made that was interrupted in each of its stretches in turn.

    `noted`: how many steps were measured in each try; `files`: all of them; `steps`: what the last try showed.
    """

    artifact: Artifact
    noted: Sequence[int]
    files: Sequence[Path]
    steps: Steps


@pytest.fixture(scope="module")
def making(pair: Pair, spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Making:
    out = tmp_path_factory.mktemp("calibration")
    tries: list[int] = []
    steps: Steps = []

    def interrupt(reached: Sequence[str]) -> None:
        shown: Steps = []

        def stop(*step: Any) -> None:
            shown.append(step)
            if stages(shown) == reached:
                raise Interrupted

        with pytest.raises(Interrupted):
            calibrate(pair, Tokenizer(spec), PROMPTS, EFFORT, out, show=stop)
        assert not (out / "costs.json").exists()

    with noting() as files:
        for stretches in range(1, len(ORDER) + 1):
            before = len(files)
            interrupt(ORDER[:stretches])
            tries.append(len(files) - before)
        before = len(files)
        made = calibrate(pair, Tokenizer(spec), PROMPTS, EFFORT, out, show=lambda *step: steps.append(step))
        tries.append(len(files) - before)
    assert all(0 <= done <= total for _, done, total in steps)
    assert {path.name for path in out.iterdir()} == {"costs.json", "traces.json", "traces.safetensors"}
    loaded = load_artifact(out)
    assert loaded.recorded.target == made.recorded.target
    assert loaded.costs.notes == made.costs.notes
    said = "\n".join(describe(loaded))
    assert "other" in said
    assert f"rows of several sequences: {SEQUENCES[0]} of {SEQUENCES[0]}: " in said
    return Making(loaded, tries, files, steps)


@pytest.fixture(scope="module")
def artifact(making: Making) -> Artifact:
    return making.artifact


def test_every_cell_has_positive_samples(artifact: Artifact) -> None:
    assert {c.placement for c in artifact.costs.placements} == {"at-once", "in-turn"}
    for costs in artifact.costs.placements:
        cells = [*costs.target]
        for draft in costs.drafts.values():
            cells += [*draft.forward, *draft.branch, *draft.fork]
            pairs = [(t.target_tokens, t.branches) for t in draft.together]
            at_once = list(itertools.product(ONE.tokens, ONE.branches))
            assert pairs == (at_once if costs.placement == "at-once" else [])
            assert [cell.rows for cell in draft.burst] == (
                list(BURSTS) if costs.placement == "at-once" else []
            )
        assert all(seconds > 0 for cell in cells for seconds in cell.seconds)
        assert all(sum(cell.visits) == len(cell.seconds) for cell in cells)
        for model in (TARGET, *costs.drafts):
            telling = {STEP: step_of(costs, model), PROMPT: prompt_of(costs, model)}
            for key, cell in telling.items():
                assert cell is not None
                assert len(cell.seconds) + len(cell.excluded) >= 2 * OFTEN[key] * SAMPLES
        grid = {(cell.rows, cell.cache_tokens) for cell in costs.target}
        lines = set(itertools.product(TARGET_TOKENS, FORWARD_CONTEXTS))
        prompts = prompt_tokens([trace.prompt.tolist() for trace in artifact.traces])
        assert grid == lines | {(tokens, 0) for tokens in prompts}
        assert len(costs.hand_over) >= 1


def test_batches_are_timed_by_rows_sequences_and_context(artifact: Artifact) -> None:
    """Each cell says how many rows, sequences and cache tokens there are in all; both models at once, too."""

    def places(rows: Sequence[int]) -> set[tuple[int, int, int]]:
        crossed = itertools.product(rows, SEQUENCES, BATCHED_CONTEXTS)
        return {(n * texts, texts, context * texts) for n, texts, context in crossed}

    assert artifact.costs.has_batches
    for costs in artifact.costs.placements:
        drafts = costs.drafts.values()
        for cells, rows in (
            (costs.batched, BATCHED_TOKENS),
            *((d.batched, BATCHED_BRANCHES) for d in drafts),
        ):
            assert {(cell.rows, cell.sequences, cell.cache_tokens) for cell in cells} == places(rows)
            assert all(seconds > 0 for cell in cells for seconds in cell.seconds)
        for cells in (costs.chunked, *(draft.chunked for draft in drafts)):
            texts, each = TOGETHER
            alone = (texts * each, texts, texts * (each - 1))
            beside = [(tokens + texts - 1, texts, tokens - 1) for texts, tokens in CHUNKED]
            assert {(c.rows, c.sequences, c.unscored) for c in cells} == {alone, *beside}
            assert all(c.cache_tokens == c.sequences * BATCHED_CONTEXTS[0] for c in cells)
            assert all(seconds > 0 for cell in cells for seconds in cell.seconds)
        at_once = {
            (tokens * crossed.sequences, branches * crossed.sequences, crossed.sequences)
            for crossed in BATCHES
            for tokens, branches in itertools.product(crossed.tokens, crossed.branches)
        }
        for draft in drafts:
            found = {(t.target_tokens, t.branches, t.sequences) for t in draft.batched_together}
            assert found == (at_once if costs.placement == "at-once" else set())
            assert all(min(both) >= 1.0 for both in slow_downs(draft.batched_together))


def test_prompts_are_timed_at_their_own_lengths() -> None:
    assert prompt_tokens([[1] * n for n in (20, 100, 300)]) == (33, 100, 300)
    assert prompt_tokens([[1] * n for n in (100, 110)]) == (33, 105)
    assert prompt_tokens([[1] * 12]) == (33,)


def test_prompts_are_timed_on_both_sides_of_what_is_compiled() -> None:
    """Where some are longer than that and others are not."""
    assert on_both_sides((33, 100, 300), 128) == (33, 100, 128, 129, 300)
    assert on_both_sides((33, 128, 300), 128) == (33, 128, 129, 300)
    for most in (0, 18, 33, 290, 300, 512):
        assert on_both_sides((33, 100, 300), most) == (33, 100, 300)


@pytest.mark.parametrize(
    ("reach", "contexts"),
    [
        (Reach(300), (0, 384)),
        (Reach(400), (0, 400)),
        (Reach(700, prompt=700), (0, 384, 700)),
        (Reach(700, positions=500), (0, 384, 500 - ROOM)),
    ],
)
def test_costs_are_measured_as_far_as_is_wanted(
    pair: Pair, tmp_path: Path, reach: Reach, contexts: tuple[int, ...]
) -> None:
    """Every operation that grows with the context, of all models in every placement; other cells stay."""
    steps = journal.Journal(tmp_path, [])
    lengths = prompt_lengths(pair, [[1] * 40], reach)
    laps = CostLaps(pair, [1] * 40, lengths, LAPS, 0, steps, lambda what, done, total: None, False, reach)
    assert {plan.model for plan in laps.everything} == {TARGET, "rounded", "other"}
    branches = {32, *contexts[1:]}
    for plan in laps.everything:
        found: dict[str, set[int]] = {}
        for operation, _, context, _ in plan.keys:
            found.setdefault(operation, set()).add(context)
        wanted = {"forward": set(contexts), "draw": {0}}
        if plan.model != TARGET:
            wanted |= {"branch": branches, "fork": branches}
            wanted |= {"burst": {32}} if plan.placement == "at-once" else {}
        assert found == wanted
        assert (Key("forward", 700, 0) in plan.keys) is (reach.prompt == 700)


def test_the_pace_is_looked_at_between_laps(pair: Pair, tmp_path: Path) -> None:
    """Of each model in each placement; what was seen before an interruption is not timed again."""

    def look(steps: journal.Journal) -> list[Any]:
        laps = CostLaps(
            pair, [1] * 40, (33,), EFFORT.laps, 0, steps, lambda what, done, total: None, False, Reach(300)
        )
        laps.look()
        laps.look()
        for plan in laps.everything:
            assert sorted(visit.key for visit in plan.visits) == sorted([*BETWEEN] * 2)
            assert [visit.lap for visit in plan.visits] == [0] * len(BETWEEN) + [1] * len(BETWEEN)
        return [visit.seconds for plan in laps.everything for visit in plan.visits]

    first, again = journal.Journal(tmp_path, []), journal.Journal(tmp_path, [])
    assert look(first) == look(again)
    assert (first.resumed, again.resumed) == (0, 12)


def without_batches(costs: MeasuredCosts) -> MeasuredCosts:
    """As a calibration without '--batches' is."""
    placements = (
        placed.model_copy(
            update={
                "batched": (),
                "drafts": {
                    name: draft.model_copy(update={"batched": (), "batched_together": ()})
                    for name, draft in placed.drafts.items()
                },
            }
        )
        for placed in costs.placements
    )
    return costs.model_copy(update={"placements": tuple(placements)})


def test_a_calibration_is_told_from_what_is_asked_for(
    artifact: Artifact, pair: Pair, spec: ModelSpec
) -> None:
    asked = spec, pair.drafts, PROMPTS, EFFORT, 0
    assert artifact.costs.positions == 2048
    assert artifact.costs.longest_context == 384
    assert differences(artifact, *asked) == differences(artifact, *asked, context=384) == []
    assert differences(artifact, *asked, context=385) == ["contexts of up to 384 tokens"]
    alone = replace(artifact, costs=without_batches(artifact.costs))
    assert differences(alone, *asked) == ["no forwards of several sequences"]
    assert differences(alone, *asked[:3], replace(EFFORT, laps=LAPS), 0) == []
    assert differences(artifact, spec, {}, PROMPTS[:1], replace(EFFORT, name="other"), 1) == [
        "another pair",
        "other prompts",
        "effort 'tiny' (asked for: 'other')",
        "seed 0",
    ]


def test_a_text_longer_than_a_models_positions_is_refused_before_anything_runs(
    pair: Pair, spec: ModelSpec, tmp_path: Path
) -> None:
    long = Prompt("long", "test", "calibration", " ".join(f"w{3 + i % 40}" for i in range(2040)))
    with pytest.raises(ConfigurationError, match=r"'long' has \d+ tokens, .* 2048 positions of 'target'"):
        calibrate(pair, Tokenizer(spec), [*PROMPTS, long], EFFORT, tmp_path)
    with pytest.raises(ConfigurationError, match="--context 2049 is more than the 2048 positions"):
        calibrate(pair, Tokenizer(spec), PROMPTS, EFFORT, tmp_path, context=2049)
    assert not list(tmp_path.iterdir())


def test_paths_are_the_targets_own_text(artifact: Artifact, spec: ModelSpec) -> None:
    for prompt, record, trace in zip(PROMPTS, artifact.recorded.prompts, artifact.traces, strict=True):
        ids = Tokenizer(spec).encode(prompt.text)
        assert tuple(trace.path) == own_text(spec.source, ids, tokens=EFFORT.tokens, end=2)
        assert (record.tokens, record.path_tokens) == (len(ids), len(trace.path))


def test_traces_say_what_the_draft_does(artifact: Artifact, pair: Pair, spec: ModelSpec) -> None:
    """From every position, the recorded candidates and continuations are what the engine's draft job writes."""
    ids = Tokenizer(spec).encode(PROMPTS[0].text)
    trace = artifact.traces[0]
    seen = trace.drafts["other"]
    source = pair.drafts["other"].source
    path = trace.path.tolist()
    for position in range(len(path)):
        context = ids + path[:position]
        (first,) = own_text(source, context, tokens=1)
        assert first == seen.tokens[position, 0]
        if first == path[position]:
            assert np.isnan(seen.off_chances[position]).all()
        else:
            length = seen.off_tokens.shape[1]
            assert tuple(seen.off_tokens[position]) == own_text(source, [*context, first], tokens=length)
            assert ((seen.off_chances[position] > 0) & (seen.off_chances[position] <= 1)).all()
    best = seen.chances.argmax(axis=1)
    assert (best == 0).all()
    hit = seen.tokens[:, 0] == trace.path
    np.testing.assert_allclose(seen.true_chance[hit], seen.chances[hit, 0], rtol=1e-5)


def test_laps_lie_between_the_parts_of_the_texts(making: Making) -> None:
    assert stages(making.steps) == ORDER
    for stage in (TEXTS, ROUNDS):
        assert [step[1:] for step in making.steps if step[0] == stage] == [(1, 2), (2, 2)]


@given(st.integers(0, 100), st.integers(0, 20))
def test_parts_are_nearly_equal_and_in_order(count: int, wanted: int) -> None:
    found = parts(count, wanted)
    assert [place for part in found for place in part] == list(range(count))
    assert len(found) == max(1, min(count, wanted))
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_the_first_run_behind_other_work_is_warmed_up(
    pair: Pair, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each part, and where an interruption left the rest of one; what is resumed is not warmed up for."""
    lengths: list[int] = []

    def noted(*arguments: Any, max_tokens: int, **options: Any) -> Run:
        lengths.append(max_tokens)
        return generate(*arguments, max_tokens=max_tokens, **options)

    generate = pair.generate
    monkeypatch.setattr(pair, "generate", noted)
    steps = journal.Journal(tmp_path, [])
    params = [SamplingParams(GREEDY, 16), SamplingParams(Sampling(temperature=1.0), 12)]

    def write() -> list[int]:
        lengths.clear()
        author = Author(pair, Tokenizer(spec), steps, lambda what, done, total: None)
        for part in parts(2, 2):
            author.write(PROMPTS, part, params)
        return list(lengths)

    assert write() == [WARM_UP_TOKENS, 16, 12] * 2
    assert write() == []
    (drawn,) = steps.folder.glob(f"run.{PROMPTS[1].digest[:16]}*-sampled.json")
    drawn.unlink()
    assert write() == [WARM_UP_TOKENS, 12]


def test_an_interrupted_calibration_resumes(making: Making) -> None:
    """Whichever of its stretches it was interrupted in, it goes on from there, and measures nothing twice."""
    assert all(count > 0 for count in making.noted[: len(ORDER)])
    assert len(set(making.files)) == len(making.files)
    resumed = sum(making.noted[: len(ORDER)])
    assert f"{resumed} steps were resumed" in making.artifact.costs.notes[0]


def test_other_conditions_do_not_resume(pair: Pair, spec: ModelSpec, tmp_path: Path) -> None:
    """A calibration with another seed measures the step anew that an interrupted one has; the same one does not."""

    def begin(seed: int) -> list[Path]:
        with noting(interrupted_at=1) as noted, pytest.raises(Interrupted):
            calibrate(pair, Tokenizer(spec), PROMPTS[:1], EFFORT, tmp_path, seed=seed)
        return noted

    first, other, again = begin(0), begin(1), begin(0)
    assert [path.name for path in other] == [path.name for path in first]
    assert len({*first, *other, *again}) == 3


def test_sampled_texts_are_the_targets_own_draws(artifact: Artifact, pair: Pair, spec: ModelSpec) -> None:
    """With the calibration's seed the engine draws the recorded texts; each token's chance is the target's."""
    for prompt, trace in zip(PROMPTS, artifact.sampled, strict=True):
        sampling = Sampling(temperature=1.0, seed=artifact.recorded.seed).of_text(prompt.digest)
        ids = Tokenizer(spec).encode(prompt.text)
        run = pair.generate(
            Configuration(policy="autoregressive"), ids, max_tokens=12, end_tokens={2}, sampling=sampling
        )
        assert run.tokens == tuple(trace.path)
        np.testing.assert_allclose(
            trace.chances, chances_of(spec.source, ids, trace.path.tolist()), rtol=1e-4
        )
        for name in ("other", "rounded"):
            seen = trace.drafts[name]
            hit = seen.tokens[:, 0] == trace.path
            np.testing.assert_allclose(seen.true_chance[hit], seen.chances[hit, 0], rtol=1e-5)
            assert np.array_equal(trace.drawing[name].true_chance, seen.true_chance)
        assert trace.drawing.keys() == trace.drafts.keys()
    assert not any(trace.drawing for trace in artifact.traces)


def test_traces_say_what_a_drawing_draft_does(artifact: Artifact, pair: Pair, spec: ModelSpec) -> None:
    """Candidates, confidences and continuations along a drawn text are what the engine's draft job writes."""
    prompt, trace = PROMPTS[0], artifact.sampled[0]
    ids, path, seen = Tokenizer(spec).encode(prompt.text), trace.path.tolist(), trace.drawing["other"]
    sampling = Sampling(temperature=1.0, seed=artifact.recorded.seed).of_text(prompt.digest)
    _, player = pair.players("in-turn", "other")
    assert player is not None
    for position in range(len(path)):
        limits = DraftLimits(5, branches=3, adaptive=False, drawn=True)
        tokens, parents, confidences, _, steps, _ = player.worker.call(
            worker_process.draft,
            name="other",
            base=0,
            news=ids + path[:position],
            line=[],
            limits=astuple(limits),
            sampling=sampling.model_dump(),
        )
        assert steps == limits.length
        begun = Parents(parents).roots
        assert [tokens[node] for node in begun] == seen.tokens[position, :3].tolist()
        sure = [confidences[node] for node in begun]
        np.testing.assert_allclose(sure, seen.chances[position, :3], rtol=1e-4)
        if seen.tokens[position, 0] != path[position]:
            assert tokens[1:5] == seen.off_tokens[position, :4].tolist()
            np.testing.assert_allclose(confidences[1:5], seen.off_chances[position, :4], rtol=1e-4)


def test_costs_account_for_real_rounds(artifact: Artifact) -> None:
    """Each rehearsal is replayed round by round; how much of the time is explained depends on the machine."""
    found = explain(artifact)
    assert {f.configuration.policy for f in found} == {"speculative", "specbranch"}
    for one in found:
        assert (one.runs, one.unlike) == (2, 0)
        assert one.share.value > 0
        assert set(one.parts) == {"target", "draft", "neither"}


def test_the_pair_still_generates(artifact: Artifact, pair: Pair, spec: ModelSpec) -> None:
    """Measuring leaves no trace in the models' caches."""
    ids = Tokenizer(spec).encode(PROMPTS[1].text)
    run = pair.generate(
        Configuration(policy="specbranch", draft="rounded", branches=3), ids, max_tokens=16, end_tokens={2}
    )
    assert run.tokens == tuple(artifact.traces[1].path)
