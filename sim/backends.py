"""Where a sweep's processes run: this machine's cores, or a Dask or Ray cluster, by joblib's own backends."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import joblib  # type: ignore[import-untyped]

from engine.errors import ConfigurationError

BACKENDS = ("loky", "dask", "ray")
PACKAGES = {"dask": "distributed", "ray": "ray"}


@contextmanager
def backend(name: str = "loky", address: str | None = None) -> Iterator[None]:
    """Within it, joblib's parallel calls run on a backend; `address` is the cluster's (none: one made here).

    Each machine of a cluster needs this package. ConfigurationError if there is no such backend, or if its
    package is not installed.
    """
    if name not in BACKENDS:
        raise ConfigurationError(f"there is no backend '{name}': {', '.join(BACKENDS)}.")
    try:
        with _cluster(name, address), joblib.parallel_config(backend=name):
            yield
    except ImportError as error:
        raise ConfigurationError(
            f"the backend '{name}' needs the package '{PACKAGES.get(name, name)}' ({error}); install it, or leave "
            "--backend out."
        ) from error


def _cluster(name: str, address: str | None) -> Any:
    """A context in which the backend's cluster can be reached."""
    if name == "dask":
        from distributed import Client  # type: ignore[import-not-found]

        return Client(address)
    if name == "ray":
        import ray  # type: ignore[import-not-found]
        from ray.util.joblib import register_ray  # type: ignore[import-not-found]

        register_ray()
        return ray.init(address=address, ignore_reinit_error=True)
    return nullcontext()
