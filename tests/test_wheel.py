"""The built wheel, installed apart from the checkout, does what it does here."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from commands import ROOT

PACKAGES = ("calibrate", "engine", "reports", "scenarios", "sim")
FILES = ("pyproject.toml", "README.md", "LICENSE", "specbranch.py")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*command: str | Path, folder: Path, timeout: float = 300) -> str:
    """What a command prints; it must succeed, and sees no path of ours."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, since a build leaves files beside its sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in FILES:
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
    ]
    run(*pip, "--wheel-dir", out, source, folder=source)
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, and for what it depends on the packages of the present one."""
    place = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", place, folder=place)
    (packages,) = place.glob("lib/python*/site-packages")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--quiet", "--python", place / "bin/python"]
    run(*pip, "install", "--no-deps", "--no-index", wheel, folder=place)
    # Behind its own, and as a plain path: what is installed there as a link to the checkout stays unseen.
    present = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "present.pth").write_text(f"{present}\n")
    return place / "bin"


@pytest.mark.slow
def test_the_wheel_holds_all_that_is_used(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = (file for name in PACKAGES for file in (ROOT / name).rglob("*") if file.is_file())
    wanted = {str(file.relative_to(ROOT)) for file in ours if "__pycache__" not in file.parts}
    assert wanted - names == set()
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]
    metadata = zipfile.ZipFile(wheel).read(next(n for n in names if n.endswith("/METADATA"))).decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_it_works_from_another_folder(installed: Path, tmp_path: Path) -> None:
    program = installed / "specbranch"
    where = run(installed / "python", "-c", "import sim; print(sim.__file__)", folder=tmp_path)
    assert Path(where).is_relative_to(installed.parent)
    assert "calibrate" in run(program, "--help", folder=tmp_path)
    assert "--points" in run(program, "map", "--help", folder=tmp_path)
    by_name = json.loads(run(program, "simulate", "stated-costs", "--json", folder=tmp_path))
    by_path = json.loads(
        run(program, "simulate", ROOT / "scenarios/stated-costs.yaml", "--json", folder=tmp_path)
    )
    assert by_name == by_path
    replayed = json.loads(run(program, "simulate", "draft-kinds", "--json", "--jobs", "1", folder=tmp_path))
    assert replayed["outcomes"]
    held = json.loads(run(program, "inspect", "reference", "--json", folder=tmp_path))
    assert all(set(record["drafts"]) == {"int8", "int4", "distilled"} for record in held.values())
    code = "from engine.drafts.default_drafts import choose_models as c; print(*c(None, None, 'bfloat16')[1])"
    assert run(installed / "python", "-c", code, folder=tmp_path).split() == ["int8", "int4", "distilled"]


def test_the_changelog_begins_with_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    found = re.findall(r"^## (\d+\.\d+\.\d+)( \(unreleased\))?$", text, re.MULTILINE)
    versions = [version for version, _ in found]
    assert next(version for version, unreleased in found if not unreleased) == PROJECT["version"]
    assert [version for version, unreleased in found if unreleased] in ([], versions[:1])
    assert versions == sorted(versions, key=lambda v: tuple(map(int, v.split("."))), reverse=True)


def test_the_licence_is_the_declared_one() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
