"""One calibration, from a pair to a folder: costs of every placement, and between their laps the target's texts."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from calibrate.artifact import HRAD_FOLDER, Artifact, save_artifact
from calibrate.cost_records import MeasuredCosts, Rehearsal
from calibrate.costs.lengths import check_context, check_lengths, vocabulary, with_positions, with_room
from calibrate.costs.measurement import (
    CostLaps,
    Measured,
    Reach,
    SamplingBudget,
    placements_of,
    prompt_lengths,
)
from calibrate.hardware import hardware, model_digest, software
from calibrate.journal import Journal
from calibrate.prompts import Prompt
from calibrate.provenance import others
from calibrate.records import ModelRecord
from calibrate.revision import engine_revision
from calibrate.trace_records import PromptRecord, RecordedTraces, Trace
from calibrate.traces.hrad_traces import predict_traces
from calibrate.traces.texts import Author, SamplingParams
from engine.configuration import Configuration
from engine.errors import CalibrationError
from engine.models.deepening import remarks
from engine.models.sampling import GREEDY, Sampling
from engine.models.specs import TARGET, ModelSpec
from engine.models.tokenizer import Tokenizer
from engine.progress import Show
from engine.runtime.pair import Pair

TEMPERATURE = 1.0  # of the sampled texts
BATCHES_TAKE = 1.6  # times as long for the laps
PROMPTS_BETWEEN = 4  # two looks at the machine's pace
REHEARSED = Configuration(policy="specbranch", draft_length=4, branches=4, placement="at-once")


@dataclass(frozen=True)
class Effort:
    """How much is measured: prompts, and tokens of text for each, greedy and `sampled`; laps over the costs.

    `rehearsals`: how many prompts are also answered with both models at once, to hold the costs against. `hrad`:
    whether H-RAD is trained and its predictions recorded; a dozen short texts are too few for it.
    """

    name: str
    prompts: int
    tokens: int
    laps: SamplingBudget
    sampled: int = 0
    rehearsals: int = 0
    hrad: bool = False


EFFORTS = {
    effort.name: effort
    for effort in (
        Effort(
            "quick", 12, 48, SamplingBudget(1, seconds=50.0, together_seconds=0.15), sampled=24, rehearsals=4
        ),
        Effort("default", 36, 96, SamplingBudget(3, seconds=150.0, together_seconds=0.2), 48, 8, hrad=True),
        Effort("full", 36, 192, SamplingBudget(8, seconds=1200.0, together_seconds=0.4), 192, 36, hrad=True),
    )
}
"""The efforts of `specbranch calibrate` by name: 'quick', 'default' and 'full'."""


def with_batches(effort: Effort) -> Effort:
    """The same, and forwards of several sequences are timed, too."""
    laps = effort.laps
    return replace(effort, laps=replace(laps, batches=True, seconds=BATCHES_TAKE * laps.seconds))


def differences(
    artifact: Artifact,
    target: ModelSpec,
    drafts: Mapping[str, ModelSpec],
    prompts: Sequence[Prompt],
    effort: Effort,
    seed: int,
    context: int = 0,
) -> list[str]:
    """What an artifact is of that `calibrate` would not measure here: in words that follow "a calibration of".

    Nothing if it is what would be measured again, or reaches farther.
    """
    costs, recorded = artifact.costs, artifact.recorded
    found = list(dict.fromkeys([*others(costs, target, drafts), *others(recorded, target, drafts)]))
    if artifact.of_two:
        found.append("costs and traces that were not measured together")
    if [p.digest for p in recorded.prompts] != [p.digest for p in prompts]:
        found.append("other prompts")
    if costs.effort != effort.name:
        found.append(f"effort '{costs.effort}' (asked for: '{effort.name}')")
    if effort.laps.batches and not costs.has_batches:
        found.append("no forwards of several sequences")
    if recorded.seed != seed:
        found.append(f"seed {recorded.seed}")
    if costs.longest_context < with_room(context, costs.positions):
        found.append(f"contexts of up to {costs.longest_context} tokens")
    return found


def calibrate(
    pair: Pair,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    effort: Effort,
    out: Path,
    *,
    seed: int = 0,
    context: int = 0,
    show: Show = lambda what, done, total: None,
) -> Artifact:
    """Measure `pair`, write the folder `out` and return what it holds; resumes what was interrupted.

    Costs are measured behind contexts as long as the longest of `prompts` with its text, or `context` tokens if that is
    more. `show` hears of every step: what, how much of its stage is done, of how much. Raises WorkerLost if a worker
    dies, CalibrationError if the folder cannot be written, and before anything runs ConfigurationError where a text has
    more tokens than a model has positions.
    """
    models = {TARGET: pair.target, **pair.drafts}
    records = with_positions(
        {
            name: ModelRecord(spec=spec, sha256=model_digest(spec), vocabulary=vocabulary(spec))
            for name, spec in models.items()
        }
    )
    ids = [tokenizer.encode(prompt.text) for prompt in prompts]
    reach = _reach(prompts, ids, effort, records, context)
    machine, packages = hardware(), software()
    conditions = [
        machine,
        packages,
        engine_revision(),
        asdict(effort),
        asdict(reach),
        seed,
        list(pair.cores),
        {name: record.model_dump(mode="json") for name, record in records.items()},
        [(p.id, p.digest) for p in prompts],
    ]
    journal = Journal(out, conditions)
    costs, written, rehearsals = _measure(pair, tokenizer, prompts, ids, effort, reach, seed, journal, show)
    if effort.hrad:
        total, done = len(prompts) + len(pair.drafts), itertools.count(1)
        written = predict_traces(
            pair, written, out / HRAD_FOLDER, seed, lambda what: show(f"H-RAD: {what}", next(done), total)
        )
    traces, sampled = written[0], written[1] if effort.sampled else []
    notes = (
        [f"{journal.resumed} steps were resumed from an interrupted calibration"] if journal.resumed else []
    )
    origin: dict[str, Any] = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": machine,
        "software": packages,
        "engine_revision": engine_revision(),
        "effort": effort.name,
        "seed": seed,
        "target": records.pop(TARGET),
        "drafts": records,
        "remarks": remarks(pair.target),
    }
    measured = MeasuredCosts(
        **origin,
        placements=costs.placements,
        reference_seconds=costs.reference,
        rehearsals=tuple(rehearsals),
        notes=(*notes, *costs.notes),
    )
    recorded = RecordedTraces(
        **origin,
        prompts=tuple(
            PromptRecord(
                id=prompt.id,
                kind=prompt.kind,
                digest=prompt.digest,
                tokens=len(trace.prompt),
                path_tokens=len(trace.path),
            )
            for prompt, trace in zip(prompts, traces, strict=True)
        ),
        max_tokens=effort.tokens,
        temperature=TEMPERATURE if sampled else None,
        sampled_tokens=effort.sampled,
    )
    artifact = Artifact(measured, recorded, tuple(traces), tuple(sampled))
    try:
        saved = save_artifact(out, artifact)
    except OSError as error:
        raise CalibrationError(
            f"the calibration cannot be written to {out} ({error.strerror}); what was measured is kept: make room and "
            "run the same command again."
        ) from error
    journal.clear()
    return saved


def _reach(
    prompts: Sequence[Prompt],
    ids: Sequence[Sequence[int]],
    effort: Effort,
    records: Mapping[str, ModelRecord],
    context: int,
) -> Reach:
    """How far costs have to be measured. ConfigurationError if models do not reach so far."""
    check_context(records, context)
    tokens = max(effort.tokens, effort.sampled)
    lengths = {prompt.id: len(tokens) for prompt, tokens in zip(prompts, ids, strict=True)}
    check_lengths(
        records, lengths, tokens, "leave out long prompts (--own-prompts), or calibrate with --quick"
    )
    positions = min((r.positions for r in records.values() if r.positions is not None), default=None)
    return Reach(max(max(lengths.values()) + tokens, context), context, positions)


def _measure(
    pair: Pair,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    ids: Sequence[Sequence[int]],
    effort: Effort,
    reach: Reach,
    seed: int,
    journal: Journal,
    show: Show,
) -> tuple[Measured, list[list[Trace]], list[Rehearsal]]:
    """The costs, for each of `params` a trace of each prompt, and real runs.

    A machine's speed changes over minutes. So the laps over the costs are spread over all of this, with the texts
    between the fewest of them and a look at the pace between some of the texts: costs then describe the time that the
    real runs are from, and no stretch of it.
    """
    costs = CostLaps(
        pair,
        ids[0],
        prompt_lengths(pair, ids, reach),
        effort.laps,
        seed,
        journal,
        show,
        effort.hrad,
        reach,
    )
    author = Author(pair, tokenizer, journal, show)
    params = [SamplingParams(GREEDY, effort.tokens)]
    if effort.sampled:
        params.append(SamplingParams(Sampling(temperature=TEMPERATURE, seed=seed), effort.sampled))
    written: list[list[Trace]] = [[] for _ in params]
    rehearsals = []
    for part in parts(len(prompts), effort.laps.fewest - 1):
        costs.run_next()
        for some in parts(len(part), len(part) // PROMPTS_BETWEEN):
            if some.start:
                costs.look()
            traces, runs = author.write(prompts, part[some.start : some.stop], params)
            for mine, more in zip(written, traces, strict=True):
                mine += more
            rehearsals += runs
    if "at-once" in placements_of(pair):
        rehearsals += author.rehearse(prompts[: effort.rehearsals], effort.tokens, REHEARSED)
    return costs.finish(), written, rehearsals


def parts(count: int, wanted: int) -> list[range]:
    """The places of `count` things in `wanted` parts, one after the other and nearly equal, none of them empty."""
    wanted = max(1, min(count, wanted))
    return [range(count * i // wanted, count * (i + 1) // wanted) for i in range(wanted)]
