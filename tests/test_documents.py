"""Links in the documents lead somewhere, and prose keeps to its columns."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "guides").glob("*.md")]
)
WRITTEN_BY_COMMANDS = {"benchmarks.md", "calibration.md", "load-benchmark.md", "simulation-speed.md"}
BY_HAND = [path for path in DOCUMENTS if path.name not in WRITTEN_BY_COMMANDS]
COLUMNS = 120


def named(path: Path) -> str:
    """A document's name in the repository, for a test's own."""
    return str(path.relative_to(ROOT))


def prose(text: str) -> str:
    """A document without its blocks of code."""
    fenced = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^    .*$", "", fenced, flags=re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """What GitHub calls the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", prose(path.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_links_lead_to_what_is_there(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"\s*\n\s*", " ", prose(path.read_text()))):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", BY_HAND, ids=named)
def test_prose_keeps_to_its_columns(path: Path) -> None:
    wide = [
        line
        for line in prose(path.read_text()).splitlines()
        if len(line) > COLUMNS and not line.startswith("|") and " " in line.strip()
    ]
    assert wide == []
