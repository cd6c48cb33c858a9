"""Which texts are replayed, and that a replay at a temperature is the engine's."""

import pytest
from tiny_models import Calibrated, word_prompts

from engine.configuration import Configuration
from engine.errors import ConfigurationError
from engine.models.sampling import Sampling
from scenarios.what_if import WhatIf
from sim.acceptance.temperature import at_temperature
from sim.world.replay import Replay

PROMPTS = word_prompts("calibration")
SAMPLED = WhatIf(temperature=1.0)


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
        Configuration(policy="tree", draft_length=4, tree_nodes=12, rank_acceptance="0.4 0.2 0.15 0.1"),
    ],
    ids=lambda c: c.label(),
)
def test_a_replay_takes_the_engines_rounds(
    tiny_calibrated: Calibrated, configuration: Configuration, draw_drafts: bool
) -> None:
    """One seed is one text, so a replay of the drawn text is the engine's run, round by round."""
    pair, tokenizer, artifact = tiny_calibrated.pair, tiny_calibrated.tokenizer, tiny_calibrated.artifact
    configuration = configuration.model_copy(update={"draw_drafts": draw_drafts})
    for prompt, expected in zip(PROMPTS, Replay(artifact, SAMPLED).runs(configuration), strict=True):
        run = pair.generate(
            configuration,
            tokenizer.encode(prompt.text),
            max_tokens=artifact.recorded.sampled_tokens,
            end_tokens=tokenizer.end_tokens,
            sampling=Sampling(temperature=1.0).of_text(prompt.digest),
        )
        assert run.tokens == expected.tokens
        assert run.ending == expected.ending
        whole = len(run.rounds) - 1 - (configuration.draft_length > 0)
        assert run.rounds[:whole] == expected.rounds[:whole]
        assert [r.emitted for r in run.rounds] == [r.emitted for r in expected.rounds]


def test_greedy_texts_are_replayed_unless_asked(tiny_calibrated: Calibrated) -> None:
    artifact = tiny_calibrated.artifact
    assert at_temperature(artifact, 0.0) is artifact
    drawn = at_temperature(artifact, 1.0)
    assert drawn.traces == artifact.sampled
    assert at_temperature(drawn, 1.0) is drawn


def test_a_temperature_that_was_not_recorded_is_named(
    tiny_calibrated: Calibrated,
) -> None:
    with pytest.raises(ConfigurationError, match=r"temperature 0.7, but at 0 and 1"):
        at_temperature(tiny_calibrated.artifact, 0.7)
