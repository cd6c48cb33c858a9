"""The command line in this process, as a shell would call it: a new interpreter would load torch for each command."""

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from specbranch import main

ROOT = Path(__file__).parent.parent


def call(*arguments: str) -> int:
    """The exit code of `specbranch ARGUMENTS`; what it prints goes where pytest's capture takes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["specbranch", *arguments])
        try:
            main()
        except SystemExit as done:
            return int(done.code or 0)
    return 0


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def specbranch(*arguments: str | Path, folder: Path = ROOT) -> Done:
    """Run `specbranch ARGUMENTS` in a folder. What it raises besides a user's error is raised here."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = call(*map(str, arguments))
    return Done(code, out.getvalue(), err.getvalue())


def document(*arguments: str | Path, folder: Path = ROOT, code: int = 0) -> Any:
    """The JSON document that a command prints."""
    done = specbranch(*arguments, "--json", folder=folder)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def refusal(*arguments: str | Path, folder: Path = ROOT) -> str:
    """What a command says that ends with an error."""
    done = specbranch(*arguments, folder=folder)
    assert done.returncode not in (0, 130), done.stdout
    return done.stderr
