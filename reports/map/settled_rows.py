"""What a settlement says of each of its drafts, and where that draft lies on the map. Torch-free.

    rows = settled(load_verification(path), points_of(...), open_replay(path))

A row is one draft of one settlement (`reports.verify.settle`), at the place that its point has on the map.
"""

from collections.abc import Sequence
from contextlib import suppress

from calibrate.artifact import Artifact
from engine.errors import SpecBranchError
from engine.frozen_record import FrozenRecord
from engine.metrics import Estimate
from engine.models.specs import TARGET
from reports.map.regime_points import MapPoint
from reports.verify.settle import RIVALS, Claim, settle
from reports.verify.verification import Compared, Supposed, Verification, find_baseline
from scenarios.what_if import WhatIf
from sim.search.regimes import Part
from sim.world.replay import Replay


class Method(FrozenRecord):
    """One method at its best predicted setting, as it was measured.

    `rollback`: tokens dropped from the followed line for each token of text; `hedged`: the share of drafted tokens that
    were on branches beside it.
    """

    draft_length: int
    rollback: float
    hedged: float


class Row(FrozenRecord):
    """One draft of one settlement, and where it lies.

    `without`: for each rival, how many times as large SpecBranch's gain over it would be without a part, for either, by
    the simulator. `both_devices`: the best autoregressive set-up over the one that runs where SpecBranch's target does.
    """

    record: str
    target: str
    draft: str
    temperature: float
    helpers: bool
    ratio: Estimate
    alignment: Estimate
    claims: tuple[Claim, ...]
    without: dict[str, dict[Part, float]]
    both_devices: float
    methods: dict[str, Method]


def settled(v: Verification, points: Sequence[MapPoint], replay: Artifact | None = None) -> tuple[Row, ...]:
    """The rows of a record with its points; none if it is not of the settling test.

    `replay`: the record's own prompts, which tell what rollback takes.
    """
    found = settle(v)
    baseline = find_baseline(v.compared)
    if found is None or v.settling is None or baseline is None:
        return ()
    rows = []
    for draft in v.settling.drafts:
        point = next(p for p in points if p.draft == draft)
        by_policy = {c.configuration.policy: c for c in v.compared if c.configuration.draft == draft}
        branched = by_policy["specbranch"]
        rivals = {"autoregressive": baseline, **{policy: by_policy[policy] for policy in RIVALS}}
        faster = _without_rollback(v, replay, [branched, *rivals.values()]) if replay else {}
        without = {name: _without(v, branched, rival) for name, rival in rivals.items()}
        for name in rivals:
            if {"specbranch", name} <= set(faster):
                without[name]["rollback"] = faster["specbranch"] / faster[name]
        side = branched.measured
        rows.append(
            Row(
                record=point.record,
                target=v.models.get(TARGET, "").partition("; sha256")[0],
                draft=draft,
                temperature=v.temperature,
                helpers=point.helpers,
                ratio=point.ratio,
                alignment=point.alignment,
                claims=tuple(c for c in found.claims if c.draft == draft),
                without=without,
                both_devices=side.speed_up.value / side.best_speed_up.value,
                methods={
                    policy: Method(
                        draft_length=c.configuration.draft_length,
                        rollback=c.measured.metrics.rollback_tokens / c.measured.metrics.tokens,
                        hedged=c.measured.metrics.hedge_rate,
                    )
                    for policy, c in by_policy.items()
                },
            )
        )
    return tuple(rows)


def _without(v: Verification, branched: Compared, rival: Compared) -> dict[Part, float]:
    """What the record's simulations say, so far as it has them."""
    worlds: dict[tuple[bool, bool], dict[str, Supposed]] = {}
    for s in v.overheads:
        if s.over_one is None:
            world = worlds.setdefault((s.what_if.overheads, s.what_if.contention), {})
            world[s.configuration.label()] = s

    def gain(overheads: bool, contention: bool) -> float | None:
        world = worlds.get((overheads, contention), {})
        mine, theirs = (world.get(c.configuration.label()) for c in (branched, rival))
        return mine.speed.value / theirs.speed.value if mine and theirs else None

    whole = gain(True, True)
    parts: tuple[tuple[Part, float | None], ...] = (
        ("overheads", gain(False, True)),
        ("contention", gain(True, False)),
    )
    return {part: value / whole for part, value in parts if value and whole}


def _without_rollback(v: Verification, replay: Artifact, compared: Sequence[Compared]) -> dict[str, float]:
    """How many times as fast each method would be, were every draft token right, on the record's own texts.

    None for a setting that cannot be replayed so (`Replay.runs`).
    """
    real = Replay(replay, seed=v.seed)
    ideal = real.under(WhatIf(alignment=1.0))
    found = {}
    for c in compared:
        with suppress(SpecBranchError):
            took, least = (sum(t.seconds for t in world.tallies(c.configuration)) for world in (real, ideal))
            found[c.configuration.policy] = took / least
    return found
