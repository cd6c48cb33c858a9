"""Backends by name; what is not installed is named."""

from importlib.util import find_spec

import joblib  # type: ignore[import-untyped]
import pytest

from engine.errors import ConfigurationError
from sim.search.backends import PACKAGES, backend


def test_processes_of_this_machine() -> None:
    with backend("loky"):
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-n) for n in range(4)) == [0, 1, 2, 3]


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(ConfigurationError, match="loky, dask, ray"), backend("slurm"):
        pass


@pytest.mark.parametrize("name", [n for n, package in PACKAGES.items() if find_spec(package) is None])
def test_a_missing_package_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=PACKAGES[name]), backend(name):
        pass
