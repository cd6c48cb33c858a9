"""The packages as libraries: what their docstrings name is there, and works, without torch where they say so."""

import importlib
import re
import subprocess
import sys

import pytest
from commands import ROOT

PACKAGES = ("calibrate", "engine", "sim")


def named(package: str) -> list[tuple[str, list[str]]]:
    """The modules that a package's docstring lists, each with the names that it gives for it."""
    text = importlib.import_module(package).__doc__ or ""
    entries = [entry.split("\n\n")[0] for entry in text.split("\n- ")[1:]]
    return [
        (module, re.findall(r"`([\w.]+)`", entry.partition(":")[2]))
        for entry in entries
        for module in re.findall(rf"`({package}\.\w+)`", entry.partition(":")[0])
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_docstring_names_is_there(package: str) -> None:
    assert len(named(package)) >= 4
    for module, names in named(package):
        found = importlib.import_module(module)
        for name in names:
            first = name.split(".")[0]
            own = hasattr(found, first)
            assert own or first in ("engine", "scenarios", "reports", "sim", "Pair"), (module, name)


def test_the_examples_are_right_and_need_no_torch() -> None:
    code = f"""
import doctest, importlib, sys
sys.modules["torch"] = None  # importing it fails
for name in {PACKAGES}:
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried and not failed, name
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", [*PACKAGES, "reports", "scenarios"])
def test_a_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
