"""The packages as libraries: what their docstrings name is there, and works, without torch where they say so."""

import importlib
import re
import subprocess
import sys
from functools import reduce

import pytest
from commands import ROOT

PACKAGES = ("calibrate", "engine", "sim")


def listed(package: str) -> list[tuple[str, list[str]]]:
    """The modules that a package's docstring lists, each with the names that it gives for it."""
    text = importlib.import_module(package).__doc__ or ""
    entries = [" ".join(entry.split("\n\n")[0].split()) for entry in text.split("\n- ")[1:]]
    return [
        (re.findall(r"`([\w.]+)`", head)[0], re.findall(r"`([\w.]+)`", rest))
        for head, _, rest in (entry.partition(": ") for entry in entries)
    ]


def find(name: str, module: str) -> object:
    """What a name means: something of the module, or with its own module before it."""
    first, *_ = name.split(".")
    where, rest = (module, name) if hasattr(importlib.import_module(module), first) else name.rsplit(".", 1)
    return reduce(getattr, rest.split("."), importlib.import_module(where))


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_docstring_names_is_there(package: str) -> None:
    assert len(listed(package)) >= 4
    for module, names in listed(package):
        assert module.startswith(f"{package}.")
        for name in names:
            assert find(name, module) is not None


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
