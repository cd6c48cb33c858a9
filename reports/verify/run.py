"""Run the chosen configuration and its rivals on the real engine, and set what was predicted beside it. Torch-free.

A prediction has two parts: what the calibration says, and the machine's pace since, of which steps and short
prompts between the runs tell (`calibrate.costs.drift`). The runs themselves have no part in it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from calibrate.artifact import Artifact
from calibrate.costs.drift import Drift
from calibrate.costs.lengths import check_lengths, with_positions
from calibrate.hardware import hardware, model_digest, same_hardware, software
from calibrate.prompts import Prompt
from calibrate.provenance import outdated
from calibrate.revision import engine_revision
from calibrate.traces.observation import Text
from calibrate.traces.texts import WARM_UP_TOKENS
from engine.configuration import Configuration
from engine.errors import CalibrationError, ConfigurationError
from engine.metrics import measure, ratio_of_sums, speed, speed_up
from engine.models.sampling import Sampling
from engine.models.specs import TARGET
from engine.models.tokenizer import Tokenizer
from engine.record import Run
from engine.runtime.pair import Pair
from reports.verify import what_if_runs
from reports.verify.audit import TIES, Gaps, audit
from reports.verify.interleaved import Prompted, RunSchedule, run_interleaved
from reports.verify.looks import Looks, plan_looks
from reports.verify.plan import Plan
from reports.verify.steadiness import unsteady_note
from reports.verify.verification import Compared, Foretold, Sample, Side, Timeline, Verification
from reports.verify.watch import Watch
from scenarios.what_if import WhatIf
from sim.acceptance.temperature import at_temperature
from sim.search.tuned import TunedConfiguration
from sim.world.replay import Replay

CHANGE = 0.03  # of what depends on the machine alone, beyond which a reader is told of it


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
    return runs + what_if_runs.count_steps(artifact)


def is_verified(
    verification: Verification, tuned: TunedConfiguration, prompts: Sequence[Prompt], plan: Plan
) -> bool:
    """Whether a record is what `verify` would make again here, but for the clock."""
    return (
        verification.calibration_digest == tuned.calibration_digest
        and [(c.configuration, c.role) for c in verification.compared] == configurations(tuned)
        and _was_planned(verification, prompts, plan)
        and (verification.max_tokens, verification.repeats, verification.seed, verification.tolerance)
        == (plan.max_tokens, plan.repeats, plan.seed, plan.tolerance)
        and (verification.settling, verification.temperature) == (plan.settling, tuned.what_if.temperature)
        and verification.system == tuned.system
        and same_hardware(verification.hardware, hardware())
        and verification.engine_revision == engine_revision()
    )


def _was_planned(verification: Verification, prompts: Sequence[Prompt], plan: Plan) -> bool:
    """Whether a record is of these prompts, or of the first of them where its looks or its minutes ended it."""
    looks = verification.looks or Looks(planned=(len(verification.prompts),))
    run = [p.digest for p in verification.prompts]
    return (looks.planned, looks.minutes) == (plan_looks(len(prompts), plan.looks), plan.minutes) and run == [
        p.digest for p in prompts[: len(run)]
    ]


def longest_text(artifact: Artifact, tuned: TunedConfiguration) -> int:
    """How many tokens the calibration's texts have at most, of the kind that was tuned on."""
    return at_temperature(artifact, tuned.what_if.temperature).recorded.max_tokens


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
    weights are not its own; ConfigurationError for fewer than two prompts, which have no interval, for what was
    tuned for other hardware or longer texts than the calibration's, and for texts longer than a model has positions.
    """
    _check(artifact, tuned, prompts, plan)
    _check_models(pair, artifact)
    temperature = tuned.what_if.temperature
    chosen = configurations(tuned)
    ids = [tokenizer.encode(prompt.text) for prompt in prompts]
    check_lengths(
        with_positions(artifact.recorded.models),
        {prompt.id: len(tokens) for prompt, tokens in zip(prompts, ids, strict=True)},
        plan.max_tokens,
        "leave out long prompts (--own-prompts), or write less text with --max-tokens",
    )
    drawing = Sampling(temperature=temperature, seed=plan.seed)
    sampling = [drawing.of_text(prompt.digest) for prompt in prompts]
    # The forecast is made before the first run, and nothing of the runs has a part in it.
    then = at_temperature(artifact, temperature)
    # Shorter texts spend a larger share on the prompt, so a prediction is for texts of the same length.
    world = Replay(then, seed=plan.seed, tokens=plan.max_tokens)
    calibrated = {c: world.runs(c) for c, _ in chosen}
    for configuration, _ in chosen:
        pair.generate(configuration, ids[0], max_tokens=WARM_UP_TOKENS, sampling=sampling[0])
        advance("warming up")
    prompted = Prompted(ids, sampling, plan.max_tokens, tokenizer.end_tokens)
    watch = Watch(pair, artifact, prompts, ids, sampling, plan, temperature, calibrated)
    schedule = RunSchedule(
        watch.looks.planned, math.inf if plan.minutes is None else 60.0 * plan.minutes, watch.look
    )
    found = run_interleaved(
        pair, [c for c, _ in chosen], prompted, plan.repeats, plan.seed, advance, schedule
    )
    samples, looks = found.samples, watch.looks.model_copy(update={"ended": found.ended})
    pace, now, own, replayed = watch.pace, watch.now, watch.own, watch.replayed
    written = {(s.prompt, s.run.tokens) for mine in samples.values() for s in mine}
    tie = TIES[artifact.recorded.target.spec.precision]
    audited = {(p, text): audit(pair, ids[p], Text(list(text), sampling[p]), tie) for p, text in written}
    base, here = at_temperature(now, temperature), at_temperature(own, temperature)
    base_world, here_world = (
        Replay(base, seed=plan.seed, tokens=plan.max_tokens),
        Replay(here, seed=plan.seed),
    )
    predicted = {c: base_world.runs(c) for c, _ in chosen}
    compared = []
    for configuration, role in chosen:
        mine = _audited(samples[configuration], audited)
        gaps = [gap for sample in mine for _, gap in sample.gaps]
        compared.append(
            Compared(
                configuration=configuration,
                role=role,
                as_calibrated=speed(calibrated[configuration]),
                predicted=_side(configuration, predicted),
                replayed=ratio_of_sums(replayed[configuration].tokens, replayed[configuration].seconds),
                forecast=Foretold.of(calibrated[configuration]),
                replays=replayed[configuration],
                measured=_side(configuration, _runs(samples), [s.prompt for s in mine]),
                samples=mine,
                near_ties=sum(gap <= tie for gap in gaps),
                mismatches=sum(gap > tie for gap in gaps),
                far_context=base_world.is_far(configuration) or here_world.is_far(configuration),
            )
        )
    machine, measured = hardware(), artifact.costs
    notes = [*outdated(measured), *found.notes]
    notes += [*unsteady_note(found.reference, plan.tolerance), *_changed(pace)]
    notes += dict.fromkeys(
        note for c, _ in chosen for world in (base_world, here_world) for note in world.far_notes(c)
    )
    timeline = _shown([c for c, _ in chosen])
    verification = Verification(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        hardware=machine,
        software=software(),
        engine_revision=engine_revision(),
        models=_models(artifact),
        calibration=str(tuned.calibration),
        calibration_digest=artifact.digest,
        calibration_kinds=tuple(p.kind for p in then.recorded.prompts),
        other_hardware=not same_hardware(machine, measured.hardware),
        prompts=here.recorded.prompts,
        max_tokens=plan.max_tokens,
        repeats=plan.repeats,
        seed=plan.seed,
        temperature=temperature,
        system=tuned.system,
        tie=tie,
        tolerance=plan.tolerance,
        looks=looks,
        reference_seconds=tuple(found.reference),
        pace=pace,
        crowds=found.crowds,
        notes=tuple(notes),
        remarks=artifact.remarks,
        compared=tuple(compared),
        sweep=what_if_runs.sweep(base, plan.seed, advance),
        overheads=what_if_runs.overheads(here, [c for c, _ in chosen], plan.seed),
        sensitivities=what_if_runs.sensitivities(base, _subject(chosen, predicted), plan.seed),
        occupied=what_if_runs.occupied(artifact),
        timeline=Timeline(
            prompt=0,
            configuration=timeline,
            real=next(s.run for s in samples[timeline] if s.prompt == 0),
            simulated=here_world.runs(timeline)[0],
        ),
        settling=plan.settling,
    )
    return Verified(verification, own)


def _check(artifact: Artifact, tuned: TunedConfiguration, prompts: Sequence[Prompt], plan: Plan) -> None:
    """Whether what was tuned can be verified so, by an error if not."""
    if len(prompts) < 2:
        raise ConfigurationError("verifying needs two prompts or more, for an interval over prompts.")
    if artifact.digest != tuned.calibration_digest:
        raise CalibrationError(
            f"{tuned.calibration} is not the calibration that was tuned on; run 'specbranch tune --calibration "
            f"{tuned.calibration}' again."
        )
    if tuned.what_if != WhatIf(temperature=tuned.what_if.temperature):
        raise ConfigurationError(
            f"the configuration was tuned for what is not here ({tuned.what_if.label()}); run 'specbranch tune' "
            "without it."
        )
    longest = longest_text(artifact, tuned)
    if plan.max_tokens > longest:
        raise ConfigurationError(
            f"the calibration's texts have {longest} tokens at most, so it predicts none of {plan.max_tokens}: ask for "
            "fewer with --max-tokens, or calibrate with --full."
        )


def _audited(
    samples: Sequence[Sample], audited: Mapping[tuple[int, tuple[int, ...]], Gaps]
) -> tuple[Sample, ...]:
    """One configuration's samples with their gaps."""
    return tuple(s.model_copy(update={"gaps": audited[s.prompt, s.run.tokens]}) for s in samples)


def _shown(chosen: Sequence[Configuration]) -> Configuration:
    """Whose timeline is shown: SpecBranch's, if it is there."""
    return next((c for c in chosen if c.policy == "specbranch"), chosen[0])


def _subject(
    chosen: Sequence[tuple[Configuration, str]], predicted: dict[Configuration, list[Run]]
) -> Configuration:
    """Whose sensitivities are looked at: the chosen one if it drafts, else the fastest predicted that does."""
    first = chosen[0][0]
    drafting = [c for c, _ in chosen if c.drafts]
    return first if first.drafts or not drafting else max(drafting, key=lambda c: speed(predicted[c]).value)


def _fastest(baselines: Sequence[Sequence[Run]]) -> Sequence[Run]:
    return max(baselines, key=lambda runs: speed(runs).value)


def _changed(pace: Sequence[Drift]) -> list[str]:
    """A note where a model's step, or what forwards take beyond one, takes another time than when calibrated."""
    parts = {"a step takes": [(one, one.factor) for one in pace]}
    parts["further rows take"] = [(one, factor) for one in pace if (factor := one.rows_factor)]
    changed = []
    for what, factors in parts.items():
        those = [
            f"{one.model} {one.placement} {factor.value:.2f} times ({factor.low:.2f} to {factor.high:.2f})"
            for one, factor in factors
            if abs(factor.value - 1.0) > CHANGE
        ]
        if those:
            changed.append(f"{what} so many times as long, {', '.join(those)}")
    if not changed:
        return []
    return [
        f"the machine is not as it was calibrated: {'; '.join(changed)}; predictions are for this pace, which was "
        "timed between the runs"
    ]


def _check_models(pair: Pair, artifact: Artifact) -> None:
    records = artifact.recorded.models
    for name, spec in {TARGET: pair.target, **pair.drafts}.items():
        if name in records and spec.deepen != records[name].spec.deepen:
            raise CalibrationError(
                f"the calibration was made with '{name}' at another depth; run 'specbranch calibrate --again'."
            )
        if name in records and model_digest(spec) != records[name].sha256:
            raise CalibrationError(
                f"the calibration was made with other weights of '{name}'; run 'specbranch calibrate --again'."
            )


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


def _models(artifact: Artifact) -> dict[str, str]:
    records = artifact.recorded.models
    return {name: f"{record.spec.describe()}; sha256 {record.sha256}" for name, record in records.items()}
