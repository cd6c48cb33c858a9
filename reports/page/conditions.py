"""The sections a referee turns to: what the predictions were made of, and under which conditions it was measured."""

from collections.abc import Sequence
from statistics import fmean, median

import numpy as np

from calibrate.artifact import Artifact
from calibrate.cost_records import Cell, MeasuredCosts, PlacementCosts
from calibrate.costs.drift import ContentionSample, Drift
from calibrate.costs.slow_downs import slow_downs
from engine.naming import PLACES, in_words
from reports.page import condition_charts
from reports.page.figure import Chart, Choice, View
from reports.page.sections import Section, Table, chosen_how, pairs, searched, single
from reports.verify.steadiness import waiting
from reports.verify.verification import Verification, speculates
from reports.wording import MINUS, listing, milliseconds, number, percent, plural, ranged, signed, times


def costs(measured: MeasuredCosts) -> Section:
    """What each operation costs, alone and while the other model runs."""
    several = len(measured.placements) > 1
    views = {
        (str(i) if several else ""): View(condition_charts.costs(measured, here.placement), _seats(here))
        for i, here in enumerate(measured.placements)
    }
    choices = (
        (Choice("Placement", tuple(PLACES[c.placement] for c in measured.placements)),) if several else ()
    )
    label = "Milliseconds of a forward over the number of tokens, for the target and each draft"
    finding = _forwards(measured.placements[0])
    slow = [
        (here.placement, name, together, slower)
        for here in measured.placements
        for name, found in here.drafts.items()
        for together, slower in zip(found.together, slow_downs(found.together), strict=True)
    ]
    tables = [_forward_table(measured), _overhead_table(measured)]
    if slow:
        _, worst, _, (target, draft) = max(slow, key=lambda s: max(s[3]))
        finding += (
            f" Running at once slows the target by {times(target)} and the draft by {times(draft)} for the pair that "
            f"suffers most ({worst})."
        )
        rows = tuple(
            (
                name,
                PLACES[placement],
                f"{t.target_tokens} behind {t.context}",
                number(t.branches, 0),
                milliseconds(median(t.target_alone)),
                milliseconds(median(t.target_together)),
                times(slower[0]),
                milliseconds(median(t.draft_alone)),
                milliseconds(median(t.draft_together)),
                times(slower[1]),
            )
            for placement, name, t, slower in slow
        )
        columns = (
            "draft",
            "placement",
            "target's tokens",
            "draft's branches",
            "target alone",
            "target together",
            "target's slow-down",
            "draft alone",
            "draft together",
            "draft's slow-down",
        )
        title = "Contention: each model alone, and in rounds with the other"
        tables.insert(0, Table(title, columns, rows, ("draft", "placement"), shown=True))
    return Section(
        "costs",
        "Costs",
        "What each operation costs",
        finding,
        (Chart("costs", label, views, choices),),
        tuple(tables),
    )


def _forwards(here: PlacementCosts) -> str:
    context = min(c.cache_tokens for c in here.target)
    at = {c.rows: median(c.seconds) for c in here.target if c.cache_tokens == context}
    few, many = min(at), max((n for n in at if n <= 16), default=min(at))
    place = PLACES[here.placement]
    text = f"Placed {place}, a target forward over {plural(few, 'token')} takes {milliseconds(at[few])}"
    if many != few:
        text += f", over {many} tokens {times(at[many] / at[few])} as long"
    steps = []
    for name, found in here.drafts.items():
        first = min(found.forward, key=lambda c: (c.rows, c.cache_tokens))
        steps.append(f"{milliseconds(median(first.seconds))} ({name})")
    return text + (f"; a draft step takes {listing(steps)}." if steps else ".")


def _seats(here: PlacementCosts) -> str:
    contexts = sorted(
        {c.cache_tokens for c in here.target}
        | {c.cache_tokens for d in here.drafts.values() for c in d.forward}
    )
    lines = [
        f"{dash} behind {context}"
        for dash, context in zip(("solid", "dotted", "dashed"), contexts, strict=False)
    ]
    return (
        f"Target on {here.target_seat}, draft on {here.draft_seat}. Marks: raw samples. Lines: medians by tokens of "
        f"context, {listing(lines)}."
    )


def _forward_table(measured: MeasuredCosts) -> Table:
    rows = []
    for here in measured.placements:
        models = [("target", here.target), *((f"draft {n}", d.forward) for n, d in here.drafts.items())]
        for name, cells in models:
            for cell in cells:
                low, high = np.percentile(cell.seconds, [5, 95])
                rows.append(
                    (
                        name,
                        PLACES[here.placement],
                        str(cell.rows),
                        str(cell.cache_tokens),
                        milliseconds(median(cell.seconds)),
                        f"{number(1e3 * low, 2)} to {number(1e3 * high, 2)}",
                        str(len(cell.seconds)),
                    )
                )
    columns = ("model", "placement", "tokens", "context", "median", "5% to 95%, ms", "samples")
    return Table("Forwards in numbers", columns, tuple(rows), ("model", "placement"))


def _overhead_table(measured: MeasuredCosts) -> Table:
    rows: list[tuple[str, ...]] = []
    for here in measured.placements:
        place = PLACES[here.placement]

        def of_cells(
            what: str, name: str, cells: Sequence[Cell], place: str = place
        ) -> list[tuple[str, ...]]:
            return [(what, name, place, str(c.rows), str(c.cache_tokens), *_timing(c.seconds)) for c in cells]

        rows.append(("hand-over between the workers", "", place, "", "", *_timing(here.hand_over)))
        for name, found in here.drafts.items():
            rows += of_cells("step of n branches", name, found.branch)
            rows += of_cells("selecting a branch of n tokens", name, found.fork)
    columns = ("operation", "draft", "placement", "n", "context", "median", "samples")
    return Table("Hand-over, branches and their selection", columns, tuple(rows), columns[:3])


def _timing(seconds: Sequence[float]) -> tuple[str, str]:
    return milliseconds(median(seconds), 3), str(len(seconds))


def conditions(v: Verification, artifact: Artifact | None) -> Section:
    """Hardware, software, models, prompts, runs and how they were ordered, and how steady the machine was."""
    samples = sorted(((s, c) for c in v.compared for s in c.samples), key=lambda pair: pair[0].order)
    finding = (
        f"{plural(len(samples), 'real run')} of {plural(len(v.compared), 'configuration')} on "
        f"{plural(len(v.prompts), 'prompt')}, {plural(v.repeats, 'repeat')} each, up to "
        f"{plural(v.max_tokens, 'token')}."
    )
    figures: tuple[Chart, ...] = ()
    if v.reference_seconds:
        low, middle, high = (float(x) for x in np.percentile(v.reference_seconds, [5, 50, 95]))
        finding += (
            f" A fixed reference operation, timed {plural(len(v.reference_seconds), 'time')} in between, took "
            f"{milliseconds(middle)} in the median, and {signed(low / middle - 1)} to {signed(high / middle - 1)} of "
            "that from the 5th to the 95th percentile."
        )
        if waiting(v):
            finding += (
                f" For {percent(waiting(v))} of the runs' time threads waited for a core that something else had; "
                "their own waiting for each other is some 2% of it."
            )
        label = "Milliseconds of the fixed reference operation over the run"
        caption = "The reference operation, in the order timed. Dashed: its median. A steady machine draws a flat line."
        figures = (single("reference", label, condition_charts.reference(v.reference_seconds), caption),)
    prompts = tuple((p.id, p.kind, str(p.tokens), str(p.path_tokens), p.digest) for p in v.prompts)
    runs = tuple(
        (
            str(s.order),
            in_words(c.configuration),
            v.prompts[s.prompt].id if s.prompt < len(v.prompts) else str(s.prompt),
            str(s.repeat),
            f"{len(s.run.tokens):,}",
            number(s.run.seconds, 3),
            milliseconds(s.run.first_token_seconds, 1),
            s.run.ending,
            s.run.warning or "",
        )
        for s, c in samples
    )
    run_columns = (
        "order",
        "configuration",
        "prompt",
        "repeat",
        "tokens",
        "seconds",
        "first token",
        "ending",
        "warning",
    )
    prompt_columns = ("prompt", "kind", "tokens", "tokens of text", "digest")
    tables = (
        pairs("How it was measured", _method(v)),
        *((_pace(v.pace),) if v.pace else ()),
        *((_contention(v.crowds),) if v.crowds else ()),
        pairs("Hardware", tuple(v.hardware.items())),
        pairs("Software", tuple(v.software.items())),
        pairs("Models", tuple(v.models.items())),
        *((pairs("Calibration", _origin(artifact)),) if artifact else ()),
        Table("Prompts", prompt_columns, prompts, ("prompt", "kind", "digest"), shown=len(prompts) <= 12),
        Table(
            "Every run, in the order of the runs",
            run_columns,
            runs,
            ("configuration", "prompt", "ending", "warning"),
        ),
    )
    return Section("conditions", "Conditions", "How it was measured, and on what", finding, figures, tables)


def _pace(pace: Sequence[Drift]) -> Table:
    """What a step of each model took when it was calibrated and takes now, and what further rows of a forward do."""
    rows = tuple(
        (
            one.model,
            PLACES[one.placement],
            milliseconds(median(one.calibrated)),
            str(len(one.calibrated)),
            milliseconds(fmean(one.counted)),
            str(len(one.now)),
            ranged(one.factor, 2),
            ranged(rows, 2) if (rows := one.rows_factor) else "not told",
            number(one.dearer, 2),
        )
        for one in pace
    )
    columns = (
        "model",
        "placement",
        "calibrated, median",
        "visits",
        "between the runs, mean",
        "visits",
        "ratio (95%)",
        "further rows, its own ratio (95%)",
        "with the other models'",
    )
    title = (
        "The machine's pace: a step of each model, and what a short prompt takes beyond one; its forwards take longer "
        "by what these do"
    )
    return Table(title, columns, rows, ("model", "placement"), shown=True)


def _contention(found: Sequence[ContentionSample]) -> Table:
    """What target and draft do to each other in the processes of the runs, which predictions go by."""
    rows = tuple(
        (
            one.draft,
            PLACES[one.placement],
            str(together.target_tokens),
            str(together.branches),
            *(f"{times:.2f}" for times in slower),
            str(min(len(together.target_together), len(together.draft_together))),
        )
        for one in found
        for together, slower in zip(one.together, slow_downs(one.together), strict=True)
    )
    columns = (
        "draft",
        "placement",
        "target's tokens",
        "branches",
        "target slower",
        "draft slower",
        "samples, at least",
    )
    title = "Both models at once: how many times as long each takes beside the other, between the runs"
    return Table(title, columns, rows, ("draft", "placement"), shown=len(rows) <= 12)


def _method(v: Verification) -> list[tuple[str, str]]:
    warned = sum(s.run.warning is not None for c in v.compared for s in c.samples)
    baselines = [in_words(c.configuration) for c in v.compared if not speculates(c)]
    return [
        ("created", v.created),
        ("seed", str(v.seed)),
        (
            "runs",
            f"{plural(v.repeats, 'repeat')} of each prompt and configuration; the order taken is listed below",
        ),
        ("length", f"at most {plural(v.max_tokens, 'token')} of text"),
        ("tokens", chosen_how(v)),
        ("chosen from", searched(v)),
        ("baselines", listing(baselines) if baselines else "none"),
        (
            "intervals",
            "95%, over prompts; speeds and speed-ups are ratios of sums, intervals by the delta method",
        ),
        ("error", f"predicted over measured tokens/s, less one; with a {MINUS} the prediction was too slow"),
        (
            "near tie",
            f"a token that is not what the target takes itself in one pass over the text, but would be if two logits "
            f"differed by {v.tie:g} at most; beyond that it is a mismatch",
        ),
        (
            "warnings",
            f"{plural(warned, 'run')} ended with a warning" if warned else "no run ended with a warning",
        ),
        ("calibration", f"{v.calibration}, sha256 {v.calibration_digest}"),
        ("calibrated on", "other hardware" if v.other_hardware else "this hardware"),
        ("engine revision", v.engine_revision or "not noted"),
        *((f"note {i}", note) for i, note in enumerate(v.notes, 1)),
        *(() if v.notes else (("notes", "none: nothing was excluded or made again"),)),
    ]


def _origin(artifact: Artifact) -> list[tuple[str, str]]:
    measured, recorded = artifact.costs, artifact.recorded
    models = {"target": measured.target, **{f"draft {n}": m for n, m in measured.drafts.items()}}
    steady = {
        f"reference operation, {PLACES.get(p, p)}": s for p, s in measured.reference_seconds.items() if s
    }
    return [
        ("created", measured.created),
        (
            "effort",
            f"{measured.effort}, seed {measured.seed}, {plural(len(recorded.prompts), 'prompt')}",
        ),
        *((name, f"{m.spec.source}, sha256 {m.sha256}") for name, m in models.items()),
        *((f"remark {i}", remark) for i, remark in enumerate(artifact.remarks, 1)),
        ("engine revision", measured.engine_revision or "not noted"),
        ("contexts", f"up to {plural(measured.longest_context, 'token')}"),
        ("positions of the models", str(measured.positions or "no limit known")),
        *measured.hardware.items(),
        *((name, f"{milliseconds(median(s))} in the median of {len(s)}") for name, s in steady.items()),
        *((f"note {i}", note) for i, note in enumerate(measured.notes, 1)),
    ]
