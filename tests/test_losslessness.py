"""Sampled text follows the target's own law, under every policy and with any draft; known-wrong rules do not.

Each case writes TEXTS texts and compares their counts with the exact law of all texts by a chi-square test. One
case in 1 / LEVEL would be refused by chance alone, were the seeds not fixed.
"""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from scipy.stats import chisquare
from table_pair import END, PROMPT, exact_law, players, tables

from engine import decoding
from engine.cached_model import CachedModel
from engine.configuration import Configuration
from engine.distributions import distribution, perturb
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
    Configuration(policy="specbranch", draft_length=3, branches=2, redraft=True),
    Configuration(policy="speculative", draft_length=3, guesses=2, repeats=2),
    Configuration(policy="specbranch", draft_length=3, branches=2, redraft=True, guesses=2, repeats=2),
    Configuration(policy="speculative", draft_length=3, second_under=0.9),
    Configuration(policy="specbranch", draft_length=3, branches=2, redraft=True, repeats=2, second_under=1.0),
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
@pytest.mark.parametrize("configuration", [CASES[len(POLICIES)], CASES[-1]], ids=label)
def test_temperature_top_k_and_top_p_shape_the_law(configuration: Configuration, sampling: Sampling) -> None:
    assert chance_of_counts(configuration, sampling) > LEVEL


@pytest.mark.parametrize("configuration", [CASES[len(POLICIES)], CASES[-1]], ids=label)
def test_a_draft_whose_head_lacks_tokens_changes_nothing(configuration: Configuration) -> None:
    assert chance_of_counts(configuration, kept=[0, 2, 3]) > LEVEL


def test_one_seed_writes_one_text_under_every_policy() -> None:
    """Whatever the draft writes, and whether it draws or not."""
    seats = players(*tables(seed=7))
    for seed in range(50):
        sampling = Sampling(temperature=1.0, seed=seed)
        texts = {generate(c, *seats, PROMPT, max_tokens=12, sampling=sampling).tokens for c in CASES}
        assert len(texts) == 1


Verdict = tuple[int, int, int | None]
Seconds = list[tuple[int, int]]
Verify = Callable[..., Verdict]


def p_over_q(
    target: CachedModel, text: list[int], line: list[int], sampling: Sampling, trusted: int, seconds: Seconds
) -> Verdict:
    """Accept the draft's most likely token with chance min(1, p / q), as if it had been drawn."""
    logits = target.read((*target.rewind(text, trusted), *line), last=len(line) + 1)
    _, draft = tables(seed=7)
    chances, context = distribution(logits, sampling), [*text, *line]
    for index, token in enumerate(line):
        place = len(text) + index
        q = distribution(draft[context[place - 2], context[place - 1]][None], sampling)[0]
        luck = torch.rand(2, generator=torch.Generator().manual_seed(1000 * sampling.seed + place))
        if float(luck[0]) * float(q[token]) >= float(chances[index, token]):
            rest = (chances[index] - q).clamp_min(0.0).cumsum(dim=0)
            return index, int((rest <= luck[1] * rest[-1]).sum()), None
    return len(line), int(perturb(logits[-1:], sampling, [len(text) + len(line)]).argmax()), None


def drawn_anew(
    target: CachedModel, text: list[int], line: list[int], sampling: Sampling, trusted: int, seconds: Seconds
) -> Verdict:
    """Where the draft's token is not the target's draw, draw once more."""
    accepted, token, _ = right_verify(target, text, line, sampling, trusted)
    if accepted == len(line):
        return accepted, token, None
    other = sampling.model_copy(update={"seed": sampling.seed + TEXTS})
    (again,) = perturb(target.decoder.features[accepted][None], other, [len(text) + accepted]).argmax(dim=-1)
    return accepted, int(again), None


def behind_the_first_choice(
    target: CachedModel, text: list[int], line: list[int], sampling: Sampling, trusted: int, seconds: Seconds
) -> Verdict:
    """Behind a second choice, what the target writes behind the first."""
    accepted, token, further = right_verify(target, text, line, sampling, trusted, seconds)
    if further is None:
        return accepted, token, None
    (wrong,) = perturb(target.decoder.features[accepted + 1][None], sampling, [len(text) + accepted + 1])
    return accepted, token, int(wrong.argmax())


right_verify = decoding.verify


@pytest.mark.parametrize("policy", ["speculative", "pearl", "specbranch"])
@pytest.mark.parametrize("wrong", [p_over_q, drawn_anew])
def test_known_wrong_rules_are_caught(policy: str, wrong: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "verify", wrong)
    configuration = Configuration(policy=policy, draft_length=3, branches=2, adaptive_branches=False)
    assert chance_of_counts(configuration) < LEVEL


@pytest.mark.parametrize("policy", ["speculative", "pearl", "specbranch"])
def test_a_wrong_place_behind_a_second_choice_is_caught(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "verify", behind_the_first_choice)
    configuration = Configuration(policy=policy, draft_length=3, second_under=1.0)
    assert chance_of_counts(configuration) < LEVEL
