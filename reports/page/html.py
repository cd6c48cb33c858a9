"""What every page is made of: a template, its charts, style and scripts in one file that loads nothing.

The page holds plotly.js once, and its content policy allows its own scripts alone. plotly.js, the charts and the record
are packed (`pack`), and `page.js` inflates them.
"""

import base64
import functools
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from calibrate.artifact import write_whole
from engine.errors import SpecBranchError
from reports.page import palette
from reports.page.sections import Answers
from reports.page.verdict import Verdict

FOLDER = Path(__file__).parent
_NO_MARKUP, _AS_BASE85 = str.maketrans("&<>", ",.:"), str.maketrans(",.:", "&<>")
CONFIG = {
    "showSendToCloud": False,
    "responsive": True,
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
}


def fill(template: str, answers: Answers, opening: Verdict, record: str, **values: Any) -> str:
    """A page as HTML: `template` of this folder with its `values`; `record` is the JSON to download."""
    views = {
        chart.key: {
            key: {"figure": _six_digits(v.figure), "caption": v.caption} for key, v in chart.views.items()
        }
        for _, _, sections in answers.questions
        for section in sections
        for chart in section.charts
    }
    plotly, hashed = _plotly()
    script = _own("page.js")
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment.get_template(template).render(
        questions=answers.questions,
        opening=opening,
        policy=_policy(hashed, _hash(script)),
        script=Markup(script),
        style=Markup(_own("page.css")),
        plotly=plotly,
        charts=pack(json.dumps({"views": views, "dark": palette.DARK, "config": CONFIG}, allow_nan=False)),
        record=pack(record),
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


def pack(text: str) -> str:
    """Text in UTF-8, compressed by gzip, as letters none of which is markup: base85, a sixteenth less than base64."""
    return base64.b85encode(gzip.compress(text.encode(), mtime=0)).decode().translate(_NO_MARKUP)


def unpack(packed: str) -> str:
    """What was packed."""
    return gzip.decompress(base64.b85decode(packed.translate(_AS_BASE85))).decode()


@functools.cache
def _plotly() -> tuple[str, str]:
    """plotly.js packed, and its hash."""
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    script = get_plotlyjs()
    return pack(script), _hash(script)


def _six_digits(value: Any) -> Any:
    """A figure whose numbers have six digits, which are more than a screen shows."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _six_digits(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_six_digits(inner) for inner in value]
    return value


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _policy(*hashes: str) -> str:
    """A content policy under which only the scripts of these hashes run, and nothing is loaded."""
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
