"""One self-contained page from a verification: charts, tables, findings, and the raw record to download.

write_page(load_verification(path), Path("report.html"))
"""

from pathlib import Path

from calibrate.artifact import Artifact
from calibrate.traces.acceptance_statistics import acceptance_statistics
from reports.page import comparison, conditions, html, replays, what_ifs
from reports.page.acceptance_page import acceptance
from reports.page.error_budget_page import error_budget
from reports.page.frontier import frontier
from reports.page.sections import Answers
from reports.page.settlement_page import settlement
from reports.page.verdict import verdict
from reports.verify.error_budget import ErrorBudget
from reports.verify.settle import settle
from reports.verify.verification import Verification


def write_page(
    verification: Verification,
    out: Path,
    artifact: Artifact | None = None,
    budget: ErrorBudget | None = None,
) -> None:
    """Write the page of a verification to `out`; with the calibration it shows costs too, and the error's parts.

    SpecBranchError if the file cannot be written.
    """
    html.write(out, render(verification, artifact, budget))


def render(
    verification: Verification, artifact: Artifact | None = None, budget: ErrorBudget | None = None
) -> str:
    """The page as HTML."""
    settled = settle(verification)
    answers = Answers(
        run=(comparison.speeds(verification),),
        trust=(
            comparison.prediction(verification),
            *([error_budget(budget)] if budget else []),
            replays.timeline(verification),
            *([settlement(settled)] if settled else []),
        ),
        why=(
            comparison.shares(verification),
            comparison.dropped(verification),
            frontier(verification),
            *([acceptance(acceptance_statistics(artifact))] if artifact else []),
            *([conditions.costs(artifact.costs)] if artifact else []),
        ),
        what_if=(
            replays.tradeoff(verification),
            what_ifs.overheads(verification),
            what_ifs.sensitivities(verification),
        ),
        conditions=(conditions.conditions(verification, artifact),),
    )
    return html.fill(
        "template.html",
        answers,
        verdict(verification),
        verification.model_dump_json(),
        verification=verification,
    )
