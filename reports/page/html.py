"""What every page is made of: a template, its charts, style and scripts in one file that loads nothing.

The page holds plotly.js once; its content policy allows its own scripts alone.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from calibrate.artifact import write_whole
from engine.errors import SpecBranchError
from reports.page import palette
from reports.page.sections import Section

FOLDER = Path(__file__).parent
CONFIG = {
    "showSendToCloud": False,
    "responsive": True,
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}


def fill(template: str, sections: Sequence[Section], record: str, legend: str = "", **values: Any) -> str:
    """A page as HTML: `template` of this folder with its `values`; `record` is the JSON to download.

    `legend`: what the short forms on charts mean.
    """
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    views = {
        chart.key: {key: {"figure": v.figure, "caption": v.caption} for key, v in chart.views.items()}
        for section in sections
        for chart in section.charts
    }
    scripts = (get_plotlyjs(), _own("page.js"))
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment.get_template(template).render(
        sections=sections,
        legend=legend,
        policy=_policy(scripts),
        scripts=[Markup(script) for script in scripts],
        style=Markup(_own("page.css")),
        charts=_inert(json.dumps({"views": views, "dark": palette.DARK, "config": CONFIG}, allow_nan=False)),
        record=_inert(record),
        **values,
    )


def write(out: Path, html: str) -> None:
    """Write a page to `out`. SpecBranchError if the file cannot be written."""
    try:
        write_whole(out, html.encode())
    except OSError as error:
        raise SpecBranchError(f"{out} cannot be written ({error.strerror}); choose another file.") from error


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
