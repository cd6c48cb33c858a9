"""The sections that set what was predicted beside what was measured."""

from collections.abc import Sequence
from statistics import median

from engine.metrics import Estimate
from engine.naming import in_words, policy_name
from reports.page import charts
from reports.page.sections import Section, Table, single
from reports.verify.check import Check
from reports.verify.fidelity import Fidelity, judge
from reports.verify.verdict_words import course
from reports.verify.verification import (
    Compared,
    Verification,
    find_baseline,
    find_chosen,
    find_fastest,
    speculates,
)
from reports.wording import has_interval, listing, milliseconds, number, percent, plural, ranged, signed
from sim.world.reach import marked

BARS = "Upper bars, filled: measured. Lower bars, open: predicted."


def speeds(v: Verification) -> Section:
    """Tokens/s of every configuration."""
    best, fastest = find_baseline(v.compared), find_fastest(v.compared)
    speculative = [c for c in v.compared if speculates(c)]
    slower = sum(c.measured.best_speed_up.value < 1.0 for c in speculative)
    finding = (
        f"Of {plural(len(v.compared), 'configuration')} measured, {in_words(fastest.configuration)} was the fastest at "
        f"{ranged(fastest.measured.speed)} tokens/s; {_some(slower, len(speculative))} with speculation "
        f"{'were' if slower > 1 else 'was'} slower than the best autoregressive set-up."
    )
    caption = "Filled marks: measured. Open marks: predicted. Bars: 95% intervals over prompts."
    if best:
        caption += f" Dashed: the best autoregressive set-up, {in_words(best.configuration)}."
    rows = tuple(
        (
            marked(in_words(c.configuration), c.far_context),
            c.role,
            ranged(c.measured.speed),
            ranged(c.measured.best_speed_up, 2),
            number(c.predicted.best_speed_up.value, 2),
            ranged(c.measured.speed_up, 2),
            number(c.measured.metrics.mean_accepted_length, 2),
            milliseconds(c.measured.metrics.first_token_seconds, 1),
            str(len(c.samples)),
            str(c.near_ties),
            str(c.mismatches),
        )
        for c in v.compared
    )
    columns = (
        "configuration",
        "role",
        "tokens/s (95%)",
        "speed-up over the best autoregressive (95%)",
        "the same, predicted",
        "speed-up in the same placement (95%)",
        "accepted length",
        "first token",
        "runs",
        "near ties",
        "mismatches",
    )
    label = "Measured and predicted tokens per second of each configuration, the fastest at the top"
    sorted_by_speed = sorted(v.compared, key=lambda c: -c.measured.speed.value)
    return Section(
        "speeds",
        "Speeds",
        "Speed of every configuration",
        finding,
        (single("speeds", label, charts.speeds(sorted_by_speed, best, find_chosen(v.compared)), caption),),
        (Table("The speeds in numbers", columns, rows, ("configuration", "role")),),
    )


def _some(count: int, of: int) -> str:
    return f"all {of}" if count == of > 1 else f"{count or 'none'} of the {of}"


def prediction(v: Verification) -> Section:
    """Predicted against measured, with every signed error."""
    errors = [c.error for c in v.compared]
    timing = [abs(e) for c in v.compared if (e := c.timing_error) is not None]
    known = [c for c in v.compared if has_interval(c.measured.speed) and has_interval(c.predicted.speed)]
    finding = (
        f"Over {plural(len(errors), 'configuration')} the median absolute error of the predicted tokens/s was "
        f"{percent(median(map(abs, errors)))}, from {signed(min(errors))} to {signed(max(errors))}"
    )
    finding += (
        f"; in {sum(map(_overlap, known))} of {len(known)} the two 95% intervals overlap." if known else "."
    )
    finding += (
        " Predictions are for the machine's pace, timed between the runs by steps and short prompts of the models; as "
        "it was calibrated, the median error would be "
        f"{percent(median(abs(c.error_as_calibrated) for c in v.compared))}."
    )
    if timing:
        finding += (
            f" Replaying the measured texts themselves leaves the error of timing alone: {percent(median(timing))} "
            "in the median."
        )
    judged = judge(v)
    replayed, forecast = (
        dict(zip((id(c) for c in v.compared), answer.configurations, strict=True))
        for answer in (judged, judged.forecast)
    )
    rows = tuple(
        (
            marked(in_words(c.configuration), c.far_context),
            ranged(c.predicted.speed),
            ranged(c.measured.speed),
            signed(c.error),
            _error(forecast[id(c)].error),
            _error(replayed[id(c)].error),
            signed(c.speed_up_error),
            signed(c.predicted.metrics.mean_accepted_length / c.measured.metrics.mean_accepted_length - 1.0),
        )
        for c in sorted(v.compared, key=lambda c: -abs(c.error))
    )
    columns = (
        "configuration",
        "predicted tokens/s (95%)",
        "measured tokens/s (95%)",
        "error",
        "error as calibrated (95%)",
        "error of timing alone (95%)",
        "error of the speed-up",
        "error of the accepted length",
    )
    label = "Predicted against measured tokens per second, with 95 percent intervals and the line of equality"
    caption = (
        "Above the dashed line the engine was faster than predicted, below it slower. Bars: 95% intervals over "
        "prompts. Filled marks: both models at once; open marks: in turn on one device."
    )
    return Section(
        "prediction",
        "Accuracy",
        "Predicted against measured",
        finding,
        (single("prediction", label, charts.predicted_measured(v.compared), caption),),
        (
            _checks(judged, v),
            Table("Signed errors, largest first", columns, rows, ("configuration",)),
        ),
    )


def _error(error: Estimate) -> str:
    """A signed error in percent, with its interval where there is one."""
    if not has_interval(error):
        return signed(error.value)
    return f"{signed(error.value)} ({signed(error.low)} to {signed(error.high)})"


def _checks(found: Fidelity, v: Verification) -> Table:
    """What the predictions were held to."""
    rows = []
    for then, now in zip(found.forecast.checks, found.checks, strict=True):
        if (then.sentence, then.outcome) == (now.sentence, now.outcome):
            rows.append((now.name, "both", now.sentence, _outcome(now)))
        else:
            rows += [
                (c.name, which, c.sentence, _outcome(c)) for c, which in ((then, "forecast"), (now, "model"))
            ]
    pairs = f"{found.in_order} of {found.told_apart}"
    order = (
        "order of pairs",
        "model",
        f"{pairs} pairs of configurations that the measurement tells apart were predicted in their order",
        "not a criterion",
    )
    columns = ("criterion", "question", "finding", "outcome")
    title = f"The tolerance, fixed beforehand, with limits of the true figures. {course(v)}".strip()
    return Table(title, columns, (*rows, order), columns, shown=True)


def _outcome(check: Check) -> str:
    """What came of a criterion, and when, or what would decide it."""
    when = f" after {plural(check.prompts, 'prompt')}" if check.prompts else ""
    return check.outcome + when + (f": {check.needs}" if check.needs else "")


def _overlap(c: Compared) -> bool:
    return c.predicted.speed.low <= c.measured.speed.high and c.measured.speed.low <= c.predicted.speed.high


def shares(v: Verification) -> Section:
    """Where the time of each device goes."""
    one = find_chosen(v.compared)
    m, p = one.measured.metrics, one.predicted.metrics
    finding = (
        f"Under the chosen configuration the target computed {percent(m.target_busy)} of the time (predicted "
        f"{percent(p.target_busy)}) and the draft {percent(m.draft_busy)} (predicted {percent(p.draft_busy)}); their "
        f"devices idled {percent(m.target_idle)} and {percent(m.draft_idle)}."
    )
    kinds = ("target busy", "target idle", "draft busy", "draft idle")
    rows = tuple(
        (
            in_words(c.configuration),
            *(
                percent(getattr(side.metrics, kind.replace(" ", "_")))
                for kind in kinds
                for side in (c.measured, c.predicted)
            ),
        )
        for c in v.compared
    )
    columns = (
        "configuration",
        *(f"{kind}, {world}" for kind in kinds for world in ("measured", "predicted")),
    )
    label = "Busy and idle shares of the target's and the draft's device for each configuration"
    caption = f"{BARS} Pale: idle. Grey: the other model's turn, where both share one device."
    return Section(
        "shares",
        "Device time",
        "Where the time goes",
        finding,
        (single("shares", label, charts.shares(v.compared), caption),),
        (Table("The shares in numbers", columns, rows, ("configuration",)),),
    )


def dropped(v: Verification) -> Section:
    """Rollback and hedge tokens."""
    short, title = "Rollback", "Drafted in vain: rollback and hedge tokens"
    speculative = [c for c in v.compared if speculates(c)]
    if not speculative:
        return Section("dropped", short, title, "No configuration drafted anything.")
    rows = tuple(
        (
            in_words(c.configuration),
            *(
                cell
                for kind in ("rollback", "hedge")
                for m in (c.measured.metrics, c.predicted.metrics)
                for cell in (f"{getattr(m, f'{kind}_tokens'):,}", percent(getattr(m, f"{kind}_rate")))
            ),
            f"{c.measured.metrics.tokens:,}",
            f"{c.predicted.metrics.tokens:,}",
        )
        for c in speculative
    )
    columns = (
        "configuration",
        *(
            f"{kind} {what}, {world}"
            for kind in ("rollback", "hedge")
            for world in ("measured", "predicted")
            for what in ("tokens", "rate")
        ),
        "tokens of text, measured",
        "tokens of text, predicted",
    )
    label = "Rollback and hedge tokens for each 100 tokens of text, by configuration"
    caption = (
        f"Dropped tokens for each 100 tokens of text. {BARS} Rollback: drafted on the line being followed, dropped "
        "because an earlier token was rejected. Hedge: drafted on branches that were not taken."
    )
    return Section(
        "dropped",
        short,
        title,
        _rolled_back(speculative) + _claim(speculative),
        (single("dropped", label, charts.dropped(speculative), caption),),
        (Table("The tokens in numbers", columns, rows, ("configuration",)),),
    )


def _rolled_back(compared: Sequence[Compared]) -> str:
    least, most = (pick(compared, key=lambda c: c.measured.metrics.rollback_rate) for pick in (min, max))
    off = max(abs(c.predicted.metrics.rollback_rate - c.measured.metrics.rollback_rate) for c in compared)
    if least is most:
        found = f"{in_words(least.configuration)} rolled back {percent(least.measured.metrics.rollback_rate)}"
    else:
        found = (
            f"between {percent(least.measured.metrics.rollback_rate)} ({in_words(least.configuration)}) and "
            f"{percent(most.measured.metrics.rollback_rate)} ({in_words(most.configuration)}) were rolled back"
        )
    return (
        f"Of the tokens drafted on the line being followed, {found}; the prediction was off by at most "
        f"{number(100 * off)} points."
    )


def _claim(compared: Sequence[Compared]) -> str:
    """SpecBranch's rollback against the methods it was published against, at their best with the same draft."""
    branched = [c for c in compared if c.configuration.policy == "specbranch"]
    if not branched:
        return ""
    mine = next((c for c in branched if c.role == "chosen"), None) or find_fastest(branched)
    ours = charts.per_hundred(mine.measured.metrics, "rollback")
    found = []
    for policy in ("speculative", "pearl"):
        rivals = [
            c
            for c in compared
            if c.configuration.policy == policy and c.configuration.draft == mine.configuration.draft
        ]
        if not rivals:
            continue
        rival = find_fastest(rivals)
        theirs = charts.per_hundred(rival.measured.metrics, "rollback")
        if theirs:
            more = ours / theirs - 1.0
            found.append(
                f"{percent(abs(more), 0)} {'more' if more > 0 else 'fewer'} rollback tokens than "
                f"{policy_name(policy)} ({in_words(rival.configuration)})"
            )
    return (
        f" For the same text {in_words(mine.configuration)} dropped {listing(found)}, as measured."
        if found
        else ""
    )
