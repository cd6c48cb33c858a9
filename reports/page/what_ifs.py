"""The sections on what could be otherwise: overheads switched off and on, and how sensitive the gain is."""

from collections.abc import Sequence

from engine.configuration import Configuration
from engine.metrics import Estimate
from engine.naming import in_words
from reports.page import what_if_charts
from reports.page.figure import Chart, Choice, View
from reports.page.sections import Section, Table
from reports.page.what_if_charts import Bar
from reports.verify.verification import Compared, Supposed, Verification, find_chosen
from reports.wording import (
    LONG,
    TIMES,
    has_interval,
    interval,
    number,
    percent,
    plain,
    plural,
    ranged,
    signed,
    times,
)
from scenarios.what_if import WhatIf
from sim.world.reach import marked

QUANTITIES = ("gain over one branch", "speed-up over the best autoregressive", "tokens/s")
ROWS = {
    "target_speed": "target's speed",
    "draft_speed": "draft's speed",
    "alignment": "alignment",
    "contention": "contention",
    "overheads": "overheads",
}


def overheads(v: Verification) -> Section:
    """Whether more branches still pay once everything they cost is counted."""
    short, title = "Overheads", "Overheads on and off: does hedging still pay?"
    if not v.overheads:
        return Section("overheads", short, title, "The record holds no simulation without overheads.")
    counted = [s for s in v.overheads if s.over_one]
    charts = (_by_branches(counted),) if counted else ()
    return Section(
        "overheads",
        short,
        title,
        _hedging(v, counted) + _per_device(v),
        charts,
        (*_gain_table(counted), _overhead_table(v)),
        "Simulated on the measured prompts' own texts. Overheads are the hand-over between workers, the selection of a "
        "branch, and the spread of durations; contention is what the models slow each other down by when they run at "
        "once. The best autoregressive set-up is that of the same world.",
    )


def _world(what_if: WhatIf) -> str:
    """A world of this section in words."""
    off = [name for name in ("overheads", "contention") if not getattr(what_if, name)]
    return "without " + " and ".join(off) if off else "with everything"


def _by_branches(counted: Sequence[Supposed]) -> Chart:
    drafts = list(dict.fromkeys(s.configuration.draft or "" for s in counted))
    views = {}
    for d, draft in enumerate(drafts):
        mine = [s for s in counted if (s.configuration.draft or "") == draft]
        length = mine[0].configuration.draft_length
        for q, name in enumerate(QUANTITIES):
            worlds: dict[str, list[tuple[Supposed, Estimate]]] = {}
            for s in mine:
                figure = (s.over_one or s.speed, s.best_speed_up, s.speed)[q]
                worlds.setdefault(_world(s.what_if), []).append((s, figure))
            key = f"{d},{q}" if len(drafts) > 1 else str(q)
            caption = (
                f"SpecBranch with {draft or 'its draft'} and draft length {length}. Bars: 95% intervals over prompts."
                + ("" if q == 2 else " Dashed: no gain.")
            )
            views[key] = View(what_if_charts.by_branches(worlds, name, None if q == 2 else 1.0), caption)
    choices: tuple[Choice, ...] = (Choice("Figure", tuple(q[0].upper() + q[1:] for q in QUANTITIES)),)
    if len(drafts) > 1:
        choices = (Choice("Draft", tuple(d or "the pair's first" for d in drafts)), *choices)
    label = "What each count of branches brings, with overheads and contention on and off"
    return Chart("overheads", label, views, choices)


def _hedging(v: Verification, counted: Sequence[Supposed]) -> str:
    if not counted:
        return "No SpecBranch configuration was run, so there is no hedging to count."
    chosen = find_chosen(v.compared).configuration
    drafts = [s.configuration.draft for s in counted]
    draft = chosen.draft if chosen.draft in drafts else drafts[0]
    mine = [s for s in counted if s.configuration.draft == draft]
    real = [s for s in mine if s.what_if == WhatIf() and s.configuration.branches > 1]
    best = max(real, key=lambda s: _gain(s).value)
    gain, count = _gain(best), best.configuration.branches
    if not has_interval(gain):
        word = "as far as one prompt can tell, hedging " + ("pays" if gain.value > 1.0 else "does not pay")
    elif gain.low > 1.0:
        word = "hedging nets a gain after all overheads"
    elif gain.high < 1.0:
        word = "hedging costs more than it brings"
    else:
        word = "whether hedging nets a gain is within its interval"
    ideal = next(
        s
        for s in mine
        if not s.what_if.overheads and not s.what_if.contention and s.configuration.branches == count
    )
    return (
        f"With {draft or 'the draft'} and everything counted, {count} branches, the best of those tried, run at "
        f"{times(gain.value)} ({interval(gain, 2)}) the speed of one: {word}. Without overheads and contention it "
        f"would be {times(_gain(ideal).value)}."
    )


def _gain(s: Supposed) -> Estimate:
    return s.over_one or s.speed


def devices(v: Verification, c: Configuration) -> int | None:
    """Cores or devices that a configuration occupies; nothing if the record does not say."""
    found = next((o for o in v.occupied if o.placement == c.placement), None)
    if found is None:
        return None
    return found.both if "draft" in c.uses else found.target


def _per_one(v: Verification, c: Compared) -> float | None:
    """Measured tokens/s for each device."""
    count = devices(v, c.configuration)
    return c.measured.speed.value / count if count else None


def _best_alone(v: Verification) -> float | None:
    """The most tokens/s for each device without speculation."""
    alone = [_per_one(v, c) for c in v.compared if not c.configuration.drafts]
    known = [speed for speed in alone if speed is not None]
    return max(known) if known else None


def _per_device(v: Verification) -> str:
    best, unit = _best_alone(v), v.occupied[0].unit if v.occupied else "device"
    drafting = [(p, c) for c in v.compared if c.configuration.drafts and (p := _per_one(v, c)) is not None]
    if best is None or not drafting:
        return ""
    most, one = max(drafting, key=lambda found: found[0])
    return (
        f" For each {unit} it occupies, the best way to speculate ({in_words(one.configuration)}) measured "
        f"{number(most)} tokens/s, {times(most / best)} the best without speculation."
    )


def _gain_table(counted: Sequence[Supposed]) -> tuple[Table, ...]:
    if not counted:
        return ()
    worlds = list(dict.fromkeys(_world(s.what_if) for s in counted))
    rows: dict[Configuration, list[str]] = {}
    for s in counted:
        rows.setdefault(s.configuration, [marked(in_words(s.configuration), s.far_context)]).append(
            ranged(_gain(s), 2)
        )
    columns = ("configuration", *(f"{world} (95%)" for world in worlds))
    title = "Speed over that of one branch"
    return (Table(title, columns, tuple(map(tuple, rows.values())), columns[:1], shown=True),)


def _overhead_table(v: Verification) -> Table:
    plain_rows = [s for s in v.overheads if s.over_one is None]
    worlds = list(dict.fromkeys(s.what_if for s in plain_rows))
    found = {(s.configuration, s.what_if): s for s in plain_rows}
    best = _best_alone(v)
    rows = []
    for c in v.compared:
        count, per_one = devices(v, c.configuration), _per_one(v, c)
        simulated = [found.get((c.configuration, w)) for w in worlds]
        rows.append(
            (
                marked(in_words(c.configuration), any(s.far_context for s in simulated if s)),
                ranged(c.measured.speed),
                ranged(c.measured.best_speed_up, 2),
                str(count or ""),
                number(per_one) if per_one else "",
                number(per_one / best, 2) if per_one and best else "",
                *(ranged(s.best_speed_up, 2) if s else "" for s in simulated),
            )
        )
    unit = v.occupied[0].unit if v.occupied else "device"
    columns = (
        "configuration",
        "measured tokens/s (95%)",
        "measured speed-up over the best autoregressive (95%)",
        f"{unit}s",
        f"tokens/s for each {unit}",
        "that over the best autoregressive's",
        *(f"simulated speed-up {_world(w)} (95%)" for w in worlds),
    )
    title = "Speed-up raw, for each device, and with overheads on and off"
    return Table(title, columns, tuple(rows), columns[:1])


def sensitivities(v: Verification) -> Section:
    """What matters most to the gain."""
    short, title = "Sensitivities", "What the gain depends on"
    mine, alone = _pair_up(v)
    if not mine:
        return Section("sensitivities", short, title, "The record holds no sensitivities.")
    base = mine[WhatIf()]
    rival = alone.get(WhatIf())
    label = in_words(base.configuration)
    choices = ["Speed-up over the best autoregressive", f"Tokens/s of {label}"]
    subjects = [(mine, 1), (mine, 0)]
    if rival:
        choices.append(f"Tokens/s of {in_words(rival.configuration)}")
        subjects.append((alone, 0))
    views, ranked = {}, []
    for index, (subject, quantity) in enumerate(subjects):
        rows = _ranked(subject, quantity)
        ranked.append(rows)
        start = _figure(subject[WhatIf()], quantity)
        name = ("tokens/s", "speed-up over the best autoregressive")[quantity]
        figure = what_if_charts.tornado(rows, start.value, name, 2 if quantity else 1)
        caption = f"Dashed: {name} without any change, {ranged(start, 2 if quantity else 1)}. Widest first."
        views[str(index)] = View(figure, caption)
    text = (
        "Bars of the change of tokens per second and of the speed-up under each supposed change, widest first"
    )
    rows_of_table = tuple(
        (
            _changed(w),
            ranged(mine[w].speed),
            ranged(mine[w].best_speed_up, 2),
            signed(mine[w].best_speed_up.value / base.best_speed_up.value - 1.0),
            in_words(alone[w].configuration) if w in alone else "",
            ranged(alone[w].speed) if w in alone else "",
        )
        for w in mine
    )
    columns = (
        "change",
        f"tokens/s of {label} (95%)",
        "speed-up over the best autoregressive (95%)",
        "change of the speed-up",
        "best autoregressive",
        "its tokens/s (95%)",
    )
    words = ("change", "best autoregressive")
    return Section(
        "sensitivities",
        short,
        title,
        _largest(label, ranked[0], base.best_speed_up),
        (Chart("sensitivities", text, views, (Choice("Figure", tuple(choices)),)),),
        (Table("Every change", columns, rows_of_table, words),),
        "Simulated on the calibration's prompts. Each change is made alone; the best autoregressive set-up is found "
        "anew under each.",
    )


def _pair_up(v: Verification) -> tuple[dict[WhatIf, Supposed], dict[WhatIf, Supposed]]:
    """By change: the configuration that is looked at, and the best autoregressive set-up."""
    return (
        {s.what_if: s for s in v.sensitivities if s.configuration.drafts},
        {s.what_if: s for s in v.sensitivities if not s.configuration.drafts},
    )


def _figure(s: Supposed, quantity: int) -> Estimate:
    return s.best_speed_up if quantity else s.speed


def _ranked(subject: dict[WhatIf, Supposed], quantity: int) -> list[tuple[str, list[Bar]]]:
    """Changes of one kind together, the widest first."""
    rows: dict[str, list[Bar]] = {}
    base = _figure(subject[WhatIf()], quantity).value
    for what_if, s in subject.items():
        if what_if == WhatIf():
            continue
        field, change = _change(what_if)
        value = _figure(s, quantity)
        raises = s.speed.value >= subject[WhatIf()].speed.value
        hover = (
            f"<b>{ROWS[field]} {change}</b><br>{plain(in_words(s.configuration), LONG)}<br>{ranged(s.speed)} tokens/s"
            f"<br>speed-up {ranged(s.best_speed_up, 2)}<br>{signed(value.value / base - 1.0)}"
        )
        rows.setdefault(ROWS[field], []).append(Bar(change, value.value, raises, hover))

    def width(bars: list[Bar]) -> float:
        values = [base, *(bar.value for bar in bars)]
        return max(values) - min(values)

    return sorted(rows.items(), key=lambda row: -width(row[1]))


def _change(what_if: WhatIf) -> tuple[str, str]:
    """What is changed, and to what in a few words."""
    field = next(name for name in ROWS if getattr(what_if, name) != getattr(WhatIf(), name))
    if what_if.alignment is not None:
        return field, percent(what_if.alignment, 0)
    if field in ("target_speed", "draft_speed"):
        return field, TIMES + number(getattr(what_if, field), 2)
    return field, "none"


def _changed(what_if: WhatIf) -> str:
    if what_if == WhatIf():
        return "none"
    field, change = _change(what_if)
    return f"{ROWS[field]}: {change}"


def _largest(label: str, rows: Sequence[tuple[str, list[Bar]]], base: Estimate) -> str:
    (name, bars), *rest = rows
    reached = " and ".join(f"{times(bar.value)} with {bar.change}" for bar in bars)
    crossing = [row for row, some in rows if any((bar.value > 1.0) != (base.value > 1.0) for bar in some)]
    found = (
        f"The speed-up of {label} over the best autoregressive set-up, predicted at {times(base.value)}, depends most "
        f"on the {name} ({reached})" + (f" and least on {rest[-1][0]}. " if rest else ". ")
    )
    if not crossing:
        return found + "None of these changes alone would turn the gain around."
    return found + f"{plural(len(crossing), 'change')} would turn it around: {', '.join(crossing)}."
