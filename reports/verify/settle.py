"""The settling test: whether the claims published of SpecBranch hold here, on one target and fixed drafts.

Each method runs at its own best predicted setting with a well and with a poorly aligned draft, by the machinery of
`reports.verify.run`; a claim is decided where the whole 95% interval of the measured figure is on one side of it.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from calibrate.artifact import Artifact
from calibrate.traces.acceptance_statistics import first_token_shares
from engine.configuration import Configuration
from engine.errors import CalibrationError
from engine.frozen_record import FrozenRecord
from engine.metrics import Estimate, between
from engine.naming import in_words, policy_name
from reports.verify.fidelity import paired_speed_up
from reports.verify.resampling import RESAMPLES, Draws, Floats, draw_prompts
from reports.verify.verification import Compared, Settling, Verification, find_baseline
from reports.wording import has_interval, interval, listing, number, percent, plural
from scenarios.what_if import WhatIf
from sim.acceptance.temperature import at_temperature
from sim.search.grid import Grid
from sim.search.tune import tune, whole_grid
from sim.search.tuned import TunedConfiguration

PUBLISHED = (1.8, 4.5)  # arXiv 2506.01979: speed-up over autoregressive decoding, over pairs and tasks
HALF = 0.5  # rollback tokens left, against the rivals, for poorly aligned pairs
RIVALS = ("speculative", "pearl")
USUAL = ("int8", "distilled")  # of the default pair: one well and one poorly aligned

ClaimOutcome = Literal["for", "against", "undecided"]


class Claim(FrozenRecord):
    """One published claim with one draft: a measured ratio, the range it is said to lie in, and what came of it."""

    claim: Literal["a", "b", "c"]
    draft: str
    configuration: str
    rival: str
    rival_policy: str
    quantity: str
    figure: Estimate
    least: float | None
    most: float | None
    outcome: ClaimOutcome
    sentence: str


class Settlement(FrozenRecord):
    """Every claim, and what they come to; `answers` has a sentence for each of the three published claims."""

    claims: tuple[Claim, ...]
    answers: tuple[str, ...]
    prompts: int
    resamples: int
    seed: int


def choose_drafts(artifact: Artifact) -> Settling:
    """The default pair's usual two drafts where it has them, else the best and the worst aligned ones.

    CalibrationError if the calibration has no draft.
    """
    shares = first_token_shares(artifact)
    if not shares:
        raise CalibrationError("the calibration holds no draft to put to the test; calibrate one.")
    names = USUAL if set(USUAL) <= set(shares) else tuple(shares)
    well, poor = max(names, key=lambda n: shares[n]), min(names, key=lambda n: shares[n])
    return Settling(well=well, poor=poor, alignment={name: shares[name] for name in (well, poor)})


def contestants(
    artifact: Artifact,
    calibration: Path,
    settling: Settling,
    seed: int = 0,
    grid: Grid | None = None,
    temperature: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> TunedConfiguration:
    """What is run: each method with each draft at its best predicted setting, autoregressive decoding everywhere.

    The fastest predicted one counts as chosen. `grid` narrows the settings that are searched, for the calibration's
    texts at a `temperature`. ConfigurationError if it has none of these.
    """
    what_if = WhatIf(temperature=temperature)
    policies = ("autoregressive", *RIVALS, "specbranch")
    searched = (grid or whole_grid(at_temperature(artifact, temperature))).model_copy(
        update={"policies": policies, "drafts": settling.drafts}
    )
    found = tune(artifact, searched, what_if=what_if, seed=seed, progress=progress)
    everything = [s.configuration for s in found.scored]
    methods = [
        next(c for c in everything if (c.policy, c.draft) == kind)
        for kind in itertools.product(policies[1:], settling.drafts)
    ]
    alone = [c for c in everything if c.policy == "autoregressive"]
    chosen = next(c for c in everything if c in {*methods, *alone})
    rest = tuple(c for c in (*alone, *methods) if c != chosen)
    return TunedConfiguration(
        calibration=calibration,
        calibration_digest=artifact.digest,
        what_if=what_if,
        seed=seed,
        searched=len(everything),
        advice=found.advice,
        chosen=chosen,
        baselines=rest,
    )


def settle(v: Verification, resamples: int = RESAMPLES) -> Settlement | None:
    """The claims, judged by a record; nothing if it is not one of the settling test."""
    if v.settling is None:
        return None
    draws = draw_prompts([p.kind for p in v.prompts], v.seed, resamples)
    claims = [claim for draft in v.settling.drafts for claim in _claims(v, v.settling, draft, draws)]
    claims.sort(key=lambda c: c.claim)
    return Settlement(
        claims=tuple(claims),
        answers=tuple(_answer(letter, [c for c in claims if c.claim == letter]) for letter in "abc"),
        prompts=len(v.prompts),
        resamples=resamples,
        seed=v.seed,
    )


def how_decided(found: Settlement) -> str:
    """How the comparisons were made, in two sentences."""
    return (
        "Each method ran at its own best predicted setting and placement. A comparison is decided where its whole 95% "
        f"interval ({found.resamples} paired resamples of {found.prompts} prompts, seed {found.seed}) is on one side."
    )


def published_range(claim: Claim) -> str:
    """Where a figure is said to lie."""
    if claim.least is not None and claim.most is not None:
        return f"{claim.least:g} to {claim.most:g}"
    return f"over {claim.least:g}" if claim.least is not None else f"at most {claim.most:g}"


def summary(found: Settlement) -> str:
    """How the claims fell, in a sentence."""
    counts = {o: sum(c.outcome == o for c in found.claims) for o in ("for", "against", "undecided")}
    parts = [f"{n or 'none'} {word}" for n, word in zip(counts.values(), _WORDS.values(), strict=True)]
    return f"Of {plural(len(found.claims), 'comparison')} with the published claims, {listing(parts)} here."


_WORDS: dict[ClaimOutcome, str] = {"for": "hold", "against": "do not hold", "undecided": "stay undecided"}
_STATED = {
    "a": f"a speed-up of {PUBLISHED[0]:g} to {PUBLISHED[1]:g} times over autoregressive decoding",
    "b": "SpecBranch is faster than PEARL and than standard speculative decoding",
    "c": "rollback is halved for a poorly aligned draft",
}


def fell(outcomes: Sequence[ClaimOutcome]) -> ClaimOutcome:
    """How a published claim falls by its comparisons: it holds if all do, and does not if one does not."""
    if "against" in outcomes:
        return "against"
    return "for" if set(outcomes) == {"for"} else "undecided"


def _answer(letter: str, claims: Sequence[Claim]) -> str:
    """A published claim, how it fell, and each comparison."""
    outcome = fell([c.outcome for c in claims])
    word = {"for": "holds here", "against": "does not hold here", "undecided": "stays undecided here"}[
        outcome
    ]
    return f"({letter}) {_STATED[letter]}: {word}; " + "; ".join(c.sentence for c in claims) + "."


def _claims(v: Verification, settling: Settling, draft: str, draws: Draws) -> list[Claim]:
    by_policy = {c.configuration.policy: c for c in v.compared if c.configuration.draft == draft}
    branched, baseline = by_policy["specbranch"], find_baseline(v.compared)
    where = f"with {draft} (right at {percent(settling.alignment[draft], 0)})"
    made = []

    def add(
        letter: Literal["a", "b", "c"],
        quantity: str,
        rival: Compared,
        figure: Estimate,
        least: float | None,
        most: float | None,
    ) -> None:
        outcome = decide(figure, least, most)
        made.append(
            Claim(
                claim=letter,
                draft=draft,
                configuration=in_words(branched.configuration),
                rival=in_words(rival.configuration),
                rival_policy=rival.configuration.policy,
                quantity=quantity,
                figure=figure,
                least=least,
                most=most,
                outcome=outcome,
                sentence=f"{where} the {quantity} {_name(rival.configuration)} at its best is "
                f"{number(figure.value, 2)} ({interval(figure, 2)}): {outcome}",
            )
        )

    if baseline:
        gain = paired_speed_up(branched, baseline, draws)
        add("a", "speed-up over", baseline, gain, *PUBLISHED)
    for policy in RIVALS:
        rival = by_policy[policy]
        add("b", "speed-up over", rival, paired_speed_up(branched, rival, draws), 1.0, None)
        if draft == settling.poor:
            tokens = _relative(branched, rival, draws, "emitted")
            rate = _relative(branched, rival, draws, "followed")
            add("c", "rollback tokens for each token of text, relative to", rival, tokens, None, HALF)
            add("c", "rollback rate, relative to", rival, rate, None, HALF)
    return made


def _name(configuration: Configuration) -> str:
    """A method in a sentence."""
    return {"autoregressive": "autoregressive decoding", "speculative": "standard speculative decoding"}.get(
        configuration.policy, policy_name(configuration.policy)
    )


def decide(figure: Estimate, least: float | None, most: float | None) -> ClaimOutcome:
    """For where the whole interval lies within the range, against where it lies outside."""
    if not has_interval(figure):
        return "undecided"
    low, high = least if least is not None else -np.inf, most if most is not None else np.inf
    if low <= figure.low and figure.high <= high:
        return "for"
    if figure.high < low or figure.low > high:
        return "against"
    return "undecided"


def _relative(one: Compared, rival: Compared, draws: Draws, per: Literal["emitted", "followed"]) -> Estimate:
    """Rollback tokens for each token emitted (or on the lines followed), as a multiple of the rival's.

    Without an interval where the rival rolled nothing back in some resample.
    """
    shares = []
    for c in (one, rival):
        rollback, below = (_sums(c, draws.prompts, kind) for kind in ("rollback", per))
        with np.errstate(divide="ignore", invalid="ignore"):
            shares.append((rollback.sum() / below.sum(), (draws @ rollback) / (draws @ below)))
    (mine, drawn), (theirs, others) = shares
    with np.errstate(divide="ignore", invalid="ignore"):
        return between(np.float64(mine) / theirs, drawn / others, draws.freedom)


def _sums(one: Compared, prompts: int, kind: str) -> Floats:
    """Tokens of a kind by prompt; those `followed` are all drafted but the hedge."""
    sums = np.zeros(prompts)
    for sample in one.samples:
        for r in sample.run.rounds:
            sums[sample.prompt] += r.drafted - r.hedge if kind == "followed" else getattr(r, kind)
    return sums
