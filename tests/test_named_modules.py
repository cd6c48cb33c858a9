"""Every module and every section that a document, a docstring or a comment names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("calibrate", "engine", "reports", "scenarios", "sim")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = [ROOT / "specbranch.py", *(path for part in PARTS for path in sorted((ROOT / part).rglob("*.py")))]
PLACE = re.compile(rf"(?<![\w/.])(?:(?:{'|'.join(PARTS)}|tests)/[\w/]+\.py)\b")
DOTTED = re.compile(rf"`((?:{'|'.join(PARTS)})(?:\.\w+)+)`")
SECTIONS = re.compile(r'([\w-]+)\.md[`)]*((?:, "[^"]+")+)')
# By docs/guides/add-a-method.md.
WRITTEN_BY_THE_READER = {"engine/policies/growing.py", "tests/test_growing.py"}


def is_there(name: str) -> bool:
    """Whether `part.package.module.what` is a module or a package, or something that one of them defines."""
    words = name.split(".")
    for count in range(len(words), 0, -1):
        stem = ROOT.joinpath(*words[:count])
        file = next((f for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.is_file()), None)
        if file is not None:
            return all(re.search(rf"\b{word}\b", file.read_text(encoding="utf-8")) for word in words[count:])
    return False


@pytest.mark.parametrize("path", [*DOCUMENTS, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_named_modules_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    places = set(PLACE.findall(text)) - WRITTEN_BY_THE_READER
    assert [place for place in sorted(places) if not (ROOT / place).is_file()] == []
    assert [name for name in sorted(set(DOTTED.findall(text))) if not is_there(name)] == []


def sections_of(text: str) -> set[tuple[str, str]]:
    """Documents and titles of their sections, as a text names them: `design.md`, "Words", on one line or on two."""
    in_one = re.sub(r"\s*\n[\s#]*", " ", text)
    named = SECTIONS.findall(in_one)
    return {(name, title) for name, titles in named for title in re.findall('"(.*?)"', titles)}


@pytest.mark.parametrize("path", [*DOCUMENTS, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_named_sections_are_there(path: Path) -> None:
    for name, title in sorted(sections_of(path.read_text(encoding="utf-8"))):
        document = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        assert title in re.findall(r"^#+ (.*)$", document, re.MULTILINE), (name, title)


def test_sections_are_found_across_lines() -> None:
    text = 'See (docs/design.md,\n# "Words", "Numeric\n# ties"), and `gpu.md`, "Exactness".'
    assert sections_of(text) == {("design", "Words"), ("design", "Numeric ties"), ("gpu", "Exactness")}


def test_what_is_not_there_is_told_from_what_is() -> None:
    assert is_there("engine.models.llama")
    assert is_there("engine.models.llama.Llama.forward")
    assert is_there("engine.policies.load_policy")
    assert not is_there("engine.llama")
    assert not is_there("engine.models.llama.Alpaca")
