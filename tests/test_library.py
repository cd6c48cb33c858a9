"""The packages as libraries: what they export is there and documented, imported on demand, and needs no torch."""

import importlib
import re
import subprocess
import sys
from functools import reduce

import pytest
from commands import ROOT

from engine.exports import homes

PACKAGES = ("calibrate", "engine", "reports", "scenarios", "sim")


def run_python(code: str) -> None:
    """Run code in an interpreter that has imported nothing yet; it must succeed."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_docstring_names_is_there(package: str) -> None:
    found = importlib.import_module(package)
    named = re.findall(r"`([\w.]+)`", (found.__doc__ or "").partition("\n>>>")[0])
    assert set(found.__all__) <= {part for name in named for part in name.split(".")}
    for name in named:
        first, *rest = name.split(".")
        start = importlib.import_module(first) if first in PACKAGES else getattr(found, first)
        assert reduce(getattr, rest, start) is not None


@pytest.mark.parametrize("package", PACKAGES)
def test_exports_are_those_of_their_modules(package: str) -> None:
    found = importlib.import_module(package)
    assert sorted(homes(package)) == sorted(found.__all__)
    for name, home in homes(package).items():
        assert getattr(found, name) is getattr(importlib.import_module(home), name)
        assert name in dir(found)
    with pytest.raises(AttributeError, match=f"'{package}' has no attribute 'nothing'"):
        _ = found.nothing


def test_packages_import_next_to_nothing_and_what_they_export_needs_no_torch() -> None:
    run_python(f"""
import sys
sys.modules["torch"] = None  # importing it fails
import {", ".join(PACKAGES)}
assert not {{"numpy", "pydantic", "plotly"}} & set(sys.modules)
for package in ({", ".join(PACKAGES)}):
    for name in package.__all__:
        getattr(package, name)
""")


def test_the_examples_are_right_and_need_no_torch() -> None:
    run_python("""
import doctest, importlib, sys
sys.modules["torch"] = None  # importing it fails
for name in ("calibrate", "engine", "scenarios", "sim"):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried and not failed, name
""")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
