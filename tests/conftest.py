"""What all tests share."""

import sys

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread_of_torch() -> None:
    """In the tests' own process; a worker has as many as its seat. Products as small as these are slower in two."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
