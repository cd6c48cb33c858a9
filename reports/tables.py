"""Results as tables for a terminal."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import median

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from calibrate.artifact import Artifact
from engine.metrics import Estimate, Metrics
from engine.naming import in_words
from engine.record import Run
from reports.page.sections import chosen_how, searched
from reports.verify.check import Check
from reports.verify.fidelity import CRITERIA, Fidelity
from reports.verify.verdict_words import QUESTIONS, brief, course, sentence
from reports.verify.verification import Compared, Verification, find_chosen, find_fastest
from reports.wording import has_interval, number, percent, stacked
from reports.wording import sentence as as_sentence
from scenarios.schema import Scenario
from sim.search.tune import Scored, Tuning
from sim.sweeps.run import Outcome
from sim.world.reach import MEANING, marked

WIDTH = 100  # where the output is not a terminal; every table fits it
WIDE = 168  # what all columns of the wide ones take


def console(wide: bool = False) -> Console:
    """Standard output; where it is not a terminal, as wide as the tables need."""
    return Console(width=None if sys.stdout.isatty() else WIDE if wide else WIDTH)


Simulated = tuple[str, Estimate, Estimate, Metrics | None]
"""A configuration's name, its speed, its speed-up over the best autoregressive set-up, and its metrics."""


def _simulated_table(title: str, parts: Mapping[str, Sequence[Simulated]], wide: bool = True) -> Table:
    """A row a configuration, in parts by their headings, of which a single one has none.

    Idle times and hedges only where it may be `wide`.
    """
    table = Table(title=escape(title))
    table.add_column("configuration", overflow="fold")
    headings = ["tokens/s (95%)", "speed-up (95%)"]
    if any(metrics for rows in parts.values() for *_, metrics in rows):
        headings += ["accepted length", "rollback"]
        headings += ["hedge", "target idle", "draft idle"] if wide else []
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    several = len(parts) > 1
    for heading, rows in parts.items():
        if several:
            table.add_section()
            table.add_row(f"[bold]{escape(heading)}[/bold]")
        for name, speed, speed_up, metrics in rows:
            shown = [f"{several * '  '}{escape(name)}", stacked(speed), stacked(speed_up, 2)]
            if metrics:
                shares = [metrics.rollback_rate]
                shares += [metrics.hedge_rate, metrics.target_idle, metrics.draft_idle] if wide else []
                accepted = f"{metrics.mean_accepted_length:.2f}"
                shown += [accepted, *(f"{max(0.0, share):.1%}" for share in shares)]
            table.add_row(*shown)
    return table


def print_outcomes(
    out: Console,
    scenario: Scenario,
    artifact: Artifact | None,
    outcomes: Sequence[Outcome],
    wide: bool = False,
) -> None:
    """A scenario's table by its what-ifs, where its figures come from, and what a reader has to know."""
    parts: dict[str, list[Simulated]] = {}
    for o in outcomes:
        row = (marked(in_words(o.configuration), o.far_context), o.speed, o.speed_up, o.metrics)
        parts.setdefault(o.what_if.label() or "nothing changed", []).append(row)
    name = scenario.hardware.name if scenario.hardware else ""
    out.print(_simulated_table(f"{scenario.title}: {name}" if name else scenario.title, parts, wide))
    if len(scenario.what_if) == 1 and (changed := scenario.what_if[0].label()):
        out.print(f"What if: {changed}.")
    if artifact is None:
        stated = "Costs and acceptance are" if scenario.hardware is None else "Acceptance is"
        out.print(f"{stated} stated in the file, not measured; intervals are over paths.")
    else:
        recorded = artifact.recorded
        what = "Simulated over" if scenario.hardware is None else "Texts and acceptance are those of"
        out.print(
            f"{what} a calibration of {recorded.created} ({recorded.effort}, "
            f"{len(recorded.prompts)} prompts); intervals are over prompts; the speed-up is over the best "
            "autoregressive placement.",
            highlight=False,
        )
    _print_meaning(out, any(o.far_context for o in outcomes))
    for note in _gathered(note for o in outcomes for note in o.notes):
        out.print(f"Note: {note}.", highlight=False)


def _print_meaning(out: Console, far: bool) -> None:
    """What the mark means, where it stands."""
    if far:
        out.print(f"{MEANING}.", highlight=False)


def _gathered(notes: Iterable[str]) -> Iterator[str]:
    """Each note once; of those that differ in their counts alone the first one, and how many there are."""
    alike: dict[str, list[str]] = {}
    for note in dict.fromkeys(notes):
        alike.setdefault(re.sub(r"\d+", "", note), []).append(note)
    for first, *others in alike.values():
        yield f"{first} (one of {len(others) + 1} alike)" if others else first


SHOWN, SHOWN_WIDE = 5, 12


def print_tuned(out: Console, found: Tuning, wide: bool = False) -> None:
    """The best configurations, the baselines and the advice; where it may be `wide`, more of the first and trades."""
    fastest = [*found.scored[: SHOWN_WIDE if wide else SHOWN]]
    rest = [s for s in (found.chosen, *found.baselines) if s not in fastest]
    rows = [
        (marked(in_words(s.configuration), s.far_context), s.speed, s.speed_up, None)
        for s in [*fastest, *rest]
    ]
    title = (
        f"Predicted: the {len(fastest)} best of {len(found.scored)}, then the best of each policy and draft"
    )
    out.print(_simulated_table(title, {"": rows}))
    if wide:
        out.print(_front_table(found.front))
    out.print(
        f"Over {found.prompts} prompts, {found.tokens} tokens; intervals are over prompts.", highlight=False
    )
    _print_meaning(out, any(s.far_context for s in found.scored))
    for note in found.notes:
        out.print(f"Note: {note}.", highlight=False)
    out.print(found.advice[0].upper() + found.advice[1:], highlight=False)


def _front_table(front: Sequence[Scored]) -> Table:
    table = Table(title="Nothing is better in speed, speed for each device, and waste at once")
    table.add_column("configuration", overflow="fold")
    for heading in (
        "tokens/s (95%)",
        "devices",
        "tokens/s\nfor each",
        "wasted for\neach token",
        "rollback\nrate",
    ):
        table.add_column(heading, justify="right", overflow="fold")
    for s in front[:SHOWN_WIDE]:
        table.add_row(
            escape(marked(in_words(s.configuration), s.far_context)),
            stacked(s.speed),
            str(s.devices),
            f"{s.speed.value / s.devices:.1f}",
            f"{s.waste:.2f}",
            f"{s.rollback_rate:.1%}",
        )
    if len(front) > SHOWN_WIDE:
        table.add_row(f"and {len(front) - SHOWN_WIDE} more")
    return table


def verified_table(verification: Verification, wide: bool = False) -> Table:
    """Predicted beside measured tokens/s, fastest first, and whether the error is inside the tolerance.

    `wide`: also why each is here, what else was predicted, speed-ups and rollback.
    """
    most = verification.tolerance.tail_error
    columns: dict[str, Callable[[Compared], str]] = {
        "configuration": lambda row: escape(marked(in_words(row.configuration), row.far_context)),
        "predicted\ntokens/s": lambda row: stacked(row.predicted.speed),
        "measured\ntokens/s": lambda row: stacked(row.measured.speed),
        "error": lambda row: f"{row.error:+.1%}",
        f"within\n{most:.0%}?": lambda row: "inside" if abs(row.error) <= most else "outside",
    }
    if wide:
        columns |= {
            "role": lambda row: row.role,
            "as\ncalibrated": lambda row: f"{row.as_calibrated.value:.1f}",
            "replayed": lambda row: f"{row.replayed.value:.1f}" if row.replayed else "",
            "speed-up": lambda row: stacked(row.measured.best_speed_up, 2),
            "rollback, predicted\n/ measured": lambda row: " / ".join(
                f"{side.metrics.rollback_rate:.1%}" for side in (row.predicted, row.measured)
            ),
        }
    table = Table(title="Predicted and measured, with 95% intervals")
    for heading in columns:
        words = heading in ("configuration", "role")
        table.add_column(heading, justify="left" if words else "right", overflow="fold")
    for row in sorted(verification.compared, key=lambda c: -c.measured.speed.value):
        table.add_row(*(cell(row) for cell in columns.values()))
    return table


def verified_summary(verification: Verification) -> str:
    """What the table says, in sentences."""
    rows = verification.compared
    chosen, best = find_chosen(rows), find_fastest(rows)
    tokens = sum(len(s.run.tokens) for row in rows for s in row.samples)
    ties = sum(row.near_ties for row in rows)
    wrong = sum(row.mismatches for row in rows)
    regret = 1 - chosen.measured.speed.value / best.measured.speed.value
    lines = [
        *map(as_sentence, verification.remarks),
        f"{len(verification.prompts)} prompts that the calibration did not see x {verification.repeats} repeats, "
        f"up to {verification.max_tokens} tokens each, {chosen_how(verification)}; intervals are over prompts.",
        f"Error of the predicted tokens/s over {len(rows)} configurations: {_size([r.error for r in rows])}; on the "
        f"same texts (replayed): {_size([r.timing_error for r in rows])}; of the speed-up over the best autoregressive "
        f"set-up: {_size([r.speed_up_error for r in rows])}; "
        f"as calibrated, without the machine's pace since: {_size([r.error_as_calibrated for r in rows])}.",
        f"The chosen one ({in_words(chosen.configuration)}, of {searched(verification)}) ran "
        f"{chosen.measured.best_speed_up.value:.2f} times as "
        f"fast as the best autoregressive set-up, {regret:.1%} slower than the fastest measured "
        f"({in_words(best.configuration)}).",
        f"Of {tokens} tokens, {ties} were not what the target takes itself in one pass over the text but within "
        f"{verification.tie:g} of it in logits (numeric ties), {wrong} differed by more.",
        *([f"{MEANING}."] if any(row.far_context for row in rows) else []),
        *(f"Note: {note}." for note in verification.notes),
    ]
    if verification.other_hardware:
        lines.append("The calibration was made on other hardware than this.")
    return "\n".join(lines)


def print_fidelity(out: Console, found: Fidelity, verification: Verification, wide: bool = False) -> None:
    """Both verdicts, and the criteria behind them; where it may be `wide`, what would decide those that are open."""
    table = Table(title="The criteria, with limits of the true figures")
    for heading in ("criterion", "as calibrated", "at the run's pace, on these texts", "asked for"):
        table.add_column(heading, overflow="fold")
    for then, now in zip(found.forecast.checks, found.checks, strict=True):
        if now.name in CRITERIA:
            table.add_row(
                now.name, _cell(then), _cell(now), f"{'>=' if now.least else '<='} {_shown(now, now.bound)}"
            )
    out.print(table)
    if how := course(verification):
        out.print(how, highlight=False)
    for question, asked in QUESTIONS.items():
        answer = sentence if wide else brief
        out.print(f"{asked}? {answer(found, question)}", highlight=False)


def _cell(check: Check) -> str:
    figure = check.figure
    limits = f" ({_shown(check, figure.low)} to {_shown(check, figure.high)})" if has_interval(figure) else ""
    when = f" after {check.prompts} prompts" if check.prompts else ""
    return f"{_shown(check, figure.value)}{limits}: {check.outcome}{when}"


def _shown(check: Check, value: float) -> str:
    return number(value, 2) if check.least else percent(value)


def _size(errors: Sequence[float | None]) -> str:
    """How large signed errors are."""
    sizes = [abs(error) for error in errors if error is not None]
    return f"median {median(sizes):.1%}, largest {max(sizes):.1%}" if sizes else "unknown"


def run_summary(run: Run, metrics: Metrics, remarks: Sequence[str] = ()) -> str:
    """One generation's figures, and what has to be said with them."""
    lines = [
        *map(as_sentence, remarks),
        f"{metrics.tokens} tokens at {metrics.tokens_per_second:.1f} tokens/s "
        f"({run.seconds:.2f} s, the first after {run.first_token_seconds:.2f} s; {run.ending})",
        f"mean accepted length {metrics.mean_accepted_length:.2f}; rollback {metrics.rollback_tokens} tokens, "
        f"hedge {metrics.hedge_tokens} tokens; busy: target {metrics.target_busy:.0%}, "
        f"draft {metrics.draft_busy:.0%} of the time",
    ]
    return "\n".join(lines)
