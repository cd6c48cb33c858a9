"""The sections that show what was simulated: the trade-off, and one generation beside its real counterpart."""

from collections.abc import Sequence

from engine.naming import in_words
from engine.record import Run
from reports.page import replay_charts
from reports.page.sections import Section, Table, single
from reports.verify.verification import Point, Verification, find_chosen
from reports.wording import has_interval, interval, number, percent, plural, ranged, signed, times
from sim.world.reach import marked


def tradeoff(v: Verification) -> Section:
    """Draft length against branches."""
    short, title = "Trade-off", "Draft length against branches, simulated"
    swept = [p for p in v.sweep if p.configuration.drafts]
    points = [p for p in swept if p.alignment is None]
    if not points:
        return Section("tradeoff", short, title, "The record holds no simulated sweep.")
    rows = tuple(
        (
            marked(in_words(p.configuration), p.far_context),
            "as recorded" if p.alignment is None else percent(p.alignment, 0),
            str(p.configuration.draft_length),
            str(p.configuration.branches) if "branches" in p.configuration.uses else "",
            ranged(p.speed),
            ranged(p.best_speed_up, 2),
            number(p.metrics.mean_accepted_length, 2),
            percent(p.metrics.rollback_rate),
            percent(p.metrics.hedge_rate),
            percent(p.metrics.target_idle),
            percent(p.metrics.draft_idle),
        )
        for p in sorted(swept, key=lambda p: -p.best_speed_up.value)
    )
    columns = (
        "configuration",
        "alignment",
        "draft length",
        "branches",
        "tokens/s (95%)",
        "speed-up (95%)",
        "accepted length",
        "rollback rate",
        "hedge rate",
        "target idle",
        "draft idle",
    )
    return Section(
        "tradeoff",
        short,
        title,
        _best(points) + _branching(points),
        (replay_charts.tradeoff(swept, find_chosen(v.compared).configuration),),
        (Table("Every simulated configuration, fastest first", columns, rows, ("configuration",)),),
        "Simulated, not measured; a changed alignment on some of the prompts. The speed-up is over the best "
        "autoregressive set-up; "
        "rates are in percent.",
    )


def _best(points: Sequence[Point]) -> str:
    top = max(points, key=lambda p: p.best_speed_up.value)
    gains = sum(p.best_speed_up.value > 1.0 for p in points)
    found = (
        f"Of {plural(len(points), 'simulated configuration')}, {gains or 'none'} beat the best autoregressive set-up; "
        f"the best is {in_words(top.configuration)} at {times(top.best_speed_up.value)}"
    )
    if not has_interval(top.best_speed_up):
        return found + "."
    tied = sum(p is not top and p.best_speed_up.high >= top.best_speed_up.low for p in points)
    return (
        f"{found} (95% interval {interval(top.best_speed_up, 2)}), and the interval of {plural(tied, 'other')} "
        f"overlap{'s' if tied == 1 else ''} its own."
    )


def _branching(points: Sequence[Point]) -> str:
    """What more than one branch brought at its best, against one."""
    several = [p for p in points if p.configuration.policy == "specbranch" and p.configuration.branches > 1]
    one = [
        p
        for p in points
        if p.configuration.policy == "pearl"
        or (p.configuration.policy == "specbranch" and p.configuration.branches == 1)
    ]
    if not several or not one:
        return ""
    many, few = (
        max(group, key=lambda p: p.best_speed_up.value).best_speed_up.value for group in (several, one)
    )
    return (
        f" Parallel drafting reaches {times(many)} at its best with several branches, and {times(few)} with one "
        f"({signed(many / few - 1.0)})."
    )


def timeline(v: Verification) -> Section:
    """One generation, simulated and real."""
    shown = v.timeline
    real, simulated = shown.real, shown.simulated
    finding = (
        f"{in_words(shown.configuration)} took {number(real.seconds, 2)} s, simulated {number(simulated.seconds, 2)} s "
        f"({signed(simulated.seconds / real.seconds - 1.0)}). {_agreement(real, simulated)}"
    )
    prompt = v.prompts[shown.prompt].id if shown.prompt < len(v.prompts) else str(shown.prompt)
    caption = (
        f"Prompt: {prompt}. Each bar is one job of a model. Hatched bars, with a cross above them, belong to rounds in "
        "which drafted tokens were rolled back."
    )
    columns = (
        "round",
        *(
            f"{world} {what}"
            for world in ("simulated", "real")
            for what in ("target, ms", "draft, ms", "accepted", "rolled back", "hedge")
        ),
    )
    count = max(len(real.rounds), len(simulated.rounds))
    rows = tuple((str(i + 1), *_round_cells(simulated, i), *_round_cells(real, i)) for i in range(count))
    label = "Timeline of one generation on both devices, simulated above real, on one time axis"
    return Section(
        "timeline",
        "Timeline",
        "One generation, step by step",
        finding,
        (single("timeline", label, replay_charts.timeline(shown), caption, zoom=True),),
        (Table("Every round", columns, rows),),
    )


def _agreement(real: Run, simulated: Run) -> str:
    rolled = sum(r.rollback > 0 for r in real.rounds)
    if [r.accepted for r in real.rounds] == [r.accepted for r in simulated.rounds]:
        return (
            f"Both took {plural(len(real.rounds), 'round')} with the same tokens accepted in each; {rolled} of them "
            "rolled drafted tokens back."
        )
    same = sum(a.accepted == b.accepted for a, b in zip(real.rounds, simulated.rounds, strict=False))
    return (
        f"The real one took {plural(len(real.rounds), 'round')}, {rolled} of which rolled drafted tokens back, the "
        f"simulated one {len(simulated.rounds)}; {same} of them accepted equally many tokens."
    )


def _round_cells(run: Run, index: int) -> list[str]:
    cells = []
    for model in ("target", "draft"):
        jobs = [j for j in run.jobs if j.round == index and j.model == model]
        first, last = min((j.start for j in jobs), default=0.0), max((j.end for j in jobs), default=0.0)
        cells.append(f"{number(1e3 * first)} to {number(1e3 * last)}" if jobs else "")
    if index >= len(run.rounds):
        return [*cells, "", "", ""]
    r = run.rounds[index]
    return [*cells, f"{r.accepted} of {r.verified}", str(r.rollback), str(r.hedge)]
