"""Which texts are replayed, and that a replay at a temperature is the engine's."""

from collections.abc import Iterator

import pytest
from tiny_models import save_tiny

from calibrate.artifact import Artifact
from calibrate.costs import Laps
from calibrate.prompts import Prompt
from calibrate.run import Effort, calibrate
from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.models import ModelSpec
from engine.pair import Pair
from engine.sampling import Sampling
from engine.tokenizer import Tokenizer
from sim.replay import Replay
from sim.temperature import at_temperature
from sim.what_if import WhatIf

TOKENS = 40
EFFORT = Effort("tiny", 4, 24, Laps(1, seconds=0.0, together_seconds=0.05), sampled=TOKENS)
PROMPTS = tuple(Prompt(f"p{i}", "test", "calibration", f"w3 w{5 + i} w9 w{11 + i}") for i in range(4))
SAMPLED = WhatIf(temperature=1.0)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pair, Tokenizer, Artifact]]:
    target = ModelSpec(source=save_tiny(tmp_path_factory.mktemp("target"), 0), precision="float32")
    drafts = {"near": target.model_copy(update={"bits": 4})}
    tokenizer = Tokenizer(target)
    with Pair(target, drafts, cores=(0, 1)) as pair:
        yield (
            pair,
            tokenizer,
            calibrate(pair, tokenizer, PROMPTS, EFFORT, tmp_path_factory.mktemp("calibration")),
        )


@pytest.mark.parametrize("draw_drafts", [False, True])
@pytest.mark.parametrize(
    "configuration",
    [
        Configuration(policy="autoregressive"),
        Configuration(policy="speculative", draft_length=4),
        Configuration(policy="speculative", draft_length=6, min_confidence=0.3),
        Configuration(policy="adaedl", draft_length=6, min_bound=0.2),
        Configuration(policy="pearl", draft_length=3),
        Configuration(policy="specbranch", draft_length=4, branches=4, adaptive_branches=False),
    ],
    ids=lambda c: c.label(),
)
def test_a_replay_takes_the_engines_rounds(
    measured: tuple[Pair, Tokenizer, Artifact], configuration: Configuration, draw_drafts: bool
) -> None:
    """One seed is one text, so a replay of the drawn text is the engine's run, round by round."""
    pair, tokenizer, artifact = measured
    configuration = configuration.model_copy(update={"draw_drafts": draw_drafts})
    for prompt, expected in zip(PROMPTS, Replay(artifact, SAMPLED).runs(configuration), strict=True):
        run = pair.generate(
            configuration,
            tokenizer.encode(prompt.text),
            max_tokens=TOKENS,
            end_tokens=tokenizer.end_tokens,
            sampling=Sampling(temperature=1.0).of_text(prompt.digest),
        )
        assert run.tokens == expected.tokens
        assert run.ending == expected.ending
        whole = len(run.rounds) - 1 - (configuration.draft_length > 0)
        assert run.rounds[:whole] == expected.rounds[:whole]
        assert [r.emitted for r in run.rounds] == [r.emitted for r in expected.rounds]


def test_greedy_texts_are_replayed_unless_asked(measured: tuple[Pair, Tokenizer, Artifact]) -> None:
    artifact = measured[2]
    assert at_temperature(artifact, 0.0) is artifact
    drawn = at_temperature(artifact, 1.0)
    assert drawn.traces == artifact.sampled
    assert at_temperature(drawn, 1.0) is drawn


def test_a_temperature_that_was_not_recorded_is_named(
    measured: tuple[Pair, Tokenizer, Artifact],
) -> None:
    with pytest.raises(ConfigurationError, match=r"temperature 0.7, but at 0 and 1"):
        at_temperature(measured[2], 0.7)
