"""Synthetic verifications and calibrations for tests: nothing in them was measured.

The runs come from the real policies over a clock of made-up costs, so that rounds, jobs, metrics and intervals
agree with each other. Names and prompts carry strings that would break a page which does not escape.
"""

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Generic, TypeVar

import artifacts
import numpy as np

from calibrate.artifact import Artifact
from calibrate.costs.drift import Drift
from calibrate.trace_records import PromptRecord
from engine.configuration import Configuration
from engine.metrics import measure, speed, speed_up
from engine.policies import load_policy
from engine.policies.load import Alone, Load, LoadQuestion
from engine.policies.ngrams import NONE, NGrams
from engine.policies.protocol import Draft, DraftLimits, Handle
from engine.policies.repetitions import Repetitions
from engine.policies.tree import Round, TokenTree, Verdict, first_nodes, side_by_side
from engine.record import Job, Run
from engine.runtime.placement import Placement
from reports.verify.tolerance import Tolerance
from reports.verify.verification import (
    Compared,
    Foretold,
    Occupied,
    Point,
    Sample,
    Settling,
    Side,
    Supposed,
    Timeline,
    Verification,
)
from reports.verify.what_if_runs import COUNTS, WORLDS
from scenarios.what_if import WhatIf

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "'\"><img src=x onerror=alert(3)>",
    "{{ 7 * 7 }} <b>&amp; %{x}</b> <!--",
)

T = TypeVar("T")


@dataclass(frozen=True)
class Costs:
    """Made-up seconds; `draft` by name is a step and the chance that its first candidate is right."""

    target: float = 0.040
    token: float = 0.0008
    branch: float = 0.0006
    hand_over: float = 0.0005
    draft: tuple[tuple[str, float, float], ...] = (("int4 <b>", 0.0095, 0.8), ("tiny", 0.0042, 0.55))


@dataclass
class _Result(Generic[T]):
    value: T | None
    end: float


@dataclass
class _Session:
    """`engine.policies.protocol.Session` over a plain clock; the draft's candidate of rank j is token j."""

    ranks: Sequence[int]
    costs: Costs
    step: float
    chance: float
    shared: bool
    noise: random.Random | None
    now: float = 0.0
    position: int = 0
    first: float = 0.0
    free: dict[str, float] = field(default_factory=dict)
    ngrams: NGrams = NONE
    repetitions: Repetitions = field(default_factory=Repetitions)
    text: list[int] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return self.position >= len(self.ranks)

    def load(self, question: LoadQuestion) -> _Result[Load]:
        return _Result(Alone().answer(question), self.now)

    def _rank(self, position: int) -> int:
        return self.ranks[position] if position < len(self.ranks) else 0

    def _job(self, model: str, seconds: float, forwards: int, tokens: int, value: T) -> _Result[T]:
        if self.noise:
            seconds *= self.noise.lognormvariate(0.03, 0.08)
        device = "one" if self.shared else model
        start = max(self.now, self.free.get(device, 0.0))
        self.free[device] = start + seconds
        job = Job(
            "target" if model == "target" else "draft",
            len(self.rounds),
            start,
            start + seconds,
            forwards,
            tokens,
        )
        self.jobs.append(job)
        return _Result(value, start + seconds + self.costs.hand_over)

    def verify(self, tree: TokenTree, predict: int = 0) -> Handle[Verdict]:
        assert tree.is_chain
        accepted = 0
        while accepted < len(tree) and tree.tokens[accepted] == self._rank(self.position + accepted):
            accepted += 1
        verdict = Verdict(first_nodes(accepted), self._rank(self.position + accepted))
        seconds = self.costs.target + self.costs.token * len(tree)
        return self._job("target", seconds, 1, len(tree) + 1, verdict)

    def draft(self, tree: TokenTree, limits: DraftLimits) -> Handle[Draft]:
        heads = range(limits.branch_count(self.chance))
        length = limits.length
        confidences = tuple(self.chance for _ in range(length))
        branches = [((head, *(0 for _ in range(length - 1))), confidences) for head in heads]
        seconds = length * (self.step + self.costs.branch * (len(branches) - 1))
        read = 1 + (length - 1) * len(branches)
        return self._job("draft", seconds, length, read, Draft(side_by_side(branches), length))

    def emit(self, tokens: Sequence[int]) -> int:
        fits = min(len(tokens), len(self.ranks) - self.position)
        self.first = self.first or self.now
        self.position += fits
        self.text += tokens[:fits]
        return fits

    def close_round(self, counts: Round) -> None:
        self.rounds.append(counts)


def play(
    configuration: Configuration, ranks: Sequence[int], costs: Costs, noise: random.Random | None = None
) -> Run:
    """One run of a configuration; with `noise` it claims to be the engine's."""
    name, step, chance = next((d for d in costs.draft if d[0] == configuration.draft), costs.draft[0])
    del name
    shared = configuration.placement == "in-turn"
    # Both models' devices together make the target faster than its own device alone.
    scale = 0.85 if shared else 1.0
    quick = Costs(costs.target * scale, costs.token * scale, costs.branch, costs.hand_over, costs.draft)
    session = _Session(ranks, quick, step * scale, chance, shared, noise)
    for waits in load_policy(configuration.policy)(session, configuration):
        session.now = max(handle.end for handle in waits)  # type: ignore[attr-defined]  # this world's handles
    return Run(
        world="engine" if noise else "simulator",
        tokens=tuple(session.text),
        rounds=tuple(session.rounds),
        jobs=tuple(session.jobs),
        seconds=session.now,
        first_token_seconds=session.first,
        shared=shared,
        ending="token-limit",
    )


def _paths(chance: float, prompts: int, tokens: int, seed: int) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(seed)
    return [tuple(int(r) - 1 for r in rng.geometric(chance, tokens)) for _ in range(prompts)]


def _side(runs: Sequence[Run], same: Sequence[Run], best: Sequence[Run]) -> Side:
    return Side(
        speed=speed(runs),
        speed_up=speed_up(runs, same),
        best_speed_up=speed_up(runs, best),
        metrics=measure(runs),
    )


def _foretold(runs: Sequence[Run], faster: float) -> Foretold:
    """What was simulated of each prompt, so many times as fast."""
    return Foretold(
        tokens=tuple(len(run.tokens) for run in runs), seconds=tuple(run.seconds / faster for run in runs)
    )


def _suppose(
    paths: Mapping[str, list[tuple[int, ...]]],
    costs: Costs,
    configurations: Sequence[Configuration],
    what_ifs: Sequence[WhatIf],
    over_one: bool = False,
) -> list[Supposed]:
    """Configurations under changes; `alignment` draws other paths, and there is no contention to switch off."""
    found = []
    for what_if in what_ifs:
        changed = Costs(
            costs.target / what_if.target_speed,
            costs.token / what_if.target_speed,
            costs.branch,
            costs.hand_over if what_if.overheads else 0.0,
            tuple((n, s / what_if.draft_speed, c) for n, s, c in costs.draft),
        )

        def runs(c: Configuration, changed: Costs = changed, what_if: WhatIf = what_if) -> list[Run]:
            mine = paths[c.draft or costs.draft[0][0]]
            if what_if.alignment is not None:
                mine = _paths(what_if.alignment, len(mine), len(mine[0]), seed=1)
            return [play(c, path, changed) for path in mine]

        alone = runs(Configuration(policy="autoregressive", placement="in-turn"))
        for c in configurations:
            one = runs(c.model_copy(update={"branches": 1}))
            side = _side(runs(c), one, alone)
            found.append(
                Supposed(
                    configuration=c,
                    what_if=what_if,
                    speed=side.speed,
                    best_speed_up=side.best_speed_up,
                    over_one=side.speed_up if over_one else None,
                )
            )
    return found


@cache
def verification(
    *,
    draft_cost: float = 1.0,
    chosen: str = "fastest",
    prompts: int = 4,
    tokens: int = 40,
    lengths: tuple[int, ...] = (2, 4, 6),
    branches: tuple[int, ...] = (1, 2, 3),
    near_ties: int = 0,
    mismatches: int = 0,
    other_hardware: bool = False,
    settling: bool = False,
    seed: int = 5,
) -> Verification:
    """A synthetic record. A large `draft_cost` makes autoregressive decoding win; `chosen` may name a policy.

    It is made once for the same arguments, since nothing changes it. `settling`: of the settling test, with each method
    on both drafts.
    """
    base = Costs()
    costs = Costs(draft=tuple((n, s * draft_cost, c) for n, s, c in base.draft))
    noise = random.Random(seed)
    names = [d[0] for d in costs.draft]
    paths = {n: _paths(c, prompts, tokens, seed) for n, _, c in costs.draft}

    def configure(
        policy: str, placement: Placement, draft: str | None = None, length: int = 4, k: int = 1
    ) -> Configuration:
        return Configuration(
            policy=policy,
            placement=placement,
            draft=draft,
            draft_length=length,
            branches=k,
            adaptive_branches=False,
        )

    def runs(configuration: Configuration, real: bool) -> list[Run]:
        mine = paths[configuration.draft or names[0]]
        return [play(configuration, path, costs, noise if real else None) for path in mine]

    configurations = [
        configure("autoregressive", "at-once"),
        configure("autoregressive", "in-turn"),
        configure("speculative", "in-turn", names[0], 4),
        configure("pearl", "at-once", names[0], 4),
        configure("specbranch", "at-once", names[0], 4, 3),
        configure("specbranch", "at-once", names[1], 6, 3),
    ]
    if settling:
        configurations += [
            configure("speculative", "in-turn", names[1], 6),
            configure("pearl", "at-once", names[1], 6),
        ]
    real = [runs(c, True) for c in configurations]
    simulated = [runs(c, False) for c in configurations]
    measured = [
        _side(r, real[0 if c.placement == "at-once" else 1], real[1])
        for c, r in zip(configurations, real, strict=True)
    ]
    predicted = [
        _side(r, simulated[0 if c.placement == "at-once" else 1], simulated[1])
        for c, r in zip(configurations, simulated, strict=True)
    ]
    speeds = [side.speed.value for side in measured]
    if chosen == "fastest":
        place = speeds.index(max(speeds))
    else:
        place = next(i for i, c in enumerate(configurations) if c.policy == chosen)
    order = itertools.count()
    compared = tuple(
        Compared(
            configuration=c,
            role="chosen" if i == place else "baseline" if i < 2 else "other",
            as_calibrated=replace(predicted[i].speed, value=1.1 * predicted[i].speed.value),
            predicted=predicted[i],
            replayed=replace(predicted[i].speed, value=0.97 * predicted[i].speed.value),
            forecast=_foretold(simulated[i], 1.1),
            replays=_foretold(simulated[i], 0.97),
            measured=measured[i],
            samples=tuple(
                Sample(prompt=p, repeat=0, order=next(order), run=run) for p, run in enumerate(real[i])
            ),
            near_ties=near_ties if i == 2 else 0,
            mismatches=mismatches if i == place else 0,
        )
        for i, c in enumerate(configurations)
    )
    sweep = []
    best = simulated[1]
    for alignment, draft, length in itertools.product((None, 0.9), names, lengths):
        candidates = [
            configure("speculative", "in-turn", draft, length),
            configure("pearl", "at-once", draft, length),
        ]
        candidates += [configure("specbranch", "at-once", draft, length, k) for k in branches]
        for candidate in candidates:
            (shifted,) = _suppose(paths, costs, [candidate], [WhatIf(alignment=alignment)])
            side = _side(runs(candidate, False), best, best)
            side = side.model_copy(update={"speed": shifted.speed, "best_speed_up": shifted.best_speed_up})
            point = Point(
                configuration=candidate,
                alignment=alignment,
                speed=side.speed,
                best_speed_up=side.best_speed_up,
                metrics=side.metrics,
            )
            sweep.append(point)
    shown = configurations[4]
    counted = [configure("specbranch", "at-once", draft, 4, k) for draft in names for k in COUNTS]
    changes = [WhatIf(), *(WhatIf(draft_speed=f) for f in (1.5, 1 / 1.5)), WhatIf(alignment=0.9)]
    changes += [
        *(WhatIf(target_speed=f) for f in (1.5, 1 / 1.5)),
        WhatIf(alignment=0.7),
        WhatIf(overheads=False),
    ]
    return Verification(
        created="2000-01-01T00:00:00+00:00 (synthetic)",
        hardware={
            "processor": "imaginary <b>processor</b>",
            "cores": "2",
            "memory": "8 GB",
            "governor": "not readable",
        },
        software={"system": "synthetic", "python": "3.11", "torch": "0.0 </script>"},
        models={
            "target": "synthetic target </script> sha256 " + "0" * 64,
            **{name: f"synthetic draft sha256 {i}" + "1" * 63 for i, name in enumerate(names)},
        },
        calibration="cal/<i>synthetic</i>",
        calibration_digest="c" * 64,
        calibration_kinds=tuple("code </script>" if i % 2 else "chat" for i in range(prompts)),
        other_hardware=other_hardware,
        prompts=tuple(
            PromptRecord(
                id=HOSTILE[i % len(HOSTILE)] + (f" {i}" if i >= len(HOSTILE) else ""),
                kind="code </script>" if i % 2 else "chat",
                digest=f"{i:064x}",
                tokens=20 + i,
                path_tokens=tokens,
            )
            for i in range(prompts)
        ),
        max_tokens=tokens,
        repeats=1,
        seed=seed,
        tie=0.125,
        tolerance=Tolerance(),
        notes=("synthetic note </script>: one run made again",),
        reference_seconds=tuple(0.0031 * noise.lognormvariate(0.0, 0.05) for _ in range(24)),
        pace=tuple(
            Drift(
                placement=placement,
                model=model,
                calibrated=(0.0100, 0.0102),
                now=(0.0111, 0.0113, 0.0112),
                prompts_calibrated=(0.0301, 0.0303),
                prompts_now=(0.0413, 0.0411, 0.0412),
                dearer=1.49,
            )
            for placement in ("at-once", "in-turn")
            for model in ("target", *names)
        ),
        compared=compared,
        sweep=tuple(sweep),
        overheads=(
            *_suppose(paths, costs, configurations, WORLDS),
            *_suppose(paths, costs, counted, WORLDS, over_one=True),
        ),
        sensitivities=tuple(_suppose(paths, costs, [configurations[4], configurations[1]], changes)),
        occupied=(
            Occupied(placement="at-once", target=1, both=2, unit="core"),
            Occupied(placement="in-turn", target=2, both=2, unit="core"),
        ),
        timeline=Timeline(
            prompt=0,
            configuration=shown,
            real=play(shown, paths[names[0]][0], costs, noise),
            simulated=play(shown, paths[names[0]][0], costs),
        ),
        settling=Settling(well=names[0], poor=names[1], alignment={n: c for n, _, c in costs.draft})
        if settling
        else None,
    )


def at_speeds(v: Verification, speeds: Sequence[float], noise: float = 0.0) -> Verification:
    """A record whose configurations ran at these tokens/s on every prompt; with `noise` one half of each
    kind's prompts took longer by that share, the others less."""

    def run_at(one: Compared, speed: float) -> Compared:
        samples = []
        for s in one.samples:
            seconds = len(s.run.tokens) / speed * (1.0 + noise * (-1) ** (s.prompt // 2))
            samples.append(s.model_copy(update={"run": replace(s.run, seconds=seconds)}))
        measured = one.measured.model_copy(update={"speed": replace(one.measured.speed, value=speed)})
        # What was foretold of each text is not of these speeds: the predictions stand as they are.
        alone = {"forecast": None, "replays": None}
        return one.model_copy(update={"samples": tuple(samples), "measured": measured, **alone})

    return v.model_copy(update={"compared": tuple(map(run_at, v.compared, speeds))})


def artifact() -> Artifact:
    """A synthetic calibration of the same drafts, with a note that would end a script."""
    made = artifacts.artifact(drafts={name: (chance, step) for name, step, chance in Costs().draft})
    notes = ("synthetic note </script>: one sample left out as a stall",)
    return replace(made, costs=made.costs.model_copy(update={"notes": notes}))
