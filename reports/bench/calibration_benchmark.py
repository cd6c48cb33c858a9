"""Whether a calibration can be trusted: repeated at once, held against real rounds, and repeated under load.

Each calibration starts its own workers, so that what changes from one start to the next is part of the difference.
"""

import math
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median

import numpy as np

from calibrate.artifact import Artifact, load_artifact
from calibrate.cost_records import DRAFT_CELLS, STEP, TARGET_CELLS, Cell, MeasuredCosts, step_of
from calibrate.costs.drift import Drift, PlacedModel, Timing, drifts, share_of_step
from calibrate.intervals import difference_half_width, visits_of
from calibrate.prompts import Prompt
from calibrate.run import Effort, calibrate
from engine.frozen_record import FrozenRecord
from engine.metrics import Estimate
from engine.models.specs import TARGET, ModelSpec
from engine.naming import in_words
from engine.progress import Show
from engine.runtime.pair import open_pair
from engine.runtime.placement import Placement
from reports.wording import sentence
from sim.world.explained import Explained, explain

PROMPTS, TOKENS = 12, 64  # of a few hundred real rounds for each of two policies
LOAD_SECONDS = 2.0  # that the load works, and then rests
CALIBRATIONS = ("first", "second", "under load")


class Difference(FrozenRecord):
    """A cell in two calibrations: means over visits in seconds, and half of the 95% interval of their difference.

    `longer`: by how many seconds the model's step has it take longer in the second one, and the interval of that; not
    of the step itself.
    """

    placement: Placement
    model: str
    operation: str
    tokens: int
    context: int
    first: float
    second: float
    half: float
    longer: Estimate | None = None

    @property
    def share(self) -> float:
        """Signed, of the first."""
        return self.second / self.first - 1.0

    @property
    def covered(self) -> bool:
        """Whether the interval of the difference holds 0."""
        return abs(self.second - self.first) <= self.half

    @property
    def at_one_pace(self) -> "Difference | None":
        """What is left where the first is taken at the second's pace, whose own interval widens the difference's."""
        if self.longer is None:
            return None
        known = self.longer.high - self.longer.value
        update = {
            "first": self.first + self.longer.value,
            "half": math.hypot(self.half, known),
            "longer": None,
        }
        return self.model_copy(update=update)


class Noise(FrozenRecord):
    """How steady one calibration found the machine.

    `reference`: 5th, 50th and 95th percentile of the reference operation, seconds, by placement; `excluded`
    samples of all `samples`.
    """

    seconds: float
    samples: int
    excluded: int
    reference: dict[str, tuple[float, float, float]]
    notes: tuple[str, ...]


class CalibrationBenchmark(FrozenRecord):
    """Three calibrations: the differences of the second and of the third, made under load, from the first."""

    hardware: dict[str, str]
    software: dict[str, str]
    effort: str
    remarks: tuple[str, ...] = ()  # of the target; they go with every figure (`engine.models.deepening`)
    noise: dict[str, Noise]
    explained: dict[str, tuple[Explained, ...]]
    again: tuple[Difference, ...]
    loaded: tuple[Difference, ...]


def with_few_texts(effort: Effort) -> Effort:
    """Costs as well known as by an effort, on no more texts than real rounds are wanted of."""
    prompts, tokens = min(effort.prompts, PROMPTS), min(effort.tokens, TOKENS)
    return replace(
        effort,
        name=f"{effort.name}, {prompts} texts",
        prompts=prompts,
        tokens=tokens,
        sampled=0,
        rehearsals=prompts,
        hrad=False,
    )


def benchmark_calibration(
    target: ModelSpec,
    drafts: Mapping[str, ModelSpec],
    prompts: Sequence[Prompt],
    effort: Effort,
    folder: Path,
    show: Show,
) -> CalibrationBenchmark:
    """Calibrate three times into folders under `folder`, the last time beside a process that computes by fits."""
    made: dict[str, Artifact] = {}
    noise = {}
    for name in CALIBRATIONS:
        out = folder / name.replace(" ", "-")
        began = time.monotonic()
        with open_pair(target, drafts) as (pair, tokenizer):
            if name == "under load":
                with load():
                    calibrate(pair, tokenizer, prompts, effort, out, show=_named(name, show))
            else:
                calibrate(pair, tokenizer, prompts, effort, out, show=_named(name, show))
        made[name] = load_artifact(out)
        noise[name] = noise_of(made[name].costs, time.monotonic() - began)
    first, second, third = (made[name] for name in CALIBRATIONS)
    return CalibrationBenchmark(
        hardware=first.costs.hardware,
        software=first.costs.software,
        effort=effort.name,
        remarks=first.costs.remarks,
        noise=noise,
        explained={name: tuple(explain(artifact)) for name, artifact in made.items()},
        again=tuple(differences(first.costs, second.costs)),
        loaded=tuple(differences(first.costs, third.costs)),
    )


def _named(name: str, show: Show) -> Show:
    return lambda what, done, total: show(f"{name}, {what}", done, total)


@contextmanager
def load() -> Iterator[None]:
    """Another process that computes on one core for a while, rests as long, and so on."""
    process = multiprocessing.get_context("spawn").Process(target=compute_by_fits, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def compute_by_fits() -> None:
    """Runs until it is ended."""
    rng = np.random.default_rng(0)
    numbers = rng.random(1 << 20)
    while True:
        until = time.monotonic() + LOAD_SECONDS
        while time.monotonic() < until:
            np.sort(numbers)
        time.sleep(LOAD_SECONDS)


def cells_of(costs: MeasuredCosts) -> Iterator[tuple[tuple[Placement, str, str], Cell]]:
    """Every cell with its placement, model and operation."""
    for placed in costs.placements:
        for operation in TARGET_CELLS:
            name = "forward" if operation == "target" else operation
            yield from (((placed.placement, TARGET, name), cell) for cell in getattr(placed, operation))
        for draft, mine in placed.drafts.items():
            for operation in DRAFT_CELLS:
                yield from (((placed.placement, draft, operation), cell) for cell in getattr(mine, operation))


def differences(first: MeasuredCosts, second: MeasuredCosts) -> Iterator[Difference]:
    """Of the cells that both calibrations have."""
    paced = {(p.placement, p.model): p for p in drifts(first, _steps(second))}
    theirs = {(key, cell.rows, cell.sequences, cell.cache_tokens): cell for key, cell in cells_of(second)}
    for key, mine in cells_of(first):
        other = theirs.get((key, mine.rows, mine.sequences, mine.cache_tokens))
        if other is None:
            continue
        visits = visits_of(mine), visits_of(other)
        before, after = (fmean(fmean(samples) for samples in some) for some in visits)
        yield Difference(
            placement=key[0],
            model=key[1],
            operation=key[2],
            tokens=mine.rows,
            context=mine.cache_tokens,
            first=before,
            second=after,
            half=difference_half_width(*visits),
            longer=None
            if (key[2], mine.rows, mine.cache_tokens, mine.sequences) == STEP or key[:2] not in paced
            else _longer(paced[key[:2]], key[2], mine.rows, before),
        )


def _longer(pace: Drift, operation: str, tokens: int, seconds: float) -> Estimate:
    """What an operation takes longer at a pace."""
    moved, factor = pace.step * share_of_step(operation, tokens, seconds, pace.step), pace.factor
    return Estimate(*(moved * (times - 1.0) for times in (factor.value, factor.low, factor.high)))


def _steps(costs: MeasuredCosts) -> dict[PlacedModel, list[Timing]]:
    """What tells the pace of a calibration: each model's steps, in the mean over each visit."""
    return {
        (placed.placement, model): [Timing(fmean(samples)) for samples in visits_of(step_of(placed, model))]
        for placed in costs.placements
        for model in (TARGET, *placed.drafts)
    }


def noise_of(costs: MeasuredCosts, seconds: float) -> Noise:
    """What a calibration of so many seconds tells of the machine."""
    cells = [cell for _, cell in cells_of(costs)]
    return Noise(
        seconds=seconds,
        samples=sum(len(cell.seconds) + len(cell.excluded) for cell in cells),
        excluded=sum(len(cell.excluded) for cell in cells),
        reference={
            placement: tuple(float(x) for x in np.percentile(times, [5, 50, 95]))  # type: ignore[misc]
            for placement, times in costs.reference_seconds.items()
        },
        notes=costs.notes,
    )


def markdown(benchmark: CalibrationBenchmark, command: str) -> str:
    """The benchmark as a document."""
    machine = benchmark.hardware
    lines = [
        "# Can a calibration be trusted?",
        "",
        f"Written by `{command}` (effort: {benchmark.effort}) on {machine['processor']}, {machine['cores']} cores, "
        f"torch {benchmark.software['torch']}. Three calibrations one after another, each with workers of its own; "
        f"during the third another process computes on one core for {LOAD_SECONDS:g} s, rests as long, and so on.",
        "",
        *(part for remark in benchmark.remarks for part in (sentence(remark), "")),
        "## Repeated",
        "",
        "Differences of a cell's mean between the first and another calibration. *Covered*: the 95% interval of the "
        "difference (Welch's t over visits) holds 0; of a machine that does not change, 95% should be. *At one pace*: "
        "the first calibration's cell takes longer by what a step of the same model and placement did in the other, as "
        "in a verification (`calibrate/costs/drift.py`); the step's own cells are left out.",
        "",
        "| against the first | cells | covered | median difference | 90th percentile | largest | median interval |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_row(name, some) for name, some in _groups(benchmark)),
        "",
        "## Costs against real rounds",
        "",
        "Real generations on the calibration's prompts, and the same rounds replayed with the calibration's costs "
        "(95% over prompts).",
        "",
        "| calibration | configuration | prompts | rounds | time accounted for | target | draft | neither |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_share(name, found) for name, some in benchmark.explained.items() for found in some),
        "",
        "## The machine meanwhile",
        "",
        "| calibration | took | samples | excluded | reference operation, ms: 5th, 50th, 95th percentile | notes |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_noise(name, noise) for name, noise in benchmark.noise.items()),
        "",
    ]
    return "\n".join(lines)


def _groups(benchmark: CalibrationBenchmark) -> Iterator[tuple[str, Sequence[Difference]]]:
    for name, some in (("second", benchmark.again), ("under load", benchmark.loaded)):
        yield f"{name}, all cells", some
        yield f"{name}, all cells, at one pace", [paced for d in some if (paced := d.at_one_pace)]
    for operation in dict.fromkeys(d.operation for d in benchmark.again):
        mine = [d for d in benchmark.again if d.operation == operation]
        yield f"second, {operation}", mine
        yield f"second, {operation}, at one pace", [paced for d in mine if (paced := d.at_one_pace)]


def _row(name: str, some: Sequence[Difference]) -> str:
    shares = [abs(d.share) for d in some]
    covered = fmean(d.covered for d in some)
    widths = [d.half / d.first for d in some if np.isfinite(d.half)]
    width = f"±{median(widths):.1%}" if widths else "not known"
    return (
        f"| {name} | {len(some)} | {covered:.0%} | {median(shares):.1%} | {np.percentile(shares, 90):.1%} | "
        f"{max(shares):.1%} | {width} |"
    )


def _share(name: str, found: Explained) -> str:
    parts = " | ".join(f"{replayed / real:.1%}" if real else "" for real, replayed in found.parts.values())
    return (
        f"| {name} | {in_words(found.configuration)} | {found.runs} | {found.rounds} | {found.share.value:.1%} "
        f"({found.share.low:.1%} to {found.share.high:.1%}) | {parts} |"
    )


def _noise(name: str, noise: Noise) -> str:
    reference = "; ".join(
        f"{placement} {', '.join(f'{1e3 * x:.1f}' for x in times)}"
        for placement, times in noise.reference.items()
    )
    return (
        f"| {name} | {noise.seconds:.0f} s | {noise.samples} | {noise.excluded} | {reference} | "
        f"{'; '.join(noise.notes)} |"
    )
