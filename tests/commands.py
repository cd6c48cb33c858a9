"""The command line in this process, as a shell would call it."""

import sys

import pytest

import specbranch


def call(*arguments: str) -> int:
    """The exit code of `specbranch ARGUMENTS`; what it prints goes where pytest's capture takes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["specbranch", *arguments])
        try:
            specbranch.main()
        except SystemExit as done:
            return int(done.code or 0)
    return 0
