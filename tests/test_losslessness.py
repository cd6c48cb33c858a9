"""Sampled text follows the target's own law, under every policy and with any draft; known-wrong rules do not.

Two steps show it. Decoding without a draft writes TEXTS texts, whose counts a chi-square test compares with the exact
law of all texts; it would refuse a right one in 1 of 1 / LEVEL cases by chance, were the seeds not fixed. And every
policy writes that very text for each seed, so that its law is the same. This second step sees more than counts do: a
rule that changes a share s of the texts escapes n of them with the chance (1 - s)^n, which for 1 in 100 is below LEVEL
with the SEEDS texts here. The counts of TEXTS texts have an even chance to show 1 in 20, where the change is spread
over all texts, and 1 in 300 at best, where it falls on the rarest one that is counted alone.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from table_pair import END, PROMPT, exact_law, players, tables

from engine.configuration import Configuration
from engine.models import decoding
from engine.models.cached_model import CachedModel
from engine.models.distributions import distribution, perturb
from engine.models.reader import Forwards
from engine.models.sampling import Sampling
from engine.policies.tree import TokenTree, first_nodes
from engine.runtime.session import generate

TEXTS, TOKENS, LEVEL = 4000, 3, 1e-4
SEEDS = range(1000)  # of the texts that every policy has to write
WARM = Sampling(temperature=1.0)
SHAPED = [
    Sampling(temperature=0.6),
    Sampling(temperature=1.3, top_k=2),
    Sampling(temperature=1.0, top_p=0.7),
]
ALONE = Configuration(policy="autoregressive")

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
    Configuration(policy="tree", draft_length=3, tree_nodes=7, rank_acceptance="0.5 0.2 0.1"),
    Configuration(policy="specbranch", draft_length=3, branches=3, min_confidence=0.5, hrad=True),
    Configuration(policy="length-by-load", lengths_by_load="1-:3", min_confidence=0.3),
    Configuration(policy="echo", draft_length=4, gates="1:0.4/2:0.2", tree_width=3),
]
CASES = POLICIES + [c.model_copy(update={"draw_drafts": True}) for c in POLICIES[2:]]


def label(configuration: Configuration) -> str:
    return configuration.label() + (" drawn" if configuration.draw_drafts else "")


Text = tuple[int, ...]


def texts(
    configuration: Configuration,
    seeds: Sequence[int],
    sampling: Sampling = WARM,
    kept: list[int] | None = None,
) -> list[Text]:
    """One text a seed; `kept` are the tokens that the draft's head has."""
    target, draft = tables(seed=7)
    rows = None if kept is None else torch.tensor(kept)
    seats = players(target, draft if rows is None else draft[..., rows], rows)
    return [
        generate(
            configuration,
            *seats,
            PROMPT,
            max_tokens=TOKENS,
            end_tokens={END},
            sampling=sampling.model_copy(update={"seed": seed}),
        ).tokens
        for seed in seeds
    ]


@cache
def own_texts(sampling: Sampling) -> list[Text]:
    """What the target writes without a draft, for the seeds from 0 to TEXTS."""
    return texts(ALONE, range(TEXTS), sampling)


def chance_of_counts(written: Sequence[Text], sampling: Sampling = WARM) -> float:
    """The chi-square test's p-value of texts against the exact law."""
    counts, total = Counter(written), len(written)
    law = exact_law(tables(seed=7)[0], sampling, TOKENS)
    assert set(counts) <= set(law), "a text that the target cannot write"
    # Texts too rare to be counted one by one are counted together.
    common = [text for text, chance in law.items() if chance * total >= 5.0]
    seen, expected = [counts[text] for text in common], [total * law[text] for text in common]
    if sum(expected) < total - 1e-6:
        seen.append(total - sum(seen))
        expected.append(total - sum(expected))
    return float(chisquare(seen, expected).pvalue)


@pytest.mark.parametrize("sampling", [WARM, *SHAPED], ids=str)
def test_the_targets_text_follows_its_law(sampling: Sampling) -> None:
    assert chance_of_counts(own_texts(sampling), sampling) > LEVEL


seeds_of_all = pytest.mark.parametrize(
    "seeds", [SEEDS, pytest.param(range(len(SEEDS), TEXTS), marks=pytest.mark.slow)], ids=str
)


def is_the_targets(
    configuration: Configuration, seeds: range, sampling: Sampling = WARM, kept: list[int] | None = None
) -> bool:
    return texts(configuration, seeds, sampling, kept) == own_texts(sampling)[seeds.start : seeds.stop]


@seeds_of_all
@pytest.mark.parametrize("configuration", CASES, ids=label)
def test_text_follows_the_targets_law(configuration: Configuration, seeds: range) -> None:
    assert is_the_targets(configuration, seeds)


@seeds_of_all
@pytest.mark.parametrize("sampling", SHAPED, ids=str)
@pytest.mark.parametrize("configuration", [CASES[len(POLICIES)], CASES[-1]], ids=label)
def test_temperature_top_k_and_top_p_shape_the_law(
    configuration: Configuration, sampling: Sampling, seeds: range
) -> None:
    assert is_the_targets(configuration, seeds, sampling)


@seeds_of_all
@pytest.mark.parametrize("configuration", [CASES[len(POLICIES)], CASES[-1]], ids=label)
def test_a_draft_whose_head_lacks_tokens_changes_nothing(configuration: Configuration, seeds: range) -> None:
    assert is_the_targets(configuration, seeds, kept=[0, 2, 3])


def test_one_seed_writes_one_text_under_every_policy() -> None:
    """Whatever the draft writes, and whether it draws or not."""
    seats = players(*tables(seed=7))
    for seed in range(50):
        sampling = Sampling(temperature=1.0, seed=seed)
        texts = {generate(c, *seats, PROMPT, max_tokens=12, sampling=sampling).tokens for c in CASES}
        assert len(texts) == 1


Accepted = tuple[tuple[int, ...], int]
Verify = Callable[..., Accepted]


def p_over_q(
    target: CachedModel, text: list[int], tree: TokenTree, sampling: Sampling, trusted: int
) -> Accepted:
    """Accept the draft's most likely token with chance min(1, p / q), as if it had been drawn."""
    line = tree.first_line
    logits = target.read((*target.rewind(text, trusted), *line), last=len(line) + 1)
    _, draft = tables(seed=7)
    chances, context = distribution(logits, sampling), [*text, *line]
    for index, token in enumerate(line):
        place = len(text) + index
        q = distribution(draft[context[place - 2], context[place - 1]][None], sampling)[0]
        luck = torch.rand(2, generator=torch.Generator().manual_seed(1000 * sampling.seed + place))
        if float(luck[0]) * float(q[token]) >= float(chances[index, token]):
            rest = (chances[index] - q).clamp_min(0.0).cumsum(dim=0)
            return first_nodes(index), int((rest <= luck[1] * rest[-1]).sum())
    return first_nodes(len(line)), int(perturb(logits[-1:], sampling, [len(text) + len(line)]).argmax())


def drawn_anew(
    target: CachedModel, text: list[int], tree: TokenTree, sampling: Sampling, trusted: int
) -> Accepted:
    """Where the draft's token is not the target's draw, draw once more."""
    path, token = right_verify(target, text, tree, sampling, trusted)
    accepted = len(path)
    if accepted == len(tree):
        return path, token
    other = sampling.model_copy(update={"seed": sampling.seed + TEXTS})
    (again,) = perturb(target.decoder.features[accepted][None], other, [len(text) + accepted]).argmax(dim=-1)
    return path, int(again)


def behind_the_first_choice(
    target: CachedModel, text: list[int], tree: TokenTree, sampling: Sampling, trusted: int
) -> Accepted:
    """Behind a second choice, what the target writes behind the first."""
    path, token = right_verify(target, text, tree, sampling, trusted)
    if not path or path[-1] == len(path) - 1:  # the line stands in front
        return path, token
    place = len(path)
    (wrong,) = perturb(target.decoder.features[place][None], sampling, [len(text) + place])
    return path, int(wrong.argmax())


right_rule = decoding.verify


def right_verify(target: CachedModel, *given: Any) -> Accepted:
    return target.compute(right_rule(target, *given))


WRONG = [(p_over_q, {}), (drawn_anew, {}), (behind_the_first_choice, {"second_under": 1.0})]


def break_rule(
    monkeypatch: pytest.MonkeyPatch, wrong: Verify, policy: str, help: dict[str, float]
) -> Configuration:
    """A configuration that has to do with a rule, which is wrong from now on."""

    def rule(*given: Any) -> Forwards[Accepted]:
        yield from ()
        return wrong(*given)

    monkeypatch.setattr(decoding, "verify", rule)
    fixed = {} if help else {"branches": 2, "adaptive_branches": False}
    return Configuration(policy=policy, draft_length=3, **fixed, **help)  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", ["speculative", "pearl", "specbranch"])
@pytest.mark.parametrize(("wrong", "help"), WRONG)
def test_known_wrong_rules_change_texts(
    policy: str, wrong: Verify, help: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many that as many as every policy has to write would miss one with a chance below LEVEL."""
    seeds = SEEDS[:300]
    own = own_texts(WARM)[: len(seeds)]
    written = texts(break_rule(monkeypatch, wrong, policy, help), seeds)
    changed = sum(a != b for a, b in zip(written, own, strict=True)) / len(seeds)
    assert (1.0 - changed) ** len(SEEDS) < LEVEL


@pytest.mark.parametrize(
    "policy",
    ["speculative", *(pytest.param(name, marks=pytest.mark.slow) for name in ("pearl", "specbranch"))],
)
@pytest.mark.parametrize(("wrong", "help"), WRONG)
def test_counts_catch_known_wrong_rules(
    policy: str, wrong: Verify, help: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = break_rule(monkeypatch, wrong, policy, help)
    assert chance_of_counts(texts(configuration, range(TEXTS))) < LEVEL
