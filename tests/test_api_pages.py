"""The pages of `make api`: every exported name stands there with its docstring, and every link leads somewhere."""

import importlib
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from commands import ROOT

from engine.exports import homes

PACKAGES = ("calibrate", "engine", "reports", "scenarios", "sim")
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


@dataclass
class Page(HTMLParser):
    """The identities and links of a page, what stands outside of links and listings, and each member's docstring."""

    html: str
    identities: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    unlinked: str = ""
    docstrings: dict[str, str] = field(default_factory=dict)
    _open: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.identities.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag not in VOID:
            self._open.append((tag, given))

    def handle_endtag(self, tag: str) -> None:
        while tag not in VOID and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        tags = {tag for tag, _ in self._open}
        if not tags & {"a", "script", "style", "svg"} and not self._inside("codehilite"):
            self.unlinked += data
        if self._inside("docstring") and (member := self._member()):
            self.docstrings[member] = self.docstrings.get(member, "") + data

    def _inside(self, kind: str) -> bool:
        return any(kind in given.get("class", "").split() for _, given in self._open)

    def _member(self) -> str | None:
        """What the innermost documented part is about; None: the package itself."""
        kinds = ("classattr",)
        return next(
            (
                given["id"]
                for tag, given in reversed(self._open)
                if "id" in given and (tag == "section" or given.get("class") in kinds)
            ),
            None,
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("api")
    command = [sys.executable, "-W", "error::UserWarning", "-m", "docs.api", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def pages(folder: Path) -> Mapping[str, Page]:
    """By their files' names."""
    return {path.name: Page(path.read_text()) for path in folder.glob("*.html")}


def test_there_is_a_page_for_each_package_and_an_index(folder: Path, pages: Mapping[str, Page]) -> None:
    assert set(pages) == {f"{name}.html" for name in ("index", *PACKAGES)}
    assert {f"{name}.html" for name in PACKAGES} <= set(pages["index.html"].links)
    assert (folder / "search.js").stat().st_size > 0


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_exports_stands_there_with_its_docstring(
    pages: Mapping[str, Page], package: str
) -> None:
    page, found = pages[f"{package}.html"], importlib.import_module(package)
    assert set(found.__all__) <= page.identities
    for name in found.__all__:
        said = page.docstrings.get(name, "").split()
        own = getattr(found, name).__doc__ or ""
        assert said, name
        if callable(getattr(found, name)):
            assert said[0].rstrip(".,:;") in own, name


def test_every_link_leads_somewhere(pages: Mapping[str, Page]) -> None:
    for name, page in pages.items():
        for link in page.links:
            if link.startswith(("https:", "javascript:")):
                continue
            file, anchor = urldefrag(link)
            there = pages[Path(file).name] if file else page
            assert not anchor or unquote(anchor) in there.identities, (name, link)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_exported_is_a_link_wherever_it_is_named(pages: Mapping[str, Page], package: str) -> None:
    places = {f"{home}.{name}" for one in PACKAGES for name, home in homes(one).items()}
    named = set(re.findall(r"\w+(?:\.\w+)+", pages[f"{package}.html"].unlinked))
    assert not named & places


def test_inherited_fields_stand_with_a_class(pages: Mapping[str, Page]) -> None:
    engine = pages["engine.html"]
    assert {"Configuration.policy", "Configuration.draft_length"} <= engine.identities
    assert engine.docstrings["Configuration.draft"] == "the draft by name; none: the pair's first\n"
    assert not any("PydanticUndefined" in page.html for page in pages.values())


def test_types_of_other_packages_are_links(pages: Mapping[str, Page]) -> None:
    assert "calibrate.html#Artifact" in pages["sim.html"].links
    assert "engine.html#Configuration" in pages["sim.html"].links
    assert "sim.html#RegimeMap" in pages["reports.html"].links
