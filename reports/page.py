"""One self-contained page from a verification: charts, tables, findings, and the raw record to download.

    write_page(load_verification(path), Path("report.html"))

The page holds plotly.js once and loads nothing; its content policy allows its own scripts alone.
"""

import base64
import hashlib
import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from calibrate.acceptance_statistics import acceptance_statistics
from calibrate.artifact import Artifact, write_whole
from engine.errors import SpecBranchError
from reports import comparison, conditions, palette, replays, what_ifs
from reports.acceptance_page import acceptance
from reports.error_budget import ErrorBudget
from reports.error_budget_page import error_budget
from reports.frontier import frontier
from reports.settle import settle
from reports.settlement_page import settlement
from reports.verdict import verdict
from reports.verification import Verification

FOLDER = Path(__file__).parent
CONFIG = {
    "showSendToCloud": False,
    "responsive": True,
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}


def write_page(
    verification: Verification,
    out: Path,
    artifact: Artifact | None = None,
    budget: ErrorBudget | None = None,
) -> None:
    """Write the page of a verification to `out`; with the calibration it shows costs too, and the error's parts.

    SpecBranchError if the file cannot be written.
    """
    try:
        write_whole(out, render(verification, artifact, budget).encode())
    except OSError as error:
        raise SpecBranchError(f"{out} cannot be written ({error.strerror}); choose another file.") from error


def render(
    verification: Verification, artifact: Artifact | None = None, budget: ErrorBudget | None = None
) -> str:
    """The page as HTML."""
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    calibration = artifact.calibration if artifact else None
    settled = settle(verification)
    sections = [
        *([settlement(settled)] if settled else []),
        comparison.speeds(verification),
        comparison.prediction(verification),
        *([error_budget(budget)] if budget else []),
        replays.tradeoff(verification),
        frontier(verification),
        what_ifs.overheads(verification),
        what_ifs.sensitivities(verification),
        replays.timeline(verification),
        comparison.shares(verification),
        comparison.dropped(verification),
        *([acceptance(acceptance_statistics(artifact))] if artifact else []),
        *([conditions.costs(calibration)] if calibration else []),
        conditions.conditions(verification, calibration),
    ]
    views = {
        chart.key: {
            key: {"figure": view.figure, "caption": view.caption} for key, view in chart.views.items()
        }
        for section in sections
        for chart in section.charts
    }
    scripts = (get_plotlyjs(), _own("page.js"))
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment.get_template("template.html").render(
        verification=verification,
        verdict=verdict(verification),
        sections=sections,
        policy=_policy(scripts),
        scripts=[Markup(script) for script in scripts],
        style=Markup(_own("page.css")),
        charts=_inert(json.dumps({"views": views, "dark": palette.DARK, "config": CONFIG}, allow_nan=False)),
        record=_inert(verification.model_dump_json()),
    )


def _own(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _inert(text: str) -> Markup:
    """JSON as a script element may hold it: no character in it can end the element or begin markup."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _policy(scripts: tuple[str, ...]) -> str:
    """A content policy under which only these scripts run, and nothing is loaded."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
