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
  tokens that are the target's. H-RAD is left out: its foresight was recorded for the alignment that was.
- The best setting of each method is chosen on the texts that it is shown on.

Intervals are over prompts, paired, by the delta method, as `sim.search.tune` has them. Two methods are tied where the
interval of their ratio holds 1. Nothing here was measured but the calibration.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from calibrate.artifact import Artifact
from calibrate.cost_records import MeasuredCosts, step_of
from calibrate.trace_records import DraftTrace
from calibrate.traces.acceptance_statistics import first_token_shares
from engine.configuration import Configuration
from engine.errors import CalibrationError, ConfigurationError
from engine.metrics import Estimate, ratio_of_sums
from engine.models.specs import TARGET
from engine.progress import Progress
from engine.runtime.placement import Placement
from scenarios.what_if import WhatIf
from sim.acceptance.alignment import shift_alignment
from sim.acceptance.temperature import at_temperature
from sim.search.backends import results_as
from sim.search.batch import no_collections
from sim.search.grid import PARALLEL, Aids, Grid, simplicity
from sim.world.replay import Replay, Tally

VERSION: Literal[2] = 2

RATIOS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 40.0, 60.0)
ALIGNMENTS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
PROMPTS = 18  # of a calibration's, evenly over them
LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 40)
HELPED_LENGTHS = (1, 2, 4, 8, 16, 32)

# The methods as they were published; `sim.search.tune` searches more values of each.
PLAIN = (
    Grid(
        policies=("speculative", "pearl"),
        draft_lengths=LENGTHS,
        cuts=(0.0,),
        redraft=(False,),
        aids=(Aids(),),
    ),
    Grid(
        policies=("specbranch",),
        draft_lengths=LENGTHS,
        branches=(4,),
        adaptive_branches=(True,),
        cuts=(0.0, 0.3),
        redraft=(False,),
        aids=(Aids(),),
    ),
    Grid(
        policies=("specbranch",),
        draft_lengths=LENGTHS,
        branches=(8,),
        adaptive_branches=(True,),
        cuts=(0.0,),
        redraft=(False,),
        aids=(Aids(),),
    ),
    Grid(
        policies=("specbranch",),
        draft_lengths=LENGTHS,
        branches=(2,),
        adaptive_branches=(False,),
        cuts=(0.0,),
        redraft=(False,),
        aids=(Aids(),),
    ),
)
# What this project adds to them.
_ALL_AIDS = (Aids(guesses=2, repeats=7, second_under=0.5),)
HELPED = (
    Grid(
        policies=("prompt-lookup", "speculative", "pearl"),
        draft_lengths=HELPED_LENGTHS,
        cuts=(0.0,),
        redraft=(False,),
        aids=_ALL_AIDS,
    ),
    Grid(
        policies=("specbranch",),
        draft_lengths=HELPED_LENGTHS,
        branches=(4,),
        adaptive_branches=(True,),
        cuts=(0.0,),
        redraft=(False, True),
        aids=_ALL_AIDS,
    ),
)

Where = Literal["best", "at-once", "in-turn", "threads"]
Part = Literal["overheads", "contention", "rollback"]
PARTS: tuple[Part, ...] = ("overheads", "contention", "rollback")

Floats = NDArray[np.float64]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(_Part):
    """A method at its best setting in a cell: `speed_up` over the cell's best autoregressive set-up.

    `rollback`: tokens dropped from the followed line, for each token of text.
    """

    configuration: Configuration
    speed_up: Estimate
    rollback: float

    @property
    def policy(self) -> str:
        """The method's name."""
        return self.configuration.policy


class Cell(_Part):
    """A place of the map: every method at its best, fastest first.

    `lead`: the winner's tokens/s over the runner-up's. `tied`: the policies that are not told from the winner, itself
    first. `over`: SpecBranch's tokens/s over those of PEARL and of standard speculative decoding, by policy.
    `without`: how many times as fast SpecBranch would be at the same setting, were there no overheads, no contention,
    or no wrong draft token (and so no rollback), each alone.
    """

    ratio: float
    alignment: float
    entries: tuple[Entry, ...] = Field(min_length=1)
    lead: Estimate
    tied: tuple[str, ...]
    over: dict[str, Estimate] = {}
    without: dict[Part, float] = {}

    @property
    def winner(self) -> Entry:
        """The fastest."""
        return self.entries[0]

    @property
    def runner_up(self) -> Entry | None:
        """The second; none where there is one method alone."""
        return self.entries[1] if len(self.entries) > 1 else None

    @property
    def is_tie(self) -> bool:
        """Whether the winner is not told from another method."""
        return len(self.tied) > 1

    def entry(self, policy: str) -> Entry | None:
        """A method's entry, if it has one here."""
        return next((e for e in self.entries if e.policy == policy), None)


class View(_Part):
    """A map for one choice. `placement`: where every method runs, the baseline included; "best": each where it is
    fastest. `helpers`: with repetitions, n-grams, second choices, prompt lookup and redrafting."""

    placement: Where
    temperature: float
    helpers: bool
    cells: tuple[Cell, ...]

    @property
    def key(self) -> tuple[Where, float, bool]:
        """What tells it from other views."""
        return self.placement, self.temperature, self.helpers


class Own(_Part):
    """The calibration's own pair with one of its drafts, as it was measured: nothing is shifted or scaled."""

    draft: str
    temperature: float
    views: tuple[View, ...]

    @property
    def ratio(self) -> float:
        """Of its steps."""
        return self.views[0].cells[0].ratio

    @property
    def alignment(self) -> float:
        """Of its draft, on the texts of its temperature."""
        return self.views[0].cells[0].alignment

    def cell(self, placement: Where, helpers: bool) -> Cell:
        """Its cell in a view."""
        return next(v.cells[0] for v in self.views if (v.placement, v.helpers) == (placement, helpers))


class RegimeMap(_Part):
    """All views, and the pair's own place.

    `costs`: for each ratio, the draft whose costs a cell has, and that draft's own ratio. `measured_in`: the placement
    in which steps are compared. `sources`: for each temperature and alignment, the draft that acceptance was shifted
    from, and its own alignment. `settings`: how many were tried in each cell, over all methods. `seconds`: what working
    it out took with `processes`, which computed for `processor_seconds` in all: more than that is time in which the
    machine did something else.
    """

    version: Literal[2] = VERSION
    calibration: str
    calibration_digest: str
    calibrated: str
    hardware: dict[str, str]
    target: str
    remarks: tuple[str, ...] = ()  # of the target; they go with every figure (`engine.models.deepening`)
    costs: dict[str, tuple[str, float]]
    measured_in: Placement
    ratios: tuple[float, ...]
    alignments: tuple[float, ...]
    sources: dict[str, dict[str, tuple[str, float]]]
    prompts: int
    tokens: int
    settings: int
    seed: int
    seconds: float
    processor_seconds: float
    processes: int
    views: tuple[View, ...]
    own: tuple[Own, ...]

    def view(self, placement: Where, temperature: float, *, helpers: bool) -> View:
        """The view of a choice. ConfigurationError if there is none."""
        key = placement, temperature, helpers
        found = next((v for v in self.views if v.key == key), None)
        if found is None:
            raise ConfigurationError(f"the map has no view of {key}.")
        return found

    @property
    def placements(self) -> tuple[Where, ...]:
        """Those with a view of their own, the best of all first."""
        return tuple(dict.fromkeys(v.placement for v in self.views))

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Those of the texts."""
        return tuple(dict.fromkeys(v.temperature for v in self.views))


def step_ratio(artifact: Artifact, draft: str) -> float:
    """A target step's time over the draft's, where each has a device of its own (or the first placement's)."""
    costs = artifact.costs.placements[0]
    costs = next((c for c in artifact.costs.placements if c.placement == "at-once"), costs)
    target, drafted = (median(step_of(costs, model).seconds) for model in (TARGET, draft))
    return target / drafted


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
    scales = tuple(_scale(artifact, (draft,) if draft else known, ratio) for ratio in ratios)
    measured = tuple(costs.placement for costs in artifact.costs.placements)
    temperatures = [0.0]
    if artifact.sampled and artifact.recorded.temperature:
        temperatures.append(artifact.recorded.temperature)
    texts = {t: _some(at_temperature(artifact, t), prompts) for t in temperatures}
    work = what_if or WhatIf()
    pieces: list[_Piece] = []
    sources: dict[str, dict[str, tuple[str, float]]] = {}
    for temperature, here in texts.items():
        shares = first_token_shares(here, drawn=_draws(here))
        settings = _settings(here, plain), _settings(here, helped)
        for alignment in alignments:
            nearest = min(known, key=lambda name: abs(_logit(shares[name]) - _logit(alignment)))
            sources.setdefault(f"{temperature:g}", {})[f"{alignment:g}"] = nearest, shares[nearest]
            shifted = _with_draft(here, nearest, alignment, seed)
            pieces.append(
                _Piece(
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
                _Piece(
                    _with_draft(here, name, None, seed),
                    _with_draft(here, name, 1.0, seed),
                    (step_ratio(artifact, name),),
                    (_Scale(name),),
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


@dataclass(frozen=True)
class _Scale:
    """Whose costs a draft has, and how many times as fast as measured the models are."""

    costs: str
    target: float = 1.0
    draft: float = 1.0


def _scale(artifact: Artifact, drafts: Sequence[str], ratio: float) -> _Scale:
    """What comes to a ratio of the steps: the nearest of these drafts, and a dearer target, or a dearer draft."""
    measured = {name: step_ratio(artifact, name) for name in drafts}
    nearest = min(drafts, key=lambda name: abs(math.log(measured[name] / ratio)))
    share = measured[nearest] / ratio
    return _Scale(nearest, target=share) if share <= 1.0 else _Scale(nearest, draft=1.0 / share)


@dataclass(frozen=True)
class _Piece:
    """One alignment at one temperature, for all ratios; `ideal` has the same texts with every first token right.

    `scales`: of the models, for each ratio. `plain` and `helped` are settings, to be tried in every placement. `draft`:
    its name, where the pair is the calibration's own.
    """

    artifact: Artifact
    ideal: Artifact
    ratios: tuple[float, ...]
    scales: tuple[_Scale, ...]
    alignment: float
    placements: tuple[Placement, ...]
    plain: tuple[Configuration, ...]
    helped: tuple[Configuration, ...]
    what_if: WhatIf
    seed: int
    draft: str | None = None


_Key = tuple[Where, bool]
_Row = dict[_Key, list[Cell]]  # by placement and helpers, over ratios
_Worked = tuple[_Row, float]  # with the processor's seconds


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
    views: Sequence[DraftTrace] = [trace.views(drawn=_draws(artifact))[source] for trace in artifact.traces]
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


def _with_costs(artifact: Artifact, of: str) -> MeasuredCosts:
    """What was measured, where the only draft of the texts costs what another one does."""
    (name,) = artifact.recorded.drafts
    placements = tuple(
        costs.model_copy(update={"drafts": {name: costs.drafts[of]}}) for costs in artifact.costs.placements
    )
    return artifact.costs.model_copy(update={"placements": placements})


def _draws(artifact: Artifact) -> bool:
    """Whether its drafts draw their tokens."""
    return artifact.temperature > 0.0 and all(trace.drawing for trace in artifact.traces)


def _settings(artifact: Artifact, grids: Sequence[Grid]) -> tuple[Configuration, ...]:
    """The grids' settings, in one placement, as far as the recorded candidates reach."""
    candidates = min(seen.tokens.shape[1] for trace in artifact.traces for seen in trace.drafts.values())
    drawn = (_draws(artifact),)
    placed = [
        grid.model_copy(update={"draw_drafts": drawn}).configurations(("",), ("at-once",)) for grid in grids
    ]
    found = [c.model_copy(update={"draft": None}) for some in placed for c in some]
    return tuple(dict.fromkeys(c for c in found if c.branches <= candidates))


def _work_out(
    pieces: Sequence[_Piece], jobs: int | None, progress: Progress | None
) -> tuple[int, list[_Worked]]:
    """How many processes worked, and each piece's row, in their order."""
    heard = progress or (lambda done, total: None)

    def followed(rows: Iterable[_Worked]) -> list[_Worked]:
        found = []
        for row in rows:
            found.append(row)
            heard(len(found), len(pieces))
        return found

    if jobs == 1:
        return 1, followed(map(_row, pieces))
    import joblib  # type: ignore[import-untyped]  # see sim.search.backends

    parallel = joblib.Parallel(n_jobs=jobs or -1, return_as=results_as("generator"))
    processes = int(joblib.effective_n_jobs(jobs or -1))
    return processes, followed(parallel(joblib.delayed(_row)(piece) for piece in pieces))


@dataclass(frozen=True)
class _Played:
    """A configuration at one ratio: seconds of each prompt, and its rollback tokens."""

    configuration: Configuration
    seconds: Floats
    rollback: int

    @property
    def total(self) -> float:
        return float(self.seconds.sum())


def _row(piece: _Piece) -> _Worked:
    """Runs in a worker process."""
    begun = time.process_time()
    base = Replay(piece.artifact, piece.what_if, piece.seed)
    base.texts.kept = len(piece.plain) + len(piece.helped) + 1
    alone = [Configuration(policy="autoregressive", placement=p) for p in piece.placements]
    with no_collections():
        worlds = _AtRatios(base, piece.scales)
        plain, helped = (
            _play(piece, worlds, [c for setting in some for c in _placed(setting, piece)])
            for some in ([*alone, *piece.plain], piece.helped)
        )
        losses = _Losses(piece, base)
        row: _Row = {}
        for where in _places(piece.placements):
            for helpers in (False, True) if piece.helped else (False,):
                row[where, helpers] = [
                    _cell(piece, at, _of(where, plain[at] + (helped[at] if helpers else [])), losses)
                    for at in range(len(piece.ratios))
                ]
    return row, time.process_time() - begun


def _places(placements: Sequence[Placement]) -> tuple[Where, ...]:
    return ("best", *placements) if len(placements) > 1 else tuple(placements)


def _placed(setting: Configuration, piece: _Piece) -> Iterator[Configuration]:
    """A setting in every placement; autoregressive decoding comes placed."""
    if not setting.drafts:
        yield setting
        return
    draft = piece.draft if "draft" in setting.uses else None
    for placement in piece.placements:
        yield setting.model_copy(update={"placement": placement, "draft": draft})


class _AtRatios:
    """A world whose models are scaled to each of a piece's ratios; all share its texts."""

    def __init__(self, world: Replay, scales: Sequence[_Scale]) -> None:
        self._scales = scales
        self._worlds = {
            (costs, draft): world.under(
                world.what_if.model_copy(update={"draft_speed": draft}), _with_costs(world.artifact, costs)
            )
            for costs, draft in dict.fromkeys((scale.costs, scale.draft) for scale in scales)
        }

    def tallies(self, c: Configuration, places: Sequence[int]) -> list[list[Tally]]:
        """What each text came to, at each of these places among the ratios."""
        found: dict[int, list[Tally]] = {}
        for (costs, draft), world in self._worlds.items():
            mine = [at for at in places if (self._scales[at].costs, self._scales[at].draft) == (costs, draft)]
            if mine:
                speeds = [self._scales[at].target for at in mine]
                found |= zip(mine, world.tallies_at(c, speeds), strict=True)
        return [found[at] for at in places]


def _play(piece: _Piece, worlds: _AtRatios, configurations: Sequence[Configuration]) -> list[list[_Played]]:
    """For each ratio, those configurations that may be worth it there."""
    found: list[list[_Played]] = [[] for _ in piece.ratios]
    for c in configurations:
        places = [at for at, ratio in enumerate(piece.ratios) if _may_pay(c, ratio)]
        if not places:
            continue
        for at, tallies in zip(places, worlds.tallies(c, places), strict=True):
            seconds = np.array([t.seconds for t in tallies])
            found[at].append(_Played(c, seconds, sum(t.rollback for t in tallies)))
    return found


def _may_pay(c: Configuration, ratio: float) -> bool:
    """Whether a parallel method's length is near enough to the ratio.

    While the target verifies, `ratio` tokens can be drafted. Much longer lines keep the target waiting for tokens that
    one round cannot use, much shorter ones keep the draft idle and gain nothing by it.
    """
    if c.policy not in PARALLEL or c.placement == "in-turn":
        return True
    return ratio / 8.0 <= c.draft_length <= 2.0 * ratio + 2.0


def _of(where: Where, played: Sequence[_Played]) -> list[_Played]:
    return [p for p in played if where in ("best", p.configuration.placement)]


def _cell(piece: _Piece, at: int, played: Sequence[_Played], losses: "_Losses") -> Cell:
    best: dict[str, _Played] = {}
    for p in sorted(played, key=lambda p: (p.total, simplicity(p.configuration))):
        best.setdefault(p.configuration.policy, p)
    ranked = list(best.values())
    baseline, first = best["autoregressive"], ranked[0]
    second = ranked[1] if len(ranked) > 1 else first
    tokens = sum(len(trace.path) for trace in piece.artifact.traces)
    mine = best.get("specbranch")
    return Cell(
        ratio=piece.ratios[at],
        alignment=piece.alignment,
        entries=tuple(
            Entry(
                configuration=p.configuration,
                speed_up=_over(p, baseline),
                rollback=round(p.rollback / tokens, 4),
            )
            for p in ranked
        ),
        lead=_over(first, second),
        tied=tuple(p.configuration.policy for p in ranked if p is first or not _over(first, p).low > 1.0),
        over={rival: _over(mine, best[rival]) for rival in ("pearl", "speculative") if rival in best}
        if mine
        else {},
        without=losses.of(at, mine.configuration) if mine else {},
    )


def _over(one: _Played, other: _Played) -> Estimate:
    """One's tokens/s over the other's, with its paired interval; rounded, for there are thousands of them."""
    found = ratio_of_sums(other.seconds.tolist(), one.seconds.tolist())
    return Estimate(*(round(x, 4) for x in (found.value, found.low, found.high)))


class _Losses:
    """What overheads, contention and rollback take of SpecBranch's speed, each found once."""

    def __init__(self, piece: _Piece, world: Replay) -> None:
        ideal = Replay(piece.ideal, piece.what_if, piece.seed)
        ideal.texts.kept = world.texts.kept
        self._places = range(len(piece.ratios))
        self._world = _AtRatios(world, piece.scales)
        without: dict[Part, Replay] = {
            "overheads": world.under(piece.what_if.model_copy(update={"overheads": False})),
            "contention": world.under(piece.what_if.model_copy(update={"contention": False})),
            "rollback": ideal,
        }
        self._others = {part: _AtRatios(other, piece.scales) for part, other in without.items()}
        self._known: dict[Configuration, list[dict[Part, float]]] = {}

    def of(self, at: int, c: Configuration) -> dict[Part, float]:
        """How many times as fast a configuration would be at a ratio, by what it would be without."""
        if c not in self._known:  # what is the best at one ratio mostly is at several
            real = self._seconds(self._world, c)
            by_part = {part: self._seconds(world, c) for part, world in self._others.items()}
            self._known[c] = [
                {part: round(took / seconds[i], 4) for part, seconds in by_part.items()}
                for i, took in enumerate(real)
            ]
        return self._known[c][at]

    def _seconds(self, world: _AtRatios, c: Configuration) -> list[float]:
        """Over all texts, for each ratio."""
        return [sum(t.seconds for t in tallies) for tallies in world.tallies(c, self._places)]


def _views(rows: Sequence[_Row], temperature: float) -> list[View]:
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
