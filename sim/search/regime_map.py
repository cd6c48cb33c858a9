"""Which decoding method wins where: over the ratio of the models' steps and the draft's alignment.

    regime_map(load_artifact(folder)).view("best", 0.0, helpers=False).cells

A cell is a pair that does not exist: a target whose step is `ratio` times as dear as the draft's, and which agrees with
it at a share `alignment` of the positions. In it every method plays at its own best setting of a coarse grid, on the
same recorded texts. What that assumes:

- Costs are those of the calibration's draft whose own ratio is the nearest, so that where a draft lies its cell is as
  it is: a small draft gains less by a second core than a large one, say. A ratio above that draft's has a dearer
  target, one below it a dearer draft, as a whole (`WhatIf.target_speed`, `draft_speed`): its forwards over one token
  and over many, and the reading of the prompt. So no model is cheaper than measured, and hand-overs, which stay as
  they were, never weigh more than they do.
- Contention is the measured factor by which target and draft slow each other, at every ratio. A target that is larger
  than the measured one may contend more.
- The ratio is that of single steps where each model has a device of its own (the first placement that was measured).
  A model dearer by a factor is dearer by the same factor in every placement.
- Acceptance is shifted (`sim.acceptance.alignment`) from the recorded draft whose own alignment is nearest, so that
  runs of hits keep their shape. Confidences stay as that draft had them.
- At a temperature drafts draw their tokens, where the calibration recorded that, and alignment is the share of drawn
  tokens that are the target's. H-RAD is left out: its predictions were recorded for the alignment that was.
- The best setting of each method is chosen on the texts that it is shown on.

Intervals are over prompts, paired, by the delta method, as `sim.search.tune` has them. Two methods are tied where the
interval of their ratio holds 1. Nothing here was measured but the calibration.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from calibrate.artifact import Artifact
from calibrate.trace_records import DraftTrace
from calibrate.traces.acceptance_statistics import first_token_shares
from engine.errors import CalibrationError, ConfigurationError
from engine.progress import Progress
from scenarios.what_if import WhatIf
from sim.acceptance.alignment import shift_alignment
from sim.acceptance.temperature import at_temperature
from sim.search.backends import results_as
from sim.search.cost_ratios import Scale, scale_to, step_ratio
from sim.search.grid import Grid
from sim.search.regime_cells import Piece, Row, Worked, row_of
from sim.search.regime_settings import HELPED, PLAIN, draws, settings_of
from sim.search.regimes import Own, RegimeMap, View

RATIOS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 40.0, 60.0)
ALIGNMENTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
PROMPTS = 18  # of a calibration's, evenly over them


def regime_map(
    artifact: Artifact,
    calibration: str = "",
    draft: str | None = None,
    *,
    ratios: Sequence[float] = RATIOS,
    alignments: Sequence[float] = ALIGNMENTS,
    plain: Sequence[Grid] = PLAIN,
    helped: Sequence[Grid] = HELPED,
    prompts: int = PROMPTS,
    what_if: WhatIf | None = None,
    seed: int = 0,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> RegimeMap:
    """Work out every cell of every view.

    `draft`: whose costs every cell has; none: the draft's whose own ratio is nearest to the cell's. `what_if`
    changes what every cell is made of (its speeds, alignment and temperature are the map's own). `prompts`: how many of
    the calibration's, at most. `jobs`: processes; none: one for each core. `progress` hears (done, of all) pieces.
    CalibrationError if the calibration holds no draft; ConfigurationError if not this one.
    """
    begun = time.perf_counter()
    known = tuple(artifact.recorded.drafts)
    if not known:
        raise CalibrationError("the calibration holds no draft to map; calibrate one.")
    if draft is not None and draft not in known:
        raise ConfigurationError(f"the pair has no draft '{draft}'; its drafts: {', '.join(known)}.")
    scales = tuple(scale_to(artifact, (draft,) if draft else known, ratio) for ratio in ratios)
    measured = tuple(costs.placement for costs in artifact.costs.placements)
    temperatures = [0.0]
    if artifact.sampled and artifact.recorded.temperature:
        temperatures.append(artifact.recorded.temperature)
    texts = {t: _some(at_temperature(artifact, t), prompts) for t in temperatures}
    work = what_if or WhatIf()
    pieces: list[Piece] = []
    sources: dict[str, dict[str, tuple[str, float]]] = {}
    for temperature, here in texts.items():
        shares = first_token_shares(here, drawn=draws(here))
        settings = settings_of(here, plain), settings_of(here, helped)
        for alignment in alignments:
            nearest = min(known, key=lambda name: abs(_logit(shares[name]) - _logit(alignment)))
            sources.setdefault(f"{temperature:g}", {})[f"{alignment:g}"] = nearest, shares[nearest]
            shifted = _with_draft(here, nearest, alignment, seed)
            pieces.append(
                Piece(
                    shifted,
                    _with_draft(here, nearest, 1.0, seed),
                    tuple(ratios),
                    scales,
                    alignment,
                    measured,
                    *settings,
                    work,
                    seed,
                )
            )
        for name in known:
            pieces.append(
                Piece(
                    _with_draft(here, name, None, seed),
                    _with_draft(here, name, 1.0, seed),
                    (step_ratio(artifact, name),),
                    (Scale(name),),
                    shares[name],
                    measured,
                    *settings,
                    work,
                    seed,
                    name,
                )
            )
    processes, worked = _work_out(pieces, jobs, progress)
    rows = [row for row, _ in worked]
    views, own, each = [], [], len(alignments) + len(known)
    for place, temperature in enumerate(temperatures):
        mine = rows[place * each : (place + 1) * each]
        views += _views(mine[: len(alignments)], temperature)
        own += [
            Own(draft=name, temperature=temperature, views=tuple(_views([row], temperature)))
            for name, row in zip(known, mine[len(alignments) :], strict=True)
        ]
    return RegimeMap(
        calibration=calibration,
        calibration_digest=artifact.digest,
        calibrated=artifact.costs.created,
        hardware=artifact.costs.hardware,
        target=artifact.recorded.target.spec.describe(),
        remarks=artifact.remarks,
        costs={
            f"{ratio:g}": (scale.costs, step_ratio(artifact, scale.costs))
            for ratio, scale in zip(ratios, scales, strict=True)
        },
        measured_in="at-once" if "at-once" in measured else measured[0],
        ratios=tuple(ratios),
        alignments=tuple(alignments),
        sources=sources,
        prompts=len(texts[0.0].traces),
        tokens=sum(len(trace.path) for trace in texts[0.0].traces),
        settings=len(measured) * sum(map(len, settings)) + len(measured),
        seed=seed,
        seconds=time.perf_counter() - begun,
        processor_seconds=sum(seconds for _, seconds in worked),
        processes=processes,
        views=tuple(views),
        own=tuple(own),
    )


def _some(artifact: Artifact, count: int) -> Artifact:
    """The calibration with at most so many of its prompts, evenly over them."""
    there = len(artifact.traces)
    if there <= count:
        return artifact
    chosen = [index * there // count for index in range(count)]
    kept = tuple(artifact.recorded.prompts[index] for index in chosen)
    return Artifact(
        artifact.costs.model_copy(update={"rehearsals": ()}),
        artifact.recorded.model_copy(update={"prompts": kept}),
        tuple(artifact.traces[index] for index in chosen),
        temperature=artifact.temperature,
    )


def _with_draft(artifact: Artifact, source: str, alignment: float | None, seed: int) -> Artifact:
    """The calibration with one draft, shifted to an alignment."""
    views: Sequence[DraftTrace] = [trace.views(drawn=draws(artifact))[source] for trace in artifact.traces]
    if alignment is not None:
        paths = [trace.path for trace in artifact.traces]
        views = shift_alignment(paths, views, alignment, [seed, 0]).views
    recorded = artifact.recorded.model_copy(update={"drafts": {source: artifact.recorded.drafts[source]}})
    traces = tuple(
        replace(trace, drafts={source: seen}, drawing={source: seen} if trace.drawing else {})
        for trace, seen in zip(artifact.traces, views, strict=True)
    )
    measured = artifact.costs.model_copy(update={"rehearsals": ()})
    return Artifact(measured, recorded, traces, temperature=artifact.temperature)


def _work_out(
    pieces: Sequence[Piece], jobs: int | None, progress: Progress | None
) -> tuple[int, list[Worked]]:
    """How many processes worked, and each piece's row, in their order."""
    heard = progress or (lambda done, total: None)

    def followed(rows: Iterable[Worked]) -> list[Worked]:
        found = []
        for row in rows:
            found.append(row)
            heard(len(found), len(pieces))
        return found

    if jobs == 1:
        return 1, followed(map(row_of, pieces))
    import joblib  # type: ignore[import-untyped]  # see sim.search.backends

    parallel = joblib.Parallel(n_jobs=jobs or -1, return_as=results_as("generator"))
    processes = int(joblib.effective_n_jobs(jobs or -1))
    return processes, followed(parallel(joblib.delayed(row_of)(piece) for piece in pieces))


def _views(rows: Sequence[Row], temperature: float) -> list[View]:
    """Rows of one temperature as views, by alignment and then by ratio."""
    return [
        View(
            placement=where,
            temperature=temperature,
            helpers=helpers,
            cells=tuple(cell for row in rows for cell in row[where, helpers]),
        )
        for where, helpers in rows[0]
    ]


def _logit(share: float) -> float:
    bounded = min(max(share, 1e-6), 1.0 - 1e-6)
    return float(np.log(bounded / (1.0 - bounded)))
