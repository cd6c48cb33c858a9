"""Sampled text follows the target's own law, under every policy and with any draft; known-wrong rules do not.

Each case writes TEXTS texts and compares their counts with the exact law of all texts by a chi-square test. One
case in 1 / LEVEL would be refused by chance alone, were the seeds not fixed.
"""

from collections import Counter
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from table_pair import END, PROMPT, exact_law, players, tables

from engine import decoding
from engine.configuration import Configuration
from engine.policies.words import Draft
from engine.sampling import Sampling
from engine.session import generate

TEXTS, TOKENS, LEVEL = 4000, 3, 1e-4
WARM = Sampling(temperature=1.0)

POLICIES = [
    Configuration(policy="autoregressive"),
    Configuration(policy="prompt-lookup", draft_length=2),
    Configuration(policy="speculative", draft_length=2),
    Configuration(policy="speculative", draft_length=3, min_confidence=0.5),
    Configuration(policy="adaedl", draft_length=3, min_bound=0.5),
    Configuration(policy="pearl", draft_length=2),
    Configuration(policy="specbranch", draft_length=3, branches=2, adaptive_branches=False),
    Configuration(policy="specbranch", draft_length=3, branches=4, min_confidence=0.5),
    Configuration(policy="specbranch", draft_length=3, branches=3, min_confidence=0.5, hrad=True),
]
CASES = POLICIES + [c.model_copy(update={"draw_drafts": True}) for c in POLICIES[2:]]


def label(configuration: Configuration) -> str:
    return configuration.label() + (" drawn" if configuration.draw_drafts else "")


def chance_of_counts(
    configuration: Configuration, sampling: Sampling = WARM, kept: list[int] | None = None
) -> float:
    """The chi-square test's p-value of TEXTS texts against the exact law."""
    target, draft = tables(seed=7)
    rows = None if kept is None else torch.tensor(kept)
    seats = players(target, draft if rows is None else draft[..., rows], rows)
    counts: Counter[tuple[int, ...]] = Counter()
    for seed in range(TEXTS):
        run = generate(
            configuration,
            *seats,
            PROMPT,
            max_tokens=TOKENS,
            end_tokens={END},
            sampling=sampling.model_copy(update={"seed": seed}),
        )
        counts[run.tokens] += 1
    law = exact_law(target, sampling, TOKENS)
    assert set(counts) <= set(law), "a text that the target cannot write"
    # Texts too rare to be counted one by one are counted together.
    common = [text for text, chance in law.items() if chance * TEXTS >= 5.0]
    seen, expected = [counts[text] for text in common], [TEXTS * law[text] for text in common]
    if sum(expected) < TEXTS - 1e-6:
        seen.append(TEXTS - sum(seen))
        expected.append(TEXTS - sum(expected))
    return float(chisquare(seen, expected).pvalue)


@pytest.mark.parametrize("configuration", CASES, ids=label)
def test_text_follows_the_targets_law(configuration: Configuration) -> None:
    assert chance_of_counts(configuration) > LEVEL


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.6),
        Sampling(temperature=1.3, top_k=2),
        Sampling(temperature=1.0, top_p=0.7),
    ],
    ids=str,
)
@pytest.mark.parametrize("configuration", [CASES[9], CASES[-1]], ids=label)
def test_temperature_top_k_and_top_p_shape_the_law(configuration: Configuration, sampling: Sampling) -> None:
    assert chance_of_counts(configuration, sampling) > LEVEL


@pytest.mark.parametrize("configuration", [CASES[9], CASES[-1]], ids=label)
def test_a_draft_whose_head_lacks_tokens_changes_nothing(configuration: Configuration) -> None:
    assert chance_of_counts(configuration, kept=[0, 2, 3]) > LEVEL


def test_one_seed_writes_one_text_under_every_policy_with_deterministic_drafts() -> None:
    seats = players(*tables(seed=7))
    for seed in range(50):
        sampling = Sampling(temperature=1.0, seed=seed)
        texts = {generate(c, *seats, PROMPT, max_tokens=12, sampling=sampling).tokens for c in POLICIES}
        assert len(texts) == 1


@pytest.mark.parametrize("policy", ["speculative", "pearl", "specbranch"])
def test_p_over_q_with_a_deterministic_draft_is_caught(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_branches = decoding.write_branches

    def with_the_likeliest(*arguments: Any, **named: Any) -> Draft:
        """Take the most likely token, and tell the target that it was drawn."""
        with monkeypatch.context() as inside:
            inside.setattr("engine.decoding.draw", lambda chances, numbers: chances.argmax(dim=-1).tolist())
            return write_branches(*arguments, **named)

    monkeypatch.setattr(decoding, "write_branches", with_the_likeliest)
    configuration = Configuration(
        policy=policy, draft_length=3, branches=2, adaptive_branches=False, draw_drafts=True
    )
    assert chance_of_counts(configuration) < LEVEL


def test_stopping_before_an_unlikely_draw_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_by_its_own_chance(draft: Draft) -> Draft:
        (line,) = draft.branches
        kept = next((i for i, (chance, _) in enumerate(line.draws) if chance < 0.3), len(line))
        return Draft((line.until(kept),), draft.steps)

    right = decoding.write_branches
    monkeypatch.setattr(
        decoding, "write_branches", lambda *a, **named: cut_by_its_own_chance(right(*a, **named))
    )
    configuration = Configuration(policy="speculative", draft_length=3, draw_drafts=True)
    assert chance_of_counts(configuration) < LEVEL
