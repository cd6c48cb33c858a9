"""Run the chosen configuration and its rivals on the real engine, and set what was predicted beside it. Torch-free.

Every prompt meets every configuration in an order drawn anew for each prompt and repeat, so that a slow minute
of the machine falls on all of them alike.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import numpy as np

from calibrate import observation, operations
from calibrate.artifact import Artifact, PromptRecord, Trace
from calibrate.hardware import hardware, model_digest, same_hardware, software
from calibrate.hrad_examples import outlooks
from calibrate.observation import Text, as_trace, view
from calibrate.prompts import Prompt
from engine.configuration import Configuration
from engine.errors import CalibrationError, ConfigurationError
from engine.metrics import measure, speed, speed_up
from engine.models import TARGET
from engine.pair import Pair
from engine.record import Run
from engine.tokenizer import Tokenizer
from reports import suppositions
from reports.fidelity import unsteadiness
from reports.tolerance import Tolerance
from reports.verification import Compared, Sample, Settling, Side, Timeline, Verification
from scenarios.tuned import TunedConfiguration
from sim.replay import Replay

# The largest gap between the logits of the target's favourite and of an emitted token that counts as a numeric
# tie. bfloat16 logits near 20 lie 0.125 apart, and reading several tokens at once moves both by a few steps.
TIES = {"float32": 1e-3, "bfloat16": 0.5, "float16": 0.0625}
DRIFT = 0.03  # change of the reference operation since the calibration beyond which a note tells of it
REFERENCES = 7  # in a row before each generation, of which the median counts
STANDARD = Tolerance()
UNSTEADY = STANDARD.unsteadiness  # beyond which a note warns


@dataclass(frozen=True)
class Plan:
    """How much is run: tokens of text at most, repeats of every prompt, and the seed of the order and the intervals.

    `tolerance`: what will be called a good prediction, and too noisy a run. `settling`: the drafts on which the
    published claims are put to the test, if they are (`reports.settle`).
    """

    max_tokens: int
    repeats: int
    seed: int = 0
    tolerance: Tolerance = STANDARD
    settling: Settling | None = None


class Verified(NamedTuple):
    """A verification, and the replay of its own prompts that its `replayed` figures came from."""

    verification: Verification
    replay: Artifact


def configurations(tuned: TunedConfiguration) -> list[tuple[Configuration, str]]:
    """What is run and why, each once: the chosen one, the baselines at their best, and others for spread."""
    named = [(tuned.chosen, "chosen")]
    named += [(c, "baseline") for c in tuned.baselines] + [(c, "other") for c in tuned.others]
    seen: dict[Configuration, str] = {}
    for configuration, role in named:
        seen.setdefault(configuration, role)
    return list(seen.items())


def count_steps(artifact: Artifact, tuned: TunedConfiguration, prompts: Sequence[Prompt], plan: Plan) -> int:
    """How often `verify` will report an advance."""
    runs = len(configurations(tuned)) * (len(prompts) * plan.repeats + 1)
    return runs + suppositions.count_steps(artifact)


def is_verified(
    verification: Verification, tuned: TunedConfiguration, prompts: Sequence[Prompt], plan: Plan
) -> bool:
    """Whether a record is what `verify` would make again, but for the clock."""
    return (
        verification.calibration_digest == tuned.calibration_digest
        and [(c.configuration, c.role) for c in verification.compared] == configurations(tuned)
        and [p.digest for p in verification.prompts] == [p.digest for p in prompts]
        and (verification.max_tokens, verification.repeats, verification.seed, verification.tolerance)
        == (plan.max_tokens, plan.repeats, plan.seed, plan.tolerance)
        and verification.settling == plan.settling
    )


def verify(
    pair: Pair,
    tokenizer: Tokenizer,
    artifact: Artifact,
    tuned: TunedConfiguration,
    prompts: Sequence[Prompt],
    plan: Plan,
    advance: Callable[[str], None] = lambda what: None,
) -> Verified:
    """Measure every configuration on `prompts` and compare with what `artifact`, which was tuned on, predicts.

    `advance` hears what was just run. CalibrationError if the artifact is not the tuned one, or if the pair's
    weights are not its own; ConfigurationError for fewer than two prompts, which have no interval.
    """
    if len(prompts) < 2:
        raise ConfigurationError("verifying needs two prompts or more, for an interval over prompts.")
    if artifact.digest != tuned.calibration_digest:
        raise CalibrationError(
            f"{tuned.calibration} is not the calibration that was tuned on; run 'tune' again."
        )
    _check_models(pair, artifact)
    chosen = configurations(tuned)
    ids = [tokenizer.encode(prompt.text) for prompt in prompts]
    for configuration, _ in chosen:
        pair.generate(configuration, ids[0], max_tokens=8)
        advance("warming up")
    samples, reference, notes = _measure(pair, tokenizer, [c for c, _ in chosen], ids, plan, advance)
    traces = _observe(pair, ids, samples)
    here = _on_these_prompts(artifact, prompts, ids, traces, plan.max_tokens)
    # Shorter texts spend a larger share on the prompt, so a prediction is for texts of the same length.
    worlds = Replay(artifact, seed=plan.seed, tokens=plan.max_tokens), Replay(here, seed=plan.seed)
    predicted, replayed = ({c: world.runs(c) for c, _ in chosen} for world in worlds)
    gaps = _audit(pair, ids, samples)
    tie = TIES[artifact.calibration.target.spec.precision]
    compared = []
    for configuration, role in chosen:
        mine = [s.model_copy(update={"gaps": gaps[s.prompt, s.run.tokens]}) for s in samples[configuration]]
        below = [gap for s in mine for _, gap in s.gaps]
        compared.append(
            Compared(
                configuration=configuration,
                role=role,
                predicted=_side(configuration, predicted),
                replayed=speed(replayed[configuration]),
                measured=_side(configuration, _runs(samples), [s.prompt for s in mine]),
                samples=tuple(mine),
                near_ties=sum(gap <= tie for gap in below),
                mismatches=sum(gap > tie for gap in below),
            )
        )
    timeline = next((c for c, _ in chosen if c.policy == "specbranch"), chosen[0][0])
    machine = hardware()
    calibration = artifact.calibration
    spread = np.percentile(reference, [10, 90])
    if unsteadiness(reference) > plan.tolerance.unsteadiness:
        notes.append(
            f"the machine was unsteady: the reference operation took {spread[0] * 1e3:.1f} ms at the 10th and "
            f"{spread[1] * 1e3:.1f} ms at the 90th percentile"
        )
    notes += _drift(calibration.reference_seconds.get("in-turn", ()), reference)
    verification = Verification(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        hardware=machine,
        software=software(),
        models=_models(artifact),
        calibration=str(tuned.calibration),
        calibration_digest=artifact.digest,
        other_hardware=not same_hardware(machine, calibration.hardware),
        prompts=here.calibration.prompts,
        max_tokens=plan.max_tokens,
        repeats=plan.repeats,
        seed=plan.seed,
        tie=tie,
        tolerance=plan.tolerance,
        reference_seconds=tuple(reference),
        notes=tuple(notes),
        compared=tuple(compared),
        sweep=suppositions.sweep(artifact, plan.seed, advance),
        overheads=suppositions.overheads(here, [c for c, _ in chosen], plan.seed),
        sensitivities=suppositions.sensitivities(artifact, _subject(chosen, predicted), plan.seed),
        occupied=suppositions.occupied(artifact),
        timeline=Timeline(
            prompt=0,
            configuration=timeline,
            real=next(s.run for s in samples[timeline] if s.prompt == 0),
            simulated=replayed[timeline][0],
        ),
        settling=plan.settling,
    )
    return Verified(verification, here)


def _subject(
    chosen: Sequence[tuple[Configuration, str]], predicted: dict[Configuration, list[Run]]
) -> Configuration:
    """Whose sensitivities are looked at: the chosen one if it drafts, else the fastest predicted that does."""
    first = chosen[0][0]
    drafting = [c for c, _ in chosen if c.drafts]
    return first if first.drafts or not drafting else max(drafting, key=lambda c: speed(predicted[c]).value)


def _fastest(baselines: Sequence[Sequence[Run]]) -> Sequence[Run]:
    return max(baselines, key=lambda runs: speed(runs).value)


def _drift(then: Sequence[float], now: Sequence[float]) -> list[str]:
    """A note where the reference operation takes another time than it did when the machine was calibrated."""
    if not then:
        return []
    before, after = float(np.median(then)), float(np.median(now))
    if abs(after / before - 1.0) <= DRIFT:
        return []
    return [
        f"the machine was {abs(after / before - 1.0):.0%} {'slower' if after > before else 'faster'} than when it was "
        f"calibrated: the reference operation took {after * 1e3:.1f} ms (median of {len(now)}) against "
        f"{before * 1e3:.1f} ms (median of {len(then)}); predicted tokens/s do not know of it"
    ]


def _check_models(pair: Pair, artifact: Artifact) -> None:
    calibration = artifact.calibration
    records = {TARGET: calibration.target, **calibration.drafts}
    for name, spec in {TARGET: pair.target, **pair.drafts}.items():
        if name in records and model_digest(spec) != records[name].sha256:
            raise CalibrationError(
                f"the calibration was made with other weights of '{name}'; run 'specbranch calibrate --again'."
            )


def _measure(
    pair: Pair,
    tokenizer: Tokenizer,
    chosen: Sequence[Configuration],
    ids: Sequence[list[int]],
    plan: Plan,
    advance: Callable[[str], None],
) -> tuple[dict[Configuration, list[Sample]], list[float], list[str]]:
    rng = random.Random(plan.seed)
    samples: dict[Configuration, list[Sample]] = {configuration: [] for configuration in chosen}
    reference: list[float] = []
    notes: list[str] = []
    order = 0

    def write(configuration: Configuration, prompt: int) -> Run:
        ends = tokenizer.end_tokens
        return pair.generate(configuration, ids[prompt], max_tokens=plan.max_tokens, end_tokens=ends)

    for repeat in range(plan.repeats):
        for prompt in rng.sample(range(len(ids)), len(ids)):
            for configuration in rng.sample(chosen, len(chosen)):
                player, _ = pair.players("in-turn", None)
                reference.append(player.worker.call(operations.time_reference, repeats=REFERENCES))
                run = write(configuration, prompt)
                if run.warning:
                    # Fixed beforehand: a generation that lost its draft says nothing of the configuration, so
                    # it is run once more and told of.
                    notes.append(f"{configuration.label()}, prompt {prompt}: run again; {run.warning}")
                    run = write(configuration, prompt)
                samples[configuration].append(Sample(prompt=prompt, repeat=repeat, order=order, run=run))
                order += 1
                advance(configuration.label())
    for mine in samples.values():
        mine.sort(key=lambda sample: (sample.repeat, sample.prompt))
    return samples, reference, notes


def _runs(samples: dict[Configuration, list[Sample]]) -> dict[Configuration, list[Run]]:
    return {configuration: [s.run for s in mine] for configuration, mine in samples.items()}


def _side(
    configuration: Configuration,
    runs: dict[Configuration, list[Run]],
    texts: Sequence[int] | None = None,
) -> Side:
    baselines = {c.placement: mine for c, mine in runs.items() if not c.drafts}
    mine = runs[configuration]
    return Side(
        speed=speed(mine, texts),
        speed_up=speed_up(mine, baselines[configuration.placement], texts),
        best_speed_up=speed_up(mine, _fastest(list(baselines.values())), texts),
        metrics=measure(mine),
    )


def _observe(pair: Pair, ids: Sequence[list[int]], samples: dict[Configuration, list[Sample]]) -> list[Trace]:
    """How each draft sees the texts of this run, as a policy that drafts wrote them (see `calibrate.run`)."""
    drafting = [mine for c, mine in samples.items() if c.drafts]
    written = drafting[0] if drafting else next(iter(samples.values()))
    used = {name for c in samples if (name := c.draft_among(pair.drafts)) is not None}
    foreseeing = {
        name: partial(_outlooks, pair, name)
        for c in samples
        if c.hrad and (name := c.draft_among(pair.drafts)) is not None
    }
    traces = []
    for prompt, tokens in enumerate(ids):
        path = list(next(s.run.tokens for s in written if s.prompt == prompt))
        views = {}
        for name in used:
            _, player = pair.players("in-turn", name)
            assert player is not None
            (seen,) = view(player, tokens, [Text(path)])
            views[name] = as_trace(seen)
            if name in foreseeing:
                chances = foreseeing[name](tokens, path)
                views[name] = replace(views[name], foreseen=np.array(chances, dtype=np.float32))
        traces.append(Trace(np.array(tokens, dtype=np.int32), np.array(path, dtype=np.int32), views))
    return traces


def _outlooks(pair: Pair, draft: str, prompt: list[int], path: list[int]) -> list[list[float]]:
    """What the target's network foresees of a draft along a text."""
    target, _ = pair.players("in-turn", draft)
    pair.teach(target, draft)
    chances: list[list[float]] = target.worker.call(
        outlooks, name=target.model, draft=draft, prompt=prompt, path=path
    )
    return chances


def _on_these_prompts(
    artifact: Artifact,
    prompts: Sequence[Prompt],
    ids: Sequence[list[int]],
    traces: Sequence[Trace],
    max_tokens: int,
) -> Artifact:
    """The calibration's costs with these prompts' texts."""
    records = tuple(
        PromptRecord(id=p.id, kind=p.kind, digest=p.digest, tokens=len(tokens), path_tokens=len(trace.path))
        for p, tokens, trace in zip(prompts, ids, traces, strict=True)
    )
    update = {"prompts": records, "max_tokens": max_tokens, "rehearsals": (), "temperature": None}
    return Artifact(artifact.calibration.model_copy(update=update), tuple(traces))


def _audit(
    pair: Pair, ids: Sequence[list[int]], samples: dict[Configuration, list[Sample]]
) -> dict[tuple[int, tuple[int, ...]], tuple[tuple[int, float], ...]]:
    """For each distinct text, its tokens below the target's favourite: where, and by how much (see `Sample.gaps`)."""
    player, _ = pair.players("in-turn", None)
    texts = {(s.prompt, s.run.tokens) for mine in samples.values() for s in mine}

    def below(prompt: int, tokens: tuple[int, ...]) -> tuple[tuple[int, float], ...]:
        gaps = player.worker.call(observation.audit, name=TARGET, prompt=ids[prompt], tokens=list(tokens))
        return tuple((place, gap) for place, gap in enumerate(gaps) if gap > 0.0)

    return {(prompt, tokens): below(prompt, tokens) for prompt, tokens in texts}


def _models(artifact: Artifact) -> dict[str, str]:
    def described(name: str) -> str:
        record = artifact.calibration.target if name == TARGET else artifact.calibration.drafts[name]
        spec = record.spec
        parts = [spec.source, spec.precision, f"rounded to int{spec.bits}" if spec.bits else ""]
        parts += [f"pruned and distilled ({spec.distilled})" if spec.distilled else ""]
        return ", ".join(p for p in parts if p) + f"; sha256 {record.sha256}"

    return {name: described(name) for name in (TARGET, *artifact.calibration.drafts)}
