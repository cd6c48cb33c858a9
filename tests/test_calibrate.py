"""A calibration of a tiny pair: complete, resumable, and true to what the engine does."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_models import own_text, save_tiny

from calibrate.artifact import Artifact, load_artifact
from calibrate.prompts import Prompt
from calibrate.run import Effort, calibrate, count_steps, describe
from engine.configuration import Configuration
from engine.models import ModelSpec
from engine.pair import Pair
from engine.tokenizer import Tokenizer

EFFORT = Effort("tiny", prompts=2, tokens=16, passes=1, together_seconds=0.05)
PROMPTS = tuple(Prompt(f"p{i}", "test", "calibration", f"w3 w{5 + i} w9 w{11 + i}") for i in range(2))


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return ModelSpec(source=save_tiny(tmp_path_factory.mktemp("target"), seed=0), precision="float32")


@pytest.fixture(scope="module")
def pair(spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    other = ModelSpec(source=save_tiny(tmp_path_factory.mktemp("other"), seed=5), precision="float32")
    with Pair(spec, {"rounded": spec.model_copy(update={"bits": 4}), "other": other}, cores=(0, 1)) as pair:
        yield pair


@pytest.fixture(scope="module")
def artifact(pair: Pair, spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    out = tmp_path_factory.mktemp("calibration")
    steps: list[str] = []
    made = calibrate(pair, Tokenizer(spec), PROMPTS, EFFORT, out, advance=steps.append)
    assert len(steps) == count_steps(pair, EFFORT, PROMPTS)
    assert {path.name for path in out.iterdir()} == {"calibration.json", "traces.safetensors"}
    loaded = load_artifact(out)
    assert loaded.calibration.target == made.calibration.target
    assert "other" in "\n".join(describe(loaded))
    return loaded


def test_every_cell_has_positive_samples(artifact: Artifact) -> None:
    assert {c.placement for c in artifact.calibration.placements} == {"at-once", "in-turn"}
    for costs in artifact.calibration.placements:
        cells = [*costs.target]
        for draft in costs.drafts.values():
            cells += [*draft.forward, *draft.branch, *draft.fork]
            assert (draft.together is not None) == (costs.placement == "at-once")
        assert all(seconds > 0 for cell in cells for seconds in cell.seconds)
        grid = [(cell.tokens, cell.context) for cell in costs.target]
        tokens, contexts = ({g[i] for g in grid} for i in (0, 1))
        assert sorted(grid) == sorted(itertools.product(tokens, contexts))
        assert len(costs.hand_over) >= 1


def test_paths_are_the_targets_own_text(artifact: Artifact, spec: ModelSpec) -> None:
    for prompt, record, trace in zip(PROMPTS, artifact.calibration.prompts, artifact.traces, strict=True):
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


def test_an_interrupted_calibration_resumes(pair: Pair, spec: ModelSpec, tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    seen: list[str] = []

    def stop(what: str) -> None:
        seen.append(what)
        if what == "traces of rounded":
            raise Interrupted

    with pytest.raises(Interrupted):
        calibrate(pair, Tokenizer(spec), PROMPTS, EFFORT, tmp_path, advance=stop)
    assert not (tmp_path / "calibration.json").exists()
    again: list[str] = []
    artifact = calibrate(pair, Tokenizer(spec), PROMPTS, EFFORT, tmp_path, advance=again.append)
    # Costs are not measured again: what is left are the traces' steps.
    assert set(again) <= {"the target's text", "traces of rounded", "traces of other"}
    assert "resumed" in artifact.calibration.notes[0]
    assert load_artifact(tmp_path).calibration.notes == artifact.calibration.notes


def test_other_conditions_do_not_resume(pair: Pair, spec: ModelSpec, tmp_path: Path) -> None:
    calibrate(pair, Tokenizer(spec), PROMPTS[:1], EFFORT, tmp_path)
    artifact = calibrate(pair, Tokenizer(spec), PROMPTS[:1], EFFORT, tmp_path, seed=1)
    assert "resumed" not in artifact.calibration.notes[0]


def test_the_pair_still_generates(artifact: Artifact, pair: Pair, spec: ModelSpec) -> None:
    """Measuring leaves no trace in the models' caches."""
    ids = Tokenizer(spec).encode(PROMPTS[1].text)
    run = pair.generate(
        Configuration(policy="specbranch", draft="rounded", branches=3), ids, max_tokens=16, end_tokens={2}
    )
    assert run.tokens == tuple(artifact.traces[1].path)
